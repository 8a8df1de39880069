// Verifying the audit log of a CA that does not run: the directory's lock, the store opened for reading, audit.key's public half.

import Authority
import DurableFiles
import Glibc
public import Logging
import PKI
import SQLiteStore
import Tasks
internal import Threads
public import UPKIProtocol

public enum AuditOffline {
    /// How often the walk says how far it is, in milliseconds.
    private static let progress = 2_000

    /// Walks the whole log, and holds the checkpoints that stand in `files` against it.
    ///
    /// - Parameter files: texts of any kind, such as logs, with lines of checkpoints among others.
    /// - Returns: `walk` and `comparison`, as `verify_audit` and `compare_checkpoints` answer; `comparison` is null without files.
    public static func verify(_ directory: DataDirectory, files: [String], log: Logger) throws -> JSON {
        try PrivateDirectory.check(directory.path)
        guard directory.isInitialised else { throw CoreError("There is no CA in \(directory.path); give the right --data-dir") }
        let lock = try DurableFile.lock(directory: directory.path)
        defer { withExtendedLifetime(lock) {} }
        let fingerprint = Issuer.fingerprint(of: try OpenedAuthority.readCertificate(directory))
        let key = try self.key(directory)
        let checkpoints = try files.map { try self.checkpoints(in: $0) }
        let store = try self.store(directory)
        let (owner, records) = try store.read { (try $0.setting(.authorityFingerprint), try $0.lastAuditRecord()?.sequence ?? 0) }
        guard owner == fingerprint else {
            throw CoreError("the store belongs to another CA certificate than ca.crt; restore the one it was made with")
        }
        var last = MonotonicTime.now
        let verdict = try store.verifyAudit(key: key) { verified in
            guard last.milliseconds(until: .now) >= self.progress else { return }
            last = .now
            log.info("\(verified) of \(records) records verified")
        }
        let all = checkpoints.joined()
        let comparison = files.isEmpty ? nil : try store.read { try $0.compare(Array(all), key: key) }
        return .object([
            .init("walk", Describe.verdict(verdict, records: records)),
            .init("comparison", comparison.map { Describe.comparison($0, of: all.count) } ?? .null),
        ])
    }

    private static func store(_ directory: DataDirectory) throws -> StoreInspection {
        do { return try StoreInspection(path: directory.database) } catch let error as AuthorityError {
            throw CoreError("The store cannot be read: \(error.detail)")
        }
    }

    /// What the checkpoints of the CA in `directory` are checked with.
    static func key(_ directory: DataDirectory) throws -> AuditKey {
        try AuditKey(
            fingerprint: Issuer.fingerprint(of: try OpenedAuthority.readCertificate(directory)),
            publicKey: try AuditKeyFile(directory, log: nil).publicKey)
    }

    private static func checkpoints(in path: String) throws -> [AuditCheckpoint] {
        guard let file = fopen(path, "re") else { throw CoreError("\(path): \(String(cString: strerror(errno)))") }
        defer { fclose(file) }
        var checkpoints: [AuditCheckpoint] = []
        var line: UnsafeMutablePointer<CChar>?
        var capacity = 0
        defer { free(line) }
        while getline(&line, &capacity, file) > 0 {
            guard let line, strstr(line, AuditCheckpoint.mark) != nil else { continue }
            if let checkpoint = AuditCheckpoint(line: String(cString: line)) { checkpoints.append(checkpoint) }
        }
        guard !checkpoints.isEmpty else { throw CoreError("\(path) holds no checkpoint: no line with '\(AuditCheckpoint.mark)…'") }
        return checkpoints
    }
}
