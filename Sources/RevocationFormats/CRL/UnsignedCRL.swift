// A CRL whose contents are settled and whose signature is not there yet.

import SwiftASN1

/// What ``CRLWriter/finish()`` leaves: the bytes to sign in chunks, and, with the signature, the whole CRL in chunks.
///
/// The outer header comes first in the file and holds the signature's length, which differs by a byte or two from one
/// ECDSA signature to the next; therefore nothing is delivered for storing before the signature is known.
public struct UnsignedCRL<Spill: CRLSpill & ~Copyable>: ~Copyable {
    /// How many entries the list has.
    public let entryCount: Int

    /// How many bytes ``forEachTBSChunk(_:)`` delivers. A key that must see its whole message at once (Ed25519) needs
    /// this much memory, or a file of this size.
    public let tbsByteCount: Int

    /// The signed bytes before the first entry.
    private let head: [UInt8]
    private let spill: Spill
    /// The signed bytes after the last entry.
    private let tail: [UInt8]
    private let signatureAlgorithm: [UInt8]

    init(frame: TBSCertList, entryCount: Int, entriesByteCount: Int, spill: consuming Spill) throws {
        var before = DER.Serializer()
        try frame.serializeFieldsBeforeEntries(into: &before)
        var after = DER.Serializer()
        try frame.serializeFieldsAfterEntries(into: &after)
        var algorithm = DER.Serializer()
        try algorithm.serialize(frame.signature)

        // RFC 5280 5.1.2.6: the field must be absent when nothing is revoked.
        let listHeader = entryCount == 0 ? [] : derHeader(DERTag.sequence, contentByteCount: entriesByteCount)
        let fields = before.serializedBytes + listHeader
        let contentByteCount = fields.count + entriesByteCount + after.serializedBytes.count

        self.head = derHeader(DERTag.sequence, contentByteCount: contentByteCount) + fields
        self.tail = after.serializedBytes
        self.signatureAlgorithm = algorithm.serializedBytes
        self.entryCount = entryCount
        self.tbsByteCount = self.head.count + entriesByteCount + self.tail.count
        self.spill = spill
    }

    /// Calls `body` with the DER of the TBSCertList, piece by piece: what the signature covers.
    ///
    /// - throws: What `body` and the spill throw.
    public func forEachTBSChunk(_ body: (RawSpan) throws -> Void) throws {
        try body(self.head.span.bytes)
        try self.spill.replay(body)
        try body(self.tail.span.bytes)
    }

    /// Calls `body` with the DER of the whole CertificateList, piece by piece: what is stored and published.
    ///
    /// - parameters:
    ///     - signature: The content of the BIT STRING: for ECDSA the DER of `ECDSA-Sig-Value`.
    ///     - body: Called with one piece after the other.
    /// - throws: ``RevocationFormatsError`` with `invalidField` for an empty signature; what `body` and the spill throw.
    public func forEachChunk(signature: [UInt8], _ body: (RawSpan) throws -> Void) throws {
        guard !signature.isEmpty else {
            throw RevocationFormatsError(.invalidField, "the signature is empty")
        }
        // The octet after the header counts the unused bits; signatures have none.
        let trailer =
            self.signatureAlgorithm + derHeader(DERTag.bitString, contentByteCount: 1 + signature.count) + [0] + signature
        let header = derHeader(DERTag.sequence, contentByteCount: self.tbsByteCount + trailer.count)
        try body(header.span.bytes)
        try self.forEachTBSChunk(body)
        try body(trailer.span.bytes)
    }
}

// All its fields are values.
extension UnsignedCRL: Sendable where Spill: Sendable & ~Copyable {}
