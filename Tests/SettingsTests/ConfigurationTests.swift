import PKI
import Settings
import Testing

@Suite("ca.config.yml")
struct ConfigurationTests {
    @Test("the default text reads as the defaults")
    func defaults() throws {
        var expected = Configuration()
        expected.keyType = .ecP256
        #expect(try Configuration.parse(Configuration.defaultText(), file: "ca.config.yml") == expected)
        #expect(try Configuration.parse("", file: "ca.config.yml") == Configuration())
        #expect(Configuration().host.description == "127.0.0.1")
        #expect(Configuration().registrarPort == 5001)
        #expect(Configuration().blockedNames.map(\.description) == ["localhost", "local", "*.invalid"])
        #expect(Configuration().ocspMaxAge == 300)
        #expect(Configuration().ocspOfflineGrace == 60)
        #expect(Configuration().crlValidity == 604_800)
        #expect(Configuration().registrationProfiles == ["ra"])
    }

    @Test("the default text holds what it is given, and what it shows as commented out is true once the comment is taken away")
    func defaultText() throws {
        let text = Configuration.defaultText(
            company: "A \"B\": #1", domain: "lab.example", host: "127.0.0.5", port: 6000, keyType: .rsa3072)
        let configuration = try Configuration.parse(text, file: "ca.config.yml")
        #expect(configuration.company == "A \"B\": #1")
        #expect(configuration.domain == "lab.example")
        #expect(configuration.host.description == "127.0.0.5")
        #expect(configuration.port == 6000)
        #expect(configuration.keyType == .rsa3072)
        // Sentences in the comments have no "key:" behind the "# ".
        let shown = text.split(separator: "\n").filter { $0.hasPrefix("# ") && !$0.contains("password_file: ") }.map { $0.dropFirst(2) }
            // These say otherwise what host and security say; the next test has them.
            .filter {
                !$0.hasPrefix("listeners:") && !$0.hasPrefix("  - {address: 127.0.0.1,")
                    && !$0.hasPrefix("  - {address: 192.0.2.10, security")
            }
            .filter { $0.hasPrefix("  ") || $0.split(separator: ":").first.map { !$0.contains(" ") } ?? false }
        var settings = try Configuration.parse(shown.joined(separator: "\n"), file: "x")
        #expect(settings.publicationBaseURL == "http://pki.example.com")
        #expect(settings.nodes.map(\.node) == ["ra.example.com"])
        settings.publicationBaseURL = nil
        settings.nodes = []
        settings.security = nil
        #expect(settings.advertise == ["ca.example.com"])
        settings.advertise = []
        #expect(settings.ocspSocketGroup == "www-data")
        settings.ocspSocketGroup = nil
        #expect(settings == Configuration())
    }

    @Test("without a word an address is plain on loopback and CURVE elsewhere; a list says it for each; a flag takes the list's place")
    func listeners() throws {
        func told(_ text: String, host: String? = nil) throws -> [String] {
            try Configuration.load(Array(text.utf8), file: "x", environment: [:], flags: ConfigurationFlags(host: host)).listeners.map {
                "\($0.address) \($0.security.rawValue)"
            }
        }
        #expect(try told("company: x") == ["127.0.0.1 plain"])
        #expect(try told("host: 192.0.2.1") == ["192.0.2.1 curve"])
        #expect(try told("host: 0.0.0.0") == ["0.0.0.0 curve"])
        #expect(try told("host: 127.0.0.1\nsecurity: curve") == ["127.0.0.1 curve"])
        #expect(try told("host: 192.0.2.1\nsecurity: plain\nnodes: [{address: 192.0.2.7, node: a}]") == ["192.0.2.1 plain"])
        let both = "listeners:\n  - {address: 127.0.0.1, security: plain}\n  - {address: 192.0.2.10, security: curve}\n"
        #expect(try told(both) == ["127.0.0.1 plain", "192.0.2.10 curve"])
        #expect(try told(both, host: "192.0.2.3") == ["192.0.2.3 curve"])
        #expect(try Configuration.parse(both, file: "x").advertised == ["192.0.2.10"])
        #expect(
            try Configuration.parse(both + "advertise: [ca.example.com, 198.51.100.1]", file: "x").advertised == [
                "ca.example.com", "198.51.100.1",
            ])
        #expect(try Configuration.parse("host: 0.0.0.0", file: "x").advertised == [])
    }

    @Test("every key is read")
    func everyKey() throws {
        let text = """
            company: ACME
            domain: acme.example
            host: 0.0.0.0
            port: 5100
            clients: manual
            security: plain
            nodes:
              - {address: 192.0.2.7, node: ra.acme.example}
              - address: 2001:DB8:0:0::1
                node: second
            password_file: /run/secrets/p
            key_storage: encrypted
            seed: "it is a long seed"
            key_type: rsa
            key_length: 2048
            digest: sha512
            crl_validity: 12h
            registration:
              profiles: [ra, client]
              accept_seed_in_clear: true
            publication: {base_url: "http://pki.acme.example:8080/x/"}
            revocation: {release: any}
            ocsp:
              {validity: 6h, max_age: 120, offline_grace: 1m, nonce: require, cache: 256, connections: 20000,
               socket: {owner: upki-ocsp, group: www-data, mode: 0666}}
            names: {blocked: [intern, "*.test"]}
            log: {format: json, level: debug}
            """
        let configuration = try Configuration.parse(text, file: "x")
        var expected = Configuration()
        expected.company = "ACME"
        expected.domain = "acme.example"
        expected.host = try #require(HostAddress("0.0.0.0"))
        expected.port = 5100
        expected.clients = .manual
        expected.security = .plain
        expected.nodes = [
            .init(address: try #require(HostAddress("192.0.2.7")), node: "ra.acme.example"),
            .init(address: try #require(HostAddress("2001:db8::1")), node: "second"),
        ]
        expected.passwordFile = "/run/secrets/p"
        expected.keyStorage = .encrypted
        expected.seedInFile = SecretText("it is a long seed")
        expected.keyType = .rsa2048
        expected.digest = .sha512
        expected.crlValidity = 43_200
        expected.registrationProfiles = ["ra", "user"]
        expected.acceptSeedInClear = true
        expected.publicationBaseURL = "http://pki.acme.example:8080/x"
        expected.release = .any
        expected.ocspValidity = 21_600
        expected.ocspMaxAge = 120
        expected.ocspOfflineGrace = 60
        expected.ocspNonce = .require
        expected.ocspCacheMiB = 256
        expected.ocspConnections = 20_000
        expected.ocspSocketOwner = "upki-ocsp"
        expected.ocspSocketGroup = "www-data"
        expected.ocspSocketMode = 0o666
        expected.blockedNames = ["intern", "*.test"].compactMap { NamePattern($0) }
        expected.logFormat = .json
        expected.logLevel = .debug
        #expect(configuration == expected)
        #expect(configuration.warnings.count == 2)
        #expect(configuration.warnings[0].contains("192.0.2.7 (ra.acme.example), 2001:db8::1 (second)"))
    }

    @Test("the file that the reference writes by itself is read, up to its refused key")
    func reference() throws {
        // yaml.safe_dump of the reference's DEFAULT_CONFIG.
        let text = """
            clients: register
            company: Company Name
            crl_validity: 7
            digest: sha256
            domain: example.com
            host: 127.0.0.1
            key_length: 4096
            key_type: rsa
            password: null
            port: 5000
            seed: null
            """
        var expected = Configuration()
        expected.keyType = .rsa4096
        #expect(try Configuration.parse(text, file: "x") == expected)
    }

    @Test(
        "what is refused is refused with file, line and what is allowed",
        arguments: [
            ("\n# c\nport: 70000", "ca.config.yml:3: port is 70000; a number from 1 to 65535 is allowed"),
            ("port: \"5000\"", "ca.config.yml:1: port is \"5000\"; a number from 1 to 65535 is allowed"),
            ("port: 65535", "ca.config.yml:1: port is 65535; the registrar listens on the next one, so that 65534 is the highest"),
            ("prot: 5000", "ca.config.yml:1: unknown key prot; did you mean port? allowed are company, domain, host, port"),
            ("host: ca.example.com", "ca.config.yml:1: host is ca.example.com; an IP address or localhost is allowed"),
            ("company: 12", "ca.config.yml:1: company is 12; text of 1 to 64 characters is allowed (in quotes, since it is meant as text)"),
            ("clients: some", "ca.config.yml:1: clients is some; all, register or manual is allowed"),
            ("key_type: dsa", "ca.config.yml:1: key_type is dsa; ec-p256, ec-p384, ed25519, rsa-2048, rsa-3072 or rsa-4096 is allowed"),
            ("key_type: ec-p521", "ca.config.yml:1: key_type is ec-p521; ec-p256"),
            ("key_type: rsa\nkey_length: 1024", "ca.config.yml:2: key_length is 1024; 2048, 3072 or 4096 is allowed"),
            ("key_length: 2048", "ca.config.yml:1: key_length is 2048; it needs key_type: rsa beside it"),
            ("key_type: ec-p256\nkey_length: 4096", "ca.config.yml:2: key_length is 4096; it belongs to key_type: rsa alone"),
            ("digest: md5", "ca.config.yml:1: digest is md5; sha256, sha384 or sha512 is allowed"),
            ("digest: sha1", "ca.config.yml:1: digest is sha1; sha256, sha384 or sha512 is allowed"),
            (
                "crl_validity: 0",
                "ca.config.yml:1: crl_validity is 0; a number of days from 1 to 365, or a duration such as 12h, is allowed"
            ),
            ("crl_validity: 9223372036854775807", "ca.config.yml:1: crl_validity is 9223372036854775807; a number of days"),
            ("password: hunter2", "ca.config.yml:1: a password in the configuration is refused; write it into a file of its own"),
            ("seed: 1234567890123456", "ca.config.yml:1: seed is no text; a seed is allowed, in quotes"),
            ("security: none", "ca.config.yml:1: security is none; plain or curve is allowed"),
            ("listeners: x", "ca.config.yml:1: listeners is x; a list is allowed: a list of {address"),
            ("listeners: []", "ca.config.yml:1: listeners is empty; a list of {address"),
            ("listeners:\n  - {address: 192.0.2.1}", "ca.config.yml:2: an entry of listeners has no security"),
            ("listeners:\n  - {address: ca.example, security: curve}", "ca.config.yml:2: listeners.address is ca.example; an IP address"),
            (
                "listeners:\n  - {address: 192.0.2.1, security: tls}",
                "ca.config.yml:2: listeners.security is tls; plain or curve is allowed"
            ),
            (
                "host: 127.0.0.1\nlisteners:\n  - {address: 192.0.2.1, security: curve}",
                "ca.config.yml:1: host and listeners both say where the CA listens; take host out"
            ),
            (
                "listeners:\n  - {address: 127.0.0.1, security: plain}\n  - {address: 0.0.0.0, security: curve}",
                "ca.config.yml:3: listeners has 0.0.0.0, every address of this host, beside others"
            ),
            (
                "listeners:\n  - {address: 127.0.0.1, security: plain}\n  - {address: 127.0.0.1, security: curve}",
                "ca.config.yml:3: listeners names 127.0.0.1 twice"
            ),
            (
                "listeners:\n  - {address: 192.0.2.1, security: plain}",
                "ca.config.yml:2: security is plain on 192.0.2.1, which is not loopback; this needs nodes"
            ),
            ("advertise: [0.0.0.0]", "ca.config.yml:1: an entry of advertise is 0.0.0.0; an IP address or a host name is allowed"),
            ("limits:\n  connections: 1", "ca.config.yml:2: limits.connections is 1; a number from 16 to 65536 is allowed"),
            ("limits: {connection: 100}", "ca.config.yml:1: unknown key limits.connection; did you mean connections?"),
            ("limits: {handshake: 5m}", "ca.config.yml:1: limits.handshake is 5m; a duration from 1s to 60s"),
            ("limits: {message_size: 4096}", "ca.config.yml:1: limits.message_size is 4096; a number of KiB from 64 to 1024 is allowed"),
            (
                "host: 0.0.0.0\nsecurity: plain",
                "ca.config.yml:2: security is plain and host is 0.0.0.0, which is not loopback; this needs nodes"
            ),
            ("nodes: x", "ca.config.yml:1: nodes is x; a list is allowed: a list of {address"),
            ("nodes:\n  - {address: 1.2.3, node: a}", "ca.config.yml:2: nodes.address is 1.2.3; an IP address is allowed"),
            ("nodes:\n  - {node: a}", "ca.config.yml:2: an entry of nodes has no address"),
            ("nodes:\n  - {address: 1.2.3.4, node: a, x: 1}", "ca.config.yml:2: unknown key nodes.x; allowed are address, node"),
            (
                "nodes:\n  - {address: 1.2.3.4, node: a}\n  - {address: \"::ffff:1.2.3.4\", node: b}",
                "ca.config.yml:3: nodes names the address 1.2.3.4 twice"
            ),
            ("nodes:\n  - {address: 1.2.3.4, node: a}\n  - {address: 1.2.3.5, node: a}", "ca.config.yml:3: nodes names the node a twice"),
            (
                "registration: {profiles: [admin]}",
                "ca.config.yml:1: an entry of registration.profiles is admin; a profile's name is allowed, but not ca"
            ),
            ("registration: {profiles: [../ra]}", "ca.config.yml:1: an entry of registration.profiles is ../ra; a profile's name"),
            ("registration: []", "ca.config.yml:1: registration is a list; a map of keys and values is allowed"),
            ("registration:\n  profile: [ra]", "ca.config.yml:2: unknown key registration.profile; did you mean profiles?"),
            ("publication: {base_url: \"ftp://x\"}", "ca.config.yml:1: publication.base_url is ftp://x; an http or https URL"),
            ("publication: {base_url: \"http://u:p@x/\"}", "ca.config.yml:1: publication.base_url is http://u:p@x/; an http"),
            ("publication: {base_url: \"http://x/?a\"}", "ca.config.yml:1: publication.base_url is http://x/?a; an http"),
            ("publication: {base_url: \"http://x/pki/ocsp\"}", "ca.config.yml:1: publication.base_url is http://x/pki/ocsp; an http"),
            ("publication: {base_url: \"http://\"}", "ca.config.yml:1: publication.base_url is http://; an http"),
            ("revocation: {release: all}", "ca.config.yml:1: revocation.release is all; hold or any is allowed"),
            (
                "ocsp: {validity: 2d}",
                "ca.config.yml:1: ocsp.validity is 2d; a duration from 60s to 24h, or a number of seconds, is allowed"
            ),
            ("ocsp: {nonce: always}", "ca.config.yml:1: ocsp.nonce is always; echo, ignore or require is allowed"),
            ("ocsp:\n  cache: 0", "ca.config.yml:2: ocsp.cache is 0; a number of MiB from 1 to 65536 is allowed"),
            ("ocsp: {cache: 64M}", "ca.config.yml:1: ocsp.cache is 64M; a number of MiB from 1 to 65536 is allowed"),
            ("ocsp: {connections: 60001}", "ca.config.yml:1: ocsp.connections is 60001; a number from 1 to 60000 is allowed"),
            ("ocsp:\n  socket: {owner: a b}", "ca.config.yml:2: ocsp.socket.owner is \"a b\"; the name of a user is allowed"),
            ("ocsp: {socket: {group: -R}}", "ca.config.yml:1: ocsp.socket.group is -R; the name of a group is allowed"),
            ("ocsp: {socket: {mode: 0o660}}", "ca.config.yml:1: ocsp.socket.mode is 0o660; permission bits such as 0660"),
            ("ocsp: {socket: {mode: 777}}", "ca.config.yml:1: ocsp.socket.mode is 777; permission bits such as 0660"),
            ("ocsp: {socket: {mode: 0060}}", "ca.config.yml:1: ocsp.socket.mode is 60; permission bits such as 0660"),
            ("ocsp: {socket: {mode: -660}}", "ca.config.yml:1: ocsp.socket.mode is -660; permission bits such as 0660"),
            ("ocsp: {socket: {mode: 4660}}", "ca.config.yml:1: ocsp.socket.mode is 4660; permission bits such as 0660"),
            ("ocsp: {socket: {user: x}}", "ca.config.yml:1: unknown key ocsp.socket.user; "),
            (
                "registration: {profiles: [ocsp]}",
                "ca.config.yml:1: an entry of registration.profiles is ocsp; a profile's name is allowed, but not ca"
            ),
            ("ocsp: {validity: 5 m}", "ca.config.yml:1: ocsp.validity is \"5 m\"; a duration"),
            ("ocsp: {validity: 99999999999999999d}", "ca.config.yml:1: ocsp.validity is 99999999999999999d; a duration"),
            ("ocsp:\n  validity: 1h\n  max_age: 2h", "ca.config.yml:3: ocsp.max_age is 7200 s; at most ocsp.validity (3600 s) is allowed"),
            ("names: {blocked: [\"*\"]}", "ca.config.yml:1: an entry of names.blocked is *; a name"),
            ("key_storage: hsm", "ca.config.yml:1: key_storage is hsm; file, encrypted or seed is allowed"),
            ("key_storage: seed\npassword_file: /x", "ca.config.yml:2: password_file is of no use with key_storage: seed"),
            ("log: {level: loud}", "ca.config.yml:1: log.level is loud; trace, debug, info, notice, warning, error or critical is allowed"),
            ("[a, b]", "ca.config.yml:1: the file is a list; a map of keys and values is allowed"),
            ("port: 1\nport: 2", "ca.config.yml:2: port is given twice; it stands on line 1 already"),
            ("{port: 1, port: 2}", "ca.config.yml:1: port is given twice"),
            ("log:\n  level: info\nport: 1\nlog:\n  level: info", "ca.config.yml:4: log is given twice; it stands on line 1 already"),
        ]
    )
    func refusals(text: String, expected: String) {
        let found = configurationProblems(text)
        #expect(found.count == 1, "\(found)")
        #expect(found.first?.hasPrefix(expected) ?? false, "\(found)")
    }

    @Test("all problems are named at once, in the order of their lines, duplicates among them")
    func allAtOnce() {
        let found = configurationProblems("port: 0\nprot: 1\nhost: x\nport: 5000\nlog:\n  level: x\n  level: y\ndigest: md5")
        #expect(found.map { $0.prefix(16) } == [1, 2, 3, 4, 6, 7, 8].map { "ca.config.yml:\($0):" })
    }

    @Test("no message and no description holds a seed or a password")
    func secrets() throws {
        let secret = "Tr0ub4dor-and-three"
        let texts = [
            "password: \(secret)", "seed: [\(secret)]", "seed: {a: \(secret)}", "seed: \(secret)\n\tport: 1", "seed: \"\(secret)",
            "seed: &a \(secret)",
            "seed: !x \(secret)", "seed: \(secret)\nport: x\nseed: \(secret)", "seed: - \(secret)", "seed: \(secret): b",
        ]
        for text in texts {
            let found = configurationProblems(text)
            #expect(!found.isEmpty, "\(text)")
            #expect(!found.joined().contains(secret), "\(found)")
        }
        let configuration = try Configuration.parse("seed: \(secret)", file: "x")
        #expect(configuration.seedInFile?.text == secret)
        #expect(!"\(configuration)".contains(secret))
        var dumped = ""
        dump(configuration, to: &dumped)
        #expect(!dumped.contains(secret))
        let inputs = try StartInputs(environment: ["UPKI_CA_SEED": secret])
        #expect(inputs.seed?.text == secret)
        #expect(!"\(inputs)\(String(reflecting: inputs))".contains(secret))
    }

    @Test("flags go before environment, environment before file, file before defaults")
    func precedence() throws {
        func host(_ file: String?, _ environment: [String: String], _ flag: String?) throws -> String {
            try Configuration.load(
                file.map { Array($0.utf8) }, file: "x", environment: environment, flags: ConfigurationFlags(host: flag)
            ).host.description
        }
        let environment = ["UPKI_CA_HOST": "127.0.0.3"]
        #expect(try host(nil, [:], nil) == "127.0.0.1")
        #expect(try host("host: 127.0.0.2", [:], nil) == "127.0.0.2")
        #expect(try host("host: 127.0.0.2", ["UPKI_CA_HOST": ""], nil) == "127.0.0.2")
        #expect(try host("host: 127.0.0.2", environment, nil) == "127.0.0.3")
        #expect(try host("host: 127.0.0.2", environment, "localhost") == "127.0.0.1")
        // The rule is about the host that counts in the end.
        #expect(try host("host: 0.0.0.0", environment, nil) == "127.0.0.3")
        let open = "security: plain\nnodes: [{address: 192.0.2.1, node: a}]"
        #expect(try host(open, ["UPKI_CA_HOST": "0.0.0.0"], nil) == "0.0.0.0")
    }

    @Test("what a flag or a variable gets wrong is said with its name")
    func origins() {
        func found(_ environment: [String: String], _ flags: ConfigurationFlags) -> [String] {
            problems { _ = try Configuration.load(nil, file: "ca.config.yml", environment: environment, flags: flags) }
        }
        #expect(found([:], .init(host: "x")) == ["--host: host is x; an IP address or localhost is allowed"])
        #expect(found([:], .init(port: 0)) == ["--port: port is 0; a number from 1 to 65535 is allowed"])
        #expect(found([:], .init(keyType: "dsa")).first?.hasPrefix("--key-type: key type is dsa; ec-p256, ec-p384") ?? false)
        #expect(found([:], .init(logFormat: "xml", logLevel: "x")).count == 2)
    }

    @Test(
        "addresses have one spelling (RFC 5952, section 4)",
        arguments: [
            ("2001:0db8::0001", "2001:db8::1", false), ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1", false),
            ("::FFFF:192.0.2.1", "192.0.2.1", false),
            ("::ffff:127.0.0.1", "127.0.0.1", true), ("::1", "::1", true), ("127.255.0.9", "127.255.0.9", true),
            ("128.0.0.1", "128.0.0.1", false),
        ]
    )
    func addresses(text: String, canonical: String, isLoopback: Bool) throws {
        let address = try #require(HostAddress(text))
        #expect(address.description == canonical)
        #expect(address.isLoopback == isLoopback)
    }

    @Test(
        "what is no address",
        arguments: ["", "localhost", "1.2.3", "1.2.3.4/8", "01.2.3.4.5", "fe80::1%eth0", "127.0.0.1\0x", "*", " 127.0.0.1"])
    func noAddresses(text: String) { #expect(HostAddress(text) == nil) }

    @Test("the space set aside is 32 MiB unless the file says otherwise; what is no number of MiB is refused with its line")
    func storeReserve() throws {
        #expect(try Configuration.parse("", file: "x").storeReserve == 32)
        #expect(try Configuration.parse("store: {reserve: 0}", file: "x").storeReserve == 0)
        #expect(try Configuration.parse("store:\n  reserve: 512\n", file: "x").storeReserve == 512)
        for value in ["-1", "65537", "32M", "true", "99999999999999999999"] {
            let error = #expect(throws: SettingsError.self) { try Configuration.parse("store:\n  reserve: \(value)\n", file: "x") }
            #expect(error?.oneLine.hasPrefix("x:2: store.reserve is ") == true, "\(error?.oneLine ?? "")")
        }
        #expect(throws: SettingsError.self) { try Configuration.parse("store: {reserved: 5}", file: "x") }
    }

    @Test(
        "URLs that certificates may carry",
        arguments: ["http://pki.example.com", "https://x/", "http://[2001:db8::1]:80/a", "http://10.0.0.1:8080"])
    func urls(url: String) throws {
        #expect(try Configuration.parse("publication: {base_url: \"\(url)\"}", file: "x").publicationBaseURL != nil)
    }

    @Test("https for what is published is allowed and warned of: whoever checks the server's certificate would ask that server")
    func https() throws {
        let warnings = try Configuration.parse("publication: {base_url: \"https://pki.example.com\"}", file: "x").warnings
        #expect(warnings.count == 1 && warnings[0].hasPrefix("publication.base_url is https://pki.example.com: "))
        #expect(try Configuration.parse("publication: {base_url: \"http://pki.example.com\"}", file: "x").warnings.isEmpty)
    }
}

@Suite("Where settings come from")
struct SettingsSourcesTests {
    private func locations(_ data: String?, _ run: String?, _ environment: [String: String], isRoot: Bool) throws -> [String] {
        let found = try Locations(dataFlag: data, runFlag: run, environment: environment, isRoot: isRoot, currentDirectory: "/work")
        return [found.dataDirectory, found.runDirectory]
    }

    @Test("directories: flag over variable over default")
    func directories() throws {
        #expect(try self.locations(nil, nil, [:], isRoot: true) == ["/var/lib/upki-ca", "/run/upki-ca"])
        #expect(try self.locations(nil, nil, ["HOME": "/home/a"], isRoot: false) == ["/home/a/.upki/ca", "/home/a/.upki/ca/run"])
        // The user whose home the host's own CA is.
        #expect(try self.locations(nil, nil, ["HOME": "/var/lib/upki-ca"], isRoot: false) == ["/var/lib/upki-ca", "/run/upki-ca"])
        #expect(try self.locations("./var", nil, ["UPKI_DATA_DIR": "/x"], isRoot: true) == ["/work/var", "/work/var/run"])
        #expect(try self.locations(nil, nil, ["UPKI_DATA_DIR": "/x//y/", "UPKI_RUN_DIR": "r"], isRoot: false) == ["/x/y", "/work/r"])
        #expect(throws: SettingsError.self) { try self.locations(nil, nil, ["UPKI_DATA_DIR": ""], isRoot: false) }
    }

    @Test("a key without its certificate, or the reverse, is refused")
    func halves() throws {
        #expect(throws: SettingsError.self) { try StartInputs(environment: ["UPKI_CA_KEY_FILE": "/k"]) }
        #expect(throws: SettingsError.self) { try StartInputs(environment: ["UPKI_CA_CERT_FILE": "/c"]) }
        let both = try StartInputs(environment: ["UPKI_CA_KEY_FILE": "/k", "UPKI_CA_CERT_FILE": "/c", "UPKI_CA_SEED": ""])
        #expect(both.keyFile == "/k" && both.certificateFile == "/c" && both.seed == nil)
    }
}
