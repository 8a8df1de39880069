// What the operator has of the OCSP bridge: the lines that a start prints, the self-test, the report, the counters.
import Foundation
import Testing
import UPKIProtocol

extension IntegrationTests {
    @Suite("the operator of the OCSP bridge")
    struct OCSPOperatorTests {
        private func socket(_ ca: RunningCA) -> String { "\(ca.run)/ocsp/http.sock" }

        private func waitForBridge(_ ca: RunningCA) throws {
            try waitUntil("the bridge is healthy", within: .seconds(30)) {
                try ca.place.run(
                    ["/usr/bin/curl", "-sS", "-f", "-m", "5", "--unix-socket", self.socket(ca), "http://localhost/healthz"]
                ).code == 0
            }
        }

        @Test(
            "the two lines that a start prints to try it work as they stand; without base_url certificates carry no URL, and status says so"
        )
        func printedLines() throws {
            try withCA { ca in
                try ca.register()
                try self.waitForBridge(ca)
                let lines = ca.log.components(separatedBy: "\n").map { $0.trimmingCharacters(in: .whitespaces) }
                let curl = try #require(lines.first { $0.hasPrefix("curl ") && $0.contains("--unix-socket") }, "\(ca.log)")
                let openssl = try #require(lines.first { $0.hasPrefix("openssl ocsp ") }, "\(ca.log)")
                let list = try ca.place.run(["/bin/sh", "-c", curl])
                #expect(list.code == 0 && list.output.contains("Certificate Revocation List"), "\(list.output)\(list.errors)")
                let asked = try ca.place.run(["/bin/sh", "-c", openssl])
                #expect(
                    asked.code == 0 && asked.output.contains("ca.crt: good") && asked.errors.contains("Response verify OK"),
                    "\(asked.output)\(asked.errors)")

                let issued = try ca.data("generate", ["cn": "plain.example.com"])
                try ca.place.write(issued["certificate"]?.stringValue ?? "", to: "plain.pem")
                let text = try ca.place.must(["/usr/bin/openssl", "x509", "-in", ca.place.path("plain.pem"), "-noout", "-text"])
                #expect(text.contains("CN = plain.example.com") && !text.contains("http"))
                let status = try ca.ctl(["status"])
                #expect(status.code == 0 && status.output.contains("publication.base_url"), "\(status.output)")
                #expect(status.output.contains("ocsp/http.sock"))
            }
        }

        @Test(
            "ocsp selftest passes and leaves nothing valid behind; before another CA's bridge it ends with 1 at the first surprise, and cleans up too"
        )
        func selftest() throws {
            try withCA { ca in
                try ca.register()
                try self.waitForBridge(ca)
                let passed = try ca.ctl(["ocsp", "selftest"])
                #expect(passed.code == 0, "\(passed.output)\(passed.errors)")
                let lines = passed.output.split(separator: "\n")
                #expect(lines.count >= 10 && lines.allSatisfy { $0.hasPrefix("ok ") }, "\(passed.output)")
                let facts = try ca.facts(["ocsp", "selftest"])
                #expect(facts["passed"] == true && (facts["delay_us"]?.integerValue ?? -1) >= 0, "\(facts.text)")
                func valid() throws -> Int {
                    let list = try ca.facts(["cert", "list", "--state", "issued"])
                    let certificates = list["certificates"]?.arrayValue ?? list.arrayValue ?? []
                    return certificates.count { $0["dn"]?.stringValue?.contains("ocsp-selftest") == true }
                }
                #expect(try valid() == 0)

                try withCA { other in
                    try self.waitForBridge(other)
                    let surprised = try ca.ctl(["ocsp", "selftest", "--socket", self.socket(other)])
                    #expect(surprised.code == 1 && surprised.output.contains("FAIL"), "\(surprised.output)\(surprised.errors)")
                    #expect(surprised.output.split(separator: "\n").count { $0.hasPrefix("FAIL") } == 1)
                    #expect(surprised.output.contains("are not the CA's"), "\(surprised.output)")
                }
                #expect(try valid() == 0)

                let shown = try ca.ctl(["ocsp", "show"])
                #expect(shown.code == 0 && !shown.output.isEmpty, "\(shown.errors)")
                let report = try ca.facts(["ocsp", "show"])
                #expect((report.at("counters", "signatures")?.integerValue ?? 0) > 0, "\(report.text)")
                #expect(report.at("core", "state") == "live" && report["signers"]?.arrayValue?.count == 1)
            }
        }

        @Test("Prometheus reads the bridge's counters: requests by kind, cache, certificate's age, lookups")
        func metrics() throws {
            try withPublicCA { ca in
                let certificate = try ca.issue("m.example.com")
                for _ in 0..<3 { #expect(try ca.state(certificate) == "good") }
                #expect(try ca.state(certificate, ["-nonce"]) == "good")
                let fetched = try ca.place.fetch("http://localhost/metrics", socket: "\(ca.ca.run)/ocsp/metrics.sock")
                #expect(fetched["content-type"]?.hasPrefix("text/plain; version=0.0.4") == true)
                let text = String(decoding: fetched.body, as: UTF8.self)
                let parsed = try ca.place.run(
                    [try Checkout.python(environment: "prometheus"), "-B", "\(Checkout.peers)/prometheus.py"], input: text)
                #expect(parsed.code == 0, "\(parsed.errors)\n\(text)")
                let families = try JSON(parsing: Array(parsed.output.utf8))
                func values(_ family: String, _ labels: [String: String] = [:]) -> [Double] {
                    (families[family]?["samples"]?.arrayValue ?? []).filter { sample in
                        labels.allSatisfy { sample["labels"]?[$0.key]?.stringValue == $0.value }
                    }.compactMap { Double($0["value"]?.text ?? "") }
                }
                func value(_ family: String, _ labels: [String: String] = [:]) -> Double { values(family, labels).reduce(0, +) }
                #expect(families["upki_ocsp_answers"]?["type"] == "counter")
                #expect(value("upki_ocsp_answers", ["kind": "good"]) == 4, "\(text)")
                #expect(value("upki_ocsp_http_requests", ["method": "POST"]) == 4)
                // Signed for the first one and for the nonce; the rest was kept.
                #expect(value("upki_ocsp_signatures") == 2 && value("upki_ocsp_cached_answers") == 2, "\(text)")
                #expect(families["upki_ocsp_lookup_seconds"]?["type"] == "histogram")
                #expect(value("upki_ocsp_lookups") == 1, "\(text)")
                #expect((0...600).contains(value("upki_ocsp_signer_age_seconds")))
                #expect((47 * 3_600...48 * 3_600).contains(value("upki_ocsp_signer_remaining_seconds")))
                #expect((1...12 * 3_600).contains(value("upki_ocsp_answer_remaining_seconds")))
                #expect((6 * 86_400...7 * 86_400).contains(value("upki_ocsp_crl_remaining_seconds")))
                #expect(value("upki_ocsp_heartbeat_age_seconds") >= 0)
            }
        }
    }
}
