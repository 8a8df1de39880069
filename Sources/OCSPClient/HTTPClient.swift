// A small HTTP/1.1 client over a unix socket: one exchange after another on a connection that is kept, each within its time, all bounded.
import Glibc

/// An answer; only such with a Content-Length are read.
public struct HTTPAnswer: Sendable {
    public let status: Int
    /// Names in small letters, in the order they came.
    public let headers: [(name: String, value: String)]
    public let body: [UInt8]

    public init(status: Int, headers: [(name: String, value: String)] = [], body: [UInt8] = []) {
        self.status = status
        self.headers = headers
        self.body = body
    }

    /// The value of a header that is there once or more often: the first.
    public func header(_ name: String) -> String? { headers.first { $0.name == name }?.value }
}

/// A client of one socket. Calls block; it belongs to the thread that made it.
public struct HTTPClient: ~Copyable {
    /// The longest path of a unix socket, without its NUL.
    private static let longestPath = 107
    private static let longestHead = 16_384

    public let socket: String
    /// For one exchange, connecting included.
    public let timeout: Duration
    private var descriptor: Int32 = -1
    /// What was received and not yet used.
    private var received: [UInt8] = []

    /// Nothing is connected yet.
    /// - Throws: `.unreachable` for a path that no socket can have.
    public init(socket: String, timeout: Duration = .seconds(5)) throws(OCSPClientError) {
        guard !socket.isEmpty, socket.utf8.count <= Self.longestPath, !socket.utf8.contains(0) else {
            throw OCSPClientError(.unreachable, "\(socket): the path of a unix socket has 1 to \(Self.longestPath) bytes")
        }
        self.socket = socket
        self.timeout = timeout
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    /// - Parameters:
    ///   - path: as it goes out, from the first slash on.
    ///   - limit: the longest body that is read, in bytes.
    /// - Throws: `.unreachable`, `.timedOut`, `.badHTTP`; the status is for the caller to look at.
    public mutating func get(
        _ path: String, headers: [(String, String)] = [], limit: Int = 65_536
    ) throws(OCSPClientError) -> HTTPAnswer {
        try exchange("GET", path, headers, [], limit)
    }

    /// Asks for the headers alone.
    public mutating func head(_ path: String, headers: [(String, String)] = []) throws(OCSPClientError) -> HTTPAnswer {
        try exchange("HEAD", path, headers, [], 0)
    }

    public mutating func post(
        _ path: String, contentType: String, body: [UInt8], limit: Int = 65_536
    ) throws(OCSPClientError) -> HTTPAnswer {
        try exchange("POST", path, [("Content-Type", contentType), ("Content-Length", String(body.count))], body, limit)
    }

    // MARK: One exchange

    private mutating func exchange(
        _ method: String, _ path: String, _ headers: [(String, String)], _ body: [UInt8], _ limit: Int
    ) throws(OCSPClientError) -> HTTPAnswer {
        let end = SuspendingClock.now.advanced(by: timeout)
        let head = "\(method) \(path) HTTP/1.1\r\nHost: localhost\r\n" + headers.map { "\($0.0): \($0.1)\r\n" }.joined() + "\r\n"
        let request = Array(head.utf8) + body
        // A server may close a connection that waits at any moment; what is asked here may be asked twice.
        if descriptor >= 0, let answer = try onKeptConnection(request, method, limit, end) { return answer }
        try connect(until: end)
        do throws(OCSPClientError) {
            try send(request, until: end)
            return try receive(method, limit, end)
        } catch {
            disconnect()
            throw error
        }
    }

    /// - Returns: nil where the connection was closed before a byte of the answer came.
    private mutating func onKeptConnection(
        _ request: [UInt8], _ method: String, _ limit: Int, _ end: SuspendingClock.Instant
    ) throws(OCSPClientError) -> HTTPAnswer? {
        do throws(OCSPClientError) {
            try send(request, until: end)
            return try receive(method, limit, end)
        } catch {
            let wasClosed = error.code == .unreachable && received.isEmpty
            disconnect()
            guard wasClosed else { throw error }
            return nil
        }
    }

    private mutating func disconnect() {
        if descriptor >= 0 { close(descriptor) }
        descriptor = -1
        received = []
    }

    private mutating func connect(until end: SuspendingClock.Instant) throws(OCSPClientError) {
        let made = Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard made >= 0 else { throw OCSPClientError(.unreachable, "no socket can be made: \(errorText())") }
        // For connect(2), which waits where the queue of the listener is full.
        let (seconds, attoseconds) = max(.milliseconds(1), SuspendingClock.now.duration(to: end)).components
        var time = timeval(tv_sec: Int(seconds), tv_usec: Int(attoseconds / 1_000_000_000_000))
        setsockopt(made, SOL_SOCKET, SO_SNDTIMEO, &time, socklen_t(MemoryLayout<timeval>.size))
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        // The length was checked when this was made.
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: socket.utf8) }
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { Glibc.connect(made, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
        }
        guard result == 0 else {
            let error = OCSPClientError(.unreachable, "nobody answers at \(socket): \(errorText())")
            close(made)
            throw error
        }
        descriptor = made
    }

    private func send(_ bytes: [UInt8], until end: SuspendingClock.Instant) throws(OCSPClientError) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL | MSG_DONTWAIT))
            }
            if count > 0 {
                rest = rest.dropFirst(count)
            } else if errno == EAGAIN {
                try wait(for: POLLOUT, until: end)
            } else if errno != EINTR {
                throw OCSPClientError(.unreachable, "\(socket) takes no request: \(errorText())")
            }
        }
    }

    private func wait(for event: Int32, until end: SuspendingClock.Instant) throws(OCSPClientError) {
        let left = SuspendingClock.now.duration(to: end)
        guard left > .zero else { throw OCSPClientError(.timedOut, "\(socket) gave no whole answer within \(timeout)") }
        let (seconds, attoseconds) = min(left, .seconds(3_600)).components
        var watched = pollfd(fd: descriptor, events: Int16(event), revents: 0)
        // Rounded up, so that the time has passed when it ran out; an interruption is looked at by the caller's next call.
        poll(&watched, 1, Int32(seconds * 1_000 + attoseconds / 1_000_000_000_000_000 + 1))
    }

    /// Adds what comes next to `received`.
    /// - Throws: `.unreachable` at the end of the connection.
    private mutating func receiveMore(until end: SuspendingClock.Instant) throws(OCSPClientError) {
        var failure: Int32 = 0
        while true {
            let chunk = [UInt8](unsafeUninitializedCapacity: 16_384) { buffer, count in
                let got = recv(descriptor, buffer.baseAddress, buffer.count, Int32(MSG_DONTWAIT))
                failure = got < 0 ? errno : 0
                count = max(0, got)
            }
            if !chunk.isEmpty {
                received += chunk
                return
            }
            switch failure {
            case EAGAIN: try wait(for: POLLIN, until: end)
            case EINTR: continue
            case 0: throw OCSPClientError(.unreachable, "\(socket) closed the connection before its answer was whole")
            default: throw OCSPClientError(.unreachable, "\(socket): \(String(cString: strerror(failure)))")
            }
        }
    }

    private mutating func receive(
        _ method: String, _ limit: Int, _ end: SuspendingClock.Instant
    ) throws(OCSPClientError) -> HTTPAnswer {
        var headEnd = HTTPHead.end(in: received, from: 0)
        while headEnd == nil {
            guard received.count <= Self.longestHead else { throw OCSPClientError(.badHTTP, "the headers of an answer have no end") }
            // The end may have begun in what was there.
            let known = max(0, received.count - 3)
            try receiveMore(until: end)
            headEnd = HTTPHead.end(in: received, from: known)
        }
        let bodyStart = headEnd ?? received.count
        let head = try HTTPHead(received[..<bodyStart])
        let length = head.hasBody(answering: method) ? try head.contentLength(limit) : 0
        while received.count - bodyStart < length { try receiveMore(until: end) }
        let answer = HTTPAnswer(status: head.status, headers: head.headers, body: Array(received[bodyStart...].prefix(length)))
        received.removeFirst(bodyStart + length)
        guard received.isEmpty else { throw OCSPClientError(.badHTTP, "more came than was asked for") }
        if answer.header("connection")?.lowercased() == "close" { disconnect() }
        return answer
    }

    private func errorText() -> String { String(cString: strerror(errno)) }
}

/// Status line and headers (RFC 9112 4, 5).
private struct HTTPHead {
    let status: Int
    let headers: [(name: String, value: String)]

    /// Behind the empty line that ends the headers.
    static func end(in bytes: [UInt8], from start: Int) -> Int? {
        var index = start
        while index + 3 < bytes.count {
            if bytes[index] == 13, bytes[index + 1] == 10, bytes[index + 2] == 13, bytes[index + 3] == 10 { return index + 4 }
            index += 1
        }
        return nil
    }

    init(_ bytes: ArraySlice<UInt8>) throws(OCSPClientError) {
        func wrong() -> OCSPClientError {
            let start = bytes.prefix(40).map { (32..<127).contains($0) ? $0 : UInt8(ascii: "?") }
            return OCSPClientError(.badHTTP, "what came is no HTTP/1.1 answer; it begins with: \(String(decoding: start, as: UTF8.self))")
        }
        guard let text = String(validating: bytes, as: UTF8.self) else { throw wrong() }
        let lines = text.split(separator: "\r\n")
        let words = (lines.first ?? "").split(separator: " ", maxSplits: 2)
        guard words.count >= 2, words[0] == "HTTP/1.1", words[1].utf8.count == 3, let status = Int(words[1]), (200...599).contains(status)
        else { throw wrong() }
        var headers: [(name: String, value: String)] = []
        for line in lines.dropFirst() {
            guard let colon = line.firstIndex(of: ":") else { throw wrong() }
            var value = line[line.index(after: colon)...].drop { $0 == " " || $0 == "\t" }
            while value.last == " " || value.last == "\t" { value.removeLast() }
            headers.append((line[..<colon].lowercased(), String(value)))
        }
        self.status = status
        self.headers = headers
    }

    func hasBody(answering method: String) -> Bool { method != "HEAD" && status != 204 && status != 304 }

    func contentLength(_ limit: Int) throws(OCSPClientError) -> Int {
        let values = Set(headers.filter { $0.name == "content-length" }.map(\.value))
        guard values.count == 1, let text = values.first, text.utf8.allSatisfy({ (48...57).contains($0) }), let length = Int(text),
            !headers.contains(where: { $0.name == "transfer-encoding" })
        else { throw OCSPClientError(.badHTTP, "an answer without one Content-Length") }
        guard length <= limit else { throw OCSPClientError(.badHTTP, "an answer of \(length) bytes, where at most \(limit) are due") }
        return length
    }
}
