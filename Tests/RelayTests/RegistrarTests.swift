// The registrar listens only while the registration window is open: by question, by event and by clock; also as a process.
import Foundation
import Relay
import Synchronization
import TestPrograms
import Testing
import Threads
import UPKIProtocol
import ZeroMQ

private let closed = #"{"EVENT":"ANSWER","DATA":{"open":false,"until":null,"remaining":null,"cn":null,"reason":"closed by the operator"}}"#
private func open(until: Int64 = 2_000_000_000) -> String {
    #"{"EVENT":"ANSWER","DATA":{"open":true,"until":\#(until),"remaining":3,"cn":null,"reason":"opened for 24 h"}}"#
}

@Suite("The registrar", .serialized)
struct RegistrarTests {
    let directory: TemporaryDirectory
    let corePath: String
    let eventsPath: String

    init() throws {
        directory = try TemporaryDirectory()
        corePath = "\(directory.path)/\(TestRelay.corePath)"
        eventsPath = "\(directory.path)/\(TestRelay.eventsPath)"
    }

    private func core(_ instance: String = "one", _ window: @escaping @Sendable () -> String?) throws -> FakeCore {
        try FakeCore(path: corePath, eventsPath: eventsPath, instance: instance) { request in
            request.text.contains(#""TASK":"window""#) ? window().map { Array($0.utf8) } : Array("answer".utf8)
        }
    }

    @Test("never listens when registration is closed")
    func closedFromTheStart() throws {
        let core = try core { closed }
        defer { core.stop() }
        let test = try TestRelay(directory, window: true)
        #expect(try test.waitForEnd() == .windowClosed(reason: "closed by the operator"))
        #expect(!test.seen.contains { if case .listening = $0 { true } else { false } })
        #expect(test.relay.endpoints.isEmpty)
        let question = try core.requests.next()
        #expect(question.text == #"{"TASK":"window","params":{}}"#)
        #expect(question.header.identity == .none)
    }

    @Test("does not listen while the core does not tell")
    func silence() throws {
        let test = try TestRelay(directory, window: true)
        let core = try core { #"{"EVENT":"UPKI ERROR","MSG":"Storage error: the disk is full"}"# }
        defer { core.stop() }
        try test.waitForLog("did not tell the state of the registration window: Storage error: the disk is full")
        #expect(test.relay.endpoints.isEmpty)
        #expect(test.relay.statusText == "waiting for ca-core")
    }

    @Test("relays while registration is open, and closes port and program when it hears that it closed")
    func closeEvent() throws {
        let core = try core { open() }
        defer { core.stop() }
        let test = try TestRelay(directory, window: true)
        let endpoint = try test.readyEndpoint()
        let requester = try client(.request, endpoint, in: test.context)
        #expect(try requester.ask(#"{"TASK":"status","params":{}}"#) == "answer")
        _ = try core.subscriptions.next()
        core.publish(#"{"event":"heartbeat","instance":"one","sequence":4}"#)
        core.publish(#"{"event":"status","serial":"1","status":"revoked","sequence":5,"instance":"one"}"#)
        core.publish("no JSON at all")
        core.publish(#"{"event":"window","open":false,"reason":"closed by the operator","sequence":6,"instance":"one"}"#)
        #expect(try test.waitForEnd() == .windowClosed(reason: "closed by the operator"))
        test.relay.join()
        #expect(RawPeer.isRefused(endpoint))
        #expect(test.relay.statusText == "registration is closed: closed by the operator")
    }

    @Test("finishes a registration that is in flight when the window closes")
    func closeFinishesWhatIsInFlight() throws {
        let core = try FakeCore(path: corePath, eventsPath: eventsPath) { $0.text.contains("window") ? Array(open().utf8) : nil }
        defer { core.stop() }
        let test = try TestRelay(directory, window: true)
        let requester = try client(.request, try test.readyEndpoint(), in: test.context)
        _ = try core.requests.next()
        _ = try core.subscriptions.next()
        try requester.say(#"{"TASK":"register","params":{}}"#)
        let registration = try core.requests.next()
        core.publish(#"{"event":"window","open":false,"reason":"closed","sequence":1,"instance":"c0ffee"}"#)
        while test.relay.statusText != "stopping, 1 open" { sched_yield() }
        core.answer(registration, "registered")
        #expect(try requester.hear() == ["registered"])
        #expect(try test.waitForEnd() == .windowClosed(reason: "closed"))
    }

    @Test("closes by its own clock when the window's time has run out")
    func clock() throws {
        let core = try core { open(until: 1_000) }
        defer { core.stop() }
        let now = SharedTime(999)
        let test = try TestRelay(directory, window: true) { $0.unixTime = { now.seconds.withLock { $0 } } }
        _ = try test.readyEndpoint()
        now.seconds.withLock { $0 = 1_000 }
        #expect(try test.waitForEnd() == .windowClosed(reason: "its time has run out"))
    }

    @Test("asks again when another core process speaks, when an event was missed, and after a restart of the core")
    func asksAgain() throws {
        let isOpen = SharedTime(1)
        let core = try core { isOpen.seconds.withLock { $0 } == 1 ? open() : closed }
        let test = try TestRelay(directory, window: true)
        _ = try test.readyEndpoint()
        _ = try core.subscriptions.next()
        _ = try core.requests.next()
        core.publish(#"{"event":"heartbeat","instance":"one","sequence":4}"#)
        core.publish(#"{"event":"heartbeat","instance":"one","sequence":5}"#)
        #expect(try core.requests.next().text.contains("window"))
        core.publish(#"{"event":"heartbeat","instance":"two","sequence":5}"#)
        #expect(try core.requests.next().text.contains("window"))
        isOpen.seconds.withLock { $0 = 0 }
        core.stop()
        let second = try self.core("three") { isOpen.seconds.withLock { $0 } == 1 ? open() : closed }
        defer { second.stop() }
        #expect(try test.waitForEnd() == .windowClosed(reason: "closed by the operator"))
    }

    // MARK: The program

    @Test("as a program ends with 0 and one line when registration is closed")
    func programClosed() throws {
        let core = try FakeCore(path: "\(directory.path)/registrar.sock", eventsPath: eventsPath) { _ in Array(closed.utf8) }
        defer { core.stop() }
        let registrar = try program(["--listen", "tcp://127.0.0.1:*", "--run-dir", directory.path, "--log-format", "plain"])
        #expect(try registrar.finish().code == 0)
        #expect(registrar.errors.hasSuffix("registration is closed: closed by the operator\n"))
        #expect(!registrar.errors.contains("listening"))
    }

    @Test("as a program reports to its supervisor, relays, and ends with 0 on SIGTERM")
    func programOpen() throws {
        let core = try FakeCore(path: "\(directory.path)/registrar.sock", eventsPath: eventsPath) { request in
            Array((request.text.contains("window") ? open() : "answer").utf8)
        }
        defer { core.stop() }
        let notifications = try NotifySocket("\(directory.path)/notify")
        let registrar = try program(
            ["--listen", "tcp://127.0.0.1:*", "--run-dir", directory.path],
            environment: ["NOTIFY_SOCKET": notifications.path, "WATCHDOG_USEC": "300000"])
        let ready = try notifications.wait(for: "READY=1")
        let place = try #require(ready.split(separator: "\n").first { $0.hasPrefix("STATUS=relaying ") }).dropFirst(
            "STATUS=relaying ".count
        )
        .prefix { $0 != "," }
        let context = try ZMQContext()
        let requester = try client(.request, "tcp://\(place)", in: context)
        #expect(try requester.ask("x") == "answer")
        _ = try notifications.wait(for: "WATCHDOG=1")
        _ = try notifications.wait(for: "WATCHDOG=1")
        registrar.signal(SIGTERM)
        _ = try notifications.wait(for: "STOPPING=1")
        #expect(try registrar.finish().code == 0)
        #expect(RawPeer.isRefused("tcp://\(place)"))
    }

    @Test("as a program ends with 1 and a line that names the port when it is taken, with 64 for a wrong option")
    func programPortTaken() throws {
        let core = try FakeCore(path: "\(directory.path)/registrar.sock", eventsPath: eventsPath) { _ in Array(open().utf8) }
        defer { core.stop() }
        let context = try ZMQContext()
        let squatter = try ZMQSocket(.router, in: context)
        try squatter.bind("tcp://127.0.0.1:*")
        let taken = try squatter.lastEndpoint
        let registrar = try program(["--listen", taken, "--run-dir", directory.path, "--log-format", "plain"])
        #expect(try registrar.finish().code == 1)
        #expect(registrar.errors.contains("cannot listen on \(taken.dropFirst(6)): port "))
        let wrong = try program(["--listen", "5001", "--run-dir", directory.path])
        #expect(try wrong.finish().code == 64)
        #expect(wrong.errors.contains("a relay listens on tcp://ADDRESS:PORT, not on 5001"))
    }
}

/// A number that tests change and a relay reads.
private final class SharedTime: Sendable {
    let seconds: Mutex<Int64>

    init(_ seconds: Int64) {
        self.seconds = Mutex(seconds)
    }
}

/// The ca-registrar that was built beside these tests.
private func program(_ arguments: [String], environment: [String: String] = [:]) throws -> ProgramRun {
    try ProgramRun(["\(ProgramRun.builtPrograms)/ca-registrar"] + arguments, environment: environment)
}
