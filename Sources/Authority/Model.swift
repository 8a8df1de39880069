// The things the authority keeps: certificates, revocations, nodes, admins, tokens, the registration window.

public import PKI
public import RevocationFormats

/// A certificate as the store keeps it.
public struct CertificateRecord: Sendable, Equatable {
    public var serial: SerialNumber
    /// The subject in slash notation; empty where the certificate's subject is.
    public var subject: String
    /// The subject's common name; empty where it has none.
    public var commonName: String
    public var profile: String
    /// The node that asked for it; nil where the operator did.
    public var node: NodeID?
    public var notBefore: UnixTime
    public var notAfter: UnixTime
    public var issuedAt: UnixTime
    /// Whether `delete` took it out of the inventory; its history and CRL entry remain.
    public var isDeleted: Bool
    /// Whether the CA made the key and keeps it in its node folder.
    public var keyIsKept: Bool
    public var der: [UInt8]

    public init(
        serial: SerialNumber, subject: String, commonName: String, profile: String, node: NodeID?, notBefore: UnixTime, notAfter: UnixTime,
        issuedAt: UnixTime, isDeleted: Bool = false, keyIsKept: Bool = false, der: [UInt8]
    ) {
        self.serial = serial
        self.subject = subject
        self.commonName = commonName
        self.profile = profile
        self.node = node
        self.notBefore = notBefore
        self.notAfter = notAfter
        self.issuedAt = issuedAt
        self.isDeleted = isDeleted
        self.keyIsKept = keyIsKept
        self.der = der
    }
}

/// What a listing shows of a certificate: its record and its revocation, if any.
public struct CertificateStatus: Sendable, Equatable {
    public var certificate: CertificateRecord
    public var revocation: Revocation?

    public init(certificate: CertificateRecord, revocation: Revocation?) {
        self.certificate = certificate
        self.revocation = revocation
    }

    /// `deleted`, `revoked`, `expired` or `issued`, the first that holds; revoked wins over expired.
    public func state(at now: UnixTime) -> String {
        if self.certificate.isDeleted { return "deleted" }
        if self.revocation != nil { return "revoked" }
        return self.certificate.notAfter < now ? "expired" : "issued"
    }

    /// Whether it is neither revoked, nor deleted, nor expired.
    public func isLive(at now: UnixTime) -> Bool { self.state(at: now) == "issued" }

    /// Whether it is live, or would be if its hold were released.
    func isLiveOrHeld(at now: UnixTime) -> Bool {
        guard self.revocation == nil || self.revocation?.reason == .certificateHold else { return false }
        return !self.certificate.isDeleted && self.certificate.notAfter >= now
    }
}

/// The revocation of a serial number.
public struct Revocation: Sendable, Equatable {
    public var serial: SerialNumber
    public var reason: CRLReason
    public var revokedAt: UnixTime
    /// When the certificate expires; `.max` where that is not known (an entry taken over from a CRL).
    public var notAfter: UnixTime

    public init(serial: SerialNumber, reason: CRLReason, revokedAt: UnixTime, notAfter: UnixTime) {
        self.serial = serial
        self.reason = reason
        self.revokedAt = revokedAt
        self.notAfter = notAfter
    }
}

/// What a node is recognised by: the address it speaks from or the CURVE key it proves.
public enum Binding: Hashable, Sendable {
    case address(String)
    case curve(String)

    /// `address 127.0.0.1` or `curve <z85>`.
    public var text: String {
        switch self {
        case .address(let address): "address \(address)"
        case .curve(let key): "curve \(key)"
        }
    }

    public init?(text: String) {
        if text.hasPrefix("address ") {
            self = .address(String(text.dropFirst(8)))
        } else if text.hasPrefix("curve ") {
            self = .curve(String(text.dropFirst(6)))
        } else {
            return nil
        }
    }
}

/// A registered node.
public struct Node: Sendable, Equatable {
    public enum State: String, Sendable { case live, revoked, deleted }
    /// How it came to be a node.
    public enum Origin: String, Sendable { case registered, manual }

    public var id: NodeID
    public var commonName: String
    /// The subject of its certificate; for a node added by hand without one, a name of just its CN.
    public var subject: String
    public var binding: Binding?
    public var profile: String
    /// The profiles it may ask for; nil for all that nodes may.
    public var profiles: [String]?
    /// The names it may ask for; nil for all.
    public var names: [NamePattern]?
    /// Its own certificate; nil for a node added by hand.
    public var serial: SerialNumber?
    /// When its certificate, and so its rights, end; nil where it has none.
    public var notAfter: UnixTime?
    public var registeredAt: UnixTime
    public var origin: Origin
    public var state: State

    public init(
        id: NodeID, commonName: String, subject: String, binding: Binding?, profile: String, profiles: [String]? = nil,
        names: [NamePattern]? = nil,
        serial: SerialNumber?, notAfter: UnixTime?, registeredAt: UnixTime, origin: Origin, state: State
    ) {
        self.id = id
        self.commonName = commonName
        self.subject = subject
        self.binding = binding
        self.profile = profile
        self.profiles = profiles
        self.names = names
        self.serial = serial
        self.notAfter = notAfter
        self.registeredAt = registeredAt
        self.origin = origin
        self.state = state
    }

    /// Whether its rights hold at this moment.
    public func isLive(at now: UnixTime) -> Bool {
        guard self.state == .live else { return false }
        guard let notAfter = self.notAfter else { return true }
        return now <= notAfter
    }
}

/// A registration token; only its SHA-256 is ever kept.
public struct Token: Sendable, Equatable {
    /// The first eight hexadecimal digits of the hash: enough to name it, useless to whoever reads it.
    public var id: String
    public var hash: [UInt8]
    public enum Kind: String, Sendable {
        case standing
        case oneTime = "one-time"
    }
    public var kind: Kind
    /// The CN it may register; nil for any.
    public var commonName: String?
    /// When it ends; nil for never.
    public var expiresAt: UnixTime?
    /// When a one-time token was used.
    public var usedAt: UnixTime?
    /// The certificate that a one-time token was used for, so that a lost answer can be given again.
    public var usedFor: SerialNumber?
    public var isRevoked: Bool

    public init(
        hash: [UInt8], kind: Kind, commonName: String? = nil, expiresAt: UnixTime? = nil, usedAt: UnixTime? = nil,
        usedFor: SerialNumber? = nil, isRevoked: Bool = false
    ) {
        self.id = Hexadecimal.encode(hash.prefix(4))
        self.hash = hash
        self.kind = kind
        self.commonName = commonName
        self.expiresAt = expiresAt
        self.usedAt = usedAt
        self.usedFor = usedFor
        self.isRevoked = isRevoked
    }

    /// Whether it opens anything at this moment.
    public func isLive(at now: UnixTime) -> Bool {
        guard !self.isRevoked, self.usedAt == nil else { return false }
        guard let expiresAt = self.expiresAt else { return true }
        return now < expiresAt
    }
}

/// The registration window: until when, how many are left, which CN.
public struct RegistrationWindow: Sendable, Equatable {
    /// When it closes by itself; nil where it is closed.
    public var openUntil: UnixTime?
    /// How many registrations are left; nil for any number.
    public var remaining: Int?
    /// The only CN that may register; nil for any.
    public var commonName: String?
    /// Why it is in this state, for people.
    public var reason: String

    public init(openUntil: UnixTime?, remaining: Int?, commonName: String?, reason: String) {
        self.openUntil = openUntil
        self.remaining = remaining
        self.commonName = commonName
        self.reason = reason
    }

    public static let closed = RegistrationWindow(openUntil: nil, remaining: nil, commonName: nil, reason: "never opened")

    public func isOpen(at now: UnixTime) -> Bool {
        guard let openUntil = self.openUntil, now < openUntil else { return false }
        return self.remaining.map { $0 > 0 } ?? true
    }
}

/// An entry of the admin list: the text exactly as it was added, since deployed clients compare text.
public struct Admin: Sendable, Equatable {
    public var text: String
    public var name: DistinguishedName

    public init?(text: String) {
        guard let name = DistinguishedName.parse(text) else { return nil }
        self.text = text
        self.name = name
    }
}

/// A change that others hear of, with the sequence number that was stored in the same commit.
public enum Event: Sendable, Equatable {
    /// The status of a serial number changed; nil means that a hold was released.
    case status(sequence: Int64, serial: SerialNumber, revocation: Revocation?)
    /// A hold was released whose certificate is not known here: of that serial number nothing is known any more.
    case forgotten(sequence: Int64, serial: SerialNumber)
    /// The registration window changed.
    case window(sequence: Int64, RegistrationWindow)
    /// Up to this number there are changes in the store of which nobody heard: their commit failed, as it seemed.
    case missed(sequence: Int64)

    /// The number that was stored with the change.
    public var sequence: Int64 {
        switch self {
        case .status(let sequence, _, _), .forgotten(let sequence, _), .window(let sequence, _), .missed(let sequence): sequence
        }
    }
}

/// An ACME account that a node keeps here (RFC 8555 7.1.2).
public struct AcmeAccount: Sendable, Equatable {
    public var id: String
    public var node: NodeID
    /// The JSON Web Key as JSON text.
    public var jwk: String
    /// The contacts as JSON text.
    public var contact: String
    public var status: String
    public var createdAt: String

    public init(id: String, node: NodeID, jwk: String, contact: String, status: String, createdAt: String) {
        self.id = id
        self.node = node
        self.jwk = jwk
        self.contact = contact
        self.status = status
        self.createdAt = createdAt
    }
}

/// An identifier of an order or authorization (RFC 8555 7.1.3): `dns` or `ip`, and the name.
public struct AcmeIdentifier: Sendable, Hashable {
    public var type: String
    public var value: String

    public init(type: String, value: String) {
        self.type = type
        self.value = value
    }

    /// What this identifier allows a certificate to name; nil for a type that is not known.
    public var name: AlternativeName? {
        switch self.type.lowercased() {
        case "dns": .dns(HostName.folded(self.value))
        case "ip": AlternativeName(kind: "IP", value: self.value)
        default: nil
        }
    }
}

/// An ACME order that a node keeps here (RFC 8555 7.1.3).
public struct AcmeOrder: Sendable, Equatable {
    public var id: String
    public var node: NodeID
    public var accountID: String
    public var identifiers: [AcmeIdentifier]
    public var status: String
    public var notBefore: String?
    public var notAfter: String?
    public var serial: SerialNumber?

    public init(
        id: String, node: NodeID, accountID: String, identifiers: [AcmeIdentifier], status: String, notBefore: String?, notAfter: String?,
        serial: SerialNumber?
    ) {
        self.id = id
        self.node = node
        self.accountID = accountID
        self.identifiers = identifiers
        self.status = status
        self.notBefore = notBefore
        self.notAfter = notAfter
        self.serial = serial
    }
}

/// An ACME authorization that a node keeps here (RFC 8555 7.1.4).
public struct AcmeAuthorization: Sendable, Equatable {
    public var id: String
    public var node: NodeID
    public var orderID: String
    public var identifier: AcmeIdentifier
    public var status: String

    public init(id: String, node: NodeID, orderID: String, identifier: AcmeIdentifier, status: String) {
        self.id = id
        self.node = node
        self.orderID = orderID
        self.identifier = identifier
        self.status = status
    }
}
