// The cache alone: what is found, what an event takes away, what a signature begun before it is worth, and the bound.
import OCSPResponder
import RevocationFormats
import Testing

@Suite("the cache")
struct ResponseCacheTests {
    private let now: Int64 = 1_800_000_000

    private func serial(_ number: Int) throws -> OCSPSerial {
        try #require(OCSPSerial(magnitude: (0..<8).reversed().map { UInt8(truncatingIfNeeded: (number + 1) >> ($0 * 8)) }))
    }

    private func answer(_ status: OCSPCertStatus = .good, at time: Int64? = nil, signer: UInt32 = 1) throws -> SignedAnswer {
        let signature = try #require(RawSignature(Array(repeating: 7, count: 64)))
        let time = time ?? now
        return SignedAnswer(
            status: status, thisUpdate: time, nextUpdate: time + 100, refreshAt: time + 50, signer: signer, signature: signature)
    }

    private func wanted(_ now: Int64, signers: (UInt32, UInt32) = (1, 0), mayBeDue: Bool = false) -> AnswerWanted {
        AnswerWanted(now: now, signers: signers, mayBeDue: mayBeDue)
    }

    private func name(_ found: ResponseCache.Found) -> String {
        switch found {
        case .answer: "answer"
        case .status: "status"
        case .nothing: "nothing"
        }
    }

    @Test("an answer is found by serial number and form, until half of its life is over, and as a last resort until its end")
    func finds() throws {
        let cache = try ResponseCache(bytes: 1 << 20)
        let one = try serial(1)
        #expect(name(cache.find(one, .sha1, wanted(now))) == "nothing")
        let (_, token) = cache.learn(one, .good, sequence: 5)
        #expect(cache.keep(try answer(), for: one, .sha1, token))
        #expect(name(cache.find(one, .sha1, wanted(now))) == "answer")
        #expect(name(cache.find(one, .sha256, wanted(now))) == "status")
        #expect(name(cache.find(try serial(2), .sha1, wanted(now))) == "nothing")
        #expect(name(cache.find(one, .sha1, wanted(now + 49))) == "answer")
        #expect(name(cache.find(one, .sha1, wanted(now + 50))) == "status")
        #expect(name(cache.find(one, .sha1, wanted(now + 99, mayBeDue: true))) == "answer")
        #expect(name(cache.find(one, .sha1, wanted(now + 100, mayBeDue: true))) == "status")
    }

    @Test("an answer of the future is not served, nor one of a signer whose certificate has ended")
    func refuses() throws {
        let cache = try ResponseCache(bytes: 1 << 20)
        let one = try serial(1)
        let (_, token) = cache.learn(one, .good, sequence: 5)
        #expect(cache.keep(try answer(), for: one, .sha1, token))
        #expect(name(cache.find(one, .sha1, wanted(now - 1))) == "status")
        #expect(name(cache.find(one, .sha1, wanted(now, signers: (2, 0)))) == "status")
        #expect(name(cache.find(one, .sha1, wanted(now, signers: (2, 1)))) == "answer")
    }

    @Test("an event replaces the status, takes the answers of all forms away, and outdates what was begun before it")
    func event() throws {
        let cache = try ResponseCache(bytes: 1 << 20)
        let one = try serial(1)
        let (_, token) = cache.learn(one, .good, sequence: 5)
        for form in OCSPCertIDForm.allCases { #expect(cache.keep(try answer(), for: one, form, token)) }
        #expect(cache.figures.answers == 4 && cache.figures.statuses == 1)
        let revoked = OCSPCertStatus.revoked(at: now, reason: .superseded)
        cache.changed(one, to: revoked, sequence: 6)
        #expect(cache.figures.answers == 0 && cache.figures.statuses == 1)
        for form in OCSPCertIDForm.allCases {
            guard case .status(let status, _) = cache.find(one, form, wanted(now)) else {
                Issue.record("\(form)")
                continue
            }
            #expect(status == revoked)
        }
        #expect(!cache.isCurrent(token))
        #expect(!cache.keep(try answer(), for: one, .sha1, token))
        #expect(cache.figures.answers == 0)
    }

    @Test("an event that is older than the status changes nothing; a status that is older than the event neither")
    func order() throws {
        let cache = try ResponseCache(bytes: 1 << 20)
        let one = try serial(1)
        _ = cache.learn(one, .good, sequence: 7)
        cache.changed(one, to: .revoked(at: now, reason: .certificateHold), sequence: 6)
        #expect(cache.status(of: one)?.status == .good)
        cache.changed(one, to: .revoked(at: now, reason: nil), sequence: 8)
        #expect(cache.learn(one, .good, sequence: 7).status == .revoked(at: now, reason: nil))
    }

    @Test("unknown is never kept")
    func unknown() throws {
        let cache = try ResponseCache(bytes: 1 << 20)
        let one = try serial(1)
        let (status, token) = cache.learn(one, .unknown, sequence: 7)
        #expect(status == .unknown && cache.status(of: one) == nil)
        #expect(cache.keep(try answer(.unknown), for: one, .sha1, token))
        #expect(cache.figures.answers == 0 && cache.figures.statuses == 0)
    }

    @Test("after everything was dropped nothing is found, and no token is current")
    func drops() throws {
        let cache = try ResponseCache(bytes: 1 << 20)
        var tokens: [CacheToken] = []
        for number in 0..<500 {
            let (_, token) = cache.learn(try serial(number), .good, sequence: 1)
            #expect(cache.keep(try answer(), for: try serial(number), .sha1, token))
            tokens.append(token)
        }
        cache.dropEverything()
        #expect(cache.figures.answers == 0 && cache.figures.statuses == 0 && cache.timesDropped == 1)
        for number in 0..<500 { #expect(name(cache.find(try serial(number), .sha1, wanted(now))) == "nothing") }
        #expect(!tokens.contains { cache.isCurrent($0) })
    }

    @Test("it stays within its bytes however much comes, and what is asked for again and again stays")
    func bound() throws {
        let bytes = 1 << 20
        let cache = try ResponseCache(bytes: bytes)
        let favourite = try serial(0)
        let (_, token) = cache.learn(favourite, .good, sequence: 1)
        #expect(cache.keep(try answer(), for: favourite, .sha1, token))
        for number in 1...50_000 {
            let one = try serial(number)
            let (_, token) = cache.learn(one, .good, sequence: 1)
            #expect(cache.keep(try answer(), for: one, .sha1, token))
            if number % 8 == 0 { #expect(name(cache.find(favourite, .sha1, wanted(now))) == "answer", "\(number)") }
        }
        let figures = cache.figures
        #expect(figures.bytes <= bytes && figures.bytes > bytes / 10 * 8)
        #expect(figures.answers > 3_000 && figures.answers < 50_000 && figures.displaced > 0)
    }

    @Test("a signature is written in the fewest octets and reads back, whatever its numbers begin with")
    func signatures() throws {
        // r with its first bit set, s with two zero octets before 0x7f: by X.690 8.3.
        let r = [UInt8](repeating: 0x80, count: 32)
        let s = [0, 0, 0x7F] + [UInt8](repeating: 1, count: 29)
        let signature = try #require(RawSignature(r + s))
        #expect(signature.der == [0x30, 35 + 32, 0x02, 33, 0] + r + [0x02, 30] + s.dropFirst(2))
        #expect(try #require(RawSignature([UInt8](repeating: 0, count: 64))).der == [0x30, 6, 2, 1, 0, 2, 1, 0])
        #expect(RawSignature([UInt8](repeating: 0, count: 63)) == nil)
    }
}
