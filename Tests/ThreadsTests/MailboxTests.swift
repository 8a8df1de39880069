// Mailboxes: order, bounds, closing, and that no wake-up is lost or made in vain.
import Glibc
import Synchronization
import Testing
import Threads

@Suite("A mailbox")
struct MailboxTests {
    @Test("gives elements in the order they were posted")
    func order() throws {
        let mailbox = try Mailbox<Int>()
        for number in 0..<100 { mailbox.post(number) }
        #expect(mailbox.post(contentsOf: [100, 101]) == .accepted)
        #expect(mailbox.count == 102)
        #expect(mailbox.take(upTo: 3) == [0, 1, 2])
        #expect(mailbox.take(upTo: 1_000) == Array(3...101))
    }

    @Test("refuses what is beyond its capacity, a list as a whole")
    func capacity() throws {
        let mailbox = try Mailbox<Int>(capacity: 3)
        #expect(mailbox.post(contentsOf: [1, 2]) == .accepted)
        #expect(mailbox.post(contentsOf: [3, 4]) == .full)
        #expect(mailbox.post(3) == .accepted)
        #expect(mailbox.post(4) == .full)
        #expect(mailbox.take(upTo: 10) == [1, 2, 3])
        #expect(mailbox.post(4) == .accepted)
    }

    @Test("refuses posts once closed, and still gives what is inside")
    func close() throws {
        let mailbox = try Mailbox<Int>()
        mailbox.post(1)
        mailbox.close()
        #expect(mailbox.post(2) == .closed)
        #expect(mailbox.post(contentsOf: []) == .closed)
        var taken: [Int] = []
        #expect(mailbox.take(upTo: 5, into: &taken))
        #expect(taken == [1])
        #expect(!mailbox.take(upTo: 5, into: &taken))
        #expect(mailbox.take(upTo: 5).isEmpty)
    }

    @Test("wakes every worker that waits when it is closed")
    func closeWakesWorkers() throws {
        let mailbox = try Mailbox<Int>()
        let threads = try (0..<5).map { try OwnedThread(name: "worker\($0)") { while !mailbox.take(upTo: 1).isEmpty {} } }
        mailbox.post(1)
        mailbox.close()
        for thread in threads { thread.join() }
        #expect(mailbox.count == 0)
    }

    @Test("waits no longer than it is told, and loses no wake-up that came at that moment")
    func timedTake() throws {
        let mailbox = try Mailbox<Int>()
        var taken: [Int] = []
        let before = MonotonicTime.now
        #expect(mailbox.take(upTo: 1, into: &taken, within: 5_000_000))
        #expect(before.nanoseconds(until: .now) >= 5_000_000)
        #expect(taken.isEmpty)
        #expect(mailbox.take(upTo: 1, into: &taken, within: 0))
        #expect(taken.isEmpty)

        // Waits that run out at about the moment of each post, by two workers, one of them without a limit.
        let seen = Atomic<Int>(0)
        let impatient = try OwnedThread(name: "impatient") {
            var mine: [Int] = []
            while mailbox.take(upTo: 1, into: &mine, within: 20_000) {
                seen.wrappingAdd(mine.count, ordering: .relaxed)
                mine.removeAll()
            }
        }
        let patient = try OwnedThread(name: "patient") {
            while true {
                let mine = mailbox.take(upTo: 1)
                if mine.isEmpty { return }
                seen.wrappingAdd(mine.count, ordering: .relaxed)
            }
        }
        for number in 0..<20_000 {
            mailbox.post(number)
            if number % 8 == 0 { sched_yield() }
        }
        mailbox.close()
        impatient.join()
        patient.join()
        #expect(seen.load(ordering: .relaxed) == 20_000)
    }

    @Test("gives each element to exactly one of several workers, from several producers")
    func manyToMany() throws {
        let mailbox = try Mailbox<Int>()
        let seen = Mutex<[Int]>([])
        let workers = try (0..<4).map { index in
            try OwnedThread(name: "worker\(index)") {
                var mine: [Int] = []
                while mailbox.take(upTo: 7, into: &mine) {}
                seen.withLock { [mine] in $0.append(contentsOf: mine) }
            }
        }
        let producers = try (0..<4).map { index in
            try OwnedThread(name: "producer\(index)") {
                for number in stride(from: index, to: 40_000, by: 4) { mailbox.post(number) }
            }
        }
        for thread in producers { thread.join() }
        mailbox.close()
        for thread in workers { thread.join() }
        #expect(seen.withLock { $0.sorted() } == Array(0..<40_000))
    }

    @Test("makes its descriptor readable only for a poller that said it would sleep")
    func pollerWakeUp() throws {
        let mailbox = try Mailbox<Int>()
        #expect(mailbox.mayPoll())
        mailbox.post(1)
        #expect(Self.isReadable(mailbox.descriptor))
        var taken: [Int] = []
        #expect(mailbox.takeAll(into: &taken) == 1)
        #expect(!Self.isReadable(mailbox.descriptor))
        mailbox.post(2)
        #expect(!Self.isReadable(mailbox.descriptor))
        #expect(!mailbox.mayPoll())
        mailbox.takeAll(into: &taken)
        #expect(taken == [1, 2])
        #expect(mailbox.mayPoll())
        mailbox.close()
        #expect(Self.isReadable(mailbox.descriptor))
    }

    @Test("loses nothing between producers and a poller, and leaves no descriptor readable for nothing")
    func pollerUnderLoad() throws {
        let mailbox = try Mailbox<Int>()
        let producers = try (0..<3).map { index in
            try OwnedThread(name: "producer\(index)") {
                for number in stride(from: index, to: 60_000, by: 3) {
                    mailbox.post(number)
                    if number % 64 == 0 { sched_yield() }
                }
            }
        }
        var taken: [Int] = []
        while taken.count < 60_000 {
            if mailbox.mayPoll() {
                var item = pollfd(fd: mailbox.descriptor, events: Int16(POLLIN), revents: 0)
                #expect(poll(&item, 1, 20_000) == 1, "a wake-up was lost")
                if item.revents == 0 { break }
            }
            mailbox.takeAll(into: &taken)
        }
        for thread in producers { thread.join() }
        #expect(taken.sorted() == Array(0..<60_000))
        mailbox.takeAll(into: &taken)
        #expect(!Self.isReadable(mailbox.descriptor))
    }

    private static func isReadable(_ descriptor: Int32) -> Bool {
        var item = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        return poll(&item, 1, 0) == 1
    }
}
