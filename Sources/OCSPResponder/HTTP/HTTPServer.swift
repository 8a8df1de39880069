// The HTTP server: its event loops, its listening sockets, its end.

import Metrics
import NIOCore
import NIOPosix
import Synchronization

/// Serves OCSP, the CA certificate and the CRL on a unix socket, and figures for the operator on another.
package final class HTTPServer: Sendable {
    private struct Running {
        var loops: [NIOLoopBound<HTTPLoop>] = []
        var listeners: [(socket: ListeningSocket, channel: any Channel)] = []
    }

    private let options: HTTPServerOptions
    private let group: MultiThreadedEventLoopGroup
    private let eventLoops: [any EventLoop]
    private let counters: [HTTPCounters]
    private let running = Mutex(Running())
    private let isOver = Flag()

    /// Makes the event loops; nothing is served before `start`.
    package init(_ options: HTTPServerOptions) {
        self.options = options
        let count = max(1, options.loops)
        self.group = MultiThreadedEventLoopGroup(numberOfThreads: count)
        self.eventLoops = Array(self.group.makeIterator())
        self.counters = self.eventLoops.map { _ in HTTPCounters() }
    }

    /// One for each event loop, in the order of their indexes: has a piece of work done on that loop. After `stop` it does nothing.
    package var hop: [@Sendable (@escaping @Sendable () -> Void) -> Void] {
        self.eventLoops.map { loop in
            { [isOver] work in
                if !isOver.isSet { loop.execute(work) }
            }
        }
    }

    package var counts: HTTPCounts { HTTPCounts(self.counters) }

    /// Begins to serve. Not to be called on an event loop: it waits.
    ///
    /// - Parameters:
    ///   - metricsText: what Prometheus is told besides this server's own figures, in its text format.
    ///   - status: JSON for `ca-ctl ocsp show`.
    /// - Throws: one line for a person; nothing is left behind then, and `stop` is still to be called.
    package func start(
        answering: any OCSPAnswering, metricsText: @escaping @Sendable () -> String = { "" },
        status: @escaping @Sendable () -> [UInt8] = { Array("{}\n".utf8) }
    ) throws(HTTPServerError) {
        let counters = self.counters
        let service = HTTPService(
            answering: answering, clock: self.options.clock, limits: self.options.limits, times: self.options.times,
            metricsText: {
                var exposition = Exposition()
                HTTPCounts(counters).write(to: &exposition)
                return exposition.text + metricsText()
            }, status: status)
        do {
            let loops = try self.makeLoops(service)
            self.running.withLock { $0.loops = loops }
            try self.listen(
                on: self.options.socket, .publication, loops, Budget(self.options.limits.connections, overflow: 128))
            if let socket = self.options.metricsSocket {
                try self.listen(on: socket, .metrics, loops, Budget(self.options.limits.metricsConnections, overflow: 4))
            }
        } catch {
            self.stopListening()
            throw error as? HTTPServerError ?? HTTPServerError(.system, "the HTTP server cannot start: \(error)")
        }
    }

    private func makeLoops(_ service: HTTPService) throws -> [NIOLoopBound<HTTPLoop>] {
        try zip(self.eventLoops, self.counters).enumerated().map { index, pair in
            let (eventLoop, counters) = pair
            return try eventLoop.submit {
                NIOLoopBound(HTTPLoop(index: index, eventLoop: eventLoop, service: service, counters: counters), eventLoop: eventLoop)
            }.wait()
        }
    }

    private func listen(
        on socket: HTTPSocket, _ purpose: HTTPConnection.Purpose, _ loops: [NIOLoopBound<HTTPLoop>], _ budget: Budget
    ) throws {
        let listening = try ListeningSocket(socket)
        let limits = self.options.limits
        do {
            let channel = try ServerBootstrap(group: self.group)
                .childChannelOption(.allowRemoteHalfClosure, value: true)
                // One read brings what is taken before responses leave; a second one would mostly find nothing.
                .childChannelOption(.maxMessagesPerRead, value: 1)
                .childChannelOption(
                    .recvAllocator, value: AdaptiveRecvByteBufferAllocator(minimum: 1024, initial: 2048, maximum: 16 * 1024)
                )
                .childChannelInitializer { channel in
                    Self.accept(channel, purpose, loops, budget, limits)
                }
                .withBoundSocket(listening.descriptor).wait()
            self.running.withLock { $0.listeners.append((listening, channel)) }
        } catch {
            listening.remove()
            throw error
        }
    }

    /// On the event loop of the new connection.
    private static func accept(
        _ channel: any Channel, _ purpose: HTTPConnection.Purpose, _ loops: [NIOLoopBound<HTTPLoop>], _ budget: Budget, _ limits: HTTPLimits
    ) -> EventLoopFuture<Void> {
        channel.eventLoop.makeCompletedFuture {
            guard let loop = loops.first(where: { $0.eventLoop === channel.eventLoop })?.value else { throw ChannelError.ioOnClosedChannel }
            let place = budget.take()
            channel.closeFuture.whenComplete { _ in budget.giveBack() }
            switch place {
            case .granted:
                let connection = HTTPConnection(loop, purpose)
                try channel.pipeline.syncOperations.addHandler(ByteToMessageHandler(BoundedHTTPDecoder(limits, observer: connection)))
                try channel.pipeline.syncOperations.addHandler(connection)
            case .refused:
                loop.counters.refused.add()
                try channel.pipeline.syncOperations.addHandler(RefusedConnection(loop))
            case .dropped:
                loop.counters.refused.add()
                throw ChannelError.ioOnClosedChannel
            }
        }
    }

    /// Ends serving: nothing new is accepted, idle connections close at once, others when they are answered, all of them after
    /// `HTTPTimeLimits.stop`. Not to be called on an event loop: it waits. Whoever answers has to be there until it returns.
    package func stop() {
        self.stopListening()
        let loops = self.running.withLock { state in
            defer { state.loops = [] }
            return state.loops
        }
        let emptied = loops.map { loop in loop.eventLoop.flatSubmit { loop.value.stop() } }
        for loop in loops {
            loop.eventLoop.scheduleTask(in: TimeAmount(self.options.times.stop)) { loop.value.cut() }
        }
        for future in emptied { try? future.wait() }
        guard self.isOver.set() else { return }
        try? self.group.syncShutdownGracefully()
    }

    private func stopListening() {
        let listeners = self.running.withLock { state in
            defer { state.listeners = [] }
            return state.listeners
        }
        for listener in listeners {
            listener.socket.remove()
            try? listener.channel.close().wait()
        }
    }
}

/// How many connections a socket may still have.
private final class Budget: Sendable {
    enum Place { case granted, refused, dropped }

    private let open = Atomic<Int>(0)
    private let most: Int
    /// So many more are told that there are too many; the others find their connection closed.
    private let overflow: Int

    init(_ most: Int, overflow: Int) {
        self.most = most
        self.overflow = overflow
    }

    func take() -> Place {
        let number = self.open.wrappingAdd(1, ordering: .relaxed).newValue
        return number <= self.most ? .granted : number - self.most <= self.overflow ? .refused : .dropped
    }

    func giveBack() { self.open.wrappingSubtract(1, ordering: .relaxed) }
}

private final class Flag: Sendable {
    private let value = Atomic<Bool>(false)

    var isSet: Bool { self.value.load(ordering: .acquiring) }

    /// - Returns: whether it was not set before.
    func set() -> Bool { !self.value.exchange(true, ordering: .acquiringAndReleasing) }
}

/// A connection for which there is no place: it is told so, and closed.
private final class RefusedConnection: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private static let mostThrownAway = 64 * 1024

    private let loop: HTTPLoop
    private var thrownAway = 0

    init(_ loop: HTTPLoop) { self.loop = loop }

    func channelActive(context: ChannelHandlerContext) {
        var message = HTTPMessage(.unavailable, "too many connections are open")
        message.retryAfter = 1
        self.loop.counters.count(message.status)
        var out = ByteBuffer()
        self.loop.currentWriter().write(message, HTTPReplyForm(closes: true), to: &out)
        context.writeAndFlush(Self.wrapOutboundOut(out), promise: nil)
        // What the peer sends still has to be read for it to get the response.
        context.close(mode: .output, promise: nil)
        let channel = context.channel
        context.eventLoop.scheduleTask(in: TimeAmount(self.loop.service.times.linger)) { channel.close(promise: nil) }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        self.thrownAway += Self.unwrapInboundIn(data).readableBytes
        if self.thrownAway > Self.mostThrownAway { context.close(promise: nil) }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if let event = event as? ChannelEvent, event == .inputClosed { context.close(promise: nil) }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
