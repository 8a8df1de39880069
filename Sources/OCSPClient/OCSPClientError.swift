// The one error type of this module.

/// Why an OCSP responder was not asked, or why its answer is not to be believed; two errors are equal when their codes are.
public struct OCSPClientError: Error, Equatable, CustomStringConvertible, Sendable {
    public enum Code: String, Sendable {
        /// Nothing listens at the socket, or it may not be opened.
        case unreachable
        /// No whole answer came in time.
        case timedOut
        /// What came is no HTTP/1.1 that this client reads, or ends too early.
        case badHTTP
        /// An HTTP status other than the one that was due, or another content type.
        case httpStatus
        /// The certificate or request cannot be made a question of.
        case badQuestion
        /// An OCSP response with another status than `successful`; the message names it.
        case refused
        /// What came is no OCSP response.
        case malformed
        /// No certificate in the response that the CA made for OCSP.
        case notDelegated
        /// The response is not signed by the certificate that it names.
        case badSignature
        /// thisUpdate, nextUpdate or producedAt lie where they may not.
        case badTimes
        /// Other certificates than were asked for.
        case otherCertificate
        /// Not the nonce that was sent.
        case otherNonce
    }

    public let code: Code
    public let message: String

    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    public var description: String { message }

    public static func == (left: OCSPClientError, right: OCSPClientError) -> Bool { left.code == right.code }
}
