// Every task's answer: its shape as the protocol's tables give it, and what it does.

import Authority
import PKI
import RevocationFormats
import Tasks
import TestAuthority
import Testing
import UPKIProtocol
import X509

private typealias Bench = TaskBench

@Suite("What anyone may ask")
struct PublicTaskTests {
    @Test("get_ca gives the CA certificate as PEM that openssl reads")
    func getCA() throws {
        let bench = try Bench()
        let pem = try #require(try bench.ask("get_ca", by: Bench.stranger).stringValue)
        let folder = try OpenSSLFolder()
        try folder.write(pem, "ca.pem")
        #expect(
            try folder.openssl("x509", "-in", "ca.pem", "-noout", "-subject", "-nameopt", "RFC2253") == "subject=CN=Test CA,O=Test,C=FR\n")
    }

    @Test("get_crl is refused before there is one; generate_crl makes it and both give base64 of DER")
    func lists() throws {
        let bench = try Bench()
        #expect(bench.refusal("get_crl", by: Bench.stranger).contains("generate_crl"))
        let made = try #require(try bench.ask("generate_crl").stringValue)
        #expect(try bench.ask("get_crl", by: Bench.stranger).stringValue == made)
        let der = try #require(Base64.decode(made.utf8))
        #expect(try CertificateList(derEncoded: der[...]).tbsCertList.crlNumber?.value == UInt64(TestAuthority.start.seconds) * 1_000_000)
        let shown = try bench.ask("show_crl", by: Bench.operatorOnHost)
        #expect(shown.names == ["number", "this_update", "next_update", "entries", "bytes"])
        #expect(shown["next_update"] == "2026-11-30T12:00:00Z")
    }

    @Test("ocsp_check says good, revoked, expired and unknown, by certificate and by serial in each notation; revoked wins over expired")
    func ocspCheck() throws {
        let bench = try Bench()
        let record = try bench.test.sign(try TestAuthority.csr("/CN=a.example.org"))
        let pem = JSON.string(PEM.encode(record.der, label: "CERTIFICATE"))
        let hexadecimal = record.serial.hexadecimal
        let colons = stride(from: 0, to: 40, by: 2).map { String(hexadecimal.dropFirst($0).prefix(2)).uppercased() }.joined(separator: ":")
        for parameters in [
            ["cert": pem], ["serial": .string(record.serial.decimal)], ["serial": .string("0x" + hexadecimal)], ["serial": .string(colons)],
            ["serial": .number(record.serial.decimal)],
        ] as [JSON] {
            let answer = try bench.ask("ocsp_check", parameters, by: Bench.stranger)
            #expect(answer == ["status": "good", "serial": .string(record.serial.decimal), "cn": "a.example.org"])
        }
        bench.test.clock.move(bySeconds: 61 * 86_400)
        #expect(try bench.ask("ocsp_check", ["cert": pem])["status"] == "expired")
        try bench.test.revoke(.serial(record.serial), reason: .superseded)
        let revoked = try bench.ask("ocsp_check", ["cert": pem])
        #expect(
            revoked["status"] == "revoked" && revoked["revoke_reason"] == "superseded" && revoked["revoke_date"] == "2027-01-23T12:00:00Z")
        #expect(try bench.ask("ocsp_check", ["serial": "12345"])["status"] == "unknown")
        #expect(try bench.ask("ocsp_check", ["serial": .string(record.serial.decimal), "issuer": pem])["status"] == "unknown")
        #expect(
            try bench.ask("ocsp_check", ["serial": .string(record.serial.decimal), "issuer": .string(bench.test.authority.issuer.pem)])[
                "status"] == "revoked")
    }

    @Test("ocsp_check calls a certificate of another CA unknown, though it has one of our serial numbers")
    func stolenSerial() throws {
        let bench = try Bench()
        let other = try TestAuthority()
        let ours = try bench.test.sign(try TestAuthority.csr("/CN=a.example.org"))
        let theirs = try other.sign(try TestAuthority.csr("/CN=a.example.org"))
        // Both random sources repeat themselves: the numbers are equal, or the test is worth nothing.
        try #require(ours.serial == theirs.serial && ours.der != theirs.der)
        #expect(try bench.ask("ocsp_check", ["cert": .string(PEM.encode(theirs.der, label: "CERTIFICATE"))])["status"] == "unknown")
    }

    @Test("list_profiles and get_profile")
    func profiles() throws {
        let bench = try Bench()
        #expect(try bench.ask("list_profiles", by: Bench.stranger) == ["admin", "ca", "laptop", "ra", "server", "user", "webapp"])
        #expect(try bench.ask("get_profile", ["profile": "client"], by: Bench.stranger)["name"] == "user")
    }
}

@Suite("What nodes do")
struct NodeTaskTests {
    @Test("sign answers certificate, serial in decimal text and dn; the profile is server unless it is said")
    func sign() throws {
        let bench = try Bench()
        let answer = try bench.ask("sign", ["csr": .string(try TestAuthority.csr("/CN=a.example.org")), "duration": "7"])
        #expect(answer.names == ["certificate", "serial", "dn"])
        #expect(answer["dn"] == "/C=FR/O=Test/OU=Servers/CN=a.example.org")
        let pem = try #require(answer.text("certificate"))
        let der = try #require(PEM.decodeFirst(pem, labels: ["CERTIFICATE"]))
        let certificate = try Certificate(derEncoded: der)
        #expect(SerialNumber(bytes: certificate.serialNumber.bytes)?.decimal == answer.text("serial"))
        #expect(certificate.notValidAfter.timeIntervalSince1970 == Double(TestAuthority.start.seconds + 7 * 86_400))
        #expect(
            try bench.ask("sign", ["csr": .string(try TestAuthority.csr("/CN=joe")), "profile": "client"])["dn"]
                == "/C=FR/O=Test/OU=Users/CN=joe")
    }

    @Test("generate keeps the key, or with local=false sends it once and keeps none", arguments: [true, false])
    func generate(_ areReady: Bool) throws {
        let bench = try Bench(keysAreReady: areReady)
        let kept = try bench.ask(
            "generate",
            [
                "cn": "a.example.org",
                "sans": [["type": "DNS", "value": "b.example.org"], "10.0.0.1", "x@example.org", "https://c.example.org/"],
            ])
        #expect(kept.names == ["certificate", "serial", "dn"])
        #expect(bench.test.folders.key("a.example.org") != nil)
        let sent = try bench.ask("generate", ["cn": "d.example.org", "local": false])
        #expect(sent.names == ["certificate", "serial", "dn", "private_key"])
        #expect(bench.test.folders.key("d.example.org") == nil)
        let folder = try OpenSSLFolder()
        try folder.write(try #require(sent.text("private_key")), "k.pem")
        try folder.write(try #require(sent.text("certificate")), "c.pem")
        #expect(try folder.openssl("pkey", "-in", "k.pem", "-pubout") == folder.openssl("x509", "-in", "c.pem", "-noout", "-pubkey"))
        try folder.write(try #require(kept.text("certificate")), "c.pem")
        #expect(
            try folder.openssl("x509", "-in", "c.pem", "-noout", "-ext", "subjectAltName").contains(
                "DNS:a.example.org, DNS:b.example.org, IP Address:10.0.0.1, email:x@example.org, URI:https://c.example.org/"))
    }

    @Test("register on port 5000 checks the seed, and makes a certificate and an inventory entry, never a right")
    func register() throws {
        let bench = try Bench()
        for seed in ["upkireg_standing_0", FakeSeeds.seed] {
            let answer = try bench.ask("register", ["seed": .string(seed), "cn": .string("h\(seed.count).example.org")])
            #expect(answer.names == ["certificate", "serial", "dn"])
        }
        #expect(bench.test.authority.state.nodes.count == 3)
        #expect(try bench.ask("list_nodes").arrayValue?.count == 2)
        #expect(
            bench.refusal("register", ["seed": "upkireg_standing_0", "cn": "x", "profile": "ra"]).hasPrefix(
                "Not authorised: register needs a listed admin"))
        for _ in 0..<5 { _ = bench.refusal("register", ["seed": "wrong wrong wrong", "cn": "x"]) }
        #expect(bench.refusal("register", ["seed": "wrong wrong wrong", "cn": "x"]).contains("wait 60 s"))
    }

    @Test("renew gives the same key, names and profile and a new serial; the old one lives unless revoke_old")
    func renew() throws {
        let bench = try Bench()
        let first = try bench.ask("sign", ["csr": .string(try TestAuthority.csr("/CN=a.example.org"))])
        let second = try bench.ask("renew", ["dn": try #require(first["dn"])])
        #expect(second["dn"] == first["dn"] && second["serial"] != first["serial"])
        #expect(try bench.ask("ocsp_check", ["serial": try #require(first["serial"])])["status"] == "good")
        _ = try bench.ask("renew", ["serial": try #require(second["serial"]), "revoke_old": true])
        #expect(try bench.ask("ocsp_check", ["serial": try #require(second["serial"])])["revoke_reason"] == "superseded")
        #expect(bench.refusal("renew", ["dn": try #require(first["dn"])], by: Bench.otherNode).hasPrefix("Certificate not found"))
        _ = try bench.ask("renew", ["dn": try #require(first["dn"])], by: Bench.admin)
        #expect(bench.refusal("renew", ["dn": "a.example.org", "duration": 61]).hasPrefix("Invalid duration parameter"))
    }

    @Test(
        "revoke takes a DN in each notation and a serial, a reason by name or code",
        arguments: [
            "/C=FR/O=Test/OU=Servers/CN=a.example.org", "CN=a.example.org,OU=Servers,O=Test,C=FR",
            "C=FR,O=Test,OU=Servers,CN=a.example.org", "a.example.org", "CN=A.example.org", "/CN=a.example.org",
        ])
    func revoke(_ name: String) throws {
        let bench = try Bench()
        for (reason, word) in [
            ("1", "keyCompromise"), (4, "superseded"), ("cessationOfOperation", "cessationOfOperation"), (nil, "unspecified"),
            ("", "unspecified"),
        ] as [(JSON?, JSON)] {
            let serial = try #require(try bench.ask("sign", ["csr": .string(try TestAuthority.csr("/CN=a.example.org"))])["serial"])
            var members: [JSON.Member] = [.init("dn", .string(name))]
            if let reason { members.append(.init("reason", reason)) }
            #expect(try bench.ask("revoke", .object(members)) == true)
            #expect(try bench.ask("ocsp_check", ["serial": serial])["revoke_reason"] == word)
        }
        #expect(try bench.ask("revoke", ["dn": .string(name)]) == true)
    }

    @Test("view answers what the table lists, for its own")
    func view() throws {
        let bench = try Bench()
        let signed = try bench.ask("sign", ["csr": .string(try TestAuthority.csr("/CN=a.example.org"))])
        let view = try bench.ask("view", ["serial": try #require(signed["serial"])])
        for name in [
            "serial_number", "serial", "subject", "issuer", "not_valid_before", "not_valid_after", "signature_algorithm", "public_key",
            "extensions", "status", "certificate",
        ] {
            #expect(view[name] != nil, "\(name)")
        }
        #expect(
            view["issuer"] == "/C=FR/O=Test/CN=Test CA" && view["signature_algorithm"] == "ecdsa-with-SHA256" && view["status"] == "issued")
        #expect(view["not_valid_after"] == "2027-01-22T12:00:00Z")
        #expect(bench.refusal("view", ["serial": try #require(signed["serial"])], by: Bench.otherNode).hasPrefix("Certificate not found"))
    }

    @Test("list_nodes shows a node its own and an admin all, in pages and by state; get_node one")
    func inventory() throws {
        let bench = try Bench()
        let serials = try (0..<5).map {
            try #require(
                try bench.ask(
                    "sign", ["csr": .string(try TestAuthority.csr("/CN=h\($0).example.org"))], by: $0 < 3 ? Bench.node : Bench.otherNode)[
                        "serial"])
        }
        func listed(_ parameters: JSON, _ caller: Caller) throws -> [JSON] {
            try bench.ask("list_nodes", parameters, by: caller).arrayValue?.compactMap { $0["serial"] } ?? []
        }
        #expect(try listed([:], Bench.node) == Array(serials[0..<3]))
        #expect(try listed([:], Bench.admin) == serials)
        #expect(try listed(["limit": 2], Bench.admin) == Array(serials[0..<2]))
        #expect(try listed(["limit": 2, "after": serials[1]], Bench.admin) == Array(serials[2..<4]))
        #expect(bench.refusal("list_nodes", ["after": "99"]) == "Certificate not found: 99")
        _ = try bench.ask("revoke", ["serial": serials[0]])
        #expect(try listed(["state": "revoked"], Bench.admin) == [serials[0]])
        #expect(try listed(["state": "issued"], Bench.node) == Array(serials[1..<3]))
        let entry = try bench.ask("get_node", ["cn": "h0.example.org"])
        for name in ["dn", "cn", "profile", "state", "serial", "sans", "not_after", "revoked", "certificate"] {
            #expect(entry[name] != nil, "\(name)")
        }
        #expect(entry["revoked"] == true && entry["state"] == "revoked" && entry["sans"] == [["type": "DNS", "value": "h0.example.org"]])
        #expect(bench.refusal("get_node", ["cn": "h4.example.org"]) == "Certificate not found: h4.example.org")
    }

    @Test("list_admins gives each exactly as it was added")
    func admins() throws {
        let bench = try Bench()
        _ = try bench.ask("add_admin", ["dn": "/O=Org/CN=Zoë"], by: Bench.admin)
        #expect(try bench.ask("list_admins") == ["CN=boss", "/O=Org/CN=Zoë"])
    }
}

@Suite("What admins do")
struct AdminTaskTests {
    @Test("unrevoke releases a hold, delete takes a name out of the inventory; both answer true")
    func ending() throws {
        let bench = try Bench()
        let answer = try bench.ask("generate", ["cn": "a.example.org"])
        let serial = try #require(answer["serial"])
        _ = try bench.ask("revoke", ["serial": serial, "reason": "certificateHold"])
        #expect(try bench.ask("unrevoke", ["serial": serial], by: Bench.admin) == true)
        #expect(try bench.ask("ocsp_check", ["serial": serial])["status"] == "good")
        #expect(try bench.ask("delete", ["dn": try #require(answer["dn"])], by: Bench.admin) == true)
        #expect(try bench.ask("ocsp_check", ["serial": serial])["revoke_reason"] == "cessationOfOperation")
        #expect(bench.test.folders.key("a.example.org") == nil)
        #expect(try bench.ask("list_nodes", by: Bench.admin) == [])
        #expect(bench.refusal("view", ["dn": "a.example.org"]) == "Certificate not found: a.example.org")
    }

    @Test("the admin list: the last one can be removed, and then ca-ctl is still there")
    func admins() throws {
        let bench = try Bench()
        #expect(try bench.ask("remove_admin", ["dn": "/CN=boss"], by: Bench.admin) == true)
        #expect(bench.refusal("add_admin", ["dn": "/CN=boss"], by: Bench.admin) == "Not authorised: add_admin needs a listed admin")
        #expect(try bench.ask("add_admin", ["dn": "/CN=boss"], by: Bench.operatorOnHost) == true)
        #expect(bench.refusal("remove_admin", ["dn": "/CN=nobody"], by: Bench.admin).hasPrefix("Admin not found: /CN=nobody"))
    }

    @Test("profiles are added, changed and removed; built-ins and aliases are not for removal or taking")
    func profiles() throws {
        let bench = try Bench()
        #expect(try bench.ask("add_profile", ["name": "own", "profile": ["duration": 3]], by: Bench.admin) == true)
        #expect(bench.refusal("add_profile", ["name": "own", "profile": [:]], by: Bench.admin).hasPrefix("Profile already exists: own"))
        #expect(try bench.ask("update_profile", ["name": "own", "profile": ["duration": 4]], by: Bench.admin) == true)
        #expect(try bench.ask("get_profile", ["profile": "own"])["duration"] == 4)
        #expect(bench.test.folders.profileNames == ["own"])
        #expect(try bench.ask("remove_profile", ["name": "own"], by: Bench.admin) == true)
        #expect(bench.test.folders.profileNames.isEmpty)
        #expect(bench.refusal("remove_profile", ["name": "server"], by: Bench.admin).contains("built in"))
        #expect(bench.refusal("add_profile", ["name": "client", "profile": [:]], by: Bench.admin).contains("alias"))
        #expect(bench.refusal("remove_profile", ["name": "own"], by: Bench.admin) == "Profile not found: own")
    }
}

@Suite("ACME records")
struct AcmeTaskTests {
    private func order(_ bench: TaskBench, authorization: JSON = "valid") throws {
        let jwk: JSON = ["kty": "EC", "n": .number("123456789012345678901234567890")]
        #expect(
            try bench.ask(
                "acme_sync_account", ["account_id": "acc", "jwk": jwk, "contact": ["mailto:a@example.org"], "created_at": "2026-01-01"])
                == true)
        #expect(
            try bench.ask(
                "acme_sync_order",
                ["order_id": "ord", "account_id": "acc", "identifiers": [["type": "dns", "value": "a.example.org"]], "status": "ready"])
                == true)
        #expect(
            try bench.ask(
                "acme_sync_authorization",
                ["auth_id": "z", "order_id": "ord", "identifier_type": "dns", "identifier_value": "a.example.org", "status": authorization])
                == true)
    }

    @Test("come back as they were written, to the node that wrote them alone")
    func records() throws {
        let bench = try Bench()
        try self.order(bench)
        let account = try bench.ask("acme_get_account", ["account_id": "acc"])
        #expect(account.names == ["id", "jwk", "contact", "status", "created_at"])
        #expect(
            account["jwk"]?["n"] == .number("123456789012345678901234567890") && account["contact"] == ["mailto:a@example.org"]
                && account["status"] == "valid")
        #expect(try bench.ask("acme_list_accounts") == [account])
        let order = try bench.ask("acme_get_order", ["order_id": "ord"])
        #expect(order.names == ["id", "account_id", "identifiers", "status", "not_before", "not_after", "certificate"])
        #expect(order["identifiers"] == [["type": "dns", "value": "a.example.org"]] && order["certificate"] == .null)
        #expect(try bench.ask("acme_list_orders", ["account_id": "acc"]) == [order])
        #expect(
            try bench.ask("acme_get_authorization", ["auth_id": "z"]).names == [
                "id", "order_id", "identifier_type", "identifier_value", "status",
            ])
        #expect(bench.refusal("acme_get_account", ["account_id": "acc"], by: Bench.otherNode) == "Account not found: acc")
        #expect(bench.refusal("acme_get_order", ["order_id": "ord"], by: Bench.admin) == "Order not found: ord")
        #expect(bench.refusal("acme_get_authorization", ["auth_id": "z"], by: Bench.otherNode) == "Authorization not found: z")
        #expect(try bench.ask("acme_list_accounts", by: Bench.otherNode) == [])
        #expect(
            bench.refusal("acme_sync_order", ["order_id": "x", "account_id": "acc", "identifiers": ["a.example"]], by: Bench.otherNode)
                == "Account not found: acc")
        #expect(bench.refusal("acme_deactivate_account", ["account_id": "acc"], by: Bench.otherNode) == "Account not found: acc")
    }

    @Test("issue one certificate, which is found by order and by serial and revoked by itself")
    func issuing() throws {
        let bench = try Bench()
        try self.order(bench)
        let csr = JSON.string(try TestAuthority.csr("", names: [.dns("a.example.org")]))
        let issued = try bench.ask("acme_issue_certificate", ["order_id": "ord", "csr": csr])
        #expect(issued["certificate"] != nil && issued["serial"] != nil)
        let serial = try #require(issued["serial"])
        let byOrder = try bench.ask("acme_get_certificate", ["cert_id": "ord"])
        #expect(byOrder.names == ["certificate", "serial", "order_id", "not_before", "not_after"])
        #expect(byOrder["certificate"] == issued["certificate"] && byOrder["order_id"] == "ord")
        #expect(try bench.ask("acme_get_certificate", ["cert_id": serial])["certificate"] == issued["certificate"])
        #expect(try bench.ask("acme_get_order", ["order_id": "ord"])["certificate"] == issued["certificate"])
        #expect(bench.refusal("acme_get_certificate", ["cert_id": serial], by: Bench.otherNode).hasPrefix("Certificate not found"))
        #expect(bench.refusal("acme_get_certificate", ["cert_id": "nosuch"]) == "Certificate not found: nosuch")
        #expect(bench.refusal("acme_issue_certificate", ["order_id": "ord", "csr": csr]).contains("has its certificate already"))
        let certificate = try #require(issued["certificate"])
        #expect(
            bench.refusal("acme_revoke_certificate", ["certificate": certificate], by: Bench.otherNode).hasPrefix("Certificate not found"))
        #expect(try bench.ask("acme_revoke_certificate", ["certificate": certificate, "reason": 1]) == true)
        #expect(try bench.ask("ocsp_check", ["serial": serial])["revoke_reason"] == "keyCompromise")
    }

    @Test("without authorization nothing is issued, and a deactivated account or authorization says so")
    func unauthorized() throws {
        let bench = try Bench()
        try self.order(bench, authorization: "pending")
        let csr = JSON.string(try TestAuthority.csr("", names: [.dns("a.example.org")]))
        #expect(bench.refusal("acme_issue_certificate", ["order_id": "ord", "csr": csr]).contains("no valid authorization"))
        try self.order(bench)
        #expect(try bench.ask("acme_deactivate_authorization", ["auth_id": "z"]) == true)
        #expect(try bench.ask("acme_get_authorization", ["auth_id": "z"])["status"] == "deactivated")
        #expect(bench.refusal("acme_issue_certificate", ["order_id": "ord", "csr": csr]).contains("no valid authorization"))
        try self.order(bench)
        #expect(try bench.ask("acme_deactivate_account", ["account_id": "acc"]) == true)
        #expect(bench.refusal("acme_issue_certificate", ["order_id": "ord", "csr": csr]).contains("account is deactivated"))
        #expect(bench.refusal("acme_issue_certificate", ["order_id": "nosuch", "csr": csr]) == "Order not found: nosuch")
        #expect(bench.refusal("acme_deactivate_authorization", ["auth_id": "nosuch"]) == "Authorization not found: nosuch")
    }
}

@Suite("Port 5001 and the bridge")
struct OtherSocketTests {
    @Test("register answers what the table lists: the key where the CA made it, none where a csr came", arguments: [true, false])
    func register(_ withCSR: Bool) throws {
        let bench = try Bench(keysAreReady: false)
        #expect(
            bench.refusal("register", ["seed": "upkireg_standing_0", "cn": "ra1"], by: Bench.registrar).hasPrefix("Registration is closed"))
        #expect(bench.seeds.checks == 0)
        try bench.test.openRegistration(token: "upkireg_w")
        var parameters: [JSON.Member] = [
            .init("seed", .string(withCSR ? FakeSeeds.seed : "upkireg_standing_0")), .init("cn", "ra1"), .init("sans", ["ra1.example.org"]),
        ]
        if withCSR { parameters.append(.init("csr", .string(try TestAuthority.csr("/CN=other")))) }
        let answer = try bench.ask("register", .object(parameters), by: Bench.registrar)
        #expect(
            answer.names
                == Set(["status", "cn", "profile", "dn", "serial", "certificate", "ca_certificate"] + (withCSR ? [] : ["private_key"])))
        #expect(answer["status"] == "registered" && answer["profile"] == "ra" && answer["dn"] == "/C=FR/O=Test/OU=RA/CN=ra1")
        let status = try bench.ask("status", ["cn": "ra1"], by: Bench.registrar)
        #expect(status == ["status": "registered", "node": ["cn": "ra1", "profile": "ra", "registered_at": "2026-11-23T12:00:00Z"]])
        #expect(try bench.ask("status", by: Bench.registrar) == status)
        #expect(try bench.ask("status", ["cn": "ra9"], by: Bench.registrar) == ["status": "not_registered"])
        #expect(try bench.ask("status", by: TestAuthority.registrar("127.0.0.77")) == ["status": "not_registered"])
        #expect(
            try bench.ask("sign", ["csr": .string(try TestAuthority.csr("/CN=a.example.org"))], by: TestAuthority.front("127.0.0.8"))[
                "serial"] != nil)
    }

    @Test("the seed itself is refused in clear over a network, with the remedy, and in the same words whether it is the right one")
    func seedInClear() throws {
        let bench = try Bench()
        try bench.test.openRegistration(token: "upkireg_w")
        let network = TestAuthority.registrar("192.0.2.1")
        let line = bench.refusal("register", ["seed": .string(FakeSeeds.seed), "cn": "ra1"], by: network)
        #expect(line.hasPrefix("Invalid registration seed") && line.contains("token"))
        #expect(bench.refusal("register", ["seed": "a wrong seed of length", "cn": "ra1"], by: network) == line)
        // Both were looked at, so that the operator hears that the right one came in clear.
        #expect(bench.seeds.checks == 2 && bench.seeds.rightFrom == [network])
        #expect(bench.test.authority.state.nodes.values.allSatisfy { $0.commonName != "ra1" })
    }

    @Test("the window is told to the registrar itself, and to nobody who comes through it")
    func window() throws {
        let bench = try Bench()
        let itself = Caller(proof: .localUser(0), channel: .registrar)
        #expect(try bench.ask("window", by: itself)["open"] == false)
        try bench.test.openRegistration(token: "upkireg_w", remaining: 3, commonName: "ra1")
        let window = try bench.ask("window", by: itself)
        #expect(
            window["open"] == true && window["remaining"] == 3 && window["cn"] == "ra1"
                && window["until"] == .integer(TestAuthority.start.seconds + 86_400))
        #expect(bench.refusal("window", by: Bench.registrar) == "Unknown task: window")
    }

    @Test("statuses answers many serial numbers with the event number they were read at")
    func statuses() throws {
        let bench = try Bench()
        let record = try bench.test.generate("a.example.org")
        try bench.test.revoke(.serial(record.serial))
        let bridge = Caller(proof: .localUser(0), channel: .ocsp)
        let answer = try bench.ask("statuses", ["serials": [.string(record.serial.decimal), "5"]], by: bridge)
        #expect(answer["sequence"] == .integer(bench.test.authority.state.eventSequence))
        #expect(answer["statuses"]?.arrayValue?.compactMap { $0.text("status") } == ["revoked", "unknown"])
        let revoked = try #require(answer["statuses"]?.arrayValue?.first)
        #expect(revoked.text("revoke_date") == "2026-11-23T12:00:00Z" && revoked["revoke_time"] == .integer(1_795_435_200))
        #expect(bench.refusal("statuses", ["serials": ["x"]], by: bridge).hasPrefix("Invalid serials parameter"))
    }
}

@Suite("What the operator asks")
struct OperatorTaskTests {
    private func ask(_ bench: TaskBench, _ task: String, _ parameters: JSON = [:]) throws -> JSON {
        try bench.ask(task, parameters, by: Bench.operatorOnHost)
    }

    @Test("status, reload, tokens, audit and verify_audit have their shapes")
    func shapes() throws {
        let bench = try Bench()
        let status = try self.ask(bench, "status")
        #expect(
            status.names == [
                "version", "ca", "registration", "counts", "crl", "publication", "recovery", "seed_exposed_at", "expiries", "audit",
            ])
        #expect(status["counts"]?["nodes"] == 3)
        #expect(try self.ask(bench, "reload") == true)
        #expect(try self.ask(bench, "tokens").arrayValue?.first?.names == ["id", "kind", "cn", "live", "expires_at", "used_at", "revoked"])
        let audit = try self.ask(bench, "audit", ["after": 0, "limit": 2]).arrayValue ?? []
        #expect(audit.compactMap { $0["sequence"] } == [1, 2])
        #expect(
            audit.first?.names == [
                "sequence", "time", "request", "identity", "proof", "task", "outcome", "target", "serial", "detail", "hash",
            ])
        let verdict = try self.ask(bench, "verify_audit")
        #expect(
            verdict["good"] == true && verdict["verified"] == .integer(bench.test.authority.state.auditSequence)
                && verdict["first_bad"] == .null)
    }

    @Test("no token's text is ever shown again")
    func tokensStaySecret() throws {
        let bench = try Bench()
        let token = try #require(try self.ask(bench, "open_registration").text("token"))
        for task in ["tokens", "audit", "status", "nodes"] { #expect(!(try self.ask(bench, task).text.contains(token))) }
    }

    @Test("open_registration, a registration, close_registration")
    func registration() throws {
        let bench = try Bench()
        let opened = try self.ask(bench, "open_registration", ["seconds": 60, "max": 1, "cn": "ra1"])
        #expect(opened["open"] == true && opened["remaining"] == 1 && opened["cn"] == "ra1" && opened["token"] != nil)
        _ = try bench.ask("register", ["seed": try #require(opened["token"]), "cn": "ra1"], by: Bench.registrar)
        #expect(
            bench.refusal("register", ["seed": "upkireg_standing_0", "cn": "ra2"], by: Bench.registrar).hasPrefix("Registration is closed"))
        _ = try self.ask(bench, "open_registration")
        #expect(try self.ask(bench, "close_registration", ["reason": "all in"])["open"] == false)
        #expect(bench.refusal("register", ["seed": "upkireg_standing_0", "cn": "ra2"], by: Bench.registrar).contains("all in"))
        #expect(bench.refusal("open_registration", ["seconds": 0], by: Bench.operatorOnHost).hasPrefix("Invalid seconds parameter"))
        #expect(bench.refusal("open_registration", ["cn": "a\nb"], by: Bench.operatorOnHost).hasPrefix("Invalid cn parameter"))
    }

    @Test("tokens are revoked and rotated; the seed is verified")
    func tokens() throws {
        let bench = try Bench()
        try bench.test.openRegistration(token: "upkireg_w")
        let list = try self.ask(bench, "tokens").arrayValue ?? []
        let once = try #require(list.first { $0["kind"] == "one-time" }?["id"])
        #expect(try self.ask(bench, "revoke_token", ["id": once]) == true)
        #expect(bench.refusal("register", ["seed": "upkireg_w", "cn": "ra1"], by: Bench.registrar) == "Invalid registration seed")
        #expect(bench.refusal("revoke_token", ["id": "zzz"], by: Bench.operatorOnHost).hasPrefix("Token not found: zzz"))
        #expect(try self.ask(bench, "rotate_token", ["seed": .string(FakeSeeds.seed)]) == ["token": "upkireg_standing_1", "number": 1])
        #expect(bench.refusal("register", ["seed": "upkireg_standing_0", "cn": "ra1"], by: Bench.registrar) == "Invalid registration seed")
        #expect(try self.ask(bench, "verify_seed", ["seed": .string(FakeSeeds.seed)]) == true)
        #expect(bench.refusal("verify_seed", ["seed": "wrong"], by: Bench.operatorOnHost) == "Invalid registration seed")
    }

    @Test("nodes are shown, added, limited, moved, renewed and removed")
    func nodes() throws {
        let bench = try Bench()
        #expect(try self.ask(bench, "nodes").arrayValue?.compactMap { $0.text("cn") } == ["node", "other", "boss"])
        let added = try self.ask(bench, "add_node", ["cn": "ra5", "address": "2001:DB8:0:0::5"])
        #expect(added["binding"] == "address 2001:db8::5" && added["origin"] == "manual" && added["admin"] == false)
        #expect(try self.ask(bench, "limit_node", ["cn": "ra5", "profiles": ["server"], "names": ["*.a.example"]]) == true)
        #expect(try self.ask(bench, "node", ["cn": "RA5"])["names"] == ["*.a.example"])
        #expect(try self.ask(bench, "rebind_node", ["cn": "ra5", "address": "127.0.0.55"]) == ["binding": "address 127.0.0.55"])
        let moving = try self.ask(bench, "rebind_node", ["cn": "ra5", "seconds": 10])
        #expect(moving["until"] == .integer(TestAuthority.start.seconds + 10) && moving["token"] != nil)
        #expect(bench.refusal("renew_node", ["cn": "ra5"], by: Bench.operatorOnHost).contains("no certificate of its own"))
        try bench.test.openRegistration(token: "upkireg_w")
        _ = try bench.ask("register", ["seed": "upkireg_w", "cn": "ra6"], by: Bench.registrar)
        #expect(try self.ask(bench, "renew_node", ["cn": "ra6"])["dn"] == "/C=FR/O=Test/OU=RA/CN=ra6")
        #expect(try self.ask(bench, "remove_node", ["cn": "ra6"]) == true)
        #expect(try self.ask(bench, "node", ["cn": "ra6"])["state"] == "deleted")
        #expect(bench.refusal("sign", ["csr": "x"], by: TestAuthority.front("127.0.0.8")) == "Not authorised: sign needs a registered node")
        for task in ["node", "limit_node", "rebind_node", "renew_node", "remove_node"] {
            #expect(bench.refusal(task, ["cn": "nobody"], by: Bench.operatorOnHost).hasPrefix("Node not found: nobody"))
        }
        #expect(
            bench.refusal("add_node", ["cn": "ra7", "address": "host"], by: Bench.operatorOnHost).hasPrefix("Invalid address parameter"))
        #expect(
            bench.refusal("limit_node", ["cn": "ra5", "names": ["a b"]], by: Bench.operatorOnHost).hasPrefix("Invalid names parameter"))
    }
}
