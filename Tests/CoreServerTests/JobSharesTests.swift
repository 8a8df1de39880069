// Slow jobs: whose they are, and how many of the queue's places one of them may have.

import CoreServer
import Testing

@Suite("Places for slow jobs")
struct JobSharesTests {
    @Test("one identity has half of a queue at most, each queue for itself, and gets its places back")
    func shares() {
        let shares = JobShares()
        #expect((0..<100).count { _ in shares.enter("seeds", of: "a") } == JobShares.most)
        #expect(shares.enter("seeds", of: "b") && shares.enter("keys", of: "a"))
        shares.leave("seeds", of: "a")
        #expect(shares.enter("seeds", of: "a") && !shares.enter("seeds", of: "a"))
        // One that was never taken in leaves nothing behind.
        shares.leave("lists", of: "a")
        #expect((0..<100).count { _ in shares.enter("lists", of: "a") } == JobShares.most)
    }
}
