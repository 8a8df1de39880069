// What the responder keeps: statuses as ca-core told them, and signed answers, in shards with one lock for both of a serial number.
package import RevocationFormats
import Synchronization

/// What a signature was made over, besides constant bytes; times are whole seconds since 1970.
package struct SignedAnswer: Sendable {
    package var status: OCSPCertStatus
    package var thisUpdate: Int64
    package var nextUpdate: Int64
    /// From then on it is signed anew, so that relying parties always get some of its life.
    package var refreshAt: Int64
    /// Which signer made it.
    package var signer: UInt32
    package var signature: RawSignature

    package init(
        status: OCSPCertStatus, thisUpdate: Int64, nextUpdate: Int64, refreshAt: Int64, signer: UInt32, signature: RawSignature
    ) {
        self.status = status
        self.thisUpdate = thisUpdate
        self.nextUpdate = nextUpdate
        self.refreshAt = refreshAt
        self.signer = signer
        self.signature = signature
    }
}

/// Which kept answers may be served.
package struct AnswerWanted: Sendable {
    /// Whole seconds since 1970.
    package var now: Int64
    /// The signers whose certificates are valid.
    package var signers: (UInt32, UInt32)
    /// Whether one that is due for a new signature will do, since none can be made from a live status.
    package var mayBeDue: Bool

    package init(now: Int64, signers: (UInt32, UInt32), mayBeDue: Bool = false) {
        self.now = now
        self.signers = signers
        self.mayBeDue = mayBeDue
    }
}

/// The state of knowledge that a status was read in: changed by every event of its shard, and when everything is dropped.
package struct CacheToken: Sendable, Equatable {
    fileprivate var shard: Int
    fileprivate var changes: UInt64
}

/// Statuses and signed answers, bounded by bytes.
///
/// A status that ca-core changed takes its answers with it, under one lock, before anything else of that shard is served. A signer that
/// began from the status before finds its token outdated: it can neither keep its answer nor serve it.
package final class ResponseCache: Sendable {
    package enum Found: Sendable {
        case answer(SignedAnswer)
        case status(OCSPCertStatus, CacheToken)
        case nothing
    }

    /// Entries, bytes and what happened; counted since the start.
    package struct Figures: Sendable, Equatable {
        package var statuses = 0
        package var answers = 0
        /// Of both tables when they are full.
        package var bytes = 0
        /// Entries that had to make room for others.
        package var displaced: UInt64 = 0
    }

    // Zero bytes are an empty place. The long parts come first, so that nothing is lost between them: 48 and 128 bytes.

    private struct StatusRecord: PlacedRecord {
        var serial: OCSPSerial
        var sequence: Int64
        var revokedAt: Int64
        var epoch: UInt32
        var place: PlaceMark
        var code: StatusCode

        var status: OCSPCertStatus { code.status(revokedAt) }
    }

    private struct AnswerRecord: PlacedRecord {
        var serial: OCSPSerial
        var revokedAt: Int64
        var thisUpdate: Int64
        var signature: RawSignature
        var epoch: UInt32
        var signer: UInt32
        /// Seconds after `thisUpdate`.
        var life: UInt32
        var refresh: UInt32
        var place: PlaceMark
        var form: OCSPCertIDForm
        var code: StatusCode

        var status: OCSPCertStatus { code.status(revokedAt) }
    }

    /// Good, or revoked for a reason, in one octet.
    private struct StatusCode {
        /// 0 good, 1 revoked without a reason, else the reason's code and 2.
        private var code: UInt8

        /// nil for what is never kept.
        init?(_ status: OCSPCertStatus) {
            switch status {
            case .good: code = 0
            case .revoked(_, let reason): code = reason.map { $0.rawValue + 2 } ?? 1
            case .unknown: return nil
            }
        }

        func status(_ revokedAt: Int64) -> OCSPCertStatus {
            code == 0 ? .good : .revoked(at: revokedAt, reason: code == 1 ? nil : CRLReason(rawValue: code - 2))
        }
    }

    private struct State: ~Copyable {
        var statuses: RecordSets<StatusRecord>
        var answers: RecordSets<AnswerRecord>
        /// Records of another epoch are dead.
        var epoch: UInt32 = 1
        var changes: UInt64 = 0
        var figures = Figures()
    }

    private final class Shard: Sendable {
        let state: Mutex<State>

        init(statusBytes: Int, answerBytes: Int) throws(ResponderError) {
            let statuses = try RecordSets<StatusRecord>(bytes: statusBytes)
            let answers = try RecordSets<AnswerRecord>(bytes: answerBytes)
            state = Mutex(State(statuses: statuses, answers: answers))
        }
    }

    private static let shardCount = 64
    private let shards: [Shard]
    private let drops = Atomic<UInt64>(0)

    /// - Parameter bytes: what both tables may take together.
    /// - Throws: `.system` where there is no memory for it.
    package init(bytes: Int) throws(ResponderError) {
        let answer = MemoryLayout<AnswerRecord>.stride
        let both = MemoryLayout<StatusRecord>.stride + answer
        // As many statuses as answers.
        let share = max(0, bytes) / Self.shardCount
        let answerBytes = share / both * answer
        var shards: [Shard] = []
        for _ in 0..<Self.shardCount { shards.append(try Shard(statusBytes: share - answerBytes, answerBytes: answerBytes)) }
        self.shards = shards
    }

    private static func hash(_ serial: OCSPSerial) -> UInt64 { UInt64(bitPattern: Int64(serial.hashValue)) }

    /// The low bits choose the shard, the high ones the set in it. The index is below the number of shards.
    private static func index(_ hash: UInt64) -> Int { Int(truncatingIfNeeded: hash % UInt64(shardCount)) }

    // MARK: Asking

    /// An answer that may be served, or else the status that one can be made from.
    package func find(_ serial: OCSPSerial, _ form: OCSPCertIDForm, _ wanted: AnswerWanted) -> Found {
        let hash = Self.hash(serial)
        let index = Self.index(hash)
        return shards[index].state.withLock { state in
            let epoch = state.epoch
            if let answer = state.answers.find(hash, where: { $0.serial == serial && $0.form == form && $0.epoch == epoch }),
                Self.fits(answer.pointee, wanted)
            {
                answer.pointee.place.wasUsed = true
                return .answer(Self.signedAnswer(answer.pointee))
            }
            guard let status = state.statuses.find(hash, where: { $0.serial == serial && $0.epoch == epoch }) else { return .nothing }
            status.pointee.place.wasUsed = true
            return .status(status.pointee.status, CacheToken(shard: index, changes: state.changes))
        }
    }

    /// The status kept of a serial number.
    package func status(of serial: OCSPSerial) -> (status: OCSPCertStatus, token: CacheToken)? {
        let hash = Self.hash(serial)
        let index = Self.index(hash)
        return shards[index].state.withLock { state in
            let epoch = state.epoch
            guard let status = state.statuses.find(hash, where: { $0.serial == serial && $0.epoch == epoch }) else { return nil }
            status.pointee.place.wasUsed = true
            return (status.pointee.status, CacheToken(shard: index, changes: state.changes))
        }
    }

    /// Whether nothing has changed since the token was given that could concern its serial number.
    package func isCurrent(_ token: CacheToken) -> Bool {
        shards[token.shard].state.withLock { $0.changes == token.changes }
    }

    /// The token for a serial number of which nothing is kept.
    package func token(for serial: OCSPSerial) -> CacheToken {
        let index = Self.index(Self.hash(serial))
        return shards[index].state.withLock { CacheToken(shard: index, changes: $0.changes) }
    }

    // MARK: Learning

    /// Keeps an answer, unless its status may have changed since the token was given.
    /// - Returns: false where it may have: then the answer must not be served either.
    package func keep(_ answer: SignedAnswer, for serial: OCSPSerial, _ form: OCSPCertIDForm, _ token: CacheToken) -> Bool {
        guard let code = StatusCode(answer.status) else { return isCurrent(token) }
        let hash = Self.hash(serial)
        return shards[token.shard].state.withLock { state in
            guard state.changes == token.changes else { return false }
            let record = AnswerRecord(
                serial: serial, revokedAt: answer.status.revokedAt, thisUpdate: answer.thisUpdate, signature: answer.signature,
                epoch: state.epoch, signer: answer.signer, life: UInt32(clamping: answer.nextUpdate - answer.thisUpdate),
                refresh: UInt32(clamping: answer.refreshAt - answer.thisUpdate), place: .taken, form: form, code: code)
            let epoch = state.epoch
            let outcome = state.answers.put(
                record, hash, replacing: { $0.serial == serial && $0.form == form }, dead: { $0.epoch != epoch })
            if outcome.displaced == .living { state.figures.displaced += 1 } else if !outcome.replaced { state.figures.answers += 1 }
            return true
        }
    }

    /// Takes in a status that ca-core told, read when the number of its last event was `sequence`; a newer one that is kept stays.
    /// - Returns: the status to go by and its token; `.unknown` is passed through and never kept.
    package func learn(_ serial: OCSPSerial, _ status: OCSPCertStatus, sequence: Int64) -> (status: OCSPCertStatus, token: CacheToken) {
        let hash = Self.hash(serial)
        let index = Self.index(hash)
        return shards[index].state.withLock { state in
            let epoch = state.epoch
            if let known = state.statuses.find(hash, where: { $0.serial == serial && $0.epoch == epoch }) {
                if known.pointee.sequence > sequence {
                    return (known.pointee.status, CacheToken(shard: index, changes: state.changes))
                }
                if known.pointee.status != status { Self.change(&state, serial, hash) }
            }
            Self.put(&state, serial, hash, status, sequence)
            return (status, CacheToken(shard: index, changes: state.changes))
        }
    }

    /// Takes in an event: what was kept of that serial number is replaced or gone when this returns.
    package func changed(_ serial: OCSPSerial, to status: OCSPCertStatus, sequence: Int64) {
        let hash = Self.hash(serial)
        shards[Self.index(hash)].state.withLock { state in
            let epoch = state.epoch
            let known = state.statuses.find(hash, where: { $0.serial == serial && $0.epoch == epoch })
            // Read after this event happened: it is in there already.
            if let known, known.pointee.sequence >= sequence { return }
            let wasKnown = known != nil
            Self.change(&state, serial, hash)
            if wasKnown { Self.put(&state, serial, hash, status, sequence) }
        }
    }

    /// Forgets everything.
    package func dropEverything() {
        drops.wrappingAdd(1, ordering: .relaxed)
        for shard in shards {
            shard.state.withLock { state in
                state.epoch &+= 1
                state.changes &+= 1
                state.figures.statuses = 0
                state.figures.answers = 0
            }
        }
    }

    // MARK: Figures

    /// How often everything was dropped.
    package var timesDropped: UInt64 { drops.load(ordering: .relaxed) }

    package var figures: Figures {
        var sum = Figures()
        for shard in shards {
            shard.state.withLock { state in
                sum.statuses += state.figures.statuses
                sum.answers += state.figures.answers
                sum.displaced &+= state.figures.displaced
                sum.bytes += state.statuses.bytes + state.answers.bytes
            }
        }
        return sum
    }

    // MARK: Under a shard's lock

    private static func fits(_ record: AnswerRecord, _ wanted: AnswerWanted) -> Bool {
        // An answer of the future was signed before somebody set the clock back.
        guard record.signer == wanted.signers.0 || record.signer == wanted.signers.1, record.thisUpdate <= wanted.now else { return false }
        let age = wanted.now - record.thisUpdate
        return age < Int64(record.life) && (wanted.mayBeDue || age < Int64(record.refresh))
    }

    private static func signedAnswer(_ record: AnswerRecord) -> SignedAnswer {
        SignedAnswer(
            status: record.status, thisUpdate: record.thisUpdate, nextUpdate: record.thisUpdate + Int64(record.life),
            refreshAt: record.thisUpdate + Int64(record.refresh), signer: record.signer, signature: record.signature)
    }

    /// Every token of the shard is outdated, and the status and answers of the serial number are gone.
    private static func change(_ state: inout State, _ serial: OCSPSerial, _ hash: UInt64) {
        state.changes &+= 1
        let epoch = state.epoch
        state.figures.answers -= state.answers.remove(hash) { $0.serial == serial && $0.epoch == epoch }
        state.figures.statuses -= state.statuses.remove(hash) { $0.serial == serial && $0.epoch == epoch }
    }

    private static func put(_ state: inout State, _ serial: OCSPSerial, _ hash: UInt64, _ status: OCSPCertStatus, _ sequence: Int64) {
        guard let code = StatusCode(status) else { return }
        let epoch = state.epoch
        let record = StatusRecord(
            serial: serial, sequence: sequence, revokedAt: status.revokedAt, epoch: epoch, place: .taken, code: code)
        let outcome = state.statuses.put(record, hash, replacing: { $0.serial == serial }, dead: { $0.epoch != epoch })
        if outcome.displaced == .living { state.figures.displaced += 1 } else if !outcome.replaced { state.figures.statuses += 1 }
    }
}

extension OCSPCertStatus {
    /// Seconds since 1970; 0 where it is not revoked.
    fileprivate var revokedAt: Int64 { if case .revoked(let time, _) = self { time } else { 0 } }
}
