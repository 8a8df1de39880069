// All tasks, in one table.

public import Authority
import PKI
public import UPKIProtocol

/// The table of all tasks.
public enum TaskTable {
    public static let all: [Task] =
        [
            // What anyone may ask.
            .getCA, .getCRL, .ocspCheck, .listProfiles, .getProfile,
            // What nodes do.
            .generateCRL, .sign, .generate, .register, .renew, .revoke, .view, .listNodes, .getNode, .listAdmins,
            // What admins do.
            .unrevoke, .delete, .addAdmin, .removeAdmin, .addProfile, .updateProfile, .removeProfile,
            // ACME records of nodes.
            .acmeSyncAccount, .acmeGetAccount, .acmeListAccounts, .acmeDeactivateAccount, .acmeSyncOrder, .acmeGetOrder, .acmeListOrders,
            .acmeSyncAuthorization, .acmeGetAuthorization, .acmeDeactivateAuthorization, .acmeIssueCertificate, .acmeGetCertificate,
            .acmeRevokeCertificate,
            // Port 5001.
            .registerNode, .registrationStatus, .window,
            // The relays themselves, and the way to them.
            .relay, .transport,
            // The OCSP bridge.
            .statuses, .responderCertificate, .publication, .publishedCRL,
            // The operator on the CA's host.
            .transportRotate, .transportFinish, .transportAbort,
            .status, .reload, .openRegistration, .closeRegistration, .tokens, .revokeToken, .rotateToken, .nodes, .node, .addNode,
            .limitNode,
            .rebindNode, .renewNode, .removeNode, .audit, .verifyAudit, .verifySeed, .showCRL,
            .acceptClock, .metrics, .doctor,
            .compareCheckpoints, .auditCheckpoint, .acknowledgeAudit,
            .importCRL, .adoptCertificate,
        ]

    private static let byChannel: [Caller.Channel: [String: Task]] = {
        var table: [Caller.Channel: [String: Task]] = [:]
        for task in Self.all { for channel in task.channels { table[channel, default: [:]][task.name] = task } }
        return table
    }()

    /// The task of this name on this socket.
    ///
    /// - Throws: `Refusal` with `Unknown task: …`.
    public static func task(_ name: String, on channel: Caller.Channel) throws(Refusal) -> Task {
        guard let task = self.byChannel[channel]?[name] else { throw Refusal(.unknownTask, "Unknown task: \(name.prefix(100))") }
        return task
    }
}

extension Task {
    /// Takes the request up: checks the role, reads the parameters, does what a worker can do.
    ///
    /// - Throws: `AuthorityError` or `Refusal`.
    public func start(_ request: Request, context: RequestContext, services: Services) throws -> Step {
        let actor = services.authority.actor(context.caller)
        var request = request
        if self.isRemote, context.caller.channel == .front {
            // An address is no proof for this, be it loopback's.
            guard case .curve = context.caller.proof, actor.isAdmin else {
                throw AuthorityError(.notAuthorised, "\(self.name) needs a listed admin over CURVE (ca-ctl --identity)")
            }
            request = try self.open(request, of: actor, services.authority)
        } else {
            guard actor.role >= self.role else { throw AuthorityError(.notAuthorised, "\(self.name) needs \(self.role.text)") }
        }
        return try self.run(Call(context: context, parameters: request.parameters, actor: actor, services: services))
    }

    /// What an admin on another host has signed: the front, which says whose key asked, can be taken over, and must not administer.
    private func open(_ request: Request, of actor: Actor, _ authority: Authority) throws -> Request {
        guard let text = try request.parameters.optionalString("signed"), let encoded = try request.parameters.optionalString("signature")
        else {
            throw AuthorityError(.notAuthorised, "\(self.name) needs a request that the admin's key has signed (ca-ctl --identity)")
        }
        let signed = try SignedRequest(text: text)
        guard signed.task == self.name, let signature = Base64.decode(encoded.utf8) else {
            throw AuthorityError(.notAuthorised, "\(self.name) was not taken: what was signed is another task")
        }
        try authority.checkSigned(
            text, signature: signature, time: signed.time, nonce: signed.nonce, authority: signed.authority, by: actor, task: self.name)
        return Request(task: self.name, parameters: signed.parameters)
    }
}
