// The one line that an operator hands to whoever installs a node: where the CA is, which keys prove it, and a token.

import Crypto
import PKI
public import UPKIProtocol

/// An enrolment string: `upkienroll1.<base64url of JSON>.<checksum>`.
///
/// The JSON object has `hosts` and `keys` as ``ServerAddresses`` has them, `ca` (SHA-256 of the CA certificate's DER, hexadecimal),
/// `token` and, where the token is for one name, `cn`. The checksum is the first six bytes of the SHA-256 of all that stands before the
/// last dot, in base64url: it finds slips of copying, and protects against nobody.
public struct EnrolmentString: Sendable, Equatable {
    public var servers: ServerAddresses
    /// SHA-256 of the CA certificate's DER.
    public var fingerprint: [UInt8]
    /// A secret until it was used.
    public var token: String
    /// The only name that it is good for; nil for any.
    public var commonName: String?

    private static let prefix = "upkienroll1"
    private static let family = "upkienroll"
    private static let longest = 4_096

    public init(servers: ServerAddresses, fingerprint: [UInt8], token: String, commonName: String?) {
        self.servers = servers
        self.fingerprint = fingerprint
        self.token = token
        self.commonName = commonName
    }

    /// From the answer to `open_registration`.
    ///
    /// - Throws: `.invalidAnswer` where it holds no token or no transport that a node could use.
    public init(openedRegistration answer: JSON) throws(EnrolmentError) {
        let transport = answer["transport"] ?? .null
        guard let token = answer["token"]?.stringValue, let digits = transport["fingerprint"]?.stringValue,
            let fingerprint = Hexadecimal.decode(digits), fingerprint.count == 32
        else { throw EnrolmentError(.invalidAnswer, "the CA's answer holds no token or no fingerprint") }
        self.init(
            servers: try ServerAddresses(transport: transport), fingerprint: fingerprint, token: token,
            commonName: answer["cn"]?.stringValue)
    }

    /// One line without spaces; it holds the token.
    public var text: String {
        var members = servers.json.objectValue ?? []
        members.append(.init("ca", .string(Hexadecimal.encode(fingerprint))))
        members.append(.init("token", .string(token)))
        if let commonName { members.append(.init("cn", .string(commonName))) }
        let body = "\(Self.prefix).\(Self.base64URL(JSON.object(members).encoded))"
        return "\(body).\(Self.checksum(body))"
    }

    /// Reads one; spaces and line breaks, as a mail or a terminal may add them, are passed over.
    ///
    /// - Throws: `.invalidString` in one line that never repeats what was given.
    public init(parsing text: String) throws(EnrolmentError) {
        guard text.utf8.count <= Self.longest * 2 else { throw Self.refused("it is too long to be an enrolment string") }
        let text = String(text.unicodeScalars.filter { !$0.properties.isWhitespace })
        guard text.hasPrefix(Self.family) else { throw Self.refused("an enrolment string begins with \(Self.prefix).") }
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts[0] == Self.prefix else {
            throw Self.refused("it was made by another version of ca-ctl (\(parts[0].prefix(20))); use that version here too")
        }
        guard parts.count == 3, text.utf8.count <= Self.longest, Self.checksum("\(parts[0]).\(parts[1])") == String(parts[2]),
            let body = Self.bytes(base64URL: parts[1])
        else { throw Self.refused("it was damaged or cut on its way here; copy the whole line again") }
        let json: JSON
        do throws(JSONError) { json = try JSON(parsing: body) } catch { throw Self.refused("it holds no JSON") }
        guard let servers = ServerAddresses(json: json), let fingerprint = json["ca"]?.stringValue.flatMap({ Hexadecimal.decode($0) }),
            fingerprint.count == 32, let token = json["token"]?.stringValue, (1...200).contains(token.utf8.count)
        else { throw Self.refused("something that belongs into it is missing or wrong; make another one: ca-ctl registrar open") }
        if let name = json["cn"], name.stringValue == nil { throw Self.refused("its name is none; make another one: ca-ctl registrar open") }
        self.init(servers: servers, fingerprint: fingerprint, token: token, commonName: json["cn"]?.stringValue)
    }

    private static func refused(_ line: String) -> EnrolmentError { EnrolmentError(.invalidString, "no enrolment string: \(line)") }

    private static func checksum(_ text: String) -> String { base64URL(Array(SHA256.hash(data: Array(text.utf8)).prefix(6))) }

    /// RFC 4648, section 5, without padding.
    private static func base64URL(_ bytes: [UInt8]) -> String {
        let text = String(decoding: Base64.encode(bytes), as: UTF8.self)
        return String(text.compactMap { $0 == "+" ? "-" : $0 == "/" ? "_" : $0 == "=" ? nil : $0 })
    }

    /// The one spelling that ``base64URL(_:)`` gives, and no other.
    private static func bytes(base64URL text: Substring) -> [UInt8]? {
        let padded = text.map { $0 == "-" ? "+" : $0 == "_" ? "/" : $0 } + Array(repeating: "=", count: (4 - text.utf8.count % 4) % 4)
        guard let bytes = Base64.decode(String(padded).utf8), base64URL(bytes) == text else { return nil }
        return bytes
    }
}
