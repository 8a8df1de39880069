// Registration tokens: the text that an RA shows to be registered.

/// The shape of a registration token: `upkireg_` and the base64url of 32 bytes.
public struct RegistrationToken: Sendable {
    /// What every token begins with, and no seed is tried that does.
    public static let prefix = "upkireg_"

    /// Whether a text claims to be a token: then it is compared by its hash and never costs a scrypt.
    public static func hasPrefix(_ text: String) -> Bool { text.utf8.starts(with: prefix.utf8) }

    /// SHA-256 of the token's text, 32 bytes: what is kept at rest.
    ///
    /// - Throws: ``KeyError`` if OpenSSL fails.
    public static func hash(_ token: String) throws -> [UInt8] { try sha256(Array(token.utf8)) }

    /// A new one-time token in the shape of the derived ones.
    ///
    /// - Throws: ``KeyError`` if the system gives no random bytes.
    public static func random() throws -> String { prefix + base64URL(try SecretBytes.random(count: 32)) }
}
