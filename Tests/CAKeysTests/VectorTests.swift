// The known answers: seed-v1.json for the whole chain from seed to keys, det-keygen.json for C2SP det-keygen alone.

import CAKeys
import Crypto
import Foundation
import Testing

struct SeedVector: Decodable, Sendable, CustomTestStringConvertible {
    let seed: String
    let rootSecretSha256: String
    let registrationToken: [String: String]
    let curveSecretSha256: [String: String]
    let auditSeedSha256: String
    let caKeySpkiSha256: [String: String]

    var testDescription: String { seed }
    static let all: [SeedVector] = load("seed-v1.json")
}

struct DetKeygenVector: Decodable, Sendable, CustomTestStringConvertible {
    let type: String
    let seedHex: String
    let spkiSha256: String

    var testDescription: String { "\(type) \(seedHex)" }
    static let all: [DetKeygenVector] = load("det-keygen.json")
}

private func load<T: Decodable>(_ name: String) -> [T] {
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    // A test without its vectors must not pass: the tests below count them.
    return (try? decoder.decode([T].self, from: fixture(name))) ?? []
}

private func sha256Hex(_ bytes: [UInt8]) -> String { hex(SHA256.hash(data: bytes)) }

@Suite struct VectorTests {
    @Test("both vector files are there, with the P-256 retry and RSA-8192")
    func complete() {
        #expect(SeedVector.all.count == 2)
        #expect(DetKeygenVector.all.count == 37)
        #expect(DetKeygenVector.all.contains { $0.type == "ec-p256" && $0.seedHex == "b432f9be30890480298218510559aed7" })
        #expect(DetKeygenVector.all.contains { $0.type == "rsa-8192" })
    }

    @Test("a seed gives the known root, tokens, CURVE secrets, audit key and CA keys of all six types", arguments: SeedVector.all)
    func seed(_ vector: SeedVector) throws {
        let root = try SeedRoot(Seed(text: vector.seed))
        #expect(hex(try root.rootFingerprint()) == vector.rootSecretSha256)
        for (n, token) in vector.registrationToken {
            let number = try #require(UInt32(n))
            #expect(try root.registrationToken(number) == token)
        }
        for (name, digest) in vector.curveSecretSha256 {
            let parts = name.split(separator: "/")
            let port = try #require(CurvePort.allCases.first { "\($0.rawValue)" == parts[0] })
            let number = try #require(UInt32(parts[1]))
            #expect(sha256Hex(try root.curveSecret(port, number)) == digest)
        }
        #expect(sha256Hex(try root.auditKeySeed()) == vector.auditSeedSha256)
        #expect(Set(vector.caKeySpkiSha256.keys) == Set(KeyType.allCases.flatMap { ["\($0.rawValue)/0", "\($0.rawValue)/1"] }))
        for (name, digest) in vector.caKeySpkiSha256 {
            let parts = name.split(separator: "/")
            let type = try #require(KeyType(rawValue: String(parts[0])))
            let key = try root.caKey(type, generation: #require(UInt32(parts[1])))
            #expect(key.type == type)
            #expect(sha256Hex(key.subjectPublicKeyInfoDER) == digest, "\(name)")
        }
    }

    @Test("C2SP det-keygen gives the known key", arguments: DetKeygenVector.all)
    func detKeygen(_ vector: DetKeygenVector) throws {
        let seed = SecretBytes(try bytes(hex: vector.seedHex))
        let key =
            switch vector.type {
            case "ec-p256": try DeterministicKeyGeneration.ecKey(.p256, seed: seed)
            case "ec-p384": try DeterministicKeyGeneration.ecKey(.p384, seed: seed)
            case "ec-p521": try DeterministicKeyGeneration.ecKey(.p521, seed: seed)
            default:
                try DeterministicKeyGeneration.rsaKey(bits: #require(Int(vector.type.dropFirst("rsa-".count))), seed: seed)
            }
        #expect(sha256Hex(key.subjectPublicKeyInfo) == vector.spkiSha256)
        #expect(key.kind.description == vector.type)
    }

    @Test("a seed under 16 bytes and an odd RSA size are refused")
    func refusals() throws {
        let short = SecretBytes([UInt8](repeating: 1, count: 15))
        #expect(throws: KeyError(.weakSeed, "")) { try DeterministicKeyGeneration.ecKey(.p256, seed: short) }
        #expect(throws: KeyError(.weakSeed, "")) { try DeterministicKeyGeneration.rsaKey(bits: 2048, seed: short) }
        let seed = SecretBytes([UInt8](repeating: 1, count: 16))
        for bits in [1024, 2047, 2056, 16400] {
            #expect(throws: KeyError(.unsupportedKey, "")) { try DeterministicKeyGeneration.rsaKey(bits: bits, seed: seed) }
        }
    }
}
