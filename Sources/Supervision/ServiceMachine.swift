// The life of one service as a state machine: events in, orders out, no clock and no system call of its own.
import Glibc

/// What a state machine wants done to its service's process.
package enum ServiceAction: Equatable, Sendable {
    case spawn
    /// This signal to the main process, and SIGCONT after it so that a stopped process gets it too.
    case signal(Int32)
    /// SIGKILL to the main process and its whole process group.
    case kill
}

package struct ServiceMachine: Sendable {
    package typealias Instant = SuspendingClock.Instant

    /// Why a service is on its way down, and so what comes after.
    package enum Purpose: Equatable, Sendable {
        case stop
        case restart
        case missedWatchdog
        case missedStart
        /// It said STOPPING: its exit code decides.
        case ownAccord
    }

    package enum State: Equatable, Sendable {
        case waiting
        case starting(until: Instant)
        case running
        case stopping(Purpose, killAt: Instant, killed: Bool)
        case stopped
        case restarting(at: Instant)
        case failed
    }

    /// From SIGABRT of a missed watchdog to SIGKILL.
    package static let abortTimeout = Duration.milliseconds(500)

    package let spec: ServiceSpec
    package private(set) var state: State
    package private(set) var restarts = 0
    package private(set) var statusText = ""
    package private(set) var isReloading = false
    package private(set) var why = ""
    /// Ended by itself with 0, as opposed to stopped by command.
    package private(set) var endedWithZero = false
    private var failures: [Instant] = []
    private var watchdogAt: Instant?
    private var announcedErrno: Int32?
    private var isRestart = false

    package init(_ spec: ServiceSpec) {
        self.spec = spec
        state = spec.startsAtOnce ? .waiting : .stopped
    }

    /// The state as others see it.
    package var visibleState: ServiceState {
        switch state {
        case .waiting: .waiting
        case .starting: .starting
        case .running: .running
        case .stopping: .stopping
        case .stopped: .stopped
        case .restarting: .restarting
        case .failed: .failed
        }
    }

    package var isReady: Bool { state == .running }

    /// Whether it failed since somebody last wanted it up.
    package var hasFailed: Bool { state == .failed || !failures.isEmpty }

    /// Whether there is a process.
    package var isAlive: Bool {
        switch state {
        case .starting, .running, .stopping: true
        case .waiting, .stopped, .restarting, .failed: false
        }
    }

    /// When `tick` has something to do, if nothing else happens before.
    package var nextDeadline: Instant? {
        switch state {
        case .starting(let until): until
        case .running: watchdogAt
        case .stopping(_, let killAt, let killed): killed ? nil : killAt
        case .restarting(let at): at
        case .waiting, .stopped, .failed: nil
        }
    }

    // MARK: Commands

    /// Wanted up, by command: old failures are forgiven.
    package mutating func start() {
        switch state {
        case .stopped, .failed, .restarting:
            failures = []
            isRestart = false
            state = .waiting
        case .stopping(.stop, let killAt, let killed), .stopping(.ownAccord, let killAt, let killed):
            failures = []
            state = .stopping(.restart, killAt: killAt, killed: killed)
        case .waiting, .starting, .running, .stopping: break
        }
    }

    /// Wanted down. SIGKILL follows after the service's stop timeout, or at `latest` when that is earlier.
    package mutating func stop(now: Instant, latest: Instant? = nil) -> [ServiceAction] {
        takeDown(.stop, now: now, latest: latest)
    }

    /// Down, then up again.
    package mutating func restart(now: Instant) -> [ServiceAction] {
        failures = []
        guard isAlive else {
            start()
            return []
        }
        return takeDown(.restart, now: now, latest: nil)
    }

    private mutating func takeDown(_ purpose: Purpose, now: Instant, latest: Instant?) -> [ServiceAction] {
        let own = now.advanced(by: spec.stopTimeout)
        let killAt = latest.map { min($0, own) } ?? own
        switch state {
        case .waiting, .restarting:
            state = .stopped
            return []
        case .stopped, .failed:
            return []
        case .starting, .running:
            state = .stopping(purpose, killAt: killAt, killed: false)
            return [.signal(SIGTERM)]
        case .stopping(.ownAccord, let earlier, let killed), .stopping(.missedWatchdog, let earlier, let killed):
            // It may not have had a SIGTERM yet.
            state = .stopping(purpose, killAt: min(earlier, killAt), killed: killed)
            return [.signal(SIGTERM)]
        case .stopping(_, let earlier, let killed):
            state = .stopping(purpose, killAt: min(earlier, killAt), killed: killed)
            return []
        }
    }

    // MARK: Events

    /// Those before it are ready.
    package mutating func begin(now: Instant) -> [ServiceAction] {
        guard state == .waiting else { return [] }
        if isRestart { restarts += 1 }
        isRestart = false
        statusText = ""
        isReloading = false
        endedWithZero = false
        announcedErrno = nil
        watchdogAt = nil
        state = .starting(until: now.advanced(by: spec.startTimeout))
        return [.spawn]
    }

    package mutating func spawnFailed(_ reason: String, now: Instant) {
        guard isAlive else { return }
        fail("could not be started: \(reason)", code: nil, now: now)
    }

    package mutating func notified(_ notification: Notification, now: Instant) -> [ServiceAction] {
        if let status = notification.status { statusText = status }
        if let errno = notification.errno { announcedErrno = errno }
        if notification.ready { becomeReady(now: now) }
        if notification.reloading, state == .running { isReloading = true }
        if notification.stopping { beginOwnEnd(now: now) }
        switch notification.watchdog {
        case .alive?: feedWatchdog(now: now)
        case .trigger? where state == .running && spec.watchdogInterval != nil:
            return abort("it asked for it (WATCHDOG=trigger)", now: now)
        case .trigger?, nil: break
        }
        return []
    }

    private mutating func becomeReady(now: Instant) {
        isReloading = false
        guard case .starting = state else { return }
        state = .running
        feedWatchdog(now: now)
    }

    private mutating func feedWatchdog(now: Instant) {
        guard state == .running, let interval = spec.watchdogInterval else { return }
        watchdogAt = now.advanced(by: interval)
    }

    private mutating func beginOwnEnd(now: Instant) {
        switch state {
        case .starting, .running:
            state = .stopping(.ownAccord, killAt: now.advanced(by: spec.stopTimeout), killed: false)
        case .waiting, .stopping, .stopped, .restarting, .failed: break
        }
    }

    /// The main process is gone.
    package mutating func ended(_ end: ProcessEnd, now: Instant) {
        isReloading = false
        watchdogAt = nil
        switch state {
        case .stopping(.stop, _, let killed):
            state = .stopped
            why = killed ? "did not end in time after SIGTERM and was killed" : "stopped; \(end)"
        case .stopping(.restart, _, let killed):
            state = .waiting
            why = killed ? "did not end in time after SIGTERM and was killed" : "restarted; \(end)"
        case .stopping(.missedWatchdog, _, _):
            fail("\(why); \(end)", code: nil, now: now)
        case .stopping(.missedStart, _, _):
            fail("\(why); \(end)", code: nil, now: now)
        case .stopping(.ownAccord, _, true):
            fail("said STOPPING and did not end in time; \(end)", code: nil, now: now)
        case .stopping(.ownAccord, _, false), .starting, .running:
            endedByItself(end, now: now)
        case .waiting, .stopped, .restarting, .failed:
            break
        }
    }

    private mutating func endedByItself(_ end: ProcessEnd, now: Instant) {
        if end == .exited(0) {
            endedWithZero = true
            state = .stopped
            why = "ended by itself with exit code 0"
            return
        }
        var text = end.description
        if let announcedErrno, announcedErrno > 0 { text += ", after reporting: \(errorText(announcedErrno))" }
        if !statusText.isEmpty { text += ", last status: \(statusText)" }
        if case .exited(let code) = end {
            fail(text, code: code, now: now)
        } else {
            fail(text, code: nil, now: now)
        }
    }

    /// Time has passed.
    package mutating func tick(now: Instant) -> [ServiceAction] {
        guard let deadline = nextDeadline, now >= deadline else { return [] }
        switch state {
        case .starting:
            why = "was not ready within \(spec.startTimeout)"
            state = .stopping(.missedStart, killAt: now.advanced(by: spec.stopTimeout), killed: false)
            return [.signal(SIGTERM)]
        case .running:
            return abort("nothing heard for \(spec.watchdogInterval ?? .zero)", now: now)
        case .stopping(let purpose, let killAt, _):
            state = .stopping(purpose, killAt: killAt, killed: true)
            return [.kill]
        case .restarting:
            isRestart = true
            state = .waiting
            return []
        case .waiting, .stopped, .failed:
            return []
        }
    }

    private mutating func abort(_ reason: String, now: Instant) -> [ServiceAction] {
        why = "watchdog: \(reason)"
        watchdogAt = nil
        state = .stopping(.missedWatchdog, killAt: now.advanced(by: Self.abortTimeout), killed: false)
        return [.signal(SIGABRT)]
    }

    private mutating func fail(_ reason: String, code: Int32?, now: Instant) {
        let window = spec.restart.window
        failures.removeAll { $0.advanced(by: window) <= now }
        failures.append(now)
        if let code, spec.restart.finalExitCodes.contains(code) {
            state = .failed
            why = "\(reason): starting it again would not help; mend the cause that its log names, then start \(spec.name)"
        } else if failures.count > spec.restart.limit {
            state = .failed
            why =
                "failed \(failures.count) times within \(spec.restart.window); the last time it \(reason)."
                + " Mend the cause that its log names, then start \(spec.name)"
        } else {
            let delay = spec.restart.delay(afterFailure: failures.count)
            state = .restarting(at: now.advanced(by: delay))
            why = "\(reason); next start in \(delay)"
        }
    }
}
