// `enroll`: makes a node of this host, with keys that never leave it.

import ArgumentParser
import Console
import DurableFiles
import Enrolment
import Glibc
import NodeLink
import PKI
import UPKIProtocol
import ZeroMQ

struct Enroll: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Registers this host as a node of a CA elsewhere, with an enrolment string.",
        discussion: """
            `ca-ctl registrar open` prints the string on the CA's host. With `-` it is read from standard input, where nobody sees it.
            Keys are made here, and the private ones never cross the network. Where the answer is lost, the same command again gives
            the same certificate. --renew asks for a new certificate for the same key.
            """)

    @Argument(help: "The enrolment string, or - to read it from standard input; with --renew it is left out.")
    var string: String?

    @Option(help: "The folder to keep the node in; it is made.", completion: .directory)
    var out: String

    @Option(name: .customLong("cn"), help: "The node's name, where the string is for any.")
    var commonName: String?

    @Option(help: "Further names for the certificate, with commas: host names, IP addresses.")
    var names: String?

    @Option(help: "The profile of the certificate.")
    var profile = "ra"

    @Flag(help: "Renew the certificate of a node that is registered.")
    var renew = false

    @Flag(help: "Print JSON instead of text.")
    var json = false

    private var output: Output { Output(isJSON: json) }

    func validate() throws {
        guard renew != (string != nil) else { throw ValidationError(renew ? "--renew needs no string" : "give the enrolment string, or -") }
    }

    func run() throws {
        do {
            if renew { return try renewNode() }
            guard !NodeIdentity.exists(in: out) else { return show(try NodeIdentity(reading: out), "Registered already") }
            show(try enrol(), "Registered")
        } catch let error as EnrolmentError {
            throw CommandError(.refused, error.message)
        } catch let error as DurableFileError {
            throw CommandError(.refused, error.message)
        } catch let error as NodeLinkError {
            throw Self.commandError(error)
        }
    }

    private static func commandError(_ error: NodeLinkError) -> CommandError {
        CommandError([.unreachable, .otherServer, .noAnswer].contains(error.code) ? .unreachable : .refused, error.message)
    }

    // MARK: Registering

    private func enrol() throws -> NodeIdentity {
        let string = try EnrolmentString(parsing: string == "-" ? SecretInput.read("the enrolment string") : string ?? "")
        guard let name = string.commonName ?? commonName else {
            throw usage("the enrolment string is for any name: say which one with --cn")
        }
        if let commonName, commonName != name { throw usage("the enrolment string is for \(name), not for \(commonName)") }
        try Self.makeFolders(above: out)
        try PrivateDirectory.create(out)
        // Where an answer was lost the keys are there already.
        let isSecondTry = NodeKeys.exist(in: out)
        let keys = try NodeKeys(in: out)
        let names = commaList(names ?? "")
        let answer = try Progress.during("registering") {
            try Registration.ask(string, keys, commonName: name, names: names, profile: profile, isSecondTry: isSecondTry)
        }
        let identity = try NodeIdentity(directory: out, keys: keys, string: string, commonName: name, answer: answer)
        try identity.write()
        return identity
    }

    /// As `mkdir -p -m 700` does.
    private static func makeFolders(above path: String) throws(CommandError) {
        let parts = path.split(separator: "/", omittingEmptySubsequences: true).dropLast()
        var folder = path.hasPrefix("/") ? "" : "."
        for part in parts {
            folder += "/\(part)"
            guard mkdir(folder, 0o700) == 0 || errno == EEXIST else {
                throw CommandError(.refused, "\(folder) cannot be made: \(String(cString: strerror(errno)))")
            }
        }
    }

    private func renewNode() throws {
        var identity = try NodeIdentity(reading: out)
        try Progress.during("renewing") {
            var connection = try NodeConnection.open(identity.servers, port: .core, identity: identity.curve)
            try Registration.renew(&identity, &connection)
        }
        show(identity, "Renewed")
    }

    // MARK: Words

    private func show(_ node: NodeIdentity, _ what: String) {
        let certificate = PEM.decodeFirst(node.certificate, labels: ["CERTIFICATE"])
        let subject = certificate.flatMap { NodeIdentity.subject(of: $0) } ?? node.commonName
        let now = UnixTime.present
        let folder = ShellText.quoted(out)
        let facts: [(String, String)] = [
            ("  node", node.commonName), ("  DN", subject), ("  serial", node.serial.decimal),
            ("  valid until", HumanTime.point(node.notAfter, now: now)), ("  CURVE key", node.curve.publicKey), ("  folder", out),
        ]
        let text =
            "\(what).\n" + TextTable(facts: facts).rendered(width: output.width)
                + """

                An unmodified RA on this host reaches the CA through: ca-ctl tunnel --identity \(folder)
                To administer the CA from here, on the CA's host first: ca-ctl admin add \(ShellText.quoted(subject))
                and then here: ca-ctl --identity \(folder) node list
                Before it ends: ca-ctl enroll --renew --out \(folder) (the tunnel does it by itself)

                """
        output.show(
            [
                "cn": .string(node.commonName), "dn": .string(subject), "serial": .string(node.serial.decimal),
                "not_after": .string(node.notAfter.rfc3339), "curve_key": .string(node.curve.publicKey), "folder": .string(out),
            ], text: text)
    }
}
