// How an OCSP request names a certificate.

/// How a CertID names its hash: with NULL parameters, as OpenSSL, GnuTLS and NSS send it, or with none. Raw values are stable.
public enum OCSPCertIDForm: UInt8, Sendable, CaseIterable {
    case sha1 = 0
    case sha1WithoutParameters = 1
    case sha256 = 2
    case sha256WithoutParameters = 3

    /// The DER of the AlgorithmIdentifier: 1.3.14.3.2.26 or 2.16.840.1.101.3.4.2.1.
    var algorithm: [UInt8] {
        switch self {
        case .sha1: [0x30, 0x09] + Self.sha1Identifier + Self.null
        case .sha1WithoutParameters: [0x30, 0x07] + Self.sha1Identifier
        case .sha256: [0x30, 0x0D] + Self.sha256Identifier + Self.null
        case .sha256WithoutParameters: [0x30, 0x0B] + Self.sha256Identifier
        }
    }

    private static let sha1Identifier: [UInt8] = [0x06, 0x05, 0x2B, 0x0E, 0x03, 0x02, 0x1A]
    private static let sha256Identifier: [UInt8] = [0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01]
    private static let null: [UInt8] = [0x05, 0x00]

    /// The form of an AlgorithmIdentifier; nil for another algorithm, and for one of these with other parameters.
    init?(algorithm range: Range<Int>, in bytes: Span<UInt8>) {
        let algorithms = Self.algorithms
        guard let form = Self.allCases.first(where: { bytes.holds(algorithms[Int($0.rawValue)], in: range) }) else { return nil }
        self = form
    }

    /// By raw value.
    private static let algorithms = Self.allCases.map(\.algorithm)

    /// Whether the hashes are those of SHA-1.
    var isSHA1: Bool { self == .sha1 || self == .sha1WithoutParameters }
}

/// A CertID is defined in RFC 6960 4.1.1 as:
///
/// ```
/// CertID          ::=     SEQUENCE {
///     hashAlgorithm       AlgorithmIdentifier,
///     issuerNameHash      OCTET STRING, -- Hash of issuer's DN
///     issuerKeyHash       OCTET STRING, -- Hash of issuer's public key
///     serialNumber        CertificateSerialNumber }
/// ```
public struct OCSPCertID: Sendable, Hashable {
    /// nil for another hash algorithm.
    public var form: OCSPCertIDForm?
    /// The whole CertID as it came, for the response to repeat.
    public var der: [UInt8]
    public var issuerNameHash: [UInt8]
    public var issuerKeyHash: [UInt8]
    /// The content octets of the INTEGER as they came: at least one, in the fewest octets. Zero, negative and long numbers are possible.
    public var serialNumber: [UInt8]

    /// The serial number where a certificate can have it; nil for zero, a negative number, and one of more than 20 octets.
    public var serial: OCSPSerial? {
        OCSPSerial(integer: 0..<self.serialNumber.count, in: self.serialNumber.span)
    }

    /// The most octets of a hash (SHA-512) and of a serial number; more are refused.
    static let longestPart = 64

    /// The CertID of a certificate.
    ///
    /// - parameter serialNumber: Its magnitude, big-endian; it is made a minimal positive INTEGER.
    public init(form: OCSPCertIDForm, issuer: OCSPIssuer, serialNumber: [UInt8]) {
        let magnitude = serialNumber.drop { $0 == 0 }
        let needsZeroOctet = (magnitude.first ?? 0x80) & 0x80 != 0
        let integer = (needsZeroOctet ? [0] : []) + magnitude
        let hashes = issuer.hashes(form)
        self.form = form
        self.issuerNameHash = hashes.name
        self.issuerKeyHash = hashes.key
        self.serialNumber = integer
        let content =
            form.algorithm + derHeader(DERTag.octetString, contentByteCount: hashes.name.count) + hashes.name
            + derHeader(DERTag.octetString, contentByteCount: hashes.key.count) + hashes.key
            + derHeader(DERTag.integer, contentByteCount: integer.count) + integer
        self.der = derHeader(DERTag.sequence, contentByteCount: content.count) + content
    }

    /// Reads the CertID that `member` is.
    init(_ member: DERReader.Member, in bytes: Span<UInt8>) throws(RevocationFormatsError) {
        var fields = DERReader(member.content)
        let algorithm = try fields.next(DERTag.sequence, "hashAlgorithm", in: bytes)
        let nameHash = try fields.next(DERTag.octetString, "issuerNameHash", in: bytes)
        let keyHash = try fields.next(DERTag.octetString, "issuerKeyHash", in: bytes)
        let serialNumber = try fields.next(DERTag.integer, "serialNumber", in: bytes)
        try fields.requireEnd("a CertID")

        var parts = DERReader(algorithm.content)
        _ = try parts.nextObjectIdentifier("a hash algorithm", in: bytes)
        if !parts.isAtEnd { _ = try parts.next(in: bytes) }
        try parts.requireEnd("hashAlgorithm")

        for part in [nameHash, keyHash] where !(1...Self.longestPart).contains(part.content.count) {
            throw RevocationFormatsError(.malformed, "a hash has \(part.content.count) octets")
        }
        try Self.requireInteger(serialNumber.content, in: bytes)

        self.form = OCSPCertIDForm(algorithm: algorithm.encoded, in: bytes)
        self.der = bytes.copy(member.encoded)
        self.issuerNameHash = bytes.copy(nameHash.content)
        self.issuerKeyHash = bytes.copy(keyHash.content)
        self.serialNumber = bytes.copy(serialNumber.content)
    }

    /// Throws unless these are the content octets of an INTEGER in the fewest octets (X.690 8.3.2), and not too many.
    private static func requireInteger(_ content: Range<Int>, in bytes: Span<UInt8>) throws(RevocationFormatsError) {
        guard (1...Self.longestPart).contains(content.count) else {
            throw RevocationFormatsError(.malformed, "a serial number has \(content.count) octets")
        }
        guard content.count > 1 else { return }
        let first = bytes[content.lowerBound]
        let second = bytes[content.lowerBound + 1]
        guard !(first == 0 && second & 0x80 == 0), !(first == 0xFF && second & 0x80 != 0) else {
            throw RevocationFormatsError(.malformed, "a serial number is not encoded in the fewest octets")
        }
    }
}

extension DERReader {
    /// The next member, which must be an object identifier in the fewest octets (X.690 8.19.2).
    mutating func nextObjectIdentifier(_ what: StaticString, in bytes: Span<UInt8>) throws(RevocationFormatsError) -> Member {
        let member = try self.next(DERTag.objectIdentifier, what, in: bytes)
        var begins = true
        for index in member.content {
            if begins, bytes[index] == 0x80 {
                throw RevocationFormatsError(.malformed, "the identifier of \(what) is not encoded in the fewest octets")
            }
            begins = bytes[index] & 0x80 == 0
        }
        guard begins, (1...64).contains(member.content.count) else {
            throw RevocationFormatsError(.malformed, "the identifier of \(what) is empty, cut off or too long")
        }
        return member
    }
}
