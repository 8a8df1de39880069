// Keeps encoded CRL entries in a file without a name; the only file of this module that speaks to the operating system.

import Glibc

/// Keeps the entries in a temporary file that has lost its name before the first byte is written, so that it is gone
/// when this value, or the process, is. Readable by nobody else, never synced: what it holds can be made again.
public struct TemporaryFileCRLSpill: CRLSpill, Sendable, ~Copyable {
    private static let readByteCount = 64 * 1024

    private let descriptor: CInt
    private var byteCount = 0

    /// - parameter directory: An existing directory with room for about 55 bytes for each entry.
    /// - throws: ``RevocationFormatsError`` with `spillFailed`.
    public init(directory: String) throws {
        var template = Array("\(directory)/.crl-XXXXXX".utf8CString)
        let descriptor = mkstemp(&template)
        guard descriptor >= 0 else {
            throw Self.failure("cannot make a temporary file in \(directory)")
        }
        guard unlink(template) == 0, fcntl(descriptor, F_SETFD, FD_CLOEXEC) == 0 else {
            let error = Self.failure("cannot hide the temporary file in \(directory)")
            _ = close(descriptor)
            throw error
        }
        self.descriptor = descriptor
    }

    deinit {
        _ = close(self.descriptor)
    }

    public mutating func append(_ chunk: RawSpan) throws {
        let descriptor = self.descriptor
        try chunk.withUnsafeBytes { bytes in
            var rest = bytes
            while !rest.isEmpty {
                let written = write(descriptor, rest.baseAddress, rest.count)
                if written < 0 {
                    guard errno == EINTR else {
                        throw Self.failure("cannot write the temporary file")
                    }
                    continue
                }
                rest = UnsafeRawBufferPointer(rebasing: rest[written...])
            }
        }
        self.byteCount += chunk.byteCount
    }

    public func replay(_ body: (RawSpan) throws -> Void) throws {
        var buffer = [UInt8](repeating: 0, count: min(Self.readByteCount, self.byteCount))
        var offset = 0
        while offset < self.byteCount {
            let count = pread(self.descriptor, &buffer, min(buffer.count, self.byteCount - offset), off_t(offset))
            if count < 0, errno == EINTR {
                continue
            }
            guard count > 0 else {
                throw Self.failure("cannot read the temporary file again")
            }
            try body(buffer.span.bytes.extracting(first: count))
            offset += count
        }
    }

    private static func failure(_ what: String) -> RevocationFormatsError {
        RevocationFormatsError(.spillFailed, "\(what): \(String(cString: strerror(errno)))")
    }
}
