// kill -9 at random moments of a mixed load: what was acknowledged is there exactly once, and nothing is there that the audit does not know.
import Foundation
import Glibc
import TestPrograms
import Testing
import UPKIProtocol

extension IntegrationTests {
    @Suite("kill -9")
    struct CrashTests {
        /// `UPKI_CRASH_ROUNDS` and `UPKI_CRASH_SEED`, as `make crash N=… SEED=…` sets them.
        private static func setting(_ name: String) -> Int? { ProcessInfo.processInfo.environment[name].flatMap { Int($0) } }

        @Test("after each of many kills nothing acknowledged is lost or doubled, and the whole is up again in under 2 s")
        func rounds() throws {
            let seed = Self.setting("UPKI_CRASH_SEED") ?? Int.random(in: 0..<1_000_000)
            let count = Self.setting("UPKI_CRASH_ROUNDS") ?? 10
            print("crash rounds: \(count), seed \(seed) (again: make crash N=\(count) SEED=\(seed))")
            try withCA { ca in
                let run = try CrashRun(ca, seed: seed)
                for number in 1...count {
                    try run.round(number)
                    if number.isMultiple(of: 25) { print("\(number) rounds, nothing lost") }
                }
                let summary = try run.end()
                print(summary.text)
                // A promise of the product, so it is asserted: on the median, since other work may take this machine's two cores.
                let times = run.timesToReady.sorted()
                let median = try #require(times.isEmpty ? nil : times[times.count / 2])
                #expect(median < .seconds(2), "median of \(times.count) starts: \(median)")
                #expect(try #require(times.last) < .seconds(10))
            }
        }

        @Test("the checks of these rounds find what is missing, doubled, changed and not audited")
        func checksFind() throws {
            try withCA { ca in
                let run = try CrashRun(ca, seed: 1)
                usleep(1_500_000)
                #expect(try run.look("1").isEmpty)
                #expect(try ca.stop() == 0)
                _ = try ca.place.must([try Checkout.python("0.1.6"), "\(Checkout.peers)/crash/tamper.py", ca.data])
                try ca.start()
                let faults = try run.look("2 deep")
                for words in [
                    "not audited", " is missing; ", "0 audit records of ('sign', ", "revocations: stored and not audited",
                    "is not in the store as it was answered",
                    "admins: stored and not audited", "used tokens", "deleted certificates", "node folder forged.example.com",
                    "profiles: files [('forged', 7)]", "acme: ",
                ] { #expect(faults.contains { $0.contains(words) }, "nothing says '\(words)' in \(faults.joined(separator: "\n"))") }
                try run.leave()
            }
        }
    }
}

/// Numbers that a seed repeats (SplitMix64).
private struct SeededRandom: RandomNumberGenerator {
    private var state: UInt64

    init(_ seed: Int) { self.state = UInt64(bitPattern: Int64(seed)) }

    mutating func next() -> UInt64 {
        self.state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = self.state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}

/// A CA under load, and the rounds on it.
private final class CrashRun {
    /// What is killed.
    enum Program: String, CaseIterable {
        case core, front, registrar
        case supervisor = "ca-ctl"

        /// The words of its command line.
        var mark: String {
            switch self {
            case .core: "serve"
            case .front: "front"
            case .registrar: "ca-registrar"
            case .supervisor: "up"
            }
        }
    }

    /// When it is killed.
    enum Moment: String, CaseIterable {
        /// At any moment of the load.
        case load
        /// Within some milliseconds of asking for a CRL or for a reload, or of a service's own new start, or while all are stopping.
        case publication, reload, start, stop
    }

    /// A service that fails more often within a minute is started again with growing pauses, as it should be: then it is ca-ctl's turn.
    private static let failuresOfOneSupervisor = 3
    /// After so many rounds everything there ever was is read again, and not only what is new or may change.
    private static let roundsOfOneDeepCheck = 25

    private let ca: RunningCA
    private var load: ProgramRun?
    private var random: SeededRandom
    private var kills: [String: Int] = [:]
    private var moments: [String: Int] = [:]
    private var failures: [Program: Int] = [:]
    private(set) var timesToReady: [Duration] = []
    private var checks = 0
    private var audited: Int64 = 0

    init(_ ca: RunningCA, seed: Int) throws {
        self.ca = ca
        self.random = SeededRandom(seed)
        let node = try ca.register()
        try ca.facts(["admin", "add", node["dn"]?.stringValue ?? ""])
        let settings: JSON = [
            "port": .integer(ca.port), "data": .string(ca.data), "run": .string(ca.run), "ctl": .string("\(Checkout.programs)/ca-ctl"),
            "seed": .integer(seed),
        ]
        // Settings come by standard input: a command line that names the directory would count as a program of the CA.
        let load = try ca.place.start(
            [try Checkout.python("0.1.6"), "-B", "\(Checkout.peers)/crash/load.py"], input: settings.text + "\n", keepInput: true)
        self.load = load
        try load.waitFor("started ")
    }

    // MARK: A round

    func round(_ number: Int) throws {
        let moment = number % 3 == 0 ? self.pick(Moment.allCases.filter { $0 != .load }) : .load
        var victims = self.victims(moment)
        if victims.contains(where: { self.failures[$0, default: 0] >= Self.failuresOfOneSupervisor }) { victims = [.supervisor] }
        self.moments[moment.rawValue, default: 0] += 1
        let name = "round \(number): kill -9 of \(victims.map(\.rawValue).joined(separator: " and ")), \(moment.rawValue)"
        do {
            usleep(self.random.next(upTo: 800_000) + 50_000)
            let time = moment == .stop ? try self.killWhileStopping(victims) : try self.kill(victims, at: moment)
            self.timesToReady.append(time)
            if time > .seconds(2) { print("\(name): ready again after \(time)") }
            try self.check(number)
        } catch {
            throw TestFailure("\(name): \(error)")
        }
    }

    private func victims(_ moment: Moment) -> [Program] {
        switch moment {
        case .publication, .reload: [.core]
        case .start: [self.pick([.core, .core, .front, .registrar])]
        case .stop: [self.pick(Program.allCases)]
        case .load:
            switch self.random.next(upTo: 10) {
            case 0...2: [.core]
            case 3: [.front]
            case 4: [.registrar]
            case 5...7: [.supervisor]
            case 8: [.core, .front]
            default: [.core, .registrar]
            }
        }
    }

    private func pick<Element>(_ elements: [Element]) -> Element { elements[Int(self.random.next(upTo: UInt32(elements.count)))] }

    /// - Returns: the time from the kill, or from the new start of ca-ctl, until everything was ready.
    private func kill(_ victims: [Program], at moment: Moment) throws -> Duration {
        if victims == [.supervisor] { return try self.killSupervisor() }
        switch moment {
        case .publication: try self.askAndWait(["crl", "generate"])
        case .reload: try self.askAndWait(["reload"])
        case .load, .start, .stop: break
        }
        var start = try self.killOnce(victims)
        if moment == .start {
            // Again, while the next one is on its way up.
            usleep(self.random.next(upTo: 150_000) + 100_000)
            start = try self.killOnce(victims)
        }
        return try self.ready(since: start)
    }

    private func killOnce(_ victims: [Program]) throws -> ContinuousClock.Instant {
        let start = ContinuousClock.now
        let old = self.kill(victims)
        try self.tell("killed " + victims.map(\.rawValue).joined(separator: " "))
        // The supervisor has noticed when none of them is there any more.
        try waitUntil("the killed are gone") {
            let now = Set(self.ca.place.processes().map(\.pid))
            return now.isDisjoint(with: old)
        }
        return start
    }

    /// - Returns: the processes that were there and are killed; a registrar is not while registration is closed.
    private func kill(_ victims: [Program]) -> [pid_t] {
        let found = victims.flatMap { victim in self.processes(victim).map { (victim, $0.pid) } }
        return found.compactMap { victim, pid in
            guard Glibc.kill(pid, SIGKILL) == 0 else { return nil }
            self.kills[victim.rawValue, default: 0] += 1
            self.failures[victim, default: 0] += 1
            return pid
        }
    }

    private func askAndWait(_ command: [String]) throws {
        let asking = try self.ca.place.start(
            ["\(Checkout.programs)/ca-ctl"] + command + ["--data-dir", self.ca.data, "--run-dir", self.ca.run])
        // ca-ctl itself needs about 20 ms until the core hears of it.
        usleep(self.random.next(upTo: 40_000) + 10_000)
        self.asking.append(asking)
    }

    /// Commands whose answer may never come.
    private var asking: [ProgramRun] = []

    private func ready(since start: ContinuousClock.Instant) throws -> Duration {
        let waited = try self.ca.ctl(["status", "--wait", "20"])
        guard waited.code == 0 else { throw TestFailure("not ready again: \(waited.output)\(waited.errors)") }
        return ContinuousClock.now - start
    }

    private func killSupervisor() throws -> Duration {
        let code = try self.ca.stop(SIGKILL)
        #expect(code == -SIGKILL)
        self.kills[Program.supervisor.rawValue, default: 0] += 1
        return try self.startAgain()
    }

    private func killWhileStopping(_ victims: [Program]) throws -> Duration {
        try self.ca.stopWhile {
            usleep(self.random.next(upTo: 200_000))
            _ = self.kill(victims)
        }
        return try self.startAgain()
    }

    private func startAgain() throws -> Duration {
        try self.tell("killed ca-ctl")
        self.failures = [:]
        // Its children die with it; commands of the load that were on their way end by themselves.
        try waitUntil("nothing of the CA is left running", within: .seconds(5)) {
            !self.ca.place.processes().contains { Self.isProgram($0.command) }
        }
        // A killed process loses its command line before its sockets.
        try waitUntil("nothing listens any more", within: .seconds(5)) {
            Ports.isFree(self.ca.port) && Ports.isFree(self.ca.registrarPort)
        }
        let start = ContinuousClock.now
        try self.ca.start()
        return ContinuousClock.now - start
    }

    private func processes(_ program: Program) -> [(pid: pid_t, command: String)] {
        self.ca.place.processes().filter { Self.isProgram($0.command) && $0.command.contains("\(program.mark) ") }
    }

    /// The four programs, not the commands that are given to them.
    private static func isProgram(_ command: String) -> Bool {
        ["/ca-core serve ", "/ca-core front ", "/ca-registrar ", "/ca-ctl up "].contains { command.contains($0) }
    }

    // MARK: Checks

    private func check(_ number: Int) throws {
        for command in self.asking { try command.finish() }
        self.asking = []
        let isDeep = number.isMultiple(of: Self.roundsOfOneDeepCheck)
        let facts = try self.ask("check \(number)\(isDeep ? " deep" : "")", answer: "checked \(number) ")
        let faults = facts["faults"]?.arrayValue ?? []
        guard faults.isEmpty else { throw TestFailure(faults.map { $0.stringValue ?? "" }.joined(separator: "\n")) }
        let verdict = try self.ca.facts(["audit", "verify"])
        #expect(verdict["good"] == true, "\(verdict.text)")
        let verified = verdict["verified"]?.integerValue ?? 0
        #expect(verified >= self.audited)
        self.audited = verified
        let list = try self.ca.place.run([
            "/usr/bin/openssl", "crl", "-inform", "DER", "-in", "\(self.ca.data)/published/crl.der", "-noout", "-CAfile",
            "\(self.ca.data)/ca.crt",
        ])
        #expect(list.code == 0 && list.errors.contains("verify OK"), "\(list.errors)")
        self.checks += 1
        try self.tell("go")
    }

    // MARK: The load

    private func tell(_ line: String) throws { try self.load?.write(line + "\n") }

    private func ask(_ line: String, answer: String) throws -> JSON {
        guard let load = self.load else { return .null }
        try self.tell(line)
        try load.waitFor("\n" + answer)
        try waitUntil("the line is whole") { load.output.hasSuffix("\n") }
        guard let line = load.output.split(separator: "\n").last(where: { $0.hasPrefix(answer) }) else { return .null }
        return try JSON(parsing: Array(line.dropFirst(answer.count).utf8))
    }

    /// The faults that a check finds.
    func look(_ number: String) throws -> [String] {
        let facts = try self.ask("check \(number)", answer: "checked \(number.prefix(1)) ")
        try self.tell("go")
        return (facts["faults"]?.arrayValue ?? []).map { $0.stringValue ?? "" }
    }

    /// Ends the load, whatever it found.
    func leave() throws {
        _ = try self.ask("end", answer: "ended ")
        try self.load?.finish()
        self.load = nil
    }

    /// Ends the load and the CA; what came of it.
    func end() throws -> CrashSummary {
        let last = try self.ask("check 0 deep", answer: "checked 0 ")
        #expect(last["faults"]?.arrayValue?.isEmpty == true, "\(last["faults"]?.text ?? "")")
        let journal = try self.ask("end", answer: "ended ")
        try self.load?.finish()
        self.load = nil
        #expect(journal["faults"]?.arrayValue?.isEmpty == true, "\(journal["faults"]?.text ?? "")")
        #expect(journal["acknowledged"]?.integerValue ?? 0 > 0)
        return CrashSummary(
            kills: self.kills, moments: self.moments, times: self.timesToReady.sorted(), checks: self.checks, facts: last,
            journal: journal)
    }
}

extension SeededRandom {
    /// 0 to `limit` - 1.
    fileprivate mutating func next(upTo limit: UInt32) -> UInt32 { UInt32.random(in: 0..<limit, using: &self) }
}

/// What `make crash` prints and docs/RELIABILITY.md shows.
private struct CrashSummary {
    let kills: [String: Int]
    let moments: [String: Int]
    /// In order of length.
    let times: [Duration]
    let checks: Int
    let facts: JSON
    let journal: JSON

    var text: String {
        func list(_ counts: [String: Int]) -> String {
            counts.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", ")
        }
        func milliseconds(_ time: Duration?) -> String { time.map { "\(Int($0 / .milliseconds(1))) ms" } ?? "-" }
        func number(_ json: JSON, _ name: String) -> String { json[name]?.text ?? "-" }
        return """
            rounds               \(self.times.count), each checked: \(self.checks)
            kill -9              \(list(self.kills))
            moments              \(list(self.moments))
            requests             \(number(self.journal, "acknowledged")) acknowledged, \(number(self.journal, "refused")) refused, \
            \(number(self.journal, "unknown")) never answered
            in the end           \(number(self.facts, "certificates")) certificates, \(number(self.facts, "revocations")) revoked, \
            \(number(self.facts, "tokens_used")) tokens used, \(number(self.facts, "audit_records")) audit records
            lost or doubled      \(self.journal["faults"]?.arrayValue?.count ?? -1)
            time until ready     median \(milliseconds(self.times.isEmpty ? nil : self.times[self.times.count / 2])), \
            longest \(milliseconds(self.times.last))
            """
    }
}
