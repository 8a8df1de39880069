// ca-ocsp-bridge as a process: what it needs, what openssl makes of its answers, what it survives, how it ends.
import Foundation
import OCSPResponder
import RevocationFormats
import Synchronization
import TestPrograms
import Testing
import Threads
import UPKIProtocol
import X509

@Suite("ca-ocsp-bridge", .serialized)
struct BridgeProgramTests {
    private let directory: TemporaryDirectory
    private let ca: TestCA
    private var socket: String { "\(directory.path)/http.sock" }

    init() throws {
        directory = try TemporaryDirectory()
        ca = try TestCA(now: Int64(Date().timeIntervalSince1970))
    }

    private func core(instance: String = "first", _ change: (inout TestCore.World) -> Void = { _ in }) throws -> TestCore {
        var world = TestCore.World(ca: ca, now: { Int64(Date().timeIntervalSince1970) })
        world.beatsByItself = true
        world.statuses = ["1": ("good", 0, ""), "4": ("revoked", 1_700_000_000, "keyCompromise")]
        world.crl = ("7", [0x30, 0], 1_700_000_000, 4_000_000_000)
        change(&world)
        return try TestCore(directory.path, world, instance: instance)
    }

    private func program(_ more: [String] = [], environment: [String: String] = [:]) throws -> ProgramRun {
        try bridge(["--run-dir", directory.path, "--socket", socket] + more, environment: environment)
    }

    private func health() throws -> String {
        try ProgramRun.run(["curl", "-s", "--max-time", "20", "--unix-socket", socket, "http://localhost/healthz"]).output
    }

    private func waitUntilHealthy() throws {
        let patience = Date(timeIntervalSinceNow: 30)
        while try health() != "ok\n" {
            guard Date() < patience else { throw TestFailure("not healthy within 30 s: \(try health())") }
            usleep(5_000)
        }
    }

    @Test(
        "openssl makes requests, verifies the answers and reads the statuses out of them",
        arguments: [["-sha1"], ["-sha256"], ["-sha1", "-no_nonce"], ["-sha256", "-no_nonce"]])
    func openssl(_ options: [String]) throws {
        let core = try core()
        defer { core.stop() }
        let program = try program()
        defer { program.end() }
        try waitUntilHealthy()
        let pem = "\(directory.path)/ca.pem"
        try Data(ca.der).write(to: URL(fileURLWithPath: "\(directory.path)/ca.der"))
        try ProgramRun.must(["openssl", "x509", "-inform", "DER", "-in", "\(directory.path)/ca.der", "-out", pem])
        let request = "\(directory.path)/request"
        let response = "\(directory.path)/response"
        let hash = [options[0]]
        let nonce = Array(options.dropFirst())
        for (serial, status) in [("1", "good"), ("4", "revoked"), ("5", "unknown")] {
            let question = ["ocsp", "-issuer", pem] + hash + ["-serial", serial]
            try ProgramRun.must(["openssl"] + question + nonce + ["-reqout", request])
            try ProgramRun.must(
                [
                    "curl", "-s", "-f", "--unix-socket", socket, "-H", "Content-Type: application/ocsp-request", "--data-binary",
                    "@\(request)",
                    "-o", response, "http://localhost/ocsp",
                ])
            // With its request openssl compares nonces, with a serial number it looks for the status: never both.
            let whole = try ProgramRun.run(["openssl", "ocsp", "-reqin", request, "-respin", response, "-CAfile", pem])
            #expect(whole.code == 0 && whole.errors.contains("Response verify OK"), "\(whole)")
            // It warns of a nonce that was not echoed, and fails with one that is another.
            #expect(!whole.errors.contains("WARNING"), "\(whole)")
            let read = try ProgramRun.run(["openssl"] + question + ["-no_nonce", "-respin", response, "-CAfile", pem])
            #expect(read.code == 0 && read.errors.contains("Response verify OK"), "\(read)")
            #expect(read.output.contains(": \(status)\n"), "\(read)")
            if status == "revoked" {
                #expect(
                    read.output.contains("Reason: keyCompromise\n") && read.output.contains("Revocation Time: Nov 14 22:13:20 2023 GMT"))
            }
        }
    }

    @Test("says READY once it can answer, tells figures on a socket of their own, and ends in order on SIGTERM")
    func life() throws {
        let notify = try NotifySocket("\(directory.path)/notify")
        let metrics = "\(directory.path)/metrics.sock"
        let program = try program(["--metrics-socket", metrics, "--cache", "8"], environment: ["NOTIFY_SOCKET": notify.path])
        defer { program.end() }
        #expect(try notify.wait(for: "STATUS=waiting for ca-core") == "STATUS=waiting for ca-core")
        let core = try core()
        defer { core.stop() }
        let ready = try notify.wait(for: "READY=1")
        #expect(ready.contains("STATUS=answering, signing certificate for 4"), "\(ready)")
        try waitUntilHealthy()
        let figures = try ProgramRun.run(["curl", "-s", "--unix-socket", metrics, "http://localhost/metrics"]).output
        #expect(figures.contains("upki_ocsp_core{state=\"live\"} 1\n"), "\(figures)")
        #expect(figures.contains("\nupki_ocsp_certifications_total{outcome=\"issued\"} 1\n"))
        let page = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("../../docs/OPERATIONS.md")
        let documented = try String(contentsOf: page, encoding: .utf8)
        let families = figures.split(separator: "\n").filter { $0.hasPrefix("# TYPE ") }.map { $0.split(separator: " ")[2] }
        #expect(families.count > 25)
        for family in families { #expect(documented.contains("`\(family)"), "\(family) is not documented") }
        let status = try JSON(
            parsing: Array(ProgramRun.run(["curl", "-s", "--unix-socket", metrics, "http://localhost/status"]).output.utf8))
        #expect(status.at("core", "instance") == "first" && status.at("crl", "number") == "7")
        program.signal(SIGTERM)
        #expect(try program.finish().code == 0)
        #expect(try notify.wait(for: "STOPPING=1").contains("STOPPING=1"))
        #expect(!FileManager.default.fileExists(atPath: socket) && !FileManager.default.fileExists(atPath: metrics))
    }

    @Test("healthz says what it waits for, and it goes on with the core that comes, and with the one after that")
    func cores() throws {
        let program = try program()
        defer { program.end() }
        try program.waitForSocket(socket)
        #expect(try health() == "ca-core was not heard yet\nthere is no signing certificate yet\nthere is no CRL yet\n")
        let first = try core()
        try waitUntilHealthy()
        first.stop()
        let patience = Date(timeIntervalSinceNow: 30)
        while try health() == "ok\n", Date() < patience { usleep(5_000) }
        #expect(try health().contains("ca-core is not heard for"))
        let second = try core(instance: "second")
        defer { second.stop() }
        try waitUntilHealthy()
        // The key is the same: it was certified once.
        #expect(second.certificationRequests.count == 0)
        program.signal(SIGTERM)
        #expect(try program.finish().code == 0)
        #expect(program.errors.contains("ca-core was started again"))
    }

    @Test("stopped with a question in flight, it does not say afterwards what it was told before")
    func stopped() throws {
        let core = try core()
        defer { core.stop() }
        let program = try program()
        defer { program.end() }
        try waitUntilHealthy()
        let request = try OCSPRequest(certIDs: [OCSPCertID(form: .sha1, issuer: ca.issuer, serialNumber: [1])]).serialized
        let client = try HTTPTestClient(socket)
        try client.send(HTTPTestClient.post(request.count), request)
        #expect(try OCSPResponse(der: client.response().body).basic?.responses.first?.status == .good)
        #expect(try core.questions.next() == ["1"])
        // Without heartbeats it begins to ask, and gets no answer yet.
        core.world.withLock { ($0.beatsByItself, $0.holdsStatuses) = (false, true) }
        repeat { try client.send(HTTPTestClient.post(request.count), request) } while try !asks(core, client)
        try program.pause()
        // It is told `good`, and only then the certificate is revoked.
        try core.release()
        core.set("1", "revoked", time: 1_700_000_000, reason: "keyCompromise")
        core.world.withLock { $0.beatsByItself = true }
        // Longer than a core may be silent.
        usleep(700_000)
        program.signal(SIGCONT)
        #expect(
            try OCSPResponse(der: client.response().body).basic?.responses.first?.status
                == .revoked(at: 1_700_000_000, reason: .keyCompromise))
        program.signal(SIGTERM)
        #expect(try program.finish().code == 0)
    }

    /// Whether the last request went to the core; else its answer, from what is kept, is read.
    private func asks(_ core: TestCore, _ client: HTTPTestClient) throws -> Bool {
        var questions: [[String]] = []
        if core.questions.take(upTo: 1, into: &questions, within: 200_000_000), questions == [["1"]] { return true }
        #expect(try client.response().status == 200)
        return false
    }

    @Test("options that make no sense are refused in words")
    func options() throws {
        let mode = try program(["--socket-mode", "rw"])
        #expect(try mode.finish().code == 64 && mode.errors.contains("octal number such as 0660"))
        let cache = try program(["--cache", "0"])
        #expect(try cache.finish().code == 1 && cache.errors.contains("numbers from 1 on"))
        let nowhere = try bridge(["--run-dir", directory.path, "--socket", "\(directory.path)/none/http.sock"])
        #expect(try nowhere.finish().code == 1)
        #expect(nowhere.errors.contains("\(directory.path)/none/"), "\(nowhere.errors)")
    }
}

/// The ca-ocsp-bridge that was built beside these tests.
private func bridge(_ arguments: [String], environment: [String: String] = [:]) throws -> ProgramRun {
    try ProgramRun(["\(ProgramRun.builtPrograms)/ca-ocsp-bridge"] + arguments, environment: environment)
}

extension ProgramRun {
    /// Stops it as SIGSTOP does; returns when it stands still.
    fileprivate func pause() throws {
        self.signal(SIGSTOP)
        try waitUntil("it has stopped") {
            // The letter of proc(5): it follows the name, which ends with the last parenthesis.
            let text = try String(contentsOfFile: "/proc/\(self.pid)/stat", encoding: .utf8)
            return text[(text.lastIndex(of: ")") ?? text.startIndex)...].dropFirst(2).first == "T"
        }
    }

    fileprivate func waitForSocket(_ path: String) throws {
        try waitUntil("there is a socket \(path)") {
            guard self.isRunning else { throw TestFailure("it has ended without a socket: \(self.errors)") }
            return FileManager.default.fileExists(atPath: path)
        }
    }
}
