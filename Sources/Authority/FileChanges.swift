// Files that go with commits: keys that the CA made for others, and profiles. A commit cannot take files with it, so each change of
// them is staged before the commit that audits it and carried out after; what a crash left in between is settled at the next start.

public import PKI

/// A change of files that belongs to one audit record.
public enum FileChange: Sendable {
    /// `nodes/<cn>/`: a key that the CA made, in PEM, with its certificate in PEM.
    case storeKey(commonName: String, keyPEM: [UInt8], certificatePEM: String)
    /// A renewed certificate beside the key that is there.
    case storeCertificate(commonName: String, certificatePEM: String)
    /// Key and certificate of a name that no certificate needs any more.
    case removeKey(commonName: String)
    /// `profiles/<name>.yml`.
    case storeProfile(CertificateProfile)
    case removeProfile(name: String)
}

/// A change that is ready to be carried out.
public struct StagedFileChange: Sendable {
    /// What the journal knows it by; empty for a change that could not be staged and is made as well as can be.
    public let name: String
    public let change: FileChange

    public init(name: String, change: FileChange) {
        self.name = name
        self.change = change
    }
}

/// Keeps changes of files until their commit has been, so that files and audit log say the same whatever ends the process.
public protocol FileJournal: Sendable {
    /// Makes a change ready, durable when this returns; no file that anybody reads is touched.
    ///
    /// Whoever opens the store after a crash carries it out exactly if audit record `sequence` is there, is of `request` and says `done`.
    /// - Parameter part: tells the changes of one record apart.
    /// - Throws: whatever keeps it from being written, a full disk for example.
    func stage(_ change: FileChange, record sequence: Int64, request: String, part: Int) throws -> StagedFileChange

    /// Makes the change; to be called after the commit, in the order of the commits. What cannot be done now is tried again with the next.
    func carryOut(_ staged: StagedFileChange)
}

extension Commit {
    /// Stages a change of files with the audit record that was just written; it is made when the commit has been.
    mutating func stage(_ change: FileChange, in authority: Authority) throws {
        var staged = StagedFileChange(name: "", change: change)
        do {
            staged = try authority.files.stage(
                change, record: self.state.auditSequence, request: self.context.id, part: self.followUps.count)
        } catch {
            // A full disk keeps nobody from revoking and deleting; the key of a deleted certificate opens nothing that is valid.
            if case .removeKey = change {
            } else {
                throw AuthorityError(.storage, change.failure, cause: String(describing: error))
            }
        }
        self.followUps.append { [staged] in authority.files.carryOut(staged) }
    }
}

extension FileChange {
    /// What a client is told where it cannot be staged.
    fileprivate var failure: String {
        switch self {
        case .storeKey, .storeCertificate: "the key file could not be written"
        case .removeKey: "the key file could not be removed"
        case .storeProfile: "the profile's file could not be written"
        case .removeProfile: "the profile's file could not be removed"
        }
    }
}
