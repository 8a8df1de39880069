// The audit log as the operator asks about it, and what never gets into it.

import Authority
import InMemoryStore
import PKI
import Tasks
import TestAuthority
import Testing
import UPKIProtocol

@Suite("Asking about the audit log")
struct AuditTaskTests {
    private func ask(_ bench: TaskBench, _ task: String, _ parameters: JSON = [:]) throws -> JSON {
        try bench.ask(task, parameters, by: TaskBench.operatorOnHost)
    }

    private func refusal(_ bench: TaskBench, _ task: String, _ parameters: JSON = [:]) -> String {
        bench.refusal(task, parameters, by: TaskBench.operatorOnHost)
    }

    @Test("verify_audit answers whole or page by page, to the same end")
    func pages() throws {
        let bench = try TaskBench()
        for number in 0..<1_500 { try bench.test.commit("act") { try $0.audit(target: "act \(number)") } }
        let whole = try self.ask(bench, "verify_audit")
        #expect(
            whole.names == ["good", "first_bad", "fault", "acknowledged", "verified", "records", "checkpoint", "rest"]
                && whole["good"] == true && whole["rest"] == .null && whole["verified"] == whole["records"])
        let page = try self.ask(bench, "verify_audit", ["limit": 1_000])
        #expect(page["verified"] == 1_000 && page["good"] == true)
        #expect(try self.ask(bench, "verify_audit", ["limit": 1_000, "position": page["rest"] ?? .null]) == whole)
        #expect(self.refusal(bench, "verify_audit", ["position": "x"]) == "Invalid position parameter: it is the rest of an answer")
        #expect(self.refusal(bench, "verify_audit", ["limit": 0]).hasPrefix("Invalid limit parameter"))
    }

    @Test("audit_checkpoint gives a line that compare_checkpoints proves, also much later")
    func checkpoint() throws {
        let bench = try TaskBench()
        let made = try self.ask(bench, "audit_checkpoint")
        let line = try #require(made.text("line"))
        #expect(made["record"] == .integer(bench.test.authority.state.auditSequence))
        #expect(try self.ask(bench, "audit_checkpoint") == made, "nothing happened since")
        try bench.test.addAdmin("/CN=a")
        #expect(try self.ask(bench, "audit_checkpoint")["number"] != made["number"])
        let compared = try self.ask(bench, "compare_checkpoints", ["checkpoints": [.string("12:00:00 info  " + line)]])
        #expect(compared["good"] == true && compared["proven"] == made["record"] && compared["compared"] == 1)
        for wrong in ["x", String(line.dropLast(2))] {
            #expect(
                self.refusal(bench, "compare_checkpoints", ["checkpoints": [.string(wrong)]]).hasPrefix("Invalid checkpoints parameter"))
        }
        #expect(
            self.refusal(bench, "compare_checkpoints", ["checkpoints": .array(Array(repeating: .string(line), count: 2_001))])
                == "Invalid checkpoints parameter: it has at most 2000 entries")
    }

    @Test("a fault that verify_audit finds stands in status until it is acknowledged, with a record of who did that and why")
    func fault() throws {
        let bench = try TaskBench()
        #expect(try self.ask(bench, "status").at("audit", "fault") == .null)
        #expect(self.refusal(bench, "acknowledge_audit", ["reason": "none"]).hasPrefix("Request refused: no fault of the audit log"))
        try #require(bench.test.store as? InMemoryStore).tamper { records, _ in records[2].target = "somebody else" }
        for _ in 0..<2 {
            let verdict = try self.ask(bench, "verify_audit")
            #expect(verdict["good"] == false && verdict["first_bad"] == 3 && verdict["verified"] == 2)
            #expect(verdict.text("fault")?.hasPrefix("record 3 was changed") == true)
        }
        let fault = try #require(try self.ask(bench, "status").at("audit", "fault")?.stringValue)
        #expect(fault.hasPrefix("found at 2026-11-23T12:00:00Z: record 3 was changed"))
        let records = try bench.test.store.read { try $0.auditRecords(after: 0, limit: 100) }
        #expect(records.filter { $0.detail.hasPrefix("AUDIT FAULT: record 3 was changed") }.count == 1)

        #expect(try self.ask(bench, "acknowledge_audit", ["reason": "a disk was swapped"]) == true)
        #expect(try self.ask(bench, "status").at("audit", "fault") == .null)
        let last = try #require(try bench.test.store.read { try $0.lastAuditRecord() })
        #expect(
            last.identity == "uid 0" && last.task == "acknowledge_audit" && last.detail.hasPrefix("a disk was swapped; the fault found at"))
        let verdict = try self.ask(bench, "verify_audit")
        #expect(verdict["good"] == true && verdict["acknowledged"]?.arrayValue?.first?["record"] == 3)
    }

    @Test("a checkpoint kept elsewhere that the log contradicts makes a fault, one that nobody signed does not")
    func keptElsewhere() throws {
        let bench = try TaskBench()
        let line = try #require(try self.ask(bench, "audit_checkpoint").text("line"))
        let forged = line.replacing(" v1 2 ", with: " v1 9 ")
        let answer = try self.ask(bench, "compare_checkpoints", ["checkpoints": [.string(forged)]])
        #expect(answer["good"] == false && answer["first_bad"] == .null)
        #expect(try self.ask(bench, "status").at("audit", "fault") == .null)
        try #require(bench.test.store as? InMemoryStore).tamper { records, checkpoints in
            records[1].detail = "x"
            for index in 1..<records.count { records[index].hash = records[index].chained(to: records[index - 1].hash) }
            checkpoints.removeLast()
        }
        #expect(try self.ask(bench, "compare_checkpoints", ["checkpoints": [.string(line)]])["good"] == false)
        #expect(try self.ask(bench, "status").at("audit", "fault")?.stringValue?.contains("kept elsewhere") == true)
    }
}

extension JSON {
    func at(_ path: String...) -> JSON? { path.reduce(Optional(self)) { $0?[$1] } }
}

@Suite("Secrets and the audit log")
struct AuditSecretsTests {
    /// Asks as the program does, refusals recorded.
    private func ask(_ bench: TaskBench, _ task: Documented, _ parameters: JSON, by caller: Caller) throws {
        let context = RequestContext(id: "r", task: task.name, caller: caller)
        do { _ = try bench.ask(task.name, parameters, by: caller) } catch {}
        // What a worker refuses is recorded through the writer; the words are the authority's own.
        let request = Request(task: task.name, parameters: Parameters(parameters))
        guard let found = try? TaskTable.task(task.name, on: caller.channel) else { return }
        do {
            var step = try found.start(request, context: context, services: bench.services)
            while case .elsewhere(_, let work) = step { step = try work() }
        } catch let refusal as AuthorityError {
            _ = bench.test.authority.commit([Change<JSON>(context, needs: .anyone) { _ in throw refusal }])
        } catch {}
    }

    @Test("no seed, token, password or private key gets into it, from whichever parameter a client puts one in")
    func secrets() throws {
        let bench = try TaskBench()
        try bench.test.openRegistration(token: "upkireg_window_token")
        let pair = try TestAuthority.keyPair()
        let key = String(decoding: pair.privateKeyPEM, as: UTF8.self)
        let keyLine = try #require(key.split(separator: "\n").dropFirst().first)
        var secrets = [
            "upkireg_a_wrong_token_7f3a9c51", "upkireg_standing_0", "upkireg_window_token", "a raw seed nobody may read", FakeSeeds.seed,
        ]
        secrets.append(String(keyLine))
        // Names that a client chooses are recorded as it wrote them; a secret belongs in none of them. All other texts stay out.
        let names: Set<String> = [
            "cn", "dn", "name", "profile", "address", "account_id", "order_id", "auth_id", "cert_id", "id", "reason", "identifier_type",
            "identifier_value",
        ]
        let callers = [TaskBench.node, TaskBench.admin, TaskBench.stranger, TaskBench.operatorOnHost, TaskBench.registrar]
        for task in Documented.all where task.changes || task.name.contains("seed") {
            for secret in [secrets[0], secrets[1], secrets[2], secrets[3], FakeSeeds.seed, key] {
                for name in Set(task.required + ["seed", "password", "csr", "jwk", "contact", "certificate"]).subtracting(names) {
                    let members = task.required.filter { $0 != name }.map { JSON.Member($0, Documented.values[$0] ?? "x") }
                    for caller in callers where task.channels.contains(caller.channel) {
                        try self.ask(bench, task, .object(members + [.init(name, .string(secret))]), by: caller)
                    }
                }
            }
        }
        // What the CA makes itself.
        for task in ["open_registration", "rotate_token", "rebind_node"] {
            let answer = try bench.ask(task, ["seed": .string(FakeSeeds.seed), "cn": "node"], by: TaskBench.operatorOnHost)
            secrets.append(try #require(answer.text("token")))
        }
        let made = try bench.ask("generate", ["cn": "k.example.org", "local": false])
        secrets.append(String(try #require(made.text("private_key")?.split(separator: "\n").dropFirst().first)))
        let authority = bench.test.authority
        try bench.test.commit("keep_audit") { try $0.recordRefusals(in: authority) }

        let records = try bench.test.store.read { try $0.auditRecords(after: 0, limit: 100_000) }
        #expect(records.count > 30 && records.contains { $0.outcome == .refused })
        for record in records {
            let text = [record.requestID, record.identity, record.proof, record.task, record.target, record.serial, record.detail]
                .joined(separator: "\n")
            for secret in secrets { #expect(!text.contains(secret), "\(record.task): \(text)") }
        }
    }
}
