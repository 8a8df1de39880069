// The publisher: builds CRLs off the request path, after revocations, on demand, and well before the last one ends.

import Authority
import Crypto
import DurableFiles
import Glibc
import Logging
import PKI
import RevocationFormats
import Synchronization
import Tasks
internal import Threads
import UPKIProtocol

/// Publishes CRLs; its thread also verifies the audit log and reloads, since those take their time.
final class Publisher: ListPublisher {
    private let opened: OpenedAuthority
    private let processing: Mutex<Processing?> = Mutex(nil)
    private let log: Logger
    /// When a revocation last and first asked for a CRL since the last one.
    private let wanted = Mutex<(first: MonotonicTime, last: MonotonicTime)?>(nil)
    private let wake: Mailbox<Job>
    /// What is published, for everyone who asks.
    let current = CurrentList()
    /// The answer of `get_crl`, made once for each CRL.
    private let cached = Mutex<[UInt8]?>(nil)

    /// What the published file says of itself, and which file that was.
    private let facts = Mutex<(file: FileIdentity, facts: PublishedListFacts)?>(nil)

    private let largeAnswers = LargeAnswers()
    private let failures = FailureLog()

    /// The CRL from elsewhere whose revocations are being taken over.
    private let receiver = Mutex(ListReceiver())

    private static let largestAnswer = 16 << 20

    /// A revocation waits this long for others.
    private static let debounce = 250
    /// Even a stream of revocations gets a CRL this often.
    private static let longestDebounce = 2_000

    init(opened: OpenedAuthority, jobs: Mailbox<Job>, log: Logger) {
        self.opened = opened
        self.wake = jobs
        self.log = log
    }

    func attach(_ processing: Processing) { self.processing.withLock { $0 = processing } }

    /// A revocation was committed.
    func revocationHappened() {
        let now = MonotonicTime.now
        self.wanted.withLock { $0 = (first: $0?.first ?? now, last: now) }
    }

    /// Does jobs and publishes when it is time, until the mailbox is closed and empty.
    func run(_ beat: LoopBeat) {
        guard let processing = self.processing.withLock({ $0 }) else { return }
        var jobs: [Job] = []
        self.takeUpWhatStands()
        // What was revoked when the last process ended may stand on no CRL yet.
        self.revocationHappened()
        while true {
            jobs.removeAll(keepingCapacity: true)
            beat.idle()
            // Revocations come from another thread without a wake-up: a look four times a second is enough for a CRL.
            guard self.wake.take(upTo: 1, into: &jobs, within: 250_000_000) else { break }
            // No beat within: a CRL of millions and a walk over the audit log may take longer than a watchdog's patience.
            for job in jobs { processing.run(job) }
            self.publishIfDue()
            self.receiver.withLock { $0.dropWhatWasLeft() }
        }
        if self.wanted.withLock({ $0 != nil }) {
            do { try self.publish() } catch {
                self.log.error("the last CRL could not be published; the next start does it", metadata: ["cause": "\(error)"])
            }
        }
        beat.idle()
    }

    /// What the last process published is there for the bridge until the first CRL of this one.
    private func takeUpWhatStands() {
        let path = self.opened.directory.publishedList
        guard DataDirectory.exists(path) else { return }
        do {
            if let file = try PublishedListFile(found: path) { self.current.replace(by: file) }
        } catch {
            self.log.warning("the published CRL cannot be read; a new one replaces it", metadata: ["cause": "\(error)"])
        }
    }

    private func publishIfDue() {
        let now = MonotonicTime.now
        let isWanted = self.wanted.withLock { wanted in
            guard let times = wanted else { return false }
            return times.last.milliseconds(until: now) >= Self.debounce || times.first.milliseconds(until: now) >= Self.longestDebounce
        }
        let isScheduled = self.isScheduledDue
        guard isWanted || isScheduled else { return }
        do { try self.publish(scheduled: isScheduled) } catch {
            if let like = self.failures.admit("\(error)", at: .now) {
                self.log.error(
                    "the CRL could not be published; the one before stands, and it is tried again every 5 s",
                    metadata: ["cause": "\(error)", "since_the_last": "\(like) like this"])
            }
            // Not at every look: whatever is wrong needs a moment.
            self.wanted.withLock { $0 = (first: now, last: now.advanced(byMilliseconds: 5_000)) }
        }
    }

    /// A scheduled CRL comes at half of the last one's life.
    private var isScheduledDue: Bool {
        let authority = self.opened.authority
        guard let last = authority.state.scheduledCRLTime else { return true }
        let now = authority.now
        // A last CRL from a time that has not come, by a clock that was accepted since, is a reason too.
        return now.seconds - last.seconds >= authority.rules.crlValidity / 2 || last.seconds - now.seconds > authority.rules.crlValidity
    }

    func publish() throws { try self.publish(scheduled: false) }

    private func publish(scheduled: Bool) throws {
        guard let processing = self.processing.withLock({ $0 }) else { throw CoreError("the publisher is not running") }
        self.wanted.withLock { $0 = nil }
        do { try self.planAndPublish(scheduled: scheduled, processing) } catch {
            self.revocationHappened()
            throw error
        }
    }

    private func planAndPublish(scheduled: Bool, _ processing: Processing) throws {
        let context = RequestContext(id: "crl", task: "publish_crl", caller: Caller(proof: .itself, channel: .admin))
        let box = PlanBox()
        _ = try processing.commitAndWait(
            Change(context, needs: .local, isVital: true) { commit in
                let planned = try commit.planRevocationList()
                box.plan.withLock { $0 = planned }
                return true
            })
        guard let planned = box.plan.withLock({ $0 }) else { throw CoreError("the CRL has no number") }
        let written = try self.opened.publishDespiteFullDisk(planned)
        self.cached.withLock { $0 = nil }
        self.announce(planned, written)
        if scheduled {
            // Only now: expired entries leave after they stood on a scheduled CRL, not after one was tried.
            _ = try processing.commitAndWait(
                Change(context, needs: .local, isVital: true) { commit in
                    try commit.confirmScheduled(planned)
                    return true
                })
        }
        self.log.info(
            "published CRL \(planned.number)",
            metadata: [
                "event": "crl-published", "number": "\(planned.number)", "entries": "\(written.entries)",
                "next_update": "\(planned.nextUpdate.rfc3339)",
            ])
    }

    /// Lets the bridge have the new list; it is published, whatever comes of this.
    private func announce(_ plan: PlannedRevocationList, _ written: WrittenList) {
        do {
            self.current.replace(by: try PublishedListFile(self.opened.directory.publishedList, plan: plan, written: written))
        } catch {
            self.log.error("the OCSP bridge goes on with the CRL before", metadata: ["cause": "\(error)"])
        }
    }

    func takeOver(_ piece: ListPiece, for context: RequestContext) throws -> JSON {
        guard let processing = self.processing.withLock({ $0 }) else { throw CoreError("the publisher is not running") }
        return try self.receiver.withLock { receiver in
            try receiver.take(piece, of: self.opened.authority, temporary: self.opened.directory.path, log: self.log) { body in
                let count = Mutex(TakingOverCount())
                _ = try processing.commitAndWait(
                    Change(context, needs: .local) { commit in
                        let part = try body(&commit)
                        count.withLock { $0 = part }
                        return true
                    })
                return count.withLock { $0 }
            } publish: {
                try self.publish()
            }
        }
    }

    var publishedFile: PublishedListFile? { self.current.value }

    func published() throws -> [UInt8]? { try self.opened.publishedList() }

    func publishedAnswer() throws -> [UInt8]? {
        guard let answer = try self.cachedAnswer() else { return nil }
        guard self.largeAnswers.admit(answer.count, at: .now) else {
            throw Refusal(.busy, "Busy: the CRL is asked for too often; try again, or take it from published/crl.der")
        }
        return answer
    }

    func publishedFacts() throws -> PublishedListFacts? {
        let path = self.opened.directory.publishedList
        guard let file = FileIdentity(path) else { return nil }
        if let known = self.facts.withLock({ $0 }), known.file == file { return known.facts }
        guard let der = try self.published() else { return nil }
        let facts = try PublishedListFacts(der: der)
        self.facts.withLock { $0 = (file, facts) }
        return facts
    }

    private func cachedAnswer() throws -> [UInt8]? {
        if let answer = self.cached.withLock({ $0 }) { return answer }
        guard let der = try self.opened.publishedList() else { return nil }
        guard der.count / 3 * 4 < Self.largestAnswer else {
            throw Refusal(
                .requestRefused, "The CRL has \(der.count) bytes, more than an answer may have (16 MiB); take it from published/crl.der")
        }
        let answer = [UInt8(ascii: "\"")] + Base64.encode(der) + [UInt8(ascii: "\"")]
        self.cached.withLock { $0 = answer }
        return answer
    }
}

/// Carries a plan from the writer's thread to the publisher's.
private final class PlanBox: Sendable {
    let plan = Mutex<PlannedRevocationList?>(nil)
}

extension OpenedAuthority {
    /// Builds a CRL and puts it in both places, each whole or not at all.
    func publish(_ plan: PlannedRevocationList) throws -> WrittenList { try self.authority.publish(plan, in: self.directory) }

    /// As `publish`, from the space set aside where the disk is full.
    func publishDespiteFullDisk(_ plan: PlannedRevocationList) throws -> WrittenList {
        while true {
            do { return try self.publish(plan) } catch {
                guard Self.mayBeFullDisk(error), self.store.giveUpSpace(self.spaceForList) else { throw error }
            }
        }
    }

    /// Two files and the spill, beside the two that stand, which have some entries fewer.
    private var spaceForList: Int64 {
        var status = stat()
        guard stat(self.directory.publishedList, &status) == 0 else { return 1 << 20 }
        return Int64(status.st_size) * 4 + (256 << 10)
    }

    /// A spill that fails does not say why; what is given up for nothing comes back within seconds.
    private static func mayBeFullDisk(_ error: any Error) -> Bool {
        if let error = error as? DurableFileError { return error.errno == ENOSPC || error.errno == EDQUOT }
        return (error as? RevocationFormatsError)?.code == .spillFailed
    }

    /// The published CRL; nil where there is none.
    func publishedList() throws -> [UInt8]? {
        guard DataDirectory.exists(self.directory.publishedList) else { return nil }
        return try PublishedFile.read(self.directory.publishedList)
    }
}

extension Authority {
    /// Builds a CRL and puts it in both places, each whole or not at all.
    @discardableResult
    func publish(_ plan: PlannedRevocationList, in directory: DataDirectory) throws -> WrittenList {
        var entries = 0
        var bytes = 0
        var hash = SHA256()
        try DurableFile.write(to: directory.listPEM, mode: 0o600) { writePEM in
            try DurableFile.write(to: directory.publishedList, mode: 0o644) { write in
                var pem = CRLPEMEncoder()
                entries = try self.write(plan, spill: try TemporaryFileCRLSpill(directory: directory.path)) { chunk in
                    try write(chunk)
                    chunk.withUnsafeBytes { hash.update(bufferPointer: $0) }
                    bytes += chunk.byteCount
                    try pem.append(chunk, to: writePEM)
                }
                try pem.finish(to: writePEM)
            }
        }
        return WrittenList(entries: entries, bytes: bytes, digest: Array(hash.finalize()))
    }
}
