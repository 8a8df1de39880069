// The one error type of this module.

/// What went wrong with the service manager; two errors are equal when their codes are.
public struct SystemdBusError: Error, Equatable, CustomStringConvertible, Sendable {
    public enum Code: String, Sendable {
        /// No manager, or no bus to it.
        case unreachable
        /// The manager does not let this user do it.
        case notPermitted
        /// There is no such unit.
        case noSuchUnit
        /// The job was not done.
        case failed
        /// It was not done in time.
        case timedOut
    }

    public let code: Code
    public let message: String

    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    public var description: String { message }

    public static func == (left: SystemdBusError, right: SystemdBusError) -> Bool { left.code == right.code }
}
