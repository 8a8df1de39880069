// What is done for the store beside the request path, and what the log says of faults: once for each change, not once for each request.

import Authority
import Glibc
import Logging
import PKI
import SQLiteStore
import Synchronization
package import Threads

/// Checkpoints, the space set aside, the clock: looked at twice a second by a thread that neither reads nor writes.
struct StoreKeeper {
    private let opened: OpenedAuthority
    private let log: Logger
    private let giveUp: (String) -> Void
    private var looks = 0
    private var checkpointFault: String?
    private var isShort = false
    private var isBehind = false
    private var clock = ClockWatch()

    /// Space that comes and goes within this many looks is not noticed.
    private static let looksPerRefill = 4

    /// - Parameter giveUp: ends the process in order, with this reason.
    init(opened: OpenedAuthority, log: Logger, giveUp: @escaping (String) -> Void) {
        self.opened = opened
        self.log = log
        self.giveUp = giveUp
        _ = self.clock.look(.now)
    }

    mutating func look() {
        self.looks += 1
        self.checkpoint()
        self.lookAtSpace()
        self.lookAtClock()
    }

    private mutating func checkpoint() {
        let store = self.opened.store
        do {
            try store.checkpoint()
            if self.checkpointFault != nil { self.log.notice("the store's log is copied back again") }
            self.checkpointFault = nil
        } catch {
            let fault = (error as? AuthorityError)?.detail ?? "\(error)"
            if fault != self.checkpointFault {
                let cause = (error as? AuthorityError)?.cause ?? ""
                self.log.error("the store's log could not be copied back: \(fault)", metadata: ["cause": "\(cause)"])
            }
            self.checkpointFault = fault
        }
        if store.hasLostLog {
            self.giveUp(
                "the store's log (ca.sqlite-wal) was removed while it was in use; what was acknowledged is in the database, and the CA has to start anew"
            )
        }
    }

    private mutating func lookAtSpace() {
        let store = self.opened.store
        if store.isShortOfSpace, self.looks % Self.looksPerRefill == 0 { store.refillReserve() }
        let isShort = store.isShortOfSpace
        guard isShort != self.isShort else { return }
        self.isShort = isShort
        if isShort {
            self.log.error(
                "the disk is full: the space set aside is in use, and only revocations are taken; make room on the file system of the data directory",
                metadata: ["event": "store-fault", "free_bytes": "\(store.freeBytes ?? 0)"])
        } else {
            self.log.notice("there is space again: the space set aside is whole, and everything is taken")
        }
    }

    private mutating func lookAtClock() {
        if let jump = self.clock.look(.now) {
            let direction = jump < 0 ? "back" : "forward"
            self.log.warning("the clock was set \(direction) by \(abs(jump)) s", metadata: ["event": "clock-fault"])
        }
        let seconds = self.opened.authority.secondsBehind
        guard (seconds > 0) != self.isBehind else { return }
        self.isBehind = seconds > 0
        if self.isBehind {
            self.log.error(
                "the clock stands \(seconds) s before the last audit record, and only revocations are taken; set it, or, where it is right, run: ca-ctl clock accept",
                metadata: ["event": "clock-fault"])
        } else {
            self.log.notice("the clock is past the last audit record again, and everything is taken")
        }
    }
}

/// Tells a clock that was set from one that goes on.
package struct ClockWatch {
    /// Two clocks of the machine at one moment, in seconds.
    package struct Reading {
        package var wall: Int64
        /// Goes on evenly, also while the machine sleeps.
        package var sinceBoot: Int64

        package init(wall: Int64, sinceBoot: Int64) {
            self.wall = wall
            self.sinceBoot = sinceBoot
        }

        static var now: Self {
            var time = timespec()
            clock_gettime(CLOCK_BOOTTIME, &time)
            return Self(wall: SystemClock().now.seconds, sinceBoot: Int64(time.tv_sec))
        }
    }

    private var last: Reading?

    /// Less is what time services do by themselves, in seconds.
    private static let notable: Int64 = 60

    package init() {}

    /// - Returns: by how many seconds the clock was set since the last look; nil where it was not.
    package mutating func look(_ reading: Reading) -> Int64? {
        defer { self.last = reading }
        guard let last = self.last else { return nil }
        let (wall, overflow) = reading.wall.subtractingReportingOverflow(last.wall)
        guard !overflow else { return nil }
        let jump = wall.subtractingReportingOverflow(reading.sinceBoot - last.sinceBoot).partialValue
        return jump.magnitude >= UInt64(Self.notable) ? jump : nil
    }
}

/// Says each failure once and then once a minute with how many were like it: what stands in the way of all requests fills no log.
package final class FailureLog: Sendable {
    private struct Said {
        var at: MonotonicTime
        var unsaid: Int
    }
    private let said = Mutex<[String: Said]>([:])

    private static let pause = 60_000
    /// Different failures that are remembered.
    private static let kinds = 100

    package init() {}

    /// - Returns: how many like it were not logged since the last one that was; nil where this one is not to be logged.
    package func admit(_ failure: String, at now: MonotonicTime) -> Int? {
        self.said.withLock { said in
            guard var entry = said[failure] else {
                if said.count >= Self.kinds { said = [:] }
                said[failure] = Said(at: now, unsaid: 0)
                return 0
            }
            guard entry.at.milliseconds(until: now) >= Self.pause else {
                entry.unsaid += 1
                said[failure] = entry
                return nil
            }
            said[failure] = Said(at: now, unsaid: 0)
            return entry.unsaid
        }
    }
}
