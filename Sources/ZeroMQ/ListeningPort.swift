// A TCP port that listens, made by us and adopted by libzmq.
//
// libzmq asks the kernel for all network interfaces before it binds a numeric address, by a netlink socket, and ends the process where it may
// not have one: a program that is confined to AF_INET and AF_UNIX could not listen.
import CZeroMQ
import Glibc

enum ListeningPort {
    /// Listens on `tcp://ADDRESS:PORT` with a numeric address.
    /// - Returns: the descriptor, close-on-exec; nil for an endpoint that is of another kind, and libzmq's to read.
    /// - Throws: `.addressInUse`, `.addressNotAvailable`, `.permissionDenied`, …
    static func open(_ endpoint: String, backlog: Int32) throws(ZeroMQError) -> Int32? {
        guard let (host, port) = parts(endpoint) else { return nil }
        var v4 = sockaddr_in()
        var v6 = sockaddr_in6()
        if inet_pton(AF_INET, host, &v4.sin_addr) == 1 {
            v4.sin_family = sa_family_t(AF_INET)
            v4.sin_port = port.bigEndian
            return try listen(AF_INET, &v4, MemoryLayout<sockaddr_in>.size, endpoint, backlog)
        }
        guard inet_pton(AF_INET6, host, &v6.sin6_addr) == 1 else { return nil }
        v6.sin6_family = sa_family_t(AF_INET6)
        v6.sin6_port = port.bigEndian
        return try listen(AF_INET6, &v6, MemoryLayout<sockaddr_in6>.size, endpoint, backlog)
    }

    private static func parts(_ endpoint: String) -> (host: String, port: UInt16)? {
        guard endpoint.hasPrefix("tcp://") else { return nil }
        let place = endpoint.dropFirst("tcp://".count)
        guard let colon = place.lastIndex(of: ":") else { return nil }
        var host = place[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
        let text = place[colon...].dropFirst()
        guard !host.isEmpty, let port = text == "*" ? 0 : UInt16(text) else { return nil }
        return (String(host), port)
    }

    private static func listen(
        _ family: Int32, _ address: UnsafeRawPointer, _ size: Int, _ endpoint: String, _ backlog: Int32
    ) throws(ZeroMQError) -> Int32 {
        func failure() -> ZeroMQError { ZeroMQError(number: errno, "cannot listen on \(endpoint)") }
        let descriptor = socket(family, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0)
        guard descriptor >= 0 else { throw failure() }
        var (on, off): (Int32, Int32) = (1, 0)
        let length = socklen_t(MemoryLayout<Int32>.size)
        // As libzmq does: a port whose old connections are not forgotten yet can be had, and [::] takes IPv4 as well.
        _ = setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, length)
        if family == AF_INET6 { _ = setsockopt(descriptor, Int32(IPPROTO_IPV6), IPV6_V6ONLY, &off, length) }
        guard bind(descriptor, address.assumingMemoryBound(to: sockaddr.self), socklen_t(size)) == 0, Glibc.listen(descriptor, backlog) == 0
        else {
            let error = failure()
            close(descriptor)
            throw error
        }
        return descriptor
    }
}
