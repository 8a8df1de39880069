// Files and audit log say the same, whatever ended the process between the commit and the change of the files.

import Authority
import CoreServer
import Foundation
import PKI
import Testing

@Suite("Changes of files that wait for their commit")
struct PendingFilesTests {
    private let workshop: Workshop
    private let profile: CertificateProfile

    init() throws {
        self.workshop = try Workshop()
        try self.workshop.initialise()
        let server = try #require(CertificateProfile.builtIns(baseSubject: []).first { $0.name == "server" })
        var profile = server
        profile.name = "vpn"
        self.profile = profile
    }

    private var pending: [String] { get throws { try FileManager.default.contentsOfDirectory(atPath: self.workshop.directory.pending) } }

    private func exists(_ path: String) -> Bool { FileManager.default.fileExists(atPath: self.workshop.directory.path + "/" + path) }

    /// A start of the CA, for as long as `body` takes: the lock of the directory goes with it.
    private func started<Result>(_ body: (OpenedAuthority) throws -> Result) throws -> Result {
        let opened = try self.workshop.open()
        let result = try body(opened)
        try opened.close()
        return result
    }

    /// Commits an audit record and nothing else; its number.
    private func record(_ request: String, in opened: OpenedAuthority, outcome: AuditRecord.Outcome = .done) throws -> Int64 {
        let context = RequestContext(id: request, task: "add_profile", caller: Caller(proof: .itself, channel: .admin))
        let change = Change(context, needs: .local) { commit in
            try commit.audit(target: "vpn", outcome: outcome)
            return true
        }
        for result in opened.authority.commit([change]).results { _ = try result.get() }
        return opened.authority.state.auditSequence
    }

    /// What a core leaves behind that was killed after staging these and before making them.
    private func leave(_ changes: [(FileChange, record: Int64, request: String)]) throws {
        let files = PendingFiles(self.workshop.directory) { Issue.record("\($0)") }
        for (change, record, request) in changes { _ = try files.stage(change, record: record, request: request, part: 0) }
    }

    @Test("what was committed is made at the next start, what was not is forgotten")
    func settled() throws {
        let (committed, other, refused) = try self.started { opened in
            (
                try self.record("r-1", in: opened), try self.record("r-2", in: opened),
                try self.record("r-3", in: opened, outcome: .refused)
            )
        }
        func key(_ name: String) -> FileChange { .storeKey(commonName: name, keyPEM: Array("key".utf8), certificatePEM: "certificate") }
        try self.leave([
            (.storeProfile(self.profile), committed, "r-1"), (key("other.example.com"), other, "r-1"),
            (key("refused.example.com"), refused, "r-3"), (key("never.example.com"), refused + 1, "r-4"),
        ])
        #expect(try self.pending.count == 4)
        #expect(try self.started { $0.authority.state.profiles["vpn"]?.duration } == self.profile.duration)
        #expect(self.exists("profiles/vpn.yml"))
        for name in ["other", "refused", "never"] { #expect(!self.exists("nodes/\(name).example.com")) }
        #expect(try self.pending.isEmpty)
    }

    @Test("they are made in the order of their records, and one that is made twice changes nothing")
    func order() throws {
        // Enough that 10 comes after 9.
        let numbers = try self.started { opened in try (0..<12).map { try self.record("r-\($0)", in: opened) } }
        var changes: [(FileChange, record: Int64, request: String)] = []
        for (count, number) in numbers.enumerated() {
            var profile = self.profile
            profile.duration = count + 1
            changes.append((.storeProfile(profile), number, "r-\(count)"))
        }
        try self.leave(changes.reversed())
        for _ in 0..<2 {
            #expect(try self.started { $0.authority.state.profiles["vpn"]?.duration } == 12)
            try self.leave([changes[11]])
        }
    }

    @Test("a torn entry, a file of another name and a part of a write are no reason not to start")
    func torn() throws {
        let number = try self.started { try self.record("r-1", in: $0) }
        try self.leave([(.storeProfile(self.profile), number, "r-1")])
        let entry = "\(self.workshop.directory.pending)/\(number).0"
        let whole = try #require(FileManager.default.contents(atPath: entry))
        #expect(
            FileManager.default.createFile(atPath: entry, contents: whole.prefix(whole.count / 2), attributes: [.posixPermissions: 0o600]))
        for name in ["notes", ".upki-tmp-abc"] {
            #expect(FileManager.default.createFile(atPath: "\(self.workshop.directory.pending)/\(name)", contents: Data()))
        }
        #expect(try self.started { $0.authority.state.profiles["vpn"] } == nil)
        #expect(try self.pending == ["notes"])
    }

    @Test("a key that is stored and removed leaves neither its folder nor its entry, also where a write was cut off in the folder")
    func keys() throws {
        let (stored, removed) = try self.started { (try self.record("r-1", in: $0), try self.record("r-2", in: $0)) }
        try self.leave([(.storeKey(commonName: "a.example.com", keyPEM: Array("key".utf8), certificatePEM: "certificate"), stored, "r-1")])
        let folder = self.workshop.directory.nodes + "/a.example.com"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
        #expect(FileManager.default.createFile(atPath: folder + "/.upki-tmp-1", contents: Data("ke".utf8)))
        try self.started { _ in }
        #expect(try Set(FileManager.default.contentsOfDirectory(atPath: folder)) == ["key.pem", "cert.pem"])
        #expect(try self.workshop.mode(folder + "/key.pem") == 0o600)
        try self.leave([(.removeKey(commonName: "a.example.com"), removed, "r-2")])
        try self.started { _ in }
        #expect(!self.exists("nodes/a.example.com"))
        #expect(try self.pending.isEmpty)
    }

    @Test("a change that cannot be made now is made with the next one, before it")
    func delayed() throws {
        try self.started { _ in }
        final class Heard: @unchecked Sendable { var lines: [String] = [] }
        // Written by this thread alone.
        let heard = Heard()
        let files = PendingFiles(self.workshop.directory) { heard.lines.append($0) }
        let folder = self.workshop.directory.nodes + "/a.example.com"
        // A file stands where the folder should be.
        #expect(FileManager.default.createFile(atPath: folder, contents: Data()))
        func key(_ text: String) -> FileChange { .storeKey(commonName: "a.example.com", keyPEM: Array(text.utf8), certificatePEM: text) }
        files.carryOut(try files.stage(key("first"), record: 100, request: "r-1", part: 0))
        #expect(heard.lines.count == 1 && heard.lines[0].contains("not a directory"))
        #expect(try self.pending == ["100.0"])
        try FileManager.default.removeItem(atPath: folder)
        files.carryOut(
            try files.stage(.storeCertificate(commonName: "a.example.com", certificatePEM: "second"), record: 101, request: "r-2", part: 0))
        #expect(try String(contentsOfFile: folder + "/key.pem", encoding: .utf8) == "first")
        #expect(try String(contentsOfFile: folder + "/cert.pem", encoding: .utf8) == "second")
        #expect(try self.pending.isEmpty)
    }
}
