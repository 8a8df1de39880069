// The questions of libzmq to the ZAP handler, and their answers (ZeroMQ's RFC 27).
import ZeroMQ

/// A question: may this peer come in?
package struct ZapRequest: Equatable {
    package enum Mechanism: Equatable {
        case null
        /// The client's long-term public key in Z85.
        case curve(key: String)
    }

    /// The frames to send back before the answer: the asking connection's routing id and the delimiter.
    let envelope: [[UInt8]]
    let requestID: [UInt8]
    package let domain: String
    package let address: String
    package let mechanism: Mechanism

    /// Where libzmq of a context looks for its handler.
    static let endpoint = "inproc://zeromq.zap.01"
    static let curveDomain = "upki-curve"
    static let plainDomain = "upki-plain"

    /// - Returns: nil for what is no question of version 1.0, or names another mechanism.
    package init?(parts: [[UInt8]]) {
        guard let delimiter = parts.firstIndex(where: \.isEmpty) else { return nil }
        let body = Array(parts[(delimiter + 1)...])
        guard body.count >= 6, body[0] == Array("1.0".utf8) else { return nil }
        func text(_ index: Int) -> String { String(decoding: body[index], as: UTF8.self) }
        switch (text(5), body.count) {
        case ("NULL", 6): self.mechanism = .null
        case ("CURVE", 7):
            guard body[6].count == 32, let key = Z85.encode(body[6]) else { return nil }
            self.mechanism = .curve(key: key)
        default: return nil
        }
        self.envelope = Array(parts[...delimiter])
        self.requestID = body[1]
        self.domain = text(2)
        self.address = text(3)
    }

    /// The frames of the answer that lets the peer in, as whom it says; nobody but this answer says who a peer is.
    package var admission: [[UInt8]] {
        guard case .curve(let key) = self.mechanism else { return self.answer("200", "OK", user: "") }
        return self.answer("200", "OK", user: key)
    }

    /// The frames of the answer that keeps the peer out.
    package var refusal: [[UInt8]] { self.answer("400", "Refused", user: "") }

    private func answer(_ code: String, _ text: String, user: String) -> [[UInt8]] {
        self.envelope + [Array("1.0".utf8), self.requestID, Array(code.utf8), Array(text.utf8), Array(user.utf8), []]
    }

    /// Whether the domain is the one of a listener with this mechanism: then a listener of ours asks.
    package var fitsItsDomain: Bool {
        switch self.mechanism {
        case .null: self.domain == Self.plainDomain
        case .curve: self.domain == Self.curveDomain
        }
    }
}
