// Tables for people: columns that line up and fit the terminal, with nothing cut away.

/// A table of texts. Cells that are too long for the terminal go on below, in their own column.
public struct TextTable: Sendable {
    /// A column.
    public struct Column: Sendable {
        public var title: String
        /// Numbers stand better at the right.
        public var isNumber: Bool
        /// Prose gives up its width before serial numbers and paths do.
        public var isProse: Bool
        /// Prose is not made narrower than this as long as another column can give; a time fits into 20.
        public var least: Int

        public init(_ title: String, isNumber: Bool = false, isProse: Bool = false, least: Int = 12) {
            self.title = title
            self.isNumber = isNumber
            self.isProse = isProse
            self.least = least
        }
    }

    /// The blank columns between two columns of text.
    private static let gap = 2
    /// When prose alone cannot give enough, no column is made narrower than this as long as another is wider.
    private static let narrow = 12

    public let columns: [Column]
    /// Whether the titles stand above.
    public var hasHeading: Bool
    public private(set) var rows: [[String]] = []

    public init(_ columns: [Column], hasHeading: Bool = true) {
        self.columns = columns
        self.hasHeading = hasHeading
    }

    /// Adds a row; missing cells are empty, and what steers a terminal is shown as `?`.
    public mutating func add(_ cells: [String]) {
        rows.append(columns.indices.map { $0 < cells.count ? TextWidth.printable(cells[$0]) : "" })
    }

    /// The lines of the table, each ended by a line feed and without blanks at its end; none is wider than `width` columns unless a
    /// single character is.
    public func rendered(width: Int) -> String {
        let lines = hasHeading ? [columns.map(\.title)] + rows : rows
        let widths = fit(natural: columns.indices.map { index in lines.map { TextWidth.columns($0[index]) }.max() ?? 0 }, into: width)
        return lines.map { Self.render($0, columns, widths) }.joined()
    }

    /// The widths of the columns: as wide as their texts where there is room, else taken one by one from the widest that may give.
    private func fit(natural: [Int], into width: Int) -> [Int] {
        var widths = natural
        var excess = widths.reduce(0, +) + Self.gap * max(0, widths.count - 1) - max(width, 1)
        func shrink(_ candidates: [Int], least: (Int) -> Int) {
            while excess > 0, let widest = candidates.filter({ widths[$0] > least($0) }).max(by: { widths[$0] < widths[$1] }) {
                widths[widest] -= 1
                excess -= 1
            }
        }
        shrink(columns.indices.filter { columns[$0].isProse }) { columns[$0].least }
        shrink(Array(columns.indices)) { _ in Self.narrow }
        shrink(Array(columns.indices)) { _ in 1 }
        return widths
    }

    private static func render(_ cells: [String], _ columns: [Column], _ widths: [Int]) -> String {
        let wrapped = zip(cells, widths).map { TextWrap.lines($0, width: $1) }
        var output = ""
        for line in 0..<max(1, wrapped.map(\.count).max() ?? 1) {
            var text = ""
            for (index, parts) in wrapped.enumerated() {
                let part = line < parts.count ? parts[line] : ""
                let padding = String(repeating: " ", count: max(0, widths[index] - TextWidth.columns(part)))
                text += columns[index].isNumber ? padding + part : part + padding
                if index < wrapped.count - 1 { text += String(repeating: " ", count: gap) }
            }
            while text.last == " " { text.removeLast() }
            output += text + "\n"
        }
        return output
    }
}

/// Breaks text into lines.
public enum TextWrap {
    /// Lines of at most `width` columns, broken after blanks, or after a character of names and paths where a word is longer.
    public static func lines(_ text: String, width: Int) -> [String] {
        guard TextWidth.columns(text) > width else { return [text] }
        var lines: [String] = []
        var rest = Substring(text)
        while !rest.isEmpty {
            let end = lineEnd(rest, width)
            var line = rest[..<end]
            while line.last == " " { line.removeLast() }
            lines.append(String(line))
            rest = rest[end...].drop { $0 == " " }
        }
        return lines
    }

    /// Where the first line ends: behind its last blank, else behind its last separator, else where the width ends.
    private static func lineEnd(_ text: Substring, _ width: Int) -> String.Index {
        var used = 0
        var index = text.startIndex
        var afterBlank: String.Index?
        var afterSeparator: String.Index?
        while index < text.endIndex {
            let character = text[index]
            let next = text.index(after: index)
            // A blank may hang over the edge, since it is not shown there.
            if character == " " { afterBlank = next }
            used += TextWidth.columns(character)
            if used > width {
                if let afterBlank { return afterBlank }
                if let afterSeparator { return afterSeparator }
                return index == text.startIndex ? next : index
            }
            if "/,:=".contains(character) { afterSeparator = next }
            index = next
        }
        return text.endIndex
    }
}
