// The command line of ca-ocsp-bridge.
import ArgumentParser
import Logging
import OCSPResponder
import ProgramLog
import Supervised

struct CAOCSPBridge: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ca-ocsp-bridge",
        abstract: "Answers OCSP requests over HTTP on a unix socket, and serves the CA certificate and the CRL.",
        discussion: """
            It signs with a key of its own, which ca-core certifies for two days at a time, and asks ca-core for what it does not know. \
            nginx stands between it and the network: see docs/OCSP.md. Usually ca-ctl or systemd starts this program.
            """,
        version: "0.1.0")

    @Option(help: "The folder with ca-core's sockets ocsp.sock and events.sock.")
    var runDir: String

    @Option(help: ArgumentHelp("The unix socket to serve HTTP on.", valueName: "path"))
    var socket: String

    @Option(help: ArgumentHelp("The unix socket for /metrics and /status; none without it.", valueName: "path"))
    var metricsSocket: String?

    @Option(help: ArgumentHelp("The user who owns the socket.", valueName: "user"))
    var socketOwner: String?

    @Option(help: ArgumentHelp("The group of the socket: nginx's, so that it may connect.", valueName: "group"))
    var socketGroup: String?

    @Option(help: ArgumentHelp("The mode of the socket, octal.", valueName: "mode"))
    var socketMode: String = "0660"

    @Option(help: ArgumentHelp("Memory for statuses and signed answers; 256 keep nearly all of a million.", valueName: "MiB"))
    var cache: Int = 64

    @Option(help: ArgumentHelp("Connections at a time; more are refused with 503.", valueName: "number"))
    var maxConnections: Int = 1_024

    @Option(help: ArgumentHelp("Event loops, each a thread.", valueName: "number"))
    var loops: Int = 2

    @OptionGroup var logging: LogOptions

    func validate() throws {
        guard mode != nil else { throw ValidationError("--socket-mode is an octal number such as 0660, not \(socketMode)") }
    }

    private var mode: UInt32? { UInt32(socketMode, radix: 8).flatMap { $0 <= 0o777 ? $0 : nil } }

    func run() throws {
        let logger = self.logging.start("ca-ocsp-bridge")
        let log: ResponderLog = { level, line in logger.log(level: Logger.Level(rawValue: level.rawValue) ?? .info, "\(line)") }
        let mode = mode ?? 0o660
        var options = BridgeOptions(
            runDirectory: runDir, socket: HTTPSocket(path: socket, owner: socketOwner, group: socketGroup, mode: mode),
            version: Self.configuration.version)
        // Figures are for the operator: ca-core's user is in this program's group, and the folder may hand on the web server's.
        options.metricsSocket = metricsSocket.map { HTTPSocket(path: $0, mode: 0o600) }
        for held in try inherited(logger) {
            if held.name == "http" {
                options.socket.descriptor = held.descriptor
            } else {
                options.metricsSocket?.descriptor = held.descriptor
            }
        }
        options.cacheMiB = cache
        options.maximumConnections = maxConnections
        options.eventLoops = loops
        throw ExitCode(runBridge(options, log: log))
    }

    /// What a service manager holds: `http` and `metrics`, each where the option says.
    private func inherited(_ logger: Logger) throws -> [InheritedSocket] {
        let sockets: [InheritedSocket]
        do throws(SupervisedError) { sockets = try InheritedSockets.take() } catch {
            logger.error("\(error.message)")
            throw ExitCode(1)
        }
        for held in sockets where held.place != ["http": socket, "metrics": metricsSocket][held.name] {
            logger.error(
                "the service manager hands over \(held.place) as '\(held.name)': 'http' is the path of --socket, 'metrics' that of --metrics-socket"
            )
            throw ExitCode(1)
        }
        return sockets
    }
}
