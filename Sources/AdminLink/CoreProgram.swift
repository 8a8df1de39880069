// Runs ca-core for what needs a key while the CA may be down: init, export, token. Secrets go by pipe, never by argument or environment.

import Glibc
import Supervised
public import UPKIProtocol

/// Where the programs of this system are.
public struct ProgramPaths: Sendable {
    /// The folder that holds them all.
    public let folder: String

    public init(folder: String) { self.folder = folder }

    /// Beside the running program, or in `UPKI_LIBEXEC_DIR`.
    /// - Throws: `.system` when the kernel does not tell where the running program is.
    public static func installed() throws(AdminLinkError) -> ProgramPaths {
        if let folder = getenv("UPKI_LIBEXEC_DIR").map({ String(cString: $0) }), folder.hasPrefix("/") { return ProgramPaths(folder: folder) }
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = buffer.withUnsafeMutableBytes { readlink("/proc/self/exe", $0.baseAddress?.assumingMemoryBound(to: CChar.self), $0.count) }
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

        public init() {}
    }

    /// Makes a CA, or checks a seed against the one that is there.
    public static func initialise(dataDirectory: String, _ origin: Origin, _ wishes: Wishes) -> CoreRun {
        var arguments = ["init", "--data-dir", dataDirectory]
        for (flag, value) in [("--key-type", wishes.keyType), ("--subject", wishes.subject), ("--company", wishes.company)] {
            if let value { arguments += [flag, value] }
        }
        if wishes.allowsWeakSeed { arguments.append("--weak-seed") }
        let secrets = [
            ("seed", origin.seed), ("ca_key", origin.authorityKey), ("ca_cert", origin.authorityCertificate), ("password", origin.password),
        ]
        return CoreRun(arguments, .object(secrets.compactMap { name, value in value.map { JSON.Member(name, .string($0)) } }))
    }

    /// A key that the CA keeps, with its certificate.
    /// - Parameter password: for PKCS#12; nil for PEM.
    public static func export(dataDirectory: String, commonName: String, password: String?) -> CoreRun {
        let arguments = ["export", "--data-dir", dataDirectory, "--cn", commonName] + (password == nil ? [] : ["--pkcs12"])
        return CoreRun(arguments, .object(password.map { [JSON.Member("password", .string($0))] } ?? []))
    }

    /// The standing registration token of a seed.
    public static func token(dataDirectory: String, seed: String) -> CoreRun {
        CoreRun(["token", "--data-dir", dataDirectory], .object([JSON.Member("seed", .string(seed))]))
    }

    /// Its environment: nothing of ours but the tie of its life to ours, which its first acts read and remove.
    package static var environment: [String] {
        ["\(SupervisionLink.variable)=\(SupervisionLink(supervisor: getpid(), identity: nil).value)"]
    }

    /// Runs it to its end; what it says on standard error goes where ours goes.
    /// - Returns: its exit code, and what it printed, at most 16 MiB.
    /// - Throws: `.program` when it cannot be started, was killed, or printed more; `.system`.
    public func run(_ programs: ProgramPaths) throws(AdminLinkError) -> (exitCode: Int32, output: [UInt8]) {
        let path = try programs.path(of: "ca-core")
        let input = try PipePair()
        let output = try PipePair()
        let pid = try Self.spawn(path, [path] + arguments, Self.environment, input: input.read, output: output.write)
        close(input.release(\.read))
        close(output.release(\.write))
        let bytes = Self.exchange(self.input.encoded, into: input, from: output)
        if bytes == nil { kill(pid, SIGKILL) }
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0 {
            guard errno == EINTR else { throw AdminLinkError(.system, "waitpid: \(String(cString: strerror(errno)))") }
        }
        guard let bytes else { throw AdminLinkError(.program, "ca-core \(arguments[0]) printed more than \(Self.longestOutput) bytes") }
        // As WIFSIGNALED of wait(2), which Swift does not import.
        if status & 0x7f != 0 { throw AdminLinkError(.program, "ca-core \(arguments[0]) was ended by signal \(status & 0x7f)") }
        return (status >> 8 & 0xff, bytes)
    }

    private static let longestOutput = 16 << 20

    private static func spawn(
        _ path: String, _ arguments: [String], _ environment: [String], input: Int32, output: Int32
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
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
        posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO)
        posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO)
        posix_spawn_file_actions_addclosefrom_np(&actions, 3)
        let argv = arguments.map { strdup($0) } + [nil]
        let envp = environment.map { strdup($0) } + [nil]
        defer { (argv + envp).forEach { free($0) } }
        var pid: pid_t = 0
        let failed = posix_spawn(&pid, path, &actions, &attributes, argv, envp)
        guard failed == 0 else { throw AdminLinkError(.program, "\(path) cannot be started: \(String(cString: strerror(failed)))") }
        return pid
    }

    /// Writes and reads at once, so that neither side can wait for the other; nil when too much came.
    private static func exchange(_ bytes: [UInt8], into input: PipePair, from output: PipePair) -> [UInt8]? {
        var rest = bytes[...]
        var received: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        if rest.isEmpty { close(input.release(\.write)) }
        while true {
            var watched = [pollfd(fd: output.read, events: Int16(POLLIN), revents: 0), pollfd(fd: input.write, events: Int16(POLLOUT), revents: 0)]
            guard poll(&watched, 2, -1) > 0 else { continue }
            if watched[1].revents != 0, input.write >= 0 {
                // What a pipe takes without waiting; a program that has closed its input wants no more.
                let count = rest.prefix(4096).withUnsafeBytes { write(input.write, $0.baseAddress, $0.count) }
                if count >= 0 { rest = rest.dropFirst(count) } else if errno != EINTR && errno != EAGAIN { rest = [] }
                if rest.isEmpty { close(input.release(\.write)) }
            }
            guard watched[0].revents != 0 else { continue }
            let count = read(output.read, &buffer, buffer.count)
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { return received }
            received += buffer[..<count]
            guard received.count <= longestOutput else { return nil }
        }
    }
}

/// The two ends of a pipe, closed with it.
private final class PipePair {
    fileprivate(set) var read: Int32 = -1
    fileprivate(set) var write: Int32 = -1

    init() throws(AdminLinkError) {
        var ends: [Int32] = [-1, -1]
        guard pipe2(&ends, O_CLOEXEC) == 0 else { throw AdminLinkError(.system, "no pipe: \(String(cString: strerror(errno)))") }
        read = ends[0]
        write = ends[1]
    }

    deinit {
        if read >= 0 { close(read) }
        if write >= 0 { close(write) }
    }

    /// Gives an end away; poll(2) passes over what is left, -1.
    func release(_ end: ReferenceWritableKeyPath<PipePair, Int32>) -> Int32 {
        defer { self[keyPath: end] = -1 }
        return self[keyPath: end]
    }
}
