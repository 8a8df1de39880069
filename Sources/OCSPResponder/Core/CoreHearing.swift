// What the responder knows of ca-core's events: whether it misses any, since when it hears them, and whether the core is there at all.
package import Threads

/// Follows the numbers on events.sock. It has no clock and no socket: what happened is told to it, what follows is returned.
package struct CoreHearing: Sendable {
    /// What follows from a message or a loss.
    package enum Consequence: Sendable, Equatable {
        /// Nothing was missed.
        case nothing
        /// Statuses may have changed unheard: everything kept is worthless.
        case drop(String)
        /// The event was heard before.
        case ignore
    }

    /// The core process that is heard, as it names itself.
    package private(set) var instance: String?
    /// The number of the last event that went out before what was heard last of this process; nil while nothing was.
    package private(set) var sequence: Int64?
    /// Statuses read at this number or later miss no event that is not heard; nil while nothing is heard.
    package private(set) var since: Int64?
    package private(set) var lastHeartbeat: MonotonicTime?

    package init() {}

    /// ca-core has greeted on the other socket.
    package mutating func greeted(instance: String?) -> Consequence {
        guard instance != self.instance else { return .nothing }
        let isFirst = self.instance == nil
        self.instance = instance
        sequence = nil
        since = nil
        return isFirst ? .nothing : .drop("ca-core was started again")
    }

    /// A heartbeat, which names the last event that went out.
    package mutating func heartbeat(instance: String, sequence: Int64, at now: MonotonicTime) -> Consequence {
        defer { lastHeartbeat = now }
        return follow(instance, sequence, mayStay: true)
    }

    /// An event with a number of its own.
    package mutating func event(instance: String, sequence: Int64) -> Consequence {
        follow(instance, sequence, mayStay: false)
    }

    private mutating func follow(_ instance: String, _ sequence: Int64, mayStay: Bool) -> Consequence {
        let isFirst = self.instance == nil
        let isAnother = instance != self.instance
        let before = self.sequence
        if !isAnother, !mayStay, sequence == before, since != nil { return .ignore }
        self.instance = instance
        self.sequence = sequence
        guard !isAnother else {
            since = sequence
            return isFirst ? .nothing : .drop("ca-core was started again")
        }
        guard let before else {
            since = sequence
            return .nothing
        }
        // Also between two connections: where the number is the expected one nothing was missed.
        if sequence == (mayStay ? before : before &+ 1) {
            since = since ?? sequence
            return .nothing
        }
        since = sequence
        return .drop("not all events from \(before) to \(sequence) were heard")
    }

    /// The connection that events come by is gone.
    package mutating func connectionLost() {
        since = nil
        lastHeartbeat = nil
    }

    /// Whether a status that the core read at this number may be kept: every later change of it will be heard.
    package func mayKeep(readAt sequence: Int64, by instance: String?) -> Bool {
        guard let since, instance == self.instance else { return false }
        return sequence >= since
    }
}

/// What may be done with what is kept.
package enum Liveness: String, Sendable, Equatable {
    /// ca-core was heard just now: what is kept is what it would say.
    case live
    /// It was not, but it may answer: each request asks.
    case ask
    /// It is not there, or does not answer.
    case away
}

/// What the core's thread knows of the core, for the event loops to read.
package struct CoreContact: Sendable, Equatable {
    /// After that time without a heartbeat what is kept is no longer live: three heartbeats.
    package static let heartbeatLimit: UInt64 = 75_000_000

    /// When the last heartbeat came that no event is missing before; nil where none did.
    package var lastHeartbeat: MonotonicTime?
    /// The same moment in seconds since 1970.
    package var lastHeartbeatTime: Int64
    /// Greeted, and not silent while questions wait.
    package var answers: Bool
    /// The time of the last heartbeat of all, for what may be served while the core is away.
    package var lastHeard: MonotonicTime?

    package init(lastHeartbeat: MonotonicTime? = nil, lastHeartbeatTime: Int64 = 0, answers: Bool = false, lastHeard: MonotonicTime? = nil)
    {
        self.lastHeartbeat = lastHeartbeat
        self.lastHeartbeatTime = lastHeartbeatTime
        self.answers = answers
        self.lastHeard = lastHeard
    }

    package func liveness(at now: MonotonicTime) -> Liveness {
        if let lastHeartbeat, lastHeartbeat.nanoseconds(until: now) < Self.heartbeatLimit { return .live }
        return answers ? .ask : .away
    }

    /// Whether a kept `good` may be served while the core is away.
    /// - Parameter grace: `ocsp.offline_grace` in seconds.
    package func isWithinGrace(at now: MonotonicTime, grace: Int64) -> Bool {
        guard let lastHeard else { return false }
        return lastHeard.nanoseconds(until: now) / 1_000_000_000 < UInt64(max(0, grace))
    }
}
