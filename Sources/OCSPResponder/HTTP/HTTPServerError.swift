// The error type of the HTTP server.

/// Why the server cannot serve; two errors are equal when their codes are.
package struct HTTPServerError: Error, Equatable, Sendable, CustomStringConvertible {
    package enum Code: String, Sendable {
        /// A path, user or group of the configuration that cannot be used.
        case configuration
        /// Another process listens on the socket.
        case alreadyServed
        /// The system said no.
        case system
    }

    package let code: Code
    /// One line for a person.
    package let message: String

    package init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    package var description: String { self.message }

    package static func == (left: HTTPServerError, right: HTTPServerError) -> Bool { left.code == right.code }
}
