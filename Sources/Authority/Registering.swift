// Becoming a node: the registration window, tokens, and what `register` on port 5001 and `ca-ctl node` do.

import Crypto
public import PKI

/// What proved that somebody may register.
public enum RegistrationProof: Sendable, Equatable {
    /// A token; only its SHA-256 is known here.
    case token(hash: [UInt8])
    /// The seed itself, checked by whoever derives keys from it.
    case seed
}

/// What is asked of `register` on port 5001.
public struct RegistrationRequest: Sendable {
    public var commonName: String
    public var profile: String
    public var names: [AlternativeName]
    /// The node's own CSR; without it the CA makes the key and sends it once.
    public var csr: String?

    public init(commonName: String, profile: String, names: [AlternativeName], csr: String?) {
        self.commonName = commonName
        self.profile = profile
        self.names = names
        self.csr = csr
    }
}

extension Authority {
    /// SHA-256 of a token's text, which is all that is kept of it.
    public static func hash(token: String) -> [UInt8] { Array(SHA256.hash(data: Array(token.utf8))) }

    /// Whether a token opens registration for `commonName` now.
    ///
    /// - Throws: `invalidSeed` where it does not; the answer is the same for a wrong, a used and an expired token.
    public func check(token: String, commonName: String) throws -> RegistrationProof {
        let hash = Self.hash(token: token)
        try self.state.check(.token(hash: hash), commonName: commonName, now: self.clock.now)
        return .token(hash: hash)
    }

    /// - Throws: `registrationClosed` unless the window is open for this CN now.
    public func checkOpen(_ commonName: String) throws { try self.state.checkWindow(commonName, now: self.clock.now) }

    /// Whether a token was ever this CA's and was not revoked: what `register` on port 5000 asks of a node that is one already.
    ///
    /// - Throws: `invalidSeed` where it is not.
    public func checkKnown(token: String) throws -> RegistrationProof {
        let hash = Self.hash(token: token)
        guard let known = self.state.tokens[hash], !known.isRevoked else { throw AuthorityError(.invalidSeed, "") }
        return .token(hash: hash)
    }

    /// The registration that a one-time token was used for, where the very same is asked for again: by the same proven key or address,
    /// for the same name and the same public key, while token, node and certificate are still good.
    ///
    /// - Throws: `csr` where the CSR is none.
    public func registration(with token: String, commonName: String, csr: String, caller: Caller) throws -> EarlierRegistration? {
        let now = self.clock.now
        let state = self.state
        guard let token = state.tokens[Self.hash(token: token)], let serial = token.usedFor, !token.isRevoked,
            token.expiresAt.map({ now < $0 }) ?? true, let binding = caller.binding, let node = state.node(bound: binding),
            node.isLive(at: now), node.serial == serial,
            DistinguishedName.normalised(node.commonName) == DistinguishedName.normalised(commonName),
            let certificate = try self.store.read({ try $0.certificate(serial) }), !certificate.isDeleted,
            try self.store.read({ try $0.revocation(serial) }) == nil
        else { return nil }
        guard try SubjectPublicKey.canonicalHash(SigningRequest(pem: csr).key.publicKey) == Self.keyHash(of: certificate.der) else { return nil }
        return EarlierRegistration(node: node, certificate: certificate, token: token)
    }

    /// Checks a registration before any key is made for it.
    public func checkRegistration(_ request: RegistrationRequest, proof: RegistrationProof, caller: Caller) throws -> CertificateProfile {
        let now = self.clock.now
        let state = self.state
        try state.checkWindow(request.commonName, now: now)
        let allowed = self.rules.registrationProfiles
        guard allowed.contains(request.profile) else {
            throw AuthorityError.refused(
                "Request refused: registration is open for the profiles \(allowed.joined(separator: ", ")) alone (registration.profiles)")
        }
        if case .plainAddress(let address) = caller.proof, !caller.isConfidential {
            guard let listed = self.rules.fixedNodes[address],
                DistinguishedName.normalised(listed) == DistinguishedName.normalised(request.commonName)
            else {
                throw AuthorityError.refused(
                    "Request refused: \(address) is no loopback address, and the configuration's list 'nodes' (with security: plain) does not give it to \(request.commonName)"
                )
            }
            guard request.csr != nil || self.rules.acceptSeedInClear else {
                throw AuthorityError.refused(
                    "Request refused: without a csr the answer would carry a private key over a network in clear; send a csr, or register through CURVE or loopback"
                )
            }
        }
        try state.checkFree(request.commonName, binding: caller.binding, proof: proof, now: now)
        return try self.checkGenerating(
            NamedRequest(commonName: request.commonName, profile: request.profile, names: request.names), actor: self.registering(caller),
            task: "register")
    }

    /// While it registers, a node acts with the right to the profile that the window gives.
    func registering(_ caller: Caller) -> Actor { Actor(caller: caller, node: nil, role: .admin) }

    /// Signs a node's own certificate, for its CSR or for a key that the CA made and does not keep.
    public func prepareRegistration(_ request: RegistrationRequest, key: SubjectKeyPair?, caller: Caller) throws -> PreparedCertificate {
        let actor = self.registering(caller)
        let profile = try self.profile(request.profile, for: actor, task: "register")
        let publicKey: SubjectPublicKey
        var names = request.names
        if let csr = request.csr {
            let parsed = try SigningRequest(pem: csr)
            publicKey = parsed.key
            for name in parsed.names where !names.contains(name) { names.append(name) }
        } else if let key {
            publicKey = try SubjectPublicKey(subjectPublicKeyInfo: key.subjectPublicKeyInfo)
        } else {
            throw AuthorityError(.storage, "a registration without csr came without a key")
        }
        return try self.prepareForNode(commonName: request.commonName, names: names, key: publicKey, profile: profile, actor: actor)
    }
}

extension AuthorityState {
    func check(_ proof: RegistrationProof, commonName: String, now: UnixTime) throws {
        guard case .token(let hash) = proof else { return }
        guard let token = self.tokens[hash], token.isLive(at: now) else { throw AuthorityError(.invalidSeed, "") }
        if let bound = token.commonName, DistinguishedName.normalised(bound) != DistinguishedName.normalised(commonName) {
            throw AuthorityError(.invalidSeed, "")
        }
    }

    func checkWindow(_ commonName: String, now: UnixTime) throws {
        guard self.window.isOpen(at: now) else {
            throw AuthorityError(
                .registrationClosed,
                "Registration is closed (\(self.window.closedReason(at: now))); on the CA's host run: ca-ctl registrar open")
        }
        if let only = self.window.commonName, DistinguishedName.normalised(only) != DistinguishedName.normalised(commonName) {
            throw AuthorityError(
                .registrationClosed, "Registration is open for another name; on the CA's host run: ca-ctl registrar open --cn NAME")
        }
    }

    /// A CN that lives is taken, and so is a binding, unless the key is the same or a one-time token names this CN.
    func checkFree(_ commonName: String, binding: Binding?, proof: RegistrationProof, now: UnixTime) throws {
        if let node = self.node(commonName: commonName), node.isLive(at: now) {
            var mayReplace = false
            if case .curve? = node.binding, node.binding == binding { mayReplace = true }
            if case .token(let hash) = proof, let token = self.tokens[hash], token.kind == .oneTime, token.commonName != nil {
                mayReplace = true
            }
            guard mayReplace else {
                throw AuthorityError.refused(
                    "Node already registered: \(node.commonName); to move it run on the CA's host: ca-ctl node rebind \(node.commonName)")
            }
        }
        if let binding, let holder = self.node(bound: binding), holder.isLive(at: now),
            DistinguishedName.normalised(holder.commonName) != DistinguishedName.normalised(commonName)
        {
            throw AuthorityError.refused(
                "Request refused: \(binding.text) already belongs to the node \(holder.commonName); to free it run on the CA's host: ca-ctl node remove \(holder.commonName)"
            )
        }
    }
}

extension RegistrationWindow {
    /// Why it is closed at this moment.
    public func closedReason(at now: UnixTime) -> String {
        guard let until = self.openUntil else { return self.reason }
        if self.remaining == 0 { return "the last registration was used" }
        return until <= now ? "it ended at \(until.rfc3339)" : self.reason
    }
}

/// A registration that was made, and whose answer is given once more.
public struct EarlierRegistration: Sendable {
    public let node: Node
    public let certificate: CertificateRecord
    let token: Token
}

extension Commit {
    /// Audits that a registration's answer is given again; nothing else changes, and no place of the window is taken.
    public mutating func repeatRegistration(_ earlier: EarlierRegistration) throws {
        guard let node = self.state.node(commonName: earlier.node.commonName), node.isLive(at: self.now), node == earlier.node,
            let token = self.state.tokens[earlier.token.hash], !token.isRevoked
        else { throw AuthorityError(.invalidSeed, "") }
        try self.audit(
            target: node.subject, serial: earlier.certificate.serial,
            detail: "the answer to the registration of node \(node.commonName) with token \(token.id) is given again")
    }

    /// Records a node and its certificate; uses up the token and one place of the window.
    ///
    /// - Returns: the node as it is now.
    public mutating func register(
        _ request: RegistrationRequest, prepared: PreparedCertificate, proof: RegistrationProof, in authority: Authority
    ) throws -> Node {
        let caller = self.context.caller
        try self.state.check(proof, commonName: request.commonName, now: self.now)
        try self.state.checkWindow(request.commonName, now: self.now)
        try self.state.checkFree(request.commonName, binding: caller.binding, proof: proof, now: self.now)
        // The window, not a role of the caller's, is what allows this; the audit record says which proof it was.
        let stranger = self.actor
        self.actor = authority.registering(caller)
        defer { self.actor = stranger }
        try self.check(prepared, in: authority)
        try self.checkAdminName(of: prepared, proof: proof)

        let earlier = try self.makeRoom(for: request.commonName, binding: caller.binding)
        var node = Node(
            id: earlier?.id ?? NodeID(0), commonName: request.commonName, subject: prepared.record.subject, binding: caller.binding,
            profile: request.profile,
            profiles: earlier?.profiles, names: earlier?.names, serial: prepared.record.serial, notAfter: prepared.record.notAfter,
            registeredAt: self.now, origin: earlier?.origin ?? .registered, state: .live)
        if earlier == nil {
            node.id = try self.store.insert(node)
        } else {
            try self.store.update(node)
        }
        self.state.set(node)
        var certificate = prepared.record
        certificate.node = node.id
        try self.store.insert(certificate, commonNameHash: prepared.commonNameHash)
        try self.spend(proof, for: prepared.record.serial)
        try self.takePlace()
        self.actor = stranger
        try self.audit(
            target: prepared.record.subject, serial: prepared.record.serial,
            detail:
                "node \(node.commonName) registered with \(proof.text), profile \(request.profile), bound to \(caller.binding?.text ?? "nothing")"
        )
        return node
    }

    /// A listed admin's name that no live node carries is given only to whoever the operator named: else a token would be worth role A.
    private func checkAdminName(of prepared: PreparedCertificate, proof: RegistrationProof) throws {
        guard self.state.admins.contains(where: { $0.name == prepared.subject }) else { return }
        // Who may follow a live node has been settled; one whose certificate has expired is nobody's to follow here.
        if let holder = self.state.node(commonName: prepared.record.commonName), holder.isLive(at: self.now),
            DistinguishedName.parse(holder.subject) == prepared.subject
        {
            return
        }
        if case .token(let hash) = proof, let token = self.state.tokens[hash], token.kind == .oneTime, token.commonName != nil { return }
        throw AuthorityError.refused(
            "Request refused: \(prepared.subject) is the name of a listed admin; on the CA's host run: ca-ctl registrar open --cn \(prepared.record.commonName)"
        )
    }

    /// Ends nodes whose certificates have expired and who stand in the way of a new one.
    ///
    /// - Returns: the node of this CN that the new registration goes on with: what it owns stays its own.
    private mutating func makeRoom(for commonName: String, binding: Binding?) throws -> Node? {
        if let binding, let holder = self.state.node(bound: binding),
            DistinguishedName.normalised(holder.commonName) != DistinguishedName.normalised(commonName)
        {
            try self.end(holder)
        }
        guard let earlier = self.state.node(commonName: commonName) else { return nil }
        // An expired node that comes back from elsewhere may be somebody else: it begins with nothing.
        guard earlier.isLive(at: self.now) || earlier.binding == binding else {
            try self.end(earlier)
            return nil
        }
        return earlier
    }

    private mutating func spend(_ proof: RegistrationProof, for serial: SerialNumber) throws {
        guard case .token(let hash) = proof, var token = self.state.tokens[hash], token.kind == .oneTime else { return }
        token.usedAt = self.now
        token.usedFor = serial
        try self.store.set(token)
        self.state.set(token)
    }

    private mutating func takePlace() throws {
        guard let remaining = self.state.window.remaining else { return }
        var window = self.state.window
        window.remaining = remaining - 1
        if remaining - 1 == 0 {
            window.openUntil = nil
            window.reason = "the last registration was used at \(self.now.rfc3339)"
        }
        try self.set(window)
    }

    /// Opens the window, with a fresh one-time token whose text only the caller knows.
    public mutating func openRegistration(until: UnixTime, remaining: Int?, commonName: String?, tokenHash: [UInt8]) throws {
        let token = Token(hash: tokenHash, kind: .oneTime, commonName: commonName, expiresAt: until)
        try self.store.set(token)
        self.state.set(token)
        try self.set(
            RegistrationWindow(openUntil: until, remaining: remaining, commonName: commonName, reason: "opened at \(self.now.rfc3339)"))
        try self.audit(
            target: commonName ?? "",
            detail: "open until \(until.rfc3339), \(remaining.map { "\($0) left" } ?? "any number"), token \(token.id)")
    }

    /// Opens the window for those who hold the standing token.
    public mutating func openWindow(until: UnixTime, reason: String) throws {
        try self.set(RegistrationWindow(openUntil: until, remaining: nil, commonName: nil, reason: reason))
        try self.audit(detail: "\(reason) until \(until.rfc3339)")
    }

    /// Closes the window, whatever its state.
    public mutating func closeRegistration(reason: String) throws {
        try self.set(RegistrationWindow(openUntil: nil, remaining: nil, commonName: nil, reason: reason))
        try self.audit(detail: reason)
    }

    mutating func set(_ window: RegistrationWindow) throws {
        try self.store.set(.registrationWindow, window.stored)
        self.state.window = window
        self.events.append(.window(sequence: try self.nextEventSequence(), window))
    }

    // MARK: Tokens

    /// Adds a one-time token for one CN.
    public mutating func addToken(hash: [UInt8], commonName: String?, expiresAt: UnixTime) throws {
        let token = Token(hash: hash, kind: .oneTime, commonName: commonName, expiresAt: expiresAt)
        try self.store.set(token)
        self.state.set(token)
        try self.audit(target: commonName ?? "", detail: "token \(token.id) until \(expiresAt.rfc3339)")
    }

    /// Revokes the token whose id (the start of its hash) is given.
    public mutating func revokeToken(id: String) throws {
        let matching = self.state.tokens.values.filter { $0.id == id.lowercased() }
        guard var token = matching.first, matching.count == 1 else {
            throw AuthorityError(.notFound, "Token not found: \(id); see: ca-ctl token list")
        }
        token.isRevoked = true
        try self.store.set(token)
        self.state.set(token)
        try self.audit(detail: "token \(token.id) revoked")
    }

    /// Replaces the standing token by the one with number `number`.
    public mutating func rotateStandingToken(number: Int, hash: [UInt8]) throws {
        guard number > self.state.tokenNumber || self.state.tokens.isEmpty else {
            throw AuthorityError.refused("Request refused: the standing token is number \(self.state.tokenNumber) already")
        }
        for var token in self.state.tokens.values where token.kind == .standing && !token.isRevoked {
            token.isRevoked = true
            try self.store.set(token)
            self.state.set(token)
        }
        let token = Token(hash: hash, kind: .standing)
        try self.store.set(token)
        try self.store.set(.tokenNumber, String(number))
        self.state.set(token)
        self.state.tokenNumber = number
        try self.audit(detail: "standing token \(token.id), number \(number)")
    }

    /// Remembers that the correct seed came in clear over a network, whatever becomes of the request that it came with.
    public mutating func markSeedExposed() throws {
        try self.store.set(.seedExposedAt, String(self.now.seconds))
        self.state.seedExposedAt = self.now
        try self.audit(detail: "SEED EXPOSED: the seed came in clear from \(self.context.caller.proofText)")
    }

    // MARK: Nodes by hand

    /// Adds a node that has no certificate of its own.
    public mutating func addNode(commonName: String, binding: Binding) throws -> Node {
        try self.state.checkFree(commonName, binding: binding, proof: .seed, now: self.now)
        if let expired = try self.makeRoom(for: commonName, binding: binding) { try self.end(expired) }
        var node = Node(
            id: NodeID(0), commonName: commonName, subject: DistinguishedName([.init(.commonName, commonName)]).slashNotation,
            binding: binding, profile: "ra",
            serial: nil, notAfter: nil, registeredAt: self.now, origin: .manual, state: .live)
        node.id = try self.store.insert(node)
        self.state.set(node)
        try self.audit(target: commonName, detail: "added by hand, bound to \(binding.text)")
        return node
    }

    /// Sets which profiles and names a node may ask for; nil lifts a limit.
    public mutating func limitNode(commonName: String, profiles: [String]?, names: [NamePattern]?) throws {
        var node = try self.liveNode(commonName)
        for profile in profiles ?? [] { _ = try self.state.profile(profile) }
        node.profiles = profiles.map { $0.map { CertificateProfile.canonicalName($0) } }
        node.names = names
        try self.store.update(node)
        self.state.set(node)
        try self.audit(
            target: commonName,
            detail:
                "profiles \(node.profiles?.joined(separator: " ") ?? "all"), names \(names?.map(\.description).joined(separator: " ") ?? "all")"
        )
    }

    /// Moves a node to another address or key.
    public mutating func rebindNode(commonName: String, binding: Binding) throws {
        var node = try self.liveNode(commonName)
        if let holder = self.state.node(bound: binding), holder.id != node.id {
            throw AuthorityError.refused("Request refused: \(binding.text) already belongs to the node \(holder.commonName)")
        }
        node.binding = binding
        try self.store.update(node)
        self.state.set(node)
        try self.audit(target: commonName, detail: "bound to \(binding.text)")
    }

    /// The live node with this CN.
    public func liveNode(_ commonName: String) throws -> Node {
        guard let node = self.state.node(commonName: commonName) else {
            throw AuthorityError(.notFound, "Node not found: \(commonName); see: ca-ctl node list")
        }
        return node
    }

    /// Ends a node and revokes its certificate as cessationOfOperation.
    public mutating func removeNode(commonName: String) throws {
        let node = try self.liveNode(commonName)
        if let serial = node.serial, let certificate = try self.store.certificate(serial) {
            let status = CertificateStatus(certificate: certificate, revocation: try self.store.revocation(serial))
            if status.isLive(at: self.now) || status.revocation?.reason == .certificateHold {
                try self.revoke(status, reason: .cessationOfOperation)
            }
        }
        try self.end(node)
    }

    /// After a renewal: a node's rights last as long as its newest certificate.
    public mutating func follow(renewalOf old: SerialNumber, by prepared: PreparedCertificate) throws {
        guard var node = self.state.node(serial: old) else { return }
        node.serial = prepared.record.serial
        node.notAfter = prepared.record.notAfter
        try self.store.update(node)
        self.state.set(node)
    }
}

extension RegistrationProof {
    /// For the audit log.
    var text: String {
        switch self {
        case .token(let hash): "token \(Hexadecimal.encode(hash.prefix(4)))"
        case .seed: "the seed"
        }
    }
}
