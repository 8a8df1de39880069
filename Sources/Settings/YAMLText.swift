// YAML text to a tree of settings and back: a strict subset of YAML, with the line of everything.

private import Yams

/// Reads and writes YAML of the kind that settings are written in: one document of maps, lists and scalars; no aliases, anchors or tags.
public enum YAMLText {
    /// The largest file that is read, in bytes.
    public static let sizeLimit = 262_144

    private static let depthLimit = 16

    /// Reads one YAML document; an empty one is `null`.
    ///
    /// Plain scalars are read by YAML 1.2's core rules: `null`, `~` and nothing are null, `true` and `false` truth values, digits are
    /// numbers, and all else is text (`NO` is Norway).
    ///
    /// - Parameters:
    ///   - bytes: UTF-8 of at most `sizeLimit` bytes.
    ///   - file: what messages call the file.
    public static func parse(_ bytes: [UInt8], file: String?) throws(SettingsError) -> Setting {
        let problems = ProblemList(source: file)
        let root = try self.parse(bytes, problems: problems)
        try problems.throwIfAny(.syntax)
        return root
    }

    /// Like `parse(_:file:)`, but keys that are given twice are noted in `problems`, so that the caller can find more.
    static func parse(_ bytes: [UInt8], problems: ProblemList) throws(SettingsError) -> Setting {
        let file = problems.source
        guard bytes.count <= self.sizeLimit else {
            throw SettingsError(.tooLarge, source: file, "the file has \(bytes.count) bytes; at most \(self.sizeLimit) are allowed")
        }
        var lines = try self.readableLines(bytes, file: file)
        try self.refuseAliases(&lines, file: file)
        // Each round takes out one key that stands twice; their number is bounded by the number of lines, here more tightly.
        for _ in 0..<20 {
            do {
                let text = lines.joined(separator: "\n")
                var result: Result<Setting, any Error>?
                let hasRun = onLargeStack { result = Result { try self.compose(text, file: file) } }
                guard hasRun, let result else {
                    throw SettingsError(.unreadable, source: file, "cannot be read: no thread could be made for it")
                }
                return try result.get()
            } catch let duplicate as DuplicateKey {
                guard let second = self.secondOccurrence(of: duplicate, in: lines) else {
                    throw SettingsError(.syntax, source: file, line: duplicate.line, "\(printable(duplicate.key)) is given twice")
                }
                problems.add(
                    second.lowerBound + 1,
                    "\(printable(duplicate.key)) is given twice; it stands on line \(duplicate.line) already"
                )
                for index in second { lines[index] = "" }
            } catch let error as SettingsError {
                throw error
            } catch {
                throw SettingsError(.syntax, source: file, "not valid YAML")
            }
        }
        try problems.throwIfAny(.syntax)
        return Setting(.null)
    }

    // MARK: Before the parser

    /// The lines of the text, after what YAML does not allow or would read differently from an editor was refused.
    private static func readableLines(_ bytes: [UInt8], file: String?) throws(SettingsError) -> [String] {
        // libyaml refuses a byte order mark when it is told the encoding.
        let body = bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? bytes[3...] : bytes[...]
        var line = 1
        var iterator = body.makeIterator()
        var decoder = UTF8()
        var previousWasReturn = false
        scanning: while true {
            switch decoder.decode(&iterator) {
            case .emptyInput: break scanning
            case .error: throw SettingsError(.syntax, source: file, line: line, "the text is not UTF-8")
            case .scalarValue(let scalar):
                if previousWasReturn, scalar != "\n" { break scanning }
                previousWasReturn = scalar == "\r"
                switch scalar.value {
                case 0x0A: line += 1
                case 0x09, 0x0D, 0x20...0x7E: break
                // Line breaks to YAML and to no editor.
                case 0x7F...0x9F, 0x2028, 0x2029, 0xFEFF, 0xFFFE, 0xFFFF, 0..<0x20:
                    let name =
                        "U+" + String(repeating: "0", count: max(0, 4 - String(scalar.value, radix: 16).count))
                        + String(scalar.value, radix: 16, uppercase: true)
                    throw SettingsError(.syntax, source: file, line: line, "the character \(name) is not allowed")
                default: break
                }
            }
        }
        if previousWasReturn {
            throw SettingsError(.syntax, source: file, line: line, "a carriage return without a line feed is not allowed")
        }
        // By bytes: to Swift, CR LF is one character that is not LF.
        return body.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).map { line in
            String(decoding: line.last == UInt8(ascii: "\r") ? line.dropLast() : line, as: UTF8.self)
        }
    }

    /// Refuses aliases before the parser sees them: it hashes the keys of maps, and a key made of aliases to aliases ("billion laughs")
    /// would keep it busy for ever. An alias begins with a star behind a space or an indicator; a quoted text such as "a *b" is refused
    /// with it, since telling them apart takes a YAML parser. Lines that are nothing but a comment may hold one: they are emptied.
    private static func refuseAliases(_ lines: inout [String], file: String?) throws(SettingsError) {
        for index in lines.indices where lines[index].utf8.contains(UInt8(ascii: "*")) {
            guard self.hasAlias(lines[index]) else { continue }
            guard lines[index].drop(while: { $0 == " " || $0 == "\t" }).hasPrefix("#") else {
                throw SettingsError(
                    .syntax, source: file, line: index + 1,
                    "aliases (*name) are not allowed; where a word begins with a star, write \\x2A for it in double quotes"
                )
            }
            lines[index] = ""
        }
    }

    private static func hasAlias(_ line: String) -> Bool {
        let bytes = Array(line.utf8)
        for index in bytes.indices where bytes[index] == UInt8(ascii: "*") && index + 1 < bytes.count {
            guard self.isAnchorCharacter(bytes[index + 1]) else { continue }
            if index == 0 || " \t[]{},:?-\"'".utf8.contains(bytes[index - 1]) { return true }
        }
        return false
    }

    /// libyaml's characters of an anchor's name.
    private static func isAnchorCharacter(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, UInt8(ascii: "_"), UInt8(ascii: "-"): true
        default: false
        }
    }

    // MARK: The parser

    private struct DuplicateKey: Error {
        let key: String
        /// From 1.
        let line: Int
        let column: Int
    }

    private static func compose(_ text: String, file: String?) throws -> Setting {
        do {
            // The basic resolver matches no regular expressions; scalars are read below.
            let parser = try Parser(yaml: text, resolver: .basic, encoding: .utf8)
            // Nodes refer to their anchors weakly; the parser keeps them.
            return try withExtendedLifetime(parser) {
                guard let root = try parser.singleRoot() else { return Setting(.null) }
                return try self.setting(root, depth: 0, file: file)
            }
        } catch YamlError.duplicatedKeysInMapping(let keys, let context) {
            throw DuplicateKey(key: keys.first ?? "", line: context.mark.line, column: context.mark.column)
        } catch let error as YamlError {
            throw self.refusal(of: error, text: text, file: file)
        }
    }

    /// libyaml's words with the line, and never a piece of the file, which may hold a secret.
    private static func refusal(of error: YamlError, text: String, file: String?) -> SettingsError {
        switch error {
        case .scanner(let context, let problem, let mark, _), .parser(let context, let problem, let mark, _),
            .composer(let context, let problem, let mark, _):
            // The end of the file is a line behind the last one.
            let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
            let isUnfinished = problem.contains("end of stream")
            let line = min(isUnfinished ? context?.mark.line ?? mark.line : mark.line, lines.count)
            var message = "not valid YAML: " + [context?.text, problem].compactMap { $0 }.joined(separator: ", ")
            if lines[line - 1].prefix(while: { $0 == " " || $0 == "\t" }).contains("\t") {
                message += "; indent with spaces, not with tabs"
            }
            if problem.contains("alphabetic or numeric") { message += "; write a text that begins with * or & in quotes" }
            if problem.contains("nesting") { message = "nested deeper than \(self.depthLimit) levels, which no setting needs" }
            return SettingsError(.syntax, source: file, line: line, message)
        case .memory:
            return SettingsError(.syntax, source: file, line: 1, "nested deeper than \(self.depthLimit) levels, which no setting needs")
        default: return SettingsError(.syntax, source: file, line: 1, "not valid YAML")
        }
    }

    private static func setting(_ node: Node, depth: Int, file: String?) throws(SettingsError) -> Setting {
        let line = node.mark?.line
        guard depth <= self.depthLimit else {
            throw SettingsError(.syntax, source: file, line: line, "nested deeper than \(self.depthLimit) levels, which no setting needs")
        }
        guard node.anchor == nil else {
            throw SettingsError(
                .syntax, source: file, line: line, "anchors (&name) are not allowed; write a text that begins with & in quotes")
        }
        switch node {
        case .scalar(let scalar):
            try self.refuseTag(node, expected: "str", file: file)
            return Setting(scalar.style == .plain ? self.plainValue(scalar.string) : .string(scalar.string), line: line)
        case .sequence(let sequence):
            try self.refuseTag(node, expected: "seq", file: file)
            var items: [Setting] = []
            for item in sequence { items.append(try self.setting(item, depth: depth + 1, file: file)) }
            return Setting(.list(items), line: line)
        case .mapping(let mapping):
            try self.refuseTag(node, expected: "map", file: file)
            var entries: [SettingEntry] = []
            for (keyNode, valueNode) in mapping {
                guard case .scalar(let key) = keyNode, keyNode.anchor == nil else {
                    throw SettingsError(.syntax, source: file, line: keyNode.mark?.line ?? line, "a key is no plain text")
                }
                let value = try self.setting(valueNode, depth: depth + 1, file: file)
                entries.append(SettingEntry(key: key.string, value: value, line: keyNode.mark?.line))
            }
            return Setting(.map(entries), line: line)
        case .alias:
            throw SettingsError(.syntax, source: file, line: line, "aliases (*name) are not allowed")
        }
    }

    private static func refuseTag(_ node: Node, expected: String, file: String?) throws(SettingsError) {
        guard node.tag.description == "tag:yaml.org,2002:" + expected else {
            throw SettingsError(.syntax, source: file, line: node.mark?.line, "tags (!name) are not allowed")
        }
    }

    /// Where the second of two equal keys stands in block style: its lines with what belongs to it, counted from 0.
    private static func secondOccurrence(of duplicate: DuplicateKey, in lines: [String]) -> Range<Int>? {
        let indent = duplicate.column - 1
        for index in lines.indices.dropFirst(duplicate.line) {
            guard let own = self.indentation(lines[index]) else { continue }
            guard own >= indent else { return nil }
            let content = lines[index].dropFirst(own)
            let spellings = [duplicate.key, "\"\(duplicate.key)\"", "'\(duplicate.key)'"]
            let isKey = spellings.contains { spelling in
                content.hasPrefix(spelling) && content.dropFirst(spelling.count).drop(while: { $0 == " " }).hasPrefix(":")
            }
            if own == indent, isKey { return index..<self.end(ofEntryAt: index, indent: indent, in: lines) }
        }
        return nil
    }

    /// The spaces that a line begins with; nil for a line with nothing else.
    static func indentation(_ line: some StringProtocol) -> Int? {
        let spaces = line.prefix(while: { $0 == " " }).count
        return line.dropFirst(spaces).allSatisfy { $0 == "\t" || $0 == "\r" || $0 == "\r\n" } ? nil : spaces
    }

    /// The first line that does not belong to the entry that begins at a line: deeper lines belong to it, with the empty ones among them.
    static func end(ofEntryAt start: Int, indent: Int, in lines: [some StringProtocol]) -> Int {
        var end = start + 1
        for index in lines.indices.dropFirst(start + 1) {
            guard let own = self.indentation(lines[index]) else { continue }
            guard own > indent else { break }
            end = index + 1
        }
        return end
    }

    // MARK: Scalars

    /// A plain scalar's value.
    static func plainValue(_ text: String) -> SettingValue {
        switch text {
        case "", "~", "null", "Null", "NULL": return .null
        case "true", "True", "TRUE": return .bool(true)
        case "false", "False", "FALSE": return .bool(false)
        default:
            let digits = text.hasPrefix("-") || text.hasPrefix("+") ? text.utf8.dropFirst() : text.utf8[...]
            guard !digits.isEmpty, digits.allSatisfy({ (0x30...0x39).contains($0) }), let number = Int(text) else { return .string(text) }
            return .int(number)
        }
    }

    /// A text as a YAML scalar that reads back as the same text.
    public static func scalar(_ text: String) -> String {
        let bytes = Array(text.utf8)
        func isSafe(_ byte: UInt8) -> Bool {
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, UInt8(ascii: "_"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "/"),
                UInt8(ascii: "@"), UInt8(ascii: " "):
                true
            default: false
            }
        }
        func isLetterOrSlash(_ byte: UInt8) -> Bool { (0x41...0x5A).contains(byte & 0xDF) || byte == UInt8(ascii: "/") }
        let words = ["yes", "no", "on", "off", "true", "false", "null", "y", "n"]
        if let first = bytes.first, isLetterOrSlash(first), bytes.last != UInt8(ascii: " "), bytes.allSatisfy(isSafe),
            !words.contains(text.lowercased())
        {
            return text
        }
        var quoted = "\""
        let scalars = Array(text.unicodeScalars)
        for (index, scalar) in scalars.enumerated() {
            switch scalar {
            case "\"": quoted += "\\\""
            case "\\": quoted += "\\\\"
            // Else `refuseAliases` would refuse it.
            case "*"
            where index + 1 < scalars.count && scalars[index + 1].isASCII && self.isAnchorCharacter(UInt8(scalars[index + 1].value)):
                quoted += "\\x2A"
            default:
                switch scalar.value {
                case 0..<0x20, 0x7F...0xA0, 0x2028, 0x2029, 0xFEFF, 0xFFFE, 0xFFFF:
                    let hex = String(scalar.value, radix: 16, uppercase: true)
                    quoted += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
                default: quoted.unicodeScalars.append(scalar)
                }
            }
        }
        return quoted + "\""
    }
}
