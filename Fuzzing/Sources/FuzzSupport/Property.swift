// What the fuzz targets share: taking an input apart, and ending the process where a property does not hold.

/// Ends the process where a property does not hold, so that libFuzzer keeps the input.
///
/// - Parameter words: which property, with the values that break it.
public func demand(_ holds: Bool, _ words: @autoclosure () -> String, file: StaticString = #fileID, line: UInt = #line) {
    if !holds { broken(words(), file: file, line: line) }
}

/// Ends the process with the property that was broken.
public func broken(_ words: String, file: StaticString = #fileID, line: UInt = #line) -> Never {
    // A crash is how libFuzzer is told.
    fatalError("property broken: \(words)", file: file, line: line)
}

/// The octets of an input, taken from its front.
public struct FuzzInput {
    public private(set) var rest: ArraySlice<UInt8>

    public init(_ data: UnsafePointer<UInt8>?, _ count: Int) {
        self.rest = Array(UnsafeBufferPointer(start: data, count: count))[...]
    }

    public var bytes: [UInt8] { Array(self.rest) }

    /// All that is left as text; nil where it is not UTF-8.
    public var text: String? { String(validating: self.rest, as: UTF8.self) }

    /// The first octet, which chooses what is tried; 0 where there is none.
    public mutating func choice() -> UInt8 { self.rest.popFirst() ?? 0 }

    /// As many octets as the first one says, or all that are left.
    public mutating func part() -> [UInt8] {
        let count = Int(self.choice())
        let part = Array(self.rest.prefix(count))
        self.rest = self.rest.dropFirst(count)
        return part
    }
}

/// Whether a line shown to a person is one line, without what moves a terminal's cursor or turns the direction of text.
public func isOneCleanLine(_ text: String) -> Bool {
    text.unicodeScalars.allSatisfy { scalar in
        switch scalar.value {
        case 0..<0x20, 0x7f..<0xa0, 0x200e, 0x200f, 0x2028...0x202e, 0x2066...0x2069: false
        default: true
        }
    }
}
