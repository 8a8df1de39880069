// From when on a disk is low: absolute sizes for large ones, parts for small ones.

import CoreServer
import Testing

@Suite("Room on a disk")
struct DiskSpaceTests {
    private static func level(free: UInt64, of total: UInt64, inodes: UInt64 = 1_000_000, of all: UInt64 = 10_000_000) -> DiskSpace.Level {
        DiskSpace(path: "/", freeBytes: free << 20, totalBytes: total << 20, freeInodes: inodes, totalInodes: all).level
    }

    @Test("a large disk is low under 512 MB and critical under 64 MB")
    func large() {
        #expect(Self.level(free: 512, of: 100_000) == .enough)
        #expect(Self.level(free: 511, of: 100_000) == .low)
        #expect(Self.level(free: 64, of: 100_000) == .low)
        #expect(Self.level(free: 63, of: 100_000) == .critical)
        #expect(Self.level(free: 0, of: 100_000) == .critical)
    }

    @Test("a small one, such as that of the sockets, is not low for being small")
    func small() {
        #expect(Self.level(free: 11, of: 100) == .enough)
        #expect(Self.level(free: 9, of: 100) == .low)
        #expect(Self.level(free: 1, of: 100) == .critical)
        #expect(Self.level(free: 0, of: 0) == .enough)
    }

    @Test("inodes run out too, but not where the file system makes them as it needs them")
    func inodes() {
        #expect(Self.level(free: 10_000, of: 100_000, inodes: 9_999) == .low)
        #expect(Self.level(free: 10_000, of: 100_000, inodes: 99) == .critical)
        #expect(Self.level(free: 10_000, of: 100_000, inodes: 0, of: 0) == .enough)
    }

    @Test("the file system of a folder that is not there cannot be asked")
    func missing() {
        #expect(DiskSpace("/nonexistent/folder") == nil)
        #expect((DiskSpace("/tmp")?.totalBytes ?? 0) > 0)
    }
}
