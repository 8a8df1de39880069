// What other threads of the supervisor's process may do with it.
import CLinux
import Glibc
import Synchronization

/// Hands commands to the supervisor's loop and reads its last snapshot; any thread may use it, also after the supervisor ended.
public final class SupervisorHandle: Sendable {
    struct Submission: Sendable {
        let command: ControlCommand
        let reply: @Sendable (ControlAnswer) -> Void
    }

    private struct Mailbox {
        var submissions: [Submission] = []
        var shutdownReason: String?
        var isOpen = true
    }

    /// An eventfd; the loop watches it.
    let wake: Int32
    private let mailbox = Mutex(Mailbox())
    private let snapshot: Mutex<SupervisorStatus>

    init(_ status: SupervisorStatus) throws(SupervisionError) {
        wake = eventfd(0, Int32(EFD_CLOEXEC) | Int32(EFD_NONBLOCK))
        guard wake >= 0 else { throw .systemCall("eventfd", -errno) }
        snapshot = Mutex(status)
    }

    deinit { close(wake) }

    /// The state at the end of the loop's last turn.
    public func status() -> SupervisorStatus { snapshot.withLock { $0 } }

    /// Asks for the orderly end of everything; returns at once.
    public func requestShutdown(reason: String) {
        mailbox.withLock { if $0.shutdownReason == nil { $0.shutdownReason = reason } }
        eventfd_write(wake, 1)
    }

    /// Hands in a command; `reply` is called on the supervisor's thread when it is done, and must not block. When the supervisor
    /// has ended it is called at once, with a refusal.
    public func submit(_ command: ControlCommand, reply: @escaping @Sendable (ControlAnswer) -> Void) {
        let taken = mailbox.withLock { box in
            if box.isOpen { box.submissions.append(Submission(command: command, reply: reply)) }
            return box.isOpen
        }
        if taken {
            eventfd_write(wake, 1)
        } else {
            reply(ControlAnswer(isDone: false, message: "the supervisor has ended"))
        }
    }

    func publish(_ status: SupervisorStatus) { snapshot.withLock { $0 = status } }

    /// What was handed in since the last time.
    func collect() -> (submissions: [Submission], shutdownReason: String?) {
        mailbox.withLock { box in
            defer { box.submissions = [] }
            return (box.submissions, box.shutdownReason)
        }
    }

    /// From now on nothing is taken; what was still handed in comes back.
    func closeMailbox() -> [Submission] {
        mailbox.withLock { box in
            defer { box.submissions = [] }
            box.isOpen = false
            return box.submissions
        }
    }
}
