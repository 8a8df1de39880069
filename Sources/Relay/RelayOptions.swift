// What a relay is told: where it listens, to whom it relays, and its bounds.
public import Supervised
import UPKIProtocol

/// How important a line of the log is.
public enum RelayLogLevel: String, Sendable {
    case debug, info, warning, error
}

/// Where the lines go that a relay has to say; called from one thread at a time, never from the one that does the relaying.
public typealias RelayLog = @Sendable (RelayLogLevel, String) -> Void

/// One place where a relay listens, and how peers prove there who they are.
public struct RelayListener: Sendable, Equatable {
    /// What a listener's peers prove; each mechanism has sockets of its own, so that none can be had by asking for it.
    public enum Mechanism: Sendable, Equatable {
        /// The peer's address, as the kernel reports it, is its identity.
        case plain
        /// The peer proves a long-term CURVE key, and everything is encrypted.
        case curve
    }

    /// `tcp://ADDRESS:PORT`; the port `*` takes a free one.
    public let endpoint: String
    public let mechanism: Mechanism
    /// A socket that a service manager holds, and that listens there already.
    public let descriptor: Int32?

    /// - Throws: `.invalidOptions` for an endpoint that is not TCP.
    public init(endpoint: String, mechanism: Mechanism = .plain, descriptor: Int32? = nil) throws(RelayError) {
        guard endpoint.hasPrefix("tcp://"), endpoint.utf8.count > "tcp://".utf8.count, endpoint.dropFirst(6).contains(":") else {
            throw RelayError(.invalidOptions, "a relay listens on tcp://ADDRESS:PORT, not on \(endpoint)")
        }
        self.endpoint = endpoint
        self.mechanism = mechanism
        self.descriptor = descriptor
    }

    /// As a command line names them; without any, loopback without CURVE.
    public static func all(plain: [String], curve: [String], port: Int) throws(RelayError) -> [RelayListener] {
        var listeners: [RelayListener] = []
        for endpoint in plain { listeners.append(try RelayListener(endpoint: endpoint)) }
        for endpoint in curve { listeners.append(try RelayListener(endpoint: endpoint, mechanism: .curve)) }
        return listeners.isEmpty ? [try RelayListener(endpoint: "tcp://127.0.0.1:\(port)")] : listeners
    }
}

extension RelayListener {
    /// What is wanted, on the sockets that are held where they are for the same place. Those that nobody named are served too: without CURVE
    /// on loopback, with it elsewhere.
    package static func joined(_ wanted: [RelayListener], with held: [InheritedSocket]) throws(RelayError) -> [RelayListener] {
        var listeners: [RelayListener] = []
        for listener in wanted {
            let socket = held.first { "tcp://\($0.place)" == listener.endpoint }
            listeners.append(try RelayListener(endpoint: listener.endpoint, mechanism: listener.mechanism, descriptor: socket?.descriptor))
        }
        for socket in held where !wanted.contains(where: { $0.endpoint == "tcp://\(socket.place)" }) {
            let isLoopback = socket.place.hasPrefix("127.") || socket.place.hasPrefix("[::1]:")
            listeners.append(
                try RelayListener(
                    endpoint: "tcp://\(socket.place)", mechanism: isLoopback ? .plain : .curve, descriptor: socket.descriptor))
        }
        return listeners
    }

    /// As ca-core tells them.
    init?(_ json: JSON) {
        guard let endpoint = json["endpoint"]?.stringValue, let isCurve = json["curve"]?.boolValue,
            let listener = try? RelayListener(endpoint: endpoint, mechanism: isCurve ? .curve : .plain)
        else { return nil }
        self = listener
    }
}

/// A relay's options. Times are milliseconds.
public struct RelayOptions: Sendable {
    public var listeners: [RelayListener]
    /// Whether ca-core says where to listen, from its configuration, instead of `listeners`.
    public var listensAsConfigured = false
    /// Sockets that a service manager holds.
    public var inherited: [InheritedSocket] = []
    /// The path of the core's socket for this relay.
    public var corePath: String
    /// Name and version as `hello` says them: `ca-front 0.1.0`.
    public var program: String
    /// The path of the core's events; with it the relay lives only as long as the registration window is open.
    public var windowEventsPath: String?

    /// After that a request is answered `Busy: …`; the protocol promises 4 s, the deployed RA waits 5 s.
    public var requestDeadline = 3_500
    public var maximumOpenRequests = 10_000
    /// Requests that the core has at a time; beyond them identities take turns.
    public var maximumHandedOver = 2_048
    /// Until the core has said others.
    public var limits = RelayLimits()
    /// How often the core is asked for limits and known keys, and told the counters.
    public var coreInterval = 2_000
    /// Payload bytes of all open requests.
    public var maximumOpenBytes = 64 << 20
    /// Of one connection, and never more than twice what is still free: a few peers cannot fill the table for all others.
    public var maximumOpenRequestsPerClient = 5_000
    /// Bytes of answers that may wait for one connection to read them: two of the longest. Beyond them it gets `Busy` instead.
    public var maximumUnreadBytes = 36 << 20
    /// A client that sends a longer frame is cut off.
    public var maximumFrameBytes = 1 << 20
    /// How long a stop waits for answers to what is in flight, and for clients to have nothing in flight.
    public var drainTime = 2_000
    /// The end of that time in which nothing new is taken on.
    public var drainEnd = 500
    /// At the end, a client that asked nothing for so long has its connection ended; one that asks, right behind its answer.
    public var idleTime = 200
    /// How many messages one socket is read for before the others have their turn.
    public var messagesPerTurn = 128
    /// How long to wait for the answer to `hello` before it is said again.
    public var helloTimeout = 1_000
    public var reconnectInterval = 20

    /// Whether a request may change something: then a client that got no answer is told that it may still take effect.
    public var mayChange: @Sendable ([UInt8]) -> Bool = TaskNames.mayChange
    /// The time of day in unix seconds, for the end of the registration window.
    public var unixTime: @Sendable () -> Int64 = systemUnixTime

    public init(listeners: [RelayListener], corePath: String, program: String, windowEventsPath: String? = nil) {
        self.listeners = listeners
        self.corePath = corePath
        self.program = program
        self.windowEventsPath = windowEventsPath
    }
}
