// Reads systemd's journal (sd-journal(3)).
import CSystemd
import Glibc

/// What went wrong with the journal.
public struct JournalError: Error, CustomStringConvertible, Sendable {
    public let message: String
    public var description: String { message }
}

/// One message.
public struct JournalEntry: Sendable, Equatable {
    /// Microseconds since 1970.
    public var time: UInt64
    /// Text fields by name; a field that stands twice has its last value.
    public var fields: [String: String]

    public init(time: UInt64, fields: [String: String]) {
        self.time = time
        self.fields = fields
    }
}

/// The messages of some units. Calls block; it belongs to one thread.
public final class JournalReader {
    private let journal: OpaquePointer
    private static let longestField = 64 << 10

    /// - Parameters:
    ///   - units: their services' names.
    ///   - matches: fields that a message must have, each with that value.
    public init(units: [String], matches: [(name: String, value: String)] = []) throws(JournalError) {
        var opened: OpaquePointer?
        let code = sd_journal_open(&opened, Int32(SD_JOURNAL_LOCAL_ONLY))
        guard code >= 0, let opened else {
            throw JournalError(message: "the journal cannot be opened: \(String(cString: strerror(-code)))")
        }
        journal = opened
        // Values of one field are alternatives; several fields must all fit.
        for (name, value) in units.map({ ("_SYSTEMD_UNIT", $0) }) + matches {
            let match = "\(name)=\(value)"
            let code = match.withCString { sd_journal_add_match(opened, $0, match.utf8.count) }
            guard code >= 0 else { throw JournalError(message: "the journal does not take \(match): \(String(cString: strerror(-code)))") }
        }
        sd_journal_set_data_threshold(opened, Self.longestField)
    }

    deinit { sd_journal_close(journal) }

    /// Goes to before the last messages.
    public func seek(last count: Int) throws(JournalError) {
        try check(sd_journal_seek_tail(journal))
        guard count > 0 else {
            // Behind the last one: what comes is new.
            _ = sd_journal_previous(journal)
            return
        }
        // It stops at the first message, which `next` would then pass over.
        if Int(try check(sd_journal_previous_skip(journal, UInt64(count) + 1))) <= count { try check(sd_journal_seek_head(journal)) }
    }

    /// Goes to before the first message from a time on, in microseconds since 1970.
    public func seek(time: UInt64) throws(JournalError) { try check(sd_journal_seek_realtime_usec(journal, time)) }

    /// The next message; nil where there is none yet.
    public func next() throws(JournalError) -> JournalEntry? {
        guard try check(sd_journal_next(journal)) > 0 else { return nil }
        var time: UInt64 = 0
        try check(sd_journal_get_realtime_usec(journal, &time))
        var fields: [String: String] = [:]
        sd_journal_restart_data(journal)
        var data: UnsafeRawPointer?
        var length = 0
        while try check(sd_journal_enumerate_available_data(journal, &data, &length)) > 0 {
            guard let data else { continue }
            let bytes = UnsafeRawBufferPointer(start: data, count: length)
            guard let sign = bytes.firstIndex(of: UInt8(ascii: "=")) else { continue }
            fields[String(decoding: bytes[..<sign], as: UTF8.self)] = String(decoding: bytes[(sign + 1)...], as: UTF8.self)
        }
        return JournalEntry(time: time, fields: fields)
    }

    /// Waits until there may be more.
    public func wait(milliseconds: UInt64) throws(JournalError) { try check(sd_journal_wait(journal, milliseconds * 1_000)) }

    @discardableResult
    private func check(_ code: Int32) throws(JournalError) -> Int32 {
        guard code >= 0 else { throw JournalError(message: "the journal cannot be read: \(String(cString: strerror(-code)))") }
        return code
    }
}
