// What was changed and what was refused, as lines of the log: the audit records, as far as a log can hold them.

import Authority
import Logging

/// Tells of audit records when they are on disk; used by the writer alone.
struct ChangeLog {
    /// Lines a second. The audit log has every record; the other log must not cost more than the work that it tells of.
    static let most = 50

    private let log: Logger
    private var second: Int64 = 0
    private var told = 0
    private var untold = 0

    init(_ log: Logger) { self.log = log }

    /// - Parameter second: a clock's, which need not be right.
    mutating func tell(_ records: [AuditRecord], second: Int64) {
        if second != self.second {
            if self.untold > 0 {
                self.log.info(
                    "\(self.untold) more records are in the audit log alone; see: ca-ctl audit show", metadata: ["event": "changed"])
            }
            (self.second, self.told, self.untold) = (second, 0, 0)
        }
        for record in records {
            guard self.told < Self.most else {
                self.untold += 1
                continue
            }
            self.told += 1
            self.tell(record)
        }
    }

    private func tell(_ record: AuditRecord) {
        let isDone = record.outcome == .done
        var metadata: Logger.Metadata = [
            "event": .string(isDone ? Self.event(of: record.task) : "refused"), "task": .string(record.task),
            "request": .string(record.requestID), "who": .string(record.identity), "proof": .string(record.proof),
            "sequence": .stringConvertible(record.sequence),
        ]
        if !record.target.isEmpty { metadata["dn"] = .string(record.target) }
        if !record.serial.isEmpty { metadata["serial"] = .string(record.serial) }
        if !record.detail.isEmpty { metadata["detail"] = .string(record.detail) }
        let subject = record.target.isEmpty ? "" : " \(record.target)"
        if isDone {
            self.log.info("\(record.task)\(subject)", metadata: metadata)
        } else {
            self.log.notice("\(record.task)\(subject) was refused: \(record.detail)", metadata: metadata)
        }
    }

    /// The kind of message, as the journal's catalog knows it.
    static func event(of task: String) -> String {
        switch task {
        case "sign", "generate", "renew", "renew_node", "acme_issue_certificate", "adopt_certificate", "responder_certificate": "issued"
        case "register": "registered"
        case "revoke", "delete", "acme_revoke_certificate": "revoked"
        case "unrevoke": "released"
        case "add_admin", "remove_admin", "add_node", "limit_node", "rebind_node", "remove_node": "access-changed"
        case "open_registration", "close_registration", "revoke_token", "rotate_token": "registration"
        case "add_profile", "update_profile", "remove_profile": "profile-changed"
        default: "changed"
        }
    }
}
