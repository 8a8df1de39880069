// Attribute types of distinguished names: object identifiers and the short names that RFC 4514 and OpenSSL give them.

public import SwiftASN1

/// The type of an attribute in a distinguished name.
public struct AttributeType: Hashable, Sendable {
    public let oid: ASN1ObjectIdentifier

    public init(oid: ASN1ObjectIdentifier) { self.oid = oid }

    public static let commonName = AttributeType(oid: [2, 5, 4, 3])
    public static let surname = AttributeType(oid: [2, 5, 4, 4])
    public static let serialNumber = AttributeType(oid: [2, 5, 4, 5])
    public static let country = AttributeType(oid: [2, 5, 4, 6])
    public static let locality = AttributeType(oid: [2, 5, 4, 7])
    public static let stateOrProvince = AttributeType(oid: [2, 5, 4, 8])
    public static let street = AttributeType(oid: [2, 5, 4, 9])
    public static let organization = AttributeType(oid: [2, 5, 4, 10])
    public static let organizationalUnit = AttributeType(oid: [2, 5, 4, 11])
    public static let title = AttributeType(oid: [2, 5, 4, 12])
    public static let givenName = AttributeType(oid: [2, 5, 4, 42])
    public static let initials = AttributeType(oid: [2, 5, 4, 43])
    public static let distinguishedNameQualifier = AttributeType(oid: [2, 5, 4, 46])
    public static let pseudonym = AttributeType(oid: [2, 5, 4, 65])
    public static let userID = AttributeType(oid: [0, 9, 2342, 19_200_300, 100, 1, 1])
    public static let domainComponent = AttributeType(oid: [0, 9, 2342, 19_200_300, 100, 1, 25])
    public static let emailAddress = AttributeType(oid: [1, 2, 840, 113_549, 1, 9, 1])

    private static let names: [(AttributeType, [String])] = [
        (.commonName, ["CN", "commonName"]), (.surname, ["SN", "surname"]), (.serialNumber, ["serialNumber"]),
        (.country, ["C", "countryName"]), (.locality, ["L", "localityName"]), (.stateOrProvince, ["ST", "S", "stateOrProvinceName"]),
        (.street, ["street", "streetAddress"]), (.organization, ["O", "organizationName"]),
        (.organizationalUnit, ["OU", "organizationalUnitName"]), (.title, ["title"]), (.givenName, ["GN", "givenName"]),
        (.initials, ["initials"]), (.distinguishedNameQualifier, ["dnQualifier"]), (.pseudonym, ["pseudonym"]),
        (.userID, ["UID", "userId"]), (.domainComponent, ["DC", "domainComponent"]), (.emailAddress, ["emailAddress", "E", "email"]),
    ]
    private static let byName: [String: AttributeType] = {
        var table: [String: AttributeType] = [:]
        for (type, names) in Self.names { for name in names { table[name.lowercased()] = type } }
        return table
    }()
    private static let shortNames: [AttributeType: String] = {
        var table: [AttributeType: String] = [:]
        for (type, names) in Self.names { table[type] = names[0] }
        return table
    }()

    /// Reads a short name in any case (`CN`, `emailAddress`) or a dotted object identifier, with or without `OID.` before it.
    public init?(name: String) {
        if let known = Self.byName[name.lowercased()] {
            self = known
            return
        }
        var digits = Substring(name)
        if digits.lowercased().hasPrefix("oid.") { digits = digits.dropFirst(4) }
        let parts = digits.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count >= 3, parts.count <= 32 else { return nil }
        var numbers: [UInt] = []
        for part in parts {
            guard part.utf8.count <= 10, part.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let number = UInt(part) else { return nil }
            numbers.append(number)
        }
        guard numbers[0] <= 2, numbers[0] == 2 || numbers[1] < 40, let oid = try? ASN1ObjectIdentifier(elements: numbers) else {
            return nil
        }
        self.init(oid: oid)
    }

    /// The dotted object identifier.
    public var dotted: String {
        var numbers = self.oid.oidComponents
        // X.690 8.19.4: from 80 on the first octets mean the arc 2, whose second number has no bound; swift-asn1 takes them for 3 and more.
        if numbers.count >= 2, numbers[0] > 2 { numbers.replaceSubrange(0...1, with: [2, (numbers[0] - 2) * 40 + numbers[1]]) }
        return numbers.map { String($0) }.joined(separator: ".")
    }

    /// The usual short name, or the dotted object identifier where there is none.
    public var shortName: String { Self.shortNames[self] ?? self.dotted }
}
