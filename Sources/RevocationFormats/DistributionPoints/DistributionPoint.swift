// One place where a CRL can be had.

import SwiftASN1

/// A DistributionPoint is defined in RFC 5280 4.2.1.13 as:
///
/// ```
/// DistributionPoint ::= SEQUENCE {
///      distributionPoint       [0]     DistributionPointName OPTIONAL,
///      reasons                 [1]     ReasonFlags OPTIONAL,
///      cRLIssuer               [2]     GeneralNames OPTIONAL }
/// ```
public struct DistributionPoint: DERImplicitlyTaggable, Hashable, Sendable {
    public static var defaultIdentifier: ASN1Identifier {
        .sequence
    }

    public let name: DistributionPointName?

    /// The DER of `reasons` with its tag, where the point is for some reasons only.
    public let reasons: ArraySlice<UInt8>?

    /// The DER of `cRLIssuer` with its tag, where another than the certificate's issuer signs the CRL.
    public let cRLIssuer: ArraySlice<UInt8>?

    /// A point with one URI, for all reasons, its CRL signed by the certificate's issuer.
    ///
    /// - throws: ``RevocationFormatsError`` with `invalidField` when the URI is empty or not ASCII.
    public init(uri: String) throws {
        self.name = try DistributionPointName(uri: uri)
        self.reasons = nil
        self.cRLIssuer = nil
    }

    /// The URIs of the full name.
    public var uris: [String] { self.name?.uris ?? [] }

    private init(name: DistributionPointName?, reasons: ArraySlice<UInt8>?, cRLIssuer: ArraySlice<UInt8>?) {
        self.name = name
        self.reasons = reasons
        self.cRLIssuer = cRLIssuer
    }

    public init(derEncoded rootNode: ASN1Node, withIdentifier identifier: ASN1Identifier) throws {
        self = try DER.sequence(rootNode, identifier: identifier) { nodes in
            // Explicit, although the module's tags are implicit: a CHOICE cannot be tagged implicitly.
            let name = try DER.optionalExplicitlyTagged(&nodes, tagNumber: 0, tagClass: .contextSpecific) { node in
                try DistributionPointName(derEncoded: node)
            }
            let reasons = DER.optionalImplicitlyTagged(&nodes, tagNumber: 1, tagClass: .contextSpecific) { $0.encodedBytes }
            let cRLIssuer = DER.optionalImplicitlyTagged(&nodes, tagNumber: 2, tagClass: .contextSpecific) { $0.encodedBytes }
            guard name != nil || cRLIssuer != nil else {
                throw ASN1Error.invalidASN1Object(reason: "A distribution point has neither a name nor an issuer")
            }
            return .init(name: name, reasons: reasons, cRLIssuer: cRLIssuer)
        }
    }

    public func serialize(into coder: inout DER.Serializer, withIdentifier identifier: ASN1Identifier) throws {
        try coder.appendConstructedNode(identifier: identifier) { coder in
            if let name = self.name {
                try coder.serialize(name, explicitlyTaggedWithTagNumber: 0, tagClass: .contextSpecific)
            }
            if let reasons = self.reasons {
                coder.serializeRawBytes(reasons)
            }
            if let cRLIssuer = self.cRLIssuer {
                coder.serializeRawBytes(cRLIssuer)
            }
        }
    }
}
