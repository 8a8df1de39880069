// The control socket as the supervisor's loop sees it: a listener and a few connections, none of which can hold it up.
import CLinux
import Glibc

final class ControlSocket {
    /// More connections push out the oldest idle one.
    static let mostConnections = 16

    /// A client: asks one thing at a time.
    final class Connection {
        let descriptor: Int32
        /// An answer is owed; until then nothing is read from it.
        var isPending = false

        init(_ descriptor: Int32) { self.descriptor = descriptor }
        deinit { close(descriptor) }
    }

    let listener: Int32
    private let path: String
    private(set) var connections: [Connection] = []

    /// A socket left by a supervisor that was killed is replaced: the caller holds the directory's lock.
    init(path: String) throws(SupervisionError) {
        self.path = path
        unlink(path)
        let bound = clinux_bind_unix(Int32(SOCK_SEQPACKET.rawValue), path, 0o600)
        guard bound >= 0 else { throw .systemCall(path, bound) }
        guard listen(bound, 16) == 0 else {
            let failed = errno
            close(bound)
            throw .systemCall("listen", -failed)
        }
        listener = bound
    }

    deinit {
        close(listener)
        unlink(path)
    }

    /// Takes one new connection, if it comes from our own user or root.
    func acceptOne() {
        let descriptor = clinux_accept(listener)
        guard descriptor >= 0 else { return }
        var peer = clinux_sender()
        guard clinux_peer_credentials(descriptor, &peer) == 0, peer.uid == geteuid() || peer.uid == 0 else {
            close(descriptor)
            return
        }
        if connections.count >= Self.mostConnections {
            guard let idle = connections.firstIndex(where: { !$0.isPending }) else {
                close(descriptor)
                return
            }
            connections.remove(at: idle)
        }
        connections.append(Connection(descriptor))
    }

    /// One packet; nil when there is none, or the connection ended and is gone from the list.
    func receive(from connection: Connection) -> [UInt8]? {
        var buffer = [UInt8](repeating: 0, count: ControlMessage.longest + 1)
        let count = recv(connection.descriptor, &buffer, buffer.count, Int32(MSG_DONTWAIT))
        if count < 0, errno == EAGAIN || errno == EINTR { return nil }
        guard count > 0 else {
            drop(connection)
            return nil
        }
        buffer.removeSubrange(count...)
        return buffer
    }

    func drop(_ connection: Connection) { connections.removeAll { $0 === connection } }

    /// A client that does not take its answer loses its connection; the supervisor never waits for one.
    func send(_ answer: ControlAnswer, to connection: Connection) {
        connection.isPending = false
        guard connections.contains(where: { $0 === connection }) else { return }
        let bytes = ControlMessage.encode(answer)
        let sent = Glibc.send(connection.descriptor, bytes, bytes.count, Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL))
        if sent != bytes.count { drop(connection) }
    }
}
