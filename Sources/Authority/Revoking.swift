// Revocation (RFC 5280 5.3.1): revoking, releasing a hold, taking a certificate out of the inventory. O(1) whatever was revoked before.

import PKI
public import RevocationFormats

extension Commit {
    /// Revokes what `selector` means: by serial number one certificate, by name all live and held ones. As superseded all but the newest,
    /// which is what superseded the others; one that stands alone is taken.
    ///
    /// A held certificate can be revoked for good, keyCompromise replaces a weaker reason, any other repeat changes nothing.
    public mutating func revoke(_ selector: Selector, reason: CRLReason) throws {
        try self.revoke(try self.store.revocationTargets(selector, reason: reason, for: self.actor, now: self.now), reason: reason)
    }

    /// Revokes these certificates, which a worker found: a walk over all of one name is nothing for the writer.
    public mutating func revoke(_ serials: [SerialNumber], reason: CRLReason) throws {
        for serial in serials {
            if let target = try self.store.certificates(.serial(serial), for: self.actor).first {
                try self.revoke(target, reason: reason)
            } else if let standing = try self.store.takenOverRevocation(serial, for: self.actor) {
                try self.revoke(nil, serial, standing: standing, reason: reason)
            } else {
                throw AuthorityError(.certificateNotFound, serial.decimal)
            }
        }
    }

    mutating func revoke(_ target: CertificateStatus, reason: CRLReason) throws {
        try self.revoke(target.certificate, target.certificate.serial, standing: target.revocation, reason: reason)
    }

    /// - Parameter certificate: nil where its revocation came from a CRL and nothing else is known of it.
    private mutating func revoke(_ certificate: CertificateRecord?, _ serial: SerialNumber, standing: Revocation?, reason: CRLReason) throws
    {
        let subject = certificate?.subject ?? ""
        if let standing, !standing.yields(to: reason) {
            try self.audit(target: subject, serial: serial, detail: "already revoked: \(standing.reason.name)")
            return
        }
        // The time of the first revocation stands when only the reason changes; a hold made final counts from now.
        let time = standing.map { $0.reason == .certificateHold ? self.now : $0.revokedAt } ?? self.now
        let revocation = Revocation(
            serial: serial, reason: reason, revokedAt: time, notAfter: certificate?.notAfter ?? standing?.notAfter ?? UnixTime(.max))
        try self.put(revocation, of: certificate)
        try self.audit(target: subject, serial: serial, detail: "reason \(reason.name)")
        self.events.append(.status(sequence: try self.nextEventSequence(), serial: serial, revocation: revocation))
        self.wantsCRL = true
    }

    /// Stores a revocation with what follows from it: a key that is blocked, a node that ends.
    mutating func put(_ revocation: Revocation, of certificate: CertificateRecord?) throws {
        try self.store.set(revocation)
        guard let certificate else { return }
        if revocation.reason == .keyCompromise { try self.store.block(keyHash: try Authority.keyHash(of: certificate.der)) }
        if var node = self.state.node(serial: certificate.serial), node.state == .live {
            node.state = .revoked
            try self.store.update(node)
            self.state.set(node)
        }
    }

    /// Releases a held certificate, by name every held one; with `revocation.release: any` whatever is not a compromise.
    public mutating func unrevoke(_ selector: Selector) throws {
        if case .serial(let serial) = selector, let standing = try self.store.takenOverRevocation(serial, for: self.actor) {
            return try self.release(takenOver: standing)
        }
        let found = try self.store.certificates(selector, for: self.actor)
        guard !found.isEmpty else { throw AuthorityError(.certificateNotFound, selector.text) }
        let revoked = found.filter { $0.revocation != nil }
        guard let newest = revoked.first, let reason = newest.revocation?.reason else {
            throw AuthorityError.refused("Request refused: \(selector.text) is not revoked")
        }
        var targets = revoked.filter { $0.revocation?.reason == .certificateHold && !$0.certificate.isDeleted }
        let compromises: Set<CRLReason> = [.keyCompromise, .cACompromise, .aACompromise]
        if targets.isEmpty, self.rules.release == .any, !compromises.contains(reason), !newest.certificate.isDeleted { targets = [newest] }
        guard !targets.isEmpty else {
            throw AuthorityError.refused(
                "Request refused: \(selector.text) is revoked for \(reason.name); only certificateHold can be released")
        }
        for target in targets { try self.release(target) }
    }

    /// Releases what a CRL put on hold whose certificate is not known here.
    private mutating func release(takenOver standing: Revocation) throws {
        guard standing.reason == .certificateHold else {
            throw AuthorityError.refused(
                "Request refused: \(standing.serial.decimal) is revoked for \(standing.reason.name); only certificateHold can be released")
        }
        try self.store.removeRevocation(standing.serial)
        try self.audit(serial: standing.serial, detail: "released from \(standing.reason.name)")
        self.events.append(.forgotten(sequence: try self.nextEventSequence(), serial: standing.serial))
        self.wantsCRL = true
    }

    private mutating func release(_ target: CertificateStatus) throws {
        guard let revocation = target.revocation else { return }
        let certificate = target.certificate
        try self.store.removeRevocation(certificate.serial)
        if var node = self.state.nodes.values.first(where: { $0.serial == certificate.serial && $0.state == .revoked }),
            self.mayLiveAgain(node)
        {
            node.state = .live
            try self.store.update(node)
            self.state.set(node)
        }
        try self.audit(target: certificate.subject, serial: certificate.serial, detail: "released from \(revocation.reason.name)")
        self.events.append(.status(sequence: try self.nextEventSequence(), serial: certificate.serial, revocation: nil))
        self.wantsCRL = true
    }

    /// A node that was on hold lives again unless its place was taken meanwhile.
    private func mayLiveAgain(_ node: Node) -> Bool {
        if self.state.node(commonName: node.commonName) != nil { return false }
        guard let binding = node.binding else { return true }
        return self.state.node(bound: binding) == nil
    }

    /// Revokes as cessationOfOperation, takes node and key file away; history and CRL entry stay.
    public mutating func delete(_ selector: Selector, in authority: Authority) throws {
        let found = try self.store.certificates(selector, for: self.actor)
        let node = self.deletableNode(selector, certificates: found)
        guard !found.isEmpty || node != nil else { throw AuthorityError(.certificateNotFound, selector.text) }
        for entry in found {
            if entry.isLive(at: self.now) || entry.revocation?.reason == .certificateHold {
                try self.revoke(entry, reason: .cessationOfOperation)
            }
            try self.store.markDeleted(entry.certificate.serial)
            try self.audit(target: entry.certificate.subject, serial: entry.certificate.serial, detail: "taken out of the inventory")
        }
        if let node { try self.end(node) }
        for commonName in Set(found.filter(\.certificate.keyIsKept).map(\.certificate.commonName)).sorted() {
            if try !self.store.needsKey(commonName) { try self.stage(.removeKey(commonName: commonName), in: authority) }
        }
    }

    private func deletableNode(_ selector: Selector, certificates: [CertificateStatus]) -> Node? {
        for entry in certificates {
            if let node = self.state.nodes.values.first(where: { $0.serial == entry.certificate.serial && $0.state != .deleted }) {
                return node
            }
        }
        guard case .serial = selector else {
            guard let commonName = selector.commonName, let node = self.state.node(commonName: commonName), node.serial == nil else {
                return nil
            }
            if case .name(let name) = selector, PKI.DistinguishedName.parse(node.subject) != name { return nil }
            return node
        }
        return nil
    }

    /// Ends a node: its binding and name are free again.
    mutating func end(_ node: Node) throws {
        // `revoke` may have changed it within this commit.
        var node = self.state.nodes[node.id] ?? node
        node.state = .deleted
        try self.store.update(node)
        self.state.set(node)
        try self.audit(target: node.commonName, serial: node.serial, detail: "node ended")
    }
}

extension StoreReader {
    /// The serial numbers that `revoke` means, newest first; all are this actor's.
    func revocationTargets(_ selector: Selector, reason: CRLReason, for actor: Actor, now: UnixTime) throws -> [SerialNumber] {
        guard reason != .removeFromCRL else {
            throw AuthorityError(
                .invalidParameter, "Invalid reason parameter: removeFromCRL is no reason to revoke (RFC 5280 5.3.1); use unrevoke")
        }
        var newest: SerialNumber?
        var targets: [SerialNumber] = []
        try self.forEachCertificate(selector, for: actor) { status in
            if newest == nil { newest = status.certificate.serial }
            if status.isLiveOrHeld(at: now) { targets.append(status.certificate.serial) }
            guard targets.count <= 1_000 else {
                throw AuthorityError.refused(
                    "Request refused: more than 1000 live certificates of this name; revoke by serial (list_nodes shows them)")
            }
            return true
        }
        guard let newest else {
            if case .serial(let serial) = selector, try self.takenOverRevocation(serial, for: actor) != nil { return [serial] }
            throw AuthorityError(.certificateNotFound, selector.text)
        }
        if reason == .superseded, targets.count > 1 { targets.removeFirst() }
        // With nothing live left, the newest is meant: a repeat or an expired one.
        return targets.isEmpty ? [newest] : targets
    }
}

extension StoreReader {
    /// A revocation that came from a CRL, of a certificate that is not in this store: an admin may change it, nobody else can mean it.
    func takenOverRevocation(_ serial: SerialNumber, for actor: Actor) throws -> Revocation? {
        guard actor.isAdmin, let revocation = try self.revocation(serial), try self.certificate(serial) == nil else { return nil }
        return revocation
    }

    /// Whether a certificate of this name is in the inventory whose key is kept.
    fileprivate func needsKey(_ commonName: String) throws -> Bool {
        var isNeeded = false
        try self.forEachCertificate(commonName: commonName) { status in
            isNeeded = status.certificate.keyIsKept && !status.certificate.isDeleted
            return !isNeeded
        }
        return isNeeded
    }
}

extension Revocation {
    /// Whether one for `reason` replaces this one: a hold can be made final, keyCompromise replaces a weaker reason, all else stays.
    func yields(to reason: CRLReason) -> Bool {
        self.reason == .certificateHold ? reason != .certificateHold : reason == .keyCompromise && self.reason != .keyCompromise
    }
}

extension Authority {
    /// The serial numbers that `revoke` means for this actor.
    public func revocationTargets(_ selector: Selector, reason: CRLReason, actor: Actor) throws -> [SerialNumber] {
        try self.store.read { try $0.revocationTargets(selector, reason: reason, for: actor, now: self.clock.now) }
    }

    /// Reads a reason as clients send it: a name of RFC 5280, or its code as number or digits.
    public static func reason(name: String) throws -> CRLReason {
        if let code = Int(name) {
            guard let reason = UInt8(exactly: code).flatMap({ CRLReason(rawValue: $0) }) else {
                throw AuthorityError(.invalidParameter, "Invalid reason parameter: \(code) is no code of RFC 5280 5.3.1")
            }
            return reason
        }
        guard let reason = CRLReason.allCases.first(where: { $0.name.lowercased() == name.lowercased() }) else {
            throw AuthorityError(
                .invalidParameter, "Invalid reason parameter: \(name) is none of \(CRLReason.allCases.map(\.name).joined(separator: ", "))")
        }
        return reason
    }
}
