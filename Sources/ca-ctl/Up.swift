// `up`: initialises where there is nothing yet, runs the services under the supervisor, and says what a person needs to know.

import AdminLink
import ArgumentParser
import Console
import DurableFiles
import Glibc
import Logging
import ProgramLog
import Settings
import Supervision
import Threads
import UPKIProtocol

struct Up: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Starts the CA and supervises it until Ctrl-C; initialises first when the data directory is empty.",
        discussion: """
            UPKI_CA_SEED, or UPKI_CA_KEY_FILE with UPKI_CA_CERT_FILE, say what a new CA is made from, as with `init`;
            UPKI_CA_HOST is the host where --host is not given. The registrar listens on the next port.
            """)

    @Option(help: "Where to listen: an IP address or localhost. Over UPKI_CA_HOST and the configuration.")
    var host: String?

    @Option(help: "The port for nodes and admins; the registrar has the next one.")
    var port: Int?

    @Flag(help: "Refuse to start where no CA is.")
    var noInit = false

    @Option(
        help: "For key_storage: seed: the file that the seed is read from at each start, mode 0600. Otherwise it is only checked.",
        completion: .file())
    var seedFile: String?

    @Option(help: "How log lines look: auto, plain or json.", completion: .list(["auto", "plain", "json"]))
    var logFormat: String?

    @Option(help: "trace, debug, info, notice, warning, error or critical.")
    var logLevel: String?

    /// For tests, which have no ten seconds to spare.
    @Option(help: ArgumentHelp("Seconds without a sign of life after which a program is replaced.", visibility: .hidden))
    var watchdog: Double?

    @Option(help: ArgumentHelp("New starts within a minute before a program is given up.", visibility: .hidden))
    var restartLimit: Int?

    @OptionGroup var shared: SharedOptions

    func validate() throws {
        if let watchdog, !(0.5...3_600).contains(watchdog) { throw ValidationError("--watchdog is a number of seconds from 0.5 to 3600") }
        if let restartLimit, !(0...1_000).contains(restartLimit) { throw ValidationError("--restart-limit is a number from 0 to 1000") }
        // The registrar needs the next port.
        if let port, !(1...65_534).contains(port) { throw ValidationError("--port is a number from 1 to 65534") }
        if let logFormat, Configuration.LogFormat(rawValue: logFormat) == nil {
            throw ValidationError("--log-format is auto, plain or json")
        }
        if let logLevel, Configuration.LogLevel(rawValue: logLevel) == nil {
            throw ValidationError("--log-level is one of \(Configuration.LogLevel.allCases.map(\.rawValue).joined(separator: ", "))")
        }
    }

    /// Where the seed is: as said, or in the credential of a service.
    private var givenSeedFile: String? { seedFile ?? Credential.path("seed") }

    func run() throws {
        let locations = try shared.directories.locations()
        // Before anything is made, so that a refusal leaves no half of a CA behind.
        let wanted = try configuration(locations)
        guard wanted.keyStorage != .seed || givenSeedFile != nil else {
            throw CommandError(
                .refused,
                "key_storage: seed needs the seed at each start, also of ca-core alone: give it in a file of mode 0600 with --seed-file, or as the systemd credential 'seed'"
            )
        }
        let separation = try Separation.plan(dataDirectory: locations.dataDirectory, runDirectory: locations.runDirectory)
        let bridge = try BridgeSettings(wanted, separation)
        let made = try initialise(locations)
        let configuration = try self.configuration(locations)
        let format = ProgramLog.resolve(
            ProgramLog.Format(rawValue: configuration.logFormat.rawValue) ?? .auto, hasSupervisor: getenv("NOTIFY_SOCKET") != nil,
            isTerminal: isatty(STDERR_FILENO) == 1)
        ProgramLog.bootstrap(program: "ca-ctl", format: format, level: Logger.Level(rawValue: configuration.logLevel.rawValue) ?? .info)
        let log = Logger(label: "ca-ctl")
        for warning in configuration.warnings { log.warning("\(warning)") }
        var plan = ServicePlan(
            locations: locations, host: configuration.host, port: configuration.port, registrarPort: configuration.registrarPort,
            logFormat: format.rawValue, logLevel: configuration.logLevel.rawValue,
            seedFile: try givenSeedFile.map { try NamedFile.absolute($0) },
            keyPasswordFile: configuration.passwordFile == nil ? Credential.path("ca-key-password") : nil)
        plan.listeners = configuration.listeners
        plan.reachedAt = configuration.advertised
        plan.bridge = bridge
        if let watchdog { plan.watchdog = .milliseconds(Int64(watchdog * 1000)) }
        if let restartLimit { plan.restart.limit = restartLimit }
        switch separation {
        case .separate(let users):
            plan.users = users
            if users.bridge == nil { log.warning("\(ProgramUsers.noBridge)") }
        case .shared(let why): if geteuid() == 0 { log.warning("the programs share the user root: \(why)") }
        }
        let services: [ServiceSpec]
        do throws(AdminLinkError) { services = try plan.services(ProgramPaths.installed()) } catch { throw shared.commandError(error) }
        try Supervising(plan: plan, made: made, shared: shared, log: log).run(services)
    }

    // MARK: Before the start

    private func configuration(_ locations: Locations) throws -> Configuration {
        do throws(SettingsError) {
            return try Configuration.load(
                try SettingsFile.read(locations.configurationFile), file: locations.configurationFile,
                environment: SettingsEnvironment.current(),
                flags: ConfigurationFlags(host: host, port: port, logFormat: logFormat, logLevel: logLevel))
        } catch {
            throw CommandError(.refused, error.oneLine)
        }
    }

    /// Has ca-core make the CA where there is none, or check a seed that was given against the CA that is there.
    /// - Returns: what ca-core says, when it was called.
    private func initialise(_ locations: Locations) throws -> JSON? {
        // As ca-core sees it: what an init left unfinished is no CA yet.
        func exists(_ name: String) -> Bool { access("\(locations.dataDirectory)/\(name)", F_OK) == 0 }
        let isThere = exists("ca.crt") && exists("db/ca.sqlite") && !exists("init.unfinished")
        guard isThere || !noInit else {
            throw CommandError(
                .refused, "\(locations.dataDirectory) holds no CA, and --no-init forbids to make one; run: \(shared.command("init"))")
        }
        // An import is done once; its files need not stay.
        var origin = isThere ? CoreRun.Origin(seed: try seedFromEnvironment()) : try StartOrigin.fromEnvironment()
        if !isThere, let seedFile = givenSeedFile, origin.seed == nil, origin.authorityKey == nil {
            origin.seed = try SeedInput.read(file: seedFile)
        }
        let hasSeedInFile = try configuration(locations).seedInFile != nil
        guard !isThere || origin.seed != nil || hasSeedInFile else { return nil }
        var wishes = CoreRun.Wishes()
        wishes.keyPasswordFile = Credential.path("ca-key-password")
        let result = try shared.runCoreForJSON(.initialise(dataDirectory: locations.dataDirectory, origin, wishes))
        guard result["created"]?.boolValue == true else { return nil }
        // At once: should the start fail, the only copy of the seed must not be lost.
        shared.output.show(result, text: InitReport.text(result, shared) + "\n")
        try InitReport.hasBeenShown(result, shared)
        return result
    }

    private func seedFromEnvironment() throws -> String? {
        do throws(SettingsError) { return try StartInputs(environment: SettingsEnvironment.current()).seed?.text } catch {
            throw CommandError(.refused, error.oneLine)
        }
    }
}

/// From the start of the supervisor's thread to its end. The main thread speaks with the person; the other never waits for a terminal.
private final class Supervising {
    private enum Message: Sendable {
        case started(SupervisorHandle)
        case event(SupervisorEvent)
        case failed(SupervisionError)
        case ended(Supervisor.Ending)
    }

    /// So often may a service fail before the CA was ever ready.
    private static let failuresBeforeReady = 3

    private let plan: ServicePlan
    private let made: JSON?
    /// Services without which the CA is of use: that they fail is no reason to end.
    private var dispensable: Set<String> = []
    private let shared: SharedOptions
    private let log: Logger

    private var handle: SupervisorHandle?
    private var isReady = false
    private var isStopping = false
    private var failures: [String: Int] = [:]
    /// Why it ended, where that was no wish of the operator.
    private var failure: String?

    init(plan: ServicePlan, made: JSON?, shared: SharedOptions, log: Logger) {
        self.plan = plan
        self.made = made
        self.shared = shared
        self.log = log
    }

    /// Returns when every service has ended on the operator's wish.
    /// - Throws: `.refused` when the supervisor cannot start, or a service failed for good.
    func run(_ services: [ServiceSpec]) throws {
        Self.blockSignals()
        dispensable = Set(services.filter(\.mayBeMissing).map(\.name))
        let messages: Mailbox<Message>
        do throws(ThreadsError) {
            messages = try Mailbox()
            _ = try Self.startThread(services, runDirectory: plan.locations.runDirectory, messages)
        } catch {
            throw CommandError(.refused, error.message)
        }
        while true {
            for message in messages.take(upTo: 16) {
                switch message {
                case .started(let handle):
                    self.handle = handle
                    // Now the run directory is ours alone.
                    try? Listeners(plan).write(in: plan.locations.runDirectory)
                    watchWindow()
                case .event(let event): take(event)
                case .failed(let error): throw CommandError(.refused, startFailure(error))
                case .ended(let ending):
                    Listeners.remove(in: plan.locations.runDirectory)
                    if let failure { throw CommandError(.refused, failure) }
                    if ending.isFailure { throw CommandError(.refused, "\(ending.reason): \(shared.command("up"))") }
                    log.info("stopped: \(ending.reason)")
                    return
                }
            }
        }
    }

    /// Starts the registrar when registration is opened by an admin on another host; `registrar open` here does it by itself.
    private func watchWindow() {
        let runDirectory = plan.locations.runDirectory
        let log = log
        let events = "\(plan.socketFolder)/events.sock"
        do throws(ThreadsError) {
            _ = try OwnedThread(name: "window-watch") {
                do throws(AdminLinkError) {
                    try WindowWatch.run(path: events, goesOn: { true }) {
                        do {
                            _ = try SupervisorClient(SupervisorClient.path(runDirectory: runDirectory)).perform(.start(Registrar.service))
                        } catch {
                            log.warning("registration was opened, and the registrar cannot be started: \(error)")
                        }
                    }
                } catch {
                    log.warning("the registration window is not watched: \(error.message)")
                }
            }
        } catch {
            log.warning("the registration window is not watched: \(error.message)")
        }
    }

    /// The thread on which the supervisor spawns. It never ends: the children's lives hang on it.
    private static func startThread(
        _ services: [ServiceSpec], runDirectory: String, _ messages: Mailbox<Message>
    ) throws(ThreadsError) -> OwnedThread {
        try OwnedThread(name: "supervisor") {
            do throws(SupervisionError) {
                // The supervisor has given up its sockets and its lock when this returns, before the process ends.
                messages.post(.ended(try supervise(services, runDirectory, messages)))
            } catch {
                messages.post(.failed(error))
            }
            while true { pause() }
        }
    }

    private static func supervise(
        _ services: [ServiceSpec], _ runDirectory: String, _ messages: Mailbox<Message>
    ) throws(SupervisionError) -> Supervisor.Ending {
        let isTerminal = isatty(STDIN_FILENO) == 1
        let configuration = SupervisorConfiguration(
            runDirectory: runDirectory, shutdownTimeout: .seconds(5), hangup: isTerminal ? .shutDown : .reload,
            onEvent: { messages.post(.event($0)) })
        let supervisor = try Supervisor(services, configuration)
        messages.post(.started(supervisor.handle))
        return supervisor.run()
    }

    /// As the supervisor does on its thread: a signal that this thread let through would end the process, or SIGCHLD be lost.
    private static func blockSignals() {
        var set = sigset_t()
        sigemptyset(&set)
        for signal in [SIGTERM, SIGINT, SIGHUP, SIGCHLD] { sigaddset(&set, signal) }
        pthread_sigmask(SIG_BLOCK, &set, nil)
    }

    private func startFailure(_ error: SupervisionError) -> String {
        error.code == .alreadyRunning ? "\(error.message); see: \(shared.command("status"))" : error.message
    }

    // MARK: What happens

    private func take(_ event: SupervisorEvent) {
        switch event {
        case .ready:
            log.info("\(event)")
            isReady = true
            announce()
        case .changed(let service): take(service, event)
        case .stopping:
            isStopping = true
            log.info("\(event)")
        case .ignoredNotification, .trouble: log.warning("\(event)")
        }
    }

    private func take(_ service: ServiceStatus, _ event: SupervisorEvent) {
        switch service.state {
        case .failed: log.error("\(event)")
        case .restarting: log.warning("\(event)")
        case .waiting, .starting, .running, .stopping, .stopped: log.info("\(event)")
        }
        guard !isStopping, service.state == .failed || service.state == .restarting else { return }
        failures[service.name, default: 0] += 1
        // A CA that cannot start says so and ends, instead of trying on; later the supervisor knows which service is essential.
        guard !isReady, !dispensable.contains(service.name),
            service.state == .failed || failures[service.name, default: 0] >= Self.failuresBeforeReady
        else { return }
        isStopping = true
        // It is not tried again.
        let why = service.why.firstRange(of: "; next start in").map { service.why[..<$0.lowerBound] } ?? service.why[...]
        failure = "\(service.name) cannot run: \(why)"
        handle?.requestShutdown(reason: "\(service.name) cannot run")
    }

    // MARK: Words for a person

    private func announce() {
        // ca-core is ready; should it have ended again meanwhile, its facts are left out.
        let status = try? shared.ask("status", timeout: .seconds(5))
        let facts: [(String, JSON)] = [
            ("listen", .string(plan.places(plan.port))), ("registrar", .string(plan.places(plan.registrarPort))),
            ("subject", status?["ca"]?["subject"] ?? .null), ("fingerprint", status?["ca"]?["fingerprint"] ?? .null),
            ("registration", status?["registration"] ?? .null), ("data_dir", .string(plan.locations.dataDirectory)),
            ("run_dir", .string(plan.locations.runDirectory)), ("pid", .integer(getpid())),
            ("http_socket", plan.runsBridge ? .string(BridgeSockets.http(in: plan.locations.runDirectory)) : .null),
        ]
        // The CA goes on when nobody reads this.
        shared.output.offer(.object(facts.map { JSON.Member($0.0, $0.1) }), text: text(status))
    }

    private var users: String {
        guard let users = plan.users else { return "\(ServiceUsers.name(of: geteuid())), shared by all programs" }
        let all = [users.core, users.front, users.registrar] + (users.bridge.map { [$0] } ?? [])
        return "\(all.map(\.name).joined(separator: ", ")): each program has its own"
    }

    /// One line each that can be pasted as it is: the CA's own certificate has a status too. `openssl ocsp` itself speaks TCP alone, so
    /// curl carries what it writes and reads.
    private var tryHTTP: String {
        guard plan.runsBridge else { return "" }
        let socket = ShellText.quoted(BridgeSockets.http(in: plan.locations.runDirectory))
        let ca = ShellText.quoted("\(plan.locations.dataDirectory)/ca.crt")
        return """
              To try HTTP and OCSP:
                curl -s --unix-socket \(socket) http://localhost/crl | openssl crl -inform DER -noout -text
                openssl ocsp -no_nonce -issuer \(ca) -cert \(ca) -reqout - | curl -s --unix-socket \(socket) -H 'Content-Type: application/ocsp-request' --data-binary @- http://localhost/ | openssl ocsp -no_nonce -issuer \(ca) -cert \(ca) -CAfile \(ca) -respin -

            """
    }

    private func text(_ status: JSON?) -> String {
        let ca = status?["ca"] ?? .null
        let window = status?["registration"]
        let isOpen = window?["open"]?.boolValue == true
        let token = "\(made == nil ? "" : "the one above, or ")a fresh one from \(shared.command("registrar open"))"
        return "\nThe CA is running.\n"
            + TextTable(facts: [
                ("  nodes and admins", plan.places(plan.port)), ("  registration", plan.places(plan.registrarPort)),
                ("", window.map { WindowText.describe($0, now: shared.now) } ?? ""),
                ("  OCSP, CRL (HTTP)", plan.runsBridge ? BridgeSockets.http(in: plan.locations.runDirectory) : "no; see the warning"),
                ("  CA", ca.text("subject")),
                ("  fingerprint", ca.text("fingerprint")), ("  valid until", HumanTime.point(ca.text("not_after"), now: shared.now)),
                ("  data directory", plan.locations.dataDirectory), ("  run directory", plan.locations.runDirectory),
                ("  user", users),
            ]).rendered(width: shared.output.width)
                + """

                  To register an RA, give it UPKI_CA_HOST=\(plan.host) and UPKI_CA_PORT=\(plan.port), and as UPKI_CA_SEED, where it expects
                  the seed, a registration token: \(token)
                  \(isOpen ? "When every RA is registered: \(shared.command("registrar close"))" : "Registration is closed until then.")
                \(tryHTTP)  To see how it is: \(shared.command("status"))
                  To stop: Ctrl-C


                """
    }
}
