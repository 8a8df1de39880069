// ocsp_check, and its plural for the OCSP bridge: what this CA says of a serial number.

import Authority
import PKI
import RevocationFormats
import SwiftASN1
import UPKIProtocol
import X509

extension Task {
    static let ocspCheck = Task("ocsp_check", role: .anyone) { call in
        var serial = try call.parameters.serial()
        var asked: [UInt8]?
        if serial == nil {
            let pem = try call.parameters.string("cert")
            guard let der = PEM.decodeFirst(pem, labels: ["CERTIFICATE"]), let certificate = try? Certificate(derEncoded: der),
                let number = SerialNumber(bytes: certificate.serialNumber.bytes)
            else { throw Parameters.wrong("cert", "is a certificate in PEM") }
            serial = number
            asked = der
        }
        guard let serial else { throw Refusal(.missingParameter, "Missing cert parameter") }
        var isOurs = true
        if let issuer = try call.parameters.optionalString("issuer") {
            guard let der = PEM.decodeFirst(issuer, labels: ["CERTIFICATE"]) else {
                throw Parameters.wrong("issuer", "is a certificate in PEM")
            }
            isOurs = der == call.authority.issuer.der
        }
        let standing = isOurs ? try call.authority.standing(serial) : .nothing
        // A certificate that only shares its serial number with one of ours was never issued here.
        let known = asked == nil || standing.certificate == nil || standing.certificate?.der == asked
        // The CA certificate is in no store.
        let issuer = call.authority.issuer
        let isItself = serial == issuer.ownSerial && isOurs && (asked == nil || asked == issuer.der) && standing.certificate == nil
        let summary = isItself ? issuer.summary(standing.revocation) : (known ? standing : .nothing).summary
        return .answer(summary.members(serial, now: call.authority.clock.now).json)
    }

    /// The bridge's question: many serial numbers at once, with the event number that the answers were read at.
    static let statuses = Task("statuses", role: .anyone, on: [.ocsp]) { call in
        let texts = try call.parameters.optionalStrings("serials", atMost: 1_000) ?? []
        let sequence = call.authority.state.eventSequence
        let now = call.authority.clock.now
        let serials = try texts.map { text in
            guard let serial = SerialNumber(text: text) else { throw Parameters.wrong("serials", "is a list of serial numbers") }
            return serial
        }
        let entries = zip(serials, try call.authority.summaries(serials)).map { serial, summary in
            let time = summary.revocation.map { [("revoke_time", JSON.integer($0.revokedAt.seconds))] }
            return (summary.members(serial, now: now) + (time ?? [])).json
        }
        return .answer([("sequence", .integer(sequence)), ("statuses", .array(entries))].json)
    }
}

extension Standing {
    fileprivate static let nothing = Standing(certificate: nil, revocation: nil)
}

extension SerialSummary {
    fileprivate func members(_ serial: SerialNumber, now: UnixTime) -> [(String, JSON)] {
        var members: [(String, JSON)] = []
        let status: String
        if self.revocation != nil {
            status = "revoked"
        } else if let notAfter = self.notAfter {
            status = notAfter < now ? "expired" : "good"
        } else {
            status = "unknown"
        }
        members.append(("status", .string(status)))
        members.append(("serial", .string(serial.decimal)))
        members.append(("cn", .string(self.commonName)))
        if let revocation = self.revocation {
            members.append(("revoke_reason", .string(revocation.reason.name)))
            members.append(("revoke_date", .string(revocation.revokedAt.rfc3339)))
        }
        return members
    }
}
