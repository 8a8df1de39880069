// Distinguished names as decoded attributes: read from and written to both notations, compared by value and never as text.

import SwiftASN1
public import X509

/// A distinguished name (RFC 5280 4.1.2.4): relative distinguished names in the certificate's order.
///
/// Equality follows RFC 5280 7.1 in spirit: values are compared without regard to case and surplus spaces, and a name equals
/// the same name written in the reverse order, since RFC 4514 text is reversed and clients send both.
public struct DistinguishedName: Sendable {
    /// One attribute type and value of a relative distinguished name.
    public struct Attribute: Sendable {
        public var type: AttributeType
        public var value: String

        public init(_ type: AttributeType, _ value: String) {
            self.type = type
            self.value = value
        }
    }

    /// The relative distinguished names, most significant first; each has at least one attribute.
    public let relativeNames: [[Attribute]]

    public init(relativeNames: [[Attribute]]) {
        self.relativeNames = relativeNames
    }

    /// What equality, hashing and look-ups use; the same for a name and its reverse. Computed at each call.
    public var comparisonKey: [UInt8] { Self.makeComparisonKey(self.relativeNames) }

    /// A name of single-valued parts, for example `[.organization: "Org", .commonName: "name"]` in that order.
    public init(_ attributes: [Attribute]) {
        self.init(relativeNames: attributes.map { [$0] })
    }

    /// Whether the name has no attribute at all.
    public var isEmpty: Bool { self.relativeNames.isEmpty }

    /// The last common name (2.5.4.3) in the certificate's order, which is the most specific one.
    public var commonName: String? {
        for attributes in self.relativeNames.reversed() {
            for attribute in attributes where attribute.type == .commonName { return attribute.value }
        }
        return nil
    }

    /// This name with further parts at its end.
    public func appending(_ attributes: [Attribute]) -> DistinguishedName {
        DistinguishedName(relativeNames: self.relativeNames + attributes.map { [$0] })
    }

    /// Whether the name is nothing but one common name: such a query means every name with that CN.
    public var isCommonNameOnly: Bool {
        self.relativeNames.count == 1 && self.relativeNames[0].count == 1 && self.relativeNames[0][0].type == .commonName
    }

    private static func makeComparisonKey(_ names: [[Attribute]]) -> [UInt8] {
        let parts = names.map { attributes -> [UInt8] in
            let encoded = attributes.map { attribute -> [UInt8] in
                let type = Array(attribute.type.dotted.utf8)
                let value = Array(Self.normalised(attribute.value).utf8)
                return self.length(type.count) + type + self.length(value.count) + value
            }
            return self.length(attributes.count) + encoded.sorted { $0.lexicographicallyPrecedes($1) }.joined()
        }
        let forward = Array(parts.joined())
        guard parts.count > 1 else { return forward }
        let backward = Array(parts.reversed().joined())
        return backward.lexicographicallyPrecedes(forward) ? backward : forward
    }

    private static func length(_ count: Int) -> [UInt8] {
        (0..<4).map { UInt8(truncatingIfNeeded: count >> (24 - 8 * $0)) }
    }

    /// Lower case with runs of spaces folded into one and none at the ends (RFC 4518 2.6.1, as far as names here need it).
    package static func normalised(_ value: String) -> String {
        value.utf8.contains { $0 == 0x20 || $0 >= 0x80 || (0x41...0x5a).contains($0) }
            ? value.lowercased().split(separator: " ").joined(separator: " ") : value
    }
}

extension DistinguishedName: Hashable {
    public static func == (left: DistinguishedName, right: DistinguishedName) -> Bool {
        // Keys are costly, and most names differ in how many parts they have.
        left.relativeNames.count == right.relativeNames.count && left.comparisonKey == right.comparisonKey
    }
    public func hash(into hasher: inout Hasher) { hasher.combine(self.comparisonKey) }
}

// MARK: - X.509

extension DistinguishedName {
    /// The decoded attributes of a certificate's or CSR's name; a value that is no string becomes `#` and its DER in hexadecimal.
    public init(_ name: X509.DistinguishedName) {
        self.init(
            relativeNames: name.map { relativeName in
                relativeName.map { attribute in
                    let type = AttributeType(oid: attribute.type)
                    if let value = String(attribute.value) { return Attribute(type, value) }
                    var serializer = DER.Serializer()
                    // A value that came from DER goes back into DER; where it cannot, it stays empty and matches nothing.
                    let hex = (try? serializer.serialize(ASN1Any(attribute.value))).map { Hexadecimal.encode(serializer.serializedBytes) }
                    return Attribute(type, "#" + (hex ?? ""))
                }
            })
    }

    /// The decoded attributes of the DER of a Name.
    ///
    /// - Throws: `ASN1Error` where it is none.
    public init(encoded der: [UInt8]) throws {
        let node = try DER.parse(der)
        self.init(try X509.DistinguishedName(derEncoded: node))
    }

    /// The name as swift-certificates wants it: UTF8String, but PrintableString or IA5String where RFC 5280 appendix A asks for it.
    ///
    /// - Throws: when a value of a restricted attribute (C, DC, emailAddress, serialNumber) has characters its type cannot hold.
    public func x509() throws -> X509.DistinguishedName {
        X509.DistinguishedName(
            try self.relativeNames.map { attributes in
                RelativeDistinguishedName(try attributes.map { try $0.x509() })
            })
    }
}

extension DistinguishedName.Attribute {
    fileprivate func x509() throws -> RelativeDistinguishedName.Attribute {
        switch self.type {
        case .country, .serialNumber, .distinguishedNameQualifier:
            try RelativeDistinguishedName.Attribute(type: self.type.oid, printableString: self.value)
        case .domainComponent, .emailAddress:
            try RelativeDistinguishedName.Attribute(type: self.type.oid, ia5String: self.value)
        default:
            RelativeDistinguishedName.Attribute(type: self.type.oid, utf8String: self.value)
        }
    }
}

// MARK: - Text

extension DistinguishedName {
    /// What a client may have meant by the text of a `dn` parameter.
    public enum Query: Sendable, Equatable {
        case name(DistinguishedName)
        case commonName(String)
    }

    /// Reads `/C=FR/O=Org/CN=name`, RFC 4514 (`CN=name,O=Org,C=FR`, in either order), or a bare common name.
    ///
    /// Returns nil for empty text and for text in one of the notations that breaks its rules.
    public static func query(_ text: String) -> Query? {
        guard let name = self.parse(text) else {
            let looksLikeName = text.hasPrefix("/") || text.utf8.contains(UInt8(ascii: "="))
            return text.isEmpty || looksLikeName ? nil : .commonName(text)
        }
        if name.isCommonNameOnly, let commonName = name.commonName { return .commonName(commonName) }
        return .name(name)
    }

    /// Reads a whole name in either notation; nil where the text is in neither.
    public static func parse(_ text: String) -> DistinguishedName? {
        guard text.utf8.count <= 8_192 else { return nil }
        let bytes = Array(text.utf8)
        return bytes.first == UInt8(ascii: "/") ? self.parseSlashes(bytes) : self.parseRFC4514(bytes)
    }

    /// `/C=FR/O=Org/CN=name` in the certificate's order; `\` stands before a slash, plus sign or backslash in a value.
    public var slashNotation: String {
        var text: [UInt8] = []
        for attributes in self.relativeNames {
            for (index, attribute) in attributes.enumerated() {
                text.append(UInt8(ascii: index == 0 ? "/" : "+"))
                text += attribute.type.shortName.utf8
                text.append(UInt8(ascii: "="))
                for byte in attribute.value.utf8 {
                    if byte == UInt8(ascii: "/") || byte == UInt8(ascii: "\\") || byte == UInt8(ascii: "+") {
                        text.append(UInt8(ascii: "\\"))
                    }
                    text.append(byte)
                }
            }
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// RFC 4514 text: reversed order, commas, specials escaped (section 2.4).
    public var rfc4514: String {
        self.relativeNames.reversed().map { attributes in
            attributes.map { attribute in
                var text = attribute.type.shortName + "="
                let scalars = Array(attribute.value.unicodeScalars)
                for (index, scalar) in scalars.enumerated() {
                    let leading = index == 0 && (scalar == " " || scalar == "#")
                    let trailing = index == scalars.count - 1 && scalar == " "
                    if leading || trailing || ",+\"\\<>;".unicodeScalars.contains(scalar) { text += "\\" }
                    text.unicodeScalars.append(scalar)
                }
                return text
            }.joined(separator: "+")
        }.joined(separator: ",")
    }

    private static func parseSlashes(_ bytes: [UInt8]) -> DistinguishedName? {
        var names: [[Attribute]] = []
        var index = 0
        while index < bytes.count {
            let opener = bytes[index]
            index += 1
            guard let equals = bytes[index...].firstIndex(of: UInt8(ascii: "=")),
                let type = AttributeType(name: String(decoding: bytes[index..<equals], as: UTF8.self))
            else { return nil }
            var value: [UInt8] = []
            index = equals + 1
            scan: while index < bytes.count {
                switch bytes[index] {
                case UInt8(ascii: "\\"):
                    guard index + 1 < bytes.count else { return nil }
                    value.append(bytes[index + 1])
                    index += 2
                case UInt8(ascii: "/"):
                    // A slash that no attribute type follows belongs to the value: deployed clients do not escape.
                    if self.attributeStarts(bytes, at: index + 1) { break scan }
                    value.append(bytes[index])
                    index += 1
                case UInt8(ascii: "+"):
                    // A plus sign joins attributes only where an attribute type follows; `user+tag` stays a value.
                    if self.attributeStarts(bytes, at: index + 1) { break scan }
                    value.append(bytes[index])
                    index += 1
                default:
                    value.append(bytes[index])
                    index += 1
                }
            }
            guard let text = String(validating: value, as: UTF8.self), !text.isEmpty else { return nil }
            if opener == UInt8(ascii: "+"), !names.isEmpty {
                names[names.count - 1].append(Attribute(type, text))
            } else {
                names.append([Attribute(type, text)])
            }
        }
        return names.isEmpty ? nil : DistinguishedName(relativeNames: names)
    }

    /// Whether a known attribute type and an equals sign stand at `index`; RFC 2253 text may have spaces around the type.
    private static func attributeStarts(_ bytes: [UInt8], at index: Int, spaced: Bool = false) -> Bool {
        guard let equals = bytes[index...].prefix(64).firstIndex(of: UInt8(ascii: "=")) else { return false }
        let type = spaced ? self.trimmed(bytes[index..<equals]) : bytes[index..<equals]
        return AttributeType(name: String(decoding: type, as: UTF8.self)) != nil
    }

    private static func parseRFC4514(_ bytes: [UInt8]) -> DistinguishedName? {
        var names: [[Attribute]] = []
        var joinsPrevious = false
        var index = 0
        while true {
            guard index < bytes.count, let equals = bytes[index...].firstIndex(of: UInt8(ascii: "=")),
                let type = AttributeType(name: String(decoding: self.trimmed(bytes[index..<equals]), as: UTF8.self))
            else { return nil }
            index = equals + 1
            guard let value = self.value4514(bytes, &index) else { return nil }
            if joinsPrevious, !names.isEmpty {
                names[names.count - 1].append(Attribute(type, value))
            } else {
                names.append([Attribute(type, value)])
            }
            guard index < bytes.count else { break }
            joinsPrevious = bytes[index] == UInt8(ascii: "+")
            index += 1
        }
        // The text is reversed; equality takes either order, so this only decides how the name is printed.
        return DistinguishedName(relativeNames: names.reversed())
    }

    /// One attribute value of RFC 4514 2.4, or a quoted string of RFC 2253; leaves `index` at the separator after it.
    private static func value4514(_ bytes: [UInt8], _ index: inout Int) -> String? {
        while index < bytes.count, bytes[index] == 0x20 { index += 1 }
        var value: [UInt8] = []
        var kept = 0
        let quoted = index < bytes.count && bytes[index] == UInt8(ascii: "\"")
        if quoted { index += 1 }
        scan: while index < bytes.count {
            let byte = bytes[index]
            switch byte {
            case UInt8(ascii: "\\"):
                guard index + 1 < bytes.count else { return nil }
                if index + 2 < bytes.count, let octet = Hexadecimal.decode(String(decoding: bytes[index + 1...index + 2], as: UTF8.self)) {
                    value += octet
                    index += 3
                } else {
                    value.append(bytes[index + 1])
                    index += 2
                }
                kept = value.count
            case UInt8(ascii: "\"") where quoted:
                index += 1
                while index < bytes.count, bytes[index] == 0x20 { index += 1 }
                let separators = [UInt8(ascii: ","), UInt8(ascii: ";"), UInt8(ascii: "+")]
                guard index == bytes.count || separators.contains(bytes[index]) else { return nil }
                guard let text = String(validating: value, as: UTF8.self), !text.isEmpty else { return nil }
                return text
            case UInt8(ascii: ","), UInt8(ascii: ";"), UInt8(ascii: "+"):
                if quoted {
                    value.append(byte)
                    index += 1
                } else if byte == UInt8(ascii: "+"), !self.attributeStarts(bytes, at: index + 1, spaced: true) {
                    value.append(byte)
                    index += 1
                    kept = value.count
                } else {
                    break scan
                }
            default:
                value.append(byte)
                index += 1
                if byte != 0x20 { kept = value.count }
            }
        }
        guard !quoted, let text = String(validating: value.prefix(kept), as: UTF8.self), !text.isEmpty else { return nil }
        return text
    }

    private static func trimmed(_ bytes: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        var slice = bytes.drop { $0 == 0x20 }
        while slice.last == 0x20 { slice.removeLast() }
        return slice
    }
}

extension DistinguishedName: CustomStringConvertible {
    public var description: String { self.slashNotation }
}
