// verify_audit, compare_checkpoints, audit_checkpoint, acknowledge_audit: whether the audit log is whole, and proving it later.

public import Authority
import PKI
public import UPKIProtocol

extension Task {
    private static func local(_ name: String, changes: Bool = false, run: @escaping @Sendable (Call) throws -> Step) -> Task {
        Task(name, role: .local, on: [.admin], changes: changes, run: run)
    }

    private static func remote(_ name: String, changes: Bool = false, run: @escaping @Sendable (Call) throws -> Step) -> Task {
        Task(name, role: .local, on: [.admin], changes: changes, isRemote: true, run: run)
    }

    /// Walks the log, all of it or a page; a fault stays in the store until it is acknowledged.
    static let verifyAudit = remote("verify_audit") { call in
        let limit = try call.parameters.optionalInteger("limit", in: 1...1_000_000).map { Int($0) }
        let position = try call.parameters.optionalString("position").map { text in
            guard let position = AuditWalk.Position(text: text) else { throw Parameters.wrong("position", "is the rest of an answer") }
            return position
        }
        return .elsewhere(.publisher) {
            let verdict = try call.authority.verifyAudit(from: position, limit: limit)
            return call.report(verdict.fault, Describe.verdict(verdict, records: call.authority.state.auditSequence))
        }
    }

    /// Holds checkpoints that were kept elsewhere against the log.
    static let compareCheckpoints = remote("compare_checkpoints") { call in
        guard let lines = try call.parameters.optionalStrings("checkpoints", atMost: 2_000), !lines.isEmpty else {
            throw Refusal(.missingParameter, "Missing checkpoints parameter")
        }
        let checkpoints = try lines.map { line in
            guard let checkpoint = AuditCheckpoint(line: line) else {
                throw Parameters.wrong("checkpoints", "is a list of lines as audit_checkpoint gives them; '\(line.prefix(60))' is none")
            }
            return checkpoint
        }
        return .elsewhere(.publisher) {
            let comparison = try call.authority.compare(checkpoints)
            return call.report(comparison.isOfTheLog ? comparison.fault : nil, Describe.comparison(comparison, of: checkpoints.count))
        }
    }

    /// The newest checkpoint, made now where there are records that none covers.
    static let auditCheckpoint = remote("audit_checkpoint") { call in
        call.change(needs: .local, isVital: true) { commit in
            try commit.checkpoint()
            guard let checkpoint = try commit.store.lastAuditCheckpoint() else {
                throw AuthorityError(.notFound, "Checkpoint not found: the audit log is empty")
            }
            return [
                ("line", .string(checkpoint.line)), ("number", .integer(checkpoint.number)), ("record", .integer(checkpoint.sequence)),
                ("time", .string(checkpoint.time.rfc3339)), ("hash", .string(Hexadecimal.encode(checkpoint.head))),
            ].json
        }
    }

    static let acknowledgeAudit = local("acknowledge_audit", changes: true) { call in
        let reason = try call.parameters.string("reason")
        return call.change(needs: .local) { commit in
            try commit.acknowledgeAuditFault(reason: reason)
            return true
        }
    }
}

extension Call {
    /// Answers; a fault that is new is kept first.
    fileprivate func report(_ fault: AuditFault?, _ answer: JSON) -> Step {
        guard let fault, self.authority.state.auditFault == nil else { return .answer(answer) }
        return self.change(needs: .local, isVital: true) { commit in
            try commit.markAuditFault(fault.words)
            return answer
        }
    }
}

extension Describe {
    /// What `status` says of the audit log.
    static func audit(_ state: AuthorityState) -> JSON {
        [
            ("records", .integer(state.auditSequence)), ("checkpoint", .integer(state.checkpointNumber)),
            ("checkpoint_record", .integer(state.checkpointSequence)), ("fault", state.auditFault.map { .string($0) } ?? .null),
        ].json
    }

    /// What a walk along the log found.
    public static func verdict(_ verdict: AuditVerdict, records: Int64) -> JSON {
        self.finding(verdict.fault, verdict.acknowledged).merging(
            [
                ("verified", .integer(verdict.verified)), ("records", .integer(records)), ("checkpoint", .integer(verdict.checkpoint)),
                ("rest", verdict.rest.map { .string($0.text) } ?? .null),
            ].json)
    }

    /// What comparing with checkpoints kept elsewhere found.
    public static func comparison(_ comparison: AuditComparison, of count: Int) -> JSON {
        self.finding(comparison.fault, comparison.acknowledged).merging(
            [("compared", .integer(count)), ("proven", .integer(comparison.proven))].json)
    }

    private static func finding(_ fault: AuditFault?, _ acknowledged: [AuditFault]) -> JSON {
        [
            ("good", .bool(fault == nil)), ("first_bad", fault?.record.map { .integer($0) } ?? .null),
            ("fault", fault.map { .string($0.words) } ?? .null),
            (
                "acknowledged",
                .array(acknowledged.map { [("record", $0.record.map { .integer($0) } ?? .null), ("fault", .string($0.words))].json })
            ),
        ].json
    }
}
