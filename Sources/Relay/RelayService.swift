// The two programs that are a relay: the front and the registrar, from their options to their exit code.
import CLinux
public import Supervised
import Synchronization
import Threads

/// The options of `ca-core front`.
public struct FrontOptions: Sendable {
    /// Empty: as ca-core's configuration says.
    public var listeners: [RelayListener]
    /// Sockets that a service manager holds.
    public var inherited: [InheritedSocket] = []
    /// The folder with `front.sock`.
    public var runDirectory: String
    /// The program's version, for `hello`.
    public var version: String

    public init(listeners: [RelayListener], runDirectory: String, version: String) {
        self.listeners = listeners
        self.runDirectory = runDirectory
        self.version = version
    }
}

/// The options of `ca-registrar`.
public struct RegistrarOptions: Sendable {
    /// Empty: as ca-core's configuration says.
    public var listeners: [RelayListener]
    /// The folder with `registrar.sock` and `events.sock`.
    public var runDirectory: String
    /// The program's version, for `hello`.
    public var version: String

    public init(listeners: [RelayListener], runDirectory: String, version: String) {
        self.listeners = listeners
        self.runDirectory = runDirectory
        self.version = version
    }
}

/// Runs the front until SIGTERM; to be called on the main thread, before any other thread exists, after `FirstActs.perform()`.
/// - Returns: the exit code: 0 after a clean stop, 1 when it cannot start or go on.
public func runFront(_ options: FrontOptions, log: @escaping RelayLog) -> Int32 {
    var relay = RelayOptions(
        listeners: options.listeners, corePath: "\(options.runDirectory)/front.sock", program: "ca-front \(options.version)")
    relay.listensAsConfigured = options.listeners.isEmpty
    relay.inherited = options.inherited
    return RelayService.run(relay, log)
}

/// Runs the registrar until SIGTERM or the end of the registration window; to be called on the main thread, before any other thread
/// exists, after `FirstActs.perform()`. While registration is closed it never listens.
/// - Returns: the exit code: 0 after a clean stop or when registration is closed, 1 when it cannot start or go on.
public func runRegistrar(_ options: RegistrarOptions, log: @escaping RelayLog) -> Int32 {
    var relay = RelayOptions(
        listeners: options.listeners, corePath: "\(options.runDirectory)/registrar.sock", program: "ca-registrar \(options.version)",
        windowEventsPath: "\(options.runDirectory)/events.sock")
    relay.listensAsConfigured = options.listeners.isEmpty
    return RelayService.run(relay, log)
}

/// A relay under a supervisor: signals on the main thread, events, status and watchdog on a thread of their own, so that neither
/// a supervisor that does not read nor a full pipe of logs can hold up the relaying.
private enum RelayService {
    /// What strangers can make a relay take, before it ends and another is started in its place: the host has more to do. 65,536 connections,
    /// each seen twice, and a gigabyte of memory that can be written to.
    private static let mostDescriptors: UInt64 = 131_584
    private static let mostMemory: UInt64 = 1 << 30

    static func run(_ options: RelayOptions, _ log: @escaping RelayLog) -> Int32 {
        var (descriptors, memory): (UInt64, UInt64) = (0, 0)
        if clinux_limit_descriptors(mostDescriptors, &descriptors) != 0 || clinux_limit_memory(mostMemory, &memory) != 0 {
            log(.warning, "the limits of descriptors and memory cannot be set")
        } else if descriptors < UInt64(options.limits.connections) + 512 {
            log(
                .warning,
                "only \(descriptors) descriptors are allowed, fewer than limits.connections may need; raise the hard limit (ulimit -Hn)")
        }
        do throws(SupervisedError) {
            let signals = try ShutdownSignals()
            do throws(RelayError) {
                return try serve(options, signals, log)
            } catch {
                log(.error, error.message)
            }
        } catch {
            log(.error, error.message)
        }
        return 1
    }

    private static func serve(_ options: RelayOptions, _ signals: ShutdownSignals, _ log: @escaping RelayLog) throws(RelayError) -> Int32 {
        let heartbeats = Heartbeats()
        let relay = try Relay(options, heartbeats: heartbeats)
        let notifier = ServiceNotifier()
        notifier.status("waiting for ca-core")
        try relay.start()
        let reporter: OwnedThread
        do throws(ThreadsError) {
            reporter = try OwnedThread(name: "relay-report") { report(relay, heartbeats, notifier, signals, log) }
        } catch {
            relay.stop(reason: "it cannot report")
            relay.join()
            throw RelayError(.system, error.message)
        }
        // A relay has no configuration of its own to read again.
        while signals.wait() == .reload { log(.info, "SIGHUP: a relay has nothing to read again") }
        if relay.end == nil { notifier.stopping() }
        relay.stop(reason: signals.stopReason ?? "asked to")
        relay.join()
        reporter.join()
        if case .failed? = relay.end { return 1 }
        return 0
    }

    /// Passes on what the relay has to say, once a second what it does, and feeds the watchdog while its loop moves.
    private static func report(
        _ relay: Relay, _ heartbeats: Heartbeats, _ notifier: ServiceNotifier, _ signals: ShutdownSignals, _ log: RelayLog
    ) {
        // A third of the watchdog's time, at most a second: one late round does no harm.
        let round = min(1_000_000_000, notifier.watchdogInterval.map { nanoseconds($0) / 3 } ?? .max)
        var events: [RelayEvent] = []
        var status = ""
        var nextRound = MonotonicTime(nanoseconds: MonotonicTime.now.nanoseconds &+ round)
        while relay.events.take(upTo: 64, into: &events, within: MonotonicTime.now.nanoseconds(until: nextRound)) {
            for event in events {
                switch event {
                case .log(let level, let line): log(level, line)
                case .listening(let endpoints): log(.info, "listening on \(endpoints.joined(separator: " and "))")
                case .ready:
                    status = relay.statusText
                    notifier.ready(status: status)
                case .ended(let end): reportEnd(end, notifier, log)
                }
            }
            events.removeAll(keepingCapacity: true)
            let now = MonotonicTime.now
            guard now >= nextRound else { continue }
            nextRound = MonotonicTime(nanoseconds: now.nanoseconds &+ round)
            let silent = heartbeats.silentLoops()
            if silent.isEmpty {
                notifier.watchdog()
            } else {
                log(.warning, "no sign of life from \(silent.joined(separator: ", "))")
            }
            let text = relay.statusText
            if text != status && relay.end == nil {
                status = text
                notifier.status(text)
            }
        }
        signals.requestStop(reason: "the relay has ended")
    }

    private static func reportEnd(_ end: RelayEnd, _ notifier: ServiceNotifier, _ log: RelayLog) {
        switch end {
        case .stopped(let reason): log(.info, "stopped: \(reason)")
        case .windowClosed(let reason):
            log(.info, "registration is closed: \(reason)")
            notifier.stopping()
            notifier.status("registration is closed: \(reason)")
        case .failed(let error):
            log(.error, error.message)
            notifier.status(error.message)
        }
    }

    private static func nanoseconds(_ duration: Duration) -> UInt64 {
        let (seconds, attoseconds) = duration.components
        return UInt64(max(0, seconds)) &* 1_000_000_000 &+ UInt64(max(0, attoseconds)) / 1_000_000_000
    }
}
