// What the tests of this module share: the problems that a piece of text causes.

import Settings

/// The problems that reading causes, one text each; empty where there are none.
func problems(_ body: () throws -> Void) -> [String] {
    do {
        try body()
        return []
    } catch let error as SettingsError {
        return error.problems.map(\.description)
    } catch {
        return ["another error: \(error)"]
    }
}

/// The problems of a configuration file.
func configurationProblems(_ text: String) -> [String] {
    problems { _ = try Configuration.parse(text, file: "ca.config.yml") }
}

/// The problems of a profile's file.
func profileProblems(_ text: String, file: String = "profiles/mine.yml") -> [String] {
    problems { _ = try ProfileFile.parse(text, file: file) }
}
