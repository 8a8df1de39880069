// The pages of one program: one for itself, and one for each of its commands where it has many.

struct ManualPages {
    private let program: CommandDescription
    private let section: String
    private let date: String

    /// A program with more commands than this has a page for each.
    private static let mostOnOnePage = 8

    init(_ program: CommandDescription, section: String, date: String) {
        self.program = program
        self.section = section
        self.date = date
    }

    var all: [(name: String, text: String)] {
        guard self.program.subcommands.count > Self.mostOnOnePage else {
            return [(self.program.name, self.whole(self.program, [self.program.name]))]
        }
        return [(self.program.name, self.overview)]
            + self.program.subcommands.map { command in
                ("\(self.program.name)-\(command.name)", self.whole(command, [self.program.name, command.name]))
            }
    }

    // MARK: Pages

    /// The program with a list of its commands.
    private var overview: String {
        var text = self.head(self.program.name, self.program.abstract)
        text += ".Sh SYNOPSIS\n.Nm\n.Ar command\n.Op Ar options\n"
        text += ".Sh DESCRIPTION\n" + ManualText.paragraphs(self.sentence(self.program.abstract) + "\n\n" + self.program.discussion)
        text += ".Sh COMMANDS\nEach has a page of its own.\n.Bl -tag -width Ds\n"
        for command in self.program.subcommands {
            text += ".It Xr \(self.program.name)-\(command.name) \(self.section)\n"
            text += ManualText.paragraphs(self.sentence(command.abstract))
            let words = command.subcommands.map(\.name)
            if !words.isEmpty { text += ManualText.paragraphs("Commands: \(words.joined(separator: ", ")).") }
        }
        text += ".El\n"
        text += self.options(self.program.arguments, title: ".Sh OPTIONS\n")
        return text
    }

    /// A command with everything below it.
    private func whole(_ command: CommandDescription, _ path: [String]) -> String {
        let leaves = self.leaves(command, path)
        var text = self.head(path.joined(separator: "-"), command.abstract)
        text += ".Sh SYNOPSIS\n" + leaves.map { self.synopsis($0.command, $0.path) }.joined()
        text += ".Sh DESCRIPTION\n" + ManualText.paragraphs(self.sentence(command.abstract) + "\n\n" + command.discussion)
        guard leaves.count > 1 || leaves[0].path != path else {
            text += self.options(command.arguments, title: ".Sh OPTIONS\n")
            return text + self.seeAlso(path)
        }
        // What every one of them takes is told once.
        let common = leaves[0].command.arguments.filter { candidate in
            candidate.kind != .positional
                && leaves.allSatisfy { leaf in
                    leaf.command.arguments.contains { $0.names == candidate.names && $0.abstract == candidate.abstract }
                }
        }
        text += ".Sh COMMANDS\n"
        for leaf in leaves {
            text += ".Ss \(leaf.path.map { ManualText.escaped($0) }.joined(separator: " "))\n"
            text += ManualText.paragraphs(self.sentence(leaf.command.abstract) + "\n\n" + leaf.command.discussion)
            let own = leaf.command.arguments.filter { argument in
                !common.contains { $0.names == argument.names && argument.kind != .positional }
            }
            text += self.options(own, title: "")
        }
        text += self.options(common, title: ".Sh COMMON OPTIONS\n")
        return text + self.seeAlso(path)
    }

    /// Commands that do something, with their whole names.
    private func leaves(_ command: CommandDescription, _ path: [String]) -> [(command: CommandDescription, path: [String])] {
        guard !command.subcommands.isEmpty else { return [(command, path)] }
        return command.subcommands.flatMap { self.leaves($0, path + [$0.name]) }
    }

    // MARK: Parts

    private func head(_ name: String, _ abstract: String) -> String {
        // A title has no full stop, and is one line (mandoc(1) cuts it into whatis databases).
        var title = abstract.split(separator: ".").first.map(String.init) ?? abstract
        if let first = title.first { title = first.lowercased() + title.dropFirst() }
        return
            ".Dd \(self.date)\n.Dt \(name.uppercased()) \(self.section)\n.Os \"uPKI CA\"\n.Sh NAME\n.Nm \(name)\n.Nd \(title.split(separator: " ").map { ManualText.escaped(String($0)) }.joined(separator: " "))\n"
    }

    private func synopsis(_ command: CommandDescription, _ path: [String]) -> String {
        var text = ".Nm \(ManualText.argument(path.joined(separator: " ")))\n"
        for argument in command.arguments where !argument.names.contains("--help") && !argument.names.contains("--version") {
            let usage = self.usage(argument)
            text += argument.isOptional || argument.kind == .flag ? ".Op \(usage)\n" : ".\(usage)\n"
        }
        return text
    }

    private func usage(_ argument: ArgumentDescription) -> String {
        let more = argument.isRepeating ? " ..." : ""
        let value = "Ar \(ManualText.argument(argument.value))\(more)"
        guard argument.kind != .positional else { return value }
        // The macro writes the first dash.
        let names = argument.names.map { "Fl \(ManualText.argument(String($0.dropFirst())))" }.joined(separator: " , ")
        return argument.kind == .flag ? names : "\(names) \(value)"
    }

    private func options(_ arguments: [ArgumentDescription], title: String) -> String {
        guard !arguments.isEmpty else { return "" }
        var text = title + ".Bl -tag -width Ds\n"
        for argument in arguments {
            text += ".It \(self.usage(argument))\n"
            var words = self.sentence(argument.abstract)
            if let value = argument.defaultValue, !value.isEmpty, argument.kind != .flag { words += " Default: \(value)." }
            text += ManualText.paragraphs(words)
        }
        return text + ".El\n"
    }

    private func seeAlso(_ path: [String]) -> String {
        path.count < 2 ? "" : ".Sh SEE ALSO\n.Xr \(path[0]) \(self.section)\n"
    }

    private func sentence(_ text: String) -> String {
        guard let last = text.last else { return text }
        return ".!?:".contains(last) ? text : text + "."
    }
}
