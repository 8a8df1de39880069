// The guard of a relay: says who may come in (the ZAP handler), and ends connections that are too many or that swallow memory.
//
// libzmq bounds neither connections nor idle peers nor the parts of a message, and lets everybody in where no ZAP handler is bound. A thread of
// its own hears of every connection and looks at it through the kernel, whatever the relaying thread is busy with.
import CLinux
import Synchronization
import Threads
import UPKIProtocol
import ZeroMQ

/// What the guard and the relaying thread share.
package final class GuardShared: Sendable {
    struct Facts: Sendable {
        var limits = RelayLimits()
        /// CURVE keys of nodes, in Z85.
        var nodes: Set<String> = []
        var counters = GuardCounters()
        /// Nobody is let in any more: a client whose handshake is not answered has sent nothing yet, and asks the next process.
        var isEnding = false
    }

    package init() {}

    let facts = Mutex(Facts())
    /// Messages that were delivered, by the descriptor that they came by; they wrap.
    private let deliveries = Mutex<[UInt32]>([])
    private static let mostDescriptors = 1 << 20

    func delivered(on descriptor: Int32) {
        guard (0..<Self.mostDescriptors).contains(Int(descriptor)) else { return }
        deliveries.withLock { counts in
            if counts.count <= Int(descriptor) { counts.append(contentsOf: repeatElement(0, count: Int(descriptor) + 64 - counts.count)) }
            counts[Int(descriptor)] &+= 1
        }
    }

    func deliveries(on descriptor: Int32) -> UInt32 {
        deliveries.withLock { $0.indices.contains(Int(descriptor)) ? $0[Int(descriptor)] : 0 }
    }
}

/// What a guard has done.
struct GuardCounters: Sendable, Equatable {
    var connectionsOpen = 0
    var connectionsAccepted = 0
    var refusedInAll = 0
    var refusedOfAddress = 0
    var refusedByRate = 0
    var refusedStrangers = 0
    var cutForLength = 0
    var plainAtCurve = 0
    var curveAtPlain = 0
    var otherKey = 0
    var handshakesFailed = 0
}

/// The guard's thread, as the relaying thread sees it.
package final class RelayGuard {
    fileprivate enum Order: Sendable {
        /// Listen to a listener's connections.
        case watch(ZMQWatch, WatchedListener)
        case stop
    }

    let shared: GuardShared
    private let orders: Mailbox<Order>
    private let thread: OwnedThread

    /// Starts the thread, which binds the ZAP handler before this returns.
    /// - Throws: `.system` where the handler cannot be bound: then nothing may listen.
    package init(_ context: ZMQContext, shared: GuardShared, log: @escaping @Sendable (RelayLogLevel, String) -> Void) throws(RelayError) {
        self.shared = shared
        let failure: String?
        do throws(ThreadsError) {
            let orders = try Mailbox<Order>()
            let bound = try Mailbox<String?>()
            self.orders = orders
            self.thread = try OwnedThread(name: "relay-guard") {
                defer { orders.close() }
                do throws(ZeroMQError) {
                    try GuardLoop(context, shared, log).run(orders, bound)
                } catch {
                    bound.post(error.message)
                    log(.error, "the guard of the connections has ended: \(error.message)")
                }
            }
            failure = bound.take(upTo: 1).first ?? "its thread has ended"
        } catch {
            throw RelayError(.system, error.message)
        }
        if let failure {
            throw RelayError(.system, "without a ZAP handler everybody would be let in, and it cannot be bound: \(failure)")
        }
    }

    /// Has a listener watched from before it is bound.
    func watch(_ socket: borrowing ZMQSocket, _ listener: WatchedListener) throws(RelayError) {
        let watch: ZMQWatch
        do throws(ZeroMQError) { watch = try socket.watch() } catch {
            throw RelayError(.system, "a listener cannot be watched: \(error.message)")
        }
        guard orders.post(.watch(watch, listener)) == .accepted else {
            throw RelayError(.system, "a listener cannot be watched: its guard has ended")
        }
    }

    /// Ends the thread, and with it the handler: to be called when nothing listens any more.
    package func stop() {
        orders.post(.stop)
        thread.join()
    }
}

/// What the guard has to know of a listener.
struct WatchedListener: Sendable {
    let mechanism: RelayListener.Mechanism
    /// For the log.
    let place: String
}

/// The guard's own thread.
private final class GuardLoop {
    private let shared: GuardShared
    private let log: @Sendable (RelayLogLevel, String) -> Void
    private let zap: ZMQSocket
    private var watched: [Watched] = []
    private var table = ConnectionTable()
    private var counters = GuardCounters()

    private final class Watched {
        let monitor: ZMQMonitor
        let listener: WatchedListener

        init(_ watch: ZMQWatch, _ listener: WatchedListener) {
            self.monitor = ZMQMonitor(watch)
            self.listener = listener
        }
    }

    /// How often connections are looked at.
    private static let round = 100
    /// ZMQ_PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC and ZMQ_PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH of zmq.h.
    private static let cryptographic: Int32 = 0x1100_0001
    private static let mechanismMismatch: Int32 = 0x1100_0002

    init(_ context: ZMQContext, _ shared: GuardShared, _ log: @escaping @Sendable (RelayLogLevel, String) -> Void) throws(ZeroMQError) {
        self.shared = shared
        self.log = log
        var options = ZMQSocketOptions()
        options.receiveHighWater = 100_000
        options.sendHighWater = 100_000
        self.zap = try ZMQSocket(.router, in: context, options: options)
        try self.zap.bind(ZapRequest.endpoint)
    }

    func run(_ orders: Mailbox<RelayGuard.Order>, _ bound: Mailbox<String?>) throws(ZeroMQError) {
        bound.post(nil)
        var poll = ZMQPollSet()
        poll.add(descriptor: orders.descriptor)
        poll.add(zap)
        var taken: [RelayGuard.Order] = []
        var nextRound = MonotonicTime.now
        while true {
            let now = MonotonicTime.now
            // With nobody connected there is nothing to look at.
            let wait = table.count == 0 ? -1 : now.milliseconds(until: nextRound)
            _ = try poll.wait(milliseconds: orders.mayPoll() ? wait : 0)
            taken.removeAll(keepingCapacity: true)
            orders.takeAll(into: &taken)
            for order in taken {
                switch order {
                case .stop: return
                case .watch(let watch, let listener):
                    let one = Watched(watch, listener)
                    _ = one.monitor.add(to: &poll)
                    watched.append(one)
                }
            }
            let limits = shared.facts.withLock { $0.limits }
            try hear(limits)
            try answerZap(limits)
            if table.count > 0, MonotonicTime.now >= nextRound {
                look(limits)
                nextRound = MonotonicTime.now.advanced(byMilliseconds: Self.round)
            }
            counters.connectionsOpen = table.count
            shared.facts.withLock { $0.counters = counters }
        }
    }

    // MARK: Who may come in

    private func answerZap(_ limits: RelayLimits) throws(ZeroMQError) {
        while let message = try zap.receiveNow(ZMQReceiveLimits(parts: 12, bytes: 4_096)) {
            guard message.discardedParts == 0, let request = ZapRequest(parts: message.parts) else {
                // Nobody but libzmq asks here; it takes no answer for a refusal.
                log(.error, "a question to the ZAP handler cannot be read; that peer waits in vain")
                continue
            }
            if shared.facts.withLock({ $0.isEnding }) { continue }
            let isAdmitted = request.fitsItsDomain && admits(request.mechanism, limits)
            _ = try zap.sendNow(parts: isAdmitted ? request.admission : request.refusal)
        }
    }

    /// Unknown keys may ask what anybody may; when most of the room is taken, only nodes get in.
    private func admits(_ mechanism: ZapRequest.Mechanism, _ limits: RelayLimits) -> Bool {
        guard case .curve(let key) = mechanism, table.isForNodesAlone(limits) else { return true }
        if shared.facts.withLock({ $0.nodes.contains(key) }) { return true }
        counters.refusedStrangers += 1
        tell(
            counters.refusedStrangers,
            "most of limits.connections is taken: the rest is kept for the keys of nodes, and an unknown one was refused")
        return false
    }

    // MARK: Connections

    private func hear(_ limits: RelayLimits) throws(ZeroMQError) {
        for one in watched {
            while let event = try one.monitor.next() {
                switch event.kind {
                case .accepted: accepted(event.value, one.listener, limits)
                // The events of two listeners come in no order: the descriptor may be another connection's already. Where it is not closed yet,
                // the next round sees it.
                case .disconnected: table.mayBeGone(event.value, Self.facts(event.value))
                case .handshakeViolated: violated(event.value, one.listener)
                case .handshakeFailed: counters.handshakesFailed += 1
                case .listening, .bindFailed, .acceptFailed, .connected, .handshakeSucceeded, .handshakeRefused, .closed, .other: break
                }
            }
        }
    }

    private func accepted(_ descriptor: Int32, _ listener: WatchedListener, _ limits: RelayLimits) {
        counters.connectionsAccepted += 1
        // Gone again already.
        guard let facts = Self.facts(descriptor), let network = Self.network(descriptor) else { return }
        let isLocal = listener.mechanism == .plain && Parties.isLoopback(network)
        let verdict = table.accepted(
            descriptor, facts, from: network, isLocal: isLocal, deliveries: shared.deliveries(on: descriptor), limits,
            at: MonotonicTime.now.nanoseconds)
        act(on: verdict, descriptor, network, listener.place)
    }

    private func look(_ limits: RelayLimits) {
        for descriptor in table.descriptors {
            let facts = Self.facts(descriptor)
            let verdict = table.look(descriptor, facts, deliveries: shared.deliveries(on: descriptor), limits)
            act(on: verdict, descriptor, table.network(of: descriptor), "a listener")
        }
    }

    /// libzmq reads the end of a connection that is shut down here, and closes the descriptor, which is its own.
    private func act(on verdict: ConnectionTable.Verdict, _ descriptor: Int32, _ network: String, _ place: String) {
        switch verdict {
        case .keep: return
        case .tooMany:
            counters.refusedInAll += 1
            tell(counters.refusedInAll, "connections beyond limits.connections are closed at \(place), the last one from \(network)")
        case .tooManyOfAddress:
            counters.refusedOfAddress += 1
            tell(
                counters.refusedOfAddress,
                "connections beyond limits.connections_per_address are closed at \(place), the last one from \(network)")
        case .tooFast:
            counters.refusedByRate += 1
            tell(counters.refusedByRate, "connections beyond limits.connection_rate are closed at \(place), the last one from \(network)")
        case .tooLong:
            counters.cutForLength += 1
            tell(counters.cutForLength, "a connection from \(network) was cut: it sent megabytes, and no whole message")
        }
        _ = clinux_shut_down(descriptor)
    }

    private func violated(_ code: Int32, _ listener: WatchedListener) {
        if code == Self.cryptographic {
            counters.otherKey += 1
            return tell(
                counters.otherKey,
                "a client that expects another CURVE key was closed off at \(listener.place): it was enrolled with another CA, or before the keys were exchanged"
            )
        }
        guard code == Self.mechanismMismatch else {
            counters.handshakesFailed += 1
            return
        }
        switch listener.mechanism {
        case .curve:
            counters.plainAtCurve += 1
            tell(
                counters.plainAtCurve,
                "a client without CURVE was closed off at \(listener.place): it needs an enrolment string (ca-ctl registrar open, then ca-ctl enroll or ca-ctl tunnel)"
            )
        case .plain:
            counters.curveAtPlain += 1
            tell(
                counters.curveAtPlain,
                "a client with CURVE was closed off at \(listener.place), which is plain: it belongs to a listener with security: curve")
        }
    }

    /// At the 1st, 10th, 100th, … of its kind, so that a flood does not fill the log.
    private func tell(_ count: Int, _ line: String) {
        var power = 1
        while power < count { power *= 10 }
        if power == count { log(.warning, count == 1 ? line : "\(line) (\(count) so far)") }
    }

    private static func facts(_ descriptor: Int32) -> ConnectionFacts? {
        var found = clinux_connection()
        var read: UInt64 = 0
        guard clinux_connection(descriptor, &found) == 0, clinux_bytes_read(descriptor, &read) == 0 else { return nil }
        return ConnectionFacts(cookie: found.cookie, bytesRead: read)
    }

    private static func network(_ descriptor: Int32) -> String? {
        var text = [CChar](repeating: 0, count: 64)
        guard clinux_peer_network(descriptor, &text) == 0 else { return nil }
        return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
