// The Time of certificates and CRLs, in whole seconds.

import SwiftASN1

/// A Time is defined in RFC 5280 4.1 as:
///
/// ```
/// Time ::= CHOICE {
///      utcTime        UTCTime,
///      generalTime    GeneralizedTime }
/// ```
///
/// UTCTime is written through the year 2049, GeneralizedTime from 2050 on (RFC 5280 5.1.2.4), always in whole seconds.
/// What was read keeps its form, so that it is written again byte for byte.
public struct X509Time: DERParseable, DERSerializable, Hashable, Sendable {
    /// Seconds since 1970-01-01T00:00:00Z, leap seconds not counted.
    public let unixSeconds: Int64

    private let isUTCTime: Bool

    /// 1950-01-01T00:00:00Z, where the two-digit years of UTCTime begin.
    private static let earliest: Int64 = -631_152_000
    /// 2050-01-01T00:00:00Z, where GeneralizedTime begins.
    private static let firstGeneralized: Int64 = 2_524_608_000
    /// 9999-12-31T23:59:59Z, the last second with a four-digit year.
    private static let latest: Int64 = 253_402_300_799

    /// How many bytes ``write(into:at:)`` writes at most.
    static let maximumEncodedByteCount = 17

    /// The form that RFC 5280 prescribes for a point in time.
    ///
    /// - parameter unixSeconds: Seconds since 1970; from 1950-01-01 to 9999-12-31.
    /// - throws: ``RevocationFormatsError`` with `timeOutOfRange`.
    public init(unixSeconds: Int64) throws {
        guard unixSeconds >= Self.earliest, unixSeconds <= Self.latest else { throw Self.outOfRange(unixSeconds) }
        self.unixSeconds = unixSeconds
        self.isUTCTime = unixSeconds < Self.firstGeneralized
    }

    /// A GeneralizedTime whatever the year, as OCSP writes every time (RFC 6960 4.2.2.1).
    ///
    /// - throws: ``RevocationFormatsError`` with `timeOutOfRange`, as ``init(unixSeconds:)``.
    init(generalized unixSeconds: Int64) throws(RevocationFormatsError) {
        guard unixSeconds >= Self.earliest, unixSeconds <= Self.latest else { throw Self.outOfRange(unixSeconds) }
        self.unixSeconds = unixSeconds
        self.isUTCTime = false
    }

    private static func outOfRange(_ unixSeconds: Int64) -> RevocationFormatsError {
        RevocationFormatsError(.timeOutOfRange, "\(unixSeconds) seconds since 1970 is not within the years 1950 to 9999")
    }

    public init(derEncoded node: ASN1Node) throws {
        switch node.identifier {
        case .utcTime:
            let time = try UTCTime(derEncoded: node)
            guard time.seconds <= 59 else {
                throw ASN1Error.invalidASN1Object(reason: "Leap seconds cannot be represented")
            }
            self.isUTCTime = true
            self.unixSeconds = Self.seconds(time.year, time.month, time.day, time.hours, time.minutes, time.seconds)
        case .generalizedTime:
            let time = try GeneralizedTime(derEncoded: node)
            guard time.seconds <= 59, time.rawFractionalSeconds.isEmpty else {
                throw ASN1Error.invalidASN1Object(reason: "Leap seconds and fractions of a second are not allowed in a CRL")
            }
            self.isUTCTime = false
            self.unixSeconds = Self.seconds(time.year, time.month, time.day, time.hours, time.minutes, time.seconds)
        default:
            throw ASN1Error.unexpectedFieldType(node.identifier)
        }
    }

    public func serialize(into coder: inout DER.Serializer) throws {
        var bytes = [UInt8](repeating: 0, count: Self.maximumEncodedByteCount)
        var span = bytes.mutableSpan
        let count = self.write(into: &span, at: 0)
        coder.serializeRawBytes(bytes[..<count])
    }

    /// How many bytes ``write(into:at:)`` writes.
    var encodedByteCount: Int { self.isUTCTime ? 15 : 17 }

    /// Writes tag, length and content.
    ///
    /// - returns: The index after the last byte written.
    func write(into bytes: inout MutableSpan<UInt8>, at start: Int) -> Int {
        let (day, second) = Self.floorDivide(self.unixSeconds, by: 86_400)
        let (year, month, dayOfMonth) = Self.civilDate(day)
        var index = start
        if self.isUTCTime {
            bytes[index] = DERTag.utcTime
            bytes[index + 1] = 13
            index += 2
        } else {
            bytes[index] = DERTag.generalizedTime
            bytes[index + 1] = 15
            index = Self.writeTwoDigits(year / 100, into: &bytes, at: index + 2)
        }
        index = Self.writeTwoDigits(year % 100, into: &bytes, at: index)
        index = Self.writeTwoDigits(month, into: &bytes, at: index)
        index = Self.writeTwoDigits(dayOfMonth, into: &bytes, at: index)
        index = Self.writeTwoDigits(second / 3600, into: &bytes, at: index)
        index = Self.writeTwoDigits(second / 60 % 60, into: &bytes, at: index)
        index = Self.writeTwoDigits(second % 60, into: &bytes, at: index)
        bytes[index] = UInt8(ascii: "Z")
        return index + 1
    }

    private static func writeTwoDigits(_ value: Int64, into bytes: inout MutableSpan<UInt8>, at index: Int) -> Int {
        let (tens, ones) = value.quotientAndRemainder(dividingBy: 10)
        bytes[index] = UInt8(ascii: "0") &+ UInt8(truncatingIfNeeded: tens)
        bytes[index + 1] = UInt8(ascii: "0") &+ UInt8(truncatingIfNeeded: ones)
        return index + 2
    }

    private static func floorDivide(_ value: Int64, by divisor: Int64) -> (quotient: Int64, remainder: Int64) {
        let (quotient, remainder) = value.quotientAndRemainder(dividingBy: divisor)
        return remainder < 0 ? (quotient - 1, remainder + divisor) : (quotient, remainder)
    }

    // The next two count years from March, so that the leap day is the last of a year, and eras of 400 years, which all
    // have 146,097 days. Day 0 is 1970-01-01, 719,468 days after 0000-03-01.

    private static func civilDate(_ daysSince1970: Int64) -> (year: Int64, month: Int64, day: Int64) {
        let (era, dayOfEra) = Self.floorDivide(daysSince1970 + 719_468, by: 146_097)
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthFromMarch = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * monthFromMarch + 2) / 5 + 1
        let month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
        return (era * 400 + yearOfEra + (month <= 2 ? 1 : 0), month, day)
    }

    private static func seconds(_ year: Int, _ month: Int, _ day: Int, _ hours: Int, _ minutes: Int, _ seconds: Int) -> Int64 {
        let (era, yearOfEra) = Self.floorDivide(Int64(month <= 2 ? year - 1 : year), by: 400)
        let monthFromMarch = Int64(month > 2 ? month - 3 : month + 9)
        let dayOfYear = (153 * monthFromMarch + 2) / 5 + Int64(day) - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        let days = era * 146_097 + dayOfEra - 719_468
        return days * 86_400 + Int64(hours * 3600 + minutes * 60 + seconds)
    }
}
