// The CA as CertIDs name it, and the requests that are recognised without being parsed.

import Glibc

/// The hashes by which CertIDs name one CA (RFC 6960 4.1.1): of the DER of its name, and of the bits of its key.
public struct OCSPIssuer: Sendable, Equatable {
    private let sha1: Hashes
    private let sha256: Hashes
    /// What stands in a CertID before the serial number, by the raw value of the form.
    private let constants: [[UInt8]]

    struct Hashes: Sendable, Equatable {
        var name: [UInt8]
        var key: [UInt8]
    }

    /// Hashing is the caller's.
    ///
    /// - parameters:
    ///     - nameSHA1: Of the DER of the CA certificate's subject, 20 octets; likewise `nameSHA256`, 32 octets.
    ///     - keySHA1: Of the CA's public key, the content of the BIT STRING without the octet that counts unused bits; likewise `keySHA256`.
    public init(nameSHA1: [UInt8], keySHA1: [UInt8], nameSHA256: [UInt8], keySHA256: [UInt8]) {
        let sha1 = Hashes(name: nameSHA1, key: keySHA1)
        let sha256 = Hashes(name: nameSHA256, key: keySHA256)
        self.sha1 = sha1
        self.sha256 = sha256
        self.constants = OCSPCertIDForm.allCases.map { form in
            let hashes = form.isSHA1 ? sha1 : sha256
            return form.algorithm + derHeader(DERTag.octetString, contentByteCount: hashes.name.count) + hashes.name
                + derHeader(DERTag.octetString, contentByteCount: hashes.key.count) + hashes.key
        }
    }

    func hashes(_ form: OCSPCertIDForm) -> Hashes {
        form.isSHA1 ? self.sha1 : self.sha256
    }

    /// Algorithm and both hashes of a CertID, as they stand before the serial number.
    func constant(_ form: OCSPCertIDForm) -> [UInt8] {
        // One for each case was made above, in the order of their raw values.
        self.constants[Int(form.rawValue)]
    }

    /// Whether a CertID names this CA by one of the two hashes.
    public func isIssuer(of id: OCSPCertID) -> Bool {
        guard let form = id.form else { return false }
        let hashes = self.hashes(form)
        return id.issuerKeyHash == hashes.key && id.issuerNameHash == hashes.name
    }

    /// Recognises, by comparing bytes and without parsing, a request for one certificate of this CA that has nothing else in it.
    ///
    /// - returns: nil for whatever else it is; ``OCSPRequest/init(der:)`` tells.
    public func plainRequest(_ der: UnsafeRawBufferPointer) -> OCSPPlainRequest? {
        let bytes = der.bindMemory(to: UInt8.self).span
        // Five headers (the request, its signed part, the list, its one element, the CertID), then what is constant, then the INTEGER. Each length
        // is one octet: the longest such request has 116.
        let headers = 10
        guard bytes.count > headers + 1, bytes.count <= 0x7F + 2, let form = Self.form(hashAlgorithmByteCount: bytes[headers + 1]) else {
            return nil
        }
        let constant = self.constant(form)
        let integer = headers + constant.count
        guard bytes.count > integer + 2 else { return nil }
        let content = integer + 2..<bytes.count
        for level in 0..<5 where bytes[2 * level] != DERTag.sequence || Int(bytes[2 * level + 1]) != bytes.count - 2 * level - 2 {
            return nil
        }
        guard Self.equal(bytes.extracting(headers..<integer), constant), bytes[integer] == DERTag.integer,
            Int(bytes[integer + 1]) == content.count
        else { return nil }
        // A zero octet stands only before a first bit that is set.
        if content.count > 1, bytes[content.lowerBound] == 0, bytes[content.lowerBound + 1] & 0x80 == 0 { return nil }
        guard let serial = OCSPSerial(integer: content, in: bytes) else { return nil }
        return OCSPPlainRequest(form: form, serial: serial)
    }

    /// The form of which the AlgorithmIdentifier has so many content octets.
    private static func form(hashAlgorithmByteCount: UInt8) -> OCSPCertIDForm? {
        switch hashAlgorithmByteCount {
        case 9: .sha1
        case 7: .sha1WithoutParameters
        case 13: .sha256
        case 11: .sha256WithoutParameters
        default: nil
        }
    }

    private static func equal(_ bytes: Span<UInt8>, _ other: [UInt8]) -> Bool {
        bytes.withUnsafeBytes { bytes in
            other.withUnsafeBytes { other in
                guard bytes.count == other.count, let left = bytes.baseAddress, let right = other.baseAddress else { return false }
                return memcmp(left, right, bytes.count) == 0
            }
        }
    }
}

/// What a request asks that has one CertID and nothing else in it.
public struct OCSPPlainRequest: Sendable, Hashable {
    public var form: OCSPCertIDForm
    public var serial: OCSPSerial

    public init(form: OCSPCertIDForm, serial: OCSPSerial) {
        self.form = form
        self.serial = serial
    }
}
