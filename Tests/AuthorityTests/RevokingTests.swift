// Revoking, releasing, CRLs (section "Revocation" of the design; RFC 5280 5.3.1), with openssl as the judge of lists.

import Authority
import Crypto
import PKI
import RevocationFormats
import TestAuthority
import Testing
import X509

@Suite("Revoking")
struct RevokingTests {
    @Test("the reason and time of the first revocation stand; a repeat is true and changes nothing")
    func repeated() throws {
        let test = try TestAuthority()
        let record = try test.generate("a.example.org")
        try test.revoke(.serial(record.serial), reason: .affiliationChanged)
        let first = try #require(try test.revocation(record.serial))
        #expect(first.reason == .affiliationChanged && first.revokedAt == TestAuthority.start && first.notAfter == record.notAfter)
        let sequence = test.authority.state.eventSequence
        test.clock.move(bySeconds: 60)
        for reason in CRLReason.allCases where reason != .keyCompromise && reason != .removeFromCRL {
            try test.revoke(.serial(record.serial), reason: reason)
            #expect(try test.revocation(record.serial) == first)
        }
        #expect(test.authority.state.eventSequence == sequence)
    }

    @Test("keyCompromise replaces a weaker reason, keeps its time, and is replaced by nothing")
    func compromise() throws {
        let test = try TestAuthority()
        let record = try test.generate("a.example.org")
        try test.revoke(.serial(record.serial), reason: .superseded)
        test.clock.move(bySeconds: 60)
        try test.revoke(.serial(record.serial), reason: .keyCompromise)
        let now = try #require(try test.revocation(record.serial))
        #expect(now.reason == .keyCompromise && now.revokedAt == TestAuthority.start)
        for reason in [CRLReason.cACompromise, .certificateHold, .unspecified] {
            try test.revoke(.serial(record.serial), reason: reason)
            #expect(try test.revocation(record.serial) == now)
        }
    }

    @Test("a hold is released, or made final from then on")
    func hold() throws {
        let test = try TestAuthority()
        let record = try test.generate("a.example.org")
        try test.revoke(.serial(record.serial), reason: .certificateHold)
        try test.commit("unrevoke") { try $0.unrevoke(.commonName("a.example.org")) }
        #expect(try test.revocation(record.serial) == nil)
        #expect(refusal { try test.commit("unrevoke") { try $0.unrevoke(.serial(record.serial)) } }.detail.contains("not revoked"))
        try test.revoke(.serial(record.serial), reason: .certificateHold)
        test.clock.move(bySeconds: 5)
        try test.revoke(.serial(record.serial), reason: .certificateHold)
        #expect(try test.revocation(record.serial)?.revokedAt == TestAuthority.start)
        try test.revoke(.serial(record.serial), reason: .privilegeWithdrawn)
        #expect(try test.revocation(record.serial)?.reason == .privilegeWithdrawn)
        #expect(try test.revocation(record.serial)?.revokedAt == TestAuthority.start.advanced(bySeconds: 5))
    }

    @Test(
        "only certificateHold can be released; under release: any whatever is no compromise",
        arguments: CRLReason.allCases.filter { $0 != .removeFromCRL })
    func releasing(_ reason: CRLReason) throws {
        let test = try TestAuthority()
        let record = try test.generate("a.example.org")
        try test.revoke(.serial(record.serial), reason: reason)
        #expect(
            (refusal { try test.commit("unrevoke") { try $0.unrevoke(.serial(record.serial)) } }.code == .refused)
                == (reason != .certificateHold))
        if reason == .certificateHold { try test.revoke(.serial(record.serial), reason: reason) }
        var rules = Rules()
        rules.release = .any
        try test.reload(rules)
        let compromise = [CRLReason.keyCompromise, .cACompromise, .aACompromise].contains(reason)
        #expect((refusal { try test.commit("unrevoke") { try $0.unrevoke(.serial(record.serial)) } }.code == .refused) == compromise)
    }

    @Test("removeFromCRL is no reason to revoke")
    func removeFromCRL() throws {
        let test = try TestAuthority()
        let record = try test.generate("a.example.org")
        #expect(refusal { try test.revoke(.serial(record.serial), reason: .removeFromCRL) }.code == .invalidParameter)
    }

    @Test("by name it takes all live certificates, held ones too; as superseded all but the newest")
    func byName() throws {
        let test = try TestAuthority()
        func three() throws -> [SerialNumber] { try (0..<3).map { _ in try test.sign(try TestAuthority.csr("/CN=a.example.org")).serial } }
        let name = Selector.name(try .of("CN=a.example.org,OU=Servers,O=Test,C=FR"))
        let first = try three()
        try test.revoke(name, reason: .superseded)
        #expect(try first.map { try test.revocation($0)?.reason } == [.superseded, .superseded, nil])
        try test.revoke(.serial(first[2]), reason: .certificateHold)
        try test.revoke(name, reason: .cessationOfOperation)
        #expect(try test.revocation(first[2])?.reason == .cessationOfOperation)
        let second = try three()
        try test.revoke(.serial(second[0]), reason: .certificateHold)
        try test.revoke(name, reason: .privilegeWithdrawn)
        #expect(try second.map { try test.revocation($0)?.reason } == [.privilegeWithdrawn, .privilegeWithdrawn, .privilegeWithdrawn])
        #expect(try test.revocation(first[0])?.reason == .superseded)
        let alone = try test.sign(try TestAuthority.csr("/CN=a.example.org")).serial
        try test.revoke(name, reason: .superseded)
        #expect(try test.revocation(alone)?.reason == .superseded)
    }

    @Test("a hold by name is released by name, whole")
    func holdByName() throws {
        let test = try TestAuthority()
        let serials = try (0..<3).map { _ in try test.sign(try TestAuthority.csr("/CN=a.example.org")).serial }
        try test.revoke(.serial(serials[0]), reason: .superseded)
        try test.revoke(.commonName("a.example.org"), reason: .certificateHold)
        try test.commit("unrevoke") { try $0.unrevoke(.commonName("a.example.org")) }
        #expect(try serials.map { try test.revocation($0)?.reason } == [.superseded, nil, nil])
    }

    @Test("a bare CN means that CN under every profile, a whole name only its own")
    func commonName() throws {
        let test = try TestAuthority()
        let server = try test.generate("a.example.org")
        let user = try test.generate("a.example.org", profile: "user")
        try test.revoke(.name(try .of(user.subject)))
        #expect(try test.revocation(server.serial) == nil)
        try test.revoke(.commonName("A.EXAMPLE.ORG"))
        #expect(try test.revocation(server.serial) != nil)
        #expect(refusal { try test.revoke(.commonName("other")) }.code == .certificateNotFound)
        #expect(refusal { try test.revoke(.name(PKI.DistinguishedName([.init(.organization, "Test")]))) }.code == .invalidParameter)
    }

    @Test("what is deleted is revoked, out of the inventory, on the CRL, and cannot be released")
    func deleted() throws {
        var rules = Rules()
        rules.release = .any
        let test = try TestAuthority(rules: rules)
        let record = try test.generate("a.example.org")
        let authority = test.authority
        try test.commit("delete") { try $0.delete(.commonName("a.example.org"), in: authority) }
        let actor = authority.actor(TestAuthority.operatorOnHost)
        #expect(try authority.inventory(after: nil, limit: 9, state: nil, actor: actor).isEmpty)
        #expect(try authority.inventory(after: nil, limit: 9, state: "deleted", actor: actor).count == 1)
        #expect(try test.revocation(record.serial)?.reason == .cessationOfOperation)
        #expect(refusal { try test.commit("unrevoke") { try $0.unrevoke(.serial(record.serial)) } }.code == .refused)
        #expect(refusal { _ = try authority.find(.commonName("a.example.org"), actor: actor) }.code == .certificateNotFound)
        try test.generate("a.example.org")
    }

    @Test("a revoked or deleted certificate is not renewed; renewing revokes the old one only where asked")
    func renewing() throws {
        let test = try TestAuthority()
        let record = try test.generate("a.example.org")
        let second = try test.renew(record.serial)
        #expect(try test.revocation(record.serial) == nil)
        #expect(second.serial != record.serial && second.subject == record.subject && second.profile == record.profile)
        let (old, new) = (try Certificate(derEncoded: record.der), try Certificate(derEncoded: second.der))
        #expect(old.publicKey == new.publicKey)
        #expect(try old.extensions.subjectAlternativeNames == new.extensions.subjectAlternativeNames)
        let third = try test.renew(second.serial, revokesOld: true)
        #expect(try test.revocation(second.serial)?.reason == .superseded)
        let authority = test.authority
        let actor = authority.actor(TestAuthority.operatorOnHost)
        #expect(try authority.find(.commonName("a.example.org"), actor: actor).certificate.serial == third.serial)
        let late = try authority.prepareRenewal(of: third, days: nil, actor: actor, task: "renew")
        try test.revoke(.serial(third.serial))
        #expect(
            refusal { try test.commit("renew") { try $0.renew(third.serial, by: late, revokesOld: false, in: authority) } }.code
                == .nodeIsRevoked)
    }

    @Test("reasons are read as names in any case and as codes of RFC 5280")
    func reasons() throws {
        let codes: [(String, CRLReason)] = [
            ("0", .unspecified), ("1", .keyCompromise), ("2", .cACompromise), ("3", .affiliationChanged), ("4", .superseded),
            ("5", .cessationOfOperation),
            ("6", .certificateHold), ("8", .removeFromCRL), ("9", .privilegeWithdrawn), ("10", .aACompromise),
            ("KeyCompromise", .keyCompromise), ("cacompromise", .cACompromise),
        ]
        for (text, reason) in codes { #expect(try Authority.reason(name: text) == reason) }
        for text in ["7", "11", "-1", "256", "99999999999999999999", "1.0", "compromise", " 1", "0x1"] {
            #expect(refusal { _ = try Authority.reason(name: text) }.code == .invalidParameter)
        }
    }
}

@Suite("CRLs that openssl reads")
struct RevocationListTests {
    private func printed(_ test: TestAuthority, _ der: [UInt8]) throws -> String {
        let folder = try OpenSSLFolder()
        try folder.write(der, "l.der")
        try folder.write(test.authority.issuer.pem, "ca.pem")
        return try folder.openssl(
            "crl", "-inform", "DER", "-in", "l.der", "-CAfile", "ca.pem", "-noout", "-verify", "-text", "-nameopt", "RFC2253")
    }

    @Test("an empty one is v2, verifies, and lasts seven days")
    func empty() throws {
        let test = try TestAuthority()
        let text = try self.printed(test, try test.revocationList())
        #expect(text.contains("verify OK") && text.contains("Version 2 (0x1)") && text.contains("No Revoked Certificates."))
        #expect(text.contains("Last Update: Nov 23 12:00:00 2026 GMT") && text.contains("Next Update: Nov 30 12:00:00 2026 GMT"))
        #expect(text.contains("Issuer: CN=Test CA,O=Test,C=FR"))
        #expect(
            text.contains("X509v3 CRL Number: \n                \(TestAuthority.start.seconds * 1_000_000)")
                || text.contains("X509v3 CRL Number"))
        #expect(text.contains("X509v3 Authority Key Identifier"))
    }

    @Test("each revocation stands in it with its reason, none for unspecified; a certificate in it fails openssl verify -crl_check")
    func entries() throws {
        let test = try TestAuthority()
        let first = try test.generate("a.example.org")
        let second = try test.generate("b.example.org")
        let good = try test.generate("c.example.org")
        try test.revoke(.serial(first.serial))
        try test.revoke(.serial(second.serial), reason: .keyCompromise)
        let der = try test.revocationList()
        let text = try self.printed(test, der)
        #expect(text.contains("Serial Number: " + first.serial.hexadecimal.uppercased()))
        #expect(text.ranges(of: "X509v3 CRL Reason Code").count == 1)
        #expect(text.contains("Key Compromise"))
        let folder = try OpenSSLFolder()
        try folder.write(der, "l.der")
        try folder.openssl("crl", "-inform", "DER", "-in", "l.der", "-out", "l.pem")
        try folder.write(test.authority.issuer.pem, "ca.pem")
        try folder.write(PEM.encode(good.der, label: "CERTIFICATE"), "good.pem")
        try folder.write(PEM.encode(first.der, label: "CERTIFICATE"), "bad.pem")
        #expect(
            try folder.openssl("verify", "-crl_check", "-attime", "1795435300", "-CRLfile", "l.pem", "-CAfile", "ca.pem", "good.pem")
                .contains("OK"))
        let failure = #expect(throws: OpenSSLFolder.Failure.self) {
            try folder.openssl("verify", "-crl_check", "-attime", "1795435300", "-CRLfile", "l.pem", "-CAfile", "ca.pem", "bad.pem")
        }
        #expect(failure?.output.contains("certificate revoked") == true)
    }

    @Test("the number is the time in microseconds, and grows when the clock stands still or goes back, also over a restart")
    func numbers() throws {
        let test = try TestAuthority()
        func next() throws -> UInt64 {
            try #require(try test.commit("crl", isVital: true) { try $0.planRevocationList().number }.value)
        }
        let first = try next()
        #expect(first == UInt64(TestAuthority.start.seconds) * 1_000_000)
        #expect(try next() == first + 1)
        test.clock.move(bySeconds: -86_400)
        #expect(try next() == first + 2)
        let again = try test.reopened()
        #expect(again.state.crlNumber.value == first + 2)
        test.clock.move(bySeconds: 86_401)
        #expect(try next() == first + 1_000_000)
    }

    @Test("what a clock that ran ahead revoked stands on a later list with that list's time: clients may take a revocation of the future for none")
    func aheadOfTime() throws {
        let test = try TestAuthority()
        let record = try test.generate("a.example.org")
        test.clock.move(bySeconds: 86_400)
        try test.revoke(.serial(record.serial))
        func times() throws -> (list: Substring?, entry: Substring?) {
            let lines = try self.printed(test, try test.revocationList()).split(separator: "\n")
            func after(_ name: String) -> Substring? {
                lines.first { $0.contains("\(name): ") }?.split(separator: ": ", maxSplits: 1).last
            }
            return (after("Last Update"), after("Revocation Date"))
        }
        #expect(try times().entry == "Nov 24 12:00:00 2026 GMT")
        test.clock.move(bySeconds: -86_000)
        try test.commit("accept_clock", isVital: true) { try $0.acceptClock() }
        let later = try times()
        #expect(later.list == "Nov 23 12:06:40 2026 GMT" && later.entry == later.list)
    }

    private func holds(_ test: TestAuthority, _ serial: SerialNumber, scheduled: Bool = true) throws -> Bool {
        try self.printed(test, try test.revocationList(scheduled: scheduled)).contains("Serial Number: " + serial.hexadecimal.uppercased())
    }

    @Test("an expired entry leaves after it stood on one scheduled CRL that was issued past its notAfter")
    func expired() throws {
        let test = try TestAuthority()
        let record = try test.generate("a.example.org")
        try test.revoke(.serial(record.serial))
        #expect(try self.holds(test, record.serial))
        test.clock.move(bySeconds: 60 * 86_400)
        #expect(try self.holds(test, record.serial))
        test.clock.move(bySeconds: 1)
        #expect(try self.holds(test, record.serial, scheduled: false))
        #expect(try self.holds(test, record.serial, scheduled: false))
        #expect(try self.holds(test, record.serial))
        test.clock.move(bySeconds: 1)
        #expect(try !self.holds(test, record.serial))
        #expect(try !self.holds(test, record.serial))
    }

    @Test("one that was revoked after it had expired stands on one scheduled CRL too")
    func revokedLate() throws {
        let test = try TestAuthority()
        let record = try test.generate("a.example.org")
        test.clock.move(bySeconds: 61 * 86_400)
        _ = try test.revocationList()
        test.clock.move(bySeconds: 10)
        try test.revoke(.serial(record.serial))
        #expect(try self.holds(test, record.serial))
        test.clock.move(bySeconds: 10)
        #expect(try !self.holds(test, record.serial))
    }

    @Test("a list from a clock that ran ahead takes no entry away that has not expired")
    func clockAhead() throws {
        let test = try TestAuthority()
        let record = try test.generate("a.example.org")
        try test.revoke(.serial(record.serial))
        test.clock.move(bySeconds: 400 * 86_400)
        _ = try test.revocationList()
        test.clock.move(bySeconds: -400 * 86_400 + 60)
        #expect(try self.holds(test, record.serial))
    }

    @Test("a released hold leaves at once")
    func released() throws {
        let test = try TestAuthority()
        let record = try test.generate("a.example.org")
        try test.revoke(.serial(record.serial), reason: .certificateHold)
        #expect(try self.printed(test, try test.revocationList()).contains("Certificate Hold"))
        try test.commit("unrevoke") { try $0.unrevoke(.serial(record.serial)) }
        #expect(try !self.holds(test, record.serial))
    }
}
