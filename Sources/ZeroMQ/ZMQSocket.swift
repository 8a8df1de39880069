// A libzmq socket that closes itself and stays on the thread that made it.
import CZeroMQ
import Glibc

/// What became of a message that was to be sent.
public enum ZMQSendOutcome: Sendable, Equatable {
    case sent
    /// The peer's queue is full, or there is no peer; nothing was sent, the whole message may be tried again.
    case wouldBlock
    /// ROUTER: no peer has that routing id (any more); nothing was sent.
    case unroutable
}

/// What is kept of one received message; libzmq itself knows no limit on the number of parts.
public struct ZMQReceiveLimits: Sendable {
    /// Parts kept at most.
    public var parts: Int
    /// Bytes kept at most, over all parts.
    public var bytes: Int

    public init(parts: Int, bytes: Int) {
        self.parts = parts
        self.bytes = bytes
    }
}

/// One received message: the parts that were kept, and how much was not.
public struct ZMQMessage: Sendable, Equatable {
    public var parts: [[UInt8]] = []
    /// Parts that came beyond the limits; they were read and thrown away, together with every part after the first of them.
    public var discardedParts = 0
    public var discardedBytes = 0

    public init() {}
}

/// A libzmq socket. It belongs to the thread that made it (it is not Sendable) and closes when it goes out of scope.
///
/// Calls that a signal interrupts are taken up again. Every call throws `.contextTerminated` once its context was shut down.
public struct ZMQSocket: ~Copyable {
    let handle: UnsafeMutableRawPointer
    /// The part received last; it lives until the next one so that its properties can be asked for.
    private let lastPart: UnsafeMutablePointer<zmq_msg_t>
    public let context: ZMQContext
    /// Whether it was given the socket to listen on.
    private let hasListener: Bool
    private let watching = Watching()
    private let backlog: Int32

    /// - Throws: `.tooManySockets`, `.contextTerminated`, or `.invalidArgument` for an option that this type does not take.
    public init(_ type: ZMQSocketType, in context: ZMQContext, options: ZMQSocketOptions = ZMQSocketOptions()) throws(ZeroMQError) {
        guard let handle = zmq_socket(context.handle, type.number) else {
            throw ZeroMQError(number: zmq_errno(), "no ZeroMQ socket")
        }
        do throws(ZeroMQError) {
            try options.apply(to: handle)
        } catch {
            zmq_close(handle)
            throw error
        }
        lastPart = .allocate(capacity: 1)
        zmq_msg_init(lastPart)
        self.handle = handle
        self.context = context
        hasListener = options.listeningDescriptor != nil
        // libzmq's own value.
        backlog = Int32(clamping: options.backlog ?? 100)
    }

    deinit {
        zmq_msg_close(lastPart)
        lastPart.deallocate()
        // What still happens to its connections is told to nobody. Where it was told until now is still there: see ZMQWatch.
        zmq_socket_monitor(handle, nil, 0)
        zmq_close(handle)
    }

    /// What outlives the socket's own end.
    private final class Watching {
        var watch: ZMQWatch?
    }

    // MARK: Endpoints

    /// Listens on an endpoint: `tcp://127.0.0.1:5000`, `tcp://127.0.0.1:*`, `ipc:///run/upki-ca/front.sock`, `inproc://name`.
    /// - Throws: `.addressInUse`, `.addressNotAvailable`, `.permissionDenied`, `.invalidEndpoint`, `.pathTooLong`.
    public func bind(_ endpoint: String) throws(ZeroMQError) {
        try Self.check(endpoint)
        guard let descriptor = hasListener ? nil : try ListeningPort.open(endpoint, backlog: backlog) else {
            return try bindItself(endpoint)
        }
        do throws(ZeroMQError) {
            try adopt(descriptor)
            try bindItself(endpoint)
            try adopt(-1)
        } catch {
            close(descriptor)
            throw error
        }
    }

    private func bindItself(_ endpoint: String) throws(ZeroMQError) {
        guard zmq_bind(handle, endpoint) == 0 else { throw Self.endpointError("cannot listen on \(endpoint)") }
    }

    /// The listening socket that the next `bind` takes; -1 for one of libzmq's own.
    private func adopt(_ descriptor: Int32) throws(ZeroMQError) {
        var value = descriptor
        guard zmq_setsockopt(handle, ZMQ_USE_FD, &value, MemoryLayout<Int32>.size) == 0 else {
            throw ZeroMQError(number: zmq_errno(), "a listening socket cannot be adopted")
        }
    }

    /// Connects to an endpoint, now or as soon as somebody listens there.
    /// - Throws: `.invalidEndpoint`, `.pathTooLong`.
    public func connect(_ endpoint: String) throws(ZeroMQError) {
        try Self.check(endpoint)
        guard zmq_connect(handle, endpoint) == 0 else { throw Self.endpointError("cannot connect to \(endpoint)") }
    }

    /// Stops listening on an endpoint, named as ``lastEndpoint`` gave it.
    ///
    /// libzmq ends the connections that were accepted there as well: their peers are owed answers that can no longer be delivered. The
    /// port itself is closed by libzmq's thread a moment later.
    public func unbind(_ endpoint: String) throws(ZeroMQError) {
        guard zmq_unbind(handle, endpoint) == 0 else { throw Self.endpointError("cannot stop listening on \(endpoint)") }
    }

    /// The endpoint bound or connected last, with the port that a `*` became; empty before.
    public var lastEndpoint: String {
        get throws(ZeroMQError) {
            var text = [UInt8](repeating: 0, count: 1024)
            var length = text.count
            guard zmq_getsockopt(handle, ZMQ_LAST_ENDPOINT, &text, &length) == 0 else {
                throw ZeroMQError(number: zmq_errno(), "the endpoint is not known")
            }
            return String(decoding: text.prefix(max(0, length - 1)), as: UTF8.self)
        }
    }

    /// Has libzmq tell of this socket's connections: to be called once, before `bind` or `connect`. Somebody has to listen, see ``ZMQWatch``.
    /// - Returns: what a ``ZMQMonitor`` is made with, on this thread or another.
    public func watch() throws(ZeroMQError) -> ZMQWatch {
        // The address of the watched socket makes the name unique within the context.
        let endpoint = "inproc://monitor-\(UInt(bitPattern: handle))"
        // The last event would be sent by whoever closes the socket, who would wait for ever where the monitor has gone before it.
        guard zmq_socket_monitor(handle, endpoint, ZMQ_EVENT_ALL & ~ZMQ_EVENT_MONITOR_STOPPED) == 0 else {
            throw ZeroMQError(number: zmq_errno(), "a socket cannot be watched")
        }
        let watch = try ZMQWatch(endpoint, in: context)
        watching.watch = watch
        return watch
    }

    /// Changes how long the socket goes on sending after it was closed.
    public func setLinger(milliseconds: Int) throws(ZeroMQError) {
        var value = Int32(clamping: milliseconds)
        guard zmq_setsockopt(handle, ZMQ_LINGER, &value, MemoryLayout<Int32>.size) == 0 else {
            throw ZeroMQError(number: zmq_errno(), "the option linger does not take \(milliseconds)")
        }
    }

    /// SUB: hears messages with this prefix from now on.
    public func subscribe(_ prefix: [UInt8]) throws(ZeroMQError) {
        guard zmq_setsockopt(handle, ZMQ_SUBSCRIBE, prefix, prefix.count) == 0 else {
            throw ZeroMQError(number: zmq_errno(), "the subscription is refused")
        }
    }

    /// What the socket is ready for at this moment. Unlike sending and receiving, which look at connections that came and went at most
    /// every few milliseconds, this always does.
    public var events: ZMQPollSet.Events {
        get throws(ZeroMQError) {
            var value: Int32 = 0
            var length = MemoryLayout<Int32>.size
            while zmq_getsockopt(handle, ZMQ_EVENTS, &value, &length) != 0 {
                let number = zmq_errno()
                if number != EINTR { throw ZeroMQError(number: number, "a socket's events are not known") }
            }
            return ZMQPollSet.Events(rawValue: Int16(truncatingIfNeeded: value))
        }
    }

    // MARK: Sending

    /// Sends one part, waiting for room.
    /// - Parameter more: further parts of the same message follow.
    /// - Returns: `.wouldBlock` only where a send timeout was set and ran out.
    @discardableResult
    public func send(_ bytes: [UInt8], more: Bool = false) throws(ZeroMQError) -> ZMQSendOutcome {
        try send(bytes, flags: more ? ZMQ_SNDMORE : 0)
    }

    /// Sends one part if that is possible at once.
    ///
    /// Only the first part of a message to a ROUTER can be refused; a DEALER whose peer goes in the middle of a message drops
    /// all of it and says `.wouldBlock`: start again with the first part.
    /// - Parameter more: further parts of the same message follow.
    public func sendNow(_ bytes: [UInt8], more: Bool = false) throws(ZeroMQError) -> ZMQSendOutcome {
        try send(bytes, flags: ZMQ_DONTWAIT | (more ? ZMQ_SNDMORE : 0))
    }

    /// Sends a whole message if that is possible at once; all of it or nothing.
    public func sendNow(parts: [[UInt8]]) throws(ZeroMQError) -> ZMQSendOutcome {
        try send(parts: parts, flags: ZMQ_DONTWAIT)
    }

    /// Sends a whole message, waiting for room.
    @discardableResult
    public func send(parts: [[UInt8]]) throws(ZeroMQError) -> ZMQSendOutcome {
        try send(parts: parts, flags: 0)
    }

    private func send(parts: [[UInt8]], flags: Int32) throws(ZeroMQError) -> ZMQSendOutcome {
        var outcome = ZMQSendOutcome.sent
        for (index, part) in parts.enumerated() {
            let last = index == parts.count - 1
            let result = try send(part, flags: flags | (last ? 0 : ZMQ_SNDMORE))
            if result != .sent {
                outcome = result
                // After a refusal in the middle libzmq throws away what follows up to the message's end, so that end has to come.
                if index == 0 { break }
            }
        }
        return outcome
    }

    private func send(_ bytes: [UInt8], flags: Int32) throws(ZeroMQError) -> ZMQSendOutcome {
        while true {
            let number = bytes.withUnsafeBytes { zmq_send(handle, $0.baseAddress, $0.count, flags) < 0 ? zmq_errno() : 0 }
            switch number {
            case 0: return .sent
            case EAGAIN: return .wouldBlock
            case EHOSTUNREACH: return .unroutable
            case EINTR: continue
            default: throw ZeroMQError(number: number, "a message cannot be sent")
            }
        }
    }

    // MARK: Receiving

    /// Receives one whole message, waiting for it.
    /// - Returns: nil only where a receive timeout was set and ran out.
    public func receive(_ limits: ZMQReceiveLimits) throws(ZeroMQError) -> ZMQMessage? {
        try receive(limits, flags: 0)
    }

    /// Receives one whole message if there is one.
    public func receiveNow(_ limits: ZMQReceiveLimits) throws(ZeroMQError) -> ZMQMessage? {
        try receive(limits, flags: ZMQ_DONTWAIT)
    }

    private func receive(_ limits: ZMQReceiveLimits, flags: Int32) throws(ZeroMQError) -> ZMQMessage? {
        guard try receivePart(flags: flags) else { return nil }
        var message = ZMQMessage()
        var room = max(0, limits.bytes)
        while true {
            let size = zmq_msg_size(lastPart)
            if message.discardedParts == 0 && message.parts.count < limits.parts && size <= room {
                message.parts.append([UInt8](UnsafeRawBufferPointer(start: zmq_msg_data(lastPart), count: size)))
                room -= size
            } else {
                message.discardedParts += 1
                message.discardedBytes &+= size
            }
            guard zmq_msg_more(lastPart) != 0 else { return message }
            // The rest of a message is there once its first part is: libzmq passes on whole messages only.
            guard try receivePart(flags: 0) else { return message }
        }
    }

    private func receivePart(flags: Int32) throws(ZeroMQError) -> Bool {
        while zmq_msg_recv(lastPart, handle, flags) < 0 {
            let number = zmq_errno()
            if number == EAGAIN { return false }
            if number != EINTR { throw ZeroMQError(number: number, "a message cannot be received") }
        }
        return true
    }

    /// The address of the peer that sent the message received last, as libzmq saw it; a peer cannot change it.
    /// For ipc it is `localhost:UID:GID:PID`. To be asked right after a receive that gave a message.
    public var peerAddressOfLastMessage: String? { propertyOfLastMessage("Peer-Address") }

    /// A property of the connection that the last message came by (zmq_msg_gets(3)).
    /// A peer chooses most of them itself: only `Peer-Address`, and what a ZAP handler answered, can be believed.
    public func propertyOfLastMessage(_ name: String) -> String? {
        zmq_msg_gets(lastPart, name).map { String(cString: $0) }
    }

    /// The descriptor of the connection that the last message came by; nil where there is none.
    public var descriptorOfLastMessage: Int32? {
        let descriptor = zmq_msg_get(lastPart, ZMQ_SRCFD)
        return descriptor >= 0 ? descriptor : nil
    }

    // MARK: Checks

    /// A Unix socket's address holds 108 bytes, one of them NUL (unix(7)).
    public static let longestIPCPath = 107

    private static func check(_ endpoint: String) throws(ZeroMQError) {
        guard !endpoint.utf8.contains(0) else { throw ZeroMQError(.invalidEndpoint, "an endpoint holds a NUL") }
        guard endpoint.hasPrefix("ipc://") else { return }
        let length = endpoint.utf8.count - "ipc://".utf8.count
        guard length <= longestIPCPath else {
            throw ZeroMQError(
                .pathTooLong,
                "the path of \(endpoint) has \(length) bytes, a Unix socket's may have \(longestIPCPath): choose a shorter run directory")
        }
    }

    private static func endpointError(_ what: String) -> ZeroMQError {
        let number = zmq_errno()
        return number == EINVAL
            ? ZeroMQError(.invalidEndpoint, "\(what): the endpoint cannot be read", errorNumber: number)
            : ZeroMQError(number: number, what)
    }
}
