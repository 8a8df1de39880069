// How much room is left where the CA writes, and from when on that is too little.

import Glibc
import UPKIProtocol

/// The file system behind a folder.
package struct DiskSpace: Sendable, Equatable {
    package let path: String
    package let freeBytes: UInt64
    package let totalBytes: UInt64
    package let freeInodes: UInt64
    /// 0 where the file system makes inodes as it needs them.
    package let totalInodes: UInt64

    package enum Level: Sendable { case enough, low, critical }

    /// Below this a day of issuing may be too much: a million certificates take about 2 GB.
    private static let lowBytes: UInt64 = 512 << 20
    /// Below this a CRL of a million entries, written beside the old one, does not fit.
    private static let criticalBytes: UInt64 = 64 << 20
    private static let lowInodes: UInt64 = 10_000
    private static let criticalInodes: UInt64 = 100

    /// nil where the folder cannot be asked.
    package init?(_ path: String) {
        var status = statvfs()
        guard statvfs(path, &status) == 0 else { return nil }
        let block = UInt64(status.f_frsize)
        self.init(
            path: path, freeBytes: UInt64(status.f_bavail).multipliedReportingOverflow(by: block).partialValue,
            totalBytes: UInt64(status.f_blocks).multipliedReportingOverflow(by: block).partialValue, freeInodes: UInt64(status.f_favail),
            totalInodes: UInt64(status.f_files))
    }

    package init(path: String, freeBytes: UInt64, totalBytes: UInt64, freeInodes: UInt64, totalInodes: UInt64) {
        self.path = path
        self.freeBytes = freeBytes
        self.totalBytes = totalBytes
        self.freeInodes = freeInodes
        self.totalInodes = totalInodes
    }

    /// A small file system, such as the one of sockets, is not low for being small.
    package var level: Level {
        if self.freeBytes < min(Self.criticalBytes, self.totalBytes / 50) { return .critical }
        if self.totalInodes > 0, self.freeInodes < min(Self.criticalInodes, self.totalInodes / 50) { return .critical }
        if self.freeBytes < min(Self.lowBytes, self.totalBytes / 10) { return .low }
        if self.totalInodes > 0, self.freeInodes < min(Self.lowInodes, self.totalInodes / 20) { return .low }
        return .enough
    }

    /// As the status carries it.
    var json: JSON {
        .object([
            .init("path", .string(self.path)), .init("free_bytes", .integer(self.freeBytes)),
            .init("total_bytes", .integer(self.totalBytes)), .init("free_inodes", .integer(self.freeInodes)),
            .init("low", .bool(self.level != .enough)),
        ])
    }
}

extension CoreOperations {
    /// Where the CA writes: its data, and its sockets.
    var disks: [DiskSpace] { [self.opened.directory.path, self.runDirectory].compactMap { DiskSpace($0) } }
}
