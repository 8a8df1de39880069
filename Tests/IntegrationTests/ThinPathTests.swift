// The thinnest path through everything: an RA registers, a CSR of openssl is signed, verified, revoked, and stands in the CRL.
import Foundation
import Glibc
import TestPrograms
import Testing
import UPKIProtocol

extension IntegrationTests {
    @Suite("openssl as the client")
    struct OpenSSLTests {
        /// The lines of `openssl crl -text` for one serial number.
        private func entry(of serial: String, in text: String) -> String? {
            let entries = text.components(separatedBy: "Serial Number: ").dropFirst()
            return entries.first { $0.lowercased().hasPrefix(serial.lowercased()) }
        }

        @Test("a CSR of openssl req is signed, verified with openssl verify, revoked, and stands in the CRL that openssl prints")
        func thinPath() throws {
            try withCA { ca in
                let place = ca.place
                try ca.register()
                let csr = try place.csr("/CN=www.example.com", names: ["DNS:www.example.com", "DNS:example.com", "IP:192.0.2.1"])
                let signed = try ca.data("sign", ["csr": .string(csr), "profile": "server"])
                try place.write(signed["certificate"]?.stringValue ?? "", to: "www.pem")
                let serial = try place.must(["/usr/bin/openssl", "x509", "-in", place.path("www.pem"), "-noout", "-serial"])
                    .trimmingCharacters(in: .whitespacesAndNewlines).replacingOccurrences(of: "serial=", with: "")

                func crl() throws {
                    let base64 = try ca.data("generate_crl").stringValue ?? ""
                    try #require(Data(base64Encoded: base64)).write(to: URL(fileURLWithPath: place.path("crl.der")))
                    try place.must([
                        "/usr/bin/openssl", "crl", "-inform", "DER", "-in", place.path("crl.der"), "-out", place.path("crl.pem"),
                    ])
                }
                func verify() throws -> Finished {
                    try place.run([
                        "/usr/bin/openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", "www.example.com",
                        "-crl_check",
                        "-CRLfile", place.path("crl.pem"), "-CAfile", "\(ca.data)/ca.crt", place.path("www.pem"),
                    ])
                }
                try crl()
                #expect(try verify().output.contains("www.pem: OK"))

                #expect(try ca.data("revoke", ["serial": signed["serial"] ?? .null, "reason": "keyCompromise"]) == true)
                try crl()
                let after = try verify()
                #expect(after.code != 0 && (after.output + after.errors).contains("certificate revoked"))
                let printed = try place.must([
                    "/usr/bin/openssl", "crl", "-inform", "DER", "-in", place.path("crl.der"), "-noout", "-text", "-CAfile",
                    "\(ca.data)/ca.crt",
                ])
                #expect(printed.contains("X509v3 CRL Number") && printed.contains("X509v3 Authority Key Identifier"))
                #expect(try #require(self.entry(of: serial, in: printed)).contains("Key Compromise"))
                // What the files beside the socket say is the same list.
                #expect(
                    FileManager.default.contents(atPath: "\(ca.data)/published/crl.der")
                        == FileManager.default.contents(atPath: place.path("crl.der")))
                #expect(FileManager.default.fileExists(atPath: "\(ca.data)/published/ca.crt"))
            }
        }

        @Test(
            "each type of CA key signs certificates and CRLs that openssl verifies",
            arguments: ["ec-p256", "ec-p384", "ed25519", "rsa-2048", "rsa-3072", "rsa-4096"])
        func keyTypes(type: String) throws {
            try withCA(["--key-type", type]) { ca in
                let place = ca.place
                try ca.register()
                let answers = try ca.ask([
                    ("sign", ["csr": .string(try place.csr("/CN=a.example.com"))]), ("get_ca", [:]), ("generate_crl", [:]),
                ])
                try place.write(answers[0].at("DATA", "certificate")?.stringValue ?? "", to: "a.pem")
                try place.write(answers[1]["DATA"]?.stringValue ?? "", to: "ca.pem")
                try #require(Data(base64Encoded: answers[2]["DATA"]?.stringValue ?? "")).write(
                    to: URL(fileURLWithPath: place.path("crl.der")))
                try place.must(["/usr/bin/openssl", "crl", "-inform", "DER", "-in", place.path("crl.der"), "-out", place.path("crl.pem")])
                let verified = try place.must([
                    "/usr/bin/openssl", "verify", "-x509_strict", "-crl_check", "-CRLfile", place.path("crl.pem"), "-CAfile",
                    place.path("ca.pem"),
                    place.path("a.pem"),
                ])
                #expect(verified.contains("OK"))
                let text = try place.must(["/usr/bin/openssl", "x509", "-in", place.path("ca.pem"), "-noout", "-text"])
                let words =
                    switch type {
                    case "ec-p256": "ASN1 OID: prime256v1"
                    case "ec-p384": "ASN1 OID: secp384r1"
                    case "ed25519": "ED25519 Public-Key"
                    default: "Public-Key: (\(type.dropFirst(4)) bit)"
                    }
                #expect(text.contains(words))
            }
        }

        @Test("the same seed gives the same key and names on another disk, so that what was issued before still verifies")
        func sameSeed() throws {
            let seed = "integration test seed 0123456789 abcdefghij"
            let subject = ["--subject", "/C=FR/O=Example/CN=Example Root"]
            let place = try Workplace()
            defer { place.end() }
            let (certificate, fingerprint) = try withCA(subject, seed: seed) { ca in
                try ca.register()
                let signed = try ca.data("sign", ["csr": .string(try ca.place.csr("/CN=kept.example.com"))])
                return (signed["certificate"]?.stringValue ?? "", ca.made["subject"]?.stringValue)
            }
            try place.write(certificate, to: "kept.pem")
            try withCA(subject, seed: seed) { ca in
                #expect(ca.made["subject"]?.stringValue == fingerprint)
                let verified = try place.must(["/usr/bin/openssl", "verify", "-CAfile", "\(ca.data)/ca.crt", place.path("kept.pem")])
                #expect(verified.contains("OK"))
            }
        }

        @Test(
            "a revocation stands on the CRL though the core was killed, or stopped, right after its answer", arguments: [SIGKILL, SIGTERM])
        func revocationBeforeTheEnd(signal: Int32) throws {
            try withCA { ca in
                try ca.register()
                let serial = try #require(try ca.data("generate", ["cn": "gone.example.com"])["serial"]?.stringValue)
                #expect(try ca.data("revoke", ["serial": .string(serial), "reason": "keyCompromise"]) == true)
                if signal == SIGKILL {
                    try ca.killAndWait("serve")
                } else {
                    #expect(try ca.stop() == 0)
                    try ca.start()
                }
                // Published off the path of requests, soon after the start.
                try waitUntil("the revocation is on a CRL") { try ca.facts(["crl", "show"])["entries"]?.integerValue == 1 }
                let text = try ca.place.must([
                    "/usr/bin/openssl", "crl", "-inform", "DER", "-in", "\(ca.data)/published/crl.der", "-noout", "-text",
                ])
                #expect(text.contains("Key Compromise"))
            }
        }

        @Test("keys and names that the rules refuse are refused in words, and the next good request is signed")
        func refusedRequests() throws {
            // The subject is one that the profile `server` would give.
            try withCA(["--subject", "/O=uPKI/OU=Servers/CN=root.example.com"]) { ca in
                let place = ca.place
                try ca.register()
                let good = try place.csr("/CN=good.example.com")
                var broken = Array(good)
                let middle = good.distance(from: good.startIndex, to: try #require(good.range(of: "-----END")).lowerBound) - 20
                broken[middle] = broken[middle] == "A" ? "B" : "A"
                let requests: [(String, String)] = [
                    ("RSA-1024", try place.csr("/CN=weak.example.com", key: "rsa:1024")),
                    ("secp256k1", try place.csr("/CN=k1.example.com", key: "ec:secp256k1")),
                    ("SHA-1", try place.csr("/CN=sha1.example.com", extra: ["-sha1"])),
                    ("a broken signature", String(broken)),
                    ("a blocked name", try place.csr("/CN=localhost")),
                    ("a wildcard inside", try place.csr("/CN=w.example.com", names: ["DNS:a.*.example.com"])),
                    ("the CA's own subject", try place.csr("/CN=root.example.com")),
                ]
                let answers = try ca.ask(requests.map { ("sign", ["csr": .string($0.1)]) } + [("sign", ["csr": .string(good)])])
                for (request, answer) in zip(requests, answers) { #expect(answer["EVENT"] == "UPKI ERROR", "\(request.0): \(answer.text)") }
                #expect(answers.last?["EVENT"] == "ANSWER", "\(answers.last?.text ?? "")")
            }
        }
    }
}
