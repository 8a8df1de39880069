// What follows from the numbers on events.sock, without a socket.
import OCSPResponder
import Testing
import Threads

@Suite("hearing ca-core")
struct CoreHearingTests {
    private let now = MonotonicTime(nanoseconds: 1_000_000_000)

    /// Hears the process `a`, whose last event was number 5.
    private func hearing() -> CoreHearing {
        var hearing = CoreHearing()
        #expect(hearing.greeted(instance: "a") == .nothing)
        #expect(hearing.heartbeat(instance: "a", sequence: 5, at: now) == .nothing)
        return hearing
    }

    @Test("nothing may be kept before the first message on events.sock, and then what was read at its number or later")
    func begins() {
        var hearing = CoreHearing()
        #expect(!hearing.mayKeep(readAt: 9, by: nil))
        _ = hearing.greeted(instance: "a")
        #expect(!hearing.mayKeep(readAt: 9, by: "a"))
        #expect(hearing.heartbeat(instance: "a", sequence: 5, at: now) == .nothing)
        #expect(!hearing.mayKeep(readAt: 4, by: "a"))
        #expect(hearing.mayKeep(readAt: 5, by: "a"))
        #expect(hearing.mayKeep(readAt: 6, by: "a"))
        #expect(!hearing.mayKeep(readAt: 6, by: "b"))
    }

    @Test("events one after the other and heartbeats between them miss nothing")
    func goesOn() {
        var hearing = hearing()
        #expect(hearing.event(instance: "a", sequence: 6) == .nothing)
        #expect(hearing.heartbeat(instance: "a", sequence: 6, at: now) == .nothing)
        #expect(hearing.event(instance: "a", sequence: 7) == .nothing)
        #expect(hearing.since == 5)
    }

    @Test("an event that is not the next one, and a heartbeat ahead of the events, drop everything and are the new beginning")
    func gaps() {
        var hearing = hearing()
        #expect(hearing.event(instance: "a", sequence: 7) != .nothing)
        #expect(!hearing.mayKeep(readAt: 6, by: "a") && hearing.mayKeep(readAt: 7, by: "a"))
        #expect(hearing.event(instance: "a", sequence: 8) == .nothing)
        #expect(hearing.heartbeat(instance: "a", sequence: 9, at: now) != .nothing)
        #expect(!hearing.mayKeep(readAt: 8, by: "a") && hearing.mayKeep(readAt: 9, by: "a"))
    }

    @Test("a number that goes back drops everything")
    func backwards() {
        var hearing = hearing()
        #expect(hearing.heartbeat(instance: "a", sequence: 4, at: now) != .nothing)
        #expect(hearing.event(instance: "a", sequence: 3) != .nothing)
    }

    @Test("another process drops everything once, whichever socket tells of it first")
    func restarts() {
        var first = hearing()
        #expect(first.greeted(instance: "b") != .nothing)
        #expect(!first.mayKeep(readAt: 5, by: "b"))
        #expect(first.heartbeat(instance: "b", sequence: 5, at: now) == .nothing)
        #expect(first.mayKeep(readAt: 5, by: "b"))

        var second = hearing()
        #expect(second.heartbeat(instance: "b", sequence: 5, at: now) != .nothing)
        #expect(second.greeted(instance: "b") == .nothing)
        #expect(second.mayKeep(readAt: 5, by: "b"))
    }

    @Test("a connection lost and found again with the same number has missed nothing, with another number something")
    func reconnects() {
        var hearing = hearing()
        hearing.connectionLost()
        #expect(!hearing.mayKeep(readAt: 5, by: "a") && hearing.lastHeartbeat == nil)
        #expect(hearing.heartbeat(instance: "a", sequence: 5, at: now) == .nothing)
        #expect(hearing.mayKeep(readAt: 5, by: "a"))
        hearing.connectionLost()
        #expect(hearing.heartbeat(instance: "a", sequence: 6, at: now) != .nothing)
    }

    @Test("the first CA of all begins at number 0, and an event lost right then is noticed")
    func fromZero() {
        var hearing = CoreHearing()
        #expect(hearing.heartbeat(instance: "a", sequence: 0, at: now) == .nothing)
        hearing.connectionLost()
        #expect(hearing.heartbeat(instance: "a", sequence: 1, at: now) != .nothing)
    }

    @Test("live for 75 ms after a heartbeat, then ca-core is asked, and where it does not answer it is away")
    func liveness() {
        var contact = CoreContact(answers: true)
        #expect(contact.liveness(at: now) == .ask)
        contact.lastHeartbeat = now
        #expect(contact.liveness(at: now.advanced(byMilliseconds: 74)) == .live)
        #expect(contact.liveness(at: now.advanced(byMilliseconds: 75)) == .ask)
        contact.answers = false
        #expect(contact.liveness(at: now.advanced(byMilliseconds: 74)) == .live)
        #expect(contact.liveness(at: now.advanced(byMilliseconds: 75)) == .away)
    }

    @Test("the grace begins at the last heartbeat")
    func grace() {
        #expect(!CoreContact().isWithinGrace(at: now, grace: 60))
        let contact = CoreContact(lastHeard: now)
        #expect(contact.isWithinGrace(at: now.advanced(byMilliseconds: 59_999), grace: 60))
        #expect(!contact.isWithinGrace(at: now.advanced(byMilliseconds: 60_000), grace: 60))
        #expect(!contact.isWithinGrace(at: now, grace: 0))
    }
}
