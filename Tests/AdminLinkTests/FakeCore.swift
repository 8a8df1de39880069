// A ROUTER on admin.sock that answers as a test tells it.
import Foundation
import Glibc
import Synchronization
import Testing
import UPKIProtocol
import ZeroMQ

/// Serves one admin.sock on a thread of its own until it is stopped.
final class FakeCore: Sendable {
    /// What to do with a message: send these parts, or nothing, or end at once.
    enum Reaction: Sendable {
        case parts([[UInt8]])
        case silence
        case end
    }

    let runDirectory: String
    private let context: ZMQContext
    private let seen = Mutex<[Request]>([])
    private let done = DispatchSemaphore(value: 0)

    /// The requests that came, hello among them.
    var requests: [Request] { seen.withLock { $0 } }

    init(_ react: @escaping @Sendable (InternalLink.RequestHeader, Request) -> Reaction) throws {
        var template = Array("/tmp/upki-link-XXXXXX".utf8CString)
        guard let folder = mkdtemp(&template) else { throw POSIXError(.EIO) }
        runDirectory = String(cString: folder)
        context = try ZMQContext()
        let ready = DispatchSemaphore(value: 0)
        let thread = Thread { [self] in
            self.serve(ready, react)
            self.done.signal()
        }
        thread.start()
        guard ready.wait(timeout: .now() + 20) == .success else { throw POSIXError(.ETIMEDOUT) }
    }

    /// Ends the thread and removes the folder.
    func stop() {
        context.shutdown()
        #expect(done.wait(timeout: .now() + 20) == .success)
        unlink("\(runDirectory)/admin.sock")
        rmdir(runDirectory)
    }

    private func serve(_ ready: DispatchSemaphore, _ react: (InternalLink.RequestHeader, Request) -> Reaction) {
        do {
            let socket = try ZMQSocket(.router, in: context)
            try socket.bind("ipc://\(runDirectory)/admin.sock")
            ready.signal()
            while let message = try socket.receive(ZMQReceiveLimits(parts: 3, bytes: 1 << 20)) {
                let header = try InternalLink.RequestHeader(decoding: message.parts[1])
                let request = try Request(frame: message.parts[2])
                seen.withLock { $0.append(request) }
                switch react(header, request) {
                case .parts(let parts): try socket.send(parts: [message.parts[0]] + parts)
                case .silence: break
                case .end: return
                }
            }
        } catch {
            // The context was shut down: the test is over.
            ready.signal()
        }
    }

    /// The answer to `hello`.
    static func greeting(_ id: UInt64, protocol version: Int64 = InternalLink.protocolVersion) -> Reaction {
        .parts([
            InternalLink.AnswerHeader(kind: .helloAnswer, id: id).encoded,
            Answer.frame(.object([.init("protocol", .integer(version)), .init("program", "ca-core test")])),
        ])
    }

    static func answer(_ id: UInt64, _ data: JSON) -> Reaction {
        .parts([InternalLink.AnswerHeader(kind: .answer, id: id).encoded, Answer.frame(data)])
    }

    static func refusal(_ id: UInt64, _ words: String) -> Reaction {
        .parts([InternalLink.AnswerHeader(kind: .answer, id: id).encoded, Answer.frame(Refusal(.notFound, words))])
    }
}
