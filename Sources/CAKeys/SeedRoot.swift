// What follows from a seed: CA keys, registration tokens, CURVE secrets, the audit key.

import COpenSSL

/// The documented ports by which the seed tells its two CURVE secrets apart, whatever ports are configured.
public enum CurvePort: Int, CaseIterable, Sendable {
    case core = 5000
    case registrar = 5001
}

/// The scrypt of a seed, from which everything is derived by HKDF-Expand (RFC 5869). Zeroed when it is released.
public final class SeedRoot: Sendable {
    private let root: SecretBytes

    /// Runs scrypt (RFC 7914) with N = 2¹⁷, r = 8, p = 1: about 0.3 s and 128 MiB, so never on a thread that others wait for.
    ///
    /// - Throws: ``KeyError``, `.openSSL` when there is not enough memory.
    public init(_ seed: Seed) throws {
        root = try Self.scrypt(seed.bytes)
    }

    /// `upkireg_` and 43 characters; `n` counts rotations from 0.
    public func registrationToken(_ n: UInt32) throws -> String {
        RegistrationToken.prefix + base64URL(try expand("registration-token/\(n)", count: 32))
    }

    /// The CA's key of a type; `generation` counts from 0. RSA takes up to some seconds.
    ///
    /// - Throws: ``KeyError``
    public func caKey(_ type: KeyType, generation: UInt32 = 0) throws -> CAKey {
        let label = "ca-key/\(type.rawValue)/\(generation)"
        switch type.kind {
        case .ed25519:
            return CAKey(try KeyHandle.ed25519(seed: expand(label, count: 32)))
        case .ec(let curve):
            return CAKey(try DeterministicKeyGeneration.ecKey(curve, seed: expand(label, count: 48)))
        case .rsa(let bits):
            return CAKey(try DeterministicKeyGeneration.rsaKey(bits: bits, seed: expand(label, count: 48)))
        case .other(let name):
            throw KeyError(.unsupportedKey, "Keys of type \(name) cannot be derived")
        }
    }

    /// The 32 bytes of a Curve25519 secret key for a port's CURVE; the caller wipes them.
    public func curveSecret(_ port: CurvePort, _ n: UInt32) throws -> [UInt8] {
        try expand("curve/\(port.rawValue)/\(n)", count: 32).copied()
    }

    /// The 32 bytes of the Ed25519 private key (RFC 8032) that signs audit checkpoints; the caller wipes them.
    public func auditKeySeed() throws -> [UInt8] {
        try expand("audit/0", count: 32).copied()
    }

    /// The key that signs audit checkpoints, from ``auditKeySeed()``.
    public func auditKey() throws -> CAKey {
        CAKey(try KeyHandle.ed25519(seed: expand("audit/0", count: 32)))
    }

    /// SHA-256 of the root, for the known-answer tests.
    package func rootFingerprint() throws -> [UInt8] {
        var bytes = root.copied()
        defer { wipe(&bytes) }
        return try sha256(bytes)
    }

    private func expand(_ label: String, count: Int) throws -> SecretBytes {
        try hkdfExpand(root, info: "upki-ca/v1/" + label, count: count)
    }

    private static func scrypt(_ password: SecretBytes) throws -> SecretBytes {
        guard let algorithm = EVP_KDF_fetch(nil, "SCRYPT", nil), let context = EVP_KDF_CTX_new(algorithm) else {
            throw KeyError.openSSL("no scrypt")
        }
        defer {
            EVP_KDF_CTX_free(context)
            EVP_KDF_free(algorithm)
        }
        let parameters = ParameterList()
        parameters.add(OSSL_KDF_PARAM_PASSWORD, octets: password)
        parameters.add(OSSL_KDF_PARAM_SALT, octets: Array("upki-ca/seed/v1".utf8))
        parameters.add(OSSL_KDF_PARAM_SCRYPT_N, integer: 1 << 17)
        parameters.add(OSSL_KDF_PARAM_SCRYPT_R, integer: 8)
        parameters.add(OSSL_KDF_PARAM_SCRYPT_P, integer: 1)
        return try SecretBytes(count: 32) { output in
            let result = parameters.withPointer {
                EVP_KDF_derive(context, output.bindMemory(to: UInt8.self).baseAddress, output.count, $0)
            }
            guard result == 1 else { throw KeyError.openSSL("scrypt, which needs 128 MiB of memory") }
        }
    }
}
