// A CA whose revocation is public: its OCSP bridge behind Debian's nginx with the very site file of deploy/nginx, and the clients that ask there.
import Foundation
import Glibc
import TestPrograms
import Testing
import UPKIProtocol

/// An HTTP answer as curl saw it.
struct Fetched {
    let code: Int
    /// The names in lower case.
    let headers: [(name: String, value: String)]
    let body: Data

    /// The one header of this name; nil where there is none or more than one.
    subscript(name: String) -> String? {
        let found = self.headers.filter { $0.name == name.lowercased() }
        return found.count == 1 ? found.first?.value : nil
    }

    /// The number behind a directive of Cache-Control.
    func cacheControl(_ directive: String) -> Int? {
        self["cache-control"]?.split(separator: ",").lazy.map { $0.trimmingCharacters(in: .whitespaces) }
            .first { $0.hasPrefix("\(directive)=") }.flatMap { Int($0.dropFirst(directive.count + 1)) }
    }
}

extension Workplace {
    /// Fetches by curl, whatever the status; the path goes out as it stands here.
    func fetch(_ url: String, _ options: [String] = [], socket: String? = nil) throws -> Fetched {
        let id = UUID().uuidString
        let (head, body) = (self.path("\(id).head"), self.path("\(id).body"))
        defer {
            unlink(head)
            unlink(body)
        }
        let through = socket.map { ["--unix-socket", $0] } ?? []
        let code = try self.must(
            ["/usr/bin/curl", "-sS", "--noproxy", "*", "--path-as-is", "-m", "20", "-D", head, "-o", body, "-w", "%{http_code}"] + through
                + options + [url])
        // After "100 Continue" stands another head.
        let heads = try String(contentsOfFile: head, encoding: .utf8).components(separatedBy: "\r\n\r\n").filter { !$0.isEmpty }
        let lines = (heads.last ?? "").components(separatedBy: "\r\n").dropFirst()
        return Fetched(
            code: Int(code) ?? 0,
            headers: lines.compactMap { line in
                line.firstIndex(of: ":").map {
                    (line[..<$0].lowercased(), line[line.index(after: $0)...].trimmingCharacters(in: .whitespaces))
                }
            }, body: FileManager.default.contents(atPath: body) ?? Data())
    }

    func openssl(_ arguments: [String]) throws -> Finished { try self.run(["/usr/bin/openssl"] + arguments) }

    func save(_ data: Data, to name: String) throws -> String {
        try data.write(to: URL(fileURLWithPath: self.path(name)))
        return self.path(name)
    }
}

/// Debian's nginx with deploy/nginx/upki-ca.conf, of which only the marked lines are changed, in a directory of the test's.
final class Nginx {
    static let program = "/usr/sbin/nginx"
    /// As docs/OCSP.md has it.
    static let siteFile = Checkout.documents + "/../deploy/nginx/upki-ca.conf"

    let port: Int
    private let place: Workplace
    private let name: String
    private var process: ProgramRun?

    /// - Parameters:
    ///   - upstream: the bridge's socket.
    ///   - servers: further servers, such as one that staples.
    ///   - user: whom the workers run as where the test is root's.
    ///   - edit: changes the site file further.
    init(
        in place: Workplace, port: Int, upstream: String, servers: String = "", user: String = "root", name: String = "nginx",
        edit: (String) -> String = { $0 }
    ) throws {
        self.place = place
        self.port = port
        self.name = name
        guard FileManager.default.isExecutableFile(atPath: Self.program) else {
            throw TestFailure("\(Self.program) is missing; run: scripts/setup test")
        }
        let folder = place.path(name)
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        if geteuid() == 0, let owner = getpwnam(user) { chown(folder, owner.pointee.pw_uid, owner.pointee.pw_gid) }
        var site = try String(contentsOfFile: Self.siteFile, encoding: .utf8)
        func replace(_ old: String, _ new: String) throws {
            guard site.contains(old) else { throw TestFailure("deploy/nginx/upki-ca.conf has no '\(old)' any more") }
            site = site.replacingOccurrences(of: old, with: new)
        }
        try replace("unix:/run/upki-ca/ocsp/http.sock", "unix:\(upstream)")
        try replace("/var/cache/nginx-upki-ca", "\(folder)/cache")
        try replace("listen 80;", "listen 127.0.0.1:\(port);")
        try replace("listen [::]:80;", "")
        try replace("/var/log/nginx/", "\(folder)/")
        try place.write(edit(site), to: "\(name)/upki-ca.conf", mode: 0o644)
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map { "    \($0)_temp_path \(folder)/\($0);\n" }.joined()
        try place.write(
            """
            \(geteuid() == 0 ? "user \(user);\n" : "")daemon off;
            worker_processes 1;
            pid \(folder)/pid;
            error_log \(folder)/error.log info;
            events { worker_connections 512; }
            http {
                access_log off;
            \(temporary)    include \(folder)/upki-ca.conf;
            \(servers)
            }

            """, to: "\(name)/nginx.conf", mode: 0o644)
        try self.start()
    }

    private func start() throws {
        let process = try self.place.start([Self.program, "-c", self.place.path("\(self.name)/nginx.conf"), "-e", "stderr"])
        self.process = process
        do {
            try waitUntil("nginx listens") {
                guard process.isRunning else { throw TestFailure("nginx ended: \(process.errors)\(self.errorLog)") }
                return Ports.listens(self.port)
            }
        } catch {
            // In order: its workers outlive a master that is killed.
            self.end()
            throw error
        }
    }

    /// Forgets what it keeps in memory, such as what it staples; its cache stays.
    func restart() throws {
        self.end()
        try self.start()
    }

    func end() {
        guard let process = self.process else { return }
        process.signal(SIGTERM)
        do { try process.finish(within: .seconds(10)) } catch { Issue.record(error) }
        self.process = nil
    }

    var url: String { "http://127.0.0.1:\(self.port)" }

    var errorLog: String {
        ["error.log", "upki-ca.error.log"].map { (try? self.place.read("\(self.name)/\($0)")) ?? "" }.joined()
    }

    /// What stands behind `cache=` in the access log for each request with this target, once there are so many: nginx writes a line when
    /// its client has the answer already.
    func cacheStates(of target: String, count: Int) throws -> [String] {
        func states() throws -> [String] {
            let lines = try self.place.read("\(self.name)/upki-ca.access.log").split(separator: "\n")
            return lines.filter { $0.contains(" \(target) HTTP/") }.map { line in
                line.split(separator: " ").last { $0.hasPrefix("cache=") }.map { String($0.dropFirst(6)) } ?? ""
            }
        }
        try waitUntil("\(count) lines for \(target)") { try states().count >= count }
        return try states()
    }
}

/// A CA and its public face.
final class PublicCA {
    let ca: RunningCA
    let nginx: Nginx
    var place: Workplace { self.ca.place }
    /// `publication.base_url`.
    var base: String { self.nginx.url }
    /// The bridge's own socket.
    var socket: String { "\(self.ca.run)/ocsp/http.sock" }
    var issuer: String { "\(self.ca.data)/ca.crt" }

    /// - Parameters:
    ///   - ocsp: lines below `ocsp:` of the configuration, each with its indentation.
    ///   - servers: further servers of nginx.
    init(_ ca: RunningCA, _ nginx: Nginx) {
        self.ca = ca
        self.nginx = nginx
    }

    func end() {
        self.nginx.end()
        self.ca.end()
    }

    // MARK: The bridge

    var bridge: pid_t {
        get throws {
            let found = self.place.processes().filter { $0.command.contains("/ca-ocsp-bridge ") }
            guard found.count == 1, let one = found.first else { throw TestFailure("\(found.count) bridges") }
            return one.pid
        }
    }

    func isHealthy() throws -> Bool {
        guard FileManager.default.fileExists(atPath: self.socket) else { return false }
        let finished = try self.place.run([
            "/usr/bin/curl", "-sS", "-f", "-m", "5", "--unix-socket", self.socket, "http://localhost/healthz",
        ])
        return finished.code == 0
    }

    func waitUntilHealthy() throws { try waitUntil("the bridge is healthy", within: .seconds(30)) { try self.isHealthy() } }

    // MARK: Certificates

    /// Issues by `generate`; the serial number in decimal and the path of the PEM.
    func issue(_ commonName: String) throws -> Issued {
        let answer = try self.ca.data("generate", ["cn": .string(commonName), "local": false])
        return try self.keep(
            commonName, certificate: answer["certificate"]?.stringValue ?? "", serial: answer["serial"]?.stringValue ?? "",
            key: answer["private_key"]?.stringValue ?? "")
    }

    /// Issues several on one connection.
    func issue(_ names: [String]) throws -> [Issued] {
        let answers = try self.ca.ask(names.map { ("generate", ["cn": .string($0)]) })
        return try zip(names, answers).map { name, answer in
            try self.keep(
                name, certificate: answer.at("DATA", "certificate")?.stringValue ?? "",
                serial: answer.at("DATA", "serial")?.stringValue ?? "", key: "")
        }
    }

    private func keep(_ name: String, certificate: String, serial: String, key: String) throws -> Issued {
        try self.place.write(certificate, to: "\(name).pem")
        try self.place.write(key, to: "\(name).key")
        return Issued(serial: serial, path: self.place.path("\(name).pem"), key: self.place.path("\(name).key"))
    }

    /// Makes a certificate known to the CA that its key signed elsewhere: no task chooses a serial number, or makes what has expired.
    ///
    /// - Parameters:
    ///   - serial: in hexadecimal, of an even number of digits.
    ///   - from: notBefore and notAfter as YYYYMMDDHHMMSSZ.
    func adopt(_ name: String, serial: String, from: String = "20250101000000Z", to: String) throws -> Issued {
        let place = self.place
        try place.write(
            """
            [ca]
            default_ca = a
            [a]
            database = \(place.path("index"))
            new_certs_dir = \(place.directory)
            serial = \(place.path("serial"))
            default_md = sha256
            policy = p
            unique_subject = no
            [p]
            commonName = supplied

            """, to: "ca.cnf")
        try place.write("", to: "index")
        try place.write("\(serial)\n", to: "serial")
        try place.write(try place.csr("/CN=\(name)"), to: "\(name).csr")
        try place.must([
            "/usr/bin/openssl", "ca", "-batch", "-config", place.path("ca.cnf"), "-cert", self.issuer, "-keyfile",
            "\(self.ca.data)/ca.key", "-in", place.path("\(name).csr"), "-startdate", from, "-enddate", to, "-notext", "-out",
            place.path("\(name).pem"),
        ])
        _ = try self.ca.facts(["cert", "adopt", place.path("\(name).pem")])
        return Issued(serial: "0x\(serial)", path: place.path("\(name).pem"))
    }

    func revoke(_ certificate: Issued, _ reason: String? = nil) throws {
        let parameters: [(String, JSON)] = [("serial", .string(certificate.serial))] + (reason.map { [("reason", .string($0))] } ?? [])
        #expect(try self.ca.data("revoke", parameters.object) == true)
    }

    /// The same by ca-ctl: the node of these tests sees what it issued itself and nothing else.
    func revokeAsOperator(_ certificate: Issued, _ reason: String) throws {
        try self.ca.facts(["cert", "revoke", "--serial", certificate.serial, "--reason", reason])
    }

    // MARK: OCSP

    /// Asks by `openssl ocsp` through nginx, with its signature, its dates and its responder's certificate checked.
    ///
    /// - Returns: what it printed of each certificate, as `good`, `revoked keyCompromise` or `unknown`; all it printed.
    @discardableResult
    func ask(_ certificates: [Issued], _ options: [String] = ["-no_nonce"], url: String? = nil) throws -> (states: [String], text: String) {
        let finished = try self.place.openssl(
            ["ocsp", "-timeout", "10", "-issuer", self.issuer, "-CAfile", self.issuer, "-url", url ?? "\(self.base)/ocsp"] + options
                + certificates.flatMap { ["-cert", $0.path] })
        let text = finished.output + finished.errors
        guard finished.code == 0, text.contains("Response verify OK") else {
            throw TestFailure("openssl ocsp ended with \(finished.code): \(text)")
        }
        return (certificates.map { Self.state(of: $0.path, in: text) }, text)
    }

    /// What `openssl ocsp` says of a certificate, or of `0x…`: its status, and its reason behind it where there is one.
    static func state(of name: String, in text: String) -> String {
        let lines = text.components(separatedBy: "\n")
        guard let index = lines.firstIndex(where: { $0.hasPrefix("\(name): ") }) else { return "missing" }
        let status = String(lines[index].dropFirst(name.count + 2))
        let details = lines[(index + 1)...].prefix { $0.hasPrefix("\t") }
        let reason = details.first { $0.contains("Reason: ") }.map { " " + $0.components(separatedBy: "Reason: ")[1] } ?? ""
        return status + reason
    }

    /// The status of one certificate, by openssl through nginx and a POST, so that no cache is in between.
    func state(_ certificate: Issued, _ options: [String] = ["-no_nonce"]) throws -> String {
        try self.ask([certificate], options).states[0]
    }

    /// Waits until a change of status is heard: the bridge has 100 ms for it, which `OCSPOutageTests` holds it to.
    func wait(for certificate: Issued, _ state: String) throws {
        try waitUntil("\(certificate.path) is \(state)") { try self.state(certificate) == state }
    }

    /// A request as openssl makes it.
    func request(_ certificates: [Issued], _ options: [String] = ["-no_nonce"]) throws -> Data {
        let file = self.place.path("\(UUID().uuidString).req")
        try self.place.must(
            ["/usr/bin/openssl", "ocsp", "-issuer", self.issuer, "-reqout", file] + options + certificates.flatMap { ["-cert", $0.path] })
        return try Data(contentsOf: URL(fileURLWithPath: file))
    }

    /// The path of a GET (RFC 6960 A.1), percent-encoded as the RFC has it.
    static func path(_ request: Data) -> String {
        let base64 = request.base64EncodedString()
        return "/ocsp/"
            + base64.replacingOccurrences(of: "+", with: "%2B").replacingOccurrences(of: "/", with: "%2F")
            .replacingOccurrences(of: "=", with: "%3D")
    }

    /// POSTs to the bridge's own socket.
    func post(_ request: Data) throws -> Fetched {
        let file = try self.place.save(request, to: "\(UUID().uuidString).req")
        return try self.place.fetch(
            "http://localhost/", ["-H", "Content-Type: application/ocsp-request", "--data-binary", "@\(file)"], socket: self.socket)
    }

    /// What openssl reads in a response: `good`, `revoked keyCompromise`, or the response's own status such as `trylater`.
    ///
    /// - Parameter verified: with its signature checked.
    func read(_ response: Data, verified: Bool = true) throws -> String {
        let file = try self.place.save(response, to: "\(UUID().uuidString).resp")
        let finished = try self.place.openssl(
            ["ocsp", "-respin", file, "-resp_text", "-CAfile", self.issuer, "-issuer", self.issuer] + (verified ? [] : ["-noverify"]))
        let text = finished.output + finished.errors
        func value(_ label: String) -> String? {
            text.components(separatedBy: "\n").first { $0.contains("\(label): ") }.map {
                $0.components(separatedBy: "\(label): ")[1].trimmingCharacters(in: .whitespaces)
            }
        }
        guard text.contains("OCSP Response Status: successful") else {
            return (value("OCSP Response Status") ?? value("Responder Error") ?? text).components(separatedBy: " ")[0]
        }
        guard !verified || text.contains("Response verify OK") else { throw TestFailure("not verified: \(text)") }
        return (value("Cert Status") ?? "no status") + (value("Revocation Reason").map { " " + $0.components(separatedBy: " ")[0] } ?? "")
    }
}

/// A certificate of a test.
struct Issued {
    /// In decimal, or in hexadecimal after 0x.
    let serial: String
    let path: String
    var key = ""
}

/// A CA with nginx before its OCSP bridge for the time of `body`; what both logged comes with a failure.
///
/// - Parameters:
///   - ocsp: what stands below `ocsp:` in its configuration.
///   - prefix: the path of `publication.base_url`.
func withPublicCA<Result>(
    ocsp: [String] = [], below prefix: String = "", options: [String] = [], up: [String] = ["--no-init"],
    _ body: (PublicCA) throws -> Result
) throws -> Result {
    let port = try Ports.freePair()
    let settings = ocsp.isEmpty ? "" : "\nocsp:\n" + ocsp.map { "  \($0)\n" }.joined()
    let ca = try RunningCA(options, configuration: "publication:\n  base_url: http://127.0.0.1:\(port)\(prefix)\(settings)\n")
    let nginx: Nginx
    do {
        nginx = try Nginx(in: ca.place, port: port, upstream: "\(ca.run)/ocsp/http.sock") { site in
            // As the site file says: it goes before each of these paths.
            ["= /ocsp {", "/ocsp/ {", "= /crl {", "= /ca.crt {"].reduce(site) { site, path in
                let moved = path.hasPrefix("= ") ? "= \(prefix)\(path.dropFirst(2))" : "\(prefix)\(path)"
                return site.replacingOccurrences(of: "location \(path)", with: "location \(moved)")
            }
        }
    } catch {
        ca.end()
        throw error
    }
    let running = PublicCA(ca, nginx)
    defer { running.end() }
    do {
        if up != ["--no-init"] {
            try ca.stop()
            try ca.start(up)
        }
        try ca.register()
        try running.waitUntilHealthy()
        return try body(running)
    } catch {
        throw TestFailure(
            "\(error)\n--- log of the CA:\n\(ca.log.suffix(6_000))\n--- log of nginx:\n\(nginx.errorLog.suffix(2_000))")
    }
}
