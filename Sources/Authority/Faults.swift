// What goes on when the store or the clock fails: on a full disk and by a clock that was set back only what takes trust away, and after
// any failure nothing before memory and store agree again.

public import PKI

extension Authority {
    /// The one error that a failed commit comes to; from then on the store is asked before memory is believed.
    func failure(of error: any Error) -> AuthorityError {
        let failure =
            (error as? AuthorityError) ?? AuthorityError(.storage, "the store did not take the change", cause: String(describing: error))
        if failure.code == .storageUnavailable || failure.code == .storageFull { self.isInDoubt.store(true, ordering: .relaxed) }
        return failure
    }

    /// The state that a batch begins with: what is in memory, or, after a failure that may have left more in the store, what is there.
    func stateToBeginWith(_ reader: any StoreReader) throws -> AuthorityState {
        let state = self.state
        guard self.isInDoubt.load(ordering: .relaxed) else { return state }
        var stored = try AuthorityState(loading: reader, auditKey: self.seal.key)
        stored.profiles = state.profiles
        return stored
    }

    // MARK: A full disk

    private static let onlyVital = AuthorityError(.storageFull, "the disk is full; only revocations are taken until there is space again")

    /// Commits what must not wait, from the space set aside where that is needed, and refuses the rest, so that it cannot use that space up.
    func commitVital<Value: Sendable>(_ changes: [Change<Value>]) -> CommitReport<Value> {
        let vital = changes.filter(\.isVital)
        guard !vital.isEmpty else {
            return CommitReport(results: changes.map { _ in .failure(Self.onlyVital) }, events: [], wantsCRL: false)
        }
        var report = self.commitFromReserve(vital)
        var results = report.results.makeIterator()
        report.results = changes.map { ($0.isVital ? results.next() : nil) ?? .failure(Self.onlyVital) }
        return report
    }

    /// What a few changes need; for a large batch it is asked for again.
    private static let spaceForChanges: Int64 = 256 << 10

    private func commitFromReserve<Value: Sendable>(_ changes: [Change<Value>]) -> CommitReport<Value> {
        while true {
            do {
                return try self.commitTogether(changes)
            } catch {
                let failure = self.failure(of: error)
                // Ends with the last piece of what was set aside.
                if failure.code == .storageFull, self.store.giveUpSpace(Self.spaceForChanges) { continue }
                return self.commitSingly(changes, after: failure)
            }
        }
    }

    // MARK: The clock

    /// The time, and never before the last record's.
    public var now: UnixTime { max(self.clock.now, self.state.auditTime) }

    /// How far the clock stands before the last audit record, in seconds; 0 where that is no more than clocks do.
    public var secondsBehind: Int64 { self.state.secondsBehind(self.clock.now) }
}

extension AuthorityState {
    /// So much a clock may be set back without anybody's help, in seconds.
    private static let toleratedStep: Int64 = 300

    func secondsBehind(_ clockTime: UnixTime) -> Int64 {
        guard self.auditSequence > 0 else { return 0 }
        let (seconds, overflow) = self.auditTime.seconds.subtractingReportingOverflow(clockTime.seconds)
        return !overflow && seconds > Self.toleratedStep ? seconds : 0
    }

    /// - Throws: `refused` where the clock stands before the last audit record: either one was wrong, and only a person can know which.
    func checkClock(_ clockTime: UnixTime) throws {
        guard self.secondsBehind(clockTime) > 0 else { return }
        throw AuthorityError.refused(
            "Request refused: the clock stands at \(clockTime.rfc3339), before the last record (\(self.auditTime.rfc3339)); set it on the CA's host, or, where it is right, run: ca-ctl clock accept"
        )
    }
}

extension Commit {
    /// Takes the clock as right although the last record is from a later time: records, certificates and CRLs go on from here.
    public mutating func acceptClock() throws {
        let last = self.state.auditTime
        self.now = self.clockTime
        try self.audit(detail: "the clock is right at \(self.clockTime.rfc3339); the record before was made at \(last.rfc3339)")
        // The one that is published may be from a time that has not come yet.
        self.wantsCRL = true
    }
}
