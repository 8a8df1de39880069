// Starting: what init makes, what a wrong configuration says, which listeners are refused.
import Foundation
import Glibc
import Testing
import UPKIProtocol

extension IntegrationTests {
    @Suite("starting and the configuration")
    struct StartTests {
        private let ctl = "\(Checkout.programs)/ca-ctl"

        private func places(_ place: Workplace) -> [String] { ["--data-dir", place.path("data"), "--run-dir", place.path("run")] }

        @Test(
            "up initialises an empty directory, says where it listens, its fingerprint and how an RA registers, and shows seed and token once"
        )
        func up() throws {
            let place = try Workplace()
            defer { place.end() }
            let port = try Ports.freePair()
            let up = try place.start([self.ctl, "up", "--port", "\(port)"] + self.places(place))
            let ready = try place.run([self.ctl, "status", "--wait", "30"] + self.places(place))
            #expect(ready.code == 0, "\(ready.errors)\(up.errors)")
            try up.waitFor("upkireg_")
            let said = up.output + up.errors
            let fingerprint =
                try place.must(["/usr/bin/openssl", "x509", "-in", place.path("data/ca.crt"), "-noout", "-fingerprint", "-sha256"])
                .trimmingCharacters(in: .whitespacesAndNewlines).components(separatedBy: "=").last ?? "?"
            #expect(said.contains(fingerprint) && said.contains("\(port)") && said.contains("\(port + 1)"), "\(said)")
            up.signal(SIGTERM)
            #expect(try up.finish(within: .seconds(10)).code == 0)
            // The second start makes nothing and shows no secret.
            let again = try place.start([self.ctl, "up", "--port", "\(port)"] + self.places(place))
            #expect(try place.run([self.ctl, "status", "--wait", "30"] + self.places(place)).code == 0)
            again.signal(SIGTERM)
            let second = try again.finish(within: .seconds(10))
            #expect(!(second.output + second.errors).contains("upkireg_") && (second.output + second.errors).contains(fingerprint))
        }

        @Test("init twice is harmless, a start with another seed is refused, and the seed is printed once where none was given")
        func initTwice() throws {
            let place = try Workplace()
            defer { place.end() }
            let first = try place.run([self.ctl, "init", "--json"] + self.places(place))
            #expect(first.code == 0, "\(first.errors)")
            let made = try JSON(parsing: Array(first.output.utf8))
            #expect(made["created"] == true && made["seed"]?.stringValue?.count == 43)
            let key = try place.read("data/ca.key")
            let second = try place.run([self.ctl, "init", "--json"] + self.places(place))
            #expect(second.code == 0, "\(second.errors)")
            let kept = try JSON(parsing: Array(second.output.utf8))
            #expect(kept["created"] == false && kept["seed"] == nil && kept["fingerprint"] == made["fingerprint"])
            #expect(try place.read("data/ca.key") == key)
            let other = try place.run([self.ctl, "init", "--seed-stdin"] + self.places(place), input: "another seed 0123456789 abcdefghij")
            #expect(other.code == 1, "\(other.output)\(other.errors)")
            let weak = try place.run(
                [self.ctl, "init", "--seed-stdin", "--data-dir", place.path("weak"), "--run-dir", place.path("run")], input: "short")
            #expect(weak.code == 1 && !FileManager.default.fileExists(atPath: place.path("weak/ca.key")), "\(weak.errors)")
        }

        @Test("an existing CA of openssl is imported and goes on signing under its name")
        func imported() throws {
            let place = try Workplace()
            defer { place.end() }
            try place.must([
                "/usr/bin/openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                place.path("old.key"), "-out",
                place.path("old.crt"), "-subj", "/O=Old/CN=Old Root", "-days", "3000", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
            ])
            chmod(place.path("old.key"), 0o600)
            try withCA(["--ca-key", place.path("old.key"), "--ca-cert", place.path("old.crt")]) { ca in
                #expect(ca.made["subject"] == "/O=Old/CN=Old Root" && ca.made["seed"] == nil)
                try ca.register()
                let signed = try ca.data("sign", ["csr": .string(try place.csr("/CN=new.example.com"))])
                try place.write(signed["certificate"]?.stringValue ?? "", to: "new.pem")
                #expect(
                    try place.must(["/usr/bin/openssl", "verify", "-CAfile", place.path("old.crt"), place.path("new.pem")]).contains("OK"))
            }
        }

        @Test(
            "an unknown key or a bad value is named with file and line, and nothing starts",
            arguments: [
                ("crl_valdity: 3 days", "crl_valdity"), ("port: 70000", "port"), ("clients: everyone", "register"),
                ("password: secret", "password_file"),
                ("security: tls", "curve"),
            ])
        func wrongConfiguration(line: String, word: String) throws {
            let place = try Workplace()
            defer { place.end() }
            try place.must([self.ctl, "init"] + self.places(place))
            let lines = ((try? place.read("data/ca.config.yml")) ?? "").split(separator: "\n", omittingEmptySubsequences: false)
                .filter { !$0.hasPrefix(line.prefix { $0 != ":" } + ":") }
            try place.write(lines.joined(separator: "\n") + (lines.last == "" ? "" : "\n") + line + "\n", to: "data/ca.config.yml")
            let number =
                try place.read("data/ca.config.yml").split(separator: "\n", omittingEmptySubsequences: false).firstIndex { $0 == line }
                ?? -2
            let port = try Ports.freePair()
            let arguments = line.hasPrefix("port") ? [] : ["--port", "\(port)"]
            let started = try place.run([self.ctl, "up", "--no-init"] + arguments + self.places(place))
            #expect(started.code == 1, "\(started.code)")
            #expect(started.errors.contains("ca.config.yml:\(number + 1)") && started.errors.contains(word), "\(started.errors)")
        }

        @Test("plain on an address that is not loopback is refused without a list of nodes; a seed in the file is taken out of it")
        func hostAndSeed() throws {
            let place = try Workplace()
            defer { place.end() }
            try place.must([self.ctl, "init"] + self.places(place))
            let file = try place.read("data/ca.config.yml")
            try place.write(file + "\nsecurity: plain\n", to: "data/ca.config.yml")
            let refused = try place.run(
                [self.ctl, "up", "--no-init", "--host", "0.0.0.0", "--port", "\(try Ports.freePair())"] + self.places(place))
            #expect(refused.code == 1 && refused.errors.contains("this needs nodes"), "\(refused.errors)")
            try place.write(file, to: "data/ca.config.yml")

            // A new CA whose seed stands in the file: accepted once, then the file is rewritten without it.
            let seed = "seed in the file 0123456789 abcdef"
            mkdir(place.path("seeded"), 0o700)
            try place.write("company: Example\nseed: \"\(seed)\"\n# a comment that stays\n", to: "seeded/ca.config.yml")
            let made = try place.run([self.ctl, "init", "--json", "--data-dir", place.path("seeded"), "--run-dir", place.path("run")])
            #expect(made.code == 0, "\(made.errors)")
            let text = try place.read("seeded/ca.config.yml")
            #expect(!text.contains(seed) && text.contains("company: Example") && text.contains("# a comment that stays"), "\(text)")
            let token = try place.run(
                [self.ctl, "seed", "token", "--data-dir", place.path("seeded"), "--run-dir", place.path("run")], input: seed)
            let facts = try JSON(parsing: Array(made.output.utf8))
            #expect(token.output.contains(facts["token"]?.stringValue ?? "?"), "\(token.errors)")
        }

        @Test("UPKI_CA_SEED makes the CA of that seed, and reaches no child")
        func seedFromEnvironment() throws {
            let place = try Workplace()
            defer { place.end() }
            let seed = "seed in the environment 0123456789"
            let port = try Ports.freePair()
            let up = try place.start(
                [self.ctl, "up", "--port", "\(port)"] + self.places(place),
                environment: ["UPKI_CA_SEED": seed, "UPKI_CA_HOST": "127.0.0.1"])
            #expect(try place.run([self.ctl, "status", "--wait", "30"] + self.places(place)).code == 0)
            let token = try place.must([self.ctl, "seed", "token"] + self.places(place), input: seed).trimmingCharacters(
                in: .whitespacesAndNewlines)
            #expect(token.hasPrefix("upkireg_"))
            try up.waitFor(token)
            #expect(!(up.output + up.errors).contains(seed))
            let children = place.processes().filter { $0.pid != up.pid }
            #expect(children.count == 4)
            for (pid, command) in children {
                let environment = String(decoding: FileManager.default.contents(atPath: "/proc/\(pid)/environ") ?? Data(), as: UTF8.self)
                #expect(!environment.contains(seed) && !environment.contains("UPKI_CA_SEED"), "\(command)")
            }
            up.signal(SIGTERM)
            #expect(try up.finish(within: .seconds(10)).code == 0)
        }

        @Test("key_storage: seed keeps no key on the disk and wants the seed at each start; encrypted keeps it under a password")
        func keyStorage() throws {
            let place = try Workplace()
            defer { place.end() }
            let port = ["--port", "\(try Ports.freePair())"]
            func upAndDown(_ options: [String]) throws {
                let up = try place.start([self.ctl, "up", "--no-init"] + port + options + self.places(place))
                let ready = try place.run([self.ctl, "status", "--wait", "20"] + self.places(place))
                #expect(ready.code == 0, "\(up.output)\(up.errors)")
                up.signal(SIGTERM)
                #expect(try up.finish(within: .seconds(10)).code == 0)
            }
            mkdir(place.path("data"), 0o700)
            try place.write("key_storage: seed\n", to: "data/ca.config.yml")
            try place.write("a seed for key storage 0123456789 xyz", to: "seed")
            try place.must([self.ctl, "init", "--seed-file", place.path("seed")] + self.places(place))
            #expect(!FileManager.default.fileExists(atPath: place.path("data/ca.key")))
            try upAndDown(["--seed-file", place.path("seed")])
            try place.write("another seed for storage 0123456789 xyz", to: "other")
            for options in [[], ["--seed-file", place.path("other")]] {
                let refused = try place.run([self.ctl, "up", "--no-init"] + port + options + self.places(place))
                #expect(refused.code == 1 && refused.errors.contains("seed"), "\(refused.errors)")
            }

            try FileManager.default.removeItem(atPath: place.path("data"))
            mkdir(place.path("data"), 0o700)
            try place.write("key_storage: encrypted\npassword_file: \(place.path("password"))\n", to: "data/ca.config.yml")
            try place.write("the password of the key\n", to: "password")
            try place.must([self.ctl, "init"] + self.places(place))
            #expect(try place.read("data/ca.key").hasPrefix("-----BEGIN ENCRYPTED PRIVATE KEY-----"))
            let opened = try place.run([
                "/usr/bin/openssl", "pkey", "-in", place.path("data/ca.key"), "-passin", "file:\(place.path("password"))", "-noout",
            ])
            #expect(opened.code == 0, "\(opened.errors)")
            try upAndDown([])
            try place.write("another password\n", to: "password")
            #expect(try place.run([self.ctl, "up", "--no-init"] + port + self.places(place)).code == 1)
        }

        @Test("a data directory or key that others can read is refused")
        func readableByOthers() throws {
            let place = try Workplace()
            defer { place.end() }
            try place.must([self.ctl, "init"] + self.places(place))
            let port = ["--port", "\(try Ports.freePair())"]
            chmod(place.path("data/ca.key"), 0o644)
            let key = try place.run([self.ctl, "up", "--no-init"] + port + self.places(place))
            #expect(key.code == 1 && (key.output + key.errors).contains("ca.key"), "\(key.errors)")
            chmod(place.path("data/ca.key"), 0o600)
            chmod(place.path("data"), 0o755)
            let directory = try place.run([self.ctl, "up", "--no-init"] + port + self.places(place))
            #expect(directory.code == 1, "\(directory.errors)")
        }

        @Test("clients: all makes every local process a node, and the log says so; clients: manual makes none of those that registered")
        func clients() throws {
            try withCA(configuration: "clients: all") { ca in
                let admins = try ca.data("list_admins")
                #expect(admins == [])
                #expect(ca.log.contains("clients: all"))
            }
            try withCA(configuration: "clients: manual") { ca in
                try ca.register()
                #expect(try ca.ask("list_admins").refusal.hasPrefix("Not authorised: list_admins needs"))
                _ = try ca.facts(["node", "remove", "ra.example.com"])
                _ = try ca.facts(["node", "add", "hand.example.com", "--address", "127.0.0.1"])
                #expect(try ca.data("list_admins") == [])
            }
        }
    }
}
