// Which groups and users the core lets at its sockets, from its command line.
import CoreServer
import Glibc
import Testing

@Suite("Access to the core's sockets")
struct SocketAccessTests {
    private static func message(_ groups: [String], _ users: [String]) -> String {
        do {
            _ = try SocketAccess(groups: groups, users: users)
            return "accepted"
        } catch {
            return "\(error)"
        }
    }

    @Test("groups and users are names or numbers")
    func names() {
        #expect(Self.message(["front=root", "registrar=61000", "ocsp=0", "events=root"], ["front=root", "registrar=61000"]) == "accepted")
        #expect(Self.message(["front=nobody-has-this"], []) == "There is no group 'nobody-has-this'")
        #expect(Self.message([], ["front=nobody-has-this"]) == "There is no user 'nobody-has-this'")
        // To chown(2) the highest number means that nothing changes.
        #expect(Self.message(["front=4294967295"], []) == "There is no group '4294967295'")
    }

    @Test(
        "the operator's socket is nobody else's, and nonsense is refused",
        arguments: ["admin=root", "front", "front=", "=root", "x=root", ""])
    func refused(text: String) {
        #expect(Self.message([text], []).hasPrefix("--socket-group is SOCKET=NAME"))
        #expect(Self.message([], [text]).hasPrefix("--peer-user is SOCKET=NAME"))
    }

    @Test("events are heard by a group; who asks nothing there has no user to check")
    func events() {
        #expect(Self.message([], ["events=root"]).hasPrefix("--peer-user is SOCKET=NAME with one of the sockets front, registrar, ocsp"))
    }

    @Test("a socket with a named peer hears that user, the core's own and root; one without hears whoever may open it")
    func peers() throws {
        let access = try SocketAccess(groups: [], users: ["front=61001"])
        for user in [61_001, 0, geteuid()] { #expect(access.admits(user, on: .front)) }
        #expect(!access.admits(61_002, on: .front))
        #expect(!access.admits(nil, on: .front), "the kernel did not say who it is")
        #expect(access.admits(61_002, on: .registrar))
    }
}
