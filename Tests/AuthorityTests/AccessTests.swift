// Who may do what: nodes, admins, the registration window, tokens. Each test is a sentence of the design's section on rights.

import Authority
import Crypto
import PKI
import RevocationFormats
import TestAuthority
import Testing
import X509

private let operatorOnHost = TestAuthority.operatorOnHost

@Suite("Becoming a node")
struct RegistrationTests {
    @Test("takes an open window and a token, and gives node, certificate and rights from that address alone")
    func register() throws {
        let test = try TestAuthority()
        let token = try test.openRegistration()
        let (node, certificate) = try test.register("ra1", from: "127.0.0.1", token: token)
        #expect(node.serial == certificate.serial && node.state == .live && node.origin == .registered)
        #expect(certificate.subject == "/C=FR/O=Test/OU=RA/CN=ra1")
        #expect(test.authority.actor(TestAuthority.front("127.0.0.1")).role == .node)
        #expect(test.authority.actor(TestAuthority.front("127.0.0.2")).role == .anyone)
        #expect(test.authority.actor(TestAuthority.registrar("127.0.0.1")).role == .anyone)
        #expect(try test.store.read { try $0.certificate(certificate.serial) }?.node == node.id)
        #expect(try test.reopened().actor(TestAuthority.front("127.0.0.1")).node == node)
    }

    @Test("is refused while the window is closed, whoever asks: with the standing token, the seed, and in the commit")
    func closed() throws {
        let test = try TestAuthority()
        let token = try test.standingToken()
        let before = refusal { try test.register("ra1", from: "127.0.0.1", token: token) }
        #expect(before.code == .registrationClosed)
        #expect(before.detail.contains("ca-ctl registrar open"))
        try test.openRegistration()
        let request = RegistrationRequest(commonName: "ra1", profile: "ra", names: [], csr: nil)
        let caller = TestAuthority.registrar("127.0.0.1")
        let authority = test.authority
        let prepared = try authority.prepareRegistration(request, key: try TestAuthority.keyPair(), caller: caller)
        try test.commit("close") { try $0.closeRegistration(reason: "closed") }
        for proof in [RegistrationProof.seed, .token(hash: Authority.hash(token: token))] {
            #expect(
                refusal {
                    _ = try test.commit("register", by: caller) {
                        try $0.register(request, prepared: prepared, proof: proof, in: authority)
                    }
                }.code == .registrationClosed)
        }
        #expect(try test.store.read { try $0.nodes() }.isEmpty)
        #expect(!(try test.reopened().state.window.isOpen(at: test.clock.now)))
    }

    @Test("ends when the window's time is over, at its second")
    func timeOver() throws {
        let test = try TestAuthority()
        let token = try test.standingToken()
        try test.openRegistration(seconds: 60)
        test.clock.move(bySeconds: 59)
        try test.register("ra1", from: "127.0.0.1", token: token)
        test.clock.move(bySeconds: 1)
        #expect(refusal { try test.register("ra2", from: "127.0.0.2", token: token) }.code == .registrationClosed)
    }

    @Test("uses up the window's places and a one-time token")
    func places() throws {
        let test = try TestAuthority()
        let standing = try test.standingToken()
        let once = try test.openRegistration(remaining: 2)
        try test.register("ra1", from: "127.0.0.1", token: once)
        #expect(refusal { try test.register("ra2", from: "127.0.0.2", token: once) }.code == .invalidSeed)
        try test.register("ra2", from: "127.0.0.2", token: standing)
        #expect(refusal { try test.register("ra3", from: "127.0.0.3", token: standing) }.code == .registrationClosed)
        #expect(test.authority.state.window.remaining == 0 || test.authority.state.window.openUntil == nil)
    }

    @Test("one place is given once, also to two registrations of one batch")
    func lastPlace() throws {
        let test = try TestAuthority()
        let token = try test.standingToken()
        try test.openRegistration(remaining: 1)
        let authority = test.authority
        let hash = Authority.hash(token: token)
        let changes = try ["ra1", "ra2"].enumerated().map { index, name -> Change<Node> in
            let caller = TestAuthority.registrar("127.0.0.\(index + 1)")
            let request = RegistrationRequest(commonName: name, profile: "ra", names: [], csr: nil)
            let prepared = try authority.prepareRegistration(request, key: try TestAuthority.keyPair(), caller: caller)
            return Change(TestAuthority.context("register", caller), needs: .anyone) {
                try $0.register(request, prepared: prepared, proof: .token(hash: hash), in: authority)
            }
        }
        let report = authority.commit(changes)
        #expect(try report.results[0].get().commonName == "ra1")
        #expect(refusal { _ = try report.results[1].get() }.code == .registrationClosed)
        #expect(test.authority.state.nodes.count == 1)
    }

    @Test("is for the window's CN alone where it names one")
    func windowForOne() throws {
        let test = try TestAuthority()
        let standing = try test.standingToken()
        try test.openRegistration(commonName: "RA1")
        #expect(refusal { try test.register("ra2", from: "127.0.0.1", token: standing) }.code == .registrationClosed)
        try test.register("ra1", from: "127.0.0.1", token: standing)
    }

    @Test("is refused with a wrong, expired, revoked or another CN's token in the same words")
    func tokens() throws {
        let test = try TestAuthority()
        try test.standingToken()
        try test.openRegistration(token: "upkireg_window", seconds: 1_000_000)
        let later = test.clock.now.advanced(bySeconds: 100)
        try test.commit("token") { try $0.addToken(hash: Authority.hash(token: "upkireg_bound"), commonName: "ra7", expiresAt: later) }
        try test.commit("token") { try $0.addToken(hash: Authority.hash(token: "upkireg_revoked"), commonName: nil, expiresAt: later) }
        let id = try #require(test.authority.state.tokens[Authority.hash(token: "upkireg_revoked")]?.id)
        try test.commit("revoke_token") { try $0.revokeToken(id: id.uppercased()) }
        var answers = Set<String>()
        for token in ["upkireg_wrong", "", "upkireg_bound", "upkireg_revoked"] {
            let answer = refusal { try test.register("ra1", from: "127.0.0.1", token: token) }
            #expect(answer.code == .invalidSeed)
            answers.insert(answer.detail)
        }
        test.clock.move(bySeconds: 100)
        let expired = refusal { try test.register("ra7", from: "127.0.0.1", token: "upkireg_bound") }
        #expect(expired.code == .invalidSeed)
        answers.insert(expired.detail)
        #expect(answers.count == 1)
    }

    @Test("rotating the standing token ends the one before")
    func rotation() throws {
        let test = try TestAuthority()
        let first = try test.standingToken()
        try test.openRegistration()
        try test.commit("rotate") { try $0.rotateStandingToken(number: 1, hash: Authority.hash(token: "upkireg_second")) }
        #expect(refusal { try test.register("ra1", from: "127.0.0.1", token: first) }.code == .invalidSeed)
        try test.register("ra1", from: "127.0.0.1", token: "upkireg_second")
        #expect(refusal { try test.commit("rotate") { try $0.rotateStandingToken(number: 1, hash: [1]) } }.code == .refused)
        #expect(try test.reopened().state.tokenNumber == 1)
    }

    @Test("is for the profiles of the configuration alone", arguments: ["server", "ca", "admin", "nosuch", "user"])
    func profiles(_ profile: String) throws {
        let test = try TestAuthority()
        let token = try test.openRegistration()
        #expect(refusal { try test.register("ra1", from: "127.0.0.1", token: token, profile: profile) }.code == .refused)
        #expect(try test.store.read { try $0.certificateCount() } == 0)
    }

    @Test("a CN that lives is refused from elsewhere and from its own address; the first keeps everything")
    func nameTaken() throws {
        let test = try TestAuthority()
        let token = try test.standingToken()
        try test.openRegistration()
        let (node, _) = try test.register("ra1", from: "127.0.0.1", token: token)
        for (name, address) in [("ra1", "127.0.0.2"), ("RA1", "127.0.0.2"), ("ra1", "127.0.0.1")] {
            let answer = refusal { try test.register(name, from: address, token: token) }
            #expect(answer.code == .refused)
            #expect(answer.detail.contains("ca-ctl node rebind"))
        }
        #expect(test.authority.state.node(commonName: "ra1") == node)
    }

    @Test("a second registration from a bound address under another CN is refused")
    func addressTaken() throws {
        let test = try TestAuthority()
        let token = try test.standingToken()
        try test.openRegistration()
        try test.register("ra1", from: "127.0.0.1", token: token)
        #expect(refusal { try test.register("ra2", from: "127.0.0.1", token: token) }.code == .refused)
        #expect(test.authority.state.node(commonName: "ra2") == nil)
    }

    @Test("the same CURVE key may register its CN again; what the node owns stays its own")
    func sameKey() throws {
        let test = try TestAuthority()
        let token = try test.standingToken()
        try test.openRegistration()
        let key = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"
        let registrar = Caller(proof: .curve(key), channel: .registrar)
        let front = Caller(proof: .curve(key), channel: .front)
        let (first, _) = try test.register("ra1", from: "", token: token, caller: registrar)
        let owned = try test.sign(try TestAuthority.csr("/CN=a.example.org"), by: front)
        let (second, certificate) = try test.register("ra1", from: "", token: token, caller: registrar)
        #expect(second.id == first.id && second.serial == certificate.serial)
        try test.revoke(.serial(owned.serial), by: front)
        let other = Caller(proof: .curve(String(key.reversed())), channel: .registrar)
        #expect(refusal { try test.register("ra1", from: "", token: token, caller: other) }.code == .refused)
    }

    @Test("a one-time token bound to the CN moves a node to a new address, once; the old address has no rights any more")
    func rebinding() throws {
        let test = try TestAuthority()
        let token = try test.standingToken()
        try test.openRegistration()
        let (first, _) = try test.register("ra1", from: "127.0.0.1", token: token)
        let until = test.clock.now.advanced(bySeconds: 100)
        try test.commit("rebind") { try $0.addToken(hash: Authority.hash(token: "upkireg_move"), commonName: "ra1", expiresAt: until) }
        let caller = TestAuthority.registrar("127.0.0.2")
        let request = RegistrationRequest(commonName: "ra1", profile: "ra", names: [], csr: try TestAuthority.csr("/CN=ignored"))
        let proof = try test.authority.check(token: "upkireg_move", commonName: "ra1")
        let authority = test.authority
        let prepared = try authority.prepareRegistration(request, key: nil, caller: caller)
        let moved = try test.commit("register", by: caller) { try $0.register(request, prepared: prepared, proof: proof, in: authority) }
        #expect(moved.id == first.id && moved.binding == .address("127.0.0.2"))
        #expect(test.authority.actor(TestAuthority.front("127.0.0.1")).role == .anyone)
        #expect(test.authority.actor(TestAuthority.front("127.0.0.2")).node?.commonName == "ra1")
        #expect(refusal { _ = try test.authority.check(token: "upkireg_move", commonName: "ra1") }.code == .invalidSeed)
    }

    @Test("over a plain network a private key is not sent, unless the configuration says so; loopback and CSR are fine")
    func keyInClear() throws {
        var rules = Rules()
        rules.fixedNodes = ["192.0.2.1": "RA1"]
        let test = try TestAuthority(rules: rules)
        let token = try test.standingToken()
        try test.openRegistration()
        let result = refusal { try test.register("ra1", from: "192.0.2.1", token: token) }
        #expect(result.code == .refused)
        #expect(result.detail.contains("csr"))
        rules.acceptSeedInClear = true
        let open = try TestAuthority(rules: rules)
        try open.openRegistration()
        try open.register("ra1", from: "192.0.2.1", token: "upkireg_one")
    }

    @Test("an address off loopback is nobody, whatever a relay listens on, unless the configuration or the operator gave it to a node")
    func unlistedAddress() throws {
        var rules = Rules()
        rules.acceptSeedInClear = true
        let test = try TestAuthority(rules: rules)
        let token = try test.standingToken()
        try test.openRegistration()
        let result = refusal { try test.register("ra1", from: "192.0.2.1", token: token) }
        #expect(result.code == .refused && result.detail.contains("nodes"))
        try test.addNode("ra2", at: "192.0.2.2")
        #expect(test.authority.actor(TestAuthority.front("192.0.2.2")).role == .node)
        rules.fixedNodes = ["192.0.2.1": "another"]
        let other = try TestAuthority(rules: rules)
        try other.openRegistration()
        #expect(refusal { try other.register("ra1", from: "192.0.2.1", token: "upkireg_one") }.code == .refused)
    }

    @Test("the name of a listed admin is not to be had with a token, unless the operator bound the token to that CN")
    func adminByToken() throws {
        let test = try TestAuthority()
        let token = try test.standingToken()
        try test.openRegistration()
        try test.addAdmin("CN=boss,OU=RA,O=Test,C=FR")
        #expect(refusal { try test.register("Boss", from: "127.0.0.1", token: token) }.code == .refused)
        #expect(test.authority.actor(TestAuthority.front("127.0.0.1")).role == .anyone)
        let until = test.clock.now.advanced(bySeconds: 100)
        try test.commit("token") { try $0.addToken(hash: Authority.hash(token: "upkireg_boss"), commonName: "boss", expiresAt: until) }
        try test.register("boss", from: "127.0.0.1", token: "upkireg_boss")
        #expect(test.authority.actor(TestAuthority.front("127.0.0.1")).role == .admin)
    }

    @Test(
        "an admin whose certificate has expired is followed by nobody with a token, from its own address neither",
        arguments: ["127.0.0.1", "127.0.0.2"])
    func expiredAdmin(_ address: String) throws {
        let test = try TestAuthority()
        let token = try test.standingToken()
        try test.openRegistration(seconds: 400 * 86_400)
        let (node, _) = try test.register("boss", from: "127.0.0.1", token: token)
        try test.addAdmin(node.subject)
        test.clock.move(bySeconds: 366 * 86_400)
        #expect(refusal { try test.register("boss", from: address, token: token) }.code == .refused)
        #expect(test.authority.actor(TestAuthority.front(address)).role == .anyone)
    }

    @Test(
        "a node whose certificate has expired keeps neither its name nor its address from others, and its certificates only from elsewhere")
    func expiredNode() throws {
        let test = try TestAuthority()
        let token = try test.standingToken()
        try test.openRegistration(seconds: 4_000 * 86_400)
        let (first, _) = try test.register("ra1", from: "127.0.0.1", token: token)
        test.clock.move(bySeconds: 366 * 86_400)
        let (same, _) = try test.register("ra1", from: "127.0.0.1", token: token)
        #expect(same.id == first.id)
        test.clock.move(bySeconds: 366 * 86_400)
        let (moved, _) = try test.register("ra1", from: "127.0.0.2", token: token)
        #expect(moved.id != first.id)
        #expect(test.authority.actor(TestAuthority.front("127.0.0.1")).role == .anyone)
        test.clock.move(bySeconds: 366 * 86_400)
        try test.register("ra2", from: "127.0.0.2", token: token)
        #expect(test.authority.actor(TestAuthority.front("127.0.0.2")).node?.commonName == "ra2")
        #expect(test.authority.state.node(commonName: "ra1") == nil)
    }

    @Test("an admin that was revoked does not become one again by registering its name anew")
    func revokedAdminReturns() throws {
        let test = try TestAuthority()
        let token = try test.standingToken()
        try test.openRegistration()
        let (node, _) = try test.register("boss", from: "127.0.0.1", token: token)
        try test.addAdmin(node.subject)
        #expect(test.authority.actor(TestAuthority.front("127.0.0.1")).role == .admin)
        try test.revoke(.name(try .of(node.subject)), reason: .keyCompromise)
        #expect(refusal { try test.register("boss", from: "127.0.0.1", token: token) }.code == .refused)
        #expect(test.authority.actor(TestAuthority.front("127.0.0.1")).role == .anyone)
    }
}

@Suite("What a node may do")
struct NodeTests {
    private func withNodes() throws -> (TestAuthority, Caller, Caller) {
        let test = try TestAuthority()
        try test.addNode("ra1", at: "127.0.0.1")
        try test.addNode("ra2", at: "127.0.0.2")
        return (test, TestAuthority.front("127.0.0.1"), TestAuthority.front("127.0.0.2"))
    }

    @Test("a server certificate is no node: only registering and adding by hand make one")
    func serverIsNoNode() throws {
        let (test, first, _) = try self.withNodes()
        try test.sign(try TestAuthority.csr("/CN=127.0.0.9"), profile: "user", by: first)
        try test.generate("host.example.org", by: first)
        #expect(test.authority.actor(TestAuthority.front("127.0.0.9")).role == .anyone)
        #expect(test.authority.state.nodes.count == 2)
    }

    @Test("own means issued at that node's request: others can neither find, revoke nor renew it, and are told it does not exist")
    func own() throws {
        let (test, first, second) = try self.withNodes()
        let record = try test.sign(try TestAuthority.csr("/CN=a.example.org"), by: first)
        for selector in [Selector.serial(record.serial), .name(try .of(record.subject)), .commonName("a.example.org")] {
            #expect(refusal { _ = try test.authority.find(selector, actor: test.authority.actor(second)) }.code == .certificateNotFound)
            #expect(refusal { try test.revoke(selector, by: second) }.code == .certificateNotFound)
            #expect(try test.authority.find(selector, actor: test.authority.actor(first)).certificate.serial == record.serial)
        }
        let authority = test.authority
        let prepared = try authority.prepareRenewal(of: record, days: nil, actor: authority.actor(second), task: "renew")
        _ = prepared
        #expect(refusal { try test.renew(record.serial, by: second) }.code == .certificateNotFound)
        #expect(try authority.inventory(after: nil, limit: 10, state: nil, actor: authority.actor(second)).isEmpty)
        #expect(try test.revocation(record.serial) == nil)
    }

    @Test("two nodes may hold certificates of one name; each name means its own")
    func sameName() throws {
        let (test, first, second) = try self.withNodes()
        let mine = try test.sign(try TestAuthority.csr("/CN=a.example.org"), by: first)
        let theirs = try test.sign(try TestAuthority.csr("/CN=a.example.org"), by: second)
        try test.revoke(.commonName("a.example.org"), by: first)
        #expect(try test.revocation(mine.serial) != nil)
        #expect(try test.revocation(theirs.serial) == nil)
    }

    @Test("nobody's certificate hides behind 1,200 of the same name that another node asked for")
    func hiding() throws {
        let (test, first, second) = try self.withNodes()
        let mine = try test.sign(try TestAuthority.csr("/CN=a.example.org"), by: first)
        let authority = test.authority
        let theirs = try test.sign(try TestAuthority.csr("/CN=a.example.org"), by: second)
        try test.store.write { writer throws in
            for number in 1...1_200 {
                var copy = theirs
                copy.serial = try #require(SerialNumber(text: String(number)))
                try writer.insert(copy, commonNameHash: Authority.hash(commonName: "a.example.org"))
            }
        }
        #expect(try authority.find(.commonName("A.example.org"), actor: authority.actor(first)).certificate.serial == mine.serial)
        try test.revoke(.commonName("a.example.org"), by: first)
        #expect(try test.revocation(mine.serial) != nil)
    }

    @Test("profiles ca, ra and admin, and any that makes CAs, are issued only by an admin", arguments: ["ca", "ra", "admin", "subca"])
    func privileged(_ profile: String) throws {
        let subordinate = CertificateProfile(name: "subca", duration: 5, altnames: false, keyUsage: [.keyCertSign])
        let test = try TestAuthority(profiles: [subordinate])
        try test.addNode("ra1", at: "127.0.0.1")
        let node = TestAuthority.front("127.0.0.1")
        let result = refusal { try test.sign(try TestAuthority.csr("/CN=x"), profile: profile, by: node) }
        #expect(result.code == .notAuthorised)
        #expect(result.detail == "sign needs a listed admin for the profile \(profile)")
        #expect(refusal { try test.generate("x", profile: profile, by: node) }.code == .notAuthorised)
        try test.addAdmin("/CN=ra1")
        try test.generate("x", profile: profile, by: node)
    }

    @Test("an RA on the admin list signs no CA certificates for those behind it, unless the operator named the profile", arguments: ["ca", "subca"])
    func onBehalf(_ profile: String) throws {
        let subordinate = CertificateProfile(name: "subca", duration: 5, altnames: false, keyUsage: [.keyCertSign])
        let test = try TestAuthority(profiles: [subordinate])
        try test.addNode("ra1", at: "127.0.0.1")
        let node = TestAuthority.front("127.0.0.1")
        try test.addAdmin("/CN=ra1")
        #expect(refusal { try test.sign(try TestAuthority.csr("/CN=x"), profile: profile, by: node) }.code == .notAuthorised)
        try test.sign(try TestAuthority.csr("/CN=x"), profile: "admin", by: node)
        _ = try test.commit("limit_node") { commit in try commit.limitNode(commonName: "ra1", profiles: [profile], names: nil) }
        try test.sign(try TestAuthority.csr("/CN=y"), profile: profile, by: node)
    }

    @Test("an RA on the admin list cannot sign in the name of another admin")
    func onBehalfInAnAdminsName() throws {
        let test = try TestAuthority()
        try test.addNode("ra1", at: "127.0.0.1")
        let node = TestAuthority.front("127.0.0.1")
        try test.addAdmin("/CN=ra1")
        let alice = try test.sign(try TestAuthority.csr("/CN=alice"), profile: "user", by: node)
        try test.addAdmin(alice.subject)
        #expect(refusal { try test.sign(try TestAuthority.csr("/CN=alice"), profile: "user", by: node) }.code == .notAuthorised)
    }

    @Test("who was an admin cannot renew what only an admin may have issued", arguments: ["ca", "admin", "subca"])
    func privilegedRenewal(_ profile: String) throws {
        let subordinate = CertificateProfile(name: "subca", duration: 5, altnames: false, keyUsage: [.keyCertSign])
        let test = try TestAuthority(profiles: [subordinate])
        try test.addNode("ra1", at: "127.0.0.1")
        let node = TestAuthority.front("127.0.0.1")
        try test.addAdmin("/CN=ra1")
        let record = try test.generate("x", profile: profile, by: node)
        try test.renew(record.serial, by: node)
        try test.commit("remove_admin") { try $0.removeAdmin("CN=RA1") }
        #expect(refusal { try test.renew(record.serial, by: node) }.code == .notAuthorised)
    }

    @Test("a node renews its own ra certificate, and its rights follow the new one")
    func renewingItself() throws {
        let test = try TestAuthority()
        let token = try test.openRegistration()
        let (node, old) = try test.register("ra1", from: "127.0.0.1", token: token)
        let caller = TestAuthority.front("127.0.0.1")
        test.clock.move(bySeconds: 300 * 86_400)
        let new = try test.renew(old.serial, revokesOld: true, by: caller)
        #expect(try test.revocation(old.serial)?.reason == .superseded)
        #expect(test.authority.actor(caller).node?.serial == new.serial)
        #expect(new.subject == old.subject && new.notAfter > old.notAfter && new.node == node.id)
        test.clock.move(bySeconds: 100 * 86_400)
        #expect(test.authority.actor(caller).role == .node)
        test.clock.move(bySeconds: 266 * 86_400)
        #expect(test.authority.actor(caller).role == .anyone)
    }

    @Test("its rights end one second after its certificate, and the operator's renewal brings them back")
    func expiry() throws {
        let test = try TestAuthority()
        let token = try test.openRegistration()
        let (node, _) = try test.register("ra1", from: "127.0.0.1", token: token)
        let caller = TestAuthority.front("127.0.0.1")
        test.clock.move(bySeconds: 365 * 86_400)
        #expect(test.authority.actor(caller).role == .node)
        test.clock.move(bySeconds: 1)
        #expect(test.authority.actor(caller).role == .anyone)
        try test.renew(try #require(node.serial))
        #expect(test.authority.actor(caller).role == .node)
    }

    @Test("a revoked node loses its rights at once, though its other certificates live on the same address")
    func revokedNode() throws {
        let test = try TestAuthority()
        let token = try test.openRegistration()
        let (node, certificate) = try test.register("ra1", from: "127.0.0.1", token: token)
        let caller = TestAuthority.front("127.0.0.1")
        let other = try test.sign(try TestAuthority.csr("/CN=a.example.org"), by: caller)
        try test.revoke(.serial(certificate.serial))
        #expect(test.authority.actor(caller).role == .anyone)
        #expect(try test.revocation(other.serial) == nil)
        #expect(test.authority.state.nodes[node.id]?.state == .revoked)
        #expect(refusal { try test.commit("sign", by: caller, needs: .node) { _ in } }.code == .notAuthorised)
        #expect(try test.reopened().actor(caller).role == .anyone)
    }

    @Test("revoking an older certificate of the node, or another of its name, leaves its rights")
    func olderCertificate() throws {
        let test = try TestAuthority()
        let token = try test.openRegistration()
        let (_, old) = try test.register("ra1", from: "127.0.0.1", token: token)
        try test.renew(old.serial)
        try test.revoke(.serial(old.serial))
        #expect(test.authority.actor(TestAuthority.front("127.0.0.1")).role == .node)
    }

    @Test("a held node has no rights, and has them again when it is released, unless its place was taken")
    func heldNode() throws {
        let test = try TestAuthority()
        let token = try test.standingToken()
        try test.openRegistration()
        let (_, certificate) = try test.register("ra1", from: "127.0.0.1", token: token)
        let caller = TestAuthority.front("127.0.0.1")
        try test.revoke(.serial(certificate.serial), reason: .certificateHold)
        #expect(test.authority.actor(caller).role == .anyone)
        try test.commit("unrevoke") { try $0.unrevoke(.serial(certificate.serial)) }
        #expect(test.authority.actor(caller).node?.commonName == "ra1")
        try test.revoke(.serial(certificate.serial), reason: .certificateHold)
        try test.addNode("ra2", at: "127.0.0.1")
        try test.commit("unrevoke") { try $0.unrevoke(.serial(certificate.serial)) }
        #expect(test.authority.actor(caller).node?.commonName == "ra2")
    }

    @Test("deleting a node's name ends it: its address and its CN are free")
    func deleting() throws {
        let test = try TestAuthority()
        let token = try test.standingToken()
        try test.openRegistration()
        let (node, certificate) = try test.register("ra1", from: "127.0.0.1", token: token)
        let authority = test.authority
        try test.commit("delete") { try $0.delete(.name(try .of(node.subject)), in: authority) }
        #expect(test.authority.actor(TestAuthority.front("127.0.0.1")).role == .anyone)
        #expect(try test.revocation(certificate.serial)?.reason == .cessationOfOperation)
        try test.register("ra1", from: "127.0.0.1", token: token)
        #expect(refusal { try test.commit("delete") { try $0.delete(.commonName("nobody"), in: authority) } }.code == .certificateNotFound)
    }

    @Test("removing a node revokes its certificate and ends it; one by hand can be removed and deleted too")
    func removing() throws {
        let test = try TestAuthority()
        let token = try test.openRegistration()
        let (_, certificate) = try test.register("ra1", from: "127.0.0.1", token: token)
        try test.commit("remove_node") { try $0.removeNode(commonName: "ra1") }
        #expect(try test.revocation(certificate.serial)?.reason == .cessationOfOperation)
        try test.addNode("ra2", at: "127.0.0.1")
        let authority = test.authority
        try test.commit("delete") { try $0.delete(.commonName("ra2"), in: authority) }
        #expect(test.authority.actor(TestAuthority.front("127.0.0.1")).role == .anyone)
        #expect(refusal { try test.commit("remove_node") { try $0.removeNode(commonName: "ra2") } }.code == .notFound)
    }

    @Test("limits of profiles and names bind, in the worker and again in the commit")
    func limits() throws {
        let (test, first, _) = try self.withNodes()
        let authority = test.authority
        let early = try authority.prepareSigning(
            csr: try TestAuthority.csr("/CN=www.b.example", names: [.dns("b.b.example")]), profile: "server", days: nil,
            actor: authority.actor(first), task: "sign")
        let patterns = ["a.example", "*.a.example"].compactMap { NamePattern($0) }
        try test.commit("limit") { try $0.limitNode(commonName: "ra1", profiles: ["server", "client"], names: patterns) }
        #expect(refusal { try test.commit("sign", by: first, needs: .node) { try $0.record(early, in: authority) } }.code == .refused)
        try test.generate("www.a.example", by: first)
        try test.generate("*.a.example", by: first)
        #expect(refusal { try test.generate("www.b.example", by: first) }.code == .refused)
        #expect(refusal { try test.generate("www.a.example", names: [.dns("b.example")], by: first) }.code == .refused)
        #expect(refusal { try test.generate("www.a.example", names: [.ip([10, 0, 0, 1])], by: first) }.code == .refused)
        #expect(refusal { try test.generate("somebody", profile: "user", by: first) }.code == .refused)
        #expect(refusal { try test.generate("c.a.example", profile: "webapp", by: first) }.code == .notAuthorised)
        try test.generate("d.a.example", profile: "user", by: first)
        try test.commit("limit") { try $0.limitNode(commonName: "ra1", profiles: nil, names: nil) }
        try test.generate("www.b.example", profile: "webapp", by: first)
        #expect(
            refusal { try test.commit("limit") { try $0.limitNode(commonName: "ra1", profiles: ["nosuch"], names: nil) } }.code
                == .profileNotFound)
    }

    @Test("a renewal is a new issuance: a name that was limited or blocked since is refused, as CN too")
    func renewalLimits() throws {
        let (test, first, _) = try self.withNodes()
        let server = try test.generate("www.b.example", by: first)
        let user = try test.generate("host.b.example", profile: "user", by: first)
        let patterns = ["*.a.example"].compactMap { NamePattern($0) }
        try test.commit("limit") { try $0.limitNode(commonName: "ra1", profiles: nil, names: patterns) }
        #expect(refusal { try test.renew(server.serial, by: first) }.code == .refused)
        #expect(refusal { try test.renew(user.serial, by: first) }.code == .refused)
        var rules = Rules()
        rules.blockedNames = ["host.b.example"].compactMap { NamePattern($0) }
        try test.reload(rules)
        #expect(refusal { try test.renew(user.serial) }.code == .refused)
        try test.renew(server.serial)
    }

    @Test("moving a node to an address that another has is refused")
    func rebindingTaken() throws {
        let (test, _, second) = try self.withNodes()
        #expect(
            refusal { try test.commit("rebind") { try $0.rebindNode(commonName: "ra1", binding: .address("127.0.0.2")) } }.code == .refused)
        #expect(refusal { try test.addNode("ra3", at: "127.0.0.2") }.code == .refused)
        #expect(refusal { try test.addNode("RA1", at: "127.0.0.3") }.code == .refused)
        #expect(test.authority.actor(second).node?.commonName == "ra2")
        try test.commit("rebind") { try $0.rebindNode(commonName: "ra1", binding: .address("127.0.0.9")) }
        #expect(test.authority.actor(TestAuthority.front("127.0.0.1")).role == .anyone)
    }
}

@Suite("Who is an admin")
struct AdminTests {
    @Test(
        "the one node that carries a listed DN, in whichever notation it was listed",
        arguments: [
            "/C=FR/O=Test/OU=RA/CN=ra1", "CN=ra1,OU=RA,O=Test,C=FR", "C=FR, O=Test, OU=RA, CN=ra1", "/c=fr/o=TEST/ou=ra/cn=RA1",
            "cn=ra1; ou=RA; o=\"Test\"; c=FR",
        ])
    func notations(_ text: String) throws {
        let test = try TestAuthority()
        let token = try test.openRegistration()
        try test.register("ra1", from: "127.0.0.1", token: token)
        #expect(test.authority.actor(TestAuthority.front("127.0.0.1")).role == .node)
        try test.addAdmin(text)
        #expect(test.authority.actor(TestAuthority.front("127.0.0.1")).role == .admin)
        #expect(try test.store.read { try $0.admins() } == [text])
        #expect(try test.reopened().actor(TestAuthority.front("127.0.0.1")).role == .admin)
    }

    @Test(
        "nobody with another DN of that CN",
        arguments: ["/CN=ra1", "/C=FR/O=Test/OU=Servers/CN=ra1", "/C=FR/O=Test/OU=RA/OU=RA/CN=ra1", "/C=FR/O=Test/OU=RA/CN=ra1/CN=ra1"])
    func otherNames(_ text: String) throws {
        let test = try TestAuthority()
        let token = try test.openRegistration()
        try test.register("ra1", from: "127.0.0.1", token: token)
        try test.addAdmin(text)
        #expect(test.authority.actor(TestAuthority.front("127.0.0.1")).role == .node)
    }

    @Test("a certificate for a listed admin's or a live node's DN is had by that node and by an admin alone")
    func reservedNames() throws {
        let bare = CertificateProfile(name: "bare", duration: 5)
        let test = try TestAuthority(profiles: [bare])
        try test.addNode("ra1", at: "127.0.0.1")
        try test.addNode("ra2", at: "127.0.0.2")
        try test.addAdmin("CN=boss")
        let (first, second) = (TestAuthority.front("127.0.0.1"), TestAuthority.front("127.0.0.2"))
        for (name, caller) in [("boss", first), ("BOSS", second), ("Boss", first), ("ra1", second), ("RA2", first)] {
            let csr = try TestAuthority.csr("/CN=\(name)")
            #expect(refusal { try test.sign(csr, profile: "bare", by: caller) }.code == .notAuthorised, "\(name)")
            #expect(refusal { try test.generate(name, profile: "bare", by: caller) }.code == .notAuthorised, "\(name)")
        }
        try test.sign(try TestAuthority.csr("/CN=ra1"), profile: "bare", by: first)
        try test.sign(try TestAuthority.csr("/CN=boss"), profile: "bare", by: operatorOnHost)
        #expect(try test.store.read { try $0.certificateCount() } == 2)
    }

    @Test("adding twice changes nothing, removing takes any notation, the last one may go, and what is no DN is refused")
    func list() throws {
        let test = try TestAuthority()
        try test.addAdmin("/O=Org/CN=a")
        try test.addAdmin("CN=a,O=Org")
        #expect(test.authority.state.admins.map(\.text) == ["/O=Org/CN=a"])
        try test.commit("remove_admin") { try $0.removeAdmin("CN=A, O=ORG") }
        #expect(test.authority.state.admins.isEmpty)
        #expect(refusal { try test.commit("remove_admin") { try $0.removeAdmin("/CN=a") } }.code == .notFound)
        for text in ["a", "", "/", "CN=", "/CN=a\nb", "/X=1", "/CN=" + String(repeating: "a", count: 2_000)] {
            #expect(refusal { try test.addAdmin(text) }.code == .invalidParameter)
        }
    }
}

@Suite("Where a request arrives decides what it is")
struct CallerTests {
    @Test(
        "clients: register, manual and all",
        arguments: [
            (Rules.Clients.register, Role.node, Role.node, Role.anyone), (.manual, .anyone, .node, .anyone), (.all, .node, .node, .node),
        ])
    func clients(_ clients: Rules.Clients, _ registered: Role, _ manual: Role, _ stranger: Role) throws {
        var rules = Rules()
        rules.clients = clients
        let test = try TestAuthority(rules: rules)
        let token = try test.openRegistration()
        try test.register("ra1", from: "192.0.2.1", token: token, caller: TestAuthority.registrar("127.0.0.1"))
        try test.addNode("ra2", at: "192.0.2.2")
        // Under `all` the loopback address is somebody in any case.
        #expect(test.authority.actor(TestAuthority.front("127.0.0.1")).role == registered)
        #expect(test.authority.actor(TestAuthority.front("192.0.2.2")).role == manual)
        #expect(test.authority.actor(TestAuthority.front("127.0.0.77")).role == stranger)
        #expect(test.authority.actor(TestAuthority.front("192.0.2.77")).role == .anyone)
    }

    @Test("the admin socket is the operator; no address and no key is, on whatever socket")
    func channels() throws {
        let test = try TestAuthority()
        #expect(test.authority.actor(operatorOnHost).role == .local)
        for channel in [Caller.Channel.front, .registrar, .ocsp] {
            #expect(test.authority.actor(Caller(proof: .localUser(0), channel: channel)).role == .anyone)
            #expect(test.authority.actor(Caller(proof: .plainAddress("127.0.0.1"), channel: channel)).role == .anyone)
            #expect(test.authority.actor(Caller(proof: .plainAddress(""), channel: channel)).role == .anyone)
            #expect(test.authority.actor(Caller(proof: .curve("x"), channel: channel)).role == .anyone)
        }
    }

    @Test("an address that the configuration fixes is the node it names, once that exists")
    func fixedNodes() throws {
        var rules = Rules()
        rules.fixedNodes = ["192.0.2.9": "ra1"]
        let test = try TestAuthority(rules: rules)
        #expect(test.authority.actor(TestAuthority.front("192.0.2.9")).role == .anyone)
        try test.addNode("ra1", at: "127.0.0.1")
        #expect(test.authority.actor(TestAuthority.front("192.0.2.9")).node?.commonName == "ra1")
        try test.commit("remove_node") { try $0.removeNode(commonName: "ra1") }
        #expect(test.authority.actor(TestAuthority.front("192.0.2.9")).role == .anyone)
    }

    @Test("a secret crosses no network in clear over loopback, CURVE and sockets alone")
    func confidential() {
        for address in ["127.0.0.1", "127.255.0.3", "::1"] { #expect(TestAuthority.front(address).isConfidential) }
        for address in ["128.0.0.1", "::2", "::ffff:127.0.0.1", "localhost", "", "fe80::1%eth0"] {
            #expect(!TestAuthority.front(address).isConfidential)
        }
        #expect(Caller(proof: .curve("k"), channel: .front).isConfidential && operatorOnHost.isConfidential)
    }
}
