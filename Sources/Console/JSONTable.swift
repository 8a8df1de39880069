// From an answer's JSON to what a person reads: lists as tables, objects as names and values.

public import PKI
public import UPKIProtocol

/// A column of a table made from a list of objects.
public struct JSONColumn: Sendable {
    public let column: TextTable.Column
    let cell: @Sendable (JSON) -> String

    /// - Parameters:
    ///   - title: the heading.
    ///   - cell: the text for one object of the list.
    public init(_ title: String, isNumber: Bool = false, isProse: Bool = false, least: Int = 12, cell: @escaping @Sendable (JSON) -> String)
    {
        self.column = TextTable.Column(title, isNumber: isNumber, isProse: isProse, least: least)
        self.cell = cell
    }

    /// The member of that name, as text.
    public init(_ title: String, _ member: String, isNumber: Bool = false, isProse: Bool = false, least: Int = 12) {
        self.init(title, isNumber: isNumber, isProse: isProse, least: least) { $0[member].map(JSONText.plain) ?? "" }
    }

    /// The member of that name, a time, with how far away it is.
    public init(_ title: String, time member: String, now: UnixTime) {
        self.init(title, isProse: true, least: 20) { $0[member].map { HumanTime.point(JSONText.plain($0), now: now) } ?? "" }
    }
}

extension TextTable {
    /// A table with one row for each object.
    public init(_ objects: [JSON], _ columns: [JSONColumn]) {
        self.init(columns.map(\.column))
        for object in objects { add(columns.map { $0.cell(object) }) }
    }

    /// Names and values, one a line, without headings; empty values are left out.
    public init(facts: [(String, String)]) {
        self.init([Column(""), Column("", isProse: true)], hasHeading: false)
        for (name, value) in facts where !value.isEmpty { add([name, value]) }
    }
}

/// JSON values as text for a person.
public enum JSONText {
    /// Text as it is, nothing for null, `yes` and `no`, lists with commas, objects as JSON; an alternative name by its kind and value.
    public static func plain(_ value: JSON) -> String {
        switch value {
        case .null: return ""
        case .bool(let flag): return flag ? "yes" : "no"
        case .number(let digits): return digits
        case .string(let text): return text
        case .array(let elements): return elements.map(plain).joined(separator: ", ")
        case .object:
            if let kind = value["type"]?.stringValue, let name = value["value"]?.stringValue { return "\(kind):\(name)" }
            return value.text
        }
    }

    /// Every member of an object as a fact, in its order.
    public static func facts(_ value: JSON, now: UnixTime) -> [(String, String)] {
        (value.objectValue ?? []).map { member in
            (member.name.replacingUnderscores, HumanTime.point(plain(member.value), now: now))
        }
    }
}

extension String {
    fileprivate var replacingUnderscores: String { String(self.map { $0 == "_" ? " " : $0 }) }
}
