// The CA whose certificates are asked about: how requests name it, and what it has to have signed.
import Crypto
public import RevocationFormats
import SwiftASN1
import X509

/// A CA, by its certificate.
public struct OCSPAuthority: Sendable {
    /// What CertIDs say of it.
    public let issuer: OCSPIssuer
    let certificate: Certificate

    /// - Parameter der: the CA's certificate.
    /// - Throws: `.badQuestion` for what is no certificate.
    public init(der: [UInt8]) throws(OCSPClientError) {
        let certificate: Certificate
        var name = DER.Serializer()
        do {
            certificate = try Certificate(derEncoded: der)
            try name.serialize(certificate.subject)
        } catch {
            throw OCSPClientError(.badQuestion, "the CA's certificate cannot be read: \(error)")
        }
        let key = certificate.publicKey.subjectPublicKeyInfoBytes
        self.certificate = certificate
        self.issuer = OCSPIssuer(
            nameSHA1: Array(Insecure.SHA1.hash(data: name.serializedBytes)), keySHA1: Array(Insecure.SHA1.hash(data: key)),
            nameSHA256: Array(SHA256.hash(data: name.serializedBytes)), keySHA256: Array(SHA256.hash(data: key)))
    }

    /// The serial number of a certificate of this CA.
    /// - Throws: `.badQuestion` for what is no certificate, or one of another issuer.
    public func serialNumber(ofCertificate der: [UInt8]) throws(OCSPClientError) -> [UInt8] {
        let subject: Certificate
        do { subject = try Certificate(derEncoded: der) } catch {
            throw OCSPClientError(.badQuestion, "the certificate cannot be read: \(error)")
        }
        guard subject.issuer == certificate.subject else {
            throw OCSPClientError(.badQuestion, "the certificate's issuer is \(subject.issuer), not \(certificate.subject)")
        }
        return Array(subject.serialNumber.bytes)
    }
}
