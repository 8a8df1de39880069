// `registrar`: opening and closing registration, which ca-core commits and the supervisor's registrar follows.

import AdminLink
import ArgumentParser
import Console
import Enrolment
import PKI
import Settings
import Supervision
import UPKIProtocol

struct Registrar: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "registrar", abstract: "Opens and closes the registration of RAs.",
        subcommands: [Open.self, Close.self, Show.self])

    /// The name of the supervisor's service.
    static let service = "registrar"

    struct Open: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Opens registration for a while and prints a fresh one-time token, and an enrolment string for other hosts.",
            discussion: "Whoever has the token or the string can register once; send it over a way that you trust.")

        @Option(name: .customLong("for"), help: "How long: 90m, 24h, 7d.")
        var duration = "24h"

        @Option(help: "How many RAs may register.")
        var max: Int?

        @Option(name: .customLong("cn"), help: "The one common name that may register.")
        var commonName: String?

        @OptionGroup var shared: SharedOptions

        func validate() throws {
            guard HumanTime.seconds(ofSpan: duration) != nil else { throw ValidationError("--for is a time such as 90m, 24h or 7d") }
            if let max, max < 1 { throw ValidationError("--max is at least 1") }
        }

        func run() throws {
            var connection = try shared.connect()
            let window = try shared.ask(
                &connection, "open_registration",
                [
                    ("seconds", HumanTime.seconds(ofSpan: duration).map { .integer($0) }), ("max", max.map { .integer($0) }),
                    ("cn", commonName.map { .string($0) }),
                ])
            let enrolment = try enrolmentString(window)
            let answer = JSON.object((window.objectValue ?? []) + [.init("enrolment", enrolment.map { .string($0) } ?? .null)])
            guard !shared.isRemote else {
                // The supervisor there follows the window.
                return shared.output.show(answer, text: heading(window) + enrolmentText(enrolment))
            }
            let status = try shared.ask(&connection, "status")
            // The window is committed; a registrar that does not come up is worth a refusal, and closing is possible all the same.
            let runDirectory = try shared.directories.locations().runDirectory
            let started: String? = try shared.withSupervisor { try $0.perform(.start(Registrar.service)) }
            if started == nil {
                Output.complain("no supervisor runs here: start ca-registrar by hand, or its systemd unit, unless it runs already")
            }
            let listeners = started == nil ? nil : Listeners.read(in: runDirectory)
            shared.output.show(answer, text: text(window, status, listeners, enrolment))
        }

        /// For hosts that reach this CA over CURVE; nil where it listens with CURVE nowhere.
        private func enrolmentString(_ window: JSON) throws -> String? {
            guard window["transport"]?["addresses"]?.arrayValue?.isEmpty == false else { return nil }
            do throws(EnrolmentError) { return try EnrolmentString(openedRegistration: window).text } catch {
                throw CommandError(.refused, error.message)
            }
        }

        private func heading(_ window: JSON) -> String { "Registration is \(WindowText.describe(window, now: shared.now)).\n" }

        private func enrolmentText(_ enrolment: String?) -> String {
            guard let enrolment else { return "" }
            return """

                On another host, in one line (it is a secret until it is used):

                    \(enrolment)

                There: ca-ctl enroll - --out FOLDER, or for an unmodified RA: ca-ctl tunnel --enroll - --identity FOLDER

                """
        }

        private func text(_ window: JSON, _ status: JSON, _ listeners: Listeners?, _ enrolment: String?) -> String {
            let host = listeners?.host ?? status["listeners"]?.text("host") ?? "127.0.0.1"
            let port = listeners.map { String($0.port) } ?? status["listeners"]?.text("port") ?? "5000"
            return heading(window)
                + TextTable(facts: [("  one-time token", window.text("token"))]).rendered(width: Int.max)
                    + """

                    On the RA, where it expects the seed:

                        UPKI_CA_HOST=\(host) UPKI_CA_PORT=\(port) UPKI_CA_SEED=\(window.text("token"))

                    """ + enrolmentText(enrolment)
                    + "\nClose it when the RA is registered: \(shared.command("registrar close"))\n"
        }
    }

    struct Close: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Closes registration; it stays closed over restarts.")

        @OptionGroup var shared: SharedOptions

        func run() throws {
            let window = try shared.ask("close_registration")
            // ca-core has committed: the registrar hears of it and ends by itself; stop waits for that, or sees to it.
            let stopped: String? = try shared.withSupervisor { try $0.perform(.stop(Registrar.service)) }
            if stopped == nil, !shared.isRemote {
                Output.complain("no supervisor runs here: registration is closed, and a registrar that runs ends by itself")
            }
            shared.output.show(
                window,
                text: "Registration is closed" + (stopped == nil ? "." : ", and the registrar is down: nothing listens on its port.")
                    + "\nOpen it again: \(shared.command("registrar open"))")
        }
    }

    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(commandName: "status", abstract: "Says whether registration is open.")

        @OptionGroup var shared: SharedOptions

        func run() throws {
            let status = try shared.ask("status")
            let window = status["registration"] ?? .null
            let service = try shared.withSupervisor { try $0.status().services.first { $0.name == Registrar.service } } ?? nil
            let process = service.map { StatusReport.process($0) }
            shared.output.show(
                .object((window.objectValue ?? []) + [JSON.Member("service", service.map { StatusReport.json($0) } ?? .null)]),
                text: TextTable(facts: [
                    ("registration", WindowText.describe(window, now: shared.now)), ("registrar", process ?? "not under a supervisor"),
                ]).rendered(width: shared.output.width))
        }
    }
}

/// The registration window in words.
enum WindowText {
    static func describe(_ window: JSON, now: UnixTime) -> String {
        guard window["open"]?.boolValue == true else {
            let reason = window.text("reason")
            return "closed" + (reason.isEmpty || reason == "closed" ? "" : " (\(reason))")
        }
        var text = "open"
        if let until = window["until"]?.integerValue { text += " until \(HumanTime.point(UnixTime(until), now: now))" }
        if let remaining = window["remaining"]?.integerValue { text += ", for \(remaining) more" }
        if let name = window["cn"]?.stringValue { text += ", only for \(name)" }
        return text
    }
}
