// A tunnel between plain REQ clients and a CURVE server that plays the CA.

import Enrolment
import Foundation
import Glibc
import Synchronization
import Testing
import Threads
import Tunnel
import UPKIProtocol
import ZeroMQ

/// A CA that does what it is told; in a thread of its own.
private final class FakeCA: Sendable {
    typealias Handler = @Sendable (_ payload: [UInt8]) -> [UInt8]?

    let port: Int
    private let thread: OwnedThread
    private let stop: Mailbox<Bool>

    /// - Parameter handler: the answer to a request, or nil for none.
    init(_ keys: ZMQCurveKeyPair, port: Int = 0, _ handler: @escaping Handler) throws {
        let ports = try Mailbox<Int>()
        let stop = try Mailbox<Bool>()
        let heard = Mailbox<[UInt8]>.Kept()
        thread = try OwnedThread(name: "fake-ca") {
            do {
                var options = ZMQSocketOptions()
                options.receiveTimeoutMilliseconds = 10
                options.curve = .server(keys)
                let socket = try ZMQSocket(.router, in: try ZMQContext(), options: options)
                try socket.bind("tcp://127.0.0.1:\(port == 0 ? "*" : String(port))")
                ports.post(Int(try socket.lastEndpoint.split(separator: ":").last ?? "") ?? 0)
                var stopped: [Bool] = []
                while stop.take(upTo: 1, into: &stopped, within: 0), stopped.isEmpty {
                    guard let message = try socket.receive(ZMQReceiveLimits(parts: 6, bytes: 4 << 20)), let payload = message.parts.last else {
                        continue
                    }
                    heard.all.withLock { $0.append(payload) }
                    if let answer = handler(payload) { _ = try socket.send(parts: Array(message.parts.dropLast()) + [answer]) }
                }
            } catch {
                ports.post(0)
            }
        }
        self.stop = stop
        self.kept = heard
        self.port = ports.take(upTo: 1).first ?? 0
    }

    private let kept: Mailbox<[UInt8]>.Kept
    var requests: [[UInt8]] { kept.all.withLock { $0 } }

    func end() {
        stop.post(true)
        thread.join()
    }
}

extension Mailbox {
    /// What a test's threads collect.
    final class Kept: Sendable {
        let all = Mutex<[Element]>([])
    }
}

@Suite("A tunnel", .serialized)
struct TunnelTests {
    private let keys: ZMQCurveKeyPair
    private let folder: String

    init() throws {
        keys = try ZMQCurveKeyPair.generate()
        folder = FileManager.default.temporaryDirectory.appendingPathComponent("upki-tunnel-\(UUID().uuidString)").path
    }

    /// Two neighbouring ports that are free.
    private static func freePorts() throws -> Int {
        for _ in 0..<100 {
            let port = Int.random(in: 20_000...29_000)
            let context = try ZMQContext()
            do throws(ZeroMQError) {
                for number in [port, port + 1] { try ZMQSocket(.router, in: context).bind("tcp://127.0.0.1:\(number)") }
                return port
            } catch {}
        }
        throw TunnelError(.system, "no free ports")
    }

    private func tunnel(
        to ports: [Int], key: String? = nil, commonName: String? = "ra.example.com", _ change: (inout TunnelOptions) -> Void = { _ in }
    ) throws -> (Tunnel, Int) {
        let key = key ?? keys.publicKey
        let string = EnrolmentString(
            servers: ServerAddresses(
                hosts: ["127.0.0.1"], sets: ports.map { .init(port: $0, registrarPort: $0, coreKey: key, registrarKey: key) }),
            fingerprint: Array(0..<32), token: "upkireg_token", commonName: commonName)
        let port = try Self.freePorts()
        var options = TunnelOptions(port: port, directory: folder, enrolment: string)
        options.requestDeadline = 1_000
        change(&options)
        return (try Tunnel(options, log: { _, _ in }), port)
    }

    private func finish(_ tunnel: Tunnel) throws {
        tunnel.stop()
        try tunnel.join()
        try? FileManager.default.removeItem(atPath: folder)
    }

    /// A client as the RA has one: REQ, and as patient.
    private struct Client: ~Copyable {
        let socket: ZMQSocket

        init(_ port: Int) throws {
            var options = ZMQSocketOptions()
            options.receiveTimeoutMilliseconds = 10_000
            options.sendTimeoutMilliseconds = 10_000
            let socket = try ZMQSocket(.request, in: try ZMQContext(), options: options)
            try socket.connect("tcp://127.0.0.1:\(port)")
            self.socket = socket
        }

        func send(_ payload: [UInt8]) throws { _ = try socket.send(payload) }
        func receive() throws -> [UInt8] { try socket.receive(ZMQReceiveLimits(parts: 1, bytes: 4 << 20))?.parts.first ?? [] }
        func ask(_ payload: String) throws -> String {
            try send(Array(payload.utf8))
            return String(decoding: try receive(), as: UTF8.self)
        }
    }

    private static func words(_ answer: String) -> String {
        do throws(Refusal) {
            _ = try Answer.data(ofFrame: Array(answer.utf8))
            return "no refusal: \(answer)"
        } catch { return error.message }
    }

    @Test("passes requests on byte for byte, and each of many clients gets its own answer, whatever their order")
    func apart() throws {
        let ca = try FakeCA(keys) { Array("answer to ".utf8) + $0 }
        defer { ca.end() }
        let (tunnel, port) = try tunnel(to: [ca.port])
        var first = [0, 1, 2, 3].map { "{\"TASK\": \"x\",\"n\":\($0),  \"params\":{}}" }
        first.append("no JSON at all \u{1}")
        first.append("")
        let requests = first
        let wrong = Mutex<[String]>([])
        let threads = try (0..<8).map { number in
            try OwnedThread(name: "client-\(number)") {
                do {
                    let client = try Client(port)
                    for round in 0..<50 {
                        let request = requests[(number + round) % requests.count] + "\(number)"
                        let answer = try client.ask(request)
                        if answer != "answer to \(request)" { wrong.withLock { $0.append(answer) } }
                    }
                } catch { wrong.withLock { $0.append("\(error)") } }
            }
        }
        for thread in threads { thread.join() }
        #expect(wrong.withLock { $0 } == [])
        #expect(tunnel.counters.relayed == 400 && tunnel.counters.isConnected)
        try finish(tunnel)
    }

    @Test("answers Busy in time while the CA is away, drops what comes late, and goes on when the CA is back")
    func away() throws {
        let keys = keys
        let slow = Mailbox<[UInt8]>.Kept()
        let ca = try FakeCA(keys) { payload in
            slow.all.withLock { $0.append(payload) }
            return nil
        }
        let (tunnel, port) = try tunnel(to: [ca.port]) { $0.requestDeadline = 300 }
        let client = try Client(port)
        #expect(Self.words(try client.ask("{\"TASK\":\"get_ca\"}")) == "Busy: the CA has not answered in time; try again")
        #expect(Self.words(try client.ask("{\"TASK\":\"sign\"}")) == "Busy: the CA has not answered in time; the request may still take effect")
        #expect(slow.all.withLock { $0.count } == 2)
        ca.end()
        let refusal = Self.words(try client.ask("{\"TASK\":\"get_ca\"}"))
        #expect(refusal.hasPrefix("Busy: "), "\(refusal)")
        let back = try FakeCA(keys, port: ca.port) { _ in Answer.frame("here") }
        defer { back.end() }
        var answer = ""
        for _ in 0..<50 {
            answer = try client.ask("{\"TASK\":\"get_ca\"}")
            if !answer.contains("Busy") { break }
        }
        #expect(answer == #"{"EVENT":"ANSWER","DATA":"here"}"#)
        try finish(tunnel)
    }

    @Test("a late answer is nobody's: the next request of that client gets its own")
    func late() throws {
        let gate = try Mailbox<Bool>()
        let ca = try FakeCA(keys) { payload in
            // The first answer leaves only when the second request is there.
            if payload.contains(UInt8(ascii: "1")) { _ = gate.take(upTo: 1) }
            return payload
        }
        defer { ca.end() }
        let (tunnel, port) = try tunnel(to: [ca.port]) { $0.requestDeadline = 200 }
        let client = try Client(port)
        #expect(try client.ask("{\"n\":1}").contains("Busy"))
        gate.post(true)
        #expect(try client.ask("{\"n\":2}") == "{\"n\":2}")
        try finish(tunnel)
    }

    @Test("nobody who does not prove the CA's key gets a request; the second key set does where it can")
    func otherServer() throws {
        let other = try ZMQCurveKeyPair.generate()
        let evil = try FakeCA(other) { _ in Answer.frame(true) }
        let good = try FakeCA(keys) { _ in Answer.frame("good") }
        defer {
            evil.end()
            good.end()
        }
        let (alone, port) = try tunnel(to: [evil.port]) { $0.requestDeadline = 500 }
        let client = try Client(port)
        let refusal = Self.words(try client.ask("{\"TASK\":\"get_ca\",\"params\":{\"secret\":1}}"))
        #expect(refusal.hasPrefix("Busy: no connection to the CA"), "\(refusal)")
        try finish(alone)
        let (tunnel, second) = try tunnel(to: [evil.port, good.port]) { $0.requestDeadline = 5_000 }
        #expect(try Client(second).ask("{}") == #"{"EVENT":"ANSWER","DATA":"good"}"#)
        #expect(evil.requests.isEmpty)
        try finish(tunnel)
    }

    @Test("has room for so many requests and no more, and refuses what is no request")
    func bounds() throws {
        let ca = try FakeCA(keys) { _ in nil }
        defer { ca.end() }
        let (tunnel, port) = try tunnel(to: [ca.port]) {
            $0.maximumOpenRequests = 2
            $0.requestDeadline = 2_000
        }
        var options = ZMQSocketOptions()
        options.receiveTimeoutMilliseconds = 10_000
        let dealer = try ZMQSocket(.dealer, in: try ZMQContext(), options: options)
        try dealer.connect("tcp://127.0.0.1:\(port)")
        for number in 0..<3 { _ = try dealer.send(parts: [[UInt8(number)], [], Array("{}".utf8)]) }
        let refused = try #require(try dealer.receive(ZMQReceiveLimits(parts: 4, bytes: 1 << 20)))
        #expect(refused.parts[0] == [2] && Self.words(String(decoding: refused.parts[2], as: UTF8.self)).hasPrefix("Busy: too many requests are open"))
        _ = try dealer.send(parts: [[9], [], Array("{}".utf8), Array("{}".utf8)])
        let frames = try #require(try dealer.receive(ZMQReceiveLimits(parts: 4, bytes: 1 << 20)))
        #expect(frames.parts[0] == [9] && Self.words(String(decoding: frames.parts[2], as: UTF8.self)).hasPrefix("Invalid request: one frame"))
        try finish(tunnel)
    }

    @Test("a register on the front carries the tunnel's token in the seed's place, and nothing else is touched")
    func rewriting() {
        func rewritten(_ text: String, token: String? = "T") -> String {
            String(decoding: RegisterRequest.withToken(token, Array(text.utf8)), as: UTF8.self)
        }
        for same in [
            "{\"TASK\": \"sign\", \"params\": {\"seed\": \"s\"}}", "register", "{\"TASK\":\"unregister\",\"params\":{\"seed\":\"s\"}}", "",
            "{ \"TASK\" : \"get_node\", \"params\" : { \"cn\" : \"register\" } }",
        ] { #expect(rewritten(same) == same) }
        #expect(
            rewritten(#"{"TASK": "register", "params": {"cn": "n", "seed": "the seed", "days": 1.50, "x": ["é"]}}"#)
                == #"{"TASK":"register","params":{"cn":"n","seed":"T","days":1.50,"x":["é"]}}"#)
        // However it is spelt, the CA would read a register; and no seed is left in it.
        for hidden in [
            #"{"TASK":"\u0072egister","params":{"seed":"S1"}}"#, #"{"TASK":"register","params":{"\u0073eed":"S1"}}"#,
            #"{"TASK":"register","params":{"seed":["S1"]}}"#,
        ] {
            let result = rewritten(hidden)
            #expect(!result.contains("S1"), "\(result)")
        }
        // What the CA's own reader takes for no JSON is no register either.
        for nonsense in [#"{"TASK":"register","params":{"seed":"S1","seed":"S2"}}"#, #"{"TASK":"register","params":{},"params":{}}"#] {
            #expect(rewritten(nonsense) == nonsense)
            #expect(throws: JSONError.self) { _ = try JSON(parsing: Array(nonsense.utf8)) }
        }
        #expect(!rewritten(#"{"TASK":"register","params":{"seed":"S1"}}"#, token: nil).contains("S1"))
    }

    @Test("on the registrar's port it answers by itself: status, another name, other tasks; and it is away where nothing is to be registered")
    func registrar() throws {
        let ca = try FakeCA(keys) { _ in nil }
        defer { ca.end() }
        let (tunnel, port) = try tunnel(to: [ca.port])
        let client = try Client(port + 1)
        #expect(try client.ask("{\"TASK\":\"status\"}") == #"{"EVENT":"ANSWER","DATA":{"status":"not_registered"}}"#)
        #expect(Self.words(try client.ask("{\"TASK\":\"sign\"}")) == "Unknown task: sign")
        #expect(Self.words(try client.ask("{\"TASK\":\"register\",\"params\":{}}")) == "Missing cn parameter")
        let refusal = Self.words(try client.ask("{\"TASK\":\"register\",\"params\":{\"seed\":\"x\",\"cn\":\"other.example.com\"}}"))
        #expect(refusal.hasPrefix("Request refused: the enrolment string is for ra.example.com"), "\(refusal)")
        #expect(ca.requests.isEmpty)
        try finish(tunnel)
    }

    @Test("does not start without a node and without a string, nor where its port is taken")
    func starts() throws {
        let nothing = #expect(throws: TunnelError.self) { _ = try Tunnel(TunnelOptions(directory: folder), log: { _, _ in }) }
        #expect(nothing?.code == .invalidOptions && nothing?.message.contains("--enroll") == true)
        let ca = try FakeCA(keys) { _ in nil }
        defer { ca.end() }
        let (tunnel, port) = try tunnel(to: [ca.port])
        let taken = #expect(throws: TunnelError.self) {
            _ = try self.tunnel(to: [ca.port]) { $0.port = port }
        }
        #expect(taken?.code == .cannotListen)
        try finish(tunnel)
    }

    @Test("a stop waits for what is open, and answers it")
    func stopping() throws {
        let gate = try Mailbox<Bool>()
        let ca = try FakeCA(keys) { _ in
            _ = gate.take(upTo: 1)
            return Answer.frame("last")
        }
        defer { ca.end() }
        let (tunnel, port) = try tunnel(to: [ca.port]) { $0.requestDeadline = 5_000 }
        let client = try Client(port)
        try client.send(Array("{}".utf8))
        for _ in 0..<500 where ca.requests.isEmpty { usleep(10_000) }
        tunnel.stop()
        gate.post(true)
        #expect(try client.receive() == Answer.frame("last"))
        try finish(tunnel)
    }
}
