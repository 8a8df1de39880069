import UPKIProtocol

/// What a relay has done since its start, and what it holds now.
public struct RelayCounters: Sendable, Equatable {
    /// Messages from clients, whatever they were.
    public var received = 0
    /// Answers of the core that were passed on.
    public var relayedAnswers = 0
    /// Messages that were no single frame.
    public var invalidMessages = 0
    /// Answered `Busy` since the core had not answered by the deadline.
    public var busyAtDeadline = 0
    /// Answered `Busy` since the core could not be reached by the deadline.
    public var busyCoreAway = 0
    /// Answered `Busy` since too much was open.
    public var busyOverBounds = 0
    /// Answered `Busy` since the relay is ending.
    public var busyStopping = 0
    /// Refused since the core does not serve this relay's version.
    public var refusedVersion = 0
    /// Answers of the core to what was no longer open.
    public var lateAnswers = 0
    /// Messages of the core that could not be read.
    public var malformedFromCore = 0
    /// Answers that nobody was there for any more.
    public var clientsGone = 0
    /// Answers dropped because the client does not read.
    public var clientsNotReading = 0
    /// Answered `Busy` instead of with the core's answer, since too much waits for the client to read it.
    public var answersWithheld = 0
    /// How often the core answered `hello`.
    public var hellos = 0
    /// Refused since one identity or one address had too much, by limit.
    public var refusedRequestsOfIdentity = 0
    public var refusedRequestsOfAddress = 0
    public var refusedBytesOfIdentity = 0
    public var refusedBytesOfAddress = 0
    public var refusedRateOfIdentity = 0
    public var refusedRateOfAddress = 0
    public var refusedRateOfStranger = 0
    /// Open requests, and the bytes of their payloads.
    public var open = 0
    public var openBytes = 0
    /// Open requests that could not be handed to the core yet.
    public var waiting = 0

    public init() {}

    mutating func met(_ limit: RequestLimit) {
        switch limit {
        case .requestsOfIdentity: refusedRequestsOfIdentity += 1
        case .requestsOfNetwork: refusedRequestsOfAddress += 1
        case .bytesOfIdentity: refusedBytesOfIdentity += 1
        case .bytesOfNetwork: refusedBytesOfAddress += 1
        case .rateOfIdentity: refusedRateOfIdentity += 1
        case .rateOfNetwork: refusedRateOfAddress += 1
        case .rateOfStranger: refusedRateOfStranger += 1
        }
    }

    /// As the core is told, with the guard's.
    func json(_ connections: GuardCounters) -> JSON {
        let all: [(String, Int)] = [
            ("received", received), ("answers", relayedAnswers), ("invalid_messages", invalidMessages),
            ("busy_at_deadline", busyAtDeadline),
            ("busy_core_away", busyCoreAway), ("busy_over_bounds", busyOverBounds), ("busy_stopping", busyStopping),
            ("refused_version", refusedVersion), ("late_answers", lateAnswers), ("malformed_from_core", malformedFromCore),
            ("clients_gone", clientsGone), ("clients_not_reading", clientsNotReading), ("answers_withheld", answersWithheld),
            ("refused_requests_per_identity", refusedRequestsOfIdentity), ("refused_requests_per_address", refusedRequestsOfAddress),
            ("refused_bytes_per_identity", refusedBytesOfIdentity), ("refused_bytes_per_address", refusedBytesOfAddress),
            ("refused_rate_per_identity", refusedRateOfIdentity), ("refused_rate_per_address", refusedRateOfAddress),
            ("refused_stranger_rate", refusedRateOfStranger), ("connections_accepted", connections.connectionsAccepted),
            ("connections_open", connections.connectionsOpen), ("connections_refused_in_all", connections.refusedInAll),
            ("connections_refused_per_address", connections.refusedOfAddress), ("connections_refused_rate", connections.refusedByRate),
            ("connections_refused_strangers", connections.refusedStrangers), ("connections_cut_for_length", connections.cutForLength),
            ("handshake_plain_at_curve", connections.plainAtCurve), ("handshake_curve_at_plain", connections.curveAtPlain),
            ("handshake_other_key", connections.otherKey), ("handshake_failed", connections.handshakesFailed),
        ]
        return .object(all.map { .init($0.0, .integer($0.1)) })
    }
}
