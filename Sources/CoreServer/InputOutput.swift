// The I/O thread: all ZeroMQ sockets of the core. It parses headers, hands requests on, sends what is ready, and keeps the heartbeat.

import Authority
import Glibc
import Logging
import PKI
import RevocationFormats
import Synchronization
internal import Threads
import UPKIProtocol
import ZeroMQ

/// What the I/O thread needs.
struct InputOutput: Sendable {
    let context: ZMQContext
    let runDirectory: String
    let instance: String
    let work: Mailbox<Incoming>
    let outbox: Mailbox<Outgoing>
    let inFlight: InFlight
    /// Of the OCSP bridge: beyond a bound it waits, and not the front and the operator behind it.
    let bridgeInFlight: InFlight
    let measurements: Measurements
    let beat: LoopBeat
    let stop: StopFlag
    let authority: Authority
    let list: CurrentList
    let access: SocketAccess
    let strangers = Strangers()
    let log: Logger

    /// Where requests may come in, each socket with its fixed list of tasks.
    private static let channels: [Caller.Channel] = [.front, .registrar, .ocsp, .admin]
    private static let heartbeatNanoseconds: UInt64 = 25_000_000
    /// One frame of a client and the header; what a relay sends is bounded already.
    private static let limits = ZMQReceiveLimits(parts: 4, bytes: 2 << 20)
    /// Requests of the OCSP bridge that may wait for a worker; each asks for up to a thousand statuses.
    private static let mostOfBridge = 64
    /// Messages taken from one socket before the next has its turn.
    private static let turn = 64

    /// Binds the sockets; to be called on the thread that will run the loop.
    ///
    /// - Parameter ready: told once they are bound, or why they cannot be.
    func run(ready: @Sendable (Result<Void, any Error>) -> Void) {
        do {
            try self.serve { ready(.success(())) }
        } catch {
            ready(.failure(error))
        }
        self.beat.idle()
    }

    private func serve(ready: () -> Void) throws {
        // Made with no right for others, in a folder of our own; a peer with a user of its own gets its group's right when all is set.
        umask(0o077)
        let own = (Self.channels.map(\.rawValue) + ["events"]).filter { self.access.inherited[$0] == nil }
        defer { for name in own { unlink("\(self.runDirectory)/\(name).sock") } }
        let front = try self.router(.front)
        let registrar = try self.router(.registrar)
        let ocsp = try self.router(.ocsp)
        let admin = try self.router(.admin)
        var options = ZMQSocketOptions()
        options.sendHighWater = 10_000
        options.listeningDescriptor = self.access.inherited["events"]
        let events = try ZMQSocket(.publish, in: self.context, options: options)
        try events.bind(self.endpoint("events"))
        for name in own { try self.access.open(name, at: "\(self.runDirectory)/\(name).sock") }
        var set = ZMQPollSet()
        let indexes = [set.add(front), set.add(registrar), set.add(ocsp), set.add(admin)]
        set.add(descriptor: self.outbox.descriptor)
        ready()

        var outgoing: [Outgoing] = []
        var nextHeartbeat = MonotonicTime.now
        // The number of the last event that went out, not of the last commit: a heartbeat must never be ahead of its event.
        var sequence = self.authority.state.eventSequence
        var partners = Partners()
        while true {
            if self.outbox.mayPoll() {
                self.beat.idle()
                let now = MonotonicTime.now
                // Rounded up: a poll of 0 ms would spin until the heartbeat is due.
                let wait = now >= nextHeartbeat ? 0 : Int((now.nanoseconds(until: nextHeartbeat) + 999_999) / 1_000_000)
                _ = try set.wait(milliseconds: wait)
            } else {
                _ = try set.wait(milliseconds: 0)
            }
            self.beat.passing()
            outgoing.removeAll(keepingCapacity: true)
            self.outbox.takeAll(into: &outgoing)
            for message in outgoing {
                switch message {
                case .answer(let route, let frame):
                    let header = InternalLink.AnswerHeader(kind: .answer, id: route.id).encoded
                    let parts = [route.connection, header, frame]
                    switch route.channel {
                    case .front: try self.send(parts, on: front)
                    case .registrar: try self.send(parts, on: registrar)
                    case .ocsp: try self.send(parts, on: ocsp)
                    case .admin: try self.send(parts, on: admin)
                    }
                case .event(let event):
                    sequence = event.sequence
                    // A number that is ahead tells of a gap.
                    _ = try events.sendNow(self.describe(event)?.encoded ?? self.heartbeat(sequence))
                case .farewell(let done):
                    try self.bidFarewell(&partners, .front, on: front)
                    try self.bidFarewell(&partners, .registrar, on: registrar)
                    try self.bidFarewell(&partners, .ocsp, on: ocsp)
                    partners.takeLeave(done, at: .now)
                }
            }
            partners.endOfFarewell(at: .now)
            let now = MonotonicTime.now
            if now >= nextHeartbeat {
                _ = try events.sendNow(self.heartbeat(sequence))
                nextHeartbeat = MonotonicTime(nanoseconds: now.nanoseconds + Self.heartbeatNanoseconds)
            }
            if set.ready(at: indexes[0]).contains(.readable) { try self.receive(front, .front, &partners) }
            if set.ready(at: indexes[1]).contains(.readable) { try self.receive(registrar, .registrar, &partners) }
            if set.ready(at: indexes[2]).contains(.readable) { try self.receive(ocsp, .ocsp, &partners) }
            if set.ready(at: indexes[3]).contains(.readable) { try self.receive(admin, .admin, &partners) }
            if self.stop.isSet, outgoing.isEmpty, self.outbox.count == 0 {
                // What was sent must reach its peer before the socket goes.
                for milliseconds in [1_000] {
                    try front.setLinger(milliseconds: milliseconds)
                    try registrar.setLinger(milliseconds: milliseconds)
                    try ocsp.setLinger(milliseconds: milliseconds)
                    try admin.setLinger(milliseconds: milliseconds)
                }
                return
            }
        }
    }

    private func endpoint(_ name: String) -> String { "ipc://\(self.runDirectory)/\(name).sock" }

    private func router(_ channel: Caller.Channel) throws -> ZMQSocket {
        var options = ZMQSocketOptions()
        // The bridge asks for many at once and for a few megabytes of CRL; a relay stands for all its peers.
        options.sendHighWater = channel == .ocsp ? 64 : 100_000
        options.receiveHighWater = channel == .ocsp ? 64 : 100_000
        // The relays bound what strangers send; on the other sockets a longer frame ends the connection before it is in memory.
        options.maximumFrameBytes = Self.limits.bytes
        options.routerMandatory = true
        options.listeningDescriptor = self.access.inherited[channel.rawValue]
        let socket = try ZMQSocket(.router, in: self.context, options: options)
        try socket.bind(self.endpoint(channel.rawValue))
        return socket
    }

    private func send(_ parts: [[UInt8]], on socket: borrowing ZMQSocket) throws {
        // A relay that went away, or does not read, loses its answers; nobody else waits for it.
        if try socket.sendNow(parts: parts) != .sent { self.log.debug("an answer found nobody to take it") }
    }

    private func bidFarewell(_ partners: inout Partners, _ channel: Caller.Channel, on socket: borrowing ZMQSocket) throws {
        let header = InternalLink.AnswerHeader(kind: .goingAway, id: 0).encoded
        // Whoever is gone has said all.
        for connection in partners.connections(of: channel) where try socket.sendNow(parts: [connection, header, []]) != .sent {
            partners.leaves(connection, on: channel)
        }
    }

    private func receive(_ socket: borrowing ZMQSocket, _ channel: Caller.Channel, _ partners: inout Partners) throws {
        for _ in 0..<Self.turn {
            guard let message = try socket.receiveNow(Self.limits) else { return }
            guard message.parts.count >= 2, message.discardedParts == 0 else { continue }
            let connection = message.parts[0]
            let peer = Self.user(ofPeer: socket.peerAddressOfLastMessage)
            let header: InternalLink.RequestHeader
            do throws(InternalLinkError) {
                header = try InternalLink.RequestHeader(decoding: message.parts[1])
            } catch {
                if error.code == .otherVersion, let id = InternalLink.requestID(of: message.parts[1]) {
                    let refusal = Refusal(
                        .invalidRequest, "This ca-core speaks link version \(InternalLink.version); upgrade both programs to one version")
                    try self.send(
                        [connection, InternalLink.AnswerHeader(kind: .refusedVersion, id: id).encoded, Answer.frame(refusal)], on: socket)
                }
                continue
            }
            guard self.access.admits(peer, on: channel) else {
                try self.turnAway(peer, header, connection, on: socket, channel)
                continue
            }
            if header.kind == .goodbye {
                partners.leaves(connection, on: channel)
                continue
            }
            if header.kind == .hello {
                partners.came(connection, on: channel)
                try self.send([connection, InternalLink.AnswerHeader(kind: .helloAnswer, id: header.id).encoded, self.hello()], on: socket)
                continue
            }
            let route = ReplyRoute(
                channel: channel, connection: connection, id: header.id,
                meter: self.measurements.meter(nil, on: channel, arrival: header.arrival))
            guard message.parts.count == 3 else {
                self.refuse(route, Refusal(.invalidRequest, "Invalid request: one frame with one JSON object is expected"))
                continue
            }
            guard channel != .admin || self.access.mayOperate(peer) else {
                self.refuse(route, Refusal(.notAuthorised, "Not authorised: admin.sock needs the CA's own user or root"))
                continue
            }
            guard channel != .ocsp || self.bridgeInFlight.value < Self.mostOfBridge else {
                self.refuse(route, Refusal(.busy, "Busy: too many requests of the OCSP bridge wait; try again"))
                continue
            }
            let caller = Caller(proof: Self.proof(header.identity, peer: peer, on: channel), channel: channel)
            self.inFlight.enter()
            if channel == .ocsp { self.bridgeInFlight.enter() }
            if self.work.post(Incoming(route: route, arrival: header.arrival, caller: caller, frame: message.parts[2])) != .accepted {
                self.inFlight.leave()
                if channel == .ocsp { self.bridgeInFlight.leave() }
                self.refuse(route, Refusal(.busy, "Busy: too many requests wait; try again"))
            }
        }
    }

    /// Refuses a user who may open the socket, by a group that holds more than the program it is for, but is not that program's.
    private func turnAway(
        _ peer: UInt32?, _ header: InternalLink.RequestHeader, _ connection: [UInt8], on socket: borrowing ZMQSocket,
        _ channel: Caller.Channel
    ) throws {
        let refusal = Refusal(.notAuthorised, "Not authorised: \(channel.rawValue).sock is for the program of another user")
        let kind: InternalLink.AnswerHeader.Kind = header.kind == .hello ? .helloAnswer : .answer
        try self.send([connection, InternalLink.AnswerHeader(kind: kind, id: header.id).encoded, Answer.frame(refusal)], on: socket)
        if let count = self.strangers.count(on: channel) {
            self.log.warning(
                "a user who is not this socket's peer was refused",
                metadata: [
                    "socket": "\(channel.rawValue)", "uid": "\(peer.map(String.init) ?? "unknown")", "so_far": "\(count)",
                ])
        }
    }

    /// Answers what no worker sees.
    private func refuse(_ route: ReplyRoute, _ refusal: Refusal) {
        self.measurements.answered(route.meter, Outcome(refusal.code))
        self.outbox.post(.answer(route, frame: Answer.frame(refusal)))
    }

    /// `localhost:UID:GID:PID` as libzmq gives it for ipc.
    private static func user(ofPeer address: String?) -> UInt32? {
        guard let parts = address?.split(separator: ":"), parts.count == 4, parts[0] == "localhost" else { return nil }
        return UInt32(parts[1])
    }

    /// Only relays speak for others; what a header says on the other sockets is not looked at.
    private static func proof(_ identity: ProvenIdentity, peer: UInt32?, on channel: Caller.Channel) -> Caller.Proof {
        switch channel == .front || channel == .registrar ? identity : .none {
        case .plain(let address): .plainAddress(address)
        case .curve(let key): .curve(key)
        // The relay itself, or the operator. Without the kernel's word it is nobody's user.
        case .none: .localUser(peer ?? .max)
        }
    }

    // MARK: What goes out without being asked

    private func hello() -> [UInt8] {
        Answer.frame(
            .object([
                .init("protocol", .integer(InternalLink.protocolVersion)), .init("program", .string("ca-core \(CoreVersion.text)")),
                .init("instance", .string(self.instance)),
            ]))
    }

    private func heartbeat(_ sequence: Int64) -> [UInt8] {
        JSON.object([
            .init("event", "heartbeat"), .init("instance", .string(self.instance)), .init("sequence", .integer(sequence)),
            .init("crl", self.list.value.map { .string($0.number.decimal) } ?? .null),
            .init("monotonic", .integer(MonotonicTime.now.nanoseconds)),
        ]).encoded
    }

    /// nil for what a heartbeat says.
    private func describe(_ event: Event) -> JSON? {
        switch event {
        case .missed: return nil
        case .status(let sequence, let serial, let revocation):
            var members: [JSON.Member] = [
                .init("event", "status"), .init("instance", .string(self.instance)), .init("sequence", .integer(sequence)),
                .init("serial", .string(serial.decimal)), .init("status", revocation == nil ? "good" : "revoked"),
            ]
            if let revocation {
                members.append(.init("reason", .string(revocation.reason.name)))
                members.append(.init("time", .integer(revocation.revokedAt.seconds)))
            }
            return .object(members)
        case .forgotten(let sequence, let serial):
            return .object([
                .init("event", "status"), .init("instance", .string(self.instance)), .init("sequence", .integer(sequence)),
                .init("serial", .string(serial.decimal)), .init("status", "unknown"),
            ])
        case .window(let sequence, let window):
            let now = self.authority.clock.now
            let isOpen = window.isOpen(at: now)
            return .object([
                .init("event", "window"), .init("instance", .string(self.instance)), .init("sequence", .integer(sequence)),
                .init("open", .bool(isOpen)),
                .init("until", isOpen ? window.openUntil.map { .integer($0.seconds) } ?? .null : .null),
                .init("remaining", window.remaining.map { .integer($0) } ?? .null),
                .init("cn", window.commonName.map { .string($0) } ?? .null),
                .init("reason", .string(isOpen ? window.reason : window.closedReason(at: now))),
            ])
        }
    }
}

/// The programs that stand for others, and whether they have said that nothing more comes from them.
struct Partners {
    private var connections: [Caller.Channel: [[UInt8]]] = [:]
    private var farewell: (done: Mailbox<Bool>, until: MonotonicTime)?

    /// A relay that comes back leaves its old connection behind: more of them than this are none of ours.
    private static let most = 64
    /// Milliseconds for saying goodbye: a pass of a relay's loop takes less than one.
    private static let time = 500

    mutating func came(_ connection: [UInt8], on channel: Caller.Channel) {
        guard channel != .admin, connections[channel]?.contains(connection) != true else { return }
        connections[channel, default: []].append(connection)
        if let count = connections[channel]?.count, count > Self.most { connections[channel]?.removeFirst() }
    }

    mutating func leaves(_ connection: [UInt8], on channel: Caller.Channel) {
        connections[channel]?.removeAll { $0 == connection }
    }

    func connections(of channel: Caller.Channel) -> [[UInt8]] { connections[channel] ?? [] }

    mutating func takeLeave(_ done: Mailbox<Bool>, at now: MonotonicTime) {
        farewell = (done, now.advanced(byMilliseconds: Self.time))
    }

    mutating func endOfFarewell(at now: MonotonicTime) {
        guard let (done, until) = farewell, now >= until || connections.values.allSatisfy(\.isEmpty) else { return }
        farewell = nil
        done.post(true)
    }
}

/// Counts who was turned away on each socket.
final class Strangers: Sendable {
    private let counts = Mutex<[Caller.Channel: Int]>([:])

    /// The count with one more, where it is worth a line: at the 1st, 10th, 100th, …, so that a flood does not fill the log.
    func count(on channel: Caller.Channel) -> Int? {
        let count = self.counts.withLock { counts in
            counts[channel, default: 0] += 1
            return counts[channel, default: 0]
        }
        var power = 1
        while power < count { power *= 10 }
        return power == count ? count : nil
    }
}

/// A flag that one thread sets and others see.
final class StopFlag: Sendable {
    private let flag = Atomic<Bool>(false)
    func set() { self.flag.store(true, ordering: .releasing) }
    var isSet: Bool { self.flag.load(ordering: .acquiring) }
}

/// The version that programs tell each other.
public enum CoreVersion {
    public static let text = "0.1.0"
}
