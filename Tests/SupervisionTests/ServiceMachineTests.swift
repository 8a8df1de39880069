// The decisions about one service and about all of them, with made-up time and no process.
import Glibc
import Supervision
import Testing

private let start = SuspendingClock.now

private func at(_ milliseconds: Int) -> SuspendingClock.Instant { start.advanced(by: .milliseconds(milliseconds)) }

private func spec(_ name: String = "a", after: [String] = []) -> ServiceSpec {
    ServiceSpec(
        name: name, executable: "/bin/true", after: after, startTimeout: .seconds(10), stopTimeout: .seconds(3),
        watchdogInterval: .seconds(1))
}

private func message(_ text: String) -> Supervision.Notification { Supervision.Notification(parsing: text.utf8) }

/// A machine that has said READY at time 0.
private func running(_ spec: ServiceSpec = spec()) -> ServiceMachine {
    var machine = ServiceMachine(spec)
    #expect(machine.begin(now: at(0)) == [.spawn])
    #expect(machine.notified(message("READY=1"), now: at(0)) == [])
    #expect(machine.state == .running)
    return machine
}

@Suite("One service")
struct ServiceMachineTests {
    @Test("pauses between starts double from 100 ms to 5 s")
    func delays() {
        let policy = RestartPolicy()
        #expect(
            (1...9).map { policy.delay(afterFailure: $0) } == [100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000].map { .milliseconds($0) })
    }

    @Test("after ten new starts within a minute the eleventh failure is final and says what to do")
    func limit() {
        var machine = ServiceMachine(spec())
        var now = 0
        for round in 1...10 {
            #expect(machine.begin(now: at(now)) == [.spawn])
            machine.ended(.exited(1), now: at(now))
            guard case .restarting(let next) = machine.state else {
                Issue.record("round \(round) left it \(machine.visibleState)")
                return
            }
            while at(now) < next { now += 100 }
            #expect(machine.tick(now: at(now)) == [])
        }
        #expect(now < 60_000)
        #expect(machine.begin(now: at(now)) == [.spawn])
        #expect(machine.restarts == 10)
        machine.ended(.exited(1), now: at(now))
        #expect(machine.state == .failed)
        #expect(machine.why.contains("failed 11 times within 60.0 seconds"))
        #expect(machine.why.contains("ended with exit code 1"))
        #expect(machine.why.hasSuffix("then start a"))
        machine.start()
        #expect(machine.state == .waiting)
    }

    @Test("failures older than the window are forgotten")
    func window() {
        var machine = running()
        machine.ended(.signalled(SIGSEGV), now: at(0))
        #expect(machine.state == .restarting(at: at(100)))
        _ = machine.tick(now: at(100))
        _ = machine.begin(now: at(100))
        machine.ended(.signalled(SIGSEGV), now: at(60_000))
        #expect(machine.state == .restarting(at: at(60_100)))
    }

    @Test("a service that ends with 0 stays down")
    func zero() {
        var machine = running()
        machine.ended(.exited(0), now: at(5))
        #expect(machine.state == .stopped)
        #expect(machine.endedWithZero)
        #expect(machine.nextDeadline == nil)
    }

    @Test("an exit code that a new start cannot cure is final at once")
    func finalCode() {
        var given = spec()
        given.restart.finalExitCodes = [78]
        var machine = running(given)
        machine.ended(.exited(78), now: at(5))
        #expect(machine.state == .failed)
    }

    @Test("every sign of life moves the watchdog; silence brings SIGABRT, then SIGKILL, then a new start")
    func watchdog() {
        var machine = running()
        _ = machine.notified(message("WATCHDOG=1"), now: at(900))
        #expect(machine.tick(now: at(1899)) == [])
        #expect(machine.tick(now: at(1900)) == [.signal(SIGABRT)])
        #expect(machine.tick(now: at(2399)) == [])
        #expect(machine.tick(now: at(2400)) == [.kill])
        #expect(machine.tick(now: at(9000)) == [])
        machine.ended(.signalled(SIGKILL), now: at(2401))
        #expect(machine.state == .restarting(at: at(2501)))
        #expect(machine.why.hasPrefix("watchdog: nothing heard for 1.0 seconds"))
    }

    @Test("before READY the watchdog does not watch, the start timeout does")
    func startTimeout() {
        var machine = ServiceMachine(spec())
        _ = machine.begin(now: at(0))
        _ = machine.notified(message("WATCHDOG=1"), now: at(10))
        #expect(machine.nextDeadline == at(10_000))
        #expect(machine.tick(now: at(10_000)) == [.signal(SIGTERM)])
        #expect(machine.tick(now: at(13_000)) == [.kill])
        machine.ended(.signalled(SIGKILL), now: at(13_001))
        #expect(machine.visibleState == .restarting)
    }

    @Test("a stop asks with SIGTERM, then kills, and is no failure")
    func stop() {
        var machine = running()
        #expect(machine.stop(now: at(0)) == [.signal(SIGTERM)])
        #expect(machine.stop(now: at(1)) == [], "asked once")
        #expect(machine.tick(now: at(2999)) == [])
        #expect(machine.tick(now: at(3000)) == [.kill])
        machine.ended(.signalled(SIGKILL), now: at(3001))
        #expect(machine.state == .stopped)
        #expect(machine.why.contains("killed"))
        #expect(!machine.endedWithZero)
    }

    @Test("a stop while it waits for its next start leaves it down")
    func stopWhileRestarting() {
        var machine = running()
        machine.ended(.exited(1), now: at(0))
        #expect(machine.stop(now: at(1)) == [])
        #expect(machine.state == .stopped)
        #expect(machine.tick(now: at(10_000)) == [])
    }

    @Test("a start while it stops brings it up again afterwards")
    func startWhileStopping() {
        var machine = running()
        _ = machine.stop(now: at(0))
        machine.start()
        machine.ended(.exited(0), now: at(10))
        #expect(machine.state == .waiting)
    }

    @Test("STOPPING leaves the end to the service, within its stop timeout; its exit code decides")
    func ownAccord() {
        var machine = running()
        #expect(machine.notified(message("STOPPING=1"), now: at(0)) == [])
        #expect(machine.visibleState == .stopping)
        var other = machine
        machine.ended(.exited(0), now: at(10))
        #expect(machine.state == .stopped)
        #expect(other.tick(now: at(3000)) == [.kill])
        other.ended(.signalled(SIGKILL), now: at(3001))
        #expect(other.visibleState == .restarting)
    }

    @Test("RELOADING is over with READY")
    func reloading() {
        var machine = running()
        _ = machine.notified(message("RELOADING=1"), now: at(1))
        #expect(machine.isReloading && machine.isReady)
        _ = machine.notified(message("READY=1\nSTATUS=new"), now: at(2))
        #expect(!machine.isReloading)
        #expect(machine.statusText == "new")
    }

    @Test("the errno that a service reported stands in the reason")
    func reportedErrno() {
        var machine = ServiceMachine(spec())
        _ = machine.begin(now: at(0))
        _ = machine.notified(message("ERRNO=98\nSTATUS=tcp 5000"), now: at(1))
        machine.ended(.exited(1), now: at(2))
        #expect(machine.why.hasPrefix("ended with exit code 1, after reporting: Address already in use, last status: tcp 5000"))
    }
}

@Suite("All services")
struct FleetTests {
    private func fleet(_ specs: [ServiceSpec]) throws -> Fleet { try Fleet(specs) }

    @Test("a service starts when those before it are ready, whatever the order given")
    func startOrder() throws {
        var fleet = try fleet([spec("front", after: ["core"]), spec("registrar", after: ["front", "core"]), spec("core")])
        #expect(fleet.machines.map(\.spec.name) == ["core", "front", "registrar"])
        #expect(fleet.advance(now: at(0)) == [Fleet.Order(0, .spawn)])
        #expect(fleet.advance(now: at(1)) == [])
        _ = fleet.notified(0, message("READY=1"), now: at(2))
        #expect(fleet.advance(now: at(2)) == [Fleet.Order(1, .spawn)])
        _ = fleet.notified(1, message("READY=1"), now: at(3))
        #expect(fleet.advance(now: at(3)) == [Fleet.Order(2, .spawn)])
        #expect(!fleet.isReady)
        // A closed registrar.
        fleet.ended(2, .exited(0), now: at(4))
        #expect(fleet.isReady)
    }

    @Test("the whole waits for a service that may be missing until it failed, and is ready without it then; for others it goes on waiting")
    func mayBeMissing() throws {
        for mayBeMissing in [true, false] {
            var bridge = spec("ocsp", after: ["core"])
            bridge.mayBeMissing = mayBeMissing
            var fleet = try fleet([spec("core"), bridge])
            _ = fleet.advance(now: at(0))
            _ = fleet.notified(0, message("READY=1"), now: at(1))
            #expect(fleet.advance(now: at(1)) == [Fleet.Order(1, .spawn)])
            #expect(!fleet.isReady)
            fleet.ended(1, .exited(1), now: at(2))
            #expect(fleet.isReady == mayBeMissing)
        }
    }

    @Test("the stop goes backwards, one at a time, and each has its share of the time")
    func stopOrder() throws {
        var fleet = try fleet([spec("a"), spec("b"), spec("c")])
        _ = fleet.advance(now: at(0))
        for index in 0..<3 { _ = fleet.notified(index, message("READY=1\nWATCHDOG=1"), now: at(0)) }
        fleet.shutDown(by: at(4500))
        #expect(fleet.advance(now: at(0)) == [Fleet.Order(2, .signal(SIGTERM))])
        #expect(fleet.advance(now: at(700)) == [])
        // c hangs: a third of 4.5 s is its share.
        for index in 0..<2 { _ = fleet.notified(index, message("WATCHDOG=1"), now: at(1400)) }
        #expect(fleet.advance(now: at(1500)) == [Fleet.Order(2, .kill)])
        fleet.ended(2, .signalled(SIGKILL), now: at(1500))
        #expect(fleet.advance(now: at(1500)) == [Fleet.Order(1, .signal(SIGTERM))])
        fleet.ended(1, .exited(0), now: at(1600))
        #expect(fleet.advance(now: at(1600)) == [Fleet.Order(0, .signal(SIGTERM))])
        // The last one has all that is left of its own timeout.
        #expect(fleet.nextDeadline == at(4500))
        fleet.ended(0, .exited(0), now: at(1700))
        #expect(fleet.advance(now: at(1700)) == [])
        #expect(fleet.isShutDown)
    }

    @Test("a second wish to stop kills at once")
    func insistence() throws {
        var fleet = try fleet([spec("a"), spec("b", after: ["a"])])
        _ = fleet.advance(now: at(0))
        fleet.shutDown(by: at(4500))
        #expect(fleet.advance(now: at(1)) == [Fleet.Order(0, .signal(SIGTERM))], "b had not begun")
        fleet.shutDown(by: at(10))
        #expect(fleet.advance(now: at(10)) == [])
        #expect(fleet.advance(now: at(10)) == [Fleet.Order(0, .kill)])
    }

    @Test("names, circles and unknown services are refused")
    func refusals() {
        for specs in [
            [spec("A")], [spec("")], [spec("a/b")], [spec("a"), spec("a")], [spec("a", after: ["b"])],
            [spec("a", after: ["b"]), spec("b", after: ["a"])], [spec("a", after: ["a"])],
            [ServiceSpec(name: "a", executable: "true")],
            [ServiceSpec(name: "a", executable: "/bin/true", environment: ["NOTIFY_SOCKET": "x"])],
            [ServiceSpec(name: "a", executable: "/bin/true", environment: ["A=B": "x"])],
            [ServiceSpec(name: "a", executable: "/bin/true", arguments: ["a\0b"])],
            [ServiceSpec(name: "a", executable: "/bin/true", watchdogInterval: .microseconds(1))],
        ] {
            #expect(throws: SupervisionError(.badSpecification, "")) { try Fleet(specs) }
        }
    }
}
