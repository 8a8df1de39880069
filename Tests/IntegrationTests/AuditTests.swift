// The audit log of real programs: proven by openssl and by Python's own arithmetic, attacked in its file, flooded by strangers.
import Foundation
import Glibc
import TestPrograms
import Testing
import UPKIProtocol

extension IntegrationTests {
    @Suite("the audit log")
    struct AuditTests {
        private func database(_ ca: RunningCA) -> String { "\(ca.data)/db/ca.sqlite" }

        /// The lines of checkpoints in a text.
        private func checkpoints(_ text: String) -> [String] {
            text.split(separator: "\n").filter { $0.contains("audit checkpoint v1 ") }.map(String.init)
        }

        private func audit(_ ca: RunningCA) throws -> JSON { try ca.facts(["status"]).at("core", "audit") ?? .null }

        @Test("every hash and checkpoint is what the documents say, and openssl verifies the newest with the public half of audit.key")
        func outside() throws {
            try withCA { ca in
                try ca.register()
                // The CRL of the start stands; from here on nothing but the clock makes a checkpoint: within ten seconds.
                try waitUntil("the CRL of the start is published") { ca.log.contains("published CRL") }
                let list = try ca.facts(["crl", "show"])["number"]
                _ = try ca.data("generate", ["cn": "a.example.com"])
                try waitUntil("a checkpoint covers every record") {
                    let audit = try self.audit(ca)
                    return audit["checkpoint_record"] == audit["records"]
                }
                #expect(try ca.facts(["crl", "show"])["number"] == list)
                #expect(try ca.log.contains("audit checkpoint v1 \(self.audit(ca)["checkpoint"]?.integerValue ?? 0) "))
                let line = try ca.ctl(["audit", "checkpoint"]).output
                #expect(try ca.stop() == 0)
                let place = ca.place
                try place.must(["/usr/bin/openssl", "x509", "-in", "\(ca.data)/ca.crt", "-outform", "DER", "-out", place.path("ca.der")])
                let seen = try place.peer("audit_log.py", ["check", self.database(ca), place.path("ca.der")])
                #expect(seen["records"] == seen["chained"] && (seen["records"]?.integerValue ?? 0) > 5)
                #expect((seen["checkpoints"]?.integerValue ?? 0) >= 4)
                #expect(line.hasPrefix("audit checkpoint v1 ") && line.split(separator: "\n").count == 1)
                #expect(seen["line"]?.stringValue.map { line.hasPrefix($0) } == true, "nothing was written at the end that needed another")
                for (name, member) in [("message", "message"), ("signature", "signature")] {
                    let bytes = try #require(seen[member]?.stringValue.flatMap { Self.octets($0) })
                    try bytes.write(to: URL(fileURLWithPath: place.path(name)))
                }
                try place.must([
                    "/usr/bin/openssl", "pkey", "-in", "\(ca.data)/audit.key", "-pubout", "-out", place.path("audit.pub"),
                ])
                let verified = try place.must([
                    "/usr/bin/openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", place.path("audit.pub"), "-in",
                    place.path("message"), "-sigfile", place.path("signature"),
                ])
                #expect(verified.contains("Signature Verified Successfully"))
            }
        }

        private static func octets(_ text: String) -> Data? {
            guard text.count % 2 == 0 else { return nil }
            let digits = Array(text)
            let bytes = stride(from: 0, to: digits.count, by: 2).compactMap { UInt8(String(digits[$0...($0 + 1)]), radix: 16) }
            return bytes.count * 2 == digits.count ? Data(bytes) : nil
        }

        @Test(
            "a record changed, removed, cut off or rewritten in the file is named by audit verify, without the CA and with it; what contradicts nothing in the store is convicted by a log kept elsewhere"
        )
        func attacks() throws {
            try withCA { ca in
                try ca.register()
                for name in ["before", "victim", "after"] { _ = try ca.data("generate", ["cn": .string("\(name).example.com")]) }
                // A CRL, and so a checkpoint.
                _ = try ca.data("generate_crl")
                let kept = ca.log
                #expect(try ca.stop() == 0)
                try ca.place.write(kept, to: "kept.log")
                let line = try #require(self.checkpoints(kept).last)
                let place = ca.place
                let copy = place.path("copy")
                for (kind, words) in [
                    ("change", "was changed"), ("remove", "is missing"), ("cut", "the log is cut off after record"),
                    ("rewrite", "was changed, and what follows it rewritten"), ("forge", "is not signed by this CA's audit key"),
                ] {
                    try place.must(["/bin/rm", "-rf", copy])
                    try place.must(["/bin/cp", "-a", ca.data, copy])
                    let record = try #require(
                        try place.peer("audit_log.py", ["attack", "\(copy)/db/ca.sqlite", kind])["record"]?.integerValue)
                    let verify = try place.run([
                        "\(Checkout.programs)/ca-ctl", "audit", "verify", "--offline", "--json", "--data-dir", copy, "--run-dir", ca.run,
                    ])
                    #expect(verify.code == 1, "\(kind): \(verify.output)")
                    #expect(
                        verify.errors.contains(words) && verify.errors.hasPrefix("ca-ctl: the audit log is not whole: record "),
                        "\(kind): \(verify.errors)")
                    let found = try JSON(parsing: Array(verify.output.utf8))
                    let first = try #require(found["first_bad"]?.integerValue)
                    // The record itself, or, where all hashes were made anew, the first one behind the last checkpoint that still fits.
                    #expect(["change", "remove", "cut"].contains(kind) ? first == record : first <= record, "\(kind): \(found.text)")
                }
                // All that the store could say against it was taken away as well.
                try place.must(["/bin/rm", "-rf", copy])
                try place.must(["/bin/cp", "-a", ca.data, copy])
                _ = try place.peer("audit_log.py", ["attack", "\(copy)/db/ca.sqlite", "rewrite-all"])
                let offline = [
                    "\(Checkout.programs)/ca-ctl", "audit", "verify", "--offline", "--data-dir", copy, "--run-dir", ca.run,
                ]
                let alone = try place.run(offline)
                #expect(alone.code == 0, "within a minute of the last checkpoint only what is kept elsewhere can tell: \(alone.errors)")
                let convicted = try place.run(offline + ["--checkpoint", place.path("kept.log")])
                #expect(convicted.code == 1 && convicted.errors.contains("kept elsewhere, signed"), "\(convicted.errors)")
                try place.write(line + "\n", to: "one.line")
                #expect(try place.run(offline + ["--checkpoint", place.path("one.line")]).code == 1)
                try place.write("nothing here\n", to: "empty.log")
                let empty = try place.run(offline + ["--checkpoint", place.path("empty.log")])
                #expect(empty.code == 1 && empty.errors.contains("holds no checkpoint"), "\(empty.errors)")

                // The real one is good, offline, and when it runs again, also by what was kept.
                let good = try ca.facts(["audit", "verify", "--offline", "--checkpoint", place.path("kept.log")])
                #expect(good["good"] == true && (good.at("kept", "compared")?.integerValue ?? 0) > 1, "\(good.text)")
                try ca.start()
                let running = try ca.facts(["audit", "verify", "--checkpoint", place.path("kept.log")])
                #expect(running["good"] == true && running.at("kept", "compared") == good.at("kept", "compared"), "\(running.text)")
                let busy = try ca.ctl(["audit", "verify", "--offline"])
                #expect(busy.code == 1 && busy.errors.contains("is in use by process"), "\(busy.errors)")
            }
        }

        @Test("a CA whose log was cut off starts, revokes, warns at each start and in status, and is quiet once that is acknowledged")
        func cutOff() throws {
            try withCA { ca in
                try ca.register()
                let serial = try ca.data("generate", ["cn": "victim.example.com"])["serial"] ?? .null
                #expect(try ca.stop() == 0)
                let record = try #require(try ca.place.peer("audit_log.py", ["attack", self.database(ca), "cut"])["record"]?.integerValue)
                try ca.start()
                try waitUntil("the log says it") { ca.log.contains("AUDIT FAULT") }
                #expect(try ca.data("revoke", ["serial": serial, "reason": "keyCompromise"]) == true)
                let warnings = try ca.facts(["status"])["warnings"]?.text ?? ""
                #expect(warnings.contains("AUDIT FAULT") && warnings.contains("cut off after record \(record - 1)"), "\(warnings)")
                let verify = try ca.ctl(["audit", "verify"])
                #expect(verify.code == 1 && verify.errors.contains("record \(record):"), "\(verify.errors)")
                // It stands, although what was written since is good.
                #expect(try ca.stop() == 0)
                try ca.start()
                try waitUntil("the log says it again") { ca.log.contains("AUDIT FAULT") }
                #expect(try self.audit(ca)["fault"]?.stringValue?.contains("cut off") == true)

                let acknowledged = try ca.ctl(["audit", "acknowledge", "--reason", "it was a test"])
                #expect(acknowledged.code == 0, "\(acknowledged.errors)")
                #expect(try self.audit(ca)["fault"] == .null)
                let known = try ca.ctl(["audit", "verify"])
                #expect(
                    known.code == 0 && known.output.contains("Known and acknowledged: ") && known.output.contains(" \(record) "),
                    "\(known.output)\(known.errors)")
                #expect(try ca.ctl(["audit", "acknowledge", "--reason", "again"]).code == 1)
                #expect(try ca.ctl(["audit", "show"]).output.contains("it was a test"))
            }
        }

        @Test("9,000 refusals of strangers with 60 addresses are all answered, cost at most 33 records, and every one is counted")
        func strangers() throws {
            try withCA { ca in
                try ca.register()
                let before = try self.audit(ca)["records"]?.integerValue ?? 0
                let story = try ca.place.peer("strangers.py", ["\(ca.port)", "60", "150"])
                #expect(story["answered"]?.integerValue == 9_000 && story["refused"]?.integerValue == 9_000, "\(story.text)")
                // A node's refusals are told apart all the same.
                #expect(try ca.ask("unrevoke", ["dn": "/CN=x"]).refusal.hasPrefix("Not authorised"))
                // In order ends with the counts written.
                #expect(try ca.stop() == 0)
                try ca.start()
                let records = try ca.facts(["audit", "show", "--after", "\(before)", "--limit", "1000"]).arrayValue ?? []
                let refused = records.filter { $0["outcome"] == "refused" }
                #expect(refused.filter { $0["identity"] == "node ra.example.com" }.count == 1)
                let strangers = refused.filter { $0["identity"] != "node ra.example.com" }
                // Two periods, where the minute ended in between.
                #expect(strangers.count <= 66 && strangers.count > 16, "\(strangers.count)")
                let total = strangers.reduce(0) { sum, record in
                    let words = record["detail"]?.stringValue?.components(separatedBy: ": ").last ?? ""
                    return sum + (words.contains(" times between ") ? Int(words.split(separator: " ").first ?? "") ?? 0 : 1)
                }
                #expect(total == 9_000)
                #expect(try ca.facts(["audit", "verify"])["good"] == true)
            }
        }

        @Test("the seed in clear over a network is refused, and shown as SEED EXPOSED; a wrong one shows nothing")
        func seedExposed() throws {
            let seed = "do not show this seed: 7f3a9c51e0b24d68"
            let place = try Workplace()
            defer { place.end() }
            let places = ["--data-dir", place.path("data"), "--run-dir", place.path("run")]
            let ctl = "\(Checkout.programs)/ca-ctl"
            try place.must([ctl, "init", "--seed-stdin"] + places, input: seed)
            let configuration = try place.read("data/ca.config.yml").split(separator: "\n").filter { !$0.hasPrefix("host:") }
                .joined(separator: "\n")
            try place.write(
                configuration
                    + "\nhost: 192.0.2.1\nsecurity: plain\nnodes:\n  - address: 192.0.2.1\n    node: ra.example.com\n",
                to: "data/ca.config.yml")
            let port = try Ports.freePair()
            // A network of its own, in which 192.0.2.1 is somebody else than loopback. It belongs to this process alone and goes with it.
            let up = try place.start(
                [
                    "/usr/bin/unshare", "--net", "/bin/sh", "-c",
                    "/usr/sbin/ip link set lo up && /usr/sbin/ip address add 192.0.2.1/32 dev lo && exec \"$@\"", "sh", ctl, "up",
                    "--no-init",
                    "--port", "\(port)",
                ] + places)
            let ready = try place.run([ctl, "status", "--wait", "30"] + places)
            #expect(ready.code == 0, "\(ready.output)\(ready.errors)\(up.errors)")

            func register(_ seed: String) throws -> String {
                let client = """
                    import json, sys, zmq
                    socket = zmq.Context().socket(zmq.REQ)
                    socket.setsockopt(zmq.LINGER, 0)
                    socket.setsockopt(zmq.RCVTIMEO, 5000)
                    socket.connect("tcp://192.0.2.1:" + sys.argv[1])
                    socket.send_string(json.dumps({"TASK": "register", "params": {"seed": sys.stdin.read(), "cn": "ra.example.com"}}))
                    print(socket.recv_string())
                    """
                let answer = try place.must(
                    ["/usr/bin/nsenter", "--net=/proc/\(up.pid)/ns/net", try Checkout.python("0.1.6"), "-c", client, "\(port + 1)"],
                    input: seed)
                return try JSON(parsing: Array(answer.utf8)).refusal
            }
            func status() throws -> JSON { try JSON(parsing: Array(place.must([ctl, "status", "--json"] + places).utf8)) }
            func exposures() throws -> Int {
                let records = try JSON(parsing: Array(place.must([ctl, "audit", "show", "--json"] + places).utf8)).arrayValue ?? []
                return records.count {
                    $0["detail"]?.stringValue?.hasPrefix("SEED EXPOSED: the seed came in clear from plain address 192.0.2.1") == true
                }
            }
            let wrong = try register("another secret that is not the seed 123")
            #expect(wrong.contains("is not accepted over a network in clear"), "\(wrong)")
            #expect(try status().at("core", "seed_exposed_at") == .null)
            #expect(try exposures() == 0)
            #expect(try !(status()["warnings"]?.text ?? "").contains("SEED EXPOSED"))

            #expect(try register(seed) == wrong, "the caller hears nothing of it")
            #expect(try status().at("core", "seed_exposed_at") != .null)
            #expect(try status()["warnings"]?.text.contains("SEED EXPOSED") == true)
            #expect(try exposures() == 1)
            let nodes = try place.must([ctl, "node", "list", "--json"] + places)
            #expect(!nodes.contains("ra.example.com"), "\(nodes)")
            #expect(!(up.output + up.errors).contains(seed))
            up.signal(SIGTERM)
            #expect(try up.finish(within: .seconds(10)).code == 0)
        }
    }
}
