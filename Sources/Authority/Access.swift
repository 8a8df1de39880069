// Who may do what: identity comes from where a request arrived, a role from what the state says of that identity at this moment.

public import PKI

/// Where a request came in, and how its sender was proven there.
public struct Caller: Sendable, Equatable {
    /// How the sender was proven.
    public enum Proof: Sendable, Equatable {
        /// A unix socket whose peer the kernel named.
        case localUser(UInt32)
        /// The address of a plain TCP connection.
        case plainAddress(String)
        /// The long-term CURVE key that the peer proved to hold, in Z85.
        case curve(String)
        /// The CA's own programs: the publisher, initialisation.
        case itself
    }

    /// The socket it came in on; each has a fixed list of tasks.
    public enum Channel: String, Sendable, Hashable, CaseIterable { case front, registrar, ocsp, admin }

    public var proof: Proof
    public var channel: Channel

    public init(proof: Proof, channel: Channel) {
        self.proof = proof
        self.channel = channel
    }

    /// `plain address 127.0.0.1`, `curve <key>`, `local uid 0` or `itself`.
    public var proofText: String {
        switch self.proof {
        case .localUser(let uid): "local uid \(uid)"
        case .plainAddress(let address): "plain address \(address)"
        case .curve(let key): "curve \(key)"
        case .itself: "itself"
        }
    }

    /// What a node would be bound to; nil for local callers.
    public var binding: Binding? {
        switch self.proof {
        case .plainAddress(let address): .address(address)
        case .curve(let key): .curve(key)
        case .localUser, .itself: nil
        }
    }

    /// Whether a secret of this caller crosses no network in clear: CURVE, a local socket, or loopback.
    public var isConfidential: Bool {
        switch self.proof {
        case .localUser, .curve, .itself: true
        case .plainAddress(let address): IPAddress.isLoopback(address)
        }
    }
}

/// The role a task asks for.
public enum Role: Sendable, Comparable {
    /// Anyone who can connect.
    case anyone
    /// A registered node.
    case node
    /// A node in the admin list, or the operator on the CA's host.
    case admin
    /// The operator on the CA's host alone.
    case local

    /// The words of `Not authorised: <task> needs <role>`.
    public var text: String {
        switch self {
        case .anyone: "a connection"
        case .node: "a registered node"
        case .admin: "a listed admin"
        case .local: "the operator on the CA's host (ca-ctl)"
        }
    }
}

/// A caller as the state sees it at one moment.
public struct Actor: Sendable {
    public let caller: Caller
    /// The node it is; nil for strangers and local callers.
    public let node: Node?
    public let role: Role

    /// The node that owns what this actor issues; nil for the operator.
    public var nodeID: NodeID? { self.role >= .local ? nil : self.node?.id }

    /// `node RA`, `uid 0`, or the proof itself for a stranger.
    public var identity: String {
        if let node = self.node { return "node \(node.commonName)" }
        switch self.caller.proof {
        case .localUser(let uid): return "uid \(uid)"
        case .itself: return "ca-core"
        default: return self.caller.proofText
        }
    }

    public var isAdmin: Bool { self.role >= .admin }

    /// Whether it is a Registration Authority with a request that may come from anybody behind it: the public endpoints of the deployed
    /// RA pass CSRs on without asking who they are from.
    func signsForOthers(_ task: String) -> Bool { self.node?.profile == "ra" && ["sign", "acme_issue_certificate"].contains(task) }

    /// - Throws: `notAuthorised` unless the actor has `role`.
    func require(_ role: Role, for task: String) throws {
        guard self.role >= role else { throw AuthorityError(.notAuthorised, "\(task) needs \(role.text)") }
    }

    /// Whether what `owner` asked for is this actor's own; the operator and admins own everything.
    public func owns(_ owner: NodeID?) -> Bool {
        if self.isAdmin { return true }
        guard let owner, let node = self.node else { return false }
        return owner == node.id
    }
}

extension AuthorityState {
    /// The node that stands for every caller on plain loopback under `clients: all`.
    static let everyone = Node(
        id: NodeID(0), commonName: "everyone on loopback", subject: "", binding: nil, profile: "server", serial: nil, notAfter: nil,
        registeredAt: UnixTime(0), origin: .manual, state: .live)

    /// What `caller` is at this moment.
    public func actor(_ caller: Caller, rules: Rules, now: UnixTime) -> Actor {
        if caller.channel == .admin || caller.proof == .itself { return Actor(caller: caller, node: nil, role: .local) }
        guard caller.channel == .front, let binding = caller.binding else { return Actor(caller: caller, node: nil, role: .anyone) }
        var node = self.node(bound: binding)
        // An address proves something on loopback, or where the operator gave it to a node: whatever a relay was told to listen on.
        if case .plainAddress(let address) = caller.proof, !IPAddress.isLoopback(address), node?.origin != .manual {
            node = rules.fixedNodes[address].flatMap { self.node(commonName: $0) }
        }
        if let found = node, !found.isLive(at: now) || (rules.clients == .manual && found.origin != .manual) { node = nil }
        if let node { return Actor(caller: caller, node: node, role: self.isAdmin(node) ? .admin : .node) }
        if rules.clients == .all, case .plainAddress(let address) = caller.proof, IPAddress.isLoopback(address) {
            return Actor(caller: caller, node: Self.everyone, role: .node)
        }
        return Actor(caller: caller, node: nil, role: .anyone)
    }
}
