// `init`: has ca-core make the CA, and shows once what is shown once.

import AdminLink
import ArgumentParser
import Console
import DurableFiles
import Settings
import UPKIProtocol

struct Init: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Makes the CA in the data directory; done twice it changes nothing.",
        discussion: """
            Without a seed one is made and printed once. Whoever has the seed can make the CA's key again and register RAs.
            UPKI_CA_SEED, or UPKI_CA_KEY_FILE with UPKI_CA_CERT_FILE, are read where no option says otherwise; without them the systemd
            credentials are: seed, or ca-key, ca-cert and ca-password for a CA to import.
            A CA that was lost is made again with --recover, its seed and its last CRL: docs/RECOVERY.md says how.
            """)

    @Option(help: "Read the seed from this file.", completion: .file())
    var seedFile: String?

    @Flag(help: "Read the seed from standard input.")
    var seedStdin = false

    @Option(help: "The seed itself. Other users of this host can see it: better a file or standard input.")
    var seed: String?

    @Flag(help: "Accept a seed that is short or simple: for experiments.")
    var weakSeed = false

    @Option(help: "ec-p256 (the default), ec-p384, ed25519, rsa-2048, rsa-3072 or rsa-4096.", completion: .list(Init.keyTypes))
    var keyType: String?

    @Option(help: "The CA's subject, for example \"/C=FR/O=Example/CN=Example Root CA\".")
    var subject: String?

    @Option(help: "The organisation, where no subject is given.")
    var company: String?

    @Option(help: "Import a CA: its private key in PEM.", completion: .file())
    var caKey: String?

    @Option(help: "Import a CA: its certificate in PEM.", completion: .file())
    var caCert: String?

    @Option(help: "Import a CA: the file with the password of its key.", completion: .file())
    var caPasswordFile: String?

    @Flag(help: "Import a CA: read the password of its key from standard input.")
    var caPasswordStdin = false

    @Flag(help: "Make a CA that was lost again from its seed.")
    var recover = false

    @Option(
        parsing: .upToNextOption, help: "CRLs of the lost or imported CA, DER or PEM: what they revoke stays revoked.", completion: .file())
    var crl: [String] = []

    @OptionGroup var shared: SharedOptions

    static let keyTypes = Configuration.AuthorityKeyType.allCases.map(\.rawValue)

    func validate() throws {
        let seeds = [seedFile != nil, seedStdin, seed != nil].filter { $0 }.count
        guard seeds <= 1 else { throw ValidationError("one of --seed-file, --seed-stdin and --seed is enough") }
        guard (caKey == nil) == (caCert == nil) else { throw ValidationError("an import needs both --ca-key and --ca-cert") }
        guard seeds == 0 || caKey == nil else { throw ValidationError("a CA is either imported or made from a seed, not both") }
        guard caKey != nil || (caPasswordFile == nil && !caPasswordStdin) else {
            throw ValidationError("--ca-password-file and --ca-password-stdin are for --ca-key")
        }
        guard caPasswordFile == nil || !caPasswordStdin else {
            throw ValidationError("one of --ca-password-file and --ca-password-stdin is enough")
        }
        guard !recover || caKey == nil else {
            throw ValidationError("--recover is for a CA made from a seed; an import takes --crl without it")
        }
        guard crl.isEmpty || recover || caKey != nil || Credential.path("ca-key") != nil else {
            throw ValidationError("--crl is for --recover, or for an import with --ca-key")
        }
        if let keyType, !Self.keyTypes.contains(keyType) {
            throw ValidationError("--key-type is one of \(Self.keyTypes.joined(separator: ", "))")
        }
    }

    func run() throws {
        let locations = try shared.directories.locations()
        var wishes = CoreRun.Wishes()
        wishes.keyType = keyType
        wishes.subject = subject
        wishes.company = company
        wishes.allowsWeakSeed = weakSeed
        wishes.recovers = recover
        wishes.lists = try crl.map { try NamedFile.absolute($0) }
        wishes.keyPasswordFile = Credential.path("ca-key-password")
        let origin = try self.origin()
        guard !recover || origin.seed != nil else {
            throw CommandError(.refused, "--recover needs the seed of the CA that was lost; give it with --seed-file or --seed-stdin")
        }
        let result = try shared.runCoreForJSON(.initialise(dataDirectory: locations.dataDirectory, origin, wishes))
        shared.output.show(result, text: InitReport.text(result, shared) + "\nStart it: \(shared.firstStartCommand)\n")
        try InitReport.hasBeenShown(result, shared)
    }

    private func origin() throws -> CoreRun.Origin {
        var origin = CoreRun.Origin()
        if let caKey, let caCert {
            origin.authorityKey = try NamedFile.readText(caKey)
            origin.authorityCertificate = try NamedFile.readText(caCert)
            origin.password = try caPassword()
        } else if let seed {
            Output.complain(
                "warning: --seed shows the seed to everyone who can list processes on this host; use --seed-file or --seed-stdin")
            origin.seed = seed
        } else if seedStdin || seedFile != nil {
            origin.seed = try SeedInput.read(file: seedFile)
        } else {
            origin = try StartOrigin.fromEnvironment()
        }
        return origin
    }

    private func caPassword() throws -> String? {
        if caPasswordStdin { return try SecretInput.read("the password of the CA's key") }
        return try (caPasswordFile ?? Credential.path("ca-password")).map { try PasswordFile.read($0) }
    }
}

/// What the environment says of the CA to make.
enum StartOrigin {
    static func fromEnvironment() throws -> CoreRun.Origin {
        let inputs: StartInputs
        do throws(SettingsError) { inputs = try StartInputs(environment: SettingsEnvironment.current()) } catch {
            throw CommandError(.refused, error.oneLine)
        }
        guard inputs.seed == nil || inputs.keyFile == nil else {
            throw CommandError(.refused, "UPKI_CA_SEED and UPKI_CA_KEY_FILE are both set: a CA is either imported or made from a seed")
        }
        var origin = CoreRun.Origin(seed: inputs.seed?.text)
        var files = (key: inputs.keyFile, certificate: inputs.certificateFile)
        if origin.seed == nil, files.key == nil {
            origin.seed = try Credential.path("seed").map { try SeedInput.read(file: $0) }
            files = (Credential.path("ca-key"), Credential.path("ca-cert"))
            guard origin.seed == nil || files.key == nil else {
                throw CommandError(.refused, "the credentials seed and ca-key are both there: a CA is either imported or made from a seed")
            }
            guard (files.key == nil) == (files.certificate == nil) else {
                throw CommandError(.refused, "an import needs both of the credentials ca-key and ca-cert")
            }
        }
        if let key = files.key, let certificate = files.certificate {
            origin.authorityKey = try NamedFile.readText(key)
            origin.authorityCertificate = try NamedFile.readText(certificate)
            origin.password = try Credential.path("ca-password").map { try PasswordFile.read($0) }
        }
        return origin
    }
}

enum PasswordFile {
    /// The text of the file without one line feed at its end.
    static func read(_ path: String) throws(CommandError) -> String {
        var text = try NamedFile.readText(path, limit: 65_536)
        if text.hasSuffix("\n") { text.removeLast() }
        guard !text.isEmpty else { throw CommandError(.refused, "\(path) is empty") }
        return text
    }
}

enum InitReport {
    /// Only now is the CA there: killed before, `init` makes another one the next time, whose seed is then shown.
    static func hasBeenShown(_ result: JSON, _ shared: SharedOptions) throws {
        guard result["created"]?.boolValue == true else { return }
        _ = try shared.runCore(.finishInitialising(dataDirectory: try shared.directories.locations().dataDirectory))
    }

    /// What `init`, and `up` when it initialises, show.
    static func text(_ result: JSON, _ shared: SharedOptions) -> String {
        let created = result["created"]?.boolValue ?? false
        var text = created ? "The CA is made.\n" : "The CA is there already; nothing was changed.\n"
        text += TextTable(facts: [
            ("  subject", result.text("subject")), ("  fingerprint", result.text("fingerprint")), ("  key type", result.text("key_type")),
            ("  valid until", HumanTime.point(result.text("not_after"), now: shared.now)), ("  data directory", result.text("data_dir")),
        ]).rendered(width: shared.output.width)
        for list in result["crls"]?.arrayValue ?? [] { text += "  \(TakenOverText.line(list))\n" }
        if let seed = result["seed"]?.stringValue {
            text += """

                  THE SEED, shown this once. Keep it where nobody else finds it: from it the CA's key can be made again.

                    \(seed)

                """
        }
        if let token = result["token"]?.stringValue {
            text += """

                  The registration token, shown this once. It goes where an RA expects the seed (UPKI_CA_SEED); open for 24 hours.

                    \(token)

                """
        }
        return text
    }
}
