// A moment on CLOCK_MONOTONIC: the clock of deadlines, the same for every process of one host.
import Glibc

/// A moment on CLOCK_MONOTONIC, in nanoseconds; it never jumps when somebody sets the time of day.
public struct MonotonicTime: Hashable, Comparable, Sendable {
    public var nanoseconds: UInt64

    public init(nanoseconds: UInt64) {
        self.nanoseconds = nanoseconds
    }

    public static var now: MonotonicTime {
        var time = timespec()
        // Cannot fail: the clock exists on every Linux and the address is valid (clock_gettime(2)).
        _ = clock_gettime(CLOCK_MONOTONIC, &time)
        return MonotonicTime(nanoseconds: UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec))
    }

    /// This moment and so many milliseconds; stays at the end of time instead of overflowing.
    public func advanced(byMilliseconds milliseconds: Int) -> MonotonicTime {
        let (span, tooLong) = UInt64(max(0, milliseconds)).multipliedReportingOverflow(by: 1_000_000)
        let (sum, tooLate) = nanoseconds.addingReportingOverflow(span)
        return MonotonicTime(nanoseconds: tooLong || tooLate ? .max : sum)
    }

    /// Nanoseconds from this moment until `later`; 0 when that has passed.
    public func nanoseconds(until later: MonotonicTime) -> UInt64 {
        later.nanoseconds > nanoseconds ? later.nanoseconds - nanoseconds : 0
    }

    /// Milliseconds from this moment until `later`, rounded up so that a wait of that length ends after it; 0 when it has passed.
    public func milliseconds(until later: MonotonicTime) -> Int {
        let span = nanoseconds(until: later)
        return Int(clamping: span / 1_000_000 + (span % 1_000_000 == 0 ? 0 : 1))
    }

    public static func < (a: MonotonicTime, b: MonotonicTime) -> Bool { a.nanoseconds < b.nanoseconds }
}
