// One answer for every message, within its time, whatever the core and the other clients do.
import Foundation
import Relay
import Synchronization
import TestPrograms
import Testing
import Threads
import UPKIProtocol
import ZeroMQ

private let oneFrameExpected = #"{"EVENT":"UPKI ERROR","MSG":"Invalid request: one frame with one JSON object is expected"}"#
private let read = #"{"TASK":"get_ca","params":{}}"#
private let change = #"{"TASK":"sign","params":{"csr":"x"}}"#

/// An answer that names what was asked.
private func echo(_ request: CoreRequest) -> [UInt8]? { Array("answer to ".utf8) + request.payload }

private func line(ofRefusal frame: String) -> String {
    guard let value = try? JSON(parsing: Array(frame.utf8)), value["EVENT"] == "UPKI ERROR" else { return "no refusal: \(frame)" }
    return value["MSG"]?.stringValue ?? ""
}

@Suite("A relay", .serialized)
struct RelayTests {
    let directory: TemporaryDirectory
    let corePath: String

    init() throws {
        directory = try TemporaryDirectory()
        corePath = "\(directory.path)/\(TestRelay.corePath)"
    }

    // MARK: Who asks

    @Test("answers REQ, correlated REQ, a DEALER with a delimiter and one without, each in its own way")
    func envelopes() throws {
        let core = try FakeCore(path: corePath, respond: echo)
        defer { core.stop() }
        let test = try TestRelay(directory)
        let endpoint = try test.readyEndpoint()
        let plain = try client(.request, endpoint, in: test.context)
        #expect(try plain.ask(read) == "answer to \(read)")
        let correlated = try client(.request, endpoint, in: test.context) { $0.relaxedRequests = true }
        #expect(try correlated.ask(read) == "answer to \(read)")
        let dealer = try client(.dealer, endpoint, in: test.context)
        #expect(try dealer.ask(read) == "answer to \(read)")
        try dealer.send(parts: [[], Array(change.utf8)])
        #expect(try dealer.hear() == ["", "answer to \(change)"])
    }

    @Test("says hello first, once, with its program and the protocol")
    func hello() throws {
        let core = try FakeCore(path: corePath, respond: echo)
        defer { core.stop() }
        let test = try TestRelay(directory)
        let endpoint = try test.readyEndpoint()
        let requester = try client(.request, endpoint, in: test.context)
        _ = try requester.ask(read)
        let hello = try core.hellos.next()
        #expect(hello.text == #"{"TASK":"hello","params":{"protocol":1,"program":"ca-front 0.1.0"}}"#)
        #expect(hello.header.identity == .none)
        #expect(core.hellos.count == 0)
        #expect(test.log == ["info: ca-core 0.1.0 answers, instance c0ffee"])
        #expect(test.settles { $0.open == 0 })
        #expect(test.relay.statusText == "relaying \(endpoint.dropFirst(6)), 0 open")
    }

    @Test("tells the core the address that the kernel knows and the time of arrival")
    func identity() throws {
        let core = try FakeCore(path: corePath, respond: echo)
        defer { core.stop() }
        let test = try TestRelay(directory)
        let requester = try client(.request, try test.readyEndpoint(), in: test.context)
        let before = MonotonicTime.now.nanoseconds
        _ = try requester.ask(read)
        let request = try core.requests.next()
        #expect(request.header.identity == .plain(address: "127.0.0.1"))
        #expect((before...MonotonicTime.now.nanoseconds).contains(request.header.arrival))
        #expect(request.text == read)
    }

    @Test("does not believe a client that names itself in its handshake")
    func forgedMetadata() throws {
        let core = try FakeCore(path: corePath, respond: echo)
        defer { core.stop() }
        let test = try TestRelay(directory)
        let raw = try RawPeer(endpoint: try test.readyEndpoint())
        try raw.handshake([("Socket-Type", "DEALER"), ("User-Id", "root"), ("Peer-Address", "10.9.9.9"), ("Routing-Id", "")])
        try raw.sendFrame(Array(read.utf8))
        #expect(try raw.readFrame() == Array("answer to \(read)".utf8))
        #expect(try core.requests.next().header.identity == .plain(address: "127.0.0.1"))
    }

    @Test("knows the peer of an IPv6 listener, and an IPv4 one behind it by its IPv4 address")
    func ipv6() throws {
        let core = try FakeCore(path: corePath, respond: echo)
        defer { core.stop() }
        let test = try TestRelay(directory, listen: ["tcp://[::]:*"])
        let port = try test.readyEndpoint().split(separator: ":").last.map(String.init) ?? ""
        for (endpoint, address) in [("tcp://[::1]:\(port)", "::1"), ("tcp://127.0.0.1:\(port)", "127.0.0.1")] {
            let requester = try client(.request, endpoint, in: test.context) { $0.ipv6 = true }
            _ = try requester.ask(read)
            #expect(try core.requests.next().header.identity == .plain(address: address))
        }
    }

    // MARK: Exactly one answer

    @Test("answers each malformed message once, and the next good request as usual")
    func malformedMessages() throws {
        let core = try FakeCore(path: corePath, respond: echo)
        defer { core.stop() }
        let test = try TestRelay(directory)
        let endpoint = try test.readyEndpoint()
        let requester = try client(.request, endpoint, in: test.context)
        for parts in [2, 3, 7, 8, 4_000] {
            try requester.send(parts: (0..<parts).map { _ in Array("x".utf8) })
            #expect(try requester.hear() == [oneFrameExpected], "\(parts) frames")
            #expect(try requester.ask(read) == "answer to \(read)")
        }
        let dealer = try client(.dealer, endpoint, in: test.context)
        for (sent, heard) in [
            (["a", "b"], [oneFrameExpected]),
            (["a", ""], ["a", "", oneFrameExpected]),
            (["", "a", "b"], ["", oneFrameExpected]),
            (["a", "b", "c", "d", "", "e"], [oneFrameExpected]),
            (["a", "b", "c", "", "e"], ["a", "b", "c", "", "answer to e"]),
            (["", ""], ["", "answer to "]),
            ([""], ["answer to "]),
        ] {
            try dealer.send(parts: sent.map { Array($0.utf8) })
            #expect(try dealer.hear() == heard, "\(sent)")
            #expect(try dealer.ask(read) == "answer to \(read)")
        }
        #expect(try dealer.isSilent())
        #expect(test.settles { $0.invalidMessages == 9 })
    }

    @Test("passes on whatever one frame holds, up to a mebibyte")
    func anyPayload() throws {
        let core = try FakeCore(path: corePath) { $0.payload }
        defer { core.stop() }
        let test = try TestRelay(directory)
        let requester = try client(.request, try test.readyEndpoint(), in: test.context)
        for payload: [UInt8] in [
            [], [0], [0xff, 0xfe], Array("[1,2]".utf8), [UInt8](repeating: UInt8(ascii: "["), count: 100_000),
            [UInt8](repeating: 7, count: 1 << 20),
        ] {
            try requester.send(payload)
            #expect(try requester.receive(ZMQReceiveLimits(parts: 2, bytes: 2 << 20))?.parts == [payload])
        }
    }

    @Test("cuts off who sends more than a mebibyte, and nobody else")
    func tooLong() throws {
        let core = try FakeCore(path: corePath, respond: echo)
        defer { core.stop() }
        let test = try TestRelay(directory)
        let endpoint = try test.readyEndpoint()
        let other = try client(.request, endpoint, in: test.context)
        let raw = try RawPeer(endpoint: endpoint)
        try raw.handshake([("Socket-Type", "DEALER")])
        try raw.sendFrameHeader(length: 1 << 20 + 1)
        #expect(try raw.isCutOff())
        #expect(try other.ask(read) == "answer to \(read)")
    }

    @Test("is not disturbed by half a handshake, garbage, or a client that leaves before its answer")
    func strangers() throws {
        let core = try FakeCore(path: corePath) { $0.text == read ? echo($0) : nil }
        defer { core.stop() }
        let test = try TestRelay(directory)
        let endpoint = try test.readyEndpoint()
        let half = try RawPeer(endpoint: endpoint)
        try half.write([0xff, 0, 0, 0])
        let http = try RawPeer(endpoint: endpoint)
        try http.write(Array("GET / HTTP/1.1\r\nHost: x\r\n\r\n".utf8))
        let leaving = try RawPeer(endpoint: endpoint)
        try leaving.handshake([("Socket-Type", "DEALER")])
        try leaving.sendFrame(Array("leaving".utf8))
        let request = try core.requests.next()
        leaving.close()
        let requester = try client(.request, endpoint, in: test.context)
        #expect(try requester.ask(read) == "answer to \(read)")
        // libzmq notices the end of the connection at its own pace: until then an answer is sent into it.
        core.answer(request, "too late")
        #expect(try requester.ask(read) == "answer to \(read)")
        #expect(test.settles { $0.open == 0 })
    }

    @Test("counts an answer of the core that cannot be read, and goes on")
    func malformedCore() throws {
        let core = try FakeCore(path: corePath) { $0.text == read ? echo($0) : nil }
        defer { core.stop() }
        let test = try TestRelay(directory)
        let requester = try client(.request, try test.readyEndpoint(), in: test.context)
        _ = try requester.ask(read)
        let connection = try core.requests.next().connection
        core.send(to: connection, header: [1, 1], payload: [])
        core.send(to: connection, header: [1, 9, 0, 0, 0, 0, 0, 0, 0, 1], payload: [])
        core.send(to: connection, header: InternalLink.AnswerHeader(kind: .answer, id: 999).encoded, payload: [1])
        core.send(to: connection, header: InternalLink.AnswerHeader(kind: .helloAnswer, id: 999).encoded, payload: [1])
        #expect(try requester.ask(read) == "answer to \(read)")
        #expect(test.settles { $0.malformedFromCore == 3 })
        #expect(test.settles { $0.lateAnswers == 1 })
    }

    // MARK: In time

    @Test("answers Busy at the deadline, says what may still take effect, and drops the late answer")
    func deadline() throws {
        let core = try FakeCore(path: corePath) { $0.text.contains("get_crl") ? echo($0) : nil }
        defer { core.stop() }
        let test = try TestRelay(directory) { $0.requestDeadline = 150 }
        let requester = try client(.dealer, try test.readyEndpoint(), in: test.context)
        let begin = MonotonicTime.now
        #expect(line(ofRefusal: try requester.ask(change)) == "Busy: ca-core has not answered in time; the request may still take effect")
        #expect(begin.nanoseconds(until: .now) >= 150_000_000)
        #expect(line(ofRefusal: try requester.ask(read)) == "Busy: ca-core has not answered in time; try again")
        core.answer(try core.requests.next(), "late")
        core.answer(try core.requests.next(), "late")
        let crl = #"{"TASK":"get_crl","params":{}}"#
        #expect(try requester.ask(crl) == "answer to \(crl)")
        #expect(try requester.isSilent())
        #expect(test.settles { $0.lateAnswers == 2 })
        #expect(test.settles { $0.busyAtDeadline == 2 })
    }

    @Test("answers after 3.5 s and before 4 s when nothing else is asked for")
    func realDeadline() throws {
        let core = try FakeCore(path: corePath) { _ in nil }
        defer { core.stop() }
        let test = try TestRelay(directory)
        let requester = try client(.request, try test.readyEndpoint(), in: test.context)
        let begin = MonotonicTime.now
        #expect(line(ofRefusal: try requester.ask(read)).hasPrefix("Busy: "))
        #expect((3_500_000_000...4_000_000_000).contains(begin.nanoseconds(until: .now)))
    }

    @Test("lets requests wait for a core that is away, so that a restart is not noticed")
    func restart() throws {
        let test = try TestRelay(directory)
        let endpoint = try test.endpoint()
        let dealer = try client(.dealer, endpoint, in: test.context)
        for number in 0..<10 { try dealer.say("early \(number)") }
        let first = try FakeCore(path: corePath, instance: "one", respond: echo)
        for number in 0..<10 { #expect(try dealer.hear() == ["answer to early \(number)"]) }
        first.stop()
        try test.waitForLog("ca-core is gone")
        #expect(test.settles { _ in test.relay.statusText.contains("ca-core does not answer") })
        for number in 0..<10 { try dealer.say("between \(number)") }
        let second = try FakeCore(path: corePath, instance: "two", respond: echo)
        defer { second.stop() }
        for number in 0..<10 { #expect(try dealer.hear() == ["answer to between \(number)"]) }
        #expect(first.hellos.count == 1)
        #expect(second.hellos.count == 1)
        #expect(test.settles { $0.hellos == 2 })
    }

    @Test("answers Busy when the core stays away, and again when it has come back in vain for what the old one was asked")
    func coreAway() throws {
        let test = try TestRelay(directory) { $0.requestDeadline = 300 }
        let requester = try client(.request, try test.endpoint(), in: test.context)
        #expect(line(ofRefusal: try requester.ask(change)) == "Busy: ca-core is not answering; try again")
        let first = try FakeCore(path: corePath) { _ in nil }
        try test.wait { $0 == .ready }
        try requester.say(change)
        _ = try first.requests.next()
        first.stop()
        let second = try FakeCore(path: corePath, respond: echo)
        defer { second.stop() }
        let answer = try requester.hear()
        #expect(line(ofRefusal: answer[0]) == "Busy: ca-core has not answered in time; the request may still take effect")
        try test.waitForLog("answers")
        #expect(try requester.ask(read) == "answer to \(read)")
        #expect(second.requests.count == 1, "a request is never asked twice")
    }

    @Test("repeats its hello to a core that does not answer it")
    func silentCore() throws {
        let core = try FakeCore(path: corePath, greeting: .silence, respond: echo)
        defer { core.stop() }
        let test = try TestRelay(directory) {
            $0.helloTimeout = 20
            $0.requestDeadline = 200
        }
        let requester = try client(.request, try test.endpoint(), in: test.context)
        #expect(line(ofRefusal: try requester.ask(read)) == "Busy: ca-core is not answering; try again")
        _ = try core.hellos.next()
        _ = try core.hellos.next()
        #expect(core.requests.count == 0, "nothing is asked before the greeting")
    }

    @Test("refuses requests in one clear line while the core serves other versions, and serves when that has changed")
    func otherVersion() throws {
        let old = try FakeCore(path: corePath, greeting: .refuse(version: 9), respond: echo)
        let test = try TestRelay(directory) { $0.helloTimeout = 20 }
        let requester = try client(.request, try test.endpoint(), in: test.context)
        try test.waitForLog("refused until")
        #expect(
            line(ofRefusal: try requester.ask(read))
                == "ca-core serves link versions 8 and 9 (this is ca-front 0.1.0, link version 1; ca-core's is 9)")
        for _ in 0..<5 { _ = try old.hellos.next() }
        old.stop()
        let new = try FakeCore(path: corePath, respond: echo)
        defer { new.stop() }
        try test.wait { $0 == .ready }
        #expect(try requester.ask(read) == "answer to \(read)")
        #expect(test.log.filter { $0.contains("refused until") }.count == 1)
    }

    // MARK: Bounds

    @Test("answers Busy at once beyond its bounds of requests, bytes and requests of one connection")
    func bounds() throws {
        let core = try FakeCore(path: corePath) { $0.text == read ? echo($0) : nil }
        defer { core.stop() }
        let test = try TestRelay(directory) {
            $0.maximumOpenRequests = 6
            $0.maximumOpenRequestsPerClient = 4
            $0.maximumOpenBytes = 1_000
            $0.requestDeadline = 60_000
        }
        let endpoint = try test.readyEndpoint()
        let greedy = try client(.dealer, endpoint, in: test.context)
        for number in 0..<5 { try greedy.say("open \(number)") }
        #expect(line(ofRefusal: try greedy.hear()[0]) == "Busy: too many requests of this connection are open; try again")
        let other = try client(.request, endpoint, in: test.context)
        #expect(try other.ask(read) == "answer to \(read)")
        #expect(line(ofRefusal: try other.ask(String(repeating: "x", count: 1_000))) == "Busy: too many requests are open; try again")
        let third = try client(.dealer, endpoint, in: test.context)
        for _ in 0..<3 { try third.say("open") }
        #expect(line(ofRefusal: try third.hear()[0]) == "Busy: too many requests are open; try again")
        #expect(test.settles { $0.busyOverBounds == 3 })
        var open: [CoreRequest] = []
        while open.count < 6 {
            let request = try core.requests.next()
            if request.text.hasPrefix("open") { open.append(request) }
        }
        for request in open { core.answer(request, "done \(request.text)") }
        for number in 0..<4 { #expect(try greedy.hear() == ["done open \(number)"]) }
        #expect(try other.ask(read) == "answer to \(read)")
    }

    @Test("leaves room for the next client, however many connections ask for all they get")
    func fairShares() throws {
        let core = try FakeCore(path: corePath) { $0.text == read ? echo($0) : nil }
        defer { core.stop() }
        let test = try TestRelay(directory) {
            $0.maximumOpenRequests = 100
            $0.maximumOpenRequestsPerClient = 100
            $0.requestDeadline = 60_000
        }
        let endpoint = try test.readyEndpoint()
        // Nothing of theirs is answered: each takes two thirds of what the ones before left (dynamic thresholds, Choudhury and Hahne 1998).
        var hogs: [Int] = []
        for round in 1...6 {
            let before = test.relay.counters.open
            let hog = try client(.dealer, endpoint, in: test.context)
            for number in 0..<200 { try hog.say("open \(number)") }
            #expect(test.settles { $0.received >= round * 201 - 1 })
            hogs.append(test.relay.counters.open - before)
            let other = try client(.request, endpoint, in: test.context)
            #expect(try other.ask(read) == "answer to \(read)")
        }
        #expect(hogs[0] == 59 && hogs[1] < 25 && hogs[2...].allSatisfy { $0 <= 8 }, "\(hogs)")
    }

    @Test("drops and counts answers for a client that never reads, and serves the others")
    func clientThatDoesNotRead() throws {
        let core = try FakeCore(path: corePath) { $0.text == "big" ? [UInt8](repeating: 120, count: 1 << 20) : echo($0) }
        defer { core.stop() }
        let test = try TestRelay(directory) {
            // Also how many answers may wait for a client.
            $0.maximumOpenRequests = 8
            $0.maximumOpenRequestsPerClient = 4
        }
        let endpoint = try test.readyEndpoint()
        let raw = try RawPeer(endpoint: endpoint)
        try raw.handshake([("Socket-Type", "DEALER")])
        let other = try client(.request, endpoint, in: test.context)
        var rounds = 0
        while test.relay.counters.clientsNotReading == 0 && rounds < 500 {
            try raw.sendFrame(Array("big".utf8))
            let answer = try other.ask(read)
            #expect(answer == "answer to \(read)")
            rounds += 1
        }
        #expect(test.settles { $0.clientsNotReading > 0 })
        #expect(try other.ask(read) == "answer to \(read)")
    }

    @Test("holds a bounded number of bytes for a client that never reads, answers it Busy beyond them, and answers again once it reads")
    func unreadAnswers() throws {
        let core = try FakeCore(path: corePath) { $0.text == "big" ? [UInt8](repeating: 120, count: 1 << 20) : echo($0) }
        defer { core.stop() }
        let test = try TestRelay(directory) { $0.maximumUnreadBytes = 20 << 20 }
        let endpoint = try test.readyEndpoint()
        let raw = try RawPeer(endpoint: endpoint)
        try raw.handshake([("Socket-Type", "DEALER")])
        let other = try client(.request, endpoint, in: test.context)
        for _ in 0..<100 {
            try raw.sendFrame(Array("big".utf8))
            #expect(try other.ask(read) == "answer to \(read)")
        }
        #expect(test.settles { $0.answersWithheld + $0.relayedAnswers == 200 })
        // What the kernel's two buffers take comes on top: 6 MiB and 4 MiB at most (tcp_rmem, tcp_wmem).
        #expect((70...80).contains(test.relay.counters.answersWithheld), "\(test.relay.counters)")
        #expect(test.relay.counters.clientsNotReading == 0)
        // It reads: first what waited, in order, then the refusals; then it is a client as any other.
        var frames: [Int] = []
        for _ in 0..<100 { frames.append(try raw.readFrame().count) }
        #expect(frames.filter { $0 == 1 << 20 }.count == 100 - test.relay.counters.answersWithheld)
        #expect(frames.filter { $0 < 200 }.count == test.relay.counters.answersWithheld)
        try raw.sendFrame(Array("big".utf8))
        #expect(try raw.readFrame().count == 1 << 20)
    }

    @Test("forgets the connections of clients that have gone, and knows one again that comes back under its name")
    func unreadAnswersOfThoseGone() throws {
        let core = try FakeCore(path: corePath) { $0.text == "big" ? [UInt8](repeating: 120, count: 1 << 20) : echo($0) }
        defer { core.stop() }
        let test = try TestRelay(directory) { $0.maximumUnreadBytes = 4 << 20 }
        let endpoint = try test.readyEndpoint()
        for _ in 0..<8 {
            let raw = try RawPeer(endpoint: endpoint)
            try raw.handshake([("Socket-Type", "DEALER"), ("Identity", "always the same")])
            for _ in 0..<3 { try raw.sendFrame(Array("big".utf8)) }
            #expect(try raw.readFrame().count == 1 << 20)
            raw.close()
            // The relay hears of the end by itself; the name is free again then.
            let other = try client(.request, endpoint, in: test.context)
            #expect(try other.ask(read) == "answer to \(read)")
        }
        #expect(test.relay.counters.answersWithheld == 0, "\(test.relay.counters)")
    }

    // MARK: Ending

    @Test("a clean stop finishes what is in flight and what comes meanwhile, and then nothing listens")
    func cleanStop() throws {
        let core = try FakeCore(path: corePath) { _ in nil }
        defer { core.stop() }
        let test = try TestRelay(directory) { $0.drainTime = 20_000 }
        let endpoint = try test.readyEndpoint()
        let first = try client(.request, endpoint, in: test.context)
        try first.say(change)
        let open = try core.requests.next()
        let second = try client(.dealer, endpoint, in: test.context)
        try second.say(read)
        core.answer(try core.requests.next(), "before")
        #expect(try second.hear() == ["before"])
        test.relay.stop(reason: "a test")
        while test.relay.statusText != "stopping, 1 open" { sched_yield() }
        try second.say(read)
        core.answer(try core.requests.next(), "taken on")
        #expect(try second.hear() == ["taken on"])
        core.answer(open, "finished")
        #expect(try first.hear() == ["finished"])
        #expect(try test.waitForEnd() == .stopped(reason: "a test"))
        #expect(test.relay.statusText == "stopped: a test")
        test.relay.join()
        #expect(RawPeer.isRefused(endpoint))
    }

    @Test("a clean stop refuses what comes at its end")
    func endOfStop() throws {
        let core = try FakeCore(path: corePath) { _ in nil }
        defer { core.stop() }
        let test = try TestRelay(directory) {
            $0.drainTime = 20_000
            $0.drainEnd = 20_000
        }
        let endpoint = try test.readyEndpoint()
        let first = try client(.request, endpoint, in: test.context)
        try first.say(change)
        let open = try core.requests.next()
        let second = try client(.dealer, endpoint, in: test.context)
        try second.say(read)
        core.answer(try core.requests.next(), "before")
        #expect(try second.hear() == ["before"])
        test.relay.stop(reason: "a test")
        while test.relay.statusText != "stopping, 1 open" { sched_yield() }
        #expect(line(ofRefusal: try second.ask(read)) == "Busy: this service is stopping; try again")
        core.answer(open, "finished")
        #expect(try first.hear() == ["finished"])
        #expect(try test.waitForEnd() == .stopped(reason: "a test"))
    }

    @Test("a clean stop waits for a silent core only as long as it may, and answers the rest")
    func stopWithSilentCore() throws {
        let core = try FakeCore(path: corePath) { _ in nil }
        defer { core.stop() }
        let test = try TestRelay(directory) { $0.drainTime = 100 }
        let dealer = try client(.dealer, try test.readyEndpoint(), in: test.context)
        try dealer.say(change)
        try dealer.say(read)
        _ = try core.requests.next()
        _ = try core.requests.next()
        test.relay.stop(reason: "a test")
        #expect(line(ofRefusal: try dealer.hear()[0]) == "Busy: this service is stopping; the request may still take effect")
        #expect(line(ofRefusal: try dealer.hear()[0]) == "Busy: this service is stopping; try again")
        #expect(try test.waitForEnd() == .stopped(reason: "a test"))
    }

    @Test("a port that is taken is named, with what to do")
    func portTaken() throws {
        let context = try ZMQContext()
        let squatter = try ZMQSocket(.router, in: context)
        try squatter.bind("tcp://127.0.0.1:*")
        let taken = try squatter.lastEndpoint
        let port = taken.split(separator: ":").last ?? ""
        let test = try TestRelay(directory, listen: [taken])
        guard case .failed(let error) = try test.waitForEnd() else { throw TestFailure("it listens on a taken port") }
        #expect(error.code == .portTaken)
        #expect(error.message.hasPrefix("cannot listen on 127.0.0.1:\(port): port \(port) is taken by another program;"))
    }

    @Test("options that make no sense are refused")
    func options() {
        for endpoint in ["ipc:///tmp/x", "tcp://", "tcp://127.0.0.1", "5000", ""] {
            #expect(throws: RelayError.self) { try RelayListener(endpoint: endpoint) }
        }
        #expect(throws: RelayError.self) { try Relay(RelayOptions(listeners: [], corePath: "/x", program: "x")) }
    }

    // MARK: Many

    @Test("20,000 requests of several clients are all answered, each with its own answer")
    func many() throws {
        let core = try FakeCore(path: corePath, respond: echo)
        defer { core.stop() }
        let test = try TestRelay(directory)
        let endpoint = try test.readyEndpoint()
        let wrong = Atomic<Int>(0)
        let right = Atomic<Int>(0)
        let begin = MonotonicTime.now
        let clients = try (0..<4).map { number in
            try OwnedThread(name: "client\(number)") { [context = test.context] in
                do {
                    let socket = try client(.dealer, endpoint, in: context)
                    var next = 0
                    var open: Set<String> = []
                    while next < 5_000 || !open.isEmpty {
                        while open.count < 64 && next < 5_000 {
                            let text = "client \(number) request \(next) " + String(repeating: "x", count: next % 700)
                            try socket.say(text)
                            open.insert("answer to " + text)
                            next += 1
                        }
                        let answer = try socket.hear()
                        if answer.count == 1, open.remove(answer[0]) != nil {
                            right.wrappingAdd(1, ordering: .relaxed)
                        } else {
                            wrong.wrappingAdd(1, ordering: .relaxed)
                        }
                    }
                    if try !socket.isSilent() { wrong.wrappingAdd(1, ordering: .relaxed) }
                } catch {
                    wrong.wrappingAdd(1, ordering: .relaxed)
                }
            }
        }
        for thread in clients { thread.join() }
        let seconds = Double(begin.nanoseconds(until: .now)) / 1e9
        print("relay: 20,000 requests in \(seconds) s, \(Int(20_000 / seconds))/s, clients and core in the same process")
        #expect(right.load(ordering: .relaxed) == 20_000)
        #expect(wrong.load(ordering: .relaxed) == 0)
        #expect(test.settles { $0.relayedAnswers == 20_000 })
        #expect(test.settles { $0.open == 0 })
    }
}
