// The limits that ca-core hands its relays: how much one identity, one address and all together may take of them.

/// Limits of a relay. A number of 0 is no limit where that is said.
public struct RelayLimits: Sendable, Equatable {
    /// TCP connections at once, in all.
    public var connections = 4_096
    /// TCP connections at once from one address (of IPv6: from one /64).
    public var connectionsPerAddress = 256
    /// New connections a second from one address; a burst of twice as many is let through. 0: no limit.
    public var connectionRate = 200
    /// Milliseconds until a connection must have finished its handshake.
    public var handshake = 2_000
    /// The longest frame, in bytes.
    public var messageSize = 1 << 20
    /// Requests in flight, in all.
    public var requests = 10_000
    /// Requests in flight of one identity: a CURVE key, or an address without one.
    public var requestsPerIdentity = 5_000
    /// Requests in flight from one address.
    public var requestsPerAddress = 5_000
    /// Payload bytes in flight of one identity.
    public var bytesPerIdentity = 32 << 20
    /// Payload bytes in flight from one address.
    public var bytesPerAddress = 32 << 20
    /// Requests a second of one identity; a burst of one second's worth is let through. 0: no limit.
    public var ratePerIdentity = 20_000
    /// Requests a second from one address. 0: no limit.
    public var ratePerAddress = 50_000
    /// Requests a second of one CURVE key that is no node's, and of all such keys at one address together. 0: no limit.
    public var strangerRate = 200

    public init() {}

    private static let members: [(String, WritableKeyPath<RelayLimits, Int> & Sendable)] = [
        ("connections", \.connections), ("connections_per_address", \.connectionsPerAddress), ("connection_rate", \.connectionRate),
        ("handshake", \.handshake), ("message_size", \.messageSize), ("requests", \.requests),
        ("requests_per_identity", \.requestsPerIdentity), ("requests_per_address", \.requestsPerAddress),
        ("bytes_per_identity", \.bytesPerIdentity), ("bytes_per_address", \.bytesPerAddress), ("rate_per_identity", \.ratePerIdentity),
        ("rate_per_address", \.ratePerAddress), ("stranger_rate", \.strangerRate),
    ]

    /// As the internal task `relay` answers it.
    public var json: JSON { .object(Self.members.map { .init($0.0, .integer(self[keyPath: $0.1])) }) }

    /// What is missing keeps its default.
    public init(json: JSON) {
        for (name, path) in Self.members {
            if let value = json[name]?.integerValue, let number = Int(exactly: value), number >= 0 { self[keyPath: path] = number }
        }
    }
}
