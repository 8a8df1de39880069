// Key pairs that the CA makes for others.

public import PKI

/// A key pair for a subject whose key the CA makes. Its memory is overwritten when it is released.
public struct SubjectKey: Sendable {
    private let handle: KeyHandle
    public let type: SubjectKeyType

    /// A new random key pair. RSA takes up to some seconds: have those made ahead, on a thread of their own.
    ///
    /// - Throws: ``KeyError``
    public static func generate(_ type: SubjectKeyType) throws -> SubjectKey {
        SubjectKey(handle: try KeyHandle.generate(type.kind), type: type)
    }

    /// SubjectPublicKeyInfo (RFC 5280, section 4.1) as DER.
    public var subjectPublicKeyInfoDER: [UInt8] { handle.subjectPublicKeyInfo }

    /// The key as PKCS#8 PEM; the caller wipes it.
    ///
    /// - Parameter password: encrypts (PBES2, AES-256, PBKDF2 with 600,000 rounds); 1 to 1024 bytes.
    /// - Throws: ``KeyError``
    public func pkcs8PEM(password: [UInt8]? = nil) throws -> [UInt8] {
        try handle.pkcs8PEM(password: password).copied()
    }

    /// Hands the PKCS#8 PEM to `body` in memory that is overwritten afterwards.
    ///
    /// - Throws: ``KeyError``, or what `body` throws.
    public func withPKCS8PEM<R>(_ body: (UnsafeRawBufferPointer) throws -> R) throws -> R {
        try handle.pkcs8PEM(password: nil).withUnsafeBytes(body)
    }
}
