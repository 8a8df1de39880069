// The envelope: every input of "exactly one answer" as a frame, and what a client reads back.

import Testing
import UPKIProtocol

private func message(_ frame: [UInt8]) -> String {
    do throws(Refusal) {
        _ = try Request(frame: frame)
        return "a request"
    } catch { return error.message }
}

@Suite("A frame that is no request")
struct RefusedFrameTests {
    @Test(
        "is refused in one line with the documented beginning",
        arguments: [
            ("", "Invalid JSON: "), (" ", "Invalid JSON: "), ("{", "Invalid JSON: "), ("hello", "Invalid JSON: "),
            (#"{"TASK":"a"} x"#, "Invalid JSON: "), (#"{"TASK":"a"}{"TASK":"b"}"#, "Invalid JSON: "), ("{'TASK':'a'}", "Invalid JSON: "),
            (#"{"TASK":"a","TASK":"b"}"#, "Invalid JSON: "), (#"{"TASK":"a","params":{"x":1,"x":2}}"#, "Invalid JSON: "),
            (#"{"TASK":"a","T\u0041SK":"b"}"#, "Invalid JSON: "), (#"{"TASK":NaN}"#, "Invalid JSON: "), ("[1,2]", "Invalid request: "),
            ("[]", "Invalid request: "),
            ("5", "Invalid request: "), ("null", "Invalid request: "), (#""TASK""#, "Invalid request: "), ("{}", "Missing TASK parameter"),
            (#"{"task":"a"}"#, "Missing TASK parameter"), (#"{"TASK":5}"#, "Invalid request: "), (#"{"TASK":null}"#, "Invalid request: "),
            (#"{"TASK":["a"]}"#, "Invalid request: "),
            (#"{"TASK":"a","params":[]}"#, "Invalid request: "), (#"{"TASK":"a","params":"x"}"#, "Invalid request: "),
            (#"{"TASK":"a","params":0}"#, "Invalid request: "), (#"{"TASK":"a","params":false}"#, "Invalid request: "),
            ("\u{feff}{\"TASK\":\"a\"}", "Invalid JSON: "),
        ])
    func texts(_ text: String, _ beginning: String) {
        let line = message(Array(text.utf8))
        #expect(line.hasPrefix(beginning), "\(line)")
        #expect(!line.contains("\n") && line.utf8.count < 200)
    }

    @Test(
        "is refused where it is not UTF-8, holds zeros, or is any one byte",
        arguments: [
            [0xff], [0xc3, 0x28], [0x00], [0xed, 0xa0, 0x80], Array(#"{"TASK":""#.utf8) + [0xc0, 0x80] + Array(#""}"#.utf8),
            Array(#"{"TASK":"a","params":{"x":""#.utf8) + [0xf5, 0x80, 0x80, 0x80] + Array(#""}}"#.utf8),
            Array(#"{"TASK":"a\n"#.utf8) + [0xff, 0x22, 0x7d],
            Array("{\"TASK\":\"a\u{0}\"}".utf8),
        ] as [[UInt8]])
    func bytes(_ frame: [UInt8]) { #expect(message(frame).hasPrefix("Invalid JSON: ")) }

    @Test("is refused where it is a mebibyte of zeros")
    func zeros() { self.bytes([UInt8](repeating: 0, count: 1 << 20)) }

    @Test("is refused at once with 100,000 brackets, closed or not, of either kind")
    func brackets() {
        for frame in [
            [UInt8](repeating: 0x5b, count: 100_000), [UInt8](repeating: 0x5b, count: 100_000) + [UInt8](repeating: 0x5d, count: 100_000),
            Array(String(repeating: "{\"a\":", count: 100_000).utf8),
            Array((#"{"TASK":"a","params":{"x":"# + String(repeating: "[", count: 100_000)).utf8),
        ] { #expect(message(frame).contains("nested deeper than 32 levels")) }
    }

    @Test("never ends the program, whatever single byte of a request is changed or where it is cut")
    func mutations() {
        let frame = Array(
            #"{"TASK":"sign","params":{"csr":"\u00e9\ud83d\ude00\n","duration":-1.5e+10,"x":[true,false,null,{"y":[]}]}}"#.utf8)
        #expect(message(frame) == "a request")
        for index in frame.indices {
            for byte in UInt8.min...UInt8.max {
                var copy = frame
                copy[index] = byte
                _ = message(copy)
            }
            #expect(message(Array(frame[..<index])) != "a request")
        }
    }
}

@Suite("A frame that is a request")
struct RequestTests {
    @Test(
        "has its task and parameters; params may be absent or null, and other members are ignored",
        arguments: [
            #"{"TASK":"get_ca"}"#, #"{"TASK":"get_ca","params":{}}"#, #"{"TASK":"get_ca","params":null}"#,
            " \t\r\n{ \"params\" : { } , \"TASK\" : \"get_ca\" , \"id\" : 7 } \n", #"{"TASK":"get\u005fca"}"#,
        ])
    func good(_ text: String) throws {
        let request = try Request(frame: Array(text.utf8))
        #expect(request.task == "get_ca" && request.parameters.members.isEmpty)
    }

    @Test("comes back as it was written")
    func roundTrip() throws {
        let request = Request(
            task: "s\"i\\gn\u{1}", parameters: Parameters(["a": .number("12345678901234567890123"), "b": [true, .null, "é\u{7f}"]]))
        let read = try Request(frame: request.frame)
        #expect(read.task == request.task && read.parameters.members == request.parameters.members)
    }

    @Test("has parameters that are read as what a task wants, with the documented words")
    func parameters() throws {
        let parameters = Parameters([
            "text": "a", "empty": "", "null": .null, "number": .number("5"), "digits": "7", "big": .number("99999999999999999999"),
            "half": .number("1.5"), "flag": true, "list": ["a", "b"], "mixed": ["a", .number("1")],
        ])
        func line(_ body: () throws(Refusal) -> Void) -> String {
            do throws(Refusal) { try body() } catch { return error.message }
            return ""
        }
        #expect(try parameters.string("text") == "a")
        for name in ["empty", "null", "absent"] {
            #expect(line { () throws(Refusal) in _ = try parameters.string(name) } == "Missing \(name) parameter")
        }
        #expect(line { () throws(Refusal) in _ = try parameters.string("number") } == "Invalid number parameter: it is text")
        #expect(
            try parameters.optionalInteger("number", in: 1...9) == 5 && parameters.optionalInteger("digits", in: 1...9) == 7
                && parameters.optionalInteger("absent", in: 1...9) == nil)
        for name in ["big", "half", "text", "flag", "list"] {
            #expect(
                line { () throws(Refusal) in _ = try parameters.optionalInteger(name, in: 1...9) }.hasPrefix("Invalid \(name) parameter: "))
        }
        #expect(
            line { () throws(Refusal) in _ = try parameters.optionalInteger("number", in: 6...9) }
                == "Invalid number parameter: it is a whole number from 6 to 9")
        #expect(try parameters.bool("flag", else: false) && !parameters.bool("absent", else: false))
        #expect(line { () throws(Refusal) in _ = try parameters.bool("text", else: true) } == "Invalid text parameter: it is true or false")
        #expect(try parameters.optionalStrings("list", atMost: 2) == ["a", "b"] && parameters.optionalStrings("absent", atMost: 2) == nil)
        #expect(
            line { () throws(Refusal) in _ = try parameters.optionalStrings("list", atMost: 1) }
                == "Invalid list parameter: it has at most 1 entries")
        #expect(
            line { () throws(Refusal) in _ = try parameters.optionalStrings("mixed", atMost: 9) }
                == "Invalid mixed parameter: it is a list of texts")
    }
}

@Suite("Answers")
struct AnswerTests {
    @Test("are the documented two shapes, byte for byte")
    func shapes() {
        #expect(String(decoding: Answer.frame(true), as: UTF8.self) == #"{"EVENT":"ANSWER","DATA":true}"#)
        #expect(String(decoding: Answer.frame(encodedData: Array("[1]".utf8)), as: UTF8.self) == #"{"EVENT":"ANSWER","DATA":[1]}"#)
        #expect(
            String(decoding: Answer.frame(Refusal(.unknownTask, "Unknown task: \"x\"")), as: UTF8.self)
                == #"{"EVENT":"UPKI ERROR","MSG":"Unknown task: \"x\""}"#)
    }

    @Test("are read back by a client; anything else is no answer")
    func reading() throws {
        #expect(try Answer.data(ofFrame: Answer.frame(["a": .null])) == ["a": .null])
        #expect(try Answer.data(ofFrame: Answer.frame(JSON.null)) == .null)
        for text in [
            "", "{}", "[]", #"{"EVENT":"ANSWER"}"#, #"{"EVENT":"UPKI ERROR"}"#, #"{"EVENT":"UPKI ERROR","MSG":5}"#,
            #"{"EVENT":"OTHER","DATA":1}"#, #"{"DATA":1}"#,
        ] {
            let refusal = #expect(throws: Refusal.self) { _ = try Answer.data(ofFrame: Array(text.utf8)) }
            #expect(refusal?.code == .invalidAnswer)
        }
        let refusal = #expect(throws: Refusal.self) { _ = try Answer.data(ofFrame: Answer.frame(Refusal(.busy, "Busy: x"))) }
        #expect(refusal?.code == .refusedByServer && refusal?.message == "Busy: x")
    }

    @Test("of refusals are one line without controls, and never long")
    func oneLine() {
        let refusal = Refusal(
            .notFound, "a\nb\r\u{0}\u{1b}\u{7f}\u{85}\u{9b}\u{200e}\u{2028}\u{202e}\u{2066}é" + String(repeating: "x", count: 5_000))
        #expect(refusal.message.hasPrefix("a?b" + String(repeating: "?", count: 10) + "éx"))
        #expect(refusal.message.unicodeScalars.count == 1_000)
    }
}

@Suite("What relays know of tasks")
struct TaskNamesTests {
    @Test("a frame that is no request changes nothing")
    func mayChange() {
        #expect(TaskNames.mayChange(Array(#"{"TASK":"revoke","params":{}}"#.utf8)))
        for text in [#"{"TASK":"get_ca"}"#, #"{"TASK":"nosuch"}"#, #"{"TASK":["revoke"]}"#, "revoke", ""] {
            #expect(!TaskNames.mayChange(Array(text.utf8)))
        }
    }
}
