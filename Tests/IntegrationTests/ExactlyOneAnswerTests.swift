// Every request gets exactly one answer, whatever was sent.
import Testing
import UPKIProtocol

extension IntegrationTests {
    @Suite("exactly one answer")
    struct ExactlyOneAnswerTests {
        @Test(
            "whatever comes in on port 5000 or 5001 is answered once and within 4 s, and the next good request is answered",
            arguments: [0, 1])
        func garbage(offset: Int) throws {
            try withCA { ca in
                let results =
                    try ca.place.peer("exactly_one_answer.py", ["\(ca.port + offset)", offset == 0 ? "get_ca" : "status"]).arrayValue ?? []
                #expect(results.count > 30)
                for result in results {
                    let name = result["name"]?.stringValue ?? "?"
                    let answers = result["answers"]?.arrayValue ?? []
                    #expect(result["next"] == "ANSWER", "\(name): the next good request: \(result["next"]?.text ?? "")")
                    if name.hasPrefix("over the frame limit") { continue }
                    #expect(answers.count == 1, "\(name): \(result.text)")
                    let refusal = answers.first?.refusal ?? ""
                    // JSON may begin with a byte order mark for lenient readers only; the rest is no request at all.
                    #expect(!refusal.isEmpty, "\(name): \(result.text.prefix(500))")
                    #expect(
                        !refusal.contains("/") && !refusal.contains("SELECT") && !refusal.contains("\n") && refusal.utf8.count < 2_000,
                        "\(name): \(refusal)")
                    #expect(Double(result["seconds"]?.text ?? "9") ?? 9 < 4, "\(name)")
                }
                let words = Dictionary(
                    uniqueKeysWithValues: results.map { ($0["name"]?.stringValue ?? "", $0["answers"]?.arrayValue?.first?.refusal ?? "") })
                #expect(words["bad JSON"]?.hasPrefix("Invalid JSON: ") == true)
                #expect(words["bad UTF-8"]?.hasPrefix("Invalid JSON: ") == true)
                #expect(words["100,000 nested arrays"]?.hasPrefix("Invalid JSON: ") == true)
                #expect(words["a TASK nobody knows"] == "Unknown task: rm -rf")
                #expect(
                    words["a TASK of the operator"]
                        == (offset == 0
                            ? "Not authorised: open_registration needs a listed admin over CURVE (ca-ctl --identity)"
                            : "Unknown task: open_registration"))
            }
        }

        @Test("missing parameters, roles and unknown names are refused in the documented words")
        func documentedWords() throws {
            try withCA { ca in
                let stranger = try ca.ask([("sign", [:]), ("list_nodes", [:]), ("get_ca", [:]), ("list_profiles", [:])])
                #expect(stranger[0].refusal == "Not authorised: sign needs a registered node")
                #expect(stranger[1].refusal == "Not authorised: list_nodes needs a registered node")
                #expect(stranger[2]["EVENT"] == "ANSWER" && stranger[3]["EVENT"] == "ANSWER")
                try ca.register()
                let answers = try ca.ask([
                    ("sign", [:]), ("sign", ["csr": "nonsense"]), ("get_profile", ["profile": "nothing"]),
                    ("view", ["dn": "/O=uPKI/OU=Servers/CN=nobody"]),
                    ("register", ["seed": "upkireg_wrong", "cn": "x.example.com"]), ("unrevoke", ["dn": "/CN=nobody"]), ("generate", [:]),
                ])
                let expected = [
                    "Missing csr parameter", "CSR parse error: ", "Profile not found: nothing",
                    "Certificate not found: /O=uPKI/OU=Servers/CN=nobody",
                    "Invalid registration seed", "Not authorised: unrevoke needs a listed admin", "Missing cn parameter",
                ]
                for (answer, words) in zip(answers, expected) { #expect(answer.refusal.hasPrefix(words), "\(answer.text)") }
            }
        }
    }
}
