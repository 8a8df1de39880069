// What an operator does about faults, and what `status` says of them: the clock, the disk, the store.

import ArgumentParser
import Console
import UPKIProtocol

struct ClockCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "clock", abstract: "What to do when the clock was wrong.", subcommands: [Accept.self])

    struct Accept: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Takes the clock as right although the last audit record is from a later time.",
            discussion: """
                Certificates are issued again from then on, and a CRL is published with the time of now. What was issued by the wrong clock
                stays as it is: see `cert list`, and revoke what should not be.
                """)

        @OptionGroup var shared: SharedOptions

        func run() throws {
            let answer = try shared.ask("accept_clock")
            shared.output.show(answer, text: "The CA goes on from \(answer.text("time")).")
        }
    }
}

extension StatusReport {
    package static func faultWarnings(_ core: JSON, command: (String) -> String) -> [String] {
        var warnings: [String] = []
        if let seconds = core["clock_behind_seconds"]?.integerValue, seconds > 0 {
            warnings.append(
                "the clock stands \(seconds) s before the last audit record, and only revocations are taken: set it, or, where it is right: \(command("clock accept"))"
            )
        }
        guard let store = core["store"] else { return warnings }
        let free = store["free_bytes"]?.integerValue
        let reserve = store["reserve_bytes"]?.integerValue ?? 0
        if store.text("reserve") == "in use" {
            warnings.append("the disk is full, and only revocations are taken: make room on the file system of the data directory")
        } else if let free, free < max(2 * reserve, 16 << 20) {
            warnings.append(
                "\(free >> 20) MiB are free on the file system of the data directory; when it is full only revocations are taken")
        }
        if store["damaged"]?.boolValue == true {
            warnings.append("the store's file is damaged: stop the CA and restore it from a backup")
        }
        return warnings
    }
}
