// The command line of ca-core.

import ArgumentParser
import CoreServer
import Glibc
import Logging
import ProgramLog
import Relay
import Supervised
import UPKIProtocol

struct CACore: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ca-core", abstract: "Holds the CA key, the store and the rules. Usually started by ca-ctl or systemd.",
        version: CoreVersion.text,
        subcommands: [
            Serve.self, Front.self, Init.self, FinishInit.self, Export.self, Token.self, Examine.self, AuditVerify.self,
        ])
}

/// Runs what may fail, and turns the failure into one line and exit code 1.
func orOneLine(_ log: Logger, _ body: () throws -> Void) throws {
    do { try body() } catch let code as ExitCode { throw code } catch {
        log.error("\(error)")
        throw ExitCode(1)
    }
}

struct Serve: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Serves the sockets in the run directory until SIGTERM.")

    @Option(help: "The data directory, as made by init.")
    var dataDir: String

    @Option(help: "The folder for the sockets.")
    var runDir: String

    @Option(help: "Where the seed is read from under key_storage: seed; mode 0600.")
    var seedFile: String?

    @Option(
        help: ArgumentHelp("A group that may open front, registrar, ocsp or events; may be given several times.", valueName: "socket=group")
    )
    var socketGroup: [String] = []

    @Option(help: ArgumentHelp("The one user heard on front, registrar or ocsp, beside the core's own and root.", valueName: "socket=user"))
    var peerUser: [String] = []

    @Flag(help: "Whoever may open admin.sock is an operator, the users of the other programs apart.")
    var operatorsBySocket = false

    @Option(help: "Where the password of ca.key is read from under key_storage: encrypted without password_file; mode 0600.")
    var keyPasswordFile: String?

    @Option(help: "The front's port, where it is not the configuration's.")
    var port: Int?

    @Option(help: ArgumentHelp("An address that nodes reach the CA at, where the configuration does not say; may be given several times."))
    var reachedAt: [String] = []

    @OptionGroup var logging: LogOptions

    func run() throws {
        let log = self.logging.start("ca-core")
        try orOneLine(log) {
            let access = try SocketAccess(
                groups: self.socketGroup, users: self.peerUser, operatorsBySocket: self.operatorsBySocket,
                inherited: try InheritedSockets.take(), runDirectory: self.runDir)
            let signals = try ShutdownSignals()
            let opened = try OpenedAuthority.open(
                DataDirectory(self.dataDir), seedFile: self.seedFile, keyPasswordFile: self.keyPasswordFile, log: log)
            try CoreService.serve(
                opened, runDirectory: self.runDir, access: access, reachedAt: ReachedAt(port: self.port, addresses: self.reachedAt),
                signals: signals, log: log)
        }
    }
}

struct Front: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Relays a TCP port to the core, with the proven identity of each peer; holds no key.")

    @Option(help: ArgumentHelp("Where to listen without CURVE; may be given several times.", valueName: "tcp://address:port"))
    var listen: [String] = []

    @Option(help: ArgumentHelp("Where to listen with CURVE; may be given several times.", valueName: "tcp://address:port"))
    var listenCurve: [String] = []

    @Flag(help: "Listen where the configuration of ca-core says, which is asked.")
    var asConfigured = false

    @Option(help: "The folder with the core's socket front.sock.")
    var runDir: String

    @OptionGroup var logging: LogOptions

    func validate() throws {
        guard !self.asConfigured || (self.listen + self.listenCurve).isEmpty else {
            throw ValidationError("--as-configured stands for --listen and --listen-curve")
        }
    }

    func run() throws {
        let log = self.logging.start("ca-front")
        var options = FrontOptions(listeners: [], runDirectory: self.runDir, version: CoreVersion.text)
        do throws(RelayError) {
            if !self.asConfigured { options.listeners = try RelayListener.all(plain: self.listen, curve: self.listenCurve, port: 5_000) }
        } catch {
            throw ValidationError(error.message)
        }
        try orOneLine(log) { options.inherited = try InheritedSockets.take() }
        let code = runFront(options) { level, line in
            log.log(level: Logger.Level(rawValue: level.rawValue) ?? .info, "\(line)")
        }
        throw ExitCode(code)
    }
}

struct Init: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Makes the CA in the data directory; on one that holds a CA it changes nothing.",
        discussion: "Secrets come as one JSON object by standard input: seed, or ca_key and ca_cert with password. ca-ctl init does that.")

    @Option(help: "The data directory.")
    var dataDir: String

    @Option(help: "ec-p256, ec-p384, ed25519, rsa-2048, rsa-3072 or rsa-4096.")
    var keyType: String?

    @Option(help: "The CA's subject, for example \"/C=FR/O=Org/CN=Org Root CA\".")
    var subject: String?

    @Option(help: "The organisation, where no subject is given.")
    var company: String?

    @Flag(help: "Accept a seed that is short or simple: for experiments.")
    var weakSeed = false

    @Flag(help: "Leave the CA unfinished until finish-init says that its seed was shown: for whoever shows it in our place.")
    var untilShown = false

    @Flag(help: "The seed is that of a CA that was lost: say what cannot be known of it.")
    var recover = false

    @Option(help: ArgumentHelp("A CRL of the lost or imported CA to take over; may be given several times.", valueName: "file"))
    var crl: [String] = []

    @Option(help: "Where the password of ca.key is read from under key_storage: encrypted without password_file; mode 0600.")
    var keyPasswordFile: String?

    @OptionGroup var logging: LogOptions

    func run() throws {
        let log = self.logging.start("ca-core")
        try orOneLine(log) {
            var request = InitialiseRequest()
            request.keyType = self.keyType
            request.subject = self.subject
            request.company = self.company
            request.allowsWeakSeed = self.weakSeed
            request.recovers = self.recover
            request.lists = self.crl
            request.keyPasswordFile = self.keyPasswordFile
            try request.take(secrets: try StandardInput.object())
            let directory = DataDirectory(self.dataDir)
            let result = try Initialise.run(request, in: directory, log: log)
            // A seed that nobody was shown makes no CA.
            guard StandardOutput.write(result.encoded + [0x0a]) else {
                throw CoreError("standard output takes nothing, so that nobody has seen the seed: there is no CA; run init again")
            }
            if !self.untilShown { try Initialise.finish(directory) }
        }
    }
}

struct Export: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Writes a key that the CA keeps, with its certificates, to standard output.")

    @Option(help: "The data directory.")
    var dataDir: String

    @Option(name: .customLong("cn"), help: "The common name.")
    var commonName: String

    @Flag(help: "PKCS#12 with the password from standard input, instead of PEM.")
    var pkcs12 = false

    @OptionGroup var logging: LogOptions

    func run() throws {
        let log = self.logging.start("ca-core")
        try orOneLine(log) {
            let password = try StandardInput.object()["password"]?.stringValue
            StandardOutput.write(
                try KeyExport.node(self.commonName, pkcs12: self.pkcs12, password: password, from: DataDirectory(self.dataDir)))
        }
    }
}

struct Token: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Prints the registration token that the seed from standard input gives.")

    @Option(help: "The data directory.")
    var dataDir: String

    @OptionGroup var logging: LogOptions

    func run() throws {
        let log = self.logging.start("ca-core")
        try orOneLine(log) {
            guard let seed = try StandardInput.object()["seed"]?.stringValue else { throw CoreError("standard input holds no seed") }
            StandardOutput.write(try KeyExport.token(seed: seed, from: DataDirectory(self.dataDir)).encoded + [0x0a])
        }
    }
}

struct AuditVerify: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Verifies the audit log of a CA that does not run, and prints what was found; nothing is written.")

    @Option(help: "The data directory.")
    var dataDir: String

    @Option(help: ArgumentHelp("A text with checkpoints that were kept elsewhere; may be given several times.", valueName: "file"))
    var checkpoint: [String] = []

    @OptionGroup var logging: LogOptions

    func run() throws {
        let log = self.logging.start("ca-core")
        try orOneLine(log) {
            let finding = try AuditOffline.verify(DataDirectory(self.dataDir), files: self.checkpoint, log: log)
            StandardOutput.write(finding.encoded + [0x0a])
        }
    }
}

/// Secrets come by pipe.
enum StandardInput {
    /// The JSON object on standard input; an empty one where there is nothing.
    static func object() throws -> JSON {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = buffer.withUnsafeMutableBytes { read(STDIN_FILENO, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { break }
            bytes += buffer[..<count]
            guard bytes.count <= 1 << 20 else { throw CoreError("standard input holds more than 1 MiB") }
        }
        if bytes.allSatisfy({ $0 == 0x20 || $0 == 0x0a }) { return .object([]) }
        do throws(JSONError) { return try JSON(parsing: bytes) } catch {
            // The text itself is a secret and stays out of the message.
            throw CoreError("standard input holds no JSON object: \(error.message) at byte \(error.offset)")
        }
    }
}

enum StandardOutput {
    /// - Returns: whether it took everything.
    @discardableResult
    static func write(_ bytes: [UInt8]) -> Bool {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(STDOUT_FILENO, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return false }
            rest = rest.dropFirst(count)
        }
        return true
    }
}
