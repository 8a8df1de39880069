// The unmodified RA from PyPI, in both deployed versions.
import Foundation
import Testing
import UPKIProtocol

extension IntegrationTests {
    @Suite("upki-ra, unmodified")
    struct RegistrationAuthorityTests {
        static let versions = ["0.1.5", "0.1.6"]

        private func start(_ ca: RunningCA, _ version: String, token: String) throws -> JSON {
            try ca.place.peer(
                "ra_start.py", version: version,
                input: [
                    "port": .integer(ca.port), "directory": .string(ca.place.path("ra")), "token": .string(token), "cn": "ra.example.com",
                ])
        }

        @Test(
            "it registers once with the token, fetches the admins at each start, and a second start registers no more", arguments: versions)
        func bootstrap(version: String) throws {
            try withCA { ca in
                let first = try self.start(ca, version, token: ca.token)
                #expect(first["registered_before"] == false && first["registered"] == true)
                #expect(first.at("status_before", "status") == "not_registered")
                #expect(first.at("status", "status") == "registered" && first.at("status", "node", "cn") == "ra.example.com")
                #expect(first.at("status", "node", "profile") == "ra")
                #expect(first["admins"] == [])
                let registration = try #require(first["registration"])
                #expect(registration["status"] == "registered" && registration["cn"] == "ra.example.com" && registration["profile"] == "ra")
                for name in ["certificate", "private_key", "ca_certificate"] {
                    #expect(registration[name]?.stringValue?.contains("-----BEGIN") == true, "\(name)")
                }
                // What it saved fits together, by openssl's word.
                let key = try ca.place.must(["/usr/bin/openssl", "pkey", "-in", ca.place.path("ra/ra.key"), "-pubout"])
                let certified = try ca.place.must(["/usr/bin/openssl", "x509", "-in", ca.place.path("ra/ra.crt"), "-noout", "-pubkey"])
                #expect(key == certified)
                let verified = try ca.place.must([
                    "/usr/bin/openssl", "verify", "-x509_strict", "-CAfile", ca.place.path("ra/ca.crt"), "-verify_hostname",
                    "ra.example.com",
                    ca.place.path("ra/ra.crt"),
                ])
                #expect(verified.contains("OK"))

                let nodes = try ca.facts(["node", "list"]).arrayValue?.count
                let second = try self.start(ca, version, token: ca.token)
                #expect(second["registered_before"] == true && second["registration"] == nil)
                #expect(try ca.facts(["node", "list"]).arrayValue?.count == nodes && nodes == 1)
            }
        }

        @Test("its public, client and private HTTP endpoints do what they say", arguments: versions)
        func http(version: String) throws {
            try withCA { ca in
                let place = ca.place
                let started = try self.start(ca, version, token: ca.token)
                let dn = started.at("registration", "dn")?.stringValue ?? ""
                _ = try ca.facts(["admin", "add", dn])
                let facts = try place.peer(
                    "ra_http.py", version: version,
                    input: [
                        "port": .integer(ca.port), "directory": .string(place.path("ra")), "admin": .string(dn),
                        "csr": [
                            "server": .string(try place.csr("/CN=web.example.com", names: ["DNS:web.example.com"])),
                            "client": .string(try place.csr("/CN=alice")),
                            "garbage": .string(
                                "-----BEGIN CERTIFICATE REQUEST-----\n\(String(repeating: "A", count: 100))\n-----END CERTIFICATE REQUEST-----"
                            ),
                        ],
                    ])
                func code(_ name: String) -> Int64? { facts.at(name, "code")?.integerValue }
                func body(_ name: String) -> JSON { facts.at(name, "body", "data") ?? .null }

                let good = [
                    "health", "profiles", "profile", "ca", "certify", "certify as client", "certificate by DN", "certs", "crl", "ocsp",
                    "ocsp of a serial nobody has", "magic", "client certificate", "client status", "client renew", "client revoke",
                    "ocsp of the revoked",
                    "ocsp of the renewed and revoked", "nodes", "register node", "delete node", "ocsp of the deleted", "admins",
                    "add admins", "remove admin",
                    "generate crl", "config",
                ]
                for name in good { #expect(code(name) == 200, "\(name): \(facts[name]?.text ?? "nothing")") }
                for name in ["client without a certificate", "private without a certificate", "private as somebody else"] {
                    #expect(code(name) == 401, "\(name)")
                }
                // What the CA refuses reaches the RA's client as a failure, never as a certificate.
                for name in ["certify garbage", "certificate by a DN nobody has"] {
                    #expect((code(name) ?? 0) >= 400, "\(name): \(facts[name]?.text ?? "nothing")")
                }
                #expect((code("profile nobody knows") ?? 0) >= 400)

                #expect(body("profiles").arrayValue?.contains("server") == true)
                #expect(body("ca")["certificate"]?.stringValue?.contains("BEGIN CERTIFICATE") == true)
                #expect(body("certificate by DN")["serial"] == body("certify")["serial"])
                #expect(body("ocsp")["status"] == "good" && body("ocsp")["serial"] == body("certify")["serial"])
                #expect(body("ocsp of a serial nobody has")["status"] == "unknown")
                #expect(body("client status")["status"] != nil && body("client status").at("ocsp", "status") == "good")
                #expect(body("client renew")["serial"] != body("certify as client")["serial"])
                #expect(body("ocsp of the renewed and revoked")["status"] == "revoked")
                #expect(body("ocsp of the revoked")["status"] == "revoked")
                #expect((code("client renew after revoke") ?? 0) >= 400)
                #expect(body("certs")["certificates"]?.arrayValue?.contains { $0["cn"] == "web.example.com" } == true)
                #expect(body("nodes")["nodes"]?.arrayValue?.contains { $0["cn"] == "ra.example.com" } == true)
                #expect(body("register node").at("node", "dn")?.stringValue?.hasSuffix("/CN=node1.example.com") == true)
                #expect(body("ocsp of the deleted")["status"] == "revoked")
                #expect(body("admins").text.contains(dn))
                #expect(facts["admins in the CA after adding"]?.arrayValue?.contains("/C=FR/O=Example/CN=Second Admin") == true)
                #expect(facts["admins in the CA after removing"] == .array([.string(dn)]))
                #expect(Data(base64Encoded: body("generate crl")["crl"]?.stringValue ?? "")?.isEmpty == false)
            }
        }

        @Test("without a place on the admin list its private endpoints change nothing")
        func withoutAdmin() throws {
            try withCA { ca in
                _ = try self.start(ca, "0.1.6", token: ca.token)
                let answers = try ca.ask([
                    ("add_admin", ["dn": "/CN=ra.example.com"]), ("delete", ["dn": "/CN=ra.example.com"]),
                    ("unrevoke", ["dn": "/CN=ra.example.com"]),
                    ("add_profile", ["name": "x", "profile": [:]]),
                    ("sign", ["csr": .string(try ca.place.csr("/CN=x.example.com")), "profile": "admin"]),
                ])
                for (answer, task) in zip(answers, ["add_admin", "delete", "unrevoke", "add_profile", "sign"]) {
                    #expect(answer.refusal.hasPrefix("Not authorised: \(task) needs"), "\(answer.text)")
                }
            }
        }

        @Test("whoever asks its public /certify gets no CA, RA or admin certificate, and none in the name of an admin or of a node")
        func certify() throws {
            try withCA { ca in
                _ = try self.start(ca, "0.1.6", token: ca.token)
                // The DN that the profile `user` gives to this CN is an admin's.
                let user = try ca.facts(["cert", "issue", "chief", "--profile", "user"])["dn"]?.stringValue ?? ""
                _ = try ca.facts(["admin", "add", user])
                let server = try ca.facts(["cert", "issue", "tls.example.com"])["dn"]?.stringValue ?? ""
                _ = try ca.facts(["admin", "add", server])
                let requests: [(String, String)] = [
                    ("/CN=x.example.com", "ca"), ("/CN=x.example.com", "ra"), ("/CN=chief", "user"), ("/CN=chief", "client"),
                    ("/CN=tls.example.com", "server"),
                ]
                let list = try requests.map { subject, profile -> JSON in
                    ["csr": .string(try ca.place.csr(subject)), "profile": .string(profile)]
                }
                let answers =
                    try ca.place.peer(
                        "ra_certify.py",
                        input: ["port": .integer(ca.port), "directory": .string(ca.place.path("ra")), "requests": .array(list)]
                    ).arrayValue ?? []
                #expect(answers.count == requests.count)
                for (request, answer) in zip(requests, answers) {
                    #expect((answer["code"]?.integerValue ?? 0) >= 400, "\(request): \(answer.text)")
                    #expect(!answer.text.contains("BEGIN CERTIFICATE"), "\(request)")
                }
                let subjects = try ca.facts(["cert", "list"]).arrayValue ?? []
                #expect(subjects.filter { $0["dn"]?.stringValue == user }.count == 1)
            }
        }

        @Test("its ACME server issues through HTTP-01, revokes, and the CA keeps ACME records for it", arguments: versions)
        func acme(version: String) throws {
            try withCA { ca in
                _ = try self.start(ca, version, token: ca.token)
                let facts = try ca.place.peer(
                    "ra_acme.py", version: version, input: ["port": .integer(ca.port), "directory": .string(ca.place.path("ra"))])
                #expect(facts.at("account", "code")?.integerValue == 201)
                for name in ["certbot", "with a CN", "wildcard", "long name"] {
                    #expect(facts.at(name, "order") == "pending" && facts.at(name, "authorization") == "valid", "\(name)")
                    #expect(facts.at(name, "finalize")?.integerValue == 200, "\(name): \(facts[name]?.text ?? "")")
                    try ca.place.write(facts.at(name, "chain")?.stringValue ?? "", to: "chain.pem")
                    let verified = try ca.place.run([
                        "/usr/bin/openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", "\(ca.data)/ca.crt",
                        ca.place.path("chain.pem"),
                    ])
                    #expect(verified.output.contains("OK"), "\(name): \(verified.output)\(verified.errors)")
                }
                #expect(facts.at("unknown profile", "finalize")?.integerValue == 422)
                #expect(facts.at("revoke", "code")?.integerValue == 200)
                #expect(facts.at("ocsp", "status") == "revoked" && facts.at("ocsp", "revoke_reason") == "keyCompromise")
                #expect(facts.at("revoke by another account", "code")?.integerValue == 403)

                let records = try #require(facts["records"])
                for name in [
                    "sync account", "sync order", "sync authorization", "revoke", "deactivate authorization", "deactivate account",
                ] {
                    #expect(records[name] == true, "\(name): \(records[name]?.text ?? "")")
                }
                #expect(records.at("account", "id") == "acct1" && records.at("account", "jwk", "kty") == "EC")
                #expect(records["accounts"]?.integerValue == 1 && records["orders"]?.integerValue == 1)
                for name in ["issue too early", "issue for more names", "issue with a dead account"] {
                    let words = records[name]?.stringValue ?? ""
                    #expect(!words.isEmpty && !words.hasPrefix("no refusal"), "\(name): \(words)")
                }
                let serial = records.at("issued", "serial")
                #expect(serial != nil && records["certificate by order"] == serial && records["certificate by serial"] == serial)
                #expect(
                    records.at("status after revoking", "status") == "revoked"
                        && records.at("status after revoking", "revoke_reason") == "superseded")
            }
        }

        @Test("an RA whose certificate was revoked has no rights any more, though other certificates live on its address")
        func revokedRA() throws {
            try withCA { ca in
                let started = try self.start(ca, "0.1.6", token: ca.token)
                let csr = try ca.place.csr("/CN=left.example.com")
                let signed = try ca.data("sign", ["csr": .string(csr)])
                _ = try ca.facts(["cert", "revoke", "--serial", started.at("registration", "serial")?.stringValue ?? ""])
                let answers = try ca.ask([
                    ("sign", ["csr": .string(csr)]), ("list_nodes", [:]), ("list_admins", [:]),
                    ("ocsp_check", ["serial": signed["serial"] ?? .null]),
                ])
                for answer in answers[..<3] { #expect(answer.refusal.hasPrefix("Not authorised:"), "\(answer.text)") }
                #expect(answers[3].at("DATA", "status") == "good")
            }
        }
    }
}
