// The acme_* tasks: records that an RA keeps here, and issuing under their rules (RFC 8555).

import Authority
import PKI
import UPKIProtocol
import X509

extension Task {
    // MARK: Accounts

    static let acmeSyncAccount = Task("acme_sync_account", role: .node, changes: true) { call in
        let parameters = call.parameters
        guard let jwk = parameters["jwk"] else { throw Refusal(.missingParameter, "Missing jwk parameter") }
        guard case .object = jwk else { throw Parameters.wrong("jwk", "is an object") }
        let account = AcmeAccount(
            id: try parameters.identifier("account_id"), node: NodeID(0), jwk: jwk.text,
            contact: JSON.array(try parameters.list("contact", atMost: 100)).text,
            status: try parameters.status(of: AcmeStatus.account, else: "valid"), createdAt: try parameters.shortText("created_at") ?? "")
        return call.change(needs: .node) { commit in
            var account = account
            account.node = try commit.owner()
            try commit.set(account)
            return true
        }
    }

    static let acmeGetAccount = Task("acme_get_account", role: .node) { call in
        let id = try call.parameters.string("account_id")
        guard let account = try call.authority.store.read({ try $0.acmeAccount(id, node: try call.ownNode()) }) else {
            throw Refusal(.notFound, "Account not found: \(id)")
        }
        return .answer(account.json)
    }

    static let acmeListAccounts = Task("acme_list_accounts", role: .node) { call in
        let node = try call.ownNode()
        return .elsewhere(.lister) {
            .answer(.array(try call.authority.store.read { try $0.acmeAccounts(node: node) }.map(\.json)))
        }
    }

    static let acmeDeactivateAccount = Task("acme_deactivate_account", role: .node, changes: true) { call in
        let id = try call.parameters.string("account_id")
        return call.change(needs: .node) { commit in
            try commit.deactivateAccount(id)
            return true
        }
    }

    // MARK: Orders

    static let acmeSyncOrder = Task("acme_sync_order", role: .node, changes: true) { call in
        let parameters = call.parameters
        let order = AcmeOrder(
            id: try parameters.identifier("order_id"), node: NodeID(0), accountID: try parameters.identifier("account_id"),
            identifiers: try parameters.identifiers(), status: try parameters.status(of: AcmeStatus.order, else: "pending"),
            notBefore: try parameters.shortText("not_before"), notAfter: try parameters.shortText("not_after"), serial: nil)
        return call.change(needs: .node) { commit in
            var order = order
            order.node = try commit.owner()
            try commit.set(order)
            return true
        }
    }

    static let acmeGetOrder = Task("acme_get_order", role: .node) { call in
        let id = try call.parameters.string("order_id")
        let (order, certificate) = try call.order(id)
        return .answer(order.json(certificate))
    }

    static let acmeListOrders = Task("acme_list_orders", role: .node) { call in
        let account = try call.parameters.string("account_id")
        let node = try call.ownNode()
        return .elsewhere(.lister) {
            .answer(
                .array(
                    try call.authority.store.read { reader in
                        try reader.acmeOrders(account: account, node: node).map { order in
                            order.json(try order.serial.flatMap { try reader.certificate($0) })
                        }
                    }))
        }
    }

    // MARK: Authorizations

    static let acmeSyncAuthorization = Task("acme_sync_authorization", role: .node, changes: true) { call in
        let parameters = call.parameters
        let identifier = AcmeIdentifier(type: try parameters.string("identifier_type"), value: try parameters.string("identifier_value"))
        try identifier.check()
        let authorization = AcmeAuthorization(
            id: try parameters.identifier("auth_id"), node: NodeID(0), orderID: try parameters.identifier("order_id"),
            identifier: identifier,
            status: try parameters.status(of: AcmeStatus.authorization, else: "pending"))
        return call.change(needs: .node) { commit in
            var authorization = authorization
            authorization.node = try commit.owner()
            try commit.set(authorization)
            return true
        }
    }

    static let acmeGetAuthorization = Task("acme_get_authorization", role: .node) { call in
        let id = try call.parameters.string("auth_id")
        guard let authorization = try call.authority.store.read({ try $0.acmeAuthorization(id, node: try call.ownNode()) }) else {
            throw Refusal(.notFound, "Authorization not found: \(id)")
        }
        return .answer(authorization.json)
    }

    static let acmeDeactivateAuthorization = Task("acme_deactivate_authorization", role: .node, changes: true) { call in
        let id = try call.parameters.string("auth_id")
        return call.change(needs: .node) { commit in
            try commit.deactivateAuthorization(id)
            return true
        }
    }

    // MARK: Certificates

    static let acmeIssueCertificate = Task("acme_issue_certificate", role: .node, changes: true) { call in
        let order = try call.parameters.string("order_id")
        let prepared = try call.authority.prepareAcmeIssuing(
            order: order, csr: try call.parameters.string("csr"), profile: try call.parameters.profileName(), actor: call.actor)
        let authority = call.authority
        return call.change(needs: .node) { commit in
            try commit.recordAcme(prepared, order: order, in: authority)
            return Describe.issued(prepared)
        }
    }

    static let acmeGetCertificate = Task("acme_get_certificate", role: .node) { call in
        let id = try call.parameters.string("cert_id")
        var orderID = ""
        let serial: SerialNumber
        if let order = try call.authority.store.read({ try $0.acmeOrder(id, node: try call.ownNode()) }) {
            guard let issued = order.serial else { throw AuthorityError(.certificateNotFound, id) }
            orderID = order.id
            serial = issued
        } else if let number = SerialNumber(text: id) {
            serial = number
        } else {
            throw AuthorityError(.certificateNotFound, id)
        }
        let certificate = try call.authority.find(.serial(serial), actor: call.actor).certificate
        return .answer(
            [
                ("certificate", .string(PEM.encode(certificate.der, label: "CERTIFICATE"))), ("serial", .string(serial.decimal)),
                ("order_id", .string(orderID)), ("not_before", .string(certificate.notBefore.rfc3339)),
                ("not_after", .string(certificate.notAfter.rfc3339)),
            ].json)
    }

    static let acmeRevokeCertificate = Task("acme_revoke_certificate", role: .node, changes: true) { call in
        let pem = try call.parameters.string("certificate")
        guard let der = PEM.decodeFirst(pem, labels: ["CERTIFICATE"]), let certificate = try? Certificate(derEncoded: der),
            let serial = SerialNumber(bytes: certificate.serialNumber.bytes)
        else { throw Parameters.wrong("certificate", "is a certificate in PEM") }
        let reason = try call.parameters.reason()
        guard try call.authority.standing(serial).certificate?.der == der else {
            throw AuthorityError(.certificateNotFound, serial.decimal)
        }
        return call.change(needs: .node, isVital: true) { commit in
            try commit.revoke(.serial(serial), reason: reason)
            return true
        }
    }
}

extension Call {
    fileprivate func ownNode() throws -> NodeID {
        guard let node = self.actor.node else { throw AuthorityError(.notAuthorised, "\(self.task) needs \(Role.node.text)") }
        return node.id
    }

    fileprivate func order(_ id: String) throws -> (AcmeOrder, CertificateRecord?) {
        try self.authority.store.read { reader in
            guard let order = try reader.acmeOrder(id, node: try self.ownNode()) else { throw Refusal(.notFound, "Order not found: \(id)") }
            return (order, try order.serial.flatMap { try reader.certificate($0) })
        }
    }
}

extension Parameters {
    /// An id of a client's own making: 1 to 256 bytes of text without control characters.
    fileprivate func identifier(_ name: String) throws -> String {
        guard let text = try self.shortText(name) else { throw Refusal(.missingParameter, "Missing \(name) parameter") }
        return text
    }

    /// Text of at most 256 bytes without control characters, or nil where the parameter is absent, null or empty.
    fileprivate func shortText(_ name: String) throws -> String? {
        guard let text = try self.optionalString(name) else { return nil }
        guard text.utf8.count <= 256, text.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7f }) else {
            throw Self.wrong(name, "has at most 256 bytes and no control characters")
        }
        return text
    }

    fileprivate func status(of allowed: Set<String>, else fallback: String) throws -> String {
        let status = try self.optionalString("status") ?? fallback
        guard allowed.contains(status) else { throw Self.wrong("status", "is one of \(allowed.sorted().joined(separator: ", "))") }
        return status
    }

    fileprivate func identifiers() throws -> [AcmeIdentifier] {
        guard self["identifiers"] != nil else { throw Refusal(.missingParameter, "Missing identifiers parameter") }
        let identifiers = try self.list("identifiers", atMost: 100).map { element -> AcmeIdentifier in
            let identifier: AcmeIdentifier
            if let text = element.stringValue {
                identifier = AcmeIdentifier(type: "dns", value: text)
            } else if let type = element["type"]?.stringValue, let value = element["value"]?.stringValue {
                identifier = AcmeIdentifier(type: type, value: value)
            } else {
                throw Self.wrong("identifiers", "is a list of objects with type and value")
            }
            try identifier.check()
            return identifier
        }
        guard !identifiers.isEmpty else { throw Self.wrong("identifiers", "has at least one entry") }
        return identifiers
    }
}

extension AcmeIdentifier {
    /// - Throws: `Refusal` unless it is a host name or an address.
    fileprivate func check() throws {
        guard let name = self.name, name.fault == nil else { throw Parameters.wrong("identifiers", "names hosts (dns) or addresses (ip)") }
    }

    fileprivate var json: JSON { [("type", .string(self.type)), ("value", .string(self.value))].json }
}

extension AcmeAccount {
    fileprivate var json: JSON {
        [
            ("id", .string(self.id)), ("jwk", (try? JSON(parsing: Array(self.jwk.utf8))) ?? .null),
            ("contact", (try? JSON(parsing: Array(self.contact.utf8))) ?? .array([])), ("status", .string(self.status)),
            ("created_at", .string(self.createdAt)),
        ].json
    }
}

extension AcmeOrder {
    fileprivate func json(_ certificate: CertificateRecord?) -> JSON {
        [
            ("id", .string(self.id)), ("account_id", .string(self.accountID)), ("identifiers", .array(self.identifiers.map(\.json))),
            ("status", .string(self.status)), ("not_before", self.notBefore.map { .string($0) } ?? .null),
            ("not_after", self.notAfter.map { .string($0) } ?? .null),
            ("certificate", certificate.map { .string(PEM.encode($0.der, label: "CERTIFICATE")) } ?? .null),
        ].json
    }
}

extension AcmeAuthorization {
    fileprivate var json: JSON {
        [
            ("id", .string(self.id)), ("order_id", .string(self.orderID)), ("identifier_type", .string(self.identifier.type)),
            ("identifier_value", .string(self.identifier.value)), ("status", .string(self.status)),
        ].json
    }
}
