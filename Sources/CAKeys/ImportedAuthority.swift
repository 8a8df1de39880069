// Taking over an existing CA: what its key and certificate must fulfil.

import FoundationEssentials
import SwiftASN1
import X509

/// The key and certificate of an existing CA that this program can go on with.
public struct ImportedAuthority: Sendable {
    public let key: CAKey
    public let certificate: Certificate
    public let certificateDER: [UInt8]
    /// Certificates that followed the CA's own in the file, in their order, as DER: the chain of a subordinate CA.
    public let chainDER: [[UInt8]]

    /// Reads both and refuses what cannot work.
    ///
    /// A certificate without a key usage extension is accepted: it restricts nothing (RFC 5280, section 4.2.1.3), and
    /// `openssl req -x509` makes such ones.
    ///
    /// - Parameters:
    ///   - keyPEM: PKCS#8 (plain or encrypted), PKCS#1 or SEC 1 without the encryption of the old PEM form; the caller wipes it.
    ///   - certificatePEM: the CA's certificate first, its chain after it.
    ///   - password: of the key, where it is encrypted; the caller wipes it.
    ///   - now: seconds since 1970.
    /// - Throws: ``KeyError``, whose code and message name the reason.
    public static func check(keyPEM: [UInt8], certificatePEM: [UInt8], password: [UInt8]?, now: Int64) throws -> ImportedAuthority {
        guard !Self.hasOldEncryption(keyPEM) else {
            throw KeyError(
                .weakEncryption,
                "The CA key is encrypted in the old PEM form, which one round of MD5 protects; convert it and import NEW.key: "
                    + "openssl pkcs8 -topk8 -v2 aes-256-cbc -in OLD.key -out NEW.key")
        }
        let key = try CAKey(pem: keyPEM, password: password)
        guard key.type != nil else {
            let allowed = KeyType.allCases.map(\.rawValue).joined(separator: ", ")
            if case .rsa(let bits) = key.handle.kind, bits < 2048 {
                throw KeyError(.unsupportedKey, "The CA key has RSA with \(bits) bits, which is under 2048; allowed are \(allowed)")
            }
            throw KeyError(.unsupportedKey, "The CA key is of type \(key.kindDescription); allowed are \(allowed)")
        }
        let documents = try certificates(certificatePEM)
        guard let certificateDER = documents.first else {
            throw KeyError(.unreadableCertificate, "The certificate file holds no PEM block CERTIFICATE")
        }
        let certificate: Certificate
        do {
            certificate = try Certificate(derEncoded: certificateDER)
        } catch {
            throw KeyError(.unreadableCertificate, "The CA certificate cannot be read", cause: "\(error)")
        }
        guard try key.matches(certificate) else {
            throw KeyError(.keyMismatch, "The private key does not belong to the CA certificate")
        }
        try checkAuthority(certificate)
        try checkTimes(certificate, now: now)
        return ImportedAuthority(key: key, certificate: certificate, certificateDER: certificateDER, chainDER: Array(documents.dropFirst()))
    }

    /// Whether the PEM carries the header of RFC 1421 that says so (`Proc-Type: 4,ENCRYPTED`).
    private static func hasOldEncryption(_ pem: [UInt8]) -> Bool {
        pem.split(separator: UInt8(ascii: "\n")).contains {
            $0.starts(with: "Proc-Type:".utf8) && $0.dropFirst(10).contains(UInt8(ascii: "E"))
        }
    }

    private static func certificates(_ pem: [UInt8]) throws -> [[UInt8]] {
        guard let text = String(validating: pem, as: UTF8.self) else {
            throw KeyError(.unreadableCertificate, "The certificate file is not PEM")
        }
        do {
            return try PEMDocument.parseMultiple(pemString: text).filter { $0.discriminator == Certificate.defaultPEMDiscriminator }
                .map(\.derBytes)
        } catch {
            throw KeyError(.unreadableCertificate, "The certificate file is not PEM", cause: "\(error)")
        }
    }

    private static func checkAuthority(_ certificate: Certificate) throws {
        guard !certificate.subject.isEmpty else {
            throw KeyError(.notAuthority, "The certificate has an empty subject, which no CA may have")
        }
        let constraints: BasicConstraints?
        let usage: KeyUsage?
        do {
            constraints = try certificate.extensions.basicConstraints
            usage = try certificate.extensions.keyUsage
        } catch {
            throw KeyError(.unreadableCertificate, "An extension of the CA certificate cannot be read", cause: "\(error)")
        }
        guard case .isCertificateAuthority = constraints else {
            throw KeyError(.notAuthority, "The certificate is not a CA's: it has no basicConstraints with CA:TRUE")
        }
        guard let usage else { return }
        let missing = [usage.keyCertSign ? nil : "keyCertSign", usage.cRLSign ? nil : "cRLSign"].compactMap(\.self)
        guard missing.isEmpty else {
            throw KeyError(.keyUsage, "The CA certificate's keyUsage lacks \(missing.joined(separator: " and "))")
        }
    }

    private static func checkTimes(_ certificate: Certificate, now: Int64) throws {
        let now = Date(timeIntervalSince1970: TimeInterval(now))
        guard certificate.notValidAfter >= now else {
            throw KeyError(.expired, "The CA certificate expired at \(certificate.notValidAfter.ISO8601Format())")
        }
        guard certificate.notValidBefore <= now else {
            throw KeyError(.notYetValid, "The CA certificate is not valid before \(certificate.notValidBefore.ISO8601Format())")
        }
    }
}
