// The one error type of this module.

/// What became of a question to a CA over CURVE; equality is the code's.
public struct NodeLinkError: Error, Equatable, Sendable, CustomStringConvertible {
    public enum Code: Sendable, Equatable {
        /// Nobody answers at any of the addresses.
        case unreachable
        /// Who answers does not hold the key that is expected, or speaks no CURVE.
        case otherServer
        /// No answer in time: what was asked may still take effect.
        case noAnswer
        /// The CA's own refusal, in its words.
        case refused
        /// What came is no answer of this protocol.
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

    public static func == (a: NodeLinkError, b: NodeLinkError) -> Bool { a.code == b.code }
}
