// One process at a time works in a directory.

import Glibc

extension DurableFile {
    /// Takes the lock of a directory, without waiting.
    ///
    /// The lock is an `flock` on the file `lock` in it, which holds the process id of the owner. It ends with the process, however that
    /// ends, and is not inherited over `exec`.
    ///
    /// - Returns: the lock; it is given back when the value is released.
    /// - Throws: ``DurableFileError``: `.locked` names the process that holds it.
    public static func lock(directory: String) throws(DurableFileError) -> DirectoryLock {
        try DirectoryLock(directory)
    }
}

/// Holds the lock of a directory for as long as it lives.
public final class DirectoryLock: Sendable {
    private let file: FileDescriptor
    public let path: String

    init(_ directory: String) throws(DurableFileError) {
        let path = directory + "/lock"
        let file = try FileDescriptor(path, O_RDWR | O_CREAT, mode: 0o600)
        guard flock(file.number, LOCK_EX | LOCK_NB) == 0 else {
            let number = errno
            guard number == EWOULDBLOCK else { throw .system("Cannot lock \(path)", number) }
            let content = (try? file.readAll(limit: 32, path)) ?? []
            // The file is empty for an instant between the owner's flock and its write.
            let holder = Int32(String(decoding: content.prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)).map { "process \($0)" }
            throw DurableFileError(
                .locked, "\(directory) is in use by \(holder ?? "another process"); stop that one first", errno: number)
        }
        guard ftruncate(file.number, 0) == 0 else { throw .system("Cannot write \(path)", errno) }
        let text = Array("\(getpid())\n".utf8)
        let result = text.withUnsafeBytes { buffer in Result { () throws(DurableFileError) in try file.write(buffer, path) } }
        do { try result.get() } catch {
            // Only a message needs the number: on a full disk the lock is as good without it.
            guard error.errno == ENOSPC || error.errno == EDQUOT else { throw error }
        }
        self.path = path
        self.file = file
    }

    // The file stays: a process that opened it just before an unlink would lock a file that no name leads to.
    // Its content goes, so that the next owner's first instant does not show a process that is long gone.
    deinit { ftruncate(file.number, 0) }
}
