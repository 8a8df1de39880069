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

    /// The key of the admin's certificate.
    private let key = P256.Signing.PrivateKey()

    /// A CA with three nodes that are known by their CURVE keys; the first is an admin with a certificate.
    private func bench() throws -> TaskBench {
        let bench = try TaskBench()
        try bench.test.openRegistration(token: "upkireg_chief")
        let csr = try TestAuthority.csr("/CN=chief", key: Certificate.PrivateKey(key))
        let made = try bench.ask(
            "register", ["seed": "upkireg_chief", "cn": "chief", "csr": .string(csr)],
            by: Caller(proof: .curve("admin-key"), channel: .registrar))
        try bench.test.addAdmin(made["dn"]?.stringValue ?? "")
        for (name, key) in [("curved", "node-key"), ("neighbour", "other-key")] {
            try bench.test.commit("add_node") { _ = try $0.addNode(commonName: name, binding: .curve(key)) }
        }
        return bench
    }

    /// The parameters of a request that the admin has signed.
    private func signed(
        _ task: String, _ parameters: JSON = [:], in bench: TaskBench, key: P256.Signing.PrivateKey? = nil, time: Int64? = nil,
        nonce: String = String(UInt64.random(in: 0x1000_0000_0000_0000 ... .max), radix: 16) + "0123456789abcdef", authority: String? = nil
    ) throws -> JSON {
        let fingerprint = bench.test.authority.issuer.fingerprint.filter { $0 != ":" }.lowercased()
        let text = SignedRequest(
            task: task, parameters: Parameters(parameters), time: time ?? bench.test.clock.now.seconds, nonce: nonce,
            authority: authority ?? fingerprint
        ).text
        let signature = try (key ?? self.key).signature(for: Array(text.utf8)).derRepresentation
        return ["signed": .string(text), "signature": .string(String(decoding: Base64.encode(Array(signature)), as: UTF8.self))]
    }

    private func ask(_ bench: TaskBench, _ task: String, _ parameters: JSON = [:]) throws -> JSON {
        try bench.ask(task, self.signed(task, parameters, in: bench), by: Self.admin)
    }

    @Test("what the operator asks is for listed admins over CURVE alone: no node, no stranger, no address", arguments: RemoteTests.remote)
    func roles(_ task: Documented) throws {
        let bench = try self.bench()
        let refusal = "Not authorised: \(task.name) needs a listed admin over CURVE (ca-ctl --identity)"
        for caller in [Self.stranger, Self.node, TaskBench.admin, TaskBench.node, TaskBench.stranger] {
            #expect(bench.refusal(task.name, by: caller) == refusal)
        }
        // An admin's key alone, as a front that was taken over can claim it, is not enough; with his signature he is heard.
        let unsigned = "Not authorised: \(task.name) needs a request that the admin's key has signed (ca-ctl --identity)"
        #expect(bench.refusal(task.name, by: Self.admin) == unsigned)
        #expect(try !bench.refusal(task.name, self.signed(task.name, in: bench), by: Self.admin).hasPrefix("Not authorised"))
        for other in [Self.node, TaskBench.admin] {
            #expect(try bench.refusal(task.name, self.signed(task.name, in: bench), by: other) == refusal)
        }
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
        let opened = try self.ask(bench, "open_registration", ["cn": "new"])
        #expect(opened["token"]?.stringValue?.isEmpty == false && opened["transport"]?["core_key"] == "key")
        #expect(try self.ask(bench, "nodes").arrayValue?.count == 6)
        _ = try self.ask(bench, "remove_node", ["cn": "curved"])
        #expect(bench.refusal("list_nodes", by: Self.node) == "Not authorised: list_nodes needs a registered node")
        let record = try #require(self.ask(bench, "audit", ["limit": .integer(1)]).arrayValue?.first)
        #expect(record["identity"] == "node chief" && record["proof"] == "curve admin-key" && record["task"] == "remove_node")
        // Facts of the host stay on the host; so does giving nodes to addresses.
        #expect(try self.ask(bench, "status")["version"] == nil)
        #expect(try bench.ask("status", by: TaskBench.operatorOnHost)["version"] == "0")
        #expect(
            try bench.refusal(
                "rebind_node", self.signed("rebind_node", ["cn": "neighbour", "address": "127.0.0.44"], in: bench), by: Self.admin)
                == "Request refused: only the operator on the CA's host gives a node to an address")
    }

    @Test("an admin who is removed between worker and commit is none", arguments: ["open_registration", "revoke_token", "remove_node"])
    func lostMeanwhile(_ name: String) throws {
        let bench = try self.bench()
        let request = Request(task: name, parameters: Parameters(try self.signed(name, ["cn": "curved", "id": "x"], in: bench)))
        let step = try TaskTable.task(name, on: .front).start(
            request, context: RequestContext(id: "r", task: name, caller: Self.admin), services: bench.services)
        let chief = try #require(bench.test.authority.state.node(commonName: "chief"))
        _ = try bench.ask("remove_admin", ["dn": .string(chief.subject)], by: TaskBench.operatorOnHost)
        guard case .change(let change) = step else { throw Refusal(.internalError, "no change") }
        let error = #expect(throws: AuthorityError.self) { _ = try bench.services.authority.commit([change]).results[0].get() }
        #expect(error?.code == .notAuthorised)
    }

    @Test("a signed request is heard once, by this CA, in its time, and says what it says; nobody else's signature counts")
    func signatures() throws {
        let bench = try self.bench()
        let good = try self.signed("nodes", in: bench)
        #expect(try bench.ask("nodes", good, by: Self.admin).arrayValue?.isEmpty == false)
        func refusal(_ parameters: JSON, of task: String = "nodes") -> String {
            String(bench.refusal(task, parameters, by: Self.admin).dropFirst("Not authorised: \(task) was not taken: ".count))
        }
        #expect(refusal(good) == "it was heard before")
        #expect(refusal(try self.signed("nodes", in: bench), of: "tokens") == "what was signed is another task")
        #expect(
            refusal(try self.signed("nodes", in: bench, key: P256.Signing.PrivateKey()))
                == "the key of the node's certificate has not signed it")
        #expect(
            refusal(try self.signed("nodes", in: bench, authority: String(repeating: "0", count: 64))) == "it was signed for another CA")
        let now = bench.test.clock.now.seconds
        #expect(refusal(try self.signed("nodes", in: bench, time: now + 301)).hasPrefix("it was signed at "))
        #expect(try bench.ask("nodes", self.signed("nodes", in: bench, time: now + 300), by: Self.admin).arrayValue != nil)
        #expect(refusal(try self.signed("nodes", in: bench, time: now - 1)) == "the CA has started since it was signed; try again")
        bench.test.clock.move(bySeconds: 1_000)
        #expect(refusal(try self.signed("nodes", in: bench, time: now + 600)).hasPrefix("it was signed at "))
        // What is signed is what is done: parameters beside it are nothing.
        let both = try self.signed("node", ["cn": "curved"], in: bench)
        let mixed = JSON.object([.init("cn", "neighbour")] + (both.objectValue ?? []))
        #expect(try bench.ask("node", mixed, by: Self.admin)["cn"] == "curved")
        // Damage of either part.
        let other = try self.signed("nodes", in: bench)
        for damaged in [
            ["signed": other["signed"] ?? "", "signature": "AAAA"], ["signed": "{}", "signature": other["signature"] ?? ""],
            ["signed": .string((other["signed"]?.stringValue ?? "") + " "), "signature": other["signature"] ?? ""],
        ] as [JSON] { #expect(bench.refusal("nodes", damaged, by: Self.admin).isEmpty == false) }
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
        for (name, done) in [
            ("transport_rotate", "next"), ("transport_finish", "finish"), ("transport_rotate", "next"), ("transport_abort", "abort"),
        ] {
            #expect(try bench.ask(name, by: TaskBench.operatorOnHost)["core_key"] == "key")
            #expect((bench.services.relays as? FakeRelays)?.changes.value.last == done)
            let record = try bench.ask("audit", ["limit": .integer(1)], by: TaskBench.operatorOnHost).arrayValue?.first
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
        let record = try bench.ask("audit", ["limit": .integer(1)], by: TaskBench.operatorOnHost).arrayValue?.first
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
        #expect(
            bench.refusal("register", otherName, by: Self.caller)
                == "Registration is open for another name; on the CA's host run: ca-ctl registrar open --cn NAME")
        let withoutCSR = try self.request { $0.removeLast() }
        #expect(bench.refusal("register", withoutCSR, by: Self.caller) == "Invalid registration seed")
        #expect(
            bench.refusal("register", try self.request { $0[2] = .init("csr", "nonsense") }, by: Self.caller).hasPrefix("CSR parse error"))

        let token = try #require(
            bench.ask("tokens", by: TaskBench.operatorOnHost).arrayValue?.first { $0["cn"] == "ra.example.org" }?["id"])
        _ = try bench.ask("revoke_token", ["id": token], by: TaskBench.operatorOnHost)
        #expect(try bench.refusal("register", self.request(), by: Self.caller) == "Invalid registration seed")
    }

    @Test("ends with the node", arguments: ["remove_node", "time"])
    func ends(_ how: String) throws {
        let bench = try TaskBench()
        try bench.test.openRegistration(token: "upkireg_w", commonName: "ra.example.org", seconds: 600)
        _ = try bench.ask("register", self.request(), by: Self.caller)
        if how == "time" {
            bench.test.clock.move(bySeconds: 601)
        } else {
            _ = try bench.ask("remove_node", ["cn": "ra.example.org"], by: TaskBench.operatorOnHost)
        }
        let refusal = try bench.refusal("register", self.request(), by: Self.caller)
        #expect(refusal.hasPrefix(how == "time" ? "Registration is closed" : "Invalid registration seed"), "\(refusal)")
        #expect(try !bench.refusal("register", self.request(), by: Self.front).isEmpty)
    }
}

@Suite("Slow work has threads of its own")
struct PlacesTests {
    private func place(_ task: String, _ parameters: JSON, _ caller: Caller, _ bench: TaskBench) throws -> Step.Place? {
        let context = RequestContext(id: "r", task: task, caller: caller)
        let step = try TaskTable.task(task, on: caller.channel).start(
            Request(task: task, parameters: Parameters(parameters)), context: context, services: bench.services)
        if case .elsewhere(let place, _) = step { return place }
        return nil
    }

    @Test("what may be the seed waits where no key is made, and keys where no seed is checked")
    func places() throws {
        let bench = try TaskBench(keysAreReady: false)
        try bench.test.openRegistration(token: "upkireg_w")
        let guess: JSON = ["seed": "a seed that somebody guesses", "cn": "ra"]
        #expect(try self.place("register", guess, TaskBench.registrar, bench) == .seedChecker)
        #expect(try self.place("register", guess, TaskBench.node, bench) == .seedChecker)
        #expect(try self.place("verify_seed", guess, TaskBench.operatorOnHost, bench) == .seedChecker)
        #expect(try self.place("generate", ["cn": "a.example.org"], TaskBench.node, bench) == .keyMaker)
        #expect(try self.place("get_ca", [:], TaskBench.node, bench) == nil)
    }
}
