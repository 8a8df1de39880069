// A running service's processes: spawning, signals to exactly that process, and reaping.
import CLinux
import Glibc
import Supervised

final class ChildProcess {
    /// The process we spawned; also the number of its process group.
    let spawned: pid_t
    private(set) var spawnedDescriptor: Int32
    /// Another main process that the spawned one announced with MAINPID.
    private var handedOver: (pid: pid_t, descriptor: Int32)?
    let notify: NotifySocket
    var budget: NotificationBudget
    private(set) var spawnedIsReaped = false

    var main: pid_t { handedOver?.pid ?? spawned }
    var mainDescriptor: Int32 { handedOver?.descriptor ?? spawnedDescriptor }
    var isHandedOver: Bool { handedOver != nil }

    /// Spawns the service in a process group of its own.
    /// - Throws: `.systemCall`.
    init(_ spec: ServiceSpec, notify: NotifySocket, now: SuspendingClock.Instant) throws(SupervisionError) {
        var environment = spec.environment
        environment["NOTIFY_SOCKET"] = notify.path
        environment[SupervisionLink.variable] = SupervisionLink(supervisor: getpid(), identity: spec.runAs).value
        if let interval = spec.watchdogInterval {
            // WATCHDOG_PID would have to be the child's pid, which does not exist yet; sd_watchdog_enabled(3) takes its absence
            // as "every process that reads this".
            let (seconds, attoseconds) = interval.components
            environment["WATCHDOG_USEC"] = String(seconds * 1_000_000 + attoseconds / 1_000_000_000_000)
        }
        let pid = try Self.spawn(
            spec.executable, [spec.executable] + spec.arguments, environment.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" })
        // Until we wait for it nobody else can have this pid, so the descriptor is of our child.
        let descriptor = clinux_pidfd_open(pid)
        guard descriptor >= 0 else {
            kill(-pid, SIGKILL)
            waitpid(pid, nil, 0)
            throw .systemCall("pidfd_open", descriptor)
        }
        spawned = pid
        spawnedDescriptor = descriptor
        self.notify = notify
        budget = NotificationBudget(now: now)
    }

    deinit {
        if let handedOver { close(handedOver.descriptor) }
        if spawnedDescriptor >= 0 { close(spawnedDescriptor) }
    }

    private static func spawn(_ path: String, _ arguments: [String], _ environment: [String]) throws(SupervisionError) -> pid_t {
        func pointers(_ texts: [String]) -> [UnsafeMutablePointer<CChar>?] { texts.map { strdup($0) } + [nil] }
        let argv = pointers(arguments)
        let envp = pointers(environment)
        defer {
            for text in argv + envp { free(text) }
        }
        var pid: pid_t = 0
        let result = clinux_spawn(path, argv, envp, &pid)
        guard result == 0 else { throw .systemCall(path, result) }
        return pid
    }

    /// Takes another main process, if it is one of this service's own: in the process group that we made for it, and alive.
    /// A process can bring only itself and its descendants into a group, so no stranger can be named.
    func handOver(to pid: pid_t) -> Bool {
        guard pid != main else { return true }
        guard pid > 1, pid != getpid(), getpgid(pid) == spawned else { return false }
        let descriptor = pid == spawned ? -1 : clinux_pidfd_open(pid)
        if pid != spawned {
            // The number may have gone to another process between the two calls.
            guard descriptor >= 0, getpgid(pid) == spawned else {
                if descriptor >= 0 { close(descriptor) }
                return false
            }
        }
        if let handedOver { close(handedOver.descriptor) }
        handedOver = pid == spawned ? nil : (pid, descriptor)
        return true
    }

    /// To the main process.
    func signal(_ number: Int32) {
        _ = clinux_pidfd_signal(mainDescriptor, number)
        if number != SIGKILL { _ = clinux_pidfd_signal(mainDescriptor, SIGCONT) }
    }

    /// SIGKILL to the main process and to everything in its process group.
    func killAll() {
        _ = clinux_pidfd_signal(mainDescriptor, SIGKILL)
        // The group's number is ours as long as its leader is not reaped, or the main process (dead or alive) is in it.
        guard !spawnedIsReaped || getpgid(main) == spawned else { return }
        kill(-spawned, SIGKILL)
    }

    /// How the main process ended, or nil while it runs; its process group is killed and it is reaped.
    func collectMain() -> ProcessEnd? {
        var end = clinux_exit()
        let result = clinux_wait_pidfd(mainDescriptor, 1, &end)
        if result == 0 && end.pid == 0 { return nil }
        // Before reaping, while the dead process still keeps the group's number from being given to another.
        killAll()
        guard result == 0 else {
            reapSpawned()
            return .unknown
        }
        _ = clinux_wait_pidfd(mainDescriptor, 0, &end)
        if handedOver == nil { spawnedIsReaped = true } else { reapSpawned() }
        return end.signal != 0 ? .signalled(end.signal) : .exited(end.code)
    }

    /// The process that we spawned has handed over and ended: no more than a zombie to us.
    func reapSpawned() {
        guard !spawnedIsReaped else { return }
        var end = clinux_exit()
        let result = clinux_wait_pidfd(spawnedDescriptor, 0, &end)
        guard result < 0 || end.pid != 0 else { return }
        spawnedIsReaped = true
        close(spawnedDescriptor)
        spawnedDescriptor = -1
    }
}
