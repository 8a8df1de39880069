// Slow jobs have bounded queues; this says whose the places in them are.

import Synchronization

/// How much of each job thread's queue an identity has: never more than half of it, so that another one's request has its place.
package final class JobShares: Sendable {
    private struct Share: Hashable {
        let place: String
        let identity: String
    }
    private let waiting = Mutex<[Share: Int]>([:])

    /// Of the 64 places of each queue.
    package static let most = 32

    package init() {}

    /// - Returns: false where the identity has its share already.
    package func enter(_ place: String, of identity: String) -> Bool {
        self.waiting.withLock { waiting in
            let share = Share(place: place, identity: identity)
            let count = waiting[share] ?? 0
            guard count < Self.most else { return false }
            waiting[share] = count + 1
            return true
        }
    }

    /// Gives a place back; one that was never taken is nothing.
    package func leave(_ place: String, of identity: String) {
        self.waiting.withLock { waiting in
            let share = Share(place: place, identity: identity)
            guard let count = waiting[share] else { return }
            waiting[share] = count > 1 ? count - 1 : nil
        }
    }
}
