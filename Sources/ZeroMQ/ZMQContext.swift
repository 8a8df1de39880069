// The libzmq context: its I/O threads and the sockets made in it.
import CZeroMQ

/// A libzmq context. It crosses threads; the sockets made in it do not.
///
/// Every socket keeps its context alive. When the last reference goes, libzmq waits until each closed socket has sent what its
/// linger time allows, then ends its threads.
///
/// Sendable unchecked: the only stored property is a constant pointer to a context, and libzmq documents contexts as thread safe (zmq(7)).
public final class ZMQContext: @unchecked Sendable {
    let handle: UnsafeMutableRawPointer

    /// - Parameters:
    ///   - ioThreads: libzmq's own threads; one carries about 1 GB/s.
    ///   - maximumSockets: how many sockets may exist in it at a time.
    /// - Throws: `.tooManySockets` or `.system` when libzmq cannot start, `.invalidArgument` for numbers that it refuses.
    public init(ioThreads: Int = 1, maximumSockets: Int = 1023) throws(ZeroMQError) {
        guard let handle = zmq_ctx_new() else { throw ZeroMQError(number: zmq_errno(), "no ZeroMQ context") }
        for (option, value) in [(ZMQ_IO_THREADS, ioThreads), (ZMQ_MAX_SOCKETS, maximumSockets)] {
            guard zmq_ctx_set(handle, option, Int32(clamping: value)) == 0 else {
                let number = zmq_errno()
                zmq_ctx_term(handle)
                throw ZeroMQError(number: number, "a ZeroMQ context does not take \(value)")
            }
        }
        self.handle = handle
    }

    deinit {
        // No socket is left, since each holds a reference: this waits for linger times only.
        while zmq_ctx_term(handle) != 0 && zmq_errno() == EINTR {}
    }

    /// Makes every blocking call on a socket of this context throw `.contextTerminated`, on whatever thread; may be called from any.
    public func shutdown() {
        zmq_ctx_shutdown(handle)
    }

    /// libzmq's version, as 4.3.4.
    public static var libraryVersion: String {
        var (major, minor, patch): (Int32, Int32, Int32) = (0, 0, 0)
        zmq_version(&major, &minor, &patch)
        return "\(major).\(minor).\(patch)"
    }
}
