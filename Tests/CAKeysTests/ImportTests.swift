// Existing CAs made by openssl, taken over or refused with the reason; and PKCS#12 read by openssl.

import CAKeys
import Foundation
import Testing

@Suite struct ImportTests {
    let workshop: Workshop
    /// A minute from now: certificates made during the test are valid then.
    let now = Int64(Date().timeIntervalSince1970) + 60

    init() throws { workshop = try Workshop() }

    /// Makes `key.pem` and a self-signed `ca.pem`, and checks them.
    @discardableResult
    private func importing(
        key: String = "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256",
        extensions: [String] = ["basicConstraints=critical,CA:TRUE"],
        days: Int = 10, subject: String = "/O=Old/CN=Old_CA", password: String? = nil, at offset: Int64 = 0
    ) throws -> ImportedAuthority {
        try workshop.openssl("\(key) -out plain.pem")
        let flags = extensions.map { "-addext \($0)" }.joined(separator: " ")
        // Without the program's own configuration: it adds extensions.
        try workshop.write(Array("[req]\ndistinguished_name=dn\n[dn]\n".utf8), "req.cnf")
        try workshop.openssl("req -x509 -new -config req.cnf -key plain.pem -subj \(subject) -days \(days) \(flags) -out ca.pem")
        try workshop.openssl("pkcs8 -topk8 -in plain.pem " + (password.map { "-passout pass:\($0)" } ?? "-nocrypt") + " -out key.pem")
        return try ImportedAuthority.check(
            keyPEM: workshop.read("key.pem"), certificatePEM: workshop.read("ca.pem"), password: password.map { Array($0.utf8) },
            now: now + offset)
    }

    private func refusal(_ body: () throws -> Void) throws -> KeyError {
        try #require(throws: KeyError.self) { try body() }
    }

    @Test(
        "a CA made by openssl is taken over",
        arguments: [
            ("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256", KeyType.ecP256),
            ("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384", .ecP384), ("genpkey -algorithm ED25519", .ed25519),
            ("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048", .rsa2048),
        ])
    func accepted(_ key: String, _ type: KeyType) throws {
        let authority = try importing(
            key: key, extensions: ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign"])
        #expect(authority.key.type == type)
        #expect(try authority.certificateDER == workshop.openssl("x509 -in ca.pem -outform DER"))
        #expect(authority.chainDER.isEmpty)
    }

    @Test("a CA certificate without keyUsage is accepted, since that restricts nothing")
    func withoutKeyUsage() throws {
        #expect(try importing().key.type == .ecP256)
    }

    @Test("an encrypted CA key is taken over with its password only")
    func encrypted() throws {
        try importing(password: "secret")
        let pem = try (workshop.read("key.pem"), workshop.read("ca.pem"))
        #expect(throws: KeyError(.wrongPassword, "")) {
            try ImportedAuthority.check(keyPEM: pem.0, certificatePEM: pem.1, password: Array("other".utf8), now: now)
        }
        #expect(throws: KeyError(.passwordNeeded, "")) {
            try ImportedAuthority.check(keyPEM: pem.0, certificatePEM: pem.1, password: nil, now: now)
        }
    }

    @Test(
        "keys in PKCS#1, SEC 1 and every modern encryption of PKCS#8 are taken over",
        arguments: [
            ("rsa -in plain.pem -traditional", "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048", "BEGIN RSA PRIVATE KEY"),
            ("ec -in plain.pem", "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384", "BEGIN EC PRIVATE KEY"),
            (
                "pkcs8 -topk8 -in plain.pem -v2 aes-128-cbc -passout pass:secret", "genpkey -algorithm ED25519",
                "BEGIN ENCRYPTED PRIVATE KEY"
            ),
            (
                "pkcs8 -topk8 -in plain.pem -scrypt -passout pass:secret", "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256",
                "BEGIN ENCRYPTED PRIVATE KEY"
            ),
        ])
    func forms(_ command: String, _ key: String, _ label: String) throws {
        try importing(key: key)
        try workshop.openssl("\(command) -out other.pem")
        let pem = try workshop.read("other.pem")
        #expect(String(decoding: pem, as: UTF8.self).contains(label))
        let authority = try ImportedAuthority.check(
            keyPEM: pem, certificatePEM: workshop.read("ca.pem"), password: Array("secret".utf8), now: now)
        #expect(try workshop.openssl("pkey -in plain.pem -pubout -outform DER") == authority.key.subjectPublicKeyInfoDER)
    }

    @Test(
        "a key in the encryption of the old PEM form is refused, whatever the password, with the command that converts it",
        arguments: ["ec -in plain.pem -aes256", "pkey -in plain.pem -des3 -traditional"])
    func oldEncryption(_ command: String) throws {
        try importing()
        try workshop.openssl("\(command) -passout pass:secret -out old.pem")
        for password in ["secret", "other", nil] {
            let error = try refusal {
                _ = try ImportedAuthority.check(
                    keyPEM: workshop.read("old.pem"), certificatePEM: workshop.read("ca.pem"), password: password.map { Array($0.utf8) },
                    now: now)
            }
            #expect(
                error.code == .weakEncryption && error.message.contains("openssl pkcs8 -topk8 -v2 aes-256-cbc -in OLD.key -out NEW.key"))
        }
        // The command of the message does what it says.
        try workshop.openssl("pkcs8 -topk8 -v2 aes-256-cbc -in old.pem -out new.pem -passin pass:secret -passout pass:secret")
        _ = try ImportedAuthority.check(
            keyPEM: workshop.read("new.pem"), certificatePEM: workshop.read("ca.pem"), password: Array("secret".utf8), now: now)
    }

    @Test("the chain after the CA certificate is kept in its order")
    func chain() throws {
        try importing(subject: "/CN=Root")
        let root = try workshop.read("ca.pem")
        let rootDER = try workshop.openssl("x509 -in ca.pem -outform DER")
        try importing()
        let authority = try ImportedAuthority.check(
            keyPEM: workshop.read("key.pem"), certificatePEM: workshop.read("ca.pem") + root, password: nil, now: now)
        #expect(authority.chainDER == [rootDER])
    }

    @Test("a key that does not match the certificate is refused")
    func mismatch() throws {
        try importing()
        let certificate = try workshop.read("ca.pem")
        try importing()
        let error = try refusal {
            _ = try ImportedAuthority.check(keyPEM: workshop.read("key.pem"), certificatePEM: certificate, password: nil, now: now)
        }
        #expect(error.code == .keyMismatch)
    }

    @Test("a certificate that has expired, or is not valid yet, is refused")
    func times() throws {
        let expired = try refusal { try importing(days: 1, at: 2 * 86400) }
        #expect(expired.code == .expired)
        #expect(expired.message.contains("expired at 20"))
        #expect(try refusal { try importing(at: -3600) }.code == .notYetValid)
    }

    @Test(
        "a certificate that is not a CA's is refused",
        arguments: [[], ["basicConstraints=critical,CA:FALSE"], ["keyUsage=keyCertSign,cRLSign"]])
    func notAuthority(_ extensions: [String]) throws {
        let error = try refusal { try importing(extensions: extensions) }
        #expect(error.code == .notAuthority)
        #expect(error.message.contains("basicConstraints"))
    }

    @Test(
        "a key usage without keyCertSign or cRLSign is refused with what it lacks",
        arguments: [
            ("keyCertSign", "lacks cRLSign"), ("cRLSign", "lacks keyCertSign"), ("digitalSignature", "lacks keyCertSign and cRLSign"),
        ])
    func keyUsage(_ usage: String, _ words: String) throws {
        let error = try refusal { try importing(extensions: ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,\(usage)"]) }
        #expect(error.code == .keyUsage)
        #expect(error.message.contains(words))
    }

    @Test(
        "keys that a CA may not have are refused with the list of those it may",
        arguments: [
            ("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024", "under 2048"),
            ("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2560", "rsa-2560"),
            ("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-521", "ec-p521"),
            ("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:secp256k1", "secp256k1"), ("genpkey -algorithm ED448", "ED448"),
        ])
    func unsupported(_ key: String, _ words: String) throws {
        let error = try refusal { try importing(key: key) }
        #expect(error.code == .unsupportedKey)
        #expect(error.message.contains(words))
        #expect(error.message.contains("ec-p256, ec-p384, ed25519, rsa-2048, rsa-3072, rsa-4096"))
    }

    @Test("a file without a certificate, or with a damaged one, is refused")
    func noCertificate() throws {
        try importing()
        let key = try workshop.read("key.pem")
        let damaged = Array(String(decoding: try workshop.read("ca.pem"), as: UTF8.self).replacingOccurrences(of: "MII", with: "MIA").utf8)
        for input in [[], Array("hello".utf8), key, damaged, [0xff, 0xfe]] {
            let error = try refusal { _ = try ImportedAuthority.check(keyPEM: key, certificatePEM: input, password: nil, now: now) }
            #expect(error.code == .unreadableCertificate)
        }
    }

    // MARK: PKCS#12

    @Test("openssl reads key, certificate, chain and name from PKCS#12")
    func pkcs12ForOpenSSL() throws {
        try importing(subject: "/CN=Above")
        let above = try workshop.read("ca.pem")
        try importing()
        let (key, certificate) = try (workshop.read("key.pem"), workshop.read("ca.pem"))
        let password = Array("pä ss".utf8)
        try workshop.write(password, "password")
        try workshop.write(
            pkcs12(keyPEM: key, certificatePEM: certificate, chainPEM: above, password: password, friendlyName: "web.example é"), "out.p12")
        #expect(try workshop.openssl("pkcs12 -in out.p12 -passin file:password -nocerts -nodes -out key2.pem").isEmpty)
        #expect(
            try workshop.openssl("pkey -in key2.pem -outform DER") == workshop.openssl("pkey -in key.pem -outform DER"))
        try workshop.openssl("pkcs12 -in out.p12 -passin file:password -clcerts -nokeys -out cert2.pem")
        #expect(try workshop.openssl("x509 -in cert2.pem -outform DER") == workshop.openssl("x509 -in ca.pem -outform DER"))
        let text = String(decoding: try workshop.openssl("pkcs12 -in out.p12 -passin file:password -cacerts -nokeys"), as: UTF8.self)
        #expect(text.contains("CN = Above"))
        // openssl prints the name's characters in Latin-1.
        let named = String(bytes: try workshop.openssl("pkcs12 -in out.p12 -passin file:password -clcerts -nokeys"), encoding: .isoLatin1)
        #expect(named?.contains("friendlyName: web.example é\n") == true)
        #expect(try workshop.opensslFails("pkcs12 -in out.p12 -passin pass:wrong -noout"))
    }

    @Test("PKCS#12 is encrypted with AES-256 and protected with SHA-256")
    func pkcs12Algorithms() throws {
        try importing()
        try workshop.write(
            pkcs12(
                keyPEM: workshop.read("key.pem"), certificatePEM: workshop.read("ca.pem"), chainPEM: [], password: Array("secret".utf8),
                friendlyName: "x"), "out.p12")
        let information = try workshop.opensslMessages("pkcs12 -in out.p12 -passin pass:secret -info -noout")
        #expect(information.contains("MAC: sha256, Iteration 100000"))
        for bag in ["PKCS7 Encrypted data", "Shrouded Keybag"] {
            #expect(information.contains("\(bag): PBES2, PBKDF2, AES-256-CBC, Iteration 100000, PRF hmacWithSHA256"))
        }
    }

    @Test("PKCS#12 with a foreign key, without a password or without a certificate is refused")
    func pkcs12Refusals() throws {
        try importing()
        let (key, certificate) = try (workshop.read("key.pem"), workshop.read("ca.pem"))
        try importing()
        let otherKey = try workshop.read("key.pem")
        func pack(_ key: [UInt8], _ certificate: [UInt8], _ chain: [UInt8], _ password: [UInt8]) throws {
            _ = try pkcs12(keyPEM: key, certificatePEM: certificate, chainPEM: chain, password: password, friendlyName: "x")
        }
        #expect(throws: KeyError(.keyMismatch, "")) { try pack(otherKey, certificate, [], [65]) }
        #expect(throws: KeyError(.invalidPassword, "")) { try pack(key, certificate, [], []) }
        #expect(throws: KeyError(.invalidPassword, "")) { try pack(key, certificate, [], [65, 0]) }
        #expect(throws: KeyError(.invalidPassword, "")) { try pack(key, certificate, [], [0xff]) }
        #expect(throws: KeyError(.unreadableCertificate, "")) { try pack(key, [], [], [65]) }
        #expect(throws: KeyError(.unreadableCertificate, "")) { try pack(key, certificate + certificate, [], [65]) }
        #expect(throws: KeyError(.unreadableCertificate, "")) { try pack(key, certificate, Array(certificate.prefix(200)), [65]) }
        #expect(throws: KeyError(.unreadableKey, "")) { try pack(certificate, certificate, [], [65]) }
    }
}
