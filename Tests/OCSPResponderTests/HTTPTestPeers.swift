// What the tests of the HTTP server talk with: a responder whose answers they decide, and a client that sends bytes as they are.

import Foundation
import Glibc
import OCSPResponder
import Synchronization
import Testing

/// Answers what its tests want it to answer; a "request" is the DER of one INTEGER in a SEQUENCE, and its number decides.
final class DecidedAnswers: OCSPAnswering {
    private struct State {
        var documents: [OCSPResponder.PublishedDocument.Kind: PublishedDocument] = [:]
        var complaints: [String] = []
        var maximumAge: Int64 = 300
        var held: [(number: UInt8, loop: Int, deliver: @Sendable (OCSPAnswer) -> Void)] = []
        var loops: Set<Int> = []
    }

    private let state = Mutex(State())
    private let holds = DispatchSemaphore(value: 0)

    /// From this number on answers are held until the test gives them.
    static let firstHeld: UInt8 = 0x40

    static func request(_ number: UInt8) -> [UInt8] { [0x30, 0x03, 0x02, 0x01, number] }

    /// 0x00 is answered with what nobody may keep.
    static func answer(_ number: UInt8) -> OCSPAnswer {
        OCSPAnswer(
            kind: number == 0 ? .unknown : .good, der: [0x30, 0x82, 0xFF, number], lifetime: number == 0 ? nil : HTTPTestServer.lifetime,
            tag: 0x0123_4567_89AB_CDE0 | UInt64(number & 0xF), wasCached: number != 0)
    }

    func answer(_ request: UnsafeRawBufferPointer, on loop: Int, deliver: @escaping @Sendable (OCSPAnswer) -> Void) -> OCSPAnswer? {
        self.state.withLock { _ = $0.loops.insert(loop) }
        // Contents of which no length or number is meant: the answer repeats them.
        if request.count > 2, request[2] >= 0xF0 { return OCSPAnswer(kind: .good, der: Array(request)) }
        guard request.count == 5, let number = request.last, number < 0x80, request.elementsEqual(Self.request(number)) else {
            return OCSPAnswer(kind: .malformedRequest, der: [0x30, 0x03, 0x0A, 0x01, 0x01])
        }
        guard number >= Self.firstHeld else { return Self.answer(number) }
        self.state.withLock { $0.held.append((number, loop, deliver)) }
        self.holds.signal()
        return nil
    }

    /// The requests that are held, in their order.
    var heldNumbers: [UInt8] { self.state.withLock { $0.held.map(\.number) } }

    /// Waits until one more request is held.
    func waitForHeld() { #expect(self.holds.wait(timeout: .now() + 20) == .success) }

    /// Gives the answer to the request with this number.
    func give(_ number: UInt8, _ hop: [@Sendable (@escaping @Sendable () -> Void) -> Void]) throws {
        let held = self.state.withLock { state in
            state.held.firstIndex { $0.number == number }.map { state.held.remove(at: $0) }
        }
        let (_, loop, deliver) = try #require(held)
        hop[loop]({ deliver(Self.answer(number)) })
    }

    func publish(_ kind: PublishedDocument.Kind, _ document: PublishedDocument) { self.state.withLock { $0.documents[kind] = document } }

    func document(_ kind: PublishedDocument.Kind) -> PublishedDocument? { self.state.withLock { $0.documents[kind] } }

    func configure(maximumAge: Int64) { self.state.withLock { $0.maximumAge = maximumAge } }

    var maximumAge: Int64 { self.state.withLock { $0.maximumAge } }

    func complain(_ complaints: [String]) { self.state.withLock { $0.complaints = complaints } }

    var complaints: [String] { self.state.withLock { $0.complaints } }

    var loops: Set<Int> { self.state.withLock { $0.loops } }
}

/// A server in a folder of its own, at the second that RFC 9110 5.6.7 gives as its example.
final class HTTPTestServer {
    /// Sun, 06 Nov 1994 08:49:37 GMT.
    static let now: Int64 = 784_111_777
    static let lifetime = OCSPAnswer.Lifetime(thisUpdate: now - 37, nextUpdate: now + 3_600)

    let directory: String
    let responder = DecidedAnswers()
    let server: HTTPServer
    var path: String { "\(self.directory)/http.sock" }
    var metricsPath: String { "\(self.directory)/metrics.sock" }

    init(_ change: (inout HTTPServerOptions) -> Void = { _ in }) throws {
        self.directory = try Self.newDirectory()
        var options = HTTPServerOptions(
            socket: HTTPSocket(path: "\(self.directory)/http.sock"), metricsSocket: HTTPSocket(path: "\(self.directory)/metrics.sock"),
            clock: { Self.now })
        change(&options)
        self.server = HTTPServer(options)
        do {
            try self.server.start(
                answering: self.responder, metricsText: { "more_figures 1\n" }, status: { Array(#"{"signer":"here"}"#.utf8) })
        } catch {
            self.server.stop()
            rmdir(self.directory)
            throw error
        }
    }

    static func newDirectory() throws -> String {
        var template = Array("\(getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp")/http.XXXXXX".utf8CString)
        return String(cString: try #require(mkdtemp(&template)))
    }

    deinit {
        self.server.stop()
        rmdir(self.directory)
    }

    func client() throws -> HTTPTestClient { try HTTPTestClient(self.path, self) }

    /// One request on a connection of its own.
    func response(_ request: String, body: [UInt8] = []) throws -> HTTPTestResponse {
        let client = try self.client()
        try client.send(request, body)
        return try client.response(to: request)
    }

    func get(_ path: String, _ fields: String = "") throws -> HTTPTestResponse {
        try self.response("GET \(path) HTTP/1.1\r\nHost: a\r\n\(fields)\r\n")
    }

    func post(_ body: [UInt8], path: String = "/") throws -> HTTPTestResponse {
        try self.response(HTTPTestClient.post(body.count, path: path), body: body)
    }
}

struct HTTPTestResponse: Equatable {
    var status: Int
    /// In the order in which they came; names in lower case.
    var fields: [[String]]
    var body: [UInt8]

    subscript(_ name: String) -> String? { self.fields.first { $0.first == name }?.last }

    var text: String { String(decoding: self.body, as: UTF8.self) }
}

struct HTTPTestError: Error, CustomStringConvertible {
    let description: String
}

/// A connection; whatever it waits for, it waits 20 seconds at most.
final class HTTPTestClient {
    private let descriptor: Int32
    private var unread: [UInt8] = []
    /// Kept as long as the connection.
    private let server: HTTPTestServer?

    init(_ path: String, _ server: HTTPTestServer? = nil) throws {
        self.server = server
        self.descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let connected = withUnsafePointer(to: address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(self.descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard connected == 0 else { throw HTTPTestError(description: "connect: \(String(cString: strerror(errno)))") }
        var limit = timeval(tv_sec: 20, tv_usec: 0)
        setsockopt(self.descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(self.descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    }

    deinit { close(self.descriptor) }

    static func post(_ length: Int, path: String = "/", _ fields: String = "") -> String {
        "POST \(path) HTTP/1.1\r\nHost: a\r\nContent-Type: application/ocsp-request\r\nContent-Length: \(length)\r\n\(fields)\r\n"
    }

    func send(_ text: String, _ body: [UInt8] = []) throws {
        guard self.offer(Array(text.utf8) + body) else { throw HTTPTestError(description: "send: \(String(cString: strerror(errno)))") }
    }

    /// - Returns: whether the server took all of it.
    func offer(_ bytes: [UInt8]) -> Bool { Self.offer(bytes, to: self.descriptor) }

    private static func offer(_ bytes: [UInt8], to descriptor: Int32) -> Bool {
        var sent = 0
        while sent < bytes.count {
            let count = bytes[sent...].withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            guard count > 0 else { return false }
            sent += count
        }
        return true
    }

    /// Sends from another thread, for what is more than the server takes before its answers are read.
    ///
    /// - Parameter filler: sent each millisecond behind that, until the server takes no more.
    func sendMeanwhile(_ bytes: [UInt8], thenEachMillisecond filler: UInt8? = nil) -> Sending {
        let sending = Sending()
        let descriptor = self.descriptor
        Thread.detachNewThread {
            var wasTaken = Self.offer(bytes, to: descriptor)
            while wasTaken, let filler {
                usleep(1000)
                wasTaken = Self.offer([filler], to: descriptor)
            }
            sending.finish(wasTaken)
        }
        return sending
    }

    final class Sending: Sendable {
        private let result = Mutex(false)
        private let end = DispatchSemaphore(value: 0)

        fileprivate func finish(_ wasTaken: Bool) {
            self.result.withLock { $0 = wasTaken }
            self.end.signal()
        }

        /// Whether all was taken.
        func wait() -> Bool { self.end.wait(timeout: .now() + 20) == .success && self.result.withLock { $0 } }
    }

    func finishSending() { shutdown(self.descriptor, Int32(SHUT_WR)) }

    /// - Returns: whether more bytes came; false at the end of the connection.
    private func more() throws -> Bool {
        var buffer = [UInt8](repeating: 0, count: 65_536)
        let count = recv(self.descriptor, &buffer, buffer.count, 0)
        // Reset: the server closed and did not read all that was sent.
        if count < 0, errno == ECONNRESET { return false }
        guard count >= 0 else { throw HTTPTestError(description: "recv: \(String(cString: strerror(errno)))") }
        self.unread += buffer[..<count]
        return count > 0
    }

    /// Everything until the server closes.
    func rest() throws -> [UInt8] {
        while try self.more() {}
        defer { self.unread = [] }
        return self.unread
    }

    /// The next response; that to HEAD has no body.
    func response(to request: String = "") throws -> HTTPTestResponse {
        let separator: [UInt8] = [0x0D, 0x0A, 0x0D, 0x0A]
        var end: Int?
        while end == nil {
            end = self.unread.indices.first { self.unread[$0...].starts(with: separator) }
            if end == nil, try !self.more() { throw HTTPTestError(description: "the connection ended before a response") }
        }
        let headEnd = try #require(end)
        let lines = String(decoding: self.unread[..<headEnd], as: UTF8.self).replacing("\r\n", with: "\n").split(separator: "\n")
        self.unread.removeSubrange(..<(headEnd + 4))
        let first = try #require(lines.first).split(separator: " ")
        var response = HTTPTestResponse(
            status: try #require(Int(first[1])),
            fields: lines.dropFirst().map { line in
                let parts = line.split(separator: ":", maxSplits: 1)
                return [parts[0].lowercased(), String(parts[1].drop { $0 == " " })]
            }, body: [])
        #expect(first[0] == "HTTP/1.1")
        let length = request.hasPrefix("HEAD") ? 0 : response["content-length"].flatMap { Int($0) } ?? 0
        while self.unread.count < length {
            guard try self.more() else { throw HTTPTestError(description: "the connection ended in a response") }
        }
        response.body = Array(self.unread[..<length])
        self.unread.removeSubrange(..<length)
        return response
    }
}
