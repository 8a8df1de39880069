// `transport`: the CURVE keys by which nodes know this CA, and their exchange.

import ArgumentParser
import Console
import Supervision
import UPKIProtocol

struct Transport: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "transport", abstract: "The CURVE keys of ports 5000 and 5001: shows and exchanges them.",
        discussion: """
            Nodes know this CA by these keys. To exchange them: `rotate` makes the next ones and listens with them on ports of their own;
            nodes of ours learn them within a day; `finish` makes them the only ones. `abort` gives the next ones up.
            """,
        subcommands: [Show.self, Rotate.self, Finish.self, Abort.self])

    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Shows where nodes reach this CA, and its public keys.")
        @OptionGroup var shared: SharedOptions

        func run() throws {
            let answer = try shared.ask("transport")
            shared.output.show(answer, text: Transport.text(answer, shared))
        }
    }

    struct Rotate: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Makes the next keys and listens with them on further ports.",
            discussion: "Where the seed made the CA it is needed again: from standard input, or from --seed-file; never as an argument.")

        @Option(help: "The front's further port; ten above the present one where it is not said. The registrar has the next one.")
        var port: Int?

        @Option(help: "Read the seed from this file instead of standard input.", completion: .file())
        var seedFile: String?

        @OptionGroup var shared: SharedOptions

        func validate() throws {
            if let port, !(1...65_534).contains(port) { throw ValidationError("--port is a number from 1 to 65534") }
        }

        func run() throws {
            var connection = try shared.connect()
            let status = try shared.ask(&connection, "status")
            let isDerived = status["ca"]?["key_derived_from_seed"]?.boolValue ?? true
            let seed = isDerived ? try SeedInput.read(file: seedFile) : nil
            let answer = try shared.ask(
                &connection, "transport_rotate", [("port", port.map { .integer($0) }), ("seed", seed.map { .string($0) })])
            try Transport.restartRelays(shared)
            shared.output.show(
                answer,
                text: Transport.text(answer, shared)
                    + "\nNodes that ask within the coming days learn the next keys. When all have: \(shared.command("transport finish"))\n")
        }
    }

    struct Finish: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Makes the next keys the only ones, on the ports of the present ones.",
            discussion: "A node that has not asked since `rotate` does not know this CA any more and has to be enrolled again.")
        @OptionGroup var shared: SharedOptions

        func run() throws { try Transport.end("transport_finish", shared) }
    }

    struct Abort: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Gives the next keys up; the present ones stay.")
        @OptionGroup var shared: SharedOptions

        func run() throws { try Transport.end("transport_abort", shared) }
    }

    private static func end(_ task: String, _ shared: SharedOptions) throws {
        let answer = try shared.ask(task)
        try restartRelays(shared)
        shared.output.show(answer, text: text(answer, shared))
    }

    /// A socket has one key for all its life: the relays begin anew. What is open in them is finished first.
    private static func restartRelays(_ shared: SharedOptions) throws {
        let states: [ServiceStatus]? = try shared.withSupervisor { try $0.status().services }
        guard let states else {
            return Output.complain("no supervisor runs here: restart ca-core front and ca-registrar by hand, or their systemd units")
        }
        for name in [ServicePlan.front, ServicePlan.registrar] where states.contains(where: { $0.name == name && $0.state == .running }) {
            let _: String? = try shared.withSupervisor { try $0.perform(.restart(name)) }
        }
    }

    private static func text(_ transport: JSON, _ shared: SharedOptions) -> String {
        let addresses = (transport["addresses"]?.arrayValue ?? []).compactMap(\.stringValue)
        var facts: [(String, String)] = [
            ("reached at", addresses.isEmpty ? "no address with CURVE; see listeners and advertise in the configuration" : addresses.joined(separator: ", ")),
            ("CA fingerprint (SHA-256)", transport.text("fingerprint")),
        ]
        func add(_ keys: JSON, _ title: String) {
            facts += [
                ("\(title) number", keys.text("number")), ("  port \(keys.text("port"))", keys.text("core_key")),
                ("  port \(keys.text("registrar_port"))", keys.text("registrar_key")),
            ]
        }
        add(transport, "keys")
        if let next = transport["next"], !next.isNull { add(next, "next keys") }
        return TextTable(facts: facts).rendered(width: shared.output.width)
    }
}
