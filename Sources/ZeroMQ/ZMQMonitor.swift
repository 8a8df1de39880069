// What happens to a socket's connections, as libzmq tells it (zmq_socket_monitor(3)).
import CZeroMQ

/// One event of a connection.
public struct ZMQMonitorEvent: Sendable, Equatable {
    public enum Kind: Sendable, Equatable {
        case listening, bindFailed, accepted, acceptFailed, connected, handshakeSucceeded, handshakeFailed
        /// The peer speaks the protocol otherwise than it should; the value is one of `ZMQ_PROTOCOL_ERROR_…`.
        case handshakeViolated
        /// The ZAP handler refused; the value is its status code.
        case handshakeRefused
        case disconnected, closed
        case other(UInt16)
    }

    public let kind: Kind
    /// The connection's descriptor, or an errno where something failed.
    public let value: Int32
    public let endpoint: String
}

/// Where libzmq tells what happens to the connections of one socket. That socket holds it, too, and longer than itself.
///
/// libzmq's own thread tells, and waits for ever, with a lock of the watched socket, where nobody is there to be told any more: then that thread
/// serves no connection of the whole context, and closing the watched socket waits for the lock. So whoever hears may go before the
/// watched socket, as long as that one follows within 100,000 events.
///
/// Sendable: libzmq lets a socket pass from one thread to another over a full fence, which a mailbox is; one ``ZMQMonitor`` then uses it alone.
public final class ZMQWatch: @unchecked Sendable {
    fileprivate let socket: ZMQSocket

    init(_ endpoint: String, in context: ZMQContext) throws(ZeroMQError) {
        var options = ZMQSocketOptions()
        options.receiveHighWater = 100_000
        let socket = try ZMQSocket(.pair, in: context, options: options)
        try socket.connect(endpoint)
        self.socket = socket
    }
}

/// Hears what happens to the connections of one socket, which may be another thread's.
public struct ZMQMonitor: ~Copyable {
    private let watch: ZMQWatch

    /// - Throws: `.tooManySockets`, `.contextTerminated`.
    public init(of watched: borrowing ZMQSocket) throws(ZeroMQError) {
        self.init(try watched.watch())
    }

    /// - Parameter watch: what `watch()` of the watched socket gave; for one monitor.
    public init(_ watch: ZMQWatch) { self.watch = watch }

    /// Adds it to a poll set; returns its index there.
    public func add(to set: inout ZMQPollSet) -> Int {
        set.add(watch.socket)
    }

    /// The next event, or nil when none is waiting.
    public func next() throws(ZeroMQError) -> ZMQMonitorEvent? {
        guard let message = try watch.socket.receiveNow(ZMQReceiveLimits(parts: 2, bytes: 4096)) else { return nil }
        // 16 bits of event and 32 bits of value, both in the host's order, then the endpoint.
        guard message.parts.count == 2, message.parts[0].count == 6 else { return nil }
        let (event, value) = message.parts[0].withUnsafeBytes {
            ($0.loadUnaligned(as: UInt16.self), $0.loadUnaligned(fromByteOffset: 2, as: Int32.self))
        }
        let kind: ZMQMonitorEvent.Kind =
            switch Int32(event) {
            case ZMQ_EVENT_LISTENING: .listening
            case ZMQ_EVENT_BIND_FAILED: .bindFailed
            case ZMQ_EVENT_ACCEPTED: .accepted
            case ZMQ_EVENT_ACCEPT_FAILED: .acceptFailed
            case ZMQ_EVENT_CONNECTED: .connected
            case ZMQ_EVENT_HANDSHAKE_SUCCEEDED: .handshakeSucceeded
            case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL: .handshakeFailed
            case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL: .handshakeViolated
            case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH: .handshakeRefused
            case ZMQ_EVENT_DISCONNECTED: .disconnected
            case ZMQ_EVENT_CLOSED: .closed
            default: .other(event)
            }
        return ZMQMonitorEvent(kind: kind, value: value, endpoint: String(decoding: message.parts[1], as: UTF8.self))
    }
}
