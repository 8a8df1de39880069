// The HTTP around OCSP, CRL and CA certificate: what curl gets from nginx and from the bridge's own socket, and what nginx keeps.
import Foundation
import Glibc
import TestPrograms
import Testing
import UPKIProtocol

extension IntegrationTests {
    @Suite("HTTP behind nginx")
    struct OCSPHTTPTests {
        @Test("a base_url with a path of its own: the URLs in a certificate answer once the site file is edited as it says")
        func prefix() throws {
            try withPublicCA(below: "/pki") { ca in
                let certificate = try ca.issue("below.example.com")
                let text = try ca.place.must(["/usr/bin/openssl", "x509", "-in", certificate.path, "-noout", "-text"])
                for name in ["ocsp", "crl", "ca.crt"] { #expect(text.contains("URI:\(ca.base)/pki/\(name)\n"), "\(text)") }
                #expect(try ca.ask([certificate], url: "\(ca.base)/pki/ocsp").states == ["good"])
                let path = PublicCA.path(try ca.request([certificate]))
                #expect(try ca.read(ca.place.fetch("\(ca.base)/pki\(path)").body) == "good")
                try waitUntil("the CRL is served") { try ca.place.fetch("http://localhost/crl", socket: ca.socket).code == 200 }
                for (name, type) in [("crl", "application/pkix-crl"), ("ca.crt", "application/pkix-cert")] {
                    let served = try ca.place.fetch("\(ca.base)/pki/\(name)")
                    #expect(served.code == 200 && served["content-type"] == type)
                }
            }
        }

        @Test(
            "while the bridge does not answer, nginx gives what is fresh and then an error, never what is stale; the bridge goes on afterwards"
        )
        func stale() throws {
            try withPublicCA(ocsp: ["max_age: 1s"]) { ca in
                let certificate = try ca.issue("stale.example.com")
                let path = PublicCA.path(try ca.request([certificate]))
                #expect(try ca.read(ca.place.fetch("\(ca.base)\(path)").body) == "good")
                let bridge = try ca.bridge
                kill(bridge, SIGSTOP)
                defer { kill(bridge, SIGCONT) }
                try waitUntil("what nginx kept is over") { try ca.place.fetch("\(ca.base)\(path)").code != 200 }
                #expect(try [502, 504].contains(ca.place.fetch("\(ca.base)\(path)").code))
                kill(bridge, SIGCONT)
                try waitUntil("it answers again") { try ca.place.fetch("\(ca.base)\(path)").code == 200 }
            }
        }

        @Test("the bridge keeps nothing on the disk, its key least of all: no file is open for writing but where its log goes")
        func writesNothing() throws {
            try withPublicCA { ca in
                #expect(try ca.state(ca.issue("key.example.com")) == "good")
                let folder = "/proc/\(try ca.bridge)"
                for number in try FileManager.default.contentsOfDirectory(atPath: "\(folder)/fd") where Int(number) ?? 0 > 2 {
                    let target = (try? FileManager.default.destinationOfSymbolicLink(atPath: "\(folder)/fd/\(number)")) ?? ""
                    #expect(!target.hasPrefix("/") || target.hasPrefix("/dev/"), "\(target)")
                }
                // Its own folder holds sockets and nothing else; what is in the data directory is ca-core's.
                let own = try FileManager.default.contentsOfDirectory(atPath: "\(ca.ca.run)/ocsp").sorted()
                #expect(own == ["http.sock", "metrics.sock"])
            }
        }

        @Test("no form of a target puts one document under the other's name in nginx's cache, or shows the bridge's health to the public")
        func names() throws {
            try withPublicCA { ca in
                func get(_ target: String) throws -> Fetched { try ca.place.fetch("\(ca.base)/", ["--request-target", target]) }
                try waitUntil("the CRL is served") { try ca.place.fetch("http://localhost/crl", socket: ca.socket).code == 200 }
                // By their types: another CRL may be published at any moment.
                for (name, other, type) in [("/crl", "/ca.crt", "application/pkix-crl"), ("/ca.crt", "/crl", "application/pkix-cert")] {
                    for target in ["\(name)#\(other)", "\(name)?\(other)", "\(name)#/healthz", "\(name)?a#\(other)", name] {
                        let answer = try get(target)
                        #expect(answer.code == 400 || answer.code == 200 && answer["content-type"] == type, "\(target)")
                    }
                }
                for target in ["/ocsp#/healthz", "/ocsp#/crl", "/ocsp/MA#/crl", "/ocsp/MA?", "/ocsp?/crl"] {
                    #expect(try get(target).code == 400, "\(target)")
                }
                // Two answers may have one second; only the ETag tells that one is still right.
                let kept = try get("/ca.crt")
                let since = ["-H", "If-Modified-Since: \(kept["last-modified"] ?? "")"]
                #expect(try ca.place.fetch("\(ca.base)/ca.crt", since).code == 200)
                #expect(try ca.place.fetch("\(ca.base)/ca.crt", ["-H", "If-None-Match: \(kept["etag"] ?? "")"]).code == 304)
            }
        }

        @Test("CA certificate and CRL are served byte for byte, under the very URLs that certificates carry, and openssl verifies by them")
        func documents() throws {
            try withPublicCA(ocsp: ["max_age: 1s"]) { ca in
                let place = ca.place
                let certificate = try ca.issue("www.example.com")
                let text = try place.must(["/usr/bin/openssl", "x509", "-in", certificate.path, "-noout", "-text"])
                let urls = text.components(separatedBy: "URI:").dropFirst().map {
                    $0.components(separatedBy: "\n")[0].trimmingCharacters(in: .whitespaces)
                }
                #expect(Set(urls) == ["\(ca.base)/crl", "\(ca.base)/ocsp", "\(ca.base)/ca.crt"], "\(text)")
                #expect(text.contains("CA Issuers - URI:\(ca.base)/ca.crt") && text.contains("OCSP - URI:\(ca.base)/ocsp"))

                let pem = try place.must(["/usr/bin/openssl", "x509", "-in", ca.issuer])
                let base64 = pem.split(separator: "\n").filter { !$0.hasPrefix("-----") }.joined()
                let authority = try #require(Data(base64Encoded: base64))
                func list() -> Data? { FileManager.default.contents(atPath: "\(ca.ca.data)/published/crl.der") }
                for (url, socket) in [(ca.base, nil), ("http://localhost", ca.socket)] {
                    let served = try place.fetch("\(url)/ca.crt", socket: socket)
                    #expect(served.code == 200 && served.body == authority)
                    #expect(served["content-type"] == "application/pkix-cert")
                    try waitUntil("the CRL is served") { try place.fetch("\(url)/crl", socket: socket).body == list() }
                    let revocations = try place.fetch("\(url)/crl", socket: socket)
                    #expect(revocations.code == 200 && revocations["content-type"] == "application/pkix-crl")
                    for answer in [served, revocations] {
                        let age = answer.cacheControl("max-age") ?? -1
                        #expect((0...7 * 86_400).contains(age), "\(answer.headers)")
                        #expect(
                            answer["etag"] != nil && answer["last-modified"] != nil && answer["expires"] != nil && answer["date"] != nil)
                        #expect(answer["content-length"] == "\(answer.body.count)")
                    }
                    for path in ["ca.crt", "crl"] {
                        let tag = try #require(try place.fetch("\(url)/\(path)", socket: socket)["etag"])
                        let unchanged = try place.fetch("\(url)/\(path)", ["-H", "If-None-Match: \(tag)"], socket: socket)
                        #expect(unchanged.code == 304 && unchanged.body.isEmpty)
                        let head = try place.fetch("\(url)/\(path)", ["-I"], socket: socket)
                        #expect(head.code == 200 && head["etag"] == tag)
                        let posted = try place.fetch("\(url)/\(path)", ["-X", "PUT"], socket: socket)
                        #expect(posted.code == 405 && posted["allow"]?.contains("GET") == true, "\(posted.headers)")
                    }
                }

                // A relying party that takes the list from where the certificate says it is.
                func verify() throws -> Finished {
                    try place.openssl(["verify", "-crl_check", "-crl_download", "-CAfile", ca.issuer, certificate.path])
                }
                #expect(try verify().output.contains("www.example.com.pem: OK"))
                try ca.revoke(certificate, "keyCompromise")
                // Published by itself soon after, fetched by the bridge, kept by nginx for one second here.
                try waitUntil("the list that is served has the revocation") { try verify().code != 0 }
                let refused = try verify()
                #expect((refused.output + refused.errors).contains("certificate revoked"), "\(refused.errors)")
                try waitUntil("nginx serves the last list") { try place.fetch("\(ca.base)/crl").body == list() }
                let file = try place.save(try place.fetch("\(ca.base)/crl").body, to: "served.crl")
                let checked = try place.openssl([
                    "verify", "-crl_check", "-CRLfile", file, "-CAfile", ca.issuer, certificate.path,
                ])
                #expect(checked.code != 0 && (checked.output + checked.errors).contains("certificate revoked"))
            }
        }

        @Test("a GET is understood with every way to write its base64, //, + and / included, through nginx and below any prefix")
        func base64() throws {
            try withPublicCA { ca in
                // 20 octets that base64 writes with "//" and "/" wherever they begin.
                let certificate = try ca.adopt(
                    "slashes.example.com", serial: "7FFFFFFFFFFFFFFFFBEFBEFBEFBEFFFFFFFFFFFF", to: "20400101000000Z")
                let request = try ca.request([certificate])
                let base64 = request.base64EncodedString()
                #expect(base64.contains("//") && base64.contains("+"), "\(base64)")
                func encode(_ text: String, _ pairs: [String: String]) -> String {
                    pairs.reduce(text) { $0.replacingOccurrences(of: $1.key, with: $1.value) }
                }
                let ways = [
                    base64, encode(base64, ["/": "%2F"]), encode(base64, ["/": "%2f", "+": "%2b", "=": "%3d"]),
                    encode(base64, ["+": "%2B"]), encode(base64, ["=": "%3D"]),
                    encode(base64, ["/": "%2F", "+": "%2B", "=": "%3D", "M": "%4D"]),
                ]
                for way in ways {
                    let answer = try ca.place.fetch("\(ca.base)/ocsp/\(way)")
                    #expect(answer.code == 200 && answer["content-type"] == "application/ocsp-response", "\(way)")
                    #expect(try ca.read(answer.body) == "good", "\(way)")
                    for prefix in ["", "/ocsp", "/pki/v1/ocsp", "/MA/ocsp"] {
                        let direct = try ca.place.fetch("http://localhost\(prefix)/\(way)", socket: ca.socket)
                        #expect(direct.code == 200 && direct.body == answer.body, "\(prefix)/\(way)")
                    }
                }
                try ca.revokeAsOperator(certificate, "superseded")
                try ca.wait(for: certificate, "revoked superseded")
                for way in ways {
                    #expect(
                        try ca.read(try ca.place.fetch("http://localhost/ocsp/\(way)", socket: ca.socket).body) == "revoked superseded",
                        "\(way)")
                }
            }
        }

        @Test("what is no OCSP request is refused by HTTP's status, or by the five bytes of the right OCSP error, which nobody keeps")
        func refusals() throws {
            try withPublicCA { ca in
                let place = ca.place
                let certificate = try ca.issue("r.example.com")
                let request = try place.save(try ca.request([certificate]), to: "r.req")
                let large = try place.save(Data(repeating: 0x30, count: 16_385), to: "large.req")
                let type = ["-H", "Content-Type: application/ocsp-request"]
                for (url, socket) in [(ca.base, nil), ("http://localhost", ca.socket)] {
                    let good = try place.fetch("\(url)/ocsp", type + ["--data-binary", "@\(request)"], socket: socket)
                    #expect(try good.code == 200 && ca.read(good.body) == "good")
                    for method in ["PUT", "DELETE", "OPTIONS", "PATCH"] {
                        let refused = try place.fetch("\(url)/ocsp", ["-X", method], socket: socket)
                        #expect(refused.code == 405 && refused["allow"]?.contains("POST") == true, "\(method): \(refused.headers)")
                    }
                    #expect(try place.fetch("\(url)/ocsp", type + ["--data-binary", "@\(large)"], socket: socket).code == 413)
                    let form = try place.fetch("\(url)/ocsp", ["--data-binary", "@\(request)"], socket: socket)
                    #expect(form.code == 415, "curl says application/x-www-form-urlencoded")
                    #expect(try place.fetch("\(url)/ocsp/\(String(repeating: "M", count: 9_000))", socket: socket).code == 414)
                    // malformedRequest is 1 (RFC 6960 4.2.1): SEQUENCE { ENUMERATED 1 }.
                    let garbage = try place.save(Data("no request".utf8), to: "garbage.req")
                    let posted = try place.fetch("\(url)/ocsp", type + ["--data-binary", "@\(garbage)"], socket: socket)
                    let got = try place.fetch("\(url)/ocsp/MEQwQjBAMD4wPDAJBgUrDgMCGgUABBS", socket: socket)
                    for answer in [posted, got] {
                        #expect(answer.code == 200 && Array(answer.body) == [0x30, 0x03, 0x0a, 0x01, 0x01])
                        #expect(answer["content-type"] == "application/ocsp-response")
                        #expect(answer["cache-control"]?.contains("no-store") == true && answer["etag"] == nil, "\(answer.headers)")
                    }
                }
                // Fifty certificates are answered, each; one more is too many.
                for (count, isAnswered) in [(50, true), (51, false)] {
                    let file = place.path("many.req")
                    try place.must(
                        ["/usr/bin/openssl", "ocsp", "-issuer", ca.issuer, "-no_nonce", "-reqout", file, "-cert", certificate.path]
                            + (1..<count).flatMap { ["-serial", "\($0)"] })
                    let answer = try place.fetch("\(ca.base)/ocsp", type + ["--data-binary", "@\(file)"])
                    #expect(answer.code == 200 && (Array(answer.body) != [0x30, 0x03, 0x0a, 0x01, 0x01]) == isAnswered, "\(count)")
                    guard isAnswered else { continue }
                    let response = try place.save(answer.body, to: "many.resp")
                    let text = try place.must(["/usr/bin/openssl", "ocsp", "-respin", response, "-resp_text", "-CAfile", ca.issuer])
                    #expect(text.components(separatedBy: "Cert Status: good").count == 2)
                    #expect(text.components(separatedBy: "Cert Status: unknown").count == 50)
                }
                // What is for the host alone stays there.
                #expect(try place.fetch("http://localhost/healthz", socket: ca.socket).code == 200)
                for path in ["/healthz", "/metrics", "/status", "/", "/ocspx", "/ocsp/../healthz", "/ocsp/healthz", "/ocsp/%68ealthz"] {
                    let code = try place.fetch("\(ca.base)\(path)").code
                    #expect(code == 404, "\(path): \(code)")
                }
                // Made-up names are no way to fill a cache with the CRL.
                let madeUp = try place.fetch("\(ca.base)/ocsp/1/crl")
                #expect(Array(madeUp.body) == [0x30, 0x03, 0x0a, 0x01, 0x01])
                #expect(try place.fetch("\(ca.base)/ocsp/crl?1").code == 400)
                for path in ["/metrics", "/status"] { #expect(try place.fetch("http://localhost\(path)", socket: ca.socket).code == 404) }
                let metrics = try place.fetch("http://localhost/metrics", socket: "\(ca.ca.run)/ocsp/metrics.sock")
                #expect(metrics.code == 200 && !metrics.body.isEmpty)

                // A connection is kept: two answers, one connect.
                for (url, socket) in [(ca.base, nil), ("http://localhost", ca.socket)] {
                    let through = socket.map { ["--unix-socket", $0] } ?? []
                    let connects = try place.must(
                        ["/usr/bin/curl", "-sS", "-o", "/dev/null", "-o", "/dev/null", "-w", "%{num_connects} "] + through + [
                            "\(url)/ca.crt", "\(url)/ca.crt",
                        ])
                    #expect(connects == "1 0 ")
                }
            }
        }

        @Test(
            "answers to a GET carry RFC 9919's headers; nginx keeps them as long as they say, and never an error, a nonce or an unknown one"
        )
        func caching() throws {
            try withPublicCA { ca in
                let place = ca.place
                let certificate = try ca.issue("c.example.com")
                let path = PublicCA.path(try ca.request([certificate]))
                let first = try place.fetch("\(ca.base)\(path)")
                #expect(first.code == 200 && first["content-type"] == "application/ocsp-response")
                let control = first["cache-control"] ?? ""
                for word in ["public", "no-transform", "must-revalidate"] { #expect(control.contains(word), "\(control)") }
                let age = try #require(first.cacheControl("max-age"))
                #expect((1...300).contains(age), "ocsp.max_age is 300 s")
                let format = DateFormatter()
                format.locale = Locale(identifier: "en_US_POSIX")
                format.timeZone = TimeZone(identifier: "GMT")
                format.dateFormat = "EEE, dd MMM yyyy HH:mm:ss 'GMT'"
                func time(_ name: String, _ answer: Fetched) throws -> Date {
                    let text = try #require(answer[name], "\(name): \(answer.headers)")
                    return try #require(format.date(from: text), "\(name): \(text)")
                }
                #expect(try time("last-modified", first) <= time("date", first))
                #expect(try time("expires", first) > time("date", first))

                let second = try place.fetch("\(ca.base)\(path)")
                #expect(second.body == first.body && second["date"] == first["date"], "the Date is that of the answer's making")
                let tag = try #require(first["etag"])
                #expect(try place.fetch("\(ca.base)\(path)", ["-H", "If-None-Match: \(tag)"]).code == 304)
                #expect(try place.fetch("\(ca.base)\(path)", ["-H", "If-None-Match: \"other\""]).code == 200)
                let head = try place.fetch("\(ca.base)\(path)", ["-I"])
                #expect(head.code == 200 && head["content-length"] == "\(first.body.count)")
                // The bridge's own 304 and HEAD.
                #expect(try place.fetch("http://localhost\(path)", ["-H", "If-None-Match: \(tag)"], socket: ca.socket).code == 304)
                let ownHead = try place.fetch("http://localhost\(path)", ["-I"], socket: ca.socket)
                #expect(ownHead.code == 200 && ownHead["content-length"] == "\(first.body.count)" && ownHead["etag"] == tag)
                #expect(try ca.nginx.cacheStates(of: path, count: 5) == ["MISS", "HIT", "HIT", "HIT", "HIT"])

                // Never kept.
                try place.must([
                    "/usr/bin/openssl", "ocsp", "-issuer", ca.issuer, "-serial", "0x1234567890", "-no_nonce", "-reqout",
                    place.path("u.req"),
                ])
                let unknown = try Data(contentsOf: URL(fileURLWithPath: place.path("u.req")))
                let nonce = try ca.request([certificate], ["-nonce"])
                for (what, path) in [
                    ("a nonce", PublicCA.path(nonce)), ("an unknown one", PublicCA.path(unknown)), ("an error", "/ocsp/MAAA"),
                ] {
                    for _ in 0..<2 {
                        let answer = try place.fetch("\(ca.base)\(path)")
                        #expect(answer.code == 200 && answer["cache-control"]?.contains("no-store") == true, "\(what): \(answer.headers)")
                    }
                    #expect(try ca.nginx.cacheStates(of: path, count: 2) == ["MISS", "MISS"], "\(what)")
                }
                #expect(try ca.state(certificate) == "good")
                #expect(try ca.nginx.cacheStates(of: "/ocsp", count: 1) == ["-"], "a POST goes through")

                // What docs/OCSP.md adds up: a GET may be as old as max_age, a POST is not.
                try ca.revoke(certificate, "keyCompromise")
                try ca.wait(for: certificate, "revoked keyCompromise")
                #expect(try ca.read(try place.fetch("http://localhost\(path)", socket: ca.socket).body) == "revoked keyCompromise")
                let kept = try ca.read(try place.fetch("\(ca.base)\(path)").body)
                #expect(["good", "revoked keyCompromise"].contains(kept))
            }
        }

        @Test("with a max_age of one second nginx says revoked soon after; with 0 it keeps nothing")
        func maxAge() throws {
            for (setting, states) in [("1s", ["MISS", "HIT", "EXPIRED"]), ("0s", ["MISS"])] {
                try withPublicCA(ocsp: ["max_age: \(setting)"]) { ca in
                    let certificate = try ca.issue("m.example.com")
                    let path = PublicCA.path(try ca.request([certificate]))
                    for _ in 0..<5 {
                        #expect(try ca.read(try ca.place.fetch("\(ca.base)\(path)").body) == "good")
                    }
                    try ca.revoke(certificate, "keyCompromise")
                    try waitUntil("a GET through nginx says revoked") {
                        try ca.read(try ca.place.fetch("\(ca.base)\(path)").body) == "revoked keyCompromise"
                    }
                    #expect(try Set(ca.nginx.cacheStates(of: path, count: 6)).isSubset(of: states))
                }
            }
        }

        @Test("one address that asks more than its share is refused with 429, and hears answers again")
        func rates() throws {
            try withPublicCA { ca in
                let codes = try ca.place.must([
                    "/usr/bin/curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}\n", "\(ca.base)/ca.crt#[1-2000]",
                ]).split(separator: "\n")
                #expect(codes.contains("200") && codes.contains("429") && Set(codes).count == 2, "\(Set(codes))")
                try waitUntil("it is answered again") { try ca.place.fetch("\(ca.base)/ca.crt").code == 200 }
            }
        }

        @Test(
            "nginx as www-data reaches the socket by the group of ocsp.socket, and not without",
            .enabled(if: geteuid() == 0 && getpwnam("www-data") != nil, "skipped: the test runs as root where Debian's www-data exists"))
        func socketGroup() throws {
            for (lines, code) in [(["socket: {group: www-data, mode: 0660}"], 200), ([], 502)] {
                try withPublicCA(ocsp: lines) { ca in
                    chmod(ca.place.directory, 0o711)
                    let nginx = try Nginx(
                        in: ca.place, port: try Ports.freePair(), upstream: ca.socket, user: "www-data", name: "www-data")
                    defer { nginx.end() }
                    #expect(try ca.place.fetch("\(nginx.url)/ca.crt").code == code)
                }
            }
        }
    }
}
