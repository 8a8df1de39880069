// Subject alternative names (RFC 5280 4.2.1.6): the four kinds this CA certifies, how they are recognised and what makes them valid.

import SwiftASN1
public import X509

/// A subject alternative name of one of the four kinds that this CA certifies.
public enum AlternativeName: Hashable, Sendable {
    /// A host name, lower case, possibly with `*` as its whole first label.
    case dns(String)
    /// An IPv4 or IPv6 address: 4 or 16 octets.
    case ip([UInt8])
    /// An e-mail address.
    case email(String)
    /// A uniform resource identifier.
    case uri(String)

    /// Reads plain text, whose kind is found by looking: an IP address, an e-mail address, a URI, else a host name.
    public init(looking text: String) {
        if let octets = IPAddress.octets(text) {
            self = .ip(octets)
        } else if text.utf8.contains(UInt8(ascii: ":")), text.contains("://") || text.lowercased().hasPrefix("urn:") {
            self = .uri(text)
        } else if text.utf8.contains(UInt8(ascii: "@")) {
            self = .email(text)
        } else {
            self = .dns(HostName.folded(text))
        }
    }

    /// Reads a value whose kind is named: `DNS`, `IP`, `EMAIL` or `URI` in any case; nil for another kind or an address that is none.
    public init?(kind: String, value: String) {
        switch kind.uppercased() {
        case "DNS": self = .dns(HostName.folded(value))
        case "IP", "IPADDRESS":
            guard let octets = IPAddress.octets(value) else { return nil }
            self = .ip(octets)
        case "EMAIL", "RFC822", "RFC822NAME": self = .email(value)
        case "URI", "URL": self = .uri(value)
        default: return nil
        }
    }

    /// The name of a CSR or certificate; nil for a kind that this CA does not certify.
    public init?(_ name: GeneralName) {
        switch name {
        case .dnsName(let value): self = .dns(HostName.folded(value))
        case .ipAddress(let octets): self = .ip(Array(octets.bytes))
        case .rfc822Name(let value): self = .email(value)
        case .uniformResourceIdentifier(let value): self = .uri(value)
        default: return nil
        }
    }

    /// The name as it goes into a certificate.
    public var generalName: GeneralName {
        switch self {
        case .dns(let value): .dnsName(value)
        case .ip(let octets): .ipAddress(ASN1OctetString(contentBytes: octets[...]))
        case .email(let value): .rfc822Name(value)
        case .uri(let value): .uniformResourceIdentifier(value)
        }
    }

    /// The kind as the protocol writes it.
    public var kind: String {
        switch self {
        case .dns: "DNS"
        case .ip: "IP"
        case .email: "EMAIL"
        case .uri: "URI"
        }
    }

    /// The value as text; addresses in their usual notation.
    public var value: String {
        switch self {
        case .dns(let value), .email(let value), .uri(let value): value
        case .ip(let octets): IPAddress.text(octets)
        }
    }

    /// What is wrong with this name, in words for the person who asked for it; nil where it may be certified.
    public var fault: String? {
        switch self {
        case .dns(let name): HostName.fault(name, allowsWildcard: true)
        case .ip(let octets): octets.count == 4 || octets.count == 16 ? nil : "an IP address has 4 or 16 octets"
        case .email(let address): Self.emailFault(address)
        case .uri(let text): Self.uriFault(text)
        }
    }

    private static func emailFault(_ address: String) -> String? {
        let parts = address.split(separator: "@", omittingEmptySubsequences: false)
        let allowed = Set("!#$%&'*+-/=?^_`{|}~.abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789".utf8)
        guard parts.count == 2, (1...64).contains(parts[0].utf8.count), parts[0].utf8.allSatisfy({ allowed.contains($0) }),
            !parts[0].hasPrefix("."), !parts[0].hasSuffix("."), !parts[0].contains("..")
        else { return "an e-mail address is local-part@host in ASCII (RFC 5280 4.2.1.6)" }
        return HostName.fault(HostName.folded(String(parts[1])), allowsWildcard: false)
    }

    private static func uriFault(_ text: String) -> String? {
        let bytes = Array(text.utf8)
        guard bytes.count <= 2_048, bytes.allSatisfy({ $0 > 0x20 && $0 < 0x7f && !"\"<>\\^`{|}".utf8.contains($0) }),
            let colon = bytes.firstIndex(of: UInt8(ascii: ":")), colon > 0, colon + 1 < bytes.count
        else { return "a URI is scheme:rest in ASCII without spaces (RFC 3986)" }
        let first = bytes[0] | 0x20
        let rest = bytes[1..<colon]
        guard (0x61...0x7a).contains(first),
            rest.allSatisfy({ (0x61...0x7a).contains($0 | 0x20) || (0x30...0x39).contains($0) || "+-.".utf8.contains($0) })
        else { return "a URI begins with a scheme such as https: or urn:" }
        return nil
    }
}

/// Host names as RFC 1123 section 2.1 allows them.
public enum HostName {
    /// What is wrong with a lower-case host name; nil where nothing is.
    ///
    /// - Parameter allowsWildcard: whether `*` may be the whole first label, before at least one more.
    public static func fault(_ name: String, allowsWildcard: Bool) -> String? {
        let bytes = Array(name.utf8)
        guard !bytes.isEmpty else { return "a host name may not be empty" }
        guard bytes.count <= 253 else { return "a host name has at most 253 characters" }
        let labels = bytes.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        for (index, label) in labels.enumerated() {
            if label.elementsEqual("*".utf8), index == 0, allowsWildcard, labels.count > 1 { continue }
            guard !label.isEmpty else { return "a host name has no empty label and no dot at its end" }
            guard label.count <= 63 else { return "a label of a host name has at most 63 characters" }
            if label.contains(UInt8(ascii: "*")) { return "a wildcard may only be the whole first label" }
            guard label.allSatisfy({ (0x61...0x7a).contains($0) || (0x30...0x39).contains($0) || $0 == UInt8(ascii: "-") }) else {
                return "a host name has only letters, digits and hyphens (RFC 1123)"
            }
            guard label.first != UInt8(ascii: "-"), label.last != UInt8(ascii: "-") else {
                return "a label of a host name neither begins nor ends with a hyphen"
            }
        }
        if let last = labels.last, last.allSatisfy({ (0x30...0x39).contains($0) }) {
            return "the last label of a host name is not a number (RFC 1123 2.1)"
        }
        return nil
    }

    /// Whether the text could be meant as a host name, so that a CN of this form belongs among the SANs.
    public static func isHostName(_ text: String) -> Bool { self.fault(self.folded(text), allowsWildcard: true) == nil }

    /// Lower case for A to Z alone: Unicode's rules would turn other letters (the Kelvin sign) into ASCII ones.
    public static func folded(_ text: String) -> String {
        String(decoding: text.utf8.map { (0x41...0x5a).contains($0) ? $0 + 0x20 : $0 }, as: UTF8.self)
    }
}

/// IPv4 and IPv6 addresses between text and octets.
public enum IPAddress {
    /// 4 or 16 octets of an address in its usual notation; nil for anything else, zone indices included.
    public static func octets(_ text: String) -> [UInt8]? {
        text.utf8.contains(UInt8(ascii: ":")) ? self.octets6(Substring(text)) : self.octets4(Substring(text))
    }

    private static func octets4(_ text: Substring) -> [UInt8]? {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        var octets: [UInt8] = []
        for part in parts {
            guard (1...3).contains(part.utf8.count), part.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
                part.utf8.count == 1 || part.first != "0",
                let octet = UInt8(part)
            else { return nil }
            octets.append(octet)
        }
        return octets
    }

    private static func octets6(_ text: Substring) -> [UInt8]? {
        let halves = text.utf8.count <= 45 ? self.splitAtDoubleColon(text) : nil
        guard let (head, tail) = halves else { return nil }
        guard let left = self.groups(head, mayEndInIPv4: tail == nil) else { return nil }
        guard let tail else { return left.count == 16 ? left : nil }
        guard let right = self.groups(tail, mayEndInIPv4: true), left.count + right.count <= 14 else { return nil }
        return left + [UInt8](repeating: 0, count: 16 - left.count - right.count) + right
    }

    private static func splitAtDoubleColon(_ text: Substring) -> (Substring, Substring?)? {
        let bytes = Array(text.utf8)
        var found: Int?
        for index in bytes.indices.dropLast() where bytes[index] == UInt8(ascii: ":") && bytes[index + 1] == UInt8(ascii: ":") {
            guard found == nil else { return nil }
            found = index
        }
        guard let found else { return (text, nil) }
        let head = text.utf8.prefix(found)
        let tail = text.utf8.dropFirst(found + 2)
        return (Substring(head), Substring(tail))
    }

    private static func groups(_ text: Substring, mayEndInIPv4: Bool) -> [UInt8]? {
        guard !text.isEmpty else { return [] }
        var octets: [UInt8] = []
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        for (index, part) in parts.enumerated() {
            if part.contains(".") {
                guard mayEndInIPv4, index == parts.count - 1, let four = self.octets4(part) else { return nil }
                octets += four
            } else {
                guard (1...4).contains(part.utf8.count), let group = UInt16(part, radix: 16), !part.hasPrefix("+"), !part.hasPrefix("-")
                else { return nil }
                octets += [UInt8(group >> 8), UInt8(group & 0xff)]
            }
        }
        return octets.count <= 16 ? octets : nil
    }

    /// The usual notation: dotted quads, or RFC 5952 with the longest run of zero groups as `::`.
    public static func text(_ octets: [UInt8]) -> String {
        guard octets.count == 16 else { return octets.map { String($0) }.joined(separator: ".") }
        let groups = (0..<8).map { UInt16(octets[2 * $0]) << 8 | UInt16(octets[2 * $0 + 1]) }
        var best = 0..<0
        var start = 0
        while start < 8 {
            var end = start
            while end < 8, groups[end] == 0 { end += 1 }
            if end - start > best.count, end - start > 1 { best = start..<end }
            start = max(end, start + 1)
        }
        func hex(_ range: Range<Int>) -> String { groups[range].map { String($0, radix: 16) }.joined(separator: ":") }
        return best.isEmpty ? hex(0..<8) : hex(0..<best.lowerBound) + "::" + hex(best.upperBound..<8)
    }

    /// Whether the address is a loopback address (127.0.0.0/8 or ::1).
    public static func isLoopback(_ text: String) -> Bool {
        guard let octets = self.octets(text) else { return false }
        return octets.count == 4 ? octets[0] == 127 : octets.dropLast().allSatisfy { $0 == 0 } && octets[15] == 1
    }
}
