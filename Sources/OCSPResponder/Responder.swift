// Answers OCSP requests on the event loops: from what is kept, with a new signature, or after ca-core was asked.
internal import RevocationFormats
import Synchronization
package import Threads

/// Where the responder gets the time from.
package struct ResponderClock: Sendable {
    package var monotonic: @Sendable () -> MonotonicTime
    /// Whole seconds since 1970.
    package var unixTime: @Sendable () -> Int64

    package init(monotonic: @escaping @Sendable () -> MonotonicTime, unixTime: @escaping @Sendable () -> Int64) {
        self.monotonic = monotonic
        self.unixTime = unixTime
    }
}

/// A request that waits for ca-core.
struct WaitingRequest: Sendable {
    enum Question: Sendable {
        /// One certificate of the CA and nothing else.
        case plain(OCSPPlainRequest)
        case parsed(ParsedRequest)
    }

    var question: Question
    /// The serial numbers whose statuses are wanted; at least one.
    var serials: [OCSPSerial]
    var loop: Int
    var deliver: @Sendable (OCSPAnswer) -> Void
    var arrival: MonotonicTime
    /// Whether the core is asked because it was not heard lately, so that something kept may have to do instead.
    var isDoubt: Bool
    /// How often it was asked before.
    var attempts: Int
    /// The CA that the question was understood for.
    var authorityNumber: UInt32
}

/// What ca-core said of a serial number, with the state of knowledge that it was taken in under.
struct ToldStatus: Sendable {
    var status: OCSPCertStatus
    var token: CacheToken
    /// When ca-core was asked: it may have read the status right then, however late its answer came.
    var askedAt: MonotonicTime
    /// Whether every later change of it is heard as an event, so that it holds as long as events are heard and the token is current.
    var isFollowed: Bool

    /// Whether it is as good as a heartbeat of this moment.
    func isFresh(at now: MonotonicTime) -> Bool { askedAt.nanoseconds(until: now) < CoreContact.heartbeatLimit }
}

/// How the wait of a request ended.
enum LookupOutcome: Sendable {
    case told([OCSPSerial: ToldStatus])
    /// ca-core is there and does not tell: what is kept will not do in its place.
    case refused
    /// ca-core did not answer until that moment.
    case unanswered(at: MonotonicTime)
}

/// A request that had to be parsed.
struct ParsedRequest: Sendable {
    struct Part: Sendable {
        var certID: [UInt8]
        /// nil where the answer is `unknown` whatever ca-core says: another CA's, or a number no certificate can have.
        var serial: OCSPSerial?
    }

    var parts: [Part]
    /// To be echoed.
    var nonce: [UInt8]?
}

/// What event loops and the core's thread share.
final class ResponderShared: Sendable {
    /// What rarely changes; read by every request.
    final class View: Sendable {
        let authority: AuthorityIdentity?
        /// The signers that may be used, two at most, the newest first.
        let signers: [Signer]
        let policy: ResponderPolicy
        /// Another one for another CA key or name.
        let authorityNumber: UInt32

        init(
            authority: AuthorityIdentity? = nil, authorityNumber: UInt32 = 0, signers: [Signer] = [],
            policy: ResponderPolicy = ResponderPolicy()
        ) {
            self.authority = authority
            self.authorityNumber = authorityNumber
            self.signers = signers
            self.policy = policy
        }

        func signer(at now: Int64) -> Signer? { signers.first { $0.isValid(at: now) } }
    }

    let cache: ResponseCache
    let clock: ResponderClock
    let counters = ResponderCounters()
    let view = Mutex(View())
    let contact = Mutex(CoreContact())
    let documents = Mutex(Documents())
    let facts = Mutex(CoreFacts())
    /// Requests for the core's thread; bounded by `waiting`.
    let lookups: Mailbox<WaitingRequest>
    /// Serial numbers that are asked for and not answered yet.
    let waiting = Atomic<Int>(0)

    /// Serial numbers that may wait at a time.
    static let mostWaiting = 20_000
    /// Beyond so many, requests for several certificates are refused, so that those for one still find room.
    static let mostWaitingOfSeveral = 16_000

    init(cacheBytes: Int, clock: ResponderClock) throws(ResponderError) {
        cache = try ResponseCache(bytes: cacheBytes)
        self.clock = clock
        do throws(ThreadsError) {
            lookups = try Mailbox()
        } catch {
            throw ResponderError(.system, error.message)
        }
    }
}

/// What is served beside OCSP.
struct Documents: Sendable {
    var authorityCertificate: PublishedDocument?
    var revocationList: PublishedDocument?
    /// The number of that CRL.
    var listNumber: String?
}

/// Answers OCSP requests for one CA; shared by all event loops.
package final class Responder: OCSPAnswering {
    let shared: ResponderShared

    /// What a request is counted as that gets an answer of five bytes.
    private static let malformed = error(.malformedRequest, .malformedRequest)
    private static let tryLater = error(.tryLater, .tryLater)
    private static let unauthorized = error(.unauthorized, .unauthorized)
    private static let internalError = error(.internalError, .internalError)
    /// A status that changes again and again while it is signed is left to the next request.
    private static let mostAttempts = 3

    private static func error(_ kind: OCSPAnswer.Kind, _ status: OCSPResponseStatus) -> OCSPAnswer {
        OCSPAnswer(kind: kind, der: status.errorResponse)
    }

    /// - Parameters:
    ///   - cacheBytes: what statuses and answers may take together.
    ///   - clock: where the time comes from.
    /// - Throws: `.system` where there is no memory or no descriptor.
    package init(cacheBytes: Int, clock: ResponderClock) throws(ResponderError) {
        shared = try ResponderShared(cacheBytes: cacheBytes, clock: clock)
    }

    package func document(_ kind: PublishedDocument.Kind) -> PublishedDocument? {
        shared.documents.withLock {
            switch kind {
            case .authorityCertificate: $0.authorityCertificate
            case .revocationList: $0.revocationList
            }
        }
    }

    package var maximumAge: Int64 { shared.view.withLock { $0 }.policy.maximumAge }

    // MARK: A request comes

    package func answer(
        _ request: UnsafeRawBufferPointer, on loop: Int, deliver: @escaping @Sendable (OCSPAnswer) -> Void
    ) -> OCSPAnswer? {
        let moment = Moment(shared)
        guard let authority = moment.view.authority else { return Self.tryLater }
        let question: WaitingRequest.Question
        if moment.view.policy.nonce != .require, let plain = authority.issuer.plainRequest(request) {
            question = .plain(plain)
        } else {
            switch Self.read(request, authority, moment.view.policy) {
            case .failure(let refused): return refused.answer
            case .success(let read): question = read
            }
        }
        return answer(question, moment, told: [:]).orWait { serials in
            wait(
                WaitingRequest(
                    question: question, serials: serials, loop: loop, deliver: deliver, arrival: moment.monotonic,
                    isDoubt: Moment(shared).liveness != .live, attempts: 0, authorityNumber: moment.view.authorityNumber))
        }
    }

    private struct Refused: Error { var answer: OCSPAnswer }

    private static func read(
        _ request: UnsafeRawBufferPointer, _ authority: AuthorityIdentity, _ policy: ResponderPolicy
    ) -> Result<WaitingRequest.Question, Refused> {
        let parsed: OCSPRequest
        do throws(OCSPRequestError) {
            parsed = try OCSPRequest(der: request)
        } catch {
            return .failure(Refused(answer: malformed))
        }
        guard parsed.nonce != nil || policy.nonce != .require else { return .failure(Refused(answer: unauthorized)) }
        let nonce = policy.nonce == .ignore ? nil : parsed.nonce
        let ours = parsed.certIDs.map { authority.issuer.isIssuer(of: $0) }
        guard ours.contains(true) else { return .failure(Refused(answer: unauthorized)) }
        // What is asked for as many ask shares their answers, whatever else stands in the request.
        if nonce == nil, parsed.certIDs.count == 1, let only = parsed.certIDs.first, let form = only.form, let serial = only.serial,
            OCSPCertID(form: form, issuer: authority.issuer, serialNumber: serial.bytes).der == only.der
        {
            return .success(.plain(OCSPPlainRequest(form: form, serial: serial)))
        }
        let parts = zip(parsed.certIDs, ours).map { ParsedRequest.Part(certID: $0.der, serial: $1 ? $0.serial : nil) }
        return .success(.parsed(ParsedRequest(parts: parts, nonce: nonce)))
    }

    /// What every step of answering one request goes by.
    private struct Moment {
        let view: ResponderShared.View
        let contact: CoreContact
        let liveness: Liveness
        let monotonic: MonotonicTime
        /// Seconds since 1970.
        let now: Int64
        let signer: Signer?

        init(_ shared: ResponderShared) {
            view = shared.view.withLock { $0 }
            contact = shared.contact.withLock { $0 }
            monotonic = shared.clock.monotonic()
            now = shared.clock.unixTime()
            liveness = contact.liveness(at: monotonic)
            signer = view.signer(at: now)
        }

        /// What was told that may still be gone by.
        func usable(_ told: [OCSPSerial: ToldStatus]) -> [OCSPSerial: ToldStatus] {
            told.isEmpty ? told : told.filter { $0.value.isFresh(at: monotonic) || liveness == .live && $0.value.isFollowed }
        }

        /// Whether all that was found at this moment, with what was told besides, is still what may be served.
        func holds(at later: MonotonicTime, _ told: [OCSPSerial: ToldStatus]) -> Bool {
            switch liveness {
            case .live: contact.liveness(at: later) == .live && told.values.allSatisfy { $0.isFollowed || $0.isFresh(at: later) }
            case .ask: told.values.allSatisfy { $0.isFresh(at: later) }
            case .away:
                told.values.allSatisfy { $0.isFresh(at: later) } && isWithinGrace(at: later) == isWithinGrace(at: monotonic)
            }
        }

        func isWithinGrace(at time: MonotonicTime) -> Bool { contact.isWithinGrace(at: time, grace: view.policy.offlineGrace) }

        /// Which kept answers may be served: those whose signer's certificate is still valid.
        func wanted(mayBeDue: Bool) -> AnswerWanted {
            // No signer has the number 0, and there are two at most.
            func number(_ signer: Signer?) -> UInt32 { signer.map { $0.isValid(at: now) ? $0.generation : 0 } ?? 0 }
            return AnswerWanted(
                now: now, signers: (number(view.signers.first), number(view.signers.last)), mayBeDue: mayBeDue)
        }

        func times(_ status: OCSPCertStatus, known: Int64, _ signer: Signer, chance: UInt64) -> ResponseTimes? {
            var validity = view.policy.validity
            // The number may be issued the next moment.
            if status == .unknown { validity = min(validity, max(Self.shortest, view.policy.maximumAge)) }
            return ResponseTimes(known: min(known, now), now: now, validity: validity, end: signer.end, chance: chance)
        }

        /// Seconds that `unknown` holds where nothing may be kept at all.
        private static let shortest: Int64 = 60
    }

    /// The outcome of an attempt.
    private enum Attempt {
        case answer(OCSPAnswer)
        /// ca-core has to be asked for these.
        case ask([OCSPSerial])

        func orWait(_ wait: ([OCSPSerial]) -> OCSPAnswer?) -> OCSPAnswer? {
            switch self {
            case .answer(let answer): answer
            case .ask(let serials): wait(serials)
            }
        }
    }

    /// - Parameter told: what ca-core said when it was asked; empty where it was not.
    private func answer(_ question: WaitingRequest.Question, _ first: Moment, told: [OCSPSerial: ToldStatus]) -> Attempt {
        var moment = first
        for _ in 0..<Self.mostAttempts {
            let usable = moment.usable(told)
            let attempt = answerOnce(question, moment, told: usable)
            // The process may have stood still since the moment: then statuses may have changed that nobody could hear of.
            if case .ask = attempt { return attempt }
            if moment.holds(at: shared.clock.monotonic(), usable) { return attempt }
            moment = Moment(shared)
            guard moment.view.authorityNumber == first.view.authorityNumber else { break }
        }
        return .answer(Self.tryLater)
    }

    private func answerOnce(_ question: WaitingRequest.Question, _ moment: Moment, told: [OCSPSerial: ToldStatus]) -> Attempt {
        do throws(ResponderError) {
            switch question {
            case .plain(let plain): return try answer(plain, moment, told: told[plain.serial])
            case .parsed(let parsed): return try answer(parsed, moment, told: told)
            }
        } catch {
            shared.facts.withLock { $0.signingFailure = (error.message, moment.now) }
            return .answer(Self.internalError)
        }
    }

    // MARK: One certificate

    private func answer(_ plain: OCSPPlainRequest, _ moment: Moment, told: ToldStatus?) throws(ResponderError) -> Attempt {
        if moment.liveness == .away, told == nil { return .answer(try keptAnswer(plain, moment)) }
        for _ in 0..<Self.mostAttempts {
            let status: OCSPCertStatus
            let token: CacheToken
            var mayKeep = true
            // Not live: what is kept does not count, only what was told for this request.
            switch moment.liveness == .live ? shared.cache.find(plain.serial, plain.form, moment.wanted(mayBeDue: false)) : .nothing {
            case .answer(let kept):
                guard let signer = moment.view.signers.first(where: { $0.generation == kept.signer }) else { return .answer(Self.tryLater) }
                shared.counters.cacheHits.add()
                return .answer(Self.answer(kept, der: try signer.response(plain, kept), wasCached: true))
            case .status(let known, let at): (status, token) = (known, at)
            case .nothing:
                guard let told else { return .ask([plain.serial]) }
                (status, token) = (told.status, told.token)
                mayKeep = false
            }
            shared.counters.cacheMisses.add()
            guard let signer = moment.signer, let times = moment.times(status, known: moment.now, signer, chance: Self.chance(plain)) else {
                return .answer(Self.tryLater)
            }
            let (signed, der) = try signer.sign(plain, status, times)
            shared.counters.signatures.add()
            let isStillTrue = mayKeep ? shared.cache.keep(signed, for: plain.serial, plain.form, token) : shared.cache.isCurrent(token)
            if isStillTrue { return .answer(Self.answer(signed, der: der, wasCached: false)) }
            if !mayKeep { return .ask([plain.serial]) }
        }
        return .answer(Self.tryLater)
    }

    private static func answer(_ signed: SignedAnswer, der: [UInt8], wasCached: Bool) -> OCSPAnswer {
        let kind: OCSPAnswer.Kind =
            switch signed.status {
            case .good: .good
            case .revoked: .revoked
            case .unknown: .unknown
            }
        return OCSPAnswer(
            kind: kind, der: der,
            lifetime: kind == .unknown ? nil : OCSPAnswer.Lifetime(thisUpdate: signed.thisUpdate, nextUpdate: signed.nextUpdate),
            tag: signed.signature.tag, wasCached: wasCached)
    }

    /// Any number that differs between certificates and stays with one.
    private static func chance(_ plain: OCSPPlainRequest) -> UInt64 {
        // hashValue leaves its low bits to the cache; these are mixed once more.
        UInt64(bitPattern: Int64(plain.serial.hashValue)) &* 0x9E37_79B9_7F4A_7C15
    }

    // MARK: Any request

    private func answer(_ parsed: ParsedRequest, _ moment: Moment, told: [OCSPSerial: ToldStatus]) throws(ResponderError) -> Attempt {
        guard let signer = moment.signer else { return .answer(Self.tryLater) }
        for _ in 0..<Self.mostAttempts {
            var known: [KnownPart] = []
            var missing: Set<OCSPSerial> = []
            for part in parsed.parts {
                guard let serial = part.serial else {
                    known.append(KnownPart(status: .unknown, since: moment.now))
                    continue
                }
                if moment.liveness == .live, let kept = shared.cache.status(of: serial) {
                    known.append(KnownPart(status: kept.status, since: moment.now, token: kept.token))
                } else if let told = told[serial] {
                    known.append(KnownPart(status: told.status, since: moment.now, token: told.token))
                } else if moment.liveness == .away {
                    // A nonce is answered live or not at all.
                    guard parsed.nonce == nil, let last = lastKnown(serial, moment) else { return .answer(Self.tryLater) }
                    known.append(last)
                } else {
                    missing.insert(serial)
                }
            }
            guard missing.isEmpty else { return .ask(Array(missing)) }
            let answer = try sign(parsed, known, signer, moment)
            if known.allSatisfy({ $0.token.map(shared.cache.isCurrent) ?? true }) { return .answer(answer) }
            // Told statuses do not get better by looking at them again.
            let doubtful = Set(parsed.parts.compactMap(\.serial)).filter { serial in
                told[serial].map { !shared.cache.isCurrent($0.token) } ?? false
            }
            if !doubtful.isEmpty { return .ask(Array(doubtful)) }
        }
        return .answer(Self.tryLater)
    }

    private struct KnownPart {
        var status: OCSPCertStatus
        /// When that was known to be right, in seconds since 1970.
        var since: Int64
        var token: CacheToken?
    }

    private func sign(_ parsed: ParsedRequest, _ known: [KnownPart], _ signer: Signer, _ moment: Moment) throws(ResponderError)
        -> OCSPAnswer
    {
        var singles: [OCSPSingleResponse] = []
        var end = Int64.max
        for (part, known) in zip(parsed.parts, known) {
            let chance = part.serial.map { UInt64(bitPattern: Int64($0.hashValue)) } ?? 0
            guard let times = moment.times(known.status, known: known.since, signer, chance: chance) else { return Self.tryLater }
            singles.append(
                OCSPSingleResponse(
                    certID: part.certID, status: known.status.said(at: times.thisUpdate), thisUpdate: times.thisUpdate,
                    nextUpdate: times.nextUpdate))
            end = min(end, times.nextUpdate)
        }
        let (der, tag) = try signer.sign(singles, producedAt: moment.now, nonce: parsed.nonce)
        shared.counters.signatures.add()
        var kind = OCSPAnswer.Kind.several
        if singles.count == 1, let only = singles.first {
            switch only.status {
            case .good: kind = .good
            case .revoked: kind = .revoked
            case .unknown: kind = .unknown
            }
        }
        let mayKeep = parsed.nonce == nil && !known.contains { $0.status == .unknown }
        let start = singles.map(\.thisUpdate).min() ?? moment.now
        return OCSPAnswer(
            kind: kind, der: der, lifetime: mayKeep ? OCSPAnswer.Lifetime(thisUpdate: start, nextUpdate: end) : nil, tag: tag)
    }

    // MARK: While ca-core is away

    /// An answer that was kept: `good` while the grace lasts, `revoked` until its end.
    private func keptAnswer(_ plain: OCSPPlainRequest, _ moment: Moment) throws(ResponderError) -> OCSPAnswer {
        switch shared.cache.find(plain.serial, plain.form, moment.wanted(mayBeDue: true)) {
        case .answer(let kept):
            guard mayServe(kept.status, moment), let signer = moment.view.signers.first(where: { $0.generation == kept.signer }) else {
                return Self.tryLater
            }
            shared.counters.cacheHits.add()
            return Self.answer(kept, der: try signer.response(plain, kept), wasCached: true)
        case .status, .nothing:
            guard let last = lastKnown(plain.serial, moment), let signer = moment.signer,
                let times = moment.times(last.status, known: last.since, signer, chance: Self.chance(plain))
            else { return Self.tryLater }
            let (signed, der) = try signer.sign(plain, last.status, times)
            shared.counters.signatures.add()
            return Self.answer(signed, der: der, wasCached: false)
        }
    }

    /// The status kept of a serial number, known to be right when ca-core was heard last.
    private func lastKnown(_ serial: OCSPSerial, _ moment: Moment) -> KnownPart? {
        guard let kept = shared.cache.status(of: serial), mayServe(kept.status, moment) else { return nil }
        return KnownPart(status: kept.status, since: min(moment.contact.lastHeartbeatTime, moment.now), token: kept.token)
    }

    private func mayServe(_ status: OCSPCertStatus, _ moment: Moment) -> Bool {
        switch status {
        case .good: moment.isWithinGrace(at: moment.monotonic)
        case .revoked: true
        case .unknown: false
        }
    }

    // MARK: Waiting for ca-core

    /// Posts a request for the core's thread; an answer where too many wait already.
    private func wait(_ request: WaitingRequest) -> OCSPAnswer? {
        let count = request.serials.count
        let before = shared.waiting.wrappingAdd(count, ordering: .relaxed).oldValue
        let most = count == 1 ? ResponderShared.mostWaiting : ResponderShared.mostWaitingOfSeveral
        if before <= most - count, shared.lookups.post(request) == .accepted {
            shared.counters.lookups.add(UInt64(count))
            return nil
        }
        shared.waiting.wrappingSubtract(count, ordering: .relaxed)
        shared.counters.lookupsRefused.add()
        return Self.tryLater
    }

    /// Ends the wait of a request; to be called on its own loop.
    func finish(_ request: WaitingRequest, _ outcome: LookupOutcome) {
        let moment = Moment(shared)
        // What was asked about another CA is not answered in the name of this one.
        guard moment.view.authorityNumber == request.authorityNumber else { return request.deliver(Self.tryLater) }
        let attempt =
            switch outcome {
            case .told(let told): answer(request.question, moment, told: told)
            case .refused: Attempt.answer(Self.tryLater)
            case .unanswered(let time): answerUnanswered(request, moment, at: time)
            }
        switch attempt {
        case .answer(let answer): request.deliver(answer)
        case .ask(let serials):
            guard request.attempts + 1 < Self.mostAttempts else { return request.deliver(Self.tryLater) }
            var again = request
            again.serials = serials
            again.attempts += 1
            again.isDoubt = moment.liveness != .live
            if let refusal = wait(again) { again.deliver(refusal) }
        }
    }

    /// ca-core was asked and did not answer: as while it is away, unless that is no news any more.
    private func answerUnanswered(_ request: WaitingRequest, _ moment: Moment, at time: MonotonicTime) -> Attempt {
        let attempt = answerFromKept(request.question, moment)
        guard time.nanoseconds(until: shared.clock.monotonic()) < CoreContact.heartbeatLimit else { return .ask(request.serials) }
        return attempt
    }

    private func answerFromKept(_ question: WaitingRequest.Question, _ moment: Moment) -> Attempt {
        do throws(ResponderError) {
            switch question {
            case .plain(let plain): return .answer(try keptAnswer(plain, moment))
            case .parsed(let parsed):
                guard parsed.nonce == nil, let signer = moment.signer else { return .answer(Self.tryLater) }
                var known: [KnownPart] = []
                for part in parsed.parts {
                    guard let serial = part.serial else {
                        known.append(KnownPart(status: .unknown, since: moment.now))
                        continue
                    }
                    guard let last = lastKnown(serial, moment) else { return .answer(Self.tryLater) }
                    known.append(last)
                }
                return .answer(try sign(parsed, known, signer, moment))
            }
        } catch {
            shared.facts.withLock { $0.signingFailure = (error.message, moment.now) }
            return .answer(Self.internalError)
        }
    }
}
