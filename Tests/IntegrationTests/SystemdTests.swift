// The CA as a host runs it: the Debian package, its units under a real systemd, their sandboxes, and what happens to them.
import Foundation
import Glibc
import TestPrograms
import Testing
import UPKIProtocol

/// A host on which a test works.
private func withHost<Result>(_ body: (SystemdHost) throws -> Result) throws -> Result {
    let host = try SystemdHost()
    defer { host.end() }
    return try body(host)
}

extension IntegrationTests {
    @Suite(
        "Under systemd",
        .enabled(if: SystemdHost.obstacle == nil, "skipped: \(SystemdHost.obstacle ?? ""); the units were not tried on this machine"))
    struct SystemdTests {
        private static let services = ["ca-core", "ca-front", "ca-registrar", "ca-ocsp-bridge"]
        private static let csr = "/root/load.csr"

        /// `get_ca` and `sign`, with a CSR that the host makes.
        private func requests(_ host: SystemdHost) throws -> JSON {
            try host.must(
                """
                openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout /dev/null -out \(Self.csr) -subj /CN=load.example.com \
                    -addext subjectAltName=DNS:load.example.com 2>/dev/null
                ca-ctl node add load --address 127.0.0.1
                """)
            let csr = try host.must("cat \(Self.csr)")
            return [
                ["TASK": "sign", "params": ["csr": .string(csr), "profile": "server"]], ["TASK": "get_ca", "params": [:]],
                ["TASK": "list_profiles", "params": [:]],
            ]
        }

        // MARK: The package

        @Test("the package is without errors, small enough, starts nothing, and leaves the CA where it is when it goes")
        func package() throws {
            try withHost { host in
                let package = try SystemdHost.packages.get()[0]
                let judged = try host.place.run(["/usr/bin/lintian", "--fail-on", "error", "--allow-root", package], within: .seconds(120))
                #expect(judged.code == 0 && !judged.output.contains("E: "), "\(judged.output)\(judged.errors)")
                let size = try host.must("dpkg-deb -f \(package) Installed-Size").trimmingCharacters(in: .whitespacesAndNewlines)
                #if !DEBUG  // Programs that are not optimised are twice as large.
                #expect(try #require(Int(size)) < 120 << 10, "\(size) KiB")
                #endif

                let installed = try host.must("DEBIAN_FRONTEND=noninteractive dpkg -i \(package)", within: .seconds(120))
                #expect(installed.contains("ca-ctl init") && installed.contains("systemctl enable --now upki-ca.target"), "\(installed)")
                #expect(try host.must("systemctl list-units --no-legend --all 'ca-*' 'upki-*'").isEmpty)
                // The toolchain is not what the programs run with.
                let libraries = try host.must("ldd /usr/lib/upki-ca/ca-*")
                #expect(libraries.contains("/usr/lib/upki-ca/lib/libswiftCore.so") && !libraries.contains("not found"))
                #expect(
                    libraries.split(separator: "\n").allSatisfy { !$0.contains("swift") || $0.contains("/usr/lib/upki-ca/lib/") },
                    "\(libraries)")
                #expect(try host.must("man -P cat ca-ctl").contains("ca-ctl") && host.must("man -P cat upki-ca").contains("upki-ca.target"))
                #expect(
                    try host.must("bash -ic 'source /usr/share/bash-completion/completions/ca-ctl; complete -p ca-ctl'").contains("ca-ctl"))

                // Started without a CA: nothing runs, and nothing fails.
                try host.must("systemctl start upki-ca.target")
                #expect(try host.must("systemctl list-units --no-legend --state=running,listening 'ca-*'").isEmpty)
                #expect(try host.must("systemctl --failed --no-legend").isEmpty)
                #expect(try !host.listens(5_000))

                try host.must("ca-ctl init --json >/root/init.json && systemctl enable --now upki-ca.target && ca-ctl status --wait 20")
                let fingerprint = try host.json("ca-ctl status --json").at("core", "ca", "fingerprint")
                try host.must("dpkg -r upki-ca", within: .seconds(60))
                #expect(try host.must("systemctl list-units --no-legend --state=running 'ca-*'").isEmpty)
                #expect(try !host.listens(5_000))
                let purged = try host.must("dpkg -P upki-ca")
                #expect(purged.contains("/var/lib/upki-ca, its key included, is left as it is"), "\(purged)")
                #expect(try host.must("stat -c '%U %a' /var/lib/upki-ca/ca.key") == "upki-ca 600\n")
                try host.must("DEBIAN_FRONTEND=noninteractive dpkg -i \(package)", within: .seconds(120))
                try host.must("systemctl enable --now upki-ca.target && ca-ctl status --wait 20")
                #expect(try host.json("ca-ctl status --json").at("core", "ca", "fingerprint") == fingerprint)
            }
        }

        @Test("every unit is without a mistake for systemd, and its services expose little")
        func units() throws {
            try withHost { host in
                try host.install()
                let units = try host.must("cd /lib/systemd/system && ls ca-* upki-*").split(separator: "\n").map(String.init)
                #expect(units.count >= 15, "\(units)")
                let verified = try host.run(
                    "systemd-analyze verify --recursive-errors=no --man=no \(units.map { "/lib/systemd/system/\($0)" }.joined(separator: " "))"
                )
                #expect(verified.code == 0 && verified.errors.isEmpty, "\(verified.errors)")
                for unit in units where unit.hasSuffix(".service") {
                    let judged = try host.run("systemd-analyze security --offline=true --threshold=15 /lib/systemd/system/\(unit)")
                    #expect(judged.code == 0, "\(unit): \(judged.output.suffix(300))")
                }
                // The document says how much each of the five exposes, as this systemd judges it.
                let document = try String(contentsOfFile: "\(Checkout.root)/docs/DEPLOY.md", encoding: .utf8)
                for service in Self.services + ["upki-tunnel"] {
                    let judged = try host.must("systemd-analyze security --offline=true /lib/systemd/system/\(service).service | tail -1")
                    let score = try #require(judged.split(separator: " ").first { Double($0) != nil })
                    let row = document.split(separator: "\n").first { $0.hasPrefix("| `\(service).service` |") }
                    #expect(row?.hasSuffix("| \(score) |") == true, "\(service): \(score)")
                }
                // Each kind of message is explained in the catalog that the journal has.
                let listed = try host.must("journalctl --list-catalog")
                let catalog = try String(contentsOfFile: "\(Checkout.root)/deploy/systemd/upki-ca.catalog", encoding: .utf8)
                let kinds = catalog.split(separator: "\n").filter { $0.hasPrefix("-- ") }.map { $0.dropFirst(3) }
                #expect(kinds.count > 8)
                for kind in kinds { #expect(listed.contains(kind), "\(kind)") }
            }
        }

        // MARK: What it does

        @Test(
            "an unmodified RA registers, certificates are issued and revoked, OCSP is asked through nginx, and the closed port stays closed"
        )
        func life() throws {
            try withHost { host in
                try host.startCA(configuration: "publication:\n  base_url: http://127.0.0.1\n")
                let status = try host.json("ca-ctl status --json")
                #expect(status.at("supervisor", "kind") == "systemd" && status["ready"] == true)
                for service in Self.services {
                    #expect(try host.show("ActiveState", of: "\(service).service") == "active", "\(service)")
                }
                #expect(try host.show("StatusText", of: "ca-core.service").hasPrefix("serving 5000, 0 nodes, CRL "))
                #expect(try host.listens(5_001))

                // The RA, as it is.
                try host.must("ca-ctl registrar open --for 30m --max 2")
                let token = try host.json("cat /root/init.json").at("token")?.stringValue ?? ""
                let python = try Checkout.python("0.1.6").replacing(Checkout.root, with: SystemdHost.root)
                for cn in ["ra1.example.com", "ra2.example.com"] {
                    let given = JSON.object([
                        .init("port", .integer(5_000)), .init("directory", .string("/root/\(cn)")), .init("token", .string(token)),
                        .init("cn", .string(cn)), .init("last", .bool(cn == "ra2.example.com")),
                    ])
                    let registered = try host.must(
                        "mkdir -p /root/\(cn) && exec \(python) -B \(SystemdHost.root)/Tests/IntegrationTests/peers/ra_start.py",
                        input: given.text)
                    #expect(registered.contains("\"registered\": true"), "\(registered)")
                    // One node for each address, and both are of this host.
                    if cn == "ra1.example.com" { try host.must("ca-ctl node remove \(cn)") }
                }
                // That was all that it was opened for: it closes itself.
                try waitUntil("the registrar has closed itself") { try !host.listens(5_001) }
                try waitUntil("its unit is down") { try host.show("ActiveState", of: "ca-registrar.service") == "inactive" }
                #expect(try host.show("StatusText", of: "ca-registrar.service").hasPrefix("registration is closed: "))
                #expect(try host.must("ca-ctl node list").contains("ra2.example.com"))

                // Issued, revoked, and asked of nginx's own unit with the site of the package.
                try host.must(
                    """
                    sed -e 's/pki.example.com/127.0.0.1/' /usr/share/doc/upki-ca/examples/nginx/upki-ca.conf >/etc/nginx/sites-available/upki-ca
                    rm -f /etc/nginx/sites-enabled/*
                    ln -s ../sites-available/upki-ca /etc/nginx/sites-enabled/
                    mkdir -p /var/cache/nginx-upki-ca && chown www-data /var/cache/nginx-upki-ca
                    systemctl restart nginx
                    ca-ctl reload
                    ca-ctl cert issue www.example.com >/dev/null && ca-ctl cert export www.example.com --out /root/www.pem
                    mkdir /root/www && openssl x509 -in /root/www.pem -out /root/www/cert.pem && cp /var/lib/upki-ca/ca.crt /root/www/
                    """)
                let ask = """
                    openssl ocsp -no_nonce -issuer /root/www/ca.crt -CAfile /root/www/ca.crt -cert /root/www/cert.pem -url http://127.0.0.1/ocsp 2>&1
                    """
                #expect(try host.must(ask).contains("cert.pem: good"))
                let serial = try host.must("openssl x509 -in /root/www/cert.pem -noout -serial | cut -d = -f 2").trimmingCharacters(
                    in: .newlines)
                try host.must("ca-ctl cert revoke --serial 0x\(serial) --reason keyCompromise")
                try waitUntil("nginx's cache has gone over") { try host.must(ask).contains("cert.pem: revoked") }
                #expect(try host.must("curl -s http://127.0.0.1/crl | openssl crl -inform DER -noout -text").contains("Number"))

                // The journal knows what was done, by field; and the operator's command shows it.
                let lines = try host.must("ca-ctl logs --serial 0x\(serial) --json").split(separator: "\n").map {
                    try JSON(parsing: Array($0.utf8))
                }
                #expect(lines.map { $0["task"]?.stringValue ?? "" } == ["generate", "revoke"], "\(lines)")
                #expect(lines.allSatisfy { $0["dn"]?.stringValue?.contains("CN=www.example.com") == true && $0["request"] != nil })
                let explained = try host.must("journalctl --update-catalog; journalctl -x --no-pager -q UPKI_TASK=revoke")
                #expect(explained.contains("A certificate was revoked"), "\(explained)")

                // Closed for good: over the restart of the target, and over a reboot, until it is opened.
                try host.must("systemctl restart upki-ca.target && ca-ctl status --wait 20 >/dev/null")
                #expect(try !host.listens(5_001))
                try host.must("systemctl start ca-registrar.service")
                #expect(try host.show("ActiveState", of: "ca-registrar.service") == "inactive")
                try host.reboot()
                try waitUntil("the CA is back after the reboot") { try host.run("ca-ctl status --wait 20").code == 0 }
                #expect(try host.listens(5_000) && !host.listens(5_001))
                #expect(try host.must("ca-ctl status").contains("registration is closed"))
                try host.must("ca-ctl registrar open --for 3s")
                #expect(try host.listens(5_001))
                try waitUntil("the registrar closes at its time") { try !host.listens(5_001) }
                // Opened and closed again, the unit that watches the flag starts nothing.
                try host.must("ca-ctl registrar open >/dev/null; ca-ctl registrar close >/dev/null")
                #expect(try !host.listens(5_001))
            }
        }

        @Test("operators of the group upki-admin command the CA and its units, and nothing else; others do neither")
        func operators() throws {
            try withHost { host in
                try host.startCA()
                try host.must("useradd -m -G upki-admin alice && useradd -m other && systemctl start polkit")
                #expect(try host.run(as: "alice", "ca-ctl status").output.contains("serving 5000"))
                #expect(try host.run(as: "alice", "ca-ctl registrar close").code == 0)
                #expect(try !host.listens(5_001))
                #expect(try host.run(as: "alice", "ca-ctl registrar open --for 10m").code == 0)
                #expect(try host.listens(5_001))
                #expect(try host.run(as: "alice", "systemctl restart ca-front.service").code == 0)
                // Configuration that cannot be read is refused, with its line, and nothing changes.
                try host.must("cp -p /var/lib/upki-ca/ca.config.yml /root/ && echo 'colour: blue' >>/var/lib/upki-ca/ca.config.yml")
                #expect(try host.run(as: "alice", "systemctl reload ca-core.service").code != 0)
                #expect(try host.must("journalctl -q --no-pager -o cat -u ca-core").contains("ca.config.yml:"))
                #expect(try host.show("ActiveState", of: "ca-core.service") == "active")
                try host.must("cp -p /root/ca.config.yml /var/lib/upki-ca/")
                #expect(try host.run(as: "alice", "systemctl reload ca-core.service").code == 0)
                for forbidden in [
                    "systemctl restart nginx.service", "systemctl mask ca-core.service", "systemctl disable upki-ca.target",
                    "systemctl stop ca-core-admin.socket", "systemctl set-property ca-core.service MemoryMax=1",
                    "cat /var/lib/upki-ca/ca.key",
                ] {
                    #expect(try host.run(as: "alice", forbidden).code != 0, "\(forbidden)")
                }
                // Who did it is in the audit log.
                let uid = try host.must("id -u alice").trimmingCharacters(in: .newlines)
                #expect(try host.must("ca-ctl audit show --json").contains("uid \(uid)"))
                let refused = try host.run(as: "other", "ca-ctl registrar status --data-dir /var/lib/upki-ca")
                #expect(refused.code == 3 && refused.errors.contains("adduser USER upki-admin"), "\(refused.errors)")
                #expect(try host.run(as: "other", "systemctl restart ca-core.service").code != 0)
                // Without the rule systemd lets operators do nothing, and that is told.
                try host.must("mv /usr/share/polkit-1/rules.d/50-upki-ca.rules /root/ && systemctl restart polkit")
                let denied = try host.run(as: "alice", "ca-ctl ocsp restart")
                #expect(denied.code == 1 && denied.errors.contains("systemd does not let this user do that"), "\(denied.errors)")
                // The users of the other programs are no operators, even in the group.
                try host.must("usermod -aG upki-admin upki-front")
                let front = try host.run(as: "upki-front", "ca-ctl status --run-dir /run/upki-ca --data-dir /var/lib/upki-ca")
                #expect(
                    front.output.contains("Not authorised") || front.errors.contains("Not authorised"), "\(front.output)\(front.errors)")
            }
        }

        @Test("the seed is a credential, plain or encrypted, and no CA key is on the disk; so is the password of an encrypted key")
        func credentials() throws {
            try withHost { host in
                try host.install()
                try host.must(
                    "mkdir -p -m 700 /etc/credstore /etc/credstore.encrypted && openssl rand -base64 32 >/etc/credstore/upki-ca.seed")
                try host.must(
                    """
                    install -d -m 700 -o upki-ca -g upki-ca /var/lib/upki-ca
                    echo 'key_storage: seed' | install -m 600 -o upki-ca -g upki-ca /dev/stdin /var/lib/upki-ca/ca.config.yml
                    ca-ctl init --seed-file /etc/credstore/upki-ca.seed --json >/root/init.json
                    systemctl enable --now upki-ca.target && ca-ctl status --wait 20 >/dev/null
                    """)
                let fingerprint = try host.json("ca-ctl status --json").at("core", "ca", "fingerprint")
                let secret = try host.must("cat /etc/credstore/upki-ca.seed").trimmingCharacters(in: .newlines)
                func isNowhere(_ secret: String) throws {
                    #expect(try host.run("test -e /var/lib/upki-ca/ca.key").code != 0)
                    #expect(try host.run("grep -rqF -- '\(secret)' /var/lib/upki-ca /run/upki-ca /etc/systemd /var/log").code == 1)
                    #expect(try host.must("journalctl --no-pager -q -o export").contains(secret) == false)
                    #expect(try host.must("cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ | tr '\\0' '\\n'").contains(secret) == false)
                    #expect(try host.must("systemctl show 'ca-*'").contains(secret) == false)
                }
                try isNowhere(secret)
                // The same by an encrypted credential, the plain one gone.
                try host.must(
                    """
                    systemd-creds setup 2>/dev/null
                    systemd-creds encrypt --with-key=host /etc/credstore/upki-ca.seed /etc/credstore.encrypted/upki-ca.seed.cred
                    rm /etc/credstore/upki-ca.seed
                    systemctl restart upki-ca.target && ca-ctl status --wait 20 >/dev/null
                    """)
                #expect(try host.json("ca-ctl status --json").at("core", "ca", "fingerprint") == fingerprint)
                try isNowhere(secret)
                // Without any, and with what is no seed or another CA's, it does not start, and says why.
                try host.must("mv /etc/credstore.encrypted/upki-ca.seed.cred /root/")
                for (make, words) in [
                    ("true", "the systemd credential 'seed'"), (": >$seed", "The seed is empty"),
                    ("head -c 48 /dev/urandom >$seed", "The seed is not UTF-8"),
                    ("head -c 900000 /dev/zero >$seed", "larger than 4096 bytes"),
                    ("openssl rand -base64 32 >$seed", "The seed does not give the key of /var/lib/upki-ca/ca.crt"),
                    ("rm $seed; mkdir $seed", "Failed to set up credentials"),
                ] {
                    let script =
                        "seed=/etc/credstore/upki-ca.seed; \(make); systemctl reset-failed 'ca-*'; systemctl restart ca-core.service"
                    #expect(try host.run(script).code != 0)
                    let log = try host.must("journalctl -q --no-pager -o cat -u ca-core -n 8")
                    #expect(log.contains(words), "\(make): \(log)")
                }
                try host.must("rmdir /etc/credstore/upki-ca.seed")
                try host.must(
                    """
                    mv /root/upki-ca.seed.cred /etc/credstore.encrypted/
                    systemctl reset-failed 'ca-*' && systemctl restart upki-ca.target && ca-ctl status --wait 20 >/dev/null
                    """)
            }
        }

        @Test(
            "a CA is imported by credentials, its key and its password, and keeps the key under another password that is a credential too")
        func importedKey() throws {
            try withHost { host in
                try host.install()
                try host.must(
                    """
                    install -d -m 700 /root/old /etc/credstore && cd /root/old && printf 'of-the-old-ca\n' >password
                    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -keyout ca.key -passout file:password -out ca.crt -days 3650 \
                        -subj '/O=Old/CN=Old Root CA' -addext keyUsage=critical,keyCertSign,cRLSign 2>/dev/null
                    printf 'of-the-new-store\n' >/etc/credstore/upki-ca.ca-key-password
                    install -d -m 700 -o upki-ca -g upki-ca /var/lib/upki-ca
                    echo 'key_storage: encrypted' | install -m 600 -o upki-ca -g upki-ca /dev/stdin /var/lib/upki-ca/ca.config.yml
                    systemd-run --pipe --wait --collect -q -p User=upki-ca -p LoadCredential=ca-key:/root/old/ca.key -p LoadCredential=ca-cert:/root/old/ca.crt \
                        -p LoadCredential=ca-password:/root/old/password -p LoadCredential=ca-key-password:upki-ca.ca-key-password ca-ctl init --json
                    systemctl enable --now upki-ca.target && ca-ctl status --wait 20 >/dev/null
                    """)
                #expect(try host.must("ca-ctl status").contains("/O=Old/CN=Old Root CA"))
                #expect(
                    try host.must("cmp /root/old/ca.crt /var/lib/upki-ca/ca.crt && head -1 /var/lib/upki-ca/ca.key").contains("ENCRYPTED"))
                try host.must("openssl pkey -in /var/lib/upki-ca/ca.key -passin file:/etc/credstore/upki-ca.ca-key-password -noout")
                for secret in ["of-the-old-ca", "of-the-new-store"] {
                    #expect(try host.must("journalctl --no-pager -q -o export").contains(secret) == false)
                    #expect(try host.must("systemctl show 'ca-*'").contains(secret) == false)
                }
                // The same password, encrypted on the disk.
                try host.must(
                    """
                    mkdir -p -m 700 /etc/credstore.encrypted && mv /etc/credstore/upki-ca.ca-key-password /root/password
                    systemd-creds encrypt /root/password /etc/credstore.encrypted/upki-ca.ca-key-password.cred
                    systemctl restart upki-ca.target && ca-ctl status --wait 20 >/dev/null
                    """)
                // Removed, it does not start, and says why.
                try host.must("mv /etc/credstore.encrypted/upki-ca.ca-key-password.cred /root/")
                #expect(try host.run("systemctl restart ca-core.service").code != 0)
                #expect(try host.must("journalctl -q --no-pager -o cat -u ca-core").contains("the systemd credential 'ca-key-password'"))
            }
        }

        // MARK: What keeps the programs apart

        @Test("from inside its own sandbox no program reaches what is not its own")
        func sandboxes() throws {
            try withHost { host in
                try host.startCA()
                try host.must(
                    "mkdir -p /usr/share/probe && cp \(SystemdHost.root)/Tests/IntegrationTests/peers/{attempts,confined}.py /usr/share/probe/"
                )
                let sockets = ["admin", "front", "registrar", "ocsp", "events"]
                let given = JSON.object([
                    .init("port", .integer(5_000)),
                    .init(
                        "read",
                        [
                            "/var/lib/upki-ca", "/var/lib/upki-ca/ca.key", "/var/lib/upki-ca/published/crl.der", "/etc/shadow", "/root",
                            "/home",
                            "/etc/credstore", "/proc/1/environ", "/dev/kmsg", "/dev/mem",
                        ]),
                    .init(
                        "write",
                        [
                            "/", "/etc", "/usr", "/var", "/var/lib", "/var/lib/upki-ca", "/var/log", "/run", "/run/upki-ca",
                            "/run/upki-ca/core",
                            "/run/upki-ca/ocsp", "/tmp", "/var/tmp", "/dev", "/dev/shm", "/dev/mqueue", "/sys", "/proc",
                        ]),
                    .init(
                        "stream",
                        .array(
                            sockets.map { .string("/run/upki-ca/core/\($0).sock") } + [
                                "/run/upki-ca/ocsp/http.sock", "/run/upki-ca/ocsp/metrics.sock", "/run/systemd/private",
                                "/run/dbus/system_bus_socket",
                            ])),
                ])
                func inside(_ service: String) throws -> [String: String] {
                    // The unit as it is, with another program in place of its own.
                    try host.must(
                        """
                        sed -E -e '/^(ExecStart|ExecReload|WatchdogSec|Restart|RestartSec|NotifyAccess|LoadCredential.*|Condition.*|Requires|PartOf|Wants|After)=/d' \
                            -e 's/^Type=.*/Type=oneshot\\nStandardInput=file:\\/root\\/probe.json\\nStandardOutput=file:\\/root\\/\(service).out\\nExecStart=\\/usr\\/bin\\/python3 -B \\/usr\\/share\\/probe\\/confined.py/' \
                            /lib/systemd/system/\(service).service >/run/systemd/system/probe-\(service).service
                        cat >/root/probe.json
                        systemctl daemon-reload && systemctl start probe-\(service).service
                        """, input: given.text)
                    let facts = try host.json("cat /root/\(service).out")
                    return Dictionary(uniqueKeysWithValues: (facts.objectValue ?? []).map { ($0.name, $0.value.stringValue ?? "") })
                }
                let stream = { (name: String) in "stream /run/upki-ca/core/\(name).sock" }
                // What each may do of all that was tried.
                let allowed: [String: Set<String>] = [
                    "ca-core": Set(
                        [
                            "read /var/lib/upki-ca", "read /var/lib/upki-ca/ca.key", "read /var/lib/upki-ca/published/crl.der",
                            "write /var/lib/upki-ca",
                        ]
                            + ["write /tmp", "write /var/tmp", "write /dev/shm"] + sockets.map(stream)),
                    "ca-front": Set([stream("front"), "write /tmp", "write /var/tmp", "write /dev/shm", "internet"]),
                    "ca-registrar": Set([stream("registrar"), stream("events"), "internet"]),
                    "ca-ocsp-bridge": Set([
                        stream("ocsp"), stream("events"), "stream /run/upki-ca/ocsp/http.sock", "stream /run/upki-ca/ocsp/metrics.sock",
                        "write /tmp", "write /var/tmp", "write /dev/shm",
                    ]),
                ]
                for (service, expected) in allowed.sorted(by: { $0.key < $1.key }) {
                    let outcome = try inside(service)
                    #expect(outcome.count > 40)
                    let done = Set(outcome.filter { $0.value == "done" }.keys)
                    #expect(done == expected, "\(service): \(done.symmetricDifference(expected).sorted())")
                }
            }
        }

        // MARK: What happens to them

        /// Every request of the load was answered, and there were many.
        private func expectNothingLost(_ facts: JSON) {
            #expect(
                facts["lost"] == [] && facts["refusals"] == [:], "\(facts.at("lost")?.text ?? "") \(facts.at("refusals")?.text ?? "")")
            let told = "\(facts.at("by_task")?.text ?? ""), the slowest \(facts.at("slowest")?.text ?? "")"
            #expect((facts["answers"]?.integerValue ?? 0) > 100, "\(told)")
        }

        /// Every certificate that was given out is one of its own, is in the store, and the audit log is whole.
        private func expectAllKnown(_ facts: JSON, _ host: SystemdHost) throws {
            let known = Set(
                try host.must("ca-ctl cert list --json --limit 10000").split(separator: "\"").map(String.init).filter { $0.count > 30 })
            let serials = (facts["serials"]?.arrayValue ?? []).compactMap(\.stringValue)
            #expect(!serials.isEmpty && Set(serials).count == serials.count && serials.allSatisfy(known.contains), "\(serials.count)")
            #expect(try host.run("ca-ctl audit verify").code == 0)
        }

        @Test("each program killed or hanging is replaced, and the others live on")
        func failures() throws {
            try withHost { host in
                try host.startCA()
                let all = Self.services.map { "\($0).service" }
                // Faster than in the field: a test has no ten seconds for each.
                for unit in all {
                    try host.must(
                        "mkdir -p /run/systemd/system/\(unit).d && printf '[Service]\\nWatchdogSec=1500ms\\n' >/run/systemd/system/\(unit).d/fast.conf"
                    )
                }
                try host.must("systemctl daemon-reload && systemctl restart upki-ca.target && ca-ctl status --wait 20 >/dev/null")
                for signal in ["KILL", "STOP"] {
                    for unit in all {
                        let before = try all.map { try host.show("MainPID", of: $0) }
                        try host.must("kill -\(signal) $(systemctl show -P MainPID \(unit))")
                        try waitUntil("\(unit) is back after SIG\(signal)") {
                            let pid = try host.show("MainPID", of: unit)
                            return try pid != "0" && !before.contains(pid) && host.show("ActiveState", of: unit) == "active"
                        }
                        let after = try all.map { try host.show("MainPID", of: $0) }
                        for (index, other) in all.enumerated() where other != unit {
                            #expect(after[index] == before[index], "\(other) after SIG\(signal) of \(unit)")
                        }
                        // Once in a minute is no reason to give up, often is: the count is the test's own.
                        try host.must("systemctl reset-failed \(unit)")
                    }
                }
                #expect(try host.must("ca-ctl status --wait 20").contains("serving 5000"))
                #expect(try host.must("journalctl -q --no-pager -o cat -u ca-core").contains("Watchdog timeout"))
            }
        }

        @Test("restarts of core, front and bridge under load lose no request, and every certificate that was given out is known")
        func restarts() throws {
            try withHost { host in
                try host.startCA()
                let load = try host.load(requests: try requests(host))
                for unit in ["ca-core", "ca-front", "ca-core", "ca-ocsp-bridge", "ca-front", "ca-core"] {
                    try host.must("systemctl restart \(unit).service && ca-ctl status --wait 20 >/dev/null")
                }
                // And all at once.
                try host.must("systemctl restart upki-ca.target && ca-ctl status --wait 20 >/dev/null")
                let facts = try host.finish(load)
                expectNothingLost(facts)
                try expectAllKnown(facts, host)
            }
        }

        @Test("an upgrade of the package under load loses no request")
        func upgrade() throws {
            try withHost { host in
                try host.startCA()
                let before = try host.show("MainPID", of: "ca-core.service")
                let load = try host.load(requests: try requests(host))
                try host.install(1)
                #expect(try host.must("dpkg-query -W -f '${Version}' upki-ca") == "0.1.1")
                let facts = try host.finish(load)
                expectNothingLost(facts)
                #expect(try host.show("MainPID", of: "ca-core.service") != before)
                #expect(try host.must("ca-ctl status --wait 20").contains("serving 5000"))
            }
        }

        @Test("an upgrade whose core does not start says so and leaves the rest running; with the version before everything is back")
        func brokenUpgrade() throws {
            try withHost { host in
                try host.startCA()
                _ = try requests(host)
                try host.must("ca-ctl cert sign \(Self.csr) --profile server --json >/root/signed.json")
                let running = try ["ca-front", "ca-ocsp-bridge"].map { try host.show("MainPID", of: "\($0).service") }
                let broken = try host.must(
                    """
                    cp -a \(SystemdHost.packages.get()[0]) /root/good.deb && dpkg-deb -R /root/good.deb /root/broken
                    sed -i 's/^Version: .*/Version: 0.1.2/' /root/broken/DEBIAN/control
                    printf '#!/bin/sh\\necho the new version is broken >&2\\nexit 1\\n' >/root/broken/usr/lib/upki-ca/ca-core
                    dpkg-deb -Znone -b /root/broken /root/broken.deb >/dev/null && dpkg -i /root/broken.deb 2>&1
                    """, within: .seconds(120))
                #expect(
                    broken.contains("ca-core.service does not start in this version")
                        && broken.contains("upki-ca:     the new version is broken")
                        && broken.contains("With version 0.1.0 installed again"),
                    "\(broken)")
                #expect(try ["ca-front", "ca-ocsp-bridge"].map { try host.show("MainPID", of: "\($0).service") } == running)
                #expect(try host.run("ca-ctl status").output.contains("ca-core does not answer"))
                let back = try host.must("dpkg -i /root/good.deb 2>&1", within: .seconds(120))
                #expect(!back.contains("does not start"), "\(back)")
                try host.must("ca-ctl status --wait 20 >/dev/null && ca-ctl audit verify")
                let signed = try host.json("cat /root/signed.json")["serial"]?.stringValue ?? "none"
                #expect(try host.must("ca-ctl cert list --json").contains(signed))
            }
        }

        @Test("a full disk of the data directory is refused clearly, and nothing acknowledged is lost when there is room again")
        func fullDisk() throws {
            try withHost { host in
                try host.install()
                try host.must(
                    """
                    mkdir -p -m 700 /var/lib/upki-ca && mount -t tmpfs -o size=24m,mode=0700 tmpfs /var/lib/upki-ca
                    chown upki-ca:upki-ca /var/lib/upki-ca
                    printf 'store:\\n  reserve: 2\\n' | install -m 600 -o upki-ca -g upki-ca /dev/stdin /var/lib/upki-ca/ca.config.yml
                    ca-ctl init --json >/root/init.json
                    systemctl start upki-ca.target && ca-ctl status --wait 20 >/dev/null
                    """)
                let csr = try requests(host)
                let load = try host.load(pause: 0.005, requests: csr)
                try host.must(
                    "fallocate -l 100m /var/lib/upki-ca/ballast || dd if=/dev/zero of=/var/lib/upki-ca/ballast bs=1M 2>/dev/null; true")
                try waitUntil("the CA says that the disk is full", within: .seconds(40)) {
                    try host.must("journalctl -q --no-pager -o cat -u ca-core").contains("the disk is full")
                }
                #expect(try host.show("ActiveState", of: "ca-core.service") == "active")
                try host.must("rm /var/lib/upki-ca/ballast")
                try waitUntil("it issues again", within: .seconds(40)) {
                    try host.run("ca-ctl cert sign \(Self.csr) --json").code == 0
                }
                let facts = try host.finish(load)
                #expect(facts["lost"] == [])
                let refusals = (facts["refusals"]?.objectValue ?? []).map(\.name)
                #expect(
                    !refusals.isEmpty && refusals.allSatisfy { $0.hasPrefix("Storage error: ") || $0.hasPrefix("Busy: ") }, "\(refusals)")
                try expectAllKnown(facts, host)
                try host.must("systemctl stop upki-ca.target && umount /var/lib/upki-ca")
            }
        }
    }
}
