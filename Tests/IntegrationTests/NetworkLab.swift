// Three hosts on one Ethernet, the CA's, an RA's and an attacker's: network namespaces that a test makes and takes away.
import Foundation
import Glibc
import TestPrograms
import Testing
import UPKIProtocol

/// A network of a test's own; it needs root.
final class NetworkLab {
    enum Host: String, CaseIterable {
        case ca, ra, attacker

        var address: String {
            switch self {
            case .ca: "10.77.0.1"
            case .ra: "10.77.0.2"
            case .attacker: "10.77.0.3"
            }
        }
    }

    /// The CA's second address: where somebody in between who has taken the first one finds it.
    static let secondAddressOfCA = "10.77.0.9"
    private static let ip = "/usr/bin/ip"

    /// Whether this process may make network namespaces, and bridges between them.
    static let isAvailable: Bool = {
        guard geteuid() == 0, let lab = try? NetworkLab() else { return false }
        lab.end()
        return true
    }()

    static let whyNot = "skipped: hosts of the test's own need root, and the right to make network namespaces and bridges"

    let place: Workplace
    private let name: String

    init() throws {
        self.place = try Workplace()
        // Unique on this machine, and short enough for a device's name.
        self.name = "upki\(getpid())\(UInt16.random(in: 1_000...9_999))"
        do { try self.place.must(["/bin/sh", "-ec", self.making]) } catch {
            self.end()
            throw error
        }
    }

    private var making: String {
        let ip = Self.ip
        let hosts = Host.allCases.map(\.rawValue)
        var lines = (["net"] + hosts).flatMap { host in
            ["\(ip) netns add \(self.name)\(host)", "\(ip) -n \(self.name)\(host) link set lo up"]
        }
        lines += ["\(ip) -n \(self.name)net link add br0 type bridge", "\(ip) -n \(self.name)net link set br0 up"]
        for host in Host.allCases {
            let own = "\(ip) -n \(self.name)\(host.rawValue)"
            lines += [
                "\(ip) -n \(self.name)net link add \(host.rawValue) type veth peer name eth0 netns \(self.name)\(host.rawValue)",
                "\(ip) -n \(self.name)net link set \(host.rawValue) master br0 up",
                "\(own) address add \(host.address)/16 dev eth0", "\(own) link set eth0 up",
            ]
        }
        lines.append("\(ip) -n \(self.name)ca address add \(Self.secondAddressOfCA)/16 dev eth0")
        return lines.joined(separator: "\n")
    }

    /// The command that runs another one on a host.
    func on(_ host: Host) -> [String] { self.inside(host.rawValue) }

    private func inside(_ space: String) -> [String] { [Self.ip, "netns", "exec", self.name + space] }

    /// Gives the attacker `count` addresses more.
    func multiplyAttacker(_ count: Int) throws {
        let lines = (0..<count).map { "address add 10.77.\(1 + $0 / 250).\(1 + $0 % 250)/16 dev eth0\n" }.joined()
        try self.place.must(self.on(.attacker) + [Self.ip, "-b", "-"], input: lines)
    }

    /// Has the RA's host take the attacker for the CA, as after forged ARP, and gives the attacker the CA's address.
    func putAttackerInBetween(alsoSecond: Bool = false) throws {
        let shown = try self.place.must(self.on(.attacker) + [Self.ip, "-o", "link", "show", "eth0"])
        guard let mark = shown.range(of: "link/ether ") else { throw TestFailure("no address in: \(shown)") }
        let hardware = String(shown[mark.upperBound...].prefix(17))
        for address in self.takenOver(alsoSecond) {
            try self.place.must(self.on(.attacker) + [Self.ip, "address", "add", "\(address)/32", "dev", "lo"])
            try self.place.must(
                self.on(.ra) + [Self.ip, "neigh", "replace", address, "lladdr", hardware, "nud", "permanent", "dev", "eth0"])
        }
    }

    func takeAttackerAway(alsoSecond: Bool = false) throws {
        for address in self.takenOver(alsoSecond) {
            try self.place.must(self.on(.attacker) + [Self.ip, "address", "del", "\(address)/32", "dev", "lo"])
            try self.place.must(self.on(.ra) + [Self.ip, "neigh", "del", address, "dev", "eth0"])
        }
    }

    private func takenOver(_ alsoSecond: Bool) -> [String] { [Host.ca.address] + (alsoSecond ? [Self.secondAddressOfCA] : []) }

    // MARK: Programs

    /// Starts a peer script on a host.
    func start(_ script: String, _ arguments: [String] = [], on host: Host, input: String = "", keepInput: Bool = false) throws
        -> ProgramRun
    {
        try self.place.start(
            self.on(host) + [try Checkout.python("0.1.6"), "-B", "\(Checkout.peers)/\(script)"] + arguments, input: input,
            keepInput: keepInput)
    }

    /// Runs a peer script on a host and reads the JSON of its last line.
    func peer(
        _ script: String, _ arguments: [String] = [], on host: Host, version: String = "0.1.6", input: JSON = .null,
        within: Duration = .seconds(120)
    ) throws -> JSON {
        let finished = try self.place.run(
            self.on(host) + [try Checkout.python(version), "-B", "\(Checkout.peers)/\(script)"] + arguments,
            input: input.isNull ? "" : input.text + "\n", within: within)
        let last = finished.output.split(separator: "\n").last.map(String.init) ?? ""
        guard finished.code == 0, let json = try? JSON(parsing: Array(last.utf8)) else {
            throw TestFailure(
                "\(script) ended with \(finished.code):\n\(finished.output.prefix(2_000))\n\(finished.errors.suffix(4_000))")
        }
        return json
    }

    /// Runs ca-ctl on a host.
    func ctl(_ arguments: [String], on host: Host, input: String = "", within: Duration = ProgramRun.patience) throws -> Finished {
        try self.place.run(self.on(host) + ["\(Checkout.programs)/ca-ctl"] + arguments, input: input, within: within)
    }

    // MARK: Listening

    /// Records everything on the wire of the CA's host until it is told to stop.
    func sniff(to file: String) throws -> ProgramRun {
        let sniffer = try self.place.start(
            self.inside("net") + [
                "/usr/bin/tcpdump", "-i", NetworkLab.Host.ca.rawValue, "-s", "0", "-B", "65536", "--immediate-mode", "-U", "-n", "-Z",
                "root", "-w", file, "tcp",
            ])
        try sniffer.waitFor("listening on \(NetworkLab.Host.ca.rawValue)")
        return sniffer
    }

    // MARK: The end

    func end() {
        for host in ["net"] + Host.allCases.map(\.rawValue) {
            _ = try? self.place.run([Self.ip, "netns", "delete", "\(self.name)\(host)"])
        }
        self.place.end()
    }
}

/// A node that registered over CURVE, and what it knows.
struct NetworkNode {
    let commonName: String
    let curveSecret: String
    let publicKey: String
    /// The CA's keys for ports 5000 and 5001.
    let serverKey: String
    let registrarKey: String
    /// What it registered with.
    let token: String
}

/// A CA on the CA's host: with CURVE on both of its addresses, without on loopback.
final class LabCA {
    let lab: NetworkLab
    let ca: RunningCA

    static let listeners = """
        listeners:
          - {address: 127.0.0.1, security: plain}
          - {address: \(NetworkLab.Host.ca.address), security: curve}
          - {address: \(NetworkLab.secondAddressOfCA), security: curve}

        """

    init(_ lab: NetworkLab, configuration: String = "") throws {
        self.lab = lab
        self.ca = try RunningCA(configuration: configuration, wrapper: { _ in lab.on(.ca) })
        do {
            try self.ca.stop()
            let file = "\(self.ca.data)/ca.config.yml"
            let lines = try String(contentsOfFile: file, encoding: .utf8).split(separator: "\n", omittingEmptySubsequences: false)
            let text = lines.filter { !$0.hasPrefix("host:") }.joined(separator: "\n") + "\n" + Self.listeners
            try text.write(toFile: file, atomically: false, encoding: .utf8)
            chmod(file, 0o600)
            try self.ca.start()
        } catch {
            self.ca.end()
            throw error
        }
    }

    /// Opens registration; what `ca-ctl registrar open` prints with --json.
    func open(_ commonName: String? = nil, max: Int? = nil) throws -> JSON {
        try self.ca.facts(
            ["registrar", "open", "--for", "30m"] + (commonName.map { ["--cn", $0] } ?? []) + (max.map { ["--max", "\($0)"] } ?? []))
    }

    /// Registers a node over CURVE, from a host, with a key and a CSR of its own.
    func enrol(_ commonName: String, on host: NetworkLab.Host) throws -> NetworkNode {
        let opened = try self.open(commonName)
        let fresh = try self.lab.peer("curve_keys.py", on: host)
        let node = NetworkNode(
            commonName: commonName, curveSecret: fresh["secret"]?.stringValue ?? "", publicKey: fresh["public"]?.stringValue ?? "",
            serverKey: opened.at("transport", "core_key")?.stringValue ?? "",
            registrarKey: opened.at("transport", "registrar_key")?.stringValue ?? "", token: opened["token"]?.stringValue ?? "")
        let answer = try self.register(node, as: node.curveSecret, on: host)
        guard answer["EVENT"] == "ANSWER" else { throw TestFailure("register: \(answer.text)") }
        return node
    }

    /// What `register` answers to a node's token and name, asked with this CURVE key.
    func register(_ node: NetworkNode, as secret: String, on host: NetworkLab.Host) throws -> JSON {
        let csr = try self.lab.place.csr("/CN=\(node.commonName)")
        let told = try self.lab.peer(
            "curve_client.py", on: host,
            input: [
                "address": .string(NetworkLab.Host.ca.address), "port": .integer(self.ca.registrarPort),
                "server_key": .string(node.registrarKey),
                "secret": .string(secret),
                "requests": [["register", ["seed": .string(node.token), "cn": .string(node.commonName), "csr": .string(csr)]]],
            ])
        return told["answers"]?.arrayValue?.first ?? .null
    }

    func end() { self.ca.end() }
}

/// A network with a CA on it, for the time of `body`; what the CA logged comes with a failure.
func withNetwork<Result>(configuration: String = "", _ body: (NetworkLab, LabCA) throws -> Result) throws -> Result {
    let lab = try NetworkLab()
    defer { lab.end() }
    let ca = try LabCA(lab, configuration: configuration)
    defer { ca.end() }
    do { return try body(lab, ca) } catch {
        throw TestFailure("\(error)\n--- log of the CA:\n\(ca.ca.log.suffix(6_000))")
    }
}
