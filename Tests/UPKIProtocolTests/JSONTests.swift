// JSON against RFC 8259, the well-known corner cases, and Foundation as a second reader.

import Foundation
import Testing
import UPKIProtocol

private func parse(_ text: String) throws -> JSON { try JSON(parsing: Array(text.utf8)) }

@Suite("Reading JSON")
struct JSONReadingTests {
    @Test(
        "takes what RFC 8259 allows",
        arguments: [
            ("0", JSON.number("0")), ("-0", .number("-0")), ("1e400", .number("1e400")), ("-1.5E-007", .number("-1.5E-007")),
            ("123456789012345678901234567890", .number("123456789012345678901234567890")), ("1E+2", .number("1E+2")),
            (#""""#, ""), (#""\"\\\/\b\f\n\r\t\u00e9""#, "\"\\/\u{8}\u{c}\n\r\té"), (#""\uD83D\uDE00""#, "😀"), (#""\u0000""#, "\u{0}"),
            ("\"\u{7f}\u{2028}é😀\"", "\u{7f}\u{2028}é😀"),
            ("[]", []), ("[ ]", []), ("{}", [:]), ("\t\n\r [ 1 , 2 ] \n", [.number("1"), .number("2")]), (#"{"":1}"#, ["": .number("1")]),
            (#"{"a":{"a":[{"a":null}]}}"#, ["a": ["a": [["a": .null]]]]), ("true", true), ("false", false), ("null", .null),
        ] as [(String, JSON)])
    func good(_ text: String, _ value: JSON) throws { #expect(try parse(text) == value) }

    @Test(
        "refuses what it forbids, and so does Foundation",
        arguments: [
            "", " ", "[", "]", "{", "}", "[1", "[1,", "[1,]", "[,1]", "[1 2]", "[1,,2]", #"{"a"}"#, #"{"a":}"#, #"{"a":1,}"#, #"{,}"#,
            #"{a:1}"#, #"{'a':1}"#, #"{"a" 1}"#, #"{1:2}"#, #"{"a":1 "b":2}"#, "01", "-", "+1", ".5", "1.", "1.e1", "1e", "1e+", "0x1",
            "1_000", "--1", "-01", "00", "1 2", "Infinity", "NaN", "-Infinity",
            "tru", "truE", "nulll", "True", #"""#, #""a"#, #""\"#, #""\x""#, #""\u12""#, #""\u12G4""#, #""\uD800""#, #""\uD800\u0041""#,
            #""\uDC00""#, #""\uD800x""#, #""\uD800\uD800""#, #""\uD83D\n""#, "\"a\nb\"", "\"\t\"", "\"\u{0}\"", "[1]x", "/**/1", "1//",
            "\u{a0}1", "\u{b}1", "\u{c}1", "[\"a\",\n4\n,1,",
        ])
    func bad(_ text: String) { #expect(throws: JSONError.self) { try parse(text) } }

    @Test(
        "refuses text that is not UTF-8",
        arguments: [
            [0x80], [0xc0, 0xaf], [0xe0, 0x80, 0x80], [0xed, 0xa0, 0x80], [0xed, 0xbf, 0xbf], [0xf4, 0x90, 0x80, 0x80],
            [0xf8, 0x88, 0x80, 0x80, 0x80], [0xc3], [0xe2, 0x82], [0xff],
        ] as [[UInt8]])
    func notUTF8(_ bytes: [UInt8]) {
        #expect(throws: JSONError.self) { try JSON(parsing: [0x22] + bytes + [0x22]) }
        #expect(throws: JSONError.self) { try JSON(parsing: [0x22, 0x5c, 0x6e] + bytes + [0x22]) }
        #expect(throws: JSONError.self) { try JSON(parsing: bytes) }
    }

    @Test(
        "refuses two equal names, few or many, written differently or not",
        arguments: [
            #"{"a":1,"a":1}"#, #"{"a":1,"\u0061":2}"#, "{" + (0..<50).map { "\"k\($0)\":0" }.joined(separator: ",") + ",\"k3\":1}",
            "{" + (0..<50).map { "\"k\($0)\":0" }.joined(separator: ",") + ",\"k49\":1}", #"{"x":{"b":1,"b":2}}"#,
        ])
    func duplicates(_ text: String) {
        let error = #expect(throws: JSONError.self) { try parse(text) }
        #expect(error?.message.contains("twice") == true)
    }

    @Test("reads 32 levels, and not one more")
    func depth() throws {
        _ = try parse(String(repeating: "[", count: 32) + "1" + String(repeating: "]", count: 32))
        #expect(throws: JSONError.self) { try parse(String(repeating: "[", count: 33) + "1" + String(repeating: "]", count: 33)) }
        #expect(throws: JSONError.self) { try parse(String(repeating: "[", count: 100_000)) }
    }

    @Test("keeps the digits of numbers, and gives integers only where they fit")
    func numbers() throws {
        for (text, value) in [("9223372036854775807", Int64.max), ("-9223372036854775808", Int64.min), ("0", 0), ("-5", -5)]
            as [(String, Int64)]
        { #expect(try parse(text).integerValue == value) }
        for text in ["9223372036854775808", "1.0", "1e2", "-0.5"] {
            #expect(try parse(text).integerValue == nil)
            #expect(try parse(text).text == text)
        }
    }

    @Test("says where it stopped")
    func offsets() {
        #expect(#expect(throws: JSONError.self) { try parse("[1,x]") }?.offset == 3)
        #expect(#expect(throws: JSONError.self) { try parse("[1] 2") }?.offset == 4)
    }

    @Test("takes a megabyte of members in far less than a second")
    func large() throws {
        let text = "{" + (0..<60_000).map { "\"key\($0)\":\($0)" }.joined(separator: ",") + "}"
        let clock = ContinuousClock()
        let time = try clock.measure {
            let count = try parse(text).objectValue?.count
            #expect(count == 60_000)
        }
        #expect(time < .seconds(2))
    }
}

@Suite("Writing JSON")
struct JSONWritingTests {
    private struct Random: RandomNumberGenerator {
        var state: UInt64
        mutating func next() -> UInt64 {
            self.state = self.state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return self.state ^ (self.state >> 29)
        }
    }

    private func text(_ random: inout Random) -> String {
        var view = String.UnicodeScalarView()
        for _ in 0..<Int.random(in: 0..<8, using: &random) {
            let limit: UInt32 = [0x80, 0x800, 0x1_0000, 0x11_0000][Int.random(in: 0..<4, using: &random)]
            if let scalar = Unicode.Scalar(UInt32.random(in: 0..<limit, using: &random)) { view.append(scalar) }
        }
        return String(view)
    }

    private func value(_ random: inout Random, depth: Int) -> JSON {
        switch Int.random(in: 0..<(depth > 4 ? 4 : 6), using: &random) {
        case 0: return .null
        case 1: return .bool(Bool.random(using: &random))
        case 2: return .integer(Int64.random(in: .min ... .max, using: &random))
        case 3: return .string(self.text(&random))
        case 4: return .array((0..<Int.random(in: 0..<4, using: &random)).map { _ in self.value(&random, depth: depth + 1) })
        default:
            return .object(
                (0..<Int.random(in: 0..<12, using: &random)).map {
                    .init("\($0)" + self.text(&random), self.value(&random, depth: depth + 1))
                })
        }
    }

    @Test("gives text that this reader and Foundation's read as the same value, 2,000 random ones")
    func roundTrip() throws {
        var random = Random(state: 42)
        for _ in 0..<2_000 {
            let value = self.value(&random, depth: 0)
            let bytes = value.encoded
            #expect(try JSON(parsing: bytes) == value)
            let foundation = try JSONSerialization.jsonObject(with: Data(bytes), options: [.fragmentsAllowed])
            if case .array(let elements) = value { #expect((foundation as? [Any])?.count == elements.count) }
            if case .string(let text) = value {
                #expect((foundation as? String)?.unicodeScalars.elementsEqual(text.unicodeScalars) == true)
            }
        }
    }

    @Test("escapes controls, quotes and backslashes, and nothing else")
    func escapes() {
        #expect(JSON.string("\"\\\n\r\t\u{0}\u{1f}\u{7f}/é\u{2028}").text == "\"\\\"\\\\\\n\\r\\t\\u0000\\u001f\\u007f/é\u{2028}\"")
        #expect(JSON.object([.init("b", .number("1")), .init("a", [true, false, .null])]).text == #"{"b":1,"a":[true,false,null]}"#)
    }
}
