// A listening unix socket that has its owner, group and mode before anybody can find it.

import Glibc

/// A socket that listens on a path. It is made under another name and takes its place complete, so that there is no moment with other rights
/// than the configured ones and none without a socket where an old one is replaced.
struct ListeningSocket: Sendable {
    /// Not blocking, close-on-exec.
    let descriptor: Int32
    let path: String
    /// The file, so that only this one is removed; nil where it is a service manager's.
    private let file: (inode: UInt64, device: UInt64)?

    private static let longestPath = 107
    /// The kernel lowers it to net.core.somaxconn.
    private static let backlog: Int32 = 4096

    /// - Throws: one line for a person: `alreadyServed` where a live process listens there, `configuration` where path, owner or group cannot be used.
    init(_ socket: HTTPSocket) throws(HTTPServerError) {
        if let held = socket.descriptor {
            guard fcntl(held, F_SETFL, fcntl(held, F_GETFL) | O_NONBLOCK) == 0 else {
                throw .failed("the socket \(socket.path) that was handed over cannot be used", errno)
            }
            self.descriptor = held
            self.path = socket.path
            self.file = nil
            return
        }
        let owner = try Self.user(socket.owner)
        let group = try Self.group(socket.group)
        try Self.makeSureNobodyListens(socket.path)
        // In the same folder, for rename(2); short, so that it is seldom longer than the path itself.
        let temporary = "\(socket.path.dropLast(Self.fileName(socket.path).count)).\(getpid())"
        unlink(temporary)
        let descriptor = try Self.bound(to: temporary, for: socket.path)
        do throws(HTTPServerError) {
            try Self.give(temporary, to: (owner, socket.owner), (group, socket.group), mode: socket.mode)
            guard listen(descriptor, Self.backlog) == 0 else { throw .failed("the socket \(socket.path) cannot be listened on", errno) }
            var status = stat()
            guard lstat(temporary, &status) == 0, rename(temporary, socket.path) == 0 else {
                throw .failed("the socket \(socket.path) cannot be put in place", errno)
            }
            self.file = (UInt64(status.st_ino), UInt64(status.st_dev))
        } catch {
            close(descriptor)
            unlink(temporary)
            throw error
        }
        self.descriptor = descriptor
        self.path = socket.path
    }

    /// Removes the path where it is still this socket's.
    func remove() {
        var status = stat()
        guard let file = self.file, lstat(self.path, &status) == 0, UInt64(status.st_ino) == file.inode,
            UInt64(status.st_dev) == file.device
        else { return }
        unlink(self.path)
    }

    private static func fileName(_ path: String) -> Substring {
        path.suffix(from: path.lastIndex(of: "/").map(path.index(after:)) ?? path.startIndex)
    }

    private static func bound(to path: String, for served: String) throws(HTTPServerError) -> Int32 {
        let address = try Self.address(path)
        let descriptor = Glibc.socket(AF_UNIX, Self.streamType, 0)
        guard descriptor >= 0 else { throw .failed("no socket can be made", errno) }
        // The socket's own mode becomes the file's (unix(7)): nobody may connect before owner and group are right.
        guard fchmod(descriptor, 0) == 0, Self.call(bind, descriptor, address) == 0 else {
            let failed = errno
            close(descriptor)
            throw .failed("the socket \(served) cannot be made", failed)
        }
        return descriptor
    }

    private static func give(_ path: String, to owner: (uid_t?, String?), _ group: (gid_t?, String?), mode: UInt32) throws(HTTPServerError)
    {
        // Apart from each other, so that the message names the one that failed. uid_t.max leaves it as it is (chown(2)).
        if let id = group.0, lchown(path, uid_t.max, id) != 0 {
            throw .failed(
                "the socket's group '\(group.1 ?? "")' cannot be given", errno,
                advice: "run as root or add the user of this program to that group")
        }
        // Before the owner, whose alone the mode is from then on.
        guard chmod(path, mode) == 0 else { throw .failed("the socket's mode \(String(mode, radix: 8)) cannot be set", errno) }
        if let id = owner.0, lchown(path, id, gid_t.max) != 0 {
            throw .failed(
                "the socket's owner '\(owner.1 ?? "")' cannot be given", errno,
                advice: "run as root or leave the owner out and use the group")
        }
    }

    private static func makeSureNobodyListens(_ path: String) throws(HTTPServerError) {
        let address = try Self.address(path)
        var status = stat()
        guard lstat(path, &status) == 0 else {
            guard errno == ENOENT else { throw .failed("the socket \(path) cannot be looked at", errno) }
            return
        }
        guard status.st_mode & S_IFMT == S_IFSOCK else {
            throw HTTPServerError(.configuration, "\(path) exists and is no socket; remove it or choose another path")
        }
        let descriptor = Glibc.socket(AF_UNIX, Self.streamType, 0)
        guard descriptor >= 0 else { throw .failed("no socket can be made", errno) }
        defer { close(descriptor) }
        // EAGAIN: somebody listens and is behind with accepting.
        if Self.call(connect, descriptor, address) == 0 || errno == EAGAIN {
            throw HTTPServerError(.alreadyServed, "another process listens on \(path); stop it first or choose another path")
        }
        guard errno == ECONNREFUSED || errno == ENOENT else {
            throw .failed("the socket \(path) of another process cannot be replaced", errno)
        }
    }

    private static var streamType: Int32 {
        Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
    }

    private static func address(_ path: String) throws(HTTPServerError) -> sockaddr_un {
        guard path.utf8.count <= Self.longestPath, path.utf8.count > 0, !path.utf8.contains(0) else {
            throw HTTPServerError(
                .configuration,
                "the socket path \(path) has \(path.utf8.count) bytes, \(Self.longestPath) are possible; choose a shorter one")
        }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        return address
    }

    private static func call(
        _ function: (Int32, UnsafePointer<sockaddr>?, socklen_t) -> Int32, _ descriptor: Int32, _ address: sockaddr_un
    ) -> Int32 {
        withUnsafePointer(to: address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                function(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
    }

    private static func user(_ name: String?) throws(HTTPServerError) -> uid_t? {
        guard let name else { return nil }
        // The highest number means "leave it as it is" to chown: never a user.
        guard let id = uid_t(name) ?? getpwnam(name)?.pointee.pw_uid, id != uid_t.max else {
            throw HTTPServerError(.configuration, "there is no user '\(name)' to own the socket; make it or change socket.owner")
        }
        return id
    }

    private static func group(_ name: String?) throws(HTTPServerError) -> gid_t? {
        guard let name else { return nil }
        guard let id = gid_t(name) ?? getgrnam(name)?.pointee.gr_gid, id != gid_t.max else {
            throw HTTPServerError(.configuration, "there is no group '\(name)' for the socket; make it or change socket.group")
        }
        return id
    }
}

extension HTTPServerError {
    fileprivate static func failed(_ what: String, _ code: Int32, advice: String? = nil) -> HTTPServerError {
        HTTPServerError(.system, "\(what): \(String(cString: strerror(code)))" + (advice.map { "; \($0)" } ?? ""))
    }
}
