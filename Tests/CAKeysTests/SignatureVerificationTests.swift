// Signatures made by openssl: the right ones are valid, others are not.

import CAKeys
import SwiftASN1
import Testing
import X509

@Suite("Verifying signatures")
struct SignatureVerificationTests {
    private static let kinds: [(key: String, digest: String?, algorithm: ASN1ObjectIdentifier)] = [
        ("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256", "sha256", [1, 2, 840, 10045, 4, 3, 2]),
        ("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384", "sha384", [1, 2, 840, 10045, 4, 3, 3]),
        ("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048", "sha256", [1, 2, 840, 113549, 1, 1, 11]),
        ("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048", "sha512", [1, 2, 840, 113549, 1, 1, 13]),
        ("genpkey -algorithm ED25519", nil, [1, 3, 101, 112]),
    ]

    @Test("openssl's are valid; another message, another signature, another algorithm or another key is not", arguments: kinds.indices)
    func verifies(index: Int) throws {
        let (key, digest, algorithm) = Self.kinds[index]
        let workshop = try Workshop()
        let message = Array("a message to be signed".utf8)
        try workshop.write(message, "message")
        for name in ["own", "other"] {
            try workshop.openssl("\(key) -out \(name).pem")
            try workshop.openssl("req -x509 -new -key \(name).pem -subj /CN=\(name) -outform DER -out \(name).der")
        }
        if let digest {
            try workshop.openssl("dgst -\(digest) -sign own.pem -out signature message")
        } else {
            try workshop.openssl("pkeyutl -sign -inkey own.pem -rawin -in message -out signature")
        }
        let signature = try workshop.read("signature")
        let own = try Certificate(derEncoded: workshop.read("own.der"))
        let other = try Certificate(derEncoded: workshop.read("other.der"))
        func isValid(
            _ signature: [UInt8], _ message: [UInt8], _ algorithm: ASN1ObjectIdentifier, _ certificate: Certificate
        ) throws -> Bool {
            try SignatureVerification.isValid(signature[...], over: message[...], algorithm: algorithm, by: certificate)
        }
        #expect(try isValid(signature, message, algorithm, own))
        #expect(try !isValid(signature, message + [0], algorithm, own))
        #expect(try !isValid(signature, message, algorithm, other))
        #expect(try !isValid(signature.dropLast() + [(signature.last ?? 0) ^ 1], message, algorithm, own))
        #expect(try !isValid([], message, algorithm, own))
        for kind in Self.kinds where kind.algorithm != algorithm { #expect(try !isValid(signature, message, kind.algorithm, own)) }
        // SHA-1 with ECDSA is an algorithm that this CA never had.
        #expect(throws: KeyError.self) { try isValid(signature, message, [1, 2, 840, 10045, 4, 1], own) }
    }
}
