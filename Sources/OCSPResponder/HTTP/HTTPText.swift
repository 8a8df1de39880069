// Numbers and dates as HTTP writes them, straight into a buffer.

import NIOCore
import PKI

extension ByteBuffer {
    /// A number that is not negative, in decimal.
    mutating func writeDecimal(_ number: Int64) {
        var rest = UInt64(max(0, number))
        var digits = 1
        var bound: UInt64 = 10
        while digits < 19, rest >= bound {
            digits += 1
            bound *= 10
        }
        self.writeWithUnsafeMutableBytes(minimumWritableBytes: 20) { bytes in
            for index in (0..<digits).reversed() {
                bytes[index] = 0x30 + UInt8(rest % 10)
                rest /= 10
            }
            return digits
        }
    }

    /// Sixteen hexadecimal digits.
    mutating func writeHexadecimal(_ number: UInt64) {
        self.writeWithUnsafeMutableBytes(minimumWritableBytes: 16) { bytes in
            for index in 0..<16 {
                let digit = UInt8(truncatingIfNeeded: number >> UInt64(60 - 4 * index)) & 0xF
                bytes[index] = digit < 10 ? 0x30 + digit : 0x57 + digit
            }
            return 16
        }
    }

    /// IMF-fixdate (RFC 9110 5.6.7), `Sun, 06 Nov 1994 08:49:37 GMT`; years 1970 to 9999, other times become the nearest of these.
    mutating func writeHTTPDate(_ seconds: Int64) {
        let seconds = min(max(0, seconds), 253_402_300_799)
        let (year, month, day, hour, minute, second) = UnixTime(seconds).civil
        // 1970 began on a Thursday.
        let weekday = Int((seconds / 86_400 + 4) % 7)
        self.writeWithUnsafeMutableBytes(minimumWritableBytes: 29) { bytes in
            func letters(_ names: StaticString, _ index: Int, at place: Int) {
                names.withUTF8Buffer { letters in
                    for offset in 0..<3 where index * 3 + offset < letters.count { bytes[place + offset] = letters[index * 3 + offset] }
                }
            }
            func digits(_ number: Int, at place: Int) {
                bytes[place] = 0x30 + UInt8(truncatingIfNeeded: number / 10 % 10)
                bytes[place + 1] = 0x30 + UInt8(truncatingIfNeeded: number % 10)
            }
            bytes.copyBytes(from: "xxx, 00 xxx 0000 00:00:00 GMT".utf8)
            letters("SunMonTueWedThuFriSat", weekday, at: 0)
            digits(day, at: 5)
            letters("JanFebMarAprMayJunJulAugSepOctNovDec", month - 1, at: 8)
            digits(year / 100, at: 12)
            digits(year % 100, at: 14)
            digits(hour, at: 17)
            digits(minute, at: 20)
            digits(second, at: 23)
            return 29
        }
    }
}
