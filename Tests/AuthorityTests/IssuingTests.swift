// Issuing, rule by rule (section "Issuing" of the design): expected values come from openssl and RFC 5280.

import Authority
import Crypto
import InMemoryStore
import PKI
import RevocationFormats
import SwiftASN1
import TestAuthority
import Testing
import X509

/// The code and words of the refusal that `body` ends with.
func refusal(_ body: () throws -> Void) -> (code: AuthorityError.Code?, detail: String) {
    do { try body() } catch let error as AuthorityError { return (error.code, error.detail) } catch { return (nil, "\(error)") }
    return (nil, "no refusal")
}

extension PKI.DistinguishedName {
    /// A name that the test itself wrote.
    static func of(_ text: String) throws -> PKI.DistinguishedName { try #require(PKI.DistinguishedName.parse(text)) }
}

@Suite("A certificate as openssl reads it")
struct CertificateContentTests {
    private func text(_ test: TestAuthority, _ record: CertificateRecord) throws -> String {
        let folder = try OpenSSLFolder()
        try folder.write(PEM.encode(record.der, label: "CERTIFICATE"), "c.pem")
        try folder.write(test.authority.issuer.pem, "ca.pem")
        let verified = try folder.openssl("verify", "-x509_strict", "-attime", "1795435300", "-CAfile", "ca.pem", "c.pem")
        #expect(verified.contains("OK"))
        return try folder.openssl("x509", "-in", "c.pem", "-noout", "-text", "-nameopt", "RFC2253")
    }

    @Test("a server certificate has what the design says, and openssl verifies it strictly")
    func server() throws {
        var rules = Rules()
        rules.publicationBaseURL = "http://pki.example.org/"
        let test = try TestAuthority(rules: rules)
        let record = try test.sign(
            try TestAuthority.csr("/CN=WWW.example.org/O=Ignored", names: [.dns("a.example.org"), .ip([10, 0, 0, 1])]))
        let text = try self.text(test, record)
        #expect(text.contains("Version: 3 (0x2)"))
        #expect(text.contains("Signature Algorithm: ecdsa-with-SHA256"))
        #expect(text.contains("Issuer: CN=Test CA,O=Test,C=FR"))
        #expect(text.contains("Subject: CN=WWW.example.org,OU=Servers,O=Test,C=FR"))
        #expect(text.contains("X509v3 Key Usage: critical\n                Digital Signature\n"))
        #expect(
            text.contains("X509v3 Basic Constraints: critical\n                CA:FALSE")
                || text.contains("X509v3 Basic Constraints: \n                CA:FALSE"))
        #expect(text.contains("X509v3 Extended Key Usage: \n                TLS Web Server Authentication\n"))
        #expect(text.contains("DNS:www.example.org, DNS:a.example.org, IP Address:10.0.0.1"))
        #expect(text.contains("URI:http://pki.example.org/crl\n"))
        #expect(text.contains("OCSP - URI:http://pki.example.org/ocsp"))
        #expect(text.contains("CA Issuers - URI:http://pki.example.org/ca.crt"))
        #expect(text.contains("X509v3 Subject Key Identifier"))
        #expect(text.contains("X509v3 Authority Key Identifier"))
        #expect(text.contains("Not Before: Nov 23 11:55:00 2026 GMT"))
        #expect(text.contains("Not After : Jan 22 12:00:00 2027 GMT"))
        #expect(!text.contains("Ignored"))
    }

    @Test("the AKI is the key id of the CA certificate's own SKI")
    func authorityKeyIdentifier() throws {
        let test = try TestAuthority()
        let record = try test.sign(try TestAuthority.csr("/CN=a.example.org"))
        let certificate = try Certificate(derEncoded: record.der)
        let ours = try #require(try certificate.extensions.authorityKeyIdentifier?.keyIdentifier)
        let theirs = try #require(try test.authority.issuer.certificate.extensions.subjectKeyIdentifier?.keyIdentifier)
        #expect(ours == theirs)
    }

    @Test(
        "each built-in profile has its days, key usage and purposes",
        arguments: [
            ("ra", 365, "TLS Web Server Authentication, TLS Web Client Authentication"), ("server", 60, "TLS Web Server Authentication"),
            ("webapp", 60, "TLS Web Server Authentication, TLS Web Client Authentication"),
            ("laptop", 30, "TLS Web Client Authentication, E-mail Protection"), ("user", 30, "TLS Web Client Authentication"),
            ("admin", 365, "TLS Web Client Authentication"),
        ])
    func profiles(_ name: String, _ days: Int, _ purposes: String) throws {
        let test = try TestAuthority()
        let record = try test.sign(try TestAuthority.csr("/CN=someone"), profile: name)
        #expect(record.notAfter == TestAuthority.start.advanced(byDays: days))
        let text = try self.text(test, record)
        #expect(text.contains("X509v3 Extended Key Usage: \n                \(purposes)\n"))
        #expect(text.contains("Digital Signature\n") && text.contains("CA:FALSE"))
    }

    @Test("a ca certificate may sign certificates and CRLs, with path length 0")
    func ca() throws {
        let test = try TestAuthority()
        let record = try test.sign(try TestAuthority.csr("/CN=Sub CA"), profile: "ca")
        let text = try self.text(test, record)
        #expect(text.contains("X509v3 Basic Constraints: critical\n                CA:TRUE, pathlen:0"))
        #expect(text.contains("X509v3 Key Usage: critical\n                Certificate Sign, CRL Sign\n"))
        #expect(!text.contains("Extended Key Usage"))
    }

    @Test("an RSA key gets keyEncipherment, an Ed25519 key does not", arguments: [("rsa:2048", true), ("ed25519", false)])
    func keyUsage(_ key: String, _ encipherment: Bool) throws {
        let folder = try OpenSSLFolder()
        try folder.openssl("req", "-new", "-newkey", key, "-nodes", "-keyout", "k.pem", "-subj", "/CN=host.example.org", "-out", "r.pem")
        let test = try TestAuthority()
        let text = try self.text(test, try test.sign(try folder.text("r.pem")))
        #expect(text.contains("Key Encipherment") == encipherment)
    }

    @Test("a serial number has 20 octets, a first bit of 0 and grows in time; 10,000 differ")
    func serials() throws {
        let random = RepeatableRandom()
        var seen: Set<SerialNumber> = []
        for _ in 0..<10_000 { seen.insert(SerialNumber(issuedAt: TestAuthority.start, random: random.next128())) }
        #expect(seen.count == 10_000)
        #expect(seen.allSatisfy { $0.bytes.count == 20 && $0.bytes[0] < 0x80 })
        let later = SerialNumber(issuedAt: TestAuthority.start.advanced(bySeconds: 1), random: (0, 0))
        #expect(seen.allSatisfy { $0 < later })
        // 2026-11-23T12:00:00Z is 217,598,400 s after 2020-01-01T00:00:00Z.
        #expect(SerialNumber(issuedAt: TestAuthority.start, random: (1, 2)).hexadecimal == "0cf849c000000000000000010000000000000002")
    }
}

@Suite("How long a certificate lives")
struct ValidityTests {
    @Test("notAfter stops at the CA's end, notBefore at its beginning")
    func capping() throws {
        let test = try TestAuthority(days: 10)
        let record = try test.sign(try TestAuthority.csr("/CN=a.example.org"))
        #expect(record.notAfter == test.authority.issuer.notAfter)
        #expect(record.notBefore == TestAuthority.start.advanced(bySeconds: -300))
        test.clock.move(bySeconds: 60)
        #expect(try test.sign(try TestAuthority.csr("/CN=b.example.org")).notBefore == TestAuthority.start.advanced(bySeconds: -240))
        test.clock.move(bySeconds: -300)
        #expect(try test.sign(try TestAuthority.csr("/CN=c.example.org")).notBefore == test.authority.issuer.notBefore)
    }

    @Test("nothing is issued before the CA's notBefore or after its notAfter", arguments: [-301, 10 * 86_400, 40 * 86_400] as [Int64])
    func outside(_ move: Int64) throws {
        let test = try TestAuthority(days: 10)
        let csr = try TestAuthority.csr("/CN=a.example.org")
        test.clock.move(bySeconds: move)
        #expect(refusal { try test.sign(csr) }.code == .refused)
        #expect(try test.store.read { try $0.certificateCount() } == 0)
    }

    @Test("days are those of the profile at most, and at least one", arguments: [0, -1, 61, 36_500])
    func days(_ days: Int) throws {
        let test = try TestAuthority()
        let result = refusal { try test.sign(try TestAuthority.csr("/CN=a.example.org"), days: days) }
        #expect(result.code == .invalidParameter)
        #expect(result.detail.contains("1 to 60 days"))
    }

    @Test("an end after 2049 is a GeneralizedTime that openssl reads (RFC 5280 4.1.2.5)")
    func after2049() throws {
        let test = try TestAuthority(days: 12_000, profiles: [CertificateProfile(name: "long", duration: 11_000)])
        let record = try test.sign(try TestAuthority.csr("/CN=a.example.org"), profile: "long")
        let folder = try OpenSSLFolder()
        try folder.write(record.der, "c.der")
        #expect(try folder.openssl("x509", "-inform", "DER", "-in", "c.der", "-noout", "-enddate") == "notAfter=Jan  4 12:00:00 2057 GMT\n")
    }
}

@Suite("CSRs that openssl makes")
struct SigningRequestTests {
    @Test(
        "are accepted with RSA 2048, P-256, P-384, P-521 and Ed25519",
        arguments: [
            ["-newkey", "rsa:2048"], ["-newkey", "rsa:2048", "-sha384"], ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
            ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384", "-sha384"],
            ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-521", "-sha512"],
            ["-newkey", "ed25519"], ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-sha512"],
            ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-newhdr"],
        ])
    func accepted(_ options: [String]) throws {
        let folder = try OpenSSLFolder()
        try folder.run(
            [
                "openssl", "req", "-new", "-nodes", "-keyout", "k.pem", "-subj", "/CN=host.example.org", "-addext",
                "subjectAltName=DNS:alt.example.org", "-out", "r.pem",
            ] + options)
        let test = try TestAuthority()
        let record = try test.sign(try folder.text("r.pem"))
        try folder.write(PEM.encode(record.der, label: "CERTIFICATE"), "c.pem")
        #expect(try folder.openssl("x509", "-in", "c.pem", "-noout", "-pubkey") == folder.openssl("pkey", "-in", "k.pem", "-pubout"))
        #expect(
            try folder.openssl("x509", "-in", "c.pem", "-noout", "-ext", "subjectAltName").contains(
                "DNS:host.example.org, DNS:alt.example.org"))
    }

    @Test(
        "are refused for weak keys and digests, each with its reason",
        arguments: [
            (["-newkey", "rsa:1024"], "1024 bits"), (["-newkey", "rsa:2047"], "2047 bits"),
            (["-newkey", "rsa:2048", "-pkeyopt", "rsa_keygen_pubexp:3"], "smaller than 65537"),
            (["-newkey", "rsa:2048", "-pkeyopt", "rsa_keygen_pubexp:257"], "smaller than 65537"),
            (["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp256k1"], "curve"),
            (["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime192v1"], "curve"), (["-newkey", "rsa:2048", "-sha1"], "SHA-1"),
            (["-newkey", "rsa:2048", "-md5"], "MD5"),
            (["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-sha1"], "SHA-1"), (["-newkey", "ed448"], "Ed25519"),
        ])
    func weak(_ options: [String], _ word: String) throws {
        let folder = try OpenSSLFolder()
        try folder.run(
            ["openssl", "req", "-new", "-nodes", "-keyout", "k.pem", "-subj", "/CN=host.example.org", "-out", "r.pem"] + options)
        let test = try TestAuthority()
        let result = refusal { try test.sign(try folder.text("r.pem")) }
        #expect(result.code == .refused)
        #expect(result.detail.contains(word), "\(result.detail)")
        #expect(try test.store.read { try $0.certificateCount() } == 0)
    }

    @Test("are refused as unreadable where the signature is another key's, of an unknown kind, or a bit is wrong anywhere")
    func broken() throws {
        let folder = try OpenSSLFolder()
        try folder.openssl(
            "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "k.pem", "-subj",
            "/CN=host.example.org", "-outform", "DER", "-out", "r.der")
        let der = try folder.read("r.der")
        let test = try TestAuthority()
        var accepted = 0
        for position in 0..<der.count {
            var copy = der
            copy[position] ^= 0x01
            let result = refusal { try test.sign(PEM.encode(copy, label: "CERTIFICATE REQUEST")) }
            if result.code == nil { accepted += 1 }
            #expect(result.code == .csr || result.code == .refused, "byte \(position): \(result)")
        }
        #expect(accepted == 0)
        try folder.openssl(
            "req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", "k2.pem", "-subj", "/CN=a", "-sigopt", "rsa_padding_mode:pss",
            "-out", "pss.pem")
        #expect(refusal { try test.sign(try folder.text("pss.pem")) }.code == .csr)
    }

    @Test(
        "are refused as unreadable when they are no CSR at all",
        arguments: [
            "", "hello", "-----BEGIN CERTIFICATE REQUEST-----\n-----END CERTIFICATE REQUEST-----",
            "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----",
            "-----BEGIN CERTIFICATE REQUEST-----\nMAA=\n-----END CERTIFICATE REQUEST-----", "-----BEGIN CERTIFICATE REQUEST-----\nMIID",
            "-----BEGIN CERTIFICATE REQUEST-----\nMIQAAAAA\n-----END CERTIFICATE REQUEST-----",
            "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----",
        ])
    func garbage(_ text: String) throws {
        let test = try TestAuthority()
        #expect(refusal { try test.sign(text) }.code == .csr)
    }

    @Test("are refused as unreadable when they are 300,000 letters")
    func longGarbage() throws { try self.garbage(String(repeating: "A", count: 300_000)) }

    @Test("are refused when data follows them, or when they nest 10,000 deep")
    func nesting() throws {
        let test = try TestAuthority()
        let pem = try TestAuthority.csr("/CN=a.example.org")
        let der = try #require(PEM.decodeFirst(pem, labels: ["CERTIFICATE REQUEST"]))
        #expect(refusal { try test.sign(PEM.encode(der + [0], label: "CERTIFICATE REQUEST")) }.code == .csr)
        var deep: [UInt8] = [0x05, 0x00]
        for _ in 0..<10_000 {
            let length = deep.count
            deep =
                [0x30] + (length < 128 ? [UInt8(length)] : [0x83, UInt8(length >> 16), UInt8(length >> 8 & 0xff), UInt8(length & 0xff)])
                + deep
            if deep.count > 60_000 { break }
        }
        #expect(refusal { try test.sign(PEM.encode(deep, label: "CERTIFICATE REQUEST")) }.code == .csr)
    }

    @Test("without the attributes field are accepted, as deployed tools send them")
    func withoutAttributes() throws {
        let key = P256.Signing.PrivateKey()
        let name = try PKI.DistinguishedName.of("/CN=host.example.org").x509()
        var information = DER.Serializer()
        try information.appendConstructedNode(identifier: .sequence) { coder in
            try coder.serialize(0)
            try coder.serialize(name)
            try coder.serialize(Certificate.PublicKey(key.publicKey))
        }
        let signature = try key.signature(for: information.serializedBytes).derRepresentation
        var whole = DER.Serializer()
        try whole.appendConstructedNode(identifier: .sequence) { coder in
            coder.serializeRawBytes(information.serializedBytes)
            try coder.appendConstructedNode(identifier: .sequence) {
                try $0.serialize(ASN1ObjectIdentifier(elements: [1, 2, 840, 10_045, 4, 3, 2]))
            }
            try coder.serialize(ASN1BitString(bytes: Array(signature)[...]))
        }
        let test = try TestAuthority()
        #expect(try test.sign(PEM.encode(whole.serializedBytes, label: "CERTIFICATE REQUEST")).commonName == "host.example.org")
    }

    @Test("with the CA's own key, or for the CA's own name, are refused")
    func theCAItself() throws {
        let test = try TestAuthority(subject: "/CN=Test CA", profiles: [CertificateProfile(name: "bare", duration: 5)])
        #expect(refusal { try test.sign(try TestAuthority.csr("/CN=x", key: .init(test.caKey))) }.detail.contains("the CA's own"))
        #expect(refusal { try test.sign(try TestAuthority.csr("/CN=test  ca"), profile: "bare") }.detail.contains("the CA's own name"))
    }

    @Test("the subject's CN, the key and the SANs are read, nothing else: no extension of the CSR reaches the certificate")
    func nothingElse() throws {
        let folder = try OpenSSLFolder()
        try folder.openssl(
            "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "k.pem", "-subj",
            "/O=Evil/CN=host.example.org", "-out", "r.pem",
            "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=keyCertSign", "-addext", "extendedKeyUsage=OCSPSigning",
            "-addext", "1.2.3.4=DER:0500", "-addext", "subjectAltName=DNS:alt.example.org")
        let test = try TestAuthority()
        let record = try test.sign(try folder.text("r.pem"))
        try folder.write(record.der, "c.der")
        let text = try folder.openssl("x509", "-inform", "DER", "-in", "c.der", "-noout", "-text")
        #expect(text.contains("CA:FALSE"))
        for word in ["CA:TRUE", "Certificate Sign", "OCSP Signing", "1.2.3.4", "Evil"] { #expect(!text.contains(word)) }
    }
}

@Suite("Names in certificates")
struct NameTests {
    @Test("an ACME client's CSR without a subject gets its first DNS name that fits 64 characters as CN")
    func withoutSubject() throws {
        let test = try TestAuthority()
        let long = String(repeating: "a", count: 60) + ".example.org"
        let record = try test.sign(try TestAuthority.csr("", names: [.dns(long), .dns("b.example.org"), .dns("c.example.org")]))
        #expect(record.commonName == "b.example.org")
        #expect(record.subject == "/C=FR/O=Test/OU=Servers/CN=b.example.org")
    }

    @Test("where no DNS name fits, the subject stays empty and the SAN extension is critical (RFC 5280 4.2.1.6)")
    func emptySubject() throws {
        let test = try TestAuthority()
        let long = String(repeating: "a", count: 60) + ".example.org"
        let record = try test.sign(try TestAuthority.csr("", names: [.dns(long)]))
        #expect(record.subject.isEmpty && record.commonName.isEmpty)
        let folder = try OpenSSLFolder()
        try folder.write(record.der, "c.der")
        let text = try folder.openssl("x509", "-inform", "DER", "-in", "c.der", "-noout", "-text")
        #expect(text.contains("X509v3 Subject Alternative Name: critical"))
        #expect(text.contains("Subject: \n"))
    }

    @Test("a CSR that names nothing is refused")
    func nothing() throws {
        let test = try TestAuthority()
        #expect(refusal { try test.sign(try TestAuthority.csr("")) }.code == .refused)
        #expect(refusal { try test.sign(try TestAuthority.csr("/O=Only")) }.code == .refused)
    }

    @Test(
        "a CN that is a host name is among the SANs of server, webapp and ra, and not of user",
        arguments: [("server", true), ("webapp", true), ("ra", true), ("user", false)])
    func commonNameAmongNames(_ profile: String, _ expected: Bool) throws {
        let test = try TestAuthority()
        let certificate = try Certificate(derEncoded: try test.generate("Host.Example.org", profile: profile).der)
        let names = try certificate.extensions.subjectAlternativeNames?.compactMap { AlternativeName($0) } ?? []
        #expect(names == (expected ? [.dns("host.example.org")] : []))
    }

    @Test(
        "alternative names that may be certified are",
        arguments: [
            AlternativeName.dns("single"), .dns("*.example.org"), .dns("xn--bcher-kva.example"), .ip([127, 0, 0, 1]),
            .ip([UInt8](repeating: 0, count: 16)),
            .email("a.b+c@example.org"), .uri("https://example.org/a?b#c"), .uri("urn:uuid:f81d4fae"), .dns("foo.local"),
            .dns("1.2.3.example"),
        ])
    func allowed(_ name: AlternativeName) throws {
        let test = try TestAuthority()
        let certificate = try Certificate(derEncoded: try test.generate("plain name", names: [name]).der)
        #expect(try certificate.extensions.subjectAlternativeNames?.compactMap { AlternativeName($0) } == [name])
    }

    @Test(
        "alternative names that may not are refused, with the name in the words",
        arguments: [
            AlternativeName.dns("localhost"), .dns("local"), .dns("x.invalid"), .dns("*.invalid"), .dns("*.localhost"), .dns("a..b"),
            .dns(".a"), .dns("a."), .dns("-a.b"), .dns("a-.b"),
            .dns("a_b.example"), .dns("*"), .dns("a.*.b"), .dns("f*.example"), .dns("*.*.example"), .dns("bücher.example"), .dns("1.2.3.4"),
            .dns("a b"), .dns(""),
            .dns(String(repeating: "a", count: 64) + ".example"), .dns(Array(repeating: "abcdefg", count: 32).joined(separator: ".")),
            .dns("a\u{0}b.example"),
            .email("root@localhost"), .email("a@b@c"), .email("@example.org"), .email("a"), .email("a@*.example.org"),
            .email("a..b@example.org"),
            .email("Björn@example.org"), .uri("nothing"), .uri("http://a b"), .uri("1http://a"), .uri(":"), .uri("http:"), .ip([1, 2, 3]),
            .ip([1, 2, 3, 4, 5, 6, 7, 8]),
        ])
    func forbidden(_ name: AlternativeName) throws {
        let test = try TestAuthority()
        #expect(refusal { try test.generate("plain name", names: [name]) }.code == .refused)
    }

    @Test(
        "kinds other than DNS, IP, email and URI in a CSR are refused",
        arguments: ["dirName:dir", "RID:1.2.3.4", "otherName:1.2.3.4;UTF8:x"])
    func otherKinds(_ name: String) throws {
        let folder = try OpenSSLFolder()
        try folder.write("[req]\ndistinguished_name=dn\nreq_extensions=e\n[dn]\n[e]\nsubjectAltName=\(name)\n[dir]\nCN=x\n", "c.cnf")
        try folder.openssl(
            "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "k", "-subj", "/CN=a", "-config",
            "c.cnf", "-out", "r.pem")
        let test = try TestAuthority()
        #expect(refusal { try test.sign(try folder.text("r.pem")) }.code == .refused)
    }

    @Test(
        "a blocked name cannot be had as a CN either, nor by its e-mail addresses, nor with a dot at its end",
        arguments: [
            ("localhost", "server"), ("LOCALHOST", "user"), ("localhost.", "server"), ("x.invalid", "webapp"), ("root@localhost", "laptop"),
            ("root@x.invalid", "user"),
        ])
    func blockedCommonNames(_ name: String, _ profile: String) throws {
        let test = try TestAuthority()
        #expect(refusal { try test.generate(name, profile: profile) }.code == .refused)
    }

    @Test(
        "a CN that old TLS clients would take for a host has to be one",
        arguments: ["evil.com.", "evil_host.example.org", "a..b", "évil.com"])
    func hostLikeCommonNames(_ name: String) throws {
        let test = try TestAuthority()
        #expect(refusal { try test.generate(name) }.code == .refused)
        try test.generate(name, profile: "user")
    }

    @Test(
        "a CN is at most 64 characters of text without control or direction characters and outer spaces",
        arguments: [
            String(repeating: "x", count: 65), "a\u{0}b", "a\nb", "a\u{202e}b", "a\u{200b}b", " a", "a ", "a\u{85}b", "\u{feff}a",
        ])
    func badCommonNames(_ name: String) throws {
        let test = try TestAuthority()
        #expect(refusal { try test.generate(name, profile: "user") }.code == .refused)
    }

    @Test(
        "a CN in other scripts is certified as it is", arguments: ["Жанна", "山田太郎", "Zoë O'Brien/Ops+1", String(repeating: "é", count: 64)])
    func scripts(_ name: String) throws {
        let test = try TestAuthority()
        let record = try test.generate(name, profile: "user")
        #expect(record.commonName == name)
        #expect(
            try test.authority.find(.name(try .of(record.subject)), actor: test.authority.actor(TestAuthority.operatorOnHost)).certificate
                .serial == record.serial)
    }

    @Test("more than 1,000 names are refused, and equal ones stand once")
    func many() throws {
        let test = try TestAuthority()
        let names = (0..<1_001).map { AlternativeName.dns("h\($0).example") }
        #expect(refusal { try test.generate("x", names: names) }.code == .refused)
        let certificate = try Certificate(
            derEncoded: try test.generate("a.example", names: [.dns("a.example"), .dns("b.example"), .dns("b.example")]).der)
        #expect(try certificate.extensions.subjectAlternativeNames?.count == 2)
    }

    @Test("the profile's domain, permitted names and allowed keys bind")
    func profileLimits() throws {
        let profile = CertificateProfile(
            name: "narrow", duration: 5, domain: "corp.example", extendedKeyUsage: [.serverAuth], certType: .server,
            allowedKeys: [.rsa(minimumBits: 3_072)])
        let other = CertificateProfile(
            name: "listed", duration: 5, permittedNames: ["*.a.example", "10.0.0.1"].compactMap { NamePattern($0) })
        let test = try TestAuthority(profiles: [profile, other])
        #expect(refusal { try test.generate("www.corp.example", profile: "narrow") }.detail.contains("kind of key"))
        #expect(refusal { try test.generate("www.other.example", profile: "narrow") }.detail.contains("outside the names"))
        #expect(refusal { try test.generate("notcorp.example", profile: "narrow") }.detail.contains("outside the names"))
        try test.generate("x.a.example", profile: "listed", names: [.ip([10, 0, 0, 1])])
        #expect(refusal { try test.generate("a.example", profile: "listed") }.code == .refused)
        #expect(refusal { try test.generate("x.a.example", profile: "listed", names: [.ip([10, 0, 0, 2])]) }.code == .refused)
        #expect(refusal { try test.generate("somebody", profile: "listed") }.code == .refused)
    }

    @Test("a second live certificate of a name is refused to generate, and not to sign")
    func already() throws {
        let test = try TestAuthority()
        let first = try test.generate("a.example.org")
        let result = refusal { try test.generate("A.example.org") }
        #expect(result.code == .certificateExists)
        #expect(result.detail == "/C=FR/O=Test/OU=Servers/CN=A.example.org")
        try test.sign(try TestAuthority.csr("/CN=a.example.org"))
        try test.revoke(.name(try .of(first.subject)))
        try test.generate("a.example.org")
    }
}

@Suite("Keys that the CA keeps")
struct KeptKeyTests {
    @Test("are not written over while a certificate of that CN can still be used, whatever its profile")
    func writtenOver() throws {
        let test = try TestAuthority()
        let first = try test.generate("www.example.org", profile: "server", keepsKey: true)
        let key = try #require(test.folders.key("www.example.org"))
        #expect(refusal { try test.generate("WWW.example.org", profile: "webapp", keepsKey: true) }.code == .certificateExists)
        try test.revoke(.serial(first.serial), reason: .certificateHold)
        #expect(refusal { try test.generate("www.example.org", profile: "server", keepsKey: true) }.code == .certificateExists)
        #expect(test.folders.key("www.example.org") == key)
        try test.generate("www.example.org", profile: "webapp")
        try test.revoke(.serial(first.serial), reason: .superseded)
        try test.generate("www.example.org", profile: "laptop", keepsKey: true)
        #expect(test.folders.key("www.example.org") != key)
    }

    @Test("go when their certificate is deleted, and stay for another one of that CN")
    func deletion() throws {
        let test = try TestAuthority()
        let first = try test.generate("www.example.org", profile: "server", keepsKey: true)
        try test.revoke(.serial(first.serial))
        let second = try test.generate("www.example.org", profile: "webapp", keepsKey: true)
        let authority = test.authority
        try test.commit("delete") { try $0.delete(.name(try .of(first.subject)), in: authority) }
        #expect(test.folders.key("www.example.org") != nil)
        try test.commit("delete") { try $0.delete(.name(try .of(second.subject)), in: authority) }
        #expect(test.folders.key("www.example.org") == nil)
        #expect(try test.revocation(second.serial)?.reason == .cessationOfOperation)
    }

    @Test("that cannot be written mean that nothing is issued")
    func unwritable() throws {
        let test = try TestAuthority()
        test.folders.fails = true
        #expect(refusal { try test.generate("www.example.org", keepsKey: true) }.code == .storage)
        #expect(try test.store.read { try $0.certificateCount() } == 0)
        test.folders.fails = false
        try test.generate("www.example.org", keepsKey: true)
    }
}

@Suite("Keys that were revoked for keyCompromise")
struct BlockedKeyTests {
    @Test("are never certified again, in whatever notation they come")
    func blocked() throws {
        let folder = try OpenSSLFolder()
        try folder.openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "k.pem")
        try folder.openssl("ec", "-in", "k.pem", "-conv_form", "compressed", "-out", "kc.pem")
        try folder.openssl("req", "-new", "-key", "k.pem", "-subj", "/CN=a.example.org", "-out", "r.pem")
        try folder.openssl("req", "-new", "-key", "kc.pem", "-subj", "/CN=b.example.org", "-out", "rc.pem")
        let test = try TestAuthority()
        let record = try test.sign(try folder.text("r.pem"))
        try test.revoke(.serial(record.serial), reason: .keyCompromise)
        for file in ["r.pem", "rc.pem"] { #expect([.refused, .csr].contains(refusal { try test.sign(try folder.text(file)) }.code)) }
    }

    @Test("block also an RSA key whose algorithm comes without its NULL")
    func rsaWithoutParameters() throws {
        let folder = try OpenSSLFolder()
        try folder.openssl(
            "req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", "k.pem", "-subj", "/CN=a.example.org", "-out", "r.pem", "-outform",
            "DER")
        let der = try folder.read("r.pem")
        let test = try TestAuthority()
        let record = try test.sign(PEM.encode(der, label: "CERTIFICATE REQUEST"))
        try test.revoke(.serial(record.serial), reason: .keyCompromise)
        #expect(refusal { try test.sign(PEM.encode(der, label: "CERTIFICATE REQUEST")) }.detail.contains("keyCompromise"))
        // The same request with the NULL taken out of the key's algorithm, signed again by the same key.
        let root = try DER.parse(der)
        guard case .constructed(let parts) = root.content, let information = Array(parts).first,
            case .constructed(let fields) = information.content
        else { return }
        let all = Array(fields)
        guard case .constructed(let keyParts) = all[2].content, let bits = Array(keyParts).last else { return }
        var changed = DER.Serializer()
        try changed.appendConstructedNode(identifier: .sequence) { coder in
            coder.serializeRawBytes(all[0].encodedBytes)
            coder.serializeRawBytes(all[1].encodedBytes)
            try coder.appendConstructedNode(identifier: .sequence) { inner in
                try inner.appendConstructedNode(identifier: .sequence) {
                    try $0.serialize(ASN1ObjectIdentifier(elements: [1, 2, 840, 113_549, 1, 1, 1]))
                }
                inner.serializeRawBytes(bits.encodedBytes)
            }
            coder.serializeRawBytes(all[3].encodedBytes)
        }
        try folder.write(changed.serializedBytes, "tbs")
        try folder.openssl("dgst", "-sha256", "-sign", "k.pem", "-out", "sig", "tbs")
        let signature = try folder.read("sig")
        var whole = DER.Serializer()
        try whole.appendConstructedNode(identifier: .sequence) { coder in
            coder.serializeRawBytes(changed.serializedBytes)
            coder.serializeRawBytes([0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b, 0x05, 0x00])
            try coder.serialize(ASN1BitString(bytes: signature[...]))
        }
        let result = refusal { try test.sign(PEM.encode(whole.serializedBytes, label: "CERTIFICATE REQUEST")) }
        #expect([.refused, .csr].contains(result.code), "\(result)")
    }

    @Test("are blocked in the commit too: a request that was signed before the revocation is not recorded after it")
    func race() throws {
        let test = try TestAuthority()
        let key = Certificate.PrivateKey(P256.Signing.PrivateKey())
        let first = try test.sign(try TestAuthority.csr("/CN=a.example.org", key: key))
        let authority = test.authority
        let late = try authority.prepareSigning(
            csr: try TestAuthority.csr("/CN=b.example.org", key: key), profile: "server", days: nil,
            actor: authority.actor(TestAuthority.operatorOnHost), task: "sign")
        try test.revoke(.serial(first.serial), reason: .keyCompromise)
        #expect(refusal { try test.commit("sign") { try $0.record(late, in: authority) } }.code == .refused)
    }

    @Test("are those of every certificate of a name that is revoked so, older ones too")
    func olderOnes() throws {
        let test = try TestAuthority()
        let old = Certificate.PrivateKey(P256.Signing.PrivateKey())
        let first = try test.sign(try TestAuthority.csr("/CN=a.example.org", key: old))
        let second = try test.sign(try TestAuthority.csr("/CN=a.example.org"))
        try test.revoke(.name(try .of(first.subject)), reason: .keyCompromise)
        #expect(try test.revocation(first.serial)?.reason == .keyCompromise)
        #expect(try test.revocation(second.serial)?.reason == .keyCompromise)
        #expect(refusal { try test.sign(try TestAuthority.csr("/CN=c.example.org", key: old)) }.code == .refused)
    }
}
