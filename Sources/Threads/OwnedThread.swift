// A POSIX thread with a name, no signals and an end that can be waited for.
import CThreads
import Glibc
import Synchronization

/// A POSIX thread with a name, no signals and an end that can be waited for.
///
/// Every signal is blocked on it: signals belong to the main thread, which waits for them. A thread that nobody joins is
/// detached when its object goes; it still runs to the end of its body.
public final class OwnedThread: Sendable {
    /// The kernel's limit (pthread_setname_np(3)).
    public static let longestName = 15

    public let name: String
    private let handle: Mutex<pthread_t?>

    /// Starts a thread.
    /// - Parameters:
    ///   - name: 1 to 15 bytes; what `top -H` and a debugger show.
    ///   - stackBytes: the size of its stack; nil takes the system's.
    ///   - body: what it does; the thread ends when this returns.
    /// - Throws: `.invalidName`, or `.system` when the kernel has no thread left.
    public init(name: String, stackBytes: Int? = nil, _ body: @escaping @Sendable () -> Void) throws(ThreadsError) {
        guard (1...Self.longestName).contains(name.utf8.count), !name.utf8.contains(0) else {
            throw ThreadsError(.invalidName, "a thread's name has 1 to \(Self.longestName) bytes, not: \(name)")
        }
        self.name = name

        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        defer { pthread_attr_destroy(&attributes) }
        if let stackBytes {
            let refused = pthread_attr_setstacksize(&attributes, stackBytes)
            guard refused == 0 else {
                throw ThreadsError(.system, "a stack of \(stackBytes) bytes is refused for thread \(name)", errorNumber: refused)
            }
        }

        // A new thread inherits the mask, so that there is no moment at which it could take a signal.
        var all = sigset_t()
        var before = sigset_t()
        sigfillset(&all)
        pthread_sigmask(SIG_SETMASK, &all, &before)
        defer { pthread_sigmask(SIG_SETMASK, &before, nil) }

        var thread = pthread_t()
        let start = Unmanaged.passRetained(Start(name: name, body: body))
        let refused = pthread_create(
            &thread, &attributes,
            { argument in
                // `argument` is the object passed below, which is never nil.
                guard let argument else { return nil }
                let start = Unmanaged<Start>.fromOpaque(argument).takeRetainedValue()
                _ = cthreads_set_own_name(start.name)
                start.body()
                return nil
            }, start.toOpaque())
        guard refused == 0 else {
            start.release()
            throw ThreadsError(.system, "thread \(name) cannot be started: \(String(cString: strerror(refused)))", errorNumber: refused)
        }
        handle = Mutex(thread)
    }

    deinit {
        handle.withLock { thread in
            if let thread { pthread_detach(thread) }
            thread = nil
        }
    }

    /// Waits until the thread has ended; several threads may wait. The thread itself must not.
    public func join() {
        handle.withLock { thread in
            if let joining = thread { pthread_join(joining, nil) }
            thread = nil
        }
    }

    private final class Start: Sendable {
        let name: String
        let body: @Sendable () -> Void

        init(name: String, body: @escaping @Sendable () -> Void) {
            self.name = name
            self.body = body
        }
    }
}
