// The responder with a core beside it: every rule of what is answered, from what, and when not.
import Foundation
import OCSPResponder
import RevocationFormats
import Testing
import Threads
import UPKIProtocol

@Suite("the responder")
struct ResponderTests {
    // MARK: Statuses

    @Test("good, revoked with time and reason, unknown, and an expired certificate whose status stands")
    func statuses() throws {
        let bridge = try TestBridge()
        let good = try bridge.ask(1)
        #expect(good.kind == .good && !good.wasCached)
        let response = try bridge.read(good)
        #expect(response.responses.map(\.certID) == [try bridge.id(1)])
        #expect(response.responses.map(\.thisUpdate) == [bridge.clock.unix] && response.producedAt == bridge.clock.unix)
        #expect(response.nonce == nil)
        // 12 h less a tenth at most.
        let next = try #require(response.responses[0].nextUpdate)
        #expect((bridge.clock.unix + 38_880...bridge.clock.unix + 43_200).contains(next))
        #expect(good.lifetime == .init(thisUpdate: bridge.clock.unix, nextUpdate: next))

        let revoked = try bridge.ask(4)
        #expect(revoked.kind == .revoked && revoked.lifetime != nil)
        #expect(try bridge.status(revoked) == .revoked(at: bridge.clock.unix - 3_600, reason: .keyCompromise))
        let unknown = try bridge.ask(9)
        #expect(unknown.kind == .unknown && unknown.lifetime == nil)
        #expect(try bridge.status(unknown) == .unknown)
        // As long as HTTP caches keep what is good: the number may be issued the next moment.
        let end = try #require(bridge.read(unknown).responses[0].nextUpdate)
        #expect((bridge.clock.unix + 270...bridge.clock.unix + 300).contains(end))
        #expect(try bridge.status(try bridge.ask(3)) == .good)
    }

    @Test("both hashes, with and without parameters, are answered with the CertID as it was asked", arguments: OCSPCertIDForm.allCases)
    func forms(_ form: OCSPCertIDForm) throws {
        let bridge = try TestBridge()
        for _ in 0..<2 {
            let answer = try bridge.ask(1, form)
            #expect(try bridge.read(answer).responses.map(\.certID.der) == [try bridge.id(1, form).der])
        }
        #expect(bridge.counter("cache_hits") == 1)
    }

    @Test("the second answer is the first one, byte for byte, and ca-core is not asked again")
    func cached() throws {
        let bridge = try TestBridge()
        let first = try bridge.ask(1)
        let second = try bridge.ask(1)
        #expect(second.wasCached && second.der == first.der && second.tag == first.tag && second.lifetime == first.lifetime)
        // Another form needs another signature, and no question.
        let other = try bridge.ask(1, .sha256)
        #expect(!other.wasCached && other.tag != first.tag)
        #expect(try bridge.core.questions.next() == ["1"])
        #expect(bridge.core.questions.count == 0)
    }

    @Test("requests that wait for one serial number ask ca-core once, and each gets its answer")
    func asksOnce() throws {
        let bridge = try TestBridge { $0.holdsStatuses = true }
        let one = try OCSPRequest(certIDs: [bridge.id(1)]).serialized
        let first = try bridge.begin(one)
        #expect(try bridge.core.questions.next() == ["1"])
        let others = try (0..<20).map { _ in try bridge.begin(one) }
        let another = try bridge.begin(OCSPRequest(certIDs: [bridge.id(2, .sha256)]).serialized)
        #expect(try bridge.core.questions.next() == ["2"])
        try bridge.core.release()
        for answers in [first] + others { #expect(try bridge.status(answers.next()) == .good) }
        #expect(try bridge.status(another.next()) == .good)
        #expect(bridge.core.questions.count == 0)
        #expect(bridge.counter("signatures") == 2)
    }

    @Test("what waits goes to ca-core in one message")
    func oneMessage() throws {
        let bridge = try TestBridge()
        // The only loop is this thread: one request for many certificates is one post.
        let answer = try bridge.ask(OCSPRequest(certIDs: [1, 2, 3, 4].map { try bridge.id($0) }).serialized)
        #expect(answer.kind == .several && answer.lifetime != nil)
        #expect(try bridge.core.questions.next().sorted() == ["1", "2", "3", "4"])
        let statuses = try bridge.read(answer).responses.map(\.status)
        #expect(statuses == [.good, .good, .good, .revoked(at: bridge.clock.unix - 3_600, reason: .keyCompromise)])
        // And they are kept for single requests.
        #expect(try bridge.ask(2).kind == .good)
        #expect(bridge.core.questions.count == 0)
    }

    // MARK: Whose certificates

    @Test("another CA's certificates and other hashes are unauthorized, beside one of ours unknown")
    func foreign() throws {
        let bridge = try TestBridge()
        let other = try TestCA("Other CA", now: bridge.clock.unix)
        let foreign = try bridge.id(1, .sha1, of: other)
        let refused = try bridge.ask(OCSPRequest(certIDs: [foreign]).serialized)
        #expect(refused.kind == .unauthorized && refused.der == [0x30, 3, 0x0A, 1, 6] && refused.lifetime == nil)
        #expect(try bridge.ask(OCSPRequest(certIDs: [foreign, foreign], nonce: [1]).serialized).kind == .unauthorized)
        let mixed = try bridge.ask(OCSPRequest(certIDs: [foreign, bridge.id(1)]).serialized)
        #expect(try bridge.read(mixed).responses.map(\.status) == [.unknown, .good])
        #expect(mixed.kind == .several && mixed.lifetime == nil)
        #expect(try bridge.core.questions.next() == ["1"])
    }

    @Test("a number that no certificate can have is unknown without a question")
    func impossible() throws {
        let bridge = try TestBridge()
        for number in [[], [UInt8](repeating: 1, count: 21)] {
            let id = OCSPCertID(form: .sha1, issuer: try bridge.ca.issuer, serialNumber: number)
            #expect(try bridge.status(bridge.ask(OCSPRequest(certIDs: [id]).serialized)) == .unknown)
        }
        #expect(bridge.core.questions.count == 0)
    }

    @Test("what is no request gets malformedRequest")
    func malformed() throws {
        let bridge = try TestBridge()
        #expect(try bridge.ask([]).der == [0x30, 3, 0x0A, 1, 1])
        #expect(try bridge.ask([1, 2, 3]).kind == .malformedRequest)
        #expect(try bridge.ask(OCSPRequest(certIDs: [bridge.id(1)]).serialized.dropLast()).kind == .malformedRequest)
    }

    // MARK: Nonces

    @Test("a nonce is echoed, in an answer that is signed for it and that nobody may keep")
    func nonce() throws {
        let bridge = try TestBridge()
        let nonce = (0..<32).map { UInt8($0) }
        let first = try bridge.ask(1, nonce: nonce)
        #expect(try bridge.read(first).nonce == nonce)
        #expect(first.lifetime == nil && first.kind == .good)
        let second = try bridge.ask(1, nonce: nonce)
        #expect(!second.wasCached && second.tag != first.tag)
        // The status is kept: ca-core is asked once.
        #expect(try bridge.core.questions.next() == ["1"])
        #expect(bridge.core.questions.count == 0)
    }

    @Test("nonces can be ignored, and then share the answers of others")
    func ignoredNonce() throws {
        let bridge = try TestBridge { $0.ocsp = [.init("nonce", "ignore")] }
        let plain = try bridge.ask(1)
        let answer = try bridge.ask(1, nonce: [1, 2, 3])
        #expect(answer.wasCached && answer.der == plain.der)
    }

    @Test("nonces can be required: without one a request is unauthorized")
    func requiredNonce() throws {
        let bridge = try TestBridge { $0.ocsp = [.init("nonce", "require")] }
        #expect(try bridge.ask(1).kind == .unauthorized)
        #expect(try bridge.read(bridge.ask(1, nonce: [5])).nonce == [5])
    }

    // MARK: Changes

    @Test("an event changes the next answer: revoked, held, released")
    func events() throws {
        let bridge = try TestBridge()
        #expect(try bridge.ask(1).kind == .good)
        #expect(try bridge.ask(1).wasCached)
        bridge.core.set("1", "revoked", time: bridge.clock.unix, reason: "certificateHold")
        try bridge.settleCounter("status_events", 1)
        #expect(try bridge.status(bridge.ask(1)) == .revoked(at: bridge.clock.unix, reason: .certificateHold))
        bridge.core.set("1", "good")
        try bridge.settleCounter("status_events", 2)
        #expect(try bridge.status(bridge.ask(1)) == .good)
        // From events alone.
        #expect(try bridge.core.questions.next() == ["1"])
        #expect(bridge.core.questions.count == 0)
    }

    @Test("a hold is released of which only another CRL knew: unknown, and nothing else is dropped")
    func forgotten() throws {
        let bridge = try TestBridge { $0.statuses["5"] = ("revoked", 5, "certificateHold") }
        #expect(try bridge.ask(5).kind == .revoked)
        #expect(try bridge.ask(1).kind == .good)
        bridge.core.set("5", "unknown")
        try bridge.settleCounter("status_events", 1)
        #expect(try bridge.ask(5).kind == .unknown)
        #expect(try bridge.ask(1).wasCached)
        #expect(bridge.report.at("cache", "dropped")?.integerValue == 0)
    }

    @Test("a status read before a hold was released that is unknown now is not told any more")
    func forgottenMeanwhile() throws {
        let bridge = try TestBridge {
            $0.statuses["5"] = ("revoked", 5, "certificateHold")
            $0.readAt = 10
            $0.holdsStatuses = true
        }
        let answers = try bridge.begin(OCSPRequest(certIDs: [bridge.id(5)]).serialized)
        #expect(try bridge.core.questions.next() == ["5"])
        bridge.core.say("5", "unknown", sequence: 11)
        try bridge.settleCounter("status_events", 1)
        try bridge.core.release()
        #expect(try answers.next().kind == .unknown)
    }

    @Test("a revocation of the future, by a clock that was ahead, is said to be of the answer's own time")
    func revokedInTheFuture() throws {
        let bridge = try TestBridge { $0.statuses["5"] = ("revoked", $0.now() + 3_600, "keyCompromise") }
        let now = OCSPCertStatus.revoked(at: bridge.clock.unix, reason: .keyCompromise)
        for _ in 0..<2 { #expect(try bridge.status(bridge.ask(5)) == now) }
        #expect(bridge.counter("cache_hits") == 1)
        #expect(try bridge.status(bridge.ask(5, nonce: [1])) == now)
    }

    @Test("a status read before an event of its serial number gives way to the event")
    func lateAnswer() throws {
        let bridge = try TestBridge { $0.holdsStatuses = true }
        let answers = try bridge.begin(OCSPRequest(certIDs: [bridge.id(1)]).serialized)
        #expect(try bridge.core.questions.next() == ["1"])
        // The core has read `good` at number 10; then event 11 comes, and only then the answer.
        bridge.core.world.withLock {
            $0.readAt = 10
            $0.sequence = 11
        }
        bridge.core.say("1", "revoked", time: 77, reason: "superseded", sequence: 11)
        try bridge.settleCounter("status_events", 1)
        try bridge.core.release()
        #expect(try bridge.status(answers.next()) == .revoked(at: 77, reason: .superseded))
        #expect(try bridge.status(bridge.ask(1)) == .revoked(at: 77, reason: .superseded))
    }

    @Test("an event that is older than the status that was read changes nothing")
    func lateEvent() throws {
        let bridge = try TestBridge()
        bridge.core.change("1", "revoked", time: 5, reason: "certificateHold")
        bridge.core.change("1", "good")
        #expect(try bridge.ask(1).kind == .good)
        bridge.core.say("1", "revoked", time: 5, reason: "certificateHold", sequence: 11)
        try bridge.settleCounter("status_events", 1)
        #expect(try bridge.ask(1).kind == .good)
        bridge.core.say("1", "good", sequence: 12)
        try bridge.settleCounter("status_events", 2)
        #expect(try bridge.ask(1).wasCached)
    }

    @Test("a heartbeat ahead of the events that were heard drops everything")
    func missedEvent() throws {
        let bridge = try TestBridge()
        #expect(try bridge.ask(1).kind == .good)
        bridge.core.change("1", "revoked", time: 5)
        try bridge.beat()
        #expect(bridge.report.at("cache", "dropped")?.integerValue == 1)
        #expect(try bridge.ask(1).kind == .revoked)
    }

    @Test("an event that is not the next one drops everything")
    func gap() throws {
        let bridge = try TestBridge()
        #expect(try bridge.ask(1).kind == .good)
        bridge.core.change("1", "revoked", time: 5)
        bridge.core.set("2", "revoked", time: 6)
        try bridge.settleCounter("status_events", 1)
        #expect(try bridge.ask(1).kind == .revoked)
    }

    @Test("statuses read before events are heard are told and not kept")
    func beforeHearing() throws {
        let bridge = try TestBridge(heard: false)
        try bridge.settle("it can sign") { $0.at("signers")?.arrayValue?.isEmpty == false }
        #expect(try bridge.ask(1).kind == .good)
        #expect(try bridge.ask(1).kind == .good)
        #expect(try bridge.core.questions.next() == ["1"])
        #expect(try bridge.core.questions.next() == ["1"])
        #expect(bridge.report.at("cache", "statuses")?.integerValue == 0)
        try bridge.hear()
        // Read before the number that was heard first: not to be kept either, and asked again in the hope of better.
        bridge.core.world.withLock { $0.readAt = 9 }
        #expect(try bridge.ask(1).kind == .good)
        #expect(bridge.report.at("cache", "statuses")?.integerValue == 0)
        bridge.core.world.withLock { $0.readAt = nil }
        #expect(try bridge.ask(1).kind == .good)
        #expect(bridge.report.at("cache", "statuses")?.integerValue == 1)
    }

    // MARK: When ca-core is not heard

    @Test("75 ms after the last heartbeat every request asks ca-core, until it is heard again")
    func asksLive() throws {
        let bridge = try TestBridge()
        #expect(try bridge.ask(1).kind == .good)
        _ = try bridge.core.questions.next()
        bridge.clock.advance(milliseconds: 75)
        #expect(bridge.report.at("core", "state") == "ask")
        bridge.core.change("1", "revoked", time: 5)
        let answer = try bridge.ask(1)
        #expect(answer.kind == .revoked && !answer.wasCached)
        #expect(try bridge.core.questions.next() == ["1"])
        #expect(try bridge.ask(1, nonce: [1]).kind == .revoked)
        #expect(try bridge.core.questions.next() == ["1"])
        try bridge.beat()
        #expect(try bridge.ask(1).kind == .revoked)
    }

    @Test("a heartbeat that was made long ago says nothing of now")
    func oldHeartbeat() throws {
        let bridge = try TestBridge()
        let old = bridge.clock.clock.monotonic()
        bridge.clock.advance(milliseconds: 80)
        bridge.core.beat(monotonic: old)
        // The event behind it shows that it was read.
        bridge.core.set("2", "revoked", time: 5)
        try bridge.settleCounter("status_events", 1)
        #expect(bridge.report.at("core", "state") == "ask")
        bridge.core.beat(monotonic: bridge.clock.clock.monotonic())
        try bridge.settle("it is live") { $0.at("core", "state") == "live" }
    }

    @Test("20,000 serial numbers wait for ca-core at most, and 16,000 of requests for several; beyond that it is tryLater, and only then")
    func tooMany() throws {
        let bridge = try TestBridge { $0.holdsStatuses = true }
        let issuer = try bridge.ca.issuer
        let waiting = try (0..<320).map { request in
            let ids = (0..<50).map { number in
                OCSPCertID(
                    form: .sha1, issuer: issuer, serialNumber: [1, UInt8(request >> 8), UInt8(truncatingIfNeeded: request), UInt8(number)])
            }
            return try bridge.begin(OCSPRequest(certIDs: ids).serialized)
        }
        let several = try OCSPRequest(certIDs: [bridge.id(1), bridge.id(2)]).serialized
        #expect(try bridge.ask(several).kind == .tryLater)
        #expect(bridge.counter("lookups_refused") == 1)
        let one = try OCSPRequest(certIDs: [bridge.id(1)]).serialized
        let singles = try Mailbox<OCSPAnswer>()
        for _ in 0..<4_000 {
            let answer = one.withUnsafeBytes { bytes in bridge.responder.answer(bytes, on: 0) { singles.post($0) } }
            #expect(answer == nil)
        }
        #expect(try bridge.ask(1).kind == .tryLater)
        #expect(bridge.counter("lookups_refused") == 2)
        try bridge.core.release()
        for answers in waiting { #expect(try answers.next().kind == .several) }
        for _ in 0..<4_000 { #expect(try singles.next().kind == .good) }
        #expect(try bridge.ask(several).kind == .several)
        // A thousand in one message at most.
        for _ in 0..<17 { #expect(try (1...1_000).contains(bridge.core.questions.next().count)) }
    }

    @Test("a core that is there and does not answer: kept answers do after half a second, and then at once")
    func silence() throws {
        let bridge = try TestBridge()
        let first = try bridge.ask(1)
        bridge.core.world.withLock { $0.isSilent = true }
        bridge.clock.advance(milliseconds: 75)
        let answers = try bridge.begin(OCSPRequest(certIDs: [bridge.id(1)]).serialized)
        let nonce = try bridge.begin(OCSPRequest(certIDs: [bridge.id(1)], nonce: [1]).serialized)
        try bridge.settleCounter("lookups", 3)
        for _ in 0..<2 { #expect(try bridge.core.questions.next() == ["1"]) }
        #expect(answers.count == 0)
        bridge.clock.advance(milliseconds: 500)
        let kept = try answers.next()
        #expect(kept.der == first.der && kept.wasCached)
        #expect(try nonce.next().kind == .tryLater)
        try bridge.settle("it is taken for away") { $0.at("core", "state") == "away" }
        #expect(try bridge.ask(1).der == first.der)
        #expect(bridge.counter("lookups") == 3)
        // It goes on without a restart.
        bridge.core.world.withLock { $0.isSilent = false }
        try bridge.beat()
        #expect(try bridge.ask(1).der == first.der)
        #expect(try bridge.ask(2).kind == .good)
    }

    @Test("ca-core is gone: good for the grace, revoked until its end, what is not kept tryLater, a nonce tryLater at once")
    func away() throws {
        let bridge = try TestBridge { $0.ocsp = [.init("offline_grace", .integer(60)), .init("validity", .integer(3_600))] }
        #expect(try bridge.ask(1).kind == .good)
        #expect(try bridge.ask(4).kind == .revoked)
        #expect(try bridge.ask(2, nonce: [1]).kind == .good)
        bridge.core.stop()
        try bridge.settle("the core's end is noticed") { $0.at("core", "link") == "away" && $0.at("core", "state") == "away" }
        #expect(try bridge.ask(1).wasCached)
        #expect(try bridge.ask(4).wasCached)
        #expect(try bridge.ask(1, nonce: [1]).kind == .tryLater)
        #expect(try bridge.ask(9).kind == .tryLater)
        // The status of 2 is kept without an answer: it is signed as what was known when the core was heard last.
        let heard = bridge.clock.unix
        bridge.clock.advance(milliseconds: 59_000)
        let late = try bridge.ask(2)
        #expect(try bridge.read(late).responses[0].thisUpdate == heard)
        #expect(try bridge.read(late).producedAt == heard + 59)
        #expect(try bridge.ask(1).kind == .good)
        bridge.clock.advance(milliseconds: 1_000)
        #expect(try bridge.ask(1).kind == .tryLater)
        #expect(try bridge.ask(1).der == [0x30, 3, 0x0A, 1, 3])
        #expect(try bridge.ask(2).kind == .tryLater)
        #expect(try bridge.ask(4).kind == .revoked)
        #expect(try bridge.ask(OCSPRequest(certIDs: [bridge.id(1), bridge.id(4)]).serialized).kind == .tryLater)
        bridge.clock.advance(milliseconds: 3_600_000)
        #expect(try bridge.ask(4).kind == .tryLater)
        #expect(bridge.responder.complaints.contains { $0.contains("not heard for 3660 s") }, "\(bridge.responder.complaints)")
    }

    @Test("another core in its place: everything kept is dropped, and it goes on without a restart")
    func restart() throws {
        let bridge = try TestBridge()
        #expect(try bridge.ask(1).kind == .good)
        try bridge.replaceCore { $0.statuses["1"] = ("revoked", 5, "superseded") }
        try bridge.settle("the new core is greeted") { $0.at("core", "instance") == "second" }
        #expect(try bridge.ask(1).kind == .revoked)
        try bridge.hear()
        #expect(try bridge.ask(1).kind == .revoked)
        #expect(bridge.report.at("cache", "dropped")?.integerValue == 1)
        #expect(bridge.lines().contains { $0.hasPrefix("warning: ca-core is gone") })
    }

    @Test("a core that is there and refuses to tell statuses: tryLater, also where an answer is kept")
    func refusalIsNoAbsence() throws {
        let bridge = try TestBridge()
        #expect(try bridge.ask(1).kind == .good)
        bridge.core.world.withLock { $0.refusesStatuses = "Busy: too much at once" }
        bridge.clock.advance(milliseconds: 75)
        #expect(try bridge.ask(1).kind == .tryLater)
        let both = try OCSPRequest(certIDs: [bridge.id(1), bridge.id(4)]).serialized
        #expect(try bridge.ask(both).kind == .tryLater)
        bridge.core.world.withLock { $0.refusesStatuses = nil }
        #expect(try bridge.ask(1).kind == .good)
    }

    @Test("a core that refuses to tell statuses is not waited for")
    func refusal() throws {
        let bridge = try TestBridge { $0.statuses["5"] = ("nonsense", 0, "") }
        #expect(try bridge.ask(5).kind == .tryLater)
        #expect(bridge.lines().contains { $0.contains("does not tell statuses") })
    }

    // MARK: Lifetimes

    @Test("an answer is signed anew when half of its life is over, and when somebody sets the clock back")
    func refresh() throws {
        let bridge = try TestBridge { $0.ocsp = [.init("validity", .integer(1_000))] }
        let first = try bridge.ask(1)
        // At the earliest after nine tenths of half of nine tenths.
        bridge.clock.advance(milliseconds: 400_000)
        try bridge.beat()
        #expect(try bridge.ask(1).der == first.der)
        bridge.clock.advance(milliseconds: 100_000)
        try bridge.beat()
        let second = try bridge.ask(1)
        #expect(second.der != first.der && second.lifetime?.thisUpdate == bridge.clock.unix)
        bridge.clock.set(unix: bridge.clock.unix - 100)
        let third = try bridge.ask(1)
        #expect(third.lifetime?.thisUpdate == bridge.clock.unix)
        #expect(bridge.core.questions.count == 1)
    }

    @Test("no answer outlives the signing certificate")
    func end() throws {
        let bridge = try TestBridge { $0.hours = 2 }
        let next = try #require(bridge.ask(1).lifetime?.nextUpdate)
        #expect(next == bridge.clock.unix + 7_200)
    }

    @Test("no answer outlives the CA's certificate")
    func authorityEnd() throws {
        let bridge = try TestBridge(authorityDays: 1) { $0.ocsp = [.init("validity", .integer(200_000))] }
        let next = try #require(bridge.ask(1).lifetime?.nextUpdate)
        #expect(next == bridge.clock.unix + 86_400)
    }

    @Test("answers that were signed together do not end together")
    func spread() throws {
        let bridge = try TestBridge { world in for serial in 10..<60 { world.statuses["\(serial)"] = ("good", 0, "") } }
        let ends = try Set((10..<60).map { try #require(bridge.ask(UInt8($0)).lifetime?.nextUpdate) })
        #expect(ends.count > 25)
    }

    // MARK: The signing certificate

    @Test("at half of its life a new key is certified, and answers of the one before go on")
    func renewal() throws {
        let bridge = try TestBridge { $0.ocsp = [.init("validity", .integer(200_000))] }
        let first = try bridge.ask(1)
        let serial = bridge.report["signers"]?.arrayValue?.first?["serial"]
        _ = try bridge.core.certificationRequests.next()
        bridge.clock.advance(milliseconds: 24 * 3_600_000)
        let request = try bridge.core.certificationRequests.next()
        #expect(!request.isEmpty)
        try bridge.settleCounter("certifications", 2)
        let signers = bridge.report["signers"]?.arrayValue ?? []
        #expect(signers.count == 2 && signers[0]["serial"] != serial && signers[1]["serial"] == serial)
        try bridge.beat()
        // Signed anew, since half of the first signer's life is half of its answers' too: by the new key.
        let second = try bridge.ask(1)
        #expect(try bridge.read(second).certificates != bridge.read(first).certificates)
        #expect(try bridge.read(second).responderKeyHash != bridge.read(first).responderKeyHash)
    }

    @Test("an answer that the signer before has signed is served on while it is fresh")
    func overlap() throws {
        let bridge = try TestBridge { $0.ocsp = [.init("validity", .integer(86_400))] }
        bridge.clock.advance(milliseconds: 23 * 3_600_000)
        try bridge.beat()
        let first = try bridge.ask(1)
        bridge.clock.advance(milliseconds: 3_600_000)
        try bridge.settleCounter("certifications", 2)
        try bridge.beat()
        #expect(try bridge.ask(1).der == first.der)
        // What was not asked for before is signed by the new one.
        #expect(try bridge.read(bridge.ask(2)).certificates != bridge.read(first).certificates)
    }

    @Test(
        "a certificate that relying parties would refuse is not signed with, and the reason is told",
        arguments: [
            (TestCA.Flaws.otherKey, "is for another key"), (.otherPurpose, "OCSPSigning alone"), (.otherIssuer, "not issued by the CA"),
            (.expired, "has expired"), (.badSignature, "not issued by the CA"),
        ])
    func badCertificate(_ flaw: TestCA.Flaws, _ words: String) throws {
        let bridge = try TestBridge(heard: false) { $0.flaws = flaw }
        try bridge.settle("it fails") { ($0.at("counters", "certifications_failed")?.integerValue ?? 0) > 0 }
        #expect(bridge.responder.complaints.contains { $0.contains(words) }, "\(bridge.responder.complaints)")
        #expect(try bridge.ask(1).kind == .tryLater)
        // Another try, another answer.
        bridge.core.world.withLock { $0.flaws = [] }
        bridge.clock.advance(milliseconds: 30_000)
        try bridge.settle("it can sign") { $0.at("signers")?.arrayValue?.isEmpty == false }
        #expect(!bridge.responder.complaints.contains { $0.contains(words) })
    }

    @Test("a core that certifies nothing leaves the one before in use")
    func refusedRenewal() throws {
        let bridge = try TestBridge()
        bridge.core.world.withLock { $0.certifies = false }
        bridge.clock.advance(milliseconds: 24 * 3_600_000)
        try bridge.settleCounter("certifications_failed", 1)
        try bridge.beat()
        #expect(try bridge.ask(1).kind == .good)
        #expect(bridge.responder.complaints.contains { $0.contains("no certificates today") }, "\(bridge.responder.complaints)")
        bridge.clock.advance(milliseconds: 24 * 3_600_000)
        try bridge.beat()
        #expect(try bridge.ask(1).kind == .tryLater)
    }

    @Test("a CA with another key: the old one's certificates are unauthorized, and the new one's are answered for")
    func anotherAuthority() throws {
        let bridge = try TestBridge()
        #expect(try bridge.ask(1).kind == .good)
        let new = try TestCA(now: bridge.clock.unix)
        bridge.core.world.withLock { $0.ca = new }
        bridge.clock.advance(milliseconds: 5_000)
        try bridge.settleCounter("certifications", 2)
        try bridge.beat()
        #expect(bridge.report["signers"]?.arrayValue?.count == 1)
        #expect(try bridge.ask(1).kind == .unauthorized)
        let answer = try bridge.ask(OCSPRequest(certIDs: [bridge.id(1, .sha1, of: new)]).serialized)
        #expect(try bridge.read(answer, by: new).responses[0].status == .good)
        #expect(bridge.report.at("cache", "dropped")?.integerValue == 1)
        #expect(bridge.responder.document(.authorityCertificate)?.der == new.der)
    }

    @Test("a signer whose certificate is revoked answers nothing more, and another one takes its place at once")
    func revokedSigner() throws {
        let bridge = try TestBridge()
        let first = try bridge.read(bridge.ask(1)).certificates
        let serial = try #require(bridge.report["signers"]?.arrayValue?.first?["serial"]?.stringValue)
        bridge.core.set(serial, "revoked", time: bridge.clock.unix, reason: "keyCompromise")
        try bridge.settleCounter("certifications", 2)
        let signers = bridge.report["signers"]?.arrayValue ?? []
        #expect(signers.count == 1 && signers.first?["serial"]?.stringValue != serial)
        #expect(try bridge.read(bridge.ask(1)).certificates != first)
    }

    @Test("where its revocation may have been missed, ca-core is asked for the signer's own certificate")
    func signerRevokedUnheard() throws {
        let bridge = try TestBridge()
        #expect(try bridge.ask(1).kind == .good)
        let serial = try #require(bridge.report["signers"]?.arrayValue?.first?["serial"]?.stringValue)
        bridge.core.change(serial, "revoked", time: bridge.clock.unix, reason: "keyCompromise")
        try bridge.beat()
        try bridge.settleCounter("certifications", 2)
        #expect(bridge.report["signers"]?.arrayValue?.count == 1)
        #expect(bridge.report["signers"]?.arrayValue?.first?["serial"]?.stringValue != serial)
    }

    @Test("a certificate whose answer does not come is waited for while there is another: a third would revoke the one in use")
    func lostCertificate() throws {
        let bridge = try TestBridge(toleratedDelay: 1 << 40)
        _ = try bridge.core.certificationRequests.next()
        bridge.core.world.withLock { $0.holdsCertificates = true }
        bridge.clock.advance(milliseconds: 24 * 3_600_000)
        _ = try bridge.core.certificationRequests.next()
        for _ in 0..<3 {
            bridge.clock.advance(milliseconds: 31_000)
            let messages = bridge.counter("lookup_messages")
            try bridge.beat()
            // A question that goes out shows that the thread has passed.
            bridge.clock.advance(milliseconds: 75)
            #expect(try bridge.ask(9).kind == .unknown)
            #expect(bridge.counter("lookup_messages") > messages)
        }
        #expect(bridge.core.certificationRequests.count == 0)
        #expect(bridge.responder.complaints.contains { $0.contains("did not answer in time") }, "\(bridge.responder.complaints)")
        try bridge.core.release()
        try bridge.settleCounter("certifications", 2)
        #expect(bridge.report["signers"]?.arrayValue?.count == 2)
        #expect(!bridge.responder.complaints.contains { $0.contains("did not answer in time") })
    }

    @Test("where there is none left to sign with, another is asked for")
    func lostFirstCertificate() throws {
        let bridge = try TestBridge(heard: false, toleratedDelay: 1 << 40) { $0.holdsCertificates = true }
        _ = try bridge.core.certificationRequests.next()
        bridge.core.world.withLock { $0.holdsCertificates = false }
        bridge.clock.advance(milliseconds: 4_000)
        try bridge.settle("it gave up") { ($0.at("counters", "certifications_failed")?.integerValue ?? 0) == 1 }
        bridge.clock.advance(milliseconds: 30_000)
        try bridge.settleCounter("certifications", 1)
    }

    // MARK: Files

    @Test("the CRL comes in pieces, is what ca-core named, and follows the number in the heartbeats")
    func list() throws {
        let first = (0..<3_000).map { UInt8(truncatingIfNeeded: $0) }
        let bridge = try TestBridge {
            $0.crl = ("7", first, 100, 200)
            $0.pieceBytes = 1_000
        }
        try bridge.settle("the list is here") { $0.at("crl", "number") == "7" }
        let document = try #require(bridge.responder.document(.revocationList))
        #expect(document.der == first && document.lastModified == 100 && document.expires == 200)
        #expect(bridge.responder.document(.authorityCertificate)?.der == bridge.ca.der)
        bridge.core.world.withLock { $0.crl = ("8", [1, 2, 3], 300, 400) }
        bridge.clock.advance(milliseconds: 100)
        bridge.core.beat()
        try bridge.settle("the next list is here") { $0.at("crl", "number") == "8" }
        #expect(bridge.responder.document(.revocationList)?.der == [1, 2, 3])
    }

    @Test("a CRL that is not what was named is not served")
    func wrongList() throws {
        let bridge = try TestBridge {
            $0.crl = ("7", [1, 2, 3], 100, 200)
            $0.wrongList = [1, 2, 4]
        }
        let complains = { bridge.responder.complaints.contains { $0.contains("is not the one it named") } }
        try bridge.settle("it complains") { _ in complains() }
        #expect(bridge.responder.document(.revocationList) == nil)
        bridge.core.world.withLock { $0.wrongList = nil }
        bridge.clock.advance(milliseconds: 5_000)
        try bridge.settle("the list is here") { $0.at("crl", "number") == "7" }
        #expect(!complains())
    }

    @Test("what ca-core is told to do differently is done differently")
    func policy() throws {
        let bridge = try TestBridge()
        #expect(bridge.responder.maximumAge == 300)
        bridge.core.world.withLock { $0.ocsp = [.init("max_age", .integer(30)), .init("validity", .integer(600))] }
        bridge.clock.advance(milliseconds: 5_000)
        try bridge.settle("the policy is heard") { $0.at("policy", "max_age")?.integerValue == 30 }
        #expect(bridge.responder.maximumAge == 30)
        try bridge.beat()
        let life = try #require(bridge.ask(1).lifetime)
        #expect((540...600).contains(life.nextUpdate - life.thisUpdate))
    }

    @Test("without ca-core it starts, waits and says so")
    func alone() throws {
        let directory = try TemporaryDirectory()
        let clock = TestClock()
        let responder = try Responder(cacheBytes: 1 << 20, clock: clock.clock)
        let thread = try CoreThread(CoreLoopOptions(runDirectory: directory.path, program: "test"), responder: responder)
        try thread.start(hops: [])
        let answer = [UInt8](repeating: 0, count: 4).withUnsafeBytes { responder.answer($0, on: 0) { _ in } }
        #expect(answer?.kind == .tryLater)
        #expect(responder.complaints.contains("ca-core was not heard yet"))
        thread.stop(reason: "the test is over")
        thread.join()
        #expect(!thread.hasFailed)
    }
}
