// Which type of CA key a certificate has, as far as its public key tells.

import CAKeys
import Crypto
import PKI
import SwiftASN1
import X509

enum AuthorityKeyMatch {
    /// Whether a certificate's key can be of this type, so that a slow derivation is worth it.
    static func mayBe(_ type: KeyType, _ key: Certificate.PublicKey) -> Bool { self.name(key) == type.rawValue }

    /// `ec-p256`, `ec-p384`, `ed25519` or `rsa-<bits>`.
    static func name(_ key: Certificate.PublicKey) -> String {
        if P256.Signing.PublicKey(key) != nil { return "ec-p256" }
        if P384.Signing.PublicKey(key) != nil { return "ec-p384" }
        if Curve25519.Signing.PublicKey(key) != nil { return "ed25519" }
        var serializer = DER.Serializer()
        guard (try? serializer.serialize(key)) != nil else { return "unknown" }
        // SubjectPublicKeyInfo of RSA with e = 65537: 38 octets around the modulus for 2048 bits and more.
        return "rsa-\((serializer.serializedBytes.count - 38) / 32 * 256)"
    }
}
