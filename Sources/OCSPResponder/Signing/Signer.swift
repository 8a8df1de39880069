// A certified key that signs responses for one CA.
internal import Crypto
internal import RevocationFormats

/// A key, its certificate, and the constant bytes of what it signs. Any thread may use it.
final class Signer: Sendable {
    private let key: P256.Signing.PrivateKey
    private let template: OCSPResponseTemplate
    let certificate: [UInt8]
    let authority: AuthorityIdentity
    /// Seconds since 1970.
    let notBefore: Int64
    let notAfter: Int64
    let serial: OCSPSerial?
    /// The number that its answers are kept under.
    let generation: UInt32
    /// When half of what is left of its life will have passed, in seconds since 1970.
    let renewAt: Int64

    init(
        key: P256.Signing.PrivateKey, certificate: [UInt8], authority: AuthorityIdentity, notBefore: Int64, notAfter: Int64,
        serial: OCSPSerial?, generation: UInt32, now: Int64
    ) {
        renewAt = now + max(0, min(notAfter, authority.notAfter) - now) / 2
        self.key = key
        self.certificate = certificate
        self.authority = authority
        self.notBefore = notBefore
        self.notAfter = notAfter
        self.serial = serial
        self.generation = generation
        // The bits of the key without the octet that counts unused ones: an uncompressed point (RFC 5480 2.2).
        template = OCSPResponseTemplate(
            responderKeyHash: Array(Insecure.SHA1.hash(data: key.publicKey.x963Representation)), certificate: certificate)
    }

    /// No response lasts longer: neither its signature nor the CA would be believed.
    var end: Int64 { min(notAfter, authority.notAfter) }

    func isValid(at now: Int64) -> Bool { notBefore <= now && now < end }

    // MARK: One certificate, asked for by a plain request

    /// Signs an answer to be kept.
    /// - Throws: `.signing`.
    func sign(_ request: OCSPPlainRequest, _ status: OCSPCertStatus, _ times: ResponseTimes) throws(ResponderError) -> (
        SignedAnswer, [UInt8]
    ) {
        let status = status.said(at: times.thisUpdate)
        let data = try responseData(request, status, times.thisUpdate, times.nextUpdate, times.producedAt)
        let signature = try sign(data)
        let answer = SignedAnswer(
            status: status, thisUpdate: times.thisUpdate, nextUpdate: times.nextUpdate, refreshAt: times.refreshAt, signer: generation,
            signature: signature)
        return (answer, template.response(data, signature: signature.der))
    }

    /// The response around a signature made before; it was produced when it began to hold.
    func response(_ request: OCSPPlainRequest, _ answer: SignedAnswer) throws(ResponderError) -> [UInt8] {
        let data = try responseData(request, answer.status, answer.thisUpdate, answer.nextUpdate, answer.thisUpdate)
        return template.response(data, signature: answer.signature.der)
    }

    private func responseData(
        _ request: OCSPPlainRequest, _ status: OCSPCertStatus, _ thisUpdate: Int64, _ nextUpdate: Int64, _ producedAt: Int64
    ) throws(ResponderError) -> [UInt8] {
        do {
            return try template.responseData(
                for: request, of: authority.issuer, status: status, thisUpdate: thisUpdate, nextUpdate: nextUpdate, producedAt: producedAt)
        } catch {
            throw ResponderError(.signing, "a response cannot be made: \(error)")
        }
    }

    // MARK: Any request

    /// Signs an answer for this request alone.
    /// - Throws: `.signing`.
    func sign(
        _ singles: [OCSPSingleResponse], producedAt: Int64, nonce: [UInt8]?
    ) throws(ResponderError) -> (der: [UInt8], tag: UInt64) {
        let data: [UInt8]
        do {
            data = try template.responseData(singles, producedAt: producedAt, nonce: nonce)
        } catch {
            throw ResponderError(.signing, "a response cannot be made: \(error)")
        }
        let signature = try sign(data)
        return (template.response(data, signature: signature.der), signature.tag)
    }

    private func sign(_ data: [UInt8]) throws(ResponderError) -> RawSignature {
        let signature: RawSignature?
        do {
            signature = RawSignature(try key.signature(for: data).rawRepresentation)
        } catch {
            throw ResponderError(.signing, "a response cannot be signed: \(error)")
        }
        guard let signature else { throw ResponderError(.signing, "a signature has another length than P-256 gives") }
        return signature
    }
}

extension OCSPCertStatus {
    /// As a response says it that holds from `thisUpdate` on: ca-core's clock may have been ahead when it revoked, and relying parties do not
    /// take a revocation of the future for one.
    func said(at thisUpdate: Int64) -> OCSPCertStatus {
        guard case .revoked(let time, let reason) = self, time > thisUpdate else { return self }
        return .revoked(at: thisUpdate, reason: reason)
    }
}

/// The times of an answer in whole seconds since 1970.
struct ResponseTimes: Sendable, Equatable {
    /// When the status was known to be right.
    var thisUpdate: Int64
    var nextUpdate: Int64
    var refreshAt: Int64
    var producedAt: Int64

    /// - Parameters:
    ///   - known: when the status was known to be right; never later than `now`.
    ///   - validity: seconds that an answer holds at most; up to a tenth less by chance, so that answers signed together do not end together.
    ///   - end: no answer lasts longer.
    ///   - chance: any number.
    /// nil where nothing would be left of its life.
    init?(known: Int64, now: Int64, validity: Int64, end: Int64, chance: UInt64) {
        let spread = UInt64(max(0, validity) / 10) + 1
        thisUpdate = known
        nextUpdate = min(known + validity - Int64(chance % spread), end)
        guard nextUpdate > now, nextUpdate > thisUpdate else { return nil }
        producedAt = now
        // Half of the life, and a little less by chance; always some of it.
        let half = (nextUpdate - thisUpdate) / 2
        let less = UInt64(half / 10) + 1
        refreshAt = thisUpdate + max(1, half - Int64((chance >> 32) % less))
    }
}
