// `crl`, `profile`, `reload`: what the CA publishes, and how it issues.

import AdminLink
import ArgumentParser
import Console
import Glibc
import PKI
import Settings
import UPKIProtocol

struct RevocationLists: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "crl", abstract: "The certificate revocation list.", subcommands: [Generate.self, Show.self, Import.self])

    struct Generate: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Builds and publishes a CRL now.")
        @OptionGroup var shared: SharedOptions

        func run() throws {
            var connection = try shared.connect()
            _ = try shared.ask(&connection, "generate_crl", timeout: .seconds(120))
            let facts = try shared.ask(&connection, "show_crl", timeout: .seconds(60))
            shared.output.show(facts, text: TextTable(facts: JSONText.facts(facts, now: shared.now)).rendered(width: shared.output.width))
        }
    }

    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Says what the published CRL holds.")

        @Option(help: "Write the CRL itself to this file, in PEM; - is standard output.", completion: .file())
        var out: String?

        @Flag(help: "DER instead of PEM.")
        var der = false

        @OptionGroup var shared: SharedOptions

        func validate() throws {
            guard !der || out != nil else { throw ValidationError("--der is for --out") }
        }

        func run() throws {
            var connection = try shared.connect()
            guard let out else {
                let facts = try shared.ask(&connection, "show_crl", timeout: .seconds(60))
                shared.output.show(
                    facts, text: TextTable(facts: JSONText.facts(facts, now: shared.now)).rendered(width: shared.output.width))
                return
            }
            let encoded = try shared.ask(&connection, "get_crl", timeout: .seconds(60)).stringValue ?? ""
            guard let list = Base64.decode(encoded.utf8) else { throw CommandError(.refused, "the CA's answer is no CRL") }
            let bytes = der ? list : Array(PEM.encode(list, label: "X509 CRL").utf8)
            if out == "-" { return Output.write(bytes: bytes) }
            try NamedFile.write(bytes, to: out, mode: 0o644, replaces: true)
            shared.output.show(.object([.init("file", .string(out)), .init("bytes", .integer(bytes.count))]), text: "Written: \(out).")
        }
    }
}

struct Profiles: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "profile", abstract: "The profiles: what certificates of a kind look like.",
        subcommands: [List.self, Show.self, Add.self, Remove.self])

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Lists the profiles.")
        @OptionGroup var shared: SharedOptions

        func run() throws {
            var connection = try shared.connect()
            let names = try shared.ask(&connection, "list_profiles")
            if shared.json { return shared.output.show(names, text: "") }
            let profiles = try (names.arrayValue ?? []).map { try shared.ask(&connection, "get_profile", [("profile", $0)]) }
            let table = TextTable(
                profiles,
                [
                    JSONColumn("NAME", "name"), JSONColumn("DAYS", "duration", isNumber: true),
                    JSONColumn("KEY") { "\($0.text("keyType")) \($0.text("keyLen"))" },
                    JSONColumn("KEY USAGE", "keyUsage", isProse: true), JSONColumn("EXTENDED", "extendedKeyUsage", isProse: true),
                ])
            shared.output.show(names, table: table, ifEmpty: "There are none.")
        }
    }

    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Prints a profile as the text of its file.")

        @Argument(help: "Its name.")
        var name: String

        @OptionGroup var shared: SharedOptions

        func run() throws {
            let answer = try shared.ask("get_profile", [("profile", .string(name))])
            let text = try ProfileJSON.fileText(answer, name: name)
            shared.output.show(answer, text: text)
        }
    }

    struct Add: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Adds the profile of a YAML file.",
            discussion: "The file's name without .yml is the profile's name, unless --name says otherwise.")

        @Argument(help: "The file.", completion: .file(extensions: ["yml", "yaml"]))
        var file: String

        @Option(help: "The profile's name.")
        var name: String?

        @Flag(help: "Replace the profile of that name.")
        var replace = false

        @OptionGroup var shared: SharedOptions

        func run() throws {
            let profile: CertificateProfile
            do throws(SettingsError) {
                profile = try ProfileFile.parse(try NamedFile.readProfile(file), file: file, name: name)
            } catch {
                throw CommandError(.refused, error.oneLine)
            }
            let answer = try send(profile)
            shared.output.show(answer, text: "Profile: \(profile.name); see: \(shared.command("profile show \(profile.name)"))")
        }

        private func send(_ profile: CertificateProfile) throws -> JSON {
            do {
                return try shared.ask(
                    replace ? "update_profile" : "add_profile",
                    [("name", .string(profile.name)), ("profile", ProfileJSON.json(ProfileFile.tree(profile)))])
            } catch let error as CommandError where error.message.hasPrefix("Profile already exists") {
                throw CommandError(
                    .refused,
                    "Profile already exists: \(profile.name); change it: \(shared.command("profile add \(ShellText.quoted(file)) --replace"))"
                )
            }
        }
    }

    struct Remove: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Removes a profile; built-in ones stay.")

        @Argument(help: "Its name.")
        var name: String

        @OptionGroup var shared: SharedOptions

        func run() throws {
            let answer = try shared.ask("remove_profile", [("name", .string(name))])
            shared.output.show(answer, text: "Removed: the profile \(TextWidth.printable(name)).")
        }
    }
}

extension NamedFile {
    /// A profile's file; a missing one is an error of the same kind as a wrong one.
    static func readProfile(_ path: String) throws(SettingsError) -> [UInt8] {
        guard let bytes = try SettingsFile.read(path) else {
            throw SettingsError(code: .unreadable, problems: [.init(source: path, line: nil, message: "there is no such file")])
        }
        return bytes
    }
}

/// Profiles between YAML trees and JSON.
package enum ProfileJSON {
    package static func json(_ value: SettingValue) -> JSON {
        switch value {
        case .null: .null
        case .bool(let flag): .bool(flag)
        case .string(let text): .string(text)
        case .int(let number): .integer(number)
        case .list(let elements): .array(elements.map { json($0.value) })
        case .map(let entries): .object(entries.map { .init($0.key, json($0.value.value)) })
        }
    }

    private static func tree(_ json: JSON) -> SettingValue {
        switch json {
        case .null: .null
        case .bool(let flag): .bool(flag)
        case .string(let text): .string(text)
        case .number(let digits): Int(digits).map { .int($0) } ?? .string(digits)
        case .array(let elements): .list(elements.map { Setting(tree($0)) })
        // The name stands beside the file, not in it.
        case .object(let members): .map(members.filter { $0.name != "name" }.map { SettingEntry($0.name, tree($0.value)) })
        }
    }

    /// The text of the file that says the same.
    package static func fileText(_ profile: JSON, name: String) throws(CommandError) -> String {
        do throws(SettingsError) {
            return ProfileFile.render(try ProfileFile.read(tree(profile), name: profile["name"]?.stringValue ?? name))
        } catch {
            throw CommandError(.refused, "the CA's answer is no profile that this ca-ctl knows: \(error.oneLine)")
        }
    }
}

struct Reload: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Has the CA read configuration and profiles again.")
    @OptionGroup var shared: SharedOptions

    func run() throws {
        let answer = try shared.ask("reload")
        for warning in answer["warnings"]?.arrayValue ?? [] { Output.complain("warning: \(JSONText.plain(warning))") }
        shared.output.show(answer, text: "Read again: configuration and \(answer.text("profiles")) profiles.")
    }
}
