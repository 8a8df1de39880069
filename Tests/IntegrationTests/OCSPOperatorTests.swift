// What the operator sees of the OCSP bridge: addresses in certificates, or none, and the counters.
import Foundation
import TestPrograms
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

        @Test("without publication.base_url certificates carry no URL, status says so, and what the bridge serves is there all the same")
        func noBaseURL() throws {
            try withCA { ca in
                try ca.register()
                try self.waitForBridge(ca)
                let issued = try ca.data("generate", ["cn": "plain.example.com"])
                try ca.place.write(issued["certificate"]?.stringValue ?? "", to: "plain.pem")
                let text = try ca.place.must(["/usr/bin/openssl", "x509", "-in", ca.place.path("plain.pem"), "-noout", "-text"])
                #expect(text.contains("CN = plain.example.com") && !text.contains("http"))
                let status = try ca.ctl(["status"])
                #expect(status.code == 0 && status.output.contains("publication.base_url"), "\(status.output)")
                #expect(try ca.place.fetch("http://localhost/crl", socket: self.socket(ca)).code == 200)
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
