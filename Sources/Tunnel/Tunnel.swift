// A tunnel from start to end: its threads, its signals, and what it tells the service manager.

import DurableFiles
import Enrolment
import Supervised
import Synchronization
import Threads
import UPKIProtocol
import ZeroMQ

/// Gives an unmodified RA on this host the CA's ports over CURVE.
public final class Tunnel: Sendable {
    private let options: TunnelOptions
    private let inbox: Mailbox<TunnelMessage>
    private let orders: Mailbox<TunnelWorker.Order>
    private let shared = TunnelShared()
    private let heartbeats = Heartbeats()
    private let worker: TunnelWorker
    private let loopThread: OwnedThread
    private let workerThread: OwnedThread
    private let failure: TunnelFailure

    /// Listens and starts; whether the CA is there is seen later.
    ///
    /// - Parameter ended: called once when the loop has ended, on its thread.
    /// - Throws: `.invalidOptions` where there is neither a node nor a string, `.cannotListen`, `.system`.
    public init(_ given: TunnelOptions, log: @escaping TunnelLog, ended: @escaping @Sendable () -> Void = {}) throws(TunnelError) {
        var options = given
        let (identity, pair, servers) = try Self.node(&options, log)
        self.options = options
        let shared = shared
        let failure = TunnelFailure()
        self.failure = failure
        let fault: TunnelError?
        do throws(ThreadsError) {
            let inbox = try Mailbox<TunnelMessage>()
            let orders = try Mailbox<TunnelWorker.Order>(capacity: 4)
            self.inbox = inbox
            self.orders = orders
            let worker = TunnelWorker(options, identity, orders: orders, log: log) { inbox.post(.identity($0)) }
            self.worker = worker
            let (loopBeat, workerBeat) = (heartbeats.loop(named: "tunnel"), heartbeats.loop(named: "tunnel-work"))
            let listening = try Mailbox<TunnelError?>()
            loopThread = try OwnedThread(name: "tunnel") { [options] in
                do throws(TunnelError) {
                    // Its sockets live on this thread.
                    let loop = try TunnelLoop(options, identity, pair, servers, inbox: inbox, orders: orders, shared: shared, log: log)
                    listening.post(nil)
                    try loop.run(loopBeat)
                } catch {
                    failure.error.withLock { $0 = error }
                    listening.post(error)
                }
                ended()
            }
            fault = listening.take(upTo: 1).first ?? nil
            workerThread = try OwnedThread(name: "tunnel-work") { worker.run(workerBeat) }
        } catch {
            throw TunnelError(.system, error.message)
        }
        guard let fault else { return }
        orders.close()
        loopThread.join()
        workerThread.join()
        throw fault
    }

    /// The node of the folder, or the keys of one that will be; drops a string that is of no use any more.
    private static func node(
        _ options: inout TunnelOptions, _ log: TunnelLog
    ) throws(TunnelError) -> (NodeIdentity?, ZMQCurveKeyPair, ServerAddresses) {
        do {
            if NodeIdentity.exists(in: options.directory) {
                let identity = try NodeIdentity(reading: options.directory)
                if options.enrolment != nil, Handover.isDone(in: options.directory) {
                    log(.info, "the node \(identity.commonName) is registered: the enrolment string is not used")
                    options.enrolment = nil
                }
                return (identity, identity.curve, identity.servers)
            }
            guard let string = options.enrolment else {
                throw TunnelError(
                    .invalidOptions, "\(options.directory) holds no registered node; start once with --enroll and the string that `ca-ctl registrar open` prints")
            }
            try PrivateDirectory.create(options.directory)
            return (nil, try NodeKeys(in: options.directory).curve, string.servers)
        } catch let error as TunnelError {
            throw error
        } catch {
            throw TunnelError(.system, "\(error)")
        }
    }

    /// Begins to end; what is open is answered first.
    public func stop() {
        inbox.post(.stop)
        orders.post(.stop)
    }

    /// Waits for the end.
    /// - Throws: why it could not go on.
    public func join() throws(TunnelError) {
        loopThread.join()
        orders.close()
        workerThread.join()
        if let error = failure.error.withLock({ $0 }) { throw error }
    }

    /// Threads that have not been heard for too long.
    var silentLoops: [String] { heartbeats.silentLoops() }

    /// One line for the service manager.
    public var statusText: String {
        let facts = shared.facts.withLock { $0 }
        let node = worker.identity.map { "node \($0.commonName) until \($0.notAfter.rfc3339)" } ?? "not registered yet"
        let trouble = worker.renewalTrouble.map { "; \($0)" } ?? ""
        return "\(facts.connection), \(node), \(facts.open) open\(trouble)"
    }

    /// For tests and metrics: whether the CA is connected, answers passed on, refusals of its own, whether the registrar's port is there.
    package var counters: (isConnected: Bool, relayed: UInt64, busy: UInt64, registrarListens: Bool) {
        shared.facts.withLock { ($0.isConnected, $0.relayed, $0.busy, $0.registrarListens) }
    }
}

private final class TunnelFailure: Sendable {
    let error = Mutex<TunnelError?>(nil)
}

/// Runs a tunnel until SIGTERM; to be called on the main thread, before any other thread exists.
/// - Returns: the exit code: 0 after a clean stop, 1 when it cannot start or go on.
public func runTunnel(_ options: TunnelOptions, log: @escaping TunnelLog) -> Int32 {
    do {
        let signals = try ShutdownSignals()
        let notifier = ServiceNotifier()
        let tunnel = try Tunnel(options, log: log) { signals.requestStop(reason: "the tunnel has ended") }
        let place = ServerAddresses.place(options.address, options.port)
        log(.info, "listening on \(place)" + (tunnel.counters.registrarListens ? " and, until the RA is registered, on port \(options.port + 1)" : ""))
        notifier.ready(status: tunnel.statusText)
        let quit = try Mailbox<Bool>()
        let reporter = try OwnedThread(name: "tunnel-report") { report(tunnel, notifier, quit, log) }
        while signals.wait() == .reload { log(.info, "SIGHUP: a tunnel has nothing to read again") }
        notifier.stopping()
        log(.info, "stopping: \(signals.stopReason ?? "asked to")")
        tunnel.stop()
        defer {
            quit.post(true)
            reporter.join()
        }
        try tunnel.join()
        log(.info, "stopped")
        return 0
    } catch {
        log(.error, "\(error)")
        return 1
    }
}

/// Feeds the watchdog while the loops move, and keeps the status line true.
private func report(_ tunnel: Tunnel, _ notifier: ServiceNotifier, _ quit: Mailbox<Bool>, _ log: TunnelLog) {
    let third = notifier.watchdogInterval.map { UInt64(max(0, $0.components.seconds)) * 333_000_000 } ?? .max
    var status = ""
    var ended: [Bool] = []
    while quit.take(upTo: 1, into: &ended, within: max(100_000_000, min(1_000_000_000, third))), ended.isEmpty {
        let silent = tunnel.silentLoops
        // The worker waits for the CA with deadlines of its own: only the loop's silence is a fault.
        if silent.contains("tunnel") { log(.warning, "no sign of life from the tunnel's loop") } else { notifier.watchdog() }
        let text = tunnel.statusText
        if text != status {
            status = text
            notifier.status(text)
        }
    }
}
