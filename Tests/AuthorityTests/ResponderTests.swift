// The certificate of the OCSP bridge's key: its content as openssl reads it, who gets it, how many there are; and that every change of a
// status is an event.

import Authority
import Crypto
import Foundation
import InMemoryStore
import PKI
import RevocationFormats
import SwiftASN1
import TestAuthority
import Testing
import X509

private let bridge = Caller(proof: .localUser(7), channel: .ocsp)

/// The DER of a CSR, as the bridge sends it.
private func requestDER(_ key: Certificate.PrivateKey, subject: String = "/CN=x", names: [AlternativeName] = []) throws -> [UInt8] {
    let pem = try TestAuthority.csr(subject, names: names, key: key)
    return try #require(PEM.decodeFirst(pem, labels: ["CERTIFICATE REQUEST"]))
}

extension TestAuthority {
    /// A responder's certificate, issued as the task does it.
    @discardableResult
    fileprivate func certifyResponder(_ key: P256.Signing.PrivateKey = P256.Signing.PrivateKey()) throws -> CertificateRecord {
        let prepared = try self.authority.prepareResponder(csr: try requestDER(.init(key)))
        try self.commit("responder_certificate", by: bridge, isVital: true) { try $0.recordResponder(prepared) }
        return prepared.record
    }
}

@Suite("The OCSP responder's certificate")
struct ResponderCertificateTests {
    @Test("is what RFC 6960 asks for and no more, as openssl prints it and as its DER stands")
    func content() throws {
        var rules = Rules()
        rules.publicationBaseURL = "http://pki.example.org"
        let test = try TestAuthority(rules: rules)
        let record = try test.certifyResponder()
        let folder = try OpenSSLFolder()
        try folder.write(record.der, "c.der")
        try folder.openssl("x509", "-inform", "DER", "-in", "c.der", "-out", "c.pem")
        try folder.write(test.authority.issuer.pem, "ca.pem")
        let text = try folder.openssl("x509", "-in", "c.pem", "-noout", "-text", "-nameopt", "RFC2253")
        #expect(text.contains("Subject: CN=Test CA OCSP Responder,O=Test\n") && text.contains("Issuer: CN=Test CA,O=Test,C=FR\n"))
        #expect(text.contains("Not Before: Nov 23 11:55:00 2026 GMT") && text.contains("Not After : Nov 25 12:00:00 2026 GMT"))
        #expect(text.contains("NIST CURVE: P-256") && text.contains("Version: 3 (0x2)"))
        #expect(text.contains("X509v3 Key Usage: critical\n                Digital Signature\n"))
        #expect(text.contains("X509v3 Extended Key Usage: \n                OCSP Signing\n"))
        #expect(text.contains("OCSP No Check: \n"))
        // Neither distribution point, nor addresses, nor names, nor basic constraints.
        #expect(text.matches(of: /(X509v3|OCSP No|Authority Information) [A-Z]/).count == 5, "\(text)")
        #expect(text.contains("X509v3 Subject Key Identifier") && text.contains("X509v3 Authority Key Identifier"))
        let structure = try folder.openssl("asn1parse", "-in", "c.pem")
        let extensions = structure.split(separator: "\n").map { $0.split(separator: ":", maxSplits: 3).last.map(String.init) ?? "" }
        let nocheck = try #require(extensions.firstIndex(of: "OCSP No Check"))
        #expect(extensions[nocheck + 1] == "0500" && !structure.split(separator: "\n")[nocheck + 1].contains("BOOLEAN"))
        let purpose = try #require(extensions.firstIndex(of: "X509v3 Extended Key Usage"))
        // SEQUENCE OF one: id-kp-OCSPSigning, 1.3.6.1.5.5.7.3.9.
        #expect(extensions[purpose + 1] == "300A06082B06010505070309")
        for purpose in ["ocsphelper", "any"] {
            let verified = try folder.openssl(
                "verify", "-x509_strict", "-purpose", purpose, "-attime", "1795435300", "-CAfile", "ca.pem", "c.pem")
            #expect(verified.contains("OK"))
        }
    }

    @Test("signs an OCSP answer that openssl accepts for a certificate of the CA")
    func answers() throws {
        let test = try TestAuthority(at: UnixTime(Int64(Date().timeIntervalSince1970)))
        let key = P256.Signing.PrivateKey()
        let signer = try test.certifyResponder(key)
        let record = try test.generate("a.example.org")
        let folder = try OpenSSLFolder()
        try folder.write(test.authority.issuer.pem, "ca.pem")
        try folder.write(PEM.encode(record.der, label: "CERTIFICATE"), "c.pem")
        try folder.write(PEM.encode(signer.der, label: "CERTIFICATE"), "signer.pem")
        try folder.write(key.pemRepresentation, "signer.key")
        try folder.write("V\t351231235959Z\t\t\(record.serial.hexadecimal.uppercased())\tunknown\t/CN=a.example.org\n", "index.txt")
        try folder.openssl("ocsp", "-issuer", "ca.pem", "-cert", "c.pem", "-reqout", "q", "-no_nonce")
        try folder.openssl(
            "ocsp", "-index", "index.txt", "-CA", "ca.pem", "-rsigner", "signer.pem", "-rkey", "signer.key", "-reqin", "q", "-respout", "a",
            "-ndays", "1")
        let judged = try folder.openssl("ocsp", "-respin", "a", "-issuer", "ca.pem", "-cert", "c.pem", "-CAfile", "ca.pem")
        #expect(judged.contains("Response verify OK") && judged.contains("c.pem: good"), "\(judged)")
    }

    @Test(
        "is signed by a CA key of every kind",
        arguments: [
            ("ec -pkeyopt ec_paramgen_curve:P-384", "ecdsa-with-SHA384"), ("ed25519", "ED25519"),
            ("rsa:2048", "sha256WithRSAEncryption"),
        ])
    func keys(_ kind: String, _ algorithm: String) throws {
        let folder = try OpenSSLFolder()
        try folder.run(
            ["openssl", "req", "-x509", "-nodes", "-days", "1", "-subj", "/CN=Root", "-keyout", "ca.key", "-out", "ca.pem", "-newkey"]
                + kind.split(separator: " ").map(String.init) + ["-addext", "keyUsage=critical,keyCertSign,cRLSign"])
        let der = try #require(PEM.decodeFirst(try folder.text("ca.pem"), labels: ["CERTIFICATE"]))
        let issuer = try Issuer(der: der, key: try .init(pemEncoded: try folder.text("ca.key"))) { _, _ in [] }
        let store = InMemoryStore()
        try store.write { try $0.set(.authorityFingerprint, issuer.fingerprint) }
        let authority = try Authority(
            issuer: issuer, store: store, rules: Rules(), profiles: [], clock: FixedClock(issuer.notBefore.advanced(bySeconds: 60)),
            random: RepeatableRandom(), files: RememberedFolders(), auditSigner: RememberedCheckpoints())
        let record = try authority.prepareResponder(csr: try requestDER(.init(P256.Signing.PrivateKey()))).record
        // Capped at the CA's own end, and not before its beginning.
        #expect(record.notAfter == issuer.notAfter && record.notBefore == issuer.notBefore)
        try folder.write(PEM.encode(record.der, label: "CERTIFICATE"), "c.pem")
        #expect(try folder.openssl("x509", "-in", "c.pem", "-noout", "-text").contains("Signature Algorithm: \(algorithm)"))
        #expect(try folder.openssl("verify", "-purpose", "ocsphelper", "-CAfile", "ca.pem", "c.pem").contains("OK"))
        // A CA without an organisation.
        #expect(record.subject == "/CN=Root OCSP Responder")
    }

    @Test("never has the CA's own name: one that is too long for a CN is left out")
    func name() throws {
        let long = String(repeating: "x", count: 50)
        let test = try TestAuthority(subject: "/O=Test/CN=\(long)")
        #expect(try test.certifyResponder().subject == "/O=Test/CN=OCSP Responder")
        #expect(try TestAuthority(subject: "/O=Test/CN=OCSP Responder").certifyResponder().commonName == "OCSP Responder OCSP Responder")
    }

    @Test("takes nothing but the key from the request")
    func request() throws {
        let test = try TestAuthority()
        let key = P256.Signing.PrivateKey()
        let csr = try requestDER(.init(key), subject: "/C=DE/O=Evil/CN=evil.example", names: [.dns("evil.example")])
        let record = try test.authority.prepareResponder(csr: csr).record
        let certificate = try Certificate(derEncoded: record.der)
        #expect(record.subject == "/O=Test/CN=Test CA OCSP Responder")
        #expect(try certificate.extensions.subjectAlternativeNames == nil)
        #expect(certificate.publicKey == .init(key.publicKey))
        let identifier = try #require(try certificate.extensions.subjectKeyIdentifier).keyIdentifier
        #expect(Array(identifier) == Array(Insecure.SHA1.hash(data: key.publicKey.x963Representation)))
    }

    @Test("is refused for another kind of key, the CA's own, a key without proof, a key that was compromised, and for what is no request")
    func refusals() throws {
        let test = try TestAuthority()
        for key: Certificate.PrivateKey in [.init(P384.Signing.PrivateKey()), .init(Curve25519.Signing.PrivateKey())] {
            let found = refusal { _ = try test.authority.prepareResponder(csr: try requestDER(key)) }
            #expect(found.code == .refused && found.detail.contains("P-256"))
        }
        let own = refusal { _ = try test.authority.prepareResponder(csr: try requestDER(.init(test.caKey))) }
        #expect(own.code == .refused && own.detail.contains("CA's own"))
        var forged = try requestDER(.init(P256.Signing.PrivateKey()))
        // Within the signature.
        forged[forged.count - 5] ^= 1
        #expect(refusal { _ = try test.authority.prepareResponder(csr: forged) }.code == .csr)
        for garbage: [UInt8] in [[], [0x30], [0x30, 0x80], Array("-----BEGIN".utf8)] {
            #expect(refusal { _ = try test.authority.prepareResponder(csr: garbage) }.code == .csr)
        }
        let key = P256.Signing.PrivateKey()
        let first = try test.certifyResponder(key)
        // The same key again is no fault: a responder may keep it.
        _ = try test.certifyResponder(key)
        try test.revoke(.serial(first.serial), reason: .keyCompromise)
        #expect(refusal { _ = try test.certifyResponder(key) }.detail.contains("keyCompromise"))
        #expect(test.authority.state.responders.serials.count == 2)
    }

    @Test("is given although the clock stands before the last record, with the clock's own times, and not outside the CA's life")
    func clock() throws {
        let test = try TestAuthority()
        test.clock.move(bySeconds: 100_000)
        _ = try test.generate("a.example.org")
        test.clock.move(bySeconds: -90_000)
        #expect(refusal { _ = try test.generate("b.example.org") }.detail.contains("clock"))
        let record = try test.certifyResponder()
        #expect(record.notAfter == TestAuthority.start.advanced(bySeconds: 10_000 + 172_800))
        test.clock.move(bySeconds: 3_700 * 86_400)
        #expect(refusal { _ = try test.certifyResponder() }.detail.contains("not valid now"))
    }
}

@Suite("How many responder certificates there are")
struct ResponderCountTests {
    @Test("the newest two stand, each older one is superseded in the same commit, with record and event; also after a restart")
    func two() throws {
        let test = try TestAuthority()
        let first = try test.certifyResponder()
        let second = try test.certifyResponder()
        #expect(test.authority.state.eventSequence == 0)
        let reopened = try test.reopened()
        #expect(reopened.state.responders == test.authority.state.responders)
        let third = try reopened.prepareResponder(csr: try requestDER(.init(P256.Signing.PrivateKey())))
        let context = TestAuthority.context("responder_certificate", bridge)
        let report = reopened.commit([Change<Void>(context, needs: .anyone, isVital: true) { try $0.recordResponder(third) }])
        _ = try report.results.first?.get()
        let revocation = try #require(try reopened.standing(first.serial).revocation)
        #expect(revocation.reason == .superseded && report.wantsCRL)
        #expect(report.events == [.status(sequence: 1, serial: first.serial, revocation: revocation)])
        #expect(try reopened.standing(second.serial).revocation == nil)
        #expect(reopened.state.responders.serials == [second.serial, third.record.serial])
        let records = try test.store.read { try $0.auditRecords(after: 0, limit: 10) }.suffix(2)
        #expect(records.map(\.serial) == [third.record.serial.hexadecimal, first.serial.hexadecimal])
        #expect(records.allSatisfy { $0.task == "responder_certificate" && $0.proof == "local uid 7" && $0.outcome == .done })
        let fingerprint = SHA256.hash(data: third.record.der).map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
        #expect(records.first?.target == "/O=Test/CN=Test CA OCSP Responder")
        #expect(records.first?.detail == "profile ocsp, until 2026-11-25T12:00:00Z, SHA-256 \(fingerprint)")
        #expect(records.last?.detail == "reason superseded")
        #expect(try reopened.verifyAudit().firstBad == nil)
    }

    @Test("what was revoked or has expired already stays as it is")
    func ended() throws {
        let test = try TestAuthority()
        let first = try test.certifyResponder()
        try test.revoke(.serial(first.serial), reason: .keyCompromise)
        let second = try test.certifyResponder()
        try test.certifyResponder()
        #expect(try test.revocation(first.serial)?.reason == .keyCompromise)
        test.clock.move(bySeconds: 172_801)
        try test.certifyResponder()
        #expect(try test.revocation(second.serial) == nil)
    }

    @Test("240 at once and one more in ten minutes; the refusal names the wait, and a restart forgets nothing")
    func rate() throws {
        let test = try TestAuthority()
        for _ in 0..<240 { try test.certifyResponder() }
        func attempt() -> String { refusal { try test.certifyResponder() }.detail }
        #expect(attempt().hasPrefix("Busy: the OCSP responder was given 240 certificates in a short time; the next one in 600 s"))
        let certificates = try test.store.read { try $0.certificateCount() }
        #expect(certificates == 240)
        test.clock.move(bySeconds: 599)
        #expect(attempt().contains("the next one in 1 s"))
        #expect(try test.reopened().state.responders == test.authority.state.responders)
        test.clock.move(bySeconds: 1)
        try test.certifyResponder()
        #expect(attempt().contains("the next one in 600 s"))
        // In forty hours of rest all are there again.
        test.clock.move(bySeconds: 144_000)
        for _ in 0..<240 { try test.certifyResponder() }
        #expect(attempt().contains("the next one in 600 s"))
    }

    @Test("a clock that ran ahead for years keeps no certificate from the responder once it is right again")
    func aheadOfTime() throws {
        let test = try TestAuthority()
        test.clock.move(bySeconds: 1_000 * 86_400)
        for _ in 0..<240 { try test.certifyResponder() }
        test.clock.move(bySeconds: -1_000 * 86_400)
        try test.commit("accept_clock", isVital: true) { try $0.acceptClock() }
        // It gets one at once, and then one each ten minutes until the burst is there again.
        try test.certifyResponder()
        #expect(refusal { try test.certifyResponder() }.detail.contains("the next one in 600 s"))
        #expect(throws: AuthorityError(.busy, "")) { try test.certifyResponder() }
        test.clock.move(bySeconds: 600)
        try test.certifyResponder()
        #expect(throws: AuthorityError(.busy, "")) { try test.certifyResponder() }
    }
}

@Suite("The CA's own serial number")
struct OwnSerialTests {
    @Test("is good, whatever the store says of certificates, until it is revoked; of a CA that another one certified it is nobody's")
    func own() throws {
        let test = try TestAuthority()
        let own = try #require(test.authority.issuer.ownSerial)
        let record = try test.generate("a.example.org")
        let unknown = try #require(SerialNumber(text: "5"))
        let found = try test.authority.summaries([own, record.serial, unknown])
        #expect(found[0] == SerialSummary(commonName: "Test CA", notAfter: test.authority.issuer.notAfter, revocation: nil))
        #expect(found[1] == SerialSummary(commonName: "a.example.org", notAfter: record.notAfter, revocation: nil))
        #expect(found[2] == SerialSummary(commonName: "", notAfter: nil, revocation: nil))
        let key = P256.Signing.PrivateKey()
        let folder = try OpenSSLFolder()
        try folder.write(test.caKey.pemRepresentation, "ca.key")
        try folder.write(test.authority.issuer.pem, "ca.pem")
        try folder.write(try TestAuthority.csr("/CN=Sub", key: .init(key)), "sub.csr")
        try folder.openssl(
            "x509", "-req", "-in", "sub.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-days", "1", "-outform", "DER", "-out", "s")
        #expect(try Issuer(der: try folder.read("s"), key: .init(key)) { _, _ in [] }.ownSerial == nil)
    }
}

@Suite("Events")
struct StatusEventTests {
    /// What OCSP would say.
    private enum Status: Equatable {
        case good, unknown
        case revoked(CRLReason, UnixTime)
    }

    private static func status(_ test: TestAuthority, _ serial: SerialNumber) throws -> Status {
        let standing = try test.authority.standing(serial)
        if let revocation = standing.revocation { return .revoked(revocation.reason, revocation.revokedAt) }
        return standing.certificate == nil ? .unknown : .good
    }

    /// Runs a change, and holds every difference that it makes against the events that it publishes.
    private func watch(
        _ test: TestAuthority, _ serials: [SerialNumber], changes expected: Int, _ what: String,
        _ run: @escaping @Sendable (inout Commit) throws -> Void
    ) throws {
        let before = try serials.map { try Self.status(test, $0) }
        let start = test.authority.state.eventSequence
        let context = TestAuthority.context(what, TestAuthority.operatorOnHost)
        let report = test.authority.commit([Change<Void>(context, needs: .local, run: run)])
        for result in report.results { try result.get() }
        var told: [SerialNumber: Status] = [:]
        for event in report.events {
            switch event {
            case .status(_, let serial, let revocation): told[serial] = revocation.map { .revoked($0.reason, $0.revokedAt) } ?? .good
            case .forgotten(_, let serial): told[serial] = .unknown
            case .window, .missed: Issue.record("\(what): \(event)")
            }
        }
        let differences = try zip(serials, before).filter { serial, old in try Self.status(test, serial) != old }.map(\.0)
        #expect(differences.count == expected, "\(what)")
        for serial in differences { #expect(try told[serial] == Self.status(test, serial), "\(what): \(serial.decimal)") }
        #expect(told.count == expected, "\(what): \(told)")
        #expect(report.events.map(\.sequence) == report.events.indices.map { start + 1 + Int64($0) }, "\(what)")
        #expect(test.authority.state.eventSequence == start + Int64(report.events.count), "\(what)")
    }

    @Test("each way in which a status changes says so, serial number by serial number, with what it is now; nothing else does")
    func allWays() throws {
        let test = try TestAuthority()
        let authority = test.authority
        try test.openRegistration()
        let node = try test.register("ra.example.org", from: "127.0.0.9", token: "upkireg_one").certificate
        let names = (0..<8).map { "h\($0).example.org" }
        let hosts = try names.map { try test.generate($0).serial }
        let twins = try (0..<2).map { _ in try test.sign(try TestAuthority.csr("/CN=twin.example.org")).serial }
        let strangers = try ["1", "2"].map { try #require(SerialNumber(text: $0)) }
        let all = [node.serial] + hosts + twins + strangers
        func watch(_ what: String, _ changes: Int, _ run: @escaping @Sendable (inout Commit) throws -> Void) throws {
            try self.watch(test, all, changes: changes, what, run)
        }
        try watch("revoke", 1) { try $0.revoke(.serial(hosts[0]), reason: .keyCompromise) }
        try watch("revoke again", 0) { try $0.revoke(.serial(hosts[0]), reason: .superseded) }
        try watch("revoke by name", 2) { try $0.revoke(.commonName("twin.example.org"), reason: .unspecified) }
        try watch("hold", 1) { try $0.revoke(.serial(hosts[1]), reason: .certificateHold) }
        try watch("release", 1) { try $0.unrevoke(.serial(hosts[1])) }
        try watch("hold", 1) { try $0.revoke(.serial(hosts[1]), reason: .certificateHold) }
        try watch("make a hold final", 1) { try $0.revoke(.serial(hosts[1]), reason: .superseded) }
        try watch("delete", 1) { try $0.delete(.serial(hosts[2]), in: authority) }
        try watch("delete what is revoked", 0) { try $0.delete(.serial(hosts[0]), in: authority) }
        try watch("remove_node", 1) { try $0.removeNode(commonName: "ra.example.org") }
        let actor = authority.actor(TestAuthority.operatorOnHost)
        let old = try authority.find(.serial(hosts[3]), actor: actor).certificate
        let renewed = try authority.prepareRenewal(of: old, days: nil, actor: actor, task: "renew")
        try watch("renew", 1) { try $0.renew(hosts[3], by: renewed, revokesOld: true, in: authority) }
        let entries = [
            TakenOverEntry(serial: strangers[0], reason: .certificateHold, revokedAt: UnixTime(5)),
            TakenOverEntry(serial: strangers[1], reason: .superseded, revokedAt: UnixTime(6)),
            TakenOverEntry(serial: hosts[4], reason: .keyCompromise, revokedAt: UnixTime(7)),
            TakenOverEntry(serial: hosts[0], reason: .superseded, revokedAt: UnixTime(8)),
        ]
        let list = TakenOverList(number: nil, thisUpdate: UnixTime(9))
        try watch("import_crl", 3) { _ = try $0.takeOver(entries, of: list, range: 0..<4) }
        // Nothing is known of it any more: it is not good.
        try watch("release what was taken over", 1) { try $0.unrevoke(.serial(strangers[0])) }
        try watch("make stronger what was taken over", 1) { try $0.revoke([strangers[1]], reason: .keyCompromise) }
        try watch("publish a CRL", 0) { _ = try $0.planRevocationList() }
    }

    @Test("a serial number of which nothing was known needs none: unknown is never kept")
    func issued() throws {
        let test = try TestAuthority()
        let record = try test.generate("a.example.org")
        #expect(test.authority.state.eventSequence == 0)
        let other = try TestAuthority(key: test.caKey)
        #expect(try Self.status(other, record.serial) == .unknown)
        let context = TestAuthority.context("adopt_certificate", TestAuthority.operatorOnHost)
        let proven = try other.authority.provenRecord(of: record.der, profile: "server")
        let report = other.authority.commit([Change<Bool>(context, needs: .local) { try $0.adopt(proven) }])
        #expect(try report.results.first?.get() == true && report.events.isEmpty)
        #expect(try Self.status(other, record.serial) == .good)
    }
}
