// Relays with CURVE: who is who, who gets in, and what one of them may take.
import Foundation
import Relay
import Synchronization
import TestPrograms
import Testing
import Threads
import UPKIProtocol
import ZeroMQ

/// The keys and limits that a core hands out, and the counters that it was told last.
private final class Handing: Sendable {
    let current: ZMQCurveKeyPair
    let next: (pair: ZMQCurveKeyPair, port: Int)?
    let limits: JSON
    let nodes: [String]
    let told = Mutex<JSON>([:])

    init(limits: JSON = [:], nodes: [String] = [], next port: Int? = nil) throws {
        self.current = try .generate()
        self.next = try port.map { (try .generate(), $0) }
        self.limits = limits
        self.nodes = nodes
    }

    @Sendable func answer(_ parameters: JSON) -> JSON {
        if let counters = parameters["counters"] { self.told.withLock { $0 = counters } }
        var keys: [JSON] = [["number": .integer(0), "public": .string(self.current.publicKey), "secret": .string(self.current.secretKey)]]
        if let next {
            keys.append(
                [
                    "number": .integer(1), "public": .string(next.pair.publicKey), "secret": .string(next.pair.secretKey),
                    "port": .integer(next.port),
                ])
        }
        return [
            "limits": self.limits, "nodes_version": "1", "nodes": .array(self.nodes.map { .string($0) }),
            "keys": parameters["keys"] == true ? .array(keys) : .null,
        ]
    }

    /// Whether a counter comes to be this, within 20 s.
    func settles(_ name: String, _ fits: (Int64) -> Bool) -> Bool {
        let patience = MonotonicTime.now.advanced(byMilliseconds: 20_000)
        while !fits(self.told.withLock { $0[name]?.integerValue ?? 0 }) {
            if .now > patience { return false }
            usleep(5_000)
        }
        return true
    }
}

/// Answers with who asked.
private func whoAsked(_ request: CoreRequest) -> [UInt8]? {
    switch request.header.identity {
    case .curve(let key): Array("curve \(key)".utf8)
    case .plain(let address): Array("plain \(address)".utf8)
    case .none: Array("nobody".utf8)
    }
}

private let question = #"{"TASK":"get_ca","params":{}}"#

@Suite("A relay with CURVE", .serialized)
struct CurveTests {
    let directory: TemporaryDirectory
    let corePath: String

    init() throws {
        directory = try TemporaryDirectory()
        corePath = "\(directory.path)/\(TestRelay.corePath)"
    }

    private func relay(_ mechanism: RelayListener.Mechanism = .curve, _ change: (inout RelayOptions) -> Void = { _ in }) throws -> TestRelay
    {
        try TestRelay(directory, listen: []) { options in
            if let listener = try? RelayListener(endpoint: "tcp://127.0.0.1:*", mechanism: mechanism) { options.listeners = [listener] }
            options.coreInterval = 20
            change(&options)
        }
    }

    private func curveClient(_ endpoint: String, _ pair: ZMQCurveKeyPair, server: String, _ test: TestRelay) throws -> ZMQSocket {
        try client(.dealer, endpoint, in: test.context) { $0.curve = .client(pair, serverKey: server) }
    }

    @Test("the core hears each client's own long-term key, and nothing else of who it is")
    func identity() throws {
        let handing = try Handing()
        let core = try FakeCore(path: corePath, relay: handing.answer, respond: whoAsked)
        defer { core.stop() }
        let test = try relay()
        let endpoint = try test.readyEndpoint()
        let (first, second) = (try ZMQCurveKeyPair.generate(), try ZMQCurveKeyPair.generate())
        let one = try curveClient(endpoint, first, server: handing.current.publicKey, test)
        let two = try curveClient(endpoint, second, server: handing.current.publicKey, test)
        #expect(try one.ask(question) == "curve \(first.publicKey)")
        #expect(try two.ask(question) == "curve \(second.publicKey)")
        #expect(try one.ask(question) == "curve \(first.publicKey)")
    }

    @Test(
        "when it is to end, the connection of a client that pauses ends right behind an answer",
        arguments: [1, 221, 222, 246, 255, 256, 5_000])
    func endBehindAnswer(bytes: Int) throws {
        let handing = try Handing()
        let answer = [UInt8](repeating: 0x78, count: bytes)
        let core = try FakeCore(path: corePath, relay: handing.answer) { _ in answer }
        defer { core.stop() }
        // Nothing else ends it while this test waits.
        let test = try relay { ($0.drainTime, $0.idleTime) = (60_000, 60_000) }
        let (endpoint, key) = (try test.readyEndpoint(), handing.current.publicKey)
        let hasEnded = Atomic<Bool>(false)
        let answered = DispatchSemaphore(value: 0)
        // It goes on asking: that its connection ends is all that ends the relay.
        let asking = try OwnedThread(name: "asking") {
            do {
                let pair = try ZMQCurveKeyPair.generate()
                let socket = try client(.dealer, endpoint, in: try ZMQContext()) { $0.curve = .client(pair, serverKey: key) }
                var poll = ZMQPollSet()
                _ = poll.add(socket)
                while !hasEnded.load(ordering: .acquiring) {
                    try socket.say(question)
                    while !hasEnded.load(ordering: .acquiring), try poll.wait(milliseconds: 20) == 0 {}
                    if !hasEnded.load(ordering: .acquiring) { #expect(try socket.hear().first?.utf8.elementsEqual(answer) == true) }
                    answered.signal()
                    usleep(10_000)
                }
            } catch {
                Issue.record(error)
            }
        }
        for _ in 0..<15 { #expect(answered.wait(timeout: .now() + 20) == .success) }
        test.relay.stop(reason: "a test")
        #expect(try test.waitForEnd() == .stopped(reason: "a test"))
        hasEnded.store(true, ordering: .releasing)
        asking.join()
        #expect(test.relay.counters.busyStopping == 0)
    }

    @Test("it listens with the next key too, on the next key's port")
    func nextKey() throws {
        let free = try RawPeer.freePort()
        let handing = try Handing(next: free)
        let core = try FakeCore(path: corePath, relay: handing.answer, respond: whoAsked)
        defer { core.stop() }
        let test = try relay()
        _ = try test.readyEndpoint()
        #expect(test.relay.endpoints.count == 2)
        let pair = try ZMQCurveKeyPair.generate()
        let next = try #require(handing.next?.pair.publicKey)
        let one = try curveClient("tcp://127.0.0.1:\(free)", pair, server: next, test)
        #expect(try one.ask(question) == "curve \(pair.publicKey)")
    }

    @Test(
        "a client that expects another key, one without CURVE, and one with CURVE at a plain port are closed off and counted, each by its kind"
    )
    func mismatches() throws {
        let handing = try Handing()
        let core = try FakeCore(path: corePath, relay: handing.answer, respond: whoAsked)
        defer { core.stop() }
        let test = try relay(.curve) { options in
            if let plain = try? RelayListener(endpoint: "tcp://127.0.0.1:*") { options.listeners.append(plain) }
        }
        _ = try test.readyEndpoint()
        let (plain, curve) = (test.relay.endpoints[0], test.relay.endpoints[1])
        let other = try curveClient(curve, try .generate(), server: try ZMQCurveKeyPair.generate().publicKey, test)
        try other.say(question)
        #expect(handing.settles("handshake_other_key") { $0 >= 1 })
        for (endpoint, mechanism, counter) in [(curve, "NULL", "handshake_plain_at_curve"), (plain, "CURVE", "handshake_curve_at_plain")] {
            let raw = try RawPeer(endpoint: endpoint)
            try raw.greet(mechanism: mechanism)
            #expect(raw.isClosed(), "\(counter)")
            #expect(handing.settles(counter) { $0 == 1 }, "\(counter)")
        }
        let good = try client(.request, plain, in: test.context)
        #expect(try good.ask(question) == "plain 127.0.0.1")
        #expect(core.requests.count == 1)
    }

    // MARK: Limits

    @Test("keys that are no node's are refused beyond their rate, in words that name the limit; a node's are not")
    func strangers() throws {
        let node = try ZMQCurveKeyPair.generate()
        let handing = try Handing(limits: ["stranger_rate": .integer(3)], nodes: [node.publicKey])
        let core = try FakeCore(path: corePath, relay: handing.answer, respond: whoAsked)
        defer { core.stop() }
        let test = try relay()
        let endpoint = try test.readyEndpoint()
        let stranger = try curveClient(endpoint, try .generate(), server: handing.current.publicKey, test)
        // More than a second's worth and than whatever is refilled meanwhile.
        for _ in 0..<200 { try stranger.say(question) }
        let answers = try (0..<200).map { _ in try stranger.hear().last ?? "" }
        let refused = answers.filter { $0.contains("(limits.stranger_rate)") }.count
        #expect(refused > 100 && refused < 200, "\(refused)")
        let known = try curveClient(endpoint, node, server: handing.current.publicKey, test)
        for _ in 0..<200 { try known.say(question) }
        for _ in 0..<200 { #expect(try known.hear().last == "curve \(node.publicKey)") }
        #expect(handing.settles("refused_stranger_rate") { $0 == Int64(refused) })
    }

    @Test("one identity has no more open than its limit, over all its connections, and another one still has its turn")
    func openRequests() throws {
        let node = try ZMQCurveKeyPair.generate()
        let handing = try Handing(limits: ["requests_per_identity": .integer(4), "stranger_rate": .integer(0)], nodes: [node.publicKey])
        // The first identity is never answered.
        let core = try FakeCore(path: corePath, relay: handing.answer) { request in
            request.header.identity == .curve(key: node.publicKey) ? nil : whoAsked(request)
        }
        defer { core.stop() }
        let test = try relay()
        let endpoint = try test.readyEndpoint()
        let one = try curveClient(endpoint, node, server: handing.current.publicKey, test)
        let two = try curveClient(endpoint, node, server: handing.current.publicKey, test)
        for _ in 0..<3 { try one.say(question) }
        for _ in 0..<3 { _ = try core.requests.next() }
        try two.say(question)
        _ = try core.requests.next()
        try two.say(question)
        #expect(try two.hear().last?.contains("more than 4 requests of this identity are open (limits.requests_per_identity)") == true)
        let other = try ZMQCurveKeyPair.generate()
        #expect(try curveClient(endpoint, other, server: handing.current.publicKey, test).ask(question) == "curve \(other.publicKey)")
    }

    @Test("identities take turns: one with hundreds waiting holds another's single request up by one")
    func turns() throws {
        let busy = try ZMQCurveKeyPair.generate()
        let handing = try Handing(limits: ["stranger_rate": .integer(0)])
        let core = try FakeCore(path: corePath, relay: handing.answer, respond: { _ in nil })
        defer { core.stop() }
        let test = try relay(.curve) { $0.maximumHandedOver = 2 }
        let endpoint = try test.readyEndpoint()
        let many = try curveClient(endpoint, busy, server: handing.current.publicKey, test)
        for _ in 0..<300 { try many.say(question) }
        let handed = [try core.requests.next(), try core.requests.next()]
        #expect(test.settles { $0.open == 300 })
        let quiet = try ZMQCurveKeyPair.generate()
        let single = try curveClient(endpoint, quiet, server: handing.current.publicKey, test)
        try single.say(question)
        #expect(test.settles { $0.open == 301 })
        for request in handed { core.answer(request, "x") }
        let following = [try core.requests.next(), try core.requests.next()].map(\.header.identity)
        #expect(following.contains(.curve(key: quiet.publicKey)), "\(following)")
    }

    @Test("connections beyond the limit are closed, and those that are there go on")
    func connections() throws {
        let handing = try Handing(limits: ["connections": .integer(5)])
        let core = try FakeCore(path: corePath, relay: handing.answer, respond: whoAsked)
        defer { core.stop() }
        let test = try relay(.plain)
        let endpoint = try test.readyEndpoint()
        let good = try client(.request, endpoint, in: test.context)
        #expect(try good.ask(question) == "plain 127.0.0.1")
        #expect(handing.settles("connections_open") { $0 == 1 })
        let held = try (0..<4).map { _ in try RawPeer(endpoint: endpoint) }
        #expect(handing.settles("connections_open") { $0 == 5 })
        for _ in 0..<20 { #expect(try RawPeer(endpoint: endpoint).isClosed()) }
        #expect(handing.settles("connections_refused_in_all") { $0 == 20 })
        #expect(try good.ask(question) == "plain 127.0.0.1")
        for one in held { one.close() }
        #expect(handing.settles("connections_open") { $0 == 1 })
        let again = try client(.request, endpoint, in: test.context)
        #expect(try again.ask(question) == "plain 127.0.0.1")
    }

    @Test("a message without an end is cut off, and meanwhile others are answered")
    func endless() throws {
        let handing = try Handing()
        let core = try FakeCore(path: corePath, relay: handing.answer, respond: whoAsked)
        defer { core.stop() }
        let test = try relay(.plain)
        let endpoint = try test.readyEndpoint()
        let raw = try RawPeer(endpoint: endpoint)
        try raw.handshake([("Socket-Type", "DEALER")])
        let good = try client(.request, endpoint, in: test.context)
        let part = [UInt8(3), 0, 0, 0, 0, 0, 1, 0, 0] + [UInt8](repeating: 7, count: 65_536)
        var sent = 0
        #expect(throws: TestFailure.self) {
            // 4 GB would be there before this gives up.
            for _ in 0..<65_536 {
                try raw.write(part)
                sent += 1
                if sent % 64 == 0 { #expect(try good.ask(question) == "plain 127.0.0.1") }
            }
        }
        #expect(handing.settles("connections_cut_for_length") { $0 == 1 })
        #expect(try good.ask(question) == "plain 127.0.0.1")
    }
}

@Suite("The door of a relay")
struct GuardStartTests {
    @Test("without its ZAP handler a relay does not start: libzmq would let everybody in")
    func zapTaken() throws {
        let context = try ZMQContext()
        let taken = try ZMQSocket(.router, in: context)
        try taken.bind("inproc://zeromq.zap.01")
        let refused = #expect(throws: RelayError.self) { _ = try RelayGuard(context, shared: GuardShared(), log: { _, _ in }) }
        #expect(refused?.message.contains("ZAP") == true, "\(refused?.message ?? "")")
        // Elsewhere it does.
        let other = try ZMQContext()
        try RelayGuard(other, shared: GuardShared(), log: { _, _ in }).stop()
        withExtendedLifetime(taken) {}
    }
}

@Suite("What a relay decides by")
struct GuardRulesTests {
    private static func zap(_ parts: [String], _ credentials: [[UInt8]] = []) -> ZapRequest? {
        ZapRequest(parts: [[1, 2], []] + parts.map { Array($0.utf8) } + credentials)
    }

    @Test("questions to the ZAP handler are read as RFC 27 has them, and answered with the key in Z85 as User-Id")
    func zapRequests() throws {
        let key = [UInt8](repeating: 7, count: 32)
        let request = try #require(Self.zap(["1.0", "42", "upki-curve", "192.0.2.1", "id", "CURVE"], [key]))
        #expect(request.mechanism == .curve(key: Z85.encode(key) ?? "") && request.address == "192.0.2.1" && request.fitsItsDomain)
        #expect(request.admission == [[1, 2], []] + ["1.0", "42", "200", "OK", Z85.encode(key) ?? "", ""].map { Array($0.utf8) })
        #expect(request.refusal == [[1, 2], []] + ["1.0", "42", "400", "Refused", "", ""].map { Array($0.utf8) })
        let plain = try #require(Self.zap(["1.0", "1", "upki-plain", "127.0.0.1", "", "NULL"]))
        #expect(plain.mechanism == .null && plain.fitsItsDomain)
        #expect(try !#require(Self.zap(["1.0", "1", "upki-curve", "127.0.0.1", "", "NULL"])).fitsItsDomain)
        #expect(try !#require(Self.zap(["1.0", "1", "", "127.0.0.1", "", "NULL"])).fitsItsDomain)
        for bad in [["2.0", "1", "d", "a", "", "NULL"], ["1.0", "1", "d", "a", "", "PLAIN"], ["1.0", "1", "d", "a"], []] {
            #expect(Self.zap(bad) == nil, "\(bad)")
        }
        #expect(Self.zap(["1.0", "1", "upki-curve", "a", "", "CURVE"], [[1, 2, 3]]) == nil)
    }

    @Test("a bucket lets its burst through, then its rate")
    func buckets() {
        var bucket = RateBucket(burst: 10, at: 0)
        func taken(_ count: Int, at now: UInt64) -> Int { (0..<count).filter { _ in bucket.take(rate: 5, burst: 10, at: now) }.count }
        #expect(taken(20, at: 0) == 10)
        #expect(taken(20, at: 1_000_000_000) == 5)
        #expect(taken(20, at: 100_000_000_000) == 10)
        // A clock that stands still, or goes back, gives nothing.
        #expect(taken(20, at: 50_000_000_000) == 0)
    }

    @Test("connections are counted by address and in all; a descriptor that another connection has is not mistaken for it")
    func table() {
        var table = ConnectionTable()
        var limits = RelayLimits()
        limits.connections = 16
        limits.connectionsPerAddress = 10
        limits.connectionRate = 0
        func facts(_ cookie: UInt64, _ read: UInt64 = 0) -> ConnectionFacts { ConnectionFacts(cookie: cookie, bytesRead: read) }
        func accept(_ descriptor: Int32, _ address: String) -> ConnectionTable.Verdict {
            table.accepted(descriptor, facts(UInt64(descriptor)), from: address, deliveries: 0, limits, at: 0)
        }
        for descriptor in Int32(0)..<10 { #expect(accept(descriptor, "192.0.2.1") == .keep) }
        #expect(accept(10, "192.0.2.1") == .tooManyOfAddress)
        #expect(!table.isForNodesAlone(limits))
        for descriptor in Int32(11)..<16 { #expect(accept(descriptor, "192.0.2.2") == .keep) }
        #expect(table.isForNodesAlone(limits))
        #expect(accept(16, "192.0.2.3") == .tooMany)
        // Descriptor 3 is another connection by now: the old one's end is not its end.
        #expect(table.accepted(3, facts(99), from: "192.0.2.9", deliveries: 0, limits, at: 0) == .tooMany)
        table.mayBeGone(3, facts(99))
        #expect(table.count(of: "192.0.2.9") == 1)
        table.mayBeGone(3, nil)
        #expect(table.count(of: "192.0.2.9") == 0 && table.count(of: "192.0.2.1") == 10)
        // Megabytes without a message are too much; with one delivered the count begins again.
        let most = ConnectionTable.slack + UInt64(limits.messageSize)
        #expect(table.look(0, facts(0, most), deliveries: 0, limits) == .keep)
        #expect(table.look(0, facts(0, most + 1), deliveries: 0, limits) == .tooLong)
        #expect(table.look(0, facts(0, most + 1), deliveries: 1, limits) == .keep)
        #expect(table.look(0, facts(0, 2 * most), deliveries: 1, limits) == .keep)
        #expect(table.look(0, facts(7), deliveries: 1, limits) == .keep && table.count(of: "192.0.2.1") == 9)
    }

    @Test("on plain loopback no process can lock the others out: there only the whole is limited")
    func local() {
        var limits = RelayLimits()
        (limits.connections, limits.connectionsPerAddress, limits.connectionRate) = (20, 2, 1)
        var table = ConnectionTable()
        let verdicts = (0..<21).map {
            table.accepted(
                Int32($0), ConnectionFacts(cookie: UInt64($0), bytesRead: 0), from: "127.0.0.1", isLocal: true, deliveries: 0, limits, at: 0
            )
        }
        #expect(verdicts.prefix(20).allSatisfy { $0 == .keep } && verdicts.last == .tooMany)
    }

    @Test("new connections of one address come at no more than its rate")
    func rate() {
        var table = ConnectionTable()
        var limits = RelayLimits()
        limits.connectionRate = 5
        func accept(_ descriptor: Int32, at now: UInt64) -> ConnectionTable.Verdict {
            table.accepted(
                descriptor, ConnectionFacts(cookie: UInt64(descriptor), bytesRead: 0), from: "192.0.2.1", deliveries: 0, limits, at: now)
        }
        #expect((Int32(0)..<20).map { accept($0, at: 0) }.filter { $0 == .keep }.count == 10)
        #expect((Int32(20)..<40).map { accept($0, at: 1_000_000_000) }.filter { $0 == .keep }.count == 5)
    }

    @Test("an IPv6 network is one /64; an IPv4 address in IPv6 is the IPv4 one")
    func networks() {
        #expect(Parties.network(of: "192.0.2.1") == "192.0.2.1")
        #expect(Parties.network(of: "2001:db8::1") == Parties.network(of: "2001:db8::ffff:1"))
        #expect(Parties.network(of: "2001:db8::1") != Parties.network(of: "2001:db8:0:1::1"))
        #expect(Parties.network(of: "::ffff:192.0.2.1") == "192.0.2.1")
    }
}
