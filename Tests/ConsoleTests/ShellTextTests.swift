// Commands that are shown for pasting must mean in a shell what they say.
import Console
import Foundation
import TestPrograms
import Testing

@Suite("Words for a shell")
struct ShellTextTests {
    @Test(
        "a shell gives back exactly the word",
        arguments: ["plain", "a b", "it's", "$(id)", "`id`", "x; rm -rf y", "", "*", "~", "日本", "a\"b\\c", "'"])
    func roundTrip(text: String) throws {
        #expect(try ProgramRun.run(["/bin/sh", "-c", "printf %s \(ShellText.quoted(text))"]).output == text)
    }

    @Test("plain words stay as they are")
    func plain() {
        #expect(ShellText.quoted("/var/lib/upki-ca") == "/var/lib/upki-ca")
        #expect(ShellText.quoted("www.example.com") == "www.example.com")
        #expect(ShellText.quoted("a\nb") == "'a?b'")
    }
}
