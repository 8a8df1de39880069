// What the responder and ca-core say to each other on ocsp.sock and events.sock (docs/PROTOCOL.md), as types.
import PKI
package import RevocationFormats
import UPKIProtocol

/// What nonces are for.
package enum NonceMode: String, Sendable, CaseIterable {
    /// A nonce is repeated in the answer, which is signed for this request.
    case echo
    /// A nonce is passed over, as RFC 9919 lets a responder with ready answers do.
    case ignore
    /// A request without one is refused.
    case require
}

/// How ca-core wants OCSP to be answered. Times are seconds.
package struct ResponderPolicy: Sendable, Equatable {
    /// From thisUpdate to nextUpdate at most.
    package var validity: Int64
    package var maximumAge: Int64
    package var offlineGrace: Int64
    package var nonce: NonceMode

    /// The defaults of the configuration, until ca-core has told.
    package init(validity: Int64 = 43_200, maximumAge: Int64 = 300, offlineGrace: Int64 = 60, nonce: NonceMode = .echo) {
        self.validity = validity
        self.maximumAge = maximumAge
        self.offlineGrace = offlineGrace
        self.nonce = nonce
    }
}

/// A message on events.sock.
package enum CoreEvent: Sendable, Equatable {
    case heartbeat(instance: String, sequence: Int64, crlNumber: String?, sentAt: UInt64?)
    case status(instance: String, sequence: Int64, serial: OCSPSerial, status: OCSPCertStatus)
    /// An event that concerns no certificate, or one that is not understood: then everything kept is in doubt.
    case other(instance: String, sequence: Int64, isUnderstood: Bool)

    /// nil for what is no message of a core.
    package init?(_ frame: [UInt8]) {
        guard let message = try? JSON(parsing: frame), let name = message["event"]?.stringValue,
            let instance = message["instance"]?.stringValue, let sequence = message["sequence"]?.integerValue
        else { return nil }
        switch name {
        case "heartbeat":
            self = .heartbeat(
                instance: instance, sequence: sequence, crlNumber: message["crl"]?.stringValue,
                sentAt: message["monotonic"]?.integerValue.flatMap { UInt64(exactly: $0) })
        case "status":
            guard let serial = message["serial"]?.stringValue.flatMap({ OCSPSerial(decimal: $0) }), let status = Self.status(message) else {
                self = .other(instance: instance, sequence: sequence, isUnderstood: false)
                return
            }
            self = .status(instance: instance, sequence: sequence, serial: serial, status: status)
        default:
            self = .other(instance: instance, sequence: sequence, isUnderstood: name == "window")
        }
    }

    private static func status(_ message: JSON) -> OCSPCertStatus? {
        switch message["status"]?.stringValue {
        case "good": return .good
        // Released from a hold of which only a CRL from elsewhere knew.
        case "unknown": return .unknown
        case "revoked":
            guard let time = message["time"]?.integerValue else { return nil }
            return .revoked(at: time, reason: message["reason"]?.stringValue.flatMap { CRLReason(name: $0) })
        default: return nil
        }
    }
}

extension OCSPSerial {
    /// Reads the decimal form of the protocol.
    package init?(decimal text: String) {
        guard let serial = SerialNumber(text: text) else { return nil }
        self.init(magnitude: serial.bytes)
    }

    /// The decimal form of the protocol.
    package var decimal: String { SerialNumber(bytes: bytes)?.decimal ?? "0" }
}

/// The requests to ca-core, and what it answers.
package enum CoreQuestion {
    /// Serial numbers in one `statuses` message.
    package static let mostSerials = 1_000

    static func statuses(_ serials: some Sequence<OCSPSerial>) -> [UInt8] {
        frame("statuses", [.init("serials", .array(serials.map { .string($0.decimal) }))])
    }

    static func responderCertificate(request der: [UInt8]) -> [UInt8] {
        frame("responder_certificate", [.init("csr", .string(String(decoding: Base64.encode(der), as: UTF8.self)))])
    }

    static let publication = frame("publication", [])

    static func publishedList(number: String, offset: Int) -> [UInt8] {
        frame("published_crl", [.init("number", .string(number)), .init("offset", .integer(offset))])
    }

    private static func frame(_ task: String, _ members: [JSON.Member]) -> [UInt8] {
        Request(task: task, parameters: Parameters(members)).frame
    }
}

/// The answer to `statuses`.
struct StatusesAnswer {
    /// The number of the last event before they were read.
    var sequence: Int64
    var statuses: [OCSPSerial: OCSPCertStatus]

    /// - Throws: `Refusal` with ca-core's words, or `.invalidAnswer`.
    init(_ frame: [UInt8]) throws(Refusal) {
        let data = try Answer.data(ofFrame: frame)
        guard let sequence = data["sequence"]?.integerValue, let entries = data["statuses"]?.arrayValue else {
            throw Refusal(.invalidAnswer, "statuses are answered without sequence or statuses")
        }
        self.sequence = sequence
        statuses = Dictionary(minimumCapacity: entries.count)
        for entry in entries {
            guard let serial = entry["serial"]?.stringValue.flatMap({ OCSPSerial(decimal: $0) }), let status = Self.status(entry) else {
                throw Refusal(.invalidAnswer, "a status is not understood")
            }
            statuses[serial] = status
        }
    }

    private static func status(_ entry: JSON) -> OCSPCertStatus? {
        switch entry["status"]?.stringValue {
        // Expiry changes no status.
        case "good", "expired": return .good
        case "unknown": return .unknown
        case "revoked":
            guard let time = entry["revoke_time"]?.integerValue else { return nil }
            return .revoked(at: time, reason: entry["revoke_reason"]?.stringValue.flatMap { CRLReason(name: $0) })
        default: return nil
        }
    }
}

/// The answer to `responder_certificate`.
struct CertificateAnswer {
    var certificate: [UInt8]
    var authority: [UInt8]

    /// - Throws: `Refusal` with ca-core's words, or `.invalidAnswer`.
    init(_ frame: [UInt8]) throws(Refusal) {
        let data = try Answer.data(ofFrame: frame)
        guard let certificate = data["certificate"]?.stringValue.flatMap({ Base64.decode($0.utf8) }),
            let authority = data["ca"]?.stringValue.flatMap({ Base64.decode($0.utf8) })
        else { throw Refusal(.invalidAnswer, "a responder certificate is answered without certificate or ca") }
        self.certificate = certificate
        self.authority = authority
    }
}

/// The answer to `publication`.
struct PublicationAnswer {
    /// The published CRL, whose bytes are fetched in pieces. Times are seconds since 1970.
    struct List: Equatable {
        var number: String
        var bytes: Int
        var sha256: String
        var thisUpdate: Int64
        var nextUpdate: Int64
    }

    /// A CRL of more is not kept in memory.
    static let longestList = 1 << 30

    var authority: [UInt8]
    var list: List?
    var policy: ResponderPolicy

    /// - Throws: `Refusal` with ca-core's words, or `.invalidAnswer`.
    init(_ frame: [UInt8]) throws(Refusal) {
        let data = try Answer.data(ofFrame: frame)
        guard let authority = data["ca"]?.stringValue.flatMap({ Base64.decode($0.utf8) }) else {
            throw Refusal(.invalidAnswer, "a publication is answered without ca")
        }
        self.authority = authority
        if let crl = data["crl"], !crl.isNull {
            guard let number = crl["number"]?.stringValue, let bytes = crl["bytes"]?.integerValue,
                (1...Int64(Self.longestList)).contains(bytes),
                let sha256 = crl["sha256"]?.stringValue, let thisUpdate = crl["this_update"]?.integerValue,
                let nextUpdate = crl["next_update"]?.integerValue
            else { throw Refusal(.invalidAnswer, "a publication's crl is not understood") }
            list = List(number: number, bytes: Int(bytes), sha256: sha256.lowercased(), thisUpdate: thisUpdate, nextUpdate: nextUpdate)
        }
        policy = ResponderPolicy()
        let ocsp = data["ocsp"]
        func seconds(_ name: String, _ range: ClosedRange<Int64>, _ fallback: Int64) -> Int64 {
            ocsp?[name]?.integerValue.map { min(max($0, range.lowerBound), range.upperBound) } ?? fallback
        }
        let year: Int64 = 366 * 86_400
        policy.validity = seconds("validity", 1...year, policy.validity)
        policy.maximumAge = seconds("max_age", 0...year, policy.maximumAge)
        policy.offlineGrace = seconds("offline_grace", 0...year, policy.offlineGrace)
        policy.nonce = ocsp?["nonce"]?.stringValue.flatMap { NonceMode(rawValue: $0) } ?? policy.nonce
    }
}

/// The answer to `published_crl`.
struct ListPiece {
    var data: [UInt8]
    var isLast: Bool

    /// - Throws: `Refusal` with ca-core's words, or `.invalidAnswer`.
    init(_ frame: [UInt8]) throws(Refusal) {
        let answer = try Answer.data(ofFrame: frame)
        guard let data = answer["data"]?.stringValue.flatMap({ Base64.decode($0.utf8) }), let isLast = answer["last"]?.boolValue,
            isLast || !data.isEmpty
        else { throw Refusal(.invalidAnswer, "a piece of the CRL is answered without data or last") }
        self.data = data
        self.isLast = isLast
    }
}
