// Ten thousand certificates from several clients at once, and every view of them compared with every other.
import Testing
import UPKIProtocol

extension IntegrationTests {
    @Suite("many certificates")
    struct BulkTests {
        @Test("10,000 CSRs from several clients, a third revoked: answers, CRL, store and audit chain agree")
        func tenThousand() throws {
            let count: Int64 = 10_000
            let revoked: Int64 = 3_334
            try withCA { ca in
                try ca.register()
                let facts = try ca.place.peer("bulk.py", ["\(ca.port)", "\(count)", "6"], within: .seconds(300))
                #expect(facts["faults"] == [], "\(facts.text)")
                #expect(facts["answers"]?.integerValue == count && facts["different_serials"]?.integerValue == count)
                #expect(facts["revoked"]?.integerValue == revoked)
                #expect(facts["crl_signature"] == true && facts["crl_is_what_was_revoked"] == true)
                #expect(facts["crl_entries"]?.integerValue == revoked && facts["crl_reasons"] == ["superseded"])
                #expect(facts["store_is_what_was_answered"] == true && facts["store_knows_the_revoked"] == true)
                #expect(facts["store_has_the_certificates"] == true && facts["list_of_revoked"]?.integerValue == revoked)
                #expect(facts["pages"]?.integerValue == 4 && facts["ocsp_agrees"] == true)

                // The deployed RA asks for the whole list at once and waits 5 s.
                #expect(facts.at("big_list", "entries")?.integerValue == count)
                #expect(Double(facts.at("big_list", "seconds")?.text ?? "9") ?? 9 < 4)
                let loop = try ca.place.start(
                    [try Checkout.python("0.1.6"), "-B", "\(Checkout.peers)/ra_loop.py"],
                    input: JSON.object([
                        .init("port", .integer(ca.port)), .init("directory", .string(ca.place.path("ra"))),
                        .init("tasks", [["list_nodes", [:]], ["get_crl", [:]], ["list_admins", [:]]]),
                    ]).text + "\n")
                let story = try JSON(parsing: Array(loop.finish().output.replacingOccurrences(of: "going\n", with: "").utf8))
                #expect(story["lost"] == [] && story["answers"]?.integerValue == 6, "\(story.text)")

                let verdict = try ca.facts(["audit", "verify"])
                #expect(verdict["good"] == true, "\(verdict.text)")
                // One record for each certificate and each revocation at least, and the chain covers them all.
                #expect((verdict["verified"]?.integerValue ?? 0) >= count + revoked)
                let counts = try ca.facts(["status"]).at("core", "counts")
                // The node's own certificate and those of the OCSP bridge are there too; the bridge has one for each of its starts.
                let certificates = counts?["certificates"]?.integerValue ?? 0
                #expect((Int64(count) + 2...Int64(count) + 4).contains(certificates), "\(counts?.text ?? "")")
                #expect(counts?["revoked"]?.integerValue == Int64(revoked), "\(counts?.text ?? "")")

                // All of it is there after a restart.
                #expect(try ca.stop() == 0)
                try ca.start()
                let again = try ca.data("list_nodes", ["limit": .integer(count), "state": "revoked"])
                #expect(again.arrayValue?.count == Int(revoked))
                #expect(try ca.facts(["audit", "verify"])["good"] == true)
            }
        }
    }
}
