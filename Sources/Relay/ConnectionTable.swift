// The connections of a relay's listeners, by descriptor and by address, and which of them are too many. No sockets, no clock.
import UPKIProtocol

/// A TCP connection as the kernel tells of it.
package struct ConnectionFacts: Equatable {
    /// Tells this connection from a later one with the same descriptor.
    package let cookie: UInt64
    /// What libzmq has read of it.
    package let bytesRead: UInt64

    package init(cookie: UInt64, bytesRead: UInt64) {
        self.cookie = cookie
        self.bytesRead = bytesRead
    }
}

/// What is known of all connections.
package struct ConnectionTable {
    package enum Verdict: Equatable {
        case keep
        /// More connections than the whole may have.
        case tooMany
        case tooManyOfAddress
        case tooFast
        /// More bytes than any message has, and no message.
        case tooLong
    }

    private struct Connection {
        let cookie: UInt64
        let address: String
        /// What had been read of it when a message of it was last delivered.
        var readAtDelivery: UInt64
        /// How many messages had been delivered then.
        var deliveries: UInt32
    }

    private struct Address {
        var connections = 0
        var bucket: RateBucket
    }

    private var connections: [Int32: Connection] = [:]
    private var addresses: [String: Address] = [:]
    private var sweepAddressesAt = 1_024

    package init() {}

    /// What libzmq may hold of a connection beyond one whole message: what a message's end may leave in its buffers.
    package static let slack: UInt64 = 4 << 20

    var count: Int { connections.count }
    var descriptors: [Int32] { Array(connections.keys) }
    package func count(of address: String) -> Int { addresses[address]?.connections ?? 0 }

    /// Whether only nodes should still get in: the last eighth is kept for them.
    package func isForNodesAlone(_ limits: RelayLimits) -> Bool { connections.count > limits.connections - limits.connections / 8 }

    /// A connection was accepted. Whatever the verdict, it counts until it has gone.
    /// - Parameters:
    ///   - network: the peer: an IPv4 address, or the /64 of an IPv6 one.
    ///   - isLocal: whether all processes of this host come from there, without CURVE: one of them must not be able to lock the others out.
    ///   - deliveries: messages of this descriptor that were delivered so far; it may wrap.
    package mutating func accepted(
        _ descriptor: Int32, _ facts: ConnectionFacts, from network: String, isLocal: Bool = false, deliveries: UInt32,
        _ limits: RelayLimits, at now: UInt64
    ) -> Verdict {
        gone(descriptor)
        connections[descriptor] = Connection(
            cookie: facts.cookie, address: network, readAtDelivery: facts.bytesRead, deliveries: deliveries)
        let burst = max(1, limits.connectionRate * 2)
        var address = addresses[network] ?? Address(bucket: RateBucket(burst: burst, at: now))
        address.connections += 1
        let isSlow = limits.connectionRate == 0 || address.bucket.take(rate: limits.connectionRate, burst: burst, at: now)
        addresses[network] = address
        forgetQuietAddresses(limits, at: now)
        if !isLocal, address.connections > limits.connectionsPerAddress { return .tooManyOfAddress }
        if !isLocal, !isSlow { return .tooFast }
        return connections.count > limits.connections ? .tooMany : .keep
    }

    /// Somebody says that a connection has gone; a later one with its descriptor may be meant no more than it.
    package mutating func mayBeGone(_ descriptor: Int32, _ facts: ConnectionFacts?) {
        if facts?.cookie != connections[descriptor]?.cookie { gone(descriptor) }
    }

    private mutating func gone(_ descriptor: Int32) {
        guard let connection = connections.removeValue(forKey: descriptor) else { return }
        addresses[connection.address]?.connections -= 1
    }

    /// Looks at a connection again.
    /// - Parameters:
    ///   - facts: nil where the descriptor is no connection any more.
    ///   - deliveries: messages of this descriptor that were delivered so far; it may wrap.
    package mutating func look(_ descriptor: Int32, _ facts: ConnectionFacts?, deliveries: UInt32, _ limits: RelayLimits) -> Verdict {
        guard let connection = connections[descriptor] else { return .keep }
        guard let facts, facts.cookie == connection.cookie else {
            gone(descriptor)
            return .keep
        }
        guard deliveries == connection.deliveries else {
            connections[descriptor]?.deliveries = deliveries
            connections[descriptor]?.readAtDelivery = facts.bytesRead
            return .keep
        }
        let read = facts.bytesRead > connection.readAtDelivery ? facts.bytesRead - connection.readAtDelivery : 0
        return read > Self.slack + UInt64(limits.messageSize) ? .tooLong : .keep
    }

    /// Whose connection it is.
    func network(of descriptor: Int32) -> String { connections[descriptor]?.address ?? "" }

    /// Addresses without connections are kept as long as their bucket remembers them.
    private mutating func forgetQuietAddresses(_ limits: RelayLimits, at now: UInt64) {
        guard addresses.count >= sweepAddressesAt else { return }
        let burst = max(1, limits.connectionRate * 2)
        addresses = addresses.filter { entry in
            var bucket = entry.value.bucket
            return entry.value.connections > 0 || !bucket.isFull(rate: limits.connectionRate, burst: burst, at: now)
        }
        // Those with a bucket that is not full are as many as connect at full speed: bounded by what the host can accept.
        sweepAddressesAt = max(1_024, addresses.count * 2)
    }
}
