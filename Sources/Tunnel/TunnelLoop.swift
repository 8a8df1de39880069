// The tunnel's thread: takes what the RA asks on loopback, passes it on over CURVE, and answers in time whatever the CA does.

import Enrolment
import Relay
import Synchronization
import Threads
import UPKIProtocol
import ZeroMQ

/// What other threads tell the loop.
enum TunnelMessage: Sendable {
    /// The node is another one now: its addresses, keys or token.
    case identity(NodeIdentity)
    /// What the worker answers to a `register` of the RA.
    case onboarded(client: TunnelClient, answer: [UInt8])
    case stop
}

/// Who waits for an answer: a connection of the front or of the registrar, and the envelope that it wants back.
struct TunnelClient: Sendable {
    let isRegistrar: Bool
    let routingID: [UInt8]
    let envelope: [[UInt8]]
}

/// What the loop lets others see.
struct TunnelFacts: Sendable {
    var connection = ""
    var isConnected = false
    var open = 0
    var relayed: UInt64 = 0
    var busy: UInt64 = 0
    var registrarListens = false
}

/// What the tunnel's threads share.
final class TunnelShared: Sendable {
    let facts = Mutex(TunnelFacts())
}

final class TunnelLoop {
    private struct Open {
        let client: TunnelClient
        let payload: [UInt8]
        let deadline: MonotonicTime
        var isSent = false
    }

    private enum Words {
        static let oneFrame = refusal("Invalid request: one frame with one JSON object is expected")
        static let tooMany = refusal("Busy: too many requests are open in this tunnel; try again")
        static let stopping = refusal("Busy: this tunnel is stopping; try again")
        static let late = refusal("Busy: the CA has not answered in time; try again")
        static let lateMayChange = refusal("Busy: the CA has not answered in time; the request may still take effect")

        static func refusal(_ line: String) -> [UInt8] { Answer.frame(Refusal(.busy, line)) }
    }

    private let options: TunnelOptions
    private let inbox: Mailbox<TunnelMessage>
    private let orders: Mailbox<TunnelWorker.Order>
    private let shared: TunnelShared
    private let log: TunnelLog
    private let context: ZMQContext
    private let front: ZMQSocket
    private var registrar: ZMQSocket?
    private var upstream: Upstream
    private var token: String?
    private var commonName: String?
    /// When the registrar's port goes; nil while nobody was registered.
    private var registrarEnds: MonotonicTime?

    private var open: [UInt64: Open] = [:]
    /// The oldest first: all have the same patience.
    private var order = RingQueue<UInt64>()
    private var unsent = RingQueue<UInt64>()
    private var openBytes = 0
    private var lastID: UInt64 = 0
    private var stopsAt: MonotonicTime?

    private static let messagesPerTurn = 128
    private static let longestWait = 1_000

    init(
        _ options: TunnelOptions, _ identity: NodeIdentity?, _ pair: ZMQCurveKeyPair, _ servers: ServerAddresses, inbox: Mailbox<TunnelMessage>,
        orders: Mailbox<TunnelWorker.Order>, shared: TunnelShared, log: @escaping TunnelLog
    ) throws(TunnelError) {
        self.options = options
        self.inbox = inbox
        self.orders = orders
        self.shared = shared
        self.log = log
        token = identity?.token
        commonName = identity?.commonName
        do throws(ZeroMQError) {
            context = try ZMQContext(ioThreads: 1)
            upstream = Upstream(servers, pair, options, context: context, log: log)
        } catch {
            throw TunnelError(.system, error.message)
        }
        front = try Self.listen(options, options.port, context)
        registrar = options.enrolment == nil ? nil : try Self.listen(options, options.port + 1, context)
        shared.facts.withLock { [open = registrar != nil] in $0.registrarListens = open }
    }

    private static func listen(_ options: TunnelOptions, _ port: Int, _ context: ZMQContext) throws(TunnelError) -> ZMQSocket {
        let endpoint = ServerAddresses.endpoint(options.address, port)
        do throws(ZeroMQError) {
            var socketOptions = ZMQSocketOptions()
            socketOptions.routerMandatory = true
            socketOptions.maximumFrameBytes = options.maximumFrameBytes
            socketOptions.receiveHighWater = 64
            socketOptions.sendHighWater = options.maximumOpenRequests
            socketOptions.ipv6 = options.address.contains(":")
            let socket = try ZMQSocket(.router, in: context, options: socketOptions)
            try socket.bind(endpoint)
            return socket
        } catch {
            let why = error.code == .addressInUse ? "the port is taken; `ss -ltnp sport = :\(port)` names by whom" : error.message
            throw TunnelError(.cannotListen, "cannot listen on \(ServerAddresses.place(options.address, port)): \(why)")
        }
    }

    // MARK: The loop

    /// Runs until it was told to stop and everything open is answered.
    func run(_ beat: LoopBeat) throws(TunnelError) {
        do throws(ZeroMQError) {
            while true {
                try wait(beat)
                let now = MonotonicTime.now
                readInbox(at: now)
                try upstream.step(at: now)
                while let answer = try upstream.receive() { try answered(answer.tag, answer.payload) }
                try readClients(isRegistrar: false, at: now)
                try readClients(isRegistrar: true, at: now)
                try sendWaiting()
                try answerLate(at: .now)
                closeRegistrarIfDue(at: now)
                publishFacts()
                if let stopsAt, open.isEmpty || now >= stopsAt { break }
            }
            for id in open.keys.sorted() { if let request = take(id) { try answer(request.client, Words.stopping) } }
        } catch {
            throw TunnelError(.system, error.message)
        }
    }

    private func wait(_ beat: LoopBeat) throws(ZeroMQError) {
        var poll = ZMQPollSet()
        poll.add(descriptor: inbox.descriptor)
        poll.add(front)
        registrar?.add(to: &poll)
        let upstreamIndex = upstream.add(to: &poll)
        if let upstreamIndex, !unsent.isEmpty, upstream.isReady { poll.wait(at: upstreamIndex, for: [.readable, .writable]) }
        let now = MonotonicTime.now
        var milliseconds = Self.longestWait
        for moment in [upstream.nextAction, nextDeadline, registrarEnds, stopsAt] {
            if let moment { milliseconds = min(milliseconds, now.milliseconds(until: moment)) }
        }
        if !inbox.mayPoll() { milliseconds = 0 }
        beat.idle()
        _ = try poll.wait(milliseconds: milliseconds)
        beat.passing()
    }

    private var nextDeadline: MonotonicTime? { order.first.flatMap { open[$0]?.deadline } ?? (order.isEmpty ? nil : .now) }

    private func readInbox(at now: MonotonicTime) {
        var messages: [TunnelMessage] = []
        inbox.takeAll(into: &messages)
        for message in messages {
            switch message {
            case .identity(let identity):
                token = identity.token
                commonName = identity.commonName
                upstream.set(identity.servers)
            case .onboarded(let client, let payload):
                do throws(ZeroMQError) { try answer(client, payload) } catch { log(.warning, error.message) }
                if commonName != nil, registrarEnds == nil { registrarEnds = now.advanced(byMilliseconds: options.handoverTime) }
            case .stop:
                if stopsAt == nil { stopsAt = now.advanced(byMilliseconds: options.drainTime) }
            }
        }
    }

    private func closeRegistrarIfDue(at now: MonotonicTime) {
        guard registrar != nil, let registrarEnds, now >= registrarEnds else { return }
        registrar = nil
        self.registrarEnds = nil
        shared.facts.withLock { $0.registrarListens = false }
        Handover.markDone(in: options.directory, log)
        log(.info, "the RA is registered: port \(options.port + 1) is closed")
    }

    private func publishFacts() {
        let connection = upstream.statusText
        let isConnected = upstream.isReady
        let count = open.count
        shared.facts.withLock {
            $0.connection = connection
            $0.isConnected = isConnected
            $0.open = count
        }
    }

    // MARK: The RA

    private func readClients(isRegistrar: Bool, at now: MonotonicTime) throws(ZeroMQError) {
        let limits = ZMQReceiveLimits(parts: ClientMessage.partsKept, bytes: options.maximumFrameBytes * 2)
        for _ in 0..<Self.messagesPerTurn {
            let received = isRegistrar ? try registrar?.receiveNow(limits) ?? nil : try front.receiveNow(limits)
            guard let received else { return }
            guard let message = ClientMessage(parts: received.parts, complete: received.discardedParts == 0) else { continue }
            let client = TunnelClient(isRegistrar: isRegistrar, routingID: message.routingID, envelope: message.envelope)
            guard let payload = message.payload else {
                try answer(client, Words.oneFrame)
                continue
            }
            guard stopsAt == nil else {
                try answer(client, Words.stopping)
                continue
            }
            if isRegistrar { try onboard(client, payload) } else { try takeOn(client, payload, at: now) }
        }
    }

    private func takeOn(_ client: TunnelClient, _ given: [UInt8], at now: MonotonicTime) throws(ZeroMQError) {
        guard open.count < options.maximumOpenRequests, openBytes + given.count <= options.maximumOpenBytes else {
            shared.facts.withLock { $0.busy += 1 }
            return try answer(client, Words.tooMany)
        }
        let payload = RegisterRequest.withToken(token, given)
        lastID += 1
        open[lastID] = Open(client: client, payload: payload, deadline: now.advanced(byMilliseconds: options.requestDeadline))
        openBytes += payload.count
        order.append(lastID)
        unsent.append(lastID)
    }

    /// What is asked on the registrar's port is answered here: the CA's own registrar hears the tunnel alone.
    private func onboard(_ client: TunnelClient, _ payload: [UInt8]) throws(ZeroMQError) {
        do throws(Refusal) {
            let request = try Request(frame: payload)
            switch request.task {
            case "status": try answer(status, to: client)
            case "register":
                let order = TunnelWorker.Order.onboard(try Onboarding(request)) { [inbox] in
                    inbox.post(.onboarded(client: client, answer: $0))
                }
                guard orders.post(order) == .accepted else { throw Refusal(.busy, "Busy: a registration is going on; try again") }
            default: throw Refusal(.unknownTask, "Unknown task: \(request.task.prefix(100))")
            }
        } catch {
            try answer(client, Answer.frame(error))
        }
    }

    private var status: JSON {
        guard let commonName else { return ["status": "not_registered"] }
        return ["status": "registered", "node": ["cn": .string(commonName), "profile": "ra"]]
    }

    private func answer(_ data: JSON, to client: TunnelClient) throws(Refusal) {
        do throws(ZeroMQError) { try answer(client, Answer.frame(data)) } catch { log(.warning, error.message) }
    }

    private func answer(_ client: TunnelClient, _ payload: [UInt8]) throws(ZeroMQError) {
        let parts = [client.routingID] + client.envelope + [payload]
        if client.isRegistrar {
            _ = try registrar?.sendNow(parts: parts)
        } else {
            _ = try front.sendNow(parts: parts)
        }
    }

    // MARK: The CA

    private func sendWaiting() throws(ZeroMQError) {
        while let id = unsent.first {
            guard let request = open[id] else {
                _ = unsent.popFirst()
                continue
            }
            guard try upstream.send(withUnsafeBytes(of: id.bigEndian) { Array($0) }, request.payload) else { return }
            open[id]?.isSent = true
            _ = unsent.popFirst()
        }
    }

    private func answered(_ tag: [UInt8], _ payload: [UInt8]) throws(ZeroMQError) {
        guard tag.count == 8 else { return }
        let id = tag.reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        // One that comes too late was answered already.
        guard let request = take(id) else { return }
        shared.facts.withLock { $0.relayed += 1 }
        try answer(request.client, payload)
    }

    private func take(_ id: UInt64) -> Open? {
        guard let request = open.removeValue(forKey: id) else { return nil }
        openBytes -= request.payload.count
        return request
    }

    private func answerLate(at now: MonotonicTime) throws(ZeroMQError) {
        while let id = order.first {
            guard let request = open[id] else {
                _ = order.popFirst()
                continue
            }
            guard request.deadline <= now else { return }
            _ = order.popFirst()
            _ = take(id)
            shared.facts.withLock { $0.busy += 1 }
            try answer(request.client, words(for: request))
        }
    }

    private func words(for request: Open) -> [UInt8] {
        guard request.isSent else { return Words.refusal("Busy: \(upstream.statusText); try again") }
        return TaskNames.mayChange(request.payload) ? Words.lateMayChange : Words.late
    }
}
