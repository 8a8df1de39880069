// Peers that break the transport: during each attack and after it other clients are served as before, and the front holds what it may.
import Foundation
import Testing
import UPKIProtocol

extension IntegrationTests {
    @Suite("hostile peers")
    struct HostilePeerTests {
        private struct Story {
            let json: JSON

            func number(_ path: String...) -> Double { Double(path.reduce(self.json) { $0[$1] ?? .null }.text) ?? .infinity }
        }

        @Test("4,000 parts, half a handshake, garbage, frames without end, peers that leave or never read: others are served as before")
        func attacks() throws {
            try withCA { ca in
                try ca.register()
                let processes = try ["serve", "front", "ca-registrar"].map { try ca.pid(of: $0) }
                let csr = try ca.place.csr("/CN=m.example.com", names: ["DNS:m.example.com"])
                let story = try ca.place.peer("hostile_peers.py", ["\(ca.port)", "\(ca.pid(of: "front"))"], input: ["csr": .string(csr)])
                let whole = Story(json: story)
                let attacks = story["attacks"]?.arrayValue ?? []
                #expect(attacks.count == 17)
                for attack in attacks {
                    let name = attack["name"]?.stringValue ?? "?"
                    for task in ["get_ca", "sign", "new"] {
                        // Ten times the undisturbed time, and never less than what a busy machine needs.
                        let allowed = max(0.05, 10 * whole.number("undisturbed", task))
                        for phase in ["during", "after"] {
                            let took = Story(json: attack).number(phase, task)
                            #expect(took <= allowed, "\(name), \(phase): \(task) took \(took) s, allowed are \(allowed)")
                        }
                    }
                    // The relay's own bound for one connection that never reads is 36 MiB.
                    #expect(Story(json: attack).number("memory") < whole.number("before") + 100e6, "\(name): \(attack.text)")
                }
                let facts = Dictionary(uniqueKeysWithValues: attacks.map { ($0["name"]?.stringValue ?? "", $0["facts"] ?? .null) })
                #expect(facts["many_parts"]?["lines"] == ["Invalid request: one frame with one JSON object is expected"])
                #expect(facts["many_parts"]?["count"]?.integerValue == 30 && facts["many_parts"]?["next"] == "ANSWER")
                for name in ["half_handshakes", "greetings_alone"] {
                    #expect(facts[name]?["silent"] == facts[name]?["cut off"], "\(name): \(facts[name]?.text ?? "")")
                }
                #expect(facts["larger_frames"]?["sent"] == facts["larger_frames"]?["cut off"])
                #expect(facts["largest_frame"]?["first"]?.stringValue?.hasPrefix("Invalid JSON: ") == true)
                #expect(facts["largest_frame"]?["second"] == "ANSWER" && facts["another_ones_name"]?["answer"] == "ANSWER")
                #expect(try ["serve", "front", "ca-registrar"].map { try ca.pid(of: $0) } == processes)
                #expect(try ca.facts(["audit", "verify"])["good"] == true)
            }
        }
    }
}
