// What `ocsp show` and `ocsp selftest` print.
import Console
import PKI
import Testing
import UPKIProtocol
import ca_ctl

@Suite("The report of the OCSP bridge")
struct BridgeReportTests {
    private static let now = UnixTime(1_795_448_825)

    private static let whole: JSON =
        [
            ("time", .integer(now.seconds)), ("complaints", []),
            ("ca", [("fingerprint", "aabb"), ("not_after", .integer(now.seconds + 86_400))].object),
            (
                "signers",
                [
                    [
                        ("serial", "77"), ("not_before", .integer(now.seconds - 300)), ("not_after", .integer(now.seconds + 172_800)),
                        ("live", true),
                    ].object,
                    [("serial", "76"), ("not_before", .integer(0)), ("not_after", .integer(now.seconds - 60)), ("live", false)].object,
                ]
            ),
            ("core", [("state", "live"), ("link", "up"), ("sequence", .integer(9)), ("heartbeat_age_ms", .integer(12))].object),
            (
                "crl",
                [
                    ("number", "1795448000000000"), ("bytes", .integer(2_048)), ("this_update", .integer(now.seconds)),
                    ("next_update", .integer(now.seconds + 604_800)),
                ].object
            ),
            (
                "policy",
                [("validity", .integer(43_200)), ("max_age", .integer(300)), ("offline_grace", .integer(60)), ("nonce", "require")].object
            ),
            (
                "cache",
                [
                    ("answers", .integer(5)), ("statuses", .integer(6)), ("bytes", .integer(64 << 20)), ("displaced", .integer(0)),
                    ("dropped", .integer(1)),
                ].object
            ),
            ("counters", [("cache_hits", .integer(1_000)), ("signatures", .integer(7))].object),
            (
                "http",
                [
                    ("requests", [("GET", .integer(0)), ("POST", .integer(1_007))].object),
                    ("answers", [("good", .integer(1_000)), ("revoked", .integer(7)), ("unknown", .integer(0))].object),
                    ("statuses", [("200", .integer(1_007))].object), ("connections_open", .integer(2)),
                    ("connections_opened", .integer(9)), ("connections_refused", .integer(0)),
                    ("timed_out", [("idle", .integer(0)), ("request", .integer(0))].object),
                ].object
            ),
        ].object

    @Test("every part has its line, times say how far away they are, and counters go by their names")
    func text() {
        let report = BridgeReport(Self.whole)
        #expect(
            report.text(width: 120, now: Self.now) == """
                ca-core              heard: what is kept is served, last heard 12 ms ago
                CA                   AA:BB
                signing certificate  serial 77, until 2026-11-25T15:47:05Z (in 2 d)
                signing certificate  not valid now, serial 76, until 2026-11-23T15:46:05Z (1 min ago)
                answers              valid for 12 h, 5 min in HTTP caches, nonce: require
                without ca-core      good for 1 min, revoked until nextUpdate
                CRL                  number 1795448000000000, 2 KB, next due 2026-11-30T15:47:05Z (in 7 d)
                kept                 5 answers and 6 statuses in at most 64 MB
                                     0 made room for others; everything was dropped 1 times
                requests             1007 POST
                OCSP answers         1000 good, 7 revoked
                HTTP statuses        1007 200
                connections          2 open, 9 since the start, 0 refused; timed out: none
                counted              since its start
                  cache hits         1000
                  signatures         7

                """)
        #expect(report.signerEnds == UnixTime(Self.now.seconds + 172_800))
        #expect(report.nonce == "require" && report.complaints.isEmpty)
    }

    @Test("a bridge that has nothing yet says so, with its complaints as warnings")
    func beginning() {
        let report = BridgeReport(
            [
                ("complaints", ["ca-core was not heard yet", "there is no CRL yet"]), ("ca", .null), ("signers", []), ("crl", .null),
                ("core", [("state", "away"), ("heartbeat_age_ms", .null)].object),
            ].object)
        #expect(
            report.text(width: 120, now: Self.now) == """
                ca-core              away: what is kept is served for a while
                signing certificate  none yet
                CRL                  none yet
                counted              since its start

                warning: ca-core was not heard yet
                warning: there is no CRL yet

                """)
        #expect(report.signerEnds == nil)
    }
}

@Suite("The report of the self-test")
struct SelftestReportTests {
    @Test("one line for each check; the first surprise is what the command ends with")
    func lines() {
        var report = SelftestReport()
        report.checks = [.init("issue", true, "ocsp-selftest-1, serial 5"), .init("POST SHA-1", true, "good")]
        report.delay = 3_149
        #expect(report.hasPassed && report.surprise.isEmpty)
        #expect(report.text(width: 100) == "ok  issue       ocsp-selftest-1, serial 5\nok  POST SHA-1  good\n")
        report.checks += [.init("GET SHA-1", false, "the responder answers tryLater"), .init("delete", false, "no answer")]
        #expect(!report.hasPassed && report.surprise == "GET SHA-1: the responder answers tryLater")
        #expect(report.text(width: 100).hasSuffix("FAIL  GET SHA-1   the responder answers tryLater\nFAIL  delete      no answer\n"))
        #expect(
            report.json.text
                == #"{"passed":false,"delay_us":3149,"checks":[{"check":"issue","passed":true,"found":"ocsp-selftest-1, serial 5"},"#
                + #"{"check":"POST SHA-1","passed":true,"found":"good"},"#
                + #"{"check":"GET SHA-1","passed":false,"found":"the responder answers tryLater"},"#
                + #"{"check":"delete","passed":false,"found":"no answer"}]}"#)
    }

    @Test("milliseconds have two digits", arguments: [(0, "0.00 ms"), (3_149, "3.14 ms"), (50, "0.05 ms"), (1_234_567, "1234.56 ms")])
    func milliseconds(microseconds: Int64, text: String) {
        #expect(SelftestReport.milliseconds(microseconds) == text)
    }
}
