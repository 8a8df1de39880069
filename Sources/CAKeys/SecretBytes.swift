// Secret bytes in memory of their own, which is overwritten when they are released.

import COpenSSL

/// Bytes that are set once and zeroed at the end.
///
/// Sendable: the memory is written in the initialiser only and freed when the last reference goes.
package final class SecretBytes: Sendable, CustomStringConvertible {
    // Written in the initialiser only, freed with the last reference.
    nonisolated(unsafe) private let memory: UnsafeMutableRawBufferPointer

    /// - Parameter fill: writes the bytes; the memory is zero before.
    package init(count: Int, _ fill: (UnsafeMutableRawBufferPointer) throws -> Void) rethrows {
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 16)
        memory.initializeMemory(as: UInt8.self, repeating: 0)
        self.memory = memory
        try fill(memory)
    }

    package convenience init(_ bytes: some Collection<UInt8>) {
        self.init(count: bytes.count) { $0.copyBytes(from: bytes) }
    }

    enum Part {
        case secret(SecretBytes)
        case plain([UInt8])

        var count: Int {
            switch self {
            case .secret(let secret): secret.count
            case .plain(let bytes): bytes.count
            }
        }
    }

    /// The parts one after another.
    convenience init(joining parts: Part...) {
        self.init(count: parts.reduce(0) { $0 + $1.count }) { memory in
            var offset = 0
            for part in parts {
                let target = UnsafeMutableRawBufferPointer(rebasing: memory[offset..<(offset + part.count)])
                switch part {
                case .secret(let secret): secret.withUnsafeBytes { target.copyMemory(from: $0) }
                case .plain(let bytes): target.copyBytes(from: bytes)
                }
                offset += part.count
            }
        }
    }

    deinit {
        OPENSSL_cleanse(memory.baseAddress, memory.count)
        memory.deallocate()
    }

    package var count: Int { memory.count }

    package func withUnsafeBytes<R>(_ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R {
        try body(UnsafeRawBufferPointer(memory))
    }

    /// A copy, which is the caller's to wipe.
    func copied() -> [UInt8] { withUnsafeBytes { Array($0) } }

    /// So that no log or debugger description shows the content.
    package var description: String { "\(count) secret bytes" }

    static func random(count: Int) throws -> SecretBytes {
        try SecretBytes(count: count) { memory in
            guard RAND_priv_bytes(memory.baseAddress, Int32(memory.count)) == 1 else { throw KeyError.openSSL("random bytes") }
        }
    }
}

/// Overwrites a secret that had to be an array, as far as this copy goes.
public func wipe(_ bytes: inout [UInt8]) {
    bytes.withUnsafeMutableBytes { OPENSSL_cleanse($0.baseAddress, $0.count) }
    bytes = []
}
