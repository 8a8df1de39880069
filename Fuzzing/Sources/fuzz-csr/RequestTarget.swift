// Fuzz target: what comes in as a CSR, up to the certificate that is signed for it. A request has to prove its key, which no mutation can,
// so besides whole texts the parts of a request are tried inside one that is signed here.

import Authority
import Crypto
import FuzzSupport
import PKI
import SwiftASN1
import TestAuthority
import X509

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzRequest(_ data: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    var input = FuzzInput(data, count)
    switch input.choice() {
    case 0x30:
        // A whole request begins with a SEQUENCE.
        intake(PEM.encode(FuzzInput(data, count).bytes, label: "CERTIFICATE REQUEST"))
    case UInt8(ascii: "-"):
        if let text = FuzzInput(data, count).text { intake(text) }
    case UInt8(ascii: "N"):
        // Subject and attributes, as their DER.
        let subject = input.part()
        intake(Bench.request(subject: subject, key: Bench.subjectKey, attributes: input.bytes))
    case UInt8(ascii: "E"):
        // The value of an extensionRequest: a list of extensions.
        intake(Bench.request(subject: Bench.subject, key: Bench.subjectKey, attributes: Bench.attributes(extensions: input.bytes)))
    case UInt8(ascii: "S"):
        // A subject alternative name extension's value.
        let extensions = node(0x30, node(0x30, [0x06, 0x03, 0x55, 0x1d, 0x11] + node(0x04, input.bytes)))
        intake(Bench.request(subject: Bench.subject, key: Bench.subjectKey, attributes: Bench.attributes(extensions: extensions)))
    case UInt8(ascii: "C"):
        // A common name as text.
        let value = node(0x31, node(0x30, [0x06, 0x03, 0x55, 0x04, 0x03] + node(0x0c, input.bytes)))
        intake(Bench.request(subject: node(0x30, value), key: Bench.subjectKey, attributes: [0xa0, 0x00]))
    default:
        // A SubjectPublicKeyInfo; its signature cannot verify, but the key is looked at first.
        intake(Bench.request(subject: Bench.subject, key: input.bytes, attributes: [0xa0, 0x00]))
    }
    return 0
}

/// A DER node with a definite length.
private func node(_ tag: UInt8, _ content: [UInt8]) -> [UInt8] {
    switch content.count {
    case ..<0x80: [tag, UInt8(content.count)] + content
    case ..<0x100: [tag, 0x81, UInt8(content.count)] + content
    case ..<0x1_0000: [tag, 0x82, UInt8(content.count >> 8), UInt8(content.count & 0xff)] + content
    default: [tag, 0x83, UInt8(content.count >> 16 & 0xff), UInt8(content.count >> 8 & 0xff), UInt8(content.count & 0xff)] + content
    }
}

/// An authority that signs and records nothing, and a subject's key.
private enum Bench {
    static let test: TestAuthority = {
        do { return try TestAuthority() } catch { broken("no authority: \(error)") }
    }()
    static let key = P256.Signing.PrivateKey()
    static let subjectKey = Array(Self.key.publicKey.derRepresentation)
    static let subject = node(0x30, node(0x31, node(0x30, [0x06, 0x03, 0x55, 0x04, 0x03] + node(0x0c, Array("host.example.com".utf8)))))
    private static let ecdsaWithSHA256: [UInt8] = [0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02]

    /// The attributes field with an extensionRequest (RFC 2985 5.4.2).
    static func attributes(extensions: [UInt8]) -> [UInt8] {
        node(0xa0, node(0x30, [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x0e] + node(0x31, extensions)))
    }

    /// A request that `key` has signed, of parts that are DER or not.
    static func request(subject: [UInt8], key: [UInt8], attributes: [UInt8]) -> String {
        let information = node(0x30, [0x02, 0x01, 0x00] + subject + key + attributes)
        guard let signature = try? Self.key.signature(for: information).derRepresentation else { broken("nothing is signed") }
        let der = node(0x30, information + Self.ecdsaWithSHA256 + node(0x03, [0x00] + Array(signature)))
        return PEM.encode(der, label: "CERTIFICATE REQUEST")
    }
}

/// What is refused is refused in one line; what is signed is read by others and holds what the rules allow.
private func intake(_ csr: String) {
    let authority = Bench.test.authority
    let actor = authority.actor(TestAuthority.operatorOnHost)
    for profile in ["server", "user"] {
        do {
            let prepared = try authority.prepareSigning(csr: csr, profile: profile, days: nil, actor: actor, task: "sign")
            check(prepared)
        } catch let error as AuthorityError {
            demand([.csr, .refused].contains(error.code), "a CSR is refused as \(error.code): \(error.detail)")
            demand(error.detail.utf8.count < 20_000, "the refusal has \(error.detail.utf8.count) octets")
        } catch {
            broken("an error that would be answered as an internal one: \(error)")
        }
    }
}

private func check(_ prepared: PreparedCertificate) {
    let record = prepared.record
    guard let certificate = try? Certificate(derEncoded: record.der) else { broken("the certificate is not read: \(record.der)") }
    var serializer = DER.Serializer()
    demand((try? serializer.serialize(certificate)) != nil && serializer.serializedBytes == record.der, "the certificate is no DER")
    demand(
        Certificate.PublicKey(Bench.test.caKey.publicKey).isValidSignature(certificate.signature, for: certificate),
        "the signature does not verify")
    demand(!record.commonName.unicodeScalars.contains("\u{fffd}"), "a repaired name is certified: \(record.commonName)")
    demand(isOneCleanLine(record.commonName) && record.commonName.unicodeScalars.count <= 64, "the common name \(record.commonName)")
    demand(PKI.DistinguishedName(certificate.subject).commonName ?? "" == record.commonName, "the common names differ")
    demand(
        record.subject.isEmpty || PKI.DistinguishedName.parse(record.subject) == PKI.DistinguishedName(certificate.subject), record.subject)
    guard let names = try? certificate.extensions.subjectAlternativeNames.map(Array.init) ?? [] else { broken("the names are not read") }
    demand(!names.isEmpty || !record.commonName.isEmpty, "the certificate names nobody")
    for name in names {
        guard let name = AlternativeName(name) else { broken("a name of another kind: \(name)") }
        demand(name.fault == nil, "\(name.value): \(name.fault ?? "")")
    }
    guard let constraints = try? certificate.extensions.basicConstraints else { broken("no basic constraints") }
    demand(constraints == .notCertificateAuthority, "a request made a CA")
}
