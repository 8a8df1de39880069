// A bare HTTP/1.1 connection to a unix socket: it fills the bridge's cache in pipelined batches, and watches one certificate's answer.
import Glibc

final class HTTPConnection {
    private let descriptor: Int32
    private var received: [UInt8] = []
    private var chunk = [UInt8](repeating: 0, count: 256 << 10)

    init(path: String) throws {
        self.descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        guard self.descriptor >= 0 else { throw BenchError(description: "no socket") }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else { throw BenchError(description: "\(path) is too long") }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(self.descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard result == 0 else { throw BenchError(description: "\(path): \(String(cString: strerror(errno)))") }
    }

    deinit { close(self.descriptor) }

    static func post(_ der: [UInt8]) -> [UInt8] {
        Array("POST /ocsp HTTP/1.1\r\nHost: bench\r\nContent-Type: application/ocsp-request\r\nContent-Length: \(der.count)\r\n\r\n".utf8)
            + der
    }

    func send(_ bytes: [UInt8]) throws {
        var sent = 0
        while sent < bytes.count {
            let count = bytes.withUnsafeBytes { Glibc.send(self.descriptor, $0.baseAddress?.advanced(by: sent), bytes.count - sent, 0) }
            guard count > 0 else { throw BenchError(description: "the bridge closed the connection") }
            sent += count
        }
    }

    /// The body of the next answer.
    func body() throws -> [UInt8] {
        while true {
            if let end = self.received.firstRange(of: Array("\r\n\r\n".utf8)) {
                let head = String(decoding: self.received[..<end.lowerBound], as: UTF8.self).lowercased()
                guard head.hasPrefix("http/1.1 200"),
                    let field = head.split(separator: "\r\n").first(where: { $0.hasPrefix("content-length:") }),
                    let length = Int(field.dropFirst("content-length:".count).filter { $0 != " " })
                else { throw BenchError(description: "an answer that was not expected: \(head)") }
                if self.received.count >= end.upperBound + length {
                    let body = Array(self.received[end.upperBound..<end.upperBound + length])
                    self.received.removeFirst(end.upperBound + length)
                    return body
                }
            }
            let count = self.chunk.withUnsafeMutableBytes { recv(self.descriptor, $0.baseAddress, $0.count, 0) }
            guard count > 0 else { throw BenchError(description: "the bridge closed the connection") }
            self.received.append(contentsOf: self.chunk[..<count])
        }
    }

    func ask(_ der: [UInt8]) throws -> [UInt8] {
        try self.send(Self.post(der))
        return try self.body()
    }

    /// Asks for all of them, `atOnce` in flight.
    func askAll(_ requests: [[UInt8]], atOnce: Int = 32, collect: ([UInt8]) -> Void = { _ in }) throws {
        var rest = requests[...]
        while !rest.isEmpty {
            let batch = rest.prefix(atOnce)
            rest = rest.dropFirst(atOnce)
            try self.send(batch.flatMap(Self.post))
            for _ in batch { collect(try self.body()) }
        }
    }
}
