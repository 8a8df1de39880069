// What is asked: requests for certificates of one CA, and the ways they go to a responder.
import PKI
public import RevocationFormats

/// An OCSP request.
public struct OCSPQuestion: Sendable {
    /// What the issuer's name and key are hashed with.
    public enum Hash: String, Sendable, CaseIterable {
        case sha1 = "SHA-1"
        case sha256 = "SHA-256"
    }

    public let certIDs: [OCSPCertID]
    public let nonce: [UInt8]?
    /// The OCSPRequest (RFC 6960 4.1.1).
    public let der: [UInt8]

    /// - Parameters:
    ///   - serialNumbers: magnitudes, big-endian; 1 to 50 of them.
    ///   - nonce: 1 to 128 octets (RFC 9654); nil for none.
    public init(_ serialNumbers: [[UInt8]], of authority: OCSPAuthority, hash: Hash = .sha1, nonce: [UInt8]? = nil) {
        let form: OCSPCertIDForm = hash == .sha1 ? .sha1 : .sha256
        let certIDs = serialNumbers.map { OCSPCertID(form: form, issuer: authority.issuer, serialNumber: $0) }
        self.certIDs = certIDs
        self.nonce = nonce
        self.der = OCSPRequest(certIDs: certIDs, nonce: nonce).serialized
    }

    /// The path of a GET below a responder's address (RFC 6960 A.1): base64, with what has a meaning in a path percent-encoded.
    public var path: String {
        var path: [UInt8] = [UInt8(ascii: "/")]
        for character in Base64.encode(der) {
            switch character {
            case UInt8(ascii: "+"): path += "%2B".utf8
            case UInt8(ascii: "/"): path += "%2F".utf8
            case UInt8(ascii: "="): path += "%3D".utf8
            default: path.append(character)
            }
        }
        return String(decoding: path, as: UTF8.self)
    }
}

/// How a request goes to a responder.
public enum OCSPMethod: String, Sendable, CaseIterable {
    case get = "GET"
    case post = "POST"
}

extension HTTPClient {
    /// Sends a request.
    /// - Parameter prefix: what the responder's address has for a path, such as `/ocsp`.
    /// - Returns: the answer, whose body is to be judged.
    /// - Throws: what `get` throws, and `.httpStatus` where no OCSP response came.
    public mutating func ask(
        _ question: OCSPQuestion, by method: OCSPMethod, prefix: String = ""
    ) throws(OCSPClientError) -> HTTPAnswer {
        let answer =
            switch method {
            case .get: try get(prefix + question.path)
            case .post: try post(prefix.isEmpty ? "/" : prefix, contentType: "application/ocsp-request", body: question.der)
            }
        let type = answer.header("content-type") ?? "no content type"
        guard answer.status == 200, type.lowercased() == "application/ocsp-response" else {
            throw OCSPClientError(.httpStatus, "HTTP status \(answer.status) with \(type), where 200 with an OCSP response is due")
        }
        return answer
    }
}
