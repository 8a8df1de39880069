// What the OCSP bridge asks through ocsp.sock beside statuses: a certificate for its key, and what it is to publish.

import Authority
import PKI
import RevocationFormats
import UPKIProtocol

extension Task {
    /// Goes on where others wait, as revocations do: without it nobody would see them.
    static let responderCertificate = Task("responder_certificate", role: .anyone, on: [.ocsp], changes: true) { call in
        let text = try call.parameters.string("csr")
        guard text.utf8.count <= 8_192, let csr = Base64.decode(text.utf8) else {
            throw Parameters.wrong("csr", "is base64 of a PKCS#10 request in DER, at most 8 kB")
        }
        let prepared = try call.authority.prepareResponder(csr: csr)
        let issuer = call.authority.issuer
        return call.change(needs: .anyone, isVital: true) { commit in
            try commit.recordResponder(prepared)
            return [
                ("certificate", .string(base64(prepared.record.der))), ("ca", .string(base64(issuer.der))),
                ("not_after", .integer(prepared.record.notAfter.seconds)),
            ].json
        }
    }

    /// Everything that the bridge serves or serves by, as it stands now; the CRL itself is fetched in pieces.
    static let publication = Task("publication", role: .anyone, on: [.ocsp]) { call in
        let rules = call.authority.rules
        return .answer(
            [
                ("ca", .string(base64(call.authority.issuer.der))),
                ("crl", call.services.publisher.publishedFile?.json ?? .null),
                ("base_url", rules.publicationBaseURL.map { .string($0) } ?? .null), ("ocsp", rules.ocsp.json),
            ].json)
    }

    static let publishedCRL = Task("published_crl", role: .anyone, on: [.ocsp]) { call in
        guard let number = CRLNumber(decimal: try call.parameters.string("number")) else {
            throw Parameters.wrong("number", "is a CRL's number in decimal")
        }
        guard let file = call.services.publisher.publishedFile, file.number == number else {
            throw Refusal(.notFound, "CRL not found: number \(number) is not the published one (any more); begin again")
        }
        let offset = try call.parameters.optionalInteger("offset", in: 0...Int64(file.bytes)) ?? 0
        let data = try file.read(Int(offset), PublishedListFile.piece)
        let isLast = offset >= Int64(file.bytes - data.count)
        // Base64 needs no escapes, so that the text need not be looked at again.
        return .encoded(Array(#"{"data":""#.utf8) + Base64.encode(data) + Array(#"","last":\#(isLast)}"#.utf8))
    }
}

private func base64(_ bytes: [UInt8]) -> String { String(decoding: Base64.encode(bytes), as: UTF8.self) }

extension PublishedListFile {
    /// Bytes of the CRL in one answer: 1 MiB as base64.
    static let piece = 768 << 10

    fileprivate var json: JSON {
        [
            ("number", .string(self.number.decimal)), ("bytes", .integer(self.bytes)), ("sha256", .string(Hexadecimal.encode(self.sha256))),
            ("this_update", .integer(self.thisUpdate.seconds)), ("next_update", .integer(self.nextUpdate.seconds)),
        ].json
    }
}

extension OCSPRules {
    fileprivate var json: JSON {
        [
            ("validity", .integer(self.validity)), ("max_age", .integer(self.maxAge)), ("offline_grace", .integer(self.offlineGrace)),
            ("nonce", .string(self.nonce.rawValue)),
        ].json
    }
}
