// What goes on and what is refused when the disk is full, the store fails at a commit, or the clock was set.

import Authority
import InMemoryStore
import PKI
import RevocationFormats
import Synchronization
import TestAuthority
import Testing

/// A store on a disk that can be full, with so many pieces set aside, each good for one commit; or one that fails although it committed.
private final class FaultyStore: Store {
    enum Fault { case none, full, failsAfterCommit, failsBeforeCommit }
    private struct State {
        var fault = Fault.none
        var pieces = 0
        /// Some were given up.
        var isShort = false
        var room = 0
        var writes = 0
    }
    let inner: InMemoryStore
    private let state = Mutex(State())

    init(_ inner: InMemoryStore) { self.inner = inner }

    var writes: Int { self.state.withLock { $0.writes } }
    var pieces: Int { self.state.withLock { $0.pieces } }

    func set(_ fault: Fault, pieces: Int = 0) { self.state.withLock { $0 = State(fault: fault, pieces: pieces) } }

    func read<Result>(_ body: (any StoreReader) throws -> Result) throws -> Result { try self.inner.read(body) }

    func write<Result>(_ body: (any StoreWriter) throws -> Result) throws -> Result {
        let fault = self.state.withLock { state in
            state.writes += 1
            guard state.fault == .full, state.room > 0 else { return state.fault }
            state.room -= 1
            return .none
        }
        switch fault {
        case .none: return try self.inner.write(body)
        case .full: throw AuthorityError(.storageFull, "the disk is full")
        case .failsBeforeCommit: throw AuthorityError(.storageUnavailable, "the disk reports an error")
        case .failsAfterCommit:
            _ = try self.inner.write(body)
            throw AuthorityError(.storageUnavailable, "the disk reports an error")
        }
    }

    var isShortOfSpace: Bool { self.state.withLock(\.isShort) }

    func giveUpSpace(_ bytes: Int64) -> Bool {
        self.state.withLock { state in
            guard state.pieces > 0 else { return false }
            state.pieces -= 1
            state.room += 1
            state.isShort = true
            return true
        }
    }
}

private struct Bench {
    let test: TestAuthority
    let store: FaultyStore

    init() throws {
        var made: FaultyStore?
        self.test = try TestAuthority(wrapping: {
            let store = FaultyStore($0)
            made = store
            return store
        })
        self.store = try #require(made)
    }

    func change(_ task: String, isVital: Bool, _ run: @escaping @Sendable (inout Commit) throws -> Void) -> Change<Bool> {
        Change(TestAuthority.context(task, TestAuthority.operatorOnHost), needs: .local, isVital: isVital) { commit in
            try run(&commit)
            return true
        }
    }

    func verifyChain(count: Int64) throws {
        let verdict = try self.test.authority.verifyAudit()
        #expect(verdict.firstBad == nil && verdict.verified == count, "\(verdict)")
    }
}

@Suite("A full disk")
struct FullDiskTests {
    @Test("takes revocations from the space set aside, refuses the rest of the same batch in its place, and keeps the chain")
    func vital() throws {
        let bench = try Bench()
        let first = try bench.test.generate("a.example.org").serial
        let second = try bench.test.generate("b.example.org").serial
        bench.store.set(.full, pieces: 3)
        let report = bench.test.authority.commit([
            bench.change("add_admin", isVital: false) { try $0.addAdmin("/CN=x") },
            bench.change("revoke", isVital: true) { try $0.revoke(.serial(first), reason: .keyCompromise) },
            bench.change("add_admin", isVital: false) { try $0.addAdmin("/CN=y") },
            bench.change("revoke", isVital: true) { try $0.revoke(.serial(second), reason: .superseded) },
        ])
        #expect(report.results.count == 4)
        #expect(throws: AuthorityError(.storageFull, "")) { try report.results[0].get() }
        #expect(try report.results[1].get())
        #expect(throws: AuthorityError(.storageFull, "")) { try report.results[2].get() }
        #expect(try report.results[3].get())
        #expect(report.events.count == 2 && report.wantsCRL)
        #expect(try bench.test.revocation(first)?.reason == .keyCompromise)
        #expect(try bench.test.revocation(second)?.reason == .superseded)
        #expect(bench.test.authority.state.admins.isEmpty)
        #expect(bench.store.pieces == 2, "one piece was enough for both")
        try bench.verifyChain(count: 4)
    }

    @Test("refuses other changes without asking the store while the space set aside is in use, and takes them again afterwards")
    func others() throws {
        let bench = try Bench()
        let serial = try bench.test.generate("a.example.org").serial
        bench.store.set(.full, pieces: 3)
        try bench.test.revoke(.serial(serial))
        #expect(bench.store.isShortOfSpace)
        let writes = bench.store.writes
        let error = #expect(throws: AuthorityError.self) { try bench.test.addAdmin("/CN=x") }
        #expect(error?.code == .storageFull)
        #expect(error?.detail == "the disk is full; only revocations are taken until there is space again")
        #expect(bench.store.writes == writes)
        bench.store.set(.none)
        try bench.test.addAdmin("/CN=x")
        #expect(bench.test.authority.state.admins.count == 1)
        try bench.verifyChain(count: 3)
    }

    @Test("refuses a revocation too once everything set aside is used up, and loses nothing")
    func usedUp() throws {
        let bench = try Bench()
        let serial = try bench.test.generate("a.example.org").serial
        bench.store.set(.full, pieces: 0)
        #expect(throws: AuthorityError(.storageFull, "")) { try bench.test.revoke(.serial(serial)) }
        #expect(try bench.test.revocation(serial) == nil)
        bench.store.set(.none)
        try bench.test.revoke(.serial(serial))
        try bench.verifyChain(count: 2)
    }
}

@Suite("A store that fails at a commit")
struct FailedCommitTests {
    @Test(
        "is asked what it holds before the next change: a refused one that it kept all the same is not done twice, and the chain goes on after it"
    )
    func kept() throws {
        let bench = try Bench()
        try bench.test.addAdmin("/CN=first")
        bench.store.set(.failsAfterCommit)
        #expect(throws: AuthorityError(.storageUnavailable, "")) { try bench.test.addAdmin("/CN=kept") }
        #expect(bench.test.authority.state.auditSequence == 1, "memory does not know yet")
        bench.store.set(.none)
        try bench.test.addAdmin("/CN=kept")
        try bench.test.addAdmin("/CN=third")
        #expect(bench.test.authority.state.admins.map(\.text) == ["/CN=first", "/CN=kept", "/CN=third"])
        let records = try bench.test.store.read { try $0.auditRecords(after: 0, limit: 10) }
        #expect(records.map(\.detail) == ["", "", "already an admin", ""])
        try bench.verifyChain(count: 4)
        #expect(try bench.test.reopened().state.admins == bench.test.authority.state.admins)
    }

    @Test("goes on where it was when the refused change left nothing, and keeps its profiles")
    func notKept() throws {
        let bench = try Bench()
        let profiles = Set(bench.test.authority.state.profiles.keys)
        bench.store.set(.failsBeforeCommit)
        let report = bench.test.authority.commit(
            (1...9).map { number in bench.change("add_admin", isVital: false) { try $0.addAdmin("/CN=\(number)") } })
        #expect(report.results.count == 9 && report.events.isEmpty)
        for result in report.results { #expect(throws: AuthorityError(.storageUnavailable, "")) { try result.get() } }
        #expect(bench.store.writes == 1, "a failing disk is asked once")
        bench.store.set(.none)
        try bench.test.addAdmin("/CN=a")
        #expect(bench.test.authority.state.admins.count == 1)
        #expect(Set(bench.test.authority.state.profiles.keys) == profiles)
        try bench.verifyChain(count: 1)
    }
}

@Suite("A clock that was set")
struct ClockTests {
    private static let day: Int64 = 86_400

    @Test("back by more than five minutes: issuing is refused with both times and the remedy, also over a restart; nothing is stored of it")
    func back() throws {
        let test = try TestAuthority()
        try test.generate("a.example.org")
        test.clock.move(bySeconds: -Self.day)
        #expect(test.authority.secondsBehind == Self.day)
        let error = #expect(throws: AuthorityError.self) { try test.generate("b.example.org") }
        #expect(error?.code == .refused)
        #expect(
            error?.detail
                == "Request refused: the clock stands at 2026-11-22T12:00:00Z, before the last record (2026-11-23T12:00:00Z); set it on the CA's host, or, where it is right, run: ca-ctl clock accept"
        )
        #expect(try test.store.read { try $0.certificateCount() } == 1)
        #expect(try test.reopened().secondsBehind == Self.day)
        test.clock.move(bySeconds: Self.day)
        #expect(test.authority.secondsBehind == 0)
        try test.generate("b.example.org")
    }

    @Test("back by five minutes: as time services do; records never seem older than the one before")
    func alittle() throws {
        let test = try TestAuthority()
        try test.generate("a.example.org")
        test.clock.move(bySeconds: -300)
        let record = try test.generate("b.example.org")
        #expect(record.issuedAt == TestAuthority.start.advanced(bySeconds: -300))
        test.clock.move(bySeconds: 100)
        try test.revoke(.serial(record.serial))
        let times = try test.store.read { try $0.auditRecords(after: 0, limit: 10) }.map(\.time)
        #expect(times == [UnixTime](repeating: TestAuthority.start, count: 3))
    }

    @Test("back: revocations, their CRL and the end of rights go on, with the time of the last record")
    func revocations() throws {
        let test = try TestAuthority()
        let record = try test.generate("a.example.org")
        let number = try test.commit("crl", isVital: true) { try $0.planRevocationList().number }
        test.clock.move(bySeconds: -400 * Self.day)
        try test.revoke(.serial(record.serial), reason: .keyCompromise)
        #expect(try test.revocation(record.serial)?.revokedAt == TestAuthority.start)
        let plan = try test.commit("crl", isVital: true) { try $0.planRevocationList() }
        #expect(plan.number > number)
        #expect(plan.thisUpdate == TestAuthority.start)
        #expect(try test.authority.verifyAudit().firstBad == nil)
    }

    @Test("back: a node whose certificate expired, a token and a window that ended do not come to life again")
    func rights() throws {
        let test = try TestAuthority()
        let token = try test.standingToken()
        try test.openRegistration(seconds: 3_600)
        let (node, _) = try test.register("ra", from: "127.0.0.1", token: token)
        let late = try #require(node.notAfter).advanced(bySeconds: 10)
        test.clock.move(bySeconds: late.seconds - test.clock.now.seconds)
        try test.addAdmin("/CN=a")
        #expect(test.authority.actor(TestAuthority.front("127.0.0.1")).role == .anyone)
        // The clock stands in the first minute again, when all three lived.
        test.clock.move(bySeconds: TestAuthority.start.seconds + 60 - test.clock.now.seconds)
        #expect(test.authority.actor(TestAuthority.front("127.0.0.1")).role == .anyone)
        #expect(throws: AuthorityError(.refused, "")) { try test.register("other", from: "127.0.0.2", token: token) }
    }

    @Test("accepted by the operator: issuing goes on from there, the record says from when to when, and a CRL is asked for")
    func accepted() throws {
        let test = try TestAuthority()
        test.clock.move(bySeconds: 3_000 * Self.day)
        try test.addAdmin("/CN=a")
        let ahead = test.clock.now
        test.clock.move(bySeconds: -3_000 * Self.day)
        #expect(throws: AuthorityError(.refused, "")) { try test.generate("a.example.org") }
        let change = Change(TestAuthority.context("accept_clock", TestAuthority.operatorOnHost), needs: .local, isVital: true) {
            try $0.acceptClock()
        }
        let report = test.authority.commit([change])
        try report.results[0].get()
        #expect(report.wantsCRL)
        let record = try test.generate("a.example.org")
        #expect(record.issuedAt == TestAuthority.start)
        let last = try #require(try test.store.read { try $0.auditRecords(after: 0, limit: 10) }.first { $0.task == "accept_clock" })
        #expect(last.time == TestAuthority.start && last.detail.contains(ahead.rfc3339) && last.outcome == .done)
        #expect(try test.authority.verifyAudit().firstBad == nil)
    }

    @Test("forward past the CA's own end: issuing is refused and names the clock; set right, everything goes on after the operator's word")
    func forward() throws {
        let test = try TestAuthority(days: 100)
        test.clock.move(bySeconds: 101 * Self.day)
        let error = #expect(throws: AuthorityError.self) { try test.generate("a.example.org") }
        #expect(error?.detail.contains("check the clock") == true)
        test.clock.move(bySeconds: -101 * Self.day)
        try test.generate("a.example.org")
    }

    @Test("serial numbers of certificates issued after a step back within the tolerance are new ones all the same")
    func serials() throws {
        let test = try TestAuthority()
        var serials: Set<SerialNumber> = []
        for _ in 0..<50 {
            serials.insert(try test.sign(try TestAuthority.csr("/CN=a.example.org")).serial)
            test.clock.move(bySeconds: -2)
        }
        #expect(serials.count == 50)
    }
}

@Suite("A commit that only seemed to fail")
struct DoubtfulCommitTests {
    @Test("is told as a gap before its repetition is answered, once, and brings a CRL")
    func missed() throws {
        let bench = try Bench()
        let serial = try bench.test.generate("a.example.org").serial
        let change = bench.change("revoke", isVital: true) { try $0.revoke(.serial(serial), reason: .keyCompromise) }
        bench.store.set(.failsAfterCommit)
        let failed = bench.test.authority.commit([change])
        #expect(throws: AuthorityError(.storageUnavailable, "")) { try failed.results[0].get() }
        #expect(failed.events.isEmpty && !failed.wantsCRL)
        #expect(bench.test.authority.state.eventSequence == 0)
        bench.store.set(.none)
        // The repetition changes nothing more; whoever keeps statuses has to hear of it all the same.
        let repeated = bench.test.authority.commit([change])
        #expect(try repeated.results[0].get())
        #expect(repeated.events == [.missed(sequence: 1)] && repeated.wantsCRL)
        #expect(bench.test.authority.state.eventSequence == 1)
        let after = bench.test.authority.commit([change])
        #expect(after.events.isEmpty && !after.wantsCRL)
    }

    @Test("is no gap where nothing was written")
    func nothing() throws {
        let bench = try Bench()
        let serial = try bench.test.generate("a.example.org").serial
        let change = bench.change("revoke", isVital: true) { try $0.revoke(.serial(serial), reason: .keyCompromise) }
        bench.store.set(.failsBeforeCommit)
        _ = bench.test.authority.commit([change])
        bench.store.set(.none)
        let repeated = bench.test.authority.commit([change])
        #expect(repeated.events.map(\.sequence) == [1])
        guard case .status? = repeated.events.first else {
            Issue.record("\(repeated.events)")
            return
        }
    }
}
