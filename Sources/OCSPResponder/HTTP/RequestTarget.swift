// What a request's target names: a document, or an OCSP request in base64 (RFC 6960 A.1).

import Glibc

/// The path of a request target.
struct RequestTarget {
    /// What stands beside OCSP under fixed names; the last component decides, whatever prefix a proxy left on.
    enum Document: Equatable { case authorityCertificate, revocationList, health, metrics, status }

    /// Begins with a slash, except where a client sent something else; without query.
    let path: UnsafeRawBufferPointer

    /// Before the base64, a path has at most this many slashes. Each is a place where the base64 may begin, since it may hold slashes itself;
    /// the bound keeps hostile targets from costing a decoding for each of their bytes.
    private static let longestPrefix = 16

    /// - Parameter target: origin form or absolute form (RFC 9112 3.2). A query, which names nothing here, is left out.
    init(_ target: UnsafeRawBufferPointer) {
        var path = target[...]
        if path.first != UInt8(ascii: "/") { path = Self.withoutAuthority(path) }
        let whole = UnsafeRawBufferPointer(rebasing: path)
        // memchr(3), since most of a target is base64 that is looked through for nothing else.
        guard let start = whole.baseAddress, let query = memchr(start, Int32(UInt8(ascii: "?")), whole.count) else {
            self.path = whole
            return
        }
        self.path = UnsafeRawBufferPointer(rebasing: whole[..<(UnsafeRawPointer(query) - start)])
    }

    /// `http://host/path` without what precedes the path.
    private static func withoutAuthority(_ target: Slice<UnsafeRawBufferPointer>) -> Slice<UnsafeRawBufferPointer> {
        for scheme: StaticString in ["http://", "https://"] {
            let length = scheme.utf8CodeUnitCount
            let begins = scheme.withUTF8Buffer { name in
                target.count >= length && zip(target, name).allSatisfy { $0 | 0x20 == $1 | 0x20 }
            }
            if begins { return target.dropFirst(length).drop { $0 != UInt8(ascii: "/") && $0 != UInt8(ascii: "?") } }
        }
        return target
    }

    /// nil below the responder's own path as well: made-up prefixes would be as many names for one long list in a cache in front.
    var document: Document? {
        if self.isBelowResponder { return nil }
        if self.endsWith("/crl") { return .revocationList }
        if self.endsWith("/ca.crt") { return .authorityCertificate }
        if self.endsWith("/healthz") { return .health }
        if self.endsWith("/metrics") { return .metrics }
        if self.endsWith("/status") { return .status }
        return nil
    }

    /// Whether the path is that of the responder itself, with no request in it.
    var isResponder: Bool { self.path.isEmpty || self.endsWith("/") || self.endsWith("/ocsp") }

    /// Whether the last component has a dot, which base64 never has: a file that is not here.
    var isFileName: Bool { self.path.reversed().prefix { $0 != UInt8(ascii: "/") }.contains(UInt8(ascii: ".")) }

    private var isBelowResponder: Bool {
        let component: StaticString = "/ocsp/"
        let length = component.utf8CodeUnitCount
        return component.withUTF8Buffer { component in
            self.path.indices.dropLast(length - 1).contains { self.path[$0...].prefix(length).elementsEqual(component) }
        }
    }

    private func endsWith(_ name: StaticString) -> Bool {
        let length = name.utf8CodeUnitCount
        guard self.path.count >= length else { return false }
        let end = self.path[(self.path.count - length)...]
        return name.withUTF8Buffer { end.elementsEqual($0) }
    }

    /// Enough room for what the path can hold.
    var roomForRequest: Int { self.path.count / 4 * 3 + 3 }

    /// Decodes the OCSP request that the path ends with.
    ///
    /// The request begins behind one of the slashes; it is the first place from which the rest is base64 of one DER value that has exactly the
    /// length it claims. '+' and '/' mean themselves, any character may be percent-encoded, padding may be missing.
    /// - Parameter output: `roomForRequest` bytes.
    /// - Returns: how many bytes the request has; nil where there is none.
    func decodeRequest(into output: UnsafeMutableRawBufferPointer) -> Int? {
        var slashes = 0
        for index in self.path.indices where self.path[index] == UInt8(ascii: "/") {
            slashes += 1
            if slashes > Self.longestPrefix { break }
            let rest = UnsafeRawBufferPointer(rebasing: self.path[(index + 1)...])
            // A SEQUENCE begins with 0x30, its base64 with M.
            guard let first = rest.first, first == UInt8(ascii: "M") || first == UInt8(ascii: "%") else { continue }
            if let count = Base64Path.decode(rest, into: output), Self.isOneValue(UnsafeRawBufferPointer(rebasing: output[..<count])) {
                return count
            }
        }
        return nil
    }

    /// Whether these bytes are one DER SEQUENCE and nothing after it, by its length alone (X.690 8.1.3).
    static func isOneValue(_ der: UnsafeRawBufferPointer) -> Bool {
        guard der.count >= 2, der[0] == 0x30 else { return false }
        switch der[1] {
        case 0..<0x80: return der.count == 2 + Int(der[1])
        case 0x81: return der.count >= 3 && der.count == 3 + Int(der[2])
        case 0x82: return der.count >= 4 && der.count == 4 + Int(der[2]) << 8 + Int(der[3])
        default: return false
        }
    }
}

/// Base64 as it stands in a path.
enum Base64Path {
    private static let notBase64: UInt8 = 0xFF
    private static let padding: UInt8 = 0xFE

    /// The six bits of each character.
    private static let values: [UInt8] = {
        var values = [UInt8](repeating: notBase64, count: 256)
        for (value, character) in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8.enumerated() {
            values[Int(character)] = UInt8(value)
        }
        values[Int(UInt8(ascii: "="))] = padding
        return values
    }()

    /// - Returns: the number of bytes; nil where the text is not base64 or `output` is too small.
    static func decode(_ text: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer) -> Int? {
        Self.values.withUnsafeBufferPointer { values in
            var index = 0
            var written = 0
            var bits: UInt32 = 0
            var characters = 0
            var pads = 0
            while index < text.count {
                var character = text[index]
                index += 1
                if character == UInt8(ascii: "%") {
                    guard text.count - index >= 2, let high = Self.digit(text[index]), let low = Self.digit(text[index + 1]) else {
                        return nil
                    }
                    character = high << 4 | low
                    index += 2
                }
                let value = values[Int(character)]
                guard value < 64 else {
                    guard value == Self.padding else { return nil }
                    pads += 1
                    continue
                }
                guard pads == 0 else { return nil }
                bits = bits << 6 | UInt32(value)
                characters &+= 1
                if characters & 3 == 0 {
                    guard output.count - written >= 3 else { return nil }
                    output[written] = UInt8(truncatingIfNeeded: bits >> 16)
                    output[written + 1] = UInt8(truncatingIfNeeded: bits >> 8)
                    output[written + 2] = UInt8(truncatingIfNeeded: bits)
                    written += 3
                }
            }
            return Self.end(bits, characters & 3, pads, output, written)
        }
    }

    /// The last one or two bytes, where the text does not end with a group of four.
    private static func end(
        _ bits: UInt32, _ characters: Int, _ pads: Int, _ output: UnsafeMutableRawBufferPointer, _ written: Int
    ) -> Int? {
        switch characters {
        case 0: return pads == 0 ? written : nil
        case 2:
            guard pads <= 2, output.count > written else { return nil }
            output[written] = UInt8(truncatingIfNeeded: bits >> 4)
            return written + 1
        case 3:
            guard pads <= 1, output.count - written >= 2 else { return nil }
            output[written] = UInt8(truncatingIfNeeded: bits >> 10)
            output[written + 1] = UInt8(truncatingIfNeeded: bits >> 2)
            return written + 2
        default: return nil
        }
    }

    private static func digit(_ character: UInt8) -> UInt8? {
        switch character {
        case 0x30...0x39: character - 0x30
        case 0x41...0x46: character - 0x37
        case 0x61...0x66: character - 0x57
        default: nil
        }
    }
}
