// How ca-ctl, and tests, speak to a running supervisor.
import CLinux
import Glibc

/// One connection to a supervisor's control socket; calls block, so it belongs to one thread.
public struct SupervisorClient: ~Copyable {
    private let descriptor: Int32

    /// - Parameter path: `<run directory>/supervisor.sock`.
    /// - Throws: `.unreachable` when nobody listens there or it may not be opened.
    public init(_ path: String) throws(SupervisionError) {
        let connected = clinux_connect_unix(Int32(SOCK_SEQPACKET.rawValue), path, 0)
        guard connected >= 0 else { throw .systemCall("no supervisor at \(path)", connected, code: .unreachable) }
        descriptor = connected
    }

    deinit { close(descriptor) }

    /// The control socket of the supervisor of that run directory.
    public static func path(runDirectory: String) -> String { "\(runDirectory)/supervisor.sock" }

    /// Asks and waits for the answer.
    /// - Parameter timeout: how long the answer may take; starts and stops answer when they are done. After a timeout the
    ///   connection is of no more use.
    /// - Throws: `.timedOut`, `.unreachable` when the supervisor ended, `.malformedMessage`; a refusal is no error here.
    public func ask(_ command: ControlCommand, timeout: Duration = .seconds(60)) throws(SupervisionError) -> ControlAnswer {
        let request = ControlMessage.encode(command)
        guard send(descriptor, request, request.count, Int32(MSG_NOSIGNAL)) == request.count else {
            throw .systemCall("the supervisor does not take the request", -errno, code: .unreachable)
        }
        let end = SuspendingClock.now.advanced(by: timeout)
        while true {
            let left = SuspendingClock.now.duration(to: end)
            guard left > .zero else { throw SupervisionError(.timedOut, "the supervisor has not answered within \(timeout)") }
            var watched = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            guard poll(&watched, 1, milliseconds(left)) > 0 else { continue }
            var buffer = [UInt8](repeating: 0, count: ControlMessage.longest + 1)
            let count = recv(descriptor, &buffer, buffer.count, 0)
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { throw SupervisionError(.unreachable, "the supervisor has ended without an answer") }
            buffer.removeSubrange(count...)
            return try ControlMessage.answer(from: buffer)
        }
    }

    /// - Throws: what `ask` does, and `.refused`.
    public func status(timeout: Duration = .seconds(10)) throws(SupervisionError) -> SupervisorStatus {
        let answer = try ask(.status, timeout: timeout)
        guard let status = answer.status else { throw SupervisionError(.refused, answer.message) }
        return status
    }

    /// Asks for something to be done, and returns what the supervisor says when it is.
    /// - Throws: what `ask` does, and `.refused` with the reason when it was not done.
    @discardableResult
    public func perform(_ command: ControlCommand, timeout: Duration = .seconds(60)) throws(SupervisionError) -> String {
        let answer = try ask(command, timeout: timeout)
        guard answer.isDone else { throw SupervisionError(.refused, answer.message) }
        return answer.message
    }
}

/// For poll(2): rounded up, so that a deadline has really passed afterwards, and at most an hour.
func milliseconds(_ duration: Duration) -> Int32 {
    guard duration > .zero else { return 0 }
    guard duration < .seconds(3600) else { return 3_600_000 }
    let (seconds, attoseconds) = duration.components
    return Int32(seconds * 1000 + (attoseconds + 999_999_999_999_999) / 1_000_000_000_000_000)
}
