// Points in time as whole seconds since 1970 UTC, the only resolution that X.509, CRLs and OCSP have.

/// A point in time: whole seconds since 1970-01-01T00:00:00Z.
public struct UnixTime: Hashable, Sendable, Comparable {
    public var seconds: Int64

    public init(_ seconds: Int64) { self.seconds = seconds }

    public static func < (left: UnixTime, right: UnixTime) -> Bool { left.seconds < right.seconds }

    /// This time moved by whole seconds; stays at the ends of the range instead of overflowing.
    public func advanced(bySeconds delta: Int64) -> UnixTime {
        let (sum, overflow) = self.seconds.addingReportingOverflow(delta)
        return UnixTime(overflow ? (delta < 0 ? .min : .max) : sum)
    }

    /// This time moved by whole days of 86,400 seconds.
    public func advanced(byDays days: Int) -> UnixTime {
        let (seconds, overflow) = Int64(days).multipliedReportingOverflow(by: 86_400)
        return self.advanced(bySeconds: overflow ? (days < 0 ? .min : .max) : seconds)
    }

    /// The civil date and time of day in UTC (proleptic Gregorian calendar).
    public var civil: (year: Int, month: Int, day: Int, hour: Int, minute: Int, second: Int) {
        var days = self.seconds / 86_400
        var rest = self.seconds % 86_400
        if rest < 0 {
            rest += 86_400
            days -= 1
        }
        // Howard Hinnant's days-to-civil: eras of 400 years that begin in March.
        let shifted = days + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * shiftedMonth + 2) / 5 + 1
        let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        return (Int(year), Int(month), Int(day), Int(rest / 3_600), Int(rest % 3_600 / 60), Int(rest % 60))
    }

    /// RFC 3339 in UTC, for example `2026-11-23T15:47:05Z`.
    public var rfc3339: String {
        let (year, month, day, hour, minute, second) = self.civil
        return
            "\(Self.pad(year, 4))-\(Self.pad(month, 2))-\(Self.pad(day, 2))T\(Self.pad(hour, 2)):\(Self.pad(minute, 2)):\(Self.pad(second, 2))Z"
    }

    private static func pad(_ value: Int, _ width: Int) -> String {
        let text = String(value)
        return String(repeating: "0", count: max(0, width - text.count)) + text
    }

    /// Reads RFC 3339 with `Z` or a numeric offset; fractions of a second are dropped.
    public init?(rfc3339 text: String) {
        let bytes = Array(text.utf8)
        func number(_ range: Range<Int>) -> Int64? {
            guard range.upperBound <= bytes.count else { return nil }
            var value: Int64 = 0
            for byte in bytes[range] {
                guard (0x30...0x39).contains(byte) else { return nil }
                value = value * 10 + Int64(byte - 0x30)
            }
            return value
        }
        guard bytes.count >= 20, bytes[4] == UInt8(ascii: "-"), bytes[7] == UInt8(ascii: "-"), bytes[10] | 0x20 == UInt8(ascii: "t"),
            bytes[13] == UInt8(ascii: ":"), bytes[16] == UInt8(ascii: ":"), let year = number(0..<4), let month = number(5..<7),
            let day = number(8..<10), let hour = number(11..<13), let minute = number(14..<16), let second = number(17..<19),
            (1...12).contains(month), (1...31).contains(day), hour < 24, minute < 60, second <= 60
        else { return nil }
        var index = 19
        if bytes[index] == UInt8(ascii: ".") {
            index += 1
            while index < bytes.count, (0x30...0x39).contains(bytes[index]) { index += 1 }
        }
        guard index < bytes.count else { return nil }
        var offset: Int64 = 0
        switch bytes[index] {
        case UInt8(ascii: "Z"), UInt8(ascii: "z"):
            guard index + 1 == bytes.count else { return nil }
        case UInt8(ascii: "+"), UInt8(ascii: "-"):
            guard index + 6 == bytes.count, bytes[index + 3] == UInt8(ascii: ":"), let hours = number(index + 1..<index + 3),
                let minutes = number(index + 4..<index + 6)
            else { return nil }
            guard hours < 24, minutes < 60 else { return nil }
            offset = (hours * 60 + minutes) * 60 * (bytes[index] == UInt8(ascii: "+") ? 1 : -1)
        default: return nil
        }
        // February has no 30th: the day must come back as it went in.
        guard UnixTime(civilYear: year, month: month, day: day, secondOfDay: 0).civil.day == Int(day) else { return nil }
        self.init(civilYear: year, month: month, day: day, secondOfDay: hour * 3_600 + minute * 60 + second - offset)
    }

    private init(civilYear year: Int64, month: Int64, day: Int64, secondOfDay: Int64) {
        let shiftedYear = month <= 2 ? year - 1 : year
        let era = (shiftedYear >= 0 ? shiftedYear : shiftedYear - 399) / 400
        let yearOfEra = shiftedYear - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        self.init((era * 146_097 + dayOfEra - 719_468) * 86_400 + secondOfDay)
    }
}
