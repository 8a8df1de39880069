// Certificates, nodes and tokens as answers show them.

import Authority
import PKI
import SwiftASN1
import UPKIProtocol
import X509

public enum Describe {
    /// What `sign`, `generate` and `renew` answer.
    static func issued(_ prepared: PreparedCertificate) -> JSON {
        [
            ("certificate", .string(prepared.pem)), ("serial", .string(prepared.record.serial.decimal)),
            ("dn", .string(prepared.record.subject)),
        ].json
    }

    /// An entry of `list_nodes`: the deployed RA rebuilds its inventory from these.
    static func inventory(_ status: CertificateStatus, now: UnixTime) -> JSON {
        let certificate = status.certificate
        let parsed = try? Certificate(derEncoded: certificate.der)
        return [
            ("dn", .string(certificate.subject)), ("cn", .string(certificate.commonName)), ("profile", .string(certificate.profile)),
            ("state", .string(status.state(at: now))), ("serial", .string(certificate.serial.decimal)),
            ("sans", .array(self.names(parsed))),
            ("not_before", .string(certificate.notBefore.rfc3339)), ("not_after", .string(certificate.notAfter.rfc3339)),
            ("revoked", .bool(status.revocation != nil)), ("certificate", .string(PEM.encode(certificate.der, label: "CERTIFICATE"))),
        ].json
    }

    private static func names(_ certificate: Certificate?) -> [JSON] {
        guard let names = try? certificate?.extensions.subjectAlternativeNames else { return [] }
        return names.compactMap { AlternativeName($0) }.map { [("type", .string($0.kind)), ("value", .string($0.value))].json }
    }

    /// What `view` answers.
    static func view(_ status: CertificateStatus, now: UnixTime) throws -> JSON {
        let record = status.certificate
        let certificate = try Certificate(derEncoded: record.der)
        var key = DER.Serializer()
        try key.serialize(certificate.publicKey)
        let extensions = certificate.extensions.map { candidate -> JSON in
            [
                ("oid", .string(candidate.oid.oidComponents.map { String($0) }.joined(separator: "."))),
                ("name", .string(self.name(of: candidate.oid))),
                ("critical", .bool(candidate.critical)), ("value", .string(Hexadecimal.encode(candidate.value))),
            ].json
        }
        return [
            ("serial_number", .string(record.serial.decimal)), ("serial", .string(record.serial.decimal)), ("dn", .string(record.subject)),
            ("cn", .string(record.commonName)), ("profile", .string(record.profile)), ("subject", .string(record.subject)),
            ("issuer", .string(PKI.DistinguishedName(certificate.issuer).slashNotation)), ("version", .integer(3)),
            ("not_valid_before", .string(record.notBefore.rfc3339)), ("not_valid_after", .string(record.notAfter.rfc3339)),
            ("signature_algorithm", .string(self.signatureName(certificate.signatureAlgorithm))),
            ("public_key", .string(PEM.encode(key.serializedBytes, label: "PUBLIC KEY"))), ("sans", .array(self.names(certificate))),
            ("extensions", .array(extensions)), ("status", .string(status.state(at: now))), ("revoked", .bool(status.revocation != nil)),
            ("revoke_reason", status.revocation.map { .string($0.reason.name) } ?? .null),
            ("revoke_date", status.revocation.map { .string($0.revokedAt.rfc3339) } ?? .null),
            ("certificate", .string(PEM.encode(record.der, label: "CERTIFICATE"))),
        ].json
    }

    private static let extensionNames: [ASN1ObjectIdentifier: String] = [
        [2, 5, 29, 14]: "subjectKeyIdentifier", [2, 5, 29, 15]: "keyUsage", [2, 5, 29, 17]: "subjectAltName",
        [2, 5, 29, 19]: "basicConstraints",
        [2, 5, 29, 31]: "cRLDistributionPoints", [2, 5, 29, 35]: "authorityKeyIdentifier", [2, 5, 29, 37]: "extendedKeyUsage",
        [1, 3, 6, 1, 5, 5, 7, 1, 1]: "authorityInfoAccess",
    ]

    private static func name(of oid: ASN1ObjectIdentifier) -> String { self.extensionNames[oid] ?? "unknown" }

    private static func signatureName(_ algorithm: Certificate.SignatureAlgorithm) -> String {
        switch algorithm {
        case .ecdsaWithSHA256: "ecdsa-with-SHA256"
        case .ecdsaWithSHA384: "ecdsa-with-SHA384"
        case .ecdsaWithSHA512: "ecdsa-with-SHA512"
        case .sha256WithRSAEncryption: "sha256WithRSAEncryption"
        case .sha384WithRSAEncryption: "sha384WithRSAEncryption"
        case .sha512WithRSAEncryption: "sha512WithRSAEncryption"
        case .ed25519: "ed25519"
        default: algorithm.description
        }
    }

    /// A node as the operator sees it.
    static func node(_ node: Node, isAdmin: Bool, now: UnixTime) -> JSON {
        [
            ("cn", .string(node.commonName)), ("dn", .string(node.subject)),
            ("state", .string(node.state == .live && !node.isLive(at: now) ? "expired" : node.state.rawValue)),
            ("binding", node.binding.map { .string($0.text) } ?? .null), ("profile", .string(node.profile)),
            ("origin", .string(node.origin.rawValue)),
            ("admin", .bool(isAdmin)), ("profiles", node.profiles.map { .array($0.map { .string($0) }) } ?? .null),
            ("names", node.names.map { .array($0.map { .string($0.description) }) } ?? .null),
            ("serial", node.serial.map { .string($0.decimal) } ?? .null), ("not_after", node.notAfter.map { .string($0.rfc3339) } ?? .null),
            ("registered_at", .string(node.registeredAt.rfc3339)),
        ].json
    }

    /// The registration window.
    static func window(_ window: RegistrationWindow, now: UnixTime) -> JSON {
        let isOpen = window.isOpen(at: now)
        return [
            ("open", .bool(isOpen)), ("until", isOpen ? window.openUntil.map { .integer($0.seconds) } ?? .null : .null),
            ("remaining", window.remaining.map { .integer($0) } ?? .null), ("cn", window.commonName.map { .string($0) } ?? .null),
            ("reason", .string(isOpen ? window.reason : window.closedReason(at: now))),
        ].json
    }
}

extension Array where Element == (String, JSON) {
    /// An object with these members.
    var json: JSON { .object(self.map { JSON.Member($0.0, $0.1) }) }
}
