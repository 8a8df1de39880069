// A TLS server that staples: nginx asks for its certificate's status by the address in it, and curl insists on hearing it.
import Foundation
import Glibc
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

        private func server(_ ca: PublicCA, _ certificate: Issued, port: Int, name: String, lines: String) throws -> Nginx {
            // curl looks for the issuer among what the server sends.
            let chain = try String(contentsOfFile: certificate.path, encoding: .utf8) + String(contentsOfFile: ca.issuer, encoding: .utf8)
            try ca.place.write(chain, to: "chain.pem")
            return try Nginx(
                in: ca.place, port: port, upstream: ca.socket,
                servers: """
                        server {
                            listen 127.0.0.1:\(port + 1) ssl;
                            server_name www.example.com;
                            ssl_certificate \(ca.place.path("chain.pem"));
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
                // As the example at the end of deploy/nginx/upki-ca.conf has it; the address in the certificate needs no resolver here.
                let tls = try self.server(
                    ca, certificate, port: port, name: "stapler",
                    lines: "ssl_stapling_verify on; ssl_trusted_certificate \(ca.issuer);")
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
