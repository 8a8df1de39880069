// Issuing: a worker checks, builds and signs; the writer checks again what may have changed and records it.

public import PKI
import SwiftASN1
import X509

/// A certificate that is signed and not yet recorded; it leaves the process only after its commit.
public struct PreparedCertificate: Sendable {
    public let record: CertificateRecord
    let commonNameHash: Int64
    /// The subject, for names that only their owner may have.
    let subject: PKI.DistinguishedName
    /// The alternative names, for limits that may have changed and for ACME orders.
    let names: [AlternativeName]
    let keyHash: [UInt8]
    /// What the caller must still be when it is recorded, besides what the task needs.
    let needs: Role
    /// Whether another live certificate of the same name refuses this one.
    let mustBeNew: Bool
    /// The key that the CA made and is to keep.
    let keptKey: [UInt8]?

    /// The certificate as PEM.
    public var pem: String { PEM.encode(self.record.der, label: "CERTIFICATE") }
}

/// What is asked of `generate`, `register` and `ca-ctl cert issue`.
public struct NamedRequest: Sendable {
    public var commonName: String
    public var profile: String
    public var names: [AlternativeName]
    public var days: Int?

    public init(commonName: String, profile: String, names: [AlternativeName], days: Int? = nil) {
        self.commonName = commonName
        self.profile = profile
        self.names = names
        self.days = days
    }
}

extension Authority {
    /// The profiles that only an admin may have issued.
    static let privilegedProfiles: Set<String> = ["ca", "ra", "admin"]

    /// Checks a CSR and signs a certificate for it.
    ///
    /// - Parameters:
    ///   - csr: PEM.
    ///   - days: a life in days; nil for the profile's.
    /// - Throws: `profileNotFound`, `csr`, `refused`, `notAuthorised`.
    public func prepareSigning(csr: String, profile name: String, days: Int?, actor: Actor, task: String) throws -> PreparedCertificate {
        let profile = try self.profile(name, for: actor, task: task)
        let request = try SigningRequest(pem: csr)
        return try self.prepare(
            commonName: request.commonName, names: request.names, key: request.key, profile: profile, days: days, actor: actor,
            owner: actor.nodeID)
    }

    /// As `prepareSigning`, for a CSR that names exactly what the caller allows (ACME).
    func prepareSigning(
        _ request: SigningRequest, profile: CertificateProfile, actor: Actor
    ) throws -> PreparedCertificate {
        try self.prepare(
            commonName: request.commonName, names: request.names, key: request.key, profile: profile, days: nil, actor: actor,
            owner: actor.nodeID)
    }

    /// Signs a certificate for a key that the CA made.
    ///
    /// - Parameter keepsKey: whether the key goes into the node's folder, so that no live certificate of that name may exist.
    public func prepareGenerating(_ request: NamedRequest, key pair: SubjectKeyPair, keepsKey: Bool, actor: Actor, task: String) throws
        -> PreparedCertificate
    {
        let profile = try self.profile(request.profile, for: actor, task: task)
        let prepared = try self.prepare(
            commonName: request.commonName, names: request.names,
            key: try SubjectPublicKey(subjectPublicKeyInfo: pair.subjectPublicKeyInfo),
            profile: profile, days: request.days, actor: actor, owner: actor.nodeID, mustBeNew: true,
            keptKey: keepsKey ? pair.privateKeyPEM : nil)
        try self.store.read { try $0.checkNew(prepared, now: self.clock.now) }
        return prepared
    }

    /// Checks everything about a named request that does not need its key: so that no key is made for a request that is refused.
    public func checkGenerating(_ request: NamedRequest, actor: Actor, task: String) throws -> CertificateProfile {
        let profile = try self.profile(request.profile, for: actor, task: task)
        _ = try self.content(commonName: request.commonName, names: request.names, profile: profile, actor: actor)
        _ = try self.days(request.days, of: profile)
        return profile
    }

    /// Signs a node's own certificate; its owner is known only when the node is recorded.
    func prepareForNode(
        commonName: String, names: [AlternativeName], key: SubjectPublicKey, profile: CertificateProfile, actor: Actor
    ) throws -> PreparedCertificate {
        try self.prepare(commonName: commonName, names: names, key: key, profile: profile, days: nil, actor: actor, owner: nil)
    }

    /// Looks the profile up and checks that the actor may have it issued.
    func profile(_ name: String, for actor: Actor, task: String) throws -> CertificateProfile {
        let profile = try self.state.profile(name)
        if Self.privilegedProfiles.contains(profile.name) || profile.isAuthority, !actor.isAdmin {
            throw AuthorityError(.notAuthorised, "\(task) needs \(Role.admin.text) for the profile \(profile.name)")
        }
        if let allowed = actor.node?.profiles, !actor.isAdmin, !allowed.contains(profile.name) {
            throw AuthorityError(.notAuthorised, "\(task) needs a node that may ask for the profile \(profile.name) (ca-ctl node limit)")
        }
        // A Registration Authority signs for people whom it may not know: CA certificates only where the operator named the profile for it.
        guard !profile.isAuthority || !actor.signsForOthers(task) || actor.node?.profiles?.contains(profile.name) ?? false else {
            throw AuthorityError(
                .notAuthorised,
                "\(task) needs the operator (ca-ctl) for the profile \(profile.name), since a Registration Authority signs for others; or: ca-ctl node limit \(actor.node?.commonName ?? "") --profiles \(profile.name),…"
            )
        }
        return profile
    }

    func days(_ requested: Int?, of profile: CertificateProfile) throws -> Int {
        guard let days = profile.days(requested: requested) else {
            throw AuthorityError(
                .invalidParameter, "Invalid duration parameter: the profile \(profile.name) allows 1 to \(profile.longestDuration) days")
        }
        return days
    }

    /// The subject and the alternative names that a request comes to under a profile.
    private func content(
        commonName given: String?, names given2: [AlternativeName], profile: CertificateProfile, actor: Actor
    ) throws -> (subject: PKI.DistinguishedName, commonName: String?, names: [AlternativeName]) {
        let rules = NameRules(profile: profile, rules: self.rules, actor: actor)
        guard profile.altnames || given2.isEmpty else {
            throw AuthorityError.refused("Request refused: the profile \(profile.name) takes no alternative names")
        }
        try rules.check(given2)
        var names: [AlternativeName] = []
        for name in given2 where !names.contains(name) { names.append(name) }
        var commonName = given ?? profile.subject.last { $0.type == .commonName && !$0.value.isEmpty }?.value
        if commonName == nil {
            // RFC 8555 clients send no CN; the RA finds certificates by it.
            for case .dns(let host) in names where host.utf8.count <= 64 {
                commonName = host
                break
            }
        }
        guard let commonName else {
            guard !names.isEmpty else {
                throw AuthorityError.refused("Request refused: the CSR names nothing: it has neither a CN nor alternative names")
            }
            return (PKI.DistinguishedName([]), nil, names)
        }
        try rules.check(commonName: commonName)
        if profile.altnames, !profile.isAuthority {
            if profile.certType == .server, HostName.isHostName(commonName) {
                let name = AlternativeName.dns(HostName.folded(commonName))
                if !names.contains(name) { names.insert(name, at: 0) }
            } else if profile.extendedKeyUsage.contains(.emailProtection), AlternativeName.email(commonName).fault == nil {
                let name = AlternativeName.email(commonName)
                if !names.contains(name) { names.insert(name, at: 0) }
            }
        }
        let attributes = profile.subject.filter { $0.type != .commonName }.compactMap { attribute in
            AttributeType(name: attribute.type.rawValue).map { PKI.DistinguishedName.Attribute($0, attribute.value) }
        }
        return (PKI.DistinguishedName(attributes + [.init(.commonName, commonName)]), commonName, names)
    }

    private func prepare(
        commonName given: String?, names: [AlternativeName], key: SubjectPublicKey, profile: CertificateProfile, days: Int?, actor: Actor,
        owner: NodeID?, mustBeNew: Bool = false, keptKey: [UInt8]? = nil
    ) throws -> PreparedCertificate {
        guard profile.allows(curve: key.curve, rsaBits: key.rsaBits) else {
            throw AuthorityError.refused("Request refused: the profile \(profile.name) does not allow this kind of key")
        }
        let (subject, commonName, names) = try self.content(commonName: given, names: names, profile: profile, actor: actor)
        let now = self.clock.now
        let end = min(now.advanced(byDays: try self.days(days, of: profile)), self.issuer.notAfter)
        return try self.sign(
            subject: subject, x509Subject: try subject.x509(), commonName: commonName, names: names, key: key, profile: profile,
            notAfter: end,
            now: now, owner: owner, mustBeNew: mustBeNew, keptKey: keptKey, keyIsKept: keptKey != nil)
    }

    private func sign(
        subject: PKI.DistinguishedName, x509Subject: X509.DistinguishedName, commonName: String?, names: [AlternativeName],
        key: SubjectPublicKey,
        profile: CertificateProfile, notAfter: UnixTime, now: UnixTime, owner: NodeID?, mustBeNew: Bool, keptKey: [UInt8]?, keyIsKept: Bool
    ) throws -> PreparedCertificate {
        try self.state.checkClock(now)
        try self.issuer.checkValidity(now)
        guard subject != self.issuer.name else { throw AuthorityError.refused("Request refused: the subject is the CA's own name") }
        guard key.hash != self.issuer.keyHash else { throw AuthorityError.refused("Request refused: the key is the CA's own") }
        let notBefore = max(now.advanced(bySeconds: -self.rules.backdating), self.issuer.notBefore)
        let content = CertificateContent(
            subject: x509Subject, subjectIsEmpty: subject.isEmpty, publicKey: key.publicKey, keyIdentifier: key.identifier,
            family: key.family, names: names, notBefore: notBefore,
            notAfter: notAfter)
        let serial = self.nextSerial(now)
        let der = try self.issuer.sign(content, serial: serial, profile: profile, extensions: try self.extensions(for: profile))
        let record = CertificateRecord(
            serial: serial, subject: subject.isEmpty ? "" : subject.slashNotation, commonName: commonName ?? "", profile: profile.name,
            node: owner,
            notBefore: notBefore, notAfter: notAfter, issuedAt: now, keyIsKept: keyIsKept, der: der)
        return PreparedCertificate(
            record: record, commonNameHash: CommonNameHash.of(commonName ?? ""), subject: subject, names: names, keyHash: key.hash,
            needs: Self.privilegedProfiles.contains(profile.name) || profile.isAuthority ? .admin : .node, mustBeNew: mustBeNew,
            keptKey: keptKey)
    }

    // MARK: Renewing

    /// Signs a successor of a certificate: the same key, names and profile, a new serial number.
    ///
    /// - Parameter days: a life in days; nil for the profile's.
    public func prepareRenewal(of old: CertificateRecord, days: Int?, actor: Actor, task: String) throws -> PreparedCertificate {
        let profile = try self.state.profile(old.profile)
        let certificate = try Self.parse(old.der)
        let key = try SubjectPublicKey(subjectPublicKeyInfo: Self.publicKeyInfo(of: certificate))
        guard profile.allows(curve: key.curve, rsaBits: key.rsaBits) else {
            throw AuthorityError.refused(
                "Request refused: the profile \(profile.name) no longer allows this kind of key; ask with a new key")
        }
        let names = try certificate.extensions.subjectAlternativeNames?.compactMap { AlternativeName($0) } ?? []
        // A renewal is a new issuance: names that were blocked or limited since are refused.
        try NameRules(profile: profile, rules: self.rules, actor: actor).check(names: names, recordedCommonName: old.commonName)
        let now = self.clock.now
        let end = min(now.advanced(byDays: try self.days(days, of: profile)), self.issuer.notAfter)
        return try self.sign(
            subject: PKI.DistinguishedName(certificate.subject), x509Subject: certificate.subject,
            commonName: old.commonName.isEmpty ? nil : old.commonName,
            names: names, key: key, profile: profile, notAfter: end, now: now, owner: old.node, mustBeNew: false, keptKey: nil,
            keyIsKept: old.keyIsKept)
    }

    static func parse(_ der: [UInt8]) throws -> Certificate {
        do { return try Certificate(derEncoded: der) } catch {
            throw AuthorityError(.storage, "a stored certificate cannot be read", cause: String(describing: error))
        }
    }

    static func publicKeyInfo(of certificate: Certificate) throws -> [UInt8] {
        var serializer = DER.Serializer()
        try serializer.serialize(certificate.publicKey)
        return serializer.serializedBytes
    }

    /// SHA-256 of the SubjectPublicKeyInfo of a certificate's key.
    static func keyHash(of der: [UInt8]) throws -> [UInt8] {
        try SubjectPublicKey.canonicalHash(self.parse(der).publicKey)
    }
}

// MARK: - In the writer

extension Commit {
    /// Records a certificate: checks again that its name is free for this actor and its key not blocked.
    ///
    /// - Parameter detail: what the audit record says beside profile and name.
    public mutating func record(_ prepared: PreparedCertificate, in authority: Authority, detail: String = "") throws {
        guard self.actor.role >= prepared.needs else {
            throw AuthorityError(
                .notAuthorised, "\(self.context.task) needs \(prepared.needs.text) for the profile \(prepared.record.profile)")
        }
        try self.insert(prepared, in: authority, detail: detail)
    }

    /// As `record`, for a node that renews its own certificate, whatever that certificate's profile.
    mutating func insert(_ prepared: PreparedCertificate, in authority: Authority, detail: String) throws {
        try self.check(prepared, in: authority)
        try self.store.insert(prepared.record, commonNameHash: prepared.commonNameHash)
        try self.audit(
            target: prepared.record.subject, serial: prepared.record.serial,
            detail: "profile \(prepared.record.profile)" + (detail.isEmpty ? "" : ", " + detail))
        if let key = prepared.keptKey {
            // On disk before the commit: a certificate whose key was lost would be acknowledged otherwise. In its folder after the
            // commit: a certificate would be there otherwise that no record knows.
            try self.stage(
                .storeKey(commonName: prepared.record.commonName, keyPEM: key, certificatePEM: prepared.pem), in: authority)
        }
    }

    /// The checks of `record`, without writing.
    mutating func check(_ prepared: PreparedCertificate, in authority: Authority) throws {
        if let allowed = self.actor.node?.profiles, !self.actor.isAdmin, !allowed.contains(prepared.record.profile) {
            throw AuthorityError(
                .notAuthorised,
                "\(self.context.task) needs a node that may ask for the profile \(prepared.record.profile) (ca-ctl node limit)")
        }
        if self.actor.node?.names != nil, let profile = self.state.profiles[prepared.record.profile] {
            try NameRules(profile: profile, rules: self.rules, actor: self.actor)
                .check(names: prepared.names, recordedCommonName: prepared.record.commonName)
        }
        if try self.store.isBlocked(keyHash: prepared.keyHash) {
            throw AuthorityError.refused("Request refused: the key was revoked for keyCompromise; make a new one")
        }
        let reservation = self.state.reservation(of: prepared.subject)
        if reservation.isReserved, !self.actor.isAdmin || self.actor.signsForOthers(self.context.task) {
            guard let owner = reservation.owner, owner == self.actor.node?.id else {
                throw AuthorityError(
                    .notAuthorised, "\(self.context.task) needs \(Role.admin.text) for the name of a node or admin: \(prepared.subject)")
            }
        }
        // A worker has looked at all of them; what came since is among the newest.
        if prepared.mustBeNew { try self.store.checkNew(prepared, now: self.now, newest: 1_000) }
    }
}

extension StoreReader {
    /// No live certificate of this name, and no key folder that would be written over.
    ///
    /// - Parameter newest: how many certificates of the CN are looked at; nil for all.
    func checkNew(_ prepared: PreparedCertificate, now: UnixTime, newest: Int? = nil) throws {
        var looked = 0
        try self.forEachCertificate(commonName: prepared.record.commonName) { status in
            // A key folder belongs to a CN, whatever the rest of the name: it may not be written over while its certificate can be used.
            let keepsFolder = prepared.keptKey != nil && status.certificate.keyIsKept && status.isLiveOrHeld(at: now)
            let isSame = status.isLive(at: now) && PKI.DistinguishedName.parse(status.certificate.subject) == prepared.subject
            if isSame { throw AuthorityError(.certificateExists, prepared.record.subject) }
            if keepsFolder { throw AuthorityError(.certificateExists, status.certificate.subject) }
            looked += 1
            return newest.map { looked < $0 } ?? true
        }
    }
}
