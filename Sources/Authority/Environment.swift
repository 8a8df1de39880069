// What the rules are handed from outside, so that each can be tested without a process: time, randomness, settings. Files: FileChanges.swift.

public import PKI

/// Tells the time. The wall clock is one; a test's fixed clock another.
public protocol Clock: Sendable {
    var now: UnixTime { get }
}

/// Gives random bits that nobody can predict.
public protocol RandomSource: Sendable {
    /// 128 random bits.
    func next128() -> (UInt64, UInt64)
    /// `count` random octets.
    func bytes(_ count: Int) -> [UInt8]
}

/// A key pair that the CA made for a subject.
public struct SubjectKeyPair: Sendable {
    public let privateKeyPEM: [UInt8]
    public let subjectPublicKeyInfo: [UInt8]

    public init(privateKeyPEM: [UInt8], subjectPublicKeyInfo: [UInt8]) {
        self.privateKeyPEM = privateKeyPEM
        self.subjectPublicKeyInfo = subjectPublicKeyInfo
    }
}

/// How the OCSP responder answers; ca-core passes it on, so that a reload of its configuration reaches the bridge.
public struct OCSPRules: Sendable, Equatable {
    /// What becomes of a request's nonce (RFC 9654).
    public enum Nonce: String, Sendable {
        /// The answer repeats it.
        case echo
        /// The answer has none.
        case ignore
        /// A request without one is refused.
        case require
    }

    /// Seconds from thisUpdate to nextUpdate.
    public var validity: Int64 = 12 * 3_600
    /// Seconds that HTTP caches may keep an answer.
    public var maxAge: Int64 = 300
    /// Seconds that a cached "good" is served while ca-core is away.
    public var offlineGrace: Int64 = 60
    public var nonce = Nonce.echo

    public init() {}
}

/// The settings that rules depend on; parsed and checked by whoever reads the configuration.
public struct Rules: Sendable {
    /// Who counts as a node (`clients` in the configuration).
    public enum Clients: String, Sendable {
        /// Anyone on a plain loopback listener, besides those who registered.
        case all
        /// Those who registered or were added by hand.
        case register
        /// Only those added by hand.
        case manual
    }
    /// What `unrevoke` releases.
    public enum Release: String, Sendable {
        /// Only certificateHold (RFC 5280 5.3.1).
        case hold
        /// Whatever is not a compromise, as the reference does.
        case any
    }

    public var clients: Clients = .register
    public var release: Release = .hold
    public var registrationProfiles: [String] = ["ra"]
    public var acceptSeedInClear = false
    /// Names that are never certified.
    public var blockedNames: [NamePattern] = ["localhost", "local", "*.invalid"].compactMap { NamePattern($0) }
    /// Where the CRL, OCSP responder and CA certificate are published; nil for nowhere.
    public var publicationBaseURL: String?
    /// Addresses that are nodes by configuration (`security: plain` off loopback): address to CN.
    public var fixedNodes: [String: String] = [:]
    /// How long a CRL is valid, in seconds.
    public var crlValidity: Int64 = 7 * 86_400
    public var ocsp = OCSPRules()
    /// The days of a profile are counted back by this many seconds, for clocks that are behind.
    public var backdating: Int64 = 300

    public init() {}
}
