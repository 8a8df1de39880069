// Whether an answer is to be believed (RFC 6960 3.2): who signed it, for whom, when, and what was asked.
import Crypto
import FoundationEssentials
public import RevocationFormats
import SwiftASN1
import X509

/// What a response that is to be believed says.
public struct OCSPVerdict: Sendable {
    /// In the order of the question.
    public let statuses: [OCSPCertStatus]
    /// Seconds since 1970; where several certificates were asked for, the narrowest.
    public let thisUpdate: Int64
    public let nextUpdate: Int64
    public let producedAt: Int64
    /// The DER of the responder's certificate.
    public let responder: [UInt8]

    /// Of the first certificate.
    public var status: OCSPCertStatus { statuses.first ?? .unknown }
}

extension OCSPAuthority {
    /// Judges a response.
    /// - Parameters:
    ///   - response: the DER of an OCSPResponse.
    ///   - question: what was asked.
    ///   - now: seconds since 1970.
    ///   - isNonceIgnored: whether the responder may leave a nonce out.
    /// - Throws: the first of what is wrong, in one line.
    public func judge(
        _ response: [UInt8], to question: OCSPQuestion, now: Int64, isNonceIgnored: Bool = false
    ) throws(OCSPClientError) -> OCSPVerdict {
        let basic = try Self.basicResponse(response)
        let (responder, der) = try delegate(of: basic, now: now)
        try Self.checkSignature(basic, by: responder)
        let times = try Self.checkTimes(basic, signer: responder, now: now)
        guard basic.responses.map(\.certID.der) == question.certIDs.map(\.der) else {
            throw OCSPClientError(.otherCertificate, "the response tells of other certificates than were asked for")
        }
        let nonces = isNonceIgnored ? [question.nonce, nil] : [question.nonce]
        guard nonces.contains(basic.nonce) else {
            let found = basic.nonce == nil ? "no nonce" : "another nonce"
            throw OCSPClientError(.otherNonce, "the response has \(found), where \(question.nonce == nil ? "none" : "one") was sent")
        }
        return OCSPVerdict(
            statuses: basic.responses.map(\.status), thisUpdate: times.begin, nextUpdate: times.end, producedAt: basic.producedAt,
            responder: der)
    }

    private static func basicResponse(_ der: [UInt8]) throws(OCSPClientError) -> BasicOCSPResponse {
        let response: OCSPResponse
        do { response = try OCSPResponse(der: der) } catch {
            throw OCSPClientError(.malformed, "the response cannot be read: \(error.message)")
        }
        guard let basic = response.basic else { throw OCSPClientError(.refused, "the responder answers \(response.status)") }
        return basic
    }

    /// The certificate that the responder names, where the CA made it for that (RFC 6960 4.2.2.2).
    private func delegate(of basic: BasicOCSPResponse, now: Int64) throws(OCSPClientError) -> (Certificate, der: [UInt8]) {
        func refuse(_ why: String) -> OCSPClientError { OCSPClientError(.notDelegated, "the responder is not the CA's: \(why)") }
        guard let keyHash = basic.responderKeyHash else { throw refuse("it names itself by name, not by key") }
        for der in basic.certificates {
            guard let found = try? Certificate(derEncoded: der),
                Array(Insecure.SHA1.hash(data: found.publicKey.subjectPublicKeyInfoBytes)) == keyHash
            else { continue }
            guard found.issuer == certificate.subject, certificate.publicKey.isValidSignature(found.signature, for: found) else {
                throw refuse("the CA has not signed its certificate")
            }
            guard let usage = try? found.extensions.extendedKeyUsage, Array(usage) == [.ocspSigning] else {
                throw refuse("its certificate is not for OCSP signing alone")
            }
            guard found.extensions[oid: Self.noCheck]?.value == [0x05, 0x00] else {
                throw refuse("its certificate lacks id-pkix-ocsp-nocheck")
            }
            guard Self.seconds(found.notValidBefore) <= now, now <= Self.seconds(found.notValidAfter) else {
                throw refuse("its certificate is not valid now")
            }
            return (found, der)
        }
        throw refuse("the certificate of its key did not come along")
    }

    /// RFC 6960 4.2.2.2.1.
    private static let noCheck: ASN1ObjectIdentifier = [1, 3, 6, 1, 5, 5, 7, 48, 1, 5]

    /// 1.2.840.10045.4.3.2 without parameters (RFC 5758 3.2).
    private static let ecdsaWithSHA256 = AlgorithmIdentifier(algorithm: [1, 2, 840, 10_045, 4, 3, 2], parameters: nil)

    private static func seconds(_ date: Date) -> Int64 { Int64(date.timeIntervalSince1970) }

    private static func checkSignature(_ basic: BasicOCSPResponse, by responder: Certificate) throws(OCSPClientError) {
        guard let key = P256.Signing.PublicKey(responder.publicKey) else {
            throw OCSPClientError(.badSignature, "the responder's key is not of P-256")
        }
        guard basic.signatureAlgorithm == Self.ecdsaWithSHA256,
            let signature = try? P256.Signing.ECDSASignature(derRepresentation: basic.signature),
            key.isValidSignature(signature, for: basic.tbsBytes)
        else { throw OCSPClientError(.badSignature, "the response is not signed by the responder's certificate") }
    }

    private static func checkTimes(
        _ basic: BasicOCSPResponse, signer: Certificate, now: Int64
    ) throws(OCSPClientError) -> (begin: Int64, end: Int64) {
        func refuse(_ why: String) -> OCSPClientError { OCSPClientError(.badTimes, why) }
        var begin = Int64.min
        var end = Int64.max
        for single in basic.responses {
            guard let nextUpdate = single.nextUpdate else { throw refuse("the response says nothing of its nextUpdate") }
            begin = max(begin, single.thisUpdate)
            end = min(end, nextUpdate)
        }
        guard begin <= now else { throw refuse("thisUpdate lies \(begin - now) s in the future") }
        guard now < end else { throw refuse("nextUpdate was \(now - end) s ago") }
        guard basic.producedAt <= now else { throw refuse("producedAt lies \(basic.producedAt - now) s in the future") }
        guard basic.producedAt >= begin else { throw refuse("producedAt lies before thisUpdate") }
        guard end <= seconds(signer.notValidAfter) else { throw refuse("nextUpdate lies behind the end of the responder's certificate") }
        return (begin, end)
    }
}
