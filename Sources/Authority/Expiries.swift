// What ends when: the one place that says so, for the status, the metrics and the doctor alike.

public import PKI
public import RevocationFormats

/// What a reader wants to know of the published CRL without its entries.
public struct PublishedListFacts: Sendable, Equatable {
    /// The CRL number; nil where there is none.
    public var number: CRLNumber?
    public var thisUpdate: UnixTime
    public var nextUpdate: UnixTime?
    public var entries: Int
    /// The length of its DER.
    public var bytes: Int

    public init(number: CRLNumber?, thisUpdate: UnixTime, nextUpdate: UnixTime?, entries: Int, bytes: Int) {
        self.number = number
        self.thisUpdate = thisUpdate
        self.nextUpdate = nextUpdate
        self.entries = entries
        self.bytes = bytes
    }
}

/// Something that ends by itself, and whether that is worth a warning now.
public struct Expiry: Sendable, Equatable {
    public enum Kind: String, Sendable, CaseIterable {
        /// The CA's own certificate.
        case authority = "ca"
        /// The published CRL.
        case list = "crl"
        /// A node's certificate, and with it the node's rights.
        case node
        /// A one-time token that nobody has used.
        case token
        /// The registration window.
        case window
    }

    public var kind: Kind
    /// The node's CN, or the token's id; empty for what there is one of.
    public var name: String
    public var at: UnixTime
    /// Whether the operator should hear of it now.
    public var isDue: Bool

    public init(kind: Kind, name: String = "", at: UnixTime, isDue: Bool) {
        self.kind = kind
        self.name = name
        self.at = at
        self.isDue = isDue
    }

    /// A year's quarter before the CA ends there should be another.
    private static let daysForAuthority = 90
    private static let daysForNode = 30
    /// Whoever was given a one-time token still has time to use it.
    private static let secondsForToken: Int64 = 900
    /// A window that stays open for longer than this was forgotten, or meant for too long.
    private static let longestWindow: Int64 = 86_400

    /// Everything that ends, ordered by when.
    ///
    /// - Parameters:
    ///   - authorityEnds: notAfter of the CA's certificate.
    ///   - list: the published CRL; nil where there is none.
    public static func all(
        _ state: AuthorityState, authorityEnds: UnixTime, list: PublishedListFacts?, now: UnixTime
    ) -> [Expiry] {
        var expiries = [Expiry(kind: .authority, at: authorityEnds, isDue: authorityEnds < now.advanced(byDays: self.daysForAuthority))]
        if let list, let end = list.nextUpdate {
            // It is published at half of its life; what is left of the last tenth means that publishing fails.
            let isLate = end.seconds - now.seconds < (end.seconds - list.thisUpdate.seconds) / 10
            expiries.append(Expiry(kind: .list, at: end, isDue: isLate))
        }
        for node in state.nodes.values where node.state == .live {
            guard let end = node.notAfter else { continue }
            expiries.append(
                Expiry(kind: .node, name: node.commonName, at: end, isDue: end < now.advanced(byDays: self.daysForNode)))
        }
        for token in state.tokens.values where token.isLive(at: now) {
            guard let end = token.expiresAt else { continue }
            expiries.append(
                Expiry(kind: .token, name: token.id, at: end, isDue: end < now.advanced(bySeconds: self.secondsForToken)))
        }
        if state.window.isOpen(at: now), let end = state.window.openUntil {
            expiries.append(Expiry(kind: .window, at: end, isDue: end > now.advanced(bySeconds: self.longestWindow)))
        }
        return expiries.sorted { ($0.at, $0.kind.rawValue, $0.name) < ($1.at, $1.kind.rawValue, $1.name) }
    }
}
