// A real supervisor as a process of its own, heard through the pipe that it and all its children write to.
import CLinux
import Foundation
import Glibc
import Supervision
import TestPrograms
import Testing

/// The pipe's end means that no process of the whole tree is left, since every one of them holds it open.
final class SupervisorProcess {
    static let program = ProgramRun.builtPrograms + "/supervision-test-child"

    /// Nothing here takes longer than this unless it is broken.
    static let patience = Duration.seconds(20)

    let directory: String
    var runDirectory: String { "\(directory)/run" }
    var log: String { "\(directory)/log" }
    let process: ProgramRun
    private let output: Int32
    private var pending: [UInt8] = []
    private(set) var lines: [String] = []
    private var heard = 0

    /// - Parameter plan: see Plan.swift of the test program; `@` stands for the test's directory.
    init(_ plan: [String], wrapper: [String] = [], directory given: String? = nil, environment: [String: String]? = nil) throws {
        directory = try given ?? Self.temporaryDirectory()
        var pipe: [Int32] = [-1, -1]
        // A pipe of this kind is close-on-exec from its first moment: other tests start processes at the same time.
        guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0, &pipe) == 0 else {
            throw TestFailure("no pipe: \(errno)")
        }
        output = pipe[0]
        defer { close(pipe[1]) }
        let here = directory
        let command = wrapper + [Self.program, "supervise", "\(here)/run"] + plan.map { $0.replacingOccurrences(of: "@", with: here) }
        process = try ProgramRun(
            command, environment: environment ?? ProcessInfo.processInfo.environment, output: pipe[1])
    }

    /// Ends what is left, in order where that is possible, and removes the directory.
    func end() {
        stop(SIGTERM)
        try? waitForEnd(within: .seconds(6))
        stop(SIGKILL)
        process.end()
        close(output)
        try? FileManager.default.removeItem(atPath: directory)
    }

    static func temporaryDirectory() throws -> String {
        var template = Array("/tmp/upki-supervision-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw TestFailure("mkdtemp: \(errno)") }
        let path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        chmod(path, 0o711)
        return path
    }

    // MARK: Events

    /// The next line with this in it, after those that were waited for before.
    @discardableResult
    func wait(_ text: String, within: Duration = patience) throws -> String {
        let end = ContinuousClock.now + within
        while true {
            while heard < lines.count {
                heard += 1
                if lines[heard - 1].contains(text) { return lines[heard - 1] }
            }
            guard try readMore(until: end) else { throw TestFailure("ended without '\(text)': \(lines)") }
        }
    }

    /// Until no process is left.
    func waitForEnd(within: Duration = patience) throws {
        let end = ContinuousClock.now + within
        while try readMore(until: end) {}
    }

    private func readMore(until end: ContinuousClock.Instant) throws -> Bool {
        let left = ContinuousClock.now.duration(to: end)
        var watched = pollfd(fd: output, events: Int16(POLLIN), revents: 0)
        guard left > .zero, poll(&watched, 1, Int32(left / .milliseconds(1)) + 1) > 0 else {
            throw TestFailure("nothing more came in time; so far: \(lines)")
        }
        var buffer = [UInt8](repeating: 0, count: 65_536)
        let count = read(output, &buffer, buffer.count)
        guard count > 0 else { return false }
        pending += buffer[..<count]
        while let feed = pending.firstIndex(of: 10) {
            lines.append(String(decoding: pending[..<feed], as: UTF8.self))
            pending.removeSubrange(...feed)
        }
        return true
    }

    // MARK: Questions

    func ask(_ command: ControlCommand) throws -> ControlAnswer {
        try SupervisorClient(SupervisorClient.path(runDirectory: runDirectory)).ask(command, timeout: Self.patience)
    }

    func service(_ name: String) throws -> ServiceStatus {
        guard let service = try ask(.status).status?.services.first(where: { $0.name == name }) else {
            throw TestFailure("no service \(name)")
        }
        return service
    }

    func pid(of name: String) throws -> pid_t {
        guard let pid = try service(name).pid else { throw TestFailure("\(name) has no process") }
        return pid
    }

    var logLines: [String] {
        ((try? String(contentsOfFile: log, encoding: .utf8)) ?? "").split(separator: "\n").map(String.init)
    }

    func stop(_ signal: Int32 = SIGTERM) {
        if process.isRunning { process.signal(signal) }
    }
}

/// Waits until a process that is not ours is gone.
func waitForExit(of pid: pid_t, within: Duration = SupervisorProcess.patience) -> Bool {
    let descriptor = clinux_pidfd_open(pid)
    guard descriptor >= 0 else { return descriptor == -ESRCH }
    defer { close(descriptor) }
    var watched = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    return poll(&watched, 1, Int32(within / .milliseconds(1))) > 0
}

/// Asks again and again, for what no event tells of.
func until(_ what: String, within: Duration = SupervisorProcess.patience, _ condition: () throws -> Bool) throws {
    let end = ContinuousClock.now + within
    while try !condition() {
        guard ContinuousClock.now < end else { throw TestFailure("it did not come about that \(what)") }
        usleep(5000)
    }
}
