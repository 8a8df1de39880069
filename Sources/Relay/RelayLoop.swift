// The relay's I/O thread: all its sockets, the table of open requests, one pass of the loop after the other.
import CLinux
import CoreLink
import Threads
import UPKIProtocol
import ZeroMQ

/// One listening socket.
private final class ListeningSocket {
    let socket: ZMQSocket
    let mechanism: RelayListener.Mechanism
    /// With the real port.
    let endpoint: String
    let pollIndex: Int

    /// - Parameter keys: the port's own, for a listener with CURVE.
    init(
        _ listener: RelayListener, _ keys: ZMQCurveKeyPair?, _ options: RelayOptions, _ limits: RelayLimits, _ guardian: RelayGuard,
        context: ZMQContext, poll: inout ZMQPollSet
    ) throws(RelayError) {
        var socketOptions = ZMQSocketOptions()
        // A client that is gone or does not read is reported, so that nothing is dropped unseen.
        socketOptions.routerMandatory = true
        socketOptions.maximumFrameBytes = min(options.maximumFrameBytes, limits.messageSize)
        socketOptions.handshakeMilliseconds = limits.handshake
        // Whoever comes in has passed the ZAP handler, with CURVE or without: what a peer says of itself is never looked at.
        socketOptions.zapDomain = listener.mechanism == .curve ? ZapRequest.curveDomain : ZapRequest.plainDomain
        if listener.mechanism == .curve {
            guard let keys else { throw RelayError(.system, "\(listener.endpoint) has no CURVE key") }
            socketOptions.curve = .server(keys)
        }
        // Few, since each may be a megabyte; beyond them TCP makes the client wait.
        socketOptions.receiveHighWater = 64
        // As many answers as there can be requests: a client that reads never loses one.
        socketOptions.sendHighWater = options.maximumOpenRequests
        socketOptions.backlog = 1_024
        socketOptions.keepAlive = (idle: 60, interval: 15, count: 4)
        socketOptions.ipv6 = listener.endpoint.contains("[")
        socketOptions.listeningDescriptor = listener.descriptor
        let socket = try Self.make(socketOptions, context)
        try guardian.watch(
            socket, WatchedListener(mechanism: listener.mechanism, place: String(listener.endpoint.dropFirst("tcp://".count))))
        do throws(ZeroMQError) {
            try socket.bind(listener.endpoint)
            endpoint = try socket.lastEndpoint
            pollIndex = poll.add(socket)
        } catch {
            throw Self.refusal(error, listener.endpoint)
        }
        self.socket = socket
        mechanism = listener.mechanism
    }

    private static func make(_ options: ZMQSocketOptions, _ context: ZMQContext) throws(RelayError) -> ZMQSocket {
        do throws(ZeroMQError) { return try ZMQSocket(.router, in: context, options: options) } catch {
            throw RelayError(.system, error.message)
        }
    }

    private static func refusal(_ error: ZeroMQError, _ endpoint: String) -> RelayError {
        let place = endpoint.dropFirst("tcp://".count)
        let port = place.split(separator: ":").last.map(String.init) ?? ""
        switch error.code {
        case .addressInUse:
            return RelayError(
                .portTaken,
                "cannot listen on \(place): port \(port) is taken by another program; `ss -ltnp sport = :\(port)` names it, "
                    + "--port or --listen chooses another")
        case .addressNotAvailable:
            return RelayError(.cannotListen, "cannot listen on \(place): this host has no such address; `ip address` lists those it has")
        case .permissionDenied:
            return RelayError(.cannotListen, "cannot listen on \(place): not allowed; ports below 1024 need CAP_NET_BIND_SERVICE")
        case .invalidEndpoint:
            return RelayError(.cannotListen, "cannot listen on \(place): it is not ADDRESS:PORT with a numeric address")
        default:
            return RelayError(.system, error.message)
        }
    }
}

/// The state of the I/O thread; it is made, used and ended on it.
final class RelayLoop {
    private enum Phase {
        /// Not listening yet: a registrar that does not know whether it may.
        case opening
        case serving
        /// Nothing new is taken on; what is open is finished until then.
        case draining(until: MonotonicTime, end: RelayEnd)
    }

    /// The words a client gets when the relay itself answers.
    private enum Words {
        static let oneFrame = refusal("Invalid request: one frame with one JSON object is expected")
        static let lateMayChange = refusal("Busy: ca-core has not answered in time; the request may still take effect")
        static let late = refusal("Busy: ca-core has not answered in time; try again")
        static let coreAway = refusal("Busy: ca-core is not answering; try again")
        static let tooMany = refusal("Busy: too many requests are open; try again")
        static let tooManyOfClient = refusal("Busy: too many requests of this connection are open; try again")
        static let unread = refusal("Busy: answers of this connection wait to be read; read them, then ask again")
        static let unreadMayChange = refusal(
            "Busy: answers of this connection wait to be read; the request has been answered and may have taken effect")
        static let stopping = refusal("Busy: this service is stopping; try again")
        static let stoppingMayChange = refusal("Busy: this service is stopping; the request may still take effect")

        static func refusal(_ line: String) -> [UInt8] { Answer.frame(Refusal(.busy, line)) }
    }

    private let options: RelayOptions
    private let shared: RelayShared
    private let beat: LoopBeat
    private let context: ZMQContext
    private let core: CoreLink
    private let coreIndex: Int
    private let events: ZMQSocket?
    private var poll = ZMQPollSet()
    private var listeners: [ListeningSocket] = []
    /// Where to listen; nil until ca-core has said it.
    private var wanted: [RelayListener]?
    /// Whether it may listen: a registrar does not before it knows that its window is open.
    private var mayListen: Bool
    private var table = OpenRequests()
    private var unread: UnreadAnswers
    private var counters = RelayCounters()
    private var phase = Phase.opening
    private var lastID: UInt64 = 0
    private var isReady = false
    private var reportedRefusal: String?

    // A registrar's knowledge of its window, and its question to the core.
    private var window = RegistrationWindow()
    private var windowMustBeAsked: Bool
    private var windowQuestion: (id: UInt64, askedAgainAt: MonotonicTime)?

    // What the core hands its relays, and when it is asked for that again.
    private let guardian: RelayGuard
    private var limits: RelayLimits
    private var parties = Parties()
    private var refusals: [[UInt8]] = []
    private var nodes: Set<String> = []
    private var nodesVersion: String?
    private var keys: [(pair: ZMQCurveKeyPair, port: Int?)] = []
    private var relayQuestion: UInt64?
    private var relayAskedAt = MonotonicTime.now
    private var relayAskedAgainAt = MonotonicTime.now

    private static let eventsPerTurn = 64
    /// A client that asks one thing after the other has one request open; with so few nobody fills a table.
    private static let modest = 4
    /// A pass comes at least that often, so that the watchdog sees the loop move and the window's end is noticed.
    private static let longestWait = 1_000
    private static let windowAnswerTime = 1_000
    private static let strangersInterval = 20
    /// How long answers may still be on their way to clients when the relay has ended.
    private static let lastAnswersTime = 300
    /// JSON is not parsed beyond that when a deadline passes; a larger request is taken for one that may change something.
    private static let longestLookedInto = 64 << 10

    /// Runs a relay from start to end.
    static func live(_ options: RelayOptions, _ shared: RelayShared, _ beat: LoopBeat) -> RelayEnd {
        do throws(RelayError) {
            return try RelayLoop(options, shared, beat).run()
        } catch {
            return .failed(error)
        }
    }

    private init(_ options: RelayOptions, _ shared: RelayShared, _ beat: LoopBeat) throws(RelayError) {
        self.options = options
        self.shared = shared
        self.beat = beat
        windowMustBeAsked = options.windowEventsPath != nil
        mayListen = options.windowEventsPath == nil
        wanted = options.listensAsConfigured ? nil : try RelayListener.joined(options.listeners, with: options.inherited)
        unread = UnreadAnswers(limit: options.maximumUnreadBytes)
        limits = options.limits
        refusals = RequestLimit.allCases.map { Words.refusal($0.words(options.limits)) }
        let guardShared = GuardShared()
        guardShared.facts.withLock { $0.limits = options.limits }
        var poll = ZMQPollSet()
        poll.add(descriptor: shared.control.descriptor)
        do throws(ZeroMQError) {
            context = try ZMQContext(ioThreads: 2)
            core = try CoreLink(
                CoreLinkOptions(
                    corePath: options.corePath, program: options.program, helloTimeout: options.helloTimeout,
                    reconnectInterval: options.reconnectInterval), context: context)
            coreIndex = core.add(to: &poll)
            if let path = options.windowEventsPath {
                var socketOptions = ZMQSocketOptions()
                socketOptions.reconnectMilliseconds = options.reconnectInterval
                socketOptions.receiveHighWater = 1_000
                socketOptions.subscriptions = [[]]
                let events = try ZMQSocket(.subscribe, in: context, options: socketOptions)
                try events.connect("ipc://\(path)")
                poll.add(events)
                self.events = consume events
            } else {
                events = nil
            }
        } catch {
            throw RelayError(.system, error.message)
        }
        self.poll = poll
        // Before any listener: libzmq lets everybody in where no handler is.
        guardian = try RelayGuard(context, shared: guardShared) { [events = shared.events] level, line in events.post(.log(level, line)) }
    }

    deinit {
        // The handler goes last: no listener is ever without it.
        listeners = []
        guardian.stop()
    }

    // MARK: The loop

    private func run() throws(RelayError) -> RelayEnd {
        if mayListen { try listen() }
        do throws(ZeroMQError) {
            while true {
                try waitForSomething()
                beat.passing()
                if let end = try pass(at: .now) { return end }
            }
        } catch {
            throw RelayError(.system, error.message)
        }
    }

    private func waitForSomething() throws(ZeroMQError) {
        let now = MonotonicTime.now
        var wait = Self.longestWait
        let asksCore = core.state == .ready ? relayAskedAgainAt : nil
        for moment in [table.nextDeadline(), core.nextAction, windowQuestion?.askedAgainAt, drainMoment(after: now), asksCore] {
            if let moment { wait = min(wait, now.milliseconds(until: moment)) }
        }
        let wantsToSend =
            core.wantsToSend(requestsWait: table.waiting > 0 && table.handedOver < options.maximumHandedOver)
            || (core.state == .ready && windowIsToBeAsked(at: now))
        poll.wait(at: coreIndex, for: wantsToSend ? [.readable, .writable] : .readable)
        if !shared.control.mayPoll() { wait = 0 }
        beat.idle()
        _ = try poll.wait(milliseconds: wait)
    }

    /// When it is worth looking whether all is over.
    private func drainMoment(after now: MonotonicTime) -> MonotonicTime? {
        guard case .draining(let until, _) = phase else { return nil }
        return unread.count == 0
            ? until : min(until, now.advanced(byMilliseconds: unread.hasFarewells ? 1 : max(1, min(4, options.idleTime / 2))))
    }

    /// Whether nothing new is taken on any more. A registrar whose window is closed has nothing to offer.
    private func isEnding(at now: MonotonicTime) -> Bool {
        guard case .draining(let until, let end) = phase else { return false }
        if case .stopped = end { return now.advanced(byMilliseconds: options.drainEnd) >= until }
        return true
    }

    /// One pass over everything that may have happened; the end, when it has come.
    private func pass(at now: MonotonicTime) throws(ZeroMQError) -> RelayEnd? {
        defer { publishCounters() }
        readControl(at: now)
        if try core.noticeConnections() {
            log(.warning, "ca-core is gone; requests wait for it until their deadline")
            shared.facts.withLock { $0.coreAnswers = false }
        }
        try readCore()
        try readWindowEvents(at: now)
        try readClients()
        try core.greetIfDue(at: now, nextID: nextID)
        try askForWindow(at: now)
        try askAsRelay(at: now)
        try sendToCore()
        try answerExpired()
        return try endOfDraining(at: .now)
    }

    private func readControl(at now: MonotonicTime) {
        var reasons: [String] = []
        shared.control.takeAll(into: &reasons)
        if let reason = reasons.first { drain(.stopped(reason: reason), at: now) }
    }

    // MARK: Listening and ending

    private func listen() throws(RelayError) {
        guard let wanted else { return }
        var poll = ZMQPollSet()
        swap(&poll, &self.poll)
        defer { swap(&poll, &self.poll) }
        phase = .serving
        for listener in wanted where listener.mechanism == .plain { try listen(listener, nil, &poll) }
        try listenWithKeys(&poll)
        tellEndpoints()
    }

    private func tellEndpoints() {
        let endpoints = listeners.map(\.endpoint)
        guard isListening else { return }
        shared.facts.withLock { $0.endpoints = endpoints }
        shared.events.post(.listening(endpoints))
    }

    private func listen(_ listener: RelayListener, _ keys: ZMQCurveKeyPair?, _ poll: inout ZMQPollSet) throws(RelayError) {
        listeners.append(try ListeningSocket(listener, keys, options, limits, guardian, context: context, poll: &poll))
    }

    private var curveListeners: [RelayListener] { wanted?.filter { $0.mechanism == .curve } ?? [] }

    /// The listeners that need the core's keys, once those are there: each for the current key, and on its own port for the next one.
    private func listenWithKeys(_ poll: inout ZMQPollSet) throws(RelayError) {
        guard !keys.isEmpty, !listeners.contains(where: { $0.mechanism == .curve }) else { return }
        for listener in curveListeners {
            for key in keys {
                guard let port = key.port else {
                    try listen(listener, key.pair, &poll)
                    continue
                }
                let place = listener.endpoint.prefix { $0 != "/" } + "//" + listener.endpoint.dropFirst("tcp://".count)
                guard let colon = place.lastIndex(of: ":") else { continue }
                try listen(try RelayListener(endpoint: "\(place[...colon])\(port)", mechanism: .curve), key.pair, &poll)
            }
        }
    }

    /// Whether everything listens that should.
    private var isListening: Bool { !listeners.isEmpty && (curveListeners.isEmpty || listeners.contains { $0.mechanism == .curve }) }

    /// Begins to end: what is open is finished, and each connection ends as soon as nothing is under way on it, so that its client asks the
    /// next process. Clients that never pause are served almost to the end of the time, then answered `Busy`. Who connects meanwhile is kept waiting.
    ///
    /// The listeners stay until the end, since libzmq's unbind would end their connections as well, and with them every answer that is owed.
    private func drain(_ end: RelayEnd, at now: MonotonicTime) {
        if case .draining = phase { return }
        phase = .draining(until: now.advanced(byMilliseconds: options.drainTime), end: end)
        shared.facts.withLock { $0.stopping = true }
        if case .stopped = end { guardian.shared.facts.withLock { $0.isEnding = true } }
    }

    private func endOfDraining(at now: MonotonicTime) throws(ZeroMQError) -> RelayEnd? {
        guard case .draining(let until, let end) = phase else { return nil }
        unread.endIdle(for: options.idleTime, at: now) { table.share(of: $0).requests > 0 }
        // A connection that asked nothing yet has nothing to lose.
        guard (table.isEmpty && unread.count == 0) || now >= until else { return nil }
        while let request = table.removeOldest() {
            counters.busyStopping += 1
            try answer(request.client, request.envelope, lastWords(for: request))
        }
        for listener in listeners { try listener.socket.setLinger(milliseconds: Self.lastAnswersTime) }
        return end
    }

    private func lastWords(for request: OpenRequest) -> [UInt8] {
        request.sent && mayChange(request) ? Words.stoppingMayChange : Words.stopping
    }

    private func becomeReady() {
        guard !isReady, isListening, case .ready = core.state else { return }
        isReady = true
        shared.events.post(.ready)
    }

    // MARK: Clients

    private func readClients() throws(ZeroMQError) {
        // The payload, an envelope, and a little more to see that it is too much.
        let limits = ZMQReceiveLimits(parts: ClientMessage.partsKept, bytes: options.maximumFrameBytes + 4_096)
        for (index, listener) in listeners.enumerated() where poll.ready(at: listener.pollIndex).contains(.readable) {
            for _ in 0..<options.messagesPerTurn {
                guard let received = try listener.socket.receiveNow(limits) else { break }
                counters.received += 1
                guard let message = ClientMessage(parts: received.parts, complete: received.discardedParts == 0) else {
                    counters.invalidMessages += 1
                    continue
                }
                let address = listener.socket.peerAddressOfLastMessage ?? ""
                let identity: ProvenIdentity =
                    switch listener.mechanism {
                    case .plain: InternalLink.plainIdentity(peerAddress: address)
                    // The ZAP handler's word; it stands before whatever the peer said of itself.
                    case .curve: listener.socket.propertyOfLastMessage("User-Id").map { .curve(key: $0) } ?? .none
                    }
                let client = ClientKey(listener: index, routingID: message.routingID)
                let descriptor = listener.socket.descriptorOfLastMessage
                if let descriptor { guardian.shared.delivered(on: descriptor) }
                unread.heard(client, on: descriptor, isAlone: table.share(of: client).requests == 0, at: .now)
                try accept(message, from: client, identity, address)
            }
        }
    }

    private func accept(
        _ message: ClientMessage, from client: ClientKey, _ identity: ProvenIdentity, _ address: String
    ) throws(ZeroMQError) {
        guard let payload = message.payload else {
            counters.invalidMessages += 1
            return try answer(client, message.envelope, Words.oneFrame)
        }
        let now = MonotonicTime.now
        if isEnding(at: now) {
            counters.busyStopping += 1
            return try answer(client, message.envelope, Words.stopping)
        }
        if case .refused(let line, _) = core.state {
            counters.refusedVersion += 1
            return try answer(client, message.envelope, Words.refusal(line))
        }
        let party = parties.identity(identity, client, limits, at: now.nanoseconds)
        let network = parties.network(address, limits, at: now.nanoseconds)
        let isStranger = isStranger(identity)
        // It may have been registered a moment ago.
        if isStranger { askSoon(at: now) }
        if let limit = Parties.limit(payload.count, of: party, in: network, isStranger: isStranger, limits, at: now.nanoseconds) {
            counters.met(limit)
            return try answer(client, message.envelope, refusals[limit.rawValue])
        }
        guard table.count < min(options.maximumOpenRequests, limits.requests), payload.count <= options.maximumOpenBytes - table.bytes
        else {
            counters.busyOverBounds += 1
            return try answer(client, message.envelope, Words.tooMany)
        }
        guard mayOpen(payload.count, client) else {
            counters.busyOverBounds += 1
            return try answer(client, message.envelope, Words.tooManyOfClient)
        }
        table.insert(
            OpenRequest(
                client: client, envelope: message.envelope, payload: payload, identity: identity, party: party, network: network,
                arrival: now, deadline: now.advanced(byMilliseconds: options.requestDeadline)),
            id: nextID())
    }

    private func isStranger(_ identity: ProvenIdentity) -> Bool {
        guard case .curve(let key) = identity else { return false }
        return !nodes.contains(key)
    }

    /// Whether a connection may have one more request open: never more than twice what is still free of the whole table, and from a few on
    /// not of the part that is kept for those with less. However many ask for as much as they get, there is room for the next one.
    private func mayOpen(_ bytes: Int, _ client: ClientKey) -> Bool {
        let share = table.share(of: client)
        let kept = share.requests < Self.modest ? 0 : options.maximumOpenRequests / 8
        let requests = options.maximumOpenRequests - kept - table.count
        let room = options.maximumOpenBytes - table.bytes
        return share.requests < options.maximumOpenRequestsPerClient && share.requests / 2 < requests && (share.bytes + bytes) / 2 <= room
    }

    /// Sends a client its one answer, or counts that it could not be delivered.
    private func answer(_ client: ClientKey, _ envelope: [[UInt8]], _ payload: [UInt8]) throws(ZeroMQError) {
        // A listener is never removed while the relay lives.
        let socket = listeners[client.listener]
        switch try socket.socket.sendNow(client.routingID, more: true) {
        case .sent:
            var farewell: clinux_traffic?
            if case .draining = phase, table.share(of: client).requests == 0 {
                let frames = envelope.map(\.count) + [payload.count]
                farewell = unread.farewell(to: client, behind: frames, isCurve: socket.mechanism == .curve)
            }
            unread.sent(payload, envelope, to: client, at: .now)
            for frame in envelope { _ = try socket.socket.sendNow(frame, more: true) }
            _ = try socket.socket.sendNow(payload)
            if let farewell { unread.end(farewell, of: client) }
        case .unroutable:
            counters.clientsGone += 1
            unread.forget(client)
        case .wouldBlock: counters.clientsNotReading += 1
        }
    }

    private func answerExpired() throws(ZeroMQError) {
        let now = MonotonicTime.now
        while let request = table.removeExpired(at: now) {
            if !request.sent {
                counters.busyCoreAway += 1
                try answer(request.client, request.envelope, Words.coreAway)
            } else {
                counters.busyAtDeadline += 1
                try answer(request.client, request.envelope, mayChange(request) ? Words.lateMayChange : Words.late)
            }
        }
    }

    private func mayChange(_ request: OpenRequest) -> Bool {
        request.payload.count > Self.longestLookedInto || options.mayChange(request.payload)
    }

    // MARK: The core

    private func sendToCore() throws(ZeroMQError) {
        while table.handedOver < options.maximumHandedOver, let (id, request) = table.firstUnsent() {
            let header = InternalLink.RequestHeader(
                kind: .request, id: id, arrival: request.arrival.nanoseconds, identity: request.identity)
            guard try core.send(header, request.payload) else { return }
            table.markFirstSent()
        }
    }

    private func readCore() throws(ZeroMQError) {
        let now = MonotonicTime.now
        // Answers first, and more of them than questions: they free the table.
        for _ in 0..<options.messagesPerTurn * 2 {
            guard let message = try core.receive(at: now) else { return }
            switch message {
            case .hello:
                greeted()
            case .answer(let id, let payload):
                if id == windowQuestion?.id {
                    windowAnswered(payload, at: now)
                } else if id == relayQuestion {
                    relayAnswered(payload, at: now)
                } else if let request = table.remove(id) {
                    try relay(payload, to: request)
                } else {
                    counters.lateAnswers += 1
                }
            case .refused(let id):
                reportRefusal()
                if let request = table.remove(id) { try refuse(request) }
                // What waits would wait in vain.
                while let (id, _) = table.firstUnsent() { if let request = table.remove(id) { try refuse(request) } }
            case .goingAway:
                shared.facts.withLock { $0.coreAnswers = false }
                log(.info, "ca-core is ending; what comes waits for the next one")
            case .malformed(let what):
                counters.malformedFromCore += 1
                log(.warning, "a message of ca-core is not understood: \(what)")
                reportRefusal()
            }
        }
    }

    /// Passes the core's answer on, unless too much waits for the client already.
    private func relay(_ payload: [UInt8], to request: OpenRequest) throws(ZeroMQError) {
        guard unread.mayTake(payload.count, request.client) else {
            counters.answersWithheld += 1
            return try answer(request.client, request.envelope, mayChange(request) ? Words.unreadMayChange : Words.unread)
        }
        counters.relayedAnswers += 1
        try answer(request.client, request.envelope, payload)
    }

    private func refuse(_ request: OpenRequest) throws(ZeroMQError) {
        guard case .refused(let line, _) = core.state else { return }
        counters.refusedVersion += 1
        try answer(request.client, request.envelope, Words.refusal(line))
    }

    private func greeted() {
        counters.hellos += 1
        reportedRefusal = nil
        shared.facts.withLock {
            $0.coreAnswers = true
            $0.refusal = nil
        }
        log(.info, "\(core.coreProgram) answers\(core.instance.map { ", instance \($0)" } ?? "")")
        table.beginAnotherLife()
        relayQuestion = nil
        relayAskedAgainAt = .now
        // A window may have closed while the core was not heard.
        if options.windowEventsPath != nil { windowMustBeAsked = true }
        windowQuestion = nil
        becomeReady()
    }

    /// Says once, in one line, that the core does not serve this relay.
    private func reportRefusal() {
        guard case .refused(let line, _) = core.state, line != reportedRefusal else { return }
        reportedRefusal = line
        shared.facts.withLock {
            $0.coreAnswers = false
            $0.refusal = line
        }
        log(.error, "requests are refused until ca-core and this program are of versions that fit: \(line)")
    }

    // MARK: The registration window

    private func windowIsToBeAsked(at now: MonotonicTime) -> Bool {
        guard windowMustBeAsked, case .ready = core.state else { return false }
        if case .draining = phase { return false }
        return windowQuestion.map { $0.askedAgainAt <= now } ?? true
    }

    private func askForWindow(at now: MonotonicTime) throws(ZeroMQError) {
        guard options.windowEventsPath != nil else { return }
        consider(window.at(unixTime: options.unixTime()), at: now)
        guard windowIsToBeAsked(at: now) else { return }
        let id = nextID()
        let header = InternalLink.RequestHeader(kind: .request, id: id, arrival: now.nanoseconds, identity: .none)
        if try core.send(header, RegistrationWindow.request) {
            windowQuestion = (id, now.advanced(byMilliseconds: Self.windowAnswerTime))
        }
    }

    private func windowAnswered(_ payload: [UInt8], at now: MonotonicTime) {
        do throws(Refusal) {
            let consequence = try window.answered(payload)
            windowMustBeAsked = false
            windowQuestion = nil
            consider(consequence, at: now)
        } catch {
            // The question stays; it is asked again when its time is over.
            log(.warning, "ca-core did not tell the state of the registration window: \(error.message)")
        }
    }

    private func readWindowEvents(at now: MonotonicTime) throws(ZeroMQError) {
        guard events != nil else { return }
        for _ in 0..<Self.eventsPerTurn {
            guard let message = try events?.receiveNow(ZMQReceiveLimits(parts: 1, bytes: 64 << 10)) else { return }
            guard message.parts.count == 1, message.discardedParts == 0 else { continue }
            consider(window.heard(message.parts[0]), at: now)
        }
    }

    private func consider(_ consequence: RegistrationWindow.Consequence, at now: MonotonicTime) {
        if case .draining = phase { return }
        switch consequence {
        case .nothing: break
        case .ask:
            windowMustBeAsked = true
            // An answer to an earlier question may be older than what made us ask.
            windowQuestion = nil
        case .close(let reason): drain(.windowClosed(reason: reason), at: now)
        case .open:
            mayListen = true
            guard listeners.isEmpty else { return }
            do throws(RelayError) {
                try listen()
                becomeReady()
            } catch {
                drain(.failed(error), at: now)
            }
        }
    }

    // MARK: What the core hands its relays

    private func askAsRelay(at now: MonotonicTime) throws(ZeroMQError) {
        guard case .ready = core.state, now >= relayAskedAgainAt else { return }
        if case .draining = phase { return }
        var parameters: [JSON.Member] = [.init("counters", counters.json(guardian.shared.facts.withLock { $0.counters }))]
        if wanted == nil { parameters.append(.init("listeners", true)) }
        if keys.isEmpty, wanted == nil || !curveListeners.isEmpty { parameters.append(.init("keys", true)) }
        if let nodesVersion { parameters.append(.init("nodes_version", .string(nodesVersion))) }
        let id = nextID()
        let header = InternalLink.RequestHeader(kind: .request, id: id, arrival: now.nanoseconds, identity: .none)
        guard try core.send(header, Request(task: "relay", parameters: Parameters(parameters)).frame) else { return }
        relayQuestion = id
        relayAskedAt = now
        relayAskedAgainAt = now.advanced(byMilliseconds: options.coreInterval)
    }

    /// Asks for the nodes' keys before it is due, as often as the shortest interval allows however many strangers there are.
    private func askSoon(at now: MonotonicTime) {
        guard relayQuestion == nil else { return }
        relayAskedAgainAt = min(relayAskedAgainAt, max(now, relayAskedAt.advanced(byMilliseconds: Self.strangersInterval)))
    }

    private func relayAnswered(_ payload: [UInt8], at now: MonotonicTime) {
        relayQuestion = nil
        let data: JSON
        do throws(Refusal) { data = try Answer.data(ofFrame: payload) } catch {
            // A core from before there was this: it knows no limits either, and no keys.
            if wanted == nil { log(.error, "ca-core does not say where to listen: \(error.message)") }
            if keys.isEmpty, !curveListeners.isEmpty { log(.error, "ca-core gives no CURVE keys: \(error.message)") }
            return
        }
        if let given = data["limits"] { take(RelayLimits(json: given)) }
        nodesVersion = data["nodes_version"]?.stringValue
        if let known = data["nodes"]?.arrayValue {
            nodes = Set(known.compactMap(\.stringValue))
            guardian.shared.facts.withLock { $0.nodes = nodes }
        }
        if wanted == nil, let given = data["listeners"]?.arrayValue { take(listeners: given, at: now) }
        if keys.isEmpty, !curveListeners.isEmpty, let given = data["keys"]?.arrayValue { take(keys: given, at: now) }
    }

    private func take(_ limits: RelayLimits) {
        guard limits != self.limits else { return }
        self.limits = limits
        refusals = RequestLimit.allCases.map { Words.refusal($0.words(limits)) }
        guardian.shared.facts.withLock { $0.limits = limits }
    }

    private func take(listeners given: [JSON], at now: MonotonicTime) {
        do throws(RelayError) {
            wanted = try RelayListener.joined(given.compactMap { RelayListener($0) }, with: options.inherited)
            guard mayListen else { return }
            try listen()
        } catch {
            return drain(.failed(error), at: now)
        }
        becomeReady()
    }

    private func take(keys given: [JSON], at now: MonotonicTime) {
        do throws(ZeroMQError) {
            for key in given {
                guard let secret = key["secret"]?.stringValue else { continue }
                keys.append((try ZMQCurveKeyPair(secretKey: secret), key["port"]?.integerValue.map { Int($0) }))
            }
        } catch {
            keys = []
            return log(.error, "ca-core gave CURVE keys that are none")
        }
        // A registrar may have to wait until its window is known to be open.
        guard case .serving = phase else { return }
        do throws(RelayError) {
            var poll = ZMQPollSet()
            swap(&poll, &self.poll)
            defer { swap(&poll, &self.poll) }
            try listenWithKeys(&poll)
        } catch {
            return drain(.failed(error), at: now)
        }
        tellEndpoints()
        becomeReady()
    }

    // MARK: Small things

    private func nextID() -> UInt64 {
        lastID &+= 1
        return lastID
    }

    private func log(_ level: RelayLogLevel, _ line: String) {
        shared.events.post(.log(level, line))
    }

    private func publishCounters() {
        counters.open = table.count
        counters.openBytes = table.bytes
        counters.waiting = table.waiting
        shared.counters.withLock { $0 = counters }
    }
}
