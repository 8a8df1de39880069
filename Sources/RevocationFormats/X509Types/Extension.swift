// One extension of a CRL or of a CRL entry, its value left as it is.

import SwiftASN1

/// An Extension is defined in RFC 5280 4.1 as:
///
/// ```
/// Extension  ::=  SEQUENCE  {
///      extnID      OBJECT IDENTIFIER,
///      critical    BOOLEAN DEFAULT FALSE,
///      extnValue   OCTET STRING }
/// ```
public struct Extension: DERImplicitlyTaggable, Hashable, Sendable {
    public static var defaultIdentifier: ASN1Identifier {
        .sequence
    }

    public var id: ASN1ObjectIdentifier

    public var critical: Bool

    /// The DER inside the OCTET STRING.
    public var value: ArraySlice<UInt8>

    public init(id: ASN1ObjectIdentifier, critical: Bool, value: ArraySlice<UInt8>) {
        self.id = id
        self.critical = critical
        self.value = value
    }

    public init(derEncoded rootNode: ASN1Node, withIdentifier identifier: ASN1Identifier) throws {
        self = try DER.sequence(rootNode, identifier: identifier) { nodes in
            let id = try ASN1ObjectIdentifier(derEncoded: &nodes)
            let critical = try DER.decodeDefault(&nodes, defaultValue: false)
            let value = try ASN1OctetString(derEncoded: &nodes)
            return .init(id: id, critical: critical, value: value.bytes)
        }
    }

    public func serialize(into coder: inout DER.Serializer, withIdentifier identifier: ASN1Identifier) throws {
        try coder.appendConstructedNode(identifier: identifier) { coder in
            try coder.serialize(self.id)
            if self.critical {
                try coder.serialize(true)
            }
            try coder.serialize(ASN1OctetString(contentBytes: self.value))
        }
    }
}

extension Extension {
    /// An extension that is not critical, its value encoded from `value`.
    init(id: ASN1ObjectIdentifier, encoding value: some DERSerializable) throws {
        var coder = DER.Serializer()
        try coder.serialize(value)
        self.init(id: id, critical: false, value: coder.serializedBytes[...])
    }

    /// Parses `Extensions ::= SEQUENCE SIZE (1..MAX) OF Extension`.
    ///
    /// - throws: `ASN1Error` when there is none, or one twice (RFC 5280 4.2); ``RevocationFormatsError`` with
    ///     `unsupportedCriticalExtension` for a critical one outside `understood`.
    static func list(_ node: ASN1Node, understood: Set<ASN1ObjectIdentifier>) throws -> [Extension] {
        let extensions = try DER.sequence(of: Extension.self, identifier: .sequence, rootNode: node)
        guard !extensions.isEmpty else {
            throw ASN1Error.invalidASN1Object(reason: "Extensions without an extension")
        }
        var seen = Set<ASN1ObjectIdentifier>()
        for candidate in extensions {
            guard seen.insert(candidate.id).inserted else {
                throw ASN1Error.invalidASN1Object(reason: "Extension \(candidate.id) stands twice")
            }
            guard !candidate.critical || understood.contains(candidate.id) else {
                throw RevocationFormatsError(.unsupportedCriticalExtension, "critical extension \(candidate.id) is not known here")
            }
        }
        return extensions
    }
}
