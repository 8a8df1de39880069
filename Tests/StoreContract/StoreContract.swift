// What every store must do: the tests of one implementation are this list, run against it.

public import Authority
import PKI
import RevocationFormats
import Testing

/// The contract of `Store`: each case is a sentence and what shows it.
public struct StoreContract: Sendable, CustomTestStringConvertible {
    public let name: String
    /// Runs the case against an empty store.
    public let run: @Sendable (any Store) throws -> Void

    public var testDescription: String { self.name }

    init(_ name: String, _ run: @escaping @Sendable (any Store) throws -> Void) {
        self.name = name
        self.run = run
    }

    public static let all: [StoreContract] = certificates + revocations + people + acme + transactions

    struct Broken: Error {}

    static func serial(_ number: UInt64) -> SerialNumber {
        SerialNumber(text: String(number)) ?? SerialNumber(issuedAt: UnixTime(0), random: (0, 0))
    }

    static func record(_ number: UInt64, node: NodeID? = nil, notAfter: Int64 = 2_000) -> CertificateRecord {
        CertificateRecord(
            serial: serial(number), subject: "/O=Möbel \\/ Söhne/CN=host \(number)", commonName: "host \(number)", profile: "server",
            node: node,
            notBefore: UnixTime(-5), notAfter: UnixTime(notAfter), issuedAt: UnixTime(7), isDeleted: false, keyIsKept: number % 2 == 0,
            der: [0, 0x30, 0xff] + Array(String(number).utf8))
    }

    static func node(_ name: String, binding: Binding?, state: Node.State = .live) -> Node {
        Node(
            id: NodeID(99), commonName: name, subject: "/CN=\(name)", binding: binding, profile: "ra", profiles: ["server", "user"],
            names: ["a.example", "*.b.example"].compactMap { NamePattern($0) }, serial: serial(5), notAfter: UnixTime(3_000_000_000),
            registeredAt: UnixTime(12), origin: .manual, state: state)
    }

    // MARK: Certificates

    private static let certificates = [
        StoreContract("an empty store holds nothing") { store throws in
            try store.read { reader throws in
                #expect(try reader.certificateCount() == 0)
                #expect(try reader.revocationCount() == 0)
                #expect(try reader.certificate(serial(1)) == nil)
                #expect(try reader.revocation(serial(1)) == nil)
                #expect(try reader.certificates(after: nil, node: nil, limit: 10).isEmpty)
                #expect(try reader.nodes().isEmpty)
                #expect(try reader.admins().isEmpty)
                #expect(try reader.tokens().isEmpty)
                #expect(try reader.lastAuditRecord() == nil)
                #expect(try reader.auditRecords(after: 0, limit: 5).isEmpty)
                #expect(try reader.lastAuditCheckpoint() == nil)
                #expect(try reader.auditCheckpoints(after: 0, limit: 5).isEmpty)
                for name in StoreSetting.allCases { #expect(try reader.setting(name) == nil) }
            }
        },
        StoreContract("a certificate comes back with every field as it went in, the owner too") { store throws in
            let records = [record(1), record(2, node: NodeID(7)), record(UInt64.max)]
            try store.write { writer in for record in records { try writer.insert(record, commonNameHash: -1) } }
            try store.read { reader throws in
                for record in records { #expect(try reader.certificate(record.serial) == record) }
                #expect(try reader.certificateCount() == 3)
            }
        },
        StoreContract("a serial number of 20 octets is kept whole") { store throws in
            let longest = try #require(SerialNumber(bytes: [UInt8](repeating: 0xfe, count: 20)))
            var certificate = record(1)
            certificate.serial = longest
            try store.write { try $0.insert(certificate, commonNameHash: 0) }
            #expect(try store.read { try $0.certificate(longest) }?.serial == longest)
        },
        StoreContract("two certificates of one serial number are refused, and the transaction leaves nothing") { store throws in
            try store.write { try $0.insert(record(1), commonNameHash: 1) }
            #expect(throws: (any Error).self) {
                try store.write { writer throws in
                    try writer.insert(record(2), commonNameHash: 1)
                    try writer.insert(record(1), commonNameHash: 1)
                }
            }
            #expect(try store.read { try $0.certificateCount() } == 1)
        },
        StoreContract("certificates of one name hash come newest first by issue, whatever their serial numbers, in pages") { store throws in
            try store.write { writer throws in
                for number in [30, 10, 20, 40] as [UInt64] { try writer.insert(record(number), commonNameHash: 4) }
                try writer.insert(record(15), commonNameHash: 5)
                try writer.set(Revocation(serial: serial(10), reason: .superseded, revokedAt: UnixTime(9), notAfter: UnixTime(2_000)))
                try writer.markDeleted(serial(20))
            }
            try store.read { reader throws in
                let all = try reader.certificates(commonNameHash: 4, before: nil, limit: 10)
                #expect(all.map(\.certificate.serial) == [40, 20, 10, 30].map { serial($0) })
                #expect(all[1].certificate.isDeleted && all[2].revocation?.reason == .superseded && all[0].revocation == nil)
                #expect(
                    try reader.certificates(commonNameHash: 4, before: nil, limit: 2).map(\.certificate.serial) == [serial(40), serial(20)])
                #expect(
                    try reader.certificates(commonNameHash: 4, before: serial(20), limit: 2).map(\.certificate.serial) == [
                        serial(10), serial(30),
                    ])
                #expect(try reader.certificates(commonNameHash: 4, before: serial(30), limit: 2).isEmpty)
                #expect(throws: AuthorityError(.certificateNotFound, "")) {
                    try reader.certificates(commonNameHash: 4, before: serial(99), limit: 2)
                }
            }
        },
        StoreContract("a listing goes in the order of issue, after a serial number, of one node where asked") { store throws in
            try store.write { writer throws in
                for (number, node) in [(30, 1), (10, 2), (20, 1), (40, 1)] as [(UInt64, Int64)] {
                    try writer.insert(record(number, node: NodeID(node)), commonNameHash: 0)
                }
            }
            try store.read { reader throws in
                #expect(
                    try reader.certificates(after: nil, node: nil, limit: 9).map(\.certificate.serial)
                        == [30, 10, 20, 40].map { serial($0) })
                #expect(try reader.certificates(after: serial(10), node: nil, limit: 1).map(\.certificate.serial) == [serial(20)])
                #expect(
                    try reader.certificates(after: serial(10), node: NodeID(1), limit: 9).map(\.certificate.serial) == [
                        serial(20), serial(40),
                    ])
                #expect(try reader.certificates(after: serial(40), node: nil, limit: 9).isEmpty)
                #expect(throws: AuthorityError(.certificateNotFound, "")) {
                    try reader.certificates(after: serial(77), node: nil, limit: 9)
                }
            }
        },
    ]

    // MARK: Revocations

    private static let revocations = [
        StoreContract("revocations are walked in the order of serial numbers as numbers") { store throws in
            let numbers: [UInt64] = [256, 1, 255, 65_536, 1 << 40, 2]
            try store.write { writer throws in
                for number in numbers {
                    try writer.set(
                        Revocation(serial: serial(number), reason: .unspecified, revokedAt: UnixTime(1), notAfter: UnixTime(.max)))
                }
            }
            var seen: [SerialNumber] = []
            try store.read { reader throws in
                try reader.forEachRevocation { seen.append($0.serial) }
                #expect(try reader.revocationCount() == numbers.count)
            }
            #expect(seen == numbers.sorted().map { serial($0) })
        },
        StoreContract("a revocation is kept with all its fields, replaced and removed") { store throws in
            for reason in CRLReason.allCases {
                let revocation = Revocation(serial: serial(3), reason: reason, revokedAt: UnixTime(-1), notAfter: UnixTime(.max))
                try store.write { try $0.set(revocation) }
                #expect(try store.read { try $0.revocation(serial(3)) } == revocation)
            }
            try store.write { try $0.removeRevocation(serial(3)) }
            #expect(try store.read { try $0.revocation(serial(3)) } == nil)
        },
        StoreContract("a summary is what certificate and revocation say, of each alone, of both and of neither") { store throws in
            let revocations = [2, 3].map {
                Revocation(serial: serial($0), reason: .keyCompromise, revokedAt: UnixTime(-1), notAfter: UnixTime(.max))
            }
            try store.write { writer in
                for number in [1, 2] as [UInt64] { try writer.insert(record(number, notAfter: 5), commonNameHash: 1) }
                for revocation in revocations { try writer.set(revocation) }
            }
            try store.read { reader throws in
                #expect(
                    try reader.summary(serial(1)) == SerialSummary(commonName: "host 1", notAfter: UnixTime(5), revocation: nil))
                #expect(
                    try reader.summary(serial(2)) == SerialSummary(commonName: "host 2", notAfter: UnixTime(5), revocation: revocations[0]))
                #expect(try reader.summary(serial(3)) == SerialSummary(commonName: "", notAfter: nil, revocation: revocations[1]))
                #expect(try reader.summary(serial(4)) == SerialSummary(commonName: "", notAfter: nil, revocation: nil))
            }
        },
        StoreContract("a walk that throws hands the error on") { store throws in
            try store.write {
                try $0.set(Revocation(serial: serial(3), reason: .unspecified, revokedAt: UnixTime(1), notAfter: UnixTime(1)))
            }
            #expect(throws: Broken.self) { try store.read { try $0.forEachRevocation { _ in throw Broken() } } }
        },
        StoreContract("a blocked key stays blocked, and may be blocked twice") { store throws in
            let hash = [UInt8](repeating: 9, count: 32)
            #expect(try store.read { try !$0.isBlocked(keyHash: hash) })
            for _ in 0..<2 { try store.write { try $0.block(keyHash: hash) } }
            #expect(try store.read { try $0.isBlocked(keyHash: hash) })
            #expect(try store.read { try !$0.isBlocked(keyHash: [1]) })
        },
    ]

    // MARK: Nodes, admins, tokens, settings

    private static let people = [
        StoreContract("a node gets an id of its own and comes back with every field") { store throws in
            let bindings: [Binding?] = [.address("10.0.0.1"), .curve("rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"), nil]
            var kept: [Node] = []
            for (index, binding) in bindings.enumerated() {
                var node = node("n\(index)", binding: binding)
                if index == 2 { (node.profiles, node.names, node.serial, node.notAfter) = (nil, [], nil, nil) }
                node.id = try store.write { try $0.insert(node) }
                kept.append(node)
            }
            #expect(Set(kept.map(\.id)).count == 3)
            #expect(try store.read { try $0.nodes() } == kept)
        },
        StoreContract("one binding belongs to one live node") { store throws in
            let first = try store.write { try $0.insert(node("a", binding: .address("::1"))) }
            #expect(throws: (any Error).self) { try store.write { try $0.insert(node("b", binding: .address("::1"))) } }
            try store.write { writer throws in
                var gone = node("a", binding: .address("::1"), state: .deleted)
                gone.id = first
                try writer.update(gone)
                _ = try writer.insert(node("b", binding: .address("::1")))
            }
            #expect(try store.read { try $0.nodes() }.map(\.state) == [.deleted, .live])
        },
        StoreContract("admins keep their order and their exact text") { store throws in
            let texts = ["/CN=z", "/cn=Z", "CN=a,O=Café", "/CN=b"]
            try store.write { writer in for text in texts { try writer.addAdmin(text) } }
            #expect(try store.read { try $0.admins() } == texts)
            try store.write { try $0.removeAdmin("/cn=Z") }
            #expect(try store.read { try $0.admins() } == ["/CN=z", "CN=a,O=Café", "/CN=b"])
        },
        StoreContract("a token is replaced by its hash") { store throws in
            var token = Token(hash: [1, 2, 3, 4, 5], kind: .oneTime, commonName: "ra", expiresAt: UnixTime(5))
            try store.write { try $0.set(token) }
            token.usedAt = UnixTime(4)
            token.usedFor = SerialNumber(bytes: [7, 0, 1])
            token.isRevoked = true
            let standing = Token(hash: [9], kind: .standing)
            try store.write { writer throws in
                try writer.set(token)
                try writer.set(standing)
            }
            let all = try store.read { try $0.tokens() }.sorted { $0.hash.lexicographicallyPrecedes($1.hash) }
            #expect(all == [token, standing])
        },
        StoreContract("settings are kept by name, several lines too") { store throws in
            for name in StoreSetting.allCases { try store.write { try $0.set(name, "1\n\(name.rawValue)\n") } }
            for name in StoreSetting.allCases { #expect(try store.read { try $0.setting(name) } == "1\n\(name.rawValue)\n") }
            try store.write { try $0.set(.crlNumber, "2") }
            #expect(try store.read { try $0.setting(.crlNumber) } == "2")
        },
    ]

    // MARK: ACME

    private static let acme = [
        StoreContract("ACME records belong to the node that wrote them") { store throws in
            let account = AcmeAccount(id: "a", node: NodeID(1), jwk: #"{"k":1}"#, contact: "[]", status: "valid", createdAt: "now")
            let order = AcmeOrder(
                id: "o", node: NodeID(1), accountID: "a",
                identifiers: [.init(type: "dns", value: "*.example.org"), .init(type: "ip", value: "2001:db8::1")],
                status: "ready", notBefore: nil, notAfter: "later", serial: serial(8))
            let authorization = AcmeAuthorization(
                id: "z", node: NodeID(1), orderID: "o", identifier: .init(type: "dns", value: "example.org"), status: "valid")
            var foreign = account
            foreign.node = NodeID(2)
            foreign.status = "revoked"
            try store.write { writer throws in
                try writer.set(account)
                try writer.set(order)
                try writer.set(authorization)
                try writer.set(foreign)
            }
            try store.read { reader throws in
                #expect(try reader.acmeAccount("a", node: NodeID(1)) == account)
                #expect(try reader.acmeAccount("a", node: NodeID(2)) == foreign)
                #expect(try reader.acmeAccounts(node: NodeID(1)) == [account])
                #expect(try reader.acmeAccounts(node: NodeID(3)).isEmpty)
                #expect(try reader.acmeOrder("o", node: NodeID(1)) == order)
                #expect(try reader.acmeOrder("o", node: NodeID(2)) == nil)
                #expect(try reader.acmeOrders(account: "a", node: NodeID(1)) == [order])
                #expect(try reader.acmeOrders(account: "a", node: NodeID(2)).isEmpty)
                #expect(try reader.acmeAuthorization("z", node: NodeID(1)) == authorization)
                #expect(try reader.acmeAuthorization("z", node: NodeID(2)) == nil)
                #expect(try reader.acmeAuthorizations(order: "o", node: NodeID(1)) == [authorization])
                #expect(try reader.acmeAuthorizations(order: "o", node: NodeID(2)).isEmpty)
            }
        }
    ]

    // MARK: Transactions and audit

    private static let transactions = [
        StoreContract("a transaction that throws is undone whole, and hands its error on") { store throws in
            let before = try store.read { try $0.nodes() }
            #expect(throws: Broken.self) {
                try store.write { writer throws in
                    try writer.insert(record(1), commonNameHash: 1)
                    _ = try writer.insert(node("n", binding: nil))
                    try writer.addAdmin("/CN=a")
                    try writer.set(.crlNumber, "9")
                    try writer.block(keyHash: [1])
                    throw Broken()
                }
            }
            try store.read { reader throws in
                #expect(try reader.certificateCount() == 0)
                #expect(try reader.nodes() == before)
                #expect(try reader.admins().isEmpty)
                #expect(try reader.setting(.crlNumber) == nil)
                #expect(try !reader.isBlocked(keyHash: [1]))
            }
        },
        StoreContract("a transaction sees its own writes, and counts them") { store throws in
            try store.write { writer throws in
                let mark = writer.changeCount
                _ = try writer.certificateCount()
                #expect(writer.changeCount == mark)
                try writer.insert(record(1), commonNameHash: 1)
                #expect(writer.changeCount > mark)
                #expect(try writer.certificate(serial(1)) == record(1))
                try writer.markDeleted(serial(1))
                #expect(try writer.certificate(serial(1))?.isDeleted == true)
            }
        },
        StoreContract("a reader sees one snapshot while a writer writes") { store throws in
            try store.write { try $0.insert(record(1), commonNameHash: 1) }
            try store.read { reader throws in
                #expect(try reader.certificateCount() == 1)
                try store.write { try $0.insert(record(2), commonNameHash: 1) }
                #expect(try reader.certificateCount() == 1)
                #expect(try reader.certificate(serial(2)) == nil)
            }
            #expect(try store.read { try $0.certificateCount() } == 2)
        },
        StoreContract("audit records come back in order, in pages, unchanged; a number is given once") { store throws in
            var records: [AuditRecord] = []
            var head = AuditRecord.origin
            for sequence in 1...5 as ClosedRange<Int64> {
                var record = AuditRecord(
                    sequence: sequence, time: UnixTime(sequence), requestID: "r\(sequence)", identity: "node é", proof: "plain address ::1",
                    task: "sign",
                    outcome: sequence % 2 == 0 ? .refused : .done, target: "/CN=\u{1F511}", serial: "ab", detail: "", hash: [])
                record.hash = record.chained(to: head)
                head = record.hash
                records.append(record)
            }
            let kept = records
            try store.write { writer in for record in kept { try writer.append(record) } }
            try store.read { reader throws in
                #expect(try reader.auditRecords(after: 0, limit: 100) == kept)
                #expect(try reader.auditRecords(after: 2, limit: 2) == Array(kept[2...3]))
                #expect(try reader.lastAuditRecord() == kept.last)
                let verdict = try reader.verifyAudit()
                #expect(verdict.verified == 5 && verdict.firstBad == nil && verdict.fault == nil)
            }
            #expect(throws: (any Error).self) { try store.write { try $0.append(kept[4]) } }
        },
        StoreContract("audit checkpoints come back in order, in pages, unchanged; a number is given once") { store throws in
            let checkpoints = (1...5 as ClosedRange<Int64>).map { number in
                AuditCheckpoint(
                    number: number, sequence: number * 10, time: UnixTime(-number), head: [UInt8](repeating: UInt8(number), count: 32),
                    previous: [UInt8](repeating: 0xff, count: 32), signature: [UInt8](repeating: 0, count: 64))
            }
            try store.write { writer in for checkpoint in checkpoints { try writer.append(checkpoint) } }
            try store.read { reader throws in
                #expect(try reader.auditCheckpoints(after: 0, limit: 100) == checkpoints)
                #expect(try reader.auditCheckpoints(after: 2, limit: 2) == Array(checkpoints[2...3]))
                #expect(try reader.lastAuditCheckpoint() == checkpoints.last)
            }
            #expect(throws: (any Error).self) { try store.write { try $0.append(checkpoints[4]) } }
        },
    ]
}
