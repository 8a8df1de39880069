// The test program as a supervisor: reads a plan, runs it, prints one line for each event.
import Glibc
import Supervised
import Supervision

/// Arguments: the run directory, then for each service `service=NAME` followed by what differs from the defaults.
func superviseAsTold(_ arguments: [String]) {
    var specs: [ServiceSpec] = []
    var shutdown = Duration.seconds(5)
    for argument in arguments.dropFirst() {
        let parts = argument.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        let value = parts.count > 1 ? parts[1] : ""
        let milliseconds = Duration.milliseconds(Int(value) ?? 0)
        if parts[0] == "service" {
            specs.append(
                ServiceSpec(
                    name: value, executable: CommandLine.arguments[0],
                    restart: RestartPolicy(firstDelay: .milliseconds(20), longestDelay: .milliseconds(200), limit: 3)))
            continue
        }
        if parts[0] == "shutdown" {
            shutdown = milliseconds
            continue
        }
        guard let last = specs.indices.last else { exit(96) }
        switch parts[0] {
        case "act": specs[last].arguments.append(value)
        case "after": specs[last].after.append(value)
        case "executable": specs[last].executable = value
        case "env":
            let pair = value.split(separator: "=", maxSplits: 1).map(String.init)
            specs[last].environment[pair[0]] = pair[1]
        case "user": specs[last].runAs = (try? SupervisionLink(parsing: "1:\(value)"))?.identity
        case "watchdog": specs[last].watchdogInterval = milliseconds
        case "start-timeout": specs[last].startTimeout = milliseconds
        case "stop-timeout": specs[last].stopTimeout = milliseconds
        case "limit": specs[last].restart.limit = Int(value) ?? 0
        case "final": specs[last].restart.finalExitCodes.insert(Int32(value) ?? 0)
        case "essential": specs[last].isEssential = true
        case "folder":
            specs[last].hasFolder = true
            specs[last].folderGroup = UInt32(value)
        case "may-be-missing": specs[last].mayBeMissing = true
        case "manual": specs[last].startsAtOnce = false
        default: exit(95)
        }
    }
    FirstActs.perform()
    // Not close-on-exec, as a careless library would leave it: children must not have it.
    let careless = open("/dev/null", O_RDONLY)
    defer { close(careless) }
    do {
        let supervisor = try Supervisor(
            specs, SupervisorConfiguration(runDirectory: arguments[0], shutdownTimeout: shutdown) { print($0) })
        let handle = supervisor.handle
        if specs.contains(where: { $0.name == "told-by-thread" }) { tellFromAnotherThread(handle) }
        let ending = supervisor.run()
        print("ended: \(ending.reason)")
        handle.submit(.status) { print("afterwards: \($0.message)") }
        if ending.isFailure { exit(2) }
    } catch {
        print("refused: \(error.code.rawValue): \(error.message)")
        exit(1)
    }
}

/// Asks for the state and then for the end, as another thread of ca-ctl may.
private func tellFromAnotherThread(_ handle: SupervisorHandle) {
    var thread = pthread_t()
    pthread_create(
        &thread, nil,
        { argument in
            guard let argument else { return nil }
            let handle = Unmanaged<SupervisorHandle>.fromOpaque(argument).takeRetainedValue()
            while handle.status().state != .ready { usleep(1000) }
            handle.submit(.stop("told-by-thread")) { answer in
                print("thread: \(answer.message)")
                handle.requestShutdown(reason: "the thread has seen enough")
            }
            return nil
        }, Unmanaged.passRetained(handle).toOpaque())
    pthread_detach(thread)
}
