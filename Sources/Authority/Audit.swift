// The audit log: records chained by SHA-256, so that a changed or removed one is found.

import Crypto
public import PKI

/// One audit record: who asked for what, how that was proven, and what came of it.
public struct AuditRecord: Sendable, Equatable {
    public enum Outcome: String, Sendable { case done, refused }

    /// 1 for the first record; no number is left out.
    public var sequence: Int64
    public var time: UnixTime
    /// Ties the record to the log line and to the answer.
    public var requestID: String
    /// Who asked, for example `node RA` or `uid 0`.
    public var identity: String
    /// How that was proven: `plain address 127.0.0.1`, `curve <key>`, `local uid 0`, or `itself` for the CA's own acts.
    public var proof: String
    public var task: String
    public var outcome: Outcome
    /// What it was about: a distinguished name, a CN, a profile.
    public var target: String
    /// Hexadecimal serial number, or empty.
    public var serial: String
    /// What else a reader needs: a profile, a reason, the words of a refusal.
    public var detail: String
    /// SHA-256 over the previous record's hash and all fields above.
    public var hash: [UInt8]

    public init(
        sequence: Int64, time: UnixTime, requestID: String, identity: String, proof: String, task: String, outcome: Outcome, target: String,
        serial: String, detail: String, hash: [UInt8] = []
    ) {
        self.sequence = sequence
        self.time = time
        self.requestID = requestID
        self.identity = identity
        self.proof = proof
        self.task = task
        self.outcome = outcome
        self.target = target
        self.serial = serial
        self.detail = detail
        self.hash = hash
    }

    /// What the first record is chained to.
    public static let origin = [UInt8](repeating: 0, count: 32)

    /// The hash this record must carry after one whose hash is `previous`.
    public func chained(to previous: [UInt8]) -> [UInt8] {
        var input: [UInt8] = []
        input.reserveCapacity(512)
        input += "upki-ca/audit/v1".utf8
        input += previous
        Self.append(UInt64(bitPattern: self.sequence), to: &input)
        Self.append(UInt64(bitPattern: self.time.seconds), to: &input)
        for field in [self.requestID, self.identity, self.proof, self.task, self.outcome.rawValue, self.target, self.serial, self.detail] {
            Self.append(UInt64(field.utf8.count), to: &input)
            input += field.utf8
        }
        return Array(SHA256.hash(data: input))
    }

    private static func append(_ value: UInt64, to bytes: inout [UInt8]) {
        for shift in stride(from: UInt64(56), through: 0, by: -8) { bytes.append(UInt8(truncatingIfNeeded: value >> shift)) }
    }
}

/// What a walk along the chain found.
public struct AuditVerdict: Sendable, Equatable {
    /// How many records were found good.
    public var verified: Int64
    /// The sequence number of the first bad record; nil where all are good.
    public var firstBad: Int64?
    /// What is wrong with it, for a person.
    public var fault: String?
}

extension Authority {
    /// Walks the whole chain from its origin to what was committed when this began.
    ///
    /// In pages, so that no long read holds the store's log; records are only ever added.
    /// - Parameter progress: called after each page with the number of records verified so far.
    public func verifyAudit(progress: (Int64) -> Void = { _ in }) throws -> AuditVerdict {
        let end = self.state
        return try AuditChain.verify(upTo: (end.auditSequence, end.auditHead), progress: progress) { after, limit in
            try self.store.read { try $0.auditRecords(after: after, limit: limit) }
        }
    }
}

extension StoreReader {
    /// Walks the whole chain of one snapshot from its origin.
    public func verifyAudit(progress: (Int64) -> Void = { _ in }) throws -> AuditVerdict {
        try AuditChain.verify(upTo: nil, progress: progress) { try self.auditRecords(after: $0, limit: $1) }
    }
}

private enum AuditChain {
    /// - Parameter end: the last record that must be there, and its hash; nil where nothing is known of it.
    static func verify(
        upTo end: (sequence: Int64, hash: [UInt8])?, progress: (Int64) -> Void, page: (_ after: Int64, _ limit: Int) throws -> [AuditRecord]
    ) throws -> AuditVerdict {
        var previous = AuditRecord.origin
        var verified: Int64 = 0
        while true {
            let records = try page(verified, 1_000)
            guard !records.isEmpty else { break }
            for record in records {
                guard record.sequence == verified + 1 else {
                    return AuditVerdict(verified: verified, firstBad: verified + 1, fault: "record \(verified + 1) is missing")
                }
                guard record.hash == record.chained(to: previous),
                    end.map({ record.sequence != $0.sequence || record.hash == $0.hash }) ?? true
                else {
                    return AuditVerdict(
                        verified: verified, firstBad: record.sequence,
                        fault: "record \(record.sequence) was changed or does not follow the one before it")
                }
                previous = record.hash
                verified += 1
            }
            progress(verified)
        }
        if let end, verified < end.sequence {
            return AuditVerdict(verified: verified, firstBad: verified + 1, fault: "the log is cut off after record \(verified)")
        }
        return AuditVerdict(verified: verified, firstBad: nil, fault: nil)
    }
}
