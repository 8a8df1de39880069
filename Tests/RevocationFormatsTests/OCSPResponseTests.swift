// OCSP responses: the same bytes as openssl's responder, read by openssl and read back here, with everything else refused.

import Foundation
import RevocationFormats
import SwiftASN1
import Testing

@Suite("OCSP responses")
struct OCSPResponseTests {
    static let keyHash: [UInt8] = Array(1...20)
    static let certificate = der(0x30, [0x05, 0x00])
    static let template = OCSPResponseTemplate(responderKeyHash: keyHash, certificate: certificate)
    static let signature = octets("3006020101020101")
    static let certID = OCSPCertID(form: .sha1, issuer: RealRequest.issuer, serialNumber: [7])

    static func single(_ status: OCSPCertStatus = .good, thisUpdate: Int64 = newYear2025, nextUpdate: Int64? = newYear2025 + 1)
        -> OCSPSingleResponse
    {
        OCSPSingleResponse(certID: certID.der, status: status, thisUpdate: thisUpdate, nextUpdate: nextUpdate)
    }

    @Test("a response has the bytes that openssl's responder writes for the same content")
    func bytesOfOpenSSL() throws {
        let responder = try OpenSSLResponder()
        let reasons: [(name: String, reason: CRLReason)] = [
            ("keyCompromise", .keyCompromise), ("CACompromise", .cACompromise), ("affiliationChanged", .affiliationChanged),
            ("superseded", .superseded),
            ("cessationOfOperation", .cessationOfOperation), ("certificateHold", .certificateHold),
        ]
        var index = "V\t351231235959Z\t\t05\tunknown\t/CN=x\nR\t351231235959Z\t241231235959Z\t06\tunknown\t/CN=x\n"
        for (offset, reason) in reasons.enumerated() {
            index += "R\t351231235959Z\t241231235959Z,\(reason.name)\t1\(offset)\tunknown\t/CN=x\n"
        }
        let serials = ["5", "6", "7"] + reasons.indices.map { "0x1\($0)" }
        let arguments = serials.flatMap { ["-serial", $0] }
        let statuses: [OCSPCertStatus] =
            [.good, .revoked(at: newYear2025 - 1, reason: nil), .unknown] + reasons.map { .revoked(at: newYear2025 - 1, reason: $0.reason) }

        for (digest, nonce) in [("-sha1", "-nonce"), ("-sha256", "-no_nonce")] {
            let request = try responder.request([digest, nonce] + arguments)
            let asked = try read(request)
            let expected = try responder.response(to: request, index: index, "-ndays", "1")
            let basic = try #require(try OCSPResponse(der: expected).basic)
            #expect(basic.responses.map(\.certID) == asked.certIDs)
            #expect(basic.responses.map(\.status) == statuses)
            #expect(basic.nonce == asked.nonce)
            #expect(basic.certificates == [responder.certificate])
            let keyHash = try responder.keyHash()
            #expect(basic.responderKeyHash == keyHash)

            let template = responder.template(keyHash: keyHash)
            let singles = zip(asked.certIDs, statuses).map { certID, status in
                OCSPSingleResponse(certID: certID.der, status: status, thisUpdate: basic.producedAt, nextUpdate: basic.producedAt + 86_400)
            }
            let data = try template.responseData(singles, producedAt: basic.producedAt, nonce: asked.nonce)
            #expect(data == basic.tbsBytes)
            #expect(template.response(data, signature: basic.signature) == expected)
        }
    }

    @Test("a response to a plain request has the bytes that openssl's responder writes")
    func plainBytesOfOpenSSL() throws {
        let responder = try OpenSSLResponder()
        let request = try responder.request(["-sha256", "-no_nonce", "-serial", "0x80000000000000000000000000000000000000ff"])
        let expected = try responder.response(
            to: request, index: "R\t351231235959Z\t241231235959Z,superseded\t80000000000000000000000000000000000000FF\tunknown\t/CN=x\n",
            "-nmin", "5")
        let basic = try #require(try OCSPResponse(der: expected).basic)
        let certID = try #require(basic.responses.first?.certID)
        let issuer = OCSPIssuer(nameSHA1: [], keySHA1: [], nameSHA256: certID.issuerNameHash, keySHA256: certID.issuerKeyHash)
        let plain = try #require(issuer.plainRequest(request))
        let template = try responder.template(keyHash: responder.keyHash())
        let data = try template.responseData(
            for: plain, of: issuer, status: .revoked(at: newYear2025 - 1, reason: .superseded), thisUpdate: basic.producedAt,
            nextUpdate: basic.producedAt + 300, producedAt: basic.producedAt)
        #expect(template.response(data, signature: basic.signature) == expected)
    }

    @Test("openssl accepts what is signed, and prints status, reason, times and nonce")
    func openSSLReads() throws {
        let responder = try OpenSSLResponder()
        let request = try responder.request(["-sha256", "-nonce", "-serial", "5", "-serial", "6", "-serial", "7"])
        let asked = try read(request)
        let now = try #require(Int64(exactly: Date().timeIntervalSince1970.rounded(.down)))
        let statuses: [OCSPCertStatus] = [.good, .revoked(at: newYear2025, reason: .keyCompromise), .unknown]
        let template = try responder.template(keyHash: responder.keyHash())
        let data = try template.responseData(
            zip(asked.certIDs, statuses).map { OCSPSingleResponse(certID: $0.der, status: $1, thisUpdate: now, nextUpdate: now + 3600) },
            producedAt: now, nonce: asked.nonce)
        let verdict = try responder.verdict(
            on: template.response(data, signature: responder.sign(data)), to: request, "-sha256", "-serial", "5", "-serial", "6", "-serial",
            "7")
        for line in [
            "Response verify OK", "Version: 1 (0x0)", "Cert Status: good", "Cert Status: revoked", "Cert Status: unknown",
            "Revocation Time: Jan  1 00:00:00 2025 GMT",
            "Revocation Reason: keyCompromise (0x1)", "Signature Algorithm: ecdsa-with-SHA256", "5: good", "6: revoked",
            "Reason: keyCompromise",
            "7: unknown", "OCSP Nonce:",
        ] {
            #expect(verdict.contains(line), "\(line) in \(verdict)")
        }
        #expect(!verdict.contains("WARNING"))
    }

    @Test("a response is the bytes of RFC 6960 4.2.1, part by part")
    func byHand() throws {
        let data = try Self.template.responseData(
            [Self.single(.revoked(at: 2_524_608_000, reason: .keyCompromise))], producedAt: newYear2025 + 2, nonce: [9])
        let certID = HandmadeRequest.certID()
        let single = der(
            0x30, certID, der(0xA1, der(0x18, Array("20500101000000Z".utf8)), der(0xA0, [0x0A, 0x01, 0x01])),
            der(0x18, Array("20250101000000Z".utf8)),
            der(0xA0, der(0x18, Array("20250101000001Z".utf8))))
        let expected = der(
            0x30, der(0xA2, der(0x04, Self.keyHash)), der(0x18, Array("20250101000002Z".utf8)), der(0x30, single),
            HandmadeRequest.extensions(0xA1, HandmadeRequest.nonce([0x04, 0x01, 0x09])))
        #expect(data == expected)
        let basic = der(
            0x30, expected, OpenSSLAuthority.ecdsaWithSHA256, der(0x03, [0], Self.signature), der(0xA0, der(0x30, Self.certificate)))
        let whole = der(0x30, [0x0A, 0x01, 0x00], der(0xA0, der(0x30, octets("06092b0601050507300101"), der(0x04, basic))))
        #expect(Self.template.response(data, signature: Self.signature) == whole)
    }

    @Test("no reason is written for unspecified, and no nextUpdate where there is none")
    func optionalParts() throws {
        let unspecified = try Self.template.responseData([Self.single(.revoked(at: 0, reason: .unspecified))], producedAt: 0, nonce: nil)
        let none = try Self.template.responseData([Self.single(.revoked(at: 0, reason: nil))], producedAt: 0, nonce: nil)
        #expect(unspecified == none)
        let open = try Self.template.responseData([Self.single(nextUpdate: nil)], producedAt: 0, nonce: nil)
        let read = try #require(try OCSPResponse(der: Self.template.response(open, signature: Self.signature)).basic)
        #expect(read.responses.map(\.nextUpdate) == [nil])
    }

    @Test("what is written is read back: every status, one to fifty certificates, nonces and certificates of every length")
    func readBack() throws {
        let reasons = CRLReason.allCases.filter { $0 != .removeFromCRL && $0 != .unspecified }
        let statuses: [OCSPCertStatus] =
            [.good, .unknown, .revoked(at: -631_152_000, reason: nil)] + reasons.map { .revoked(at: 253_402_300_799, reason: $0) }
        for count in [1, 2, 3, 13, 50] {
            for (nonceCount, certificateCount) in [(0, 0), (1, 120), (104, 124), (112, 250), (128, 700), (16, 65_000 - 50 * 150)] {
                let certificate = der(0x30, [UInt8](repeating: 5, count: certificateCount))
                let template = OCSPResponseTemplate(responderKeyHash: Self.keyHash, certificate: certificate)
                let nonce = nonceCount == 0 ? nil : [UInt8](repeating: 4, count: nonceCount)
                let singles = (0..<count).map { index in
                    let form = OCSPCertIDForm.allCases[index % 4]
                    let serial = [UInt8](repeating: 0xFE, count: 1 + index % 20)
                    return OCSPSingleResponse(
                        certID: OCSPCertID(form: form, issuer: RealRequest.issuer, serialNumber: serial).der,
                        status: statuses[index % statuses.count],
                        thisUpdate: newYear2025 + Int64(index), nextUpdate: index % 5 == 4 ? nil : 4_107_542_400)
                }
                let data = try template.responseData(singles, producedAt: newYear2025, nonce: nonce)
                let whole = template.response(data, signature: Self.signature)
                let response = try OCSPResponse(der: whole)
                let basic = try #require(response.basic)
                #expect(response.status == .successful)
                #expect(basic.tbsBytes == data)
                #expect(basic.responderKeyHash == Self.keyHash)
                #expect(basic.responderName == nil)
                #expect(basic.producedAt == newYear2025)
                #expect(basic.nonce == nonce)
                #expect(basic.signature == Self.signature)
                #expect(basic.signatureAlgorithm == (try AlgorithmIdentifier(derEncoded: OpenSSLAuthority.ecdsaWithSHA256)))
                #expect(basic.certificates == [certificate])
                #expect(
                    basic.responses.map {
                        OCSPSingleResponse(certID: $0.certID.der, status: $0.status, thisUpdate: $0.thisUpdate, nextUpdate: $0.nextUpdate)
                    }
                        == singles)
            }
        }
    }

    @Test("a plain request is answered with the bytes that the long way gives", arguments: OCSPCertIDForm.allCases)
    func plain(form: OCSPCertIDForm) throws {
        for magnitude in OCSPPlainRequestTests.magnitudes {
            let certID = OCSPCertID(form: form, issuer: RealRequest.issuer, serialNumber: magnitude)
            let request = try #require(RealRequest.issuer.plainRequest(OCSPRequest(certIDs: [certID]).serialized))
            for status in [.good, .unknown, .revoked(at: 1, reason: nil), .revoked(at: 2, reason: .superseded)] as [OCSPCertStatus] {
                for (nextUpdate, nonce) in [(nil, nil), (newYear2025 + 60, nil), (newYear2025 + 60, [UInt8](repeating: 3, count: 128))]
                    as [(Int64?, [UInt8]?)]
                {
                    let short = try Self.template.responseData(
                        for: request, of: RealRequest.issuer, status: status, thisUpdate: newYear2025, nextUpdate: nextUpdate,
                        producedAt: newYear2025 + 9,
                        nonce: nonce)
                    let single = OCSPSingleResponse(certID: certID.der, status: status, thisUpdate: newYear2025, nextUpdate: nextUpdate)
                    #expect(try short == Self.template.responseData([single], producedAt: newYear2025 + 9, nonce: nonce))
                }
            }
        }
    }

    @Test("times before 1950 and after 9999, removeFromCRL, and a response for nothing are refused")
    func refusedContent() throws {
        for time in [-631_152_001, 253_402_300_800, Int64.min, Int64.max] {
            for single in [
                Self.single(thisUpdate: time), Self.single(nextUpdate: time), Self.single(.revoked(at: time, reason: nil)),
            ] {
                let error = #expect(throws: RevocationFormatsError.self) {
                    try Self.template.responseData([single], producedAt: 0, nonce: nil)
                }
                #expect(error?.code == .timeOutOfRange)
            }
            let error = #expect(throws: RevocationFormatsError.self) {
                try Self.template.responseData([Self.single()], producedAt: time, nonce: nil)
            }
            #expect(error?.code == .timeOutOfRange)
        }
        let reason = #expect(throws: RevocationFormatsError.self) {
            try Self.template.responseData([Self.single(.revoked(at: 0, reason: .removeFromCRL))], producedAt: 0, nonce: nil)
        }
        #expect(reason?.code == .invalidReason)
        let nothing = #expect(throws: RevocationFormatsError.self) { try Self.template.responseData([], producedAt: 0, nonce: nil) }
        #expect(nothing?.code == .invalidField)
    }

    @Test(
        "an error is five bytes that openssl names as RFC 6960 does",
        arguments: [
            (.malformedRequest, "malformedrequest (1)"), (.internalError, "internalerror (2)"), (.tryLater, "trylater (3)"),
            (.sigRequired, "sigrequired (5)"),
            (.unauthorized, "unauthorized (6)"),
        ] as [(OCSPResponseStatus, String)])
    func errors(status: OCSPResponseStatus, name: String) throws {
        #expect(status.errorResponse == [0x30, 0x03, 0x0A, 0x01, status.rawValue])
        let response = try OCSPResponse(der: status.errorResponse)
        #expect(response.status == status)
        #expect(response.basic == nil)
        let folder = try TemporaryFolder()
        try folder.write(status.errorResponse, to: "response.der")
        // It ends with an error where no status is told.
        let failure = #expect(throws: OpenSSL.Failure.self) { try folder.openssl("ocsp", "-respin", "response.der", "-noverify") }
        #expect(failure?.output.contains("Responder Error: \(name)") == true)
    }

    @Test("a response of a responder by name, with the version written out and with extensions, is read")
    func otherResponders() throws {
        let responder = try OpenSSLResponder()
        let request = try responder.request(["-nonce", "-serial", "5"])
        let bytes = try responder.response(
            to: request, index: "V\t351231235959Z\t\t05\tunknown\t/CN=x\n", named: true, "-resp_no_certs")
        let basic = try #require(try OCSPResponse(der: bytes).basic)
        #expect(basic.responderKeyHash == nil)
        #expect(basic.responderName == der(0x30, der(0x31, der(0x30, octets("0603550403"), der(0x0C, Array("responder".utf8))))))
        #expect(basic.certificates.isEmpty)
        #expect(basic.nonce == (try read(request)).nonce)
        #expect(basic.responses.map(\.nextUpdate) == [nil])

        let written = try OCSPResponse(
            der: Response().whole {
                $0.version = der(0xA0, [0x02, 0x01, 0x00])
                $0.extensions = HandmadeRequest.extensions(0xA1, HandmadeRequest.unknown())
                $0.singleExtensions = HandmadeRequest.extensions(0xA1, HandmadeRequest.unknown())
            })
        #expect(written.basic?.responses.count == 1)
    }

    /// A response by hand, each part of which can be another one.
    struct Response {
        var status = [0x0A, 0x01, 0x00] as [UInt8]
        var type = octets("06092b0601050507300101")
        var version: [UInt8] = []
        var responderID = der(0xA2, der(0x04, keyHash))
        var producedAt = der(0x18, Array("20250101000000Z".utf8))
        var certStatus: [UInt8] = [0x80, 0x00]
        var nextUpdate: [UInt8] = []
        var singleExtensions: [UInt8] = []
        var list: [UInt8]?
        var extensions: [UInt8] = []
        var algorithm = OpenSSLAuthority.ecdsaWithSHA256
        var signature = der(0x03, [0], OCSPResponseTests.signature)
        var certificates: [UInt8] = []

        var single: [UInt8] {
            der(
                0x30, HandmadeRequest.certID(), self.certStatus, der(0x18, Array("20250101000000Z".utf8)), self.nextUpdate,
                self.singleExtensions)
        }

        func whole(_ change: (inout Self) -> Void) -> [UInt8] {
            var changed = self
            change(&changed)
            let data = der(
                0x30, changed.version, changed.responderID, changed.producedAt, changed.list ?? der(0x30, changed.single),
                changed.extensions)
            let basic = der(0x30, data, changed.algorithm, changed.signature, changed.certificates)
            return der(0x30, changed.status, der(0xA0, der(0x30, changed.type, der(0x04, basic))))
        }
    }

    static let time = der(0x18, Array("20250101000000Z".utf8))

    /// The reason, as far as it matters, and the octets.
    static let refused: [(String, [UInt8])] = [
        ("an OCSPResponse is missing", []),
        ("an OCSPResponse is followed", OCSPResponseStatus.tryLater.errorResponse + [0]),
        ("a response has 65537 octets", [UInt8](repeating: 0x30, count: 65_537)),
        ("there is no such responseStatus", [0x30, 0x03, 0x0A, 0x01, 0x04]),
        ("there is no such responseStatus", [0x30, 0x03, 0x0A, 0x01, 0x07]),
        ("there is no such responseStatus", [0x30, 0x04, 0x0A, 0x02, 0x00, 0x03]),
        ("there is no such responseStatus", [0x30, 0x02, 0x0A, 0x00]),
        ("responseStatus is missing", [0x30, 0x03, 0x02, 0x01, 0x03]),
        ("responseBytes if, and only if", OCSPResponseStatus.successful.errorResponse),
        ("responseBytes if, and only if", Response().whole { $0.status = [0x0A, 0x01, 0x03] }),
        ("the response is not a basic one", Response().whole { $0.type = octets("06092b0601050507300102") }),
        ("the version is not v1", Response().whole { $0.version = der(0xA0, [0x02, 0x01, 0x01]) }),
        ("a KeyHash has 19 octets", Response().whole { $0.responderID = der(0xA2, der(0x04, [UInt8](repeating: 1, count: 19))) }),
        ("responderID is missing", Response().whole { $0.responderID = der(0xA3, der(0x04, keyHash)) }),
        ("byName is missing", Response().whole { $0.responderID = der(0xA1, der(0x31)) }),
        ("a time is missing", Response().whole { $0.producedAt = der(0x17, Array("250101000000Z".utf8)) }),
        ("a time is not valid", Response().whole { $0.producedAt = der(0x18, Array("20250101000000.5Z".utf8)) }),
        ("a time is not valid", Response().whole { $0.producedAt = der(0x18, Array("20250229000000Z".utf8)) }),
        ("a time is not valid", Response().whole { $0.producedAt = der(0x18, Array("20250101000000+0100".utf8)) }),
        ("there is no such certStatus", Response().whole { $0.certStatus = [0x80, 0x01, 0x00] }),
        ("there is no such certStatus", Response().whole { $0.certStatus = [0x83, 0x00] }),
        ("a time is missing", Response().whole { $0.certStatus = der(0xA1, [0x05, 0x00]) }),
        ("no such revocationReason", Response().whole { $0.certStatus = der(0xA1, time, der(0xA0, [0x0A, 0x01, 0x07])) }),
        ("no such revocationReason", Response().whole { $0.certStatus = der(0xA1, time, der(0xA0, [0x0A, 0x02, 0x00, 0x01])) }),
        ("RevokedInfo is followed", Response().whole { $0.certStatus = der(0xA1, time, der(0xA1)) }),
        ("nextUpdate is missing", Response().whole { $0.nextUpdate = der(0xA0) }),
        ("a SingleResponse is followed", Response().whole { $0.nextUpdate = der(0xA2, time) }),
        ("a SingleResponse is missing", Response().whole { $0.list = der(0x30) }),
        ("more than 50 certificates", Response().whole { $0.list = der(0x30, Array(repeating: $0.single, count: 51).flatMap { $0 }) }),
        (
            "a nonce has 0 octets",
            Response().whole { $0.extensions = HandmadeRequest.extensions(0xA1, HandmadeRequest.nonce([0x04, 0x00])) }
        ),
        ("signatureAlgorithm is not valid", Response().whole { $0.algorithm = der(0x30, der(0x05)) }),
        ("unused bits", Response().whole { $0.signature = der(0x03, [1, 2]) }),
        ("unused bits", Response().whole { $0.signature = der(0x03, [0]) }),
        ("unused bits", Response().whole { $0.signature = der(0x03) }),
        (
            "more than 8 certificates",
            Response().whole { $0.certificates = der(0xA0, der(0x30, Array(repeating: certificate, count: 9).flatMap { $0 })) }
        ),
        ("a BasicOCSPResponse is followed", Response().whole { $0.certificates = der(0xA1, der(0x30)) }),
    ]

    @Test("what is no response is refused with the reason", arguments: refused.map(Refused.init))
    func refusedResponses(_ refused: Refused) {
        let (reason, bytes) = (refused.reason, refused.bytes)
        let error = #expect(throws: RevocationFormatsError.self) { try OCSPResponse(der: bytes) }
        #expect(error?.code == .malformed)
        #expect(error?.message.contains(reason) == true, "\(error?.message ?? "it was read")")
    }

    @Test("a time before 1950 is refused, as it is in writing", arguments: ["19491231235959Z", "10250101000000Z", "00000101000000Z"])
    func ancientTimes(text: String) {
        let ancient = der(0x18, Array(text.utf8))
        for bytes in [
            Response().whole { $0.producedAt = ancient }, Response().whole { $0.certStatus = der(0xA1, ancient) },
            Response().whole { $0.nextUpdate = der(0xA0, ancient) },
        ] {
            let error = #expect(throws: RevocationFormatsError.self) { try OCSPResponse(der: bytes) }
            #expect(error?.code == .timeOutOfRange)
        }
    }

    @Test("a critical extension of a response that is not known is refused")
    func criticalExtensions() {
        let unknown = HandmadeRequest.extensions(0xA1, HandmadeRequest.unknown(critical: HandmadeRequest.critical))
        for bytes in [Response().whole { $0.extensions = unknown }, Response().whole { $0.singleExtensions = unknown }] {
            let error = #expect(throws: RevocationFormatsError.self) { try OCSPResponse(der: bytes) }
            #expect(error?.code == .unsupportedCriticalExtension)
        }
    }

    @Test("a response that is cut off, or of which an octet is another one, is read or refused, and never traps")
    func mutations() throws {
        let bytes = Response().whole {
            $0.certStatus = der(0xA1, Self.time, der(0xA0, [0x0A, 0x01, 0x01]))
            $0.nextUpdate = der(0xA0, Self.time)
            $0.extensions = HandmadeRequest.extensions(0xA1, HandmadeRequest.nonce([0x04, 0x01, 0x09]))
        }
        #expect(try OCSPResponse(der: bytes).basic?.nonce == [9])
        for index in bytes.indices {
            #expect(throws: RevocationFormatsError.self) { try OCSPResponse(der: Array(bytes.prefix(index))) }
            for octet in UInt8.min...UInt8.max {
                var changed = bytes
                changed[index] = octet
                if let response = try? OCSPResponse(der: changed), response.status != .successful || response.basic?.responses.count != 1 {
                    Issue.record("octet \(index) is \(octet)")
                }
            }
        }
    }
}
