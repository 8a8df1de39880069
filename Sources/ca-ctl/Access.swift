// `admin` and `node`: who may do what.

import AdminLink
import ArgumentParser
import Console
import UPKIProtocol

struct Admins: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "admin", abstract: "The list of admins, by the DN of their node's certificate.",
        subcommands: [List.self, Add.self, Remove.self])

    /// The DN: as given, or of the node with that common name where it is none.
    fileprivate static func dn(_ name: String, _ shared: SharedOptions) throws -> String {
        name.contains("=") ? name : try shared.ask("node", [("cn", .string(name))]).text("dn")
    }

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Lists the admins, as they were added.")
        @OptionGroup var shared: SharedOptions

        func run() throws {
            let answer = try shared.ask("list_admins")
            let names = (answer.arrayValue ?? []).flatMap {
                TextWrap.lines(TextWidth.printable(JSONText.plain($0)), width: shared.output.width)
            }
            shared.output.show(answer, text: names.isEmpty ? "There are no admins; ca-ctl needs none." : names.joined(separator: "\n"))
        }
    }

    struct Add: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Makes a node an admin.")

        @Argument(
            help: "Its DN, for example /C=FR/O=Example/CN=ra.example.com or that in the notation of RFC 4514; or a node's common name.")
        var name: String

        @OptionGroup var shared: SharedOptions

        func run() throws {
            let dn = try Admins.dn(name, shared)
            let answer = try shared.ask("add_admin", [("dn", .string(dn))])
            shared.output.show(answer, text: "Admin: \(TextWidth.printable(dn)).")
        }
    }

    struct Remove: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Takes an admin's rights.")

        @Argument(help: "The DN, or the common name of a node.")
        var name: String

        @OptionGroup var shared: SharedOptions

        func run() throws {
            let dn = try Admins.dn(name, shared)
            let answer = try shared.ask("remove_admin", [("dn", .string(dn))])
            shared.output.show(answer, text: "No admin any more: \(TextWidth.printable(dn)).")
        }
    }
}

struct Nodes: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "node", abstract: "The nodes: RAs and other programs that may ask for certificates.",
        subcommands: [List.self, Show.self, Add.self, Limit.self, Rebind.self, Renew.self, Remove.self])

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Lists the nodes that live.")

        @Flag(help: "Those that were removed or revoked too.")
        var all = false

        @OptionGroup var shared: SharedOptions

        func run() throws {
            let answer = try shared.ask("nodes", [("all", .bool(all))])
            let now = shared.now
            let table = TextTable(
                answer.arrayValue ?? [],
                [
                    JSONColumn("CN", "cn"), JSONColumn("STATE", "state"), JSONColumn("ADMIN", "admin"), JSONColumn("BINDING", "binding"),
                    JSONColumn("ORIGIN", "origin"), JSONColumn("VALID UNTIL", time: "not_after", now: now),
                ])
            shared.output.show(
                answer, table: table,
                ifEmpty:
                    "There are no nodes. Register one: \(shared.command("registrar open")); add one: \(shared.command("node add CN --address A"))"
            )
        }
    }

    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Shows a node.")

        @Argument(help: "Its common name.")
        var commonName: String

        @OptionGroup var shared: SharedOptions

        func run() throws {
            let answer = try shared.ask("node", [("cn", .string(commonName))])
            shared.output.show(answer, text: TextTable(facts: JSONText.facts(answer, now: shared.now)).rendered(width: shared.output.width))
        }
    }

    struct Add: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Adds a node that is known by its address.")

        @Argument(help: "Its common name.")
        var commonName: String

        @Option(help: "The IP address it asks from.")
        var address: String

        @OptionGroup var shared: SharedOptions

        func run() throws {
            let answer = try shared.ask("add_node", [("cn", .string(commonName)), ("address", .string(address))])
            shared.output.show(answer, text: "Node: \(TextWidth.printable(commonName)), from \(answer.text("binding")).")
        }
    }

    struct Limit: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Limits what a node may ask for.", discussion: "What is not named stays as it is.")

        @Argument(help: "Its common name.")
        var commonName: String

        @Option(help: "The profiles it may use, with commas.")
        var profiles: String?

        @Option(help: "The names it may have certified, with commas: host.example.com, *.example.com, .example.com.")
        var names: String?

        @Flag(help: "Any profile that its role allows.")
        var anyProfile = false

        @Flag(help: "Any name that the rules allow.")
        var anyName = false

        @OptionGroup var shared: SharedOptions

        func validate() throws {
            guard profiles == nil || !anyProfile, names == nil || !anyName else {
                throw ValidationError("a limit and its end cannot be asked for together")
            }
            guard profiles != nil || names != nil || anyProfile || anyName else {
                throw ValidationError("give --profiles, --names, --any-profile or --any-name")
            }
        }

        func run() throws {
            var connection = try shared.connect()
            let node = try shared.ask(&connection, "node", [("cn", .string(commonName))])
            func limit(_ wanted: String?, isLifted: Bool, _ present: JSON?) -> JSON? {
                if let wanted { return .array(commaList(wanted).map { .string($0) }) }
                return isLifted ? nil : present
            }
            // The task sets both limits at once.
            let answer = try shared.ask(
                &connection, "limit_node",
                [
                    ("cn", .string(commonName)), ("profiles", limit(profiles, isLifted: anyProfile, node["profiles"])),
                    ("names", limit(names, isLifted: anyName, node["names"])),
                ])
            shared.output.show(
                answer,
                text: "Limited: \(TextWidth.printable(commonName)); see: \(shared.command("node show \(ShellText.quoted(commonName))"))")
        }
    }

    struct Rebind: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Moves a node: to an address at once, or with a one-time token that lets it register again from wherever it is.")

        @Argument(help: "Its common name.")
        var commonName: String

        @Option(help: "The IP address it asks from now on.")
        var address: String?

        @Option(name: .customLong("for"), help: "How long the token lives: 60m, 24h.")
        var duration: String?

        @OptionGroup var shared: SharedOptions

        func validate() throws {
            if let duration, HumanTime.seconds(ofSpan: duration) == nil { throw ValidationError("--for is a time such as 90m, 24h or 7d") }
            guard address == nil || duration == nil else { throw ValidationError("--for is for tokens; an address is bound at once") }
        }

        func run() throws {
            let seconds = duration.flatMap { HumanTime.seconds(ofSpan: $0) }
            let answer = try shared.ask(
                "rebind_node",
                [("cn", .string(commonName)), ("address", address.map { .string($0) }), ("seconds", seconds.map { .integer($0) })])
            shared.output.show(answer, text: text(answer))
        }

        private func text(_ answer: JSON) -> String {
            if address != nil { return "Bound: \(TextWidth.printable(commonName)) to \(answer.text("binding"))." }
            let until = answer["until"]?.integerValue.map { HumanTime.point(.init($0), now: shared.now) } ?? ""
            return """
                A token for \(TextWidth.printable(commonName)) alone, until \(until):

                    \(answer.text("token"))

                It goes where the RA expects the seed (UPKI_CA_SEED). Registration has to be open: \(shared.command("registrar open"))

                """
        }
    }

    struct Renew: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Renews a node's own certificate, with the same key.")

        @Argument(help: "Its common name.")
        var commonName: String

        @OptionGroup var issued: IssuedOptions
        @OptionGroup var shared: SharedOptions

        func run() throws {
            let answer = try shared.ask("renew_node", [("cn", .string(commonName)), ("duration", issued.days.map { .integer($0) })])
            try issued.show(answer, shared)
        }
    }

    struct Remove: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Removes a node: its rights end at once, and its own certificate is revoked.")

        @Argument(help: "Its common name.")
        var commonName: String

        @OptionGroup var shared: SharedOptions

        func run() throws {
            let answer = try shared.ask("remove_node", [("cn", .string(commonName))])
            shared.output.show(answer, text: "Removed: the node \(TextWidth.printable(commonName)).")
        }
    }
}
