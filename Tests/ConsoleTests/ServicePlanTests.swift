// What `up` starts: order, arguments, and no secret among them.
import AdminLink
import Glibc
import Settings
import Supervision
import Testing
import ca_ctl

@Suite("The services of ca-ctl up")
struct ServicePlanTests {
    /// A folder with programs that can be executed, as far as anyone looks.
    private static func withPrograms(_ body: (ProgramPaths) throws -> Void) throws {
        var template = Array("/tmp/upki-plan-XXXXXX".utf8CString)
        let folder = String(cString: try #require(mkdtemp(&template)))
        for name in Self.programs { close(open("\(folder)/\(name)", O_CREAT | O_WRONLY, 0o700)) }
        defer {
            for name in Self.programs { unlink("\(folder)/\(name)") }
            rmdir(folder)
        }
        try body(ProgramPaths(folder: folder))
    }

    private static let programs = ["ca-core", "ca-registrar", "ca-ocsp-bridge"]

    private static func plan(host: String = "127.0.0.1", seedFile: String? = nil) throws -> ServicePlan {
        ServicePlan(
            locations: try Locations(dataFlag: "/data", runFlag: "/run/x", environment: [:], isRoot: true, currentDirectory: "/"),
            host: try #require(HostAddress(host)), port: 5000, registrarPort: 5001, logFormat: "json", logLevel: "info", seedFile: seedFile)
    }

    @Test("core first, then front, registrar and bridge, each with the arguments that its program takes")
    func arguments() throws {
        try Self.withPrograms { programs in
            let services = try Self.plan().services(programs)
            #expect(services.map(\.name) == ["core", "front", "registrar", "ocsp"])
            #expect(services.map(\.after) == [[], ["core"], ["core"], ["core"]])
            #expect(services.map(\.isEssential) == [true, true, false, false])
            #expect(services.map(\.mayBeMissing) == [false, false, false, true])
            #expect(services.map(\.hasFolder) == [false, false, false, true])
            #expect(
                services[0].arguments == [
                    "serve", "--data-dir", "/data", "--port", "5000", "--run-dir", "/run/x", "--log-format", "json", "--log-level", "info",
                ])
            #expect(
                services[1].arguments == [
                    "front", "--run-dir", "/run/x", "--listen", "tcp://127.0.0.1:5000", "--log-format", "json", "--log-level", "info",
                ])
            #expect(
                services[2].arguments == [
                    "--run-dir", "/run/x", "--listen", "tcp://127.0.0.1:5001", "--log-format", "json", "--log-level", "info",
                ])
            #expect(services[2].executable == "\(programs.folder)/ca-registrar")
            #expect(
                services[3].arguments == [
                    "--run-dir", "/run/x", "--socket", "/run/x/ocsp/http.sock", "--metrics-socket", "/run/x/ocsp/metrics.sock",
                    "--socket-mode", "0660", "--cache", "64", "--max-connections", "1024", "--log-format", "json", "--log-level", "info",
                ])
            #expect(services[3].executable == "\(programs.folder)/ca-ocsp-bridge")
        }
    }

    @Test("nothing of the environment is handed on, and every service is watched")
    func environment() throws {
        setenv("UPKI_CA_SEED", "a seed that nobody may see", 1)
        defer { unsetenv("UPKI_CA_SEED") }
        try Self.withPrograms { programs in
            for service in try Self.plan(seedFile: "/run/credentials/seed").services(programs) {
                #expect(service.environment.isEmpty)
                #expect(!service.arguments.contains { $0.contains("a seed that nobody may see") })
                #expect(service.watchdogInterval == .seconds(10))
            }
            #expect(try Self.plan(seedFile: "/s").services(programs)[0].arguments.contains("/s"))
        }
    }

    @Test("the files with seed and key password are named to the core alone")
    func secretFiles() throws {
        try Self.withPrograms { programs in
            var plan = try Self.plan(seedFile: "/run/credentials/x/seed")
            plan.keyPasswordFile = "/run/credentials/x/ca-key-password"
            let services = try plan.services(programs)
            #expect(
                services[0].arguments[7...10] == [
                    "--seed-file", "/run/credentials/x/seed", "--key-password-file", "/run/credentials/x/ca-key-password",
                ])
            for service in services.dropFirst() { #expect(!service.arguments.contains { $0.contains("credentials") }) }
        }
    }

    @Test("an IPv6 address stands in brackets")
    func ipv6() throws {
        #expect(try Self.plan(host: "::1").places(5000) == "tcp://[::1]:5000")
    }

    @Test("a program that is not there is named, with where it was looked for")
    func missingProgram() throws {
        #expect {
            _ = try Self.plan().services(ProgramPaths(folder: "/nonexistent"))
        } throws: { error in
            (error as? AdminLinkError)?.message.hasPrefix("the program ca-core is not in /nonexistent") ?? false
        }
    }
}

@Suite("The note about where the CA listens")
struct ListenersTests {
    @Test("it is read as it was written, and nothing else is")
    func roundTrip() {
        let listeners = Listeners(host: "::1", port: 5000, front: "tcp://[::1]:5000", registrar: "tcp://[::1]:5001")
        #expect(listeners.json.text == #"{"host":"::1","port":5000,"front":"tcp://[::1]:5000","registrar":"tcp://[::1]:5001"}"#)
        #expect(Listeners(listeners.json) == listeners)
        #expect(Listeners(["host": "::1"]) == nil)
    }
}

@Suite("Profiles between files and tasks")
struct ProfileJSONTests {
    @Test("a profile's file goes out as JSON and comes back as the same file")
    func roundTrip() throws {
        let text = """
            keyType: rsa
            keyLen: 3072
            duration: 90
            subject: {C: FR, O: Example}
            keyUsage: [digitalSignature]
            extendedKeyUsage: [clientAuth]
            """
        let profile = try ProfileFile.parse(text, file: "mine.yml")
        let json = ProfileJSON.json(ProfileFile.tree(profile))
        #expect(
            json.text
                == #"{"keyType":"rsa","keyLen":3072,"duration":90,"digest":"sha256","altnames":true,"subject":{"C":"FR","O":"Example"},"#
                + #""keyUsage":["digitalSignature"],"extendedKeyUsage":["clientAuth"],"certType":"user"}"#)
        #expect(try ProfileJSON.fileText(json, name: "mine") == ProfileFile.render(profile))
    }
}
