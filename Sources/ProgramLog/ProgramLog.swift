// How the programs log: one line for each message on standard error, for a person or as JSON.

private import Glibc
public import Logging
private import Synchronization

/// The log of a program.
public enum ProgramLog {
    /// How lines look.
    public enum Format: String, Sendable, CaseIterable {
        /// The journal where standard error goes there; plain where it is a terminal and no supervisor listens; else JSON.
        case auto
        case plain
        case json
        /// The journal of systemd, with a field for each piece of metadata.
        case journal
    }

    private static let isBootstrapped = Mutex(false)

    /// Makes every `Logger` of this process write to standard error. Only the first call counts; call it before the first `Logger` is made.
    ///
    /// - Parameters:
    ///   - program: the program's name, in every JSON line.
    ///   - format: how lines look.
    ///   - level: messages below it are dropped, unless a `Logger` sets its own.
    /// - Returns: false where it was called before.
    @discardableResult
    public static func bootstrap(program: String, format: Format = .auto, level: Logger.Level = .info) -> Bool {
        let isFirst = self.isBootstrapped.withLock { done in
            defer { done = true }
            return !done
        }
        guard isFirst else { return false }
        let resolved = self.resolve(
            format, hasSupervisor: getenv("NOTIFY_SOCKET") != nil, isTerminal: isatty(STDERR_FILENO) == 1,
            isJournal: JournalOutput.isStandardError)
        let output = LineOutput(descriptor: STDERR_FILENO)
        LoggingSystem.bootstrap(
            { label, provider in
                var handler = ProgramLogHandler(program: program, label: label, format: resolved, output: output)
                handler.logLevel = level
                handler.metadataProvider = provider
                return handler
            },
            metadataProvider: nil
        )
        return true
    }

    /// What `auto` means: the journal where standard error is one of its streams, else JSON wherever another program reads.
    package static func resolve(_ format: Format, hasSupervisor: Bool, isTerminal: Bool, isJournal: Bool = false) -> Format {
        guard format == .auto else { return format }
        if isJournal { return .journal }
        return isTerminal && !hasSupervisor ? .plain : .json
    }
}

/// A descriptor that takes whole lines.
package final class LineOutput: Sendable {
    private let descriptor: Int32
    /// Pipes keep writes together up to 4096 bytes only, so that threads take turns.
    private let turn = Mutex(())

    package init(descriptor: Int32) { self.descriptor = descriptor }

    /// Writes a line by one `write(2)`. A reader that is gone or does not read (on a descriptor that does not block) loses the line:
    /// the log must not stop the program.
    func write(_ line: [UInt8]) {
        self.turn.withLock { _ in
            var rest = line[...]
            while !rest.isEmpty {
                let count = rest.withUnsafeBytes { Glibc.write(self.descriptor, $0.baseAddress, $0.count) }
                if count < 0 {
                    guard errno == EINTR else { return }
                } else {
                    // Only a descriptor that took a part gets a second call.
                    rest = rest.dropFirst(count)
                }
            }
        }
    }
}
