// What `ca-ctl up` runs: the three services, their arguments, limits and order.

import AdminLink
import Settings
import Supervision

/// The services of a CA.
package struct ServicePlan: Sendable {
    package static let core = "core"
    package static let front = "front"
    package static let registrar = "registrar"

    /// A service that was not heard for so long hangs.
    private static let watchdog = Duration.seconds(10)

    package var locations: Locations
    package var host: HostAddress
    package var port: Int
    package var registrarPort: Int
    /// `plain` or `json`: the services' standard error is ours, and they cannot tell what it is.
    package var logFormat: String
    package var logLevel: String
    /// For `key_storage: seed`: the path, never the seed.
    package var seedFile: String?

    package init(
        locations: Locations, host: HostAddress, port: Int, registrarPort: Int, logFormat: String, logLevel: String, seedFile: String?
    ) {
        self.locations = locations
        self.host = host
        self.port = port
        self.registrarPort = registrarPort
        self.logFormat = logFormat
        self.logLevel = logLevel
        self.seedFile = seedFile
    }

    package func endpoint(_ port: Int) -> String { host.isIPv6 ? "tcp://[\(host)]:\(port)" : "tcp://\(host):\(port)" }

    /// The services in start order. Their environment is empty: what they need stands in arguments and files.
    /// - Throws: `.program` when one of the programs is not there.
    package func services(_ programs: ProgramPaths) throws(AdminLinkError) -> [ServiceSpec] {
        let log = ["--log-format", logFormat, "--log-level", logLevel]
        let runDirectory = ["--run-dir", locations.runDirectory]
        let core = try programs.path(of: "ca-core")
        return [
            ServiceSpec(
                name: Self.core, executable: core,
                arguments: ["serve", "--data-dir", locations.dataDirectory] + runDirectory + (seedFile.map { ["--seed-file", $0] } ?? [])
                    + log,
                // A store of many gigabytes may have to be recovered first.
                startTimeout: .seconds(120), watchdogInterval: Self.watchdog, isEssential: true),
            ServiceSpec(
                name: Self.front, executable: core, arguments: ["front"] + runDirectory + ["--listen", endpoint(port)] + log,
                after: [Self.core], watchdogInterval: Self.watchdog, isEssential: true),
            ServiceSpec(
                name: Self.registrar, executable: try programs.path(of: "ca-registrar"),
                arguments: runDirectory + ["--listen", endpoint(registrarPort)] + log,
                after: [Self.core], watchdogInterval: Self.watchdog),
        ]
    }
}
