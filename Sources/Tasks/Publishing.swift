// get_ca, get_crl, generate_crl, crl show: what everyone may fetch.

import Authority
import PKI
import RevocationFormats
import UPKIProtocol

extension Task {
    static let getCA = Task("get_ca", role: .anyone) { call in .answer(.string(call.authority.issuer.pem)) }

    static let getCRL = Task("get_crl", role: .anyone) { call in try Task.publishedList(call) }

    static let generateCRL = Task("generate_crl", role: .node, changes: true) { call in
        .elsewhere(.publisher) {
            try call.services.publisher.publish()
            return try Task.publishedList(call)
        }
    }

    private static func publishedList(_ call: Call) throws -> Step {
        guard let answer = try call.services.publisher.publishedAnswer() else {
            throw Refusal(.notFound, "CRL not found: none was published yet; ask for generate_crl")
        }
        return .encoded(answer)
    }

    static let showCRL = Task("show_crl", role: .local, on: [.admin]) { call in
        guard let der = try call.services.publisher.published() else {
            throw Refusal(.notFound, "CRL not found: none was published yet; run: ca-ctl crl generate")
        }
        let list = try CertificateList(derEncoded: der)
        var entries = 0
        try list.tbsCertList.revokedCertificates?.forEachEntry { _ in entries += 1 }
        return .answer(
            [
                ("number", list.tbsCertList.crlNumber.flatMap { $0.value }.map { .integer($0) } ?? .null),
                ("this_update", .string(UnixTime(list.tbsCertList.thisUpdate.unixSeconds).rfc3339)),
                ("next_update", list.tbsCertList.nextUpdate.map { .string(UnixTime($0.unixSeconds).rfc3339) } ?? .null),
                ("entries", .integer(entries)), ("bytes", .integer(der.count)),
            ].json)
    }
}
