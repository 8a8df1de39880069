// How values spread: counts in buckets with fixed bounds, and the sum of all values.

/// A histogram that any thread may record into; recording costs two atomic instructions and no lock.
public final class Histogram: Sendable {
    /// The upper bounds of the buckets, in the unit of the values; each bucket holds its bound.
    private let bounds: [UInt64]
    /// How many of the values' unit make one of what is shown: 1e9 for nanoseconds shown as seconds.
    private let unitsInOne: Double
    /// One for each bound, and one for what is larger; not cumulative, so that recording touches one of them.
    private let buckets: [Counter]
    private let sum = Counter()

    /// - Parameters:
    ///   - bounds: ascending.
    ///   - unitsInOne: how many of the values' unit make one of the unit that is shown.
    public init(bounds: [UInt64], unitsInOne: Double = 1) {
        self.bounds = bounds
        self.unitsInOne = unitsInOne
        self.buckets = (0...bounds.count).map { _ in Counter() }
    }

    /// For spans of time in nanoseconds, shown in seconds: from half a millisecond to five seconds.
    public static func seconds() -> Histogram {
        let microseconds: [UInt64] = [
            500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
        ]
        return Histogram(bounds: microseconds.map { $0 * 1_000 }, unitsInOne: 1e9)
    }

    /// For numbers of things done at once, from 1 to 256.
    public static func batches() -> Histogram { Histogram(bounds: [1, 2, 4, 8, 16, 32, 64, 128, 256]) }

    public func record(_ value: UInt64) {
        let index = self.bounds.firstIndex { value <= $0 } ?? self.bounds.count
        self.buckets[index].add()
        self.sum.add(value)
    }

    /// What was recorded so far. Taken while others record, it may lack their newest value in the sum; the counts agree with each other.
    public var snapshot: Snapshot {
        var running: UInt64 = 0
        let counts = self.buckets.map { bucket in
            running &+= bucket.value
            return running
        }
        return Snapshot(
            bounds: self.bounds.map { Double($0) / self.unitsInOne }, cumulativeCounts: counts,
            sum: Double(self.sum.value) / self.unitsInOne)
    }

    /// A histogram at one moment.
    public struct Snapshot: Sendable, Equatable {
        /// Upper bounds in the unit that is shown.
        public let bounds: [Double]
        /// How many values are at most as large as each bound; the last is all of them.
        public let cumulativeCounts: [UInt64]
        public let sum: Double

        public var count: UInt64 { self.cumulativeCounts.last ?? 0 }
    }
}
