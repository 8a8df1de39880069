// Encodes CRL entries by hand into one buffer that is used again and again.

/// The hot loop of ``CRLWriter``: no allocation, no tree, about 50 bytes for an entry.
struct CRLEntryEncoder {
    /// RFC 5280 4.1.2.2. A 20-octet number whose first bit is set takes 21 octets as an INTEGER; that is written, since it
    /// is what such a certificate holds.
    static let maximumSerialNumberByteCount = 20

    /// `SEQUENCE { SEQUENCE { id-ce-cRLReasons, OCTET STRING { ENUMERATED` up to the code, which follows.
    private static let reasonExtensionPrefix: InlineArray<13, UInt8> = [
        0x30, 0x0C, 0x30, 0x0A, 0x06, 0x03, 0x55, 0x1D, 0x15, 0x04, 0x03, 0x0A, 0x01,
    ]
    private static let reasonExtensionByteCount = 14

    /// Header, serial number, time and reason at their longest; short enough that every length is a single octet.
    private static let maximumEntryByteCount =
        2 + (2 + 1 + maximumSerialNumberByteCount) + X509Time.maximumEncodedByteCount + reasonExtensionByteCount

    private var buffer: [UInt8]
    private var used = 0

    init(chunkByteCount: Int) {
        self.buffer = [UInt8](repeating: 0, count: max(chunkByteCount, Self.maximumEntryByteCount))
    }

    static func invalidSerialNumber(significantByteCount: Int) -> RevocationFormatsError {
        let what = significantByteCount == 0 ? "is zero or empty" : "has \(significantByteCount) octets"
        return RevocationFormatsError(.invalidSerialNumber, "a serial number is positive and has at most 20 octets; this one \(what)")
    }

    /// Whether another entry of any size fits; if not, ``drain(into:)`` comes first.
    var hasRoom: Bool { self.buffer.count - self.used >= Self.maximumEntryByteCount }

    /// Hands over what was encoded since the last time, and forgets it.
    mutating func drain(into body: (RawSpan) throws -> Void) rethrows {
        try body(self.buffer.span.bytes.extracting(first: self.used))
        self.used = 0
    }

    /// - returns: How many bytes the entry takes.
    mutating func append(serialNumber: Span<UInt8>, revocationDate: Int64, reason: CRLReason) throws -> Int {
        var firstSignificant = 0
        while firstSignificant < serialNumber.count, serialNumber[firstSignificant] == 0 {
            firstSignificant += 1
        }
        let significantByteCount = serialNumber.count - firstSignificant
        guard significantByteCount > 0, significantByteCount <= Self.maximumSerialNumberByteCount else {
            throw Self.invalidSerialNumber(significantByteCount: significantByteCount)
        }
        guard reason != .removeFromCRL else {
            throw RevocationFormatsError(.invalidReason, "removeFromCRL stands in delta CRLs only (RFC 5280 5.3.1)")
        }
        let time = try X509Time(unixSeconds: revocationDate)

        // A first bit that is set would make the INTEGER negative.
        let needsZeroOctet = serialNumber[firstSignificant] & 0x80 != 0
        let integerByteCount = significantByteCount + (needsZeroOctet ? 1 : 0)
        let contentByteCount =
            2 + integerByteCount + time.encodedByteCount + (reason == .unspecified ? 0 : Self.reasonExtensionByteCount)

        let start = self.used
        var index = start
        var bytes = self.buffer.mutableSpan
        bytes[index] = DERTag.sequence
        bytes[index + 1] = UInt8(contentByteCount)
        bytes[index + 2] = DERTag.integer
        bytes[index + 3] = UInt8(integerByteCount)
        index += 4
        if needsZeroOctet {
            bytes[index] = 0
            index += 1
        }
        for position in firstSignificant..<serialNumber.count {
            bytes[index] = serialNumber[position]
            index += 1
        }
        index = time.write(into: &bytes, at: index)
        if reason != .unspecified {
            for position in Self.reasonExtensionPrefix.indices {
                bytes[index] = Self.reasonExtensionPrefix[position]
                index += 1
            }
            bytes[index] = reason.rawValue
            index += 1
        }
        self.used = index
        return index - start
    }
}
