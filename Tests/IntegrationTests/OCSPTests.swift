// What a relying party hears of a certificate: openssl and GnuTLS ask ca-ocsp-bridge through nginx.
import Foundation
import Glibc
import TestPrograms
import Testing
import UPKIProtocol

extension IntegrationTests {
    @Suite("OCSP through nginx")
    struct OCSPTests {
        @Test("openssl hears good, revoked with time and reason, hold and release, unknown, by both hashes, with a nonce and without")
        func statuses() throws {
            try withPublicCA { ca in
                let certificates = try ca.issue(["a.example.com", "b.example.com", "held.example.com"])
                let (a, b, held) = (certificates[0], certificates[1], certificates[2])
                let hashes = [["-sha1"], ["-sha256"]]
                let nonces = [["-nonce"], ["-no_nonce"]]
                for options in hashes.flatMap({ hash in nonces.map { hash + $0 } }) {
                    let answer = try ca.ask([a], options)
                    #expect(answer.states == ["good"])
                    // openssl says so where a nonce was asked for and did not come back, and refuses a wrong one.
                    #expect(!answer.text.contains("no nonce in response"), "\(options): \(answer.text)")
                    #expect(answer.text.contains("This Update: ") && answer.text.contains("Next Update: "))
                }

                // What the issuer's own certificate is, by the same issuer; and a serial number that nobody ever had.
                let root = try ca.ca.place.openssl([
                    "ocsp", "-issuer", ca.issuer, "-CAfile", ca.issuer, "-url", "\(ca.base)/ocsp", "-no_nonce", "-cert", ca.issuer,
                    "-serial",
                    "0x123456789abcdef",
                ])
                #expect(root.code == 0 && (root.output + root.errors).contains("Response verify OK"), "\(root.errors)")
                #expect(PublicCA.state(of: ca.issuer, in: root.output) == "good")
                #expect(PublicCA.state(of: "0x123456789abcdef", in: root.output) == "unknown")

                let before = Int(Date().timeIntervalSince1970)
                try ca.revoke(b, "keyCompromise")
                try ca.wait(for: b, "revoked keyCompromise")
                for options in hashes.flatMap({ hash in nonces.map { hash + $0 } }) {
                    #expect(try ca.state(b, options) == "revoked keyCompromise", "\(options)")
                }
                let text = try ca.ask([b]).text
                let words = try #require(
                    text.components(separatedBy: "Revocation Time: ").dropFirst().first?.components(separatedBy: "\n")[0])
                let format = DateFormatter()
                format.locale = Locale(identifier: "en_US_POSIX")
                format.timeZone = TimeZone(identifier: "GMT")
                format.dateFormat = "MMM d HH:mm:ss yyyy 'GMT'"
                // A day below ten has a second space before it.
                let date = format.date(from: words.replacingOccurrences(of: "  ", with: " "))
                let told = Int(try #require(date, "\(words)").timeIntervalSince1970)
                #expect((before...Int(Date().timeIntervalSince1970)).contains(told), "\(words)")
                // The CRL that is published says the same second.
                #expect(try ca.ca.data("generate_crl").stringValue?.isEmpty == false)
                let list = try ca.place.must([
                    "/usr/bin/openssl", "crl", "-inform", "DER", "-in", "\(ca.ca.data)/published/crl.der", "-noout", "-text",
                ])
                #expect(list.contains("Revocation Date: \(words)"), "\(words): \(list)")

                try ca.revoke(held, "certificateHold")
                try ca.wait(for: held, "revoked certificateHold")
                #expect(try ca.ca.facts(["cert", "unrevoke", "--serial", held.serial]) != .null)
                try ca.wait(for: held, "good")
                try ca.revoke(held)
                // unspecified is no reason in a response (RFC 6960 4.4.5 with RFC 5280 5.3.1).
                try ca.wait(for: held, "revoked")

                // All of them in one request, in the order of the request.
                let all = try ca.ask([a, b, held, a], ["-nonce"])
                #expect(all.states == ["good", "revoked keyCompromise", "revoked", "good"])
                let first = try #require(all.text.range(of: "\(b.path): revoked"))
                #expect(all.text[first.upperBound...].contains("\(held.path): revoked"))
            }
        }

        @Test("expiry changes no status: what has expired is good, or revoked, as it was")
        func expired() throws {
            try withPublicCA { ca in
                let old = try ca.adopt("old.example.com", serial: "51", from: "20240101000000Z", to: "20240201000000Z")
                let stolen = try ca.adopt("stolen.example.com", serial: "52", from: "20240101000000Z", to: "20240201000000Z")
                #expect(try ca.ask([old, stolen]).states == ["good", "good"])
                try ca.revokeAsOperator(stolen, "keyCompromise")
                try ca.wait(for: stolen, "revoked keyCompromise")
                #expect(try ca.ask([old, stolen], ["-nonce"]).states == ["good", "revoked keyCompromise"])
            }
        }

        @Test("a request of another issuer or another hash is unauthorized; beside one of ours it is unknown")
        func foreign() throws {
            try withPublicCA { ca in
                let own = try ca.issue("own.example.com")
                let place = ca.place
                try place.must([
                    "/usr/bin/openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj",
                    "/CN=Another CA", "-keyout", place.path("other.key"), "-out", place.path("other.pem"),
                ])
                func ask(_ arguments: [String]) throws -> Finished {
                    try place.openssl(["ocsp", "-url", "\(ca.base)/ocsp", "-no_nonce", "-CAfile", ca.issuer] + arguments)
                }
                for arguments in [
                    ["-issuer", place.path("other.pem"), "-serial", own.serial],
                    ["-sha384", "-issuer", ca.issuer, "-cert", own.path], ["-sha512", "-issuer", ca.issuer, "-cert", own.path],
                ] {
                    let refused = try ask(arguments)
                    #expect(
                        (refused.output + refused.errors).contains("Responder Error: unauthorized (6)"), "\(arguments): \(refused.errors)")
                }
                // openssl looks whether the issuer of the CertIDs is the responder's, and here they have three: -no_cert_checks leaves that out.
                let mixed = try ask([
                    "-no_cert_checks", "-issuer", ca.issuer, "-cert", own.path, "-issuer", place.path("other.pem"), "-serial", "0x77",
                    "-sha384", "-issuer",
                    ca.issuer, "-serial", "0x78",
                ])
                #expect(mixed.code == 0 && (mixed.output + mixed.errors).contains("Response verify OK"), "\(mixed.errors)")
                #expect(PublicCA.state(of: own.path, in: mixed.output) == "good", "\(mixed.output)")
                #expect(
                    PublicCA.state(of: "0x77", in: mixed.output) == "unknown" && PublicCA.state(of: "0x78", in: mixed.output) == "unknown")
            }
        }

        @Test("ocsp.nonce says whether a nonce comes back, is left out, or has to be there; reload makes it so")
        func nonces() throws {
            try withPublicCA { ca in
                let certificate = try ca.issue("n.example.com")
                func configure(_ mode: String) throws {
                    let file = "\(ca.ca.data)/ca.config.yml"
                    let lines = try String(contentsOfFile: file, encoding: .utf8).components(separatedBy: "\n").filter {
                        !$0.hasPrefix("ocsp:") && !$0.hasPrefix("  nonce:")
                    }
                    try (lines.joined(separator: "\n") + "\nocsp:\n  nonce: \(mode)\n").write(
                        toFile: file, atomically: false, encoding: .utf8)
                    #expect(try ca.ca.ctl(["reload"]).code == 0)
                }
                #expect(try !ca.ask([certificate], ["-nonce"]).text.contains("no nonce in response"))
                try configure("ignore")
                // The bridge learns it from the core within some seconds.
                try waitUntil("nonces are ignored") { try ca.ask([certificate], ["-nonce"]).text.contains("no nonce in response") }
                try configure("require")
                try waitUntil("nonces are required") {
                    let asked = try ca.place.openssl([
                        "ocsp", "-issuer", ca.issuer, "-CAfile", ca.issuer, "-url", "\(ca.base)/ocsp", "-no_nonce", "-cert",
                        certificate.path,
                    ])
                    return (asked.output + asked.errors).contains("Responder Error: ")
                }
                #expect(try !ca.ask([certificate], ["-nonce"]).text.contains("no nonce in response"))
            }
        }

        @Test(
            "what openssl prints of a response: byKey, SHA-1 CertID, ECDSA with SHA-256, the delegated certificate and nothing it should not have"
        )
        func printed() throws {
            try withPublicCA(ocsp: ["validity: 2h"]) { ca in
                let certificate = try ca.issue("p.example.com")
                let file = ca.place.path("p.resp")
                let text = try ca.ask([certificate], ["-no_nonce", "-resp_text", "-respout", file]).text
                let lines = text.components(separatedBy: "\n").map { $0.trimmingCharacters(in: .whitespaces) }
                func value(_ label: String) throws -> String {
                    try #require(lines.first { $0.hasPrefix("\(label): ") }, "\(label): \(text)").components(separatedBy: ": ")[1]
                }
                #expect(try value("OCSP Response Status") == "successful (0x0)" && value("Response Type") == "Basic OCSP Response")
                #expect(try value("Version") == "1 (0x0)" && value("Hash Algorithm") == "sha1" && value("Cert Status") == "good")
                #expect(try value("Signature Algorithm") == "ecdsa-with-SHA256")
                // Whole times: one is the moment of signing, both others are bound to it.
                let produced = try value("Produced At")
                #expect(try value("This Update") == produced)
                #expect(try value("Next Update") != produced)
                // The responder is named by its key, which its certificate's subject key identifier names as well (RFC 5280 4.2.1.2, method 1).
                let responder = try value("Responder Id")
                let index = try #require(lines.firstIndex { $0.hasPrefix("X509v3 Subject Key Identifier") })
                #expect(lines[index + 1].replacingOccurrences(of: ":", with: "") == responder, "\(responder): \(text)")

                let pem = try #require(text.range(of: "-----BEGIN CERTIFICATE-----"))
                let end = try #require(text.range(of: "-----END CERTIFICATE-----"))
                try ca.place.write(text[pem.lowerBound..<end.upperBound] + "\n", to: "signer.pem")
                let signer = try ca.place.must(["/usr/bin/openssl", "x509", "-in", ca.place.path("signer.pem"), "-noout", "-text"])
                let extensions = signer.components(separatedBy: "\n").map { $0.trimmingCharacters(in: .whitespaces) }
                func after(_ label: String) -> String? {
                    extensions.firstIndex { $0.hasPrefix(label) }.map { extensions[$0 + 1] }
                }
                #expect(after("X509v3 Extended Key Usage:") == "OCSP Signing")
                #expect(after("X509v3 Key Usage: critical") == "Digital Signature")
                #expect(signer.contains("OCSP No Check") && signer.contains("X509v3 Authority Key Identifier"))
                for absent in ["CRL Distribution", "Alternative Name", "Authority Information Access", "CA:TRUE"] {
                    #expect(!signer.contains(absent), "\(signer)")
                }
                let verified = try ca.place.must([
                    "/usr/bin/openssl", "verify", "-x509_strict", "-purpose", "ocsphelper", "-CAfile", ca.issuer,
                    ca.place.path("signer.pem"),
                ])
                #expect(verified.contains("OK"))
                // The key is of the bridge's memory alone: the CA's store knows the certificate, no file knows the key.
                #expect(signer.contains("NIST CURVE: P-256"))

                // The second request of a plain client brings the same bytes: they were not signed again.
                let once = try ca.post(try ca.request([certificate])).body
                let again = try ca.post(try ca.request([certificate])).body
                #expect(once == again)
                #expect(try ca.read(once) == "good")
            }
        }

        @Test("GnuTLS asks, with a nonce and without, and verifies what it hears")
        func gnuTLS() throws {
            try withPublicCA { ca in
                let certificate = try ca.issue("g.example.com")
                func ask(_ options: [String]) throws -> Finished {
                    try ca.place.run(
                        [
                            "/usr/bin/ocsptool", "--ask=\(ca.base)/ocsp", "--load-cert", certificate.path, "--load-issuer", ca.issuer,
                            "--load-trust", ca.issuer, "--outfile", ca.place.path("gnutls.resp"),
                        ] + options)
                }
                func verify() throws -> Finished {
                    try ca.place.run([
                        "/usr/bin/ocsptool", "--verify-response", "--load-response", ca.place.path("gnutls.resp"), "--load-trust",
                        ca.issuer,
                    ])
                }
                for options in [["--no-nonce"], ["--nonce"]] {
                    let good = try ask(options)
                    #expect(good.code == 0 && good.output.contains("Certificate Status: good"), "\(options): \(good.output)\(good.errors)")
                    #expect((good.output + good.errors).contains("Verifying OCSP Response: Success."), "\(good.output)\(good.errors)")
                }
                try ca.revoke(certificate, "cessationOfOperation")
                try ca.wait(for: certificate, "revoked cessationOfOperation")
                for options in [["--no-nonce"], ["--nonce"]] {
                    let revoked = try ask(options)
                    #expect(revoked.output.contains("Certificate Status: revoked"), "\(options): \(revoked.output)\(revoked.errors)")
                    let verified = try verify()
                    #expect((verified.output + verified.errors).contains("Verifying OCSP Response: Success."), "\(verified.errors)")
                }
            }
        }
    }
}
