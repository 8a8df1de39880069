// What the HTTP server says to whom: methods, paths, header fields, conditions.

import Foundation
import OCSPResponder
import TestPrograms
import Testing

@Suite("HTTP responses")
struct HTTPResponseTests {
    /// "MAMCAQc=" is 30 03 02 01 07.
    private static let path = "/MAMCAQc="
    private static let malformed: [UInt8] = [0x30, 0x03, 0x0A, 0x01, 0x01]

    @Test("an answer that may be kept has the header fields of RFC 5019, by POST and by GET")
    func cacheableAnswer() throws {
        let server = try HTTPTestServer()
        let posted = try server.post(DecidedAnswers.request(7))
        #expect(posted.status == 200)
        #expect(posted.body == DecidedAnswers.answer(7).der)
        #expect(
            posted.fields == [
                ["date", "Sun, 06 Nov 1994 08:49:37 GMT"], ["content-type", "application/ocsp-response"], ["content-length", "4"],
                ["cache-control", "max-age=300, public, no-transform, must-revalidate"], ["expires", "Sun, 06 Nov 1994 09:49:37 GMT"],
                ["last-modified", "Sun, 06 Nov 1994 08:49:00 GMT"], ["etag", "\"0123456789abcde7\""],
            ])
        #expect(try server.get(Self.path) == posted)
    }

    @Test("max-age ends with nextUpdate, and what nobody may keep says so")
    func ages() throws {
        let server = try HTTPTestServer { $0.clock = { HTTPTestServer.lifetime.nextUpdate - 20 } }
        #expect(try server.post(DecidedAnswers.request(7))["cache-control"] == "max-age=20, public, no-transform, must-revalidate")
        let late = try HTTPTestServer { $0.clock = { HTTPTestServer.lifetime.nextUpdate } }
        for response in [try late.post(DecidedAnswers.request(7)), try server.post(DecidedAnswers.request(0)), try server.get("/AAAA")] {
            #expect(response.status == 200)
            #expect(response["cache-control"] == "no-store")
            for field in ["etag", "expires", "last-modified"] { #expect(response[field] == nil) }
        }
    }

    @Test("another max_age counts from the next answer on, also within the second")
    func changedAge() throws {
        let server = try HTTPTestServer()
        for (age, control) in [
            (300, "max-age=300, public, no-transform, must-revalidate"), (1, "max-age=1, public, no-transform, must-revalidate"),
            (0, "no-store"),
        ] as [(Int64, String)] {
            server.responder.configure(maximumAge: age)
            #expect(try server.post(DecidedAnswers.request(7))["cache-control"] == control)
        }
    }

    @Test("dates of leap days and of other centuries are those of date(1)")
    func dates() throws {
        for (seconds, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"), (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_709_251_199, "Thu, 29 Feb 2024 23:59:59 GMT"), (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
        ] as [(Int64, String)] {
            let server = try HTTPTestServer { $0.clock = { seconds } }
            #expect(try server.get("/healthz")["date"] == text)
        }
    }

    @Test(
        "a GET's request is found behind any prefix, with slashes in it, percent-encoded or not, with padding or without",
        arguments: [
            "/MAMCAQc=", "/MAMCAQc", "/ocsp/MAMCAQc=", "/pki/My/ocsp/MAMCAQc%3D", "//MAMCAQc%3d", "/ocsp//MAMCAQc=", "/%4DAMCAQc=",
            "/%4d%41MCAQc=", "http://ca.example.test/ocsp/MAMCAQc=", "HTTPS://ca.example.test/MAMCAQc=", "/MAMCAQc=?x=y",
        ])
    func pathForms(path: String) throws {
        #expect(try HTTPTestServer().get(path).body == DecidedAnswers.answer(7).der)
    }

    /// As base64(1) of coreutils writes these requests.
    @Test(
        "slash, double slash, plus and equals sign reach the responder however they are spelled",
        arguments: [
            ("/MAb7/7////8=", [0x30, 0x06, 0xFB, 0xFF, 0xBF, 0xFF, 0xFF, 0xFF]),
            ("/ocsp/MAb7/7////8=", [0x30, 0x06, 0xFB, 0xFF, 0xBF, 0xFF, 0xFF, 0xFF]),
            ("/MAb7%2F7%2f%2F%2f%2F8%3D", [0x30, 0x06, 0xFB, 0xFF, 0xBF, 0xFF, 0xFF, 0xFF]),
            ("/a/b//MAb7%2F7/%2F//8", [0x30, 0x06, 0xFB, 0xFF, 0xBF, 0xFF, 0xFF, 0xFF]),
            ("/MAfw++++++++", [0x30, 0x07, 0xF0, 0xFB, 0xEF, 0xBE, 0xFB, 0xEF, 0xBE]),
            ("/MAfw+%2B%2b++%2B++", [0x30, 0x07, 0xF0, 0xFB, 0xEF, 0xBE, 0xFB, 0xEF, 0xBE]),
        ] as [(String, [UInt8])])
    func slashes(path: String, request: [UInt8]) throws {
        #expect(try HTTPTestServer().get(path).body == request)
    }

    @Test(
        "what cannot be decoded is a malformed request by OCSP's own response, and nobody keeps it",
        arguments: [
            "/MAMCAQc=A", "/MAMCAQ=c", "/MAMC", "/x", "/MAMCAQ%3", "/MAMCAQ%zz",
            "/ocsp/MAMC AQc=".replacingOccurrences(of: " ", with: "%20"),
        ])
    func undecodable(path: String) throws {
        let response = try HTTPTestServer().get(path)
        #expect(response.status == 200)
        #expect(response.body == Self.malformed)
        #expect(response["content-type"] == "application/ocsp-response")
        #expect(response["cache-control"] == "no-store")
    }

    @Test("HEAD has the header fields of GET and no body, and the connection goes on behind it")
    func head() throws {
        let server = try HTTPTestServer()
        server.responder.publish(.revocationList, PublishedDocument(der: [1, 2, 3], lastModified: 0, expires: .max, tag: "aa"))
        let client = try server.client()
        for path in [Self.path, "/crl", "/healthz", "/none.txt", "/MAMCAQA="] {
            let request = "HEAD \(path) HTTP/1.1\r\nHost: a\r\n\r\n"
            try client.send(request)
            var expected = try server.get(path)
            #expect(expected.body.count > 0)
            expected.body = []
            #expect(try client.response(to: request) == expected)
        }
    }

    @Test(
        "who has the answer already is told so",
        arguments: [
            ("\"0123456789abcde7\"", 304), ("W/\"0123456789abcde7\"", 304), ("\"x\", \"0123456789abcde7\"", 304), ("*", 304),
            ("\"x\"\r\nIf-None-Match: W/\"0123456789abcde7\"", 304), ("\"0123456789abcde8\"", 200), ("0123456789abcde7", 200), ("\"", 200),
            ("", 200), (",,", 200),
        ])
    func conditions(list: String, status: Int) throws {
        let server = try HTTPTestServer()
        let response = try server.get(Self.path, "If-None-Match: \(list)\r\n")
        #expect(response.status == status)
        #expect(response["etag"] == "\"0123456789abcde7\"")
        #expect(response["cache-control"] == "max-age=300, public, no-transform, must-revalidate")
        if status == 304 {
            #expect(response.body.isEmpty)
            #expect(response["content-length"] == nil)
        }
        // A POST is no question for what a cache has (RFC 9110 13.1.2 would make it 412).
        let client = try server.client()
        try client.send(HTTPTestClient.post(5, "If-None-Match: \(list)\r\n"), DecidedAnswers.request(7))
        #expect(try client.response().status == 200)
    }

    @Test("CA certificate and CRL have their types, may be kept for a bounded time, and are unavailable while not known")
    func documents() throws {
        let server = try HTTPTestServer()
        for path in ["/crl", "/ca.crt", "/pki/crl"] {
            let missing = try server.get(path)
            #expect(missing.status == 503)
            #expect(missing["retry-after"] == "5")
            #expect(missing["cache-control"] == "no-store")
        }
        let now = HTTPTestServer.now
        server.responder.publish(.revocationList, PublishedDocument(der: [1, 2, 3], lastModified: now - 37, expires: now + 100, tag: "aa"))
        server.responder.publish(.authorityCertificate, PublishedDocument(der: [4, 5], lastModified: 0, expires: .max, tag: "bb"))
        let list = try server.get("/pki/crl")
        #expect(list.body == [1, 2, 3])
        #expect(list["content-type"] == "application/pkix-crl")
        #expect(list["cache-control"] == "max-age=100, public, no-transform, must-revalidate")
        #expect(list["expires"] == "Sun, 06 Nov 1994 08:51:17 GMT")
        #expect(list["last-modified"] == "Sun, 06 Nov 1994 08:49:00 GMT")
        #expect(list["etag"] == "\"aa\"")
        #expect(try server.get("/crl", "If-None-Match: \"aa\"\r\n").status == 304)
        let certificate = try server.get("/ca.crt")
        #expect(certificate.body == [4, 5])
        #expect(certificate["content-type"] == "application/pkix-cert")
        #expect(certificate["cache-control"] == "max-age=3600, public, no-transform, must-revalidate")
    }

    @Test("healthz says why when something is wrong, and nobody keeps it")
    func health() throws {
        let server = try HTTPTestServer()
        let healthy = try server.get("/healthz")
        #expect((healthy.status, healthy.text) == (200, "ok\n"))
        server.responder.complain(["ca-core is not heard", "no certificate"])
        let ill = try server.get("/pki/healthz")
        #expect((ill.status, ill.text) == (503, "ca-core is not heard\nno certificate\n"))
        #expect(ill["cache-control"] == "no-store" && ill["retry-after"] == "5")
    }

    @Test("below the responder's own path there are no documents, so that nobody can give them other names")
    func documentsHaveOneName() throws {
        let server = try HTTPTestServer()
        let now = HTTPTestServer.now
        for kind in [PublishedDocument.Kind.revocationList, .authorityCertificate] {
            server.responder.publish(kind, PublishedDocument(der: [1, 2, 3], lastModified: now - 37, expires: now + 100, tag: "aa"))
        }
        for path in ["/ocsp/crl", "/ocsp/1/crl", "/pki/ocsp/x/ca.crt", "/ocsp/healthz"] {
            let answer = try server.get(path)
            // RFC 6960 4.2.1: malformedRequest; a name with a dot is a file that is not here.
            #expect(answer.body == [0x30, 0x03, 0x0A, 0x01, 0x01] || answer.status == 404, "\(path): \(answer.status)")
            #expect(answer["cache-control"] == "no-store")
        }
        #expect(try server.get("/pki/crl?1")["content-type"] == "application/pkix-crl")
        for path in ["/crl#/ca.crt", "/ca.crt#/crl", "/ocsp#/healthz", "/crl?a#/healthz"] { #expect(try server.get(path).status == 400) }
    }

    @Test("figures are on the socket for them alone, and OCSP is not there")
    func metrics() throws {
        let server = try HTTPTestServer()
        for path in ["/metrics", "/status"] { #expect(try server.get(path).status == 404) }
        _ = try server.get(Self.path)
        _ = try server.post(DecidedAnswers.request(0))
        func metrics(_ path: String) throws -> HTTPTestResponse {
            let client = try HTTPTestClient(server.metricsPath)
            try client.send("GET \(path) HTTP/1.1\r\nHost: a\r\n\r\n")
            return try client.response()
        }
        let text = try metrics("/metrics")
        #expect(text["content-type"] == "text/plain; version=0.0.4; charset=utf-8")
        for line in [
            "upki_ocsp_http_requests_total{method=\"POST\"} 1", "upki_ocsp_answers_total{kind=\"unknown\"} 1",
            "upki_ocsp_answers_total{kind=\"good\"} 1", "upki_ocsp_cached_answers_total 1",
            "upki_ocsp_http_responses_total{code=\"404\"} 2",
            "more_figures 1",
        ] {
            #expect(text.text.split(separator: "\n").contains(Substring(line)), "\(line) is missing")
        }
        #expect(try metrics("/status").text == #"{"signer":"here"}"#)
        #expect(try metrics("/status")["content-type"] == "application/json")
        #expect(try metrics("/healthz").text == "ok\n")
        #expect(try metrics(Self.path).status == 404)
    }

    @Test("what counters say is what happened")
    func counts() throws {
        let server = try HTTPTestServer()
        _ = try server.get(Self.path)
        _ = try server.get(Self.path, "If-None-Match: *\r\n")
        _ = try server.response("HEAD \(Self.path) HTTP/1.1\r\nHost: a\r\n\r\n")
        _ = try server.response("PUT / HTTP/1.1\r\nHost: a\r\n\r\n")
        let counts = server.server.counts
        #expect(counts.requests == ["GET": 2, "HEAD": 1, "POST": 0, "other": 1])
        #expect((counts.statuses[200], counts.statuses[304], counts.statuses[405]) == (2, 1, 1))
        #expect(counts.answers[.good] == 3)
        #expect(counts.connectionsOpened == 4)
    }

    @Test("curl gets and posts, and asks before it sends a long body")
    func curl() throws {
        let server = try HTTPTestServer()
        func curl(_ arguments: [String]) throws -> [UInt8] {
            let finished = try ProgramRun.run(
                ["curl", "--silent", "--show-error", "--max-time", "20", "--unix-socket", server.path] + arguments)
            #expect(finished.code == 0, "\(finished.errors)")
            return finished.outputBytes
        }
        let file = "\(server.directory)/request"
        try Data(DecidedAnswers.request(7)).write(to: URL(fileURLWithPath: file))
        defer { unlink(file) }
        let post = ["--header", "Content-Type: application/ocsp-request", "--data-binary", "@\(file)", "http://ca/"]
        #expect(try curl(["http://ca/ocsp/MAMCAQc="]) == DecidedAnswers.answer(7).der)
        #expect(try curl(post) == DecidedAnswers.answer(7).der)
        #expect(try curl(["--header", "Expect: 100-continue"] + post) == DecidedAnswers.answer(7).der)
        #expect(try curl(["--http1.0"] + post) == DecidedAnswers.answer(7).der)
        #expect(try curl(["--http2"] + post) == DecidedAnswers.answer(7).der)
        #expect(try curl(["--header", "Transfer-Encoding: chunked"] + post) == DecidedAnswers.answer(7).der)
    }
}
