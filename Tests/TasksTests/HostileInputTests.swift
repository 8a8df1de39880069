// Hostile values in the parameters of tasks, item by item: each has its refusal or its harmless answer, and the next client is served.

import Authority
import Crypto
import PKI
import SwiftASN1
import Tasks
import TestAuthority
import Testing
import UPKIProtocol
import X509

extension TaskBench {
    /// The next good requests of another client, as if nothing had happened.
    func servesOthers(_ comment: String, sourceLocation: SourceLocation = #_sourceLocation) throws {
        let csr = try TestAuthority.csr("/CN=next.example.org")
        #expect(
            self.refusal("sign", ["csr": .string(csr)], by: Self.otherNode).hasPrefix("answered"), "\(comment)",
            sourceLocation: sourceLocation)
        #expect(self.refusal("get_ca", by: Self.stranger).hasPrefix("answered"), "\(comment)", sourceLocation: sourceLocation)
        #expect(try self.test.store.read { try $0.verifyAudit() }.firstBad == nil, "\(comment)", sourceLocation: sourceLocation)
    }
}

/// DER written by hand, so that it may be wrong.
private enum Crafted {
    static func node(_ tag: UInt8, _ content: [UInt8]) -> [UInt8] {
        let count = content.count
        let length: [UInt8] = count < 0x80 ? [UInt8(count)] : [0x83, UInt8(count >> 16), UInt8(count >> 8 & 0xff), UInt8(count & 0xff)]
        // DER wants the shortest form of a length.
        switch count {
        case ..<0x80: return [tag] + length + content
        case ..<0x100: return [tag, 0x81, UInt8(count)] + content
        case ..<0x1_0000: return [tag, 0x82, UInt8(count >> 8), UInt8(count & 0xff)] + content
        default: return [tag] + length + content
        }
    }

    static func subject(_ commonName: [UInt8], tag: UInt8 = 0x0c) -> [UInt8] {
        self.node(0x30, self.node(0x31, self.node(0x30, [0x06, 0x03, 0x55, 0x04, 0x03] + self.node(tag, commonName))))
    }

    /// A certification request of these parts, signed with `key`.
    static func request(
        subject: [UInt8] = Crafted.subject(Array("host.example.org".utf8)), publicKey: [UInt8]? = nil, attributes: [UInt8] = [0xa0, 0x00],
        label: String = "CERTIFICATE REQUEST"
    ) throws -> String {
        let key = P256.Signing.PrivateKey()
        let information = self.node(
            0x30, [0x02, 0x01, 0x00] + subject + (publicKey ?? Array(key.publicKey.derRepresentation)) + attributes)
        let signature = Array(try key.signature(for: information).derRepresentation)
        let ecdsaWithSHA256: [UInt8] = [0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02]
        return PEM.encode(self.node(0x30, information + ecdsaWithSHA256 + self.node(0x03, [0x00] + signature)), label: label)
    }

    /// The attributes field with an extensionRequest (RFC 2985 5.4.2) of these extensions.
    static func attributes(extensions: [UInt8]) -> [UInt8] {
        let extensionRequest: [UInt8] = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x0e]
        return self.node(0xa0, self.node(0x30, extensionRequest + self.node(0x31, self.node(0x30, extensions))))
    }

    /// The SubjectPublicKeyInfo of an RSA key (RFC 8017 A.1.1).
    static func rsaKey(exponent: [UInt8]) -> [UInt8] {
        let modulus: [UInt8] = [0x00] + [0xc3] + [UInt8](repeating: 0x5b, count: 254) + [0x01]
        let numbers = self.node(0x30, self.node(0x02, modulus) + self.node(0x02, exponent))
        let rsaEncryption: [UInt8] = [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00]
        return self.node(0x30, rsaEncryption + self.node(0x03, [0x00] + numbers))
    }

    /// The SubjectPublicKeyInfo of a P-256 key with this point, right or wrong.
    static func ellipticKey(point: [UInt8]) -> [UInt8] {
        let onP256: [UInt8] = [
            0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07,
        ]
        return self.node(0x30, onP256 + self.node(0x03, [0x00] + point))
    }
}

@Suite("Hostile common names")
struct HostileCommonNameTests {
    private static let controlled = "Request refused: the common name has a control or direction character"

    @Test(
        "are refused for servers, in a parameter and in a CSR, with what is wrong",
        arguments: [
            ("..", "Request refused: '..': a host name has no empty label and no dot at its end"),
            (".", "Request refused: '.': a host name has no empty label and no dot at its end"),
            ("a..b", "Request refused: 'a..b': a host name has no empty label and no dot at its end"),
            ("../../etc/passwd", "Request refused: '../../etc/passwd': a host name has no empty label and no dot at its end"),
            ("a\u{0}.example.org", Self.controlled), ("\u{0}", Self.controlled), ("a\nb", Self.controlled), ("a\u{7f}", Self.controlled),
            ("\u{202e}gro.elpmaxe", Self.controlled), ("a\u{200f}b", Self.controlled), ("a\u{2066}b", Self.controlled),
            ("a\u{ad}b", Self.controlled), ("a\u{feff}b", Self.controlled),
            (
                String(repeating: "a", count: 300),
                "Request refused: the common name has more than 64 characters (RFC 5280, ub-common-name)"
            ),
            (
                String(repeating: "\u{1f512}", count: 75),
                "Request refused: the common name has more than 64 characters (RFC 5280, ub-common-name)"
            ),
            // The first letter is Cyrillic.
            (
                "\u{430}pple.example.org",
                "Request refused: '\u{430}pple.example.org': a host name has only letters, digits and hyphens (RFC 1123)"
            ),
            (" host", "Request refused: the common name begins or ends with a space"),
            ("localhost", "Request refused: 'localhost' is on the list of blocked names (names.blocked)"),
            ("LOCALHOST", "Request refused: 'localhost' is on the list of blocked names (names.blocked)"),
        ] as [(String, String)])
    func refused(_ name: String, _ line: String) throws {
        let bench = try TaskBench()
        let shown = String(String.UnicodeScalarView(line.unicodeScalars.map { (0x202a...0x202e).contains($0.value) ? "?" : $0 }))
        #expect(bench.refusal("generate", ["cn": .string(name)]) == shown)
        #expect(bench.refusal("sign", ["csr": .string(try Crafted.request(subject: Crafted.subject(Array(name.utf8))))]) == shown)
        #expect(try bench.test.store.read { try $0.certificateCount() } == 0)
        try bench.servesOthers(name)
    }

    @Test(
        "that are only strange are certified as they are, found again by their name, and revoked",
        arguments: [
            "a/b", "CON", "nul", "..", ".hidden", "a\\b", "a,b+c=d", "\u{43f}\u{440}\u{438}\u{43c}\u{435}\u{440}", "\u{4f8b}\u{3048}",
            "\u{645}\u{62b}\u{627}\u{644}", "a'; DROP TABLE certificates; --", "%2e%2e", "$(id)",
        ])
    func strange(_ name: String) throws {
        let bench = try TaskBench()
        let issued = try bench.ask("generate", ["cn": .string(name), "profile": "user"])
        #expect(bench.test.folders.key(name) != nil)
        let dn = try #require(issued.text("dn"))
        #expect(try bench.ask("view", ["dn": .string(dn)]).text("serial") == issued.text("serial"))
        #expect(try bench.ask("revoke", ["dn": .string(dn)]) == true)
        try bench.servesOthers(name)
    }

    @Test("that differ only in case are one name: the twin is refused while the first lives")
    func caseTwins() throws {
        let bench = try TaskBench()
        _ = try bench.ask("generate", ["cn": "Twin.example.org"])
        for twin in ["twin.example.org", "TWIN.EXAMPLE.ORG", "Twin.example.org"] {
            #expect(
                bench.refusal("generate", ["cn": .string(twin)]) == "Certificate already exists: /C=FR/O=Test/OU=Servers/CN=\(twin)")
        }
        try bench.servesOthers("case twins")
    }

    @Test(
        "that are no text in their encoding, or empty, are refused: nothing is repaired",
        arguments: [[0xff, 0xfe], [0xc0, 0x80], [0xed, 0xa0, 0x80], []] as [[UInt8]])
    func encodings(_ bytes: [UInt8]) throws {
        let bench = try TaskBench()
        for tag in [0x0c, 0x13, 0x14, 0x1e, 0x1c, 0x04] as [UInt8] {
            let line = bench.refusal("sign", ["csr": .string(try Crafted.request(subject: Crafted.subject(bytes, tag: tag)))])
            #expect(
                line.hasPrefix("CSR parse error: ") || line.hasPrefix("Request refused: the common name is empty"),
                "\(tag) \(bytes): \(line)")
        }
        try bench.servesOthers("\(bytes)")
    }
}

@Suite("Hostile numbers")
struct HostileNumberTests {
    @Test(
        "a duration that is negative, huge or no whole number is refused with what is allowed",
        arguments: [
            .number("0"), .number("-1"), .number("-9223372036854775808"), .number("9223372036854775807"), .number("9223372036854775808"),
            .number("1e400"), .number("1.5"), .number("1e1"), .number("36501"), .number("-0.0"), "-1", "60 ", "\u{ff16}\u{ff10}", "0x10",
            "1_0", [1],
            ["a": 1], true,
        ] as [JSON])
    func durations(_ value: JSON) throws {
        let bench = try TaskBench()
        let csr = JSON.string(try TestAuthority.csr("/CN=host.example.org"))
        let serial = try #require(try bench.ask("sign", ["csr": csr]).text("serial"))
        let line = "Invalid duration parameter: it is a whole number from 1 to 36500"
        #expect(bench.refusal("sign", ["csr": csr, "duration": value]) == line)
        #expect(bench.refusal("generate", ["cn": "a.example.org", "duration": value]) == line)
        #expect(bench.refusal("renew", ["serial": .string(serial), "duration": value]) == line)
        try bench.servesOthers(value.text)
    }

    @Test("a duration above the profile's is refused with the profile's")
    func beyondProfile() throws {
        let bench = try TaskBench()
        let csr = JSON.string(try TestAuthority.csr("/CN=host.example.org"))
        #expect(
            bench.refusal("sign", ["csr": csr, "duration": 61]) == "Invalid duration parameter: the profile server allows 1 to 60 days")
        #expect(
            bench.refusal("sign", ["csr": csr, "duration": "36500"]) == "Invalid duration parameter: the profile server allows 1 to 60 days"
        )
        try bench.servesOthers("61 days")
    }

    @Test(
        "a serial that is no number is refused, whatever the task",
        arguments: [
            "abc", "0x", "0xZZ", "12a", "-1", "+1", "1e5", "1.0", " 1", "1 ", "0", "0x0", "00:00", ":", "1:", ":1", "1::2", "123:45",
            "\u{663}", "\u{ff11}", "1\u{0}", "0x\(String(repeating: "f", count: 41))", String(repeating: "9", count: 50),
            "1461501637330902918203684832716283019655932542976",
        ])
    func serials(_ text: String) throws {
        let bench = try TaskBench()
        let line = "Invalid serial parameter: it is a serial number in decimal, 0x hexadecimal or colon hexadecimal"
        for task in ["view", "revoke", "renew", "ocsp_check"] { #expect(bench.refusal(task, ["serial": .string(text)]) == line, "\(task)") }
        #expect(bench.refusal("unrevoke", ["serial": .string(text)], by: TaskBench.admin) == line)
        #expect(bench.refusal("acme_get_certificate", ["cert_id": .string(text)]).hasPrefix("Certificate not found: "))
        try bench.servesOthers(String(text.prefix(60)))
    }

    @Test("a serial of 100,000 digits is refused, whatever the task")
    func longSerial() throws { try self.serials(String(repeating: "9", count: 100_000)) }

    @Test("a serial of the wrong kind is refused too", arguments: [[], [:], true, .number("-1"), .number("1.5"), .number("1e3")] as [JSON])
    func serialKinds(_ value: JSON) throws {
        let bench = try TaskBench()
        #expect(bench.refusal("revoke", ["serial": value]).hasPrefix("Invalid serial parameter: it is a serial number"))
        try bench.servesOthers(value.text)
    }

    @Test(
        "a reason out of range is refused, and the certificate stays good",
        arguments: [
            .number("7"), .number("11"), .number("-1"), .number("255"), .number("256"), .number("9223372036854775808"), .number("1.0"),
            .number("1e0"), "7", "11", "-1", "0x1", "because", "unspecified ", "key compromise", "\u{0}", "\u{ff11}", [], [:], true,
        ] as [JSON])
    func reasons(_ value: JSON) throws {
        let bench = try TaskBench()
        let csr = try TestAuthority.csr("/CN=host.example.org")
        let serial = JSON.string(try #require(try bench.ask("sign", ["csr": .string(csr)]).text("serial")))
        #expect(bench.refusal("revoke", ["serial": serial, "reason": value]).hasPrefix("Invalid reason parameter: "))
        #expect(try bench.ask("ocsp_check", ["serial": serial]).text("status") == "good")
        try bench.servesOthers(value.text)
    }
}

@Suite("Hostile lists, texts and objects")
struct HostileTextTests {
    @Test("10,000 alternative names are refused, as a parameter and in a CSR")
    func manyNames() throws {
        let bench = try TaskBench()
        let names = JSON.array((0..<10_000).map { .string("h\($0).example.org") })
        for parameters in [["cn": "a.example.org", "sans": names], ["cn": "a.example.org", "sans": names, "local": false]] as [JSON] {
            #expect(bench.refusal("generate", parameters) == "Invalid sans parameter: it has at most 1000 entries")
        }
        let seed: JSON = ["seed": "upkireg_standing_0", "cn": "a.example.org", "sans": names]
        #expect(bench.refusal("register", seed) == "Invalid sans parameter: it has at most 1000 entries")
        // Short ones, so that they fit the size that is read at all.
        let csr = try TestAuthority.csr("/CN=a.example.org", names: (0..<10_000).map { .dns("h\($0)") })
        #expect(bench.refusal("sign", ["csr": .string(csr)]) == "Request refused: more than 1000 alternative names")
        #expect(try bench.test.store.read { try $0.certificateCount() } == 0)
        try bench.servesOthers("10,000 names")
    }

    @Test("1,000 names are certified, with 1,000 answers of their own")
    func thousandNames() throws {
        let bench = try TaskBench()
        let issued = try bench.ask("generate", ["cn": "h0.example.org", "sans": .array((0..<1_000).map { .string("h\($0).example.org") })])
        let pem = try #require(issued.text("certificate"))
        let der = try #require(PEM.decodeFirst(pem, labels: ["CERTIFICATE"]))
        #expect(try Certificate(derEncoded: der).extensions.subjectAlternativeNames?.count == 1_000)
        try bench.servesOthers("1,000 names")
    }

    @Test(
        "a CSR in 900 kB of PEM is refused for its size, whatever fills it",
        arguments: ["A", "\n", " ", "-----BEGIN CERTIFICATE REQUEST-----\n", "\u{430}"])
    func largePEM(_ filler: String) throws {
        let bench = try TaskBench()
        let csr = try TestAuthority.csr("/CN=a.example.org")
        let padding = String(repeating: filler, count: 900_000 / filler.utf8.count)
        for text in [padding + csr, csr + padding, csr.replacing("-----END", with: padding + "\n-----END")] {
            #expect(bench.refusal("sign", ["csr": .string(text)]) == "CSR parse error: the request is larger than 256 KiB")
        }
        try bench.servesOthers("900 kB of \(filler)")
    }

    @Test(
        "account ids keep any text without control characters, and those with them are refused",
        arguments: [
            ("../../etc/passwd", true), ("a'; DROP TABLE acme_accounts; --", true), ("%00", true), ("\u{43f}\u{440}", true),
            ("\u{1f512}", true),
            ("\\", true), ("\"", true), ("a b", true), ("a\u{0}b", false), ("\u{0}", false), ("a\n", false), ("\u{7f}", false),
            (String(repeating: "a", count: 10_000), false),
        ] as [(String, Bool)])
    func accountIDs(_ id: String, _ isAccepted: Bool) throws {
        let bench = try TaskBench()
        let line = bench.refusal("acme_sync_account", ["account_id": .string(id), "jwk": ["kty": "EC"]])
        if isAccepted {
            #expect(line == "answered true")
            #expect(try bench.ask("acme_get_account", ["account_id": .string(id)]).text("id") == id)
            // Another node has none of that name.
            #expect(
                bench.refusal("acme_get_account", ["account_id": .string(id)], by: TaskBench.otherNode).hasPrefix("Account not found: "))
        } else {
            #expect(line.hasPrefix("Invalid account_id parameter: "), "\(line)")
            #expect(bench.refusal("acme_get_account", ["account_id": .string(id)]).hasPrefix("Account not found: "))
        }
        try bench.servesOthers(String(id.prefix(60)))
    }

    @Test(
        "two equal keys in one object are refused, at every depth and however they are written",
        arguments: [
            #"{"TASK":"get_ca","TASK":"sign"}"#, #"{"TASK":"get_ca","params":{},"params":{}}"#,
            #"{"TASK":"sign","params":{"csr":"a","csr":"b"}}"#,
            #"{"TASK":"sign","params":{"csr":"a","\u0063sr":"b"}}"#,
            #"{"TASK":"generate","params":{"cn":"a","sans":[{"type":"DNS","type":"IP","value":"1"}]}}"#,
            #"{"TASK":"acme_sync_account","params":{"account_id":"a","jwk":{"kty":"EC","kty":"RSA"}}}"#,
            // The same letter to Unicode, composed or not, is the same to nobody else: the comparison takes them for one.
            "{\"TASK\":\"sign\",\"params\":{\"\u{e9}\":1,\"e\u{301}\":2}}",
        ])
    func equalKeys(_ frame: String) throws {
        let refusal = #expect(throws: Refusal.self) { _ = try Request(frame: Array(frame.utf8)) }
        #expect(refusal?.message.hasPrefix("Invalid JSON: a member name stands twice in one object at byte ") == true)
        try TaskBench().servesOthers(frame)
    }
}

@Suite("Hostile CSRs")
struct HostileRequestTests {
    private func refusal(_ csr: String) throws -> String {
        let bench = try TaskBench()
        let line = bench.refusal("sign", ["csr": .string(csr)])
        #expect(try bench.test.store.read { try $0.certificateCount() } == 0)
        try bench.servesOthers(line)
        return line
    }

    @Test(
        "with an RSA exponent of 1, 3, zero, even or negative are refused",
        arguments: [
            ([0x01], "Request refused: the RSA exponent is smaller than 65537"),
            ([0x03], "Request refused: the RSA exponent is smaller than 65537"),
            ([0x00], "Request refused: the RSA exponent is even"), ([0x01, 0x00, 0x00], "Request refused: the RSA exponent is even"),
            ([0x00, 0xff, 0xff], "Request refused: the RSA exponent is smaller than 65537"),
        ] as [([UInt8], String)])
    func exponents(_ exponent: [UInt8], _ line: String) throws {
        #expect(try self.refusal(try Crafted.request(publicKey: Crafted.rsaKey(exponent: exponent))) == line)
    }

    @Test("with an RSA exponent that costs seconds to verify with, or a negative one, are refused at once")
    func costlyExponents() throws {
        for exponent in [[0x7f] + [UInt8](repeating: 0xff, count: 255), [0xff], [0x80, 0x00, 0x01]] as [[UInt8]] {
            var line = ""
            let time = try ContinuousClock().measure {
                line = try self.refusal(try Crafted.request(publicKey: Crafted.rsaKey(exponent: exponent)))
            }
            #expect(line.hasPrefix("CSR parse error: ") || line.hasPrefix("Request refused: "), "\(line)")
            #expect(time < .seconds(1))
        }
    }

    @Test("with a point that is not on the curve, or no point, are refused")
    func points() throws {
        let key = P256.Signing.PrivateKey().publicKey
        let good = Array(key.x963Representation)
        var off = good
        off[64] ^= 1
        // x is not smaller than the field's prime (FIPS 186-4 D.1.2.3).
        let tooLarge: [UInt8] = [0x04] + [UInt8](repeating: 0xff, count: 32) + good[33...]
        let points: [[UInt8]] = [
            off, tooLarge, [0x04] + [UInt8](repeating: 0, count: 64), [0x00], [], [0x04], Array(good.dropLast()), good + [0],
            [0x05] + good[1...], [0x02] + [UInt8](repeating: 0xff, count: 32),
        ]
        for point in points {
            let line = try self.refusal(try Crafted.request(publicKey: Crafted.ellipticKey(point: point)))
            #expect(line == "CSR parse error: the public key is not a valid point or number", "\(point.count) octets: \(line)")
        }
    }

    @Test("with unknown critical extensions are certified without them, as every extension but the names is")
    func unknownCritical() throws {
        let bench = try TaskBench()
        // 1.3.6.1.4.1.99999.1, critical, and a basicConstraints of a CA, critical.
        let unknown = Crafted.node(
            0x30, [0x06, 0x09, 0x2b, 0x06, 0x01, 0x04, 0x01, 0x86, 0x8d, 0x1f, 0x01, 0x01, 0x01, 0xff] + Crafted.node(0x04, [0x05, 0x00]))
        let authority = Crafted.node(
            0x30, [0x06, 0x03, 0x55, 0x1d, 0x13, 0x01, 0x01, 0xff] + Crafted.node(0x04, [0x30, 0x03, 0x01, 0x01, 0xff]))
        let names = Crafted.node(
            0x30,
            [0x06, 0x03, 0x55, 0x1d, 0x11] + Crafted.node(0x04, Crafted.node(0x30, Crafted.node(0x82, Array("alt.example.org".utf8)))))
        let csr = try Crafted.request(attributes: Crafted.attributes(extensions: unknown + authority + names))
        let pem = try #require(try bench.ask("sign", ["csr": .string(csr)]).text("certificate"))
        let certificate = try Certificate(derEncoded: try #require(PEM.decodeFirst(pem, labels: ["CERTIFICATE"])))
        #expect(
            try certificate.extensions.subjectAlternativeNames.map(Array.init) == [
                .dnsName("host.example.org"), .dnsName("alt.example.org"),
            ])
        #expect(try certificate.extensions.basicConstraints == .notCertificateAuthority)
        #expect(!certificate.extensions.contains { $0.oid == [1, 3, 6, 1, 4, 1, 99_999, 1] })
        try bench.servesOthers("unknown critical extensions")
    }

    @Test(
        "without attributes or labelled NEW CERTIFICATE REQUEST are accepted",
        arguments: ["CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"])
    func lenient(_ label: String) throws {
        let bench = try TaskBench()
        for attributes in [[], [0xa0, 0x00]] as [[UInt8]] {
            let csr = try Crafted.request(attributes: attributes, label: label)
            #expect(bench.refusal("sign", ["csr": .string(csr)]).hasPrefix("answered"))
        }
        try bench.servesOthers(label)
    }

    @Test(
        "with attributes and extensions that are no such thing are refused",
        arguments: [
            [0xa0, 0x02, 0x05, 0x00], [0xa0, 0x02, 0x30, 0x00], [0x04, 0x01, 0x00], [0xa0, 0x80, 0x00, 0x00],
            [0xa0, 0x84, 0xff, 0xff, 0xff, 0xff],
            Crafted.attributes(extensions: [0x30, 0x00]), Crafted.attributes(extensions: [0x05, 0x00]),
            Crafted.attributes(extensions: Crafted.node(0x30, [0x06, 0x03, 0x55, 0x1d, 0x11] + Crafted.node(0x04, [0x04, 0x00]))),
            // A name of a kind that is not certified: registeredID.
            Crafted.attributes(
                extensions: Crafted.node(0x30, [0x06, 0x03, 0x55, 0x1d, 0x11] + Crafted.node(0x04, [0x30, 0x03, 0x88, 0x01, 0x2a]))),
            // An address of five octets.
            Crafted.attributes(
                extensions: Crafted.node(
                    0x30, [0x06, 0x03, 0x55, 0x1d, 0x11] + Crafted.node(0x04, [0x30, 0x07, 0x87, 0x05, 1, 2, 3, 4, 5]))),
        ] as [[UInt8]])
    func attributes(_ bytes: [UInt8]) throws {
        let line = try self.refusal(try Crafted.request(attributes: bytes))
        #expect(line.hasPrefix("CSR parse error: ") || line.hasPrefix("Request refused: "), "\(line)")
    }
}
