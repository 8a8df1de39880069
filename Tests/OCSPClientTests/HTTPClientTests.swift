// The HTTP client against a server that does what a test says, byte by byte.
import Foundation
import Glibc
import OCSPClient
import Synchronization
import TestPrograms
import Testing

/// Listens on a unix socket and serves one connection after another, each by its own script.
private final class ScriptedServer: Sendable {
    /// What happens on one connection.
    enum Act: Sendable {
        /// Reads up to the empty line, and so many octets of a body.
        case read(body: Int = 0)
        case write(String)
        /// Until the client is gone.
        case wait
    }

    let directory: String
    var path: String { "\(directory)/s" }
    private let listener: Int32
    private let heard = HeardTexts()

    init(_ connections: [[Act]]) throws {
        var template = Array("/tmp/upki-http-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw TestFailure("mkdtemp: \(errno)") }
        directory = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let listener = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let path = "\(directory)/s"
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(listener, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
        }
        guard result == 0, listen(listener, 8) == 0 else { throw TestFailure("bind: \(errno)") }
        self.listener = listener
        let heard = heard
        Thread.detachNewThread {
            for acts in connections {
                let connection = accept(listener, nil, nil)
                guard connection >= 0 else { return }
                for act in acts { Self.perform(act, connection, heard) }
                close(connection)
            }
        }
    }

    private static func perform(_ act: Act, _ connection: Int32, _ heard: HeardTexts) {
        func next() -> UInt8? {
            var byte: UInt8 = 0
            return recv(connection, &byte, 1, 0) == 1 ? byte : nil
        }
        switch act {
        case .read(let body):
            var text: [UInt8] = []
            while !text.suffix(4).elementsEqual("\r\n\r\n".utf8), let byte = next() { text.append(byte) }
            for _ in 0..<body { if let byte = next() { text.append(byte) } }
            heard.append(String(decoding: text, as: UTF8.self))
        case .write(let text): _ = text.withCString { send(connection, $0, strlen($0), Int32(MSG_NOSIGNAL)) }
        case .wait: while next() != nil {}
        }
    }

    var requests: [String] { heard.all }

    func end() {
        shutdown(listener, Int32(SHUT_RDWR))
        close(listener)
        try? FileManager.default.removeItem(atPath: directory)
    }
}

private final class HeardTexts: Sendable {
    private let texts = Mutex<[String]>([])
    func append(_ text: String) { texts.withLock { $0.append(text) } }
    var all: [String] { texts.withLock { $0 } }
}

@Suite("The HTTP client")
struct HTTPClientTests {
    private func with(_ connections: [ScriptedServer.Act]..., body: (ScriptedServer) throws -> Void) throws {
        let server = try ScriptedServer(connections)
        defer { server.end() }
        try body(server)
    }

    private static let ok = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nContent-Length: 3\r\nX-Two:  a b \t\r\n\r\nabc"

    @Test("GET, HEAD and POST go out as they should, one after another on one connection, and answers are taken apart")
    func exchange() throws {
        try with([
            .read(), .write(Self.ok), .read(body: 4), .write(Self.ok), .read(),
            .write("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"), .read(),
            .write("HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n"),
            .wait,
        ]) { server in
            var client = try HTTPClient(socket: server.path)
            let first = try client.get("/a//b", headers: [("If-None-Match", "\"x\"")])
            #expect(first.status == 200 && first.body == Array("abc".utf8))
            #expect(first.header("content-type") == "text/plain" && first.header("x-two") == "a b")
            #expect(try client.post("/", contentType: "application/ocsp-request", body: Array("1234".utf8)).body == Array("abc".utf8))
            let head = try client.head("/c")
            #expect(head.body.isEmpty && head.header("content-length") == "99")
            let unchanged = try client.get("/c")
            #expect(unchanged.status == 304 && unchanged.body.isEmpty)
            #expect(
                server.requests == [
                    "GET /a//b HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: \"x\"\r\n\r\n",
                    "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/ocsp-request\r\nContent-Length: 4\r\n\r\n1234",
                    "HEAD /c HTTP/1.1\r\nHost: localhost\r\n\r\n", "GET /c HTTP/1.1\r\nHost: localhost\r\n\r\n",
                ])
        }
    }

    @Test("a connection that the server closed between two requests is made anew; an announced end too")
    func reconnects() throws {
        let closing = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        try with([.read(), .write(Self.ok)], [.read(), .write(closing)], [.read(), .write(Self.ok), .wait]) { server in
            var client = try HTTPClient(socket: server.path)
            for _ in 0..<3 { #expect(try client.get("/").status == 200) }
            #expect(server.requests.count >= 3)
        }
    }

    @Test(
        "what is no answer, has no length or a longer one than is due is refused",
        arguments: [
            "SSH-2.0-OpenSSH\r\n\r\n", "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 65537\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\na", "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab",
        ])
    func refuses(answer: String) throws {
        try with([.read(), .write(answer), .wait]) { server in try expect(.badHTTP, "", from: server.path) }
    }

    @Test("a header field of 40,000 bytes is refused")
    func refusesLongField() throws { try self.refuses(answer: "HTTP/1.1 200 OK\r\nX: " + String(repeating: "x", count: 40_000)) }

    private func expect(
        _ code: OCSPClientError.Code, _ words: String, from socket: String, timeout: Duration = .seconds(5),
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        do throws(OCSPClientError) {
            var client = try HTTPClient(socket: socket, timeout: timeout)
            let answer = try client.get("/")
            Issue.record("taken: \(answer)", sourceLocation: sourceLocation)
        } catch {
            #expect(
                error.code == code && (words.isEmpty || error.message.contains(words)), "\(error.code): \(error)",
                sourceLocation: sourceLocation)
        }
    }

    @Test("an answer that does not come, or ends too early, is no answer; nobody at the socket is told apart from that")
    func noAnswer() throws {
        try with([.read(), .write("HTTP/1.1 200 OK\r\nContent-Len"), .wait]) { server in
            try expect(.timedOut, "no whole answer", from: server.path, timeout: .milliseconds(50))
        }
        try with([.read(), .write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc")]) { server in
            try expect(.unreachable, "before its answer was whole", from: server.path)
        }
        try expect(.unreachable, "nobody answers at /nonexistent/s", from: "/nonexistent/s")
        try expect(.unreachable, "1 to 107 bytes", from: String(repeating: "x", count: 108))
    }
}
