// The CRL writer against openssl: the same bytes, the same reading, an accepted signature.

import RevocationFormats
import SwiftASN1
import Testing

@Suite("Writing CRLs")
struct CRLWriterTests {
    let authority: OpenSSLAuthority

    init() throws {
        self.authority = try OpenSSLAuthority()
    }

    static func entry(_ serialNumber: [UInt8], _ date: Int64 = newYear2025, _ reason: CRLReason = .unspecified) -> CRLEntry {
        CRLEntry(serialNumber: serialNumber[...], revocationDate: date, reason: reason)
    }

    @Test("a CRL has the bytes that `openssl ca -gencrl` writes")
    func bytesOfOpenSSL() throws {
        let highBit: [UInt8] = [0xFF] + Array(repeating: 0xEE, count: 19)
        let lowBit: [UInt8] = [0x7F] + Array(repeating: 0xDD, count: 19)
        let hex = { (bytes: [UInt8]) in bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16, uppercase: true) }.joined() }
        let expected = try self.authority.opensslCRL(
            revoked: [
                ("241231235959Z", "01"),
                ("241230000000Z,keyCompromise", "7F"),
                ("241230000001Z,CACompromise", "80"),
                ("241230000002Z,affiliationChanged", "0100"),
                ("000229120000Z,superseded", "8000"),
                ("491231235959Z,cessationOfOperation", "0123456789ABCDEF"),
                ("700101000000Z,certificateHold", hex(lowBit)),
                ("991231235959Z", hex(highBit)),
            ],
            number: "0671B2C3D4E5F6"
        )

        var writer = try self.authority.writer(number: CRLNumber(0x06_71B2_C3D4_E5F6), chunkByteCount: 100)
        try writer.append(Self.entry([0x01], 1_735_689_599))
        try writer.append(Self.entry([0x7F], 1_735_516_800, .keyCompromise))
        try writer.append(Self.entry([0x80], 1_735_516_801, .cACompromise))
        try writer.append(Self.entry([0x01, 0x00], 1_735_516_802, .affiliationChanged))
        try writer.append(Self.entry([0x80, 0x00], 951_825_600, .superseded))
        try writer.append(Self.entry([0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF], 2_524_607_999, .cessationOfOperation))
        try writer.append(Self.entry(lowBit, 0, .certificateHold))
        // 991231 is 1999-12-31: two-digit years from 50 on belong to the last century.
        try writer.append(Self.entry(highBit, 946_684_799))
        let crl = try writer.finish()
        #expect(crl.entryCount == 8)

        let parsed = try CertificateList(derEncoded: expected)
        var tbs: [UInt8] = []
        try crl.forEachTBSChunk { tbs += $0.bytes }
        #expect(tbs == Array(parsed.tbsCertListBytes))
        #expect(crl.tbsByteCount == tbs.count)

        // With openssl's own signature the whole file must come out.
        var whole: [UInt8] = []
        try crl.forEachChunk(signature: Array(parsed.signatureValue.bytes)) { whole += $0.bytes }
        #expect(whole == expected)
    }

    @Test("an empty CRL has the bytes that openssl writes and no revokedCertificates")
    func empty() throws {
        let expected = try self.authority.opensslCRL(revoked: [], number: "01")
        let crl = try self.authority.writer().finish()
        let parsed = try CertificateList(derEncoded: expected)
        var whole: [UInt8] = []
        try crl.forEachChunk(signature: Array(parsed.signatureValue.bytes)) { whole += $0.bytes }
        #expect(whole == expected)
        #expect(parsed.tbsCertList.revokedCertificates == nil)

        try self.authority.publish(self.authority.writer(), to: "empty.der")
        #expect(try self.authority.verifies(file: "empty.der"))
        #expect(try self.authority.print(file: "empty.der").contains("No Revoked Certificates."))
    }

    @Test("openssl accepts the signature and prints every reason by its name")
    func everyReason() throws {
        let printedNames: [(CRLReason, String?)] = [
            (.unspecified, nil), (.keyCompromise, "Key Compromise"), (.cACompromise, "CA Compromise"),
            (.affiliationChanged, "Affiliation Changed"), (.superseded, "Superseded"),
            (.cessationOfOperation, "Cessation Of Operation"), (.certificateHold, "Certificate Hold"),
            (.privilegeWithdrawn, "Privilege Withdrawn"), (.aACompromise, "AA Compromise"),
        ]
        try self.authority.publish(printedNames.map { Self.entry([0x11, $0.0.rawValue], newYear2025, $0.0) }, to: "reasons.der")
        #expect(try self.authority.verifies(file: "reasons.der"))
        let lines = try self.authority.print(file: "reasons.der")
        #expect(lines.filter { $0 == "X509v3 CRL Reason Code:" }.count == 8)
        for (reason, name) in printedNames {
            // All codes are below 16: a zero and one digit.
            let serialNumber = "110" + String(reason.rawValue, radix: 16, uppercase: true)
            let index = try #require(lines.firstIndex(of: "Serial Number: \(serialNumber)"))
            #expect(lines[index + 1] == "Revocation Date: Jan  1 00:00:00 2025 GMT")
            if let name {
                #expect(lines[index + 4] == name)
            } else {
                #expect(lines[index + 2].hasPrefix("Serial Number:"))
            }
        }
        #expect(lines.contains("Version 2 (0x1)"))
        #expect(lines.contains("Issuer: C = FR, O = Test, CN = Test CA"))
        #expect(lines.contains("Last Update: Jan  1 00:00:00 2025 GMT"))
        #expect(lines.contains("Next Update: Jan  8 00:00:00 2025 GMT"))
        let number = try #require(lines.firstIndex(of: "X509v3 CRL Number:"))
        #expect(lines[number + 1] == "1")
        let identifier = try #require(lines.firstIndex(of: "X509v3 Authority Key Identifier:"))
        let hex = self.authority.keyIdentifier.map { ($0 < 16 ? "0" : "") + String($0, radix: 16, uppercase: true) }
        #expect(lines[identifier + 1] == hex.joined(separator: ":"))
    }

    @Test("times change their form at the end of 2049, in entries and in the header")
    func formsOfTime() throws {
        let last2049: Int64 = 2_524_607_999
        let expected = try self.authority.opensslCRL(
            revoked: [], number: "01", thisUpdate: "20491231235959Z", nextUpdate: "20500101000000Z"
        )
        var writer = try self.authority.writer(thisUpdate: last2049, nextUpdate: last2049 + 1)
        let parsed = try CertificateList(derEncoded: expected)
        var same: [UInt8] = []
        try self.authority.writer(thisUpdate: last2049, nextUpdate: last2049 + 1).finish().forEachTBSChunk { same += $0.bytes }
        #expect(same == Array(parsed.tbsCertListBytes))

        try writer.append(Self.entry([0x01], last2049, .superseded))
        try writer.append(Self.entry([0x02], last2049 + 1, .superseded))
        let whole = try self.authority.publish(writer, to: "times.der")
        let lines = try self.authority.print(file: "times.der")
        #expect(lines.contains("Revocation Date: Dec 31 23:59:59 2049 GMT"))
        #expect(lines.contains("Revocation Date: Jan  1 00:00:00 2050 GMT"))
        #expect(lines.contains("Last Update: Dec 31 23:59:59 2049 GMT"))
        #expect(lines.contains("Next Update: Jan  1 00:00:00 2050 GMT"))
        let text = String(decoding: whole, as: UTF8.self)
        #expect(text.contains("\u{17}\u{0D}491231235959Z"))
        #expect(text.contains("\u{18}\u{0F}20500101000000Z"))
        #expect(try self.authority.verifies(file: "times.der"))
    }

    @Test(
        "a serial number is written as the INTEGER that openssl writes",
        arguments: [
            [0x01], [0x7F], [0x80], [0xFF], [0x00, 0x80], [0x00, 0x00, 0x01], [0x80, 0x00], [0x01, 0x80],
            [0x7F] + Array(repeating: 0xFF, count: 19), [0x80] + Array(repeating: 0x00, count: 19),
            Array(repeating: 0xFF, count: 20), [0x00] + Array(repeating: 0xFF, count: 20),
        ] as [[UInt8]]
    )
    func serialNumbers(serialNumber: [UInt8]) throws {
        let hex = serialNumber.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        let expected = try self.authority.folder.der("INTEGER:0x\(hex)")
        var writer = try self.authority.writer()
        try writer.append(Self.entry(serialNumber))
        var tbs: [UInt8] = []
        try writer.finish().forEachTBSChunk { tbs += $0.bytes }
        let entry = [0x30, UInt8(expected.count + 15)] + expected + [0x17, 13] + Array("250101000000Z".utf8)
        #expect(tbs.firstRange(of: [0x30, UInt8(entry.count)] + entry) != nil)

        // The type for single entries writes the same.
        var coder = DER.Serializer()
        try coder.serialize(
            RevokedCertificate(serialNumber: serialNumber, revocationDate: X509Time(unixSeconds: newYear2025), reason: .unspecified)
        )
        #expect(coder.serializedBytes == entry)
    }

    @Test("an entry that cannot stand in a CRL is refused and leaves the writer usable")
    func refusedEntries() throws {
        var writer = try self.authority.writer()
        func code(_ entry: CRLEntry, _ writer: inout CRLWriter<MemoryCRLSpill>) -> RevocationFormatsError.Code? {
            do {
                try writer.append(entry)
                return nil
            } catch {
                return (error as? RevocationFormatsError)?.code
            }
        }
        #expect(code(Self.entry([]), &writer) == .invalidSerialNumber)
        #expect(code(Self.entry([0x00]), &writer) == .invalidSerialNumber)
        #expect(code(Self.entry(Array(repeating: 0, count: 30)), &writer) == .invalidSerialNumber)
        #expect(code(Self.entry([0x01] + Array(repeating: 0, count: 20)), &writer) == .invalidSerialNumber)
        #expect(code(Self.entry([0x01], newYear2025, .removeFromCRL), &writer) == .invalidReason)
        #expect(code(Self.entry([0x01], .max), &writer) == .timeOutOfRange)
        #expect(code(Self.entry([0x01], .min), &writer) == .timeOutOfRange)
        #expect(code(Self.entry([0x2A]), &writer) == nil)

        var refused: [UInt8] = []
        try writer.finish().forEachTBSChunk { refused += $0.bytes }
        var alone = try self.authority.writer()
        try alone.append(Self.entry([0x2A]))
        var expected: [UInt8] = []
        try alone.finish().forEachTBSChunk { expected += $0.bytes }
        #expect(refused == expected)
    }

    @Test("a header that is not fit for a CRL is refused")
    func refusedHeaders() throws {
        func code(
            name: [UInt8] = OpenSSLAuthority.name, algorithm: [UInt8] = OpenSSLAuthority.ecdsaWithSHA256,
            from: Int64 = newYear2025, to: Int64 = newYear2025 + 1, key: [UInt8] = [1, 2, 3]
        ) -> RevocationFormatsError.Code? {
            do {
                _ = try CRLWriter(
                    issuerNameDER: name[...], signatureAlgorithmDER: algorithm[...], thisUpdate: from, nextUpdate: to,
                    crlNumber: CRLNumber(1), authorityKeyIdentifier: key[...], spill: MemoryCRLSpill()
                )
                return nil
            } catch {
                return (error as? RevocationFormatsError)?.code
            }
        }
        #expect(code() == nil)
        #expect(code(name: []) == .invalidField)
        #expect(code(name: [0x04, 0x00]) == .invalidField)
        #expect(code(name: OpenSSLAuthority.name + [0]) == .invalidField)
        #expect(code(algorithm: []) == .invalidField)
        #expect(code(algorithm: [0x30, 0x00]) == .invalidField)
        #expect(code(to: newYear2025) == .invalidField)
        #expect(code(key: []) == .invalidField)
        #expect(code(from: .min) == .timeOutOfRange)
        #expect(code(to: .max) == .timeOutOfRange)
    }

    @Test("header lengths change their size in the right places", arguments: [1, 2, 3, 4, 5, 6, 7, 20, 200, 1_240, 1_245, 1_300])
    func lengths(count: Int) throws {
        var source = ReproducibleBytes(state: UInt64(count))
        let entries = (0..<count).map { _ in Self.entry(source.serialNumber(byteCount: 20), newYear2025, .superseded) }
        let whole = try self.authority.publish(entries, to: "lengths.der")
        #expect(try self.authority.verifies(file: "lengths.der"))
        let list = try CertificateList(derEncoded: whole)

        // SwiftASN1's own serializer, which counts lengths afterwards, agrees.
        let revoked = try entries.map {
            let time = try X509Time(unixSeconds: $0.revocationDate)
            return try RevokedCertificate(serialNumber: $0.serialNumber, revocationDate: time, reason: $0.reason)
        }
        let tbs = try TBSCertList(
            signature: list.signatureAlgorithm, issuer: OpenSSLAuthority.name[...], thisUpdate: X509Time(unixSeconds: newYear2025),
            nextUpdate: X509Time(unixSeconds: newYear2025 + sevenDays), revokedCertificates: RevokedCertificates(revoked),
            crlNumber: CRLNumber(1), authorityKeyIdentifier: self.authority.keyIdentifier[...]
        )
        var coder = DER.Serializer()
        try coder.serialize(CertificateList(tbsCertList: tbs, signature: list.signatureValue.bytes))
        #expect(coder.serializedBytes == whole)
    }

    @Test("the signature may be of any length", arguments: [1, 64, 70, 71, 72, 126, 127, 256, 512, 60_000])
    func signatureLengths(count: Int) throws {
        var whole: [UInt8] = []
        let signature = (0..<count).map { UInt8(truncatingIfNeeded: $0) }
        try self.authority.writer().finish().forEachChunk(signature: signature) { whole += $0.bytes }
        #expect(try Array(CertificateList(derEncoded: whole).signatureValue.bytes) == signature)
    }

    @Test("an empty signature is refused")
    func emptySignature() throws {
        let crl = try self.authority.writer().finish()
        #expect(throws: RevocationFormatsError.self) { try crl.forEachChunk(signature: []) { _ in } }
    }
}
