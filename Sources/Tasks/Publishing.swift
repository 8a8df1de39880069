// get_ca, get_crl, generate_crl, crl show: what everyone may fetch.

import Authority
import PKI
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

    static let showCRL = Task("show_crl", role: .local, on: [.admin], isRemote: true) { call in
        guard let list = try call.services.publisher.publishedFacts() else {
            throw Refusal(.notFound, "CRL not found: none was published yet; run: ca-ctl crl generate")
        }
        return .answer(
            [
                ("number", list.number.map { .number($0.decimal) } ?? .null), ("this_update", .string(list.thisUpdate.rfc3339)),
                ("next_update", list.nextUpdate.map { .string($0.rfc3339) } ?? .null), ("entries", .integer(list.entries)),
                ("bytes", .integer(list.bytes)),
            ].json)
    }
}
