// The 4-second rule, with the deployed RA's own client: one late answer would end its socket for good.
import Foundation
import Glibc
import TestPrograms
import Testing
import UPKIProtocol

extension IntegrationTests {
    @Suite("the 4-second rule, with the RA's own client")
    struct FourSecondTests {
        /// The RA's client in a loop, while something happens to the CA.
        private final class Loop {
            private let process: ProgramRun

            init(_ ca: RunningCA, _ tasks: JSON, version: String = "0.1.6") throws {
                self.process = try ca.place.start(
                    [try Checkout.python(version), "-B", "\(Checkout.peers)/ra_loop.py"],
                    input: JSON.object([
                        .init("port", .integer(ca.port)), .init("directory", .string(ca.place.path("ra-\(UUID().uuidString)"))),
                        .init("tasks", tasks),
                    ]).text + "\n", keepInput: true)
            }

            func waitUntilGoing() throws { try self.process.waitFor("going") }

            func end() throws -> JSON {
                self.process.closeInput()
                let finished = try self.process.finish()
                guard let story = try? JSON(parsing: Array(finished.output.replacingOccurrences(of: "going\n", with: "").utf8)) else {
                    throw TestFailure("the RA's client: \(finished.output)\(finished.errors)")
                }
                return story
            }
        }

        private func check(_ story: JSON, lastIsAnswer: Bool = true) {
            #expect(story["lost"] == [], "\(story.text)")
            #expect(Double(story["slowest"]?.text ?? "9") ?? 9 < 4.2, "\(story.text)")
            if lastIsAnswer { #expect(story["last"] == "answer", "\(story.text)") }
        }

        @Test("RSA keys made by the CA, for several clients at once, come in time or are refused in time")
        func rsaKeys() throws {
            try withCA { ca in
                try ca.register()
                try ca.place.write(
                    "keyType: rsa\nkeyLen: 4096\nduration: 30\nkeyUsage: [digitalSignature, keyEncipherment]\nextendedKeyUsage: [serverAuth]\n",
                    to: "rsa.yml")
                let added = try ca.ctl(["profile", "add", ca.place.path("rsa.yml")])
                #expect(added.code == 0, "\(added.errors)")
                let loops = try (0..<4).map { number in
                    try Loop(ca, [["generate", ["cn": .string("rsa\(number).example.com"), "profile": "rsa"]], ["list_admins", [:]]])
                }
                for loop in loops { try loop.waitUntilGoing() }
                var keys: Int64 = 0
                for loop in loops {
                    let story = try loop.end()
                    self.check(story)
                    keys += story.at("by_task", "generate")?.integerValue ?? 0
                    #expect((story.at("by_task", "list_admins")?.integerValue ?? 0) > 0)
                }
                #expect(keys > 0)
            }
        }

        @Test("wrong seeds are refused at once, name the wait when they are too many, and hold nobody else up")
        func wrongSeeds() throws {
            try withCA { ca in
                try ca.register()
                let guesses = JSON.array(
                    (0..<12).map {
                        [
                            "register",
                            ["seed": .string("a wrong seed with enough characters \($0)"), "cn": .string("guess\($0).example.com")],
                        ]
                    }
                        + [["list_admins", [:]]])
                let guessing = try Loop(ca, guesses)
                let working = try Loop(ca, [["list_admins", [:]], ["list_profiles", [:]]])
                try working.waitUntilGoing()
                try guessing.waitUntilGoing()
                let guessed = try guessing.end()
                self.check(guessed)
                #expect(guessed["refusals"]?.objectValue?.contains { $0.name.contains("too many wrong seeds") } == true, "\(guessed.text)")
                let story = try working.end()
                self.check(story)
                #expect(story["refusals"] == [:])
                // The token is never held up by guesses.
                let answer = try ca.ask("register", ["seed": .string(ca.token), "cn": "after.example.com", "profile": "server"])
                #expect(answer["EVENT"] == "ANSWER", "\(answer.text)")
            }
        }

        @Test(
            "ca-core killed with -9 in the middle: every call is answered or refused in time, and the socket works afterwards",
            arguments: ["0.1.5", "0.1.6"])
        func coreKilled(version: String) throws {
            try withCA { ca in
                try ca.register()
                let csr = try ca.place.csr("/CN=loop.example.com")
                let loop = try Loop(ca, [["sign", ["csr": .string(csr)]], ["list_admins", [:]], ["get_crl", [:]]], version: version)
                try loop.waitUntilGoing()
                for _ in 0..<3 { try ca.killAndWait("serve") }
                let story = try loop.end()
                self.check(story)
                for refusal in story["refusals"]?.objectValue ?? [] { #expect(refusal.name.contains("Busy: "), "\(refusal.name)") }
                // Whatever was acknowledged is there after the last kill.
                try ca.killAndWait("serve")
                let acknowledged = Set(story["serials"]?.arrayValue?.compactMap(\.stringValue) ?? [])
                let stored = Set(try ca.data("list_nodes").arrayValue?.compactMap { $0["serial"]?.stringValue } ?? [])
                #expect(!acknowledged.isEmpty && acknowledged.isSubset(of: stored))
                #expect(try ca.facts(["audit", "verify"])["good"] == true)
            }
        }

        @Test("the front killed with -9 between two calls: the same socket of the RA goes on")
        func frontKilled() throws {
            try withCA { ca in
                try ca.register()
                // The client's connection stays open over all of it; it asks before and after.
                let client = try ca.place.start(
                    [try Checkout.python("0.1.6"), "-B", "\(Checkout.peers)/ra_steps.py"],
                    input: JSON.object([.init("port", .integer(ca.port)), .init("directory", .string(ca.place.path("ra")))]).text + "\n",
                    keepInput: true)
                try client.waitFor("1 ok")
                let core = try ca.pid(of: "serve")
                try ca.killAndWait("front")
                try client.write("again\n")
                try client.waitFor("2 ok")
                try ca.killAndWait("ca-registrar")
                try client.write("again\n")
                try client.waitFor("3 ok")
                #expect(try ca.pid(of: "serve") == core, "the core went on")
                client.closeInput()
                #expect(try client.finish().code == 0)
                // Registration works through the registrar's successor.
                let status = try ca.data("status", [:], port: ca.registrarPort)
                #expect(status["status"] == "registered")
            }
        }
    }
}
