// What threads of the core hand each other: requests, changes, jobs, and what goes out.

import Authority
import Synchronization
import Tasks
internal import Threads
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
    /// Tells the programs that stand for others to hand over nothing more; the mailbox hears when they have said so, or have had their time.
    case farewell(done: Mailbox<Bool>)
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

/// Counts requests that are being worked on: while there are some, the writer waits a moment for company.
final class InFlight: Sendable {
    private let count = Atomic<Int>(0)
    func enter() { self.count.add(1, ordering: .relaxed) }
    func leave() { self.count.subtract(1, ordering: .relaxed) }
    var value: Int { self.count.load(ordering: .relaxed) }
    var isEmpty: Bool { self.count.load(ordering: .relaxed) <= 0 }
}
