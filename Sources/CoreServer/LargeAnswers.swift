// What a short request of anyone can make this process and the relays send, kept within bounds.

import Synchronization
package import Threads

/// A budget for large answers: 64 MiB at once, then 32 MiB a second, whoever asks.
package final class LargeAnswers: Sendable {
    private struct Budget {
        var bytes = LargeAnswers.burst
        var at: MonotonicTime?
    }
    private let budget = Mutex(Budget())

    private static let burst = 64 << 20
    private static let perSecond = 32 << 20
    /// Answers up to this size are nobody's worry.
    private static let small = 256 << 10

    package init() {}

    /// Whether an answer of `size` bytes may go out at this moment; takes it from the budget where it may.
    package func admit(_ size: Int, at now: MonotonicTime) -> Bool {
        guard size > Self.small else { return true }
        return self.budget.withLock { budget in
            // Two seconds fill the budget: longer pauses earn no more.
            let passed = min(2_000, budget.at.map { max(0, $0.milliseconds(until: now)) } ?? 2_000)
            budget.bytes = min(Self.burst, budget.bytes + passed * (Self.perSecond / 1_000))
            budget.at = now
            guard budget.bytes >= size else { return false }
            budget.bytes -= size
            return true
        }
    }
}
