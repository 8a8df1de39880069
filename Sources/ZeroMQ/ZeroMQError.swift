// The one error type of this module.
import CZeroMQ
import Glibc

/// What libzmq or an endpoint's check refused; equality is the code's.
public struct ZeroMQError: Error, Equatable, Sendable, CustomStringConvertible {
    public struct Code: Hashable, Sendable {
        private enum Value: Hashable {
            case addressInUse, addressNotAvailable, invalidEndpoint, pathTooLong, permission
            case terminated, tooManySockets, invalid, state, system
        }
        private let value: Value

        /// Another socket, here or in another process, has that address.
        public static let addressInUse = Code(value: .addressInUse)
        /// No interface of this host has that address, or the path's folder does not exist.
        public static let addressNotAvailable = Code(value: .addressNotAvailable)
        /// The endpoint cannot be read, or its transport is unknown.
        public static let invalidEndpoint = Code(value: .invalidEndpoint)
        /// The path of an ipc endpoint has more than 107 bytes.
        public static let pathTooLong = Code(value: .pathTooLong)
        public static let permissionDenied = Code(value: .permission)
        /// The context was shut down; the thread should close its sockets and end.
        public static let contextTerminated = Code(value: .terminated)
        /// The context's or the process's limit is reached.
        public static let tooManySockets = Code(value: .tooManySockets)
        /// An option or a value that this socket does not take.
        public static let invalidArgument = Code(value: .invalid)
        /// The socket cannot do that now: a REQ that sends twice, for one.
        public static let invalidState = Code(value: .state)
        public static let system = Code(value: .system)
    }

    public let code: Code
    public let message: String
    /// libzmq's number of the error; 0 where a check of ours refused.
    public let errorNumber: Int32
    public let file: String
    public let line: Int

    init(_ code: Code, _ message: String, errorNumber: Int32 = 0, file: String = #fileID, line: Int = #line) {
        self.code = code
        self.message = message
        self.errorNumber = errorNumber
        self.file = file
        self.line = line
    }

    /// - Parameters:
    ///   - number: libzmq's errno.
    ///   - what: what was tried, as it should stand before the reason.
    init(number: Int32, _ what: String, file: String = #fileID, line: Int = #line) {
        let code: Code =
            switch number {
            case EADDRINUSE: .addressInUse
            case EADDRNOTAVAIL, ENODEV, ENOENT: .addressNotAvailable
            case EACCES, EPERM: .permissionDenied
            case CZeroMQ.ETERM: .contextTerminated
            case EMFILE, ENFILE: .tooManySockets
            case EPROTONOSUPPORT: .invalidEndpoint
            case EINVAL, ENOTSUP: .invalidArgument
            case CZeroMQ.EFSM: .invalidState
            default: .system
            }
        let reason = zmq_strerror(number).map { String(cString: $0) } ?? "error \(number)"
        self.init(code, "\(what): \(reason)", errorNumber: number, file: file, line: line)
    }

    public var description: String { message }

    public static func == (a: ZeroMQError, b: ZeroMQError) -> Bool { a.code == b.code }
}
