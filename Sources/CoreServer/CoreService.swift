// The core process put together: its threads, what they own, how they start and stop.

import Authority
import DurableFiles
import Glibc
public import Logging
import PKI
import Settings
import Supervised
import Synchronization
import Tasks
internal import Threads
import UPKIProtocol
import ZeroMQ

/// Runs the core until it is told to stop.
public enum CoreService {
    /// Serves the opened authority; to be called on the main thread, before any other thread exists.
    ///
    /// - Parameters:
    ///   - access: who besides the core's own user may use its sockets.
    ///   - reachedAt: what the command line says of port and addresses.
    ///   - signals: made before anything else, so that every thread has them blocked.
    /// - Throws: one line, where it cannot start.
    public static func serve(
        _ opened: OpenedAuthority, runDirectory: String, access: SocketAccess = SocketAccess(), reachedAt: ReachedAt = ReachedAt(),
        signals: ShutdownSignals, log: Logger
    ) throws {
        let notifier = ServiceNotifier()
        // libzmq replaces the sockets of whoever is there without a word. A service manager's sockets are its own, in a folder of its own.
        let lock = access.inherited.isEmpty ? try DurableFile.lock(directory: runDirectory) : nil
        defer { withExtendedLifetime(lock) {} }
        let relays = try RelayKeeper(opened, reachedAt: reachedAt)
        try opened.recordStart(log)
        let running = try RunningCore(opened, runDirectory: runDirectory, access: access, relays: relays, signals: signals, log: log)
        let reporter = try OwnedThread(name: "core-report") { running.report(notifier, log) }
        log.info(
            "serving",
            metadata: [
                "event": "serving", "run_dir": "\(runDirectory)", "ca": "\(opened.authority.issuer.name)",
                "fingerprint": "\(opened.authority.issuer.displayFingerprint)",
            ])
        while signals.wait() == .reload {
            do {
                _ = try running.operations.reload()
                log.notice("configuration and profiles were read again", metadata: ["event": "reloaded"])
            } catch {
                log.error("nothing was changed by the reload: \(error)")
            }
        }
        notifier.stopping()
        log.info("stopping", metadata: ["reason": "\(signals.stopReason ?? "asked to")"])
        running.takeLeave()
        running.stop()
        reporter.join()
        try opened.close()
        log.info("stopped", metadata: ["event": "stopped", "reason": "\(signals.stopReason ?? "asked to")"])
        if let failure = running.failure { throw CoreError(failure) }
    }
}

/// The threads of a core that serves.
private final class RunningCore: Sendable {
    let operations: CoreOperations
    private let opened: OpenedAuthority
    private let heartbeats = Heartbeats()
    private let context: ZMQContext
    private let stopFlag = StopFlag()
    private let reporterStop: Mailbox<Bool>
    private let work: Mailbox<Incoming>
    private let changes: Mailbox<PendingChange>
    private let keyJobs: Mailbox<Job>
    private let seedJobs: Mailbox<Job>
    private let publisherJobs: Mailbox<Job>
    private let listJobs: Mailbox<Job>
    private let outbox: Mailbox<Outgoing>
    private let workers: [OwnedThread]
    private let writer: OwnedThread
    private let keyMaker: OwnedThread
    private let seedChecker: OwnedThread
    private let publisherThread: OwnedThread
    private let lister: OwnedThread
    private let ioThread: OwnedThread
    private let signals: ShutdownSignals
    private let audit: AuditKeeper
    private let publisher: Publisher
    /// The front's, as the core knows it.
    private let port: Int
    private let flag: RegistrationFlag
    private let failureText = Mutex<String?>(nil)

    /// Why it cannot go on; nil where it was only told to stop.
    var failure: String? { self.failureText.withLock { $0 } }

    private func giveUp(_ reason: String) {
        self.failureText.withLock { $0 = reason }
        self.signals.requestStop(reason: reason)
    }

    init(
        _ opened: OpenedAuthority, runDirectory: String, access: SocketAccess, relays: RelayKeeper, signals: ShutdownSignals, log: Logger
    ) throws {
        self.opened = opened
        self.signals = signals
        self.context = try ZMQContext()
        self.reporterStop = try Mailbox()
        self.work = try Mailbox(capacity: 50_000)
        self.changes = try Mailbox(capacity: 50_000)
        // Scrypt takes a third of a second: what waits longer than the relay's patience need not be taken in.
        self.keyJobs = try Mailbox(capacity: 64)
        self.seedJobs = try Mailbox(capacity: 64)
        self.publisherJobs = try Mailbox(capacity: 64)
        self.listJobs = try Mailbox(capacity: 64)
        self.outbox = try Mailbox()
        let instance = Hexadecimal.encode(SystemRandom().bytes(8))
        let pool = KeyPool()
        pool.keep(Set(opened.authority.state.profiles.values.map(\.keyType)))
        let publisher = Publisher(opened: opened, jobs: self.publisherJobs, log: log)
        self.operations = CoreOperations(
            opened: opened, instance: instance, runDirectory: runDirectory, pool: pool, publisher: publisher,
            relays: relays)
        let operations = self.operations
        let seeds = SeedVerifier(opened: opened) { try operations.recordSeedExposure(by: $0) }
        let services = Services(
            authority: opened.authority, keys: pool, seeds: seeds, publisher: publisher, operations: self.operations, relays: relays,
            readProfile: { name, tree in try ProfileTree.read(tree, name: name) }, describeProfile: { ProfileTree.describe($0) })
        self.publisher = publisher
        self.port = relays.port
        let flag = RegistrationFlag(directory: opened.directory, log: log)
        self.flag = flag
        flag.follow(opened.authority.state.window, at: opened.authority.clock.now)
        let clock = opened.authority.clock
        let inFlight = InFlight()
        let bridgeInFlight = InFlight()
        let measurements = Measurements()
        let processing = Processing(
            services: services, work: self.work, changes: self.changes,
            jobs: [.keyMaker: self.keyJobs, .seedChecker: self.seedJobs, .publisher: self.publisherJobs, .lister: self.listJobs],
            outbox: self.outbox,
            inFlight: inFlight, bridgeInFlight: bridgeInFlight, measurements: measurements, instance: instance,
            wantsList: { publisher.revocationHappened() }, windowChanged: { flag.follow($0, at: clock.now) }, log: log)
        self.audit = AuditKeeper(opened.authority, processing, log: log)
        publisher.attach(processing)
        self.operations.attach(processing)

        let heartbeats = self.heartbeats
        let writerBeat = heartbeats.loop(named: "writer")
        self.writer = try OwnedThread(name: "core-writer") { processing.runWriter(writerBeat) }
        let count = max(2, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))))
        self.workers = try (0..<count).map { number in
            let beat = heartbeats.loop(named: "worker \(number)")
            return try OwnedThread(name: "core-work-\(number)") { processing.runWorker(beat) }
        }
        let keyJobs = self.keyJobs
        self.keyMaker = try OwnedThread(name: "core-keys") { Self.runKeyMaker(keyJobs, pool, processing, log) }
        let seedJobs = self.seedJobs
        self.seedChecker = try OwnedThread(name: "core-seeds") { Self.runJobs(seedJobs, processing) }
        let listJobs = self.listJobs
        self.lister = try OwnedThread(name: "core-lists") { Self.runJobs(listJobs, processing) }
        let publisherBeat = heartbeats.loop(named: "publisher")
        self.publisherThread = try OwnedThread(name: "core-publish") { publisher.run(publisherBeat) }

        let io = InputOutput(
            context: self.context, runDirectory: runDirectory, instance: instance, work: self.work, outbox: self.outbox, inFlight: inFlight,
            bridgeInFlight: bridgeInFlight, measurements: measurements, beat: heartbeats.loop(named: "input and output"),
            stop: self.stopFlag, authority: opened.authority,
            list: publisher.current, access: access, log: log)
        let bound = try Mailbox<String?>()
        let failed = FailureSink(signals: signals)
        self.ioThread = try OwnedThread(name: "core-io") {
            io.run { result in
                switch result {
                case .success: bound.post(nil)
                case .failure(let error):
                    bound.post("\(error)")
                    failed.report("\(error)")
                }
            }
        }
        guard let outcome = bound.take(upTo: 1).first, outcome == nil else {
            self.stop()
            throw CoreError(
                "The sockets in \(runDirectory) cannot be made: \(failed.text ?? "unknown"); give another --run-dir or stop who holds it")
        }
    }

    /// RSA keys; fills the pool of keys while nothing else is to do.
    private static func runKeyMaker(_ jobs: Mailbox<Job>, _ pool: KeyPool, _ processing: Processing, _ log: Logger) {
        var taken: [Job] = []
        while true {
            taken.removeAll(keepingCapacity: true)
            guard jobs.take(upTo: 1, into: &taken, within: 0) else { return }
            if taken.isEmpty {
                do {
                    if try pool.fillOne() { continue }
                } catch {
                    log.error("a key could not be made ahead", metadata: ["cause": "\(error)"])
                }
                guard jobs.take(upTo: 1, into: &taken, within: 1_000_000_000) else { return }
            }
            for job in taken { processing.run(job) }
        }
    }

    /// Seed checks, or lists, one after another until the mailbox is closed and empty.
    private static func runJobs(_ jobs: Mailbox<Job>, _ processing: Processing) {
        var taken: [Job] = []
        while jobs.take(upTo: 1, into: &taken) {
            for job in taken { processing.run(job) }
            taken.removeAll(keepingCapacity: true)
        }
    }

    /// What the service manager and `ca-ctl status` show in one line.
    ///
    /// `serving 5000, 3 nodes, CRL 41 valid 6 d 3 h, registration closed`.
    var statusText: String {
        let state = self.opened.authority.state
        let now = self.opened.authority.clock.now
        let nodes = state.nodes.values.count { $0.isLive(at: now) }
        let registration = state.window.isOpen(at: now) ? "registration open" : "registration closed"
        return "serving \(self.port), \(nodes) \(nodes == 1 ? "node" : "nodes"), \(self.listText(at: now)), \(registration)"
    }

    private func listText(at now: UnixTime) -> String {
        guard let list = self.publisher.current.value else { return "no CRL" }
        let left = list.nextUpdate.seconds - now.seconds
        guard left > 0 else { return "CRL \(list.number.decimal) EXPIRED" }
        let (days, hours) = (left / 86_400, left % 86_400 / 3_600)
        let time = days > 0 ? "\(days) d \(hours) h" : hours > 0 ? "\(hours) h" : "\(max(1, left / 60)) min"
        return "CRL \(list.number.decimal) valid \(time)"
    }

    /// Feeds the watchdog while every loop moves, keeps the status line true and the write-ahead log short.
    func report(_ notifier: ServiceNotifier, _ log: Logger) {
        var status = self.statusText
        notifier.ready(status: status)
        let checkpointer: OwnedThread?
        do { checkpointer = try OwnedThread(name: "core-checkpoint") { self.checkpoint(log) } } catch {
            log.error("the store cannot be checkpointed: \(error)")
            checkpointer = nil
        }
        let round = min(1_000_000_000, notifier.watchdogInterval.map { UInt64(max(0, $0.components.seconds)) * 300_000_000 } ?? .max)
        var stopped: [Bool] = []
        while self.reporterStop.take(upTo: 1, into: &stopped, within: max(round, 100_000_000)), stopped.isEmpty {
            self.audit.look()
            // The window may have come to its end by itself.
            self.flag.follow(self.opened.authority.state.window, at: self.opened.authority.clock.now)
            let silent = self.heartbeats.silentLoops()
            if silent.isEmpty { notifier.watchdog() } else { log.warning("no sign of life from \(silent.joined(separator: ", "))") }
            let text = self.statusText
            if text != status {
                status = text
                notifier.status(text)
            }
        }
        checkpointer?.join()
    }

    private func checkpoint(_ log: Logger) {
        var stopped: [Bool] = []
        guard let pause = try? Mailbox<Bool>() else { return }
        var keeper = StoreKeeper(opened: self.opened, log: log) { self.giveUp($0) }
        while !self.stopFlag.isSet {
            _ = pause.take(upTo: 1, into: &stopped, within: 500_000_000)
            keeper.look()
        }
    }

    /// Stops in order: no more requests, what was taken in is finished and answered, then the sockets go.
    func stop() {
        self.work.close()
        for worker in self.workers { worker.join() }
        self.keyJobs.close()
        self.keyMaker.join()
        self.seedJobs.close()
        self.seedChecker.join()
        self.listJobs.close()
        self.lister.join()
        self.publisherJobs.close()
        self.publisherThread.join()
        self.audit.finish()
        self.changes.close()
        self.writer.join()
        self.stopFlag.set()
        self.ioThread.join()
        self.context.shutdown()
        self.reporterStop.post(true)
    }
}

extension RunningCore {
    /// Has the relays keep what comes from now on for the next core: a request that is still on its way would be lost with the sockets.
    fileprivate func takeLeave() {
        guard let done = try? Mailbox<Bool>() else { return }
        self.outbox.post(.farewell(done: done))
        var told: [Bool] = []
        _ = done.take(upTo: 1, into: &told, within: 1_000_000_000)
    }
}

/// Lets a thread that cannot go on end the process in order.
private final class FailureSink: Sendable {
    private let signals: ShutdownSignals
    private let message = Mutex<String?>(nil)

    init(signals: ShutdownSignals) { self.signals = signals }

    var text: String? { self.message.withLock { $0 } }

    func report(_ text: String) {
        self.message.withLock { $0 = text }
        self.signals.requestStop(reason: text)
    }
}
