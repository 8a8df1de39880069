// What a node keeps of its registration, in a folder of its own.

import Crypto
import DurableFiles
import Glibc
public import PKI
import SwiftASN1
public import UPKIProtocol
import X509
public import ZeroMQ

/// A registered node, as its folder holds it.
///
/// The folder (mode 0700) has `node.key` and `curve.key` (the node's secrets), `node.crt`, `ca.crt`, and `node.json`: the CA's addresses
/// and CURVE keys, its fingerprint, the node's name and the token that it was registered with. `node.json` is written last.
public struct NodeIdentity: Sendable {
    /// The names of the files.
    public enum File {
        public static let key = "node.key"
        public static let curve = "curve.key"
        public static let certificate = "node.crt"
        public static let authority = "ca.crt"
        public static let facts = "node.json"
    }

    public let directory: String
    public let keys: NodeKeys
    public let commonName: String
    /// In PEM.
    public private(set) var certificate: String
    /// The CA certificate, in PEM.
    public let authority: String
    /// SHA-256 of the CA certificate's DER.
    public let fingerprint: [UInt8]
    /// What it was registered with: used up, and still what an RA's own `register` is known by.
    public let token: String
    public private(set) var servers: ServerAddresses
    public private(set) var serial: SerialNumber
    public private(set) var notBefore: UnixTime
    public private(set) var notAfter: UnixTime

    public var curve: ZMQCurveKeyPair { keys.curve }

    /// Whether a folder holds a registered node.
    public static func exists(in directory: String) -> Bool { access("\(directory)/\(File.facts)", F_OK) == 0 }

    /// Takes what `register` answered, once it is what was asked for.
    ///
    /// - Throws: `.otherAuthority` where the CA certificate has another fingerprint, `.invalidAnswer` where the certificate is not by
    ///   that CA, for this key or for this name.
    public init(directory: String, keys: NodeKeys, string: EnrolmentString, commonName: String, answer: JSON) throws(EnrolmentError) {
        guard let certificate = answer["certificate"]?.stringValue, let authority = answer["ca_certificate"]?.stringValue else {
            throw EnrolmentError(.invalidAnswer, "the answer to register holds no certificate")
        }
        try self.init(
            directory: directory, keys: keys, commonName: commonName, certificate: certificate, authority: authority,
            fingerprint: string.fingerprint, token: string.token, servers: string.servers)
    }

    private init(
        directory: String, keys: NodeKeys, commonName: String, certificate: String, authority: String, fingerprint: [UInt8], token: String,
        servers: ServerAddresses
    ) throws(EnrolmentError) {
        let checked = try CheckedCertificate(
            certificate, authority: authority, fingerprint: fingerprint, key: keys.certificateKey, commonName: commonName)
        self.directory = directory
        self.keys = keys
        self.commonName = commonName
        self.certificate = checked.pem
        self.authority = checked.authorityPEM
        self.fingerprint = fingerprint
        self.token = token
        self.servers = servers
        serial = checked.serial
        notBefore = checked.notBefore
        notAfter = checked.notAfter
    }

    /// The subject of a certificate, in slash notation; nil where it cannot be read.
    public static func subject(of der: [UInt8]) -> String? {
        guard let certificate = try? Certificate(derEncoded: der) else { return nil }
        return PKI.DistinguishedName(certificate.subject).slashNotation
    }

    // MARK: Reading and writing

    /// - Throws: `.invalidIdentity` in a line that says what to do.
    public init(reading directory: String) throws(EnrolmentError) {
        do throws(DurableFileError) { try PrivateDirectory.check(directory) } catch {
            guard error.code != .notFound else {
                throw EnrolmentError(.invalidIdentity, "\(directory) is not there; make a node: ca-ctl enroll - --out \(directory)")
            }
            throw EnrolmentError(.invalidIdentity, error.message)
        }
        guard Self.exists(in: directory) else {
            throw EnrolmentError(.invalidIdentity, "\(directory) holds no registered node; make one: ca-ctl enroll - --out \(directory)")
        }
        func read(_ name: String) throws(EnrolmentError) -> String {
            do throws(DurableFileError) {
                return String(decoding: try PrivateFile.read("\(directory)/\(name)", limit: 256 << 10), as: UTF8.self)
            } catch {
                throw EnrolmentError(.invalidIdentity, error.message)
            }
        }
        let text = try read(File.facts)
        let json: JSON
        do throws(JSONError) { json = try JSON(parsing: Array(text.utf8)) } catch {
            throw EnrolmentError(.invalidIdentity, "\(directory)/\(File.facts): \(error.message)")
        }
        guard let servers = ServerAddresses(json: json), let name = json["cn"]?.stringValue, let token = json["token"]?.stringValue,
            let fingerprint = json["ca"]?.stringValue.flatMap({ Hexadecimal.decode($0) }), fingerprint.count == 32
        else {
            throw EnrolmentError(.invalidIdentity, "\(directory)/\(File.facts) is not what ca-ctl enroll wrote; enrol the node again")
        }
        try self.init(
            directory: directory, keys: try NodeKeys(in: directory), commonName: name, certificate: try read(File.certificate),
            authority: try read(File.authority), fingerprint: fingerprint, token: token, servers: servers)
    }

    /// Writes what is not there yet, durable when it returns; the keys are.
    public func write() throws(EnrolmentError) {
        try write(certificate, File.certificate)
        try write(authority, File.authority)
        try writeFacts()
    }

    private func writeFacts() throws(EnrolmentError) {
        var members: [JSON.Member] = [.init("cn", .string(commonName)), .init("ca", .string(Hexadecimal.encode(fingerprint)))]
        members += servers.json.objectValue ?? []
        members.append(.init("token", .string(token)))
        try write(JSON.object(members).text + "\n", File.facts)
    }

    private func write(_ text: String, _ name: String) throws(EnrolmentError) {
        do throws(DurableFileError) { try PrivateFile.write(Array(text.utf8), to: "\(directory)/\(name)") } catch {
            throw EnrolmentError(.system, error.message)
        }
    }

    // MARK: Later changes

    /// Takes a renewed certificate, for the same key and name, and writes it.
    ///
    /// - Throws: as for the first one; the old one stays then.
    public mutating func take(renewed pem: String) throws(EnrolmentError) {
        let checked = try CheckedCertificate(
            pem, authority: authority, fingerprint: fingerprint, key: keys.certificateKey, commonName: commonName)
        guard checked.notAfter >= notAfter else {
            throw EnrolmentError(.invalidAnswer, "the renewed certificate ends before the one that it replaces")
        }
        certificate = checked.pem
        serial = checked.serial
        notBefore = checked.notBefore
        notAfter = checked.notAfter
        try write(certificate, File.certificate)
    }

    /// Takes what the CA, asked over CURVE, says of its own addresses and keys, and writes it where it is news. Addresses that were given
    /// by hand or by the enrolment string stay: the CA may not know by which name it is reached.
    ///
    /// - Returns: whether it was news.
    public mutating func take(transport: JSON) throws(EnrolmentError) -> Bool {
        var news = try ServerAddresses(transport: transport)
        news.hosts = servers.hosts + news.hosts.filter { !servers.hosts.contains($0) }.prefix(ServerAddresses.mostHosts - servers.hosts.count)
        guard news != servers else { return false }
        servers = news
        try writeFacts()
        return true
    }
}

/// A node's certificate that was held against the CA's, the key and the name.
struct CheckedCertificate {
    let pem: String
    let authorityPEM: String
    let serial: SerialNumber
    let notBefore: UnixTime
    let notAfter: UnixTime

    init(
        _ pem: String, authority: String, fingerprint: [UInt8], key: P256.Signing.PrivateKey, commonName: String
    ) throws(EnrolmentError) {
        guard let authorityDER = PEM.decodeFirst(authority, labels: ["CERTIFICATE"]), let issuer = Self.certificate(authorityDER) else {
            throw EnrolmentError(.invalidAnswer, "the CA certificate cannot be read")
        }
        guard Array(SHA256.hash(data: authorityDER)) == fingerprint else {
            throw EnrolmentError(
                .otherAuthority, "the answer is another CA's: its certificate does not have the fingerprint of the enrolment string; nothing was kept of it")
        }
        guard let der = PEM.decodeFirst(pem, labels: ["CERTIFICATE"]), let certificate = Self.certificate(der) else {
            throw EnrolmentError(.invalidAnswer, "the node's certificate cannot be read")
        }
        guard certificate.issuer == issuer.subject, issuer.publicKey.isValidSignature(certificate.signature, for: certificate) else {
            throw EnrolmentError(.invalidAnswer, "the node's certificate is not signed by the CA")
        }
        guard certificate.publicKey == Certificate.PublicKey(key.publicKey) else {
            throw EnrolmentError(.invalidAnswer, "the certificate is for another key than this node's")
        }
        guard let name = PKI.DistinguishedName(certificate.subject).commonName, name == commonName else {
            throw EnrolmentError(.invalidAnswer, "the certificate is for another name than \(commonName)")
        }
        guard let serial = SerialNumber(bytes: Array(certificate.serialNumber.bytes)) else {
            throw EnrolmentError(.invalidAnswer, "the certificate's serial number cannot be read")
        }
        self.pem = PEM.encode(der, label: "CERTIFICATE")
        authorityPEM = PEM.encode(authorityDER, label: "CERTIFICATE")
        self.serial = serial
        notBefore = UnixTime(Int64(certificate.notValidBefore.timeIntervalSince1970))
        notAfter = UnixTime(Int64(certificate.notValidAfter.timeIntervalSince1970))
    }

    private static func certificate(_ der: [UInt8]) -> Certificate? { try? Certificate(derEncoded: der) }
}
