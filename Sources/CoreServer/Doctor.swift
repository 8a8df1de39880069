// The doctor: looks at everything that can be wrong with a CA, one finding a check. It changes nothing.

import Authority
import DurableFiles
import Glibc
import PKI
import SQLiteStore
import Settings
import Synchronization
import UPKIProtocol
import X509

/// Examines the CA in a data directory, whether it runs or not.
///
/// It reads files and store by itself, as they are on disk, and asks a running CA only for what just the process knows.
public final class Doctor: Sendable {
    let directory: DataDirectory
    let runDirectory: String
    let clock: any Clock
    /// The CA of this process; nil where none runs.
    let running: OpenedAuthority?
    /// What the first look at the store came to: whoever reads a damaged one reads nonsense.
    private let opened = Mutex<Result<StoreInspection, StoreFault>?>(nil)

    /// Why the store cannot be read.
    struct StoreFault: Error { let text: String }

    /// - Parameter runDirectory: where the sockets are; one that is not there is no fault while no CA runs.
    public convenience init(_ directory: DataDirectory, runDirectory: String) {
        self.init(directory, runDirectory: runDirectory, running: nil, clock: SystemClock())
    }

    package init(_ directory: DataDirectory, runDirectory: String, running: OpenedAuthority?, clock: any Clock) {
        self.directory = directory
        self.runDirectory = runDirectory
        self.running = running
        self.clock = clock
    }

    /// The checks in their order: what others rest on comes first.
    public static let checks: [String] = Doctor.table.map(\.name)

    private static let table: [(name: String, run: @Sendable (Doctor) throws -> DoctorFinding)] = [
        ("clock", { try $0.clockCheck() }), ("permissions", { $0.permissionsCheck() }), ("disk", { $0.diskCheck() }),
        ("store", { $0.storeCheck() }), ("configuration", { $0.configurationCheck() }), ("keys", { try $0.keysCheck() }),
        ("crl", { try $0.listCheck() }), ("certificates", { try $0.certificatesCheck() }), ("audit", { try $0.auditCheck() }),
        ("registration", { try $0.registrationCheck() }), ("expiry", { try $0.expiryCheck() }), ("leftovers", { $0.leftoversCheck() }),
    ]

    /// Makes one check.
    ///
    /// - Returns: nil for a name that is none.
    public func finding(of check: String) -> DoctorFinding? {
        guard let entry = Self.table.first(where: { $0.name == check }) else { return nil }
        do { return try entry.run(self) } catch let fault as StoreFault {
            // It has a line of its own.
            return DoctorFinding(check, .warn, "not checked: \(fault.text)", do: "mend the store first")
        } catch {
            return DoctorFinding(check, .fail, "cannot be checked: \(Self.words(error))")
        }
    }

    static func words(_ error: any Error) -> String {
        switch error {
        case let error as AuthorityError: error.detail
        case let error as SettingsError: error.oneLine
        default: "\(error)"
        }
    }

    // MARK: The store

    /// The store, opened once; a check that needs it and cannot have it is not made.
    func store() throws -> StoreInspection {
        try self.opened.withLock { opened in
            if let opened { return try opened.get() }
            let result: Result<StoreInspection, StoreFault>
            do { result = .success(try StoreInspection(path: self.directory.database)) } catch {
                result = .failure(StoreFault(text: "the store cannot be read: \(Self.words(error))"))
            }
            opened = result
            return try result.get()
        }
    }

    /// Above this a running CA gets the quick check: the whole one would keep its write-ahead log from starting over for too long.
    private static let largestWholeCheck: Int64 = 1 << 30

    private func storeCheck() -> DoctorFinding {
        let restore = "stop the CA, keep the data directory for inspection, and restore a backup"
        do {
            let store = try self.store()
            let isQuick = self.running != nil && store.size > Self.largestWholeCheck
            let faults = try store.faults(isQuick: isQuick)
            guard let first = faults.first else {
                let count = try store.read { try $0.certificateCount() }
                return DoctorFinding(
                    "store", .ok,
                    "\(isQuick ? "the quick check" : "every page and index") is good: \(count) certificates, \(store.size >> 10) KB")
            }
            let more = faults.count > 1 ? ", and more" : ""
            self.opened.withLock { $0 = .failure(StoreFault(text: "the store is damaged")) }
            return DoctorFinding(
                "store", .fail, "the store is damaged: \(first.split(separator: "\n").joined(separator: " "))\(more)", do: restore)
        } catch {
            return DoctorFinding("store", .fail, (error as? StoreFault)?.text ?? Self.words(error), do: restore)
        }
    }

    /// What the CA keeps in memory, read anew.
    func state() throws -> AuthorityState { try self.store().read { try AuthorityState(loading: $0) } }

    /// The CA's certificate as its file has it.
    func certificate() throws -> Certificate { try Certificate(derEncoded: try OpenedAuthority.readCertificate(self.directory)) }

    /// What the published CRL says of itself; nil where there is none, or none that can be read.
    func publishedFacts() -> PublishedListFacts? {
        guard let der = try? PublishedFile.read(self.directory.publishedList) else { return nil }
        return try? PublishedListFacts(der: der)
    }

    // MARK: The clock

    /// Clocks of hosts that share nothing but a network agree to within this, in seconds.
    private static let tolerance: Int64 = 300
    /// A CA publishes a CRL every few days: files that old mean that the clock ran ahead, or that nothing ran.
    private static let longestSilence: Int64 = 60 * 86_400

    private func clockCheck() throws -> DoctorFinding {
        let now = self.clock.now
        let remedy = "set the clock (timedatectl set-ntp true), or, where it is right: ca-ctl clock accept"
        let list = self.publishedFacts()
        // Without a store the CRL and the files still tell.
        let last = (try? self.store().read { try $0.lastAuditRecord() }) ?? nil
        for (time, what) in [
            (last?.time, "the last audit record"), (list?.thisUpdate, "the published CRL"), (self.newestFile(), "the newest file"),
        ] {
            guard let time, time.seconds > now.seconds + Self.tolerance else { continue }
            return DoctorFinding("clock", .fail, "it is \(now.rfc3339), before \(what) of \(time.rfc3339)", do: remedy)
        }
        if let last, now.seconds - last.time.seconds > Self.longestSilence {
            return DoctorFinding(
                "clock", .warn, "it is \(now.rfc3339), long after the last audit record of \(last.time.rfc3339)",
                do: "check the clock, unless the CA was down since")
        }
        return DoctorFinding("clock", .ok, "\(now.rfc3339) is after every record, CRL and file; whether it is exact only NTP knows")
    }

    /// When a file of the CA was last written.
    private func newestFile() -> UnixTime? {
        let paths = [
            self.directory.configuration, self.directory.certificate, self.directory.database, self.directory.database + "-wal",
            self.directory.publishedList,
        ]
        return paths.compactMap { path in
            var status = stat()
            return stat(path, &status) == 0 ? UnixTime(Int64(status.st_mtim.tv_sec)) : nil
        }.max()
    }

    // MARK: The disk

    private func diskCheck() -> DoctorFinding {
        let disks = [self.directory.path, self.runDirectory].compactMap { DiskSpace($0) }
        guard let worst = disks.max(by: { Self.level($0.level) < Self.level($1.level) }) else {
            return DoctorFinding("disk", .fail, "\(self.directory.path) cannot be asked for its room", do: "look at the file system: df")
        }
        let text = "\(worst.freeBytes >> 20) MB and \(worst.freeInodes) inodes are free for \(worst.path)"
        guard worst.level != .enough else { return DoctorFinding("disk", .ok, text) }
        return DoctorFinding("disk", Self.level(worst.level), "only \(text)", do: "make room: df -h \(worst.path); df -i \(worst.path)")
    }

    static func level(_ level: DiskSpace.Level) -> DoctorFinding.Level {
        switch level {
        case .enough: .ok
        case .low: .warn
        case .critical: .fail
        }
    }

    // MARK: Registration and what ends

    private func registrationCheck() throws -> DoctorFinding {
        let state = try self.state()
        let now = self.clock.now
        if let time = state.seedExposedAt {
            return DoctorFinding(
                "registration", .fail, "SEED EXPOSED: it came in clear over a network at \(time.rfc3339)",
                do: "plan a new CA; give RAs tokens, never the seed")
        }
        guard state.window.isOpen(at: now), let end = state.window.openUntil else {
            return DoctorFinding("registration", .ok, "closed")
        }
        let who = state.window.commonName.map { ", only for \($0)" } ?? ""
        return DoctorFinding("registration", .warn, "open until \(end.rfc3339)\(who)", do: "ca-ctl registrar close")
    }

    private func expiryCheck() throws -> DoctorFinding {
        let authorityEnds = UnixTime(Int64(try self.certificate().notValidAfter.timeIntervalSince1970))
        let now = self.clock.now
        // The window has its own line, and is due for the opposite reason.
        let all = Expiry.all(try self.state(), authorityEnds: authorityEnds, list: self.publishedFacts(), now: now)
            .filter { $0.kind != .window }
        let due = all.filter(\.isDue)
        guard !due.isEmpty else {
            let next = all.first.map { "; next is \(Self.describe($0)) at \($0.at.rfc3339)" } ?? ""
            return DoctorFinding("expiry", .ok, "nothing ends soon\(next)")
        }
        var list = FaultList()
        for expiry in due { list.add("\(Self.describe(expiry)) \(expiry.at <= now ? "ended" : "ends") at \(expiry.at.rfc3339)") }
        let hasStopped = due.contains { $0.at <= now && ($0.kind == .authority || $0.kind == .list) }
        return DoctorFinding("expiry", hasStopped ? .fail : .warn, list.text, do: Self.remedy(due))
    }

    private static func describe(_ expiry: Expiry) -> String {
        switch expiry.kind {
        case .authority: "the CA certificate"
        case .list: "the CRL"
        case .node: "the node \(expiry.name)"
        case .token: "the one-time token \(expiry.name)"
        case .window: "the registration window"
        }
    }

    private static func remedy(_ due: [Expiry]) -> String {
        if due.contains(where: { $0.kind == .authority }) { return "make the next CA and move the nodes to it" }
        if due.contains(where: { $0.kind == .list }) { return "ca-ctl crl generate" }
        if let node = due.first(where: { $0.kind == .node }) { return "ca-ctl node renew '\(node.name)'" }
        return "ca-ctl registrar open"
    }
}

extension CoreOperations {
    var doctorChecks: [String] { Doctor.checks }

    func doctor(check: String) throws -> JSON {
        // The first check of a round looks at the store anew.
        let doctor = self.doctor.withLock { current in
            if let current, check != Doctor.checks.first { return current }
            let fresh = Doctor(
                self.opened.directory, runDirectory: self.runDirectory, running: self.opened, clock: self.opened.authority.clock)
            current = fresh
            return fresh
        }
        if check == Doctor.checks.last { self.doctor.withLock { $0 = nil } }
        guard let finding = doctor.finding(of: check) else {
            throw Refusal(.notFound, "Check not found: \(check.prefix(100)); there are: \(Doctor.checks.joined(separator: ", "))")
        }
        return finding.json
    }
}

extension Doctor {
    /// All checks on a CA that does not run, under its lock, so that it stays so.
    ///
    /// - Parameter progress: told the name of each check before it is made.
    /// - Throws: one line where another process works in the directory, or there is no CA.
    public static func examine(_ directory: DataDirectory, runDirectory: String, progress: (String) -> Void) throws -> JSON {
        guard DataDirectory.exists(directory.path) else {
            throw CoreError("There is no CA in \(directory.path); make one with: ca-ctl init --data-dir \(directory.path)")
        }
        let lock = try DurableFile.lock(directory: directory.path)
        defer { withExtendedLifetime(lock) {} }
        guard DataDirectory.exists(directory.certificate) || DataDirectory.exists(directory.database) else {
            throw CoreError("There is no CA in \(directory.path); make one with: ca-ctl init --data-dir \(directory.path)")
        }
        let doctor = Doctor(directory, runDirectory: runDirectory)
        return .array(
            Self.checks.compactMap { check in
                progress(check)
                return doctor.finding(of: check)?.json
            })
    }
}
