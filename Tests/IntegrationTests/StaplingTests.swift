// A TLS server that staples: nginx asks for its certificate's status by the address in it, and curl insists on hearing it.
import Foundation
import Glibc
import TestPrograms
import Testing
import UPKIProtocol

extension IntegrationTests {
    @Suite("OCSP stapling")
    struct StaplingTests {
        /// curl wants a stapled answer (--cert-status): 0 with good, 91 (CURLE_SSL_INVALIDCERTSTATUS) with none or with revoked.
        private func visit(_ ca: PublicCA, _ port: Int) throws -> Finished {
            try ca.place.run([
                "/usr/bin/curl", "-sSv", "--noproxy", "*", "-m", "10", "--cert-status", "--cacert", ca.issuer, "--resolve",
                "www.example.com:\(port):127.0.0.1", "https://www.example.com:\(port)/",
            ])
        }

        /// curl looks for the issuer among what the server sends.
        private func chain(_ ca: PublicCA, _ certificate: Issued) throws -> String {
            let chain = try String(contentsOfFile: certificate.path, encoding: .utf8) + String(contentsOfFile: ca.issuer, encoding: .utf8)
            try ca.place.write(chain, to: "chain.pem")
            return ca.place.path("chain.pem")
        }

        /// The example at the end of the site file, uncommented, with nothing changed but names, paths and port.
        private func example(_ ca: PublicCA, _ certificate: Issued, port: Int) throws -> Nginx {
            let lines = try String(contentsOfFile: Nginx.siteFile, encoding: .utf8).components(separatedBy: "\n")
            var text = lines.drop { $0 != "# server {" }.map { $0.dropFirst(2) }.joined(separator: "\n")
            for (old, new) in [
                ("listen 443 ssl;", "listen 127.0.0.1:\(port + 1) ssl; location / { return 200 \"hello\"; }"),
                ("/etc/ssl/www.example.com.pem", try self.chain(ca, certificate)),
                ("/etc/ssl/private/www.example.com.key", certificate.key),
                ("/etc/ssl/upki-ca.pem", ca.issuer),
                // The address in the certificate is a number here: there is nothing to look up.
                ("192.0.2.53", "127.0.0.1"),
            ] {
                #expect(text.components(separatedBy: old).count == 2, "\(old)")
                text = text.replacingOccurrences(of: old, with: new)
            }
            return try Nginx(in: ca.place, port: port, upstream: ca.socket, servers: text, name: "stapler")
        }

        private func server(_ ca: PublicCA, _ certificate: Issued, port: Int, name: String, lines: String) throws -> Nginx {
            let chain = try self.chain(ca, certificate)
            return try Nginx(
                in: ca.place, port: port, upstream: ca.socket,
                servers: """
                        server {
                            listen 127.0.0.1:\(port + 1) ssl;
                            server_name www.example.com;
                            ssl_certificate \(chain);
                            ssl_certificate_key \(certificate.key);
                            ssl_stapling on;
                            \(lines)
                            location / { return 200 "hello"; }
                        }
                    """, name: name)
        }

        @Test("curl hears good; once the certificate is revoked nginx has nothing to staple, and a stapled revoked is refused by its name")
        func stapling() throws {
            try withPublicCA(ocsp: ["max_age: 1s"]) { ca in
                let certificate = try ca.issue("www.example.com")
                let port = try Ports.freePair()
                let tls = try self.example(ca, certificate, port: port)
                defer { tls.end() }
                // nginx asks when the first client comes, and staples from the second on.
                try waitUntil("good is stapled") { try self.visit(ca, port + 1).code == 0 }
                let good = try self.visit(ca, port + 1)
                #expect(
                    good.code == 0 && good.output == "hello" && good.errors.contains("SSL certificate status: good (0)"), "\(good.errors)")

                try ca.revoke(certificate, "keyCompromise")
                let path = PublicCA.path(try ca.request([certificate]))
                try waitUntil("a GET through nginx says revoked") {
                    try ca.read(try ca.place.fetch("\(ca.base)\(path)").body) == "revoked keyCompromise"
                }
                // nginx keeps what it staples up to an hour; a restart forgets it.
                try tls.restart()
                try waitUntil("nginx has heard of it") {
                    let visited = try self.visit(ca, port + 1)
                    #expect(visited.code == 91, "\(visited.errors)")
                    return tls.errorLog.contains("certificate status \"revoked\" in the OCSP response")
                }

                let file = try ca.place.save(try ca.place.fetch("\(ca.base)\(path)").body, to: "revoked.der")
                let other = try Ports.freePair()
                let insists = try self.server(ca, certificate, port: other, name: "insists", lines: "ssl_stapling_file \(file);")
                defer { insists.end() }
                let revoked = try self.visit(ca, other + 1)
                #expect(revoked.code == 91 && revoked.output.isEmpty, "\(revoked.errors)")
                #expect(
                    revoked.errors.contains("SSL certificate status: revoked (1)")
                        && revoked.errors.contains("SSL certificate revocation reason: keyCompromise (1)"), "\(revoked.errors)")
            }
        }
    }
}
