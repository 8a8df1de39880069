// `cert`: from issuing to deleting certificates.

import AdminLink
import ArgumentParser
import Console
import Glibc
import PKI
import UPKIProtocol

struct Certificates: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cert", abstract: "Issues, renews, revokes and shows certificates.",
        subcommands: [
            Issue.self, Sign.self, Renew.self, Revoke.self, Unrevoke.self, Delete.self, Show.self, List.self, Export.self,
            Adopt.self,
        ])

    struct Issue: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Makes a key and a certificate for it; the key stays with the CA until `cert export`.")

        @Argument(help: "The common name.")
        var commonName: String

        @Option(help: "The profile.")
        var profile = "server"

        @Option(help: ArgumentHelp("A further name; may be given several times, or with commas.", valueName: "dns|ip|email|uri"))
        var san: [String] = []

        @OptionGroup var issued: IssuedOptions
        @OptionGroup var shared: SharedOptions

        func run() throws {
            let names = san.flatMap(commaList)
            let answer = try shared.ask(
                "generate",
                [
                    ("cn", .string(commonName)), ("profile", .string(profile)),
                    ("sans", names.isEmpty ? nil : .array(names.map { .string($0) })),
                    ("duration", issued.days.map { .integer($0) }), ("local", true),
                ], timeout: .seconds(120))
            try issued.show(answer, shared)
            Output.complain("the key stays with the CA; take it: \(shared.command("cert export \(ShellText.quoted(commonName))"))")
        }
    }

    struct Sign: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Signs a certificate signing request.")

        @Argument(help: "The CSR in PEM; - is standard input.", completion: .file())
        var csr: String

        @Option(help: "The profile.")
        var profile = "server"

        @OptionGroup var issued: IssuedOptions
        @OptionGroup var shared: SharedOptions

        func run() throws {
            let request = try NamedFile.readText(csr)
            let answer = try shared.ask(
                "sign", [("csr", .string(request)), ("profile", .string(profile)), ("duration", issued.days.map { .integer($0) })])
            try issued.show(answer, shared)
        }
    }

    struct Renew: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Issues a certificate again: the same key, names and profile.")

        @OptionGroup var selector: CertificateSelector

        @Flag(help: "Revoke the old one as superseded.")
        var revokeOld = false

        @OptionGroup var issued: IssuedOptions
        @OptionGroup var shared: SharedOptions

        func run() throws {
            let answer = try shared.ask(
                "renew",
                selector.parameters + [("duration", issued.days.map { .integer($0) }), ("revoke_old", revokeOld ? true : nil)])
            try issued.show(answer, shared)
        }
    }

    struct Revoke: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Revokes all live certificates of a DN, or the one with a serial number.")

        @OptionGroup var selector: CertificateSelector

        @Option(help: "A reason of RFC 5280, 5.3.1, such as keyCompromise or superseded; certificateHold can be released again.")
        var reason: String?

        @OptionGroup var shared: SharedOptions

        func run() throws {
            let answer = try shared.ask("revoke", selector.parameters + [("reason", reason.map { .string($0) })])
            shared.output.show(answer, text: "Revoked: \(selector.text).")
        }
    }

    struct Unrevoke: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Releases a certificate that was on hold.")

        @OptionGroup var selector: CertificateSelector
        @OptionGroup var shared: SharedOptions

        func run() throws {
            let answer = try shared.ask("unrevoke", selector.parameters)
            shared.output.show(answer, text: "Released: \(selector.text).")
        }
    }

    struct Delete: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Revokes as cessationOfOperation and removes node and key; history and CRL entry stay.")

        @OptionGroup var selector: CertificateSelector
        @OptionGroup var shared: SharedOptions

        func run() throws {
            let answer = try shared.ask("delete", selector.parameters)
            shared.output.show(answer, text: "Deleted: \(selector.text).")
        }
    }

    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Shows a certificate: the newest of a DN, or the one with a serial number.")

        @OptionGroup var selector: CertificateSelector

        @Flag(help: "Only the certificate, in PEM.")
        var pem = false

        @OptionGroup var shared: SharedOptions

        func run() throws {
            let answer = try shared.ask("view", selector.parameters)
            shared.output.show(answer, text: pem ? answer.text("certificate") : text(answer))
        }

        private func text(_ answer: JSON) -> String {
            // Each of these stands in another line too, or is for programs.
            let hidden: Set<String> = ["serial_number", "subject", "extensions", "certificate", "public_key", "revoked"]
            let members = (answer.objectValue ?? []).filter { !hidden.contains($0.name) }
            let extensions = (answer["extensions"]?.arrayValue ?? []).map {
                "\($0.text("name"))\($0["critical"]?.boolValue == true ? " (critical)" : "")"
            }
            let facts = JSONText.facts(.object(members), now: shared.now) + [("extensions", extensions.joined(separator: ", "))]
            return TextTable(facts: facts).rendered(width: shared.output.width) + answer.text("certificate")
        }
    }

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Lists certificates in the order of their serial numbers.")

        @Option(
            help: "Only those that are issued, revoked, expired or deleted.",
            completion: .list(["issued", "revoked", "expired", "deleted"]))
        var state: String?

        @Option(help: "At most so many.")
        var limit = 1000

        @Option(help: "Those after this serial number.")
        var after: String?

        @OptionGroup var shared: SharedOptions

        /// The core bounds one answer by its size, so that many are asked for in parts.
        private static let page = 1000

        func validate() throws {
            guard limit >= 1 else { throw ValidationError("--limit is at least 1") }
        }

        func run() throws {
            var connection = try shared.connect()
            var entries: [JSON] = []
            var last = after
            var isComplete = false
            while !isComplete && entries.count < limit {
                let answer = try shared.ask(
                    &connection, "list_nodes",
                    [
                        ("limit", .integer(min(Self.page, limit - entries.count))), ("after", last.map { .string($0) }),
                        ("state", state.map { .string($0) }),
                    ], timeout: .seconds(60))
                let part = answer.arrayValue ?? []
                entries += part
                isComplete = part.isEmpty
                last = part.last?["serial"]?.stringValue ?? last
            }
            let now = shared.now
            let table = TextTable(
                entries,
                [
                    JSONColumn("CN", "cn", isProse: true, least: 14), JSONColumn("PROFILE", "profile"), JSONColumn("STATE", "state"),
                    JSONColumn("VALID UNTIL", time: "not_after", now: now), JSONColumn("SERIAL", "serial", isProse: true, least: 25),
                ])
            shared.output.show(.array(entries), table: table, ifEmpty: "There are none.")
            if !isComplete, let last { Output.complain("there may be more: \(shared.command("cert list --after \(last)"))") }
        }
    }

    struct Export: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Writes a key that the CA keeps, with its certificate and the CA's.",
            discussion: "Key and certificates go to standard output in PEM, to --out, or to --pkcs12 as PKCS#12. The CA need not run.")

        @Argument(help: "The common name.")
        var commonName: String

        @Option(help: "Write PKCS#12 to this file; without --password-file a password is made and printed once.", completion: .file())
        var pkcs12: String?

        @Option(help: "The file with the password for PKCS#12.", completion: .file())
        var passwordFile: String?

        @Option(help: "Write PEM to this file, mode 0600.", completion: .file())
        var out: String?

        @Flag(help: "Replace a file that is there.")
        var force = false

        @OptionGroup var shared: SharedOptions

        func validate() throws {
            guard pkcs12 == nil || out == nil else { throw ValidationError("--pkcs12 names its file itself; --out is for PEM") }
            guard passwordFile == nil || pkcs12 != nil else { throw ValidationError("--password-file is for --pkcs12") }
        }

        func run() throws {
            let password = try pkcs12.map { _ in try passwordFile.map { try PasswordFile.read($0) } ?? RandomPassword.make() }
            let bytes = try shared.runCore(
                .export(dataDirectory: try shared.directories.locations().dataDirectory, commonName: commonName, password: password))
            guard let file = pkcs12 ?? out else {
                if shared.json {
                    shared.output.show(.object([.init("pem", .string(String(decoding: bytes, as: UTF8.self)))]), text: "")
                } else {
                    Output.write(bytes: bytes)
                }
                return
            }
            try NamedFile.write(bytes, to: file, mode: 0o600, replaces: force)
            let made = passwordFile == nil ? password : nil
            shared.output.show(
                .object([.init("file", .string(file)), .init("password", made.map { .string($0) } ?? .null)]),
                text: "Written: \(file)." + (made.map { "\nIts password, shown this once: \($0)" } ?? ""))
        }
    }
}

/// Which certificate is meant.
struct CertificateSelector: ParsableArguments {
    @Argument(help: "The DN, such as /C=FR/O=Example/CN=www.example.com, or only the common name.")
    var dn: String?

    @Option(help: "The serial number: decimal, 0x hexadecimal, or hexadecimal with colons.")
    var serial: String?

    func validate() throws {
        guard (dn == nil) != (serial == nil) else { throw ValidationError("give a DN or --serial") }
    }

    var parameters: [(String, JSON?)] { [("dn", dn.map { .string($0) }), ("serial", serial.map { .string($0) })] }

    /// As it was given, fit for a terminal.
    var text: String { TextWidth.printable(dn ?? "serial number \(serial ?? "")") }
}

/// What every command that issues can be told, and how it shows what was issued.
struct IssuedOptions: ParsableArguments {
    @Option(help: "How long it is valid; otherwise the profile says.")
    var days: Int?

    @Option(help: "Write the certificate to this file instead of standard output.", completion: .file())
    var out: String?

    func validate() throws {
        if let days, days < 1 { throw ValidationError("--days is at least 1") }
    }

    func show(_ answer: JSON, _ shared: SharedOptions) throws {
        guard let out else { return shared.output.show(answer, text: answer.text("certificate")) }
        try NamedFile.write(Array(answer.text("certificate").utf8), to: out, mode: 0o644, replaces: true)
        shared.output.show(answer, text: "Written: \(out), serial number \(answer.text("serial")).")
    }
}

enum RandomPassword {
    /// 24 characters of base64url, 144 bits.
    static func make() throws(CommandError) -> String {
        var bytes = [UInt8](repeating: 0, count: 18)
        guard getentropy(&bytes, bytes.count) == 0 else { throw CommandError(.refused, "the system gives no random bytes") }
        let text = String(decoding: Base64.encode(bytes), as: UTF8.self)
        return String(text.map { $0 == "+" ? "-" : $0 == "/" ? "_" : $0 })
    }
}
