// OpenSSL's typed parameter arrays (OSSL_PARAM), with memory of their own that is overwritten at the end.

import COpenSSL

/// Builds an `OSSL_PARAM` array. OpenSSL's own builder leaves copies of secrets in freed memory.
final class ParameterList {
    private var parameters: [OSSL_PARAM] = []
    private var values: [UnsafeMutableRawBufferPointer] = []
    private var names: [UnsafeMutablePointer<CChar>] = []

    deinit {
        for value in values {
            OPENSSL_cleanse(value.baseAddress, value.count)
            value.deallocate()
        }
        for name in names { name.deallocate() }
    }

    func add(_ name: String, octets: some Collection<UInt8>) {
        let value = allocate(octets.count)
        value.copyBytes(from: octets)
        parameters.append(OSSL_PARAM_construct_octet_string(keep(name), value.baseAddress, octets.count))
    }

    func add(_ name: String, octets: SecretBytes) {
        octets.withUnsafeBytes { add(name, octets: $0) }
    }

    func add(_ name: String, text: String) {
        let bytes = Array(text.utf8)
        let value = allocate(bytes.count + 1)
        value.copyBytes(from: bytes)
        parameters.append(OSSL_PARAM_construct_utf8_string(keep(name), value.bindMemory(to: CChar.self).baseAddress, bytes.count))
    }

    func add(_ name: String, integer: UInt64) {
        let value = allocate(MemoryLayout<UInt64>.size)
        value.storeBytes(of: integer, as: UInt64.self)
        parameters.append(OSSL_PARAM_construct_uint64(keep(name), value.bindMemory(to: UInt64.self).baseAddress))
    }

    func add(_ name: String, number: BigNumber) {
        let count = max(1, Int(upki_bn_bytes(number.pointer)))
        let value = allocate(count)
        BN_bn2nativepad(number.pointer, value.bindMemory(to: UInt8.self).baseAddress, Int32(count))
        parameters.append(OSSL_PARAM_construct_BN(keep(name), value.bindMemory(to: UInt8.self).baseAddress, count))
    }

    func withPointer<R>(_ body: (UnsafeMutablePointer<OSSL_PARAM>?) throws -> R) rethrows -> R {
        var list = parameters + [OSSL_PARAM_construct_end()]
        return try list.withUnsafeMutableBufferPointer { try body($0.baseAddress) }
    }

    private func allocate(_ count: Int) -> UnsafeMutableRawBufferPointer {
        let value = UnsafeMutableRawBufferPointer.allocate(byteCount: max(count, 1), alignment: 16)
        value.initializeMemory(as: UInt8.self, repeating: 0)
        values.append(value)
        return value
    }

    private func keep(_ name: String) -> UnsafePointer<CChar> {
        let bytes = name.utf8CString
        let copy = UnsafeMutablePointer<CChar>.allocate(capacity: bytes.count)
        for (offset, byte) in bytes.enumerated() { (copy + offset).initialize(to: byte) }
        names.append(copy)
        return UnsafePointer(copy)
    }
}

/// Owns one `BIGNUM`, overwritten at the end.
final class BigNumber {
    let pointer: OpaquePointer

    init() throws {
        guard let pointer = BN_new() else { throw KeyError.openSSL("memory") }
        // These numbers are secrets or become some: OpenSSL takes its constant-time paths where it has them.
        BN_set_flags(pointer, BN_FLG_CONSTTIME)
        self.pointer = pointer
    }

    /// Reads a big-endian number.
    convenience init(bigEndian bytes: UnsafeRawBufferPointer) throws {
        try self.init()
        guard BN_bin2bn(bytes.bindMemory(to: UInt8.self).baseAddress, Int32(bytes.count), pointer) != nil else {
            throw KeyError.openSSL("reading a number")
        }
    }

    deinit { BN_clear_free(pointer) }

    /// Runs `body` on a new number; it returns 1 when that worked.
    static func computed(_ action: String, _ body: (OpaquePointer) -> Int32) throws -> BigNumber {
        let number = try BigNumber()
        guard body(number.pointer) == 1 else { throw KeyError.openSSL(action) }
        return number
    }
}
