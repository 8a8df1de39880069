// The one error of this module: everything that is wrong with a file, each with its place.

/// What is wrong with a configuration, a profile or where they come from.
public struct SettingsError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The kinds of failure.
    public enum Code: String, Sendable {
        /// The file cannot be read: missing, no regular file, no permission.
        case unreadable
        /// The file is over the size limit.
        case tooLarge
        /// The bytes are no UTF-8 text, the text is no YAML, or YAML of a kind that is not allowed here.
        case syntax
        /// Keys or values are not allowed.
        case invalid
        /// The seed cannot be taken out of the file.
        case seedNotRemovable
    }

    /// One thing that is wrong.
    public struct Problem: Sendable, Equatable, CustomStringConvertible {
        /// The file as its reader named it, or the flag or variable that was at fault; nil for parameters of a task.
        public let source: String?
        /// The line, from 1; nil where there is none.
        public let line: Int?
        /// One line for a person that says what is allowed. It never holds a secret.
        public let message: String

        public init(source: String?, line: Int?, message: String) {
            self.source = source
            self.line = line
            self.message = message
        }

        /// `file:line: message`.
        public var description: String {
            let place = [self.source, self.line.map(String.init)].compactMap { $0 }.joined(separator: ":")
            return place.isEmpty ? self.message : "\(place): \(self.message)"
        }
    }

    public let code: Code

    /// Never empty; in the order of their lines.
    public let problems: [Problem]

    public init(code: Code, problems: [Problem]) {
        self.code = code
        self.problems = problems
    }

    init(_ code: Code, source: String?, line: Int? = nil, _ message: String) {
        self.init(code: code, problems: [Problem(source: source, line: line, message: message)])
    }

    /// All problems, one a line.
    public var message: String { self.problems.map(\.description).joined(separator: "\n") }

    /// All problems in one line, for an answer on the wire.
    public var oneLine: String { self.problems.map(\.description).joined(separator: "; ") }

    public var description: String { self.message }
}

/// Gathers what is wrong while a file is read, so that all of it is said at once.
final class ProblemList {
    /// More than this many are counted, not listed.
    private static let limit = 50

    let source: String?
    private var problems: [SettingsError.Problem] = []

    init(source: String?) { self.source = source }

    var isEmpty: Bool { self.problems.isEmpty }

    func add(_ line: Int?, _ message: String) {
        self.problems.append(.init(source: self.source, line: line, message: message))
    }

    func add(_ problem: SettingsError.Problem) { self.problems.append(problem) }

    func throwIfAny(_ code: SettingsError.Code = .invalid) throws(SettingsError) {
        guard !self.problems.isEmpty else { return }
        // Problems without a line keep their order behind those with one.
        var sorted = self.problems.enumerated()
            .sorted { ($0.element.line ?? .max, $0.offset) < ($1.element.line ?? .max, $1.offset) }
            .map(\.element)
        if sorted.count > Self.limit {
            let more = sorted.count - Self.limit
            sorted.removeLast(more)
            sorted.append(.init(source: self.source, line: nil, message: "and \(more) more problems"))
        }
        throw SettingsError(code: code, problems: sorted)
    }
}
