// Programs with a user each: what a taken-over front or registrar, or any other local user, can reach. docs/SECURITY.md names these tests.
import Foundation
import Glibc
import TestPrograms
import Testing
import UPKIProtocol

extension IntegrationTests {
    @Suite(
        "separate users",
        .enabled(if: TestUsers.areAvailable, "skipped: users of the test's own need root and the right to make a mount namespace"))
    struct SeparateUsersTests {
        // MARK: Who runs as whom

        @Test("ca-ctl up as root gives each program its own user, says so, and the CA works: sign, export, a killed program, a stop")
        func users() throws {
            try withSeparateCA { ca, users in
                try ca.register()
                let expected = [
                    ("serve", users.core), ("front", users.front), ("ca-registrar", users.registrar), ("ca-ocsp-bridge", users.bridge),
                ]
                for (program, user) in expected {
                    let status = try self.status(of: ca.pid(of: program))
                    #expect(status["Uid"] == Array(repeating: "\(user.id)", count: 4))
                    #expect(status["Gid"] == Array(repeating: "\(user.id)", count: 4))
                    #expect(status["Groups"] ?? [] == user.groups.map { "\($0)" }, "\(program)")
                    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] { #expect(status[set] == ["0000000000000000"]) }
                    #expect(status["NoNewPrivs"] == ["1"])
                }
                let shown = try ca.facts(["status"])
                #expect(
                    shown["services"]?.arrayValue?.compactMap { $0["user"]?.stringValue }
                        == ["upki-ca", "upki-front", "upki-registrar", "upki-ocsp"], "\(shown.text)")
                #expect(!shown.text.contains("share the user") && !shown.text.contains("not kept apart"))
                #expect(try ca.ctl(["status"]).output.contains("upki-front"))
                #expect(ca.log.contains("each program has its own"))

                _ = try ca.data("sign", ["csr": .string(try ca.place.csr("/CN=www.example.com"))])
                #expect(try ca.ctl(["cert", "issue", "kept.example.com"]).code == 0)
                let exported = try ca.ctl(["cert", "export", "kept.example.com"])
                #expect(exported.code == 0 && exported.output.contains("PRIVATE KEY"), "\(exported.errors)")
                let doctor = try ca.ctl(["doctor"])
                #expect(!doctor.output.contains("mode ") && !doctor.output.contains("belongs to"), "\(doctor.output)\(doctor.errors)")
                for program in ["front", "serve", "ca-ocsp-bridge"] { try ca.killAndWait(program) }
                // The web server's group, which the bridge is no member of; what is counted is for the bridge and for root alone.
                for (name, mode) in [("http", mode_t(0o660)), ("metrics", 0o600)] {
                    var found = stat()
                    #expect(lstat("\(ca.run)/ocsp/\(name).sock", &found) == 0 && found.st_mode == S_IFSOCK | mode, "\(name)")
                    #expect(found.st_uid == users.bridge.id && found.st_gid == users.web.id, "\(name)")
                }
                let selftest = try ca.ctl(["ocsp", "selftest"])
                #expect(selftest.code == 0, "\(selftest.output)\(selftest.errors)")
                #expect(try ca.data("get_ca").stringValue?.contains("BEGIN CERTIFICATE") == true)
                // Nothing of the data directory became root's, who is the operator here.
                let files = try #require(FileManager.default.enumerator(atPath: ca.data))
                var owners: Set<UInt32> = []
                while let name = files.nextObject() as? String {
                    var found = stat()
                    #expect(lstat("\(ca.data)/\(name)", &found) == 0)
                    owners.insert(found.st_uid)
                }
                #expect(owners == [users.core.id])
                // Their death with the supervisor survives the change of user.
                #expect(try ca.stop(SIGKILL) == -SIGKILL)
                try waitUntil("no process is left") { ca.place.processes().isEmpty }
                try ca.start()
                #expect(try ca.data("list_admins") == [])
            }
        }

        private func status(of pid: pid_t) throws -> [String: [String]] {
            var fields: [String: [String]] = [:]
            for line in try String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8).split(separator: "\n") {
                let words = line.split(whereSeparator: { $0 == "\t" || $0 == " " }).map(String.init)
                if let name = words.first { fields[String(name.dropLast())] = Array(words.dropFirst()) }
            }
            return fields
        }

        // MARK: What each user can reach

        /// Everything that a user might try, and what the names of the attempts are.
        private func attack(as user: TestUser, _ ca: RunningCA, own: String = "", destroys: Bool = true) throws -> [String: String] {
            let run = ca.run
            let data = ca.data
            // As root it would be no test to disturb them.
            let programs =
                user.id == 0
                ? []
                : [("core", "serve"), ("front", "front"), ("registrar", "ca-registrar"), ("ocsp", "ca-ocsp-bridge")].filter { $0.0 != own }
            let pids =
                try programs.map { ($0.0, JSON.integer(try ca.pid(of: $0.1))) }
                + (user.id == 0 ? [] : [("supervisor", JSON.integer(ca.supervisorPID))])
            func list(_ paths: [String]) -> JSON { .array(paths.map { .string($0) }) }
            // In its own folder the bridge may do what it likes.
            let bridge = own == "ocsp" ? [] : ["\(run)/ocsp"]
            let input = [
                ("user", user.json),
                (
                    "read",
                    list(
                        [
                            "ca.key", "audit.key", "curve.keys", "db/ca.sqlite", "ca.config.yml", "crl.pem", "ca.crt", "lock",
                            "nodes/kept.example.com/key.pem", "profiles/server.yml",
                        ].map { "\(data)/\($0)" } + ["\(run)/listeners.json", "\(run)/supervisor.lock", "\(run)/core/lock"])
                ),
                ("list", list([data, "\(data)/db", "\(data)/nodes", run, "\(run)/core", "\(run)/notify"] + bridge)),
                ("write", list(destroys ? [data, "\(data)/profiles", run, "\(run)/core", "\(run)/notify"] + bridge : [])),
                (
                    "rename",
                    list(
                        destroys
                            ? [
                                "\(run)/core", "\(run)/notify", "\(run)/supervisor.sock", "\(run)/core/admin.sock",
                                "\(run)/core/front.sock",
                                "\(run)/core/registrar.sock", "\(run)/core/ocsp.sock", "\(run)/notify/core.sock", "\(run)/ocsp", data, run,
                            ] + bridge.flatMap { ["\($0)/http.sock", "\($0)/metrics.sock"] } : [])
                ),
                (
                    "stream",
                    list(
                        ["front", "registrar", "ocsp", "admin", "events"].map { "\(run)/core/\($0).sock" }
                            + ["http", "metrics"].map { "\(run)/ocsp/\($0).sock" })
                ),
                ("packet", list(["\(run)/supervisor.sock"])),
                ("datagram", list(["core", "front", "registrar", "ocsp"].filter { $0 != own }.map { run + "/notify/" + $0 + ".sock" })),
                ("pids", .object(pids.map { .init($0.0, $0.1) })),
            ].object
            let told = try ca.place.peer("attack.py", input: input)
            let outcome = Dictionary(
                uniqueKeysWithValues: (told.objectValue ?? []).map { ($0.name, $0.value.stringValue ?? "?") })
            #expect(outcome.count > 20)
            return outcome
        }

        /// What worked. What did not must have been refused, and not have been missing: else the test tried nothing.
        private func done(_ outcome: [String: String]) -> Set<String> {
            for (name, result) in outcome where result != "done" {
                #expect(["EACCES", "EPERM"].contains(result), "\(name): \(result)")
            }
            return Set(outcome.filter { $0.value == "done" }.keys)
        }

        @Test("nobody but its program's user opens a socket; keys, store, memory and the other programs are out of everybody's reach")
        func reach() throws {
            try withSeparateCA { ca, users in
                try ca.register()
                #expect(try ca.ctl(["cert", "issue", "kept.example.com"]).code == 0)
                // What is tried is there: root, on the same paths, can read and connect.
                let root = try self.attack(as: TestUser(name: "root", id: 0), ca, destroys: false)
                for (name, result) in root where name.hasPrefix("read /") || name.hasPrefix("list /") || name.hasPrefix("connect /") {
                    #expect(result == "done", "\(name)")
                }
                let sockets = "connect \(ca.run)/core"
                #expect(try self.done(self.attack(as: users.stranger, ca)) == [])
                #expect(try self.done(self.attack(as: users.front, ca, own: "front")) == ["\(sockets)/front.sock"])
                #expect(
                    try self.done(self.attack(as: users.registrar, ca, own: "registrar")) == [
                        "\(sockets)/registrar.sock", "\(sockets)/events.sock",
                    ])
                #expect(
                    try self.done(self.attack(as: users.bridge, ca, own: "ocsp")) == [
                        "\(sockets)/ocsp.sock", "\(sockets)/events.sock", "connect \(ca.run)/ocsp/http.sock",
                        "connect \(ca.run)/ocsp/metrics.sock",
                    ])
                #expect(try self.done(self.attack(as: users.web, ca)) == ["connect \(ca.run)/ocsp/http.sock"])
                // Nothing of that did harm.
                #expect(try ca.data("get_ca").stringValue?.contains("BEGIN CERTIFICATE") == true)
                #expect(try ca.facts(["status"])["ready"] == true)
            }
        }

        @Test("a taken-over core cannot reach the supervisor, take its place, or touch the other programs")
        func core() throws {
            try withSeparateCA { ca, users in
                #expect(try ca.ctl(["cert", "issue", "kept.example.com"]).code == 0)
                let worked = try self.attack(as: users.core, ca, own: "core", destroys: false).filter { $0.value == "done" }.keys
                let others = worked.filter { !$0.contains(ca.data) && !$0.contains("\(ca.run)/core") }
                #expect(others.isEmpty, "\(others)")
                let away = try ca.place.peer(
                    "attack.py",
                    input: [
                        ("user", users.core.json),
                        ("write", [.string(ca.run), .string("\(ca.run)/notify")]),
                        (
                            "rename",
                            .array(
                                [
                                    "core", "notify", "supervisor.sock", "supervisor.lock", "listeners.json", "notify/front.sock", "ocsp",
                                    "ocsp/http.sock",
                                ].map { .string("\(ca.run)/\($0)") })
                        ),
                    ].object)
                #expect((away.objectValue ?? []).count >= 18 && (away.objectValue ?? []).allSatisfy { $0.value != "done" }, "\(away.text)")
            }
        }

        // MARK: What each user can ask

        private func ask(_ ca: RunningCA, _ socket: String, as user: TestUser, _ messages: [JSON]) throws -> (hello: JSON, answers: [JSON])
        {
            let told = try ca.place.peer(
                "forger.py", ["\(ca.run)/core/\(socket).sock"], input: [("user", user.json), ("messages", .array(messages))].object)
            let answers = told["answers"]?.arrayValue ?? []
            #expect(answers.count == messages.count)
            return (told["hello"] ?? .null, answers)
        }

        private func message(_ task: String, _ parameters: JSON = [:], identity: String = "") -> JSON {
            [("task", .string(task)), ("params", parameters), ("identity", .string(identity))].object
        }

        @Test(
            "a taken-over front may claim any address, and no more: no operator's task, no local identity, no registrar's task, no forged header"
        )
        func front() throws {
            try withSeparateCA { ca, users in
                try ca.register()
                let operators = [
                    "status", "reload", "open_registration", "close_registration", "tokens", "revoke_token", "rotate_token", "nodes",
                    "node",
                    "add_node", "limit_node", "rebind_node", "renew_node", "remove_node", "audit", "verify_audit", "verify_seed",
                    "show_crl",
                ]
                let here = ["reload", "rotate_token", "add_node", "verify_seed"]
                let unknown = try self.ask(
                    ca, "front", as: users.front,
                    (here + ["window", "statuses", "responder_certificate", "publication", "published_crl"]).map { self.message($0) })
                #expect(unknown.hello["EVENT"] == "ANSWER")
                for answer in unknown.answers { #expect(answer.refusal.hasPrefix("Unknown task: "), "\(answer.text)") }
                // What admins may ask from afar the front cannot ask for them, whose key it ever claims: it has not theirs to sign with.
                let csr = try ca.place.csr("/CN=admin.example.com")
                let opened = try ca.facts(["registrar", "open", "--cn", "admin.example.com"])["token"] ?? ""
                let key = "curve " + String(repeating: "a", count: 40)
                let made = try self.ask(
                    ca, "registrar", as: users.registrar,
                    [self.message("register", ["seed": opened, "cn": "admin.example.com", "csr": .string(csr)], identity: key)])
                _ = try ca.facts(["admin", "add", made.answers[0].at("DATA", "dn")?.stringValue ?? ""])
                let remote = operators.filter { !here.contains($0) }
                for (identity, words) in [
                    (key, "needs a request that the admin's key has signed"), ("plain 127.0.0.1", "needs a listed admin over CURVE"),
                ] {
                    let refused = try self.ask(ca, "front", as: users.front, remote.map { self.message($0, identity: identity) })
                    for answer in refused.answers { #expect(answer.refusal.contains(words), "\(answer.text)") }
                }
                _ = try ca.facts(["node", "remove", "admin.example.com"])

                // Without a peer's identity the front is nobody, not the local user that it is.
                let rights = ["sign", "generate", "list_nodes", "revoke", "unrevoke", "delete", "add_admin", "remove_admin", "add_profile"]
                for identity in ["", "plain 203.0.113.9", "curve " + String(repeating: "a", count: 40)] {
                    let refused = try self.ask(
                        ca, "front", as: users.front, rights.map { self.message($0, ["dn": "/CN=x", "cn": "x"], identity: identity) })
                    for answer in refused.answers { #expect(answer.refusal.hasPrefix("Not authorised: "), "\(identity): \(answer.text)") }
                }
                // Its column: what it relays for the node on 127.0.0.1 it can also ask by itself; an admin's rights that node does not have.
                let claimed = try self.ask(
                    ca, "front", as: users.front,
                    ["list_nodes", "add_admin", "add_profile"].map { self.message($0, ["dn": "/CN=x"], identity: "plain 127.0.0.1") })
                #expect(claimed.answers[0]["EVENT"] == "ANSWER")
                for answer in claimed.answers.dropFirst() { #expect(answer.refusal.hasPrefix("Not authorised: "), "\(answer.text)") }
                // `register` on this socket makes a certificate for the holder of a token, never a node.
                let registered = try self.ask(
                    ca, "front", as: users.front,
                    [
                        self.message("register", ["seed": .string(ca.token), "cn": "new.example.com"], identity: "plain 203.0.113.9"),
                        self.message(
                            "register", ["seed": .string(ca.token), "cn": "ra2.example.com", "profile": "ra"], identity: "plain 127.0.0.1"),
                    ])
                for answer in registered.answers { #expect(answer["EVENT"] == "UPKI ERROR", "\(answer.text)") }
                #expect(try ca.facts(["node", "list"]).arrayValue?.count == 1)

                // Version, kind, id and time are 18 bytes; what follows is the identity.
                func header(_ kind: String, _ identity: String) -> JSON {
                    let tail = identity.utf8.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
                    return [
                        ("task", "open_registration"), ("header", .string(kind + String(repeating: "00", count: 16) + tail)),
                    ].object
                }
                let forged =
                    ["local 0", "local", "uid 0", "itself", "root", "plain ", "plain 127.0.0.1\n", "curve short", "\0", " "].map {
                        header("0101", $0)
                    } + ["0102", "01ff"].map { header($0, "") } + [header("0101", String(repeating: "x", count: 5_000))]
                    + [[("task", "get_ca"), ("header", "0101")].object]
                let dropped = try self.ask(ca, "front", as: users.front, forged)
                for answer in dropped.answers { #expect(answer.isNull, "\(answer.text)") }
                #expect(try ca.data("get_ca").stringValue?.contains("BEGIN CERTIFICATE") == true)
            }
        }

        @Test("a taken-over registrar registers nobody outside the window, whatever address it claims and whatever token it heard")
        func registrar() throws {
            try withSeparateCA { ca, users in
                let answers = try self.ask(
                    ca, "registrar", as: users.registrar,
                    ["get_ca", "sign", "generate", "add_admin", "open_registration", "node", "tokens", "reload"].map {
                        self.message($0, identity: "plain 127.0.0.1")
                    }
                ).answers
                for answer in answers { #expect(answer.refusal.hasPrefix("Unknown task: "), "\(answer.text)") }
                #expect(try ca.ctl(["registrar", "close"]).code == 0)
                let closed = try self.ask(
                    ca, "registrar", as: users.registrar,
                    ["", "plain 127.0.0.1", "plain 203.0.113.9", "curve " + String(repeating: "a", count: 40)].flatMap { identity in
                        ["ra", "server", "admin"].map { profile in
                            self.message(
                                "register", ["seed": .string(ca.token), "cn": "sneaked.example.com", "profile": .string(profile)],
                                identity: identity)
                        }
                    } + [self.message("window"), self.message("status", ["cn": "sneaked.example.com"])])
                for answer in closed.answers.dropLast(2) { #expect(answer.refusal.hasPrefix("Registration is closed"), "\(answer.text)") }
                #expect(closed.answers[closed.answers.count - 2].at("DATA", "open") == false)
                #expect(closed.answers.last?.at("DATA", "status") == "not_registered")
                #expect(try ca.facts(["node", "list"]) == [])
                // One place for one CN: the window bounds what it can do while it is open, too.
                let opened = try ca.facts(["registrar", "open", "--for", "1h", "--max", "1", "--cn", "ra.example.com"])
                let token = opened["token"] ?? .null
                let open = try self.ask(
                    ca, "registrar", as: users.registrar,
                    [
                        self.message("register", ["seed": token, "cn": "sneaked.example.com"], identity: "plain 203.0.113.9"),
                        self.message("register", ["seed": "upkireg_guessed", "cn": "ra.example.com"], identity: "plain 203.0.113.9"),
                    ])
                for answer in open.answers { #expect(answer["EVENT"] == "UPKI ERROR", "\(answer.text)") }
                #expect(try ca.facts(["node", "list"]) == [])
            }
        }

        @Test("a taken-over bridge hears what is public and has its own key certified: it cannot sign, issue, revoke, register or operate")
        func bridge() throws {
            try withSeparateCA { ca, users in
                try ca.register()
                let tasks = [
                    "get_ca", "sign", "generate", "renew", "revoke", "unrevoke", "delete", "register", "window", "status", "list_nodes",
                    "nodes", "add_node", "add_admin", "add_profile", "tokens", "rotate_token", "open_registration", "reload", "audit",
                    "generate_crl",
                ]
                let parameters: JSON = ["seed": .string(ca.token), "cn": "sneaked.example.com", "dn": "/CN=ra.example.com"]
                for identity in ["", "plain 127.0.0.1", "curve " + String(repeating: "a", count: 40)] {
                    let told = try self.ask(ca, "ocsp", as: users.bridge, tasks.map { self.message($0, parameters, identity: identity) })
                    #expect(told.hello["EVENT"] == "ANSWER")
                    for answer in told.answers { #expect(answer.refusal.hasPrefix("Unknown task: "), "\(answer.text)") }
                }
                // What it is for.
                let own = try self.ask(
                    ca, "ocsp", as: users.bridge, [self.message("publication"), self.message("statuses", ["serials": ["1"]])]
                ).answers
                #expect(own[0].at("DATA", "ca")?.stringValue?.isEmpty == false, "\(own[0].text)")
                #expect(own[1].at("DATA", "statuses")?.arrayValue?.first?["status"] == "unknown", "\(own[1].text)")
                #expect(try ca.facts(["node", "list"]).arrayValue?.count == 1)
                #expect(try ca.facts(["ocsp", "selftest"])["passed"] == true)
            }
        }

        @Test("a user who is only in the front's group opens front.sock and is refused there; the CA's own user may operate")
        func strangerInGroup() throws {
            try withSeparateCA { ca, users in
                var stranger = users.stranger
                stranger.groups = [users.front.id, users.registrar.id, users.bridge.id]
                for socket in ["front", "registrar", "ocsp"] {
                    let told = try self.ask(
                        ca, socket, as: stranger, [self.message("get_ca"), self.message("window"), self.message("publication")])
                    for answer in [told.hello] + told.answers {
                        #expect(answer.refusal == "Not authorised: \(socket).sock is for the program of another user", "\(answer.text)")
                    }
                }
                try waitUntil("the log names the stranger") { ca.log.contains("\"uid\":\"\(stranger.id)\"") }
                #expect(try ca.data("get_ca").stringValue?.contains("BEGIN CERTIFICATE") == true)
                for user in [users.core, TestUser(name: "root", id: 0)] {
                    let operated = try self.ask(ca, "admin", as: user, [self.message("status")])
                    #expect(operated.answers[0].at("DATA", "program", "uid")?.integerValue == Int64(users.core.id))
                }
            }
        }

        // MARK: Whose directories

        /// A CA that was made before the users were there.
        private func withRootsCA(_ body: (Workplace, _ wrapper: [String], _ places: [String], TestUsers) throws -> Void) throws {
            let place = try Workplace()
            defer { place.end() }
            let users = TestUsers()
            let wrapper = try users.wrapper(place)
            let places = ["--data-dir", place.path("data"), "--run-dir", place.path("run")]
            try place.must(["\(Checkout.programs)/ca-ctl", "init", "--json"] + places)
            try body(place, wrapper, places, users)
        }

        @Test("a CA that belongs to root goes on as one user, says how to separate it, and is separate once that was done")
        func rootsDirectory() throws {
            try self.withRootsCA { place, wrapper, places, users in
                let ctl = wrapper + ["\(Checkout.programs)/ca-ctl"]
                let port = try Ports.freePair()
                func run(_ body: (_ status: String, _ log: ProgramRun) throws -> Void) throws {
                    let up = try place.start(ctl + ["up", "--no-init", "--port", "\(port)"] + places)
                    let status = try place.must(ctl + ["status", "--wait", "30"] + places)
                    try body(status, up)
                    up.signal(SIGTERM)
                    #expect(try up.finish(within: .seconds(10)).code == 0)
                }
                let command = "chown -R upki-ca:upki-ca \(place.path("data"))"
                try run { status, up in
                    #expect(status.contains("share the user root") && status.contains(command), "\(status)")
                    try up.waitFor(command)
                    #expect((up.output + up.errors).contains("shared by all programs"))
                }
                try place.must(["/usr/bin/chown", "-R", "\(users.core.id):\(users.core.id)", place.path("data")])
                try run { status, up in
                    #expect(!status.contains("share the user") && status.contains("upki-registrar"), "\(status)")
                }
                // And back: the folder of the separate core does not hide the sockets of the one that root runs.
                try place.must(["/usr/bin/chown", "-R", "0:0", place.path("data")])
                try run { status, up in #expect(status.contains("share the user root"), "\(status)") }
            }
        }

        @Test("where the system has no user for the bridge, the others run as ever, the bridge does not, and it is said what to do")
        func noBridge() throws {
            try withSeparateCA(hasBridge: false) { ca, users in
                #expect(ca.log.contains("the system has no user upki-ocsp") && ca.log.contains("useradd --system"))
                let shown = try ca.facts(["status"])
                #expect(shown["ready"] == true)
                #expect(
                    shown["services"]?.arrayValue?.compactMap { $0["user"]?.stringValue } == ["upki-ca", "upki-front", "upki-registrar"],
                    "\(shown.text)")
                #expect(shown["warnings"]?.text.contains("ca-ocsp-bridge does not run") == true, "\(shown.text)")
                #expect(!FileManager.default.fileExists(atPath: "\(ca.run)/ocsp"))
                #expect(try ca.ctl(["cert", "issue", "www.example.com"]).code == 0)
                let doctor = try ca.ctl(["doctor"])
                #expect(doctor.code == 0 && doctor.output.contains("ca-ocsp-bridge does not run"), "\(doctor.output)")
            }
        }

        @Test("an owner of the bridge's socket other than its own user, and a group that is not there, are refused before anything is made")
        func socketOwner() throws {
            let place = try Workplace()
            defer { place.end() }
            let users = TestUsers()
            let ctl = try users.wrapper(place) + ["\(Checkout.programs)/ca-ctl"]
            let places = ["--data-dir", place.path("data"), "--run-dir", place.path("run")]
            try place.must(ctl + ["init"] + places)
            let configuration = place.path("data/ca.config.yml")
            let before = try String(contentsOfFile: configuration, encoding: .utf8)
            for (setting, words) in [
                ("owner: web-server", "ocsp.socket.owner is web-server, but the bridge runs as upki-ocsp"),
                ("group: nobodys-group", "ocsp.socket.group: the system has no group 'nobodys-group'"),
            ] {
                try (before + "\nocsp:\n  socket:\n    \(setting)\n").write(toFile: configuration, atomically: false, encoding: .utf8)
                let refused = try place.run(ctl + ["up", "--port", "\(try Ports.freePair())"] + places)
                #expect(refused.code == 1 && refused.errors.hasPrefix("ca-ctl: \(words)"), "\(refused.errors)")
                #expect(refused.errors.split(separator: "\n").count == 1 && place.processes().isEmpty)
            }
            #expect(!FileManager.default.fileExists(atPath: place.path("run/ocsp")))
        }

        @Test(
            "directories that the programs cannot reach, that others can replace or that are somebody else's are refused, with what to do")
        func directories() throws {
            let place = try Workplace()
            defer { place.end() }
            let users = TestUsers()
            let ctl = try users.wrapper(place) + ["\(Checkout.programs)/ca-ctl"]
            func refused(_ command: [String], _ words: String...) throws {
                let finished = try place.run(ctl + command)
                #expect(finished.code == 1 && finished.errors.hasPrefix("ca-ctl: "), "\(command): \(finished.output)\(finished.errors)")
                #expect(finished.errors.split(separator: "\n").count == 1, "\(finished.errors)")
                for word in words { #expect(finished.errors.contains(word), "\(word): \(finished.errors)") }
            }
            let up = ["up", "--port", "\(try Ports.freePair())"]
            try refused(up + ["--data-dir", place.path("data")], "lies in the data directory", "--run-dir", "/run/upki-ca")
            #expect(!FileManager.default.fileExists(atPath: place.path("data")))
            mkdir(place.path("closed"), 0o700)
            let places = ["--data-dir", place.path("closed/data"), "--run-dir", place.path("run")]
            try refused(up + places, "upki-ca cannot reach", "chmod o+x \(place.path("closed"))")
            try refused(["init"] + places, "upki-ca cannot reach", "chmod o+x \(place.path("closed"))")
            try refused(up + ["--data-dir", place.path("data"), "--run-dir", place.path("closed/run")], "others may not pass", "--run-dir")
            mkdir(place.path("theirs"), 0o711)
            chown(place.path("theirs"), users.stranger.id, users.stranger.id)
            try refused(up + ["--data-dir", place.path("data"), "--run-dir", place.path("theirs/run")], "others may change", "--run-dir")
            try refused(
                up + ["--data-dir", place.path("theirs"), "--run-dir", place.path("run")], "belongs to stranger",
                "chown -R upki-ca:upki-ca \(place.path("theirs"))")
            #expect(place.processes().isEmpty && !FileManager.default.fileExists(atPath: place.path("data")))
        }

        @Test(
            "an empty directory of root's is given to the CA's user; a seed file that this user cannot read is refused with its owner to be"
        )
        func seedFile() throws {
            let place = try Workplace()
            defer { place.end() }
            let users = TestUsers()
            let ctl = try users.wrapper(place) + ["\(Checkout.programs)/ca-ctl"]
            let places = ["--data-dir", place.path("data"), "--run-dir", place.path("run")]
            mkdir(place.path("data"), 0o700)
            try place.write("operators seed 0123456789 abcdefgh\n", to: "seed")
            let made = try place.run(ctl + ["init", "--seed-file", place.path("seed")] + places)
            #expect(made.code == 0, "\(made.errors)")
            var found = stat()
            #expect(stat(place.path("data"), &found) == 0 && found.st_uid == users.core.id && found.st_mode & 0o777 == 0o700)
            // The operator's token, for which ca-core works as the directory's owner.
            let token = try place.run(ctl + ["seed", "token", "--seed-file", place.path("seed")] + places)
            #expect(token.code == 0 && token.output.hasPrefix("upkireg_"), "\(token.errors)")
            let configuration = place.path("data/ca.config.yml")
            try (String(contentsOfFile: configuration, encoding: .utf8) + "\nkey_storage: seed\n").write(
                toFile: configuration, atomically: false, encoding: .utf8)
            let port = try Ports.freePair()
            let up = ctl + ["up", "--no-init", "--port", "\(port)", "--seed-file", place.path("seed")] + places
            let refused = try place.run(up)
            #expect(refused.code == 1 && refused.errors.contains("chown \(users.core.id) '\(place.path("seed"))'"), "\(refused.errors)")
            #expect(place.processes().isEmpty)
            chown(place.path("seed"), users.core.id, users.core.id)
            let running = try place.start(up)
            try place.must(ctl + ["status", "--wait", "30"] + places)
            running.signal(SIGTERM)
            #expect(try running.finish(within: .seconds(10)).code == 0)
        }
    }

    @Suite("the terminal", .enabled(if: geteuid() == 0, "skipped: only root sees what descriptors an undumpable process holds"))
    struct TerminalTests {
        @Test(
            "programs have no controlling terminal and can only write to the operator's: they can neither read nor feed what is typed there"
        )
        func terminal() throws {
            let place = try Workplace()
            defer { place.end() }
            let port = try Ports.freePair()
            let ctl = "\(Checkout.programs)/ca-ctl"
            let places = ["--data-dir", place.path("data"), "--run-dir", place.path("run")]
            let command = ([ctl, "up", "--port", "\(port)"] + places).joined(separator: " ")
            let typed = try place.start(
                ["/usr/bin/script", "--quiet", "--return", "--command", "exec \(command)", "/dev/null"], keepInput: true)
            try place.must([ctl, "status", "--wait", "30"] + places)
            let processes = place.processes()
            let supervisor = try #require(processes.first { $0.command.contains("ca-ctl up") && !$0.command.contains("script") }?.pid)
            // This test sees terminals: ca-ctl itself has one.
            #expect(try self.terminal(of: supervisor) != 0)
            let children = processes.filter { $0.command.contains("/ca-core ") || $0.command.contains("/ca-registrar ") }
            #expect(children.count == 3)
            for (pid, command) in children {
                #expect(try self.terminal(of: pid) == 0, "\(command)")
                for descriptor in [1, 2] {
                    let target = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(pid)/fd/\(descriptor)")
                    #expect(target.hasPrefix("/dev/pts/"), "\(target)")
                    let facts = try String(contentsOfFile: "/proc/\(pid)/fdinfo/\(descriptor)", encoding: .utf8)
                    let flags = facts.split(separator: "\n").first { $0.hasPrefix("flags:") }?.split(separator: "\t").last
                    #expect(flags.flatMap { Int32($0, radix: 8) }.map { $0 & O_ACCMODE } == O_WRONLY, "\(facts)")
                }
            }
            kill(supervisor, SIGTERM)
            #expect(try typed.finish(within: .seconds(10)).code == 0)
        }

        /// The number of a process's controlling terminal; 0: none (proc(5), stat, field 7).
        private func terminal(of pid: pid_t) throws -> Int {
            let text = try String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8)
            let fields = try #require(text.split(separator: ")").last).split(separator: " ")
            return try #require(Int(fields[4]))
        }
    }
}
