// Batches, the audit chain and ACME issuing: what is committed, what is undone, what is found later.

import Authority
import Crypto
import InMemoryStore
import PKI
import RevocationFormats
import Synchronization
import TestAuthority
import Testing
import X509

/// A store whose audit table can be made to fail.
private final class FailingStore: Store {
    let inner: InMemoryStore
    private let failing = Mutex(false)
    private let target = Mutex("")

    init(_ inner: InMemoryStore) { self.inner = inner }

    /// From now on audit records about names that contain this text cannot be written; nil for none.
    func failAudit(about text: String?) {
        self.failing.withLock { $0 = text != nil }
        self.target.withLock { $0 = text ?? "" }
    }

    func read<Result>(_ body: (any StoreReader) throws -> Result) throws -> Result { try self.inner.read(body) }

    func write<Result>(_ body: (any StoreWriter) throws -> Result) throws -> Result {
        let text = self.failing.withLock { $0 } ? self.target.withLock { $0 } : nil
        return try self.inner.write { try body(FailingWriter(inner: $0, text: text)) }
    }
}

/// A store that takes no change while another process holds it, and counts how often it was asked.
private final class LockedStore: Store {
    let inner: InMemoryStore
    private let state = Mutex((isLocked: false, writes: 0))

    init(_ inner: InMemoryStore) { self.inner = inner }

    var writes: Int { self.state.withLock { $0.writes } }

    func lock(_ isLocked: Bool) { self.state.withLock { $0 = (isLocked, 0) } }

    func read<Result>(_ body: (any StoreReader) throws -> Result) throws -> Result { try self.inner.read(body) }

    func write<Result>(_ body: (any StoreWriter) throws -> Result) throws -> Result {
        let isLocked = self.state.withLock { state in
            state.writes += 1
            return state.isLocked
        }
        guard !isLocked else { throw AuthorityError(.storageUnavailable, "the store is locked by another process") }
        return try self.inner.write(body)
    }
}

@Suite("A store that is locked")
struct LockedStoreTests {
    @Test("is waited for once for a whole batch, not once for each change, and takes changes again afterwards")
    func lockedStore() throws {
        var made: LockedStore?
        let test = try TestAuthority(wrapping: {
            let store = LockedStore($0)
            made = store
            return store
        })
        let store = try #require(made)
        func change(_ name: String) -> Change<Bool> {
            Change(TestAuthority.context("add_admin", TestAuthority.operatorOnHost), needs: .local) { commit in
                try commit.addAdmin(name)
                return true
            }
        }
        store.lock(true)
        let report = test.authority.commit((1...20).map { change("/CN=admin\($0)") })
        #expect(store.writes == 1)
        #expect(report.results.count == 20)
        for result in report.results { #expect(throws: AuthorityError(.storageUnavailable, "")) { try result.get() } }
        #expect(test.authority.state.admins.isEmpty)
        store.lock(false)
        #expect(try test.authority.commit([change("/CN=admin")]).results[0].get())
    }
}

private struct FailingWriter: StoreWriter {
    struct Full: Error {}
    let inner: any StoreWriter
    let text: String?

    func append(_ record: AuditRecord) throws {
        if let text, text.isEmpty || record.target.contains(text) { throw Full() }
        try self.inner.append(record)
    }

    func certificate(_ serial: SerialNumber) throws -> CertificateRecord? { try self.inner.certificate(serial) }
    func certificates(commonNameHash: Int64, before: SerialNumber?, limit: Int) throws -> [CertificateStatus] {
        try self.inner.certificates(commonNameHash: commonNameHash, before: before, limit: limit)
    }
    func certificates(after: SerialNumber?, node: NodeID?, limit: Int) throws -> [CertificateStatus] {
        try self.inner.certificates(after: after, node: node, limit: limit)
    }
    func certificateCount() throws -> Int { try self.inner.certificateCount() }
    func revocation(_ serial: SerialNumber) throws -> Revocation? { try self.inner.revocation(serial) }
    func summary(_ serial: SerialNumber) throws -> SerialSummary { try self.inner.summary(serial) }
    func revocationCount() throws -> Int { try self.inner.revocationCount() }
    func forEachRevocation(_ body: (Revocation) throws -> Void) throws { try self.inner.forEachRevocation(body) }
    func isBlocked(keyHash: [UInt8]) throws -> Bool { try self.inner.isBlocked(keyHash: keyHash) }
    func nodes() throws -> [Node] { try self.inner.nodes() }
    func admins() throws -> [String] { try self.inner.admins() }
    func tokens() throws -> [Token] { try self.inner.tokens() }
    func setting(_ name: StoreSetting) throws -> String? { try self.inner.setting(name) }
    func acmeAccount(_ id: String, node: NodeID) throws -> AcmeAccount? { try self.inner.acmeAccount(id, node: node) }
    func acmeAccounts(node: NodeID) throws -> [AcmeAccount] { try self.inner.acmeAccounts(node: node) }
    func acmeOrder(_ id: String, node: NodeID) throws -> AcmeOrder? { try self.inner.acmeOrder(id, node: node) }
    func acmeOrders(account: String, node: NodeID) throws -> [AcmeOrder] { try self.inner.acmeOrders(account: account, node: node) }
    func acmeAuthorization(_ id: String, node: NodeID) throws -> AcmeAuthorization? { try self.inner.acmeAuthorization(id, node: node) }
    func acmeAuthorizations(order: String, node: NodeID) throws -> [AcmeAuthorization] {
        try self.inner.acmeAuthorizations(order: order, node: node)
    }
    func auditRecords(after: Int64, limit: Int) throws -> [AuditRecord] { try self.inner.auditRecords(after: after, limit: limit) }
    func lastAuditRecord() throws -> AuditRecord? { try self.inner.lastAuditRecord() }
    func auditCheckpoints(after number: Int64, limit: Int) throws -> [AuditCheckpoint] {
        try self.inner.auditCheckpoints(after: number, limit: limit)
    }
    func lastAuditCheckpoint() throws -> AuditCheckpoint? { try self.inner.lastAuditCheckpoint() }
    func append(_ checkpoint: AuditCheckpoint) throws { try self.inner.append(checkpoint) }
    var changeCount: Int { self.inner.changeCount }
    func insert(_ certificate: CertificateRecord, commonNameHash: Int64) throws {
        try self.inner.insert(certificate, commonNameHash: commonNameHash)
    }
    func markDeleted(_ serial: SerialNumber) throws { try self.inner.markDeleted(serial) }
    func set(_ revocation: Revocation) throws { try self.inner.set(revocation) }
    func removeRevocation(_ serial: SerialNumber) throws { try self.inner.removeRevocation(serial) }
    func block(keyHash: [UInt8]) throws { try self.inner.block(keyHash: keyHash) }
    func insert(_ node: Node) throws -> NodeID { try self.inner.insert(node) }
    func update(_ node: Node) throws { try self.inner.update(node) }
    func addAdmin(_ text: String) throws { try self.inner.addAdmin(text) }
    func removeAdmin(_ text: String) throws { try self.inner.removeAdmin(text) }
    func set(_ token: Token) throws { try self.inner.set(token) }
    func set(_ name: StoreSetting, _ value: String) throws { try self.inner.set(name, value) }
    func set(_ account: AcmeAccount) throws { try self.inner.set(account) }
    func set(_ order: AcmeOrder) throws { try self.inner.set(order) }
    func set(_ authorization: AcmeAuthorization) throws { try self.inner.set(authorization) }
}

@Suite("A batch")
struct BatchTests {
    private let first = TestAuthority.front("127.0.0.1")

    private func signing(_ test: TestAuthority, _ name: String, by caller: Caller) throws -> Change<SerialNumber> {
        let authority = test.authority
        let prepared = try authority.prepareSigning(
            csr: try TestAuthority.csr("/CN=\(name)"), profile: "server", days: nil, actor: authority.actor(caller), task: "sign")
        return Change(TestAuthority.context("sign", caller), needs: .node) { commit in
            try commit.record(prepared, in: authority)
            return prepared.record.serial
        }
    }

    @Test(
        "ends with the rights that an earlier change of it took: revoked, removed, no longer admin",
        arguments: ["revoke", "remove", "rebind", "limit"])
    func rightsEnd(_ how: String) throws {
        let test = try TestAuthority()
        let token = try test.openRegistration()
        let (_, certificate) = try test.register("ra1", from: "127.0.0.1", token: token)
        let authority = test.authority
        let ending = Change<SerialNumber>(TestAuthority.context(how, TestAuthority.operatorOnHost), needs: .local) { commit in
            switch how {
            case "revoke": try commit.revoke(.serial(certificate.serial), reason: .keyCompromise)
            case "remove": try commit.removeNode(commonName: "ra1")
            case "rebind": try commit.rebindNode(commonName: "ra1", binding: .address("127.0.0.7"))
            default: try commit.limitNode(commonName: "ra1", profiles: [], names: nil)
            }
            return certificate.serial
        }
        let before = try self.signing(test, "before.example", by: self.first)
        let after = try self.signing(test, "after.example", by: self.first)
        let report = authority.commit([before, ending, after])
        #expect(throws: Never.self) { _ = try (report.results[0].get(), report.results[1].get()) }
        #expect(refusal { _ = try report.results[2].get() }.code == .notAuthorised)
        #expect(try test.store.read { try $0.certificateCount() } == 2)
    }

    @Test("gives an admin's rights to nobody who lost them in it")
    func adminEnds() throws {
        let test = try TestAuthority()
        try test.addNode("ra1", at: "127.0.0.1")
        try test.addAdmin("/CN=ra1")
        let caller = self.first
        let changes = [
            Change<Bool>(TestAuthority.context("remove_admin", caller), needs: .admin) {
                try $0.removeAdmin("/CN=ra1")
                return true
            },
            Change<Bool>(TestAuthority.context("add_admin", caller), needs: .admin) {
                try $0.addAdmin("/CN=ra1")
                return true
            },
        ]
        let report = test.authority.commit(changes)
        #expect(try report.results[0].get())
        #expect(refusal { _ = try report.results[1].get() }.code == .notAuthorised)
        #expect(test.authority.actor(caller).role == .node)
    }

    @Test("does not suffer from a change of it that is refused, throws something unknown, refuses after a write, or writes without audit")
    func badOnes() throws {
        struct Strange: Error {}
        let test = try TestAuthority()
        try test.addNode("ra1", at: "127.0.0.1")
        let authority = test.authority
        let bad: [Change<SerialNumber>] = [
            Change(TestAuthority.context("a", self.first), needs: .admin) { _ in throw Strange() },
            Change(TestAuthority.context("b", self.first), needs: .node) { _ in throw Strange() },
            Change(TestAuthority.context("c", self.first), needs: .node) { commit in
                try commit.addAdmin("/CN=evil")
                throw AuthorityError(.notFound, "half-way")
            },
            Change(TestAuthority.context("d", self.first), needs: .node) { commit in
                try commit.store.addAdmin("/CN=silent")
                throw Strange()
            },
        ]
        for (index, change) in bad.enumerated() {
            let report = authority.commit([
                try self.signing(test, "x\(index).example", by: self.first), change,
                try self.signing(test, "y\(index).example", by: self.first),
            ])
            #expect(throws: Never.self) { _ = try (report.results[0].get(), report.results[2].get()) }
            #expect(throws: AuthorityError.self) { _ = try report.results[1].get() }
            #expect(report.results.count == 3)
        }
        #expect(try test.store.read { try $0.certificateCount() } == 8)
        #expect(authority.state.admins.isEmpty)
        #expect(try test.store.read { try $0.admins() }.isEmpty)
        let verdict = try test.store.read { try $0.verifyAudit() }
        #expect(verdict.firstBad == nil)
        #expect(verdict.verified == authority.state.auditSequence)
    }

    @Test("of 200 leaves exactly one certificate and one audit record for each, and events in order")
    func many() throws {
        let test = try TestAuthority()
        try test.addNode("ra1", at: "127.0.0.1")
        let before = test.authority.state.auditSequence
        let report = test.authority.commit(try (0..<200).map { try self.signing(test, "h\($0).example", by: self.first) })
        let serials = try report.results.map { try $0.get() }
        #expect(Set(serials).count == 200)
        #expect(test.authority.state.auditSequence == before + 200)
        let revoking = serials.map { serial in
            Change<Bool>(TestAuthority.context("revoke", TestAuthority.operatorOnHost), needs: .local) { commit in
                try commit.revoke(.serial(serial), reason: .superseded)
                return true
            }
        }
        let events = test.authority.commit(revoking).events
        let numbers = events.compactMap { event -> Int64? in if case .status(let sequence, _, _) = event { sequence } else { nil } }
        #expect(numbers == Array(1...200))
        #expect(try test.store.read { try $0.setting(.eventSequence) } == "200")
        #expect(try test.reopened().state.eventSequence == 200)
    }
}

@Suite("The audit log")
struct AuditTests {
    @Test("has a record of each change and each refusal, with identity and proof")
    func records() throws {
        let test = try TestAuthority()
        try test.addNode("ra1", at: "127.0.0.1")
        let caller = TestAuthority.front("127.0.0.1")
        let record = try test.sign(try TestAuthority.csr("/CN=a.example"), by: caller)
        #expect(
            refusal { try test.commit("unrevoke", by: caller, needs: .admin) { try $0.unrevoke(.serial(record.serial)) } }.code
                == .notAuthorised)
        let records = try test.store.read { try $0.auditRecords(after: 0, limit: 100) }
        #expect(records.map(\.task) == ["add_node", "sign", "unrevoke"])
        #expect(records.map(\.outcome) == [.done, .done, .refused])
        #expect(records.map(\.identity) == ["uid 0", "node ra1", "node ra1"])
        #expect(records.map(\.proof) == ["local uid 0", "plain address 127.0.0.1", "plain address 127.0.0.1"])
        #expect(records[1].serial == record.serial.hexadecimal && records[1].target == record.subject && records[1].requestID == "r-1")
    }

    @Test("a storage failure of the record issues nothing, whatever else was in the batch")
    func storageFailure() throws {
        let holder = Mutex<FailingStore?>(nil)
        let test = try TestAuthority { inner in
            let store = FailingStore(inner)
            holder.withLock { $0 = store }
            return store
        }
        let store = try #require(holder.withLock { $0 })
        let authority = test.authority
        let actor = authority.actor(TestAuthority.operatorOnHost)
        store.failAudit(about: "")
        #expect(refusal { try test.sign(try TestAuthority.csr("/CN=a.example")) }.code == .storage)
        #expect(refusal { try test.addAdmin("/CN=a") }.code == .storage)
        #expect(try store.read { try $0.certificateCount() } == 0)
        #expect(authority.state.admins.isEmpty && authority.state.auditSequence == 0)
        store.failAudit(about: "bad")
        let changes = try ["one", "bad", "two"].map { name -> Change<Bool> in
            let prepared = try authority.prepareSigning(
                csr: try TestAuthority.csr("/CN=\(name).example"), profile: "server", days: nil, actor: actor, task: "sign")
            return Change(TestAuthority.context("sign", TestAuthority.operatorOnHost), needs: .local) {
                try $0.record(prepared, in: authority)
                return true
            }
        }
        let report = authority.commit(changes)
        #expect(throws: Never.self) { _ = try (report.results[0].get(), report.results[2].get()) }
        #expect(refusal { _ = try report.results[1].get() }.code == .storage)
        store.failAudit(about: nil)
        #expect(try store.read { try $0.certificateCount() } == 2)
        let verdict = try store.read { try $0.verifyAudit() }
        #expect(verdict.firstBad == nil && verdict.verified == 2)
    }

    @Test("a revocation whose record cannot be written is undone whole, and is done when it can be")
    func revocationWithoutRecord() throws {
        let holder = Mutex<FailingStore?>(nil)
        let test = try TestAuthority { inner in
            let store = FailingStore(inner)
            holder.withLock { $0 = store }
            return store
        }
        let store = try #require(holder.withLock { $0 })
        try test.addNode("ra1", at: "127.0.0.1")
        let record = try test.sign(try TestAuthority.csr("/CN=a.example"))
        let before = test.authority.state
        store.failAudit(about: "")
        #expect(refusal { try test.revoke(.serial(record.serial), reason: .keyCompromise) }.code == .storage)
        #expect(refusal { try test.commit("remove_node") { try $0.removeNode(commonName: "ra1") } }.code == .storage)
        #expect(try test.revocation(record.serial) == nil)
        #expect(try store.read { try $0.setting(.eventSequence) } == nil)
        #expect(test.authority.state.auditSequence == before.auditSequence && test.authority.state.eventSequence == 0)
        #expect(test.authority.state.node(commonName: "ra1") != nil)
        store.failAudit(about: nil)
        try test.revoke(.serial(record.serial), reason: .keyCompromise)
        #expect(try test.revocation(record.serial)?.reason == .keyCompromise)
        #expect(try test.authority.verifyAudit().fault == nil)
    }

    @Test("what a client writes can neither break a line nor fill the disk nor break the chain")
    func hostileText() throws {
        for text in ["a\u{0}b", "a\nb", "\u{9b}31m", "\u{202e}x", String(repeating: "x", count: 1 << 20)] {
            // Each as the first of its kind: repeats are only counted.
            let test = try TestAuthority()
            try test.addNode("ra1", at: "127.0.0.1")
            #expect(refusal { try test.revoke(.commonName(text), by: TestAuthority.front("127.0.0.1")) }.code == .certificateNotFound)
            let last = try #require(try test.store.read { try $0.lastAuditRecord() })
            #expect(last.outcome == .refused)
            #expect(last.detail.utf8.count < 4_096)
            #expect(!last.detail.unicodeScalars.contains { $0.value < 0x20 || (0x7f..<0xa0).contains($0.value) || $0.value == 0x202e })
            #expect(try test.store.read { try $0.verifyAudit() }.firstBad == nil)
        }
    }

    @Test("the chain is SHA-256 over the record before and every field: any change is seen")
    func chain() throws {
        let record = AuditRecord(
            sequence: 1, time: UnixTime(2), requestID: "r", identity: "i", proof: "p", task: "t", outcome: .done, target: "x", serial: "s",
            detail: "d", hash: [])
        let hash = record.chained(to: AuditRecord.origin)
        var changed: [AuditRecord] = Array(repeating: record, count: 10)
        changed[0].sequence = 2
        changed[1].time = UnixTime(3)
        changed[2].requestID = "q"
        changed[3].identity = "j"
        changed[4].proof = "q"
        changed[5].task = "u"
        changed[6].outcome = .refused
        changed[7].target = "y"
        changed[8].serial = "t"
        changed[9].detail = "e"
        #expect(changed.allSatisfy { $0.chained(to: AuditRecord.origin) != hash })
        var shifted = record
        (shifted.target, shifted.serial) = ("xs", "")
        #expect(shifted.chained(to: AuditRecord.origin) != hash)
        #expect(record.chained(to: [UInt8](repeating: 1, count: 32)) != hash)
        // The documented form, put together by hand.
        var input = Array("upki-ca/audit/v1".utf8) + [UInt8](repeating: 0, count: 32)
        input += [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2]
        for field in ["r", "i", "p", "t", "done", "x", "s", "d"] {
            input += [0, 0, 0, 0, 0, 0, 0, UInt8(field.utf8.count)] + Array(field.utf8)
        }
        #expect(hash == Array(SHA256.hash(data: input)))
    }

    @Test("goes on after a restart where it stopped")
    func restart() throws {
        let test = try TestAuthority()
        try test.addAdmin("/CN=a")
        let again = try test.reopened()
        let report = again.commit([
            Change<Bool>(TestAuthority.context("t", TestAuthority.operatorOnHost), needs: .local) {
                try $0.addAdmin("/CN=b")
                return true
            }
        ])
        #expect(try report.results[0].get())
        let verdict = try test.store.read { try $0.verifyAudit() }
        #expect(verdict.verified == 2 && verdict.firstBad == nil)
    }

    @Test("a store of another CA is refused")
    func otherCA() throws {
        let test = try TestAuthority()
        try test.store.write { try $0.set(.authorityFingerprint, "00") }
        #expect(refusal { _ = try test.reopened() }.code == .storage)
    }
}

@Suite("Issuing under ACME orders")
struct AcmeTests {
    private let caller = TestAuthority.front("127.0.0.1")

    private func withOrder(
        _ identifiers: [AcmeIdentifier] = [.init(type: "dns", value: "a.example.org")], account: String = "valid", order: String = "ready",
        authorization: String = "valid", authorized: [AcmeIdentifier]? = nil
    ) throws -> TestAuthority {
        let test = try TestAuthority()
        let node = try test.addNode("ra1", at: "127.0.0.1").id
        try test.addNode("ra2", at: "127.0.0.2")
        try test.commit("acme", by: self.caller) { commit in
            try commit.set(AcmeAccount(id: "acc", node: node, jwk: "{}", contact: "[]", status: account, createdAt: ""))
            try commit.set(
                AcmeOrder(
                    id: "ord", node: node, accountID: "acc", identifiers: identifiers, status: order, notBefore: nil, notAfter: nil,
                    serial: nil))
            for (index, identifier) in (authorized ?? identifiers).enumerated() {
                try commit.set(
                    AcmeAuthorization(id: "z\(index)", node: node, orderID: "ord", identifier: identifier, status: authorization))
            }
        }
        return test
    }

    @discardableResult
    private func issue(_ test: TestAuthority, _ csr: String, by caller: Caller? = nil) throws -> CertificateRecord {
        let caller = caller ?? self.caller
        let authority = test.authority
        let prepared = try authority.prepareAcmeIssuing(order: "ord", csr: csr, profile: "server", actor: authority.actor(caller))
        try test.commit("acme_issue_certificate", by: caller, needs: .node) { try $0.recordAcme(prepared, order: "ord", in: authority) }
        return prepared.record
    }

    @Test("gives a certificate once, and the order remembers it whatever the client writes over it")
    func once() throws {
        let test = try self.withOrder()
        let record = try self.issue(test, try TestAuthority.csr("", names: [.dns("a.example.org")]))
        let node = try #require(test.authority.actor(self.caller).node?.id)
        var order = try #require(try test.store.read { try $0.acmeOrder("ord", node: node) })
        #expect(order.status == "valid" && order.serial == record.serial)
        #expect(refusal { try self.issue(test, try TestAuthority.csr("", names: [.dns("a.example.org")])) }.code == .refused)
        order.serial = nil
        let changed = order
        try test.commit("acme_sync_order", by: self.caller) { try $0.set(changed) }
        #expect(try test.store.read { try $0.acmeOrder("ord", node: node) }?.serial == record.serial)
    }

    @Test(
        "needs a valid account, a ready order and valid authorizations",
        arguments: [
            ("deactivated", "ready", "valid"), ("revoked", "ready", "valid"), ("valid", "pending", "valid"), ("valid", "valid", "valid"),
            ("valid", "invalid", "valid"),
            ("valid", "ready", "pending"), ("valid", "ready", "deactivated"), ("valid", "ready", "expired"),
        ])
    func needs(_ account: String, _ order: String, _ authorization: String) throws {
        let test = try self.withOrder(account: account, order: order, authorization: authorization)
        #expect(refusal { try self.issue(test, try TestAuthority.csr("", names: [.dns("a.example.org")])) }.code == .refused)
    }

    @Test(
        "refuses a CSR that names anything else, as CN, DNS, IP, e-mail or URI",
        arguments: [
            ("/CN=b.example.org", []), ("", [AlternativeName.dns("a.example.org"), .dns("b.example.org")]),
            ("/CN=a.example.org", [.ip([1, 2, 3, 4])]),
            ("/CN=a.example.org", [.email("x@a.example.org")]), ("", [.uri("https://a.example.org")]), ("", [.dns("*.a.example.org")]),
            ("/CN=Somebody", [.dns("a.example.org")]),
        ] as [(String, [AlternativeName])])
    func namesElse(_ subject: String, _ names: [AlternativeName]) throws {
        let test = try self.withOrder()
        #expect(refusal { try self.issue(test, try TestAuthority.csr(subject, names: names)) }.code == .refused)
        #expect(try test.store.read { try $0.certificateCount() } == 0)
    }

    @Test("takes a wildcard with the authorization of its base, an address, and upper case")
    func kinds() throws {
        let test = try self.withOrder(
            [.init(type: "dns", value: "*.Example.org"), .init(type: "ip", value: "2001:DB8::1")],
            authorized: [.init(type: "dns", value: "example.org"), .init(type: "ip", value: "2001:db8::1")])
        let address = try #require(AlternativeName(kind: "IP", value: "2001:db8:0::1"))
        try self.issue(test, try TestAuthority.csr("", names: [.dns("*.example.org"), address]))
    }

    @Test("does not know another node's order")
    func otherNode() throws {
        let test = try self.withOrder()
        let csr = try TestAuthority.csr("", names: [.dns("a.example.org")])
        #expect(refusal { try self.issue(test, csr, by: TestAuthority.front("127.0.0.2")) }.code == .notFound)
        #expect(refusal { try self.issue(test, csr, by: TestAuthority.front("127.0.0.3")) }.code == .notAuthorised)
    }

    @Test("looks again in the commit: an authorization that was deactivated meanwhile issues nothing")
    func race() throws {
        let test = try self.withOrder()
        let authority = test.authority
        let prepared = try authority.prepareAcmeIssuing(
            order: "ord", csr: try TestAuthority.csr("", names: [.dns("a.example.org")]), profile: "server",
            actor: authority.actor(self.caller))
        try test.commit("acme_deactivate_authorization", by: self.caller) { try $0.deactivateAuthorization("z0") }
        #expect(
            refusal {
                try test.commit("acme_issue_certificate", by: self.caller) { try $0.recordAcme(prepared, order: "ord", in: authority) }
            }.code == .refused)
    }
}
