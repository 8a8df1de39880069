// The language of the control socket.
//
// One request is one packet (SOCK_SEQPACKET) and has one answer, one packet. Both are lines `key=value`, each ended by a line
// feed; in values a backslash is `\\` and a line feed is `\n`. At most 65,536 bytes. Anything else is malformed: an unknown or
// repeated key, a missing one, a number that is none.
//
// Request:   command=status | start | stop | restart | reload | shutdown
//            service=NAME             needed by start, stop, restart; allowed with reload (without: all)
//
// Answer:    result=ok | refused
//            message=TEXT             one sentence for people
// and, to `status`:
//            supervisor=PID  state=…  since=UNIXTIME  orphans=N
//            then for each service, in start order:
//            service=NAME  state=…  pid=N (0: none)  since=UNIXTIME  restarts=N  reloading=0|1  status=TEXT  why=TEXT  ignored=N

/// What can be asked of a supervisor.
public enum ControlCommand: Equatable, Sendable {
    case status
    /// Answered when it is ready, or has failed once.
    case start(String)
    /// Answered when it is down.
    case stop(String)
    /// Answered when it is ready again, or has failed once.
    case restart(String)
    /// SIGHUP to one service, or to all that run.
    case reload(String?)
    /// Answered when everything is down.
    case shutdown
}

/// What a supervisor answers.
public struct ControlAnswer: Equatable, Sendable {
    public var isDone: Bool
    /// One sentence for people.
    public var message: String
    /// With `status` only.
    public var status: SupervisorStatus?

    package init(isDone: Bool, message: String, status: SupervisorStatus? = nil) {
        self.isDone = isDone
        self.message = message
        self.status = status
    }
}

package enum ControlMessage {
    package static let longest = 65_536

    // MARK: Requests

    package static func encode(_ command: ControlCommand) -> [UInt8] {
        switch command {
        case .status: lines([("command", "status")])
        case .start(let name): lines([("command", "start"), ("service", name)])
        case .stop(let name): lines([("command", "stop"), ("service", name)])
        case .restart(let name): lines([("command", "restart"), ("service", name)])
        case .reload(nil): lines([("command", "reload")])
        case .reload(let name?): lines([("command", "reload"), ("service", name)])
        case .shutdown: lines([("command", "shutdown")])
        }
    }

    /// - Throws: `.malformedMessage`.
    package static func command(from bytes: [UInt8]) throws(SupervisionError) -> ControlCommand {
        var reader = try Reader(bytes)
        let verb = try reader.take("command")
        let name = reader.next == "service" ? try reader.take("service") : nil
        guard reader.next == nil else { throw malformed("what follows \(verb) is not understood") }
        switch (verb, name) {
        case ("status", nil): return .status
        case ("start", let name?): return .start(name)
        case ("stop", let name?): return .stop(name)
        case ("restart", let name?): return .restart(name)
        case ("reload", let name): return .reload(name)
        case ("shutdown", nil): return .shutdown
        default: throw malformed("commands are status, start, stop, restart (with a service), reload and shutdown")
        }
    }

    // MARK: Answers

    package static func encode(_ answer: ControlAnswer) -> [UInt8] {
        var fields = [("result", answer.isDone ? "ok" : "refused"), ("message", answer.message)]
        if let status = answer.status {
            fields += [
                ("supervisor", "\(status.pid)"), ("state", status.state.rawValue), ("since", "\(status.since)"),
                ("orphans", "\(status.orphansReaped)"),
            ]
            for service in status.services {
                fields += [
                    ("service", service.name), ("state", service.state.rawValue), ("pid", "\(service.pid ?? 0)"),
                    ("since", "\(service.since)"), ("restarts", "\(service.restarts)"), ("reloading", service.isReloading ? "1" : "0"),
                    ("status", service.statusText), ("why", service.why), ("ignored", "\(service.ignoredNotifications)"),
                ]
            }
        }
        return lines(fields)
    }

    /// - Throws: `.malformedMessage`.
    package static func answer(from bytes: [UInt8]) throws(SupervisionError) -> ControlAnswer {
        var reader = try Reader(bytes)
        let result = try reader.take("result")
        guard result == "ok" || result == "refused" else { throw malformed("result is \(result)") }
        var answer = ControlAnswer(isDone: result == "ok", message: try reader.take("message"))
        guard reader.next != nil else { return answer }
        var status = SupervisorStatus(
            pid: try reader.number("supervisor"), state: try reader.state("state"), since: try reader.number("since"),
            orphansReaped: try reader.number("orphans"), services: [])
        while reader.next != nil {
            let name = try reader.take("service")
            let state: ServiceState = try reader.state("state")
            let pid: Int32 = try reader.number("pid")
            let since: Int64 = try reader.number("since")
            let restarts: Int = try reader.number("restarts")
            let reloading: Int = try reader.number("reloading")
            guard reloading <= 1 else { throw malformed("reloading is \(reloading)") }
            status.services.append(
                ServiceStatus(
                    name: name, state: state, pid: pid == 0 ? nil : pid, since: since, restarts: restarts, isReloading: reloading == 1,
                    statusText: try reader.take("status"), why: try reader.take("why"), ignoredNotifications: try reader.number("ignored")))
        }
        answer.status = status
        return answer
    }

    // MARK: Lines

    private static func lines(_ fields: [(String, String)]) -> [UInt8] {
        var bytes: [UInt8] = []
        for (key, value) in fields {
            bytes += key.utf8
            bytes.append(UInt8(ascii: "="))
            for byte in value.utf8 {
                switch byte {
                case UInt8(ascii: "\\"): bytes += "\\\\".utf8
                case UInt8(ascii: "\n"): bytes += "\\n".utf8
                default: bytes.append(byte)
                }
            }
            bytes.append(UInt8(ascii: "\n"))
        }
        return bytes
    }

    private static func malformed(_ what: String) -> SupervisionError { SupervisionError(.malformedMessage, what) }

    /// Takes the fields in the order in which they must stand, which also rules out repeated and unknown ones.
    private struct Reader {
        private var fields: ArraySlice<(key: String, value: String)> = []

        init(_ bytes: [UInt8]) throws(SupervisionError) {
            guard bytes.count <= ControlMessage.longest, bytes.last == UInt8(ascii: "\n") else {
                throw ControlMessage.malformed("a message is at most \(ControlMessage.longest) bytes and ends with a line feed")
            }
            for line in bytes.dropLast().split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false) {
                guard let equals = line.firstIndex(of: UInt8(ascii: "=")), let key = String(validating: line[..<equals], as: UTF8.self),
                    let value = String(validating: try Self.unescape(line[(equals + 1)...]), as: UTF8.self)
                else { throw ControlMessage.malformed("a line is not key=value in UTF-8") }
                fields.append((key, value))
            }
        }

        var next: String? { fields.first?.key }

        mutating func take(_ key: String) throws(SupervisionError) -> String {
            guard let field = fields.first, field.key == key else { throw ControlMessage.malformed("\(key)= is missing") }
            fields.removeFirst()
            return field.value
        }

        mutating func number<N: FixedWidthInteger>(_ key: String) throws(SupervisionError) -> N {
            let text = try take(key)
            guard text.utf8.first.map({ (48...57).contains($0) }) == true, let number = N(text, radix: 10) else {
                throw ControlMessage.malformed("\(key) is no number")
            }
            return number
        }

        mutating func state<S: RawRepresentable>(_ key: String) throws(SupervisionError) -> S where S.RawValue == String {
            guard let state = S(rawValue: try take(key)) else { throw ControlMessage.malformed("\(key) is unknown") }
            return state
        }

        private static func unescape(_ bytes: ArraySlice<UInt8>) throws(SupervisionError) -> [UInt8] {
            var plain: [UInt8] = []
            var rest = bytes
            while let byte = rest.popFirst() {
                guard byte == UInt8(ascii: "\\") else {
                    plain.append(byte)
                    continue
                }
                switch rest.popFirst() {
                case UInt8(ascii: "\\"): plain.append(byte)
                case UInt8(ascii: "n"): plain.append(UInt8(ascii: "\n"))
                default: throw ControlMessage.malformed("a backslash stands before something else than a backslash or n")
                }
            }
            return plain
        }
    }
}
