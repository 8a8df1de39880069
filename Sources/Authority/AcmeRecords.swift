// ACME accounts, orders and authorizations (RFC 8555 7.1) that nodes keep here, and issuing under their rules. They belong to the node that wrote them.

public import PKI

/// The statuses that RFC 8555 7.1.6 knows.
public enum AcmeStatus {
    public static let account: Set<String> = ["valid", "deactivated", "revoked"]
    public static let order: Set<String> = ["pending", "ready", "processing", "valid", "invalid"]
    public static let authorization: Set<String> = ["pending", "valid", "invalid", "deactivated", "expired", "revoked"]
}

extension Authority {
    /// A CSR under an order: a valid account, a ready order, a valid authorization for each identifier, and nothing else named.
    ///
    /// - Throws: `notFound`, `refused`, and what `prepareSigning` throws.
    public func prepareAcmeIssuing(order id: String, csr: String, profile name: String, actor: Actor) throws -> PreparedCertificate {
        let profile = try self.profile(name, for: actor, task: "acme_issue_certificate")
        let request = try SigningRequest(pem: csr)
        guard let node = actor.node else { throw AuthorityError(.notAuthorised, "acme_issue_certificate needs \(Role.node.text)") }
        try self.store.read { reader in
            try reader.checkAcme(names: request.names, commonName: request.commonName, order: try reader.readyOrder(id, node: node.id))
        }
        return try self.prepareSigning(request, profile: profile, actor: actor)
    }
}

extension StoreReader {
    /// What a certificate under an order names is in the order, and each identifier of it is authorized.
    func checkAcme(names: [AlternativeName], commonName: String?, order: AcmeOrder) throws {
        let authorizations = try self.acmeAuthorizations(order: order.id, node: order.node)
        var allowed: Set<AlternativeName> = []
        for identifier in order.identifiers {
            guard let name = identifier.name else {
                throw AuthorityError.refused("Request refused: the order has an identifier that is neither dns nor ip")
            }
            // RFC 8555 7.1.3: the authorization of `*.example.org` names `example.org`.
            let base = identifier.value.hasPrefix("*.") ? String(identifier.value.dropFirst(2)) : identifier.value
            let isAuthorized = authorizations.contains {
                $0.status == "valid" && $0.identifier.type.lowercased() == identifier.type.lowercased()
                    && (HostName.folded($0.identifier.value) == HostName.folded(identifier.value)
                        || HostName.folded($0.identifier.value) == HostName.folded(base))
            }
            guard isAuthorized else { throw AuthorityError.refused("Request refused: no valid authorization for \(identifier.value)") }
            allowed.insert(name)
        }
        for name in names where !allowed.contains(name) {
            throw AuthorityError.refused("Request refused: the order does not name \(name.value)")
        }
        if let commonName, !allowed.contains(AlternativeName(looking: commonName)) {
            throw AuthorityError.refused("Request refused: the order does not name \(commonName)")
        }
        guard !names.isEmpty || commonName != nil else { throw AuthorityError.refused("Request refused: the CSR names nothing") }
    }

    func readyOrder(_ id: String, node: NodeID) throws -> AcmeOrder {
        guard let order = try self.acmeOrder(id, node: node) else { throw AuthorityError(.notFound, "Order not found: \(id)") }
        guard let account = try self.acmeAccount(order.accountID, node: node) else {
            throw AuthorityError(.notFound, "Account not found: \(order.accountID)")
        }
        guard account.status == "valid" else { throw AuthorityError.refused("Request refused: the account is \(account.status)") }
        guard order.serial == nil else { throw AuthorityError.refused("Request refused: the order has its certificate already") }
        guard order.status == "ready" else { throw AuthorityError.refused("Request refused: the order is \(order.status), not ready") }
        return order
    }
}

extension Commit {
    /// Records a certificate and that its order is fulfilled.
    public mutating func recordAcme(_ prepared: PreparedCertificate, order id: String, in authority: Authority) throws {
        guard let node = self.actor.node else { throw AuthorityError(.notAuthorised, "\(self.context.task) needs \(Role.node.text)") }
        var order = try self.store.readyOrder(id, node: node.id)
        try self.store.checkAcme(
            names: prepared.names, commonName: prepared.record.commonName.isEmpty ? nil : prepared.record.commonName, order: order)
        try self.record(prepared, in: authority, detail: "order \(id)")
        order.status = "valid"
        order.serial = prepared.record.serial
        try self.store.set(order)
    }

    /// The node that records belong to.
    public func owner() throws -> NodeID {
        guard let node = self.actor.node else { throw AuthorityError(.notAuthorised, "\(self.context.task) needs \(Role.node.text)") }
        return node.id
    }

    public mutating func set(_ account: AcmeAccount) throws {
        try self.store.set(account)
        try self.audit(target: "account \(account.id)", detail: "status \(account.status)")
    }

    public mutating func set(_ order: AcmeOrder) throws {
        guard try self.store.acmeAccount(order.accountID, node: order.node) != nil else {
            throw AuthorityError(.notFound, "Account not found: \(order.accountID)")
        }
        var order = order
        // What this CA issued under the order is not for the client to forget.
        order.serial = try self.store.acmeOrder(order.id, node: order.node)?.serial
        try self.store.set(order)
        try self.audit(target: "order \(order.id)", detail: "status \(order.status)")
    }

    public mutating func set(_ authorization: AcmeAuthorization) throws {
        guard try self.store.acmeOrder(authorization.orderID, node: authorization.node) != nil else {
            throw AuthorityError(.notFound, "Order not found: \(authorization.orderID)")
        }
        try self.store.set(authorization)
        try self.audit(target: "authorization \(authorization.id)", detail: "\(authorization.identifier.value) is \(authorization.status)")
    }

    public mutating func deactivateAccount(_ id: String) throws {
        guard var account = try self.store.acmeAccount(id, node: try self.owner()) else {
            throw AuthorityError(.notFound, "Account not found: \(id)")
        }
        account.status = "deactivated"
        try self.set(account)
    }

    public mutating func deactivateAuthorization(_ id: String) throws {
        guard var authorization = try self.store.acmeAuthorization(id, node: try self.owner()) else {
            throw AuthorityError(.notFound, "Authorization not found: \(id)")
        }
        authorization.status = "deactivated"
        try self.set(authorization)
    }
}
