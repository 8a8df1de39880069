// docs/DEPLOY.md, every command of it, on hosts with a real systemd.
import Foundation
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
        "docs/DEPLOY.md", .enabled(if: SystemdHost.obstacle == nil, "skipped: \(SystemdHost.obstacle ?? ""); the document was not tried on this machine"))
    struct DeployTests {
        private static let names = """
            192.0.2.10 ca.example.com pki.example.com
            192.0.2.20 ra.example.com
            192.0.2.30 laptop.example.com

            """

        /// What a block's output has to hold, by a command of it.
        private static let expected: [(command: String, output: String)] = [
            ("apt-get install -y ./upki-ca_0.1.0", "there is no CA yet, and nothing was started"), ("ca-ctl init --company", "THE SEED, shown this once"),
            ("enable --now upki-ca.target", "serving 5000, "), ("openssl crl", "issuer=O = Example, CN = Example Root CA"),
            ("systemctl show -P StatusText upki-tunnel", "ra.example.com"), ("/acme/directory", "newOrder"), ("ca-ctl node list", "ra.example.com"),
            ("openssl ocsp", "www.pem: good"), ("openssl verify", "www.pem: OK"), ("ca-ctl --identity ~/.upki/node cert list", "www.example.com "),
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
            var met: Set<String> = []
            for block in try Block.all() where hosts[block.host] != nil {
                guard let host = hosts[block.host] else { continue }
                let output = try host.must("cd /root && export DEBIAN_FRONTEND=noninteractive && set -e\n\(block.commands)", input: string, within: .seconds(180))
                for line in output.split(whereSeparator: \.isWhitespace) where line.hasPrefix("upkienroll1.") { string = "\(line)\n" }
                for (command, text) in Self.expected where block.commands.contains(command) {
                    met.insert(command)
                    #expect(output.contains(text), "\(block.commands)\nprinted:\n\(output)")
                }
            }
            #expect(!met.isEmpty)
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
            try ra.must("mkdir -p /root/.config/pip && cat >/root/.config/pip/pip.conf", input: "[global]\nno-index = true\nfind-links = \(SystemdHost.root)/.build/peers/wheels\n")
            try follow(["ca": ca, "ra": ra, "laptop": laptop])

            func reaches(_ host: SystemdHost, _ port: Int, from address: String = "") throws -> Bool {
                let bind = address.isEmpty ? "" : ", source_address=(\"\(address)\", 0)"
                return try host.run("python3 -c 'import socket; socket.create_connection((\"192.0.2.10\", \(port)), timeout=2\(bind))'").code == 0
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
            let serial = try laptop.must("openssl x509 -in /root/www.pem -noout -serial")
            for host in [ca, ra] { try host.reboot() }
            try SystemdHost.connect(network, names: Self.names)
            let ask = "curl -sS --cacert ca.pem -H 'Content-Type: application/json' -d @request.json https://ra.example.com:8443/api/v1/certify"
            try waitUntil("the RA issues again", within: .seconds(40)) { try laptop.run("cd /root && \(ask)").output.contains("BEGIN CERTIFICATE") }
            #expect(try laptop.must("cd /root && openssl ocsp -issuer ca.pem -CAfile ca.pem -cert www.pem -url http://pki.example.com/ocsp 2>&1").contains("www.pem: good"), "\(serial)")
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
    }
}
