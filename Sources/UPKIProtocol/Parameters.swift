// The parameters of a request, read by name into the type a task wants, with the documented refusals.

/// The parameters of one request.
public struct Parameters: Sendable {
    public let members: [JSON.Member]

    public init(_ members: [JSON.Member]) { self.members = members }

    public init(_ object: JSON) { self.members = object.objectValue ?? [] }

    /// The value of a parameter; nil where it is absent or null.
    public subscript(name: String) -> JSON? {
        for member in self.members where member.name == name { return member.value.isNull ? nil : member.value }
        return nil
    }

    /// A parameter that must be there and be text with at least one character.
    public func string(_ name: String) throws(Refusal) -> String {
        guard let text = try self.optionalString(name), !text.isEmpty else { throw Refusal(.missingParameter, "Missing \(name) parameter") }
        return text
    }

    /// Text, or nil where the parameter is absent, null or empty.
    public func optionalString(_ name: String) throws(Refusal) -> String? {
        guard let value = self[name] else { return nil }
        guard case .string(let text) = value else { throw Self.wrong(name, "is text") }
        return text.isEmpty ? nil : text
    }

    /// A whole number within `range`, written as a number or as its digits in a string.
    public func optionalInteger(_ name: String, in range: ClosedRange<Int64>) throws(Refusal) -> Int64? {
        guard let value = self[name] else { return nil }
        let number: Int64?
        switch value {
        case .number: number = value.integerValue
        case .string(let text): number = Int64(text)
        default: number = nil
        }
        guard let number, range.contains(number) else {
            throw Self.wrong(name, "is a whole number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    /// true or false; `fallback` where the parameter is absent.
    public func bool(_ name: String, else fallback: Bool) throws(Refusal) -> Bool {
        guard let value = self[name] else { return fallback }
        guard case .bool(let flag) = value else { throw Self.wrong(name, "is true or false") }
        return flag
    }

    /// A list; empty where the parameter is absent.
    public func list(_ name: String, atMost limit: Int) throws(Refusal) -> [JSON] {
        guard let value = self[name] else { return [] }
        guard case .array(let elements) = value else { throw Self.wrong(name, "is a list") }
        guard elements.count <= limit else { throw Self.wrong(name, "has at most \(limit) entries") }
        return elements
    }

    /// A list of texts; nil where the parameter is absent.
    public func optionalStrings(_ name: String, atMost limit: Int) throws(Refusal) -> [String]? {
        guard self[name] != nil else { return nil }
        var texts: [String] = []
        for element in try self.list(name, atMost: limit) {
            guard case .string(let text) = element else { throw Self.wrong(name, "is a list of texts") }
            texts.append(text)
        }
        return texts
    }

    public static func wrong(_ name: String, _ rule: String) -> Refusal {
        Refusal(.invalidParameter, "Invalid \(name) parameter: it \(rule)")
    }
}
