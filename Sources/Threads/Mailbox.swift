// A queue between threads: workers block on it, an I/O thread polls its descriptor.
import CThreads
import Glibc
import Synchronization

/// A queue between threads, for any number of producers and consumers, first in first out.
///
/// It serves two kinds of consumers, and one mailbox has one kind:
/// - workers call ``take(upTo:into:within:)``, which blocks;
/// - one poller keeps ``descriptor`` in its poll set, calls ``mayPoll()`` right before it polls and ``takeAll(into:)`` after.
///
/// A producer makes a system call only when a consumer sleeps.
public final class Mailbox<Element: Sendable>: Sendable {
    /// What became of a post.
    public enum Posted: Sendable, Equatable {
        case accepted
        /// The mailbox holds as many elements as it may; nothing was added.
        case full
        /// The mailbox is closed; nothing was added.
        case closed
    }

    private struct State {
        var queue = RingQueue<Element>()
        var closed = false
        /// Workers that went to sleep and for whom no wake-up was written yet.
        var sleepingWorkers = 0
        var pollerSleeps = false
        /// The poller's eventfd was written and not read since.
        var pollerWoken = false
    }

    /// Readable when the poller that announced its sleep has something to take, or the mailbox was closed.
    public let descriptor: Int32
    /// An eventfd in semaphore mode: one count for each worker to wake.
    private let workersDescriptor: Int32
    private let capacity: Int
    private let state = Mutex(State())

    /// - Parameter capacity: how many elements it holds before posts are refused; nil is no limit.
    /// - Throws: `.system` when no descriptor is left.
    public init(capacity: Int? = nil) throws(ThreadsError) {
        self.capacity = capacity ?? Int.max
        descriptor = cthreads_eventfd(0)
        guard descriptor >= 0 else {
            throw ThreadsError(.system, "no descriptor is left for a mailbox", errorNumber: -descriptor)
        }
        workersDescriptor = cthreads_eventfd(1)
        guard workersDescriptor >= 0 else {
            Glibc.close(descriptor)
            throw ThreadsError(.system, "no descriptor is left for a mailbox", errorNumber: -workersDescriptor)
        }
    }

    deinit {
        Glibc.close(descriptor)
        Glibc.close(workersDescriptor)
    }

    public var count: Int { state.withLock { $0.queue.count } }
    public var isClosed: Bool { state.withLock { $0.closed } }

    /// Adds one element and wakes one consumer that sleeps.
    @discardableResult
    public func post(_ element: Element) -> Posted {
        let (result, wake) = state.withLock { state -> (Posted, Wake) in
            if state.closed { return (.closed, Wake()) }
            if state.queue.count >= capacity { return (.full, Wake()) }
            state.queue.append(element)
            return (.accepted, Self.consumersToWake(&state, for: 1))
        }
        self.wake(wake)
        return result
    }

    /// Adds all elements in order, or none of them, and wakes as many consumers as there is work for.
    @discardableResult
    public func post(contentsOf elements: [Element]) -> Posted {
        if elements.isEmpty { return isClosed ? .closed : .accepted }
        let (result, wake) = state.withLock { state -> (Posted, Wake) in
            if state.closed { return (.closed, Wake()) }
            if elements.count > capacity - state.queue.count { return (.full, Wake()) }
            for element in elements { state.queue.append(element) }
            return (.accepted, Self.consumersToWake(&state, for: elements.count))
        }
        self.wake(wake)
        return result
    }

    /// Refuses posts from now on and wakes every consumer; what is inside can still be taken.
    public func close() {
        let wake = state.withLock { state -> Wake in
            if state.closed { return Wake() }
            state.closed = true
            return Self.consumersToWake(&state, for: Int.max)
        }
        self.wake(wake)
    }

    /// For workers: waits until there is something, then moves up to `limit` elements to the end of `elements`.
    /// - Parameter within: nanoseconds to wait at most; nil waits for as long as it takes, 0 only looks.
    /// - Returns: false when the mailbox is closed and empty: there will never be more. After a wait that ran out it is true
    ///   and nothing was added.
    public func take(upTo limit: Int, into elements: inout [Element], within nanoseconds: UInt64? = nil) -> Bool {
        let deadline = nanoseconds.map { span in
            let now = MonotonicTime.now.nanoseconds
            return MonotonicTime(nanoseconds: span > UInt64.max - now ? .max : now + span)
        }
        while true {
            let wait = state.withLock { state -> Bool? in
                if !state.queue.isEmpty {
                    for _ in 0..<min(max(0, limit), state.queue.count) {
                        if let element = state.queue.popFirst() { elements.append(element) }
                    }
                    return nil
                }
                if state.closed { return false }
                if nanoseconds == 0 { return nil }
                state.sleepingWorkers += 1
                return true
            }
            guard let wait else { return true }
            guard wait else { return false }
            if !sleepAsWorker(until: deadline) { return !isClosed || count > 0 }
        }
    }

    /// For workers: waits until there is something and returns up to `limit` elements; empty when the mailbox is closed and empty.
    public func take(upTo limit: Int) -> [Element] {
        var elements: [Element] = []
        _ = take(upTo: limit, into: &elements)
        return elements
    }

    /// For the poller: moves everything to the end of `elements` without waiting.
    /// - Returns: how many elements were moved.
    @discardableResult
    public func takeAll(into elements: inout [Element]) -> Int {
        let (taken, woken) = state.withLock { state -> (Int, Bool) in
            let taken = state.queue.count
            while let element = state.queue.popFirst() { elements.append(element) }
            let woken = state.pollerWoken
            state.pollerWoken = false
            state.pollerSleeps = false
            return (taken, woken)
        }
        // The producer that set the mark may not have written yet; the mark then stays, so that the next pass reads it.
        if woken && !Self.read(descriptor) { state.withLock { $0.pollerWoken = true } }
        return taken
    }

    /// For the poller: to be called right before it polls.
    /// - Returns: true when it may sleep, since ``descriptor`` will wake it; false when something is already there or the
    ///   mailbox is closed (a poller that goes on after that takes the descriptor out of its poll set).
    public func mayPoll() -> Bool {
        state.withLock { state in
            guard state.queue.isEmpty, !state.closed else { return false }
            state.pollerSleeps = true
            return true
        }
    }

    private struct Wake {
        var workers: UInt64 = 0
        var poller = false
    }

    private static func consumersToWake(_ state: inout State, for elements: Int) -> Wake {
        var wake = Wake()
        if state.sleepingWorkers > 0 {
            let workers = min(state.sleepingWorkers, elements)
            state.sleepingWorkers -= workers
            wake.workers = UInt64(workers)
        }
        if state.pollerSleeps {
            state.pollerSleeps = false
            state.pollerWoken = true
            wake.poller = true
        }
        return wake
    }

    private func wake(_ wake: Wake) {
        if wake.workers > 0 { Self.write(workersDescriptor, wake.workers) }
        if wake.poller { Self.write(descriptor, 1) }
    }

    /// Sleeps until a producer woke this worker; false when the time ran out first.
    private func sleepAsWorker(until deadline: MonotonicTime?) -> Bool {
        var deadline = deadline
        while true {
            let ready = Self.waitReadable(workersDescriptor, until: deadline)
            // A wake-up is for any one of the sleepers: another may have been faster, then this one sleeps on.
            if ready && Self.read(workersDescriptor) { return true }
            if ready || deadline == nil { continue }
            // The time ran out. Whoever leaves the list of sleepers settles it under the lock: either there is a sleeper to take off,
            // or a wake-up was promised to each of them, and this one has to consume its own.
            let leaves = state.withLock { state -> Bool in
                guard state.sleepingWorkers > 0 else { return false }
                state.sleepingWorkers -= 1
                return true
            }
            if leaves { return false }
            deadline = nil
        }
    }

    /// Whether the descriptor became readable before the deadline.
    private static func waitReadable(_ descriptor: Int32, until deadline: MonotonicTime?) -> Bool {
        while true {
            // Without a deadline: a day at a time.
            let span = deadline.map { MonotonicTime.now.nanoseconds(until: $0) } ?? 86_400_000_000_000
            let ready = cthreads_wait_readable(descriptor, span)
            if ready == 0 && deadline == nil { continue }
            if ready >= 0 { return ready > 0 }
        }
    }

    private static func write(_ descriptor: Int32, _ count: UInt64) {
        var count = count
        // Fails only with EINTR: the counter cannot reach 2^64 - 1.
        while Glibc.write(descriptor, &count, 8) < 0 && errno == EINTR {}
    }

    /// Whether there was something to read.
    @discardableResult
    private static func read(_ descriptor: Int32) -> Bool {
        var count: UInt64 = 0
        while true {
            if Glibc.read(descriptor, &count, 8) == 8 { return true }
            if errno != EINTR { return false }
        }
    }
}
