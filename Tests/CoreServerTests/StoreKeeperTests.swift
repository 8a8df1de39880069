// What the log says of faults: how often, and of a clock that was set.

import CoreServer
import Testing
import Threads

@Suite("Faults in the log")
struct FaultLogTests {
    @Test("one failure is said once, then once a minute with how many were like it; another one is said for itself")
    func failures() {
        let log = FailureLog()
        let start = MonotonicTime(nanoseconds: 1_000_000_000)
        #expect(log.admit("the disk is full", at: start) == 0)
        for second in 1...59 { #expect(log.admit("the disk is full", at: start.advanced(byMilliseconds: second * 1_000)) == nil) }
        #expect(log.admit("the store is locked", at: start.advanced(byMilliseconds: 5)) == 0)
        #expect(log.admit("the disk is full", at: start.advanced(byMilliseconds: 60_000)) == 59)
        #expect(log.admit("the disk is full", at: start.advanced(byMilliseconds: 60_001)) == nil)
        #expect(log.admit("the disk is full", at: start.advanced(byMilliseconds: 120_000)) == 1)
    }

    @Test("a clock that is set is told from one that goes on, whatever the time between two looks, and at the ends of numbers")
    func clock() {
        var watch = ClockWatch()
        #expect(watch.look(.init(wall: 1_000_000, sinceBoot: 50)) == nil)
        #expect(watch.look(.init(wall: 1_000_001, sinceBoot: 51)) == nil)
        // A machine that was asleep for a day.
        #expect(watch.look(.init(wall: 1_086_401, sinceBoot: 86_451)) == nil)
        #expect(watch.look(.init(wall: 1_086_461, sinceBoot: 86_452)) == nil)
        #expect(watch.look(.init(wall: 1_086_522, sinceBoot: 86_453)) == 60)
        #expect(watch.look(.init(wall: 1_000_000, sinceBoot: 86_454)) == -86_523)
        #expect(watch.look(.init(wall: 1_000_001, sinceBoot: 86_455)) == nil)
        #expect(watch.look(.init(wall: .min, sinceBoot: 86_456)) == nil)
        #expect(watch.look(.init(wall: .max, sinceBoot: 86_457)) == nil)
    }
}
