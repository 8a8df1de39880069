// When the next signing certificate is asked for.
internal import Threads

/// Decides when to ask for a signing certificate; it has no clock and no socket.
struct SignerKeeper {
    private var isAsked = false
    private var isDueNow = false
    private var failures = 0
    private var generation: UInt32 = 0
    /// After a failure: not before that.
    private(set) var nextAttempt: MonotonicTime?
    /// After a success: not before that, however short the life that is left to a CA's certificates.
    private var restUntil: MonotonicTime?

    /// The first wait after a failure and the longest; milliseconds.
    private static let firstWait = 200
    private static let longestWait = 30_000
    private static let rest = 60_000

    /// Whether to ask now: there is none, or half of its life is over, or it has to be replaced.
    func mayAsk(at now: MonotonicTime, newest: Signer?, unixTime: Int64) -> Bool {
        guard !isAsked, nextAttempt.map({ $0 <= now }) ?? true else { return false }
        guard let newest, !isDueNow else { return true }
        guard restUntil.map({ $0 <= now }) ?? true else { return false }
        return newest.renewAt <= unixTime || !newest.isValid(at: unixTime)
    }

    mutating func asked() {
        isAsked = true
        nextAttempt = nil
    }

    /// No answer will come: the core is gone.
    mutating func lost() {
        isAsked = false
        nextAttempt = nil
    }

    /// The CA has changed.
    mutating func renewNow() {
        isDueNow = true
        nextAttempt = nil
    }

    mutating func failed(at now: MonotonicTime) {
        isAsked = false
        let wait = min(Self.longestWait, Self.firstWait << min(failures, 10))
        failures += 1
        nextAttempt = now.advanced(byMilliseconds: wait)
    }

    mutating func succeeded(at now: MonotonicTime) {
        restUntil = now.advanced(byMilliseconds: Self.rest)
        isAsked = false
        isDueNow = false
        failures = 0
        nextAttempt = nil
    }

    /// A number that no signer had before; 0 is nobody's.
    mutating func nextGeneration() -> UInt32 {
        generation &+= 1
        return generation
    }
}
