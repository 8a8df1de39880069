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
}
