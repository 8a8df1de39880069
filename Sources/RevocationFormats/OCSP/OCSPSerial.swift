// A serial number in a form that is cheap to compare, to hash and to keep a million times.

/// A positive serial number of at most 20 octets (RFC 5280 4.1.2.2), held without an allocation.
public struct OCSPSerial: Sendable, Hashable {
    /// The most octets of a serial number, without the zero octet that an INTEGER puts before a first bit that is set.
    public static let longest = 20

    // 160 bits, so that equal numbers are equal words.
    private var high: UInt32 = 0
    private var middle: UInt64 = 0
    private var low: UInt64 = 0

    /// The serial number with this value; nil for zero and for one that needs more than 20 octets.
    ///
    /// - parameter magnitude: Big-endian, unsigned; leading zero octets do not count.
    public init?(magnitude: some Collection<UInt8>) {
        var octets = 0
        for octet in magnitude where octets > 0 || octet != 0 {
            octets += 1
            guard octets <= Self.longest else { return nil }
            self.append(octet)
        }
        guard octets > 0 else { return nil }
    }

    /// The serial number in the content octets of an INTEGER; nil for zero, a negative number, and one of more than 20 octets.
    init?(integer content: Range<Int>, in bytes: Span<UInt8>) {
        guard let first = content.first, bytes[first] & 0x80 == 0, content.count <= Self.longest + 1 else { return nil }
        let significant = bytes[first] == 0 ? content.dropFirst() : content
        guard !significant.isEmpty, significant.count <= Self.longest else { return nil }
        for index in significant { self.append(bytes[index]) }
    }

    private mutating func append(_ octet: UInt8) {
        self.high = self.high << 8 | UInt32(truncatingIfNeeded: self.middle >> 56)
        self.middle = self.middle << 8 | self.low >> 56
        self.low = self.low << 8 | UInt64(octet)
    }

    /// How many octets the number has without leading zeros: 1 to 20.
    public var byteCount: Int { (self.bitCount + 7) / 8 }

    /// How many content octets its INTEGER has: 1 to 21.
    var integerByteCount: Int { self.bitCount / 8 + 1 }

    private var bitCount: Int {
        if self.high != 0 { return 160 - self.high.leadingZeroBitCount }
        if self.middle != 0 { return 128 - self.middle.leadingZeroBitCount }
        return 64 - self.low.leadingZeroBitCount
    }

    /// Big-endian, without leading zeros.
    public var bytes: [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(Self.longest)
        self.append(self.byteCount, to: &bytes)
        return bytes
    }

    /// Appends the content octets of its INTEGER.
    func appendInteger(to bytes: inout [UInt8]) {
        self.append(self.integerByteCount, to: &bytes)
    }

    /// Appends the last `count` octets, at most 24: the first four are zero.
    private func append(_ count: Int, to bytes: inout [UInt8]) {
        let words: InlineArray<3, UInt64> = [UInt64(self.high).bigEndian, self.middle.bigEndian, self.low.bigEndian]
        words.span.bytes.extracting(last: count).withUnsafeBytes { bytes.append(contentsOf: $0) }
    }
}
