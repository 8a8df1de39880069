// PEM written in chunks against the PEM that openssl writes.

import RevocationFormats
import Testing

@Suite("CRLs as PEM")
struct CRLPEMEncoderTests {
    @Test("the text is openssl's, however the bytes are cut", arguments: [1, 2, 3, 47, 48, 49, 64, 100, 10_000])
    func sameAsOpenSSL(chunkByteCount: Int) throws {
        let authority = try OpenSSLAuthority()
        // Serial numbers of different lengths make the last line end with none, one and two bytes of padding.
        for length in 1...3 {
            let entry = CRLEntry(serialNumber: Array(repeating: 0x11, count: length)[...], revocationDate: newYear2025, reason: .superseded)
            let bytes = try authority.publish([entry], to: "crl.der")
            try authority.folder.openssl("crl", "-inform", "DER", "-in", "crl.der", "-out", "crl.pem")

            var encoder = CRLPEMEncoder()
            var text: [UInt8] = []
            for start in stride(from: 0, to: bytes.count, by: chunkByteCount) {
                let chunk = Array(bytes[start..<min(start + chunkByteCount, bytes.count)])
                encoder.append(chunk.span.bytes) { text += $0.bytes }
            }
            encoder.finish { text += $0.bytes }
            #expect(try text == authority.folder.read("crl.pem"))
        }
    }
}
