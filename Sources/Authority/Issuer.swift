// The CA's own certificate and key, and what every certificate takes from them.

import Crypto
public import PKI
import RevocationFormats
import SwiftASN1
import Synchronization
public import X509

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// Signs a message whose parts `deliver` hands to its argument one by one; gives the content of the signature's BIT STRING.
public typealias PartsSigner = @Sendable (_ digest: SignatureDigest, _ deliver: ((RawSpan) throws -> Void) throws -> Void) throws -> [UInt8]

/// The CA certificate with the key that signs in its name.
public struct Issuer: Sendable {
    public let certificate: Certificate
    public let der: [UInt8]
    public let name: PKI.DistinguishedName
    /// SHA-256 of the certificate's DER in hexadecimal.
    public let fingerprint: String
    public let notBefore: UnixTime
    public let notAfter: UnixTime
    /// The key id of the certificate's own subject key identifier: the AKI of what it issues.
    public let keyIdentifier: [UInt8]
    /// The serial number of the CA certificate where the CA itself gave it; nil where another CA did, whose numbers these are.
    public let ownSerial: SerialNumber?
    /// SHA-256 of the CA's own SubjectPublicKeyInfo, as `SubjectPublicKey.hash` has it.
    let keyHash: [UInt8]
    let key: Certificate.PrivateKey
    let kind: AuthorityKeyKind
    /// Signs a message given in parts; what CRLs of a million entries want.
    public let signParts: PartsSigner

    /// - Parameters:
    ///   - der: the CA certificate.
    ///   - key: its key, as swift-certificates signs with it.
    ///   - signParts: signs what it is handed piece by piece with the same key, and gives the signature's octets.
    public init(
        der: [UInt8], key: Certificate.PrivateKey,
        signParts: @escaping PartsSigner
    ) throws {
        let certificate = try Certificate(derEncoded: der)
        guard key.publicKey == certificate.publicKey else { throw AuthorityError(.refused, "The CA key does not match the CA certificate") }
        self.certificate = certificate
        self.der = der
        self.keyHash = try SubjectPublicKey.canonicalHash(certificate.publicKey)
        self.key = key
        self.kind = AuthorityKeyKind(certificate.publicKey)
        self.signParts = signParts
        self.name = PKI.DistinguishedName(certificate.subject)
        self.fingerprint = Self.fingerprint(of: der)
        self.notBefore = UnixTime(Int64(certificate.notValidBefore.timeIntervalSince1970))
        self.notAfter = UnixTime(Int64(certificate.notValidAfter.timeIntervalSince1970))
        self.keyIdentifier = try Self.keyIdentifier(of: certificate)
        self.ownSerial = certificate.issuer == certificate.subject ? SerialNumber(bytes: certificate.serialNumber.bytes) : nil
    }

    /// What is said of the CA certificate itself.
    public func summary(_ revocation: Revocation?) -> SerialSummary {
        SerialSummary(commonName: self.name.commonName ?? "", notAfter: self.notAfter, revocation: revocation)
    }

    private static func keyIdentifier(of certificate: Certificate) throws -> [UInt8] {
        if let identifier = try certificate.extensions.subjectKeyIdentifier { return Array(identifier.keyIdentifier) }
        return Array(SubjectKeyIdentifier(hash: certificate.publicKey).keyIdentifier)
    }

    /// - Throws: `refused` unless the CA certificate is valid at `now`.
    func checkValidity(_ now: UnixTime) throws {
        guard now < self.notAfter, now >= self.notBefore else {
            throw AuthorityError.refused(
                "Request refused: the CA certificate is not valid now (\(self.notBefore.rfc3339) to \(self.notAfter.rfc3339)); check the clock"
            )
        }
    }

    /// The CA certificate as PEM.
    public var pem: String { PEM.encode(self.der, label: "CERTIFICATE") }

    /// The fingerprint as people compare it: upper case pairs with colons.
    public var displayFingerprint: String { Self.displayFingerprint(of: self.der) }

    /// SHA-256 of a certificate's DER in hexadecimal, as the store knows its CA.
    public static func fingerprint(of der: [UInt8]) -> String { Hexadecimal.encode(SHA256.hash(data: der)) }

    /// SHA-256 of a certificate's DER in upper case pairs with colons.
    public static func displayFingerprint(of der: [UInt8]) -> String {
        SHA256.hash(data: der).map { Hexadecimal.encode([$0]).uppercased() }.joined(separator: ":")
    }

    /// What the CA key signs with when `digest` is asked for.
    public func signatureAlgorithm(_ digest: SignatureDigest) -> Certificate.SignatureAlgorithm { self.kind.algorithm(digest) }

    /// Makes a self-signed CA certificate for a new key (RFC 5280 4.2.1: SKI, AKI, critical basic constraints and key usage).
    ///
    /// - Parameters:
    ///   - days: its life; both ends are exact, nothing is backdated but by five minutes.
    public static func selfSigned(
        subject: PKI.DistinguishedName, key: Certificate.PrivateKey, digest: SignatureDigest, now: UnixTime, days: Int,
        random: any RandomSource
    ) throws -> [UInt8] {
        let name = try subject.x509()
        let identifier = SubjectKeyIdentifier(hash: key.publicKey)
        let extensions = try Certificate.Extensions {
            Critical(BasicConstraints.isCertificateAuthority(maxPathLength: nil))
            Critical(KeyUsage(keyCertSign: true, cRLSign: true))
            identifier
            AuthorityKeyIdentifier(keyIdentifier: identifier.keyIdentifier)
        }
        let algorithm = AuthorityKeyKind(key.publicKey).algorithm(digest)
        let certificate = try Certificate(
            version: .v3, serialNumber: .init(bytes: SerialNumber(issuedAt: now, random: random.next128()).bytes), publicKey: key.publicKey,
            notValidBefore: Date(timeIntervalSince1970: Double(now.seconds - 300)),
            notValidAfter: Date(timeIntervalSince1970: Double(now.advanced(byDays: days).seconds)), issuer: name, subject: name,
            signatureAlgorithm: algorithm, extensions: extensions, issuerPrivateKey: key)
        var serializer = DER.Serializer()
        try serializer.serialize(certificate)
        return serializer.serializedBytes
    }
}

/// The kinds of CA key, as far as the choice of a signature algorithm depends on them.
enum AuthorityKeyKind: Sendable {
    case ecP256, ecP384, ed25519, rsa

    init(_ key: Certificate.PublicKey) {
        if Curve25519.Signing.PublicKey(key) != nil {
            self = .ed25519
        } else if P256.Signing.PublicKey(key) != nil {
            self = .ecP256
        } else if P384.Signing.PublicKey(key) != nil {
            self = .ecP384
        } else {
            self = .rsa
        }
    }

    /// The signature algorithm for a digest; a P-384 key signs no digest shorter than SHA-384, Ed25519 has its own.
    func algorithm(_ digest: SignatureDigest) -> Certificate.SignatureAlgorithm {
        switch (self, digest) {
        case (.ed25519, _): .ed25519
        case (.ecP256, .sha256): .ecdsaWithSHA256
        case (.ecP256, .sha384), (.ecP384, .sha256), (.ecP384, .sha384): .ecdsaWithSHA384
        case (.ecP256, .sha512), (.ecP384, .sha512): .ecdsaWithSHA512
        case (.rsa, .sha256): .sha256WithRSAEncryption
        case (.rsa, .sha384): .sha384WithRSAEncryption
        case (.rsa, .sha512): .sha512WithRSAEncryption
        }
    }
}

/// What is to be certified, once every rule has agreed.
struct CertificateContent {
    var subject: X509.DistinguishedName
    var subjectIsEmpty: Bool
    var publicKey: Certificate.PublicKey
    var keyIdentifier: [UInt8]
    var family: KeyFamily
    var names: [AlternativeName]
    var notBefore: UnixTime
    var notAfter: UnixTime
}

extension Issuer {
    /// Builds and signs one certificate.
    func sign(_ content: CertificateContent, serial: SerialNumber, profile: CertificateProfile, extensions cached: ProfileExtensions) throws
        -> [UInt8]
    {
        var extensions = cached.fixed(for: content.family)
        try extensions.append(Certificate.Extension(SubjectKeyIdentifier(keyIdentifier: content.keyIdentifier[...]), critical: false))
        if !content.names.isEmpty {
            // RFC 5280 4.2.1.6: critical where the subject is empty.
            try extensions.append(
                Certificate.Extension(SubjectAlternativeNames(content.names.map(\.generalName)), critical: content.subjectIsEmpty))
        }
        return try self.sign(content, serial: serial, digest: profile.digest, extensions: extensions)
    }

    /// Signs one certificate with exactly these extensions.
    func sign(_ content: CertificateContent, serial: SerialNumber, digest: SignatureDigest, extensions: Certificate.Extensions) throws
        -> [UInt8]
    {
        let certificate = try Certificate(
            version: .v3, serialNumber: .init(bytes: serial.bytes), publicKey: content.publicKey,
            notValidBefore: Date(timeIntervalSince1970: Double(content.notBefore.seconds)),
            notValidAfter: Date(timeIntervalSince1970: Double(content.notAfter.seconds)), issuer: self.certificate.subject,
            subject: content.subject, signatureAlgorithm: self.signatureAlgorithm(digest), extensions: extensions,
            issuerPrivateKey: self.key)
        var serializer = DER.Serializer()
        try serializer.serialize(certificate)
        return serializer.serializedBytes
    }
}

/// The extensions that all certificates of a profile share, encoded once.
struct ProfileExtensions: Sendable {
    private let rsa: Certificate.Extensions
    private let ellipticCurve: Certificate.Extensions
    private let ed25519: Certificate.Extensions

    init(profile: CertificateProfile, issuer: Issuer, baseURL: String?) throws {
        self.rsa = try Self.make(profile, .rsa, issuer, baseURL)
        self.ellipticCurve = try Self.make(profile, .ellipticCurve, issuer, baseURL)
        self.ed25519 = try Self.make(profile, .ed25519, issuer, baseURL)
    }

    func fixed(for family: KeyFamily) -> Certificate.Extensions {
        switch family {
        case .rsa: self.rsa
        case .ellipticCurve: self.ellipticCurve
        case .ed25519: self.ed25519
        }
    }

    private static func make(_ profile: CertificateProfile, _ family: KeyFamily, _ issuer: Issuer, _ baseURL: String?) throws
        -> Certificate.Extensions
    {
        var extensions = Certificate.Extensions()
        let constraints: BasicConstraints =
            profile.isAuthority ? .isCertificateAuthority(maxPathLength: profile.pathLength ?? 0) : .notCertificateAuthority
        try extensions.append(Certificate.Extension(constraints, critical: true))
        try extensions.append(Certificate.Extension(Self.keyUsage(profile.keyUsage(for: family)), critical: true))
        if !profile.extendedKeyUsage.isEmpty {
            try extensions.append(Certificate.Extension(ExtendedKeyUsage(profile.extendedKeyUsage.map(Self.usage)), critical: false))
        }
        try extensions.append(Certificate.Extension(AuthorityKeyIdentifier(keyIdentifier: issuer.keyIdentifier[...]), critical: false))
        if let base = baseURL {
            let points = try CRLDistributionPoints(uris: [Publication.crl(base)]).serializedBytes()
            try extensions.append(Certificate.Extension(oid: CRLDistributionPoints.objectIdentifier, critical: false, value: points[...]))
            try extensions.append(
                Certificate.Extension(
                    AuthorityInformationAccess([
                        .init(method: .ocspServer, location: .uniformResourceIdentifier(Publication.ocsp(base))),
                        .init(method: .issuingCA, location: .uniformResourceIdentifier(Publication.authorityCertificate(base))),
                    ]), critical: false))
        }
        return extensions
    }

    private static func keyUsage(_ bits: [CertificateProfile.KeyUsage]) -> KeyUsage {
        KeyUsage(
            digitalSignature: bits.contains(.digitalSignature), nonRepudiation: bits.contains(.nonRepudiation),
            keyEncipherment: bits.contains(.keyEncipherment), dataEncipherment: bits.contains(.dataEncipherment),
            keyAgreement: bits.contains(.keyAgreement), keyCertSign: bits.contains(.keyCertSign), cRLSign: bits.contains(.cRLSign),
            encipherOnly: bits.contains(.encipherOnly), decipherOnly: bits.contains(.decipherOnly))
    }

    private static func usage(_ purpose: CertificateProfile.ExtendedKeyUsage) -> ExtendedKeyUsage.Usage {
        switch purpose {
        case .serverAuth: .serverAuth
        case .clientAuth: .clientAuth
        case .codeSigning: .codeSigning
        case .emailProtection: .emailProtection
        case .timeStamping: .timeStamping
        }
    }
}

/// Keeps the encoded extensions of the profiles in use.
final class ProfileExtensionCache: Sendable {
    private struct Entry {
        var profile: CertificateProfile
        var baseURL: String?
        var extensions: ProfileExtensions
    }
    private let entries = Mutex<[String: Entry]>([:])

    func extensions(for profile: CertificateProfile, issuer: Issuer, baseURL: String?) throws -> ProfileExtensions {
        if let entry = self.entries.withLock({ $0[profile.name] }), entry.profile == profile, entry.baseURL == baseURL {
            return entry.extensions
        }
        let made = try ProfileExtensions(profile: profile, issuer: issuer, baseURL: baseURL)
        self.entries.withLock { $0[profile.name] = Entry(profile: profile, baseURL: baseURL, extensions: made) }
        return made
    }

    func clear() { self.entries.withLock { $0 = [:] } }
}

/// Where things are published below `publication.base_url`.
public enum Publication {
    public static func crl(_ base: String) -> String { self.trimmed(base) + "/crl" }
    public static func ocsp(_ base: String) -> String { self.trimmed(base) + "/ocsp" }
    public static func authorityCertificate(_ base: String) -> String { self.trimmed(base) + "/ca.crt" }

    private static func trimmed(_ base: String) -> String {
        var text = Substring(base)
        while text.hasSuffix("/") { text = text.dropLast() }
        return String(text)
    }
}

/// The 64-bit index key of common names.
enum CommonNameHash {
    static func of(_ commonName: String) -> Int64 {
        var hash: UInt64 = 0
        for byte in SHA256.hash(data: Array(PKI.DistinguishedName.normalised(commonName).utf8)).prefix(8) {
            hash = hash << 8 | UInt64(byte)
        }
        return Int64(bitPattern: hash)
    }
}
