// Text as mdoc(7) wants it: special characters escaped, lines short, each sentence on a line of its own.

enum ManualText {
    private static let lineLength = 76

    /// Filled text; an empty line begins a paragraph.
    static func paragraphs(_ text: String) -> String {
        let paragraphs = text.split(separator: "\n", omittingEmptySubsequences: false).split { $0.isEmpty }
        return paragraphs.map { lines in self.fill(lines.flatMap { $0.split(separator: " ") }.map(String.init)) }.joined(separator: ".Pp\n")
    }

    private static func fill(_ words: [String]) -> String {
        var output = ""
        var line = ""
        func endLine() {
            if !line.isEmpty { output += line + "\n" }
            line = ""
        }
        for word in words {
            let escaped = self.escaped(word)
            if !line.isEmpty, line.count + 1 + escaped.count > self.lineLength { endLine() }
            line += line.isEmpty ? self.guarded(escaped) : " " + escaped
            // roff puts two blanks behind a sentence, and only the end of a line tells it that one has ended.
            if let last = word.last, ".!?".contains(last) { endLine() }
        }
        endLine()
        return output
    }

    /// One word within text.
    static func escaped(_ word: String) -> String {
        var output = ""
        for scalar in word.unicodeScalars {
            switch scalar {
            case "\\": output += "\\e"
            case "-": output += "\\-"
            case "`": output += "\\(ga"
            case "'": output += "\\(aq"
            case "~": output += "\\(ti"
            case "^": output += "\\(ha"
            case "\"": output += "\\(dq"
            default:
                if scalar.isASCII {
                    output.unicodeScalars.append(scalar)
                } else {
                    let digits = String(scalar.value, radix: 16, uppercase: true)
                    output += "\\[u\(String(repeating: "0", count: max(0, 4 - digits.count)))\(digits)]"
                }
            }
        }
        return output
    }

    /// A line of text that must not be taken for a macro.
    private static func guarded(_ text: String) -> String { text.hasPrefix(".") ? "\\&" + text : text }

    /// One argument of a macro: in quotes where it has blanks, and never taken for a macro or for punctuation.
    static func argument(_ text: String) -> String {
        let escaped = self.escaped(text)
        let isMacroLike = (2...3).contains(escaped.count) && escaped.first?.isUppercase == true
        let isPunctuation = escaped.count == 1 && ".,:;()[]?!|".contains(escaped)
        let safe = isMacroLike || isPunctuation ? "\\&" + escaped : escaped
        return safe.contains(" ") ? "\"\(safe)\"" : safe
    }
}
