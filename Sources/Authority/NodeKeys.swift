// The CURVE keys of live nodes, for relays that keep room for them.

import Crypto
import PKI
import Synchronization

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

/// Relays ask up to some tens of times a second: the keys are put together only when they may be others.
final class NodeKeysCache: Sendable {
    private struct Entry {
        let generation: UInt64
        let time: UnixTime
        let keys: NodeKeys
    }
    private let entry = Mutex<Entry?>(nil)

    func keys(_ state: AuthorityState, now: UnixTime) -> NodeKeys {
        self.entry.withLock { entry in
            if let entry, entry.generation == state.nodesGeneration, entry.time == now { return entry.keys }
            let keys = NodeKeys(state.nodes.values, now: now)
            entry = Entry(generation: state.nodesGeneration, time: now, keys: keys)
            return keys
        }
    }
}

extension Authority {
    public var nodeKeys: NodeKeys { self.nodeKeysCache.keys(self.state, now: self.clock.now) }
}

extension Commit {
    /// Audits a change of the CA's own CURVE keys, which the program keeps.
    public mutating func auditTransport(_ detail: String) throws { try self.audit(detail: detail) }
}
