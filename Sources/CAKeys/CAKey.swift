// The CA's private key: where it comes from, what it is, and what it signs.

import COpenSSL
import SwiftASN1
import Synchronization
import X509

/// A digest for a signature.
public enum Digest: String, CaseIterable, Sendable {
    case sha256
    case sha384
    case sha512
}

/// A private key that signs through OpenSSL. Any thread may use it; several may sign at the same time.
///
/// Sendable: the key handle is immutable, the contexts for signing are behind a `Mutex`.
public final class CAKey: Sendable {
    let handle: KeyHandle
    /// Contexts that no thread is using, since making one costs more than a P-256 signature. There are never more than threads that
    /// signed at one time.
    private let idleContexts = Mutex<[SigningContext]>([])

    init(_ handle: KeyHandle) { self.handle = handle }

    /// A new random key. RSA takes up to some seconds.
    ///
    /// - Throws: ``KeyError``
    public static func generate(_ type: KeyType) throws -> CAKey {
        CAKey(try KeyHandle.generate(type.kind))
    }

    /// Reads a private key from PEM: PKCS#8 (plain or encrypted), PKCS#1 or SEC 1. Never asks on a terminal.
    ///
    /// The caller wipes `pem` and `password`.
    ///
    /// - Throws: ``KeyError``: `.unreadableKey`, `.passwordNeeded`, `.wrongPassword`, `.invalidPassword`.
    public convenience init(pem: [UInt8], password: [UInt8]? = nil) throws {
        self.init(try KeyHandle.read(pem: pem, password: password))
    }

    /// The key as PKCS#8 PEM for `ca.key`; the caller wipes it.
    ///
    /// - Parameter password: encrypts (PBES2, AES-256, PBKDF2 with 600,000 rounds); 1 to 1024 bytes.
    /// - Throws: ``KeyError``
    public func pkcs8PEM(password: [UInt8]? = nil) throws -> [UInt8] {
        try handle.pkcs8PEM(password: password).copied()
    }

    /// The CA key type, nil for a key that no CA of ours may have.
    public var type: KeyType? { KeyType.allCases.first { $0.kind == handle.kind } }

    /// What the key is, for a message: `ec-p521`, `rsa-1024`.
    public var kindDescription: String { handle.kind.description }

    /// SubjectPublicKeyInfo (RFC 5280, section 4.1) as DER.
    public var subjectPublicKeyInfoDER: [UInt8] { handle.subjectPublicKeyInfo }

    /// Whether a certificate is for this key.
    ///
    /// - Throws: ``KeyError``, `.unreadableCertificate`.
    public func matches(certificateDER: [UInt8]) throws -> Bool {
        let certificate: Certificate
        do {
            certificate = try Certificate(derEncoded: certificateDER)
        } catch {
            throw KeyError(.unreadableCertificate, "The certificate cannot be read", cause: "\(error)")
        }
        return try matches(certificate)
    }

    func matches(_ certificate: Certificate) throws -> Bool {
        var serializer = DER.Serializer()
        try serializer.serialize(certificate.publicKey)
        return serializer.serializedBytes == subjectPublicKeyInfoDER
    }

    // MARK: Signing

    /// The digest used where none is named: SHA-384 for P-384, SHA-512 for P-521, else SHA-256; nil for Ed25519, which has its own.
    public var defaultDigest: Digest? {
        switch handle.kind {
        case .ec(.p384): .sha384
        case .ec(.p521): .sha512
        case .ed25519: nil
        default: .sha256
        }
    }

    /// The signature algorithm that ``sign(_:digest:)`` uses for a digest. Ed25519 ignores the digest.
    ///
    /// - Throws: ``KeyError``, `.unsupportedKey`.
    public func signatureAlgorithm(digest: Digest? = nil) throws -> Certificate.SignatureAlgorithm {
        switch (handle.kind, digest ?? defaultDigest) {
        case (.ed25519, _): .ed25519
        case (.ec, .sha256): .ecdsaWithSHA256
        case (.ec, .sha384): .ecdsaWithSHA384
        case (.ec, .sha512): .ecdsaWithSHA512
        case (.rsa, .sha256): .sha256WithRSAEncryption
        case (.rsa, .sha384): .sha384WithRSAEncryption
        case (.rsa, .sha512): .sha512WithRSAEncryption
        default: throw KeyError(.unsupportedKey, "A key of type \(handle.kind) cannot sign certificates")
        }
    }

    /// Signs a message: ECDSA (DER of r and s), RSASSA-PKCS1-v1_5, or Ed25519.
    ///
    /// - Parameter digest: nil for ``defaultDigest``; ignored by Ed25519.
    /// - Throws: ``KeyError``
    public func sign(_ message: [UInt8], digest: Digest? = nil) throws -> [UInt8] {
        try message.withUnsafeBytes { try sign($0, digest: digest) }
    }

    /// Signs the bytes of a buffer, as ``sign(_:digest:)-([UInt8],_)``.
    public func sign(_ message: UnsafeRawBufferPointer, digest: Digest? = nil) throws -> [UInt8] {
        guard let digest = digest ?? defaultDigest, handle.kind != .ed25519 else { return try signEd25519(message) }
        let context = try takeContext(digest)
        defer { giveBack(context) }
        try context.begin()
        try context.update(message)
        return try context.finish()
    }

    /// A signer for a message that comes in parts, so that a long one need not be one array. For one thread, one message.
    ///
    /// Ed25519 reads its message twice, so its signer collects the parts.
    ///
    /// - Throws: ``KeyError``
    public func makeSigner(digest: Digest? = nil) throws -> MessageSigner {
        guard let digest = digest ?? defaultDigest, handle.kind != .ed25519 else { return MessageSigner(collectingFor: self) }
        let context = try takeContext(digest)
        do {
            try context.begin()
        } catch {
            giveBack(context)
            throw error
        }
        return MessageSigner(key: self, context)
    }

    private func takeContext(_ digest: Digest) throws -> SigningContext {
        let idle = idleContexts.withLock { contexts in
            contexts.lastIndex { $0.digest == digest }.map { contexts.remove(at: $0) }
        }
        return try idle ?? SigningContext(handle, digest)
    }

    func giveBack(_ context: SigningContext) {
        idleContexts.withLock { $0.append(context) }
    }

    func signEd25519(_ message: UnsafeRawBufferPointer) throws -> [UInt8] {
        guard let context = EVP_MD_CTX_new() else { throw KeyError.openSSL("memory") }
        defer { EVP_MD_CTX_free(context) }
        var signature = [UInt8](repeating: 0, count: 64)
        var count = signature.count
        guard EVP_DigestSignInit(context, nil, nil, nil, handle.pointer) == 1,
            EVP_DigestSign(context, &signature, &count, message.bindMemory(to: UInt8.self).baseAddress, message.count) == 1,
            count == signature.count
        else { throw KeyError.openSSL("signing with Ed25519") }
        return signature
    }
}
