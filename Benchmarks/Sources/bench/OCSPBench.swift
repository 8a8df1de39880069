// OCSP over HTTP: the bridge from cache and signed, direct and behind nginx, beside other responders; and how soon a revocation is seen.
import Foundation
import Glibc
import UPKIProtocol
import ZeroMQ

struct OCSPBench {
    let ca: BenchCA
    let load: HTTPLoad
    let maker: OCSPRequestMaker
    /// The 20 octets of each certificate's serial number.
    let serials: [[UInt8]]
    private let plain: String
    private let nonce: String

    /// - Parameter resources: the folder of the wrk script.
    init(_ ca: BenchCA, serials: [String], seconds: Int, resources: String, libraries: String) throws {
        self.ca = ca
        self.serials = serials.map(OCSPRequestMaker.octets(ofDecimal:))
        self.load = HTTPLoad(script: "\(resources)/wrk/ocsp.lua", unixConnect: "\(libraries)/libUnixConnect.so", seconds: seconds)
        self.maker = try OCSPRequestMaker(issuer: "\(ca.directory)/data/ca.crt", in: ca.directory)
        self.plain = "\(ca.directory)/plain.txt"
        self.nonce = "\(ca.directory)/nonce.txt"
        // What wrk holds is bounded: its memory is the machine's too.
        try self.maker.write(Array(self.serials.prefix(100_000)), to: self.plain)
        try self.maker.write(Array(self.serials.prefix(100_000)), nonce: true, to: self.nonce)
    }

    private var bridge: HTTPLoad.Target { .unix(self.ca.bridgeSocket) }

    /// Asks once for every certificate, so that all are cached.
    /// - Returns: the answers to the first ones.
    func fill(keep: Int) throws -> [[UInt8]] {
        var kept: [[UInt8]] = []
        let connection = try HTTPConnection(path: self.ca.bridgeSocket)
        try connection.askAll(self.serials.map { self.maker.request($0) }) { if kept.count < keep { kept.append($0) } }
        return kept
    }

    func direct() throws -> [HTTPMeasurement] {
        [
            try self.load.run("bridge, cached, GET", self.bridge, mode: "get", requests: self.plain, prefix: "/"),
            try self.load.run("bridge, cached, POST", self.bridge, mode: "post", requests: self.plain, prefix: "/ocsp"),
            try self.load.run("bridge, signed (nonce), POST", self.bridge, mode: "nonce", requests: self.nonce, prefix: "/ocsp"),
        ]
    }

    /// Through the site file of deploy/nginx, without its rate limits: all requests come from one address here.
    func behindNginx(site: String) throws -> [HTTPMeasurement] {
        let nginx = try NginxServer(self.ca, site: site)
        defer { nginx.end() }
        // Few enough that nginx has them all after a moment: what is measured is its cache, not its filling.
        let few = min(1_000, self.serials.count)
        let some = "\(self.ca.directory)/few.txt"
        try self.maker.write(Array(self.serials.prefix(few)), to: some)
        return [
            try self.load.run("nginx, bridge cached, POST", .port(nginx.port), mode: "post", requests: self.plain, prefix: "/ocsp"),
            try self.load.run(
                "nginx, bridge signed (nonce), POST", .port(nginx.port), mode: "nonce", requests: self.nonce, prefix: "/ocsp"),
            try self.load.run(
                "nginx, nginx's cache, \(few) certificates, GET", .port(nginx.port), mode: "get", requests: some, prefix: "/ocsp/"),
        ]
    }

    /// - Parameter answers: the bridge's own, for servers of answers that were signed before.
    func others(answers: [[UInt8]]) throws -> [HTTPMeasurement] {
        var measured: [HTTPMeasurement] = []
        let directory = self.ca.directory
        guard let answer = answers.first else { throw BenchError(description: "the bridge gave no answer") }
        let file = try NginxServer(serving: answer, in: directory)
        defer { file.end() }
        measured.append(
            try self.load.run(
                "nginx, a file of \(answer.count) bytes, GET", .port(file.port), mode: "file", requests: self.plain, prefix: "/answer"))

        let responses = "\(directory)/responses.txt"
        let lines = answers.map { Data($0).base64EncodedString() }
        try Data((lines.joined(separator: "\n") + "\n").utf8).write(to: URL(fileURLWithPath: responses))
        let some = "\(directory)/some.txt"
        try self.maker.write(Array(self.serials.prefix(answers.count)), to: some)
        var port = try BenchCA.freePort()
        let cfssl = try OtherServer(
            "/usr/bin/cfssl", ["ocspserve", "-port", "\(port)", "-responses", responses, "-loglevel", "5"], port: port)
        defer { cfssl.end() }
        measured.append(
            try self.load.run("cfssl ocspserve, \(answers.count) pre-signed, POST", .port(port), mode: "post", requests: some, prefix: "/"))

        port = try BenchCA.freePort()
        let other = try self.makeOtherAuthority(in: directory)
        let responder = try OtherServer(
            "/usr/bin/openssl",
            [
                "ocsp", "-port", "\(port)", "-index", "\(directory)/index.txt", "-CA", "\(directory)/other.crt", "-rsigner",
                "\(directory)/other.crt",
                "-rkey", "\(directory)/other.key", "-multi", "2", "-ndays", "1",
            ], port: port)
        defer { responder.end() }
        measured.append(
            try self.load.run(
                "openssl ocsp -multi 2, signed, POST", .port(port), mode: "post", requests: other, prefix: "/", mayBreak: true))
        return measured
    }

    /// A P-256 CA for `openssl ocsp`, whose index holds the same serial numbers.
    /// - Returns: the path of the requests.
    private func makeOtherAuthority(in directory: String) throws -> String {
        _ = try output(
            of: "/usr/bin/openssl",
            [
                "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "\(directory)/other.key",
                "-out",
                "\(directory)/other.crt", "-subj", "/CN=Other CA", "-days", "30",
            ], quietly: true)
        let serials = self.serials.prefix(10_000)
        // Each with a name of its own, which its index wants.
        let lines = serials.map { serial in
            let hexadecimal = OCSPRequestMaker.hexadecimal(serial).uppercased()
            return "V\t400101000000Z\t\t\(hexadecimal)\tunknown\t/CN=\(hexadecimal)"
        }
        try Data((lines.joined(separator: "\n") + "\n").utf8).write(to: URL(fileURLWithPath: "\(directory)/index.txt"))
        let path = "\(directory)/other.txt"
        try OCSPRequestMaker(issuer: "\(directory)/other.crt", in: directory).write(Array(serials), to: path)
        return path
    }

    /// Milliseconds from the reply of each `revoke` to the first answer of the bridge that says so, sorted, while wrk asks for others.
    func revocationDelays(_ chosen: ArraySlice<(octets: [UInt8], decimal: String)>) throws -> [Double] {
        let traffic = try self.load.background(self.bridge, mode: "get", requests: self.plain, prefix: "/", connections: 8)
        defer {
            traffic.terminate()
            traffic.waitUntilExit()
        }
        // Its requests are read and made before the first goes out.
        sleep(3)
        let context = try ZMQContext()
        var options = ZMQSocketOptions()
        options.receiveTimeoutMilliseconds = 5_000
        let node = try ZMQSocket(.dealer, in: context, options: options)
        try node.connect("tcp://127.0.0.1:\(self.ca.port)")
        let connection = try HTTPConnection(path: self.ca.bridgeSocket)
        var delays: [Double] = []
        for (octets, decimal) in chosen {
            let request = self.maker.request(octets)
            guard try !Self.isRevoked(try connection.ask(request), octets) else {
                throw BenchError(description: "\(decimal) is revoked already")
            }
            try node.send(parts: [[], frame("revoke", [("serial", .string(decimal)), ("reason", "superseded")])])
            guard let reply = try node.receive(ZMQReceiveLimits(parts: 2, bytes: 1 << 20))?.parts.last else {
                throw BenchError(description: "revoke was not answered")
            }
            let start = microseconds()
            _ = try Answer.data(ofFrame: reply)
            while try !Self.isRevoked(try connection.ask(request), octets) {
                guard microseconds() - start < 5_000_000 else {
                    throw BenchError(description: "\(decimal) was not seen as revoked within 5 s")
                }
            }
            delays.append(Double(microseconds() - start) / 1_000)
        }
        guard traffic.isRunning else { throw BenchError(description: "the load ended before the revocations") }
        return delays.sorted()
    }

    /// What stands behind the CertID: `[1]` for revoked, `[0]` for good (RFC 6960 4.2.1).
    private static func isRevoked(_ answer: [UInt8], _ octets: [UInt8]) throws -> Bool {
        guard let place = answer.firstRange(of: [0x02, UInt8(octets.count)] + octets), place.upperBound < answer.count else {
            throw BenchError(description: "an answer for another certificate: \(OCSPRequestMaker.hexadecimal(answer))")
        }
        switch answer[place.upperBound] {
        case 0xa1: return true
        case 0x80: return false
        default: throw BenchError(description: "neither good nor revoked")
        }
    }
}

/// nginx with one site, on a port of its own.
final class NginxServer {
    let port: UInt16
    private let server: OtherServer

    /// Before the bridge, with the site file that operators install.
    init(_ ca: BenchCA, site: String) throws {
        guard let text = try? String(contentsOfFile: site, encoding: .utf8) else { throw BenchError(description: "\(site) cannot be read") }
        let port = try BenchCA.freePort()
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init).compactMap { line -> String? in
            let words = line.split(separator: " ").map(String.init)
            guard let first = words.first else { return line }
            if first == "limit_req" || first == "limit_conn" { return nil }
            if first == "listen" { return words.count > 1 && words[1].hasPrefix("[") ? nil : "listen 127.0.0.1:\(port) default_server;" }
            if first == "server", words.count > 1, words[1].hasPrefix("unix:") { return "server unix:\(ca.bridgeSocket);" }
            if first == "proxy_cache_path", words.count > 1 { return line.replacing(words[1], with: "\(ca.directory)/nginx-cache") }
            if first == "access_log" { return "access_log off;" }
            if first == "error_log" { return nil }
            return line
        }
        self.port = port
        self.server = try Self.start(lines.joined(separator: "\n"), name: "site", in: ca.directory, port: port)
    }

    /// A file with these bytes at /answer.
    init(serving bytes: [UInt8], in directory: String) throws {
        let port = try BenchCA.freePort()
        let root = "\(directory)/files"
        try FileManager.default.createDirectory(atPath: root, withIntermediateDirectories: true)
        try Data(bytes).write(to: URL(fileURLWithPath: "\(root)/answer"))
        self.port = port
        self.server = try Self.start(
            "server { listen 127.0.0.1:\(port); root \(root); access_log off; default_type application/ocsp-response; keepalive_requests 1000000; }",
            name: "files", in: directory, port: port)
    }

    private static func start(_ http: String, name: String, in directory: String, port: UInt16) throws -> OtherServer {
        // nginx's workers are another user's where root starts it; they have to reach the bridge's socket.
        let user = geteuid() == 0 ? "user root;" : ""
        let configuration = """
            \(user)
            daemon off;
            worker_processes 2;
            pid \(directory)/nginx-\(name).pid;
            error_log \(directory)/nginx-\(name).log;
            events { worker_connections 1024; }
            http {
            client_body_temp_path \(directory)/nginx-body; proxy_temp_path \(directory)/nginx-proxy;
            fastcgi_temp_path \(directory)/nginx-fastcgi; uwsgi_temp_path \(directory)/nginx-uwsgi; scgi_temp_path \(directory)/nginx-scgi;
            \(http)
            }
            """
        let path = "\(directory)/nginx-\(name).conf"
        try Data(configuration.utf8).write(to: URL(fileURLWithPath: path))
        return try OtherServer("/usr/sbin/nginx", ["-p", directory, "-c", path], port: port)
    }

    func end() { self.server.end() }
}
