// A number that only grows: what happened so often since the process began.

import Synchronization

/// A counter that any thread may add to; adding costs one atomic instruction and no lock.
public final class Counter: Sendable {
    private let cell = Atomic<UInt64>(0)

    public init() {}

    public func add(_ count: UInt64 = 1) { self.cell.wrappingAdd(count, ordering: .relaxed) }

    public var value: UInt64 { self.cell.load(ordering: .relaxed) }
}
