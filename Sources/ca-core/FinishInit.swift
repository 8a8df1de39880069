// `ca-core finish-init`: the second half of an init whose first half left the CA unfinished until its seed was shown.

import ArgumentParser
import CoreServer
import ProgramLog

struct FinishInit: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "finish-init", abstract: "Says that what 'init --until-shown' printed has been shown: from now on the CA is there.")

    @Option(help: "The data directory.")
    var dataDir: String

    @OptionGroup var logging: LogOptions

    func run() throws {
        let log = self.logging.start("ca-core")
        try orOneLine(log) { try Initialise.finish(DataDirectory(self.dataDir)) }
    }
}
