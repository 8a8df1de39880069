// IP addresses as settings name them, in one spelling for each address.

private import Glibc

/// An IPv4 or IPv6 address without a zone.
public struct HostAddress: Sendable, Hashable, CustomStringConvertible {
    /// The canonical text (RFC 5952 for IPv6); an IPv4 address mapped into IPv6 is written as IPv4.
    public let description: String

    public let isIPv6: Bool

    /// 127.0.0.0/8 or ::1.
    public let isLoopback: Bool

    /// 127.0.0.1.
    public static let loopback = HostAddress(description: "127.0.0.1", isIPv6: false, isLoopback: true)

    private init(description: String, isIPv6: Bool, isLoopback: Bool) {
        self.description = description
        self.isIPv6 = isIPv6
        self.isLoopback = isLoopback
    }

    /// Whether it stands for every address of the host.
    public var isWildcard: Bool { self.description == "0.0.0.0" || self.description == "::" }

    /// Reads an address in the usual notation; no names, no zones, no prefixes.
    public init?(_ text: String) {
        guard !text.utf8.contains(0) else { return nil }
        var v4 = in_addr()
        var v6 = in6_addr()
        var bytes: [UInt8]
        if inet_pton(AF_INET, text, &v4) == 1 {
            bytes = withUnsafeBytes(of: &v4) { Array($0) }
        } else if inet_pton(AF_INET6, text, &v6) == 1 {
            bytes = withUnsafeBytes(of: &v6) { Array($0) }
            if bytes[0..<10].allSatisfy({ $0 == 0 }), bytes[10] == 0xFF, bytes[11] == 0xFF { bytes.removeFirst(12) }
        } else {
            return nil
        }
        var buffer = [UInt8](repeating: 0, count: 64)
        let isIPv6 = bytes.count == 16
        let written = buffer.withUnsafeMutableBytes { output in
            inet_ntop(isIPv6 ? AF_INET6 : AF_INET, bytes, output.baseAddress?.assumingMemoryBound(to: CChar.self), socklen_t(output.count))
                != nil
        }
        guard written else { return nil }
        self.description = String(decoding: buffer.prefix { $0 != 0 }, as: UTF8.self)
        self.isIPv6 = isIPv6
        self.isLoopback = isIPv6 ? bytes == [UInt8](repeating: 0, count: 15) + [1] : bytes[0] == 127
    }
}
