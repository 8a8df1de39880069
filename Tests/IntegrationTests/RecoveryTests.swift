// Recovery with the real programs: CRLs taken over by a CA that goes on serving, imports of existing CAs, and docs/RECOVERY.md word by word.
import Foundation
import Glibc
import TestPrograms
import Testing
import UPKIProtocol

/// `openssl ca` with the key of a CA that runs: CRLs that were signed elsewhere.
private struct SignedElsewhere {
    let place: Workplace
    let key: String
    let certificate: String

    init(_ ca: RunningCA) throws {
        (self.place, self.key, self.certificate) = (ca.place, "\(ca.data)/ca.key", "\(ca.data)/ca.crt")
        try self.place.write(
            "[ca]\ndefault_ca = a\n[a]\ndatabase = \(ca.place.path("index"))\ncrlnumber = \(ca.place.path("number"))\ndefault_md = sha256\n"
                + "[crl]\nauthorityKeyIdentifier = keyid:always\n", to: "ca.cnf")
    }

    /// A CRL in PEM that revokes the serial numbers 1 to `count`, each tenth for keyCompromise.
    func list(_ name: String, count: Int, number: String = "01") throws -> String {
        let lines = (1...max(1, count)).map { serial -> String in
            let hex = String(serial, radix: 16, uppercase: true)
            let reason = serial % 10 == 0 ? ",keyCompromise" : ""
            return "R\t351231235959Z\t250101000000Z\(reason)\t\(hex.count % 2 == 0 ? hex : "0" + hex)\tunknown\t/CN=x\n"
        }
        try self.place.write(count == 0 ? "" : lines.joined(), to: "index")
        try self.place.write(number + "\n", to: "number")
        try self.place.must([
            "/usr/bin/openssl", "ca", "-gencrl", "-config", self.place.path("ca.cnf"), "-keyfile", self.key, "-cert",
            self.certificate, "-crlexts", "crl", "-crl_lastupdate", "20260101000000Z", "-crl_nextupdate", "20300101000000Z", "-out",
            self.place.path(name),
        ])
        return self.place.path(name)
    }
}

extension IntegrationTests {
    @Suite("recovery")
    struct RecoveryTests {
        private static let ctl = "\(Checkout.programs)/ca-ctl"

        @Test("crl import takes a CRL over that this CA's key signed, from a file or a pipe; twice changes nothing; others are refused")
        func crlImport() throws {
            try withCA { ca in
                let elsewhere = try SignedElsewhere(ca)
                let file = try elsewhere.list("old.pem", count: 2_500, number: "FFFFFFFFFFFFFFFFFF")
                let before = try ca.facts(["status"]).at("core", "counts", "revoked")
                let first = try ca.facts(["crl", "import", file])
                #expect(first["entries"]?.integerValue == 2_500 && first["new"]?.integerValue == 2_500, "\(first.text)")
                #expect(first["keys_not_blocked"]?.integerValue == 250 && before == .integer(0))
                #expect(first["number"] == .number("4722366482869645213695") && first["crl"] == .number("4722366482869645213696"))
                let shown = try ca.facts(["crl", "show"])
                #expect(shown["number"] == .number("4722366482869645213696") && shown["entries"]?.integerValue == 2_500)
                let text = try ca.place.must([
                    "/usr/bin/openssl", "crl", "-in", "\(ca.data)/crl.pem", "-noout", "-text", "-CAfile", "\(ca.data)/ca.crt",
                ])
                #expect(text.contains("Serial Number: 09C4") && text.contains("Key Compromise"))
                let status = try ca.data("ocsp_check", ["serial": "10"])
                #expect(status["status"] == "revoked" && status["revoke_reason"]?.text.contains("ompromise") == true, "\(status.text)")

                // By a pipe, in DER: ca-core never sees the path.
                try ca.place.must(["/usr/bin/openssl", "crl", "-in", file, "-outform", "DER", "-out", ca.place.path("old.der")])
                let again = try ca.place.run([
                    "/bin/sh", "-c",
                    "'\(Self.ctl)' crl import - --json --data-dir '\(ca.data)' --run-dir '\(ca.run)' < '\(ca.place.path("old.der"))'",
                ])
                #expect(again.code == 0, "\(again.errors)")
                let second = try JSON(parsing: Array(again.output.utf8))
                #expect(second["new"]?.integerValue == 0 && second["standing"]?.integerValue == 2_500, "\(second.text)")

                let records = try ca.facts(["audit", "show", "--limit", "1000"]).arrayValue ?? []
                let imports = records.filter { $0["task"] == "import_crl" }.compactMap { $0["detail"]?.stringValue }
                #expect(imports.count == 4, "\(imports)")
                #expect(
                    imports.first?.hasPrefix("CRL 4722366482869645213695 of 2026-01-01T00:00:00Z, entries 1 to 2000: 2000 new") == true,
                    "\(imports)")
                #expect(imports.last?.contains("was taken over with 2500 entries: 0 new") == true, "\(imports)")

                try ca.place.must([
                    "/usr/bin/openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", ca.place.path("other.key"),
                ])
                // openssl refuses a key that does not fit: a certificate of the same name for the other key does.
                try ca.place.must([
                    "/usr/bin/openssl", "req", "-x509", "-new", "-key", ca.place.path("other.key"), "-subj", "/O=uPKI/CN=uPKI Root CA",
                    "-days", "30",
                    "-out", ca.place.path("other.crt"),
                ])
                try ca.place.must([
                    "/usr/bin/openssl", "ca", "-gencrl", "-config", ca.place.path("ca.cnf"), "-keyfile", ca.place.path("other.key"),
                    "-cert",
                    ca.place.path("other.crt"), "-crldays", "30", "-out", ca.place.path("other.pem"),
                ])
                for (path, words) in [
                    (ca.place.path("other.pem"), "was not signed with this CA's key"), ("\(ca.data)/ca.crt", "no PEM block X509 CRL"),
                    ("/dev/null", "holds no CRL"),
                ] {
                    let refused = try ca.ctl(["crl", "import", path])
                    #expect(refused.code == 1 && refused.errors.contains(words), "\(path): \(refused.errors)")
                    #expect(refused.errors.split(separator: "\n").count == 1, "\(refused.errors)")
                }
                #expect(try ca.facts(["audit", "verify"])["good"] == true)
            }
        }

        @Test("signing goes on while a large CRL is taken over; an import whose core is killed is finished by repeating it")
        func killedImport() throws {
            try withCA { ca in
                try ca.register()
                let elsewhere = try SignedElsewhere(ca)
                let file = try elsewhere.list("large.pem", count: 40_000)
                let csr = try ca.place.csr("/CN=meanwhile.example.com")
                let running = try ca.place.start([Self.ctl, "crl", "import", file, "--json", "--data-dir", ca.data, "--run-dir", ca.run])
                func taken() throws -> Int64 { try ca.facts(["status"]).at("core", "counts", "revoked")?.integerValue ?? 0 }
                try waitUntil("the first entries are taken over") { try taken() > 0 }
                let start = ContinuousClock.now
                _ = try ca.data("sign", ["csr": .string(csr)])
                #expect(ContinuousClock.now - start < .seconds(4))
                #expect(running.isRunning)
                try ca.killAndWait("serve")
                let cut = try running.finish(within: .seconds(30))
                #expect(cut.code == 3 && cut.errors.contains("the CA ended before its answer"), "\(cut.code) \(cut.errors)")
                let kept = try taken()
                #expect(kept > 0 && kept < 40_000)
                let again = try ca.facts(["crl", "import", file])
                #expect(again["new"]?.integerValue == 40_000 - kept && again["standing"]?.integerValue == kept, "\(again.text)")
                #expect(try ca.facts(["crl", "show"])["entries"]?.integerValue == 40_000)
                #expect(try ca.facts(["audit", "verify"])["good"] == true)
                // Nothing of what was sent is left in the data directory.
                let left = try FileManager.default.contentsOfDirectory(atPath: ca.data).filter { $0.hasPrefix(".") }
                #expect(left.isEmpty, "\(left)")
            }
        }

        @Test("half of an upload that nobody finishes holds up no other request; a second upload meanwhile is told so")
        func halfAnUpload() throws {
            try withCA { ca in
                let file = try SignedElsewhere(ca).list("old.pem", count: 3)
                func startHalf() throws -> ProgramRun {
                    try ca.place.start(
                        [Self.ctl, "crl", "import", "-", "--data-dir", ca.data, "--run-dir", ca.run],
                        input: String(repeating: "x", count: 400 << 10), keepInput: true)
                }
                var half = try startHalf()
                // Its first piece is there once another upload is refused. Where it came while that other one was taken over, it is the
                // one that was refused, and begins again.
                try waitUntil("the first piece is there") {
                    if !half.isRunning { half = try startHalf() }
                    let next = try ca.ctl(["crl", "import", file])
                    #expect(next.code == 0 || next.errors.contains("Busy: another CRL is being taken over"), "\(next.errors)")
                    return next.code == 1
                }
                #expect(try ca.ctl(["crl", "generate"]).code == 0)
                half.closeInput()
                let refused = try half.finish(within: .seconds(10))
                #expect(refused.code == 1 && refused.errors.contains("holds no CRL that can be used"), "\(refused.errors)")
                #expect(try ca.facts(["crl", "import", file])["standing"] != nil)
            }
        }

        @Test(
            "an existing CA is imported from keys of every form, with the password from a file, a pipe or a credential",
            arguments: [
                (
                    "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out k.pem",
                    "pkcs8 -topk8 -in k.pem -v2 aes-256-cbc -passout pass:secret", "ec-p256"
                ),
                ("ecparam -name secp384r1 -genkey -noout -out k.pem", "", "ec-p384"),
                ("genrsa -traditional -out k.pem 2048", "", "rsa-2048"),
                (
                    "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072 -out k.pem",
                    "pkcs8 -topk8 -in k.pem -scrypt -passout pass:secret", "rsa-3072"
                ),
                ("genpkey -algorithm ED25519 -out k.pem", "pkcs8 -topk8 -in k.pem -v2 aes-128-cbc -passout pass:secret", "ed25519"),
            ])
        func imports(make: String, encrypt: String, type: String) throws {
            let place = try Workplace()
            defer { place.end() }
            func openssl(_ line: String) throws { try place.must(["/bin/sh", "-c", "cd '\(place.directory)' && openssl \(line)"]) }
            try openssl(make)
            try openssl(
                "req -x509 -new -key k.pem -out c.pem -days 30 -subj '/O=Old/CN=Old CA' -addext keyUsage=critical,keyCertSign,cRLSign")
            if encrypt.isEmpty { try openssl("version > /dev/null; cp k.pem key.pem") } else { try openssl("\(encrypt) -out key.pem") }
            try place.write("secret\n", to: "ca-password")
            func initialise(_ name: String, _ options: [String], input: String = "", environment: [String: String] = [:]) throws -> Finished
            {
                try place.run(
                    [
                        Self.ctl, "init", "--json", "--ca-key", place.path("key.pem"), "--ca-cert", place.path("c.pem"), "--data-dir",
                        place.path(name),
                        "--run-dir", place.path("run"),
                    ] + options, input: input, environment: environment)
            }
            let ways: [(String, [String], String, [String: String])] =
                encrypt.isEmpty
                ? [("plain", [], "", [:])]
                : [
                    ("file", ["--ca-password-file", place.path("ca-password")], "", [:]),
                    ("pipe", ["--ca-password-stdin"], "secret\n", [:]),
                    ("credential", [], "", ["CREDENTIALS_DIRECTORY": place.directory]),
                ]
            for (name, options, input, environment) in ways {
                let made = try initialise(name, options, input: input, environment: environment)
                #expect(made.code == 0, "\(name): \(made.errors)")
                let facts = try JSON(parsing: Array(made.output.utf8))
                #expect(facts["subject"] == "/O=Old/CN=Old CA" && facts["key_type"] == .string(type), "\(facts.text)")
                // ca.key is what was imported, in PKCS#8 and no longer encrypted.
                let keys = try ["\(name)/ca.key", "k.pem"].map {
                    try place.must(["/usr/bin/openssl", "pkey", "-in", place.path($0), "-pubout"])
                }
                #expect(keys[0] == keys[1])
            }
            guard !encrypt.isEmpty else { return }
            let wrong = try initialise("wrong", ["--ca-password-stdin"], input: "Secret\n")
            #expect(wrong.code == 1 && wrong.errors.contains("cannot be decrypted with this password"), "\(wrong.errors)")
            let none = try initialise("none", [])
            #expect(none.code == 1 && none.errors.contains("password"), "\(none.errors)")
            for finished in [wrong, none] { #expect(!finished.errors.contains("secret") && !finished.errors.contains("Secret")) }
        }

        @Test(
            "what cannot be imported is refused with the reason, in one line, and leaves no CA",
            arguments: [
                (
                    "the key does not match", "ecparam -name prime256v1 -genkey -noout -out key.pem", "",
                    "does not belong to the CA certificate"
                ),
                ("expired", "", "-not_after 20200101000000Z -not_before 20190101000000Z", "expired at 2020-01-01"),
                ("no CA", "", "-addext basicConstraints=critical,CA:FALSE", "is not a CA's"),
                (
                    "no cRLSign", "", "-addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign",
                    "keyUsage lacks cRLSign"
                ),
                ("RSA 1024", "rsa", "", "which is under 2048"),
                (
                    "old encryption", "pkey -in key.pem -traditional -aes128 -passout pass:secret -out old.pem && mv old.pem key.pem", "",
                    "openssl pkcs8 -topk8 -v2 aes-256-cbc"
                ),
            ])
        func refusedImports(name: String, key: String, certificate: String, words: String) throws {
            let place = try Workplace()
            defer { place.end() }
            func openssl(_ line: String) throws { try place.must(["/bin/sh", "-c", "cd '\(place.directory)' && openssl \(line)"]) }
            try openssl(key == "rsa" ? "genrsa -out key.pem 1024" : "ecparam -name prime256v1 -genkey -noout -out key.pem")
            try place.write(
                "[req]\ndistinguished_name = dn\n[dn]\n[ca]\ndefault_ca = a\n[a]\ndatabase = \(place.path("index"))\nserial = \(place.path("serial"))\nnew_certs_dir = \(place.directory)\ndefault_md = sha256\npolicy = p\nx509_extensions = v3\n[p]\ncommonName = supplied\n[v3]\nbasicConstraints = critical,CA:TRUE\n",
                to: "ca.cnf")
            if certificate.hasPrefix("-not_after") {
                // openssl req of this version sets no dates: openssl ca does.
                try place.write("", to: "index")
                try openssl("req -new -config ca.cnf -key key.pem -subj '/CN=Old CA' -out r.pem")
                try openssl(
                    "ca -batch -config ca.cnf -selfsign -keyfile key.pem -in r.pem -create_serial -startdate 20190101000000Z -enddate 20200101000000Z -notext -out c.pem"
                )
            } else {
                let extensions = certificate.isEmpty ? "-addext basicConstraints=critical,CA:TRUE" : certificate
                try openssl("req -x509 -new -config ca.cnf -key key.pem -subj '/CN=Old CA' -days 30 \(extensions) -out c.pem")
            }
            if !key.isEmpty, key != "rsa" { try openssl(key) }
            try place.write("secret", to: "password")
            let refused = try place.run([
                Self.ctl, "init", "--ca-key", place.path("key.pem"), "--ca-cert", place.path("c.pem"), "--ca-password-file",
                place.path("password"),
                "--data-dir", place.path("data"), "--run-dir", place.path("run"),
            ])
            #expect(refused.code == 1 && refused.errors.contains(words), "\(name): \(refused.errors)")
            #expect(refused.errors.split(separator: "\n").last?.hasPrefix("ca-ctl: ") == true, "\(refused.errors)")
            #expect(!FileManager.default.fileExists(atPath: place.path("data/ca.key")))
        }

        @Test("under key_storage: encrypted and seed the secrets can be credentials of the service, for init and for every start")
        func credentials() throws {
            let place = try Workplace()
            defer { place.end() }
            mkdir(place.path("credentials"), 0o700)
            try place.write("a seed for the credentials 0123456789", to: "credentials/seed", mode: 0o400)
            try place.write("the password of the key", to: "credentials/ca-key-password", mode: 0o400)
            let environment = ["CREDENTIALS_DIRECTORY": place.path("credentials")]
            let port = ["--port", "\(try Ports.freePair())"]
            for storage in ["seed", "encrypted"] {
                let places = ["--data-dir", place.path(storage), "--run-dir", place.path("run")]
                mkdir(place.path(storage), 0o700)
                try place.write("key_storage: \(storage)\n", to: "\(storage)/ca.config.yml")
                let without = try place.run([Self.ctl, "init"] + places)
                #expect(storage == "seed" || without.code == 1, "\(without.errors)")
                if storage == "seed" {
                    try FileManager.default.removeItem(atPath: place.path(storage))
                    mkdir(place.path(storage), 0o700)
                    try place.write("key_storage: \(storage)\n", to: "\(storage)/ca.config.yml")
                }
                let made = try place.run([Self.ctl, "init"] + places, environment: environment)
                #expect(made.code == 0, "\(made.errors)")
                #expect(FileManager.default.fileExists(atPath: place.path("\(storage)/ca.key")) == (storage == "encrypted"))
                let up = try place.start([Self.ctl, "up", "--no-init"] + port + places, environment: environment)
                let ready = try place.run([Self.ctl, "status", "--wait", "20"] + places)
                #expect(ready.code == 0, "\(up.output)\(up.errors)")
                up.signal(SIGTERM)
                #expect(try up.finish(within: .seconds(10)).code == 0)
                let refused = try place.run([Self.ctl, "up", "--no-init"] + port + places)
                #expect(refused.code == 1 && (refused.output + refused.errors).contains("credential"), "\(refused.errors)")
            }
        }

        @Test("docs/RECOVERY.md, word by word: a CA is lost and made again, found again in a backup, and says what the document says")
        func drill() throws {
            let document = try String(contentsOfFile: "\(Checkout.documents)/RECOVERY.md", encoding: .utf8)
            let blocks = Drill.blocks(of: document)
            #expect(blocks.count > 8 && blocks.allSatisfy { !$0.commands.isEmpty })
            let place = try Workplace()
            defer { place.end() }
            let variables = try Self.lose(place)
            let script =
                "set -e\n" + variables.map { "export \($0)='\($1)'\n" }.joined()
                + "trap '[ -z \"$CA\" ] || kill $CA 2> /dev/null || true; wait' EXIT\n"
                + blocks.enumerated().map { "echo '@@ \($0)'\n\($1.commands)\n" }.joined() + "echo '@@ end'\n"
            try place.write(script, to: "drill.sh")
            let run = try place.run(
                ["/bin/bash", "-c", "exec /bin/bash '\(place.path("drill.sh"))' 2>&1"],
                environment: ["PATH": "\(Checkout.programs):/usr/bin:/bin"], within: .seconds(180))
            #expect(run.code == 0 && run.output.hasSuffix("@@ end\n"), "\(run.output)")
            let parts = run.output.components(separatedBy: "@@ ").dropFirst()
            for (block, part) in zip(blocks, parts) {
                let lines = part.split(separator: "\n").dropFirst().map(String.init)
                if let missing = block.firstMissing(in: lines) {
                    Issue.record("after\n\(block.commands)\nnothing was said like\n\(missing)\nbut\n\(lines.joined(separator: "\n"))")
                }
            }
        }

        /// A CA that issued three certificates and revoked two is lost with its disk; what is left of it is what the document names.
        private static func lose(_ place: Workplace) throws -> [(String, String)] {
            let port = try Ports.freePair()
            let subject = "/C=FR/O=Example/CN=Example Root CA"
            try place.write("the seed of the drill 0123456789", to: "seed")
            let places = ["--data-dir", place.path("data"), "--run-dir", place.path("run")]
            try place.must([Self.ctl, "init", "--seed-file", place.path("seed"), "--key-type", "ec-p384", "--subject", subject] + places)
            let up = try place.start([Self.ctl, "up", "--no-init", "--port", "\(port)"] + places)
            #expect(try place.run([Self.ctl, "status", "--wait", "30"] + places).code == 0)
            mkdir(place.path("certificates"), 0o700)
            for name in ["a", "b", "c"] {
                try place.write(try place.csr("/CN=\(name).example.com"), to: "\(name).csr")
                try place.must(
                    [Self.ctl, "cert", "sign", place.path("\(name).csr"), "--out", place.path("certificates/\(name).pem")] + places)
            }
            try place.must([Self.ctl, "cert", "revoke", "b.example.com", "--reason", "keyCompromise"] + places)
            try place.must([Self.ctl, "cert", "revoke", "c.example.com"] + places)
            try place.must([Self.ctl, "crl", "generate"] + places)
            try place.must([Self.ctl, "crl", "show", "--out", place.path("last.pem")] + places)
            up.signal(SIGKILL)
            _ = try up.finish(within: .seconds(5))
            try waitUntil("the CA is gone") { place.processes().isEmpty }
            for name in ["data", "run"] { try FileManager.default.removeItem(atPath: place.path(name)) }
            return [
                ("UPKI_DATA_DIR", place.path("data")), ("UPKI_RUN_DIR", place.path("run")), ("CA_PORT", "\(port)"),
                ("SEED_FILE", place.path("seed")), ("CA_KEY_TYPE", "ec-p384"), ("CA_SUBJECT", subject),
                ("LAST_CRL", place.path("last.pem")),
                ("OLD_CERTIFICATES", place.path("certificates")), ("BACKUP", place.path("backup.tar.gz")),
            ]
        }
    }
}

/// A document's commands and what it says comes out of them.
private enum Drill {
    struct Block {
        var commands: String
        var said: [String] = []

        /// The first line that the output has not, looked for in order; "…" stands for anything.
        func firstMissing(in lines: [String]) -> String? {
            var rest = lines[...]
            for expected in said {
                guard let found = rest.firstIndex(where: { Drill.matches($0, expected) }) else { return expected }
                rest = rest[(found + 1)...]
            }
            return nil
        }
    }

    /// The fenced blocks: those marked `sh` are commands, those marked `text` are what the commands before them say.
    static func blocks(of document: String) -> [Block] {
        var blocks: [Block] = []
        var fence: String?
        for line in document.split(separator: "\n", omittingEmptySubsequences: false).map(String.init) {
            if line.hasPrefix("```") {
                fence = fence == nil ? String(line.dropFirst(3)) : nil
                if fence == "sh" { blocks.append(Block(commands: "")) }
            } else if fence == "sh" {
                blocks[blocks.count - 1].commands += (blocks[blocks.count - 1].commands.isEmpty ? "" : "\n") + line
            } else if fence == "text" {
                blocks[blocks.count - 1].said.append(line)
            }
        }
        return blocks
    }

    static func matches(_ line: String, _ pattern: String) -> Bool {
        let parts = pattern.components(separatedBy: "…")
        guard line.hasPrefix(parts[0]) else { return false }
        var rest = line.dropFirst(parts[0].count)
        for part in parts.dropFirst().dropLast() {
            guard let range = rest.firstRange(of: part) else { return false }
            rest = rest[range.upperBound...]
        }
        return parts.count == 1 ? rest.isEmpty : rest.hasSuffix(parts[parts.count - 1])
    }
}
