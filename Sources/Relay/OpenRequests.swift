// The table of requests that wait for their one answer, with their deadlines and bounds.
import Threads
import UPKIProtocol

/// A connection of a client.
struct ClientKey: Hashable {
    let listener: Int
    let routingID: [UInt8]
}

/// A request that has not been answered yet.
struct OpenRequest {
    let client: ClientKey
    let envelope: [[UInt8]]
    let payload: [UInt8]
    let identity: ProvenIdentity
    /// Whose it is, and where it came from.
    let party: Party
    let network: Party
    let arrival: MonotonicTime
    let deadline: MonotonicTime
    /// Whether it was handed to the core: from then on it may take effect.
    var sent = false
    /// Which of the core's lives it was handed to.
    var life = 0
}

/// All open requests. Every request has the same time to live, so that the order of arrival is the order of deadlines.
struct OpenRequests {
    private var requests: [UInt64: OpenRequest] = [:]
    private var perClient: [ClientKey: Share] = [:]
    /// Ids in the order of arrival; those answered meanwhile are passed over when they come to the front.
    private var byDeadline = RingQueue<UInt64>()
    /// Identities with requests that were not handed to the core yet: each hands over one, then the next has its turn.
    private var turns = RingQueue<Party>()
    private(set) var bytes = 0
    private(set) var waiting = 0
    /// Handed to the core that is there now, and not answered.
    private(set) var handedOver = 0
    private var life = 0

    var count: Int { requests.count }
    var isEmpty: Bool { requests.isEmpty }

    /// What one connection has open.
    struct Share {
        var requests = 0
        /// Of payload.
        var bytes = 0
    }

    func share(of client: ClientKey) -> Share { perClient[client] ?? Share() }

    mutating func insert(_ request: OpenRequest, id: UInt64) {
        requests[id] = request
        perClient[request.client, default: Share()].requests += 1
        perClient[request.client]?.bytes += request.payload.count
        byDeadline.append(id)
        request.party.unsent.append(id)
        if !request.party.isInTurn {
            request.party.isInTurn = true
            turns.append(request.party)
        }
        for party in [request.party, request.network] {
            party.requests += 1
            party.bytes += request.payload.count
        }
        bytes += request.payload.count
        waiting += 1
    }

    /// Takes a request out: whoever does so owes its answer. Nil when it was answered before.
    mutating func remove(_ id: UInt64) -> OpenRequest? {
        guard let request = requests.removeValue(forKey: id) else { return nil }
        bytes -= request.payload.count
        for party in [request.party, request.network] {
            party.requests -= 1
            party.bytes -= request.payload.count
        }
        if !request.sent { waiting -= 1 } else if request.life == life { handedOver -= 1 }
        if var share = perClient[request.client], share.requests > 1 {
            share.requests -= 1
            share.bytes -= request.payload.count
            perClient[request.client] = share
        } else {
            perClient[request.client] = nil
        }
        return request
    }

    /// The oldest request, not handed to the core yet, of whoever has the turn.
    mutating func firstUnsent() -> (id: UInt64, request: OpenRequest)? {
        while let party = turns.first {
            while let id = party.unsent.first {
                if let request = requests[id] { return (id, request) }
                party.unsent.popFirst()
            }
            party.isInTurn = false
            turns.popFirst()
        }
        return nil
    }

    /// The request that ``firstUnsent()`` gave was handed to the core.
    mutating func markFirstSent() {
        guard let party = turns.popFirst() else { return }
        if let id = party.unsent.popFirst(), requests[id] != nil {
            requests[id]?.sent = true
            requests[id]?.life = life
            waiting -= 1
            handedOver += 1
        }
        party.isInTurn = !party.unsent.isEmpty
        if party.isInTurn { turns.append(party) }
    }

    /// Another core answers now: what the one before was handed keeps nothing from this one.
    mutating func beginAnotherLife() {
        life += 1
        handedOver = 0
    }

    /// The next deadline of an open request.
    mutating func nextDeadline() -> MonotonicTime? {
        while let id = byDeadline.first {
            if let request = requests[id] { return request.deadline }
            byDeadline.popFirst()
        }
        return nil
    }

    /// Takes out the oldest request when its deadline has come.
    mutating func removeExpired(at now: MonotonicTime) -> OpenRequest? {
        guard let deadline = nextDeadline(), deadline <= now, let id = byDeadline.popFirst() else { return nil }
        return remove(id)
    }

    /// Takes out the oldest request, whatever its deadline.
    mutating func removeOldest() -> OpenRequest? {
        guard nextDeadline() != nil, let id = byDeadline.popFirst() else { return nil }
        return remove(id)
    }
}
