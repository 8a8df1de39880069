// Making and opening a data directory: what is written with which mode, what is refused, what happens the second time.

import Authority
import CoreServer
import Foundation
import Logging
import PKI
import Settings
import Synchronization
import TestPrograms
import Testing
import UPKIProtocol

/// A directory that goes when the test ends.
final class Workshop {
    let path: String

    init() throws {
        self.path = FileManager.default.temporaryDirectory.appendingPathComponent("upki-core-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(
            atPath: self.path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    }

    deinit { try? FileManager.default.removeItem(atPath: self.path) }

    var directory: DataDirectory { DataDirectory(self.path + "/data") }

    static var log: Logger { Logger(label: "test") { _ in SwiftLogNoOpLogHandler() } }

    /// Initialises with the seed of the first vector.
    @discardableResult
    func initialise(seed: String? = "H8sUkBm3jVYUML-9xOeOXsoJKKWralcqZJxEmIb4mq0", keyType: String? = nil) throws -> JSON {
        var request = InitialiseRequest()
        request.seed = seed
        request.keyType = keyType
        request.subject = "/C=FR/O=Test/CN=Test Root CA"
        let answer = try Initialise.run(request, in: self.directory, log: Self.log)
        try Initialise.finish(self.directory)
        return answer
    }

    func open() throws -> OpenedAuthority { try OpenedAuthority.open(self.directory, seedFile: nil, log: Self.log) }

    func run(_ tool: String, _ arguments: [String]) throws -> String {
        let finished = try ProgramRun.run([tool] + arguments)
        return finished.output + finished.errors
    }

    func mode(_ path: String) throws -> Int {
        try #require(try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int)
    }
}

@Suite("Initialising a CA", .serialized)
struct InitialiseTests {
    @Test("the first vector's seed gives its key and its registration token")
    func vector() throws {
        let workshop = try Workshop()
        let answer = try workshop.initialise()
        #expect(answer["token"]?.stringValue == "upkireg_W_x5V1d87uJ5e8L71vvqF-OeggAKVWPA-oZSY0NWSEQ")
        #expect(answer["seed"] == nil)
        let digest = try workshop.run(
            "sh",
            [
                "-c",
                "openssl x509 -in '\(workshop.directory.certificate)' -noout -pubkey | openssl pkey -pubin -outform DER | openssl dgst -sha256 -r",
            ])
        #expect(digest.hasPrefix("9d1f5cd41cccb2afeb5ff86704fcf8674fbda03f0f70755ce9856f73a837f76d"))
    }

    @Test("without a seed one is made and told once; it makes the same CA key again")
    func madeSeed() throws {
        let first = try Workshop()
        let seed = try #require(try first.initialise(seed: nil)["seed"]?.stringValue)
        #expect(seed.utf8.count == 43)
        let second = try Workshop()
        try second.initialise(seed: seed)
        func key(_ workshop: Workshop) throws -> String {
            try workshop.run("openssl", ["x509", "-in", workshop.directory.certificate, "-noout", "-pubkey"])
        }
        #expect(try key(first) == key(second))
    }

    @Test("keys are for their owner alone, what is published is for everyone")
    func modes() throws {
        let workshop = try Workshop()
        try workshop.initialise()
        let directory = workshop.directory
        for path in [directory.path, directory.nodes, directory.profiles, directory.path + "/db"] {
            #expect(try workshop.mode(path) == 0o700)
        }
        for path in [directory.key, directory.auditKey, directory.path + "/curve.keys", directory.configuration, directory.database] {
            #expect(try workshop.mode(path) == 0o600, "\(path)")
        }
        for path in [directory.publishedCertificate, directory.publishedList] { #expect(try workshop.mode(path) == 0o644) }
    }

    @Test("openssl takes the certificate as a CA and verifies the empty CRL with it")
    func openssl() throws {
        let workshop = try Workshop()
        try workshop.initialise()
        let directory = workshop.directory
        #expect(
            try workshop.run(
                "openssl", ["verify", "-check_ss_sig", "-x509_strict", "-CAfile", directory.certificate, directory.certificate]
            ).hasSuffix(": OK\n"))
        #expect(
            try workshop.run(
                "openssl", ["crl", "-inform", "DER", "-in", directory.publishedList, "-noout", "-CAfile", directory.certificate, "-verify"])
                == "verify OK\n")
        #expect(
            try workshop.run("openssl", ["crl", "-in", directory.listPEM, "-noout", "-CAfile", directory.certificate, "-verify"])
                == "verify OK\n")
    }

    @Test("init twice is harmless: key, certificate and store stay as they are", arguments: ["ec-p256", "ec-p384", "ed25519"])
    func twice(keyType: String) throws {
        let workshop = try Workshop()
        try workshop.initialise(keyType: keyType)
        let before = try Data(contentsOf: URL(fileURLWithPath: workshop.directory.certificate))
        let again = try workshop.initialise(keyType: keyType)
        #expect(again["created"] == false)
        #expect(again["token"] == nil)
        #expect(again["key_type"] == .string(keyType))
        #expect(try Data(contentsOf: URL(fileURLWithPath: workshop.directory.certificate)) == before)
        try workshop.open().close()
    }

    @Test("a seed that contradicts the CA in the directory is refused")
    func contradiction() throws {
        let workshop = try Workshop()
        try workshop.initialise()
        let error = #expect(throws: CoreError.self) { try workshop.initialise(seed: "correct horse battery staple é 2026") }
        #expect(error?.description.contains("contradicts") == true)
    }

    @Test("a weak seed is refused and leaves no CA behind")
    func weakSeed() throws {
        let workshop = try Workshop()
        #expect(throws: (any Error).self) { try workshop.initialise(seed: "too short") }
        #expect(!workshop.directory.isInitialised)
    }

    @Test("an existing CA is imported, its name and key kept, and a foreign key refused")
    func imported() throws {
        let workshop = try Workshop()
        _ = try workshop.run(
            "openssl",
            [
                "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", workshop.path + "/k.pem", "-out", workshop.path + "/c.pem",
                "-days", "30", "-subj", "/O=Old/CN=Old CA",
            ])
        _ = try workshop.run("openssl", ["genrsa", "-out", workshop.path + "/other.pem", "2048"])
        var request = InitialiseRequest()
        request.authorityCertificatePEM = try String(contentsOfFile: workshop.path + "/c.pem", encoding: .utf8)
        request.authorityKeyPEM = try String(contentsOfFile: workshop.path + "/other.pem", encoding: .utf8)
        #expect(throws: (any Error).self) { try Initialise.run(request, in: workshop.directory, log: Workshop.log) }
        request.authorityKeyPEM = try String(contentsOfFile: workshop.path + "/k.pem", encoding: .utf8)
        let answer = try Initialise.run(request, in: workshop.directory, log: Workshop.log)
        try Initialise.finish(workshop.directory)
        #expect(answer["subject"] == "/O=Old/CN=Old CA")
        #expect(answer["key_type"] == "rsa-2048")
        #expect(answer["token"]?.stringValue?.hasPrefix("upkireg_") == true)
        let opened = try workshop.open()
        #expect(opened.authority.state.keyIsDerived == false)
        try opened.close()
    }

    @Test("a CA does not start on a directory or a key that others can read, or when another process holds it")
    func refusals() throws {
        let workshop = try Workshop()
        try workshop.initialise()
        let opened = try workshop.open()
        #expect(throws: (any Error).self) { try workshop.open() }
        try opened.close()
        withExtendedLifetime(opened) {}
    }

    @Test("a key file that others can read stops the start, with the command that mends it")
    func openKey() throws {
        let workshop = try Workshop()
        try workshop.initialise()
        #expect(chmod(workshop.directory.key, 0o644) == 0)
        let error = #expect(throws: (any Error).self) { try workshop.open() }
        #expect(error.map { "\($0)" }?.contains("chmod 600") == true)
        #expect(chmod(workshop.directory.key, 0o600) == 0)
        #expect(chmod(workshop.directory.path, 0o755) == 0)
        #expect(throws: (any Error).self) { try workshop.open() }
    }

    @Test("a key that does not match the certificate stops the start")
    func wrongKey() throws {
        let workshop = try Workshop()
        try workshop.initialise()
        let other = try Workshop()
        try other.initialise(seed: "correct horse battery staple é 2026")
        try FileManager.default.removeItem(atPath: workshop.directory.key)
        try FileManager.default.copyItem(atPath: other.directory.key, toPath: workshop.directory.key)
        let error = #expect(throws: (any Error).self) { try workshop.open() }
        #expect(error.map { "\($0)" }?.contains("does not match") == true)
    }

    @Test("a seed in the configuration is taken once, and the file is written again without it")
    func seedInConfiguration() throws {
        let workshop = try Workshop()
        try workshop.initialise()
        let path = workshop.directory.configuration
        let text = try String(contentsOfFile: path, encoding: .utf8)
        try (text + "\nseed: H8sUkBm3jVYUML-9xOeOXsoJKKWralcqZJxEmIb4mq0\n").write(toFile: path, atomically: false, encoding: .utf8)
        try workshop.open().close()
        let after = try String(contentsOfFile: path, encoding: .utf8)
        #expect(!after.contains("H8sUkBm3"))
        #expect(after.contains("company:"))
        try (text + "\nseed: correct horse battery staple é 2026\n").write(toFile: path, atomically: false, encoding: .utf8)
        let error = #expect(throws: (any Error).self) { try workshop.open() }
        #expect(error.map { "\($0)" }?.contains("correct horse") == false)
    }

    @Test("a directory that holds a part of a CA is refused, and nothing in it is touched", arguments: ["ca.crt", "db/ca.sqlite"])
    func partOfAuthority(missing: String) throws {
        let workshop = try Workshop()
        try workshop.initialise()
        let key = try Data(contentsOf: URL(fileURLWithPath: workshop.directory.key))
        try FileManager.default.removeItem(atPath: workshop.directory.path + "/" + missing)
        let error = #expect(throws: CoreError.self) { try workshop.initialise(seed: nil) }
        #expect(error?.description.contains("backup") == true)
        #expect(try Data(contentsOf: URL(fileURLWithPath: workshop.directory.key)) == key)
    }

    @Test("an init that did not come to its end begins again")
    func unfinished() throws {
        let workshop = try Workshop()
        var request = InitialiseRequest()
        request.seed = "H8sUkBm3jVYUML-9xOeOXsoJKKWralcqZJxEmIb4mq0"
        let first = try Initialise.run(request, in: workshop.directory, log: Workshop.log)
        #expect(throws: CoreError.self) { try workshop.open() }
        let second = try Initialise.run(request, in: workshop.directory, log: Workshop.log)
        #expect(first["created"] == true && second["created"] == true)
        #expect(first["token"] == second["token"])
        try Initialise.finish(workshop.directory)
        try workshop.open().close()
    }

    @Test("a seed in a configuration that cannot be written again makes no CA")
    func seedInReadOnlyConfiguration() throws {
        let workshop = try Workshop()
        try FileManager.default.createDirectory(
            atPath: workshop.directory.path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        let path = workshop.directory.configuration
        // A seed that stands in the file twice cannot be taken out: root could write over any mode.
        let seed = "H8sUkBm3jVYUML-9xOeOXsoJKKWralcqZJxEmIb4mq0"
        try "company: Test # \(seed)\nseed: \(seed)\n".write(toFile: path, atomically: false, encoding: .utf8)
        #expect(chmod(path, 0o600) == 0)
        let error = #expect(throws: (any Error).self) { try workshop.initialise(seed: nil) }
        #expect(error.map { "\($0)" }?.contains(seed) == false)
        #expect(!FileManager.default.fileExists(atPath: workshop.directory.key))
    }

    @Test("a correct seed in clear over a network is recorded as exposed; over loopback, or a wrong one, it is not")
    func exposedSeed() throws {
        let workshop = try Workshop()
        try workshop.initialise()
        let opened = try workshop.open()
        let marks = Mutex<[Caller]>([])
        let seeds = SeedVerifier(opened: opened) { caller in marks.withLock { $0.append(caller) } }
        let seed = "H8sUkBm3jVYUML-9xOeOXsoJKKWralcqZJxEmIb4mq0"
        let network = Caller(proof: .plainAddress("192.0.2.1"), channel: .registrar)
        #expect(try seeds.verify(seed: seed, caller: Caller(proof: .plainAddress("127.0.0.1"), channel: .registrar)))
        #expect(try !seeds.verify(seed: "another seed that is wrong", caller: network))
        #expect(marks.withLock { $0.isEmpty })
        #expect(try seeds.verify(seed: seed, caller: network))
        #expect(marks.withLock { $0 } == [network])
        let context = RequestContext(id: "t", task: "seed_exposed", caller: network)
        let report = opened.authority.commit([Change(context, needs: .anyone) { commit in try commit.markSeedExposed() }])
        #expect(throws: Never.self) { try report.results[0].get() }
        #expect(opened.authority.state.seedExposedAt != nil)
        #expect(try opened.authority.store.read { try $0.lastAuditRecord() }?.detail.contains("SEED EXPOSED") == true)
        try opened.close()
        withExtendedLifetime(opened) {}
    }

    @Test("a directory without a CA says how one is made")
    func noAuthority() throws {
        let workshop = try Workshop()
        try FileManager.default.createDirectory(
            atPath: workshop.directory.path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        let error = #expect(throws: CoreError.self) { try workshop.open() }
        #expect(error?.description.contains("ca-ctl init") == true)
    }
}

@Suite("Folders of nodes")
struct NodeFolderTests {
    @Test(
        "a CN cannot leave its folder, hide, or meet another on case; lower-case host names stand for themselves",
        arguments: [
            ("www.example.org", "www.example.org"), ("..", "%2E."), (".", "%2E"), ("a/b", "a%2Fb"), ("WWW", "%57%57%57"), ("a b", "a%20b"),
            ("%41", "%2541"), ("é", "%C3%A9"), ("*.example.org", "%2A.example.org"), (".hidden", "%2Ehidden"), ("\u{202e}x", "%E2%80%AEx"),
        ])
    func names(commonName: String, folder: String) {
        #expect(NodeDirectories.folderName(commonName) == folder)
    }

    @Test("long names stay under the limit of file names and apart from each other")
    func longNames() {
        let first = NodeDirectories.folderName(String(repeating: "É", count: 64) + "1")
        let second = NodeDirectories.folderName(String(repeating: "É", count: 64) + "2")
        #expect(first.utf8.count <= 255)
        #expect(first != second)
    }
}
