// Threads, signs of life, the ring and the clock.
import Glibc
import Synchronization
import Testing
import Threads

@Suite("A thread of ours")
struct OwnedThreadTests {
    @Test("has its name, blocks every signal that can be blocked, and can be joined more than once")
    func nameAndSignals() throws {
        let name = Mutex("")
        let unblocked = Mutex<[Int32]>([])
        let thread = try OwnedThread(name: "fifteen-bytes-x") {
            if let file = fopen("/proc/thread-self/comm", "r") {
                var text = [CChar](repeating: 0, count: 64)
                _ = fgets(&text, 64, file)
                fclose(file)
                name.withLock { $0 = String(decoding: text.prefix { $0 > 10 }.map(UInt8.init), as: UTF8.self) }
            }
            var mask = sigset_t()
            pthread_sigmask(SIG_SETMASK, nil, &mask)
            // 32 and 33 belong to the C library; SIGKILL and SIGSTOP cannot be blocked (signal(7)).
            unblocked.withLock { $0 = (1...64).filter { ![SIGKILL, SIGSTOP, 32, 33].contains($0) && sigismember(&mask, $0) != 1 } }
        }
        thread.join()
        thread.join()
        #expect(name.withLock { $0 } == "fifteen-bytes-x")
        #expect(unblocked.withLock { $0 }.isEmpty)
    }

    @Test("leaves the signal mask of the thread that made it as it was")
    func maskOfTheMaker() throws {
        var before = sigset_t()
        pthread_sigmask(SIG_SETMASK, nil, &before)
        try OwnedThread(name: "short") {}.join()
        var after = sigset_t()
        pthread_sigmask(SIG_SETMASK, nil, &after)
        #expect((1...64).allSatisfy { sigismember(&before, $0) == sigismember(&after, $0) })
    }

    @Test("is refused with a name the kernel would not take")
    func names() {
        for name in ["", "sixteen-bytes-xx", "a\0b"] {
            let error = #expect(throws: ThreadsError.self) { try OwnedThread(name: name) {} }
            #expect(error?.code == .invalidName)
        }
    }
}

@Suite("Signs of life")
struct HeartbeatsTests {
    @Test("A loop that neither passed nor was idle since the last time is named")
    func silence() {
        let heartbeats = Heartbeats()
        let io = heartbeats.loop(named: "io")
        let writer = heartbeats.loop(named: "writer")
        io.passing()
        writer.idle()
        #expect(heartbeats.silentLoops() == [])
        #expect(heartbeats.silentLoops() == ["io"])
        io.passing()
        #expect(heartbeats.silentLoops() == [])
        writer.passing()
        #expect(heartbeats.silentLoops() == ["io"])
        #expect(heartbeats.silentLoops() == ["io", "writer"])
        io.idle()
        #expect(heartbeats.silentLoops() == ["writer"])
        writer.passing()
        writer.passing()
        #expect(heartbeats.silentLoops() == [])
    }

    @Test("A loop that was registered and never began is silent")
    func neverBegan() {
        let heartbeats = Heartbeats()
        _ = heartbeats.loop(named: "io")
        #expect(heartbeats.silentLoops() == ["io"])
    }
}

@Suite("The ring")
struct RingQueueTests {
    @Test("behaves as an array does that is emptied from the front")
    func model() {
        var ring = RingQueue<Int>()
        var model: [Int] = []
        var generator = SystemRandomNumberGenerator()
        for number in 0..<20_000 {
            // More appends than removals at first, then the reverse, so that it grows, wraps and empties.
            if UInt8.random(in: 0...255, using: &generator) < (number < 10_000 ? 160 : 90) {
                ring.append(number)
                model.append(number)
            } else {
                #expect(ring.popFirst() == (model.isEmpty ? nil : model.removeFirst()))
            }
            #expect(ring.count == model.count)
            #expect(ring.first == model.first)
        }
    }
}

@Suite("The monotonic clock")
struct MonotonicTimeTests {
    @Test("goes forward, and sums stop at the end of time")
    func arithmetic() {
        let now = MonotonicTime.now
        #expect(now <= .now)
        #expect(now.advanced(byMilliseconds: 5).nanoseconds == now.nanoseconds + 5_000_000)
        #expect(now.advanced(byMilliseconds: -5) == now)
        #expect(now.advanced(byMilliseconds: .max).nanoseconds == .max)
        #expect(now.milliseconds(until: now) == 0)
        #expect(now.milliseconds(until: MonotonicTime(nanoseconds: now.nanoseconds + 1)) == 1)
        #expect(now.advanced(byMilliseconds: 7).milliseconds(until: now) == 0)
        #expect(now.milliseconds(until: now.advanced(byMilliseconds: 7)) == 7)
    }
}
