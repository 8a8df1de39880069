// Points in time and spans for people: RFC 3339 with "in 6 d 3 h" beside it; and spans as people write them.

public import PKI

/// Times for people. Nothing depends on locale or time zone.
public enum HumanTime {
    /// Two units of a span of seconds: `6 d 3 h`, `59 min 2 s`, `0 s`.
    public static func span(_ seconds: Int64) -> String {
        let units: [(name: String, seconds: Int64)] = [("y", 31_536_000), ("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)]
        var rest = seconds.magnitude > UInt64(Int64.max) ? Int64.max : Int64(seconds.magnitude)
        guard let first = units.firstIndex(where: { rest >= $0.seconds }) else { return "0 s" }
        var parts: [String] = []
        for unit in units[first...].prefix(2) {
            let count = rest / unit.seconds
            rest %= unit.seconds
            if count > 0 { parts.append("\(count) \(unit.name)") }
        }
        return parts.joined(separator: " ")
    }

    /// `in 6 d 3 h`, `6 d 3 h ago`, or `now`.
    public static func relative(_ time: UnixTime, now: UnixTime) -> String {
        let difference = time.seconds.subtractingReportingOverflow(now.seconds)
        let seconds = difference.overflow ? (time < now ? Int64.min : .max) : difference.partialValue
        if seconds == 0 { return "now" }
        return seconds > 0 ? "in \(span(seconds))" : "\(span(seconds)) ago"
    }

    /// `2026-11-30T15:47:05Z (in 6 d 3 h)`.
    public static func point(_ time: UnixTime, now: UnixTime) -> String { "\(time.rfc3339) (\(relative(time, now: now)))" }

    /// The same for a time as an answer carries it; other text comes back as it is.
    public static func point(_ text: String, now: UnixTime) -> String { UnixTime(rfc3339: text).map { point($0, now: now) } ?? text }

    /// Seconds of a span such as `24h`, `90m`, `7d`, `2w` or `3600` (seconds); nil for anything else, and for nothing at all.
    public static func seconds(ofSpan text: String) -> Int64? {
        let digits = text.prefix { $0.isASCII && $0.isNumber }
        guard !digits.isEmpty, let count = Int64(digits), count > 0 else { return nil }
        let factors: [String: Int64] = ["": 1, "s": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400, "w": 604_800]
        guard let factor = factors[String(text.dropFirst(digits.count))] else { return nil }
        let (seconds, overflow) = count.multipliedReportingOverflow(by: factor)
        return overflow ? nil : seconds
    }
}
