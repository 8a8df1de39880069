// What ca-core hands its relays, CURVE keys and limits, and what it keeps of what they say of themselves.

import Authority
import CAKeys
import PKI
import Settings
import Synchronization
import Tasks
import UPKIProtocol
import ZeroMQ

/// Where the CA is reached, when the command line of the programs says so and not the configuration.
public struct ReachedAt: Sendable {
    /// The front's port; the registrar has the next one.
    public var port: Int?
    /// Addresses and names for enrolment strings; empty: as configured.
    public var addresses: [String]

    public init(port: Int? = nil, addresses: [String] = []) {
        self.port = port
        self.addresses = addresses
    }
}

/// The side of the core that relays see.
final class RelayKeeper: RelayKeeping {
    private struct State {
        var keys: CurveKeys
        var configuration: Configuration
        var counters: [Caller.Channel: [(name: String, value: Int64)]] = [:]
    }

    private let opened: OpenedAuthority
    private let state: Mutex<State>
    private let reachedAt: ReachedAt
    private let fingerprint: String

    /// More kinds than any relay of ours has.
    private static let mostCounters = 64
    private static let longestName = 40

    init(_ opened: OpenedAuthority, reachedAt: ReachedAt) throws {
        self.state = Mutex(State(keys: try CurveKeys(reading: opened.directory), configuration: opened.configuration))
        self.opened = opened
        self.reachedAt = reachedAt
        self.fingerprint = opened.authority.issuer.fingerprint.filter { $0 != ":" }.lowercased()
    }

    var keys: CurveKeys { self.state.withLock { $0.keys } }

    /// From the next question of a relay on.
    func set(_ configuration: Configuration) { self.state.withLock { $0.configuration = configuration } }

    // MARK: RelayKeeping

    func curveKeys(for channel: Caller.Channel) -> JSON {
        let keys = self.keys
        let (current, next, port) =
            channel == .registrar
            ? (keys.registrar, keys.next?.registrar, keys.next?.registrarPort) : (keys.core, keys.next?.core, keys.next?.port)
        func json(_ key: CurveKeys.Key, _ port: Int?) -> JSON {
            .object(
                [
                    .init("number", .integer(key.number)), .init("public", .string(key.pair.publicKey)),
                    .init("secret", .string(key.pair.secretKey)),
                ] + (port.map { [.init("port", .integer($0))] } ?? []))
        }
        return .array([json(current, nil)] + (next.map { [json($0, port)] } ?? []))
    }

    /// The front's.
    var port: Int { self.reachedAt.port ?? self.state.withLock { $0.configuration.port } }

    func listeners(for channel: Caller.Channel) -> JSON {
        let configuration = self.state.withLock { $0.configuration }
        let port = self.port + (channel == .registrar ? 1 : 0)
        return .array(
            configuration.listeners.map { listener in
                let host = listener.address.isIPv6 ? "[\(listener.address)]" : "\(listener.address)"
                return .object([
                    .init("endpoint", .string("tcp://\(host):\(port)")), .init("curve", .bool(listener.security == .curve)),
                ])
            })
    }

    var limits: RelayLimits { RelayLimits(self.state.withLock { $0.configuration.limits }) }

    var transport: JSON {
        let (keys, configuration) = self.state.withLock { ($0.keys, $0.configuration) }
        let port = self.reachedAt.port ?? configuration.port
        let addresses =
            configuration.advertise.isEmpty && !self.reachedAt.addresses.isEmpty ? self.reachedAt.addresses : configuration.advertised
        let next = keys.next.map { next in
            JSON.object([
                .init("number", .integer(next.core.number)), .init("port", .integer(next.port)),
                .init("registrar_port", .integer(next.registrarPort)), .init("core_key", .string(next.core.pair.publicKey)),
                .init("registrar_key", .string(next.registrar.pair.publicKey)),
            ])
        }
        return .object([
            .init("number", .integer(keys.core.number)), .init("addresses", .array(addresses.map { .string($0) })),
            .init("port", .integer(port)), .init("registrar_port", .integer(port + 1)),
            .init("core_key", .string(keys.core.pair.publicKey)), .init("registrar_key", .string(keys.registrar.pair.publicKey)),
            .init("fingerprint", .string(self.fingerprint)), .init("next", next ?? .null),
        ])
    }

    func nextKeys(port: Int?, registrarPort: Int?, seed: String?) throws -> CurveKeyChange {
        var keys = self.keys
        guard keys.next == nil else { throw Self.refused("the next CURVE keys are there already; ca-ctl transport finish, or abort") }
        let current = self.reachedAt.port ?? self.state.withLock { $0.configuration.port }
        let front = port ?? current + 10
        let registrar = registrarPort ?? front + 1
        guard Set([current, current + 1, front, registrar]).count == 4, (1...65_535).contains(front), (1...65_535).contains(registrar)
        else {
            throw Self.refused("the next keys need ports of their own; give others: ca-ctl transport rotate --port P")
        }
        let number = keys.core.number + 1
        let secrets = try self.secrets(number, seed: seed)
        keys.next = CurveKeys.Next(
            core: .init(number: number, pair: try ZMQCurveKeyPair(secret: secrets.core)),
            registrar: .init(number: number, pair: try ZMQCurveKeyPair(secret: secrets.registrar)), port: front, registrarPort: registrar)
        return self.change(to: keys, "CURVE keys number \(number) are had on ports \(front) and \(registrar)")
    }

    private func secrets(_ number: Int, seed: String?) throws -> (core: [UInt8], registrar: [UInt8]) {
        guard self.opened.authority.state.keyIsDerived else { return (SystemRandom().bytes(32), SystemRandom().bytes(32)) }
        guard let seed else {
            throw Refusal(.missingParameter, "Missing seed parameter: this CA's CURVE keys are derived from its seed")
        }
        guard try self.opened.gives(seed: seed) else { throw AuthorityError(.invalidSeed, "") }
        guard let index = UInt32(exactly: number) else { throw Self.refused("no further key can be derived") }
        let root = try SeedRoot(try Seed(text: seed, allowWeak: true))
        return (try root.curveSecret(.core, index), try root.curveSecret(.registrar, index))
    }

    func endOfExchange(keepsNext: Bool) throws -> CurveKeyChange {
        let keys = self.keys
        guard let next = keys.next else { throw Self.refused("no exchange of CURVE keys is going on; ca-ctl transport rotate begins one") }
        return keepsNext
            ? self.change(
                to: CurveKeys(core: next.core, registrar: next.registrar), "CURVE keys number \(next.core.number) are the only ones now")
            : self.change(
                to: CurveKeys(core: keys.core, registrar: keys.registrar), "the next CURVE keys, number \(next.core.number), are gone")
    }

    private func change(to keys: CurveKeys, _ detail: String) -> CurveKeyChange {
        CurveKeyChange(detail: detail) {
            // Two changes that were prepared at once: the second one began from what is no more.
            try self.state.withLock { state in
                guard state.keys.next == nil || keys.next == nil else { throw Self.refused("another exchange of CURVE keys has begun") }
                try keys.write(to: self.opened.directory)
                state.keys = keys
            }
        }
    }

    private static func refused(_ line: String) -> Refusal { Refusal(.requestRefused, "Request refused: \(line)") }

    /// Bounded, and with names that can make no other line of the metrics: a relay that was taken over writes here.
    func report(_ counters: JSON, from channel: Caller.Channel) {
        guard let members = counters.objectValue else { return }
        let kept = members.prefix(Self.mostCounters).compactMap { member -> (name: String, value: Int64)? in
            guard (1...Self.longestName).contains(member.name.utf8.count), member.name.utf8.allSatisfy(Self.isNameByte),
                let value = member.value.integerValue, value >= 0
            else { return nil }
            return (member.name, value)
        }
        self.state.withLock { $0.counters[channel] = kept }
    }

    private static func isNameByte(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
            || byte == UInt8(ascii: "_")
    }

    /// As the relays said last, those of the front first.
    var counters: [(relay: String, name: String, value: Int64)] {
        let counters = self.state.withLock { $0.counters }
        return [Caller.Channel.front, .registrar].flatMap { channel in
            (counters[channel] ?? []).map { (channel.rawValue, $0.name, $0.value) }
        }
    }
}

extension RelayLimits {
    /// From the units of the configuration to milliseconds and bytes.
    init(_ limits: Configuration.Limits) {
        self.init()
        self.connections = limits.connections
        self.connectionsPerAddress = limits.connectionsPerAddress
        self.connectionRate = limits.connectionRate
        self.handshake = limits.handshake * 1_000
        self.messageSize = limits.messageSize << 10
        self.requests = limits.requests
        self.requestsPerIdentity = limits.requestsPerIdentity
        self.requestsPerAddress = limits.requestsPerAddress
        self.bytesPerIdentity = limits.bytesPerIdentity << 20
        self.bytesPerAddress = limits.bytesPerAddress << 20
        self.ratePerIdentity = limits.ratePerIdentity
        self.ratePerAddress = limits.ratePerAddress
        self.strangerRate = limits.strangerRate
    }
}
