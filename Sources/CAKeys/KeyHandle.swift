// An OpenSSL key pair with an owner: made, read from PEM, written as PEM.

import COpenSSL

/// Owns one `EVP_PKEY`. OpenSSL overwrites the private part when the key is freed.
///
/// Sendable: the pointer never changes, the key behind it is not modified after this type's initialiser, and OpenSSL's reference
/// counts and lazily built caches (Montgomery values, RSA blinding) are locked or atomic by its own contract.
package final class KeyHandle: Sendable {
    // Never changes; what it points to is locked by OpenSSL itself.
    nonisolated(unsafe) let pointer: OpaquePointer
    package let kind: KeyKind
    /// SubjectPublicKeyInfo (RFC 5280, section 4.1) as DER.
    package let subjectPublicKeyInfo: [UInt8]

    /// Takes over `pointer`.
    init(owning pointer: OpaquePointer) throws {
        do {
            self.kind = try Self.normalize(pointer)
            self.subjectPublicKeyInfo = try Self.publicKeyInfo(of: pointer)
        } catch {
            EVP_PKEY_free(pointer)
            throw error
        }
        self.pointer = pointer
    }

    deinit { EVP_PKEY_free(pointer) }

    /// A new random key.
    package static func generate(_ kind: KeyKind) throws -> KeyHandle {
        let pointer =
            switch kind {
            case .ec(let curve): upki_generate_ec(curve.rawValue)
            case .ed25519: upki_generate_ed25519()
            case .rsa(let bits): upki_generate_rsa(bits)
            case .other(let name): throw KeyError(.unsupportedKey, "Keys of type \(name) cannot be made")
            }
        guard let pointer else { throw KeyError.openSSL("making a key of type \(kind)") }
        return try KeyHandle(owning: pointer)
    }

    /// The Ed25519 key whose private key is `seed`, 32 bytes (RFC 8032, section 5.1.5).
    static func ed25519(seed: SecretBytes) throws -> KeyHandle {
        let pointer = seed.withUnsafeBytes { seed in
            EVP_PKEY_new_raw_private_key_ex(nil, "ED25519", nil, seed.bindMemory(to: UInt8.self).baseAddress, seed.count)
        }
        guard let pointer else { throw KeyError.openSSL("making an Ed25519 key") }
        return try KeyHandle(owning: pointer)
    }

    /// The key pair that `parameters` describe, for the algorithm `name` (provider-keymgmt(7)).
    static func from(_ parameters: ParameterList, algorithm name: String) throws -> KeyHandle {
        guard let context = EVP_PKEY_CTX_new_from_name(nil, name, nil) else { throw KeyError.openSSL("no \(name)") }
        defer { EVP_PKEY_CTX_free(context) }
        var pointer: OpaquePointer?
        guard EVP_PKEY_fromdata_init(context) == 1,
            parameters.withPointer({ EVP_PKEY_fromdata(context, &pointer, upki_keypair, $0) }) == 1, let pointer
        else { throw KeyError.openSSL("assembling a key of type \(name)") }
        return try KeyHandle(owning: pointer)
    }

    // MARK: PEM

    /// Reads the first private key in `pem`: PKCS#8 plain or encrypted, PKCS#1, SEC 1. Never asks on a terminal.
    package static func read(pem: [UInt8], password: [UInt8]?) throws -> KeyHandle {
        ERR_clear_error()
        let question = PasswordQuestion(password)
        let pointer: OpaquePointer? = pem.withUnsafeBytes { bytes in
            guard let bio = BIO_new_mem_buf(bytes.baseAddress, Int32(clamping: bytes.count)) else { return nil }
            defer { BIO_free(bio) }
            return question.withCallback { callback, argument in PEM_read_bio_PrivateKey(bio, nil, callback, argument) }
        }
        if let pointer { return try KeyHandle(owning: pointer) }
        let cause = KeyError.takeOpenSSLCause()
        guard question.wasAsked else {
            throw KeyError(.unreadableKey, "No private key found: expected PEM with PKCS#8, PKCS#1 or SEC 1", cause: cause)
        }
        guard let password else { throw KeyError(.passwordNeeded, "The private key is encrypted: give its password file") }
        guard password.count <= PasswordQuestion.limit else {
            throw KeyError(.invalidPassword, "A key's password may have at most \(PasswordQuestion.limit) bytes")
        }
        throw KeyError(.wrongPassword, "The private key cannot be decrypted with this password", cause: cause)
    }

    /// PKCS#8 PEM (RFC 5958, RFC 7468), encrypted if there is a password: PBES2 with AES-256-CBC and PBKDF2-HMAC-SHA-256.
    func pkcs8PEM(password: [UInt8]?) throws -> SecretBytes {
        guard let bio = BIO_new(BIO_s_mem()) else { throw KeyError.openSSL("memory") }
        // A memory BIO overwrites its content when it is freed.
        defer { BIO_free(bio) }
        if let password {
            try writeEncrypted(to: bio, password)
        } else {
            guard PEM_write_bio_PKCS8PrivateKey(bio, pointer, nil, nil, 0, nil, nil) == 1 else { throw KeyError.openSSL("writing a key") }
        }
        return contentOf(bio) { SecretBytes($0) }
    }

    /// OWASP's 2023 figure for PBKDF2-HMAC-SHA-256; about 0.2 s, against OpenSSL's default of 2048 rounds.
    private static let passwordRounds: Int32 = 600_000

    private func writeEncrypted(to bio: OpaquePointer, _ password: [UInt8]) throws {
        guard !password.isEmpty, password.count <= PasswordQuestion.limit else {
            throw KeyError(.invalidPassword, "A key's password must have 1 to \(PasswordQuestion.limit) bytes")
        }
        guard let plain = EVP_PKEY2PKCS8(pointer) else { throw KeyError.openSSL("encoding a key") }
        defer { PKCS8_PRIV_KEY_INFO_free(plain) }
        guard let scheme = PKCS5_pbe2_set_iv(EVP_aes_256_cbc(), Self.passwordRounds, nil, 0, nil, NID_hmacWithSHA256) else {
            throw KeyError.openSSL("choosing PBES2")
        }
        let encrypted = password.withUnsafeBytes { bytes in
            PKCS8_set0_pbe(bytes.bindMemory(to: CChar.self).baseAddress, Int32(bytes.count), plain, scheme)
        }
        guard let encrypted else {
            X509_ALGOR_free(scheme)
            throw KeyError.openSSL("encrypting a key")
        }
        defer { X509_SIG_free(encrypted) }
        guard PEM_write_bio_PKCS8(bio, encrypted) == 1 else { throw KeyError.openSSL("writing a key") }
    }

    // MARK: What the key is

    private static func normalize(_ pointer: OpaquePointer) throws -> KeyKind {
        if EVP_PKEY_is_a(pointer, "EC") == 1 {
            var buffer = [CChar](repeating: 0, count: 80)
            var length = 0
            guard EVP_PKEY_get_group_name(pointer, &buffer, buffer.count, &length) == 1 else { return .other("ec with an unnamed curve") }
            let name = String(decoding: buffer.prefix(length).map(UInt8.init(bitPattern:)), as: UTF8.self)
            guard let curve = Curve(rawValue: name) else { return .other("ec \(name)") }
            // A key written with explicit curve parameters or a compressed point is the same key; certificates name the curve
            // (RFC 5480, section 2.1.1) and hold the point uncompressed.
            guard EVP_PKEY_set_utf8_string_param(pointer, OSSL_PKEY_PARAM_EC_ENCODING, OSSL_PKEY_EC_ENCODING_GROUP) == 1,
                EVP_PKEY_set_utf8_string_param(
                    pointer, OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT, OSSL_PKEY_EC_POINT_CONVERSION_FORMAT_UNCOMPRESSED) == 1
            else { throw KeyError.openSSL("naming the curve of a key") }
            return .ec(curve)
        }
        if EVP_PKEY_is_a(pointer, "ED25519") == 1 { return .ed25519 }
        if EVP_PKEY_is_a(pointer, "RSA") == 1 { return .rsa(bits: Int(EVP_PKEY_get_bits(pointer))) }
        return .other(EVP_PKEY_get0_type_name(pointer).map { String(cString: $0) } ?? "unknown")
    }

    private static func publicKeyInfo(of pointer: OpaquePointer) throws -> [UInt8] {
        var buffer: UnsafeMutablePointer<UInt8>?
        let count = i2d_PUBKEY(pointer, &buffer)
        guard count > 0, let buffer else { throw KeyError.openSSL("encoding a public key") }
        defer { CRYPTO_free(buffer, #fileID, #line) }
        return Array(UnsafeBufferPointer(start: buffer, count: Int(count)))
    }
}

/// Hands the bytes of a memory BIO to `body`.
func contentOf<R>(_ bio: OpaquePointer, _ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R {
    var start: UnsafeMutablePointer<CChar>?
    let count = upki_bio_content(bio, &start)
    return try body(UnsafeRawBufferPointer(start: start, count: start == nil ? 0 : count))
}

/// Answers OpenSSL's question for a password, in place of its own prompt on the terminal.
final class PasswordQuestion {
    /// OpenSSL's buffer for a password (`PEM_BUFSIZE`).
    static let limit = 1024
    typealias Callback = @convention(c) (UnsafeMutablePointer<CChar>?, Int32, Int32, UnsafeMutableRawPointer?) -> Int32

    private let password: [UInt8]?
    private(set) var wasAsked = false

    init(_ password: [UInt8]?) { self.password = password }

    func withCallback<R>(_ body: (Callback, UnsafeMutableRawPointer) -> R) -> R {
        withExtendedLifetime(self) {
            body(
                { buffer, size, _, argument in
                    guard let buffer, let argument else { return -1 }
                    return Unmanaged<PasswordQuestion>.fromOpaque(argument).takeUnretainedValue().answer(buffer, size)
                }, Unmanaged.passUnretained(self).toOpaque())
        }
    }

    private func answer(_ buffer: UnsafeMutablePointer<CChar>, _ size: Int32) -> Int32 {
        wasAsked = true
        guard let password, password.count <= Int(size) else { return -1 }
        UnsafeMutableRawBufferPointer(start: buffer, count: Int(size)).copyBytes(from: password)
        return Int32(password.count)
    }
}
