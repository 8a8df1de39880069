// The openssl program in a folder of its own: the outside source of expected values.

import Foundation
import TestPrograms

/// A folder that goes when its last user goes, and programs run in it.
public final class OpenSSLFolder: Sendable {
    public struct Failure: Error {
        public var arguments: [String]
        public var output: String
    }

    public let path: String

    public init() throws {
        let url = FileManager.default.temporaryDirectory.appendingPathComponent("upki-rules-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
        self.path = url.path
    }

    deinit { try? FileManager.default.removeItem(atPath: self.path) }

    public func write(_ bytes: some Sequence<UInt8>, _ name: String) throws {
        try Data(bytes).write(to: URL(fileURLWithPath: "\(self.path)/\(name)"))
    }
    public func write(_ text: String, _ name: String) throws { try self.write(text.utf8, name) }
    public func read(_ name: String) throws -> [UInt8] { Array(try Data(contentsOf: URL(fileURLWithPath: "\(self.path)/\(name)"))) }
    public func text(_ name: String) throws -> String { String(decoding: try self.read(name), as: UTF8.self) }

    /// Runs openssl; gives standard output and standard error together.
    ///
    /// - Throws: `Failure` unless it ends with 0.
    @discardableResult
    public func openssl(_ arguments: String...) throws -> String { try self.run(["openssl"] + arguments) }

    /// Runs a program by name.
    @discardableResult
    public func run(_ command: [String]) throws -> String {
        let finished = try ProgramRun.run(command, in: self.path)
        let text = finished.output + finished.errors
        guard finished.code == 0 else { throw Failure(arguments: command, output: text) }
        return text
    }
}
