// Identifier and length octets of DER, written and read by hand where a CRL is too big for a tree of nodes.

/// The identifier octets that CRLs and OCSP use, low tag form.
enum DERTag {
    static let boolean: UInt8 = 0x01
    static let integer: UInt8 = 0x02
    static let bitString: UInt8 = 0x03
    static let octetString: UInt8 = 0x04
    static let objectIdentifier: UInt8 = 0x06
    static let enumerated: UInt8 = 0x0A
    static let utcTime: UInt8 = 0x17
    static let generalizedTime: UInt8 = 0x18
    static let sequence: UInt8 = 0x30
    /// `[0]`, constructed.
    static let contextSpecific0: UInt8 = 0xA0
    /// `[1]`, constructed.
    static let contextSpecific1: UInt8 = 0xA1
    /// `[2]`, constructed.
    static let contextSpecific2: UInt8 = 0xA2
}

/// The identifier octet and the minimal length octets that stand before `contentByteCount` bytes.
func derHeader(_ tag: UInt8, contentByteCount: Int) -> [UInt8] {
    guard contentByteCount > 0x7F else {
        return [tag, UInt8(contentByteCount)]
    }
    let lengthByteCount = (Int.bitWidth - contentByteCount.leadingZeroBitCount + 7) / 8
    var header: [UInt8] = [tag, 0x80 | UInt8(lengthByteCount)]
    for index in (0..<lengthByteCount).reversed() {
        header.append(UInt8(truncatingIfNeeded: contentByteCount >> (index * 8)))
    }
    return header
}

/// Walks over the members of one constructed value without looking into them.
///
/// SwiftASN1 parses a whole tree at once, about 100 bytes for each node, which would be more than half a gigabyte for a CRL
/// of a million entries. This cursor finds where each member begins and ends; the small members then go to SwiftASN1.
struct DERCursor: Sendable {
    /// One member: its identifier octet, its content octets, and all of it.
    struct Member {
        var tag: UInt8
        var content: ArraySlice<UInt8>
        var encoded: ArraySlice<UInt8>
    }

    /// The most bytes that a member may have which SwiftASN1 is to look into; its tree takes some hundred times as much
    /// memory as it has bytes. A name, a set of extensions or a signature of this size does not exist.
    static let partByteLimit = 64 * 1024

    private(set) var remaining: ArraySlice<UInt8>

    init(_ bytes: ArraySlice<UInt8>) {
        self.remaining = bytes
    }

    var isAtEnd: Bool { self.remaining.isEmpty }

    /// The next member if its identifier octet is `tag`; otherwise nothing is consumed.
    mutating func nextIfPresent(_ tag: UInt8) throws -> Member? {
        guard self.remaining.first == tag else {
            return nil
        }
        return try self.next()
    }

    /// The next member, whose identifier octet must be `tag`.
    mutating func next(_ tag: UInt8, _ what: StaticString) throws -> Member {
        guard let member = try self.nextIfPresent(tag) else {
            throw RevocationFormatsError(.malformed, "\(what) is missing or is of another type")
        }
        return member
    }

    /// The next member, of any type.
    mutating func next() throws -> Member {
        let bytes = self.remaining
        let header = try Self.header(bytes)
        let contentStart = bytes.startIndex + header.byteCount
        guard header.contentByteCount <= bytes.endIndex - contentStart else {
            throw RevocationFormatsError(.malformed, "the bytes end within a value")
        }
        let contentEnd = contentStart + header.contentByteCount
        self.remaining = bytes[contentEnd...]
        return Member(tag: header.tag, content: bytes[contentStart..<contentEnd], encoded: bytes[bytes.startIndex..<contentEnd])
    }

    /// How many bytes ``header(_:)`` reads at most.
    static let longestHeader = 9

    /// The identifier and length octets that `bytes` begin with; what follows them need not be there.
    static func header(_ bytes: ArraySlice<UInt8>) throws -> (tag: UInt8, byteCount: Int, contentByteCount: Int) {
        let end = bytes.endIndex
        var index = bytes.startIndex
        guard bytes.count >= 2 else {
            throw RevocationFormatsError(.malformed, "the bytes end within a header")
        }
        let tag = bytes[index]
        guard tag & 0x1F != 0x1F, tag != 0 else {
            throw RevocationFormatsError(.malformed, "a tag of this kind does not occur in a CRL")
        }
        let first = bytes[index + 1]
        index += 2

        var length = Int(first)
        if first & 0x80 != 0 {
            let lengthByteCount = Int(first & 0x7F)
            // None is the indefinite form, which DER forbids; more than 7 octets would not fit an Int.
            guard (1...7).contains(lengthByteCount), lengthByteCount <= end - index else {
                throw RevocationFormatsError(.malformed, "a length is indefinite, too large or cut off")
            }
            length = 0
            for _ in 0..<lengthByteCount {
                length = length << 8 | Int(bytes[index])
                index += 1
            }
            guard length > 0x7F, length >> ((lengthByteCount - 1) * 8) != 0 else {
                throw RevocationFormatsError(.malformed, "a length is not encoded in the fewest octets")
            }
        }
        return (tag, index - bytes.startIndex, length)
    }

    /// The next member's bytes, of any type, for SwiftASN1: at most ``partByteLimit`` of them.
    mutating func nextPart() throws -> ArraySlice<UInt8> {
        try Self.limited(self.next())
    }

    /// The next member's bytes, whose identifier octet must be `tag`, for SwiftASN1.
    mutating func nextPart(_ tag: UInt8, _ what: StaticString) throws -> ArraySlice<UInt8> {
        try Self.limited(self.next(tag, what))
    }

    /// The next member's bytes if its identifier octet is `tag`, for SwiftASN1; otherwise nothing is consumed.
    mutating func nextPartIfPresent(_ tag: UInt8) throws -> ArraySlice<UInt8>? {
        try self.nextIfPresent(tag).map { try Self.limited($0) }
    }

    private static func limited(_ member: Member) throws -> ArraySlice<UInt8> {
        guard member.encoded.count <= Self.partByteLimit else {
            throw RevocationFormatsError(.malformed, "a part has \(member.encoded.count) bytes; \(Self.partByteLimit) are allowed")
        }
        return member.encoded
    }

    /// Throws unless everything was consumed.
    func requireEnd(_ what: StaticString) throws {
        guard self.isAtEnd else {
            throw RevocationFormatsError(.malformed, "\(what) is followed by bytes that do not belong there")
        }
    }
}
