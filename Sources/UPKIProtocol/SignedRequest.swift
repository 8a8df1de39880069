// What an admin on another host signs: the task and its parameters as one text, so that no relay can make them up or change them.

/// The text that is signed, and what it says.
///
/// It is a JSON object with `task`, `params`, `time` (Unix seconds), `nonce` (32 hexadecimal digits, never used twice) and `ca` (SHA-256 of the
/// CA certificate's DER, hexadecimal). A request carries it as parameter `signed`, with the signature of the bytes of that text as `signature`
/// (base64): ECDSA with SHA-256 by the key of the node's certificate, as a DER SEQUENCE (RFC 3279, section 2.2.3).
public struct SignedRequest: Sendable, Equatable {
    public let task: String
    public let parameters: Parameters
    /// Unix seconds.
    public let time: Int64
    public let nonce: String
    /// SHA-256 of the CA certificate's DER, in lower-case hexadecimal.
    public let authority: String

    public init(task: String, parameters: Parameters, time: Int64, nonce: String, authority: String) {
        self.task = task
        self.parameters = parameters
        self.time = time
        self.nonce = nonce
        self.authority = authority
    }

    /// What is signed.
    public var text: String {
        JSON.object([
            .init("task", .string(task)), .init("params", .object(parameters.members)), .init("time", .integer(time)),
            .init("nonce", .string(nonce)), .init("ca", .string(authority)),
        ]).text
    }

    /// - Throws: `Refusal` where the text is none.
    public init(text: String) throws(Refusal) {
        guard let json = try? JSON(parsing: Array(text.utf8)), let task = json["task"]?.stringValue,
            let params = json["params"]?.objectValue,
            let time = json["time"]?.integerValue, let nonce = json["nonce"]?.stringValue, nonce.utf8.count == 32,
            let authority = json["ca"]?.stringValue
        else { throw Refusal(.invalidParameter, "Invalid signed parameter: it is JSON with task, params, time, nonce and ca") }
        self.init(task: task, parameters: Parameters(params), time: time, nonce: nonce, authority: authority)
    }

    public static func == (left: SignedRequest, right: SignedRequest) -> Bool { left.text == right.text }
}
