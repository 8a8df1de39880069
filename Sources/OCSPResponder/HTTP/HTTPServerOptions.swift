// What the HTTP server is told at its start.

/// A unix socket to listen on and who may open it.
package struct HTTPSocket: Sendable, Equatable {
    /// At most 107 bytes; its folder exists.
    package var path: String
    /// A user's name or number; nil: whoever the process runs as.
    package var owner: String?
    /// A group's name or number; nil: the group of the process, or the folder's where that has the set-group-ID bit.
    package var group: String?
    package var mode: UInt32
    /// A socket that a service manager holds and that listens on `path` already; owner, group and mode are the manager's then.
    package var descriptor: Int32?

    package init(path: String, owner: String? = nil, group: String? = nil, mode: UInt32 = 0o660, descriptor: Int32? = nil) {
        self.path = path
        self.owner = owner
        self.group = group
        self.mode = mode
        self.descriptor = descriptor
    }
}

/// How long a peer may take; what a peer may send is bounded by `HTTPLimits`.
package struct HTTPTimeLimits: Sendable {
    /// From a request's first byte to its last.
    package var request: Duration = .seconds(10)
    /// Between a response and the next request, and from the connection to the first one.
    package var idle: Duration = .seconds(75)
    /// Without progress while the peer does not read what it asked for.
    package var write: Duration = .seconds(30)
    /// For a whole document, besides the time that it takes at `documentRate`: a list that was replaced is not to stay in memory for its readers.
    package var document: Duration = .seconds(60)
    /// Bytes a second; at least 1.
    package var documentRate = 16 * 1024
    /// What a peer still sends is read and thrown away for so long after a response that ends the connection.
    package var linger: Duration = .seconds(2)
    /// From `stop` until what is in flight is cut off.
    package var stop: Duration = .seconds(2)

    package init() {}
}

/// How much a peer may send.
package struct HTTPLimits: Sendable {
    /// Bytes of a request's body.
    package var body = 16 * 1024
    /// Bytes of a request's target.
    package var target = 8 * 1024
    /// Bytes of one header field, and of all of them with the target.
    package var field = 8 * 1024
    package var head = 16 * 1024
    package var fields = 64
    /// Requests of one connection that wait for their answers; from then on nothing more is read from it. What one read held besides (16 KiB) is
    /// still taken.
    package var pipelined = 64
    /// Bytes of such requests, likewise: what they ask takes room in the one queue to ca-core that all connections share. With what one read held
    /// besides it is room for about 500 certificates.
    package var pipelinedBytes = 16 * 1024
    /// Connections to the public socket at once.
    package var connections = 1024
    /// Connections to the metrics socket at once, apart from the others so that a flood can be watched.
    package var metricsConnections = 16

    package init() {}
}

package struct HTTPServerOptions: Sendable {
    package var socket: HTTPSocket
    package var metricsSocket: HTTPSocket?
    /// Event loops, each a thread.
    package var loops = 2
    package var limits = HTTPLimits()
    package var times = HTTPTimeLimits()
    /// Whole seconds since 1970.
    package var clock: @Sendable () -> Int64

    package init(socket: HTTPSocket, metricsSocket: HTTPSocket? = nil, clock: @escaping @Sendable () -> Int64) {
        self.socket = socket
        self.metricsSocket = metricsSocket
        self.clock = clock
    }
}
