// `seed` and `token`: what lets an RA register.

import AdminLink
import ArgumentParser
import Console
import UPKIProtocol

struct SeedCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "seed", abstract: "Derives the registration token from the seed, and proves a seed.",
        discussion: "The seed is read from standard input, or from --seed-file; it is never an argument.",
        subcommands: [StandingToken.self, Verify.self])

    struct StandingToken: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "token", abstract: "Prints the standing registration token.",
            discussion: """
                The token follows from the seed, and the CA keeps only its hash. With --rotate the CA moves to the next token and the
                present one is worth nothing any more; that needs a running CA.
                """)

        @Flag(help: "Move to the next token.")
        var rotate = false

        @Option(help: "Read the seed from this file instead of standard input.", completion: .file())
        var seedFile: String?

        @OptionGroup var shared: SharedOptions

        func run() throws {
            let answer = rotate ? try self.rotated() : try self.derived()
            shared.output.show(answer, text: answer.text("token"))
        }

        private func derived() throws -> JSON {
            let seed = try SeedInput.read(file: seedFile)
            return try shared.runCoreForJSON(.token(dataDirectory: try shared.directories.locations().dataDirectory, seed: seed))
        }

        private func rotated() throws -> JSON {
            var connection = try shared.connect()
            let status = try shared.ask(&connection, "status")
            // An imported CA has no seed; its tokens are random.
            let isDerived = status["ca"]?["key_derived_from_seed"]?.boolValue ?? true
            let seed = isDerived ? try SeedInput.read(file: seedFile) : nil
            return try shared.ask(&connection, "rotate_token", [("seed", seed.map { .string($0) })])
        }
    }

    struct Verify: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Proves that a seed is the one this CA was made from.")

        @Option(help: "Read the seed from this file instead of standard input.", completion: .file())
        var seedFile: String?

        @OptionGroup var shared: SharedOptions

        func run() throws {
            var connection = try shared.connect()
            let seed = try SeedInput.read(file: seedFile)
            let answer = try shared.ask(&connection, "verify_seed", [("seed", .string(seed))])
            shared.output.show(answer, text: "The seed is the one that this CA was made from.")
        }
    }
}

struct TokenCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "token", abstract: "Lists and revokes registration tokens.", subcommands: [List.self, Revoke.self])

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Lists the tokens, by their ids; the tokens themselves are kept nowhere.")

        @OptionGroup var shared: SharedOptions

        func run() throws {
            let answer = try shared.ask("tokens")
            let now = shared.now
            let table = TextTable(
                answer.arrayValue ?? [],
                [
                    JSONColumn("ID", "id"), JSONColumn("KIND", "kind"), JSONColumn("CN", "cn", isProse: true),
                    JSONColumn("STATE") { token in
                        if token["revoked"]?.boolValue == true { return "revoked" }
                        if token["used_at"]?.stringValue != nil, token["live"]?.boolValue != true { return "used" }
                        return token["live"]?.boolValue == true ? "live" : "expired"
                    },
                    JSONColumn("EXPIRES", time: "expires_at", now: now),
                ])
            shared.output.show(answer, table: table, ifEmpty: "There are no tokens.")
        }
    }

    struct Revoke: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Revokes a token.")

        @Argument(help: "Its id, from `token list`.")
        var id: String

        @OptionGroup var shared: SharedOptions

        func run() throws {
            let answer = try shared.ask("revoke_token", [("id", .string(id))])
            shared.output.show(answer, text: "Revoked: the token \(id).")
        }
    }
}
