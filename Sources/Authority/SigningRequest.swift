// A certificate signing request as far as this CA reads it (RFC 2986): subject CN, public key, subject alternative names; and the rules for keys.

import Crypto
import PKI
import SwiftASN1
import X509

/// What was taken from a CSR whose signature verified.
struct SigningRequest: Sendable {
    /// The last CN of the subject; nil where there is none.
    let commonName: String?
    let names: [AlternativeName]
    let key: SubjectPublicKey

    /// Reads and verifies a CSR in PEM, labelled `CERTIFICATE REQUEST` or `NEW CERTIFICATE REQUEST`.
    ///
    /// - Throws: `csr` for what cannot be read or verified, `refused` for a key or a name that no rule allows.
    init(pem: String) throws {
        guard pem.utf8.count <= 262_144 else { throw AuthorityError(.csr, "the request is larger than 256 KiB") }
        guard let der = PEM.decodeFirst(pem, labels: ["CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"]) else {
            throw AuthorityError(.csr, "no PEM block CERTIFICATE REQUEST that decodes is in the text")
        }
        try self.init(der: der)
    }

    init(der: [UInt8]) throws {
        do {
            self = try DER.sequence(try DER.parse(der), identifier: .sequence) { nodes in
                guard let information = nodes.next(), let algorithmNode = nodes.next(), let signatureNode = nodes.next() else {
                    throw ASN1Error.invalidASN1Object(reason: "the outer sequence has three parts")
                }
                return try SigningRequest(information: information, algorithm: algorithmNode, signature: signatureNode)
            }
        } catch let error as AuthorityError {
            throw error
        } catch {
            throw AuthorityError(.csr, Self.words(of: error), cause: String(describing: error))
        }
    }

    private init(information: ASN1Node, algorithm: ASN1Node, signature: ASN1Node) throws {
        let parts = try DER.sequence(information, identifier: .sequence) { nodes in
            guard let version = nodes.next(), let subject = nodes.next(), let keyNode = nodes.next() else {
                throw ASN1Error.invalidASN1Object(reason: "the request information is too short")
            }
            guard try Int(derEncoded: version) == 0 else { throw AuthorityError(.csr, "the version is not 0 (RFC 2986 4.1)") }
            // The attributes are not optional in RFC 2986, but deployed tools leave them out.
            let attributes = nodes.next()
            return (try X509.DistinguishedName(derEncoded: subject), keyNode, attributes)
        }
        let key = try SubjectPublicKey(node: parts.1)
        try Self.verify(information: information, algorithm: algorithm, signature: signature, key: key)
        for attribute in parts.0.joined() where attribute.type == AttributeType.commonName.oid {
            guard let text = String(attribute.value) else {
                throw AuthorityError(.csr, "the common name is neither a UTF8String nor a PrintableString (RFC 5280 4.1.2.4)")
            }
            // The parser puts this character for octets that are no UTF-8: different names would be certified as one.
            guard !text.unicodeScalars.contains("\u{fffd}") else { throw AuthorityError(.csr, "the common name is not valid UTF-8") }
        }
        self.commonName = PKI.DistinguishedName(parts.0).commonName
        self.names = try parts.2.map { try Self.names(inAttributes: $0) } ?? []
        self.key = key
    }

    private static func verify(information: ASN1Node, algorithm: ASN1Node, signature: ASN1Node, key: SubjectPublicKey) throws {
        let identifier = try DER.sequence(algorithm, identifier: .sequence) { nodes in
            guard let oid = nodes.next() else { throw ASN1Error.invalidASN1Object(reason: "the signature algorithm is empty") }
            while nodes.next() != nil {}
            return try ASN1ObjectIdentifier(derEncoded: oid)
        }
        guard let known = Self.algorithms[identifier] else {
            if Self.brokenDigests.contains(identifier) {
                throw AuthorityError.refused("Request refused: a signature with MD5 or SHA-1 proves nothing; sign the CSR with SHA-256")
            }
            throw AuthorityError(.csr, "the signature algorithm \(identifier) is not supported")
        }
        let bits = try ASN1BitString(derEncoded: signature)
        guard bits.paddingBits == 0, key.publicKey.isValidSignature(bits.bytes, for: information.encodedBytes, signatureAlgorithm: known)
        else {
            throw AuthorityError(.csr, "the signature does not verify with the request's own key")
        }
    }

    private static let algorithms: [ASN1ObjectIdentifier: Certificate.SignatureAlgorithm] = [
        [1, 2, 840, 10_045, 4, 3, 2]: .ecdsaWithSHA256, [1, 2, 840, 10_045, 4, 3, 3]: .ecdsaWithSHA384,
        [1, 2, 840, 10_045, 4, 3, 4]: .ecdsaWithSHA512, [1, 2, 840, 113_549, 1, 1, 11]: .sha256WithRSAEncryption,
        [1, 2, 840, 113_549, 1, 1, 12]: .sha384WithRSAEncryption, [1, 2, 840, 113_549, 1, 1, 13]: .sha512WithRSAEncryption,
        [1, 3, 101, 112]: .ed25519,
    ]
    /// md5WithRSAEncryption, sha1WithRSAEncryption, ecdsa-with-SHA1.
    private static let brokenDigests: Set<ASN1ObjectIdentifier> = [
        [1, 2, 840, 113_549, 1, 1, 4], [1, 2, 840, 113_549, 1, 1, 5], [1, 2, 840, 10_045, 4, 1],
    ]

    /// The subject alternative names of an extensionRequest attribute (RFC 2985 5.4.2); all other attributes and extensions are ignored.
    private static func names(inAttributes node: ASN1Node) throws -> [AlternativeName] {
        guard case .constructed(let attributes) = node.content else {
            throw ASN1Error.invalidASN1Object(reason: "the attributes are no set")
        }
        for attribute in attributes {
            let value: ASN1Node? = try DER.sequence(attribute, identifier: .sequence) { nodes in
                guard let typeNode = nodes.next(), let values = nodes.next() else {
                    throw ASN1Error.invalidASN1Object(reason: "an attribute has two parts")
                }
                while nodes.next() != nil {}
                guard try ASN1ObjectIdentifier(derEncoded: typeNode) == [1, 2, 840, 113_549, 1, 9, 14],
                    case .constructed(let set) = values.content
                else { return nil }
                return Array(set).first
            }
            guard let value, case .constructed(let extensions) = value.content else { continue }
            for node in extensions {
                let candidate = try Certificate.Extension(derEncoded: node)
                guard candidate.oid == [2, 5, 29, 17] else { continue }
                return try SubjectAlternativeNames(candidate).map { general in
                    guard let name = AlternativeName(general) else {
                        throw AuthorityError.refused(
                            "Request refused: alternative names are DNS, IP, email or URI; the request has another kind")
                    }
                    return name
                }
            }
        }
        return []
    }

    /// What a parser says, without its types.
    private static func words(of error: any Error) -> String {
        guard let error = error as? ASN1Error else { return "a field has a value that X.509 does not allow" }
        return "the DER is not a certification request (\(error.code))"
    }
}

/// A subject's public key that the rules of issuing allow.
struct SubjectPublicKey: Sendable {
    let publicKey: Certificate.PublicKey
    let family: KeyFamily
    /// For a profile's `allowedKeys`.
    let curve: CertificateProfile.AllowedKey?
    let rsaBits: Int?
    /// SHA-256 of the SubjectPublicKeyInfo.
    let hash: [UInt8]
    /// The key identifier of RFC 5280 4.2.1.2 (1): SHA-1 of the BIT STRING's content.
    let identifier: [UInt8]

    init(subjectPublicKeyInfo der: [UInt8]) throws {
        try self.init(node: try DER.parse(der))
    }

    /// - Throws: `refused` for keys that are weak or of a kind that is not certified, `csr` for what is no key.
    init(node: ASN1Node) throws {
        let (algorithm, parameters, bits) = try DER.sequence(node, identifier: .sequence) { nodes in
            guard let identifier = nodes.next(), let bits = nodes.next() else {
                throw ASN1Error.invalidASN1Object(reason: "the key has two parts")
            }
            let (oid, parameters) = try DER.sequence(identifier, identifier: .sequence) { nodes in
                guard let oid = nodes.next() else { throw ASN1Error.invalidASN1Object(reason: "the key has no algorithm") }
                return (try ASN1ObjectIdentifier(derEncoded: oid), nodes.next())
            }
            return (oid, parameters, try ASN1BitString(derEncoded: bits))
        }
        switch algorithm {
        case [1, 2, 840, 113_549, 1, 1, 1]:
            self.family = .rsa
            self.rsaBits = try Self.checkRSA(bits.bytes)
            self.curve = nil
        case [1, 2, 840, 10_045, 2, 1]:
            self.family = .ellipticCurve
            self.rsaBits = nil
            let name = try parameters.map { try ASN1ObjectIdentifier(derEncoded: $0) }
            switch name {
            case [1, 2, 840, 10_045, 3, 1, 7]: self.curve = .ecP256
            case [1, 3, 132, 0, 34]: self.curve = .ecP384
            case [1, 3, 132, 0, 35]: self.curve = .ecP521
            default: throw AuthorityError.refused("Request refused: the key's curve is not one of P-256, P-384, P-521 and Ed25519")
            }
        case [1, 3, 101, 112]:
            self.family = .ed25519
            self.rsaBits = nil
            self.curve = .ed25519
        default: throw AuthorityError.refused("Request refused: the key is not RSA, P-256, P-384, P-521 or Ed25519")
        }
        do { self.publicKey = try Certificate.PublicKey(derEncoded: node) } catch {
            throw AuthorityError(.csr, "the public key is not a valid point or number", cause: String(describing: error))
        }
        let encoded = try Self.encoded(self.publicKey, from: node, point: bits.bytes)
        self.hash = Array(SHA256.hash(data: encoded.whole))
        self.identifier = Array(Insecure.SHA1.hash(data: encoded.bits))
    }

    /// The one encoding that this CA gives a key, whatever notation it came in, and the content of its BIT STRING.
    private static func encoded(_ key: Certificate.PublicKey, from node: ASN1Node, point: ArraySlice<UInt8>) throws -> (
        whole: ArraySlice<UInt8>, bits: ArraySlice<UInt8>
    ) {
        // An uncompressed point on a named curve has no other encoding of this length; to serialise it again costs a conversion of the point.
        if point.first == 4, [91, 120, 158].contains(node.encodedBytes.count) { return (node.encodedBytes, point) }
        var serializer = DER.Serializer()
        try serializer.serialize(key)
        let bits = try DER.sequence(try DER.parse(serializer.serializedBytes), identifier: .sequence) { nodes in
            guard nodes.next() != nil, let bits = nodes.next() else { throw ASN1Error.invalidASN1Object(reason: "the key has two parts") }
            return try ASN1BitString(derEncoded: bits)
        }
        return (serializer.serializedBytes[...], bits.bytes)
    }

    /// The same hash for a certificate's key, whatever today's rules say of it.
    static func canonicalHash(_ key: Certificate.PublicKey) throws -> [UInt8] {
        var serializer = DER.Serializer()
        try serializer.serialize(key)
        return Array(SHA256.hash(data: serializer.serializedBytes))
    }

    /// Modulus and exponent of an RSA key (RFC 8017 A.1.1); NIST SP 800-56B asks for an odd exponent of at least 65537.
    private static func checkRSA(_ bytes: ArraySlice<UInt8>) throws -> Int {
        let (modulus, exponent) = try DER.sequence(try DER.parse(bytes), identifier: .sequence) { nodes in
            guard let modulus = nodes.next(), let exponent = nodes.next() else {
                throw ASN1Error.invalidASN1Object(reason: "an RSA key has two numbers")
            }
            return (try ArraySlice<UInt8>(derEncoded: modulus), try ArraySlice<UInt8>(derEncoded: exponent))
        }
        let significant = modulus.drop { $0 == 0 }
        guard let first = significant.first else { throw AuthorityError(.csr, "the RSA modulus is zero") }
        let bits = significant.count * 8 - first.leadingZeroBitCount
        guard bits >= 2_048 else { throw AuthorityError.refused("Request refused: the RSA key has \(bits) bits; 2048 or more are needed") }
        guard bits <= 16_384 else {
            throw AuthorityError.refused("Request refused: the RSA key has \(bits) bits; at most 16384 are accepted")
        }
        let value = exponent.drop { $0 == 0 }
        guard let last = value.last, last & 1 == 1 else { throw AuthorityError.refused("Request refused: the RSA exponent is even") }
        guard value.count > 3 || (value.count == 3 && !value.lexicographicallyPrecedes([1, 0, 1])) else {
            throw AuthorityError.refused("Request refused: the RSA exponent is smaller than 65537")
        }
        return bits
    }
}
