// A file system that is really full, with a neighbour that takes whatever is given up.

import Authority
import Foundation
import Glibc
import PKI
import RevocationFormats
import SQLiteStore
import Testing

@Suite("A store on a full file system", .enabled(if: geteuid() == 0, "mounting a small tmpfs needs root"))
struct FullFileSystemTests {
    /// A tmpfs that goes when its test ends.
    private final class SmallDisk {
        let path: String

        init(megabytes: Int) throws {
            self.path = FileManager.default.temporaryDirectory.appendingPathComponent("upki-disk-\(UUID().uuidString)").path
            try FileManager.default.createDirectory(atPath: self.path, withIntermediateDirectories: false)
            try #require(mount("tmpfs", self.path, "tmpfs", 0, "size=\(megabytes)m") == 0, "mount: \(errno)")
        }

        deinit {
            umount2(self.path, Int32(MNT_DETACH))
            rmdir(self.path)
        }

        /// Takes all that is left.
        func fill() {
            let file = open(self.path + "/ballast", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
            for size in [1 << 20, 4_096, 1] {
                let bytes = [UInt8](repeating: 1, count: size)
                while Glibc.write(file, bytes, size) > 0 {}
            }
            close(file)
        }

        func free() { unlink(self.path + "/ballast") }
    }

    /// One revocation as the authority commits it: its row, the number of its event, its audit record.
    private func revoke(_ number: Int64, in store: SQLiteStore) throws {
        try store.write { writer throws in
            let serial = SerialNumber(issuedAt: UnixTime(number), random: (UInt64(number), 7))
            try writer.set(Revocation(serial: serial, reason: .keyCompromise, revokedAt: UnixTime(number), notAfter: UnixTime(.max)))
            try writer.set(.eventSequence, String(number))
            try writer.append(
                AuditRecord(
                    sequence: number, time: UnixTime(number), requestID: "b3af91c2-\(number)", identity: "node ra.example.com",
                    proof: "plain address 127.0.0.1", task: "revoke", outcome: .done, target: "/O=Example/CN=www.example.com",
                    serial: serial.hexadecimal, detail: "reason keyCompromise", hash: [UInt8](repeating: 7, count: 32)))
        }
    }

    /// Revokes, from the space set aside where it has to be, until nothing more can be; how many could.
    private func revokeAll(_ numbers: ClosedRange<Int64>, in store: SQLiteStore, each: (Int64) throws -> Void) throws -> Int64 {
        for number in numbers {
            while true {
                do {
                    try self.revoke(number, in: store)
                    break
                } catch let error as AuthorityError where error.code == .storageFull {
                    guard store.giveUpSpace(256 << 10) else { return number - numbers.lowerBound }
                }
            }
            try each(number)
        }
        return Int64(numbers.count)
    }

    @Test("16 MiB set aside are 10,000 revocations committed one by one, although a neighbour takes whatever is given up")
    func neighbour() throws {
        let disk = try SmallDisk(megabytes: 48)
        let store = try SQLiteStore(path: disk.path + "/ca.sqlite", reserve: 16 << 20)
        try self.revoke(1, in: store)
        disk.fill()
        let count = try self.revokeAll(2...10_001, in: store) { number in
            // As the checkpoint thread does, twice a second at some hundreds of revocations a second.
            if number % 100 == 0 { try? store.checkpoint() }
            if number % 500 == 0 { disk.fill() }
        }
        #expect(count == 10_000)
        #expect(try store.read { try $0.revocationCount() } == Int(count) + 1)
        #expect(store.isShortOfSpace)
        store.refillReserve()
        #expect(store.isShortOfSpace, "there is no room yet")
        disk.free()
        store.refillReserve()
        #expect(!store.isShortOfSpace)
        #expect(try StoreInspection(path: disk.path + "/ca.sqlite").faults(isQuick: false) == [])
        try self.revoke(10_002, in: store)
        try store.close()
    }

    @Test("a log that has taken the space set aside gives it back once there is room for both")
    func logGivesBack() throws {
        let disk = try SmallDisk(megabytes: 32)
        let store = try SQLiteStore(path: disk.path + "/ca.sqlite", reserve: 12 << 20)
        disk.fill()
        // Without a checkpoint between, the log takes everything.
        let count = try self.revokeAll(1...100_000, in: store) { _ in }
        #expect(count > 100 && count < 100_000)
        #expect(store.walSize > 8 << 20)
        disk.free()
        // What is free and the log together are enough; what is free alone is not.
        let left = try #require(store.freeBytes)
        let ballast = [UInt8](repeating: 1, count: Int(left) - (8 << 20))
        try Data(ballast).write(to: URL(fileURLWithPath: disk.path + "/ballast"))
        store.refillReserve()
        #expect(!store.isShortOfSpace && store.walSize == 0)
        #expect(try store.read { try $0.revocationCount() } == Int(count))
        #expect(try StoreInspection(path: disk.path + "/ca.sqlite").faults(isQuick: false) == [])
        try store.close()
    }

    @Test("opened on a full file system it takes revocations from what was set aside")
    func opening() throws {
        let disk = try SmallDisk(megabytes: 16)
        var store = try SQLiteStore(path: disk.path + "/ca.sqlite", reserve: 4 << 20)
        try self.revoke(1, in: store)
        try store.close()
        disk.fill()
        store = try SQLiteStore(path: disk.path + "/ca.sqlite", reserve: 4 << 20)
        #expect(try self.revokeAll(2...50, in: store) { _ in } == 49)
        #expect(store.isShortOfSpace)
        #expect(try store.read { try $0.revocationCount() } == 50)
        try store.close()
    }
}
