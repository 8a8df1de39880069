// Becoming a node and staying one: `register` and `renew` over CURVE.

public import Enrolment
import PKI
public import UPKIProtocol

/// What a node asks for itself.
public enum Registration {
    /// How long each of its questions may take: whoever stops the program waits for it.
    private static let patience = Duration.seconds(10)

    /// Registers with the string's token.
    ///
    /// - Parameter isSecondTry: whether it may have been registered already: then the front is asked where the registrar is not there any
    ///   more, since the window may have closed behind the first try.
    /// - Returns: the answer to `register`, not checked yet.
    /// - Throws: `NodeLinkError`, `EnrolmentError`.
    public static func ask(
        _ string: EnrolmentString, _ keys: NodeKeys, commonName: String, names: [String], profile: String, isSecondTry: Bool
    ) throws -> JSON {
        var parameters: [JSON.Member] = [
            .init("seed", .string(string.token)), .init("cn", .string(commonName)), .init("profile", .string(profile)),
            .init("csr", .string(try keys.signingRequest(commonName: commonName, names: names))),
        ]
        if !names.isEmpty { parameters.append(.init("sans", .array(names.map { .string($0) }))) }
        let failure: NodeLinkError
        do throws(NodeLinkError) {
            var connection = try NodeConnection.open(string.servers, port: .registrar, identity: keys.curve)
            return try connection.ask("register", parameters, timeout: patience)
        } catch {
            failure = error
        }
        guard isSecondTry, failure.code != .refused || failure.message.hasPrefix("Registration is closed") else { throw failure }
        do throws(NodeLinkError) {
            var connection = try NodeConnection.open(string.servers, port: .core, identity: keys.curve)
            return try connection.ask("register", parameters, timeout: patience)
        } catch {
            // It was no second registration: the first refusal says why there is none.
            throw failure
        }
    }

    /// Renews a node's certificate, for the same key, and keeps it.
    ///
    /// - Throws: `NodeLinkError`, `EnrolmentError`; the old certificate stays then.
    public static func renew(_ identity: inout NodeIdentity, _ connection: inout NodeConnection) throws {
        let answer = try connection.ask("renew", [.init("serial", .string(identity.serial.decimal))], timeout: patience)
        guard let certificate = answer["certificate"]?.stringValue else {
            throw EnrolmentError(.invalidAnswer, "the answer to renew holds no certificate")
        }
        try identity.take(renewed: certificate)
    }
}
