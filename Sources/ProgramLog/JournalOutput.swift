// Messages for systemd's journal, each with its fields (sd_journal_sendv(3)).

private import CSystemd
private import Glibc
package import Logging

/// The fields of one message, and the way to the journal.
package enum JournalOutput {
    /// Whether standard error is a stream of the journal (systemd.exec(5), `JOURNAL_STREAM`): then the journal takes fields too.
    package static var isStandardError: Bool {
        guard let text = getenv("JOURNAL_STREAM").map({ String(cString: $0) }) else { return false }
        let parts = text.split(separator: ":")
        var status = stat()
        guard parts.count == 2, fstat(STDERR_FILENO, &status) == 0 else { return false }
        return UInt64(parts[0]) == UInt64(status.st_dev) && UInt64(parts[1]) == UInt64(status.st_ino)
    }

    /// `NAME=value` for each field. Metadata becomes `UPKI_` and its key; `event` becomes the MESSAGE_ID as well.
    package static func fields(
        _ program: String, _ level: Logger.Level, _ message: String, _ metadata: [(key: String, value: String)]
    ) -> [[UInt8]] {
        var fields = [
            field("MESSAGE", message), field("PRIORITY", String(priority(level))), field("SYSLOG_IDENTIFIER", program),
        ]
        for (key, value) in metadata {
            fields.append(field("UPKI_" + name(key), value))
            if key == "event", let event = JournalEvent(rawValue: value) { fields.append(field("MESSAGE_ID", event.messageID)) }
        }
        return fields
    }

    /// Hands a message over. A journal that does not take it loses it: the log must not stop the program.
    package static func send(_ fields: [[UInt8]]) {
        // One array that does not move while the kernel reads from it.
        let all = fields.flatMap { $0 }
        all.withUnsafeBytes { bytes in
            guard let start = bytes.baseAddress else { return }
            var vectors: [iovec] = []
            var offset = 0
            for field in fields {
                vectors.append(iovec(iov_base: UnsafeMutableRawPointer(mutating: start + offset), iov_len: field.count))
                offset += field.count
            }
            _ = sd_journal_sendv(vectors, Int32(vectors.count))
        }
    }

    private static let longestValue = 8_192

    private static func field(_ name: String, _ value: String) -> [UInt8] {
        Array(name.utf8) + [UInt8(ascii: "=")] + value.utf8.prefix(longestValue)
    }

    /// A field's name has capitals, digits and underscores.
    private static func name(_ key: String) -> String {
        String(
            decoding: key.utf8.prefix(58).map { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"): byte - 32
                case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"): byte
                default: UInt8(ascii: "_")
                }
            }, as: UTF8.self)
    }

    /// syslog(3).
    private static func priority(_ level: Logger.Level) -> Int {
        switch level {
        case .trace, .debug: 7
        case .info: 6
        case .notice: 5
        case .warning: 4
        case .error: 3
        case .critical: 2
        }
    }
}
