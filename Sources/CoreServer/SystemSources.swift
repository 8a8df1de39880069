// The real clock and the real randomness.

import Authority
import Glibc
import PKI

/// The wall clock.
public struct SystemClock: Clock {
    public init() {}

    public var now: UnixTime {
        var time = timespec()
        // CLOCK_REALTIME exists on every Linux; the call cannot fail with a valid pointer.
        clock_gettime(CLOCK_REALTIME, &time)
        return UnixTime(Int64(time.tv_sec))
    }
}

/// The kernel's random generator: Swift's system generator is getrandom(2) on Linux.
public struct SystemRandom: RandomSource {
    public init() {}

    public func next128() -> (UInt64, UInt64) {
        var generator = SystemRandomNumberGenerator()
        return (generator.next(), generator.next())
    }

    public func bytes(_ count: Int) -> [UInt8] {
        var generator = SystemRandomNumberGenerator()
        return (0..<count).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
    }
}
