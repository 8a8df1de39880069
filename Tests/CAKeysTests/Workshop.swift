// What the tests of this module share: a folder of their own, the openssl program, and hexadecimal.

import Foundation
import TestPrograms
import Testing

/// A folder for one test, with the `openssl` program run in it.
final class Workshop: Sendable {
    let path: String

    init() throws {
        let url = FileManager.default.temporaryDirectory.appendingPathComponent("upki-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
        path = url.path
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func write(_ bytes: [UInt8], _ name: String) throws {
        try Data(bytes).write(to: URL(fileURLWithPath: path + "/" + name))
    }

    func read(_ name: String) throws -> [UInt8] {
        Array(try Data(contentsOf: URL(fileURLWithPath: path + "/" + name)))
    }

    /// Runs `openssl` with arguments separated by spaces; requires that it ends with 0.
    @discardableResult
    func openssl(_ arguments: String, sourceLocation: SourceLocation = #_sourceLocation) throws -> [UInt8] {
        let finished = try run(arguments)
        try #require(finished.code == 0, "openssl \(arguments): \(finished.errors)", sourceLocation: sourceLocation)
        return finished.outputBytes
    }

    /// What `openssl` writes to standard error when it succeeds.
    func opensslMessages(_ arguments: String) throws -> String {
        let finished = try run(arguments)
        try #require(finished.code == 0, "openssl \(arguments): \(finished.errors)")
        return finished.errors
    }

    func opensslFails(_ arguments: String) throws -> Bool {
        try run(arguments).code != 0
    }

    private func run(_ arguments: String) throws -> Finished {
        try ProgramRun.run(["openssl"] + arguments.split(separator: " ").map(String.init), in: path)
    }
}

func hex(_ bytes: some Sequence<UInt8>) -> String {
    bytes.map { String(format: "%02x", $0) }.joined()
}

func bytes(hex text: String) throws -> [UInt8] {
    let digits = Array(text)
    return try stride(from: 0, to: digits.count, by: 2).map { try #require(UInt8(String(digits[$0...($0 + 1)]), radix: 16)) }
}

func fixture(_ name: String) throws -> Data {
    let url = try #require(Bundle.module.url(forResource: name, withExtension: nil, subdirectory: "Fixtures"))
    return try Data(contentsOf: url)
}
