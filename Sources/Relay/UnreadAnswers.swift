// How many bytes wait for each client to read them: libzmq bounds only the number of messages, and one answer may have 16 MiB.
import CLinux

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
    }

    /// Bytes that may wait for one client.
    private let limit: UInt64
    private var connections: [ClientKey: Connection] = [:]
    /// So many connections make it worth looking which of them are gone.
    private var lookAgainAt = 1_024
    /// What ZMTP adds to a frame at most (RFC 23: flags and a length of eight octets).
    private static let framing = 9

    init(limit: Int) { self.limit = UInt64(max(0, limit)) }

    var count: Int { connections.count }

    /// Notes the connection that a client's request came by.
    mutating func heard(_ client: ClientKey, on descriptor: Int32?) {
        guard let descriptor, connections[client]?.descriptor != descriptor else { return }
        guard let now = Self.look(descriptor) else { return }
        forgetThoseGone()
        connections[client] = Connection(descriptor: descriptor, cookie: now.cookie)
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
    mutating func sent(_ payload: [UInt8], _ envelope: [[UInt8]], to client: ClientKey) {
        let bytes = envelope.reduce(payload.count &+ Self.framing) { $0 &+ $1.count &+ Self.framing }
        connections[client]?.sent &+= UInt64(bytes)
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
