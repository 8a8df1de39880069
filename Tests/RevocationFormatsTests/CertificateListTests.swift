// Reading CRLs that openssl made, CRLs that are cut off, and CRLs that are broken.

import RevocationFormats
import SwiftASN1
import Testing

@Suite("Reading CRLs")
struct CertificateListTests {
    let authority: OpenSSLAuthority

    init() throws {
        self.authority = try OpenSSLAuthority()
    }

    private func varied() throws -> [UInt8] {
        try self.authority.opensslCRL(
            revoked: [
                ("241231235959Z", "01"),
                ("241230000000Z,keyCompromise", "80FF"),
                ("241230000000Z,keyTime,20241201000000Z", "8101"),
                ("241230000000Z,holdInstruction,holdInstructionReject", "8202"),
            ],
            number: "1000"
        )
    }

    private static func serialized(_ value: some DERSerializable) throws -> [UInt8] {
        var coder = DER.Serializer()
        try coder.serialize(value)
        return coder.serializedBytes
    }

    /// Reads everything there is to read.
    private static func readAll(_ bytes: ArraySlice<UInt8>) throws -> [RevokedCertificate] {
        var entries: [RevokedCertificate] = []
        try CertificateList(derEncoded: bytes).tbsCertList.revokedCertificates?.forEachEntry { entries.append($0) }
        return entries
    }

    @Test("a CRL of openssl is read field by field and written again byte for byte")
    func readOpenSSL() throws {
        let bytes = try self.varied()
        let list = try CertificateList(derEncoded: bytes)
        #expect(try Self.serialized(list) == bytes)
        #expect(list.tbsCertList.isVersion2)
        #expect(try Self.serialized(list.signatureAlgorithm) == OpenSSLAuthority.ecdsaWithSHA256)
        #expect(Array(list.tbsCertList.issuer) == OpenSSLAuthority.name)
        #expect(list.tbsCertList.thisUpdate.unixSeconds == newYear2025)
        #expect(list.tbsCertList.nextUpdate?.unixSeconds == newYear2025 + sevenDays)
        #expect(list.tbsCertList.crlNumber?.value == 0x1000)
        #expect(list.tbsCertList.authorityKeyIdentifier.map { Array($0) } == self.authority.keyIdentifier)

        let entries = try Self.readAll(bytes[...])
        #expect(entries.map { Array($0.serialNumber) } == [[0x01], [0x80, 0xFF], [0x81, 0x01], [0x82, 0x02]])
        #expect(entries.map(\.reason) == [.unspecified, .keyCompromise, .keyCompromise, .certificateHold])
        #expect(entries.map(\.revocationDate.unixSeconds) == [1_735_689_599, 1_735_516_800, 1_735_516_800, 1_735_516_800])
        // The third has an invalidity date (RFC 5280 5.3.2), the fourth a hold instruction (RFC 3280 5.3.2), unknown here.
        #expect(entries.map { $0.crlEntryExtensions?.count ?? 0 } == [0, 1, 2, 2])
        #expect(entries[2].crlEntryExtensions?.contains { $0.id == .CRLExtensionID.invalidityDate } == true)
        for entry in entries {
            #expect(try RevokedCertificate(derEncoded: Self.serialized(entry)) == entry)
        }
        #expect(try Self.serialized(RevokedCertificates(entries)) == Self.serialized(list.tbsCertList.revokedCertificates!))
    }

    @Test("the bytes that the signature covers are the ones openssl signed")
    func signedBytes() throws {
        let list = try CertificateList(derEncoded: self.varied())
        try self.authority.folder.write(list.tbsCertListBytes, to: "tbs")
        try self.authority.folder.write(list.signatureValue.bytes, to: "tbs.sig")
        try self.authority.folder.openssl("x509", "-in", "ca.pem", "-noout", "-pubkey", "-out", "ca.pub")
        let printed = try self.authority.folder.openssl("dgst", "-sha256", "-verify", "ca.pub", "-signature", "tbs.sig", "tbs")
        #expect(printed.output.contains("Verified OK"))
    }

    @Test("a v1 CRL without extensions and without a next update is read")
    func version1() throws {
        let name = OpenSSLAuthority.name
        let tbs = Self.sequence(OpenSSLAuthority.ecdsaWithSHA256 + name + Self.time)
        let bytes = Self.sequence(tbs + OpenSSLAuthority.ecdsaWithSHA256 + [0x03, 0x02, 0x00, 0xAA])
        let list = try CertificateList(derEncoded: bytes)
        #expect(!list.tbsCertList.isVersion2)
        #expect(list.tbsCertList.nextUpdate == nil)
        #expect(list.tbsCertList.crlNumber == nil)
        #expect(try Self.serialized(list) == bytes)
    }

    @Test("a CRL cut off at any byte is an error")
    func truncations() throws {
        let bytes = try self.varied()
        for count in 0..<bytes.count {
            #expect(throws: RevocationFormatsError.self, "the first \(count) bytes") { try CertificateList(derEncoded: bytes[..<count]) }
        }
        #expect(throws: RevocationFormatsError.self) { try CertificateList(derEncoded: bytes + [0]) }
    }

    @Test("a CRL whose inner values are cut off is an error, wherever the cut is")
    func innerTruncations() throws {
        // Each entry cut at each byte, with the lengths around it made right again.
        let whole = try CertificateList(derEncoded: self.varied())
        var cursor = try #require(whole.tbsCertList.revokedCertificates).makeCursor()
        while let entry = try cursor.next() {
            let content = try Self.serialized(entry).dropFirst(2)
            for count in 0..<content.count {
                let cut = Self.list(entries: Self.sequence(Array(content.prefix(count))))
                if count == content.count - (try Self.serializedExtensions(entry).count) {
                    // Serial number and time alone are a complete entry.
                    #expect(try Self.readAll(cut[...]).count == 1)
                } else {
                    #expect(throws: RevocationFormatsError.self, "\(count) bytes") { try Self.readAll(cut[...]) }
                }
            }
        }
    }

    private static func serializedExtensions(_ entry: RevokedCertificate) throws -> [UInt8] {
        var coder = DER.Serializer()
        if let extensions = entry.crlEntryExtensions {
            try coder.serializeSequenceOf(extensions)
        }
        return coder.serializedBytes
    }

    @Test("40,000 CRLs with changed bytes are read or refused, and what is read is written again as it was")
    func mutations() throws {
        let original = try self.varied()
        var source = ReproducibleBytes(state: 42)
        var refused = 0
        for _ in 0..<40_000 {
            var bytes = original
            for _ in 0..<Int.random(in: 1...3, using: &source) {
                let index = Int.random(in: 0..<bytes.count, using: &source)
                switch Int.random(in: 0..<4, using: &source) {
                case 0: bytes[index] ^= 1 << UInt8.random(in: 0..<8, using: &source)
                case 1: bytes[index] = [0x00, 0x7F, 0x80, 0x81, 0x84, 0x88, 0xFF, 0x30][Int.random(in: 0..<8, using: &source)]
                case 2: bytes.remove(at: index)
                default: bytes.insert(UInt8.random(in: 0...255, using: &source), at: index)
                }
            }
            do {
                let list = try CertificateList(derEncoded: bytes)
                if try Self.serialized(list) != bytes {
                    Issue.record("read but not written again as it was: \(bytes)")
                }
                _ = try Self.readAll(bytes[...])
            } catch is RevocationFormatsError {
                refused += 1
            }
        }
        // Changes of serial numbers, of times and of the signature leave a readable list; most others do not.
        #expect(refused > 10_000)
    }

    // MARK: - Lists put together by hand

    private static let time: [UInt8] = [0x17, 13] + Array("250101000000Z".utf8)

    private static func wrapped(_ tag: UInt8, _ content: [UInt8]) -> [UInt8] {
        switch content.count {
        case ...0x7F: [tag, UInt8(content.count)] + content
        case ...0xFF: [tag, 0x81, UInt8(content.count)] + content
        case ...0xFFFF: [tag, 0x82, UInt8(content.count >> 8), UInt8(content.count & 0xFF)] + content
        default: [tag, 0x83, UInt8(content.count >> 16), UInt8(content.count >> 8 & 0xFF), UInt8(content.count & 0xFF)] + content
        }
    }

    private static func sequence(_ content: [UInt8]) -> [UInt8] {
        Self.wrapped(0x30, content)
    }

    private static func extensionBytes(_ last: UInt8, critical: Bool, _ value: [UInt8]) -> [UInt8] {
        Self.sequence([0x06, 0x03, 0x55, 0x1D, last] + (critical ? [0x01, 0x01, 0xFF] : []) + Self.wrapped(0x04, value))
    }

    private static func list(
        version: [UInt8] = [0x02, 0x01, 0x01],
        name: [UInt8] = OpenSSLAuthority.name,
        entries: [UInt8]? = nil,
        extensions: [UInt8]? = nil,
        algorithm: [UInt8] = OpenSSLAuthority.ecdsaWithSHA256
    ) -> [UInt8] {
        let tbs =
            version + OpenSSLAuthority.ecdsaWithSHA256 + name + Self.time + Self.time
            + (entries.map { Self.sequence($0) } ?? []) + (extensions.map { Self.wrapped(0xA0, Self.sequence($0)) } ?? [])
        return Self.sequence(Self.sequence(tbs) + algorithm + [0x03, 0x02, 0x00, 0xAA])
    }

    private static func entry(serial: [UInt8] = [0x02, 0x01, 0x2A], extensions: [UInt8]? = nil) -> [UInt8] {
        Self.sequence(serial + Self.time + (extensions.map { Self.sequence($0) } ?? []))
    }

    @Test("lists that RFC 5280 does not allow are malformed")
    func malformedLists() throws {
        #expect(throws: Never.self) { try CertificateList(derEncoded: Self.list()) }
        let number = Self.extensionBytes(20, critical: false, [0x02, 0x01, 0x05])
        #expect(throws: Never.self) { try CertificateList(derEncoded: Self.list(extensions: number)) }

        let long: [UInt8] = [0x02, 21] + Array(repeating: 1, count: 21)
        let trailing: [UInt8] = [0x02, 0x01, 0x05, 0x05, 0x00]
        // The content of a list whose length fits the short form, and of one whose length takes one octet of the long form.
        let short = Array(Self.list().dropFirst(2))
        let middle = Array(Self.list(entries: Self.entry() + Self.entry(), extensions: number).dropFirst(3))
        try #require((0...0x7F).contains(short.count) && (0x80...0xFF).contains(middle.count))
        #expect(throws: Never.self) { try CertificateList(derEncoded: [0x30, UInt8(short.count)] + short) }
        #expect(throws: Never.self) { try CertificateList(derEncoded: [0x30, 0x81, UInt8(middle.count)] + middle) }
        let broken: [(String, [UInt8])] = [
            ("version v1 written out", Self.list(version: [0x02, 0x01, 0x00])),
            ("version v3", Self.list(version: [0x02, 0x01, 0x02])),
            ("version of nine octets", Self.list(version: [0x02, 0x09, 1, 1, 1, 1, 1, 1, 1, 1, 1])),
            ("extensions in v1", Self.list(version: [], extensions: number)),
            ("no extension in Extensions", Self.list(extensions: [])),
            ("an extension twice", Self.list(extensions: number + number)),
            ("a negative CRL number", Self.list(extensions: Self.extensionBytes(20, critical: false, [0x02, 0x01, 0x80]))),
            ("a CRL number of 21 octets", Self.list(extensions: Self.extensionBytes(20, critical: false, long))),
            ("a CRL number with something after it", Self.list(extensions: Self.extensionBytes(20, critical: false, trailing))),
            ("an issuer of 70,000 bytes", Self.list(name: Self.sequence(Array(repeating: [0x31, 0x00], count: 35_000).flatMap { $0 }))),
            ("an issuer that is no Name", Self.list(name: Self.sequence([0x31, 0x05]))),
            ("two times too many", Self.list(name: OpenSSLAuthority.name + Self.time)),
            ("another algorithm outside", Self.list(algorithm: [0x30, 0x0A, 0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, 0x03])),
            ("nothing", []),
            ("an empty sequence", [0x30, 0x00]),
            ("indefinite length", [0x30, 0x80] + short + [0, 0]),
            ("a short length in the long form", [0x30, 0x81, UInt8(short.count)] + short),
            ("a length in too many octets", [0x30, 0x82, 0x00, UInt8(middle.count)] + middle),
            ("a length of eight octets", [0x30, 0x88, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]),
            ("a length of seven octets", [0x30, 0x87, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]),
        ]
        for (what, bytes) in broken {
            #expect(throws: RevocationFormatsError(code: .malformed), "\(what)") { try CertificateList(derEncoded: bytes) }
        }
    }

    @Test("entries that RFC 5280 does not allow are malformed, and those before them are delivered")
    func malformedEntries() throws {
        let reason = { (code: UInt8) in Self.extensionBytes(21, critical: false, [0x0A, 0x01, code]) }
        let broken: [(String, [UInt8])] = [
            ("not a sequence", [0x04, 0x00]),
            ("empty", [0x30, 0x00]),
            ("a negative serial number", Self.entry(serial: [0x02, 0x01, 0x80])),
            ("a serial number of 21 octets", Self.entry(serial: [0x02, 21] + Array(repeating: 1, count: 21))),
            ("a serial number with a needless zero", Self.entry(serial: [0x02, 0x02, 0x00, 0x2A])),
            ("a serial number without octets", Self.entry(serial: [0x02, 0x00])),
            ("reason 7", Self.entry(extensions: reason(7))),
            ("reason 11", Self.entry(extensions: reason(11))),
            ("two reasons", Self.entry(extensions: reason(1) + reason(1))),
            ("no extension in Extensions", Self.entry(extensions: [])),
            ("a reason that is an INTEGER", Self.entry(extensions: Self.extensionBytes(21, critical: false, [0x02, 0x01, 0x01]))),
        ]
        for (what, bytes) in broken {
            let list = try CertificateList(derEncoded: Self.list(entries: Self.entry() + bytes + Self.entry()))
            var cursor = try #require(list.tbsCertList.revokedCertificates).makeCursor()
            #expect(try cursor.next()?.serialNumber == [0x2A])
            #expect(throws: RevocationFormatsError(code: .malformed), "\(what)") { try cursor.next() }
        }
    }

    @Test("unknown extensions are passed over unless they are critical")
    func criticalExtensions() throws {
        // 2.5.29.46 freshestCRL, 2.5.29.28 issuingDistributionPoint, 2.5.29.27 deltaCRLIndicator, 2.5.29.29 certificateIssuer.
        let empty: [UInt8] = [0x30, 0x00]
        #expect(throws: Never.self) {
            try CertificateList(derEncoded: Self.list(extensions: Self.extensionBytes(46, critical: false, empty)))
        }
        for last in [27, 28] as [UInt8] {
            #expect(throws: RevocationFormatsError(code: .unsupportedCriticalExtension)) {
                try CertificateList(derEncoded: Self.list(extensions: Self.extensionBytes(last, critical: true, empty)))
            }
        }
        let unknown = Self.entry(extensions: Self.extensionBytes(99, critical: false, empty))
        #expect(try Self.readAll(Self.list(entries: unknown)[...]).count == 1)
        let indirect = Self.entry(extensions: Self.extensionBytes(29, critical: true, empty))
        #expect(throws: RevocationFormatsError(code: .unsupportedCriticalExtension)) {
            try Self.readAll(Self.list(entries: indirect)[...])
        }
    }

    @Test("an empty revokedCertificates, the serial number 0 and a written reason 0 are read")
    func habitsOfOtherCAs() throws {
        let empty = Self.list(entries: [])
        #expect(try Self.readAll(empty[...]).isEmpty)
        #expect(try Self.serialized(CertificateList(derEncoded: empty)) == empty)

        let zero = Self.entry(
            serial: [0x02, 0x01, 0x00], extensions: Self.extensionBytes(21, critical: false, [0x0A, 0x01, 0x00])
        )
        let entries = try Self.readAll(Self.list(entries: zero)[...])
        #expect(entries.map { Array($0.serialNumber) } == [[]])
        #expect(entries.map(\.reason) == [.unspecified])
        #expect(try Self.serialized(entries[0]) == zero)
    }
}

@Suite("CRL numbers")
struct CRLNumberTests {
    @Test("a number is the INTEGER that openssl writes", arguments: [0, 1, 0x7F, 0x80, 0xFF, 0x100, 1_735_689_600_000_000, UInt64.max])
    func der(value: UInt64) throws {
        var coder = DER.Serializer()
        try coder.serialize(CRLNumber(value))
        #expect(coder.serializedBytes == (try TemporaryFolder().der("INTEGER:\(value)")))
        #expect(try CRLNumber(derEncoded: coder.serializedBytes).value == value)
        #expect(try CRLNumber(bytes: [0, 0] + withUnsafeBytes(of: value.bigEndian) { Array($0) }) == CRLNumber(value))
    }

    @Test("numbers are ordered by value, not by bytes")
    func order() throws {
        #expect(CRLNumber(0) < CRLNumber(1))
        #expect(CRLNumber(0xFF) < CRLNumber(0x100))
        #expect(CRLNumber(0x1FF) < CRLNumber(0x200))
        #expect(try CRLNumber(.max) < CRLNumber(bytes: [1] + Array(repeating: 0, count: 8)))
        #expect(!(CRLNumber(5) < CRLNumber(5)))
    }

    @Test("20 octets are the most there can be")
    func size() throws {
        #expect(try CRLNumber(bytes: Array(repeating: 0xFF, count: 20)).value == nil)
        #expect(throws: RevocationFormatsError.self) { try CRLNumber(bytes: Array(repeating: 0xFF, count: 21)) }
    }
}
