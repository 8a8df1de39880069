// Load over HTTP by wrk, and the servers that the bridge is measured beside.
import Foundation
import Glibc
import UPKIProtocol

/// What wrk gave.
struct HTTPMeasurement {
    let what: String
    let perSecond: Double
    /// Milliseconds.
    let p50: Double
    let p99: Double

    static func title(_ width: Int) -> String { "OCSP" + String(repeating: " ", count: width - 4) + "  answers/s   p50 ms   p99 ms" }

    func line(_ width: Int) -> String {
        self.what + String(repeating: " ", count: max(0, width - self.what.count)) + padded(String(format: "%.0f", self.perSecond), 11)
            + padded(String(format: "%.2f", self.p50), 9) + padded(String(format: "%.2f", self.p99), 9)
    }
}

/// One thread of wrk: a second one would be made ready while the first already asks, and what that one got would be counted and not timed.
struct HTTPLoad {
    enum Target {
        case unix(String)
        case port(UInt16)
    }

    let script: String
    /// The library that lets wrk speak to a unix socket.
    let unixConnect: String
    let seconds: Int

    /// - Parameters:
    ///   - mode: get, post, nonce or file, as the script has them.
    ///   - mayBreak: the server closes connections, which wrk counts as errors.
    func run(
        _ what: String, _ target: Target, mode: String, requests: String, prefix: String, connections: Int = 64, mayBreak: Bool = false
    ) throws -> HTTPMeasurement {
        let (url, environment) = self.address(target)
        let text = try output(
            of: "/usr/bin/env",
            environment
                + [
                    "wrk", "-t", "1", "-c", "\(connections)", "-d", "\(self.seconds)", "-s", self.script, url, "--", mode, requests, prefix,
                ],
            quietly: true)
        guard let line = text.split(separator: "\n").last(where: { $0.hasPrefix("{") }), let facts = try? JSON(parsing: Array(line.utf8)),
            let answers = facts["answers"]?.integerValue, let time = facts["microseconds"]?.integerValue,
            let p50 = facts["p50"]?.integerValue, let p99 = facts["p99"]?.integerValue, answers > 0
        else { throw BenchError(description: "wrk said: \(text)") }
        guard facts["refused"]?.integerValue == 0, mayBreak || facts["broken"]?.integerValue == 0 else {
            throw BenchError(description: "\(what): not everything was answered: \(line)")
        }
        return HTTPMeasurement(
            what: what, perSecond: Double(answers) / Double(time) * 1_000_000, p50: Double(p50) / 1_000, p99: Double(p99) / 1_000)
    }

    /// The same, going on while something else is measured; the caller ends it.
    func background(_ target: Target, mode: String, requests: String, prefix: String, connections: Int) throws -> Process {
        let (url, environment) = self.address(target)
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments =
            environment
            + ["wrk", "-t", "1", "-c", "\(connections)", "-d", "600", "-s", self.script, url, "--", mode, requests, prefix]
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = FileHandle.nullDevice
        try process.run()
        return process
    }

    private func address(_ target: Target) -> (String, [String]) {
        switch target {
        case .port(let port): ("http://127.0.0.1:\(port)", [])
        case .unix(let path): ("http://127.0.0.1:1", ["LD_PRELOAD=\(self.unixConnect)", "UNIX_CONNECT=\(path)"])
        }
    }
}

/// Another server, ended with the measurement.
final class OtherServer {
    private let process = Process()

    /// Starts it and waits until its port takes connections.
    init(_ program: String, _ arguments: [String], port: UInt16) throws {
        self.process.executableURL = URL(fileURLWithPath: program)
        self.process.arguments = arguments
        self.process.standardInput = FileHandle.nullDevice
        self.process.standardOutput = FileHandle.nullDevice
        self.process.standardError = FileHandle.nullDevice
        try self.process.run()
        for _ in 0..<600 where self.process.isRunning {
            if Self.listens(on: port) { return }
            usleep(50_000)
        }
        self.end()
        throw BenchError(description: "\(program) does not listen on \(port)")
    }

    /// Looked up, not tried: a connection without a request keeps a child of `openssl ocsp` busy for good.
    private static func listens(on port: UInt16) -> Bool {
        let place = String(format: ":%04X 0", Int(port))
        return ["/proc/net/tcp", "/proc/net/tcp6"].contains { path in
            let table = (try? String(contentsOfFile: path, encoding: .utf8)) ?? ""
            // The state LISTEN.
            return table.split(separator: "\n").contains { $0.contains(place) && $0.split(separator: " ").dropFirst(3).first == "0A" }
        }
    }

    /// Its children too, and at once: those of `openssl ocsp -multi` go on without their parent, which waits for them.
    func end() {
        let pid = self.process.processIdentifier
        let children = (try? String(contentsOfFile: "/proc/\(pid)/task/\(pid)/children", encoding: .utf8)) ?? ""
        for process in [pid] + children.split(separator: " ").compactMap({ pid_t($0) }) { kill(process, SIGKILL) }
        self.process.waitUntilExit()
    }
}
