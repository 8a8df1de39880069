// A ca-core for tests: a ROUTER on an ipc path that answers as a test says, and the events beside it.
import Foundation
import Relay
import Synchronization
import TestPrograms
import Threads
import UPKIProtocol
import ZeroMQ

/// A request as the core sees it.
struct CoreRequest: Sendable {
    let connection: [UInt8]
    let header: InternalLink.RequestHeader
    let payload: [UInt8]

    var text: String { String(decoding: payload, as: UTF8.self) }
}

/// A core process as far as a relay can tell.
final class FakeCore: Sendable {
    enum Greeting: Sendable {
        case welcome
        case refuse(version: UInt8)
        case silence
    }

    private enum Command: Sendable {
        case send(connection: [UInt8], [UInt8], [UInt8])
        case publish([UInt8])
        case stop
    }

    /// Everything but hello, in order.
    let requests: Mailbox<CoreRequest>
    let hellos: Mailbox<CoreRequest>
    /// Subscriptions on the events socket.
    let subscriptions: Mailbox<[UInt8]>
    private let commands: Mailbox<Command>
    private let thread: Mutex<OwnedThread?>

    /// - Parameter respond: the payload to answer a request with at once; nil leaves it open.
    ///   - relay: the data with which the relay's own question is answered.
    init(
        path: String, eventsPath: String? = nil, instance: String = "c0ffee", greeting: Greeting = .welcome,
        relay: @escaping @Sendable (JSON) -> JSON = { _ in [:] },
        respond: @escaping @Sendable (CoreRequest) -> [UInt8]?
    ) throws {
        requests = try Mailbox()
        hellos = try Mailbox()
        subscriptions = try Mailbox()
        commands = try Mailbox()
        thread = Mutex(nil)
        let started = try Mailbox<String?>()
        let thread = try OwnedThread(name: "fake-core") { [requests, hellos, subscriptions, commands] in
            do {
                let context = try ZMQContext()
                var options = ZMQSocketOptions()
                options.sendHighWater = 100_000
                options.receiveHighWater = 100_000
                options.lingerMilliseconds = 100
                let socket = try ZMQSocket(.router, in: context, options: options)
                try socket.bind("ipc://\(path)")
                let events = try ZMQSocket(.extendedPublish, in: context)
                if let eventsPath { try events.bind("ipc://\(eventsPath)") }
                var poll = ZMQPollSet()
                poll.add(descriptor: commands.descriptor)
                poll.add(socket)
                poll.add(events)
                started.post(nil)
                while true {
                    _ = try poll.wait(milliseconds: commands.mayPoll() ? -1 : 0)
                    var waiting: [Command] = []
                    commands.takeAll(into: &waiting)
                    for command in waiting {
                        switch command {
                        case .send(let connection, let header, let payload): _ = try socket.sendNow(parts: [connection, header, payload])
                        case .publish(let frame): _ = try events.sendNow(frame)
                        case .stop: return
                        }
                    }
                    while let message = try events.receiveNow(ZMQReceiveLimits(parts: 1, bytes: 100)) {
                        subscriptions.post(message.parts[0])
                    }
                    while let message = try socket.receiveNow(ZMQReceiveLimits(parts: 4, bytes: 8 << 20)) {
                        let request = CoreRequest(
                            connection: message.parts[0], header: try InternalLink.RequestHeader(decoding: message.parts[1]),
                            payload: message.parts[2])
                        if request.header.kind == .hello {
                            hellos.post(request)
                            switch greeting {
                            case .silence: break
                            case .welcome:
                                let answer =
                                    #"{"EVENT":"ANSWER","DATA":{"protocol":1,"program":"ca-core 0.1.0","instance":"\#(instance)"}}"#
                                let header = InternalLink.AnswerHeader(kind: .helloAnswer, id: request.header.id)
                                _ = try socket.sendNow(parts: [request.connection, header.encoded, Array(answer.utf8)])
                            case .refuse(let version):
                                let refusal = Answer.frame(Refusal(.requestRefused, "ca-core serves link versions 8 and 9"))
                                let header = InternalLink.AnswerHeader(kind: .refusedVersion, id: request.header.id, version: version)
                                _ = try socket.sendNow(parts: [request.connection, header.encoded, refusal])
                            }
                            continue
                        }
                        if request.header.identity == .none, let own = try? Request(frame: request.payload), own.task == "relay" {
                            let header = InternalLink.AnswerHeader(kind: .answer, id: request.header.id)
                            _ = try socket.sendNow(
                                parts: [request.connection, header.encoded, Answer.frame(relay(.object(own.parameters.members)))])
                            continue
                        }
                        requests.post(request)
                        if let answer = respond(request) {
                            let header = InternalLink.AnswerHeader(kind: .answer, id: request.header.id)
                            _ = try socket.sendNow(parts: [request.connection, header.encoded, answer])
                        }
                    }
                }
            } catch {
                started.post("\(error)")
            }
        }
        self.thread.withLock { $0 = thread }
        if let failure = started.take(upTo: 1)[0] { throw TestFailure(failure) }
    }

    deinit { stop() }

    /// Ends the core as a kill would: its sockets are gone when this returns.
    func stop() {
        commands.post(.stop)
        thread.withLock { $0 }?.join()
    }

    func answer(_ request: CoreRequest, _ text: String) {
        let header = InternalLink.AnswerHeader(kind: .answer, id: request.header.id)
        commands.post(.send(connection: request.connection, header.encoded, Array(text.utf8)))
    }

    func send(to connection: [UInt8], header: [UInt8], payload: [UInt8]) {
        commands.post(.send(connection: connection, header, payload))
    }

    func publish(_ text: String) {
        commands.post(.publish(Array(text.utf8)))
    }
}

extension Mailbox {
    /// The next element, or a failure after 20 s.
    func next() throws -> Element {
        var elements: [Element] = []
        _ = take(upTo: 1, into: &elements, within: 20_000_000_000)
        guard let element = elements.first else { throw TestFailure("nothing came within 20 s") }
        return element
    }
}

/// A directory of its own, removed with everything in it.
final class TemporaryDirectory: Sendable {
    let path: String

    init() throws {
        var template = Array("/tmp/relay-tests-XXXXXX".utf8CString)
        guard let made = mkdtemp(&template) else { throw TestFailure("no temporary directory") }
        path = String(cString: made)
    }

    deinit {
        try? FileManager.default.removeItem(atPath: path)
    }
}

/// A client's socket that gives up instead of hanging the run.
func client(_ type: ZMQSocketType, _ endpoint: String, in context: ZMQContext, _ change: (inout ZMQSocketOptions) -> Void = { _ in })
    throws -> ZMQSocket
{
    var options = ZMQSocketOptions()
    options.receiveTimeoutMilliseconds = 20_000
    options.sendTimeoutMilliseconds = 20_000
    change(&options)
    let socket = try ZMQSocket(type, in: context, options: options)
    try socket.connect(endpoint)
    return socket
}

extension ZMQSocket {
    func say(_ text: String) throws {
        guard try send(Array(text.utf8)) == .sent else { throw TestFailure("not sent") }
    }

    /// The frames of the next message as text.
    func hear() throws -> [String] {
        guard let message = try receive(ZMQReceiveLimits(parts: 10, bytes: 64 << 20)) else { throw TestFailure("no answer within 20 s") }
        return message.parts.map { String(decoding: $0, as: UTF8.self) }
    }

    func ask(_ text: String) throws -> String {
        try say(text)
        let frames = try hear()
        guard frames.count == 1 else { throw TestFailure("an answer of \(frames.count) frames") }
        return frames[0]
    }

    /// Whether nothing more is there.
    func isSilent() throws -> Bool {
        try receiveNow(ZMQReceiveLimits(parts: 10, bytes: 1 << 20)) == nil
    }
}

/// A relay between a test's client and its core.
final class TestRelay {
    let directory: TemporaryDirectory
    let relay: Relay
    let context: ZMQContext
    private(set) var log: [String] = []
    private(set) var seen: [RelayEvent] = []

    static let corePath = "core.sock"
    static let eventsPath = "events.sock"

    init(
        _ directory: TemporaryDirectory, listen: [String] = ["tcp://127.0.0.1:*"], window: Bool = false,
        _ change: (inout RelayOptions) -> Void = { _ in }
    ) throws {
        self.directory = directory
        var options = RelayOptions(
            listeners: try listen.map { try RelayListener(endpoint: $0) }, corePath: "\(directory.path)/\(Self.corePath)",
            program: "ca-front 0.1.0", windowEventsPath: window ? "\(directory.path)/\(Self.eventsPath)" : nil)
        change(&options)
        relay = try Relay(options)
        context = try ZMQContext()
        try relay.start()
    }

    deinit {
        relay.stop(reason: "the test is over")
        relay.join()
    }

    /// Reads events until one fits; fails after 20 s without any, or at the end.
    @discardableResult
    func wait(_ fits: (RelayEvent) -> Bool) throws -> RelayEvent {
        while true {
            let event = try relay.events.next()
            seen.append(event)
            if case .log(let level, let line) = event { log.append("\(level.rawValue): \(line)") }
            if fits(event) { return event }
            if case .ended(let end) = event { throw TestFailure("the relay has ended: \(end)") }
        }
    }

    func endpoint() throws -> String {
        if let known = relay.endpoints.first { return known }
        try wait { if case .listening = $0 { true } else { false } }
        return relay.endpoints[0]
    }

    /// The endpoint, once the core has answered.
    func readyEndpoint() throws -> String {
        try wait { $0 == .ready }
        return relay.endpoints[0]
    }

    func waitForEnd() throws -> RelayEnd {
        let event = try wait { if case .ended = $0 { true } else { false } }
        guard case .ended(let end) = event else { throw TestFailure("no end") }
        return end
    }

    /// Whether the counters come to fit within 20 s: they are published at the end of the pass that sent an answer, after the answer.
    func settles(_ fit: (RelayCounters) -> Bool) -> Bool {
        let patience = MonotonicTime.now.advanced(byMilliseconds: 20_000)
        while !fit(relay.counters) {
            if .now > patience { return false }
            sched_yield()
        }
        return true
    }

    func waitForLog(_ part: String) throws {
        try wait { if case .log(_, let line) = $0 { line.contains(part) } else { false } }
    }
}
