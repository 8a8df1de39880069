// Keeping the audit log: the key that signs its checkpoints, and when checkpoints and counted refusals are due.

import Authority
import CAKeys
import DurableFiles
import Logging
import PKI
import Synchronization
internal import Threads
import UPKIProtocol

/// audit.key at work; each checkpoint becomes a line of the log, for whoever keeps logs elsewhere.
struct AuditKeyFile: AuditSigner {
    private let key: CAKey
    private let log: Logger?
    let publicKey: [UInt8]

    /// - Parameter log: takes the checkpoints; nil where nobody keeps it.
    init(_ key: CAKey, log: Logger?) throws {
        // SubjectPublicKeyInfo of Ed25519 ends in the 32 octets of the key (RFC 8410 4).
        guard key.type == .ed25519 else { throw CoreError("audit.key is no Ed25519 key; restore it from a backup") }
        self.key = key
        self.log = log
        self.publicKey = Array(key.subjectPublicKeyInfoDER.suffix(32))
    }

    /// Reads audit.key.
    init(_ directory: DataDirectory, log: Logger?) throws {
        var pem = try PrivateFile.read(directory.auditKey)
        defer { wipe(&pem) }
        try self.init(try CAKey(pem: pem), log: log)
    }

    func sign(_ message: [UInt8]) throws -> [UInt8] { try self.key.sign(message) }

    func announce(_ checkpoint: AuditCheckpoint) { self.log?.info("\(checkpoint.line)", metadata: ["event": "audit-checkpoint"]) }
}

/// Has the writer make checkpoints and write counted refusals when it is time; for the reporter's thread.
final class AuditKeeper: Sendable {
    private let authority: Authority
    private let processing: Processing
    private let log: Logger
    private let lastAttempt = Mutex(MonotonicTime.now)
    /// Whether the writer has not come to the last request yet: one that hangs gets no second one.
    private let isWaiting = Atomic(false)

    /// From one checkpoint to the next while records are written, in milliseconds.
    private static let interval = 10_000

    init(_ authority: Authority, _ processing: Processing, log: Logger) {
        self.authority = authority
        self.processing = processing
        self.log = log
    }

    /// Asks for what is due, and does not wait for it; to be called each second.
    func look() {
        let now = MonotonicTime.now
        guard self.lastAttempt.withLock({ $0.milliseconds(until: now) }) >= Self.interval,
            self.authority.hasOpenRecords || self.authority.refusalsAreDue, !self.isWaiting.exchange(true, ordering: .relaxed)
        else { return }
        self.lastAttempt.withLock { $0 = now }
        self.processing.submit(PendingChange(change: self.counts, completion: .call { self.say($0) }))
        self.processing.submit(
            PendingChange(
                change: self.checkpoint,
                completion: .call { result in
                    self.say(result)
                    self.isWaiting.store(false, ordering: .relaxed)
                }))
    }

    private func say(_ result: Result<JSON, any Error>) {
        guard case .failure(let error) = result else { return }
        self.log.warning(
            "the audit log could not be signed, or what was counted not be written; trying again", metadata: ["cause": "\(error)"])
    }

    /// Writes what is counted and makes the last checkpoint; to be called when no more requests come, while the writer still runs.
    func finish() {
        do {
            _ = try self.processing.commitAndWait(self.counts)
            _ = try self.processing.commitAndWait(self.checkpoint)
        } catch {
            self.log.error(
                "the last checkpoint of the audit log could not be made; the next start does it", metadata: ["cause": "\(error)"])
        }
    }

    private func change(_ isVital: Bool, _ run: @escaping @Sendable (inout Commit) throws -> Void) -> Change<JSON> {
        let context = RequestContext(id: "audit", task: "keep_audit", caller: Caller(proof: .itself, channel: .admin))
        return Change(context, needs: .local, isVital: isVital) { commit in
            try run(&commit)
            return true
        }
    }

    /// On a full disk strangers' refusals stay counted: they get nothing of the space set aside.
    private var counts: Change<JSON> {
        let authority = self.authority
        return self.change(authority.secondsBehind > 0) { try $0.recordRefusals(in: authority) }
    }

    private var checkpoint: Change<JSON> { self.change(true) { try $0.checkpoint() } }
}
