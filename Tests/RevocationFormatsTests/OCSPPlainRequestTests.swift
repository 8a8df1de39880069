// Requests that are recognised by comparing: they are those, and only those, that the parser would read as the same.

import RevocationFormats
import Testing

@Suite("Plain OCSP requests")
struct OCSPPlainRequestTests {
    @Test("what openssl, GnuTLS, the JDK and Python send without a nonce is recognised")
    func realClients() throws {
        let serial = try #require(OCSPSerial(magnitude: RealRequest.serialNumber))
        #expect(RealRequest.issuer.plainRequest(RealRequest.sha1) == OCSPPlainRequest(form: .sha1, serial: serial))
        #expect(RealRequest.issuer.plainRequest(RealRequest.sha256) == OCSPPlainRequest(form: .sha256, serial: serial))
        #expect(RealRequest.issuer.plainRequest(RealRequest.sha1WithNonce) == nil)
        #expect(RealRequest.issuer.plainRequest(RealRequest.sha256WithNonce) == nil)
    }

    static let magnitudes: [[UInt8]] = [
        [1], [0x7F], [0x80], [0xFF], [1, 0], [0x80, 0], Array(repeating: 0x7F, count: 20), Array(repeating: 0xFF, count: 20),
        [1] + Array(repeating: 0, count: 19),
        [0x7F] + Array(repeating: 0, count: 15), [0x80] + Array(repeating: 0, count: 7),
    ]

    @Test("each form is recognised with serial numbers of every length", arguments: OCSPCertIDForm.allCases)
    func forms(form: OCSPCertIDForm) throws {
        for magnitude in Self.magnitudes + (1...20).map({ Array(repeating: 0x55, count: $0) }) {
            let certID = OCSPCertID(form: form, issuer: RealRequest.issuer, serialNumber: magnitude)
            let plain = try #require(RealRequest.issuer.plainRequest(OCSPRequest(certIDs: [certID]).serialized))
            #expect(plain.form == form)
            #expect(plain.serial.bytes == magnitude)
        }
    }

    @Test("a request for another issuer's certificate is not recognised", arguments: OCSPCertIDForm.allCases)
    func otherIssuer(form: OCSPCertIDForm) {
        let other = OCSPIssuer(
            nameSHA1: RealRequest.nameSHA1, keySHA1: RealRequest.nameSHA1, nameSHA256: RealRequest.nameSHA256,
            keySHA256: RealRequest.nameSHA256)
        let request = OCSPRequest(certIDs: [OCSPCertID(form: form, issuer: other, serialNumber: [1])]).serialized
        #expect(other.plainRequest(request) != nil)
        #expect(RealRequest.issuer.plainRequest(request) == nil)
    }

    /// Whether comparing and parsing say the same of `bytes`, both ways.
    static func agree(_ bytes: [UInt8]) -> Bool {
        let issuer = RealRequest.issuer
        let parsed = try? read(bytes)
        guard let plain = issuer.plainRequest(bytes) else {
            // What the parser reads as one certificate of ours, and writes as the same octets, is plain.
            guard let parsed, parsed.certIDs.count == 1, let certID = parsed.certIDs.first, issuer.isIssuer(of: certID) else { return true }
            return parsed.nonce != nil || certID.serial == nil || parsed.serialized != bytes
        }
        let certID = OCSPCertID(form: plain.form, issuer: issuer, serialNumber: plain.serial.bytes)
        return parsed?.certIDs == [certID] && parsed?.nonce == nil && certID.serial == plain.serial
    }

    @Test("whatever octet is changed to whatever other, comparing and parsing agree", arguments: OCSPCertIDForm.allCases)
    func everyOctet(form: OCSPCertIDForm) {
        for magnitude in [[7], [0x80], RealRequest.serialNumber] as [[UInt8]] {
            let bytes = OCSPRequest(certIDs: [OCSPCertID(form: form, issuer: RealRequest.issuer, serialNumber: magnitude)]).serialized
            for index in bytes.indices {
                for octet in UInt8.min...UInt8.max {
                    var changed = bytes
                    changed[index] = octet
                    if !Self.agree(changed) { Issue.record("octet \(index) of \(bytes) is \(octet)") }
                }
            }
        }
    }

    @Test("octets that are put in, taken out or doubled, with lengths mended or not: comparing and parsing agree")
    func mutations() {
        var random = SplitMix(state: 6960)
        let seeds =
            [RealRequest.sha1, RealRequest.sha256, RealRequest.sha1WithNonce, RealRequest.sha256WithNonce]
            + OCSPCertIDForm.allCases.map {
                OCSPRequest(certIDs: [OCSPCertID(form: $0, issuer: RealRequest.issuer, serialNumber: [0x12, 0x34])]).serialized
            }
        for _ in 0..<20_000 {
            var bytes = seeds[Int(random.next() % UInt64(seeds.count))]
            for _ in 0...random.next() % 3 {
                let place = Int(random.next() % UInt64(bytes.count))
                switch random.next() % 4 {
                case 0: bytes.insert(UInt8(truncatingIfNeeded: random.next()), at: place)
                case 1: bytes.remove(at: place)
                case 2: bytes.insert(contentsOf: bytes[place..<min(place + 5, bytes.count)], at: place)
                default: bytes[place] = bytes[Int(random.next() % UInt64(bytes.count))]
                }
            }
            if random.next() % 2 == 0, bytes.count > 12, bytes.count < 130 {
                for level in 0..<5 { bytes[2 * level + 1] = UInt8(bytes.count - 2 * level - 2) }
            }
            if !Self.agree(bytes) { Issue.record("comparing and parsing differ on \(bytes)") }
        }
    }
}

/// A generator whose numbers are the same each time (splitmix64).
struct SplitMix {
    var state: UInt64

    mutating func next() -> UInt64 {
        self.state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = self.state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}

@Suite("Serial numbers in OCSP")
struct OCSPSerialTests {
    @Test("a serial number has 1 to 20 octets; leading zeros do not count", arguments: OCSPPlainRequestTests.magnitudes)
    func magnitudes(magnitude: [UInt8]) throws {
        let serial = try #require(OCSPSerial(magnitude: magnitude))
        #expect(serial.bytes == magnitude)
        #expect(serial.byteCount == magnitude.count)
        #expect(OCSPSerial(magnitude: [0, 0] + magnitude) == serial)
        #expect(OCSPSerial(magnitude: magnitude[...]) == serial)
    }

    @Test(
        "zero, nothing and 21 octets are no serial number",
        arguments: [[], [0], [0, 0], [1] + Array(repeating: 0, count: 20)] as [[UInt8]])
    func none(magnitude: [UInt8]) {
        #expect(OCSPSerial(magnitude: magnitude) == nil)
    }

    @Test("numbers that differ in one bit are different keys")
    func different() throws {
        var seen = Set<OCSPSerial>()
        for bit in 0..<160 {
            var magnitude = [UInt8](repeating: 0, count: 20)
            magnitude[bit / 8] = 1 << (bit % 8)
            seen.insert(try #require(OCSPSerial(magnitude: magnitude)))
        }
        #expect(seen.count == 160)
    }
}
