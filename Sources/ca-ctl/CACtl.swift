// The root of the command line, and how every command ends: one line on standard error and an exit code.

import ArgumentParser
import Console
import Glibc

package struct CACtl: ParsableCommand {
    package static let version = "0.1.0"

    package static let configuration = CommandConfiguration(
        commandName: "ca-ctl",
        abstract: "Runs the CA and gives its operator every command.",
        discussion: """
            Exit codes: 0 done, 1 refused, 2 the command line is wrong, 3 the CA cannot be reached.
            The data directory is --data-dir, else UPKI_DATA_DIR, else /var/lib/upki-ca for root and its operators and ~/.upki/ca for others;
            the run directory is --run-dir, else UPKI_RUN_DIR, else /run/upki-ca or `run` in the data directory.
            With --identity FOLDER a listed admin asks a CA on another host, over CURVE.
            """,
        version: version,
        subcommands: [],
        groupedSubcommands: [
            CommandGroup(name: "Running", subcommands: [Init.self, Up.self, StatusCommand.self, Reload.self]),
            CommandGroup(name: "Registering", subcommands: [Registrar.self, SeedCommand.self, TokenCommand.self, Transport.self]),
            CommandGroup(name: "On other hosts", subcommands: [Enroll.self, TunnelCommand.self]),
            CommandGroup(name: "Who may do what", subcommands: [Admins.self, Nodes.self]),
            CommandGroup(name: "Certificates", subcommands: [Certificates.self, RevocationLists.self, Profiles.self, OCSP.self]),
            CommandGroup(name: "Looking back", subcommands: [AuditLog.self, Logs.self]),
            CommandGroup(name: "After a fault", subcommands: [ClockCommand.self]),
            CommandGroup(name: "Watching", subcommands: [MetricsCommand.self, DoctorCommand.self]),
            CommandGroup(name: "Shell", subcommands: [Completions.self]),
        ])

    package init() {}

    /// Parses and runs one command line.
    /// - Returns: the exit code.
    package static func run(arguments: [String]) -> Int32 {
        do {
            let arguments = RemoteCommands.identityLast(arguments)
            var command = try parseAsRoot(arguments)
            try RemoteCommands.check(words(in: arguments), arguments)
            try command.run()
            return 0
        } catch let error as CommandError {
            if !error.message.isEmpty { Output.complain(error.message) }
            return error.code.rawValue
        } catch {
            return end(with: error, helpFor: subcommand(in: arguments))
        }
    }

    /// The argument parser's rule for commands without a name of their own, all of which are one word here.
    private static func name(of command: any ParsableCommand.Type) -> String {
        command.configuration.commandName ?? "\(command)".lowercased()
    }

    /// The words of the command that was meant, as far as they are right.
    private static func subcommand(in arguments: [String]) -> String {
        (["ca-ctl", "help"] + words(in: arguments)).joined(separator: " ")
    }

    private static func words(in arguments: [String]) -> [String] {
        var words: [String] = []
        var command: any ParsableCommand.Type = CACtl.self
        for argument in arguments {
            let configuration = command.configuration
            let subcommands = configuration.subcommands + configuration.groupedSubcommands.flatMap(\.subcommands)
            guard let next = subcommands.first(where: { name(of: $0) == argument }) else { break }
            words.append(argument)
            command = next
        }
        return words
    }

    /// What the argument parser has to say: help and version are answers, the rest is a wrong command line.
    private static func end(with error: any Error, helpFor help: String) -> Int32 {
        let parserCode = exitCode(for: error)
        if parserCode == .success {
            Output.write(fullMessage(for: error) + "\n")
            return 0
        }
        guard parserCode == .validationFailure else {
            Output.complain("\(error)")
            return CommandError.Code.refused.rawValue
        }
        let text = message(for: error)
        // Without a subcommand the answer is the help itself.
        if text.isEmpty {
            _ = (fullMessage(for: error) + "\n").withCString { write(STDERR_FILENO, $0, strlen($0)) }
        } else {
            Output.complain("\(text); see: \(help)")
        }
        return CommandError.Code.usage.rawValue
    }
}

/// A wrong command line found after parsing.
func usage(_ message: String) -> CommandError { CommandError(.usage, message) }

struct Completions: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Prints the completion script for a shell.",
        discussion: "For example: ca-ctl completions bash > /etc/bash_completion.d/ca-ctl")

    @Argument(help: "bash, zsh or fish.", completion: .list(["bash", "zsh", "fish"]))
    var shell: String

    func run() throws {
        guard let shell = CompletionShell(rawValue: self.shell) else {
            throw usage("completions are there for bash, zsh and fish, not for \(self.shell)")
        }
        Output.write(CACtl.completionScript(for: shell) + "\n")
    }
}
