// The options by which every program is told how to log.

public import ArgumentParser
public import Logging

/// `--log-format` and `--log-level`.
public struct LogOptions: ParsableArguments {
    @Option(help: "How log lines look: auto, plain or json.")
    public var logFormat = "auto"

    @Option(help: "The least important level that is logged: trace, debug, info, notice, warning, error or critical.")
    public var logLevel = "info"

    public init() {}

    public func validate() throws {
        guard ProgramLog.Format(rawValue: self.logFormat) != nil else { throw ValidationError("--log-format is auto, plain or json") }
        guard Logger.Level(rawValue: self.logLevel) != nil else {
            throw ValidationError("--log-level is one of \(Logger.Level.allCases.map(\.rawValue).joined(separator: ", "))")
        }
    }

    /// Sets the log of this process up; to be called once, before the first logger is made.
    public func start(_ program: String) -> Logger {
        // `validate` refused everything else.
        ProgramLog.bootstrap(
            program: program, format: ProgramLog.Format(rawValue: self.logFormat) ?? .auto, level: Logger.Level(rawValue: self.logLevel) ?? .info)
        return Logger(label: program)
    }
}
