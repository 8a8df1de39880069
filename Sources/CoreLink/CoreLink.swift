// A program's connection to ca-core: hello first, then requests; it notices when the core goes and comes back.
package import Threads
package import UPKIProtocol
package import ZeroMQ

/// A message of the core, read.
package enum CoreMessage {
    /// The core greets: a new connection, perhaps a new process.
    case hello
    case answer(id: UInt64, payload: [UInt8])
    /// The core does not serve our version; with the id of a request that it refused so.
    case refused(id: UInt64)
    /// It takes nothing more, and answers what it has.
    case goingAway
    case malformed(String)
}

/// What a link is told. Times are milliseconds.
package struct CoreLinkOptions: Sendable {
    /// The path of the core's socket for this program.
    package var corePath: String
    /// Name and version as `hello` says them: `ca-front 0.1.0`.
    package var program: String
    /// How long to wait for the answer to `hello` before it is said again.
    package var helloTimeout: Int
    package var reconnectInterval: Int

    package init(corePath: String, program: String, helloTimeout: Int = 1_000, reconnectInterval: Int = 20) {
        self.corePath = corePath
        self.program = program
        self.helloTimeout = helloTimeout
        self.reconnectInterval = reconnectInterval
    }
}

/// The DEALER to the core and what is known about its other end. It lives on the thread that made it.
package final class CoreLink {
    package enum State: Equatable, CustomStringConvertible {
        /// Nobody is connected.
        case away
        /// Somebody is connected and was not greeted yet.
        case connected
        /// `hello` was sent with that id.
        case greeting(id: UInt64, since: MonotonicTime)
        case ready
        /// The core ends: it still answers what it was sent.
        case leaving
        /// The core does not serve this version; asked again now and then, since it may be replaced.
        case refused(line: String, since: MonotonicTime)

        package var description: String {
            switch self {
            case .away: "away"
            case .connected: "connected"
            case .greeting: "greeting"
            case .ready: "ready"
            case .leaving: "leaving"
            case .refused: "refused"
            }
        }
    }

    package private(set) var state = State.away
    /// The core process that answered last, as it names itself.
    package private(set) var instance: String?
    package private(set) var coreProgram = "ca-core"

    private let socket: ZMQSocket
    private let monitor: ZMQMonitor
    private let program: String
    private let helloTimeout: Int
    /// The core waits to hear that nothing more comes.
    private var owesGoodbye = false

    /// Answers of the core are bounded by the core at 16 MiB; this is a stop for a core that went wrong.
    private static let limits = ZMQReceiveLimits(parts: 2, bytes: 64 << 20)

    package init(_ options: CoreLinkOptions, context: ZMQContext) throws(ZeroMQError) {
        var socketOptions = ZMQSocketOptions()
        // Only to a core that is there: what waits stays in the relay's own table, with its deadline.
        socketOptions.immediate = true
        socketOptions.sendHighWater = 1_000
        socketOptions.receiveHighWater = 1_000
        socketOptions.reconnectMilliseconds = options.reconnectInterval
        let socket = try ZMQSocket(.dealer, in: context, options: socketOptions)
        // Watched before it is connected, so that no event is missed.
        monitor = try ZMQMonitor(of: socket)
        try socket.connect("ipc://\(options.corePath)")
        self.socket = socket
        program = options.program
        helloTimeout = options.helloTimeout
    }

    /// Adds socket and monitor to a poll set; returns the socket's index.
    package func add(to set: inout ZMQPollSet) -> Int {
        _ = monitor.add(to: &set)
        return set.add(socket)
    }

    /// Whether the loop should wake up when something can be sent.
    package func wantsToSend(requestsWait: Bool) -> Bool {
        switch state {
        case .connected: true
        case .ready: requestsWait
        // The monitor wakes the loop when somebody connects.
        case .leaving: owesGoodbye
        case .away, .greeting, .refused: false
        }
    }

    /// When the link wants to act by itself.
    package var nextAction: MonotonicTime? {
        switch state {
        case .greeting(_, let since), .refused(_, let since): since.advanced(byMilliseconds: helloTimeout)
        case .away, .connected, .ready, .leaving: nil
        }
    }

    /// Takes in what happened to the connection; true when a core that had answered is gone.
    package func noticeConnections() throws(ZeroMQError) -> Bool {
        var lost = false
        while let event = try monitor.next() {
            switch event.kind {
            case .disconnected:
                lost = lost || state == .ready || state == .leaving
                state = .away
            case .handshakeSucceeded:
                state = .connected
            default: break
            }
        }
        return lost
    }

    /// Says hello, or goodbye, where that is due.
    /// - Parameter nextID: gives a fresh request id.
    package func greetIfDue(at now: MonotonicTime, nextID: () -> UInt64) throws(ZeroMQError) {
        switch state {
        case .away, .ready: return
        case .leaving: return try sayGoodbye()
        case .connected: break
        case .greeting, .refused: if let due = nextAction, now < due { return }
        }
        // libzmq looks for connections that came and went at most every few milliseconds while it sends, so that a hello could go
        // into the connection of a core that has died; asked for its events it always looks.
        guard try socket.events.contains(.writable) else { return }
        let id = nextID()
        let hello = Request(
            task: "hello",
            parameters: Parameters([
                .init("protocol", .integer(InternalLink.protocolVersion)), .init("program", .string(program)),
            ]))
        let header = InternalLink.RequestHeader(kind: .hello, id: id, arrival: now.nanoseconds, identity: .none)
        if try socket.sendNow(parts: [header.encoded, hello.frame]) == .sent {
            state = .greeting(id: id, since: now)
        }
    }

    private func sayGoodbye() throws(ZeroMQError) {
        guard owesGoodbye else { return }
        let header = InternalLink.RequestHeader(kind: .goodbye, id: 0, arrival: 0, identity: .none)
        if try socket.sendNow(parts: [header.encoded, []]) == .sent { owesGoodbye = false }
    }

    /// Hands one request to the core; false when that is not possible now.
    package func send(_ header: InternalLink.RequestHeader, _ payload: [UInt8]) throws(ZeroMQError) -> Bool {
        guard state == .ready else { return false }
        return try socket.sendNow(parts: [header.encoded, payload]) == .sent
    }

    /// The next message of the core, if there is one.
    package func receive(at now: MonotonicTime) throws(ZeroMQError) -> CoreMessage? {
        guard let message = try socket.receiveNow(Self.limits) else { return nil }
        guard message.parts.count == 2, message.discardedParts == 0 else {
            return .malformed("a message of \(message.parts.count + message.discardedParts) frames instead of two")
        }
        let header: InternalLink.AnswerHeader
        do throws(InternalLinkError) {
            header = try InternalLink.AnswerHeader(decoding: message.parts[0])
        } catch {
            // A core of another version that does not even refuse is no partner either.
            if error.code == .otherVersion { refuse("ca-core speaks \(error.message)", at: now) }
            return .malformed(error.message)
        }
        switch header.kind {
        case .goingAway:
            guard state == .ready else { return .malformed("a farewell before a greeting") }
            state = .leaving
            owesGoodbye = true
            return .goingAway
        case .answer:
            return .answer(id: header.id, payload: message.parts[1])
        case .helloAnswer:
            guard case .greeting(header.id, _) = state else { return .malformed("an answer to a hello that was not said") }
            return greeted(by: message.parts[1], at: now)
        case .refusedVersion:
            let reason: String
            do throws(Refusal) {
                _ = try Answer.data(ofFrame: message.parts[1])
                reason = "no reason was given"
            } catch {
                reason = error.message
            }
            refuse("\(reason) (this is \(program), link version \(InternalLink.version); ca-core's is \(header.version))", at: now)
            return .refused(id: header.id)
        }
    }

    private func greeted(by payload: [UInt8], at now: MonotonicTime) -> CoreMessage {
        do throws(Refusal) {
            let data = try Answer.data(ofFrame: payload)
            guard data["protocol"]?.integerValue == InternalLink.protocolVersion else {
                refuse("ca-core speaks another protocol than \(InternalLink.protocolVersion)", at: now)
                return .malformed("hello was answered with another protocol")
            }
            instance = data["instance"]?.stringValue
            coreProgram = data["program"]?.stringValue ?? "ca-core"
            state = .ready
            return .hello
        } catch {
            refuse(error.message, at: now)
            return .malformed("hello was refused: \(error.message)")
        }
    }

    private func refuse(_ line: String, at now: MonotonicTime) {
        state = .refused(line: line, since: now)
    }
}
