// A whole CRL: the signed part and its signature.

import SwiftASN1

/// A CertificateList is defined in RFC 5280 5.1 as:
///
/// ```
/// CertificateList  ::=  SEQUENCE  {
///      tbsCertList          TBSCertList,
///      signatureAlgorithm   AlgorithmIdentifier,
///      signatureValue       BIT STRING  }
/// ```
///
/// Parsing does not verify the signature, and it does not build the entries; it is not `DERParseable`, because that
/// would build a tree of the whole list first.
public struct CertificateList: DERSerializable, Hashable, Sendable {
    public let tbsCertList: TBSCertList

    /// The bytes that the signature covers.
    public let tbsCertListBytes: ArraySlice<UInt8>

    public let signatureAlgorithm: AlgorithmIdentifier

    public let signatureValue: ASN1BitString

    /// A list with a signature made over the DER of `tbsCertList`. A big list is better written with ``CRLWriter``.
    public init(tbsCertList: TBSCertList, signature: ArraySlice<UInt8>) throws {
        var coder = DER.Serializer()
        try coder.serialize(tbsCertList)
        self.tbsCertList = tbsCertList
        self.tbsCertListBytes = coder.serializedBytes[...]
        self.signatureAlgorithm = tbsCertList.signature
        self.signatureValue = ASN1BitString(bytes: signature)
    }

    /// Parses a CRL, whose entries are checked when they are asked for.
    ///
    /// - parameter bytes: The DER of one CRL, nothing before and nothing after it.
    /// - throws: ``RevocationFormatsError`` with `malformed`, or with `unsupportedCriticalExtension` for a list that is not
    ///     a complete CRL for all reasons (delta CRLs, issuing distribution points).
    public init(derEncoded bytes: ArraySlice<UInt8>) throws {
        self = try RevocationFormatsError.wrapping("the CRL") { try Self(checking: bytes) }
    }

    /// Parses a CRL, see ``init(derEncoded:)``.
    public init(derEncoded bytes: [UInt8]) throws {
        try self.init(derEncoded: bytes[...])
    }

    private init(checking bytes: ArraySlice<UInt8>) throws {
        var outer = DERCursor(bytes)
        let list = try outer.next(DERTag.sequence, "the CRL")
        try outer.requireEnd("the CRL")

        var members = DERCursor(list.content)
        let tbsCertList = try members.next(DERTag.sequence, "tbsCertList")
        let signatureAlgorithm = try members.nextPart(DERTag.sequence, "signatureAlgorithm")
        let signatureValue = try members.nextPart(DERTag.bitString, "signatureValue")
        try members.requireEnd("the signature")

        self.tbsCertList = try TBSCertList(content: tbsCertList.content)
        self.tbsCertListBytes = tbsCertList.encoded
        self.signatureAlgorithm = try AlgorithmIdentifier(derEncoded: signatureAlgorithm)
        self.signatureValue = try ASN1BitString(derEncoded: signatureValue)
        guard self.signatureAlgorithm == self.tbsCertList.signature else {
            throw RevocationFormatsError(.malformed, "the two signature algorithms differ (RFC 5280 5.1.1.2)")
        }
    }

    public func serialize(into coder: inout DER.Serializer) throws {
        try coder.appendConstructedNode(identifier: .sequence) { coder in
            try coder.serialize(self.tbsCertList)
            try coder.serialize(self.signatureAlgorithm)
            try coder.serialize(self.signatureValue)
        }
    }
}
