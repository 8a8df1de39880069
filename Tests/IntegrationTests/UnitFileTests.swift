// The units that are shipped, by systemd's own word.
import Foundation
import Testing

extension IntegrationTests {
    @Suite(
        "Units",
        .enabled(
            if: access("/usr/bin/systemd-analyze", X_OK) == 0,
            "skipped: /usr/bin/systemd-analyze is not on this machine, and only it can judge units"))
    struct UnitFileTests {
        private static let units = ["upki-tunnel.service"]

        @Test("are without a mistake, and expose little", arguments: units)
        func good(unit: String) throws {
            let place = try Workplace()
            defer { place.end() }
            // The program of this checkout, since none may be installed; and no manual pages are.
            let text = try String(contentsOfFile: "\(Checkout.root)/deploy/systemd/\(unit)", encoding: .utf8)
                .replacingOccurrences(of: "/usr/local/bin/ca-ctl", with: "\(Checkout.programs)/ca-ctl")
                .split(separator: "\n", omittingEmptySubsequences: false).filter { !$0.hasPrefix("Documentation=") }.joined(separator: "\n")
            try place.write(text, to: unit, mode: 0o644)
            let verified = try place.run(["/usr/bin/systemd-analyze", "verify", "--recursive-errors=no", place.path(unit)])
            #expect(verified.code == 0 && verified.errors.isEmpty, "\(verified.errors)")
            let judged = try place.run(["/usr/bin/systemd-analyze", "security", "--offline=true", "--threshold=15", place.path(unit)])
            #expect(judged.code == 0, "\(judged.output.suffix(500))")
            // The command itself is one that this ca-ctl understands.
            let command = try #require(text.split(separator: "\n").first { $0.hasPrefix("ExecStart=") }).split(separator: " ").dropFirst()
            let help = try place.run(["\(Checkout.programs)/ca-ctl"] + command.map(String.init) + ["--help"])
            #expect(help.code == 0, "\(help.errors)")
        }
    }
}
