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
        if let again = try call.registrationAgain(seed) { return again }
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
    /// The answer to a registration that was had before and whose answer was lost: for the same token, the same proven key, the same name
    /// and the same CSR's key. Also on the front, since the registrar is gone with the window's last place.
    func registrationAgain(_ seed: String) throws -> Step? {
        guard self.services.seeds.isToken(seed), let csr = try self.parameters.optionalString("csr"),
            let earlier = try self.authority.registration(
                with: seed, commonName: try self.parameters.string("cn"), csr: csr, caller: self.context.caller)
        else { return nil }
        let authority = self.authority
        return self.change(needs: .anyone) { commit in
            try commit.repeatRegistration(earlier)
            return Self.registered(earlier.node, earlier.certificate.serial, PEM.encode(earlier.certificate.der, label: "CERTIFICATE"), authority)
                .json
        }
    }

    private static func registered(
        _ node: Node, _ serial: SerialNumber, _ certificate: String, _ authority: Authority
    ) -> [(String, JSON)] {
        [
            ("status", .string("registered")), ("cn", .string(node.commonName)), ("profile", .string(node.profile)),
            ("dn", .string(node.subject)), ("serial", .string(serial.decimal)), ("certificate", .string(certificate)),
            ("ca_certificate", .string(authority.issuer.pem)),
        ]
    }

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
            var answer = Self.registered(node, prepared.record.serial, prepared.pem, authority)
            if let key { answer.append(("private_key", .string(String(decoding: key.privateKeyPEM, as: UTF8.self)))) }
            return answer.json
        }
    }
}
