// The client of admin.sock: greets ca-core, asks one task after another, and never waits for ever.

import CLinux
import Glibc
public import UPKIProtocol
import ZeroMQ

/// A connection to ca-core's admin.sock. Calls block; it belongs to the thread that made it.
public struct AdminConnection: ~Copyable {
    /// Answers are bounded at 16 MiB by ca-core; this is a stop for one that went wrong.
    private static let limits = ZMQReceiveLimits(parts: 2, bytes: 64 << 20)
    /// How often a wait looks whether the other side is still there.
    private static let lookInterval = 200

    public let path: String
    private let link: Link
    private var lastID: UInt64 = 0
    /// Set once an answer may still come that nobody waits for any more, or the connection broke.
    private var isSpent = false

    /// A socket, and what becomes of its connection.
    private struct Link: ~Copyable {
        let socket: ZMQSocket
        let monitor: ZMQMonitor

        init(_ path: String, _ timeout: Duration) throws(ZeroMQError) {
            var options = ZMQSocketOptions()
            options.immediate = true
            options.sendTimeoutMilliseconds = Int(wholeMilliseconds(timeout))
            options.receiveTimeoutMilliseconds = AdminConnection.lookInterval
            let socket = try ZMQSocket(.dealer, in: try ZMQContext(), options: options)
            // Watched before it is connected, so that no event is missed.
            let monitor = try ZMQMonitor(of: socket)
            try socket.connect("ipc://\(path)")
            self.socket = socket
            self.monitor = monitor
        }
    }

    /// The socket in that run directory.
    public static func path(runDirectory: String) -> String { "\(runDirectory)/admin.sock" }

    /// Connects and greets.
    /// - Parameters:
    ///   - runDirectory: where ca-core's sockets are.
    ///   - program: name and version of the asking program, for ca-core's log.
    ///   - timeout: how long connecting and the greeting may take.
    /// - Throws: `.unreachable` at once when nobody listens; `.notPermitted`, `.noAnswer`, `.otherVersion`, `.system`.
    public static func open(
        runDirectory: String, program: String, timeout: Duration = .seconds(3)
    ) throws(AdminLinkError) -> AdminConnection {
        let path = path(runDirectory: runDirectory)
        let end = SuspendingClock.now.advanced(by: timeout)
        var connection = AdminConnection(path, try open(path, timeout))
        try connection.greet(program, until: end)
        return connection
    }

    private init(_ path: String, _ link: consuming Link) {
        self.path = path
        self.link = link
    }

    private static func open(_ path: String, _ timeout: Duration) throws(AdminLinkError) -> Link {
        // libzmq would go on trying in silence: a plain connect tells at once whether somebody listens.
        try probe(path)
        do throws(ZeroMQError) { return try Link(path, timeout) } catch { throw systemError(error) }
    }

    /// Asks one task and waits for its answer.
    /// - Parameters:
    ///   - task: a task of admin.sock.
    ///   - parameters: its parameters.
    ///   - timeout: how long the answer may take.
    /// - Returns: the data of the answer.
    /// - Throws: `.refused` with ca-core's words; `.noAnswer` after the time, or at once when ca-core goes; what was asked may then
    ///   still take effect, and the connection is of no more use.
    public mutating func ask(
        _ task: String, _ parameters: [JSON.Member] = [], timeout: Duration = .seconds(30)
    ) throws(AdminLinkError) -> JSON {
        guard !isSpent else { throw AdminLinkError(.noAnswer, "the connection to the CA is broken") }
        let request = Request(task: task, parameters: Parameters(parameters))
        let end = SuspendingClock.now.advanced(by: timeout)
        let id = try send(.request, request.frame)
        let frame = try receive(id, .answer, until: end, waitingFor: "the answer to \(task) within \(timeout)")
        do throws(Refusal) {
            return try Answer.data(ofFrame: frame)
        } catch {
            throw AdminLinkError(error.code == .refusedByServer ? .refused : .otherVersion, error.message)
        }
    }

    private mutating func greet(_ program: String, until end: SuspendingClock.Instant) throws(AdminLinkError) {
        let hello = Request(
            task: "hello",
            parameters: Parameters([
                .init("protocol", .integer(InternalLink.protocolVersion)), .init("program", .string(program)),
            ]))
        let id = try send(.hello, hello.frame)
        let frame = try receive(id, .helloAnswer, until: end, waitingFor: "a greeting")
        do throws(Refusal) {
            let data = try Answer.data(ofFrame: frame)
            guard data["protocol"]?.integerValue == InternalLink.protocolVersion else {
                throw Refusal(
                    .invalidAnswer, "ca-core speaks another protocol than \(InternalLink.protocolVersion); use the ca-ctl that came with it"
                )
            }
        } catch {
            throw AdminLinkError(.otherVersion, error.message)
        }
    }

    private mutating func send(_ kind: InternalLink.RequestHeader.Kind, _ frame: [UInt8]) throws(AdminLinkError) -> UInt64 {
        lastID += 1
        let header = InternalLink.RequestHeader(kind: kind, id: lastID, arrival: monotonicNanoseconds(), identity: .none)
        let outcome: ZMQSendOutcome
        do throws(ZeroMQError) { outcome = try link.socket.send(parts: [header.encoded, frame]) } catch { throw Self.systemError(error) }
        guard outcome == .sent else {
            isSpent = true
            throw AdminLinkError(.noAnswer, "ca-core does not answer at \(path): it hangs, or is stopped")
        }
        return lastID
    }

    private mutating func receive(
        _ id: UInt64, _ kind: InternalLink.AnswerHeader.Kind, until end: SuspendingClock.Instant, waitingFor what: String
    ) throws(AdminLinkError) -> [UInt8] {
        while true {
            guard let message = try next() else {
                if try isGone() {
                    isSpent = true
                    throw AdminLinkError(.noAnswer, "the CA ended before its answer; what was asked may have taken effect")
                }
                guard SuspendingClock.now < end else {
                    isSpent = true
                    throw AdminLinkError(.noAnswer, "the CA has not given \(what); what was asked may still take effect")
                }
                continue
            }
            guard message.parts.count == 2, message.discardedParts == 0 else {
                throw AdminLinkError(.otherVersion, "what listens at \(path) is not this CA: a message of \(message.parts.count) frames")
            }
            let header: InternalLink.AnswerHeader
            do throws(InternalLinkError) {
                header = try InternalLink.AnswerHeader(decoding: message.parts[0])
            } catch {
                throw AdminLinkError(.otherVersion, "what listens at \(path) cannot be understood: \(error.message)")
            }
            // Answers to questions that nobody waits for any more are passed over.
            guard header.id == id else { continue }
            if header.kind == .refusedVersion { throw Self.versionRefusal(message.parts[1], header.version) }
            guard header.kind == kind else { throw AdminLinkError(.otherVersion, "an answer of another kind than was asked for") }
            return message.parts[1]
        }
    }

    private func next() throws(AdminLinkError) -> ZMQMessage? {
        do throws(ZeroMQError) { return try link.socket.receive(Self.limits) } catch { throw Self.systemError(error) }
    }

    /// Whether the connection has ended since the last look.
    private func isGone() throws(AdminLinkError) -> Bool {
        do throws(ZeroMQError) {
            var gone = false
            while let event = try link.monitor.next() {
                switch event.kind {
                case .disconnected: gone = true
                default: break
                }
            }
            return gone
        } catch {
            throw Self.systemError(error)
        }
    }

    private static func versionRefusal(_ frame: [UInt8], _ version: UInt8) -> AdminLinkError {
        var reason = "no reason was given"
        do throws(Refusal) { _ = try Answer.data(ofFrame: frame) } catch { reason = error.message }
        return AdminLinkError(
            .otherVersion, "\(reason) (link version \(InternalLink.version) here, \(version) there); use the ca-ctl that came with ca-core")
    }

    private static func probe(_ path: String) throws(AdminLinkError) {
        let descriptor = clinux_connect_unix(Int32(SOCK_STREAM.rawValue), path, 0)
        guard descriptor < 0 else {
            close(descriptor)
            return
        }
        switch -descriptor {
        case EACCES, EPERM:
            throw AdminLinkError(.notPermitted, "\(path) belongs to another user")
        case ENOENT, ECONNREFUSED, ENOTDIR:
            throw AdminLinkError(.unreachable, "nobody listens at \(path)")
        case ENAMETOOLONG:
            throw AdminLinkError(
                .system, "\(path) is longer than the 107 bytes a Unix socket's path may have: choose a shorter run directory")
        default:
            throw AdminLinkError(.unreachable, "\(path): \(String(cString: strerror(-descriptor)))")
        }
    }

    private static func systemError(_ error: ZeroMQError) -> AdminLinkError { AdminLinkError(.system, error.message) }
}

func wholeMilliseconds(_ duration: Duration) -> Int64 {
    let (seconds, attoseconds) = duration.components
    return max(0, seconds * 1000 + attoseconds / 1_000_000_000_000_000)
}

private func monotonicNanoseconds() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}
