// Verifying the audit log: a walk along the chain of records and its signed checkpoints, in pages; and checkpoints kept elsewhere.

import PKI

/// Something in the audit log that cannot be right.
public struct AuditFault: Sendable, Equatable {
    /// The first record that is bad or not proven; nil where the fault is no record's.
    public var record: Int64?
    /// What is wrong, for a person.
    public var words: String

    public init(record: Int64?, _ words: String) {
        self.record = record
        self.words = words
    }
}

/// What a walk along the audit log found, as far as it came.
public struct AuditVerdict: Sendable, Equatable {
    /// How many records were found good.
    public var verified: Int64
    /// The number of the last checkpoint that was found good; 0 where there is none.
    public var checkpoint: Int64
    /// What is wrong; nil where nothing is.
    public var fault: AuditFault?
    /// Faults that the operator acknowledged: the walk went on behind the record that says so.
    public var acknowledged: [AuditFault]
    /// Where to go on; nil at the end.
    public var rest: AuditWalk.Position?

    /// The sequence number of the first bad record; nil where all are good.
    public var firstBad: Int64? { self.fault?.record }
}

/// A walk along the chain of records and checkpoints of a store.
public struct AuditWalk: Sendable {
    /// How far a walk has come. A value, so that a walk can be made in pages.
    public struct Position: Sendable, Equatable {
        /// The last record that was found good, and its hash.
        var sequence: Int64 = 0
        var head = AuditRecord.origin
        /// The last checkpoint that was found good, its hash and its record.
        var checkpoint: Int64 = 0
        var checkpointHash = AuditRecord.origin
        var checkpointSequence: Int64 = 0
        /// The time of the first record behind that.
        var openSince: UnixTime?
        /// Whether the next checkpoint is the first behind an acknowledged fault, of which nothing is known.
        var isRejoining = false

        init() {}
    }

    /// What the running process knows of the end of the log.
    struct End {
        var sequence: Int64
        var head: [UInt8]
        var checkpoint: Int64
    }

    private var position: Position
    /// The key of the checkpoints; nil where records alone are looked at.
    private let key: AuditKey?
    private let end: End?
    /// The record that acknowledges faults at and before it; nil where there is none.
    private var acknowledgement: AuditRecord?
    private var acknowledged: [AuditFault] = []

    /// Records follow each other within this many seconds of one that no checkpoint covers yet; the writer keeps half of it.
    static let longestOpen: Int64 = 60

    init(from position: Position = Position(), key: AuditKey?, end: End? = nil) {
        self.position = position
        self.key = key
        self.end = end
    }

    private func verdict(_ fault: AuditFault? = nil, rest: Position? = nil) -> AuditVerdict {
        // Records behind the last checkpoint are good as far as their chain goes; a fault of a checkpoint reaches back to the one before.
        let verified = fault?.record.map { max(0, min(self.position.sequence, $0 - 1)) } ?? self.position.sequence
        return AuditVerdict(
            verified: verified, checkpoint: self.position.checkpoint, fault: fault, acknowledged: self.acknowledged, rest: rest)
    }

    /// Goes on by one page of one snapshot.
    ///
    /// - Parameter limit: records of the page.
    /// - Returns: with `rest` nil when the walk has ended: at the end, or at a fault.
    mutating func page(_ reader: any StoreReader, limit: Int) throws -> AuditVerdict {
        if self.key != nil { self.acknowledgement = try reader.auditAcknowledgement() }
        let records = try reader.auditRecords(after: self.position.sequence, limit: limit)
        var checkpoints = Checkpoints(reader, after: self.position.checkpoint)
        for record in records {
            if let fault = self.take(record) { return try self.stop(at: fault, reader) }
            guard let key else { continue }
            while let checkpoint = try checkpoints.next {
                let isSigned = checkpoints.nextIsSigned(by: key)
                let isPast = self.isPast(checkpoint, isSigned: isSigned)
                // One that nobody signed is bad, wherever it says it belongs.
                guard isPast || !isSigned || checkpoint.sequence <= record.sequence else { break }
                if !isPast, let fault = self.take(checkpoint, isSigned: isSigned, at: record) { return try self.stop(at: fault, reader) }
                checkpoints.drop()
            }
        }
        guard records.count < limit else { return self.verdict(rest: self.position) }
        if let fault = self.faultAtEnd(next: self.key == nil ? nil : try checkpoints.next) { return try self.stop(at: fault, reader) }
        return self.verdict()
    }

    // MARK: Records

    private mutating func take(_ record: AuditRecord) -> AuditFault? {
        let expected = self.position.sequence + 1
        guard record.sequence == expected else {
            let last = record.sequence - 1
            return AuditFault(
                record: expected,
                last == expected ? "record \(expected) is missing" : "the records \(expected) to \(last) are missing")
        }
        guard record.hash == record.chained(to: self.position.head),
            self.end.map({ $0.sequence != expected || $0.head == record.hash }) ?? true
        else { return AuditFault(record: expected, "record \(expected) was changed or does not follow the one before it") }
        if self.key != nil, let since = self.position.openSince, since.advanced(bySeconds: Self.longestOpen) < record.time {
            let first = self.position.checkpointSequence + 1
            return AuditFault(
                record: first,
                "no checkpoint covers record \(first), though records were written for more than a minute after it: checkpoints were removed"
            )
        }
        self.position.sequence = expected
        self.position.head = record.hash
        if self.position.openSince == nil { self.position.openSince = record.time }
        return nil
    }

    private func faultAtEnd(next: AuditCheckpoint?) -> AuditFault? {
        let last = self.position.sequence
        func cutOff(_ proof: String) -> AuditFault { AuditFault(record: last + 1, "the log is cut off after record \(last): \(proof)") }
        if let next { return cutOff("checkpoint \(next.number) covers record \(next.sequence)") }
        if let end, last < end.sequence { return cutOff("the running CA has written record \(end.sequence)") }
        guard self.key != nil else { return nil }
        guard self.position.checkpoint > 0 || last == 0 else {
            return AuditFault(record: 1, "there is no checkpoint at all: they were removed")
        }
        if let end, self.position.checkpoint < end.checkpoint { return self.missing(self.position.checkpoint + 1) }
        guard let acknowledgement, self.position.isRejoining else { return nil }
        return AuditFault(
            record: acknowledgement.sequence, "no checkpoint covers record \(acknowledgement.sequence), which acknowledges a fault")
    }

    // MARK: Checkpoints

    private func missing(_ number: Int64) -> AuditFault {
        AuditFault(
            record: self.position.checkpointSequence + 1,
            "checkpoint \(number) is missing, so that nothing proves the records from \(self.position.checkpointSequence + 1) on")
    }

    /// Whether a checkpoint is from before the acknowledgement at which the walk goes on, or one that nobody signed.
    private func isPast(_ checkpoint: AuditCheckpoint, isSigned: Bool) -> Bool {
        guard self.position.isRejoining, let acknowledgement else { return false }
        return checkpoint.sequence < acknowledgement.sequence || !isSigned
    }

    /// Takes the next checkpoint, which does not lie behind `record`, the last record that was taken.
    private mutating func take(_ checkpoint: AuditCheckpoint, isSigned: Bool, at record: AuditRecord) -> AuditFault? {
        guard let key else { return nil }
        let first = self.position.checkpointSequence + 1
        guard self.position.isRejoining || checkpoint.number == self.position.checkpoint + 1 else {
            return self.missing(self.position.checkpoint + 1)
        }
        guard isSigned else {
            return AuditFault(
                record: first,
                "checkpoint \(checkpoint.number) (record \(checkpoint.sequence)) is not signed by this CA's audit key, so that nothing proves the records from \(first) on"
            )
        }
        guard checkpoint.sequence == record.sequence, self.position.isRejoining || checkpoint.previous == self.position.checkpointHash
        else {
            return AuditFault(record: first, "checkpoint \(checkpoint.number) does not follow checkpoint \(self.position.checkpoint)")
        }
        guard checkpoint.head == record.hash else { return .rewritten(first, checkpoint, "") }
        self.position.checkpoint = checkpoint.number
        self.position.checkpointHash = checkpoint.hash(key.authority)
        self.position.checkpointSequence = checkpoint.sequence
        self.position.openSince = nil
        self.position.isRejoining = false
        return nil
    }

    // MARK: Faults that are known

    /// A fault ends the walk, unless the operator acknowledged it: then it goes on at the record that says so.
    private mutating func stop(at fault: AuditFault, _ reader: any StoreReader) throws -> AuditVerdict {
        guard let acknowledgement, let record = fault.record, record < acknowledgement.sequence,
            self.position.sequence < acknowledgement.sequence,
            let before = try reader.auditRecords(after: acknowledgement.sequence - 2, limit: 1).first,
            before.sequence == acknowledgement.sequence - 1
        else { return self.verdict(fault) }
        self.acknowledged.append(fault)
        self.position.sequence = before.sequence
        self.position.head = before.hash
        self.position.checkpointSequence = before.sequence
        self.position.openSince = nil
        self.position.isRejoining = true
        return self.verdict(rest: self.position)
    }
}

extension AuditFault {
    static func rewritten(_ first: Int64, _ checkpoint: AuditCheckpoint, _ kept: String) -> AuditFault {
        let range = first < checkpoint.sequence ? "one of the records \(first) to \(checkpoint.sequence)" : "record \(checkpoint.sequence)"
        return AuditFault(
            record: min(first, checkpoint.sequence),
            "record \(checkpoint.sequence) does not have the hash that checkpoint \(checkpoint.number)\(kept) signed: \(range) was changed, and what follows it rewritten"
        )
    }
}

/// The checkpoints of a store in order, a few at a time.
private struct Checkpoints {
    private let reader: any StoreReader
    private var after: Int64
    private var waiting: ArraySlice<AuditCheckpoint> = []
    private var isAtEnd = false
    /// Whether the next one is signed, once that was looked at: it may have to wait for many records.
    private var isSigned: Bool?

    private static let page = 256

    init(_ reader: any StoreReader, after number: Int64) {
        self.reader = reader
        self.after = number
    }

    /// The next one, which stays the next until it is dropped.
    var next: AuditCheckpoint? {
        mutating get throws {
            if self.waiting.isEmpty, !self.isAtEnd {
                self.waiting = try self.reader.auditCheckpoints(after: self.after, limit: Self.page)[...]
                self.isAtEnd = self.waiting.count < Self.page
                if let last = self.waiting.last { self.after = last.number }
            }
            return self.waiting.first
        }
    }

    mutating func nextIsSigned(by key: AuditKey) -> Bool {
        if let isSigned { return isSigned }
        let isSigned = self.waiting.first.map { key.signed($0) } ?? false
        self.isSigned = isSigned
        return isSigned
    }

    mutating func drop() {
        self.waiting = self.waiting.dropFirst()
        self.isSigned = nil
    }
}

extension StoreReader {
    /// Walks the chain of records of one snapshot from its origin; checkpoints are not looked at.
    public func verifyAudit() throws -> AuditVerdict {
        var walk = AuditWalk(key: nil)
        while true {
            let verdict = try walk.page(self, limit: 1_000)
            if verdict.rest == nil { return verdict }
        }
    }

    /// The record by which the operator last acknowledged faults before it; nil where there is none.
    ///
    /// The setting is a hint: only the record counts, which a checkpoint has to cover.
    func auditAcknowledgement() throws -> AuditRecord? {
        guard let sequence = try self.setting(.auditAcknowledgement).flatMap({ Int64($0) }), sequence > 1,
            let record = try self.auditRecords(after: sequence - 1, limit: 1).first
        else { return nil }
        return record.sequence == sequence && record.task == AuditRecord.acknowledging && record.outcome == .done ? record : nil
    }
}

extension Authority {
    /// Goes on with a walk along the whole log to what was committed when this began.
    ///
    /// In snapshots of a thousand records, so that no long read holds the store's log.
    /// - Parameters:
    ///   - position: where an earlier call came to; nil for the beginning.
    ///   - limit: about how many records this call may look at; nil for all.
    public func verifyAudit(from position: AuditWalk.Position? = nil, limit: Int? = nil) throws -> AuditVerdict {
        let state = self.state
        let end = AuditWalk.End(sequence: state.auditSequence, head: state.auditHead, checkpoint: state.checkpointNumber)
        return try self.store.verifyAudit(from: position, key: self.seal.key, end: end, limit: limit) { _ in }
    }

    /// Holds checkpoints that were kept elsewhere against the log.
    public func compare(_ checkpoints: [AuditCheckpoint]) throws -> AuditComparison {
        try self.store.read { try $0.compare(checkpoints, key: self.seal.key) }
    }
}

extension Store {
    /// Walks the whole log of a store that nobody writes to.
    ///
    /// - Parameter progress: called after each thousand records with the number of those verified so far.
    public func verifyAudit(key: AuditKey, progress: (Int64) -> Void) throws -> AuditVerdict {
        try self.verifyAudit(from: nil, key: key, end: nil, limit: nil, progress: progress)
    }

    fileprivate func verifyAudit(
        from position: AuditWalk.Position?, key: AuditKey, end: AuditWalk.End?, limit: Int?, progress: (Int64) -> Void
    ) throws -> AuditVerdict {
        var walk = AuditWalk(from: position ?? .init(), key: key, end: end)
        var left = limit ?? .max
        while true {
            let verdict = try self.read { try walk.page($0, limit: 1_000) }
            progress(verdict.verified)
            left -= 1_000
            if verdict.rest == nil || left <= 0 { return verdict }
        }
    }
}

// MARK: Checkpoints kept elsewhere

/// What comparing checkpoints that were kept elsewhere with the log found.
public struct AuditComparison: Sendable, Equatable {
    /// The highest record that one of them proves; 0 where there is none.
    public var proven: Int64 = 0
    public var fault: AuditFault?
    /// Whether the fault is in the log: what is not signed by the CA's audit key says nothing of it.
    public var isOfTheLog = false
    public var acknowledged: [AuditFault] = []
}

extension StoreReader {
    /// Holds checkpoints that were kept elsewhere against the records, the lowest first; the first fault ends it.
    public func compare(_ checkpoints: [AuditCheckpoint], key: AuditKey) throws -> AuditComparison {
        var comparison = AuditComparison()
        let acknowledged = try self.auditAcknowledgement()?.sequence ?? 0
        let last = try self.lastAuditRecord()?.sequence ?? 0
        for checkpoint in checkpoints.sorted(by: { ($0.sequence, $0.number) < ($1.sequence, $1.number) }) {
            guard key.signed(checkpoint) else {
                comparison.fault = AuditFault(
                    record: nil, "checkpoint \(checkpoint.number) (record \(checkpoint.sequence)) is not signed by this CA's audit key")
                return comparison
            }
            let record = try self.auditRecords(after: checkpoint.sequence - 1, limit: 1).first
            let fault: AuditFault
            switch record {
            case let record? where record.sequence == checkpoint.sequence && record.hash == checkpoint.head:
                comparison.proven = checkpoint.sequence
                continue
            case let record? where record.sequence == checkpoint.sequence:
                fault = .rewritten(comparison.proven + 1, checkpoint, ", kept elsewhere,")
            case .some:
                fault = AuditFault(
                    record: checkpoint.sequence,
                    "record \(checkpoint.sequence) is missing, which checkpoint \(checkpoint.number), kept elsewhere, covers")
            case nil:
                fault = AuditFault(
                    record: last + 1,
                    "the log is cut off after record \(last): checkpoint \(checkpoint.number), kept elsewhere, covers record \(checkpoint.sequence)"
                )
            }
            guard checkpoint.sequence < acknowledged else {
                comparison.fault = fault
                comparison.isOfTheLog = true
                return comparison
            }
            comparison.acknowledged.append(fault)
        }
        return comparison
    }
}

// MARK: Positions as text

extension AuditWalk.Position {
    /// One line, for whoever asks for a walk page by page; what it says is not proven by itself.
    public var text: String {
        [
            "\(self.sequence)", Hexadecimal.encode(self.head), "\(self.checkpoint)", Hexadecimal.encode(self.checkpointHash),
            "\(self.checkpointSequence)", self.openSince.map { "\($0.seconds)" } ?? "-", self.isRejoining ? "rejoining" : "-",
        ].joined(separator: " ")
    }

    public init?(text: String) {
        let fields = text.split(separator: " ")
        guard fields.count == 7, let sequence = Int64(fields[0]), let head = Hexadecimal.decode(fields[1]),
            let checkpoint = Int64(fields[2]), let checkpointHash = Hexadecimal.decode(fields[3]),
            let checkpointSequence = Int64(fields[4]),
            [sequence, checkpoint, checkpointSequence].allSatisfy({ (0..<Int64.max).contains($0) }),
            head.count == 32, checkpointHash.count == 32
        else { return nil }
        self.init()
        (self.sequence, self.head) = (sequence, head)
        (self.checkpoint, self.checkpointHash, self.checkpointSequence) = (checkpoint, checkpointHash, checkpointSequence)
        self.openSince = Int64(fields[5]).map { UnixTime($0) }
        self.isRejoining = fields[6] == "rejoining"
    }
}
