// `metrics`: what the CA counts, as Prometheus text for node_exporter's textfile collector; with what the supervisor knows.

import ArgumentParser
import Console
import Glibc
import Metrics
import Supervision
import UPKIProtocol

struct MetricsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "metrics", abstract: "Prints what the CA counts, as Prometheus text.",
        discussion: """
            With --out it writes a file for node_exporter's textfile collector, whole or not at all; run it from a timer.
            Exits with 3 when ca-core does not answer; the file then holds upki_ca_up 0, so that an alert can see it.
            """)

    @Option(help: "Write to this file (name it *.prom) instead of standard output.", completion: .file(extensions: ["prom"]))
    var out: String?

    @OptionGroup var shared: SharedOptions

    func run() throws {
        var text = Exposition()
        let supervisor: SupervisorStatus? = (try? shared.withSupervisor { try $0.status(timeout: .seconds(3)) }) ?? nil
        let answer: Result<String, any Error> = Result {
            // Shorter than the interval of a timer: an answer that late is none.
            try shared.ask("metrics", timeout: .seconds(10)).stringValue ?? ""
        }
        let isUp = (try? answer.get()) != nil
        text.gauge("upki_ca_up", "1 when ca-core answered.", Optional(isUp ? 1 : 0))
        if let supervisor { SupervisorMetrics.write(supervisor, to: &text) }
        let whole = text.text + ((try? answer.get()) ?? "")
        if let out {
            try NamedFile.write(Array(whole.utf8), to: out, mode: 0o644, replaces: true)
        } else if isUp {
            shared.output.show(.object([.init("metrics", .string(whole))]), text: whole)
        }
        _ = try answer.get()
    }
}

/// What only the supervisor knows.
package enum SupervisorMetrics {
    package static func write(_ supervisor: SupervisorStatus, to text: inout Exposition) {
        let services = supervisor.services
        text.gauge(
            "upki_ca_service_up", "1 while the service runs and is ready.",
            services.map { ([("service", $0.name)], $0.state == .running ? 1 : 0) })
        text.counter(
            "upki_ca_service_restarts_total", "How often the supervisor started a service again by itself.",
            services.map { ([("service", $0.name)], UInt64(clamping: $0.restarts)) })
        text.gauge(
            "upki_ca_service_failed", "1 for a service that failed for good, until somebody starts it.",
            services.map { ([("service", $0.name)], $0.state == .failed ? 1 : 0) })
        text.counter(
            "upki_ca_service_ignored_notifications_total", "Notifications that the supervisor did not heed.",
            services.map { ([("service", $0.name)], UInt64(clamping: $0.ignoredNotifications)) })
        text.gauge(
            "upki_ca_service_since_seconds", "Since when the service is in its state, since 1970.",
            services.map { ([("service", $0.name)], Double($0.since)) })
    }
}
