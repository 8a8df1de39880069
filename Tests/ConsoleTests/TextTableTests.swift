// Tables: columns that line up, wide characters, narrow terminals.
import Console
import Testing

@Suite("Tables for people")
struct TextTableTests {
    private func table() -> TextTable {
        var table = TextTable([.init("CN"), .init("DAYS", isNumber: true), .init("WORDS", isProse: true)])
        table.add(["www.example.com", "60", "all is well"])
        table.add(["日本語.jp", "3650", "é is one column, 🙂 two"])
        return table
    }

    @Test("columns line up by what a terminal shows, not by characters or bytes")
    func linesUp() {
        #expect(
            table().rendered(width: 80) == """
                CN               DAYS  WORDS
                www.example.com    60  all is well
                日本語.jp        3650  é is one column, 🙂 two

                """)
    }

    @Test("no line is wider than the terminal, whatever its width", arguments: 24...90)
    func fits(width: Int) {
        let lines = table().rendered(width: width).split(separator: "\n")
        #expect(lines.allSatisfy { TextWidth.columns(String($0)) <= width })
    }

    @Test("a cell that does not fit goes on below in its own column, and nothing is lost")
    func wraps() {
        var table = TextTable([.init("NAME"), .init("WORDS", isProse: true)])
        table.add(["core", "ended by signal 9 (SIGKILL); next start in 0.4 seconds"])
        #expect(
            table.rendered(width: 30) == """
                NAME  WORDS
                core  ended by signal 9
                      (SIGKILL); next start in
                      0.4 seconds

                """)
    }

    @Test("a word that is longer than its column is broken, at a separator where there is one")
    func breaksWords() {
        #expect(TextWrap.lines("/C=FR/O=Example", width: 8) == ["/C=FR/O=", "Example"])
        #expect(TextWrap.lines("0123456789", width: 4) == ["0123", "4567", "89"])
        #expect(TextWrap.lines("日本語", width: 3) == ["日", "本", "語"])
        #expect(TextWrap.lines("日", width: 1) == ["日"])
    }

    @Test("prose gives up its width before names do")
    func proseFirst() {
        var table = TextTable([.init("SERIAL"), .init("WORDS", isProse: true)])
        table.add(["0123456789012345678901234567", "one two three four five six"])
        let first = table.rendered(width: 45).split(separator: "\n")[1]
        #expect(first.hasPrefix("0123456789012345678901234567  one"))
    }

    @Test(
        "what would steer a terminal or turn text around is shown as a question mark",
        arguments: [
            ("\u{1B}[2Jgone", "?[2Jgone"), ("a\nb", "a?b"), ("a\u{202E}moc.live", "a?moc.live"), ("\u{200B}x", "?x"), ("\u{2028}", "?"),
            ("naïve", "naïve"),
            ("a\u{9B}b", "a?b"),
        ])
    func unsafeText(text: String, shown: String) {
        #expect(TextWidth.printable(text) == shown)
    }

    @Test(
        "widths are those of the Unicode standard's East Asian Width and of wcwidth(3)",
        arguments: [
            ("a", 1), ("é", 1), ("e\u{301}", 1), ("日", 2), ("ｶ", 1), ("Ａ", 2), ("한", 2), ("🙂", 2), ("👨‍👩‍👧", 2), ("🇫🇷", 2), ("Ж", 1), ("א", 1),
        ])
    func widths(text: String, width: Int) {
        #expect(TextWidth.columns(text) == width)
    }
}
