// Which refusals get a record of their own and which are counted: enough to see who tries what, never so many that strangers fill the disk.

import PKI
import Synchronization

/// Refusals of the last minute, by who was refused what and why.
///
/// The first of a kind is recorded at once, its repeats are counted. Strangers share few kinds, since each of their addresses would be
/// one more; what is beyond is counted together. Memory is bounded whatever comes.
final class RefusalRecords: Sendable {
    /// One identity, task and reason.
    struct Kind: Hashable, Sendable {
        let identity: String
        let proof: String
        let task: String
        let code: AuthorityError.Code
        let isStranger: Bool

        init(_ actor: Actor, task: String, _ refusal: AuthorityError) {
            self.identity = actor.identity
            self.proof = actor.caller.proofText
            self.task = task
            self.code = refusal.code
            self.isStranger = actor.role == .anyone
        }
    }

    /// How often something happened that was not recorded each time.
    struct Tally: Sendable {
        /// Whether the first one has a record of its own, which is not counted here.
        var wasRecorded: Bool
        var count = 0
        var first: UnixTime
        var last: UnixTime
    }

    /// What did not find a place of its own, together.
    struct Others: Sendable {
        var tally: Tally
        /// Hashes of the proofs, as far as they are told apart.
        var origins: Set<Int> = []
    }

    /// What has been counted since a moment.
    struct Counts: Sendable {
        var begin: UnixTime?
        var tallies: [Kind: Tally] = [:]
        var strangers = 0
        var others: Others?
    }

    private let counts = Mutex(Counts())

    /// For how long is counted before it becomes a record, in seconds.
    private static let period: Int64 = 60
    /// Kinds of all strangers together in one period.
    static let strangerKinds = 16
    /// Kinds of nodes and the operator in one period.
    static let knownKinds = 1_000
    /// So many origins of the others are told apart.
    static let origins = 4_096

    /// Counts a refusal unless it is to be recorded.
    ///
    /// - Returns: false where it must be recorded, and nothing was counted.
    func count(_ kind: Kind, now: UnixTime) -> Bool {
        self.counts.withLock { counts in
            guard counts.tallies[kind] != nil || !counts.hasPlace(for: kind) else { return false }
            counts.add(kind, now: now)
            return true
        }
    }

    /// Whether this refusal is to be recorded now; where it is not, it was counted.
    func admit(_ kind: Kind, now: UnixTime) -> Bool {
        self.counts.withLock { counts in
            guard counts.tallies[kind] == nil, counts.hasPlace(for: kind) else {
                counts.add(kind, now: now)
                return false
            }
            if counts.begin == nil { counts.begin = now }
            counts.tallies[kind] = Tally(wasRecorded: true, first: now, last: now)
            if kind.isStranger { counts.strangers += 1 }
            return true
        }
    }

    /// The records of these were undone with their transaction.
    func takeBack(_ kinds: [Kind]) {
        guard !kinds.isEmpty else { return }
        self.counts.withLock { counts in
            for kind in kinds {
                guard let tally = counts.tallies[kind] else { continue }
                if tally.count == 0 { counts.remove(kind) } else { counts.tallies[kind]?.wasRecorded = false }
            }
        }
    }

    /// Whether counts are old enough to become records; a clock that went back makes them so as well.
    func isDue(_ now: UnixTime) -> Bool {
        guard let begin = self.counts.withLock({ $0.begin }) else { return false }
        return now < begin || begin.advanced(bySeconds: Self.period) <= now
    }

    var current: Counts { self.counts.withLock { $0 } }

    /// The records of `written` are on disk: only what came since counts on.
    func settle(_ written: Counts) { self.counts.withLock { $0.subtract(written) } }
}

extension RefusalRecords.Counts {
    func hasPlace(for kind: RefusalRecords.Kind) -> Bool {
        kind.isStranger
            ? self.strangers < RefusalRecords.strangerKinds : self.tallies.count - self.strangers < RefusalRecords.knownKinds
    }

    mutating func add(_ kind: RefusalRecords.Kind, now: UnixTime) {
        if self.begin == nil { self.begin = now }
        if self.tallies[kind] != nil {
            self.tallies[kind]?.add(now)
            return
        }
        var others = self.others ?? RefusalRecords.Others(tally: .init(wasRecorded: false, first: now, last: now))
        others.tally.add(now)
        if others.origins.count < RefusalRecords.origins { others.origins.insert(kind.proof.hashValue) }
        self.others = others
    }

    mutating func remove(_ kind: RefusalRecords.Kind) {
        if self.tallies.removeValue(forKey: kind) != nil, kind.isStranger { self.strangers -= 1 }
    }

    mutating func subtract(_ written: RefusalRecords.Counts) {
        for (kind, old) in written.tallies {
            guard let tally = self.tallies[kind] else { continue }
            if tally.count > old.count {
                self.tallies[kind] = .init(wasRecorded: false, count: tally.count - old.count, first: old.last, last: tally.last)
            } else {
                self.remove(kind)
            }
        }
        if let old = written.others, let others = self.others {
            let rest = others.tally.count - old.tally.count
            self.others =
                rest > 0
                ? .init(
                    tally: .init(wasRecorded: false, count: rest, first: old.tally.last, last: others.tally.last), origins: others.origins)
                : nil
        }
        self.begin = self.tallies.values.map(\.first).min() ?? self.others?.tally.first
    }
}

extension RefusalRecords.Tally {
    mutating func add(_ now: UnixTime) {
        // A counter that would overflow has said enough.
        self.count = min(self.count, Int.max - 1) + 1
        self.last = now
    }

    /// `3 more times between … and …`.
    var words: String { "\(self.count) \(self.wasRecorded ? "more " : "")times between \(self.first.rfc3339) and \(self.last.rfc3339)" }
}

extension Authority {
    /// Counts a refusal that needs no record of its own: a repeat, or one of too many strangers. It may be answered at once.
    ///
    /// - Returns: false where it must go through `commit`, which records it before it is answered.
    public func count(_ refusal: AuthorityError, of context: RequestContext) -> Bool {
        guard !refusal.isFailure else { return false }
        let now = self.clock.now
        let actor = self.state.actor(context.caller, rules: self.rules, now: now)
        return self.refusalRecords.count(.init(actor, task: context.task, refusal), now: now)
    }

    /// Whether a minute of counted refusals waits to become records.
    public var refusalsAreDue: Bool { self.refusalRecords.isDue(self.clock.now) }
}

extension Commit {
    /// Writes what was counted since the last time: one record for each identity, task and reason, and one for all others.
    public mutating func recordRefusals(in authority: Authority) throws {
        self.isHousekeeping = true
        let counts = authority.refusalRecords.current
        let repeated = counts.tallies.filter { $0.value.count > 0 }.sorted {
            ($0.value.first, $0.key.identity, $0.key.task, $0.key.code.rawValue)
                < ($1.value.first, $1.key.identity, $1.key.task, $1.key.code.rawValue)
        }
        for (kind, tally) in repeated {
            try self.append(
                identity: kind.identity, proof: kind.proof, task: kind.task, outcome: .refused,
                detail: "\(kind.code.rawValue): \(tally.words)")
        }
        if let others = counts.others {
            let many = others.origins.count < RefusalRecords.origins ? "" : "at least "
            try self.append(
                identity: "others", proof: "\(many)\(others.origins.count) origins", task: "refusals", outcome: .refused,
                detail: "refusals of all kinds beyond those told apart: \(others.tally.words)")
        }
        self.followUps.append { authority.refusalRecords.settle(counts) }
    }
}
