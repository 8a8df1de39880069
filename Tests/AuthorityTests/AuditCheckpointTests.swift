// Signed checkpoints: when they are made, what they say, and that nobody without the audit key can change, remove or cut off what they cover.

import Authority
import Crypto
import InMemoryStore
import PKI
import Synchronization
import TestAuthority
import Testing

/// A log of 40 records with a checkpoint after each tenth but the first, which has two.
private struct Log {
    let test: TestAuthority
    let store: InMemoryStore

    init(records: Int = 40) throws {
        var made: InMemoryStore?
        self.test = try TestAuthority(wrapping: {
            made = $0
            return $0
        })
        self.store = try #require(made)
        for number in 1...records {
            try self.test.commit("act") { try $0.audit(target: "act \(number)") }
            self.test.clock.move(bySeconds: 1)
            if number % 10 == 0 { try self.checkpoint() }
        }
    }

    func checkpoint() throws { try self.test.commit("keep_audit") { try $0.checkpoint() } }

    /// What an attacker can do: recompute every hash from a record on.
    static func rechain(_ records: inout [AuditRecord], from index: Int) {
        for position in index..<records.count {
            records[position].hash = records[position].chained(to: position == 0 ? AuditRecord.origin : records[position - 1].hash)
        }
    }

    /// As a process that starts on what the attacker left finds it.
    func verify() throws -> AuditVerdict { try self.test.reopened().verifyAudit() }
}

@Suite("Checkpoints of the audit log")
struct AuditCheckpointTests {
    @Test("are Ed25519 over the documented octets, and each follows the one before")
    func form() throws {
        let log = try Log()
        let checkpoints = try log.store.read { try $0.auditCheckpoints(after: 0, limit: 100) }
        #expect(checkpoints.map(\.number) == [1, 2, 3, 4, 5])
        #expect(checkpoints.map(\.sequence) == [1, 10, 20, 30, 40])
        let key = try Curve25519.Signing.PublicKey(rawRepresentation: log.test.audit.publicKey)
        let fingerprint = Array(SHA256.hash(data: log.test.authority.issuer.der))
        var previous = [UInt8](repeating: 0, count: 32)
        for checkpoint in checkpoints {
            var octets = Array("upki-ca/audit-checkpoint/v1".utf8) + fingerprint
            for number in [checkpoint.number, checkpoint.sequence, checkpoint.time.seconds] {
                octets += withUnsafeBytes(of: number.bigEndian) { Array($0) }
            }
            let record = try #require(try log.store.read { try $0.auditRecords(after: checkpoint.sequence - 1, limit: 1) }.first)
            octets += record.hash + previous
            #expect(key.isValidSignature(checkpoint.signature, for: octets))
            previous = Array(SHA256.hash(data: octets + checkpoint.signature))
        }
        #expect(log.test.audit.announced == checkpoints)
    }

    @Test("come with the first records, with each CRL, and when they are asked for, but only where something is new")
    func when() throws {
        let test = try TestAuthority()
        #expect(test.authority.state.checkpointNumber == 0)
        try test.addAdmin("/CN=a")
        #expect(test.authority.state.checkpointNumber == 1 && !test.authority.hasOpenRecords)
        try test.addAdmin("/CN=b")
        #expect(test.authority.state.checkpointNumber == 1 && test.authority.hasOpenRecords)
        _ = try test.commit("crl") { try $0.planRevocationList() }
        #expect(test.authority.state.checkpointNumber == 2 && test.authority.state.checkpointSequence == 3)
        for _ in 0..<3 { try test.commit("keep_audit") { try $0.checkpoint() } }
        #expect(test.authority.state.checkpointNumber == 2 && test.authority.state.auditSequence == 3)
    }

    @Test("one comes before a record that would leave an older one uncovered for more than half a minute, whatever timers do")
    func withoutTimers() throws {
        let test = try TestAuthority()
        for _ in 0..<20 {
            try test.addAdmin("/CN=a\(test.authority.state.auditSequence)")
            test.clock.move(bySeconds: 25)
        }
        #expect(try test.authority.verifyAudit().fault == nil)
        #expect(test.authority.state.checkpointNumber == 10)
        // A clock that jumps, in both directions, makes no fault either.
        for jump in [3_600, -7_200, 86_400, -86_400, 90, 0, 31] as [Int64] {
            try test.commit("act", isVital: true) { try $0.audit() }
            test.clock.move(bySeconds: jump)
        }
        try test.commit("accept_clock", isVital: true) { try $0.acceptClock() }
        test.clock.move(bySeconds: 31)
        try test.addAdmin("/CN=last")
        #expect(try test.authority.verifyAudit().fault == nil)
    }

    @Test("go on after a restart, and cover first what a killed process left uncovered")
    func restart() throws {
        let log = try Log(records: 15)
        log.test.clock.move(bySeconds: 86_400)
        let again = try log.test.reopened()
        #expect(try again.auditFaultAtStart() == nil)
        let report = again.commit([
            Change<Bool>(TestAuthority.context("start", TestAuthority.operatorOnHost), needs: .local) {
                try $0.audit()
                return true
            }
        ])
        #expect(try report.results[0].get())
        #expect(again.state.checkpointNumber == 3 && again.state.checkpointSequence == 15)
        #expect(try again.verifyAudit().fault == nil)
    }

    @Test("are announced only once they are on disk")
    func announced() throws {
        var made: UnwillingStore?
        let test = try TestAuthority(wrapping: {
            let store = UnwillingStore($0)
            made = store
            return store
        })
        let store = try #require(made)
        try test.addAdmin("/CN=a")
        try test.addAdmin("/CN=b")
        store.isUnwilling = true
        #expect(throws: AuthorityError.self) { try test.commit("keep_audit") { try $0.checkpoint() } }
        #expect(test.audit.announced.count == 1)
        store.isUnwilling = false
        try test.commit("keep_audit") { try $0.checkpoint() }
        #expect(test.audit.announced.map(\.number) == [1, 2])
    }

    @Test("are read again from a log for a person, a log in JSON and a file of their own; a damaged one is none")
    func lines() throws {
        let checkpoint = try #require(try Log(records: 10).test.audit.announced.last)
        for text in [checkpoint.line, "15:04:05 info  \(checkpoint.line)", #"{"level":"info","message":"\#(checkpoint.line)","x":"a b"}"#] {
            #expect(AuditCheckpoint(line: text) == checkpoint)
        }
        #expect(!checkpoint.line.contains("\n") && checkpoint.line.utf8.count < 400)
        for text in [
            "", "audit checkpoint v1 ", String(checkpoint.line.dropLast()), checkpoint.line.replacing(" v1 ", with: " v2 "),
            checkpoint.line.replacing(" v1 2 ", with: " v1 0 "), checkpoint.line.replacing(" 10 ", with: " -10 "),
            checkpoint.line.replacing(" v1 2 ", with: " v1 99999999999999999999 "), checkpoint.line.replacing("T", with: " "),
        ] { #expect(AuditCheckpoint(line: text) == nil, "\(text)") }
    }

    @Test("prove nothing for another CA or another key")
    func otherKey() throws {
        let log = try Log(records: 10)
        let checkpoint = try #require(log.test.audit.announced.last)
        let fingerprint = log.test.authority.issuer.fingerprint
        #expect(try AuditKey(fingerprint: fingerprint, publicKey: log.test.audit.publicKey).signed(checkpoint))
        #expect(try !AuditKey(fingerprint: fingerprint, publicKey: RememberedCheckpoints().publicKey).signed(checkpoint))
        let other = Hexadecimal.encode(SHA256.hash(data: [1]))
        #expect(try !AuditKey(fingerprint: other, publicKey: log.test.audit.publicKey).signed(checkpoint))
        var changed = Array(repeating: checkpoint, count: 5)
        changed[0].number += 1
        changed[1].sequence += 1
        changed[2].time = UnixTime(0)
        changed[3].head[0] ^= 1
        changed[4].previous[0] ^= 1
        let key = try AuditKey(fingerprint: fingerprint, publicKey: log.test.audit.publicKey)
        for checkpoint in changed { #expect(!key.signed(checkpoint)) }
    }
}

@Suite("Verifying the audit log")
struct AuditVerificationTests {
    /// What somebody with write access to the store did, and what is said of it.
    struct Attack: CustomTestStringConvertible, Sendable {
        let testDescription: String
        let firstBad: Int64
        let words: String
        let act: @Sendable (inout [AuditRecord], inout [AuditCheckpoint]) -> Void

        init(
            _ name: String, _ firstBad: Int64, _ words: String,
            _ act: @escaping @Sendable (inout [AuditRecord], inout [AuditCheckpoint]) -> Void
        ) {
            (self.testDescription, self.firstBad, self.words, self.act) = (name, firstBad, words, act)
        }
    }

    static let attacks = [
        Attack("a record changed", 17, "record 17 was changed") { records, _ in records[16].identity = "uid 1" },
        Attack("a record changed with its own hash", 18, "record 18 was changed or does not follow") { records, _ in
            records[16].identity = "uid 1"
            records[16].hash = records[16].chained(to: records[15].hash)
        },
        Attack("a record removed", 17, "record 17 is missing") { records, _ in records.remove(at: 16) },
        Attack("the first record removed", 1, "record 1 is missing") { records, _ in records.removeFirst() },
        Attack("two removed, and those after renumbered", 17, "record 17 was changed") { records, _ in
            records.removeSubrange(16...17)
            for index in 16..<records.count { records[index].sequence = Int64(index + 1) }
        },
        Attack("the end cut off", 36, "the log is cut off after record 35: checkpoint 5 covers record 40") { records, _ in
            records.removeLast(5)
        },
        Attack("everything cut off", 1, "the log is cut off after record 0") { records, _ in records.removeAll() },
        Attack("a record changed and the whole chain rewritten", 11, "record 20 does not have the hash that checkpoint 3 signed") {
            records, _ in
            records[16].identity = "uid 1"
            Log.rechain(&records, from: 16)
        },
        Attack("one removed, renumbered and rewritten", 11, "record 20 does not have the hash that checkpoint 3 signed") { records, _ in
            records.remove(at: 16)
            for index in 16..<records.count { records[index].sequence = Int64(index + 1) }
            Log.rechain(&records, from: 16)
        },
        Attack(
            "rewritten, and the hashes in the checkpoints put right", 11, "checkpoint 3 (record 20) is not signed by this CA's audit key"
        ) {
            records, checkpoints in
            records[16].identity = "uid 1"
            Log.rechain(&records, from: 16)
            for index in checkpoints.indices { checkpoints[index].head = records[Int(checkpoints[index].sequence) - 1].hash }
        },
        Attack("rewritten, with checkpoints of a key of one's own", 1, "checkpoint 1 (record 1) is not signed by this CA's audit key") {
            records, checkpoints in
            records[0].identity = "uid 1"
            Log.rechain(&records, from: 0)
            guard let own = try? Curve25519.Signing.PrivateKey().signature(for: records[0].hash) else { return }
            for index in checkpoints.indices {
                checkpoints[index].head = records[Int(checkpoints[index].sequence) - 1].hash
                checkpoints[index].signature = Array(own)
            }
        },
        Attack("rewritten, and the checkpoints that contradict it removed", 11, "checkpoint 5 is missing") { records, checkpoints in
            // The running process, or its last line in a log, knows of five.
            records[16].identity = "uid 1"
            Log.rechain(&records, from: 16)
            checkpoints.removeLast(3)
        },
        Attack("a checkpoint in the middle removed", 11, "checkpoint 3 is missing") { _, checkpoints in checkpoints.remove(at: 2) },
        Attack("all checkpoints removed", 1, "there is no checkpoint at all") { _, checkpoints in checkpoints.removeAll() },
        Attack("two checkpoints exchanged", 11, "checkpoint 3 (record 30) is not signed") { _, checkpoints in
            checkpoints.swapAt(2, 3)
            (checkpoints[2].number, checkpoints[3].number) = (3, 4)
        },
        Attack("a checkpoint given another record's number", 11, "not signed") { _, checkpoints in checkpoints[2].sequence = 19 },
    ]

    @Test("finds what was changed, removed, cut off or rewritten, and names the first record that is not proven", arguments: attacks)
    func finds(_ attack: Attack) throws {
        let log = try Log()
        #expect(try log.verify().fault == nil)
        log.store.tamper(attack.act)
        // The process that wrote the log still runs; the same by one that starts, for all but what only memory knows.
        for (name, verdict) in [("running", try log.test.authority.verifyAudit()), ("started", try log.verify())] {
            if name == "started", attack.words == "checkpoint 5 is missing" { continue }
            let fault = try #require(verdict.fault, "\(name)")
            if attack.words != "checkpoint 5 is missing" {
                #expect(fault.words.contains(attack.words), "\(name): \(fault.words)")
                #expect(fault.record == attack.firstBad, "\(name): \(fault.words)")
                #expect(verdict.verified < attack.firstBad && verdict.rest == nil)
            }
        }
    }

    @Test("in pages finds the same", arguments: attacks)
    func pages(_ attack: Attack) throws {
        let log = try Log(records: 2_040)
        log.store.tamper(attack.act)
        let whole = try log.test.authority.verifyAudit()
        var position: AuditWalk.Position?
        var verdict = try log.test.authority.verifyAudit(limit: 1_000)
        while let rest = verdict.rest {
            // As it travels between the pages.
            position = AuditWalk.Position(text: rest.text)
            #expect(position == rest)
            verdict = try log.test.authority.verifyAudit(from: position, limit: 1_000)
        }
        #expect(verdict == whole && verdict.fault != nil)
    }

    @Test("a good log is good in pages too, and while it grows")
    func goodPages() throws {
        let log = try Log(records: 2_040)
        var verdict = try log.test.authority.verifyAudit(limit: 1_000)
        var pages = 1
        while let rest = verdict.rest {
            try log.test.addAdmin("/CN=more\(pages)")
            verdict = try log.test.authority.verifyAudit(from: rest, limit: 1_000)
            pages += 1
        }
        #expect(pages == 3 && verdict.fault == nil && verdict.verified == 2_042 && verdict.checkpoint == 205)
    }

    @Test(
        "a position is no other text",
        arguments: ["", "1", "a b c d e f g", "-1 00 0 00 0 - -", "9223372036854775807 00 0 00 0 - -"])
    func positions(_ text: String) {
        #expect(AuditWalk.Position(text: text) == nil)
    }

    @Test("checkpoints that no longer stand for more than a minute of records were removed")
    func uncovered() throws {
        let log = try Log(records: 200)
        #expect(try log.verify().fault == nil)
        log.store.tamper { _, checkpoints in checkpoints.removeLast(10) }
        let verdict = try log.verify()
        #expect(verdict.fault?.record == 101 && verdict.fault?.words.contains("checkpoints were removed") == true)
    }

    @Test("a checkpoint kept elsewhere convicts a log that was rewritten and had all its checkpoints removed")
    func keptElsewhere() throws {
        let log = try Log()
        let kept = log.test.audit.announced
        let good = try log.test.authority.compare(kept)
        #expect(good.proven == 40 && good.fault == nil)
        log.store.tamper { records, checkpoints in
            records[33].detail = "nothing to see"
            Log.rechain(&records, from: 33)
            checkpoints.removeLast()
        }
        // By itself the store agrees with itself: the end of the log and its checkpoint were rewritten within a minute.
        #expect(try log.verify().fault == nil)
        let started = try log.test.reopened()
        let comparison = try started.compare(kept.reversed())
        #expect(comparison.fault?.record == 31 && comparison.isOfTheLog && comparison.proven == 30)
        #expect(comparison.fault?.words.contains("record 40 does not have the hash that checkpoint 5, kept elsewhere, signed") == true)
        log.store.tamper { records, checkpoints in
            Log.rechain(&records, from: 0)
            checkpoints.removeAll()
        }
        #expect(try started.compare(kept).fault != nil)
    }

    @Test("a checkpoint kept elsewhere convicts a log that was cut off together with its checkpoints")
    func cutOffElsewhere() throws {
        let log = try Log()
        let kept = log.test.audit.announced
        log.store.tamper { records, checkpoints in
            records.removeLast(15)
            checkpoints.removeLast(2)
        }
        #expect(try log.verify().fault == nil)
        let comparison = try log.test.reopened().compare(kept)
        #expect(comparison.fault?.record == 26)
        #expect(
            comparison.fault?.words.hasPrefix("the log is cut off after record 25: checkpoint 4, kept elsewhere, covers record 30") == true)
    }

    @Test("a line that the audit key did not sign convicts nobody")
    func forgedLine() throws {
        let log = try Log()
        var forged = try #require(log.test.audit.announced.last)
        forged.head = [UInt8](repeating: 1, count: 32)
        let comparison = try log.test.authority.compare([forged])
        #expect(comparison.fault?.record == nil && !comparison.isOfTheLog)
        #expect(comparison.fault?.words == "checkpoint 5 (record 40) is not signed by this CA's audit key")
    }
}

@Suite("A fault of the audit log")
struct AuditFaultTests {
    /// What a process does when it starts.
    private func start(_ test: TestAuthority) throws -> Authority {
        let authority = try test.reopened()
        let fault = try authority.auditFaultAtStart()
        let report = authority.commit([
            Change<Bool>(TestAuthority.context("start", Caller(proof: .itself, channel: .admin)), needs: .local) { commit in
                try commit.audit()
                if let fault { try commit.markAuditFault(fault) }
                try commit.checkpoint()
                return true
            }
        ])
        _ = try report.results[0].get()
        return authority
    }

    private func acknowledge(_ authority: Authority) throws {
        let report = authority.commit([
            Change<Bool>(TestAuthority.context("acknowledge_audit", TestAuthority.operatorOnHost), needs: .local) { commit in
                try commit.acknowledgeAuditFault(reason: "restored from a backup")
                return true
            }
        ])
        _ = try report.results[0].get()
    }

    @Test(
        "is seen at a start where the end of the log or the newest checkpoint was touched",
        arguments: [
            AuditVerificationTests.Attack("cut off", 36, "cut off after record 35") { records, _ in records.removeLast(5) },
            .init("emptied", 1, "the log is empty") { records, _ in records.removeAll() },
            .init("rewritten", 1, "record 40 does not have the hash") { records, _ in
                records[0].detail = "x"
                Log.rechain(&records, from: 0)
            },
            .init("the covered record removed", 40, "record 40, which checkpoint 5 covers, is missing") { records, _ in
                records[39].sequence = 41
            },
            .init("no checkpoints", 1, "there is no checkpoint at all") { _, checkpoints in checkpoints.removeAll() },
            .init("a forged checkpoint", 41, "checkpoint 6 is not signed") { records, checkpoints in
                checkpoints.append(
                    AuditCheckpoint(
                        number: 6, sequence: 1_000_000, time: UnixTime(0), head: records[0].hash, previous: records[0].hash,
                        signature: [UInt8](repeating: 0, count: 64)))
            },
        ])
    func atStart(_ attack: AuditVerificationTests.Attack) throws {
        let log = try Log()
        log.store.tamper(attack.act)
        let authority = try self.start(log.test)
        let fault = try #require(authority.state.auditFault)
        #expect(fault.contains(attack.words), "\(fault)")
        // It stands through the next start, although the end of the log is good again, and the log says it.
        let again = try self.start(log.test)
        #expect(again.state.auditFault == fault)
        let records = try log.store.read { try $0.auditRecords(after: 0, limit: 100) }
        #expect(records.contains { $0.detail == "AUDIT FAULT: \(fault.split(separator: ": ", maxSplits: 1).last ?? "")" })
        // The walk finds what the look at the end found, until it is acknowledged; but where no checkpoint is left, the first one
        // that is made covers all, and what was found at the start is all that tells.
        let isSeen = attack.words != "there is no checkpoint at all"
        #expect(try (again.verifyAudit().fault != nil) == isSeen)
        try self.acknowledge(again)
        #expect(again.state.auditFault == nil)
        let verdict = try self.start(log.test).verifyAudit()
        #expect(verdict.fault == nil, "\(verdict.fault?.words ?? "")")
        #expect(verdict.acknowledged.count == (isSeen ? 1 : 0))
        #expect(try log.test.reopened().state.auditFault == nil)
    }

    @Test("numbers of records that were cut off are not given again, and what is written then follows what was signed")
    func cutOffNumbers() throws {
        let log = try Log()
        var cut: [AuditRecord] = []
        log.store.tamper { records, _ in
            cut = Array(records.suffix(5))
            records.removeLast(5)
        }
        let authority = try self.start(log.test)
        #expect(authority.state.auditSequence == 42)
        let verdict = try authority.verifyAudit()
        #expect(verdict.fault == AuditFault(record: 36, "the records 36 to 40 are missing"))
        // Put back from wherever they were kept, the log is whole.
        let restored = cut
        log.store.tamper { records, _ in records.insert(contentsOf: restored, at: 35) }
        #expect(try authority.verifyAudit().fault == nil)
    }

    @Test("acknowledged once is not acknowledged for what is changed later, and a forged acknowledgement is none")
    func later() throws {
        let log = try Log()
        log.store.tamper { records, _ in records[4].detail = "x" }
        let authority = try log.test.reopened()
        let found = try #require(try authority.verifyAudit().fault)
        #expect(found.record == 5)
        let mark = authority.commit([
            Change<Bool>(TestAuthority.context("verify_audit", TestAuthority.operatorOnHost), needs: .local) { commit in
                try commit.markAuditFault(found.words)
                return true
            }
        ])
        _ = try mark.results[0].get()
        try self.acknowledge(authority)
        #expect(try authority.verifyAudit().acknowledged == [found])
        log.test.clock.move(bySeconds: 40)
        let sequence = authority.state.auditSequence
        for name in ["/CN=x", "/CN=y"] {
            let report = authority.commit([
                Change<Bool>(TestAuthority.context("add_admin", TestAuthority.operatorOnHost), needs: .local) { commit in
                    try commit.addAdmin(name)
                    return true
                }
            ])
            _ = try report.results[0].get()
        }
        log.store.tamper { records, _ in records[Int(sequence)].detail = "y" }
        #expect(try authority.verifyAudit().fault?.record == sequence + 1)
        // The setting may be set by anyone who can write to the store; the record must be there, and signed.
        try log.store.write { try $0.set(.auditAcknowledgement, "\(sequence + 1)") }
        #expect(try authority.verifyAudit().fault?.record == 5)
    }

    @Test("cannot be acknowledged where there is none")
    func none() throws {
        let log = try Log()
        let error = #expect(throws: AuthorityError.self) { try self.acknowledge(log.test.authority) }
        #expect(error?.code == .refused)
    }
}
