// What the authority knows without asking the store: nodes, admins, tokens, profiles, the window and the counters. It grows with
// the number of nodes, never with the number of certificates.

public import PKI
public import RevocationFormats

/// A value that workers read as a snapshot and that the one writer changes with each commit.
public struct AuthorityState: Sendable {
    public private(set) var nodes: [NodeID: Node] = [:]
    private var nodeByBinding: [Binding: NodeID] = [:]
    private var nodeByCommonName: [String: NodeID] = [:]
    public private(set) var admins: [Admin] = []
    public var profiles: [String: CertificateProfile] = [:]
    public private(set) var tokens: [[UInt8]: Token] = [:]
    public var window = RegistrationWindow.closed
    public var tokenNumber = 0
    public var eventSequence: Int64 = 0
    public var crlNumber = CRLNumber(0)
    /// thisUpdate of the last scheduled CRL.
    public var scheduledCRLTime: UnixTime?
    public var auditSequence: Int64 = 0
    public var auditHead = AuditRecord.origin
    /// The time of the last audit record: no time before it is believed.
    public var auditTime = UnixTime(.min)
    /// The newest checkpoint of the audit log: its number (0 for none), the record that it covers, and its hash.
    public internal(set) var checkpointNumber: Int64 = 0
    public internal(set) var checkpointSequence: Int64 = 0
    var checkpointHash = AuditRecord.origin
    /// The time of the first record that no checkpoint covers.
    var openSince: UnixTime?
    /// What was found wrong with the audit log and was not acknowledged.
    public internal(set) var auditFault: String?
    public var keyIsDerived = false
    /// The certificates of the OCSP responder.
    public internal(set) var responders = ResponderCertificates()
    /// What this CA cannot know of its own past; nil where it has none.
    public var recoveryNote: RecoveryNote?
    /// When the correct seed last came in clear over a network: whoever listened there can make the CA's key.
    public var seedExposedAt: UnixTime?

    init() {}

    /// Reads everything but the profiles from the store.
    package init(loading reader: any StoreReader, auditKey: AuditKey? = nil) throws {
        for node in try reader.nodes() { self.set(node) }
        for text in try reader.admins() {
            guard let admin = Admin(text: text) else { throw AuthorityError(.storage, "An entry of the admin list cannot be read") }
            self.admins.append(admin)
        }
        for token in try reader.tokens() { self.tokens[token.hash] = token }
        self.tokenNumber = try Self.number(reader, .tokenNumber)
        self.eventSequence = Int64(try Self.number(reader, .eventSequence))
        if let text = try reader.setting(.crlNumber) {
            guard let number = CRLNumber(decimal: text) else {
                throw AuthorityError(.storage, "The stored value of \(StoreSetting.crlNumber.rawValue) is no number")
            }
            self.crlNumber = number
        }
        self.scheduledCRLTime = try reader.setting(.scheduledCRLTime).flatMap { Int64($0) }.map { UnixTime($0) }
        self.keyIsDerived = try reader.setting(.keyOrigin) == "derived"
        self.recoveryNote = try reader.setting(.recoveryNote).flatMap { RecoveryNote(stored: $0) }
        self.seedExposedAt = try reader.setting(.seedExposedAt).flatMap { Int64($0) }.map { UnixTime($0) }
        if let text = try reader.setting(.responders) { self.responders = ResponderCertificates(stored: text) }
        if let text = try reader.setting(.registrationWindow) { self.window = RegistrationWindow(stored: text) }
        if let last = try reader.lastAuditRecord() {
            self.auditSequence = last.sequence
            self.auditHead = last.hash
            self.auditTime = last.time
        }
        try self.loadCheckpoint(reader, auditKey)
        self.auditFault = try reader.setting(.auditFault).flatMap { $0.isEmpty ? nil : $0 }
    }

    private mutating func loadCheckpoint(_ reader: any StoreReader, _ key: AuditKey?) throws {
        guard let checkpoint = try reader.lastAuditCheckpoint() else { return }
        self.checkpointNumber = checkpoint.number
        // Without the key nothing is ever signed. One that nobody signed says nothing of records.
        self.checkpointHash = key.map { checkpoint.hash($0.authority) } ?? AuditRecord.origin
        self.checkpointSequence = key?.signed(checkpoint) ?? true ? checkpoint.sequence : 0
        if self.checkpointSequence > self.auditSequence {
            // Records were cut off. Their numbers are not given again, and what comes follows what was signed.
            self.auditSequence = checkpoint.sequence
            self.auditHead = checkpoint.head
        }
        if self.auditSequence > self.checkpointSequence { self.openSince = UnixTime(0) }
    }

    private static func number(_ reader: any StoreReader, _ name: StoreSetting) throws -> Int {
        guard let text = try reader.setting(name) else { return 0 }
        guard let number = Int(text) else { throw AuthorityError(.storage, "The stored value of \(name.rawValue) is no number") }
        return number
    }

    // MARK: Nodes

    /// The live node (by its state, whatever its certificate's end) that this binding belongs to.
    public func node(bound binding: Binding) -> Node? { self.nodeByBinding[binding].flatMap { self.nodes[$0] } }

    /// The live node with this CN.
    public func node(commonName: String) -> Node? {
        self.nodeByCommonName[DistinguishedName.normalised(commonName)].flatMap { self.nodes[$0] }
    }

    /// The newest node of any state with this CN, for showing.
    public func anyNode(commonName: String) -> Node? {
        if let live = self.node(commonName: commonName) { return live }
        let wanted = DistinguishedName.normalised(commonName)
        return self.nodes.values.filter { DistinguishedName.normalised($0.commonName) == wanted }.max { $0.id < $1.id }
    }

    /// The live node whose own certificate has this serial number.
    public func node(serial: SerialNumber) -> Node? { self.nodes.values.first { $0.serial == serial } }

    /// Another number whenever a node is another one.
    private(set) var nodesGeneration: UInt64 = 0

    /// Adds or replaces a node, keeping the indexes true.
    mutating func set(_ node: Node) {
        if let old = self.nodes[node.id], old.state == .live {
            if let binding = old.binding, self.nodeByBinding[binding] == old.id { self.nodeByBinding[binding] = nil }
            let name = DistinguishedName.normalised(old.commonName)
            if self.nodeByCommonName[name] == old.id { self.nodeByCommonName[name] = nil }
        }
        self.nodes[node.id] = node
        self.nodesGeneration += 1
        if node.state == .live {
            if let binding = node.binding { self.nodeByBinding[binding] = node.id }
            self.nodeByCommonName[DistinguishedName.normalised(node.commonName)] = node.id
        }
    }

    /// Names that only their owner or an admin may be given: those of live nodes and of listed admins.
    ///
    /// Returns the node that owns it (nil for an admin's name that no live node carries), or nothing where the name is free.
    func reservation(of name: DistinguishedName) -> (owner: NodeID?, isReserved: Bool) {
        if let commonName = name.commonName, let node = self.node(commonName: commonName), DistinguishedName.parse(node.subject) == name {
            return (node.id, true)
        }
        return (nil, self.admins.contains { $0.name == name })
    }

    // MARK: Admins

    /// Whether the node carries the DN of a listed admin.
    public func isAdmin(_ node: Node) -> Bool {
        guard !self.admins.isEmpty, let name = DistinguishedName.parse(node.subject) else { return false }
        return self.admins.contains { $0.name == name }
    }

    mutating func add(_ admin: Admin) { self.admins.append(admin) }
    mutating func removeAdmin(at index: Int) { self.admins.remove(at: index) }

    // MARK: Tokens

    mutating func set(_ token: Token) { self.tokens[token.hash] = token }

    /// The profile that a name means, aliases followed.
    public func profile(_ name: String) throws -> CertificateProfile {
        guard let profile = self.profiles[CertificateProfile.canonicalName(name)] else { throw AuthorityError(.profileNotFound, name) }
        return profile
    }
}

extension RegistrationWindow {
    /// Four lines: until, remaining, CN, reason; an empty line stands for nil.
    var stored: String {
        [self.openUntil.map { String($0.seconds) } ?? "", self.remaining.map { String($0) } ?? "", self.commonName ?? "", self.reason]
            .joined(separator: "\n")
    }

    init(stored: String) {
        let lines = stored.split(separator: "\n", maxSplits: 3, omittingEmptySubsequences: false).map { String($0) }
        guard lines.count == 4 else {
            self = .closed
            return
        }
        self.init(
            openUntil: Int64(lines[0]).map { UnixTime($0) }, remaining: Int(lines[1]), commonName: lines[2].isEmpty ? nil : lines[2],
            reason: lines[3])
    }
}
