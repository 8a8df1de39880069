// Statuses that change while many ask: no answer is older than the last event that was taken in.
import OCSPResponder
import RevocationFormats
import Synchronization
import Testing
import Threads

@Suite("changing statuses")
struct ChangingStatusTests {
    /// Asks without a pause on a thread of its own; gives each answer's kind to `see`.
    private final class Asker: Sendable {
        private let isOver = Atomic<Bool>(false)
        private let thread = Mutex<OwnedThread?>(nil)
        let answers = Atomic<Int>(0)

        init(_ responder: Responder, _ request: [UInt8], _ loop: Int = 0) throws {
            let thread = try OwnedThread(name: "asker") { [self] in
                while !isOver.load(ordering: .acquiring) {
                    let answer = request.withUnsafeBytes { responder.answer($0, on: loop) { _ in } }
                    if answer != nil { answers.wrappingAdd(1, ordering: .relaxed) }
                }
            }
            self.thread.withLock { $0 = thread }
        }

        func end() {
            isOver.store(true, ordering: .releasing)
            thread.withLock { $0 }?.join()
        }
    }

    @Test("after an event nobody gets the status from before it, however many sign at that moment")
    func race() throws {
        let bridge = try TestBridge()
        let request = try OCSPRequest(certIDs: [bridge.id(1)]).serialized
        let other = try OCSPRequest(certIDs: [bridge.id(1, .sha256)]).serialized
        #expect(try bridge.ask(request).kind == .good)
        let askers = try [Asker(bridge.responder, request), Asker(bridge.responder, other)]
        defer { for asker in askers { asker.end() } }
        for round in 1...100 {
            let revoked = round % 2 == 1
            bridge.core.set("1", revoked ? "revoked" : "good", time: Int64(round), reason: "certificateHold")
            try bridge.settleCounter("status_events", Int64(round))
            for question in [request, other] {
                let status = try bridge.status(bridge.ask(question))
                #expect(status == (revoked ? .revoked(at: Int64(round), reason: .certificateHold) : .good), "round \(round)")
            }
        }
        #expect(askers.allSatisfy { $0.answers.load(ordering: .relaxed) > 0 })
        // All from the first question and the events.
        #expect(bridge.core.questions.count == 1)
    }

    @Test("what is dropped while it is signed is asked for again")
    func dropsUnderLoad() throws {
        let bridge = try TestBridge()
        let request = try OCSPRequest(certIDs: [bridge.id(1)]).serialized
        #expect(try bridge.ask(request).kind == .good)
        let asker = try Asker(bridge.responder, request)
        defer { asker.end() }
        for round in 1...50 {
            // Changed without an event: the next heartbeat is ahead of what was heard.
            let revoked = round % 2 == 1
            bridge.core.change("1", revoked ? "revoked" : "good", time: Int64(round), reason: "certificateHold")
            try bridge.beat()
            let status = try bridge.status(bridge.ask(request))
            #expect(status == (revoked ? .revoked(at: Int64(round), reason: .certificateHold) : .good), "round \(round)")
        }
        #expect(bridge.report.at("cache", "dropped")?.integerValue == 50)
    }
}
