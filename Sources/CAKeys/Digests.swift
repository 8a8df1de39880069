// SHA-256, HMAC-SHA-256, HKDF-Expand and base64url: the small functions from which seeds become keys and tokens.

import COpenSSL

/// SHA-256 of some bytes.
func sha256(_ bytes: [UInt8]) throws -> [UInt8] {
    var digest = [UInt8](repeating: 0, count: 32)
    guard EVP_Digest(bytes, bytes.count, &digest, nil, EVP_sha256(), nil) == 1 else { throw KeyError.openSSL("SHA-256") }
    return digest
}

/// HMAC-SHA-256 (RFC 2104).
func hmacSHA256(key: SecretBytes, _ message: SecretBytes) throws -> SecretBytes {
    try SecretBytes(count: 32) { output in
        let result = key.withUnsafeBytes { key in
            message.withUnsafeBytes { message in
                HMAC(
                    EVP_sha256(), key.baseAddress, Int32(key.count), message.bindMemory(to: UInt8.self).baseAddress, message.count,
                    output.bindMemory(to: UInt8.self).baseAddress, nil)
            }
        }
        guard result != nil else { throw KeyError.openSSL("HMAC-SHA-256") }
    }
}

/// HKDF-Expand with SHA-256 (RFC 5869, section 2.3).
///
/// - Parameter count: bytes wanted, at most 255 × 32.
func hkdfExpand(_ key: SecretBytes, info: String, count: Int) throws -> SecretBytes {
    let info = Array(info.utf8)
    return try SecretBytes(count: count) { output in
        var block: SecretBytes?
        var filled = 0
        var counter: UInt8 = 1
        while filled < count {
            let tail = info + [counter]
            let input = block.map { SecretBytes(joining: .secret($0), .plain(tail)) } ?? SecretBytes(tail)
            let next = try hmacSHA256(key: key, input)
            let used = min(32, count - filled)
            next.withUnsafeBytes { source in
                UnsafeMutableRawBufferPointer(rebasing: output[filled..<(filled + used)])
                    .copyMemory(from: UnsafeRawBufferPointer(rebasing: source[..<used]))
            }
            filled += used
            counter += 1
            block = next
        }
    }
}

/// Base64 with the URL alphabet and without padding (RFC 4648, section 5).
func base64URL(_ secret: SecretBytes) -> String {
    let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8)
    return secret.withUnsafeBytes { bytes in
        var text = ""
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let group = bytes[start..<min(start + 3, bytes.count)]
            var bits: UInt32 = 0
            for position in 0..<3 {
                bits = bits << 8 | (position < group.count ? UInt32(group[start + position]) : 0)
            }
            for position in 0...group.count {
                text.unicodeScalars.append(Unicode.Scalar(alphabet[Int(bits >> (18 - 6 * UInt32(position)) & 63)]))
            }
        }
        return text
    }
}
