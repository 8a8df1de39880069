// How a program waits for the end of its service: SIGTERM, SIGINT and SIGHUP, or a thread of its own that gives up.
import CLinux
import Glibc
import Synchronization

/// Turns signals into a value that the main thread waits for, so that no code ever runs inside a signal handler.
///
/// Make it before any other thread exists: threads made later inherit the blocked mask, and a signal then reaches only `wait()`.
public final class ShutdownSignals: Sendable {
    public enum Event: Equatable, Sendable {
        /// SIGTERM, SIGINT or `requestStop`.
        case terminate
        /// SIGHUP: read the configuration again.
        case reload
    }

    private let signals: Int32
    private let wake: Int32
    private let reason = Mutex<String?>(nil)

    /// Blocks SIGTERM, SIGINT and SIGHUP in the calling thread and those it makes later.
    /// - Throws: `.systemCall` when the process has no descriptors left.
    public init() throws(SupervisedError) {
        let caught = [SIGTERM, SIGINT, SIGHUP]
        let blocked = clinux_block_signals(caught, caught.count)
        guard blocked == 0 else { throw .systemCall("pthread_sigmask", blocked) }
        signals = clinux_signal_descriptor(caught, caught.count)
        guard signals >= 0 else { throw .systemCall("signalfd", signals) }
        wake = eventfd(0, Int32(EFD_CLOEXEC) | Int32(EFD_NONBLOCK))
        guard wake >= 0 else {
            let failed = -errno
            close(signals)
            throw .systemCall("eventfd", failed)
        }
    }

    deinit {
        close(signals)
        close(wake)
    }

    /// Blocks until a signal arrives or a thread calls `requestStop`. After `.terminate` through `requestStop`
    /// every further call returns `.terminate` at once.
    public func wait() -> Event {
        while true {
            var watched = [pollfd(fd: signals, events: Int16(POLLIN), revents: 0), pollfd(fd: wake, events: Int16(POLLIN), revents: 0)]
            // The only failure that can happen here is EINTR; then the descriptors are looked at again.
            guard poll(&watched, 2, -1) > 0 else { continue }
            if watched[1].revents != 0 { return .terminate }
            switch clinux_next_signal(signals) {
            case SIGHUP: return .reload
            case SIGTERM: return terminated(by: "SIGTERM")
            case SIGINT: return terminated(by: "SIGINT")
            default: continue
            }
        }
    }

    /// Makes `wait()` return `.terminate`, now and for ever. Any thread may call it; the first reason is kept.
    public func requestStop(reason text: String) {
        reason.withLock { if $0 == nil { $0 = text } }
        eventfd_write(wake, 1)
    }

    /// Why `wait()` returned `.terminate`: the signal's name, or the reason given to `requestStop`.
    public var stopReason: String? { reason.withLock { $0 } }

    private func terminated(by name: String) -> Event {
        reason.withLock { if $0 == nil { $0 = name } }
        return .terminate
    }
}
