// Tasks with everything around them, run to their end on the test's own thread: what the threads of the program do, one after the other.

import Authority
import Crypto
import PKI
import RevocationFormats
import Synchronization
import Tasks
import TestAuthority
import Testing
import UPKIProtocol

/// Keys at once, or only from the thread that may take its time.
private struct FakeKeys: SubjectKeys {
    let areReady: Bool
    func ready(_ type: SubjectKeyType) throws -> SubjectKeyPair? { self.areReady ? try TestAuthority.keyPair() : nil }
    func make(_ type: SubjectKeyType) throws -> SubjectKeyPair { try TestAuthority.keyPair() }
}

/// The seed is `correct horse battery staple`; tokens begin with `upkireg_`.
final class FakeSeeds: SeedChecks {
    static let seed = "correct horse battery staple"
    private let guesses = Mutex(0)
    private let made = Mutex(0)
    private let callers = Mutex<[Caller]>([])
    /// Who sent the right seed.
    var rightFrom: [Caller] { self.callers.withLock { $0 } }
    var checks: Int { self.guesses.withLock { $0 } }

    func isToken(_ text: String) -> Bool { text.hasPrefix("upkireg_") }
    func admit(_ caller: Caller) throws {
        if self.checks >= 5 { throw Refusal(.invalidSeed, "Invalid registration seed: too many wrong seeds; wait 60 s") }
    }
    func verify(seed: String, caller: Caller) throws -> Bool {
        self.guesses.withLock { $0 += 1 }
        if seed == Self.seed { self.callers.withLock { $0.append(caller) } }
        return seed == Self.seed
    }
    func standingToken(number: Int, seed: String?) throws -> String {
        guard seed == Self.seed else { throw Refusal(.invalidSeed, "Invalid registration seed") }
        return "upkireg_standing_\(number)"
    }
    func oneTimeToken() throws -> String {
        let number = self.made.withLock { made in
            made += 1
            return made
        }
        return "upkireg_once_\(number)"
    }
}

/// Publishes into memory.
private final class FakePublisher: ListPublisher {
    private let test: TestAuthority
    private let der = Mutex<[UInt8]?>(nil)

    init(_ test: TestAuthority) { self.test = test }

    func publish() throws {
        let list = try self.test.revocationList()
        self.der.withLock { $0 = list }
    }
    func published() throws -> [UInt8]? { self.der.withLock { $0 } }
    func publishedAnswer() throws -> [UInt8]? {
        try self.published().map { [UInt8(ascii: "\"")] + Base64.encode($0) + [UInt8(ascii: "\"")] }
    }
    func publishedFacts() throws -> PublishedListFacts? {
        try self.published().map { der in
            let list = try CertificateList(derEncoded: der).tbsCertList
            var entries = 0
            try list.revokedCertificates?.forEachEntry { _ in entries += 1 }
            return PublishedListFacts(
                number: list.crlNumber, thisUpdate: UnixTime(list.thisUpdate.unixSeconds),
                nextUpdate: list.nextUpdate.map { UnixTime($0.unixSeconds) }, entries: entries, bytes: der.count)
        }
    }
    var publishedFile: PublishedListFile? {
        guard let der = self.der.withLock({ $0 }), let list = try? CertificateList(derEncoded: der).tbsCertList,
            let number = list.crlNumber, let end = list.nextUpdate
        else { return nil }
        return PublishedListFile(
            number: number, thisUpdate: UnixTime(list.thisUpdate.unixSeconds), nextUpdate: UnixTime(end.unixSeconds), bytes: der.count,
            sha256: Array(SHA256.hash(data: der))
        ) { offset, count in Array(der.dropFirst(offset).prefix(count)) }
    }
    func takeOver(_ piece: ListPiece, for context: RequestContext) throws -> JSON {
        [
            "upload": .string(piece.upload), "bytes": .integer(piece.data?.count ?? -1), "offset": .integer(piece.offset),
            "last": .bool(piece.isLast),
        ]
    }
}

private struct FakeOperations: Operations {
    func status() -> JSON { ["version": "0"] }
    func reload() throws -> JSON { true }
    func metrics() throws -> String { "up 1\n" }
    var doctorChecks: [String] { ["clock"] }
    func doctor(check: String) throws -> JSON {
        guard self.doctorChecks.contains(check) else { throw Refusal(.notFound, "Check not found: \(check)") }
        return []
    }
}

final class FakeRelays: RelayKeeping {
    /// What was done, in its order.
    final class Shared: Sendable {
        private let all = Mutex<[String]>([])
        func withLock(_ body: (inout [String]) -> Void) { self.all.withLock { body(&$0) } }
        var value: [String] { self.all.withLock { $0 } }
    }
    let reports = Mutex<[String]>([])

    func curveKeys(for channel: Caller.Channel) -> JSON { [["number": .integer(0), "secret": .string("secret of \(channel.rawValue)")]] }
    func nextKeys(port: Int?, registrarPort: Int?, seed: String?) throws -> CurveKeyChange {
        CurveKeyChange(detail: "next keys on \(port ?? 0)") { [changes] in changes.withLock { $0.append("next") } }
    }
    func endOfExchange(keepsNext: Bool) throws -> CurveKeyChange {
        CurveKeyChange(detail: "exchange ended") { [changes] in changes.withLock { $0.append(keepsNext ? "finish" : "abort") } }
    }
    func listeners(for channel: Caller.Channel) -> JSON {
        [["endpoint": .string("tcp://127.0.0.1:1 of \(channel.rawValue)"), "curve": false]]
    }
    let changes = Shared()
    let limits = RelayLimits()
    var transport: JSON { ["core_key": "key"] }
    func report(_ counters: JSON, from channel: Caller.Channel) {
        self.reports.withLock { $0.append("\(channel.rawValue) \(counters.text)") }
    }
}

/// One CA with a node, an admin node and a stranger, all asked by frames.
struct TaskBench: Sendable {
    let test: TestAuthority
    let seeds = FakeSeeds()
    let services: Services

    static let node = TestAuthority.front("127.0.0.1")
    static let otherNode = TestAuthority.front("127.0.0.2")
    static let admin = TestAuthority.front("127.0.0.3")
    static let stranger = TestAuthority.front("127.0.0.9")
    static let operatorOnHost = TestAuthority.operatorOnHost
    static let registrar = TestAuthority.registrar("127.0.0.8")

    init(rules: Rules = Rules(), keysAreReady: Bool = true) throws {
        self.test = try TestAuthority(rules: rules)
        try self.test.standingToken("upkireg_standing_0")
        try self.test.addNode("node", at: "127.0.0.1")
        try self.test.addNode("other", at: "127.0.0.2")
        try self.test.addNode("boss", at: "127.0.0.3")
        try self.test.addAdmin("CN=boss")
        self.services = Services(
            authority: self.test.authority, keys: FakeKeys(areReady: keysAreReady), seeds: self.seeds, publisher: FakePublisher(self.test),
            operations: FakeOperations(), relays: FakeRelays(),
            readProfile: { name, tree in
                guard case .object = tree, CertificateProfile.isValidName(name) else {
                    throw Refusal(.invalidParameter, "Invalid profile parameter: it is an object")
                }
                return CertificateProfile(name: name, duration: Int(tree["duration"]?.integerValue ?? 30))
            }, describeProfile: { ["name": .string($0.name), "duration": .integer($0.duration)] })
    }

    /// Asks as the program does: frame in, frame out, read back by a client.
    func ask(_ task: String, _ parameters: JSON = [:], by caller: Caller = TaskBench.node) throws -> JSON {
        let frame = Request(task: task, parameters: Parameters(parameters)).frame
        return try Answer.data(ofFrame: self.answer(frame, by: caller))
    }

    /// The line of the refusal, or the answer as text where there was none.
    func refusal(_ task: String, _ parameters: JSON = [:], by caller: Caller = TaskBench.node) -> String {
        do { return "answered \(try self.ask(task, parameters, by: caller).text)" } catch {
            return (error as? Refusal)?.message ?? "\(error)"
        }
    }

    private func answer(_ frame: [UInt8], by caller: Caller) -> [UInt8] {
        do {
            let request = try Request(frame: frame)
            let context = RequestContext(id: "r-1", task: request.task, caller: caller)
            var step = try TaskTable.task(request.task, on: caller.channel).start(request, context: context, services: self.services)
            while true {
                switch step {
                case .answer(let data): return Answer.frame(data)
                case .encoded(let data): return Answer.frame(encodedData: data)
                case .elsewhere(_, let work): step = try work()
                case .change(let change):
                    guard let result = self.services.authority.commit([change]).results.first else { return [] }
                    return Answer.frame(try result.get())
                }
            }
        } catch let refusal as Refusal {
            return Answer.frame(refusal)
        } catch let error as AuthorityError {
            return Answer.frame(Refusal(error))
        } catch {
            Issue.record("an error that no client may see: \(error)")
            return Answer.frame(Refusal(.internalError, "Internal error"))
        }
    }
}

extension JSON: ExpressibleByIntegerLiteral {
    public init(integerLiteral value: Int) { self = .integer(value) }
}

extension JSON {
    /// The names of an object's members.
    var names: Set<String> { Set((self.objectValue ?? []).map(\.name)) }

    /// A member's text.
    func text(_ name: String) -> String? { self[name]?.stringValue }
}
