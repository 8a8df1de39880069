// Parameters that several tasks share, read into the authority's types.

import Authority
import PKI
import RevocationFormats
import UPKIProtocol

extension Parameters {
    /// `dn` in any notation, or `serial`; where both are there the serial picks one.
    func selector() throws -> Selector {
        if let serial = try self.serial() { return .serial(serial) }
        let text = try self.string("dn")
        switch DistinguishedName.query(text) {
        case .name(let name)?: return .name(name)
        case .commonName(let name)?: return .commonName(name)
        case nil: throw Parameters.wrong("dn", "is a distinguished name such as /C=FR/O=Org/CN=name")
        }
    }

    /// `serial` as decimal, `0x` hexadecimal or hexadecimal with colons; a JSON number is read by its digits.
    func serial(_ name: String = "serial") throws -> SerialNumber? {
        guard let value = self[name] else { return nil }
        let text: String
        switch value {
        case .string(let digits): text = digits
        case .number(let digits): text = digits
        default: throw Self.wrong(name, "is a serial number")
        }
        if text.isEmpty { return nil }
        guard let serial = SerialNumber(text: text) else {
            throw Self.wrong(name, "is a serial number in decimal, 0x hexadecimal or colon hexadecimal")
        }
        return serial
    }

    /// `sans`: objects with `type` and `value`, or texts whose kind is found by looking.
    func names() throws -> [AlternativeName] {
        try self.list("sans", atMost: 1_000).map { element in
            switch element {
            case .string(let text):
                guard !text.isEmpty else { throw Self.wrong("sans", "has an empty name") }
                return AlternativeName(looking: text)
            case .object:
                guard let kind = element["type"]?.stringValue, let value = element["value"]?.stringValue else {
                    throw Self.wrong("sans", "is a list of texts or of objects with type and value")
                }
                guard let name = AlternativeName(kind: kind, value: value) else {
                    throw Self.wrong("sans", "knows the types DNS, IP, EMAIL and URI; '\(kind)' with '\(value)' is none of them")
                }
                return name
            default: throw Self.wrong("sans", "is a list of texts or of objects with type and value")
            }
        }
    }

    /// `duration` in days; nil for the profile's.
    func days() throws -> Int? { try self.optionalInteger("duration", in: 1...36_500).map { Int($0) } }

    /// `reason` as a name or code of RFC 5280 5.3.1, number or text.
    func reason() throws -> CRLReason {
        switch self["reason"] {
        case nil: return .unspecified
        case .number(let digits)?: return try Authority.reason(name: digits)
        case .string(let text)?: return text.isEmpty ? .unspecified : try Authority.reason(name: text)
        default: throw Self.wrong("reason", "is a name or code of RFC 5280 5.3.1")
        }
    }

    /// `profile`, or the one that goes without saying.
    func profileName(else fallback: String = "server") throws -> String { try self.optionalString("profile") ?? fallback }
}
