// sign, generate, register on port 5000, renew: what gives certificates.

import Authority
import PKI
import UPKIProtocol

extension Task {
    static let sign = Task("sign", role: .node, changes: true) { call in
        let prepared = try call.authority.prepareSigning(
            csr: try call.parameters.string("csr"), profile: try call.parameters.profileName(), days: try call.parameters.days(),
            actor: call.actor,
            task: call.task)
        return call.record(prepared)
    }

    static let generate = Task("generate", role: .node, changes: true) { call in
        let request = NamedRequest(
            commonName: try call.parameters.string("cn"), profile: try call.parameters.profileName(), names: try call.parameters.names(),
            days: try call.parameters.days())
        return try call.generate(request, staysHere: try call.parameters.bool("local", else: true))
    }

    /// On port 5000 `register` makes a certificate and an inventory entry, never a right; the seed is checked all the same.
    static let register = Task("register", role: .node, changes: true) { call in
        let seed = try call.parameters.string("seed")
        if let again = try call.registrationAgain(seed) { return again }
        let request = NamedRequest(
            commonName: try call.parameters.string("cn"), profile: try call.parameters.profileName(), names: try call.parameters.names())
        return try call.withProof(seed: seed, commonName: request.commonName) { call, _ in try call.generate(request, staysHere: true) }
    }

    static let renew = Task("renew", role: .node, changes: true) { call in
        let old = try call.authority.find(try call.parameters.selector(), actor: call.actor)
        guard old.revocation == nil, !old.certificate.isDeleted else { throw AuthorityError(.nodeIsRevoked, old.certificate.subject) }
        let revokesOld = try call.parameters.bool("revoke_old", else: false)
        let prepared = try call.authority.prepareRenewal(
            of: old.certificate, days: try call.parameters.days(), actor: call.actor, task: call.task)
        let authority = call.authority
        return call.change(needs: .node) { commit in
            try commit.renew(old.certificate.serial, by: prepared, revokesOld: revokesOld, in: authority)
            return Describe.issued(prepared)
        }
    }
}

extension Call {
    /// Has the writer record a certificate, and answers with it.
    func record(_ prepared: PreparedCertificate) -> Step {
        let authority = self.authority
        return self.change(needs: .node) { commit in
            try commit.record(prepared, in: authority)
            return Describe.issued(prepared)
        }
    }

    /// Makes a key and a certificate for it.
    ///
    /// - Parameter staysHere: whether the CA keeps the key; otherwise it goes out once, with the answer.
    func generate(_ request: NamedRequest, staysHere: Bool) throws -> Step {
        let profile = try self.authority.checkGenerating(request, actor: self.actor, task: self.task)
        return try self.withKey(profile.keyType) { call, pair in
            let prepared = try call.authority.prepareGenerating(request, key: pair, keepsKey: staysHere, actor: call.actor, task: call.task)
            let authority = call.authority
            return call.change(needs: .node) { commit in
                try commit.record(prepared, in: authority, detail: staysHere ? "key kept" : "key handed out")
                guard !staysHere, case .object(var members) = Describe.issued(prepared) else { return Describe.issued(prepared) }
                members.append(.init("private_key", .string(String(decoding: pair.privateKeyPEM, as: UTF8.self))))
                return .object(members)
            }
        }
    }

    /// Goes on with a key: at once where one is ready, else on the thread that may take its time.
    func withKey(_ type: SubjectKeyType, _ next: @escaping @Sendable (Call, SubjectKeyPair) throws -> Step) throws -> Step {
        if let pair = try self.services.keys.ready(type) { return try next(self, pair) }
        return .elsewhere(.keyMaker) { try next(self, try self.services.keys.make(type)) }
    }

    /// Goes on with the proof that a seed or token gives.
    ///
    /// A token costs a hash; the seed itself costs a scrypt on a thread of its own, and is refused where it would cross a network in clear.
    func withProof(seed: String, commonName: String, _ next: @escaping @Sendable (Call, RegistrationProof) throws -> Step) throws -> Step {
        if self.services.seeds.isToken(seed) {
            let opensNothing = self.context.caller.channel == .front
            return try next(
                self,
                opensNothing ? try self.authority.checkKnown(token: seed) : try self.authority.check(token: seed, commonName: commonName))
        }
        let isWelcome = self.context.caller.isConfidential || self.authority.rules.acceptSeedInClear
        try self.services.seeds.admit(self.context.caller)
        return .elsewhere(.seedChecker) {
            // Those that were sent at once with a wrong one wait like all others.
            try self.services.seeds.admit(self.context.caller)
            // One that is refused for the way it came is checked too: that the right one came in clear must be known. Not to the caller.
            let isRight = try self.services.seeds.verify(seed: seed, caller: self.context.caller)
            guard isWelcome else {
                throw AuthorityError(
                    .refused,
                    "Invalid registration seed: the seed itself is not accepted over a network in clear; put the registration token (ca-ctl seed token) where the seed is expected"
                )
            }
            guard isRight else { throw AuthorityError(.invalidSeed, "") }
            return try next(self, .seed)
        }
    }
}
