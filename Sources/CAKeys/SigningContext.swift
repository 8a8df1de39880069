// OpenSSL's contexts for one digest and one key, kept so that a signature costs no set-up.

import COpenSSL

/// Hashes a message and signs the digest.
///
/// The digest is signed by `EVP_PKEY_sign` instead of the whole by `EVP_DigestSign`: its context serves again without a new fetch and
/// copy of the key, and a key in a PKCS#11 token may know nothing but signing digests.
///
/// Sendable: whoever uses a context took it out of its key's list of idle ones under the list's lock, so it has one user at a time.
final class SigningContext: @unchecked Sendable {
    let digest: Digest
    private let algorithm: OpaquePointer
    private let hash: OpaquePointer
    private let signing: OpaquePointer
    /// Keeps the key alive as long as contexts point to it.
    private let key: KeyHandle

    init(_ key: KeyHandle, _ digest: Digest) throws {
        guard let algorithm = EVP_MD_fetch(nil, digest.rawValue, nil) else { throw KeyError.openSSL("no \(digest.rawValue)") }
        guard let hash = EVP_MD_CTX_new() else {
            EVP_MD_free(algorithm)
            throw KeyError.openSSL("memory")
        }
        guard let signing = EVP_PKEY_CTX_new_from_pkey(nil, key.pointer, nil) else {
            EVP_MD_CTX_free(hash)
            EVP_MD_free(algorithm)
            throw KeyError.openSSL("preparing a signature")
        }
        self.digest = digest
        self.algorithm = algorithm
        self.hash = hash
        self.signing = signing
        self.key = key
        // From here on deinit frees.
        guard EVP_PKEY_sign_init(signing) == 1 else { throw KeyError.openSSL("preparing a signature") }
        switch key.kind {
        case .rsa:
            guard EVP_PKEY_CTX_set_rsa_padding(signing, RSA_PKCS1_PADDING) == 1 else { throw KeyError.openSSL("choosing the padding") }
        case .ec:
            break
        case .ed25519, .other:
            throw KeyError(.unsupportedKey, "A key of type \(key.kind) does not sign digests")
        }
        guard EVP_PKEY_CTX_set_signature_md(signing, algorithm) == 1 else { throw KeyError.openSSL("choosing the digest") }
    }

    deinit {
        EVP_PKEY_CTX_free(signing)
        EVP_MD_CTX_free(hash)
        EVP_MD_free(algorithm)
    }

    /// Forgets what was hashed before.
    func begin() throws {
        guard EVP_DigestInit_ex2(hash, algorithm, nil) == 1 else { throw KeyError.openSSL("starting a digest") }
    }

    func update(_ part: UnsafeRawBufferPointer) throws {
        guard EVP_DigestUpdate(hash, part.baseAddress, part.count) == 1 else { throw KeyError.openSSL("digesting") }
    }

    func finish() throws -> [UInt8] {
        try withUnsafeTemporaryAllocation(byteCount: Int(EVP_MAX_MD_SIZE), alignment: 1) { buffer in
            let value = buffer.bindMemory(to: UInt8.self).baseAddress
            var valueCount: UInt32 = 0
            guard EVP_DigestFinal_ex(hash, value, &valueCount) == 1 else { throw KeyError.openSSL("finishing a digest") }
            let room = Int(EVP_PKEY_get_size(key.pointer))
            return try [UInt8](unsafeUninitializedCapacity: room) { signature, count in
                var length = room
                guard EVP_PKEY_sign(signing, signature.baseAddress, &length, value, Int(valueCount)) == 1 else {
                    throw KeyError.openSSL("signing")
                }
                count = length
            }
        }
    }
}
