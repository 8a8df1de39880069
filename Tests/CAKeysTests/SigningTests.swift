// Signatures, verified by openssl and by X509, never by the code that made them.

import CAKeys
import Foundation
import SwiftASN1
import Synchronization
import Testing
import X509

@Suite struct SigningTests {
    let workshop: Workshop

    init() throws { workshop = try Workshop() }

    /// Requires that openssl accepts the signature.
    private func verify(_ signature: [UInt8], _ message: [UInt8], _ key: CAKey, _ digest: Digest?) throws {
        try workshop.write(key.subjectPublicKeyInfoDER, "public.der")
        try workshop.write(message, "message")
        try workshop.write(signature, "signature")
        if key.type == .ed25519 {
            try workshop.openssl("pkeyutl -verify -pubin -inkey public.der -keyform DER -rawin -in message -sigfile signature")
        } else {
            let name = try #require(digest).rawValue
            try workshop.openssl("dgst -\(name) -verify public.der -keyform DER -signature signature message")
        }
    }

    @Test("openssl verifies signatures with each digest, whole and in parts", arguments: KeyType.allCases)
    func signs(_ type: KeyType) throws {
        let key = try CAKey.generate(type)
        let message = (0..<100_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        for digest in [nil] + Digest.allCases.map(Optional.some) {
            try verify(key.sign(message, digest: digest), message, key, digest ?? key.defaultDigest)
            let signer = try key.makeSigner(digest: digest)
            for start in stride(from: 0, to: message.count, by: 33_333) {
                try signer.update(message[start..<min(start + 33_333, message.count)])
            }
            try signer.update([UInt8]())
            try verify(signer.finish(), message, key, digest ?? key.defaultDigest)
        }
        // openssl pkeyutl does not take an empty file; RFC 8032's first test below covers that.
        if type != .ed25519 { try verify(key.sign([]), [], key, key.defaultDigest) }
    }

    @Test("RSA and Ed25519 signatures in parts equal the whole ones", arguments: [KeyType.rsa2048, .ed25519])
    func deterministic(_ type: KeyType) throws {
        let key = try CAKey.generate(type)
        let signer = try key.makeSigner()
        try signer.update(Array("hello ".utf8))
        try signer.update(Array("world".utf8))
        #expect(try signer.finish() == key.sign(Array("hello world".utf8)))
    }

    /// RFC 8032, section 7.1, TEST 1 and TEST 3: private key, message, signature.
    static let rfc8032Tests: [(String, [UInt8], String)] = [
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60", [],
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
        ),
        (
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7", [0xaf, 0x82],
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
        ),
    ]

    @Test("an RFC 8032 key gives the signature of the RFC", arguments: Self.rfc8032Tests)
    func rfc8032(_ privateKey: String, _ message: [UInt8], _ signature: String) throws {
        // Wrapped as PKCS#8 (RFC 8410, section 7).
        let secret = try bytes(hex: "302e020100300506032b657004220420" + privateKey)
        let pem = "-----BEGIN PRIVATE KEY-----\n\(Data(secret).base64EncodedString())\n-----END PRIVATE KEY-----\n"
        let key = try CAKey(pem: Array(pem.utf8))
        #expect(hex(try key.sign(message)) == signature)
    }

    @Test("a signer gives one signature and then refuses", arguments: [KeyType.ecP256, .ed25519])
    func signerOnce(_ type: KeyType) throws {
        let signer = try CAKey.generate(type).makeSigner()
        _ = try signer.finish()
        #expect(throws: KeyError.self) { try signer.update([1]) }
        #expect(throws: KeyError.self) { try signer.finish() }
    }

    @Test("a signer that is dropped half-way leaves nothing in the next signature")
    func dropped() throws {
        let key = try CAKey.generate(.rsa2048)
        do {
            let signer = try key.makeSigner()
            try signer.update(Array("abandoned".utf8))
        }
        try verify(key.sign([1, 2, 3]), [1, 2, 3], key, .sha256)
    }

    @Test("threads sign with one key at the same time", arguments: [KeyType.ecP256, .rsa2048])
    func threads(_ type: KeyType) throws {
        let key = try CAKey.generate(type)
        let publicKey = try Certificate.PublicKey(derEncoded: key.subjectPublicKeyInfoDER)
        let algorithm = try key.signatureAlgorithm()
        let valid = Atomic<Int>(0)
        DispatchQueue.concurrentPerform(iterations: 8) { thread in
            for number in 0..<100 {
                let message = Array("\(thread) \(number)".utf8)
                guard let signature = try? key.sign(message) else { continue }
                if publicKey.isValidSignature(signature, for: message, signatureAlgorithm: algorithm) { valid.add(1, ordering: .relaxed) }
            }
        }
        #expect(valid.load(ordering: .relaxed) == 800)
    }

    @Test("a certificate issued through X509 is verified by openssl and by X509", arguments: KeyType.allCases)
    func issues(_ type: KeyType) throws {
        let key = try CAKey.generate(type)
        let issuerKey = try key.certificatePrivateKey()
        for digest in Digest.allCases {
            let algorithm = try key.signatureAlgorithm(digest: digest)
            let certificate = try selfSigned(key, issuerKey, algorithm)
            #expect(certificate.publicKey.isValidSignature(certificate.signature, for: certificate))
            var serializer = DER.Serializer()
            try serializer.serialize(certificate)
            #expect(try key.matches(certificateDER: serializer.serializedBytes))
            try workshop.write(serializer.serializedBytes, "ca.der")
            try workshop.openssl("x509 -inform DER -in ca.der -out ca.pem")
            try workshop.openssl("verify -x509_strict -check_ss_sig -CAfile ca.pem ca.pem")
        }
    }

    @Test("a key refuses signature algorithms of other keys")
    func wrongAlgorithm() throws {
        let key = try CAKey.generate(.ecP256)
        let issuerKey = try key.certificatePrivateKey()
        for algorithm in [Certificate.SignatureAlgorithm.sha256WithRSAEncryption, .ed25519, .sha1WithRSAEncryption] {
            #expect(throws: KeyError(.unsupportedAlgorithm, "")) { try issuerKey.sign(bytes: [1], signatureAlgorithm: algorithm) }
        }
        let edwards = try CAKey.generate(.ed25519).certificatePrivateKey()
        #expect(throws: KeyError(.unsupportedAlgorithm, "")) { try edwards.sign(bytes: [1], signatureAlgorithm: .ecdsaWithSHA256) }
    }

    @Test("the CA key cannot be written out through X509, nor seen in its description")
    func notExportable() throws {
        let issuerKey = try CAKey.generate(.ecP256).certificatePrivateKey()
        #expect(throws: KeyError(.notExportable, "")) { try issuerKey.serializeAsPEM() }
        #expect(issuerKey.description == "CAKey(ec-p256)")
    }

    @Test("a certificate for another key does not match, and garbage is an error")
    func matching() throws {
        let key = try CAKey.generate(.ecP256)
        let other = try CAKey.generate(.ecP256)
        var serializer = DER.Serializer()
        try serializer.serialize(selfSigned(other, other.certificatePrivateKey(), .ecdsaWithSHA256))
        #expect(try !key.matches(certificateDER: serializer.serializedBytes))
        #expect(throws: KeyError(.unreadableCertificate, "")) { try key.matches(certificateDER: [0x30, 0x00]) }
    }

    private func selfSigned(
        _ key: CAKey, _ issuerKey: Certificate.PrivateKey, _ algorithm: Certificate.SignatureAlgorithm
    ) throws -> Certificate {
        let name = try DistinguishedName { CommonName("Test CA") }
        return try Certificate(
            version: .v3, serialNumber: .init(bytes: [1, 2, 3]), publicKey: Certificate.PublicKey(derEncoded: key.subjectPublicKeyInfoDER),
            notValidBefore: Date(timeIntervalSince1970: 1_600_000_000), notValidAfter: Date(timeIntervalSince1970: 4_000_000_000),
            issuer: name, subject: name, signatureAlgorithm: algorithm,
            extensions: Certificate.Extensions {
                Critical(BasicConstraints.isCertificateAuthority(maxPathLength: nil))
                Critical(KeyUsage(keyCertSign: true, cRLSign: true))
                SubjectKeyIdentifier(keyIdentifier: [1, 2, 3, 4])
                AuthorityKeyIdentifier(keyIdentifier: [1, 2, 3, 4])
            }, issuerPrivateKey: issuerKey)
    }
}
