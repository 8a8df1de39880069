// A neutral tree of settings, read from YAML or from the parameters of a task.

/// A value of a setting.
public enum SettingValue: Sendable, Equatable {
    case string(String)
    case int(Int)
    case bool(Bool)
    case null
    case list([Setting])
    /// Entries in the order they were written; a reader refuses equal keys.
    case map([SettingEntry])
}

/// A value and where it stands.
public struct Setting: Sendable, Equatable {
    public var value: SettingValue
    /// The line in its file, from 1; nil where there is no file.
    public var line: Int?

    public init(_ value: SettingValue, line: Int? = nil) {
        self.value = value
        self.line = line
    }
}

/// A key with its value.
public struct SettingEntry: Sendable, Equatable {
    public var key: String
    public var value: Setting
    /// The line of the key, from 1; nil where there is no file.
    public var line: Int?

    public init(_ key: String, _ value: SettingValue, line: Int? = nil) {
        self.key = key
        self.value = Setting(value, line: line)
        self.line = line
    }

    public init(key: String, value: Setting, line: Int?) {
        self.key = key
        self.value = value
        self.line = line
    }
}

/// A text that must not be shown: printing, logging or interpolating it gives stars.
public struct SecretText: Sendable, Equatable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// The secret itself.
    public let text: String

    public init(_ text: String) { self.text = text }

    public var description: String { "***" }
    public var debugDescription: String { "***" }
    public var customMirror: Mirror { Mirror(self, children: []) }
}
