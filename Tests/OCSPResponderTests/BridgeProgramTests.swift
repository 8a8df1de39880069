// ca-ocsp-bridge as a process: what it needs, what openssl makes of its answers, what it survives, how it ends.
import Foundation
import OCSPResponder
import RevocationFormats
import Synchronization
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

    private func program(_ more: [String] = [], environment: [String: String] = [:]) throws -> Program {
        try Program(["--run-dir", directory.path, "--socket", socket] + more, environment: environment)
    }

    private func health() throws -> String {
        try Command.run("curl", ["-s", "--max-time", "20", "--unix-socket", socket, "http://localhost/healthz"]).output
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
        try Command.run("openssl", ["x509", "-inform", "DER", "-out", pem], input: Data(ca.der)).check()
        let request = "\(directory.path)/request"
        let response = "\(directory.path)/response"
        let hash = [options[0]]
        let nonce = Array(options.dropFirst())
        for (serial, status) in [("1", "good"), ("4", "revoked"), ("5", "unknown")] {
            let question = ["ocsp", "-issuer", pem] + hash + ["-serial", serial]
            try Command.run("openssl", question + nonce + ["-reqout", request]).check()
            try Command.run(
                "curl",
                [
                    "-s", "-f", "--unix-socket", socket, "-H", "Content-Type: application/ocsp-request", "--data-binary", "@\(request)",
                    "-o", response, "http://localhost/ocsp",
                ]
            ).check()
            // With its request openssl compares nonces, with a serial number it looks for the status: never both.
            let whole = try Command.run("openssl", ["ocsp", "-reqin", request, "-respin", response, "-CAfile", pem])
            #expect(whole.code == 0 && whole.errors.contains("Response verify OK"), "\(whole)")
            // It warns of a nonce that was not echoed, and fails with one that is another.
            #expect(!whole.errors.contains("WARNING"), "\(whole)")
            let read = try Command.run("openssl", question + ["-no_nonce", "-respin", response, "-CAfile", pem])
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
        let figures = try Command.run("curl", ["-s", "--unix-socket", metrics, "http://localhost/metrics"]).output
        #expect(figures.contains("upki_ocsp_core{state=\"live\"} 1\n"), "\(figures)")
        #expect(figures.contains("\nupki_ocsp_certifications_total{outcome=\"issued\"} 1\n"))
        let page = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("../../docs/OPERATIONS.md")
        let documented = try String(contentsOf: page, encoding: .utf8)
        let families = figures.split(separator: "\n").filter { $0.hasPrefix("# TYPE ") }.map { $0.split(separator: " ")[2] }
        #expect(families.count > 25)
        for family in families { #expect(documented.contains("`\(family)"), "\(family) is not documented") }
        let status = try JSON(parsing: Array(Command.run("curl", ["-s", "--unix-socket", metrics, "http://localhost/status"]).output.utf8))
        #expect(status.at("core", "instance") == "first" && status.at("crl", "number") == "7")
        program.terminate()
        #expect(try program.wait() == 0)
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
        program.terminate()
        #expect(try program.wait() == 0)
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
        program.resume()
        #expect(
            try OCSPResponse(der: client.response().body).basic?.responses.first?.status
                == .revoked(at: 1_700_000_000, reason: .keyCompromise))
        program.terminate()
        #expect(try program.wait() == 0)
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
        #expect(try mode.wait() == 64 && mode.errors.contains("octal number such as 0660"))
        let cache = try program(["--cache", "0"])
        #expect(try cache.wait() == 1 && cache.errors.contains("numbers from 1 on"))
        let nowhere = try Program(["--run-dir", directory.path, "--socket", "\(directory.path)/none/http.sock"])
        #expect(try nowhere.wait() == 1)
        #expect(nowhere.errors.contains("\(directory.path)/none/"), "\(nowhere.errors)")
    }
}

/// The ca-ocsp-bridge that was built beside these tests.
private final class Program {
    private let process = Process()
    private let pipe = Pipe()
    private(set) var errors = ""

    init(_ arguments: [String], environment: [String: String] = [:]) throws {
        // The test executable and the programs lie in one folder; the first argument is the former.
        let folder = URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent()
        process.executableURL = folder.appendingPathComponent("ca-ocsp-bridge")
        process.arguments = arguments
        process.environment = environment
        process.standardError = pipe
        try process.run()
    }

    func terminate() { process.terminate() }

    /// Stops it as SIGSTOP does; returns when it stands still.
    func pause() throws {
        kill(process.processIdentifier, SIGSTOP)
        let patience = Date(timeIntervalSinceNow: 20)
        while try state() != "T" {
            guard Date() < patience else { throw TestFailure("it does not stop") }
            usleep(1_000)
        }
    }

    func resume() { kill(process.processIdentifier, SIGCONT) }

    /// The letter of proc(5): it follows the name, which ends with the last parenthesis.
    private func state() throws -> Character? {
        let text = try String(contentsOfFile: "/proc/\(process.processIdentifier)/stat", encoding: .utf8)
        return text[(text.lastIndex(of: ")") ?? text.startIndex)...].dropFirst(2).first
    }

    /// Ends it if a test did not.
    func end() {
        if process.isRunning { kill(process.processIdentifier, SIGKILL) }
        process.waitUntilExit()
    }

    /// Its exit code; what it wrote to stderr is in `errors` then.
    func wait() throws -> Int32 {
        errors = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        return process.terminationReason == .exit ? process.terminationStatus : -process.terminationStatus
    }

    func waitForSocket(_ path: String) throws {
        let patience = Date(timeIntervalSinceNow: 20)
        while !FileManager.default.fileExists(atPath: path) {
            guard Date() < patience, process.isRunning else { throw TestFailure("no socket \(path)") }
            usleep(2_000)
        }
    }
}

/// Another program, run to its end.
private struct Command {
    let code: Int32
    let output: String
    let errors: String

    @discardableResult
    static func run(_ name: String, _ arguments: [String], input: Data = Data()) throws -> Command {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = [name] + arguments
        let (output, errors, given) = (Pipe(), Pipe(), Pipe())
        process.standardOutput = output
        process.standardError = errors
        process.standardInput = given
        try process.run()
        try given.fileHandleForWriting.write(contentsOf: input)
        try given.fileHandleForWriting.close()
        // A few lines on each: no pipe fills while the other is read.
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        let complaints = String(decoding: errors.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        return Command(code: process.terminationStatus, output: text, errors: complaints)
    }

    func check() throws {
        guard code == 0 else { throw TestFailure("a command ended with \(code): \(output)\(errors)") }
    }
}

/// The socket of a supervisor that listens to notifications.
private final class NotifySocket {
    let path: String
    private let descriptor: Int32

    init(_ path: String) throws {
        self.path = path
        descriptor = Glibc.socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8.prefix(107)) }
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
        }
        guard result == 0 else { throw TestFailure("no notification socket") }
        var time = timeval(tv_sec: 20, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &time, socklen_t(MemoryLayout<timeval>.size))
    }

    deinit { close(descriptor) }

    /// Reads notifications until one has that line; returns it whole.
    func wait(for line: String) throws -> String {
        var buffer = [UInt8](repeating: 0, count: 4_096)
        while true {
            let length = recv(descriptor, &buffer, buffer.count, 0)
            guard length > 0 else { throw TestFailure("no \(line) within 20 s") }
            let text = String(decoding: buffer.prefix(length), as: UTF8.self)
            if text.split(separator: "\n").contains(Substring(line)) { return text }
        }
    }
}
