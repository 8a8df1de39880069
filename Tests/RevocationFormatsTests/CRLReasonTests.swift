// Reasons: codes and names of RFC 5280 5.3.1.

import RevocationFormats
import SwiftASN1
import Testing

@Suite("CRL reasons")
struct CRLReasonTests {
    /// Copied from the ASN.1 of RFC 5280 5.3.1.
    static let table: [(name: String, code: Int)] = [
        ("unspecified", 0), ("keyCompromise", 1), ("cACompromise", 2), ("affiliationChanged", 3), ("superseded", 4),
        ("cessationOfOperation", 5), ("certificateHold", 6), ("removeFromCRL", 8), ("privilegeWithdrawn", 9), ("aACompromise", 10),
    ]

    @Test("each reason has the name and the code that RFC 5280 gives it", arguments: Self.table)
    func namesAndCodes(name: String, code: Int) throws {
        let reason = try #require(CRLReason(code: code))
        #expect(reason.name == name)
        #expect(reason.code == code)
        #expect(CRLReason(name: name) == reason)
        #expect(CRLReason(name: name.uppercased()) == reason)
        #expect(CRLReason(name: name.lowercased()) == reason)
    }

    @Test("there are ten reasons and no other")
    func count() {
        #expect(CRLReason.allCases.count == Self.table.count)
    }

    @Test("7 and codes outside the list are no reason", arguments: [-1, 7, 11, 256, 257, Int.max, Int.min])
    func refusedCodes(code: Int) {
        #expect(CRLReason(code: code) == nil)
    }

    @Test("a name that RFC 5280 does not have is no reason", arguments: ["", "7", "key compromise", "keyCompromise ", "revoked"])
    func refusedNames(name: String) {
        #expect(CRLReason(name: name) == nil)
    }

    @Test("a reason is an ENUMERATED", arguments: Self.table)
    func der(name: String, code: Int) throws {
        let reason = try #require(CRLReason(code: code))
        var coder = DER.Serializer()
        try coder.serialize(reason)
        #expect(coder.serializedBytes == (try TemporaryFolder().der("ENUMERATED:\(code)")))
        #expect(try CRLReason(derEncoded: coder.serializedBytes) == reason)
    }

    @Test("the ENUMERATED 7 is refused")
    func unusedCode() throws {
        let seven = try TemporaryFolder().der("ENUMERATED:7")
        #expect(throws: ASN1Error.self) { try CRLReason(derEncoded: seven) }
    }
}
