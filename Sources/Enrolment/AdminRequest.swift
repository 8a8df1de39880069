// A request of an admin on another host, signed with the node's own key.

import Crypto
import Glibc
import PKI
public import UPKIProtocol

extension NodeIdentity {
    /// The parameters of a request that carry its signed form; see `SignedRequest`.
    public func signed(_ task: String, _ parameters: [JSON.Member]) throws(EnrolmentError) -> [JSON.Member] {
        let nonce = (0..<16).map { _ in UInt8.random(in: .min ... .max) }
        let request = SignedRequest(
            task: task, parameters: Parameters(parameters), time: Int64(time(nil)), nonce: Hexadecimal.encode(nonce),
            authority: Hexadecimal.encode(fingerprint))
        let text = request.text
        do {
            let signature = try keys.certificateKey.signature(for: Array(text.utf8))
            return [
                .init("signed", .string(text)),
                .init("signature", .string(String(decoding: Base64.encode(Array(signature.derRepresentation)), as: UTF8.self))),
            ]
        } catch {
            throw EnrolmentError(.system, "the request cannot be signed: \(error)")
        }
    }
}
