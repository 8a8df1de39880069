// Verifying a signature over bytes: what swift-certificates keeps to itself for everything but certificates and CSRs.

import COpenSSL
import SwiftASN1
import X509

/// Verifies what a CA key signed.
public enum SignatureVerification {
    /// Whether the certificate's key made this signature.
    ///
    /// - Parameters:
    ///   - algorithm: the object identifier of the signature's AlgorithmIdentifier.
    ///   - signature: the content of the BIT STRING.
    /// - Throws: ``KeyError``: `.unsupportedAlgorithm`, `.unreadableCertificate`.
    public static func isValid(
        _ signature: ArraySlice<UInt8>, over message: ArraySlice<UInt8>, algorithm: ASN1ObjectIdentifier, by certificate: Certificate
    ) throws -> Bool {
        guard let known = self.algorithms[algorithm] else {
            throw KeyError(.unsupportedAlgorithm, "The signature algorithm \(algorithm) is not known")
        }
        var serializer = DER.Serializer()
        try serializer.serialize(certificate.publicKey)
        let pointer = serializer.serializedBytes.withUnsafeBufferPointer { bytes in
            var start = bytes.baseAddress
            return d2i_PUBKEY(nil, &start, bytes.count)
        }
        guard let pointer else { throw KeyError(.unreadableCertificate, "The certificate's key cannot be read") }
        defer { EVP_PKEY_free(pointer) }
        guard let context = EVP_MD_CTX_new() else { throw KeyError.openSSL("memory") }
        defer { EVP_MD_CTX_free(context) }
        // What a wrong signature leaves there is nobody's error.
        defer { ERR_clear_error() }
        // A key of another kind made no such signature.
        guard EVP_PKEY_is_a(pointer, known.key) == 1,
            EVP_DigestVerifyInit_ex(context, nil, known.digest, nil, nil, pointer, nil) == 1
        else { return false }
        return signature.withUnsafeBufferPointer { signature in
            message.withUnsafeBufferPointer { message in
                EVP_DigestVerify(context, signature.baseAddress, signature.count, message.baseAddress, message.count) == 1
            }
        }
    }

    /// RFC 5758 3.2, RFC 4055 5, RFC 8410 3; Ed25519 has no digest of its own.
    private static let algorithms: [ASN1ObjectIdentifier: (key: String, digest: String?)] = [
        [1, 2, 840, 10045, 4, 3, 2]: ("EC", "SHA256"), [1, 2, 840, 10045, 4, 3, 3]: ("EC", "SHA384"),
        [1, 2, 840, 10045, 4, 3, 4]: ("EC", "SHA512"), [1, 2, 840, 113549, 1, 1, 11]: ("RSA", "SHA256"),
        [1, 2, 840, 113549, 1, 1, 12]: ("RSA", "SHA384"), [1, 2, 840, 113549, 1, 1, 13]: ("RSA", "SHA512"),
        [1, 3, 101, 112]: ("ED25519", nil),
    ]
}
