// What every command needs: the directories, the way to print, and the connections to the CA's programs.

import AdminLink
import ArgumentParser
import Console
import Glibc
import PKI
import Settings
import Supervision
import SystemdBus
import UPKIProtocol

/// Where a command works.
struct DirectoryOptions: ParsableArguments {
    @Option(help: "Where keys, configuration and store are (UPKI_DATA_DIR).", completion: .directory)
    var dataDir: String?

    @Option(help: "Where the sockets between the programs are (UPKI_RUN_DIR).", completion: .directory)
    var runDir: String?

    /// - Throws: `.refused` where there is no data directory to be found.
    func locations() throws -> Locations {
        do throws(SettingsError) {
            return try Locations(
                dataFlag: dataDir, runFlag: runDir, environment: SettingsEnvironment.current(), isRoot: geteuid() == 0 || Self.operatesHost,
                currentDirectory: Self.currentDirectory())
        } catch {
            throw CommandError(.refused, error.oneLine)
        }
    }

    /// Whether this user has no CA at home and may command the host's: a member of the group upki-admin.
    private static var operatesHost: Bool {
        let home = getenv("HOME").map { String(cString: $0) } ?? ""
        return access("\(home)/.upki/ca", F_OK) != 0
            && access("\(CoreSockets.folder(in: Locations.systemRunDirectory))/admin.sock", W_OK) == 0
    }

    private static func currentDirectory() -> String {
        guard let path = getcwd(nil, 0) else { return "/" }
        defer { free(path) }
        return String(cString: path)
    }

    /// A command of this program as a person can type it, with the directories of this run.
    func command(_ words: String) -> String {
        let flags = [("--data-dir", dataDir), ("--run-dir", runDir)].map { name, value in
            value.map { " \(name) \(ShellText.quoted($0))" } ?? ""
        }
        return "ca-ctl \(words)\(flags.joined())"
    }
}

/// The options of every command that prints.
struct SharedOptions: ParsableArguments {
    @OptionGroup var directories: DirectoryOptions

    @Flag(help: "Print JSON instead of text.")
    var json = false

    @Option(
        help: ArgumentHelp(
            "Ask a CA elsewhere, as the node in this folder (ca-ctl enroll); it must be a listed admin.", valueName: "folder"),
        completion: .directory)
    var identity: String?

    var output: Output { Output(isJSON: json) }

    /// The present, for "in 6 d".
    var now: UnixTime { .present }

    func command(_ words: String) -> String {
        directories.command(words) + (identity.map { " --identity \(ShellText.quoted($0))" } ?? "")
    }
}

extension UnixTime {
    static var present: UnixTime { UnixTime(Int64(time(nil))) }
}

// MARK: ca-core

extension SharedOptions {
    /// Opens a connection to ca-core's admin.sock, or to a CA elsewhere.
    /// - Throws: `.unreachable` with what to do.
    func connect() throws -> CAConnection {
        if let identity { return try connectFromAfar(identity) }
        let runDirectory = try directories.locations().runDirectory
        do throws(AdminLinkError) {
            return CAConnection(
                try AdminConnection.open(runDirectory: CoreSockets.find(in: runDirectory), program: "ca-ctl \(CACtl.version)"))
        } catch {
            throw commandError(error)
        }
    }

    /// Asks one task over a connection of its own.
    func ask(_ task: String, _ parameters: [(String, JSON?)] = [], timeout: Duration = .seconds(30)) throws -> JSON {
        var connection = try connect()
        return try ask(&connection, task, parameters, timeout: timeout)
    }

    /// Asks one task; absent parameters are left out.
    func ask(
        _ connection: inout CAConnection, _ task: String, _ parameters: [(String, JSON?)] = [], timeout: Duration = .seconds(30),
        doing what: String? = nil
    ) throws -> JSON {
        let members = parameters.compactMap { name, value in value.map { JSON.Member(name, $0) } }
        let result = Progress.during(what ?? Self.words[task] ?? "waiting for the CA") {
            connection.ask(task, members, timeout: timeout)
        }
        switch result {
        case .success(let answer): return answer
        case .failure(.local(let error)): throw commandError(error)
        case .failure(.remote(let error)): throw commandError(error)
        }
    }

    /// What the tasks that may take longer than a second do.
    private static let words = [
        "generate": "making the key", "generate_crl": "building the CRL", "verify_audit": "verifying the audit log",
        "reload": "reading configuration and profiles",
    ]

    /// The exit code and the line for what went wrong with ca-core.
    func commandError(_ error: AdminLinkError) -> CommandError {
        switch error.code {
        case .unreachable:
            CommandError(.unreachable, "cannot reach the CA (\(error.message)): is it running? \(startCommand)")
        case .notPermitted:
            CommandError(
                .unreachable,
                "cannot reach the CA: \(error.message); run this command as that user or as root"
                    + ((try? directories.locations().runDirectory) == Locations.systemRunDirectory
                        ? ", or join the operators: adduser USER upki-admin" : ""))
        case .noAnswer, .otherVersion:
            CommandError(.unreachable, "\(error.message); see: \(command("status"))")
        case .refused: CommandError(.refused, withRemedy(error.message))
        case .program, .system: CommandError(.refused, error.message)
        }
    }

    /// Refusals that do not say by themselves what to look at.
    func withRemedy(_ message: String) -> String {
        let remedies = [
            ("Certificate not found", "cert list"), ("Certificate already exists", "cert list"), ("Node is revoked", "cert list"),
            ("Profile not found", "profile list"), ("Unknown task", "status"), ("Storage error", "doctor"),
            ("Internal error", "doctor"),
        ]
        guard !message.contains("ca-ctl "), let remedy = remedies.first(where: { message.hasPrefix($0.0) }) else { return message }
        return "\(message); see: \(command(remedy.1))"
    }

    /// Runs ca-core for what needs a key, as the owner of the data directory; what it says meanwhile goes to standard error.
    /// - Returns: what it printed.
    func runCore(_ run: CoreRun, progress: (String) -> Void = { Progress.complain($0) }) throws -> [UInt8] {
        let identity = try run.dataDirectory.flatMap { try Separation.identity(on: $0, makes: run.arguments.first == "init") }
        do throws(AdminLinkError) {
            return try run.run(ProgramPaths.installed(), as: identity, progress: progress)
        } catch {
            throw commandError(error)
        }
    }

    /// Runs ca-core and reads the one JSON object that it prints; its warnings go to standard error, each once.
    func runCoreForJSON(_ run: CoreRun) throws -> JSON {
        var said: Set<String> = []
        func say(_ line: String) {
            if said.insert(line).inserted { Progress.complain(line) }
        }
        let output = try Progress.during(run.arguments[0] == "init" ? "making the CA" : "waiting for ca-core \(run.arguments[0])") {
            try runCore(run, progress: say)
        }
        let result: JSON
        do throws(JSONError) { result = try JSON(parsing: output) } catch {
            throw CommandError(.refused, "ca-core \(run.arguments[0]) printed no JSON: \(error.message)")
        }
        for warning in result["warnings"]?.arrayValue ?? [] { say("warning: \(JSONText.plain(warning))") }
        return result
    }
}

// MARK: The supervisor

extension SharedOptions {
    /// The first time, so that it starts with the host from then on.
    var firstStartCommand: String { startCommand.replacing("systemctl start", with: "systemctl enable --now") }

    /// What starts the CA: systemd's target where its units are installed for it.
    var startCommand: String {
        let hasUnits = ["/etc", "/lib", "/usr/lib"].contains { access("\($0)/systemd/system/\(SystemdKeeper.target)", F_OK) == 0 }
        guard hasUnits, (try? directories.locations().runDirectory) == Locations.systemRunDirectory, SystemdBus.isHere else {
            return command("up")
        }
        return "systemctl start \(SystemdKeeper.target)"
    }

    /// Calls the body with a connection to whoever keeps the services: a supervisor of ours, or else systemd.
    /// - Returns: nil when neither keeps those of this run directory, and where the CA is elsewhere.
    func withSupervisor<Result>(_ body: (any ServiceKeeping) throws -> Result) throws -> Result? {
        guard !isRemote else { return nil }
        let runDirectory = try directories.locations().runDirectory
        let keeper: any ServiceKeeping
        do throws(SupervisionError) {
            keeper = try SupervisorKeeper(runDirectory: runDirectory)
        } catch {
            guard error.code == .unreachable else { throw CommandError(.unreachable, error.message) }
            guard let systemd = SystemdKeeper.find(runDirectory: runDirectory) else { return nil }
            keeper = systemd
        }
        do {
            return try body(keeper)
        } catch let error as SupervisionError {
            switch error.code {
            case .refused: throw CommandError(.refused, error.message)
            default: throw CommandError(.unreachable, "the supervisor: \(error.message)")
            }
        }
    }
}

extension JSON {
    /// Text of a member, or nothing.
    func text(_ name: String) -> String { self[name].map(JSONText.plain) ?? "" }
}

/// A list such as `a,b , c`, without empty parts.
func commaList(_ text: String) -> [String] {
    text.split(separator: ",").map { part in
        var part = part.drop { $0 == " " }
        while part.last == " " { part.removeLast() }
        return String(part)
    }.filter { !$0.isEmpty }
}
