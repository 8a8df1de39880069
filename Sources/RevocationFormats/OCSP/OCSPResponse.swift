// OCSP responses as a client reads them.

import SwiftASN1

/// An OCSPResponse (RFC 6960 4.2.1, see ``OCSPResponseTemplate``), not yet judged: signature, signer, times and CertIDs are the reader's to check.
public struct OCSPResponse: Sendable {
    /// The most octets of a response.
    public static let longest = 64 * 1024

    public var status: OCSPResponseStatus
    /// There is one if, and only if, the status is `successful`.
    public var basic: BasicOCSPResponse?

    /// - throws: ``RevocationFormatsError`` with `malformed`, `unsupportedCriticalExtension`, or `timeOutOfRange` for a year before 1950.
    public init(der: [UInt8]) throws(RevocationFormatsError) {
        guard der.count <= Self.longest else {
            throw RevocationFormatsError(.malformed, "a response has \(der.count) octets; \(Self.longest) are allowed")
        }
        let bytes = der.span
        var fields = DERReader(try DERReader.only(DERTag.sequence, "an OCSPResponse", in: 0..<der.count, of: bytes).content)
        let code = try fields.next(DERTag.enumerated, "responseStatus", in: bytes).content
        guard let first = code.first, code.count == 1, let status = OCSPResponseStatus(rawValue: bytes[first]) else {
            throw RevocationFormatsError(.malformed, "there is no such responseStatus")
        }
        let responseBytes = try fields.nextIfPresent(DERTag.contextSpecific0, in: bytes)
        try fields.requireEnd("an OCSPResponse")
        guard (responseBytes != nil) == (status == .successful) else {
            throw RevocationFormatsError(.malformed, "a response has responseBytes if, and only if, it is successful")
        }
        self.status = status
        self.basic = nil
        if let responseBytes {
            self.basic = try BasicOCSPResponse(responseBytes: responseBytes.content, in: der)
        }
    }
}

/// A BasicOCSPResponse (RFC 6960 4.2.1).
public struct BasicOCSPResponse: Sendable {
    /// What it says of one certificate.
    public struct SingleResponse: Sendable, Equatable {
        public var certID: OCSPCertID
        public var status: OCSPCertStatus
        /// Seconds since 1970.
        public var thisUpdate: Int64
        /// Seconds since 1970.
        public var nextUpdate: Int64?
    }

    /// The most certificates that one response tells of, and the most that come with it.
    private static let mostResponses = 50
    private static let mostCertificates = 8

    /// The DER of the ResponseData: what is signed.
    public var tbsBytes: [UInt8]
    /// The responderID where it is by key: SHA-1 of the key, 20 octets.
    public var responderKeyHash: [UInt8]?
    /// The responderID where it is by name: the DER of the Name.
    public var responderName: [UInt8]?
    /// Seconds since 1970.
    public var producedAt: Int64
    /// At least one.
    public var responses: [SingleResponse]
    /// 1 to 128 octets.
    public var nonce: [UInt8]?
    public var signatureAlgorithm: AlgorithmIdentifier
    public var signature: [UInt8]
    /// DER, not looked into.
    public var certificates: [[UInt8]]

    /// - parameter responseBytes: Where the content of `[0] EXPLICIT ResponseBytes` stands in `der`.
    fileprivate init(responseBytes: Range<Int>, in der: [UInt8]) throws(RevocationFormatsError) {
        let bytes = der.span
        var outer = DERReader(try DERReader.only(DERTag.sequence, "responseBytes", in: responseBytes, of: bytes).content)
        let type = try outer.nextObjectIdentifier("responseType", in: bytes)
        guard bytes.holds(OCSPResponseTemplate.basicIdentifier, in: type.encoded) else {
            throw RevocationFormatsError(.malformed, "the response is not a basic one")
        }
        let wrapped = try outer.next(DERTag.octetString, "response", in: bytes)
        try outer.requireEnd("responseBytes")

        var fields = DERReader(try DERReader.only(DERTag.sequence, "a BasicOCSPResponse", in: wrapped.content, of: bytes).content)
        let signed = try fields.next(DERTag.sequence, "tbsResponseData", in: bytes)
        let algorithm = try fields.next(DERTag.sequence, "signatureAlgorithm", in: bytes)
        let signature = try fields.next(DERTag.bitString, "signature", in: bytes)
        let certificates = try fields.nextIfPresent(DERTag.contextSpecific0, in: bytes)
        try fields.requireEnd("a BasicOCSPResponse")

        self.tbsBytes = bytes.copy(signed.encoded)
        self.signatureAlgorithm = try Self.parse("signatureAlgorithm") { try AlgorithmIdentifier(derEncoded: der[algorithm.encoded]) }
        guard let unused = signature.content.first, bytes[unused] == 0, signature.content.count > 1 else {
            throw RevocationFormatsError(.malformed, "the signature has unused bits or none at all")
        }
        self.signature = bytes.copy(signature.content.dropFirst())
        self.certificates =
            try certificates.map { (member) throws(RevocationFormatsError) in try Self.certificates(explicit: member.content, in: der) }
            ?? []

        var data = DERReader(signed.content)
        if let version = try data.nextIfPresent(DERTag.contextSpecific0, in: bytes) {
            let number = try DERReader.only(DERTag.integer, "version", in: version.content, of: bytes)
            guard bytes.holds([0], in: number.content) else { throw RevocationFormatsError(.malformed, "the version is not v1") }
        }
        (self.responderName, self.responderKeyHash) = try Self.responderID(data.next(in: bytes), in: der)
        self.producedAt = try Self.time(data.next(in: bytes), in: der)
        let list = try data.next(DERTag.sequence, "responses", in: bytes)
        self.nonce = nil
        if let extensions = try data.nextIfPresent(DERTag.contextSpecific1, in: bytes) {
            self.nonce = try OCSPExtensions.read(explicit: extensions.content, acceptsNonce: true, in: bytes)
        }
        try data.requireEnd("tbsResponseData")
        self.responses = try Self.responses(list.content, in: der)
    }

    private static func certificates(explicit: Range<Int>, in der: [UInt8]) throws(RevocationFormatsError) -> [[UInt8]] {
        let bytes = der.span
        var list = DERReader(try DERReader.only(DERTag.sequence, "certs", in: explicit, of: bytes).content)
        var certificates: [[UInt8]] = []
        while !list.isAtEnd {
            certificates.append(bytes.copy(try list.next(DERTag.sequence, "a certificate", in: bytes).encoded))
            guard certificates.count <= Self.mostCertificates else {
                throw RevocationFormatsError(.malformed, "a response comes with more than \(Self.mostCertificates) certificates")
            }
        }
        return certificates
    }

    private static func responderID(
        _ member: DERReader.Member, in der: [UInt8]
    ) throws(RevocationFormatsError) -> (name: [UInt8]?, keyHash: [UInt8]?) {
        let bytes = der.span
        switch member.tag {
        case DERTag.contextSpecific1:
            return (bytes.copy(try DERReader.only(DERTag.sequence, "byName", in: member.content, of: bytes).encoded), nil)
        case DERTag.contextSpecific2:
            let hash = try DERReader.only(DERTag.octetString, "byKey", in: member.content, of: bytes).content
            guard hash.count == 20 else { throw RevocationFormatsError(.malformed, "a KeyHash has \(hash.count) octets, not 20") }
            return (nil, bytes.copy(hash))
        default:
            throw RevocationFormatsError(.malformed, "responderID is missing or is of another type")
        }
    }

    private static func responses(_ list: Range<Int>, in der: [UInt8]) throws(RevocationFormatsError) -> [SingleResponse] {
        let bytes = der.span
        var reader = DERReader(list)
        var responses: [SingleResponse] = []
        repeat {
            let member = try reader.next(DERTag.sequence, "a SingleResponse", in: bytes)
            guard responses.count < Self.mostResponses else {
                throw RevocationFormatsError(.malformed, "a response tells of more than \(Self.mostResponses) certificates")
            }
            responses.append(try Self.single(member, in: der))
        } while !reader.isAtEnd
        return responses
    }

    private static func single(_ member: DERReader.Member, in der: [UInt8]) throws(RevocationFormatsError) -> SingleResponse {
        let bytes = der.span
        var fields = DERReader(member.content)
        let certID = try OCSPCertID(fields.next(DERTag.sequence, "certID", in: bytes), in: bytes)
        let status = try Self.status(fields.next(in: bytes), in: der)
        let thisUpdate = try Self.time(fields.next(in: bytes), in: der)
        var nextUpdate: Int64?
        if let explicit = try fields.nextIfPresent(DERTag.contextSpecific0, in: bytes) {
            nextUpdate = try Self.time(DERReader.only(DERTag.generalizedTime, "nextUpdate", in: explicit.content, of: bytes), in: der)
        }
        if let extensions = try fields.nextIfPresent(DERTag.contextSpecific1, in: bytes) {
            _ = try OCSPExtensions.read(explicit: extensions.content, acceptsNonce: false, in: bytes)
        }
        try fields.requireEnd("a SingleResponse")
        return SingleResponse(certID: certID, status: status, thisUpdate: thisUpdate, nextUpdate: nextUpdate)
    }

    private static func status(_ member: DERReader.Member, in der: [UInt8]) throws(RevocationFormatsError) -> OCSPCertStatus {
        let bytes = der.span
        switch member.tag {
        case 0x80 where member.content.isEmpty: return .good
        case 0x82 where member.content.isEmpty: return .unknown
        case DERTag.contextSpecific1:
            var fields = DERReader(member.content)
            let time = try Self.time(fields.next(in: bytes), in: der)
            var reason: CRLReason?
            if let explicit = try fields.nextIfPresent(DERTag.contextSpecific0, in: bytes) {
                let code = try DERReader.only(DERTag.enumerated, "revocationReason", in: explicit.content, of: bytes).content
                guard let first = code.first, code.count == 1, let known = CRLReason(rawValue: bytes[first]) else {
                    throw RevocationFormatsError(.malformed, "there is no such revocationReason")
                }
                reason = known
            }
            try fields.requireEnd("RevokedInfo")
            return .revoked(at: time, reason: reason)
        default: throw RevocationFormatsError(.malformed, "there is no such certStatus")
        }
    }

    private static func time(_ member: DERReader.Member, in der: [UInt8]) throws(RevocationFormatsError) -> Int64 {
        guard member.tag == DERTag.generalizedTime else {
            throw RevocationFormatsError(.malformed, "a time is missing or is no GeneralizedTime")
        }
        let time = try Self.parse("a time") { try X509Time(derEncoded: der[member.encoded]) }
        // No year before 1950, as in what is written.
        return try X509Time(generalized: time.unixSeconds).unixSeconds
    }

    private static func parse<Value>(_ what: StaticString, _ body: () throws -> Value) throws(RevocationFormatsError) -> Value {
        do { return try body() } catch let error as RevocationFormatsError { throw error } catch {
            throw RevocationFormatsError(.malformed, "\(what) is not valid DER of its kind", cause: error)
        }
    }
}
