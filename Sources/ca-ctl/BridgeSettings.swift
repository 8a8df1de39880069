// What `ca-ctl up` tells the OCSP bridge: its sockets, whose they are, and its limits.

import Console
import Glibc
import Settings
import Supervision

/// The sockets of the bridge in a run directory; it has a folder of its own there.
package enum BridgeSockets {
    package static func http(in runDirectory: String) -> String { "\(runDirectory)/\(ServicePlan.bridge)/http.sock" }

    package static func metrics(in runDirectory: String) -> String { "\(runDirectory)/\(ServicePlan.bridge)/metrics.sock" }
}

/// `ocsp.cache`, `ocsp.connections` and `ocsp.socket`, with names looked up.
package struct BridgeSettings: Sendable, Equatable {
    /// MiB.
    package var cache = 64
    package var connections = 1024
    package var socketOwner: uid_t?
    package var socketGroup: gid_t?
    package var socketMode: mode_t = 0o660

    package init() {}

    /// As whom the bridge will run, which decides to whom its socket can be given.
    package enum Identity: Sendable, Equatable {
        /// A user of its own; ca-ctl is root and can give the folder any group.
        case own(Account)
        /// Root, as all programs.
        case root
        /// The user of ca-ctl, with that user's groups.
        case user(uid_t, groups: Set<gid_t>)

        static func current(_ users: ProgramUsers?) -> Identity {
            if let bridge = users?.bridge { return .own(bridge) }
            guard geteuid() != 0 else { return .root }
            var groups = [gid_t](repeating: 0, count: max(1, Int(getgroups(0, nil))))
            let count = Int(getgroups(Int32(groups.count), &groups))
            return .user(geteuid(), groups: Set(groups.prefix(max(0, count)) + [getegid()]))
        }
    }

    /// What the configuration says, for a bridge of that separation.
    /// - Throws: `.refused`; what is wanted of a bridge that does not run is not looked at.
    init(_ configuration: Configuration, _ separation: Separation) throws(CommandError) {
        cache = configuration.ocspCacheMiB
        connections = configuration.ocspConnections
        socketMode = mode_t(truncatingIfNeeded: configuration.ocspSocketMode)
        var users: ProgramUsers?
        if case .separate(let found) = separation {
            guard found.bridge != nil else { return }
            users = found
        }
        try giveSocket(owner: configuration.ocspSocketOwner, group: configuration.ocspSocketGroup, by: .current(users))
    }

    /// Takes over whose the socket is to be: names or numbers.
    /// - Throws: `.refused` for a user or group that is not there, or to whom this identity cannot give a socket, with what to do.
    package mutating func giveSocket(owner: String?, group: String?, by identity: Identity) throws(CommandError) {
        if let owner {
            guard let uid = uid_t(owner) ?? getpwnam(owner)?.pointee.pw_uid else {
                throw CommandError(.refused, "ocsp.socket.owner: the system has no user '\(TextWidth.printable(owner))'")
            }
            try Self.check(owner: uid, by: identity)
            socketOwner = uid
        }
        if let group {
            // The highest number means "leave it as it is" to chown: never a group.
            guard let gid = gid_t(group) ?? getgrnam(group)?.pointee.gr_gid, gid != gid_t.max else {
                throw CommandError(.refused, "ocsp.socket.group: the system has no group '\(TextWidth.printable(group))'")
            }
            if case .user(let uid, let groups) = identity, !groups.contains(gid) {
                throw CommandError(
                    .refused,
                    "ocsp.socket.group: \(ServiceUsers.name(of: uid)) is no member of the group \(TextWidth.printable(group)), and cannot give "
                        + "it a socket: make it one (usermod -aG), or run ca-ctl up as root")
            }
            socketGroup = gid
        }
    }

    /// Only root could give a socket away, and it would have to trust what the bridge's user put in the bridge's folder.
    private static func check(owner: uid_t, by identity: Identity) throws(CommandError) {
        let user: uid_t
        switch identity {
        case .root: return
        case .own(let account): user = account.uid
        case .user(let uid, _): user = uid
        }
        guard owner != user else { return }
        throw CommandError(
            .refused,
            "ocsp.socket.owner is \(ServiceUsers.name(of: owner)), but the bridge runs as \(ServiceUsers.name(of: user)), whose socket it is: "
                + "leave the owner out and name the group of the web server in ocsp.socket.group, for example www-data")
    }

    /// - Parameter isSeparate: the bridge has a user of its own; its socket is that user's then, and its folder hands its group on.
    package func arguments(in runDirectory: String, isSeparate: Bool) -> [String] {
        var arguments = ["--socket", BridgeSockets.http(in: runDirectory), "--metrics-socket", BridgeSockets.metrics(in: runDirectory)]
        if let socketOwner, !isSeparate { arguments += ["--socket-owner", String(socketOwner)] }
        if let socketGroup, !isSeparate { arguments += ["--socket-group", String(socketGroup)] }
        return arguments
            + ["--socket-mode", StatusReport.octal(socketMode), "--cache", String(cache), "--max-connections", String(connections)]
    }
}
