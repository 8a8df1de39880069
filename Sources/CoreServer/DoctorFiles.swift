// The doctor's look at files: who may read them, whether they fit each other and the store, and what was left behind.

import Authority
import CAKeys
import DurableFiles
import Glibc
import PKI
import SQLiteStore
import Settings
import X509

/// One entry of a folder, as it is and not as a link says.
private struct Entry {
    let path: String
    let name: String
    let status: stat

    var kind: mode_t { self.status.st_mode & S_IFMT }
    var mode: mode_t { self.status.st_mode & 0o7777 }
    var isDirectory: Bool { self.kind == S_IFDIR }

    init?(_ path: String) {
        var status = stat()
        guard lstat(path, &status) == 0 else { return nil }
        self.path = path
        self.name = path.split(separator: "/").last.map(String.init) ?? path
        self.status = status
    }

    /// What is in a folder, by name; nil where it cannot be read.
    static func list(_ folder: String) -> [Entry]? {
        guard let stream = opendir(folder) else { return nil }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: MemoryLayout.size(ofValue: $0.pointee)) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted().compactMap { Entry("\(folder)/\($0)") }
    }
}

// MARK: Permissions

extension Doctor {
    func permissionsCheck() -> DoctorFinding {
        // The data directory itself may be reached through a link; nothing in it may be one.
        var status = stat()
        guard stat(self.directory.path, &status) == 0 else {
            return DoctorFinding("permissions", .fail, "\(self.directory.path) cannot be examined: \(String(cString: strerror(errno)))")
        }
        var audit = PermissionAudit(owner: status.st_uid, skips: self.runDirectory)
        if status.st_mode & 0o077 != 0 { audit.isOpen(self.directory.path, status.st_mode & 0o7777, "700") }
        audit.walk(self.directory.path, isPublished: false, published: [self.directory.published, self.directory.certificate])
        audit.sockets(in: self.runDirectory)
        guard let first = audit.remedies.first else {
            return DoctorFinding("permissions", .ok, "\(audit.count) files and folders are for their owner alone, but what is published")
        }
        let more = audit.remedies.count > 1 ? ", and so on" : ""
        return DoctorFinding("permissions", .fail, audit.faults.text, do: first + more)
    }
}

/// Collects what others may do that they should not.
private struct PermissionAudit {
    let owner: uid_t
    /// The run directory, which may lie within the data directory, deeper or not, and has rules of its own.
    let skips: String
    private(set) var faults = FaultList()
    private(set) var remedies: [String] = []
    private(set) var count = 0

    init(owner: uid_t, skips: String) {
        self.owner = owner
        self.skips = skips
    }

    mutating func isOpen(_ path: String, _ mode: mode_t, _ right: String) {
        self.faults.add("\(path) has the mode \(String(mode, radix: 8))")
        self.remedies.append("chmod \(right) \(path)")
    }

    mutating func walk(_ folder: String, isPublished: Bool, published: [String]) {
        guard let entries = Entry.list(folder) else {
            self.faults.add("\(folder) cannot be read: \(String(cString: strerror(errno)))")
            self.remedies.append("run this as root or as the CA's user")
            return
        }
        for entry in entries where entry.path != self.skips && !self.skips.hasPrefix(entry.path + "/") {
            self.count += 1
            let isPublic = isPublished || published.contains(entry.path)
            self.examine(entry, isPublic: isPublic)
            if entry.isDirectory { self.walk(entry.path, isPublished: isPublic, published: published) }
        }
    }

    private mutating func examine(_ entry: Entry, isPublic: Bool) {
        guard entry.kind == S_IFREG || entry.isDirectory else {
            self.faults.add("\(entry.path) is no regular file")
            self.remedies.append("remove it: \(entry.path)")
            return
        }
        if entry.status.st_uid != self.owner {
            self.faults.add("\(entry.path) belongs to the user \(entry.status.st_uid), not \(self.owner)")
            self.remedies.append("chown \(self.owner) \(entry.path)")
        }
        // What is published may be read by everyone and written by the CA alone.
        guard entry.mode & (isPublic ? 0o022 : 0o077) != 0 else { return }
        let right = isPublic ? (entry.isDirectory ? "755" : "644") : (entry.isDirectory ? "700" : "600")
        self.isOpen(entry.path, entry.mode, right)
    }

    /// The folder of the sockets lets nobody else make files in it; those of the operator are for the CA's user and root alone, the
    /// relays' for a group at most.
    mutating func sockets(in folder: String) {
        guard let itself = Entry(folder) else { return }
        if itself.mode & 0o022 != 0 { self.isOpen(folder, itself.mode, "go-w") }
        for entry in Entry.list(folder) ?? [] where entry.kind == S_IFSOCK {
            self.count += 1
            let isOperators = entry.name == "admin.sock" || entry.name == "supervisor.sock"
            if entry.mode & (isOperators ? 0o077 : 0o007) != 0 { self.isOpen(entry.path, entry.mode, isOperators ? "600" : "o-rwx") }
        }
    }
}

// MARK: Keys and certificates

extension Doctor {
    /// ca.key, ca.crt, published/ca.crt and the store are of one CA.
    func keysCheck() throws -> DoctorFinding {
        let restore = "restore ca.crt, ca.key and db from one backup"
        let der = try OpenedAuthority.readCertificate(self.directory)
        let configuration = try? OpenedAuthority.readConfiguration(self.directory)
        var parts: [String] = []
        switch configuration?.keyStorage {
        case .file?, nil:
            // Whoever else may read it is told by the permissions' line.
            var pem = try PublishedFile.read(self.directory.key)
            defer { wipe(&pem) }
            guard try CAKey(pem: pem).matches(certificateDER: der) else {
                return DoctorFinding("keys", .fail, "ca.key is not the key of ca.crt", do: restore)
            }
            parts.append("ca.key fits ca.crt")
        case .encrypted?: parts.append("ca.key is encrypted: each start checks it")
        case .seed?: parts.append("the key comes from the seed: each start checks it")
        }
        let published = try? SettingsFile.read(self.directory.publishedCertificate)
        let publishedDER = published.flatMap { PEM.decodeFirst(String(decoding: $0, as: UTF8.self), labels: ["CERTIFICATE"]) }
        guard publishedDER == der else {
            return DoctorFinding(
                "keys", .fail, "published/ca.crt is not ca.crt",
                do: "install -m 644 \(self.directory.certificate) \(self.directory.publishedCertificate)")
        }
        parts.append("published/ca.crt is ca.crt")
        guard try self.store().read({ try $0.setting(.authorityFingerprint) }) == Issuer.fingerprint(of: der) else {
            return DoctorFinding("keys", .fail, "the store belongs to another CA certificate than ca.crt", do: restore)
        }
        parts.append("the store is this CA's")
        return DoctorFinding("keys", .ok, parts.joined(separator: ", "))
    }

    /// `nodes/<cn>/`: each certificate was issued by this CA and has its key beside it.
    func certificatesCheck() throws -> DoctorFinding {
        let store = try self.store()
        guard let folders = Entry.list(self.directory.nodes) else {
            return DoctorFinding(
                "certificates", .fail, "\(self.directory.nodes) cannot be read", do: "mkdir -m 700 \(self.directory.nodes)")
        }
        var faults = FaultList()
        var firstBad: String?
        var count = 0
        for folder in folders where folder.isDirectory {
            let entries = Set((Entry.list(folder.path) ?? []).map(\.name))
            // An empty folder is a leftover.
            guard !entries.isEmpty else { continue }
            count += 1
            guard let fault = try self.fault(of: folder, entries, store) else { continue }
            faults.add("nodes/\(folder.name): \(fault)")
            if firstBad == nil { firstBad = folder.path }
        }
        guard let firstBad else {
            return DoctorFinding(
                "certificates", .ok,
                "\(count) kept \(count == 1 ? "key fits its certificate" : "keys fit their certificates"), issued by this CA")
        }
        return DoctorFinding(
            "certificates", .fail, faults.text, do: "restore \(firstBad) from a backup, or move it away and issue a new certificate")
    }

    private func fault(of folder: Entry, _ entries: Set<String>, _ store: StoreInspection) throws -> String? {
        guard entries.contains("cert.pem") else { return "a key without a certificate" }
        guard entries.contains("key.pem") else { return "a certificate without its key" }
        guard let bytes = try? PublishedFile.read(folder.path + "/cert.pem"),
            let der = PEM.decodeFirst(String(decoding: bytes, as: UTF8.self), labels: ["CERTIFICATE"]),
            let certificate = try? Certificate(derEncoded: der), let serial = SerialNumber(bytes: certificate.serialNumber.bytes)
        else { return "cert.pem is no certificate" }
        guard let record = try store.read({ try $0.certificate(serial) }), record.der == der else {
            return "cert.pem was not issued by this CA"
        }
        guard NodeDirectories.folderName(record.commonName) == folder.name else { return "cert.pem is of \(record.commonName)" }
        guard var pem = try? PublishedFile.read(folder.path + "/key.pem") else { return "key.pem cannot be read" }
        defer { wipe(&pem) }
        guard let key = try? CAKey(pem: pem), try key.matches(certificateDER: der) else { return "key.pem is not the certificate's key" }
        return nil
    }
}

// MARK: Leftovers

extension Doctor {
    /// A file under construction is no leftover while its writer may be at work, in seconds.
    private static let writing: Int64 = 60

    func leftoversCheck() -> DoctorFinding {
        if DataDirectory.exists(self.directory.unfinished) {
            return DoctorFinding(
                "leftovers", .fail, "an init did not end: \(self.directory.unfinished)", do: "ca-ctl init, which begins again")
        }
        var found = FaultList()
        var paths: [String] = []
        let folders = [
            self.directory.path, self.directory.profiles, self.directory.nodes, self.directory.published, self.directory.path + "/db",
            self.directory.pending,
        ]
        for folder in folders {
            for entry in Entry.list(folder) ?? [] {
                let isTemporary = entry.name.hasPrefix(".upki-tmp-") || entry.name.hasPrefix(".crl-")
                let isOrphan = folder == self.directory.nodes && entry.isDirectory && Entry.list(entry.path)?.isEmpty == true
                guard isTemporary || isOrphan else { continue }
                guard self.running == nil || self.clock.now.seconds - Int64(entry.status.st_mtim.tv_sec) > Self.writing else { continue }
                found.add(entry.path)
                paths.append(entry.path)
            }
        }
        guard let first = paths.first else { return DoctorFinding("leftovers", .ok, "none") }
        return DoctorFinding(
            "leftovers", .warn, "left behind by a process that was killed: \(found.text)",
            do: "rm -r '\(first)'\(paths.count > 1 ? ", and so on" : ""); the next start does it for files")
    }
}

// MARK: Configuration

extension Doctor {
    func configurationCheck() -> DoctorFinding {
        let edit = "edit \(self.directory.configuration), then: ca-ctl reload"
        do {
            let configuration = try OpenedAuthority.readConfiguration(self.directory)
            let profiles = try ProfileDirectory(root: self.directory.profiles).load(baseSubject: [])
            if configuration.keyStorage == .encrypted {
                guard let file = configuration.passwordFile else {
                    return DoctorFinding("configuration", .fail, "key_storage: encrypted without password_file", do: edit)
                }
                _ = try PublishedFile.read(file)
            }
            var warnings = configuration.warnings
            if configuration.seedInFile != nil { warnings.append("the seed stands in ca.config.yml: the next start takes it out") }
            if configuration.publicationBaseURL == nil {
                warnings.append("publication.base_url is not set: certificates carry no address of CRL and OCSP")
            }
            guard warnings.isEmpty else {
                return DoctorFinding("configuration", .warn, warnings.joined(separator: "; "), do: edit)
            }
            return DoctorFinding("configuration", .ok, "ca.config.yml and \(profiles.count) profiles are good")
        } catch {
            return DoctorFinding("configuration", .fail, Self.words(error), do: edit)
        }
    }
}
