// What the supervisor says about its services: to people, to `status`, to whoever listens to its events.

/// Where a service stands.
public enum ServiceState: String, Sendable, CaseIterable {
    /// To be started when those before it are ready.
    case waiting
    /// Runs, but has not said READY.
    case starting
    case running
    /// Was told to end, or said STOPPING.
    case stopping
    /// Down on purpose: by command, or ended with 0.
    case stopped
    /// Failed; the next start is a matter of time.
    case restarting
    /// Failed for good, until somebody starts it.
    case failed
}

/// One service as it stands.
public struct ServiceStatus: Equatable, Sendable {
    public var name: String
    public var state: ServiceState
    /// The main process, when there is one.
    public var pid: Int32?
    /// Since when it is in `state`, in seconds since 1970.
    public var since: Int64
    /// How often it was started again by itself, since the supervisor began.
    public var restarts: Int
    /// Between RELOADING and READY.
    public var isReloading: Bool
    /// Its last STATUS, one line, cleared at each start.
    public var statusText: String
    /// How its last process ended and what follows from it; empty when none has.
    public var why: String
    /// Notifications that were not heeded: from other processes, from the wrong user, too long.
    public var ignoredNotifications: Int

    public init(
        name: String, state: ServiceState, pid: Int32?, since: Int64, restarts: Int, isReloading: Bool, statusText: String, why: String,
        ignoredNotifications: Int
    ) {
        self.name = name
        self.state = state
        self.pid = pid
        self.since = since
        self.restarts = restarts
        self.isReloading = isReloading
        self.statusText = statusText
        self.why = why
        self.ignoredNotifications = ignoredNotifications
    }
}

/// The supervisor and all its services.
public struct SupervisorStatus: Equatable, Sendable {
    public enum State: String, Sendable, CaseIterable {
        case starting
        /// Every service that starts at once has been ready (or ended with 0).
        case ready
        case stopping
    }

    public var pid: Int32
    public var state: State
    /// Since when it runs, in seconds since 1970.
    public var since: Int64
    /// Processes that were left behind by others, taken over and reaped.
    public var orphansReaped: Int
    /// In start order.
    public var services: [ServiceStatus]
    /// Whether it is the service manager of the host, and not `ca-ctl up`.
    public var isServiceManager: Bool

    public init(
        pid: Int32, state: State, since: Int64, orphansReaped: Int, services: [ServiceStatus], isServiceManager: Bool = false
    ) {
        self.isServiceManager = isServiceManager
        self.pid = pid
        self.state = state
        self.since = since
        self.orphansReaped = orphansReaped
        self.services = services
    }
}

/// What happened, for a log or a terminal.
public enum SupervisorEvent: Sendable, CustomStringConvertible {
    /// A service is in another state than before.
    case changed(ServiceStatus)
    /// Every service that starts at once is ready.
    case ready
    case stopping(reason: String)
    /// A notification was not heeded; told at the 1st, 10th, 100th, … of a service.
    case ignoredNotification(service: String, reason: String, count: Int)
    /// Something that should not happen and that the supervisor went on after.
    case trouble(String)

    public var description: String {
        switch self {
        case .changed(let service):
            var text = "\(service.name) is \(service.state.rawValue)"
            if let pid = service.pid { text += " (pid \(pid))" }
            switch service.state {
            case .restarting, .failed, .stopped: return service.why.isEmpty ? text : "\(text): \(service.why)"
            case .waiting, .starting, .running, .stopping: return text
            }
        case .ready: return "all services are ready"
        case .stopping(let reason): return "stopping: \(reason)"
        case .ignoredNotification(let service, let reason, let count):
            return "\(service): notification ignored (\(count) so far): \(reason)"
        case .trouble(let text): return text
        }
    }
}

/// How a process ended.
package enum ProcessEnd: Equatable, Sendable, CustomStringConvertible {
    case exited(Int32)
    case signalled(Int32)
    /// It was not our child, so the kernel does not say.
    case unknown

    package var description: String {
        switch self {
        case .exited(let code): "ended with exit code \(code)"
        case .signalled(let signal): "ended by signal \(signal) (\(Self.name(of: signal)))"
        case .unknown: "ended, nobody knows how"
        }
    }

    private static func name(of signal: Int32) -> String {
        switch signal {
        case 1: "SIGHUP"
        case 2: "SIGINT"
        case 3: "SIGQUIT"
        case 4: "SIGILL"
        case 6: "SIGABRT"
        case 7: "SIGBUS"
        case 8: "SIGFPE"
        case 9: "SIGKILL"
        case 11: "SIGSEGV"
        case 13: "SIGPIPE"
        case 15: "SIGTERM"
        case 31: "SIGSYS"
        default: "unnamed"
        }
    }
}
