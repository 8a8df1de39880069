// What a tunnel is started with, and what it says while it runs.

public import Enrolment

/// How a tunnel runs.
public struct TunnelOptions: Sendable {
    /// The address of this host's loopback on which the RA asks.
    public var address: String
    /// The front's port here; the registrar's is the next one, as the RA expects.
    public var port: Int
    /// The folder of the node.
    public var directory: String
    /// What to register with; nil for a node that is registered.
    public var enrolment: EnrolmentString?
    /// Where the RA keeps `ra.crt`, so that a renewed certificate gets there; nil where nobody wants it.
    public var registrationAuthorityDirectory: String?

    /// How long a request may take before the tunnel answers for the CA, in milliseconds: the RA's own patience is 5 s.
    public var requestDeadline = 3_600
    /// Requests that may be open at a time, and their bytes.
    public var maximumOpenRequests = 2_000
    public var maximumOpenBytes = 32 << 20
    public var maximumFrameBytes = 1 << 20
    /// The first pause after a lost or failed connection, in milliseconds; it doubles up to `longestPause`.
    public var firstPause = 100
    public var longestPause = 5_000
    /// How long one server may take for the handshake, in milliseconds.
    public var handshakePatience = 3_000
    /// How long open requests may still be answered after the tunnel was told to stop, in milliseconds.
    public var drainTime = 3_800
    /// How long the registrar's port stays after the RA was answered, in milliseconds: the answer may have been lost.
    public var handoverTime = 300_000
    /// The share of a certificate's life after which it is renewed.
    public var renewalShare = 2.0 / 3.0
    /// How often the worker looks whether something is due, in milliseconds.
    public var lookInterval = 60_000
    /// How often the CA is asked for its next keys, in seconds.
    public var keysInterval: Int64 = 86_400

    public init(address: String = "127.0.0.1", port: Int = 5_000, directory: String, enrolment: EnrolmentString? = nil) {
        self.address = address
        self.port = port
        self.directory = directory
        self.enrolment = enrolment
    }
}

/// How grave a line is.
public enum TunnelLogLevel: String, Sendable {
    case debug, info, warning, error
}

public typealias TunnelLog = @Sendable (_ level: TunnelLogLevel, _ line: String) -> Void
