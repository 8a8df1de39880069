// The responder's own key, its request for a certificate, and what that certificate must be before anything is signed with it.
internal import Crypto
import FoundationEssentials
internal import RevocationFormats
import SwiftASN1
internal import X509

/// A P-256 key that was made in memory and never leaves it.
struct ResponderKey: Sendable {
    let key = P256.Signing.PrivateKey()

    /// A PKCS#10 that proves possession of the key; ca-core chooses everything else.
    /// - Throws: `.signing`.
    func certificationRequest() throws(ResponderError) -> [UInt8] {
        do {
            let request = try CertificateSigningRequest(
                version: .v1, subject: DistinguishedName { CommonName("OCSP responder") }, privateKey: Certificate.PrivateKey(key),
                attributes: CertificateSigningRequest.Attributes(), signatureAlgorithm: .ecdsaWithSHA256)
            var serializer = DER.Serializer()
            try serializer.serialize(request)
            return serializer.serializedBytes
        } catch {
            throw ResponderError(.signing, "the request for a signing certificate cannot be made: \(error)")
        }
    }

    /// Checks what ca-core answered, as a relying party would (RFC 6960 4.2.2.2).
    ///
    /// - Parameters:
    ///   - now: seconds since 1970.
    ///   - generation: the number that answers of this signer are kept under.
    /// - Throws: `.invalidAnswer` where relying parties would refuse what it signs.
    func signer(certificate der: [UInt8], of authority: AuthorityIdentity, now: Int64, generation: UInt32) throws(ResponderError) -> Signer
    {
        func refuse(_ what: String) -> ResponderError {
            ResponderError(.invalidAnswer, "the signing certificate that ca-core sent \(what)")
        }
        let certificate: Certificate
        let usage: ExtendedKeyUsage?
        do {
            certificate = try Certificate(derEncoded: der)
            usage = try certificate.extensions.extendedKeyUsage
        } catch {
            throw refuse("cannot be read: \(error)")
        }
        let publicKey = Certificate.PublicKey(key.publicKey)
        guard certificate.publicKey == publicKey else { throw refuse("is for another key") }
        guard certificate.issuer == authority.certificate.subject,
            authority.certificate.publicKey.isValidSignature(certificate.signature, for: certificate)
        else { throw refuse("is not issued by the CA that it is to sign for") }
        guard let usage, Array(usage) == [.ocspSigning] else { throw refuse("does not have the extended key usage OCSPSigning alone") }
        let notBefore = Int64(certificate.notValidBefore.timeIntervalSince1970)
        let notAfter = Int64(certificate.notValidAfter.timeIntervalSince1970)
        guard notBefore <= now else { throw refuse("is not valid yet: do both programs run with the same clock?") }
        guard notAfter > now else { throw refuse("has expired") }
        guard authority.notAfter > now else { throw refuse("is of a CA whose own certificate has expired") }
        let serial = OCSPSerial(magnitude: certificate.serialNumber.bytes)
        return Signer(
            key: key, certificate: der, authority: authority, notBefore: notBefore, notAfter: notAfter, serial: serial,
            generation: generation, now: now)
    }
}
