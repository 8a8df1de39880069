// Running ca-core: secrets by pipe alone, its words passed on, and no wait that cannot end.
import AdminLink
import Foundation
import Glibc
import TestPrograms
import Testing
import UPKIProtocol

@Suite("Running ca-core")
struct CoreRunTests {
    private static let secret = "a seed that nobody may see"

    /// A folder whose `ca-core` is this shell script.
    private func withCore(_ script: String, _ body: (ProgramPaths, String) throws -> Void) throws {
        var template = Array("/tmp/upki-run-XXXXXX".utf8CString)
        let folder = String(cString: try #require(mkdtemp(&template)))
        defer { try? FileManager.default.removeItem(atPath: folder) }
        // By another process: a file that this one holds open for writing while a parallel test forks cannot be executed (ETXTBSY).
        try ProgramRun.run(
            ["/bin/sh", "-c", "printf '%s\\n' '#!/bin/sh' \"$SCRIPT\" > \"$0\"; chmod 700 \"$0\"", "\(folder)/ca-core"],
            environment: ["SCRIPT": script, "PATH": "/usr/bin:/bin"])
        try body(ProgramPaths(folder: folder), folder)
    }

    @Test("no argument holds a secret, whatever is asked")
    func noSecretInArguments() {
        var wishes = CoreRun.Wishes()
        wishes.keyType = "ec-p384"
        wishes.subject = "/O=Example/CN=Root"
        wishes.company = "Example"
        wishes.allowsWeakSeed = true
        wishes.recovers = true
        wishes.lists = ["/a.pem", "/b.pem"]
        wishes.keyPasswordFile = "/password"
        let origin = CoreRun.Origin(seed: Self.secret, authorityKey: Self.secret, authorityCertificate: "cert", password: Self.secret)
        let runs = [
            CoreRun.initialise(dataDirectory: "/data", origin, wishes),
            CoreRun.export(dataDirectory: "/data", commonName: "www", password: Self.secret),
            CoreRun.token(dataDirectory: "/data", seed: Self.secret),
        ]
        for run in runs {
            #expect(!run.arguments.contains { $0.contains(Self.secret) })
            #expect(run.input.text.contains(Self.secret))
        }
        #expect(
            runs[0].arguments == [
                "init", "--until-shown", "--data-dir", "/data", "--key-type", "ec-p384", "--subject", "/O=Example/CN=Root", "--company",
                "Example", "--key-password-file", "/password", "--crl", "/a.pem", "--crl", "/b.pem", "--weak-seed", "--recover",
            ])
        #expect(runs[1].arguments == ["export", "--data-dir", "/data", "--cn", "www", "--pkcs12"])
        #expect(
            CoreRun.export(dataDirectory: "/data", commonName: "www", password: nil).arguments == [
                "export", "--data-dir", "/data", "--cn", "www",
            ])
        #expect(CoreRun.environment() == ["UPKI_SUPERVISED=\(getpid())"])
    }

    @Test("the process that is really started has the secret on standard input, and in neither arguments nor environment")
    func realProcess() throws {
        setenv("UPKI_CA_SEED", Self.secret, 1)
        defer { unsetenv("UPKI_CA_SEED") }
        let script =
            "here=$(dirname \"$0\"); tr '\\0' '\\n' < /proc/$$/cmdline > $here/args; tr '\\0' '\\n' < /proc/$$/environ > $here/env; cat"
        try withCore(script) { programs, folder in
            let output = try CoreRun.token(dataDirectory: "/data", seed: Self.secret).run(programs) { _ in }
            #expect(String(decoding: output, as: UTF8.self) == #"{"seed":"\#(Self.secret)"}"#)
            let arguments = try String(contentsOfFile: "\(folder)/args", encoding: .utf8)
            let environment = try String(contentsOfFile: "\(folder)/env", encoding: .utf8)
            #expect(arguments == "/bin/sh\n\(folder)/ca-core\ntoken\n--data-dir\n/data\n--log-format\njson\n")
            #expect(environment == "UPKI_SUPERVISED=\(getpid())\n")
        }
    }

    @Test("progress is passed on, and the error becomes the refusal's own words")
    func words() throws {
        let script = """
            echo '{"level":"info","program":"ca-core","message":"deriving keys"}' >&2
            echo '{"level":"warning","program":"ca-core","message":"take care"}' >&2
            echo '{"level":"error","program":"ca-core","message":"The seed is too short"}' >&2
            exit 1
            """
        try withCore(script) { programs, _ in
            var progress: [String] = []
            let error = #expect(throws: AdminLinkError.self) {
                _ = try CoreRun.token(dataDirectory: "/data", seed: Self.secret).run(programs) { progress.append($0) }
            }
            #expect(error?.code == .refused)
            #expect(error?.message == "The seed is too short")
            #expect(progress == ["deriving keys", "warning: take care"])
        }
    }

    @Test("a program that speaks otherwise, says nothing, or is killed is told as well")
    func otherEnds() throws {
        func failure(_ script: String) throws -> AdminLinkError? {
            var error: AdminLinkError?
            try withCore(script) { programs, _ in
                error = #expect(throws: AdminLinkError.self) {
                    _ = try CoreRun.token(dataDirectory: "/d", seed: "s").run(programs) { _ in }
                }
            }
            return error
        }
        #expect(try failure("echo 'Error: unknown option' >&2; exit 64")?.message == "Error: unknown option")
        #expect(try failure("exit 3")?.message == "ca-core token ended with exit code 3")
        let killed = try failure("kill -9 $$")
        #expect(killed?.code == .program)
        #expect(killed?.message == "ca-core token was ended by signal 9")
        #expect(throws: AdminLinkError.self) {
            _ = try CoreRun.token(dataDirectory: "/d", seed: "s").run(ProgramPaths(folder: "/nonexistent")) { _ in }
        }
    }

    @Test("neither a program that never reads nor one that prints while it is written to can block the other")
    func noDeadlock() throws {
        let long = String(repeating: "x", count: 1_000_000)
        try withCore("exit 0") { programs, _ in
            let output = try CoreRun.token(dataDirectory: "/d", seed: long).run(programs) { _ in }
            #expect(output.isEmpty)
        }
        try withCore("cat; cat /dev/null; head -c 300000 /dev/zero >&2") { programs, _ in
            let output = try CoreRun.token(dataDirectory: "/d", seed: long).run(programs) { _ in }
            #expect(output.count == long.utf8.count + #"{"seed":""}"#.utf8.count)
        }
    }

    @Test("output without end is cut off, and the program with it")
    func endless() throws {
        try withCore("cat /dev/zero") { programs, _ in
            let error = #expect(throws: AdminLinkError.self) {
                _ = try CoreRun.token(dataDirectory: "/d", seed: "s").run(programs) { _ in }
            }
            #expect(error?.code == .program)
        }
    }
}
