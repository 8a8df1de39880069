// The dependency table of docs/ARCHITECTURE.md against what the package says of itself.

import Foundation
import TestPrograms
import Testing

/// One target as `swift package describe --type json` prints it.
private struct Described: Decodable {
    struct Target: Decodable {
        let name: String
        let type: String
        let target_dependencies: [String]?
        let product_dependencies: [String]?
    }
    let targets: [Target]
}

@Suite("The architecture")
struct DependencyTests {
    private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    /// Programs that only tests start are no part of the product.
    private static let testPrograms: Set<String> = ["supervision-test-child"]

    private static func described() throws -> [String: Set<String>] {
        let scratch = FileManager.default.temporaryDirectory.appendingPathComponent("upki-describe-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: scratch) }
        // A scratch path of its own: the one in use is locked while tests run from it.
        let finished = try ProgramRun.run(
            ["swift", "package", "--scratch-path", scratch.path, "--package-path", Self.root.path, "describe", "--type", "json"],
            environment: ProcessInfo.processInfo.environment, within: .seconds(180))
        try #require(finished.code == 0, "\(finished.errors)")
        let package = try JSONDecoder().decode(Described.self, from: Data(finished.outputBytes))
        var table: [String: Set<String>] = [:]
        let supports = Set(try FileManager.default.contentsOfDirectory(atPath: Self.root.appendingPathComponent("Tests").path))
        for target in package.targets
        where target.type != "test" && !Self.testPrograms.contains(target.name) && !supports.contains(target.name) {
            table[target.name] = Set(target.target_dependencies ?? []).union(target.product_dependencies ?? [])
        }
        return table
    }

    private static func documented() throws -> [String: Set<String>] {
        let text = try String(contentsOf: Self.root.appendingPathComponent("docs/ARCHITECTURE.md"), encoding: .utf8)
        let section = try #require(text.components(separatedBy: "| module | depends on | what it is for |").dropFirst().first)
        var table: [String: Set<String>] = [:]
        for line in section.split(separator: "\n", omittingEmptySubsequences: false).dropFirst(2) {
            guard line.hasPrefix("|") else { break }
            let cells = line.split(separator: "|", omittingEmptySubsequences: false).map { $0.trimmingCharacters(in: .whitespaces) }
            table[cells[1]] = Set(cells[2].split(separator: " ").map { String($0) })
        }
        return table
    }

    @Test("every dependency of a module is in the table of docs/ARCHITECTURE.md, and every one in the table exists")
    func dependenciesAreDocumented() throws {
        let described = try Self.described()
        let documented = try Self.documented()
        #expect(!described.isEmpty)
        #expect(Set(described.keys) == Set(documented.keys))
        for (module, dependencies) in described {
            #expect(
                documented[module] == dependencies,
                "\(module) depends on \(dependencies.sorted()), the table says \((documented[module] ?? []).sorted())")
        }
    }

    @Test("the rules know no socket, no store, no key file and no thread; ca-ctl knows neither the rules nor the CA key")
    func rulesAreAlone() throws {
        let described = try Self.described()
        func reachable(_ name: String) -> Set<String> {
            var seen: Set<String> = []
            var open = [name]
            while let next = open.popLast() {
                for dependency in described[next] ?? [] where seen.insert(dependency).inserted { open.append(dependency) }
            }
            return seen
        }
        #expect(
            reachable("Authority").isDisjoint(with: [
                "ZeroMQ", "SQLiteStore", "GRDB", "CAKeys", "DurableFiles", "Threads", "UPKIProtocol", "Settings",
            ]))
        #expect(reachable("RevocationFormats") == ["SwiftASN1"])
        for relay in ["Relay", "ca-registrar"] {
            #expect(reachable(relay).isDisjoint(with: ["Authority", "CAKeys", "SQLiteStore", "Tasks"]))
        }
        if described["ca-ctl"] != nil {
            #expect(reachable("ca-ctl").isDisjoint(with: ["Authority", "CAKeys", "SQLiteStore", "Tasks", "CoreServer"]))
        }
    }
}
