// How a program tells its supervisor, systemd or ca-ctl, how it is: sd_notify(3).
import CSystemd
import Glibc

/// Sends readiness, status and the watchdog's keep-alive to the socket in `NOTIFY_SOCKET`; does nothing without one.
///
/// A value without state: any thread may use its own. The environment must not be changed while threads run.
public struct ServiceNotifier: Sendable {
    /// The time within which `watchdog()` must be called again, or nil when nobody watches. Feed at half of it.
    public let watchdogInterval: Duration?

    /// Reads `WATCHDOG_USEC` and `WATCHDOG_PID`; a watchdog meant for another process is none of ours.
    public init() {
        var microseconds: UInt64 = 0
        let watched = sd_watchdog_enabled(0, &microseconds) > 0 && microseconds <= UInt64(Int64.max)
        watchdogInterval = watched ? .microseconds(Int64(microseconds)) : nil
    }

    /// The program serves from now on (also ends a `reloading`).
    @discardableResult
    public func ready(status: String? = nil) -> Bool {
        send(status.map { "READY=1\nSTATUS=\(oneLine($0))" } ?? "READY=1")
    }

    /// One line for people about what the program does at present.
    @discardableResult
    public func status(_ text: String) -> Bool { send("STATUS=\(oneLine(text))") }

    /// The program has begun to end.
    @discardableResult
    public func stopping() -> Bool { send("STOPPING=1") }

    /// The program reads its configuration again; `ready` ends it.
    @discardableResult
    public func reloading() -> Bool {
        var now = timespec()
        clock_gettime(CLOCK_MONOTONIC, &now)
        // systemd from 253 on wants the time with it (Type=notify-reload).
        return send("RELOADING=1\nMONOTONIC_USEC=\(Int64(now.tv_sec) * 1_000_000 + Int64(now.tv_nsec) / 1000)")
    }

    /// The program is alive; to be sent only when all its threads have moved.
    @discardableResult
    public func watchdog() -> Bool { send("WATCHDOG=1") }

    /// Whether a supervisor listens and took the message.
    private func send(_ message: String) -> Bool { sd_notify(0, message) > 0 }

    /// A line feed would begin a new assignment.
    private func oneLine(_ text: String) -> String {
        String(decoding: text.utf8.map { $0 < 32 || $0 == 127 ? UInt8(ascii: " ") : $0 }, as: UTF8.self)
    }
}
