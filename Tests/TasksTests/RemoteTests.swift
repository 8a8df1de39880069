// What only CURVE proves: administration from afar, registrations whose answer was lost, nodes that are one another's strangers.

import Authority
import Crypto
import PKI
import Tasks
import TestAuthority
import Testing
import UPKIProtocol
import X509

@Suite("From afar")
struct RemoteTests {
    static let remote = Documented.all.filter(\.isRemote)
    static let admin = Caller(proof: .curve("admin-key"), channel: .front)
    static let node = Caller(proof: .curve("node-key"), channel: .front)
    static let other = Caller(proof: .curve("other-key"), channel: .front)
    static let stranger = Caller(proof: .curve("nobody's-key"), channel: .front)

    /// A CA with three nodes that are known by their CURVE keys; the first is an admin.
    private func bench() throws -> TaskBench {
        let bench = try TaskBench()
        for (name, key) in [("chief", "admin-key"), ("curved", "node-key"), ("neighbour", "other-key")] {
            try bench.test.commit("add_node") { _ = try $0.addNode(commonName: name, binding: .curve(key)) }
        }
        try bench.test.addAdmin("CN=chief")
        return bench
    }

    @Test("what the operator asks is for listed admins over CURVE alone: no node, no stranger, no address", arguments: RemoteTests.remote)
    func roles(_ task: Documented) throws {
        let bench = try self.bench()
        let refusal = "Not authorised: \(task.name) needs a listed admin over CURVE (ca-ctl --identity)"
        for caller in [Self.stranger, Self.node, TaskBench.admin, TaskBench.node, TaskBench.stranger] {
            #expect(bench.refusal(task.name, by: caller) == refusal)
        }
        #expect(bench.refusal(task.name, by: Self.admin) != refusal)
    }

    @Test("every other task of the operator's is unknown from afar, to admins too")
    func localAlone() throws {
        let bench = try self.bench()
        let local = Documented.all.filter { $0.role == .local && !$0.isRemote }.map(\.name)
        #expect(
            Set(local) == [
                "reload", "rotate_token", "verify_seed", "add_node", "acknowledge_audit", "accept_clock", "doctor",
                "import_crl", "adopt_certificate", "transport_rotate", "transport_finish", "transport_abort",
            ])
        for name in local { #expect(bench.refusal(name, by: Self.admin) == "Unknown task: \(name)") }
    }

    @Test("an admin opens registration, reads and removes; the audit log names the key that proved it")
    func administers() throws {
        let bench = try self.bench()
        let opened = try bench.ask("open_registration", ["cn": "new"], by: Self.admin)
        #expect(opened["token"]?.stringValue?.isEmpty == false && opened["transport"]?["core_key"] == "key")
        #expect(try bench.ask("nodes", by: Self.admin).arrayValue?.count == 6)
        _ = try bench.ask("remove_node", ["cn": "curved"], by: Self.admin)
        #expect(bench.refusal("list_nodes", by: Self.node) == "Not authorised: list_nodes needs a registered node")
        let record = try #require(bench.ask("audit", ["limit": 1], by: Self.admin).arrayValue?.first)
        #expect(record["identity"] == "node chief" && record["proof"] == "curve admin-key" && record["task"] == "remove_node")
        // Facts of the host stay on the host; so does giving nodes to addresses.
        #expect(try bench.ask("status", by: Self.admin)["version"] == nil)
        #expect(try bench.ask("status", by: TaskBench.operatorOnHost)["version"] == "0")
        #expect(
            bench.refusal("rebind_node", ["cn": "neighbour", "address": "127.0.0.44"], by: Self.admin)
                == "Request refused: only the operator on the CA's host gives a node to an address")
    }

    @Test("an admin who is removed between worker and commit is none", arguments: ["open_registration", "revoke_token", "remove_node"])
    func lostMeanwhile(_ name: String) throws {
        let bench = try self.bench()
        let request = Request(task: name, parameters: Parameters(["cn": "curved", "id": "x"]))
        let step = try TaskTable.task(name, on: .front).start(
            request, context: RequestContext(id: "r", task: name, caller: Self.admin), services: bench.services)
        _ = try bench.ask("remove_admin", ["dn": "/CN=chief"], by: TaskBench.operatorOnHost)
        guard case .change(let change) = step else { throw Refusal(.internalError, "no change") }
        let error = #expect(throws: AuthorityError.self) { _ = try bench.services.authority.commit([change]).results[0].get() }
        #expect(error?.code == .notAuthorised)
    }

    @Test("a node can neither see, renew nor revoke another one's certificate, nor have its key")
    func neighbours() throws {
        let bench = try self.bench()
        let made = try bench.ask("generate", ["cn": "a.example.org"], by: Self.node)
        let serial = try #require(made["serial"])
        for name in ["view", "renew", "revoke"] {
            #expect(bench.refusal(name, ["serial": serial], by: Self.other).hasPrefix("Certificate not found"))
            #expect(bench.refusal(name, ["dn": "a.example.org"], by: Self.other).hasPrefix("Certificate not found"))
        }
        #expect(bench.refusal("get_node", ["cn": "a.example.org"], by: Self.other).hasPrefix("Certificate not found"))
        #expect(try bench.ask("list_nodes", by: Self.other)["nodes"]?.arrayValue?.isEmpty ?? true)
        #expect(try bench.ask("view", ["serial": serial], by: Self.node)["serial"] == serial)
    }

    @Test("an exchange of the CURVE keys is audited, and made")
    func exchange() throws {
        let bench = try self.bench()
        for (name, done) in [("transport_rotate", "next"), ("transport_finish", "finish"), ("transport_rotate", "next"), ("transport_abort", "abort")] {
            #expect(try bench.ask(name, by: TaskBench.operatorOnHost)["core_key"] == "key")
            #expect((bench.services.relays as? FakeRelays)?.changes.value.last == done)
            let record = try bench.ask("audit", ["limit": 1], by: TaskBench.operatorOnHost).arrayValue?.first
            #expect(record?["task"] == .string(name))
        }
    }
}

@Suite("A registration whose answer was lost")
struct RegistrationAgainTests {
    private static let key = P256.Signing.PrivateKey()
    private static let caller = Caller(proof: .curve("key"), channel: .registrar)
    private static let front = Caller(proof: .curve("key"), channel: .front)

    private func csr(_ key: P256.Signing.PrivateKey = RegistrationAgainTests.key) throws -> JSON {
        .string(try TestAuthority.csr("/CN=ra.example.org", key: Certificate.PrivateKey(key)))
    }

    private func request(_ change: (inout [JSON.Member]) -> Void = { _ in }) throws -> JSON {
        var members: [JSON.Member] = [.init("seed", "upkireg_w"), .init("cn", "ra.example.org"), .init("csr", try self.csr())]
        change(&members)
        return .object(members)
    }

    @Test("is given again, on both ports, to the same key for the same name and the same CSR's key; nothing is used up by it")
    func again() throws {
        let bench = try TaskBench()
        try bench.test.openRegistration(token: "upkireg_w", remaining: 2, commonName: "ra.example.org")
        let first = try bench.ask("register", self.request(), by: Self.caller)
        #expect(first["private_key"] == nil && first["certificate"]?.stringValue?.hasPrefix("-----BEGIN CERTIFICATE") == true)
        let issued = try bench.test.store.read { try $0.certificateCount() }
        #expect(try bench.ask("register", self.request(), by: Self.caller) == first)
        #expect(try bench.ask("register", self.request(), by: Self.front) == first)
        #expect(bench.test.authority.state.window.remaining == 1)
        #expect(try bench.test.store.read { try $0.certificateCount() } == issued)
        let record = try bench.ask("audit", ["limit": 1], by: TaskBench.operatorOnHost).arrayValue?.first
        #expect(record?["detail"]?.stringValue?.hasSuffix("is given again") == true && record?["proof"] == "curve key")
        // The window is used up, and the registrar may be gone: the front still knows.
        try bench.test.commit("close") { try $0.closeRegistration(reason: "closed") }
        #expect(try bench.ask("register", self.request(), by: Self.front) == first)
    }

    @Test("is nobody else's, for nothing else, and ends with token, certificate and node")
    func nothingElse() throws {
        let bench = try TaskBench()
        try bench.test.openRegistration(token: "upkireg_w", commonName: "ra.example.org", seconds: 600)
        _ = try bench.ask("register", self.request(), by: Self.caller)
        let thief = Caller(proof: .curve("another"), channel: .registrar)
        #expect(try bench.refusal("register", self.request(), by: thief) == "Invalid registration seed")
        let otherKey = try self.request { try? $0[2] = .init("csr", self.csr(P256.Signing.PrivateKey())) }
        #expect(bench.refusal("register", otherKey, by: Self.caller) == "Invalid registration seed")
        let otherName = try self.request { $0[1] = .init("cn", "other.example.org") }
        #expect(bench.refusal("register", otherName, by: Self.caller) == "Registration is open for another name; on the CA's host run: ca-ctl registrar open --cn NAME")
        let withoutCSR = try self.request { $0.removeLast() }
        #expect(bench.refusal("register", withoutCSR, by: Self.caller) == "Invalid registration seed")
        #expect(bench.refusal("register", try self.request { $0[2] = .init("csr", "nonsense") }, by: Self.caller).hasPrefix("CSR parse error"))

        let token = try #require(bench.ask("tokens", by: TaskBench.operatorOnHost).arrayValue?.first { $0["cn"] == "ra.example.org" }?["id"])
        _ = try bench.ask("revoke_token", ["id": token], by: TaskBench.operatorOnHost)
        #expect(try bench.refusal("register", self.request(), by: Self.caller) == "Invalid registration seed")
    }

    @Test("ends with the node", arguments: ["remove_node", "time"])
    func ends(_ how: String) throws {
        let bench = try TaskBench()
        try bench.test.openRegistration(token: "upkireg_w", commonName: "ra.example.org", seconds: 600)
        _ = try bench.ask("register", self.request(), by: Self.caller)
        if how == "time" { bench.test.clock.move(bySeconds: 601) } else { _ = try bench.ask("remove_node", ["cn": "ra.example.org"], by: TaskBench.operatorOnHost) }
        let refusal = try bench.refusal("register", self.request(), by: Self.caller)
        #expect(refusal.hasPrefix(how == "time" ? "Registration is closed" : "Invalid registration seed"), "\(refusal)")
        #expect(try !bench.refusal("register", self.request(), by: Self.front).isEmpty)
    }
}
