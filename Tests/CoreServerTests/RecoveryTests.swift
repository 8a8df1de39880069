// A CA made again from its seed, with the CRLs of the lost one; imports with CRLs; and keys at rest: openssl is the judge of each.

import Authority
import CoreServer
import Foundation
import Logging
import PKI
import RevocationFormats
import Synchronization
import TestPrograms
import Testing
import UPKIProtocol

/// Where a CA is lost and made again.
final class RecoveryPlace {
    let path: String

    static let seed = "H8sUkBm3jVYUML-9xOeOXsoJKKWralcqZJxEmIb4mq0"
    static let subject = "/C=FR/O=Test/CN=Test Root CA"

    init() throws {
        self.path = FileManager.default.temporaryDirectory.appendingPathComponent("upki-recovery-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(
            atPath: self.path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    }

    deinit { try? FileManager.default.removeItem(atPath: self.path) }

    func directory(_ name: String) -> DataDirectory { DataDirectory("\(self.path)/\(name)") }

    static var log: Logger { Logger(label: "test") { _ in SwiftLogNoOpLogHandler() } }

    /// Initialises in the folder of that name.
    @discardableResult
    func initialise(_ name: String, _ change: (inout InitialiseRequest) -> Void = { _ in }) throws -> JSON {
        var request = InitialiseRequest()
        request.seed = Self.seed
        request.subject = Self.subject
        change(&request)
        let answer = try Initialise.run(request, in: self.directory(name), log: Self.log)
        try Initialise.finish(self.directory(name))
        return answer
    }

    func open(_ name: String, seedFile: String? = nil) throws -> OpenedAuthority {
        try OpenedAuthority.open(self.directory(name), seedFile: seedFile, log: Self.log)
    }

    /// The folder with a configuration in it and nothing else.
    func configure(_ name: String, _ text: String) throws {
        try FileManager.default.createDirectory(
            atPath: self.directory(name).path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        try self.write(text, "\(name)/ca.config.yml")
    }

    @discardableResult
    func write(_ text: String, _ name: String, mode: mode_t = 0o600) throws -> String {
        let path = "\(self.path)/\(name)"
        try text.write(toFile: path, atomically: false, encoding: .utf8)
        chmod(path, mode)
        return path
    }

    /// Runs a shell command in the folder; its output and its errors together.
    @discardableResult
    func shell(_ command: String) throws -> String {
        let finished = try ProgramRun.run(["/bin/sh", "-c", command], in: self.path)
        return finished.output + finished.errors
    }

    /// Issues with an opened CA, as `ca-ctl cert sign` does; gives the serial number and writes the certificate to a file.
    @discardableResult
    func issue(_ commonName: String, by opened: OpenedAuthority, to file: String) throws -> SerialNumber {
        try self.shell(
            "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout \(file).key -out \(file).csr -subj /CN=\(commonName)"
        )
        let csr = try String(contentsOfFile: "\(self.path)/\(file).csr", encoding: .utf8)
        let authority = opened.authority
        let actor = authority.actor(Caller(proof: .itself, channel: .admin))
        let prepared = try authority.prepareSigning(csr: csr, profile: "server", days: nil, actor: actor, task: "sign")
        try Self.commit(opened) { try $0.record(prepared, in: authority) }
        try self.write(prepared.pem, file)
        return prepared.record.serial
    }

    static func commit(_ opened: OpenedAuthority, _ body: @escaping @Sendable (inout Commit) throws -> Void) throws {
        let context = RequestContext(id: "t", task: "test", caller: Caller(proof: .itself, channel: .admin))
        let report = opened.authority.commit([
            Change(context, needs: .local) { commit in
                try body(&commit)
                return true
            }
        ])
        for result in report.results { _ = try result.get() }
    }

    /// A CRL of what is revoked now, in PEM.
    func publish(_ opened: OpenedAuthority, to file: String) throws {
        let plan = Mutex<PlannedRevocationList?>(nil)
        try Self.commit(opened) { commit in
            let planned = try commit.planRevocationList()
            plan.withLock { $0 = planned }
        }
        let planned = try #require(plan.withLock { $0 })
        var der: [UInt8] = []
        _ = try opened.authority.write(planned, spill: MemoryCRLSpill()) { part in part.withUnsafeBytes { der += $0 } }
        try self.write(PEM.encode(der, label: "X509 CRL"), file)
    }

    func words(_ body: () throws -> Void) -> String {
        do { try body() } catch { return "\(error)" }
        return "nothing was thrown"
    }
}

@Suite("Recovery from the seed", .serialized)
struct RecoveryTests {
    @Test(
        "a CA made again has the same key, name and key identifier; what the lost one issued verifies, and what it revoked stays revoked",
        arguments: ["ec-p256", "ec-p384", "ed25519", "rsa-2048"])
    func recovered(_ keyType: String) throws {
        let place = try RecoveryPlace()
        try place.initialise("lost") { $0.keyType = keyType }
        let lost = try place.open("lost")
        let good = try place.issue("good.example.org", by: lost, to: "good.pem")
        let bad = try place.issue("bad.example.org", by: lost, to: "bad.pem")
        try RecoveryPlace.commit(lost) { try $0.revoke([bad], reason: .keyCompromise) }
        try place.publish(lost, to: "last.pem")
        let number = lost.authority.state.crlNumber
        try lost.close()

        let answer = try place.initialise("new") { request in
            request.keyType = keyType
            request.recovers = true
            request.lists = ["\(place.path)/last.pem"]
        }
        let list = try #require(answer["crls"]?.arrayValue?.first)
        #expect(list["entries"] == .integer(1) && list["new"] == .integer(1) && list["keys_not_blocked"] == .integer(1))
        for part in ["-pubkey", "-subject", "-ext subjectKeyIdentifier"] {
            let (old, new) = (
                try place.shell("openssl x509 -in lost/ca.crt -noout \(part)"),
                try place.shell("openssl x509 -in new/ca.crt -noout \(part)")
            )
            #expect(old == new && !old.isEmpty)
        }
        #expect(
            try place.shell("openssl x509 -in lost/ca.crt -noout -serial") != place.shell("openssl x509 -in new/ca.crt -noout -serial"))
        #expect(try place.shell("openssl verify -x509_strict -CAfile new/ca.crt good.pem") == "good.pem: OK\n")
        #expect(try place.shell("openssl verify -crl_check -CRLfile new/crl.pem -CAfile new/ca.crt good.pem") == "good.pem: OK\n")
        #expect(
            try place.shell("openssl verify -crl_check -CRLfile new/crl.pem -CAfile new/ca.crt bad.pem").contains("certificate revoked"))

        let opened = try place.open("new")
        let standing = try opened.authority.standing(bad)
        #expect(
            standing.certificate == nil && standing.revocation?.reason == .keyCompromise && standing.revocation?.notAfter == UnixTime(.max))
        #expect(try opened.authority.standing(good).revocation == nil)
        #expect(opened.authority.state.crlNumber > number)
        let note = try #require(opened.authority.state.recoveryNote)
        #expect(note.origin == .recovered && note.sentence.contains("with CRL \(number) of "))
        #expect(answer["warnings"]?.arrayValue == [.string(note.sentence)])
        let records = try opened.authority.store.read { try $0.auditRecords(after: 0, limit: 100) }
        #expect(records.first?.task == "init" && records.first?.detail.contains(note.sentence) == true)
        #expect(records.contains { $0.detail.hasPrefix("CRL \(number) of ") && $0.detail.contains("entries 1 to 1: 1 new") })
        try opened.close()
    }

    @Test("without a CRL it is made as well, and says that what was revoked counts as good; without a seed it is not")
    func withoutList() throws {
        let place = try RecoveryPlace()
        let answer = try place.initialise("new") { $0.recovers = true }
        #expect(answer["crls"] == [] && answer["recovery"]?["note"]?.stringValue?.contains("without a CRL") == true)
        let words = place.words {
            try place.initialise("none") { request in
                request.recovers = true
                request.seed = nil
            }
        }
        #expect(words.contains("--recover needs the seed") && !place.directory("none").isInitialised)
    }

    @Test("several lists are taken over, the latest says what is known; the number is above all of them, also one beyond 63 bits")
    func severalLists() throws {
        let place = try RecoveryPlace()
        try place.initialise("lost")
        try place.shell(
            """
            printf '[ca]\\ndefault_ca = a\\n[a]\\ndatabase = index\\ncrlnumber = number\\ndefault_md = sha256\\n[crl]\\nauthorityKeyIdentifier = keyid\\n' > ca.cnf
            make() { printf "$1" > index; echo $2 > number; openssl ca -gencrl -config ca.cnf -keyfile lost/ca.key -cert lost/ca.crt -crlexts crl \
                -crl_lastupdate $3 -crl_nextupdate 20300101000000Z -out $4; }
            make 'R\\t351231235959Z\\t250101000000Z,superseded\\t0A\\tunknown\\t/CN=a\\nR\\t351231235959Z\\t250101000000Z\\t0B\\tunknown\\t/CN=b\\n' \
                FFFFFFFFFFFFFFFF01 20260101000000Z first.pem
            make 'R\\t351231235959Z\\t250102000000Z,keyCompromise\\t0A\\tunknown\\t/CN=a\\n' 05 20260201000000Z second.pem
            openssl crl -in second.pem -outform DER -out second.der
            """)
        let answer = try place.initialise("new") { request in
            request.recovers = true
            request.lists = ["first.pem", "second.der"].map { "\(place.path)/\($0)" }
        }
        #expect(answer["crls"]?.arrayValue?.map { $0["new"] } == [.integer(2), .integer(0)])
        #expect(answer["crls"]?.arrayValue?.map { $0["replaced"] } == [.integer(0), .integer(1)])
        #expect(answer["recovery"]?["crl_this_update"] == "2026-02-01T00:00:00Z")
        #expect(try place.shell("openssl crl -in new/crl.pem -noout -crlnumber") == "crlNumber=0xFFFFFFFFFFFFFFFF02\n")
        let text = try place.shell("openssl crl -in new/crl.pem -noout -text")
        #expect(text.contains("Serial Number: 0A") && text.contains("Serial Number: 0B") && text.contains("Key Compromise"))
    }

    @Test("a list of another CA is refused with what was meant: the subject, the key type, or another seed; and no CA is left behind")
    func hints() throws {
        let place = try RecoveryPlace()
        try place.initialise("lost") { $0.keyType = "ec-p384" }
        func attempt(_ change: (inout InitialiseRequest) -> Void) -> String {
            place.words {
                try place.initialise("new") { request in
                    request.recovers = true
                    request.lists = ["\(place.path)/lost/crl.pem"]
                    change(&request)
                }
            }
        }
        let other = attempt { $0.subject = "/CN=Other" }
        #expect(other.contains("the CRL is one of /C=FR/O=Test/CN=Test Root CA, and this CA is /CN=Other"), "\(other)")
        #expect(other.hasSuffix("is made by: --recover --subject '/C=FR/O=Test/CN=Test Root CA' --key-type ec-p384"), "\(other)")
        let type = attempt { _ in }
        #expect(type.contains("was not signed with this CA's key") && type.hasSuffix("--recover --key-type ec-p384"), "\(type)")
        let seed = attempt { $0.seed = "correct horse battery staple é 2026" }
        #expect(seed.contains("another CA's seed"), "\(seed)")
        let file = attempt { $0.lists = ["\(place.path)/lost/ca.crt"] }
        #expect(file.contains("ca.crt holds no CRL that can be used: there is no PEM block X509 CRL"), "\(file)")
        #expect(attempt { $0.lists = ["/nonexistent/crl.pem"] }.contains("Cannot open /nonexistent/crl.pem: No such file or directory"))
        #expect(attempt { $0.lists = ["/dev/null"] }.contains("is no regular file"))
        #expect(!place.directory("new").isInitialised && !FileManager.default.fileExists(atPath: place.directory("new").key))
        #expect(!FileManager.default.fileExists(atPath: place.directory("new").configuration))
        #expect(attempt { $0.keyType = "ec-p384" } == "nothing was thrown")
        let again = try place.initialise("new") { request in
            request.recovers = true
            request.lists = ["\(place.path)/lost/crl.pem"]
        }
        #expect(again["created"] == false && again["warnings"]?.text.contains("ca-ctl crl import") == true)
    }

    @Test("an import takes CRLs over as well; --recover and --crl are refused where they mean nothing")
    func imported() throws {
        let place = try RecoveryPlace()
        try place.initialise("old")
        func pem(_ name: String) throws -> String { try String(contentsOfFile: "\(place.path)/old/\(name)", encoding: .utf8) }
        let (key, certificate) = (try pem("ca.key"), try pem("ca.crt"))
        let answer = try place.initialise("new") { request in
            request.seed = nil
            request.authorityKeyPEM = key
            request.authorityCertificatePEM = certificate
            request.lists = ["\(place.path)/old/crl.pem"]
        }
        #expect(answer["crls"]?.arrayValue?.first?["entries"] == .integer(0))
        #expect(answer["recovery"]?["origin"] == "imported" && answer["warnings"]?.text.contains("nor what was revoked after") == true)
        let both = place.words {
            try place.initialise("both") { request in
                request.seed = nil
                request.authorityKeyPEM = key
                request.authorityCertificatePEM = certificate
                request.recovers = true
            }
        }
        #expect(both.contains("leave --recover out"))
        #expect(
            place.words { try place.initialise("plain") { $0.lists = ["\(place.path)/old/crl.pem"] } }.contains(
                "--crl is for a CA that signed before"))
    }

    @Test("a seed that was given without --recover is noted too; one that init made is not")
    func givenSeed() throws {
        let place = try RecoveryPlace()
        try place.initialise("given")
        let given = try place.open("given")
        #expect(given.authority.state.recoveryNote?.sentence.contains("if it made a CA before") == true)
        try given.close()
        try place.initialise("made") { $0.seed = nil }
        let made = try place.open("made")
        #expect(made.authority.state.recoveryNote == nil)
        try made.close()
    }

    @Test("a start whose seed contradicts what is stored is refused, wherever the key is kept; the right seed does no harm")
    func contradictions() throws {
        let place = try RecoveryPlace()
        try place.configure("seeded", "key_storage: seed\n")
        try place.initialise("seeded")
        try place.initialise("filed")
        let right = try place.write(RecoveryPlace.seed + "\n", "right")
        let wrong = try place.write("correct horse battery staple é 2026", "wrong")
        for name in ["seeded", "filed"] {
            let words = place.words { try place.open(name, seedFile: wrong).close() }
            #expect(words.contains("seed") && words.contains("made"), "\(words)")
            try place.open(name, seedFile: right).close()
        }
        #expect(place.words { try place.open("seeded").close() }.contains("--seed-file"))
        try place.open("filed").close()
        // An imported CA has no seed: whatever is given contradicts it.
        let (key, certificate) = (
            try String(contentsOfFile: place.directory("filed").key, encoding: .utf8),
            try String(contentsOfFile: place.directory("filed").certificate, encoding: .utf8)
        )
        try place.initialise("imported") { request in
            request.seed = nil
            request.authorityKeyPEM = key
            request.authorityCertificatePEM = certificate
        }
        #expect(place.words { try place.open("imported", seedFile: right).close() }.contains("contradicts"))
        chmod(right, 0o644)
        #expect(place.words { try place.open("seeded", seedFile: right).close() }.contains("chmod 600"))
    }
}

@Suite("The CA key at rest", .serialized)
struct KeyAtRestTests {
    private func open(_ place: RecoveryPlace, passwordFile: String? = nil) throws {
        try OpenedAuthority.open(
            place.directory("data"), seedFile: nil, keyPasswordFile: passwordFile, log: RecoveryPlace.log
        ).close()
    }

    @Test("encrypted: openssl opens it with the password, and the start says in one line what is wrong with another one")
    func encrypted() throws {
        let place = try RecoveryPlace()
        let file = try place.write("the password of the key\n", "password")
        try place.configure("data", "key_storage: encrypted\npassword_file: \(file)\n")
        try place.initialise("data")
        #expect(try place.shell("openssl pkey -in data/ca.key -passin file:password -noout; echo $?") == "0\n")
        try self.open(place)
        try place.write("another password\n", "password")
        let wrong = place.words { try self.open(place) }
        #expect(
            wrong
                == "\(place.directory("data").key) cannot be decrypted with the password in \(file); give the one that it was encrypted with"
        )
        try place.write("\n", "password")
        #expect(place.words { try self.open(place) } == "\(file) is empty; the password of ca.key is expected in it")
        try FileManager.default.removeItem(atPath: file)
        #expect(place.words { try self.open(place) }.contains("Cannot open \(file): No such file"))
        try place.write("the password of the key\n", "password", mode: 0o644)
        #expect(place.words { try self.open(place) }.contains("chmod 600"))
    }

    @Test("encrypted without password_file: the password comes from the file that the start is given; without one init and start say so")
    func credential() throws {
        let place = try RecoveryPlace()
        try place.configure("data", "key_storage: encrypted\n")
        let none = place.words { try place.initialise("data") }
        #expect(none.contains("password_file") && none.contains("'ca-key-password'") && !place.directory("data").isInitialised)
        let file = try place.write("the password of the key", "ca-key-password", mode: 0o400)
        try place.initialise("data") { $0.keyPasswordFile = file }
        #expect(try place.shell("head -1 data/ca.key") == "-----BEGIN ENCRYPTED PRIVATE KEY-----\n")
        try self.open(place, passwordFile: file)
        #expect(place.words { try self.open(place) }.contains("'ca-key-password'"))
    }

    @Test("a key that is encrypted although the configuration says otherwise is named with what to set")
    func otherwise() throws {
        let place = try RecoveryPlace()
        try place.initialise("data")
        try place.shell(
            "openssl pkcs8 -topk8 -v2 aes-256-cbc -in data/ca.key -out new.key -passout pass:secret && cat new.key > data/ca.key")
        let words = place.words { try self.open(place) }
        #expect(
            words
                == "\(place.directory("data").key) is encrypted; set key_storage: encrypted in ca.config.yml, with password_file for its password"
        )
    }
}
