// The doctor's look at the CRL and at the audit log.

import Authority
import CAKeys
import PKI
import RevocationFormats
import SQLiteStore
import X509

extension Doctor {
    func listCheck() throws -> DoctorFinding {
        let again = "ca-ctl crl generate"
        guard DataDirectory.exists(self.directory.publishedList) else {
            return DoctorFinding("crl", .fail, "no CRL is published", do: again)
        }
        let der = try PublishedFile.read(self.directory.publishedList)
        let list: CertificateList
        do { list = try CertificateList(derEncoded: der) } catch let error as RevocationFormatsError {
            return DoctorFinding("crl", .fail, "published/crl.der is no CRL: \(error.message)", do: again)
        }
        guard
            try SignatureVerification.isValid(
                list.signatureValue.bytes, over: list.tbsCertListBytes, algorithm: list.signatureAlgorithm.algorithm,
                by: try self.certificate())
        else { return DoctorFinding("crl", .fail, "published/crl.der is not signed by this CA's key", do: again) }
        if let (fault, remedy) = try self.fault(of: list) { return DoctorFinding("crl", .fail, fault, do: remedy ?? again) }
        guard let bytes = try? PublishedFile.read(self.directory.listPEM),
            PEM.decodeFirst(String(decoding: bytes, as: UTF8.self), labels: ["X509 CRL"]) == der
        else { return DoctorFinding("crl", .fail, "crl.pem is not the published CRL", do: again) }
        let facts = try PublishedListFacts(der: der)
        let end = facts.nextUpdate.map { ", until \($0.rfc3339)" } ?? ""
        return DoctorFinding("crl", .ok, "number \(facts.number ?? 0) by this CA's key has the store's \(facts.entries) revocations\(end)")
    }

    /// What the list says otherwise than the store, and what to do where another list is no answer.
    private func fault(of list: CertificateList) throws -> (fault: String, remedy: String?)? {
        let store = try self.store()
        let thisUpdate = UnixTime(list.tbsCertList.thisUpdate.unixSeconds)
        return try store.read { reader in
            let number = try reader.setting(.crlNumber).flatMap { CRLNumber(decimal: $0) } ?? 0
            guard list.tbsCertList.crlNumber == number else {
                return ("the published CRL has the number \(list.tbsCertList.crlNumber ?? 0), the store's last is \(number)", nil)
            }
            return try Self.difference(list.tbsCertList.revokedCertificates?.makeCursor(), reader, thisUpdate: thisUpdate)
        }
    }

    /// Walks along both, which are ordered by serial number.
    private static func difference(
        _ cursor: RevokedCertificates.Cursor?, _ reader: any StoreReader, thisUpdate: UnixTime
    ) throws -> (fault: String, remedy: String?)? {
        var cursor = cursor
        var entry = try cursor?.next()
        var missing = FaultList()
        var extra = FaultList()
        func serial(_ entry: RevokedCertificate) -> [UInt8] {
            [UInt8](repeating: 0, count: max(0, 20 - entry.serialNumber.count)) + entry.serialNumber
        }
        try reader.forEachRevocation { revocation in
            let wanted = Array(revocation.serial.paddedBytes)
            while let candidate = entry, serial(candidate).lexicographicallyPrecedes(wanted) {
                extra.add(Hexadecimal.encode(Array(candidate.serialNumber)))
                entry = try cursor?.next()
            }
            if let candidate = entry, serial(candidate) == wanted {
                // A hold that became a revocation meanwhile has another reason, not another entry.
                entry = try cursor?.next()
                return
            }
            // Revoked since then, or expired before it (RFC 5280 3.3): neither belongs on this list.
            guard revocation.revokedAt < thisUpdate, revocation.notAfter >= thisUpdate else { return }
            missing.add(revocation.serial.hexadecimal)
        }
        while let candidate = entry {
            extra.add(Hexadecimal.encode(Array(candidate.serialNumber)))
            entry = try cursor?.next()
        }
        if !missing.isEmpty { return ("revoked in the store, but not on the CRL: \(missing.text)", nil) }
        guard !extra.isEmpty else { return nil }
        // The next CRL would let them pass for good.
        return (
            "on the CRL, but not revoked in the store: \(extra.text)",
            "keep published/crl.der, and look for who changed the store: ca-ctl audit show; ca-ctl audit verify"
        )
    }

    func auditCheck() throws -> DoctorFinding {
        let verdict = try self.auditVerdict()
        guard let fault = verdict.fault else {
            return DoctorFinding("audit", .ok, "\(verdict.verified) records are chained without a gap")
        }
        return DoctorFinding(
            "audit", .fail, "record \(fault.record ?? 0): \(fault.words)",
            do: "ca-ctl audit show --after \(max(0, (fault.record ?? 0) - 2)); compare with the log and a backup")
    }

    /// A running CA knows the head of the chain; of one that does not run the checkpoints tell where its end was cut off.
    private func auditVerdict() throws -> AuditVerdict {
        let store = try self.store()
        if let running { return try running.authority.verifyAudit() }
        // A key that cannot be used is another check's matter; the chain can be walked without it.
        guard let key = try? AuditOffline.key(self.directory) else { return try store.read { try $0.verifyAudit() } }
        return try store.verifyAudit(key: key) { _ in }
    }
}
