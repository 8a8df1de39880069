// What the tests of OCSP messages share: octets by hand, requests that real clients made, and openssl as client and responder.

import Foundation
import RevocationFormats
import Testing

/// Octets from hexadecimal digits.
func octets(_ hex: String) -> [UInt8] {
    var octets: [UInt8] = []
    var rest = hex[...]
    while let octet = UInt8(rest.prefix(2), radix: 16), rest.count >= 2 {
        octets.append(octet)
        rest = rest.dropFirst(2)
    }
    return octets
}

/// A DER value of its parts, with the fewest length octets; at most 65,535 octets of content.
func der(_ tag: UInt8, _ parts: [UInt8]...) -> [UInt8] {
    let content = parts.flatMap { $0 }
    let length: [UInt8] =
        switch content.count {
        case ..<0x80: [UInt8(content.count)]
        case ..<0x100: [0x81, UInt8(content.count)]
        default: [0x82, UInt8(content.count >> 8), UInt8(content.count & 0xFF)]
        }
    return [tag] + length + content
}

/// Reads a request from an array.
func read(_ request: [UInt8]) throws(OCSPRequestError) -> OCSPRequest {
    let result = request.withUnsafeBytes { bytes -> Result<OCSPRequest, OCSPRequestError> in
        do throws(OCSPRequestError) { return .success(try OCSPRequest(der: bytes)) } catch { return .failure(error) }
    }
    return try result.get()
}

extension OCSPIssuer {
    func plainRequest(_ request: [UInt8]) -> OCSPPlainRequest? {
        request.withUnsafeBytes { self.plainRequest($0) }
    }
}

/// Requests for one certificate of one CA, as real clients made them.
enum RealRequest {
    static let nameSHA1 = octets("0338785f8b3ab281468b3b9c27a285ecef4bfc0a")
    static let keySHA1 = octets("3a18a81a5da02cc36eda7d35bd663e8ebfed9c5b")
    static let nameSHA256 = octets("e69327bca8fc0062ec6fb2a9a1486121b62533d2db3b0e4bf8fadd5dc1a4e7fd")
    static let keySHA256 = octets("0f247462f84e297c23285905bf39bdf8a1f6a7c1024da177c6b0863bd81fd12f")
    static let serialNumber = octets("0123456789abcdef0123456789abcdef01234567")

    static let issuer = OCSPIssuer(nameSHA1: nameSHA1, keySHA1: keySHA1, nameSHA256: nameSHA256, keySHA256: keySHA256)

    /// `openssl ocsp -no_nonce` 3.0, `ocsptool --generate-request` of GnuTLS 3.7, the JDK 17 and Python's cryptography 48 all make these octets.
    static let sha1 = octets(
        "305530533051304f304d300906052b0e03021a050004140338785f8b3ab281468b3b9c27a285ecef4bfc0a04143a18a81a5da02cc36eda7d35bd663e8ebfed9c5b"
            + "02140123456789abcdef0123456789abcdef01234567")

    /// `openssl ocsp -sha256 -no_nonce` and Python's cryptography.
    static let sha256 = octets(
        "3071306f306d306b3069300d060960864801650304020105000420e69327bca8fc0062ec6fb2a9a1486121b62533d2db3b0e4bf8fadd5dc1a4e7fd"
            + "04200f247462f84e297c23285905bf39bdf8a1f6a7c1024da177c6b0863bd81fd12f02140123456789abcdef0123456789abcdef01234567")

    /// The JDK 17 with a nonce of 16 octets.
    static let sha1WithNonce = octets(
        "307a30783051304f304d300906052b0e03021a050004140338785f8b3ab281468b3b9c27a285ecef4bfc0a04143a18a81a5da02cc36eda7d35bd663e8ebfed9c5b"
            + "02140123456789abcdef0123456789abcdef01234567a2233021301f06092b0601050507300102041204107c13c6ab27775b7bad9c2dd0ef7fee01")

    /// Python's cryptography with a nonce of 32 octets, 0 to 31.
    static let sha256WithNonce = octets(
        "3081a73081a4306d306b3069300d060960864801650304020105000420e69327bca8fc0062ec6fb2a9a1486121b62533d2db3b0e4bf8fadd5dc1a4e7fd"
            + "04200f247462f84e297c23285905bf39bdf8a1f6a7c1024da177c6b0863bd81fd12f02140123456789abcdef0123456789abcdef01234567"
            + "a2333031302f06092b060105050730010204220420000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f")
}

/// Requests by hand, each part of which can be another one.
enum HandmadeRequest {
    static let sha1 = octets("300906052b0e03021a0500")
    static let nonceIdentifier = octets("06092b0601050507300102")
    /// 1.2.3.4, which nobody knows.
    static let unknownIdentifier = octets("06032a0304")

    static func certID(
        algorithm: [UInt8] = sha1, name: [UInt8] = RealRequest.nameSHA1, key: [UInt8] = RealRequest.keySHA1, serialNumber: [UInt8] = [7]
    ) -> [UInt8] {
        der(0x30, algorithm, der(0x04, name), der(0x04, key), der(0x02, serialNumber))
    }

    static func single(_ certID: [UInt8] = certID(), extensions: [UInt8] = []) -> [UInt8] {
        der(0x30, certID, extensions)
    }

    static func request(
        version: [UInt8] = [], requestorName: [UInt8] = [], list: [UInt8] = der(0x30, single()), extensions: [UInt8] = [],
        signature: [UInt8] = []
    ) -> [UInt8] {
        der(0x30, der(0x30, version, requestorName, list, extensions), signature)
    }

    static func extensions(_ tag: UInt8 = 0xA2, _ list: [UInt8]...) -> [UInt8] {
        der(tag, der(0x30, list.flatMap { $0 }))
    }

    static func nonce(_ value: [UInt8], critical: [UInt8] = []) -> [UInt8] {
        der(0x30, nonceIdentifier, critical, der(0x04, value))
    }

    static func unknown(critical: [UInt8] = []) -> [UInt8] {
        der(0x30, unknownIdentifier, critical, der(0x04, [0x05, 0x00]))
    }

    static let critical: [UInt8] = [0x01, 0x01, 0xFF]
}

/// A CA of openssl's with a delegated responder, and what `openssl ocsp` makes and reads.
struct OpenSSLResponder {
    let authority: OpenSSLAuthority
    let certificate: [UInt8]
    var folder: TemporaryFolder { self.authority.folder }

    init() throws {
        self.authority = try OpenSSLAuthority()
        let folder = self.authority.folder
        try folder.write("extendedKeyUsage = OCSPSigning\nkeyUsage = critical,digitalSignature\n", to: "responder.cnf")
        try folder.openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "responder.key")
        try folder.openssl("req", "-new", "-config", "ca.cnf", "-key", "responder.key", "-subj", "/CN=responder", "-out", "responder.csr")
        try folder.openssl(
            "x509", "-req", "-in", "responder.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-set_serial", "1", "-days", "2", "-extfile",
            "responder.cnf",
            "-out", "responder.pem")
        try folder.openssl("x509", "-in", "responder.pem", "-outform", "DER", "-out", "responder.der")
        self.certificate = try folder.read("responder.der")
    }

    /// A request by `openssl ocsp`.
    ///
    /// - parameter arguments: A digest, `-nonce` or `-no_nonce`, and `-serial N` for each certificate.
    func request(_ arguments: [String]) throws -> [UInt8] {
        try self.run(["ocsp", "-reqout", "request.der", "-issuer", "ca.pem"] + arguments)
        return try self.folder.read("request.der")
    }

    /// The response of `openssl ocsp` as responder.
    ///
    /// - parameters:
    ///     - index: Lines of openssl's database.
    ///     - named: Whether the responder is named by its name instead of its key.
    func response(to request: [UInt8], index: String, named: Bool = false, _ arguments: String...) throws -> [UInt8] {
        try self.folder.write(request, to: "request.der")
        try self.folder.write(index, to: "index.txt")
        try self.run(
            [
                "ocsp", "-index", "index.txt", "-CA", "ca.pem", "-rsigner", "responder.pem", "-rkey", "responder.key", "-rmd", "sha256",
                "-reqin", "request.der", "-respout", "response.der",
            ] + (named ? [] : ["-resp_key_id"]) + arguments)
        return try self.folder.read("response.der")
    }

    /// An ECDSA-Sig-Value by `openssl dgst`.
    func sign(_ bytes: [UInt8]) throws -> [UInt8] {
        try self.folder.write(bytes, to: "signed")
        try self.folder.openssl("dgst", "-sha256", "-sign", "responder.key", "-out", "signature", "signed")
        return try self.folder.read("signature")
    }

    /// What `openssl ocsp` says of a response, with its text; nonce and signature must be right. `-no_nonce`: it would add another to the request.
    func verdict(on response: [UInt8], to request: [UInt8], _ arguments: String...) throws -> String {
        try self.folder.write(request, to: "request.der")
        try self.folder.write(response, to: "response.der")
        return try self.run(
            [
                "ocsp", "-issuer", "ca.pem", "-CAfile", "ca.pem", "-reqin", "request.der", "-respin", "response.der", "-resp_text",
                "-no_nonce",
            ] + arguments
        )
    }

    @discardableResult
    private func run(_ arguments: [String]) throws -> String {
        let printed = try self.folder.openssl(arguments)
        return printed.output + printed.error
    }

    /// The template of this responder, with the key hash that openssl computes.
    func template(keyHash: [UInt8]) -> OCSPResponseTemplate {
        OCSPResponseTemplate(responderKeyHash: keyHash, certificate: self.certificate)
    }

    /// SHA-1 over the public key's bits, as `openssl` makes both.
    func keyHash() throws -> [UInt8] {
        try self.folder.openssl("x509", "-in", "responder.pem", "-noout", "-pubkey", "-out", "responder.pub")
        try self.folder.openssl("pkey", "-pubin", "-in", "responder.pub", "-outform", "DER", "-out", "responder.spki")
        // The 26 octets before the point are those of the algorithm and the headers (RFC 5480 2).
        try self.folder.write(self.folder.read("responder.spki").dropFirst(26), to: "responder.point")
        try self.folder.openssl("dgst", "-sha1", "-binary", "-out", "responder.hash", "responder.point")
        return try self.folder.read("responder.hash")
    }
}

/// Bytes that are refused, and why. A run names it by the reason: some are long.
struct Refused: CustomTestStringConvertible, Sendable {
    let reason: String
    let bytes: [UInt8]

    var testDescription: String { "\(self.reason) (\(self.bytes.count) octets)" }
}
