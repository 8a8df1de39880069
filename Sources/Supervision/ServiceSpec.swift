// What the supervisor is told about one service.
import Supervised

/// When and how often a service that failed is started again.
public struct RestartPolicy: Equatable, Sendable {
    /// Pause before the first new start; doubles with every failure that lies within `window`.
    public var firstDelay: Duration
    /// The longest pause.
    public var longestDelay: Duration
    /// So many new starts within `window`; the next failure is final.
    public var limit: Int
    public var window: Duration
    /// Exit codes that no new start can cure, such as a configuration that was refused: final at once.
    public var finalExitCodes: Set<Int32>

    public init(
        firstDelay: Duration = .milliseconds(100), longestDelay: Duration = .seconds(5), limit: Int = 10,
        window: Duration = .seconds(60), finalExitCodes: Set<Int32> = []
    ) {
        self.firstDelay = firstDelay
        self.longestDelay = longestDelay
        self.limit = limit
        self.window = window
        self.finalExitCodes = finalExitCodes
    }

    /// A failure is final at once.
    public static let never = RestartPolicy(limit: 0)

    /// The pause after the n-th failure within the window, n from 1.
    package func delay(afterFailure n: Int) -> Duration {
        var delay = firstDelay
        for _ in 1..<max(n, 1) where delay < longestDelay { delay *= 2 }
        return min(delay, longestDelay)
    }
}

/// One service: what to run, as whom, after which others, and how long each step may take.
public struct ServiceSpec: Sendable {
    /// Small letters, digits and hyphens, 1 to 40 of them; unique; part of a socket's file name.
    public var name: String
    /// Absolute path of the program; it must call `FirstActs.perform()` first of all.
    public var executable: String
    /// Arguments after the program's name.
    public var arguments: [String]
    /// The whole environment, beside `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `UPKI_SUPERVISED`; nothing is inherited.
    public var environment: [String: String]
    /// The user it becomes by itself before anything else; nil keeps the supervisor's. Needs a supervisor that is root.
    public var runAs: ProcessIdentity?
    /// It is started when all of these have said READY, and stopped before them.
    public var after: [String]
    public var restart: RestartPolicy
    /// From start to READY.
    public var startTimeout: Duration
    /// From SIGTERM to SIGKILL; at shutdown less, when the others need their share of the whole time.
    public var stopTimeout: Duration
    /// Once READY it must send WATCHDOG=1 at least this often; nil: not watched.
    public var watchdogInterval: Duration?
    /// Whether it belongs to what runs from the beginning; otherwise it waits for a `start`.
    public var startsAtOnce: Bool
    /// Without it nothing else is of use: when it fails for good, everything is stopped.
    public var isEssential: Bool
    /// The others are of use without it: once it has failed, the whole is ready without waiting for it any longer.
    public var mayBeMissing: Bool
    /// It gets a folder of its name in the run directory (mode 0711, the user's it runs as) for sockets that nobody else can replace.
    public var hasFolder: Bool
    /// The folder's group where that is not the service's own; the sockets that it makes there get it too (mode 2711), though it is no member.
    public var folderGroup: UInt32?

    public init(
        name: String, executable: String, arguments: [String] = [], environment: [String: String] = [:],
        runAs: ProcessIdentity? = nil, after: [String] = [], restart: RestartPolicy = RestartPolicy(),
        startTimeout: Duration = .seconds(30), stopTimeout: Duration = .seconds(3), watchdogInterval: Duration? = nil,
        startsAtOnce: Bool = true, isEssential: Bool = false, mayBeMissing: Bool = false, hasFolder: Bool = false,
        folderGroup: UInt32? = nil
    ) {
        self.name = name
        self.executable = executable
        self.arguments = arguments
        self.environment = environment
        self.runAs = runAs
        self.after = after
        self.restart = restart
        self.startTimeout = startTimeout
        self.stopTimeout = stopTimeout
        self.watchdogInterval = watchdogInterval
        self.startsAtOnce = startsAtOnce
        self.isEssential = isEssential
        self.mayBeMissing = mayBeMissing
        self.hasFolder = hasFolder
        self.folderGroup = folderGroup
    }

    /// The variables that the supervisor sets itself.
    static let ownVariables: Set<String> = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", SupervisionLink.variable]

    /// - Throws: `.badSpecification`, naming the service and what is allowed.
    func check() throws(SupervisionError) {
        func refuse(_ what: String) -> SupervisionError { SupervisionError(.badSpecification, "service \(name): \(what)") }
        let allowed = name.utf8.allSatisfy { (97...122).contains($0) || (48...57).contains($0) || $0 == 45 }
        guard allowed, (1...40).contains(name.utf8.count) else {
            throw SupervisionError(.badSpecification, "a service name has 1 to 40 of a-z, 0-9 and '-': \(name)")
        }
        guard name != "notify" else { throw refuse("that is the name of the notify sockets' folder") }
        guard executable.utf8.first == UInt8(ascii: "/") else { throw refuse("the program's path must be absolute: \(executable)") }
        for (key, value) in environment {
            guard !key.isEmpty, !key.utf8.contains(UInt8(ascii: "=")), !key.utf8.contains(0), !value.utf8.contains(0) else {
                throw refuse("environment variable \(key) cannot be passed")
            }
            guard !Self.ownVariables.contains(key) else { throw refuse("\(key) is set by the supervisor") }
        }
        guard !([executable] + arguments).contains(where: { $0.utf8.contains(0) }) else { throw refuse("an argument contains NUL") }
        guard startTimeout > .zero, stopTimeout >= .zero, restart.limit >= 0, restart.firstDelay >= .zero,
            restart.longestDelay >= restart.firstDelay, restart.window > .zero
        else { throw refuse("a timeout or a restart limit is out of range") }
        if let watchdogInterval, watchdogInterval < .milliseconds(10) { throw refuse("a watchdog interval is at least 10 ms") }
    }
}
