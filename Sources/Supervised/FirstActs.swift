// What every program of ours does before anything else, and before any thread exists.
import CLinux
import Glibc

/// The first acts of a program: become the user the supervisor chose, tie its life to the supervisor's, and leave nothing
/// for a core dump, a debugger or a lax umask to give away.
public enum FirstActs {
    /// The exit code of a program whose first acts failed (EX_OSERR of sysexits.h).
    public static let failureExitCode: Int32 = 71

    /// To be called as the first statement of `main`, while the process has one thread. Ends the process with
    /// `failureExitCode` and one line on stderr when anything fails: a program that could not drop its rights must not run.
    ///
    /// Without `UPKI_SUPERVISED` (systemd, or started by hand) only the hardening happens.
    public static func perform() {
        do {
            try performOrThrow()
        } catch {
            let name = CommandLine.arguments.first.map { $0.split(separator: "/").last.map(String.init) ?? $0 } ?? "program"
            let line = "\(name): \(error.message)\n"
            _ = line.withCString { write(STDERR_FILENO, $0, strlen($0)) }
            _exit(failureExitCode)
        }
    }

    private static func performOrThrow() throws(SupervisedError) {
        clinux_line_buffer_output()
        try check("sigaction", clinux_ignore_signal(SIGPIPE))
        // Swift's runtime answers a crash by starting swift-backtrace, which prints registers and the memory they point to:
        // not in a process that holds keys, and not in one that may have no children.
        for signal in [SIGQUIT, SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV] {
            try check("sigaction", clinux_default_signal(signal))
        }
        umask(0o077)
        if let text = getenv(SupervisionLink.variable) {
            let link = try SupervisionLink(parsing: String(cString: text))
            unsetenv(SupervisionLink.variable)
            try follow(link)
        }
        // After the change of user: that resets what prctl set before it.
        try check("prctl(PR_SET_DUMPABLE)", clinux_set_undumpable())
        try check("prctl(PR_SET_NO_NEW_PRIVS)", clinux_set_no_new_privileges())
        try check("setrlimit(RLIMIT_CORE)", clinux_forbid_core_dumps())
    }

    private static func follow(_ link: SupervisionLink) throws(SupervisedError) {
        if let identity = link.identity {
            let result = clinux_become_user(identity.uid, identity.gid, identity.groups, identity.groups.count)
            guard result == 0 else {
                throw .systemCall("cannot become user \(identity.uid), group \(identity.gid)", result, code: .cannotChangeUser)
            }
        }
        try check("prctl(PR_SET_PDEATHSIG)", clinux_set_parent_death_signal(SIGKILL))
        // If the supervisor ended before prctl took effect the signal never comes, but the parent is another by now.
        guard getppid() == link.supervisor else {
            throw SupervisedError(.supervisorGone, "the supervisor (pid \(link.supervisor)) is gone")
        }
    }

    private static func check(_ name: String, _ result: Int32) throws(SupervisedError) {
        guard result == 0 else { throw .systemCall(name, result) }
    }
}
