// The client over CURVE, against servers of every kind that an address may turn out to have.

import Enrolment
import NodeLink
import Testing
import Threads
import UPKIProtocol
import ZeroMQ

/// A server in a thread of its own that answers what it is told to.
private final class Server: Sendable {
    let port: Int
    private let thread: OwnedThread
    private let stop: Mailbox<Bool>

    /// - Parameter answer: the messages to send for a request's parts, without the routing id; nil ends the server.
    init(_ keys: ZMQCurveKeyPair?, _ answer: @escaping @Sendable ([[UInt8]]) -> [[[UInt8]]]?) throws {
        let ports = try Mailbox<Int>()
        let stop = try Mailbox<Bool>()
        thread = try OwnedThread(name: "server") {
            do {
                var options = ZMQSocketOptions()
                options.receiveTimeoutMilliseconds = 20
                if let keys { options.curve = .server(keys) }
                let socket = try ZMQSocket(.router, in: try ZMQContext(), options: options)
                try socket.bind("tcp://127.0.0.1:*")
                ports.post(Int(try socket.lastEndpoint.split(separator: ":").last ?? "") ?? 0)
                var stopped: [Bool] = []
                while stop.take(upTo: 1, into: &stopped, within: 0), stopped.isEmpty {
                    guard let message = try socket.receive(ZMQReceiveLimits(parts: 6, bytes: 1 << 20)) else { continue }
                    guard let answers = answer(Array(message.parts.dropFirst())) else { return }
                    for parts in answers { _ = try socket.send(parts: [message.parts[0]] + parts) }
                }
            } catch {
                ports.post(0)
            }
        }
        self.stop = stop
        port = ports.take(upTo: 1).first ?? 0
    }

    func end() {
        stop.post(true)
        thread.join()
    }
}

@Suite("A connection over CURVE", .serialized)
struct NodeConnectionTests {
    private let keys: ZMQCurveKeyPair
    private let mine: ZMQCurveKeyPair

    init() throws {
        keys = try ZMQCurveKeyPair.generate()
        mine = try ZMQCurveKeyPair.generate()
    }

    private func servers(_ ports: Int..., hosts: [String] = ["127.0.0.1"], key: String? = nil) -> ServerAddresses {
        ServerAddresses(
            hosts: hosts,
            sets: ports.map { .init(port: $0, registrarPort: $0, coreKey: key ?? keys.publicKey, registrarKey: key ?? keys.publicKey) })
    }

    private func code(_ servers: ServerAddresses, timeout: Duration = .seconds(10)) -> NodeLinkError.Code? {
        do throws(NodeLinkError) {
            _ = try NodeConnection.open(servers, port: .core, identity: mine, timeout: timeout)
            return nil
        } catch {
            return error.code
        }
    }

    private static func answering(_ parts: [[UInt8]]) -> [[[UInt8]]]? {
        guard parts.count == 3, let request = try? Request(frame: parts[2]) else { return [] }
        if request.task == "no" { return [[parts[0], [], Answer.frame(Refusal(.requestRefused, "Request refused: no"))]] }
        // Answers to other questions first.
        return [[[9], [], Answer.frame("late")], [parts[0], [], Answer.frame(.string(request.task))]]
    }

    @Test("asks one task after another, passes late answers over, and gives the CA's own words when it refuses")
    func asks() throws {
        let server = try Server(keys, Self.answering)
        defer { server.end() }
        var connection = try NodeConnection.open(servers(server.port), port: .registrar, identity: mine)
        for number in 0..<5 { #expect(try connection.ask("task\(number)") == .string("task\(number)")) }
        do throws(NodeLinkError) {
            _ = try connection.ask("no")
            Issue.record("no refusal")
        } catch {
            #expect(error.code == .refused && error.message == "Request refused: no")
        }
    }

    @Test("tells nobody from somebody else: no listener, another key, no CURVE")
    func others() throws {
        let ours = try Server(keys, Self.answering)
        let plain = try Server(nil, Self.answering)
        defer {
            ours.end()
            plain.end()
        }
        let free = try Server(nil, Self.answering)
        free.end()
        #expect(code(servers(free.port), timeout: .seconds(1)) == .unreachable)
        #expect(code(servers(ours.port, key: mine.publicKey)) == .otherServer)
        #expect(code(servers(plain.port)) == .otherServer)
        // The weightier finding is told, whatever was tried last.
        #expect(code(servers(plain.port, free.port), timeout: .seconds(8)) == .otherServer)
    }

    @Test("goes on to the next address and the next key until one proves itself")
    func goesOn() throws {
        let ours = try Server(keys, Self.answering)
        let plain = try Server(nil, Self.answering)
        defer {
            ours.end()
            plain.end()
        }
        var connection = try NodeConnection.open(servers(plain.port, ours.port), port: .core, identity: mine)
        #expect(connection.place == "127.0.0.1:\(ours.port)")
        #expect(try connection.ask("x") == "x")
    }

    @Test("says that an answer is missing when the server goes, and is of no more use")
    func gone() throws {
        let server = try Server(keys) { _ in nil }
        defer { server.end() }
        var connection = try NodeConnection.open(servers(server.port), port: .core, identity: mine)
        for _ in 0..<2 {
            do throws(NodeLinkError) {
                _ = try connection.ask("x")
                Issue.record("an answer")
            } catch {
                #expect(error.code == .noAnswer)
            }
        }
    }

    @Test("does not wait beyond its time, and refuses what is no answer")
    func noAnswer() throws {
        let server = try Server(keys) { parts in
            guard let request = try? Request(frame: parts[2]) else { return [] }
            return request.task == "garbage" ? [[parts[0], [], Array("nonsense".utf8)]] : []
        }
        defer { server.end() }
        var connection = try NodeConnection.open(servers(server.port), port: .core, identity: mine)
        do throws(NodeLinkError) { _ = try connection.ask("garbage") } catch { #expect(error.code == .invalidAnswer) }
        do throws(NodeLinkError) {
            _ = try connection.ask("x", timeout: .milliseconds(200))
            Issue.record("an answer")
        } catch {
            #expect(error.code == .noAnswer)
        }
    }
}
