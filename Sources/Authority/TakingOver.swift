// Taking revocations over from CRLs that this CA's key signed elsewhere: checking such a list, and what each of its entries changes.

import Crypto
public import PKI
public import RevocationFormats
import SwiftASN1
import X509
import _CryptoExtras

/// An entry of a CRL, as far as it counts here.
public struct TakenOverEntry: Sendable, Equatable {
    public let serial: SerialNumber
    public let reason: CRLReason
    public let revokedAt: UnixTime

    public init(serial: SerialNumber, reason: CRLReason, revokedAt: UnixTime) {
        self.serial = serial
        self.reason = reason
        self.revokedAt = revokedAt
    }

    /// nil for what revokes nothing: the serial number 0, which no certificate may have, and removeFromCRL, which belongs into delta CRLs.
    public init?(_ entry: RevokedCertificate) {
        guard let serial = SerialNumber(bytes: entry.serialNumber), entry.reason != .removeFromCRL else { return nil }
        self.init(serial: serial, reason: entry.reason, revokedAt: UnixTime(entry.revocationDate.unixSeconds))
    }

    /// As the store keeps it. The earlier time stands when only the reason changes; a hold made final counts from the entry's.
    func revocation(after standing: Revocation?, notAfter: UnixTime) -> Revocation {
        let time = standing.map { $0.reason == .certificateHold ? self.revokedAt : min($0.revokedAt, self.revokedAt) } ?? self.revokedAt
        return Revocation(serial: self.serial, reason: self.reason, revokedAt: time, notAfter: notAfter)
    }
}

/// What taking entries over came to.
public struct TakingOverCount: Sendable, Equatable {
    /// Serial numbers that were not revoked here before.
    public var new = 0
    /// Those whose reason was replaced by a stronger one.
    public var replaced = 0
    /// Those for which nothing changed.
    public var standing = 0
    /// Those with keyCompromise whose key is not known here and cannot be blocked.
    public var keysNotBlocked = 0

    public init() {}

    public static func += (left: inout TakingOverCount, right: TakingOverCount) {
        left.new += right.new
        left.replaced += right.replaced
        left.standing += right.standing
        left.keysNotBlocked += right.keysNotBlocked
    }

    /// `3 new, 1 replaced, 9 stood already`, and what cannot be done.
    public var text: String {
        "\(self.new) new, \(self.replaced) replaced, \(self.standing) stood already"
            + (self.keysNotBlocked == 0
                ? "" : "; \(self.keysNotBlocked) for keyCompromise, whose certificates are not known here: their keys cannot be blocked")
    }
}

extension Issuer {
    /// Proves that a CRL is this CA's: its issuer is the CA's name, and its signature was made with the CA's key.
    ///
    /// An Ed25519 signature needs the whole signed part in memory; all others are checked in bounded memory.
    ///
    /// - Throws: `AuthorityError.refused` with the reason; what the list's source throws.
    public func check(_ list: StreamedCertificateList) throws -> TakenOverList {
        let fields = list.tbsCertList
        let name = try PKI.DistinguishedName(encoded: Array(fields.issuer))
        guard name == self.name else {
            throw AuthorityError.refused("the CRL is one of \(name.slashNotation), and this CA is \(self.name.slashNotation)")
        }
        guard try self.hasSigned(list) else {
            throw AuthorityError.refused("the CRL was not signed with this CA's key, or was changed since")
        }
        // From 2^159 on a number takes more than the 20 octets that RFC 5280 5.2.3 allows, and soon there would be none after it.
        if let number = fields.crlNumber, number.bytes.count == 20, number.bytes.first ?? 0 >= 0x80 {
            throw AuthorityError.refused("the CRL's number \(number) is too great: there must be one after it (RFC 5280 5.2.3)")
        }
        return TakenOverList(number: fields.crlNumber, thisUpdate: UnixTime(fields.thisUpdate.unixSeconds))
    }

    private func hasSigned(_ list: StreamedCertificateList) throws -> Bool {
        let isRSA = self.kind == .rsa
        let isElliptic = self.kind == .ecP256 || self.kind == .ecP384
        switch list.signatureAlgorithm.algorithm {
        case [1, 2, 840, 10045, 4, 3, 2]: return try isElliptic && self.hasSigned(list, SHA256.self)
        case [1, 2, 840, 10045, 4, 3, 3]: return try isElliptic && self.hasSigned(list, SHA384.self)
        case [1, 2, 840, 10045, 4, 3, 4]: return try isElliptic && self.hasSigned(list, SHA512.self)
        case [1, 2, 840, 113549, 1, 1, 11]: return try isRSA && self.hasSigned(list, SHA256.self)
        case [1, 2, 840, 113549, 1, 1, 12]: return try isRSA && self.hasSigned(list, SHA384.self)
        case [1, 2, 840, 113549, 1, 1, 13]: return try isRSA && self.hasSigned(list, SHA512.self)
        case [1, 3, 101, 112]: return try self.hasSignedWithEd25519(list)
        case let other:
            throw AuthorityError.refused(
                "the CRL is signed with the algorithm \(other), which is not accepted; have it signed with SHA-256, SHA-384, SHA-512 or Ed25519"
            )
        }
    }

    private func hasSigned<Hash: HashFunction>(_ list: StreamedCertificateList, _ type: Hash.Type) throws -> Bool {
        var hash = Hash()
        try list.forEachSignedChunk { chunk in chunk.withUnsafeBytes { hash.update(bufferPointer: $0) } }
        let digest = hash.finalize()
        let signature = Array(list.signatureValue.bytes)
        let key = self.certificate.publicKey
        if let key = P256.Signing.PublicKey(key) {
            return (try? P256.Signing.ECDSASignature(derRepresentation: signature)).map { key.isValidSignature($0, for: digest) } ?? false
        }
        if let key = P384.Signing.PublicKey(key) {
            return (try? P384.Signing.ECDSASignature(derRepresentation: signature)).map { key.isValidSignature($0, for: digest) } ?? false
        }
        guard let key = _RSA.Signing.PublicKey(key) else { return false }
        return key.isValidSignature(_RSA.Signing.RSASignature(rawRepresentation: signature), for: digest, padding: .insecurePKCS1v1_5)
    }

    private func hasSignedWithEd25519(_ list: StreamedCertificateList) throws -> Bool {
        guard let key = Curve25519.Signing.PublicKey(self.certificate.publicKey) else { return false }
        var message: [UInt8] = []
        try list.forEachSignedChunk { chunk in chunk.withUnsafeBytes { message += $0 } }
        return key.isValidSignature(Array(list.signatureValue.bytes), for: message)
    }
}

extension Authority {
    /// Those of `entries` that would change something: what stands already need not go through the writer.
    public func changing(_ entries: [TakenOverEntry]) throws -> [TakenOverEntry] {
        try self.store.read { reader in
            try entries.filter { entry in try reader.revocation(entry.serial).map { $0.yields(to: entry.reason) } ?? true }
        }
    }
}

extension Commit {
    /// Takes entries of a CRL over that `Issuer.check` accepted.
    ///
    /// What stands stays unless the entry is stronger, by the rule of `revoke`; each change is an event of its own. The number of the next
    /// CRL will be above the list's.
    ///
    /// - Parameters:
    ///   - range: which entries of the list these are, for the audit record.
    public mutating func takeOver(_ entries: [TakenOverEntry], of list: TakenOverList, range: Range<Int>) throws -> TakingOverCount {
        try self.raiseListNumber(to: list)
        var count = TakingOverCount()
        for entry in entries {
            let standing = try self.store.revocation(entry.serial)
            if let standing, !standing.yields(to: entry.reason) {
                count.standing += 1
                continue
            }
            let certificate = try self.store.certificate(entry.serial)
            let revocation = entry.revocation(after: standing, notAfter: certificate?.notAfter ?? UnixTime(.max))
            try self.put(revocation, of: certificate)
            if standing == nil { count.new += 1 } else { count.replaced += 1 }
            if certificate == nil, revocation.reason == .keyCompromise { count.keysNotBlocked += 1 }
            self.state.eventSequence += 1
            self.events.append(.status(sequence: self.state.eventSequence, serial: entry.serial, revocation: revocation))
        }
        if count.new + count.replaced > 0 {
            try self.store.set(.eventSequence, String(self.state.eventSequence))
            self.wantsCRL = true
        }
        try self.audit(detail: "\(list.text), entries \(range.lowerBound + 1) to \(range.upperBound): \(count.text)")
        return count
    }

    /// A CRL was taken over to its end: says so in the audit log, and from now on in `status` what it leaves unknown.
    public mutating func finishTakingOver(_ list: TakenOverList, entries: Int, _ count: TakingOverCount) throws {
        try self.raiseListNumber(to: list)
        if var note = self.state.recoveryNote, note.list.map({ $0.thisUpdate < list.thisUpdate }) ?? true {
            note.list = list
            try self.set(note)
        }
        try self.audit(
            detail: "\(list.text) was taken over with \(entries) entries: \(count.text)"
                + (self.state.recoveryNote.map { "; \($0.sentence)" } ?? ""))
    }

    /// Keeps in view what this CA cannot know.
    public mutating func set(_ note: RecoveryNote) throws {
        try self.store.set(.recoveryNote, note.stored)
        self.state.recoveryNote = note
    }

    private mutating func raiseListNumber(to list: TakenOverList) throws {
        guard let number = list.number, number > self.state.crlNumber else { return }
        try self.store.set(.crlNumber, number.decimal)
        self.state.crlNumber = number
    }
}
