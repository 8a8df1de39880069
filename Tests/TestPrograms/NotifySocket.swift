// The socket on which a service manager hears of its services (sd_notify(3)).
private import Foundation
private import Glibc

/// Stands for systemd, or for a supervisor: a test hands its path to a program as NOTIFY_SOCKET.
public final class NotifySocket {
    public let path: String
    private let descriptor: Int32

    public init(_ path: String) throws {
        self.path = path
        self.descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8.prefix(107)) }
        let descriptor = self.descriptor
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
        }
        guard result == 0 else { throw TestFailure("no notification socket: \(String(cString: strerror(errno)))") }
        var time = timeval(tv_sec: 20, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &time, socklen_t(MemoryLayout<timeval>.size))
    }

    deinit { close(self.descriptor) }

    /// The next notification, which may be of several lines.
    /// - Throws: where none comes within 20 seconds.
    public func next() throws -> String {
        var buffer = [UInt8](repeating: 0, count: 4_096)
        let length = recv(self.descriptor, &buffer, buffer.count, 0)
        guard length > 0 else { throw TestFailure("no notification within 20 s") }
        return String(decoding: buffer.prefix(length), as: UTF8.self)
    }

    /// Reads notifications until one has that line; returns it whole.
    public func wait(for line: String) throws -> String {
        var heard: [String] = []
        while true {
            do { heard.append(try self.next()) } catch { throw TestFailure("no \(line) within 20 s; heard was \(heard)") }
            if let last = heard.last, last.split(separator: "\n").contains(Substring(line)) { return last }
        }
    }
}
