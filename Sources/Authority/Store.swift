// What the authority asks of a store: reads from any thread, and one writer whose transactions are on disk when they return.

public import PKI

/// Keeps everything that must survive: a second backend fits behind this protocol.
///
/// Reads may come from any thread; `write` from one thread at a time. A contract suite in Tests holds every implementation to this.
public protocol Store: AnyObject, Sendable {
    /// Runs `body` on one consistent snapshot.
    func read<Result>(_ body: (any StoreReader) throws -> Result) throws -> Result

    /// Runs `body` in one transaction; it is durable (on disk, not in a cache) when this returns, and undone when `body` throws.
    func write<Result>(_ body: (any StoreWriter) throws -> Result) throws -> Result

    /// Whether the space set aside for what must not wait is in use, since the disk is full: until it is whole again nothing else is taken.
    var isShortOfSpace: Bool { get }

    /// Gives up a part of the space set aside.
    ///
    /// - Parameter bytes: how much is needed; what is given up may be more, and is less where less is left.
    /// - Returns: false where nothing is left of it.
    func giveUpSpace(_ bytes: Int64) -> Bool
}

/// A store that sets no space aside.
extension Store {
    public var isShortOfSpace: Bool { false }
    public func giveUpSpace(_ bytes: Int64) -> Bool { false }
}

/// Reading one snapshot of a store.
public protocol StoreReader {
    func certificate(_ serial: SerialNumber) throws -> CertificateRecord?
    /// A page of the certificates whose common name has this hash, newest first, those issued before `before` where it is given, deleted
    /// ones included; callers compare the names themselves.
    func certificates(commonNameHash: Int64, before: SerialNumber?, limit: Int) throws -> [CertificateStatus]
    /// A page in the order of issue, beginning after `after`; only those that `node` asked for where it is given.
    func certificates(after: SerialNumber?, node: NodeID?, limit: Int) throws -> [CertificateStatus]
    /// How many certificates were ever issued.
    func certificateCount() throws -> Int
    func revocation(_ serial: SerialNumber) throws -> Revocation?
    /// Both at once as far as a status needs them: without the certificate itself, which is most of what a row holds.
    func summary(_ serial: SerialNumber) throws -> SerialSummary
    func revocationCount() throws -> Int
    /// Calls `body` for each revocation, ordered by serial number, without holding all of them in memory.
    func forEachRevocation(_ body: (Revocation) throws -> Void) throws
    /// Whether a key with this SHA-256 of its SubjectPublicKeyInfo was revoked for keyCompromise.
    func isBlocked(keyHash: [UInt8]) throws -> Bool
    func nodes() throws -> [Node]
    func admins() throws -> [String]
    func tokens() throws -> [Token]
    func setting(_ name: StoreSetting) throws -> String?
    func acmeAccount(_ id: String, node: NodeID) throws -> AcmeAccount?
    func acmeAccounts(node: NodeID) throws -> [AcmeAccount]
    func acmeOrder(_ id: String, node: NodeID) throws -> AcmeOrder?
    func acmeOrders(account: String, node: NodeID) throws -> [AcmeOrder]
    func acmeAuthorization(_ id: String, node: NodeID) throws -> AcmeAuthorization?
    func acmeAuthorizations(order: String, node: NodeID) throws -> [AcmeAuthorization]
    /// Audit records with a sequence number above `after`, in order.
    func auditRecords(after: Int64, limit: Int) throws -> [AuditRecord]
    func lastAuditRecord() throws -> AuditRecord?
    /// Checkpoints of the audit log with a number above `number`, in order.
    func auditCheckpoints(after number: Int64, limit: Int) throws -> [AuditCheckpoint]
    func lastAuditCheckpoint() throws -> AuditCheckpoint?
}

/// Writing within one transaction.
public protocol StoreWriter: StoreReader {
    /// Grows with each row written: an unchanged value proves that nothing was.
    var changeCount: Int { get }
    func insert(_ certificate: CertificateRecord, commonNameHash: Int64) throws
    func markDeleted(_ serial: SerialNumber) throws
    /// Adds or replaces the revocation of its serial number.
    func set(_ revocation: Revocation) throws
    func removeRevocation(_ serial: SerialNumber) throws
    func block(keyHash: [UInt8]) throws
    /// Inserts the node (its id is ignored) and returns the id it was given.
    func insert(_ node: Node) throws -> NodeID
    func update(_ node: Node) throws
    func addAdmin(_ text: String) throws
    func removeAdmin(_ text: String) throws
    /// Adds or replaces the token of its hash.
    func set(_ token: Token) throws
    func set(_ name: StoreSetting, _ value: String) throws
    func set(_ account: AcmeAccount) throws
    func set(_ order: AcmeOrder) throws
    func set(_ authorization: AcmeAuthorization) throws
    func append(_ record: AuditRecord) throws
    /// Adds a checkpoint; its number is given once.
    func append(_ checkpoint: AuditCheckpoint) throws
}

/// Single values that the store keeps beside its tables.
public enum StoreSetting: String, Sendable, CaseIterable {
    /// SHA-256 of the CA certificate, in hexadecimal: a store belongs to one CA.
    case authorityFingerprint
    /// The number of the last CRL.
    case crlNumber
    /// thisUpdate of the last scheduled CRL, in Unix seconds.
    case scheduledCRLTime
    /// The number of the last event.
    case eventSequence
    /// n of the standing registration token.
    case tokenNumber
    /// `derived` where the seed made the CA's key, `imported` where it did not.
    case keyOrigin
    /// When the correct seed last came in clear over a network, in Unix seconds.
    case seedExposedAt
    /// What the CA cannot know of its own past, as four lines.
    case recoveryNote
    /// The registration window, as four lines.
    case registrationWindow
    /// What was found wrong with the audit log; empty once it was acknowledged.
    case auditFault
    /// The number of the audit record that last acknowledged a fault.
    case auditAcknowledgement
    /// The newest certificates of the OCSP responder, and how many more may follow soon, as lines.
    case responders
}
