// Every task of the table: its role, its required parameters, its documented words.

import Authority
import PKI
import RevocationFormats
import Tasks
import TestAuthority
import Testing
import UPKIProtocol

/// What the protocol's tables say of a task.
struct Documented: Sendable, CustomTestStringConvertible {
    let name: String
    let channels: Set<Caller.Channel>
    let role: Role
    let changes: Bool
    /// Parameters without which it is refused, in the order in which they are asked for.
    let required: [String]

    var testDescription: String { "\(self.name) on \(self.channels.map(\.rawValue).sorted().joined(separator: ", "))" }

    /// Whether listed admins may ask it over CURVE.
    let isRemote: Bool

    init(
        _ name: String, _ role: Role, changes: Bool = false, _ required: String..., on channels: Set<Caller.Channel> = [.front, .admin],
        isRemote: Bool = false
    ) {
        (self.name, self.role, self.changes, self.required, self.channels) = (name, role, changes, required, channels)
        self.isRemote = isRemote
    }

    /// Sections 4 of the design, row by row, and the operator's tasks.
    static let all: [Documented] = [
        .init("get_ca", .anyone), .init("get_crl", .anyone), .init("generate_crl", .node, changes: true),
        .init("ocsp_check", .anyone, "cert"),
        .init("list_profiles", .anyone), .init("get_profile", .anyone, "profile"), .init("sign", .node, changes: true, "csr"),
        .init("generate", .node, changes: true, "cn"), .init("register", .node, changes: true, "seed", "cn"),
        .init("renew", .node, changes: true, "dn"),
        .init("revoke", .node, changes: true, "dn"), .init("unrevoke", .admin, changes: true, "dn"),
        .init("delete", .admin, changes: true, "dn"),
        .init("view", .node, "dn"), .init("list_nodes", .node), .init("get_node", .node, "cn"), .init("list_admins", .node),
        .init("add_admin", .admin, changes: true, "dn"), .init("remove_admin", .admin, changes: true, "dn"),
        .init("add_profile", .admin, changes: true, "name", "profile"), .init("update_profile", .admin, changes: true, "name", "profile"),
        .init("remove_profile", .admin, changes: true, "name"), .init("acme_sync_account", .node, changes: true, "account_id", "jwk"),
        .init("acme_get_account", .node, "account_id"), .init("acme_list_accounts", .node),
        .init("acme_deactivate_account", .node, changes: true, "account_id"),
        .init("acme_sync_order", .node, changes: true, "order_id", "account_id", "identifiers"), .init("acme_get_order", .node, "order_id"),
        .init("acme_list_orders", .node, "account_id"),
        .init("acme_sync_authorization", .node, changes: true, "auth_id", "order_id", "identifier_type", "identifier_value"),
        .init("acme_get_authorization", .node, "auth_id"), .init("acme_deactivate_authorization", .node, changes: true, "auth_id"),
        .init("acme_issue_certificate", .node, changes: true, "order_id", "csr"), .init("acme_get_certificate", .node, "cert_id"),
        .init("acme_revoke_certificate", .node, changes: true, "certificate"),
        .init("register", .anyone, changes: true, "seed", "cn", on: [.registrar]), .init("status", .anyone, on: [.registrar]),
        .init("window", .anyone, on: [.registrar]), .init("statuses", .anyone, on: [.ocsp]),
        .init("responder_certificate", .anyone, changes: true, "csr", on: [.ocsp]), .init("publication", .anyone, on: [.ocsp]),
        .init("published_crl", .anyone, "number", on: [.ocsp]),
        .init("status", .local, isRemote: true), .init("reload", .local, on: [.admin]),
        .init("open_registration", .local, changes: true, isRemote: true),
        .init("close_registration", .local, changes: true, isRemote: true), .init("tokens", .local, isRemote: true),
        .init("revoke_token", .local, changes: true, "id", isRemote: true), .init("rotate_token", .local, changes: true, on: [.admin]),
        .init("verify_seed", .local, "seed", on: [.admin]), .init("nodes", .local, isRemote: true),
        .init("node", .local, "cn", isRemote: true),
        .init("add_node", .local, changes: true, "cn", "address", on: [.admin]),
        .init("limit_node", .local, changes: true, "cn", isRemote: true),
        .init("rebind_node", .local, changes: true, "cn", isRemote: true), .init("renew_node", .local, changes: true, "cn", isRemote: true),
        .init("remove_node", .local, changes: true, "cn", isRemote: true), .init("audit", .local, isRemote: true),
        .init("verify_audit", .local, isRemote: true),
        .init("compare_checkpoints", .local, "checkpoints", isRemote: true), .init("audit_checkpoint", .local, isRemote: true),
        .init("acknowledge_audit", .local, changes: true, "reason", on: [.admin]),
        .init("show_crl", .local, isRemote: true),
        .init("relay", .anyone, on: [.front, .registrar]), .init("transport", .node),
        .init("transport_rotate", .local, changes: true, on: [.admin]), .init("transport_finish", .local, changes: true, on: [.admin]),
        .init("transport_abort", .local, changes: true, on: [.admin]),
        .init("accept_clock", .local, changes: true, on: [.admin]),
        .init("metrics", .local, isRemote: true), .init("doctor", .local, on: [.admin]),
        .init("import_crl", .local, changes: true, "upload", on: [.admin]),
        .init("adopt_certificate", .local, changes: true, "certificate", on: [.admin]),
    ]

    /// Harmless values for every parameter, so that one can be left out at a time.
    static let values: [String: JSON] = [
        "cert": "x", "profile": ["duration": 5], "csr": "x", "cn": "x", "seed": "upkireg_standing_0", "dn": "/CN=x", "name": "x",
        "account_id": "a", "jwk": [:], "order_id": "o",
        "identifiers": ["a.example"], "auth_id": "z", "identifier_type": "dns", "identifier_value": "a.example", "cert_id": "1",
        "certificate": "x", "id": "x",
        "address": "127.0.0.77", "checkpoints": ["x"], "reason": "x", "upload": "u", "number": "1",
    ]
}

@Suite("The table of tasks")
struct TableTests {
    @Test("is the one that the documents list: nothing more, nothing less, with the same roles and sockets")
    func table() {
        var ours = Set(TaskTable.all.map { "\($0.name) \($0.channels.map(\.rawValue).sorted()) \($0.role) \($0.changes) \($0.isRemote)" })
        for task in Documented.all {
            let line = "\(task.name) \(task.channels.map(\.rawValue).sorted()) \(task.role) \(task.changes) \(task.isRemote)"
            #expect(ours.remove(line) != nil, "\(line)")
        }
        #expect(ours.isEmpty, "\(ours)")
    }

    @Test("names the changing tasks that relays know: no more and no less")
    func changing() {
        #expect(Set(TaskTable.all.filter { $0.changes && $0.channels.contains(.front) }.map(\.name)) == TaskNames.changing)
        #expect(TaskTable.all.filter { $0.changes && $0.channels.contains(.registrar) }.allSatisfy { TaskNames.changing.contains($0.name) })
    }

    @Test("names the tasks that ca-ctl signs: those that admins may ask from afar")
    func remote() {
        #expect(Set(TaskTable.all.filter(\.isRemote).map(\.name)) == TaskNames.remote)
    }

    @Test("knows a task on its own sockets alone", arguments: Documented.all)
    func channels(_ task: Documented) {
        for channel in Caller.Channel.allCases
        where !Documented.all.contains(where: { $0.name == task.name && $0.channels.contains(channel) }) {
            let refusal = #expect(throws: Refusal.self) { _ = try TaskTable.task(task.name, on: channel) }
            #expect(refusal?.message == "Unknown task: \(task.name)")
        }
    }

    @Test(
        "does not know names that are none, however long",
        arguments: [("", 1), ("nosuch", 1), ("SIGN", 1), ("sign ", 1), ("s\u{0}", 1), ("x", 1 << 20)])
    func unknown(_ text: String, times: Int) {
        let name = String(repeating: text, count: times)
        let refusal = #expect(throws: Refusal.self) { _ = try TaskTable.task(name, on: .front) }
        #expect(refusal?.code == .unknownTask)
        #expect(refusal?.message.hasPrefix("Unknown task: ") == true)
        #expect((refusal?.message.count ?? 0) < 200)
    }
}

@Suite("Roles")
struct RoleTests {
    private func isRefused(_ line: String, _ task: Documented) -> Bool { line == "Not authorised: \(task.name) needs \(task.role.text)" }

    @Test(
        "a stranger is refused every task but those for anyone, a node those for admins, before anything else is looked at",
        arguments: Documented.all.filter { $0.channels.contains(.front) && !$0.isRemote })
    func front(_ task: Documented) throws {
        let bench = try TaskBench()
        let sequence = bench.test.authority.state.auditSequence
        #expect(self.isRefused(bench.refusal(task.name, by: TaskBench.stranger), task) == (task.role > .anyone))
        #expect(self.isRefused(bench.refusal(task.name, by: TaskBench.node), task) == (task.role > .node))
        #expect(!self.isRefused(bench.refusal(task.name, by: TaskBench.admin), task))
        // ACME records belong to the node that wrote them, and the operator is none.
        if !task.name.hasPrefix("acme_") { #expect(!self.isRefused(bench.refusal(task.name, by: TaskBench.operatorOnHost), task)) }
        if task.role > .node { #expect(bench.test.authority.state.auditSequence == sequence) }
    }

    @Test("what a refusal of a role says is documented")
    func words() throws {
        let bench = try TaskBench()
        #expect(bench.refusal("sign", by: TaskBench.stranger) == "Not authorised: sign needs a registered node")
        #expect(bench.refusal("unrevoke", by: TaskBench.node) == "Not authorised: unrevoke needs a listed admin")
    }

    @Test("a role that is lost between the worker and the commit is lost")
    func lostMeanwhile() throws {
        let bench = try TaskBench()
        let request = Request(task: "add_admin", parameters: Parameters(["dn": "/CN=new"]))
        let context = RequestContext(id: "r", task: "add_admin", caller: TaskBench.admin)
        let step = try TaskTable.task("add_admin", on: .front).start(request, context: context, services: bench.services)
        _ = try bench.ask("remove_admin", ["dn": "/CN=boss"], by: TaskBench.operatorOnHost)
        guard case .change(let change) = step else { throw Refusal(.internalError, "no change") }
        let error = #expect(throws: AuthorityError.self) { _ = try bench.services.authority.commit([change]).results[0].get() }
        #expect(error?.code == .notAuthorised)
        #expect(bench.test.authority.state.admins.isEmpty)
    }
}

@Suite("Parameters")
struct ParameterTests {
    private func caller(_ task: Documented) -> Caller {
        if task.channels.contains(.ocsp) { return Caller(proof: .localUser(7), channel: .ocsp) }
        return task.channels.contains(.registrar)
            ? TaskBench.registrar : task.channels.contains(.front) && task.role < .admin ? TaskBench.node : TaskBench.operatorOnHost
    }

    @Test("each required one is missed by name: absent, null or empty", arguments: Documented.all.filter { !$0.required.isEmpty })
    func missing(_ task: Documented) throws {
        let bench = try TaskBench()
        try bench.test.openRegistration(token: "upkireg_w")
        for name in task.required {
            for empty in [nil, JSON.null, ""] as [JSON?] {
                // An empty value of a parameter that is no text is wrong rather than missing.
                if empty == "", ["jwk", "identifiers", "checkpoints"].contains(name) || (name == "profile" && task.name != "get_profile") {
                    continue
                }
                var members: [JSON.Member] = task.required.filter { $0 != name }.map { .init($0, Documented.values[$0] ?? "x") }
                if let empty { members.append(.init(name, empty)) }
                #expect(bench.refusal(task.name, .object(members), by: self.caller(task)) == "Missing \(name) parameter")
            }
        }
    }

    @Test(
        "each required one of the wrong kind is refused in one line, never more", arguments: Documented.all.filter { !$0.required.isEmpty })
    func wrongKind(_ task: Documented) throws {
        let bench = try TaskBench()
        try bench.test.openRegistration(token: "upkireg_w")
        let before = try bench.test.store.read { try $0.certificateCount() }
        for name in task.required {
            for value in [
                true, [], ["x"], [1], ["a": ["b": []]], .number("1e400"), .number("-0"),
                .string(String(repeating: "\u{0}\n\u{1b}[31m", count: 100)),
            ] as [JSON] {
                let members: [JSON.Member] = task.required.map { .init($0, $0 == name ? value : Documented.values[$0] ?? "x") }
                let line = bench.refusal(task.name, .object(members), by: self.caller(task))
                #expect(!line.contains("\n") && line.count < 1_100, "\(name) \(value.text.prefix(30)): \(line.prefix(200))")
            }
        }
        #expect(try bench.test.store.read { try $0.certificateCount() } == before || task.name == "generate")
        #expect(try bench.test.store.read { try $0.verifyAudit() }.firstBad == nil)
    }

    @Test(
        "optional ones of the wrong kind are named",
        arguments: [
            ("sign", ["csr": "x", "duration": "soon"], "Invalid duration parameter"),
            ("sign", ["csr": "x", "duration": .number("0")], "Invalid duration parameter"),
            ("sign", ["csr": "x", "profile": 5], "Invalid profile parameter"),
            ("generate", ["cn": "a", "local": "yes"], "Invalid local parameter"),
            ("generate", ["cn": "a", "sans": "a"], "Invalid sans parameter"),
            ("generate", ["cn": "a", "sans": [["type": "X400", "value": "a"]]], "Invalid sans parameter"),
            ("generate", ["cn": "a", "sans": [["type": "IP", "value": "a"]]], "Invalid sans parameter"),
            ("generate", ["cn": "a", "sans": [""]], "Invalid sans parameter"),
            ("generate", ["cn": "a", "sans": [.number("1")]], "Invalid sans parameter"),
            ("revoke", ["dn": "/CN=a", "reason": "because"], "Invalid reason parameter"),
            ("revoke", ["dn": "/CN=a", "reason": .number("7")], "Invalid reason parameter"),
            ("revoke", ["serial": "abc"], "Invalid serial parameter"),
            ("revoke", ["serial": []], "Invalid serial parameter"), ("revoke", ["dn": "O=x"], "Invalid dn parameter"),
            ("revoke", ["dn": "/"], "Invalid dn parameter"),
            ("list_nodes", ["limit": .number("0")], "Invalid limit parameter"),
            ("list_nodes", ["limit": .number("10001")], "Invalid limit parameter"),
            ("list_nodes", ["state": "dead"], "Invalid state parameter"), ("ocsp_check", ["cert": "x"], "Invalid cert parameter"),
            ("ocsp_check", ["serial": "1", "issuer": "x"], "Invalid issuer parameter"),
            ("acme_sync_account", ["account_id": "a", "jwk": "x"], "Invalid jwk parameter"),
            ("acme_sync_account", ["account_id": "a", "jwk": [:], "status": "x"], "Invalid status parameter"),
            ("acme_sync_account", ["account_id": "a\u{0}b", "jwk": [:]], "Invalid account_id parameter"),
            (
                "acme_sync_order", ["order_id": "a", "account_id": "a", "identifiers": [["type": "email", "value": "a@b.c"]]],
                "Invalid identifiers parameter"
            ),
            ("acme_sync_order", ["order_id": "a", "account_id": "a", "identifiers": ["a b"]], "Invalid identifiers parameter"),
        ] as [(String, JSON, String)])
    func optional(_ task: String, _ parameters: JSON, _ beginning: String) throws {
        let line = try TaskBench().refusal(task, parameters)
        #expect(line.hasPrefix(beginning), "\(line)")
    }
}

@Suite("The documented words")
struct WordsTests {
    @Test("are what clients match on")
    func patterns() throws {
        let bench = try TaskBench()
        try bench.test.openRegistration(token: "upkireg_w")
        let csr = try TestAuthority.csr("/CN=a.example.org")
        #expect(bench.refusal("register", ["seed": "upkireg_wrong", "cn": "ra"], by: TaskBench.registrar) == "Invalid registration seed")
        #expect(
            bench.refusal("register", ["seed": "a wrong seed of length", "cn": "ra"], by: TaskBench.registrar)
                == "Invalid registration seed")
        #expect(bench.refusal("register", ["seed": "upkireg_wrong", "cn": "a"]) == "Invalid registration seed")
        #expect(bench.refusal("sign", ["csr": .string(csr), "profile": "nosuch"]) == "Profile not found: nosuch")
        #expect(bench.refusal("get_profile", ["profile": "nosuch"]) == "Profile not found: nosuch")
        #expect(bench.refusal("generate", ["cn": "a", "profile": "nosuch"]) == "Profile not found: nosuch")
        #expect(bench.refusal("update_profile", ["name": "nosuch", "profile": [:]], by: TaskBench.admin) == "Profile not found: nosuch")
        for task in ["view", "renew", "revoke"] {
            #expect(bench.refusal(task, ["dn": "CN=a,O=Org"]) == "Certificate not found: /O=Org/CN=a")
        }
        for task in ["unrevoke", "delete"] {
            #expect(bench.refusal(task, ["dn": "/CN=a/O=Org"], by: TaskBench.admin) == "Certificate not found: /CN=a/O=Org")
        }
        #expect(bench.refusal("revoke", ["serial": "0x10"]) == "Certificate not found: 16")
        _ = try bench.ask("generate", ["cn": "a.example.org"])
        #expect(
            bench.refusal("generate", ["cn": "a.example.org"]) == "Certificate already exists: /C=FR/O=Test/OU=Servers/CN=a.example.org")
        _ = try bench.ask("revoke", ["dn": "a.example.org"])
        #expect(bench.refusal("renew", ["dn": "a.example.org"]) == "Node is revoked: /C=FR/O=Test/OU=Servers/CN=a.example.org")
        #expect(bench.refusal("sign", ["csr": "nonsense"]).hasPrefix("CSR parse error: "))
        bench.test.folders.fails = true
        #expect(bench.refusal("generate", ["cn": "b.example.org"]) == "Storage error: the key file could not be written")
        #expect(bench.refusal("add_profile", ["name": "p", "profile": [:]], by: TaskBench.admin).hasPrefix("Storage error: "))
    }

    @Test(
        "hold no control characters that a client sent",
        arguments: ["a\nb", "a\u{0}b", "\u{1b}[31m", "\u{9b}31m", "\u{202e}x", "\u{2066}x"])
    func oneLine(_ text: String) throws {
        let bench = try TaskBench()
        for line in [
            bench.refusal("get_profile", ["profile": .string(text)]), bench.refusal("revoke", ["dn": .string(text)]),
            bench.refusal("acme_get_order", ["order_id": .string(text)]),
        ] {
            #expect(
                !line.unicodeScalars.contains {
                    $0.value < 0x20 || (0x7f..<0xa0).contains($0.value) || (0x2028...0x202e).contains($0.value)
                        || (0x2066...0x2069).contains($0.value)
                })
        }
    }
}
