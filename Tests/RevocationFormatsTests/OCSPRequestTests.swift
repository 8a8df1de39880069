// OCSP requests: what real clients send is read, and what RFC 6960 and RFC 9654 do not allow is refused with the reason.

import RevocationFormats
import Testing

private typealias Made = HandmadeRequest

@Suite("OCSP requests")
struct OCSPRequestTests {
    @Test(
        "requests of real clients name their certificate, and are written again byte for byte",
        arguments: [
            (RealRequest.sha1, .sha1, nil), (RealRequest.sha1WithNonce, .sha1, octets("7c13c6ab27775b7bad9c2dd0ef7fee01")),
            (RealRequest.sha256, .sha256, nil), (RealRequest.sha256WithNonce, .sha256, Array(0...31)),
        ] as [([UInt8], OCSPCertIDForm, [UInt8]?)])
    func realClients(bytes: [UInt8], form: OCSPCertIDForm, nonce: [UInt8]?) throws {
        let request = try read(bytes)
        let certID = try #require(request.certIDs.first)
        #expect(request.certIDs.count == 1)
        #expect(certID.form == form)
        #expect(certID.serialNumber == RealRequest.serialNumber)
        #expect(RealRequest.issuer.isIssuer(of: certID))
        #expect(request.nonce == nonce)
        #expect(request.serialized == bytes)
        #expect(certID == OCSPCertID(form: form, issuer: RealRequest.issuer, serialNumber: RealRequest.serialNumber))
    }

    @Test("openssl's requests for several certificates, by both hashes, with a signature or a nonce, are read")
    func opensslRequests() throws {
        let responder = try OpenSSLResponder()
        let several = try read(
            responder.request(["-no_nonce", "-serial", "1", "-serial", "0x80", "-serial", "0x7fffffffffffffffffffffffffffffffffffffff"]))
        #expect(several.certIDs.map(\.serialNumber) == [[1], [0x00, 0x80], [0x7F] + Array(repeating: 0xFF, count: 19)])
        #expect(several.nonce == nil)

        let hashed = try read(responder.request(["-sha256", "-nonce", "-serial", "5", "-serial", "5"]))
        #expect(hashed.certIDs.map(\.form) == [.sha256, .sha256])
        #expect(hashed.certIDs.first == hashed.certIDs.last)
        #expect(hashed.nonce?.count == 16)

        let other = try read(responder.request(["-sha384", "-no_nonce", "-serial", "5"]))
        #expect(other.certIDs.map(\.form) == [nil])
        #expect(other.certIDs.first?.issuerNameHash.count == 48)

        let signed = try read(responder.request(["-nonce", "-serial", "5", "-signer", "ca.pem", "-signkey", "ca.key"]))
        #expect(signed.certIDs.map(\.serialNumber) == [[5]])
        #expect(signed.nonce?.count == 16)
    }

    @Test("openssl reads the requests that are written here")
    func openSSLReads() throws {
        let folder = try TemporaryFolder()
        let ids = OCSPCertIDForm.allCases.map { OCSPCertID(form: $0, issuer: RealRequest.issuer, serialNumber: [0, 0x80, $0.rawValue]) }
        try folder.write(OCSPRequest(certIDs: ids, nonce: Array(1...32)).serialized, to: "request.der")
        let text = try folder.openssl("ocsp", "-reqin", "request.der", "-req_text").output
        let lines = text.split(separator: "\n").map { $0.trimmingCharacters(in: .whitespaces) }
        #expect(lines.filter { $0.hasPrefix("Serial Number:") } == ["8000", "8001", "8002", "8003"].map { "Serial Number: \($0)" })
        #expect(lines.filter { $0.hasPrefix("Hash Algorithm:") } == ["sha1", "sha1", "sha256", "sha256"].map { "Hash Algorithm: \($0)" })
        #expect(lines.contains("04200102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F20"))
    }

    @Test("each form of a CertID is read back, with and without NULL parameters", arguments: OCSPCertIDForm.allCases)
    func forms(form: OCSPCertIDForm) throws {
        let certID = OCSPCertID(form: form, issuer: RealRequest.issuer, serialNumber: [0, 0, 0xFF, 0])
        #expect(certID.serialNumber == [0, 0xFF, 0])
        #expect(certID.serial == OCSPSerial(magnitude: [0xFF, 0]))
        #expect(try read(OCSPRequest(certIDs: [certID]).serialized).certIDs == [certID])
    }

    @Test(
        "the algorithm and its parameters are as they stand in RFC 3370 2.1 and RFC 5754 2.2, or the form is not known",
        arguments: [
            ("300906052b0e03021a0500", .sha1), ("300706052b0e03021a", .sha1WithoutParameters), ("300d06096086480165030402010500", .sha256),
            ("300b0609608648016503040201", .sha256WithoutParameters),
            // Other parameters, SHA-384, MD5.
            ("300a06052b0e03021a020100", nil), ("300d06096086480165030402020500", nil), ("300c06082a864886f70d02050500", nil),
        ] as [(String, OCSPCertIDForm?)])
    func algorithms(algorithm: String, form: OCSPCertIDForm?) throws {
        let request = try read(Made.request(list: der(0x30, Made.single(Made.certID(algorithm: octets(algorithm))))))
        #expect(request.certIDs.map(\.form) == [form])
    }

    @Test("a CertID is kept as it came, for the response to repeat")
    func keptCertID() throws {
        let certID = Made.certID(
            algorithm: octets("300a06052b0e03021a020100"), name: [1], key: Array(repeating: 2, count: 64), serialNumber: [0x80])
        #expect(try read(Made.request(list: der(0x30, Made.single(certID)))).certIDs.map(\.der) == [certID])
    }

    @Test(
        "serial numbers that no certificate has are read, and match none",
        arguments: [
            [0], [0x80], [0xFF, 0x7F], [1] + Array(repeating: 0, count: 20), [0] + Array(repeating: 0xFF, count: 21),
            Array(repeating: 0x7F, count: 64),
        ]
            as [[UInt8]])
    func impossibleSerials(serialNumber: [UInt8]) throws {
        let bytes = Made.request(list: der(0x30, Made.single(Made.certID(serialNumber: serialNumber))))
        let certID = try #require(try read(bytes).certIDs.first)
        #expect(certID.serialNumber == serialNumber)
        #expect(certID.serial == nil)
        #expect(RealRequest.issuer.plainRequest(bytes) == nil)
    }

    @Test("the hashes of another name or another key are another issuer's")
    func otherIssuers() {
        let issuer = RealRequest.issuer
        for form in OCSPCertIDForm.allCases {
            let certID = OCSPCertID(form: form, issuer: issuer, serialNumber: [1])
            #expect(issuer.isIssuer(of: certID))
            var other = certID
            other.issuerNameHash = other.issuerKeyHash
            #expect(!issuer.isIssuer(of: other))
            other = certID
            other.issuerKeyHash = other.issuerNameHash
            #expect(!issuer.isIssuer(of: other))
            other = certID
            other.form = nil
            #expect(!issuer.isIssuer(of: other))
            // The hashes of the one algorithm are not those of the other.
            other = certID
            other.form = form == .sha1 || form == .sha1WithoutParameters ? .sha256 : .sha1
            #expect(!issuer.isIssuer(of: other))
        }
    }

    @Test("fifty certificates can be asked for, one of them twice; fifty-one are refused")
    func fifty() throws {
        let ids = (1...50).map { OCSPCertID(form: .sha1, issuer: RealRequest.issuer, serialNumber: [UInt8(min($0, 49))]) }
        #expect(try read(OCSPRequest(certIDs: ids).serialized).certIDs == ids)
        let error = #expect(throws: OCSPRequestError.self) { try read(OCSPRequest(certIDs: ids + ids.prefix(1)).serialized) }
        #expect(error?.code == .tooManyCertIDs)
    }

    @Test("a nonce has 1 to 128 octets (RFC 9654 2.1)", arguments: [1, 16, 32, 127, 128])
    func nonces(count: Int) throws {
        let nonce = (0..<count).map { UInt8($0) }
        for critical in [[], Made.critical, [0x01, 0x01, 0x00]] {
            let request = Made.request(extensions: Made.extensions(0xA2, Made.nonce(der(0x04, nonce), critical: critical)))
            #expect(try read(request).nonce == nonce)
        }
        let written = OCSPRequest(certIDs: [OCSPCertID(form: .sha1, issuer: RealRequest.issuer, serialNumber: [7])], nonce: nonce)
            .serialized
        #expect(written == Made.request(extensions: Made.extensions(0xA2, Made.nonce(der(0x04, nonce)))))
    }

    @Test("what may stand in a request and changes nothing is passed over")
    func passedOver() throws {
        let directoryName = der(0xA1, der(0xA4, OpenSSLAuthority.name))
        let algorithm = OpenSSLAuthority.ecdsaWithSHA256
        let bits = der(0x03, [0], Array(repeating: 5, count: 1024))
        let certificates = der(0xA0, der(0x30, Array(repeating: der(0x30, [0x05, 0x00]), count: 8).flatMap { $0 }))
        let singleExtensions = Made.extensions(0xA0, Made.unknown(), Made.nonce([]))
        for request in [
            Made.request(version: der(0xA0, [0x02, 0x01, 0x00])),
            Made.request(requestorName: directoryName),
            Made.request(requestorName: der(0xA1, der(0x82, Array("example.org".utf8)))),
            Made.request(extensions: Made.extensions(0xA2, Made.unknown())),
            Made.request(extensions: Made.extensions(0xA2, Made.unknown(critical: [0x01, 0x01, 0x00]))),
            Made.request(list: der(0x30, Made.single(extensions: singleExtensions))),
            Made.request(signature: der(0xA0, der(0x30, algorithm, bits))),
            Made.request(signature: der(0xA0, der(0x30, algorithm, bits, certificates))),
        ] {
            let read = try read(request)
            #expect(read.certIDs.map(\.der) == [Made.certID()])
            #expect(read.nonce == nil)
            #expect(RealRequest.issuer.plainRequest(request) == nil)
        }
    }

    @Test(
        "a critical extension that is not known is refused, in the request and beside a certificate; a nonce belongs to the request",
        arguments: [
            Made.request(extensions: Made.extensions(0xA2, Made.unknown(critical: Made.critical))),
            Made.request(extensions: Made.extensions(0xA2, Made.nonce(der(0x04, [1])), Made.unknown(critical: Made.critical))),
            Made.request(list: der(0x30, Made.single(extensions: Made.extensions(0xA0, Made.unknown(critical: Made.critical))))),
            Made.request(
                list: der(0x30, Made.single(extensions: Made.extensions(0xA0, Made.nonce(der(0x04, [1]), critical: Made.critical))))),
        ])
    func criticalExtensions(bytes: [UInt8]) {
        let error = #expect(throws: OCSPRequestError.self) { try read(bytes) }
        #expect(error?.code == .unsupportedCriticalExtension)
    }

    /// The reason, as far as it matters, and the octets.
    static let malformed: [(String, [UInt8])] = [
        ("the bytes end within a header", [0x30]),
        ("an OCSPRequest is missing", []),
        ("an OCSPRequest is missing", der(0x31, Made.request())),
        ("an OCSPRequest is followed", Made.request() + [0x00]),
        ("an OCSPRequest is followed", der(0x30, der(0x30, der(0x30, Made.single())), [0x05, 0x00])),
        ("the bytes end within a value", Array(Made.request().dropLast())),
        ("tbsRequest is missing", der(0x30)),
        ("tbsRequest is followed", Made.request(extensions: [0x05, 0x00])),
        ("tbsRequest is followed", Made.request(extensions: Made.extensions(0xA3, Made.unknown()))),
        ("requestList is missing", der(0x30, der(0x30))),
        ("requestList is missing", Made.request(version: der(0xA3, [0x02, 0x01, 0x00]))),
        ("the version is not v1", Made.request(version: der(0xA0, [0x02, 0x01, 0x01]))),
        ("the version is not v1", Made.request(version: der(0xA0, [0x02, 0x02, 0x00, 0x00]))),
        ("version is missing", Made.request(version: der(0xA0))),
        ("version is followed", Made.request(version: der(0xA0, [0x02, 0x01, 0x00, 0x05, 0x00]))),
        ("requestorName is no GeneralName", Made.request(requestorName: der(0xA1, der(0x30)))),
        ("requestorName is no GeneralName", Made.request(requestorName: der(0xA1, der(0x89)))),
        ("requestorName is followed", Made.request(requestorName: der(0xA1, der(0x82), der(0x82)))),
        ("a request for a certificate is missing", Made.request(list: der(0x30))),
        ("a request for a certificate is missing", Made.request(list: der(0x30, Made.single(), [0x05, 0x00]))),
        ("a request for a certificate is followed", Made.request(list: der(0x30, Made.single(extensions: [0x05, 0x00])))),
        ("reqCert is missing", Made.request(list: der(0x30, der(0x30)))),
        ("hashAlgorithm is missing", Made.request(list: der(0x30, Made.single(der(0x30))))),
        ("a CertID is followed", Made.request(list: der(0x30, Made.single(der(0x30, Array(Made.certID().dropFirst(2)), [0x05, 0x00]))))),
        (
            "identifier of a hash algorithm is empty",
            Made.request(list: der(0x30, Made.single(Made.certID(algorithm: der(0x30, der(0x06))))))
        ),
        (
            "identifier of a hash algorithm is empty",
            Made.request(list: der(0x30, Made.single(Made.certID(algorithm: octets("300406022b8e")))))
        ),
        ("not encoded in the fewest octets", Made.request(list: der(0x30, Made.single(Made.certID(algorithm: octets("300506032b8001")))))),
        (
            "hashAlgorithm is followed",
            Made.request(list: der(0x30, Made.single(Made.certID(algorithm: octets("300b06052b0e03021a05000500")))))
        ),
        ("a hash has 0 octets", Made.request(list: der(0x30, Made.single(Made.certID(name: []))))),
        ("a hash has 65 octets", Made.request(list: der(0x30, Made.single(Made.certID(key: Array(repeating: 1, count: 65)))))),
        ("a serial number has 0 octets", Made.request(list: der(0x30, Made.single(Made.certID(serialNumber: []))))),
        (
            "a serial number has 65 octets",
            Made.request(list: der(0x30, Made.single(Made.certID(serialNumber: Array(repeating: 1, count: 65)))))
        ),
        ("a serial number is not encoded", Made.request(list: der(0x30, Made.single(Made.certID(serialNumber: [0, 0x7F]))))),
        ("a serial number is not encoded", Made.request(list: der(0x30, Made.single(Made.certID(serialNumber: [0xFF, 0x80]))))),
        (
            "serialNumber is missing",
            Made.request(list: der(0x30, Made.single(der(0x30, Made.sha1, der(0x04, [1]), der(0x04, [1]), [0x0A, 0x01, 0x01]))))
        ),
        // A constructed OCTET STRING is BER.
        (
            "issuerNameHash is missing",
            Made.request(list: der(0x30, Made.single(der(0x30, Made.sha1, der(0x24, der(0x04, [1])), der(0x04, [1]), der(0x02, [1])))))
        ),
        ("Extensions is missing", Made.request(extensions: der(0xA2))),
        ("an extension is missing", Made.request(extensions: Made.extensions())),
        ("Extensions is followed", Made.request(extensions: der(0xA2, der(0x30, Made.unknown()), [0x05, 0x00]))),
        ("an extension stands twice", Made.request(extensions: Made.extensions(0xA2, Made.unknown(), Made.unknown()))),
        (
            "an extension stands twice",
            Made.request(extensions: Made.extensions(0xA2, Made.nonce(der(0x04, [1])), Made.nonce(der(0x04, [1]))))
        ),
        (
            "more than 16 extensions",
            Made.request(extensions: der(0xA2, der(0x30, (0..<17).flatMap { der(0x30, [0x06, 0x02, 0x2A, $0], der(0x04)) })))
        ),
        ("critical is neither", Made.request(extensions: Made.extensions(0xA2, Made.unknown(critical: [0x01, 0x01, 0x01])))),
        ("critical is neither", Made.request(extensions: Made.extensions(0xA2, Made.unknown(critical: [0x01, 0x00])))),
        ("extnValue is missing", Made.request(extensions: Made.extensions(0xA2, der(0x30, Made.unknownIdentifier)))),
        (
            "an extension is followed",
            Made.request(extensions: Made.extensions(0xA2, der(0x30, Made.unknownIdentifier, der(0x04), der(0x04))))
        ),
        ("a nonce has 0 octets", Made.request(extensions: Made.extensions(0xA2, Made.nonce(der(0x04))))),
        ("a nonce has 129 octets", Made.request(extensions: Made.extensions(0xA2, Made.nonce(der(0x04, Array(repeating: 1, count: 129)))))),
        // extnValue holds the octets themselves, as RFC 2560 could be read.
        ("a nonce is missing", Made.request(extensions: Made.extensions(0xA2, Made.nonce(Array(repeating: 0x11, count: 16))))),
        ("a nonce is missing", Made.request(extensions: Made.extensions(0xA2, Made.nonce([])))),
        ("a nonce is followed", Made.request(extensions: Made.extensions(0xA2, Made.nonce(der(0x04, [1]) + [0])))),
        ("optionalSignature is missing", Made.request(signature: der(0xA0))),
        ("optionalSignature is followed", Made.request(signature: der(0xA0, der(0x30, der(0x30), der(0x03, [0]), der(0xA1))))),
        ("signature is missing", Made.request(signature: der(0xA0, der(0x30, der(0x30))))),
        ("a signature has 0 octets", Made.request(signature: der(0xA0, der(0x30, der(0x30), der(0x03))))),
        (
            "a signature has 1026 octets",
            Made.request(signature: der(0xA0, der(0x30, der(0x30), der(0x03, Array(repeating: 0, count: 1026)))))
        ),
        (
            "more than 8 certificates",
            Made.request(
                signature: der(
                    0xA0, der(0x30, der(0x30), der(0x03, [0]), der(0xA0, der(0x30, Array(repeating: der(0x30), count: 9).flatMap { $0 })))))
        ),
        (
            "a certificate is missing",
            Made.request(signature: der(0xA0, der(0x30, der(0x30), der(0x03, [0]), der(0xA0, der(0x30, der(0x31))))))
        ),
        // BER: indefinite length, lengths in too many octets, tags above 30.
        ("a length is indefinite", [0x30, 0x80] + Made.request().dropFirst(2) + [0, 0]),
        ("a length is not encoded", [0x30, 0x81] + Made.request().dropFirst(1)),
        (
            "a length is not encoded",
            [0x30, 0x82, 0x00]
                + Made.request(extensions: Made.extensions(0xA2, Made.nonce(der(0x04, [UInt8](repeating: 1, count: 40))))).dropFirst(2)
        ),
        ("a length is indefinite, too large", [0x30, 0x84, 0x00, 0x00, 0x00, 0x40] + Made.request().dropFirst(2)),
        ("a length is indefinite, too large", [0x30, 0xFF] + Made.request().dropFirst(2)),
        ("cut off", [0x30, 0x82, 0x01]),
        ("the bytes end within a value", [0x30, 0x83, 0xFF, 0xFF, 0xFF]),
        ("a tag of this kind does not occur", Made.request(requestorName: der(0xA1, [0x9F, 0x81, 0x00, 0x00]))),
        ("a request has 16385 octets", [UInt8](repeating: 0x30, count: 16385)),
    ]

    @Test("what is malformed is refused with the reason", arguments: malformed.map(Refused.init))
    func refused(_ refused: Refused) {
        let (reason, bytes) = (refused.reason, refused.bytes)
        let error = #expect(throws: OCSPRequestError.self) { try read(bytes) }
        #expect(error?.code == .malformed)
        #expect(error?.message.contains(reason) == true, "\(error?.message ?? "it was read")")
        #expect(RealRequest.issuer.plainRequest(bytes) == nil)
    }

    @Test("a request of 16 kB is read, as long as it is", arguments: [0, 1])
    func longest(more: Int) throws {
        let frame = Made.request(
            extensions: Made.extensions(0xA2, der(0x30, Made.unknownIdentifier, der(0x04, [UInt8](repeating: 0, count: 1000)))))
        let padding = [UInt8](repeating: 0, count: 1000 + OCSPRequest.longest - frame.count + more)
        let bytes = Made.request(extensions: Made.extensions(0xA2, der(0x30, Made.unknownIdentifier, der(0x04, padding))))
        #expect(bytes.count == OCSPRequest.longest + more)
        if more == 0 {
            #expect(try read(bytes).certIDs.count == 1)
        } else {
            #expect(throws: OCSPRequestError.self) { try read(bytes) }
        }
    }

    @Test("a request that is cut off anywhere is refused", arguments: [RealRequest.sha1, RealRequest.sha256WithNonce])
    func cutOff(bytes: [UInt8]) {
        for count in bytes.indices {
            #expect(throws: OCSPRequestError.self) { try read(Array(bytes.prefix(count))) }
            #expect(RealRequest.issuer.plainRequest(Array(bytes.prefix(count))) == nil)
        }
    }
}
