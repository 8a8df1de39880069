// The CA whose certificates are answered for: its certificate, and the hashes by which CertIDs name it.
internal import Crypto
import FoundationEssentials
package import RevocationFormats
import SwiftASN1
package import X509

/// A CA as OCSP sees it.
package struct AuthorityIdentity: Sendable {
    package let der: [UInt8]
    package let certificate: Certificate
    package let issuer: OCSPIssuer
    /// Seconds since 1970.
    package let notBefore: Int64
    package let notAfter: Int64

    /// - Parameter der: the CA's certificate.
    /// - Throws: `.invalidAnswer` where it is none.
    package init(der: [UInt8]) throws(ResponderError) {
        do {
            let certificate = try Certificate(derEncoded: der)
            let parts = try CertificateParts(der)
            issuer = OCSPIssuer(
                nameSHA1: Array(Insecure.SHA1.hash(data: parts.subject)), keySHA1: Array(Insecure.SHA1.hash(data: parts.key)),
                nameSHA256: Array(SHA256.hash(data: parts.subject)), keySHA256: Array(SHA256.hash(data: parts.key)))
            notBefore = Int64(certificate.notValidBefore.timeIntervalSince1970)
            notAfter = Int64(certificate.notValidAfter.timeIntervalSince1970)
            self.certificate = certificate
            self.der = der
        } catch {
            throw ResponderError(.invalidAnswer, "the CA's certificate that ca-core sent cannot be read: \(error)")
        }
    }

    /// SHA-256 of the certificate in lower-case hexadecimal.
    package var fingerprint: String { hexadecimal(SHA256.hash(data: der)) }
}

/// Parts of a certificate as they stand in it, since a name is hashed byte for byte.
struct CertificateParts {
    /// The DER of the subject.
    var subject: [UInt8]
    /// The subjectPublicKey without the octet that counts unused bits.
    var key: [UInt8]

    init(_ der: [UInt8]) throws {
        guard case .constructed(let outer) = try DER.parse(der).content, let tbs = outer.first(where: { _ in true }),
            case .constructed(let fields) = tbs.content
        else { throw ASN1Error.invalidASN1Object(reason: "a certificate is a sequence of sequences") }
        // version [0] may be absent: serialNumber, signature, issuer, validity, subject, subjectPublicKeyInfo (RFC 5280 4.1).
        let version = ASN1Identifier(tagWithNumber: 0, tagClass: .contextSpecific)
        let members = Array(fields.drop { $0.identifier == version }.prefix(6))
        guard members.count == 6, case .constructed(let keyInfo) = members[5].content, let bits = Array(keyInfo).last else {
            throw ASN1Error.invalidASN1Object(reason: "a certificate has a subject and a key")
        }
        subject = Array(members[4].encodedBytes)
        key = Array(try ASN1BitString(derEncoded: bits).bytes)
    }
}

/// Lower-case hexadecimal.
func hexadecimal(_ bytes: some Sequence<UInt8>) -> String {
    let digits = Array("0123456789abcdef".utf8)
    var text: [UInt8] = []
    // Half an octet is below 16, and so many digits there are.
    for byte in bytes { text += [digits[Int(byte >> 4)], digits[Int(byte & 15)]] }
    return String(decoding: text, as: UTF8.self)
}
