// The authority key identifier extension, of which a CRL needs the key identifier alone.

import SwiftASN1

/// An AuthorityKeyIdentifier is defined in RFC 5280 4.2.1.1 as:
///
/// ```
/// AuthorityKeyIdentifier ::= SEQUENCE {
///    keyIdentifier             [0] KeyIdentifier           OPTIONAL,
///    authorityCertIssuer       [1] GeneralNames            OPTIONAL,
///    authorityCertSerialNumber [2] CertificateSerialNumber OPTIONAL  }
/// ```
///
/// Internal: outside this module swift-certificates' type of the same name is the one to use.
struct AuthorityKeyIdentifier: DERImplicitlyTaggable, Hashable, Sendable {
    static var defaultIdentifier: ASN1Identifier {
        .sequence
    }

    private static let keyIdentifierTag = ASN1Identifier(tagWithNumber: 0, tagClass: .contextSpecific)

    var keyIdentifier: ArraySlice<UInt8>?

    init(keyIdentifier: ArraySlice<UInt8>) {
        self.keyIdentifier = keyIdentifier
    }

    init(derEncoded rootNode: ASN1Node, withIdentifier identifier: ASN1Identifier) throws {
        self.keyIdentifier = try DER.sequence(rootNode, identifier: identifier) { nodes in
            let keyIdentifier: ASN1OctetString? = try DER.optionalImplicitlyTagged(&nodes, tag: Self.keyIdentifierTag)
            // Issuer and serial number name the same key another way; nothing here asks for them.
            for tagNumber in 1...2 as ClosedRange<UInt> {
                _ = DER.optionalImplicitlyTagged(&nodes, tagNumber: tagNumber, tagClass: .contextSpecific) { _ in () }
            }
            return keyIdentifier?.bytes
        }
    }

    func serialize(into coder: inout DER.Serializer, withIdentifier identifier: ASN1Identifier) throws {
        try coder.appendConstructedNode(identifier: identifier) { coder in
            try coder.serializeOptionalImplicitlyTagged(
                self.keyIdentifier.map { ASN1OctetString(contentBytes: $0) },
                withIdentifier: Self.keyIdentifierTag
            )
        }
    }
}
