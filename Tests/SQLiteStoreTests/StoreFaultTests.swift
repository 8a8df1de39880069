// Faults of the file: damaged pages, a log that is gone, space set aside.

import Authority
import Foundation
import GRDB
import Glibc
import PKI
import SQLiteStore
import Testing

@Suite("Faults of the store's file")
struct StoreFaultTests {
    /// A folder that goes when its test ends.
    private final class Folder {
        let path: String

        init() throws {
            self.path = FileManager.default.temporaryDirectory.appendingPathComponent("upki-fault-\(UUID().uuidString)").path
            try FileManager.default.createDirectory(atPath: self.path, withIntermediateDirectories: false)
        }

        deinit { try? FileManager.default.removeItem(atPath: self.path) }

        var database: String { self.path + "/ca.sqlite" }
        var log: String { self.database + "-wal" }
        var index: String { self.database + "-shm" }

        /// What SQLite finds wrong with the file.
        func faults() throws -> [String] { try StoreInspection(path: self.database).faults(isQuick: false) }

        func size(_ name: String) -> Int? {
            (try? FileManager.default.attributesOfItem(atPath: self.path + "/" + name)[.size] as? NSNumber)?.intValue
        }
    }

    private func fill(_ store: SQLiteStore, _ numbers: ClosedRange<Int>) throws {
        for number in numbers {
            let record = CertificateRecord(
                serial: try #require(SerialNumber(text: String(number))), subject: "/CN=host \(number)", commonName: "host \(number)",
                profile: "server", node: nil, notBefore: UnixTime(0), notAfter: UnixTime(1), issuedAt: UnixTime(0),
                der: [UInt8](repeating: UInt8(number % 251), count: 900))
            try store.write { try $0.insert(record, commonNameHash: Int64(number)) }
        }
    }

    private func serial(_ number: Int) throws -> SerialNumber { try #require(SerialNumber(text: String(number))) }

    /// Writes zeros over the page that the row of this certificate is on.
    private func damage(_ folder: Folder, certificate number: Int) throws {
        let bytes = try Data(contentsOf: URL(fileURLWithPath: folder.database))
        let found = try #require(bytes.range(of: Data("/CN=host \(number)host \(number)".utf8)))
        let page = found.lowerBound / 4_096
        let file = try FileHandle(forWritingTo: URL(fileURLWithPath: folder.database))
        try file.seek(toOffset: UInt64(page * 4_096))
        try file.write(contentsOf: Data(repeating: 0x55, count: 4_096))
        try file.close()
    }

    // MARK: Damaged pages

    @Test("a sound store has no faults; integrity_check names what is wrong with a damaged one, without paths")
    func integrity() throws {
        let folder = try Folder()
        let store = try SQLiteStore(path: folder.database)
        try self.fill(store, 1...200)
        #expect(try folder.faults() == [])
        try store.close()
        try self.damage(folder, certificate: 100)
        let faults = try folder.faults()
        #expect(!faults.isEmpty)
        for fault in faults { #expect(!fault.contains(folder.path) && !fault.isEmpty) }
    }

    @Test("a damaged page is met by those alone who need it: reads and writes beside it go on, and the store knows")
    func damagedPage() throws {
        let folder = try Folder()
        var store = try SQLiteStore(path: folder.database)
        try self.fill(store, 1...200)
        try store.close()
        try self.damage(folder, certificate: 100)
        store = try SQLiteStore(path: folder.database)
        #expect(!store.isDamaged)
        let error = #expect(throws: AuthorityError.self) { try store.read { try $0.certificate(try self.serial(100)) } }
        #expect(error?.code == .storage, "one by one: others of the same batch may be possible")
        #expect(error?.detail == "the store's file is damaged; restore it from a backup")
        #expect(store.isDamaged)
        #expect(try store.read { try $0.certificate(try self.serial(1)) } != nil)
        #expect(try store.read { try $0.certificate(try self.serial(200)) } != nil)
        try self.fill(store, 201...220)
        #expect(try store.read { try $0.certificate(try self.serial(220)) } != nil)
        try? store.close()
    }

    // MARK: The log

    /// A store as a killed process leaves it: the files are copied while it is open.
    private func killed(_ folder: Folder) throws -> Folder {
        let copy = try Folder()
        for name in ["ca.sqlite", "ca.sqlite-wal", "ca.sqlite-shm"] {
            try FileManager.default.copyItem(atPath: "\(folder.path)/\(name)", toPath: "\(copy.path)/\(name)")
        }
        return copy
    }

    @Test("what a killed process left in its log is there, and written out before anything is added")
    func leftLog() throws {
        let folder = try Folder()
        let store = try SQLiteStore(path: folder.database)
        try self.fill(store, 1...50)
        let left = try self.killed(folder)
        try store.close()
        #expect(left.size("ca.sqlite-wal") ?? 0 > 100_000)
        let again = try SQLiteStore(path: left.database)
        // Opening writes a page or two of its own.
        #expect(left.size("ca.sqlite-wal") ?? .max < 20_000)
        #expect(try again.read { try $0.certificateCount() } == 50)
        #expect(try left.faults() == [])
        try again.close()
    }

    @Test(
        "a log that was removed or cut off after a kill, with acknowledged changes in it, is missed; without its index the rest can be used"
    )
    func missingLog() throws {
        let folder = try Folder()
        let store = try SQLiteStore(path: folder.database)
        try self.fill(store, 1...50)
        let removed = try self.killed(folder)
        let cutOff = try self.killed(folder)
        let whole = try self.killed(folder)
        try store.close()
        try FileManager.default.removeItem(atPath: removed.log)
        #expect(truncate(cutOff.log, 50_000) == 0)
        for left in [removed, cutOff] {
            let error = #expect(throws: AuthorityError.self) { _ = try SQLiteStore(path: left.database) }
            #expect(error?.code == .storage && error?.detail.contains("ca.sqlite-wal") == true)
            #expect(error?.detail.contains(left.path) == false)
            // Whoever only looks must not open it either: that would make the files anew.
            let looked = #expect(throws: AuthorityError.self) { _ = try StoreInspection(path: left.database) }
            #expect(looked?.detail == error?.detail)
            #expect(throws: AuthorityError.self) { _ = try SQLiteStore(path: left.database) }
        }
        // Put back as it was, nothing is lost.
        try FileManager.default.copyItem(atPath: whole.log, toPath: removed.log)
        var again = try SQLiteStore(path: removed.database)
        #expect(try again.read { try $0.certificateCount() } == 50)
        try again.close()
        try FileManager.default.removeItem(atPath: cutOff.log)
        try FileManager.default.removeItem(atPath: cutOff.index)
        again = try SQLiteStore(path: cutOff.database)
        #expect(try cutOff.faults() == [])
        try again.close()
    }

    @Test("an index of an earlier log, as a power cut may leave it, is no reason to refuse")
    func staleIndex() throws {
        let folder = try Folder()
        let store = try SQLiteStore(path: folder.database)
        try self.fill(store, 1...50)
        let early = try self.killed(folder)
        try store.close()
        var again = try SQLiteStore(path: folder.database)
        try self.fill(again, 51...52)
        let late = try self.killed(folder)
        try again.close()
        try FileManager.default.removeItem(atPath: late.index)
        try FileManager.default.copyItem(atPath: early.index, toPath: late.index)
        again = try SQLiteStore(path: late.database)
        #expect(try again.read { try $0.certificateCount() } == 52)
        try again.close()
    }

    @Test(
        "a log that is removed under an open store: what is acknowledged is in the database when it is, and the store asks for a new start")
    func removedLog() throws {
        let folder = try Folder()
        let store = try SQLiteStore(path: folder.database)
        try self.fill(store, 1...20)
        try FileManager.default.removeItem(atPath: folder.log)
        try self.fill(store, 21...30)
        #expect(store.hasLostLog)
        // As after kill -9: a copy of what the names lead to.
        let copy = try Folder()
        try FileManager.default.copyItem(atPath: folder.database, toPath: copy.database)
        let again = try SQLiteStore(path: copy.database)
        #expect(try again.read { try $0.certificateCount() } == 30)
        #expect(try copy.faults() == [])
        try again.close()
        try store.close()
        let reopened = try SQLiteStore(path: folder.database)
        #expect(try reopened.read { try $0.certificateCount() } == 30)
        try reopened.close()
    }

    @Test("a log that is removed while nothing is written is noticed by the next checkpoint")
    func removedLogAtRest() throws {
        let folder = try Folder()
        let store = try SQLiteStore(path: folder.database)
        try self.fill(store, 1...20)
        try store.checkpoint()
        #expect(!store.hasLostLog)
        try FileManager.default.removeItem(atPath: folder.log)
        try store.checkpoint()
        #expect(store.hasLostLog)
        let copy = try Folder()
        try FileManager.default.copyItem(atPath: folder.database, toPath: copy.database)
        let again = try SQLiteStore(path: copy.database)
        #expect(try again.read { try $0.certificateCount() } == 20)
        try again.close()
        try store.close()
    }

    // MARK: Space set aside

    @Test("space is set aside as blocks of the disk, given up piece by piece to the last one, and taken again")
    func reserve() throws {
        let folder = try Folder()
        let size = 8 << 20
        let store = try SQLiteStore(path: folder.database, reserve: Int64(size))
        var status = stat()
        #expect(stat(folder.path + "/reserve", &status) == 0)
        #expect(Int(status.st_size) == size && Int(status.st_blocks) * 512 >= size && status.st_mode & 0o777 == 0o600)
        #expect(!store.isShortOfSpace)
        #expect(store.giveUpSpace(3 << 20))
        #expect(folder.size("reserve") == 5 << 20)
        var pieces = 0
        while store.giveUpSpace(1) {
            pieces += 1
            #expect(folder.size("reserve") == (5 << 20) - pieces * (256 << 10))
            #expect(store.isShortOfSpace)
        }
        #expect(pieces == 20)
        store.refillReserve()
        #expect(store.giveUpSpace(.max) && folder.size("reserve") == 0 && !store.giveUpSpace(1))
        store.refillReserve()
        #expect(!store.isShortOfSpace && folder.size("reserve") == size)
        try store.close()
    }

    @Test("another size at the next start is taken over, none at all removes the file")
    func reserveSizes() throws {
        let folder = try Folder()
        for size in [4 << 20, 1 << 20, 2 << 20] {
            let store = try SQLiteStore(path: folder.database, reserve: Int64(size))
            #expect(folder.size("reserve") == size && !store.isShortOfSpace)
            try store.close()
        }
        let store = try SQLiteStore(path: folder.database)
        #expect(folder.size("reserve") == nil && !store.isShortOfSpace && !store.giveUpSpace(1))
        try store.close()
    }

    @Test("the log gives its room back where that makes the space set aside whole again, and only then")
    func logGivesBack() throws {
        let folder = try Folder()
        let store = try SQLiteStore(path: folder.database, reserve: 1 << 20)
        try self.fill(store, 1...200)
        let grown = store.walSize
        #expect(grown > 1 << 20)
        store.refillReserve()
        #expect(store.walSize == grown, "nothing is missing")
        #expect(store.giveUpSpace(1))
        store.refillReserve()
        #expect(!store.isShortOfSpace && store.walSize == grown, "there was room without it")
        try store.close()
    }

    @Test("more than the disk has is not there: the store opens, and says that it is short of space")
    func tooMuch() throws {
        let folder = try Folder()
        let store = try SQLiteStore(path: folder.database, reserve: 1 << 50)
        #expect(store.isShortOfSpace)
        #expect(try #require(store.freeBytes) > 0)
        #expect(folder.size("reserve") == 0)
        try store.close()
    }
}
