// No trap without its proof: what ends a process in Swift stands in the sources only where a comment says why it cannot happen.

import Foundation
import Testing

/// A place in a source file that can end the process, or that hides something from the compiler's checks.
private struct Trap: Equatable, CustomStringConvertible {
    /// From 1.
    let line: Int
    let what: String

    var description: String { "line \(self.line): \(self.what)" }
}

/// The sources, taken apart into code and comments.
private struct SourceText {
    private enum State: Equatable {
        case code
        /// An interpolation in a string, with its open parentheses.
        case interpolation(Int)
        /// A string with so many `#` around it, of several lines or one.
        case string(Int, isLong: Bool)
        case lineComment
        case blockComment(Int)
    }

    /// The code of each line, without what stands in strings and comments.
    private(set) var code: [String] = [""]
    /// Whether a line has a comment of at least three words.
    private(set) var isExplained: [Bool] = [false]
    private var comment = ""
    private var states: [State] = [.code]

    init(_ text: String) {
        let characters = Array(text)
        var index = 0
        while index < characters.count { index += self.take(characters[index...]) }
        self.endOfLine()
    }

    private var state: State { self.states.last ?? .code }

    private mutating func endOfLine() {
        if self.comment.split(separator: " ").count >= 3 { self.isExplained[self.isExplained.count - 1] = true }
        self.comment = ""
    }

    /// Takes what stands at the front; how many characters that was.
    private mutating func take(_ rest: ArraySlice<Character>) -> Int {
        guard let first = rest.first else { return 1 }
        if first.isNewline {
            self.endOfLine()
            self.code.append("")
            self.isExplained.append(false)
            if case .lineComment = self.state { self.states.removeLast() }
            return 1
        }
        switch self.state {
        case .lineComment: self.comment.append(first)
        case .blockComment(let depth): return self.takeComment(rest, first, depth)
        case .string(let marks, let isLong): return self.takeString(rest, marks, isLong)
        case .code, .interpolation: return self.takeCode(rest, first)
        }
        return 1
    }

    private mutating func takeComment(_ rest: ArraySlice<Character>, _ first: Character, _ depth: Int) -> Int {
        if rest.starts(with: "*/") {
            self.states.removeLast()
            if depth > 1 { self.states.append(.blockComment(depth - 1)) }
            return 2
        }
        if rest.starts(with: "/*") {
            self.states[self.states.count - 1] = .blockComment(depth + 1)
            return 2
        }
        self.comment.append(first)
        return 1
    }

    private mutating func takeString(_ rest: ArraySlice<Character>, _ marks: Int, _ isLong: Bool) -> Int {
        let hashes = String(repeating: "#", count: marks)
        let quote = (isLong ? "\"\"\"" : "\"") + hashes
        if rest.starts(with: quote) {
            self.states.removeLast()
            self.code[self.code.count - 1] += "\""
            return quote.count
        }
        if rest.starts(with: "\\" + hashes + "(") {
            self.states.append(.interpolation(0))
            return 2 + marks
        }
        if rest.starts(with: "\\" + hashes) { return 2 + marks }
        return 1
    }

    private mutating func takeCode(_ rest: ArraySlice<Character>, _ first: Character) -> Int {
        if rest.starts(with: "//") {
            self.states.append(.lineComment)
            return 2
        }
        if rest.starts(with: "/*") {
            self.states.append(.blockComment(1))
            return 2
        }
        let marks = rest.prefix { $0 == "#" }.count
        if rest.dropFirst(marks).first == "\"" {
            let isLong = rest.dropFirst(marks).starts(with: "\"\"\"")
            self.states.append(.string(marks, isLong: isLong))
            return marks + (isLong ? 3 : 1)
        }
        if case .interpolation(let open) = self.state {
            if first == ")", open == 0 {
                self.states.removeLast()
                return 1
            }
            let change = first == "(" ? 1 : first == ")" ? -1 : 0
            self.states[self.states.count - 1] = .interpolation(open + change)
        }
        self.code[self.code.count - 1].append(first)
        return 1
    }
}

/// Finds traps that no comment on their line or the one before explains.
private func traps(in text: String) -> [Trap] {
    let source = SourceText(text)
    let words = [
        "fatalError(", "preconditionFailure(", "precondition(", "assertionFailure(", "unsafeBitCast", "unsafeDowncast", "unsafelyUnwrapped",
        "@unchecked Sendable", "nonisolated(unsafe)", "unowned",
    ]
    var found: [Trap] = []
    for (index, code) in source.code.enumerated() {
        if source.isExplained[index] || index > 0 && source.isExplained[index - 1] { continue }
        for word in words where code.contains(word) { found.append(Trap(line: index + 1, what: word)) }
        if hasForce(code) { found.append(Trap(line: index + 1, what: "!")) }
    }
    return found
}

/// Whether an exclamation mark follows what it opens by force (`x!`, `f()!`, `a[0]!`, `try!`, `as!`, `Type!`) and is no part of `!=`.
private func hasForce(_ code: String) -> Bool {
    let characters = Array(code)
    return characters.indices.dropFirst().contains { index in
        guard characters[index] == "!", index + 1 == characters.count || characters[index + 1] != "=" else { return false }
        let before = characters[index - 1]
        return before.isLetter || before.isNumber || "_)]}`\"?$".contains(before)
    }
}

@Suite("Traps")
struct TrapTests {
    private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    /// The Swift files of a folder of the project, of which there are more than so many: path and text of each.
    private static func files(_ name: String, moreThan least: Int) throws -> [(path: String, text: String)] {
        let folder = Self.root.appendingPathComponent(name)
        let all = try #require(FileManager.default.enumerator(at: folder, includingPropertiesForKeys: nil))
        let files = try all.compactMap { $0 as? URL }.filter { $0.pathExtension == "swift" }.map { file in
            (String(file.path.dropFirst(folder.path.count + 1)), try String(contentsOf: file, encoding: .utf8))
        }
        #expect(files.count > least)
        return files
    }

    @Test("no source has a forced unwrap, a forced try or cast, a fatal error or an unchecked promise without a comment that proves it")
    func sources() throws {
        for (path, text) in try Self.files("Sources", moreThan: 150) {
            let found = traps(in: text)
            #expect(found.isEmpty, "\(path): \(found)")
        }
    }

    @Test("no test waits on tasks, which share as many threads as there are processors, or without a limit on a process")
    func tasks() throws {
        for (path, text) in try Self.files("Tests", moreThan: 100) {
            let code = SourceText(text).code
            let lines = code.indices.filter { index in
                ["Task.detached", "Task {", "TaskGroup", "async let", "await ", "= Process()"].contains { code[index].contains($0) }
            }
            #expect(lines.isEmpty, "\(path): lines \(lines.map { $0 + 1 })")
        }
    }

    @Test(
        "each kind is found",
        arguments: [
            "let a = b!", "let a = f()!.c", "let a = b[0]!", "let a = try! f()", "let a = b as! C", "var a: B!", "let a = b!\n",
            "f { $0! }",
            "fatalError(\"no\")", "preconditionFailure()", "precondition(a > 0)", "let a = unsafeBitCast(b, to: C.self)",
            "final class A: @unchecked Sendable {}", "nonisolated(unsafe) var a = 1", "a.unsafelyUnwrapped", "let a = \"\\(b!)\"",
            "let a = \"\"\"\n  x \\(b(c)!) y\n  \"\"\"", "let a = #\"x\\#(b!)\"#", "/* a long comment here */\n\nlet a = b!",
            "// why\nlet a = b!",
            "unowned let a: B", "// it is never nil here\n\nlet a = b!",
        ])
    func bad(_ source: String) {
        #expect(traps(in: source).count == 1, "\(source)")
    }

    @Test(
        "what is none is not found, nor what a comment proves",
        arguments: [
            "if a != b {}", "if a!=b {}", "if !a {}", "if (!a) {}", "guard !a.isEmpty, !b else {}", "let a = \"hello!\"",
            "let a = \"b!\" + c",
            "// a = b!", "/// `try!` and `fatalError()`", "let a = \"\"\"\n  b!\n  \"\"\"", "let a = #\"b! \\(c!)\"#",
            "/* b! /* c! */ d! */",
            "let a = b!  // b was set two lines above", "// The set holds b: it was inserted above.\nlet a = b!", "let a = \"\\\"b!\"",
            "a !== b",
            "/// Sendable: one thread owns it.\nfinal class A: @unchecked Sendable {}", "let a = \"\\(b)!\"", "case \"!\": f()",
        ])
    func good(_ source: String) {
        #expect(traps(in: source).isEmpty, "\(source): \(traps(in: source))")
    }
}
