// A TCP client that writes ZMTP 3.0 (ZeroMQ's RFC 23) by hand, so that it can break it.
import Glibc
import TestPrograms

/// One TCP connection to a loopback endpoint; reads give up after 20 s.
final class RawPeer {
    private var descriptor: Int32

    init(endpoint: String) throws {
        descriptor = Self.connectedSocket(endpoint)
        guard descriptor >= 0 else { throw TestFailure("cannot connect to \(endpoint)") }
        var time = timeval(tv_sec: 20, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &time, socklen_t(MemoryLayout<timeval>.size))
        var yes: Int32 = 1
        setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &yes, socklen_t(MemoryLayout<Int32>.size))
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &time, socklen_t(MemoryLayout<timeval>.size))
    }

    deinit { close() }

    func close() {
        if descriptor >= 0 { _ = Glibc.close(descriptor) }
        descriptor = -1
    }

    /// Whether nobody listens there.
    static func isRefused(_ endpoint: String) -> Bool {
        let descriptor = connectedSocket(endpoint)
        if descriptor >= 0 { _ = Glibc.close(descriptor) }
        return descriptor < 0
    }

    private static func connectedSocket(_ endpoint: String) -> Int32 {
        guard let port = endpoint.split(separator: ":").last.flatMap({ UInt16($0) }) else { return -1 }
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
        }
        if result == 0 { return descriptor }
        _ = Glibc.close(descriptor)
        return -1
    }

    /// Throws once the other side has ended the connection: the kernel would take more, and wait for room there.
    func write(_ bytes: [UInt8]) throws {
        // POLLRDHUP of poll(2).
        let ended = Int16(0x2000)
        var rest = bytes[...]
        while !rest.isEmpty {
            var watched = pollfd(fd: descriptor, events: Int16(POLLOUT) | ended, revents: 0)
            guard poll(&watched, 1, 20_000) > 0, watched.revents & (ended | Int16(POLLHUP | POLLERR)) == 0 else {
                throw TestFailure("the connection is gone")
            }
            let written = rest.withUnsafeBytes { send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL | MSG_DONTWAIT)) }
            guard written > 0 || errno == EAGAIN else { throw TestFailure("the connection is gone") }
            rest = rest.dropFirst(max(0, written))
        }
    }

    private func readBytes(_ count: Int) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        var have = 0
        while have < count {
            let got = bytes.withUnsafeMutableBytes { recv(descriptor, $0.baseAddress?.advanced(by: have), count - have, 0) }
            guard got > 0 else { throw TestFailure("the connection ended") }
            have += got
        }
        return bytes
    }

    /// A port that was free a moment ago.
    static func freePort() throws -> Int {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { _ = Glibc.close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let result = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, length) + getsockname(descriptor, $0, &length) }
        }
        guard result == 0 else { throw TestFailure("no free port") }
        return Int(UInt16(bigEndian: address.sin_port))
    }

    /// The greeting of ZMTP 3.0 alone.
    func greet(mechanism: String) throws {
        let name = Array(mechanism.utf8)
        try write([0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 0] + name + [UInt8](repeating: 0, count: 52 - name.count))
    }

    /// Whether the other side closes it within 20 s; what it says until then is passed over.
    func isClosed() -> Bool {
        var buffer = [UInt8](repeating: 0, count: 4_096)
        while true {
            let got = recv(descriptor, &buffer, buffer.count, 0)
            if got > 0 { continue }
            return got == 0 || errno == ECONNRESET
        }
    }

    /// Greeting and READY of the NULL mechanism with these properties, and the server's.
    func handshake(_ properties: [(String, String)]) throws {
        var greeting: [UInt8] = [0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 0]
        greeting += Array("NULL".utf8) + [UInt8](repeating: 0, count: 16)
        greeting += [UInt8](repeating: 0, count: 64 - greeting.count)
        try write(greeting)
        _ = try readBytes(64)
        var body = [UInt8(5)] + Array("READY".utf8)
        for (name, value) in properties {
            body += [UInt8(name.utf8.count)] + Array(name.utf8) + [0, 0, 0, UInt8(value.utf8.count)] + Array(value.utf8)
        }
        try write([4, UInt8(body.count)] + body)
        let header = try readBytes(2)
        _ = try readBytes(Int(header[1]))
    }

    /// One message of one short frame.
    func sendFrame(_ bytes: [UInt8]) throws {
        try write([0, UInt8(bytes.count)] + bytes)
    }

    /// The head of a long frame, whose body never comes.
    func sendFrameHeader(length: Int) throws {
        try write([2] + (0..<8).reversed().map { UInt8(truncatingIfNeeded: length >> ($0 * 8)) })
    }

    func readFrame() throws -> [UInt8] {
        let isLong = try readBytes(1)[0] & 2 != 0
        let length = try readBytes(isLong ? 8 : 1).reduce(0) { $0 << 8 | Int($1) }
        return try readBytes(length)
    }

    /// Whether the server closes the connection within 20 s.
    func isCutOff() throws -> Bool {
        var byte: UInt8 = 0
        while true {
            let got = recv(descriptor, &byte, 1, 0)
            if got == 0 || (got < 0 && errno == ECONNRESET) { return true }
            if got < 0 { return false }
        }
    }
}
