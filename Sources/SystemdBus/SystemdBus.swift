// systemd as other programs command it: org.freedesktop.systemd1 over sd-bus(3).
import CSystemd
import Glibc

/// A unit as systemd sees it (org.freedesktop.systemd1(5)). Times are seconds since 1970; 0 for never.
public struct UnitState: Equatable, Sendable {
    /// `loaded`, `not-found`, `masked`, …
    public var load = ""
    /// `active`, `reloading`, `inactive`, `failed`, `activating`, `deactivating`.
    public var active = ""
    /// `running`, `dead`, `auto-restart`, …
    public var sub = ""
    /// When `active` or `sub` changed last.
    public var since: Int64 = 0
    /// Whether the conditions of its last start held; true before the first one.
    public var conditionHeld = true
    /// Of a service: its main process, when there is one.
    public var pid: Int32?
    /// Of a service: its last STATUS.
    public var status = ""
    /// Of a service: how often it was started again by itself.
    public var restarts = 0
    /// Of a service: why it is not running: `success`, `exit-code`, `signal`, `watchdog`, `start-limit-hit`, …
    public var result = ""
    /// Of a service: how its last main process ended: `CLD_EXITED`, `CLD_KILLED`, … of waitid(2), and its code or signal.
    public var end: (how: Int32, status: Int32) = (0, 0)

    public init() {}

    public static func == (a: UnitState, b: UnitState) -> Bool {
        a.load == b.load && a.active == b.active && a.sub == b.sub && a.since == b.since && a.conditionHeld == b.conditionHeld
            && a.pid == b.pid && a.status == b.status && a.restarts == b.restarts && a.result == b.result && a.end == b.end
    }
}

/// A connection to the service manager of this host. Calls block; it belongs to one thread.
public final class SystemdBus {
    /// What can be done to a unit.
    public enum Verb: String, Sendable {
        case start, stop, restart, reload

        var method: String {
            switch self {
            case .start: "StartUnit"
            case .stop: "StopUnit"
            case .restart: "RestartUnit"
            case .reload: "ReloadUnit"
            }
        }
    }

    private static let destination = "org.freedesktop.systemd1"
    private static let unitInterface = "org.freedesktop.systemd1.Unit"
    private static let serviceInterface = "org.freedesktop.systemd1.Service"
    private static let microsecondsPerCall: UInt64 = 25_000_000
    private static let pollMicroseconds: UInt32 = 20_000

    private let bus: OpaquePointer

    /// Whether systemd is what runs this host (sd_booted(3)).
    public static var isHere: Bool { sd_booted() > 0 }

    /// Connects: root to the manager itself, others over the system's bus.
    /// - Throws: `.unreachable`.
    public init() throws(SystemdBusError) {
        var opened: OpaquePointer?
        var code: Int32
        if geteuid() == 0 {
            // Works without dbus-daemon.
            code = sd_bus_new(&opened)
            if code >= 0 { code = sd_bus_set_address(opened, "unix:path=/run/systemd/private") }
            if code >= 0 { code = sd_bus_start(opened) }
        } else {
            code = sd_bus_open_system(&opened)
        }
        guard code >= 0, let opened else {
            if opened != nil { sd_bus_unref(opened) }
            throw SystemdBusError(.unreachable, "systemd cannot be reached over the bus: \(String(cString: strerror(-code)))")
        }
        sd_bus_set_method_call_timeout(opened, Self.microsecondsPerCall)
        bus = opened
    }

    deinit {
        sd_bus_flush(bus)
        sd_bus_close(bus)
        sd_bus_unref(bus)
    }

    // MARK: Looking

    /// A unit as it stands; one that is not there has `load` `not-found`.
    public func state(of unit: String) throws(SystemdBusError) -> UnitState {
        let path = try self.path(of: unit)
        var state = UnitState()
        state.load = try text("LoadState", path, Self.unitInterface)
        guard state.load == "loaded" else { return state }
        state.active = try text("ActiveState", path, Self.unitInterface)
        state.sub = try text("SubState", path, Self.unitInterface)
        state.since = Int64(clamping: try number("StateChangeTimestamp", "t", path, Self.unitInterface, UInt64(0)) / 1_000_000)
        // 0 as long as none was looked at.
        if try number("ConditionTimestamp", "t", path, Self.unitInterface, UInt64(0)) > 0 {
            state.conditionHeld = try number("ConditionResult", "b", path, Self.unitInterface, Int32(0)) != 0
        }
        guard unit.hasSuffix(".service") else { return state }
        let pid = try number("MainPID", "u", path, Self.serviceInterface, UInt32(0))
        state.pid = pid == 0 ? nil : Int32(clamping: pid)
        state.status = try text("StatusText", path, Self.serviceInterface)
        state.restarts = Int(try number("NRestarts", "u", path, Self.serviceInterface, UInt32(0)))
        state.result = try text("Result", path, Self.serviceInterface)
        state.end = (
            try number("ExecMainCode", "i", path, Self.serviceInterface, Int32(0)),
            try number("ExecMainStatus", "i", path, Self.serviceInterface, Int32(0))
        )
        return state
    }

    // MARK: Doing

    /// Has a job done, and waits for its end.
    /// - Parameter seconds: how long the job may take.
    /// - Throws: `.notPermitted`, `.noSuchUnit`, `.failed` with systemd's reason, `.timedOut`.
    public func perform(_ verb: Verb, on unit: String, within seconds: Int = 120) throws(SystemdBusError) {
        let reply = try call("/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager", verb.method, [unit, "replace"])
        var job: UnsafePointer<CChar>?
        let read = withUnsafeMutablePointer(to: &job) { sd_bus_message_read_basic(reply, Self.character("o"), $0) }
        let path = read > 0 ? job.map { String(cString: $0) } : nil
        sd_bus_message_unref(reply)
        guard let path else { throw SystemdBusError(.failed, "systemd names no job for \(unit)") }
        let end = SuspendingClock.now.advanced(by: .seconds(seconds))
        // A job that is over is no object any more.
        while (try? text("State", path, "org.freedesktop.systemd1.Job")) != nil {
            guard SuspendingClock.now < end else {
                throw SystemdBusError(.timedOut, "\(unit) has not done its \(verb.rawValue) within \(seconds) s")
            }
            usleep(Self.pollMicroseconds)
        }
        try check(verb, unit)
    }

    /// What came of a job that is over.
    private func check(_ verb: Verb, _ unit: String) throws(SystemdBusError) {
        let state = try self.state(of: unit)
        switch verb {
        case .stop: if state.active == "inactive" || state.active == "failed" { return }
        case .start, .restart, .reload: if state.active == "active" || state.active == "reloading" { return }
        }
        if !state.conditionHeld {
            throw SystemdBusError(.failed, "\(unit) was not started, since a condition of its unit does not hold")
        }
        let reason = state.result.isEmpty || state.result == "success" ? state.active : "\(state.active) (\(state.result))"
        throw SystemdBusError(.failed, "\(unit) is \(reason); see: journalctl -u \(unit)")
    }

    // MARK: Calls

    /// LoadUnit rather than GetUnit: also units that nobody has asked for yet.
    private func path(of unit: String) throws(SystemdBusError) -> String {
        let reply = try call("/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager", "LoadUnit", [unit])
        defer { sd_bus_message_unref(reply) }
        var path: UnsafePointer<CChar>?
        let read = withUnsafeMutablePointer(to: &path) { sd_bus_message_read_basic(reply, Self.character("o"), $0) }
        guard read > 0, let path else { throw SystemdBusError(.noSuchUnit, "systemd does not know \(unit)") }
        return String(cString: path)
    }

    private func text(_ property: String, _ path: String, _ interface: String) throws(SystemdBusError) -> String {
        var error = sd_bus_error()
        var value: UnsafeMutablePointer<CChar>?
        defer { sd_bus_error_free(&error) }
        let code = sd_bus_get_property_string(bus, Self.destination, path, interface, property, &error, &value)
        guard code >= 0, let value else { throw Self.failure(code, error, property) }
        defer { free(value) }
        return String(cString: value)
    }

    private func number<N>(_ property: String, _ type: String, _ path: String, _ interface: String, _ zero: N) throws(SystemdBusError) -> N
    {
        var error = sd_bus_error()
        var value = zero
        defer { sd_bus_error_free(&error) }
        let code = withUnsafeMutablePointer(to: &value) {
            sd_bus_get_property_trivial(bus, Self.destination, path, interface, property, &error, Self.character(type), $0)
        }
        guard code >= 0 else { throw Self.failure(code, error, property) }
        return value
    }

    /// - Returns: the reply, to be given back with `sd_bus_message_unref`.
    private func call(_ path: String, _ interface: String, _ method: String, _ arguments: [String]) throws(SystemdBusError) -> OpaquePointer
    {
        var message: OpaquePointer?
        var code = sd_bus_message_new_method_call(bus, &message, Self.destination, path, interface, method)
        defer { sd_bus_message_unref(message) }
        for argument in arguments where code >= 0 {
            code = argument.withCString { sd_bus_message_append_basic(message, Self.character("s"), $0) }
        }
        guard code >= 0 else { throw SystemdBusError(.failed, "\(method): \(String(cString: strerror(-code)))") }
        var error = sd_bus_error()
        defer { sd_bus_error_free(&error) }
        var reply: OpaquePointer?
        code = sd_bus_call(bus, message, 0, &error, &reply)
        guard code >= 0, let reply else { throw Self.failure(code, error, arguments.first ?? method) }
        return reply
    }

    private static func failure(_ code: Int32, _ error: sd_bus_error, _ what: String) -> SystemdBusError {
        let name = error.name.map { String(cString: $0) } ?? ""
        let text = error.message.map { String(cString: $0) } ?? String(cString: strerror(-code))
        switch name {
        case "org.freedesktop.DBus.Error.AccessDenied", "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired",
            "org.freedesktop.PolicyKit1.Error.NotAuthorized":
            return SystemdBusError(.notPermitted, text)
        case "org.freedesktop.systemd1.NoSuchUnit": return SystemdBusError(.noSuchUnit, text)
        case "org.freedesktop.DBus.Error.NoReply", "org.freedesktop.DBus.Error.Timeout": return SystemdBusError(.timedOut, text)
        default:
            if code == -EACCES || code == -EPERM { return SystemdBusError(.notPermitted, text) }
            return SystemdBusError(.failed, "\(what): \(text)")
        }
    }

    /// A type of D-Bus.
    private static func character(_ type: String) -> CChar { CChar(bitPattern: type.utf8.first ?? 0) }
}
