// Where encoded CRL entries wait until their total length is known.

/// Keeps chunks in order and gives them back in order, as often as asked.
///
/// The length of a CRL's entries stands before them and under the signature, so nothing can be signed or written before the
/// last entry has been seen. ``CRLWriter`` could ask the store for everything twice; it asks once and spills, because a
/// second walk over the store costs more than writing and reading the bytes, and because the two walks would have to see
/// the same rows.
public protocol CRLSpill: ~Copyable {
    /// Adds a chunk at the end.
    mutating func append(_ chunk: RawSpan) throws

    /// Calls `body` with everything that was added, in order; the pieces may be cut otherwise.
    func replay(_ body: (RawSpan) throws -> Void) throws
}

/// Keeps the entries in memory: for tests and for lists that are known to be small.
public struct MemoryCRLSpill: CRLSpill, Sendable {
    private var bytes: [UInt8] = []

    public init() {}

    public mutating func append(_ chunk: RawSpan) throws {
        chunk.withUnsafeBytes { self.bytes.append(contentsOf: $0) }
    }

    public func replay(_ body: (RawSpan) throws -> Void) throws {
        if !self.bytes.isEmpty {
            try body(self.bytes.span.bytes)
        }
    }
}
