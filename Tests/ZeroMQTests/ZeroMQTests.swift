// Sockets, messages, polling and monitors, against libzmq itself and plain TCP sockets.
import Foundation
import Testing
import Threads
import ZeroMQ

private let limits = ZMQReceiveLimits(parts: 8, bytes: 1 << 20)

/// Options of a test's socket: it gives up instead of hanging the run.
private func patient() -> ZMQSocketOptions {
    var options = ZMQSocketOptions()
    options.receiveTimeoutMilliseconds = 20_000
    options.sendTimeoutMilliseconds = 20_000
    return options
}

private func temporaryDirectory() -> String {
    var template = Array("/tmp/zeromq-tests-XXXXXX".utf8CString)
    return mkdtemp(&template).map { String(cString: $0) } ?? "/tmp"
}

/// Sockets close after this; what they leave is gone by then.
private func remove(_ directory: String) {
    try? FileManager.default.removeItem(atPath: directory)
}

@Suite("A socket")
struct ZMQSocketTests {
    @Test("carries requests and answers, part by part")
    func roundTrip() throws {
        let context = try ZMQContext()
        let server = try ZMQSocket(.router, in: context, options: patient())
        try server.bind("tcp://127.0.0.1:*")
        let endpoint = try server.lastEndpoint
        #expect(endpoint.hasPrefix("tcp://127.0.0.1:") && !endpoint.hasSuffix("*"))
        let client = try ZMQSocket(.request, in: context, options: patient())
        try client.connect(endpoint)
        #expect(try client.send(parts: [[1, 2], [], [3]]) == .sent)
        let request = try #require(try server.receive(limits))
        #expect(request.parts.count == 5)
        #expect(Array(request.parts.dropFirst()) == [[], [1, 2], [], [3]])
        #expect(request.discardedParts == 0)
        try server.send(request.parts[0], more: true)
        try server.send([], more: true)
        try server.send([9])
        #expect(try client.receive(limits)?.parts == [[9]])
        // A REQ whose request was answered has nothing to receive (zmq_socket(3)).
        let error = #expect(throws: ZeroMQError.self) { _ = try client.receiveNow(limits) }
        #expect(error?.code == .invalidState)
    }

    @Test("reads a message of 4,000 parts to its end and keeps what it was allowed")
    func manyParts() throws {
        let context = try ZMQContext()
        let pair = try DealerPair(context)
        try pair.client.send(parts: (0..<4_000).map { [UInt8(truncatingIfNeeded: $0), 7] })
        try pair.client.send([42])
        let message = try #require(try pair.server.receive(ZMQReceiveLimits(parts: 3, bytes: 100)))
        #expect(message.parts == [[0, 7], [1, 7], [2, 7]])
        #expect(message.discardedParts == 3_997)
        #expect(message.discardedBytes == 7_994)
        #expect(try pair.server.receive(limits)?.parts == [[42]])
    }

    @Test("keeps no part after the first that did not fit")
    func bytesLimit() throws {
        let context = try ZMQContext()
        let pair = try DealerPair(context)
        try pair.client.send(parts: [[1, 2, 3], [UInt8](repeating: 9, count: 50), [4]])
        let message = try #require(try pair.server.receive(ZMQReceiveLimits(parts: 8, bytes: 10)))
        #expect(message.parts == [[1, 2, 3]])
        #expect(message.discardedParts == 2)
        #expect(message.discardedBytes == 51)
    }

    @Test("without a peer a DEALER does not block when asked not to, and a ROUTER says that nobody has that id")
    func nobodyThere() throws {
        let context = try ZMQContext()
        let directory = temporaryDirectory()
        defer { remove(directory) }
        var options = ZMQSocketOptions()
        options.immediate = true
        let dealer = try ZMQSocket(.dealer, in: context, options: options)
        try dealer.connect("ipc://\(directory)/nobody")
        #expect(try dealer.sendNow([1]) == .wouldBlock)
        #expect(try dealer.sendNow(parts: [[1], [2]]) == .wouldBlock)
        var routerOptions = ZMQSocketOptions()
        routerOptions.routerMandatory = true
        let router = try ZMQSocket(.router, in: context, options: routerOptions)
        try router.bind("tcp://127.0.0.1:*")
        #expect(try router.sendNow([1, 2, 3], more: true) == .unroutable)
        #expect(try router.sendNow(parts: [[1, 2, 3], [4], [5]]) == .unroutable)
    }

    @Test("a peer that does not read makes a ROUTER say so, message by message, with nothing half sent")
    func highWater() throws {
        let context = try ZMQContext()
        var options = patient()
        options.routerMandatory = true
        options.sendHighWater = 4
        let router = try ZMQSocket(.router, in: context, options: options)
        try router.bind("inproc://high-water")
        var clientOptions = patient()
        clientOptions.receiveHighWater = 4
        let client = try ZMQSocket(.dealer, in: context, options: clientOptions)
        try client.connect("inproc://high-water")
        try client.send([0])
        let id = try #require(try router.receive(limits)).parts[0]
        var sent = 0
        while try router.sendNow(parts: [id, [1], [2]]) == .sent { sent += 1 }
        #expect(sent == 8)
        for _ in 0..<sent { #expect(try client.receive(limits)?.parts == [[1], [2]]) }
        #expect(try client.receiveNow(limits) == nil)
    }

    @Test("tells the peer's address as the kernel knows it")
    func peerAddress() throws {
        let context = try ZMQContext()
        let directory = temporaryDirectory()
        defer { remove(directory) }
        for (endpoint, expected) in [
            ("tcp://127.0.0.1:*", "127.0.0.1"), ("ipc://\(directory)/s", "localhost:\(getuid()):\(getgid()):\(getpid())"),
        ] {
            let server = try ZMQSocket(.router, in: context, options: patient())
            try server.bind(endpoint)
            let client = try ZMQSocket(.dealer, in: context, options: patient())
            try client.connect(try server.lastEndpoint)
            try client.send([1])
            _ = try #require(try server.receive(limits))
            #expect(server.peerAddressOfLastMessage == expected)
            #expect(server.propertyOfLastMessage("Socket-Type") == "DEALER")
            #expect(server.propertyOfLastMessage("No-Such-Thing") == nil)
            #expect(server.descriptorOfLastMessage != nil)
        }
    }

    @Test("refuses endpoints with the reason")
    func endpoints() throws {
        let context = try ZMQContext()
        let first = try ZMQSocket(.router, in: context)
        try first.bind("tcp://127.0.0.1:*")
        let taken = try first.lastEndpoint
        let second = try ZMQSocket(.router, in: context)
        func refusal(_ endpoint: String) -> ZeroMQError? {
            do throws(ZeroMQError) {
                try second.bind(endpoint)
                return nil
            } catch { return error }
        }
        #expect(refusal(taken)?.code == .addressInUse)
        #expect(refusal(taken)?.message.contains(taken) == true)
        #expect(refusal("tcp://203.0.113.7:5000")?.code == .addressNotAvailable)
        #expect(refusal("tcp://127.0.0.1")?.code == .invalidEndpoint)
        #expect(refusal("carrier-pigeon://x")?.code == .invalidEndpoint)
        #expect(refusal("ipc:///nowhere/at/all")?.code == .addressNotAvailable)
        #expect(refusal("ipc:///tmp/\0x")?.code == .invalidEndpoint)
        let long = refusal("ipc:///tmp/" + String(repeating: "x", count: 103))
        #expect(long?.code == .pathTooLong)
        #expect(long?.message.contains("108 bytes") == true)
    }

    @Test("a path of 107 bytes is not too long")
    func longestPath() throws {
        let context = try ZMQContext()
        let directory = temporaryDirectory()
        defer { remove(directory) }
        let path = directory + "/" + String(repeating: "x", count: ZMQSocket.longestIPCPath - directory.utf8.count - 1)
        let socket = try ZMQSocket(.router, in: context)
        try socket.bind("ipc://\(path)")
        #expect(access(path, F_OK) == 0)
        try socket.unbind("ipc://\(path)")
        unlink(path)
    }

    @Test("that stops listening has lost the peers that came that way")
    func unbind() throws {
        let context = try ZMQContext()
        var options = patient()
        options.routerMandatory = true
        let server = try ZMQSocket(.router, in: context, options: options)
        try server.bind("tcp://127.0.0.1:*")
        let endpoint = try server.lastEndpoint
        let client = try ZMQSocket(.dealer, in: context, options: patient())
        try client.connect(endpoint)
        try client.send([1])
        let id = try #require(try server.receive(limits)).parts[0]
        #expect(try server.sendNow(parts: [id, [2]]) == .sent)
        #expect(try client.receive(limits)?.parts == [[2]])
        // A ROUTER can always be written to (zmq_socket(3)); there is nothing to read.
        #expect(try server.events == .writable)
        try server.unbind(endpoint)
        // The relay keeps its listeners to its end because of this; libzmq's thread takes a moment. Which of the two other outcomes
        // comes depends on what was still waiting for that peer.
        let patience = MonotonicTime.now.advanced(byMilliseconds: 20_000)
        var outcome = ZMQSendOutcome.sent
        while outcome == .sent && .now < patience { outcome = try server.sendNow(parts: [id, [3]]) }
        #expect(outcome != .sent)
    }

    @Test("refuses options that its type does not have")
    func options() throws {
        let context = try ZMQContext()
        var options = ZMQSocketOptions()
        options.routerMandatory = true
        let error = #expect(throws: ZeroMQError.self) { _ = try ZMQSocket(.dealer, in: context, options: options) }
        #expect(error?.code == .invalidArgument)
        #expect(throws: ZeroMQError.self) { _ = try ZMQContext(maximumSockets: -1) }
    }

    @Test("adopts a listening descriptor")
    func adoptedDescriptor() throws {
        let listening = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                _ = bind(listening, $0, length)
                _ = listen(listening, 16)
                _ = getsockname(listening, $0, &length)
            }
        }
        let endpoint = "tcp://127.0.0.1:\(UInt16(bigEndian: address.sin_port))"
        let context = try ZMQContext()
        var options = patient()
        options.listeningDescriptor = listening
        let server = try ZMQSocket(.router, in: context, options: options)
        try server.bind(endpoint)
        let client = try ZMQSocket(.dealer, in: context, options: patient())
        try client.connect(endpoint)
        try client.send([5])
        #expect(try server.receive(limits)?.parts.last == [5])
    }

    @Test("passes subscriptions to an extended publisher, and only what was subscribed to the subscriber")
    func subscriptions() throws {
        let context = try ZMQContext()
        let publisher = try ZMQSocket(.extendedPublish, in: context, options: patient())
        try publisher.bind("tcp://127.0.0.1:*")
        var options = patient()
        options.subscriptions = [[7]]
        let subscriber = try ZMQSocket(.subscribe, in: context, options: options)
        try subscriber.connect(try publisher.lastEndpoint)
        // A 1 and the prefix is a subscription (zmq_socket(3)).
        #expect(try publisher.receive(limits)?.parts == [[1, 7]])
        try publisher.send([6, 1])
        try publisher.send([7, 2])
        #expect(try subscriber.receive(limits)?.parts == [[7, 2]])
        try subscriber.subscribe([6])
        #expect(try publisher.receive(limits)?.parts == [[1, 6]])
    }

    @Test("a blocked receive ends with an error when the context is shut down by another thread")
    func shutdown() throws {
        let context = try ZMQContext()
        let codes = try Mailbox<ZeroMQError.Code>()
        let begun = try Mailbox<Bool>()
        let thread = try OwnedThread(name: "receiver") {
            do throws(ZeroMQError) {
                let socket = try ZMQSocket(.router, in: context)
                begun.post(true)
                _ = try socket.receive(limits)
            } catch { codes.post(error.code) }
        }
        _ = begun.take(upTo: 1)
        context.shutdown()
        #expect(codes.take(upTo: 1) == [.contextTerminated])
        thread.join()
        let error = #expect(throws: ZeroMQError.self) { _ = try ZMQSocket(.router, in: context) }
        #expect(error?.code == .contextTerminated)
    }
}

/// Two connected DEALERs: what one sends the other receives as it is.
private struct DealerPair: ~Copyable {
    let server: ZMQSocket
    let client: ZMQSocket

    init(_ context: ZMQContext) throws {
        let server = try ZMQSocket(.dealer, in: context, options: patient())
        try server.bind("tcp://127.0.0.1:*")
        let client = try ZMQSocket(.dealer, in: context, options: patient())
        try client.connect(try server.lastEndpoint)
        self.server = server
        self.client = client
    }
}

@Suite("Waiting and watching")
struct ZMQPollTests {
    @Test("A poll set tells sockets and descriptors apart, and what each is ready for")
    func pollSet() throws {
        let context = try ZMQContext()
        let server = try ZMQSocket(.dealer, in: context, options: patient())
        try server.bind("inproc://poll")
        let client = try ZMQSocket(.dealer, in: context, options: patient())
        try client.connect("inproc://poll")
        let mailbox = try Mailbox<Int>()
        var set = ZMQPollSet()
        let socketIndex = set.add(server)
        let mailboxIndex = set.add(descriptor: mailbox.descriptor)
        #expect(try set.wait(milliseconds: 0) == 0)
        #expect(mailbox.mayPoll())
        mailbox.post(1)
        #expect(try set.wait(milliseconds: 20_000) == 1)
        #expect(set.ready(at: mailboxIndex) == .readable)
        #expect(set.ready(at: socketIndex) == [])
        var taken: [Int] = []
        mailbox.takeAll(into: &taken)
        try client.send([1])
        #expect(try set.wait(milliseconds: 20_000) == 1)
        #expect(set.ready(at: socketIndex) == .readable)
        set.wait(at: socketIndex, for: [.writable])
        #expect(try set.wait(milliseconds: 20_000) == 1)
        #expect(set.ready(at: socketIndex) == .writable)
        #expect(set.ready(at: 99) == [])
    }

    @Test("A monitor hears that a peer connected, and that it is gone")
    func monitor() throws {
        let context = try ZMQContext()
        var server: ZMQSocket? = try ZMQSocket(.router, in: context, options: patient())
        try server?.bind("tcp://127.0.0.1:*")
        let endpoint = try #require(try server?.lastEndpoint)
        let client = try ZMQSocket(.dealer, in: context, options: patient())
        let monitor = try ZMQMonitor(of: client)
        try client.connect(endpoint)
        var set = ZMQPollSet()
        _ = monitor.add(to: &set)
        func wait(for kind: ZMQMonitorEvent.Kind) throws -> Bool {
            while try set.wait(milliseconds: 20_000) > 0 {
                while let event = try monitor.next() { if event.kind == kind { return true } }
            }
            return false
        }
        #expect(try wait(for: .handshakeSucceeded))
        server = nil
        #expect(try wait(for: .disconnected))
    }

    @Test("a watched socket that is closed with connections coming and going holds up nobody, whichever of the two goes first")
    func closing() throws {
        for round in 0..<200 {
            let context = try ZMQContext()
            let server = try ZMQSocket(.router, in: context)
            try server.bind("tcp://127.0.0.1:*")
            let endpoint = try server.lastEndpoint
            var options = ZMQSocketOptions()
            // Another key than the server has: connections are made and lost all the time.
            options.curve = .client(try ZMQCurveKeyPair.generate(), serverKey: try ZMQCurveKeyPair.generate().publicKey)
            options.reconnectMilliseconds = 1
            func monitored(_ body: (borrowing ZMQSocket, borrowing ZMQMonitor) throws -> Void) throws {
                let socket = try ZMQSocket(.dealer, in: context, options: options)
                let monitor = try ZMQMonitor(of: socket)
                try socket.connect(endpoint)
                try body(socket, monitor)
            }
            try monitored { _, monitor in
                if round % 2 == 0 { while try monitor.next() == nil {} }
            }
            // The context's thread still works.
            let client = try ZMQSocket(.request, in: context)
            try client.connect(endpoint)
            _ = try client.send([1])
            let message = try #require(try server.receive(ZMQReceiveLimits(parts: 3, bytes: 100)))
            #expect(message.parts.last == [1])
        }
    }

    @Test("a watched socket serves on, and closes, after the one who heard of its connections has gone")
    func unheard() throws {
        let context = try ZMQContext()
        let server = try ZMQSocket(.router, in: context, options: patient())
        var monitor: ZMQMonitor? = try ZMQMonitor(of: server)
        try server.bind("tcp://127.0.0.1:*")
        let endpoint = try server.lastEndpoint
        func ask() throws {
            let client = try ZMQSocket(.request, in: context)
            try client.connect(endpoint)
            _ = try client.send([1])
            #expect(try server.receive(ZMQReceiveLimits(parts: 3, bytes: 100))?.parts.last == [1])
        }
        try ask()
        #expect(try monitor?.next() != nil)
        monitor = nil
        // Each connection is told of several times.
        for _ in 0..<50 { try ask() }
    }

    @Test("The library is at least the version whose behaviour this module relies on")
    func version() {
        #expect(ZMQContext.libraryVersion.compare("4.3.4"))
    }
}

extension String {
    /// Whether this version is `other` or later; each number has one digit in libzmq's versions of today.
    fileprivate func compare(_ other: String) -> Bool {
        let mine = split(separator: ".").compactMap { Int($0) }
        let theirs = other.split(separator: ".").compactMap { Int($0) }
        return mine.count == 3 && !mine.lexicographicallyPrecedes(theirs)
    }
}

@Suite("CURVE keys")
struct CurveTests {
    @Test("the test pair of ZeroMQ's RFC 26 and zmq_curve(7): the secret gives the public key, in Z85 and in bytes")
    func vector() throws {
        // From the manual page zmq_curve(7).
        let pair = try ZMQCurveKeyPair(secretKey: "JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6")
        #expect(pair.publicKey == "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7")
        let bytes = try #require(Z85.decode(pair.secretKey))
        #expect(try ZMQCurveKeyPair(secret: bytes) == pair)
    }

    @Test("Z85 by the test case of RFC 32; what is no Z85 is nothing")
    func z85() {
        #expect(Z85.encode([0x86, 0x4F, 0xD2, 0x6F, 0xB5, 0x59, 0xF7, 0x5B]) == "HelloWorld")
        #expect(Z85.decode("HelloWorld") == [0x86, 0x4F, 0xD2, 0x6F, 0xB5, 0x59, 0xF7, 0x5B])
        #expect(Z85.encode([1, 2, 3]) == nil)
        for text in ["HelloWorl", "Hello World", "#####", "HelloWor\"d"] { #expect(Z85.decode(text) == nil, "\(text)") }
    }

    @Test("two pairs are two pairs; a wrong secret is refused")
    func generate() throws {
        #expect(try ZMQCurveKeyPair.generate() != ZMQCurveKeyPair.generate())
        #expect(throws: ZeroMQError.self) { try ZMQCurveKeyPair(secretKey: "short") }
        #expect(throws: ZeroMQError.self) { try ZMQCurveKeyPair(secret: [1, 2]) }
    }
}
