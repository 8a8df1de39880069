// `ca-ctl doctor`: each thing broken in turn, on a copy of one CA's directory, and exactly that line says so.
import Foundation
import Glibc
import TestPrograms
import Testing
import UPKIProtocol

extension IntegrationTests {
    @Suite("The doctor")
    struct DoctorTests {
        private static let configuration = "publication:\n  base_url: http://pki.example.com\n"

        /// A CA with two keys that it keeps, a revoked certificate and a registered node, closed for registration.
        private static func populate(_ ca: RunningCA) throws {
            try ca.register()
            #expect(try ca.ctl(["registrar", "close"]).code == 0)
            for name in ["one.example.com", "two.example.com"] { #expect(try ca.ctl(["cert", "issue", name]).code == 0) }
            _ = try ca.data("sign", ["csr": .string(try ca.place.csr("/CN=three.example.com"))])
            #expect(try ca.ctl(["cert", "revoke", "three.example.com"]).code == 0)
            #expect(try ca.ctl(["crl", "generate"]).code == 0)
        }

        private typealias Report = (code: Int32, levels: [String: String], lines: JSON, errors: String)

        private static func report(_ finished: Finished) throws -> Report {
            guard let lines = try? JSON(parsing: Array(finished.output.utf8)) else {
                throw TestFailure("no JSON (\(finished.code)): \(finished.output)\(finished.errors)")
            }
            var levels: [String: String] = [:]
            for line in lines.arrayValue ?? [] where line["level"] != "ok" {
                levels[line["check"]?.stringValue ?? "?"] = line["level"]?.stringValue
            }
            return (finished.code, levels, lines, finished.errors)
        }

        private static let checks = [
            "core", "clock", "permissions", "disk", "store", "configuration", "keys", "crl", "certificates", "audit", "registration",
            "expiry",
            "leftovers", "services", "units",
        ]

        @Test("a CA that runs: every line is ok, then what is broken under it is found at once")
        func running() throws {
            try withCA(configuration: Self.configuration) { ca in
                try Self.populate(ca)
                let before = try ca.facts(["crl", "show"])
                let well = try Self.report(try ca.ctl(["doctor", "--json"]))
                #expect(well.code == 0 && well.levels.isEmpty && well.errors.isEmpty, "\(well.lines.text)")
                // The bridge, which one that is down has not.
                let checks = Array(Self.checks.dropLast()) + ["ocsp", "units"]
                #expect((well.lines.arrayValue ?? []).compactMap { $0["check"]?.stringValue } == checks)
                let text = try ca.ctl(["doctor"])
                #expect(text.code == 0 && text.output.split(separator: "\n").count == checks.count, "\(text.output)")
                #expect(text.output.split(separator: "\n").allSatisfy { $0.hasPrefix("ok  ") })
                // It looked, and changed nothing.
                #expect(try ca.facts(["crl", "show"]) == before)

                chmod("\(ca.data)/db/ca.sqlite", 0o640)
                let open = try Self.report(try ca.ctl(["doctor", "--json"]))
                #expect(open.code == 1 && open.levels == ["permissions": "fail"], "\(open.lines.text)")
                #expect(open.lines.text.contains("chmod 600 \(ca.data)/db/ca.sqlite"))
                chmod("\(ca.data)/db/ca.sqlite", 0o600)

                truncate("\(ca.data)/published/crl.der", 100)
                let cut = try Self.report(try ca.ctl(["doctor", "--json"]))
                #expect(cut.code == 1 && cut.levels == ["crl": "fail"], "\(cut.lines.text)")
                // What it says is what helps.
                #expect(cut.lines.text.contains("ca-ctl crl generate --data-dir \(ca.data)"), "\(cut.lines.text)")
                #expect(try ca.ctl(["crl", "generate"]).code == 0)
                #expect(try Self.report(try ca.ctl(["doctor", "--json"])).levels.isEmpty)

                #expect(try ca.ctl(["registrar", "open"]).code == 0)
                let registering = try Self.report(try ca.ctl(["doctor", "--json"]))
                #expect(registering.code == 0 && registering.levels == ["registration": "warn"], "\(registering.lines.text)")

                // A core that holds the directory and cannot be asked.
                unlink("\(ca.run)/admin.sock")
                let deaf = try Self.report(try ca.ctl(["doctor", "--json"]))
                #expect(deaf.code == 1 && deaf.levels == ["core": "fail"], "\(deaf.lines.text)")
            }
        }

        @Test("a CA that is down: each thing broken in turn is the one line that is not ok")
        func down() throws {
            try withCA(configuration: Self.configuration) { ca in
                try Self.populate(ca)
                let place = ca.place
                try place.must(["/bin/cp", "\(ca.data)/published/crl.der", place.path("old.der")])
                #expect(try ca.ctl(["crl", "generate"]).code == 0)
                try ca.stop()
                try place.must([
                    "/usr/bin/openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out",
                    place.path("other.key"),
                ])
                try place.must([
                    "/usr/bin/openssl", "req", "-x509", "-key", place.path("other.key"), "-subj", "/CN=one.example.com", "-out",
                    place.path("other.crt"),
                ])
                let copy = place.path("copy")
                func examine(_ what: String, _ expected: [String: String], _ words: String = "", break breaking: () throws -> Void) throws {
                    try place.must(["/bin/rm", "-rf", copy])
                    try place.must(["/bin/cp", "-a", ca.data, copy])
                    try breaking()
                    let finished = try place.run([
                        "\(Checkout.programs)/ca-ctl", "doctor", "--json", "--data-dir", copy, "--run-dir", place.path("norun"),
                    ])
                    let found = try Self.report(finished)
                    #expect(found.levels == expected.merging(["core": "warn"]) { $1 }, "\(what): \(found.lines.text)\(finished.errors)")
                    #expect(found.code == (expected.values.contains("fail") ? 1 : 0), "\(what)")
                    #expect(words.isEmpty || found.lines.text.contains(words), "\(what): \(found.lines.text)")
                }
                func overwrite(_ file: String, _ from: String, mode: mode_t = 0o600) throws {
                    try place.must(["/bin/cp", from, "\(copy)/\(file)"])
                    chmod("\(copy)/\(file)", mode)
                }
                func sql(_ statement: String) throws {
                    try place.must([
                        try Checkout.python(environment: "prometheus"), "-c",
                        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute(sys.argv[2]); c.commit(); c.close()",
                        "\(copy)/db/ca.sqlite", statement,
                    ])
                }
                try examine("nothing is broken", [:], "the CA is not running") {}
                try examine("a key that others can read", ["permissions": "fail"], "chmod 600") {
                    chmod("\(copy)/nodes/one.example.com/key.pem", 0o644)
                }
                try examine("a folder that others can enter", ["permissions": "fail"], "chmod 700") { chmod("\(copy)/nodes", 0o755) }
                try examine("a published file that others can write", ["permissions": "fail"], "chmod 644") {
                    chmod("\(copy)/published/crl.der", 0o666)
                }
                try examine("a link in the place of a file", ["permissions": "fail"], "no regular file") {
                    symlink("/etc/passwd", "\(copy)/notes")
                }
                try examine("a file of tomorrow", ["clock": "fail"], "before the newest file") {
                    try place.must(["/usr/bin/touch", "-d", "+2 days", "\(copy)/ca.crt"])
                }
                try examine(
                    "a page of the store that was written over",
                    [
                        "store": "fail", "keys": "warn", "crl": "warn", "certificates": "warn", "audit": "warn", "registration": "warn",
                        "expiry": "warn",
                    ], "restore a backup"
                ) {
                    try place.must([
                        "/bin/dd", "if=/dev/zero", "of=\(copy)/db/ca.sqlite", "bs=4096", "seek=3", "count=1", "conv=notrunc", "status=none",
                    ])
                }
                try examine("an unknown setting", ["configuration": "fail"], "prot") {
                    try (try String(contentsOfFile: "\(copy)/ca.config.yml", encoding: .utf8) + "\nprot: 5000\n").write(
                        toFile: "\(copy)/ca.config.yml", atomically: false, encoding: .utf8)
                }
                try examine("a dangerous setting", ["configuration": "warn"], "clients: all") {
                    try Self.configuration.appending("clients: all\n").write(
                        toFile: "\(copy)/ca.config.yml", atomically: false, encoding: .utf8)
                }
                try examine("no address for CRL and OCSP", ["configuration": "warn"], "publication.base_url") {
                    try "port: 5000\n".write(toFile: "\(copy)/ca.config.yml", atomically: false, encoding: .utf8)
                }
                try examine("a profile with a typo", ["configuration": "fail"], "server.yml:1") {
                    try place.write("duratoin: 3\n", to: "copy/profiles/server.yml")
                }
                try examine("another key in ca.key", ["keys": "fail"], "not the key of ca.crt") {
                    try overwrite("ca.key", place.path("other.key"))
                }
                try examine("another certificate published", ["keys": "fail"], "published/ca.crt is not ca.crt") {
                    try overwrite("published/ca.crt", place.path("other.crt"), mode: 0o644)
                }
                try examine("no CRL", ["crl": "fail"], "no CRL is published") { unlink("\(copy)/published/crl.der") }
                try examine("half a CRL", ["crl": "fail"], "is no CRL") { truncate("\(copy)/published/crl.der", 150) }
                try examine("a CRL with a byte changed", ["crl": "fail"], "not signed by this CA") {
                    var bytes = try Data(contentsOf: URL(fileURLWithPath: "\(copy)/published/crl.der"))
                    bytes[bytes.count - 1] ^= 1
                    try bytes.write(to: URL(fileURLWithPath: "\(copy)/published/crl.der"))
                }
                try examine("an old CRL", ["crl": "fail"], "has the number") {
                    try overwrite("published/crl.der", place.path("old.der"), mode: 0o644)
                }
                try examine("another CRL in PEM", ["crl": "fail"], "crl.pem is not the published CRL") { truncate("\(copy)/crl.pem", 60) }
                try examine("a revocation that is gone from the store", ["crl": "fail"], "on the CRL, but not revoked in the store") {
                    try sql("DELETE FROM revocation")
                }
                try examine("a revocation that never came to the CRL", ["crl": "fail"], "revoked in the store, but not on the CRL") {
                    try sql(
                        "INSERT INTO revocation SELECT serial, 0, 1700000000, not_after FROM certificate WHERE common_name = 'two.example.com'"
                    )
                }
                try examine("a foreign certificate beside a key", ["certificates": "fail"], "was not issued by this CA") {
                    try overwrite("nodes/one.example.com/cert.pem", place.path("other.crt"))
                }
                try examine("another key beside a certificate", ["certificates": "fail"], "not the certificate's key") {
                    try overwrite("nodes/one.example.com/key.pem", place.path("other.key"))
                }
                try examine("a certificate in another's folder", ["certificates": "fail"], "cert.pem is of two.example.com") {
                    try overwrite("nodes/one.example.com/cert.pem", "\(copy)/nodes/two.example.com/cert.pem")
                    try overwrite("nodes/one.example.com/key.pem", "\(copy)/nodes/two.example.com/key.pem")
                }
                try examine("an audit record that was changed", ["audit": "fail"], "record 3") {
                    try sql("UPDATE audit SET detail = 'nothing happened' WHERE sequence = 3")
                }
                try examine("registration that is open", ["registration": "warn"], "registrar close") {
                    try sql(
                        "UPDATE setting SET value = '4000000000' || char(10) || char(10) || char(10) || 'x' WHERE name = 'registrationWindow'"
                    )
                }
                try examine("a node whose certificate has ended", ["expiry": "warn"], "the node ra.example.com ended") {
                    try sql("UPDATE node SET not_after = 1700000000")
                }
                try examine("what a killed process left behind", ["leftovers": "warn"], ".upki-tmp-x") {
                    try place.write("", to: "copy/profiles/.upki-tmp-x")
                    mkdir("\(copy)/nodes/empty", 0o700)
                }
                try examine("an init that did not end", ["leftovers": "fail"], "an init did not end") {
                    try place.write("", to: "copy/init.unfinished")
                }
            }
        }

        @Test("a CA certificate near its end, a wrong directory, and one that is not there")
        func others() throws {
            let place = try Workplace()
            defer { place.end() }
            try place.must([
                "/usr/bin/openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=Old CA",
                "-days", "60",
                "-keyout", place.path("ca.key"), "-out", place.path("ca.crt"), "-addext", "keyUsage=critical,keyCertSign,cRLSign",
            ])
            let places = ["--data-dir", place.path("data"), "--run-dir", place.path("run")]
            let ctl = "\(Checkout.programs)/ca-ctl"
            let missing = try place.run([ctl, "doctor"] + places)
            #expect(missing.code == 1 && missing.errors.contains("ca-ctl init --data-dir \(place.path("data"))"), "\(missing.errors)")
            try place.must([ctl, "init", "--ca-key", place.path("ca.key"), "--ca-cert", place.path("ca.crt")] + places)
            try Self.configuration.write(toFile: place.path("data/ca.config.yml"), atomically: false, encoding: .utf8)
            let found = try Self.report(try place.run([ctl, "doctor", "--json"] + places))
            // A new CA is open for registration for a day.
            #expect(found.code == 0 && found.levels == ["core": "warn", "registration": "warn", "expiry": "warn"], "\(found.lines.text)")
            #expect(found.lines.text.contains("the CA certificate ends at"))
        }
    }
}
