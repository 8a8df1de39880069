// The store's files and the clock under a real core: locked, newer, damaged, without its log; a clock that was set back and forward.
import Foundation
import Glibc
import TestPrograms
import Testing
import UPKIProtocol

extension IntegrationTests {
    @Suite("a store that cannot be used")
    struct StoreFaultTests {
        /// A program that opens the database as another process would.
        private func sqlite(_ core: FaultyCore, _ program: String, keepInput: Bool = false) throws -> ProgramRun {
            try core.place.start(
                [
                    "/usr/bin/python3", "-c", "import sqlite3,sys\ndb=sqlite3.connect(sys.argv[1],isolation_level=None)\n" + program,
                    "\(core.data)/db/ca.sqlite",
                ],
                keepInput: keepInput)
        }

        @Test(
            "locked by another process: a change is refused in under 4 s, reads go on, and the next change is taken when the lock is gone",
            arguments: ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
        func locked(lock: String) throws {
            try withFaultyCore { core in
                let before = try core.sign("before.example.com")
                let holder = try self.sqlite(
                    core, "db.execute('\(lock)')\nprint('locked',flush=True)\nsys.stdin.read()", keepInput: true)
                try holder.waitFor("locked")
                let start = ContinuousClock.now
                let line = try core.refusedSign("refused.example.com")
                #expect(ContinuousClock.now - start < .seconds(4))
                #expect(line == "Storage error: the store is locked by another process; end what else has the database open")
                let reading = ContinuousClock.now
                #expect(try core.serials() == [before])
                #expect(ContinuousClock.now - reading < .seconds(1))
                holder.closeInput()
                #expect(try holder.finish().code == 0)
                let after = try core.sign("after.example.com")
                #expect(try core.serials() == [before, after])
                try core.checkWhole()
            }
        }

        @Test("of a newer schema: the start is refused in one line, and the file is left alone")
        func newerSchema() throws {
            try withFaultyCore { core in
                try core.stop()
                let program = try self.sqlite(
                    core, "db.execute(\"INSERT INTO grdb_migrations (identifier) VALUES ('9999-from-the-future')\")")
                #expect(try program.finish().code == 0)
                let words = try core.failToStart()
                #expect(words.contains("The store was written by a newer version of uPKI CA; start that version"), "\(words)")
                #expect(words.split(separator: "\n").filter { $0.contains("error") }.count == 1)
                let undo = try self.sqlite(core, "db.execute(\"DELETE FROM grdb_migrations WHERE identifier = '9999-from-the-future'\")")
                #expect(try undo.finish().code == 0)
                try core.start()
            }
        }

        /// Writes nonsense over the page that a certificate's row is on.
        private func damage(_ core: FaultyCore, name: String) throws {
            let path = "\(core.data)/db/ca.sqlite"
            let bytes = try Data(contentsOf: URL(fileURLWithPath: path))
            let found = try #require(bytes.range(of: Data("\(name)\(name)server".utf8)) ?? bytes.range(of: Data("CN=\(name)".utf8)))
            let file = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
            try file.seek(toOffset: UInt64(found.lowerBound / 4_096 * 4_096))
            try file.write(contentsOf: Data(repeating: 0x55, count: 4_096))
            try file.close()
        }

        @Test(
            "with a damaged page: the start is no obstacle, what needs the page is refused in one line, everything else goes on, and status warns"
        )
        func damagedPage() throws {
            try withFaultyCore { core in
                let names = (0..<12).map { "host\($0).example.com" }
                let serials = try names.map { try core.sign($0) }
                try core.stop()
                try self.damage(core, name: "host0.example.com")
                try core.start()
                #expect(
                    try core.refusal(["cert", "show", "--serial", serials[0]])
                        == "Storage error: the store's file is damaged; restore it from a backup")
                #expect(try core.facts(["cert", "show", "--serial", serials[11]])["serial"]?.stringValue == serials[11])
                let after = try core.sign("after.example.com")
                try core.revoke(after)
                let status = try core.facts(["status"])
                #expect(status.at("core", "store", "damaged") == true)
                #expect(status["warnings"]?.arrayValue?.contains { $0.stringValue?.contains("damaged") == true } == true)
                #expect(try core.facts(["audit", "verify"])["good"] == true)
            }
        }

        // MARK: The log

        private func log(_ core: FaultyCore) -> String { "\(core.data)/db/ca.sqlite-wal" }

        @Test(
            "whose log is removed under a running core: nothing acknowledged is lost, the core says why it ends, and the next one goes on")
        func removedLog() throws {
            try withFaultyCore { core in
                var acknowledged = [try core.sign("a.example.com")]
                try FileManager.default.removeItem(atPath: self.log(core))
                // Taken or refused: what is taken is there afterwards, whenever the core notices.
                let finished = try core.ctl(["admin", "add", "/CN=late"])
                let log = core.log
                let code = try core.ended()
                #expect(code == 1, "\(log)")
                try core.start()
                if finished.code == 0 { #expect(try core.facts(["admin", "list"]).text.contains("late")) }
                #expect(try core.serials() == Set(acknowledged))
                acknowledged.append(try core.sign("b.example.com"))
                #expect(try core.serials() == Set(acknowledged))
                try core.checkWhole()
            }
        }

        @Test("whose log is removed after a clean stop: it is not needed")
        func removedAfterStop() throws {
            try withFaultyCore { core in
                let serial = try core.sign("a.example.com")
                try core.stop()
                for suffix in ["-wal", "-shm"] { unlink("\(core.data)/db/ca.sqlite\(suffix)") }
                try core.start()
                #expect(try core.serials() == [serial])
                try core.checkWhole()
            }
        }

        @Test("whose log is removed after kill -9: the start is refused, put back nothing is lost")
        func removedAfterKill() throws {
            try withFaultyCore { core in
                let serial = try core.sign("a.example.com")
                try core.stop(SIGKILL)
                #expect(rename(self.log(core), core.place.path("kept")) == 0)
                let words = try core.failToStart()
                #expect(words.contains("The store's log (ca.sqlite-wal) is gone or cut off, and acknowledged changes with it"), "\(words)")
                #expect(words.split(separator: "\n").filter { $0.contains("error") }.count == 1)
                try core.place.must(["/usr/bin/cp", core.place.path("kept"), self.log(core)])
                try core.start()
                #expect(try core.serials() == [serial])
                try core.checkWhole()
            }
        }
    }

    @Suite("a clock that is set")
    struct ClockFaultTests {
        @Test("back by a month: issuing is refused in one line, revocation and its CRL go on, status and log warn; set right, all goes on")
        func back() throws {
            try withFaultyCore { core in
                let serial = try core.sign("a.example.com")
                try core.faults("clock \(-30 * 86_400)")
                let line = try core.refusedSign("b.example.com")
                #expect(line.hasPrefix("Request refused: the clock stands at ") && line.contains("ca-ctl clock accept"), "\(line)")
                try core.revoke(serial)
                try waitUntil("the CRL holds it") { try core.isOnPublishedList(serial) }
                let status = try core.facts(["status"])
                #expect((status.at("core", "clock_behind_seconds")?.integerValue ?? 0) > 29 * 86_400)
                #expect(status["warnings"]?.arrayValue?.contains { $0.stringValue?.hasPrefix("the clock stands ") == true } == true)
                try waitUntil("the log says it") {
                    core.log.contains("the clock was set back by") && core.log.contains("only revocations are taken; set it")
                }
                // One CRL for the start and one for the revocation: a clock behind the last one is no reason for more.
                for _ in 0..<10 { _ = try core.facts(["crl", "show"]) }
                #expect(core.log.components(separatedBy: "published CRL").count - 1 <= 2)
                // A restart does not forget.
                try core.stop()
                try core.start()
                #expect(try core.refusedSign("b.example.com").hasPrefix("Request refused: the clock stands at "))
                try core.faults("")
                try core.sign("b.example.com")
                try core.checkWhole()
            }
        }

        @Test("forward by half of a CRL's life: the next one is published by schedule, with the clock's time")
        func schedule() throws {
            try withFaultyCore { core in
                let first = try core.facts(["crl", "show"])["number"]?.integerValue ?? .max
                try core.faults("clock \(4 * 86_400)")
                try waitUntil("the next CRL is published") {
                    let list = try core.facts(["crl", "show"])
                    let format = ISO8601DateFormatter()
                    guard let begin = (list["this_update"]?.stringValue).flatMap({ format.date(from: $0) }) else { return false }
                    let ahead = begin.timeIntervalSince(Date())
                    return abs(ahead - 4 * 86_400) < 120 && (list["number"]?.integerValue ?? 0) > first
                }
            }
        }

        @Test(
            "forward and right again: what was done meanwhile stays, issuing waits for the operator's word, and the CRL is from now after it"
        )
        func forward() throws {
            try withFaultyCore { core in
                try core.faults("clock \(400 * 86_400)")
                let ahead = try core.sign("ahead.example.com")
                try core.revoke(ahead)
                try waitUntil("the CRL holds it") { try core.isOnPublishedList(ahead) }
                try core.faults("")
                #expect(try core.refusedSign("b.example.com").hasPrefix("Request refused: the clock stands at "))
                _ = try core.facts(["clock", "accept"])
                let now = try core.sign("b.example.com")
                #expect(try core.serials() == [ahead, now])
                try waitUntil("the CRL is from now") {
                    let text = try core.facts(["crl", "show"])["this_update"]?.stringValue ?? ""
                    let year = Calendar(identifier: .gregorian).component(.year, from: Date())
                    return text.hasPrefix("\(year)-")
                }
                #expect(try core.isOnPublishedList(ahead))
                #expect(try core.facts(["audit", "verify"])["good"] == true)
            }
        }
    }
}
