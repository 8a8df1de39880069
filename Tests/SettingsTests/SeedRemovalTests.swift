import Settings
import Testing

@Suite("A seed in the configuration is taken out")
struct SeedRemovalTests {
    @Test(
        "everything else stays, byte for byte",
        arguments: [
            ("company: A\nseed: \"abcdefgh\"\nport: 1\n", "company: A\nport: 1\n"),
            ("seed: abcdefgh", ""),
            ("# top\n\nseed: abcdefgh   # mine\n\n# about the port\nport: 1", "# top\n\n\n# about the port\nport: 1"),
            ("a: 1\r\nseed: abcdefgh\r\nb: 2\r\n", "a: 1\r\nb: 2\r\n"),
            ("\u{FEFF}seed: abcdefgh\nport: 1\n", "\u{FEFF}port: 1\n"),
            ("seed: |\n  abcdefgh\n\n  second\n\nport: 1\n", "\nport: 1\n"),
            ("seed: >-\n  abcdefgh\n  # no comment\nport: 1\n", "port: 1\n"),
            ("seed: \"abc\n  defgh\"\nport: 1\n", "port: 1\n"),
            ("seed:\n  abcdefgh\nport: 1\n", "port: 1\n"),
            ("  company: A\n  seed: abcdefgh\n  port: 1\n", "  company: A\n  port: 1\n"),
            ("\"seed\": abcdefgh\nport: 1\n", "port: 1\n"),
            ("---\nport: 1\nseed: abcdefgh\n...\n", "---\nport: 1\n...\n"),
            ("seed: null\nport: 1\n", "port: 1\n"),
            ("port: 1\n# seed: none\n", "port: 1\n# seed: none\n"),
            ("log:\n  seed: 5\n", "log:\n  seed: 5\n"),
            ("", ""),
        ]
    )
    func removal(text: String, expected: String) throws {
        let result = try Configuration.textWithoutSeed(Array(text.utf8), file: "ca.config.yml")
        #expect(Array(result) == Array(expected.utf8), "\(String(decoding: result, as: UTF8.self))")
    }

    @Test(
        "what cannot be taken out safely is refused with its line",
        arguments: [
            ("{seed: abcdefgh, port: 1}", "ca.config.yml:1:"), ("--- {seed: abcdefgh}", "ca.config.yml:1:"),
            ("a: 1\n? seed\n: abcdefgh\n", "ca.config.yml:2:"), ("# old abcdefgh\nseed: abcdefgh\n", "ca.config.yml:1:"),
            ("seed: abcdefgh\nport: 1\n# abcdefgh\n", "ca.config.yml:3:"),
        ]
    )
    func refusal(text: String, place: String) {
        let found = problems { _ = try Configuration.textWithoutSeed(Array(text.utf8), file: "ca.config.yml") }
        #expect(found.count == 1)
        #expect(found.first?.hasPrefix(place + " the seed cannot be taken out: ") ?? false, "\(found)")
        #expect(!found.joined().contains("abcdefgh"))
    }

    @Test("the default text with a seed somewhere gives the default text again", arguments: [0, 5, 20, 40])
    func defaultText(position: Int) throws {
        let lines = Configuration.defaultText().split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        let text = (lines[..<position] + ["seed: \"correct horse battery\""] + lines[position...]).joined(separator: "\n")
        let result = try Configuration.textWithoutSeed(Array(text.utf8), file: "x")
        #expect(String(decoding: result, as: UTF8.self) == Configuration.defaultText())
    }
}
