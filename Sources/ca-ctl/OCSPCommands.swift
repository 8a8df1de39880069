// `ocsp`: what the CA says of a certificate's status, and how the bridge that tells relying parties is.

import ArgumentParser
import Console
import OCSPClient
import PKI
import Supervision
import UPKIProtocol

struct OCSP: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ocsp", abstract: "What is said of a certificate's status, and the bridge that says it over HTTP.",
        subcommands: [Check.self, Show.self, Selftest.self, Restart.self])

    struct Check: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Says whether a certificate is good, revoked, expired or unknown.")

        @Argument(help: "The certificate in PEM; - is standard input.", completion: .file())
        var certificate: String

        @OptionGroup var shared: SharedOptions

        func run() throws {
            let answer = try shared.ask("ocsp_check", [("cert", .string(try NamedFile.readText(certificate)))])
            shared.output.show(answer, text: TextTable(facts: JSONText.facts(answer, now: shared.now)).rendered(width: shared.output.width))
        }
    }

    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Shows the OCSP bridge: its signing certificate, what it keeps, what it counts.",
            discussion: "Asks the bridge itself, on metrics.sock in its folder of the run directory. Exits with 3 when it does not answer.")

        @OptionGroup var shared: SharedOptions

        func run() throws {
            let report = try shared.bridgeReport()
            shared.output.show(report.json, text: report.text(width: shared.output.width, now: shared.now))
        }
    }

    struct Restart: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Starts the OCSP bridge again, also one that was given up after failing too often.",
            discussion: "It makes a new key and has it certified. The other programs go on.")

        @OptionGroup var shared: SharedOptions

        func run() throws {
            let answer: String? = try shared.withSupervisor { try $0.perform(.restart(ServicePlan.bridge)) }
            guard let answer else {
                throw CommandError(.unreachable, "no supervisor runs here: is the CA running? \(shared.startCommand)")
            }
            shared.output.show(
                .object([.init("service", .string(ServicePlan.bridge)), .init("state", .string(ServiceState.running.rawValue))]),
                text: "The OCSP bridge was started again: \(answer).")
        }
    }
}

extension SharedOptions {
    /// What the bridge says of itself.
    /// - Throws: `.unreachable`.
    func bridgeReport() throws -> BridgeReport {
        let path = BridgeSockets.metrics(in: try directories.locations().runDirectory)
        do throws(OCSPClientError) {
            var client = try HTTPClient(socket: path)
            let answer = try client.get("/status", limit: 1 << 20)
            guard answer.status == 200, let json = try? JSON(parsing: answer.body) else {
                throw OCSPClientError(.httpStatus, "HTTP status \(answer.status) and no report")
            }
            return BridgeReport(json)
        } catch {
            throw CommandError(.unreachable, "the OCSP bridge does not say how it is: \(error.message); see: \(command("status"))")
        }
    }
}
