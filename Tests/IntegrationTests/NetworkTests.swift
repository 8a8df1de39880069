// A CA, an RA and an attacker on hosts of their own: what crosses the network, who gets in, and what a good node has of it meanwhile.
import Foundation
import Glibc
import TestPrograms
import Testing
import UPKIProtocol

/// What a test knows of a node from the folder that `enroll` or `tunnel` made.
struct EnrolledNode {
    let folder: String
    let node: NetworkNode

    init(_ folder: String) throws {
        func text(_ name: String) throws -> String { try String(contentsOfFile: "\(folder)/\(name)", encoding: .utf8) }
        let facts = try JSON(parsing: Array(try text("node.json").utf8))
        let keys = facts["keys"]?.arrayValue?.first
        self.folder = folder
        self.node = NetworkNode(
            commonName: facts["cn"]?.stringValue ?? "", curveSecret: try text("curve.key").trimmingCharacters(in: .whitespacesAndNewlines),
            publicKey: "", serverKey: keys?["core_key"]?.stringValue ?? "", registrarKey: keys?["registrar_key"]?.stringValue ?? "",
            token: facts["token"]?.stringValue ?? "")
    }
}

extension IntegrationTests {
    @Suite("Across a network", .enabled(if: NetworkLab.isAvailable, Comment(rawValue: NetworkLab.whyNot)))
    struct NetworkTests {
        /// Asks over CURVE as a node, or with a fresh key where there is none.
        private func ask(
            _ lab: NetworkLab, _ ca: LabCA, from host: NetworkLab.Host, as node: NetworkNode, secret: String? = nil, port: Int? = nil,
            _ requests: [(String, JSON)]
        ) throws -> [JSON] {
            let told = try lab.peer(
                "curve_client.py", on: host,
                input: [
                    "address": .string(NetworkLab.Host.ca.address), "port": .integer(port ?? ca.ca.port),
                    "server_key": .string(port == ca.ca.registrarPort ? node.registrarKey : node.serverKey),
                    "secret": secret.map { .string($0) } ?? .null,
                    "requests": .array(requests.map { [.string($0.0), $0.1] }),
                ])
            return told["answers"]?.arrayValue ?? []
        }

        /// The input of sign_rate.py.
        private func rate(_ node: NetworkNode, _ csr: String, _ ca: LabCA, together: Int, count: Int) -> String {
            let given: JSON = [
                "address": .string(NetworkLab.Host.ca.address), "port": .integer(ca.ca.port), "server_key": .string(node.serverKey),
                "secret": .string(node.curveSecret), "csr": .string(csr), "together": .integer(together), "count": .integer(count),
            ]
            return given.text + "\n"
        }

        // MARK: What crosses the network

        @Test("a node's registration and its work over CURVE: no token, certificate or request crosses the network in clear")
        func onboarding() throws {
            try withNetwork { lab, ca in
                let capture = lab.place.path("all.pcap")
                let sniffer = try lab.sniff(to: capture)
                let node = try ca.enrol("node.example.com", on: .ra)
                #expect(try ca.ca.facts(["node", "show", "node.example.com"])["binding"]?.stringValue == "curve \(node.publicKey)")
                let csr = try lab.place.csr("/CN=www.example.com")
                let answers = try self.ask(
                    lab, ca, from: .ra, as: node, secret: node.curveSecret,
                    [("sign", ["csr": .string(csr)]), ("generate", ["cn": "made.example.com", "local": false]), ("transport", [:])])
                #expect(answers.allSatisfy { $0["EVENT"] == "ANSWER" }, "\(answers)")
                #expect(answers[2].at("DATA", "core_key")?.stringValue == node.serverKey)
                let made = answers[1].at("DATA", "private_key")?.stringValue ?? ""

                // A question in clear to another port, so that it is known that clear text would be found.
                let listener = try lab.start("in_between.py", ["plain", NetworkLab.Host.ca.address, "6000"], on: .ca, keepInput: true)
                try listener.waitFor("ready")
                let marker = "this line is in clear"
                _ = try lab.peer(
                    "curve_client.py", on: .ra,
                    input: [
                        "address": .string(NetworkLab.Host.ca.address), "port": .integer(6_000), "requests": [[.string(marker), [:]]],
                    ])
                listener.closeInput()
                try listener.finish()
                try waitUntil("the marker has been captured") {
                    FileManager.default.contents(atPath: capture)?.range(of: Data(marker.utf8)) != nil
                }
                sniffer.signal(SIGINT)
                try sniffer.finish()

                let lines = (made + csr).split(separator: "\n").map(String.init).filter { !$0.hasPrefix("-----") }
                #expect(lines.count > 6)
                let secrets = [node.token, node.curveSecret, ca.ca.token] + lines
                let words = ["\"sign\"", "\"register\"", "BEGIN CERTIFICATE", "PRIVATE KEY", "node.example.com", "\"TASK\"", "\"EVENT\""]
                let seen = try lab.place.peer(
                    "sniffed.py", input: ["capture": .string(capture), "texts": .array((secrets + words + [marker]).map { .string($0) })])
                let found = seen["found"]?.arrayValue?.compactMap(\.stringValue) ?? []
                // What is found is the marker's own connection.
                #expect(found.sorted() == [marker, "\"TASK\"", "\"EVENT\""].sorted(), "\(found)")
                #expect(seen["curve"]?.arrayValue == [.integer(ca.ca.port), .integer(ca.ca.registrarPort)], "\(seen.text)")
                #expect((seen.at("bytes", "\(ca.ca.port)")?.integerValue ?? 0) > 3_000, "\(seen.text)")
            }
        }

        // MARK: An unmodified RA behind the tunnel

        private static let ra = "ra.example.com"

        /// Starts a tunnel on the RA's host that listens where the CA does.
        private func tunnel(_ lab: NetworkLab, _ ca: LabCA, _ arguments: [String]) throws -> ProgramRun {
            let tunnel = try lab.place.start(
                lab.on(.ra) + ["\(Checkout.programs)/ca-ctl", "tunnel", "--listen", "127.0.0.1:\(ca.ca.port)"] + arguments)
            try tunnel.waitFor("listening")
            return tunnel
        }

        @Test(
            "an unmodified RA on another host is registered and issues over ACME through the tunnel: no seed, token, key or request crosses the network in clear",
            arguments: RegistrationAuthorityTests.versions)
        func registrationAuthority(version: String) throws {
            try withNetwork { lab, ca in
                let capture = lab.place.path("all.pcap")
                let sniffer = try lab.sniff(to: capture)
                let opened = try ca.open(Self.ra)
                let string = try #require(opened["enrolment"]?.stringValue)
                try lab.place.write(string + "\n", to: "enrolment.txt", mode: 0o600)
                let (identity, files) = (lab.place.path("identity"), lab.place.path("ra"))
                let arguments = ["--enroll", "@\(lab.place.path("enrolment.txt"))", "--identity", identity, "--ra-dir", files]
                var tunnel = try self.tunnel(lab, ca, arguments)
                // Whatever the RA has for a seed stays on its host.
                let seed = "what this RA has for a seed 0123456789"
                let input: JSON = [
                    "port": .integer(ca.ca.port), "directory": .string(files), "token": .string(seed), "cn": .string(Self.ra),
                ]
                let started = try lab.peer("ra_start.py", on: .ra, version: version, input: input)
                #expect(
                    started["registered"] == true && started["registered_before"] == false,
                    "\(started.text)\n\(tunnel.errors.suffix(2_000))")
                #expect(started.at("status_before", "status") == "not_registered" && started.at("status", "status") == "registered")
                // The tunnel starts anew in between: the RA goes on, and the string is not used twice.
                tunnel.signal(SIGTERM)
                #expect(try tunnel.finish().code == 0)
                tunnel = try self.tunnel(lab, ca, arguments)
                let facts = try lab.peer(
                    "ra_acme.py", on: .ra, version: version, input: ["port": .integer(ca.ca.port), "directory": .string(files)])
                for name in ["certbot", "with a CN", "wildcard", "long name"] {
                    #expect(facts.at(name, "finalize")?.integerValue == 200, "\(name): \(facts[name]?.text ?? "")")
                    #expect(facts.at(name, "chain")?.stringValue?.hasPrefix("-----BEGIN CERTIFICATE") == true)
                }
                #expect(facts.at("revoke", "code")?.integerValue == 200 && facts.at("ocsp", "status") == "revoked")

                let again = try lab.peer("ra_start.py", on: .ra, version: version, input: input)
                #expect(again["registered_before"] == true && again["registration"] == nil)
                let verified = try lab.place.must([
                    "/usr/bin/openssl", "verify", "-x509_strict", "-CAfile", "\(files)/ca.crt", "-verify_hostname", Self.ra,
                    "\(files)/ra.crt",
                ])
                #expect(verified.contains("OK"))

                // The node carries the tunnel's key, and what the RA got is bound to it.
                let node = try EnrolledNode(identity).node
                let known = try lab.peer("curve_keys.py", on: .ra, input: ["secret": .string(node.curveSecret)])
                #expect(
                    try ca.ca.facts(["node", "show", Self.ra])["binding"]?.stringValue == "curve \(known["public"]?.stringValue ?? "?")")

                try self.sendMarker(lab)
                tunnel.signal(SIGTERM)
                #expect(try tunnel.finish().code == 0)
                sniffer.signal(SIGINT)
                try sniffer.finish()
                let keys = try ["\(identity)/node.key", "\(files)/ra.key"].map { try String(contentsOfFile: $0, encoding: .utf8) }
                let lines = keys.flatMap { $0.split(separator: "\n").map(String.init).filter { !$0.hasPrefix("-----") } }
                #expect(lines.count > 3)
                let secrets = [seed, opened["token"]?.stringValue ?? "?", string, node.curveSecret, ca.ca.token] + lines
                let words = ["acme_issue_certificate", "\"sign\"", "BEGIN CERTIFICATE", "PRIVATE KEY", Self.ra, "\"TASK\"", "\"EVENT\""]
                let seen = try lab.place.peer(
                    "sniffed.py",
                    input: ["capture": .string(capture), "texts": .array((secrets + words + [Self.marker]).map { .string($0) })])
                let found = seen["found"]?.arrayValue?.compactMap(\.stringValue) ?? []
                #expect(found.sorted() == [Self.marker, "\"TASK\"", "\"EVENT\""].sorted(), "\(found)")
                #expect(seen["curve"]?.arrayValue == [.integer(ca.ca.port), .integer(ca.ca.registrarPort)], "\(seen.text)")
                #expect((seen.at("bytes", "\(ca.ca.port)")?.integerValue ?? 0) > 10_000, "\(seen.text)")
            }
        }

        private static let marker = "this line is in clear"

        /// A question in clear to another port, so that it is known that clear text would be found.
        private func sendMarker(_ lab: NetworkLab) throws {
            let capture = lab.place.path("all.pcap")
            let listener = try lab.start("in_between.py", ["plain", NetworkLab.Host.ca.address, "6000"], on: .ca, keepInput: true)
            try listener.waitFor("ready")
            _ = try lab.peer(
                "curve_client.py", on: .ra,
                input: [
                    "address": .string(NetworkLab.Host.ca.address), "port": .integer(6_000), "requests": [[.string(Self.marker), [:]]],
                ])
            listener.closeInput()
            try listener.finish()
            try waitUntil("the marker has been captured") {
                FileManager.default.contents(atPath: capture)?.range(of: Data(Self.marker.utf8)) != nil
            }
        }

        @Test("the tunnel renews the node's certificate and puts it where the RA looks; the RA's seed becomes the tunnel's token")
        func renewal() throws {
            try withNetwork { lab, ca in
                let string = try #require(ca.open(Self.ra)["enrolment"]?.stringValue)
                try lab.place.write(string, to: "enrolment.txt", mode: 0o600)
                let (identity, files) = (lab.place.path("identity"), lab.place.path("ra"))
                var tunnel = try self.tunnel(
                    lab, ca, ["--enroll", "@\(lab.place.path("enrolment.txt"))", "--identity", identity, "--ra-dir", files])
                let input: JSON = ["port": .integer(ca.ca.port), "directory": .string(files), "token": "some word", "cn": .string(Self.ra)]
                _ = try lab.peer("ra_start.py", on: .ra, input: input)
                func ask(_ task: String, _ parameters: JSON) throws -> JSON {
                    try lab.peer("plain_client.py", ["\(ca.ca.port)"], on: .ra, input: [["TASK": .string(task), "params": parameters]])
                        .arrayValue?.first
                        ?? .null
                }
                // The RA sends its seed again for its nodes.
                let made = try ask("register", ["seed": "some word", "cn": "n.example.com", "profile": "server"])
                #expect(made["EVENT"] == "ANSWER", "\(made.text)")
                let first = try String(contentsOfFile: "\(files)/ra.crt", encoding: .utf8)
                tunnel.signal(SIGTERM)
                #expect(try tunnel.finish().code == 0)
                tunnel = try self.tunnel(
                    lab, ca, ["--identity", identity, "--ra-dir", files, "--renew-after", "0", "--look-interval", "100000"])
                try tunnel.waitFor("was renewed")
                try tunnel.waitFor("/ra.crt is the node's certificate")
                let second = try String(contentsOfFile: "\(files)/ra.crt", encoding: .utf8)
                #expect(try second != first && second == String(contentsOfFile: "\(identity)/node.crt", encoding: .utf8))
                let shown = try ca.ca.facts(["node", "show", Self.ra])
                let serial = try lab.place.must(["/usr/bin/openssl", "x509", "-in", "\(files)/ra.crt", "-noout", "-serial"])
                let hexadecimal = String(serial.dropFirst("serial=".count)).trimmingCharacters(in: .whitespacesAndNewlines).lowercased()
                let view = try ca.ca.facts(["cert", "show", "--serial", "0x\(hexadecimal)"])
                #expect(view["serial"] == shown["serial"] && shown["serial"] != nil, "\(view.text) \(shown.text)")
                #expect(try ask("sign", ["csr": .string(try lab.place.csr("/CN=after.example.com"))])["EVENT"] == "ANSWER")
                tunnel.signal(SIGTERM)
                #expect(try tunnel.finish().code == 0)
            }
        }

        // MARK: Enrolment strings, and administration from afar

        @Test(
            "an enrolment string is good once, for its name; a lost answer is given again to the same keys alone, also when the registrar is gone"
        )
        func enrolment() throws {
            try withNetwork { lab, ca in
                let string = try #require(ca.open("third.example.com", max: 1)["enrolment"]?.stringValue)
                let folder = lab.place.path("third")
                let wrongName = try lab.ctl(["enroll", "-", "--out", folder, "--cn", "other.example.com"], on: .ra, input: string)
                #expect(wrongName.code == 2 && wrongName.errors.contains("third.example.com"), "\(wrongName.errors)")
                let first = try lab.ctl(["enroll", "-", "--out", folder, "--names", "third.example.com,10.77.0.2"], on: .ra, input: string)
                #expect(first.code == 0, "\(first.errors)")
                let certificate = try String(contentsOfFile: "\(folder)/node.crt", encoding: .utf8)
                let text = try lab.place.must(["/usr/bin/openssl", "x509", "-in", "\(folder)/node.crt", "-noout", "-ext", "subjectAltName"])
                #expect(text.contains("DNS:third.example.com, IP Address:10.77.0.2"), "\(text)")
                // The answer is lost; and by now the registrar has closed its port behind the last registration.
                for name in ["node.json", "node.crt", "ca.crt"] { unlink("\(folder)/\(name)") }
                try waitUntil("the registrar is down") { try ca.ca.facts(["registrar", "status"]).at("service", "state") == "stopped" }
                let second = try lab.ctl(["enroll", "-", "--out", folder], on: .ra, input: string)
                #expect(second.code == 0, "\(second.errors)")
                #expect(try String(contentsOfFile: "\(folder)/node.crt", encoding: .utf8) == certificate)

                // A thief comes later, with keys of his own: while the registrar is away, and while it is there for somebody else.
                let early = try lab.ctl(["enroll", "-", "--out", lab.place.path("stolen")], on: .attacker, input: string)
                #expect(early.code == 3 && early.errors.contains("nobody"), "\(early.errors)")
                _ = try ca.open("fourth.example.com")
                let stolen = try lab.ctl(["enroll", "-", "--out", lab.place.path("stolen")], on: .attacker, input: string)
                #expect(stolen.code == 1 && stolen.errors.contains("Registration is open for another name"), "\(stolen.errors)")
                _ = try ca.open()
                let again = try lab.ctl(["enroll", "-", "--out", lab.place.path("stolen")], on: .attacker, input: string)
                #expect(again.code == 1 && again.errors.contains("Invalid registration seed"), "\(again.errors)")
                let nodes = try ca.ca.facts(["node", "list"]).arrayValue?.compactMap { $0["cn"]?.stringValue } ?? []
                #expect(nodes == ["third.example.com"])

                // Another CA's fingerprint: what it answers is not kept.
                let renewed = try lab.ctl(["enroll", "--renew", "--out", folder], on: .ra)
                #expect(renewed.code == 0, "\(renewed.errors)")
                #expect(try String(contentsOfFile: "\(folder)/node.crt", encoding: .utf8) != certificate)
            }
        }

        /// Registers a node with `ca-ctl enroll`.
        private func enrolled(_ lab: NetworkLab, _ ca: LabCA, _ name: String) throws -> EnrolledNode {
            let string = try #require(ca.open(name)["enrolment"]?.stringValue)
            let folder = lab.place.path(name)
            let done = try lab.ctl(["enroll", "-", "--out", folder], on: .ra, input: string)
            guard done.code == 0 else { throw TestFailure(done.errors) }
            return try EnrolledNode(folder)
        }

        @Test(
            "a listed admin gives every command that makes sense from afar; a node that is none is refused, and so is one from the next request after remove_admin on"
        )
        func remoteAdministration() throws {
            try withNetwork { lab, ca in
                let admin = try self.enrolled(lab, ca, "admin.example.com")
                _ = try self.enrolled(lab, ca, "plain.example.com")
                let dn = try ca.ca.facts(["node", "show", "admin.example.com"])["dn"]?.stringValue ?? ""
                _ = try ca.ca.facts(["admin", "add", dn])
                func run(_ arguments: [String], as folder: String? = nil, input: String = "") throws -> Finished {
                    try lab.ctl(["--identity", folder ?? admin.folder] + arguments, on: .ra, input: input)
                }
                try lab.place.write(try lab.place.csr("/CN=signed.example.com"), to: "a.csr")
                try lab.place.write("keyType: ec-p256\nduration: 10\n", to: "short.yml")
                let csr = lab.place.path("a.csr")
                let commands: [[String]] = [
                    ["status"], ["registrar", "status"], ["registrar", "close"], ["registrar", "open", "--cn", "new.example.com"],
                    ["token", "list"],
                    ["admin", "list"], ["admin", "add", "/CN=second"], ["admin", "remove", "/CN=second"], ["node", "list"],
                    ["node", "show", "plain.example.com"], ["node", "limit", "plain.example.com", "--profiles", "server"],
                    ["node", "rebind", "plain.example.com", "--for", "10m"], ["node", "renew", "plain.example.com"],
                    ["cert", "issue", "made.example.com"], ["cert", "sign", csr], ["cert", "list"], ["cert", "show", "signed.example.com"],
                    ["cert", "renew", "made.example.com"], ["cert", "revoke", "signed.example.com", "--reason", "certificateHold"],
                    ["cert", "unrevoke", "signed.example.com"], ["cert", "delete", "signed.example.com"], ["crl", "generate"],
                    ["crl", "show"],
                    ["profile", "list"], ["profile", "show", "server"], ["profile", "add", lab.place.path("short.yml")],
                    ["profile", "remove", "short"],
                    ["audit", "show"], ["audit", "verify"], ["audit", "checkpoint"], ["metrics"], ["transport", "show"],
                    ["node", "remove", "plain.example.com"],
                ]
                for command in commands {
                    let done = try run(command)
                    #expect(done.code == 0, "\(command.joined(separator: " ")): \(done.errors)")
                }
                let audit = try ca.ca.facts(["audit", "show", "--limit", "5"]).arrayValue ?? []
                #expect(
                    audit.contains {
                        $0["task"] == "remove_node" && $0["identity"] == "node admin.example.com"
                            && $0["proof"]?.stringValue?.hasPrefix("curve ") == true
                    })
                let shown = try ca.ca.ctl(["audit", "show", "--limit", "200"]).output
                #expect(
                    shown.contains("node admin.example.com (curve ") && shown.contains("local uid 0") && shown.contains("  curve "),
                    "\(shown.suffix(2_000))")
                // The registrar was opened from afar, and its port with it.
                let late = try run(["registrar", "open", "--cn", "late.example.com", "--json"])
                let string = try JSON(parsing: Array(late.output.utf8))["enrolment"]?.stringValue ?? ""
                try waitUntil("the registrar listens") {
                    try lab.ctl(["enroll", "-", "--out", lab.place.path("late")], on: .ra, input: string).code == 0
                }
                // What belongs to the host stays there.
                for command in [
                    ["doctor"], ["reload"], ["seed", "verify"], ["node", "add", "x", "--address", "10.77.0.2"], ["transport", "abort"],
                ] {
                    let done = try run(command, input: "a seed that nobody asked for\n")
                    #expect(done.code == 1 && done.errors.contains("works on the CA's own host only"), "\(command): \(done.errors)")
                }
                // A node is no admin.
                let nobody = try self.enrolled(lab, ca, "nobody.example.com")
                for command in [["node", "list"], ["registrar", "open"], ["admin", "add", "/CN=nobody"], ["audit", "show"], ["status"]] {
                    let done = try run(command, as: nobody.folder)
                    #expect(done.code == 1 && done.errors.contains("Not authorised"), "\(command): \(done.errors)")
                }
                _ = try ca.ca.facts(["admin", "remove", dn])
                for command in [["node", "list"], ["admin", "list"], ["cert", "delete", "made.example.com"]] {
                    let done = try run(command)
                    #expect(
                        (done.code == 1 && done.errors.contains("Not authorised")) || command == ["admin", "list"],
                        "\(command): \(done.errors)")
                }
            }
        }

        // MARK: Somebody in between

        @Test(
            "somebody in between, with a CURVE key of his own or with none, is refused by enroll, tunnel and the remote ca-ctl, and reads nothing"
        )
        func inBetween() throws {
            try withNetwork { lab, ca in
                let node = try self.enrolled(lab, ca, "node.example.com")
                let string = try #require(ca.open("late.example.com")["enrolment"]?.stringValue)
                let tunnel = try self.tunnel(lab, ca, ["--identity", node.folder])
                func ask() throws -> JSON {
                    try lab.peer("plain_client.py", ["\(ca.ca.port)"], on: .ra, input: [["TASK": "get_ca", "params": [:]]]).arrayValue?
                        .first ?? .null
                }
                #expect(try ask()["EVENT"] == "ANSWER")
                // Both of the addresses that nodes know.
                try lab.putAttackerInBetween(alsoSecond: true)
                for kind in ["own-key", "plain"] {
                    let between = try lab.start(
                        "in_between.py", [kind, "0.0.0.0", "\(ca.ca.port)", "\(ca.ca.registrarPort)"], on: .attacker, keepInput: true)
                    try between.waitFor("ready")
                    let enrolled = try lab.ctl(["enroll", "-", "--out", lab.place.path("late-\(kind)")], on: .ra, input: string)
                    #expect(
                        enrolled.code == 3 && enrolled.errors.contains("does not prove the CURVE key"),
                        "\(enrolled.output)\(enrolled.errors)")
                    let remote = try lab.ctl(["--identity", node.folder, "cert", "list"], on: .ra)
                    #expect(remote.code == 3 && remote.errors.contains("does not prove the CURVE key"), "\(remote.output)\(remote.errors)")
                    let answer = try ask()
                    #expect(answer["EVENT"] == "UPKI ERROR" && answer.refusal.hasPrefix("Busy"), "\(answer.text)")
                    between.closeInput()
                    let told = try between.finish().output.split(separator: "\n").last.map(String.init) ?? ""
                    // He got nothing to read, not even one request.
                    #expect(told == "{\"read\": []}", "\(told)")
                }
                try lab.takeAttackerAway(alsoSecond: true)
                try waitUntil("the tunnel goes on") { try ask()["EVENT"] == "ANSWER" }
                let enrolled = try lab.ctl(["enroll", "-", "--out", lab.place.path("late")], on: .ra, input: string)
                #expect(enrolled.code == 0, "\(enrolled.errors)")
                tunnel.signal(SIGTERM)
                #expect(try tunnel.finish().code == 0)
            }
        }

        // MARK: Who gets in

        @Test(
            "no key, forged properties, the key of a node that was removed, a used token, the plain protocol: nothing is had with them"
        )
        func strangers() throws {
            try withNetwork { lab, ca in
                let good = try ca.enrol("good.example.com", on: .ra)
                let removed = try ca.enrol("removed.example.com", on: .ra)
                let expected = "Not authorised: sign needs a registered node"
                let csr = try lab.place.csr("/CN=x.example.com")
                let sign: (String, JSON) = ("sign", ["csr": .string(csr)])

                // A node signs; the same key from another host is the same node.
                #expect(try self.ask(lab, ca, from: .ra, as: good, secret: good.curveSecret, [sign]).first?["EVENT"] == "ANSWER")
                // A key that is nobody's: what anybody may, and no more.
                let nobody = try self.ask(
                    lab, ca, from: .attacker, as: good, [("get_ca", [:]), sign, ("list_nodes", [:]), ("add_admin", ["dn": "/CN=x"])])
                #expect(nobody.first?["EVENT"] == "ANSWER" && nobody[1].refusal.hasPrefix(expected), "\(nobody)")
                #expect(nobody[2].refusal.hasPrefix("Not authorised") && nobody[3].refusal.hasPrefix("Not authorised"))
                // No CURVE at all.
                func knock(_ seconds: Int) throws -> JSON? {
                    try lab.peer(
                        "curve_client.py", on: .attacker,
                        input: [
                            "address": .string(NetworkLab.Host.ca.address), "port": .integer(ca.ca.port),
                            "requests": [["get_ca", [:]], ["sign", ["csr": .string(csr)]]], "seconds": .integer(seconds),
                        ])["answers"]
                }
                #expect(try knock(2) == [.null, .null])
                // libzmq's own client may close before the front has read what it speaks; then nobody knows why it went.
                try waitUntil("the log tells of it") { try ca.ca.log.contains("a client without CURVE") || knock(1) == nil }
                try waitUntil("the metrics count it") {
                    let lines = try ca.ca.ctl(["metrics"]).output.split(separator: "\n")
                    return lines.contains { $0.contains("handshake_plain_at_curve") && !$0.hasSuffix(" 0") }
                }
                // Properties in a READY of one's own, on the plain port, where whoever is on the host may connect.
                for (name, value) in [("User-Id", "Z85"), ("Peer-Address", NetworkLab.Host.ra.address), ("User-Id", "")] {
                    let told = value == "Z85" ? good.publicKey : value
                    let forged =
                        try lab.peer(
                            "forged_ready.py", on: .ca,
                            input: [
                                "port": .integer(ca.ca.port), "properties": .object([.init(name, .string(told))]),
                                "requests": [["get_ca", [:]], ["sign", ["csr": .string(csr)]]],
                            ]
                        ).arrayValue ?? []
                    #expect(
                        forged.count == 2 && forged[0]["EVENT"] == "ANSWER" && forged[1].refusal.hasPrefix(expected), "\(name): \(forged)")
                }

                // Connections that are open already lose their rights with the commit.
                let load = try lab.start(
                    "sign_rate.py", on: .attacker,
                    input: self.rate(removed, csr, ca, together: 1, count: 5), keepInput: true)
                try load.write("\n")
                try load.waitFor("\"refused\": []")
                _ = try ca.ca.facts(["node", "remove", "removed.example.com"])
                try load.write("\n")
                try load.waitFor(expected)
                load.closeInput()
                try load.finish()

                // A token that was used: not for another key.
                let third = try ca.enrol("third.example.com", on: .ra)
                _ = try ca.open("fourth.example.com")
                let thief = try lab.peer("curve_keys.py", on: .attacker)["secret"]?.stringValue ?? ""
                let stolen = try ca.register(third, as: thief, on: .attacker)
                #expect(!stolen.refusal.isEmpty, "\(stolen.text)")
                let nodes = try ca.ca.facts(["node", "list"]).arrayValue?.compactMap { $0["cn"]?.stringValue } ?? []
                #expect(nodes.sorted() == ["good.example.com", "third.example.com"])

                // Nothing of another node's: its certificates cannot be renewed or revoked, its keys not read.
                let owned = try self.ask(
                    lab, ca, from: .ra, as: good, secret: good.curveSecret, [("generate", ["cn": "owned.example.com", "local": false])])
                let serial = try #require(owned.first?.at("DATA", "serial"))
                let other = try self.ask(
                    lab, ca, from: .ra, as: third, secret: third.curveSecret,
                    [
                        ("renew", ["serial": serial]), ("revoke", ["serial": serial]), ("view", ["serial": serial]),
                        ("get_node", ["cn": "good.example.com"]),
                    ])
                #expect(other.prefix(3).allSatisfy { $0.refusal.hasPrefix("Certificate not found") }, "\(other)")
                let owners = try self.ask(lab, ca, from: .ra, as: good, secret: good.curveSecret, [("ocsp_check", ["serial": serial])])
                #expect(owners.first?.at("DATA", "status") == "good")
                #expect(other.allSatisfy { !$0.text.contains("PRIVATE KEY") })

                // An admin is one until the next request after remove_admin.
                let dn = try ca.ca.facts(["node", "show", "good.example.com"])["dn"]?.stringValue ?? ""
                _ = try ca.ca.facts(["admin", "add", dn])
                let task: (String, JSON) = ("add_admin", ["dn": "/CN=somebody"])
                #expect(try self.ask(lab, ca, from: .ra, as: good, secret: good.curveSecret, [task]).first?["EVENT"] == "ANSWER")
                _ = try ca.ca.facts(["admin", "remove", dn])
                let refused = try self.ask(lab, ca, from: .ra, as: good, secret: good.curveSecret, [task])
                #expect(refused.first?.refusal.hasPrefix("Not authorised: add_admin needs") == true, "\(refused)")

                // The audit log says who did it, and how that was proven.
                let audit = try ca.ca.facts(["audit", "show", "--limit", "200"]).text
                #expect(
                    audit.contains("curve ") && audit.contains("local uid 0") && audit.contains("node good.example.com"),
                    "\(audit.suffix(2_000))")
            }
        }

        // MARK: Somebody in between

        @Test("a connection that was recorded and is sent again gets nothing done")
        func replay() throws {
            try withNetwork { lab, ca in
                let node = try ca.enrol("node.example.com", on: .ra)
                try lab.putAttackerInBetween()
                let between = try lab.start(
                    "in_between.py", ["record", NetworkLab.Host.ca.address, NetworkLab.secondAddressOfCA, "\(ca.ca.port)"], on: .attacker,
                    keepInput: true)
                try between.waitFor("ready")
                let answers = try self.ask(
                    lab, ca, from: .ra, as: node, secret: node.curveSecret,
                    [("sign", ["csr": .string(try lab.place.csr("/CN=once.example.com"))]), ("generate", ["cn": "twice.example.com"])])
                #expect(answers.allSatisfy { $0["EVENT"] == "ANSWER" }, "\(answers)")
                between.closeInput()
                let last = try between.finish().output.split(separator: "\n").last.map(String.init) ?? ""
                let streams = try JSON(parsing: Array(last.utf8)).arrayValue ?? []
                let recorded = try #require(streams.compactMap { $0["client"]?.stringValue }.max { $0.count < $1.count })
                #expect(recorded.count > 1_000)
                func issued() throws -> Int { try ca.ca.facts(["cert", "list", "--limit", "10000"]).arrayValue?.count ?? -1 }
                let before = try issued()
                let repeated = try lab.place.run(
                    lab.on(.attacker) + [
                        try Checkout.python("0.1.6"), "-B", "\(Checkout.peers)/in_between.py", "replay", NetworkLab.secondAddressOfCA,
                        "\(ca.ca.port)",
                    ], input: recorded + "\n")
                let findings =
                    try JSON(parsing: Array((repeated.output.split(separator: "\n").last.map(String.init) ?? "").utf8)).arrayValue ?? []
                #expect(findings.count == 2 && findings.allSatisfy { $0["closed"] == true }, "\(repeated.output)\(repeated.errors)")
                #expect(try issued() == before)
                try lab.takeAttackerAway()
                #expect(
                    try self.ask(lab, ca, from: .ra, as: node, secret: node.curveSecret, [("get_ca", [:])]).first?["EVENT"] == "ANSWER")
            }
        }

        // MARK: A siege

        @Test(
            "while an attacker does his worst, a good node's sign keeps at least half of its undisturbed rate, and the CA is not touched",
            arguments: ["garbage", "half", "versions", "endless", "connections", "strangers"])
        func siege(kind: String) throws {
            try withNetwork { lab, ca in
                let node = try ca.enrol("node.example.com", on: .ra)
                try lab.multiplyAttacker(100)
                let load = try lab.start(
                    "sign_rate.py", on: .ra,
                    input: self.rate(node, try lab.place.csr("/CN=x.example.com"), ca, together: 4, count: 2_000), keepInput: true)
                func round() throws -> Double {
                    let before = load.output.split(separator: "\n").count
                    try load.write("\n")
                    try waitUntil("the round is over", within: .seconds(120)) {
                        load.output.split(separator: "\n").count > before && load.output.hasSuffix("\n")
                    }
                    let told = try JSON(parsing: Array(load.output.split(separator: "\n")[before].utf8))
                    #expect(told["refused"] == [] && told["count"]?.integerValue == 2_000, "\(told.text)")
                    return Double(told["seconds"]?.text ?? "") ?? .infinity
                }
                let core = try ca.ca.pid(of: "serve")
                _ = try round()
                let undisturbed = try round()
                // The attacker's host is another machine: it takes this one's processors only where nobody else wants them.
                let attack = try lab.place.start(
                    lab.on(.attacker) + [
                        "/usr/bin/chrt", "--idle", "0", try Checkout.python("0.1.6"), "-B", "\(Checkout.peers)/siege.py", kind,
                        NetworkLab.Host.ca.address, "\(ca.ca.port)", node.serverKey,
                    ], keepInput: true)
                try attack.waitFor("going")
                var during = try [round(), round()]
                if kind == "connections" {
                    try attack.waitFor("all", within: .seconds(240))
                    during.append(try round())
                }
                attack.closeInput()
                let told = try attack.finish(within: .seconds(30)).output.split(separator: "\n").last.map(String.init) ?? ""
                #expect(during.min() ?? .infinity <= undisturbed * 2, "\(kind): \(undisturbed) s undisturbed, \(during) s during: \(told)")
                #expect(
                    (try JSON(parsing: Array(told.utf8))["attempts"]?.integerValue ?? 0) > (kind == "connections" ? 49_999 : 0), "\(told)")
                #expect(try ca.ca.pid(of: "serve") == core)
                load.closeInput()
                try load.finish()
                _ = try waitUntil("the front takes new connections") {
                    try self.ask(lab, ca, from: .ra, as: node, secret: node.curveSecret, [("get_ca", [:])]).first?["EVENT"] == "ANSWER"
                }
            }
        }

        // MARK: The packet filter

        @Test("the packet filter's rules load, bound an address's connections, and keep other users off the plain ports of loopback")
        func packetFilter() throws {
            try withNetwork { lab, ca in
                func load(_ file: String, on host: NetworkLab.Host, users: String) throws {
                    let text = try String(contentsOfFile: "\(Checkout.root)/deploy/nftables/\(file)", encoding: .utf8)
                        .replacingOccurrences(of: "{ 5000, 5001 }", with: "{ \(ca.ca.port), \(ca.ca.registrarPort) }")
                        .replacingOccurrences(of: users, with: "{ root, 33 }")
                    // Twice: loading again replaces.
                    for _ in 0..<2 { try lab.place.must(lab.on(host) + ["/usr/sbin/nft", "-f", "-"], input: text) }
                }
                try load("upki-ca.nft", on: .ca, users: "{ root }")
                try load("upki-tunnel.nft", on: .ra, users: "{ root, upki-ra }")
                let script = """
                    import socket, sys, os
                    address, port, count, user = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
                    os.setuid(user) if user else None
                    held = []
                    for _ in range(count):
                        try: held.append(socket.create_connection((address, port), 3))
                        except OSError: pass
                    print(len(held))
                    """
                try lab.place.write(script, to: "connect.py", mode: 0o644)
                chmod(lab.place.directory, 0o711)
                func connected(_ host: NetworkLab.Host, _ address: String, _ count: Int, user: Int = 0) throws -> Int {
                    let command = ["/usr/bin/python3", lab.place.path("connect.py"), address, "\(ca.ca.port)", "\(count)", "\(user)"]
                    return Int(try lab.place.must(lab.on(host) + command).trimmingCharacters(in: .whitespacesAndNewlines)) ?? -1
                }
                #expect(try connected(.attacker, NetworkLab.Host.ca.address, 300) == 200)
                #expect(try connected(.ra, NetworkLab.Host.ca.address, 10) == 10)
                #expect(try connected(.ca, "127.0.0.1", 1) == 1)
                #expect(try connected(.ca, "127.0.0.1", 1, user: 33) == 1)
                #expect(try connected(.ca, "127.0.0.1", 1, user: 65_534) == 0)
            }
        }
    }
}
