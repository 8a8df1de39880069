// `pending/` in the data directory: changes of files that wait for their commit, one file each, named after their audit record.

import Authority
import DurableFiles
import Glibc
import PKI
import Settings
import Synchronization
import UPKIProtocol

/// The journal of file changes.
///
/// An entry is durable before its commit and goes after its change was made. A folder's fsync makes all earlier changes of its names
/// durable too, so that no entry can come back behind a later one; entries are made in the order of their records.
package final class PendingFiles: FileJournal {
    private let directory: DataDirectory
    /// Told in one line what could not be done.
    private let report: @Sendable (String) -> Void
    /// Committed and not yet made, oldest first.
    private let waiting = Mutex<[(name: String, entry: FileEntry)]>([])

    package init(_ directory: DataDirectory, report: @escaping @Sendable (String) -> Void) {
        self.directory = directory
        self.report = report
    }

    package func stage(_ change: FileChange, record sequence: Int64, request: String, part: Int) throws -> StagedFileChange {
        let name = "\(sequence).\(part)"
        try PrivateFile.write(FileEntry(change, request: request).encoded, to: self.path(name))
        return StagedFileChange(name: name, change: change)
    }

    package func carryOut(_ staged: StagedFileChange) {
        self.waiting.withLock { $0.append((staged.name, FileEntry(staged.change, request: ""))) }
        self.goOn()
    }

    /// Makes what waits, in order, as far as it can be made.
    private func goOn() {
        self.waiting.withLock { waiting in
            while let (name, entry) = waiting.first {
                do { try entry.apply(in: self.directory) } catch {
                    self.report(
                        "a change of files is committed and cannot be made yet: \(error); it is tried again with the next one and at the next start"
                    )
                    return
                }
                unlink(self.path(name))
                waiting.removeFirst()
            }
        }
    }

    private func path(_ name: String) -> String { self.directory.pending + "/" + name }

    // MARK: After a crash

    /// Makes the changes whose audit record was committed and forgets the others; to be called before anybody reads the files.
    ///
    /// - Parameter isCommitted: whether the audit record with this number is of this request and says `done`.
    /// - Throws: `DurableFileError` where the folder cannot be read or made, and what `isCommitted` throws.
    func settle(_ isCommitted: (_ sequence: Int64, _ request: String) throws -> Bool) throws {
        try PrivateDirectory.create(self.directory.pending)
        try DurableFile.removeLeftovers(in: self.directory.pending)
        for (name, sequence) in try self.entries() {
            // An entry is whole before its commit begins: what cannot be read was never committed.
            if let bytes = try? PrivateFile.read(self.path(name)), let entry = FileEntry(decoding: bytes),
                try isCommitted(sequence, entry.request)
            {
                self.waiting.withLock { $0.append((name, entry)) }
            } else {
                unlink(self.path(name))
            }
        }
        self.goOn()
    }

    /// The names in the folder, in the order of their records.
    private func entries() throws -> [(name: String, sequence: Int64)] {
        var found: [(name: String, sequence: Int64, part: Int)] = []
        for name in try FolderListing.names(self.directory.pending) {
            let parts = name.split(separator: ".")
            guard parts.count == 2, let sequence = Int64(parts[0]), let part = Int(parts[1]) else { continue }
            found.append((name, sequence, part))
        }
        return found.sorted { ($0.sequence, $0.part) < ($1.sequence, $1.part) }.map { ($0.name, $0.sequence) }
    }
}

/// A change of files as it stands in its entry.
private struct FileEntry: Sendable {
    enum Kind: String, Sendable {
        case storeKey = "store_key"
        case storeCertificate = "store_certificate"
        case removeKey = "remove_key"
        case storeProfile = "store_profile"
        case removeProfile = "remove_profile"
    }

    let kind: Kind
    let request: String
    /// A common name, or a profile's.
    let name: String
    var key = ""
    var certificate = ""
    var profile = ""

    init(_ change: FileChange, request: String) {
        self.request = request
        switch change {
        case .storeKey(let commonName, let keyPEM, let certificatePEM):
            (self.kind, self.name, self.certificate) = (.storeKey, commonName, certificatePEM)
            self.key = String(decoding: keyPEM, as: UTF8.self)
        case .storeCertificate(let commonName, let certificatePEM):
            (self.kind, self.name, self.certificate) = (.storeCertificate, commonName, certificatePEM)
        case .removeKey(let commonName): (self.kind, self.name) = (.removeKey, commonName)
        case .storeProfile(let profile):
            (self.kind, self.name, self.profile) = (.storeProfile, profile.name, ProfileFile.render(profile))
        case .removeProfile(let name): (self.kind, self.name) = (.removeProfile, name)
        }
    }

    init?(decoding bytes: [UInt8]) {
        guard let json = try? JSON(parsing: bytes), let kind = json["change"]?.stringValue.flatMap({ Kind(rawValue: $0) }),
            let request = json["request"]?.stringValue, let name = json["name"]?.stringValue
        else { return nil }
        self.kind = kind
        self.request = request
        self.name = name
        self.key = json["key"]?.stringValue ?? ""
        self.certificate = json["certificate"]?.stringValue ?? ""
        self.profile = json["profile"]?.stringValue ?? ""
    }

    var encoded: [UInt8] {
        let members = [
            ("change", self.kind.rawValue), ("request", self.request), ("name", self.name), ("key", self.key),
            ("certificate", self.certificate), ("profile", self.profile),
        ]
        return JSON.object(members.map { .init($0.0, .string($0.1)) }).encoded
    }

    /// Done twice it changes nothing.
    func apply(in directory: DataDirectory) throws {
        let nodes = NodeDirectories(root: directory.nodes)
        let profiles = ProfileDirectory(root: directory.profiles)
        switch self.kind {
        case .storeKey: try nodes.store(commonName: self.name, keyPEM: Array(self.key.utf8), certificatePEM: self.certificate)
        case .storeCertificate: try nodes.store(commonName: self.name, certificatePEM: self.certificate)
        case .removeKey: try nodes.remove(commonName: self.name)
        case .storeProfile: try profiles.store(name: self.name, text: Array(self.profile.utf8))
        case .removeProfile: try profiles.remove(name: self.name)
        }
    }
}
