// A CRL in a file: one that the operator named, or one without a name into which it was sent or decoded.

import Authority
import Glibc
import PKI
import RevocationFormats
import Synchronization

/// The bytes of a CRL in a file; closed, and gone where it has no name, with the value.
///
/// A file without a name is removed by the kernel when the process ends, however it ends.
final class ListFile: CRLSource {
    /// The largest CRL that is looked at, in bytes: some twenty million entries.
    static let limit = 1 << 30
    private static let chunk = 64 << 10

    private let descriptor: Int32
    /// Whether others can reach the file by a name, and change it.
    private let hasName: Bool
    private let size: Atomic<Int>

    var byteCount: Int { self.size.load(ordering: .acquiring) }

    /// An empty file without a name.
    ///
    /// - Parameter directory: where there is room for it, and nobody else may look.
    init(in directory: String) throws {
        // Named for an instant as files under construction are, so that a start clears away what a crash left in that instant.
        var template = Array("\(directory)/.upki-tmp-crl-XXXXXX".utf8CString)
        let descriptor = mkstemp(&template)
        guard descriptor >= 0 else { throw Self.failure("Cannot make a temporary file in \(directory)") }
        _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
        unlink(template)
        self.descriptor = descriptor
        self.hasName = false
        self.size = Atomic(0)
    }

    /// A file that the operator named.
    init(opening path: String) throws {
        // O_NONBLOCK: a pipe that stands there must not be waited for.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
        guard descriptor >= 0 else {
            let isForbidden = errno == EACCES
            let error = Self.failure("Cannot open \(path)")
            guard isForbidden else { throw error }
            throw CoreError("\(error); the CA's own user must be able to read it, and to enter the folders above it")
        }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            close(descriptor)
            throw CoreError("\(path) is no regular file; write the CRL into one")
        }
        guard status.st_size <= Self.limit else {
            close(descriptor)
            throw CoreError("\(path) has \(status.st_size) bytes; a CRL may have \(Self.limit)")
        }
        self.descriptor = descriptor
        self.hasName = true
        self.size = Atomic(Int(status.st_size))
    }

    deinit { close(self.descriptor) }

    /// Adds bytes at the end.
    func append(_ bytes: UnsafeRawBufferPointer) throws {
        var rest = bytes[...]
        while !rest.isEmpty {
            let part = UnsafeRawBufferPointer(rebasing: rest)
            let written = pwrite(self.descriptor, part.baseAddress, part.count, off_t(self.byteCount))
            if written < 0, errno == EINTR { continue }
            guard written > 0 else { throw Self.failure("Cannot write a temporary file") }
            self.size.add(written, ordering: .acquiringAndReleasing)
            rest = rest.dropFirst(written)
        }
    }

    func append(_ bytes: [UInt8]) throws { try bytes.withUnsafeBytes { try self.append($0) } }

    func read(at offset: Int, count: Int) throws -> [UInt8] {
        let wanted = max(0, min(count, self.byteCount - offset))
        return try [UInt8](unsafeUninitializedCapacity: wanted) { buffer, used in
            while used < wanted {
                let part = pread(self.descriptor, buffer.baseAddress.map { $0 + used }, wanted - used, off_t(offset + used))
                if part < 0, errno == EINTR { continue }
                guard part >= 0 else { throw Self.failure("Cannot read the CRL") }
                if part == 0 { return }
                used += part
            }
        }
    }

    /// The DER that this file holds, as such or in PEM, in a file that nobody else can change while it is read.
    func decoded(in directory: String) throws -> ListFile {
        let isPEM = CRLPEMDecoder.looksLikePEM(try self.read(at: 0, count: 2))
        guard isPEM || self.hasName else { return self }
        let der = try ListFile(in: directory)
        var pem = CRLPEMDecoder()
        var offset = 0
        while true {
            let part = try self.read(at: offset, count: Self.chunk)
            if part.isEmpty { break }
            offset += part.count
            if isPEM {
                try pem.append(part) { bytes in try bytes.withUnsafeBytes { try der.append($0) } }
            } else {
                try der.append(part)
            }
        }
        if isPEM { try pem.finish() }
        return der
    }

    private static func failure(_ what: String) -> CoreError { CoreError("\(what): \(String(cString: strerror(errno)))") }
}
