// Requests that an admin on another host has signed with the node's own key: a relay passes them on and can make none.

import Crypto
import PKI
import Synchronization
import X509

/// What keeps a signed request from being heard twice.
final class HeardRequests: Sendable {
    private struct State {
        var heard: [String: UnixTime] = [:]
        var sweptAt = UnixTime(0)
    }
    private let state = Mutex(State())
    /// More than anybody sends; only who has a listed admin's key gets here.
    private static let most = 100_000

    /// - Returns: false for one that was heard before.
    func take(_ nonce: String, at now: UnixTime, until end: UnixTime) -> Bool {
        self.state.withLock { state in
            if state.sweptAt.seconds + 60 <= now.seconds || state.heard.count >= Self.most {
                state.heard = state.heard.filter { $0.value >= now }
                state.sweptAt = now
            }
            guard state.heard[nonce] == nil, state.heard.count < Self.most else { return false }
            state.heard[nonce] = end
            return true
        }
    }
}

extension Authority {
    /// How far an admin's clock may be from the CA's, in seconds.
    public static let signedRequestTolerance: Int64 = 300

    /// Whether `signature` is the node's own over `text`, made for this CA lately, and not heard before.
    ///
    /// - Parameters:
    ///   - signature: ECDSA with SHA-256, DER.
    ///   - time: what the text says of its time.
    ///   - nonce: what it says of itself; one is heard once.
    /// - Throws: `notAuthorised` with the reason.
    public func checkSigned(
        _ text: String, signature: [UInt8], time: Int64, nonce: String, authority: String, by actor: Actor, task: String
    ) throws {
        func refused(_ why: String) -> AuthorityError { AuthorityError(.notAuthorised, "\(task) was not taken: \(why)") }
        let now = self.clock.now
        guard authority == self.issuer.fingerprint.filter({ $0 != ":" }).lowercased() else { throw refused("it was signed for another CA") }
        guard let serial = actor.node?.serial, let record = try self.store.read({ try $0.certificate(serial) }),
            let key = P256.Signing.PublicKey(try Self.parse(record.der).publicKey)
        else { throw refused("the node has no certificate with a P-256 key to sign with") }
        guard let signature = try? P256.Signing.ECDSASignature(derRepresentation: signature),
            key.isValidSignature(signature, for: Array(text.utf8))
        else { throw refused("the key of the node's certificate has not signed it") }
        // After the signature, so that only the admin himself learns of clocks.
        guard abs(now.seconds - time) <= Self.signedRequestTolerance else {
            throw refused("it was signed at \(UnixTime(time).rfc3339), and it is \(now.rfc3339) here: set the clocks right")
        }
        // What was signed before this start may have been heard before it.
        guard time >= self.openedAt.seconds else { throw refused("the CA has started since it was signed; try again") }
        guard self.heardRequests.take(nonce, at: now, until: UnixTime(time + Self.signedRequestTolerance)) else {
            throw refused("it was heard before")
        }
    }
}
