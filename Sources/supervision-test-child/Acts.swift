// What the test program can do as a service; each act is one argument, `name` or `name=value`.
import CLinux
import Glibc
import Supervised

private let notifier = ServiceNotifier()
// Set and read on the main thread alone.
nonisolated(unsafe) private var logPath = "/dev/null"
// Set and read on the main thread alone.
nonisolated(unsafe) private var signals: ShutdownSignals?

func perform(_ act: String) {
    let parts = act.split(separator: "=", maxSplits: 1).map(String.init)
    let value = parts.count > 1 ? parts[1] : ""
    switch parts[0] {
    case "log": logPath = value
    case "say": append(value)
    case "sleep": usleep(UInt32(value).map { $0 * 1000 } ?? 0)
    case "catch": signals = try? ShutdownSignals()
    case "ready": notifier.ready(status: value.isEmpty ? nil : value)
    case "status": notifier.status(value)
    case "stopping": notifier.stopping()
    case "reloading": notifier.reloading()
    case "send": send(value)
    case "socket": makeSocket(value)
    case "send-to":
        let parts = value.split(separator: ",", maxSplits: 1).map(String.init)
        send(parts[1], to: parts[0])
    case "feed": feedForEver()
    case "flood": while true { notifier.status("the flood rises") }
    case "run": run(saying: value)
    case "pause": while true { pause() }
    case "ignore-term":
        var set = sigset_t()
        sigemptyset(&set)
        sigaddset(&set, SIGTERM)
        pthread_sigmask(SIG_BLOCK, &set, nil)
    case "exit": exit(Int32(value) ?? 99)
    case "abort": abort()
    case "fail-first": failFirst(value)
    case "report": report(to: value)
    case "child": spawnSelf(value, ownGroup: false)
    case "stray": spawnSelf(value, ownGroup: true)
    case "main-is-child": handOver(value)
    default:
        append("unknown act \(act)")
        exit(98)
    }
}

/// Leaves a socket, as a server makes one.
private func makeSocket(_ path: String) {
    let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
    let result = withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
    }
    if result != 0 { exit(94) }
}

/// Waits for SIGTERM, saying so; a SIGHUP is a reload.
private func run(saying name: String) {
    guard let signals = signals ?? (try? ShutdownSignals()) else { exit(97) }
    while signals.wait() == .reload {
        notifier.reloading()
        append("\(name) reload")
        notifier.ready(status: "reloaded")
    }
    append("\(name) \(signals.stopReason ?? "?")")
}

private func append(_ line: String) {
    let descriptor = open(logPath, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
    let bytes = Array("\(line)\n".utf8)
    _ = write(descriptor, bytes, bytes.count)
    close(descriptor)
}

/// `a;b` becomes two lines of one notification.
private func send(_ text: String, to other: String? = nil) {
    guard let path = other ?? getenv("NOTIFY_SOCKET").map({ String(cString: $0) }) else { return }
    let bytes = text.utf8.map { $0 == UInt8(ascii: ";") ? UInt8(ascii: "\n") : $0 }
    let descriptor = clinux_connect_unix(Int32(SOCK_DGRAM.rawValue), path, 0)
    _ = Glibc.send(descriptor, bytes, bytes.count, 0)
    close(descriptor)
}

private func feedForEver() {
    let interval = notifier.watchdogInterval ?? .milliseconds(100)
    let pause = UInt32((interval / 3).components.attoseconds / 1_000_000_000_000)
    var thread = pthread_t()
    let argument = UnsafeMutableRawPointer(bitPattern: UInt(pause))
    pthread_create(
        &thread, nil,
        { argument in
            while true {
                notifier.watchdog()
                usleep(UInt32(UInt(bitPattern: argument)))
            }
        }, argument)
}

/// `FILE,N`: the first N runs that share this file end with 7.
private func failFirst(_ value: String) {
    let parts = value.split(separator: ",").map(String.init)
    let descriptor = open(parts[0], O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
    let runs = lseek(descriptor, 0, SEEK_END)
    _ = write(descriptor, ".", 1)
    close(descriptor)
    if runs < Int(parts[1]) ?? 0 { exit(7) }
}

/// What this process was given, for the test to compare.
private func report(to path: String) {
    var lines: [String] = []
    var entry = environ
    while let variable = entry.pointee {
        lines.append("env \(String(cString: variable))")
        entry = entry.advanced(by: 1)
    }
    if let directory = opendir("/proc/self/fd") {
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if let number = Int32(name), number != dirfd(directory) { lines.append("fd \(number)") }
        }
        closedir(directory)
    }
    lines.append("group \(getpgrp() == getpid() ? "own" : "foreign")")
    var mask = umask(0o077)
    mask = umask(mask)
    lines.append("umask \(String(mask, radix: 8))")
    var limit = rlimit()
    getrlimit(__rlimit_resource_t(RLIMIT_CORE.rawValue), &limit)
    lines.append("core \(limit.rlim_max)")
    if let file = fopen("/proc/self/status", "re") {
        var line = [CChar](repeating: 0, count: 512)
        while fgets(&line, Int32(line.count), file) != nil {
            let text = String(decoding: line.prefix { $0 != 0 && $0 != 10 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            lines.append("proc \(text.split(whereSeparator: { $0 == "\t" || $0 == " " }).joined(separator: " "))")
        }
        fclose(file)
    }
    var owner = stat()
    stat("/proc/self/environ", &owner)
    lines.append("environ-owner \(owner.st_uid)")
    let bytes = Array((lines.joined(separator: "\n") + "\n").utf8)
    let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
    _ = write(descriptor, bytes, bytes.count)
    close(descriptor)
}

/// Starts this program again with the acts in `value`, parted by commas, and says its pid.
@discardableResult
private func spawnSelf(_ value: String, ownGroup: Bool) -> pid_t {
    let acts = ["unsupervised"] + value.split(separator: ",").map { String($0).replacing(":", with: "=") }
    let argv = ([CommandLine.arguments[0]] + acts).map { strdup($0) } + [nil]
    defer {
        for text in argv { free(text) }
    }
    var pid: pid_t = 0
    if ownGroup {
        _ = clinux_spawn(CommandLine.arguments[0], argv, environ, &pid)
    } else {
        posix_spawn(&pid, CommandLine.arguments[0], nil, nil, argv, environ)
    }
    append("child \(pid)")
    return pid
}

/// Starts a child, declares it to be the main process and ends.
private func handOver(_ value: String) {
    let pid = spawnSelf(value, ownGroup: false)
    send("MAINPID=\(pid);READY=1")
    exit(0)
}
