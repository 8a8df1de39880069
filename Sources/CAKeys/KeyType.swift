// The kinds of keys: what a CA may have, what a subject may get, and what OpenSSL says a key is.

import PKI

/// The key types a CA can have. The raw value is part of the seed's derivation and of the command line.
public enum KeyType: String, CaseIterable, Sendable {
    case ecP256 = "ec-p256"
    case ecP384 = "ec-p384"
    case ed25519
    case rsa2048 = "rsa-2048"
    case rsa3072 = "rsa-3072"
    case rsa4096 = "rsa-4096"

    var kind: KeyKind {
        switch self {
        case .ecP256: .ec(.p256)
        case .ecP384: .ec(.p384)
        case .ed25519: .ed25519
        case .rsa2048: .rsa(bits: 2048)
        case .rsa3072: .rsa(bits: 3072)
        case .rsa4096: .rsa(bits: 4096)
        }
    }
}

extension SubjectKeyType {
    var kind: KeyKind {
        switch self {
        case .ecP256: .ec(.p256)
        case .ecP384: .ec(.p384)
        case .ecP521: .ec(.p521)
        case .ed25519: .ed25519
        case .rsa2048: .rsa(bits: 2048)
        case .rsa3072: .rsa(bits: 3072)
        case .rsa4096: .rsa(bits: 4096)
        }
    }
}

/// A NIST curve by OpenSSL's name for it.
package enum Curve: String, CaseIterable, Sendable {
    case p256 = "prime256v1"
    case p384 = "secp384r1"
    case p521 = "secp521r1"
}

/// What a key is.
package enum KeyKind: Equatable, Sendable, CustomStringConvertible {
    case ec(Curve)
    case ed25519
    case rsa(bits: Int)
    case other(String)

    package var description: String {
        switch self {
        case .ec(.p256): "ec-p256"
        case .ec(.p384): "ec-p384"
        case .ec(.p521): "ec-p521"
        case .ed25519: "ed25519"
        case .rsa(let bits): "rsa-\(bits)"
        case .other(let name): name
        }
    }
}
