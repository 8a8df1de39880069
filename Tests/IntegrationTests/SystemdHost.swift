// A host with a real systemd, made by scripts/systemd-host, on which the package can be installed.
import Foundation
import Glibc
import TestPrograms
import Testing
import UPKIProtocol

/// A host of one test's own; it is gone when the test is over.
final class SystemdHost {
    /// Why there can be none here; nil where there can.
    static let obstacle: String? = {
        guard geteuid() == 0 else { return "only root can make a host with systemd" }
        guard access("/lib/systemd/systemd", X_OK) == 0 else { return "this machine has no systemd" }
        let mounts = (try? String(contentsOfFile: "/proc/mounts", encoding: .utf8)) ?? ""
        guard mounts.split(separator: "\n").contains(where: { $0.split(separator: " ").dropFirst(2).first == "cgroup2" }) else {
            return "cgroup2 is not mounted"
        }
        let systems = (try? String(contentsOfFile: "/proc/filesystems", encoding: .utf8)) ?? ""
        return systems.contains("overlay") ? nil : "this kernel has no overlayfs"
    }()

    /// The package of these programs, in two versions, made once for all tests: quickly, and not small.
    static let packages: Result<[String], any Error> = Result {
        let place = try Workplace()
        defer { place.end() }
        let folder = "\(root)/.build/deb-test"
        let versions = ["0.1.0", "0.1.1"]
        let made = try place.run(
            ["\(root)/scripts/deb"] + versions,
            environment: [
                "PROGRAMS": Checkout.programs, "OUT": folder, "COMPRESSION": "-Zgzip -z1",
                "PATH": ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin",
            ], within: .seconds(180))
        guard made.code == 0 else { throw TestFailure("scripts/deb: \(made.output)\(made.errors)") }
        return versions.map { "\(folder)/upki-ca_\($0)_amd64.deb" }
    }

    /// Without links, as the host sees it.
    static let root: String = {
        guard let real = realpath(Checkout.root, nil) else { return Checkout.root }
        defer { free(real) }
        return String(cString: real)
    }()

    let place: Workplace
    private let script: ProgramRun
    private var boots = 0
    private var pid = ""

    init() throws {
        place = try Workplace()
        script = try place.start(
            ["\(Self.root)/scripts/systemd-host", Self.root], keepInput: true, environment: ["PATH": "/usr/sbin:/usr/bin:/sbin:/bin"])
        try waitForBoot()
    }

    /// Powers it off; to be called at the test's end.
    func end() {
        script.closeInput()
        _ = try? script.finish()
        place.end()
    }

    private func waitForBoot() throws {
        boots += 1
        func announced() -> [Substring] { script.output.split(separator: "\n").filter { $0.hasPrefix("ready ") } }
        try waitUntil("the host has booted: \(script.errors)", within: .seconds(90)) {
            guard script.isRunning else { throw TestFailure("the host is gone: \(script.errors)") }
            return announced().count == boots
        }
        pid = String(announced().last?.dropFirst("ready ".count) ?? "")
    }

    /// Off and on again, with what is on its disk.
    func reboot() throws {
        try script.write("reboot\n")
        try waitForBoot()
    }

    // MARK: Commands

    /// Without its rc file, which bash reads where standard input is a socket.
    private func command(_ shell: String) -> [String] {
        ["\(Self.root)/scripts/systemd-host", "--inside", pid, "/bin/bash", "--norc", "-c", shell]
    }

    private static let environment = ["PATH": "/usr/sbin:/usr/bin:/sbin:/bin"]

    /// Runs a shell command there, as root.
    @discardableResult
    func run(_ shell: String, input: String = "", within: Duration = ProgramRun.patience) throws -> Finished {
        try place.run(command(shell), input: input, environment: Self.environment, within: within)
    }

    /// Runs one that has to succeed; its output.
    @discardableResult
    func must(_ shell: String, input: String = "", within: Duration = ProgramRun.patience) throws -> String {
        let finished = try run(shell, input: input, within: within)
        guard finished.code == 0 else {
            let log = try run("journalctl --no-pager -q -o cat -n 40 -u 'ca-*' -u 'upki-*'").output
            throw TestFailure("\(shell) ended with \(finished.code):\n\(finished.output)\(finished.errors)\n\(log)")
        }
        return finished.output
    }

    /// Starts one that goes on.
    func start(_ shell: String, input: String = "") throws -> ProgramRun {
        try place.start(command(shell), input: input, keepInput: true, environment: Self.environment)
    }

    /// As another user.
    func run(as user: String, _ shell: String) throws -> Finished {
        try run("exec setpriv --reuid \(user) --regid \(user) --init-groups env HOME=/home/\(user) bash -c '\(shell)'")
    }

    func json(_ shell: String) throws -> JSON {
        let output = try must(shell)
        do { return try JSON(parsing: Array(output.utf8)) } catch {
            throw TestFailure("\(shell) printed no JSON: \(output)")
        }
    }

    /// Hosts on one network, with these addresses of 192.0.2.0/24; after a reboot of one it is called again.
    static func connect(_ hosts: [(host: SystemdHost, address: String)], names: String) throws {
        guard let first = hosts.first else { return }
        func outside(_ command: String) throws {
            let line = ["/usr/bin/nsenter", "--net=/proc/\(first.host.pid)/ns/net", "/bin/bash", "-ec", command]
            let finished = try first.host.place.run(line, environment: Self.environment)
            guard finished.code == 0 else { throw TestFailure("\(command): \(finished.errors)") }
        }
        // The first host is the switch, too.
        try outside(
            "ip link show br0 >/dev/null 2>&1 || { ip link add br0 type bridge && ip address add \(first.address)/24 dev br0; }; ip link set br0 up"
        )
        for (index, (host, address)) in hosts.enumerated().dropFirst() {
            try outside(
                """
                ! ip link show port\(index) >/dev/null 2>&1 || ip link delete port\(index)
                ip link add port\(index) type veth peer name eth0 netns \(host.pid)
                ip link set port\(index) master br0 up
                """)
            try host.must("ip address add \(address)/24 dev eth0 && ip link set eth0 up")
        }
        for (host, _) in hosts { try host.must("grep -q example.com /etc/hosts || cat >>/etc/hosts", input: names) }
    }

    // MARK: The CA there

    func install(_ version: Int = 0) throws {
        try must("DEBIAN_FRONTEND=noninteractive dpkg -i \(try Self.packages.get()[version])", within: .seconds(120))
    }

    /// Installs the package, makes a CA and starts it.
    func startCA(configuration: String = "") throws {
        try install()
        try must("ca-ctl init --json >/root/init.json")
        if !configuration.isEmpty { try must("cat >>/var/lib/upki-ca/ca.config.yml", input: configuration) }
        try must("systemctl enable --now upki-ca.target && ca-ctl status --wait 20 >/dev/null")
    }

    /// Of a unit: `systemctl show`.
    func show(_ property: String, of unit: String) throws -> String {
        try must("systemctl show -P \(property) \(unit)").trimmingCharacters(in: .whitespacesAndNewlines)
    }

    func listens(_ port: Int) throws -> Bool { try must("ss -Hltn sport = :\(port)").isEmpty == false }

    /// Nodes that ask without end; `finish` tells what they saw.
    func load(clients: Int = 6, pause: Double = 0.015, requests: JSON) throws -> ProgramRun {
        let python = try Checkout.python("0.1.6")
        let given = JSON.object([
            .init("port", .integer(5_000)), .init("clients", .integer(clients)), .init("pause", .number("\(pause)")),
            .init("requests", requests),
        ])
        let run = try start(
            "exec \(python.replacing(Checkout.root, with: Self.root)) -B \(Self.root)/Tests/IntegrationTests/peers/steady.py")
        try run.write(given.text + "\n")
        try run.waitFor("going")
        return run
    }

    func finish(_ load: ProgramRun) throws -> JSON {
        load.closeInput()
        let finished = try load.finish()
        guard let line = finished.output.split(separator: "\n").last, let facts = try? JSON(parsing: Array(line.utf8)) else {
            throw TestFailure("the load said \(finished.output)\(finished.errors)")
        }
        return facts
    }
}
