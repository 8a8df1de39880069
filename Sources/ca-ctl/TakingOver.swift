// `crl import`: sends a CRL that this CA's key signed elsewhere to ca-core, piece by piece, and has its revocations taken over.

import AdminLink
import ArgumentParser
import Console
import Glibc
import PKI
import UPKIProtocol

extension RevocationLists {
    struct Import: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Takes over what a CRL revokes that this CA's key signed elsewhere.",
            discussion: """
                After a recovery from the seed or from a backup. What is revoked here already stays; doing it twice changes nothing, and
                what was interrupted is finished by doing it again. A new CRL is published at the end.
                """)

        @Argument(help: "The CRL, DER or PEM; - is standard input.", completion: .file())
        var file: String

        @OptionGroup var shared: SharedOptions

        /// Its base64 has 512 KiB.
        private static let pieceLength = 384 << 10
        /// A list of a gigabyte is proven in one step.
        private static let patience = Duration.seconds(600)

        func run() throws {
            let descriptor = file == "-" ? STDIN_FILENO : open(file, O_RDONLY | O_CLOEXEC)
            guard descriptor >= 0 else { throw CommandError(.refused, "\(file): \(String(cString: strerror(errno)))") }
            defer { if descriptor != STDIN_FILENO { close(descriptor) } }
            var connection = try shared.connect()
            let upload = JSON.string(Self.freshName())
            var progress = StepProgress()
            var answer = try send(descriptor, upload, &connection, &progress)
            while answer["state"] != "done" {
                progress.say("taken over: \(answer.text("done")) of \(answer.text("entries")) entries")
                answer = try shared.ask(&connection, "import_crl", [("upload", upload)], timeout: Self.patience)
            }
            progress.end()
            if let note = answer["recovery"]?["note"]?.stringValue { Output.complain("note: \(note)") }
            shared.output.show(answer, text: "\(TakenOverText.line(answer))\nPublished: CRL \(answer.text("crl")).")
        }

        /// - Returns: the answer to the last piece, which says what the CRL is.
        private func send(
            _ descriptor: Int32, _ upload: JSON, _ connection: inout CAConnection, _ progress: inout StepProgress
        ) throws -> JSON {
            var sent = 0
            while true {
                let piece = try readPiece(descriptor)
                let isLast = piece.count < Self.pieceLength
                let data = String(decoding: Base64.encode(piece), as: UTF8.self)
                let answer = try Progress.during(isLast ? "proving the CRL" : "sending the CRL") {
                    try shared.ask(
                        &connection, "import_crl",
                        [("upload", upload), ("offset", .integer(sent)), ("data", .string(data)), ("last", .bool(isLast))],
                        timeout: Self.patience)
                }
                sent += piece.count
                if isLast { return answer }
                progress.say("sent: \(sent >> 20) MiB")
            }
        }

        /// A whole piece, or what is left.
        private func readPiece(_ descriptor: Int32) throws -> [UInt8] {
            var bytes = [UInt8](repeating: 0, count: Self.pieceLength)
            var used = 0
            while used < bytes.count {
                let count = bytes.withUnsafeMutableBytes { read(descriptor, $0.baseAddress.map { $0 + used }, $0.count - used) }
                if count < 0, errno == EINTR { continue }
                guard count >= 0 else { throw CommandError(.refused, "\(file): \(String(cString: strerror(errno)))") }
                if count == 0 { break }
                used += count
            }
            return Array(bytes[..<used])
        }

        private static func freshName() -> String { String(UInt64.random(in: .min ... .max), radix: 36) }
    }
}

extension Certificates {
    struct Adopt: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Makes certificates known that this CA's key signed before its store was lost.",
            discussion: """
                Afterwards they are shown, revoked and renewed as all others. Adopt them before new ones are issued for the same names:
                what was adopted last counts as the newest of its name.
                """)

        @Argument(help: "Certificates in PEM, one in each file.", completion: .file())
        var files: [String]

        @Option(help: "The profile that renewals follow.")
        var profile = "server"

        @OptionGroup var shared: SharedOptions

        func run() throws {
            var connection = try shared.connect()
            var progress = StepProgress()
            for (number, file) in files.enumerated() {
                let certificate = try NamedFile.readText(file)
                let answer: JSON
                do {
                    answer = try shared.ask(
                        &connection, "adopt_certificate", [("certificate", .string(certificate)), ("profile", .string(profile))])
                } catch let error as CommandError {
                    progress.end()
                    throw CommandError(error.code, "\(file): \(error.message)")
                }
                progress.end()
                let state = answer["revoked"] == true ? ", revoked" : ""
                shared.output.show(
                    answer,
                    text:
                        "\(answer["new"] == true ? "Adopted" : "Known already"): \(answer.text("dn")), serial \(answer.text("serial"))\(state)."
                )
                progress.say("adopted: \(number + 1) of \(files.count)")
            }
        }
    }
}

/// Says once a second, on the line of `Progress`, how far something is that takes longer.
struct StepProgress {
    private let line = Progress.Line()
    private var lastWord = SuspendingClock.now

    mutating func say(_ text: @autoclosure () -> String) {
        guard SuspendingClock.now >= lastWord.advanced(by: .seconds(1)) else { return }
        lastWord = .now
        line.show(text())
    }

    func end() { line.clear() }
}

enum TakenOverText {
    /// What became of a CRL, in one line for a person.
    static func line(_ list: JSON) -> String {
        let number = list["number"].map { $0.isNull ? "without a number" : JSONText.plain($0) } ?? ""
        var line =
            "Taken over: CRL \(number) of \(list.text("this_update")) with \(list.text("entries")) entries: \(list.text("new")) new, "
            + "\(list.text("replaced")) replaced, \(list.text("standing")) stood already."
        if let count = list["keys_not_blocked"]?.integerValue, count > 0 {
            line += " \(count) for keyCompromise are of certificates that are not known here: their keys cannot be blocked."
        }
        if let count = list["unusable"]?.integerValue, count > 0 {
            line += " \(count) revoke nothing (serial number 0, or removeFromCRL) and were left out."
        }
        return line
    }
}
