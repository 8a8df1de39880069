// What the front and the registrar ask for themselves, and what a node may know of how it reaches its CA.

import Authority
import PKI
import UPKIProtocol

/// What relays are handed, and what they say of themselves.
public protocol RelayKeeping: Sendable {
    /// The CURVE keys of a relay's port, secrets included, the current one first.
    func curveKeys(for channel: Caller.Channel) -> JSON
    /// Where a relay listens, as the configuration says: `endpoint` and whether with `curve`.
    func listeners(for channel: Caller.Channel) -> JSON
    /// The limits in force.
    var limits: RelayLimits { get }
    /// Where nodes reach this CA, and with which keys; never a secret.
    var transport: JSON { get }
    /// Keeps what a relay has counted since its start.
    func report(_ counters: JSON, from channel: Caller.Channel)
    /// Makes the next key of each port, from the seed where that made the CA; takes as long as scrypt does.
    ///
    /// - Parameters:
    ///   - port: where the front listens with its next key beside the current one; nil for ten above the current port.
    ///   - registrarPort: that of the registrar.
    /// - Throws: `Refusal` while an exchange is going on, for ports that are taken or none, and for a wrong seed.
    func nextKeys(port: Int?, registrarPort: Int?, seed: String?) throws -> CurveKeyChange
    /// Ends an exchange: with the next keys in place of the current ones, or without them.
    ///
    /// - Throws: `Refusal` where none is going on.
    func endOfExchange(keepsNext: Bool) throws -> CurveKeyChange
}

/// A change of the CURVE keys that is ready to be made.
public struct CurveKeyChange: Sendable {
    /// For the audit log.
    public let detail: String
    /// Writes the keys, durable when it returns; relays get them when they start.
    public let make: @Sendable () throws -> Void

    public init(detail: String, make: @escaping @Sendable () throws -> Void) {
        self.detail = detail
        self.make = make
    }
}

extension Task {
    /// Keys, limits and known nodes for a relay, against its counters. Only the relay itself asks: its header names nobody, and it never
    /// sends one like that for a peer.
    static let relay = Task("relay", role: .anyone, on: [.front, .registrar]) { call in
        guard case .localUser = call.context.caller.proof else { throw Refusal(.unknownTask, "Unknown task: relay") }
        let relays = call.services.relays
        let channel = call.context.caller.channel
        if let counters = call.parameters["counters"] { relays.report(counters, from: channel) }
        let keys = call.authority.nodeKeys
        var answer: [(String, JSON)] = [("limits", relays.limits.json), ("nodes_version", .string(keys.version))]
        if try call.parameters.bool("keys", else: false) { answer.append(("keys", relays.curveKeys(for: channel))) }
        if try call.parameters.bool("listeners", else: false) { answer.append(("listeners", relays.listeners(for: channel))) }
        if try call.parameters.optionalString("nodes_version") != keys.version {
            answer.append(("nodes", .array(keys.all.map { .string($0) })))
        }
        return .answer(answer.json)
    }

    /// Begins an exchange of the CURVE keys: a socket has one key, so the next ones are had on ports of their own meanwhile.
    static let transportRotate = Task("transport_rotate", role: .local, on: [.admin], changes: true) { call in
        let port = try call.parameters.optionalInteger("port", in: 1...65_534).map { Int($0) }
        let registrarPort = try call.parameters.optionalInteger("registrar_port", in: 1...65_535).map { Int($0) }
        let seed = try call.parameters.optionalString("seed")
        return .elsewhere(.seedChecker) {
            call.exchange(try call.services.relays.nextKeys(port: port, registrarPort: registrarPort, seed: seed))
        }
    }

    static let transportFinish = Task("transport_finish", role: .local, on: [.admin], changes: true) { call in
        call.exchange(try call.services.relays.endOfExchange(keepsNext: true))
    }

    static let transportAbort = Task("transport_abort", role: .local, on: [.admin], changes: true) { call in
        call.exchange(try call.services.relays.endOfExchange(keepsNext: false))
    }

    /// Where the CA is and which CURVE keys it has, the next ones included, so that nodes go over to them in time.
    static let transport = Task("transport", role: .node) { call in .answer(call.services.relays.transport) }
}

extension Call {
    /// Audits the change and makes it; where it cannot be made nothing is audited.
    fileprivate func exchange(_ change: CurveKeyChange) -> Step {
        let relays = self.services.relays
        return self.change(needs: .local) { commit in
            try commit.auditTransport(change.detail)
            try change.make()
            return relays.transport
        }
    }
}
