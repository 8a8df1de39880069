// A real CA: `ca-ctl up` in a directory of its own on free ports.
import Foundation
import Glibc
import TestPrograms
import Testing
import UPKIProtocol

/// All integration tests run one after another: each starts programs that want both cores.
@Suite(.serialized)
struct IntegrationTests {}

final class RunningCA {
    let place: Workplace
    let port: Int
    /// What `init` printed.
    let made: JSON
    private var supervisor: ProgramRun?
    /// What every program is started through, such as a namespace of its own.
    private let wrapper: [String]

    var registrarPort: Int { self.port + 1 }
    var data: String { self.place.path("data") }
    var run: String { self.place.path("run") }
    private var places: [String] { ["--data-dir", self.data, "--run-dir", self.run] }

    /// Initialises and starts a CA.
    ///
    /// - Parameters:
    ///   - options: of `init`.
    ///   - configuration: lines added to `ca.config.yml` before the start.
    ///   - wrapper: the command in whose place every ca-ctl is executed, made for the test's directory.
    init(
        _ options: [String] = [], seed: String? = nil, configuration: String = "", wrapper: (Workplace) throws -> [String] = { _ in [] }
    ) throws {
        self.place = try Workplace()
        self.port = try Ports.freePair()
        self.wrapper = try wrapper(self.place)
        var given = options
        if seed != nil { given.append("--seed-stdin") }
        let finished = try self.place.run(
            self.wrapper + [
                "\(Checkout.programs)/ca-ctl", "init", "--json", "--data-dir", self.place.path("data"), "--run-dir", self.place.path("run"),
            ]
                + given,
            input: seed ?? "")
        guard finished.code == 0, let json = try? JSON(parsing: Array(finished.output.utf8)) else {
            self.place.end()
            throw TestFailure("init ended with \(finished.code): \(finished.output)\(finished.errors)")
        }
        self.made = json
        if !configuration.isEmpty {
            let file = "\(self.data)/ca.config.yml"
            try (String(contentsOfFile: file, encoding: .utf8) + "\n" + configuration).write(
                toFile: file, atomically: false, encoding: .utf8)
            chmod(file, 0o600)
        }
        try self.start()
    }

    var token: String { self.made["token"]?.stringValue ?? "" }

    /// What the supervisor and its children said.
    var log: String { self.supervisor.map { $0.output + $0.errors } ?? "" }

    var supervisorPID: pid_t { self.supervisor?.pid ?? 0 }

    // MARK: Starting and ending

    func start(_ options: [String] = ["--no-init"]) throws {
        self.supervisor = try self.place.start(
            self.wrapper + ["\(Checkout.programs)/ca-ctl", "up", "--port", "\(self.port)"] + self.places + options)
        let waited = try self.place.run(self.wrapper + ["\(Checkout.programs)/ca-ctl", "status", "--wait", "30"] + self.places)
        guard waited.code == 0 else {
            throw TestFailure("the CA is not ready (\(waited.code)): \(waited.output)\(waited.errors)\n\(self.log)")
        }
    }

    /// Ends it in order; the code it ended with.
    @discardableResult
    func stop(_ signal: Int32 = SIGTERM) throws -> Int32 {
        guard let supervisor = self.supervisor else { return 0 }
        supervisor.signal(signal)
        let finished = try supervisor.finish(within: .seconds(10))
        self.supervisor = nil
        return finished.code
    }

    /// Tells it to stop, does something else meanwhile, and waits until it has ended, whatever it ended with.
    func stopWhile(_ body: () -> Void) throws {
        guard let supervisor = self.supervisor else { return }
        supervisor.signal(SIGTERM)
        body()
        try supervisor.finish(within: .seconds(10))
        self.supervisor = nil
    }

    func end() {
        do { try self.stop() } catch { Issue.record(error) }
        self.supervisor = nil
        // The front's port can be had again at once: nobody listens any more.
        #expect(Ports.isFree(self.port) && Ports.isFree(self.registrarPort))
        self.place.end()
    }

    // MARK: Asking

    /// Runs ca-ctl against this CA.
    func ctl(_ arguments: [String], input: String = "") throws -> Finished {
        try self.place.run(self.wrapper + ["\(Checkout.programs)/ca-ctl"] + arguments + self.places, input: input)
    }

    /// Runs ca-ctl with --json, which has to succeed.
    @discardableResult
    func facts(_ arguments: [String], input: String = "") throws -> JSON {
        let finished = try self.ctl(arguments + ["--json"], input: input)
        guard finished.code == 0, let json = try? JSON(parsing: Array(finished.output.utf8)) else {
            throw TestFailure(
                "ca-ctl \(arguments.joined(separator: " ")) ended with \(finished.code):\n\(finished.output)\(finished.errors)"
            )
        }
        return json
    }

    /// Asks as a plain pyzmq client, one request after another on one REQ socket.
    func ask(_ requests: [(String, JSON)], port: Int? = nil) throws -> [JSON] {
        let list = JSON.array(requests.map { .object([.init("TASK", .string($0.0)), .init("params", $0.1)]) })
        return try self.place.peer("plain_client.py", ["\(port ?? self.port)"], input: list).arrayValue ?? []
    }

    func ask(_ task: String, _ parameters: JSON = [:], port: Int? = nil) throws -> JSON {
        guard let answer = try self.ask([(task, parameters)], port: port).first else {
            throw TestFailure("no answer to \(task)")
        }
        return answer
    }

    /// The data of an answer that is no refusal.
    func data(_ task: String, _ parameters: JSON = [:], port: Int? = nil) throws -> JSON {
        let answer = try self.ask(task, parameters, port: port)
        guard answer["EVENT"] == "ANSWER", let data = answer["DATA"] else { throw TestFailure("\(task): \(answer.text)") }
        return data
    }

    /// Makes the loopback address a node, as an RA would.
    @discardableResult
    func register(_ commonName: String = "ra.example.com") throws -> JSON {
        try self.data("register", ["seed": .string(self.token), "cn": .string(commonName)], port: self.registrarPort)
    }

    // MARK: Processes

    /// The process of a service, by the words of its command line: `serve`, `front`, `ca-registrar`, `ca-ocsp-bridge`.
    func pid(of service: String) throws -> pid_t {
        let mark = service.hasPrefix("ca-") ? "/\(service) " : "/ca-core \(service) "
        let found = self.place.processes().filter { $0.command.contains(mark) }
        guard found.count == 1, let one = found.first else { throw TestFailure("\(found.count) processes are \(service)") }
        return one.pid
    }

    /// Kills a service with -9 and waits until another one in its place is ready.
    func killAndWait(_ service: String) throws {
        let old = try self.pid(of: service)
        kill(old, SIGKILL)
        try waitUntil("\(service) is started again") { (try? self.pid(of: service)).map { $0 != old } ?? false }
        let waited = try self.ctl(["status", "--wait", "20"])
        guard waited.code == 0 else { throw TestFailure("not ready again: \(waited.output)\(waited.errors)") }
    }
}

/// A CA for the time of `body`; what it logged comes with a failure.
func withCA<Result>(
    _ options: [String] = [], seed: String? = nil, configuration: String = "", _ body: (RunningCA) throws -> Result
) throws -> Result {
    let ca = try RunningCA(options, seed: seed, configuration: configuration)
    defer { ca.end() }
    do { return try body(ca) } catch {
        throw TestFailure("\(error)\n--- log of the CA:\n\(ca.log.suffix(6_000))")
    }
}

extension JSON {
    /// A member of a member.
    func at(_ path: String...) -> JSON? { path.reduce(Optional(self)) { $0?[$1] } }

    /// The words of a refusal; empty for an answer.
    var refusal: String { self["EVENT"] == "UPKI ERROR" ? self["MSG"]?.stringValue ?? "" : "" }
}
