// What the responder tells people and their tools: complaints for /healthz, metrics, the facts that `ca-ctl ocsp show` prints.
import Metrics
internal import RevocationFormats
internal import Threads
import UPKIProtocol

extension Responder {
    /// A core that was heard less than that ago is not complained about; nanoseconds.
    private static let toleratedSilence: UInt64 = 1_000_000_000

    /// Seconds for which a response that could not be signed is complained about.
    private static let memoryOfFailures: Int64 = 60

    package var complaints: [String] {
        let facts = shared.facts.withLock { $0 }
        let view = shared.view.withLock { $0 }
        let contact = shared.contact.withLock { $0 }
        let documents = shared.documents.withLock { $0 }
        let now = shared.clock.unixTime()
        let moment = shared.clock.monotonic()
        var complaints: [String] = []
        if let refusal = facts.refusal { complaints.append("ca-core does not serve this program: \(refusal)") }
        complaints += coreComplaint(contact, view.policy, at: moment)
        if view.signer(at: now) == nil {
            complaints.append(facts.certificationFailure ?? "there is no signing certificate yet")
        } else if let failure = facts.certificationFailure {
            complaints.append(failure)
        }
        if let failure = facts.signingFailure, now - failure.at < Self.memoryOfFailures { complaints.append(failure.line) }
        if let failure = facts.publicationFailure { complaints.append(failure) }
        if let list = documents.revocationList {
            if list.expires <= now { complaints.append("the CRL has expired: ask ca-core for a new one with ca-ctl crl generate") }
        } else {
            complaints.append(facts.listFailure ?? "there is no CRL yet")
        }
        return complaints
    }

    private func coreComplaint(_ contact: CoreContact, _ policy: ResponderPolicy, at now: MonotonicTime) -> [String] {
        guard let heard = contact.lastHeard else { return ["ca-core was not heard yet"] }
        let silence = heard.nanoseconds(until: now)
        guard silence > Self.toleratedSilence else { return [] }
        let seconds = Int64(clamping: silence / 1_000_000_000)
        if contact.liveness(at: now) == .ask { return ["ca-core's events are not heard for \(seconds) s; each request asks it"] }
        let left = policy.offlineGrace - seconds
        return [
            left > 0
                ? "ca-core is not heard for \(seconds) s; good is answered from what is kept for \(left) s more"
                : "ca-core is not heard for \(seconds) s; only what is known to be revoked is answered"
        ]
    }

    /// One line for the supervisor's status.
    package var statusText: String {
        let view = shared.view.withLock { $0 }
        let now = shared.clock.unixTime()
        guard let signer = view.signer(at: now) else {
            return shared.facts.withLock { $0.certificationFailure } ?? "waiting for ca-core"
        }
        let hours = (signer.end - now) / 3_600
        switch shared.contact.withLock({ $0 }).liveness(at: shared.clock.monotonic()) {
        case .live: return "answering, signing certificate for \(hours) h"
        case .ask: return "answering, ca-core's events are not heard"
        case .away: return "answering from what is kept, ca-core does not answer"
        }
    }

    // MARK: Metrics

    /// Adds the responder's families to an exposition.
    func describe(_ exposition: inout Exposition) {
        let counters = shared.counters
        let figures = shared.cache.figures
        exposition.counter("upki_ocsp_cache_hits_total", "Answers that were signed before their request came.", counters.cacheHits.value)
        exposition.counter("upki_ocsp_cache_misses_total", "Answers that had to be signed.", counters.cacheMisses.value)
        exposition.gauge(
            "upki_ocsp_cache_entries", "What is kept.",
            [([("kind", "answer")], Double(figures.answers)), ([("kind", "status")], Double(figures.statuses))])
        exposition.gauge("upki_ocsp_cache_bytes", "What the cache takes when it is full.", figures.bytes)
        exposition.counter("upki_ocsp_cache_displaced_total", "Entries that had to make room for others.", figures.displaced)
        exposition.counter("upki_ocsp_cache_dropped_total", "How often everything was dropped.", shared.cache.timesDropped)
        exposition.counter("upki_ocsp_signatures_total", "Responses signed.", counters.signatures.value)
        exposition.counter("upki_ocsp_lookups_total", "Serial numbers that ca-core was asked for.", counters.lookups.value)
        exposition.counter("upki_ocsp_lookup_messages_total", "Messages to ca-core with serial numbers.", counters.statusMessages.value)
        exposition.counter(
            "upki_ocsp_lookups_failed_total", "Requests that got no status from ca-core.",
            [([("why", "unanswered")], counters.lookupsUnanswered.value), ([("why", "too_many")], counters.lookupsRefused.value)])
        exposition.gauge("upki_ocsp_lookups_waiting", "Serial numbers that are asked for now.", shared.waiting.load(ordering: .relaxed))
        exposition.histogram(
            "upki_ocsp_lookup_seconds", "From a request to ca-core's status.", [([], counters.lookupTime.snapshot)])
        exposition.counter("upki_ocsp_status_events_total", "Changes of status that were heard.", counters.statusEvents.value)
        exposition.counter(
            "upki_ocsp_certifications_total", "Signing certificates asked for.",
            [([("outcome", "issued")], counters.certifications.value), ([("outcome", "failed")], counters.certificationsRefused.value)])
        describeMoment(&exposition)
    }

    private func describeMoment(_ exposition: inout Exposition) {
        let view = shared.view.withLock { $0 }
        let contact = shared.contact.withLock { $0 }
        let documents = shared.documents.withLock { $0 }
        let now = shared.clock.unixTime()
        let moment = shared.clock.monotonic()
        let liveness = contact.liveness(at: moment)
        exposition.gauge(
            "upki_ocsp_core", "How ca-core is reached.",
            [Liveness.live, .ask, .away].map { ([("state", $0.rawValue)], $0 == liveness ? 1 : 0) })
        if let heard = contact.lastHeard {
            exposition.gauge(
                "upki_ocsp_heartbeat_age_seconds", "Since ca-core was heard last.", [([], Double(heard.nanoseconds(until: moment)) / 1e9)])
        }
        if let signer = view.signer(at: now) {
            exposition.gauge("upki_ocsp_signer_age_seconds", "Since the signing certificate became valid.", now - signer.notBefore)
            exposition.gauge("upki_ocsp_signer_remaining_seconds", "Until the signing certificate ends.", signer.end - now)
            exposition.gauge(
                "upki_ocsp_answer_remaining_seconds", "From now to the nextUpdate of an answer that is signed now, at most.",
                min(view.policy.validity, signer.end - now))
        }
        if let list = documents.revocationList {
            exposition.gauge("upki_ocsp_crl_remaining_seconds", "Until the CRL's nextUpdate.", list.expires - now)
        }
    }

    // MARK: For ca-ctl

    /// The facts that `ca-ctl ocsp show` prints, as JSON. Times are seconds since 1970.
    package var statusReport: [UInt8] { statusReport(nil) }

    /// - Parameter http: what the HTTP side has counted.
    func statusReport(_ http: HTTPCounts?) -> [UInt8] {
        let view = shared.view.withLock { $0 }
        let contact = shared.contact.withLock { $0 }
        let documents = shared.documents.withLock { $0 }
        let facts = shared.facts.withLock { $0 }
        let now = shared.clock.unixTime()
        let moment = shared.clock.monotonic()
        func text(_ value: String?) -> JSON { value.map { .string($0) } ?? .null }
        let signers = view.signers.map { signer -> JSON in
            .object([
                .init("serial", text(signer.serial?.decimal)), .init("not_before", .integer(signer.notBefore)),
                .init("not_after", .integer(signer.notAfter)), .init("live", .bool(signer.isValid(at: now))),
            ])
        }
        let core: JSON = .object([
            .init("state", .string(contact.liveness(at: moment).rawValue)), .init("link", .string(facts.link)),
            .init("instance", text(facts.instance)), .init("sequence", facts.sequence.map { .integer($0) } ?? .null),
            .init("heartbeat_age_ms", contact.lastHeard.map { .integer($0.nanoseconds(until: moment) / 1_000_000) } ?? .null),
        ])
        let list: JSON =
            documents.revocationList.map { list in
                .object([
                    .init("number", text(documents.listNumber)), .init("bytes", .integer(list.der.count)),
                    .init("this_update", .integer(list.lastModified)), .init("next_update", .integer(list.expires)),
                ])
            } ?? .null
        return JSON.object([
            .init("time", .integer(now)),
            .init("complaints", .array(complaints.map { .string($0) })),
            .init(
                "ca",
                view.authority.map { ca in
                    .object([.init("fingerprint", .string(ca.fingerprint)), .init("not_after", .integer(ca.notAfter))])
                } ?? .null),
            .init("signers", .array(signers)), .init("core", core), .init("crl", list), .init("policy", Self.json(view.policy)),
            .init("cache", cacheReport), .init("counters", counterReport), .init("http", http.map(Self.json) ?? .null),
        ]).encoded
    }

    private static func json(_ http: HTTPCounts) -> JSON {
        func object(_ counts: [String: UInt64]) -> JSON {
            .object(counts.sorted { $0.key < $1.key }.map { .init($0.key, .integer($0.value)) })
        }
        return .object([
            .init("requests", object(http.requests)),
            .init("answers", .object(OCSPAnswer.Kind.allCases.map { .init($0.rawValue, .integer(http.answers[$0] ?? 0)) })),
            .init("statuses", .object(http.statuses.sorted { $0.key < $1.key }.map { .init(String($0.key), .integer($0.value)) })),
            .init("connections_open", .integer(http.connectionsOpen)), .init("connections_opened", .integer(http.connectionsOpened)),
            .init("connections_refused", .integer(http.connectionsRefused)), .init("timed_out", object(http.timedOut)),
        ])
    }

    private static func json(_ policy: ResponderPolicy) -> JSON {
        .object([
            .init("validity", .integer(policy.validity)), .init("max_age", .integer(policy.maximumAge)),
            .init("offline_grace", .integer(policy.offlineGrace)), .init("nonce", .string(policy.nonce.rawValue)),
        ])
    }

    private var cacheReport: JSON {
        let figures = shared.cache.figures
        return .object([
            .init("answers", .integer(figures.answers)), .init("statuses", .integer(figures.statuses)),
            .init("bytes", .integer(figures.bytes)),
            .init("displaced", .integer(figures.displaced)), .init("dropped", .integer(shared.cache.timesDropped)),
        ])
    }

    private var counterReport: JSON {
        let counters = shared.counters
        let counts: [(String, UInt64)] = [
            ("cache_hits", counters.cacheHits.value), ("cache_misses", counters.cacheMisses.value),
            ("signatures", counters.signatures.value),
            ("lookups", counters.lookups.value), ("lookup_messages", counters.statusMessages.value),
            ("lookups_unanswered", counters.lookupsUnanswered.value), ("lookups_refused", counters.lookupsRefused.value),
            ("status_events", counters.statusEvents.value), ("standstills", counters.standstills.value),
            ("certifications", counters.certifications.value),
            ("certifications_failed", counters.certificationsRefused.value),
        ]
        return .object(counts.map { .init($0.0, .integer($0.1)) })
    }
}
