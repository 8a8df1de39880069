// `status`: what it says when all is well and when a part is away; its JSON is for programs and stays as it is.
import Console
import PKI
import Supervision
import Testing
import UPKIProtocol
import ca_ctl

@Suite("The status report")
struct StatusReportTests {
    private static let now = UnixTime(1_795_448_825)

    private static func service(_ name: String, _ state: ServiceState, why: String = "") -> ServiceStatus {
        ServiceStatus(
            name: name, state: state, pid: state == .running ? 42 : nil, since: now.seconds - 60, restarts: 1, isReloading: false,
            statusText: state == .running ? "serving" : "", why: why, ignoredNotifications: 0)
    }

    private static func report(_ services: [ServiceStatus], state: SupervisorStatus.State = .ready) -> StatusReport {
        var report = StatusReport()
        report.supervisor = SupervisorStatus(pid: 7, state: state, since: now.seconds - 3_600, orphansReaped: 0, services: services)
        report.core =
            [
                ("ca", [("subject", "/O=Example/CN=Root"), ("fingerprint", "AA:BB"), ("not_after", "2036-11-20T15:47:05Z")].object),
                ("registration", [("open", false), ("until", .null), ("reason", "closed by the operator")].object),
                ("counts", [("certificates", .integer(3)), ("revoked", .integer(1))].object), ("publication", "http://pki.example.com"),
                ("expiries", []),
            ].object
        report.list =
            [
                ("number", .integer(9)), ("this_update", "2026-11-23T14:47:05Z"), ("next_update", "2026-11-30T14:47:05Z"),
                ("entries", .integer(1)),
            ].object
        report.sockets = [("/run/upki-ca/admin.sock", 0o600)]
        return report
    }

    @Test("warnings of faults: a full disk, one that fills, a damaged store, a clock behind the last record; none where all is well")
    func faults() {
        func warnings(_ reserve: String, free: Int64, damaged: Bool = false, behind: Int64 = 0) -> [String] {
            let store: JSON =
                [
                    ("reserve", .string(reserve)), ("reserve_bytes", .integer(32 << 20)), ("free_bytes", .integer(free)),
                    ("damaged", .bool(damaged)),
                ].object
            let core: JSON = [("clock_behind_seconds", .integer(behind)), ("store", store)].object
            return StatusReport.faultWarnings(core) { "ca-ctl \($0) --data-dir /d" }
        }
        #expect(warnings("whole", free: 64 << 20) == [])
        #expect(
            warnings("whole", free: (64 << 20) - 1)
                == ["63 MiB are free on the file system of the data directory; when it is full only revocations are taken"])
        #expect(
            warnings("in use", free: 0)
                == ["the disk is full, and only revocations are taken: make room on the file system of the data directory"])
        #expect(
            warnings("whole", free: 1 << 40, damaged: true, behind: 301)
                == [
                    "the clock stands 301 s before the last audit record, and only revocations are taken: set it, or, where it is right: ca-ctl clock accept --data-dir /d",
                    "the store's file is damaged: stop the CA and restore it from a backup",
                ])
        // A core of an older version says nothing of these.
        #expect(StatusReport.faultWarnings([:]) { $0 } == [])
    }

    @Test("JSON is stable")
    func json() {
        let report = Self.report([Self.service("core", .running)])
        #expect(
            report.json(now: Self.now, command: { "ca-ctl \($0)" }).text
                == #"{"ready":true,"supervisor":{"kind":"ca-ctl","pid":7,"state":"ready","since":"2026-11-23T14:47:05Z","orphans_reaped":0},"#
                + #""services":[{"name":"core","state":"running","pid":42,"since":"2026-11-23T15:46:05Z","restarts":1,"reloading":false,"#
                + #""status":"serving","why":"","ignored_notifications":0}],"#
                + #""core":{"ca":{"subject":"/O=Example/CN=Root","fingerprint":"AA:BB","not_after":"2036-11-20T15:47:05Z"},"#
                + #""registration":{"open":false,"until":null,"reason":"closed by the operator"},"counts":{"certificates":3,"revoked":1},"#
                + #""publication":"http://pki.example.com","expiries":[]},"#
                + #""crl":{"number":9,"this_update":"2026-11-23T14:47:05Z","next_update":"2026-11-30T14:47:05Z","entries":1},"#
                + #""listeners":null,"sockets":[{"path":"/run/upki-ca/admin.sock","mode":"0600"}],"warnings":[]}"#)
    }

    @Test("the text names services, CA, registration, CRL, counts and sockets")
    func text() {
        let report = Self.report([
            Self.service("core", .running), Self.service("registrar", .stopped, why: "stopped; ended with exit code 0"),
        ])
        #expect(
            report.text(width: 80, now: Self.now, command: { $0 }) == """
                SERVICE     STATE    PID  SINCE      RESTARTS  LAST WORDS
                supervisor  ready      7  1 h ago
                core        running   42  1 min ago         1  serving
                registrar   stopped       1 min ago         1  ended with exit code 0

                CA            /O=Example/CN=Root
                fingerprint   AA:BB
                valid until   2036-11-20T15:47:05Z (in 10 y)
                registration  closed (closed by the operator)
                CRL           number 9, 1 entries, published 1 h ago, next due
                              2026-11-30T14:47:05Z (in 6 d 23 h)
                counts        3 certificates, 1 revoked

                SOCKET                   MODE
                /run/upki-ca/admin.sock  0600

                """)
    }

    @Test("where the users are known, each service stands with its own")
    func users() {
        var report = Self.report([Self.service("core", .running), Self.service("registrar", .stopped)])
        report.users = ServiceUsers(services: [0: ["core"]])
        let text = report.text(width: 80, now: Self.now, command: { $0 })
        #expect(text.contains("SERVICE     STATE    PID  SINCE      RESTARTS  USER  LAST WORDS"))
        #expect(text.contains("core        running   42  1 min ago         1  root  serving"))
        let services = report.json(now: Self.now, command: { $0 })["services"]?.arrayValue ?? []
        #expect(services.map { $0["user"] } == ["root", nil])
        report.users = ServiceUsers(services: [0: ["core", "front"]], reason: "the system has no users upki-ca")
        #expect(
            report.warnings(now: Self.now, command: { $0 }).first
                == "the programs are not kept apart by user: core and front share the user root; the system has no users upki-ca")
    }

    @Test("it is ready when core answers and every service runs or is down on purpose")
    func readiness() {
        #expect(Self.report([Self.service("core", .running), Self.service("registrar", .stopped)]).isReady)
        #expect(!Self.report([Self.service("core", .running), Self.service("front", .restarting)]).isReady)
        #expect(!Self.report([Self.service("core", .running)], state: .starting).isReady)
        var withoutCore = Self.report([Self.service("core", .running)])
        withoutCore.core = nil
        #expect(!withoutCore.isReady)
        var withoutSupervisor = Self.report([])
        withoutSupervisor.supervisor = nil
        #expect(withoutSupervisor.isReady)
    }

    @Test("waiting ends at once when a service has failed for good, and says why")
    func hopeless() {
        let report = Self.report([Self.service("core", .running), Self.service("front", .failed, why: "the port is taken")])
        #expect(report.isHopeless)
        #expect(report.obstacle == "front is failed: the port is taken")
    }

    @Test("each part is shown without the other")
    func parts() {
        var onlySupervisor = Self.report([Self.service("core", .restarting, why: "ended by signal 9")])
        onlySupervisor.core = nil
        onlySupervisor.coreProblem = CommandError(.unreachable, "cannot reach the CA")
        let text = onlySupervisor.text(width: 80, now: Self.now, command: { $0 })
        #expect(text.contains("ended by signal 9"))
        #expect(text.contains("warning: cannot reach the CA"))
        var onlyCore = Self.report([])
        onlyCore.supervisor = nil
        #expect(onlyCore.text(width: 80, now: Self.now, command: { $0 }).contains("warning: no supervisor runs here"))
    }

    @Test("warnings: whatever ca-core calls due, certificates without URLs, shared users; nothing that is not due")
    func warnings() {
        var report = Self.report([Self.service("core", .running)])
        func warnings() -> [String] { report.warnings(now: Self.now, command: { "ca-ctl \($0)" }) }
        #expect(warnings().isEmpty)
        func expiry(_ kind: String, _ at: String, name: String = "", due: Bool = true) -> JSON {
            [("kind", .string(kind)), ("name", .string(name)), ("at", .string(at)), ("due", .bool(due))].object
        }
        report.core =
            [
                ("publication", .null),
                (
                    "expiries",
                    [
                        expiry("crl", "2026-11-23T20:47:05Z"), expiry("node", "2026-12-01T15:47:05Z", name: "ra1"),
                        expiry("node", "2026-11-22T15:47:05Z", name: "ra 2"),
                        expiry("node", "2027-12-01T15:47:05Z", name: "ra3", due: false),
                        expiry("ca", "2026-12-23T15:47:05Z"), expiry("token", "2026-11-23T15:57:05Z", name: "deefe9a7"),
                        expiry("window", "2026-11-30T15:47:05Z"),
                    ]
                ),
            ].object
        report.users = ServiceUsers(services: [0: ["core", "front", "registrar"]])
        #expect(
            warnings() == [
                "the programs are not kept apart by user: core, front and registrar share the user root",
                "the CRL ends in 5 h and no newer one was published: ca-ctl crl generate",
                "the certificate of the node ra1 ends in 8 d: ca-ctl node renew ra1",
                "the certificate of the node ra 2 ended 1 d ago: ca-ctl node renew 'ra 2'",
                "the CA's certificate ends in 30 d: nothing that it issues outlives it; make the next CA and move the nodes to it",
                "the one-time token deefe9a7 ends in 10 min and nobody has used it: ca-ctl registrar open",
                "registration stays open and closes in 7 d: ca-ctl registrar close as soon as the RAs are in",
                "certificates carry no address of CRL, OCSP and CA certificate: set publication.base_url, for example to http://pki.example.com, "
                    + "in ca.config.yml, then: ca-ctl reload",
            ])
        report.core = [("publication", "http://pki.example.com"), ("recovery", [("note", "recovered from the seed")].object)].object
        report.users = nil
        #expect(warnings() == ["recovered from the seed"])
        report = Self.report([])
        report.core = [("publication", "http://pki.example.com"), ("expiries", [expiry("crl", "2026-11-23T15:47:05Z")])].object
        #expect(warnings() == ["the CRL is out of date since 2026-11-23T15:47:05Z: ca-ctl crl generate"])
        report = Self.report([])
        report.list = nil
        #expect(warnings() == ["no CRL is published: ca-ctl crl generate"])
    }

    @Test("warnings: a disk with little room, and a write-ahead log that cannot start over")
    func spaceWarnings() {
        var report = Self.report([Self.service("core", .running)])
        report.core =
            [
                ("publication", "http://pki.example.com"),
                ("program", [("wal_bytes", .integer(400 << 20)), ("data_dir", "/var/lib/upki-ca")].object),
                (
                    "disk",
                    [
                        [("path", "/var/lib/upki-ca"), ("free_bytes", .integer(10_485_760)), ("free_inodes", .integer(77)), ("low", true)]
                            .object,
                        [("path", "/run/upki-ca"), ("free_bytes", .integer(1)), ("free_inodes", .integer(1)), ("low", false)].object,
                    ]
                ),
            ].object
        #expect(
            report.warnings(now: Self.now, command: { "ca-ctl \($0)" }) == [
                "only 10 MB and 77 inodes are free for /var/lib/upki-ca: make room, or the CA stops issuing",
                "the store's write-ahead log has 400 MB: something reads the store all the time; look for other programs that have "
                    + "/var/lib/upki-ca/db/ca.sqlite open",
            ])
    }

    @Test(
        "sizes are short",
        arguments: [
            (0, "0 bytes"), (1023, "1023 bytes"), (1024, "1 KB"), (1536, "1.5 KB"), (104_857_600, "100 MB"), (2_469_606_400, "2.3 GB"),
        ] as [(Int64, String)])
    func sizes(bytes: Int64, text: String) { #expect(ByteText.size(bytes) == text) }
}

extension Array where Element == (String, JSON) {
    /// An object with these members, in their order.
    var object: JSON { .object(map { JSON.Member($0.0, $0.1) }) }
}
