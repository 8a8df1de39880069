// The CURVE keys of a real CA, and their exchange; on addresses of loopback, one plain and one with CURVE.
import Foundation
import Glibc
import TestPrograms
import Testing
import UPKIProtocol

/// A CA that speaks plain ZeroMQ on 127.0.0.1 and CURVE on 127.0.0.2.
func withCurveCA<Result>(seed: String? = nil, _ body: (RunningCA) throws -> Result) throws -> Result {
    try withCA(seed: seed) { ca in
        try ca.stop()
        let file = "\(ca.data)/ca.config.yml"
        let lines = try String(contentsOfFile: file, encoding: .utf8).split(separator: "\n", omittingEmptySubsequences: false)
        let text =
            lines.filter { !$0.hasPrefix("host:") }.joined(separator: "\n") + """

                listeners:
                  - {address: 127.0.0.1, security: plain}
                  - {address: 127.0.0.2, security: curve}

                """
        try text.write(toFile: file, atomically: false, encoding: .utf8)
        chmod(file, 0o600)
        try ca.start()
        return try body(ca)
    }
}

extension IntegrationTests {
    @Suite("The CURVE keys of the ports")
    struct TransportTests {
        private static let seed = "a seed of at least sixteen octets, once more"

        /// Registers a node, and makes it an admin.
        private func enrol(_ ca: RunningCA, _ name: String) throws -> String {
            let string = try #require(ca.facts(["registrar", "open", "--cn", name])["enrolment"]?.stringValue)
            let folder = ca.place.path(name)
            let enrolled = try ca.place.run(["\(Checkout.programs)/ca-ctl", "enroll", "-", "--out", folder, "--json"], input: string)
            guard enrolled.code == 0 else { throw TestFailure(enrolled.errors) }
            let dn = try JSON(parsing: Array(enrolled.output.utf8))["dn"]?.stringValue ?? ""
            _ = try ca.facts(["admin", "add", dn])
            return folder
        }

        private func remote(_ ca: RunningCA, _ folder: String, _ arguments: String...) throws -> Finished {
            try ca.place.run(["\(Checkout.programs)/ca-ctl", "--identity", folder] + arguments)
        }

        private func keys(_ folder: String) throws -> [String] {
            let text = try String(contentsOfFile: "\(folder)/node.json", encoding: .utf8)
            return try JSON(parsing: Array(text.utf8))["keys"]?.arrayValue?.compactMap { $0["core_key"]?.stringValue } ?? []
        }

        @Test("they follow from the seed, so that the nodes of a lost CA trust the recovered one; another seed gives others")
        func recovered() throws {
            func transport(_ seed: String) throws -> JSON { try withCurveCA(seed: seed) { try $0.facts(["transport", "show"]) } }
            let first = try transport(Self.seed)
            let second = try transport(Self.seed)
            #expect(first["core_key"] == second["core_key"] && first["registrar_key"] == second["registrar_key"])
            #expect(first["core_key"] != first["registrar_key"] && first["core_key"]?.stringValue?.count == 40)
            #expect(try transport("another seed of sixteen octets and more")["core_key"] != first["core_key"])
        }

        @Test("an exchange: nodes learn the next keys over the present ones, go on during and after it, and one that was away is told so")
        func exchange() throws {
            try withCurveCA(seed: Self.seed) { ca in
                let (node, away) = (try self.enrol(ca, "node.example.com"), try self.enrol(ca, "away.example.com"))
                let before = try ca.facts(["transport", "show"])
                #expect(before["addresses"] == ["127.0.0.2"] && before["next"] == .null && before["number"]?.integerValue == 0)

                // Not without the seed, and not with another one.
                let wrong = try ca.ctl(["transport", "rotate"], input: "a seed that is not this CA's own\n")
                #expect(wrong.code == 1 && wrong.errors.contains("Invalid registration seed"), "\(wrong.errors)")
                let port = try Ports.freePair()
                let during = try ca.facts(["transport", "rotate", "--port", "\(port)"], input: Self.seed)
                let next = try #require(during.at("next", "core_key")?.stringValue)
                #expect(during["core_key"] == before["core_key"] && during.at("next", "port")?.integerValue == Int64(port))
                let twice = try ca.ctl(["transport", "rotate"], input: Self.seed)
                #expect(twice.code == 1 && twice.errors.contains("ca-ctl transport finish"), "\(twice.errors)")

                // A day later, as the file's time has it, the node asks and learns.
                #expect(try self.keys(node).count == 1)
                var times = [timeval(tv_sec: 1_000_000_000, tv_usec: 0), timeval(tv_sec: 1_000_000_000, tv_usec: 0)]
                #expect(utimes("\(node)/node.json", &times) == 0)
                try waitUntil("the front is there again") { try self.remote(ca, node, "node", "list").code == 0 }
                #expect(try self.keys(node) == [before["core_key"]?.stringValue, next, next].compactMap { $0 })
                // The next key is had on its own port now.
                let known = try ca.place.peer(
                    "curve_client.py",
                    input: [
                        "address": "127.0.0.2", "port": .integer(port), "server_key": .string(next), "secret": .null,
                        "requests": [["get_ca", [:]]],
                    ])
                #expect(known["answers"]?.arrayValue?.first?["EVENT"] == "ANSWER", "\(known.text)")

                let after = try ca.facts(["transport", "finish"])
                #expect(after["core_key"] == .string(next) && after["next"] == .null && after["number"]?.integerValue == 1)
                try waitUntil("the node goes on with the next key") { try self.remote(ca, node, "node", "list").code == 0 }
                #expect(try self.keys(node) == [next])
                let late = try self.remote(ca, away, "node", "list")
                #expect(late.code == 3 && late.errors.contains("does not prove the CURVE key"), "\(late.errors)")
                // It is the seed's, too: key number 1 of the documents.
                try ca.stop()
                try ca.start()
                #expect(try ca.facts(["transport", "show"])["core_key"] == .string(next))
            }
        }

        @Test("an exchange that was given up leaves the present keys; there is nothing to end where none is going on")
        func abort() throws {
            try withCurveCA(seed: Self.seed) { ca in
                for command in ["finish", "abort"] {
                    let refused = try ca.ctl(["transport", command])
                    #expect(refused.code == 1 && refused.errors.contains("ca-ctl transport rotate begins one"), "\(refused.errors)")
                }
                let node = try self.enrol(ca, "node.example.com")
                let before = try ca.facts(["transport", "show"])
                _ = try ca.facts(["transport", "rotate", "--port", "\(try Ports.freePair())"], input: Self.seed)
                #expect(try ca.facts(["transport", "abort"]) == before)
                try waitUntil("the front is there again") { try self.remote(ca, node, "node", "list").code == 0 }
                let audit = try ca.facts(["audit", "show", "--limit", "20"]).arrayValue ?? []
                let details = audit.filter { $0["task"]?.stringValue?.hasPrefix("transport_") == true }.compactMap {
                    $0["detail"]?.stringValue
                }
                #expect(
                    details.count == 2 && details[0].hasPrefix("CURVE keys number 1 are had on ports") && details[1].hasSuffix("are gone"))
            }
        }

        @Test("a tunnel tells its service manager when it listens, and how it is, and ends in order")
        func notifies() throws {
            try withCurveCA { ca in
                let string = try #require(ca.facts(["registrar", "open", "--cn", "ra.example.com"])["enrolment"]?.stringValue)
                let manager = try NotifySocket(ca.place.path("notify.sock"))
                let tunnel = try ca.place.start(
                    [
                        "\(Checkout.programs)/ca-ctl", "tunnel", "--enroll", "-", "--identity", ca.place.path("tunnel"), "--listen",
                        "127.0.0.1:\(try Ports.freePair())",
                    ], input: string, environment: ["NOTIFY_SOCKET": manager.path])
                var said = ""
                func hear(_ what: String) throws { while !said.contains(what) { said += try manager.next() + "\n" } }
                try hear("READY=1")
                try hear("connected to 127.0.0.2:\(ca.port), not registered yet, 0 open")
                tunnel.signal(SIGTERM)
                try hear("STOPPING=1")
                #expect(try tunnel.finish().code == 0)
            }
        }

        @Test("the relays have limits of descriptors and memory of their own")
        func limits() throws {
            try withCurveCA { ca in
                let text = try String(contentsOfFile: "/proc/\(try ca.pid(of: "front"))/limits", encoding: .utf8)
                func limit(_ name: String) -> Int {
                    let line = text.split(separator: "\n").first { $0.hasPrefix(name) } ?? ""
                    return line.dropFirst(name.count).split(separator: " ").first.flatMap { Int($0) } ?? .max
                }
                #expect(limit("Max data size") == 1 << 30 && limit("Max open files") <= 131_584)
            }
        }
    }
}
