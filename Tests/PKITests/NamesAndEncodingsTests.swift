// Addresses against inet_pton, host names against RFC 1123, base64 and PEM against Foundation and openssl.

import Foundation
import Glibc
import PKI
import TestAuthority
import Testing

@Suite("IP addresses")
struct IPAddressTests {
    private func system(_ text: String) -> [UInt8]? {
        guard !text.utf8.contains(0) else { return nil }
        var four = [UInt8](repeating: 0, count: 4)
        if inet_pton(AF_INET, text, &four) == 1 { return four }
        var sixteen = [UInt8](repeating: 0, count: 16)
        return inet_pton(AF_INET6, text, &sixteen) == 1 ? sixteen : nil
    }

    @Test(
        "are read as inet_pton reads them, or not at all",
        arguments: [
            "0.0.0.0", "255.255.255.255", "1.2.3.4", "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "1.2.3.04", "1.2.3.-4", "+1.2.3.4",
            " 1.2.3.4", "1.2.3.4 ", "1..3.4", "0x1.2.3.4", "1.2.3.4/8", "", ".", "...",
            "::", "::1", "1::", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8",
            "1:2:3:4::5:6:7:8", "1::2::3", ":::", "1:::2", ":1", "1:", ":", "12345::", "g::", "::1.2.3.4",
            "::ffff:1.2.3.4", "1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:7:1.2.3.4", "1.2.3.4::", "::1.2.3", "::1.2.3.4:5", "::01.2.3.4",
            "2001:DB8::A", "::+1", "::-1", "fe80::1%eth0", "[::1]", "::1/64", "::0x1", "0000:0000:0000:0000:0000:0000:0000:0001", "::00001",
            "１.2.3.4", "::\u{0}", "1.2.3.4\u{0}",
        ])
    func reading(_ text: String) { #expect(IPAddress.octets(text) == self.system(text)) }

    @Test("are written as inet_ntop writes them (RFC 5952), for random ones with runs of zeros")
    func writing() {
        let random = RepeatableRandom().bytes(40_000)
        for start in stride(from: 0, to: 36_000, by: 18) {
            var octets = Array(random[start..<start + 16])
            let zeros = UInt16(random[start + 16]) << 8 | UInt16(random[start + 17])
            for group in 0..<8 where zeros >> UInt16(group) & 1 == 1 { (octets[2 * group], octets[2 * group + 1]) = (0, 0) }
            // glibc writes ::a.b.c.d for these; RFC 5952 leaves it open.
            if octets[0..<10].allSatisfy({ $0 == 0 }) { continue }
            var buffer = [CChar](repeating: 0, count: 64)
            guard inet_ntop(AF_INET6, octets, &buffer, 64) != nil else { continue }
            let expected = String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            #expect(IPAddress.text(octets) == expected)
            #expect(IPAddress.octets(expected) == octets)
        }
        #expect(IPAddress.text([UInt8](repeating: 0, count: 16)) == "::" && IPAddress.text([127, 0, 0, 1]) == "127.0.0.1")
        #expect(IPAddress.text([UInt8](repeating: 0, count: 15) + [1]) == "::1")
    }
}

@Suite("Alternative names")
struct AlternativeNameTests {
    @Test(
        "have the kind that looking at them gives",
        arguments: [
            ("host.example.org", AlternativeName.dns("host.example.org")), ("HOST", .dns("host")), ("10.0.0.1", .ip([10, 0, 0, 1])),
            ("a@b.example", .email("a@b.example")), ("https://a.example/x@y", .uri("https://a.example/x@y")),
            ("urn:uuid:1", .uri("urn:uuid:1")), ("*.example.org", .dns("*.example.org")),
            ("::1", .ip([UInt8](repeating: 0, count: 15) + [1])), ("1.2.3", .dns("1.2.3")),
        ] as [(String, AlternativeName)])
    func looking(_ text: String, _ expected: AlternativeName) { #expect(AlternativeName(looking: text) == expected) }

    @Test("have the kind that is named, in any case, or are none")
    func kinds() {
        #expect(AlternativeName(kind: "dns", value: "10.0.0.1") == .dns("10.0.0.1"))
        #expect(AlternativeName(kind: "IP", value: "10.0.0.1") == .ip([10, 0, 0, 1]))
        #expect(
            AlternativeName(kind: "Email", value: "A@b.c") == .email("A@b.c") && AlternativeName(kind: "uri", value: "x:y") == .uri("x:y"))
        #expect(
            AlternativeName(kind: "IP", value: "host") == nil && AlternativeName(kind: "X400", value: "a") == nil
                && AlternativeName(kind: "", value: "a") == nil)
    }

    @Test(
        "host names follow RFC 1123",
        arguments: [
            ("a", true), ("a-b.c", true), ("3com.example", true), ("a.b.c.d.e", true), (String(repeating: "a", count: 63) + ".b", true),
            ("xn--a.b", true),
            (String(repeating: "a", count: 64), false), ("a_b", false), ("-a", false), ("a-", false), ("a..b", false), ("a.", false),
            (".a", false), ("", false), ("1.2.3.4", false), ("a.1", false), ("A.b", false), ("a b", false), ("é", false), ("a\u{0}", false),
            (Array(repeating: "abcdefg", count: 31).joined(separator: ".") + ".abcde", true),
            (Array(repeating: "abcdefg", count: 31).joined(separator: ".") + ".abcdef", false), ("*.a", false),
        ] as [(String, Bool)])
    func hostNames(_ name: String, _ isGood: Bool) { #expect((HostName.fault(name, allowsWildcard: false) == nil) == isGood) }

    @Test(
        "a wildcard is the whole first label before another one",
        arguments: [("*.a", true), ("*", false), ("*.", false), ("a.*", false), ("*a.b", false), ("*.*.a", false), ("**.a", false)])
    func wildcards(_ name: String, _ isGood: Bool) { #expect((HostName.fault(name, allowsWildcard: true) == nil) == isGood) }
}

@Suite("Encodings")
struct EncodingTests {
    @Test("base64 is Foundation's, with and without lines, for every length up to 300")
    func base64() {
        let random = RepeatableRandom().bytes(300)
        for count in 0...300 {
            let bytes = Array(random.prefix(count))
            #expect(String(decoding: Base64.encode(bytes), as: UTF8.self) == Data(bytes).base64EncodedString())
            let lines = Base64.encode(bytes, lineLength: 64)
            let expected = Data(bytes).base64EncodedString(options: [.lineLength64Characters, .endLineWithLineFeed])
            #expect(String(decoding: lines, as: UTF8.self) == expected + (count > 0 ? "\n" : ""))
            #expect(Base64.decode(lines) == bytes)
        }
    }

    @Test(
        "base64 that is none is not read",
        arguments: ["A", "AA", "AAA", "AA=", "A===", "AA==AA==", "AAB=", "AB==", "AA-_", "AA=A", "====", "AAAA=", "é"])
    func badBase64(_ text: String) { #expect(Base64.decode(text.utf8) == nil) }

    @Test("PEM is openssl's, and read with text around it, CRLF, and other objects before it")
    func pem() throws {
        let folder = try OpenSSLFolder()
        try folder.openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "k.pem", "-subj", "/CN=a", "-out",
            "c.pem")
        try folder.openssl("x509", "-in", "c.pem", "-outform", "DER", "-out", "c.der")
        let (pem, der) = (try folder.text("c.pem"), try folder.read("c.der"))
        #expect(PEM.encode(der, label: "CERTIFICATE") == pem)
        for text in [pem, "hello\n" + pem + "bye", pem.replacingOccurrences(of: "\n", with: "\r\n"), try folder.text("k.pem") + pem] {
            #expect(PEM.decodeFirst(text, labels: ["X509 CERTIFICATE", "CERTIFICATE"]) == der)
        }
        for text in [
            "", "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----\n-----BEGIN CERTIFICATE-----",
            "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----", String(repeating: "-", count: 100_000),
        ] {
            #expect(PEM.decodeFirst(text, labels: ["CERTIFICATE"]) == nil)
        }
    }

    @Test("hexadecimal")
    func hexadecimal() {
        let all = (0...255).map { UInt8($0) }
        #expect(Hexadecimal.decode(Hexadecimal.encode(all)) == all && Hexadecimal.encode([0, 255, 16]) == "00ff10")
        #expect(
            Hexadecimal.decode("Aa") == [170] && Hexadecimal.decode("") == [] && Hexadecimal.decode("a") == nil
                && Hexadecimal.decode("0g") == nil && Hexadecimal.decode("0x") == nil)
    }
}
