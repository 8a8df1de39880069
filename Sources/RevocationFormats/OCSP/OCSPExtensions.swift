// The extensions of OCSP messages: the nonce, and which others are let pass.

/// What is read from Extensions (RFC 6960 4.4): the nonce, where it may stand.
enum OCSPExtensions {
    /// 1.3.6.1.5.5.7.48.1.2, id-pkix-ocsp-nonce.
    static let nonceIdentifier: [UInt8] = [0x2B, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x02]

    /// How long a nonce may be, in octets (RFC 9654 2.1).
    static let nonceByteCounts = 1...128

    /// More than any client sends.
    private static let most = 16

    /// Reads the Extensions inside an explicit tag, `explicit` being that tag's content.
    ///
    /// - parameter acceptsNonce: Whether the nonce may stand here; where not, it is an extension like others.
    /// - returns: The nonce, the content of the OCTET STRING inside extnValue; nil where there is none.
    /// - throws: `malformed`; `unsupportedCriticalExtension` for a critical one that is not the nonce.
    static func read(
        explicit: Range<Int>, acceptsNonce: Bool, in bytes: Span<UInt8>
    ) throws(RevocationFormatsError) -> [UInt8]? {
        var list = DERReader(try DERReader.only(DERTag.sequence, "Extensions", in: explicit, of: bytes).content)
        var seen: [Range<Int>] = []
        var nonce: [UInt8]?
        repeat {
            let member = try list.next(DERTag.sequence, "an extension", in: bytes)
            let (id, isCritical, value) = try Self.fields(member, in: bytes)
            guard !seen.contains(where: { Self.equal($0, id, in: bytes) }) else {
                throw RevocationFormatsError(.malformed, "an extension stands twice")
            }
            guard seen.count < Self.most else { throw RevocationFormatsError(.malformed, "there are more than \(Self.most) extensions") }
            seen.append(id)
            if acceptsNonce, bytes.holds(Self.nonceIdentifier, in: id) {
                nonce = try Self.nonce(value, in: bytes)
            } else if isCritical {
                throw RevocationFormatsError(.unsupportedCriticalExtension, "a critical extension is not known here")
            }
        } while !list.isAtEnd
        return nonce
    }

    /// The parts of one Extension. `critical` may say the FALSE that is its default.
    private static func fields(
        _ member: DERReader.Member, in bytes: Span<UInt8>
    ) throws(RevocationFormatsError) -> (id: Range<Int>, isCritical: Bool, value: Range<Int>) {
        var fields = DERReader(member.content)
        let id = try fields.nextObjectIdentifier("an extension", in: bytes)
        var isCritical = false
        if let critical = try fields.nextIfPresent(DERTag.boolean, in: bytes) {
            guard let place = critical.content.first, critical.content.count == 1, bytes[place] == 0 || bytes[place] == 0xFF else {
                throw RevocationFormatsError(.malformed, "critical is neither TRUE nor FALSE")
            }
            isCritical = bytes[place] == 0xFF
        }
        let value = try fields.next(DERTag.octetString, "extnValue", in: bytes)
        try fields.requireEnd("an extension")
        return (id.content, isCritical, value.content)
    }

    /// The nonce inside extnValue.
    ///
    /// `Nonce ::= OCTET STRING(SIZE(1..128))` (RFC 9654 2.1). RFC 2560 left open whether extnValue holds the octets themselves; RFC 8954 has settled
    /// it, and OpenSSL, GnuTLS and the JDK write the OCTET STRING, so bare octets are refused.
    private static func nonce(_ value: Range<Int>, in bytes: Span<UInt8>) throws(RevocationFormatsError) -> [UInt8] {
        let nonce = try DERReader.only(DERTag.octetString, "a nonce", in: value, of: bytes).content
        guard Self.nonceByteCounts.contains(nonce.count) else {
            throw RevocationFormatsError(.malformed, "a nonce has \(nonce.count) octets; 1 to 128 are allowed (RFC 9654 2.1)")
        }
        return bytes.copy(nonce)
    }

    private static func equal(_ left: Range<Int>, _ right: Range<Int>, in bytes: Span<UInt8>) -> Bool {
        left.count == right.count && zip(left, right).allSatisfy { bytes[$0] == bytes[$1] }
    }

    /// How many octets ``appendNonce(_:to:)`` appends.
    static func nonceByteCount(_ nonce: [UInt8]) -> Int {
        derByteCount(derByteCount(Self.nonceExtensionByteCount(nonce)))
    }

    private static func nonceExtensionByteCount(_ nonce: [UInt8]) -> Int {
        derByteCount(2 + Self.nonceIdentifier.count + derByteCount(derByteCount(nonce.count)))
    }

    /// Appends an explicit tag and the Extensions with a nonce alone in it, not critical.
    static func appendNonce(_ nonce: [UInt8], tag: UInt8, to bytes: inout [UInt8]) {
        let list = Self.nonceExtensionByteCount(nonce)
        let value = derByteCount(nonce.count)
        bytes.appendDERHeader(tag, contentByteCount: derByteCount(list))
        bytes.appendDERHeader(DERTag.sequence, contentByteCount: list)
        bytes.appendDERHeader(DERTag.sequence, contentByteCount: 2 + Self.nonceIdentifier.count + derByteCount(value))
        bytes.appendDERHeader(DERTag.objectIdentifier, contentByteCount: Self.nonceIdentifier.count)
        bytes.append(contentsOf: Self.nonceIdentifier)
        bytes.appendDERHeader(DERTag.octetString, contentByteCount: value)
        bytes.appendDERHeader(DERTag.octetString, contentByteCount: nonce.count)
        bytes.append(contentsOf: nonce)
    }
}

/// How many octets a value has with its identifier and length octets.
func derByteCount(_ contentByteCount: Int) -> Int {
    switch contentByteCount {
    case ..<0x80: 2 + contentByteCount
    case ..<0x100: 3 + contentByteCount
    case ..<0x1_0000: 4 + contentByteCount
    default: derHeader(DERTag.sequence, contentByteCount: contentByteCount).count + contentByteCount
    }
}

extension [UInt8] {
    /// Appends what ``derHeader(_:contentByteCount:)`` makes, without an array for it.
    mutating func appendDERHeader(_ tag: UInt8, contentByteCount: Int) {
        self.append(tag)
        switch contentByteCount {
        case ..<0x80: break
        case ..<0x100: self.append(0x81)
        case ..<0x1_0000:
            self.append(0x82)
            self.append(UInt8(truncatingIfNeeded: contentByteCount >> 8))
        default: self.append(contentsOf: derHeader(tag, contentByteCount: contentByteCount).dropFirst().dropLast())
        }
        self.append(UInt8(truncatingIfNeeded: contentByteCount))
    }
}
