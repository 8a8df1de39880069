// One log message as one line of text.

private import Glibc
package import Logging

/// Writes messages as single lines of at most 8 KiB, with everything escaped that could end a line or move a cursor.
package struct ProgramLogHandler: LogHandler {
    /// The most bytes of a line, its line feed included.
    package static let lineLimit = 8192

    /// Seconds and nanoseconds since 1970, UTC.
    package typealias Clock = @Sendable () -> (seconds: Int, nanoseconds: Int)

    package var logLevel = Logger.Level.info
    package var metadata: Logger.Metadata = [:]
    package var metadataProvider: Logger.MetadataProvider?

    private let program: String
    private let label: String
    private let format: ProgramLog.Format
    private let output: LineOutput
    private let clock: Clock

    /// - Parameters:
    ///   - label: of the `Logger`; JSON lines hold it where it is not the program's name.
    ///   - format: `.auto` is taken as JSON.
    package init(
        program: String, label: String, format: ProgramLog.Format, output: LineOutput,
        clock: @escaping Clock = ProgramLogHandler.systemClock
    ) {
        self.program = program
        self.label = label
        self.format = format
        self.output = output
        self.clock = clock
    }

    package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { self.metadata[key] }
        set { self.metadata[key] = newValue }
    }

    package func log(event: LogEvent) {
        var metadata = self.metadata
        if let provided = self.metadataProvider?.get(), !provided.isEmpty { metadata.merge(provided) { $1 } }
        if let own = event.metadata { metadata.merge(own) { $1 } }
        if let error = event.error { metadata["error"] = .string("\(error)") }
        // In one order, so that lines can be compared.
        let sorted = metadata.sorted { $0.key < $1.key }
        switch self.format {
        case .plain: self.output.write(self.plainLine(event.level, event.message.description, sorted))
        case .json, .auto: self.output.write(self.jsonLine(event.level, event.message.description, sorted))
        case .journal:
            let fields = sorted.map { ($0.key, Self.text(of: $0.value)) }
            JournalOutput.send(JournalOutput.fields(self.program, event.level, event.message.description, fields))
        }
    }

    package static let systemClock: Clock = {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        return (Int(now.tv_sec), Int(now.tv_nsec))
    }

    // MARK: For a person

    /// `15:04:05 info  message key=value`, in UTC.
    private func plainLine(_ level: Logger.Level, _ message: String, _ metadata: [(key: String, value: Logger.Metadata.Value)]) -> [UInt8] {
        var line = LineBuffer(limit: Self.lineLimit - 1)
        line.append(self.utc().time)
        line.append(" \(Self.word(level)) ")
        line.appendEscaped(message, keepingQuotes: true, limit: Self.lineLimit / 2)
        for (key, value) in metadata {
            let text = Self.text(of: value)
            let needsQuotes = text.isEmpty || text.unicodeScalars.contains { $0 == " " || $0 == "\"" || $0 == "=" || $0 == "\\" }
            let fits = line.attempt { line in
                line.append(" ")
                line.appendEscaped(key, keepingQuotes: false, limit: 128)
                line.append(needsQuotes ? "=\"" : "=")
                line.appendEscaped(text, keepingQuotes: !needsQuotes, limit: 2048)
                if needsQuotes { line.append("\"") }
            }
            if !fits {
                line.append(" …")
                break
            }
        }
        return line.finished()
    }

    /// Five letters at most, so that messages stand in one column.
    private static func word(_ level: Logger.Level) -> String {
        switch level {
        case .trace: "trace"
        case .debug: "debug"
        case .info: "info "
        case .notice: "note "
        case .warning: "warn "
        case .error: "error"
        case .critical: "crit "
        }
    }

    /// A value as text; what a line cannot hold is not made.
    private static func text(of value: Logger.Metadata.Value) -> String {
        var text = ""
        self.append(value, depth: 0, to: &text)
        return text
    }

    private static func append(_ value: Logger.Metadata.Value, depth: Int, to text: inout String) {
        guard text.utf8.count < Self.lineLimit else { return }
        switch value {
        case .string(let string): text += string
        case .stringConvertible(let convertible): text += convertible.description
        case .array(let values):
            guard depth < Self.depthLimit else {
                text += "…"
                return
            }
            text += "["
            for (index, element) in values.enumerated() where text.utf8.count < Self.lineLimit {
                if index > 0 { text += ", " }
                self.append(element, depth: depth + 1, to: &text)
            }
            text += "]"
        case .dictionary(let values):
            guard depth < Self.depthLimit else {
                text += "…"
                return
            }
            text += "{"
            for (index, (key, element)) in values.sorted(by: { $0.key < $1.key }).enumerated() where text.utf8.count < Self.lineLimit {
                text += index > 0 ? ", \(key): " : "\(key): "
                self.append(element, depth: depth + 1, to: &text)
            }
            text += "}"
        }
    }

    private static let depthLimit = 8

    // MARK: For a program

    /// `{"time":…,"level":…,"program":…,"message":…}` with the metadata behind it. A key of ours in the metadata gets an underscore,
    /// so that no key stands twice; a line that did not hold everything ends in `"truncated":true`.
    private func jsonLine(_ level: Logger.Level, _ message: String, _ metadata: [(key: String, value: Logger.Metadata.Value)]) -> [UInt8] {
        let ending = ",\"truncated\":true}"
        var line = LineBuffer(limit: Self.lineLimit - 1 - ending.utf8.count)
        var isWhole = true
        let now = self.utc()
        line.append(
            "{\"time\":\"\(now.date)T\(now.time).\(Self.digits(now.milliseconds, 3))Z\",\"level\":\"\(level.rawValue)\",\"program\":\"")
        line.appendEscaped(self.program, keepingQuotes: false, limit: 128)
        line.append("\",\"message\":\"")
        isWhole = line.appendEscaped(message, keepingQuotes: false, limit: Self.lineLimit / 2)
        line.append("\"")
        if self.label != self.program, !self.label.isEmpty {
            line.append(",\"label\":\"")
            line.appendEscaped(self.label, keepingQuotes: false, limit: 128)
            line.append("\"")
        }
        for (key, value) in metadata {
            var valueIsWhole = true
            let fits = line.attempt { line in
                line.append(",\"")
                line.appendEscaped(Self.ownKeys.contains(key) ? key + "_" : key, keepingQuotes: false, limit: 128)
                line.append("\":")
                valueIsWhole = Self.appendJSON(value, depth: 0, to: &line)
            }
            if !fits || !valueIsWhole { isWhole = false }
        }
        line.raiseLimit(to: Self.lineLimit - 1)
        line.append(isWhole ? "}" : ending)
        return line.finished()
    }

    private static let ownKeys: Set<String> = ["time", "level", "program", "message", "label", "truncated"]

    /// - Returns: whether all of the value is there.
    private static func appendJSON(_ value: Logger.Metadata.Value, depth: Int, to line: inout LineBuffer) -> Bool {
        var isWhole = true
        switch value {
        case .string(let text):
            line.append("\"")
            isWhole = line.appendEscaped(text, keepingQuotes: false, limit: 2048)
            line.append("\"")
        case .stringConvertible(let convertible):
            switch convertible {
            // Whole numbers and truth values are themselves in JSON; a floating point number may be no number.
            case let number as any FixedWidthInteger: line.append("\(number)")
            case let value as Bool: line.append(value ? "true" : "false")
            default:
                line.append("\"")
                isWhole = line.appendEscaped(convertible.description, keepingQuotes: false, limit: 2048)
                line.append("\"")
            }
        case .array(let values):
            guard depth < Self.depthLimit else { return self.appendJSON("…", depth: depth, to: &line) }
            line.append("[")
            for (index, element) in values.enumerated() {
                if line.isFull { return false }
                if index > 0 { line.append(",") }
                isWhole = self.appendJSON(element, depth: depth + 1, to: &line) && isWhole
            }
            line.append("]")
        case .dictionary(let values):
            guard depth < Self.depthLimit else { return self.appendJSON("…", depth: depth, to: &line) }
            line.append("{")
            for (index, (key, element)) in values.sorted(by: { $0.key < $1.key }).enumerated() {
                if line.isFull { return false }
                line.append(index > 0 ? ",\"" : "\"")
                line.appendEscaped(key, keepingQuotes: false, limit: 128)
                line.append("\":")
                isWhole = self.appendJSON(element, depth: depth + 1, to: &line) && isWhole
            }
            line.append("}")
        }
        return isWhole
    }

    // MARK: Time

    private func utc() -> (date: String, time: String, milliseconds: Int) {
        let now = self.clock()
        var seconds = time_t(now.seconds)
        var parts = tm()
        // gmtime_r fails only for years that do not fit an Int32; then the parts stay zero.
        gmtime_r(&seconds, &parts)
        let date =
            "\(Self.digits(Int(parts.tm_year) + 1900, 4))-\(Self.digits(Int(parts.tm_mon) + 1, 2))-\(Self.digits(Int(parts.tm_mday), 2))"
        let time = "\(Self.digits(Int(parts.tm_hour), 2)):\(Self.digits(Int(parts.tm_min), 2)):\(Self.digits(Int(parts.tm_sec), 2))"
        return (date, time, now.nanoseconds / 1_000_000)
    }

    private static func digits(_ number: Int, _ count: Int) -> String {
        let text = String(number)
        return String(repeating: "0", count: max(0, count - text.utf8.count)) + text
    }
}

/// The bytes of a line up to a limit.
private struct LineBuffer {
    private var bytes: [UInt8] = []
    private var limit: Int
    /// Whether something did not fit.
    private(set) var isFull = false

    init(limit: Int) {
        self.limit = limit
        self.bytes.reserveCapacity(256)
    }

    mutating func raiseLimit(to limit: Int) {
        self.limit = limit
        self.isFull = false
    }

    mutating func append(_ text: String) {
        guard !self.isFull, self.bytes.count + text.utf8.count <= self.limit else {
            self.isFull = true
            return
        }
        self.bytes.append(contentsOf: text.utf8)
    }

    /// Appends all that `body` does, or nothing where it does not fit.
    mutating func attempt(_ body: (inout LineBuffer) -> Void) -> Bool {
        let before = self.bytes.count
        body(&self)
        guard self.isFull else { return true }
        self.bytes.removeSubrange(before...)
        self.isFull = false
        return false
    }

    /// Appends a text so that it stays on one line and, with quotes escaped, inside a JSON string.
    ///
    /// - Parameter limit: bytes that the text may take; where it takes more, `…` stands for the rest.
    /// - Returns: whether the text is whole.
    @discardableResult
    mutating func appendEscaped(_ text: String, keepingQuotes: Bool, limit: Int) -> Bool {
        let end = min(self.limit, self.bytes.count + limit) - 3
        for scalar in text.unicodeScalars {
            let before = self.bytes.count
            self.appendEscaped(scalar, keepingQuotes: keepingQuotes)
            if self.bytes.count > end {
                self.bytes.removeSubrange(before...)
                self.append("…")
                return false
            }
        }
        return true
    }

    private mutating func appendEscaped(_ scalar: Unicode.Scalar, keepingQuotes: Bool) {
        switch scalar.value {
        case 0x22 where !keepingQuotes: self.bytes.append(contentsOf: "\\\"".utf8)
        case 0x5C where !keepingQuotes: self.bytes.append(contentsOf: "\\\\".utf8)
        case 0x0A: self.bytes.append(contentsOf: "\\n".utf8)
        case 0x0D: self.bytes.append(contentsOf: "\\r".utf8)
        case 0x09: self.bytes.append(contentsOf: "\\t".utf8)
        // Controls, line and paragraph separators, and what turns the direction of writing or is not seen.
        case 0..<0x20, 0x7F...0x9F, 0x061C, 0x200B...0x200F, 0x2028...0x202E, 0x2060...0x206F, 0xFEFF, 0xFFF9...0xFFFB:
            let hex = String(scalar.value, radix: 16)
            self.bytes.append(contentsOf: "\\u".utf8)
            for _ in hex.utf8.count..<4 { self.bytes.append(UInt8(ascii: "0")) }
            self.bytes.append(contentsOf: hex.utf8)
        default: self.bytes.append(contentsOf: UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter)
        }
    }

    func finished() -> [UInt8] { self.bytes + [UInt8(ascii: "\n")] }
}
