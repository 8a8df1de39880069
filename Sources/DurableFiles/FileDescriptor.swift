// A file descriptor that closes itself, and the calls on it that repeat when a signal interrupts them.

import Glibc

/// An open file; closed when the value goes out of scope.
struct FileDescriptor: ~Copyable {
    let number: Int32

    /// Opens `path`. `O_CLOEXEC` and `O_NOFOLLOW` are always set.
    init(_ path: String, _ flags: Int32, mode: mode_t = 0) throws(DurableFileError) {
        var result: Int32
        repeat {
            result = open(path, flags | O_CLOEXEC | O_NOFOLLOW, mode)
        } while result < 0 && errno == EINTR
        guard result >= 0 else {
            let number = errno
            if number == ELOOP {
                throw DurableFileError(.wrongKind, "\(path) is a symbolic link; put the file itself there", errno: number)
            }
            if number == EACCES {
                let user = geteuid()
                throw DurableFileError(
                    .system,
                    "Cannot open \(path): uid \(user) may not; give it to that user (chown \(user) '\(path)') and let it pass the folders above",
                    errno: number)
            }
            throw .system("Cannot open \(path)", number)
        }
        self.number = result
    }

    deinit { close(number) }

    func status(_ path: String) throws(DurableFileError) -> stat {
        var status = stat()
        guard fstat(number, &status) == 0 else { throw .system("Cannot examine \(path)", errno) }
        return status
    }

    func write(_ bytes: UnsafeRawBufferPointer, _ path: String) throws(DurableFileError) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let written = Glibc.write(number, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
            if written < 0 {
                if errno == EINTR { continue }
                throw .system("Cannot write \(path)", errno)
            }
            rest = rest.dropFirst(written)
        }
    }

    /// Returns when the content is on the disk.
    func synchronize(_ path: String) throws(DurableFileError) {
        // Not repeated after a failure: the kernel may have dropped the pages, and a second fsync would report success.
        guard fsync(number) == 0 else { throw .system("Cannot fsync \(path)", errno) }
    }

    /// Everything in the file; refuses more than `limit` bytes.
    func readAll(limit: Int, _ path: String) throws(DurableFileError) -> [UInt8] {
        let size = Int(try status(path).st_size)
        // One allocation, so that a secret is not left behind in the buffers that a growing array gives up.
        var content = [UInt8](repeating: 0, count: min(size, limit) + 1)
        var used = 0
        while used < content.count {
            let count = content.withUnsafeMutableBytes { buffer in
                Glibc.read(number, buffer.baseAddress.map { $0 + used }, buffer.count - used)
            }
            if count < 0 {
                if errno == EINTR { continue }
                throw .system("Cannot read \(path)", errno)
            }
            if count == 0 { break }
            used += count
        }
        guard used <= size, size <= limit else {
            content.withUnsafeMutableBytes { buffer in
                if let start = buffer.baseAddress { explicit_bzero(start, buffer.count) }
            }
            throw DurableFileError(.tooLarge, "\(path) is larger than \(limit) bytes or was written to while it was read")
        }
        content.removeLast(content.count - used)
        return content
    }
}

/// The folder part of a path, `.` where there is none.
func folder(of path: String) -> String {
    guard let slash = path.lastIndex(of: "/") else { return "." }
    return slash == path.startIndex ? "/" : String(path[..<slash])
}
