// Refusals in the audit log: the first of a kind at once, repeats in one record a minute, and never so many that strangers fill the disk.

import Authority
import InMemoryStore
import PKI
import TestAuthority
import Testing

@Suite("Refusals in the audit log")
struct RefusalRecordsTests {
    private static let wrongSeed = AuthorityError(.invalidSeed, "")

    /// Refuses as the program does: counted and answered at once, or through the writer.
    private func refuse(_ test: TestAuthority, _ error: AuthorityError = wrongSeed, task: String = "register", by caller: Caller) {
        let context = TestAuthority.context(task, caller)
        guard !test.authority.count(error, of: context) else { return }
        let report = test.authority.commit([Change<Bool>(context, needs: .anyone) { _ in throw error }])
        #expect(throws: AuthorityError.self) { _ = try report.results[0].get() }
    }

    private func settle(_ test: TestAuthority) throws {
        let authority = test.authority
        try test.commit("keep_audit", by: Caller(proof: .itself, channel: .admin), isVital: true) { try $0.recordRefusals(in: authority) }
    }

    private func refusals(_ test: TestAuthority) throws -> [AuditRecord] {
        try test.store.read { try $0.auditRecords(after: 0, limit: 100_000) }.filter { $0.outcome == .refused }
    }

    /// How many refusals the records stand for.
    private func total(_ records: [AuditRecord]) -> Int {
        records.reduce(0) { sum, record in
            guard let words = record.detail.split(separator: ": ").last, words.contains(" times between ") else { return sum + 1 }
            return sum + (Int(words.split(separator: " ").first ?? "") ?? 0)
        }
    }

    @Test("of one identity, task and reason the first is a record at once and its repeats are one record a minute later")
    func repeats() throws {
        let test = try TestAuthority()
        try test.addNode("ra1", at: "127.0.0.1")
        let node = TestAuthority.front("127.0.0.1")
        for second in 0..<50 {
            self.refuse(test, AuthorityError(.notAuthorised, "unrevoke needs a listed admin"), task: "unrevoke", by: node)
            if second < 49 { test.clock.move(bySeconds: 1) }
        }
        #expect(try self.refusals(test).map(\.detail) == ["notAuthorised: unrevoke needs a listed admin"])
        #expect(!test.authority.refusalsAreDue)
        test.clock.move(bySeconds: 11)
        #expect(test.authority.refusalsAreDue)
        try self.settle(test)
        let records = try self.refusals(test)
        #expect(records.count == 2 && self.total(records) == 50)
        #expect(records[1].identity == "node ra1" && records[1].proof == "plain address 127.0.0.1" && records[1].task == "unrevoke")
        #expect(records[1].detail == "notAuthorised: 49 more times between 2026-11-23T12:00:00Z and 2026-11-23T12:00:49Z")
        // What was written is not written again, and the next one is a first one again.
        #expect(!test.authority.refusalsAreDue)
        try self.settle(test)
        #expect(try self.refusals(test).count == 2)
        self.refuse(test, AuthorityError(.notAuthorised, "unrevoke needs a listed admin"), task: "unrevoke", by: node)
        #expect(try self.refusals(test).count == 3)
    }

    @Test("another task, another reason and another identity are other kinds")
    func kinds() throws {
        let test = try TestAuthority()
        try test.addNode("ra1", at: "127.0.0.1")
        try test.addNode("ra2", at: "127.0.0.2")
        for _ in 0..<3 {
            self.refuse(test, by: TestAuthority.front("127.0.0.1"))
            self.refuse(test, by: TestAuthority.front("127.0.0.2"))
            self.refuse(test, task: "generate", by: TestAuthority.front("127.0.0.1"))
            self.refuse(test, AuthorityError(.refused, "no"), by: TestAuthority.front("127.0.0.1"))
            self.refuse(test, by: TestAuthority.operatorOnHost)
        }
        #expect(try self.refusals(test).count == 5)
        try self.settle(test)
        #expect(try self.refusals(test).count == 10)
        #expect(self.total(try self.refusals(test)) == 15)
    }

    @Test("a million refusals from strangers with many addresses, in one minute, cost 33 records, and none is forgotten")
    func aMillion() throws {
        let test = try TestAuthority()
        let count = 1_000_000
        let errors = [Self.wrongSeed, AuthorityError(.registrationClosed, "closed"), AuthorityError(.notAuthorised, "sign needs a node")]
        let callers = (0..<5_000).map { TestAuthority.registrar("192.0.\($0 / 250).\($0 % 250)") }
        for number in 0..<count {
            self.refuse(test, errors[number % 3], task: number % 2 == 0 ? "register" : "sign", by: callers[number % 5_000])
            if number % 20_000 == 0 { test.clock.move(bySeconds: 1) }
        }
        #expect(test.authority.state.auditSequence == 16)
        test.clock.move(bySeconds: 60)
        try self.settle(test)
        let records = try self.refusals(test)
        #expect(records.count == 33)
        #expect(self.total(records) == count)
        let others = try #require(records.last)
        #expect(others.identity == "others" && others.proof == "at least 4096 origins")
        #expect(try test.authority.verifyAudit().fault == nil)
    }

    @Test("a flood of strangers leaves room for nodes and the operator, whose refusals are told apart")
    func knownBesideStrangers() throws {
        let test = try TestAuthority()
        try test.addNode("ra1", at: "127.0.0.1")
        for number in 0..<2_000 { self.refuse(test, by: TestAuthority.registrar("192.0.2.\(number % 250)")) }
        let before = try self.refusals(test).count
        self.refuse(test, by: TestAuthority.front("127.0.0.1"))
        self.refuse(test, by: TestAuthority.operatorOnHost)
        #expect(try self.refusals(test).dropFirst(before).map(\.identity) == ["node ra1", "uid 0"])
    }

    @Test("a node cannot fill the disk with ever new kinds either")
    func manyKinds() throws {
        let test = try TestAuthority()
        try test.addNode("ra1", at: "127.0.0.1")
        for number in 0..<3_000 { self.refuse(test, task: "task\(number)", by: TestAuthority.front("127.0.0.1")) }
        #expect(try self.refusals(test).count == 1_000)
        try self.settle(test)
        #expect(self.total(try self.refusals(test)) == 3_000)
    }

    @Test("what is counted while counts are written, or cannot be written, is not lost")
    func unwritten() throws {
        var made: UnwillingStore?
        let test = try TestAuthority(wrapping: {
            let store = UnwillingStore($0)
            made = store
            return store
        })
        let store = try #require(made)
        let stranger = TestAuthority.registrar("192.0.2.1")
        for _ in 0..<10 { self.refuse(test, by: stranger) }
        test.clock.move(bySeconds: 61)
        store.isUnwilling = true
        #expect(throws: AuthorityError.self) { try self.settle(test) }
        for _ in 0..<5 { self.refuse(test, by: stranger) }
        #expect(test.authority.refusalsAreDue)
        store.isUnwilling = false
        try self.settle(test)
        let records = try self.refusals(test)
        #expect(records.count == 2 && self.total(records) == 15)
    }

    @Test("a first one whose record is undone with its batch is recorded when the batch is tried again")
    func undone() throws {
        let test = try TestAuthority()
        let stranger = TestAuthority.registrar("192.0.2.1")
        let context = TestAuthority.context("register", stranger)
        struct Fault: Error {}
        let report = test.authority.commit([
            Change<Bool>(context, needs: .anyone) { _ in throw Self.wrongSeed },
            Change<Bool>(context, needs: .anyone) { _ in throw Fault() },
            Change<Bool>(context, needs: .anyone) { _ in throw Self.wrongSeed },
        ])
        #expect(report.results.count == 3)
        #expect(try self.refusals(test).count == 1)
        try self.settle(test)
        #expect(self.total(try self.refusals(test)) == 2)
    }

    @Test("counts wait no longer than a minute when the clock goes back")
    func clockBack() throws {
        let test = try TestAuthority()
        for _ in 0..<3 { self.refuse(test, by: TestAuthority.registrar("192.0.2.1")) }
        test.clock.move(bySeconds: -86_400)
        #expect(test.authority.refusalsAreDue)
        try self.settle(test)
        #expect(self.total(try self.refusals(test)) == 3)
    }

    @Test("a failure of the store is no refusal, and is not counted")
    func failures() throws {
        let test = try TestAuthority()
        let context = TestAuthority.context("sign", TestAuthority.registrar("192.0.2.1"))
        for _ in 0..<3 { #expect(!test.authority.count(AuthorityError(.storage, "x"), of: context)) }
        #expect(!test.authority.refusalsAreDue)
    }
}

/// A store that takes no change while it is unwilling.
final class UnwillingStore: Store {
    private let inner: InMemoryStore
    nonisolated(unsafe) var isUnwilling = false

    init(_ inner: InMemoryStore) { self.inner = inner }

    func read<Result>(_ body: (any StoreReader) throws -> Result) throws -> Result { try self.inner.read(body) }

    func write<Result>(_ body: (any StoreWriter) throws -> Result) throws -> Result {
        guard !self.isUnwilling else { throw AuthorityError(.storageUnavailable, "the disk is full") }
        return try self.inner.write(body)
    }
}
