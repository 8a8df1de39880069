// Renewing in the writer: what may have changed since the worker looked is looked at again.

public import PKI

extension Commit {
    /// Records a renewal.
    ///
    /// - Parameter revokesOld: whether the old certificate is revoked as superseded instead of living on until it expires.
    public mutating func renew(_ old: SerialNumber, by prepared: PreparedCertificate, revokesOld: Bool, in authority: Authority) throws {
        guard let certificate = try self.store.certificate(old) else { throw AuthorityError(.certificateNotFound, old.decimal) }
        let status = CertificateStatus(certificate: certificate, revocation: try self.store.revocation(old))
        guard status.revocation == nil, !certificate.isDeleted else { throw AuthorityError(.nodeIsRevoked, certificate.subject) }
        if prepared.needs >= .admin, !self.actor.isAdmin, self.actor.node?.serial != old {
            throw AuthorityError(.notAuthorised, "\(self.context.task) needs \(Role.admin.text) for the profile \(certificate.profile)")
        }
        try self.insert(prepared, in: authority, detail: "renews \(old.hexadecimal)")
        try self.follow(renewalOf: old, by: prepared)
        if certificate.keyIsKept {
            try self.stage(.storeCertificate(commonName: prepared.record.commonName, certificatePEM: prepared.pem), in: authority)
        }
        if revokesOld { try self.revoke(status, reason: .superseded) }
    }
}
