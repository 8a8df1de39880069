// The OCSP bridge as a program: responder, HTTP server, signals, status and watchdog, from its options to its exit code.
import Glibc
import Metrics
import Supervised
import Synchronization
internal import Threads

/// The options of `ca-ocsp-bridge`.
package struct BridgeOptions: Sendable {
    /// The folder with ca-core's `ocsp.sock` and `events.sock`.
    package var runDirectory: String
    /// Where OCSP, CA certificate and CRL are served.
    package var socket: HTTPSocket
    /// Where figures are told; nil for nowhere.
    package var metricsSocket: HTTPSocket?
    /// What statuses and answers may take, in MiB.
    package var cacheMiB = 64
    package var maximumConnections = 1_024
    package var eventLoops = 2
    /// The program's version, for `hello`.
    package var version: String

    package init(runDirectory: String, socket: HTTPSocket, version: String) {
        self.runDirectory = runDirectory
        self.socket = socket
        self.version = version
    }
}

/// Where lines of the log go; called from one thread at a time.
package typealias ResponderLog = @Sendable (ResponderLogLevel, String) -> Void

/// Runs the bridge until SIGTERM; to be called on the main thread, before any other thread exists, after `FirstActs.perform()`.
/// Without ca-core it starts and waits.
/// - Returns: the exit code: 0 after a clean stop, 1 when it cannot start or go on.
package func runBridge(_ options: BridgeOptions, log: @escaping ResponderLog) -> Int32 {
    do throws(SupervisedError) {
        let signals = try ShutdownSignals()
        do throws(ResponderError) {
            return try Bridge(options).serve(signals, log)
        } catch {
            log(.error, error.message)
            ServiceNotifier().status(error.message)
        }
    } catch {
        log(.error, error.message)
    }
    return 1
}

/// All parts of a running bridge.
private final class Bridge: Sendable {
    private let responder: Responder
    private let core: CoreThread
    private let server: HTTPServer
    private let heartbeats = Heartbeats()
    private let probes: [LoopProbe]

    init(_ options: BridgeOptions) throws(ResponderError) {
        let limits = (cache: 1...1 << 20, connections: 1...1 << 20, loops: 1...64)
        guard limits.cache.contains(options.cacheMiB), limits.connections.contains(options.maximumConnections),
            limits.loops.contains(options.eventLoops)
        else { throw ResponderError(.invalidOptions, "--cache, --max-connections and --loops are numbers from 1 on; choose smaller ones") }
        let clock = ResponderClock(monotonic: { .now }, unixTime: { Int64(time(nil)) })
        responder = try Responder(cacheBytes: options.cacheMiB << 20, clock: clock)
        core = try CoreThread(
            CoreLoopOptions(runDirectory: options.runDirectory, program: "ca-ocsp-bridge \(options.version)"), responder: responder,
            heartbeats: heartbeats)
        var http = HTTPServerOptions(socket: options.socket, metricsSocket: options.metricsSocket, clock: clock.unixTime)
        http.loops = options.eventLoops
        http.limits.connections = options.maximumConnections
        http.times.stop = .milliseconds(1_500)
        server = HTTPServer(http)
        probes = server.hop.enumerated().map { LoopProbe("event loop \($0)", hop: $1) }
    }

    func serve(_ signals: ShutdownSignals, _ log: @escaping ResponderLog) throws(ResponderError) -> Int32 {
        let notifier = ServiceNotifier()
        notifier.status("waiting for ca-core")
        do throws(HTTPServerError) {
            try server.start(
                answering: responder,
                metricsText: { [responder] in
                    var exposition = Exposition()
                    responder.describe(&exposition)
                    return exposition.text
                }, status: { [responder, weak server] in responder.statusReport(server?.counts) })
        } catch {
            server.stop()
            throw ResponderError(.system, error.message)
        }
        try core.start(hops: server.hop)
        let reporter: OwnedThread
        do throws(ThreadsError) {
            reporter = try OwnedThread(name: "ocsp-report") { [self] in report(notifier, signals, log) }
        } catch {
            end(reason: "it cannot report")
            throw ResponderError(.system, error.message)
        }
        // What may change while it runs comes from ca-core.
        while signals.wait() == .reload { log(.info, "SIGHUP: the bridge has nothing to read again; ca-ctl reload tells ca-core") }
        notifier.stopping()
        end(reason: signals.stopReason ?? "asked to")
        reporter.join()
        return core.hasFailed ? 1 : 0
    }

    /// First the server, whose last requests may still wait for ca-core.
    private func end(reason: String) {
        server.stop()
        core.stop(reason: reason)
        core.join()
    }

    /// Passes on what there is to say, once a second what the bridge does, and feeds the watchdog while its threads move.
    private func report(_ notifier: ServiceNotifier, _ signals: ShutdownSignals, _ log: ResponderLog) {
        // A third of the watchdog's time, at most a second: one late round does no harm.
        let round = min(1_000_000_000, notifier.watchdogInterval.map { Self.nanoseconds($0) / 3 } ?? .max)
        var events: [ResponderEvent] = []
        var status = ""
        var nextRound = MonotonicTime(nanoseconds: MonotonicTime.now.nanoseconds &+ round)
        while core.events.take(upTo: 64, into: &events, within: MonotonicTime.now.nanoseconds(until: nextRound)) {
            for event in events {
                switch event {
                case .log(let level, let line): log(level, line)
                case .ready:
                    status = responder.statusText
                    notifier.ready(status: status)
                    log(.info, "ready: \(status)")
                }
            }
            events.removeAll(keepingCapacity: true)
            let now = MonotonicTime.now
            guard now >= nextRound else { continue }
            nextRound = MonotonicTime(nanoseconds: now.nanoseconds &+ round)
            let silent = heartbeats.silentLoops() + probes.filter { !$0.hasMoved() }.map(\.name)
            if silent.isEmpty {
                notifier.watchdog()
            } else {
                log(.warning, "no sign of life from \(silent.joined(separator: ", "))")
            }
            let text = responder.statusText
            if text != status {
                status = text
                notifier.status(text)
            }
        }
        signals.requestStop(reason: "the conversation with ca-core has ended")
    }

    private static func nanoseconds(_ duration: Duration) -> UInt64 {
        let (seconds, attoseconds) = duration.components
        return UInt64(max(0, seconds)) &* 1_000_000_000 &+ UInt64(max(0, attoseconds)) / 1_000_000_000
    }
}

/// Asks an event loop for a sign of life.
private final class LoopProbe: Sendable {
    let name: String
    private let hop: LoopHop
    private let hasAnswered = Atomic<Bool>(true)

    init(_ name: String, hop: @escaping LoopHop) {
        self.name = name
        self.hop = hop
    }

    /// Whether it has done what it was given the last time; gives it the next.
    func hasMoved() -> Bool {
        guard hasAnswered.exchange(false, ordering: .acquiringAndReleasing) else { return false }
        hop { [self] in hasAnswered.store(true, ordering: .releasing) }
        return true
    }
}
