// What ends when, and from when on the operator hears of it: CA 90 days, nodes 30 days, tokens a quarter of an hour, windows beyond a day.

import Authority
import PKI
import TestAuthority
import Testing

@Suite("What ends")
struct ExpiryTests {
    private static func expiries(_ test: TestAuthority, list: PublishedListFacts? = nil, at now: UnixTime? = nil) -> [Expiry] {
        Expiry.all(
            test.authority.state, authorityEnds: test.authority.issuer.notAfter, list: list, now: now ?? test.authority.clock.now)
    }

    @Test("the CA's certificate is due 90 days before its end, and stays due after it")
    func authority() throws {
        let test = try TestAuthority()
        let end = test.authority.issuer.notAfter
        for (now, isDue) in [
            (end.advanced(byDays: -90), false), (end.advanced(byDays: -90).advanced(bySeconds: 1), true), (end, true),
            (end.advanced(byDays: 1), true),
        ] {
            #expect(Self.expiries(test, at: now) == [Expiry(kind: .authority, at: end, isDue: isDue)])
        }
    }

    @Test("a CRL is due in the last tenth of its life: by half of it another should have come")
    func list() throws {
        let test = try TestAuthority()
        let now = test.authority.clock.now
        let list = PublishedListFacts(
            number: 1, thisUpdate: now, nextUpdate: now.advanced(bySeconds: 1_000), entries: 0, bytes: 1)
        func isDue(_ seconds: Int64) -> Bool? {
            Self.expiries(test, list: list, at: now.advanced(bySeconds: seconds)).first { $0.kind == .list }?.isDue
        }
        #expect(isDue(0) == false)
        #expect(isDue(900) == false)
        #expect(isDue(901) == true)
        #expect(isDue(2_000) == true)
    }

    @Test("nodes without a certificate and the standing token never end")
    func endless() throws {
        let test = try TestAuthority()
        try test.addNode("by-hand", at: "192.0.2.1")
        try test.standingToken("upkireg_x")
        #expect(Self.expiries(test).map(\.kind) == [.authority])
    }

    @Test("a node is due 30 days before its certificate ends, and after that until it is removed")
    func node() throws {
        let test = try TestAuthority()
        let token = try test.openRegistration()
        _ = try test.register("ra1", from: "127.0.0.1", token: token)
        let node = try #require(test.authority.state.node(commonName: "ra1"))
        let end = try #require(node.notAfter)
        func isDue(_ now: UnixTime) -> Bool? { Self.expiries(test, at: now).first { $0.kind == .node && $0.name == "ra1" }?.isDue }
        #expect(isDue(end.advanced(byDays: -30)) == false)
        #expect(isDue(end.advanced(byDays: -30).advanced(bySeconds: 1)) == true)
        #expect(isDue(end.advanced(byDays: 400)) == true)
        try test.commit("remove_node") { try $0.removeNode(commonName: "ra1") }
        #expect(isDue(end) == nil)
    }

    @Test("a one-time token is due for its last quarter of an hour, and gone when it was used or has ended")
    func token() throws {
        let test = try TestAuthority()
        let token = try test.openRegistration(seconds: 3_600)
        let now = test.authority.clock.now
        func isDue(_ seconds: Int64) -> Bool? {
            Self.expiries(test, at: now.advanced(bySeconds: seconds)).first { $0.kind == .token }?.isDue
        }
        #expect(isDue(0) == false)
        #expect(isDue(2_700) == false)
        #expect(isDue(2_701) == true)
        #expect(isDue(3_600) == nil)
        _ = try test.register("ra1", from: "127.0.0.1", token: token)
        #expect(isDue(0) == nil)
    }

    @Test("a registration window is due while it stays open for more than another day")
    func window() throws {
        let test = try TestAuthority()
        _ = try test.openRegistration(seconds: 86_400)
        func isDue() -> Bool? { Self.expiries(test).first { $0.kind == .window }?.isDue }
        #expect(isDue() == false)
        _ = try test.openRegistration(token: "upkireg_two", seconds: 86_401)
        #expect(isDue() == true)
        try test.commit("close_registration") { try $0.closeRegistration(reason: "closed") }
        #expect(isDue() == nil)
    }
}
