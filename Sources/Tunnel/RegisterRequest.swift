// What the tunnel understands of requests: `register`, and nothing else.

import UPKIProtocol

/// Requests that a tunnel reads.
package enum RegisterRequest {
    /// Every other request goes on as it is: only one with this text can be a `register`.
    private static let mark = Array("register".utf8)

    /// A request for port 5000 with the tunnel's own token in the place of the seed, where it is a `register`: the RA sends its seed again
    /// when it registers nodes, and a seed is not to cross the network.
    ///
    /// - Parameter token: nil where this node has none yet; then there is nothing to put in, and the seed is taken out.
    package static func withToken(_ token: String?, _ payload: [UInt8]) -> [UInt8] {
        // A name may be spelt with escapes: then it is looked at, too.
        guard contains(payload, mark) || payload.contains(UInt8(ascii: "\\")) else { return payload }
        guard let json = try? JSON(parsing: payload), json["TASK"]?.stringValue == "register", case .object(var members) = json else {
            return payload
        }
        // As the CA reads it: the last of two members with one name counts, so that none may keep a seed.
        for index in members.indices where members[index].name == "params" {
            guard case .object(var parameters) = members[index].value else { continue }
            for place in parameters.indices where parameters[place].name == "seed" { parameters[place].value = .string(token ?? "") }
            members[index].value = .object(parameters)
        }
        return JSON.object(members).encoded
    }

    static func contains(_ bytes: [UInt8], _ sought: [UInt8]) -> Bool {
        guard bytes.count >= sought.count, let first = sought.first else { return false }
        return bytes.withUnsafeBufferPointer { buffer in
            var start = 0
            while start <= buffer.count - sought.count {
                if buffer[start] == first, (0..<sought.count).allSatisfy({ buffer[start + $0] == sought[$0] }) { return true }
                start += 1
            }
            return false
        }
    }
}

/// A `register` of an RA that has no key yet.
struct Onboarding: Sendable {
    var commonName: String
    var profile: String
    /// As text: host names and addresses.
    var names: [String]

    /// - Throws: `Refusal` in the CA's own words.
    init(_ request: Request) throws(Refusal) {
        let parameters = request.parameters
        guard let name = parameters["cn"]?.stringValue, !name.isEmpty else { throw Refusal(.missingParameter, "Missing cn parameter") }
        commonName = name
        profile = parameters["profile"]?.stringValue ?? "ra"
        var names: [String] = []
        for entry in parameters["sans"]?.arrayValue ?? [] {
            guard let name = entry.stringValue ?? entry["value"]?.stringValue else {
                throw Refusal(.invalidParameter, "Invalid sans parameter: it is a list of names")
            }
            names.append(name)
        }
        self.names = names
    }
}
