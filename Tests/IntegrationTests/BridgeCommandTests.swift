// The OCSP bridge as the operator has it: what `ca-ctl up` says of it, the commands that look at it, and a CA that goes on without it.
import Foundation
import Glibc
import TestPrograms
import Testing
import UPKIProtocol

extension IntegrationTests {
    @Suite("The bridge for its operator")
    struct BridgeCommandTests {
        // MARK: What the start says

        @Test("the start says how to try HTTP and OCSP, and each of the two lines works as it stands there")
        func pasted() throws {
            try withCA { ca in
                let socket = "\(ca.run)/ocsp/http.sock"
                // The CA is ready before its supervisor has printed all that it says of it.
                try waitUntil("the start has said how to try HTTP and OCSP") { ca.log.contains(" -respin -\n") }
                let lines = ca.log.split(separator: "\n").map { $0.trimmingCharacters(in: .whitespaces) }
                let list = try #require(lines.first { $0.hasPrefix("curl -s --unix-socket \(socket) ") })
                let status = try #require(lines.first { $0.hasPrefix("openssl ocsp ") })
                #expect(ca.log.contains("OCSP, CRL (HTTP)"))
                let shown = try ca.place.run(["/bin/bash", "-c", list])
                #expect(shown.code == 0 && shown.output.contains("No Revoked Certificates"), "\(list)\n\(shown.output)\(shown.errors)")
                let asked = try ca.place.run(["/bin/bash", "-c", status])
                #expect(asked.code == 0 && asked.errors.contains("Response verify OK"), "\(status)\n\(asked.errors)")
                #expect(asked.output.contains("/ca.crt: good"), "\(asked.output)")
                let sockets = try ca.facts(["status"])["sockets"]?.arrayValue ?? []
                for (name, mode) in [("http", "0660"), ("metrics", "0600")] {
                    let one = sockets.first { $0["path"]?.stringValue == "\(ca.run)/ocsp/\(name).sock" }
                    #expect(one?["mode"]?.stringValue == mode, "\(sockets.map(\.text))")
                }
            }
        }

        // MARK: The self-test

        private func live(_ ca: RunningCA) throws -> [String] {
            try (ca.facts(["cert", "list", "--state", "issued"]).arrayValue ?? []).compactMap { $0["cn"]?.stringValue }.filter {
                $0.hasPrefix("ocsp-selftest")
            }
        }

        @Test(
            "the self-test asks in every way before and after the revocation, measures, and leaves nothing that lives",
            arguments: ["echo", "ignore", "require"])
        func selftest(nonce: String) throws {
            try withCA(configuration: "ocsp:\n  nonce: \(nonce)\n") { ca in
                let told = try ca.facts(["ocsp", "selftest"])
                let checks = told["checks"]?.arrayValue ?? []
                #expect(told["passed"] == true && checks.allSatisfy { $0["passed"] == true })
                // Issuing, CA certificate, CRL, a number never issued, the revocation, the deletion; eight ways before and after.
                #expect(checks.count == 6 + 2 * 8, "\(told.text)")
                #expect((told["delay_us"]?.integerValue ?? 0) > 0)
                let refused = checks.filter { $0["found"]?.stringValue == "refused, as ocsp.nonce: require says" }
                #expect(refused.count == (nonce == "require" ? 8 : 0))
                #expect(try self.live(ca).isEmpty)
                let text = try ca.ctl(["ocsp", "selftest", "--profile", "server"])
                #expect(text.code == 0 && text.output.split(separator: "\n").allSatisfy { $0.hasPrefix("ok  ") }, "\(text.output)")
            }
        }

        @Test("a bridge that does not answer is the first surprise: the self-test ends with 1, says which, and deletes what it made")
        func surprise() throws {
            try withCA { ca in
                let bridge = try ca.pid(of: "ca-ocsp-bridge")
                kill(bridge, SIGSTOP)
                let told = try ca.ctl(["ocsp", "selftest", "--json"])
                kill(bridge, SIGCONT)
                #expect(told.code == 1 && told.errors.hasPrefix("ca-ctl: GET /ca.crt: "), "\(told.errors)")
                let checks = try JSON(parsing: Array(told.output.utf8))["checks"]?.arrayValue ?? []
                #expect(checks.map { $0["check"]?.stringValue } == ["issue", "GET /ca.crt", "delete"])
                #expect(checks.map { $0["passed"] } == [true, false, true])
                #expect(try self.live(ca).isEmpty)
                let elsewhere = try ca.ctl(["ocsp", "selftest", "--socket", ca.place.path("nobody")])
                #expect(elsewhere.code == 1 && elsewhere.errors.contains("nobody answers at"), "\(elsewhere.errors)")
                // Refused by the CA: nothing was made, which is no fault of the deletion.
                let profile = try ca.ctl(["ocsp", "selftest", "--profile", "nothing", "--json"])
                let made = try JSON(parsing: Array(profile.output.utf8))["checks"]?.arrayValue ?? []
                #expect(profile.code == 1 && made.map { $0["passed"] } == [false, true], "\(profile.output)")
            }
        }

        // MARK: Going on

        @Test("it outlives ca-core, and is started again with a new key when it is killed or when the operator wants it")
        func restarts() throws {
            try withCA { ca in
                func serial() throws -> String {
                    try ca.facts(["ocsp", "show"])["signers"]?.arrayValue?.first?["serial"]?.stringValue ?? ""
                }
                let bridge = try ca.pid(of: "ca-ocsp-bridge")
                let first = try serial()
                try ca.killAndWait("serve")
                #expect(try ca.facts(["ocsp", "selftest"])["passed"] == true)
                #expect(try ca.pid(of: "ca-ocsp-bridge") == bridge && serial() == first)
                try ca.killAndWait("ca-ocsp-bridge")
                #expect(try ca.facts(["ocsp", "selftest"])["passed"] == true)
                let second = try serial()
                #expect(try ca.facts(["ocsp", "restart"])["state"] == "running")
                #expect(try Set([first, second, serial()]).count == 3)
                #expect(try ca.facts(["ocsp", "selftest"])["passed"] == true)
                let shown = try ca.ctl(["ocsp", "show"])
                for word in ["signing certificate", "heard: what is kept is served", "cache hits", "nonce: echo"] {
                    #expect(shown.output.contains(word), "\(shown.output)")
                }
                let doctor = try ca.ctl(["doctor"])
                #expect(doctor.output.contains("answers at \(ca.run)/ocsp/http.sock, signing certificate until"), "\(doctor.output)")
            }
        }

        @Test("a bridge that fails too often is given up; the CA goes on, says how to start it again, and that works")
        func givenUp() throws {
            try withCA { ca in
                try ca.stop()
                try ca.start(["--no-init", "--restart-limit", "1"])
                for _ in 0..<2 {
                    try waitUntil("there is a bridge to kill") { (try? ca.pid(of: "ca-ocsp-bridge")) != nil }
                    let pid = try ca.pid(of: "ca-ocsp-bridge")
                    kill(pid, SIGKILL)
                    try waitUntil("it is gone") { (try? ca.pid(of: "ca-ocsp-bridge")) != pid }
                }
                try waitUntil("it is given up") { try ca.ctl(["status"]).output.contains("ca-ctl ocsp restart --data-dir") }
                let shown = try ca.ctl(["ocsp", "show"])
                #expect(shown.code == 3 && shown.errors.contains("does not say how it is"), "\(shown.errors)")
                #expect(try ca.ctl(["cert", "issue", "www.example.com"]).code == 0)
                #expect(try ca.ctl(["doctor"]).code == 1)
                #expect(try ca.ctl(["ocsp", "restart"]).code == 0)
                #expect(try ca.facts(["ocsp", "selftest"])["passed"] == true)
            }
        }

        @Test("a bridge that cannot start keeps nobody waiting: the CA is ready without it and says why it is not there")
        func cannotStart() throws {
            try withCA { ca in
                try ca.stop()
                try "in the way".write(toFile: "\(ca.run)/ocsp/http.sock", atomically: false, encoding: .utf8)
                let places = ["--data-dir", ca.data, "--run-dir", ca.run]
                let up = try ca.place.start(["\(Checkout.programs)/ca-ctl", "up", "--no-init", "--port", "\(ca.port)"] + places)
                try up.waitFor("The CA is running.")
                try up.waitFor("exists and is no socket")
                #expect(try ca.ctl(["cert", "issue", "www.example.com"]).code == 0)
                let status = try ca.ctl(["status", "--wait", "0.1"])
                #expect(status.code == 1 && status.errors.contains("not ready: ocsp is"), "\(status.errors)")
                unlink("\(ca.run)/ocsp/http.sock")
                // Whether it waits for its next try or was given up: the operator's wish counts.
                #expect(try ca.ctl(["ocsp", "restart"]).code == 0)
                #expect(try ca.facts(["ocsp", "selftest"])["passed"] == true)
                up.signal(SIGTERM)
                #expect(try up.finish(within: .seconds(10)).code == 0)
            }
        }
    }
}
