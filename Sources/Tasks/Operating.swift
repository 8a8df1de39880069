// What the operator asks, through admin.sock on the CA's host: nodes, tokens, the window, the audit log, the program itself. A part of it
// listed admins may ask from afar.

import Authority
import PKI
import UPKIProtocol

extension Task {
    private static func local(_ name: String, changes: Bool = false, run: @escaping @Sendable (Call) throws -> Step) -> Task {
        Task(name, role: .local, on: [.admin], changes: changes, run: run)
    }

    /// One that listed admins may ask from afar too.
    private static func remote(_ name: String, changes: Bool = false, run: @escaping @Sendable (Call) throws -> Step) -> Task {
        Task(name, role: .local, on: [.admin], changes: changes, isRemote: true, run: run)
    }

    // MARK: The program

    static let status = remote("status") { call in
        // Paths and process ids are for whoever is on that host.
        .answer(try (call.isFromAfar ? JSON.object([]) : call.services.operations.status()).merging(call.facts()))
    }

    static let reload = local("reload") { call in .elsewhere(.publisher) { .answer(try call.services.operations.reload()) } }

    /// The clock is right although records are there from a later time.
    static let acceptClock = local("accept_clock", changes: true) { call in
        call.change(needs: .local, isVital: true) { commit in
            try commit.acceptClock()
            return [("time", .string(commit.now.rfc3339))].json
        }
    }

    // MARK: Registration

    static let openRegistration = remote("open_registration", changes: true) { call in
        let seconds = try call.parameters.optionalInteger("seconds", in: 1...31_536_000) ?? 86_400
        let remaining = try call.parameters.optionalInteger("max", in: 1...1_000_000).map { Int($0) }
        let commonName = try call.parameters.optionalString("cn") == nil ? nil : call.parameters.commonName()
        let token = try call.services.seeds.oneTimeToken()
        return call.change(needs: .local) { commit in
            try commit.openRegistration(
                until: commit.now.advanced(bySeconds: seconds), remaining: remaining, commonName: commonName,
                tokenHash: Authority.hash(token: token))
            return Describe.window(commit.state.window, now: commit.now).merging(
                [("token", .string(token)), ("transport", call.services.relays.transport)].json)
        }
    }

    static let closeRegistration = remote("close_registration", changes: true) { call in
        let reason = try call.parameters.optionalString("reason") ?? "closed by the operator"
        return call.change(needs: .local, isVital: true) { commit in
            try commit.closeRegistration(reason: "\(reason) at \(commit.now.rfc3339)")
            return Describe.window(commit.state.window, now: commit.now)
        }
    }

    // MARK: Tokens and seed

    static let tokens = remote("tokens") { call in
        let now = call.authority.clock.now
        let tokens = call.authority.state.tokens.values.sorted { ($0.kind.rawValue, $0.id) < ($1.kind.rawValue, $1.id) }
        return .answer(
            .array(
                tokens.map { token in
                    [
                        ("id", .string(token.id)), ("kind", .string(token.kind.rawValue)),
                        ("cn", token.commonName.map { .string($0) } ?? .null),
                        ("live", .bool(token.isLive(at: now))), ("expires_at", token.expiresAt.map { .string($0.rfc3339) } ?? .null),
                        ("used_at", token.usedAt.map { .string($0.rfc3339) } ?? .null), ("revoked", .bool(token.isRevoked)),
                    ].json
                }))
    }

    static let revokeToken = remote("revoke_token", changes: true) { call in
        let id = try call.parameters.string("id")
        return call.change(needs: .local, isVital: true) { commit in
            try commit.revokeToken(id: id)
            return true
        }
    }

    /// Moves to token n + 1. Where the seed made the CA it must be given again: the token is derived from it, and only its hash is kept.
    static let rotateToken = local("rotate_token", changes: true) { call in
        let seed = try call.parameters.optionalString("seed")
        return .elsewhere(.seedChecker) {
            let number = call.authority.state.tokenNumber + 1
            let token = try call.services.seeds.standingToken(number: number, seed: seed)
            return call.change(needs: .local) { commit in
                try commit.rotateStandingToken(number: number, hash: Authority.hash(token: token))
                return [("token", .string(token)), ("number", .integer(number))].json
            }
        }
    }

    static let verifySeed = local("verify_seed") { call in
        let seed = try call.parameters.string("seed")
        return .elsewhere(.seedChecker) {
            guard try call.services.seeds.verify(seed: seed, caller: call.context.caller) else { throw AuthorityError(.invalidSeed, "") }
            return .answer(true)
        }
    }

    // MARK: Nodes

    static let nodes = remote("nodes") { call in
        let state = call.authority.state
        let now = call.authority.clock.now
        let all = try call.parameters.bool("all", else: false)
        return .answer(
            .array(
                state.nodes.values.filter { all || $0.state == .live }.sorted { $0.id < $1.id }.map {
                    Describe.node($0, isAdmin: state.isAdmin($0), now: now)
                }))
    }

    static let node = remote("node") { call in
        let commonName = try call.parameters.string("cn")
        let state = call.authority.state
        guard let node = state.anyNode(commonName: commonName) else {
            throw Refusal(.notFound, "Node not found: \(commonName); see: ca-ctl node list")
        }
        return .answer(Describe.node(node, isAdmin: node.state == .live && state.isAdmin(node), now: call.authority.clock.now))
    }

    static let addNode = local("add_node", changes: true) { call in
        let commonName = try call.parameters.commonName()
        let binding = try call.parameters.binding()
        return call.change(needs: .local) { commit in
            let node = try commit.addNode(commonName: commonName, binding: binding)
            return Describe.node(node, isAdmin: commit.state.isAdmin(node), now: commit.now)
        }
    }

    static let limitNode = remote("limit_node", changes: true) { call in
        let commonName = try call.parameters.string("cn")
        let profiles = try call.parameters.optionalStrings("profiles", atMost: 100)
        let names = try call.parameters.optionalStrings("names", atMost: 1_000).map { texts in
            try texts.map { text in
                guard let pattern = NamePattern(text) else {
                    throw Parameters.wrong("names", "has names, *.suffix or .suffix; '\(text)' is none")
                }
                return pattern
            }
        }
        return call.change(needs: .local) { commit in
            try commit.limitNode(commonName: commonName, profiles: profiles, names: names)
            return true
        }
    }

    /// Moves a node: to an address at once, or with a one-time token that lets it register again from wherever it is.
    static let rebindNode = remote("rebind_node", changes: true) { call in
        let commonName = try call.parameters.string("cn")
        if call.parameters["address"] != nil {
            guard !call.isFromAfar else {
                throw Refusal(.requestRefused, "Request refused: only the operator on the CA's host gives a node to an address")
            }
            let binding = try call.parameters.binding()
            return call.change(needs: .local) { commit in
                try commit.rebindNode(commonName: commonName, binding: binding)
                return [("binding", .string(binding.text))].json
            }
        }
        let token = try call.services.seeds.oneTimeToken()
        let seconds = try call.parameters.optionalInteger("seconds", in: 1...31_536_000) ?? 3_600
        return call.change(needs: .local) { commit in
            _ = try commit.liveNode(commonName)
            let end = commit.now.advanced(bySeconds: seconds)
            try commit.addToken(hash: Authority.hash(token: token), commonName: commonName, expiresAt: end)
            return [("token", .string(token)), ("until", .integer(end.seconds))].json
        }
    }

    static let renewNode = remote("renew_node", changes: true) { call in
        let node = try call.authority.state.requireNode(try call.parameters.string("cn"))
        guard let serial = node.serial else {
            throw Refusal(.requestRefused, "Request refused: the node \(node.commonName) has no certificate of its own")
        }
        let old = try call.authority.find(.serial(serial), actor: call.actor)
        guard old.revocation == nil else { throw AuthorityError(.nodeIsRevoked, old.certificate.subject) }
        let prepared = try call.authority.prepareRenewal(
            of: old.certificate, days: try call.parameters.days(), actor: call.actor, task: call.task)
        let authority = call.authority
        return call.change(needs: .local) { commit in
            try commit.renew(serial, by: prepared, revokesOld: false, in: authority)
            return Describe.issued(prepared)
        }
    }

    static let removeNode = remote("remove_node", changes: true) { call in
        let commonName = try call.parameters.string("cn")
        return call.change(needs: .local, isVital: true) { commit in
            try commit.removeNode(commonName: commonName)
            return true
        }
    }

    // MARK: Reading the audit log; see Auditing.swift for the rest

    static let audit = remote("audit") { call in
        let after = try call.parameters.optionalInteger("after", in: 0...Int64.max)
        let limit = Int(try call.parameters.optionalInteger("limit", in: 1...10_000) ?? 1_000)
        // Without a place to begin at, the newest are meant.
        let start = after ?? max(0, call.authority.state.auditSequence - Int64(limit))
        let records = try call.authority.store.read { try $0.auditRecords(after: start, limit: limit) }
        return .answer(.array(records.map(\.json)))
    }

}

extension Call {
    /// What the authority knows of itself.
    fileprivate func facts() throws -> JSON {
        let authority = self.authority
        let state = authority.state
        let now = authority.clock.now
        let (issued, revoked) = try authority.store.read { (try $0.certificateCount(), try $0.revocationCount()) }
        let live = state.nodes.values.filter { $0.isLive(at: now) }
        return [
            (
                "ca",
                [
                    ("subject", .string(authority.issuer.name.slashNotation)),
                    ("fingerprint", .string(authority.issuer.displayFingerprint)),
                    ("not_before", .string(authority.issuer.notBefore.rfc3339)), ("not_after", .string(authority.issuer.notAfter.rfc3339)),
                    ("key_derived_from_seed", .bool(state.keyIsDerived)),
                ].json
            ), ("registration", Describe.window(state.window, now: now)),
            (
                "counts",
                [
                    ("certificates", .integer(issued)), ("revoked", .integer(revoked)), ("nodes", .integer(live.count)),
                    ("admins", .integer(state.admins.count)), ("audit", .integer(state.auditSequence)),
                ].json
            ),
            (
                "crl",
                [
                    ("number", state.crlNumber.bytes.isEmpty ? .null : .number(state.crlNumber.decimal)),
                    ("scheduled_at", state.scheduledCRLTime.map { .string($0.rfc3339) } ?? .null),
                ].json
            ),
            ("expiries", try self.expiries()),
            ("audit", Describe.audit(state)),
            ("recovery", state.recoveryNote.map(\.json) ?? .null),
            ("seed_exposed_at", state.seedExposedAt.map { .string($0.rfc3339) } ?? .null),
            ("publication", authority.rules.publicationBaseURL.map { .string($0) } ?? .null),
        ].json
    }
}

extension AuthorityState {
    fileprivate func requireNode(_ commonName: String) throws -> Node {
        guard let node = self.node(commonName: commonName) else {
            throw AuthorityError(.notFound, "Node not found: \(commonName); see: ca-ctl node list")
        }
        return node
    }
}

extension Parameters {
    /// A CN for a node: text that a person can read.
    fileprivate func commonName() throws -> String {
        let name = try self.string("cn")
        guard name.unicodeScalars.count <= 64, name.unicodeScalars.allSatisfy({ $0.value >= 0x20 && $0.value != 0x7f }) else {
            throw Self.wrong("cn", "has at most 64 characters and no control characters")
        }
        return name
    }

    fileprivate func binding() throws -> Binding {
        let address = try self.string("address")
        guard let octets = IPAddress.octets(address) else { throw Self.wrong("address", "is an IP address") }
        return .address(IPAddress.text(octets))
    }
}

extension AuditRecord {
    fileprivate var json: JSON {
        [
            ("sequence", .integer(self.sequence)), ("time", .string(self.time.rfc3339)), ("request", .string(self.requestID)),
            ("identity", .string(self.identity)), ("proof", .string(self.proof)), ("task", .string(self.task)),
            ("outcome", .string(self.outcome.rawValue)),
            ("target", .string(self.target)), ("serial", .string(self.serial)), ("detail", .string(self.detail)),
            ("hash", .string(Hexadecimal.encode(self.hash))),
        ].json
    }
}

extension JSON {
    /// An object with the members of both.
    func merging(_ other: JSON) -> JSON { .object((self.objectValue ?? []) + (other.objectValue ?? [])) }
}
