// The client of ports 5000 and 5001 over CURVE: finds the server that holds the expected key, asks one task after another.

public import Enrolment
public import UPKIProtocol
public import ZeroMQ

/// A connection to a CA's front or registrar. Calls block; it belongs to the thread that made it.
public struct NodeConnection: ~Copyable {
    /// Which of the two ports.
    public enum Port: Sendable {
        case core
        case registrar
    }

    /// Answers are bounded at 16 MiB by ca-core; this is a stop for a server that went wrong.
    private static let limits = ZMQReceiveLimits(parts: 4, bytes: 64 << 20)
    private static let lookInterval = 50
    /// How long one server may take for the handshake.
    private static let patience = Duration.seconds(3)

    /// `192.0.2.10:5000`.
    public let place: String
    /// Whether the first of the keys that are known proved itself: else there is news to be had.
    public let usesFirstKeys: Bool
    private let link: Link
    private var lastID: UInt64 = 0
    private var isSpent = false

    private struct Link: ~Copyable {
        let socket: ZMQSocket
        let monitor: ZMQMonitor

        init(_ endpoint: String, _ pair: ZMQCurveKeyPair, serverKey: String) throws(ZeroMQError) {
            var options = ZMQSocketOptions()
            options.immediate = true
            options.sendTimeoutMilliseconds = 1_000
            options.receiveTimeoutMilliseconds = NodeConnection.lookInterval
            options.maximumFrameBytes = 64 << 20
            options.ipv6 = true
            options.curve = .client(pair, serverKey: serverKey)
            // A peer that vanished without a word is noticed.
            options.heartbeat = (interval: 5_000, timeout: 15_000)
            let socket = try ZMQSocket(.dealer, in: try ZMQContext(), options: options)
            let monitor = try ZMQMonitor(of: socket)
            try socket.connect(endpoint)
            self.socket = socket
            self.monitor = monitor
        }
    }

    /// Connects to the first server that proves the expected key.
    ///
    /// - Parameters:
    ///   - servers: its hosts and keys, tried in their order.
    ///   - port: the front or the registrar.
    ///   - identity: the node's own key pair, or one for a node that is none yet.
    ///   - timeout: for all tries together.
    /// - Throws: `.otherServer` where somebody answered that could not prove the key, else `.unreachable`; `.system`.
    public static func open(
        _ servers: ServerAddresses, port: Port, identity: ZMQCurveKeyPair, timeout: Duration = .seconds(10)
    ) throws(NodeLinkError) -> NodeConnection {
        let end = SuspendingClock.now.advanced(by: timeout)
        var failure = NodeLinkError(.unreachable, "no address of the CA is known")
        for (index, set) in servers.sets.enumerated() {
            for host in servers.hosts {
                let (number, key) = port == .core ? (set.port, set.coreKey) : (set.registrarPort, set.registrarKey)
                let place = ServerAddresses.place(host, number)
                let link: Link
                do throws(ZeroMQError) {
                    link = try Link(ServerAddresses.endpoint(host, number), identity, serverKey: key)
                } catch {
                    failure = Self.weightier(failure, NodeLinkError(.system, "\(place): \(error.message)"))
                    continue
                }
                let patience = min(end, SuspendingClock.now.advanced(by: Self.patience))
                guard let fault = try Self.awaitHandshake(link, place, until: patience) else {
                    return NodeConnection(place, index == 0, link)
                }
                failure = Self.weightier(failure, fault)
                guard SuspendingClock.now < end else { throw failure }
            }
        }
        throw failure
    }

    /// Somebody who answers with another key matters more than nobody.
    private static func weightier(_ a: NodeLinkError, _ b: NodeLinkError) -> NodeLinkError { a.code == .otherServer ? a : b }

    private init(_ place: String, _ usesFirstKeys: Bool, _ link: consuming Link) {
        self.place = place
        self.usesFirstKeys = usesFirstKeys
        self.link = link
    }

    /// - Returns: why there is no connection; nil once there is one.
    private static func awaitHandshake(
        _ link: borrowing Link, _ place: String, until end: SuspendingClock.Instant
    ) throws(NodeLinkError) -> NodeLinkError? {
        var isConnected = false
        while SuspendingClock.now < end {
            guard let event = try nextEvent(link) else {
                // Nothing is to be received yet: this only waits.
                do throws(ZeroMQError) { _ = try link.socket.receive(limits) } catch { throw systemError(error) }
                continue
            }
            switch event.kind {
            case .handshakeSucceeded: return nil
            case .handshakeFailed, .handshakeViolated, .handshakeRefused: return otherServer(place)
            case .connected: isConnected = true
            case .disconnected where isConnected: return otherServer(place)
            case .closed where !isConnected: return NodeLinkError(.unreachable, "nobody listens at \(place)")
            default: break
            }
        }
        return isConnected
            ? otherServer(place)
            : NodeLinkError(.unreachable, "nobody answers at \(place): is the CA running, and does a firewall let this host in?")
    }

    private static func otherServer(_ place: String) -> NodeLinkError {
        NodeLinkError(
            .otherServer,
            "who answers at \(place) does not prove the CURVE key that is expected: it is another CA, listens without CURVE, takes no more connections, or somebody stands in between"
        )
    }

    private static func nextEvent(_ link: borrowing Link) throws(NodeLinkError) -> ZMQMonitorEvent? {
        do throws(ZeroMQError) { return try link.monitor.next() } catch { throw systemError(error) }
    }

    // MARK: Asking

    /// Asks one task and waits for its answer.
    ///
    /// - Returns: the data of the answer.
    /// - Throws: `.refused` with the CA's words; `.noAnswer` after the time or when the connection ends: what was asked may then still take
    ///   effect, and this connection is of no more use; `.invalidAnswer`.
    public mutating func ask(
        _ task: String, _ parameters: [JSON.Member] = [], timeout: Duration = .seconds(30)
    ) throws(NodeLinkError) -> JSON {
        guard !isSpent else { throw NodeLinkError(.noAnswer, "the connection to \(place) is broken") }
        lastID += 1
        let tag = withUnsafeBytes(of: lastID.bigEndian) { Array($0) }
        let end = SuspendingClock.now.advanced(by: timeout)
        let outcome: ZMQSendOutcome
        do throws(ZeroMQError) {
            outcome = try link.socket.send(parts: [tag, [], Request(task: task, parameters: Parameters(parameters)).frame])
        } catch {
            throw Self.systemError(error)
        }
        guard outcome == .sent else {
            isSpent = true
            throw NodeLinkError(.noAnswer, "the CA at \(place) takes no request; try again")
        }
        while true {
            if let answer = try next(tag) { return answer }
            if try hasEnded() {
                // It may have come at the last moment.
                if let answer = try next(tag) { return answer }
                isSpent = true
                throw NodeLinkError(
                    .noAnswer, "the connection to the CA at \(place) ended before the answer; what was asked may have taken effect")
            }
            guard SuspendingClock.now < end else {
                isSpent = true
                throw NodeLinkError(
                    .noAnswer, "no answer to \(task) from the CA at \(place) within \(timeout); what was asked may still take effect")
            }
        }
    }

    /// The data of the answer with that tag, when it has come; others are passed over.
    private func next(_ tag: [UInt8]) throws(NodeLinkError) -> JSON? {
        let message: ZMQMessage?
        do throws(ZeroMQError) { message = try link.socket.receive(Self.limits) } catch { throw Self.systemError(error) }
        guard let message, message.parts.count == 3, message.discardedParts == 0, message.parts[0] == tag, message.parts[1].isEmpty else {
            return nil
        }
        do throws(Refusal) { return try Answer.data(ofFrame: message.parts[2]) } catch {
            throw NodeLinkError(error.code == .refusedByServer ? .refused : .invalidAnswer, error.message)
        }
    }

    private func hasEnded() throws(NodeLinkError) -> Bool {
        var ended = false
        while let event = try Self.nextEvent(link) { if event.kind == .disconnected { ended = true } }
        return ended
    }

    private static func systemError(_ error: ZeroMQError) -> NodeLinkError { NodeLinkError(.system, error.message) }
}
