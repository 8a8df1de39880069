// `ca-core doctor`: the checks of the doctor on a CA that does not run; ca-ctl starts it and shows them.

import ArgumentParser
import CoreServer
import ProgramLog
import UPKIProtocol

struct Examine: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor", abstract: "Examines a data directory whose CA does not run; prints findings as JSON and changes nothing.")

    @Option(help: "The data directory.")
    var dataDir: String

    @Option(help: "The folder for the sockets.")
    var runDir: String

    @OptionGroup var logging: LogOptions

    func run() throws {
        let log = self.logging.start("ca-core")
        try orOneLine(log) {
            let findings = try Doctor.examine(DataDirectory(self.dataDir), runDirectory: self.runDir) { check in
                log.info("checking \(check)")
            }
            StandardOutput.write(findings.encoded + [0x0a])
        }
    }
}
