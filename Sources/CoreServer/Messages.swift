// What threads of the core hand each other: requests, changes, jobs, and what goes out.

import Authority
import Synchronization
import Tasks
import UPKIProtocol

/// Where an answer goes.
struct ReplyRoute: Sendable {
    let channel: Caller.Channel
    /// The routing id of the relay's connection.
    let connection: [UInt8]
    let id: UInt64
    /// Where the request is counted; the worker says which task it is.
    var meter: RequestMeter
}

/// A request as the I/O thread took it in.
struct Incoming: Sendable {
    let route: ReplyRoute
    /// CLOCK_MONOTONIC in nanoseconds at the relay; 0 where the peer gave none.
    let arrival: UInt64
    let caller: Caller
    let frame: [UInt8]
}

/// What the I/O thread is to send, in order.
enum Outgoing: Sendable {
    case answer(ReplyRoute, frame: [UInt8])
    case event(Event)
}

/// A change that waits for the writer, and who hears of its end.
struct PendingChange: Sendable {
    let change: Change<JSON>
    let completion: Completion

    enum Completion: Sendable {
        case reply(ReplyRoute, requestID: String)
        case call(@Sendable (Result<JSON, any Error>) -> Void)
    }
}

/// Work for a thread of its own.
struct Job: Sendable {
    let context: RequestContext
    let route: ReplyRoute
    let arrival: UInt64
    let place: Step.Place
    let work: @Sendable () throws -> Step
}

/// How much of each job thread's queue an identity has: never more than half of it, so that another one's request has its place.
final class JobShares: Sendable {
    private struct Share: Hashable {
        let place: Step.Place
        let identity: String
    }
    private let waiting = Mutex<[Share: Int]>([:])

    /// Of the 64 places of each queue.
    static let most = 32

    /// - Returns: false where the identity has its share already; the operator on the CA's host is never refused.
    func enter(_ job: Job) -> Bool {
        guard job.context.caller.channel != .admin else { return true }
        return self.waiting.withLock { waiting in
            let share = Self.share(job)
            let count = waiting[share] ?? 0
            guard count < Self.most else { return false }
            waiting[share] = count + 1
            return true
        }
    }

    func leave(_ job: Job) {
        guard job.context.caller.channel != .admin else { return }
        self.waiting.withLock { waiting in
            let share = Self.share(job)
            guard let count = waiting[share] else { return }
            waiting[share] = count > 1 ? count - 1 : nil
        }
    }

    private static func share(_ job: Job) -> Share { Share(place: job.place, identity: job.context.caller.proofText) }
}

/// Counts requests that are being worked on: while there are some, the writer waits a moment for company.
final class InFlight: Sendable {
    private let count = Atomic<Int>(0)
    func enter() { self.count.add(1, ordering: .relaxed) }
    func leave() { self.count.subtract(1, ordering: .relaxed) }
    var value: Int { self.count.load(ordering: .relaxed) }
    var isEmpty: Bool { self.count.load(ordering: .relaxed) <= 0 }
}
