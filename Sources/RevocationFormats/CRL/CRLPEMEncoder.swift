// Turns a CRL's bytes into PEM while they pass by.

/// Writes the textual form of a CRL (RFC 7468 section 6) chunk by chunk, so that `crl.pem` needs no more memory than the DER.
///
/// ```swift
/// var pem = CRLPEMEncoder()
/// try crl.forEachChunk(signature: signature) { try pem.append($0) { try file.write($0) } }
/// try pem.finish { try file.write($0) }
/// ```
public struct CRLPEMEncoder: Sendable {
    /// 48 bytes give a line of 64 characters.
    private static let lineByteCount = 48
    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

    /// Bytes that do not fill a line yet.
    private var pending: [UInt8] = []
    private var output: [UInt8] = Array("-----BEGIN X509 CRL-----\n".utf8)

    public init() {}

    /// Adds bytes and hands over the lines that are complete.
    public mutating func append(_ chunk: RawSpan, to body: (RawSpan) throws -> Void) rethrows {
        chunk.withUnsafeBytes { self.pending.append(contentsOf: $0) }
        var start = 0
        while self.pending.count - start >= Self.lineByteCount {
            self.appendLine(self.pending[start..<(start + Self.lineByteCount)])
            start += Self.lineByteCount
        }
        self.pending.removeFirst(start)
        try self.handOver(to: body)
    }

    /// Hands over what is left and the last line.
    public mutating func finish(to body: (RawSpan) throws -> Void) rethrows {
        if !self.pending.isEmpty {
            self.appendLine(self.pending[...])
            self.pending = []
        }
        self.output += "-----END X509 CRL-----\n".utf8
        try self.handOver(to: body)
    }

    private mutating func handOver(to body: (RawSpan) throws -> Void) rethrows {
        guard !self.output.isEmpty else {
            return
        }
        try body(self.output.span.bytes)
        self.output.removeAll(keepingCapacity: true)
    }

    private mutating func appendLine(_ bytes: ArraySlice<UInt8>) {
        var index = bytes.startIndex
        while index < bytes.endIndex {
            let count = min(3, bytes.endIndex - index)
            let group = (0..<3).reduce(0) { $0 << 8 | ($1 < count ? Int(bytes[index + $1]) : 0) }
            for position in 0..<4 {
                let isPadding = position > count
                self.output.append(isPadding ? UInt8(ascii: "=") : Self.alphabet[group >> (18 - 6 * position) & 0x3F])
            }
            index += count
        }
        self.output.append(UInt8(ascii: "\n"))
    }
}
