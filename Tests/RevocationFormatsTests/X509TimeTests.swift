// Times: the two forms, the year in which they change, and the calendar.

import Foundation
import RevocationFormats
import SwiftASN1
import Testing

@Suite("Times in CRLs")
struct X509TimeTests {
    static func der(_ time: X509Time) throws -> [UInt8] {
        var coder = DER.Serializer()
        try coder.serialize(time)
        return coder.serializedBytes
    }

    @Test(
        "UTCTime through 2049, GeneralizedTime after, as `date` and openssl have them",
        arguments: [
            // Seconds from `date -u -d … +%s`.
            (-631_152_000, "UTCTIME:500101000000Z"),
            (-1, "UTCTIME:691231235959Z"),
            (0, "UTCTIME:700101000000Z"),
            (951_782_400, "UTCTIME:000229000000Z"),
            (1_709_251_199, "UTCTIME:240229235959Z"),
            (1_735_689_600, "UTCTIME:250101000000Z"),
            (2_524_607_999, "UTCTIME:491231235959Z"),
            (2_524_608_000, "GENERALIZEDTIME:20500101000000Z"),
            (4_107_542_400, "GENERALIZEDTIME:21000301000000Z"),
            (253_402_300_799, "GENERALIZEDTIME:99991231235959Z"),
        ] as [(Int64, String)]
    )
    func forms(seconds: Int64, description: String) throws {
        let expected = try TemporaryFolder().der(description)
        let time = try X509Time(unixSeconds: seconds)
        #expect(try Self.der(time) == expected)
        #expect(try X509Time(derEncoded: expected) == time)
        #expect(try X509Time(derEncoded: expected).unixSeconds == seconds)
    }

    @Test("every day from 1950 to 2150 agrees with Foundation's calendar")
    func calendar() throws {
        var calendar = Calendar(identifier: .gregorian)
        calendar.timeZone = .gmt
        for day in stride(from: Int64(-631_152_000), to: 5_680_281_600, by: 86_400) {
            let seconds = day + (day / 86_400 * 7919) % 43_200 + 43_200 / 2
            let parts = calendar.dateComponents(
                [.year, .month, .day, .hour, .minute, .second],
                from: Date(timeIntervalSince1970: TimeInterval(seconds))
            )
            let year = try #require(parts.year)
            let digits = try [parts.month, parts.day, parts.hour, parts.minute, parts.second].map { part in
                let value = try #require(part)
                return value < 10 ? "0\(value)" : "\(value)"
            }
            let text = (year < 2050 ? String("\(year)".suffix(2)) : "\(year)") + digits.joined() + "Z"
            let expected = [year < 2050 ? 0x17 : 0x18, UInt8(text.utf8.count)] + Array(text.utf8)
            let encoded = try Self.der(X509Time(unixSeconds: seconds))
            // One comparison for each of 73,000 days: only a difference is worth recording.
            if encoded != expected {
                Issue.record("\(seconds) is \(text), not \(encoded)")
            }
            if try X509Time(derEncoded: expected).unixSeconds != seconds {
                Issue.record("\(text) is \(seconds)")
            }
        }
    }

    @Test("times outside 1950 to 9999 are refused", arguments: [-631_152_001, 253_402_300_800, Int64.min, Int64.max])
    func outOfRange(seconds: Int64) {
        #expect(throws: RevocationFormatsError.self) { try X509Time(unixSeconds: seconds) }
    }

    @Test("a GeneralizedTime before 2050 is read and keeps its form")
    func keepsForm() throws {
        let bytes = try TemporaryFolder().der("GENERALIZEDTIME:20250101000000Z")
        let time = try X509Time(derEncoded: bytes)
        #expect(time.unixSeconds == 1_735_689_600)
        #expect(try Self.der(time) == bytes)
    }

    @Test(
        "what RFC 5280 forbids is refused",
        arguments: [
            (0x18, "20250101000000.5Z"), (0x18, "20250101000060Z"), (0x17, "250101000060Z"), (0x17, "2501010000Z"),
            (0x17, "250101000000+0100"), (0x17, "250229000000Z"), (0x18, "20250101000000"), (0x04, "250101000000Z"),
        ] as [(UInt8, String)]
    )
    func forbidden(tag: UInt8, text: String) {
        #expect(throws: ASN1Error.self) { try X509Time(derEncoded: [tag, UInt8(text.utf8.count)] + Array(text.utf8)) }
    }
}
