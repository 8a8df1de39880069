// What `ca-ctl status` and `ca-ctl reload` ask of the process; and profiles between JSON and the rules of their files.

import Authority
import Glibc
import PKI
import Settings
import Supervised
import Synchronization
import Tasks
import UPKIProtocol

/// The running program as the operator sees it.
final class CoreOperations: Operations {
    let opened: OpenedAuthority
    private let instance: String
    let runDirectory: String
    private let pool: KeyPool
    let publisher: Publisher
    let relays: RelayKeeper
    let startedAt: UnixTime
    let processing = Mutex<Processing?>(nil)
    /// The round of the doctor that is being asked for.
    let doctor = Mutex<Doctor?>(nil)

    init(opened: OpenedAuthority, instance: String, runDirectory: String, pool: KeyPool, publisher: Publisher, relays: RelayKeeper) {
        self.relays = relays
        self.opened = opened
        self.publisher = publisher
        self.instance = instance
        self.runDirectory = runDirectory
        self.pool = pool
        self.startedAt = opened.authority.clock.now
    }

    func attach(_ processing: Processing) { self.processing.withLock { $0 = processing } }

    func status() -> JSON {
        .object([
            .init(
                "program",
                .object([
                    .init("version", .string(CoreVersion.text)), .init("pid", .integer(getpid())), .init("uid", .integer(geteuid())),
                    .init("instance", .string(self.instance)), .init("started_at", .string(self.startedAt.rfc3339)),
                    .init("data_dir", .string(self.opened.directory.path)), .init("run_dir", .string(self.runDirectory)),
                    .init("wal_bytes", .integer(self.opened.store.walSize)),
                ])),
            .init("store", self.storeFacts),
            .init("clock_behind_seconds", .integer(self.opened.authority.secondsBehind)),
            .init(
                "listeners",
                .object([
                    .init("host", .string(self.opened.configuration.host.description)),
                    .init("port", .integer(self.opened.configuration.port)),
                    .init("registrar_port", .integer(self.opened.configuration.registrarPort)),
                ])),
            .init("disk", .array(self.disks.map(\.json))),
        ])
    }

    private var storeFacts: JSON {
        let store = self.opened.store
        let reserve = store.reserveSize == 0 ? "none" : store.isShortOfSpace ? "in use" : "whole"
        return .object([
            .init("reserve", .string(reserve)), .init("reserve_bytes", .integer(store.reserveSize)),
            .init("free_bytes", store.freeBytes.map { .integer($0) } ?? .null), .init("damaged", .bool(store.isDamaged)),
        ])
    }

    /// On its own, before the request goes on: an exposed seed is exposed whatever comes of the request.
    func recordSeedExposure(by caller: Caller) throws {
        guard let processing = self.processing.withLock({ $0 }) else { throw CoreError("the core is not running") }
        let context = RequestContext(id: "seed", task: "seed_exposed", caller: caller)
        _ = try processing.commitAndWait(
            Change(context, needs: .anyone) { commit in
                try commit.markSeedExposed()
                return true
            })
    }

    func reload() throws -> JSON {
        // Whoever asked for it, the service manager shows it; READY ends it either way.
        let notifier = ServiceNotifier()
        notifier.reloading()
        defer { notifier.ready() }
        do {
            let configuration = try OpenedAuthority.readConfiguration(self.opened.directory)
            let folder = ProfileDirectory(root: self.opened.directory.profiles)
            guard let processing = self.processing.withLock({ $0 }) else { throw CoreError("the core is not running") }
            let authority = self.opened.authority
            let context = RequestContext(id: "reload", task: "reload", caller: Caller(proof: .itself, channel: .admin))
            // On the writer's thread, as its last act of this change: no batch sees half of the new rules.
            // The folder is read there too: a profile that was changed a moment ago must not come back as it was.
            _ = try processing.commitAndWait(
                Change(context, needs: .local) { commit in
                    do {
                        try commit.reload(
                            rules: Rules(configuration), profiles: try folder.load(baseSubject: authority.issuer.name.baseSubject),
                            in: authority)
                    } catch let error as SettingsError {
                        throw AuthorityError(.invalidParameter, error.oneLine)
                    }
                    return true
                })
            self.relays.set(configuration)
            let profiles = authority.state.profiles
            self.pool.keep(Set(profiles.values.map(\.keyType)))
            return .object([
                .init("profiles", .integer(profiles.count)), .init("warnings", .array(configuration.warnings.map { .string($0) })),
            ])
        } catch let error as SettingsError {
            throw Refusal(.invalidParameter, error.oneLine)
        }
    }
}

/// Profiles as tasks carry them.
enum ProfileTree {
    static func read(_ tree: JSON, name: String) throws -> CertificateProfile {
        do { return try ProfileFile.read(try self.value(tree), name: name) } catch let error as SettingsError {
            throw Refusal(.invalidParameter, "Invalid profile parameter: \(error.oneLine)")
        }
    }

    static func describe(_ profile: CertificateProfile) -> JSON {
        guard case .object(let members) = self.json(ProfileFile.tree(profile)) else { return .null }
        return .object([.init("name", .string(profile.name))] + members)
    }

    private static func value(_ json: JSON) throws -> SettingValue {
        switch json {
        case .null: return .null
        case .bool(let flag): return .bool(flag)
        case .string(let text): return .string(text)
        case .number:
            guard let number = json.integerValue.flatMap({ Int(exactly: $0) }) else {
                throw Refusal(.invalidParameter, "Invalid profile parameter: numbers are whole")
            }
            return .int(number)
        case .array(let elements): return .list(try elements.map { Setting(try self.value($0)) })
        case .object(let members):
            // Clients send back what get_profile gave them, its name included.
            return .map(try members.filter { $0.name != "name" }.map { SettingEntry($0.name, try self.value($0.value)) })
        }
    }

    private static func json(_ value: SettingValue) -> JSON {
        switch value {
        case .null: .null
        case .bool(let flag): .bool(flag)
        case .string(let text): .string(text)
        case .int(let number): .integer(number)
        case .list(let elements): .array(elements.map { self.json($0.value) })
        case .map(let entries): .object(entries.map { .init($0.key, self.json($0.value.value)) })
        }
    }
}
