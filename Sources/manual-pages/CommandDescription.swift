// What swift-argument-parser says of a command (ToolInfoV0), as far as pages show it.

import UPKIProtocol

struct CommandDescription {
    let name: String
    let abstract: String
    let discussion: String
    let arguments: [ArgumentDescription]
    let subcommands: [CommandDescription]

    init?(_ json: JSON) {
        guard let name = json["commandName"]?.stringValue else { return nil }
        self.name = name
        self.abstract = json["abstract"]?.stringValue ?? ""
        self.discussion = json["discussion"]?.stringValue ?? ""
        self.arguments = (json["arguments"]?.arrayValue ?? []).filter { $0["shouldDisplay"]?.boolValue != false }
            .compactMap { ArgumentDescription($0) }
        self.subcommands = (json["subcommands"]?.arrayValue ?? []).filter { $0["shouldDisplay"]?.boolValue != false }
            .compactMap { CommandDescription($0) }
            // It shows what these pages say.
            .filter { $0.name != "help" }
    }
}

struct ArgumentDescription {
    enum Kind: String { case positional, option, flag }

    let kind: Kind
    /// With their dashes; empty for what is told by its place.
    let names: [String]
    let value: String
    let isOptional: Bool
    let isRepeating: Bool
    let abstract: String
    let defaultValue: String?

    init?(_ json: JSON) {
        guard let kind = json["kind"]?.stringValue.flatMap({ Kind(rawValue: $0) }) else { return nil }
        self.kind = kind
        self.names = (json["names"]?.arrayValue ?? []).compactMap { name in
            guard let text = name["name"]?.stringValue else { return nil }
            return name["kind"] == "long" ? "--\(text)" : "-\(text)"
        }
        self.value = json["valueName"]?.stringValue ?? "value"
        self.isOptional = json["isOptional"]?.boolValue ?? false
        self.isRepeating = json["isRepeating"]?.boolValue ?? false
        self.abstract = json["abstract"]?.stringValue ?? ""
        self.defaultValue = json["defaultValue"]?.stringValue
    }
}
