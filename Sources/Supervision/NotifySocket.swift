// A service's own notification socket; made anew for each start, so that nothing of an earlier process is read.
import CLinux
import Glibc

final class NotifySocket {
    /// One datagram and who sent it.
    struct Message {
        let sender: clinux_sender
        let bytes: [UInt8]
    }

    let path: String
    let descriptor: Int32

    /// Bound with mode 0600 and given to the user the service will run as; credentials come with every datagram.
    init(path: String, owner: (uid_t, gid_t)?) throws(SupervisionError) {
        self.path = path
        unlink(path)
        let bound = clinux_bind_unix(Int32(SOCK_DGRAM.rawValue), path, 0o600)
        guard bound >= 0 else { throw .systemCall(path, bound) }
        descriptor = bound
        let passing = clinux_pass_credentials(descriptor)
        guard passing == 0 else {
            close(bound)
            throw .systemCall("SO_PASSCRED", passing)
        }
        if let owner, lchown(path, owner.0, owner.1) != 0 {
            let failed = errno
            close(bound)
            unlink(path)
            throw .systemCall("chown \(path)", -failed)
        }
    }

    deinit {
        close(descriptor)
        unlink(path)
    }

    /// The next datagram, or nil when none waits.
    func receive() -> Message? {
        var sender = clinux_sender()
        var buffer = [UInt8](repeating: 0, count: Notification.longest)
        let count = clinux_receive_with_credentials(descriptor, &buffer, buffer.count, &sender)
        guard count >= 0 else { return nil }
        buffer.removeSubrange(count...)
        return Message(sender: sender, bytes: buffer)
    }
}
