// Certificate revocation lists (RFC 5280 5): the writer numbers and audits each, the publisher builds it from one snapshot.

public import PKI
public import RevocationFormats
import SwiftASN1

/// A CRL that has its number and is to be built.
public struct PlannedRevocationList: Sendable {
    public let number: CRLNumber
    public let thisUpdate: UnixTime
    public let nextUpdate: UnixTime
    /// Entries of certificates that expired before this stood on a scheduled CRL after their end, and leave.
    let dropsExpiredBefore: UnixTime?
}

extension Commit {
    /// Gives the next CRL its number: above every number before, and never below the time in microseconds, so that it grows
    /// across any restore of the store.
    public mutating func planRevocationList() throws -> PlannedRevocationList {
        guard let next = self.state.crlNumber.successor else {
            throw AuthorityError.refused("Request refused: no CRL number is left after \(self.state.crlNumber)")
        }
        let microseconds = self.now.seconds.multipliedReportingOverflow(by: 1_000_000)
        let number = max(next, CRLNumber(microseconds.overflow ? 0 : UInt64(clamping: microseconds.partialValue)))
        let plan = PlannedRevocationList(
            number: number, thisUpdate: self.now, nextUpdate: self.now.advanced(bySeconds: self.rules.crlValidity),
            // A list from a clock that ran ahead must not take entries away that have not expired.
            dropsExpiredBefore: self.state.scheduledCRLTime.map { min($0, self.clockTime) })
        try self.store.set(.crlNumber, number.decimal)
        self.state.crlNumber = number
        try self.audit(detail: "CRL \(number) until \(plan.nextUpdate.rfc3339)")
        try self.checkpoint()
        return plan
    }

    /// A scheduled CRL was published: entries that expired before it, and stood on it, may leave (RFC 5280 3.3).
    public mutating func confirmScheduled(_ plan: PlannedRevocationList) throws {
        try self.store.set(.scheduledCRLTime, String(plan.thisUpdate.seconds))
        self.state.scheduledCRLTime = plan.thisUpdate
        try self.audit(detail: "CRL \(plan.number) stands as the scheduled one")
    }
}

extension Authority {
    /// Builds and signs a CRL from one snapshot of the store, in bounded memory.
    ///
    /// - Parameters:
    ///   - spill: where encoded entries wait until their length is known.
    ///   - output: takes the DER of the CRL, piece by piece.
    /// - Returns: how many entries it has.
    public func write<Spill: CRLSpill & ~Copyable>(
        _ plan: PlannedRevocationList, spill: consuming Spill, output: (RawSpan) throws -> Void
    ) throws -> Int {
        var name = DER.Serializer()
        try name.serialize(self.issuer.certificate.subject)
        var writer = try CRLWriter(
            issuerNameDER: name.serializedBytes[...], signatureAlgorithmDER: self.issuer.listSignatureAlgorithm[...],
            thisUpdate: plan.thisUpdate.seconds, nextUpdate: plan.nextUpdate.seconds, crlNumber: plan.number,
            authorityKeyIdentifier: self.issuer.keyIdentifier[...], spill: spill)
        try self.store.read { reader in
            try reader.forEachRevocation { revocation in
                if let limit = plan.dropsExpiredBefore, revocation.notAfter < limit, revocation.revokedAt <= limit { return }
                let serial = revocation.serial.bytes
                // Never later than the list itself, as after a clock was set back: some clients take a revocation of the future for none.
                let date = min(revocation.revokedAt, plan.thisUpdate)
                try writer.append(serialNumber: serial.span, revocationDate: date.seconds, reason: revocation.reason)
            }
        }
        let list = try writer.finish()
        let count = list.entryCount
        let signature = try self.issuer.signParts(self.issuer.listDigest) { update in try list.forEachTBSChunk(update) }
        try list.forEachChunk(signature: signature, output)
        return count
    }
}

extension Issuer {
    /// The digest that CRLs are signed with.
    var listDigest: SignatureDigest { self.kind == .ecP384 ? .sha384 : .sha256 }

    /// The AlgorithmIdentifier of a CRL's signature (RFC 5758 3.2, RFC 4055 5, RFC 8410 3).
    var listSignatureAlgorithm: [UInt8] {
        switch self.kind {
        case .ed25519: [0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70]
        case .rsa: [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b, 0x05, 0x00]
        case .ecP256: [0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02]
        case .ecP384: [0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03]
        }
    }
}
