// The doctor's table and its look at systemd units, with folders and a tool of the test's own.
import Console
import Foundation
import OCSPClient
import PKI
import Testing
import UPKIProtocol
import ca_ctl

@Suite("The doctor's report")
struct DoctorReportTests {
    private static let report = DoctorReport([
        .init("clock", .ok, "2026-11-23T15:47:05Z is after every record"),
        .init("registration", .warn, "open until 2026-11-24T15:47:05Z", do: "ca-ctl registrar close"),
        .init("crl", .fail, "no CRL is published", do: "ca-ctl crl generate"),
        .init("permissions", .fail, "/d/ca.key has the mode 644", do: "chmod 600 /d/ca.key"),
    ])

    private static func command(_ words: String) -> String { "ca-ctl \(words) --data-dir /d" }

    @Test("one line for each check, with what to do as it can be typed")
    func text() {
        #expect(
            Self.report.text(width: .max, command: Self.command) == """
                ok    clock         2026-11-23T15:47:05Z is after every record
                warn  registration  open until 2026-11-24T15:47:05Z: ca-ctl registrar close --data-dir /d
                FAIL  crl           no CRL is published: ca-ctl crl generate --data-dir /d
                FAIL  permissions   /d/ca.key has the mode 644: chmod 600 /d/ca.key

                """)
        #expect(Self.report.failures == 2)
    }

    @Test("it fits narrow terminals", arguments: [80, 40, 30])
    func width(columns: Int) {
        for line in Self.report.text(width: columns, command: Self.command).split(separator: "\n") { #expect(line.count <= columns) }
    }

    @Test("JSON is stable")
    func json() {
        #expect(
            DoctorReport([.init("crl", .fail, "none", do: "ca-ctl crl generate")]).json(command: Self.command).text
                == #"[{"check":"crl","level":"fail","found":"none","do":"ca-ctl crl generate --data-dir /d"}]"#)
    }

    @Test("what ca-core answers is taken as it is, and a level that is not known is a failure")
    func findings() throws {
        func line(_ level: String) throws -> DoctorReport.Line {
            DoctorReport.Line(try JSON(parsing: Array(#"{"check":"x","level":"\#(level)","found":"f","do":"d"}"#.utf8)))
        }
        #expect(try line("warn") == .init("x", .warn, "f", do: "d"))
        #expect(try line("worse").level == .fail)
    }

    @Test("the bridge: answering, complaining, silent, or with a certificate that nobody renewed")
    func bridge() {
        let now = UnixTime(1_795_448_825)
        func line(_ health: Result<HTTPAnswer, OCSPClientError>, signerEndsIn seconds: Int64? = nil) -> DoctorReport.Line {
            let report = seconds.map { seconds in
                BridgeReport(["signers": [["live": true, "not_after": .integer(now.seconds + seconds)]]])
            }
            return BridgeCheck.line(health, report: report, socket: "/r/ocsp/http.sock", now: now)
        }
        let well = Result<HTTPAnswer, OCSPClientError>.success(HTTPAnswer(status: 200))
        #expect(line(well) == .init("ocsp", .ok, "answers at /r/ocsp/http.sock"))
        #expect(
            line(well, signerEndsIn: 86_400)
                == .init("ocsp", .ok, "answers at /r/ocsp/http.sock, signing certificate until 2026-11-24T15:47:05Z (in 1 d)"))
        #expect(
            line(well, signerEndsIn: 43_199)
                == .init(
                    "ocsp", .warn, "the signing certificate ends at 2026-11-24T03:47:04Z (in 11 h 59 min) and was not renewed",
                    do: "ca-ctl ocsp show"))
        #expect(
            line(.success(HTTPAnswer(status: 503, body: Array("there is no CRL yet\nca-core was not heard yet\n".utf8))))
                == .init("ocsp", .fail, "there is no CRL yet; ca-core was not heard yet", do: "ca-ctl ocsp show"))
        #expect(
            line(.failure(OCSPClientError(.unreachable, "nobody answers at /r/ocsp/http.sock: No such file or directory")))
                == .init(
                    "ocsp", .fail, "runs, but nobody answers at /r/ocsp/http.sock: No such file or directory", do: "ca-ctl ocsp restart"))
    }

    // MARK: Units

    /// A folder with a file in it, and a tool that says this and ends so.
    private func check(unit: String?, tool: String?) throws -> DoctorReport.Line {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("upki-units-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        if let unit {
            try "[Service]\nExecStrat=/bin/true\n".write(to: folder.appendingPathComponent(unit), atomically: false, encoding: .utf8)
        }
        let path = folder.appendingPathComponent("tool").path
        if let tool {
            try "#!/bin/sh\n\(tool)\n".write(toFile: path, atomically: false, encoding: .utf8)
            chmod(path, 0o700)
        }
        return UnitCheck(folders: ["/nonexistent/units", folder.path], tool: path).line()
    }

    @Test("no unit of ours is no fault; units of others are none of our business")
    func noUnits() throws {
        #expect(try check(unit: nil, tool: "exit 1").level == .ok)
        #expect(try check(unit: "nginx.service", tool: "exit 1").level == .ok)
        #expect(try check(unit: "ca-core.service.d", tool: "exit 1").level == .ok)
    }

    @Test("systemd is asked about ours, and its first line is the finding")
    func units() throws {
        let good = try check(
            unit: "ca-core.service", tool: #"test "$1 $2" = "verify --recursive-errors=no" && test "${3##*/}" = ca-core.service"#)
        #expect(good.level == .ok, "\(good.found)")
        let bad = try check(
            unit: "ca-front.service", tool: "echo \"ca-front.service:2: Unknown key name 'ExecStrat'\" >&2; echo more; exit 1")
        #expect(bad.level == .fail && bad.found == "ca-front.service:2: Unknown key name 'ExecStrat'")
        #expect(bad.remedy.hasSuffix("/ca-front.service") && bad.remedy.contains(" verify "))
        #expect(try check(unit: "ca-core.service", tool: nil).level == .warn)
    }
}
