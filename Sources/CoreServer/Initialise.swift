// Making a CA: from a seed, from nothing, or from an existing key and certificate. Done twice it changes nothing.

import Authority
import CAKeys
import DurableFiles
import Glibc
public import Logging
import PKI
import SQLiteStore
import Settings
import Tasks
public import UPKIProtocol
import X509

/// What `ca-core init` is asked for; secrets come by pipe.
public struct InitialiseRequest: Sendable {
    public var keyType: String?
    public var subject: String?
    public var company: String?
    public var allowsWeakSeed = false
    public var seed: String?
    public var authorityKeyPEM: String?
    public var authorityCertificatePEM: String?
    public var password: String?
    /// Whether the seed is that of a CA that was lost.
    public var recovers = false
    /// Files with CRLs of that CA, or of the one to import, whose revocations are taken over.
    public var lists: [String] = []
    /// Where the password of the key at rest is read from, where the configuration names no file.
    public var keyPasswordFile: String?

    public init() {}

    /// Takes the secrets from the JSON object that came by standard input.
    public mutating func take(secrets: JSON) throws {
        guard let members = secrets.objectValue else { throw CoreError("standard input holds no JSON object") }
        for member in members {
            switch member.name {
            case "seed": self.seed = member.value.stringValue
            case "ca_key": self.authorityKeyPEM = member.value.stringValue
            case "ca_cert": self.authorityCertificatePEM = member.value.stringValue
            case "password": self.password = member.value.stringValue
            default: throw CoreError("standard input holds the unknown member '\(member.name)'")
            }
        }
    }
}

public enum Initialise {
    /// Days that a new CA certificate lives.
    private static let authorityDays = 3_650
    /// Registration is open so long after `init`.
    private static let windowSeconds: Int64 = 86_400

    /// Makes the CA in `directory`, or checks what is asked against the one that is there.
    ///
    /// - Returns: what `ca-ctl init` shows; `seed` only where it was made here and `token` only for a new CA.
    public static func run(_ request: InitialiseRequest, in directory: DataDirectory, log: Logger) throws -> JSON {
        try self.makeFolders(directory)
        if directory.isInitialised { return try self.confirm(request, directory, log) }
        let lock = try DurableFile.lock(directory: directory.path)
        defer { withExtendedLifetime(lock) {} }
        if directory.isInitialised { return try self.confirm(request, directory, log) }
        try self.begin(directory)

        let hadConfiguration = DataDirectory.exists(directory.configuration)
        var configuration: Configuration
        let clock = SystemClock()
        var material: Material
        let issuer: Issuer
        do {
            configuration = try self.configuration(request, directory)
            if configuration.seedInFile != nil { try self.checkRewritable(directory) }
            material = try self.material(request, configuration, directory, log, clock: clock)
            issuer = try Issuer(
                der: material.certificate, key: try material.key.certificatePrivateKey(), signParts: material.key.partsSigner)
            material.note?.list = try Recovery.prove(request.lists, of: issuer, root: material.root, temporary: directory.path)
        } catch {
            // What was asked for cannot be had: the next attempt must not find its key type and company in force.
            if !hadConfiguration { try? DurableFile.remove(directory.configuration) }
            throw error
        }
        for warning in material.warnings { log.warning("\(warning)") }
        try self.write(material, directory)
        let profiles = CertificateProfile.builtIns(baseSubject: issuer.name.baseSubject)
        for profile in profiles where !DataDirectory.exists("\(directory.profiles)/\(profile.name).yml") {
            try ProfileDirectory(root: directory.profiles).store(profile)
        }
        let takenOver = try self.fill(directory, issuer: issuer, material: material, lists: request.lists, clock: clock, log)
        try DurableFile.write(Array(issuer.pem.utf8), to: directory.publishedCertificate, mode: 0o644)
        try DurableFile.write(Array(issuer.pem.utf8), to: directory.certificate, mode: 0o644)
        if configuration.seedInFile != nil { try OpenedAuthority.removeSeed(from: directory) }
        configuration.seedInFile = nil

        var members: [JSON.Member] = self.description(issuer, material.key.type, created: true, directory)
        if let seed = material.madeSeed { members.append(.init("seed", .string(seed))) }
        members.append(.init("token", .string(material.token)))
        members += takenOver
        members.append(.init("warnings", .array(material.warnings.map { .string($0) })))
        return .object(members)
    }

    /// Marks the directory as unfinished, where it holds no CA or only what an unfinished `init` left.
    private static func begin(_ directory: DataDirectory) throws {
        guard !DataDirectory.exists(directory.unfinished) else { return }
        let parts = [directory.certificate, directory.key, directory.database].filter { DataDirectory.exists($0) }
        guard parts.isEmpty else {
            let missing = [directory.certificate, directory.database].filter { !DataDirectory.exists($0) }
            throw CoreError(
                "\(directory.path) holds a part of a CA (\(parts.joined(separator: ", "))), but not \(missing.joined(separator: " and ")); restore it from a backup: init would destroy the rest"
            )
        }
        try DurableFile.write([], to: directory.unfinished, mode: 0o600)
    }

    /// A seed in the configuration is accepted only where it can be taken out again; found out before anything is made from it.
    private static func checkRewritable(_ directory: DataDirectory) throws {
        guard let bytes = try SettingsFile.read(directory.configuration) else { return }
        _ = try Configuration.textWithoutSeed(bytes, file: "ca.config.yml")
        do { try DurableFile.write(bytes, to: directory.configuration, mode: 0o600) } catch {
            throw CoreError(
                "ca.config.yml holds a seed and cannot be written again without it (\(error)); make it writable, or take the line out and give the same seed with --seed-file"
            )
        }
    }

    /// The CA is there for good: to be called once what `run` returned has been shown, the seed above all.
    public static func finish(_ directory: DataDirectory) throws {
        if DataDirectory.exists(directory.unfinished) { try DurableFile.remove(directory.unfinished) }
    }

    private static func makeFolders(_ directory: DataDirectory) throws {
        try self.makeParents(of: directory.path)
        for folder in [directory.path, directory.path + "/db", directory.profiles, directory.nodes] { try PrivateDirectory.create(folder) }
        if !DataDirectory.exists(directory.published) {
            try PrivateDirectory.create(directory.published)
            // Its files are for others; who may walk into the folder is the deployment's choice.
            chmod(directory.published, 0o755)
        }
    }

    private static func makeParents(of path: String) throws {
        var prefix = ""
        for part in path.split(separator: "/").dropLast() {
            prefix += "/" + part
            if mkdir(prefix, 0o755) != 0, errno != EEXIST {
                throw CoreError("Cannot create \(prefix): \(String(cString: strerror(errno)))")
            }
        }
    }

    private static func configuration(_ request: InitialiseRequest, _ directory: DataDirectory) throws -> Configuration {
        if !DataDirectory.exists(directory.configuration) {
            let type = try request.keyType.map { try self.keyType($0) } ?? .ecP256
            let text = Configuration.defaultText(
                company: request.company ?? self.company(request.subject) ?? "uPKI",
                keyType: Configuration.AuthorityKeyType(rawValue: type.rawValue) ?? .ecP256)
            try DurableFile.write(Array(text.utf8), to: directory.configuration, mode: 0o600)
        }
        return try OpenedAuthority.readConfiguration(directory)
    }

    /// The organisation of the wanted subject, which is then the company of the profiles too.
    private static func company(_ subject: String?) -> String? {
        subject.flatMap { PKI.DistinguishedName.parse($0) }?.relativeNames.joined().first { $0.type == .organization }?.value
    }

    private static func keyType(_ name: String) throws -> KeyType {
        guard let type = KeyType(rawValue: name) else {
            throw CoreError("The key type '\(name)' is not known; allowed are \(KeyType.allCases.map(\.rawValue).joined(separator: ", "))")
        }
        return type
    }

    // MARK: Keys

    private struct Material {
        var key: CAKey
        var certificate: [UInt8]
        var auditKey: CAKey
        var curveSecrets: [(port: CurvePort, secret: [UInt8])]
        var token: String
        var isDerived: Bool
        /// The seed, where none was given.
        var madeSeed: String?
        /// What this CA cannot know of its own past.
        var note: RecoveryNote?
        /// Nil for an imported CA.
        var root: SeedRoot?
        /// The key as it rests in ca.key; nil under `key_storage: seed`.
        var keyAtRest: [UInt8]?

        var warnings: [String] { self.note.map { [$0.sentence] } ?? [] }
    }

    private static func material(
        _ request: InitialiseRequest, _ configuration: Configuration, _ directory: DataDirectory, _ log: Logger, clock: SystemClock
    ) throws -> Material {
        if let keyPEM = request.authorityKeyPEM, let certificatePEM = request.authorityCertificatePEM {
            guard !request.recovers else {
                throw CoreError("A CA is either imported or recovered from its seed; leave --recover out, --crl works with an import too")
            }
            guard request.seed == nil, configuration.seedInFile == nil else {
                throw CoreError("A CA is either imported or made from a seed; leave one of them out")
            }
            guard configuration.keyStorage != .seed else {
                throw CoreError("key_storage: seed needs a CA made from a seed, not an imported one")
            }
            log.info("checking the key and certificate to import")
            let imported = try ImportedAuthority.check(
                keyPEM: Array(keyPEM.utf8), certificatePEM: Array(certificatePEM.utf8), password: request.password.map { Array($0.utf8) },
                now: clock.now.seconds)
            return Material(
                key: imported.key, certificate: imported.certificateDER, auditKey: try CAKey.generate(.ed25519),
                curveSecrets: CurvePort.allCases.map { ($0, SystemRandom().bytes(32)) }, token: try RegistrationToken.random(),
                isDerived: false,
                madeSeed: nil, note: RecoveryNote(.imported, at: clock.now), root: nil,
                keyAtRest: try self.atRest(imported.key, configuration, request))
        }
        guard request.authorityKeyPEM == nil, request.authorityCertificatePEM == nil else {
            throw CoreError("An import needs both the CA's key and its certificate")
        }
        let given = request.seed ?? configuration.seedInFile?.text
        guard given != nil || !request.recovers else {
            throw CoreError("--recover needs the seed of the CA that was lost; give it with --seed-file or --seed-stdin")
        }
        guard request.recovers || request.lists.isEmpty else {
            throw CoreError("--crl is for a CA that signed before; recover it with --recover and its seed, or import it with --ca-key")
        }
        let seed = try given.map { try Seed(text: $0, allowWeak: request.allowsWeakSeed) } ?? Seed.random()
        log.info("deriving keys from the seed")
        let root = try SeedRoot(seed)
        let type =
            try request.keyType.map { try self.keyType($0) } ?? configuration.keyType.flatMap { KeyType(rawValue: $0.rawValue) } ?? .ecP256
        if type.rawValue.hasPrefix("rsa") { log.info("deriving an RSA key; this takes some seconds") }
        let key = try root.caKey(type, generation: 0)
        let subject = try self.subject(request, configuration)
        let certificate = try Issuer.selfSigned(
            subject: subject, key: try key.certificatePrivateKey(), digest: configuration.digest, now: clock.now, days: self.authorityDays,
            random: SystemRandom())
        return Material(
            key: key, certificate: certificate, auditKey: try root.auditKey(),
            curveSecrets: try CurvePort.allCases.map { ($0, try root.curveSecret($0, 0)) },
            token: try root.registrationToken(0), isDerived: true, madeSeed: given == nil ? seed.revealed() : nil,
            note: given == nil ? nil : RecoveryNote(request.recovers ? .recovered : .givenSeed, at: clock.now), root: root,
            keyAtRest: try self.atRest(key, configuration, request))
    }

    private static func subject(_ request: InitialiseRequest, _ configuration: Configuration) throws -> PKI.DistinguishedName {
        guard let text = request.subject else {
            return PKI.DistinguishedName([
                .init(.organization, configuration.company), .init(.commonName, configuration.company + " Root CA"),
            ])
        }
        guard let name = PKI.DistinguishedName.parse(text), !name.isEmpty, (try? name.x509()) != nil else {
            throw CoreError("--subject is a distinguished name such as \"/C=FR/O=Org/CN=Org Root CA\"; '\(text)' is none")
        }
        return name
    }

    private static func atRest(_ key: CAKey, _ configuration: Configuration, _ request: InitialiseRequest) throws -> [UInt8]? {
        switch configuration.keyStorage {
        case .seed: return nil
        case .file: return try key.pkcs8PEM()
        case .encrypted:
            var password = try KeyPassword.read(configuration, file: request.keyPasswordFile)
            defer { wipe(&password) }
            return try key.pkcs8PEM(password: password)
        }
    }

    private static func write(_ material: Material, _ directory: DataDirectory) throws {
        if var pem = material.keyAtRest {
            defer { wipe(&pem) }
            try PrivateFile.write(pem, to: directory.key)
        }
        var audit = try material.auditKey.pkcs8PEM()
        defer { wipe(&audit) }
        try PrivateFile.write(audit, to: directory.auditKey)
        // One line a port: the port's name in the derivation, the key's number, the secret in hexadecimal.
        let lines = material.curveSecrets.map { "\($0.port.rawValue) 0 \(Hexadecimal.encode($0.secret))\n" }.joined()
        try PrivateFile.write(Array(lines.utf8), to: directory.path + "/curve.keys")
    }

    // MARK: The store

    /// Fills an empty store, takes over what CRLs say, and publishes the first CRL.
    ///
    /// - Returns: the members of the answer that say what was taken over.
    private static func fill(
        _ directory: DataDirectory, issuer: Issuer, material: Material, lists: [String], clock: SystemClock, _ log: Logger
    ) throws -> [JSON.Member] {
        // A store without a certificate beside it is what a crash left of an earlier attempt.
        for suffix in ["", "-wal", "-shm"] where unlink(directory.database + suffix) != 0 && errno != ENOENT {
            throw CoreError("Cannot remove \(directory.database + suffix): \(String(cString: strerror(errno)))")
        }
        // SQLite gives its files the mode of the first one, whatever the umask is.
        try PrivateFile.write([], to: directory.database)
        let configuration = try OpenedAuthority.readConfiguration(directory)
        let store = try SQLiteStore(path: directory.database, reserve: Int64(configuration.storeReserve) << 20)
        guard !store.isShortOfSpace else {
            throw CoreError(
                "There is no room to set \(configuration.storeReserve) MiB aside in \(directory.path) for revocations on a full disk; make room, or write a smaller store.reserve into ca.config.yml"
            )
        }
        try store.write { writer in
            try writer.set(.authorityFingerprint, issuer.fingerprint)
            try writer.set(.keyOrigin, material.isDerived ? "derived" : "imported")
        }
        let authority = try Authority(
            issuer: issuer, store: store, rules: Rules(configuration), profiles: [], clock: clock,
            random: SystemRandom(),
            files: PendingFiles(directory) { _ in }, auditSigner: try AuditKeyFile(material.auditKey, log: nil))
        let context = RequestContext(id: "init", task: "init", caller: Caller(proof: .itself, channel: .admin))
        let (token, isDerived, note) = (material.token, material.isDerived, material.note)
        try self.commit(authority, context) { commit in
            try commit.audit(
                target: issuer.name.slashNotation,
                detail: "\(isDerived ? "derived from the seed" : "imported"), fingerprint \(issuer.fingerprint)"
                    + (note.map { "; \($0.sentence)" } ?? ""))
            if let note { try commit.set(note) }
            try commit.rotateStandingToken(number: 0, hash: Authority.hash(token: token))
            let end = commit.now.advanced(bySeconds: Self.windowSeconds)
            try commit.openWindow(until: end, reason: "opened by init")
        }
        let taken = try lists.map { path in
            try Recovery.takeOver(path, of: authority, temporary: directory.path, log) { try self.commit(authority, context, $0) }
        }
        let plan = try self.commit(authority, context) { commit in
            let plan = try commit.planRevocationList()
            try commit.confirmScheduled(plan)
            try commit.checkpoint()
            return plan
        }
        try authority.publish(plan, in: directory)
        let state = authority.state
        try store.close()
        guard note?.origin == .recovered || !lists.isEmpty else { return [] }
        return [.init("crls", .array(taken)), .init("recovery", state.recoveryNote.map(\.json) ?? .null)]
    }

    @discardableResult
    private static func commit<Value: Sendable>(
        _ authority: Authority, _ context: RequestContext, _ body: @escaping @Sendable (inout Commit) throws -> Value
    ) throws -> Value {
        guard let result = authority.commit([Change(context, needs: .local, run: body)]).results.first else {
            throw CoreError("the store did not answer")
        }
        return try result.get()
    }

    // MARK: An existing CA

    /// `init` on a directory that holds a CA changes nothing; what is asked must not contradict it.
    private static func confirm(_ request: InitialiseRequest, _ directory: DataDirectory, _ log: Logger) throws -> JSON {
        let der = try OpenedAuthority.readCertificate(directory)
        let certificate = try Certificate(derEncoded: der)
        var key = [UInt8]()
        if let pem = request.authorityCertificatePEM, PEM.decodeFirst(pem, labels: ["CERTIFICATE"]) != der {
            throw CoreError("\(directory.path) holds another CA than the one to import; choose an empty directory with --data-dir")
        }
        let configuration = try OpenedAuthority.readConfiguration(directory)
        if let text = request.seed ?? configuration.seedInFile?.text {
            let root = try SeedRoot(try Seed(text: text, allowWeak: true))
            let gives = try KeyType.allCases.contains { type in
                // RSA derivation takes seconds: only the certificate's own type is worth trying.
                guard AuthorityKeyMatch.mayBe(type, certificate.publicKey) else { return false }
                key = try root.caKey(type, generation: 0).subjectPublicKeyInfoDER
                return try Certificate.PublicKey(derEncoded: key) == certificate.publicKey
            }
            guard gives else {
                throw CoreError(
                    "The seed contradicts the CA in \(directory.path), which was not made from it; give its own seed, or another --data-dir"
                )
            }
            if configuration.seedInFile != nil {
                try OpenedAuthority.removeSeed(from: directory)
                log.notice("the seed was taken out of ca.config.yml")
            }
        }
        let subject = PKI.DistinguishedName(certificate.subject)
        var warnings: [String] = []
        if let wanted = request.subject.flatMap({ PKI.DistinguishedName.parse($0) }), wanted != subject {
            warnings.append("the CA is there already and keeps its subject \(subject)")
        }
        if !request.lists.isEmpty {
            warnings.append("the CA is there already, and no CRL was read; while it runs a CRL is taken over with: ca-ctl crl import FILE")
        }
        let members: [JSON.Member] = [
            .init("created", false), .init("data_dir", .string(directory.path)), .init("subject", .string(subject.slashNotation)),
            .init("fingerprint", .string(Issuer.displayFingerprint(of: der))),
            .init("not_after", .string(UnixTime(Int64(certificate.notValidAfter.timeIntervalSince1970)).rfc3339)),
            .init("key_type", .string(AuthorityKeyMatch.name(certificate.publicKey))),
            .init("warnings", .array(warnings.map { .string($0) })),
        ]
        return .object(members)
    }

    private static func description(_ issuer: Issuer, _ type: KeyType?, created: Bool, _ directory: DataDirectory) -> [JSON.Member] {
        [
            .init("created", .bool(created)), .init("data_dir", .string(directory.path)),
            .init("subject", .string(issuer.name.slashNotation)),
            .init("fingerprint", .string(issuer.displayFingerprint)), .init("not_after", .string(issuer.notAfter.rfc3339)),
            .init("key_type", .string(type?.rawValue ?? "unknown")),
        ]
    }
}
