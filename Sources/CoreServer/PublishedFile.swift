// Reading a file that is published to others: of any size, whole.

import Glibc

enum PublishedFile {
    static func read(_ path: String) throws -> [UInt8] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw CoreError("Cannot read \(path): \(String(cString: strerror(errno)))") }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw CoreError("Cannot read \(path): \(String(cString: strerror(errno)))") }
        // Files are replaced by renaming, so an open one keeps its size.
        var bytes = [UInt8](repeating: 0, count: Int(status.st_size))
        var filled = 0
        while filled < bytes.count {
            let count = bytes.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress.map { $0 + filled }, $0.count - filled) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw CoreError("Cannot read \(path): \(String(cString: strerror(errno)))") }
            filled += count
        }
        return bytes
    }
}
