// Waiting for several sockets and descriptors at once.
import CZeroMQ
import Glibc

/// A set of sockets and descriptors to wait for. The sockets must outlive it, and it stays on their thread.
public struct ZMQPollSet: ~Copyable {
    public struct Events: OptionSet, Sendable {
        public let rawValue: Int16

        public init(rawValue: Int16) {
            self.rawValue = rawValue
        }

        public static let readable = Events(rawValue: Int16(ZMQ_POLLIN))
        public static let writable = Events(rawValue: Int16(ZMQ_POLLOUT))
        /// Descriptors only: an error or a hang-up.
        public static let failed = Events(rawValue: Int16(ZMQ_POLLERR))
    }

    private var items: [zmq_pollitem_t] = []

    public init() {}

    /// Adds a socket; returns its index in the set.
    @discardableResult
    public mutating func add(_ socket: borrowing ZMQSocket, for events: Events = .readable) -> Int {
        items.append(zmq_pollitem_t(socket: socket.handle, fd: 0, events: events.rawValue, revents: 0))
        return items.count - 1
    }

    /// Adds a descriptor; returns its index in the set.
    @discardableResult
    public mutating func add(descriptor: Int32, for events: Events = .readable) -> Int {
        items.append(zmq_pollitem_t(socket: nil, fd: descriptor, events: events.rawValue, revents: 0))
        return items.count - 1
    }

    /// Changes what is waited for at an index; none at all leaves the place in the set.
    public mutating func wait(at index: Int, for events: Events) {
        guard items.indices.contains(index) else { return }
        items[index].events = events.rawValue
    }

    /// Waits until something is ready or the time has run out; a signal may end it early.
    /// - Parameter milliseconds: 0 only looks, negative waits for ever.
    /// - Returns: how many are ready.
    /// - Throws: `.contextTerminated`.
    public mutating func wait(milliseconds: Int) throws(ZeroMQError) -> Int {
        let ready = zmq_poll(&items, Int32(clamping: items.count), milliseconds)
        if ready >= 0 { return Int(ready) }
        let number = zmq_errno()
        guard number == EINTR else { throw ZeroMQError(number: number, "waiting for messages failed") }
        for index in items.indices { items[index].revents = 0 }
        return 0
    }

    /// What the last wait found at an index.
    public func ready(at index: Int) -> Events {
        items.indices.contains(index) ? Events(rawValue: items[index].revents) : []
    }
}

extension ZMQSocket {
    /// Adds it to a poll set; returns its index there. For sockets that may not be there.
    @discardableResult
    public func add(to set: inout ZMQPollSet) -> Int { set.add(self) }
}
