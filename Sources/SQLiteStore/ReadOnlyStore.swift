// The store of a CA that does not run, for whoever only looks: nothing is migrated, nothing is written.

public import Authority
import GRDB

/// A `Store` that takes no change.
public final class ReadOnlyStore: Store {
    private let queue: DatabaseQueue
    private let path: String

    /// - Throws: `AuthorityError.storage` where the file is no store of this version.
    public init(path: String) throws {
        self.path = path
        var configuration = Configuration()
        configuration.readonly = true
        configuration.busyMode = .timeout(1)
        do {
            self.queue = try DatabaseQueue(path: path, configuration: configuration)
            let migrator = Schema.migrator
            let (isNewer, isCurrent) = try self.queue.read { (try migrator.hasBeenSuperseded($0), try migrator.hasCompletedMigrations($0)) }
            guard !isNewer else { throw AuthorityError(.storage, "The store was written by a newer version of uPKI CA; use that version") }
            guard isCurrent else {
                throw AuthorityError(.storage, "The store was written by an earlier version of uPKI CA; start this version on it once")
            }
        } catch let error as AuthorityError {
            throw error
        } catch {
            throw SQLiteStore.failure(error, path)
        }
    }

    public func read<Result>(_ body: (any StoreReader) throws -> Result) throws -> Result {
        do { return try self.queue.read { try body(Rows(database: $0)) } } catch let error as DatabaseError {
            throw SQLiteStore.failure(error, self.path)
        }
    }

    public func write<Result>(_ body: (any StoreWriter) throws -> Result) throws -> Result {
        throw AuthorityError(.storageUnavailable, "the store was opened for reading only")
    }
}
