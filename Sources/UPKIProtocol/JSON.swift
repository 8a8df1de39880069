// JSON as the protocol needs it (RFC 8259): strict, bounded in depth, two equal keys refused, numbers kept as they were written.

/// A JSON value. Objects keep the order of their members.
public enum JSON: Sendable, Equatable {
    case null
    case bool(Bool)
    /// A number as it was written, so that none loses digits.
    case number(String)
    case string(String)
    case array([JSON])
    case object([Member])

    /// One member of an object.
    public struct Member: Sendable, Equatable {
        public var name: String
        public var value: JSON

        public init(_ name: String, _ value: JSON) {
            self.name = name
            self.value = value
        }
    }

    /// The deepest nesting that is read; the protocol itself needs four levels.
    public static let maximumDepth = 32

    public static func integer(_ value: some BinaryInteger) -> JSON { .number(String(value)) }

    /// The members' values by name; nil where this is no object or has no such member.
    public subscript(name: String) -> JSON? {
        guard case .object(let members) = self else { return nil }
        for member in members where member.name == name { return member.value }
        return nil
    }

    public var stringValue: String? { if case .string(let value) = self { value } else { nil } }
    public var boolValue: Bool? { if case .bool(let value) = self { value } else { nil } }
    public var arrayValue: [JSON]? { if case .array(let value) = self { value } else { nil } }
    public var objectValue: [Member]? { if case .object(let value) = self { value } else { nil } }
    public var isNull: Bool { self == .null }

    /// The number as an integer; nil for fractions, exponents and what does not fit.
    public var integerValue: Int64? { if case .number(let text) = self { Int64(text) } else { nil } }
}

extension JSON: ExpressibleByStringLiteral, ExpressibleByBooleanLiteral, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral {
    public init(stringLiteral value: String) { self = .string(value) }
    public init(booleanLiteral value: Bool) { self = .bool(value) }
    public init(arrayLiteral elements: JSON...) { self = .array(elements) }
    public init(dictionaryLiteral elements: (String, JSON)...) { self = .object(elements.map { Member($0.0, $0.1) }) }
}

// MARK: - Reading

/// Why bytes are not JSON: one line for a person.
public struct JSONError: Error, Equatable {
    public let message: String
    /// Octets before the place where reading stopped.
    public let offset: Int
}

extension JSON {
    /// Reads exactly one value, with white space around it at most.
    ///
    /// - Throws: `JSONError` for anything RFC 8259 does not allow, for two equal names in one object, for nesting deeper
    ///   than `maximumDepth` and for text that is not UTF-8.
    public init(parsing bytes: [UInt8]) throws(JSONError) {
        // Errors cannot leave the buffer closure typed, so the result does.
        let result: Result<JSON, JSONError> = bytes.withUnsafeBufferPointer { buffer in
            var reader = Reader(bytes: buffer)
            do throws(JSONError) { return .success(try reader.document()) } catch { return .failure(error) }
        }
        self = try result.get()
    }

    private struct Reader {
        let bytes: UnsafeBufferPointer<UInt8>
        var index = 0

        init(bytes: UnsafeBufferPointer<UInt8>) { self.bytes = bytes }

        func fail(_ message: String) -> JSONError { JSONError(message: message, offset: self.index) }

        var current: UInt8? { self.index < self.bytes.count ? self.bytes[self.index] : nil }

        mutating func skipSpace() {
            while let byte = self.current, byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09 { self.index += 1 }
        }

        mutating func document() throws(JSONError) -> JSON {
            self.skipSpace()
            let value = try self.value(depth: 0)
            self.skipSpace()
            guard self.index == self.bytes.count else { throw self.fail("more follows the first value") }
            return value
        }

        mutating func value(depth: Int) throws(JSONError) -> JSON {
            guard depth <= JSON.maximumDepth else { throw self.fail("nested deeper than \(JSON.maximumDepth) levels") }
            switch self.current {
            case nil: throw self.fail("unexpected end")
            case UInt8(ascii: "{"): return try self.object(depth: depth)
            case UInt8(ascii: "["): return try self.array(depth: depth)
            case UInt8(ascii: "\""): return .string(try self.string())
            case UInt8(ascii: "t"): return try self.word("true", .bool(true))
            case UInt8(ascii: "f"): return try self.word("false", .bool(false))
            case UInt8(ascii: "n"): return try self.word("null", .null)
            default: return try self.number()
            }
        }

        mutating func word(_ text: StaticString, _ value: JSON) throws(JSONError) -> JSON {
            let end = self.index + text.utf8CodeUnitCount
            guard end <= self.bytes.count, (0..<text.utf8CodeUnitCount).allSatisfy({ self.bytes[self.index + $0] == text.utf8Start[$0] })
            else {
                throw self.fail("unexpected character")
            }
            self.index = end
            return value
        }

        mutating func object(depth: Int) throws(JSONError) -> JSON {
            self.index += 1
            var members: [Member] = []
            var names: Set<String> = []
            self.skipSpace()
            if self.current == UInt8(ascii: "}") {
                self.index += 1
                return .object([])
            }
            while true {
                self.skipSpace()
                guard self.current == UInt8(ascii: "\"") else { throw self.fail("a member name in quotes is expected") }
                let name = try self.string()
                let isNew =
                    members.count < 8
                    ? !members.contains { $0.name == name }
                    : {
                        if names.isEmpty { names.formUnion(members.map(\.name)) }
                        return names.insert(name).inserted
                    }()
                guard isNew else { throw self.fail("a member name stands twice in one object") }
                self.skipSpace()
                guard self.current == UInt8(ascii: ":") else { throw self.fail("':' is expected") }
                self.index += 1
                self.skipSpace()
                members.append(Member(name, try self.value(depth: depth + 1)))
                self.skipSpace()
                switch self.current {
                case UInt8(ascii: ","): self.index += 1
                case UInt8(ascii: "}"):
                    self.index += 1
                    return .object(members)
                default: throw self.fail("',' or '}' is expected")
                }
            }
        }

        mutating func array(depth: Int) throws(JSONError) -> JSON {
            self.index += 1
            var elements: [JSON] = []
            self.skipSpace()
            if self.current == UInt8(ascii: "]") {
                self.index += 1
                return .array([])
            }
            while true {
                self.skipSpace()
                elements.append(try self.value(depth: depth + 1))
                self.skipSpace()
                switch self.current {
                case UInt8(ascii: ","): self.index += 1
                case UInt8(ascii: "]"):
                    self.index += 1
                    return .array(elements)
                default: throw self.fail("',' or ']' is expected")
                }
            }
        }

        mutating func string() throws(JSONError) -> String {
            self.index += 1
            let start = self.index
            while let byte = self.current, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\"), byte >= 0x20 { self.index += 1 }
            if self.current == UInt8(ascii: "\"") {
                let text = try self.text(UnsafeBufferPointer(rebasing: self.bytes[start..<self.index]))
                self.index += 1
                return text
            }
            var decoded = Array(self.bytes[start..<self.index])
            while true {
                guard let byte = self.current else { throw self.fail("a string has no end") }
                switch byte {
                case UInt8(ascii: "\""):
                    guard let text = String(validating: decoded, as: UTF8.self) else { throw self.fail("the text is not UTF-8") }
                    self.index += 1
                    return text
                case UInt8(ascii: "\\"):
                    self.index += 1
                    try self.escape(into: &decoded)
                case 0..<0x20: throw self.fail("a control character in a string")
                default:
                    decoded.append(byte)
                    self.index += 1
                }
            }
        }

        func text(_ bytes: UnsafeBufferPointer<UInt8>) throws(JSONError) -> String {
            guard let text = String(validating: bytes, as: UTF8.self) else { throw self.fail("the text is not UTF-8") }
            return text
        }

        mutating func escape(into decoded: inout [UInt8]) throws(JSONError) {
            guard let byte = self.current else { throw self.fail("a string has no end") }
            self.index += 1
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): decoded.append(byte)
            case UInt8(ascii: "b"): decoded.append(0x08)
            case UInt8(ascii: "f"): decoded.append(0x0c)
            case UInt8(ascii: "n"): decoded.append(0x0a)
            case UInt8(ascii: "r"): decoded.append(0x0d)
            case UInt8(ascii: "t"): decoded.append(0x09)
            case UInt8(ascii: "u"):
                var code = try self.fourDigits()
                if (0xd800..<0xdc00).contains(code) {
                    guard self.current == UInt8(ascii: "\\"), self.index + 1 < self.bytes.count,
                        self.bytes[self.index + 1] == UInt8(ascii: "u")
                    else {
                        throw self.fail("half of a surrogate pair")
                    }
                    self.index += 2
                    let low = try self.fourDigits()
                    guard (0xdc00..<0xe000).contains(low) else { throw self.fail("half of a surrogate pair") }
                    code = 0x10000 + (code - 0xd800) << 10 + (low - 0xdc00)
                }
                guard let scalar = Unicode.Scalar(code) else { throw self.fail("half of a surrogate pair") }
                decoded.append(contentsOf: String(Character(scalar)).utf8)
            default: throw self.fail("an unknown escape")
            }
        }

        mutating func fourDigits() throws(JSONError) -> UInt32 {
            guard self.index + 4 <= self.bytes.count else { throw self.fail("a string has no end") }
            var value: UInt32 = 0
            for _ in 0..<4 {
                let digit: UInt8
                switch self.bytes[self.index] {
                case let byte where (0x30...0x39).contains(byte): digit = byte - 0x30
                case let byte where (0x61...0x66).contains(byte | 0x20): digit = (byte | 0x20) - 0x61 + 10
                default: throw self.fail("four hexadecimal digits are expected")
                }
                value = value << 4 | UInt32(digit)
                self.index += 1
            }
            return value
        }

        mutating func number() throws(JSONError) -> JSON {
            let start = self.index
            if self.current == UInt8(ascii: "-") { self.index += 1 }
            switch self.current {
            case UInt8(ascii: "0"): self.index += 1
            case let byte? where (0x31...0x39).contains(byte): self.digits()
            default: throw self.fail("unexpected character")
            }
            if self.current == UInt8(ascii: ".") {
                self.index += 1
                guard self.digits() else { throw self.fail("digits are expected after '.'") }
            }
            if let byte = self.current, byte | 0x20 == UInt8(ascii: "e") {
                self.index += 1
                if self.current == UInt8(ascii: "+") || self.current == UInt8(ascii: "-") { self.index += 1 }
                guard self.digits() else { throw self.fail("digits are expected in an exponent") }
            }
            return .number(String(decoding: self.bytes[start..<self.index], as: UTF8.self))
        }

        @discardableResult
        mutating func digits() -> Bool {
            let start = self.index
            while let byte = self.current, (0x30...0x39).contains(byte) { self.index += 1 }
            return self.index > start
        }
    }
}

// MARK: - Writing

extension JSON {
    /// The shortest text of this value, in UTF-8.
    public var encoded: [UInt8] {
        var output: [UInt8] = []
        self.write(into: &output)
        return output
    }

    /// The shortest text of this value.
    public var text: String { String(decoding: self.encoded, as: UTF8.self) }

    /// Appends the text of this value.
    public func write(into output: inout [UInt8]) {
        switch self {
        case .null: output += "null".utf8
        case .bool(let value): output += (value ? "true" : "false").utf8
        case .number(let text): output += text.utf8
        case .string(let text): Self.write(text, into: &output)
        case .array(let elements):
            output.append(UInt8(ascii: "["))
            for (index, element) in elements.enumerated() {
                if index > 0 { output.append(UInt8(ascii: ",")) }
                element.write(into: &output)
            }
            output.append(UInt8(ascii: "]"))
        case .object(let members):
            output.append(UInt8(ascii: "{"))
            for (index, member) in members.enumerated() {
                if index > 0 { output.append(UInt8(ascii: ",")) }
                Self.write(member.name, into: &output)
                output.append(UInt8(ascii: ":"))
                member.value.write(into: &output)
            }
            output.append(UInt8(ascii: "}"))
        }
    }

    private static func write(_ text: String, into output: inout [UInt8]) {
        let hex = Array("0123456789abcdef".utf8)
        output.append(UInt8(ascii: "\""))
        var text = text
        text.withUTF8 { bytes in
            var start = 0
            for (index, byte) in bytes.enumerated()
            where byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") || byte == 0x7f {
                output += bytes[start..<index]
                start = index + 1
                switch byte {
                case UInt8(ascii: "\""), UInt8(ascii: "\\"): output += [UInt8(ascii: "\\"), byte]
                case 0x0a: output += "\\n".utf8
                case 0x0d: output += "\\r".utf8
                case 0x09: output += "\\t".utf8
                default: output += "\\u00".utf8 + [hex[Int(byte >> 4)], hex[Int(byte & 15)]]
                }
            }
            output += bytes[start...]
        }
        output.append(UInt8(ascii: "\""))
    }
}
