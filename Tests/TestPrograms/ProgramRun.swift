// Running programs: input by pipe or file, output to files, waited for by their pidfd, ended by their own id.
private import CLinux
public import Foundation
private import Glibc

public struct TestFailure: Error, CustomStringConvertible {
    public let description: String

    public init(_ description: String) { self.description = description }
}

/// What a program that has ended said.
public struct Finished {
    /// Its exit code, or the negative number of the signal that ended it.
    public let code: Int32
    public let outputBytes: [UInt8]
    public let errors: String

    public var output: String { String(decoding: self.outputBytes, as: UTF8.self) }

    /// Its output, where it succeeded.
    public func output(of command: [String]) throws -> String {
        guard self.code == 0 else {
            throw TestFailure("\(command.joined(separator: " ")) ended with \(self.code):\n\(self.output)\(self.errors)")
        }
        return self.output
    }
}

/// A process of this test.
///
/// Foundation's Process waits on run loops, without a limit, and other processes that start meanwhile can inherit the pipe whose end it waits for;
/// here a process is a pidfd, which any thread can wait for, its output goes to files, and no wait is without its limit.
public final class ProgramRun {
    public static let patience = Duration.seconds(60)

    public let pid: Int32
    public let command: [String]
    private let pidfd: Int32
    private let outputPath: String
    private let errorPath: String
    private var input: Int32
    private var ended: Finished?

    /// Where the programs are that were built beside the test's executable.
    public static let builtPrograms: String = {
        let own = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? CommandLine.arguments[0]
        return (own as NSString).deletingLastPathComponent
    }()

    /// What a tool needs to be found and to speak English.
    public static let plainEnvironment = [
        "PATH": ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin", "LC_ALL": "C.UTF-8",
    ]

    /// - Parameters:
    ///   - command: a path, or a name that is looked for in PATH, and its arguments.
    ///   - input: given to standard input, which is closed after it unless `keepInput`.
    ///   - environment: all of it.
    ///   - directory: where its output goes.
    ///   - folder: where it works; nil is where this process does.
    ///   - descriptor: its standard output, in place of a file.
    public init(
        _ command: [String], input text: String = "", keepInput: Bool = false, environment: [String: String] = plainEnvironment,
        directory: String = FileManager.default.temporaryDirectory.path, in folder: String? = nil, output descriptor: Int32? = nil
    ) throws {
        // env(1) changes the folder and becomes the program.
        self.command = (folder.map { ["/usr/bin/env", "-C", $0] } ?? []) + command
        let place = "\(directory)/output-\(UUID().uuidString)"
        self.outputPath = place + ".out"
        self.errorPath = place + ".err"
        var ends: [Int32] = [-1, -1]
        // A socket and no pipe, since it is close-on-exec from its first moment: other tests start processes at the same time.
        guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0, &ends) == 0 else {
            throw TestFailure("no socket for standard input: \(errno)")
        }
        defer { close(ends[0]) }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, ends[0], 0)
        if let descriptor {
            posix_spawn_file_actions_adddup2(&actions, descriptor, 1)
        } else {
            posix_spawn_file_actions_addopen(&actions, 1, self.outputPath, O_WRONLY | O_CREAT | O_APPEND, 0o600)
        }
        posix_spawn_file_actions_addopen(&actions, 2, self.errorPath, O_WRONLY | O_CREAT | O_APPEND, 0o600)
        // What other tests have open is none of this process's business; a descriptor that is not open is no error here.
        for other in Int32(3)..<1_024 { posix_spawn_file_actions_addclose(&actions, other) }
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        sigemptyset(&none)
        var all = sigset_t()
        sigfillset(&all)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setsigdefault(&attributes, &all)
        posix_spawnattr_setpgroup(&attributes, 0)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP))
        let arguments = self.command.map { strdup($0) } + [nil]
        let variables = environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer { for text in arguments + variables { free(text) } }
        var child: pid_t = 0
        let failure = posix_spawnp(&child, self.command[0], &actions, &attributes, arguments, variables)
        guard failure == 0 else {
            close(ends[1])
            throw TestFailure("\(command[0]) cannot be started: \(String(cString: strerror(failure)))")
        }
        self.pid = child
        self.input = ends[1]
        self.pidfd = clinux_pidfd_open(child)
        if !text.isEmpty { try self.write(text) }
        if !keepInput { self.closeInput() }
    }

    /// Kills it where it has not ended; it lives until this is called, or until nobody holds it.
    public func end() {
        guard self.ended == nil else { return }
        self.signal(SIGKILL)
        // Killed, it ends: what the kernel still has to do for it is all that is waited for.
        _ = try? self.finish()
    }

    deinit {
        self.closeInput()
        self.end()
        close(self.pidfd)
        unlink(self.outputPath)
        unlink(self.errorPath)
    }

    public func write(_ text: String) throws {
        var bytes = Array(text.utf8)[...]
        while !bytes.isEmpty {
            let count = bytes.withUnsafeBytes { send(self.input, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            guard count > 0 else { throw TestFailure("\(self.command[0]) does not read its input: \(errno)") }
            bytes = bytes.dropFirst(count)
        }
    }

    public func closeInput() {
        if self.input >= 0 { close(self.input) }
        self.input = -1
    }

    public func signal(_ number: Int32) { _ = clinux_pidfd_signal(self.pidfd, number) }

    public var isRunning: Bool {
        var watched = pollfd(fd: self.pidfd, events: Int16(POLLIN), revents: 0)
        return self.ended == nil && poll(&watched, 1, 0) == 0
    }

    public var output: String { self.ended?.output ?? Self.text(self.outputPath) }
    public var errors: String { self.ended?.errors ?? Self.text(self.errorPath) }

    /// Waits for its end.
    @discardableResult
    public func finish(within time: Duration = patience) throws -> Finished {
        if let ended = self.ended { return ended }
        var watched = pollfd(fd: self.pidfd, events: Int16(POLLIN), revents: 0)
        guard poll(&watched, 1, Int32(time / .milliseconds(1))) > 0 else {
            throw TestFailure(
                "\(self.command.joined(separator: " ")) has not ended in \(time):\n\(self.output)\n\(self.errors)")
        }
        var status: Int32 = 0
        waitpid(self.pid, &status, 0)
        let code = status & 0x7f == 0 ? (status >> 8) & 0xff : -(status & 0x7f)
        let output = FileManager.default.contents(atPath: self.outputPath) ?? Data()
        let ended = Finished(code: code, outputBytes: Array(output), errors: Self.text(self.errorPath))
        self.ended = ended
        return ended
    }

    /// Waits until its output or its errors hold this; files give no event, so they are looked at again each 10 ms.
    public func waitFor(_ text: String, within time: Duration = patience) throws {
        let end = ContinuousClock.now + time
        while !self.output.contains(text), !self.errors.contains(text) {
            guard ContinuousClock.now < end, self.isRunning else {
                throw TestFailure("\(self.command[0]) never said '\(text)':\n\(self.output)\n\(self.errors)")
            }
            usleep(10_000)
        }
    }

    /// Runs a program that has to succeed; its output. See `init`.
    @discardableResult
    public static func must(
        _ command: [String], input: String = "", environment: [String: String] = plainEnvironment, in folder: String? = nil
    ) throws -> String {
        try Self.run(command, input: input, environment: environment, in: folder).output(of: command)
    }

    /// Runs a program to its end; see `init`.
    @discardableResult
    public static func run(
        _ command: [String], input: String = "", environment: [String: String] = plainEnvironment, in folder: String? = nil,
        within time: Duration = patience
    ) throws -> Finished {
        try ProgramRun(command, input: input, environment: environment, in: folder).finish(within: time)
    }

    private static func text(_ path: String) -> String {
        String(decoding: FileManager.default.contents(atPath: path) ?? Data(), as: UTF8.self)
    }
}

/// Waits until something is so that gives no event: a process ending elsewhere, a port closing.
public func waitUntil(_ what: String, within time: Duration = .seconds(20), _ condition: () throws -> Bool) throws {
    let end = ContinuousClock.now + time
    while try !condition() {
        guard ContinuousClock.now < end else { throw TestFailure("not within \(time): \(what)") }
        usleep(10_000)
    }
}
