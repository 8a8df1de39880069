// A node's folder: made with keys of its own, filled with what a CA signed, read back; OpenSSL plays the CA.

import Enrolment
import Foundation
import Glibc
import PKI
import TestAuthority
import Testing
import UPKIProtocol
import ZeroMQ

@Suite("A node's folder")
struct NodeIdentityTests {
    private let openssl: OpenSSLFolder
    private let folder: String
    private let keys: NodeKeys

    init() throws {
        openssl = try OpenSSLFolder()
        try openssl.openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ca.key", "-out", "ca.crt",
            "-subj",
            "/O=Example/CN=Root", "-days", "30")
        folder = "\(openssl.path)/node"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
        keys = try NodeKeys(in: folder)
    }

    private func sign(_ csr: String, days: Int = 10, by authority: String = "ca") throws -> String {
        try openssl.write(csr, "node.csr")
        try openssl.openssl(
            "x509", "-req", "-in", "node.csr", "-CA", "\(authority).crt", "-CAkey", "\(authority).key", "-CAcreateserial", "-days",
            "\(days)",
            "-copy_extensions", "copy", "-out", "signed.crt")
        return try openssl.text("signed.crt")
    }

    private func string() throws -> EnrolmentString {
        let der = try #require(PEM.decodeFirst(openssl.text("ca.crt"), labels: ["CERTIFICATE"]))
        try openssl.write(der, "ca.der")
        let digits = try openssl.openssl("dgst", "-sha256", "-r", "ca.der").prefix(64)
        var string = EnrolmentStringTests.string
        string.fingerprint = try #require(Hexadecimal.decode(digits))
        return string
    }

    private func identity(_ answer: JSON, name: String = "ra.example.com") throws -> NodeIdentity {
        try NodeIdentity(directory: folder, keys: keys, string: try string(), commonName: name, answer: answer)
    }

    @Test("its CSR is one that OpenSSL verifies, with name and alternative names; its keys stay the same on a second try")
    func signingRequest() throws {
        try openssl.write(try keys.signingRequest(commonName: "ra.example.com", names: ["ra.example.com", "192.0.2.1"]), "a.csr")
        let text = try openssl.openssl("req", "-in", "a.csr", "-verify", "-noout", "-text")
        #expect(text.contains("CN = ra.example.com") && text.contains("DNS:ra.example.com, IP Address:192.0.2.1"), "\(text)")
        let again = try NodeKeys(in: folder)
        #expect(again.curve == keys.curve && again.certificateKey.rawRepresentation == keys.certificateKey.rawRepresentation)
        for name in ["node.key", "curve.key"] {
            let mode = try FileManager.default.attributesOfItem(atPath: "\(folder)/\(name)")[.posixPermissions] as? Int
            #expect(mode == 0o600)
        }
    }

    @Test("is written, and read as it was written")
    func roundTrip() throws {
        let answer: JSON = [
            "certificate": .string(try sign(keys.signingRequest(commonName: "ra.example.com"))),
            "ca_certificate": .string(try openssl.text("ca.crt")),
        ]
        let identity = try identity(answer)
        #expect(!NodeIdentity.exists(in: folder))
        try identity.write()
        let read = try NodeIdentity(reading: folder)
        #expect(read.commonName == "ra.example.com" && read.servers == EnrolmentStringTests.servers && read.token == identity.token)
        #expect(read.certificate == identity.certificate && read.curve == keys.curve && read.serial == identity.serial)
        #expect(try openssl.openssl("verify", "-CAfile", "\(folder)/ca.crt", "\(folder)/node.crt").hasSuffix("node.crt: OK\n"))
    }

    @Test("takes no answer of another CA, for another key or another name, and nothing that is not there")
    func refusals() throws {
        let good = try sign(keys.signingRequest(commonName: "ra.example.com"))
        let authority = try openssl.text("ca.crt")
        func code(_ certificate: String?, _ authority: String?, name: String = "ra.example.com") -> EnrolmentError.Code? {
            var members: [JSON.Member] = []
            if let certificate { members.append(.init("certificate", .string(certificate))) }
            if let authority { members.append(.init("ca_certificate", .string(authority))) }
            do {
                _ = try identity(.object(members), name: name)
                return nil
            } catch { return (error as? EnrolmentError)?.code }
        }
        #expect(code(good, authority) == nil)
        #expect(code(nil, authority) == .invalidAnswer && code(good, nil) == .invalidAnswer && code("x", authority) == .invalidAnswer)
        #expect(code(good, authority, name: "other.example.com") == .invalidAnswer)
        // A CA of the same name with another key: once as it is, once behind the true one's certificate.
        try openssl.openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "evil.key", "-out", "evil.crt",
            "-subj",
            "/O=Example/CN=Root", "-days", "30")
        let forged = try sign(keys.signingRequest(commonName: "ra.example.com"), by: "evil")
        #expect(code(forged, try openssl.text("evil.crt")) == .otherAuthority)
        #expect(code(forged, authority) == .invalidAnswer)
        // Another key's certificate.
        let other = "\(openssl.path)/other"
        try FileManager.default.createDirectory(atPath: other, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
        #expect(code(try sign(NodeKeys(in: other).signingRequest(commonName: "ra.example.com")), authority) == .invalidAnswer)
    }

    @Test("others must not be able to read it, and half a folder is none")
    func modes() throws {
        #expect(throws: EnrolmentError(.invalidIdentity, "")) { _ = try NodeIdentity(reading: folder) }
        #expect(throws: EnrolmentError(.invalidIdentity, "")) { _ = try NodeIdentity(reading: "\(folder)/nothing") }
        try identity([
            "certificate": .string(try sign(keys.signingRequest(commonName: "ra.example.com"))),
            "ca_certificate": .string(try openssl.text("ca.crt")),
        ]).write()
        for name in ["node.key", "curve.key", "node.json", "."] {
            let mode = name == "." ? 0o700 : 0o600
            chmod("\(folder)/\(name)", mode_t(mode | 0o040))
            let error = #expect(throws: EnrolmentError.self) { _ = try NodeIdentity(reading: folder) }
            #expect(error?.message.contains("chmod") == true)
            chmod("\(folder)/\(name)", mode_t(mode))
        }
        _ = try NodeIdentity(reading: folder)
    }

    @Test("takes a renewed certificate for the same key and name, and keeps the old one otherwise")
    func renewal() throws {
        let csr = try keys.signingRequest(commonName: "ra.example.com")
        var identity = try identity(["certificate": .string(try sign(csr)), "ca_certificate": .string(try openssl.text("ca.crt"))])
        try identity.write()
        let renewed = try sign(csr, days: 20)
        #expect(throws: EnrolmentError.self) { try identity.take(renewed: try sign(keys.signingRequest(commonName: "x"), days: 20)) }
        #expect(throws: EnrolmentError.self) { try identity.take(renewed: try sign(csr, days: 5)) }
        #expect(try NodeIdentity(reading: folder).certificate == identity.certificate)
        try identity.take(renewed: renewed)
        #expect(try NodeIdentity(reading: folder).certificate == identity.certificate)
        let theirs = try openssl.openssl("x509", "-in", "\(folder)/node.crt", "-noout", "-enddate", "-dateopt", "iso_8601")
        #expect(theirs == "notAfter=\(identity.notAfter.rfc3339.replacingOccurrences(of: "T", with: " "))\n")
    }

    @Test("follows the CA to its next keys, and keeps the address that it was given by hand")
    func transport() throws {
        var identity = try identity([
            "certificate": .string(try sign(keys.signingRequest(commonName: "ra.example.com"))),
            "ca_certificate": .string(try openssl.text("ca.crt")),
        ])
        try identity.write()
        func transport(_ next: JSON) -> JSON {
            [
                "addresses": ["198.51.100.7"], "port": .integer(5_000), "registrar_port": .integer(5_001),
                "core_key": .string(EnrolmentStringTests.coreKey),
                "registrar_key": .string(EnrolmentStringTests.registrarKey), "next": next,
            ]
        }
        #expect(try identity.take(transport: transport(.null)))
        #expect(try !identity.take(transport: transport(.null)))
        let next: JSON = [
            "number": .integer(1), "port": .integer(5_010), "registrar_port": .integer(5_011),
            "core_key": .string(EnrolmentStringTests.registrarKey),
            "registrar_key": .string(EnrolmentStringTests.coreKey),
        ]
        #expect(try identity.take(transport: transport(next)))
        let servers = try NodeIdentity(reading: folder).servers
        #expect(
            servers.hosts == EnrolmentStringTests.servers.hosts + ["198.51.100.7"] && servers.sets.map(\.port) == [5_000, 5_010, 5_000])
        #expect(throws: EnrolmentError.self) { _ = try identity.take(transport: ["addresses": []]) }
        #expect(try NodeIdentity(reading: folder).servers == servers)
    }
}
