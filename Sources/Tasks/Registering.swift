// Port 5001: register and status, as the registrar relays them; and the window's state for the registrar itself.

import Authority
import PKI
import UPKIProtocol

extension Task {
    static let registerNode = Task("register", role: .anyone, on: [.registrar], changes: true) { call in
        let seed = try call.parameters.string("seed")
        let request = RegistrationRequest(
            commonName: try call.parameters.string("cn"), profile: try call.parameters.profileName(else: "ra"),
            names: try call.parameters.names(),
            csr: try call.parameters.optionalString("csr"))
        // Closed means closed, whatever the seed: then there is nothing to guess at either.
        try call.authority.checkOpen(request.commonName)
        return try call.withProof(seed: seed, commonName: request.commonName) { call, proof in try call.registerNode(request, proof: proof)
        }
    }

    /// Whether a CN is registered; the deployed RA asks without one and is answered by its address.
    static let registrationStatus = Task("status", role: .anyone, on: [.registrar]) { call in
        let state = call.authority.state
        let now = call.authority.clock.now
        let node: Node?
        if let commonName = try call.parameters.optionalString("cn") {
            node = state.node(commonName: commonName)
        } else {
            node = call.context.caller.binding.flatMap { state.node(bound: $0) }
        }
        guard let node, node.isLive(at: now) else { return .answer([("status", "not_registered")].json) }
        return .answer(
            [
                ("status", "registered"),
                (
                    "node",
                    [
                        ("cn", .string(node.commonName)), ("profile", .string(node.profile)),
                        ("registered_at", .string(node.registeredAt.rfc3339)),
                    ].json
                ),
            ].json)
    }

    /// What the registrar must know to open or close its port; only it itself asks.
    static let window = Task("window", role: .anyone, on: [.registrar]) { call in
        guard case .localUser = call.context.caller.proof else { throw Refusal(.unknownTask, "Unknown task: window") }
        return .answer(Describe.window(call.authority.state.window, now: call.authority.clock.now))
    }
}

extension Call {
    fileprivate func registerNode(_ request: RegistrationRequest, proof: RegistrationProof) throws -> Step {
        let profile = try self.authority.checkRegistration(request, proof: proof, caller: self.context.caller)
        guard request.csr == nil else { return try self.finish(request, proof: proof, key: nil) }
        return try self.withKey(profile.keyType) { call, pair in try call.finish(request, proof: proof, key: pair) }
    }

    private func finish(_ request: RegistrationRequest, proof: RegistrationProof, key: SubjectKeyPair?) throws -> Step {
        let prepared = try self.authority.prepareRegistration(request, key: key, caller: self.context.caller)
        let authority = self.authority
        // The role is the window's to give; the commit checks window, token and binding again.
        return self.change(needs: .anyone) { commit in
            let node = try commit.register(request, prepared: prepared, proof: proof, in: authority)
            var answer: [(String, JSON)] = [
                ("status", "registered"), ("cn", .string(node.commonName)), ("profile", .string(node.profile)),
                ("dn", .string(node.subject)),
                ("serial", .string(prepared.record.serial.decimal)), ("certificate", .string(prepared.pem)),
                ("ca_certificate", .string(authority.issuer.pem)),
            ]
            if let key { answer.append(("private_key", .string(String(decoding: key.privateKeyPEM, as: UTF8.self)))) }
            return answer.json
        }
    }
}
