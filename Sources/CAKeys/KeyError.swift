// The one error type of this module.

import COpenSSL

/// What is wrong with a seed, a key, a password or a certificate to import.
///
/// Two errors are equal when their codes are. No message holds a seed, a password or key material.
public struct KeyError: Error, Equatable, CustomStringConvertible, Sendable {
    public enum Code: Sendable, Equatable {
        /// The seed is empty, not UTF-8 or holds a NUL.
        case invalidSeed
        /// The seed is too short or too uniform.
        case weakSeed
        /// No private key could be read.
        case unreadableKey
        /// The key is encrypted and no password was given.
        case passwordNeeded
        /// The key is encrypted with another password.
        case wrongPassword
        /// The key is encrypted in the old PEM form, whose one round of MD5 protects nothing.
        case weakEncryption
        /// A password that cannot be used.
        case invalidPassword
        /// The key's kind, curve or size is not allowed for its purpose.
        case unsupportedKey
        /// A signature algorithm that the key cannot make.
        case unsupportedAlgorithm
        /// No certificate could be read.
        case unreadableCertificate
        /// Key and certificate do not belong together.
        case keyMismatch
        /// The certificate's notAfter has passed.
        case expired
        /// The certificate's notBefore has not come.
        case notYetValid
        /// The certificate is not a CA's, or not one this program can issue under.
        case notAuthority
        /// The certificate's key usage lacks keyCertSign or cRLSign.
        case keyUsage
        /// The CA key does not leave through this interface.
        case notExportable
        /// OpenSSL refused a call that should have worked.
        case openSSL
    }

    public let code: Code
    /// One line for a person.
    public let message: String
    /// OpenSSL's last words, for the log.
    public let cause: String?
    public let file: String
    public let line: Int

    public init(_ code: Code, _ message: String, cause: String? = nil, file: String = #fileID, line: Int = #line) {
        self.code = code
        self.message = message
        self.cause = cause
        self.file = file
        self.line = line
    }

    public static func == (left: Self, right: Self) -> Bool { left.code == right.code }

    public var description: String { cause.map { "\(message) (\($0))" } ?? message }

    /// Takes the newest entry off OpenSSL's error queue of this thread and empties the queue.
    static func takeOpenSSLCause() -> String? {
        let number = ERR_peek_last_error()
        ERR_clear_error()
        guard number != 0, let reason = ERR_reason_error_string(number) else { return nil }
        return String(cString: reason)
    }

    static func openSSL(_ action: String, file: String = #fileID, line: Int = #line) -> Self {
        Self(.openSSL, "OpenSSL failed: \(action)", cause: takeOpenSSLCause(), file: file, line: line)
    }
}
