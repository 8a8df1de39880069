// Finding the certificates that a request means: by serial number, by distinguished name in any notation, or by common name alone.

public import PKI

/// What a request says of the certificates it means.
public enum Selector: Sendable {
    case serial(SerialNumber)
    case name(PKI.DistinguishedName)
    case commonName(String)

    /// How the request wrote it, for refusals.
    public var text: String {
        switch self {
        case .serial(let serial): serial.decimal
        case .name(let name): name.slashNotation
        case .commonName(let name): name
        }
    }

    var commonName: String? {
        switch self {
        case .serial: nil
        case .name(let name): name.commonName
        case .commonName(let name): name
        }
    }

    func matches(_ certificate: CertificateRecord) -> Bool {
        switch self {
        case .serial(let serial): certificate.serial == serial
        case .name(let name): PKI.DistinguishedName.parse(certificate.subject) == name
        case .commonName(let name): PKI.DistinguishedName.normalised(certificate.commonName) == PKI.DistinguishedName.normalised(name)
        }
    }
}

/// What OCSP has to know of a serial number; a revocation without a certificate was taken over from a CRL.
public struct Standing: Sendable {
    public let certificate: CertificateRecord?
    public let revocation: Revocation?

    public init(certificate: CertificateRecord?, revocation: Revocation?) {
        self.certificate = certificate
        self.revocation = revocation
    }
}

/// What a status says of a serial number, without the certificate itself.
public struct SerialSummary: Sendable, Equatable {
    public let commonName: String
    /// When the certificate expires; nil where none with this serial number is known here.
    public let notAfter: UnixTime?
    public let revocation: Revocation?

    public init(commonName: String, notAfter: UnixTime?, revocation: Revocation?) {
        self.commonName = commonName
        self.notAfter = notAfter
        self.revocation = revocation
    }
}

extension Standing {
    public var summary: SerialSummary {
        SerialSummary(commonName: self.certificate?.commonName ?? "", notAfter: self.certificate?.notAfter, revocation: self.revocation)
    }
}

extension StoreReader {
    /// The certificates that `selector` means, newest first, deleted ones left out unless a serial number names one.
    ///
    /// An N selects among its own alone, so that two nodes may hold certificates of one name.
    func certificates(_ selector: Selector, for actor: Actor) throws -> [CertificateStatus] {
        var found: [CertificateStatus] = []
        try self.forEachCertificate(selector, for: actor) {
            found.append($0)
            return true
        }
        return found
    }

    /// Calls `body` with each certificate that `selector` means, newest first, until it returns false.
    func forEachCertificate(_ selector: Selector, for actor: Actor, _ body: (CertificateStatus) throws -> Bool) throws {
        if case .serial(let serial) = selector {
            guard let certificate = try self.certificate(serial), actor.owns(certificate.node) || actor.node?.serial == serial else {
                return
            }
            _ = try body(CertificateStatus(certificate: certificate, revocation: try self.revocation(serial)))
            return
        }
        guard let commonName = selector.commonName else {
            throw AuthorityError(.invalidParameter, "Invalid dn parameter: a name without a CN cannot be looked up; give the serial")
        }
        try self.forEachCertificate(commonName: commonName) { status in
            let certificate = status.certificate
            let isMeant =
                !certificate.isDeleted && (actor.owns(certificate.node) || actor.node?.serial == certificate.serial)
                && selector.matches(certificate)
            return isMeant ? try body(status) : true
        }
    }

    /// Calls `body` with the certificates whose CN is `commonName`, newest first, deleted ones included, until it returns false.
    ///
    /// In pages and without an end: nobody's certificates may hide behind others of the same CN.
    func forEachCertificate(commonName: String, _ body: (CertificateStatus) throws -> Bool) throws {
        let wanted = PKI.DistinguishedName.normalised(commonName)
        var position: SerialNumber?
        while true {
            let page = try self.certificates(commonNameHash: CommonNameHash.of(commonName), before: position, limit: 500)
            for status in page where PKI.DistinguishedName.normalised(status.certificate.commonName) == wanted {
                guard try body(status) else { return }
            }
            guard page.count == 500, let last = page.last else { return }
            position = last.certificate.serial
        }
    }

    /// The one certificate that `view` and `renew` mean: the newest live one, else the newest.
    func newest(_ selector: Selector, for actor: Actor, now: UnixTime) throws -> CertificateStatus {
        var newest: CertificateStatus?
        var live: CertificateStatus?
        try self.forEachCertificate(selector, for: actor) { status in
            if newest == nil { newest = status }
            if status.isLive(at: now) { live = status }
            return live == nil
        }
        guard let chosen = live ?? newest else { throw AuthorityError(.certificateNotFound, selector.text) }
        return chosen
    }
}

extension Authority {
    /// The certificate that a selector means for this actor: the newest live one, else the newest.
    public func find(_ selector: Selector, actor: Actor) throws -> CertificateStatus {
        try self.store.read { try $0.newest(selector, for: actor, now: self.clock.now) }
    }

    /// What is known of a serial number: both parts are nil where it was never issued or revoked here.
    public func standing(_ serial: SerialNumber) throws -> Standing {
        try self.store.read { reader in Standing(certificate: try reader.certificate(serial), revocation: try reader.revocation(serial)) }
    }

    /// As `standing` of many serial numbers, from one snapshot and without the certificates; the CA's own is good too.
    public func summaries(_ serials: [SerialNumber]) throws -> [SerialSummary] {
        try self.store.read { reader in
            try serials.map { serial in
                let summary = try reader.summary(serial)
                return serial == self.issuer.ownSerial && summary.notAfter == nil ? self.issuer.summary(summary.revocation) : summary
            }
        }
    }

    /// A page of the inventory in the order of issue: an admin sees all, a node its own.
    ///
    /// - Parameter state: only certificates in this state; without it all but deleted ones.
    public func inventory(after: SerialNumber?, limit: Int, state: String?, actor: Actor) throws -> [CertificateStatus] {
        let now = self.clock.now
        let owner = actor.isAdmin ? nil : actor.node?.id ?? NodeID(-1)
        return try self.store.read { reader in
            var page: [CertificateStatus] = []
            var position = after
            while page.count < limit {
                let batch = try reader.certificates(after: position, node: owner, limit: min(1_000, limit))
                for entry in batch where page.count < limit {
                    let itsState = entry.state(at: now)
                    if state.map({ $0 == itsState }) ?? (itsState != "deleted") { page.append(entry) }
                }
                guard batch.count == min(1_000, limit), let last = batch.last else { break }
                position = last.certificate.serial
            }
            return page
        }
    }
}
