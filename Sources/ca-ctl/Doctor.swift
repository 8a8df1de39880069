// `doctor`: asks a running CA for its checks one by one, or has ca-core look at the directory of one that is down; one line each.

import AdminLink
import ArgumentParser
import Console
import Glibc
import OCSPClient
import PKI
import Settings
import Supervision
import UPKIProtocol

struct DoctorCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor", abstract: "Checks everything that can be wrong with the CA, and says what to do.",
        discussion: """
            Changes nothing. Works while the CA runs and while it is down.
            Exits with 0 when nothing failed (warnings alone are no failure) and with 1 otherwise.
            """)

    @OptionGroup var shared: SharedOptions

    func run() throws {
        let locations = try shared.directories.locations()
        var report = DoctorReport(try core(locations))
        let supervisor: SupervisorStatus? = (try? shared.withSupervisor { try $0.status(timeout: .seconds(3)) }) ?? nil
        report.add(supervision(supervisor))
        if let supervisor, let line = bridge(supervisor, BridgeSockets.http(in: locations.runDirectory)) { report.add(line) }
        report.add(UnitCheck().line())
        shared.output.show(report.json(command: shared.command), text: report.text(width: shared.output.width, command: shared.command))
        guard report.failures == 0 else {
            throw CommandError(.refused, "\(report.failures) of \(report.lines.count) checks failed; see what to do above")
        }
    }

    /// The checks that ca-core makes: the one that runs, or one that looks.
    private func core(_ locations: Locations) throws -> [DoctorReport.Line] {
        do {
            var connection = try shared.connect()
            let checks = try shared.ask(&connection, "doctor").arrayValue ?? []
            var lines = [DoctorReport.Line("core", .ok, "runs and answers")]
            for check in checks {
                let finding = try shared.ask(
                    &connection, "doctor", [("check", check)], timeout: .seconds(3600), doing: "checking \(JSONText.plain(check))")
                lines.append(DoctorReport.Line(finding))
            }
            return lines
        } catch let error as CommandError where error.code == .unreachable {
            return try down(locations, error)
        }
    }

    private func down(_ locations: Locations, _ reason: CommandError) throws -> [DoctorReport.Line] {
        let progress = Progress.Line()
        defer { progress.clear() }
        let run = CoreRun.doctor(dataDirectory: locations.dataDirectory, runDirectory: CoreSockets.find(in: locations.runDirectory))
        let output: [UInt8]
        do { output = try shared.runCore(run, progress: { progress.show($0) }) } catch let error as CommandError {
            // One that runs and does not answer holds the lock: what can be said is that.
            guard error.message.contains("is in use by") else { throw error }
            return [DoctorReport.Line("core", .fail, "runs, but does not answer: \(error.message)", do: "look at its log; ca-ctl status")]
        }
        guard let findings = (try? JSON(parsing: output))?.arrayValue else {
            throw CommandError(.refused, "ca-core doctor printed no list of findings; use the ca-core that came with this ca-ctl")
        }
        return [DoctorReport.Line("core", .warn, "the CA is not running", do: "ca-ctl up")] + findings.map { DoctorReport.Line($0) }
    }

    private func supervision(_ status: SupervisorStatus?) -> DoctorReport.Line {
        guard let status else { return DoctorReport.Line("services", .ok, "no supervisor runs here") }
        let bad = status.services.filter { $0.state == .failed || $0.state == .restarting }
        guard let first = bad.first else {
            let restarts = status.services.reduce(0) { $0 + $1.restarts }
            return DoctorReport.Line("services", .ok, "\(status.services.count) services, \(restarts) restarts since the supervisor began")
        }
        return DoctorReport.Line(
            "services", .fail, bad.map { "\($0.name) is \(StatusReport.process($0))" }.joined(separator: "; "),
            do: "mend what the log of \(first.name) names, then: ca-ctl up")
    }
}

extension DoctorCommand {
    /// Whether relying parties get what they ask for; nil where the services' own line says why not.
    private func bridge(_ supervisor: SupervisorStatus, _ socket: String) -> DoctorReport.Line? {
        guard let service = supervisor.services.first(where: { $0.name == ServicePlan.bridge }) else {
            return DoctorReport.Line("ocsp", .warn, ProgramUsers.noBridge)
        }
        guard service.state == .running else { return nil }
        let health: Result<HTTPAnswer, OCSPClientError>
        do throws(OCSPClientError) {
            var client = try HTTPClient(socket: socket)
            health = .success(try client.get("/healthz"))
        } catch { health = .failure(error) }
        return BridgeCheck.line(health, report: try? shared.bridgeReport(), socket: socket, now: shared.now)
    }
}

/// What is said of the OCSP bridge.
package enum BridgeCheck {
    /// A signing certificate lives for two days and is renewed after one: with less than this left, renewing has failed for long.
    private static let late: Int64 = 12 * 3_600

    package static func line(
        _ health: Result<HTTPAnswer, OCSPClientError>, report: BridgeReport?, socket: String, now: UnixTime
    ) -> DoctorReport.Line {
        let answer: HTTPAnswer
        do throws(OCSPClientError) { answer = try health.get() } catch {
            return DoctorReport.Line("ocsp", .fail, "runs, but \(error.message)", do: "ca-ctl ocsp restart")
        }
        guard answer.status == 200 else {
            let words = String(decoding: answer.body, as: UTF8.self).split(separator: "\n").joined(separator: "; ")
            return DoctorReport.Line("ocsp", .fail, words.isEmpty ? "HTTP status \(answer.status)" : words, do: "ca-ctl ocsp show")
        }
        guard let end = report?.signerEnds else { return DoctorReport.Line("ocsp", .ok, "answers at \(socket)") }
        guard end.seconds - now.seconds >= late else {
            return DoctorReport.Line(
                "ocsp", .warn, "the signing certificate ends at \(HumanTime.point(end, now: now)) and was not renewed",
                do: "ca-ctl ocsp show")
        }
        return DoctorReport.Line("ocsp", .ok, "answers at \(socket), signing certificate until \(HumanTime.point(end, now: now))")
    }
}

/// What the doctor shows.
package struct DoctorReport: Sendable {
    /// One check.
    package struct Line: Sendable, Equatable {
        package enum Level: String, Sendable { case ok, warn, fail }

        package var check: String
        package var level: Level
        package var found: String
        package var remedy: String

        package init(_ check: String, _ level: Level, _ found: String, do remedy: String = "") {
            self.check = check
            self.level = level
            self.found = found
            self.remedy = remedy
        }

        /// As ca-core answers it; a level that is not known is a failure.
        package init(_ finding: JSON) {
            self.init(
                finding.text("check"), Level(rawValue: finding.text("level")) ?? .fail, finding.text("found"), do: finding.text("do"))
        }
    }

    package private(set) var lines: [Line]

    package init(_ lines: [Line]) { self.lines = lines }

    mutating func add(_ line: Line) { lines.append(line) }

    package var failures: Int { lines.count { $0.level == .fail } }

    /// Commands of ca-ctl come with the directories of this run, so that they can be pasted.
    private func remedy(_ line: Line, _ command: (String) -> String) -> String {
        line.remedy.hasPrefix("ca-ctl ") && !line.remedy.contains(";") && !line.remedy.contains(",")
            ? command(String(line.remedy.dropFirst("ca-ctl ".count))) : line.remedy
    }

    package func json(command: (String) -> String) -> JSON {
        .array(
            lines.map { line in
                .object([
                    .init("check", .string(line.check)), .init("level", .string(line.level.rawValue)), .init("found", .string(line.found)),
                    .init("do", .string(remedy(line, command))),
                ])
            })
    }

    package func text(width: Int, command: (String) -> String) -> String {
        var table = TextTable([.init(""), .init(""), .init("", isProse: true, least: 20)], hasHeading: false)
        for line in lines {
            let what = line.remedy.isEmpty ? line.found : "\(line.found): \(remedy(line, command))"
            table.add([line.level == .fail ? "FAIL" : line.level.rawValue, line.check, what])
        }
        return table.rendered(width: width)
    }
}
