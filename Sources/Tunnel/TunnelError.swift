// The one error type of this module.

/// Why a tunnel cannot start or go on; equality is the code's.
public struct TunnelError: Error, Equatable, Sendable, CustomStringConvertible {
    public enum Code: Sendable, Equatable {
        case invalidOptions
        /// Its own address cannot be listened on.
        case cannotListen
        case system
    }

    public let code: Code
    public let message: String

    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    public var description: String { message }

    public static func == (a: TunnelError, b: TunnelError) -> Bool { a.code == b.code }
}
