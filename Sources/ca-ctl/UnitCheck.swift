// The doctor's look at systemd units: whether ours are installed, and what systemd says of them.

import Console
import Glibc
import Supervision

/// Looks for units of ours and has systemd check them.
package struct UnitCheck: Sendable {
    private let folders: [String]
    private let tool: String

    /// Where systemd looks for units of the host (systemd.unit(5)), the first that has one of a name wins.
    private static let systemFolders = [
        "/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system",
    ]
    private static let prefixes = ["ca-core", "ca-front", "ca-registrar", "ca-ocsp-bridge", "upki-ca", "upki-tunnel"]

    package init(folders: [String] = UnitCheck.systemFolders, tool: String = "/usr/bin/systemd-analyze") {
        self.folders = folders
        self.tool = tool
    }

    package func line() -> DoctorReport.Line {
        let units = units()
        guard !units.isEmpty else { return .init("units", .ok, "no units are installed: ca-ctl up supervises") }
        guard access(tool, X_OK) == 0 else {
            return .init("units", .warn, "\(units.count) units are installed, and \(tool) is not there to check them")
        }
        // Without that flag a typo in a unit is no error (systemd 252).
        let said = CapturedRun.run([tool, "verify", "--recursive-errors=no"] + units)
        guard said.code != 0 else { return .init("units", .ok, "\(units.count) units are installed and good") }
        let first = said.text.split(separator: "\n").first.map(String.init) ?? "exit code \(said.code)"
        return .init("units", .fail, first, do: "\(tool) verify \(units.map { ShellText.quoted($0) }.joined(separator: " "))")
    }

    /// The paths of our units, each name once.
    private func units() -> [String] {
        var found: [String: String] = [:]
        for folder in folders {
            guard let stream = opendir(folder) else { continue }
            defer { closedir(stream) }
            while let entry = readdir(stream) {
                let name = withUnsafePointer(to: &entry.pointee.d_name) {
                    $0.withMemoryRebound(to: CChar.self, capacity: MemoryLayout.size(ofValue: $0.pointee)) { String(cString: $0) }
                }
                let isUnit = [".service", ".socket", ".target", ".timer"].contains { name.hasSuffix($0) }
                guard isUnit, Self.prefixes.contains(where: { name.hasPrefix($0) }), found[name] == nil else { continue }
                found[name] = "\(folder)/\(name)"
            }
        }
        return found.values.sorted()
    }
}

/// A tool of the system that is run to its end.
enum CapturedRun {
    /// - Returns: its exit code (127 where it cannot be started), and what it said on standard output and standard error.
    static func run(_ arguments: [String]) -> (code: Int32, text: String) {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { return (127, "") }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO)
        posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO)
        posix_spawn_file_actions_addclose(&actions, ends[0])
        posix_spawn_file_actions_addclose(&actions, ends[1])
        let words = arguments.map { strdup($0) } + [nil]
        let environment = [strdup("PATH=/usr/bin:/bin"), strdup("LANG=C.UTF-8"), strdup("SYSTEMD_PAGER="), nil]
        defer { (words + environment).forEach { free($0) } }
        var pid: pid_t = 0
        let failed = posix_spawn(&pid, arguments[0], &actions, nil, words, environment)
        close(ends[1])
        defer { close(ends[0]) }
        guard failed == 0 else { return (127, String(cString: strerror(failed))) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = read(ends[0], &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { break }
            if bytes.count < 65_536 { bytes += buffer[..<count] }
        }
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0, errno == EINTR {}
        return (status & 0x7f == 0 ? status >> 8 & 0xff : 128, String(decoding: bytes, as: UTF8.self))
    }
}
