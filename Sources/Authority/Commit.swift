// How anything changes: a batch of changes, each checked again against the latest state, audited, and committed once.

public import PKI

/// What ties a request to its log line, its audit record and its answer.
public struct RequestContext: Sendable {
    public let id: String
    public let task: String
    public let caller: Caller

    public init(id: String, task: String, caller: Caller) {
        self.id = id
        self.task = task
        self.caller = caller
    }
}

/// One change that waits for the writer.
public struct Change<Result: Sendable>: Sendable {
    let context: RequestContext
    let needs: Role
    /// Whether it goes on where others are refused: on a full disk, and by a clock that stands before the last record.
    let isVital: Bool
    let run: @Sendable (inout Commit) throws -> Result

    /// - Parameters:
    ///   - needs: the role that the caller must still have when the change is committed.
    ///   - isVital: for what takes trust away, and what is needed to publish that.
    ///   - run: checks again what may have changed, writes, and audits; a refusal must come before the first write.
    public init(
        _ context: RequestContext, needs: Role, isVital: Bool = false, run: @escaping @Sendable (inout Commit) throws -> Result
    ) {
        self.context = context
        self.needs = needs
        self.isVital = isVital
        self.run = run
    }
}

/// The transaction that a change runs in.
public struct Commit {
    public let store: any StoreWriter
    /// The state as this and all earlier changes of the batch leave it.
    public internal(set) var state: AuthorityState
    /// The time, and never before the last record's: a clock that was set back makes no record that seems older than the one before it.
    public internal(set) var now: UnixTime
    /// What the clock says.
    let clockTime: UnixTime
    public let rules: Rules
    public internal(set) var actor: Actor
    let context: RequestContext
    var events: [Event] = []
    var followUps: [@Sendable () -> Void] = []
    var wantsCRL = false
    var auditCount = 0
    var records: [AuditRecord] = []
    /// What signs the audit log.
    let seal: AuditSeal
    /// Whether this change may come without a record, since it changes nothing but the log.
    var isHousekeeping = false

    /// Appends one audit record of this change.
    public mutating func audit(target: String = "", serial: SerialNumber? = nil, detail: String = "", outcome: AuditRecord.Outcome = .done)
        throws
    {
        try self.append(
            identity: self.actor.identity, proof: self.actor.caller.proofText, task: self.context.task, outcome: outcome, target: target,
            serial: serial, detail: detail)
    }

    /// Appends one audit record, of whoever it is about.
    mutating func append(
        identity: String, proof: String, task: String, outcome: AuditRecord.Outcome, target: String = "", serial: SerialNumber? = nil,
        detail: String
    ) throws {
        var record = AuditRecord(
            sequence: self.state.auditSequence + 1, time: self.now, requestID: self.context.id, identity: identity, proof: proof,
            task: task, outcome: outcome, target: Self.printable(target), serial: serial?.hexadecimal ?? "",
            detail: Self.printable(detail))
        record.hash = record.chained(to: self.state.auditHead)
        try self.store.append(record)
        self.state.auditSequence = record.sequence
        self.state.auditHead = record.hash
        self.state.auditTime = record.time
        if self.state.openSince == nil { self.state.openSince = record.time }
        self.auditCount += 1
        self.records.append(record)
    }

    /// What a client wrote must not fill the disk, steer a reader's terminal, or be cut at a NUL by a store, so that its hash no longer fits.
    private static func printable(_ text: String) -> String {
        // Nearly every text is short ASCII and stays as it is.
        if text.utf8.count <= 2_000, text.utf8.allSatisfy({ (0x20..<0x7f).contains($0) }) { return text }
        var line = String.UnicodeScalarView()
        for scalar in text.unicodeScalars.prefix(2_000) { line.append(NameRules.isForbidden(scalar) ? "?" : scalar) }
        return String(line)
    }

    /// The number for an event of this commit.
    mutating func nextEventSequence() throws -> Int64 {
        self.state.eventSequence += 1
        try self.store.set(.eventSequence, String(self.state.eventSequence))
        return self.state.eventSequence
    }
}

/// What came of a batch.
public struct CommitReport<Value: Sendable>: Sendable {
    /// One result for each change, in order.
    public var results: [Result<Value, any Error>]
    /// What others must hear, before any answer goes out.
    public var events: [Event]
    /// Whether a new CRL should be published soon.
    public var wantsCRL: Bool
    /// What was written into the audit log.
    public var records: [AuditRecord] = []
    /// How many transactions were committed: one, or one for each change where they were tried one by one.
    public var commits = 0
    /// How many rows they wrote.
    public var rows = 0
}

extension Authority {
    /// Commits a batch; when this returns, every change that succeeded is on disk with its audit record.
    ///
    /// A batch that fails is rolled back and its changes are tried one by one, so that one bad change harms no other.
    /// To be called from one thread at a time.
    public func commit<Value: Sendable>(_ changes: [Change<Value>]) -> CommitReport<Value> {
        guard !self.store.isShortOfSpace else { return self.commitVital(changes) }
        do {
            return try self.commitTogether(changes)
        } catch {
            let failure = self.failure(of: error)
            if failure.code == .storageFull { return self.commitVital(changes) }
            return self.commitSingly(changes, after: failure)
        }
    }

    /// One by one only where the fault may be one change's: a store that is locked or failing would be waited for again and again.
    func commitSingly<Value: Sendable>(_ changes: [Change<Value>], after failure: AuthorityError) -> CommitReport<Value> {
        guard changes.count > 1, failure.code == .storage else {
            return CommitReport(results: changes.map { _ in .failure(failure) }, events: [], wantsCRL: false)
        }
        var report = CommitReport<Value>(results: [], events: [], wantsCRL: false)
        for change in changes {
            let single = self.commit([change])
            report.results += single.results
            report.events += single.events
            report.wantsCRL = report.wantsCRL || single.wantsCRL
            report.records += single.records
            report.commits += single.commits
            report.rows += single.rows
        }
        return report
    }

    func commitTogether<Value: Sendable>(_ changes: [Change<Value>]) throws -> CommitReport<Value> {
        var recorded: [RefusalRecords.Kind] = []
        let (batch, rows): (Batch<Value>, Int)
        do {
            (batch, rows) = try self.store.write { writer in
                let start = writer.changeCount
                return (try self.run(changes, in: writer, recorded: &recorded), writer.changeCount - start)
            }
        } catch {
            self.refusalRecords.takeBack(recorded)
            throw error
        }
        self.publish(batch.state)
        self.isInDoubt.store(false, ordering: .relaxed)
        for followUp in batch.followUps { followUp() }
        return CommitReport(
            results: batch.results, events: batch.events, wantsCRL: batch.wantsCRL, records: batch.records, commits: 1, rows: rows)
    }

    /// Runs a batch in one transaction.
    ///
    /// - Parameter recorded: takes the refusals that get records, for when the transaction is undone.
    private func run<Value: Sendable>(
        _ changes: [Change<Value>], in writer: any StoreWriter, recorded: inout [RefusalRecords.Kind]
    ) throws -> Batch<Value> {
        let clockTime = self.clock.now
        let rules = self.rules
        var batch = Batch<Value>(state: try self.stateToBeginWith(writer))
        if batch.state.eventSequence > self.state.eventSequence {
            // Whoever repeats a change that seemed to fail changes nothing more, and must not be answered before others heard of it.
            batch.events.append(.missed(sequence: batch.state.eventSequence))
            batch.wantsCRL = true
        }
        batch.results.reserveCapacity(changes.count)
        if batch.state.mustSeal(max(clockTime, batch.state.auditTime)) { try self.seal(&batch, writer, clockTime) }
        for change in changes {
            let now = max(clockTime, batch.state.auditTime)
            let actor = batch.state.actor(change.context.caller, rules: rules, now: now)
            var commit = Commit(
                store: writer, state: batch.state, now: now, clockTime: clockTime, rules: rules, actor: actor, context: change.context,
                seal: self.seal)
            let mark = writer.changeCount
            do {
                if !change.isVital { try batch.state.checkClock(clockTime) }
                try actor.require(change.needs, for: change.context.task)
                let value = try change.run(&commit)
                guard commit.auditCount > 0 || commit.isHousekeeping else {
                    throw AuthorityError(.storage, "a change came without an audit record")
                }
                batch.results.append(.success(value))
                batch.events += commit.events
                batch.followUps += commit.followUps
                batch.wantsCRL = batch.wantsCRL || commit.wantsCRL
            } catch let refusal as AuthorityError where !refusal.isFailure {
                // A refusal after a write would leave half a change behind: undo all, the changes then run one by one.
                guard writer.changeCount == mark else {
                    throw AuthorityError(.storage, "a change was refused half-way", cause: refusal.detail)
                }
                commit = Commit(
                    store: writer, state: batch.state, now: now, clockTime: clockTime, rules: rules, actor: actor, context: change.context,
                    seal: self.seal)
                let kind = RefusalRecords.Kind(actor, task: change.context.task, refusal)
                if self.refusalRecords.admit(kind, now: now) {
                    recorded.append(kind)
                    try commit.audit(detail: "\(refusal.code.rawValue): \(refusal.detail)", outcome: .refused)
                }
                batch.results.append(.failure(refusal))
            }
            batch.state = commit.state
            batch.records += commit.records
        }
        // A log without a checkpoint proves nothing: the first records bring the first one.
        if batch.state.checkpointNumber == 0, batch.state.auditSequence > 0 { try self.seal(&batch, writer, clockTime) }
        return batch
    }

    /// Makes a checkpoint of what stands so far.
    private func seal<Value>(_ batch: inout Batch<Value>, _ writer: any StoreWriter, _ clockTime: UnixTime) throws {
        let now = max(clockTime, batch.state.auditTime)
        guard let checkpoint = try batch.state.seal(self.seal, in: writer, now: now) else { return }
        let signer = self.seal.signer
        batch.followUps.append { signer.announce(checkpoint) }
    }
}

/// A batch as its changes leave it.
private struct Batch<Value: Sendable> {
    var state: AuthorityState
    var results: [Result<Value, any Error>] = []
    var events: [Event] = []
    var followUps: [@Sendable () -> Void] = []
    var wantsCRL = false
    var records: [AuditRecord] = []
}
