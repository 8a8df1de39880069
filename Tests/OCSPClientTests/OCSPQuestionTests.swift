// Requests are, octet by octet, those that openssl makes; and what goes into a path can be read again.
import Foundation
import OCSPClient
import PKI
import Testing

@Suite("Questions")
struct OCSPQuestionTests {
    @Test("for one and for several certificates, with both hashes, they are those of openssl")
    func sameAsOpenSSL() throws {
        try withResponder { responder in
            let ca = try OCSPAuthority(der: responder.read("ca.der"))
            let one: [[UInt8]] = [[0x10, 0x00]]
            let several: [[UInt8]] = [[0x10, 0x00], [0xff, 0xff, 0xff], [0x01], Array(repeating: 0x7f, count: 20)]
            let names = ["0x1000", "0xffffff", "1", "0x" + String(repeating: "7f", count: 20)].flatMap { ["-serial", $0] }
            #expect(try OCSPQuestion(one, of: ca).der == responder.request(["-no_nonce", "-serial", "0x1000"]))
            #expect(try OCSPQuestion(one, of: ca, hash: .sha256).der == responder.request(["-no_nonce", "-sha256", "-serial", "0x1000"]))
            #expect(try OCSPQuestion(several, of: ca).der == responder.request(["-no_nonce"] + names))
        }
    }

    @Test("a certificate's serial number is read from it, and one of another issuer is refused")
    func serialNumbers() throws {
        try withResponder { responder in
            for name in ["delegated", "foreign"] {
                try responder.openssl(["x509", "-in", "\(name).pem", "-outform", "DER", "-out", "\(name).der"])
            }
            let ca = try OCSPAuthority(der: responder.read("ca.der"))
            #expect(try ca.serialNumber(ofCertificate: responder.read("delegated.der")) == [77])
            #expect(throws: OCSPClientError(.badQuestion, "")) { try ca.serialNumber(ofCertificate: responder.read("foreign.der")) }
            #expect(throws: OCSPClientError(.badQuestion, "")) { try OCSPAuthority(der: [0x30, 0x00]) }
        }
    }

    @Test("the path of a GET is one segment of unreserved and percent-encoded characters, and holds the request")
    func path() throws {
        try withResponder { responder in
            let ca = try OCSPAuthority(der: responder.read("ca.der"))
            var encoded = ""
            for octet in UInt8(1)...120 {
                let question = OCSPQuestion([[octet, 0xfb, 0xff, 0xbf]], of: ca, hash: octet % 2 == 0 ? .sha1 : .sha256)
                #expect(question.path.hasPrefix("/M") && !question.path.dropFirst().contains { "/+=".contains($0) })
                let text = try #require(question.path.dropFirst().removingPercentEncoding)
                #expect(Base64.decode(text.utf8) == question.der)
                encoded += question.path.dropFirst()
            }
            // Each kind stood in one of them.
            for code in ["%2B", "%2F", "%3D"] { #expect(encoded.contains(code)) }
        }
    }
}
