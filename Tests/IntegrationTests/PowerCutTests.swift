// A power cut, as far as one can be had without pulling the plug: the core goes on with nothing but what it had synced.
import Foundation
import Glibc
import TestPrograms
import Testing
import UPKIProtocol

extension IntegrationTests {
    @Suite("a power cut")
    struct PowerCutTests {
        @Test("nothing that was acknowledged is lost, and files and audit log agree, when only what was synced is left")
        func powerCut() throws {
            let place = try Workplace()
            defer { place.end() }
            let run = try PowerCutRun(place)
            var certificates: Int64 = 0
            for number in 1...4 {
                usleep(UInt32.random(in: 300_000...1_200_000))
                let faults = try run.cut(number)
                guard faults.isEmpty else { throw TestFailure("power cut \(number):\n\(faults.joined(separator: "\n"))") }
                #expect(run.certificates > certificates, "nothing was issued between two cuts")
                certificates = run.certificates
            }
            try run.end()
        }

        @Test("a store whose log was never synced is found out by this")
        func notSynced() throws {
            let place = try Workplace()
            defer { place.end() }
            let run = try PowerCutRun(place, deafTo: "/ca.sqlite-wal")
            usleep(700_000)
            let faults = try run.cut(1)
            #expect(faults.contains { $0.contains("is not in the store as it was answered") }, "\(faults)")
            try run.end()
        }
    }
}

/// A core with `libpower-cut.so`, its relays, and the load of the crash tests; without a supervisor, which would clear the environment.
private final class PowerCutRun {
    private let place: Workplace
    private let port: Int
    private let deaf: String?
    private var core: ProgramRun?
    private var relays: [ProgramRun] = []
    private let load: ProgramRun
    private var starts = 0
    /// How many the last check saw.
    private(set) var certificates: Int64 = 0

    private var data: String { self.place.path("data") }
    private var places: [String] { ["--data-dir", self.data, "--run-dir", self.place.path("run")] }

    init(_ place: Workplace, deafTo deaf: String? = nil) throws {
        self.place = place
        self.port = try Ports.freePair()
        self.deaf = deaf
        let ctl = "\(Checkout.programs)/ca-ctl"
        let places = ["--data-dir", place.path("data"), "--run-dir", place.path("run")]
        let made = try JSON(parsing: Array(try place.must([ctl, "init", "--json"] + places).utf8))
        try FileManager.default.createDirectory(
            atPath: place.path("run"), withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
        self.load = try place.start(
            [try Checkout.python("0.1.6"), "-B", "\(Checkout.peers)/crash/load.py"], keepInput: true)
        try self.start()
        let listen = { (port: Int) in ["--run-dir", place.path("run"), "--listen", "tcp://127.0.0.1:\(port)"] }
        self.relays = [
            try place.start(["\(Checkout.programs)/ca-core", "front"] + listen(self.port)),
            try place.start(["\(Checkout.programs)/ca-registrar"] + listen(self.port + 1)),
        ]
        let registered = try place.peer(
            "plain_client.py", ["\(self.port + 1)"],
            input: [["TASK": "register", "params": ["seed": made["token"] ?? .null, "cn": "ra.example.com"]]])
        let name = try #require(registered.arrayValue?.first?.at("DATA", "dn")?.stringValue)
        try place.must([ctl, "admin", "add", name] + places)
        let settings: JSON = [
            "port": .integer(self.port), "data": .string(self.data), "run": .string(place.path("run")), "ctl": .string(ctl),
            "seed": .integer(Int.random(in: 0..<1_000_000)),
        ]
        try self.load.write(settings.text + "\n")
        try self.load.waitFor("started ")
    }

    private var shadow: String { self.place.path("shadow-\(self.starts)") }

    private func start() throws {
        self.starts += 1
        try FileManager.default.createDirectory(atPath: self.shadow, withIntermediateDirectories: false)
        var environment = [
            "LD_PRELOAD": "\(Checkout.programs)/libpower-cut.so", "POWER_CUT_ROOT": self.data, "POWER_CUT_SHADOW": self.shadow,
        ]
        environment["POWER_CUT_DEAF"] = self.deaf
        self.core = try self.place.start(["\(Checkout.programs)/ca-core", "serve"] + self.places, environment: environment)
        let waited = try self.place.run(["\(Checkout.programs)/ca-ctl", "status", "--wait", "20"] + self.places)
        guard waited.code == 0 else {
            throw TestFailure("the core is not ready: \(waited.errors)\n\(self.core?.errors ?? "")")
        }
    }

    /// Ends the core at once, leaves what was synced, starts it on that, and says what is wrong then.
    func cut(_ number: Int) throws -> [String] {
        self.core?.signal(SIGKILL)
        try self.core?.finish()
        try self.load.write("killed core\n")
        try FileManager.default.moveItem(atPath: self.data, toPath: self.place.path("was-\(number)"))
        try self.place.must([try Checkout.python("0.1.6"), "\(Checkout.peers)/crash/power.py", self.shadow, self.data])
        try self.start()
        try self.load.write("check \(number) deep\n")
        try self.load.waitFor("\nchecked \(number) ")
        try waitUntil("the line is whole") { self.load.output.hasSuffix("\n") }
        let line = try #require(self.load.output.split(separator: "\n").last { $0.hasPrefix("checked \(number) ") })
        let facts = try JSON(parsing: Array(line.drop { $0 != "{" }.utf8))
        self.certificates = facts["certificates"]?.integerValue ?? 0
        try self.load.write("go\n")
        return (facts["faults"]?.arrayValue ?? []).map { $0.stringValue ?? "" }
    }

    func end() throws {
        try self.load.write("end\n")
        try self.load.finish()
        for run in self.relays + [self.core].compactMap({ $0 }) {
            run.signal(SIGTERM)
            try run.finish(within: .seconds(10))
        }
    }
}
