// Adopting a certificate: one that this CA's key signed before its store was lost is known again, so that it can be revoked and renewed.

import PKI
import X509

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

extension Authority {
    /// Proves that a certificate was signed with this CA's key.
    ///
    /// - Parameters:
    ///   - der: the certificate.
    ///   - profile: the one whose rules a renewal will follow.
    /// - Returns: the record to adopt.
    /// - Throws: `refused` with the reason; `profileNotFound`.
    public func provenRecord(of der: [UInt8], profile name: String) throws -> CertificateRecord {
        let profile = try self.state.profile(name)
        guard let certificate = try? Certificate(derEncoded: der), let serial = SerialNumber(bytes: certificate.serialNumber.bytes) else {
            throw AuthorityError.refused("Request refused: the certificate cannot be read")
        }
        let issuer = PKI.DistinguishedName(certificate.issuer)
        guard issuer == self.issuer.name else {
            throw AuthorityError.refused(
                "Request refused: the certificate is one of \(issuer.slashNotation), and this CA is \(self.issuer.name.slashNotation)")
        }
        guard self.issuer.certificate.publicKey.isValidSignature(certificate.signature, for: certificate) else {
            throw AuthorityError.refused("Request refused: the certificate was not signed with this CA's key, or was changed since")
        }
        guard certificate.publicKey != self.issuer.certificate.publicKey else {
            throw AuthorityError.refused("Request refused: this is a certificate of the CA itself")
        }
        let subject = PKI.DistinguishedName(certificate.subject)
        let notBefore = UnixTime(Int64(certificate.notValidBefore.timeIntervalSince1970))
        return CertificateRecord(
            serial: serial, subject: subject.isEmpty ? "" : subject.slashNotation, commonName: subject.commonName ?? "",
            profile: profile.name,
            node: nil, notBefore: notBefore, notAfter: UnixTime(Int64(certificate.notValidAfter.timeIntervalSince1970)),
            issuedAt: notBefore,
            der: der)
    }
}

extension Commit {
    /// Records a certificate that `provenRecord` made; what a CRL said of its serial number before is then a revocation like any other.
    ///
    /// - Returns: whether it was not known before.
    public mutating func adopt(_ record: CertificateRecord) throws -> Bool {
        if let known = try self.store.certificate(record.serial) {
            guard known.der == record.der else {
                throw AuthorityError.refused(
                    "Request refused: another certificate with the serial number \(record.serial.decimal) is known here")
            }
            try self.audit(target: record.subject, serial: record.serial, detail: "known already")
            return false
        }
        try self.store.insert(record, commonNameHash: CommonNameHash.of(record.commonName))
        if var revocation = try self.store.revocation(record.serial) {
            revocation.notAfter = record.notAfter
            try self.put(revocation, of: record)
        }
        try self.audit(target: record.subject, serial: record.serial, detail: "adopted with the profile \(record.profile)")
        return true
    }
}
