// CURVE keys (ZeroMQ's RFC 26): Curve25519, as text in Z85 (RFC 32), 40 characters for 32 bytes.
import CZeroMQ

/// A long-term CURVE key pair, both keys in Z85.
public struct ZMQCurveKeyPair: Sendable, Equatable {
    public let publicKey: String
    public let secretKey: String

    /// A fresh pair, from libzmq's random source.
    /// - Throws: `.invalidArgument` when libzmq was built without CURVE.
    public static func generate() throws(ZeroMQError) -> ZMQCurveKeyPair {
        var publicKey = [CChar](repeating: 0, count: 41)
        var secretKey = [CChar](repeating: 0, count: 41)
        guard zmq_curve_keypair(&publicKey, &secretKey) == 0 else {
            throw ZeroMQError(number: zmq_errno(), "no CURVE key pair")
        }
        return ZMQCurveKeyPair(publicKey: Z85.text(publicKey), secretKey: Z85.text(secretKey))
    }

    /// The pair of a secret key.
    /// - Parameter secretKey: Z85, 40 characters.
    /// - Throws: `.invalidArgument` for anything else.
    public init(secretKey: String) throws(ZeroMQError) {
        guard Z85.decode(secretKey)?.count == 32 else { throw ZeroMQError(.invalidArgument, "a CURVE secret key has 40 characters of Z85") }
        var publicKey = [CChar](repeating: 0, count: 41)
        guard zmq_curve_public(&publicKey, secretKey) == 0 else {
            throw ZeroMQError(number: zmq_errno(), "no CURVE public key")
        }
        self.init(publicKey: Z85.text(publicKey), secretKey: secretKey)
    }

    /// The pair of a secret key of 32 bytes.
    public init(secret: [UInt8]) throws(ZeroMQError) {
        guard secret.count == 32, let text = Z85.encode(secret) else {
            throw ZeroMQError(.invalidArgument, "a CURVE secret key has 32 bytes, not \(secret.count)")
        }
        try self.init(secretKey: text)
    }

    private init(publicKey: String, secretKey: String) {
        self.publicKey = publicKey
        self.secretKey = secretKey
    }

    /// Whether libzmq here can do CURVE.
    public static var isAvailable: Bool { zmq_has("curve") == 1 }
}

/// Z85 (RFC 32): five characters for four bytes.
public enum Z85 {
    /// - Returns: nil unless the number of bytes is a multiple of four.
    public static func encode(_ bytes: [UInt8]) -> String? {
        guard bytes.count % 4 == 0 else { return nil }
        var text = [CChar](repeating: 0, count: bytes.count / 4 * 5 + 1)
        guard zmq_z85_encode(&text, bytes, bytes.count) != nil else { return nil }
        return self.text(text)
    }

    /// - Returns: nil for anything but Z85.
    public static func decode(_ text: String) -> [UInt8]? {
        guard text.utf8.count % 5 == 0, text.utf8.allSatisfy(isDigit) else { return nil }
        var bytes = [UInt8](repeating: 0, count: text.utf8.count / 5 * 4)
        guard !bytes.isEmpty else { return [] }
        guard zmq_z85_decode(&bytes, text) != nil else { return nil }
        // What would not fit in 32 bits is taken modulo by libzmq: the text must be the one that these bytes have.
        return encode(bytes) == text ? bytes : nil
    }

    private static func isDigit(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"): true
        default: ".-:+=^!/*?&<>()[]{}@%$#".utf8.contains(byte)
        }
    }

    static func text(_ characters: [CChar]) -> String {
        String(decoding: characters.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}

/// What a socket does for CURVE; without it, it speaks NULL, which proves nothing.
public enum ZMQCurveRole: Sendable {
    /// Lets clients in whom the ZAP handler admits; without a handler that is everybody.
    case server(ZMQCurveKeyPair)
    /// Speaks only to the server that holds the secret of `serverKey` (Z85).
    case client(ZMQCurveKeyPair, serverKey: String)
}
