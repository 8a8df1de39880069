// The file of the write-ahead log: whether it is still the one that commits went to, and whether a killed process left one that is now gone.

import Foundation
import Glibc

/// Which file a path leads to.
struct FileIdentity: Equatable, Sendable {
    private let device: UInt64
    private let inode: UInt64

    /// nil where nothing is there.
    init?(_ path: String) {
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        self.device = UInt64(status.st_dev)
        self.inode = UInt64(status.st_ino)
    }

    /// How large the file at a path is, in bytes; nil where nothing is there.
    static func size(_ path: String) -> Int64? {
        var status = stat()
        return stat(path, &status) == 0 ? Int64(status.st_size) : nil
    }
}

/// What the last process left beside the database.
enum LeftLog {
    /// What is said then, before anything opens the store: opening it makes both files anew, and nobody could tell any more.
    static let missing =
        "The store's log (ca.sqlite-wal) is gone or cut off, and acknowledged changes with it; put it back as it was, or remove ca.sqlite-shm to go on without them"

    /// Whether a process that was killed left a log that is now gone or cut off, and with it changes that were acknowledged.
    ///
    /// SQLite's wal-index (`-shm`; sqlite.org/walformat.html 2) outlives a killed process and says how many frames the log had and how many
    /// of them the database has already; SQLite itself removes both files together, the index first, and never shortens a log that is needed.
    static func isMissing(besideDatabase path: String) -> Bool {
        guard let index = Self.read(path + "-shm", 136), index.count == 136, Self.isWritten(index) else { return false }
        let frames = Int(Self.number(index, at: 16))
        let copied = Int(Self.number(index, at: 96))
        guard frames > copied else { return false }
        guard let header = Self.read(path + "-wal", 32) else { return access(path + "-wal", F_OK) != 0 }
        // Another salt: an index that is older or newer than the log, which a power cut may leave, tells nothing.
        guard header.count == 32, header[16..<24].elementsEqual(index[32..<40]) else { return false }
        var status = stat()
        guard stat(path + "-wal", &status) == 0 else { return true }
        let pageField = Int(index[14]) | Int(index[15]) << 8
        let pageSize = pageField == 1 ? 65_536 : pageField
        return Int(status.st_size) < 32 + frames * (24 + pageSize)
    }

    /// Both copies of the header are one, of the version that SQLite has written since 2010, and complete.
    private static func isWritten(_ index: [UInt8]) -> Bool {
        index[0..<48].elementsEqual(index[48..<96]) && Self.number(index, at: 0) == 3_007_000 && index[12] == 1
    }

    /// A 32-bit number in the machine's own order; every Linux that Swift runs on is little-endian.
    private static func number(_ bytes: [UInt8], at offset: Int) -> UInt32 {
        (0..<4).reduce(0) { $0 | UInt32(bytes[offset + $1]) << UInt32(8 * $1) }
    }

    /// The first bytes of a file, fewer where it is shorter; nil where it cannot be read.
    private static func read(_ path: String, _ count: Int) -> [UInt8]? {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return nil }
        defer { close(file) }
        var bytes = [UInt8](repeating: 0, count: count)
        let got = bytes.withUnsafeMutableBytes { Glibc.read(file, $0.baseAddress, $0.count) }
        return got < 0 ? nil : Array(bytes.prefix(got))
    }
}
