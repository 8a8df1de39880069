// The envelope of the protocol: a request names a task and its parameters; an answer carries data; a refusal one line.

/// A request as it came: the task's name and its parameters.
public struct Request: Sendable {
    public let task: String
    public let parameters: Parameters

    public init(task: String, parameters: Parameters) {
        self.task = task
        self.parameters = parameters
    }

    /// Reads one frame.
    ///
    /// - Throws: `Refusal` with the documented words for whatever is no request.
    public init(frame: [UInt8]) throws(Refusal) {
        guard !frame.isEmpty else { throw Refusal(.invalidRequest, "Invalid JSON: the frame is empty") }
        let value: JSON
        do throws(JSONError) { value = try JSON(parsing: frame) } catch {
            throw Refusal(.invalidRequest, "Invalid JSON: \(error.message) at byte \(error.offset)")
        }
        guard case .object(let members) = value else {
            throw Refusal(.invalidRequest, "Invalid request: an object with TASK and params is expected")
        }
        guard let task = value["TASK"] else { throw Refusal(.missingParameter, "Missing TASK parameter") }
        guard case .string(let name) = task else { throw Refusal(.invalidRequest, "Invalid request: TASK is a string") }
        self.task = name
        switch members.first(where: { $0.name == "params" })?.value {
        case nil, .null?: self.parameters = Parameters([])
        case .object(let parameters)?: self.parameters = Parameters(parameters)
        default: throw Refusal(.invalidRequest, "Invalid request: params is an object")
        }
    }

    /// The frame of this request.
    public var frame: [UInt8] {
        JSON.object([.init("TASK", .string(self.task)), .init("params", .object(self.parameters.members))]).encoded
    }
}

/// The two shapes of an answer.
public enum Answer {
    private static let head = Array(#"{"EVENT":"ANSWER","DATA":"#.utf8)

    /// The frame that carries `data`.
    public static func frame(_ data: JSON) -> [UInt8] {
        var frame = self.head
        data.write(into: &frame)
        frame.append(UInt8(ascii: "}"))
        return frame
    }

    /// The frame that carries data which is JSON text already.
    public static func frame(encodedData: [UInt8]) -> [UInt8] {
        var frame = self.head
        frame.reserveCapacity(frame.count + encodedData.count + 1)
        frame += encodedData
        frame.append(UInt8(ascii: "}"))
        return frame
    }

    /// The frame of a refusal.
    public static func frame(_ refusal: Refusal) -> [UInt8] {
        JSON.object([.init("EVENT", "UPKI ERROR"), .init("MSG", .string(refusal.message))]).encoded
    }

    /// What a client reads from an answer's frame.
    ///
    /// - Throws: `Refusal` with the server's words, or with code `invalidAnswer` where the frame is no answer.
    public static func data(ofFrame frame: [UInt8]) throws(Refusal) -> JSON {
        guard let value = try? JSON(parsing: frame), case .string(let event)? = value["EVENT"] else {
            throw Refusal(.invalidAnswer, "The answer is not one of the uPKI protocol")
        }
        if event == "ANSWER", let data = value["DATA"] { return data }
        guard event == "UPKI ERROR", let message = value["MSG"]?.stringValue else {
            throw Refusal(.invalidAnswer, "The answer is not one of the uPKI protocol")
        }
        throw Refusal(.refusedByServer, message)
    }
}

/// A refusal: a code for programs and audit, one line for a person. Clients match on the documented words of the line.
public struct Refusal: Error, Sendable, Equatable {
    public enum Code: String, Sendable, CaseIterable {
        case invalidRequest, unknownTask, missingParameter, invalidParameter
        case notAuthorised, invalidSeed, registrationClosed
        case profileNotFound, certificateNotFound, certificateExists, nodeIsRevoked, notFound
        case requestRefused, storage, busy, internalError
        case invalidAnswer, refusedByServer
    }

    public let code: Code
    public let message: String

    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = Self.oneLine(message)
    }

    public static func == (left: Refusal, right: Refusal) -> Bool { left.code == right.code }

    /// Control characters of a client's own text must not break the line it comes back in; long text is cut.
    private static func oneLine(_ text: String) -> String {
        var line = String.UnicodeScalarView()
        for scalar in text.unicodeScalars.prefix(1_000) {
            switch scalar.value {
            // Controls of both sets (0x9b begins a terminal's commands), line ends and changes of direction.
            case 0..<0x20, 0x7f..<0xa0, 0x200e, 0x200f, 0x2028...0x202e, 0x2066...0x2069: line.append("?")
            default: line.append(scalar)
            }
        }
        return String(line)
    }
}
