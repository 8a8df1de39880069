// `status`: everything that an operator wants to know at a glance, from the supervisor and from ca-core, whichever of them answers.

import AdminLink
import ArgumentParser
import Console
import Glibc
import PKI
import Supervision
import UPKIProtocol

struct StatusCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "Shows services, CA, registration, CRL, counts, sockets and warnings.",
        discussion: "Exits with 3 when neither the supervisor nor ca-core answers, and with 1 when --wait ran out.")

    @Option(help: ArgumentHelp("Wait until everything is ready, at most so long.", valueName: "seconds"))
    var wait: Double?

    @OptionGroup var shared: SharedOptions

    private static let pollMicroseconds: UInt32 = 50_000

    func validate() throws {
        if let wait, !(wait >= 0 && wait <= 86_400) { throw ValidationError("--wait is a number of seconds from 0 to 86400") }
    }

    func run() throws {
        let end = wait.map { SuspendingClock.now.advanced(by: .milliseconds(Int64($0 * 1000))) }
        var report = try gather()
        if let end {
            report = try Progress.during("waiting until everything is ready") {
                var report = report
                while !report.isReady, !report.isHopeless, SuspendingClock.now < end {
                    usleep(Self.pollMicroseconds)
                    report = try gather()
                }
                return report
            }
        }
        if report.supervisor == nil, report.core == nil {
            throw report.coreProblem ?? CommandError(.unreachable, "cannot reach the CA: is it running? \(shared.startCommand)")
        }
        shared.output.show(report.json, text: report.text(width: shared.output.width, now: shared.now, command: shared.command))
        guard wait == nil || report.isReady else {
            throw CommandError(.refused, "not ready: \(report.obstacle); see the log of the program that it names")
        }
    }

    private func gather() throws -> StatusReport {
        var report = StatusReport()
        report.supervisor = try? shared.withSupervisor { try $0.status(timeout: .seconds(3)) } ?? nil
        do {
            var connection = try shared.connect()
            report.core = try shared.ask(&connection, "status", timeout: .seconds(5))
            // A CA that has published no CRL yet refuses this.
            report.list = try? shared.ask(&connection, "show_crl", timeout: .seconds(5))
        } catch let error as CommandError {
            report.coreProblem = error
        }
        guard !shared.isRemote else {
            report.isFromAfar = true
            return report
        }
        report.sockets = StatusReport.sockets(in: try shared.directories.locations().runDirectory)
        if let supervisor = report.supervisor {
            report.users = ServiceUsers(supervisor, dataDirectory: try shared.directories.locations().dataDirectory)
            report.listeners = Listeners.read(in: try shared.directories.locations().runDirectory)
            report.lacksBridge = !supervisor.services.contains { $0.name == ServicePlan.bridge }
        }
        return report
    }
}

/// What `status` found.
package struct StatusReport: Sendable {
    package var supervisor: SupervisorStatus?
    package var core: JSON?
    package var coreProblem: CommandError?
    package var list: JSON?
    package var sockets: [(path: String, mode: mode_t)] = []
    package var users: ServiceUsers?
    package var listeners: Listeners?
    /// The supervisor was started without an OCSP bridge.
    package var lacksBridge = false
    /// The CA is on another host: what is asked of this one is left out.
    package var isFromAfar = false

    package init() {}

    /// Whether everything that should run does, and ca-core answers.
    package var isReady: Bool {
        guard core != nil else { return false }
        guard let supervisor else { return true }
        return supervisor.state == .ready && supervisor.services.allSatisfy { $0.state == .running || $0.state == .stopped }
    }

    /// Whether waiting would not help.
    package var isHopeless: Bool {
        guard let supervisor else { return false }
        return supervisor.state == .stopping || supervisor.services.contains { $0.state == .failed }
    }

    /// Why it is not ready.
    package var obstacle: String {
        if let service = supervisor?.services.first(where: { $0.state != .running && $0.state != .stopped }) {
            return "\(service.name) is \(Self.process(service))"
        }
        if let supervisor, supervisor.state != .ready { return "the supervisor is \(supervisor.state.rawValue)" }
        return coreProblem?.message ?? "ca-core does not answer"
    }

    // MARK: Parts

    /// The sockets of the programs that are there, with their permissions.
    static func sockets(in runDirectory: String) -> [(path: String, mode: mode_t)] {
        let core = CoreSockets.find(in: runDirectory)
        let paths =
            ["\(runDirectory)/supervisor.sock"] + ["admin", "front", "registrar", "ocsp", "events"].map { "\(core)/\($0).sock" }
            + [BridgeSockets.http(in: runDirectory), BridgeSockets.metrics(in: runDirectory)]
        return paths.compactMap { path in
            var status = stat()
            guard lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFSOCK else { return nil }
            return (path, status.st_mode & 0o7777)
        }
    }

    static func octal(_ mode: mode_t) -> String {
        let digits = String(mode, radix: 8)
        return String(repeating: "0", count: max(0, 4 - digits.count)) + digits
    }

    /// State and last words of a service.
    static func process(_ service: ServiceStatus) -> String {
        var text = service.state.rawValue
        if service.isReloading { text += ", reloading" }
        if let pid = service.pid { text += ", pid \(pid)" }
        let words = lastWords(service)
        return words.isEmpty ? text : "\(text): \(words)"
    }

    private static func lastWords(_ service: ServiceStatus) -> String {
        let words =
            switch service.state {
            case .starting, .running: service.statusText.isEmpty ? service.why : service.statusText
            case .waiting, .stopping, .stopped, .restarting, .failed: service.why.isEmpty ? service.statusText : service.why
            }
        // The state stands beside it.
        let state = "\(service.state.rawValue); "
        return words.hasPrefix(state) ? String(words.dropFirst(state.count)) : words
    }

    static func json(_ service: ServiceStatus, users: ServiceUsers? = nil) -> JSON {
        .object(
            [
                .init("name", .string(service.name)), .init("state", .string(service.state.rawValue)),
                .init("pid", service.pid.map { .integer($0) } ?? .null), .init("since", .string(UnixTime(service.since).rfc3339)),
                .init("restarts", .integer(service.restarts)), .init("reloading", .bool(service.isReloading)),
                .init("status", .string(service.statusText)), .init("why", .string(service.why)),
                .init("ignored_notifications", .integer(service.ignoredNotifications)),
            ] + (users?.name(of: service.name).map { [.init("user", .string($0))] } ?? []))
    }

    // MARK: Warnings

    package func warnings(now: UnixTime, command: (String) -> String) -> [String] {
        var warnings: [String] = []
        if core == nil { warnings.append(coreProblem?.message ?? "ca-core does not answer") }
        if supervisor == nil, !isFromAfar { warnings.append("no supervisor runs here: what is known comes from ca-core alone") }
        for service in supervisor?.services ?? [] where service.state == .failed {
            let start = [ServicePlan.registrar: "registrar open", ServicePlan.bridge: "ocsp restart"][service.name]
            let others = supervisor?.isServiceManager == true ? "systemctl restart \(SystemdKeeper.target)" : command("up")
            warnings.append("\(service.name) \(service.why): \(start.map(command) ?? others)")
        }
        if let shared = users?.shared { warnings.append(shared) }
        if lacksBridge { warnings.append(ProgramUsers.noBridge) }
        guard let core else { return warnings }
        if list == nil { warnings.append("no CRL is published: \(command("crl generate"))") }
        warnings += (core["expiries"]?.arrayValue ?? []).compactMap { ExpiryText.warning($0, now: now, command: command) }
        for disk in core["disk"]?.arrayValue ?? [] where disk["low"]?.boolValue == true {
            warnings.append(
                "only \(ByteText.size(disk["free_bytes"]?.integerValue ?? 0)) and \(disk.text("free_inodes")) inodes are free "
                    + "for \(disk.text("path")): make room, or the CA stops issuing")
        }
        if let bytes = core["program"]?["wal_bytes"]?.integerValue, bytes > Self.largestLog {
            warnings.append(
                "the store's write-ahead log has \(ByteText.size(bytes)): something reads the store all the time; look for other programs "
                    + "that have \(core["program"]?.text("data_dir") ?? "")/db/ca.sqlite open")
        }
        warnings += Self.faultWarnings(core, command: command)
        if let note = core["recovery"]?["note"]?.stringValue { warnings.append(note) }
        if let time = core["seed_exposed_at"]?.stringValue {
            warnings.append(
                "SEED EXPOSED: it came in clear over a network at \(time); whoever listened there can make the CA's key: plan a new CA, and use tokens"
            )
        }
        if let fault = core["audit"]?["fault"]?.stringValue {
            warnings.append(
                "AUDIT FAULT \(fault): \(command("audit verify")), then \(command("audit acknowledge --reason TEXT"))")
        }
        if core["publication"]?.stringValue == nil {
            warnings.append(
                "certificates carry no address of CRL, OCSP and CA certificate: set publication.base_url, for example to http://pki.example.com, "
                    + "in \(core["program"].map { "\($0.text("data_dir"))/" } ?? "")ca.config.yml, then: \(command("reload"))")
        }
        return warnings
    }

    /// It starts over at 160 MB; twice that means that it cannot.
    private static let largestLog: Int64 = 320 << 20

    // MARK: Showing

    package var json: JSON { json(now: UnixTime(Int64(time(nil))), command: { "ca-ctl \($0)" }) }

    package func json(now: UnixTime, command: (String) -> String) -> JSON {
        .object([
            .init("ready", .bool(isReady)),
            .init(
                "supervisor",
                supervisor.map { supervisor in
                    .object([
                        .init("kind", .string(supervisor.isServiceManager ? "systemd" : "ca-ctl")),
                        .init("pid", .integer(supervisor.pid)), .init("state", .string(supervisor.state.rawValue)),
                        .init("since", .string(UnixTime(supervisor.since).rfc3339)),
                        .init("orphans_reaped", .integer(supervisor.orphansReaped)),
                    ])
                } ?? .null),
            .init("services", .array((supervisor?.services ?? []).map { Self.json($0, users: users) })), .init("core", core ?? .null),
            .init("crl", list ?? .null),
            .init("listeners", listeners?.json ?? .null),
            .init(
                "sockets", .array(sockets.map { .object([.init("path", .string($0.path)), .init("mode", .string(Self.octal($0.mode)))]) })),
            .init("warnings", .array(warnings(now: now, command: command).map { .string($0) })),
        ])
    }

    package func text(width: Int, now: UnixTime, command: (String) -> String) -> String {
        var parts: [String] = []
        if let supervisor { parts.append(servicesText(supervisor, width: width, now: now)) }
        if let core { parts.append(coreText(core, width: width, now: now)) }
        if !sockets.isEmpty {
            var table = TextTable([.init("SOCKET"), .init("MODE")])
            for socket in sockets { table.add([socket.path, Self.octal(socket.mode)]) }
            parts.append(table.rendered(width: width))
        }
        let warnings = warnings(now: now, command: command).flatMap { TextWrap.lines(TextWidth.printable("warning: \($0)"), width: width) }
        if !warnings.isEmpty { parts.append(warnings.joined(separator: "\n") + "\n") }
        return parts.joined(separator: "\n")
    }

    private func servicesText(_ supervisor: SupervisorStatus, width: Int, now: UnixTime) -> String {
        var columns: [TextTable.Column] = [
            .init("SERVICE"), .init("STATE"), .init("PID", isNumber: true), .init("SINCE"), .init("RESTARTS", isNumber: true),
        ]
        if users != nil { columns.append(.init("USER")) }
        var table = TextTable(columns + [.init("LAST WORDS", isProse: true)])
        func row(_ name: String, _ state: String, _ pid: Int32?, _ since: Int64, _ restarts: String, _ words: String) {
            let user = users.map { [$0.name(of: name) ?? ""] } ?? []
            table.add([name, state, pid.map(String.init) ?? "", HumanTime.relative(UnixTime(since), now: now), restarts] + user + [words])
        }
        row(supervisor.isServiceManager ? "systemd" : "supervisor", supervisor.state.rawValue, supervisor.pid, supervisor.since, "", "")
        for service in supervisor.services {
            let state = service.isReloading ? "reloading" : service.state.rawValue
            row(service.name, state, service.pid, service.since, String(service.restarts), Self.lastWords(service))
        }
        return table.rendered(width: width)
    }

    private func coreText(_ core: JSON, width: Int, now: UnixTime) -> String {
        let ca = core["ca"] ?? .null
        let counts = (core["counts"]?.objectValue ?? []).map { "\(JSONText.plain($0.value)) \($0.name)" }.joined(separator: ", ")
        var facts = [
            ("CA", ca.text("subject")), ("fingerprint", ca.text("fingerprint")),
            ("valid until", HumanTime.point(ca.text("not_after"), now: now)),
        ]
        if let listeners {
            facts += [("nodes and admins", listeners.front), ("registrar", listeners.registrar)]
        } else if let listeners = core["listeners"] {
            facts.append(("host and port", "\(listeners.text("host")) \(listeners.text("port"))"))
        }
        facts += [
            ("registration", WindowText.describe(core["registration"] ?? .null, now: now)), ("CRL", listText(now: now)), ("counts", counts),
        ]
        if let program = core["program"] {
            facts += [
                ("data directory", program.text("data_dir")), ("run directory", program.text("run_dir")),
                ("version", program.text("version")),
            ]
        }
        return TextTable(facts: facts).rendered(width: width)
    }

    private func listText(now: UnixTime) -> String {
        guard let list else { return "none" }
        let begin = UnixTime(rfc3339: list.text("this_update")).map { HumanTime.relative($0, now: now) } ?? ""
        return
            "number \(list.text("number")), \(list.text("entries")) entries, published \(begin), next due "
            + HumanTime.point(list.text("next_update"), now: now)
    }
}

/// As which users the services run: programs that share one cannot be kept apart by it.
package struct ServiceUsers: Sendable {
    /// The services of each user.
    package var services: [uid_t: [String]] = [:]

    /// Why they share one, where ca-ctl is root and knows; with what to do.
    package var reason: String?

    package init(services: [uid_t: [String]], reason: String? = nil) {
        self.services = services
        self.reason = reason
    }

    init(_ supervisor: SupervisorStatus, dataDirectory: String) {
        for service in supervisor.services {
            if let pid = service.pid, let user = Self.user(of: pid) { services[user, default: []].append(service.name) }
        }
        if geteuid() == 0 { reason = Separation.reasonToShare(dataDirectory: dataDirectory) }
    }

    /// The user of a service that runs.
    func name(of service: String) -> String? {
        services.first { $0.value.contains(service) }.map { Self.name(of: $0.key) }
    }

    /// One line where two or more services share a user.
    package var shared: String? {
        let lines = services.filter { $0.value.count > 1 }.sorted { $0.key < $1.key }.map { user, names in
            "\(names.dropLast().joined(separator: ", ")) and \(names.last ?? "") share the user \(Self.name(of: user))"
        }
        return lines.isEmpty
            ? nil : "the programs are not kept apart by user: \(lines.joined(separator: "; "))" + (reason.map { "; \($0)" } ?? "")
    }

    /// From /proc, where the folder's owner says nothing: our programs make themselves undumpable.
    private static func user(of pid: Int32) -> uid_t? {
        guard let file = fopen("/proc/\(pid)/status", "re") else { return nil }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 256)
        while fgets(&line, Int32(line.count), file) != nil {
            let text = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            // Uid: real, effective, saved, file system.
            if text.hasPrefix("Uid:") {
                return text.split(whereSeparator: { $0 == "\t" || $0 == " " }).dropFirst(2).first.flatMap { uid_t($0) }
            }
        }
        return nil
    }

    static func name(of user: uid_t) -> String {
        guard let entry = getpwuid(user) else { return String(user) }
        return String(cString: entry.pointee.pw_name)
    }
}
