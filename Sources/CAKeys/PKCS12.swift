// PKCS#12 (RFC 7292): a key and its certificates in one encrypted file, as browsers and phones import them.

import COpenSSL

/// Packs a private key, its certificate and the chain above it, encrypted with AES-256 and PBKDF2, with an HMAC-SHA-256.
///
/// - Parameters:
///   - keyPEM: the private key, unencrypted.
///   - certificatePEM: the certificate for that key.
///   - chainPEM: the CA certificates, one PEM block after another; may be empty.
///   - password: at least one byte of UTF-8, no NUL.
///   - friendlyName: what an importing program shows.
/// - Returns: DER; the caller wipes it if it cares.
/// - Throws: ``KeyError``: `.unreadableKey`, `.unreadableCertificate`, `.keyMismatch`, `.invalidPassword`.
public func pkcs12(
    keyPEM: [UInt8], certificatePEM: [UInt8], chainPEM: [UInt8], password: [UInt8], friendlyName: String
) throws -> [UInt8] {
    guard !password.isEmpty, !password.contains(0), String(validating: password, as: UTF8.self) != nil else {
        throw KeyError(.invalidPassword, "A PKCS#12 password must be UTF-8 of at least one byte without NUL")
    }
    let key = try KeyHandle.read(pem: keyPEM, password: nil)
    let certificates = try CertificateStack(pem: certificatePEM)
    guard certificates.count == 1, let certificate = certificates.first else {
        throw KeyError(.unreadableCertificate, "Expected one certificate as PEM")
    }
    guard X509_check_private_key(certificate, key.pointer) == 1 else {
        ERR_clear_error()
        throw KeyError(.keyMismatch, "The private key does not belong to the certificate")
    }
    let chain = try CertificateStack(pem: chainPEM)
    // Zero-terminated copies; the password's is overwritten with the SecretBytes.
    let secret = SecretBytes(password + [0])
    let rounds: Int32 = 100_000
    let container = secret.withUnsafeBytes { password in
        PKCS12_create(
            password.bindMemory(to: CChar.self).baseAddress, friendlyName, key.pointer, certificate, chain.pointer, NID_aes_256_cbc,
            NID_aes_256_cbc, rounds, rounds, 0)
    }
    guard let container else { throw KeyError.openSSL("packing PKCS#12") }
    defer { PKCS12_free(container) }
    var buffer: UnsafeMutablePointer<UInt8>?
    let count = i2d_PKCS12(container, &buffer)
    guard count > 0, let buffer else { throw KeyError.openSSL("encoding PKCS#12") }
    defer { CRYPTO_free(buffer, #fileID, #line) }
    return Array(UnsafeBufferPointer(start: buffer, count: Int(count)))
}

/// Owns OpenSSL's list of certificates.
private final class CertificateStack {
    let pointer: OpaquePointer
    private(set) var first: OpaquePointer?

    init(pem: [UInt8]) throws {
        guard let pointer = upki_x509_stack_new() else { throw KeyError.openSSL("memory") }
        self.pointer = pointer
        try pem.withUnsafeBytes { bytes in
            guard !bytes.isEmpty else { return }
            guard let bio = BIO_new_mem_buf(bytes.baseAddress, Int32(clamping: bytes.count)) else { throw KeyError.openSSL("memory") }
            defer { BIO_free(bio) }
            // A password question (certificates can be encrypted PEM) is refused, not asked on the terminal.
            let question = PasswordQuestion(nil)
            while let certificate = question.withCallback({ PEM_read_bio_X509(bio, nil, $0, $1) }) {
                guard upki_x509_stack_push(pointer, certificate) > 0 else {
                    X509_free(certificate)
                    throw KeyError.openSSL("memory")
                }
                if first == nil { first = certificate }
            }
            // Both name what ends the loop: no further PEM block is the good end, anything else is a damaged certificate.
            let error = ERR_peek_last_error()
            guard upki_error_is_no_pem(error) == 1 else {
                throw KeyError(.unreadableCertificate, "A certificate cannot be read", cause: KeyError.takeOpenSSLCause())
            }
            ERR_clear_error()
        }
    }

    deinit { upki_x509_stack_free(pointer) }

    var count: Int { Int(upki_x509_stack_count(pointer)) }
}
