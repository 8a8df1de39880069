// The registrar opens and closes without disturbing anybody, and closed means closed.
import Foundation
import Glibc
import TestPrograms
import Testing
import UPKIProtocol

extension IntegrationTests {
    @Suite("the registrar")
    struct RegistrarTests {
        @Test("close commits, then nothing listens on its port, and it stays so over a restart; open gives a fresh token that works once")
        func openAndClose() throws {
            try withCA { ca in
                try ca.register()
                #expect(Ports.listens(ca.registrarPort))
                let core = try ca.pid(of: "serve")
                let front = try ca.pid(of: "front")

                let closed = try ca.ctl(["registrar", "close"])
                #expect(closed.code == 0, "\(closed.errors)")
                // Closed when the command says so: nothing listens from then on.
                #expect(!Ports.listens(ca.registrarPort))
                #expect(try ca.data("list_admins") == [])
                #expect(try ca.pid(of: "serve") == core)
                #expect(try ca.pid(of: "front") == front)

                #expect(try ca.stop() == 0)
                try ca.start()
                #expect(!Ports.listens(ca.registrarPort))
                #expect(try ca.data("list_admins") == [])
                let shown = try ca.facts(["registrar", "status"])
                #expect(shown["open"] == false, "\(shown.text)")

                let opened = try ca.facts(["registrar", "open", "--for", "1h", "--max", "1", "--cn", "second.example.com"])
                let token = try #require(opened["token"]?.stringValue)
                #expect(token.hasPrefix("upkireg_") && token != ca.token)
                try waitUntil("the registrar listens") { Ports.listens(ca.registrarPort) }
                // The address has its node already; a second one from there is refused, whatever the token.
                let second = try ca.ask("register", ["seed": .string(token), "cn": "second.example.com"], port: ca.registrarPort)
                #expect(second.refusal.contains("already belongs to the node ra.example.com"), "\(second.text)")
                let removed = try ca.ctl(["node", "remove", "ra.example.com"])
                #expect(removed.code == 0, "\(removed.errors)")
                let answers = try ca.ask(
                    [
                        ("register", ["seed": "upkireg_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "cn": "second.example.com"]),
                        ("register", ["seed": .string(token), "cn": "third.example.com"]),
                        ("register", ["seed": .string(token), "cn": "second.example.com"]),
                    ], port: ca.registrarPort)
                #expect(answers[0].refusal == "Invalid registration seed")
                #expect(answers[1]["EVENT"] == "UPKI ERROR")
                #expect(answers[2].at("DATA", "status") == "registered", "\(answers[2].text)")
                // That was the last place: the port closes by itself.
                try waitUntil("the registrar has closed its port") { !Ports.listens(ca.registrarPort) }
                #expect(try ca.data("list_admins") == [])
            }
        }

        @Test("a window that ends by itself closes the port")
        func windowEnds() throws {
            try withCA { ca in
                _ = try ca.facts(["registrar", "close"])
                _ = try ca.facts(["registrar", "open", "--for", "2s"])
                try waitUntil("the port opens") { Ports.listens(ca.registrarPort) }
                try waitUntil("the port closes") { !Ports.listens(ca.registrarPort) }
                let state = try ca.facts(["registrar", "status"])
                #expect(state["open"] == false)
            }
        }

        @Test("a CN that lives cannot be registered again, and a server certificate makes no node")
        func oneNode() throws {
            try withCA { ca in
                try ca.register()
                let again = try ca.ask("register", ["seed": .string(ca.token), "cn": "ra.example.com"], port: ca.registrarPort)
                #expect(again.refusal.contains("ra.example.com"), "\(again.text)")
                let server = try ca.ask("register", ["seed": .string(ca.token), "cn": "s.example.com", "profile": "server"])
                #expect(server.at("DATA", "dn")?.stringValue?.hasSuffix("/CN=s.example.com") == true, "\(server.text)")
                let asked = try ca.ask(
                    "register", ["seed": .string(ca.token), "cn": "t.example.com", "profile": "admin"], port: ca.registrarPort)
                #expect(asked["EVENT"] == "UPKI ERROR")
                #expect(try ca.facts(["node", "list"]).arrayValue?.count == 1)
            }
        }
    }
}
