// A certificate profile: what a certificate of one kind looks like, and what may be asked of it.

/// The kinds of key that the CA makes for a subject.
public enum SubjectKeyType: String, Sendable, CaseIterable {
    case ecP256 = "ec-p256"
    case ecP384 = "ec-p384"
    case ecP521 = "ec-p521"
    case ed25519
    case rsa2048 = "rsa-2048"
    case rsa3072 = "rsa-3072"
    case rsa4096 = "rsa-4096"

    /// The algorithm, without curve or size.
    public var family: KeyFamily {
        switch self {
        case .ecP256, .ecP384, .ecP521: .ellipticCurve
        case .ed25519: .ed25519
        case .rsa2048, .rsa3072, .rsa4096: .rsa
        }
    }
}

/// The algorithm of a public key, as far as key usage depends on it.
public enum KeyFamily: Sendable {
    case rsa
    case ellipticCurve
    case ed25519
}

/// The digests that signatures are made with.
public enum SignatureDigest: String, Sendable, CaseIterable {
    case sha256
    case sha384
    case sha512
}

/// One name, or every name below a suffix; compared without regard to ASCII case.
public struct NamePattern: Hashable, Sendable, CustomStringConvertible {
    private enum Backing: Hashable, Sendable {
        case exact(String)
        /// The suffix with its leading dot.
        case below(String)
    }

    private let backing: Backing

    /// The pattern as it was written, in lower case.
    public let description: String

    /// Reads `name`, `*.suffix` or `.suffix`; the last two both mean every name below the suffix at any depth, and not the suffix itself.
    ///
    /// - Returns: nil for an empty text, for white space, and for a star or an empty label anywhere else.
    public init?(_ text: String) {
        let lowered = NamePattern.lowercased(text)
        let isSuffix = lowered.hasPrefix("*.") || lowered.hasPrefix(".")
        let rest = lowered.hasPrefix("*.") ? lowered.dropFirst(2) : lowered.hasPrefix(".") ? lowered.dropFirst() : lowered[...]
        guard !rest.isEmpty, rest.utf8.count <= 255, !rest.hasPrefix("."), !rest.hasSuffix(".") else { return nil }
        guard !rest.unicodeScalars.contains(where: { $0 == "*" || $0.value <= 0x20 || (0x7F...0xA0).contains($0.value) }) else {
            return nil
        }
        guard !rest.split(separator: ".", omittingEmptySubsequences: false).contains("") else { return nil }
        self.backing = isSuffix ? .below("." + rest) : .exact(String(rest))
        self.description = lowered
    }

    /// Whether the pattern covers a whole name; a trailing dot of the name does not count, and a wildcard name (`*.a.example`) is
    /// covered by a suffix that covers what it stands for.
    public func matches(_ name: String) -> Bool {
        var lowered = NamePattern.lowercased(name)
        if lowered.hasSuffix(".") { lowered.removeLast() }
        switch self.backing {
        case .exact(let exact): return lowered == exact
        case .below(let suffix): return lowered.utf8.count > suffix.utf8.count && lowered.hasSuffix(suffix)
        }
    }

    /// Lower case for A to Z alone: host names are ASCII, and Unicode case rules would make different names equal.
    fileprivate static func lowercased(_ text: String) -> String {
        String(decoding: text.utf8.map { (0x41...0x5A).contains($0) ? $0 + 0x20 : $0 }, as: UTF8.self)
    }
}

/// What a certificate of one kind looks like, and what may be asked of it.
///
/// A value of this type was not necessarily checked: profiles that come from outside are checked by the module `Settings`.
public struct CertificateProfile: Sendable, Equatable {
    /// One attribute of the subject that the profile gives.
    public struct SubjectAttribute: Sendable, Hashable {
        /// The attribute types a profile may set, spelled as in the reference's files.
        public enum Kind: String, Sendable, CaseIterable {
            case country = "C"
            case stateOrProvince = "ST"
            case locality = "L"
            case organization = "O"
            case organizationalUnit = "OU"
            case commonName = "CN"
            case emailAddress
            case domainComponent = "DC"
            case serialNumber
        }

        public var type: Kind
        public var value: String

        public init(_ type: Kind, _ value: String) {
            self.type = type
            self.value = value
        }
    }

    /// The bits of the key usage extension (RFC 5280, 4.2.1.3).
    public enum KeyUsage: String, Sendable, CaseIterable {
        case digitalSignature
        /// Called contentCommitment in recent editions of X.509; both names are read.
        case nonRepudiation
        case keyEncipherment
        case dataEncipherment
        case keyAgreement
        case keyCertSign
        case cRLSign
        case encipherOnly
        case decipherOnly

        /// Reads a name of RFC 5280, `contentCommitment` included.
        public init?(name: String) {
            self.init(rawValue: name == "contentCommitment" ? "nonRepudiation" : name)
        }
    }

    /// The purposes of the extended key usage extension (RFC 5280, 4.2.1.12). OCSPSigning is missing because only the CA's own
    /// responder gets it.
    public enum ExtendedKeyUsage: String, Sendable, CaseIterable {
        case serverAuth
        case clientAuth
        case codeSigning
        case emailProtection
        case timeStamping
    }

    /// What the reference calls the type of a certificate. It is told to those who ask and decides nothing.
    public enum CertificateType: String, Sendable, CaseIterable {
        case sslCA
        case server
        case user
        case email
        case client
        case objsign
    }

    /// Which keys a subject may bring.
    public enum AllowedKey: Sendable, Hashable, CustomStringConvertible {
        case ecP256
        case ecP384
        case ecP521
        case ed25519
        /// RSA of at least so many bits.
        case rsa(minimumBits: Int)

        /// Reads `ec-p256`, `ec-p384`, `ec-p521`, `ed25519` or `rsa-<bits>` with 2048 to 16384 bits.
        public init?(_ text: String) {
            switch text {
            case "ec-p256": self = .ecP256
            case "ec-p384": self = .ecP384
            case "ec-p521": self = .ecP521
            case "ed25519": self = .ed25519
            default:
                guard text.hasPrefix("rsa-"), let bits = Int(text.dropFirst(4)), (2048...16384).contains(bits),
                    text == "rsa-\(bits)"
                else { return nil }
                self = .rsa(minimumBits: bits)
            }
        }

        public var description: String {
            switch self {
            case .ecP256: "ec-p256"
            case .ecP384: "ec-p384"
            case .ecP521: "ec-p521"
            case .ed25519: "ed25519"
            case .rsa(let bits): "rsa-\(bits)"
            }
        }
    }

    /// 1 to 64 of `a-z 0-9 . _ -`, beginning with a letter or a digit.
    public var name: String

    /// The kind of key the CA makes where the subject brings none.
    public var keyType: SubjectKeyType

    /// Days a certificate lives when nothing is asked for.
    public var duration: Int

    /// Days that may be asked for at most; without it no more than `duration`.
    public var maxDuration: Int?

    /// The digest asked for; a signature by Ed25519 has its own.
    public var digest: SignatureDigest

    /// Whether subject alternative names may be asked for.
    public var altnames: Bool

    /// If set, every host name must be this domain or be under it.
    public var domain: String?

    /// The subject's attributes in the certificate's order. A CN among them is only the default for a request without one.
    public var subject: [SubjectAttribute]

    public var keyUsage: [KeyUsage]
    public var extendedKeyUsage: [ExtendedKeyUsage]
    public var certType: CertificateType

    /// The path length of basic constraints for a CA certificate; nil for every end entity.
    public var pathLength: Int?

    /// The keys a subject may bring; nil for all that the CA accepts at all.
    public var allowedKeys: [AllowedKey]?

    /// The names that may be asked for; nil for all that the CA accepts at all.
    public var permittedNames: [NamePattern]?

    public init(
        name: String,
        keyType: SubjectKeyType = .ecP256,
        duration: Int,
        maxDuration: Int? = nil,
        digest: SignatureDigest = .sha256,
        altnames: Bool = true,
        domain: String? = nil,
        subject: [SubjectAttribute] = [],
        keyUsage: [KeyUsage] = [.digitalSignature],
        extendedKeyUsage: [ExtendedKeyUsage] = [],
        certType: CertificateType = .user,
        pathLength: Int? = nil,
        allowedKeys: [AllowedKey]? = nil,
        permittedNames: [NamePattern]? = nil
    ) {
        self.name = name
        self.keyType = keyType
        self.duration = duration
        self.maxDuration = maxDuration
        self.digest = digest
        self.altnames = altnames
        self.domain = domain
        self.subject = subject
        self.keyUsage = keyUsage
        self.extendedKeyUsage = extendedKeyUsage
        self.certType = certType
        self.pathLength = pathLength
        self.allowedKeys = allowedKeys
        self.permittedNames = permittedNames
    }
}

// MARK: - What may be asked

extension CertificateProfile {
    /// The days that may be asked for at most.
    public var longestDuration: Int { self.maxDuration ?? self.duration }

    /// Whether certificates of this profile are CA certificates.
    public var isAuthority: Bool { self.keyUsage.contains(.keyCertSign) }

    /// The days a certificate is to live.
    ///
    /// - Parameter requested: the days that were asked for, or nil.
    /// - Returns: nil when that is less than a day or more than the profile allows.
    public func days(requested: Int?) -> Int? {
        guard let requested else { return self.duration }
        return (1...max(1, self.longestDuration)).contains(requested) ? requested : nil
    }

    /// The key usage of a certificate, in the profile's order, without the bits that its key's algorithm cannot serve: no encipherment
    /// with an elliptic curve (RFC 8813, 3), nor agreement with Ed25519 (RFC 9295, 3) or RSA (RFC 3279, 2.3.1).
    public func keyUsage(for family: KeyFamily) -> [KeyUsage] {
        let impossible: Set<KeyUsage> =
            switch family {
            case .rsa: [.keyAgreement, .encipherOnly, .decipherOnly]
            case .ellipticCurve: [.keyEncipherment, .dataEncipherment]
            case .ed25519: [.keyEncipherment, .dataEncipherment, .keyAgreement, .encipherOnly, .decipherOnly]
            }
        let possible = self.keyUsage.filter { !impossible.contains($0) }
        // The extension must have a bit set (RFC 5280, 4.2.1.3).
        return possible.isEmpty ? [.digitalSignature] : possible
    }

    /// Whether a subject may bring a key.
    ///
    /// - Parameters:
    ///   - curve: the key's kind where it is no RSA key: `.ecP256`, `.ecP384`, `.ecP521` or `.ed25519`.
    ///   - rsaBits: the size of the modulus in bits where it is one.
    public func allows(curve: AllowedKey?, rsaBits: Int?) -> Bool {
        guard let allowedKeys = self.allowedKeys else { return true }
        return allowedKeys.contains { allowed in
            if case .rsa(let minimum) = allowed { return rsaBits.map { $0 >= minimum } ?? false }
            return allowed == curve
        }
    }

    /// Whether a host name may stand in a certificate: it is under `domain` if there is one, and covered by `permittedNames` if there are
    /// any.
    public func permits(hostName: String) -> Bool {
        self.isInDomain(hostName) && (self.permittedNames?.contains { $0.matches(hostName) } ?? true)
    }

    /// Whether an e-mail address may stand in a certificate: its host is under `domain` if there is one, and the address or its host is
    /// covered by `permittedNames` if there are any.
    public func permits(emailAddress: String) -> Bool {
        guard let at = emailAddress.lastIndex(of: "@") else { return false }
        let host = String(emailAddress[emailAddress.index(after: at)...])
        return self.isInDomain(host) && (self.permittedNames?.contains { $0.matches(emailAddress) || $0.matches(host) } ?? true)
    }

    /// Whether any other name (an IP address, a URI, a person's name) may stand in a certificate: `permittedNames` must hold it literally
    /// if there are any; `domain` speaks of host names only.
    public func permits(otherName: String) -> Bool {
        self.permittedNames?.contains { $0.description == NamePattern.lowercased(otherName) } ?? true
    }

    private func isInDomain(_ hostName: String) -> Bool {
        guard let domain = self.domain, !domain.isEmpty else { return true }
        return [domain, "." + domain].contains { NamePattern($0)?.matches(hostName) ?? false }
    }
}

// MARK: - Names

extension CertificateProfile {
    /// Names of profiles that mean another one.
    public static let aliases: [String: String] = ["client": "user"]

    /// The names of the profiles that are always there.
    public static let builtInNames = ["ca", "ra", "server", "webapp", "laptop", "user", "admin"]

    /// Names that no profile may have: certificates of these kinds are issued by rules of their own, which no file and no task can change.
    public static let reservedNames: Set<String> = ["ocsp"]

    /// The profile that a name means.
    public static func canonicalName(_ name: String) -> String { self.aliases[name] ?? name }

    /// Whether a text can name a profile: 1 to 64 of `a-z 0-9 . _ -`, beginning with a letter or a digit, so that it is a safe file name.
    public static func isValidName(_ name: String) -> Bool {
        func isLetterOrDigit(_ byte: UInt8) -> Bool { (0x61...0x7A).contains(byte) || (0x30...0x39).contains(byte) }
        let bytes = Array(name.utf8)
        guard (1...64).contains(bytes.count), isLetterOrDigit(bytes[0]) else { return false }
        return bytes.allSatisfy { isLetterOrDigit($0) || $0 == UInt8(ascii: ".") || $0 == UInt8(ascii: "_") || $0 == UInt8(ascii: "-") }
    }
}

// MARK: - Built-in profiles

extension CertificateProfile {
    /// The profiles that are always there.
    ///
    /// - Parameter baseSubject: attributes that every subject begins with. Of them C, ST, L, O and DC are taken: what names the CA itself
    ///   (its CN, its unit, its address) must not stand in the certificates it issues.
    public static func builtIns(baseSubject: [SubjectAttribute]) -> [CertificateProfile] {
        let shared: Set<SubjectAttribute.Kind> = [.country, .stateOrProvince, .locality, .organization, .domainComponent]
        let base = baseSubject.filter { shared.contains($0.type) && !$0.value.isEmpty }
        func endEntity(_ name: String, days: Int, unit: String, _ purposes: [ExtendedKeyUsage], _ type: CertificateType)
            -> CertificateProfile
        {
            CertificateProfile(
                name: name,
                duration: days,
                subject: base + [SubjectAttribute(.organizationalUnit, unit)],
                keyUsage: [.digitalSignature, .keyEncipherment],
                extendedKeyUsage: purposes,
                certType: type
            )
        }
        return [
            CertificateProfile(
                name: "ca",
                duration: 3650,
                altnames: false,
                subject: base,
                keyUsage: [.keyCertSign, .cRLSign],
                certType: .sslCA,
                pathLength: 0
            ),
            endEntity("ra", days: 365, unit: "RA", [.serverAuth, .clientAuth], .server),
            endEntity("server", days: 60, unit: "Servers", [.serverAuth], .server),
            endEntity("webapp", days: 60, unit: "WebApps", [.serverAuth, .clientAuth], .server),
            endEntity("laptop", days: 30, unit: "Users", [.clientAuth, .emailProtection], .user),
            endEntity("user", days: 30, unit: "Users", [.clientAuth], .user),
            endEntity("admin", days: 365, unit: "Admins", [.clientAuth], .user),
        ]
    }
}
