// The serial numbers that ca-core is asked for, each once however many requests wait for it.
internal import RevocationFormats
internal import Threads

/// A request and what it still waits for.
final class LookupWaiter {
    let request: WaitingRequest
    fileprivate(set) var told: [OCSPSerial: ToldStatus] = [:]
    fileprivate var missing: Int
    fileprivate(set) var isDone = false

    fileprivate init(_ request: WaitingRequest) {
        self.request = request
        missing = request.serials.count
    }
}

/// One serial number that is asked for.
final class Lookup {
    let serial: OCSPSerial
    fileprivate var waiters: [LookupWaiter] = []
    fileprivate(set) var isSent = false
    /// How often what came for it was too old to go by.
    var repeats = 0

    fileprivate init(_ serial: OCSPSerial) { self.serial = serial }
}

/// Requests that wait for ca-core. It has no clock and no socket; the core's thread owns it.
struct Lookups {
    /// How long a request waits that nothing else is known for, and one that something kept may do for; milliseconds.
    static let patience = 1_000
    static let patienceInDoubt = 500

    private var open: [OCSPSerial: Lookup] = [:]
    private var unsent = RingQueue<Lookup>()
    // Each in the order of their deadlines, or nearly: requests come from several event loops.
    private var waiting = RingQueue<LookupWaiter>()
    private var doubting = RingQueue<LookupWaiter>()
    /// Until then nobody could be heard: patience begins with it at the earliest.
    private var deafUntil = MonotonicTime(nanoseconds: 0)

    var hasUnsent: Bool { !unsent.isEmpty }

    var nextDeadline: MonotonicTime? {
        [waiting.first, doubting.first].compactMap { $0.map(deadline) }.min()
    }

    private func deadline(_ waiter: LookupWaiter) -> MonotonicTime {
        max(waiter.request.arrival, deafUntil).advanced(byMilliseconds: waiter.request.isDoubt ? Self.patienceInDoubt : Self.patience)
    }

    /// The process stood still until now: every request that waits has its whole patience before it.
    mutating func stoodStill(until now: MonotonicTime) { deafUntil = now }

    mutating func add(_ request: WaitingRequest) {
        let waiter = LookupWaiter(request)
        if request.isDoubt { doubting.append(waiter) } else { waiting.append(waiter) }
        for serial in request.serials {
            // In doubt only an answer will do that was asked for after the request came: no event tells what changed meanwhile.
            if let lookup = open[serial], !(request.isDoubt && lookup.isSent) {
                lookup.waiters.append(waiter)
            } else {
                let lookup = Lookup(serial)
                lookup.waiters.append(waiter)
                open[serial] = lookup
                unsent.append(lookup)
            }
        }
    }

    /// What is to be asked next, at most so many.
    mutating func takeUnsent(_ limit: Int) -> [Lookup] {
        var taken: [Lookup] = []
        while taken.count < limit, let lookup = unsent.popFirst() {
            lookup.waiters.removeAll { $0.isDone }
            guard !lookup.waiters.isEmpty else {
                forget(lookup)
                continue
            }
            lookup.isSent = true
            taken.append(lookup)
        }
        return taken
    }

    /// What was asked has to be asked again.
    mutating func askAgain(_ lookups: [Lookup]) {
        for lookup in lookups {
            lookup.isSent = false
            unsent.append(lookup)
        }
    }

    /// ca-core has told a status; returns the requests that wait for nothing more.
    mutating func tell(_ lookup: Lookup, _ told: ToldStatus) -> [LookupWaiter] {
        forget(lookup)
        var finished: [LookupWaiter] = []
        for waiter in lookup.waiters where !waiter.isDone {
            waiter.told[lookup.serial] = told
            waiter.missing -= 1
            if waiter.missing == 0 {
                waiter.isDone = true
                finished.append(waiter)
            }
        }
        return finished
    }

    /// ca-core has refused to tell: ends the requests that wait for it.
    mutating func giveUp(_ lookup: Lookup) -> [LookupWaiter] {
        forget(lookup)
        return lookup.waiters.filter { $0.end() }
    }

    /// Ends the requests whose patience is over; with `allInDoubt` also every one that something kept may do for.
    mutating func expire(at now: MonotonicTime, allInDoubt: Bool) -> [LookupWaiter] {
        var ended: [LookupWaiter] = []
        while let first = waiting.first, first.isDone || deadline(first) <= now {
            waiting.popFirst()
            if first.end() { ended.append(first) }
        }
        while let first = doubting.first, first.isDone || allInDoubt || deadline(first) <= now {
            doubting.popFirst()
            if first.end() { ended.append(first) }
        }
        return ended
    }

    private mutating func forget(_ lookup: Lookup) {
        if open[lookup.serial] === lookup { open[lookup.serial] = nil }
    }
}

extension LookupWaiter {
    /// Whether this call ended it.
    fileprivate func end() -> Bool {
        guard !isDone else { return false }
        isDone = true
        return true
    }
}
