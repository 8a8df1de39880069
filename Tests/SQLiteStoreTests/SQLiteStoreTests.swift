// Both stores under the contract, and what only a store on disk can get wrong.

import Authority
import Foundation
import GRDB
import InMemoryStore
import PKI
import SQLiteStore
import StoreContract
import Testing

/// A folder that goes when its test ends.
private final class Folder: Sendable {
    let path: String

    init() throws {
        let url = FileManager.default.temporaryDirectory.appendingPathComponent("upki-store-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: false)
        self.path = url.path
    }

    deinit { try? FileManager.default.removeItem(atPath: self.path) }

    var database: String { self.path + "/ca.sqlite" }
}

@Suite("The contract of a store")
struct ContractTests {
    @Test("holds for the store in memory", arguments: StoreContract.all)
    func memory(_ contract: StoreContract) throws { try contract.run(InMemoryStore()) }

    @Test("holds for the store on SQLite", arguments: StoreContract.all)
    func sqlite(_ contract: StoreContract) throws {
        let folder = try Folder()
        let store = try SQLiteStore(path: folder.database)
        try contract.run(store)
        try store.close()
    }
}

@Suite("The store on SQLite")
struct SQLiteStoreTests {
    private func record(_ number: Int, size: Int = 600) throws -> CertificateRecord {
        CertificateRecord(
            serial: try #require(SerialNumber(text: String(number))), subject: "/CN=host", commonName: "host", profile: "server", node: nil,
            notBefore: UnixTime(0), notAfter: UnixTime(1), issuedAt: UnixTime(0), der: [UInt8](repeating: 7, count: size))
    }

    @Test("keeps everything when it is closed and opened again, also by its second opening beside the first")
    func reopening() throws {
        let folder = try Folder()
        let store = try SQLiteStore(path: folder.database)
        try store.write { writer throws in
            try writer.insert(try record(1), commonNameHash: 3)
            try writer.set(.keyOrigin, "derived")
            try writer.addAdmin("/CN=a")
        }
        let beside = try SQLiteStore(path: folder.database)
        #expect(try beside.read { try $0.certificateCount() } == 1)
        try beside.close()
        try store.close()
        #expect(store.walSize == 0)
        let again = try SQLiteStore(path: folder.database)
        try again.read { reader throws in
            #expect(try reader.certificate(try #require(SerialNumber(text: "1"))) == (try record(1)))
            #expect(try reader.setting(.keyOrigin) == "derived")
            #expect(try reader.admins() == ["/CN=a"])
        }
        try again.close()
    }

    @Test("never gives a node's number twice, also after a restart")
    func nodeNumbers() throws {
        let folder = try Folder()
        var node = Node(
            id: NodeID(0), commonName: "a", subject: "/CN=a", binding: nil, profile: "ra", serial: nil, notAfter: nil,
            registeredAt: UnixTime(0),
            origin: .manual, state: .live)
        var store = try SQLiteStore(path: folder.database)
        let first = try store.write { try $0.insert(node) }
        try store.close()
        let queue = try DatabaseQueue(path: folder.database)
        try queue.write { try $0.execute(sql: "DELETE FROM node") }
        try queue.close()
        store = try SQLiteStore(path: folder.database)
        node.commonName = "b"
        #expect(try store.write { try $0.insert(node) } > first)
        try store.close()
    }

    @Test("refuses a file that a newer version wrote, and says so")
    func newerSchema() throws {
        let folder = try Folder()
        try SQLiteStore(path: folder.database).close()
        let queue = try DatabaseQueue(path: folder.database)
        try queue.write { try $0.execute(sql: "INSERT INTO grdb_migrations (identifier) VALUES ('99')") }
        try queue.close()
        let error = #expect(throws: AuthorityError.self) { _ = try SQLiteStore(path: folder.database) }
        #expect(error?.code == .storage)
        #expect(error?.detail.contains("newer version") == true)
    }

    @Test("refuses what is no database, and names no path in what clients may read")
    func noDatabase() throws {
        let folder = try Folder()
        try Data(repeating: 0x41, count: 8_192).write(to: URL(fileURLWithPath: folder.database))
        let error = #expect(throws: AuthorityError.self) { _ = try SQLiteStore(path: folder.database) }
        #expect(error?.code == .storage)
        #expect(error?.detail.contains(folder.path) == false)
        let missing = #expect(throws: AuthorityError.self) { _ = try SQLiteStore(path: folder.path + "/no/such/folder/db") }
        #expect(missing?.code == .storage)
        #expect(missing?.detail.contains("/") == false)
    }

    @Test("syncs every commit: the connection that writes has journal_mode WAL and synchronous FULL")
    func durability() throws {
        let folder = try Folder()
        let store = try SQLiteStore(path: folder.database)
        let (mode, synchronous) = try store.durability()
        #expect(mode == "wal")
        #expect(synchronous == 2)
        try store.close()
    }

    @Test("an error of the database is a storage error without SQL or path")
    func errorWords() throws {
        let folder = try Folder()
        let store = try SQLiteStore(path: folder.database)
        try store.write { try $0.insert(try record(1), commonNameHash: 0) }
        let error = #expect(throws: AuthorityError.self) { try store.write { try $0.insert(try record(1), commonNameHash: 0) } }
        #expect(error?.code == .storage)
        #expect(error?.detail.contains("INSERT") == false && error?.detail.contains("certificate") == false)
        #expect(error?.cause?.isEmpty == false)
        try store.close()
    }

    @Test("a checkpoint copies a grown log back, so that it starts over instead of growing")
    func checkpoint() throws {
        let folder = try Folder()
        let store = try SQLiteStore(path: folder.database)
        var number = 0
        func fill() throws {
            try store.write { writer throws in
                for _ in 0..<150 {
                    number += 1
                    try writer.insert(try record(number, size: 64 << 10), commonNameHash: 0)
                }
            }
        }
        try fill()
        let grown = store.walSize
        #expect(grown > 8 << 20)
        for _ in 0..<4 {
            try store.checkpoint()
            try fill()
        }
        #expect(store.walSize < grown + grown / 2)
        try store.close()
        #expect(store.walSize == 0)
    }

    @Test("a checkpoint while a reader holds its snapshot neither fails nor disturbs it")
    func checkpointBesideReader() throws {
        let folder = try Folder()
        let store = try SQLiteStore(path: folder.database)
        try store.write { writer in for number in 1...150 { try writer.insert(try record(number, size: 64 << 10), commonNameHash: 0) } }
        try store.read { reader throws in
            #expect(try reader.certificateCount() == 150)
            try store.write { try $0.insert(try record(151), commonNameHash: 0) }
            try store.checkpoint()
            #expect(try reader.certificateCount() == 150)
        }
        try store.close()
    }

    @Test(
        "a removed or changed audit record is found, at its number",
        arguments: ["DELETE FROM audit WHERE sequence = 3", "UPDATE audit SET detail = 'x' WHERE sequence = 3"])
    func tampering(_ sql: String) throws {
        let folder = try Folder()
        var store = try SQLiteStore(path: folder.database)
        var head = AuditRecord.origin
        try store.write { writer throws in
            for sequence in 1...5 as ClosedRange<Int64> {
                var record = AuditRecord(
                    sequence: sequence, time: UnixTime(1), requestID: "", identity: "", proof: "", task: "", outcome: .done, target: "",
                    serial: "", detail: "")
                record.hash = record.chained(to: head)
                head = record.hash
                try writer.append(record)
            }
        }
        try store.close()
        let queue = try DatabaseQueue(path: folder.database)
        try queue.write { try $0.execute(sql: sql) }
        try queue.close()
        store = try SQLiteStore(path: folder.database)
        let verdict = try store.read { try $0.verifyAudit() }
        #expect(verdict.firstBad == 3)
        #expect(verdict.verified == 2)
        try store.close()
    }
}
