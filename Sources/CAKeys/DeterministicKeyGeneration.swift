// C2SP det-keygen: ECDSA and RSA key pairs as a function of a seed (c2sp.org/det-keygen).

import COpenSSL

/// Deterministic key generation by c2sp.org/det-keygen, whose step numbers the comments name.
package enum DeterministicKeyGeneration {
    /// The shortest seed that det-keygen accepts, in bytes.
    static let minimumSeed = 16

    /// - Parameters:
    ///   - curve: the NIST curve.
    ///   - seed: at least 16 bytes.
    /// - Throws: ``KeyError``
    package static func ecKey(_ curve: Curve, seed: SecretBytes) throws -> KeyHandle {
        try checkSeed(seed)
        let (identifier, name, bits) =
            switch curve {
            case .p256: (NID_X9_62_prime256v1, "P-256", 256)
            case .p384: (NID_secp384r1, "P-384", 384)
            case .p521: (NID_secp521r1, "P-521", 521)
            }
        guard let group = EC_GROUP_new_by_curve_name(identifier), let order = EC_GROUP_get0_order(group) else {
            throw KeyError.openSSL("no curve \(name)")
        }
        defer { EC_GROUP_free(group) }

        var generator = try HMACDRBG(seed: seed, personalization: Array("det ECDSA key gen \(name)".utf8))
        var scalar = try Self.scalar(from: &generator, bits: bits)
        // Step 11: of the curves only P-256 has a chance worth a second draw (2⁻³²).
        if curve == .p256, BN_cmp(scalar.pointer, order) >= 0 {
            try generator.next()
            scalar = try Self.scalar(from: &generator, bits: bits)
        }
        guard BN_is_zero(scalar.pointer) == 0, BN_cmp(scalar.pointer, order) < 0 else {
            throw KeyError(.openSSL, "Key derivation gave a number outside the order of \(name)")
        }

        guard let point = EC_POINT_new(group) else { throw KeyError.openSSL("memory") }
        defer { EC_POINT_free(point) }
        guard EC_POINT_mul(group, point, scalar.pointer, nil, nil, nil) == 1 else { throw KeyError.openSSL("computing a public key") }
        var encoded = [UInt8](repeating: 0, count: 1 + 2 * ((bits + 7) / 8))
        guard EC_POINT_point2oct(group, point, POINT_CONVERSION_UNCOMPRESSED, &encoded, encoded.count, nil) == encoded.count else {
            throw KeyError.openSSL("encoding a public key")
        }

        let parameters = ParameterList()
        parameters.add(OSSL_PKEY_PARAM_GROUP_NAME, text: curve.rawValue)
        parameters.add(OSSL_PKEY_PARAM_PUB_KEY, octets: encoded)
        parameters.add(OSSL_PKEY_PARAM_PRIV_KEY, number: scalar)
        return try KeyHandle.from(parameters, algorithm: "EC")
    }

    /// Steps 8 to 10: bits2int (RFC 6979, section 2.3.2) of the next output.
    private static func scalar(from generator: inout HMACDRBG, bits: Int) throws -> BigNumber {
        let count = (bits + 7) / 8
        let number = try generator.output(count).withUnsafeBytes { try BigNumber(bigEndian: $0) }
        guard BN_rshift(number.pointer, number.pointer, Int32(8 * count - bits)) == 1 else { throw KeyError.openSSL("shifting") }
        return number
    }

    /// Takes seconds for 8192 bits.
    ///
    /// - Parameters:
    ///   - bits: size of the modulus, a multiple of 16, 2048 to 16384.
    ///   - seed: at least 16 bytes.
    /// - Throws: ``KeyError``
    package static func rsaKey(bits: Int, seed: SecretBytes) throws -> KeyHandle {
        try checkSeed(seed)
        guard bits % 16 == 0, (2048...16384).contains(bits) else {
            throw KeyError(.unsupportedKey, "RSA keys of \(bits) bits cannot be derived")
        }
        guard let context = BN_CTX_secure_new() else { throw KeyError.openSSL("memory") }
        defer { BN_CTX_free(context) }
        let personalization = Array("det RSA key gen".utf8) + [UInt8(bits >> 8), UInt8(bits & 0xff)]
        var generator = try HMACDRBG(seed: seed, personalization: personalization)
        while true {
            let first = try prime(bits: bits / 2, from: &generator, context)
            try generator.next()
            let second = try prime(bits: bits / 2, from: &generator, context)
            if let parameters = try rsaParameters(first, second, context) { return try KeyHandle.from(parameters, algorithm: "RSA") }
            // Steps 20 and 23: both primes are dropped.
            try generator.next()
        }
    }

    /// Steps 8 to 13.
    private static func prime(bits: Int, from generator: inout HMACDRBG, _ context: OpaquePointer) throws -> BigNumber {
        let count = bits / 8
        while true {
            let raw = try generator.output(count)
            let candidate = try SecretBytes(count: count) { memory in
                raw.withUnsafeBytes { memory.copyMemory(from: $0) }
                memory[0] |= 0b1100_0000
                memory[count - 1] |= 0b0000_0111
            }.withUnsafeBytes { try BigNumber(bigEndian: $0) }
            // 64 rounds of Miller-Rabin, 128 above 2048 bits: more than det-keygen asks for, at the cost of one signature or two.
            switch BN_check_prime(candidate.pointer, context, nil) {
            case 1: return candidate
            case 0: try generator.next()
            default: throw KeyError.openSSL("testing a prime")
            }
        }
    }

    /// Steps 19 to 24; nil where a pair of primes has to be drawn again.
    private static func rsaParameters(_ first: BigNumber, _ second: BigNumber, _ context: OpaquePointer) throws -> ParameterList? {
        // The larger one is p, as OpenSSL's own keys have it; the key is the same.
        let (p, q) = BN_cmp(first.pointer, second.pointer) > 0 ? (first, second) : (second, first)
        let one = BN_value_one()
        let pMinus1 = try BigNumber.computed("p - 1") { BN_sub($0, p.pointer, one) }
        let qMinus1 = try BigNumber.computed("q - 1") { BN_sub($0, q.pointer, one) }
        let ratio = try BigNumber.computed("gcd") { BN_gcd($0, pMinus1.pointer, qMinus1.pointer, context) }
        guard BN_num_bits(ratio.pointer) <= 32 else { return nil }
        let totient = try BigNumber.computed("(p - 1)(q - 1)") { BN_mul($0, pMinus1.pointer, qMinus1.pointer, context) }
        let lambda = try BigNumber.computed("λ") { BN_div($0, nil, totient.pointer, ratio.pointer, context) }
        let e = try BigNumber.computed("e") { BN_set_word($0, 65537) }
        let common = try BigNumber.computed("gcd") { BN_gcd($0, e.pointer, lambda.pointer, context) }
        guard BN_is_one(common.pointer) == 1 else { return nil }
        let d = try BigNumber.computed("d") { BN_mod_inverse($0, e.pointer, lambda.pointer, context) == nil ? 0 : 1 }
        let n = try BigNumber.computed("n") { BN_mul($0, p.pointer, q.pointer, context) }

        let parameters = ParameterList()
        parameters.add(OSSL_PKEY_PARAM_RSA_N, number: n)
        parameters.add(OSSL_PKEY_PARAM_RSA_E, number: e)
        parameters.add(OSSL_PKEY_PARAM_RSA_D, number: d)
        // OpenSSL composes these names of two literals, which Swift does not import.
        parameters.add("rsa-factor1", number: p)
        parameters.add("rsa-factor2", number: q)
        parameters.add("rsa-exponent1", number: try .computed("d mod p - 1") { BN_div(nil, $0, d.pointer, pMinus1.pointer, context) })
        parameters.add("rsa-exponent2", number: try .computed("d mod q - 1") { BN_div(nil, $0, d.pointer, qMinus1.pointer, context) })
        parameters.add(
            "rsa-coefficient1",
            number: try .computed("q⁻¹ mod p") { BN_mod_inverse($0, q.pointer, p.pointer, context) == nil ? 0 : 1 })
        return parameters
    }

    private static func checkSeed(_ seed: SecretBytes) throws {
        guard seed.count >= minimumSeed else { throw KeyError(.weakSeed, "Key derivation needs at least \(minimumSeed) bytes") }
    }
}

/// HMAC_DRBG with SHA-256 (NIST SP 800-90A Rev. 1, section 10.1.2), as det-keygen's steps 2 to 9 write it out.
struct HMACDRBG {
    private var key = SecretBytes(repeatElement(0x00, count: 32))
    private var value = SecretBytes(repeatElement(0x01, count: 32))

    init(seed: SecretBytes, personalization: [UInt8]) throws {
        for round: UInt8 in [0, 1] {
            key = try hmacSHA256(
                key: key, SecretBytes(joining: .secret(value), .plain([round]), .secret(seed), .plain(personalization)))
            value = try hmacSHA256(key: key, value)
        }
    }

    /// The next bytes; ``next()`` has to come between two outputs.
    mutating func output(_ count: Int) throws -> SecretBytes {
        try SecretBytes(count: count) { output in
            for start in stride(from: 0, to: count, by: 32) {
                value = try hmacSHA256(key: key, value)
                let used = min(32, count - start)
                value.withUnsafeBytes { source in
                    UnsafeMutableRawBufferPointer(rebasing: output[start..<(start + used)])
                        .copyMemory(from: UnsafeRawBufferPointer(rebasing: source[..<used]))
                }
            }
        }
    }

    /// The update without input that ends every request.
    mutating func next() throws {
        key = try hmacSHA256(key: key, SecretBytes(joining: .secret(value), .plain([0])))
        value = try hmacSHA256(key: key, value)
    }
}
