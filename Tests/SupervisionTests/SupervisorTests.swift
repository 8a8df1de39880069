// The supervisor and its services as real processes.
import Foundation
import Glibc
import Supervised
import Supervision
import TestPrograms
import Testing

private let isRoot = geteuid() == 0

/// A service that is ready at once and ends with 0 when told to, saying so in the log.
private func obedient(_ name: String, _ more: String...) -> [String] {
    ["service=\(name)"] + more + ["act=log=@/log", "act=catch", "act=say=\(name) begins", "act=ready", "act=run=\(name)"]
}

@Suite("The supervisor", .serialized)
struct SupervisorTests {
    @Test("services start when those before them are ready and stop in the reverse order")
    func order() throws {
        let supervisor = try SupervisorProcess(
            [
                "service=front", "after=core", "act=log=@/log", "act=catch", "act=say=front begins", "act=ready", "act=run=front",
                "service=core", "act=log=@/log", "act=catch", "act=say=core begins", "act=sleep=200", "act=say=core ready",
                "act=ready=all well",
                "act=run=core",
            ] + obedient("registrar", "after=front"))
        defer { supervisor.end() }
        try supervisor.wait("all services are ready")
        let status = try #require(try supervisor.ask(.status).status)
        #expect(status.state == .ready)
        #expect(status.pid == supervisor.process.pid)
        #expect(status.services.map(\.name) == ["core", "front", "registrar"])
        #expect(status.services.allSatisfy { $0.state == .running && $0.restarts == 0 && $0.ignoredNotifications == 0 })
        #expect(status.services[0].statusText == "all well")
        #expect(abs(status.services[0].since - Int64(time(nil))) < 20)
        let begun = ContinuousClock.now
        supervisor.stop()
        try supervisor.wait("ended: SIGTERM")
        try supervisor.waitForEnd()
        #expect(ContinuousClock.now - begun < .seconds(5))
        #expect(
            supervisor.logLines == [
                "core begins", "core ready", "front begins", "registrar begins", "registrar SIGTERM", "front SIGTERM", "core SIGTERM",
            ])
        #expect(try supervisor.process.finish().code == 0)
        #expect(try FileManager.default.contentsOfDirectory(atPath: supervisor.runDirectory) == ["supervisor.lock"])
    }

    @Test("a failing service is started again with pauses, and is up when it recovers")
    func restart() throws {
        let supervisor = try SupervisorProcess(["service=a", "act=fail-first=@/count,2", "act=ready", "act=run=a"])
        defer { supervisor.end() }
        #expect(try supervisor.wait("a is restarting").hasSuffix("ended with exit code 7; next start in 0.02 seconds"))
        #expect(try supervisor.wait("a is restarting").hasSuffix("next start in 0.04 seconds"))
        try supervisor.wait("a is running")
        #expect(try supervisor.service("a").restarts == 2)
    }

    @Test("a crash loop reaches its limit, says so, and leaves the others alone")
    func limit() throws {
        let supervisor = try SupervisorProcess(["service=crashing", "act=abort"] + obedient("other"))
        defer { supervisor.end() }
        let line = try supervisor.wait("crashing is failed")
        #expect(line.contains("failed 4 times within 60.0 seconds; the last time it ended by signal 6 (SIGABRT)"))
        #expect(try supervisor.service("crashing").restarts == 3)
        #expect(try supervisor.service("other").state == .running)
        #expect(try supervisor.ask(.status).status?.state == .starting)
        // By command it gets another chance, and the answer tells how that went.
        let answer = try supervisor.ask(.start("crashing"))
        #expect(!answer.isDone)
        #expect(answer.message.contains("SIGABRT"))
    }

    @Test("a program that does not exist fails with its name")
    func missingProgram() throws {
        let supervisor = try SupervisorProcess(["service=a", "executable=/nonexistent/a", "limit=0"])
        defer { supervisor.end() }
        #expect(try supervisor.wait("a is failed").contains("could not be started: /nonexistent/a: No such file or directory"))
    }

    @Test("a service that ends with 0 stays down, comes back by command, and stays down by command")
    func zero() throws {
        let supervisor = try SupervisorProcess(
            ["service=a", "act=fail-first=@/count,0", "act=exit=0"] + obedient("b", "after=a") + obedient("c"))
        defer { supervisor.end() }
        try supervisor.wait("a is stopped: ended by itself with exit code 0")
        try until("c is running") { try supervisor.service("c").state == .running }
        #expect(try supervisor.service("a").restarts == 0)
        #expect(try supervisor.service("b").why == "waits for a")
        #expect(try supervisor.ask(.start("b")).message == "b needs a, which is down: start that first")
        #expect(try supervisor.ask(.stop("c")) == (try supervisor.ask(.stop("c"))), "stopping twice says the same")
        #expect(try supervisor.service("c").state == .stopped)
        #expect(supervisor.logLines.last == "c SIGTERM")
        #expect(try supervisor.ask(.start("c")).isDone)
        let first = try supervisor.pid(of: "c")
        #expect(try supervisor.ask(.restart("c")).isDone)
        #expect(try supervisor.pid(of: "c") != first)
        #expect(try supervisor.service("c").restarts == 0, "only starts of its own are counted")
        #expect(try supervisor.ask(.stop("nobody")).message == "there is no service nobody; there are a, b, c")
    }

    @Test("a service that is not to start at once waits for the command and does not hold up readiness")
    func manual() throws {
        let supervisor = try SupervisorProcess(obedient("core") + obedient("registrar", "after=core", "manual"))
        defer { supervisor.end() }
        try supervisor.wait("all services are ready")
        #expect(try supervisor.service("registrar").state == .stopped)
        #expect(try supervisor.ask(.start("registrar")).message == "registrar is running")
    }

    @Test("SIGHUP and reload reach the services, and READY ends the reload")
    func reload() throws {
        let supervisor = try SupervisorProcess(obedient("a"))
        defer { supervisor.end() }
        try supervisor.wait("all services are ready")
        #expect(try supervisor.ask(.reload("a")).isDone)
        try until("the service reloads") { supervisor.logLines == ["a begins", "a reload"] }
        supervisor.stop(SIGHUP)
        try until("it reloads again") { supervisor.logLines == ["a begins", "a reload", "a reload"] }
        try until("it is ready again") { try supervisor.service("a").statusText == "reloaded" && !supervisor.service("a").isReloading }
        #expect(try supervisor.service("a").restarts == 0)
    }

    @Test("when an essential service has failed for good everything is stopped, with the reason")
    func essential() throws {
        let supervisor = try SupervisorProcess(obedient("a") + ["service=core", "after=a", "essential", "final=78", "act=exit=78"])
        defer { supervisor.end() }
        #expect(
            try supervisor.wait("ended: ").hasPrefix(
                "ended: core, without which nothing works, has failed: ended with exit code 78: starting it again would not help"))
        try supervisor.waitForEnd()
        #expect(try supervisor.process.finish().code == 2)
        #expect(supervisor.logLines == ["a begins", "a SIGTERM"])
    }

    @Test("another thread of the supervisor's process reads its state, gives commands and ends it")
    func otherThread() throws {
        let supervisor = try SupervisorProcess(obedient("told-by-thread"))
        defer { supervisor.end() }
        try supervisor.wait("thread: told-by-thread is down")
        try supervisor.wait("ended: the thread has seen enough")
        try supervisor.wait("afterwards: the supervisor has ended")
        try supervisor.waitForEnd()
    }

    @Test("a service that is stopped by a signal misses its watchdog and is replaced; one that feeds it is not")
    func watchdog() throws {
        let feeding = ["act=catch", "act=ready", "act=feed", "act=run=x"]
        let supervisor = try SupervisorProcess(["service=a", "watchdog=800"] + feeding + ["service=b", "watchdog=800"] + feeding)
        defer { supervisor.end() }
        try supervisor.wait("all services are ready")
        let pid = try supervisor.pid(of: "a")
        let other = try supervisor.pid(of: "b")
        kill(pid, SIGSTOP)
        #expect(try supervisor.wait("a is restarting").contains("watchdog: nothing heard for 0.8 seconds; ended by signal 6 (SIGABRT)"))
        try supervisor.wait("a is running")
        #expect(try supervisor.pid(of: "b") == other)
        #expect(try supervisor.service("b").restarts == 0)
    }

    @Test("a service that never feeds its watchdog, or never becomes ready, is replaced")
    func neverHeard() throws {
        let supervisor = try SupervisorProcess(
            ["service=a", "watchdog=100", "act=ready", "act=run=a", "service=b", "start-timeout=100", "act=run=b"])
        defer { supervisor.end() }
        var text = ""
        while !(text.contains("a is restarting") && text.contains("b is restarting")) { text += try supervisor.wait("is restarting") }
        #expect(text.contains("watchdog: nothing heard"))
        #expect(text.contains("was not ready within 0.1 seconds"))
    }

    @Test("a service that ignores SIGTERM is killed in time, and the others still have theirs")
    func deaf() throws {
        let supervisor = try SupervisorProcess(
            obedient("polite") + ["service=deaf", "stop-timeout=300", "act=ignore-term", "act=ready", "act=pause"])
        defer { supervisor.end() }
        try supervisor.wait("all services are ready")
        #expect(try supervisor.ask(.stop("deaf")).isDone)
        #expect(try supervisor.service("deaf").why == "did not end in time after SIGTERM and was killed")
        #expect(try supervisor.ask(.start("deaf")).isDone)
        let begun = ContinuousClock.now
        #expect(
            try supervisor.ask(.shutdown) == (try ControlMessage.answer(from: Array("result=ok\nmessage=everything is stopped\n".utf8))))
        try supervisor.waitForEnd()
        #expect(ContinuousClock.now - begun < .seconds(3))
        #expect(supervisor.logLines.last == "polite SIGTERM")
    }

    @Test("with every service deaf the whole is down within its time; a second Ctrl-C ends it at once", arguments: [false, true])
    func allDeaf(insistent: Bool) throws {
        let deaf = ["act=ignore-term", "act=ready", "act=pause"]
        let supervisor = try SupervisorProcess(
            [insistent ? "shutdown=20000" : "shutdown=3000", "service=a"] + deaf + ["service=b"] + deaf + ["service=c"] + deaf)
        defer { supervisor.end() }
        try supervisor.wait("all services are ready")
        let begun = ContinuousClock.now
        supervisor.stop(SIGINT)
        try supervisor.wait("c is stopping")
        if insistent { supervisor.stop(SIGINT) }
        try supervisor.wait("ended: SIGINT")
        try supervisor.waitForEnd()
        #expect(ContinuousClock.now - begun < .seconds(3))
    }

    @Test("Ctrl-C in the middle of the start ends what has begun and begins nothing more")
    func earlyInterrupt() throws {
        let supervisor = try SupervisorProcess(["service=slow", "act=run=slow"] + obedient("after", "after=slow"))
        defer { supervisor.end() }
        try supervisor.wait("slow is starting")
        supervisor.stop(SIGINT)
        try supervisor.wait("ended: SIGINT")
        try supervisor.waitForEnd()
        #expect(!supervisor.lines.contains { $0.contains("after is starting") })
    }

    @Test("nobody but the main process can notify: not a child of it, not a stranger")
    func impostors() throws {
        let supervisor = try SupervisorProcess(
            [
                "service=a", "act=log=@/log", "act=child=send:READY=1,exit:0", "act=stray=send:READY=1,exit:0",
                "act=child=status:forged,pause", "act=run=a",
            ])
        defer { supervisor.end() }
        try supervisor.wait("a: notification ignored (1 so far): it came from process")
        try until("three are ignored") { try supervisor.service("a").ignoredNotifications >= 3 }
        let service = try supervisor.service("a")
        #expect(service.state == .starting)
        #expect(service.statusText == "")
        #expect(service.ignoredNotifications == 3)
    }

    @Test("a service that notifies for another is not heard, however often it tries")
    func notifiesForAnother() throws {
        let lie = "act=send-to=@/run/notify/victim.sock,READY=1;STATUS=forged;MAINPID=1;WATCHDOG=trigger"
        let supervisor = try SupervisorProcess(
            ["service=victim", "watchdog=5000", "act=run=victim", "service=liar"] + Array(repeating: lie, count: 20)
                + ["act=ready", "act=run=liar"])
        defer { supervisor.end() }
        try supervisor.wait("liar is running")
        try until("every lie is counted") { try supervisor.service("victim").ignoredNotifications == 20 }
        let victim = try supervisor.service("victim")
        #expect(victim.state == .starting && victim.statusText == "" && victim.restarts == 0)
        #expect(try supervisor.service("liar").ignoredNotifications == 0)
        #expect(supervisor.lines.filter { $0.contains("notification ignored") }.count == 2, "at the 1st and the 10th")
    }

    @Test("a service may name another main process, if it is its own")
    func mainPid() throws {
        let supervisor = try SupervisorProcess(
            ["service=a", "act=log=@/log", "act=main-is-child=flood", "service=b", "act=send=MAINPID=1;READY=1", "act=run=b"])
        defer { supervisor.end() }
        try supervisor.wait("all services are ready")
        let announced = try #require(supervisor.logLines.first?.split(separator: " ").last.flatMap { pid_t($0) })
        #expect(try supervisor.pid(of: "a") == announced)
        #expect(try supervisor.service("b").ignoredNotifications == 1)
        try until("its status is heard") { try supervisor.service("a").statusText == "the flood rises" }
        kill(announced, SIGKILL)
        #expect(try supervisor.wait("a is restarting").contains("ended by signal 9 (SIGKILL)"))
        try supervisor.wait("a is running")
        #expect(try supervisor.pid(of: "b") != 1)
    }

    @Test("a flood of notifications starves neither the others nor the control socket")
    func flood() throws {
        let supervisor = try SupervisorProcess(
            [
                "service=flood", "act=ready", "act=flood", "service=calm", "watchdog=800", "act=catch", "act=ready", "act=feed",
                "act=run=calm",
            ])
        defer { supervisor.end() }
        try supervisor.wait("all services are ready")
        let calm = try supervisor.pid(of: "calm")
        // More than two watchdog intervals, all of them spent asking.
        let end = ContinuousClock.now + .seconds(2)
        var slowest = Duration.zero
        while ContinuousClock.now < end {
            let begun = ContinuousClock.now
            #expect(try supervisor.service("flood").state == .running)
            slowest = max(slowest, ContinuousClock.now - begun)
        }
        #expect(slowest < .seconds(1))
        #expect(try supervisor.pid(of: "calm") == calm)
        #expect(try supervisor.ask(.stop("flood")).isDone)
    }

    @Test("what a service forked is killed with it, also outside its process group when everything ends")
    func forked() throws {
        let supervisor = try SupervisorProcess([
            "service=a", "act=log=@/log", "act=child=ignore-term,pause", "act=catch", "act=ready", "act=run=a",
            "service=b", "act=log=@/log2", "act=stray=ignore-term,pause", "act=ready", "act=exit=0",
        ])
        defer { supervisor.end() }
        try supervisor.wait("a is running")
        let child = try #require(supervisor.logLines.first?.split(separator: " ").last.flatMap { pid_t($0) })
        #expect(try supervisor.ask(.stop("a")).isDone)
        #expect(waitForExit(of: child))
        supervisor.stop()
        try supervisor.wait("ended: SIGTERM")
        // The stray holds the pipe, so this ends only when it is gone.
        try supervisor.waitForEnd(within: .seconds(3))
    }

    @Test("killed with -9 the supervisor leaves no service behind, whether they run or are only starting")
    func killed() throws {
        let supervisor = try SupervisorProcess(obedient("a") + ["service=b", "act=ignore-term", "act=pause"] + obedient("c"))
        defer { supervisor.end() }
        try supervisor.wait("b is starting")
        try supervisor.wait("c is running")
        supervisor.stop(SIGKILL)
        try supervisor.waitForEnd(within: .seconds(2))
    }

    @Test("killed with -9 at any moment of the start, nothing is left, and the next one takes over", arguments: 1...8)
    func killedEarly(round: Int) throws {
        let directory = try SupervisorProcess.temporaryDirectory()
        let plan = obedient("a") + obedient("b") + obedient("c")
        let first = try SupervisorProcess(plan, directory: directory)
        if round > 1 { try first.wait(["a is starting", "b is starting", "c is starting", "is running"][round % 4]) }
        first.stop(SIGKILL)
        try first.waitForEnd(within: .seconds(2))
        let second = try SupervisorProcess(plan, directory: directory)
        defer {
            second.end()
            first.end()
        }
        try second.wait("all services are ready")
    }

    @Test("a second supervisor on the same directory is refused and told who is there")
    func twice() throws {
        let first = try SupervisorProcess(obedient("a"))
        defer { first.end() }
        try first.wait("all services are ready")
        let second = try SupervisorProcess(obedient("a"), directory: first.directory)
        let line = try second.wait("refused: alreadyRunning")
        #expect(line.contains("another supervisor (pid \(first.process.pid)) runs on \(first.runDirectory)"))
        #expect(try second.process.finish().code == 1)
        #expect(try first.service("a").state == .running)
    }

    @Test("a run directory in which others may write is refused, and one whose sockets' paths are too long")
    func badDirectory() throws {
        let directory = try SupervisorProcess.temporaryDirectory()
        mkdir("\(directory)/run", 0o777)
        chmod("\(directory)/run", 0o777)
        let supervisor = try SupervisorProcess(obedient("a"), directory: directory)
        try supervisor.wait("refused: badRunDirectory")
        supervisor.end()
        let long = try SupervisorProcess(
            obedient(String(repeating: "a", count: 40)), directory: "/tmp/" + String(repeating: "x", count: 60))
        try long.wait("longer than the 107 bytes")
        long.end()
    }

    @Test("a client that says nonsense, or nothing, or goes away, disturbs nobody")
    func controlAbuse() throws {
        let supervisor = try SupervisorProcess(obedient("a") + ["service=deaf", "act=ignore-term", "act=ready", "act=pause"])
        defer { supervisor.end() }
        try supervisor.wait("all services are ready")
        let path = SupervisorClient.path(runDirectory: supervisor.runDirectory)
        var attributes = stat()
        #expect(stat(path, &attributes) == 0 && attributes.st_mode & 0o7777 == 0o600)
        func connection() -> Int32 {
            let descriptor = socket(AF_UNIX, Int32(SOCK_SEQPACKET.rawValue), 0)
            var address = sockaddr_un()
            address.sun_family = sa_family_t(AF_UNIX)
            withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
            let size = socklen_t(MemoryLayout<sockaddr_un>.size)
            #expect(
                withUnsafePointer(to: &address) { $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(descriptor, $0, size) } }
                    == 0)
            return descriptor
        }
        // Many that say nothing: the oldest are dropped.
        let silent = (0..<40).map { _ in connection() }
        #expect(try supervisor.service("a").state == .running)
        // One that asks for something long and goes.
        let hasty = connection()
        #expect(send(hasty, "command=stop\nservice=deaf\n", 26, 0) == 26)
        close(hasty)
        for nonsense in ["x", "command=status\n\n", String(repeating: "y", count: 70_000)] {
            let descriptor = connection()
            #expect(send(descriptor, nonsense, nonsense.utf8.count, 0) == nonsense.utf8.count)
            var buffer = [UInt8](repeating: 0, count: 4096)
            let count = recv(descriptor, &buffer, buffer.count, 0)
            #expect(try !ControlMessage.answer(from: Array(buffer.prefix(max(count, 0)))).isDone)
            close(descriptor)
        }
        #expect(try supervisor.service("a").state == .running)
        for descriptor in silent { close(descriptor) }
    }
}

@Suite("What a service is given", .serialized)
struct GivenTests {
    /// The lines of a report whose first word is this, without it.
    private func lines(_ word: String, in report: String) -> [String] {
        report.split(separator: "\n").filter { $0.hasPrefix(word + " ") }.map { String($0.dropFirst(word.count + 1)) }
    }

    @Test("the environment is built from nothing, descriptors above 2 are closed, signals are free, the group is its own")
    func fromNothing() throws {
        let supervisor = try SupervisorProcess(
            ["service=a", "watchdog=5000", "env=LANG=C.UTF-8", "act=report=@/report", "act=ready", "act=run=a"],
            environment: ["SECRET": "x", "PATH": "/bin", "NOTIFY_SOCKET": "/nonexistent", "WATCHDOG_USEC": "1000000"])
        defer { supervisor.end() }
        try supervisor.wait("a is running")
        let report = try String(contentsOfFile: supervisor.directory + "/report", encoding: .utf8)
        #expect(
            lines("env", in: report).sorted() == [
                "LANG=C.UTF-8", "NOTIFY_SOCKET=\(supervisor.runDirectory)/notify/a.sock", "WATCHDOG_USEC=5000000",
            ])
        #expect(lines("fd", in: report).sorted() == ["0", "1", "2"])
        #expect(lines("group", in: report) == ["own"])
        #expect(lines("umask", in: report) == ["77"])
        #expect(lines("core", in: report) == ["0"])
        let proc = lines("proc", in: report)
        #expect(proc.contains("SigBlk: 0000000000000000"))
        // SIGPIPE is signal 13, so bit 12; 32 and 33 are the C library's own, which posix_spawn leaves ignored.
        let ignored = try #require(proc.first { $0.hasPrefix("SigIgn: ") }.flatMap { UInt64($0.dropFirst(8), radix: 16) })
        #expect(ignored & ~0x1_8000_0000 == 0x1000)
        #expect(proc.contains("NoNewPrivs: 1"))
    }

    @Test("it becomes the user it is told to, and can still notify and be stopped", .enabled(if: isRoot, "only root can change user"))
    func otherUser() throws {
        let supervisor = try SupervisorProcess(
            ["service=a", "user=65534:65533:65531,65532", "act=report=@/open/report", "act=catch", "act=ready=as nobody", "act=run=a"])
        defer { supervisor.end() }
        mkdir(supervisor.directory + "/open", 0o777)
        chmod(supervisor.directory + "/open", 0o777)
        // The first report may have found no directory to write in.
        try supervisor.wait("a is running")
        #expect(try supervisor.ask(.restart("a")).isDone)
        let report = try String(contentsOfFile: supervisor.directory + "/open/report", encoding: .utf8)
        let proc = lines("proc", in: report)
        #expect(proc.contains("Uid: 65534 65534 65534 65534"))
        #expect(proc.contains("Gid: 65533 65533 65533 65533"))
        #expect(proc.contains("Groups: 65531 65532"))
        #expect(proc.contains("CapEff: 0000000000000000"))
        #expect(proc.contains("CapPrm: 0000000000000000"))
        // Undumpable: its /proc files belong to root, not to its user.
        #expect(lines("environ-owner", in: report) == ["0"])
        let service = try supervisor.service("a")
        #expect(service.statusText == "as nobody" && service.ignoredNotifications == 0)
        supervisor.stop(SIGKILL)
        try supervisor.waitForEnd(within: .seconds(2))
    }

    @Test(
        "its folder in the run directory is its user's, others only pass; a later supervisor that gives it none removes it",
        .enabled(if: isRoot, "only root can change user"))
    func folder() throws {
        let directory = try SupervisorProcess.temporaryDirectory()
        let plan = ["act=catch", "act=ready", "act=run=a"]
        let first = try SupervisorProcess(["service=a", "user=65534:65533:", "folder"] + plan, directory: directory)
        try first.wait("a is running")
        var found = stat()
        #expect(lstat("\(directory)/run/a", &found) == 0)
        #expect(found.st_mode == S_IFDIR | 0o711 && found.st_uid == 65534 && found.st_gid == 65533)
        #expect(lstat("\(directory)/run", &found) == 0 && found.st_uid == 0 && found.st_mode & 0o022 == 0)
        first.stop()
        try first.waitForEnd()
        let second = try SupervisorProcess(["service=a"] + plan, directory: directory)
        defer {
            second.end()
            first.end()
        }
        try second.wait("a is running")
        #expect(!FileManager.default.fileExists(atPath: "\(directory)/run/a"))
    }

    @Test(
        "a folder for another group hands that group on to the service's sockets, though the service is no member of it",
        .enabled(if: isRoot, "only root can change user"))
    func folderGroup() throws {
        let run = try SupervisorProcess([
            "service=a", "user=65534:65533:", "folder=65532", "act=catch", "act=socket=@/run/a/s.sock", "act=ready", "act=run=a",
        ])
        defer { run.end() }
        try run.wait("a is running")
        var found = stat()
        #expect(lstat("\(run.runDirectory)/a", &found) == 0)
        #expect(found.st_mode == S_IFDIR | 0o2711 && found.st_uid == 65534 && found.st_gid == 65532)
        #expect(lstat("\(run.runDirectory)/a/s.sock", &found) == 0 && found.st_uid == 65534 && found.st_gid == 65532)
    }

    @Test(
        "a program whose supervisor is not its parent, or that is told nonsense, does not run",
        arguments: [("999999", "the supervisor (pid 999999) is gone"), ("12:x", "UPKI_SUPERVISED is not PID")])
    func wrongParent(value: String, message: String) throws {
        let finished = try ProgramRun.run([SupervisorProcess.program, "exit=0"], environment: ["UPKI_SUPERVISED": value])
        #expect(finished.code == FirstActs.failureExitCode && finished.errors.contains(message))
    }

    @Test("without a supervisor the first acts only harden")
    func alone() throws {
        let directory = try SupervisorProcess.temporaryDirectory()
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let command = [SupervisorProcess.program, "report=\(directory)/report", "ready", "exit=3"]
        #expect(try ProgramRun.run(command, environment: [:]).code == 3)
        let report = try String(contentsOfFile: directory + "/report", encoding: .utf8)
        #expect(lines("umask", in: report) == ["77"])
        #expect(lines("core", in: report) == ["0"])
    }
}

@Suite("The supervisor's own supervisor", .serialized)
struct UpwardTests {
    @Test("it says READY only when all are ready, feeds its watchdog and says STOPPING")
    func notifies() throws {
        let directory = try SupervisorProcess.temporaryDirectory()
        let upward = try NotifySocket(directory + "/upward.sock")
        var heard: [String] = []
        func hear(until text: String) throws { repeat { heard.append(try upward.next()) } while heard.last != text }
        let supervisor = try SupervisorProcess(
            ["service=a", "act=catch", "act=sleep=100", "act=ready", "act=run=a"] + obedient("b", "after=a"), directory: directory,
            environment: ["NOTIFY_SOCKET": upward.path, "WATCHDOG_USEC": "100000"])
        defer { supervisor.end() }
        try hear(until: "READY=1")
        #expect(heard.contains("STATUS=a running, b starting"))
        try hear(until: "STATUS=a running, b running")
        heard = []
        try hear(until: "WATCHDOG=1")
        try hear(until: "WATCHDOG=1")
        supervisor.stop()
        try hear(until: "STOPPING=1")
        try supervisor.waitForEnd()
    }

    @Test("as PID 1 it reaps everything, stops in order and leaves nothing")
    func firstProcess() throws {
        let wrapper = ["/usr/bin/unshare", "--fork", "--pid", "--mount-proc", "--kill-child"]
        guard try ProgramRun.run(wrapper + ["/bin/true"]).code == 0 else {
            print("skipped: a pid namespace of its own is not permitted here")
            return
        }
        let supervisor = try SupervisorProcess(
            [
                // Its child starts a stray and ends: the stray becomes PID 1's.
                "service=a", "act=log=@/log", "act=child=stray:exit:0,exit:0", "act=stray=exit:0", "act=catch", "act=sleep=100",
                "act=ready", "act=exit=0",
            ] + obedient("b"), wrapper: wrapper)
        defer { supervisor.end() }
        try supervisor.wait("a is stopped")
        try until("both orphans are reaped") { try supervisor.ask(.status).status?.orphansReaped ?? 0 >= 2 }
        let status = try #require(try supervisor.ask(.status).status)
        #expect(status.pid == 1)
        #expect(try supervisor.ask(.shutdown).isDone)
        try supervisor.wait("ended: asked at the control socket")
        try supervisor.waitForEnd()
        #expect(try supervisor.process.finish().code == 0)
    }
}
