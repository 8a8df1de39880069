// Runs ca-core for what needs a key while the CA may be down: init, export, token, audit-verify. Secrets go by pipe, never by argument or environment.

import Glibc
public import Supervised
public import UPKIProtocol

/// Where the programs of this system are.
public struct ProgramPaths: Sendable {
    /// The folder that holds them all.
    public let folder: String

    public init(folder: String) { self.folder = folder }

    /// Beside the running program, or in `UPKI_LIBEXEC_DIR`.
    /// - Throws: `.system` when the kernel does not tell where the running program is.
    public static func installed() throws(AdminLinkError) -> ProgramPaths {
        if let folder = getenv("UPKI_LIBEXEC_DIR").map({ String(cString: $0) }), folder.hasPrefix("/") {
            return ProgramPaths(folder: folder)
        }
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = buffer.withUnsafeMutableBytes { bytes in
            guard let start = bytes.baseAddress else { return 0 }
            return readlink("/proc/self/exe", start.assumingMemoryBound(to: CChar.self), bytes.count)
        }
        guard count > 0, let slash = buffer[..<count].lastIndex(of: UInt8(ascii: "/")) else {
            throw AdminLinkError(.system, "/proc/self/exe cannot be read; give the programs' folder in UPKI_LIBEXEC_DIR")
        }
        return ProgramPaths(folder: String(decoding: buffer[..<slash], as: UTF8.self))
    }

    /// The path of a program that can be executed.
    /// - Throws: `.program`.
    public func path(of program: String) throws(AdminLinkError) -> String {
        let path = "\(folder)/\(program)"
        guard access(path, X_OK) == 0 else {
            throw AdminLinkError(.program, "the program \(program) is not in \(folder); build or install it there, or set UPKI_LIBEXEC_DIR")
        }
        return path
    }
}

/// One run of ca-core: what it is started with, and what goes to its standard input.
public struct CoreRun: Sendable {
    /// Arguments behind the program's name; whoever lists processes can read them.
    public let arguments: [String]
    /// What it reads to the end; the only place for secrets.
    public let input: JSON

    private init(_ arguments: [String], _ input: JSON) {
        self.arguments = arguments
        self.input = input
    }

    /// What `init` makes a CA from; without any of them ca-core makes a seed of its own.
    public struct Origin: Sendable {
        public var seed: String?
        public var authorityKey: String?
        public var authorityCertificate: String?
        public var password: String?

        public init(seed: String? = nil, authorityKey: String? = nil, authorityCertificate: String? = nil, password: String? = nil) {
            self.seed = seed
            self.authorityKey = authorityKey
            self.authorityCertificate = authorityCertificate
            self.password = password
        }
    }

    /// What `init` is told besides.
    public struct Wishes: Sendable {
        public var keyType: String?
        public var subject: String?
        public var company: String?
        public var allowsWeakSeed = false
        /// Whether the seed is that of a CA that was lost.
        public var recovers = false
        /// Paths of CRLs to take over; they are no secrets.
        public var lists: [String] = []
        /// The path of the file with the password of ca.key.
        public var keyPasswordFile: String?

        public init() {}
    }

    /// Makes a CA, or checks a seed against the one that is there. A CA that was made is there only after `finishInitialising`.
    public static func initialise(dataDirectory: String, _ origin: Origin, _ wishes: Wishes) -> CoreRun {
        var arguments = ["init", "--until-shown", "--data-dir", dataDirectory]
        let values = [
            ("--key-type", wishes.keyType), ("--subject", wishes.subject), ("--company", wishes.company),
            ("--key-password-file", wishes.keyPasswordFile),
        ]
        for (flag, value) in values + wishes.lists.map({ ("--crl", $0) }) {
            if let value { arguments += [flag, value] }
        }
        if wishes.allowsWeakSeed { arguments.append("--weak-seed") }
        if wishes.recovers { arguments.append("--recover") }
        let secrets = [
            ("seed", origin.seed), ("ca_key", origin.authorityKey), ("ca_cert", origin.authorityCertificate), ("password", origin.password),
        ]
        return CoreRun(arguments, .object(secrets.compactMap { name, value in value.map { JSON.Member(name, .string($0)) } }))
    }

    /// What `initialise` answered has been shown.
    public static func finishInitialising(dataDirectory: String) -> CoreRun {
        CoreRun(["finish-init", "--data-dir", dataDirectory], .object([]))
    }

    /// A key that the CA keeps, with its certificate.
    /// - Parameter password: for PKCS#12; nil for PEM.
    public static func export(dataDirectory: String, commonName: String, password: String?) -> CoreRun {
        let arguments = ["export", "--data-dir", dataDirectory, "--cn", commonName] + (password == nil ? [] : ["--pkcs12"])
        return CoreRun(arguments, .object(password.map { [JSON.Member("password", .string($0))] } ?? []))
    }

    /// What is wrong with a CA that does not run.
    public static func doctor(dataDirectory: String, runDirectory: String) -> CoreRun {
        CoreRun(["doctor", "--data-dir", dataDirectory, "--run-dir", runDirectory], .object([]))
    }

    /// The standing registration token of a seed.
    public static func token(dataDirectory: String, seed: String) -> CoreRun {
        CoreRun(["token", "--data-dir", dataDirectory], .object([JSON.Member("seed", .string(seed))]))
    }

    /// Verifies the audit log of a CA that does not run.
    /// - Parameter files: texts with checkpoints that were kept elsewhere.
    public static func verifyAudit(dataDirectory: String, files: [String]) -> CoreRun {
        CoreRun(["audit-verify", "--data-dir", dataDirectory] + files.flatMap { ["--checkpoint", $0] }, .object([]))
    }

    /// The data directory it works on.
    public var dataDirectory: String? {
        arguments.firstIndex(of: "--data-dir").flatMap { $0 + 1 < arguments.count ? arguments[$0 + 1] : nil }
    }

    /// Its environment: nothing of ours but the tie of its life to ours, which its first acts read and remove.
    /// - Parameter identity: the user that it becomes there.
    package static func environment(_ identity: ProcessIdentity? = nil) -> [String] {
        ["\(SupervisionLink.variable)=\(SupervisionLink(supervisor: getpid(), identity: identity).value)"]
    }

    /// Runs it to its end.
    /// - Parameters:
    ///   - identity: the user it becomes before anything else; nil keeps ours. Needs root.
    ///   - progress: called with each line that it says meanwhile, but errors; warnings begin with `warning: `.
    /// - Returns: what it printed, at most 16 MiB.
    /// - Throws: `.refused` with its own words when it ended with another code than 0; `.program` when it cannot be started, was killed,
    ///   or printed more; `.system`.
    public func run(
        _ programs: ProgramPaths, as identity: ProcessIdentity? = nil, progress: (String) -> Void
    ) throws(AdminLinkError) -> [UInt8] {
        let path = try programs.path(of: "ca-core")
        let input = try PipePair(toAProgram: true)
        let output = try PipePair(toAProgram: false)
        let words = try PipePair(toAProgram: false)
        let pid = try Self.spawn(
            path, [path] + arguments + ["--log-format", "json"], Self.environment(identity),
            input: input.read, output: output.write, errors: words.write, ownSession: identity != nil)
        close(input.release(\.read))
        close(output.release(\.write))
        close(words.release(\.write))
        var speech = CoreSpeech()
        let bytes = Self.exchange(self.input.encoded, into: input, from: output, words) { speech.hear($0, progress) }
        speech.end(progress)
        if bytes == nil { kill(pid, SIGKILL) }
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0 {
            guard errno == EINTR else { throw AdminLinkError(.system, "waitpid: \(String(cString: strerror(errno)))") }
        }
        guard let bytes else { throw AdminLinkError(.program, "ca-core \(arguments[0]) printed more than \(Self.longestOutput) bytes") }
        // As WIFSIGNALED of wait(2), which Swift does not import.
        if status & 0x7f != 0 { throw AdminLinkError(.program, "ca-core \(arguments[0]) was ended by signal \(status & 0x7f)") }
        let code = status >> 8 & 0xff
        guard code == 0 else {
            throw AdminLinkError(.refused, speech.complaint ?? "ca-core \(arguments[0]) ended with exit code \(code)")
        }
        return bytes
    }

    private static let longestOutput = 16 << 20
    /// POSIX_SPAWN_SETSID of spawn.h, which Swift does not import.
    private static let setSession: Int16 = 0x80

    private static func spawn(
        _ path: String, _ arguments: [String], _ environment: [String], input: Int32, output: Int32, errors: Int32, ownSession: Bool
    ) throws(AdminLinkError) -> pid_t {
        var actions = posix_spawn_file_actions_t()
        var attributes = posix_spawnattr_t()
        guard posix_spawn_file_actions_init(&actions) == 0 else { throw AdminLinkError(.system, "no memory is left") }
        defer { posix_spawn_file_actions_destroy(&actions) }
        guard posix_spawnattr_init(&attributes) == 0 else { throw AdminLinkError(.system, "no memory is left") }
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        var all = sigset_t()
        sigemptyset(&none)
        sigfillset(&all)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setsigdefault(&attributes, &all)
        // Another user's process in our session could open our terminal and type into it; Ctrl-C ends it with us all the same.
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF) | (ownSession ? Self.setSession : 0))
        posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO)
        posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO)
        posix_spawn_file_actions_adddup2(&actions, errors, STDERR_FILENO)
        let argv = arguments.map { strdup($0) } + [nil]
        let envp = environment.map { strdup($0) } + [nil]
        defer { (argv + envp).forEach { free($0) } }
        var pid: pid_t = 0
        let failed = posix_spawn(&pid, path, &actions, &attributes, argv, envp)
        guard failed == 0 else { throw AdminLinkError(.program, "\(path) cannot be started: \(String(cString: strerror(failed)))") }
        return pid
    }

    /// Writes and reads at once, so that neither side can wait for the other; nil when too much came.
    private static func exchange(
        _ bytes: [UInt8], into input: PipePair, from output: PipePair, _ words: PipePair, hear: ([UInt8]) -> Void
    ) -> [UInt8]? {
        var rest = bytes[...]
        var received: [UInt8] = []
        if rest.isEmpty { close(input.release(\.write)) }
        while output.read >= 0 || words.read >= 0 {
            // poll(2) passes over -1, which is what a closed end has become.
            var watched = [
                pollfd(fd: output.read, events: Int16(POLLIN), revents: 0), pollfd(fd: words.read, events: Int16(POLLIN), revents: 0),
                pollfd(fd: input.write, events: Int16(POLLOUT), revents: 0),
            ]
            guard poll(&watched, 3, -1) > 0 else { continue }
            if watched[2].revents != 0 {
                let count = rest.withUnsafeBytes { send(input.write, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT)) }
                if count >= 0 {
                    rest = rest.dropFirst(count)
                } else if errno != EINTR && errno != EAGAIN {
                    // A program that has closed its input wants no more.
                    rest = []
                }
                if rest.isEmpty { close(input.release(\.write)) }
            }
            if watched[1].revents != 0, let said = take(words) { hear(said) }
            if watched[0].revents != 0, let part = take(output) { received += part }
            guard received.count <= longestOutput else { return nil }
        }
        return received
    }

    /// What is there to read; at its end the pipe is closed.
    private static func take(_ pipe: PipePair) -> [UInt8]? {
        var buffer = [UInt8](repeating: 0, count: 65_536)
        let count = read(pipe.read, &buffer, buffer.count)
        if count > 0 { return Array(buffer[..<count]) }
        if count == 0 || errno != EINTR { close(pipe.release(\.read)) }
        return nil
    }
}

/// What ca-core says on standard error: log lines in JSON, of which errors are kept, and whatever else.
struct CoreSpeech {
    /// The first error, or the last line that is no log line.
    private(set) var complaint: String?
    private var isError = false
    private var line: [UInt8] = []

    mutating func hear(_ bytes: [UInt8], _ progress: (String) -> Void) {
        for byte in bytes {
            if byte == UInt8(ascii: "\n") { end(progress) } else if line.count < 65_536 { line.append(byte) }
        }
    }

    /// A line is complete.
    mutating func end(_ progress: (String) -> Void) {
        defer { line = [] }
        guard !line.isEmpty else { return }
        guard let record = try? JSON(parsing: line), let message = record["message"]?.stringValue else {
            if !isError { complaint = String(decoding: line, as: UTF8.self) }
            return
        }
        switch record["level"]?.stringValue {
        case "error", "critical":
            if !isError { complaint = message }
            isError = true
        case "warning": progress("warning: \(message)")
        default: progress(message)
        }
    }
}

/// The two ends of a pipe, closed with it. What we write to is a pair of sockets, where a reader that is gone is an error and no signal.
private final class PipePair {
    fileprivate(set) var read: Int32 = -1
    fileprivate(set) var write: Int32 = -1

    init(toAProgram: Bool) throws(AdminLinkError) {
        var ends: [Int32] = [-1, -1]
        guard (toAProgram ? socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) : pipe(&ends)) == 0 else {
            throw AdminLinkError(.system, "no pipe: \(String(cString: strerror(errno)))")
        }
        // Nothing else of ca-ctl spawns at that time, so that there is no moment in which another child could take them.
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        read = ends[0]
        write = ends[1]
    }

    deinit {
        if read >= 0 { close(read) }
        if write >= 0 { close(write) }
    }

    /// Gives an end away.
    func release(_ end: ReferenceWritableKeyPath<PipePair, Int32>) -> Int32 {
        defer { self[keyPath: end] = -1 }
        return self[keyPath: end]
    }
}
