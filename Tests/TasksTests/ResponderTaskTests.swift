// What the OCSP bridge asks: its certificate, what it publishes, statuses; and that its profile is reached in no other way.

import Authority
import Crypto
import PKI
import RevocationFormats
import Tasks
import TestAuthority
import Testing
import UPKIProtocol
import X509

private typealias Bench = TaskBench
private let bridge = Caller(proof: .localUser(7), channel: .ocsp)

private func csr() throws -> JSON {
    let pem = try TestAuthority.csr("/CN=bridge")
    let der = try #require(PEM.decodeFirst(pem, labels: ["CERTIFICATE REQUEST"]))
    return .string(String(decoding: Base64.encode(der), as: UTF8.self))
}

private func bytes(_ json: JSON?) throws -> [UInt8] { try #require(json?.stringValue.flatMap { Base64.decode($0.utf8) }) }

@Suite("responder_certificate")
struct ResponderTaskTests {
    @Test("answers with the certificate, the CA's and the end, and keeps an audited certificate like any other")
    func answer() throws {
        let bench = try Bench()
        let answer = try bench.ask("responder_certificate", ["csr": try csr()], by: bridge)
        #expect(answer.names == ["certificate", "ca", "not_after"])
        #expect(answer["not_after"] == .integer(TestAuthority.start.seconds + 172_800))
        #expect(try bytes(answer["ca"]) == bench.test.authority.issuer.der)
        let certificate = try Certificate(derEncoded: try bytes(answer["certificate"]))
        let serial = try #require(SerialNumber(bytes: certificate.serialNumber.bytes))
        let kept = try #require(try bench.test.authority.standing(serial).certificate)
        #expect(try kept.der == bytes(answer["certificate"]) && kept.profile == "ocsp")
        let record = try #require(try bench.test.store.read { try $0.lastAuditRecord() })
        #expect(record.task == "responder_certificate" && record.serial == serial.hexadecimal && record.identity == "uid 7")
        let shown = try bench.ask("view", ["serial": .string(serial.decimal)], by: Bench.operatorOnHost)
        #expect(shown["profile"] == "ocsp")
    }

    @Test("refuses what is no request, in one line, and audits the refusal")
    func refusals() throws {
        let bench = try Bench()
        #expect(bench.refusal("responder_certificate", by: bridge) == "Missing csr parameter")
        let wrong = "Invalid csr parameter: it is base64 of a PKCS#10 request in DER, at most 8 kB"
        #expect(bench.refusal("responder_certificate", ["csr": "§"], by: bridge) == wrong)
        #expect(bench.refusal("responder_certificate", ["csr": .string(String(repeating: "A", count: 8_196))], by: bridge) == wrong)
        #expect(bench.refusal("responder_certificate", ["csr": "AAAA"], by: bridge).hasPrefix("CSR parse error: "))
        for _ in 0..<240 { _ = try bench.ask("responder_certificate", ["csr": try csr()], by: bridge) }
        let busy = bench.refusal("responder_certificate", ["csr": try csr()], by: bridge)
        #expect(busy.hasPrefix("Busy: the OCSP responder was given 240 certificates in a short time; the next one in 600 s"))
        #expect(try bench.test.store.read { try $0.certificateCount() } == 240)
    }

    @Test("goes on where signing is refused: by a clock that was set back")
    func clock() throws {
        let bench = try Bench()
        bench.test.clock.move(bySeconds: 5_000)
        _ = try bench.test.generate("a.example.org")
        bench.test.clock.move(bySeconds: -4_000)
        #expect(bench.refusal("sign", ["csr": .string(try TestAuthority.csr("/CN=b.example.org"))]).contains("the clock stands at"))
        #expect(try bench.ask("responder_certificate", ["csr": try csr()], by: bridge)["certificate"] != nil)
    }

    @Test("is the only way to its profile: no task takes it, makes it, shows it or renews by it")
    func profile() throws {
        let bench = try Bench()
        let answer = try bench.ask("responder_certificate", ["csr": try csr()], by: bridge)
        let certificate = try Certificate(derEncoded: try bytes(answer["certificate"]))
        let serial = try #require(SerialNumber(bytes: certificate.serialNumber.bytes)).decimal
        let pem = try TestAuthority.csr("/CN=a.example.org")
        for caller in [Bench.node, Bench.admin, Bench.operatorOnHost] {
            #expect(bench.refusal("sign", ["csr": .string(pem), "profile": "ocsp"], by: caller) == "Profile not found: ocsp")
            #expect(bench.refusal("generate", ["cn": "x", "profile": "ocsp"], by: caller) == "Profile not found: ocsp")
            #expect(
                bench.refusal("register", ["seed": "upkireg_standing_0", "cn": "x", "profile": "ocsp"], by: caller)
                    == "Profile not found: ocsp")
            #expect(bench.refusal("get_profile", ["profile": "ocsp"], by: caller) == "Profile not found: ocsp")
            #expect(try bench.ask("list_profiles", by: caller).arrayValue?.contains("ocsp") == false)
        }
        for caller in [Bench.admin, Bench.operatorOnHost] {
            let line = "Request refused: ocsp is the profile of the CA's own OCSP responder; choose another name"
            #expect(bench.refusal("add_profile", ["name": "ocsp", "profile": ["duration": 5]], by: caller) == line)
            #expect(
                bench.refusal("update_profile", ["name": "ocsp", "profile": ["duration": 5]], by: caller) == "Profile not found: ocsp")
            #expect(bench.refusal("remove_profile", ["name": "ocsp"], by: caller) == "Profile not found: ocsp")
            #expect(bench.refusal("renew", ["serial": .string(serial)], by: caller) == "Profile not found: ocsp")
        }
        var rules = Rules()
        rules.registrationProfiles = ["ra", "ocsp"]
        try bench.test.reload(rules)
        try bench.test.openRegistration(token: "upkireg_w")
        let registered = bench.refusal("register", ["seed": "upkireg_w", "cn": "ra1", "profile": "ocsp"], by: Bench.registrar)
        #expect(registered == "Profile not found: ocsp")
        let known = PEM.encode(try bytes(answer["certificate"]), label: "CERTIFICATE")
        let adopted = bench.refusal("adopt_certificate", ["certificate": .string(known), "profile": "ocsp"], by: Bench.operatorOnHost)
        #expect(adopted == "Profile not found: ocsp")
        // Profiles from elsewhere, whatever read them, cannot bring it in either.
        let fake = CertificateProfile(name: "ocsp", duration: 1)
        let authority = bench.test.authority
        try bench.test.commit("reload") { try $0.reload(rules: Rules(), profiles: [fake], in: authority) }
        #expect(bench.refusal("sign", ["csr": .string(pem), "profile": "ocsp"], by: Bench.operatorOnHost) == "Profile not found: ocsp")
        // Nodes see the responder's certificates no more than any other's.
        #expect(bench.refusal("view", ["serial": .string(serial)]).hasPrefix("Certificate not found"))
        #expect(bench.refusal("revoke", ["serial": .string(serial)]).hasPrefix("Certificate not found"))
    }
}

@Suite("publication and published_crl")
struct PublicationTaskTests {
    @Test("tell the CA certificate, the CRL, the base URL and the rules of answering as they are now")
    func publication() throws {
        var rules = Rules()
        rules.publicationBaseURL = "http://pki.example.org"
        rules.ocsp.nonce = .require
        let bench = try Bench(rules: rules)
        let before = try bench.ask("publication", by: bridge)
        #expect(try bytes(before["ca"]) == bench.test.authority.issuer.der)
        #expect(before["crl"] == .null && before["base_url"] == "http://pki.example.org")
        #expect(before["ocsp"] == ["validity": 43_200, "max_age": 300, "offline_grace": 60, "nonce": "require"])
        let list = try bytes(try bench.ask("generate_crl"))
        let crl = try #require(try bench.ask("publication", by: bridge)["crl"])
        let fields = try CertificateList(derEncoded: list).tbsCertList
        let digest = SHA256.hash(data: list).map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
        #expect(
            crl == [
                "number": .string(try #require(fields.crlNumber).decimal), "bytes": .integer(list.count), "sha256": .string(digest),
                "this_update": .integer(TestAuthority.start.seconds), "next_update": .integer(TestAuthority.start.seconds + 604_800),
            ])
        var changed = Rules()
        changed.ocsp.validity = 60
        changed.ocsp.maxAge = 5
        changed.ocsp.offlineGrace = 0
        changed.ocsp.nonce = .ignore
        try bench.test.reload(changed)
        let after = try bench.ask("publication", by: bridge)
        #expect(after["base_url"] == .null)
        #expect(after["ocsp"] == ["validity": 60, "max_age": 5, "offline_grace": 0, "nonce": "ignore"])
    }

    @Test("give the CRL in pieces, and refuse a number that is no longer the published one")
    func pieces() throws {
        let bench = try Bench()
        let list = try bytes(try bench.ask("generate_crl"))
        let number = try #require(try bench.ask("publication", by: bridge)["crl"]?["number"])
        func piece(_ offset: Int) throws -> (data: [UInt8], last: JSON?) {
            let answer = try bench.ask("published_crl", ["number": number, "offset": .integer(offset)], by: bridge)
            return (try #require(answer.text("data").flatMap { Base64.decode($0.utf8) }), answer["last"])
        }
        #expect(try piece(0) == (list, true))
        #expect(try piece(100) == (Array(list.dropFirst(100)), true))
        #expect(try piece(list.count) == ([], true))
        let beyond = bench.refusal("published_crl", ["number": number, "offset": .integer(list.count + 1)], by: bridge)
        #expect(beyond == "Invalid offset parameter: it is a whole number from 0 to \(list.count)")
        #expect(bench.refusal("published_crl", ["number": "x"], by: bridge) == "Invalid number parameter: it is a CRL's number in decimal")
        bench.test.clock.move(bySeconds: 1)
        _ = try bench.ask("generate_crl")
        let old = bench.refusal("published_crl", ["number": number], by: bridge)
        #expect(old == "CRL not found: number \(number.stringValue ?? "") is not the published one (any more); begin again")
    }
}

@Suite("statuses")
struct StatusesTests {
    @Test("says of the CA's own certificate that it is good, and of expired ones that they are")
    func own() throws {
        let bench = try Bench()
        let own = try #require(bench.test.authority.issuer.ownSerial)
        let record = try bench.test.generate("a.example.org")
        bench.test.clock.move(bySeconds: 61 * 86_400)
        let answer = try bench.ask("statuses", ["serials": [.string(own.decimal), .string(record.serial.decimal)]], by: bridge)
        #expect(
            answer["statuses"] == [
                ["status": "good", "serial": .string(own.decimal), "cn": "Test CA"],
                ["status": "expired", "serial": .string(record.serial.decimal), "cn": "a.example.org"],
            ])
        #expect(try bench.ask("ocsp_check", ["serial": .string(own.decimal)], by: Bench.stranger)["status"] == "good")
        let pem = try bench.ask("get_ca")
        #expect(try bench.ask("ocsp_check", ["cert": pem, "issuer": pem], by: Bench.stranger)["status"] == "good")
        let other = try TestAuthority().authority.issuer.pem
        #expect(try bench.ask("ocsp_check", ["cert": .string(other)], by: Bench.stranger)["status"] == "unknown")
    }
}
