// Distinguished names against RFC 4514's examples and what openssl prints.

import PKI
import SwiftASN1
import TestAuthority
import Testing
import X509

private typealias Name = PKI.DistinguishedName

extension PKI.DistinguishedName {
    /// The attributes as short names and values, in order.
    fileprivate var flat: [String] { self.relativeNames.map { $0.map { "\($0.type.shortName)=\($0.value)" }.joined(separator: "+") } }
}

@Suite("Distinguished names as text")
struct DistinguishedNameTextTests {
    @Test(
        "the examples of RFC 4514 section 4 are read",
        arguments: [
            ("UID=jsmith,DC=example,DC=net", ["DC=net", "DC=example", "UID=jsmith"]),
            ("OU=Sales+CN=J.  Smith,DC=example,DC=net", ["DC=net", "DC=example", "OU=Sales+CN=J.  Smith"]),
            (#"CN=James \"Jim\" Smith\, III,DC=example,DC=net"#, ["DC=net", "DC=example", #"CN=James "Jim" Smith, III"#]),
            (#"CN=Before\0dAfter,DC=example,DC=net"#, ["DC=net", "DC=example", "CN=Before\rAfter"]),
            ("1.3.6.1.4.1.1466.0=#04024869", ["1.3.6.1.4.1.1466.0=#04024869"]), (#"CN=Lu\C4\8Di\C4\87"#, ["CN=Lučić"]),
        ] as [(String, [String])])
    func rfc4514(_ text: String, _ expected: [String]) throws { #expect(try #require(Name.parse(text)).flat == expected) }

    @Test(
        "other lawful spellings are read",
        arguments: [
            ("cn=a;o=b", ["O=b", "CN=a"]), ("CN = a , O = b", ["O=b", "CN=a"]), (#"CN="a,b+c",O=d"#, ["O=d", "CN=a,b+c"]),
            (#"CN=\ a\ "#, ["CN= a "]), ("CN=\\#a", ["CN=#a"]), ("CN=a=b", ["CN=a=b"]), ("CN=a+", ["CN=a+"]),
            ("2.5.4.3=a", ["CN=a"]), ("OID.2.5.4.3=a", ["CN=a"]),
            ("emailAddress=user+tag@example.org,CN=u", ["CN=u", "emailAddress=user+tag@example.org"]),
            ("CN=山田,O=Жанна", ["O=Жанна", "CN=山田"]),
            ("CN=a + OU=b,O=c", ["O=c", "CN=a+OU=b"]), ("CN=a/b,O=c", ["O=c", "CN=a/b"]),
            ("commonName=a, organizationName=b", ["O=b", "CN=a"]),
            ("/C=FR/O=Org/CN=name", ["C=FR", "O=Org", "CN=name"]), (#"/O=a\/b\+c\\d/CN=x"#, [#"O=a/b+c\d"#, "CN=x"]),
            ("/CN=http://host/path", ["CN=http://host/path"]), ("/CN=a+b", ["CN=a+b"]),
            ("/CN=a+OU=b/O=c", ["CN=a+OU=b", "O=c"]), (#"/CN=a\/O=b"#, ["CN=a/O=b"]), ("/cn=a, b", ["CN=a, b"]), ("/CN=a=b", ["CN=a=b"]),
            ("/DC=org/DC=example/UID=x", ["DC=org", "DC=example", "UID=x"]),
            ("/CN=\"q\"", ["CN=\"q\""]), ("/ST=Île-de-France/L=Paris/CN=é", ["ST=Île-de-France", "L=Paris", "CN=é"]),
        ] as [(String, [String])])
    func others(_ text: String, _ expected: [String]) throws { #expect(try #require(Name.parse(text)).flat == expected) }

    @Test(
        "hostile and broken text is no name",
        arguments: [
            "", "/", "//", "=", "/=", "CN", "/CN", "CN=", "/CN=", "/CN=/O=a", "CN=a,", "CN=a,,O=b", ",CN=a", "X=1", "/X=1", "/CN=a/",
            #"CN=a\"#, #"/CN=a\"#, #"CN="a"#, #"CN="a"b"#, #"CN=\ff"#, "CN=a,O",
            "3.1.1=a", "1.50.1=a", "2.5=a", "2.5.=a", "/ CN=a", String(repeating: "CN=a,", count: 2_000) + "CN=a",
            String(repeating: "/", count: 5_000), String(repeating: "=", count: 5_000),
            String(repeating: "+", count: 5_000), String(repeating: "\\", count: 4_999),
        ])
    func broken(_ text: String) {
        // A slash at the very end belongs to the value; that is no error.
        if text == "/CN=a/" {
            #expect(Name.parse(text)?.flat == ["CN=a/"])
        } else {
            #expect(Name.parse(text) == nil, "\(Name.parse(text)?.flat ?? [])")
        }
    }

    @Test("a query is a whole name, a bare CN, or nothing")
    func queries() throws {
        #expect(Name.query("host.example.org") == .commonName("host.example.org"))
        #expect(Name.query("CN=host") == .commonName("host") && Name.query("/CN=host") == .commonName("host"))
        #expect(Name.query("/O=a/CN=host") == .name(try #require(Name.parse("CN=host,O=a"))))
        for text in ["", "/CN", "CN=", "a=b"] { #expect(Name.query(text) == nil) }
        #expect(Name.query("John Smith") == .commonName("John Smith"))
    }

    @Test("what is written is read as the same name, in both notations, with random hostile values")
    func roundTrip() throws {
        var random = RepeatableRandom().bytes(60_000)[...]
        let alphabet = Array(#"ab /\+,=;"<># é山"# + "\u{0}\n")
        func next() -> Int { Int(random.popFirst() ?? 0) }
        for _ in 0..<2_000 {
            let names = (0..<1 + next() % 3).map { _ in
                (0..<1 + next() % 2).map { _ in
                    Name.Attribute(
                        [.commonName, .organization, .userID, AttributeType(oid: [1, 2, 3, 4])][next() % 4],
                        "x" + String((0..<next() % 6).map { _ in alphabet[next() % alphabet.count] }) + "x")
                }
            }
            let name = Name(relativeNames: names)
            for text in [name.slashNotation, name.rfc4514] {
                let read = try #require(Name.parse(text), "\(text)")
                #expect(read.flat == name.flat, "\(text)")
            }
        }
    }

    @Test("object identifiers of the arc 2, whose second number has no bound, are written as they are read (X.690 8.19)")
    func secondArc() throws {
        // 2.100.3 of X.690 8.19.5 is 813403 in DER; 2.999 is the arc for examples.
        for dotted in ["2.100.3", "2.999.1", "2.40.1", "2.39.1", "1.39.1", "0.9.2342", "2.4294967295.7"] {
            #expect(AttributeType(name: dotted)?.dotted == dotted)
            let name = try #require(Name.parse("/\(dotted)=a/CN=b"))
            #expect(Name.parse(name.slashNotation)?.flat == name.flat)
        }
        var serializer = DER.Serializer()
        try serializer.serialize(try #require(AttributeType(name: "2.100.3")).oid)
        #expect(serializer.serializedBytes == [0x06, 0x03, 0x81, 0x34, 0x03])
    }

    @Test("a value cannot pretend to be another attribute")
    func injection() throws {
        for value in ["x/O=evil", "x+O=evil", #"x\"#, #"x\/O=evil"#, "x,O=evil", "x\"", "x;O=evil", "#0403", " x "] {
            let name = Name([.init(.organization, "Org"), .init(.commonName, value)])
            #expect(Name.parse(name.slashNotation)?.flat == name.flat)
            #expect(Name.parse(name.rfc4514)?.flat == name.flat)
        }
    }
}

@Suite("Distinguished names as openssl prints them")
struct DistinguishedNameOpenSSLTests {
    @Test(
        "are read back as the certificate's own name, in every notation of openssl",
        arguments: [
            "/C=FR/ST=Île-de-France/L=Paris/O=Org, Inc./OU=R\\/D/CN=host.example.org", "/CN=Жанна д'Арк/emailAddress=a@b.example",
            "/DC=org/DC=example/UID=u1/CN=a\\+b", "/O=a\\\\b/CN=\"quoted\" <x>; y #1",
            "/CN=a+OU=b/O=c", "/CN= lead and trail ", "/O=#hash/CN==equals=",
            "/street=1 Rue/serialNumber=42/title=Dr/GN=G/SN=S/initials=I/dnQualifier=q/pseudonym=p/CN=all",
        ])
    func notations(_ subject: String) throws {
        let folder = try OpenSSLFolder()
        try folder.openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "k", "-utf8", "-multivalue-rdn",
            "-subj", subject, "-out", "c.pem")
        try folder.openssl("x509", "-in", "c.pem", "-outform", "DER", "-out", "c.der")
        let name = Name(try Certificate(derEncoded: try folder.read("c.der")).subject)
        #expect(Name.parse(subject) == name)
        for options in ["RFC2253", "RFC2253,-esc_msb,utf8", "oneline,-esc_msb,utf8", "oneline"] {
            let printed = try folder.openssl("x509", "-in", "c.pem", "-noout", "-subject", "-nameopt", options)
            let text = String(printed.dropFirst("subject=".count).dropLast())
            #expect(Name.parse(text) == name, "\(options): \(text)")
        }
        #expect(Name(try name.x509()).slashNotation == name.slashNotation)
    }

    @Test("are encoded with the string types of RFC 5280 appendix A")
    func stringTypes() throws {
        let name = try #require(Name.parse("/C=FR/DC=example/O=Org/serialNumber=1/emailAddress=a@b.c/CN=é"))
        var serializer = DER.Serializer()
        try serializer.serialize(name.x509())
        let folder = try OpenSSLFolder()
        try folder.write(serializer.serializedBytes, "n.der")
        let lines = try folder.openssl("asn1parse", "-inform", "DER", "-in", "n.der").split(separator: "\n").filter {
            $0.contains("STRING")
        }
        let types = lines.map { line in ["PRINTABLESTRING", "IA5STRING", "UTF8STRING"].first { line.contains($0) } ?? "other" }
        #expect(types == ["PRINTABLESTRING", "IA5STRING", "UTF8STRING", "PRINTABLESTRING", "IA5STRING", "UTF8STRING"])
        for bad in ["/C=é", "/DC=é", "/emailAddress=é@b.c"] { #expect(throws: (any Error).self) { try Name.parse(bad)?.x509() } }
    }
}

@Suite("Distinguished names compared")
struct DistinguishedNameEqualityTests {
    private func same(_ left: String, _ right: String) -> Bool {
        guard let left = Name.parse(left), let right = Name.parse(right) else { return false }
        return left == right && left.hashValue == right.hashValue
    }

    @Test(
        "are equal in both notations and both orders, whatever case and surplus spaces",
        arguments: [
            ("/C=FR/O=Org/CN=a", "CN=a,O=Org,C=FR"), ("/C=FR/O=Org/CN=a", "C=FR,O=Org,CN=a"), ("/O=Org/CN=a  b", "cn=A B , o=ORG"),
            ("/CN=a+OU=b/O=c", "OU=b+CN=a,O=c"), ("/CN=ÉTÉ", "CN=été"), ("/CN=Straße", "CN=straße"),
        ] as [(String, String)])
    func equal(_ left: String, _ right: String) { #expect(self.same(left, right) && self.same(right, left)) }

    @Test(
        "are not equal where an attribute, its type, its place or its grouping differs",
        arguments: [
            ("/O=a/CN=b", "/O=b/CN=a"), ("/O=a/OU=b/CN=c", "/OU=b/O=a/CN=c"), ("/CN=a", "/CN=a/CN=a"), ("/O=a/CN=b", "/O=a+CN=b"),
            ("/CN=a", "/OU=a"), ("/CN=ab", "/CN=a b"), ("/O=a", "/O=a/CN=b"),
            ("/CN=a\\/O=b", "/CN=a/O=b"), ("/CN=a\\+O=b", "/CN=a+O=b"), ("/CN=straße", "/CN=strasse"), ("/CN=a", "/CN=а"),
        ] as [(String, String)])
    func different(_ left: String, _ right: String) {
        #expect(Name.parse(left) != nil && Name.parse(right) != nil)
        #expect(!self.same(left, right))
    }

    @Test("the common name is the last one")
    func commonName() {
        #expect(Name.parse("/CN=a/O=b/CN=c")?.commonName == "c")
        #expect(Name.parse("/O=b")?.commonName == nil)
    }
}
