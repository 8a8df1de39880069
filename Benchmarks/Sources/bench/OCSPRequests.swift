// OCSP requests for many serial numbers: OpenSSL makes one for a place holder, the serial numbers are put into it.
import Foundation

struct OCSPRequestMaker {
    private let plain: [UInt8]
    private let withNonce: [UInt8]
    private let place: Int
    private let placeWithNonce: Int

    /// 20 octets, as this CA's serial numbers have.
    private static let holder = "0d0000000000000000000000000000000000cafe"

    /// - Parameter certificate: the path of the issuer's certificate.
    init(issuer certificate: String, in directory: String) throws {
        func template(_ options: [String]) throws -> ([UInt8], Int) {
            let path = "\(directory)/request.der"
            _ = try output(
                of: "/usr/bin/openssl", ["ocsp", "-issuer", certificate, "-serial", "0x\(Self.holder)", "-reqout", path] + options,
                quietly: true)
            guard let data = FileManager.default.contents(atPath: path) else { throw BenchError(description: "openssl made no request") }
            let bytes = Array(data)
            guard let found = bytes.firstRange(of: Self.bytes(ofHexadecimal: Self.holder)) else {
                throw BenchError(description: "the serial number is not in openssl's request")
            }
            return (bytes, found.lowerBound)
        }
        (self.plain, self.place) = try template(["-no_nonce"])
        (self.withNonce, self.placeWithNonce) = try template(["-nonce"])
    }

    func request(_ serial: [UInt8], nonce: Bool = false) -> [UInt8] {
        var bytes = nonce ? self.withNonce : self.plain
        let place = nonce ? self.placeWithNonce : self.place
        bytes.replaceSubrange(place..<place + serial.count, with: serial)
        return bytes
    }

    /// A file for the load generator: a request in hexadecimal on each line.
    func write(_ serials: [[UInt8]], nonce: Bool = false, to path: String) throws {
        let lines = serials.map { serial in Self.hexadecimal(self.request(serial, nonce: nonce)) }
        try Data((lines.joined(separator: "\n") + "\n").utf8).write(to: URL(fileURLWithPath: path))
    }

    static func hexadecimal(_ bytes: [UInt8]) -> String {
        let digits = Array("0123456789abcdef".utf8)
        return String(decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
    }

    static func bytes(ofHexadecimal text: String) -> [UInt8] {
        let digits = text.utf8.map { UInt8($0 < 58 ? $0 - 48 : ($0 | 32) - 87) }
        return stride(from: 0, to: digits.count - 1, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
    }

    /// The 20 octets of a decimal serial number.
    static func octets(ofDecimal text: String) -> [UInt8] {
        var octets = [UInt8](repeating: 0, count: 20)
        for digit in text.utf8 {
            var carry = Int(digit) - 48
            for index in octets.indices.reversed() {
                carry += Int(octets[index]) * 10
                octets[index] = UInt8(carry & 255)
                carry >>= 8
            }
        }
        return octets
    }
}
