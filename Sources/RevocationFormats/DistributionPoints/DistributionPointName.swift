// How a distribution point is named; URIs are understood, other names are kept as they are.

import SwiftASN1

/// A DistributionPointName is defined in RFC 5280 4.2.1.13 as:
///
/// ```
/// DistributionPointName ::= CHOICE {
///      fullName                [0]     GeneralNames,
///      nameRelativeToCRLIssuer [1]     RelativeDistinguishedName }
/// ```
public enum DistributionPointName: DERParseable, DERSerializable, Hashable, Sendable {
    /// The names under which one CRL can be had, each by another way.
    case fullName([GeneralName])
    /// The DER of the field with its tag.
    case nameRelativeToCRLIssuer(ArraySlice<UInt8>)

    /// A GeneralName (RFC 5280 4.2.1.6), as far as distribution points need it.
    public enum GeneralName: DERParseable, DERSerializable, Hashable, Sendable {
        /// `uniformResourceIdentifier [6] IA5String`
        case uniformResourceIdentifier(String)
        /// The DER of a name of another kind.
        case other(ArraySlice<UInt8>)

        private static let uriIdentifier = ASN1Identifier(tagWithNumber: 6, tagClass: .contextSpecific)

        public init(derEncoded node: ASN1Node) throws {
            guard node.identifier == Self.uriIdentifier else {
                self = .other(node.encodedBytes)
                return
            }
            self = .uniformResourceIdentifier(String(try ASN1IA5String(derEncoded: node, withIdentifier: Self.uriIdentifier)))
        }

        public func serialize(into coder: inout DER.Serializer) throws {
            switch self {
            case .uniformResourceIdentifier(let uri):
                try ASN1IA5String(uri).serialize(into: &coder, withIdentifier: Self.uriIdentifier)
            case .other(let encoded):
                coder.serializeRawBytes(encoded)
            }
        }
    }

    private static let fullNameIdentifier = ASN1Identifier(tagWithNumber: 0, tagClass: .contextSpecific)
    private static let relativeNameIdentifier = ASN1Identifier(tagWithNumber: 1, tagClass: .contextSpecific)

    /// A full name of one URI.
    ///
    /// - throws: ``RevocationFormatsError`` with `invalidField` when the URI is empty or not visible ASCII.
    init(uri: String) throws {
        guard !uri.isEmpty, uri.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
            throw RevocationFormatsError(.invalidField, "a CRL distribution point's URI is empty or holds characters no URI has")
        }
        self = .fullName([.uniformResourceIdentifier(uri)])
    }

    /// The URIs of a full name.
    public var uris: [String] {
        guard case .fullName(let names) = self else {
            return []
        }
        return names.compactMap { name in
            guard case .uniformResourceIdentifier(let uri) = name else {
                return nil
            }
            return uri
        }
    }

    public init(derEncoded node: ASN1Node) throws {
        switch node.identifier {
        case Self.fullNameIdentifier:
            let names = try DER.sequence(of: GeneralName.self, identifier: Self.fullNameIdentifier, rootNode: node)
            guard !names.isEmpty else {
                throw ASN1Error.invalidASN1Object(reason: "GeneralNames without a name")
            }
            self = .fullName(names)
        case Self.relativeNameIdentifier:
            self = .nameRelativeToCRLIssuer(node.encodedBytes)
        default:
            throw ASN1Error.unexpectedFieldType(node.identifier)
        }
    }

    public func serialize(into coder: inout DER.Serializer) throws {
        switch self {
        case .fullName(let names):
            try coder.serializeSequenceOf(names, identifier: Self.fullNameIdentifier)
        case .nameRelativeToCRLIssuer(let encoded):
            coder.serializeRawBytes(encoded)
        }
    }
}
