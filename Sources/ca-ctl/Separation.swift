// Which user each program runs as: one of its own where root starts them and the system has these users, else one for all.

import Console
import Glibc
import Supervised

/// A user with the group of the same name, as the system knows it.
package struct Account: Sendable, Equatable {
    package var name: String
    package var uid: uid_t
    package var gid: gid_t

    package init(name: String, uid: uid_t, gid: gid_t) {
        self.name = name
        self.uid = uid
        self.gid = gid
    }

    func identity(groups: [gid_t] = []) -> ProcessIdentity { ProcessIdentity(uid: uid, gid: gid, groups: groups) }
}

/// The users of the programs.
package struct ProgramUsers: Sendable, Equatable {
    package static let coreName = "upki-ca"
    package static let frontName = "upki-front"
    package static let registrarName = "upki-registrar"
    package static let bridgeName = "upki-ocsp"

    package var core: Account
    package var front: Account
    package var registrar: Account
    /// nil on a system that was set up before there was a bridge: then it does not run, since each of the others' users would give it
    /// rights that it must not have.
    package var bridge: Account?

    /// - Throws: a reason, where two of them are one user or group, or one of them is root: nothing would be kept apart.
    package init(core: Account, front: Account, registrar: Account, bridge: Account?) throws(CommandError) {
        let all = [core, front, registrar] + (bridge.map { [$0] } ?? [])
        guard Set(all.map(\.uid)).count == all.count, Set(all.map(\.gid)).count == all.count,
            all.allSatisfy({ $0.uid != 0 && $0.gid != 0 })
        else {
            throw CommandError(
                .refused, "\(all.map(\.name).joined(separator: ", ")) are not \(all.count) users with a group each, none of them root's")
        }
        self.core = core
        self.front = front
        self.registrar = registrar
        self.bridge = bridge
    }

    /// The users of all programs but the bridge, where the system has them all, and the bridge's where it has that.
    /// - Throws: why programs cannot be kept apart by them.
    static func find() throws(CommandError) -> ProgramUsers {
        var accounts: [String: Account] = [:]
        for name in [coreName, frontName, registrarName, bridgeName] { accounts[name] = try account(name) }
        guard let core = accounts[coreName], let front = accounts[frontName], let registrar = accounts[registrarName] else {
            let missing = [coreName, frontName, registrarName, bridgeName].filter { accounts[$0] == nil }
            throw CommandError(
                .refused, "the system has no \(missing.count == 1 ? "user" : "users") \(missing.joined(separator: ", "))")
        }
        return try ProgramUsers(core: core, front: front, registrar: registrar, bridge: accounts[bridgeName])
    }

    /// The user of that name; nil where there is none.
    private static func account(_ name: String) throws(CommandError) -> Account? {
        guard let entry = getpwnam(name) else { return nil }
        let (uid, gid) = (entry.pointee.pw_uid, entry.pointee.pw_gid)
        // A group with other members would open its sockets to them.
        guard let group = getgrgid(gid), String(cString: group.pointee.gr_name) == name else {
            throw CommandError(.refused, "the group of the user \(name) is not \(name)")
        }
        return Account(name: name, uid: uid, gid: gid)
    }

    /// Why the bridge does not run where the others do, and what to do.
    package static let noBridge =
        "ca-ocsp-bridge does not run, since the system has no user \(bridgeName): nobody can ask for OCSP, CRL and CA certificate over HTTP; "
        + "make the user (useradd --system --user-group --no-create-home --shell /usr/sbin/nologin \(bridgeName)) and start the CA again"
}

/// How the programs of one CA are kept apart.
package enum Separation: Sendable, Equatable {
    case separate(ProgramUsers)
    /// All run as the user of ca-ctl; with the reason.
    case shared(why: String)

    /// - Parameters:
    ///   - users: the system's, or why it has none.
    ///   - owner: whose the data directory is; nil where it is not there, or empty and root's, so that it will be made for the core.
    /// - Throws: `.refused` for a data directory of somebody else, whom root must not become by accident.
    package static func decide(
        isRoot: Bool, users: Result<ProgramUsers, CommandError>, owner: uid_t?, dataDirectory: String
    ) throws(CommandError) -> Separation {
        guard isRoot else { return .shared(why: "only root can give each program a user of its own") }
        let found: ProgramUsers
        do throws(CommandError) { found = try users.get() } catch {
            guard let owner, owner != 0 else { return .shared(why: error.message) }
            throw CommandError(
                .refused,
                "\(dataDirectory) belongs to \(ServiceUsers.name(of: owner)), and root can run its programs only with users of their own, but "
                    + "\(error.message): make them, or run this as that user")
        }
        guard let owner, owner != found.core.uid else { return .separate(found) }
        guard owner == 0 else {
            throw CommandError(
                .refused,
                "\(dataDirectory) belongs to \(ServiceUsers.name(of: owner)): run this as that user, or give it to the CA's own user: "
                    + Self.remedy(dataDirectory))
        }
        return .shared(
            why: "\(dataDirectory) belongs to root; to keep the programs apart stop the CA and run: " + Self.remedy(dataDirectory))
    }

    private static func remedy(_ dataDirectory: String) -> String {
        "chown -R \(ProgramUsers.coreName):\(ProgramUsers.coreName) \(ShellText.quoted(dataDirectory))"
    }

    /// For the CA of these directories, as things are now.
    /// - Throws: `.refused`, also where the programs could not reach their directories or others could replace them.
    static func plan(dataDirectory: String, runDirectory: String) throws(CommandError) -> Separation {
        let isRoot = geteuid() == 0
        let users: Result<ProgramUsers, CommandError> = isRoot ? Self.usersOfSystem() : .failure(CommandError(.refused, ""))
        let separation = try decide(
            isRoot: isRoot, users: users, owner: DataFolder.canBeTaken(dataDirectory) ? nil : DataFolder.owner(dataDirectory),
            dataDirectory: dataDirectory)
        if case .separate(let users) = separation {
            try FolderPath.checkPassable(dataDirectory, by: users.core)
            try FolderPath.checkRunDirectory(runDirectory, dataDirectory: dataDirectory)
        }
        return separation
    }

    /// Why the programs of a CA that root runs share a user; nil where they need not.
    static func reasonToShare(dataDirectory: String) -> String? {
        guard
            case .shared(let why)? = try? decide(
                isRoot: true, users: usersOfSystem(), owner: DataFolder.owner(dataDirectory), dataDirectory: dataDirectory)
        else { return nil }
        return why
    }

    private static func usersOfSystem() -> Result<ProgramUsers, CommandError> {
        do throws(CommandError) { return .success(try ProgramUsers.find()) } catch { return .failure(error) }
    }

    /// As whom ca-core works on a data directory when it is run for one command.
    /// - Parameter makes: the command makes a CA; the directory is then made for the core's user where there is none.
    /// - Returns: nil for our own user.
    /// - Throws: `.refused`.
    static func identity(on dataDirectory: String, makes: Bool) throws(CommandError) -> ProcessIdentity? {
        guard geteuid() == 0 else { return nil }
        if makes, DataFolder.canBeTaken(dataDirectory), case .success(let users) = Self.usersOfSystem() {
            try DataFolder.make(dataDirectory, for: users.core)
        }
        guard let owner = DataFolder.owner(dataDirectory), owner != 0 else { return nil }
        let gid = getpwuid(owner)?.pointee.pw_gid
        guard let gid, gid != 0 else {
            throw CommandError(
                .refused, "\(dataDirectory) belongs to uid \(owner), whose group is not known: run this command as its owner")
        }
        return ProcessIdentity(uid: owner, gid: gid)
    }
}

/// The data directory as root's ca-ctl sees it.
private enum DataFolder {
    static func owner(_ path: String) -> uid_t? {
        var found = stat()
        return stat(path, &found) == 0 ? found.st_uid : nil
    }

    /// Whether it is not there, or empty, root's and closed to others: no CA, and nobody's work.
    static func canBeTaken(_ path: String) -> Bool {
        var found = stat()
        guard lstat(path, &found) == 0 else { return errno == ENOENT }
        guard found.st_mode & S_IFMT == S_IFDIR, found.st_uid == 0, found.st_mode & 0o077 == 0 else { return false }
        // "." and "..", at most.
        guard let stream = opendir(path) else { return false }
        defer { closedir(stream) }
        var count = 0
        while readdir(stream) != nil { count += 1 }
        return count <= 2
    }

    /// Makes it, with the folders above it, and gives it to that user: ca-core could do neither as that user.
    static func make(_ path: String, for account: Account) throws(CommandError) {
        func failure(_ what: String) -> CommandError { CommandError(.refused, "\(what): \(String(cString: strerror(errno)))") }
        var prefix = ""
        for part in path.split(separator: "/").dropLast() {
            prefix += "/" + part
            if mkdir(prefix, 0o755) == 0 {
                // The umask is for our own files.
                chmod(prefix, 0o755)
            } else if errno != EEXIST {
                throw failure("cannot make \(prefix)")
            }
        }
        try FolderPath.checkPassable(path, by: account)
        guard mkdir(path, 0o700) == 0 || errno == EEXIST else { throw failure("cannot make \(path)") }
        // By its descriptor: what is given away is what was looked at.
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        guard descriptor >= 0 else { throw failure(path) }
        defer { close(descriptor) }
        var found = stat()
        guard fstat(descriptor, &found) == 0, found.st_uid == 0, fchown(descriptor, account.uid, account.gid) == 0 else {
            throw failure("cannot give \(path) to \(account.name)")
        }
    }
}

/// What the folders above a directory allow.
private enum FolderPath {
    /// The folders above a path that are there, from the root on.
    private static func above(_ path: String) -> [(path: String, status: stat)] {
        var folders: [(String, stat)] = []
        var prefix = ""
        for part in [""] + path.split(separator: "/").dropLast().map(String.init) {
            prefix = part.isEmpty ? "/" : (prefix == "/" ? "" : prefix) + "/" + part
            var found = stat()
            guard stat(prefix, &found) == 0 else { break }
            folders.append((prefix, found))
        }
        return folders
    }

    /// - Throws: `.refused` with the folder above `path` that the user cannot pass through.
    static func checkPassable(_ path: String, by account: Account) throws(CommandError) {
        for (folder, status) in above(path) {
            let bit: mode_t = status.st_uid == account.uid ? 0o100 : status.st_gid == account.gid ? 0o010 : 0o001
            guard status.st_mode & bit != 0 else {
                throw CommandError(
                    .refused,
                    "\(account.name) cannot reach \(path), since it may not pass \(folder): chmod o+x \(ShellText.quoted(folder)), "
                        + "or choose another directory")
            }
        }
    }

    /// The run directory is where programs that do not trust each other meet: all of them pass through, none may rename or replace it.
    /// - Throws: `.refused` with what is wrong and what to do.
    static func checkRunDirectory(_ path: String, dataDirectory: String) throws(CommandError) {
        let advice = "give another one with --run-dir, for example /run/upki-ca"
        guard !(path + "/").hasPrefix(dataDirectory + "/") else {
            throw CommandError(
                .refused, "the run directory \(path) lies in the data directory, which only \(ProgramUsers.coreName) may enter: \(advice)")
        }
        var folders = above(path)
        var own = stat()
        if stat(path, &own) == 0 { folders.append((path, own)) }
        for (folder, status) in folders {
            let isRoots = status.st_uid == 0 && (status.st_mode & 0o022 == 0 || status.st_mode & S_ISVTX != 0)
            guard isRoots, status.st_mode & 0o001 != 0 else {
                let why = isRoots ? "others may not pass" : "others may change"
                throw CommandError(
                    .refused,
                    "the run directory \(path) is of no use to programs of several users, since \(folder) is one that \(why): \(advice)")
            }
        }
    }
}
