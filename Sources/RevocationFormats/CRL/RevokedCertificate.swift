// One entry of a CRL, as it was read or as it is written into a small one.

import SwiftASN1

/// A RevokedCertificate has no name of its own in RFC 5280 5.1; it is the member of `revokedCertificates`:
///
/// ```
/// SEQUENCE  {
///      userCertificate         CertificateSerialNumber,
///      revocationDate          Time,
///      crlEntryExtensions      Extensions OPTIONAL
///                               -- if present, version MUST be v2
/// }
/// ```
public struct RevokedCertificate: DERImplicitlyTaggable, Hashable, Sendable {
    public static var defaultIdentifier: ASN1Identifier {
        .sequence
    }

    /// Big-endian, without the leading zero octet of the INTEGER; empty for the serial number 0, which some CAs have used.
    public let serialNumber: ArraySlice<UInt8>

    public let revocationDate: X509Time

    /// All of them, with those that this module does not know; none of these is critical.
    public let crlEntryExtensions: [Extension]?

    /// `unspecified` where the entry has no reason.
    public let reason: CRLReason

    private static let understoodExtensions: Set<ASN1ObjectIdentifier> = [
        .CRLExtensionID.reasonCode, .CRLExtensionID.invalidityDate,
    ]

    /// An entry in the form that RFC 5280 5.3.1 prescribes: no reason extension for `unspecified`.
    ///
    /// - parameters:
    ///     - serialNumber: Big-endian, positive, 1 to 20 octets after leading zero octets are taken away.
    ///     - revocationDate: When it was revoked.
    ///     - reason: Why it was revoked.
    /// - throws: ``RevocationFormatsError`` with `invalidSerialNumber`.
    public init(serialNumber: some Collection<UInt8>, revocationDate: X509Time, reason: CRLReason) throws {
        let significant = Array(serialNumber.drop { $0 == 0 })
        guard (1...CRLEntryEncoder.maximumSerialNumberByteCount).contains(significant.count) else {
            throw CRLEntryEncoder.invalidSerialNumber(significantByteCount: significant.count)
        }
        self.serialNumber = significant[...]
        self.revocationDate = revocationDate
        self.reason = reason
        self.crlEntryExtensions =
            reason == .unspecified ? nil : [try Extension(id: .CRLExtensionID.reasonCode, encoding: reason)]
    }

    private init(serialNumber: ArraySlice<UInt8>, revocationDate: X509Time, extensions: [Extension]?) throws {
        guard serialNumber.count <= CRLEntryEncoder.maximumSerialNumberByteCount else {
            throw ASN1Error.invalidASN1Object(reason: "A serial number has at most 20 octets, not \(serialNumber.count)")
        }
        self.serialNumber = serialNumber
        self.revocationDate = revocationDate
        self.crlEntryExtensions = extensions
        let reasonCode = extensions?.first { $0.id == .CRLExtensionID.reasonCode }
        self.reason = try reasonCode.map { try CRLReason(derEncoded: $0.value) } ?? .unspecified
    }

    public init(derEncoded rootNode: ASN1Node, withIdentifier identifier: ASN1Identifier) throws {
        self = try DER.sequence(rootNode, identifier: identifier) { nodes in
            let serialNumber = try ArraySlice<UInt8>(derEncoded: &nodes)
            let revocationDate = try X509Time(derEncoded: &nodes)
            let extensions = try nodes.next().map { try Extension.list($0, understood: Self.understoodExtensions) }
            return try .init(serialNumber: serialNumber, revocationDate: revocationDate, extensions: extensions)
        }
    }

    public func serialize(into coder: inout DER.Serializer, withIdentifier identifier: ASN1Identifier) throws {
        try coder.appendConstructedNode(identifier: identifier) { coder in
            try coder.serialize(self.serialNumber)
            try coder.serialize(self.revocationDate)
            if let extensions = self.crlEntryExtensions {
                try coder.serializeSequenceOf(extensions)
            }
        }
    }
}
