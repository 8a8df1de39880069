// How many bytes wait for each client to read them: libzmq bounds only the number of messages, and one answer may have 16 MiB.
import CLinux
import Glibc
import Threads

/// The answers that clients have not read yet, in bytes.
///
/// libzmq does not tell how much it holds for a peer, but the kernel tells how much of a TCP connection the peer has acknowledged. It is asked
/// only when more than the bound was sent since it last answered, so that a client that reads costs no system call.
struct UnreadAnswers {
    private struct Connection {
        let descriptor: Int32
        /// Tells this connection from a later one with the same descriptor.
        let cookie: UInt64
        var sent: UInt64 = 0
        var acknowledged: UInt64 = 0
        /// When it last asked, or was answered.
        var lastActive: MonotonicTime
        var lastAnswer: MonotonicTime
        /// Bytes that had come when that was looked at last, at the end.
        var received: UInt64 = 0
        /// Whether it never asked before it had its answer, as ZeroMQ's REQ does.
        var isOrderly = true
        /// How long it lately took to ask anew once it had its answer, rather too short than too long; nanoseconds.
        var pause: UInt64 = 0
        /// What the kernel will have had of it when its last answer is out, where it may end then.
        var farewell: clinux_traffic?
    }

    /// Bytes that may wait for one client.
    private let limit: UInt64
    private var connections: [ClientKey: Connection] = [:]
    /// So many connections make it worth looking which of them are gone.
    private var lookAgainAt = 1_024
    /// What ZMTP adds to a frame at most (RFC 23: flags and a length of eight octets).
    private static let framing = 9
    /// A client that asks again within this, 3 ms, asks again at once.
    private static let shortPause: UInt64 = 3_000_000

    init(limit: Int) { self.limit = UInt64(max(0, limit)) }

    var count: Int { connections.count }

    /// Notes the connection that a client's request came by.
    /// - Parameter isAlone: whether that client waits for no other answer.
    mutating func heard(_ client: ClientKey, on descriptor: Int32?, isAlone: Bool, at now: MonotonicTime) {
        guard let descriptor else { return }
        guard connections[client]?.descriptor != descriptor else {
            guard var connection = connections[client] else { return }
            connection.pause = min(connection.lastAnswer.nanoseconds(until: now), connection.pause &+ Self.shortPause / 4)
            connection.farewell = nil
            connection.lastActive = now
            if !isAlone { connection.isOrderly = false }
            connections[client] = connection
            return
        }
        guard let found = Self.look(descriptor) else { return }
        forgetThoseGone()
        connections[client] = Connection(descriptor: descriptor, cookie: found.cookie, lastActive: now, lastAnswer: now)
    }

    /// Whether an answer of so many bytes may go out; false while too much waits for this client.
    mutating func mayTake(_ bytes: Int, _ client: ClientKey) -> Bool {
        guard let connection = connections[client] else { return true }
        if fits(bytes, connection) { return true }
        guard let now = Self.look(connection.descriptor), now.cookie == connection.cookie else {
            // The client has gone, or has come back on another connection, for which nothing waits.
            connections[client] = nil
            return true
        }
        connections[client]?.acknowledged = now.acknowledged
        return connections[client].map { fits(bytes, $0) } ?? true
    }

    /// Notes what was handed to libzmq for a client.
    mutating func sent(_ payload: [UInt8], _ envelope: [[UInt8]], to client: ClientKey, at now: MonotonicTime) {
        let bytes = envelope.reduce(payload.count &+ Self.framing) { $0 &+ $1.count &+ Self.framing }
        connections[client]?.sent &+= UInt64(bytes)
        connections[client]?.lastActive = now
        connections[client]?.lastAnswer = now
    }

    // MARK: The end

    /// Before an answer is handed over behind which its connection is to end; nil where more than that answer may be under way on it, or where the
    /// client may ask anew before it reads of the end.
    func farewell(to client: ClientKey, behind frames: [Int], isCurve: Bool) -> clinux_traffic? {
        guard let connection = connections[client], connection.isOrderly, connection.pause > Self.shortPause,
            Self.look(connection.descriptor)?.cookie == connection.cookie
        else { return nil }
        var traffic = clinux_traffic()
        guard clinux_traffic(connection.descriptor, &traffic) == 0 else { return nil }
        traffic.taken &+= frames.reduce(UInt64(0)) { $0 &+ Self.onTheWire($1, isCurve: isCurve) }
        return traffic
    }

    /// Whether a connection waits for its answer to be out, to end then.
    var hasFarewells: Bool { connections.values.contains { $0.farewell != nil } }

    /// Ends a connection right behind its answer, as soon as the kernel has that: the client's libzmq reads the end together with the answer, before
    /// the client asks anew, and asks whoever listens next. Waits for it no longer than a fifth of a millisecond; what takes longer is
    /// looked at again, as long as the client can be taken to pause.
    mutating func end(_ farewell: clinux_traffic, of client: ClientKey) {
        connections[client]?.farewell = farewell
        let patience = MonotonicTime.now.nanoseconds &+ 200_000
        while let connection = connections[client], !mayEnd(connection) {
            guard MonotonicTime.now.nanoseconds < patience else { return }
            sched_yield()
        }
        cut(client)
    }

    /// Whether its last answer is out, and nothing came since.
    private func mayEnd(_ connection: Connection) -> Bool {
        guard let farewell = connection.farewell, connection.lastAnswer.nanoseconds(until: .now) < connection.pause / 2 else {
            return false
        }
        var now = clinux_traffic()
        return clinux_traffic(connection.descriptor, &now) == 0 && now.received == farewell.received && now.taken == farewell.taken
    }

    private mutating func cut(_ client: ClientKey) {
        guard let connection = connections.removeValue(forKey: client) else { return }
        _ = clinux_shut_down(connection.descriptor)
    }

    /// The bytes of a frame (RFC 23; with CURVE RFC 26: the command's name, a short nonce, and a box of flags and frame).
    private static func onTheWire(_ bytes: Int, isCurve: Bool) -> UInt64 {
        let body = isCurve ? bytes &+ 33 : bytes
        return UInt64(body > 255 ? body &+ 9 : body &+ 2)
    }

    /// Ends each connection that has been idle for so many milliseconds, with nothing under way on it: what is asked from then on goes to
    /// whoever listens next. A client in the middle of something keeps its connection.
    /// - Parameter isOpen: whether a client waits for an answer.
    mutating func endIdle(for milliseconds: Int, at now: MonotonicTime, isOpen: (ClientKey) -> Bool) {
        for (client, connection) in connections where !isOpen(client) {
            guard let found = Self.look(connection.descriptor), found.cookie == connection.cookie else {
                connections[client] = nil
                continue
            }
            if mayEnd(connection) {
                cut(client)
                continue
            }
            // The kernel counts what came, also where libzmq has it and we do not yet. The last look before the end, so that there is next to
            // no moment for a request between them.
            var received: UInt64 = 0
            guard clinux_bytes_of_quiet(connection.descriptor, &received) == 0, received == connection.received else {
                connections[client]?.received = received
                connections[client]?.lastActive = now
                continue
            }
            guard now >= connection.lastActive.advanced(byMilliseconds: milliseconds) else { continue }
            cut(client)
        }
    }

    /// The client's connection is gone.
    mutating func forget(_ client: ClientKey) { connections[client] = nil }

    private func fits(_ bytes: Int, _ connection: Connection) -> Bool {
        // Acknowledged may be ahead: greeting and handshake count in it.
        let waiting = connection.sent > connection.acknowledged ? connection.sent - connection.acknowledged : 0
        let (sum, overflow) = waiting.addingReportingOverflow(UInt64(max(0, bytes)))
        return !overflow && sum <= limit
    }

    /// Nobody tells when a client leaves; now and then all are looked at.
    private mutating func forgetThoseGone() {
        guard connections.count >= lookAgainAt else { return }
        connections = connections.filter { Self.look($0.value.descriptor)?.cookie == $0.value.cookie }
        lookAgainAt = max(1_024, connections.count * 2)
    }

    private static func look(_ descriptor: Int32) -> clinux_connection? {
        var found = clinux_connection()
        return clinux_connection(descriptor, &found) == 0 ? found : nil
    }
}
