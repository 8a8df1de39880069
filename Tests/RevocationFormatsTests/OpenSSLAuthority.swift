// A throw-away CA made by the openssl command, and the command itself: the outside source of these tests.

import Foundation
import TestPrograms

/// Runs the openssl command in a folder.
struct OpenSSL {
    struct Failure: Error {
        var arguments: [String]
        var output: String
    }

    var folder: URL

    /// - returns: Standard output and standard error.
    @discardableResult
    func callAsFunction(_ arguments: String...) throws -> (output: String, error: String) {
        try self(arguments)
    }

    /// - returns: Standard output and standard error.
    @discardableResult
    func callAsFunction(_ arguments: [String]) throws -> (output: String, error: String) {
        let finished = try ProgramRun.run(["openssl"] + arguments, in: self.folder.path)
        guard finished.code == 0 else { throw Failure(arguments: arguments, output: finished.output + finished.errors) }
        return (finished.output, finished.errors)
    }
}

/// A folder that goes when its last user goes.
final class TemporaryFolder {
    let url: URL
    let openssl: OpenSSL

    init() throws {
        self.url = FileManager.default.temporaryDirectory.appending(path: "revocation-formats-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: self.url, withIntermediateDirectories: true)
        self.openssl = OpenSSL(folder: self.url)
    }

    deinit {
        try? FileManager.default.removeItem(at: self.url)
    }

    func write(_ bytes: some Sequence<UInt8>, to name: String) throws {
        try Data(bytes).write(to: self.url.appending(path: name))
    }

    func write(_ text: String, to name: String) throws {
        try self.write(text.utf8, to: name)
    }

    func read(_ name: String) throws -> [UInt8] {
        try [UInt8](Data(contentsOf: self.url.appending(path: name)))
    }

    /// The DER that `openssl asn1parse -genstr` makes of a description.
    func der(_ description: String) throws -> [UInt8] {
        try self.openssl("asn1parse", "-genstr", description, "-noout", "-out", "genstr.der")
        return try self.read("genstr.der")
    }
}

/// A CA with a P-256 key whose CRLs `openssl ca` makes.
final class OpenSSLAuthority {
    let folder: TemporaryFolder
    /// The CA certificate's subject key identifier, as openssl prints it.
    let keyIdentifier: [UInt8]

    /// AlgorithmIdentifier of ecdsa-with-SHA256 (RFC 5758 3.2), 1.2.840.10045.4.3.2 without parameters.
    static let ecdsaWithSHA256: [UInt8] = [0x30, 0x0A, 0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, 0x02]

    /// The DER of `C=FR, O=Test, CN=Test CA`, as openssl encodes it: a PrintableString and two UTF8Strings.
    static let name: [UInt8] =
        [0x30, 0x2E]
        + [0x31, 0x0B, 0x30, 0x09, 0x06, 0x03, 0x55, 0x04, 0x06, 0x13, 0x02] + Array("FR".utf8)
        + [0x31, 0x0D, 0x30, 0x0B, 0x06, 0x03, 0x55, 0x04, 0x0A, 0x0C, 0x04] + Array("Test".utf8)
        + [0x31, 0x10, 0x30, 0x0E, 0x06, 0x03, 0x55, 0x04, 0x03, 0x0C, 0x07] + Array("Test CA".utf8)

    init() throws {
        self.folder = try TemporaryFolder()
        try self.folder.write(
            """
            [req]
            distinguished_name = dn
            x509_extensions = v3
            [dn]
            [v3]
            basicConstraints = critical,CA:TRUE
            keyUsage = critical,keyCertSign,cRLSign
            subjectKeyIdentifier = hash
            [ca]
            default_ca = authority
            [authority]
            database = index.txt
            crlnumber = crlnumber
            default_md = sha256
            [crl]
            authorityKeyIdentifier = keyid:always
            """,
            to: "ca.cnf"
        )
        let openssl = self.folder.openssl
        try openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "ca.key")
        try openssl(
            "req", "-new", "-x509", "-config", "ca.cnf", "-key", "ca.key", "-sha256", "-utf8", "-subj", "/C=FR/O=Test/CN=Test CA",
            "-days", "3650", "-out", "ca.pem"
        )
        let printed = try openssl("x509", "-in", "ca.pem", "-noout", "-ext", "subjectKeyIdentifier").output
        let hex = printed.split(separator: "\n").last?.trimmingCharacters(in: .whitespaces) ?? ""
        self.keyIdentifier = hex.split(separator: ":").compactMap { UInt8($0, radix: 16) }
    }

    /// The DER of the CRL that `openssl ca -gencrl` makes.
    ///
    /// - parameters:
    ///     - revoked: Lines of openssl's database: `revocationDate[,reason[,…]]` and the serial number in hexadecimal.
    ///     - number: The CRL number in hexadecimal.
    ///     - thisUpdate: `YYYYMMDDHHMMSSZ`, likewise `nextUpdate`.
    func opensslCRL(
        revoked: [(date: String, serialNumber: String)],
        number: String,
        thisUpdate: String = "20250101000000Z",
        nextUpdate: String = "20250108000000Z"
    ) throws -> [UInt8] {
        let lines = revoked.map { "R\t351231235959Z\t\($0.date)\t\($0.serialNumber)\tunknown\t/CN=x\n" }
        try self.folder.write(lines.joined(), to: "index.txt")
        try self.folder.write(number + "\n", to: "crlnumber")
        try self.folder.openssl(
            "ca", "-gencrl", "-config", "ca.cnf", "-keyfile", "ca.key", "-cert", "ca.pem", "-crlexts", "crl",
            "-crl_lastupdate", thisUpdate, "-crl_nextupdate", nextUpdate, "-out", "openssl.pem"
        )
        try self.folder.openssl("crl", "-in", "openssl.pem", "-outform", "DER", "-out", "openssl.der")
        return try self.folder.read("openssl.der")
    }

    /// The signature of a file's bytes, as `openssl dgst` makes it.
    func sign(file name: String) throws -> [UInt8] {
        try self.folder.openssl("dgst", "-sha256", "-sign", "ca.key", "-out", "\(name).sig", name)
        return try self.folder.read("\(name).sig")
    }

    /// Whether `openssl crl -verify` accepts the signature of a DER file.
    func verifies(file name: String) throws -> Bool {
        let printed = try self.folder.openssl("crl", "-inform", "DER", "-in", name, "-CAfile", "ca.pem", "-noout", "-verify")
        return (printed.output + printed.error).contains("verify OK")
    }

    /// What `openssl crl -text` prints, each line trimmed.
    func print(file name: String) throws -> [String] {
        try self.folder.openssl("crl", "-inform", "DER", "-in", name, "-text", "-noout").output
            .split(separator: "\n").map { $0.trimmingCharacters(in: .whitespaces) }
    }
}
