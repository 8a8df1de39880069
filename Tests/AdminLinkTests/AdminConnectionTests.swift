// The client of admin.sock against a core that answers, refuses, is silent, speaks another version, or goes.
import AdminLink
import Glibc
import Testing
import UPKIProtocol

@Suite("The connection to admin.sock")
struct AdminConnectionTests {
    /// Runs a body against a fake core that greets, and does what it is told with everything else.
    private func withCore(
        _ react: @escaping @Sendable (UInt64, Request) -> FakeCore.Reaction, _ body: (inout AdminConnection, FakeCore) throws -> Void
    ) throws {
        let core = try FakeCore { header, request in
            header.kind == .hello ? FakeCore.greeting(header.id) : react(header.id, request)
        }
        defer { core.stop() }
        var connection = try AdminConnection.open(runDirectory: core.runDirectory, program: "test 1")
        try body(&connection, core)
    }

    @Test("it greets first, names itself, and gives back the data of each answer")
    func asks() throws {
        try withCore { id, request in
            FakeCore.answer(id, .string("\(request.task) \(request.parameters["cn"]?.stringValue ?? "")"))
        } _: { connection, core in
            let node = try connection.ask("node", [.init("cn", "ra1")])
            #expect(node == "node ra1")
            let status = try connection.ask("status")
            #expect(status == "status ")
            #expect(core.requests.map(\.task) == ["hello", "node", "status"])
            #expect(core.requests[0].parameters["program"] == "test 1")
            #expect(core.requests[0].parameters["protocol"]?.integerValue == InternalLink.protocolVersion)
        }
    }

    @Test("a refusal comes back in the core's own words, and the connection goes on")
    func refusal() throws {
        try withCore { id, request in
            request.task == "node" ? FakeCore.refusal(id, "Node not found: x") : FakeCore.answer(id, true)
        } _: { connection, _ in
            let error = failure { _ = try connection.ask("node") }
            #expect(error?.code == .refused)
            #expect(error?.message == "Node not found: x")
            let status = try connection.ask("status")
            #expect(status == true)
        }
    }

    @Test("a large answer arrives whole")
    func large() throws {
        let text = String(repeating: "0123456789", count: 1_000_000)
        try withCore { id, _ in
            FakeCore.answer(id, .string(text))
        } _: { connection, _ in
            let answer = try connection.ask("list_nodes")
            #expect(answer == .string(text))
        }
    }

    @Test("an answer that belongs to another question is passed over")
    func otherAnswer() throws {
        try withCore { id, request in
            request.task == "first" ? .silence : FakeCore.answer(id, "second")
        } _: { connection, _ in
            #expect(failure { _ = try connection.ask("first", timeout: .milliseconds(300)) } != nil)
        }
        try withCore { id, request in
            // The answer to a question that was never asked comes first.
            request.task == "wrong" ? FakeCore.answer(id + 7, "wrong") : FakeCore.answer(id, "right")
        } _: { connection, _ in
            let error = failure { _ = try connection.ask("wrong", timeout: .milliseconds(300)) }
            #expect(error?.code == .noAnswer)
        }
    }

    @Test("silence ends after the time that was given, and the connection is spent")
    func silence() throws {
        try withCore { _, _ in
            .silence
        } _: { connection, _ in
            let begin = SuspendingClock.now
            let error = failure { _ = try connection.ask("sign", timeout: .milliseconds(500)) }
            let took = SuspendingClock.now - begin
            #expect(error?.code == .noAnswer)
            #expect(error?.message.contains("may still take effect") ?? false)
            #expect(took >= .milliseconds(500) && took < .seconds(5))
            #expect(failure { _ = try connection.ask("status") } != nil)
        }
    }

    @Test("a core that ends while it is asked is noticed long before the time runs out")
    func goes() throws {
        try withCore { _, _ in
            .end
        } _: { connection, _ in
            let begin = SuspendingClock.now
            let error = failure { _ = try connection.ask("sign", timeout: .seconds(60)) }
            #expect(error?.code == .noAnswer)
            #expect(error?.message.contains("ended before its answer") ?? false)
            #expect(SuspendingClock.now - begin < .seconds(10))
        }
    }

    @Test("nobody there is told at once")
    func nobody() throws {
        let begin = SuspendingClock.now
        let error = expectOpenToFail("/nonexistent/run")
        #expect(error?.code == .unreachable)
        #expect(error?.message == "nobody listens at /nonexistent/run/admin.sock")
        #expect(SuspendingClock.now - begin < .seconds(1))
    }

    @Test("a socket that a killed core left behind is nobody")
    func staleSocket() throws {
        let core = try FakeCore { _, _ in .end }
        // A socket file without a listener, as kill -9 leaves it.
        let path = "\(core.runDirectory)/stale"
        mkdir(path, 0o700)
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array("\(path)/admin.sock".utf8) + [0]) }
        let bound = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
        }
        #expect(bound == 0)
        close(descriptor)
        #expect(expectOpenToFail(path)?.code == .unreachable)
        unlink("\(path)/admin.sock")
        rmdir(path)
        core.stop()
    }

    @Test("a core that never greets is given up in time")
    func noGreeting() throws {
        let core = try FakeCore { _, _ in .silence }
        defer { core.stop() }
        let begin = SuspendingClock.now
        let error = expectOpenToFail(core.runDirectory, timeout: .milliseconds(400))
        #expect(error?.code == .noAnswer)
        #expect(SuspendingClock.now - begin < .seconds(5))
    }

    @Test("another version is told in one line that names both")
    func versions() throws {
        let refusing = try FakeCore { header, _ in
            .parts([
                InternalLink.AnswerHeader(kind: .refusedVersion, id: header.id, version: 9).encoded,
                Answer.frame(Refusal(.invalidRequest, "link version 1 is not served")),
            ])
        }
        defer { refusing.stop() }
        let error = expectOpenToFail(refusing.runDirectory)
        #expect(error?.code == .otherVersion)
        #expect(error?.message.hasPrefix("link version 1 is not served (link version 1 here, 9 there)") ?? false)

        let newer = try FakeCore { header, _ in FakeCore.greeting(header.id, protocol: 2) }
        defer { newer.stop() }
        #expect(expectOpenToFail(newer.runDirectory)?.code == .otherVersion)
    }

    @Test("what is no answer of this protocol is told, not trusted")
    func garbage() throws {
        try withCore { id, _ in
            .parts([InternalLink.AnswerHeader(kind: .answer, id: id).encoded, Array("not JSON".utf8)])
        } _: { connection, _ in
            #expect(failure { _ = try connection.ask("status") } != nil)
        }
        try withCore { _, _ in
            .parts([[1, 2, 3]])
        } _: { connection, _ in
            let error = failure { _ = try connection.ask("status") }
            #expect(error?.code == .otherVersion)
        }
    }

    private func failure(_ body: () throws -> Void) -> AdminLinkError? {
        do {
            try body()
            Issue.record("it did not fail")
        } catch let error as AdminLinkError {
            return error
        } catch {
            Issue.record(error)
        }
        return nil
    }

    private func expectOpenToFail(_ runDirectory: String, timeout: Duration = .seconds(3)) -> AdminLinkError? {
        do throws(AdminLinkError) {
            _ = try AdminConnection.open(runDirectory: runDirectory, program: "test", timeout: timeout)
            Issue.record("it was opened")
            return nil
        } catch {
            return error
        }
    }
}
