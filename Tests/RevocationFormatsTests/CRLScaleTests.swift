// Big CRLs: everything comes back, openssl agrees, and memory stays where it was.

import Foundation
import RevocationFormats
import Testing

@Suite("Big CRLs", .serialized)
struct CRLScaleTests {
    private static func writer<Spill: CRLSpill & ~Copyable>(
        _ authority: OpenSSLAuthority,
        spill: consuming Spill
    ) throws -> CRLWriter<Spill> {
        try CRLWriter(
            issuerNameDER: OpenSSLAuthority.name[...],
            signatureAlgorithmDER: OpenSSLAuthority.ecdsaWithSHA256[...],
            thisUpdate: newYear2025,
            nextUpdate: newYear2025 + sevenDays,
            crlNumber: CRLNumber(7),
            authorityKeyIdentifier: authority.keyIdentifier[...],
            spill: spill
        )
    }

    private static func reason(_ index: Int) -> CRLReason {
        let usable = CRLReason.allCases.filter { $0 != .removeFromCRL }
        return usable[index % usable.count]
    }

    @Test("200,000 entries are written, accepted by openssl and read again")
    func roundTrip() throws {
        let authority = try OpenSSLAuthority()
        let count = 200_000
        var writer = try Self.writer(authority, spill: TemporaryFileCRLSpill(directory: authority.folder.url.path))
        var source = ReproducibleBytes(state: 1)
        for index in 0..<count {
            try writer.append(
                serialNumber: source.serialNumber(byteCount: 1 + index % 20).span,
                revocationDate: newYear2025 + Int64(index) * 10_000,
                reason: Self.reason(index)
            )
        }
        let whole = try authority.publish(writer, to: "big.der")
        #expect(try authority.verifies(file: "big.der"))

        let list = try CertificateList(derEncoded: whole)
        #expect(list.tbsCertList.crlNumber?.value == 7)
        var again = ReproducibleBytes(state: 1)
        var index = 0
        var different: [Int] = []
        let clock = ContinuousClock()
        let duration = try clock.measure {
            try list.tbsCertList.revokedCertificates?.forEachEntry { entry in
                let serialNumber = again.serialNumber(byteCount: 1 + index % 20)
                if Array(entry.serialNumber) != serialNumber || entry.reason != Self.reason(index)
                    || entry.revocationDate.unixSeconds != newYear2025 + Int64(index) * 10_000
                {
                    different.append(index)
                }
                index += 1
            }
        }
        #expect(index == count)
        #expect(different.isEmpty, "the first is \(different.first ?? -1)")
        print("reading \(count) entries: \(duration)")
    }

    @Test("the temporary file has no name while it is used, and a folder that is not there is an error")
    func temporaryFile() throws {
        let folder = try TemporaryFolder()
        var spill = try TemporaryFileCRLSpill(directory: folder.url.path)
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.url.path).isEmpty)
        let pieces = (0..<5).map { piece in [UInt8](repeating: UInt8(piece), count: 50_000) }
        for piece in pieces {
            try spill.append(piece.span.bytes)
        }
        for _ in 0..<2 {
            var replayed: [UInt8] = []
            try spill.replay { replayed += $0.bytes }
            #expect(replayed == pieces.flatMap { $0 })
        }
        #expect(throws: RevocationFormatsError(code: .spillFailed)) {
            _ = try TemporaryFileCRLSpill(directory: "\(folder.url.path)/absent")
        }
    }

    @Test("a million entries: how long, how much memory (printed, not judged)")
    func million() throws {
        let authority = try OpenSSLAuthority()
        let folder = try TemporaryFolder()
        let before = Self.memory()
        let clock = ContinuousClock()
        var signedByteCount = 0
        var storedByteCount = 0
        let duration = try clock.measure {
            var writer = try Self.writer(authority, spill: TemporaryFileCRLSpill(directory: folder.url.path))
            var serialNumber = [UInt8](repeating: 0xA5, count: 20)
            for index in 0..<1_000_000 {
                serialNumber[19] = UInt8(truncatingIfNeeded: index)
                serialNumber[18] = UInt8(truncatingIfNeeded: index >> 8)
                serialNumber[17] = UInt8(truncatingIfNeeded: index >> 16)
                try writer.append(serialNumber: serialNumber.span, revocationDate: newYear2025 + Int64(index), reason: .superseded)
            }
            let crl = try writer.finish()
            try crl.forEachTBSChunk { signedByteCount += $0.byteCount }
            try crl.forEachChunk(signature: [UInt8](repeating: 1, count: 71)) { storedByteCount += $0.byteCount }
            #expect(signedByteCount == crl.tbsByteCount)
        }
        #expect(storedByteCount > signedByteCount)
        print("writing 1,000,000 entries (\(storedByteCount) bytes), delivered twice: \(duration)")
        print("peak resident memory of the whole test process before \(before) KB, after \(Self.memory()) KB")
    }

    /// The process's peak resident memory in KB, all tests that run beside this one included.
    private static func memory() -> Int {
        let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
        let line = status.split(separator: "\n").first { $0.hasPrefix("VmHWM:") }
        return line.flatMap { Int($0.filter(\.isNumber)) } ?? 0
    }
}
