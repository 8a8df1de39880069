// Space set aside on the store's file system, so that a full disk never stops what must not wait.

import Glibc
import Synchronization

/// A preallocated file that is given up piece by piece while the disk is full, and made whole again once there is space.
final class Reserve: Sendable {
    /// What it holds when it is whole, in bytes; 0 for no reserve.
    let size: Int64
    private let path: String
    private let whole = Atomic<Bool>(true)
    /// The writer gives up, another thread fills.
    private let changing = Mutex(())

    init(path: String, size: Int64) {
        self.path = path
        self.size = size
    }

    /// Whether all of it is there.
    var isWhole: Bool { self.whole.load(ordering: .relaxed) }

    /// Piece by piece, since what is given up is anybody's on this file system.
    private static let piece: Int64 = 256 << 10

    /// Gives up so much, in whole pieces, or what is left.
    ///
    /// - Returns: false where nothing is left.
    func giveUp(_ bytes: Int64) -> Bool {
        let given = max(1, (min(bytes, self.size) + Self.piece - 1) / Self.piece) * Self.piece
        return self.changing.withLock { _ in
            let file = open(self.path, O_RDWR | O_CLOEXEC | O_NOFOLLOW)
            guard file >= 0 else { return false }
            defer { close(file) }
            guard let length = Self.length(of: file), length > 0 else { return false }
            self.whole.store(false, ordering: .relaxed)
            return ftruncate(file, off_t(max(0, length - given))) == 0
        }
    }

    /// Whether it could be made whole with so many bytes more; not asked where it is whole.
    func couldBeFilled(with bytes: Int64) -> Bool {
        let length = FileIdentity.size(self.path) ?? 0
        guard let free = FileSystem(at: self.path)?.freeBytes, bytes <= .max - free else { return false }
        return self.leavesRoom(free + bytes, length: length)
    }

    /// What was just freed must not be gone at once.
    private func leavesRoom(_ free: Int64, length: Int64) -> Bool { free >= self.size - length + self.size / 4 }

    /// Makes it whole where it is not and where that leaves room for others.
    func fill() {
        self.changing.withLock { _ in
            guard self.size > 0 else {
                unlink(self.path)
                return
            }
            self.whole.store(self.isFilled(), ordering: .relaxed)
        }
    }

    private func isFilled() -> Bool {
        let file = open(self.path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard file >= 0 else { return false }
        defer { close(file) }
        guard let length = Self.length(of: file) else { return false }
        if length == self.size { return true }
        if length > self.size { return ftruncate(file, off_t(self.size)) == 0 }
        guard let free = FileSystem(at: self.path)?.freeBytes, self.leavesRoom(free, length: length) else { return false }
        if posix_fallocate(file, 0, off_t(self.size)) == 0 { return true }
        _ = ftruncate(file, off_t(length))
        return false
    }

    private static func length(of file: Int32) -> Int64? {
        var status = stat()
        return fstat(file, &status) == 0 ? Int64(status.st_size) : nil
    }
}

/// What the operating system says of the file system that a file is on.
struct FileSystem {
    /// What this process may still fill, in bytes.
    let freeBytes: Int64
    let isReadOnly: Bool

    /// - Parameter path: a file whose folder exists; nil where nothing is known.
    init?(at path: String) {
        var status = statvfs()
        guard statvfs(Self.folder(of: path), &status) == 0 else { return nil }
        let (bytes, overflow) = UInt64(status.f_bavail).multipliedReportingOverflow(by: UInt64(status.f_frsize))
        self.freeBytes = overflow ? .max : Int64(clamping: bytes)
        self.isReadOnly = status.f_flag & UInt(ST_RDONLY) != 0
    }

    /// Less than any change needs: what failed here failed for want of space, whatever the error says.
    var isFull: Bool { self.freeBytes < 64 << 10 }

    private static func folder(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }
}
