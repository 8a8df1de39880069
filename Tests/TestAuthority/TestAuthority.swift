// An authority for tests: a fixed clock, a random source that repeats itself, a P-256 CA made in memory, folders that remember.

public import Authority
public import Crypto
import Foundation
public import InMemoryStore
public import PKI
import RevocationFormats
import SwiftASN1
import Synchronization
public import X509

/// A clock that stands still until it is moved.
public final class FixedClock: Clock {
    private let time: Mutex<UnixTime>

    public init(_ time: UnixTime) { self.time = Mutex(time) }

    public var now: UnixTime { self.time.withLock { $0 } }

    public func move(bySeconds seconds: Int64) { self.time.withLock { $0 = $0.advanced(bySeconds: seconds) } }
}

/// Numbers that look random and are the same at each run (SplitMix64).
public final class RepeatableRandom: RandomSource {
    private let state = Mutex<UInt64>(7)

    public init() {}

    private func next() -> UInt64 {
        self.state.withLock { state in
            state &+= 0x9E37_79B9_7F4A_7C15
            var mixed = state
            mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
            mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
            return mixed ^ (mixed >> 31)
        }
    }

    public func next128() -> (UInt64, UInt64) { (self.next(), self.next()) }

    public func bytes(_ count: Int) -> [UInt8] { (0..<count).map { _ in UInt8(truncatingIfNeeded: self.next()) } }
}

/// Folders in memory; with `fails` nothing can be written.
public final class RememberedFolders: FileJournal {
    public struct Full: Error {}
    private let keys = Mutex<[String: [UInt8]]>([:])
    private let renewed = Mutex<[String: String]>([:])
    private let profiles = Mutex<[String: CertificateProfile]>([:])
    private let failing = Mutex(false)

    public init() {}

    public var fails: Bool {
        get { self.failing.withLock { $0 } }
        set { self.failing.withLock { $0 = newValue } }
    }

    public func key(_ commonName: String) -> [UInt8]? { self.keys.withLock { $0[commonName] } }
    /// The renewed certificate that was put beside the key.
    public func renewedCertificate(_ commonName: String) -> String? { self.renewed.withLock { $0[commonName] } }
    public var profileNames: Set<String> { self.profiles.withLock { Set($0.keys) } }

    public func stage(_ change: FileChange, record sequence: Int64, request: String, part: Int) throws -> StagedFileChange {
        guard !self.fails else { throw Full() }
        return StagedFileChange(name: "\(sequence).\(part)", change: change)
    }

    public func carryOut(_ staged: StagedFileChange) {
        switch staged.change {
        case .storeKey(let commonName, let keyPEM, _): self.keys.withLock { $0[commonName] = keyPEM }
        case .storeCertificate(let commonName, let certificatePEM): self.renewed.withLock { $0[commonName] = certificatePEM }
        case .removeKey(let commonName): self.keys.withLock { $0[commonName] = nil }
        case .storeProfile(let profile): self.profiles.withLock { $0[profile.name] = profile }
        case .removeProfile(let name): self.profiles.withLock { $0[name] = nil }
        }
    }
}

/// An audit key made in memory, that remembers the checkpoints which became durable.
public final class RememberedCheckpoints: AuditSigner {
    private let key = Curve25519.Signing.PrivateKey()
    private let heard = Mutex<[AuditCheckpoint]>([])

    public init() {}

    public var announced: [AuditCheckpoint] { self.heard.withLock { $0 } }
    public var publicKey: [UInt8] { Array(self.key.publicKey.rawRepresentation) }
    public func sign(_ message: [UInt8]) throws -> [UInt8] { Array(try self.key.signature(for: message)) }
    public func announce(_ checkpoint: AuditCheckpoint) { self.heard.withLock { $0.append(checkpoint) } }
}

/// An authority with everything around it.
public struct TestAuthority: Sendable {
    /// 2026-11-23T12:00:00Z.
    public static let start = UnixTime(1_795_435_200)

    public let clock: FixedClock
    public let store: any Store
    public let folders: RememberedFolders
    public let authority: Authority
    public let caKey: P256.Signing.PrivateKey
    public let audit: RememberedCheckpoints

    /// - Parameters:
    ///   - days: the CA certificate's life.
    ///   - key: the CA's key; a fresh one where none is given.
    ///   - wrapping: what stands between the authority and its store.
    public init(
        subject: String = "/C=FR/O=Test/CN=Test CA", days: Int = 3_650, at start: UnixTime = TestAuthority.start, rules: Rules = Rules(),
        profiles extra: [CertificateProfile] = [], key: P256.Signing.PrivateKey = P256.Signing.PrivateKey(),
        wrapping: (InMemoryStore) -> any Store = { $0 }
    ) throws {
        let inner = InMemoryStore()
        let clock = FixedClock(start)
        let random = RepeatableRandom()
        guard let name = DistinguishedName.parse(subject) else { throw AuthorityError(.invalidParameter, subject) }
        let der = try Issuer.selfSigned(subject: name, key: .init(key), digest: .sha256, now: start, days: days, random: random)
        let issuer = try Issuer(der: der, key: .init(key)) { _, deliver in
            var hash = SHA256()
            try deliver { part in part.withUnsafeBytes { hash.update(bufferPointer: $0) } }
            return Array(try key.signature(for: hash.finalize()).derRepresentation)
        }
        try inner.write { try $0.set(.authorityFingerprint, issuer.fingerprint) }
        let folders = RememberedFolders()
        let audit = RememberedCheckpoints()
        self.audit = audit
        self.clock = clock
        self.store = wrapping(inner)
        self.folders = folders
        self.caKey = key
        self.authority = try Authority(
            issuer: issuer, store: self.store, rules: rules,
            profiles: CertificateProfile.builtIns(baseSubject: [.init(.country, "FR"), .init(.organization, "Test")]) + extra, clock: clock,
            random: random,
            files: folders, auditSigner: audit)
    }

    /// The authority as a restart finds it.
    public func reopened(rules: Rules = Rules()) throws -> Authority {
        try Authority(
            issuer: self.authority.issuer, store: self.store, rules: rules, profiles: Array(self.authority.state.profiles.values),
            clock: self.clock,
            random: RepeatableRandom(), files: self.folders, auditSigner: self.audit)
    }

    // MARK: Callers

    public static let operatorOnHost = Caller(proof: .localUser(0), channel: .admin)
    public static func front(_ address: String) -> Caller { Caller(proof: .plainAddress(address), channel: .front) }
    public static func registrar(_ address: String) -> Caller { Caller(proof: .plainAddress(address), channel: .registrar) }

    public static func context(_ task: String, _ caller: Caller) -> RequestContext { RequestContext(id: "r-1", task: task, caller: caller) }

    // MARK: Acting

    /// Puts other rules in force.
    public func reload(_ rules: Rules) throws {
        let authority = self.authority
        let profiles = Array(authority.state.profiles.values)
        try self.commit("reload") { try $0.reload(rules: rules, profiles: profiles, in: authority) }
    }

    /// Commits one change.
    @discardableResult
    public func commit<Value: Sendable>(
        _ task: String, by caller: Caller = TestAuthority.operatorOnHost, needs: Role = .anyone, isVital: Bool = false,
        _ run: @escaping @Sendable (inout Commit) throws -> Value
    ) throws -> Value {
        let report = self.authority.commit([Change(Self.context(task, caller), needs: needs, isVital: isVital, run: run)])
        guard let result = report.results.first, report.results.count == 1 else { throw AuthorityError(.storage, "no result") }
        return try result.get()
    }

    /// A node added by hand; it has no certificate.
    @discardableResult
    public func addNode(_ commonName: String, at address: String) throws -> Node {
        try self.commit("add_node") { try $0.addNode(commonName: commonName, binding: .address(address)) }
    }

    public func addAdmin(_ name: String) throws { try self.commit("add_admin") { try $0.addAdmin(name) } }

    /// Opens the window and gives the text of its one-time token.
    @discardableResult
    public func openRegistration(token: String = "upkireg_one", remaining: Int? = nil, commonName: String? = nil, seconds: Int64 = 86_400)
        throws -> String
    {
        let until = self.clock.now.advanced(bySeconds: seconds)
        try self.commit("open_registration") {
            try $0.openRegistration(until: until, remaining: remaining, commonName: commonName, tokenHash: Authority.hash(token: token))
        }
        return token
    }

    /// The standing token.
    @discardableResult
    public func standingToken(_ token: String = "upkireg_standing") throws -> String {
        try self.commit("rotate_token") { try $0.rotateStandingToken(number: 0, hash: Authority.hash(token: token)) }
        return token
    }

    /// Registers through port 5001 with a key that the CA makes, and gives the node and its certificate.
    @discardableResult
    public func register(_ commonName: String, from address: String, token: String, profile: String = "ra", caller: Caller? = nil) throws
        -> (node: Node, certificate: CertificateRecord)
    {
        let caller = caller ?? Self.registrar(address)
        let request = RegistrationRequest(commonName: commonName, profile: profile, names: [], csr: nil)
        let proof = try self.authority.check(token: token, commonName: commonName)
        _ = try self.authority.checkRegistration(request, proof: proof, caller: caller)
        let prepared = try self.authority.prepareRegistration(request, key: try Self.keyPair(), caller: caller)
        let authority = self.authority
        let node = try self.commit("register", by: caller) { try $0.register(request, prepared: prepared, proof: proof, in: authority) }
        return (node, prepared.record)
    }

    /// Signs a CSR and records it.
    @discardableResult
    public func sign(_ csr: String, profile: String = "server", days: Int? = nil, by caller: Caller = TestAuthority.operatorOnHost) throws
        -> CertificateRecord
    {
        let authority = self.authority
        let prepared = try authority.prepareSigning(csr: csr, profile: profile, days: days, actor: authority.actor(caller), task: "sign")
        try self.commit("sign", by: caller, needs: .node) { try $0.record(prepared, in: authority) }
        return prepared.record
    }

    /// Makes a key and a certificate.
    @discardableResult
    public func generate(
        _ commonName: String, profile: String = "server", names: [AlternativeName] = [], keepsKey: Bool = false,
        by caller: Caller = TestAuthority.operatorOnHost
    ) throws -> CertificateRecord {
        let authority = self.authority
        let request = NamedRequest(commonName: commonName, profile: profile, names: names)
        let actor = authority.actor(caller)
        _ = try authority.checkGenerating(request, actor: actor, task: "generate")
        let prepared = try authority.prepareGenerating(request, key: try Self.keyPair(), keepsKey: keepsKey, actor: actor, task: "generate")
        try self.commit("generate", by: caller, needs: .node) { try $0.record(prepared, in: authority) }
        return prepared.record
    }

    @discardableResult
    public func renew(_ serial: SerialNumber, revokesOld: Bool = false, by caller: Caller = TestAuthority.operatorOnHost) throws
        -> CertificateRecord
    {
        let authority = self.authority
        let actor = authority.actor(caller)
        let old = try authority.find(.serial(serial), actor: actor)
        let prepared = try authority.prepareRenewal(of: old.certificate, days: nil, actor: actor, task: "renew")
        try self.commit("renew", by: caller, needs: .node) { try $0.renew(serial, by: prepared, revokesOld: revokesOld, in: authority) }
        return prepared.record
    }

    public func revoke(_ selector: Selector, reason: CRLReason = .unspecified, by caller: Caller = TestAuthority.operatorOnHost) throws {
        try self.commit("revoke", by: caller, needs: .node, isVital: true) { try $0.revoke(selector, reason: reason) }
    }

    public func revocation(_ serial: SerialNumber) throws -> Revocation? { try self.authority.standing(serial).revocation }

    /// The DER of a CRL made now.
    public func revocationList(scheduled: Bool = true) throws -> [UInt8] {
        let plan = try self.commit("crl", isVital: true) { try $0.planRevocationList() }
        var der: [UInt8] = []
        _ = try self.authority.write(plan, spill: MemoryCRLSpill()) { part in part.withUnsafeBytes { der += $0 } }
        if scheduled { try self.commit("crl", isVital: true) { try $0.confirmScheduled(plan) } }
        return der
    }

    // MARK: Keys and requests

    /// A P-256 key pair as the CA makes it for subjects.
    public static func keyPair() throws -> SubjectKeyPair {
        let key = P256.Signing.PrivateKey()
        return SubjectKeyPair(
            privateKeyPEM: Array(key.pemRepresentation.utf8), subjectPublicKeyInfo: Array(key.publicKey.derRepresentation))
    }

    /// A CSR for a P-256 key, with a subject in slash notation (empty for none) and alternative names.
    public static func csr(_ subject: String, names: [AlternativeName] = [], key: Certificate.PrivateKey? = nil) throws -> String {
        let key = key ?? Certificate.PrivateKey(P256.Signing.PrivateKey())
        let name = DistinguishedName.parse(subject)
        guard let x509 = try name?.x509() ?? (subject.isEmpty ? X509.DistinguishedName() : nil) else {
            throw AuthorityError(.invalidParameter, subject)
        }
        var attributes = CertificateSigningRequest.Attributes()
        if !names.isEmpty {
            let extensions = try Certificate.Extensions([.init(SubjectAlternativeNames(names.map(\.generalName)), critical: false)])
            attributes = try .init([.init(ExtensionRequest(extensions: extensions))])
        }
        let request = try CertificateSigningRequest(version: .v1, subject: x509, privateKey: key, attributes: attributes)
        return try request.serializeAsPEM().pemString
    }
}
