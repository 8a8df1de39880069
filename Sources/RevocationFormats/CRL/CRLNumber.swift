// The number by which the CRLs of one issuer are ordered.

import SwiftASN1

/// A CRLNumber is defined in RFC 5280 5.2.3 as:
///
/// ```
/// CRLNumber ::= INTEGER (0..MAX)
/// ```
///
/// At most 20 octets, as the RFC asks.
public struct CRLNumber: DERImplicitlyTaggable, Hashable, Sendable {
    public static var defaultIdentifier: ASN1Identifier {
        .integer
    }

    /// Big-endian, without leading zero octets; empty for 0.
    public let bytes: ArraySlice<UInt8>

    public init(_ value: UInt64) {
        let octets = stride(from: 56, through: 0, by: -8).map { UInt8(truncatingIfNeeded: value >> UInt64($0)) }
        self.bytes = octets.drop { $0 == 0 }
    }

    /// - parameter bytes: Big-endian, leading zero octets do no harm.
    /// - throws: ``RevocationFormatsError`` with `invalidField` above 20 octets.
    public init(bytes: some Collection<UInt8>) throws {
        let significant = Array(bytes.drop { $0 == 0 })
        guard significant.count <= 20 else {
            throw RevocationFormatsError(.invalidField, "a CRL number has at most 20 octets, not \(significant.count)")
        }
        self.bytes = significant[...]
    }

    public init(derEncoded node: ASN1Node, withIdentifier identifier: ASN1Identifier) throws {
        // Decoding ArraySlice refuses negative numbers and takes the leading zero octet away.
        let bytes = try ArraySlice<UInt8>(derEncoded: node, withIdentifier: identifier)
        guard bytes.count <= 20 else {
            throw ASN1Error.invalidASN1Object(reason: "A CRL number has at most 20 octets, not \(bytes.count)")
        }
        self.bytes = bytes
    }

    public func serialize(into coder: inout DER.Serializer, withIdentifier identifier: ASN1Identifier) throws {
        try self.bytes.serialize(into: &coder, withIdentifier: identifier)
    }

    /// The number itself, nil above `UInt64.max`.
    public var value: UInt64? {
        guard self.bytes.count <= 8 else {
            return nil
        }
        return self.bytes.reduce(0) { $0 << 8 | UInt64($1) }
    }
}

extension CRLNumber {
    /// The number after this one; nil after the greatest that 20 octets hold.
    public var successor: CRLNumber? {
        var octets = Array(self.bytes)
        for index in octets.indices.reversed() {
            octets[index] &+= 1
            if octets[index] != 0 {
                return try? CRLNumber(bytes: octets)
            }
        }
        return try? CRLNumber(bytes: [1] + octets)
    }

    /// The number with these decimal digits; nil for anything else, and above 20 octets.
    public init?(decimal text: some StringProtocol) {
        // 2^160 has 49 digits.
        guard (1...49).contains(text.utf8.count) else {
            return nil
        }
        var octets = [UInt8](repeating: 0, count: 21)
        for digit in text.utf8 {
            guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(digit) else {
                return nil
            }
            var carry = Int(digit - UInt8(ascii: "0"))
            for index in octets.indices.reversed() {
                let value = Int(octets[index]) * 10 + carry
                octets[index] = UInt8(truncatingIfNeeded: value)
                carry = value >> 8
            }
        }
        try? self.init(bytes: octets)
    }

    /// The number in decimal digits.
    public var decimal: String {
        var octets = Array(self.bytes)
        var digits: [UInt8] = []
        while let first = octets.firstIndex(where: { $0 != 0 }) {
            var remainder = 0
            for index in octets.indices[first...] {
                let value = remainder << 8 | Int(octets[index])
                octets[index] = UInt8(value / 10)
                remainder = value % 10
            }
            digits.append(UInt8(ascii: "0") + UInt8(remainder))
        }
        return digits.isEmpty ? "0" : String(decoding: digits.reversed(), as: UTF8.self)
    }
}

extension CRLNumber: ExpressibleByIntegerLiteral {
    public init(integerLiteral value: UInt64) {
        self.init(value)
    }
}

extension CRLNumber: CustomStringConvertible {
    public var description: String { self.decimal }
}

extension CRLNumber: Comparable {
    public static func < (lhs: CRLNumber, rhs: CRLNumber) -> Bool {
        guard lhs.bytes.count == rhs.bytes.count else {
            return lhs.bytes.count < rhs.bytes.count
        }
        return lhs.bytes.lexicographicallyPrecedes(rhs.bytes)
    }
}
