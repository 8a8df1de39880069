// How a command fails: one line for a person, and the exit code that scripts look at.

/// The end of a command that did not do what it was asked to; two errors are equal when their codes are.
public struct CommandError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The raw values are exit codes of the program.
    public enum Code: Int32, Sendable {
        /// The CA, or a check before it, said no.
        case refused = 1
        /// The command line cannot be understood.
        case usage = 2
        /// Nobody answers.
        case unreachable = 3
    }

    public let code: Code
    /// One line that names the next command where there is one; empty when another program has said it already.
    public let message: String

    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    public var description: String { message }

    public static func == (left: CommandError, right: CommandError) -> Bool { left.code == right.code }
}
