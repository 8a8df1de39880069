// From the text of ca.config.yml, environment and flags to a checked configuration.

private import PKI

/// What the command line sets; every value goes before environment and file.
public struct ConfigurationFlags: Sendable, Equatable {
    /// `--host`.
    public var host: String?
    /// `--port`.
    public var port: Int?
    /// `--key-type`.
    public var keyType: String?
    /// `--log-format`.
    public var logFormat: String?
    /// `--log-level`.
    public var logLevel: String?

    public init(host: String? = nil, port: Int? = nil, keyType: String? = nil, logFormat: String? = nil, logLevel: String? = nil) {
        self.host = host
        self.port = port
        self.keyType = keyType
        self.logFormat = logFormat
        self.logLevel = logLevel
    }
}

extension Configuration {
    /// Reads the text of a configuration file, with nothing over it.
    ///
    /// - Parameters:
    ///   - bytes: UTF-8 of at most `YAMLText.sizeLimit` bytes.
    ///   - file: what messages call the file.
    /// - Throws: everything that is wrong with the file, with line and what is allowed.
    public static func parse(_ bytes: [UInt8], file: String) throws(SettingsError) -> Configuration {
        try self.load(bytes, file: file, environment: [:], flags: ConfigurationFlags())
    }

    /// Reads the text of a configuration file, with nothing over it.
    public static func parse(_ text: String, file: String) throws(SettingsError) -> Configuration {
        try self.parse(Array(text.utf8), file: file)
    }

    /// The configuration from flags over environment over file over defaults.
    ///
    /// - Parameters:
    ///   - bytes: the file's bytes, nil where there is none.
    ///   - file: what messages call the file.
    ///   - environment: the program's environment; `UPKI_CA_HOST` is read here, the other variables by `Locations` and `StartInputs`.
    ///   - flags: what the command line sets.
    /// - Throws: everything that is wrong with any of them.
    public static func load(
        _ bytes: [UInt8]?, file: String, environment: [String: String], flags: ConfigurationFlags
    ) throws(SettingsError) -> Configuration {
        let problems = ProblemList(source: file)
        var reading = ConfigurationReading(problems: problems)
        if let bytes { reading.read(try YAMLText.parse(bytes, problems: problems)) }
        reading.apply(environment: environment)
        reading.apply(flags)
        reading.checkListener()
        try problems.throwIfAny()
        return reading.configuration
    }
}

/// A configuration in the making, with what is wrong with it so far.
private struct ConfigurationReading {
    var configuration = Configuration()
    let problems: ProblemList
    private var securityLine: Int?
    /// A host that could not be read needs no second refusal.
    private var hostIsKnown = true
    private var nodesAreKnown = true
    private var securityIsKnown = true

    init(problems: ProblemList) {
        self.problems = problems
    }

    // MARK: The file

    mutating func read(_ tree: Setting) {
        guard var map = SettingMap(tree, path: "", problems: self.problems) else { return }
        self.readNames(&map)
        self.readListener(&map)
        self.readSecrets(&map)
        self.readKey(&map)
        self.readIssuing(&map)
        self.readStore(&map)
        self.readLog(&map)
        map.finish()
    }

    private mutating func readNames(_ map: inout SettingMap) {
        let company = map.takeString("company", allowed: "text of 1 to 64 characters") { text in
            (1...64).contains(text.unicodeScalars.count) && printable(text) == text
        }
        self.configuration.company = company ?? self.configuration.company
        let domain = map.takeString("domain", allowed: "a domain such as example.com", where: isHostName)
        self.configuration.domain = domain ?? self.configuration.domain
    }

    private static let hostAllowed = "an IP address or localhost"

    private static func address(ofHost text: String) -> HostAddress? {
        asciiLowercased(text) == "localhost" ? HostAddress.loopback : HostAddress(text)
    }

    private mutating func readListener(_ map: inout SettingMap) {
        if let setting = map.take("host") {
            if case .string(let text) = setting.value, let host = Self.address(ofHost: text) {
                self.configuration.host = host
            } else {
                self.hostIsKnown = false
                map.refuse("host", setting, Self.hostAllowed + " is allowed")
            }
        }
        if let port = map.takeInt("port", 1...65535) {
            self.configuration.port = port
            if port == 65535 { self.problems.add(map.line("port"), Self.lastPort) }
        }
        self.configuration.clients = map.takeChoice("clients", Configuration.ClientsMode.self) ?? self.configuration.clients
        self.configuration.security = map.takeChoice("security", Configuration.Security.self)
        self.securityLine = map.line("security")
        self.securityIsKnown = self.configuration.security != nil || map.take("security") == nil
        self.readNodes(&map)
        self.readListeners(&map)
        self.readAdvertised(&map)
        self.readLimits(&map)
    }

    private static let lastPort = "port is 65535; the registrar listens on the next one, so that 65534 is the highest"

    private mutating func readNodes(_ map: inout SettingMap) {
        let problems = self.problems
        let allowed = "a list of {address: <IP address>, node: <CN>} is allowed"
        var addresses: [HostAddress: Int?] = [:]
        var names: Set<String> = []
        var isComplete = true
        let nodes = map.takeList("nodes", allowed: allowed) { (item: Setting) -> Configuration.FixedNode?? in
            guard case .map = item.value, var entry = SettingMap(item, path: "nodes", problems: problems) else { return nil }
            let address = entry.takeString("address", allowed: "an IP address") { HostAddress($0) != nil }.flatMap { HostAddress($0) }
            let node = entry.takeString("node", allowed: "a CN of 1 to 64 characters") { text in
                (1...64).contains(text.unicodeScalars.count) && printable(text) == text
            }
            for key in ["address", "node"] where entry.take(key) == nil {
                problems.add(item.line, "an entry of nodes has no \(key); \(allowed)")
            }
            entry.finish()
            guard let address, let node else {
                isComplete = false
                return .some(nil)
            }
            // One binding belongs to one node, and a node has one binding.
            if addresses.updateValue(item.line, forKey: address) != nil {
                problems.add(item.line, "nodes names the address \(address) twice; an address belongs to one node")
            }
            if !names.insert(node).inserted {
                problems.add(item.line, "nodes names the node \(printable(node)) twice; a node has one address")
            }
            return Configuration.FixedNode(address: address, node: node)
        }
        self.nodesAreKnown = isComplete && (nodes != nil || map.take("nodes") == nil)
        self.configuration.nodes = (nodes ?? []).compactMap { $0 }
    }

    private mutating func readListeners(_ map: inout SettingMap) {
        let problems = self.problems
        let allowed = "a list of {address: <IP address>, security: plain or curve} is allowed"
        let listeners = map.takeList("listeners", allowed: allowed) { (item: Setting) -> (Configuration.Listener, Int?)?? in
            guard case .map = item.value, var entry = SettingMap(item, path: "listeners", problems: problems) else { return nil }
            let address = entry.takeString("address", allowed: "an IP address") { HostAddress($0) != nil }.flatMap { HostAddress($0) }
            let security = entry.takeChoice("security", Configuration.Security.self)
            for key in ["address", "security"] where entry.take(key) == nil {
                problems.add(item.line, "an entry of listeners has no \(key); \(allowed)")
            }
            entry.finish()
            guard let address, let security else { return .some(nil) }
            return (Configuration.Listener(address: address, security: security), item.line)
        }
        guard let listeners else { return }
        let known = listeners.compactMap { $0 }
        if listeners.isEmpty { problems.add(map.line("listeners"), "listeners is empty; \(allowed)") }
        for key in ["host", "security"] where map.line(key) != nil {
            problems.add(map.line(key), "\(key) and listeners both say where the CA listens; take \(key) out")
        }
        self.checkListeners(known)
        guard !known.isEmpty, known.count == listeners.count else { return }
        self.configuration.writtenListeners = known.map { $0.0 }
        // What stands for all of them where one address is shown.
        if let first = known.first(where: { $0.0.address.isLoopback }) ?? known.first { self.configuration.host = first.0.address }
    }

    private func checkListeners(_ listeners: [(Configuration.Listener, Int?)]) {
        var seen: Set<HostAddress> = []
        for (listener, line) in listeners {
            if !seen.insert(listener.address).inserted {
                self.problems.add(
                    line, "listeners names \(listener.address) twice; a port of an address is either plain or curve: list each address once"
                )
            }
            if listener.address.isWildcard, listeners.count > 1 {
                self.problems.add(
                    line,
                    "listeners has \(listener.address), every address of this host, beside others: one port cannot be had both ways, "
                        + "since the wildcard takes it on all of them; name each address")
            }
            if listener.security == .plain, !listener.address.isLoopback, self.configuration.nodes.isEmpty, self.nodesAreKnown {
                self.problems.add(
                    line,
                    "security is plain on \(listener.address), which is not loopback; "
                        + "this needs nodes, a list of {address: <IP address>, node: <CN>}; curve needs none")
            }
        }
    }

    private mutating func readAdvertised(_ map: inout SettingMap) {
        let allowed = "an IP address or a host name is allowed, at most 8 of them"
        let names = map.takeStrings("advertise", allowed: allowed) { text -> String? in
            if let address = HostAddress(text) { return address.isWildcard ? nil : address.description }
            return isHostName(text) ? text : nil
        }
        if let names, names.count > 8 { self.problems.add(map.line("advertise"), "advertise has \(names.count) entries; \(allowed)") }
        self.configuration.advertise = names ?? []
    }

    private mutating func readLimits(_ map: inout SettingMap) {
        guard var limits = map.takeMap("limits") else { return }
        var read = Configuration.Limits()
        let counts: [(String, WritableKeyPath<Configuration.Limits, Int>, ClosedRange<Int>, String)] = [
            ("connections", \.connections, 16...65_536, "a number"),
            ("connections_per_address", \.connectionsPerAddress, 1...65_536, "a number"),
            ("connection_rate", \.connectionRate, 0...1_000_000, "a number of connections a second, 0 for no limit,"),
            ("message_size", \.messageSize, 64...1_024, "a number of KiB"),
            ("requests", \.requests, 64...100_000, "a number"),
            ("requests_per_identity", \.requestsPerIdentity, 1...100_000, "a number"),
            ("requests_per_address", \.requestsPerAddress, 1...100_000, "a number"),
            ("bytes_per_identity", \.bytesPerIdentity, 1...1_024, "a number of MiB"),
            ("bytes_per_address", \.bytesPerAddress, 1...1_024, "a number of MiB"),
            ("rate_per_identity", \.ratePerIdentity, 0...10_000_000, "a number of requests a second, 0 for no limit,"),
            ("rate_per_address", \.ratePerAddress, 0...10_000_000, "a number of requests a second, 0 for no limit,"),
            ("stranger_rate", \.strangerRate, 0...10_000_000, "a number of requests a second, 0 for no limit,"),
        ]
        for (key, path, range, unit) in counts { read[keyPath: path] = limits.takeInt(key, range, of: unit) ?? read[keyPath: path] }
        let handshake = limits.takeDuration("handshake", 1...60, unit: 1, allowed: "a duration from 1s to 60s, or a number of seconds,")
        read.handshake = handshake ?? read.handshake
        limits.finish()
        self.configuration.limits = read
    }

    private mutating func readSecrets(_ map: inout SettingMap) {
        if map.take("password") != nil {
            self.problems.add(
                map.line("password"),
                "a password in the configuration is refused; "
                    + "write it into a file of its own with mode 0600 and name that file as password_file"
            )
        }
        self.configuration.passwordFile = map.takeString("password_file", allowed: "the path of a file") {
            !$0.isEmpty && !$0.utf8.contains(0)
        }
        if let seed = map.take("seed") {
            if case .string(let text) = seed.value, !text.isEmpty {
                self.configuration.seedInFile = SecretText(text)
            } else {
                // Without the value: it may be the seed all the same, only unquoted.
                self.problems.add(seed.line, "seed is no text; a seed is allowed, in quotes")
            }
        }
        let storage = map.takeChoice("key_storage", Configuration.KeyStorage.self)
        let hasPassword = self.configuration.passwordFile != nil
        self.configuration.keyStorage = storage ?? (hasPassword ? .encrypted : .file)
        if let storage, storage != .encrypted, hasPassword {
            self.problems.add(
                map.line("password_file"), "password_file is of no use with key_storage: \(storage.rawValue); encrypted uses it")
        }
    }

    private mutating func readKey(_ map: inout SettingMap) {
        let types = Configuration.AuthorityKeyType.allCases.map(\.rawValue)
        let allowed = alternatives(types) + " is allowed, or rsa with a key_length of 2048, 3072 or 4096"
        let type = map.take("key_type")
        let length = map.take("key_length")
        switch type?.value {
        case nil:
            if let length { map.refuse("key_length", length, "it needs key_type: rsa beside it") }
        case .string("rsa"):
            // 4096 is the reference's default.
            let bits = length.map { $0.value } ?? .int(4096)
            if case .int(let number) = bits, let found = Configuration.AuthorityKeyType(rawValue: "rsa-\(number)") {
                self.configuration.keyType = found
            } else if let length {
                map.refuse("key_length", length, "2048, 3072 or 4096 is allowed")
            }
        case .string(let text):
            guard let found = Configuration.AuthorityKeyType(rawValue: text) else {
                if let type { map.refuse("key_type", type, allowed) }
                return
            }
            self.configuration.keyType = found
            if let length, text == "ed25519" || length.value != .int(Int(text.drop(while: { $0 != "-" }).filter(\.isNumber)) ?? 0) {
                map.refuse("key_length", length, "it belongs to key_type: rsa alone; \(text) says its own length")
            }
        default:
            if let type { map.refuse("key_type", type, allowed) }
        }
    }

    private mutating func readIssuing(_ map: inout SettingMap) {
        self.configuration.digest = map.takeChoice("digest", SignatureDigest.self) ?? self.configuration.digest
        let validity = map.takeDuration(
            "crl_validity", 3600...365 * 86_400, unit: 86_400, allowed: "a number of days from 1 to 365, or a duration such as 12h,"
        )
        self.configuration.crlValidity = validity ?? self.configuration.crlValidity
        if var registration = map.takeMap("registration") {
            let allowed =
                "a profile's name is allowed, but not ca or admin, which only an admin can have issued, nor ocsp, which only the OCSP bridge can"
            let profiles = registration.takeStrings("profiles", allowed: allowed) { name -> String? in
                let canonical = CertificateProfile.canonicalName(name)
                let isPrivileged = canonical == "ca" || canonical == "admin" || CertificateProfile.reservedNames.contains(canonical)
                return CertificateProfile.isValidName(name) && !isPrivileged ? canonical : nil
            }
            self.configuration.registrationProfiles = profiles ?? self.configuration.registrationProfiles
            self.configuration.acceptSeedInClear = registration.takeBool("accept_seed_in_clear") ?? false
            registration.finish()
        }
        if var publication = map.takeMap("publication") {
            let url = publication.takeString(
                "base_url",
                allowed: "an http or https URL without query, and without ocsp as a part of its path, such as http://pki.example.com"
            ) {
                Self.baseURL($0) != nil
            }
            self.configuration.publicationBaseURL = url.flatMap(Self.baseURL)
            publication.finish()
        }
        if var revocation = map.takeMap("revocation") {
            self.configuration.release = revocation.takeChoice("release", Configuration.Release.self) ?? .hold
            revocation.finish()
        }
        self.readOCSP(&map)
        if var names = map.takeMap("names") {
            let allowed = "a name, or *.suffix for every name below one, is allowed"
            let blocked = names.takeStrings("blocked", allowed: allowed) { NamePattern($0) }
            self.configuration.blockedNames = blocked ?? self.configuration.blockedNames
            names.finish()
        }
    }

    private mutating func readOCSP(_ map: inout SettingMap) {
        guard var ocsp = map.takeMap("ocsp") else { return }
        // The responder's certificate is never closer than 24 h to its end, so that no answer outlives it.
        let validity = ocsp.takeDuration("validity", 60...86_400, unit: 1, allowed: "a duration from 60s to 24h, or a number of seconds,")
        self.configuration.ocspValidity = validity ?? self.configuration.ocspValidity
        let longest = self.configuration.ocspValidity
        for (key, path) in [("max_age", \Configuration.ocspMaxAge), ("offline_grace", \Configuration.ocspOfflineGrace)] {
            let seconds = ocsp.takeDuration(key, 0...86_400, unit: 1, allowed: "a duration from 0s to 24h, or a number of seconds,")
            self.configuration[keyPath: path] = seconds ?? min(self.configuration[keyPath: path], longest)
            if let seconds, seconds > longest {
                self.problems.add(ocsp.line(key), "ocsp.\(key) is \(seconds) s; at most ocsp.validity (\(longest) s) is allowed")
            }
        }
        self.configuration.ocspNonce = ocsp.takeChoice("nonce", Configuration.OCSPNonce.self) ?? self.configuration.ocspNonce
        self.configuration.ocspCacheMiB = ocsp.takeInt("cache", 1...65_536, of: "a number of MiB") ?? self.configuration.ocspCacheMiB
        self.configuration.ocspConnections = ocsp.takeInt("connections", 1...60_000) ?? self.configuration.ocspConnections
        self.readOCSPSocket(&ocsp)
        ocsp.finish()
    }

    private mutating func readOCSPSocket(_ ocsp: inout SettingMap) {
        guard var socket = ocsp.takeMap("socket") else { return }
        self.configuration.ocspSocketOwner = socket.takeString("owner", allowed: "the name of a user", where: Self.isAccountName)
        self.configuration.ocspSocketGroup = socket.takeString("group", allowed: "the name of a group", where: Self.isAccountName)
        if let setting = socket.take("mode") {
            if let mode = Self.socketMode(setting.value) {
                self.configuration.ocspSocketMode = mode
            } else {
                socket.refuse("mode", setting, "permission bits such as 0660, with those of the owner and none for execution, are allowed")
            }
        }
        socket.finish()
    }

    /// A name or a number, as programs that look accounts up take it.
    private static func isAccountName(_ text: String) -> Bool {
        (1...64).contains(text.utf8.count) && text.utf8.first != UInt8(ascii: "-")
            && text.utf8.allSatisfy { byte in
                (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte) || "._-$".utf8.contains(byte)
            }
    }

    /// Digits are octal, as chmod has them, whether YAML takes them for a number or, in quotes, for text.
    private static func socketMode(_ value: SettingValue) -> Int? {
        let digits: String
        switch value {
        case .string(let text): digits = text
        case .int(let number): digits = String(number)
        default: return nil
        }
        guard digits.utf8.count <= 4, let mode = Int(digits, radix: 8), mode & 0o600 == 0o600, mode & ~0o666 == 0 else { return nil }
        return mode
    }

    private mutating func readStore(_ map: inout SettingMap) {
        guard var store = map.takeMap("store") else { return }
        let reserve = store.takeInt("reserve", 0...65_536, of: "a number of MiB")
        self.configuration.storeReserve = reserve ?? self.configuration.storeReserve
        store.finish()
    }

    private mutating func readLog(_ map: inout SettingMap) {
        guard var log = map.takeMap("log") else { return }
        self.configuration.logFormat = log.takeChoice("format", Configuration.LogFormat.self) ?? self.configuration.logFormat
        self.configuration.logLevel = log.takeChoice("level", Configuration.LogLevel.self) ?? self.configuration.logLevel
        log.finish()
    }

    /// The URL without a slash at its end; nil for what cannot begin a URL of ours.
    private static func baseURL(_ text: String) -> String? {
        guard let scheme = ["http://", "https://"].first(where: { text.hasPrefix($0) }), text.utf8.count <= 1000 else { return nil }
        var url = text
        while url.hasSuffix("/"), url.utf8.count > scheme.utf8.count { url.removeLast() }
        let rest = url.dropFirst(scheme.count)
        let authority = rest.prefix { $0 != "/" }
        let path = rest.dropFirst(authority.count)
        let isPath = path.utf8.allSatisfy { byte in
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
            default: "/-._~%!$&'()*+,;=:@".utf8.contains(byte)
            }
        }
        // Below a component of this name the bridge takes whatever comes for an OCSP request: there would be no CRL.
        guard isPath, !path.split(separator: "/").contains("ocsp"), self.isAuthority(authority) else { return nil }
        return url
    }

    /// A host name or address with an optional port; no user, since the URL stands in certificates.
    private static func isAuthority(_ text: Substring) -> Bool {
        var host = text
        if host.hasPrefix("[") {
            guard let end = host.firstIndex(of: "]") else { return false }
            let rest = host[host.index(after: end)...]
            return HostAddress(String(host[host.index(after: host.startIndex)..<end]))?.isIPv6 ?? false
                && (rest.isEmpty || rest.hasPrefix(":") && self.isPort(rest.dropFirst()))
        }
        if let colon = host.firstIndex(of: ":") {
            guard self.isPort(host[host.index(after: colon)...]) else { return false }
            host = host[..<colon]
        }
        return isHostName(String(host))
    }

    private static func isPort(_ text: Substring) -> Bool {
        text.utf8.allSatisfy { (0x30...0x39).contains($0) } && (1...65535).contains(Int(text) ?? 0)
    }

    // MARK: Environment and flags

    mutating func apply(environment: [String: String]) {
        if let host = environment["UPKI_CA_HOST"], !host.isEmpty { self.apply(host: host, from: "UPKI_CA_HOST") }
    }

    mutating func apply(_ flags: ConfigurationFlags) {
        if let host = flags.host { self.apply(host: host, from: "--host") }
        if let port = flags.port {
            if !(1...65535).contains(port) {
                self.refuse("--port", "port is \(port); a number from 1 to 65535 is allowed")
            } else if port == 65535 {
                self.refuse("--port", Self.lastPort)
            } else {
                self.configuration.port = port
            }
        }
        if let type: Configuration.AuthorityKeyType = self.choice(flags.keyType, "key type", "--key-type") {
            self.configuration.keyType = type
        }
        if let format: Configuration.LogFormat = self.choice(flags.logFormat, "log format", "--log-format") {
            self.configuration.logFormat = format
        }
        if let level: Configuration.LogLevel = self.choice(flags.logLevel, "log level", "--log-level") {
            self.configuration.logLevel = level
        }
    }

    private mutating func apply(host text: String, from source: String) {
        // One address in the place of all that the file names.
        self.configuration.writtenListeners = nil
        guard let host = Self.address(ofHost: text) else {
            self.hostIsKnown = false
            self.refuse(source, "host is \(shown(.string(text))); \(Self.hostAllowed) is allowed")
            return
        }
        self.hostIsKnown = true
        self.configuration.host = host
    }

    private func choice<Choice: RawRepresentable & CaseIterable>(_ text: String?, _ name: String, _ source: String) -> Choice?
    where Choice.RawValue == String {
        guard let text else { return nil }
        if let choice = Choice(rawValue: text) { return choice }
        self.refuse(source, "\(name) is \(shown(.string(text))); \(alternatives(Choice.allCases.map(\.rawValue))) is allowed")
        return nil
    }

    private func refuse(_ source: String?, line: Int? = nil, _ message: String) {
        self.problems.add(SettingsError.Problem(source: source, line: line, message: message))
    }

    // MARK: Rules over several settings

    /// Whether the host may be listened on with the security that is asked for.
    func checkListener() {
        guard self.hostIsKnown, self.securityIsKnown else { return }
        let host = self.configuration.host
        // With a list, each of its entries has been looked at.
        guard self.configuration.writtenListeners == nil else { return }
        guard self.configuration.security == .plain, !host.isLoopback, self.configuration.nodes.isEmpty, self.nodesAreKnown else { return }
        self.refuse(
            self.problems.source, line: self.securityLine,
            "security is plain and host is \(host), which is not loopback; "
                + "this needs nodes, a list of {address: <IP address>, node: <CN>}")
    }
}
