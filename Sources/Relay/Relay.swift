// A relay as the rest of a program sees it: start, stop, what it did, what it has to say.
import Synchronization
import Threads
import ZeroMQ

/// How a relay came to its end.
public enum RelayEnd: Sendable, Equatable {
    /// It was told to stop, and did so cleanly.
    case stopped(reason: String)
    /// The registration window is closed.
    case windowClosed(reason: String)
    case failed(RelayError)
}

/// What a relay reports, in order, on its mailbox of events.
public enum RelayEvent: Sendable, Equatable {
    case log(RelayLogLevel, String)
    /// It listens; the endpoints have their real ports.
    case listening([String])
    /// The core answered for the first time, and the relay listens.
    case ready
    /// The last event.
    case ended(RelayEnd)
}

/// Relays between clients on TCP and ca-core on a unix socket, on one I/O thread that has all the sockets.
///
/// Every message of a client gets exactly one answer within the deadline: the core's, or a refusal of the relay's own. The relay
/// holds no rules: it looks into a request only to tell a client whether an unanswered one may still take effect.
public final class Relay: Sendable {
    /// What happens to it; bounded, so that a reader that does not read costs lines and not memory, except that the last event
    /// always ends it: the mailbox is closed after `.ended`, and ``end`` tells the same.
    public let events: Mailbox<RelayEvent>
    private let shared: RelayShared
    private let thread: Mutex<OwnedThread?>
    private let options: RelayOptions
    private let beat: LoopBeat

    /// - Parameter heartbeats: where the I/O thread shows that it moves.
    /// - Throws: `.invalidOptions`, `.system`.
    public init(_ options: RelayOptions, heartbeats: Heartbeats = Heartbeats()) throws(RelayError) {
        guard !options.listeners.isEmpty || options.listensAsConfigured else {
            throw RelayError(.invalidOptions, "a relay needs an address to listen on")
        }
        guard options.requestDeadline > 0, options.maximumOpenRequests > 0, options.maximumOpenBytes > 0, options.messagesPerTurn > 0,
            options.maximumOpenRequestsPerClient > 0, options.maximumFrameBytes > 0, options.maximumUnreadBytes > 0, options.drainTime >= 0
        else { throw RelayError(.invalidOptions, "the bounds of a relay are numbers above 0") }
        do throws(ThreadsError) {
            events = try Mailbox(capacity: 4_096)
            shared = RelayShared(control: try Mailbox(), events: events)
        } catch {
            throw RelayError(.system, error.message)
        }
        self.options = options
        beat = heartbeats.loop(named: "relay")
        thread = Mutex(nil)
    }

    /// Starts the I/O thread; what becomes of it is told by ``events``.
    /// - Throws: `.system` when no thread is left.
    public func start() throws(RelayError) {
        do throws(ThreadsError) {
            let thread = try OwnedThread(name: "relay-io") { [options, shared, beat] in
                let end = RelayLoop.live(options, shared, beat)
                beat.idle()
                shared.finish(end)
            }
            self.thread.withLock { $0 = thread }
        } catch {
            throw RelayError(.system, error.message)
        }
    }

    /// Asks for a clean stop: what is in flight is finished within the drain time, what comes is answered `Busy`, then nothing listens any
    /// more. Returns at once; any thread may call it.
    public func stop(reason: String) {
        shared.control.post(reason)
    }

    /// Waits until the I/O thread has ended and its sockets are closed.
    public func join() {
        thread.withLock { $0 }?.join()
    }

    /// How it ended; nil while it runs.
    public var end: RelayEnd? { shared.facts.withLock { $0.end } }
    public var counters: RelayCounters { shared.counters.withLock { $0 } }
    /// The endpoints it listens on, with their real ports.
    public var endpoints: [String] { shared.facts.withLock { $0.endpoints } }

    /// One line for people: `relaying 127.0.0.1:5000, 3 open`.
    public var statusText: String {
        let facts = shared.facts.withLock { $0 }
        let open = shared.counters.withLock { $0.open }
        let places = facts.endpoints.map { $0.hasPrefix("tcp://") ? String($0.dropFirst(6)) : $0 }.joined(separator: " and ")
        switch facts.end {
        case .stopped(let reason)?: return "stopped: \(reason)"
        case .windowClosed(let reason)?: return "registration is closed: \(reason)"
        case .failed(let error)?: return error.message
        case nil: break
        }
        if facts.stopping { return "stopping, \(open) open" }
        let core = facts.coreAnswers ? "" : ", \(facts.refusal ?? "ca-core does not answer")"
        return places.isEmpty ? "waiting for ca-core" : "relaying \(places)\(core), \(open) open"
    }
}

/// What the I/O thread and the others share.
final class RelayShared: Sendable {
    struct Facts: Sendable {
        var endpoints: [String] = []
        var coreAnswers = false
        /// The line of a core that does not serve this version.
        var refusal: String?
        var stopping = false
        var end: RelayEnd?
    }

    /// Reasons to stop; the first one counts.
    let control: Mailbox<String>
    let events: Mailbox<RelayEvent>
    let counters = Mutex(RelayCounters())
    let facts = Mutex(Facts())

    init(control: Mailbox<String>, events: Mailbox<RelayEvent>) {
        self.control = control
        self.events = events
    }

    func finish(_ end: RelayEnd) {
        facts.withLock { $0.end = end }
        events.post(.ended(end))
        events.close()
    }
}
