// Who has how much of a relay: identities and networks, with their open requests, their bytes and their rates.
import CLinux
import Glibc
import Threads
import UPKIProtocol

/// One identity, or one network, and what it has open.
final class Party {
    /// Of open requests.
    var requests = 0
    /// Of their payloads.
    var bytes = 0
    /// Its requests that were not handed to the core yet; those answered meanwhile are passed over. Of identities only.
    var unsent = RingQueue<UInt64>()
    /// Whether it waits for its turn.
    var isInTurn = false
    /// One connection of this host's own loopback without CURVE: all its processes have one identity there, and none of them must be able
    /// to use up what is the others' too. What a connection may have is bounded elsewhere.
    let isLocal: Bool
    fileprivate var bucket: RateBucket
    fileprivate var strangers: RateBucket

    fileprivate init(rate: Int, strangerRate: Int, isLocal: Bool, at now: UInt64) {
        self.isLocal = isLocal
        bucket = RateBucket(burst: rate, at: now)
        strangers = RateBucket(burst: strangerRate, at: now)
    }
}

/// A limit that a request can meet.
enum RequestLimit: Int, CaseIterable {
    case requestsOfIdentity, requestsOfNetwork, bytesOfIdentity, bytesOfNetwork, rateOfIdentity, rateOfNetwork, rateOfStranger

    /// What the client is told; the numbers are those in force.
    func words(_ limits: RelayLimits) -> String {
        switch self {
        case .requestsOfIdentity:
            "Busy: more than \(limits.requestsPerIdentity) requests of this identity are open (limits.requests_per_identity); wait for answers"
        case .requestsOfNetwork:
            "Busy: more than \(limits.requestsPerAddress) requests from this address are open (limits.requests_per_address); wait for answers"
        case .bytesOfIdentity:
            "Busy: more than \(limits.bytesPerIdentity >> 20) MiB of this identity are open (limits.bytes_per_identity); wait for answers"
        case .bytesOfNetwork:
            "Busy: more than \(limits.bytesPerAddress >> 20) MiB from this address are open (limits.bytes_per_address); wait for answers"
        case .rateOfIdentity:
            "Busy: more than \(limits.ratePerIdentity) requests a second of this identity (limits.rate_per_identity); ask more slowly"
        case .rateOfNetwork:
            "Busy: more than \(limits.ratePerAddress) requests a second from this address (limits.rate_per_address); ask more slowly"
        case .rateOfStranger:
            "Busy: more than \(limits.strangerRate) requests a second of keys that are no node's (limits.stranger_rate); ask more slowly"
        }
    }
}

/// All identities and networks that have asked lately.
package struct Parties {
    private var identities: [ProvenIdentity: Party] = [:]
    private var networks: [String: Party] = [:]
    private var locals: [ClientKey: Party] = [:]
    private var sweepAt = 1_024

    var count: Int { identities.count + networks.count + locals.count }

    /// Who shares turns and limits with whom: an identity, or on plain loopback one connection.
    mutating func identity(_ identity: ProvenIdentity, _ client: ClientKey, _ limits: RelayLimits, at now: UInt64) -> Party {
        if case .plain(let address) = identity, Self.isLoopback(address) { return local(client, limits, at: now) }
        if let known = identities[identity] { return known }
        forgetTheQuiet(limits, at: now)
        let party = Party(rate: limits.ratePerIdentity, strangerRate: limits.strangerRate, isLocal: false, at: now)
        identities[identity] = party
        return party
    }

    private mutating func local(_ client: ClientKey, _ limits: RelayLimits, at now: UInt64) -> Party {
        if let known = locals[client] { return known }
        forgetTheQuiet(limits, at: now)
        let party = Party(rate: limits.ratePerIdentity, strangerRate: limits.strangerRate, isLocal: true, at: now)
        locals[client] = party
        return party
    }

    /// - Parameter address: as a socket reports it.
    mutating func network(_ address: String, _ limits: RelayLimits, at now: UInt64) -> Party {
        let network = Self.network(of: address)
        if let known = networks[network] { return known }
        forgetTheQuiet(limits, at: now)
        let party = Party(rate: limits.ratePerAddress, strangerRate: limits.strangerRate, isLocal: false, at: now)
        networks[network] = party
        return party
    }

    /// Whether a request of so many bytes may be taken on; it counts towards the rates whatever the answer is.
    /// - Returns: the first limit that it meets, or nil.
    static func limit(
        _ bytes: Int, of identity: Party, in network: Party, isStranger: Bool, _ limits: RelayLimits, at now: UInt64
    ) -> RequestLimit? {
        if isStranger, limits.strangerRate > 0 {
            let rate = limits.strangerRate
            let mayAsk = identity.strangers.take(rate: rate, burst: rate, at: now)
            guard network.strangers.take(rate: rate, burst: rate, at: now), mayAsk else { return .rateOfStranger }
        }
        guard !identity.isLocal else { return nil }
        if limits.ratePerIdentity > 0, !identity.bucket.take(rate: limits.ratePerIdentity, burst: limits.ratePerIdentity, at: now) {
            return .rateOfIdentity
        }
        if limits.ratePerAddress > 0, !network.bucket.take(rate: limits.ratePerAddress, burst: limits.ratePerAddress, at: now) {
            return .rateOfNetwork
        }
        if identity.requests >= limits.requestsPerIdentity { return .requestsOfIdentity }
        if network.requests >= limits.requestsPerAddress { return .requestsOfNetwork }
        if bytes > limits.bytesPerIdentity - identity.bytes { return .bytesOfIdentity }
        if bytes > limits.bytesPerAddress - network.bytes { return .bytesOfNetwork }
        return nil
    }

    /// Those who have nothing open and whose rates have recovered are as good as unknown.
    private mutating func forgetTheQuiet(_ limits: RelayLimits, at now: UInt64) {
        guard count >= sweepAt else { return }
        func isQuiet(_ party: Party, rate: Int) -> Bool {
            party.requests == 0 && !party.isInTurn && party.bucket.isFull(rate: rate, burst: rate, at: now)
                && party.strangers.isFull(rate: limits.strangerRate, burst: limits.strangerRate, at: now)
        }
        identities = identities.filter { !isQuiet($0.value, rate: limits.ratePerIdentity) }
        locals = locals.filter { $0.value.requests > 0 || $0.value.isInTurn }
        networks = networks.filter { !isQuiet($0.value, rate: limits.ratePerAddress) }
        sweepAt = max(1_024, count * 2)
    }

    static func isLoopback(_ address: String) -> Bool {
        address == "::1" || address.hasPrefix("127.") || address.hasPrefix("::ffff:127.")
    }

    /// An IPv4 address, or the first 64 bits of an IPv6 one: whoever has one of those addresses has them all.
    package static func network(of address: String) -> String {
        guard address.utf8.contains(UInt8(ascii: ":")) else { return address }
        var bytes = in6_addr()
        guard inet_pton(AF_INET6, address, &bytes) == 1 else { return address }
        return withUnsafeBytes(of: &bytes) { raw in
            let mapped = raw[0..<10].allSatisfy { $0 == 0 } && raw[10] == 0xFF && raw[11] == 0xFF
            return mapped
                ? raw[12...].map(String.init).joined(separator: ".") : raw[0..<8].map { String($0, radix: 16) }.joined(separator: ":")
        }
    }
}
