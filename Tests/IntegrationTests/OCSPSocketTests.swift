// What ca-core tells the OCSP bridge over a real ocsp.sock, with nothing of the bridge in between.
import Foundation
import Glibc
import TestPrograms
import Testing
import UPKIProtocol

extension IntegrationTests {
    @Suite("ocsp.sock")
    struct OCSPSocketTests {
        private func ask(_ ca: RunningCA, _ questions: [JSON]) throws -> [JSON] {
            let answers = try ca.place.peer("internal.py", [ca.run, "ocsp"], input: .array(questions)).arrayValue ?? []
            #expect(answers.count == questions.count)
            return answers
        }

        private func question(_ task: String, _ parameters: JSON = [:]) -> JSON {
            [("task", .string(task)), ("params", parameters)].object
        }

        private func decode(_ json: JSON?) throws -> Data { try #require(json?.stringValue.flatMap { Data(base64Encoded: $0) }) }

        /// The published CRL as the bridge fetches it, piece by piece; how many pieces there were.
        private func fetch(_ ca: RunningCA) throws -> (list: Data, facts: JSON, pieces: Int) {
            let facts = try #require(try self.ask(ca, [self.question("publication")])[0].at("DATA", "crl"))
            var list = Data()
            var pieces = 0
            while true {
                let parameters: JSON = [("number", facts["number"] ?? .null), ("offset", .integer(list.count))].object
                let piece = try self.ask(ca, [self.question("published_crl", parameters)])[0]["DATA"]
                list += try self.decode(piece?["data"])
                pieces += 1
                if piece?["last"] == true { return (list, facts, pieces) }
            }
        }

        /// Waits until this process has published a CRL of its own, and nothing more is to come.
        private func waitForList(_ ca: RunningCA, other than: JSON? = nil) throws -> JSON {
            var number: JSON?
            try waitUntil("a CRL is published") {
                let before = number
                number = try self.ask(ca, [["heartbeat": true]])[0]["crl"]
                return number?.stringValue != nil && number == before && number != than
            }
            return try #require(number)
        }

        @Test("the bridge gets a certificate that openssl takes for an OCSP responder's, statuses, and what it is to publish")
        func tasks() throws {
            try withCA(configuration: "publication: {base_url: \"http://pki.example.com/x/\"}\nocsp: {nonce: ignore, max_age: 30}") { ca in
                try ca.register()
                let serial = try #require(try ca.data("generate", ["cn": "www.example.com"])["serial"])
                let pem = try #require(try ca.data("get_ca").stringValue)
                try ca.place.write(pem, to: "ca.pem")
                try ca.place.write(try ca.place.csr("/CN=ignored", names: ["DNS:ignored.example"]), to: "r.csr")
                try ca.place.must([
                    "/usr/bin/openssl", "req", "-in", ca.place.path("r.csr"), "-outform", "DER", "-out", ca.place.path("r.der"),
                ])
                let csr = try Data(contentsOf: URL(fileURLWithPath: ca.place.path("r.der"))).base64EncodedString()
                _ = try self.waitForList(ca)
                let answers = try self.ask(
                    ca,
                    [
                        self.question("responder_certificate", ["csr": .string(csr)]), self.question("publication"),
                        self.question("statuses", ["serials": [serial, "1"]]), ["heartbeat": true], self.question("sign"),
                    ])
                try ca.place.write(
                    "-----BEGIN CERTIFICATE-----\n\(answers[0].at("DATA", "certificate")?.stringValue ?? "")\n-----END CERTIFICATE-----\n",
                    to: "r.pem")
                let verified = try ca.place.must([
                    "/usr/bin/openssl", "verify", "-x509_strict", "-purpose", "ocsphelper", "-CAfile", ca.place.path("ca.pem"),
                    ca.place.path("r.pem"),
                ])
                #expect(verified.contains("OK"))
                let text = try ca.place.must(["/usr/bin/openssl", "x509", "-in", ca.place.path("r.pem"), "-noout", "-text"])
                #expect(text.contains("OCSP Signing\n") && text.contains("OCSP No Check") && !text.contains("ignored"), "\(text)")
                #expect(!text.contains("pki.example.com"))
                let publication = answers[1]["DATA"]
                #expect(publication?["base_url"] == "http://pki.example.com/x")
                #expect(
                    publication?["ocsp"]
                        == [
                            ("validity", .integer(43_200)), ("max_age", .integer(30)), ("offline_grace", .integer(60)), ("nonce", "ignore"),
                        ].object)
                #expect(publication?["ca"] == answers[0].at("DATA", "ca"))
                #expect(answers[2].at("DATA", "statuses")?.arrayValue?.compactMap { $0["status"]?.stringValue } == ["good", "unknown"])
                #expect(answers[3]["crl"] == publication?.at("crl", "number"))
                #expect(answers[4].refusal == "Unknown task: sign")
                var now = timespec()
                clock_gettime(CLOCK_MONOTONIC, &now)
                let sent = try #require(answers[3]["monotonic"]?.integerValue)
                #expect(sent > 0 && sent < Int64(now.tv_sec) * 1_000_000_000 + Int64(now.tv_nsec))

                // A reload reaches the bridge by the same way.
                let file = "\(ca.data)/ca.config.yml"
                let changed = try String(contentsOfFile: file, encoding: .utf8).replacingOccurrences(
                    of: "nonce: ignore", with: "nonce: require")
                try changed.write(toFile: file, atomically: false, encoding: .utf8)
                try ca.facts(["reload"])
                #expect(try self.ask(ca, [self.question("publication")])[0].at("DATA", "ocsp", "nonce") == "require")
            }
        }

        @Test("whom a header of the bridge claims to speak for is not believed: in the audit log stands the user behind the socket")
        func forgedIdentity() throws {
            try withCA { ca in
                try ca.register()
                for identity in ["plain 10.9.8.7", "curve \(String(repeating: "a", count: 40))"] {
                    let forged = self.question("responder_certificate", ["csr": "AAAA"])
                    let members = (forged.objectValue ?? []) + [.init("identity", .string(identity))]
                    #expect(try self.ask(ca, [.object(members)])[0]["EVENT"] == "UPKI ERROR")
                }
                let records = try (ca.facts(["audit", "show", "--limit", "1000"]).arrayValue ?? []).map(\.text).filter {
                    $0.contains("responder_certificate")
                }
                #expect(records.contains { $0.contains("uid \(geteuid())") }, "\(records)")
                #expect(!records.contains { $0.contains("10.9.8.7") || $0.contains("aaaaaaaa") }, "\(records)")
            }
        }

        @Test("the CRL comes in pieces that are the published file, is announced by heartbeats, and an old number is refused")
        func list() throws {
            try withCA { ca in
                try ca.register()
                let first = try self.waitForList(ca)
                let serial = try #require(try ca.data("generate", ["cn": "www.example.com"])["serial"])
                // Enough entries for more than one piece, signed with the CA's own key as another machine of this CA would have.
                let index = (1...40_000).map { number in
                    let hex = String(number, radix: 16, uppercase: true)
                    return "R\t351231235959Z\t260101000000Z\t\(hex.count % 2 == 0 ? hex : "0" + hex)\tunknown\t/CN=x\n"
                }
                try ca.place.write(index.joined(), to: "index.txt")
                try ca.place.write("01\n", to: "number")
                try ca.place.write(
                    "[ca]\ndefault_ca=a\n[a]\ndatabase=\(ca.place.path("index.txt"))\ncrlnumber=\(ca.place.path("number"))\ndefault_md=sha256\n",
                    to: "ca.cnf")
                try ca.place.must([
                    "/usr/bin/openssl", "ca", "-gencrl", "-config", ca.place.path("ca.cnf"), "-keyfile", "\(ca.data)/ca.key", "-cert",
                    "\(ca.data)/ca.crt", "-crldays", "5", "-out", ca.place.path("big.pem"),
                ])
                #expect(try ca.ctl(["crl", "import", ca.place.path("big.pem")]).code == 0)
                _ = try self.waitForList(ca, other: first)
                let (list, facts, pieces) = try self.fetch(ca)
                #expect(try list == Data(contentsOf: URL(fileURLWithPath: "\(ca.data)/published/crl.der")))
                #expect(pieces == (list.count + (768 << 10) - 1) / (768 << 10) && pieces >= 2, "\(list.count)")
                #expect(facts["bytes"] == .integer(list.count))
                try list.write(to: URL(fileURLWithPath: ca.place.path("fetched.der")))
                let digest = try ca.place.must(["/usr/bin/openssl", "dgst", "-sha256", "-r", ca.place.path("fetched.der")])
                #expect(facts["sha256"]?.stringValue.map { digest.hasPrefix($0) } == true)
                let shown = try ca.place.must([
                    "/usr/bin/openssl", "crl", "-inform", "DER", "-in", ca.place.path("fetched.der"), "-noout", "-crlnumber",
                ])
                let decimal = try #require(facts["number"]?.stringValue.flatMap { UInt64($0) })
                // Whole octets, as openssl prints them.
                #expect(shown.hasSuffix(String(decimal, radix: 16, uppercase: true) + "\n"))

                // Another one takes its place, and the bridge begins again.
                #expect(try ca.data("revoke", ["serial": serial]) == true)
                _ = try self.waitForList(ca, other: facts["number"])
                let old = try self.ask(ca, [self.question("published_crl", [("number", facts["number"] ?? .null)].object)])[0]
                #expect(old.refusal == "CRL not found: number \(decimal) is not the published one (any more); begin again")
                #expect(try self.fetch(ca).list != list)

                // A new process knows the list of the last one before it has made its own.
                try ca.killAndWait("serve")
                #expect(try self.ask(ca, [["heartbeat": true]])[0]["crl"]?.stringValue != nil)
            }
        }

        @Test("a profile file of the responder's name is refused with the line that says why, and nothing changes")
        func profileFile() throws {
            try withCA { ca in
                try ca.place.must(["/bin/cp", "\(ca.data)/profiles/server.yml", "\(ca.data)/profiles/ocsp.yml"])
                let refused = try ca.ctl(["reload"])
                #expect(refused.code != 0 && (refused.output + refused.errors).contains("profiles/ocsp.yml"), "\(refused)")
                #expect((refused.output + refused.errors).contains("the name ocsp is taken"), "\(refused.errors)")
                #expect(try self.ask(ca, [self.question("publication")])[0]["EVENT"] == "ANSWER")
            }
        }
    }
}
