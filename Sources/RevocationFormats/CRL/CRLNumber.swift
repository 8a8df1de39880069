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

extension CRLNumber: Comparable {
    public static func < (lhs: CRLNumber, rhs: CRLNumber) -> Bool {
        guard lhs.bytes.count == rhs.bytes.count else {
            return lhs.bytes.count < rhs.bytes.count
        }
        return lhs.bytes.lexicographicallyPrecedes(rhs.bytes)
    }
}
