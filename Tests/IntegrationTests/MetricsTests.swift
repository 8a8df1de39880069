// `ca-ctl metrics` against a real CA, read by Prometheus' own parser.
import Foundation
import Glibc
import TestPrograms
import Testing
import UPKIProtocol

extension IntegrationTests {
    @Suite("Metrics")
    struct MetricsTests {
        /// What Prometheus makes of a text: families by name.
        private static func parse(_ text: String, in place: Workplace) throws -> JSON {
            let finished = try place.run(
                [try Checkout.python(environment: "prometheus"), "-B", "\(Checkout.peers)/prometheus.py"], input: text)
            guard finished.code == 0, let json = try? JSON(parsing: Array(finished.output.utf8)) else {
                throw TestFailure("Prometheus cannot read it: \(finished.errors)\n\(text)")
            }
            return json
        }

        private static func value(_ families: JSON, _ family: String, _ sample: String? = nil, _ labels: [String: String] = [:]) -> Double?
        {
            let samples = families[family]?["samples"]?.arrayValue ?? []
            let found = samples.first { candidate in
                candidate["name"]?.stringValue == (sample ?? candidate["name"]?.stringValue)
                    && labels.allSatisfy { candidate["labels"]?[$0.key]?.stringValue == $0.value }
            }
            guard case .number(let digits)? = found?["value"] else { return nil }
            return Double(digits)
        }

        @Test("requests by task and outcome, times, queues, commits, inventory and what ends next; strangers make no labels")
        func metrics() throws {
            try withCA { ca in
                try ca.register()
                let csr = try ca.place.csr("/CN=www.example.com")
                for _ in 0..<3 { _ = try ca.data("sign", ["csr": .string(csr)]) }
                #expect(!(try ca.ask("sign", ["csr": "x"])).refusal.isEmpty)
                #expect(!(try ca.ask("revoke", ["dn": "/CN=nobody"])).refusal.isEmpty)
                for name in ["up 1\n\"evil\"", "drop table", "window"] { #expect(!(try ca.ask(name)).refusal.isEmpty) }
                #expect(try ca.ctl(["cert", "revoke", "www.example.com"]).code == 0)

                let printed = try ca.ctl(["metrics"])
                #expect(printed.code == 0 && printed.errors.isEmpty, "\(printed.errors)")
                let families = try Self.parse(printed.output, in: ca.place)
                func value(_ family: String, _ sample: String? = nil, _ labels: [String: String] = [:]) -> Double? {
                    Self.value(families, family, sample, labels)
                }
                let signed = ["channel": "front", "task": "sign", "outcome": "ok"]
                #expect(families["upki_ca_requests"]?["type"] == "counter")
                #expect(value("upki_ca_requests", "upki_ca_requests_total", signed) == 3)
                #expect(value("upki_ca_requests", nil, ["channel": "front", "task": "sign", "outcome": "requestRefused"]) == 1)
                #expect(value("upki_ca_requests", nil, ["task": "revoke", "outcome": "certificateNotFound"]) == 1)
                #expect(value("upki_ca_requests", nil, ["channel": "front", "task": "unknown", "outcome": "unknownTask"]) == 3)
                #expect(!printed.output.contains("evil") && !printed.output.contains("drop table"))

                let timed = ["channel": "front", "task": "sign"]
                #expect(families["upki_ca_request_seconds"]?["type"] == "histogram")
                #expect(value("upki_ca_request_seconds", "upki_ca_request_seconds_count", timed) == 4)
                #expect(value("upki_ca_request_seconds", "upki_ca_request_seconds_bucket", timed.merging(["le": "+Inf"]) { $1 }) == 4)
                let sum = try #require(value("upki_ca_request_seconds", "upki_ca_request_seconds_sum", timed))
                #expect(sum > 0 && sum < 4 * 4)

                for queue in ["work", "changes", "key_jobs", "publisher_jobs", "list_jobs", "outbox"] {
                    #expect(value("upki_ca_queue_depth", nil, ["queue": queue]) != nil, "\(queue)")
                }
                let commits = try #require(value("upki_ca_commits"))
                let changes = try #require(value("upki_ca_commit_changes", "upki_ca_commit_changes_sum"))
                let rows = try #require(value("upki_ca_rows_written"))
                // Three certificates, each with its audit record; one change at least each.
                #expect(commits >= 5 && changes >= commits && rows >= 2 * 4, "\(commits) \(changes) \(rows)")
                #expect(
                    value("upki_ca_commit_seconds", "upki_ca_commit_seconds_count")
                        == value("upki_ca_commit_changes", "upki_ca_commit_changes_count"))

                let status = try ca.facts(["status"])
                #expect(value("upki_ca_certificates") == (status.at("core", "counts", "certificates")?.integerValue).map(Double.init))
                #expect(value("upki_ca_revocations") == 3)
                #expect(value("upki_ca_nodes", nil, ["state": "live"]) == 1)
                #expect(value("upki_ca_registration_open") == 1)
                for service in ["core", "front", "registrar", "ocsp"] {
                    #expect(value("upki_ca_service_up", nil, ["service": service]) == 1)
                    #expect(value("upki_ca_service_restarts", nil, ["service": service]) == 0)
                }
                #expect(value("upki_ca_up") == 1)
                let page = try String(contentsOfFile: "\(Checkout.peers)/../../../docs/OPERATIONS.md", encoding: .utf8)
                for family in families.objectValue ?? [] { #expect(page.contains("`\(family.name)"), "\(family.name) is not documented") }
                for (name, level) in [("upki_ca_reserve_in_use", 0.0), ("upki_ca_store_damaged", 0), ("upki_ca_clock_behind_seconds", 0)] {
                    #expect(value(name) == level, "\(name)")
                }

                // DESIGN: the CA for ten years, a CRL for seven days, an RA for a year, the window for a day.
                let day = 86_400.0
                for (kind, days) in [("ca", 3650.0), ("crl", 7), ("node", 365), ("window", 1)] {
                    let seconds = try #require(value("upki_ca_expiry_seconds", nil, ["kind": kind]), "\(kind)")
                    #expect(seconds > (days - 1.1) * day && seconds <= days * day, "\(kind): \(seconds)")
                    #expect(value("upki_ca_expiries_due", nil, ["kind": kind]) == 0)
                }
                for name in ["process_cpu_seconds", "process_resident_memory_bytes", "process_open_fds", "process_start_time_seconds"] {
                    #expect((value(name) ?? 0) > 0, "\(name)")
                }
            }
        }

        @Test("--out writes a whole file that everyone may read; without a CA it says up 0 and ends with 3")
        func file() throws {
            try withCA { ca in
                let out = ca.place.path("upki-ca.prom")
                #expect(try ca.ctl(["metrics", "--out", out]).code == 0)
                var status = stat()
                #expect(stat(out, &status) == 0 && status.st_mode & 0o777 == 0o644)
                #expect(Self.value(try Self.parse(try ca.place.read("upki-ca.prom"), in: ca.place), "upki_ca_up") == 1)
                // Nothing is left beside it that the collector would read.
                let files = try FileManager.default.contentsOfDirectory(atPath: ca.place.directory)
                #expect(files.filter { $0.contains("prom") } == ["upki-ca.prom"])
                try ca.stop()
                let away = try ca.ctl(["metrics", "--out", out])
                #expect(away.code == 3 && away.errors.hasPrefix("ca-ctl: cannot reach the CA"), "\(away.errors)")
                #expect(Self.value(try Self.parse(try ca.place.read("upki-ca.prom"), in: ca.place), "upki_ca_up") == 0)
                let nothing = try ca.ctl(["metrics"])
                #expect(nothing.code == 3 && nothing.output.isEmpty)
                let wrong = try ca.ctl(["metrics", "--out", "/nonexistent/upki-ca.prom"])
                #expect(wrong.code == 1 && wrong.errors.contains("/nonexistent/upki-ca.prom"), "\(wrong.errors)")
            }
        }
    }
}
