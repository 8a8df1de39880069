// What the front and the registrar ask for themselves, and what a node may know of how it reaches its CA.

import Authority
import PKI
import UPKIProtocol

/// What relays are handed, and what they say of themselves.
public protocol RelayKeeping: Sendable {
    /// The CURVE keys of a relay's port, secrets included, the current one first.
    func curveKeys(for channel: Caller.Channel) -> JSON
    /// The limits in force.
    var limits: RelayLimits { get }
    /// Where nodes reach this CA, and with which keys; never a secret.
    var transport: JSON { get }
    /// Keeps what a relay has counted since its start.
    func report(_ counters: JSON, from channel: Caller.Channel)
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
        if try call.parameters.optionalString("nodes_version") != keys.version {
            answer.append(("nodes", .array(keys.all.map { .string($0) })))
        }
        return .answer(answer.json)
    }

    /// Where the CA is and which CURVE keys it has, the next ones included, so that nodes go over to them in time.
    static let transport = Task("transport", role: .node) { call in .answer(call.services.relays.transport) }
}
