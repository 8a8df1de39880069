// A sign of life for whoever waits: one line on the terminal behind standard error, gone when the work is done.

import Console
import Glibc
import Threads

/// Shows that something takes its time. Where standard error is no terminal nothing is shown: a log wants results.
enum Progress {
    private static let patience: UInt64 = 1_000_000_000

    /// Runs `body`; after a second it says what is being done, and every second for how long.
    static func during<Result, Failure: Error>(_ what: String, _ body: () throws(Failure) -> Result) throws(Failure) -> Result {
        guard isatty(STDERR_FILENO) == 1, let done = try? Mailbox<Bool>() else { return try body() }
        let line = Line()
        let thread = try? OwnedThread(name: "progress") {
            var ended: [Bool] = []
            var seconds = 0
            while done.take(upTo: 1, into: &ended, within: Self.patience), ended.isEmpty {
                seconds += 1
                line.show("\(what) … \(seconds) s")
            }
            line.clear()
        }
        defer {
            done.post(true)
            thread?.join()
        }
        return try body()
    }

    /// A line that stays, in the place of the one that does not.
    static func complain(_ message: String) {
        Line().clear()
        Output.complain(message)
    }

    /// One line that is written over.
    struct Line: Sendable {
        private let isShown = isatty(STDERR_FILENO) == 1
        private let width = Output.terminalWidth(STDERR_FILENO)

        func show(_ text: String) {
            guard isShown else { return }
            // What is wider than the terminal could not be taken back.
            put("\r\u{1b}[K" + String(TextWrap.lines(TextWidth.printable(text), width: max(1, width - 1)).first ?? ""))
        }

        func clear() {
            if isShown { put("\r\u{1b}[K") }
        }

        private func put(_ text: String) { _ = text.withCString { write(STDERR_FILENO, $0, strlen($0)) } }
    }
}
