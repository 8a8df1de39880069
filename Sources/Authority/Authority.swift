// The authority: one CA key, one store, the rules between them. It knows no socket, no file and no thread of its own.

public import PKI
import Synchronization

/// The certificate authority.
///
/// Its methods come in two kinds: those that workers call on any thread (they read a snapshot, parse, verify and sign), and those
/// that take a `Commit`, which the writer runs inside a transaction. `commit` belongs to one thread at a time.
public final class Authority: Sendable {
    public let issuer: Issuer
    public let store: any Store
    public let clock: any Clock
    public let random: any RandomSource
    let files: any FileJournal
    private let current: Mutex<AuthorityState>
    private let currentRules: Mutex<Rules>
    private let extensionCache = ProfileExtensionCache()
    let nodeKeysCache = NodeKeysCache()
    let heardRequests = HeardRequests()
    /// When this object was made.
    let openedAt: UnixTime
    let refusalRecords = RefusalRecords()
    /// Whether the store failed at the last commit, so that what it holds is to be asked before the next one.
    let isInDoubt = Atomic<Bool>(false)
    let seal: AuditSeal

    /// Opens the authority on a store that belongs to it.
    ///
    /// - Throws: `storage` where the store belongs to another CA certificate or cannot be read.
    public init(
        issuer: Issuer, store: any Store, rules: Rules, profiles: [CertificateProfile], clock: any Clock, random: any RandomSource,
        files: any FileJournal, auditSigner: any AuditSigner
    ) throws {
        self.issuer = issuer
        self.store = store
        self.clock = clock
        self.openedAt = clock.now
        self.random = random
        self.files = files
        self.currentRules = Mutex(rules)
        let seal = try AuditSeal(fingerprint: issuer.fingerprint, signer: auditSigner)
        self.seal = seal
        var state = try store.read { reader in
            guard try reader.setting(.authorityFingerprint) == issuer.fingerprint else {
                throw AuthorityError(.storage, "the store belongs to another CA certificate than ca.crt; restore the one it was made with")
            }
            return try AuthorityState(loading: reader, auditKey: seal.key)
        }
        for profile in profiles where !CertificateProfile.reservedNames.contains(profile.name) { state.profiles[profile.name] = profile }
        self.current = Mutex(state)
    }

    /// The latest committed state.
    public var state: AuthorityState { self.current.withLock { $0 } }

    /// The settings in force.
    public var rules: Rules { self.currentRules.withLock { $0 } }

    func publish(_ state: AuthorityState) { self.current.withLock { $0 = state } }

    /// Puts new rules in force; the writer calls it when their audit record is about to be committed.
    func setRules(_ rules: Rules) {
        self.currentRules.withLock { $0 = rules }
        self.extensionCache.clear()
    }

    /// What `caller` is at this moment.
    public func actor(_ caller: Caller) -> Actor {
        let state = self.state
        return state.actor(caller, rules: self.rules, now: max(self.clock.now, state.auditTime))
    }

    func extensions(for profile: CertificateProfile) throws -> ProfileExtensions {
        try self.extensionCache.extensions(for: profile, issuer: self.issuer, baseURL: self.rules.publicationBaseURL)
    }

    /// A fresh serial number.
    func nextSerial(_ now: UnixTime) -> SerialNumber { SerialNumber(issuedAt: now, random: self.random.next128()) }

    /// The index key of a common name: 64 bits that strangers cannot steer many names into.
    public static func hash(commonName: String) -> Int64 { CommonNameHash.of(commonName) }
}
