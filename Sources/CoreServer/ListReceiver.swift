// The CRL that ca-ctl sends over admin.sock, in pieces, and the work on it, step by step: one at a time.

import Authority
import Logging
import PKI
import Tasks
internal import Threads
import UPKIProtocol

/// What was sent so far, or how far the work is.
struct ListReceiver {
    private enum State {
        case idle
        case receiving(ListFile)
        case working(ListTakeover)
    }

    private var state = State.idle
    private var upload = ""
    private var lastHeard = MonotonicTime.now

    /// A sender that was not heard for so long is gone, in milliseconds.
    private static let patience = 60_000
    /// How long one step may take, in milliseconds: other work of the publisher comes in between.
    private static let stepTime = 500

    /// Takes a piece, or does a step of the work where none comes.
    ///
    /// - Parameters:
    ///   - directory: where the CRL waits, in a file without a name.
    ///   - commit: has the writer commit a change, and waits for it.
    ///   - publish: publishes a CRL with what was taken over.
    mutating func take(
        _ piece: ListPiece, of authority: Authority, temporary directory: String, log: Logger, commit: ListTakeover.Committing,
        publish: () throws -> Void
    ) throws -> JSON {
        try self.turn(to: piece, temporary: directory)
        self.lastHeard = .now
        do {
            if piece.data != nil || piece.isLast { return try self.receive(piece, authority, directory, log) }
            return try self.work(authority, log, commit, publish)
        } catch {
            // Whatever went wrong, the next attempt begins at the beginning; what was committed stays.
            self.drop()
            if let error = error as? CoreError { throw Refusal(.requestRefused, "Request refused: \(error)") }
            throw error
        }
    }

    /// Frees what a sender that is gone has left.
    mutating func dropWhatWasLeft() {
        if case .idle = self.state { return }
        if self.isLeft { self.drop() }
    }

    private var isLeft: Bool { self.lastHeard.milliseconds(until: .now) > Self.patience }

    private mutating func drop() {
        self.state = .idle
        self.upload = ""
    }

    /// Begins a new CRL, or makes sure that the piece is of the one that was begun.
    private mutating func turn(to piece: ListPiece, temporary directory: String) throws {
        if piece.upload == self.upload, piece.offset > 0 || piece.data == nil { return }
        guard piece.offset == 0, piece.data != nil || piece.isLast else {
            throw Refusal(
                .notFound, "Upload not found: nothing is known of the CRL '\(piece.upload)' any more; begin again with: ca-ctl crl import")
        }
        if case .idle = self.state {
        } else if piece.upload != self.upload, !self.isLeft {
            throw Refusal(.busy, "Busy: another CRL is being taken over; try again when that is done")
        }
        do { self.state = .receiving(try ListFile(in: directory)) } catch { throw Refusal(.storage, "Storage error: \(error)") }
        self.upload = piece.upload
    }

    private mutating func receive(_ piece: ListPiece, _ authority: Authority, _ directory: String, _ log: Logger) throws -> JSON {
        guard case .receiving(let file) = self.state, piece.offset == file.byteCount else {
            throw Refusal(.invalidParameter, "Invalid offset parameter: it is how many bytes of this CRL were sent before")
        }
        guard file.byteCount + (piece.data?.count ?? 0) <= ListFile.limit else {
            throw Refusal(.requestRefused, "Request refused: a CRL may have \(ListFile.limit) bytes")
        }
        do { try file.append(piece.data ?? []) } catch { throw Refusal(.storage, "Storage error: the CRL could not be kept: \(error)") }
        guard piece.isLast else {
            return .object([.init("state", "receiving"), .init("bytes", .integer(file.byteCount))])
        }
        let takeover = try ListTakeover(file, named: "the CRL", for: authority, temporary: directory)
        log.info("taking over \(takeover.facts.text)", metadata: ["entries": "\(takeover.entries)"])
        self.state = .working(takeover)
        return self.describe(takeover, "working")
    }

    private mutating func work(
        _ authority: Authority, _ log: Logger, _ commit: ListTakeover.Committing, _ publish: () throws -> Void
    ) throws -> JSON {
        guard case .working(var takeover) = self.state else {
            throw Refusal(.invalidParameter, "Invalid data parameter: the CRL was not sent to its end yet")
        }
        let start = MonotonicTime.now
        repeat { try takeover.step(commit) } while !takeover.isFinished && start.milliseconds(until: .now) < Self.stepTime
        guard takeover.isFinished else {
            self.state = .working(takeover)
            return self.describe(takeover, "working")
        }
        try publish()
        self.drop()
        let state = authority.state
        log.notice(
            "took over \(takeover.facts.text): \(takeover.count.text)\(state.recoveryNote.map { "; \($0.sentence)" } ?? "")")
        return .object(
            (self.describe(takeover, "done").objectValue ?? []) + [
                .init("crl", .number(state.crlNumber.decimal)), .init("recovery", state.recoveryNote.map(\.json) ?? .null),
            ])
    }

    private func describe(_ takeover: ListTakeover, _ state: String) -> JSON {
        .object([.init("state", .string(state))] + takeover.members())
    }
}

extension ListTakeover {
    /// The members that say what became of a list.
    func members() -> [JSON.Member] {
        [
            .init("number", self.facts.number.map { .number($0.decimal) } ?? .null),
            .init("this_update", .string(self.facts.thisUpdate.rfc3339)), .init("entries", .integer(self.entries)),
            .init("done", .integer(self.done)), .init("new", .integer(self.count.new)), .init("replaced", .integer(self.count.replaced)),
            .init("standing", .integer(self.count.standing)), .init("keys_not_blocked", .integer(self.count.keysNotBlocked)),
            .init("unusable", .integer(self.unusable)),
        ]
    }
}
