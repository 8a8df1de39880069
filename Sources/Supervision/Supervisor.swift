// The one thread that spawns, watches, hears and stops the services, in one poll loop.
import CLinux
import Glibc
import Supervised

/// Runs services until it is told to stop. Everything happens on the thread that calls `run()`, and that thread must not
/// end before the process does: the kernel kills the children of a thread that ends (PR_SET_PDEATHSIG).
///
/// The process must have no other children that somebody else waits for: the supervisor becomes the reaper of orphans
/// (PR_SET_CHILD_SUBREAPER, or PID 1) and waits for every child there is.
public final class Supervisor {
    typealias Instant = SuspendingClock.Instant

    /// Notifications read from one service in one turn of the loop, before the others have theirs.
    private static let notificationsPerTurn = 32

    /// Who waits for what to come about.
    private struct Waiter {
        enum Goal { case running, stopped, allStopped }
        let service: Int?
        let goal: Goal
        let reply: (ControlAnswer) -> Void
    }

    /// For commands from other threads.
    public let handle: SupervisorHandle

    private let configuration: SupervisorConfiguration
    private let directory: RunDirectory
    private let control: ControlSocket
    private let signals: Int32
    private let notifier = ServiceNotifier()
    private var fleet: Fleet
    private var children: [ChildProcess?]
    private var ignored: [Int]
    private var lastSeen: [(state: ServiceState, pid: pid_t?, since: Int64)]
    private var waiters: [Waiter] = []
    private var orphansReaped = 0
    private let began: Int64
    private var hasBeenReady = false
    private var stopReason: String?
    private var essentialFailed = false
    private var lastNotifiedStatus = ""
    private var nextFeed: Instant?

    /// Takes the run directory, opens the control socket and blocks SIGTERM, SIGINT, SIGHUP and SIGCHLD in the calling thread:
    /// to be made before any other thread exists, on the thread that will call `run()`. Nothing is started yet.
    /// - Throws: `.badSpecification`, `.badRunDirectory`, `.alreadyRunning`, `.systemCall`.
    public init(_ services: [ServiceSpec], _ configuration: SupervisorConfiguration) throws(SupervisionError) {
        fleet = try Fleet(services)
        if geteuid() != 0, let other = services.first(where: { $0.runAs != nil }) {
            throw SupervisionError(.badSpecification, "service \(other.name): only root can run it as another user")
        }
        self.configuration = configuration
        directory = try RunDirectory(configuration.runDirectory, services: services.map(\.name))
        for service in services {
            if service.hasFolder {
                let owner = service.runAs.map { ($0.uid, $0.gid) } ?? (geteuid(), getegid())
                try directory.makeFolder(of: service.name, owner: owner, group: service.folderGroup)
            } else {
                directory.removeFolder(of: service.name)
            }
        }
        control = try ControlSocket(path: directory.controlSocket)
        let caught = [SIGTERM, SIGINT, SIGHUP, SIGCHLD]
        // A parent may have left SIGCHLD ignored; then the kernel would reap our children before we read how they ended.
        _ = clinux_default_signal(SIGCHLD)
        let blocked = clinux_block_signals(caught, caught.count)
        guard blocked == 0 else { throw .systemCall("pthread_sigmask", blocked) }
        signals = clinux_signal_descriptor(caught, caught.count)
        guard signals >= 0 else { throw .systemCall("signalfd", signals) }
        let now = Self.unixTime()
        began = now
        children = fleet.machines.map { _ in nil }
        ignored = fleet.machines.map { _ in 0 }
        lastSeen = fleet.machines.map { ($0.visibleState, nil, now) }
        do {
            handle = try SupervisorHandle(
                SupervisorStatus(pid: getpid(), state: .starting, since: now, orphansReaped: 0, services: []))
        } catch {
            close(signals)
            throw error
        }
        handle.publish(status())
    }

    deinit { close(signals) }

    /// How a run ended.
    public struct Ending: Sendable {
        /// A signal's name, or the reason that was given.
        public let reason: String
        /// An essential service had failed for good.
        public let isFailure: Bool
    }

    /// Runs the services until a signal, a command or the failure of an essential service ends it and every process is gone.
    public func run() -> Ending {
        if getpid() != 1 { report(clinux_become_child_subreaper(), "prctl(PR_SET_CHILD_SUBREAPER)") }
        if notifier.watchdogInterval != nil { nextFeed = SuspendingClock.now }
        while true {
            perform(fleet.advance(now: SuspendingClock.now))
            let wasStopping = stopReason != nil
            settle()
            // The end was decided just now: its first orders are given before the next wait.
            if !wasStopping, stopReason != nil { continue }
            if fleet.isShutDown || isAbandoned { break }
            takeTurn()
        }
        finish()
        return Ending(reason: stopReason ?? "", isFailure: essentialFailed)
    }

    // MARK: The loop

    private enum Source {
        case signals, commands, listener
        case connection(ControlSocket.Connection)
        case notifications(ChildProcess, Int)
        case process(ChildProcess, Int)
    }

    /// Waits for the next thing to happen and does what follows from it.
    private func takeTurn() {
        let now = SuspendingClock.now
        var sources: [Source] = [.signals, .commands, .listener]
        var watched = [signals, handle.wake, control.listener].map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
        func watch(_ descriptor: Int32, _ source: Source, events: Int32 = POLLIN) {
            watched.append(pollfd(fd: descriptor, events: Int16(events), revents: 0))
            sources.append(source)
        }
        var deadlines = [fleet.nextDeadline, nextFeed, abandonAt].compactMap { $0 }
        for (index, child) in children.enumerated() {
            guard let child else { continue }
            watch(child.mainDescriptor, .process(child, index))
            if child.isHandedOver, !child.spawnedIsReaped { watch(child.spawnedDescriptor, .process(child, index)) }
            if let pause = child.budget.pausedUntil(now: now) {
                deadlines.append(pause)
            } else {
                watch(child.notify.descriptor, .notifications(child, index))
            }
        }
        for connection in control.connections {
            // A hang-up is told without being asked for.
            watch(connection.descriptor, .connection(connection), events: connection.isPending ? 0 : POLLIN)
        }
        let timeout = deadlines.min().map { milliseconds(now.duration(to: $0)) } ?? -1
        // EINTR and the like: nothing is read this time, deadlines are looked at all the same.
        guard poll(&watched, nfds_t(watched.count), timeout) > 0 else { return feed() }
        // Notifications come before exits and deadlines, so that last words and signs of life are heard in time.
        for (source, entry) in zip(sources, watched) where entry.revents != 0 {
            if case .notifications(let child, let index) = source { hear(child, index, atMost: Self.notificationsPerTurn) }
        }
        for (source, entry) in zip(sources, watched) where entry.revents != 0 {
            switch source {
            case .notifications: break
            case .signals: takeSignals()
            case .commands: takeCommands()
            case .listener: control.acceptOne()
            case .connection(let connection): takeRequest(from: connection, hungUp: connection.isPending)
            case .process(let child, let index): processEnded(child, index)
            }
        }
        feed()
    }

    /// Our own supervisor's watchdog, at half its interval.
    private func feed() {
        guard let due = nextFeed, let interval = notifier.watchdogInterval else { return }
        let now = SuspendingClock.now
        guard now >= due else { return }
        notifier.watchdog()
        nextFeed = now.advanced(by: interval / 2)
    }

    private func perform(_ orders: [Fleet.Order]) {
        for order in orders {
            switch order.action {
            case .spawn: spawn(order.index)
            case .signal(let number): children[order.index]?.signal(number)
            case .kill: children[order.index]?.killAll()
            }
            noteChanges()
        }
    }

    private func spawn(_ index: Int) {
        let spec = fleet.machines[index].spec
        let now = SuspendingClock.now
        do {
            let socket = try NotifySocket(
                path: directory.notifySocket(of: spec.name), owner: spec.runAs.map { ($0.uid, $0.gid) })
            children[index] = try ChildProcess(spec, notify: socket, now: now)
        } catch {
            fleet.spawnFailed(index, error.message, now: now)
        }
    }

    // MARK: What services say

    private func hear(_ child: ChildProcess, _ index: Int, atMost count: Int) {
        for _ in 0..<count {
            guard children[index] === child, let message = child.notify.receive() else { return }
            child.budget.take()
            let now = SuspendingClock.now
            if let reason = refusal(of: message, for: child, index) {
                ignore(index, reason)
            } else {
                let notification = Notification(parsing: message.bytes)
                if let pid = notification.mainPid, !child.handOver(to: pid) {
                    ignore(index, "MAINPID=\(pid) is no process of this service")
                }
                perform(fleet.notified(index, notification, now: now))
            }
            noteChanges()
            if child.budget.pausedUntil(now: now) != nil { return }
        }
    }

    /// Why a notification is not heeded: the kernel, not the message, says who sent it.
    private func refusal(of message: NotifySocket.Message, for child: ChildProcess, _ index: Int) -> String? {
        let sender = message.sender
        guard sender.known != 0 else { return "the kernel does not say who sent it" }
        guard sender.pid == child.main || (sender.pid == child.spawned && !child.spawnedIsReaped) else {
            return "it came from process \(sender.pid), not from \(child.main)"
        }
        let user = fleet.machines[index].spec.runAs?.uid ?? geteuid()
        guard sender.uid == user else { return "it came from user \(sender.uid), not from \(user)" }
        guard sender.truncated == 0 else { return "it is longer than \(Notification.longest) bytes" }
        return nil
    }

    private func ignore(_ index: Int, _ reason: String) {
        ignored[index] += 1
        let count = ignored[index]
        // 1, 10, 100, …: a flood must not fill the log.
        var power = 1
        while power < count { power *= 10 }
        guard power == count else { return }
        configuration.onEvent(
            .ignoredNotification(service: fleet.machines[index].spec.name, reason: reason, count: count))
    }

    // MARK: What becomes of processes

    /// One of a service's processes may have ended.
    private func processEnded(_ child: ChildProcess, _ index: Int) {
        guard children[index] === child else { return }
        hearLastWords(child, index)
        // The last words may have named another main process; then only the first one is gone.
        if child.isHandedOver { child.reapSpawned() }
        guard let end = child.collectMain() else { return }
        children[index] = nil
        fleet.ended(index, end, now: SuspendingClock.now)
        noteChanges()
    }

    /// What a process sent before it ended counts, even when a flood had spent its budget.
    private func hearLastWords(_ child: ChildProcess, _ index: Int) {
        child.budget = NotificationBudget(now: SuspendingClock.now)
        hear(child, index, atMost: NotificationBudget.perSecond)
    }

    /// Waits for every child there is: services whose end was not yet seen, and orphans that became ours.
    private func reap() {
        // Bounded, so that an endless stream of orphans leaves room for the rest; SIGCHLD or the next turn brings us back.
        for _ in 0..<256 {
            var end = clinux_exit()
            guard clinux_wait_any(1, &end) == 0, end.pid != 0 else { return }
            if let index = children.firstIndex(where: { $0.map { $0.main == end.pid || $0.spawned == end.pid } ?? false }),
                let child = children[index]
            {
                processEnded(child, index)
            } else if clinux_wait_pid(end.pid, 0, &end) == 0 {
                orphansReaped += 1
            }
        }
        eventfd_write(handle.wake, 1)
    }

    private func noteChanges() {
        for (index, machine) in fleet.machines.enumerated() {
            let pid = children[index]?.main
            guard machine.visibleState != lastSeen[index].state || pid != lastSeen[index].pid else { continue }
            // Its order to be spawned is given but not yet carried out.
            if machine.visibleState == .starting, pid == nil { continue }
            let since = machine.visibleState == lastSeen[index].state ? lastSeen[index].since : Self.unixTime()
            lastSeen[index] = (machine.visibleState, pid, since)
            configuration.onEvent(.changed(serviceStatus(index)))
        }
    }

    // MARK: Commands

    private func takeSignals() {
        while true {
            switch clinux_next_signal(signals) {
            case 0: return
            case SIGCHLD: reap()
            case SIGTERM: stopAll(because: "SIGTERM", insistent: true)
            case SIGINT: stopAll(because: "SIGINT", insistent: true)
            case SIGHUP where configuration.hangup == .shutDown: stopAll(because: "SIGHUP: the terminal is gone", insistent: false)
            case SIGHUP: reload(nil)
            default: continue
            }
        }
    }

    private func takeCommands() {
        var count: eventfd_t = 0
        eventfd_read(handle.wake, &count)
        let (submissions, shutdownReason) = handle.collect()
        for submission in submissions { execute(submission.command, reply: submission.reply) }
        if let shutdownReason, stopReason == nil { stopAll(because: shutdownReason, insistent: false) }
        reap()
    }

    private func takeRequest(from connection: ControlSocket.Connection, hungUp: Bool) {
        guard !hungUp else { return control.drop(connection) }
        guard let bytes = control.receive(from: connection) else { return }
        connection.isPending = true
        let control = control
        do {
            execute(try ControlMessage.command(from: bytes)) { control.send($0, to: connection) }
        } catch {
            control.send(ControlAnswer(isDone: false, message: error.message), to: connection)
        }
    }

    private func execute(_ command: ControlCommand, reply: @escaping (ControlAnswer) -> Void) {
        func refuse(_ message: String) { reply(ControlAnswer(isDone: false, message: message)) }
        switch command {
        case .status:
            reply(ControlAnswer(isDone: true, message: "", status: status()))
        case .shutdown:
            waiters.append(Waiter(service: nil, goal: .allStopped, reply: reply))
            stopAll(because: "asked at the control socket", insistent: false)
        case .reload(nil):
            reload(nil)
            reply(ControlAnswer(isDone: true, message: "all running services were told to reload"))
        case .start(let name), .stop(let name), .restart(let name), .reload(let name?):
            guard let index = fleet.index(of: name) else {
                return refuse("there is no service \(name); there are \(fleet.machines.map(\.spec.name).joined(separator: ", "))")
            }
            guard stopReason == nil else { return refuse("the supervisor is stopping") }
            execute(command, on: index, reply: reply)
        }
    }

    private func execute(_ command: ControlCommand, on index: Int, reply: @escaping (ControlAnswer) -> Void) {
        let name = fleet.machines[index].spec.name
        switch command {
        case .stop:
            waiters.append(Waiter(service: index, goal: .stopped, reply: reply))
            perform(fleet.stop(index, now: SuspendingClock.now))
        case .start, .restart:
            let missing = fleet.missing(for: index)
            guard missing.isEmpty else {
                return reply(
                    ControlAnswer(
                        isDone: false, message: "\(name) needs \(missing.joined(separator: ", ")), which is down: start that first"))
            }
            waiters.append(Waiter(service: index, goal: .running, reply: reply))
            if case .start = command {
                fleet.start(index)
            } else {
                perform(fleet.restart(index, now: SuspendingClock.now))
            }
        case .reload:
            guard fleet.machines[index].isReady else {
                return reply(ControlAnswer(isDone: false, message: "\(name) is \(fleet.machines[index].visibleState.rawValue)"))
            }
            reload(index)
            reply(ControlAnswer(isDone: true, message: "\(name) was told to reload"))
        case .status, .shutdown: break
        }
        noteChanges()
    }

    /// A service that is not ready yet may not have its handler, and SIGHUP would end it.
    private func reload(_ only: Int?) {
        for (index, machine) in fleet.machines.enumerated() where machine.isReady && (only ?? index) == index {
            children[index]?.signal(SIGHUP)
        }
    }

    /// - Parameter insistent: a second wish of this kind (Ctrl-C pressed again) means at once.
    private func stopAll(because reason: String, insistent: Bool) {
        let now = SuspendingClock.now
        if stopReason != nil {
            if insistent { fleet.shutDown(by: now) }
            return
        }
        stopReason = reason
        fleet.shutDown(by: now.advanced(by: configuration.shutdownTimeout * 9 / 10))
        notifier.stopping()
        configuration.onEvent(.stopping(reason: reason))
    }

    // MARK: After every turn

    private func settle() {
        noteChanges()
        if !hasBeenReady, stopReason == nil, fleet.isReady {
            hasBeenReady = true
            notifier.ready()
            configuration.onEvent(.ready)
        }
        if stopReason == nil, let failed = fleet.machines.first(where: { $0.spec.isEssential && $0.state == .failed }) {
            essentialFailed = true
            stopAll(because: "\(failed.spec.name), without which nothing works, has failed: \(failed.why)", insistent: false)
        }
        answerWaiters()
        handle.publish(status())
        let summary = fleet.machines.map { "\($0.spec.name) \($0.visibleState.rawValue)" }.joined(separator: ", ")
        if summary != lastNotifiedStatus {
            lastNotifiedStatus = summary
            notifier.status(summary)
        }
    }

    private func answerWaiters() {
        guard !waiters.isEmpty else { return }
        waiters = waiters.filter { waiter in
            guard let answer = outcome(of: waiter) else { return true }
            waiter.reply(answer)
            return false
        }
    }

    /// What a waiter is told, or nil as long as it is not decided.
    private func outcome(of waiter: Waiter) -> ControlAnswer? {
        guard let index = waiter.service else {
            return fleet.isShutDown ? ControlAnswer(isDone: true, message: "everything is stopped") : nil
        }
        let machine = fleet.machines[index]
        let isDown = machine.state == .stopped || machine.state == .failed
        func answer(_ isDone: Bool, _ text: String) -> ControlAnswer {
            ControlAnswer(isDone: isDone, message: "\(machine.spec.name) \(text)")
        }
        switch waiter.goal {
        case .stopped:
            if isDown { return answer(true, "is down") }
            if case .stopping = machine.state { return nil }
            return answer(false, "was started again meanwhile")
        case .running, .allStopped:
            if machine.isReady { return answer(true, "is running") }
            if isDown { return answer(false, "is \(machine.visibleState.rawValue): \(machine.why)") }
            if case .restarting = machine.state { return answer(false, "failed: \(machine.why)") }
            if stopReason != nil { return answer(false, "was not started: the supervisor is stopping") }
            let missing = machine.state == .waiting ? fleet.missing(for: index) : []
            return missing.isEmpty ? nil : answer(false, "needs \(missing.joined(separator: ", ")), which is down")
        }
    }

    // MARK: The end

    /// A second beyond the time in which everything should be down: a process in an uninterruptible wait is left to the kernel,
    /// which kills it when we end.
    private var abandonAt: Instant? { fleet.shutdownDeadline?.advanced(by: .seconds(1)) }

    private var isAbandoned: Bool { abandonAt.map { SuspendingClock.now >= $0 } ?? false }

    private func finish() {
        for machine in fleet.machines where machine.isAlive {
            configuration.onEvent(.trouble("\(machine.spec.name) could not be killed and is left to the kernel"))
        }
        killOrphans()
        for submission in handle.closeMailbox() {
            submission.reply(ControlAnswer(isDone: false, message: "the supervisor has ended"))
        }
        for waiter in waiters { waiter.reply(ControlAnswer(isDone: false, message: "the supervisor has ended")) }
        waiters = []
        handle.publish(status())
    }

    /// What services left behind, outside their process groups: it became our child, and nobody is left to end it later.
    private func killOrphans() {
        // Killing one brings its own children up to us, hence the rounds; bounded by time.
        let end = SuspendingClock.now.advanced(by: .milliseconds(500))
        while SuspendingClock.now < end {
            reap()
            let orphans = Self.childrenOfThisProcess()
            guard !orphans.isEmpty else { return }
            for pid in orphans { kill(pid, SIGKILL) }
            var watched = pollfd(fd: signals, events: Int16(POLLIN), revents: 0)
            _ = poll(&watched, 1, 50)
            while clinux_next_signal(signals) != 0 {}
        }
    }

    /// From /proc; a child that has not been waited for cannot have lost its number to another process.
    private static func childrenOfThisProcess() -> [pid_t] {
        // Children hang on the thread that made or adopted them; only this thread spawns, and orphans go to the first one.
        [getpid(), clinux_thread_id()].reduce(into: Set<pid_t>()) { found, thread in
            guard let file = fopen("/proc/self/task/\(thread)/children", "re") else { return }
            defer { fclose(file) }
            var pid: pid_t = 0
            while withUnsafeMutablePointer(to: &pid, { pointer in withVaList([pointer]) { vfscanf(file, "%d", $0) } }) == 1 {
                found.insert(pid)
            }
        }.sorted()
    }

    // MARK: Telling

    private func status() -> SupervisorStatus {
        SupervisorStatus(
            pid: getpid(), state: stopReason != nil ? .stopping : hasBeenReady ? .ready : .starting, since: began,
            orphansReaped: orphansReaped, services: fleet.machines.indices.map(serviceStatus))
    }

    private func serviceStatus(_ index: Int) -> ServiceStatus {
        let machine = fleet.machines[index]
        var why = machine.why
        if machine.state == .waiting {
            let missing = machine.spec.after.filter { name in fleet.index(of: name).map { !fleet.machines[$0].isReady } ?? true }
            if !missing.isEmpty { why = "waits for \(missing.joined(separator: ", "))" }
        }
        return ServiceStatus(
            name: machine.spec.name, state: machine.visibleState, pid: children[index]?.main, since: lastSeen[index].since,
            restarts: machine.restarts, isReloading: machine.isReloading, statusText: machine.statusText, why: why,
            ignoredNotifications: ignored[index])
    }

    private func report(_ result: Int32, _ name: String) {
        if result != 0 { configuration.onEvent(.trouble("\(name): \(errorText(-result))")) }
    }

    private static func unixTime() -> Int64 { Int64(time(nil)) }
}
