// Certificate serial numbers (RFC 5280 4.1.2.2): 160 bits held inline, their three textual forms, and how fresh ones are made.

/// A certificate serial number: a positive integer of at most 20 octets (RFC 5280 4.1.2.2).
public struct SerialNumber: Hashable, Sendable, Comparable {
    private let high: UInt32
    private let middle: UInt64
    private let low: UInt64

    private init(high: UInt32, middle: UInt64, low: UInt64) {
        self.high = high
        self.middle = middle
        self.low = low
    }

    /// Makes a serial number of big-endian octets; leading zeros do not count.
    ///
    /// Returns nil for zero and for more than 20 significant octets.
    public init?<Bytes: Collection>(bytes: Bytes) where Bytes.Element == UInt8 {
        let significant = bytes.drop { $0 == 0 }
        guard !significant.isEmpty, significant.count <= 20 else { return nil }
        var high: UInt32 = 0
        var middle: UInt64 = 0
        var low: UInt64 = 0
        for byte in significant {
            high = (high << 8) | UInt32(truncatingIfNeeded: middle >> 56)
            middle = (middle << 8) | (low >> 56)
            low = (low << 8) | UInt64(byte)
        }
        self.init(high: high, middle: middle, low: low)
    }

    /// A fresh serial number: a 0 bit, 31 bits of seconds since 2020, then 128 random bits.
    ///
    /// Ordered in time, so that an index over serial numbers grows at one end; never guessable (RFC 5280 asks for nothing,
    /// the CA/Browser Forum for 64 random bits).
    /// - Parameters:
    ///   - now: the time of issue.
    ///   - random: 128 random bits.
    public init(issuedAt now: UnixTime, random: (UInt64, UInt64)) {
        let since2020 = max(1_577_836_800, now.seconds) - 1_577_836_800
        // A serial number is positive: before 2020 (a broken clock) the first word is 1 instead of 0.
        let word = max(1, UInt32(truncatingIfNeeded: since2020) & 0x7fff_ffff)
        self.init(high: word, middle: random.0, low: random.1)
    }

    /// Reads what clients send: decimal digits, `0x` followed by hexadecimal digits, or hexadecimal pairs with colons.
    public init?(text: some StringProtocol) {
        let characters = Array(text.utf8)
        guard !characters.isEmpty, characters.count <= 64 else { return nil }
        if characters.count > 2, characters[0] == UInt8(ascii: "0"), characters[1] | 0x20 == UInt8(ascii: "x") {
            guard let bytes = Self.octets(ofHex: characters[2...]) else { return nil }
            self.init(bytes: bytes)
        } else if characters.contains(UInt8(ascii: ":")) {
            var bytes: [UInt8] = []
            for pair in characters.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false) {
                guard (1...2).contains(pair.count), let octets = Self.octets(ofHex: pair) else { return nil }
                bytes += octets
            }
            self.init(bytes: bytes)
        } else {
            var limbs = [UInt32](repeating: 0, count: 5)
            for character in characters {
                guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(character) else { return nil }
                var carry = UInt64(character - UInt8(ascii: "0"))
                for index in limbs.indices.reversed() {
                    let value = UInt64(limbs[index]) * 10 + carry
                    limbs[index] = UInt32(truncatingIfNeeded: value)
                    carry = value >> 32
                }
                guard carry == 0 else { return nil }
            }
            self.init(
                high: limbs[0], middle: UInt64(limbs[1]) << 32 | UInt64(limbs[2]), low: UInt64(limbs[3]) << 32 | UInt64(limbs[4]))
            guard self.high != 0 || self.middle != 0 || self.low != 0 else { return nil }
        }
    }

    private static func octets(ofHex digits: ArraySlice<UInt8>) -> [UInt8]? {
        guard !digits.isEmpty else { return nil }
        var bytes: [UInt8] = []
        var pending: UInt8 = 0
        var half = digits.count % 2 == 1
        for digit in digits {
            let value: UInt8
            switch digit {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): value = digit - UInt8(ascii: "0")
            case UInt8(ascii: "a")...UInt8(ascii: "f"): value = digit - UInt8(ascii: "a") + 10
            case UInt8(ascii: "A")...UInt8(ascii: "F"): value = digit - UInt8(ascii: "A") + 10
            default: return nil
            }
            if half { bytes.append(pending << 4 | value) } else { pending = value }
            if half { pending = 0 }
            half.toggle()
        }
        return bytes
    }

    /// The big-endian octets without leading zeros, 1 to 20 of them.
    public var bytes: [UInt8] {
        let all = self.paddedBytes
        let first = all.firstIndex { $0 != 0 } ?? 19
        return Array(all[first...])
    }

    /// The 20 big-endian octets, leading zeros kept: they sort as the numbers do.
    public var paddedBytes: [UInt8] {
        [UInt8](unsafeUninitializedCapacity: 20) { buffer, count in
            for index in 0..<4 { buffer[index] = UInt8(truncatingIfNeeded: self.high >> (24 - 8 * UInt32(index))) }
            for index in 0..<8 { buffer[4 + index] = UInt8(truncatingIfNeeded: self.middle >> (56 - 8 * UInt64(index))) }
            for index in 0..<8 { buffer[12 + index] = UInt8(truncatingIfNeeded: self.low >> (56 - 8 * UInt64(index))) }
            count = 20
        }
    }

    /// The decimal form used in answers: a JSON number would lose bits.
    public var decimal: String {
        var limbs: [UInt32] = [
            self.high, UInt32(truncatingIfNeeded: self.middle >> 32), UInt32(truncatingIfNeeded: self.middle),
            UInt32(truncatingIfNeeded: self.low >> 32), UInt32(truncatingIfNeeded: self.low),
        ]
        var digits: [UInt8] = []
        while limbs.contains(where: { $0 != 0 }) {
            var remainder: UInt64 = 0
            for index in limbs.indices {
                let value = remainder << 32 | UInt64(limbs[index])
                limbs[index] = UInt32(value / 1_000_000_000)
                remainder = value % 1_000_000_000
            }
            for _ in 0..<9 {
                digits.append(UInt8(ascii: "0") + UInt8(remainder % 10))
                remainder /= 10
            }
        }
        while digits.count > 1, digits.last == UInt8(ascii: "0") { digits.removeLast() }
        return String(decoding: digits.reversed(), as: UTF8.self)
    }

    /// Lower-case hexadecimal without a prefix, two digits an octet.
    public var hexadecimal: String { Hexadecimal.encode(self.bytes) }

    public static func < (left: SerialNumber, right: SerialNumber) -> Bool {
        (left.high, left.middle, left.low) < (right.high, right.middle, right.low)
    }
}

extension SerialNumber: CustomStringConvertible {
    public var description: String { self.decimal }
}
