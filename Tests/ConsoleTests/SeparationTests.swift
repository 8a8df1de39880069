// Which programs run as which user: decided by what the system has and whose the data directory is.
import AdminLink
import Console
import Foundation
import Glibc
import Settings
import Supervised
import Supervision
import Testing
import ca_ctl

@Suite("Separate users")
struct SeparationTests {
    private static func users(
        core: uid_t = 901, front: uid_t = 902, registrar: uid_t = 903, bridge: uid_t? = 904
    ) throws -> ProgramUsers {
        try ProgramUsers(
            core: Account(name: "upki-ca", uid: core, gid: core), front: Account(name: "upki-front", uid: front, gid: front),
            registrar: Account(name: "upki-registrar", uid: registrar, gid: registrar),
            bridge: bridge.map { Account(name: "upki-ocsp", uid: $0, gid: $0) })
    }

    private static func decide(isRoot: Bool = true, _ users: Result<ProgramUsers, CommandError>, owner: uid_t?) throws -> Separation {
        try Separation.decide(isRoot: isRoot, users: users, owner: owner, dataDirectory: "/var/lib/my ca")
    }

    @Test("root, the users and a directory that is the core's or is to be made: separate")
    func separate() throws {
        let users = try Self.users()
        #expect(try Self.decide(.success(users), owner: nil) == .separate(users))
        #expect(try Self.decide(.success(users), owner: 901) == .separate(users))
    }

    @Test("otherwise they share, and the reason says what to do")
    func shared() throws {
        let users = try Self.users()
        #expect(
            try Self.decide(.success(users), owner: 0)
                == .shared(
                    why: "/var/lib/my ca belongs to root; to keep the programs apart stop the CA and run: "
                        + "chown -R upki-ca:upki-ca '/var/lib/my ca'"))
        #expect(try Self.decide(.failure(CommandError(.refused, "no users")), owner: 0) == .shared(why: "no users"))
        #expect(
            try Self.decide(isRoot: false, .success(users), owner: 901) == .shared(why: "only root can give each program a user of its own")
        )
    }

    @Test("root does not run a CA of somebody else's by accident")
    func foreign() throws {
        let users = try Self.users()
        for owner: uid_t in [902, 903, 65_533] {
            #expect {
                try Self.decide(.success(users), owner: owner)
            } throws: { error in
                (error as? CommandError)?.message.contains("chown -R upki-ca:upki-ca '/var/lib/my ca'") ?? false
            }
        }
    }

    @Test("a CA of another user, without the users to run it as, is refused with what is missing")
    func missing() {
        #expect {
            try Self.decide(.failure(CommandError(.refused, "the system has no user upki-front")), owner: 65_533)
        } throws: { error in
            (error as? CommandError)?.message.contains("the system has no user upki-front: make them, or run this as that user") ?? false
        }
    }

    @Test("users that are one, or root, keep nothing apart")
    func degenerate() {
        #expect(throws: CommandError.self) { try Self.users(front: 901) }
        #expect(throws: CommandError.self) { try Self.users(registrar: 902) }
        #expect(throws: CommandError.self) { try Self.users(core: 0) }
        #expect(throws: CommandError.self) { try Self.users(bridge: 901) }
        #expect(throws: CommandError.self) { try Self.users(bridge: 0) }
    }

    @Test("each service runs as its user; the core has a folder for its sockets and is told who may open them and who is heard there")
    func plan() throws {
        let services = try Self.services(try Self.users())
        #expect(
            services.map(\.runAs) == [
                ProcessIdentity(uid: 901, gid: 901, groups: [902, 903, 904]), ProcessIdentity(uid: 902, gid: 902),
                ProcessIdentity(uid: 903, gid: 903, groups: [901]), ProcessIdentity(uid: 904, gid: 904, groups: [901]),
            ])
        #expect(services.map(\.hasFolder) == [true, false, false, true])
        #expect(services.map(\.folderGroup) == [nil, nil, nil, nil])
        #expect(
            services[0].arguments == [
                "serve", "--data-dir", "/data", "--port", "5000", "--run-dir", "/run/x/core", "--socket-group", "front=902",
                "--socket-group",
                "registrar=903", "--socket-group", "ocsp=904", "--socket-group", "events=901", "--peer-user", "front=902", "--peer-user",
                "registrar=903", "--peer-user", "ocsp=904", "--log-format", "json", "--log-level", "info",
            ])
        for service in services.dropFirst() { #expect(service.arguments.contains("/run/x/core")) }
    }

    @Test("the bridge's folder hands the group of the web server on, and the bridge is neither its member nor told to give anything away")
    func socketGroup() throws {
        let services = try Self.services(try Self.users()) { try $0.giveSocket(owner: "904", group: "33", by: .own(Self.bridge)) }
        #expect(services[3].folderGroup == 33)
        #expect(services[3].runAs == ProcessIdentity(uid: 904, gid: 904, groups: [901]))
        #expect(!services[3].arguments.contains("--socket-group") && !services[3].arguments.contains("--socket-owner"))
    }

    @Test("without a user for the bridge the others run as before, and the bridge does not")
    func noBridge() throws {
        let services = try Self.services(try Self.users(bridge: nil))
        #expect(services.map(\.name) == ["core", "front", "registrar"])
        #expect(services[0].runAs?.groups == [902, 903])
        #expect(!services[0].arguments.contains { $0.hasPrefix("ocsp=") })
    }

    private static let bridge = Account(name: "upki-ocsp", uid: 904, gid: 904)

    private static func services(
        _ users: ProgramUsers, _ change: (inout BridgeSettings) throws -> Void = { _ in }
    ) throws -> [ServiceSpec] {
        var template = Array("/tmp/upki-plan-XXXXXX".utf8CString)
        let folder = String(cString: try #require(mkdtemp(&template)))
        defer { try? FileManager.default.removeItem(atPath: folder) }
        for name in ["ca-core", "ca-registrar", "ca-ocsp-bridge"] { close(open("\(folder)/\(name)", O_CREAT | O_WRONLY, 0o700)) }
        var plan = ServicePlan(
            locations: try Locations(dataFlag: "/data", runFlag: "/run/x", environment: [:], isRoot: true, currentDirectory: "/"),
            host: try #require(HostAddress("127.0.0.1")), port: 5000, registrarPort: 5001, logFormat: "json", logLevel: "info",
            seedFile: nil)
        plan.users = users
        try change(&plan.bridge)
        return try plan.services(ProgramPaths(folder: folder))
    }
}

@Suite("Whose the bridge's socket is")
struct BridgeSettingsTests {
    private func given(owner: String? = nil, group: String? = nil, by identity: BridgeSettings.Identity) throws -> BridgeSettings {
        var settings = BridgeSettings()
        try settings.giveSocket(owner: owner, group: group, by: identity)
        return settings
    }

    private let own = BridgeSettings.Identity.own(Account(name: "upki-ocsp", uid: 904, gid: 904))
    private let user = BridgeSettings.Identity.user(1000, groups: [1000, 33])

    @Test("root gives it to anybody; a bridge of its own user gets the folder's group; another user gives it to groups of its own")
    func given() throws {
        let roots = try given(owner: "daemon", group: "33", by: .root)
        #expect(roots.socketOwner == 1 && roots.socketGroup == 33)
        #expect(
            roots.arguments(in: "/r", isSeparate: false).starts(with: [
                "--socket", "/r/ocsp/http.sock", "--metrics-socket", "/r/ocsp/metrics.sock", "--socket-owner", "1", "--socket-group", "33",
                "--socket-mode", "0660", "--cache", "64", "--max-connections", "1024",
            ]))
        #expect(try given(owner: "904", group: "12345", by: own).socketGroup == 12345)
        #expect(try given(owner: "1000", group: "33", by: user).socketGroup == 33)
        #expect(try given(by: user) == BridgeSettings())
    }

    @Test(
        "what cannot be done is refused in one line that says what to do",
        arguments: [
            ("daemon", nil, "the bridge runs as 904, whose socket it is: leave the owner out and name the group of the web server"),
            ("no-such-user", nil, "ocsp.socket.owner: the system has no user 'no-such-user'"),
            (nil, "no-such-group", "ocsp.socket.group: the system has no group 'no-such-group'"),
            (nil, "4294967295", "the system has no group"),
        ] as [(String?, String?, String)])
    func refused(owner: String?, group: String?, words: String) {
        #expect {
            _ = try given(owner: owner, group: group, by: own)
        } throws: {
            ($0 as? CommandError)?.message.contains(words) ?? false
        }
    }

    @Test("a user who is not root cannot give it to a group that it is no member of")
    func notMember() {
        #expect {
            _ = try given(group: "34", by: user)
        } throws: {
            ($0 as? CommandError)?.message.contains("is no member of the group 34") ?? false
        }
    }
}
