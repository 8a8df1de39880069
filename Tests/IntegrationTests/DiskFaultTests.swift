// A disk that fails under a running core: errors on write and on fsync, a full disk, a read-only one.
import Foundation
import Glibc
import TestPrograms
import Testing
import UPKIProtocol

extension IntegrationTests {
    @Suite("a disk that fails")
    struct DiskFaultTests {
        private func count(_ text: String, in log: String) -> Int { log.components(separatedBy: text).count - 1 }

        @Test(
            "errors on write and fsync: a change is refused in one line, reads go on, and after the fault the next one is taken without a restart",
            arguments: [
                "write EIO -wal", "sync EIO -wal", "write EIO -wal after=2", "write EROFS -wal", "truncate EIO -wal\nsync EIO -wal",
            ])
        func errors(rules: String) throws {
            try withFaultyCore { core in
                let before = try core.sign("before.example.com")
                try core.faults(rules)
                for number in 0..<4 {
                    let line = try core.refusedSign("refused\(number).example.com")
                    #expect(line == "Storage error: the disk reports an error; look for its cause in the kernel's log")
                }
                // One that does not fit is refused for the disk as well: its refusal could not be recorded.
                #expect(try core.refusal(["admin", "add", "no=name"]).contains("Storage error: "))
                #expect(try core.serials() == [before])
                #expect(try core.facts(["status"]).at("core", "ca", "subject") != nil)
                #expect(self.count("the disk reports an error", in: core.log) <= 3, "the log is no victim:\n\(core.log)")
                try core.faults("")
                let after = try core.sign("after.example.com")
                #expect(try core.serials() == [before, after])
                try core.checkWhole()
                // What was refused is not found later either.
                try core.stop(SIGKILL)
                try core.start()
                #expect(try core.serials() == [before, after])
                try core.checkWhole()
            }
        }

        @Test("a refused commit whose sync failed is cut out of the log at once: kill -9 after it brings nothing back")
        func cutOff() throws {
            try withFaultyCore { core in
                let before = try core.sign("before.example.com")
                try core.faults("sync EIO -wal times=1")
                #expect(try core.refusedSign("refused.example.com").hasPrefix("Storage error: the disk reports an error"))
                let log = "\(core.data)/db/ca.sqlite-wal"
                try waitUntil("the log is cut") {
                    (try? FileManager.default.attributesOfItem(atPath: log)[.size] as? NSNumber)?.intValue == 0
                }
                try core.stop(SIGKILL)
                try core.faults("")
                try core.start()
                #expect(try core.serials() == [before])
                try core.checkWhole()
            }
        }

        @Test("kill -9 while the disk still refuses to sync: what was acknowledged is there, and whatever else is there has its one record")
        func killedInFault() throws {
            try withFaultyCore { core in
                var acknowledged: Set<String> = []
                for number in 0..<5 { acknowledged.insert(try core.sign("good\(number).example.com")) }
                try core.faults("sync EIO -wal\nsync EIO ca.sqlite")
                for number in 0..<3 { _ = try core.refusedSign("refused\(number).example.com") }
                try core.stop(SIGKILL)
                try core.faults("")
                try core.start()
                let found = try core.serials()
                #expect(found.isSuperset(of: acknowledged))
                // The last commit stood in the log whole, and only its sync was missing: it may have been kept.
                #expect(found.count <= acknowledged.count + 1)
                try core.checkWhole()
                try core.sign("after.example.com")
                try core.checkWhole()
            }
        }

        @Test(
            "a disk that fails at the database file alone, where only checkpoints go, stops nothing; the log says so once, and that it is over"
        )
        func checkpoints() throws {
            try withFaultyCore { core in
                let log = "\(core.data)/db/ca.sqlite-wal"
                let database = "\(core.data)/db/ca.sqlite"
                func size(_ path: String) -> Int {
                    (try? FileManager.default.attributesOfItem(atPath: path)[.size] as? NSNumber)?.intValue ?? 0
                }
                try core.faults("write EIO ca.sqlite")
                // 12 MiB of log, of which 8 are enough for it to be copied back, written by another process.
                let program = """
                    import sqlite3, sys
                    db = sqlite3.connect(sys.argv[1], isolation_level=None)
                    db.execute('PRAGMA wal_autocheckpoint = 0')
                    db.execute('CREATE TABLE ballast (bytes BLOB)')
                    db.execute('INSERT INTO ballast VALUES (zeroblob(12582912))')
                    db.execute('DROP TABLE ballast')
                    """
                try core.place.must(["/usr/bin/python3", "-c", program, database])
                #expect(size(log) > 12 << 20)
                try waitUntil("the failure is logged") {
                    core.log.contains("the store's log could not be copied back: the disk reports an error")
                }
                let serial = try core.sign("a.example.com")
                try core.revoke(serial)
                try core.faults("")
                try waitUntil("the log is copied back") { core.log.contains("the store's log is copied back again") }
                #expect(self.count("could not be copied back", in: core.log) == 1)
                try core.checkWhole()
            }
        }

        @Test(
            "published files on a disk that is read-only: a revocation is acknowledged, the old CRL stays whole, and the new one comes when it can"
        )
        func publishing() throws {
            try withFaultyCore { core in
                let serial = try core.sign("a.example.com")
                let list = "\(core.data)/published/crl.der"
                let old = try #require(FileManager.default.contents(atPath: list))
                // The name of a file under construction is of constant form; its folder is what the rule means.
                try core.faults("open EROFS /published/")
                try core.revoke(serial)
                try waitUntil("the failure is logged") { core.log.contains("the CRL could not be published") }
                #expect(FileManager.default.contents(atPath: list) == old)
                #expect(try core.isRevoked(serial))
                try core.faults("")
                try waitUntil("the CRL holds it") { try core.isOnPublishedList(serial) }
                let leftovers = try FileManager.default.contentsOfDirectory(atPath: "\(core.data)/published")
                #expect(Set(leftovers) == ["ca.crt", "crl.der"])
            }
        }

        @Test("key and profile files that cannot be made ready: the change is refused, and nothing of it is recorded")
        func files() throws {
            try withFaultyCore { core in
                try core.faults("open ENOSPC /pending/")
                #expect(try core.refusal(["cert", "issue", "k.example.com"]) == "Storage error: the key file could not be written")
                try core.place.write("duration: 5\nkeyUsage: [digitalSignature]\nextendedKeyUsage: [serverAuth]\n", to: "short.yml")
                #expect(
                    try core.refusal(["profile", "add", core.place.path("short.yml")])
                        == "Storage error: the profile's file could not be written")
                #expect(try core.serials().isEmpty)
                try core.faults("")
                _ = try core.facts(["cert", "issue", "k.example.com"])
                _ = try core.facts(["profile", "add", core.place.path("short.yml")])
                #expect(try core.serials().count == 1)
                #expect(try core.facts(["audit", "verify"])["good"] == true)
            }
        }

        @Test(
            "a folder of keys that cannot be written at the moment: what was made ready comes there with the next change, or at the next start"
        )
        func laterFiles() throws {
            try withFaultyCore { core in
                let keys = ["a", "b"].map { "\(core.data)/nodes/\($0).example.com/key.pem" }
                try core.faults("open EROFS /nodes/")
                _ = try core.facts(["cert", "issue", "a.example.com"])
                #expect(!FileManager.default.fileExists(atPath: keys[0]))
                try core.faults("")
                _ = try core.facts(["cert", "issue", "b.example.com"])
                for key in keys { #expect(FileManager.default.fileExists(atPath: key)) }
                try core.faults("open EROFS /nodes/")
                _ = try core.facts(["cert", "issue", "c.example.com"])
                try core.stop(SIGKILL)
                try core.faults("")
                try core.start()
                #expect(FileManager.default.fileExists(atPath: "\(core.data)/nodes/c.example.com/key.pem"))
                #expect(try core.serials().count == 3)
            }
        }

        // MARK: A full disk

        private static let isRoot = geteuid() == 0

        @Test(
            "a really full disk: revocations and their CRL go on from the space set aside, also over a restart; the rest is refused until there is room",
            .enabled(if: isRoot, "mounting a small tmpfs needs root"))
        func fullDisk() throws {
            try withFaultyCore(megabytes: 24, configuration: "store: {reserve: 8}") { core in
                try core.stop()
                try core.start()
                #expect(try core.facts(["status"]).at("core", "store", "reserve") == "whole")
                let serials = try (0..<4).map { try core.sign("host\($0).example.com") }
                let ballast = try core.fillDisk()
                var refused = 0
                // The log has room of its own until its last block is used.
                while refused == 0 {
                    let finished = try core.ctl(["admin", "add", "/CN=filler \(UUID().uuidString)"])
                    if finished.code != 0 {
                        #expect(finished.errors.contains("Storage error: the disk is full; "), "\(finished.errors)")
                        refused += 1
                    }
                    _ = try core.fillDisk()
                }
                for serial in serials[..<2] { try core.revoke(serial) }
                let line = try core.refusedSign("late.example.com")
                #expect(line == "Storage error: the disk is full; only revocations are taken until there is space again")
                try waitUntil("the CRL holds both") { try serials[..<2].allSatisfy { try core.isOnPublishedList($0) } }
                let status = try core.facts(["status"])
                #expect(status.at("core", "store", "reserve") == "in use", "\(status.text)")
                #expect(
                    status["warnings"]?.arrayValue?.contains {
                        $0.stringValue
                            == "the disk is full, and only revocations are taken: make room on the file system of the data directory"
                    } == true)
                // Somebody takes what is given up; the next piece is given up for the next one.
                _ = try core.fillDisk()
                try core.revoke(serials[2])
                // A restart on the full disk revokes too.
                _ = try core.fillDisk()
                try core.stop(SIGKILL)
                _ = try core.fillDisk()
                try core.start()
                try core.revoke(serials[3])
                // The bridge goes on too: otherwise nobody would see what was revoked.
                let bridge = try core.certifyResponder()
                #expect(bridge.at("DATA", "certificate")?.stringValue != nil, "\(bridge.text)")
                try waitUntil("the CRL holds all") { try serials.allSatisfy { try core.isOnPublishedList($0) } }
                // Room again: everything is taken within seconds, without a restart.
                unlink(ballast)
                try waitUntil("the space set aside is whole") { try core.facts(["status"]).at("core", "store", "reserve") == "whole" }
                try core.sign("after.example.com")
                try waitUntil("the log says so") { core.log.contains("there is space again") }
                #expect(self.count("the disk is full: the space set aside is in use", in: core.log) == 1)
                for serial in serials { #expect(try core.isRevoked(serial)) }
                try core.checkWhole()
            }
        }

        @Test(
            "a CA that cannot set its space aside is not made, in one line with the remedy; with a smaller reserve it is",
            .enabled(if: isRoot, "mounting a small tmpfs needs root"))
        func noRoomForReserve() throws {
            let place = try Workplace()
            defer { place.end() }
            let disk = place.path("disk")
            try FileManager.default.createDirectory(atPath: disk, withIntermediateDirectories: false)
            try place.must(["/usr/bin/mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", disk])
            defer { _ = try? place.run(["/usr/bin/umount", disk]) }
            let command = ["\(Checkout.programs)/ca-ctl", "init", "--json", "--data-dir", "\(disk)/data", "--run-dir", place.path("run")]
            let refused = try place.run(command)
            #expect(refused.code == 1)
            let line = try #require(refused.errors.split(separator: "\n").last)
            #expect(line.contains("no room to set 32 MiB aside") && line.contains("store.reserve"), "\(refused.errors)")
            let file = "\(disk)/data/ca.config.yml"
            try (String(contentsOfFile: file, encoding: .utf8) + "\nstore: {reserve: 4}\n").write(
                toFile: file, atomically: false, encoding: .utf8)
            let made = try place.run(command)
            #expect(made.code == 0, "\(made.errors)")
        }

        @Test(
            "the disk says once that it is full: the revocation that met it is taken from the space set aside, and seconds later all is as before"
        )
        func fullOnce() throws {
            try withFaultyCore { core in
                let serial = try core.sign("a.example.com")
                // Twice: what must not wait is first tried without the space set aside.
                try core.faults("write ENOSPC -wal times=2\nallocate ENOSPC reserve")
                try core.revoke(serial)
                #expect(
                    try core.refusedSign("b.example.com")
                        == "Storage error: the disk is full; only revocations are taken until there is space again")
                try core.faults("")
                try waitUntil("it takes everything again") { try core.facts(["status"]).at("core", "store", "reserve") == "whole" }
                try core.sign("b.example.com")
                try core.checkWhole()
            }
        }

        // MARK: A read-only disk

        @Test(
            "a start on a read-only file system is refused in one line that says what to do, and leaves everything as it is",
            .enabled(if: isRoot, "mounting needs root"))
        func readOnlyStart() throws {
            try withFaultyCore(megabytes: 64) { core in
                let serial = try core.sign("a.example.com")
                try core.stop()
                try core.place.must(["/usr/bin/mount", "-o", "remount,ro", core.place.path("disk")])
                let words = try core.failToStart()
                let errors = words.split(separator: "\n").filter { $0.contains("error") }
                #expect(errors.count == 1, "\(words)")
                #expect(words.contains("Read-only file system; make it writable"), "\(words)")
                try core.place.must(["/usr/bin/mount", "-o", "remount,rw", core.place.path("disk")])
                try core.start()
                #expect(try core.serials() == [serial])
            }
        }
    }
}
