// The header of the internal link: fixed bytes both ways, and an error for everything else.
import Testing
import UPKIProtocol

@Suite("The internal link's header")
struct InternalLinkTests {
    @Test("to the core has version, kind, id, arrival and identity, big endian")
    func requestBytes() throws {
        let header = InternalLink.RequestHeader(
            kind: .request, id: 0x0102_0304_0506_0708, arrival: 0x1112_1314_1516_1718, identity: .plain(address: "10.0.0.7"))
        let bytes: [UInt8] = [1, 1, 1, 2, 3, 4, 5, 6, 7, 8, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18] + Array("plain 10.0.0.7".utf8)
        #expect(header.encoded == bytes)
        #expect(try InternalLink.RequestHeader(decoding: bytes) == header)
        #expect(InternalLink.requestID(of: bytes) == header.id)
    }

    @Test("from the core has version, kind and id")
    func answerBytes() throws {
        let header = InternalLink.AnswerHeader(kind: .answer, id: 258)
        #expect(header.encoded == [1, 1, 0, 0, 0, 0, 0, 0, 1, 2])
        #expect(try InternalLink.AnswerHeader(decoding: header.encoded) == header)
    }

    @Test(
        "comes back from its bytes with every identity",
        arguments: [
            ProvenIdentity.none, .plain(address: "127.0.0.1"), .plain(address: "fe80::1%eth0"),
            // The example key of ZeroMQ's RFC 32 for Z85.
            .curve(key: "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"), .curve(key: "JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6"),
        ])
    func roundTrip(_ identity: ProvenIdentity) throws {
        let header = InternalLink.RequestHeader(kind: .hello, id: .max, arrival: 0, identity: identity)
        #expect(try InternalLink.RequestHeader(decoding: header.encoded) == header)
    }

    @Test("cut off at any length is refused, and nothing else happens")
    func truncations() {
        let whole = InternalLink.RequestHeader(
            kind: .request, id: 7, arrival: 9, identity: .curve(key: "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7")
        ).encoded
        for length in 0..<whole.count where length != 18 {
            let error = #expect(throws: InternalLinkError.self) { try InternalLink.RequestHeader(decoding: Array(whole.prefix(length))) }
            #expect(error?.code == .malformed, "\(length) bytes")
        }
        // 18 bytes are a whole header without identity.
        #expect((try? InternalLink.RequestHeader(decoding: Array(whole.prefix(18))))?.identity == ProvenIdentity.none)
        let answer = InternalLink.AnswerHeader(kind: .answer, id: 7).encoded
        for length in 0..<answer.count {
            #expect(throws: InternalLinkError.self) { try InternalLink.AnswerHeader(decoding: Array(answer.prefix(length))) }
        }
        #expect(throws: InternalLinkError.self) { try InternalLink.AnswerHeader(decoding: answer + [0]) }
    }

    @Test(
        "with an identity of no known form is refused",
        arguments: [
            "plain", "plain ", "plain 1", "Plain 127.0.0.1", "plain  127.0.0.1", "plain 127.0.0.1\n", "plain 127.0.0.1 curve",
            "curve short", "root",
            "plain " + String(repeating: "1", count: 91), "curve rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf\"", "plain é.example",
        ])
    func identities(_ identity: String) {
        let bytes: [UInt8] = [1, 1] + [UInt8](repeating: 0, count: 16) + Array(identity.utf8)
        let error = #expect(throws: InternalLinkError.self) { try InternalLink.RequestHeader(decoding: bytes) }
        #expect(error?.code == .malformed)
    }

    @Test("of another version or kind is told apart; a refusal is understood in every version")
    func versions() throws {
        var bytes = InternalLink.RequestHeader(kind: .hello, id: 5, arrival: 0, identity: .none).encoded
        bytes[0] = 2
        #expect(#expect(throws: InternalLinkError.self) { try InternalLink.RequestHeader(decoding: bytes) }?.code == .otherVersion)
        #expect(InternalLink.requestID(of: bytes) == 5)
        bytes[0] = 1
        bytes[1] = 3
        #expect(#expect(throws: InternalLinkError.self) { try InternalLink.RequestHeader(decoding: bytes) }?.code == .unknownKind)
        let refusal = InternalLink.AnswerHeader(kind: .refusedVersion, id: 5, version: 9)
        #expect(try InternalLink.AnswerHeader(decoding: refusal.encoded) == refusal)
        #expect(try InternalLink.AnswerHeader(decoding: refusal.encoded + [1, 2, 3]) == refusal)
        let answer = InternalLink.AnswerHeader(kind: .answer, id: 5, version: 9)
        #expect(#expect(throws: InternalLinkError.self) { try InternalLink.AnswerHeader(decoding: answer.encoded) }?.code == .otherVersion)
        #expect(InternalLink.requestID(of: [1, 2, 3]) == nil)
    }

    @Test("names a mapped IPv4 address as IPv4, and nobody for what is no address")
    func plainIdentities() {
        #expect(InternalLink.plainIdentity(peerAddress: "127.0.0.1") == .plain(address: "127.0.0.1"))
        #expect(InternalLink.plainIdentity(peerAddress: "::ffff:192.0.2.1") == .plain(address: "192.0.2.1"))
        #expect(InternalLink.plainIdentity(peerAddress: "::1") == .plain(address: "::1"))
        #expect(InternalLink.plainIdentity(peerAddress: "::ffff:1") == .plain(address: "::ffff:1"))
        for address in ["", "x", "a b", "1.2.3.4\n", String(repeating: "1", count: 200)] {
            #expect(InternalLink.plainIdentity(peerAddress: address) == .none)
        }
    }
}
