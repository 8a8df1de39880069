// What `ca-ctl up` runs: the services, their arguments, users, limits and order.

import AdminLink
import Glibc
import Settings
import Supervised
import Supervision

/// The services of a CA.
package struct ServicePlan: Sendable {
    package static let core = "core"
    package static let front = "front"
    package static let registrar = "registrar"
    package static let bridge = "ocsp"

    package var locations: Locations
    /// The address that stands for all where one is shown.
    package var host: HostAddress
    /// Where front and registrar listen, each on its port.
    package var listeners: [Configuration.Listener]
    /// What the core tells nodes of its addresses, where the configuration does not say it.
    package var reachedAt: [String] = []
    package var port: Int
    package var registrarPort: Int
    /// `plain` or `json`: the services' standard error is ours, and they cannot tell what it is.
    package var logFormat: String
    package var logLevel: String
    /// For `key_storage: seed`: the path, never the seed.
    package var seedFile: String?
    /// For `key_storage: encrypted`: the path, never the password.
    package var keyPasswordFile: String?
    /// A user for each program; nil: all are of ca-ctl's own.
    package var users: ProgramUsers?
    /// What the OCSP bridge is told.
    package var bridge = BridgeSettings()
    /// A service that was not heard for so long hangs.
    package var watchdog = Duration.seconds(10)
    package var restart = RestartPolicy()

    package init(
        locations: Locations, host: HostAddress, port: Int, registrarPort: Int, logFormat: String, logLevel: String, seedFile: String?,
        keyPasswordFile: String? = nil
    ) {
        self.locations = locations
        self.host = host
        listeners = [Configuration.Listener(address: host, security: .plain)]
        self.port = port
        self.registrarPort = registrarPort
        self.logFormat = logFormat
        self.logLevel = logLevel
        self.seedFile = seedFile
        self.keyPasswordFile = keyPasswordFile
    }

    private static func endpoint(_ address: HostAddress, _ port: Int) -> String {
        address.isIPv6 ? "tcp://[\(address)]:\(port)" : "tcp://\(address):\(port)"
    }

    /// Where a port is had, for people; listeners with CURVE are marked.
    package func places(_ port: Int) -> String {
        listeners.map { Self.endpoint($0.address, port) + ($0.security == .curve ? " (CURVE)" : "") }.joined(separator: ", ")
    }

    private func listening(_ port: Int) -> [String] {
        listeners.flatMap { [$0.security == .curve ? "--listen-curve" : "--listen", Self.endpoint($0.address, port)] }
    }

    /// The services in start order. Their environment is empty: what they need stands in arguments and files.
    /// - Throws: `.program` when one of the programs is not there.
    package func services(_ programs: ProgramPaths) throws(AdminLinkError) -> [ServiceSpec] {
        let log = ["--log-format", logFormat, "--log-level", logLevel]
        let sockets = ["--run-dir", socketFolder]
        let core = try programs.path(of: "ca-core")
        let secrets = [("--seed-file", seedFile), ("--key-password-file", keyPasswordFile)].flatMap { flag, path in
            path.map { [flag, $0] } ?? []
        }
        let essential = [
            ServiceSpec(
                name: Self.core, executable: core,
                arguments: ["serve", "--data-dir", locations.dataDirectory, "--port", "\(port)"] + sockets
                    + reachedAt.flatMap { ["--reached-at", $0] }
                    + secrets + socketAccess + log,
                // Its supplementary groups let it give its sockets to them.
                runAs: users.map { $0.core.identity(groups: [$0.front.gid, $0.registrar.gid] + ($0.bridge.map { [$0.gid] } ?? [])) },
                // A store of many gigabytes may have to be recovered first.
                restart: restart, startTimeout: .seconds(120), watchdogInterval: watchdog, isEssential: true, hasFolder: users != nil),
            ServiceSpec(
                name: Self.front, executable: core, arguments: ["front"] + sockets + listening(port) + log,
                runAs: users?.front.identity(), after: [Self.core], restart: restart, watchdogInterval: watchdog, isEssential: true),
            ServiceSpec(
                name: Self.registrar, executable: try programs.path(of: "ca-registrar"),
                arguments: sockets + listening(registrarPort) + log,
                // The core's group opens events.sock and nothing else.
                runAs: users.map { $0.registrar.identity(groups: [$0.core.gid]) }, after: [Self.core], restart: restart,
                watchdogInterval: watchdog),
        ]
        guard runsBridge else { return essential }
        return essential + [
            ServiceSpec(
                name: Self.bridge, executable: try programs.path(of: "ca-ocsp-bridge"),
                arguments: sockets + bridge.arguments(in: locations.runDirectory, isSeparate: users != nil) + log,
                // As the registrar hears events.sock.
                runAs: users.flatMap { users in users.bridge?.identity(groups: [users.core.gid]) }, after: [Self.core], restart: restart,
                watchdogInterval: watchdog, mayBeMissing: true, hasFolder: true, folderGroup: users == nil ? nil : bridge.socketGroup)
        ]
    }

    /// Whether there is a user whom the bridge may be.
    package var runsBridge: Bool { users == nil || users?.bridge != nil }

    /// The core's own folder, where it has a user of its own: the run directory is root's then, and only the core makes sockets there.
    var socketFolder: String { users == nil ? locations.runDirectory : CoreSockets.folder(in: locations.runDirectory) }

    /// Which program may open which socket, by group, and whose requests are heard there, by user.
    private var socketAccess: [String] {
        guard let users else { return [] }
        let peers = [("front", users.front), ("registrar", users.registrar)] + (users.bridge.map { [("ocsp", $0)] } ?? [])
        let groups = peers.map { ($0, $1.gid) } + [("events", users.core.gid)]
        return groups.flatMap { ["--socket-group", "\($0)=\($1)"] } + peers.flatMap { ["--peer-user", "\($0)=\($1.uid)"] }
    }
}

/// Where ca-core's sockets are: in a folder of its own user inside the run directory, or in the run directory itself.
enum CoreSockets {
    static func folder(in runDirectory: String) -> String { "\(runDirectory)/\(ServicePlan.core)" }

    /// As things are now: where the socket of the operator is, else where it will be.
    static func find(in runDirectory: String) -> String {
        let folder = folder(in: runDirectory)
        func has(_ path: String, _ kind: mode_t) -> Bool {
            var found = stat()
            return lstat(path, &found) == 0 && found.st_mode & S_IFMT == kind
        }
        guard !has("\(folder)/admin.sock", S_IFSOCK) else { return folder }
        return has(folder, S_IFDIR) && !has("\(runDirectory)/admin.sock", S_IFSOCK) ? folder : runDirectory
    }
}
