// `logs`: what the programs said, from the journal of systemd.

import ArgumentParser
import Console
import Glibc
import Journal
import PKI
import UPKIProtocol

struct Logs: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Shows what the programs said, from systemd's journal.",
        discussion: """
            Each change and each refusal is a line with task, name, serial number and request. Of floods the journal has a part; \
            the audit log has all: ca-ctl audit show. The CA of `ca-ctl up` writes to its standard error instead.
            """)

    @Option(name: [.customShort("n"), .long], help: ArgumentHelp("So many of the last lines.", valueName: "number"))
    var lines: Int?

    @Option(help: ArgumentHelp("Only from then on: a time (RFC 3339), or a span such as 90m or 2d before now.", valueName: "time"))
    var since: String?

    @Flag(name: [.short, .long], help: "Go on with what comes, until Ctrl-C.")
    var follow = false

    @Option(help: "Only one program: core, front, registrar or ocsp.", completion: .list(SystemdKeeper.units.map(\.service)))
    var service: String?

    @Option(help: "Only what is about one task, such as sign or revoke.")
    var task: String?

    @Option(help: "Only what is about one name, as the lines have it.")
    var dn: String?

    @Option(help: "Only what is about one serial number: hexadecimal, or decimal.")
    var serial: String?

    @Option(help: "Only one request, by the number that its client was told.")
    var request: String?

    @OptionGroup var shared: SharedOptions

    private static let standardLines = 50
    private static let followMilliseconds: UInt64 = 500

    func validate() throws {
        if let service, !SystemdKeeper.units.contains(where: { $0.service == service }) {
            throw ValidationError("--service is core, front, registrar or ocsp")
        }
        if let lines, !(0...1_000_000).contains(lines) { throw ValidationError("--lines is a number from 0 to 1000000") }
        if lines != nil, since != nil { throw ValidationError("--lines and --since are two ways to say where to begin: give one") }
        if let since, Self.time(since, now: .present) == nil {
            throw ValidationError("--since is a time (RFC 3339), or a span such as 90m or 2d")
        }
        if let serial, Self.hexadecimal(serial) == nil { throw ValidationError("--serial is a serial number in hexadecimal or decimal") }
    }

    func run() throws {
        guard access("/run/systemd/journal/socket", F_OK) == 0 else {
            throw CommandError(.refused, "this host has no journal: the programs write to the standard error of ca-ctl up")
        }
        let matches = [("UPKI_TASK", task), ("UPKI_DN", dn), ("UPKI_SERIAL", serial.flatMap(Self.hexadecimal)), ("UPKI_REQUEST", request)]
        let units = SystemdKeeper.units.filter { service == nil || $0.service == service }
        var count = 0
        do throws(JournalError) {
            let reader = try JournalReader(
                units: units.map(\.unit), matches: matches.compactMap { name, value in value.map { (name, $0) } })
            if let since, let time = Self.time(since, now: .present) {
                try reader.seek(time: UInt64(max(0, time.seconds)) * 1_000_000)
            } else {
                try reader.seek(last: lines ?? Self.standardLines)
            }
            while true {
                while let entry = try reader.next() {
                    count += 1
                    show(LogLine(entry))
                }
                guard follow else { break }
                try reader.wait(milliseconds: Self.followMilliseconds)
            }
        } catch {
            throw CommandError(.refused, error.message)
        }
        guard count == 0 else { return }
        let isAllowed = geteuid() == 0
        Output.complain(
            isAllowed
                ? "the journal holds nothing of that"
                : "the journal holds nothing of that, or does not let this user read it: adduser USER systemd-journal")
    }

    private func show(_ line: LogLine) { shared.output.show(line.json, text: line.text) }

    private static func time(_ text: String, now: UnixTime) -> UnixTime? {
        UnixTime(rfc3339: text) ?? HumanTime.seconds(ofSpan: text).map { UnixTime(now.seconds - $0) }
    }

    /// As the lines have it.
    private static func hexadecimal(_ text: String) -> String? { SerialNumber(text: text)?.hexadecimal }
}

/// A message of the journal as `logs` shows it.
package struct LogLine: Sendable, Equatable {
    package var time: String
    package var service: String
    package var level: String
    package var message: String
    /// In alphabetical order.
    package var fields: [(name: String, value: String)]

    /// syslog(3), in the words of the plain log.
    private static let levels = ["crit", "crit", "crit", "error", "warn", "note", "info", "debug"]

    package init(_ entry: JournalEntry) {
        let seconds = Int64(entry.time / 1_000_000)
        time = UnixTime(seconds).rfc3339
        let unit = entry.fields["_SYSTEMD_UNIT"] ?? ""
        service = SystemdKeeper.units.first { $0.unit == unit }?.service ?? unit
        let priority = entry.fields["PRIORITY"].flatMap { Int($0) } ?? 6
        level = Self.levels.indices.contains(priority) ? Self.levels[priority] : "info"
        message = entry.fields["MESSAGE"] ?? ""
        let prefix = "UPKI_"
        fields = entry.fields.filter { $0.key.hasPrefix(prefix) }.map { ($0.key.dropFirst(prefix.count).lowercased(), $0.value) }
            .sorted { $0.name < $1.name }
    }

    package static func == (a: LogLine, b: LogLine) -> Bool {
        a.text == b.text && a.time == b.time
    }

    package var json: JSON {
        .object(
            [
                .init("time", .string(time)), .init("service", .string(service)), .init("level", .string(level)),
                .init("message", .string(message)),
            ] + fields.map { JSON.Member($0.name, .string($0.value)) })
    }

    package var text: String {
        let known = fields.filter { $0.name != "event" }.map { "\($0.name)=\(Self.quoted($0.value))" }.joined(separator: " ")
        return TextWidth.printable(
            "\(time) \(service.padded(to: 9)) \(level.padded(to: 5)) \(message)" + (known.isEmpty ? "" : "  \(known)"))
    }

    private static func quoted(_ value: String) -> String {
        value.isEmpty || value.contains(" ") || value.contains("\"") ? "\"\(value.replacing("\"", with: "\\\""))\"" : value
    }
}

extension String {
    fileprivate func padded(to width: Int) -> String { self + String(repeating: " ", count: max(0, width - count)) }
}
