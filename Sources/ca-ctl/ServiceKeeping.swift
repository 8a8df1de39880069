// Who keeps the services: the supervisor of `ca-ctl up`, or systemd. The operator's commands are the same.

import Console
import Glibc
import Settings
import Supervision
import SystemdBus

/// What commands ask of whoever keeps the services; it belongs to one thread.
protocol ServiceKeeping: AnyObject {
    func status(timeout: Duration) throws(SupervisionError) -> SupervisorStatus
    /// Has something done to a service, and waits for it.
    @discardableResult
    func perform(_ command: ControlCommand) throws(SupervisionError) -> String
}

extension ServiceKeeping {
    func status() throws(SupervisionError) -> SupervisorStatus { try status(timeout: .seconds(10)) }
}

/// The supervisor of `ca-ctl up`.
final class SupervisorKeeper: ServiceKeeping {
    private let client: SupervisorClient

    init(runDirectory: String) throws(SupervisionError) { client = try SupervisorClient(SupervisorClient.path(runDirectory: runDirectory)) }

    func status(timeout: Duration) throws(SupervisionError) -> SupervisorStatus { try client.status(timeout: timeout) }

    func perform(_ command: ControlCommand) throws(SupervisionError) -> String { try client.perform(command) }
}

/// The units of deploy/systemd.
package final class SystemdKeeper: ServiceKeeping {
    package static let target = "upki-ca.target"

    /// By the services' names, in start order.
    package static let units: [(service: String, unit: String)] = [
        (ServicePlan.core, "ca-core.service"), (ServicePlan.front, "ca-front.service"), (ServicePlan.registrar, "ca-registrar.service"),
        (ServicePlan.bridge, "ca-ocsp-bridge.service"),
    ]

    private let bus: SystemdBus

    private init(_ bus: SystemdBus) { self.bus = bus }

    /// nil where no units run the CA of that run directory.
    static func find(runDirectory: String) -> SystemdKeeper? {
        guard runDirectory == Locations.systemRunDirectory, SystemdBus.isHere, let bus = try? SystemdBus(),
            (try? bus.state(of: "ca-core.service"))?.load == "loaded"
        else { return nil }
        return SystemdKeeper(bus)
    }

    package func status(timeout: Duration) throws(SupervisionError) -> SupervisorStatus {
        do throws(SystemdBusError) {
            let target = try bus.state(of: Self.target)
            var services: [ServiceStatus] = []
            for (service, unit) in Self.units {
                let state = try bus.state(of: unit)
                if state.load == "loaded" { services.append(Self.status(of: service, unit, state)) }
            }
            let state: SupervisorStatus.State =
                switch target.active {
                case "deactivating": .stopping
                default: services.contains { $0.state == .starting || $0.state == .restarting } ? .starting : .ready
                }
            return SupervisorStatus(
                pid: 1, state: state, since: target.since, orphansReaped: 0, services: services, isServiceManager: true)
        } catch {
            throw Self.translated(error)
        }
    }

    @discardableResult
    package func perform(_ command: ControlCommand) throws(SupervisionError) -> String {
        let (verb, service): (SystemdBus.Verb, String)
        switch command {
        case .start(let name): (verb, service) = (.start, name)
        case .stop(let name): (verb, service) = (.stop, name)
        case .restart(let name): (verb, service) = (.restart, name)
        case .reload(let name?): (verb, service) = (.reload, name)
        case .status, .reload(nil), .shutdown: throw SupervisionError(.refused, "systemd keeps the services: systemctl does this")
        }
        guard let unit = Self.units.first(where: { $0.service == service })?.unit else {
            throw SupervisionError(.refused, "there is no service '\(service)'")
        }
        do throws(SystemdBusError) {
            try bus.perform(verb, on: unit)
            let state = try bus.state(of: unit)
            return "\(unit) is \(state.active)" + (state.pid.map { ", pid \($0)" } ?? "")
        } catch {
            throw Self.translated(error)
        }
    }

    private static func translated(_ error: SystemdBusError) -> SupervisionError {
        switch error.code {
        case .notPermitted:
            SupervisionError(
                .refused,
                "systemd does not let this user do that (\(error.message)): run it as root, or join the operators with: adduser USER upki-admin"
            )
        case .unreachable: SupervisionError(.unreachable, error.message)
        case .timedOut: SupervisionError(.timedOut, error.message)
        case .noSuchUnit, .failed: SupervisionError(.refused, error.message)
        }
    }

    /// A unit in the words of our own supervisor.
    package static func status(of service: String, _ unit: String, _ state: UnitState) -> ServiceStatus {
        let kind: ServiceState =
            switch state.active {
            case "active", "reloading": .running
            case "activating": state.sub.hasPrefix("auto-restart") ? .restarting : .starting
            case "deactivating": .stopping
            case "failed": .failed
            default: .stopped
            }
        return ServiceStatus(
            name: service, state: kind, pid: state.pid, since: state.since, restarts: state.restarts,
            isReloading: state.active == "reloading", statusText: state.status, why: why(kind, unit, state), ignoredNotifications: 0)
    }

    private static func why(_ kind: ServiceState, _ unit: String, _ state: UnitState) -> String {
        switch kind {
        case .running, .starting, .waiting, .stopping: return ""
        case .stopped:
            if !state.conditionHeld { return unit == "ca-registrar.service" ? "registration is closed" : "no CA is there" }
            return state.status
        case .restarting, .failed:
            var words = state.result
            // CLD_EXITED, CLD_KILLED and CLD_DUMPED of waitid(2).
            switch state.end.how {
            case 1: words += ", exit code \(state.end.status)"
            case 2, 3: words += ", signal \(state.end.status)"
            default: break
            }
            return "\(words); see: journalctl -u \(unit)"
        }
    }
}
