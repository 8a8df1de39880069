import PKI
import Settings
import Testing

@Suite("Certificate profiles")
struct ProfileFileTests {
    @Test("a file with every key is read as written, its name from the file's")
    func everyKey() throws {
        let text = """
            # ours
            keyType: rsa
            keyLen: 3072
            duration: 90
            maxDuration: 200
            digest: sha384
            altnames: yes
            domain: lab.example
            subject:
              C: NO
              O: Example & Sons
              OU: [Machines, "Floor 2"]
              CN: ""
            keyUsage: [digitalSignature, contentCommitment, keyEncipherment]
            extendedKeyUsage:
              - serverAuth
              - clientAuth
            certType: server
            allowedKeys: [ec-p256, ed25519, rsa-2048]
            permittedNames: [www.lab.example, "*.dev.lab.example", .test.lab.example]
            """
        let profile = try ProfileFile.parse(text, file: "/data/profiles/lab-1.yml")
        let expected = CertificateProfile(
            name: "lab-1", keyType: .rsa3072, duration: 90, maxDuration: 200, digest: .sha384, altnames: true, domain: "lab.example",
            subject: [
                .init(.country, "NO"), .init(.organization, "Example & Sons"), .init(.organizationalUnit, "Machines"),
                .init(.organizationalUnit, "Floor 2"),
            ],
            keyUsage: [.digitalSignature, .nonRepudiation, .keyEncipherment], extendedKeyUsage: [.serverAuth, .clientAuth],
            certType: .server,
            allowedKeys: [.ecP256, .ed25519, .rsa(minimumBits: 2048)],
            permittedNames: [
                try #require(NamePattern("www.lab.example")), try #require(NamePattern("*.dev.lab.example")),
                try #require(NamePattern(".test.lab.example")),
            ]
        )
        #expect(profile == expected)
    }

    @Test(
        "keyType and keyLen name every key that the CA makes",
        arguments: [
            ("keyType: ec", .ecP256), ("keyType: ec\nkeyLen: 256", .ecP256), ("keyType: ec\nkeyLen: 384", .ecP384),
            ("keyType: ec\nkeyLen: 521", .ecP521), ("keyType: ed25519", .ed25519), ("keyType: rsa\nkeyLen: 2048", .rsa2048),
            ("keyType: rsa\nkeyLen: 3072", .rsa3072), ("keyType: rsa\nkeyLen: 4096", .rsa4096), ("keyType: rsa", .rsa4096),
            ("keyType: RSA\nkeyLen: 2048", .rsa2048), ("keyType: ec-p384", .ecP384), ("keyType: rsa-2048\nkeyLen: 2048", .rsa2048),
            ("duration: 1", .ecP256),
        ] as [(String, SubjectKeyType)]
    )
    func keyTypes(text: String, expected: SubjectKeyType) throws {
        #expect(try ProfileFile.parse(text, file: "mine.yml").keyType == expected)
    }

    @Test(
        "what is refused is refused with file, line and what is allowed",
        arguments: [
            (
                "duration: 5\nkeyType: dsa",
                "profiles/mine.yml:2: keyType is dsa; ec (keyLen 256, 384 or 521), ed25519, rsa (keyLen 2048, 3072 or 4096)"
            ),
            ("keyType: rsa\nkeyLen: 1024", "profiles/mine.yml:2: keyLen is 1024; for keyType rsa 2048, 3072 or 4096 is allowed"),
            ("keyType: ec\nkeyLen: 2048", "profiles/mine.yml:2: keyLen is 2048; for keyType ec 256, 384 or 521 is allowed"),
            ("keyType: rsa\nkeyLen: \"2048\"", "profiles/mine.yml:2: keyLen is \"2048\"; for keyType rsa"),
            ("keyLen: 2048", "profiles/mine.yml:1: keyLen is 2048; it needs a keyType"),
            ("digest: md5", "profiles/mine.yml:1: digest is md5; sha256, sha384 or sha512 is allowed"),
            ("digest: sha1", "profiles/mine.yml:1: digest is sha1; sha256, sha384 or sha512 is allowed"),
            ("\n\nduration: 0", "profiles/mine.yml:3: duration is 0; a number of days from 1 to 36500 is allowed"),
            ("duration: long", "profiles/mine.yml:1: duration is long; a number of days"),
            ("duration: 99999999999999999999999", "profiles/mine.yml:1: duration is 99999999999999999999999; a number of days"),
            ("duration: 60\nmaxDuration: 30", "profiles/mine.yml:2: maxDuration is 30; at least the duration of 60 days is allowed"),
            ("altnames: maybe", "profiles/mine.yml:1: altnames is maybe; true or false is allowed"),
            ("domain: a b", "profiles/mine.yml:1: domain is \"a b\"; a domain such as example.com is allowed"),
            ("subject: Example", "profiles/mine.yml:1: subject is Example; a map such as"),
            ("subject:\n  C: France", "profiles/mine.yml:2: subject.C is France; a code of two capital letters"),
            ("subject:\n  O: 1984", "profiles/mine.yml:2: subject.O is 1984; text is allowed (in quotes)"),
            (
                "subject:\n  X: y",
                "profiles/mine.yml:2: unknown key subject.X; C, ST, L, O, OU, CN, emailAddress, DC or serialNumber is allowed"
            ),
            ("subject:\n  O: \"\\e[31m\"", "profiles/mine.yml:2: subject.O is \\u{1b}[31m; text of at most 64 characters"),
            ("subject:\n  O: a\n  O: b", "profiles/mine.yml:3: O is given twice; it stands on line 2 already"),
            ("keyUsage: digitalSignature", "profiles/mine.yml:1: keyUsage is digitalSignature; a list is allowed"),
            (
                "keyUsage:\n  - digitalSignature\n  - sign",
                "profiles/mine.yml:3: an entry of keyUsage is sign; digitalSignature, nonRepudiation"
            ),
            ("keyUsage: []", "profiles/mine.yml:1: keyUsage is an empty list"),
            (
                "keyUsage: [keyCertSign]",
                "profiles/mine.yml:1: keyUsage has keyCertSign or cRLSign; only the profile ca makes CA certificates"
            ),
            ("keyUsage: [cRLSign]", "profiles/mine.yml:1: keyUsage has keyCertSign or cRLSign"),
            ("keyUsage: [encipherOnly]", "profiles/mine.yml:1: keyUsage has encipherOnly without keyAgreement"),
            ("extendedKeyUsage: [OCSPSigning]", "profiles/mine.yml:1: an entry of extendedKeyUsage is OCSPSigning; serverAuth, clientAuth"),
            ("pathLen: 0", "profiles/mine.yml:1: pathLen is for CA certificates"),
            ("certType: root", "profiles/mine.yml:1: certType is root; sslCA, server, user, email, client or objsign is allowed"),
            ("allowedKeys: [rsa-1024]", "profiles/mine.yml:1: an entry of allowedKeys is rsa-1024; ec-p256"),
            ("allowedKeys: []", "profiles/mine.yml:1: allowedKeys is an empty list, which allows nothing"),
            ("permittedNames: [\"a.*.b\"]", "profiles/mine.yml:1: an entry of permittedNames is a.*.b; a name"),
            ("durations: 5", "profiles/mine.yml:1: unknown key durations; did you mean duration? allowed are keyType"),
            ("- a", "profiles/mine.yml:1: the file is a list; a map of keys and values is allowed"),
            ("", "profiles/mine.yml:1: the profile is empty"),
        ]
    )
    func refusals(text: String, expected: String) throws {
        let found = profileProblems(text)
        #expect(found.count == 1)
        #expect(found.first?.hasPrefix(expected) ?? false, "\(found)")
    }

    @Test("all problems of a file are named at once, in the order of their lines")
    func allAtOnce() {
        let found = profileProblems("keyType: dsa\nduration: 0\nduration: 4\nfoo: 1\ndigest: md5\n")
        #expect(
            found.map { $0.prefix(20) } == [
                "profiles/mine.yml:1:", "profiles/mine.yml:2:", "profiles/mine.yml:3:", "profiles/mine.yml:4:", "profiles/mine.yml:5:",
            ])
    }

    @Test(
        "a name that could leave its folder, hide or mean another profile is refused",
        arguments: [
            "", ".", "..", "../server", "a/b", ".hidden", "-x", "A", "é", "a b", "a\0", "client", String(repeating: "a", count: 65),
        ]
    )
    func badNames(name: String) {
        #expect(!problems { _ = try ProfileFile.parse("duration: 5", file: "x.yml", name: name) }.isEmpty)
        #expect(!problems { try ProfileFile.checkName(name) }.isEmpty)
    }

    @Test("good names are accepted", arguments: ["a", "0", "web-app_2.1", "server", String(repeating: "z", count: 64)])
    func goodNames(name: String) throws {
        #expect(try ProfileFile.parse("duration: 5", file: "x.yml", name: name).name == name)
    }

    static let roundTrips: [CertificateProfile] =
        CertificateProfile.builtIns(baseSubject: [.init(.country, "FR"), .init(.organization, "Company")])
        + SubjectKeyType.allCases.map { CertificateProfile(name: "k", keyType: $0, duration: 1, maxDuration: 36_500) }
        + [
            CertificateProfile(
                name: "odd", duration: 7, altnames: false, domain: "x.example",
                subject: [
                    .init(.organization, "true"), .init(.organization, "12"), .init(.organization, " a: {b}, #c \"d\" 'e' \\ *f &g !h"),
                    .init(.commonName, "Ünïcödé 名前 👩‍👩‍👧"), .init(.organization, "null"), .init(.serialNumber, "+4.5e6"),
                    .init(.domainComponent, "example"), .init(.domainComponent, "org"), .init(.emailAddress, "a@example.org"),
                ],
                keyUsage: CertificateProfile.KeyUsage.allCases.filter { $0 != .keyCertSign && $0 != .cRLSign },
                extendedKeyUsage: CertificateProfile.ExtendedKeyUsage.allCases, certType: .objsign,
                allowedKeys: [.ecP521, .rsa(minimumBits: 3000)], permittedNames: ["*.a", ".b", "c"].compactMap { NamePattern($0) }
            )
        ]

    @Test("what is rendered reads back as the same profile, from YAML and from the tree", arguments: roundTrips)
    func roundTrip(profile: CertificateProfile) throws {
        let text = ProfileFile.render(profile)
        #expect(try ProfileFile.parse(text, file: "x.yml", name: profile.name) == profile, "\(text)")
        #expect(try ProfileFile.read(ProfileFile.tree(profile), name: profile.name) == profile)
    }

    @Test("the reference's own profile files are read, but for what is refused on purpose")
    func reference() throws {
        // `export_profile("server")` of upki-ca 0.1.5, by yaml.safe_dump.
        let text = """
            altnames: true
            certType: server
            digest: sha256
            domain: ''
            duration: 60
            extendedKeyUsage:
            - serverAuth
            keyLen: 4096
            keyType: rsa
            keyUsage:
            - digitalSignature
            - keyEncipherment
            subject:
              C: FR
              CN: ''
              O: Company
              OU: Servers
            """
        let profile = try ProfileFile.parse(text, file: "old-server.yml")
        #expect(profile.keyType == .rsa4096)
        #expect(profile.domain == nil)
        #expect(profile.subject.map(\.type.rawValue) == ["C", "O", "OU"])
    }

    @Test("parameters of a task get the same checks, in one line and without a file")
    func task() throws {
        let tree = SettingValue.map([SettingEntry("duration", .int(0)), SettingEntry("extra", .bool(true)), SettingEntry("extra", .null)])
        let error = #expect(throws: SettingsError.self) { try ProfileFile.read(tree, name: "mine") }
        let line = try #require(error?.oneLine)
        #expect(line.hasPrefix("extra is given twice; duration is 0; a number of days from 1 to 36500 is allowed; unknown key extra"))
        #expect(!line.contains("\n"))
    }
}

@Suite("What a profile allows")
struct CertificateProfileTests {
    @Test(
        "the built-in profiles are those of the table",
        arguments: [
            ("ca", 3650, ["keyCertSign", "cRLSign"], [], [], false),
            ("ra", 365, ["digitalSignature", "keyEncipherment"], ["serverAuth", "clientAuth"], ["RA"], true),
            ("server", 60, ["digitalSignature", "keyEncipherment"], ["serverAuth"], ["Servers"], true),
            ("webapp", 60, ["digitalSignature", "keyEncipherment"], ["serverAuth", "clientAuth"], ["WebApps"], true),
            ("laptop", 30, ["digitalSignature", "keyEncipherment"], ["clientAuth", "emailProtection"], ["Users"], true),
            ("user", 30, ["digitalSignature", "keyEncipherment"], ["clientAuth"], ["Users"], true),
            ("admin", 365, ["digitalSignature", "keyEncipherment"], ["clientAuth"], ["Admins"], true),
        ] as [(String, Int, [String], [String], [String], Bool)]
    )
    func builtIns(name: String, days: Int, usage: [String], purposes: [String], unit: [String], altnames: Bool) throws {
        let base: [CertificateProfile.SubjectAttribute] = [
            .init(.country, "FR"), .init(.organization, "Example"), .init(.organizationalUnit, "PKI"), .init(.commonName, "Example Root"),
        ]
        let all = CertificateProfile.builtIns(baseSubject: base)
        #expect(all.map(\.name) == CertificateProfile.builtInNames)
        let profile = try #require(all.first { $0.name == name })
        #expect(profile.duration == days)
        #expect(profile.keyUsage.map(\.rawValue) == usage)
        #expect(profile.extendedKeyUsage.map(\.rawValue) == purposes)
        #expect(profile.subject.map(\.value) == ["FR", "Example"] + unit)
        #expect(profile.altnames == altnames)
        #expect(profile.keyType == .ecP256)
        #expect(profile.digest == .sha256)
        #expect(profile.pathLength == (name == "ca" ? 0 : nil))
        #expect(profile.isAuthority == (name == "ca"))
    }

    @Test("keyEncipherment is for RSA alone (RFC 8813, RFC 9295)")
    func usageByFamily() {
        let profile = CertificateProfile(name: "x", duration: 1, keyUsage: [.digitalSignature, .keyEncipherment, .keyAgreement])
        #expect(profile.keyUsage(for: .rsa) == [.digitalSignature, .keyEncipherment])
        #expect(profile.keyUsage(for: .ellipticCurve) == [.digitalSignature, .keyAgreement])
        #expect(profile.keyUsage(for: .ed25519) == [.digitalSignature])
        #expect(CertificateProfile(name: "x", duration: 1, keyUsage: [.keyEncipherment]).keyUsage(for: .ed25519) == [.digitalSignature])
    }

    @Test("an explicit duration is held to maxDuration, or to the duration itself")
    func days() {
        let plain = CertificateProfile(name: "x", duration: 60)
        #expect(plain.days(requested: nil) == 60)
        #expect(plain.days(requested: 60) == 60)
        #expect(plain.days(requested: 61) == nil)
        #expect(plain.days(requested: 0) == nil)
        #expect(plain.days(requested: .min) == nil)
        let longer = CertificateProfile(name: "x", duration: 60, maxDuration: 90)
        #expect(longer.days(requested: nil) == 60)
        #expect(longer.days(requested: 90) == 90)
        #expect(longer.days(requested: 91) == nil)
    }

    @Test("`client` means `user`")
    func alias() {
        #expect(CertificateProfile.canonicalName("client") == "user")
        #expect(CertificateProfile.canonicalName("server") == "server")
    }

    @Test("the name of the responder's certificates can be no profile's: neither a file's nor one that a task brings")
    func reserved() {
        let words =
            "the name ocsp is taken: certificates of the CA's own OCSP responder are issued by fixed rules; give the profile another name"
        let file = #expect(throws: SettingsError.self) { try ProfileFile.parse("duration: 5", file: "profiles/ocsp.yml") }
        #expect(file?.oneLine == "profiles/ocsp.yml: \(words)")
        let task = #expect(throws: SettingsError.self) { try ProfileFile.read(.map([SettingEntry("duration", .int(5))]), name: "ocsp") }
        #expect(task?.oneLine == words)
        #expect(throws: SettingsError.self) { try ProfileFile.checkName("ocsp") }
        #expect(!CertificateProfile.builtIns(baseSubject: []).contains { $0.name == "ocsp" })
    }

    @Test(
        "patterns cover whole names",
        arguments: [
            ("www.example.org", "WWW.example.ORG", true), ("www.example.org", "www.example.org.", true),
            ("www.example.org", "xwww.example.org", false), ("*.example.org", "a.example.org", true),
            ("*.example.org", "a.b.example.org", true), ("*.example.org", "*.example.org", true), ("*.example.org", "example.org", false),
            ("*.example.org", "badexample.org", false), (".example.org", "a.b.example.org", true), (".example.org", ".example.org", false),
            ("localhost", "localhost", true), ("localhost", "localhost.example.org", false), ("*.invalid", "x.invalid", true),
        ]
    )
    func patterns(pattern: String, name: String, expected: Bool) throws {
        #expect(try #require(NamePattern(pattern)).matches(name) == expected)
    }

    @Test("what is no pattern", arguments: ["", "*", ".", "*.", "..a", "a..b", "*.*.a", "a*", "a b", "a\n", "a.", "*.a."])
    func noPatterns(text: String) { #expect(NamePattern(text) == nil) }

    @Test("domain and permitted names limit hosts and addresses")
    func names() {
        var profile = CertificateProfile(name: "x", duration: 1, domain: "example.org")
        #expect(profile.permits(hostName: "example.org"))
        #expect(profile.permits(hostName: "a.b.Example.org"))
        #expect(!profile.permits(hostName: "notexample.org"))
        #expect(!profile.permits(hostName: "example.org.evil.net"))
        #expect(profile.permits(emailAddress: "x@mail.example.org"))
        #expect(!profile.permits(emailAddress: "example.org"))
        profile.permittedNames = ["www.example.org", "boss@example.org"].compactMap { NamePattern($0) }
        #expect(profile.permits(hostName: "www.example.org"))
        #expect(!profile.permits(hostName: "ftp.example.org"))
        #expect(profile.permits(emailAddress: "boss@example.org"))
        #expect(!profile.permits(emailAddress: "clerk@example.org"))
        #expect(!profile.permits(otherName: "192.0.2.1"))
    }

    @Test("allowed keys are by curve, and by least size for RSA")
    func keys() {
        var profile = CertificateProfile(name: "x", duration: 1)
        #expect(profile.allows(curve: nil, rsaBits: 2048))
        profile.allowedKeys = [.ecP256, .rsa(minimumBits: 3072)]
        #expect(profile.allows(curve: .ecP256, rsaBits: nil))
        #expect(!profile.allows(curve: .ecP384, rsaBits: nil))
        #expect(!profile.allows(curve: nil, rsaBits: 2048))
        #expect(profile.allows(curve: nil, rsaBits: 3072))
        #expect(profile.allows(curve: nil, rsaBits: 4096))
    }
}
