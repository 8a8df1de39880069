// The variable that ties a child to its supervisor.
import Supervised
import Testing

@Suite("UPKI_SUPERVISED")
struct SupervisionLinkTests {
    @Test("a pid alone keeps the user")
    func pidAlone() throws {
        let link = try SupervisionLink(parsing: "4711")
        #expect(link.supervisor == 4711)
        #expect(link.identity == nil)
    }

    @Test("user, group and groups are read back as written", arguments: [[], [7], [7, 8, 9]] as [[UInt32]])
    func identity(groups: [UInt32]) throws {
        let link = SupervisionLink(supervisor: 12, identity: ProcessIdentity(uid: 998, gid: 997, groups: groups))
        #expect(try SupervisionLink(parsing: link.value) == link)
    }

    @Test(
        "anything else is refused",
        arguments: [
            "", "0", "-1", "+1", " 1", "1:", "1:2", "1:2:3", "1:2:3:4:5", "1::3:", "1:2:3:,", "1:2:3:4,", "x", "1:4294967295:3:",
            "1:2:4294967296:", "99999999999", "1:-2:3:",
        ])
    func malformed(text: String) {
        #expect(throws: SupervisedError(.malformedVariable, "")) { try SupervisionLink(parsing: text) }
    }
}
