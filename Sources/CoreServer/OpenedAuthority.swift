// Opening a data directory: every check that must hold before the first request is served.

public import Authority
import CAKeys
import Crypto
import DurableFiles
import Glibc
public import Logging
import PKI
import SQLiteStore
public import Settings
import X509

/// An authority with the files it lives in.
public final class OpenedAuthority: Sendable {
    public let authority: Authority
    public let configuration: Configuration
    public let directory: DataDirectory
    let store: SQLiteStore
    private let lock: DirectoryLock

    private init(authority: Authority, configuration: Configuration, directory: DataDirectory, store: SQLiteStore, lock: DirectoryLock) {
        self.authority = authority
        self.configuration = configuration
        self.directory = directory
        self.store = store
        self.lock = lock
    }

    /// Opens the CA in `directory`.
    ///
    /// - Parameters:
    ///   - seedFile: where the seed is read from under `key_storage: seed`; else it must be the CA's all the same.
    ///   - keyPasswordFile: where the password of ca.key is read from under `key_storage: encrypted`, unless the configuration names a file.
    /// - Throws: one line for a person: a directory or key that others can read, a second process, a key that does not match, a seed that
    ///   contradicts the store, a bad configuration with file and line.
    public static func open(_ directory: DataDirectory, seedFile: String?, keyPasswordFile: String? = nil, log: Logger) throws
        -> OpenedAuthority
    {
        try PrivateDirectory.check(directory.path)
        guard directory.isInitialised else {
            throw CoreError("There is no CA in \(directory.path); make one with: ca-ctl init --data-dir \(directory.path)")
        }
        let lock = try DurableFile.lock(directory: directory.path)
        for folder in [directory.path, directory.profiles, directory.nodes, directory.published] {
            try DurableFile.removeLeftovers(in: folder)
        }
        // A CRL's entries wait in a file that has no name but for an instant.
        try DurableFile.removeLeftovers(in: directory.path, prefix: ".crl-")
        let configuration = try Self.readConfiguration(directory)
        for warning in configuration.warnings { log.warning("\(warning)") }

        let certificate = try Self.readCertificate(directory)
        let seed = try Self.seed(for: configuration, file: seedFile)
        let key =
            configuration.keyStorage == .seed
            ? try Self.key(directory, seed: seed)
            : try KeyAtRest.read(directory, configuration, passwordFile: keyPasswordFile, log: log)
        guard try key.matches(certificateDER: certificate) else {
            throw CoreError("The CA key does not match \(directory.certificate); restore both from the same backup, or give the right seed")
        }
        let store = try SQLiteStore(path: directory.database, reserve: Int64(configuration.storeReserve) << 20)
        let files = PendingFiles(directory) { log.error("\($0)") }
        try files.settle { sequence, request in
            guard let record = try store.read({ try $0.auditRecords(after: sequence - 1, limit: 1) }).first else { return false }
            return record.sequence == sequence && record.requestID == request && record.outcome == .done
        }
        let issuer = try Issuer(der: certificate, key: try key.certificatePrivateKey(), signParts: key.partsSigner)
        let authority = try Authority(
            issuer: issuer, store: store, rules: Rules(configuration),
            profiles: try ProfileDirectory(root: directory.profiles).load(baseSubject: issuer.name.baseSubject),
            clock: SystemClock(), random: SystemRandom(), files: files, auditSigner: try AuditKeyFile(directory, log: log))
        let opened = OpenedAuthority(authority: authority, configuration: configuration, directory: directory, store: store, lock: lock)
        try opened.takeSeedOutOfConfiguration(log)
        if let seed, configuration.keyStorage != .seed { try opened.confirm(seed) }
        if configuration.keyStorage == .seed, DataDirectory.exists(directory.key) {
            log.warning("\(directory.key) is there although key_storage is seed: remove it, or set key_storage: file")
        }
        if let note = authority.state.recoveryNote { log.notice("\(note.sentence)") }
        return opened
    }

    static func readConfiguration(_ directory: DataDirectory) throws -> Configuration {
        try Configuration.load(
            try SettingsFile.read(directory.configuration), file: "ca.config.yml", environment: [:], flags: ConfigurationFlags())
    }

    static func readCertificate(_ directory: DataDirectory) throws -> [UInt8] {
        guard let bytes = try SettingsFile.read(directory.certificate),
            let der = PEM.decodeFirst(String(decoding: bytes, as: UTF8.self), labels: ["CERTIFICATE"])
        else {
            throw CoreError("\(directory.certificate) holds no certificate in PEM; restore it from a backup")
        }
        return der
    }

    /// The seed that was given to this start, if any; under `key_storage: seed` there must be one.
    private static func seed(for configuration: Configuration, file: String?) throws -> Seed? {
        guard let path = file ?? Credential.path("seed") else {
            guard configuration.keyStorage != .seed else {
                throw CoreError("key_storage: seed needs the seed at each start: give --seed-file or the systemd credential 'seed'")
            }
            return nil
        }
        var bytes = try Credential.read(path, limit: 4_096)
        defer { wipe(&bytes) }
        return try Seed(bytes, allowWeak: true)
    }

    private static func key(_ directory: DataDirectory, seed: Seed?) throws -> CAKey {
        guard let seed else { throw CoreError("key_storage: seed needs the seed at each start") }
        let certificate = try Certificate(derEncoded: try self.readCertificate(directory))
        let root = try SeedRoot(seed)
        // The certificate says which type was derived; the generation is always 0 until keys are rolled over.
        for type in KeyType.allCases where AuthorityKeyMatch.mayBe(type, certificate.publicKey) {
            let key = try root.caKey(type, generation: 0)
            if try Certificate.PublicKey(derEncoded: key.subjectPublicKeyInfoDER) == certificate.publicKey { return key }
        }
        throw CoreError("The seed does not give the key of \(directory.certificate); give the seed that this CA was made with")
    }

    /// A seed that the start does not need must be this CA's nevertheless: else the operator means another CA.
    private func confirm(_ seed: Seed) throws {
        guard try self.gives(seed) else {
            throw CoreError(
                "The seed that was given contradicts the CA in \(self.directory.path), which was not made from it; leave it out, or start in the right data directory"
            )
        }
    }

    /// A seed in the configuration is accepted once: it must be the CA's, and then the file is written again without it.
    private func takeSeedOutOfConfiguration(_ log: Logger) throws {
        guard let seed = self.configuration.seedInFile else { return }
        guard try self.gives(seed: seed.text) else {
            throw CoreError(
                "ca.config.yml: the seed is not the one this CA was made with; remove the entry, or start in the right data directory")
        }
        try Self.removeSeed(from: self.directory)
        log.notice("the seed was taken out of ca.config.yml")
    }

    static func removeSeed(from directory: DataDirectory) throws {
        guard let bytes = try SettingsFile.read(directory.configuration) else { return }
        do {
            try DurableFile.write(try Configuration.textWithoutSeed(bytes, file: "ca.config.yml"), to: directory.configuration, mode: 0o600)
        } catch let error as DurableFileError {
            throw CoreError(
                "The seed cannot be taken out of ca.config.yml (\(error)); remove the line 'seed:' by hand, or make the file writable")
        }
    }

    /// Whether a seed gives the standing token; false too where the CA was imported.
    func gives(seed text: String) throws -> Bool {
        guard self.authority.state.keyIsDerived, let seed = try? Seed(text: text, allowWeak: true) else { return false }
        return try self.gives(seed)
    }

    private func gives(_ seed: Seed) throws -> Bool {
        let state = self.authority.state
        guard state.keyIsDerived else { return false }
        let token = try SeedRoot(seed).registrationToken(UInt32(state.tokenNumber))
        return state.tokens[Authority.hash(token: token)]?.kind == .standing
    }

    /// Puts the start into the audit log, with a digest of the rules in force: what was changed in files while nothing ran shows between two starts.
    ///
    /// A fault of that log is recorded too, and stands until it is acknowledged; the CA starts all the same, since it must be able to revoke.
    func recordStart(_ log: Logger) throws {
        let fault = try self.auditFault()
        let profiles = self.authority.state.profiles.values.sorted { $0.name < $1.name }
        let digest = SHA256.hash(data: Array(profiles.map { "\($0.name)\n\(ProfileFile.render($0))" }.joined().utf8))
        let detail = "version \(CoreVersion.text), \(profiles.count) profiles with digest \(Hexadecimal.encode(digest.prefix(8)))"
        let context = RequestContext(id: "start", task: "start", caller: Caller(proof: .itself, channel: .admin))
        let report = self.authority.commit([
            // Vital: on a full disk, too, the CA starts, to revoke.
            Change(context, needs: .local, isVital: true) { commit in
                try commit.audit(detail: detail)
                if let fault { try commit.markAuditFault(fault) }
                try commit.checkpoint()
                return true
            }
        ])
        for result in report.results { _ = try result.get() }
        if let fault = self.authority.state.auditFault {
            log.error(
                "AUDIT FAULT \(fault); see: ca-ctl audit verify, then: ca-ctl audit acknowledge --reason TEXT",
                metadata: ["event": "audit-fault"])
        }
    }

    /// What is wrong with the end of the audit log; also that it cannot be read, which does not keep the CA from revoking.
    private func auditFault() throws -> String? {
        do { return try self.authority.auditFaultAtStart() } catch let error as AuthorityError where error.code == .storage {
            return "the end of the log cannot be read: \(error.detail)"
        }
    }

    /// Closes the store; what was acknowledged is on disk long before.
    public func close() throws { try self.store.close() }
}

extension CAKey {
    /// Signs a message in parts, for CRLs.
    var partsSigner: PartsSigner {
        { digest, deliver in
            let signer = try self.makeSigner(digest: self.defaultDigest == nil ? nil : Digest(rawValue: digest.rawValue))
            try deliver { span in try span.withUnsafeBytes { try signer.update($0) } }
            return try signer.finish()
        }
    }
}

extension Rules {
    /// The rules that a configuration sets.
    init(_ configuration: Configuration) {
        self.init()
        self.clients = Clients(rawValue: configuration.clients.rawValue) ?? .register
        self.release = Release(rawValue: configuration.release.rawValue) ?? .hold
        self.registrationProfiles = configuration.registrationProfiles
        self.acceptSeedInClear = configuration.acceptSeedInClear
        self.blockedNames = configuration.blockedNames
        self.publicationBaseURL = configuration.publicationBaseURL
        self.crlValidity = Int64(configuration.crlValidity)
        self.ocsp.validity = Int64(configuration.ocspValidity)
        self.ocsp.maxAge = Int64(configuration.ocspMaxAge)
        self.ocsp.offlineGrace = Int64(configuration.ocspOfflineGrace)
        self.ocsp.nonce = OCSPRules.Nonce(rawValue: configuration.ocspNonce.rawValue) ?? .echo
        for node in configuration.nodes { self.fixedNodes[node.address.description] = node.node }
    }
}

extension PKI.DistinguishedName {
    /// The attributes that profiles take over from the CA's own name.
    var baseSubject: [CertificateProfile.SubjectAttribute] {
        self.relativeNames.joined().compactMap { attribute in
            CertificateProfile.SubjectAttribute.Kind(rawValue: attribute.type.shortName).map { .init($0, attribute.value) }
        }
    }
}
