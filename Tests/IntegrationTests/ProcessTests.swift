// What the processes hold and show: sockets, children, secrets, and that none is left behind.
import Foundation
import Glibc
import TestPrograms
import Testing
import UPKIProtocol

extension IntegrationTests {
    @Suite("the processes")
    struct ProcessTests {
        private func proc(_ pid: pid_t, _ name: String) -> String {
            String(decoding: FileManager.default.contents(atPath: "/proc/\(pid)/\(name)") ?? Data(), as: UTF8.self)
        }

        /// The inodes of the sockets that a process has open.
        private func sockets(_ pid: pid_t) -> Set<String> {
            let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/fd")) ?? []
            return Set(
                names.compactMap { try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(pid)/fd/\($0)") }
                    .filter { $0.hasPrefix("socket:[") }.map { String($0.dropFirst(8).dropLast()) })
        }

        /// The inodes of all TCP and UDP sockets of the machine.
        private func networkSockets() -> Set<String> {
            Set(
                ["tcp", "tcp6", "udp", "udp6", "raw", "raw6"].flatMap { table in
                    ((try? String(contentsOfFile: "/proc/net/\(table)", encoding: .utf8)) ?? "").split(separator: "\n").dropFirst()
                        .compactMap { $0.split(separator: " ").dropFirst(9).first.map(String.init) }
                })
        }

        @Test("the core has no TCP socket and no child, also under load; the front has, and knows no key")
        func coreIsAlone() throws {
            try withCA { ca in
                try ca.register()
                _ = try ca.ask((0..<20).map { ("generate", ["cn": .string("host\($0).example.com")]) })
                let core = try ca.pid(of: "serve")
                let front = try ca.pid(of: "front")
                let network = self.networkSockets()
                #expect(self.sockets(core).intersection(network).isEmpty)
                #expect(!self.sockets(front).intersection(network).isEmpty, "this test sees TCP sockets")
                #expect(self.sockets(ca.supervisorPID).intersection(network).isEmpty)
                let threads = try FileManager.default.contentsOfDirectory(atPath: "/proc/\(core)/task")
                for thread in threads { #expect(self.proc(core, "task/\(thread)/children").isEmpty) }
                for pid in [front, try ca.pid(of: "ca-registrar")] {
                    let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/fd")) ?? []
                    let open = names.compactMap { try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(pid)/fd/\($0)") }
                    #expect(open.allSatisfy { !$0.hasPrefix(ca.data) }, "\(open)")
                }
            }
        }

        @Test("an internal fault is answered with an id that the log holds with its cause, and shows no more")
        func internalError() throws {
            try withCA { ca in
                try ca.register()
                let serial = try #require(try ca.data("generate", ["cn": "torn.example.com"])["serial"]?.stringValue)
                #expect(try ca.stop() == 0)
                // A stored certificate that cannot be read any more: nothing a client sends brings the core there.
                let program =
                    "import sqlite3,sys\ndb=sqlite3.connect(sys.argv[1])\ndb.execute(\"UPDATE certificate SET der = x'30' WHERE common_name = 'torn.example.com'\")\ndb.commit()\n"
                _ = try ca.place.must([try Checkout.python("0.1.6"), "-c", program, "\(ca.data)/db/ca.sqlite"])
                try ca.start()
                let answer = try ca.ask("view", ["serial": .string(serial)])
                let message = try #require(answer["MSG"]?.stringValue)
                #expect(message.hasPrefix("Internal error "))
                let id = String(message.dropFirst("Internal error ".count))
                #expect(id.utf8.count > 8 && !id.contains(" "))
                try waitUntil("the log holds the id") { ca.log.contains(id) }
                #expect(try ca.ask("get_ca")["EVENT"] == "ANSWER")
            }
        }

        @Test("no seed, token or key stands in the arguments, environment or log of any process, or in a file that others can read")
        func secrets() throws {
            let seed = "do not show this seed: 7f3a9c51e0b24d68"
            try withCA(seed: seed) { ca in
                try ca.register()
                let more = try ca.facts(["registrar", "open"])["token"]?.stringValue ?? "?"
                let wrong = "another secret that is not the seed 123"
                _ = try ca.ask("register", ["seed": .string(wrong), "cn": "x.example.com"])
                _ = try ca.ask("register", ["seed": .string(seed), "cn": "seeded.example.com"])
                _ = try ca.facts(["seed", "verify"], input: seed)
                let generated = try ca.data("generate", ["cn": "k.example.com", "local": false])["private_key"]?.stringValue ?? "?"
                let keyLine = generated.split(separator: "\n").dropFirst().first.map(String.init) ?? "?"
                let caKeyLine =
                    try String(contentsOfFile: "\(ca.data)/ca.key", encoding: .utf8).split(separator: "\n").dropFirst().first.map(
                        String.init) ?? "?"
                let secrets = [seed, ca.token, more, wrong, keyLine, caKeyLine]
                #expect(secrets.allSatisfy { $0.count > 10 })
                let processes = ca.place.processes()
                #expect(processes.count >= 4)
                for (pid, command) in processes {
                    let shown = self.proc(pid, "cmdline") + self.proc(pid, "environ")
                    for secret in secrets { #expect(!shown.contains(secret), "\(command)") }
                }
                for secret in secrets { #expect(!ca.log.contains(secret)) }
                // The audit log and the store keep what was done, not with what.
                let audit = try ca.facts(["audit", "show"]).text
                for secret in secrets { #expect(!audit.contains(secret)) }
                let files = try #require(FileManager.default.enumerator(atPath: ca.data))
                while let name = files.nextObject() as? String {
                    let path = "\(ca.data)/\(name)"
                    let attributes = try FileManager.default.attributesOfItem(atPath: path)
                    guard attributes[.type] as? FileAttributeType == .typeRegular else { continue }
                    let bytes = FileManager.default.contents(atPath: path) ?? Data()
                    for secret in [seed, ca.token, more, wrong, keyLine] { #expect(bytes.range(of: Data(secret.utf8)) == nil, "\(name)") }
                    let isPublic =
                        name.hasPrefix("published/") || ["ca.crt", "crl.pem", "cert.pem"].contains((name as NSString).lastPathComponent)
                    if !isPublic {
                        #expect(((attributes[.posixPermissions] as? NSNumber)?.intValue ?? 0o777) & 0o077 == 0, "\(name)")
                    }
                }
                var status = stat()
                #expect(stat(ca.data, &status) == 0 && status.st_mode & 0o777 == 0o700)
                #expect(stat("\(ca.data)/ca.key", &status) == 0 && status.st_mode & 0o777 == 0o600)
            }
        }

        @Test("ca-ctl killed with -9 takes all its children with it, and the next start works")
        func supervisorKilled() throws {
            try withCA { ca in
                try ca.register()
                #expect(try ca.stop(SIGKILL) == -SIGKILL)
                try waitUntil("no process is left") { ca.place.processes().isEmpty }
                try ca.start()
                #expect(try ca.data("list_admins") == [])
            }
        }

        @Test("Ctrl-C stops everything in order within 5 s and ends with 0")
        func interrupted() throws {
            try withCA { ca in
                let start = ContinuousClock.now
                let code = try ca.stop(SIGINT)
                #expect(code == 0)
                #expect(ContinuousClock.now - start < .seconds(5))
                #expect(ca.place.processes().isEmpty)
            }
        }

        @Test("a second ca-ctl up and a second ca-core on the same directory are refused")
        func second() throws {
            try withCA { ca in
                let up = try ca.ctl(["up", "--no-init", "--port", "\(try Ports.freePair())"])
                #expect(up.code == 1 && !up.errors.isEmpty, "\(up.output)\(up.errors)")
                let core = try ca.place.run([
                    "\(Checkout.programs)/ca-core", "serve", "--data-dir", ca.data, "--run-dir", ca.place.path("other"),
                ])
                #expect(core.code != 0, "\(core.errors)")
                #expect(try ca.data("get_ca").stringValue?.contains("BEGIN CERTIFICATE") == true)
            }
        }
    }
}
