// Asking a CA elsewhere: which commands can, and the connection that is one of two kinds.

import AdminLink
import ArgumentParser
import Console
import Enrolment
import Glibc
import NodeLink
import UPKIProtocol

/// Commands that a listed admin may give from afar, with `--identity`; all others are about the CA's own host.
package enum RemoteCommands {
    package static let names: Set<String> = [
        "status", "registrar open", "registrar close", "registrar status", "token list", "token revoke", "admin list", "admin add",
        "admin remove", "node list", "node show", "node limit", "node rebind", "node renew", "node remove", "cert issue", "cert sign",
        "cert renew", "cert revoke", "cert unrevoke", "cert delete", "cert show", "cert list", "crl generate", "crl show", "profile list",
        "profile show", "profile add", "profile remove", "ocsp check", "audit show", "audit verify", "audit checkpoint", "metrics",
        "transport show",
    ]

    /// `--identity DIR` may stand before the command too: it is moved behind it, where the option is.
    package static func identityLast(_ arguments: [String]) -> [String] {
        guard let first = arguments.first else { return arguments }
        if first == "--identity", arguments.count > 2 { return Array(arguments[2...]) + Array(arguments[..<2]) }
        if first.hasPrefix("--identity="), arguments.count > 1 { return Array(arguments[1...]) + [first] }
        return arguments
    }

    /// Refuses what cannot be asked from afar before it begins.
    ///
    /// - Parameter words: of the command, without `ca-ctl`.
    static func check(_ words: [String], _ arguments: [String]) throws(CommandError) {
        guard arguments.contains(where: { $0 == "--identity" || $0.hasPrefix("--identity=") }), !ownIdentity.contains(words.first ?? ""),
            !words.isEmpty, !names.contains(words.joined(separator: " "))
        else { return }
        throw CommandError(.refused, "ca-ctl \(words.joined(separator: " ")) works on the CA's own host only; leave --identity out there")
    }

    /// For these the folder is no other way to the CA, but what they are about.
    private static let ownIdentity: Set<String> = ["tunnel", "enroll"]
}

/// A way to the CA: admin.sock on its host, or its front over CURVE.
struct CAConnection: ~Copyable {
    private var local: AdminConnection?
    private var remote: NodeConnection?
    /// Who signs what is asked from afar.
    private let node: NodeIdentity?

    init(_ local: consuming AdminConnection) {
        self.local = consume local
        remote = nil
        node = nil
    }

    init(_ remote: consuming NodeConnection, as node: NodeIdentity) {
        local = nil
        self.remote = consume remote
        self.node = node
    }

    /// The data of the answer; `nil` can be no answer of the protocol's, since there is always one connection.
    mutating func ask(_ task: String, _ parameters: [JSON.Member], timeout: Duration) -> Result<JSON, ConnectionError> {
        do throws(AdminLinkError) {
            if let answer = try local?.ask(task, parameters, timeout: timeout) { return .success(answer) }
        } catch {
            return .failure(.local(error))
        }
        var parameters = parameters
        if let node, TaskNames.remote.contains(task) {
            do throws(EnrolmentError) { parameters = try node.signed(task, parameters) } catch {
                return .failure(.remote(NodeLinkError(.system, error.message)))
            }
        }
        do throws(NodeLinkError) {
            if let answer = try remote?.ask(task, parameters, timeout: timeout) { return .success(answer) }
        } catch {
            return .failure(.remote(error))
        }
        return .failure(.local(AdminLinkError(.system, "there is no connection")))
    }
}

enum ConnectionError: Error {
    case local(AdminLinkError)
    case remote(NodeLinkError)
}

extension SharedOptions {
    var isRemote: Bool { identity != nil }

    /// Opens a connection to the CA that the folder's node belongs to.
    func connectFromAfar(_ folder: String) throws -> CAConnection {
        var node: NodeIdentity
        do throws(EnrolmentError) { node = try NodeIdentity(reading: folder) } catch { throw CommandError(.refused, error.message) }
        var opened: NodeConnection?
        do throws(NodeLinkError) {
            let servers = node.servers
            let pair = node.curve
            try Progress.during("connecting to the CA") { () throws(NodeLinkError) in
                opened = try NodeConnection.open(servers, port: .core, identity: pair)
            }
        } catch {
            throw commandError(error)
        }
        guard let connection = opened.take() else { throw CommandError(.unreachable, "cannot reach the CA") }
        let isNews = !connection.usesFirstKeys
        var way = CAConnection(consume connection, as: node)
        Self.followKeys(&node, &way, isNews: isNews)
        return way
    }

    /// Once a day, and when another key than the first one proved itself: the CA's next keys are learned while those that are known prove
    /// who tells them.
    private static func followKeys(_ node: inout NodeIdentity, _ connection: inout CAConnection, isNews: Bool) {
        let path = "\(node.directory)/\(NodeIdentity.File.facts)"
        var facts = stat()
        guard stat(path, &facts) == 0, isNews || time(nil) - facts.st_mtim.tv_sec > 86_400 else { return }
        guard case .success(let transport) = connection.ask("transport", [], timeout: .seconds(5)) else { return }
        do throws(EnrolmentError) {
            if try !node.take(transport: transport) { utimes(path, nil) }
        } catch {
            Output.complain("warning: \(error.message)")
        }
    }

    /// The exit code and the line for what went wrong on the way to a CA elsewhere.
    func commandError(_ error: NodeLinkError) -> CommandError {
        switch error.code {
        case .unreachable, .otherServer: CommandError(.unreachable, "cannot reach the CA: \(error.message)")
        case .noAnswer, .invalidAnswer: CommandError(.unreachable, error.message)
        case .refused:
            error.message.hasPrefix("Unknown task: ")
                ? CommandError(.refused, "this works on the CA's own host only (\(error.message))")
                : CommandError(.refused, withRemedy(error.message))
        case .system: CommandError(.refused, error.message)
        }
    }
}
