// Enrolment strings: what goes in comes out, and nothing that was damaged is taken.

import Crypto
import Enrolment
import PKI
import Testing
import UPKIProtocol

@Suite("Enrolment strings")
struct EnrolmentStringTests {
    static let coreKey = "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID"
    static let registrarKey = "D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs"
    static let servers = ServerAddresses(
        hosts: ["192.0.2.10", "2001:db8::1", "ca.example.com"],
        sets: [.init(port: 5_000, registrarPort: 5_001, coreKey: coreKey, registrarKey: registrarKey)])
    static let string = EnrolmentString(
        servers: servers, fingerprint: Array(0..<32), token: "upkireg_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG",
        commonName: "ra.example.com")

    @Test("come out as they went in, with one key or two, for one name or any")
    func roundTrip() throws {
        var string = Self.string
        #expect(try EnrolmentString(parsing: string.text) == string)
        string.commonName = nil
        string.servers.sets.append(.init(port: 5_010, registrarPort: 5_011, coreKey: Self.registrarKey, registrarKey: Self.coreKey))
        #expect(try EnrolmentString(parsing: string.text) == string)
        #expect(!string.text.contains { $0.isWhitespace } && string.text.hasPrefix("upkienroll1."))
    }

    @Test("have the checksum that the documents define: six bytes of SHA-256 in base64url")
    func checksum() throws {
        let parts = Self.string.text.split(separator: ".")
        let digest = SHA256.hash(data: Array("\(parts[0]).\(parts[1])".utf8))
        let expected = String(decoding: Base64.encode(Array(digest.prefix(6))), as: UTF8.self)
        #expect(parts[2] == expected.map { $0 == "+" ? "-" : $0 == "/" ? "_" : String($0) }.joined())
    }

    @Test("are read through the spaces and line breaks of a mail")
    func whitespace() throws {
        var text = ""
        for (index, character) in Self.string.text.enumerated() { text += (index % 60 == 59 ? "\r\n  " : "") + String(character) }
        #expect(try EnrolmentString(parsing: " \t\(text)\n\n") == Self.string)
    }

    @Test("are refused when a single character is another one, is missing, or comes twice; the words never repeat the token")
    func damage() throws {
        let characters = Array(Self.string.text)
        for index in characters.indices {
            for replacement in [[Character("A")], [Character("b")], [Character("-")], [], [characters[index], characters[index]]] {
                var damaged = characters
                damaged.replaceSubrange(index...index, with: replacement)
                guard damaged != characters else { continue }
                let error = #expect(throws: EnrolmentError.self) { _ = try EnrolmentString(parsing: String(damaged)) }
                #expect(
                    error?.code == .invalidString && error?.message.contains("upkireg") == false && error?.message.contains("\n") == false)
            }
        }
        for count in 0..<characters.count {
            #expect(throws: EnrolmentError.self) { _ = try EnrolmentString(parsing: String(characters.prefix(count))) }
        }
    }

    @Test("of another version are told apart from damaged ones")
    func version() throws {
        let error = #expect(throws: EnrolmentError.self) { _ = try EnrolmentString(parsing: "upkienroll2.abc.def") }
        #expect(error?.message.contains("another version of ca-ctl") == true)
    }

    @Test(
        "that are whole but hold nonsense are refused: hosts that would be read as something else, ports, keys, lists without end",
        arguments: [
            ["hosts": []], ["hosts": ["a b"]], ["hosts": ["192.0.2.1:5000/x"]], ["hosts": ["*"]], ["hosts": ["a;b"]],
            ["hosts": [.integer(1)]],
            ["hosts": .array(Array(repeating: "192.0.2.1", count: 17))], ["hosts": "192.0.2.1"], ["keys": []], ["keys": [[:] as JSON]],
            ["keys": .array(Array(repeating: EnrolmentStringTests.key(), count: 4))],
            ["keys": [EnrolmentStringTests.key("port", .integer(0))]], ["keys": [EnrolmentStringTests.key("port", .integer(65_536))]],
            ["keys": [EnrolmentStringTests.key("core_key", "short")]], ["keys": [EnrolmentStringTests.key("registrar_key", .null)]],
            ["ca": "00"], ["ca": .string(String(repeating: "zz", count: 32))], ["token": ""],
            ["token": .string(String(repeating: "t", count: 201))], ["cn": .integer(5)],
        ] as [JSON])
    func nonsense(_ change: JSON) throws {
        let whole = try Self.encoded([:])
        #expect(try EnrolmentString(parsing: whole) == Self.string)
        let error = try #require(throws: EnrolmentError.self) { _ = try EnrolmentString(parsing: try Self.encoded(change)) }
        #expect(error.code == .invalidString)
    }

    @Test("come from the answer that opens registration")
    func fromAnswer() throws {
        let transport: JSON = [
            "addresses": ["192.0.2.10"], "port": .integer(5_000), "registrar_port": .integer(5_001), "core_key": .string(Self.coreKey),
            "registrar_key": .string(Self.registrarKey), "fingerprint": .string(String(repeating: "ab", count: 32)), "number": .integer(0),
            "next": [
                "number": .integer(1), "port": .integer(5_010), "registrar_port": .integer(5_011), "core_key": .string(Self.registrarKey),
                "registrar_key": .string(Self.coreKey),
            ],
        ]
        let string = try EnrolmentString(openedRegistration: ["token": "upkireg_x", "cn": "a", "transport": transport])
        #expect(string.servers.sets.map(\.port) == [5_000, 5_010, 5_000] && string.commonName == "a" && string.token == "upkireg_x")
        // After the exchange the next key is had where the present one is now.
        #expect(string.servers.sets.map(\.coreKey) == [Self.coreKey, Self.registrarKey, Self.registrarKey])
        #expect(string.fingerprint == Array(repeating: 0xAB, count: 32))
        #expect(throws: EnrolmentError.self) { _ = try EnrolmentString(openedRegistration: ["token": "x"]) }
    }

    static func key(_ name: String = "", _ value: JSON = .null) -> JSON {
        var members: [JSON.Member] = [
            .init("port", .integer(5_000)), .init("registrar_port", .integer(5_001)), .init("core_key", .string(coreKey)),
            .init("registrar_key", .string(registrarKey)),
        ]
        for index in members.indices where members[index].name == name { members[index].value = value }
        return .object(members)
    }

    /// A string with a right checksum, whatever it holds.
    private static func encoded(_ change: JSON) throws -> String {
        var members: [JSON.Member] = [
            .init("hosts", ["192.0.2.10", "2001:db8::1", "ca.example.com"]), .init("keys", [key()]),
            .init("ca", .string(Hexadecimal.encode(Array(0..<32)))), .init("token", .string(string.token)), .init("cn", "ra.example.com"),
        ]
        for index in members.indices { if let value = change[members[index].name] { members[index].value = value } }
        func base64URL(_ bytes: [UInt8]) -> String {
            String(decoding: Base64.encode(bytes), as: UTF8.self).map { $0 == "+" ? "-" : $0 == "/" ? "_" : $0 == "=" ? "" : String($0) }
                .joined()
        }
        let body = "upkienroll1.\(base64URL(JSON.object(members).encoded))"
        return "\(body).\(base64URL(Array(SHA256.hash(data: Array(body.utf8)).prefix(6))))"
    }
}
