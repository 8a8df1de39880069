// Where the CA really listens: flags of `up` go before the configuration that ca-core knows, so `up` leaves a note beside the sockets.

import Console
import Glibc
import UPKIProtocol

/// The addresses of a CA that runs.
package struct Listeners: Sendable, Equatable {
    package var host: String
    package var port: Int64
    /// For nodes and admins.
    package var front: String
    /// For registration, while that is open.
    package var registrar: String

    package init(host: String, port: Int64, front: String, registrar: String) {
        self.host = host
        self.port = port
        self.front = front
        self.registrar = registrar
    }

    init(_ plan: ServicePlan) {
        self.init(
            host: plan.host.description, port: Int64(plan.port), front: plan.places(plan.port), registrar: plan.places(plan.registrarPort))
    }

    package init?(_ json: JSON) {
        guard let host = json["host"]?.stringValue, let port = json["port"]?.integerValue, let front = json["front"]?.stringValue,
            let registrar = json["registrar"]?.stringValue
        else { return nil }
        self.init(host: host, port: port, front: front, registrar: registrar)
    }

    package var json: JSON {
        .object([
            .init("host", .string(host)), .init("port", .integer(port)), .init("front", .string(front)),
            .init("registrar", .string(registrar)),
        ])
    }

    private static func path(_ runDirectory: String) -> String { "\(runDirectory)/listeners.json" }

    /// Leaves the note for other commands.
    func write(in runDirectory: String) throws(CommandError) {
        try NamedFile.write(json.encoded + [UInt8(ascii: "\n")], to: Self.path(runDirectory), mode: 0o600, replaces: true)
    }

    static func remove(in runDirectory: String) { unlink(path(runDirectory)) }

    /// The note of the supervisor that runs on that directory; to be asked for only when there is one.
    static func read(in runDirectory: String) -> Listeners? {
        guard access(path(runDirectory), R_OK) == 0, let bytes = try? NamedFile.read(path(runDirectory), limit: 4096) else { return nil }
        return (try? JSON(parsing: bytes)).flatMap { Listeners($0) }
    }
}
