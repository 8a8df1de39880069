// A bridge that stood still, as under SIGSTOP or in a paused virtual machine: what it was told before is not what holds now.
import OCSPResponder
import RevocationFormats
import Testing

@Suite("standing still")
struct StandstillTests {
    /// Longer than the tests' bridge takes for a slow machine.
    private static let long = TestBridge.toleratedDelay + 5_000

    @Test("a question in flight is asked again, and the core is not taken for silent")
    func inFlight() throws {
        let bridge = try TestBridge()
        #expect(try bridge.ask(1).kind == .good)
        #expect(try bridge.core.questions.next() == ["1"])
        bridge.clock.advance(milliseconds: 75)
        bridge.core.world.withLock { $0.holdsStatuses = true }
        let answers = try bridge.begin(OCSPRequest(certIDs: [bridge.id(1)]).serialized)
        #expect(try bridge.core.questions.next() == ["1"])
        bridge.core.change("1", "revoked", time: 5)
        bridge.clock.advance(milliseconds: Self.long)
        #expect(try bridge.core.questions.next() == ["1"])
        #expect(bridge.counter("standstills") > 0)
        #expect(answers.count == 0 && bridge.report.at("core", "state") == "ask")
        try bridge.core.release()
        #expect(try answers.next().kind == .revoked)
    }

    @Test("what was asked for more than 75 ms ago is asked again where no heartbeat is newer")
    func oldStatus() throws {
        let bridge = try TestBridge()
        bridge.clock.advance(milliseconds: 75)
        bridge.core.world.withLock { $0.holdsStatuses = true }
        let single = try bridge.begin(OCSPRequest(certIDs: [bridge.id(1)]).serialized)
        #expect(try bridge.core.questions.next() == ["1"])
        let several = try bridge.begin(OCSPRequest(certIDs: [bridge.id(2), bridge.id(4)]).serialized)
        #expect(try bridge.core.questions.next().sorted() == ["2", "4"])
        bridge.clock.advance(milliseconds: 75)
        try bridge.core.release()
        #expect(try single.next().kind == .good)
        #expect(try several.next().kind == .several)
        var again: [String] = []
        while again.count < 3 { again += try bridge.core.questions.next() }
        #expect(again.sorted() == ["1", "2", "4"])
        #expect(bridge.core.questions.count == 0)
    }

    @Test("a status that is followed by events is not asked for again while events are heard, however late it came")
    func followed() throws {
        let bridge = try TestBridge { $0.holdsStatuses = true }
        let answers = try bridge.begin(OCSPRequest(certIDs: [bridge.id(9)]).serialized)
        #expect(try bridge.core.questions.next() == ["9"])
        bridge.clock.advance(milliseconds: 400)
        try bridge.beat()
        try bridge.core.release()
        #expect(try answers.next().kind == .unknown)
        #expect(bridge.core.questions.count == 0)
    }

    @Test("an answer found before a standstill is not served after it", arguments: [nil, [UInt8(1)]])
    func betweenLookAndAnswer(_ nonce: [UInt8]?) throws {
        let bridge = try TestBridge()
        #expect(try bridge.ask(1).kind == .good)
        bridge.core.change("1", "revoked", time: 5)
        bridge.clock.pauseAfterNextLook(milliseconds: 75)
        #expect(try bridge.ask(1, nonce: nonce).kind == .revoked)
    }

    @Test("good is not served for longer than the grace, also when it was looked up within it")
    func betweenLookAndGrace() throws {
        let bridge = try TestBridge { $0.ocsp = [.init("offline_grace", .integer(60))] }
        #expect(try bridge.ask(1).kind == .good)
        bridge.core.stop()
        try bridge.settle("the core's end is noticed") { $0.at("core", "link") == "away" && $0.at("core", "state") == "away" }
        #expect(try bridge.ask(1).kind == .good)
        bridge.clock.pauseAfterNextLook(milliseconds: 60_000)
        #expect(try bridge.ask(1).kind == .tryLater)
    }
}
