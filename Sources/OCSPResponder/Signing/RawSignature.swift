// An ECDSA signature on P-256 as two numbers of 32 octets, and its DER.

/// r and s of an ECDSA signature on P-256, 32 octets each, held inline.
package struct RawSignature: Sendable {
    private let bytes: [64 of UInt8]

    /// - Parameter octets: r, then s; nil unless there are 64.
    package init?(_ octets: some Collection<UInt8>) {
        guard octets.count == 64 else { return nil }
        var bytes = [64 of UInt8](repeating: 0)
        var index = 0
        for octet in octets {
            bytes[index] = octet
            index += 1
        }
        self.bytes = bytes
    }

    /// Other signatures have another one; the second eight octets of r.
    package var tag: UInt64 {
        var tag: UInt64 = 0
        for index in 8..<16 { tag = tag << 8 | UInt64(bytes[index]) }
        return tag
    }

    /// The DER of an ECDSA-Sig-Value (RFC 3279 2.2.3): a sequence of two integers, at most 72 octets.
    package var der: [UInt8] {
        let r = first(from: 0)
        let s = first(from: 32)
        // An integer whose first bit is set is written with a zero before it.
        let rLength = 32 - r + Int(bytes[r] >> 7)
        let sLength = 64 - s + Int(bytes[s] >> 7)
        return [UInt8](unsafeUninitializedCapacity: 6 + rLength + sLength) { buffer, count in
            func write(_ byte: UInt8) {
                buffer[count] = byte
                count += 1
            }
            count = 0
            write(0x30)
            write(UInt8(4 + rLength + sLength))
            for (start, end, length) in [(r, 32, rLength), (s, 64, sLength)] {
                write(0x02)
                write(UInt8(length))
                if length > end - start { write(0) }
                for index in start..<end { write(bytes[index]) }
            }
        }
    }

    /// Where the number of 32 octets begins that starts at `index`, without its leading zeros; its last octet is always kept.
    private func first(from index: Int) -> Int {
        var first = index
        while first < index + 31, bytes[first] == 0 { first += 1 }
        return first
    }
}
