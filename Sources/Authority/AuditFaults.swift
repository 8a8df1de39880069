// A fault of the audit log: looked for at each start, kept until the operator acknowledges it, and never signed over in silence.

import PKI

extension AuditRecord {
    /// The task of a record that acknowledges a fault.
    static let acknowledging = "acknowledge_audit"
}

extension Authority {
    /// Looks, in a moment, whether the end of the audit log can be right; to be called before anything is committed.
    ///
    /// Only the newest checkpoint and what it covers: `verifyAudit` walks the whole log.
    /// - Returns: what is wrong; nil where nothing is seen.
    public func auditFaultAtStart() throws -> String? {
        try self.store.read { reader in
            guard let last = try reader.lastAuditRecord() else {
                return try reader.lastAuditCheckpoint().map { "the log is empty, but checkpoint \($0.number) covers record \($0.sequence)" }
            }
            guard let checkpoint = try reader.lastAuditCheckpoint() else {
                return "there is no checkpoint at all: they were removed, or an earlier version wrote this log"
            }
            guard self.seal.key.signed(checkpoint) else { return "checkpoint \(checkpoint.number) is not signed by this CA's audit key" }
            guard checkpoint.sequence <= last.sequence else {
                return
                    "the log is cut off after record \(last.sequence): checkpoint \(checkpoint.number) covers record \(checkpoint.sequence)"
            }
            let next = try reader.auditRecords(after: checkpoint.sequence - 1, limit: 2)
            guard let covered = next.first, covered.sequence == checkpoint.sequence else {
                return "record \(checkpoint.sequence), which checkpoint \(checkpoint.number) covers, is missing"
            }
            guard covered.hash == checkpoint.head else { return AuditFault.rewritten(1, checkpoint, "").words }
            guard next.count > 1, next[1].time.advanced(bySeconds: AuditWalk.longestOpen) < last.time else { return nil }
            return "no checkpoint covers record \(next[1].sequence), though records were written for more than a minute after it"
        }
    }
}

extension Commit {
    /// Keeps a fault that was found, for `status` and for whoever reads the log.
    public mutating func markAuditFault(_ words: String) throws {
        try self.audit(detail: "AUDIT FAULT: \(words)")
        // The first one stands until it is acknowledged: what comes later may follow from it.
        guard self.state.auditFault == nil else { return }
        let fault = "found at \(self.now.rfc3339): \(words)"
        try self.store.set(.auditFault, fault)
        self.state.auditFault = fault
    }

    /// The operator knows of the fault: the log is taken as good from this record on.
    public mutating func acknowledgeAuditFault(reason: String) throws {
        guard let fault = self.state.auditFault else {
            throw AuthorityError.refused("Request refused: no fault of the audit log waits to be acknowledged; see: ca-ctl audit verify")
        }
        try self.audit(detail: "\(reason); the fault \(fault)")
        try self.store.set(.auditFault, "")
        try self.store.set(.auditAcknowledgement, String(self.state.auditSequence))
        self.state.auditFault = nil
        try self.checkpoint()
    }
}
