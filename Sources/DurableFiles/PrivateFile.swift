// Files and folders that nobody but the service user may read.

import Glibc

/// Reads and writes files whose permissions are their protection at rest.
public enum PrivateFile {
    /// Writes `bytes` with mode 0600, durable when this returns (see ``DurableFile/write(_:to:mode:)``).
    ///
    /// - Throws: ``DurableFileError``
    public static func write(_ bytes: [UInt8], to path: String) throws(DurableFileError) {
        try DurableFile.write(bytes, to: path, mode: 0o600)
    }

    /// Reads a file that only its owner, the user of this process, can read.
    ///
    /// - Parameter limit: the most bytes accepted.
    /// - Throws: ``DurableFileError``: `.wrongKind` for a symbolic link or anything but a regular file, `.foreignOwner`,
    ///   `.openToOthers` (these two name the command that mends it), `.tooLarge`, `.notFound`, `.system`.
    public static func read(_ path: String, limit: Int = 1 << 20) throws(DurableFileError) -> [UInt8] {
        // O_NONBLOCK: opening a FIFO that somebody put there must not wait for a writer.
        let file = try FileDescriptor(path, O_RDONLY | O_NONBLOCK)
        let status = try file.status(path)
        guard status.st_mode & S_IFMT == S_IFREG else { throw DurableFileError(.wrongKind, "\(path) is not a regular file") }
        try checkOwnerAndMode(status, path, remedyMode: "600")
        return try file.readAll(limit: limit, path)
    }

    /// Reads a file that a service manager handed to this process (systemd.exec(5), "CREDENTIALS"): it belongs to root or to the user of
    /// this process, and others have no right on it. systemd lets a service's user in by an access control list, which shows as a right
    /// of the group.
    ///
    /// - Parameter limit: the most bytes accepted.
    /// - Throws: ``DurableFileError``, as ``read(_:limit:)``.
    public static func readCredential(_ path: String, limit: Int = 1 << 20) throws(DurableFileError) -> [UInt8] {
        let file = try FileDescriptor(path, O_RDONLY | O_NONBLOCK)
        let status = try file.status(path)
        guard status.st_mode & S_IFMT == S_IFREG else { throw DurableFileError(.wrongKind, "\(path) is not a regular file") }
        guard status.st_uid == 0 || status.st_uid == geteuid() else {
            throw DurableFileError(.foreignOwner, "\(path) belongs to uid \(status.st_uid), which is neither root nor this service's user")
        }
        guard status.st_mode & 0o027 == 0 else {
            let mode = String(status.st_mode & 0o7777, radix: 8)
            throw DurableFileError(.openToOthers, "\(path) has mode \(mode), others can reach it: chmod 400 '\(path)'")
        }
        return try file.readAll(limit: limit, path)
    }
}

/// Folders with mode 0700.
public enum PrivateDirectory {
    /// Makes `path` with mode 0700 (its parent exists) and the entry durable; checks it if it is there already.
    ///
    /// - Throws: ``DurableFileError``, as ``check(_:)``.
    public static func create(_ path: String) throws(DurableFileError) {
        guard mkdir(path, 0o700) == 0 else {
            guard errno == EEXIST else { throw .system("Cannot create \(path)", errno) }
            return try check(path)
        }
        try DurableFile.synchronizeFolder(folder(of: path))
        try check(path)
    }

    /// Refuses a folder that group or others have any right on, or that belongs to another user.
    ///
    /// - Throws: ``DurableFileError``: `.openToOthers`, `.foreignOwner`, `.wrongKind`, `.notFound`, `.system`.
    public static func check(_ path: String) throws(DurableFileError) {
        var status = stat()
        guard stat(path, &status) == 0 else { throw .system("Cannot examine \(path)", errno) }
        guard status.st_mode & S_IFMT == S_IFDIR else { throw DurableFileError(.wrongKind, "\(path) is not a directory") }
        try checkOwnerAndMode(status, path, remedyMode: "700")
    }
}

private func checkOwnerAndMode(_ status: stat, _ path: String, remedyMode: String) throws(DurableFileError) {
    let user = geteuid()
    guard status.st_uid == user else {
        throw DurableFileError(.foreignOwner, "\(path) belongs to uid \(status.st_uid), not to uid \(user): chown \(user) '\(path)'")
    }
    guard status.st_mode & 0o077 == 0 else {
        let mode = String(status.st_mode & 0o7777, radix: 8)
        throw DurableFileError(.openToOthers, "\(path) has mode \(mode), others can reach it: chmod \(remedyMode) '\(path)'")
    }
}
