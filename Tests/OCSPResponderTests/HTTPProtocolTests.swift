// HTTP itself: refusals, limits of size, order on pipelined connections, how connections end.

import OCSPResponder
import Testing

@Suite("HTTP connections")
struct HTTPProtocolTests {
    @Test(
        "what is asked wrongly is refused by the status that says why",
        arguments: [
            ("PUT / HTTP/1.1\r\nHost: a\r\n\r\n", 405), ("DELETE /ocsp HTTP/1.1\r\nHost: a\r\n\r\n", 405),
            ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 405), ("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 405),
            ("POST /crl HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 405), ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 405),
            ("GET /ocsp HTTP/1.1\r\nHost: a\r\n\r\n", 405), ("GET /favicon.ico HTTP/1.1\r\nHost: a\r\n\r\n", 404),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx", 415),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nContent-Length: 1\r\n\r\nx", 415),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/ocsp-requests\r\nContent-Length: 1\r\n\r\nx", 415),
            ("GET /healthz HTTP/1.1\r\n\r\n", 400), ("GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
            ("GET /healthz HTTP/1.1\r\nHost: a\r\nExpect: a-miracle\r\n\r\n", 417), ("GET /healthz HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        ])
    func refusals(request: String, status: Int) throws {
        let response = try HTTPTestServer().response(request)
        #expect(response.status == status)
        #expect(response["cache-control"] == "no-store")
        #expect((response["allow"] != nil) == (status == 405))
    }

    @Test(
        "what is no HTTP is refused and the connection closed",
        arguments: [
            "hello\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", "\u{16}\u{3}\u{1}\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/ocsp-request\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        ])
    func malformed(request: String) throws {
        let client = try HTTPTestServer().client()
        try client.send(request)
        let response = try client.response()
        #expect(response.status == 400)
        #expect(response["connection"] == "close")
        #expect(try client.rest().isEmpty)
    }

    @Test(
        "the type of a POST is heeded without case and without its parameters",
        arguments: [
            "application/ocsp-request", "Application/OCSP-Request", "application/ocsp-request; charset=x", "application/ocsp-request ;",
        ])
    func contentTypes(type: String) throws {
        let response = try HTTPTestServer().response(
            "POST /any/path HTTP/1.1\r\nhost: a\r\ncontent-type: \(type)\r\nCONTENT-LENGTH: 5\r\n\r\n", body: DecidedAnswers.request(7))
        #expect(response.body == DecidedAnswers.answer(7).der)
    }

    @Test("a body over the limit is refused before it comes, or when it gets too long, and the connection closed")
    func longBodies() throws {
        let server = try HTTPTestServer()
        let announced = try server.client()
        try announced.send(HTTPTestClient.post(16 * 1024 + 1))
        #expect(try announced.response().status == 413)
        #expect(try announced.rest().isEmpty)

        let chunked = try server.client()
        try chunked.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/ocsp-request\r\nTransfer-Encoding: chunked\r\n\r\n")
        let chunk = Array("1000\r\n".utf8) + [UInt8](repeating: 0x30, count: 4096) + Array("\r\n".utf8)
        for _ in 0..<5 { _ = chunked.offer(chunk) }
        #expect(try chunked.response().status == 413)
        #expect(try chunked.rest().isEmpty)

        let most = try server.post([UInt8](repeating: 0x30, count: 16 * 1024))
        #expect((most.status, most.body) == (200, [0x30, 0x03, 0x0A, 0x01, 0x01]))
        // Numbers that no computer counts to.
        for length in ["9223372036854775807", "18446744073709551615", "99999999999999999999999"] {
            let response = try server.response(
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/ocsp-request\r\nContent-Length: \(length)\r\n\r\n")
            #expect([400, 413].contains(response.status))
        }
    }

    @Test("a target over 8 kB is 414, header fields over their limits are 431", arguments: [false, true])
    func longHeads(inPieces: Bool) throws {
        let server = try HTTPTestServer()
        func status(_ head: String) throws -> Int {
            let client = try server.client()
            let bytes = Array(head.utf8)
            // A piece that ends before the limit is read by itself or together with the next one: both have to end the same.
            if inPieces { _ = client.offer(Array(bytes[..<5000])) }
            _ = client.offer(inPieces ? Array(bytes[5000...]) : bytes)
            let response = try client.response()
            #expect(response.status == 200 || response["connection"] == "close")
            return response.status
        }
        let filler = String(repeating: "A", count: 1000)
        func target(_ length: Int) -> String { "/" + String(repeating: "A", count: length - 1) }
        #expect(try status("GET \(target(8192)) HTTP/1.1\r\nHost: a\r\n\r\n") == 200)
        #expect(try status("GET \(target(8193)) HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n") == 414)
        #expect(try status("GET \(target(8194)) HTTP/1.1\r\nHost: a\r\n\r\n") == 414)
        #expect(try status("GET \(target(100_000)) HTTP/1.1\r\nHost: a\r\n\r\n") == 414)
        #expect(try status("GET / HTTP/1.1\r\nHost: a\r\nX: \(String(repeating: filler, count: 9))\r\n\r\n") == 431)
        let many = (0..<20).map { "X\($0): \(filler)\r\n" }.joined()
        #expect(try status("GET / HTTP/1.1\r\nHost: a\r\n\(many)\r\n") == 431)
        let short = (0..<1000).map { "X\($0): x\r\n" }.joined()
        #expect(try status("GET / HTTP/1.1\r\nHost: a\r\n\(short)\r\n") == 431)
    }

    @Test("100-continue is answered when the body is wanted, and with the refusal when it is not")
    func expectations() throws {
        let server = try HTTPTestServer()
        let client = try server.client()
        try client.send(HTTPTestClient.post(5, "Expect: 100-continue\r\n"))
        #expect(try client.response().status == 100)
        try client.send("", DecidedAnswers.request(7))
        #expect(try client.response().body == DecidedAnswers.answer(7).der)
        try client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        #expect(try client.response().status == 415)
        #expect(try client.rest().isEmpty)
    }

    @Test(
        "a connection is kept or closed as the request says",
        arguments: [
            ("HTTP/1.1\r\nHost: a\r\n", nil), ("HTTP/1.1\r\nHost: a\r\nConnection: close\r\n", "close"), ("HTTP/1.0\r\n", "close"),
            ("HTTP/1.0\r\nConnection: keep-alive\r\n", "keep-alive"),
            ("HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n", "close"),
        ] as [(String, String?)])
    func persistence(rest: String, connection: String?) throws {
        let client = try HTTPTestServer().client()
        let request = "GET /MAMCAQc= \(rest)\r\n"
        try client.send(request)
        let response = try client.response()
        #expect(response.body == DecidedAnswers.answer(7).der)
        #expect(response["connection"] == connection)
        if connection == "close" {
            #expect(try client.rest().isEmpty)
        } else {
            try client.send(request)
            #expect(try client.response() == response)
        }
    }

    @Test("a client that has sent all and says so gets its answers, also those that have to be waited for")
    func halfClosed() throws {
        let server = try HTTPTestServer()
        let client = try server.client()
        try client.send("GET /MAMCAQc= HTTP/1.1\r\nHost: a\r\n\r\n" + HTTPTestClient.post(5), DecidedAnswers.request(0x41))
        client.finishSending()
        server.responder.waitForHeld()
        try server.responder.give(0x41, server.server.hop)
        #expect(try client.response().body == DecidedAnswers.answer(7).der)
        #expect(try client.response().body == DecidedAnswers.answer(0x41).der)
        #expect(try client.rest().isEmpty)
    }

    @Test("a request that a client gives up in the middle is no request")
    func cutRequest() throws {
        let client = try HTTPTestServer().client()
        try client.send(HTTPTestClient.post(5) + "0")
        client.finishSending()
        #expect(try client.response().status == 400)
        #expect(try client.rest().isEmpty)
    }

    @Test("answers on a pipelined connection come in the order of the requests, whichever is ready first")
    func order() throws {
        let server = try HTTPTestServer()
        server.responder.publish(.revocationList, PublishedDocument(der: [9, 9], lastModified: 0, expires: .max, tag: "aa"))
        let client = try server.client()
        let numbers: [UInt8] = [1, 0x40, 2, 0x41, 3, 0x42, 0x43, 4]
        var requests: [UInt8] = []
        for number in numbers { requests += Array(HTTPTestClient.post(5).utf8) + DecidedAnswers.request(number) }
        requests += Array("GET /crl HTTP/1.1\r\nHost: a\r\n\r\nGET /MAMCAQc= HTTP/1.1\r\nHost: a\r\n\r\n".utf8)
        #expect(client.offer(requests))
        for _ in 0..<4 { server.responder.waitForHeld() }
        #expect(try client.response().body == DecidedAnswers.answer(1).der)
        for number: UInt8 in [0x43, 0x41, 0x42, 0x40] { try server.responder.give(number, server.server.hop) }
        for number in numbers.dropFirst() { #expect(try client.response().body == DecidedAnswers.answer(number).der) }
        #expect(try client.response().body == [9, 9])
        #expect(try client.response().body == DecidedAnswers.answer(7).der)
    }

    @Test("no more is read from a connection than there is room for answers, and all are answered in the end")
    func pipelineBound() throws {
        let server = try HTTPTestServer { $0.limits.pipelined = 2 }
        let client = try server.client()
        // More than one read holds, each held back by the first.
        let request = Array(HTTPTestClient.post(5).utf8)
        var requests = request + DecidedAnswers.request(0x40)
        for _ in 0..<2000 { requests += request + DecidedAnswers.request(1) }
        let sending = client.sendMeanwhile(requests)
        server.responder.waitForHeld()
        try server.responder.give(0x40, server.server.hop)
        #expect(try client.response().body == DecidedAnswers.answer(0x40).der)
        for _ in 0..<2000 { #expect(try client.response().body == DecidedAnswers.answer(1).der) }
        #expect(sending.wait())
    }

    @Test("a long CRL reaches slow readers whole, and requests behind it are answered after it")
    func longDocument() throws {
        let server = try HTTPTestServer()
        let der = (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        server.responder.publish(.revocationList, PublishedDocument(der: der, lastModified: 0, expires: .max, tag: "aa"))
        let clients = try (0..<4).map { _ in try server.client() }
        for client in clients {
            try client.send(
                "GET /crl HTTP/1.1\r\nHost: a\r\n\r\nGET /MAMCAQc= HTTP/1.1\r\nHost: a\r\n\r\nGET /crl HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
            )
        }
        for client in clients {
            #expect(try client.response().body == der)
            #expect(try client.response().body == DecidedAnswers.answer(7).der)
            #expect(try client.response().body == der)
            #expect(try client.rest().isEmpty)
        }
    }

    @Test("an answer for a client that has gone harms nobody")
    func goneClient() throws {
        let server = try HTTPTestServer()
        var client: HTTPTestClient? = try server.client()
        try client?.send(HTTPTestClient.post(5), DecidedAnswers.request(0x40))
        server.responder.waitForHeld()
        client = nil
        try server.responder.give(0x40, server.server.hop)
        #expect(try server.post(DecidedAnswers.request(7)).body == DecidedAnswers.answer(7).der)
    }

    @Test("whatever bytes come on one connection, the next one is served")
    func hostileBytes() throws {
        let server = try HTTPTestServer()
        var random = SplitMix(state: 20_261_126)
        let pieces = [
            "GET /", "POST / HTTP/1.1\r\n", "Host: a\r\n", "Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n", "\r\n", "0\r\n\r\n",
            "5\r\n",
            " HTTP/1.1\r\n", " HTTP/1.0\r\n", "MAMCAQc=", "Expect: 100-continue\r\n", "Connection: close\r\n",
            "Upgrade: x\r\nConnection: upgrade\r\n",
            "Content-Type: application/ocsp-request\r\n", "Trailer: x\r\n", "X:\r\n", ":\r\n", "\n", "\r", "\0", "%", "//",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "HEAD /crl", "CONNECT a:1", "If-None-Match: \"", "FFFFFFFFFFFFFFFF\r\n",
        ]
        for round in 0..<600 {
            let client = try server.client()
            var bytes: [UInt8] = []
            for _ in 0..<Int.random(in: 1...20, using: &random) {
                if Bool.random(using: &random) || round % 3 == 0 {
                    bytes += Array((pieces.randomElement(using: &random) ?? "").utf8)
                } else {
                    bytes += (0..<Int.random(in: 1...40, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) }
                }
            }
            _ = client.offer(bytes)
            if Bool.random(using: &random) {
                client.finishSending()
                _ = try client.rest()
            }
        }
        #expect(try server.post(DecidedAnswers.request(7)).body == DecidedAnswers.answer(7).der)
        #expect(try server.get("/healthz").status == 200)
    }
}

/// Numbers that look random and are the same in each run.
private struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        self.state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = self.state
        mixed = (mixed ^ mixed >> 30) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ mixed >> 27) &* 0x94D0_49BB_1331_11EB
        return mixed ^ mixed >> 31
    }
}
