// Times and spans as people read and write them.
import Console
import PKI
import Testing

@Suite("Times for people")
struct HumanTimeTests {
    @Test(
        "a span has its two largest units",
        arguments: [
            (0, "0 s"), (59, "59 s"), (60, "1 min"), (3_599, "59 min 59 s"), (3_600, "1 h"), (86_399, "23 h 59 min"), (529_200, "6 d 3 h"),
            (31_536_000, "1 y"), (31_536_000 + 86_400 * 2 + 5, "1 y 2 d"), (86_400 + 5, "1 d"), (-90, "1 min 30 s"),
        ] as [(Int64, String)])
    func spans(seconds: Int64, text: String) {
        #expect(HumanTime.span(seconds) == text)
    }

    @Test("a point in time is RFC 3339 in UTC with how far away it is")
    func points() {
        // date -u -d @1795448825
        let now = UnixTime(1_795_448_825)
        #expect(HumanTime.point(now.advanced(bySeconds: 529_200), now: now) == "2026-11-29T18:47:05Z (in 6 d 3 h)")
        #expect(HumanTime.point(now.advanced(bySeconds: -5), now: now) == "2026-11-23T15:47:00Z (5 s ago)")
        #expect(HumanTime.point(now, now: now) == "2026-11-23T15:47:05Z (now)")
        #expect(HumanTime.point("2026-11-23T15:47:05Z", now: now) == "2026-11-23T15:47:05Z (now)")
        #expect(HumanTime.point("no time", now: now) == "no time")
        #expect(HumanTime.relative(UnixTime(.max), now: UnixTime(.min)).hasPrefix("in "))
        #expect(HumanTime.relative(UnixTime(.min), now: UnixTime(.max)).hasSuffix(" ago"))
    }

    @Test(
        "a span is read with its unit",
        arguments: [("24h", 86_400), ("90m", 5_400), ("90min", 5_400), ("7d", 604_800), ("2w", 1_209_600), ("3600", 3_600), ("1s", 1)]
            as [(String, Int64)])
    func readsSpans(text: String, seconds: Int64) {
        #expect(HumanTime.seconds(ofSpan: text) == seconds)
    }

    @Test(
        "what is no span is refused",
        arguments: ["", "h", "0", "0h", "-1h", "1 h", "1.5h", "24H", "24hours", "99999999999999999999", "9999999999999999w", "٣h"])
    func refusesSpans(text: String) {
        #expect(HumanTime.seconds(ofSpan: text) == nil)
    }
}
