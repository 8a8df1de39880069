// Writes a CRL of any size in bounded memory: entries in, then the bytes to sign, then the bytes to store.

import SwiftASN1

/// One entry to write.
public struct CRLEntry: Hashable, Sendable {
    /// Big-endian, positive, at most 20 octets.
    public var serialNumber: ArraySlice<UInt8>
    /// Seconds since 1970.
    public var revocationDate: Int64
    public var reason: CRLReason

    public init(serialNumber: ArraySlice<UInt8>, revocationDate: Int64, reason: CRLReason) {
        self.serialNumber = serialNumber
        self.revocationDate = revocationDate
        self.reason = reason
    }
}

/// Takes the entries of a CRL one by one, in the order in which they will stand.
///
/// ```swift
/// var writer = try CRLWriter(issuerNameDER: …, spill: TemporaryFileCRLSpill(directory: folder))
/// try store.forEachRevocation { try writer.append($0) }
/// let crl = try writer.finish()
/// try crl.forEachTBSChunk { signer.update($0) }
/// try crl.forEachChunk(signature: signer.finish()) { try file.write($0) }
/// ```
///
/// In memory there is one chunk of 64 KiB, and what the spill holds.
public struct CRLWriter<Spill: CRLSpill & ~Copyable>: ~Copyable {
    private let frame: TBSCertList
    private var encoder: CRLEntryEncoder
    private var spill: Spill
    private var entryCount = 0
    private var entriesByteCount = 0

    /// The header of a v2 CRL.
    ///
    /// - parameters:
    ///     - issuerNameDER: The Name as it stands in the CA certificate's subject, byte for byte.
    ///     - signatureAlgorithmDER: The AlgorithmIdentifier of the signature that will be made.
    ///     - thisUpdate: Seconds since 1970.
    ///     - nextUpdate: Seconds since 1970, later than `thisUpdate`.
    ///     - crlNumber: Greater than that of every list before.
    ///     - authorityKeyIdentifier: The key identifier from the CA certificate's subject key identifier.
    ///     - chunkByteCount: How many bytes are handed to the spill at once.
    ///     - spill: Where the encoded entries wait.
    /// - throws: ``RevocationFormatsError`` with `invalidField` or `timeOutOfRange`.
    public init(
        issuerNameDER: ArraySlice<UInt8>,
        signatureAlgorithmDER: ArraySlice<UInt8>,
        thisUpdate: Int64,
        nextUpdate: Int64,
        crlNumber: CRLNumber,
        authorityKeyIdentifier: ArraySlice<UInt8>,
        chunkByteCount: Int = 64 * 1024,
        spill: consuming Spill
    ) throws {
        guard let signature = try? AlgorithmIdentifier(derEncoded: signatureAlgorithmDER) else {
            throw RevocationFormatsError(.invalidField, "the signature algorithm is not the DER of an AlgorithmIdentifier")
        }
        self.frame = try TBSCertList(
            signature: signature,
            issuer: issuerNameDER,
            thisUpdate: X509Time(unixSeconds: thisUpdate),
            nextUpdate: X509Time(unixSeconds: nextUpdate),
            revokedCertificates: nil,
            crlNumber: crlNumber,
            authorityKeyIdentifier: authorityKeyIdentifier
        )
        self.encoder = CRLEntryEncoder(chunkByteCount: chunkByteCount)
        self.spill = spill
    }

    /// Adds an entry; an entry that is refused leaves the writer as it was.
    ///
    /// - parameters:
    ///     - serialNumber: Big-endian, positive, at most 20 octets after leading zero octets, which are dropped.
    ///     - revocationDate: Seconds since 1970.
    ///     - reason: No reason is written for `unspecified` (RFC 5280 5.3.1); `removeFromCRL` is refused.
    /// - throws: ``RevocationFormatsError`` with `invalidSerialNumber`, `timeOutOfRange` or `invalidReason`; what the spill throws.
    public mutating func append(serialNumber: Span<UInt8>, revocationDate: Int64, reason: CRLReason) throws {
        if !self.encoder.hasRoom {
            try self.flush()
        }
        self.entriesByteCount += try self.encoder.append(
            serialNumber: serialNumber,
            revocationDate: revocationDate,
            reason: reason
        )
        self.entryCount += 1
    }

    /// Adds an entry, see ``append(serialNumber:revocationDate:reason:)``.
    public mutating func append(_ entry: CRLEntry) throws {
        try self.append(
            serialNumber: entry.serialNumber.span,
            revocationDate: entry.revocationDate,
            reason: entry.reason
        )
    }

    private mutating func flush() throws {
        try self.encoder.drain { try self.spill.append($0) }
    }

    /// Ends the list of entries: the bytes to sign are settled.
    ///
    /// - throws: What the spill throws.
    public consuming func finish() throws -> UnsignedCRL<Spill> {
        try self.flush()
        return try UnsignedCRL(
            frame: self.frame,
            entryCount: self.entryCount,
            entriesByteCount: self.entriesByteCount,
            spill: self.spill
        )
    }
}

// All its fields are values.
extension CRLWriter: Sendable where Spill: Sendable & ~Copyable {}
