// Writing a CRL with a test CA: the writer's two walks joined to files and to openssl's signature.

import Foundation
import RevocationFormats

/// 2025-01-01T00:00:00Z
let newYear2025: Int64 = 1_735_689_600
let sevenDays: Int64 = 7 * 86_400

extension RawSpan {
    var bytes: [UInt8] { self.withUnsafeBytes { Array($0) } }
}

extension OpenSSLAuthority {
    func writer(
        thisUpdate: Int64 = newYear2025,
        nextUpdate: Int64 = newYear2025 + sevenDays,
        number: CRLNumber = CRLNumber(1),
        chunkByteCount: Int = 64 * 1024
    ) throws -> CRLWriter<MemoryCRLSpill> {
        try CRLWriter(
            issuerNameDER: Self.name[...],
            signatureAlgorithmDER: Self.ecdsaWithSHA256[...],
            thisUpdate: thisUpdate,
            nextUpdate: nextUpdate,
            crlNumber: number,
            authorityKeyIdentifier: self.keyIdentifier[...],
            chunkByteCount: chunkByteCount,
            spill: MemoryCRLSpill()
        )
    }

    /// Signs with openssl and writes the DER into the CA's folder.
    @discardableResult
    func publish<Spill: CRLSpill & ~Copyable>(_ writer: consuming CRLWriter<Spill>, to name: String) throws -> [UInt8] {
        let crl = try writer.finish()
        var tbs: [UInt8] = []
        try crl.forEachTBSChunk { tbs += $0.bytes }
        try self.folder.write(tbs, to: "\(name).tbs")
        let signature = try self.sign(file: "\(name).tbs")
        var whole: [UInt8] = []
        try crl.forEachChunk(signature: signature) { whole += $0.bytes }
        try self.folder.write(whole, to: name)
        return whole
    }

    @discardableResult
    func publish(_ entries: [CRLEntry], to name: String) throws -> [UInt8] {
        var writer = try self.writer()
        for entry in entries {
            try writer.append(entry)
        }
        return try self.publish(writer, to: name)
    }
}

/// A reproducible source of bytes (SplitMix64).
struct ReproducibleBytes: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        self.state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = self.state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    mutating func serialNumber(byteCount: Int) -> [UInt8] {
        var bytes = (0..<byteCount).map { _ in UInt8.random(in: 0...255, using: &self) }
        if bytes[0] == 0 {
            bytes[0] = 1
        }
        return bytes
    }
}
