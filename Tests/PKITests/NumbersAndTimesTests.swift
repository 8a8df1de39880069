// Serial numbers against Python's integers, times against Foundation and GNU date.

import Foundation
import PKI
import TestAuthority
import Testing

@Suite("Serial numbers")
struct SerialNumberTests {
    @Test("are written in decimal, and read in decimal, hexadecimal and colon hexadecimal, as Python's integers are")
    func python() throws {
        let script = """
            import random
            random.seed(1)
            numbers = [1, 9, 10, 127, 128, 255, 256, 2**32 - 1, 2**32, 2**63, 2**64 - 1, 2**64, 2**96, 2**128 - 1, 2**128, 2**159 - 1, 2**159, 2**160 - 1, 10**9, 10**18, 10**47]
            numbers += [random.getrandbits(random.randint(1, 160)) or 1 for _ in range(300)]
            for n in numbers:
                b = n.to_bytes((n.bit_length() + 7) // 8, "big")
                print(n, hex(n), b.hex(":").upper(), b.hex())
            """
        let folder = try OpenSSLFolder()
        try folder.write(script, "s.py")
        let lines = try folder.run(["python3", "s.py"]).split(separator: "\n")
        #expect(lines.count > 300)
        var previous: [(SerialNumber, String)] = []
        for line in lines {
            let fields = line.split(separator: " ")
            let serial = try #require(SerialNumber(text: fields[0]))
            #expect(serial.decimal == fields[0])
            #expect(SerialNumber(text: fields[1]) == serial)
            #expect(SerialNumber(text: fields[1].uppercased().replacing("0X", with: "0x")) == serial)
            // One pair alone has no colon, and reads as decimal.
            if fields[2].contains(":") { #expect(SerialNumber(text: fields[2]) == serial) }
            #expect(SerialNumber(text: "00:" + fields[2]) == serial)
            #expect(serial.hexadecimal == fields[3])
            #expect(Hexadecimal.encode(serial.paddedBytes).hasSuffix(fields[3]))
            #expect(serial.paddedBytes.count == 20)
            #expect(SerialNumber(bytes: serial.bytes) == serial)
            previous.append((serial, String(fields[0])))
        }
        for (left, right) in zip(previous, previous.dropFirst()) {
            let isLess = left.1.count == right.1.count ? left.1 < right.1 : left.1.count < right.1.count
            #expect((left.0 < right.0) == isLess)
            #expect(left.0.paddedBytes.lexicographicallyPrecedes(right.0.paddedBytes) == isLess)
        }
    }

    @Test(
        "are never zero, negative, longer than 20 octets or anything but digits",
        arguments: [
            "", "0", "00", "0x", "0x0", "0x00", "00:00", "-1", "+1", " 1", "1 ", "1.0", "1e3", "abc", "0xg", "0x-1", "x1", ":", "1:", ":1",
            "1::2", "100:2", "0x1:2", "１",
            "1461501637330902918203684832716283019655932542976", "0x10000000000000000000000000000000000000000",
            "01:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00",
            String(repeating: "9", count: 64), "1\u{0}",
        ])
    func refused(_ text: String) { #expect(SerialNumber(text: text) == nil) }

    @Test("are never of 100,000 digits")
    func long() { #expect(SerialNumber(text: String(repeating: "9", count: 100_000)) == nil) }

    @Test("have leading zeros that do not count")
    func zeros() {
        #expect(SerialNumber(text: "0000000000000000000000000000005")?.decimal == "5")
        #expect(SerialNumber(bytes: [UInt8](repeating: 0, count: 30) + [1])?.bytes == [1])
        #expect(
            SerialNumber(bytes: [UInt8](repeating: 0, count: 20)) == nil && SerialNumber(bytes: [UInt8](repeating: 1, count: 21)) == nil)
    }

    @Test(
        "stay positive and of 20 octets at most, whatever the clock says",
        arguments: [Int64.min, -1, 0, 1_577_836_800, 1_577_836_801, 4_000_000_000, Int64.max])
    func clocks(_ seconds: Int64) {
        for random in [(UInt64(0), UInt64(0)), (.max, .max)] {
            let serial = SerialNumber(issuedAt: UnixTime(seconds), random: random)
            #expect(serial.bytes.count <= 20 && serial.paddedBytes[0] < 0x80)
            #expect(SerialNumber(text: serial.decimal) == serial)
        }
    }
}

@Suite("Times")
struct UnixTimeTests {
    @Test("are written as GNU date writes them, over 10,000 years")
    func date() throws {
        var seconds: [Int64] = [
            0, 1, -1, 59, 951_782_400, 951_868_799, 951_868_800, 4_107_542_399, 4_107_542_400, 2_147_483_647, 2_147_483_648, -2_208_988_800,
            -62_135_596_800, 253_402_300_799,
        ]
        var state: UInt64 = 3
        for _ in 0..<500 {
            state = state &* 6_364_136_223_846_793_005 &+ 1
            seconds.append(Int64(state >> 1) % 253_402_300_799)
        }
        let folder = try OpenSSLFolder()
        try folder.write(seconds.map { "@\($0)" }.joined(separator: "\n"), "times")
        let expected = try folder.run(["date", "-u", "-f", "times", "+%Y-%m-%dT%H:%M:%SZ"]).split(separator: "\n")
        #expect(expected.count == seconds.count)
        for (second, text) in zip(seconds, expected) {
            #expect(UnixTime(second).rfc3339 == text)
            #expect(UnixTime(rfc3339: String(text)) == UnixTime(second))
        }
    }

    @Test(
        "are read as Foundation reads them, with offsets and fractions",
        arguments: [
            "1985-04-12T23:20:50.52Z", "1996-12-19T16:39:57-08:00", "1937-01-01T12:00:27.87+00:20", "2000-02-29T00:00:00Z",
            "2026-11-23T15:47:05+23:59", "2026-01-01T00:00:00-00:00",
        ])
    func offsets(_ text: String) throws {
        let formatter = ISO8601DateFormatter()
        formatter.formatOptions = text.contains(".") ? [.withInternetDateTime, .withFractionalSeconds] : [.withInternetDateTime]
        let date = try #require(formatter.date(from: text))
        #expect(UnixTime(rfc3339: text)?.seconds == Int64(date.timeIntervalSince1970.rounded(.down)))
    }

    @Test(
        "are not read from what RFC 3339 forbids",
        arguments: [
            "", "2026", "2026-11-23", "2026-11-23T15:47Z", "2026-11-23 15:47:05Z", "2026-11-23T15:47:05", "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z", "2026-01-00T00:00:00Z",
            "2026-01-32T00:00:00Z", "2026-02-29T00:00:00Z", "2026-02-30T00:00:00Z", "2026-04-31T00:00:00Z", "2026-01-01T24:00:00Z",
            "2026-01-01T00:60:00Z", "2026-01-01T00:00:61Z",
            "2026-01-01T00:00:00+24:00", "2026-01-01T00:00:00+00:60", "2026-01-01T00:00:00+0000", "2026-01-01T00:00:00ZZ",
            "2026-01-01T00:00:00+", "+026-01-01T00:00:00Z", "２026-01-01T00:00:00Z",
        ])
    func refused(_ text: String) { #expect(UnixTime(rfc3339: text) == nil) }

    @Test("stop at the ends of their range")
    func ends() {
        #expect(UnixTime(.max).advanced(bySeconds: 1) == UnixTime(.max))
        #expect(UnixTime(.min).advanced(bySeconds: -1) == UnixTime(.min))
        #expect(UnixTime(0).advanced(byDays: .max) == UnixTime(.max))
        #expect(UnixTime(0).advanced(byDays: .min) == UnixTime(.min))
        #expect(UnixTime(86_400).advanced(byDays: -2) == UnixTime(-86_400))
        #expect(UnixTime(.max).rfc3339.hasSuffix("Z") && UnixTime(.min).rfc3339.hasSuffix("Z"))
    }
}
