// The manual pages: made from the commands' own definitions, without a complaint of mandoc or of groff, and with every command in them.
import Foundation
import Testing
import UPKIProtocol

extension IntegrationTests {
    @Suite("Manual pages")
    struct ManualTests {
        private static func make(_ program: String, section: String, in place: Workplace) throws -> JSON {
            let described = try place.must(["\(Checkout.programs)/\(program)", "--experimental-dump-help"])
            try place.must(
                ["\(Checkout.programs)/manual-pages", "--section", section, "--date", "2026-11-25", "--out", place.directory],
                input: described)
            return try JSON(parsing: Array(described.utf8))["command"] ?? .null
        }

        @Test(
            "mandoc and man have nothing to say against any page",
            arguments: [("ca-ctl", "1"), ("ca-core", "8"), ("ca-registrar", "8"), ("ca-ocsp-bridge", "8")])
        func clean(program: String, section: String) throws {
            let place = try Workplace()
            defer { place.end() }
            _ = try Self.make(program, section: section, in: place)
            let pages = try FileManager.default.contentsOfDirectory(atPath: place.directory).filter { $0.hasSuffix(".\(section)") }
            #expect(pages.contains("\(program).\(section)"))
            for page in pages {
                let lint = try place.run(["/usr/bin/mandoc", "-Tlint", "-W", "style", place.path(page)])
                // These pages are installed together; mandoc looks for those of the machine.
                let words = (lint.output + lint.errors).split(separator: "\n").filter {
                    !$0.contains("referenced manual not found: Xr ca-")
                }
                #expect(words.isEmpty, "\(words.joined(separator: "\n"))")
                let shown = try place.run(
                    ["/usr/bin/man", "--warnings", "-E", "UTF-8", "-l", place.path(page)], environment: ["MANWIDTH": "80"])
                #expect(shown.code == 0 && shown.errors.isEmpty, "\(page): \(shown.errors)")
            }
        }

        @Test("they have nothing to say against the overview either, which names what the package has")
        func overview() throws {
            let place = try Workplace()
            defer { place.end() }
            let page = "\(Checkout.root)/deploy/man/upki-ca.7"
            let lint = try place.run(["/usr/bin/mandoc", "-Tlint", "-W", "style", page])
            let words = (lint.output + lint.errors).split(separator: "\n").filter {
                // mandoc looks for the pages of the machine.
                !$0.contains("referenced manual not found") && !$0.contains("mandoc.db")
            }
            #expect(words.isEmpty, "\(words.joined(separator: "\n"))")
            let text = try String(contentsOfFile: page, encoding: .utf8)
            for unit in try FileManager.default.contentsOfDirectory(atPath: "\(Checkout.root)/deploy/systemd")
            where [".service", ".socket", ".path", ".target"].contains(where: unit.hasSuffix) {
                #expect(text.contains(unit), "\(unit)")
            }
        }

        /// As many as ca-ctl had when this was written.
        private static let leastCommands = 45

        @Test("every command and every option of ca-ctl stands on the page of its command")
        func complete() throws {
            let place = try Workplace()
            defer { place.end() }
            let program = try Self.make("ca-ctl", section: "1", in: place)
            let overview = try place.must(["/usr/bin/mandoc", "-Tutf8", "-Owidth=200", place.path("ca-ctl.1")]).withoutOverstrike
            var count = 0
            func check(_ command: JSON, _ path: [String], on page: String) {
                let subcommands = (command["subcommands"]?.arrayValue ?? []).filter { $0["commandName"] != "help" }
                for subcommand in subcommands { check(subcommand, path + [subcommand["commandName"]?.stringValue ?? ""], on: page) }
                guard subcommands.isEmpty else { return }
                count += 1
                #expect(page.contains(path.joined(separator: " ")), "\(path)")
                // Hidden ones are for tests.
                for argument in command["arguments"]?.arrayValue ?? [] where argument["shouldDisplay"]?.boolValue != false {
                    for name in argument["names"]?.arrayValue ?? [] where name["kind"] == "long" {
                        #expect(page.contains("--\(name["name"]?.stringValue ?? "?")"), "\(path) \(name.text)")
                    }
                }
            }
            for command in program["subcommands"]?.arrayValue ?? [] where command["commandName"] != "help" {
                let name = command["commandName"]?.stringValue ?? "?"
                #expect(overview.contains("ca-ctl-\(name)(1)"), "\(name)")
                let page = try place.must(["/usr/bin/mandoc", "-Tutf8", "-Owidth=200", place.path("ca-ctl-\(name).1")]).withoutOverstrike
                check(command, ["ca-ctl", name], on: page)
            }
            #expect(count >= Self.leastCommands, "\(count)")
        }

        @Test("what is no description, or no date, makes no page")
        func refusals() throws {
            let place = try Workplace()
            defer { place.end() }
            let tool = "\(Checkout.programs)/manual-pages"
            for input in ["", "{}", "[]", #"{"serializationVersion":9,"command":{"commandName":"x"}}"#] {
                #expect(try place.run([tool, "--section", "1", "--date", "2026-11-25", "--out", place.directory], input: input).code == 1)
            }
            for options in [
                ["--section", "3", "--date", "2026-11-25", "--out", "."], ["--section", "1", "--date", "soon", "--out", "."], [],
            ] {
                #expect(try place.run([tool] + options).code == 2)
            }
            #expect(try FileManager.default.contentsOfDirectory(atPath: place.directory).allSatisfy { !$0.hasSuffix(".1") })
        }
    }
}

extension String {
    /// Without the `x\bx` and `_\bx` by which terminals of old were told of bold and underlined text.
    fileprivate var withoutOverstrike: String {
        var output: [Character] = []
        for character in self {
            if character == "\u{8}" { _ = output.popLast() } else { output.append(character) }
        }
        return String(output)
    }
}
