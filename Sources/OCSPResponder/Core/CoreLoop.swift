// The thread that owns the responder's ZeroMQ sockets: it hears ca-core's events, asks it for what requests lack, and keeps signer and files.
import CoreLink
internal import Crypto
internal import RevocationFormats
internal import Threads
import UPKIProtocol
import ZeroMQ

/// How important a line of the log is.
package enum ResponderLogLevel: String, Sendable {
    case debug, info, warning, error
}

/// What the core's thread reports, in order.
package enum ResponderEvent: Sendable, Equatable {
    case log(ResponderLogLevel, String)
    /// It has a signing certificate and hears ca-core for the first time.
    case ready
}

/// Hands a closure to one event loop.
package typealias LoopHop = @Sendable (@escaping @Sendable () -> Void) -> Void

/// What the core's thread is told.
package struct CoreLoopOptions: Sendable {
    /// The folder with `ocsp.sock` and `events.sock`.
    package var runDirectory: String
    /// Name and version as `hello` says them.
    package var program: String
    /// Milliseconds.
    package var publicationInterval = 5_000
    package var reconnectInterval = 20
    /// A pass that comes later than it should by more than that shows that the process stood still.
    package var toleratedDelay = 50

    package init(runDirectory: String, program: String) {
        self.runDirectory = runDirectory
        self.program = program
    }
}

/// The state of the core's thread; it is made, used and ended on it.
final class CoreLoop {
    /// A message to the core that is not answered yet.
    private enum Asked {
        case statuses([Lookup])
        case publication
        case certificate(ResponderKey)
        /// The statuses of the signers' own certificates.
        case signers([OCSPSerial])
        case listPiece(number: String, offset: Int)
    }

    private let options: CoreLoopOptions
    private let responder: Responder
    private let shared: ResponderShared
    private let hops: [LoopHop]
    private let events: Mailbox<ResponderEvent>
    private let control: Mailbox<String>
    private let beat: LoopBeat

    private let context: ZMQContext
    private let core: CoreLink
    private let coreIndex: Int
    private let subscription: ZMQSocket
    private let subscriptionMonitor: ZMQMonitor
    private var poll: ZMQPollSet

    private var hearing = CoreHearing()
    private var contact = CoreContact()
    private var lookups = Lookups()
    private var asked: [UInt64: (what: Asked, at: MonotonicTime)] = [:]
    private var lastID: UInt64 = 0
    private var lastReceived = MonotonicTime(nanoseconds: 0)
    /// Events that may be newer than answers which are still to come, in the order they were heard.
    private var recentEvents = RingQueue<(serial: OCSPSerial, sequence: Int64, heard: MonotonicTime)>()
    private var recentStatuses: [OCSPSerial: (sequence: Int64, status: OCSPCertStatus)] = [:]
    /// What event loops get at the end of the pass.
    private var deliveries: [[(WaitingRequest, LookupOutcome)]]
    /// When the thread looked at the clock last, between two passes or before one.
    private var lookedAt: MonotonicTime
    /// It stood still before this pass.
    private var stoodStill = false

    private var keeper: SignerKeeper
    /// When to ask whether the signers' own certificates are revoked; nil while that is known.
    private var signersDue: MonotonicTime?
    private var list = ListKeeper()
    private var publicationDue = MonotonicTime(nanoseconds: 0)
    /// Heartbeats alone do not make it ask again before that.
    private var publicationPause = MonotonicTime(nanoseconds: 0)
    private var isReady = false
    private var wasHeard = false
    private var reportedRefusal: String?

    private static let eventsPerTurn = 4_096
    private static let answersPerTurn = 256
    /// A pass comes at least that often, in milliseconds.
    private static let longestWait = 250
    /// A question that is not answered within this time shows that the core does not answer; milliseconds.
    private static let silenceLimit = 500
    /// Milliseconds without a heartbeat that the log tells of.
    private static let silenceWorthALine = 1_000
    /// A question that is no lookup is asked again after that; milliseconds.
    private static let answerTime = 4_000

    init(
        _ options: CoreLoopOptions, responder: Responder, hops: [LoopHop], events: Mailbox<ResponderEvent>, control: Mailbox<String>,
        beat: LoopBeat
    ) throws(ResponderError) {
        self.options = options
        self.responder = responder
        shared = responder.shared
        self.hops = hops
        self.events = events
        self.control = control
        self.beat = beat
        lookedAt = responder.shared.clock.monotonic()
        deliveries = Array(repeating: [], count: hops.count)
        keeper = SignerKeeper()
        var poll = ZMQPollSet()
        poll.add(descriptor: control.descriptor)
        poll.add(descriptor: responder.shared.lookups.descriptor)
        do throws(ZeroMQError) {
            context = try ZMQContext()
            core = try CoreLink(
                CoreLinkOptions(
                    corePath: "\(options.runDirectory)/ocsp.sock", program: options.program, reconnectInterval: options.reconnectInterval),
                context: context)
            coreIndex = core.add(to: &poll)
            var socketOptions = ZMQSocketOptions()
            socketOptions.reconnectMilliseconds = options.reconnectInterval
            // As many as the core keeps for a subscriber that is slow; beyond them a gap is noticed.
            socketOptions.receiveHighWater = 10_000
            let subscription = try ZMQSocket(.subscribe, in: context, options: socketOptions)
            // Watched before it is connected, so that no loss is missed.
            subscriptionMonitor = try ZMQMonitor(of: subscription)
            try subscription.subscribe([])
            try subscription.connect("ipc://\(options.runDirectory)/events.sock")
            poll.add(subscription)
            _ = subscriptionMonitor.add(to: &poll)
            self.subscription = subscription
        } catch {
            throw ResponderError(.system, error.message)
        }
        self.poll = poll
    }

    /// Runs until a reason to stop is posted.
    func run() throws(ResponderError) -> String {
        do throws(ZeroMQError) {
            while true {
                let wait = try waitForSomething()
                beat.passing()
                if let reason = try pass(at: look(after: wait)) { return reason }
            }
        } catch {
            throw ResponderError(.system, error.message)
        }
    }

    /// Looks at the clock, and whether it is later than it should be.
    /// - Parameter milliseconds: what was waited at most since the last look.
    private func look(after milliseconds: Int) -> MonotonicTime {
        let now = shared.clock.monotonic()
        if now > lookedAt.advanced(byMilliseconds: milliseconds).advanced(byMilliseconds: options.toleratedDelay) { stoodStill = true }
        lookedAt = now
        return now
    }

    /// - Returns: the milliseconds that it waited at most.
    private func waitForSomething() throws(ZeroMQError) -> Int {
        let now = look(after: 0)
        var wait = Self.longestWait
        // What can only be done with the core there is no reason to wake up without it.
        let mayAsk = core.state == .ready
        let moments = [
            lookups.nextDeadline, core.nextAction, oldestStatusesAsked, mayAsk ? publicationDue : nil, mayAsk ? keeper.nextAttempt : nil,
            mayAsk ? signersDue : nil,
        ]
        for case let moment? in moments { wait = min(wait, max(1, now.milliseconds(until: moment))) }
        poll.wait(at: coreIndex, for: core.wantsToSend(requestsWait: lookups.hasUnsent) ? [.readable, .writable] : .readable)
        if !control.mayPoll() { wait = 0 }
        if !shared.lookups.mayPoll() { wait = 0 }
        if stoodStill { wait = 0 }
        beat.idle()
        _ = try poll.wait(milliseconds: wait)
        return wait
    }

    private func pass(at now: MonotonicTime) throws(ZeroMQError) -> String? {
        var reasons: [String] = []
        control.takeAll(into: &reasons)
        if let reason = reasons.first { return reason }
        try noticeConnections()
        try readEvents()
        try readCore(at: now)
        askAgainAfterStandstill(at: now)
        takeLookups()
        try core.greetIfDue(at: now, nextID: nextID)
        try askForWhatIsDue(at: now)
        try sendLookups()
        noticeSilence(at: now)
        hand(lookups.expire(at: now, allInDoubt: !contact.answers), .unanswered)
        report(at: now)
        deliver()
        return nil
    }

    // MARK: Connections

    private func noticeConnections() throws(ZeroMQError) {
        while let event = try subscriptionMonitor.next() {
            if event.kind == .disconnected {
                hearing.connectionLost()
                publishContact { $0.lastHeartbeat = nil }
            }
        }
        guard try core.noticeConnections() else { return }
        publishContact { $0.answers = false }
        // What was asked is not answered any more; requests wait until their deadline, should the core come back.
        for (_, question) in asked.sorted(by: { $0.key < $1.key }) {
            if case .statuses(let lost) = question.what { lookups.askAgain(lost) }
        }
        asked.removeAll()
        keeper.lost()
        doubtSigners()
        list.lost()
        log(.warning, "ca-core is gone; what is kept is served within its limits")
    }

    private func greeted() {
        reportedRefusal = nil
        lastReceived = shared.clock.monotonic()
        consider(hearing.greeted(instance: core.instance))
        publishContact { $0.answers = true }
        publicationDue = MonotonicTime(nanoseconds: 0)
        shared.facts.withLock {
            $0.instance = core.instance
            $0.refusal = nil
        }
        log(.info, "\(core.coreProgram) answers\(core.instance.map { ", instance \($0)" } ?? "")")
    }

    /// While the process stood still, the core cannot be blamed for what was not heard, and what it said before may be the truth no more.
    private func askAgainAfterStandstill(at now: MonotonicTime) {
        guard stoodStill else { return }
        stoodStill = false
        lookups.stoodStill(until: now)
        for (id, question) in asked.sorted(by: { $0.key < $1.key }) {
            if case .statuses(let unanswered) = question.what {
                lookups.askAgain(unanswered)
                asked[id] = nil
            } else {
                asked[id]?.at = now
            }
        }
        if core.state == .ready, !contact.answers { publishContact { $0.answers = true } }
        shared.counters.standstills.add()
        log(.debug, "this program stood still for a while; what ca-core was asked is asked again")
    }

    /// A core that was asked and says nothing at all is taken for away until it is heard.
    private func noticeSilence(at now: MonotonicTime) {
        guard contact.answers, let limit = oldestStatusesAsked, limit <= now else { return }
        publishContact { $0.answers = false }
        log(.warning, "ca-core does not answer; what is kept is served within its limits")
    }

    /// When the oldest question that nothing was heard after shows the core to be silent.
    private var oldestStatusesAsked: MonotonicTime? {
        guard contact.answers else { return nil }
        let oldest = asked.values.filter { $0.at >= lastReceived }.map(\.at).min()
        return oldest?.advanced(byMilliseconds: Self.silenceLimit)
    }

    private func heardSomething(at now: MonotonicTime) {
        lastReceived = now
        if core.state == .ready, !contact.answers { publishContact { $0.answers = true } }
    }

    // MARK: Events

    private func readEvents() throws(ZeroMQError) {
        let heardBefore = hearing.since != nil
        var heartbeat: (MonotonicTime, Int64)?
        for _ in 0..<Self.eventsPerTurn {
            guard let message = try subscription.receiveNow(ZMQReceiveLimits(parts: 1, bytes: 64 << 10)) else { break }
            guard message.parts.count == 1, message.discardedParts == 0, let event = CoreEvent(message.parts[0]) else {
                consider(.drop("a message on events.sock is not understood"))
                continue
            }
            switch event {
            case .heartbeat(let instance, let sequence, let crlNumber, let sentAt):
                // It shows when the core lived, not when it was read.
                let now = shared.clock.monotonic()
                let sent = sentAt.map { min(MonotonicTime(nanoseconds: $0), now) } ?? now
                consider(hearing.heartbeat(instance: instance, sequence: sequence, at: sent))
                heartbeat = (sent, shared.clock.unixTime() - Int64(clamping: sent.nanoseconds(until: now) / 1_000_000_000))
                if let crlNumber, list.isNews(crlNumber) { publicationDue = min(publicationDue, publicationPause) }
            case .status(let instance, let sequence, let serial, let status):
                apply(serial, status, hearing.event(instance: instance, sequence: sequence), sequence)
            case .other(let instance, let sequence, let isUnderstood):
                consider(hearing.event(instance: instance, sequence: sequence))
                if !isUnderstood { consider(.drop("an event of ca-core is not understood")) }
            }
        }
        // Only now, when the events that came with it are taken in.
        if !heardBefore, hearing.since != nil { doubtSigners() }
        guard let (sent, time) = heartbeat, hearing.since != nil else { return }
        heardSomething(at: shared.clock.monotonic())
        publishContact {
            $0.lastHeartbeat = sent
            $0.lastHeard = sent
            $0.lastHeartbeatTime = time
        }
    }

    private func apply(_ serial: OCSPSerial, _ status: OCSPCertStatus, _ consequence: CoreHearing.Consequence, _ sequence: Int64) {
        consider(consequence)
        guard consequence != .ignore else { return }
        shared.counters.statusEvents.add()
        shared.cache.changed(serial, to: status, sequence: sequence)
        recentStatuses[serial] = (sequence, status)
        recentEvents.append((serial, sequence, shared.clock.monotonic()))
        if case .revoked = status { retireSigner(serial) }
    }

    private func consider(_ consequence: CoreHearing.Consequence) {
        guard case .drop(let reason) = consequence else { return }
        shared.cache.dropEverything()
        doubtSigners()
        log(.warning, "everything kept is dropped: \(reason)")
    }

    /// Events are remembered while an answer may come that was read before them.
    private func forgetOldEvents() {
        var oldest = MonotonicTime(nanoseconds: .max)
        for question in asked.values { if case .statuses = question.what { oldest = min(oldest, question.at) } }
        while let event = recentEvents.first, event.heard < oldest {
            recentEvents.popFirst()
            if recentStatuses[event.serial]?.sequence == event.sequence { recentStatuses[event.serial] = nil }
        }
    }

    // MARK: Answers of the core

    private func readCore(at now: MonotonicTime) throws(ZeroMQError) {
        for _ in 0..<Self.answersPerTurn {
            guard let message = try core.receive(at: now) else { break }
            heardSomething(at: now)
            switch message {
            case .hello: greeted()
            case .answer(let id, let payload):
                guard let question = asked.removeValue(forKey: id) else { continue }
                answered(question.what, askedAt: question.at, payload, at: now)
            case .refused(let id):
                if case .statuses(let refused)? = asked.removeValue(forKey: id)?.what { giveUp(refused, .refused) }
                reportRefusal()
            case .goingAway: log(.info, "ca-core is ending; questions wait for the next one")
            case .malformed(let what):
                log(.warning, "a message of ca-core is not understood: \(what)")
                reportRefusal()
            }
        }
        forgetOldEvents()
    }

    private func reportRefusal() {
        guard case .refused(let line, _) = core.state, line != reportedRefusal else { return }
        reportedRefusal = line
        publishContact { $0.answers = false }
        shared.facts.withLock { $0.refusal = line }
        log(.error, "ca-core does not serve this program: \(line)")
    }

    private func answered(_ question: Asked, askedAt: MonotonicTime, _ payload: [UInt8], at now: MonotonicTime) {
        do throws(Refusal) {
            switch question {
            case .statuses(let lookups): told(lookups, try StatusesAnswer(payload), askedAt: askedAt)
            case .signers(let serials): signersTold(serials, try StatusesAnswer(payload))
            case .publication: published(try PublicationAnswer(payload), at: now)
            case .certificate(let key): certified(key, try CertificateAnswer(payload), at: now)
            case .listPiece(let number, let offset): listPiece(try ListPiece(payload), number, offset)
            }
        } catch {
            refused(question, error.message, at: now)
        }
    }

    private func refused(_ question: Asked, _ line: String, at now: MonotonicTime) {
        switch question {
        case .statuses(let lookups):
            giveUp(lookups, .refused)
            log(.warning, "ca-core does not tell statuses: \(line)")
        case .publication:
            publicationDue = now.advanced(byMilliseconds: 1_000)
            complain(\.publicationFailure, "ca-core does not tell what it publishes: \(line)")
        case .certificate: certificationFailed(line, at: now)
        case .signers: signersDue = now.advanced(byMilliseconds: 1_000)
        case .listPiece:
            // Another list has taken its place.
            list.lost()
            publicationDue = now.advanced(byMilliseconds: 100)
            complain(\.listFailure, "ca-core does not give its CRL: \(line)")
        }
    }

    // MARK: Statuses

    private func takeLookups() {
        var requests: [WaitingRequest] = []
        shared.lookups.takeAll(into: &requests)
        for request in requests { lookups.add(request) }
    }

    private func sendLookups() throws(ZeroMQError) {
        let now = shared.clock.monotonic()
        while core.state == .ready, lookups.hasUnsent {
            let batch = lookups.takeUnsent(CoreQuestion.mostSerials)
            guard !batch.isEmpty else { return }
            guard try ask(.statuses(batch), CoreQuestion.statuses(batch.lazy.map(\.serial)), at: now) else {
                return lookups.askAgain(batch)
            }
            shared.counters.statusMessages.add()
        }
    }

    private func told(_ asked: [Lookup], _ answer: StatusesAnswer, askedAt: MonotonicTime) {
        let mayKeep = hearing.mayKeep(readAt: answer.sequence, by: core.instance)
        for lookup in asked {
            guard let status = answer.statuses[lookup.serial] else {
                hand(lookups.giveUp(lookup), .refused)
                continue
            }
            let told: ToldStatus
            if let event = recentStatuses[lookup.serial], event.sequence > answer.sequence {
                // The event is the newer of the two.
                told = take(
                    lookup.serial, event.status, event.sequence, askedAt: askedAt,
                    mayKeep: hearing.mayKeep(readAt: event.sequence, by: core.instance))
            } else if !mayKeep, let since = hearing.since, answer.sequence < since, lookup.repeats < 2 {
                // Events between its reading and our listening were not heard.
                lookup.repeats += 1
                lookups.askAgain([lookup])
                continue
            } else {
                told = take(lookup.serial, status, answer.sequence, askedAt: askedAt, mayKeep: mayKeep)
            }
            hand(lookups.tell(lookup, told), .told)
        }
    }

    private func take(_ serial: OCSPSerial, _ status: OCSPCertStatus, _ sequence: Int64, askedAt: MonotonicTime, mayKeep: Bool)
        -> ToldStatus
    {
        guard mayKeep, status != .unknown else {
            return ToldStatus(status: status, token: shared.cache.token(for: serial), askedAt: askedAt, isFollowed: mayKeep)
        }
        let taken = shared.cache.learn(serial, status, sequence: sequence)
        return ToldStatus(status: taken.status, token: taken.token, askedAt: askedAt, isFollowed: true)
    }

    private func giveUp(_ given: [Lookup], _ end: LookupEnd) {
        for lookup in given { hand(lookups.giveUp(lookup), end) }
    }

    private enum LookupEnd { case told, refused, unanswered }

    private func hand(_ waiters: [LookupWaiter], _ end: LookupEnd) {
        let now = shared.clock.monotonic()
        for waiter in waiters {
            shared.waiting.wrappingSubtract(waiter.request.serials.count, ordering: .relaxed)
            if end == .told {
                shared.counters.lookupTime.record(waiter.request.arrival.nanoseconds(until: now))
            } else {
                shared.counters.lookupsUnanswered.add()
            }
            guard deliveries.indices.contains(waiter.request.loop) else { continue }
            let outcome: LookupOutcome =
                switch end {
                case .told: .told(waiter.told)
                case .refused: .refused
                case .unanswered: .unanswered(at: now)
                }
            deliveries[waiter.request.loop].append((waiter.request, outcome))
        }
    }

    /// Hands what is finished to its event loops, with one call for each.
    private func deliver() {
        for loop in deliveries.indices where !deliveries[loop].isEmpty {
            let batch = deliveries[loop]
            deliveries[loop].removeAll(keepingCapacity: true)
            let hop = hops[loop]
            hop { [responder] in
                for (request, outcome) in batch { responder.finish(request, outcome) }
            }
        }
    }

    // MARK: Signing certificate and files

    private func askForWhatIsDue(at now: MonotonicTime) throws(ZeroMQError) {
        guard core.state == .ready else { return }
        // An answer that never came is asked for again.
        for (id, question) in asked where question.at.advanced(byMilliseconds: Self.answerTime) <= now {
            switch question.what {
            case .statuses(let late): giveUp(late, .unanswered)
            case .publication: publicationDue = now
            case .certificate:
                // The certificate may have been issued: another one would be the third, and ca-core revokes what is one too many. So it is
                // waited for until the connection is lost, as long as there is one to sign with.
                complain(\.certificationFailure, "there is no new signing certificate: ca-core did not answer in time")
                if shared.view.withLock({ $0 }).signer(at: shared.clock.unixTime()) != nil { continue }
                certificationFailed("ca-core did not answer in time", at: now)
            case .signers: signersDue = now
            case .listPiece: list.lost()
            }
            asked[id] = nil
        }
        if publicationDue <= now {
            publicationDue = now.advanced(byMilliseconds: options.publicationInterval)
            publicationPause = now.advanced(byMilliseconds: 100)
            if try !ask(.publication, CoreQuestion.publication, at: now) { publicationDue = now }
        }
        if let (number, offset) = list.nextPiece {
            if try ask(.listPiece(number: number, offset: offset), CoreQuestion.publishedList(number: number, offset: offset), at: now) {
                list.asked()
            }
        }
        try askForCertificate(at: now)
        try askForSigners(at: now)
    }

    // MARK: Revoked signers

    /// Something may have happened to the signers' certificates that was not heard.
    private func doubtSigners() { signersDue = MonotonicTime(nanoseconds: 0) }

    private func askForSigners(at now: MonotonicTime) throws(ZeroMQError) {
        guard let due = signersDue, due <= now else { return }
        let serials = shared.view.withLock { $0 }.signers.compactMap(\.serial)
        guard !serials.isEmpty else {
            signersDue = nil
            return
        }
        if try ask(.signers(serials), CoreQuestion.statuses(serials), at: now) { signersDue = nil }
    }

    private func signersTold(_ serials: [OCSPSerial], _ answer: StatusesAnswer) {
        for serial in serials { if case .revoked? = answer.statuses[serial] { retireSigner(serial) } }
    }

    /// Takes a signer whose certificate is revoked out of use, and with it what it signed.
    private func retireSigner(_ serial: OCSPSerial) {
        let signers = shared.view.withLock { $0 }.signers
        guard let index = signers.firstIndex(where: { $0.serial == serial }) else { return }
        replaceView(signers: signers.filter { $0.serial != serial })
        // The one before the newest goes without a successor: it has one.
        if index == 0 { keeper.renewNow() }
        log(.warning, "the signing certificate \(serial.decimal) is revoked: nothing is answered with it any more")
    }

    private func askForCertificate(at now: MonotonicTime) throws(ZeroMQError) {
        let view = shared.view.withLock { $0 }
        guard view.authority != nil, keeper.mayAsk(at: now, newest: view.signers.first, unixTime: shared.clock.unixTime()) else { return }
        do throws(ResponderError) {
            let key = ResponderKey()
            let request = try key.certificationRequest()
            do throws(ZeroMQError) {
                if try ask(.certificate(key), CoreQuestion.responderCertificate(request: request), at: now) { keeper.asked() }
            } catch {
                throw ResponderError(.system, error.message)
            }
        } catch {
            certificationFailed(error.message, at: now)
        }
    }

    private func certificationFailed(_ line: String, at now: MonotonicTime) {
        keeper.failed(at: now)
        complain(\.certificationFailure, "there is no new signing certificate: \(line)")
        shared.counters.certificationsRefused.add()
    }

    private func certified(_ key: ResponderKey, _ answer: CertificateAnswer, at now: MonotonicTime) {
        do throws(ResponderError) {
            if answer.authority != shared.view.withLock({ $0 }).authority?.der { try adopt(answer.authority) }
            let view = shared.view.withLock { $0 }
            guard let authority = view.authority else { return }
            let time = shared.clock.unixTime()
            let signer = try key.signer(certificate: answer.certificate, of: authority, now: time, generation: keeper.nextGeneration())
            keeper.succeeded(at: now)
            shared.facts.withLock { $0.certificationFailure = nil }
            // The one before goes on for what it signed already, until its certificate ends.
            replaceView(signers: [signer] + view.signers.prefix(1).filter { $0.isValid(at: time) })
            // Its revocation may have been heard before it came.
            doubtSigners()
            shared.counters.certifications.add()
            log(
                .info,
                "signs with a new certificate, serial number \(signer.serial?.decimal ?? "?"), for \((signer.end - time) / 3_600) hours")
        } catch {
            certificationFailed(error.message, at: now)
        }
    }

    private func published(_ answer: PublicationAnswer, at now: MonotonicTime) {
        shared.facts.withLock { $0.publicationFailure = nil }
        do throws(ResponderError) {
            if answer.authority != shared.view.withLock({ $0 }).authority?.der { try adopt(answer.authority) }
        } catch {
            complain(\.publicationFailure, error.message)
        }
        if answer.policy != shared.view.withLock({ $0 }).policy {
            // Ready answers were signed for another lifetime.
            shared.cache.dropEverything()
            replaceView(policy: answer.policy)
        }
        list.published(answer.list)
        if answer.list == nil { shared.documents.withLock { ($0.revocationList, $0.listNumber) = (nil, nil) } }
    }

    /// Takes on another CA certificate, and where its key or name is another, drops everything that was of the old one.
    private func adopt(_ der: [UInt8]) throws(ResponderError) {
        let authority = try AuthorityIdentity(der: der)
        let view = shared.view.withLock { $0 }
        let document = PublishedDocument(
            der: der, lastModified: authority.notBefore, expires: authority.notAfter, tag: String(authority.fingerprint.prefix(32)))
        shared.documents.withLock { $0.authorityCertificate = document }
        keeper.renewNow()
        guard authority.issuer != view.authority?.issuer else { return replaceView(authority: authority) }
        let isFirst = view.authority == nil
        shared.view.withLock {
            $0 = ResponderShared.View(authority: authority, authorityNumber: view.authorityNumber &+ 1, signers: [], policy: view.policy)
        }
        guard !isFirst else { return }
        shared.cache.dropEverything()
        log(.warning, "the CA has another key or name: everything kept is dropped, and a new signing certificate is asked for")
    }

    private func replaceView(authority: AuthorityIdentity? = nil, signers: [Signer]? = nil, policy: ResponderPolicy? = nil) {
        shared.view.withLock { view in
            view = ResponderShared.View(
                authority: authority ?? view.authority, authorityNumber: view.authorityNumber, signers: signers ?? view.signers,
                policy: policy ?? view.policy)
        }
    }

    private func listPiece(_ piece: ListPiece, _ number: String, _ offset: Int) {
        do throws(ResponderError) {
            guard let (document, number) = try list.took(piece, number: number, offset: offset) else { return }
            shared.facts.withLock { $0.listFailure = nil }
            shared.documents.withLock { ($0.revocationList, $0.listNumber) = (document, number) }
            log(.debug, "serves the CRL with number \(number), \(document.der.count) bytes")
        } catch {
            publicationDue = shared.clock.monotonic().advanced(byMilliseconds: 100)
            complain(\.listFailure, error.message)
        }
    }

    // MARK: Small things

    private func ask(_ what: Asked, _ payload: [UInt8], at now: MonotonicTime) throws(ZeroMQError) -> Bool {
        let id = nextID()
        let header = InternalLink.RequestHeader(kind: .request, id: id, arrival: now.nanoseconds, identity: .none)
        guard try core.send(header, payload) else { return false }
        asked[id] = (what, now)
        return true
    }

    private func nextID() -> UInt64 {
        lastID &+= 1
        return lastID
    }

    private func publishContact(_ change: (inout CoreContact) -> Void) {
        change(&contact)
        shared.contact.withLock { $0 = contact }
    }

    /// Says a failure once, and keeps it for /healthz.
    private func complain(_ fact: WritableKeyPath<CoreFacts, String?>, _ line: String) {
        let isNew = shared.facts.withLock { facts in
            defer { facts[keyPath: fact] = line }
            return facts[keyPath: fact] != line
        }
        if isNew { log(.warning, line) }
    }

    private func log(_ level: ResponderLogLevel, _ line: String) {
        events.post(.log(level, line))
    }

    /// Tells others how it is: facts for people, lines at changes, readiness once.
    private func report(at now: MonotonicTime) {
        shared.facts.withLock {
            $0.link = core.state.description
            $0.sequence = hearing.sequence
        }
        let isHeard = contact.liveness(at: now) == .live
        if isHeard, !wasHeard {
            log(.info, "ca-core is heard, event \(hearing.sequence ?? 0)")
            wasHeard = true
        } else if wasHeard, let last = contact.lastHeard, last.advanced(byMilliseconds: Self.silenceWorthALine) < now {
            // A late heartbeat on a busy machine is no news.
            log(.warning, "ca-core is not heard any more; each request asks it")
            wasHeard = false
        }
        if !isReady, isHeard, shared.view.withLock({ $0 }).signer(at: shared.clock.unixTime()) != nil {
            isReady = true
            events.post(.ready)
        }
    }
}
