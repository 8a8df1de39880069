// Answers of openssl's responder are believed when they are right, and each thing that can be wrong with one is named.
import Foundation
import OCSPClient
import RevocationFormats
import Testing

@Suite("Judging answers")
struct OCSPJudgingTests {
    private static let now = Int64(time(nil))
    private static let nonce = [UInt8](1...32)

    private func authority(_ responder: OpenSSLResponder) throws -> OCSPAuthority { try OCSPAuthority(der: responder.read("ca.der")) }

    @Test(
        "good, revoked with time and reason, revoked without a reason, unknown: what openssl says is understood",
        arguments: OCSPQuestion.Hash.allCases)
    func statuses(hash: OCSPQuestion.Hash) throws {
        try withResponder { responder in
            let ca = try authority(responder)
            for nonce in [nil, Self.nonce] {
                let question = OCSPQuestion([[0x10, 0x00], [0x10, 0x01], [0xff, 0xff, 0xff], [0x66]], of: ca, hash: hash, nonce: nonce)
                let verdict = try ca.judge(responder.answer(question.der), to: question, now: Int64(time(nil)))
                #expect(
                    verdict.statuses == [
                        // 2026-11-01T12:00:00Z and 2026-11-02T13:00:00Z.
                        .good, .revoked(at: 1_793_534_400, reason: .keyCompromise), .revoked(at: 1_793_624_400, reason: nil), .unknown,
                    ])
                #expect(verdict.status == .good)
                #expect(verdict.nextUpdate - verdict.thisUpdate == 86_400)
                #expect(verdict.thisUpdate >= Self.now && verdict.producedAt >= verdict.thisUpdate)
            }
        }
    }

    private func expect(
        _ code: OCSPClientError.Code, _ words: String, _ body: () throws -> OCSPVerdict, sourceLocation: SourceLocation = #_sourceLocation
    ) {
        do {
            let verdict = try body()
            Issue.record("believed: \(verdict.statuses)", sourceLocation: sourceLocation)
        } catch let error as OCSPClientError {
            #expect(error.code == code && error.message.contains(words), "\(error.code): \(error.message)", sourceLocation: sourceLocation)
        } catch { Issue.record(error, sourceLocation: sourceLocation) }
    }

    @Test("a signer that is another CA's, for something else, for more than that, or that could itself be revoked is not believed")
    func signers() throws {
        try withResponder { responder in
            let ca = try authority(responder)
            let question = OCSPQuestion([[0x10, 0x00]], of: ca)
            for (signer, words) in [
                ("foreign", "the CA has not signed its certificate"), ("without-purpose", "not for OCSP signing alone"),
                ("two-purposes", "not for OCSP signing alone"), ("without-nocheck", "lacks id-pkix-ocsp-nocheck"),
            ] {
                expect(.notDelegated, words) {
                    try ca.judge(responder.answer(question.der, signer: signer), to: question, now: Int64(time(nil)))
                }
            }
            expect(.notDelegated, "by name, not by key") {
                try ca.judge(responder.answer(question.der, options: ["-ndays", "1"]), to: question, now: Int64(time(nil)))
            }
            expect(.notDelegated, "did not come along") {
                let bare = try responder.answer(question.der, options: ["-resp_key_id", "-resp_no_certs", "-ndays", "1"])
                return try ca.judge(bare, to: question, now: Int64(time(nil)))
            }
        }
    }

    @Test("another key's signature, one changed octet, and a digest that was not agreed on are no signature")
    func signatures() throws {
        try withResponder { responder in
            let ca = try authority(responder)
            let question = OCSPQuestion([[0x10, 0x00]], of: ca, nonce: Self.nonce)
            var answer = try responder.answer(question.der)
            expect(.badSignature, "not signed") {
                let other = try responder.answer(question.der, options: ["-resp_key_id", "-ndays", "1", "-rmd", "sha384"])
                return try ca.judge(other, to: question, now: Int64(time(nil)))
            }
            // The nonce stands among what is signed.
            let place = try #require(answer.indices.first { answer[$0...].starts(with: Self.nonce) })
            answer[place] ^= 1
            var asked = Self.nonce
            asked[0] ^= 1
            expect(.badSignature, "not signed") {
                try ca.judge(answer, to: OCSPQuestion([[0x10, 0x00]], of: ca, nonce: asked), now: Int64(time(nil)))
            }
        }
    }

    @Test("before thisUpdate, from nextUpdate on, without nextUpdate, and beyond the signer's end an answer is not believed")
    func times() throws {
        try withResponder { responder in
            let ca = try authority(responder)
            let question = OCSPQuestion([[0x10, 0x00]], of: ca)
            let answer = try responder.answer(question.der)
            let begin = try ca.judge(answer, to: question, now: Int64(time(nil))).thisUpdate
            expect(.badTimes, "thisUpdate lies 1 s in the future") { try ca.judge(answer, to: question, now: begin - 1) }
            #expect(try ca.judge(answer, to: question, now: begin + 86_399).status == .good)
            expect(.badTimes, "nextUpdate was 0 s ago") { try ca.judge(answer, to: question, now: begin + 86_400) }
            expect(.notDelegated, "not valid now") { try ca.judge(answer, to: question, now: begin + 3 * 86_400) }
            for (options, words) in [
                ([], "says nothing of its nextUpdate"), (["-ndays", "3"], "behind the end of the responder's certificate"),
            ] {
                expect(.badTimes, words) {
                    try ca.judge(responder.answer(question.der, options: ["-resp_key_id"] + options), to: question, now: Int64(time(nil)))
                }
            }
        }
    }

    @Test("an answer to another question, with another nonce or with none is not believed, unless a nonce may be left out")
    func questions() throws {
        try withResponder { responder in
            let ca = try authority(responder)
            let asked = OCSPQuestion([[0x10, 0x00]], of: ca)
            let plain = try responder.answer(asked.der)
            let withNonce = OCSPQuestion([[0x10, 0x00]], of: ca, nonce: Self.nonce)
            let now = Int64(time(nil))
            expect(.otherCertificate, "other certificates") { try ca.judge(plain, to: OCSPQuestion([[0x10, 0x01]], of: ca), now: now) }
            expect(.otherCertificate, "other certificates") {
                try ca.judge(plain, to: OCSPQuestion([[0x10, 0x00]], of: ca, hash: .sha256), now: now)
            }
            expect(.otherNonce, "no nonce") { try ca.judge(plain, to: withNonce, now: now) }
            #expect(try ca.judge(plain, to: withNonce, now: now, isNonceIgnored: true).status == .good)
            let echoed = try responder.answer(withNonce.der)
            expect(.otherNonce, "another nonce") { try ca.judge(echoed, to: asked, now: now) }
            expect(.otherNonce, "another nonce") { try ca.judge(echoed, to: OCSPQuestion([[0x10, 0x00]], of: ca, nonce: [7]), now: now) }
        }
    }

    @Test("errors of the responder are named, and what is no response is malformed")
    func errors() throws {
        try withResponder { responder in
            let ca = try authority(responder)
            let question = OCSPQuestion([[0x10, 0x00]], of: ca)
            expect(.refused, "tryLater") { try ca.judge([0x30, 0x03, 0x0a, 0x01, 0x03], to: question, now: Self.now) }
            expect(.refused, "unauthorized") { try ca.judge([0x30, 0x03, 0x0a, 0x01, 0x06], to: question, now: Self.now) }
            for bytes: [UInt8] in [[], [0x30], Array("<html>".utf8), [0x30, 0x03, 0x0a, 0x01, 0x04]] {
                expect(.malformed, "cannot be read") { try ca.judge(bytes, to: question, now: Self.now) }
            }
        }
    }
}
