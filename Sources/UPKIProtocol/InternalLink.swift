// The header of every message between a relay and ca-core: version, kind, request id, time of arrival, proven identity.

/// What a relay can prove about the peer that a request came from.
public enum ProvenIdentity: Sendable, Hashable {
    /// Nothing; the relay's own requests have none either.
    case none
    /// The peer's numeric address, on a listener without CURVE.
    case plain(address: String)
    /// The peer's long-term CURVE public key in Z85, 40 characters.
    case curve(key: String)
}

/// Why the header of an internal message was not understood; equality is the code's.
public struct InternalLinkError: Error, Equatable, Sendable, CustomStringConvertible {
    public enum Code: String, Sendable {
        /// Too short, too long, or an identity of no known form.
        case malformed
        /// The other side speaks another version of the link.
        case otherVersion
        /// A kind that this version does not have.
        case unknownKind
    }

    public let code: Code
    public let message: String

    init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    public var description: String { message }

    public static func == (a: InternalLinkError, b: InternalLinkError) -> Bool { a.code == b.code }
}

/// The internal link between a relay (DEALER) and ca-core (ROUTER): messages of two frames, a header and a payload.
///
/// Bytes 0 to 9 of a header mean the same in every version, both ways: version, kind, and the request id, big endian.
public enum InternalLink {
    /// The version spoken here.
    public static let version: UInt8 = 1
    /// The program protocol that `hello` names in its payload.
    public static let protocolVersion: Int64 = 1
    /// A header is never longer: 18 bytes and the longest identity.
    public static let longestHeader = 18 + longestIdentity

    private static let longestIdentity = 96

    /// The header of a message to the core.
    public struct RequestHeader: Sendable, Equatable {
        public enum Kind: UInt8, Sendable {
            /// The first message of a connection; its payload is the request `hello`.
            case hello = 0
            /// A peer's request, or one of the relay itself.
            case request = 1
            /// Nothing more comes on this connection: the answer to the core's `goingAway`. No payload, no answer.
            case goodbye = 2
        }

        public var kind: Kind
        /// Chosen by the relay; the answer repeats it.
        public var id: UInt64
        /// When the request reached the relay: CLOCK_MONOTONIC in nanoseconds, which all processes of a host share.
        public var arrival: UInt64
        public var identity: ProvenIdentity

        public init(kind: Kind, id: UInt64, arrival: UInt64, identity: ProvenIdentity) {
            self.kind = kind
            self.id = id
            self.arrival = arrival
            self.identity = identity
        }

        public var encoded: [UInt8] {
            var bytes: [UInt8] = []
            bytes.reserveCapacity(18 + 48)
            bytes.append(InternalLink.version)
            bytes.append(kind.rawValue)
            InternalLink.append(id, to: &bytes)
            InternalLink.append(arrival, to: &bytes)
            switch identity {
            case .none: break
            case .plain(let address):
                bytes.append(contentsOf: "plain ".utf8)
                bytes.append(contentsOf: address.utf8)
            case .curve(let key):
                bytes.append(contentsOf: "curve ".utf8)
                bytes.append(contentsOf: key.utf8)
            }
            return bytes
        }

        /// - Throws: `.malformed`, `.otherVersion` (then ``InternalLink/requestID(of:)`` still tells the id), `.unknownKind`.
        public init(decoding bytes: [UInt8]) throws(InternalLinkError) {
            guard bytes.count >= 18, bytes.count <= InternalLink.longestHeader else {
                throw InternalLinkError(.malformed, "a header of \(bytes.count) bytes")
            }
            guard bytes[0] == InternalLink.version else {
                throw InternalLinkError(.otherVersion, "link version \(bytes[0]), this program speaks \(InternalLink.version)")
            }
            guard let kind = Kind(rawValue: bytes[1]) else { throw InternalLinkError(.unknownKind, "kind \(bytes[1])") }
            self.kind = kind
            id = InternalLink.number(in: bytes, at: 2)
            arrival = InternalLink.number(in: bytes, at: 10)
            identity = try InternalLink.identity(in: bytes[18...])
        }
    }

    /// The header of a message from the core.
    public struct AnswerHeader: Sendable, Equatable {
        public enum Kind: UInt8, Sendable {
            case helloAnswer = 0
            case answer = 1
            /// The core does not serve the version of the message with this id; the payload is a refusal with one line.
            case refusedVersion = 2
            /// The core ends soon: what has been sent is still answered, what comes later waits for the next core. Its id is 0, no payload.
            case goingAway = 3
        }

        /// The sender's version; another than ours only with `.refusedVersion`.
        public var version: UInt8
        public var kind: Kind
        public var id: UInt64

        public init(kind: Kind, id: UInt64, version: UInt8 = InternalLink.version) {
            self.version = version
            self.kind = kind
            self.id = id
        }

        public var encoded: [UInt8] {
            var bytes: [UInt8] = []
            bytes.reserveCapacity(10)
            bytes.append(version)
            bytes.append(kind.rawValue)
            InternalLink.append(id, to: &bytes)
            return bytes
        }

        /// - Throws: `.malformed`, `.otherVersion`, `.unknownKind`. A refusal is understood in every version.
        public init(decoding bytes: [UInt8]) throws(InternalLinkError) {
            guard bytes.count >= 10 else { throw InternalLinkError(.malformed, "a header of \(bytes.count) bytes") }
            let refusal = bytes[1] == Kind.refusedVersion.rawValue
            guard refusal || bytes[0] == InternalLink.version else {
                throw InternalLinkError(.otherVersion, "link version \(bytes[0]), this program speaks \(InternalLink.version)")
            }
            guard refusal || bytes.count == 10 else { throw InternalLinkError(.malformed, "a header of \(bytes.count) bytes") }
            guard let kind = Kind(rawValue: bytes[1]) else { throw InternalLinkError(.unknownKind, "kind \(bytes[1])") }
            version = bytes[0]
            self.kind = kind
            id = InternalLink.number(in: bytes, at: 2)
        }
    }

    /// The request id in a header of any version, for refusing it; nil when it is too short to hold one.
    public static func requestID(of header: [UInt8]) -> UInt64? {
        header.count >= 10 ? number(in: header, at: 2) : nil
    }

    /// The identity of a peer at a numeric address as a socket reports it: an IPv4 address mapped into IPv6 is the IPv4 one.
    /// `.none` for what is no address, so that it can never be taken for somebody.
    public static func plainIdentity(peerAddress: String) -> ProvenIdentity {
        let mapped = "::ffff:"
        let address = peerAddress.hasPrefix(mapped) && peerAddress.contains(".") ? String(peerAddress.dropFirst(mapped.count)) : peerAddress
        return isAddress(Array(address.utf8)[...]) ? .plain(address: address) : .none
    }

    private static func identity(in bytes: ArraySlice<UInt8>) throws(InternalLinkError) -> ProvenIdentity {
        if bytes.isEmpty { return .none }
        let value = bytes.dropFirst(6)
        if bytes.starts(with: "plain ".utf8), isAddress(value) { return .plain(address: String(decoding: value, as: UTF8.self)) }
        if bytes.starts(with: "curve ".utf8), value.count == 40, value.allSatisfy(isZ85) {
            return .curve(key: String(decoding: value, as: UTF8.self))
        }
        throw InternalLinkError(.malformed, "an identity of no known form")
    }

    /// IPv4, or IPv6 with a zone: digits, letters and their separators; the exact grammar is the kernel's, which wrote it.
    private static func isAddress(_ bytes: ArraySlice<UInt8>) -> Bool {
        guard (2...(longestIdentity - 6)).contains(bytes.count) else { return false }
        return bytes.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"): true
            case UInt8(ascii: "."), UInt8(ascii: ":"), UInt8(ascii: "%"), UInt8(ascii: "-"), UInt8(ascii: "_"): true
            default: false
            }
        }
    }

    /// The alphabet of ZeroMQ's RFC 32.
    private static func isZ85(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"): true
        default: ".-:+=^!/*?&<>()[]{}@%$#".utf8.contains(byte)
        }
    }

    private static func append(_ number: UInt64, to bytes: inout [UInt8]) {
        for shift in stride(from: 56, through: 0, by: -8) { bytes.append(UInt8(truncatingIfNeeded: number >> UInt64(shift))) }
    }

    /// Callers have checked that eight bytes are there.
    private static func number(in bytes: [UInt8], at offset: Int) -> UInt64 {
        bytes[offset..<offset + 8].reduce(0) { $0 << 8 | UInt64($1) }
    }
}
