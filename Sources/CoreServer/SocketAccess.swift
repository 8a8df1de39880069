// Who besides the core's own user may use its sockets, where each program has a user of its own.

package import Authority
import Glibc
public import Supervised

/// The groups that may open the core's sockets, and the users whose requests are heard there.
///
/// The kernel keeps strangers out by the sockets' modes; the user is looked at besides, because a group can hold more users than one.
public struct SocketAccess: Sendable, Equatable {
    /// By the socket's name; a socket without one is its owner's alone.
    let groups: [String: gid_t]
    /// By channel; on one without, whoever may open the socket is heard.
    let users: [Caller.Channel: uid_t]
    /// Whether everybody who may open admin.sock is an operator; the users of the other programs never are.
    let operatorsBySocket: Bool
    /// The listening sockets that a service manager holds for the core, by name; they have their owners and modes from there.
    let inherited: [String: Int32]
    private let ownUser: uid_t

    private static let names = ["front", "registrar", "ocsp", "admin", "events"]

    /// Sockets for the core's own user alone.
    public init() {
        self.groups = [:]
        self.users = [:]
        self.operatorsBySocket = false
        self.inherited = [:]
        self.ownUser = geteuid()
    }

    /// - Parameters:
    ///   - groups: `SOCKET=GROUP` with front, registrar, ocsp or events; a group's name or number.
    ///   - users: `SOCKET=USER` with front, registrar or ocsp; a user's name or number.
    ///   - operatorsBySocket: whoever may open admin.sock is an operator.
    ///   - inherited: the sockets of a service manager, each in `runDirectory` and named for its task: all five, or none.
    /// - Throws: one line for a person.
    public init(
        groups: [String], users: [String], operatorsBySocket: Bool = false, inherited: [InheritedSocket] = [], runDirectory: String = ""
    ) throws(CoreError) {
        var namedGroups: [String: gid_t] = [:]
        for text in groups {
            let (socket, name) = try Self.pair(text, "--socket-group", ["front", "registrar", "ocsp", "events"])
            // The highest number means "leave it as it is" to chown: never a group.
            guard let group = gid_t(name) ?? getgrnam(name)?.pointee.gr_gid, group != gid_t.max else {
                throw CoreError("There is no group '\(name)'")
            }
            namedGroups[socket] = group
        }
        var namedUsers: [Caller.Channel: uid_t] = [:]
        for text in users {
            let (socket, name) = try Self.pair(text, "--peer-user", ["front", "registrar", "ocsp"])
            guard let user = uid_t(name) ?? getpwnam(name)?.pointee.pw_uid else { throw CoreError("There is no user '\(name)'") }
            if let channel = Caller.Channel(rawValue: socket) { namedUsers[channel] = user }
        }
        self.groups = namedGroups
        self.users = namedUsers
        self.operatorsBySocket = operatorsBySocket
        self.inherited = try Self.named(inherited, runDirectory)
        self.ownUser = geteuid()
    }

    private static func named(_ sockets: [InheritedSocket], _ runDirectory: String) throws(CoreError) -> [String: Int32] {
        var found: [String: Int32] = [:]
        for socket in sockets {
            guard Self.names.contains(socket.name), socket.place == "\(runDirectory)/\(socket.name).sock" else {
                throw CoreError(
                    "the service manager hands over \(socket.place) as '\(socket.name)': FileDescriptorName= is one of "
                        + "\(Self.names.joined(separator: ", ")), and the socket \(runDirectory)/NAME.sock")
            }
            guard found.updateValue(socket.descriptor, forKey: socket.name) == nil else {
                throw CoreError("the service manager hands over two sockets named '\(socket.name)'")
            }
        }
        let missing = Self.names.filter { found[$0] == nil }
        guard found.isEmpty || missing.isEmpty else {
            throw CoreError(
                "the service manager hands over no socket for \(missing.joined(separator: ", ")): start their socket units as well")
        }
        return found
    }

    private static func pair(_ text: String, _ option: String, _ sockets: [String]) throws(CoreError) -> (String, String) {
        let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 2, sockets.contains(parts[0]), !parts[1].isEmpty else {
            throw CoreError("\(option) is SOCKET=NAME with one of the sockets \(sockets.joined(separator: ", ")), not '\(text)'")
        }
        return (parts[0], parts[1])
    }

    /// Whether a peer of this user is heard: the one that was named, the core's own user, or root. nil: the kernel did not say.
    package func admits(_ peer: UInt32?, on channel: Caller.Channel) -> Bool {
        guard let user = self.users[channel] else { return true }
        return peer == user || peer == self.ownUser || peer == 0
    }

    /// Whether a user who could open admin.sock may command the CA. nil: the kernel did not say.
    package func mayOperate(_ peer: UInt32?) -> Bool {
        guard let peer else { return false }
        return peer == 0 || peer == self.ownUser || (self.operatorsBySocket && !self.users.values.contains(peer))
    }

    /// Sets owner group and mode of a socket that was bound with no right for others.
    /// - Throws: where the socket cannot be given to its group.
    func open(_ name: String, at path: String) throws(CoreError) {
        let group = self.groups[name]
        // The group before the mode: nobody else gets a right, not even for a moment.
        if let group, lchown(path, uid_t.max, group) != 0 {
            throw CoreError("\(path) cannot be given to group \(group): \(String(cString: strerror(errno)))")
        }
        guard chmod(path, group == nil ? 0o600 : 0o660) == 0 else {
            throw CoreError("the mode of \(path) cannot be set: \(String(cString: strerror(errno)))")
        }
    }
}
