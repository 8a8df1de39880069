// Where a test works: a directory of its own, free ports, the programs, the peers.
import Foundation
import Glibc
import TestPrograms
import Testing
import UPKIProtocol

/// The places of this checkout.
enum Checkout {
    static let programs = ProgramRun.builtPrograms

    static let peers = (#filePath as NSString).deletingLastPathComponent + "/peers"

    static let documents = Self.root + "/docs"

    static let root = ((#filePath as NSString).deletingLastPathComponent + "/../..") as String

    /// The Python of the environment that holds this version of upki-ra; `scripts/setup test` makes it.
    static func python(_ version: String) throws -> String { try self.python(environment: "ra-\(version)") }

    /// The Python of any of those environments.
    static func python(environment: String) throws -> String {
        let path = "\(Self.root)/.build/peers/\(environment)/bin/python"
        guard FileManager.default.isExecutableFile(atPath: path) else {
            throw TestFailure("the peer \(environment) is missing (\(path)); run: scripts/setup test")
        }
        return path
    }
}

/// A temporary directory with a short path (unix sockets live in it), for processes that end with it.
final class Workplace {
    let directory: String

    init() throws {
        var template = Array("/tmp/upki-it-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw TestFailure("mkdtemp: \(errno)") }
        self.directory = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    func path(_ name: String) -> String { "\(self.directory)/\(name)" }

    func write(_ text: String, to name: String, mode: mode_t = 0o600) throws {
        try text.write(toFile: self.path(name), atomically: false, encoding: .utf8)
        chmod(self.path(name), mode)
    }

    func read(_ name: String) throws -> String { try String(contentsOfFile: self.path(name), encoding: .utf8) }

    /// Environment of every process here: nothing of the test's own.
    var environment: [String: String] {
        ["PATH": "/usr/bin:/bin", "HOME": self.directory, "LANG": "C.UTF-8", "LD_LIBRARY_PATH": Self.libraries]
    }

    /// Where a toolchain that is not in the linker's path keeps the Swift runtime.
    private static let libraries = ProcessInfo.processInfo.environment["LD_LIBRARY_PATH"] ?? ""

    func start(_ command: [String], input: String = "", keepInput: Bool = false, environment: [String: String] = [:]) throws -> ProgramRun {
        try ProgramRun(
            command, input: input, keepInput: keepInput, environment: self.environment.merging(environment) { $1 },
            directory: self.directory)
    }

    @discardableResult
    func run(_ command: [String], input: String = "", environment: [String: String] = [:], within: Duration = ProgramRun.patience) throws
        -> Finished
    {
        try self.start(command, input: input, environment: environment).finish(within: within)
    }

    /// Runs a tool that has to succeed; its output.
    @discardableResult
    func must(_ command: [String], input: String = "") throws -> String {
        try self.run(command, input: input).output(of: command)
    }

    /// Runs a peer script and reads the JSON that it prints.
    func peer(
        _ script: String, _ arguments: [String] = [], version: String = "0.1.6", input: JSON = .null, within: Duration = .seconds(120)
    ) throws -> JSON {
        let finished = try self.run(
            [try Checkout.python(version), "-B", "\(Checkout.peers)/\(script)"] + arguments, input: input.isNull ? "" : input.text,
            within: within)
        guard finished.code == 0, let json = try? JSON(parsing: Array(finished.output.utf8)) else {
            throw TestFailure(
                "\(script) ended with \(finished.code):\n\(finished.output.prefix(2_000))\n\(finished.errors.suffix(4_000))")
        }
        return json
    }

    /// A CSR by openssl with a key of this kind (`ec:P-256`, `rsa:2048`, `ed25519`).
    func csr(_ subject: String, key: String = "ec:P-256", names: [String] = [], extra: [String] = []) throws -> String {
        let id = UUID().uuidString
        let kind = key.split(separator: ":").map(String.init)
        let option =
            switch kind[0] {
            case "ec": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:\(kind[1])"]
            case "rsa": ["-newkey", "rsa:\(kind[1])"]
            default: ["-newkey", kind[0]]
            }
        let added = names.isEmpty ? [] : ["-addext", "subjectAltName=" + names.joined(separator: ",")]
        try self.must(
            [
                "/usr/bin/openssl", "req", "-new", "-nodes", "-utf8", "-keyout", self.path(id + ".key"), "-out", self.path(id + ".csr"),
                "-subj", subject,
            ] + option
                + added + extra)
        return try self.read(id + ".csr")
    }

    /// The ids of processes whose command line names this directory.
    func processes() -> [(pid: pid_t, command: String)] {
        let entries = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        return entries.compactMap { entry in
            guard let pid = pid_t(entry), let bytes = FileManager.default.contents(atPath: "/proc/\(entry)/cmdline") else { return nil }
            let command = String(decoding: bytes, as: UTF8.self).replacingOccurrences(of: "\0", with: " ")
            return command.contains(self.directory) ? (pid, command) : nil
        }
    }

    /// Removes the directory; fails the test where a process is still at work in it.
    func end() {
        var left = self.processes()
        // A process that has just been killed may be seen until its parent has waited for it; it is no child of ours, so no event tells.
        let end = ContinuousClock.now + .seconds(2)
        while !left.isEmpty, ContinuousClock.now < end {
            usleep(10_000)
            left = self.processes()
        }
        #expect(left.isEmpty, "left behind: \(left)")
        for (pid, _) in left { kill(pid, SIGKILL) }
        try? FileManager.default.removeItem(atPath: self.directory)
        #expect(!FileManager.default.fileExists(atPath: self.directory))
    }
}

/// TCP ports of the loopback interface.
enum Ports {
    /// A port that is free together with the next one, below those that the kernel gives out by itself.
    static func freePair() throws -> Int {
        for _ in 0..<200 {
            let port = Int.random(in: 10_000..<32_000)
            if Self.isFree(port), Self.isFree(port + 1) { return port }
        }
        throw TestFailure("no two free ports")
    }

    static func isFree(_ port: Int) -> Bool { Self.with(port) { bind($0, $1, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0 } }

    static func listens(_ port: Int) -> Bool { Self.with(port) { connect($0, $1, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0 } }

    private static func with(_ port: Int, _ call: (Int32, UnsafePointer<sockaddr>) -> Bool) -> Bool {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        defer { close(descriptor) }
        var on: Int32 = 1
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, socklen_t(MemoryLayout<Int32>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        return withUnsafePointer(to: &address) { $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { call(descriptor, $0) } }
    }
}
