// The time of day, for those who are not handed another clock.
import Glibc

/// CLOCK_REALTIME in whole seconds since 1970.
@Sendable public func systemUnixTime() -> Int64 {
    Int64(time(nil))
}
