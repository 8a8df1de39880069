// The operator's comfort: what is printed fits the terminal, nothing takes longer than a second in silence, errors name the next command.
import Foundation
import Testing
import UPKIProtocol

extension IntegrationTests {
    @Suite("Comfort")
    struct ComfortTests {
        /// Runs a command where standard output and standard error are terminals.
        private static func inTerminal(_ columns: Int, _ command: [String], in place: Workplace) throws -> (
            code: Int64, output: String, errors: String
        ) {
            let result = try place.peer("terminal.py", ["\(columns)"] + command)
            return (result["code"]?.integerValue ?? -1, result["output"]?.stringValue ?? "", result["errors"]?.stringValue ?? "")
        }

        @Test("tables fit terminals of 80 and of 40 columns, with nothing left out")
        func width() throws {
            try withCA { ca in
                try ca.register("registration-authority-1.example.com")
                #expect(
                    try ca.ctl(["admin", "add", "/C=FR/O=An Organisation With A Long Name/CN=registration-authority-1.example.com"]).code
                        == 0)
                #expect(
                    try ca.ctl(["cert", "issue", "a-rather-long-host-name.department.example.com", "--san", "other.example.com"]).code == 0)
                #expect(try ca.ctl(["registrar", "open"]).code == 0)
                let commands = [
                    ["status"], ["registrar", "status"], ["node", "list"], ["node", "show", "registration-authority-1.example.com"],
                    ["admin", "list"], ["token", "list"], ["cert", "list"],
                    ["cert", "show", "a-rather-long-host-name.department.example.com"],
                    ["crl", "show"], ["crl", "generate"], ["profile", "list"], ["audit", "show"], ["doctor"],

                ]
                let wide = [["status"], ["cert", "list"], ["audit", "show"], ["doctor"]]
                for (columns, command) in commands.map({ (40, $0) }) + wide.map({ (80, $0) }) {
                    let places = ["--data-dir", ca.data, "--run-dir", ca.run]
                    let shown = try Self.inTerminal(columns, ["\(Checkout.programs)/ca-ctl"] + command + places, in: ca.place)
                    #expect(shown.code == 0 && !shown.output.isEmpty, "\(command): \(shown.output)\(shown.errors)")
                    // A certificate is for programs.
                    let text = shown.output.split(separator: "\n").prefix { !$0.hasPrefix("-----BEGIN") }
                    for line in text { #expect(line.count <= columns, "\(command) at \(columns): '\(line)'") }
                }
                // Narrow columns break a name, and lose nothing of it.
                let list = try Self.inTerminal(
                    40, ["\(Checkout.programs)/ca-ctl", "admin", "list", "--data-dir", ca.data, "--run-dir", ca.run], in: ca.place)
                let letters = list.output.filter { !$0.isWhitespace }
                #expect(letters.contains("/C=FR/O=AnOrganisationWithALongName/CN=registration-authority-1.example.com"), "\(list.output)")
            }
        }

        @Test("a key that takes seconds has a sign of life on a terminal, which is gone in the end; a pipe hears nothing of it")
        func progress() throws {
            let place = try Workplace()
            defer { place.end() }
            let command = ["\(Checkout.programs)/ca-ctl", "init", "--key-type", "rsa-4096"]
            func places(_ name: String) -> [String] { ["--data-dir", place.path(name), "--run-dir", place.path("run")] }
            let piped = try place.run(command + places("piped"))
            #expect(piped.code == 0 && !piped.errors.contains("…"), "\(piped.errors)")
            // Random keys take a different time each: until one takes more than a second.
            for round in 0..<20 {
                let shown = try Self.inTerminal(60, command + places("shown-\(round)"), in: place)
                #expect(shown.code == 0 && shown.output.contains("THE SEED"), "\(shown.output)\(shown.errors)")
                guard shown.errors.contains("making the CA … 1 s") else { continue }
                #expect(shown.errors.hasSuffix("\r\u{1b}[K"), "\(shown.errors.debugDescription)")
                return
            }
            Issue.record("twenty RSA keys of 4096 bits within a second each")
        }

        @Test("what is not there is refused in one line that names the list to look at")
        func nextCommand() throws {
            try withCA { ca in
                for (command, next) in [
                    (["cert", "show", "/CN=nobody"], "ca-ctl cert list"), (["cert", "revoke", "nobody"], "ca-ctl cert list"),
                    (["cert", "issue", "www.example.com", "--profile", "nosuch"], "ca-ctl profile list"),
                    (["node", "show", "nobody"], "ca-ctl node list"), (["node", "remove", "nobody"], "ca-ctl node list"),
                    (["token", "revoke", "nosuch"], "ca-ctl token list"), (["profile", "show", "nosuch"], "ca-ctl profile list"),
                    (["profile", "remove", "nosuch"], "ca-ctl profile list"), (["admin", "remove", "/CN=nobody"], "ca-ctl admin list"),
                    (["cert", "export", "nobody"], "ca-ctl cert issue"),
                ] {
                    let refused = try ca.ctl(command)
                    #expect(refused.code == 1 && refused.errors.contains(next), "\(command): \(refused.errors)")
                    #expect(refused.errors.hasPrefix("ca-ctl: ") && refused.errors.split(separator: "\n").count == 1, "\(refused.errors)")
                }
            }
        }
    }
}
