// The CA key as swift-certificates sees it: certificates are built there and signed here.

import FoundationEssentials
import SwiftASN1
import X509

extension CAKey {
    /// This key for `Certificate(…, issuerPrivateKey:)`. Ask once and keep it: it parses the public key.
    ///
    /// It signs, and cannot be written out through X509.
    ///
    /// - Throws: ``KeyError``, `.unsupportedKey`, for a key that X509 has no type for.
    public func certificatePrivateKey() throws -> Certificate.PrivateKey {
        let algorithm = try signatureAlgorithm()
        do {
            let publicKey = try Certificate.PublicKey(derEncoded: subjectPublicKeyInfoDER)
            return Certificate.PrivateKey(IssuingKey(key: self, publicKey: publicKey, defaultSignatureAlgorithm: algorithm))
        } catch {
            throw KeyError(.unsupportedKey, "A key of type \(kindDescription) cannot issue certificates", cause: "\(error)")
        }
    }
}

private struct IssuingKey: CustomPrivateKey, CustomStringConvertible {
    let key: CAKey
    let publicKey: Certificate.PublicKey
    let defaultSignatureAlgorithm: Certificate.SignatureAlgorithm

    var description: String { "CAKey(\(key.kindDescription))" }

    var supportedSignatureAlgorithms: [Certificate.SignatureAlgorithm] {
        var algorithms: [Certificate.SignatureAlgorithm] = []
        for digest in Digest.allCases {
            guard let algorithm = try? key.signatureAlgorithm(digest: digest), !algorithms.contains(algorithm) else { continue }
            algorithms.append(algorithm)
        }
        return algorithms
    }

    func signSynchronously(
        bytes: some DataProtocol, signatureAlgorithm: Certificate.SignatureAlgorithm
    ) throws -> Certificate.Signature {
        let digest: Digest? =
            switch signatureAlgorithm {
            case .ecdsaWithSHA256, .sha256WithRSAEncryption: .sha256
            case .ecdsaWithSHA384, .sha384WithRSAEncryption: .sha384
            case .ecdsaWithSHA512, .sha512WithRSAEncryption: .sha512
            default: nil
            }
        guard try key.signatureAlgorithm(digest: digest) == signatureAlgorithm else {
            throw KeyError(.unsupportedAlgorithm, "A key of type \(key.kindDescription) cannot sign with \(signatureAlgorithm)")
        }
        return try Certificate.Signature(
            signatureAlgorithm: signatureAlgorithm, signatureBytes: ASN1BitString(bytes: try sign(bytes, digest: digest)[...]))
    }

    private func sign(_ bytes: some DataProtocol, digest: Digest?) throws -> [UInt8] {
        if let signature = try bytes.withContiguousStorageIfAvailable({ try key.sign(UnsafeRawBufferPointer($0), digest: digest) }) {
            return signature
        }
        let signer = try key.makeSigner(digest: digest)
        for region in bytes.regions {
            try region.withUnsafeBytes { try signer.update($0) }
        }
        return try signer.finish()
    }

    // MARK: X509 requires that a key can be serialized; this one refuses.

    static var defaultPEMDiscriminator: String { "PRIVATE KEY" }

    func serialize(into coder: inout DER.Serializer) throws {
        throw KeyError(.notExportable, "The CA key is not written out through X509")
    }

    static func == (left: Self, right: Self) -> Bool { left.publicKey == right.publicKey }

    func hash(into hasher: inout Hasher) { hasher.combine(publicKey) }
}
