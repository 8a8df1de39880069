// A whole CRL that is read piece by piece, so that one of any size takes no more memory than a small one.

import SwiftASN1

/// A `CertificateList` (RFC 5280 5.1) whose bytes stay where they are: only what stands around the entries is held in memory.
///
/// As with ``CertificateList``, parsing does not verify the signature and does not look into the entries.
public struct StreamedCertificateList: Sendable {
    /// The signed part without its entries: `revokedCertificates` is nil, whatever the list holds.
    public let tbsCertList: TBSCertList

    public let signatureAlgorithm: AlgorithmIdentifier

    public let signatureValue: ASN1BitString

    private let source: any CRLSource
    private let signedBytes: Range<Int>
    private let entryBytes: Range<Int>

    private static let chunkByteCount = 64 * 1024

    /// Reads what stands around the entries.
    ///
    /// - parameter source: The DER of one CRL, nothing before and nothing after it.
    /// - throws: ``RevocationFormatsError``, as ``CertificateList/init(derEncoded:)``; what the source throws.
    public init(_ source: any CRLSource) throws {
        var outer = SourceCursor(source, 0..<source.byteCount)
        let list = try outer.next()
        guard list.tag == DERTag.sequence, outer.isAtEnd else {
            throw RevocationFormatsError(
                .malformed, "the CRL is missing, is of another type, or is followed by bytes that do not belong there")
        }
        var members = SourceCursor(source, list.content)
        let signed = try members.next()
        guard signed.tag == DERTag.sequence else {
            throw RevocationFormatsError(.malformed, "tbsCertList is missing or is of another type")
        }
        let algorithm = try members.nextPart()
        let signature = try members.nextPart()
        guard members.isAtEnd else {
            throw RevocationFormatsError(.malformed, "the signature is followed by bytes that do not belong there")
        }
        let (fields, entries) = try Self.fields(source, signed.content)
        self.source = source
        self.signedBytes = signed.encoded
        self.entryBytes = entries
        (self.tbsCertList, self.signatureAlgorithm, self.signatureValue) = try RevocationFormatsError.wrapping("the CRL") {
            try (
                TBSCertList(content: fields[...]), AlgorithmIdentifier(derEncoded: algorithm[...]),
                ASN1BitString(derEncoded: signature[...])
            )
        }
        guard self.tbsCertList.revokedCertificates == nil else {
            throw RevocationFormatsError(.malformed, "revokedCertificates stands twice")
        }
        guard self.signatureAlgorithm == self.tbsCertList.signature else {
            throw RevocationFormatsError(.malformed, "the two signature algorithms differ (RFC 5280 5.1.1.2)")
        }
    }

    /// The members of the signed part one after another, but for the entries, whose place is told.
    ///
    /// The entries are the first SEQUENCE behind thisUpdate.
    private static func fields(_ source: any CRLSource, _ content: Range<Int>) throws -> (fields: [UInt8], entries: Range<Int>) {
        var members = SourceCursor(source, content)
        var fields: [UInt8] = []
        var entries: Range<Int>?
        var hasTime = false
        while !members.isAtEnd {
            let member = try members.next()
            hasTime = hasTime || member.tag == DERTag.utcTime || member.tag == DERTag.generalizedTime
            if hasTime, entries == nil, member.tag == DERTag.sequence {
                entries = member.content
            } else {
                fields += try members.part(member)
            }
            guard fields.count <= DERCursor.partByteLimit else {
                throw RevocationFormatsError(
                    .malformed, "what stands around the entries has more than \(DERCursor.partByteLimit) bytes")
            }
        }
        return (fields, entries ?? content.upperBound..<content.upperBound)
    }

    /// Hands over the bytes that the signature covers, at most 64 KiB at a time.
    public func forEachSignedChunk(_ body: (RawSpan) throws -> Void) throws {
        var offset = self.signedBytes.lowerBound
        while offset < self.signedBytes.upperBound {
            let chunk = try self.source.read(at: offset, count: min(Self.chunkByteCount, self.signedBytes.upperBound - offset))
            guard !chunk.isEmpty else {
                throw RevocationFormatsError(.malformed, "the bytes end within a value")
            }
            try body(chunk.span.bytes)
            offset += chunk.count
        }
    }

    /// A cursor before the first entry.
    public func makeCursor() -> Cursor {
        Cursor(self.source, self.entryBytes)
    }

    /// A place between two entries; in memory there is one chunk of 64 KiB.
    public struct Cursor: Sendable {
        private let source: any CRLSource
        /// Bytes of entries that were not read from the source yet.
        private var unread: Range<Int>
        private var buffer: ArraySlice<UInt8> = []

        init(_ source: any CRLSource, _ entries: Range<Int>) {
            self.source = source
            self.unread = entries
        }

        /// The next entry, nil after the last one.
        ///
        /// - throws: As ``RevokedCertificates/Cursor/next()``; what the source throws.
        public mutating func next() throws -> RevokedCertificate? {
            try self.fill(upTo: DERCursor.longestHeader)
            guard !self.buffer.isEmpty else {
                return nil
            }
            let header = try DERCursor.header(self.buffer)
            guard header.tag == DERTag.sequence, header.contentByteCount < DERCursor.partByteLimit else {
                throw RevocationFormatsError(.malformed, "an entry is of another type, or has more than \(DERCursor.partByteLimit) bytes")
            }
            let count = header.byteCount + header.contentByteCount
            try self.fill(upTo: count)
            guard self.buffer.count >= count else {
                throw RevocationFormatsError(.malformed, "the bytes end within a value")
            }
            let entry = self.buffer.prefix(count)
            self.buffer = self.buffer.dropFirst(count)
            return try RevocationFormatsError.wrapping("an entry") {
                try RevokedCertificate(derEncoded: entry)
            }
        }

        /// Reads on where fewer bytes than `count` are at hand and there are more.
        private mutating func fill(upTo count: Int) throws {
            guard self.buffer.count < count, !self.unread.isEmpty else {
                return
            }
            let more = try self.source.read(at: self.unread.lowerBound, count: min(chunkByteCount, self.unread.count))
            guard !more.isEmpty else {
                throw RevocationFormatsError(.malformed, "the bytes end within a value")
            }
            self.unread = self.unread.dropFirst(more.count)
            self.buffer = (Array(self.buffer) + more)[...]
            try self.fill(upTo: count)
        }
    }
}

/// Walks over the members of a constructed value in a source, reading their headers alone.
private struct SourceCursor {
    struct Member {
        var tag: UInt8
        var content: Range<Int>
        var encoded: Range<Int>
    }

    private let source: any CRLSource
    private var remaining: Range<Int>

    init(_ source: any CRLSource, _ range: Range<Int>) {
        self.source = source
        self.remaining = range
    }

    var isAtEnd: Bool { self.remaining.isEmpty }

    mutating func next() throws -> Member {
        let start = self.remaining.lowerBound
        let bytes = try self.source.read(at: start, count: min(DERCursor.longestHeader, self.remaining.count))
        let header = try DERCursor.header(bytes[...])
        guard header.contentByteCount <= self.remaining.count - header.byteCount else {
            throw RevocationFormatsError(.malformed, "the bytes end within a value")
        }
        let end = start + header.byteCount + header.contentByteCount
        self.remaining = end..<self.remaining.upperBound
        return Member(tag: header.tag, content: start + header.byteCount..<end, encoded: start..<end)
    }

    /// All bytes of a member, which may have at most ``DERCursor/partByteLimit``.
    func part(_ member: Member) throws -> [UInt8] {
        guard member.encoded.count <= DERCursor.partByteLimit else {
            throw RevocationFormatsError(
                .malformed, "a part has \(member.encoded.count) bytes; \(DERCursor.partByteLimit) are allowed")
        }
        let bytes = try self.source.read(at: member.encoded.lowerBound, count: member.encoded.count)
        guard bytes.count == member.encoded.count else {
            throw RevocationFormatsError(.malformed, "the bytes end within a value")
        }
        return bytes
    }

    mutating func nextPart() throws -> [UInt8] {
        try self.part(self.next())
    }
}
