// Supervision under torture, with the real programs: as PID 1, stopped, crashing, interrupted and killed at any moment of the start.
import Foundation
import Glibc
import TestPrograms
import Testing
import UPKIProtocol

/// `ca-ctl up` in a directory, started and ended as often as a test wants.
private struct Bench {
    let place: Workplace
    let port: Int
    /// What ca-ctl is executed by.
    let wrapper: [String]
    let places: [String]
    var ctl: String { "\(Checkout.programs)/ca-ctl" }

    init(wrapper: (Workplace) throws -> [String] = { _ in [] }) throws {
        self.place = try Workplace()
        self.port = try Ports.freePair()
        self.wrapper = try wrapper(self.place)
        self.places = ["--data-dir", self.place.path("data"), "--run-dir", self.place.path("run")]
    }

    func up(_ options: [String] = [], through more: [String] = []) throws -> ProgramRun {
        try self.place.start(self.wrapper + more + [self.ctl, "up", "--port", "\(self.port)"] + options + self.places)
    }

    /// Waits until all is ready.
    func status(_ up: ProgramRun) throws -> JSON {
        let waited = try self.place.run(self.wrapper + [self.ctl, "status", "--json", "--wait", "30"] + self.places)
        guard waited.code == 0 else { throw TestFailure("not ready: \(waited.errors)\n\(up.output)\(up.errors)") }
        return try JSON(parsing: Array(waited.output.utf8))
    }

    /// Asks as a client.
    func answers() throws -> Bool {
        let asked = try self.place.peer("plain_client.py", ["\(self.port)"], input: [[("TASK", "get_ca"), ("params", [:])].object])
        return asked.arrayValue?.first?["EVENT"] == "ANSWER"
    }

    /// Nothing runs and nothing listens any more, within the time that the kernel needs to end what was killed.
    func expectNothingLeft(_ after: String) throws {
        // A process that ends loses its command line a moment before its sockets.
        try waitUntil("nothing is left after \(after): \(self.place.processes())", within: .seconds(10)) {
            self.place.processes().isEmpty && Ports.isFree(self.port) && Ports.isFree(self.port + 1)
        }
    }

    /// A start that is left alone works at once.
    func expectStart(_ after: String) throws {
        let begun = ContinuousClock.now
        let up = try self.up()
        try up.waitFor("The CA is running", within: .seconds(20))
        #expect(ContinuousClock.now - begun < .seconds(15), "\(after)")
        #expect(try self.answers(), "\(after)")
        up.signal(SIGTERM)
        let ended = try up.finish(within: .seconds(10))
        #expect(ended.code == 0, "\(after): \(ended.errors)")
        try self.expectNothingLeft("the stop after \(after)")
    }
}

/// The same numbers in each run (SplitMix64), so that a moment that failed can be had again.
private struct Moments: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var value = state
        value = (value ^ (value >> 30)) &* 0xbf58_476d_1ce4_e5b9
        value = (value ^ (value >> 27)) &* 0x94d0_49bb_1331_11eb
        return value ^ (value >> 31)
    }
}

extension IntegrationTests {
    @Suite("supervision under torture")
    struct SupervisionTortureTests {
        private static let ownNamespace = ["/usr/bin/unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]

        private static let hasNamespaces: Bool = {
            guard let place = try? Workplace() else { return false }
            defer { place.end() }
            return (try? place.run(Self.ownNamespace + ["/bin/true"]))?.code == 0
        }()

        @Test(
            "as PID 1 ca-ctl starts, reaps orphans, stops everything in order and leaves nothing; killed, its namespace ends with it",
            .enabled(if: Self.hasNamespaces, "skipped: a pid namespace of its own is not permitted here"))
        func firstProcess() throws {
            let bench = try Bench()
            defer { bench.place.end() }
            for signal in [SIGTERM, SIGKILL] {
                let up = try bench.up(through: Self.ownNamespace)
                #expect(try bench.status(up).at("supervisor", "pid")?.integerValue == 1)
                let children = try String(contentsOfFile: "/proc/\(up.pid)/task/\(up.pid)/children", encoding: .utf8)
                let first = try #require(children.split(separator: " ").first.flatMap { pid_t($0) })
                // Their parents end before them: in this namespace they are PID 1's from then on.
                try bench.place.must([
                    "/usr/bin/nsenter", "--target", "\(first)", "--pid", "/bin/sh", "-c", "for i in 1 2 3; do /bin/sleep 0.1 & done",
                ])
                try waitUntil("the orphans are reaped") { try bench.status(up).at("supervisor", "orphans_reaped")?.integerValue == 3 }
                #expect(try bench.answers())
                kill(first, signal)
                let ended = try up.finish(within: .seconds(10))
                if signal == SIGTERM {
                    #expect(ended.code == 0, "\(ended.errors)")
                    let said = ended.output + ended.errors
                    let order = ["ocsp is stopped", "registrar is stopped", "front is stopped", "core is stopped"].map {
                        said.range(of: $0)?.lowerBound
                    }
                    #expect(!order.contains(nil) && order.compactMap { $0 } == order.compactMap { $0 }.sorted(), "\(said)")
                }
                try bench.expectNothingLeft("signal \(signal) to PID 1")
            }
        }

        @Test("a program that hangs misses its watchdog, is replaced, and the CA answers again")
        func hanging() throws {
            let bench = try Bench()
            defer { bench.place.end() }
            let up = try bench.up(["--watchdog", "3"])
            _ = try bench.status(up)
            for (name, mark) in [
                ("front", "/ca-core front "), ("core", "/ca-core serve "), ("registrar", "/ca-registrar "), ("ocsp", "/ca-ocsp-bridge "),
            ] {
                func process() -> pid_t? { bench.place.processes().first { $0.command.contains(mark) }?.pid }
                let old = try #require(process())
                let begun = ContinuousClock.now
                kill(old, SIGSTOP)
                try waitUntil("\(name) is replaced") { process().map { $0 != old } ?? false }
                #expect(ContinuousClock.now - begun < .seconds(12))
                let status = try bench.status(up)
                let service = try #require(status["services"]?.arrayValue?.first { $0["name"]?.stringValue == name })
                #expect(service["restarts"]?.integerValue == 1, "\(service.text)")
                #expect((up.output + up.errors).contains("\(name) is restarting: watchdog: nothing heard for 3.0 seconds"))
                #expect(try bench.answers())
            }
            up.signal(SIGTERM)
            #expect(try up.finish(within: .seconds(10)).code == 0)
            try bench.expectNothingLeft("the watchdogs")
        }

        @Test("a crash loop ends at its limit and says so with the next command: the registrar alone, or the whole with the front")
        func crashLoop() throws {
            let bench = try Bench()
            defer { bench.place.end() }
            let up = try bench.up(["--restart-limit", "2"])
            _ = try bench.status(up)
            func crash(_ mark: String) throws {
                for _ in 0..<3 {
                    try waitUntil("there is a process to kill") { bench.place.processes().contains { $0.command.contains(mark) } }
                    let pid = try #require(bench.place.processes().first { $0.command.contains(mark) }?.pid)
                    kill(pid, SIGKILL)
                    try waitUntil("it is gone") { !bench.place.processes().contains { $0.pid == pid } }
                }
            }
            try crash("/ca-registrar ")
            let status = { try bench.place.run([bench.ctl, "status"] + bench.places) }
            try waitUntil("the registrar is given up") { try status().output.contains("failed 3 times within 60.0 seconds") }
            let shown = try status()
            #expect(shown.code == 0 && shown.output.contains("ca-ctl registrar open --data-dir"), "\(shown.output)")
            #expect(try bench.answers())
            let opened = try bench.place.run([bench.ctl, "registrar", "open"] + bench.places)
            #expect(opened.code == 0, "\(opened.errors)")
            #expect(Ports.listens(bench.port + 1))
            try crash("/ca-core front ")
            let ended = try up.finish(within: .seconds(15))
            #expect(ended.code == 1)
            let last = ended.errors.split(separator: "\n").last.map(String.init) ?? ""
            #expect(
                last.hasPrefix("ca-ctl: front, without which nothing works, has failed: failed 3 times")
                    && last.contains(": ca-ctl up --data-dir"),
                "\(last)")
            try bench.expectNothingLeft("the crash loop")
        }

        @Test("a port that is taken is named in one line; nothing is left, and the next start works", arguments: [0, 1])
        func portTaken(offset: Int) throws {
            let bench = try Bench()
            defer { bench.place.end() }
            try bench.place.must([bench.ctl, "init"] + bench.places)
            let taken = bench.port + offset
            let holder = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = UInt16(taken).bigEndian
            address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
            let bound = withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(holder, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
            }
            #expect(bound == 0 && listen(holder, 1) == 0)
            let ended = try bench.up().finish(within: .seconds(20))
            #expect(ended.code == 1)
            let last = ended.errors.split(separator: "\n").last.map(String.init) ?? ""
            #expect(
                last.hasPrefix("ca-ctl: \(offset == 0 ? "front" : "registrar") cannot run: ")
                    && last.contains("port \(taken) is taken by another program; `ss -ltnp sport = :\(taken)` names it"), "\(last)")
            try waitUntil("nothing is left") { bench.place.processes().isEmpty }
            close(holder)
            try bench.expectStart("a port was taken")
        }

        @Test("a second ca-ctl up on the same directories is refused and the first one is not disturbed")
        func twice() throws {
            let bench = try Bench()
            defer { bench.place.end() }
            let first = try bench.up()
            _ = try bench.status(first)
            func state() throws -> [String] {
                let sockets = [
                    "supervisor.sock", "admin.sock", "front.sock", "registrar.sock", "events.sock", "notify/core.sock", "ocsp/http.sock",
                ].map {
                    var found = stat()
                    return lstat(bench.place.path("run/\($0)"), &found) == 0 ? "\($0) \(found.st_ino)" : "\($0) is gone"
                }
                return sockets + [try bench.place.read("run/listeners.json")] + bench.place.processes().map { "\($0.pid)" }.sorted()
            }
            let before = try state()
            let other = try Ports.freePair()
            let second = try bench.place.run([bench.ctl, "up", "--port", "\(other)"] + bench.places)
            #expect(second.code == 1)
            let last = second.errors.split(separator: "\n").last.map(String.init) ?? ""
            #expect(last.contains("another supervisor (pid \(first.pid)) runs on") && last.contains("ca-ctl status"), "\(last)")
            // Another run directory does not make it another CA.
            let third = try bench.place.run([
                bench.ctl, "up", "--port", "\(other)", "--data-dir", bench.place.path("data"), "--run-dir", bench.place.path("other"),
            ])
            #expect(third.code == 1 && third.errors.contains("is in use by process"), "\(third.errors)")
            #expect(try state() == before)
            #expect(try bench.answers())
            #expect(Ports.isFree(other))
            first.signal(SIGTERM)
            #expect(try first.finish(within: .seconds(10)).code == 0)
            try bench.expectNothingLeft("two at once")
        }

        @Test("what others send to the notify sockets is not heard, and a flood of it disturbs nobody")
        func notifications() throws {
            let bench = try Bench()
            defer { bench.place.end() }
            let up = try bench.up(["--watchdog", "3"])
            _ = try bench.status(up)
            let before = bench.place.processes().map(\.pid).sorted()
            let program = """
                import socket, sys
                for name in ("core", "front", "registrar", "ocsp"):
                    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                        sender.connect(f"{sys.argv[1]}/notify/{name}.sock")
                        for _ in range(500):
                            sender.send(b"STOPPING=1\\nWATCHDOG=trigger\\nMAINPID=1\\nSTATUS=forged")
                """
            try bench.place.must([try Checkout.python("0.1.6"), "-c", program, bench.place.path("run")])
            // A signal of life within the watchdog's time came through all the same.
            let status = try bench.status(up)
            for service in status["services"]?.arrayValue ?? [] {
                #expect(service["restarts"]?.integerValue == 0 && service["status"]?.stringValue != "forged", "\(service.text)")
                #expect((service["ignored_notifications"]?.integerValue ?? 0) > 0, "\(service.text)")
            }
            #expect(bench.place.processes().map(\.pid).sorted() == before)
            #expect((up.output + up.errors).components(separatedBy: "notification ignored").count < 20)
            up.signal(SIGTERM)
            #expect(try up.finish(within: .seconds(10)).code == 0)
            try bench.expectNothingLeft("a flood")
        }

        /// Twenty starts that end at a random moment of their first 600 ms, a third of them in an empty directory.
        private func endAtAnyMoment(_ bench: Bench, rounds: Int, seed: UInt64, _ end: (ProgramRun) throws -> Void) throws {
            var moments = Moments(state: seed)
            for round in 0..<rounds {
                let fresh = round % 3 == 0
                if fresh { try? FileManager.default.removeItem(atPath: bench.place.path("data")) }
                let delay = UInt32.random(in: 0..<600_000, using: &moments)
                let moment = "round \(round), \(fresh ? "empty" : "old") directory, \(delay) µs"
                let up = try bench.up()
                usleep(delay)
                try end(up)
                try bench.expectNothingLeft(moment)
                // Every second one is followed by a start that is left alone, the others by the next that is not.
                if round % 2 == 1 { try bench.expectStart(moment) }
            }
            try bench.expectStart("the last round")
        }

        @Test("Ctrl-C at any moment of the start: all is gone in order, no half of a CA stays, the next start works")
        func interrupted() throws {
            let bench = try Bench()
            defer { bench.place.end() }
            try self.endAtAnyMoment(bench, rounds: 12, seed: 3) { up in
                // A terminal sends it to the whole foreground group.
                kill(-up.pid, SIGINT)
                let code = try up.finish(within: .seconds(10)).code
                // Before the supervisor runs, it ends as any program does.
                #expect(code == 0 || code == -SIGINT, "\(up.errors)")
            }
        }

        @Test("ca-ctl killed with -9 while its programs start: they die with it, stale sockets are no obstacle, the next start works")
        func killed() throws {
            let bench = try Bench()
            defer { bench.place.end() }
            try self.endAtAnyMoment(bench, rounds: 12, seed: 9) { up in
                up.signal(SIGKILL)
                let code = try up.finish(within: .seconds(10)).code
                #expect(code == -SIGKILL)
            }
        }

        @Test(
            "the same where each program has its own user",
            .enabled(if: TestUsers.areAvailable, "skipped: users of the test's own need root and the right to make a mount namespace"))
        func killedWithSeparateUsers() throws {
            let bench = try Bench(wrapper: TestUsers().wrapper)
            defer { bench.place.end() }
            try self.endAtAnyMoment(bench, rounds: 6, seed: 27) { up in
                up.signal(SIGKILL)
                let code = try up.finish(within: .seconds(10)).code
                #expect(code == -SIGKILL)
            }
        }
    }
}
