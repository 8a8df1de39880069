// Which programs run as which user: decided by what the system has and whose the data directory is.
import AdminLink
import Console
import Foundation
import Glibc
import Settings
import Supervised
import Testing
import ca_ctl

@Suite("Separate users")
struct SeparationTests {
    private static func users(core: uid_t = 901, front: uid_t = 902, registrar: uid_t = 903) throws -> ProgramUsers {
        try ProgramUsers(
            core: Account(name: "upki-ca", uid: core, gid: core), front: Account(name: "upki-front", uid: front, gid: front),
            registrar: Account(name: "upki-registrar", uid: registrar, gid: registrar))
    }

    private static func decide(isRoot: Bool = true, _ users: Result<ProgramUsers, CommandError>, owner: uid_t?) throws -> Separation {
        try Separation.decide(isRoot: isRoot, users: users, owner: owner, dataDirectory: "/var/lib/my ca")
    }

    @Test("root, the three users and a directory that is the core's or is to be made: separate")
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
    }

    @Test("each service runs as its user; the core has a folder for its sockets and is told who may open them and who is heard there")
    func plan() throws {
        var template = Array("/tmp/upki-plan-XXXXXX".utf8CString)
        let folder = String(cString: try #require(mkdtemp(&template)))
        defer { try? FileManager.default.removeItem(atPath: folder) }
        for name in ["ca-core", "ca-registrar"] { close(open("\(folder)/\(name)", O_CREAT | O_WRONLY, 0o700)) }
        var plan = ServicePlan(
            locations: try Locations(dataFlag: "/data", runFlag: "/run/x", environment: [:], isRoot: true, currentDirectory: "/"),
            host: try #require(HostAddress("127.0.0.1")), port: 5000, registrarPort: 5001, logFormat: "json", logLevel: "info",
            seedFile: nil)
        plan.users = try Self.users()
        let services = try plan.services(ProgramPaths(folder: folder))
        #expect(
            services.map(\.runAs) == [
                ProcessIdentity(uid: 901, gid: 901, groups: [902, 903]), ProcessIdentity(uid: 902, gid: 902),
                ProcessIdentity(uid: 903, gid: 903, groups: [901]),
            ])
        #expect(services.map(\.hasFolder) == [true, false, false])
        #expect(
            services[0].arguments == [
                "serve", "--data-dir", "/data", "--run-dir", "/run/x/core", "--socket-group", "front=902", "--socket-group",
                "registrar=903", "--socket-group", "events=901", "--peer-user", "front=902", "--peer-user", "registrar=903",
                "--log-format", "json", "--log-level", "info",
            ])
        for service in services.dropFirst() { #expect(service.arguments.contains("/run/x/core")) }
    }
}
