// How many things a second: a bucket that fills with the time.

/// Lets `rate` things a second through, and a burst of `burst` after a pause.
package struct RateBucket: Equatable {
    private var fill: Double
    private var lastFilled: UInt64

    /// Full, at that time of CLOCK_MONOTONIC in nanoseconds.
    package init(burst: Int, at now: UInt64) {
        self.fill = Double(burst)
        self.lastFilled = now
    }

    /// Takes one out, if there is one.
    package mutating func take(rate: Int, burst: Int, at now: UInt64) -> Bool {
        self.refill(rate: rate, burst: burst, at: now)
        guard self.fill >= 1 else { return false }
        self.fill -= 1
        return true
    }

    /// Whether nobody would notice if it were made anew.
    mutating func isFull(rate: Int, burst: Int, at now: UInt64) -> Bool {
        self.refill(rate: rate, burst: burst, at: now)
        return self.fill >= Double(burst)
    }

    private mutating func refill(rate: Int, burst: Int, at now: UInt64) {
        guard now > self.lastFilled else { return }
        self.fill = min(Double(burst), self.fill + Double(now - self.lastFilled) / 1e9 * Double(rate))
        self.lastFilled = now
    }
}
