// Reading the entries of a map by key and type, with every refusal in the same words.

/// One map of a file while it is being read. Each `take…` marks its key as known; `finish` refuses the others.
struct SettingMap {
    private let entries: [SettingEntry]
    private let prefix: String
    private let problems: ProblemList
    private var known: [String] = []

    /// - Parameter path: the key under which the map stands, empty for the whole file.
    init?(_ setting: Setting, path: String, problems: ProblemList) {
        self.prefix = path.isEmpty ? "" : path + "."
        self.problems = problems
        switch setting.value {
        case .map(let entries): self.entries = entries
        case .null: self.entries = []
        default:
            let subject = path.isEmpty ? "the file" : path
            problems.add(setting.line, "\(subject) is \(shown(setting.value)); a map of keys and values is allowed")
            return nil
        }
        var seen: [String: SettingEntry] = [:]
        for entry in self.entries {
            if let first = seen[entry.key] {
                let place = first.line.map { "; it stands on line \($0) already" } ?? ""
                problems.add(entry.line, "\(self.prefix)\(printable(entry.key)) is given twice\(place)")
            } else {
                seen[entry.key] = entry
            }
        }
    }

    func path(_ key: String) -> String { self.prefix + key }

    /// The line of a key, for a rule that looks at several.
    func line(_ key: String) -> Int? { self.entries.first { $0.key == key }?.line }

    /// The value of a key; nil when it is absent or empty (`null`).
    mutating func take(_ key: String) -> Setting? {
        if !self.known.contains(key) { self.known.append(key) }
        guard let entry = self.entries.first(where: { $0.key == key }), entry.value.value != .null else { return nil }
        return entry.value
    }

    func refuse(_ key: String, _ setting: Setting, _ allowed: String) {
        self.problems.add(setting.line, "\(self.path(key)) is \(shown(setting.value)); \(allowed)")
    }

    mutating func takeString(_ key: String, allowed: String, where isAllowed: (String) -> Bool = { _ in true }) -> String? {
        guard let setting = self.take(key) else { return nil }
        guard case .string(let text) = setting.value else {
            let hint: String
            switch setting.value {
            case .int, .bool: hint = " (in quotes, since it is meant as text)"
            default: hint = ""
            }
            self.refuse(key, setting, "\(allowed) is allowed\(hint)")
            return nil
        }
        guard isAllowed(text) else {
            self.refuse(key, setting, "\(allowed) is allowed")
            return nil
        }
        return text
    }

    mutating func takeInt(_ key: String, _ range: ClosedRange<Int>, of unit: String = "a number") -> Int? {
        guard let setting = self.take(key) else { return nil }
        guard case .int(let number) = setting.value, range.contains(number) else {
            self.refuse(key, setting, "\(unit) from \(range.lowerBound) to \(range.upperBound) is allowed")
            return nil
        }
        return number
    }

    mutating func takeBool(_ key: String) -> Bool? {
        guard let setting = self.take(key) else { return nil }
        switch setting.value {
        case .bool(let value): return value
        // The reference's YAML 1.1 reads these as truth values too.
        case .string("yes"), .string("Yes"), .string("on"), .string("On"): return true
        case .string("no"), .string("No"), .string("off"), .string("Off"): return false
        default:
            self.refuse(key, setting, "true or false is allowed")
            return nil
        }
    }

    mutating func takeChoice<Choice: RawRepresentable & CaseIterable>(_ key: String, _: Choice.Type) -> Choice?
    where Choice.RawValue == String {
        guard let setting = self.take(key) else { return nil }
        guard case .string(let text) = setting.value, let choice = Choice(rawValue: text) else {
            self.refuse(key, setting, "\(alternatives(Choice.allCases.map(\.rawValue))) is allowed")
            return nil
        }
        return choice
    }

    /// A duration in seconds: a whole number with s, m, h, d or w, or a plain number of `unit` seconds.
    mutating func takeDuration(_ key: String, _ range: ClosedRange<Int>, unit: Int, allowed: String) -> Int? {
        guard let setting = self.take(key) else { return nil }
        let seconds: Int?
        switch setting.value {
        case .int(let number):
            let (product, overflow) = number.multipliedReportingOverflow(by: unit)
            seconds = overflow ? nil : product
        case .string(let text): seconds = durationSeconds(text)
        default: seconds = nil
        }
        guard let seconds, range.contains(seconds) else {
            self.refuse(key, setting, "\(allowed) is allowed")
            return nil
        }
        return seconds
    }

    /// The elements of a list, each read by `read`, which gives nil for what it does not allow.
    mutating func takeList<Element>(_ key: String, allowed: String, _ read: (Setting) -> Element?) -> [Element]? {
        guard let setting = self.take(key) else { return nil }
        guard case .list(let items) = setting.value else {
            self.refuse(key, setting, "a list is allowed: \(allowed)")
            return nil
        }
        var elements: [Element] = []
        for item in items {
            if let element = read(item) {
                elements.append(element)
            } else {
                self.problems.add(item.line ?? setting.line, "an entry of \(self.path(key)) is \(shown(item.value)); \(allowed)")
            }
        }
        return elements
    }

    mutating func takeStrings<Element>(_ key: String, allowed: String, _ read: (String) -> Element?) -> [Element]? {
        self.takeList(key, allowed: allowed) { item in
            guard case .string(let text) = item.value else { return nil }
            return read(text)
        }
    }

    mutating func takeMap(_ key: String) -> SettingMap? {
        guard let setting = self.take(key) else { return nil }
        return SettingMap(setting, path: self.path(key), problems: self.problems)
    }

    /// Refuses every key that was not asked for.
    func finish() {
        for entry in self.entries where !self.known.contains(entry.key) {
            let close = self.known.filter { editDistance($0.lowercased(), entry.key.lowercased()) <= 2 }
            let suggestion = close.first.map { "did you mean \($0)? " } ?? ""
            let keys = self.known.joined(separator: ", ")
            self.problems.add(entry.line, "unknown key \(self.prefix)\(printable(entry.key)); \(suggestion)allowed are \(keys)")
        }
    }
}

// MARK: - Words

/// `a, b or c`.
func alternatives(_ words: [String]) -> String {
    guard let last = words.last, words.count > 1 else { return words.first ?? "" }
    return words.dropLast().joined(separator: ", ") + " or " + last
}

/// A value as a message shows it: short, on one line, without control characters.
func shown(_ value: SettingValue) -> String {
    switch value {
    case .string(let text):
        // Quotes tell a text from the number or truth value it looks like.
        let needsQuotes = text.isEmpty || text.contains(" ") || YAMLText.plainValue(text) != .string(text)
        return needsQuotes ? "\"\(printable(text))\"" : printable(text)
    case .int(let number): return String(number)
    case .bool(let value): return String(value)
    case .null: return "empty"
    case .list: return "a list"
    case .map: return "a map"
    }
}

/// Text for a message: at most 80 characters, everything that could move a cursor or end a line escaped.
func printable(_ text: String) -> String {
    var result = ""
    var count = 0
    for scalar in text.unicodeScalars {
        if count == 80 { return result + "…" }
        count += 1
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .privateUse, .unassigned:
            result += "\\u{\(String(scalar.value, radix: 16))}"
        default: result.unicodeScalars.append(scalar)
        }
    }
    return result
}

/// Seconds of `300s`, `5m`, `12h`, `7d` or `2w`.
func durationSeconds(_ text: String) -> Int? {
    let factors: [Character: Int] = ["s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800]
    guard let last = text.last, let factor = factors[last] else { return nil }
    let digits = text.dropLast()
    guard !digits.isEmpty, digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let number = Int(digits) else { return nil }
    let (product, overflow) = number.multipliedReportingOverflow(by: factor)
    return overflow ? nil : product
}

/// The number of letters to insert, drop or change; capped, since a key may be as long as a file.
private func editDistance(_ left: String, _ right: String) -> Int {
    let left = Array(left.unicodeScalars)
    let right = Array(right.unicodeScalars)
    guard abs(left.count - right.count) <= 2, left.count <= 64 else { return .max }
    var row = Array(0...right.count)
    for (i, a) in left.enumerated() {
        var diagonal = row[0]
        row[0] = i + 1
        for (j, b) in right.enumerated() {
            let next = min(row[j] + 1, row[j + 1] + 1, diagonal + (a == b ? 0 : 1))
            diagonal = row[j + 1]
            row[j + 1] = next
        }
    }
    return row[right.count]
}
