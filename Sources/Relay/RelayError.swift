/// Why a relay cannot start or go on; equality is the code's.
public struct RelayError: Error, Equatable, Sendable, CustomStringConvertible {
    public enum Code: String, Sendable {
        /// Another program listens on that port.
        case portTaken
        /// The endpoint is no address of this host, needs rights, or cannot be read.
        case cannotListen
        /// Options that contradict each other or are out of range.
        case invalidOptions
        /// No thread, descriptor or memory is left, or ZeroMQ failed.
        case system
    }

    public let code: Code
    /// One line for a person, with the remedy where there is one.
    public let message: String

    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    public var description: String { message }

    public static func == (a: RelayError, b: RelayError) -> Bool { a.code == b.code }
}
