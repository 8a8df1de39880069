// The way to one port of the CA: over CURVE to the first server that proves its key, and again whenever it is lost.

import Enrolment
import Threads
import ZeroMQ

/// One connection at a time; it lives on the tunnel's thread.
final class Upstream {
    enum State: Equatable {
        case resting(until: MonotonicTime)
        case connecting(until: MonotonicTime)
        case ready
    }

    private struct Link: ~Copyable {
        let socket: ZMQSocket
        let monitor: ZMQMonitor
    }

    private let context: ZMQContext
    private let pair: ZMQCurveKeyPair
    private let options: TunnelOptions
    private let log: TunnelLog
    private var servers: ServerAddresses
    private var link: Link?
    private var candidate = 0
    private var pause: Int
    private(set) var state: State
    /// `192.0.2.10:5000`, of the present try.
    private(set) var place = ""
    /// Said once for each outage.
    private var toldOutage = false
    private var fault: String?

    private static let limits = ZMQReceiveLimits(parts: 4, bytes: 64 << 20)

    init(_ servers: ServerAddresses, _ pair: ZMQCurveKeyPair, _ options: TunnelOptions, context: ZMQContext, log: @escaping TunnelLog) {
        self.servers = servers
        self.pair = pair
        self.options = options
        self.context = context
        self.log = log
        pause = options.firstPause
        state = .resting(until: .now)
    }

    var isReady: Bool { state == .ready }

    /// What it is waiting for, in words.
    var statusText: String {
        isReady ? "connected to \(place)" : "no connection to the CA" + (fault.map { ": \($0)" } ?? "")
    }

    /// Other addresses or keys from the next connection on.
    func set(_ servers: ServerAddresses) {
        guard servers != self.servers else { return }
        self.servers = servers
        candidate = 0
    }

    /// When `step` must be called at the latest; nil where only an event matters.
    var nextAction: MonotonicTime? {
        switch state {
        case .resting(let until), .connecting(let until): until
        case .ready: nil
        }
    }

    /// Adds what is to be waited for; the index of the socket, nil while there is none.
    func add(to poll: inout ZMQPollSet) -> Int? {
        _ = link?.monitor.add(to: &poll)
        return link?.socket.add(to: &poll)
    }

    // MARK: Connecting

    /// Heeds what happened to the connection, and begins or gives up a try where it is time.
    func step(at now: MonotonicTime) throws(ZeroMQError) {
        while let event = try link?.monitor.next() ?? nil { heed(event, at: now) }
        switch state {
        case .ready: break
        case .connecting(let until): if now >= until { lose("nobody answers at \(place)", at: now) }
        case .resting(let until): if now >= until { try connect(at: now) }
        }
    }

    private func heed(_ event: ZMQMonitorEvent, at now: MonotonicTime) {
        switch event.kind {
        case .handshakeSucceeded:
            state = .ready
            pause = options.firstPause
            fault = nil
            log(.info, "connected to the CA at \(place)")
            toldOutage = false
        case .handshakeFailed, .handshakeViolated, .handshakeRefused:
            lose("who answers at \(place) does not prove the CA's key: another CA, one without CURVE, or somebody in between", at: now)
        case .disconnected, .closed:
            lose(isReady ? "the connection to \(place) was lost" : "nobody takes connections at \(place), or not ours", at: now)
        default: break
        }
    }

    private func connect(at now: MonotonicTime) throws(ZeroMQError) {
        let places = servers.sets.flatMap { set in servers.hosts.map { ($0, set) } }
        guard !places.isEmpty else { return state = .resting(until: now.advanced(byMilliseconds: options.longestPause)) }
        let (host, set) = places[candidate % places.count]
        place = ServerAddresses.place(host, set.port)
        do throws(ZeroMQError) {
            link = try open(ServerAddresses.endpoint(host, set.port), set.coreKey)
            state = .connecting(until: now.advanced(byMilliseconds: options.handshakePatience))
        } catch {
            lose("\(place): \(error.message)", at: now)
        }
    }

    private func open(_ endpoint: String, _ serverKey: String) throws(ZeroMQError) -> Link {
        var options = ZMQSocketOptions()
        // One try, and no more: where to try next is decided here.
        options.reconnectMilliseconds = -1
        options.immediate = true
        options.ipv6 = true
        options.maximumFrameBytes = 64 << 20
        options.sendHighWater = self.options.maximumOpenRequests
        options.receiveHighWater = self.options.maximumOpenRequests
        options.curve = .client(pair, serverKey: serverKey)
        // A CA's host that vanished without a word is noticed.
        options.heartbeat = (interval: 2_000, timeout: 6_000)
        let socket = try ZMQSocket(.dealer, in: context, options: options)
        let monitor = try ZMQMonitor(of: socket)
        try socket.connect(endpoint)
        return Link(socket: socket, monitor: monitor)
    }

    /// Gives the connection up; the next place is tried, after a pause once all were.
    private func lose(_ why: String, at now: MonotonicTime) {
        guard link != nil || state != .ready else { return }
        let wasReady = isReady
        link = nil
        fault = why
        if !toldOutage {
            log(.warning, "\(why); requests are answered Busy until it is there again")
            toldOutage = true
        } else {
            log(.debug, why)
        }
        candidate = wasReady ? 0 : candidate + 1
        let count = max(1, servers.sets.count * servers.hosts.count)
        let isRoundOver = candidate % count == 0
        state = .resting(until: now.advanced(byMilliseconds: wasReady || !isRoundOver ? options.firstPause : pause))
        if !wasReady, isRoundOver { pause = min(options.longestPause, pause * 2) }
    }

    // MARK: Messages

    /// - Returns: false where it cannot be sent now.
    func send(_ tag: [UInt8], _ payload: [UInt8]) throws(ZeroMQError) -> Bool {
        guard isReady, let outcome = try link?.socket.sendNow(parts: [tag, [], payload]) else { return false }
        return outcome == .sent
    }

    /// The next answer with its tag; what is none is passed over.
    func receive() throws(ZeroMQError) -> (tag: [UInt8], payload: [UInt8])? {
        while let message = try link?.socket.receiveNow(Self.limits) ?? nil {
            guard message.parts.count == 3, message.discardedParts == 0, message.parts[1].isEmpty else { continue }
            return (message.parts[0], message.parts[2])
        }
        return nil
    }

    func close() { link = nil }
}
