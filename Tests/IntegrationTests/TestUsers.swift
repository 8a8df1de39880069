// Users that exist inside a test alone: its programs see an /etc/passwd and an /etc/group of the test's, in a mount namespace of theirs.
import Foundation
import Glibc
import TestPrograms
import Testing
import UPKIProtocol

/// A user of a test; its group has the same number.
struct TestUser {
    let name: String
    let id: UInt32
    /// The numbers of its other groups, as its program has them.
    var groups: [UInt32] = []

    /// As the peers that become a user take it.
    var json: JSON {
        [("uid", .integer(Int(self.id))), ("gid", .integer(Int(self.id))), ("groups", .array(self.groups.map { .integer(Int($0)) }))].object
    }
}

/// The users of the programs, a web server's, and a stranger.
struct TestUsers {
    let core: TestUser
    let front: TestUser
    let registrar: TestUser
    let bridge: TestUser
    let web: TestUser
    let stranger: TestUser
    /// Whether the system has a user for the bridge.
    let hasBridge: Bool

    /// Numbers that nobody has.
    init(hasBridge: Bool = true) {
        let free = (61_000..<65_000).lazy.filter { getpwuid($0) == nil && getgrgid($0) == nil }.map { UInt32($0) }
        let ids = Array(free.prefix(6))
        self.core = TestUser(name: "upki-ca", id: ids[0], groups: [ids[1], ids[2]] + (hasBridge ? [ids[4]] : []))
        self.front = TestUser(name: "upki-front", id: ids[1])
        self.registrar = TestUser(name: "upki-registrar", id: ids[2], groups: [ids[0]])
        self.stranger = TestUser(name: "stranger", id: ids[3])
        self.bridge = TestUser(name: "upki-ocsp", id: ids[4], groups: [ids[0]])
        self.web = TestUser(name: "web-server", id: ids[5])
        self.hasBridge = hasBridge
    }

    /// Whether this process may make mount namespaces: root with CAP_SYS_ADMIN.
    static let areAvailable: Bool = {
        guard geteuid() == 0, let place = try? Workplace() else { return false }
        defer { place.end() }
        let tried = try? place.run(
            ["/usr/bin/unshare", "-m", "--propagation", "private", "/bin/sh", "-c", "mount --bind /etc/hostname /etc/passwd"])
        return tried?.code == 0
    }()

    /// The command that runs another one where these users exist.
    func wrapper(_ place: Workplace) throws -> [String] {
        // Programs of several users meet in folders below.
        chmod(place.directory, 0o711)
        let all = [self.core, self.front, self.registrar, self.stranger, self.web] + (self.hasBridge ? [self.bridge] : [])
        let passwd = all.map { "\($0.name):x:\($0.id):\($0.id)::/nonexistent:/usr/sbin/nologin\n" }.joined()
        let group = all.map { "\($0.name):x:\($0.id):\n" }.joined()
        try place.write(String(contentsOfFile: "/etc/passwd", encoding: .utf8) + passwd, to: "passwd", mode: 0o644)
        try place.write(String(contentsOfFile: "/etc/group", encoding: .utf8) + group, to: "group", mode: 0o644)
        let script = #"mount --bind "$0/passwd" /etc/passwd && mount --bind "$0/group" /etc/group && exec "$@""#
        return ["/usr/bin/unshare", "-m", "--propagation", "private", "/bin/sh", "-c", script, place.directory]
    }
}

/// A CA whose programs have a user each, and whose bridge is for the web server.
func withSeparateCA<Result>(
    _ options: [String] = [], hasBridge: Bool = true, _ body: (RunningCA, TestUsers) throws -> Result
) throws -> Result {
    let users = TestUsers(hasBridge: hasBridge)
    let ca = try RunningCA(
        options, configuration: "ocsp:\n  socket:\n    group: \(users.web.name)\n    mode: \"0660\"\n", wrapper: users.wrapper)
    defer { ca.end() }
    do { return try body(ca, users) } catch {
        throw TestFailure("\(error)\n--- log of the CA:\n\(ca.log.suffix(6_000))")
    }
}

extension Array where Element == (String, JSON) {
    /// An object with these members.
    var object: JSON { .object(self.map { .init($0.0, $0.1) }) }
}
