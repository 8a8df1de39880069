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
    /// Open requests, and the bytes of their payloads.
    public var open = 0
    public var openBytes = 0
    /// Open requests that could not be handed to the core yet.
    public var waiting = 0

    public init() {}
}
