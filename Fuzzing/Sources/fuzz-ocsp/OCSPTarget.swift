// Fuzz target: OCSP requests and responses, as they come and as they are written here.

import FuzzSupport
import RevocationFormats

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOCSP(_ data: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    var input = FuzzInput(data, count)
    // Every message begins with the octet of a SEQUENCE; other inputs choose what is written.
    if input.rest.first == 0x30 || input.rest.isEmpty {
        let bytes = input.bytes
        checkRequest(bytes)
        checkResponse(bytes)
    } else {
        checkWriting(&input)
    }
    return 0
}

/// The CA for which the requests of the corpus are.
private let issuer = OCSPIssuer(
    nameSHA1: octets("0338785f8b3ab281468b3b9c27a285ecef4bfc0a"), keySHA1: octets("3a18a81a5da02cc36eda7d35bd663e8ebfed9c5b"),
    nameSHA256: octets("e69327bca8fc0062ec6fb2a9a1486121b62533d2db3b0e4bf8fadd5dc1a4e7fd"),
    keySHA256: octets("0f247462f84e297c23285905bf39bdf8a1f6a7c1024da177c6b0863bd81fd12f"))

private let keyHash = [UInt8](repeating: 0x5A, count: 20)
private let certificate: [UInt8] = [0x30, 0x02, 0x05, 0x00]
private let template = OCSPResponseTemplate(responderKeyHash: keyHash, certificate: certificate)
/// An ECDSA-Sig-Value of two ones.
private let signature: [UInt8] = [0x30, 0x06, 0x02, 0x01, 0x01, 0x02, 0x01, 0x01]
/// 2025-01-01T00:00:00Z.
private let now: Int64 = 1_735_689_600

private func octets(_ hex: String) -> [UInt8] {
    var octets: [UInt8] = []
    var rest = hex[...]
    while let octet = UInt8(rest.prefix(2), radix: 16), rest.count >= 2 {
        octets.append(octet)
        rest = rest.dropFirst(2)
    }
    return octets
}

private func read(_ bytes: [UInt8]) throws(OCSPRequestError) -> OCSPRequest {
    let result = bytes.withUnsafeBytes { bytes -> Result<OCSPRequest, OCSPRequestError> in
        do throws(OCSPRequestError) { return .success(try OCSPRequest(der: bytes)) } catch { return .failure(error) }
    }
    return try result.get()
}

/// A request gets one valid response, whatever it is; what is recognised by comparing is what parsing gives.
private func checkRequest(_ bytes: [UInt8]) {
    let plain = bytes.withUnsafeBytes { issuer.plainRequest($0) }
    do throws(OCSPRequestError) {
        let request = try read(bytes)
        demand((1...OCSPRequest.mostCertIDs).contains(request.certIDs.count), "\(request.certIDs.count) certificates")
        demand(bytes.count <= OCSPRequest.longest, "a request of \(bytes.count) octets is read")
        demand(request.nonce.map { (1...128).contains($0.count) } ?? true, "a nonce of \(request.nonce?.count ?? 0) octets is read")
        for certID in request.certIDs { checkCertID(certID, of: bytes) }
        let written = request.serialized
        guard let again = try? read(written) else { broken("a request that was written is not read") }
        demand(
            again.certIDs == request.certIDs && again.nonce == request.nonce && again.serialized == written, "the request is another one")
        checkPlain(plain, request, bytes)
        checkAnswer(request)
    } catch {
        demand(plain == nil, "what is recognised is not read: \(error)")
        demand(isOneCleanLine(error.message) && error.message.utf8.count < 200, "the error is one short line: \(error.message)")
        let response = OCSPResponseStatus.malformedRequest.errorResponse
        demand((try? OCSPResponse(der: response))?.status == .malformedRequest, "malformedRequest is not read")
    }
}

private func checkCertID(_ certID: OCSPCertID, of bytes: [UInt8]) {
    demand(certID.der.count <= bytes.count, "a CertID is longer than its request")
    demand(!certID.serialNumber.isEmpty && certID.serialNumber.count <= 64, "a serial number of \(certID.serialNumber.count) octets")
    demand(certID.serial.map { (1...20).contains($0.byteCount) } ?? true, "a serial number that no certificate has")
    guard let form = certID.form, issuer.isIssuer(of: certID), let serial = certID.serial else { return }
    demand(OCSPCertID(form: form, issuer: issuer, serialNumber: serial.bytes) == certID, "a CertID of ours is written differently")
}

/// Comparing says the same as parsing, both ways.
private func checkPlain(_ plain: OCSPPlainRequest?, _ request: OCSPRequest, _ bytes: [UInt8]) {
    guard let first = request.certIDs.first else { return }
    let isPlain =
        request.certIDs.count == 1 && request.nonce == nil && issuer.isIssuer(of: first) && first.serial != nil
        && request.serialized == bytes
    demand(isPlain == (plain != nil), "a plain request is \(plain == nil ? "not recognised" : "recognised where there is none")")
    guard let plain else { return }
    demand(first.form == plain.form && first.serial == plain.serial, "another certificate is recognised")
}

/// What a responder would say: each status once, by the serial number's last octet.
private func status(_ certID: OCSPCertID) -> OCSPCertStatus {
    guard issuer.isIssuer(of: certID), let last = certID.serial?.bytes.last else { return .unknown }
    let reasons = CRLReason.allCases.filter { $0 != .removeFromCRL && $0 != .unspecified }
    switch last % 4 {
    case 0: return .good
    case 1: return .revoked(at: now - Int64(last), reason: nil)
    case 2: return .unknown
    default: return .revoked(at: now + Int64(last), reason: reasons[Int(last / 4) % reasons.count])
    }
}

/// The response to a request is read as what was written.
private func checkAnswer(_ request: OCSPRequest) {
    if !request.certIDs.contains(where: { issuer.isIssuer(of: $0) }) {
        demand((try? OCSPResponse(der: OCSPResponseStatus.unauthorized.errorResponse))?.status == .unauthorized, "unauthorized is not read")
    }
    let singles = request.certIDs.map { OCSPSingleResponse(certID: $0.der, status: status($0), thisUpdate: now, nextUpdate: now + 43_200) }
    let basic = write(singles, nonce: request.nonce)
    demand(basic.responses.map(\.certID) == request.certIDs, "the response is for other certificates")
    guard let first = request.certIDs.first, let form = first.form, let serial = first.serial, request.certIDs.count == 1,
        issuer.isIssuer(of: first)
    else { return }
    let short = try? template.responseData(
        for: OCSPPlainRequest(form: form, serial: serial), of: issuer, status: status(first), thisUpdate: now, nextUpdate: now + 43_200,
        producedAt: now,
        nonce: request.nonce)
    demand(short == basic.tbsBytes, "the short way writes other bytes")
}

/// Writes a response and reads it back.
private func write(_ singles: [OCSPSingleResponse], nonce: [UInt8]?) -> BasicOCSPResponse {
    guard let data = try? template.responseData(singles, producedAt: now, nonce: nonce) else { broken("the response is not written") }
    let bytes = template.response(data, signature: signature)
    guard let response = try? OCSPResponse(der: bytes), let basic = response.basic else {
        broken("a response that was written is not read")
    }
    demand(response.status == .successful && basic.tbsBytes == data && basic.nonce == nonce, "the response is another one")
    demand(
        basic.signature == signature && basic.certificates == [certificate] && basic.responderKeyHash == keyHash,
        "the signer is another one")
    demand(basic.producedAt == now && singlesOf(basic) == singles, "the response says something else")
    return basic
}

private func singlesOf(_ basic: BasicOCSPResponse) -> [OCSPSingleResponse] {
    basic.responses.map {
        OCSPSingleResponse(certID: $0.certID.der, status: $0.status, thisUpdate: $0.thisUpdate, nextUpdate: $0.nextUpdate)
    }
}

/// A response that is read can be written again, and says the same.
private func checkResponse(_ bytes: [UInt8]) {
    do throws(RevocationFormatsError) {
        let response = try OCSPResponse(der: bytes)
        demand((response.basic != nil) == (response.status == .successful), "\(response.status) with or without a response")
        guard let basic = response.basic else {
            demand(response.status.errorResponse == bytes, "\(response.status) is written differently")
            return
        }
        demand(
            (1...50).contains(basic.responses.count) && basic.certificates.count <= 8, "\(basic.responses.count) certificates are told of")
        demand((basic.responderKeyHash == nil) != (basic.responderName == nil), "the responder has two names or none")
        let singles = singlesOf(basic)
        // RFC 5280 5.3.1 has no reason for unspecified, and this one is for delta CRLs.
        guard !singles.contains(where: { isWrittenOtherwise($0.status) }) else { return }
        let again = write(singles, nonce: basic.nonce)
        demand(again.responses == basic.responses, "the response says something else")
    } catch {
        demand(isOneCleanLine(error.message) && error.message.utf8.count < 200, "the error is one short line: \(error.message)")
    }
}

private func isWrittenOtherwise(_ status: OCSPCertStatus) -> Bool {
    if case .revoked(_, let reason) = status { reason == .unspecified || reason == .removeFromCRL } else { false }
}

/// A request that is written, with serial numbers and a nonce out of the input, is read as the same, or refused where it must be.
private func checkWriting(_ input: inout FuzzInput) {
    let choice = input.choice()
    let nonce = choice & 1 == 0 ? nil : input.part()
    var certIDs: [OCSPCertID] = []
    repeat {
        let form = OCSPCertIDForm.allCases[Int(input.choice() % 4)]
        certIDs.append(OCSPCertID(form: form, issuer: issuer, serialNumber: input.part()))
    } while !input.rest.isEmpty && certIDs.count < 60
    let request = OCSPRequest(certIDs: certIDs, nonce: nonce)
    let bytes = request.serialized
    let fits = nonce.map { (1...128).contains($0.count) } ?? true
    let areSerials = certIDs.allSatisfy { $0.serialNumber.count <= 64 }
    if certIDs.count <= OCSPRequest.mostCertIDs, fits, areSerials {
        guard let again = try? read(bytes) else { broken("a request that was written is not read") }
        demand(again.certIDs == certIDs && again.nonce == nonce, "the request is another one")
    } else {
        demand((try? read(bytes)) == nil, "a request that is too long in one part is read")
    }
    checkRequest(bytes)
}
