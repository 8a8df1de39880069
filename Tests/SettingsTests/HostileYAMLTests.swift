import Foundation
import Settings
import Testing

@Suite("Hostile YAML")
struct HostileYAMLTests {
    private func problem(_ bytes: [UInt8]) -> String {
        let found = problems { _ = try Configuration.parse(bytes, file: "ca.config.yml") }
        let profile = problems { _ = try ProfileFile.parse(bytes, file: "ca.config.yml", name: "x") }
        // Both readers refuse, for the same reason.
        #expect(found == profile)
        #expect(found.count == 1)
        return found.first ?? "none"
    }

    private func problem(_ text: String) -> String { self.problem(Array(text.utf8)) }

    @Test(
        "100,000 brackets are refused",
        arguments: ["[", "{", "a: [", "- ", "? ", "[[]", "{a: ", "a: {\n", "[\n", "{? ", "- - [", "!!seq [", "\"a\": [", "[a, "]
    )
    func brackets(opening: String) {
        for count in [100_000, 250_000 / opening.utf8.count] {
            let found = self.problem(String(repeating: opening, count: count))
            #expect(["nested deeper", "not valid YAML", "bytes; at most 262144 are allowed"].contains { found.contains($0) }, "\(found)")
            #expect(found.hasPrefix("ca.config.yml:"))
        }
    }

    @Test("100,000 brackets, closed again, are refused within the size limit")
    func closedBrackets() {
        let text = "x: " + String(repeating: "[", count: 100_000) + String(repeating: "]", count: 100_000)
        #expect(self.problem(text).hasPrefix("ca.config.yml:1: nested deeper than 16 levels"))
        let fewer = "\n\nx: " + String(repeating: "[", count: 500) + String(repeating: "]", count: 500)
        #expect(self.problem(fewer).hasPrefix("ca.config.yml:3: nested deeper than 16 levels"))
        let block = (0..<400).map { String(repeating: " ", count: $0) + "a:\n" }.joined()
        #expect(self.problem(block).contains("nested deeper than 16 levels"))
    }

    @Test("the deepest text that the parser takes needs no large stack")
    func smallStack() {
        let done = DispatchSemaphore(value: 0)
        let thread = Thread {
            for text in [
                "x: " + String(repeating: "[", count: 990) + String(repeating: "]", count: 990),
                "x: " + String(repeating: "{a: ", count: 990) + String(repeating: "}", count: 990),
                "? " + String(repeating: "[", count: 990) + String(repeating: "]", count: 990),
            ] {
                _ = problems { _ = try YAMLText.parse(Array(text.utf8), file: nil) }
            }
            done.signal()
        }
        thread.stackSize = 1 << 18
        thread.start()
        #expect(done.wait(timeout: .now() + 60) == .success)
    }

    @Test("billion laughs are refused, as values and as keys")
    func laughs() {
        var text = "a0: &a0 [lol, lol]\n"
        for level in 1...40 { text += "a\(level): &a\(level) [*a\(level - 1), *a\(level - 1)]\n" }
        #expect(self.problem(text).hasPrefix("ca.config.yml:2: aliases (*name) are not allowed"))
        var keys = "- &a0 [lol, lol]\n"
        for level in 1...40 { keys += "- &a\(level) {? [*a\(level - 1), *a\(level - 1)] : 1}\n" }
        #expect(self.problem(keys).hasPrefix("ca.config.yml:2: aliases (*name) are not allowed"))
        for alias in ["? *a", "{\"a\":*a}", "[*a]", "-\t*a", "x: [b,*a]", "<<: *a", "\"\n # \" , *a", "'x':\n  - *a"] {
            // Where a quoted text goes over a line that looks like a comment, what is left is no YAML any more.
            let found = self.problem("z: &a 1\n" + alias)
            #expect(found.contains("not allowed") || found.contains("not valid YAML"), "\(alias)")
        }
    }

    @Test("comments and quoted stars are no aliases")
    func stars() throws {
        let text = "# see *this and *that\n  # *here\nnames: {blocked: [\"*.invalid\"]} # 2 * 3\ncompany: \"A * B\"\n"
        #expect(try Configuration.parse(text, file: "x").company == "A * B")
        #expect(configurationProblems("names:\n  blocked: [*.invalid]").first?.hasPrefix("ca.config.yml:2: not valid YAML") ?? false)
        #expect(configurationProblems("names:\n  blocked: [*.invalid]").first?.contains("in quotes") ?? false)
    }

    @Test(
        "what YAML has and settings do not need is refused with its line",
        arguments: [
            ("a: 1\nb: &x 2", 2, "anchors"), ("\nhost: !!python/object:os.system x", 2, "tags"), ("host: !x y", 1, "tags"),
            ("a: 1\n---\nb: 2", 2, "document"),
            ("a: 1\n\tb: 2", 2, "tabs"), ("\tport: 1", 1, "tabs"), ("a: 1\n[b]: 2", 2, "key"), ("a: 1\n{b: c}: 2", 2, "key"),
            ("a: \"x", 1, "not valid YAML"), ("a: 'x\n", 1, "not valid YAML"), ("a: b: c", 1, "not valid YAML"),
            ("a: [1, 2\nb: 3", 2, "not valid YAML"),
            ("a: @x", 1, "not valid YAML"), ("a: 1\n  b: 2", 2, "not valid YAML"), ("%YAML 3.0\n---\na: 1", 1, "not valid YAML"),
            ("%TAG ! x\n%TAG ! y\n--- a", 2, "not valid YAML"), ("a: \"\\q\"", 1, "not valid YAML"),
            ("a: \"\\ud800\"", 1, "not valid YAML"),
            ("a: 1\rb: 2", 1, "carriage return"), ("a: 1\nb: \u{07}", 2, "U+0007"), ("a: \u{85}", 1, "U+0085"),
            ("a: \u{2028}", 1, "U+2028"),
            ("a: 1\n\u{FEFF}b: 2", 2, "U+FEFF"), ("a: \0", 1, "U+0000"), ("a: \u{7F}", 1, "U+007F"),
        ]
    )
    func syntax(text: String, line: Int, words: String) {
        let found = self.problem(text)
        #expect(found.hasPrefix("ca.config.yml:\(line): "), "\(found)")
        #expect(found.contains(words), "\(found)")
        #expect(!found.contains("\n"))
    }

    @Test(
        "bytes that are no UTF-8 are refused with their line",
        arguments: [[0xFF], [0xC0, 0x80], [0xED, 0xA0, 0x80], [0xF5, 0x80, 0x80, 0x80], [0xE2, 0x82], [0x80]] as [[UInt8]]
    )
    func notUTF8(bytes: [UInt8]) {
        #expect(self.problem(Array("a: 1\n\nb: ".utf8) + bytes) == "ca.config.yml:3: the text is not UTF-8")
    }

    @Test("10 MB are refused before they are looked at")
    func size() {
        #expect(
            self.problem([UInt8](repeating: 0xFF, count: 10_000_000))
                == "ca.config.yml: the file has 10000000 bytes; at most 262144 are allowed")
    }

    @Test(
        "a file of the largest size is read or refused, whatever it repeats",
        // Against growth with the square of the size, which would take hours.
        .timeLimit(.minutes(10)),
        arguments: ["a\n", "a: 1\n", "a:\n", "- a\n", "#\n", ": ", "a: \"\"\n", "'", "? a\n"])
    func largest(part: String) {
        let text = String(repeating: part, count: YAMLText.sizeLimit / part.utf8.count)
        #expect(configurationProblems(text).isEmpty == (part == "#\n"))
    }

    @Test("hundreds of problems are counted, not listed")
    func many() {
        let found = configurationProblems((0..<500).map { "unknown\($0): 1\n" }.joined())
        #expect(found.count == 51)
        #expect(found.last == "ca.config.yml: and 450 more problems")
    }

    @Test("no cut and no changed byte of a good file stops the reader")
    func mutations() {
        let bytes = Array(
            "seed: \"abc\"\nnodes:\n  - {address: 1.2.3.4, node: 'a'}\nlog: {level: info} # x\nnames:\n  blocked: [a, \"*.b\"]\n".utf8)
        for index in bytes.indices {
            _ = problems { _ = try Configuration.parse(Array(bytes[..<index]), file: "x") }
            for byte: UInt8 in [0, 9, 10, 13, 32, 33, 34, 35, 38, 39, 42, 45, 58, 63, 91, 93, 123, 125, 128, 255] {
                var changed = bytes
                changed[index] = byte
                _ = problems { _ = try Configuration.parse(changed, file: "x") }
                _ = problems { _ = try Configuration.textWithoutSeed(changed, file: "x") }
            }
        }
    }

    @Test("files: absent is nil; folders, devices and FIFOs are refused without waiting; too large is refused")
    func files() throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("settings-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: false)
        defer { try? FileManager.default.removeItem(at: folder) }
        let path = folder.appendingPathComponent("a.yml").path
        #expect(try SettingsFile.read(path) == nil)
        try Data("port: 1\n".utf8).write(to: URL(fileURLWithPath: path))
        #expect(try SettingsFile.read(path) == Array("port: 1\n".utf8))
        try Data(count: YAMLText.sizeLimit + 1).write(to: URL(fileURLWithPath: path))
        #expect(problems { _ = try SettingsFile.read(path) } == ["\(path): the file is too large; at most 262144 bytes are allowed"])
        #expect(problems { _ = try SettingsFile.read(folder.path) } == ["\(folder.path): is no regular file"])
        #expect(problems { _ = try SettingsFile.read("/dev/zero") } == ["/dev/zero: is no regular file"])
        let fifo = folder.appendingPathComponent("fifo").path
        #expect(mkfifo(fifo, 0o600) == 0)
        #expect(problems { _ = try SettingsFile.read(fifo) } == ["\(fifo): is no regular file"])
    }
}
