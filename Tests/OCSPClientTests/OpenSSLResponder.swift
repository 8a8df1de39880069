// A CA and its OCSP responder made by openssl in a directory of their own: who answers here is not our own code.
import Foundation
import Glibc
import TestPrograms
import Testing

final class OpenSSLResponder {
    let directory: String
    /// Kinds of certificates for the responder: what stands in their extensions.
    static let signers = [
        "delegated": "extendedKeyUsage=OCSPSigning\nnoCheck=ignored",
        "without-purpose": "extendedKeyUsage=serverAuth\nnoCheck=ignored",
        "two-purposes": "extendedKeyUsage=OCSPSigning,serverAuth\nnoCheck=ignored",
        "without-nocheck": "extendedKeyUsage=OCSPSigning",
    ]

    init() throws {
        var template = Array("/tmp/upki-ocsp-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw TestFailure("mkdtemp: \(errno)") }
        directory = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        do { try make() } catch {
            end()
            throw error
        }
    }

    private func make() throws {
        let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        for ca in ["ca", "other"] {
            try openssl(
                ["req", "-x509"] + key + ["-keyout", "\(ca).key", "-out", "\(ca).pem", "-subj", "/O=Example/CN=Root \(ca)", "-days", "30"])
            try openssl(["x509", "-in", "\(ca).pem", "-outform", "DER", "-out", "\(ca).der"])
        }
        let configuration = """
            [ca]
            default_ca = responders
            [responders]
            database = issued.txt
            new_certs_dir = .
            serial = serial
            default_md = sha256
            unique_subject = no
            policy = names
            [names]
            CN = supplied
            """
        try configuration.write(toFile: path("ca.cnf"), atomically: false, encoding: .utf8)
        for (name, extensions) in Self.signers { try signer(name, extensions, by: "ca") }
        try signer("foreign", Self.signers["delegated"] ?? "", by: "other")
        // The format of openssl's own database: state, end, time and reason of the revocation, serial number, file, subject.
        let lines = [
            "V\t351231235959Z\t\t1000\tunknown\t/CN=good", "R\t351231235959Z\t261101120000Z,keyCompromise\t1001\tunknown\t/CN=revoked",
            "R\t351231235959Z\t261102130000Z\t00FFFFFF\tunknown\t/CN=no reason",
        ]
        try (lines.joined(separator: "\n") + "\n").write(toFile: path("index.txt"), atomically: false, encoding: .utf8)
    }

    private func signer(_ name: String, _ extensions: String, by ca: String) throws {
        try openssl([
            "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "\(name).key", "-out",
            "\(name).csr",
            "-subj", "/CN=\(name)",
        ])
        try extensions.write(toFile: path("\(name).ext"), atomically: false, encoding: .utf8)
        // Each is the first of a CA without memory.
        try Data().write(to: URL(fileURLWithPath: path("issued.txt")))
        try Data("4D\n".utf8).write(to: URL(fileURLWithPath: path("serial")))
        try openssl([
            "ca", "-batch", "-notext", "-config", "ca.cnf", "-cert", "\(ca).pem", "-keyfile", "\(ca).key", "-in", "\(name).csr", "-extfile",
            "\(name).ext", "-startdate", Self.time(in: -86_400), "-enddate", Self.time(in: 2 * 86_400), "-out", "\(name).pem",
        ])
    }

    /// Older than its first answer, as a responder's certificate is.
    private static func time(in seconds: Double) -> String {
        Date(timeIntervalSinceNow: seconds).ISO8601Format().filter { !"-:T".contains($0) }
    }

    func path(_ name: String) -> String { "\(directory)/\(name)" }

    func read(_ name: String) throws -> [UInt8] { [UInt8](try Data(contentsOf: URL(fileURLWithPath: path(name)))) }

    /// The request that openssl makes.
    func request(_ options: [String]) throws -> [UInt8] {
        try openssl(["ocsp", "-issuer", "ca.pem"] + options + ["-reqout", "request.der"])
        return try read("request.der")
    }

    /// What openssl answers to a request.
    func answer(_ request: [UInt8], signer: String = "delegated", options: [String] = ["-resp_key_id", "-ndays", "1"]) throws -> [UInt8] {
        try Data(request).write(to: URL(fileURLWithPath: path("asked.der")))
        try openssl(
            ["ocsp", "-index", "index.txt", "-CA", "ca.pem", "-rsigner", "\(signer).pem", "-rkey", "\(signer).key", "-reqin", "asked.der"]
                + ["-respout", "answer.der"] + options)
        return try read("answer.der")
    }

    func openssl(_ arguments: [String]) throws {
        let finished = try ProgramRun.run(["openssl"] + arguments, in: directory)
        guard finished.code == 0 else { throw TestFailure("openssl \(arguments): \(finished.errors)") }
    }

    func end() { try? FileManager.default.removeItem(atPath: directory) }
}

func withResponder(_ body: (OpenSSLResponder) throws -> Void) throws {
    let responder = try OpenSSLResponder()
    defer { responder.end() }
    try body(responder)
}
