// The one error type of this module.
import Glibc

/// What went wrong in a supervised program's own part of supervision; two errors are equal when their codes are.
public struct SupervisedError: Error, Equatable, CustomStringConvertible, Sendable {
    public enum Code: String, Sendable {
        /// `UPKI_SUPERVISED` does not have the form that the supervisor writes.
        case malformedVariable
        /// The kernel refused to change user, or the change did not take.
        case cannotChangeUser
        /// The supervisor was gone before this process could ask to end with it.
        case supervisorGone
        /// What a service manager handed over is no listening socket.
        case notListening
        /// A system call failed that this module cannot do without.
        case systemCall
    }

    public let code: Code
    public let message: String

    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    /// The error for a call that returned `-errno`.
    static func systemCall(_ name: String, _ result: Int32, code: Code = .systemCall) -> SupervisedError {
        SupervisedError(code, "\(name): \(String(cString: strerror(-result)))")
    }

    public var description: String { message }

    public static func == (left: SupervisedError, right: SupervisedError) -> Bool { left.code == right.code }
}
