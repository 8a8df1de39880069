// Rows to values and back: every SQL statement of the store.

import Authority
import Foundation
import GRDB
import PKI
import RevocationFormats

/// One transaction on one connection.
struct Rows: StoreWriter {
    let database: Database

    var changeCount: Int { self.database.totalChangesCount }

    // MARK: Certificates

    private static let certificateColumns =
        "c.serial, c.subject, c.common_name, c.profile, c.node, c.not_before, c.not_after, c.issued_at, c.is_deleted, c.key_is_kept, c.der"
    private static let statusQuery =
        "SELECT \(certificateColumns), r.reason, r.revoked_at, r.not_after FROM certificate c LEFT JOIN revocation r ON r.serial = c.serial "

    private func certificate(_ row: Row) throws -> CertificateRecord {
        CertificateRecord(
            serial: try Self.serial(row, 0), subject: row[1], commonName: row[2], profile: row[3],
            node: (row[4] as Int64?).map { NodeID($0) },
            notBefore: UnixTime(row[5]), notAfter: UnixTime(row[6]), issuedAt: UnixTime(row[7]), isDeleted: row[8], keyIsKept: row[9],
            der: Array(row[10] as Data))
    }

    private func status(_ row: Row) throws -> CertificateStatus {
        let certificate = try self.certificate(row)
        guard let reason = row[11] as Int64? else { return CertificateStatus(certificate: certificate, revocation: nil) }
        return CertificateStatus(
            certificate: certificate,
            revocation: Revocation(
                serial: certificate.serial, reason: try Self.reason(reason), revokedAt: UnixTime(row[12]), notAfter: UnixTime(row[13])))
    }

    private static func serial(_ row: Row, _ index: Int) throws -> SerialNumber {
        guard let serial = SerialNumber(bytes: row[index] as Data) else {
            throw AuthorityError(.storage, "a stored serial number cannot be read")
        }
        return serial
    }

    private static func reason(_ code: Int64) throws -> CRLReason {
        guard let reason = UInt8(exactly: code).flatMap({ CRLReason(rawValue: $0) }) else {
            throw AuthorityError(.storage, "a stored revocation reason cannot be read")
        }
        return reason
    }

    func certificate(_ serial: SerialNumber) throws -> CertificateRecord? {
        let statement = try self.database.cachedStatement(sql: "SELECT \(Self.certificateColumns) FROM certificate c WHERE c.serial = ?")
        return try Row.fetchOne(statement, arguments: [Data(serial.paddedBytes)]).map { try self.certificate($0) }
    }

    func certificates(commonNameHash: Int64, before: SerialNumber?, limit: Int) throws -> [CertificateStatus] {
        let end = try before.map { try self.position(of: $0) } ?? Int64.max
        let statement = try self.database.cachedStatement(
            sql: Self.statusQuery + "WHERE c.name_hash = ? AND c.id < ? ORDER BY c.id DESC LIMIT ?")
        return try Row.fetchAll(statement, arguments: [commonNameHash, end, limit]).map { try self.status($0) }
    }

    /// Where a certificate stands in the order of issue.
    private func position(of serial: SerialNumber) throws -> Int64 {
        let statement = try self.database.cachedStatement(sql: "SELECT id FROM certificate WHERE serial = ?")
        guard let id = try Int64.fetchOne(statement, arguments: [Data(serial.paddedBytes)]) else {
            throw AuthorityError(.certificateNotFound, serial.decimal)
        }
        return id
    }

    func certificates(after: SerialNumber?, node: NodeID?, limit: Int) throws -> [CertificateStatus] {
        let position = try after.map { try self.position(of: $0) } ?? 0
        if let node {
            let statement = try self.database.cachedStatement(sql: Self.statusQuery + "WHERE c.node = ? AND c.id > ? ORDER BY c.id LIMIT ?")
            return try Row.fetchAll(statement, arguments: [node.rawValue, position, limit]).map { try self.status($0) }
        }
        let statement = try self.database.cachedStatement(sql: Self.statusQuery + "WHERE c.id > ? ORDER BY c.id LIMIT ?")
        return try Row.fetchAll(statement, arguments: [position, limit]).map { try self.status($0) }
    }

    func certificateCount() throws -> Int {
        // Rows are never removed, so the last id is the count; counting ten million rows would take seconds.
        try Int.fetchOne(self.database.cachedStatement(sql: "SELECT coalesce(max(id), 0) FROM certificate")) ?? 0
    }

    func insert(_ certificate: CertificateRecord, commonNameHash: Int64) throws {
        let statement = try self.database.cachedStatement(
            sql: """
                INSERT INTO certificate (serial, name_hash, subject, common_name, profile, node, not_before, not_after, issued_at, is_deleted, key_is_kept, der)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                """)
        try statement.execute(arguments: [
            Data(certificate.serial.paddedBytes), commonNameHash, certificate.subject, certificate.commonName, certificate.profile,
            certificate.node?.rawValue, certificate.notBefore.seconds, certificate.notAfter.seconds, certificate.issuedAt.seconds,
            certificate.isDeleted, certificate.keyIsKept, Data(certificate.der),
        ])
    }

    func markDeleted(_ serial: SerialNumber) throws {
        try self.database.cachedStatement(sql: "UPDATE certificate SET is_deleted = 1 WHERE serial = ?").execute(arguments: [
            Data(serial.paddedBytes)
        ])
    }

    // MARK: Revocations

    func revocation(_ serial: SerialNumber) throws -> Revocation? {
        let statement = try self.database.cachedStatement(sql: "SELECT reason, revoked_at, not_after FROM revocation WHERE serial = ?")
        return try Row.fetchOne(statement, arguments: [Data(serial.paddedBytes)]).map {
            Revocation(serial: serial, reason: try Self.reason($0[0]), revokedAt: UnixTime($0[1]), notAfter: UnixTime($0[2]))
        }
    }

    func summary(_ serial: SerialNumber) throws -> SerialSummary {
        let statement = try self.database.cachedStatement(
            sql: """
                SELECT c.common_name, c.not_after, r.reason, r.revoked_at, r.not_after FROM (SELECT ? AS serial) s
                LEFT JOIN certificate c ON c.serial = s.serial LEFT JOIN revocation r ON r.serial = s.serial
                """)
        guard let row = try Row.fetchOne(statement, arguments: [Data(serial.paddedBytes)]) else {
            throw AuthorityError(.storage, "the store did not answer")
        }
        let revocation = try (row[2] as Int64?).map {
            Revocation(serial: serial, reason: try Self.reason($0), revokedAt: UnixTime(row[3]), notAfter: UnixTime(row[4]))
        }
        return SerialSummary(commonName: row[0] ?? "", notAfter: (row[1] as Int64?).map { UnixTime($0) }, revocation: revocation)
    }

    func revocationCount() throws -> Int { try Int.fetchOne(self.database.cachedStatement(sql: "SELECT count(*) FROM revocation")) ?? 0 }

    func forEachRevocation(_ body: (Revocation) throws -> Void) throws {
        let rows = try Row.fetchCursor(
            self.database.cachedStatement(sql: "SELECT serial, reason, revoked_at, not_after FROM revocation ORDER BY serial"))
        while let row = try rows.next() {
            try body(
                Revocation(
                    serial: try Self.serial(row, 0), reason: try Self.reason(row[1]), revokedAt: UnixTime(row[2]),
                    notAfter: UnixTime(row[3])))
        }
    }

    func set(_ revocation: Revocation) throws {
        try self.database.cachedStatement(
            sql: "INSERT OR REPLACE INTO revocation (serial, reason, revoked_at, not_after) VALUES (?, ?, ?, ?)"
        ).execute(
            arguments: [
                Data(revocation.serial.paddedBytes), Int64(revocation.reason.rawValue), revocation.revokedAt.seconds,
                revocation.notAfter.seconds,
            ])
    }

    func removeRevocation(_ serial: SerialNumber) throws {
        try self.database.cachedStatement(sql: "DELETE FROM revocation WHERE serial = ?").execute(arguments: [Data(serial.paddedBytes)])
    }

    func isBlocked(keyHash: [UInt8]) throws -> Bool {
        try Bool.fetchOne(
            self.database.cachedStatement(sql: "SELECT EXISTS (SELECT 1 FROM blocked_key WHERE hash = ?)"), arguments: [Data(keyHash)])
            ?? false
    }

    func block(keyHash: [UInt8]) throws {
        try self.database.cachedStatement(sql: "INSERT OR IGNORE INTO blocked_key (hash) VALUES (?)").execute(arguments: [Data(keyHash)])
    }

    // MARK: Nodes, admins, tokens, settings

    func nodes() throws -> [Node] {
        let sql =
            "SELECT id, common_name, subject, binding, profile, profiles, names, serial, not_after, registered_at, origin, state FROM node ORDER BY id"
        return try Row.fetchAll(self.database, sql: sql).map { row in
            guard let origin = Node.Origin(rawValue: row[10]), let state = Node.State(rawValue: row[11]) else {
                throw AuthorityError(.storage, "a stored node cannot be read")
            }
            return Node(
                id: NodeID(row[0]), commonName: row[1], subject: row[2], binding: (row[3] as String?).flatMap { Binding(text: $0) },
                profile: row[4],
                profiles: (row[5] as String?).map { Self.list($0) },
                names: (row[6] as String?).map { Self.list($0).compactMap { NamePattern($0) } },
                serial: (row[7] as Data?).flatMap { SerialNumber(bytes: $0) }, notAfter: (row[8] as Int64?).map { UnixTime($0) },
                registeredAt: UnixTime(row[9]), origin: origin, state: state)
        }
    }

    private static func list(_ text: String) -> [String] { text.split(separator: " ").map { String($0) } }

    private func arguments(_ node: Node) -> StatementArguments {
        [
            node.commonName, node.subject, node.binding?.text, node.profile, node.profiles?.joined(separator: " "),
            node.names?.map(\.description).joined(separator: " "), node.serial.map { Data($0.paddedBytes) }, node.notAfter?.seconds,
            node.registeredAt.seconds, node.origin.rawValue, node.state.rawValue,
        ]
    }

    func insert(_ node: Node) throws -> NodeID {
        try self.database.execute(
            sql: """
                INSERT INTO node (common_name, subject, binding, profile, profiles, names, serial, not_after, registered_at, origin, state)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                """, arguments: self.arguments(node))
        return NodeID(self.database.lastInsertedRowID)
    }

    func update(_ node: Node) throws {
        try self.database.execute(
            sql: """
                UPDATE node SET common_name = ?, subject = ?, binding = ?, profile = ?, profiles = ?, names = ?, serial = ?, not_after = ?,
                registered_at = ?, origin = ?, state = ? WHERE id = ?
                """, arguments: self.arguments(node) + [node.id.rawValue])
    }

    func admins() throws -> [String] { try String.fetchAll(self.database, sql: "SELECT dn FROM admin ORDER BY id") }

    func addAdmin(_ text: String) throws { try self.database.execute(sql: "INSERT INTO admin (dn) VALUES (?)", arguments: [text]) }

    func removeAdmin(_ text: String) throws { try self.database.execute(sql: "DELETE FROM admin WHERE dn = ?", arguments: [text]) }

    func tokens() throws -> [Token] {
        try Row.fetchAll(self.database, sql: "SELECT hash, kind, common_name, expires_at, used_at, is_revoked, serial FROM token").map { row in
            guard let kind = Token.Kind(rawValue: row[1]) else { throw AuthorityError(.storage, "a stored token cannot be read") }
            return Token(
                hash: Array(row[0] as Data), kind: kind, commonName: row[2], expiresAt: (row[3] as Int64?).map { UnixTime($0) },
                usedAt: (row[4] as Int64?).map { UnixTime($0) }, usedFor: (row[6] as Data?).flatMap { SerialNumber(bytes: $0) },
                isRevoked: row[5])
        }
    }

    func set(_ token: Token) throws {
        try self.database.execute(
            sql: "INSERT OR REPLACE INTO token (hash, kind, common_name, expires_at, used_at, is_revoked, serial) VALUES (?, ?, ?, ?, ?, ?, ?)",
            arguments: [
                Data(token.hash), token.kind.rawValue, token.commonName, token.expiresAt?.seconds, token.usedAt?.seconds, token.isRevoked,
                token.usedFor.map { Data($0.paddedBytes) },
            ])
    }

    func setting(_ name: StoreSetting) throws -> String? {
        try String.fetchOne(self.database.cachedStatement(sql: "SELECT value FROM setting WHERE name = ?"), arguments: [name.rawValue])
    }

    func set(_ name: StoreSetting, _ value: String) throws {
        try self.database.cachedStatement(sql: "INSERT OR REPLACE INTO setting (name, value) VALUES (?, ?)").execute(arguments: [
            name.rawValue, value,
        ])
    }

    // MARK: ACME

    func acmeAccount(_ id: String, node: NodeID) throws -> AcmeAccount? { try self.accounts("AND id = ?", [node.rawValue, id]).first }

    func acmeAccounts(node: NodeID) throws -> [AcmeAccount] { try self.accounts("ORDER BY id", [node.rawValue]) }

    private func accounts(_ condition: String, _ arguments: StatementArguments) throws -> [AcmeAccount] {
        try Row.fetchAll(
            self.database, sql: "SELECT id, node, jwk, contact, status, created_at FROM acme_account WHERE node = ? " + condition,
            arguments: arguments
        ).map { AcmeAccount(id: $0[0], node: NodeID($0[1]), jwk: $0[2], contact: $0[3], status: $0[4], createdAt: $0[5]) }
    }

    func set(_ account: AcmeAccount) throws {
        try self.database.execute(
            sql: "INSERT OR REPLACE INTO acme_account (id, node, jwk, contact, status, created_at) VALUES (?, ?, ?, ?, ?, ?)",
            arguments: [account.id, account.node.rawValue, account.jwk, account.contact, account.status, account.createdAt])
    }

    func acmeOrder(_ id: String, node: NodeID) throws -> AcmeOrder? { try self.orders("AND id = ?", [node.rawValue, id]).first }

    func acmeOrders(account: String, node: NodeID) throws -> [AcmeOrder] {
        try self.orders("AND account = ? ORDER BY id", [node.rawValue, account])
    }

    private func orders(_ condition: String, _ arguments: StatementArguments) throws -> [AcmeOrder] {
        let sql = "SELECT id, node, account, identifiers, status, not_before, not_after, serial FROM acme_order WHERE node = ? " + condition
        return try Row.fetchAll(self.database, sql: sql, arguments: arguments).map { row in
            // One identifier a line, its type before the first space: neither a type nor a certifiable name has a line break.
            let identifiers = (row[3] as String).split(separator: "\n").map { line in
                let parts = line.split(separator: " ", maxSplits: 1, omittingEmptySubsequences: false)
                return AcmeIdentifier(type: String(parts[0]), value: parts.count > 1 ? String(parts[1]) : "")
            }
            return AcmeOrder(
                id: row[0], node: NodeID(row[1]), accountID: row[2], identifiers: identifiers, status: row[4], notBefore: row[5],
                notAfter: row[6],
                serial: (row[7] as Data?).flatMap { SerialNumber(bytes: $0) })
        }
    }

    func set(_ order: AcmeOrder) throws {
        try self.database.execute(
            sql:
                "INSERT OR REPLACE INTO acme_order (id, node, account, identifiers, status, not_before, not_after, serial) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            arguments: [
                order.id, order.node.rawValue, order.accountID, order.identifiers.map { "\($0.type) \($0.value)" }.joined(separator: "\n"),
                order.status,
                order.notBefore, order.notAfter, order.serial.map { Data($0.paddedBytes) },
            ])
    }

    func acmeAuthorization(_ id: String, node: NodeID) throws -> AcmeAuthorization? {
        try self.authorizations("AND id = ?", [node.rawValue, id]).first
    }

    func acmeAuthorizations(order: String, node: NodeID) throws -> [AcmeAuthorization] {
        try self.authorizations("AND order_id = ? ORDER BY id", [node.rawValue, order])
    }

    private func authorizations(_ condition: String, _ arguments: StatementArguments) throws -> [AcmeAuthorization] {
        let sql = "SELECT id, node, order_id, type, value, status FROM acme_authorization WHERE node = ? " + condition
        return try Row.fetchAll(self.database, sql: sql, arguments: arguments).map {
            AcmeAuthorization(
                id: $0[0], node: NodeID($0[1]), orderID: $0[2], identifier: AcmeIdentifier(type: $0[3], value: $0[4]), status: $0[5])
        }
    }

    func set(_ authorization: AcmeAuthorization) throws {
        try self.database.execute(
            sql: "INSERT OR REPLACE INTO acme_authorization (id, node, order_id, type, value, status) VALUES (?, ?, ?, ?, ?, ?)",
            arguments: [
                authorization.id, authorization.node.rawValue, authorization.orderID, authorization.identifier.type,
                authorization.identifier.value,
                authorization.status,
            ])
    }

    // MARK: Audit

    private static let auditColumns = "sequence, time, request, identity, proof, task, outcome, target, serial, detail, hash"

    private func audit(_ row: Row) -> AuditRecord {
        AuditRecord(
            sequence: row[0], time: UnixTime(row[1]), requestID: row[2], identity: row[3], proof: row[4], task: row[5],
            outcome: AuditRecord.Outcome(rawValue: row[6]) ?? .unreadable,
            target: row[7],
            serial: row[8], detail: row[9], hash: Array(row[10] as Data))
    }

    func auditRecords(after: Int64, limit: Int) throws -> [AuditRecord] {
        let statement = try self.database.cachedStatement(
            sql: "SELECT \(Self.auditColumns) FROM audit WHERE sequence > ? ORDER BY sequence LIMIT ?")
        return try Row.fetchAll(statement, arguments: [after, limit]).map { self.audit($0) }
    }

    func lastAuditRecord() throws -> AuditRecord? {
        try Row.fetchOne(self.database, sql: "SELECT \(Self.auditColumns) FROM audit ORDER BY sequence DESC LIMIT 1").map {
            self.audit($0)
        }
    }

    func append(_ record: AuditRecord) throws {
        let statement = try self.database.cachedStatement(
            sql: "INSERT INTO audit (\(Self.auditColumns)) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
        try statement.execute(arguments: [
            record.sequence, record.time.seconds, record.requestID, record.identity, record.proof, record.task, record.outcome.rawValue,
            record.target,
            record.serial, record.detail, Data(record.hash),
        ])
    }

    private static let checkpointColumns = "number, sequence, time, head, previous, signature"

    private func checkpoint(_ row: Row) -> AuditCheckpoint {
        AuditCheckpoint(
            number: row[0], sequence: row[1], time: UnixTime(row[2]), head: Array(row[3] as Data), previous: Array(row[4] as Data),
            signature: Array(row[5] as Data))
    }

    func auditCheckpoints(after number: Int64, limit: Int) throws -> [AuditCheckpoint] {
        let statement = try self.database.cachedStatement(
            sql: "SELECT \(Self.checkpointColumns) FROM audit_checkpoint WHERE number > ? ORDER BY number LIMIT ?")
        return try Row.fetchAll(statement, arguments: [number, limit]).map { self.checkpoint($0) }
    }

    func lastAuditCheckpoint() throws -> AuditCheckpoint? {
        try Row.fetchOne(
            self.database, sql: "SELECT \(Self.checkpointColumns) FROM audit_checkpoint ORDER BY number DESC LIMIT 1"
        ).map { self.checkpoint($0) }
    }

    func append(_ checkpoint: AuditCheckpoint) throws {
        try self.database.cachedStatement(
            sql: "INSERT INTO audit_checkpoint (\(Self.checkpointColumns)) VALUES (?, ?, ?, ?, ?, ?)"
        ).execute(
            arguments: [
                checkpoint.number, checkpoint.sequence, checkpoint.time.seconds, Data(checkpoint.head), Data(checkpoint.previous),
                Data(checkpoint.signature),
            ])
    }
}
