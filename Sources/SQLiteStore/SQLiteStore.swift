// The authority's store on SQLite: WAL, every commit synced, one writer beside many readers, checkpoints off the commit path.

public import Authority
import Foundation
import GRDB
import PKI

/// A `Store` in one SQLite file.
public final class SQLiteStore: Store {
    private let pool: DatabasePool
    /// A connection of its own: checkpoints must not wait for the writer, nor the writer for them.
    private let checkpointer: DatabaseQueue
    private let path: String

    /// How large the write-ahead log may grow before it is made to start over, in bytes.
    public static let walLimit: Int64 = 160 << 20
    /// From which size on checkpoints copy it back, in bytes.
    private static let walCheckpointSize: Int64 = 8 << 20

    /// Opens or creates the store and brings its schema up to date.
    ///
    /// - Throws: `AuthorityError.storage` where the file cannot be opened, is no store, or was made by a newer version.
    public init(path: String) throws {
        self.path = path
        do {
            self.pool = try DatabasePool(path: path, configuration: Self.configuration(readers: 4))
            let migrator = Schema.migrator
            if try self.pool.read({ try migrator.hasBeenSuperseded($0) }) {
                throw AuthorityError(.storage, "The store was written by a newer version of uPKI CA; start that version")
            }
            // GRDB sets NORMAL when it turns WAL on, after `prepareDatabase`: then a power cut takes acknowledged commits away.
            try self.pool.writeWithoutTransaction { try $0.execute(sql: "PRAGMA synchronous = FULL") }
            try migrator.migrate(self.pool)
            // Its patience is what a commit may have to wait for a log that starts over.
            self.checkpointer = try DatabaseQueue(path: path, configuration: Self.configuration(readers: 1, busy: 0.1))
        } catch let error as AuthorityError {
            throw error
        } catch {
            throw AuthorityError(.storage, "The store cannot be opened: \(Self.words(of: error))", cause: String(describing: error))
        }
    }

    private static func configuration(readers: Int, busy: Double = 1) -> Configuration {
        var configuration = Configuration()
        configuration.journalMode = .wal
        configuration.maximumReaderCount = readers
        // Far below the four seconds within which every answer goes out: behind a foreign lock requests pile up.
        configuration.busyMode = .timeout(busy)
        configuration.prepareDatabase { database in
            try database.execute(
                sql:
                    "PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = \(Self.walLimit); PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF"
            )
        }
        return configuration
    }

    public func read<Result>(_ body: (any StoreReader) throws -> Result) throws -> Result {
        try self.translating {
            try self.pool.unsafeRead { database in
                // A deferred transaction is one snapshot; `unsafeRead` alone would not be one.
                var result: Swift.Result<Result, any Error>?
                try database.inTransaction(.deferred) {
                    result = Swift.Result { try body(Rows(database: database)) }
                    return .commit
                }
                guard let result else { throw AuthorityError(.storage, "the store did not answer") }
                return try result.get()
            }
        }
    }

    public func write<Result>(_ body: (any StoreWriter) throws -> Result) throws -> Result {
        try self.translating {
            try self.pool.writeWithoutTransaction { database in
                var result: Result?
                try database.inTransaction(.immediate) {
                    result = try body(Rows(database: database))
                    return .commit
                }
                guard let result else { throw AuthorityError(.storage, "the store did not answer") }
                return result
            }
        }
    }

    /// Copies the write-ahead log back where it has grown, and makes it start over where it is too large.
    ///
    /// To be called every second or so from a thread that neither reads nor writes.
    public func checkpoint() throws {
        guard self.walSize > Self.walCheckpointSize else { return }
        try self.translating {
            try self.checkpointer.writeWithoutTransaction { database in
                // First without any lock that the writer needs. Then, with it, on the little that came meanwhile: not while a long read
                // holds the log, which would make the writer wait for that read.
                let result = try database.checkpoint(.passive)
                let rest = result.walFrameCount - result.checkpointedFrameCount
                if Int64(result.walFrameCount) * 4_096 > Self.walLimit / 2, rest < 2_048 { _ = try? database.checkpoint(.restart) }
            }
        }
    }

    /// What the writing connection itself says of its journal mode and its `synchronous` (2 is FULL): both are its own, not the file's, so
    /// that no other connection can tell a test.
    package func durability() throws -> (journalMode: String, synchronous: Int) {
        try self.translating {
            try self.pool.writeWithoutTransaction { database in
                (
                    try String.fetchOne(database, sql: "PRAGMA journal_mode") ?? "",
                    try Int.fetchOne(database, sql: "PRAGMA synchronous") ?? -1
                )
            }
        }
    }

    /// The size of the write-ahead log in bytes.
    public var walSize: Int64 {
        var status = stat()
        return stat(self.path + "-wal", &status) == 0 ? Int64(status.st_size) : 0
    }

    /// Copies everything back and closes; the log is empty afterwards.
    public func close() throws {
        try self.translating {
            _ = try self.checkpointer.writeWithoutTransaction { try $0.checkpoint(.truncate) }
            try self.checkpointer.close()
            try self.pool.close()
        }
    }

    /// Turns database errors into the one error of the authority; the cause is for the log alone.
    private func translating<Result>(_ body: () throws -> Result) throws -> Result {
        do { return try body() } catch let error as DatabaseError {
            // A constraint is broken by one change alone; everything else stands in the way of all.
            let code: AuthorityError.Code = error.resultCode == .SQLITE_CONSTRAINT ? .storage : .storageUnavailable
            throw AuthorityError(code, Self.words(of: error), cause: String(describing: error))
        }
    }

    private static func words(of error: any Error) -> String {
        guard let error = error as? DatabaseError else { return "the file cannot be opened" }
        switch error.resultCode {
        case .SQLITE_FULL: return "the disk is full"
        case .SQLITE_READONLY: return "the store is read-only"
        case .SQLITE_BUSY, .SQLITE_LOCKED: return "the store is locked by another process"
        case .SQLITE_IOERR: return "the disk reports an error"
        case .SQLITE_CORRUPT, .SQLITE_NOTADB: return "the store's file is damaged; restore it from a backup"
        case .SQLITE_CANTOPEN: return "the store's file cannot be opened"
        default: return "the store did not take the change"
        }
    }
}
