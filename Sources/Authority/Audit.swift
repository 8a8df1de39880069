// The records of the audit log, chained by SHA-256, so that a changed or removed one is found.

import Crypto
public import PKI

/// One audit record: who asked for what, how that was proven, and what came of it.
public struct AuditRecord: Sendable, Equatable {
    public enum Outcome: String, Sendable {
        case done, refused
        /// A store holds a word that this program never wrote: the record was changed, and no hash fits.
        case unreadable
    }

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
