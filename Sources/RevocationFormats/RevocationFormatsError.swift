// The one error type of this module.

/// What went wrong while a CRL or an OCSP message was written or read.
///
/// The types that conform to SwiftASN1's `DERParseable` throw `ASN1Error`, as every such type does, apart from the code
/// `unsupportedCriticalExtension`, which has no counterpart there. The entry points
/// of this module (``CertificateList``, ``RevokedCertificates/Cursor``, ``CRLWriter``, ``UnsignedCRL``) throw this type;
/// an `ASN1Error` below them becomes the ``cause``.
///
/// Two errors are equal when their codes are.
public struct RevocationFormatsError: Error, Sendable, CustomStringConvertible {
    /// The kind of an error.
    public struct Code: Hashable, Sendable, CustomStringConvertible {
        private enum Kind: String {
            case malformed
            case tooManyCertIDs
            case unsupportedCriticalExtension
            case invalidField
            case invalidSerialNumber
            case timeOutOfRange
            case invalidReason
            case spillFailed
        }

        private let kind: Kind

        /// The bytes are not the DER of what RFC 5280 or RFC 6960 describes.
        public static let malformed = Self(kind: .malformed)
        /// An OCSP request asks for more certificates than are answered at once.
        public static let tooManyCertIDs = Self(kind: .tooManyCertIDs)
        /// A critical extension that this module does not process: what has it must not be used (RFC 5280 5.2 and 5.3, RFC 6960 4.4).
        public static let unsupportedCriticalExtension = Self(kind: .unsupportedCriticalExtension)
        /// A field handed in for writing is not fit for a CRL or an OCSP response.
        public static let invalidField = Self(kind: .invalidField)
        /// A serial number that is empty, zero or longer than 20 octets.
        public static let invalidSerialNumber = Self(kind: .invalidSerialNumber)
        /// A time before 1950 or after 9999.
        public static let timeOutOfRange = Self(kind: .timeOutOfRange)
        /// A reason that cannot stand in a complete CRL or an OCSP response.
        public static let invalidReason = Self(kind: .invalidReason)
        /// The place where encoded entries wait could not be written or read.
        public static let spillFailed = Self(kind: .spillFailed)

        public var description: String { self.kind.rawValue }
    }

    /// The kind of the error; the only part that counts for equality.
    public let code: Code
    /// One sentence for the log.
    public let message: String
    /// The error below, as text.
    public let cause: String?
    /// Where it was thrown.
    public let file: String
    /// Where it was thrown.
    public let line: UInt

    /// An error to compare with: only the code counts.
    package init(code: Code) {
        self.init(code, "")
    }

    init(_ code: Code, _ message: String, cause: (any Error)? = nil, file: String = #fileID, line: UInt = #line) {
        self.code = code
        self.message = message
        self.cause = cause.map { String(describing: $0) }
        self.file = file
        self.line = line
    }

    public var description: String {
        let reason = self.cause.map { " (\($0))" } ?? ""
        return "\(self.code): \(self.message)\(reason) [\(self.file):\(self.line)]"
    }
}

extension RevocationFormatsError: Hashable {
    public static func == (lhs: Self, rhs: Self) -> Bool {
        lhs.code == rhs.code
    }

    public func hash(into hasher: inout Hasher) {
        hasher.combine(self.code)
    }
}

extension RevocationFormatsError {
    /// Runs `body` and turns whatever SwiftASN1 throws into ``Code/malformed``.
    static func wrapping<Result>(_ what: @autoclosure () -> String, _ body: () throws -> Result) throws -> Result {
        do {
            return try body()
        } catch let error as RevocationFormatsError {
            throw error
        } catch {
            throw RevocationFormatsError(.malformed, "\(what()) is not valid DER of its kind", cause: error)
        }
    }
}
