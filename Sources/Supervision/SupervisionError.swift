// The one error type of this module.
import Glibc

/// Why the supervisor, or a client of it, cannot do something; two errors are equal when their codes are.
public struct SupervisionError: Error, Equatable, CustomStringConvertible, Sendable {
    public enum Code: String, Sendable {
        /// The services as given cannot be run: a name, a dependency, a path or a limit is wrong.
        case badSpecification
        /// The run directory belongs to another user, is writable by others or cannot be made.
        case badRunDirectory
        /// Another supervisor holds the run directory.
        case alreadyRunning
        /// A system call failed that the supervisor cannot do without.
        case systemCall
        /// Nothing answers at the control socket.
        case unreachable
        /// No answer came in time.
        case timedOut
        /// The supervisor understood and said no, or what was asked did not come about.
        case refused
        /// A message that is not of the form that ControlMessage.swift describes.
        case malformedMessage
    }

    public let code: Code
    public let message: String

    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    /// The error for a call that returned `-errno`.
    static func systemCall(_ name: String, _ result: Int32, code: Code = .systemCall) -> SupervisionError {
        SupervisionError(code, "\(name): \(errorText(-result))")
    }

    public var description: String { message }

    public static func == (left: SupervisionError, right: SupervisionError) -> Bool { left.code == right.code }
}

/// What strerror(3) says about an errno value.
func errorText(_ number: Int32) -> String { String(cString: strerror(number)) }
