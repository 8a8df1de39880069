// The certificate extension that says where the CRL is.

import SwiftASN1

/// CRLDistributionPoints is defined in RFC 5280 4.2.1.13 as:
///
/// ```
/// id-ce-cRLDistributionPoints OBJECT IDENTIFIER ::=  { id-ce 31 }
///
/// CRLDistributionPoints ::= SEQUENCE SIZE (1..MAX) OF DistributionPoint
/// ```
public struct CRLDistributionPoints: DERImplicitlyTaggable, Hashable, Sendable {
    /// `id-ce-cRLDistributionPoints`
    public static let objectIdentifier: ASN1ObjectIdentifier = [2, 5, 29, 31]

    public static var defaultIdentifier: ASN1Identifier {
        .sequence
    }

    public let points: [DistributionPoint]

    /// One distribution point for each URI, as OpenSSL writes them.
    ///
    /// - parameter uris: At least one; ASCII, as RFC 3986 has it.
    /// - throws: ``RevocationFormatsError`` with `invalidField`.
    public init(uris: [String]) throws {
        guard !uris.isEmpty else {
            throw RevocationFormatsError(.invalidField, "CRL distribution points need at least one URI")
        }
        self.points = try uris.map { try DistributionPoint(uri: $0) }
    }

    /// The URIs of all full names, in order.
    public var uris: [String] {
        self.points.flatMap(\.uris)
    }

    public init(derEncoded rootNode: ASN1Node, withIdentifier identifier: ASN1Identifier) throws {
        self.points = try DER.sequence(of: DistributionPoint.self, identifier: identifier, rootNode: rootNode)
        guard !self.points.isEmpty else {
            throw ASN1Error.invalidASN1Object(reason: "CRLDistributionPoints without a distribution point")
        }
    }

    public func serialize(into coder: inout DER.Serializer, withIdentifier identifier: ASN1Identifier) throws {
        try coder.serializeSequenceOf(self.points, identifier: identifier)
    }

    /// The DER that goes into the extension's `extnValue`; the extension is not critical (RFC 5280 4.2.1.13).
    public func serializedBytes() throws -> [UInt8] {
        var coder = DER.Serializer()
        try coder.serialize(self)
        return coder.serializedBytes
    }
}
