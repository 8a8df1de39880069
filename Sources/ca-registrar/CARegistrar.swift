// The command line of ca-registrar.
import ArgumentParser
import Logging
import ProgramLog
import Relay

struct CARegistrar: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ca-registrar",
        abstract: "Relays registrations of RAs to ca-core while the registration window is open.",
        discussion: """
            It asks ca-core whether registration is open before it listens, and ends with 0 when it is closed or closes.
            Open it with `ca-ctl registrar open`. Usually ca-ctl or systemd starts this program.
            """,
        version: "0.1.0")

    @Option(help: ArgumentHelp("Where to listen without CURVE; may be given several times.", valueName: "tcp://address:port"))
    var listen: [String] = []

    @Option(help: ArgumentHelp("Where to listen with CURVE; may be given several times.", valueName: "tcp://address:port"))
    var listenCurve: [String] = []

    @Flag(help: "Listen where the configuration of ca-core says, which is asked.")
    var asConfigured = false

    @Option(help: "The folder with ca-core's sockets registrar.sock and events.sock.")
    var runDir: String

    @OptionGroup var logging: LogOptions

    func validate() throws {
        guard !asConfigured || (listen + listenCurve).isEmpty else {
            throw ValidationError("--as-configured stands for --listen and --listen-curve")
        }
    }

    func run() throws {
        let logger = self.logging.start("ca-registrar")
        let log: RelayLog = { level, line in logger.log(level: Logger.Level(rawValue: level.rawValue) ?? .info, "\(line)") }
        let listeners: [RelayListener]
        do throws(RelayError) {
            listeners = asConfigured ? [] : try RelayListener.all(plain: listen, curve: listenCurve, port: 5_001)
        } catch {
            throw ValidationError(error.message)
        }
        let code = runRegistrar(RegistrarOptions(listeners: listeners, runDirectory: runDir, version: Self.configuration.version), log: log)
        throw ExitCode(code)
    }
}
