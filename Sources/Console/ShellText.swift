// Words of a command line as a person can paste them into a shell.

/// Text for a POSIX shell.
public enum ShellText {
    /// The text as one word: as it is where no shell could take it otherwise, else in single quotes. What steers a terminal is a `?`.
    public static func quoted(_ text: String) -> String {
        let text = TextWidth.printable(text)
        let isPlain = text.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"): true
            default: "/._-+@%:,".utf8.contains(byte)
            }
        }
        if isPlain && !text.isEmpty { return text }
        return "'" + text.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "'\\''") + "'"
    }
}
