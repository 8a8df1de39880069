// The signed part of a CRL.

import SwiftASN1

/// A TBSCertList is defined in RFC 5280 5.1 as:
///
/// ```
/// TBSCertList  ::=  SEQUENCE  {
///      version                 Version OPTIONAL,
///                                   -- if present, MUST be v2
///      signature               AlgorithmIdentifier,
///      issuer                  Name,
///      thisUpdate              Time,
///      nextUpdate              Time OPTIONAL,
///      revokedCertificates     SEQUENCE OF SEQUENCE  {
///           userCertificate         CertificateSerialNumber,
///           revocationDate          Time,
///           crlEntryExtensions      Extensions OPTIONAL
///                                    -- if present, version MUST be v2
///                                }  OPTIONAL,
///      crlExtensions           [0]  EXPLICIT Extensions OPTIONAL
///                                    -- if present, version MUST be v2
///                                }
/// ```
public struct TBSCertList: DERSerializable, Hashable, Sendable {
    /// Whether the version field is there and says v2; a list without it is v1.
    public let isVersion2: Bool

    public let signature: AlgorithmIdentifier

    /// The DER of the issuer's Name.
    public let issuer: ArraySlice<UInt8>

    public let thisUpdate: X509Time

    public let nextUpdate: X509Time?

    /// nil where the field is absent, as it must be when nothing is revoked. Some CAs write an empty field; that is read.
    public let revokedCertificates: RevokedCertificates?

    public let crlExtensions: [Extension]?

    /// The CRL number, where the list has one.
    public let crlNumber: CRLNumber?

    /// The key identifier of the authority key identifier extension, where the list has one.
    public let authorityKeyIdentifier: ArraySlice<UInt8>?

    private static let understoodExtensions: Set<ASN1ObjectIdentifier> = [
        .CRLExtensionID.cRLNumber, .CRLExtensionID.authorityKeyIdentifier,
    ]

    private static let version2 = 1

    /// A v2 list with the two extensions that RFC 5280 5.2 demands.
    ///
    /// - parameters:
    ///     - signature: The algorithm that will sign.
    ///     - issuer: The DER of the issuer's Name, as it stands in the CA certificate's subject.
    ///     - thisUpdate: When the list is made.
    ///     - nextUpdate: By when the next one is made; later than `thisUpdate`.
    ///     - revokedCertificates: nil when nothing is revoked.
    ///     - crlNumber: Greater than that of every list before.
    ///     - authorityKeyIdentifier: The key identifier of the CA certificate's own subject key identifier.
    /// - throws: ``RevocationFormatsError`` with `invalidField`.
    public init(
        signature: AlgorithmIdentifier,
        issuer: ArraySlice<UInt8>,
        thisUpdate: X509Time,
        nextUpdate: X509Time,
        revokedCertificates: RevokedCertificates?,
        crlNumber: CRLNumber,
        authorityKeyIdentifier: ArraySlice<UInt8>
    ) throws {
        guard let name = try? DER.parse(issuer), name.identifier == .sequence else {
            throw RevocationFormatsError(.invalidField, "the issuer is not the DER of a Name")
        }
        guard thisUpdate.unixSeconds < nextUpdate.unixSeconds else {
            throw RevocationFormatsError(.invalidField, "nextUpdate must be later than thisUpdate")
        }
        guard !authorityKeyIdentifier.isEmpty else {
            throw RevocationFormatsError(.invalidField, "the key identifier is empty")
        }
        guard revokedCertificates?.isEmpty != true else {
            throw RevocationFormatsError(.invalidField, "a list without entries has no revokedCertificates (RFC 5280 5.1.2.6)")
        }
        self.isVersion2 = true
        self.signature = signature
        self.issuer = issuer
        self.thisUpdate = thisUpdate
        self.nextUpdate = nextUpdate
        self.revokedCertificates = revokedCertificates
        self.crlNumber = crlNumber
        self.authorityKeyIdentifier = authorityKeyIdentifier
        self.crlExtensions = [
            try Extension(
                id: .CRLExtensionID.authorityKeyIdentifier,
                encoding: AuthorityKeyIdentifier(keyIdentifier: authorityKeyIdentifier)
            ),
            try Extension(id: .CRLExtensionID.cRLNumber, encoding: crlNumber),
        ]
    }

    /// Parses the content octets of the SEQUENCE, without looking into the entries.
    init(content: ArraySlice<UInt8>) throws {
        var members = DERCursor(content)

        let version = try members.nextPartIfPresent(DERTag.integer)
        if let version, try Int(derEncoded: version) != Self.version2 {
            throw RevocationFormatsError(.malformed, "the version is not v2")
        }
        self.isVersion2 = version != nil
        self.signature = try AlgorithmIdentifier(derEncoded: members.nextPart(DERTag.sequence, "the signature algorithm"))
        self.issuer = try members.nextPart(DERTag.sequence, "the issuer")
        // Checks what is inside the Name's SEQUENCE, which is kept as it came.
        _ = try DER.parse(self.issuer)
        self.thisUpdate = try X509Time(derEncoded: members.nextPart())
        let nextUpdate = try members.nextPartIfPresent(DERTag.utcTime) ?? members.nextPartIfPresent(DERTag.generalizedTime)
        self.nextUpdate = try nextUpdate.map { try X509Time(derEncoded: $0) }
        self.revokedCertificates = try members.nextIfPresent(DERTag.sequence).map { RevokedCertificates(unchecked: $0.content) }
        self.crlExtensions = try members.nextPartIfPresent(DERTag.contextSpecific0).map { extensions in
            let node = try DER.explicitlyTagged(DER.parse(extensions), tagNumber: 0, tagClass: .contextSpecific) { $0 }
            return try Extension.list(node, understood: Self.understoodExtensions)
        }
        try members.requireEnd("the list")

        guard self.isVersion2 || self.crlExtensions == nil else {
            throw RevocationFormatsError(.malformed, "a v1 list has no extensions")
        }
        let extensions = self.crlExtensions ?? []
        self.crlNumber = try extensions.first { $0.id == .CRLExtensionID.cRLNumber }.map { try CRLNumber(derEncoded: $0.value) }
        self.authorityKeyIdentifier = try extensions.first { $0.id == .CRLExtensionID.authorityKeyIdentifier }
            .flatMap { try AuthorityKeyIdentifier(derEncoded: $0.value).keyIdentifier }
    }

    public func serialize(into coder: inout DER.Serializer) throws {
        try coder.appendConstructedNode(identifier: .sequence) { coder in
            try self.serializeFieldsBeforeEntries(into: &coder)
            if let revokedCertificates = self.revokedCertificates {
                try coder.serialize(revokedCertificates)
            }
            try self.serializeFieldsAfterEntries(into: &coder)
        }
    }

    func serializeFieldsBeforeEntries(into coder: inout DER.Serializer) throws {
        if self.isVersion2 {
            try coder.serialize(Self.version2)
        }
        try coder.serialize(self.signature)
        coder.serializeRawBytes(self.issuer)
        try coder.serialize(self.thisUpdate)
        if let nextUpdate = self.nextUpdate {
            try coder.serialize(nextUpdate)
        }
    }

    func serializeFieldsAfterEntries(into coder: inout DER.Serializer) throws {
        if let extensions = self.crlExtensions {
            try coder.serialize(explicitlyTaggedWithTagNumber: 0, tagClass: .contextSpecific) { coder in
                try coder.serializeSequenceOf(extensions)
            }
        }
    }
}
