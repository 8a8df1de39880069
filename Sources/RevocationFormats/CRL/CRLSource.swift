// Where the bytes of a CRL that is read piece by piece come from.

/// Bytes that can be read from any place, again and again.
public protocol CRLSource: Sendable {
    /// How many bytes there are.
    var byteCount: Int { get }

    /// The bytes from `offset` on: `count` of them, fewer only where they end.
    ///
    /// - throws: Whatever stands in the way of reading.
    func read(at offset: Int, count: Int) throws -> [UInt8]
}

/// The bytes of an array.
public struct MemoryCRLSource: CRLSource {
    private let bytes: [UInt8]

    public init(_ bytes: [UInt8]) {
        self.bytes = bytes
    }

    public var byteCount: Int { self.bytes.count }

    public func read(at offset: Int, count: Int) throws -> [UInt8] {
        guard offset >= 0, offset < self.bytes.count, count > 0 else {
            return []
        }
        return Array(self.bytes[offset...].prefix(count))
    }
}
