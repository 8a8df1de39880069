// The one error type of this module.

/// What was refused of an enrolment string, an identity folder or an answer; equality is the code's.
public struct EnrolmentError: Error, Equatable, Sendable, CustomStringConvertible {
    public enum Code: Sendable, Equatable {
        /// The string is no enrolment string, or was damaged on its way.
        case invalidString
        /// The identity folder cannot be read, or holds something else.
        case invalidIdentity
        /// The CA certificate is not the one whose fingerprint is known.
        case otherAuthority
        /// What the CA answered is not what was asked for.
        case invalidAnswer
        case system
    }

    public let code: Code
    public let message: String

    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    public var description: String { message }

    public static func == (a: EnrolmentError, b: EnrolmentError) -> Bool { a.code == b.code }
}
