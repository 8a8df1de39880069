// Certificate profiles as YAML files and as trees: one set of checks for files and for the tasks that add a profile.

public import PKI

/// Reads and writes certificate profiles.
public enum ProfileFile {
    /// Days that a profile may give at most: a hundred years.
    private static let longestDays = 36_500

    // MARK: Reading

    /// Reads a profile from YAML.
    ///
    /// - Parameters:
    ///   - bytes: UTF-8 of at most `YAMLText.sizeLimit` bytes.
    ///   - file: what messages call the file.
    ///   - name: the profile's name; without it the file's last component up to its `.yml` or `.yaml`.
    /// - Throws: everything that is wrong with the file, with line and what is allowed.
    public static func parse(_ bytes: [UInt8], file: String, name: String? = nil) throws(SettingsError) -> CertificateProfile {
        let problems = ProblemList(source: file)
        let tree = try YAMLText.parse(bytes, problems: problems)
        return try self.profile(tree, name: name ?? self.name(ofFile: file), problems: problems)
    }

    /// Reads a profile from YAML text; see `parse(_:file:name:)` for bytes.
    public static func parse(_ text: String, file: String, name: String? = nil) throws(SettingsError) -> CertificateProfile {
        try self.parse(Array(text.utf8), file: file, name: name)
    }

    /// Reads a profile from a tree, such as the parameters of a task.
    ///
    /// - Throws: everything that is wrong, without file and line.
    public static func read(_ tree: SettingValue, name: String) throws(SettingsError) -> CertificateProfile {
        try self.profile(Setting(tree), name: name, problems: ProblemList(source: nil))
    }

    /// Checks a name for a profile of its own.
    ///
    /// - Throws: when the text can name no profile, is an alias of one, or is reserved.
    public static func checkName(_ name: String) throws(SettingsError) {
        if let problem = self.nameProblem(name) { throw SettingsError(.invalid, source: nil, problem) }
    }

    private static func nameProblem(_ name: String) -> String? {
        guard CertificateProfile.isValidName(name) else {
            return "the profile's name is \(shown(.string(name))); 1 to 64 of a-z, 0-9, '.', '_' and '-' are allowed, "
                + "beginning with a letter or a digit"
        }
        if CertificateProfile.reservedNames.contains(name) {
            return
                "the name \(name) is taken: certificates of the CA's own OCSP responder are issued by fixed rules; give the profile another name"
        }
        return CertificateProfile.aliases[name].map { "the name \(name) is taken: it is an alias of the profile \($0)" }
    }

    private static func name(ofFile file: String) -> String {
        let last = file.split(separator: "/").last.map(String.init) ?? ""
        for ending in [".yml", ".yaml"] where last.hasSuffix(ending) { return String(last.dropLast(ending.count)) }
        return last
    }

    private static func profile(_ tree: Setting, name: String, problems: ProblemList) throws(SettingsError) -> CertificateProfile {
        if let problem = self.nameProblem(name) { problems.add(nil, problem) }
        // An absent file and an empty one must not mean a profile with all defaults.
        if tree.value == .null { problems.add(1, "the profile is empty; a map of keys and values is allowed") }
        guard var map = SettingMap(tree, path: "", problems: problems) else {
            try problems.throwIfAny()
            throw SettingsError(.invalid, source: problems.source, "not a profile")
        }
        var profile = CertificateProfile(name: name, duration: 365)
        profile.keyType = self.keyType(&map) ?? profile.keyType
        self.readDurations(&map, into: &profile, problems: problems)
        profile.digest = self.digest(&map) ?? profile.digest
        profile.altnames = map.takeBool("altnames") ?? profile.altnames
        profile.domain = map.takeString("domain", allowed: "a domain such as example.com") { $0.isEmpty || isHostName($0) }
        if profile.domain?.isEmpty ?? false { profile.domain = nil }
        profile.subject = self.subject(&map, problems: problems)
        self.readUsage(&map, into: &profile, problems: problems)
        profile.certType = map.takeChoice("certType", CertificateProfile.CertificateType.self) ?? profile.certType
        self.readLimits(&map, into: &profile, problems: problems)
        map.finish()
        try problems.throwIfAny()
        return profile
    }

    private static func keyType(_ map: inout SettingMap) -> SubjectKeyType? {
        let allowed =
            "ec (keyLen 256, 384 or 521), ed25519, rsa (keyLen 2048, 3072 or 4096), "
            + alternatives(SubjectKeyType.allCases.filter { $0 != .ed25519 }.map(\.rawValue)) + " is allowed"
        let type = map.take("keyType")
        let length = map.take("keyLen")
        guard let type else {
            if let length { map.refuse("keyLen", length, "it needs a keyType, \(allowed)") }
            return nil
        }
        guard case .string(let written) = type.value else {
            map.refuse("keyType", type, allowed)
            return nil
        }
        let text = asciiLowercased(written)
        let sizes: [Int: SubjectKeyType]
        let usual: Int?
        switch text {
        case "rsa": (sizes, usual) = ([2048: .rsa2048, 3072: .rsa3072, 4096: .rsa4096], 4096)
        case "ec": (sizes, usual) = ([256: .ecP256, 384: .ecP384, 521: .ecP521], 256)
        default:
            guard let full = SubjectKeyType(rawValue: text) else {
                map.refuse("keyType", type, allowed)
                return nil
            }
            let size = full == .ed25519 ? nil : Int(text.drop(while: { $0 != "-" }).filter(\.isNumber))
            (sizes, usual) = (size.map { [$0: full] } ?? [:], size)
            if sizes.isEmpty {
                // The reference writes a keyLen beside every keyType; beside ed25519 its only size says nothing wrong.
                if let length, length.value != .int(256) { map.refuse("keyLen", length, "ed25519 has no length to choose; leave it out") }
                return full
            }
        }
        guard let length else { return usual.flatMap { sizes[$0] } }
        guard case .int(let number) = length.value, let found = sizes[number] else {
            map.refuse("keyLen", length, "for keyType \(text) \(alternatives(sizes.keys.sorted().map(String.init))) is allowed")
            return nil
        }
        return found
    }

    private static func readDurations(_ map: inout SettingMap, into profile: inout CertificateProfile, problems: ProblemList) {
        profile.duration = map.takeInt("duration", 1...self.longestDays, of: "a number of days") ?? profile.duration
        profile.maxDuration = map.takeInt("maxDuration", 1...self.longestDays, of: "a number of days")
        if let longest = profile.maxDuration, longest < profile.duration {
            problems.add(
                map.line("maxDuration"),
                "maxDuration is \(longest); at least the duration of \(profile.duration) days is allowed"
            )
        }
    }

    private static func digest(_ map: inout SettingMap) -> SignatureDigest? {
        guard let setting = map.take("digest") else { return nil }
        guard case .string(let text) = setting.value, let digest = SignatureDigest(rawValue: asciiLowercased(text)) else {
            map.refuse("digest", setting, "sha256, sha384 or sha512 is allowed")
            return nil
        }
        return digest
    }

    // MARK: Subject

    private static func subject(_ map: inout SettingMap, problems: ProblemList) -> [CertificateProfile.SubjectAttribute] {
        guard let setting = map.take("subject") else { return [] }
        switch setting.value {
        case .map: return self.attributes(of: setting, problems: problems)
        case .list(let items):
            // A type that stands at two places cannot be a map.
            return items.flatMap { item in
                guard case .map = item.value else {
                    problems.add(
                        item.line ?? setting.line, "an entry of subject is \(shown(item.value)); a map such as O: Example is allowed")
                    return [CertificateProfile.SubjectAttribute]()
                }
                return self.attributes(of: item, problems: problems)
            }
        default:
            map.refuse("subject", setting, "a map such as {C: FR, O: Example} is allowed, or a list of such maps")
            return []
        }
    }

    private static func attributes(of setting: Setting, problems: ProblemList) -> [CertificateProfile.SubjectAttribute] {
        guard case .map(let entries) = setting.value,
            let types = SettingMap(setting, path: "subject", problems: problems)
        else { return [] }
        var attributes: [CertificateProfile.SubjectAttribute] = []
        for entry in entries {
            guard let type = CertificateProfile.SubjectAttribute.Kind(rawValue: entry.key) else {
                let known = alternatives(CertificateProfile.SubjectAttribute.Kind.allCases.map(\.rawValue))
                problems.add(entry.line, "unknown key \(types.path(printable(entry.key))); \(known) is allowed")
                continue
            }
            let values: [Setting]
            if case .list(let items) = entry.value.value { values = items } else { values = [entry.value] }
            for value in values {
                switch value.value {
                case .null, .string(""): break
                case .string(let text):
                    if let allowed = self.allowedValue(of: type, text) {
                        problems.add(value.line ?? entry.line, "\(types.path(entry.key)) is \(shown(value.value)); \(allowed) is allowed")
                    } else {
                        attributes.append(.init(type, text))
                    }
                default:
                    problems.add(value.line ?? entry.line, "\(types.path(entry.key)) is \(shown(value.value)); text is allowed (in quotes)")
                }
            }
        }
        return attributes
    }

    /// What is allowed, where a value is not: the upper bounds of RFC 5280, appendix A.1, and the character sets of its types.
    private static func allowedValue(of type: CertificateProfile.SubjectAttribute.Kind, _ text: String) -> String? {
        func isClean(_ limit: Int) -> Bool {
            text.unicodeScalars.count <= limit
                && text.unicodeScalars.allSatisfy { scalar in
                    switch scalar.properties.generalCategory {
                    case .control, .lineSeparator, .paragraphSeparator, .unassigned, .privateUse: false
                    default: true
                    }
                }
        }
        switch type {
        case .country:
            let isCode = text.utf8.count == 2 && text.utf8.allSatisfy { (0x41...0x5A).contains($0) }
            return isCode ? nil : "a code of two capital letters (ISO 3166)"
        case .stateOrProvince, .locality: return isClean(128) ? nil : "text of at most 128 characters"
        case .organization, .organizationalUnit, .commonName: return isClean(64) ? nil : "text of at most 64 characters"
        case .emailAddress:
            let isAddress = isClean(255) && text.utf8.allSatisfy { $0 < 0x80 } && text.contains("@") && !text.contains(" ")
            return isAddress ? nil : "an ASCII address of at most 255 characters"
        case .domainComponent: return isHostName(text) && !text.contains(".") ? nil : "one label of a host name"
        case .serialNumber:
            let isPrintable =
                text.utf8.count <= 64
                && text.utf8.allSatisfy { byte in
                    switch byte {
                    case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
                    default: " '()+,-./:=?".utf8.contains(byte)
                    }
                }
            return isPrintable ? nil : "at most 64 letters, digits and ' ( ) + , - . / : = ?"
        }
    }

    // MARK: Usage and limits

    private static func readUsage(_ map: inout SettingMap, into profile: inout CertificateProfile, problems: ProblemList) {
        typealias Usage = CertificateProfile.KeyUsage
        typealias Purpose = CertificateProfile.ExtendedKeyUsage
        let usages = alternatives(Usage.allCases.map(\.rawValue)) + " is allowed"
        let read = map.takeStrings("keyUsage", allowed: usages) { Usage(name: $0) }
        if let read {
            let line = map.line("keyUsage")
            profile.keyUsage = withoutRepeats(read)
            if case .list(let items)? = map.take("keyUsage")?.value, items.isEmpty {
                problems.add(line, "keyUsage is an empty list, but needs an entry (RFC 5280, 4.2.1.3); \(usages)")
            }
            if profile.name != "ca", profile.keyUsage.contains(where: { $0 == .keyCertSign || $0 == .cRLSign }) {
                problems.add(line, "keyUsage has keyCertSign or cRLSign; only the profile ca makes CA certificates")
            }
            let only = profile.keyUsage.filter { $0 == .encipherOnly || $0 == .decipherOnly }
            if !only.isEmpty, !profile.keyUsage.contains(.keyAgreement) {
                problems.add(line, "keyUsage has \(only[0].rawValue) without keyAgreement, which it restricts (RFC 5280, 4.2.1.3)")
            }
        }
        let purposes = "\(alternatives(Purpose.allCases.map(\.rawValue))) is allowed (OCSPSigning is for the CA's own responder alone)"
        if let read = map.takeStrings("extendedKeyUsage", allowed: purposes, { Purpose(rawValue: $0) }) {
            profile.extendedKeyUsage = withoutRepeats(read)
        }
        profile.pathLength = map.takeInt("pathLen", 0...0)
        if profile.pathLength != nil, profile.name != "ca" {
            problems.add(map.line("pathLen"), "pathLen is for CA certificates; only the profile ca makes them")
        }
        if profile.name == "ca", read == nil { profile.keyUsage = [.keyCertSign, .cRLSign] }
        if profile.isAuthority, profile.pathLength == nil { profile.pathLength = 0 }
    }

    private static func readLimits(_ map: inout SettingMap, into profile: inout CertificateProfile, problems: ProblemList) {
        let keys = "ec-p256, ec-p384, ec-p521, ed25519 or rsa-<least number of bits, 2048 to 16384> is allowed"
        profile.allowedKeys = map.takeStrings("allowedKeys", allowed: keys) { CertificateProfile.AllowedKey($0) }
        let names = "a name, or *.suffix or .suffix for every name below one, is allowed"
        profile.permittedNames = map.takeStrings("permittedNames", allowed: names) { NamePattern($0) }
        for key in ["allowedKeys", "permittedNames"] {
            guard case .list(let items)? = map.take(key)?.value, items.isEmpty else { continue }
            problems.add(map.line(key), "\(key) is an empty list, which allows nothing; leave the key out to allow all")
        }
    }

    private static func withoutRepeats<Element: Hashable>(_ elements: [Element]) -> [Element] {
        var seen: Set<Element> = []
        return elements.filter { seen.insert($0).inserted }
    }

    // MARK: - Writing

    /// The profile as a tree with the reference's keys; `read(_:name:)` gives the same profile again.
    public static func tree(_ profile: CertificateProfile) -> SettingValue {
        var entries: [SettingEntry] = []
        func add(_ key: String, _ value: SettingValue) { entries.append(SettingEntry(key, value)) }
        func texts(_ values: [String]) -> SettingValue { .list(values.map { Setting(.string($0)) }) }
        switch profile.keyType.family {
        case .ed25519: add("keyType", .string("ed25519"))
        case .rsa, .ellipticCurve:
            // The reference's pair of keys, which the deployed RA reads.
            add("keyType", .string(profile.keyType.family == .rsa ? "rsa" : "ec"))
            let size: Int =
                switch profile.keyType {
                case .ecP256, .ed25519: 256
                case .ecP384: 384
                case .ecP521: 521
                case .rsa2048: 2048
                case .rsa3072: 3072
                case .rsa4096: 4096
                }
            add("keyLen", .int(size))
        }
        add("duration", .int(profile.duration))
        if let longest = profile.maxDuration { add("maxDuration", .int(longest)) }
        add("digest", .string(profile.digest.rawValue))
        add("altnames", .bool(profile.altnames))
        if let domain = profile.domain { add("domain", .string(domain)) }
        add("subject", self.subjectTree(profile.subject))
        add("keyUsage", texts(profile.keyUsage.map(\.rawValue)))
        add("extendedKeyUsage", texts(profile.extendedKeyUsage.map(\.rawValue)))
        add("certType", .string(profile.certType.rawValue))
        if let length = profile.pathLength { add("pathLen", .int(length)) }
        if let keys = profile.allowedKeys { add("allowedKeys", texts(keys.map(\.description))) }
        if let names = profile.permittedNames { add("permittedNames", texts(names.map(\.description))) }
        return .map(entries)
    }

    /// A map where each type stands in one place, else a list of maps with one entry.
    private static func subjectTree(_ subject: [CertificateProfile.SubjectAttribute]) -> SettingValue {
        var groups: [(type: CertificateProfile.SubjectAttribute.Kind, values: [String])] = []
        for attribute in subject {
            if let last = groups.last, last.type == attribute.type {
                groups[groups.count - 1].values.append(attribute.value)
            } else {
                groups.append((attribute.type, [attribute.value]))
            }
        }
        func entry(_ type: CertificateProfile.SubjectAttribute.Kind, _ values: [String]) -> SettingEntry {
            let value: SettingValue = values.count == 1 ? .string(values[0]) : .list(values.map { Setting(.string($0)) })
            return SettingEntry(type.rawValue, value)
        }
        guard Set(groups.map(\.type)).count == groups.count else {
            return .list(subject.map { Setting(.map([entry($0.type, [$0.value])])) })
        }
        return .map(groups.map { entry($0.type, $0.values) })
    }

    /// The profile as the text of a file; `parse(_:file:name:)` gives the same profile again.
    public static func render(_ profile: CertificateProfile) -> String {
        guard case .map(let entries) = self.tree(profile) else { return "" }
        return "# Certificate profile \(printable(profile.name)).\n" + entries.map { "\($0.key): \(self.flow($0.value.value))\n" }.joined()
    }

    private static func flow(_ value: SettingValue) -> String {
        switch value {
        case .string(let text): YAMLText.scalar(text)
        case .int(let number): String(number)
        case .bool(let value): String(value)
        case .null: "null"
        case .list(let items): "[" + items.map { self.flow($0.value) }.joined(separator: ", ") + "]"
        case .map(let entries):
            "{" + entries.map { "\(YAMLText.scalar($0.key)): \(self.flow($0.value.value))" }.joined(separator: ", ") + "}"
        }
    }
}

/// Lower case for ASCII letters alone.
func asciiLowercased(_ text: String) -> String {
    String(decoding: text.utf8.map { (0x41...0x5A).contains($0) ? $0 + 0x20 : $0 }, as: UTF8.self)
}

/// Whether a text is a host name by RFC 1123: labels of 1 to 63 letters, digits and inner hyphens; 253 characters at most.
func isHostName(_ text: String) -> Bool {
    func isLetterOrDigit(_ byte: UInt8) -> Bool {
        (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
    }
    guard (1...253).contains(text.utf8.count) else { return false }
    return text.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false).allSatisfy { label in
        guard let first = label.first, let last = label.last, label.count <= 63 else { return false }
        return isLetterOrDigit(first) && isLetterOrDigit(last) && label.allSatisfy { isLetterOrDigit($0) || $0 == UInt8(ascii: "-") }
    }
}
