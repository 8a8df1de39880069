// OCSP while things fail: ca-core that hangs, dies or comes back as another CA; the bridge killed; and how soon a revocation is seen.
import Foundation
import Glibc
import TestPrograms
import Testing
import UPKIProtocol

extension IntegrationTests {
    @Suite("OCSP when programs fail")
    struct OCSPOutageTests {
        /// tryLater (RFC 6960 4.2.1).
        private static let tryLater: [UInt8] = [0x30, 0x03, 0x0a, 0x01, 0x03]

        @Test(
            "while ca-core hangs, good is served for offline_grace and no longer, revoked on, a nonce is refused; all is well when it goes on"
        )
        func hang() throws {
            // The supervisor must not end the core that hangs here.
            try withPublicCA(ocsp: ["offline_grace: 8s"], up: ["--no-init", "--watchdog", "600"]) { ca in
                let certificates = try ca.issue(["good.example.com", "gone.example.com", "never-asked.example.com"])
                let requests = try certificates.map { try ca.request([$0]) }
                let nonce = try ca.request([certificates[0]], ["-nonce"])
                try ca.revoke(certificates[1], "keyCompromise")
                try ca.wait(for: certificates[1], "revoked keyCompromise")
                #expect(try ca.read(ca.post(requests[0]).body) == "good")
                #expect(try ca.read(ca.post(requests[1]).body) == "revoked keyCompromise")
                let bridge = try ca.bridge
                let core = try ca.ca.pid(of: "serve")

                kill(core, SIGSTOP)
                defer { kill(core, SIGCONT) }
                let begun = ContinuousClock.now
                // A request may have to wait for ca-core until the bridge has given it up.
                let kept = try ca.post(requests[0])
                if ContinuousClock.now - begun < .seconds(6) { #expect(try ca.read(kept.body) == "good", "within the grace") }
                // A nonce is answered live or not at all; live is also what is known until 75 ms after the last heartbeat.
                try waitUntil("a nonce is refused") { try Array(ca.post(nonce).body) == Self.tryLater }
                #expect(try Array(ca.post(requests[2]).body) == Self.tryLater, "nothing is known of it")
                #expect(try ca.read(ca.post(requests[1]).body) == "revoked keyCompromise")
                let late = try ca.post(requests[2])
                #expect(late.code == 200 && late["cache-control"]?.contains("no-store") == true, "\(late.headers)")
                try waitUntil("the grace is over", within: .seconds(40)) { try Array(ca.post(requests[0]).body) == Self.tryLater }
                #expect(ContinuousClock.now - begun >= .seconds(7), "not before the grace was over")
                #expect(try ca.read(ca.post(requests[1]).body) == "revoked keyCompromise", "revoked lasts until nextUpdate")
                let health = try ca.place.fetch("http://localhost/healthz", socket: ca.socket)
                #expect(health.code == 503 && !health.body.isEmpty)
                #expect(try ca.place.fetch("http://localhost/ca.crt", socket: ca.socket).code == 200)

                kill(core, SIGCONT)
                try waitUntil("it is answered again") { try ca.read(ca.post(requests[0]).body, verified: false) == "good" }
                try waitUntil("a nonce is answered again") { try Array(ca.post(nonce).body) != Self.tryLater }
                #expect(try ca.read(ca.post(requests[2]).body) == "good")
                try ca.waitUntilHealthy()
                #expect(try ca.bridge == bridge && ca.ca.pid(of: "serve") == core)
                try ca.revoke(certificates[0], "superseded")
                try ca.wait(for: certificates[0], "revoked superseded")
            }
        }

        @Test("a revocation whose answer came just before ca-core was killed is seen when ca-core is back, without a restart of the bridge")
        func killedCore() throws {
            try withPublicCA { ca in
                for round in 0..<4 {
                    let certificate = try ca.issue("k\(round).example.com")
                    let request = try ca.request([certificate])
                    #expect(try ca.read(ca.post(request).body) == "good")
                    let bridge = try ca.bridge
                    let core = try ca.ca.pid(of: "serve")
                    // In every other round the bridge does not run meanwhile, so that the event finds nobody who takes it.
                    if round % 2 == 1 { kill(bridge, SIGSTOP) }
                    defer { kill(bridge, SIGCONT) }
                    try ca.revoke(certificate, "keyCompromise")
                    kill(core, SIGKILL)
                    kill(bridge, SIGCONT)
                    try waitUntil("ca-core is started again") { (try? ca.ca.pid(of: "serve")).map { $0 != core } ?? false }
                    let waited = try ca.ca.ctl(["status", "--wait", "20"])
                    #expect(waited.code == 0, "\(waited.errors)")
                    try ca.waitUntilHealthy()
                    #expect(try ca.read(ca.post(request).body) == "revoked keyCompromise")
                    #expect(try ca.state(certificate, ["-nonce"]) == "revoked keyCompromise")
                    #expect(try ca.bridge == bridge)
                }
            }
        }

        @Test("a bridge that is killed comes back with another signing key, and nginx goes on without a word of it")
        func killedBridge() throws {
            try withPublicCA { ca in
                let certificate = try ca.issue("b.example.com")
                func responder() throws -> String {
                    let text = try ca.ask([certificate], ["-nonce", "-resp_text"]).text
                    return try #require(text.components(separatedBy: "Responder Id: ").dropFirst().first).components(separatedBy: "\n")[0]
                }
                let before = try responder()
                let killed = try ca.bridge
                kill(killed, SIGKILL)
                try waitUntil("it is started again") { (try? ca.bridge).map { $0 != killed } ?? false }
                try ca.waitUntilHealthy()
                #expect(try responder() != before)
                try ca.revoke(certificate, "keyCompromise")
                try ca.wait(for: certificate, "revoked keyCompromise")
                // Both signing certificates are in the audit log, and the log verifies.
                #expect(try ca.ca.ctl(["audit", "verify"]).code == 0)
            }
        }

        @Test(
            "a bridge that did not run while a certificate was revoked says revoked to the first who asks, whatever waits for it to be read"
        )
        func stoppedBridge() throws {
            try withPublicCA { ca in
                let certificates = try ca.issue((0..<10).map { "s\($0).example.com" })
                let bridge = try ca.bridge
                for certificate in certificates {
                    let request = try ca.place.save(try ca.request([certificate]), to: "s.req")
                    #expect(try ca.read(ca.post(ca.request([certificate])).body) == "good")
                    kill(bridge, SIGSTOP)
                    defer { kill(bridge, SIGCONT) }
                    // Heartbeats from before the revocation are queued up for it, and then the time that the promise gives goes by.
                    usleep(100_000)
                    try ca.revoke(certificate, "keyCompromise")
                    usleep(150_000)
                    let asking = try ca.place.start([
                        "/usr/bin/curl", "-sS", "-m", "20", "--unix-socket", ca.socket, "-H", "Content-Type: application/ocsp-request",
                        "--data-binary", "@\(request)", "-o", ca.place.path("s.resp"), "http://localhost/",
                    ])
                    kill(bridge, SIGCONT)
                    #expect(try asking.finish().code == 0)
                    let response = try Data(contentsOf: URL(fileURLWithPath: ca.place.path("s.resp")))
                    #expect(try ca.read(response) == "revoked keyCompromise")
                }
                #expect(try ca.bridge == bridge)
            }
        }

        @Test(
            "another CA key behind the same sockets: the old CA's requests are unauthorized, the new one's are answered, by the same process"
        )
        func anotherAuthority() throws {
            let place = try Workplace()
            defer { place.end() }
            let run = place.path("run")
            try FileManager.default.createDirectory(
                atPath: run, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
            mkdir("\(run)/ocsp", 0o700)
            let socket = "\(run)/ocsp/http.sock"
            func places(_ name: String) -> [String] { ["--data-dir", place.path(name), "--run-dir", run] }
            for name in ["old", "new"] { try place.must(["\(Checkout.programs)/ca-ctl", "init", "--json"] + places(name)) }
            func serve(_ name: String) throws -> ProgramRun {
                let core = try place.start(["\(Checkout.programs)/ca-core", "serve", "--log-format", "plain"] + places(name))
                try core.waitFor("serving", within: .seconds(20))
                return core
            }
            func stop(_ program: ProgramRun) throws {
                program.signal(SIGTERM)
                #expect(try program.finish(within: .seconds(10)).code == 0, "\(program.errors)")
            }
            func request(_ name: String) throws -> String {
                let file = place.path("\(name).req")
                let certificate = "\(place.path(name))/ca.crt"
                try place.must([
                    "/usr/bin/openssl", "ocsp", "-issuer", certificate, "-cert", certificate, "-no_nonce", "-reqout", file,
                ])
                return file
            }
            func ask(_ file: String) throws -> Data {
                try place.fetch(
                    "http://localhost/", ["-H", "Content-Type: application/ocsp-request", "--data-binary", "@\(file)"], socket: socket
                ).body
            }
            func isGood(_ response: Data, by name: String) throws -> Bool {
                let file = try place.save(response, to: "response")
                let certificate = "\(place.path(name))/ca.crt"
                let judged = try place.openssl([
                    "ocsp", "-respin", file, "-issuer", certificate, "-cert", certificate, "-CAfile", certificate,
                ])
                return judged.code == 0 && (judged.output + judged.errors).contains("Response verify OK")
                    && judged.output.contains("\(certificate): good")
            }
            let (old, new) = (try request("old"), try request("new"))
            let unauthorized = Data([0x30, 0x03, 0x0a, 0x01, 0x06])

            let first = try serve("old")
            let bridge = try place.start([
                "\(Checkout.programs)/ca-ocsp-bridge", "--run-dir", run, "--socket", socket, "--log-format", "plain",
            ])
            try waitUntil("the bridge answers") {
                guard bridge.isRunning else { throw TestFailure("the bridge ended: \(bridge.errors)") }
                return try FileManager.default.fileExists(atPath: socket) && isGood(ask(old), by: "old")
            }
            #expect(try ask(new) == unauthorized)
            try stop(first)
            let second = try serve("new")
            try waitUntil("the bridge answers for the new CA") { try isGood(ask(new), by: "new") }
            #expect(try ask(old) == unauthorized)
            let pem = try place.must(["/usr/bin/openssl", "x509", "-in", "\(place.path("new"))/ca.crt"])
            let base64 = pem.split(separator: "\n").filter { !$0.hasPrefix("-----") }.joined()
            try waitUntil("the new CA certificate is served") {
                try place.fetch("http://localhost/ca.crt", socket: socket).body == Data(base64Encoded: base64)
            }
            try waitUntil("the new CA's list is served") {
                try place.fetch("http://localhost/crl", socket: socket).body
                    == FileManager.default.contents(atPath: "\(place.path("new"))/published/crl.der")
            }
            #expect(bridge.isRunning)
            try stop(bridge)
            #expect(!FileManager.default.fileExists(atPath: socket))
            try stop(second)
        }

        @Test(
            "asked without pause while certificates are revoked, the bridge never says good to who asked later than 100 ms after the reply")
        func promptness() throws {
            try withPublicCA { ca in
                let certificates = try ca.issue((0..<40).map { "p\($0).example.com" })
                let input = try certificates.map { certificate -> JSON in
                    let request = try ca.request([certificate]).map { String(format: "%02x", $0) }.joined()
                    return ["serial": .string(certificate.serial), "request": .string(request)]
                }
                let story = try ca.place.peer("ocsp_prober.py", ["\(ca.ca.port)", ca.socket], input: .array(input))
                let rounds = try #require(story["rounds"]?.arrayValue, "\(story.text)")
                #expect(rounds.count == certificates.count)
                for round in rounds {
                    #expect(round["before"] == "good" && round["revoked"] == true, "\(round.text)")
                    // Nothing else was ever said, good never came again after revoked, and nobody who asked after the time heard it.
                    #expect(["others", "relapses", "late"].allSatisfy { round[$0]?.integerValue == 0 }, "\(round.text)")
                }
            }
        }
    }
}
