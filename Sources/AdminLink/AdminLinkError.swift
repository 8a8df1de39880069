// The one error type of this module.

/// Why ca-core was not asked, or what it said; two errors are equal when their codes are.
public struct AdminLinkError: Error, Equatable, Sendable, CustomStringConvertible {
    public enum Code: String, Sendable {
        /// Nobody listens.
        case unreachable
        /// The socket belongs to another user.
        case notPermitted
        /// Somebody listens and does not answer in time, or went away before the answer.
        case noAnswer
        /// The other side speaks another version, or something else altogether.
        case otherVersion
        /// ca-core understood and said no; the message is its line.
        case refused
        /// A program could not be started, or its answer could not be read.
        case program
        /// The system, or libzmq, failed.
        case system
    }

    public let code: Code
    /// One line for a person.
    public let message: String

    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    public var description: String { message }

    public static func == (left: AdminLinkError, right: AdminLinkError) -> Bool { left.code == right.code }
}
