// docs/DEPLOY.md, every command of it, on hosts with a real systemd.
import Foundation
import TestPrograms
import Testing
import UPKIProtocol

/// A block of commands of the document, and the host that it is for.
private struct Block {
    let host: String
    let commands: String

    /// The blocks that are marked with a host, in their order: "```sh HOST".
    static func all() throws -> [Block] {
        let text = try String(contentsOfFile: "\(Checkout.root)/docs/DEPLOY.md", encoding: .utf8)
        return text.components(separatedBy: "\n```sh ").dropFirst().compactMap { piece in
            guard let line = piece.firstIndex(of: "\n"), let end = piece.range(of: "\n```") else { return nil }
            return Block(host: String(piece[..<line]), commands: String(piece[piece.index(after: line)..<end.lowerBound]))
        }
    }
}

extension IntegrationTests {
    @Suite(
        "docs/DEPLOY.md",
        .enabled(if: SystemdHost.obstacle == nil, "skipped: \(SystemdHost.obstacle ?? ""); the document was not tried on this machine"))
    struct DeployTests {
        private static let names = """
            192.0.2.10 ca.example.com pki.example.com
            192.0.2.20 ra.example.com
            192.0.2.30 laptop.example.com

            """

        /// What a block's output has to hold, by a command of it.
        private static let expected: [(command: String, output: String)] = [
            ("apt-get install -y ./upki-ca_0.1.0", "there is no CA yet, and nothing was started"),
            ("ca-ctl init --company", "THE SEED, shown this once"),
            ("enable --now upki-ca.target", "serving 5000, "), ("openssl crl", "issuer=O = Example, CN = Example Root CA"),
            ("systemctl show -P StatusText upki-tunnel", "ra.example.com"), ("/acme/directory", "newOrder"),
            ("ca-ctl node list", "ra.example.com"),
            ("openssl ocsp", "www.pem: good"), ("openssl verify", "www.pem: OK"),
            ("ca-ctl --identity ~/.upki/node cert list", "www.example.com "),
            ("ca-ctl audit verify", "laptop.example.com"), ("apt-get install -y ./upki-ca_0.1.1", "serving 5000, "),
            ("systemd-creds encrypt", "serving 5000, "), ("apt-get purge", "/var/lib/upki-ca, its key included, is left as it is"),
        ]

        /// A host with what an operator brings along.
        private func host() throws -> SystemdHost {
            let host = try SystemdHost()
            for package in try SystemdHost.packages.get() { try host.must("ln -s \(package) /root/") }
            // It has what Debian has, and nothing to fetch more from.
            try host.must("rm -rf /var/lib/apt/lists/*")
            return host
        }

        /// Runs the blocks of these hosts.
        private func follow(_ hosts: [String: SystemdHost]) throws {
            var string = ""
            for block in try Block.all() {
                guard let host = hosts[block.host] else { continue }
                let output = try host.must(
                    "cd /root && export DEBIAN_FRONTEND=noninteractive && set -e\n\(block.commands)", input: string, within: .seconds(180))
                for line in output.split(whereSeparator: \.isWhitespace) where line.hasPrefix("upkienroll1.") { string = "\(line)\n" }
                for (command, text) in Self.expected where block.commands.contains(command) {
                    #expect(output.contains(text), "\(block.commands)\nprinted:\n\(output)")
                }
            }
        }

        @Test("every block of commands is for a host that runs it, and what is expected is of a command that is there")
        func blocks() throws {
            let text = try String(contentsOfFile: "\(Checkout.root)/docs/DEPLOY.md", encoding: .utf8)
            let blocks = try Block.all()
            #expect(text.components(separatedBy: "\n```sh").count == blocks.count + 1)
            #expect(Set(blocks.map(\.host)) == ["ca", "ra", "laptop", "seed"])
            for (command, _) in Self.expected { #expect(blocks.contains { $0.commands.contains(command) }, "\(command)") }
        }

        @Test("a CA, an RA and an admin from afar come out of it; the ports are open to whom the table says; a reboot changes nothing")
        func walk() throws {
            let ca = try host()
            defer { ca.end() }
            let ra = try host()
            defer { ra.end() }
            let laptop = try host()
            defer { laptop.end() }
            let network = [(ca, "192.0.2.10"), (ra, "192.0.2.20"), (laptop, "192.0.2.30")].map { (host: $0.0, address: $0.1) }
            try SystemdHost.connect(network, names: Self.names)
            try ca.must("useradd -m alice")
            // No host of these has a way to a package registry: what there is to fetch was fetched before.
            try ra.must(
                "mkdir -p /root/.config/pip && cat >/root/.config/pip/pip.conf",
                input: "[global]\nno-index = true\nfind-links = \(SystemdHost.root)/.build/peers/wheels\n")
            try follow(["ca": ca, "ra": ra, "laptop": laptop])

            func reaches(_ host: SystemdHost, _ port: Int, from address: String = "") throws -> Bool {
                let bind = address.isEmpty ? "" : ", source_address=(\"\(address)\", 0)"
                return try host.run("python3 -c 'import socket; socket.create_connection((\"192.0.2.10\", \(port)), timeout=2\(bind))'")
                    .code == 0
            }
            // To whom which port is open.
            try laptop.must("ip address add 192.0.2.40/24 dev eth0")
            #expect(try reaches(ra, 5_000) && reaches(laptop, 5_000) && reaches(laptop, 80, from: "192.0.2.40"))
            #expect(try !reaches(laptop, 5_000, from: "192.0.2.40") && !reaches(laptop, 8_443) && !reaches(ra, 5_001))
            #expect(try !ca.listens(5_001))
            // On loopback nobody but root is let in.
            #expect(try ca.run(as: "alice", "exec 3<>/dev/tcp/127.0.0.1/5000").code != 0)
            #expect(try ca.run(as: "alice", "ca-ctl status").output.contains("serving 5000"))

            // An admin opens registration from afar: the unit that watches the flag starts the registrar, and ends with it.
            try laptop.must("ca-ctl --identity ~/.upki/node registrar open --for 10m >/dev/null")
            try waitUntil("the registrar was started") { try ca.listens(5_001) }
            #expect(try !reaches(laptop, 5_001, from: "192.0.2.40"))
            try laptop.must("ca-ctl --identity ~/.upki/node registrar close >/dev/null")
            try waitUntil("the registrar has closed") { try !ca.listens(5_001) }

            // Off and on: everything comes back by itself.
            for host in [ca, ra] { try host.reboot() }
            try SystemdHost.connect(network, names: Self.names)
            let ask =
                "curl -sS --cacert ca.pem -H 'Content-Type: application/json' -d @request.json https://ra.example.com:8443/api/v1/certify"
            try waitUntil("the RA issues again", within: .seconds(40)) {
                try laptop.run("cd /root && \(ask)").output.contains("BEGIN CERTIFICATE")
            }
            #expect(
                try laptop.must(
                    "cd /root && openssl ocsp -issuer ca.pem -CAfile ca.pem -cert www.pem -url http://pki.example.com/ocsp 2>&1"
                ).contains("www.pem: good"))
            #expect(try !ca.listens(5_001) && !reaches(laptop, 5_000, from: "192.0.2.40"))
            #expect(try ca.must("systemctl --failed --no-legend").isEmpty && ra.must("systemctl --failed --no-legend").isEmpty)
        }

        @Test("with the seed as a credential no key is on the disk; and a purge leaves the CA where it is")
        func seed() throws {
            let host = try host()
            defer { host.end() }
            try follow(["seed": host])
            #expect(try host.must("ls -A /var/lib/upki-ca").contains("ca.crt") && host.run("ls /var/lib/upki-ca/ca.key").code != 0)
        }

        // MARK: Containers

        /// What follows an instruction of the Dockerfile's last stage.
        private static func instruction(_ name: String) throws -> String {
            let text = try String(contentsOfFile: "\(Checkout.root)/deploy/docker/Dockerfile", encoding: .utf8)
            let stage = try #require(text.components(separatedBy: "\nFROM ").last)
            let line = stage.split(separator: "\n").last { $0.hasPrefix("\(name) ") }
            return String(try #require(line).dropFirst(name.count + 1))
        }

        /// The exec form: a JSON list.
        private static func command(_ text: String) throws -> String {
            let list = try #require(text.firstIndex(of: "["))
            let words = try JSON(parsing: Array(text[list...].utf8)).arrayValue ?? []
            return words.compactMap(\.stringValue).joined(separator: " ")
        }

        @Test(
            "what the container's image has: an empty volume never becomes a CA; with one it runs without root or rights, and its health is told"
        )
        func container() throws {
            let host = try host()
            defer { host.end() }
            let user = try Self.instruction("USER")
            let volume = try Self.instruction("VOLUME")
            #expect(user == "10001:10001" && volume == "/var/lib/upki-ca")
            let (start, health) = (try Self.command(Self.instruction("ENTRYPOINT")), try Self.command(Self.instruction("HEALTHCHECK")))
            try host.must(
                """
                dpkg-deb -x /root/upki-ca_0.1.0_amd64.deb /root/image
                cp -a /root/image/usr/lib/upki-ca /usr/lib/ && cp -a /root/image/usr/bin/ca-ctl /usr/bin/
                groupadd --gid 10001 upki-ca && useradd --uid 10001 --gid 10001 --home-dir \(volume) upki-ca
                install -d -o upki-ca -g upki-ca -m 0700 \(volume) /run/upki-ca
                """)
            let environment = try Self.instruction("ENV").split(separator: " ").map { "--setenv=\($0)" }.joined(separator: " ")
            let run = """
                systemd-run --quiet --collect --uid=10001 --gid=10001 \(environment) -p NoNewPrivileges=yes -p CapabilityBoundingSet= \
                    -p ProtectSystem=strict -p ReadWritePaths='\(volume) /run/upki-ca' -p PrivateTmp=yes -p KillSignal=SIGTERM -p KillMode=mixed
                """.replacing("\\\n", with: "")
            let refused = try host.run("\(run) --pipe --wait \(start)")
            #expect(refused.code == 1 && refused.errors.contains("--no-init forbids to make one"), "\(refused.errors)")
            #expect(try host.must("find \(volume) -mindepth 1 -name 'ca.*'").isEmpty)

            try host.must("\(run) --pipe --wait ca-ctl init --json >/root/init.json")
            #expect(try host.run("\(run) --pipe --wait \(health)").code != 0)
            try host.must("\(run) --unit=container -p Type=exec \(start)")
            try waitUntil("the container is healthy", within: .seconds(30)) { try host.run("\(run) --pipe --wait \(health)").code == 0 }
            #expect(try host.must("ps -o user= -p $(systemctl show -P MainPID container)").contains("upki-ca"))
            #expect(try host.listens(5_000))
            try host.must("systemctl stop container")
            #expect(try host.run("\(run) --pipe --wait \(health)").code != 0)
            #expect(try !host.listens(5_000))

            // The compose file: whoever reads YAML reads it, and the RA has the tunnel's network.
            let python = try Checkout.python("0.1.6")
            let read = "import json, sys, yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1]))))"
            let shown = try host.place.must([python, "-c", read, "\(Checkout.root)/deploy/docker/compose.yml"])
            let compose = try JSON(parsing: Array(shown.utf8))
            #expect(compose.at("services", "ra", "network_mode") == "service:tunnel")
            #expect(compose.at("services", "ca", "volumes") == ["ca:/var/lib/upki-ca"] && compose.at("volumes", "ca") == .null)
            for service in ["ca", "tunnel", "ra"] {
                #expect(
                    compose.at("services", service, "read_only") == true && compose.at("services", service, "cap_drop") == ["ALL"],
                    "\(service)")
            }
        }
    }
}
