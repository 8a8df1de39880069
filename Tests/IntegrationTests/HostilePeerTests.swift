// Peers that break the transport, and requests with hostile content: during each and after it other clients are served as before.
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

        /// Requests that openssl makes, or that are made from one of its own.
        private func hostileCSRs(_ place: Workplace, good: String) throws -> [JSON.Member] {
            let critical = try place.csr("/CN=m.example.com", extra: ["-addext", "1.2.3.4.5=critical,ASN1:UTF8String:x"])
            let exponent = try place.csr("/CN=m.example.com", key: "rsa:2048", extra: ["-pkeyopt", "rsa_keygen_pubexp:3"])
            // The last line but one holds the signature, the third the key: neither is what it was with other letters.
            func changed(_ line: Int) -> String {
                var lines = good.split(separator: "\n").map(String.init)
                lines[line] = String(lines[line].reversed())
                return lines.joined(separator: "\n") + "\n"
            }
            return [
                .init("unknown critical extension", .string(critical)), .init("RSA exponent 3", .string(exponent)),
                .init(
                    "NEW CERTIFICATE REQUEST",
                    .string(good.replacingOccurrences(of: "CERTIFICATE REQUEST", with: "NEW CERTIFICATE REQUEST"))),
                .init("key changed", .string(changed(2))),
                .init("signature changed", .string(changed(good.split(separator: "\n").count - 2))),
                .init("cut off", .string(String(good.prefix(200)))), .init("not PEM", "x"), .init("empty", ""),
            ]
        }

        @Test("4,000 parts, half a handshake, garbage, frames without end, peers that leave or never read: others are served as before")
        func attacks() throws {
            try withCA { ca in
                try ca.register()
                let processes = try ["serve", "front", "ca-registrar"].map { try ca.pid(of: $0) }
                let csr = try ca.place.csr("/CN=m.example.com", names: ["DNS:m.example.com"])
                let story = try ca.place.peer(
                    "hostile_peers.py", ["\(ca.port)", "\(ca.pid(of: "front"))"],
                    input: ["csr": .string(csr), "csrs": .object(try self.hostileCSRs(ca.place, good: csr))])
                let whole = Story(json: story)
                func isServed(_ times: JSON?, _ comment: String) {
                    for task in ["get_ca", "sign", "new"] {
                        // Ten times the undisturbed time, and never less than what a busy machine needs.
                        let allowed = max(0.05, 10 * whole.number("undisturbed", task))
                        let took = times.map { Story(json: $0).number(task) } ?? .infinity
                        #expect(took <= allowed, "\(comment): \(task) took \(took) s, allowed are \(allowed)")
                    }
                }
                let requests = story["requests"]?.arrayValue ?? []
                #expect(requests.count > 50)
                for request in requests {
                    let answer = request["answer"]?.stringValue ?? ""
                    isServed(request["after"], "after \(request["name"]?.text ?? "?")")
                    #expect(!answer.isEmpty && !answer.hasPrefix("Internal error") && !answer.contains("\n"), "\(request.text)")
                }
                let answers = Dictionary(
                    requests.compactMap { request in request["name"]?.stringValue.map { ($0, request["answer"]?.stringValue ?? "") } },
                    uniquingKeysWith: { first, _ in first })
                #expect(answers["CSR: NEW CERTIFICATE REQUEST"] == "ANSWER")
                #expect(answers["CSR: RSA exponent 3"] == "Request refused: the RSA exponent is smaller than 65537")
                #expect(answers["two equal keys"]?.hasPrefix("Invalid JSON: ") == true)
                #expect(answers["account id that is no UTF-8"]?.hasPrefix("Invalid JSON: ") == true)
                let attacks = story["attacks"]?.arrayValue ?? []
                #expect(attacks.count == 17)
                for attack in attacks {
                    let name = attack["name"]?.stringValue ?? "?"
                    for phase in ["during", "after"] { isServed(attack[phase], "\(phase) \(name)") }
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
