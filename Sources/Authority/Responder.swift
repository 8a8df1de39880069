// The certificate of the OCSP bridge's signing key (RFC 6960 4.2.2.2): what it holds, who gets it, and how many there may be.

public import PKI
import SwiftASN1
import X509

/// What is remembered of the OCSP responder's certificates: the newest ones, and how soon another may follow.
public struct ResponderCertificates: Sendable, Equatable {
    /// Those that may be in use, oldest first: the one before answers until its successor has taken over.
    public private(set) var serials: [SerialNumber] = []
    /// Each certificate moves this on by `interval`; how far it may be ahead of now bounds what a responder in a loop of crashes is given.
    private var paidUntil = UnixTime(.min)

    /// One live and one overlapping.
    static let most = 2
    /// So many may be issued at once, seconds for each more.
    static let burst: Int64 = 240
    static let interval: Int64 = 600

    init() {}

    /// How many seconds the next one has to wait; 0 for none.
    func wait(at now: UnixTime) -> Int64 {
        let (ahead, overflow) = self.paidUntil.seconds.subtractingReportingOverflow(now.seconds)
        guard !overflow, ahead > 0 else { return 0 }
        // Further ahead than any number of certificates brings it: a clock that ran ahead left it behind, and the next one mends it.
        guard ahead <= Self.burst * Self.interval else { return 0 }
        return max(0, ahead - (Self.burst - 1) * Self.interval)
    }

    /// - Throws: `busy` with the wait.
    func admit(at now: UnixTime) throws {
        let wait = self.wait(at: now)
        guard wait > 0 else { return }
        throw AuthorityError(
            .busy,
            "Busy: the OCSP responder was given \(Self.burst) certificates in a short time; the next one in \(wait) s, see why it starts again and again"
        )
    }

    /// Adds a certificate.
    ///
    /// - Returns: the serial numbers of those that are one too many now.
    mutating func add(_ serial: SerialNumber, at now: UnixTime) -> [SerialNumber] {
        let limit = now.advanced(bySeconds: Self.burst * Self.interval)
        self.paidUntil = min(max(self.paidUntil, now).advanced(bySeconds: Self.interval), limit)
        self.serials.append(serial)
        let surplus = self.serials.prefix(max(0, self.serials.count - Self.most))
        self.serials.removeFirst(surplus.count)
        return Array(surplus)
    }

    /// Lines: `paidUntil` in Unix seconds, then serial numbers.
    var stored: String { ([String(self.paidUntil.seconds)] + self.serials.map(\.decimal)).joined(separator: "\n") }

    init(stored: String) {
        let lines = stored.split(separator: "\n")
        self.paidUntil = UnixTime(lines.first.flatMap { Int64($0) } ?? .min)
        self.serials = lines.dropFirst().compactMap { SerialNumber(text: $0) }
    }
}

extension Authority {
    /// The name under which certificates of the responder are recorded; no profile can have it.
    static let responderProfile = "ocsp"
    /// 48 hours.
    private static let responderLife: Int64 = 48 * 3_600

    /// Checks the proof of possession and signs a certificate for the key of the OCSP responder.
    ///
    /// Its times are the clock's own, also where that stands before the last record: the answers which it is for carry the same clock's
    /// times, and revocations must stay visible.
    ///
    /// - Parameter csr: the DER of a PKCS#10 request for a P-256 key; nothing but that key is taken from it.
    /// - Throws: `csr`, `refused`.
    public func prepareResponder(csr: [UInt8]) throws -> PreparedCertificate {
        let key = try SigningRequest(der: csr).key
        guard key.curve == .ecP256 else { throw AuthorityError.refused("Request refused: an OCSP responder signs with a P-256 key") }
        let now = self.clock.now
        try self.issuer.checkValidity(now)
        // Before the CA key works, too: a responder that asks without end costs little. The commit looks again.
        try self.state.responders.admit(at: now)
        guard key.hash != self.issuer.keyHash else { throw AuthorityError.refused("Request refused: the key is the CA's own") }
        let subject = self.issuer.responderName
        let content = CertificateContent(
            subject: try subject.x509(), subjectIsEmpty: false, publicKey: key.publicKey, keyIdentifier: key.identifier,
            family: key.family, names: [], notBefore: max(now.advanced(bySeconds: -self.rules.backdating), self.issuer.notBefore),
            notAfter: min(now.advanced(bySeconds: Self.responderLife), self.issuer.notAfter))
        let serial = self.nextSerial(now)
        let der = try self.issuer.sign(content, serial: serial, digest: .sha256, extensions: try self.issuer.responderExtensions(for: key))
        let commonName = subject.commonName ?? ""
        let record = CertificateRecord(
            serial: serial, subject: subject.slashNotation, commonName: commonName, profile: Self.responderProfile, node: nil,
            notBefore: content.notBefore, notAfter: content.notAfter, issuedAt: now, der: der)
        return PreparedCertificate(
            record: record, commonNameHash: CommonNameHash.of(commonName), subject: subject, names: [], keyHash: key.hash, needs: .anyone,
            mustBeNew: false, keptKey: nil)
    }
}

extension Issuer {
    /// The CA's organisation, and a CN that is never the CA's own.
    fileprivate var responderName: PKI.DistinguishedName {
        let organisation = self.name.relativeNames.joined().first { $0.type == .organization }
        let full = self.name.commonName.map { "\($0) OCSP Responder" }
        // RFC 5280 A.1: ub-common-name.
        let commonName = full.flatMap { $0.unicodeScalars.count <= 64 ? $0 : nil } ?? "OCSP Responder"
        return PKI.DistinguishedName((organisation.map { [$0] } ?? []) + [.init(.commonName, commonName)])
    }

    /// No CRL distribution point and no OCSP address: nobody is to ask for its status, which `nocheck` says (RFC 6960 4.2.2.2.1).
    fileprivate func responderExtensions(for key: SubjectPublicKey) throws -> Certificate.Extensions {
        try Certificate.Extensions([
            Certificate.Extension(KeyUsage(digitalSignature: true), critical: true),
            Certificate.Extension(ExtendedKeyUsage([.ocspSigning]), critical: false),
            Certificate.Extension(oid: [1, 3, 6, 1, 5, 5, 7, 48, 1, 5], critical: false, value: [0x05, 0x00]),
            Certificate.Extension(SubjectKeyIdentifier(keyIdentifier: key.identifier[...]), critical: false),
            Certificate.Extension(AuthorityKeyIdentifier(keyIdentifier: self.keyIdentifier[...]), critical: false),
        ])
    }
}

extension Commit {
    /// Records a certificate of the responder, and revokes as superseded what is more than one live and one overlapping.
    ///
    /// A responder that was killed has lost its key and always gets another certificate, unless it asks without end.
    ///
    /// - Throws: `busy` with the wait, `refused` for a key that was revoked for keyCompromise.
    public mutating func recordResponder(_ prepared: PreparedCertificate) throws {
        var responders = self.state.responders
        try responders.admit(at: self.now)
        guard try !self.store.isBlocked(keyHash: prepared.keyHash) else {
            throw AuthorityError.refused("Request refused: the key was revoked for keyCompromise; make a new one")
        }
        let record = prepared.record
        try self.store.insert(record, commonNameHash: prepared.commonNameHash)
        try self.audit(
            target: record.subject, serial: record.serial,
            detail: "profile \(record.profile), until \(record.notAfter.rfc3339), SHA-256 \(Issuer.fingerprint(of: record.der))")
        for serial in responders.add(record.serial, at: self.now) { try self.supersede(serial) }
        try self.store.set(.responders, responders.stored)
        self.state.responders = responders
    }

    private mutating func supersede(_ serial: SerialNumber) throws {
        guard let certificate = try self.store.certificate(serial) else { return }
        let status = CertificateStatus(certificate: certificate, revocation: try self.store.revocation(serial))
        if status.isLive(at: self.now) { try self.revoke(status, reason: .superseded) }
    }
}
