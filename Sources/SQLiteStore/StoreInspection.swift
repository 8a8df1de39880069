// A store that is only looked at: a connection of its own that cannot write, for the doctor and for the audit log of a CA that does not run.

public import Authority
import Foundation
import GRDB

/// Reads a store without changing it, whether a CA runs on it or not.
///
/// Its connection shares no cache with a running store, so that what is on disk is seen.
public final class StoreInspection: Store {
    private let queue: DatabaseQueue
    private let path: String

    /// - Throws: `AuthorityError.storage` where there is no store, or none of this version.
    public init(path: String) throws {
        self.path = path
        guard !LeftLog.isMissing(besideDatabase: path) else { throw AuthorityError(.storage, LeftLog.missing) }
        var configuration = Configuration()
        configuration.readonly = true
        configuration.busyMode = .timeout(1)
        configuration.prepareDatabase { try $0.execute(sql: "PRAGMA trusted_schema = OFF") }
        do {
            let queue = try DatabaseQueue(path: path, configuration: configuration)
            let migrator = Schema.migrator
            let fault = try queue.read { database -> String? in
                if try migrator.hasBeenSuperseded(database) { return "it was written by a newer version of uPKI CA" }
                return try migrator.hasCompletedMigrations(database)
                    ? nil : "it is of an older version; the next start brings it up to date"
            }
            if let fault { throw AuthorityError(.storage, fault) }
            self.queue = queue
        } catch let error as DatabaseError {
            throw AuthorityError(.storage, Self.words(error), cause: String(describing: error))
        }
    }

    private static func words(_ error: DatabaseError) -> String {
        switch error.resultCode {
        case .SQLITE_CORRUPT, .SQLITE_NOTADB: "its file is damaged"
        case .SQLITE_CANTOPEN: "its file cannot be opened"
        case .SQLITE_BUSY, .SQLITE_LOCKED: "another process has locked it"
        case .SQLITE_IOERR: "the disk reports an error"
        default: "SQLite says: \(error.message ?? "error \(error.resultCode.rawValue)")"
        }
    }

    /// Runs `body` on one consistent snapshot.
    ///
    /// - Throws: what `body` throws, and `AuthorityError.storage` for what the store does.
    public func read<Result>(_ body: (any StoreReader) throws -> Result) throws -> Result {
        do { return try self.queue.read { try body(Rows(database: $0)) } } catch let error as DatabaseError {
            throw AuthorityError(.storage, Self.words(error), cause: String(describing: error))
        }
    }

    /// - Throws: `AuthorityError.storageUnavailable`, always.
    public func write<Result>(_ body: (any StoreWriter) throws -> Result) throws -> Result {
        throw AuthorityError(.storageUnavailable, "the store was opened for reading only")
    }

    /// What SQLite finds wrong with the file's pages, rows and indexes; nothing where all is well.
    ///
    /// Reads the whole file. While it runs the write-ahead log cannot start over.
    /// - Parameter isQuick: leaves out whether indexes and rows agree, which takes most of the time.
    public func faults(isQuick: Bool) throws -> [String] {
        do {
            let found = try self.queue.read {
                try String.fetchAll($0, sql: isQuick ? "PRAGMA quick_check(5)" : "PRAGMA integrity_check(5)")
            }
            return found.filter { $0 != "ok" }
        } catch let error as DatabaseError where [.SQLITE_CORRUPT, .SQLITE_NOTADB].contains(error.resultCode) {
            return [Self.words(error)]
        } catch let error as DatabaseError {
            throw AuthorityError(.storage, Self.words(error), cause: String(describing: error))
        }
    }

    /// The size of the store's file in bytes.
    public var size: Int64 {
        var status = stat()
        return stat(self.path, &status) == 0 ? Int64(status.st_size) : 0
    }
}
