// Standard output: for a person, or as JSON; and how wide a person's terminal is.

import Glibc
public import UPKIProtocol

/// Where results of a command go.
public struct Output: Sendable {
    /// Whether results are JSON, one value a line, as `--json` asks.
    public let isJSON: Bool
    /// Columns that tables may take.
    public let width: Int

    public init(isJSON: Bool) {
        self.isJSON = isJSON
        self.width = Self.terminalWidth(STDOUT_FILENO)
    }

    package init(isJSON: Bool, width: Int) {
        self.isJSON = isJSON
        self.width = width
    }

    /// The columns of the terminal behind a descriptor; 80 where it does not say. Without a terminal nothing is wrapped, for
    /// whoever searches in it.
    public static func terminalWidth(_ descriptor: Int32) -> Int {
        var size = winsize()
        guard ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return isatty(descriptor) == 1 ? 80 : .max }
        return Int(size.ws_col)
    }

    /// Prints one of the two: the value as JSON, or the text for a person.
    public func show(_ value: @autoclosure () -> JSON, text: @autoclosure () -> String) {
        if isJSON {
            Self.write(value().text + "\n")
        } else {
            Self.write(Self.closed(text()))
        }
    }

    /// Prints a table, or the value as JSON.
    public func show(_ value: @autoclosure () -> JSON, table: TextTable, ifEmpty: String) {
        show(value(), text: table.rows.isEmpty ? ifEmpty : table.rendered(width: width))
    }

    /// Text that ends in a line feed.
    static func closed(_ text: String) -> String { text.isEmpty || text.hasSuffix("\n") ? text : text + "\n" }

    /// Writes to standard output. A reader that is gone ends the program as SIGPIPE would (128 + 13).
    public static func write(_ text: String) { write(bytes: Array(text.utf8)) }

    /// Writes to standard output. A reader that is gone, or a full disk, ends the program.
    public static func write(bytes: [UInt8]) {
        guard put(bytes, STDOUT_FILENO) else {
            if errno != EPIPE { complain("standard output cannot be written: \(String(cString: strerror(errno)))") }
            exit(errno == EPIPE ? 141 : 1)
        }
    }

    /// Prints one of the two, if anybody reads: for a program that has more to do than to print.
    public func offer(_ value: JSON, text: String) {
        _ = Self.put(Array((isJSON ? value.text + "\n" : Self.closed(text)).utf8), STDOUT_FILENO)
    }

    /// One line on standard error, with the program's name.
    public static func complain(_ message: String) {
        let line = "ca-ctl: " + message.split(whereSeparator: \.isNewline).map { TextWidth.printable(String($0)) }.joined(separator: "; ")
        _ = put(Array((line + "\n").utf8), STDERR_FILENO)
    }

    private static func put(_ bytes: [UInt8], _ descriptor: Int32) -> Bool {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0 {
                guard errno == EINTR else { return false }
            } else {
                rest = rest.dropFirst(count)
            }
        }
        return true
    }
}
