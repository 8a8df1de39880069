// The authority's store as a value in memory, for tests: a transaction works on a copy, and a failure leaves the original as it was.

public import Authority
import PKI
import RevocationFormats
import Synchronization

/// A `Store` that keeps everything in one value; nothing survives it.
public final class InMemoryStore: Store {
    private let contents = Mutex(Contents())
    /// One writer at a time; readers take a copy of the value and wait for nobody.
    private let writing = Mutex(())

    public init() {}

    /// What somebody does to the audit log who can write to the store's file.
    public func tamper(_ body: (_ records: inout [AuditRecord], _ checkpoints: inout [AuditCheckpoint]) -> Void) {
        self.contents.withLock { body(&$0.audit, &$0.auditCheckpoints) }
    }

    public func read<Result>(_ body: (any StoreReader) throws -> Result) throws -> Result {
        let transaction = Transaction(self.contents.withLock { $0 })
        return try body(transaction)
    }

    public func write<Result>(_ body: (any StoreWriter) throws -> Result) throws -> Result {
        // The generic result cannot leave the lock's closure as itself, so it leaves through a box.
        var result: Swift.Result<Result, any Error>?
        self.writing.withLock { _ in
            let transaction = Transaction(self.contents.withLock { $0 })
            let outcome = Swift.Result { try body(transaction) }
            if case .success = outcome {
                let after = transaction.contents
                self.contents.withLock { $0 = after }
            }
            result = outcome
        }
        guard let result else { throw AuthorityError(.storage, "the store did not answer") }
        return try result.get()
    }
}

/// Everything the store keeps.
struct Contents: Sendable {
    struct Certificate: Sendable {
        var record: CertificateRecord
        var commonNameHash: Int64
    }
    struct AcmeKey: Hashable, Sendable {
        var node: NodeID
        var id: String
    }

    /// In the order of issue.
    var certificates: [Certificate] = []
    var positions: [SerialNumber: Int] = [:]
    var byCommonName: [Int64: [Int]] = [:]
    var revocations: [SerialNumber: Revocation] = [:]
    var blockedKeys: Set<[UInt8]> = []
    var nodes: [Node] = []
    var lastNode: Int64 = 0
    var admins: [String] = []
    var tokens: [[UInt8]: Token] = [:]
    var settings: [StoreSetting: String] = [:]
    var accounts: [AcmeKey: AcmeAccount] = [:]
    var orders: [AcmeKey: AcmeOrder] = [:]
    var authorizations: [AcmeKey: AcmeAuthorization] = [:]
    var audit: [AuditRecord] = []
    var auditCheckpoints: [AuditCheckpoint] = []
    var changes = 0
}

/// One transaction on a copy of the contents.
final class Transaction: StoreWriter {
    private(set) var contents: Contents

    init(_ contents: Contents) { self.contents = contents }

    private static func conflict(_ what: String) -> AuthorityError {
        AuthorityError(.storage, "the store did not take the change", cause: "two rows with one \(what)")
    }

    // MARK: Certificates

    private func status(at position: Int) -> CertificateStatus {
        let record = self.contents.certificates[position].record
        return CertificateStatus(certificate: record, revocation: self.contents.revocations[record.serial])
    }

    private func position(of serial: SerialNumber) throws -> Int {
        guard let position = self.contents.positions[serial] else { throw AuthorityError(.certificateNotFound, serial.decimal) }
        return position
    }

    func certificate(_ serial: SerialNumber) throws -> CertificateRecord? {
        self.contents.positions[serial].map { self.contents.certificates[$0].record }
    }

    func certificates(commonNameHash: Int64, before: SerialNumber?, limit: Int) throws -> [CertificateStatus] {
        let end = try before.map { try self.position(of: $0) } ?? Int.max
        return (self.contents.byCommonName[commonNameHash] ?? []).reversed().lazy.filter { $0 < end }.prefix(limit).map {
            self.status(at: $0)
        }
    }

    func certificates(after: SerialNumber?, node: NodeID?, limit: Int) throws -> [CertificateStatus] {
        let start = try after.map { try self.position(of: $0) + 1 } ?? 0
        return (start..<self.contents.certificates.count).lazy.filter { node == nil || self.contents.certificates[$0].record.node == node }
            .prefix(limit).map { self.status(at: $0) }
    }

    func certificateCount() throws -> Int { self.contents.certificates.count }

    func insert(_ certificate: CertificateRecord, commonNameHash: Int64) throws {
        guard self.contents.positions[certificate.serial] == nil else { throw Self.conflict("serial number") }
        let position = self.contents.certificates.count
        self.contents.positions[certificate.serial] = position
        self.contents.byCommonName[commonNameHash, default: []].append(position)
        self.contents.certificates.append(.init(record: certificate, commonNameHash: commonNameHash))
        self.contents.changes += 1
    }

    func markDeleted(_ serial: SerialNumber) throws {
        guard let position = self.contents.positions[serial] else { return }
        self.contents.certificates[position].record.isDeleted = true
        self.contents.changes += 1
    }

    // MARK: Revocations

    func revocation(_ serial: SerialNumber) throws -> Revocation? { self.contents.revocations[serial] }

    func summary(_ serial: SerialNumber) throws -> SerialSummary {
        Standing(certificate: try self.certificate(serial), revocation: try self.revocation(serial)).summary
    }

    func revocationCount() throws -> Int { self.contents.revocations.count }

    func forEachRevocation(_ body: (Revocation) throws -> Void) throws {
        for revocation in self.contents.revocations.values.sorted(by: { $0.serial < $1.serial }) { try body(revocation) }
    }

    func set(_ revocation: Revocation) throws {
        self.contents.revocations[revocation.serial] = revocation
        self.contents.changes += 1
    }

    func removeRevocation(_ serial: SerialNumber) throws {
        if self.contents.revocations.removeValue(forKey: serial) != nil { self.contents.changes += 1 }
    }

    func isBlocked(keyHash: [UInt8]) throws -> Bool { self.contents.blockedKeys.contains(keyHash) }

    func block(keyHash: [UInt8]) throws {
        if self.contents.blockedKeys.insert(keyHash).inserted { self.contents.changes += 1 }
    }

    // MARK: Nodes, admins, tokens, settings

    func nodes() throws -> [Node] { self.contents.nodes }

    private func checkBinding(of node: Node, except id: NodeID?) throws {
        guard node.state == .live, let binding = node.binding else { return }
        guard !self.contents.nodes.contains(where: { $0.id != id && $0.state == .live && $0.binding == binding }) else {
            throw Self.conflict("binding")
        }
    }

    func insert(_ node: Node) throws -> NodeID {
        try self.checkBinding(of: node, except: nil)
        var node = node
        self.contents.lastNode += 1
        node.id = NodeID(self.contents.lastNode)
        self.contents.nodes.append(node)
        self.contents.changes += 1
        return node.id
    }

    func update(_ node: Node) throws {
        guard let index = self.contents.nodes.firstIndex(where: { $0.id == node.id }) else { return }
        try self.checkBinding(of: node, except: node.id)
        self.contents.nodes[index] = node
        self.contents.changes += 1
    }

    func admins() throws -> [String] { self.contents.admins }

    func addAdmin(_ text: String) throws {
        guard !self.contents.admins.contains(where: { $0.utf8.elementsEqual(text.utf8) }) else { throw Self.conflict("admin") }
        self.contents.admins.append(text)
        self.contents.changes += 1
    }

    func removeAdmin(_ text: String) throws {
        self.contents.admins.removeAll { $0.utf8.elementsEqual(text.utf8) }
        self.contents.changes += 1
    }

    func tokens() throws -> [Token] { Array(self.contents.tokens.values) }

    func set(_ token: Token) throws {
        self.contents.tokens[token.hash] = token
        self.contents.changes += 1
    }

    func setting(_ name: StoreSetting) throws -> String? { self.contents.settings[name] }

    func set(_ name: StoreSetting, _ value: String) throws {
        self.contents.settings[name] = value
        self.contents.changes += 1
    }

    // MARK: ACME

    func acmeAccount(_ id: String, node: NodeID) throws -> AcmeAccount? { self.contents.accounts[.init(node: node, id: id)] }

    func acmeAccounts(node: NodeID) throws -> [AcmeAccount] {
        self.contents.accounts.values.filter { $0.node == node }.sorted { $0.id < $1.id }
    }

    func set(_ account: AcmeAccount) throws {
        self.contents.accounts[.init(node: account.node, id: account.id)] = account
        self.contents.changes += 1
    }

    func acmeOrder(_ id: String, node: NodeID) throws -> AcmeOrder? { self.contents.orders[.init(node: node, id: id)] }

    func acmeOrders(account: String, node: NodeID) throws -> [AcmeOrder] {
        self.contents.orders.values.filter { $0.node == node && $0.accountID == account }.sorted { $0.id < $1.id }
    }

    func set(_ order: AcmeOrder) throws {
        self.contents.orders[.init(node: order.node, id: order.id)] = order
        self.contents.changes += 1
    }

    func acmeAuthorization(_ id: String, node: NodeID) throws -> AcmeAuthorization? {
        self.contents.authorizations[.init(node: node, id: id)]
    }

    func acmeAuthorizations(order: String, node: NodeID) throws -> [AcmeAuthorization] {
        self.contents.authorizations.values.filter { $0.node == node && $0.orderID == order }.sorted { $0.id < $1.id }
    }

    func set(_ authorization: AcmeAuthorization) throws {
        self.contents.authorizations[.init(node: authorization.node, id: authorization.id)] = authorization
        self.contents.changes += 1
    }

    // MARK: Audit

    func auditRecords(after: Int64, limit: Int) throws -> [AuditRecord] {
        Array(self.contents.audit.lazy.filter { $0.sequence > after }.prefix(limit))
    }

    func lastAuditRecord() throws -> AuditRecord? { self.contents.audit.last }

    func append(_ record: AuditRecord) throws {
        guard record.sequence > self.contents.audit.last?.sequence ?? 0 else { throw Self.conflict("audit sequence number") }
        self.contents.audit.append(record)
        self.contents.changes += 1
    }

    func auditCheckpoints(after number: Int64, limit: Int) throws -> [AuditCheckpoint] {
        Array(self.contents.auditCheckpoints.lazy.filter { $0.number > number }.prefix(limit))
    }

    func lastAuditCheckpoint() throws -> AuditCheckpoint? { self.contents.auditCheckpoints.last }

    func append(_ checkpoint: AuditCheckpoint) throws {
        guard checkpoint.number > self.contents.auditCheckpoints.last?.number ?? 0 else { throw Self.conflict("audit checkpoint number") }
        self.contents.auditCheckpoints.append(checkpoint)
        self.contents.changes += 1
    }

    var changeCount: Int { self.contents.changes }
}
