// How a relay and its core take leave, so that another process goes on where they stopped: no request is lost in between.
import CLinux
import Foundation
import Relay
import Supervised
import Synchronization
import TestPrograms
import Testing
import Threads
import UPKIProtocol
import ZeroMQ

@Suite("A relay that is replaced", .serialized)
struct HandoverTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    private var corePath: String { "\(directory.path)/\(TestRelay.corePath)" }

    /// A socket that listens on a free port of loopback, as a service manager holds one.
    private final class HeldSocket: Sendable {
        let descriptor: Int32
        let place: String

        init() throws {
            let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
            self.descriptor = descriptor
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
            let bound = withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
            }
            guard bound == 0, listen(descriptor, 64) == 0 else { throw TestFailure("no held socket") }
            var text = [CChar](repeating: 0, count: 128)
            guard clinux_listening_at(descriptor, &text, text.count) == 0 else { throw TestFailure("the held socket has no place") }
            place = String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        }

        deinit { close(descriptor) }

        /// A copy for a relay, which closes it.
        var handed: InheritedSocket { InheritedSocket(descriptor: fcntl(descriptor, F_DUPFD_CLOEXEC, 3), name: "front", place: place) }
    }

    private static let configured: @Sendable (JSON) -> JSON = { parameters in
        parameters["listeners"] == true ? ["listeners": [["endpoint": "tcp://127.0.0.1:*", "curve": false]]] : [:]
    }

    @Test("listens where the core says, once it says so")
    func configured() throws {
        let test = try TestRelay(directory, listen: []) { $0.listensAsConfigured = true }
        #expect(test.relay.endpoints.isEmpty)
        let core = try FakeCore(path: corePath, relay: Self.configured) { $0.payload }
        defer { core.stop() }
        let asking = try client(.request, try test.readyEndpoint(), in: test.context)
        #expect(try asking.ask("hello") == "hello")
    }

    @Test("takes over a socket that was there, for the place that is configured and for one that is not")
    func held() throws {
        let (named, other) = (try HeldSocket(), try HeldSocket())
        let core = try FakeCore(
            path: corePath, relay: { _ in ["listeners": [["endpoint": .string("tcp://\(named.place)"), "curve": false]]] }
        ) { $0.payload }
        defer { core.stop() }
        let test = try TestRelay(directory, listen: []) {
            $0.listensAsConfigured = true
            $0.inherited = [named.handed, other.handed]
        }
        _ = try test.readyEndpoint()
        #expect(Set(test.relay.endpoints) == ["tcp://\(named.place)", "tcp://\(other.place)"])
        for held in [named, other] {
            let asking = try client(.request, "tcp://\(held.place)", in: test.context)
            #expect(try asking.ask("hello") == "hello")
        }
        test.relay.stop(reason: "a test")
        _ = try test.waitForEnd()
        test.relay.join()
        // It is still there for the next one.
        #expect(!RawPeer.isRefused("tcp://\(named.place)"))
    }

    @Test("a socket off loopback that nobody named is one with CURVE")
    func heldElsewhere() throws {
        let sockets = [("127.0.0.1:1", "a"), ("[::1]:1", "b"), ("192.0.2.1:1", "c"), ("[2001:db8::1]:1", "d"), ("0.0.0.0:1", "e")].map {
            InheritedSocket(descriptor: 100, name: $1, place: $0)
        }
        let joined = try RelayListener.joined([try RelayListener(endpoint: "tcp://192.0.2.1:1")], with: sockets)
        #expect(joined.map(\.endpoint) == ["192.0.2.1:1", "127.0.0.1:1", "[::1]:1", "[2001:db8::1]:1", "0.0.0.0:1"].map { "tcp://\($0)" })
        #expect(joined.map(\.mechanism) == [.plain, .plain, .plain, .curve, .curve])
        #expect(joined.allSatisfy { $0.descriptor == 100 })
    }

    @Test("clients that pause for a moment are answered while one relay after the other serves the same socket")
    func succession() throws {
        let held = try HeldSocket()
        let core = try FakeCore(path: corePath) { $0.payload }
        defer { core.stop() }
        func relay() throws -> TestRelay {
            let relay = try TestRelay(directory, listen: ["tcp://\(held.place)"]) { $0.inherited = [held.handed] }
            _ = try relay.readyEndpoint()
            return relay
        }
        var current = try relay()
        let isOver = Atomic<Bool>(false)
        let failures = Mutex<[String]>([])
        let answered = DispatchSemaphore(value: 0)
        let place = held.place
        try withExtendedLifetime(held) {
            let clients = try (0..<6).map { number in
                try OwnedThread(name: "client-\(number)") {
                    do {
                        let context = try ZMQContext()
                        let asking = try client(.request, "tcp://\(place)", in: context)
                        var count = 0
                        while !isOver.load(ordering: .acquiring) {
                            count += 1
                            let text = "\(number) \(count)"
                            guard try asking.ask(text) == text else { return failures.withLock { $0.append("another answer to \(text)") } }
                            answered.signal()
                            usleep(UInt32(8_000 + number * 3_000))
                        }
                    } catch {
                        failures.withLock { $0.append("client \(number): \(error)") }
                    }
                }
            }
            for _ in 0..<5 {
                // Fifty more; a client that failed gives none.
                while answered.wait(timeout: .now()) == .success {}
                for _ in 0..<50 where failures.withLock(\.isEmpty) { _ = answered.wait(timeout: .now() + 1) }
                current.relay.stop(reason: "a test")
                #expect(try current.waitForEnd() == .stopped(reason: "a test"))
                current.relay.join()
                #expect(current.relay.counters.busyStopping == 0)
                current = try relay()
            }
            isOver.store(true, ordering: .releasing)
            for client in clients { client.join() }
        }
        #expect(failures.withLock { $0 }.isEmpty, "\(failures.withLock { $0 })")
    }

    @Test("a client that never pauses is answered up to the end, and then told to try again")
    func pauseless() throws {
        let core = try FakeCore(path: corePath) { $0.payload }
        defer { core.stop() }
        let test = try TestRelay(directory) { ($0.drainTime, $0.drainEnd) = (300, 100) }
        let asking = try client(.request, try test.readyEndpoint(), in: test.context)
        for _ in 0..<100 { #expect(try asking.ask("x") == "x") }
        test.relay.stop(reason: "a test")
        var last = "x"
        while last == "x" { last = try asking.ask("x") }
        #expect(last.contains("Busy: this service is stopping; try again"))
        #expect(try test.waitForEnd() == .stopped(reason: "a test"))
    }

    @Test("when its core takes leave it says goodbye, gets the answers that it is owed, and keeps what comes for the next core")
    func farewell() throws {
        let first = try FakeCore(path: corePath, instance: "one") { _ in nil }
        let test = try TestRelay(directory)
        let dealer = try client(.dealer, try test.readyEndpoint(), in: test.context)
        try dealer.say("early")
        let open = try first.requests.next()
        first.send(to: open.connection, header: InternalLink.AnswerHeader(kind: .goingAway, id: 0).encoded, payload: [])
        let goodbye = try first.requests.next()
        #expect(goodbye.header.kind == .goodbye && goodbye.payload.isEmpty)
        try dealer.say("late")
        first.answer(open, "still answered")
        #expect(try dealer.hear() == ["still answered"])
        first.stop()
        #expect(first.requests.count == 0)
        let second = try FakeCore(path: corePath, instance: "two") { $0.payload }
        defer { second.stop() }
        #expect(try dealer.hear() == ["late"])
    }
}
