// A strict reader of DER over bytes that stay where they are: no tree, no copy, no recursion.

/// Walks over the members of one constructed value in a span, by their places.
///
/// Everything that X.690 leaves to BER is refused: the indefinite form, lengths in more octets than needed, tags above 30. Each index is checked
/// by the span itself.
struct DERReader {
    /// One member: its identifier octet, and where it and its content octets stand.
    struct Member {
        var tag: UInt8
        var start: Int
        var content: Range<Int>

        var encoded: Range<Int> { self.start..<self.content.upperBound }
    }

    private var position: Int
    private let end: Int

    /// The members inside `range`.
    init(_ range: Range<Int>) {
        self.position = range.lowerBound
        self.end = range.upperBound
    }

    var isAtEnd: Bool { self.position >= self.end }

    /// The identifier octet of the next member; nil at the end.
    func nextTag(in bytes: Span<UInt8>) -> UInt8? {
        self.isAtEnd ? nil : bytes[self.position]
    }

    /// The next member, of any type.
    mutating func next(in bytes: Span<UInt8>) throws(RevocationFormatsError) -> Member {
        let start = self.position
        guard self.end - start >= 2 else { throw RevocationFormatsError(.malformed, "the bytes end within a header") }
        let tag = bytes[start]
        guard tag & 0x1F != 0x1F, tag != 0 else { throw RevocationFormatsError(.malformed, "a tag of this kind does not occur in OCSP") }
        var index = start + 2
        var length = Int(bytes[start + 1])
        if length > 0x7F {
            let octets = length & 0x7F
            // None is the indefinite form, which DER forbids; nothing of OCSP has more than 16 MiB.
            guard (1...3).contains(octets), octets <= self.end - index else {
                throw RevocationFormatsError(.malformed, "a length is indefinite, too large or cut off")
            }
            length = 0
            for _ in 0..<octets {
                length = length << 8 | Int(bytes[index])
                index += 1
            }
            guard length > 0x7F, length >> ((octets - 1) * 8) != 0 else {
                throw RevocationFormatsError(.malformed, "a length is not encoded in the fewest octets")
            }
        }
        guard length <= self.end - index else { throw RevocationFormatsError(.malformed, "the bytes end within a value") }
        self.position = index + length
        return Member(tag: tag, start: start, content: index..<self.position)
    }

    /// The next member, whose identifier octet must be `tag`.
    mutating func next(_ tag: UInt8, _ what: StaticString, in bytes: Span<UInt8>) throws(RevocationFormatsError) -> Member {
        guard self.nextTag(in: bytes) == tag else {
            throw RevocationFormatsError(.malformed, "\(what) is missing or is of another type")
        }
        return try self.next(in: bytes)
    }

    /// The next member if its identifier octet is `tag`; otherwise nothing is consumed.
    mutating func nextIfPresent(_ tag: UInt8, in bytes: Span<UInt8>) throws(RevocationFormatsError) -> Member? {
        guard self.nextTag(in: bytes) == tag else { return nil }
        return try self.next(in: bytes)
    }

    /// Throws unless everything was consumed.
    func requireEnd(_ what: StaticString) throws(RevocationFormatsError) {
        guard self.isAtEnd else {
            throw RevocationFormatsError(.malformed, "\(what) is followed by bytes that do not belong there")
        }
    }

    /// The single member inside `range`, whose identifier octet must be `tag`.
    static func only(
        _ tag: UInt8, _ what: StaticString, in range: Range<Int>, of bytes: Span<UInt8>
    ) throws(RevocationFormatsError) -> Member {
        var reader = DERReader(range)
        let member = try reader.next(tag, what, in: bytes)
        try reader.requireEnd(what)
        return member
    }
}

extension Span<UInt8> {
    /// A copy of the octets in `range`.
    func copy(_ range: Range<Int>) -> [UInt8] {
        self.extracting(range).withUnsafeBufferPointer { Array($0) }
    }

    /// Whether the octets in `range` are these.
    func holds<Octets: Collection<UInt8>>(_ octets: Octets, in range: Range<Int>) -> Bool {
        guard range.count == octets.count else { return false }
        return zip(range, octets).allSatisfy { self[$0] == $1 }
    }
}
