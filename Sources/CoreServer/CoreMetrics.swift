// The answer of the task metrics: what was counted, what waits, what is kept, what ends next, and what the process uses.

import Authority
import Glibc
import Metrics
import PKI
import SQLiteStore
internal import Threads
import UPKIProtocol

extension CoreOperations {
    func metrics() throws -> String {
        guard let processing = self.processing.withLock({ $0 }) else { throw CoreError("the core is not running") }
        var text = Exposition()
        text.gauge("upki_ca_build_info", "Always 1; the label names the version.", [([("version", CoreVersion.text)], 1)])
        processing.measurements.write(to: &text)
        self.writeQueues(processing, to: &text)
        try self.writeInventory(to: &text)
        self.writeRelays(to: &text)
        self.writeExpiries(to: &text)
        self.writeStore(to: &text)
        ProcessMetrics.write(startedAt: self.startedAt, to: &text)
        return text.text
    }

    private func writeQueues(_ processing: Processing, to text: inout Exposition) {
        let depths: [(String, Int)] = [
            ("work", processing.work.count), ("changes", processing.changes.count),
            ("key_jobs", processing.jobs[.keyMaker]?.count ?? 0), ("seed_jobs", processing.jobs[.seedChecker]?.count ?? 0),
            ("publisher_jobs", processing.jobs[.publisher]?.count ?? 0),
            ("list_jobs", processing.jobs[.lister]?.count ?? 0),
            ("outbox", processing.outbox.count),
        ]
        text.gauge(
            "upki_ca_queue_depth", "What waits for a thread: requests, changes, jobs, answers.",
            depths.map { ([("queue", $0.0)], Double($0.1)) })
    }

    /// As the relays said last; one that is not there says nothing new.
    private func writeRelays(to text: inout Exposition) {
        text.counter(
            "upki_ca_relay_events_total", "What the front and the registrar have counted since their start; docs/OPERATIONS.md names them.",
            self.relays.counters.map { ([("relay", $0.relay), ("event", $0.name)], UInt64($0.value)) })
    }

    private func writeInventory(to text: inout Exposition) throws {
        let authority = self.opened.authority
        let state = authority.state
        let now = authority.clock.now
        let (issued, revoked) = try authority.store.read { (try $0.certificateCount(), try $0.revocationCount()) }
        text.counter("upki_ca_certificates_total", "Certificates that were ever issued.", UInt64(issued))
        text.gauge("upki_ca_revocations", "Revocations that are kept, expired certificates included.", Optional(revoked))
        text.counter("upki_ca_audit_records_total", "Records of the audit log.", UInt64(clamping: state.auditSequence))
        text.gauge(
            "upki_ca_nodes", "Nodes: live ones have their rights, expired ones lost them with their certificate.",
            [
                ([("state", "live")], Double(state.nodes.values.count { $0.isLive(at: now) })),
                ([("state", "expired")], Double(state.nodes.values.count { $0.state == .live && !$0.isLive(at: now) })),
            ])
        text.gauge("upki_ca_admins", "Entries of the admin list.", Optional(state.admins.count))
        text.gauge("upki_ca_registration_open", "1 while the registration window is open.", Optional(state.window.isOpen(at: now) ? 1 : 0))
        text.gauge(
            "upki_ca_seed_exposed", "1 after the correct seed came in clear over a network.", Optional(state.seedExposedAt == nil ? 0 : 1))
        if let list = (try? self.publisher.publishedFacts()) ?? nil {
            text.gauge("upki_ca_crl_number", "The number of the published CRL, where it has 64 bits.", list.number?.value)
            text.gauge("upki_ca_crl_entries", "Entries of the published CRL.", Optional(list.entries))
            text.gauge("upki_ca_crl_bytes", "Length of the published CRL.", Optional(list.bytes))
            text.gauge("upki_ca_crl_this_update_seconds", "thisUpdate of the published CRL, since 1970.", Optional(list.thisUpdate.seconds))
        }
    }

    /// The next of each kind; nothing of a kind of which nothing ends.
    private func writeExpiries(to text: inout Exposition) {
        let authority = self.opened.authority
        let now = authority.clock.now
        let list = (try? self.publisher.publishedFacts()) ?? nil
        let all = Expiry.all(authority.state, authorityEnds: authority.issuer.notAfter, list: list, now: now)
        var next: [(Exposition.Labels, Double)] = []
        var due: [(Exposition.Labels, Double)] = []
        for kind in Expiry.Kind.allCases {
            let ofKind = all.filter { $0.kind == kind }
            // What has ended does not end next; the count beside it tells of it.
            if let first = ofKind.first(where: { $0.at > now }) ?? ofKind.last {
                next.append(([("kind", kind.rawValue)], Double(first.at.seconds - now.seconds)))
            }
            due.append(([("kind", kind.rawValue)], Double(ofKind.count { $0.isDue })))
        }
        text.gauge(
            "upki_ca_expiry_seconds",
            "Seconds until the next of its kind ends: the CA certificate, nextUpdate of the CRL, a node's certificate, a one-time token, the registration window.",
            next)
        text.gauge("upki_ca_expiries_due", "How many of a kind the status warns of.", due)
    }

    private func writeStore(to text: inout Exposition) {
        text.gauge("upki_ca_wal_bytes", "Size of the store's write-ahead log.", Optional(self.opened.store.walSize))
        var status = stat()
        if stat(self.opened.directory.database, &status) == 0 {
            text.gauge("upki_ca_store_bytes", "Size of the store's file.", Optional(Int64(status.st_size)))
        }
        text.gauge(
            "upki_ca_reserve_in_use", "1 while the disk is full and only revocations are taken.",
            Optional(self.opened.store.isShortOfSpace ? 1 : 0))
        text.gauge("upki_ca_store_damaged", "1 after a damaged page was met.", Optional(self.opened.store.isDamaged ? 1 : 0))
        text.gauge(
            "upki_ca_clock_behind_seconds", "Seconds that the clock stands before the last audit record.",
            Optional(self.opened.authority.secondsBehind))
        let disks = [("data", DiskSpace(self.opened.directory.path)), ("run", DiskSpace(self.runDirectory))]
        let known = disks.compactMap { name, disk in disk.map { (name, $0) } }
        text.gauge(
            "upki_ca_disk_free_bytes", "Room left for the CA's user in the file system of a directory.",
            known.map { ([("directory", $0.0)], Double($0.1.freeBytes)) })
        text.gauge(
            "upki_ca_disk_free_inodes", "Inodes left in the file system of a directory.",
            known.filter { $0.1.totalInodes > 0 }.map { ([("directory", $0.0)], Double($0.1.freeInodes)) })
    }
}

/// What every Prometheus client library tells of its process, under the same names. What the kernel does not tell is left out.
enum ProcessMetrics {
    static func write(startedAt: UnixTime, to text: inout Exposition) {
        var usage = rusage()
        if getrusage(RUSAGE_SELF.rawValue, &usage) == 0 {
            func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) / 1e6 }
            text.counter(
                "process_cpu_seconds_total", "Total user and system CPU time spent in seconds.",
                seconds(usage.ru_utime) + seconds(usage.ru_stime))
        }
        let pages = self.text(of: "/proc/self/statm").split(separator: " ").compactMap { UInt64($0) }
        let pageSize = UInt64(sysconf(Int32(_SC_PAGESIZE)))
        if pages.count >= 2 {
            text.gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.", Optional(pages[0] &* pageSize))
            text.gauge("process_resident_memory_bytes", "Resident memory size in bytes.", Optional(pages[1] &* pageSize))
        }
        text.gauge("process_open_fds", "Number of open file descriptors.", self.descriptors())
        var limit = rlimit()
        if getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 {
            text.gauge("process_max_fds", "Maximum number of open file descriptors.", Optional(limit.rlim_cur))
        }
        text.gauge("process_start_time_seconds", "Start time of the process since unix epoch in seconds.", Optional(startedAt.seconds))
    }

    private static func text(of path: String) -> String {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return "" }
        defer { close(descriptor) }
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = read(descriptor, &buffer, buffer.count)
        return String(decoding: buffer.prefix(max(0, count)), as: UTF8.self)
    }

    private static func descriptors() -> Int? {
        guard let folder = opendir("/proc/self/fd") else { return nil }
        defer { closedir(folder) }
        var count = 0
        while readdir(folder) != nil { count += 1 }
        // `.`, `..`, and the folder that is being read.
        return max(0, count - 3)
    }
}
