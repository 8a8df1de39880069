// `tunnel`: the CA's two ports on this host's loopback, over CURVE, for an RA that speaks plain ZeroMQ.

import ArgumentParser
import Console
import Enrolment
import Glibc
import Logging
import PKI
import ProgramLog
import Tunnel

struct TunnelCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tunnel", abstract: "Gives an unmodified RA on this host a CA on another one, over CURVE.",
        discussion: """
            It listens on loopback, on --listen and, until the RA is registered, on the next port. The RA is started with
            UPKI_CA_HOST=127.0.0.1 and any word as UPKI_CA_SEED: the tunnel registers with its own token, with a key that it makes here.
            It renews the node's certificate in time. `-` reads the enrolment string from standard input, @FILE from a file.
            """)

    @Option(help: "The enrolment string, `-`, or @FILE; not needed any more once the RA is registered.")
    var enroll: String?

    @Option(help: "The node's folder; with --enroll it is made.", completion: .directory)
    var identity: String

    @Option(help: "Where the RA asks: an address of this host's loopback, and a port.")
    var listen = "127.0.0.1:5000"

    @Option(help: "The RA's data directory, where a renewed certificate is put as ra.crt.", completion: .directory)
    var raDir: String?

    @Option(help: "How log lines look: auto, plain or json.", completion: .list(["auto", "plain", "json"]))
    var logFormat = "auto"

    @Option(help: "trace, debug, info, notice, warning, error or critical.")
    var logLevel = "info"

    /// For tests, which cannot wait for two thirds of a life.
    @Option(help: ArgumentHelp("The share of the certificate's life after which it is renewed.", visibility: .hidden))
    var renewAfter: Double?

    @Option(help: ArgumentHelp("Milliseconds between two looks at what is due.", visibility: .hidden))
    var lookInterval: Int?

    func validate() throws {
        _ = try place()
        guard ProgramLog.Format(rawValue: logFormat) != nil else { throw ValidationError("--log-format is auto, plain or json") }
        guard Logger.Level(rawValue: logLevel) != nil else { throw ValidationError("--log-level is a level such as info or debug") }
        if let renewAfter, !(0...1).contains(renewAfter) { throw ValidationError("--renew-after is a share from 0 to 1") }
    }

    private func place() throws -> (address: String, port: Int) {
        guard let colon = listen.lastIndex(of: ":"), let port = Int(listen[listen.index(after: colon)...]), (1...65_534).contains(port)
        else {
            throw ValidationError("--listen is ADDRESS:PORT, such as 127.0.0.1:5000")
        }
        var address = String(listen[..<colon])
        if address.hasPrefix("["), address.hasSuffix("]") { address = String(address.dropFirst().dropLast()) }
        // Whoever reaches this address is the RA.
        guard IPAddress.isLoopback(address) else {
            throw ValidationError("--listen is an address of loopback: whoever reaches it is taken for the RA")
        }
        return (address, port)
    }

    func run() throws {
        let (address, port) = try place()
        var options = TunnelOptions(address: address, port: port, directory: identity)
        options.registrationAuthorityDirectory = raDir
        if let renewAfter { options.renewalShare = renewAfter }
        if let lookInterval { options.lookInterval = lookInterval }
        if let enroll, let text = try enrolmentText(enroll) {
            do throws(EnrolmentError) {
                options.enrolment = try EnrolmentString(parsing: text)
            } catch {
                throw CommandError(.refused, error.message)
            }
        }
        ProgramLog.bootstrap(
            program: "ca-ctl tunnel", format: ProgramLog.Format(rawValue: logFormat) ?? .auto,
            level: Logger.Level(rawValue: logLevel) ?? .info)
        let log = Logger(label: "tunnel")
        let code = runTunnel(options) { level, line in log.log(level: Logger.Level(rawValue: level.rawValue) ?? .info, "\(line)") }
        guard code == 0 else { throw CommandError(.refused, "") }
    }

    /// - Returns: nil for a file that was emptied or taken away once the node was registered: the unit need not change then.
    private func enrolmentText(_ given: String) throws -> String? {
        if given == "-" { return try SecretInput.read("the enrolment string") }
        guard given.hasPrefix("@") else { return given }
        let path = String(given.dropFirst())
        let isRegistered = NodeIdentity.exists(in: identity)
        if isRegistered, access(path, F_OK) != 0, errno == ENOENT { return nil }
        let text = try NamedFile.readText(path, limit: 65_536)
        return isRegistered && text.allSatisfy(\.isWhitespace) ? nil : text
    }
}
