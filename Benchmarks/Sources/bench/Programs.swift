// The CA under test: a directory, a free port and processes of its own, which end with the measurement.
import Foundation
import Glibc
import UPKIProtocol
import ZeroMQ

/// Runs a program to its end.
func output(of program: String, _ arguments: [String], quietly: Bool = false) throws -> String {
    let process = Process()
    let pipe = Pipe()
    process.executableURL = URL(fileURLWithPath: program)
    process.arguments = arguments
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = pipe
    if quietly { process.standardError = FileHandle.nullDevice }
    try process.run()
    let bytes = pipe.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    guard process.terminationStatus == 0 else {
        throw BenchError(description: "\(program) \(arguments) ended with \(process.terminationStatus)")
    }
    return String(decoding: bytes, as: UTF8.self)
}

final class BenchCA {
    let directory: String
    let port: UInt16
    private let supervisor = Process()
    private let programs: String
    let token: String

    /// - Parameter cache: the OCSP bridge's, in MiB.
    init(programs: String, cache: Int) throws {
        self.programs = programs
        var template = Array("/tmp/upki-bench-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw BenchError(description: "no temporary directory") }
        self.directory = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        self.port = try Self.freePort()
        do {
            let made = try output(of: "\(programs)/ca-core", ["init", "--data-dir", "\(self.directory)/data"], quietly: true)
            guard let token = try JSON(parsing: Array(made.utf8))["token"]?.stringValue else {
                throw BenchError(description: "init gave no token")
            }
            self.token = token
            let configuration = "\(self.directory)/data/ca.config.yml"
            let text = try String(contentsOfFile: configuration, encoding: .utf8)
            let lines = text.split(separator: "\n", omittingEmptySubsequences: false).filter { !$0.hasPrefix("host:") }.joined(
                separator: "\n")
            // Without limits of rates, which are what would be measured.
            let more = """

                ocsp: {cache: \(cache)}
                listeners: [{address: 127.0.0.1, security: plain}, {address: \(Self.curveAddress), security: curve}]
                limits: {rate_per_identity: 0, rate_per_address: 0, stranger_rate: 0}

                """
            try Data((lines + more).utf8).write(to: URL(fileURLWithPath: configuration))
        } catch {
            try? FileManager.default.removeItem(atPath: self.directory)
            throw error
        }
        let log = "\(self.directory)/log"
        guard FileManager.default.createFile(atPath: log, contents: nil), let file = FileHandle(forWritingAtPath: log) else {
            throw BenchError(description: "no log")
        }
        self.supervisor.executableURL = URL(fileURLWithPath: "\(programs)/ca-ctl")
        self.supervisor.arguments = ["up", "--no-init", "--port", "\(self.port)"] + self.places
        self.supervisor.standardInput = FileHandle.nullDevice
        self.supervisor.standardOutput = file
        self.supervisor.standardError = file
        try self.supervisor.run()
        do {
            _ = try output(of: "\(programs)/ca-ctl", ["status", "--wait", "30"] + self.places)
        } catch {
            let words = (try? String(contentsOfFile: log, encoding: .utf8)) ?? ""
            self.end()
            throw BenchError(description: "the CA does not start:\n\(words)")
        }
    }

    /// Where it speaks CURVE.
    static let curveAddress = "127.0.0.2"

    /// A client with a key of its own, towards the front.
    func curve() throws -> ZMQCurveRole {
        let facts = try output(of: "\(self.programs)/ca-ctl", ["transport", "show", "--json"] + self.places)
        guard let key = try JSON(parsing: Array(facts.utf8))["core_key"]?.stringValue else { throw BenchError(description: "no CURVE key") }
        return .client(try ZMQCurveKeyPair.generate(), serverKey: key)
    }

    private var places: [String] { ["--data-dir", "\(self.directory)/data", "--run-dir", "\(self.directory)/run"] }

    var bridgeSocket: String { "\(self.directory)/run/ocsp/http.sock" }

    /// Makes this address a node.
    func register() throws {
        let context = try ZMQContext()
        var options = ZMQSocketOptions()
        options.receiveTimeoutMilliseconds = 5_000
        let socket = try ZMQSocket(.dealer, in: context, options: options)
        try socket.connect("tcp://127.0.0.1:\(self.port + 1)")
        let request = Request(
            task: "register", parameters: Parameters([.init("seed", .string(self.token)), .init("cn", "bench.example.com")]))
        try socket.send(parts: [[], request.frame])
        guard let answer = try socket.receive(ZMQReceiveLimits(parts: 2, bytes: 1 << 20))?.parts.last else {
            throw BenchError(description: "register was not answered")
        }
        _ = try Answer.data(ofFrame: answer)
    }

    /// The kilobytes of memory that are a process's own share (PSS), by name of the program.
    func memory() -> [(String, Int)] {
        let entries = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        return entries.compactMap { entry -> (String, Int)? in
            guard Int(entry) != nil, let command = FileManager.default.contents(atPath: "/proc/\(entry)/cmdline") else { return nil }
            let words = String(decoding: command, as: UTF8.self).split(separator: "\0").map(String.init)
            guard words.contains("\(self.directory)/run"),
                let rollup = try? String(contentsOfFile: "/proc/\(entry)/smaps_rollup", encoding: .utf8)
            else {
                return nil
            }
            let line = rollup.split(separator: "\n").first { $0.hasPrefix("Pss:") }
            let kilobytes = line?.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
            let name = (words[0] as NSString).lastPathComponent
            return (words.count > 1 && !words[1].hasPrefix("-") ? "\(name) \(words[1])" : name, kilobytes)
        }.sorted { $0.0 < $1.0 }
    }

    func end() {
        if self.supervisor.isRunning { self.supervisor.terminate() }
        self.supervisor.waitUntilExit()
        try? FileManager.default.removeItem(atPath: self.directory)
    }

    /// A port that is free together with the next one.
    static func freePort() throws -> UInt16 {
        for _ in 0..<100 {
            let port = UInt16.random(in: 20_000..<32_000)
            if self.isFree(port), self.isFree(port + 1) { return port }
        }
        throw BenchError(description: "no free port")
    }

    private static func isFree(_ port: UInt16) -> Bool {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        return withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) } == 0
        }
    }
}
