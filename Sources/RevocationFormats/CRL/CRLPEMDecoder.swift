// Turns the PEM of a CRL back into its bytes while it passes by.

/// Reads the textual form of one CRL (RFC 7468 section 6) chunk by chunk; what stands before and after it is passed over.
///
/// ```swift
/// var pem = CRLPEMDecoder()
/// while let chunk = try file.read() { try pem.append(chunk) { try output.write($0) } }
/// try pem.finish()
/// ```
public struct CRLPEMDecoder: Sendable {
    /// Where in the text the decoder is.
    private enum Place {
        case before, inside, after
    }

    private static let begin = Array("-----BEGIN X509 CRL-----".utf8)
    private static let end = Array("-----END X509 CRL-----".utf8)
    /// A line of the text that is longer is no line of PEM, and text around the CRL of that length is passed over in parts.
    private static let lineByteLimit = 4_096

    private var place = Place.before
    private var line: [UInt8] = []
    private var bits: UInt32 = 0
    private var heldDigits = 0
    private var padding = 0

    /// Whether bytes are the beginning of text in PEM rather than of DER.
    public static func looksLikePEM(_ bytes: some Sequence<UInt8>) -> Bool {
        // A CRL is a SEQUENCE of more than 127 octets: its length begins with an octet that is no character of ASCII.
        var iterator = bytes.makeIterator()
        guard let first = iterator.next(), let second = iterator.next() else {
            return false
        }
        return first != DERTag.sequence || second < 0x80
    }

    public init() {}

    /// Adds a part of the text and hands over the bytes that are complete.
    ///
    /// - throws: ``RevocationFormatsError`` with `malformed` for text that is no base64, and for a second CRL; what `body` throws.
    public mutating func append(_ text: some Sequence<UInt8>, to body: (RawSpan) throws -> Void) throws {
        var output: [UInt8] = []
        for byte in text {
            if byte == UInt8(ascii: "\n") {
                try self.take(&output)
            } else if self.line.count < Self.lineByteLimit {
                self.line.append(byte)
            } else if self.place == .inside {
                throw RevocationFormatsError(.malformed, "a line of the PEM text has more than \(Self.lineByteLimit) characters")
            }
        }
        if !output.isEmpty {
            try body(output.span.bytes)
        }
    }

    /// Ends the text; a last line without a line feed counts.
    ///
    /// - throws: ``RevocationFormatsError`` with `malformed` where there was no CRL, or no end of it.
    public mutating func finish() throws {
        var output: [UInt8] = []
        try self.take(&output)
        switch self.place {
        case .before: throw RevocationFormatsError(.malformed, "there is no PEM block X509 CRL")
        case .inside: throw RevocationFormatsError(.malformed, "the PEM block X509 CRL has no end")
        case .after: break
        }
        // What came with a last line that is no end line was refused as unfinished above.
        guard self.heldDigits == 0 else {
            throw RevocationFormatsError(.malformed, "the base64 of the PEM block is cut off")
        }
    }

    /// A line is complete.
    private mutating func take(_ output: inout [UInt8]) throws {
        defer { self.line.removeAll(keepingCapacity: true) }
        while let last = self.line.last, last == UInt8(ascii: "\r") || last == UInt8(ascii: " ") || last == UInt8(ascii: "\t") {
            self.line.removeLast()
        }
        switch self.place {
        case .before:
            if self.line == Self.begin { self.place = .inside }
        case .inside:
            if self.line == Self.end { self.place = .after } else { try self.decode(&output) }
        case .after:
            guard self.line != Self.begin else {
                throw RevocationFormatsError(.malformed, "there are several CRLs; put each into a file of its own")
            }
        }
    }

    private mutating func decode(_ output: inout [UInt8]) throws {
        for character in self.line where character != UInt8(ascii: " ") {
            if character == UInt8(ascii: "=") {
                self.padding += 1
                self.heldDigits += 1
                self.bits <<= 6
            } else {
                guard let value = Self.value(character), self.padding == 0 else {
                    throw RevocationFormatsError(.malformed, "the PEM block holds something else than base64")
                }
                self.heldDigits += 1
                self.bits = self.bits << 6 | value
            }
            guard self.heldDigits == 4 else {
                continue
            }
            guard self.padding <= 2 else {
                throw RevocationFormatsError(.malformed, "the PEM block holds something else than base64")
            }
            for index in 0..<(3 - self.padding) {
                output.append(UInt8(truncatingIfNeeded: self.bits >> (16 - 8 * UInt32(index))))
            }
            self.bits = 0
            self.heldDigits = 0
        }
    }

    private static func value(_ character: UInt8) -> UInt32? {
        switch character {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): UInt32(character - UInt8(ascii: "A"))
        case UInt8(ascii: "a")...UInt8(ascii: "z"): UInt32(character - UInt8(ascii: "a")) + 26
        case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt32(character - UInt8(ascii: "0")) + 52
        case UInt8(ascii: "+"): 62
        case UInt8(ascii: "/"): 63
        default: nil
        }
    }
}
