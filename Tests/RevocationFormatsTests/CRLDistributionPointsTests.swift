// CRL distribution points against the extension that openssl puts into a certificate.

import RevocationFormats
import SwiftASN1
import Testing

@Suite("CRL distribution points")
struct CRLDistributionPointsTests {
    /// The extension's value in a certificate that openssl signed with these extension lines.
    private static func opensslValue(_ lines: String) throws -> [UInt8] {
        let authority = try OpenSSLAuthority()
        let openssl = authority.folder.openssl
        try authority.folder.write(lines, to: "ext.cnf")
        try openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "leaf.key")
        try openssl("req", "-new", "-config", "ca.cnf", "-key", "leaf.key", "-subj", "/CN=leaf", "-out", "leaf.csr")
        try openssl(
            "x509", "-req", "-in", "leaf.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-set_serial", "1", "-days", "1",
            "-extfile", "ext.cnf", "-outform", "DER", "-out", "leaf.der"
        )
        // The OCTET STRING is the line after the extension's name.
        let parsed = try openssl("asn1parse", "-inform", "DER", "-in", "leaf.der").output.split(separator: "\n")
        let name = try #require(parsed.firstIndex { $0.hasSuffix(":X509v3 CRL Distribution Points") })
        let offset = try #require(parsed[name + 1].split(separator: ":").first).filter { $0 != " " }
        try openssl("asn1parse", "-inform", "DER", "-in", "leaf.der", "-strparse", String(offset), "-noout", "-out", "value.der")
        return try authority.folder.read("value.der")
    }

    @Test("one URI has the bytes that openssl writes")
    func one() throws {
        let uri = "http://pki.example.com/crl"
        let expected = try Self.opensslValue("crlDistributionPoints=URI:\(uri)")
        #expect(try CRLDistributionPoints(uris: [uri]).serializedBytes() == expected)
        #expect(try CRLDistributionPoints(derEncoded: expected).uris == [uri])
        #expect(try CRLDistributionPoints(derEncoded: expected) == CRLDistributionPoints(uris: [uri]))
    }

    @Test("several URIs, long ones too, are one distribution point each")
    func several() throws {
        let uris = ["http://a.example/\(String(repeating: "x", count: 300))", "http://b.example/crl", "http://[2001:db8::1]/crl"]
        let expected = try Self.opensslValue("crlDistributionPoints=" + uris.map { "URI:\($0)" }.joined(separator: ","))
        #expect(try CRLDistributionPoints(uris: uris).serializedBytes() == expected)
        #expect(try CRLDistributionPoints(derEncoded: expected).points.count == 3)
    }

    @Test("reasons, issuers, relative names and other names are kept byte for byte")
    func others() throws {
        let expected = try Self.opensslValue(
            """
            crlDistributionPoints = one, two, three
            [one]
            fullname = URI:http://one.example/crl, DNS:one.example
            reasons = keyCompromise, CACompromise
            CRLissuer = dirName:issuer
            [two]
            relativename = relative
            CRLissuer = dirName:issuer
            [three]
            fullname = URI:ldap://three.example/cn=crl, URI:http://three.example/crl
            [issuer]
            CN = another
            [relative]
            CN = relative
            """
        )
        let points = try CRLDistributionPoints(derEncoded: expected)
        #expect(try points.serializedBytes() == expected)
        #expect(points.uris == ["http://one.example/crl", "ldap://three.example/cn=crl", "http://three.example/crl"])
        #expect(points.points.map { $0.reasons != nil } == [true, false, false])
        #expect(points.points.map { $0.cRLIssuer != nil } == [true, true, false])
    }

    @Test("no URI, an empty one and characters that no URI has are refused", arguments: [[], [""], ["http://a b"], ["http://é"], ["x\n"]])
    func refused(uris: [String]) {
        #expect(throws: RevocationFormatsError(code: .invalidField)) { try CRLDistributionPoints(uris: uris) }
    }

    @Test("an extension cut off or changed at any byte is read or refused")
    func broken() throws {
        let bytes = try CRLDistributionPoints(uris: ["http://pki.example.com/crl", "http://b.example"]).serializedBytes()
        for count in 0..<bytes.count {
            #expect(throws: ASN1Error.self) { try CRLDistributionPoints(derEncoded: bytes[..<count]) }
        }
        for index in bytes.indices {
            for value in UInt8.min...UInt8.max {
                var changed = bytes
                changed[index] = value
                guard let points = try? CRLDistributionPoints(derEncoded: changed) else {
                    continue
                }
                if try points.serializedBytes() != changed {
                    Issue.record("byte \(index) = \(value) is read but not written again as it was")
                }
            }
        }
        #expect(throws: ASN1Error.self) { try CRLDistributionPoints(derEncoded: [0x30, 0x00]) }
    }
}
