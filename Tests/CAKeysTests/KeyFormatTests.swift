// Keys as PEM: openssl reads what this module writes, and this module reads what openssl writes.

import CAKeys
import PKI
import Foundation
import Testing

@Suite struct KeyFormatTests {
    let workshop: Workshop

    init() throws { workshop = try Workshop() }

    @Test("openssl reads a CA key and finds the same public key", arguments: KeyType.allCases)
    func caKeyForOpenSSL(_ type: KeyType) throws {
        let key = try CAKey.generate(type)
        let pem = try key.pkcs8PEM()
        #expect(pem.starts(with: Array("-----BEGIN PRIVATE KEY-----\n".utf8)))
        try workshop.write(pem, "key.pem")
        try workshop.openssl("pkey -in key.pem -check -noout")
        #expect(try workshop.openssl("pkey -in key.pem -pubout -outform DER") == key.subjectPublicKeyInfoDER)
        let again = try CAKey(pem: pem)
        #expect(again.type == type)
        #expect(again.subjectPublicKeyInfoDER == key.subjectPublicKeyInfoDER)
    }

    @Test("openssl finds a derived key consistent", arguments: [KeyType.ecP256, .ecP384, .ed25519, .rsa2048, .rsa3072])
    func derivedKey(_ type: KeyType) throws {
        let key = try SeedRoot(Seed(text: "0123456789abcdef", allowWeak: true)).caKey(type, generation: 3)
        try workshop.write(try key.pkcs8PEM(), "key.pem")
        try workshop.openssl("pkey -in key.pem -check -noout")
        #expect(try workshop.openssl("pkey -in key.pem -pubout -outform DER") == key.subjectPublicKeyInfoDER)
    }

    @Test("the audit key is the Ed25519 key of its seed, as openssl computes it")
    func auditKey() throws {
        let root = try SeedRoot(Seed(text: "0123456789abcdef"))
        // PKCS#8 by hand (RFC 8410, section 7).
        try workshop.write(bytes(hex: "302e020100300506032b657004220420") + root.auditKeySeed(), "audit.der")
        #expect(try workshop.openssl("pkey -inform DER -in audit.der -pubout -outform DER") == root.auditKey().subjectPublicKeyInfoDER)
    }

    @Test("openssl reads an encrypted CA key with its password only")
    func encrypted() throws {
        let key = try CAKey.generate(.ecP256)
        let password = Array("pä sswörd".utf8)
        let pem = try key.pkcs8PEM(password: password)
        #expect(pem.starts(with: Array("-----BEGIN ENCRYPTED PRIVATE KEY-----\n".utf8)))
        try workshop.write(pem, "key.pem")
        try workshop.write(password, "right")
        try workshop.write(Array("wrong".utf8), "wrong")
        #expect(try workshop.openssl("pkey -in key.pem -passin file:right -pubout -outform DER") == key.subjectPublicKeyInfoDER)
        #expect(try workshop.opensslFails("pkey -in key.pem -passin file:wrong -noout"))
        let structure = String(decoding: try workshop.openssl("asn1parse -in key.pem"), as: UTF8.self)
        for part in ["PBES2", "PBKDF2", ":0927C0", "hmacWithSHA256", "aes-256-cbc"] { #expect(structure.contains(part)) }

        #expect(try CAKey(pem: pem, password: password).subjectPublicKeyInfoDER == key.subjectPublicKeyInfoDER)
        #expect(throws: KeyError(.wrongPassword, "")) { try CAKey(pem: pem, password: Array("wrong".utf8)) }
        #expect(throws: KeyError(.wrongPassword, "")) { try CAKey(pem: pem, password: []) }
        #expect(throws: KeyError(.passwordNeeded, "")) { try CAKey(pem: pem) }
        #expect(throws: KeyError(.invalidPassword, "")) { try CAKey(pem: pem, password: [UInt8](repeating: 65, count: 1025)) }
        #expect(throws: KeyError(.invalidPassword, "")) { try key.pkcs8PEM(password: []) }
        #expect(throws: KeyError(.invalidPassword, "")) { try key.pkcs8PEM(password: [UInt8](repeating: 65, count: 1025)) }
        let longest = [UInt8](repeating: 65, count: 1024)
        #expect(try CAKey(pem: key.pkcs8PEM(password: longest), password: longest).type == .ecP256)
    }

    @Test(
        "keys of every form that openssl writes are read",
        arguments: [
            ("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256", KeyType.ecP256),
            ("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384", .ecP384),
            ("genpkey -algorithm ED25519", .ed25519),
            ("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048", .rsa2048),
            ("genrsa -traditional -out key.pem 2048", .rsa2048),
            ("ecparam -name prime256v1 -genkey", .ecP256),
            ("ecparam -name secp384r1 -genkey -noout", .ecP384),
            ("ecparam -name prime256v1 -genkey -noout -param_enc explicit", .ecP256),
        ])
    func fromOpenSSL(_ command: String, _ type: KeyType) throws {
        // genrsa wants its options before the size.
        try workshop.openssl(command.hasPrefix("genrsa") ? command : "\(command) -out key.pem")
        let key = try CAKey(pem: workshop.read("key.pem"), password: nil)
        #expect(key.type == type)
        let named = type == .ecP256 || type == .ecP384 ? "-ec_param_enc named_curve " : ""
        #expect(try workshop.openssl("pkey -in key.pem \(named)-pubout -outform DER") == key.subjectPublicKeyInfoDER)
        _ = try key.certificatePrivateKey()
    }

    @Test(
        "encrypted keys of every form that openssl writes are read",
        arguments: [
            "pkcs8 -topk8 -in plain.pem -v2 aes256", "pkcs8 -topk8 -in plain.pem -scrypt", "ec -in plain.pem -aes128",
            "pkey -in plain.pem -aes256 -traditional",
        ])
    func encryptedFromOpenSSL(_ command: String) throws {
        try workshop.openssl("ecparam -name prime256v1 -genkey -noout -out plain.pem")
        try workshop.openssl("\(command) -passout pass:secret -out key.pem")
        let pem = try workshop.read("key.pem")
        #expect(try CAKey(pem: pem, password: Array("secret".utf8)).type == .ecP256)
        #expect(throws: KeyError(.wrongPassword, "")) { try CAKey(pem: pem, password: Array("Secret".utf8)) }
        #expect(throws: KeyError(.passwordNeeded, "")) { try CAKey(pem: pem) }
    }

    @Test("a password given for a key that is not encrypted does no harm")
    func needlessPassword() throws {
        #expect(try CAKey(pem: CAKey.generate(.ed25519).pkcs8PEM(), password: [1]).type == .ed25519)
    }

    @Test("what is no private key is refused")
    func noKey() throws {
        try workshop.openssl("ecparam -name prime256v1 -genkey -noout -out key.pem")
        try workshop.openssl("pkey -in key.pem -pubout -out public.pem")
        let key = try workshop.read("key.pem")
        for input in [[], Array("hello".utf8), try workshop.read("public.pem"), Array(key.prefix(key.count / 2)), [0, 255]] {
            #expect(throws: KeyError(.unreadableKey, "")) { try CAKey(pem: input) }
        }
    }

    @Test(
        "keys that no CA of ours may have are read as such",
        arguments: [
            "EC -pkeyopt ec_paramgen_curve:P-521", "EC -pkeyopt ec_paramgen_curve:secp256k1", "RSA -pkeyopt rsa_keygen_bits:1024",
            "RSA-PSS -pkeyopt rsa_keygen_bits:2048", "X25519", "ED448",
        ])
    func otherKeys(_ algorithm: String) throws {
        try workshop.openssl("genpkey -algorithm \(algorithm) -out key.pem")
        let key = try CAKey(pem: workshop.read("key.pem"))
        #expect(key.type == nil)
        #expect(try workshop.openssl("pkey -in key.pem -pubout -outform DER") == key.subjectPublicKeyInfoDER)
    }

    @Test("openssl reads a subject's key", arguments: SubjectKeyType.allCases)
    func subjectKey(_ type: SubjectKeyType) throws {
        let key = try SubjectKey.generate(type)
        try key.withPKCS8PEM { try workshop.write(Array($0), "key.pem") }
        #expect(try workshop.read("key.pem") == key.pkcs8PEM())
        try workshop.openssl("pkey -in key.pem -check -noout")
        #expect(try workshop.openssl("pkey -in key.pem -pubout -outform DER") == key.subjectPublicKeyInfoDER)
        let text = String(decoding: try workshop.openssl("pkey -in key.pem -noout -text"), as: UTF8.self)
        let expected: [SubjectKeyType: String] = [
            .ecP256: "P-256", .ecP384: "P-384", .ecP521: "P-521", .ed25519: "ED25519", .rsa2048: "2048 bit", .rsa3072: "3072 bit",
            .rsa4096: "4096 bit",
        ]
        #expect(text.contains(try #require(expected[type])))
    }

    @Test("wiping an array leaves it empty")
    func wiping() {
        var secret: [UInt8] = [1, 2, 3]
        wipe(&secret)
        #expect(secret.isEmpty)
    }
}
