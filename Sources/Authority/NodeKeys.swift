// The CURVE keys of live nodes, for relays that keep room for them.

import Crypto
import PKI

/// The keys of nodes at one moment.
public struct NodeKeys: Sendable, Equatable {
    /// In Z85, sorted.
    public let all: [String]
    /// Another one where the keys are others.
    public let version: String

    init(_ nodes: some Sequence<Node>, now: UnixTime) {
        self.all = nodes.compactMap { node in
            guard node.isLive(at: now), case .curve(let key)? = node.binding else { return nil }
            return key
        }.sorted()
        self.version = Hexadecimal.encode(SHA256.hash(data: Array(self.all.joined(separator: " ").utf8)).prefix(8))
    }
}

extension Authority {
    public var nodeKeys: NodeKeys { NodeKeys(self.state.nodes.values, now: self.clock.now) }
}
