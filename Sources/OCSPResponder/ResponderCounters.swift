// What is counted of the responder's own work; the HTTP side counts requests.
import Metrics

/// Counters that any thread adds to.
final class ResponderCounters: Sendable {
    let cacheHits = Counter()
    let cacheMisses = Counter()
    let signatures = Counter()
    /// Serial numbers that ca-core was asked for on behalf of requests.
    let lookups = Counter()
    /// Requests refused because too many wait.
    let lookupsRefused = Counter()
    /// Requests that ca-core did not answer in time.
    let lookupsUnanswered = Counter()
    /// Messages to ca-core with serial numbers.
    let statusMessages = Counter()
    let statusEvents = Counter()
    /// How often the core's thread found that the process had stood still.
    let standstills = Counter()
    let certifications = Counter()
    let certificationsRefused = Counter()
    /// From the arrival of a request to ca-core's answer, in nanoseconds.
    let lookupTime = Histogram.seconds()

    init() {}
}

/// What the core's thread knows beside the contact, for people.
struct CoreFacts: Sendable {
    /// The state of the connection to ca-core in one word.
    var link = "away"
    var instance: String?
    var sequence: Int64?
    /// Why ca-core does not serve this program.
    var refusal: String?
    /// Why there is no new signing certificate.
    var certificationFailure: String?
    var publicationFailure: String?
    var listFailure: String?
    /// Why the last response that failed could not be signed, and when, in seconds since 1970.
    var signingFailure: (line: String, at: Int64)?
    var end: ResponderEnd?
}

/// How the core's thread came to its end.
enum ResponderEnd: Sendable, Equatable {
    case stopped(String)
    case failed(ResponderError)
}
