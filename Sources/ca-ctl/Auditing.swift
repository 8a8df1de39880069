// `audit`: what was changed and refused, by whom; and whether that record of it is whole.

import AdminLink
import ArgumentParser
import Console
import Glibc
import PKI
import UPKIProtocol

struct AuditLog: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "audit", abstract: "The audit log: what was changed and refused, by whom.",
        subcommands: [Show.self, Verify.self, Checkpoint.self, Acknowledge.self])

    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Shows the newest records.")

        @Flag(help: "Go on with each new record until Ctrl-C.")
        var follow = false

        @Option(help: "Those after this sequence number.")
        var after: Int64?

        @Option(help: "At most so many, up to 10000.")
        var limit = 100

        @OptionGroup var shared: SharedOptions

        private static let pollMilliseconds: UInt32 = 500

        func validate() throws {
            guard (1...10_000).contains(limit) else { throw ValidationError("--limit is from 1 to 10000") }
            if let after, after < 0 { throw ValidationError("--after is a sequence number") }
        }

        func run() throws {
            var connection = try shared.connect()
            let records = try shared.ask(&connection, "audit", [("after", after.map { .integer($0) }), ("limit", .integer(limit))])
            guard follow else {
                let table = TextTable(records.arrayValue ?? [], Self.columns)
                return shared.output.show(records, table: table, ifEmpty: "There are no records.")
            }
            var last = try print(records.arrayValue ?? []) ?? after ?? 0
            while true {
                usleep(Self.pollMilliseconds * 1000)
                let more = try shared.ask(&connection, "audit", [("after", .integer(last)), ("limit", .integer(1000))])
                last = try print(more.arrayValue ?? []) ?? last
            }
        }

        /// One record a line, so that a pipe can be read as it grows.
        private func print(_ records: [JSON]) throws -> Int64? {
            for record in records {
                let parts = [record.text("sequence"), record.text("time"), Self.who(record), record.text("task")] + [Self.what(record, ["target", "detail"])]
                shared.output.show(record, text: parts.filter { !$0.isEmpty }.map(TextWidth.printable).joined(separator: "  "))
            }
            return records.last?["sequence"]?.integerValue
        }

        private static let columns = [
            JSONColumn("NO", "sequence", isNumber: true), JSONColumn("TIME", "time"),
            JSONColumn("WHO", isProse: true, least: 7) { record in who(record) },
            JSONColumn("TASK", "task"), JSONColumn("WHAT", isProse: true) { record in what(record, ["target", "detail"]) },
        ]

        /// Who it was, and how that was proven; a key is shown by its beginning, and whole with --json.
        private static func who(_ record: JSON) -> String {
            let (identity, proof) = (record.text("identity"), record.text("proof"))
            // Where the proof is all that is known of them, it is both.
            if proof == identity || proof.hasSuffix(" \(identity)") { return proof }
            if proof == "itself" || proof.isEmpty { return identity }
            guard proof.hasPrefix("curve "), proof.count > 14 else { return "\(identity) (\(proof))" }
            return "\(identity) (\(proof.prefix(14))…)"
        }

        /// How it went, where that was not well, and the members that say more.
        private static func what(_ record: JSON, _ members: [String]) -> String {
            let outcome = record.text("outcome")
            let parts = (outcome == "done" ? [] : [outcome]) + members.map { record.text($0) }
            return parts.filter { !$0.isEmpty }.joined(separator: ": ")
        }
    }

    struct Verify: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Checks the chain of hashes and the signed checkpoints; names the first record that is bad.",
            discussion: """
                Without checkpoints that were kept elsewhere nobody can see that the end of the log was taken away together with the
                checkpoints of it. Give the logs that you keep on another machine, or what `audit checkpoint` printed.
                """)

        @Option(
            help: ArgumentHelp(
                "A text with checkpoints that were kept elsewhere, such as a log; may be given several times.", valueName: "file"),
            completion: .file())
        var checkpoint: [String] = []

        @Flag(help: "For a CA that does not run: reads the data directory itself.")
        var offline = false

        @OptionGroup var shared: SharedOptions

        func run() throws {
            let finding = offline ? try findOffline() : try findOnline()
            if finding.isGood { return shared.output.show(finding.json, text: finding.text) }
            if shared.json { shared.output.show(finding.json, text: "") }
            throw CommandError(.refused, "the audit log is not whole: " + finding.complaint(shared.command))
        }

        // MARK: A CA that runs

        /// Records that are asked for at once: some tenths of a second for the CA, so that CRLs do not wait.
        private static let page = 20_000
        /// Checkpoints that are sent at once.
        private static let lines = 1_000

        private func findOnline() throws -> AuditFinding {
            let files = try checkpoint.map { try KeptCheckpoints.read($0) }
            var connection = try shared.connect()
            let first = SuspendingClock.now
            var said = first
            func tell(_ words: String) {
                guard SuspendingClock.now - said > (said == first ? .seconds(1) : .seconds(5)) else { return }
                said = SuspendingClock.now
                Output.complain(words)
            }
            var finding = AuditFinding()
            var position: JSON?
            repeat {
                let answer = try shared.ask(
                    &connection, "verify_audit", [("limit", .integer(Self.page)), ("position", position)], timeout: .seconds(600))
                finding.take(walk: answer)
                position = answer["rest"].flatMap { $0.isNull ? nil : $0 }
                tell("\(answer.text("verified")) of \(answer.text("records")) records verified")
            } while position != nil
            var rest = KeptCheckpoints.sorted(files.flatMap { $0 })[...]
            let count = rest.count
            while !rest.isEmpty, finding.kept?["good"]?.boolValue != false {
                let lines = rest.prefix(Self.lines)
                finding.take(
                    kept: try shared.ask(
                        &connection, "compare_checkpoints", [("checkpoints", .array(lines.map { .string($0) }))], timeout: .seconds(600)))
                rest = rest.dropFirst(Self.lines)
                tell("\(count - rest.count) of \(count) checkpoints compared")
            }
            return finding
        }

        // MARK: A CA that does not run

        private func findOffline() throws -> AuditFinding {
            let directory = try shared.directories.locations().dataDirectory
            let answer = try shared.runCoreForJSON(.verifyAudit(dataDirectory: directory, files: checkpoint))
            var finding = AuditFinding()
            finding.take(walk: answer["walk"] ?? .null)
            if let kept = answer["comparison"], !kept.isNull { finding.take(kept: kept) }
            return finding
        }
    }

    struct Checkpoint: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Prints a signed line that proves the log as it is now, to be kept on another machine.",
            discussion:
                "The log of ca-core has such a line at most every ten seconds. `audit verify --checkpoint FILE` holds both against the log."
        )

        @OptionGroup var shared: SharedOptions

        func run() throws {
            let answer = try shared.ask("audit_checkpoint")
            shared.output.show(answer, text: answer.text("line"))
        }
    }

    struct Acknowledge: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Ends the warning of a fault in the audit log, with a record of why.",
            discussion: "`audit verify` shows the fault for ever, and goes on behind the record that this makes.")

        @Option(help: "What was found out about it; it goes into the log.")
        var reason: String

        @OptionGroup var shared: SharedOptions

        func validate() throws {
            guard !reason.isEmpty else { throw ValidationError("--reason is a text") }
        }

        func run() throws {
            let answer = try shared.ask("acknowledge_audit", [("reason", .string(reason))])
            shared.output.show(answer, text: "Acknowledged: the audit log is taken as good from here on.")
        }
    }
}

/// What verifying the audit log found, put together from the answers.
package struct AuditFinding {
    private(set) var walk = JSON.null
    private(set) var kept: JSON?
    private var compared: Int64 = 0
    private var acknowledged: [JSON] = []

    package init() {}

    package mutating func take(walk answer: JSON) {
        self.walk = answer
        self.acknowledged += answer["acknowledged"]?.arrayValue ?? []
    }

    package mutating func take(kept answer: JSON) {
        self.kept = answer
        self.compared += answer["compared"]?.integerValue ?? 0
        self.acknowledged += answer["acknowledged"]?.arrayValue ?? []
    }

    package var isGood: Bool { walk["good"]?.boolValue == true && kept?["good"]?.boolValue != false }

    /// The answer with the fault that lies further back.
    private var worst: JSON {
        guard let kept, kept["good"]?.boolValue == false else { return walk }
        guard walk["good"]?.boolValue == false else { return kept }
        return (walk["first_bad"]?.integerValue ?? .max) <= (kept["first_bad"]?.integerValue ?? .max) ? walk : kept
    }

    package var json: JSON {
        .object([
            .init("good", .bool(isGood)), .init("verified", walk["verified"] ?? .null), .init("records", walk["records"] ?? .null),
            .init("checkpoint", walk["checkpoint"] ?? .null), .init("first_bad", worst["first_bad"] ?? .null),
            .init("fault", worst["fault"] ?? .null),
            .init(
                "kept",
                kept.map { .object([.init("compared", .integer(compared)), .init("proven", $0["proven"] ?? .null)]) } ?? .null),
            .init("acknowledged", .array(acknowledged)),
        ])
    }

    package var text: String {
        var lines = [
            "The audit log is whole: \(walk.text("verified")) records, proven by checkpoints up to number \(walk.text("checkpoint"))."
        ]
        if let kept {
            lines.append("\(compared) checkpoints that were kept elsewhere agree with it, up to record \(kept.text("proven")).")
        }
        lines += acknowledged.map { "Known and acknowledged: \($0.text("fault"))." }
        return lines.joined(separator: "\n")
    }

    package func complaint(_ command: (String) -> String) -> String {
        guard let record = worst["first_bad"]?.integerValue else { return worst.text("fault") }
        return "record \(record): \(worst.text("fault")); \(walk.text("verified")) records follow each other; see: "
            + command("audit show --after \(max(0, record - 2))")
    }
}

/// Checkpoints in texts that were kept elsewhere.
package enum KeptCheckpoints {
    private static let mark = "audit checkpoint v1 "

    /// The lines of checkpoints in a file of any kind, from where they begin.
    /// - Throws: `.refused` when it cannot be read or holds none.
    package static func read(_ path: String) throws(CommandError) -> [String] {
        guard let file = fopen(path, "re") else { throw CommandError(.refused, "\(path): \(String(cString: strerror(errno)))") }
        defer { fclose(file) }
        var lines: [String] = []
        var line: UnsafeMutablePointer<CChar>?
        var capacity = 0
        defer { free(line) }
        while getline(&line, &capacity, file) > 0 {
            guard let line, let start = strstr(line, mark) else { continue }
            lines.append(cut(String(cString: start)))
        }
        guard !lines.isEmpty else {
            throw CommandError(.refused, "\(path) holds no checkpoint: no line with '\(mark)…'; such lines are in ca-core's log")
        }
        return lines
    }

    /// Each once, in the order of the records that they cover: the first that does not fit is then the one nearest to the change.
    package static func sorted(_ lines: [String]) -> [String] {
        func record(_ line: String) -> Int64 { line.split(separator: " ").dropFirst(4).first.flatMap { Int64($0) } ?? 0 }
        return Set(lines).sorted { (record($0), $0) < (record($1), $1) }
    }

    /// Only what a checkpoint is written with: a log in JSON goes on behind it.
    private static func cut(_ text: String) -> String {
        String(
            text.unicodeScalars.prefix {
                $0 == " " || $0 == ":" || $0 == "-" || ("0"..."9").contains($0) || ("A"..."Z").contains($0) || ("a"..."z").contains($0)
            }
            .map { Character($0) })
    }
}
