// What the doctor found in one check, in one line, and what to do about it.

import UPKIProtocol

/// One line of the doctor.
public struct DoctorFinding: Sendable, Equatable {
    public enum Level: String, Sendable, Comparable {
        case ok
        /// Nothing is broken yet, or it may be meant.
        case warn
        case fail

        public static func < (left: Level, right: Level) -> Bool {
            [.ok, .warn, .fail].firstIndex(of: left) ?? 0 < [.ok, .warn, .fail].firstIndex(of: right) ?? 0
        }
    }

    public var check: String
    public var level: Level
    /// What was found.
    public var found: String
    /// What to do; empty where nothing is. A command of ca-ctl begins with `ca-ctl `.
    public var remedy: String

    init(_ check: String, _ level: Level, _ found: String, do remedy: String = "") {
        self.check = check
        self.level = level
        self.found = found
        self.remedy = remedy
    }

    /// As the task's answer and `ca-core doctor` carry it.
    public var json: JSON {
        .object([
            .init("check", .string(self.check)), .init("level", .string(self.level.rawValue)), .init("found", .string(self.found)),
            .init("do", .string(self.remedy)),
        ])
    }
}

/// Several faults of one check as the one line that it has: the first few, and how many more there are.
struct FaultList {
    private var shown: [String] = []
    private(set) var count = 0
    private static let most = 3

    mutating func add(_ fault: @autoclosure () -> String) {
        self.count += 1
        if self.shown.count < Self.most { self.shown.append(fault()) }
    }

    var isEmpty: Bool { self.count == 0 }

    var text: String {
        self.shown.joined(separator: "; ") + (self.count > self.shown.count ? "; and \(self.count - self.shown.count) more" : "")
    }
}
