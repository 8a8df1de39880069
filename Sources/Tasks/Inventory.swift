// view, list_nodes, get_node: what was issued.

import Authority
import PKI
import UPKIProtocol

extension Task {
    static let view = Task("view", role: .node) { call in
        let status = try call.authority.find(try call.parameters.selector(), actor: call.actor)
        return .answer(try Describe.view(status, now: call.authority.clock.now))
    }

    static let listNodes = Task("list_nodes", role: .node) { call in
        let limit = Int(try call.parameters.optionalInteger("limit", in: 1...10_000) ?? 10_000)
        let after = try call.parameters.serial("after")
        let state = try call.parameters.optionalString("state")
        if let state, !["issued", "revoked", "expired", "deleted"].contains(state) {
            throw Parameters.wrong("state", "is issued, revoked, expired or deleted")
        }
        return .elsewhere(.lister) {
            .encoded(try Self.list(try call.authority.inventory(after: after, limit: limit, state: state, actor: call.actor), call))
        }
    }

    /// The entries as JSON text. An answer is bounded; whoever wants more asks again with `after`.
    private static func list(_ entries: [CertificateStatus], _ call: Call) throws -> [UInt8] {
        let now = call.authority.clock.now
        var output: [UInt8] = [UInt8(ascii: "[")]
        for status in entries {
            let entry = Describe.inventory(status, now: now).encoded
            guard output.count + entry.count < 15 << 20 else { break }
            if output.count > 1 { output.append(UInt8(ascii: ",")) }
            output += entry
        }
        output.append(UInt8(ascii: "]"))
        return output
    }

    static let getNode = Task("get_node", role: .node) { call in
        let commonName = try call.parameters.string("cn")
        let status = try call.authority.find(.commonName(commonName), actor: call.actor)
        return .answer(Describe.inventory(status, now: call.authority.clock.now))
    }
}
