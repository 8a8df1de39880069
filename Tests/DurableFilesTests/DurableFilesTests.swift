// Whole-file writes, private files and folders, and the lock, checked from outside with stat(2), flock(1) and the directory itself.

import DurableFiles
import Foundation
import TestPrograms
import Testing

@Suite struct DurableFilesTests {
    let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    func path(_ name: String) -> String { directory.path + "/" + name }
    func mode(_ path: String) throws -> Int {
        try #require(FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int)
    }

    @Test("a file is created with exactly the mode asked for and replaced whole")
    func writes() throws {
        let file = path("a")
        try DurableFile.write(Array("long first content".utf8), to: file, mode: 0o666)
        #expect(try mode(file) == 0o666)
        try DurableFile.write(Array("short".utf8), to: file, mode: 0o640)
        #expect(try mode(file) == 0o640)
        #expect(try String(contentsOfFile: file, encoding: .utf8) == "short")
        try DurableFile.write([], to: file)
        #expect(try Data(contentsOf: URL(fileURLWithPath: file)).isEmpty)
        #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path) == ["a"])
    }

    @Test("a large file arrives whole")
    func large() throws {
        let bytes = (0..<5_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        try DurableFile.write(bytes, to: path("large"))
        #expect(try Array(Data(contentsOf: URL(fileURLWithPath: path("large")))) == bytes)
    }

    @Test("a file name of 255 bytes can be written")
    func longName() throws {
        let file = path(String(repeating: "n", count: 255))
        try DurableFile.write([1], to: file)
        #expect(FileManager.default.fileExists(atPath: file))
    }

    @Test("a write that fails leaves the old content and no temporary file")
    func failure() throws {
        let folder = path("taken")
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: false)
        #expect(throws: DurableFileError(.system, "")) { try DurableFile.write([1], to: folder) }
        #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path) == ["taken"])
        #expect(throws: DurableFileError(.notFound, "")) { try DurableFile.write([1], to: path("missing/file")) }
    }

    @Test("a symbolic link is replaced, and what it pointed to is untouched")
    func symbolicLink() throws {
        try DurableFile.write(Array("outside".utf8), to: path("outside"))
        try FileManager.default.createSymbolicLink(atPath: path("link"), withDestinationPath: path("outside"))
        try DurableFile.write(Array("inside".utf8), to: path("link"))
        #expect(try String(contentsOfFile: path("outside"), encoding: .utf8) == "outside")
        #expect(try String(contentsOfFile: path("link"), encoding: .utf8) == "inside")
    }

    @Test("a folder that is reached through a symbolic link can be written to")
    func linkedFolder() throws {
        try FileManager.default.createDirectory(atPath: path("real"), withIntermediateDirectories: false)
        try FileManager.default.createSymbolicLink(atPath: path("linked"), withDestinationPath: path("real"))
        try DurableFile.write([7], to: path("linked/file"))
        #expect(FileManager.default.fileExists(atPath: path("real/file")))
    }

    @Test("what a killed process left behind is removed, and nothing else")
    func leftovers() throws {
        try DurableFile.write([1], to: path(".upki-tmp-1234"))
        try DurableFile.write([1], to: path("ca.key"))
        try DurableFile.write([1], to: path(".hidden"))
        #expect(try DurableFile.removeLeftovers(in: directory.path) == 1)
        #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path).sorted() == [".hidden", "ca.key"])
    }

    @Test("removing a file twice is no error")
    func removes() throws {
        try DurableFile.write([1], to: path("a"))
        try DurableFile.remove(path("a"))
        try DurableFile.remove(path("a"))
        #expect(!FileManager.default.fileExists(atPath: path("a")))
    }

    @Test("a private file has mode 0600 and is read back")
    func privateFile() throws {
        try PrivateFile.write(Array("key".utf8), to: path("ca.key"))
        #expect(try mode(path("ca.key")) == 0o600)
        #expect(try PrivateFile.read(path("ca.key")) == Array("key".utf8))
    }

    @Test(
        "a credential may be readable for a group, as systemd's access control lists show themselves, but for nobody else",
        arguments: [(0o400, true), (0o440, true), (0o600, true), (0o444, false), (0o460, false), (0o604, false), (0o401, false)])
    func credential(mode: Int, isAccepted: Bool) throws {
        let file = path("seed")
        try Data("seed".utf8).write(to: URL(fileURLWithPath: file))
        #expect(chmod(file, mode_t(mode)) == 0)
        if isAccepted {
            #expect(try PrivateFile.readCredential(file) == Array("seed".utf8))
        } else {
            #expect(throws: DurableFileError(.openToOthers, "")) { try PrivateFile.readCredential(file) }
        }
        #expect(throws: DurableFileError(.tooLarge, "")) {
            chmod(file, 0o400)
            _ = try PrivateFile.readCredential(file, limit: 3)
        }
    }

    @Test("a private file that others can reach is refused with the command that mends it", arguments: [0o640, 0o604, 0o610, 0o602])
    func openToOthers(_ permissions: Int) throws {
        let file = path("ca.key")
        try PrivateFile.write([1], to: file)
        try FileManager.default.setAttributes([.posixPermissions: permissions], ofItemAtPath: file)
        let error = try #require(throws: DurableFileError.self) { try PrivateFile.read(file) }
        #expect(error.code == .openToOthers)
        #expect(error.message.contains("chmod 600 '\(file)'"))
    }

    @Test("a private file of another user is refused with the command that mends it", .enabled(if: geteuid() == 0))
    func foreignOwner() throws {
        let file = path("ca.key")
        try PrivateFile.write([1], to: file)
        try #require(chown(file, 65534, 65534) == 0)
        let error = try #require(throws: DurableFileError.self) { try PrivateFile.read(file) }
        #expect(error.code == .foreignOwner)
        #expect(error.message.contains("chown 0 '\(file)'"))
    }

    @Test("symbolic links, folders, FIFOs, missing and oversized files are refused")
    func wrongFiles() throws {
        try PrivateFile.write([1, 2, 3], to: path("ca.key"))
        try FileManager.default.createSymbolicLink(atPath: path("link"), withDestinationPath: path("ca.key"))
        try #require(mkfifo(path("fifo"), 0o600) == 0)
        #expect(throws: DurableFileError(.wrongKind, "")) { try PrivateFile.read(path("link")) }
        #expect(throws: DurableFileError(.wrongKind, "")) { try PrivateFile.read(directory.path) }
        #expect(throws: DurableFileError(.wrongKind, "")) { try PrivateFile.read(path("fifo")) }
        #expect(throws: DurableFileError(.notFound, "")) { try PrivateFile.read(path("none")) }
        #expect(throws: DurableFileError(.tooLarge, "")) { try PrivateFile.read(path("ca.key"), limit: 2) }
        #expect(try PrivateFile.read(path("ca.key"), limit: 3) == [1, 2, 3])
    }

    @Test("a private folder has mode 0700, and one that others can enter is refused")
    func privateDirectory() throws {
        let folder = path("data")
        try PrivateDirectory.create(folder)
        try PrivateDirectory.create(folder)
        #expect(try mode(folder) == 0o700)
        try FileManager.default.setAttributes([.posixPermissions: 0o750], ofItemAtPath: folder)
        let error = try #require(throws: DurableFileError.self) { try PrivateDirectory.create(folder) }
        #expect(error.code == .openToOthers)
        #expect(error.message.contains("chmod 700 '\(folder)'"))
        #expect(throws: DurableFileError(.notFound, "")) { try PrivateDirectory.check(path("none")) }
        try DurableFile.write([1], to: path("file"))
        #expect(throws: DurableFileError(.wrongKind, "")) { try PrivateDirectory.check(path("file")) }
    }

    @Test("a second lock is refused with the process id of the first, and works when the first is gone")
    func locks() throws {
        var lock: DirectoryLock? = try DurableFile.lock(directory: directory.path)
        let error = try #require(throws: DurableFileError.self) { try DurableFile.lock(directory: directory.path) }
        #expect(error.code == .locked)
        #expect(error.message.contains("process \(getpid())"))
        #expect(try flockSucceeds(lock?.path ?? "") == false)
        lock = nil
        #expect(try flockSucceeds(path("lock")))
        lock = try DurableFile.lock(directory: directory.path)
        #expect(try String(contentsOfFile: path("lock"), encoding: .utf8) == "\(getpid())\n")
    }

    /// Whether flock(1), another program in another process, gets the lock.
    private func flockSucceeds(_ path: String) throws -> Bool {
        try ProgramRun.run(["/usr/bin/flock", "--nonblock", path, "true"]).code == 0
    }
}

/// A folder that is removed with the test.
final class TemporaryDirectory: Sendable {
    let path: String

    init() throws {
        let url = FileManager.default.temporaryDirectory.appendingPathComponent("upki-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
        path = url.path
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }
}
