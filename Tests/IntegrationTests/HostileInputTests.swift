// Hostile parameters for every task, by a caller whom the CA trusts: answered, harmless, and a restart afterwards works.
import Foundation
import Testing
import UPKIProtocol

extension IntegrationTests {
    @Suite("hostile input")
    struct HostileInputTests {
        @Test(
            "every task with every parameter set to something hostile is answered, no process falls, and what was issued can be read by others"
        )
        func parameters() throws {
            try withCA { ca in
                let dn = try ca.register()["dn"]?.stringValue ?? ""
                _ = try ca.facts(["admin", "add", dn])
                let processes = try ["serve", "front", "ca-registrar"].map { try ca.pid(of: $0) }
                let csr = try ca.place.csr("/CN=m.example.com", names: ["DNS:m.example.com", "IP:10.0.0.1", "email:a@example.com"])
                let story = try ca.place.peer(
                    "hostile_parameters.py", ["\(ca.port)", "\(ca.registrarPort)"],
                    input: ["csr": .string(csr), "token": .string(ca.token)])
                for side in ["front", "registrar"] {
                    #expect((story.at(side, "asked")?.integerValue ?? 0) > 400)
                    #expect(story.at(side, "unanswered") == [] && story.at(side, "internal") == [], "\(story[side]?.text ?? "")")
                    #expect(Double(story.at(side, "slowest")?.arrayValue?.first?.text ?? "9") ?? 9 < 4)
                }
                #expect(story["unreadable"] == [], "\(story["unreadable"]?.text ?? "")")
                #expect((story["issued"]?.integerValue ?? 0) > 10)
                #expect(try ["serve", "front", "ca-registrar"].map { try ca.pid(of: $0) } == processes)
                // Nothing was written beside the places for it: every file of the data directory belongs to a folder that init made.
                let outside = try FileManager.default.contentsOfDirectory(atPath: ca.place.directory).filter { !$0.hasPrefix("output-") }
                    .sorted()
                #expect(outside.filter { !$0.hasSuffix(".key") && !$0.hasSuffix(".csr") } == ["data", "run"], "\(outside)")

                #expect(try ca.facts(["audit", "verify"])["good"] == true)
                let profiles = try ca.data("list_profiles")
                #expect(try ca.stop() == 0)
                try ca.start()
                #expect(try ca.data("list_profiles") == profiles)
                #expect(try ca.data("list_admins") == .array([.string(dn)]))
            }
        }

        @Test("more requests at once than are held open are refused with Busy, one answer each, and the next one is answered")
        func flood() throws {
            try withCA { ca in
                let story = try ca.place.peer("flood.py", ["\(ca.port)"])
                #expect(story["sent"] == story["answered"], "\(story.text)")
                #expect((story["good"]?.integerValue ?? 0) > 0 && story["other"]?.integerValue == 0, "\(story.text)")
                #expect(story["next"] == "ANSWER" && story["extra"]?.integerValue == 0)
            }
        }
    }
}
