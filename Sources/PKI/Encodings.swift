// The text encodings that PKI material travels in: hexadecimal, base64 (RFC 4648) and PEM (RFC 7468).

/// Lower-case hexadecimal.
public enum Hexadecimal {
    /// Two digits for each octet.
    public static func encode(_ bytes: some Sequence<UInt8>) -> String {
        let digits = Array("0123456789abcdef".utf8)
        var text: [UInt8] = []
        for byte in bytes {
            text.append(digits[Int(byte >> 4)])
            text.append(digits[Int(byte & 15)])
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// The octets of an even number of hexadecimal digits; nil for anything else.
    public static func decode(_ text: some StringProtocol) -> [UInt8]? {
        var bytes: [UInt8] = []
        var pending: UInt8?
        for character in text.utf8 {
            let value: UInt8
            switch character {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): value = character - UInt8(ascii: "0")
            case UInt8(ascii: "a")...UInt8(ascii: "f"): value = character - UInt8(ascii: "a") + 10
            case UInt8(ascii: "A")...UInt8(ascii: "F"): value = character - UInt8(ascii: "A") + 10
            default: return nil
            }
            if let high = pending {
                bytes.append(high << 4 | value)
                pending = nil
            } else {
                pending = value
            }
        }
        return pending == nil ? bytes : nil
    }
}

/// Base64 with padding (RFC 4648 section 4).
public enum Base64 {
    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

    /// Encodes `bytes`; with `lineLength` (a multiple of 4) a newline follows each full line and the last one.
    public static func encode(_ bytes: [UInt8], lineLength: Int? = nil) -> [UInt8] {
        let groups = (bytes.count + 2) / 3
        let lines = lineLength.map { (groups * 4 + $0 - 1) / $0 } ?? 0
        return [UInt8](unsafeUninitializedCapacity: groups * 4 + lines) { output, count in
            self.alphabet.withUnsafeBufferPointer { alphabet in
                var written = 0
                var column = 0
                var index = 0
                while index < bytes.count {
                    let first = bytes[index]
                    let second = index + 1 < bytes.count ? bytes[index + 1] : 0
                    let third = index + 2 < bytes.count ? bytes[index + 2] : 0
                    output[written] = alphabet[Int(first >> 2)]
                    output[written + 1] = alphabet[Int((first & 3) << 4 | second >> 4)]
                    output[written + 2] = index + 1 < bytes.count ? alphabet[Int((second & 15) << 2 | third >> 6)] : UInt8(ascii: "=")
                    output[written + 3] = index + 2 < bytes.count ? alphabet[Int(third & 63)] : UInt8(ascii: "=")
                    written += 4
                    column += 4
                    index += 3
                    if let lineLength, column == lineLength || index >= bytes.count {
                        output[written] = UInt8(ascii: "\n")
                        written += 1
                        column = 0
                    }
                }
                count = written
            }
        }
    }

    /// Decodes base64, ignoring white space; nil for any other character, wrong padding or bits left over.
    public static func decode(_ text: some Sequence<UInt8>) -> [UInt8]? {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.underestimatedCount / 4 * 3)
        var bits: UInt32 = 0
        var held = 0
        var padding = 0
        for character in text {
            let value: UInt32
            switch character {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"): value = UInt32(character - UInt8(ascii: "A"))
            case UInt8(ascii: "a")...UInt8(ascii: "z"): value = UInt32(character - UInt8(ascii: "a")) + 26
            case UInt8(ascii: "0")...UInt8(ascii: "9"): value = UInt32(character - UInt8(ascii: "0")) + 52
            case UInt8(ascii: "+"): value = 62
            case UInt8(ascii: "/"): value = 63
            case UInt8(ascii: "="):
                padding += 1
                guard padding <= 2 else { return nil }
                continue
            case 0x20, 0x09, 0x0a, 0x0d: continue
            default: return nil
            }
            guard padding == 0 else { return nil }
            bits = bits << 6 | value
            held += 1
            if held == 4 {
                bytes.append(UInt8(truncatingIfNeeded: bits >> 16))
                bytes.append(UInt8(truncatingIfNeeded: bits >> 8))
                bytes.append(UInt8(truncatingIfNeeded: bits))
                bits = 0
                held = 0
            }
        }
        switch (held, padding) {
        case (0, 0): return bytes
        case (2, 2) where bits & 0xf == 0: return bytes + [UInt8(truncatingIfNeeded: bits >> 4)]
        case (3, 1) where bits & 0x3 == 0: return bytes + [UInt8(truncatingIfNeeded: bits >> 10), UInt8(truncatingIfNeeded: bits >> 2)]
        default: return nil
        }
    }
}

/// PEM text (RFC 7468).
public enum PEM {
    /// The PEM text of one DER object, with a newline at its end.
    public static func encode(_ der: [UInt8], label: String) -> String {
        var text = Array("-----BEGIN \(label)-----\n".utf8)
        text += Base64.encode(der, lineLength: 64)
        text += Array("-----END \(label)-----\n".utf8)
        return String(decoding: text, as: UTF8.self)
    }

    /// The DER of the first object in `text` that carries one of `labels`; nil where there is none that decodes.
    ///
    /// Text around and between objects is skipped, as RFC 7468 section 2 allows.
    public static func decodeFirst(_ text: String, labels: [String]) -> [UInt8]? {
        var text = text
        return text.withUTF8 { bytes in
            for label in labels {
                guard let begin = self.end(of: "-----BEGIN \(label)-----", in: bytes, from: 0),
                    let end = self.end(of: "-----END \(label)-----", in: bytes, from: begin)
                else { continue }
                return Base64.decode(bytes[begin..<end - label.utf8.count - 14])
            }
            return nil
        }
    }

    /// Where `pattern` ends, at its first occurrence at or after `start`.
    private static func end(of pattern: String, in bytes: UnsafeBufferPointer<UInt8>, from start: Int) -> Int? {
        let wanted = Array(pattern.utf8)
        guard bytes.count >= wanted.count else { return nil }
        var index = start
        while index <= bytes.count - wanted.count {
            if bytes[index] == wanted[0], (1..<wanted.count).allSatisfy({ bytes[index + $0] == wanted[$0] }) { return index + wanted.count }
            index += 1
        }
        return nil
    }
}
