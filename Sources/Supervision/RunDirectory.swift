// The supervisor's directory: its sockets, and the lock that keeps a second supervisor away.
import CLinux
import Glibc

/// Holds `supervisor.lock` as long as it lives. The file stays behind: removing it would let two supervisors each lock
/// one of two files of the same name.
final class RunDirectory {
    /// The longest path of a unix socket, without its NUL.
    static let longestSocketPath = 107

    let path: String
    private let lock: Int32

    var controlSocket: String { "\(path)/supervisor.sock" }
    private var notifyDirectory: String { "\(path)/notify" }
    func notifySocket(of service: String) -> String { "\(notifyDirectory)/\(service).sock" }

    /// Makes the directory (mode 0711: children of other users pass through to their sockets) when it is missing.
    /// - Throws: `.badRunDirectory`, `.alreadyRunning` (with the other's pid).
    init(_ path: String, services: [String]) throws(SupervisionError) {
        guard path.utf8.first == UInt8(ascii: "/") else {
            throw SupervisionError(.badRunDirectory, "the run directory must be given as an absolute path: \(path)")
        }
        self.path = path
        for socket in services.map({ "\(path)/notify/\($0).sock" }) + ["\(path)/supervisor.sock"] {
            guard socket.utf8.count <= Self.longestSocketPath else {
                throw SupervisionError(
                    .badRunDirectory,
                    "\(socket) is longer than the \(Self.longestSocketPath) bytes of a unix socket's path: use a shorter run directory"
                )
            }
        }
        try Self.own(path)
        try Self.own("\(path)/notify")
        let descriptor = open("\(path)/supervisor.lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw .systemCall("\(path)/supervisor.lock", -errno, code: .badRunDirectory) }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            let failed = errno
            var digits = [UInt8](repeating: 0, count: 16)
            let count = pread(descriptor, &digits, digits.count, 0)
            close(descriptor)
            guard failed == EWOULDBLOCK else { throw .systemCall("flock", -failed) }
            let holder = String(decoding: digits.prefix(max(count, 0)).prefix { (48...57).contains($0) }, as: UTF8.self)
            throw SupervisionError(
                .alreadyRunning, "another supervisor (pid \(holder.isEmpty ? "unknown" : holder)) runs on \(path)")
        }
        lock = descriptor
        let line = Array("\(getpid())\n".utf8)
        guard ftruncate(lock, 0) == 0, pwrite(lock, line, line.count, 0) == line.count else {
            let failed = errno
            close(lock)
            throw .systemCall("\(path)/supervisor.lock", -failed, code: .badRunDirectory)
        }
    }

    deinit {
        rmdir(notifyDirectory)
        ftruncate(lock, 0)
        close(lock)
    }

    /// The folder in which a service may make sockets of its own.
    func folder(of service: String) -> String { "\(path)/\(service)" }

    /// Makes a service's folder and gives it to the user who will work in it; others pass through to the sockets that they may open.
    /// - Parameter group: the group of what will be made there; nil: the owner's.
    /// - Throws: `.badRunDirectory`.
    func makeFolder(of service: String, owner: (uid_t, gid_t), group: gid_t? = nil) throws(SupervisionError) {
        let folder = folder(of: service)
        guard mkdir(folder, 0o711) == 0 || errno == EEXIST else {
            throw .systemCall("cannot make \(folder)", -errno, code: .badRunDirectory)
        }
        // Nobody else writes in the directory above, so what stands there was put there by a supervisor or by root.
        let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        guard descriptor >= 0 else { throw .systemCall(folder, -errno, code: .badRunDirectory) }
        defer { close(descriptor) }
        // Set-group-ID on a folder hands its group on to what is made in it (inode(7)).
        guard fchown(descriptor, owner.0, group ?? owner.1) == 0, fchmod(descriptor, group == nil ? 0o711 : 0o2711) == 0 else {
            throw .systemCall("cannot give away \(folder)", -errno, code: .badRunDirectory)
        }
    }

    /// Removes what an earlier supervisor made for a service that has no folder now: clients would look for its sockets there.
    func removeFolder(of service: String) {
        let folder = folder(of: service)
        var found = stat()
        // Ours it would be only if somebody else had made it for himself.
        guard lstat(folder, &found) == 0, found.st_mode & S_IFMT == S_IFDIR, found.st_uid != geteuid(), let stream = opendir(folder)
        else { return }
        defer { closedir(stream) }
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            // Sockets and the lock beside them are all that a service of ours leaves; what else is there is not ours to remove.
            let isSocket = lstat("\(folder)/\(name)", &found) == 0 && found.st_mode & S_IFMT == S_IFSOCK
            if isSocket || name == "lock" { unlink("\(folder)/\(name)") }
        }
        rmdir(folder)
    }

    /// Whoever may write in the directory could put his own sockets in place of ours.
    private static func own(_ path: String) throws(SupervisionError) {
        var made = stat()
        if mkdir(path, 0o711) == 0 {
            // The umask may have taken what the children need.
            chmod(path, 0o711)
        } else if errno != EEXIST {
            throw .systemCall("cannot make \(path)", -errno, code: .badRunDirectory)
        }
        guard lstat(path, &made) == 0 else { throw .systemCall(path, -errno, code: .badRunDirectory) }
        guard made.st_mode & S_IFMT == S_IFDIR, made.st_uid == geteuid(), made.st_mode & 0o022 == 0 else {
            throw SupervisionError(
                .badRunDirectory, "\(path) must be a directory of user \(geteuid()) that nobody else may write in")
        }
    }
}
