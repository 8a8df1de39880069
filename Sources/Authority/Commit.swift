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
    let run: @Sendable (inout Commit) throws -> Result

    /// - Parameters:
    ///   - needs: the role that the caller must still have when the change is committed.
    ///   - run: checks again what may have changed, writes, and audits; a refusal must come before the first write.
    public init(_ context: RequestContext, needs: Role, run: @escaping @Sendable (inout Commit) throws -> Result) {
        self.context = context
        self.needs = needs
        self.run = run
    }
}

/// The transaction that a change runs in.
public struct Commit {
    public let store: any StoreWriter
    /// The state as this and all earlier changes of the batch leave it.
    public internal(set) var state: AuthorityState
    public let now: UnixTime
    public let rules: Rules
    public internal(set) var actor: Actor
    let context: RequestContext
    var events: [Event] = []
    var followUps: [@Sendable () -> Void] = []
    var wantsCRL = false
    var auditCount = 0

    /// Appends one audit record of this change.
    public mutating func audit(target: String = "", serial: SerialNumber? = nil, detail: String = "", outcome: AuditRecord.Outcome = .done)
        throws
    {
        var record = AuditRecord(
            sequence: self.state.auditSequence + 1, time: self.now, requestID: self.context.id, identity: self.actor.identity,
            proof: self.actor.caller.proofText, task: self.context.task, outcome: outcome, target: Self.printable(target),
            serial: serial?.hexadecimal ?? "", detail: Self.printable(detail))
        record.hash = record.chained(to: self.state.auditHead)
        try self.store.append(record)
        self.state.auditSequence = record.sequence
        self.state.auditHead = record.hash
        self.auditCount += 1
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
}

extension Authority {
    /// Commits a batch; when this returns, every change that succeeded is on disk with its audit record.
    ///
    /// A batch that fails is rolled back and its changes are tried one by one, so that one bad change harms no other.
    /// To be called from one thread at a time.
    public func commit<Value: Sendable>(_ changes: [Change<Value>]) -> CommitReport<Value> {
        do {
            return try self.commitTogether(changes)
        } catch {
            let failure =
                (error as? AuthorityError)
                ?? AuthorityError(.storage, "the store did not take the change", cause: String(describing: error))
            // One by one only where the fault may be one change's: a store that is locked or full would be waited for again and again.
            guard changes.count > 1, failure.code != .storageUnavailable else {
                return CommitReport(results: changes.map { _ in .failure(failure) }, events: [], wantsCRL: false)
            }
            var report = CommitReport<Value>(results: [], events: [], wantsCRL: false)
            for change in changes {
                let single = self.commit([change])
                report.results += single.results
                report.events += single.events
                report.wantsCRL = report.wantsCRL || single.wantsCRL
            }
            return report
        }
    }

    private func commitTogether<Value: Sendable>(_ changes: [Change<Value>]) throws -> CommitReport<Value> {
        let now = self.clock.now
        let rules = self.rules
        let before = self.state
        var results: [Result<Value, any Error>] = []
        results.reserveCapacity(changes.count)
        let (after, events, followUps, wantsCRL) = try self.store.write { writer in
            var state = before
            var events: [Event] = []
            var followUps: [@Sendable () -> Void] = []
            var wantsCRL = false
            for change in changes {
                let actor = state.actor(change.context.caller, rules: rules, now: now)
                var commit = Commit(store: writer, state: state, now: now, rules: rules, actor: actor, context: change.context)
                let mark = writer.changeCount
                do {
                    try actor.require(change.needs, for: change.context.task)
                    let value = try change.run(&commit)
                    guard commit.auditCount > 0 else { throw AuthorityError(.storage, "a change came without an audit record") }
                    results.append(.success(value))
                    events += commit.events
                    followUps += commit.followUps
                    wantsCRL = wantsCRL || commit.wantsCRL
                } catch let refusal as AuthorityError where !refusal.isFailure {
                    // A refusal after a write would leave half a change behind: undo all, the changes then run one by one.
                    guard writer.changeCount == mark else {
                        throw AuthorityError(.storage, "a change was refused half-way", cause: refusal.detail)
                    }
                    commit = Commit(store: writer, state: state, now: now, rules: rules, actor: actor, context: change.context)
                    if self.refusalRecords.admit(change.context, refusal, now: now) {
                        try commit.audit(detail: "\(refusal.code.rawValue): \(refusal.detail)", outcome: .refused)
                    }
                    results.append(.failure(refusal))
                }
                state = commit.state
            }
            return (state, events, followUps, wantsCRL)
        }
        self.publish(after)
        for followUp in followUps { followUp() }
        return CommitReport(results: results, events: events, wantsCRL: wantsCRL)
    }
}
