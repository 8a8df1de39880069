// The way of a request: a worker takes it up, the writer commits it, a thread of its own goes on where that takes longer.

import Authority
import Glibc
import Logging
import PKI
import Synchronization
import Tasks
internal import Threads
import UPKIProtocol

/// What workers, writer and job threads share.
final class Processing: Sendable {
    let services: Services
    let work: Mailbox<Incoming>
    let changes: Mailbox<PendingChange>
    let jobs: [Step.Place: Mailbox<Job>]
    let outbox: Mailbox<Outgoing>
    let inFlight: InFlight
    let bridgeInFlight: InFlight
    let measurements: Measurements
    let wantsList: @Sendable () -> Void
    /// Called by the writer before answers go out.
    let windowChanged: @Sendable (RegistrationWindow) -> Void
    let log: Logger
    private let failures = FailureLog()
    private let shares = JobShares()
    private let prefix: String
    private let counter = Atomic<UInt64>(0)
    private let drops = Mutex<(second: UInt64, count: Int)>((0, 0))

    /// A relay answers `Busy` after 3.5 s; a request that old is not begun any more.
    private static let oldest: UInt64 = 3_400_000_000
    private static let largestBatch = 256
    /// How long the writer waits for company while requests are in flight.
    private static let gathering: UInt64 = 1_000_000

    init(
        services: Services, work: Mailbox<Incoming>, changes: Mailbox<PendingChange>, jobs: [Step.Place: Mailbox<Job>],
        outbox: Mailbox<Outgoing>,
        inFlight: InFlight, bridgeInFlight: InFlight, measurements: Measurements, instance: String,
        wantsList: @escaping @Sendable () -> Void, windowChanged: @escaping @Sendable (RegistrationWindow) -> Void, log: Logger
    ) {
        self.services = services
        self.work = work
        self.changes = changes
        self.jobs = jobs
        self.outbox = outbox
        self.inFlight = inFlight
        self.bridgeInFlight = bridgeInFlight
        self.measurements = measurements
        self.prefix = String(instance.prefix(8))
        self.wantsList = wantsList
        self.windowChanged = windowChanged
        self.log = log
    }

    /// An id that ties answer, log and audit record of a request together.
    private func nextRequestID() -> String { "\(self.prefix)-\(self.counter.add(1, ordering: .relaxed).newValue)" }

    // MARK: Workers

    /// Takes up requests until the mailbox is closed and empty.
    func runWorker(_ beat: LoopBeat) {
        var taken: [Incoming] = []
        while true {
            taken.removeAll(keepingCapacity: true)
            beat.idle()
            // One at a time: what one worker holds back the other cannot do.
            guard self.work.take(upTo: 1, into: &taken) else { return }
            for incoming in taken {
                beat.passing()
                self.takeUp(incoming)
            }
        }
    }

    private func takeUp(_ incoming: Incoming) {
        defer {
            self.inFlight.leave()
            if incoming.route.channel == .ocsp { self.bridgeInFlight.leave() }
        }
        guard !Self.isTooOld(incoming.arrival, on: incoming.route.channel) else {
            self.dropped()
            return
        }
        let id = self.nextRequestID()
        var route = incoming.route
        var context = RequestContext(id: id, task: "?", caller: incoming.caller)
        var task: Task?
        do {
            let request = try Request(frame: incoming.frame)
            context = RequestContext(id: id, task: request.task, caller: incoming.caller)
            let found = try TaskTable.task(request.task, on: incoming.caller.channel)
            self.log.debug("request", metadata: ["request": "\(id)", "task": "\(request.task)", "proof": "\(incoming.caller.proofText)"])
            task = found
            route.meter = self.measurements.meter(found.name, on: route.channel, arrival: incoming.arrival)
            self.go(
                on: try found.start(request, context: context, services: self.services), context: context, route: route,
                arrival: incoming.arrival)
        } catch {
            self.refuse(error, context: context, route: route, isAudited: task?.changes ?? false)
        }
    }

    /// Counts a request that came too late, and says so once a second: under a flood the log must not be the next victim.
    private func dropped() {
        self.measurements.dropped.add()
        let second = MonotonicTime.now.nanoseconds / 1_000_000_000
        let count = self.drops.withLock { drops -> Int? in
            drops.count += 1
            guard drops.second != second else { return nil }
            defer { drops = (second, 0) }
            return drops.count
        }
        if let count {
            self.log.warning(
                "requests waited too long and were dropped; their clients were told that the CA is busy", metadata: ["count": "\(count)"])
        }
    }

    /// The operator waits for as long as it takes; only relays give up.
    private static func isTooOld(_ arrival: UInt64, on channel: Caller.Channel) -> Bool {
        guard arrival > 0, channel != .admin else { return false }
        let now = MonotonicTime.now.nanoseconds
        return now > arrival && now - arrival > self.oldest
    }

    private func go(on step: Step, context: RequestContext, route: ReplyRoute, arrival: UInt64) {
        switch step {
        case .answer(let data): self.answer(route, Answer.frame(data), .ok)
        case .encoded(let data): self.answer(route, Answer.frame(encodedData: data), .ok)
        case .change(let change): self.submit(PendingChange(change: change, completion: .reply(route, requestID: context.id)))
        case .elsewhere(let place, let work):
            let job = Job(context: context, route: route, arrival: arrival, place: place, work: work)
            guard !Self.isShared(place, context.caller) || self.shares.enter("\(place)", of: context.caller.proofText) else {
                self.refuse(
                    route,
                    Refusal(.busy, "Busy: \(JobShares.most) requests of this kind and of this identity wait already; wait for answers"))
                return
            }
            if self.jobs[place]?.post(job) != .accepted {
                self.leave(place, context.caller)
                self.refuse(route, Refusal(.busy, "Busy: too many requests of this kind wait; try again"))
            }
        }
    }

    /// What takes a third of a second and more is shared out; the operator on the CA's host is never refused.
    private static func isShared(_ place: Step.Place, _ caller: Caller) -> Bool {
        caller.channel != .admin && (place == .keyMaker || place == .seedChecker)
    }

    private func leave(_ place: Step.Place, _ caller: Caller) {
        if Self.isShared(place, caller) { self.shares.leave("\(place)", of: caller.proofText) }
    }

    /// Counts the answer and hands it to the I/O thread.
    private func answer(_ route: ReplyRoute, _ frame: [UInt8], _ outcome: Outcome) {
        self.measurements.answered(route.meter, outcome)
        self.outbox.post(.answer(route, frame: frame))
    }

    private func refuse(_ route: ReplyRoute, _ refusal: Refusal) { self.answer(route, Answer.frame(refusal), Outcome(refusal.code)) }

    /// Answers with a refusal. One of a task that changes things goes through the writer, which audits it before it leaves, unless it is
    /// one of many: those are counted and answered at once.
    private func refuse(_ error: any Error, context: RequestContext, route: ReplyRoute, isAudited: Bool) {
        if isAudited, let refusal = error as? AuthorityError, !refusal.isFailure, !self.services.authority.count(refusal, of: context) {
            // What is refused for itself is not refused for the clock.
            let isVital = self.services.authority.secondsBehind > 0
            self.submit(
                PendingChange(
                    change: Change(context, needs: .anyone, isVital: isVital) { _ in throw refusal },
                    completion: .reply(route, requestID: context.id)))
        } else {
            self.refuse(route, self.words(for: error, requestID: context.id, task: context.task))
        }
    }

    /// The refusal that an error becomes; what nobody expected is an internal error with an id, its cause in the log alone.
    private func words(for error: any Error, requestID: String, task: String) -> Refusal {
        if let refusal = error as? Refusal { return refusal }
        if let error = error as? AuthorityError {
            if error.isFailure {
                if let like = self.failures.admit(error.detail, at: .now) {
                    self.log.error(
                        "\(error.detail)",
                        metadata: [
                            "event": "store-fault", "request": "\(requestID)", "task": "\(task)", "cause": "\(error.cause ?? "")",
                            "since_the_last": "\(like) like this",
                        ])
                }
            } else if let cause = error.cause {
                self.log.debug("\(error.detail)", metadata: ["request": "\(requestID)", "task": "\(task)", "cause": "\(cause)"])
            }
            return Refusal(error)
        }
        self.log.error(
            "internal error", metadata: ["event": "internal-error", "request": "\(requestID)", "task": "\(task)", "cause": "\(error)"])
        return Refusal(.internalError, "Internal error \(requestID)")
    }

    // MARK: The writer

    func submit(_ change: PendingChange) {
        if self.changes.post(change) != .accepted {
            self.complete(change, with: .failure(Refusal(.busy, "Busy: the CA is stopping or too many changes wait; try again")))
        }
    }

    /// Commits a change and waits for it; for threads that are not the writer's.
    func commitAndWait(_ change: Change<JSON>) throws -> JSON {
        let box = try Mailbox<Result<JSON, any Error>>()
        self.submit(PendingChange(change: change, completion: .call { box.post($0) }))
        guard let result = box.take(upTo: 1).first else { throw CoreError("the writer has stopped") }
        return try result.get()
    }

    /// Commits what workers prepared until the mailbox is closed and empty.
    func runWriter(_ beat: LoopBeat) {
        var batch: [PendingChange] = []
        var changeLog = ChangeLog(self.log)
        while true {
            batch.removeAll(keepingCapacity: true)
            beat.idle()
            guard self.changes.take(upTo: Self.largestBatch, into: &batch) else { return }
            beat.passing()
            self.gather(&batch)
            let start = MonotonicTime.now
            let report = self.services.authority.commit(batch.map(\.change))
            self.measurements.committed(report, changes: batch.count, since: start)
            for case .window(_, let window) in report.events { self.windowChanged(window) }
            var outgoing = report.events.map { Outgoing.event($0) }
            var calls: [(PendingChange, Result<JSON, any Error>)] = []
            for (change, result) in zip(batch, report.results) {
                if case .reply(let route, let requestID) = change.completion {
                    let (frame, outcome) = self.frame(result, requestID: requestID)
                    self.measurements.answered(route.meter, outcome)
                    outgoing.append(.answer(route, frame: frame))
                } else {
                    calls.append((change, result))
                }
            }
            // In one post, events first: whoever hears an answer can rely on the event being out.
            self.outbox.post(contentsOf: outgoing)
            // Last, since other threads answer when they hear of it.
            for (change, result) in calls { self.complete(change, with: result) }
            if report.wantsCRL { self.wantsList() }
            changeLog.tell(report.records, second: Int64(MonotonicTime.now.nanoseconds / 1_000_000_000))
        }
    }

    /// A sync costs more than a row: while more requests are on their way, up to a millisecond is waited for them.
    private func gather(_ batch: inout [PendingChange]) {
        let start = MonotonicTime.now.nanoseconds
        while batch.count < Self.largestBatch, !self.inFlight.isEmpty {
            let passed = MonotonicTime.now.nanoseconds &- start
            guard passed < Self.gathering else { return }
            guard self.changes.take(upTo: Self.largestBatch - batch.count, into: &batch, within: Self.gathering - passed) else { return }
        }
    }

    private func frame(_ result: Result<JSON, any Error>, requestID: String) -> ([UInt8], Outcome) {
        switch result {
        case .success(let data): return (Answer.frame(data), .ok)
        case .failure(let error):
            let refusal = self.words(for: error, requestID: requestID, task: "commit")
            return (Answer.frame(refusal), Outcome(refusal.code))
        }
    }

    private func complete(_ change: PendingChange, with result: Result<JSON, any Error>) {
        switch change.completion {
        case .reply(let route, let requestID):
            let (frame, outcome) = self.frame(result, requestID: requestID)
            self.answer(route, frame, outcome)
        case .call(let body): body(result)
        }
    }

    // MARK: Jobs

    /// Does one job of a thread of its own.
    func run(_ job: Job) {
        self.leave(job.place, job.context.caller)
        guard !Self.isTooOld(job.arrival, on: job.route.channel) else {
            self.dropped()
            return
        }
        do {
            self.go(on: try job.work(), context: job.context, route: job.route, arrival: job.arrival)
        } catch {
            self.refuse(error, context: job.context, route: job.route, isAudited: true)
        }
    }
}
