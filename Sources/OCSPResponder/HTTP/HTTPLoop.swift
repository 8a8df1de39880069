// What one event loop knows: its connections, the second it is in, and who has to be closed for being slow.

import NIOCore

/// What all connections of a server share.
struct HTTPService: Sendable {
    let answering: any OCSPAnswering
    let clock: @Sendable () -> Int64
    let limits: HTTPLimits
    let times: HTTPTimeLimits
    /// The whole text for Prometheus.
    let metricsText: @Sendable () -> String
    /// JSON for ca-ctl.
    let status: @Sendable () -> [UInt8]
}

/// The state of one event loop; touched on that loop alone.
final class HTTPLoop {
    let index: Int
    let eventLoop: any EventLoop
    let service: HTTPService
    let counters: HTTPCounters
    /// How often the time limits are looked at; they are that much longer at most.
    let resolution: TimeAmount
    /// How many resolutions have passed while a connection was there; the clock of the time limits, which costs nothing to read.
    private(set) var tick: Int64 = 0
    private(set) var isStopping = false
    private var connections: [ObjectIdentifier: HTTPConnection] = [:]
    private var isSweeping = false
    private var writer: HTTPReplyWriter
    private var emptied: EventLoopPromise<Void>?

    init(index: Int, eventLoop: any EventLoop, service: HTTPService, counters: HTTPCounters) {
        self.index = index
        self.eventLoop = eventLoop
        self.service = service
        self.counters = counters
        let times = service.times
        let shortest = min(times.request, times.idle, times.write, times.linger)
        self.resolution = max(.milliseconds(10), min(.milliseconds(250), .nanoseconds(TimeAmount(shortest).nanoseconds / 4)))
        self.writer = HTTPReplyWriter(now: service.clock(), maximumAge: service.answering.maximumAge)
    }

    /// A writer for this second, with the age that is configured now: what a cache is told it keeps to.
    func currentWriter() -> HTTPReplyWriter {
        let now = self.service.clock()
        let age = self.service.answering.maximumAge
        if now != self.writer.now || age != self.writer.maximumAge { self.writer = HTTPReplyWriter(now: now, maximumAge: age) }
        return self.writer
    }

    /// The first tick at which that much time has passed for certain.
    func deadline(after span: Duration) -> Int64 { self.tick + TimeAmount(span).nanoseconds / self.resolution.nanoseconds + 2 }

    func add(_ connection: HTTPConnection) {
        self.connections[ObjectIdentifier(connection)] = connection
        self.counters.opened.add()
        self.sweepLater()
    }

    func remove(_ connection: HTTPConnection) {
        guard self.connections.removeValue(forKey: ObjectIdentifier(connection)) != nil else { return }
        self.counters.closed.add()
        guard self.connections.isEmpty else { return }
        self.emptied?.succeed()
        self.emptied = nil
    }

    private func sweepLater() {
        guard !self.isSweeping, !self.connections.isEmpty else { return }
        self.isSweeping = true
        self.eventLoop.assumeIsolated().scheduleTask(in: self.resolution) { self.sweep() }
    }

    private func sweep() {
        self.isSweeping = false
        self.tick += 1
        for connection in Array(self.connections.values) { connection.look(at: self.tick) }
        self.sweepLater()
    }

    /// Closes what is idle, and what is in flight once it is answered.
    ///
    /// - Returns: a future that succeeds when no connection is left.
    func stop() -> EventLoopFuture<Void> {
        self.isStopping = true
        guard !self.connections.isEmpty else { return self.eventLoop.makeSucceededVoidFuture() }
        let promise = self.eventLoop.makePromise(of: Void.self)
        self.emptied = promise
        for connection in Array(self.connections.values) { connection.stop() }
        return promise.futureResult
    }

    /// Closes what is left, whatever it waits for.
    func cut() { for connection in Array(self.connections.values) { connection.cut() } }
}
