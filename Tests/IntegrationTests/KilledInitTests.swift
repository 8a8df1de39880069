// init killed with -9: no CA whose seed was not shown, and the next init works.
import Foundation
import Glibc
import TestPrograms
import Testing
import UPKIProtocol

extension IntegrationTests {
    @Suite("a killed init")
    struct KilledInitTests {
        /// Who is killed: ca-ctl, ca-core, or both at once.
        private enum Victim: CaseIterable { case command, core, both }

        @Test("killed at any moment, init leaves a CA only if its seed was shown; the next init works, and its seed is the CA's")
        func anyMoment() throws {
            let place = try Workplace()
            defer { place.end() }
            let whole = try Self.duration(place)
            for attempt in 0..<6 {
                let victim = Victim.allCases[attempt % 3]
                // From the beginning to a little past the end.
                let moment = whole * Double.random(in: 0...1.1)
                try Self.kill(place, "any-\(attempt)", victim) { _ in usleep(UInt32(moment / .microseconds(1))) }
            }
        }

        @Test("killed when its last file is written, and when the mark of an unfinished CA goes, init has shown the seed or leaves no CA")
        func lastMoments() throws {
            let place = try Workplace()
            defer { place.end() }
            for attempt in 0..<6 {
                try Self.kill(place, "last-\(attempt)", attempt % 2 == 0 ? .command : .both) { data in
                    let end = ContinuousClock.now + .seconds(20)
                    func exists(_ name: String) -> Bool { access("\(data)/\(name)", F_OK) == 0 }
                    while !exists("ca.crt"), ContinuousClock.now < end {}
                    if attempt >= 2 { while exists("init.unfinished"), ContinuousClock.now < end {} }
                }
            }
        }

        @Test("a seed that standard output does not take makes no CA")
        func nobodyReads() throws {
            let place = try Workplace()
            defer { place.end() }
            let data = place.path("full")
            let finished = try place.run([
                "/bin/sh", "-c", "exec \"$0\" init --json --data-dir \"$1\" --run-dir \"$2\" >/dev/full", "\(Checkout.programs)/ca-ctl",
                data,
                place.path("run"),
            ])
            #expect(finished.code == 1 && finished.errors.contains("standard output cannot be written"), "\(finished.errors)")
            let core = try place.run([
                "/bin/sh", "-c", "exec \"$0\" init --data-dir \"$1\" >/dev/full", "\(Checkout.programs)/ca-core", place.path("core"),
            ])
            #expect(core.code == 1 && core.errors.contains("run init again"), "\(core.errors)")
            for folder in [data, place.path("core")] {
                #expect(!Self.isThere(folder))
                let next = try Self.initialise(place, folder)
                #expect(next["created"] == true && next["seed"]?.stringValue != nil)
            }
        }

        @Test("up makes the CA anew where an init was cut off before its seed was shown")
        func up() throws {
            let place = try Workplace()
            defer { place.end() }
            let (data, port) = (place.path("data"), try Ports.freePair())
            let places = ["--data-dir", data, "--run-dir", place.path("run")]
            let hidden = try JSON(
                parsing: Array(try place.must(["\(Checkout.programs)/ca-core", "init", "--until-shown", "--data-dir", data]).utf8))
            #expect(!Self.isThere(data))
            let up = try place.start(["\(Checkout.programs)/ca-ctl", "up", "--port", "\(port)"] + places)
            try place.must(["\(Checkout.programs)/ca-ctl", "status", "--wait", "30"] + places)
            up.signal(SIGTERM)
            let finished = try up.finish()
            #expect(finished.code == 0 && finished.output.contains("THE SEED"), "\(finished.output)\(finished.errors)")
            #expect(!finished.output.contains(try #require(hidden["seed"]?.stringValue)))
            #expect(Self.isThere(data))
        }

        // MARK: Steps

        private static func arguments(_ place: Workplace, _ data: String) -> [String] {
            ["\(Checkout.programs)/ca-ctl", "init", "--json", "--data-dir", data, "--run-dir", place.path("run")]
        }

        private static func initialise(_ place: Workplace, _ data: String) throws -> JSON {
            try JSON(parsing: Array(try place.must(Self.arguments(place, data)).utf8))
        }

        /// How long an init takes here.
        private static func duration(_ place: Workplace) throws -> Duration {
            let start = ContinuousClock.now
            _ = try Self.initialise(place, place.path("measured"))
            return ContinuousClock.now - start
        }

        /// What ca-core takes for a CA.
        private static func isThere(_ data: String) -> Bool {
            func exists(_ name: String) -> Bool { access("\(data)/\(name)", F_OK) == 0 }
            return exists("ca.crt") && exists("db/ca.sqlite") && !exists("init.unfinished")
        }

        private static func kill(_ place: Workplace, _ name: String, _ victim: Victim, when: (_ data: String) -> Void) throws {
            let data = place.path(name)
            let run = try place.start(Self.arguments(place, data))
            when(data)
            switch victim {
            case .command: run.signal(SIGKILL)
            // They share the process group that the test made.
            case .both: Glibc.kill(-run.pid, SIGKILL)
            case .core: for (pid, command) in place.processes() where command.contains("/ca-core ") { Glibc.kill(pid, SIGKILL) }
            }
            let finished = try run.finish()
            try waitUntil("no process is left", within: .seconds(5)) { place.processes().isEmpty }

            let shown = finished.output.split(separator: "\n").first.flatMap { try? JSON(parsing: Array($0.utf8)) }
            let wasThere = Self.isThere(data)
            if wasThere { #expect(shown?["seed"]?.stringValue != nil, "\(name): a CA is there whose seed nobody was shown") }
            let next = try Self.initialise(place, data)
            #expect(next["created"] == .bool(!wasThere), "\(name): \(next.text)")
            // The seed that was shown last is the one that the CA was made from.
            let seed = try #require((wasThere ? shown : next)?["seed"]?.stringValue)
            let confirmed = try place.run(Self.arguments(place, data) + ["--seed-stdin"], input: seed)
            #expect(confirmed.code == 0, "\(name): \(confirmed.errors)")
            let leftovers = try FileManager.default.contentsOfDirectory(atPath: data).filter { $0 == "init.unfinished" }
            #expect(leftovers.isEmpty)
        }
    }
}
