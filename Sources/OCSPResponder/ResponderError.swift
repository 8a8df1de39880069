// The one error type of this module.

/// Why the responder cannot start or go on; equality is the code's.
package struct ResponderError: Error, Equatable, Sendable, CustomStringConvertible {
    package enum Code: String, Sendable {
        /// Options that contradict each other or are out of range.
        case invalidOptions
        /// A certificate, answer or file of ca-core is not what it should be.
        case invalidAnswer
        /// A response cannot be made or signed.
        case signing
        /// No thread, descriptor or memory is left, or ZeroMQ failed.
        case system
    }

    package let code: Code
    /// One line for a person, with the remedy where there is one.
    package let message: String

    package init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    package var description: String { message }

    package static func == (a: ResponderError, b: ResponderError) -> Bool { a.code == b.code }
}
