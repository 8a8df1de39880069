// The one error of this module: a code that programs act on, and the detail that the protocol's documented line is made of.

/// Why the authority refused or failed.
public struct AuthorityError: Error, Sendable, Equatable, CustomStringConvertible {
    /// What kind of refusal it is; the protocol turns each into its documented words.
    public enum Code: String, Sendable {
        /// The caller lacks the role; the detail is `<task> needs <role>`.
        case notAuthorised
        /// The seed or token is wrong.
        case invalidSeed
        /// The registration window is closed; the detail says how it is opened.
        case registrationClosed
        /// The detail is the profile's name.
        case profileNotFound
        /// The detail is the name or serial number asked for.
        case certificateNotFound
        /// The detail is the distinguished name.
        case certificateExists
        /// The detail is the distinguished name.
        case nodeIsRevoked
        /// The CSR cannot be read or its signature does not verify; the detail says why.
        case csr
        /// A rule of issuing, revoking or registering forbids it; the detail is the whole line.
        case refused
        /// A parameter has a value that no rule allows; the detail is the whole line.
        case invalidParameter
        /// Something other than a certificate does not exist; the detail is the whole line.
        case notFound
        /// Too much was asked in too short a time; the detail is the whole line.
        case busy
        /// The store failed at one change; the detail names no path and no SQL.
        case storage
        /// The store takes no change now: locked, read-only, a failing disk. Trying the changes one by one would be in vain.
        case storageUnavailable
        /// The disk is full: only what must not wait is taken, from the space set aside for it.
        case storageFull
    }

    public let code: Code
    public let detail: String
    /// What lies beneath, for the log alone.
    public let cause: String?

    public init(_ code: Code, _ detail: String, cause: String? = nil) {
        self.code = code
        self.detail = detail
        self.cause = cause
    }

    public var description: String { self.detail }

    /// Equality is the code's: tests and callers compare what happened, not its words.
    public static func == (left: AuthorityError, right: AuthorityError) -> Bool { left.code == right.code }

    /// Whether something failed, rather than a rule refusing.
    public var isFailure: Bool { self.code == .storage || self.code == .storageUnavailable || self.code == .storageFull }

    /// A refusal with a whole line of its own.
    static func refused(_ line: String) -> AuthorityError { AuthorityError(.refused, line) }
}
