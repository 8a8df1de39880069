// What comes from outside: notifications and the control socket's messages.
import Supervision
import Testing

@Suite("Notifications")
struct NotificationTests {
    private func parsed(_ text: String) -> Supervision.Notification { Supervision.Notification(parsing: text.utf8) }

    @Test("the examples of sd_notify(3) mean what they say there")
    func manualPage() {
        #expect(parsed("READY=1").ready)
        let starting = parsed("READY=1\nSTATUS=Processing requests...\nMAINPID=4711")
        #expect(starting.ready && starting.status == "Processing requests..." && starting.mainPid == 4711)
        let failing = parsed("STATUS=Failed to start up: Address already in use\nERRNO=98")
        #expect(!failing.ready && failing.errno == 98)
        #expect(parsed("WATCHDOG=1").watchdog == .alive)
        #expect(parsed("WATCHDOG=trigger").watchdog == .trigger)
        #expect(parsed("RELOADING=1\nMONOTONIC_USEC=5").reloading)
        #expect(parsed("STOPPING=1").stopping)
        #expect(parsed("EXIT_STATUS=3").exitStatus == 3)
    }

    @Test(
        "what is not exactly an assignment we know changes nothing",
        arguments: [
            "", "\n\n", "READY", "READY=", "READY=0", "READY=11", " READY=1", "ready=1", "=1", "MAINPID=-1", "MAINPID=99999999999",
            "MAINPID=1x",
            "X_OTHER=1", "WATCHDOG=yes", "FDSTORE=1",
        ])
    func ignored(text: String) {
        #expect(parsed(text) == parsed(""))
    }

    @Test("a status text is bounded and cannot write to a terminal")
    func status() {
        #expect(parsed("STATUS=\u{1B}[31mred\u{9B}\r\t").status == "?[31mred???")
        #expect(parsed("STATUS=" + String(repeating: "é", count: 4000)).status?.unicodeScalars.count == 128)
        #expect(Supervision.Notification(parsing: Array("STATUS=".utf8) + [0xFF, 0x41]).status == "\u{FFFD}A")
    }

    @Test("a burst is read, a flood is paused until its share of the second has come back")
    func budget() {
        let start = SuspendingClock.now
        var budget = NotificationBudget(now: start)
        for _ in 0..<NotificationBudget.perSecond {
            #expect(budget.pausedUntil(now: start) == nil)
            budget.take()
        }
        #expect(budget.pausedUntil(now: start) == start.advanced(by: .milliseconds(100)))
        #expect(budget.pausedUntil(now: start.advanced(by: .milliseconds(100))) == nil)
        for _ in 0..<(NotificationBudget.perSecond / 10) { budget.take() }
        #expect(budget.pausedUntil(now: start.advanced(by: .milliseconds(100))) != nil)
        #expect(budget.pausedUntil(now: start.advanced(by: .seconds(90_000))) == nil)
    }
}

@Suite("Control messages")
struct ControlMessageTests {
    @Test(
        "every command is read back as written",
        arguments: [.status, .start("a"), .stop("b-1"), .restart("c"), .reload(nil), .reload("d"), .shutdown] as [ControlCommand])
    func commands(command: ControlCommand) throws {
        #expect(try ControlMessage.command(from: ControlMessage.encode(command)) == command)
    }

    @Test("a command is plain text")
    func plain() {
        #expect(String(decoding: ControlMessage.encode(.stop("ca-registrar")), as: UTF8.self) == "command=stop\nservice=ca-registrar\n")
    }

    @Test("an answer with every field is read back as written, whatever stands in its texts")
    func answers() throws {
        let service = ServiceStatus(
            name: "core", state: .restarting, pid: nil, since: 1_795_000_000, restarts: 3, isReloading: false,
            statusText: "a=b\\n\nc\\", why: "ended\n\nservice=x\nstate=running", ignoredNotifications: 9)
        let status = SupervisorStatus(pid: 7, state: .ready, since: 5, orphansReaped: 2, services: [service, service])
        for answer in [
            ControlAnswer(isDone: true, message: "", status: status), ControlAnswer(isDone: false, message: "no\nresult=ok"),
        ] {
            #expect(try ControlMessage.answer(from: ControlMessage.encode(answer)) == answer)
        }
    }

    @Test(
        "a malformed request is refused",
        arguments: [
            "", "\n", "command", "command=status", "command=status\n\n", "command=status\ncommand=stop\n", "command=stop\n",
            "command=status\nservice=a\n",
            "service=a\ncommand=stop\n", "command=stop\nservice=a\nservice=b\n", "command=stop\nservice=a\\x\n",
            "command=stop\nservice=a\\\n",
            "command=explode\n", "{\"command\":\"status\"}\n", "command=status\0\n",
        ])
    func malformed(text: String) {
        #expect(throws: SupervisionError(.malformedMessage, "")) { try ControlMessage.command(from: Array(text.utf8)) }
    }

    @Test("a malformed answer is refused", arguments: ["result=maybe\nmessage=\n", "result=ok\n", "result=ok\nmessage=\nsupervisor=x\n"])
    func malformedAnswer(text: String) {
        #expect(throws: SupervisionError(.malformedMessage, "")) { try ControlMessage.answer(from: Array(text.utf8)) }
    }
}
