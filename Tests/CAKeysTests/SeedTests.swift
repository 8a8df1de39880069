// The rules for seeds and the shape of tokens.

import CAKeys
import Crypto
import Foundation
import Testing

@Suite struct SeedTests {
    @Test("one trailing line feed is removed, and nothing else")
    func newline() throws {
        let text = "correct horse battery staple"
        #expect(try Seed(Array("\(text)\n".utf8)).revealed() == text)
        #expect(try Seed(Array("\(text)\n\n".utf8)).revealed() == text + "\n")
        #expect(try Seed(Array(" \(text)\r\n".utf8)).revealed() == " \(text)\r")
        // A slice whose indices do not begin at 0.
        #expect(try Seed(Array("xx\(text)\n".utf8).dropFirst(2)).revealed() == text)
    }

    @Test(
        "short and uniform seeds are refused unless weak ones are allowed",
        arguments: ["a", "0123456789abcde", "aaaaaaaaaaaaaaaaaaaaaaaa", "123456789123456789123456789", "ééééééééééééééééé"])
    func weak(_ text: String) throws {
        let error = try #require(throws: KeyError.self) { try Seed(text: text) }
        #expect(error.code == .weakSeed)
        #expect(!error.description.contains("\n"))
        #expect(error.message.contains("--weak-seed"))
        #expect(try Seed(text: text, allowWeak: true).revealed() == text)
    }

    @Test("sixteen bytes with ten different characters suffice", arguments: ["0123456789abcdef", "0123456789999999", "éèàùçôîâêû"])
    func enough(_ text: String) throws {
        #expect(try Seed(text: text).revealed() == text)
    }

    @Test("the trailing line feed does not count towards the length")
    func lengthWithoutNewline() {
        #expect(throws: KeyError(.weakSeed, "")) { try Seed(Array("0123456789abcde\n".utf8)) }
    }

    @Test("empty seeds, NUL and bytes that are not UTF-8 are refused even where weak seeds are allowed")
    func invalid() {
        let inputs: [[UInt8]] = [[], [0x0a], Array("0123456789abc\0def".utf8), Array("0123456789abcdef".utf8) + [0xff], [0xc3]]
        for input in inputs {
            #expect(throws: KeyError(.invalidSeed, "")) { try Seed(input, allowWeak: true) }
        }
    }

    @Test("neither an error nor a description holds the seed")
    func hidden() throws {
        let weak = "hunter2hunter2hunter2"
        let error = try #require(throws: KeyError.self) { try Seed(text: weak) }
        #expect(!"\(error)".contains("hunter2"))
        #expect(!String(reflecting: error).contains("hunter2"))
        let seed = try Seed(text: "correct horse battery staple")
        var dumped = ""
        dump(seed, to: &dumped)
        for text in ["\(seed)", String(reflecting: seed), dumped] { #expect(!text.contains("horse")) }
    }

    @Test("a random seed is 32 bytes as base64url, another one each time")
    func random() throws {
        let texts = try (0..<50).map { _ in try Seed.random().revealed() }
        #expect(Set(texts).count == 50)
        for text in texts {
            #expect(text.utf8.count == 43)
            #expect(decodeBase64URL(text)?.count == 32)
        }
    }

    @Test("a one-time token has the shape of the derived ones")
    func oneTimeToken() throws {
        let tokens = try (0..<50).map { _ in try RegistrationToken.random() }
        #expect(Set(tokens).count == 50)
        for token in tokens {
            #expect(RegistrationToken.hasPrefix(token))
            #expect(decodeBase64URL(String(token.dropFirst(8)))?.count == 32)
        }
        #expect(!RegistrationToken.hasPrefix("upkireg"))
        #expect(!RegistrationToken.hasPrefix("UPKIREG_x"))
        #expect(!RegistrationToken.hasPrefix(" upkireg_x"))
    }

    @Test("a token's hash is SHA-256 of its text, as openssl computes it")
    func tokenHash() throws {
        let workshop = try Workshop()
        let token = "upkireg_W_x5V1d87uJ5e8L71vvqF-OeggAKVWPA-oZSY0NWSEQ"
        try workshop.write(Array(token.utf8), "token")
        #expect(try RegistrationToken.hash(token) == workshop.openssl("dgst -sha256 -binary token"))
    }

    private func decodeBase64URL(_ text: String) -> Data? {
        guard text.allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-" || $0 == "_") }) else { return nil }
        let standard = text.replacingOccurrences(of: "-", with: "+").replacingOccurrences(of: "_", with: "/")
        return Data(base64Encoded: standard + String(repeating: "=", count: (4 - standard.count % 4) % 4))
    }
}
