import Foundation
import Logging
import ProgramLog
import Testing
import Threads

/// A log whose lines arrive as datagrams: one `write(2)` is one datagram.
private final class CapturedLog {
    private let reader: Int32
    private let writer: Int32
    var handler: ProgramLogHandler

    init(_ format: ProgramLog.Format, seconds: Int = 1_795_446_245, nanoseconds: Int = 7_999_999, label: String = "ca-core") {
        var pair: [Int32] = [0, 0]
        socketpair(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0, &pair)
        (self.reader, self.writer) = (pair[0], pair[1])
        self.handler = ProgramLogHandler(
            program: "ca-core", label: label, format: format, output: LineOutput(descriptor: pair[1]), clock: { (seconds, nanoseconds) }
        )
    }

    deinit {
        close(self.reader)
        close(self.writer)
    }

    func log(_ message: String, level: Logger.Level = .info, _ metadata: Logger.Metadata = [:]) {
        self.handler.log(
            event: LogEvent(
                level: level, message: "\(message)", metadata: metadata, source: nil, file: #fileID, function: #function, line: #line)
        )
    }

    /// The next write as text; nil where there was none.
    func next() -> String? {
        var buffer = [UInt8](repeating: 0, count: 100_000)
        let count = recv(self.reader, &buffer, buffer.count, Int32(MSG_DONTWAIT))
        return count > 0 ? String(decoding: buffer[..<count], as: UTF8.self) : nil
    }

    func nextObject() throws -> [String: Any] {
        let line = try #require(self.next())
        #expect(line.hasSuffix("}\n"))
        #expect(line.utf8.count { $0 == UInt8(ascii: "\n") } == 1)
        return try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
    }
}

@Suite("Log lines")
struct ProgramLogTests {
    @Test("a plain line is time, level, message and metadata in order")
    func plain() {
        // `date -u -d @1795446245` says Mon Nov 23 15:04:05 UTC 2026.
        let log = CapturedLog(.plain)
        log.log("started", ["port": "5000", "cn": "a b", "empty": "", "n": .stringConvertible(3)])
        #expect(log.next() == "15:04:05 info  started cn=\"a b\" empty=\"\" n=3 port=5000\n")
        log.log("bad \"thing\"", level: .warning)
        #expect(log.next() == "15:04:05 warn  bad \"thing\"\n")
        log.log("x", level: .error, ["list": ["a", "b"], "map": ["k": "v"]])
        #expect(log.next() == "15:04:05 error x list=\"[a, b]\" map=\"{k: v}\"\n")
        #expect(log.next() == nil)
    }

    @Test("a JSON line holds time, level, program, message and metadata")
    func json() throws {
        let log = CapturedLog(.json)
        log.log(
            "started",
            ["port": .stringConvertible(5000), "dn": "/C=FR/CN=a\\/b", "ok": .stringConvertible(true), "map": ["a": ["b", "c"]]])
        let line = try #require(log.next())
        #expect(
            line
                == "{\"time\":\"2026-11-23T15:04:05.007Z\",\"level\":\"info\",\"program\":\"ca-core\",\"message\":\"started\","
                + "\"dn\":\"/C=FR/CN=a\\\\/b\",\"map\":{\"a\":[\"b\",\"c\"]},\"ok\":true,\"port\":5000}\n"
        )
    }

    @Test(
        "times are right over leap days and centuries, as date(1) prints them",
        arguments: [
            (0, "1970-01-01T00:00:00.007Z"), (951_782_400, "2000-02-29T00:00:00.007Z"), (4_107_542_399, "2100-02-28T23:59:59.007Z"),
            (2_147_483_648, "2038-01-19T03:14:08.007Z"),
        ]
    )
    func times(seconds: Int, expected: String) throws {
        let log = CapturedLog(.json, seconds: seconds)
        log.log("x")
        #expect(try log.nextObject()["time"] as? String == expected)
    }

    static let hostile = [
        "a\nb", "a\r\n15:04:05 info  forged", "\u{1B}[2J\u{1B}]0;x\u{07}", "\u{0}", "\u{85}\u{9B}31m", "\u{2028}\u{2029}",
        "\u{202E}txt.exe",
        "\",\"level\":\"forged", "\\", "\u{7F}", "tab\there", "\u{FEFF}", "é名👩‍👩‍👧",
    ]

    @Test("nothing ends a line or moves a cursor, wherever it stands", arguments: hostile)
    func injection(text: String) throws {
        for format in [ProgramLog.Format.plain, .json] {
            let log = CapturedLog(format)
            log.log(text, ["value": "\(text)", "\(text)": "key", "list": ["\(text)"], "map": ["\(text)": "\(text)"]])
            let line = try #require(log.next())
            #expect(log.next() == nil)
            #expect(line.hasSuffix("\n"))
            for scalar in line.dropLast().unicodeScalars {
                let category = scalar.properties.generalCategory
                #expect(![.control, .lineSeparator, .paragraphSeparator, .format].contains(category), "\(scalar.value)")
            }
        }
    }

    @Test("JSON gives every text back as it was", arguments: hostile)
    func jsonRoundTrip(text: String) throws {
        let log = CapturedLog(.json)
        log.log(text, ["value": "\(text)"])
        let object = try log.nextObject()
        #expect(object["message"] as? String == text)
        #expect(object["value"] as? String == text)
    }

    @Test("metadata cannot take the place of a field of the line")
    func ownKeys() throws {
        let log = CapturedLog(.json)
        log.log("x", level: .error, ["level": "forged", "message": "forged", "time": "forged", "program": "forged"])
        let object = try log.nextObject()
        #expect(object["level"] as? String == "error")
        #expect(object["message"] as? String == "x")
        #expect(object["program"] as? String == "ca-core")
        #expect(object["level_"] as? String == "forged")
    }

    @Test(
        "a line has at most 8 KiB, stays whole JSON and says that it was cut",
        arguments: ["a", "\n", "\u{1}", "é", "👩", "\""]
    )
    func length(unit: String) throws {
        let long = String(repeating: unit, count: 50_000)
        var deep = Logger.MetadataValue.string(long)
        for _ in 0..<1000 { deep = .array([deep, deep]) }
        let values: [Logger.Metadata] = [
            [:], ["a": "\(long)"], ["a": "\(long)", "b": "\(long)", "c": "\(long)", "d": "x"],
            Dictionary(uniqueKeysWithValues: (0..<2000).map { ("key\($0)", "value \(unit)") }),
            ["list": .array(Array(repeating: "\(unit)", count: 9000))],
            ["deep": deep], ["\(long)": "x"],
        ]
        for (index, metadata) in values.enumerated() {
            for message in ["short", long] {
                let log = CapturedLog(.json)
                log.log(message, metadata)
                let line = try #require(log.next())
                #expect(line.utf8.count <= 8192)
                let object = try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
                if message == long || (1...4).contains(index) { #expect(object["truncated"] as? Bool == true) }
                if message == "short" { #expect(object["message"] as? String == "short") }
                let plain = CapturedLog(.plain)
                plain.log(message, metadata)
                let text = try #require(plain.next())
                #expect(text.utf8.count <= 8192)
                #expect(text.hasSuffix("\n") && text.utf8.count { $0 == UInt8(ascii: "\n") } == 1)
            }
        }
    }

    @Test("metadata of the logger, of the provider and of the message come together, the message's first")
    func merging() throws {
        let log = CapturedLog(.json, label: "relay")
        log.handler.metadata = ["a": "logger", "b": "logger", "c": "logger"]
        log.handler.metadataProvider = Logger.MetadataProvider { ["b": "provider", "c": "provider"] }
        log.handler[metadataKey: "d"] = "set"
        log.log("x", ["c": "message"])
        let object = try log.nextObject()
        #expect(object["a"] as? String == "logger")
        #expect(object["b"] as? String == "provider")
        #expect(object["c"] as? String == "message")
        #expect(object["d"] as? String == "set")
        #expect(object["label"] as? String == "relay")
    }

    @Test(
        "auto is plain on a terminal without a supervisor, else JSON",
        arguments: [
            (.auto, false, true, .plain), (.auto, true, true, .json), (.auto, false, false, .json), (.auto, true, false, .json),
            (.plain, true, false, .plain), (.json, false, true, .json),
        ] as [(ProgramLog.Format, Bool, Bool, ProgramLog.Format)]
    )
    func format(asked: ProgramLog.Format, hasSupervisor: Bool, isTerminal: Bool, expected: ProgramLog.Format) {
        #expect(ProgramLog.resolve(asked, hasSupervisor: hasSupervisor, isTerminal: isTerminal) == expected)
    }

    /// On threads of their own: readers and writers that wait for each other would take every thread that tasks have, and none would go on.
    @Test("lines of many threads do not mix, even over a pipe's 4096 bytes")
    func threads() throws {
        var pair: [Int32] = [0, 0]
        #expect(pipe(&pair) == 0)
        let (reader, writer) = (pair[0], pair[1])
        defer { close(reader) }
        let output = LineOutput(descriptor: writer)
        let writers = try (0..<4).map { thread in
            try OwnedThread(name: "writer-\(thread)") {
                let handler = ProgramLogHandler(program: "p", label: "p", format: .json, output: output)
                var logger = Logger(label: "p", factory: { _ in handler })
                logger.logLevel = .info
                for number in 0..<100 {
                    logger.info(
                        "\(String(repeating: "x", count: 3900))",
                        metadata: ["n": "\(thread)-\(number)", "pad": "\(String(repeating: "y", count: 2000))"])
                }
            }
        }
        let closing = try OwnedThread(name: "closing") {
            for thread in writers { thread.join() }
            close(writer)
        }
        var received: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while case let count = read(reader, &buffer, buffer.count), count > 0 { received += buffer[..<count] }
        closing.join()
        let lines = received.split(separator: UInt8(ascii: "\n"))
        #expect(lines.count == 400)
        var seen: Set<String> = []
        for line in lines {
            let object = try #require(try JSONSerialization.jsonObject(with: Data(line)) as? [String: Any])
            seen.insert(try #require(object["n"] as? String))
        }
        #expect(seen.count == 400)
    }

    @Test("a reader that is gone does not stop the program")
    func closedPipe() {
        signal(SIGPIPE, SIG_IGN)
        var pair: [Int32] = [0, 0]
        #expect(pipe(&pair) == 0)
        close(pair[0])
        let handler = ProgramLogHandler(program: "p", label: "p", format: .plain, output: LineOutput(descriptor: pair[1]))
        handler.log(event: LogEvent(level: .info, message: "lost", metadata: nil, source: nil, file: "", function: "", line: 0))
        close(pair[1])
    }

    @Test("bootstrap counts once")
    func bootstrap() {
        #expect(ProgramLog.bootstrap(program: "test", format: .json, level: .critical))
        #expect(!ProgramLog.bootstrap(program: "test", format: .plain, level: .trace))
        #expect(Logger(label: "x").logLevel == .critical)
    }

    @Test("for the journal each word of metadata is a field, a kind of message has its id, and a value may hold anything")
    func journal() throws {
        let fields = JournalOutput.fields(
            "ca-core", .notice, "revoke /CN=a\nPRIORITY=0", [("event", "revoked"), ("task", "revoke"), ("dn", "/CN=a\nMESSAGE_ID=0")]
        ).map { String(decoding: $0, as: UTF8.self) }
        // systemd.journal-fields(7); priorities are syslog's.
        #expect(
            fields.contains("MESSAGE=revoke /CN=a\nPRIORITY=0") && fields.contains("PRIORITY=5")
                && fields.contains("SYSLOG_IDENTIFIER=ca-core"))
        #expect(fields.contains("UPKI_TASK=revoke") && fields.contains("UPKI_DN=/CN=a\nMESSAGE_ID=0"))
        #expect(fields.filter { $0.hasPrefix("MESSAGE_ID=") } == ["MESSAGE_ID=\(JournalEvent.revoked.messageID)"])
        #expect(fields.filter { $0.hasPrefix("PRIORITY=") } == ["PRIORITY=5"])
    }

    @Test("the catalog explains each kind of message, and nothing else")
    func catalog() throws {
        let path = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent(
            "../../deploy/systemd/upki-ca.catalog")
        let catalog = try String(contentsOf: path, encoding: .utf8)
        let ids = catalog.split(separator: "\n").filter { $0.hasPrefix("-- ") }.map { String($0.dropFirst(3)) }
        #expect(Set(ids) == Set(JournalEvent.allCases.map(\.messageID)) && ids.count == JournalEvent.allCases.count)
        #expect(ids.allSatisfy { $0.count == 32 && $0.allSatisfy(\.isHexDigit) })
    }
}
