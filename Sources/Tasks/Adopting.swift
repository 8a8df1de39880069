// adopt_certificate: what this CA's key signed before its store was lost.

import Authority
import PKI
import UPKIProtocol

extension Task {
    static let adoptCertificate = Task("adopt_certificate", role: .local, on: [.admin], changes: true) { call in
        let pem = try call.parameters.string("certificate")
        guard let der = PEM.decodeFirst(pem, labels: ["CERTIFICATE"]) else {
            throw Parameters.wrong("certificate", "is a certificate in PEM")
        }
        let record = try call.authority.provenRecord(of: der, profile: try call.parameters.profileName())
        return call.change(needs: .local) { commit in
            let isNew = try commit.adopt(record)
            return [
                ("dn", .string(record.subject)), ("serial", .string(record.serial.decimal)), ("profile", .string(record.profile)),
                ("new", .bool(isNew)), ("revoked", .bool(try commit.store.revocation(record.serial) != nil)),
            ].json
        }
    }
}
