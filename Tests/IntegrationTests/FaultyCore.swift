// A ca-core whose disk and clock fail on demand: started by hand with the fault shim in it, asked by ca-ctl over admin.sock.
import Foundation
import Glibc
import TestPrograms
import Testing
import UPKIProtocol

final class FaultyCore {
    let place: Workplace
    /// The data directory; on a file system of its own where the test made one.
    let data: String
    private var core: ProgramRun?
    private var mount: String?

    private var run: String { self.place.path("run") }
    private var places: [String] { ["--data-dir", self.data, "--run-dir", self.run] }
    private static let shim = "\(Checkout.programs)/libFaultShim.so"

    /// Makes a CA and starts its core.
    ///
    /// - Parameters:
    ///   - megabytes: the size of a file system of its own (tmpfs) for the data directory; needs root.
    ///   - configuration: lines of `ca.config.yml`.
    init(megabytes: Int? = nil, configuration: String = "") throws {
        self.place = try Workplace()
        self.data = self.place.path("disk") + "/data"
        try FileManager.default.createDirectory(atPath: self.place.path("disk"), withIntermediateDirectories: false)
        guard FileManager.default.fileExists(atPath: Self.shim) else {
            throw TestFailure("\(Self.shim) is missing; it is built by: swift build --build-tests")
        }
        try self.faults("")
        if let megabytes {
            try self.place.must(["/usr/bin/mount", "-t", "tmpfs", "-o", "size=\(megabytes)m,mode=0755", "tmpfs", self.place.path("disk")])
            self.mount = self.place.path("disk")
        }
        try FileManager.default.createDirectory(
            atPath: self.data, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
        try self.place.write("company: uPKI\n\(configuration)\n", to: "disk/data/ca.config.yml")
        try self.place.must(["\(Checkout.programs)/ca-ctl", "init", "--json"] + self.places)
        try self.start()
        // The CRL of each start is out: from here on every commit is a test's.
        try waitUntil("the first CRL is published") { self.log.contains("published CRL") }
    }

    // MARK: Starting and ending

    private var serve: [String] { ["\(Checkout.programs)/ca-core", "serve"] + self.places + ["--log-format", "plain"] }
    private var environment: [String: String] { ["LD_PRELOAD": Self.shim, "UPKI_FAULTS": self.place.path("faults")] }

    func start() throws {
        try? FileManager.default.createDirectory(
            atPath: self.run, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
        let core = try self.place.start(self.serve, environment: self.environment)
        self.core = core
        try core.waitFor("serving", within: .seconds(20))
    }

    /// Starts it where it has to refuse; what it said.
    func failToStart() throws -> String {
        let finished = try self.place.run(self.serve, environment: self.environment, within: .seconds(20))
        #expect(finished.code == 1, "\(finished.output)\(finished.errors)")
        return finished.output + finished.errors
    }

    var log: String { self.core.map { $0.output + $0.errors } ?? "" }

    /// Ends it with this signal; the code it ended with.
    @discardableResult
    func stop(_ signal: Int32 = SIGTERM) throws -> Int32 {
        guard let core = self.core else { return 0 }
        core.signal(signal)
        return try self.ended()
    }

    /// Waits until it has ended by itself.
    func ended() throws -> Int32 {
        guard let core = self.core else { return 0 }
        let finished = try core.finish(within: .seconds(20))
        self.core = nil
        return finished.code
    }

    func end() {
        do {
            try self.faults("")
            try self.stop()
        } catch { Issue.record(error) }
        self.core = nil
        if let mount = self.mount {
            let unmounted = try? self.place.run(["/usr/bin/umount", mount])
            #expect(unmounted?.code == 0, "\(unmounted?.errors ?? "")")
        }
        self.place.end()
    }

    // MARK: Faults

    /// Puts these rules in force, at once; see `Tests/FaultShim`.
    func faults(_ rules: String) throws {
        let new = self.place.path("faults.new")
        try (rules + "\n").write(toFile: new, atomically: false, encoding: .utf8)
        guard rename(new, self.place.path("faults")) == 0 else { throw TestFailure("rename: \(errno)") }
    }

    /// Fills what is left of the file system; the file that does.
    func fillDisk() throws -> String {
        let path = self.place.path("disk/ballast")
        let file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
        defer { close(file) }
        for size in [1 << 20, 4_096, 1] {
            let bytes = [UInt8](repeating: 1, count: size)
            while write(file, bytes, size) > 0 {}
            let reason = errno
            guard reason == ENOSPC else { throw TestFailure("the disk does not fill: \(reason)") }
        }
        return path
    }

    // MARK: Asking

    func ctl(_ arguments: [String]) throws -> Finished {
        try self.place.run(["\(Checkout.programs)/ca-ctl"] + arguments + self.places, within: .seconds(30))
    }

    /// Runs ca-ctl with --json, which has to succeed.
    @discardableResult
    func facts(_ arguments: [String]) throws -> JSON {
        let finished = try self.ctl(arguments + ["--json"])
        guard finished.code == 0, let json = try? JSON(parsing: Array(finished.output.utf8)) else {
            throw TestFailure(
                "ca-ctl \(arguments.joined(separator: " ")) ended with \(finished.code):\n\(finished.output)\(finished.errors)"
            )
        }
        return json
    }

    /// The one line of a refusal.
    func refusal(_ arguments: [String]) throws -> String {
        let finished = try self.ctl(arguments)
        #expect(finished.code == 1, "\(arguments): \(finished.output)\(finished.errors)")
        let lines = finished.errors.split(separator: "\n").map(String.init)
        #expect(lines.count == 1, "\(lines)")
        var line = lines.first ?? ""
        if line.hasPrefix("ca-ctl: ") { line.removeFirst("ca-ctl: ".count) }
        // What ca-ctl adds for its own user; the rest is what any client is told.
        let next = "; see: ca-ctl doctor \(self.places.joined(separator: " "))"
        if line.hasPrefix("Storage error: "), line.hasSuffix(next) { line.removeLast(next.count) }
        // Neither a path of the CA's nor SQL reaches a client.
        #expect(!line.contains(self.data) && !line.contains("SQL") && !line.contains("INSERT"), "\(line)")
        return line
    }

    /// Has a CSR signed; its serial number.
    @discardableResult
    func sign(_ commonName: String) throws -> String {
        guard let serial = try self.facts(["cert", "sign", try self.request(commonName)])["serial"]?.stringValue else {
            throw TestFailure("no serial number")
        }
        return serial
    }

    func refusedSign(_ commonName: String) throws -> String { try self.refusal(["cert", "sign", try self.request(commonName)]) }

    private func request(_ commonName: String) throws -> String {
        let name = "\(UUID().uuidString).pem"
        try self.place.write(try self.place.csr("/CN=\(commonName)"), to: name)
        return self.place.path(name)
    }

    func revoke(_ serial: String) throws { _ = try self.facts(["cert", "revoke", "--serial", serial]) }

    /// Asks for a certificate as the OCSP bridge does; the answer.
    func certifyResponder() throws -> JSON {
        try self.place.write(try self.place.csr("/CN=bridge"), to: "bridge.csr")
        let (request, der) = (self.place.path("bridge.csr"), self.place.path("bridge.der"))
        try self.place.must(["/usr/bin/openssl", "req", "-in", request, "-outform", "DER", "-out", der])
        let csr = try Data(contentsOf: URL(fileURLWithPath: der)).base64EncodedString()
        let question: JSON = [("task", "responder_certificate"), ("params", ["csr": .string(csr)])].object
        return try self.place.peer("internal.py", [self.run, "ocsp"], input: .array([question])).arrayValue?.first ?? .null
    }

    func serials() throws -> Set<String> {
        Set(try self.facts(["cert", "list"]).arrayValue?.compactMap { $0["serial"]?.stringValue } ?? [])
    }

    func isRevoked(_ serial: String) throws -> Bool {
        try self.facts(["cert", "list", "--state", "revoked"]).arrayValue?.contains { $0["serial"]?.stringValue == serial } ?? false
    }

    /// The chain is whole, and every certificate there is has its record: what memory, store and audit log say agrees.
    func checkWhole() throws {
        let verdict = try self.facts(["audit", "verify"])
        #expect(verdict["good"] == true, "\(verdict.text)")
        let records = try self.facts(["audit", "show", "--limit", "1000"]).arrayValue ?? []
        #expect(records.compactMap { $0["sequence"]?.integerValue } == Array(1...Int64(records.count)))
        let issued = records.filter { ["sign", "responder_certificate"].contains($0["task"]) && $0["outcome"] == "done" }.compactMap {
            $0["serial"]?.stringValue
        }
        #expect(Set(issued).count == issued.count, "none was recorded twice")
        #expect(Set(issued).count == (try self.serials().count))
        // A CRL may be numbered between the two.
        try waitUntil("memory and store hold one number of records") {
            let counted = try self.facts(["status"]).at("core", "counts", "audit")
            return try self.facts(["audit", "verify"])["verified"] == counted
        }
    }

    /// Whether the published CRL holds this serial number (decimal), as openssl reads it.
    func isOnPublishedList(_ serial: String) throws -> Bool {
        let finished = try self.place.run([
            "/usr/bin/openssl", "crl", "-inform", "DER", "-in", "\(self.data)/published/crl.der", "-noout", "-text", "-CAfile",
            "\(self.data)/ca.crt",
        ])
        #expect(finished.code == 0 && finished.errors.contains("verify OK"), "\(finished.errors)")
        let hexadecimal = try self.place.must([
            "/usr/bin/python3", "-c", "import sys; print(('%X' % int(sys.argv[1])).zfill(38))", serial,
        ]).trimmingCharacters(in: .whitespacesAndNewlines)
        return finished.output.contains("Serial Number: \(hexadecimal.count % 2 == 0 ? hexadecimal : "0" + hexadecimal)")
    }
}

/// A core for the time of `body`; what it logged comes with a failure.
func withFaultyCore(megabytes: Int? = nil, configuration: String = "", _ body: (FaultyCore) throws -> Void) throws {
    let core = try FaultyCore(megabytes: megabytes, configuration: configuration)
    defer { core.end() }
    do { try body(core) } catch {
        throw TestFailure("\(error)\n--- log of ca-core:\n\(core.log.suffix(6_000))")
    }
}
