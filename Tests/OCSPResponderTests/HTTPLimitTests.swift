// Peers that are slow or many, and the end of the server.

import Foundation
import OCSPResponder
import Synchronization
import Testing

@Suite("HTTP limits")
struct HTTPLimitTests {
    private static func server(_ change: @escaping (inout HTTPTimeLimits) -> Void) throws -> HTTPTestServer {
        try HTTPTestServer { options in change(&options.times) }
    }

    @Test(
        "a request that does not come to its end is cut, whatever part of it came",
        arguments: [
            "G", "GET /MAMCAQc= HTTP/1.1\r\nHost: a\r\n", "GET /MAMCA", HTTPTestClient.post(5), HTTPTestClient.post(5) + "0",
            "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\nGET /MAMCA",
        ])
    func slowRequest(part: String) throws {
        let server = try Self.server { $0.request = .milliseconds(100) }
        let client = try server.client()
        try client.send(part)
        if part.contains("healthz") { #expect(try client.response().status == 200) }
        let response = try client.response()
        #expect(response.status == 408)
        #expect(response["connection"] == "close")
        #expect(try client.rest().isEmpty)
        #expect(server.server.counts.timedOut["request"] == 1)
    }

    @Test("a request that comes byte by byte is cut while it still comes")
    func dripping() throws {
        let server = try Self.server { $0.request = .milliseconds(100) }
        let client = try server.client()
        let sending = client.sendMeanwhile(Array("GET /".utf8), thenEachMillisecond: UInt8(ascii: "A"))
        #expect(try client.response().status == 408)
        #expect(try client.rest().isEmpty)
        #expect(!sending.wait())
    }

    @Test("an idle connection is closed without a word, before its first request and after one")
    func idle() throws {
        let server = try Self.server { $0.idle = .milliseconds(100) }
        #expect(try server.client().rest().isEmpty)
        let client = try server.client()
        try client.send("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(try client.response().status == 200)
        #expect(try client.rest().isEmpty)
        #expect(server.server.counts.timedOut["idle"] == 2)
    }

    @Test("who waits for an answer is not idle")
    func waiting() throws {
        let server = try Self.server {
            $0.idle = .milliseconds(20)
            $0.request = .milliseconds(20)
        }
        let waiting = try server.client()
        try waiting.send(HTTPTestClient.post(5), DecidedAnswers.request(0x40))
        server.responder.waitForHeld()
        // Idle connections of both loops come to their end meanwhile, one after another.
        for _ in 0..<6 { #expect(try server.client().rest().isEmpty) }
        try server.responder.give(0x40, server.server.hop)
        #expect(try waiting.response().body == DecidedAnswers.answer(0x40).der)
    }

    @Test("who does not read what it asked for is cut")
    func notReading() throws {
        let server = try Self.server { $0.write = .milliseconds(100) }
        let der = [UInt8](repeating: 1, count: 3_000_000)
        server.responder.publish(.revocationList, PublishedDocument(der: der, lastModified: 0, expires: .max, tag: "aa"))
        let client = try server.client()
        try client.send("GET /crl HTTP/1.1\r\nHost: a\r\n\r\n")
        // The server closes: the peer learns it when it cannot send any more.
        while client.offer(Array("GET /crl HTTP/1.1\r\nHost: a\r\n\r\n".utf8)) {}
        #expect(server.server.counts.timedOut["write"] == 1)
        #expect(try client.rest().count < der.count)
    }

    @Test("who reads a document too slowly as a whole is cut, whatever progress it makes")
    func slowReader() throws {
        let server = try Self.server {
            $0.document = .milliseconds(100)
            $0.documentRate = 1 << 30
        }
        let der = [UInt8](repeating: 1, count: 3_000_000)
        server.responder.publish(.revocationList, PublishedDocument(der: der, lastModified: 0, expires: .max, tag: "aa"))
        let client = try server.client()
        try client.send("GET /crl HTTP/1.1\r\nHost: a\r\n\r\n")
        while client.offer(Array("GET /crl HTTP/1.1\r\nHost: a\r\n\r\n".utf8)) {}
        #expect(server.server.counts.timedOut["write"] == 1)
        #expect(try client.rest().count < der.count)
    }

    @Test("a document that has to wait for its turn is the one that is published then")
    func waitingDocument() throws {
        let server = try HTTPTestServer()
        func publish(_ byte: UInt8) {
            server.responder.publish(.revocationList, PublishedDocument(der: [byte], lastModified: 0, expires: .max, tag: "a\(byte)"))
        }
        publish(1)
        let client = try server.client()
        let between = Array("GET /crl HTTP/1.1\r\nHost: a\r\n\r\n\(HTTPTestClient.post(5))".utf8)
        try client.send(HTTPTestClient.post(5), DecidedAnswers.request(0x40) + between + DecidedAnswers.request(0x41))
        // The second one shows that the request between them was read.
        for _ in 0..<2 { server.responder.waitForHeld() }
        publish(2)
        for number: UInt8 in [0x40, 0x41] { try server.responder.give(number, server.server.hop) }
        #expect(try client.response().body == DecidedAnswers.answer(0x40).der)
        #expect(try client.response().body == [2])
        #expect(try client.response().body == DecidedAnswers.answer(0x41).der)
    }

    @Test("requests that wait for their answers hold back those behind them once they are so many bytes")
    func waitingBytes() throws {
        let server = try HTTPTestServer { $0.limits.pipelinedBytes = 10 }
        let client = try server.client()
        for number: UInt8 in [0x40, 0x41] {
            try client.send(HTTPTestClient.post(5), DecidedAnswers.request(number))
            server.responder.waitForHeld()
        }
        // Room for it is found with the first answer.
        try client.send(HTTPTestClient.post(5), DecidedAnswers.request(0x42))
        let other = try server.client()
        for _ in 0..<8 { #expect(try server.get("/healthz").status == 200) }
        try other.send(HTTPTestClient.post(5), DecidedAnswers.request(1))
        #expect(try other.response().status == 200)
        #expect(server.responder.heldNumbers == [0x40, 0x41])
        for number: UInt8 in [0x40, 0x41] {
            try server.responder.give(number, server.server.hop)
            #expect(try client.response().body == DecidedAnswers.answer(number).der)
        }
        server.responder.waitForHeld()
        try server.responder.give(0x42, server.server.hop)
        #expect(try client.response().body == DecidedAnswers.answer(0x42).der)
    }

    @Test("a connection too many is told so and closed, and there is place again when one has gone")
    func tooMany() throws {
        let server = try HTTPTestServer { $0.limits.connections = 2 }
        let request = "GET /MAMCAQc= HTTP/1.1\r\nHost: a\r\n\r\n"
        var clients = try (0..<2).map { _ in try server.client() }
        for client in clients {
            try client.send(request)
            #expect(try client.response().status == 200)
        }
        let third = try server.client()
        let response = try third.response()
        #expect(response.status == 503)
        #expect(response["retry-after"] == "1")
        #expect(response["connection"] == "close")
        #expect(try third.rest().isEmpty)
        #expect(server.server.counts.connectionsRefused == 1)
        for client in clients {
            try client.send(request)
            #expect(try client.response().status == 200)
        }
        // The figures have places of their own.
        let metrics = try HTTPTestClient(server.metricsPath)
        try metrics.send("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(try metrics.response().status == 200)

        clients[0].finishSending()
        #expect(try clients.removeFirst().rest().isEmpty)
        var status = 503
        while status == 503 {
            let client = try server.client()
            _ = client.offer(Array(request.utf8))
            status = try client.response().status
        }
        #expect(status == 200)
    }

    @Test("those whom nobody has time to tell find their connection closed, and a flood leaves the served ones alone")
    func flood() throws {
        let server = try HTTPTestServer { options in
            options.limits.connections = 1
            options.times.linger = .seconds(60)
        }
        let request = "GET /MAMCAQc= HTTP/1.1\r\nHost: a\r\n\r\n"
        let served = try server.client()
        try served.send(request)
        #expect(try served.response().status == 200)
        let told = try (0..<128).map { _ in try server.client() }
        for client in told { #expect(try client.response().status == 503) }
        for _ in 0..<20 { #expect(try server.client().rest().isEmpty) }
        try served.send(request)
        #expect(try served.response().status == 200)
        // Their connections hold the places until here.
        withExtendedLifetime(told) {}
    }

    @Test("connections spread over the event loops, and each answer is asked for with the index of its own")
    func spread() throws {
        let server = try HTTPTestServer()
        let clients = try (0..<8).map { _ in try server.client() }
        for client in clients {
            try client.send(HTTPTestClient.post(5), DecidedAnswers.request(7))
            #expect(try client.response().status == 200)
        }
        #expect(server.responder.loops == [0, 1])
        #expect(server.server.hop.count == 2)
    }

    @Test("the end: idle connections are closed, what is in flight is answered, and the sockets are gone")
    func graceful() throws {
        let server = try HTTPTestServer { $0.times.stop = .seconds(20) }
        let idle = try server.client()
        try idle.send("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(try idle.response().status == 200)
        let waiting = try server.client()
        try waiting.send(HTTPTestClient.post(5), DecidedAnswers.request(0x40))
        server.responder.waitForHeld()
        let stopped = DispatchSemaphore(value: 0)
        let inner = server.server
        let hop = inner.hop
        Thread.detachNewThread {
            inner.stop()
            stopped.signal()
        }
        #expect(try idle.rest().isEmpty)
        #expect(throws: HTTPTestError.self) { try server.client() }
        try server.responder.give(0x40, hop)
        #expect(try waiting.response().body == DecidedAnswers.answer(0x40).der)
        #expect(try waiting.rest().isEmpty)
        #expect(stopped.wait(timeout: .now() + 20) == .success)
        #expect(!FileManager.default.fileExists(atPath: server.path))
        #expect(!FileManager.default.fileExists(atPath: server.metricsPath))
    }

    @Test("the end does not wait for ever for an answer that does not come")
    func endless() throws {
        let server = try HTTPTestServer { $0.times.stop = .milliseconds(50) }
        let waiting = try server.client()
        try waiting.send(HTTPTestClient.post(5), DecidedAnswers.request(0x40))
        server.responder.waitForHeld()
        server.server.stop()
        #expect(try waiting.rest().isEmpty)
    }
}

@Suite("The bridge's sockets")
struct HTTPSocketTests {
    private static func mode(_ path: String) -> mode_t {
        var status = stat()
        return lstat(path, &status) == 0 ? status.st_mode & 0o7777 : 0
    }

    @Test("a socket has its mode and group, and that of a dead process is replaced")
    func access() throws {
        let directory = try HTTPTestServer.newDirectory()
        let path = "\(directory)/s"
        defer { rmdir(directory) }
        // Bound and never listened on: as a killed process leaves it.
        let dead = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let bound = withUnsafePointer(to: address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(dead, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
        }
        #expect(bound == 0)
        close(dead)
        var options = HTTPServerOptions(socket: HTTPSocket(path: path, group: String(getegid()), mode: 0o640), clock: { 0 })
        options.loops = 1
        let server = HTTPServer(options)
        defer { server.stop() }
        try server.start(answering: DecidedAnswers())
        #expect(Self.mode(path) == 0o640)
        let client = try HTTPTestClient(path)
        try client.send("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(try client.response().status == 200)
        #expect(try FileManager.default.contentsOfDirectory(atPath: directory) == ["s"])
    }

    @Test("root gives a socket to the configured owner and group", .enabled(if: geteuid() == 0))
    func owner() throws {
        let nobody = try #require(getpwnam("nobody")).pointee
        let server = try HTTPTestServer { options in
            options.socket.owner = "nobody"
            options.socket.group = String(nobody.pw_gid)
            options.socket.mode = 0o620
        }
        var status = stat()
        #expect(lstat(server.path, &status) == 0)
        #expect((status.st_uid, status.st_gid) == (nobody.pw_uid, nobody.pw_gid))
        #expect(status.st_mode & 0o7777 == 0o620)
        #expect(try server.get("/healthz").status == 200)
    }

    @Test("a path that is served, that is a file, or that is too long is refused in words, and left as it is")
    func refusals() throws {
        let first = try HTTPTestServer()
        func failure(_ socket: HTTPSocket) throws -> HTTPServerError {
            let second = HTTPServer(HTTPServerOptions(socket: socket, clock: { 0 }))
            defer { second.stop() }
            return try #require(throws: HTTPServerError.self) { try second.start(answering: DecidedAnswers()) }
        }
        let served = try failure(HTTPSocket(path: first.path))
        #expect(served.code == .alreadyServed)
        #expect(served.message == "another process listens on \(first.path); stop it first or choose another path")
        #expect(try first.get("/healthz").status == 200)

        let file = "\(first.directory)/file"
        try Data().write(to: URL(fileURLWithPath: file))
        #expect(try failure(HTTPSocket(path: file)).message == "\(file) exists and is no socket; remove it or choose another path")
        #expect(unlink(file) == 0)

        let long = "\(first.directory)/\(String(repeating: "x", count: 107))"
        #expect(try failure(HTTPSocket(path: long)).code == .configuration)
        #expect(try failure(HTTPSocket(path: "\(first.directory)/none/s")).message.contains("No such file or directory"))
        let free = "\(first.directory)/s"
        #expect(
            try failure(HTTPSocket(path: free, group: "no-such-group")).message
                == "there is no group 'no-such-group' for the socket; make it or change socket.group")
        #expect(
            try failure(HTTPSocket(path: free, owner: "no-such-user")).message
                == "there is no user 'no-such-user' to own the socket; make it or change socket.owner")
        // What of two sockets worked is taken back where the other one failed.
        var options = HTTPServerOptions(socket: HTTPSocket(path: free), metricsSocket: HTTPSocket(path: first.path), clock: { 0 })
        options.loops = 1
        let half = HTTPServer(options)
        defer { half.stop() }
        #expect(throws: HTTPServerError.self) { try half.start(answering: DecidedAnswers()) }
        #expect(!FileManager.default.fileExists(atPath: free))
    }
}
