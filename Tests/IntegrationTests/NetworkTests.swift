// A CA, an RA and an attacker on hosts of their own: what crosses the network, who gets in, and what a good node has of it meanwhile.
import Foundation
import Glibc
import Testing
import UPKIProtocol

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
                let plain = try lab.peer(
                    "curve_client.py", on: .attacker,
                    input: [
                        "address": .string(NetworkLab.Host.ca.address), "port": .integer(ca.ca.port),
                        "requests": [["get_ca", [:]], ["sign", ["csr": .string(csr)]]], "seconds": .integer(2),
                    ])
                #expect(plain["answers"] == [.null, .null])
                #expect(try ca.ca.ctl(["metrics"]).output.contains("handshake_plain_at_curve"))
                try waitUntil("the log tells of it") { ca.ca.log.contains("without CURVE") }
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
