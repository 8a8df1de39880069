// The authority's store on SQLite: WAL, every commit synced, one writer beside many readers, checkpoints off the commit path.

public import Authority
import Foundation
import GRDB
import PKI
import Synchronization

/// A `Store` in one SQLite file.
public final class SQLiteStore: Store {
    private let pool: DatabasePool
    /// A connection of its own: checkpoints must not wait for the writer, nor the writer for them.
    private let checkpointer: DatabaseQueue
    private let path: String
    private let reserve: Reserve
    /// The log that commits go to; another file at its path means that they are in one without a name.
    private let log: FileIdentity?
    private let logIsLost = Atomic<Bool>(false)
    private let damage = Atomic<Bool>(false)
    /// Commits that the disk refused since the log was last known to hold nothing but what was acknowledged.
    private let refusedCommits = Atomic<Int>(0)

    /// How large the write-ahead log may grow before it is made to start over, in bytes.
    public static let walLimit: Int64 = 160 << 20
    /// What opening needs on a full disk: the wal-index and the first pages of the log, in bytes.
    private static let spaceToOpen: Int64 = 256 << 10
    /// What the database grows by when a short log is copied back, in bytes.
    private static let spaceToCopy: Int64 = 256 << 10
    /// From which size on checkpoints copy it back, in bytes.
    private static let walCheckpointSize: Int64 = 8 << 20

    /// Opens or creates the store and brings its schema up to date.
    ///
    /// - Parameter reserve: how much space is set aside beside it for what must not wait, in bytes; 0 for none.
    /// - Throws: `AuthorityError.storage` where the file cannot be opened, is no store, or was made by a newer version.
    public init(path: String, reserve size: Int64 = 0) throws {
        self.path = path
        self.reserve = Reserve(path: (path as NSString).deletingLastPathComponent + "/reserve", size: size)
        guard !LeftLog.isMissing(besideDatabase: path) else { throw AuthorityError(.storage, LeftLog.missing) }
        (self.pool, self.checkpointer) = try Self.open(path, self.reserve)
        self.log = FileIdentity(path + "-wal")
        self.reserve.fill()
    }

    /// On a full disk from what was set aside: revocations are taken again after a restart too.
    private static func open(_ path: String, _ reserve: Reserve) throws -> (DatabasePool, DatabaseQueue) {
        while true {
            do {
                return try Self.open(path)
            } catch let error as AuthorityError {
                throw error
            } catch {
                let failure = Self.failure(error, path)
                if failure.code == .storageFull, reserve.giveUp(Self.spaceToOpen) { continue }
                throw AuthorityError(.storage, "The store cannot be opened: \(failure.detail)", cause: failure.cause)
            }
        }
    }

    private static func open(_ path: String) throws -> (DatabasePool, DatabaseQueue) {
        let pool = try DatabasePool(path: path, configuration: Self.configuration(readers: 4))
        let migrator = Schema.migrator
        if try pool.read({ try migrator.hasBeenSuperseded($0) }) {
            throw AuthorityError(.storage, "The store was written by a newer version of uPKI CA; start that version")
        }
        // GRDB sets NORMAL when it turns WAL on, after `prepareDatabase`: then a power cut takes acknowledged commits away.
        try pool.writeWithoutTransaction { try $0.execute(sql: "PRAGMA synchronous = FULL") }
        try Self.writeOutLeftLog(pool, path)
        try migrator.migrate(pool)
        // Its patience is what a commit may have to wait for a log that starts over.
        return (pool, try DatabaseQueue(path: path, configuration: Self.configuration(readers: 1, busy: 0.1)))
    }

    /// What a killed process left in the log is written to the database before anything is added to it.
    ///
    /// Its last commit may be one whose sync failed: it is in the kernel's cache and on no disk, and the next sync would not say so. Commits
    /// after such a hole would be lost by a power cut; the copy is synced for itself.
    private static func writeOutLeftLog(_ pool: DatabasePool, _ path: String) throws {
        guard Self.size(ofLogOf: path) > 0 else { return }
        do {
            _ = try pool.writeWithoutTransaction { try $0.checkpoint(.truncate) }
        } catch let error as DatabaseError where error.resultCode == .SQLITE_BUSY || Self.failure(error, path).code == .storageFull {
            // Somebody reads, or there is no space for it now: what must not wait goes on.
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
                do {
                    try database.inTransaction(.immediate) {
                        result = try body(Rows(database: database))
                        return .commit
                    }
                } catch let error as DatabaseError where error.resultCode == .SQLITE_IOERR {
                    self.refusedCommits.add(1, ordering: .relaxed)
                    throw error
                }
                // This commit has written over the one that the disk refused.
                self.refusedCommits.store(0, ordering: .relaxed)
                if self.log != FileIdentity(self.path + "-wal") { try self.rescueLog(database) }
                guard let result else { throw AuthorityError(.storage, "the store did not answer") }
                return result
            }
        }
    }

    /// Somebody removed the log: what was committed is in a file without a name, and is acknowledged only once it is in the database.
    private func rescueLog(_ database: Database) throws {
        self.logIsLost.store(true, ordering: .relaxed)
        _ = try database.checkpoint(.full)
    }

    /// Copies the write-ahead log back where it has grown, and makes it start over where it is too large.
    ///
    /// To be called every second or so from a thread that neither reads nor writes.
    public func checkpoint() throws {
        if self.log != FileIdentity(self.path + "-wal") {
            try self.translating { try self.pool.writeWithoutTransaction { try self.rescueLog($0) } }
            return
        }
        try self.cutOffRefusedCommits()
        // Of a full disk the log gets nothing more: it starts over within what it has.
        guard self.walSize > (self.reserve.isWhole ? Self.walCheckpointSize : Self.walCheckpointSize / 8) else { return }
        do {
            try self.copyBack()
        } catch let error as AuthorityError where error.code == .storageFull && self.isShortOfSpace && self.reserve.giveUp(Self.spaceToCopy)
        {
            // What is given for the copy comes back as room in the log.
            try self.copyBack()
        }
    }

    private func copyBack() throws {
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

    /// Takes out of the log what the disk refused to sync: a process that is killed now would otherwise leave it to be found as done.
    private func cutOffRefusedCommits() throws {
        let refused = self.refusedCommits.load(ordering: .relaxed)
        guard refused > 0 else { return }
        try self.translating { _ = try self.checkpointer.writeWithoutTransaction { try $0.checkpoint(.truncate) } }
        _ = self.refusedCommits.compareExchange(expected: refused, desired: 0, ordering: .relaxed)
    }

    // MARK: Space and damage

    public var isShortOfSpace: Bool { !self.reserve.isWhole }

    public func giveUpSpace(_ bytes: Int64) -> Bool { self.reserve.giveUp(bytes) }

    /// Makes the space set aside whole again where there is room for it, that of the log included, which may have taken some of it.
    ///
    /// To be called from a thread that neither reads nor writes.
    public func refillReserve() {
        guard !self.reserve.isWhole else { return }
        self.reserve.fill()
        guard !self.reserve.isWhole, self.reserve.couldBeFilled(with: self.walSize) else { return }
        // Not earlier: on a full disk the log's room is the store's own, and what it lets go is anybody's.
        _ = try? self.checkpointer.writeWithoutTransaction { try $0.checkpoint(.truncate) }
        self.reserve.fill()
    }

    /// How much is set aside when all is well, in bytes.
    public var reserveSize: Int64 { self.reserve.size }

    /// What this process may still write on the store's file system, in bytes; nil where that is not known.
    public var freeBytes: Int64? { FileSystem(at: self.path)?.freeBytes }

    /// Whether somebody removed the log: what was committed is safe, but the process has to start anew before it takes more.
    public var hasLostLog: Bool { self.logIsLost.load(ordering: .relaxed) }

    /// Whether a damaged page was met since the start.
    public var isDamaged: Bool { self.damage.load(ordering: .relaxed) }

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
    public var walSize: Int64 { Self.size(ofLogOf: self.path) }

    private static func size(ofLogOf path: String) -> Int64 {
        FileIdentity.size(path + "-wal") ?? 0
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
            if error.resultCode == .SQLITE_CORRUPT || error.resultCode == .SQLITE_NOTADB { self.damage.store(true, ordering: .relaxed) }
            throw Self.failure(error, self.path)
        }
    }

    static func failure(_ error: any Error, _ path: String) -> AuthorityError {
        let (code, words) = Self.words(of: error, path)
        return AuthorityError(code, words, cause: String(describing: error))
    }

    /// A constraint is broken and a damaged page met by one change alone; everything else stands in the way of all.
    private static func words(of error: any Error, _ path: String) -> (AuthorityError.Code, String) {
        guard let error = error as? DatabaseError else { return (.storageUnavailable, "the file cannot be opened") }
        switch error.resultCode {
        case .SQLITE_CONSTRAINT: return (.storage, "the store did not take the change")
        case .SQLITE_FULL: return (.storageFull, "the disk is full; make room on the file system of the data directory")
        case .SQLITE_READONLY: return Self.readOnly
        case .SQLITE_BUSY, .SQLITE_LOCKED:
            return (.storageUnavailable, "the store is locked by another process; end what else has the database open")
        case .SQLITE_IOERR, .SQLITE_CANTOPEN:
            let fileSystem = FileSystem(at: path)
            if fileSystem?.isReadOnly ?? false { return Self.readOnly }
            if fileSystem?.isFull ?? false { return (.storageFull, "the disk is full; make room on the file system of the data directory") }
            guard error.resultCode == .SQLITE_IOERR else { return (.storageUnavailable, "the store's file cannot be opened") }
            return (.storageUnavailable, "the disk reports an error; look for its cause in the kernel's log")
        case .SQLITE_CORRUPT, .SQLITE_NOTADB: return (.storage, "the store's file is damaged; restore it from a backup")
        default: return (.storageUnavailable, "the store did not take the change")
        }
    }

    private static let readOnly: (AuthorityError.Code, String) = (
        .storageUnavailable, "the store is read-only; make its file system and files writable"
    )
}
