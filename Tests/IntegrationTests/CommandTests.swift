// Every command of ca-ctl, against a real CA, with what it prints and the code it ends with.
import Foundation
import Glibc
import Testing
import UPKIProtocol

extension IntegrationTests {
    @Suite("ca-ctl")
    struct CommandTests {
        @Test("certificates: issue, sign, show, list, check, renew, hold, release, revoke, delete, export")
        func certificates() throws {
            try withCA { ca in
                let place = ca.place
                let issued = try ca.facts(["cert", "issue", "web.example.com", "--profile", "server", "--san", "alt.example.com"])
                let dn = try #require(issued["dn"]?.stringValue)
                let serial = try #require(issued["serial"]?.stringValue)
                #expect(dn.hasSuffix("/CN=web.example.com"))
                let plain = try ca.ctl(["cert", "issue", "plain.example.com"])
                #expect(plain.code == 0 && plain.output.contains("-----BEGIN CERTIFICATE-----"), "\(plain.errors)")

                try place.write(try place.csr("/CN=signed.example.com"), to: "signed.csr")
                let signed = try ca.facts(["cert", "sign", place.path("signed.csr")])
                try place.write(signed["certificate"]?.stringValue ?? "", to: "signed.pem")
                #expect(
                    try place.must(["/usr/bin/openssl", "verify", "-CAfile", "\(ca.data)/ca.crt", place.path("signed.pem")]).contains("OK"))
                let good = try ca.facts(["ocsp", "check", place.path("signed.pem")])
                #expect(good["status"] == "good" && good["serial"] == signed["serial"])

                let shown = try ca.facts(["cert", "show", dn])
                #expect(shown["serial"]?.stringValue == serial && shown["sans"]?.text.contains("alt.example.com") == true)
                let listed = try ca.facts(["cert", "list"])
                #expect(listed.text.contains(serial))
                let table = try ca.ctl(["cert", "list"])
                // Into a pipe each certificate is one line, for whoever searches in it.
                #expect(table.code == 0, "\(table.output)")
                #expect(
                    table.output.split(separator: "\n").contains {
                        $0.contains("web.example.com") && $0.contains(serial) && $0.contains("issued")
                    }, "\(table.output)")

                let renewed = try ca.facts(["cert", "renew", dn])
                #expect(renewed["serial"] != nil && renewed["serial"]?.stringValue != serial)

                let signedSerial = signed["serial"]?.stringValue ?? ""
                #expect(try ca.ctl(["cert", "revoke", "--serial", signedSerial, "--reason", "certificateHold"]).code == 0)
                #expect(try ca.facts(["ocsp", "check", place.path("signed.pem")])["status"] == "revoked")
                #expect(try ca.ctl(["cert", "unrevoke", "--serial", signedSerial]).code == 0)
                #expect(try ca.facts(["ocsp", "check", place.path("signed.pem")])["status"] == "good")
                #expect(try ca.ctl(["cert", "revoke", "--serial", signedSerial, "--reason", "keyCompromise"]).code == 0)
                let final = try ca.ctl(["cert", "unrevoke", "--serial", signedSerial])
                #expect(
                    final.code == 1 && final.errors.hasPrefix("ca-ctl: ") && final.errors.split(separator: "\n").count == 1,
                    "\(final.errors)")

                // The key that the CA made leaves it by pipe, into a file that only its owner reads or to standard output.
                let exported = try ca.ctl(["cert", "export", "web.example.com"])
                #expect(
                    exported.code == 0 && exported.output.contains("PRIVATE KEY") && exported.output.contains("BEGIN CERTIFICATE"),
                    "\(exported.errors)")
                try place.write("export password\n", to: "password")
                let archive = try ca.ctl([
                    "cert", "export", "web.example.com", "--pkcs12", place.path("web.p12"), "--password-file", place.path("password"),
                ])
                #expect(archive.code == 0, "\(archive.errors)")
                var status = stat()
                #expect(stat(place.path("web.p12"), &status) == 0 && status.st_mode & 0o777 == 0o600)
                let opened = try place.run([
                    "/usr/bin/openssl", "pkcs12", "-in", place.path("web.p12"), "-nodes", "-passin", "pass:export password",
                ])
                #expect(opened.code == 0 && opened.output.contains("PRIVATE KEY"), "\(opened.errors)")

                #expect(try ca.ctl(["cert", "delete", dn]).code == 0)
                #expect(!FileManager.default.fileExists(atPath: "\(ca.data)/nodes/web.example.com/key.pem"))
                let missing = try ca.ctl(["cert", "show", "/CN=nobody"])
                #expect(missing.code == 1 && missing.errors.contains("Certificate not found"), "\(missing.errors)")
            }
        }

        @Test("nodes, admins, tokens and the seed")
        func people() throws {
            let seed = "operators seed 0123456789 abcdefgh"
            try withCA(seed: seed) { ca in
                #expect(try ca.ctl(["node", "add", "by-hand", "--address", "192.0.2.7"]).code == 0)
                let added = try ca.facts(["node", "show", "by-hand"])
                #expect(added["cn"] == "by-hand" && added["binding"]?.stringValue?.contains("192.0.2.7") == true)
                #expect(try ca.ctl(["node", "limit", "by-hand", "--profiles", "server,user", "--names", "*.example.com"]).code == 0)
                #expect(try ca.facts(["node", "show", "by-hand"])["profiles"] == ["server", "user"])
                let rebound = try ca.facts(["node", "rebind", "by-hand"])
                #expect(rebound["token"]?.stringValue?.hasPrefix("upkireg_") == true, "\(rebound.text)")
                try ca.register()
                let renewed = try ca.facts(["node", "renew", "ra.example.com"])
                #expect(renewed["serial"] != nil, "\(renewed.text)")
                #expect(try ca.facts(["node", "list"]).arrayValue?.count == 2)
                #expect(try ca.ctl(["node", "remove", "by-hand"]).code == 0)
                #expect(try ca.ctl(["node", "remove", "by-hand"]).code == 1)
                #expect(try ca.ctl(["node", "list"]).output.contains("ra.example.com"))

                let name = #"/C=FR/O=Müller \/ Fils/CN=Ad+min"#
                #expect(try ca.ctl(["admin", "add", name]).code == 0)
                #expect(try ca.facts(["admin", "list"]) == .array([.string(name)]))
                #expect(try ca.data("list_admins") == .array([.string(name)]))
                #expect(try ca.ctl(["admin", "remove", name]).code == 0)
                #expect(try ca.facts(["admin", "list"]) == [])

                // The token of the seed is the one that init printed: DESIGN's derivation, proven by the seed alone.
                let token = try ca.place.run(
                    ["\(Checkout.programs)/ca-ctl", "seed", "token", "--json", "--data-dir", ca.data, "--run-dir", ca.run],
                    input: seed + "\n")
                #expect(token.code == 0 && token.output.contains(ca.token), "\(token.errors)")
                #expect(try ca.ctl(["seed", "verify"], input: seed).code == 0)
                let wrong = try ca.ctl(["seed", "verify"], input: "another seed 0123456789 abcdefgh")
                #expect(wrong.code == 1, "\(wrong.errors)")
                let rotated = try ca.facts(["seed", "token", "--rotate"], input: seed)
                #expect(rotated["token"]?.stringValue?.hasPrefix("upkireg_") == true && rotated["token"]?.stringValue != ca.token)
                let old = try ca.ask("register", ["seed": .string(ca.token), "cn": "late.example.com", "profile": "server"])
                #expect(old.refusal == "Invalid registration seed")
                let new = try ca.ask("register", ["seed": rotated["token"] ?? .null, "cn": "late.example.com", "profile": "server"])
                #expect(new["EVENT"] == "ANSWER", "\(new.text)")

                let tokens = try ca.facts(["token", "list"]).arrayValue ?? []
                let live = try #require(
                    tokens.first { $0["live"] == true && $0["kind"] != "standing" } ?? tokens.first { $0["live"] == true })
                #expect(try ca.ctl(["token", "revoke", live["id"]?.stringValue ?? ""]).code == 0)
                #expect(try ca.facts(["token", "list"]).arrayValue?.first { $0["id"] == live["id"] }?["live"] == false)
            }
        }

        @Test("profiles, CRL, audit, status, reload and completions")
        func operation() throws {
            try withCA { ca in
                try ca.register()
                let place = ca.place
                try place.write(
                    "keyType: ec\nduration: 10\nkeyUsage: [digitalSignature]\nextendedKeyUsage: [clientAuth]\n", to: "short.yml")
                let added = try ca.ctl(["profile", "add", place.path("short.yml")])
                #expect(added.code == 0, "\(added.errors)")
                #expect(try ca.facts(["profile", "list"]).text.contains("short"))
                #expect(try ca.facts(["profile", "show", "short"])["duration"]?.integerValue == 10)
                let signed = try ca.data("sign", ["csr": .string(try place.csr("/CN=short.example.com")), "profile": "short"])
                try place.write(signed["certificate"]?.stringValue ?? "", to: "short.pem")
                #expect(
                    try place.run(["/usr/bin/openssl", "x509", "-in", place.path("short.pem"), "-noout", "-checkend", "\(11 * 86_400)"])
                        .code == 1)
                try place.write("keyType: ec\nduratoin: 10\n", to: "wrong.yml")
                let wrong = try ca.ctl(["profile", "add", place.path("wrong.yml")])
                #expect(wrong.code == 1 && wrong.errors.contains("wrong.yml:2") && wrong.errors.contains("duratoin"), "\(wrong.errors)")
                #expect(try ca.ctl(["profile", "remove", "short"]).code == 0)
                let builtIn = try ca.ctl(["profile", "remove", "server"])
                #expect(builtIn.code == 1, "\(builtIn.errors)")

                let before = try ca.facts(["crl", "show"])
                #expect(try ca.ctl(["crl", "generate"]).code == 0)
                let after = try ca.facts(["crl", "show"])
                #expect((after["number"]?.integerValue ?? 0) > (before["number"]?.integerValue ?? 0), "\(before.text) \(after.text)")

                let audit = try ca.facts(["audit", "show"])
                #expect(audit.text.contains("sign") && audit.text.contains("ra.example.com"))
                let verdict = try ca.facts(["audit", "verify"])
                #expect(verdict["good"] == true)
                let follow = try place.start([
                    "\(Checkout.programs)/ca-ctl", "audit", "show", "--follow", "--json", "--data-dir", ca.data, "--run-dir", ca.run,
                ])
                _ = try ca.data("sign", ["csr": .string(try place.csr("/CN=followed.example.com"))])
                try follow.waitFor("followed.example.com")
                follow.signal(SIGINT)
                _ = try follow.finish(within: .seconds(5))

                let status = try ca.facts(["status"])
                for word in ["core", "front", "registrar", "running"] { #expect(status.text.contains(word), "\(word): \(status.text)") }
                let people = try ca.ctl(["status"])
                #expect(people.code == 0 && people.output.contains("front"), "\(people.output)\(people.errors)")
                let reloaded = try ca.ctl(["reload"])
                #expect(reloaded.code == 0, "\(reloaded.errors)")
                for shell in ["bash", "zsh", "fish"] {
                    let completions = try ca.place.run(["\(Checkout.programs)/ca-ctl", "completions", shell])
                    #expect(completions.code == 0 && completions.output.contains("registrar"))
                }
            }
        }

        @Test("codes: 0 done, 1 refused, 2 usage, 3 the CA cannot be reached; --help everywhere")
        func codes() throws {
            let place = try Workplace()
            defer { place.end() }
            let ctl = "\(Checkout.programs)/ca-ctl"
            let places = ["--data-dir", place.path("data"), "--run-dir", place.path("run")]
            for command in [["node", "list"], ["status"], ["registrar", "close"], ["audit", "verify"]] {
                let away = try place.run([ctl] + command + places)
                #expect(away.code == 3 && away.errors.hasPrefix("ca-ctl: "), "\(command): \(away.code) \(away.errors)")
            }
            for command in [
                ["nonsense"], ["cert", "revoke"], ["up", "--port", "many"], ["completions", "tcsh"],
                ["registrar", "open", "--for", "soon"],
            ] {
                let wrong = try place.run([ctl] + command + (command.count > 1 && command[0] != "completions" ? places : []))
                #expect(wrong.code == 2, "\(command): \(wrong.code) \(wrong.errors)")
            }
            let noInit = try place.run([ctl, "up", "--no-init"] + places)
            #expect(noInit.code == 1 && noInit.errors.contains("ca-ctl: "), "\(noInit.errors)")
            let commands = [
                [], ["init"], ["up"], ["status"], ["registrar"], ["registrar", "open"], ["seed", "token"], ["token", "list"],
                ["admin", "add"],
                ["node", "limit"], ["cert", "issue"], ["cert", "export"], ["crl", "show"], ["profile", "add"], ["ocsp", "check"],
                ["audit", "show"], ["reload"],
            ]
            for command in commands {
                let help = try place.run([ctl] + command + ["--help"])
                #expect(help.code == 0 && help.output.contains("USAGE"), "\(command)")
            }
        }
    }
}
