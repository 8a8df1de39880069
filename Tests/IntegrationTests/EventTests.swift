// What the core tells its own programs: a heartbeat, and each change of status before the answer that it is for.
import Foundation
import Testing
import UPKIProtocol

extension IntegrationTests {
    @Suite("events")
    struct EventTests {
        @Test("heartbeats come every 25 ms, and the event of a revocation is out before its answer, with the next number")
        func events() throws {
            try withCA { ca in
                try ca.register()
                let serials = try ca.ask((0..<20).map { ("generate", ["cn": .string("host\($0).example.com")]) }).map {
                    $0.at("DATA", "serial") ?? .null
                }
                let story = try ca.place.peer("events.py", ["\(ca.port)", "\(ca.run)/events.sock"], input: .array(serials))
                // One second of listening; the machine may be busy, the bridge gives up after 75 ms.
                #expect((15...45).contains(story["beats"]?.integerValue ?? 0), "\(story.text)")
                let revocations = story["revocations"]?.arrayValue ?? []
                #expect(revocations.count == serials.count)
                for (revocation, serial) in zip(revocations, serials) {
                    #expect(revocation["answer"] == true)
                    let events = revocation["events"]?.arrayValue ?? []
                    #expect(events.count == 1 && events.first?["serial"] == serial, "\(revocation.text)")
                }
                let numbers = revocations.compactMap { $0["events"]?.arrayValue?.first?["sequence"]?.integerValue }
                #expect(zip(numbers, numbers.dropFirst()).allSatisfy { $1 == $0 + 1 }, "\(numbers)")
                let all = story["sequences"]?.arrayValue?.compactMap(\.integerValue) ?? []
                #expect(zip(all, all.dropFirst()).allSatisfy { $1 >= $0 })
                #expect(story["instances"]?.integerValue == 1)

                // The number goes on after a restart, so that a listener notices what it missed.
                try ca.killAndWait("serve")
                let again = try ca.place.peer("events.py", ["\(ca.port)", "\(ca.run)/events.sock"], input: [])
                #expect(again["sequences"]?.arrayValue?.last?.integerValue == numbers.last)
            }
        }
    }
}
