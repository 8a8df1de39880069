// OCSP requests, read strictly and written.

/// An OCSPRequest is defined in RFC 6960 4.1.1 as:
///
/// ```
/// OCSPRequest     ::=     SEQUENCE {
///     tbsRequest                  TBSRequest,
///     optionalSignature   [0]     EXPLICIT Signature OPTIONAL }
///
/// TBSRequest      ::=     SEQUENCE {
///     version             [0]     EXPLICIT Version DEFAULT v1,
///     requestorName       [1]     EXPLICIT GeneralName OPTIONAL,
///     requestList                 SEQUENCE OF Request,
///     requestExtensions   [2]     EXPLICIT Extensions OPTIONAL }
///
/// Signature       ::=     SEQUENCE {
///     signatureAlgorithm      AlgorithmIdentifier,
///     signature               BIT STRING,
///     certs               [0] EXPLICIT SEQUENCE OF Certificate OPTIONAL}
///
/// Request         ::=     SEQUENCE {
///     reqCert                     CertID,
///     singleRequestExtensions     [0] EXPLICIT Extensions OPTIONAL }
/// ```
public struct OCSPRequest: Sendable {
    /// The most CertIDs that are answered at once.
    public static let mostCertIDs = 50

    /// The most octets of a request.
    public static let longest = 16 * 1024

    /// One to ``mostCertIDs``, in the order of the request; one may stand twice.
    public var certIDs: [OCSPCertID]
    /// 1 to 128 octets (RFC 9654 2.1).
    public var nonce: [UInt8]?

    public init(certIDs: [OCSPCertID], nonce: [UInt8]? = nil) {
        self.certIDs = certIDs
        self.nonce = nonce
    }

    /// Reads a request; the bytes are not kept.
    ///
    /// It is DER and nothing follows it. A default value (version v1, an extension that is not critical) may be written out, which BER allows and
    /// some encoders do. Requestor's name and signature are not looked into beyond their shape: who asks makes no difference. Extensions that are
    /// not critical are passed over.
    ///
    /// - throws: `malformed`, `tooManyCertIDs` or `unsupportedCriticalExtension`; the answer to each is malformedRequest.
    public init(der: UnsafeRawBufferPointer) throws(OCSPRequestError) {
        try self.init(bytes: der.bindMemory(to: UInt8.self).span)
    }

    private init(bytes: Span<UInt8>) throws(RevocationFormatsError) {
        guard bytes.count <= Self.longest else {
            throw RevocationFormatsError(.malformed, "a request has \(bytes.count) octets; \(Self.longest) are allowed")
        }
        var request = DERReader(try DERReader.only(DERTag.sequence, "an OCSPRequest", in: 0..<bytes.count, of: bytes).content)
        let signed = try request.next(DERTag.sequence, "tbsRequest", in: bytes)
        if let signature = try request.nextIfPresent(DERTag.contextSpecific0, in: bytes) {
            try Self.checkSignature(explicit: signature.content, in: bytes)
        }
        try request.requireEnd("an OCSPRequest")

        var fields = DERReader(signed.content)
        if let version = try fields.nextIfPresent(DERTag.contextSpecific0, in: bytes) {
            try Self.checkVersion(explicit: version.content, in: bytes)
        }
        if let name = try fields.nextIfPresent(DERTag.contextSpecific1, in: bytes) {
            try Self.checkGeneralName(explicit: name.content, in: bytes)
        }
        let list = try fields.next(DERTag.sequence, "requestList", in: bytes)
        var nonce: [UInt8]?
        if let extensions = try fields.nextIfPresent(DERTag.contextSpecific2, in: bytes) {
            nonce = try OCSPExtensions.read(explicit: extensions.content, acceptsNonce: true, in: bytes)
        }
        try fields.requireEnd("tbsRequest")
        self.certIDs = try Self.certIDs(list.content, in: bytes)
        self.nonce = nonce
    }

    private static func certIDs(_ list: Range<Int>, in bytes: Span<UInt8>) throws(RevocationFormatsError) -> [OCSPCertID] {
        var requests = DERReader(list)
        var certIDs: [OCSPCertID] = []
        repeat {
            let request = try requests.next(DERTag.sequence, "a request for a certificate", in: bytes)
            guard certIDs.count < Self.mostCertIDs else {
                throw RevocationFormatsError(.tooManyCertIDs, "a request is for at most \(Self.mostCertIDs) certificates")
            }
            var fields = DERReader(request.content)
            let certID = try fields.next(DERTag.sequence, "reqCert", in: bytes)
            if let extensions = try fields.nextIfPresent(DERTag.contextSpecific0, in: bytes) {
                _ = try OCSPExtensions.read(explicit: extensions.content, acceptsNonce: false, in: bytes)
            }
            try fields.requireEnd("a request for a certificate")
            certIDs.append(try OCSPCertID(certID, in: bytes))
        } while !requests.isAtEnd
        return certIDs
    }

    private static func checkVersion(explicit: Range<Int>, in bytes: Span<UInt8>) throws(RevocationFormatsError) {
        let version = try DERReader.only(DERTag.integer, "version", in: explicit, of: bytes)
        guard bytes.holds([0], in: version.content) else { throw RevocationFormatsError(.malformed, "the version is not v1") }
    }

    /// A GeneralName is one value with a tag from [0] to [8] (RFC 5280 4.2.1.6).
    private static func checkGeneralName(explicit: Range<Int>, in bytes: Span<UInt8>) throws(RevocationFormatsError) {
        var reader = DERReader(explicit)
        let name = try reader.next(in: bytes)
        try reader.requireEnd("requestorName")
        guard name.tag & 0xC0 == 0x80, name.tag & 0x1F <= 8 else {
            throw RevocationFormatsError(.malformed, "requestorName is no GeneralName")
        }
    }

    /// The most certificates beside a signature, and the most octets of a signature (RSA with 8192 bits has 1024).
    private static let mostSignatureCertificates = 8
    private static let longestSignature = 1024

    private static func checkSignature(explicit: Range<Int>, in bytes: Span<UInt8>) throws(RevocationFormatsError) {
        var fields = DERReader(try DERReader.only(DERTag.sequence, "optionalSignature", in: explicit, of: bytes).content)
        _ = try fields.next(DERTag.sequence, "signatureAlgorithm", in: bytes)
        let signature = try fields.next(DERTag.bitString, "signature", in: bytes)
        guard (1...Self.longestSignature + 1).contains(signature.content.count) else {
            throw RevocationFormatsError(.malformed, "a signature has \(signature.content.count) octets")
        }
        if let certificates = try fields.nextIfPresent(DERTag.contextSpecific0, in: bytes) {
            var list = DERReader(try DERReader.only(DERTag.sequence, "certs", in: certificates.content, of: bytes).content)
            var count = 0
            while !list.isAtEnd {
                _ = try list.next(DERTag.sequence, "a certificate", in: bytes)
                count += 1
                guard count <= Self.mostSignatureCertificates else {
                    throw RevocationFormatsError(
                        .malformed, "a signature comes with more than \(Self.mostSignatureCertificates) certificates")
                }
            }
        }
        try fields.requireEnd("optionalSignature")
    }

    /// The DER of the request, unsigned, with no requestor's name.
    public var serialized: [UInt8] {
        let list = self.certIDs.flatMap { derHeader(DERTag.sequence, contentByteCount: $0.der.count) + $0.der }
        var fields = derHeader(DERTag.sequence, contentByteCount: list.count) + list
        if let nonce = self.nonce { OCSPExtensions.appendNonce(nonce, tag: DERTag.contextSpecific2, to: &fields) }
        let signed = derHeader(DERTag.sequence, contentByteCount: fields.count) + fields
        return derHeader(DERTag.sequence, contentByteCount: signed.count) + signed
    }
}

/// What ``OCSPRequest/init(der:)`` throws.
public typealias OCSPRequestError = RevocationFormatsError
