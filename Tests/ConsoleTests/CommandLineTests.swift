// The command line: every line that is promised is understood, everything else ends with 2, and the shape of the others' exit codes.
import ArgumentParser
import Console
import Foundation
import TestPrograms
import Testing
import ca_ctl

@Suite("The command line")
struct CommandLineTests {
    /// Each line of the promised list, every form of it.
    static let promised = """
        init
        init --seed-file F
        init --seed-stdin
        init --seed S
        init --key-type ec-p256
        init --key-type ec-p384
        init --key-type ed25519
        init --key-type rsa-2048
        init --key-type rsa-3072
        init --key-type rsa-4096
        init --subject /C=FR/O=Example/CN=Root
        init --ca-key F --ca-cert F --ca-password-file F
        init --ca-key F --ca-cert F --ca-password-stdin
        init --ca-key F --ca-cert F --crl F G
        init --recover --seed-file F
        init --recover --seed-stdin --crl F G --crl H --key-type ec-p384
        up
        up --host 127.0.0.1 --port 5000 --no-init
        status
        status --wait 30
        status --wait 0.5
        registrar open
        registrar open --for 24h --max 3 --cn ra.example.com
        registrar close
        registrar status
        transport show
        transport rotate
        transport rotate --port 5010 --seed-file F
        transport finish
        transport abort
        seed token
        seed token --rotate
        seed verify
        token list
        token revoke abcd1234
        admin list
        admin add /CN=ra
        admin remove /CN=ra
        node list
        node show ra
        node add ra --address 127.0.0.1
        node limit ra --profiles server,user --names .example.com,*.example.org
        node rebind ra
        node renew ra
        node remove ra
        cert issue www.example.com
        cert issue www.example.com --profile webapp --san a.example.com --san 10.0.0.1
        cert sign csr.pem
        cert sign -
        cert renew /O=Example/CN=www.example.com
        cert revoke www.example.com
        cert revoke www.example.com --reason keyCompromise
        cert revoke --serial 0x1234 --reason 1
        cert unrevoke www.example.com
        cert unrevoke --serial 1234
        cert delete www.example.com
        cert show www.example.com
        cert show --serial 12:34
        cert list
        cert list --state revoked --limit 10 --after 1
        cert export www.example.com
        cert export www.example.com --pkcs12 F
        cert adopt F G
        cert adopt F --profile webapp
        crl generate
        crl show
        crl import F
        crl import -
        profile list
        profile show server
        profile add F
        profile remove mine
        ocsp check cert.pem
        ocsp show
        ocsp selftest
        ocsp selftest --socket S --profile server
        ocsp restart
        audit show
        audit show --follow
        audit verify
        metrics
        metrics --out upki-ca.prom
        doctor
        audit verify --offline --checkpoint F --checkpoint G
        audit checkpoint
        audit acknowledge --reason known
        reload
        completions bash
        completions zsh
        completions fish
        """.split(separator: "\n").map(String.init)

    /// Lines for other hosts than the CA's.
    static let elsewhere = """
        --identity D registrar open --cn ra.example.com
        --identity=D status
        node list --identity D
        enroll - --out D
        enroll upkienroll1.a.b --out D --cn node.example.com --names a.example.com,10.0.0.1 --profile server --json
        enroll --renew --out D
        tunnel --identity D
        tunnel --enroll - --identity D --listen 127.0.0.1:5000 --ra-dir R
        tunnel --enroll @F --identity D --listen [::1]:6000 --log-format json --log-level debug
        """.split(separator: "\n").map(String.init)

    @Test("every promised line for other hosts is understood, with --identity before the command or behind it", arguments: elsewhere)
    func understandsElsewhere(line: String) throws {
        _ = try CACtl.parseAsRoot(RemoteCommands.identityLast(words(line)))
    }

    @Test(
        "what listens beyond loopback, and a string that is none, are refused before anything is done",
        arguments: [
            ("tunnel --identity D --listen 0.0.0.0:5000", 2, "loopback"), ("tunnel --identity D --listen 192.0.2.1:5000", 2, "loopback"),
            ("tunnel --identity D --listen 127.0.0.1", 2, "ADDRESS:PORT"),
            ("tunnel --identity D --listen 127.0.0.1:65535", 2, "ADDRESS:PORT"),
            ("tunnel", 2, "--identity"), ("tunnel --identity /nonexistent/node", 1, "--enroll"), ("enroll --out D", 2, "enrolment string"),
            ("enroll nonsense --out /nonexistent/node", 1, "no enrolment string: "), ("enroll - --renew --out D", 2, "--renew"),
            ("--identity /nonexistent/node node list", 1, "ca-ctl enroll"), ("--identity D up", 1, "own host only"),
            ("--identity D doctor", 1, "own host only"), ("seed token --identity D", 1, "own host only"),
            ("--identity D transport finish", 1, "own host only"),
        ])
    func refusesElsewhere(line: String, code: Int32, part: String) throws {
        let run = try Program.run(words(line))
        #expect(run.exitCode == code && run.errors.contains(part) && run.output.isEmpty, "\(run.errors)")
    }

    /// All commands that do something, from the tree of the program itself.
    private static func leaves(_ command: any ParsableCommand.Type = CACtl.self, _ path: [String] = []) -> [String] {
        let configuration = command.configuration
        let subcommands = configuration.subcommands + configuration.groupedSubcommands.flatMap(\.subcommands)
        guard !subcommands.isEmpty else { return [path.joined(separator: " ")] }
        return subcommands.flatMap { leaves($0, path + [$0.configuration.commandName ?? "\($0)".lowercased()]) }
    }

    @Test("the documents' table says of every command whether it works from afar, and says what the program does")
    func table() throws {
        let page = try String(contentsOfFile: "\(Self.root)/docs/OPERATIONS.md", encoding: .utf8)
        let rows = page.components(separatedBy: "| from afar, by a listed admin |")[1].components(separatedBy: "\n\n")[0].split(
            separator: "\n"
        ).dropFirst(2)
        func names(_ column: Int) -> [String] {
            rows.flatMap { row -> [String] in
                let cells = row.split(separator: "|", omittingEmptySubsequences: false)
                // Names stand between backticks, and a remark in brackets is none.
                return cells[column + 1].components(separatedBy: "(")[0].components(separatedBy: "`").enumerated()
                    .filter { $0.offset % 2 == 1 }.map(\.element)
            }
        }
        #expect(Set(names(0)) == RemoteCommands.names)
        #expect(Set(names(0) + names(1) + ["enroll", "tunnel", "completions"]) == Set(Self.leaves()))
    }

    private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().path

    @Test("every promised line is understood", arguments: promised)
    func understands(line: String) throws {
        _ = try CACtl.parseAsRoot(words(line))
    }

    @Test("every command that prints takes the directories and --json", arguments: promised.filter { !$0.hasPrefix("completions") })
    func takesSharedOptions(line: String) throws {
        _ = try CACtl.parseAsRoot(words(line) + ["--data-dir", "/d", "--run-dir", "/r", "--json"])
    }

    /// The commands of the promised lines, each once.
    private static let commands: [String] = {
        let groups: Set<Substring> = [
            "registrar", "seed", "token", "admin", "node", "cert", "crl", "profile", "ocsp", "audit", "transport",
        ]
        let all = promised.map { line in
            let words = line.split(separator: " ")
            return words.prefix(groups.contains(words[0]) ? 2 : 1).joined(separator: " ")
        }
        return Set(all + ["enroll", "tunnel"]).sorted()
    }()

    @Test("every command has help", arguments: commands)
    func hasHelp(command: String) throws {
        let run = try Program.run(words(command) + ["--help"])
        #expect(run.exitCode == 0)
        #expect(run.output.contains("USAGE: ca-ctl \(command)"))
    }

    @Test(
        "what contradicts itself or is out of range is refused before anything is done",
        arguments: [
            "frobnicate", "cert", "cert frobnicate", "cert revoke", "cert revoke a --serial 1", "registrar open --for tomorrow",
            "registrar open --max 0",
            "init --seed a --seed-stdin", "init --ca-key F", "init --ca-password-file F", "init --key-type rsa-1024",
            "init --seed S --ca-key F --ca-cert F", "init --ca-password-stdin", "init --crl F", "init --recover --ca-key F --ca-cert F",
            "init --seed-stdin --crl F", "init --ca-key F --ca-cert F --ca-password-file F --ca-password-stdin", "init --recover --crl",
            "crl import", "crl import F G",
            "up --port 0", "up --port 65535", "up --port x", "up --log-format pretty", "status --wait -1", "status --wait soon",
            "node limit ra", "node add ra",
            "node limit ra --names a --any-name", "node rebind ra --address 127.0.0.1 --for 1h", "cert list --limit 0",
            "audit show --limit 0", "audit acknowledge",
            "cert export a --pkcs12 F --out G", "cert export a --password-file F", "cert issue a --days 0", "crl show --der",
            "status extra",
        ])
    func refuses(line: String) throws {
        let run = try Program.run(words(line) + ["--data-dir", "/nonexistent/upki"].filter { _ in line != "cert" && line != "frobnicate" })
        #expect(run.exitCode == (line == "cert" ? 0 : 2))
        if run.exitCode == 2 {
            #expect(run.errors.hasPrefix("ca-ctl: "))
            #expect(run.errors.filter { $0 == "\n" }.count == 1)
            #expect(run.errors.contains("see: ca-ctl help"))
            #expect(run.output.isEmpty)
        }
    }

    @Test("the line for a wrong command line names the help of that command")
    func namesHelp() throws {
        #expect(try Program.run(["cert", "revoke"]).errors.hasSuffix("see: ca-ctl help cert revoke\n"))
        #expect(try Program.run(["registrar", "open", "--for", "x"]).errors.hasSuffix("see: ca-ctl help registrar open\n"))
        #expect(try Program.run(["frobnicate"]).errors.hasSuffix("see: ca-ctl help\n"))
    }

    @Test(
        "a CA that is not there ends every command that asks it with 3 and names the next command",
        arguments: promised.filter { line in
            let withoutCA = [
                "init", "up", "seed token", "cert export", "completions", "profile add", "ocsp check", "ocsp show", "ocsp restart",
                "cert sign", "crl import F",
                "cert adopt F", "metrics --out", "doctor", "audit verify --offline",
            ]
            return !withoutCA.contains(where: line.hasPrefix) || line == "seed token --rotate"
        })
    func cannotReach(line: String) throws {
        let run = try Program.run(words(line).map { $0 == "30" ? "0.1" : $0 } + ["--data-dir", "/nonexistent/upki"])
        #expect(run.exitCode == 3)
        #expect(run.errors.hasPrefix("ca-ctl: cannot reach the CA"))
        #expect(run.errors.hasSuffix("is it running? ca-ctl up --data-dir /nonexistent/upki\n"))
        #expect(run.output.isEmpty)
    }

    @Test("what asks the bridge or its supervisor ends with 3 too, and says what to look at", arguments: ["show", "restart"])
    func cannotReachBridge(command: String) throws {
        let run = try Program.run(["ocsp", command, "--data-dir", "/nonexistent/upki"])
        #expect(run.exitCode == 3)
        #expect(run.errors.hasPrefix("ca-ctl: ") && run.errors.contains("ca-ctl \(command == "show" ? "status" : "up") --data-dir"))
        #expect(run.errors.filter { $0 == "\n" }.count == 1 && run.output.isEmpty)
    }

    @Test(
        "what is refused before the CA is asked ends with 1 and one line",
        arguments: [
            "up --no-init --data-dir /nonexistent/upki", "up --host ca.example.com --data-dir /nonexistent/upki",
            "profile add /nonexistent/p.yml",
            "cert sign /nonexistent/c.pem", "ocsp check /nonexistent/c.pem",
            "init --seed-file /nonexistent/seed --data-dir /nonexistent/upki", "init --recover --data-dir /nonexistent/upki",
            "init --recover --seed-file /nonexistent/seed --crl /nonexistent/crl.pem --data-dir /nonexistent/upki",
            "crl import /nonexistent/crl.pem --data-dir /nonexistent/upki",
        ])
    func refusedHere(line: String) throws {
        let run = try Program.run(words(line))
        #expect(run.exitCode == 1)
        #expect(run.errors.hasPrefix("ca-ctl: "))
        #expect(run.errors.filter { $0 == "\n" }.count == 1)
        #expect(run.output.isEmpty)
    }

    @Test("--no-init names the command that makes a CA, as it can be typed")
    func noInitNamesInit() throws {
        let run = try Program.run(["up", "--no-init", "--data-dir", "/nonexistent/my ca"])
        #expect(run.errors.hasSuffix("run: ca-ctl init --data-dir '/nonexistent/my ca'\n"))
    }

    @Test(
        "completions are scripts of their shell",
        arguments: [("bash", "complete -o filenames"), ("zsh", "#compdef ca-ctl"), ("fish", "complete -c 'ca-ctl'")])
    func completions(shell: String, mark: String) throws {
        let run = try Program.run(["completions", shell])
        #expect(run.exitCode == 0)
        #expect(run.output.contains(mark))
        #expect(run.output.contains("registrar"))
    }

    @Test("completions for another shell are a wrong command line")
    func noCompletions() throws {
        #expect(try Program.run(["completions", "tcsh"]).exitCode == 2)
    }

    @Test("help and version are answers on standard output")
    func helpAndVersion() throws {
        for arguments in [["--help"], ["help"], ["--version"], ["help", "cert"], [], ["cert"]] {
            let run = try Program.run(arguments)
            #expect(run.exitCode == 0)
            #expect(!run.output.isEmpty)
            #expect(run.errors.isEmpty)
        }
    }

    private func words(_ line: String) -> [String] { line.split(separator: " ").map(String.init) }
}

/// The built program, which lies beside the test executable.
enum Program {
    static func run(_ arguments: [String]) throws -> (exitCode: Int32, output: String, errors: String) {
        let finished = try ProgramRun.run(["\(ProgramRun.builtPrograms)/ca-ctl"] + arguments, environment: ["HOME": "/nonexistent"])
        return (finished.code, finished.output, finished.errors)
    }
}
