// What the HTTP server has done: counters that each event loop keeps for itself, and their sums.

import Metrics

/// The counters of one event loop. Each loop has its own, so that counting never waits for another processor's cache.
final class HTTPCounters: Sendable {
    let get = Counter()
    let head = Counter()
    let post = Counter()
    let otherMethod = Counter()

    let good = Counter()
    let revoked = Counter()
    let unknown = Counter()
    let several = Counter()
    let malformedRequest = Counter()
    let internalError = Counter()
    let tryLater = Counter()
    let unauthorized = Counter()
    /// OCSP answers that were signed before they were asked for.
    let cached = Counter()
    /// OCSP answers that had to be waited for, and how long.
    let waited = HTTPCounters.histogram()

    private let ok = Counter()
    private let notModified = Counter()
    private let refusals: [HTTPStatus: Counter]

    let opened = Counter()
    let closed = Counter()
    let refused = Counter()
    let timedOutRequest = Counter()
    let timedOutIdle = Counter()
    let timedOutWrite = Counter()

    init() {
        self.refusals = Dictionary(uniqueKeysWithValues: HTTPStatus.allCases.map { ($0, Counter()) })
    }

    /// Nanoseconds, shown in seconds: from 50 µs to 2.5 s.
    private static func histogram() -> Histogram {
        let microseconds: [UInt64] = [
            50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 2_500_000,
        ]
        return Histogram(bounds: microseconds.map { $0 * 1_000 }, unitsInOne: 1e9)
    }

    func count(_ method: HTTPRequestFacts.Method) {
        switch method {
        case .get: self.get.add()
        case .head: self.head.add()
        case .post: self.post.add()
        case .other: self.otherMethod.add()
        }
    }

    func count(_ answer: OCSPAnswer) {
        self.counter(answer.kind).add()
        if answer.wasCached { self.cached.add() }
    }

    func count(_ status: HTTPStatus) { self.counter(status).add() }

    func counter(_ kind: OCSPAnswer.Kind) -> Counter {
        switch kind {
        case .good: self.good
        case .revoked: self.revoked
        case .unknown: self.unknown
        case .several: self.several
        case .malformedRequest: self.malformedRequest
        case .internalError: self.internalError
        case .tryLater: self.tryLater
        case .unauthorized: self.unauthorized
        }
    }

    func counter(_ status: HTTPStatus) -> Counter {
        switch status {
        case .ok: self.ok
        case .notModified: self.notModified
        // The dictionary has all of them.
        default: self.refusals[status] ?? self.ok
        }
    }
}

/// What all event loops have counted, at one moment.
package struct HTTPCounts: Sendable, Equatable {
    /// By method: GET, HEAD, POST, other.
    package var requests: [String: UInt64] = [:]
    /// OCSP answers by kind.
    package var answers: [OCSPAnswer.Kind: UInt64] = [:]
    /// Responses by HTTP status.
    package var statuses: [Int: UInt64] = [:]
    package var cachedAnswers: UInt64 = 0
    package var connectionsOpened: UInt64 = 0
    package var connectionsOpen: UInt64 = 0
    package var connectionsRefused: UInt64 = 0
    /// Connections cut: a request did not come to its end, nothing was asked, or the peer did not read.
    package var timedOut: [String: UInt64] = [:]
    fileprivate var waited: [Histogram.Snapshot] = []

    init(_ loops: [HTTPCounters]) {
        func sum(_ counter: (HTTPCounters) -> Counter) -> UInt64 { loops.reduce(0) { $0 &+ counter($1).value } }
        self.requests = ["GET": sum(\.get), "HEAD": sum(\.head), "POST": sum(\.post), "other": sum(\.otherMethod)]
        for kind in OCSPAnswer.Kind.allCases { self.answers[kind] = sum { $0.counter(kind) } }
        for status in HTTPStatus.allCases { self.statuses[status.rawValue] = sum { $0.counter(status) } }
        self.cachedAnswers = sum(\.cached)
        // The closed ones first: a connection that opens meanwhile must not make the difference negative.
        let closed = sum(\.closed)
        self.connectionsOpened = sum(\.opened)
        self.connectionsOpen = self.connectionsOpened >= closed ? self.connectionsOpened - closed : 0
        self.connectionsRefused = sum(\.refused)
        self.timedOut = ["request": sum(\.timedOutRequest), "idle": sum(\.timedOutIdle), "write": sum(\.timedOutWrite)]
        self.waited = loops.map(\.waited.snapshot)
    }

    /// Adds the counts under names that begin with `upki_ocsp_`.
    func write(to exposition: inout Exposition) {
        func samples(_ label: String, _ counts: [String: UInt64]) -> [(Exposition.Labels, UInt64)] {
            counts.sorted { $0.key < $1.key }.map { ([(label, $0.key)], $0.value) }
        }
        exposition.counter("upki_ocsp_http_requests_total", "HTTP requests by method.", samples("method", self.requests))
        exposition.counter(
            "upki_ocsp_http_responses_total", "HTTP responses by status.",
            samples("code", Dictionary(uniqueKeysWithValues: self.statuses.map { (String($0.key), $0.value) })))
        exposition.counter(
            "upki_ocsp_answers_total", "OCSP responses by what they say.",
            samples("kind", Dictionary(uniqueKeysWithValues: self.answers.map { ($0.key.rawValue, $0.value) })))
        exposition.counter(
            "upki_ocsp_cached_answers_total", "OCSP responses that were signed before they were asked for.", self.cachedAnswers)
        exposition.histogram(
            "upki_ocsp_wait_seconds", "How long the answers took that had to be waited for, by event loop.",
            self.waited.enumerated().map { ([("loop", String($0.offset))], $0.element) })
        exposition.counter("upki_ocsp_http_connections_total", "Connections that were accepted.", self.connectionsOpened)
        exposition.gauge("upki_ocsp_http_connections_open", "Connections that are open.", self.connectionsOpen)
        exposition.counter(
            "upki_ocsp_http_connections_refused_total", "Connections that were refused since too many were open.", self.connectionsRefused)
        exposition.counter(
            "upki_ocsp_http_timeouts_total", "Connections that were closed since the peer took too long.",
            samples("waiting_for", self.timedOut))
    }
}
