// Taking revocations over from CRLs that openssl signed with the CA's key: which lists are accepted, and what their entries change.

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

/// `openssl ca` with a key and a certificate that somebody else made.
private struct OpenSSLLists {
    let folder: OpenSSLFolder

    init(keyPEM: String, certificatePEM: String) throws {
        self.folder = try OpenSSLFolder()
        try self.folder.write(keyPEM, "ca.key")
        try self.folder.write(certificatePEM, "ca.pem")
        try self.folder.write(
            "[ca]\ndefault_ca = a\n[a]\ndatabase = index.txt\ncrlnumber = number\ndefault_md = sha256\n[crl]\nauthorityKeyIdentifier = keyid:always\n",
            "ca.cnf")
    }

    /// - Parameters:
    ///   - revoked: dates with reasons as openssl's database has them, and serial numbers in hexadecimal.
    ///   - number: hexadecimal; nil for a list without extensions.
    func list(_ revoked: [(String, String)], number: String? = "01", digest: String = "sha256", thisUpdate: String = "20261120000000Z")
        throws
        -> [UInt8]
    {
        try self.folder.write(revoked.map { "R\t351231235959Z\t\($0.0)\t\($0.1)\tunknown\t/CN=x\n" }.joined(), "index.txt")
        if let number {
            try self.folder.write(number + "\n", "number")
        } else {
            try self.folder.write(try self.folder.text("ca.cnf").replacing("crlnumber = number\n", with: ""), "ca.cnf")
        }
        var command = [
            "openssl", "ca", "-gencrl", "-config", "ca.cnf", "-keyfile", "ca.key", "-cert", "ca.pem", "-md", digest, "-crl_lastupdate",
            thisUpdate, "-crl_nextupdate", "20270120000000Z", "-out", "l.pem",
        ]
        if number != nil { command += ["-crlexts", "crl"] }
        try self.folder.run(command)
        try self.folder.openssl("crl", "-in", "l.pem", "-outform", "DER", "-out", "l.der")
        return try self.folder.read("l.der")
    }
}

extension TestAuthority {
    fileprivate func lists() throws -> OpenSSLLists {
        try OpenSSLLists(keyPEM: self.caKey.pemRepresentation, certificatePEM: self.authority.issuer.pem)
    }

    /// Takes a list over as the program does.
    @discardableResult
    fileprivate func takeOver(_ der: [UInt8]) throws -> TakingOverCount {
        let list = try StreamedCertificateList(MemoryCRLSource(der))
        let facts = try self.authority.issuer.check(list)
        var entries: [TakenOverEntry] = []
        var cursor = list.makeCursor()
        while let entry = try cursor.next() { if let entry = TakenOverEntry(entry) { entries.append(entry) } }
        let all = entries
        return try self.commit("import_crl", needs: .local) { commit in
            let count = try commit.takeOver(all, of: facts, range: 0..<all.count)
            try commit.finishTakingOver(facts, entries: all.count, count)
            return count
        }
    }
}

@Suite("Which CRLs are this CA's")
struct ForeignListTests {
    /// An issuer whose key and certificate openssl made.
    private static func issuer(_ key: [String]) throws -> (issuer: Issuer, lists: OpenSSLLists) {
        let folder = try OpenSSLFolder()
        try folder.run(["openssl", "genpkey"] + key + ["-out", "k.pem"])
        try folder.openssl("req", "-x509", "-new", "-key", "k.pem", "-subj", "/C=FR/O=Old/CN=Old CA", "-days", "3650", "-out", "c.pem")
        let pem = try folder.text("c.pem")
        let der = try #require(PEM.decodeFirst(pem, labels: ["CERTIFICATE"]))
        let keyPEM = try folder.text("k.pem")
        let issuer = try Issuer(der: der, key: try Certificate.PrivateKey(pemEncoded: keyPEM)) { _, _ in [] }
        return (issuer, try OpenSSLLists(keyPEM: keyPEM, certificatePEM: pem))
    }

    @Test(
        "a list that openssl signed with any CA key and any digest is accepted, with its number and date; changed by a bit it is not",
        arguments: [
            (["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"], ["sha256", "sha384", "sha512"]),
            (["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"], ["sha256", "sha384", "sha512"]),
            (["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"], ["sha256", "sha384", "sha512"]),
            (["-algorithm", "ED25519"], ["null"]),
        ])
    func accepted(_ key: [String], _ digests: [String]) throws {
        let (issuer, lists) = try Self.issuer(key)
        for digest in digests {
            let der = try lists.list([("261101000000Z", "01"), ("261102000000Z,keyCompromise", "02")], number: "0A", digest: digest)
            let facts = try issuer.check(try StreamedCertificateList(MemoryCRLSource(der)))
            #expect(facts == TakenOverList(number: CRLNumber(10), thisUpdate: try #require(UnixTime(rfc3339: "2026-11-20T00:00:00Z"))))
            // The first entry's serial number; everything else stays well-formed.
            var changed = der
            let index = try #require(der.firstRange(of: [0x02, 0x01, 0x01, 0x17])).lowerBound + 2
            changed[index] = 3
            let error = refusal { _ = try issuer.check(try StreamedCertificateList(MemoryCRLSource(changed))) }
            #expect(error.code == .refused && error.detail.contains("was not signed with this CA's key"))
        }
    }

    @Test("a list of another name, another key of the same name, or with SHA-1 is refused with the reason")
    func refused() throws {
        let (issuer, lists) = try Self.issuer(["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"])
        func words(_ issuer: Issuer, _ der: [UInt8]) -> String {
            refusal { _ = try issuer.check(try StreamedCertificateList(MemoryCRLSource(der))) }.detail
        }
        #expect(words(issuer, try lists.list([], digest: "sha1")).contains("which is not accepted"))
        let (other, _) = try Self.issuer(["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"])
        #expect(words(other, try lists.list([])).contains("was not signed with this CA's key"))
        let (elliptic, _) = try Self.issuer(["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"])
        #expect(words(elliptic, try lists.list([])).contains("was not signed with this CA's key"))
        let test = try TestAuthority()
        #expect(
            words(test.authority.issuer, try lists.list([]))
                == "the CRL is one of /C=FR/O=Old/CN=Old CA, and this CA is /C=FR/O=Test/CN=Test CA")
    }

    @Test("a number after which there is hardly any is refused; one of 20 octets is not")
    func greatNumbers() throws {
        let test = try TestAuthority()
        let lists = try test.lists()
        let error = refusal { try test.takeOver(try lists.list([], number: "80" + String(repeating: "00", count: 19))) }
        #expect(error.code == .refused && error.detail.contains("too great"))
        try test.takeOver(try lists.list([], number: "7F" + String(repeating: "FF", count: 18) + "FE"))
        let next = try test.commit("crl") { try $0.planRevocationList().number }
        #expect(next.bytes.elementsEqual([0x7f] + [UInt8](repeating: 0xff, count: 19)))
        #expect(try test.reopened().state.crlNumber == next)
        // openssl reads the number of a list that is made with it.
        let folder = try OpenSSLFolder()
        try folder.write(try test.revocationList(), "l.der")
        #expect(
            try folder.openssl("crl", "-inform", "DER", "-in", "l.der", "-noout", "-crlnumber").contains(
                "0x80" + String(repeating: "00", count: 19)))
    }
}

@Suite("Taking revocations over")
struct TakingOverTests {
    private func serial(_ text: String) throws -> SerialNumber { try #require(SerialNumber(text: text)) }

    @Test("entries of certificates that are not known stand with their date and reason, for ever, and on the next CRL")
    func unknown() throws {
        let test = try TestAuthority()
        let count = try test.takeOver(
            try test.lists().list([
                ("250101000000Z", "0A01"), ("250102000000Z,keyCompromise", "0A02"), ("250103000000Z,superseded", "0A03"),
            ]))
        #expect((count.new, count.replaced, count.standing, count.keysNotBlocked) == (3, 0, 0, 1))
        let found = try #require(try test.revocation(try self.serial("0x0A02")))
        #expect(found.reason == .keyCompromise && found.notAfter == UnixTime(.max))
        #expect(found.revokedAt == UnixTime(rfc3339: "2025-01-02T00:00:00Z"))
        #expect(try test.revocation(try self.serial("0x0A01"))?.reason == .unspecified)
        #expect(test.authority.state.eventSequence == 3)
        _ = try test.revocationList()
        test.clock.move(bySeconds: 400 * 86_400)
        let list = try CertificateList(derEncoded: try test.revocationList())
        var serials: [[UInt8]] = []
        try list.tbsCertList.revokedCertificates?.forEachEntry { serials.append(Array($0.serialNumber)) }
        #expect(serials == [[0x0a, 0x01], [0x0a, 0x02], [0x0a, 0x03]])
    }

    @Test("each change is published with its number and audited with the list; a second time nothing changes and nothing is published")
    func twice() throws {
        let test = try TestAuthority()
        let der = try test.lists().list([("250101000000Z", "01"), ("250102000000Z,keyCompromise", "02")], number: "2A")
        let list = try StreamedCertificateList(MemoryCRLSource(der))
        let facts = try test.authority.issuer.check(list)
        let entries = [
            TakenOverEntry(serial: try self.serial("1"), reason: .unspecified, revokedAt: UnixTime(1)),
            TakenOverEntry(serial: try self.serial("2"), reason: .keyCompromise, revokedAt: UnixTime(2)),
        ]
        let context = TestAuthority.context("import_crl", TestAuthority.operatorOnHost)
        let change = Change<TakingOverCount>(context, needs: .local) { try $0.takeOver(entries, of: facts, range: 100..<102) }
        let first = test.authority.commit([change])
        #expect(try first.results[0].get().new == 2 && first.wantsCRL)
        #expect(first.events.map(\.sequence) == [1, 2])
        #expect(try test.reopened().state.eventSequence == 2)
        let record = try #require(try test.store.read { try $0.lastAuditRecord() })
        #expect(
            record.detail
                == "CRL 42 of 2026-11-20T00:00:00Z, entries 101 to 102: 2 new, 0 replaced, 0 stood already; "
                + "1 for keyCompromise, whose certificates are not known here: their keys cannot be blocked")
        #expect(try test.authority.changing(entries).isEmpty)
        let second = test.authority.commit([change])
        #expect(
            try second.results[0].get()
                == {
                    var count = TakingOverCount()
                    count.standing = 2
                    return count
                }())
        #expect(second.events.isEmpty && !second.wantsCRL && test.authority.state.eventSequence == 2)
        #expect(try test.store.read { try $0.verifyAudit() }.firstBad == nil)
    }

    @Test("a certificate that is known keeps its own end, its key is blocked and its node ends")
    func known() throws {
        let test = try TestAuthority()
        try test.openRegistration()
        let (node, record) = try test.register("ra.example.org", from: "127.0.0.9", token: "upkireg_one")
        #expect(node.state == .live)
        let count = try test.takeOver(try test.lists().list([("261120000000Z,keyCompromise", record.serial.hexadecimal.uppercased())]))
        #expect(count.new == 1 && count.keysNotBlocked == 0)
        #expect(try test.revocation(record.serial)?.notAfter == record.notAfter)
        #expect(test.authority.state.nodes[node.id]?.state == .revoked)
        let key = try #require(P256.Signing.PublicKey(try Certificate(derEncoded: record.der).publicKey))
        let hash = Array(SHA256.hash(data: key.derRepresentation))
        #expect(try test.store.read { try $0.isBlocked(keyHash: hash) })
    }

    @Test(
        "what stands stays unless the entry is stronger, as when it is revoked twice",
        arguments: [
            (CRLReason.certificateHold, "261101000000Z,superseded", CRLReason.superseded, "2026-11-01T00:00:00Z"),
            (.superseded, "261101000000Z,keyCompromise", .keyCompromise, "2026-11-01T00:00:00Z"),
            (.superseded, "291101000000Z,keyCompromise", .keyCompromise, "2026-11-23T12:00:00Z"),
            (.superseded, "261101000000Z", .superseded, "2026-11-23T12:00:00Z"),
            (.keyCompromise, "261101000000Z,CACompromise", .keyCompromise, "2026-11-23T12:00:00Z"),
            (.unspecified, "261101000000Z,holdInstruction,holdInstructionReject", .unspecified, "2026-11-23T12:00:00Z"),
        ])
    func strength(_ standing: CRLReason, _ entry: String, _ expected: CRLReason, _ time: String) throws {
        let test = try TestAuthority()
        let record = try test.generate("a.example.org")
        try test.revoke(.serial(record.serial), reason: standing)
        try test.takeOver(try test.lists().list([(entry, record.serial.hexadecimal.uppercased())]))
        let now = try #require(try test.revocation(record.serial))
        #expect(now.reason == expected && now.revokedAt == UnixTime(rfc3339: time))
    }

    @Test("a hold that was taken over is released, or made final, by an admin and by nobody else")
    func holds() throws {
        let test = try TestAuthority()
        try test.addNode("node", at: "127.0.0.1")
        try test.takeOver(
            try test.lists().list([
                ("261101000000Z,holdInstruction,holdInstructionReject", "01"),
                ("261101000000Z,holdInstruction,holdInstructionReject", "02"),
                ("261101000000Z,superseded", "03"),
            ]))
        let (first, second, third) = (try self.serial("1"), try self.serial("2"), try self.serial("3"))
        #expect(try test.revocation(first)?.reason == .certificateHold)
        let node = TestAuthority.front("127.0.0.1")
        #expect(refusal { try test.revoke(.serial(first), by: node) }.code == .certificateNotFound)
        #expect(
            refusal { try test.commit("unrevoke", by: node, needs: .node) { try $0.unrevoke(.serial(first)) } }.code == .certificateNotFound
        )
        try test.commit("unrevoke") { try $0.unrevoke(.serial(first)) }
        #expect(try test.revocation(first) == nil)
        let actor = test.authority.actor(TestAuthority.operatorOnHost)
        #expect(try test.authority.revocationTargets(.serial(second), reason: .keyCompromise, actor: actor) == [second])
        try test.commit("revoke") { try $0.revoke([second], reason: .keyCompromise) }
        #expect(try test.revocation(second)?.reason == .keyCompromise && test.revocation(second)?.notAfter == UnixTime(.max))
        #expect(refusal { try test.commit("unrevoke") { try $0.unrevoke(.serial(third)) } }.detail.contains("only certificateHold"))
    }

    @Test("serial number 0 and removeFromCRL revoke nothing")
    func unusable() throws {
        let date = try X509Time(unixSeconds: 1_735_689_600)
        #expect(TakenOverEntry(try RevokedCertificate(serialNumber: [5], revocationDate: date, reason: .removeFromCRL)) == nil)
        let test = try TestAuthority()
        let list = try StreamedCertificateList(MemoryCRLSource(try test.lists().list([("250101000000Z", "00")])))
        var cursor = list.makeCursor()
        #expect(TakenOverEntry(try #require(try cursor.next())) == nil)
    }

    @Test("the next CRL has a number above the list's, and the note says up to when revocations are known")
    func numberAndNote() throws {
        let test = try TestAuthority()
        #expect(test.authority.state.recoveryNote == nil)
        try test.takeOver(try test.lists().list([], number: "7FFFFFFFFFFFFFFF"))
        #expect(test.authority.state.recoveryNote == nil)
        #expect(try test.commit("crl") { try $0.planRevocationList().number }.decimal == "9223372036854775808")
        let time = TestAuthority.start
        try test.commit("init") { commit in
            try commit.set(RecoveryNote(.recovered, at: time))
            try commit.audit()
        }
        #expect(
            test.authority.state.recoveryNote?.sentence
                == "recovered from the seed at 2026-11-23T12:00:00Z without a CRL: what was issued or revoked before is not known here, and what was revoked counts as good"
        )
        try test.takeOver(try test.lists().list([], number: "2B", thisUpdate: "20261119000000Z"))
        try test.takeOver(try test.lists().list([], number: nil, thisUpdate: "20261118000000Z"))
        let sentence =
            "recovered from the seed at 2026-11-23T12:00:00Z with CRL 43 of 2026-11-19T00:00:00Z: what was issued before is not known here, nor what was revoked after 2026-11-19T00:00:00Z"
        #expect(test.authority.state.recoveryNote?.sentence == sentence)
        #expect(try test.reopened().state.recoveryNote?.sentence == sentence)
        #expect(
            try test.store.read { try $0.lastAuditRecord() }?.detail.contains("CRL without a number of 2026-11-18T00:00:00Z was taken over")
                == true)
    }
}

@Suite("Adopting certificates of a lost store")
struct AdoptingTests {
    /// Two authorities with one key and one name: the lost one, and the one that was made again.
    private func pair() throws -> (lost: TestAuthority, new: TestAuthority) {
        let lost = try TestAuthority()
        return (lost, try TestAuthority(key: lost.caKey))
    }

    @Test("it is known, revoked and renewed as all others; a second time changes nothing")
    func adopted() throws {
        let (lost, new) = try self.pair()
        let record = try lost.generate("a.example.org", names: [.dns("b.example.org")])
        let proven = try new.authority.provenRecord(of: record.der, profile: "webapp")
        #expect(proven.serial == record.serial && proven.subject == record.subject && proven.notAfter == record.notAfter)
        #expect(try new.commit("adopt_certificate", needs: .local) { try $0.adopt(proven) })
        #expect(try !new.commit("adopt_certificate", needs: .local) { try $0.adopt(proven) })
        #expect(try new.store.read { try $0.certificateCount() } == 1)
        #expect(try new.authority.standing(record.serial).certificate?.profile == "webapp")
        // Both draw the same random numbers; the time makes serial numbers differ.
        new.clock.move(bySeconds: 1)
        let renewed = try new.renew(record.serial)
        #expect(renewed.subject == record.subject && renewed.serial != record.serial)
        try new.revoke(.serial(record.serial), reason: .keyCompromise)
        #expect(try new.revocation(record.serial)?.notAfter == record.notAfter)
        #expect(refusal { try new.renew(renewed.serial) }.detail.contains("keyCompromise"))
    }

    @Test("what a CRL said of it before holds: its revocation ends with it, and its key is blocked")
    func revokedBefore() throws {
        let (lost, new) = try self.pair()
        let record = try lost.generate("a.example.org")
        try lost.revoke(.serial(record.serial), reason: .keyCompromise)
        #expect(try new.takeOver(try lost.revocationList()).keysNotBlocked == 1)
        let proven = try new.authority.provenRecord(of: record.der, profile: "server")
        try new.commit("adopt_certificate", needs: .local) { _ = try $0.adopt(proven) }
        #expect(try new.revocation(record.serial)?.notAfter == record.notAfter)
        let key = try #require(P256.Signing.PublicKey(try Certificate(derEncoded: record.der).publicKey))
        let hash = Array(SHA256.hash(data: key.derRepresentation))
        #expect(try new.store.read { try $0.isBlocked(keyHash: hash) })
    }

    @Test("a certificate of another key, of another name, changed, or of the CA itself is refused")
    func refused() throws {
        let (lost, new) = try self.pair()
        let record = try lost.generate("a.example.org")
        func words(_ test: TestAuthority, _ der: [UInt8]) -> String {
            refusal { _ = try test.authority.provenRecord(of: der, profile: "server") }.detail
        }
        #expect(words(try TestAuthority(), record.der).contains("was not signed with this CA's key"))
        #expect(words(try TestAuthority(subject: "/CN=Other"), record.der).contains("is one of /C=FR/O=Test/CN=Test CA"))
        var changed = record.der
        let index = try #require(changed.firstRange(of: Array("a.example.org".utf8))).lowerBound
        changed[index] = UInt8(ascii: "b")
        #expect(words(new, changed).contains("was not signed with this CA's key"))
        #expect(words(new, lost.authority.issuer.der).contains("of the CA itself"))
        #expect(words(new, [1, 2, 3]).contains("cannot be read"))
        #expect(refusal { _ = try new.authority.provenRecord(of: record.der, profile: "nosuch") }.code == .profileNotFound)
    }
}
