// How one supervisor runs.

public struct SupervisorConfiguration: Sendable {
    /// What SIGHUP means: `reload` for a daemon, `shutDown` for one in a terminal that was closed.
    public enum Hangup: Sendable {
        case reload
        case shutDown
    }

    /// Absolute path; made when missing; must belong to the supervisor's user, and nobody else may write in it.
    public var runDirectory: String
    /// From the wish to stop to the end of the last process; a tenth of it is kept for SIGKILL to take effect.
    public var shutdownTimeout: Duration
    public var hangup: Hangup
    /// Called on the supervisor's thread, which serves nobody meanwhile: must not block.
    public var onEvent: @Sendable (SupervisorEvent) -> Void

    public init(
        runDirectory: String, shutdownTimeout: Duration = .seconds(5), hangup: Hangup = .reload,
        onEvent: @escaping @Sendable (SupervisorEvent) -> Void = { _ in }
    ) {
        self.runDirectory = runDirectory
        self.shutdownTimeout = shutdownTimeout
        self.hangup = hangup
        self.onEvent = onEvent
    }
}
