// What a socket is told before it is bound or connected.
import CZeroMQ

/// The kinds of sockets in use here.
public enum ZMQSocketType: Sendable {
    case request, router, dealer, publish, extendedPublish, subscribe, pair

    var number: Int32 {
        switch self {
        case .request: ZMQ_REQ
        case .router: ZMQ_ROUTER
        case .dealer: ZMQ_DEALER
        case .publish: ZMQ_PUB
        case .extendedPublish: ZMQ_XPUB
        case .subscribe: ZMQ_SUB
        case .pair: ZMQ_PAIR
        }
    }
}

/// Options of a socket (zmq_setsockopt(3)); nil leaves what libzmq does by itself. Times are milliseconds.
public struct ZMQSocketOptions: Sendable {
    /// How long a closed socket goes on sending what it holds; libzmq's own value would be for ever.
    public var lingerMilliseconds = 0
    /// Messages waiting to be sent, for each peer; libzmq's own value is 1,000.
    public var sendHighWater: Int?
    /// Messages waiting to be received, from each peer; libzmq's own value is 1,000.
    public var receiveHighWater: Int?
    /// A peer that sends a longer frame is cut off; libzmq knows no limit by itself.
    public var maximumFrameBytes: Int?
    /// Send only to peers whose connection stands: a DEALER without one would block instead of queueing.
    public var immediate: Bool?
    /// ROUTER: a peer that is gone or does not read is reported instead of passed over in silence.
    public var routerMandatory: Bool?
    /// ROUTER: a new peer takes over the routing id of an old one.
    public var routerHandover: Bool?
    public var reconnectMilliseconds: Int?
    public var reconnectMaximumMilliseconds: Int?
    /// A peer that has not finished its handshake by then is cut off.
    public var handshakeMilliseconds = 2_000
    public var ipv6: Bool?
    /// TCP keep-alive: seconds of silence before the first probe, seconds between probes, probes.
    public var keepAlive: (idle: Int, interval: Int, count: Int)?
    /// ZMTP heartbeats: how often to ask, when to give a peer up that does not answer.
    public var heartbeat: (interval: Int, timeout: Int)?
    /// Connections that wait to be accepted.
    public var backlog: Int?
    /// A listening socket to adopt instead of making one (ZMQ_USE_FD); `bind` still needs the endpoint's name.
    public var listeningDescriptor: Int32?
    /// What it proves and demands; nil is the mechanism NULL.
    public var curve: ZMQCurveRole?
    /// The domain for the ZAP handler.
    public var zapDomain: String?
    /// The routing id that a peer's ROUTER sees.
    public var routingID: [UInt8]?
    /// XPUB: pass on every subscription, not only the first of its kind.
    public var verboseSubscriptions: Bool?
    /// PUB and XPUB: a subscriber that does not read makes `send` wait instead of missing messages.
    public var publisherNeverDrops: Bool?
    /// SUB: prefixes of the messages wanted; an empty one is all.
    public var subscriptions: [[UInt8]] = []
    /// REQ: a second request may be sent before the first was answered; late answers are dropped.
    public var relaxedRequests: Bool?
    /// How long a blocking receive waits before it gives nil.
    public var receiveTimeoutMilliseconds: Int?
    /// How long a blocking send waits before it gives `.wouldBlock`.
    public var sendTimeoutMilliseconds: Int?

    public init() {}

    /// Every option that was asked for, as libzmq takes them, in the order they have to be set.
    func apply(to handle: UnsafeMutableRawPointer) throws(ZeroMQError) {
        func set(_ option: Int32, _ name: String, _ value: Int?) throws(ZeroMQError) {
            guard let value else { return }
            guard var number = Int32(exactly: value) else {
                throw ZeroMQError(.invalidArgument, "the option \(name) does not take \(value)")
            }
            guard zmq_setsockopt(handle, option, &number, MemoryLayout<Int32>.size) == 0 else {
                throw ZeroMQError(number: zmq_errno(), "the option \(name) does not take \(value)")
            }
        }
        func set(_ option: Int32, _ name: String, _ value: Bool?) throws(ZeroMQError) {
            try set(option, name, value.map { $0 ? 1 : 0 })
        }
        func set(_ option: Int32, _ name: String, bytes: [UInt8]?) throws(ZeroMQError) {
            guard let bytes else { return }
            guard zmq_setsockopt(handle, option, bytes, bytes.count) == 0 else {
                throw ZeroMQError(number: zmq_errno(), "the option \(name) does not take these \(bytes.count) bytes")
            }
        }
        // As bytes: libzmq's text form wants the NUL counted.
        func set(_ option: Int32, _ name: String, key: String) throws(ZeroMQError) {
            guard let bytes = Z85.decode(key), bytes.count == 32 else {
                throw ZeroMQError(.invalidArgument, "the option \(name) takes 40 characters of Z85")
            }
            try set(option, name, bytes: bytes)
        }
        try set(ZMQ_LINGER, "linger", lingerMilliseconds)
        try set(ZMQ_SNDHWM, "send high-water mark", sendHighWater)
        try set(ZMQ_RCVHWM, "receive high-water mark", receiveHighWater)
        if var limit = maximumFrameBytes.map(Int64.init) {
            guard zmq_setsockopt(handle, ZMQ_MAXMSGSIZE, &limit, MemoryLayout<Int64>.size) == 0 else {
                throw ZeroMQError(number: zmq_errno(), "the option maximum message size does not take \(limit)")
            }
        }
        try set(ZMQ_IMMEDIATE, "immediate", immediate)
        try set(ZMQ_ROUTER_MANDATORY, "router mandatory", routerMandatory)
        try set(ZMQ_ROUTER_HANDOVER, "router handover", routerHandover)
        try set(ZMQ_RECONNECT_IVL, "reconnect interval", reconnectMilliseconds)
        try set(ZMQ_RECONNECT_IVL_MAX, "longest reconnect interval", reconnectMaximumMilliseconds)
        try set(ZMQ_HANDSHAKE_IVL, "handshake interval", handshakeMilliseconds)
        try set(ZMQ_IPV6, "IPv6", ipv6)
        if let keepAlive {
            try set(ZMQ_TCP_KEEPALIVE, "TCP keep-alive", true)
            try set(ZMQ_TCP_KEEPALIVE_IDLE, "TCP keep-alive idle time", keepAlive.idle)
            try set(ZMQ_TCP_KEEPALIVE_INTVL, "TCP keep-alive interval", keepAlive.interval)
            try set(ZMQ_TCP_KEEPALIVE_CNT, "TCP keep-alive count", keepAlive.count)
        }
        if let heartbeat {
            try set(ZMQ_HEARTBEAT_IVL, "heartbeat interval", heartbeat.interval)
            try set(ZMQ_HEARTBEAT_TIMEOUT, "heartbeat timeout", heartbeat.timeout)
        }
        try set(ZMQ_BACKLOG, "backlog", backlog)
        try set(ZMQ_USE_FD, "listening descriptor", listeningDescriptor.map(Int.init))
        switch curve {
        case .server(let pair)?:
            try set(ZMQ_CURVE_SERVER, "CURVE server", true)
            try set(ZMQ_CURVE_SECRETKEY, "CURVE secret key", key: pair.secretKey)
        case .client(let pair, let serverKey)?:
            try set(ZMQ_CURVE_SERVERKEY, "CURVE server key", key: serverKey)
            try set(ZMQ_CURVE_PUBLICKEY, "CURVE public key", key: pair.publicKey)
            try set(ZMQ_CURVE_SECRETKEY, "CURVE secret key", key: pair.secretKey)
        case nil: break
        }
        try set(ZMQ_ZAP_DOMAIN, "ZAP domain", bytes: zapDomain.map { Array($0.utf8) })
        try set(ZMQ_ROUTING_ID, "routing id", bytes: routingID)
        try set(ZMQ_XPUB_VERBOSE, "verbose subscriptions", verboseSubscriptions)
        try set(ZMQ_XPUB_NODROP, "publisher never drops", publisherNeverDrops)
        try set(ZMQ_RCVTIMEO, "receive timeout", receiveTimeoutMilliseconds)
        try set(ZMQ_SNDTIMEO, "send timeout", sendTimeoutMilliseconds)
        if let relaxedRequests {
            // Correlation comes with it: without, a late answer would be taken for the next request's.
            try set(ZMQ_REQ_CORRELATE, "correlated requests", relaxedRequests)
            try set(ZMQ_REQ_RELAXED, "relaxed requests", relaxedRequests)
        }
        for prefix in subscriptions { try set(ZMQ_SUBSCRIBE, "subscription", bytes: prefix) }
    }
}
