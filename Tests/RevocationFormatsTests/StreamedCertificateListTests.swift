// Reading CRLs piece by piece, as files are read: the same answers as from one array, in bounded memory, whatever is wrong with them.

import RevocationFormats
import Synchronization
import Testing

/// Remembers how much was asked for at once, and how much in all.
private final class WatchedSource: CRLSource {
    private let bytes: MemoryCRLSource
    private let largest = Mutex(0)

    init(_ bytes: [UInt8]) { self.bytes = MemoryCRLSource(bytes) }

    var byteCount: Int { self.bytes.byteCount }
    var largestRead: Int { self.largest.withLock { $0 } }

    func read(at offset: Int, count: Int) throws -> [UInt8] {
        self.largest.withLock { $0 = max($0, count) }
        return try self.bytes.read(at: offset, count: count)
    }
}

@Suite("Reading CRLs piece by piece")
struct StreamedCertificateListTests {
    private let authority: OpenSSLAuthority

    init() throws { self.authority = try OpenSSLAuthority() }

    private func varied() throws -> [UInt8] {
        try self.authority.opensslCRL(
            revoked: [
                ("241231235959Z", "01"), ("241230000000Z,keyCompromise", "80FF"), ("241230000000Z,keyTime,20241201000000Z", "8101"),
                ("241230000000Z,holdInstruction,holdInstructionReject", "8202"),
            ], number: "1000")
    }

    private static func entries(_ list: StreamedCertificateList) throws -> [RevokedCertificate] {
        var cursor = list.makeCursor()
        var entries: [RevokedCertificate] = []
        while let entry = try cursor.next() { entries.append(entry) }
        return entries
    }

    private static func signedBytes(_ list: StreamedCertificateList) throws -> [UInt8] {
        var bytes: [UInt8] = []
        try list.forEachSignedChunk { chunk in chunk.withUnsafeBytes { bytes += $0 } }
        return bytes
    }

    @Test("a CRL of openssl gives the same fields, entries and signed bytes as one that is read at once")
    func sameAsAtOnce() throws {
        let bytes = try self.varied()
        let whole = try CertificateList(derEncoded: bytes)
        let list = try StreamedCertificateList(MemoryCRLSource(bytes))
        #expect(list.tbsCertList.crlNumber == whole.tbsCertList.crlNumber && list.tbsCertList.issuer == whole.tbsCertList.issuer)
        #expect(list.tbsCertList.thisUpdate == whole.tbsCertList.thisUpdate && list.tbsCertList.nextUpdate == whole.tbsCertList.nextUpdate)
        #expect(list.tbsCertList.authorityKeyIdentifier == whole.tbsCertList.authorityKeyIdentifier)
        #expect(list.signatureValue == whole.signatureValue && list.signatureAlgorithm == whole.signatureAlgorithm)
        #expect(try Self.signedBytes(list) == Array(whole.tbsCertListBytes))
        var expected: [RevokedCertificate] = []
        try whole.tbsCertList.revokedCertificates?.forEachEntry { expected.append($0) }
        #expect(try Self.entries(list) == expected && expected.count == 4)
    }

    @Test("an empty CRL has no entry")
    func empty() throws {
        let list = try StreamedCertificateList(MemoryCRLSource(try self.authority.opensslCRL(revoked: [], number: "01")))
        #expect(try Self.entries(list).isEmpty)
        #expect(list.tbsCertList.crlNumber?.value == 1)
    }

    @Test("a CRL that is cut off anywhere, or followed by a byte, is refused")
    func cutOff() throws {
        let bytes = try self.varied()
        for count in bytes.indices {
            #expect(throws: RevocationFormatsError(code: .malformed)) {
                try StreamedCertificateList(MemoryCRLSource(Array(bytes.prefix(count))))
            }
        }
        #expect(throws: RevocationFormatsError(code: .malformed)) { try StreamedCertificateList(MemoryCRLSource(bytes + [0])) }
    }

    @Test("a CRL with any one byte changed is read or refused as it is when read at once")
    func changed() throws {
        let bytes = try self.varied()
        func atOnce(_ bytes: [UInt8]) -> [RevokedCertificate]? {
            var entries: [RevokedCertificate] = []
            do {
                try CertificateList(derEncoded: bytes).tbsCertList.revokedCertificates?.forEachEntry { entries.append($0) }
            } catch { return nil }
            return entries
        }
        for index in bytes.indices {
            for value in [0x00, 0x30, 0x80, 0xff, bytes[index] ^ 1] as [UInt8] {
                var other = bytes
                other[index] = value
                let inPieces = try? Self.entries(StreamedCertificateList(MemoryCRLSource(other)))
                #expect(inPieces == atOnce(other), "byte \(index) as \(value)")
            }
        }
    }

    @Test("a hundred thousand entries are read 64 KiB at a time")
    func bounded() throws {
        var writer = try CRLWriter(
            issuerNameDER: OpenSSLAuthority.name[...], signatureAlgorithmDER: OpenSSLAuthority.ecdsaWithSHA256[...],
            thisUpdate: 1_735_689_600,
            nextUpdate: 1_736_294_400, crlNumber: CRLNumber(7), authorityKeyIdentifier: self.authority.keyIdentifier[...],
            spill: MemoryCRLSpill())
        for number in 1...100_000 as ClosedRange<UInt32> {
            let serial = withUnsafeBytes(of: number.bigEndian) { Array($0) }
            try writer.append(
                CRLEntry(serialNumber: serial[...], revocationDate: 1_735_000_000, reason: number % 2 == 0 ? .superseded : .unspecified))
        }
        var bytes: [UInt8] = []
        try writer.finish().forEachChunk(signature: [1, 2, 3]) { chunk in chunk.withUnsafeBytes { bytes += $0 } }
        let source = WatchedSource(bytes)
        var cursor = try StreamedCertificateList(source).makeCursor()
        var count: UInt32 = 0
        while let entry = try cursor.next() {
            count += 1
            let number = entry.serialNumber.reduce(0 as UInt32) { $0 << 8 | UInt32($1) }
            #expect(number == count && entry.reason == (count % 2 == 0 ? .superseded : .unspecified))
        }
        #expect(count == 100_000)
        #expect(bytes.count > 2 << 20 && source.largestRead <= 64 << 10)
    }
}

@Suite("The PEM of a CRL")
struct CRLPEMDecoderTests {
    private static func decode(_ text: [UInt8], piece: Int) throws -> [UInt8] {
        var pem = CRLPEMDecoder()
        var bytes: [UInt8] = []
        for start in stride(from: 0, to: text.count, by: piece) {
            try pem.append(text[start..<min(text.count, start + piece)]) { part in part.withUnsafeBytes { bytes += $0 } }
        }
        try pem.finish()
        return bytes
    }

    @Test("what openssl writes is read, in pieces of any size, with text around it and with line ends of any kind")
    func openssl() throws {
        let authority = try OpenSSLAuthority()
        let der = try authority.opensslCRL(revoked: [("241231235959Z,keyCompromise", "0102")], number: "05")
        let pem = try authority.folder.read("openssl.pem")
        #expect(CRLPEMDecoder.looksLikePEM(pem) && !CRLPEMDecoder.looksLikePEM(der))
        let windows = Array(String(decoding: pem, as: UTF8.self).split(separator: "\n").joined(separator: "\r\n").utf8)
        let explained = Array("Certificate Revocation List (CRL):\n    Version 2\n".utf8) + pem + Array("\nbehind it\n".utf8)
        for text in [pem, windows, explained] {
            for piece in [1, 3, 64, 4_096] { #expect(try Self.decode(text, piece: piece) == der) }
        }
    }

    @Test(
        "what is no CRL in PEM is refused",
        arguments: [
            "", "hello\n", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "-----BEGIN X509 CRL-----\nAAAA\n",
            "-----BEGIN X509 CRL-----\nAA*A\n-----END X509 CRL-----\n", "-----BEGIN X509 CRL-----\nAAA\n-----END X509 CRL-----\n",
            "-----BEGIN X509 CRL-----\nA===\n-----END X509 CRL-----\n", "-----BEGIN X509 CRL-----\nAA==AAAA\n-----END X509 CRL-----\n",
            "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n",
        ])
    func refused(_ text: String) {
        #expect(throws: RevocationFormatsError(code: .malformed)) { try Self.decode(Array(text.utf8), piece: 7) }
    }
}

@Suite("CRL numbers of any size")
struct GreatCRLNumberTests {
    /// 2^64 - 1, 2^64, 2^159 and 2^160 - 1 as bc(1) prints them.
    private static let known: [(digits: String, bytes: [UInt8])] = [
        ("0", []), ("1", [1]), ("255", [255]), ("256", [1, 0]), ("18446744073709551615", [UInt8](repeating: 255, count: 8)),
        ("18446744073709551616", [1] + [UInt8](repeating: 0, count: 8)),
        ("730750818665451459101842416358141509827966271488", [0x80] + [UInt8](repeating: 0, count: 19)),
        ("1461501637330902918203684832716283019655932542975", [UInt8](repeating: 255, count: 20)),
    ]

    @Test("are read from and written as decimal digits", arguments: known)
    func decimal(_ digits: String, _ bytes: [UInt8]) throws {
        let number = try CRLNumber(bytes: bytes)
        #expect(number.decimal == digits && CRLNumber(decimal: digits) == number)
    }

    @Test("have a successor, but for the last that 20 octets hold")
    func successor() throws {
        #expect(CRLNumber(0).successor == CRLNumber(1) && CRLNumber(255).successor == CRLNumber(256))
        #expect(CRLNumber(.max).successor?.decimal == "18446744073709551616")
        #expect(try CRLNumber(bytes: [UInt8](repeating: 255, count: 20)).successor == nil)
    }

    @Test("anything else is none", arguments: ["", "-1", "1.0", " 1", "0x1", "1461501637330902918203684832716283019655932542976"])
    func none(_ text: String) { #expect(CRLNumber(decimal: text) == nil) }
}
