// Writes OCSP responses around the bytes that do not change from one to the next.

/// Assembles basic responses of one signer (RFC 6960 4.2.1): its key's hash as responderID, ecdsa-with-SHA256, its certificate in `certs`.
///
/// ```
/// OCSPResponse ::= SEQUENCE {
///     responseStatus         OCSPResponseStatus,
///     responseBytes          [0] EXPLICIT ResponseBytes OPTIONAL }
///
/// ResponseBytes ::=       SEQUENCE {
///     responseType   OBJECT IDENTIFIER,
///     response       OCTET STRING }
///
/// BasicOCSPResponse       ::= SEQUENCE {
///     tbsResponseData      ResponseData,
///     signatureAlgorithm   AlgorithmIdentifier,
///     signature            BIT STRING,
///     certs            [0] EXPLICIT SEQUENCE OF Certificate OPTIONAL }
///
/// ResponseData ::= SEQUENCE {
///     version              [0] EXPLICIT Version DEFAULT v1,
///     responderID              ResponderID,
///     producedAt               GeneralizedTime,
///     responses                SEQUENCE OF SingleResponse,
///     responseExtensions   [1] EXPLICIT Extensions OPTIONAL }
///
/// ResponderID ::= CHOICE {
///     byName               [1] Name,
///     byKey                [2] KeyHash }
/// ```
///
/// Each response is one array of the exact size.
public struct OCSPResponseTemplate: Sendable {
    /// `[2] { KeyHash }`
    private let responderID: [UInt8]
    /// `[0] { SEQUENCE { Certificate } }`
    private let certificates: [UInt8]

    /// ENUMERATED successful.
    private static let successful: [UInt8] = [DERTag.enumerated, 0x01, 0x00]
    /// 1.3.6.1.5.5.7.48.1.1, id-pkix-ocsp-basic.
    static let basicIdentifier: [UInt8] = [DERTag.objectIdentifier, 0x09, 0x2B, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01]
    /// The AlgorithmIdentifier of ecdsa-with-SHA256 (RFC 5758 3.2), 1.2.840.10045.4.3.2 without parameters.
    private static let ecdsaWithSHA256: [UInt8] = [
        DERTag.sequence, 0x0A, DERTag.objectIdentifier, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, 0x02,
    ]

    /// - parameters:
    ///     - responderKeyHash: SHA-1 of the signer's public key (the content of the BIT STRING without the octet that counts unused bits): 20 octets.
    ///     - certificate: The DER of the signer's certificate.
    public init(responderKeyHash: [UInt8], certificate: [UInt8]) {
        let hash = derHeader(DERTag.octetString, contentByteCount: responderKeyHash.count) + responderKeyHash
        self.responderID = derHeader(DERTag.contextSpecific2, contentByteCount: hash.count) + hash
        let list = derHeader(DERTag.sequence, contentByteCount: certificate.count) + certificate
        self.certificates = derHeader(DERTag.contextSpecific0, contentByteCount: list.count) + list
    }

    /// The ResponseData: the DER that is signed.
    ///
    /// - parameters:
    ///     - singles: In the order of the request; at least one.
    ///     - producedAt: Seconds since 1970.
    ///     - nonce: The request's, repeated byte for byte.
    /// - throws: ``RevocationFormatsError`` with `timeOutOfRange`, `invalidReason` for removeFromCRL, `invalidField` where there is no certificate.
    public func responseData(
        _ singles: [OCSPSingleResponse], producedAt: Int64, nonce: [UInt8]?
    ) throws(RevocationFormatsError) -> [UInt8] {
        guard !singles.isEmpty else { throw RevocationFormatsError(.invalidField, "a response is for at least one certificate") }
        var parts: [SingleParts] = []
        parts.reserveCapacity(singles.count)
        var listByteCount = 0
        for single in singles {
            let part = try SingleParts(single.status, single.thisUpdate, single.nextUpdate, certIDByteCount: single.certID.count)
            listByteCount += derByteCount(part.contentByteCount)
            parts.append(part)
        }
        var bytes = try self.beginning(listByteCount: listByteCount, producedAt: producedAt, nonce: nonce)
        for (single, part) in zip(singles, parts) {
            bytes.appendDERHeader(DERTag.sequence, contentByteCount: part.contentByteCount)
            bytes.append(contentsOf: single.certID)
            part.append(to: &bytes)
        }
        if let nonce { OCSPExtensions.appendNonce(nonce, tag: DERTag.contextSpecific1, to: &bytes) }
        return bytes
    }

    /// The ResponseData for a plain request, see ``responseData(_:producedAt:nonce:)``; nothing is made on the way but the result.
    ///
    /// - parameter issuer: The CA that recognised the request.
    public func responseData(
        for request: OCSPPlainRequest, of issuer: OCSPIssuer, status: OCSPCertStatus, thisUpdate: Int64, nextUpdate: Int64?,
        producedAt: Int64,
        nonce: [UInt8]? = nil
    ) throws(RevocationFormatsError) -> [UInt8] {
        let constant = issuer.constant(request.form)
        let certIDByteCount = constant.count + 2 + request.serial.integerByteCount
        let part = try SingleParts(status, thisUpdate, nextUpdate, certIDByteCount: derByteCount(certIDByteCount))
        var bytes = try self.beginning(listByteCount: derByteCount(part.contentByteCount), producedAt: producedAt, nonce: nonce)
        bytes.appendDERHeader(DERTag.sequence, contentByteCount: part.contentByteCount)
        bytes.appendDERHeader(DERTag.sequence, contentByteCount: certIDByteCount)
        bytes.append(contentsOf: constant)
        bytes.appendDERHeader(DERTag.integer, contentByteCount: request.serial.integerByteCount)
        request.serial.appendInteger(to: &bytes)
        part.append(to: &bytes)
        if let nonce { OCSPExtensions.appendNonce(nonce, tag: DERTag.contextSpecific1, to: &bytes) }
        return bytes
    }

    /// ResponseData up to the header of the list, with room for all of it.
    private func beginning(listByteCount: Int, producedAt: Int64, nonce: [UInt8]?) throws(RevocationFormatsError) -> [UInt8] {
        let produced = try X509Time(generalized: producedAt)
        let extensionsByteCount = nonce.map { OCSPExtensions.nonceByteCount($0) } ?? 0
        let contentByteCount = self.responderID.count + produced.encodedByteCount + derByteCount(listByteCount) + extensionsByteCount
        var bytes: [UInt8] = []
        bytes.reserveCapacity(derByteCount(contentByteCount))
        bytes.appendDERHeader(DERTag.sequence, contentByteCount: contentByteCount)
        bytes.append(contentsOf: self.responderID)
        produced.append(to: &bytes)
        bytes.appendDERHeader(DERTag.sequence, contentByteCount: listByteCount)
        return bytes
    }

    /// The whole OCSPResponse.
    ///
    /// - parameters:
    ///     - responseData: What was signed.
    ///     - signature: The DER of an ECDSA-Sig-Value (RFC 3279 2.2.3).
    public func response(_ responseData: [UInt8], signature: [UInt8]) -> [UInt8] {
        let basicContent =
            responseData.count + Self.ecdsaWithSHA256.count + derByteCount(1 + signature.count) + self.certificates.count
        let basic = derByteCount(basicContent)
        let responseBytes = Self.basicIdentifier.count + derByteCount(basic)
        let content = Self.successful.count + derByteCount(derByteCount(responseBytes))
        var bytes: [UInt8] = []
        bytes.reserveCapacity(derByteCount(content))
        bytes.appendDERHeader(DERTag.sequence, contentByteCount: content)
        bytes.append(contentsOf: Self.successful)
        bytes.appendDERHeader(DERTag.contextSpecific0, contentByteCount: derByteCount(responseBytes))
        bytes.appendDERHeader(DERTag.sequence, contentByteCount: responseBytes)
        bytes.append(contentsOf: Self.basicIdentifier)
        bytes.appendDERHeader(DERTag.octetString, contentByteCount: basic)
        bytes.appendDERHeader(DERTag.sequence, contentByteCount: basicContent)
        bytes.append(contentsOf: responseData)
        bytes.append(contentsOf: Self.ecdsaWithSHA256)
        bytes.appendDERHeader(DERTag.bitString, contentByteCount: 1 + signature.count)
        bytes.append(0)
        bytes.append(contentsOf: signature)
        bytes.append(contentsOf: self.certificates)
        return bytes
    }
}

/// What follows the CertID in a SingleResponse, checked and measured.
private struct SingleParts {
    private enum Status {
        case good, unknown
        case revoked(X509Time, CRLReason?)
    }

    private let status: Status
    private let thisUpdate: X509Time
    private let nextUpdate: X509Time?
    /// Of the whole SingleResponse.
    let contentByteCount: Int

    private static let reasonByteCount = 5

    init(
        _ status: OCSPCertStatus, _ thisUpdate: Int64, _ nextUpdate: Int64?, certIDByteCount: Int
    ) throws(RevocationFormatsError) {
        var contentByteCount = certIDByteCount
        switch status {
        case .good:
            self.status = .good
            contentByteCount += 2
        case .unknown:
            self.status = .unknown
            contentByteCount += 2
        case .revoked(let seconds, let reason):
            guard reason != .removeFromCRL else {
                throw RevocationFormatsError(.invalidReason, "removeFromCRL stands in delta CRLs only (RFC 5280 5.3.1)")
            }
            let time = try X509Time(generalized: seconds)
            let written = reason == .unspecified ? nil : reason
            self.status = .revoked(time, written)
            contentByteCount += 2 + time.encodedByteCount + (written == nil ? 0 : Self.reasonByteCount)
        }
        self.thisUpdate = try X509Time(generalized: thisUpdate)
        contentByteCount += self.thisUpdate.encodedByteCount
        if let nextUpdate {
            let time = try X509Time(generalized: nextUpdate)
            self.nextUpdate = time
            contentByteCount += 2 + time.encodedByteCount
        } else {
            self.nextUpdate = nil
        }
        self.contentByteCount = contentByteCount
    }

    func append(to bytes: inout [UInt8]) {
        switch self.status {
        case .good:
            bytes.append(0x80)
            bytes.append(0)
        case .unknown:
            bytes.append(0x82)
            bytes.append(0)
        case .revoked(let time, let reason):
            bytes.appendDERHeader(
                DERTag.contextSpecific1, contentByteCount: time.encodedByteCount + (reason == nil ? 0 : Self.reasonByteCount))
            time.append(to: &bytes)
            if let reason {
                bytes.append(DERTag.contextSpecific0)
                bytes.append(3)
                bytes.append(DERTag.enumerated)
                bytes.append(1)
                bytes.append(reason.rawValue)
            }
        }
        self.thisUpdate.append(to: &bytes)
        if let nextUpdate = self.nextUpdate {
            bytes.appendDERHeader(DERTag.contextSpecific0, contentByteCount: nextUpdate.encodedByteCount)
            nextUpdate.append(to: &bytes)
        }
    }
}

extension X509Time {
    /// Appends tag, length and content.
    fileprivate func append(to bytes: inout [UInt8]) {
        var encoded = InlineArray<17, UInt8>(repeating: 0)
        var span = encoded.mutableSpan
        let count = self.write(into: &span, at: 0)
        encoded.span.extracting(first: count).withUnsafeBufferPointer { bytes.append(contentsOf: $0) }
    }
}
