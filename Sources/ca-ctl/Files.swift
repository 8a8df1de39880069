// Files that a person names: read bounded, written so that no half of a file is ever seen and no key is overwritten by mistake.

import Console
import Glibc

enum NamedFile {
    /// The bytes of a file, a pipe or, for `-`, standard input.
    /// - Throws: `.refused` when it cannot be read or holds more than `limit` bytes.
    static func read(_ path: String, limit: Int = 1 << 20) throws(CommandError) -> [UInt8] {
        let descriptor = path == "-" ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw CommandError(.refused, "\(path): \(String(cString: strerror(errno)))") }
        defer { if descriptor != STDIN_FILENO { close(descriptor) } }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = Glibc.read(descriptor, &buffer, buffer.count)
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { throw CommandError(.refused, "\(path): \(String(cString: strerror(errno)))") }
            if count == 0 { return bytes }
            bytes += buffer[..<count]
            guard bytes.count <= limit else { throw CommandError(.refused, "\(path) holds more than \(limit) bytes") }
        }
    }

    /// The path of a file that is there, for a program that starts elsewhere.
    static func absolute(_ path: String) throws(CommandError) -> String {
        guard let real = realpath(path, nil) else { throw CommandError(.refused, "\(path): \(String(cString: strerror(errno)))") }
        defer { free(real) }
        return String(cString: real)
    }

    /// The bytes of a file, a pipe or standard input, as text.
    static func readText(_ path: String, limit: Int = 1 << 20) throws(CommandError) -> String {
        guard let text = String(validating: try read(path, limit: limit), as: UTF8.self) else {
            throw CommandError(.refused, "\(path) is not UTF-8 text")
        }
        return text
    }

    /// Writes a file whole: under another name first, then moved to its place.
    /// - Parameters:
    ///   - mode: its permissions, whatever the umask.
    ///   - replaces: whether a file of that name may be there already.
    static func write(_ bytes: [UInt8], to path: String, mode: mode_t, replaces: Bool) throws(CommandError) {
        func failure(_ what: String) -> CommandError { CommandError(.refused, "\(what): \(String(cString: strerror(errno)))") }
        let temporary = "\(path).\(getpid()).new"
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw failure(temporary) }
        defer { unlink(temporary) }
        defer { close(descriptor) }
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { throw failure(path) }
            rest = rest.dropFirst(count)
        }
        guard fchmod(descriptor, mode) == 0, fsync(descriptor) == 0 else { throw failure(path) }
        if replaces {
            guard rename(temporary, path) == 0 else { throw failure(path) }
        } else {
            // Unlike rename(2) this fails when the name is taken.
            guard link(temporary, path) == 0 else {
                throw errno == EEXIST ? CommandError(.refused, "\(path) is there already; --force replaces it") : failure(path)
            }
        }
    }
}

/// A seed on its way in: from a file or from standard input, never echoed by a terminal.
enum SeedInput {
    /// - Parameter file: nil for standard input.
    static func read(file: String?) throws(CommandError) -> String {
        guard let file, file != "-" else { return try SecretInput.read("the seed") }
        return try NamedFile.readText(file, limit: 65_536)
    }
}

/// A secret from standard input, never echoed by a terminal.
enum SecretInput {
    /// - Parameter what: for the question, where a person is asked.
    /// - Returns: the text without one line feed at its end.
    static func read(_ what: String) throws(CommandError) -> String {
        guard isatty(STDIN_FILENO) == 1 else {
            var text = try NamedFile.readText("-", limit: 65_536)
            if text.hasSuffix("\n") { text.removeLast() }
            guard !text.isEmpty else { throw CommandError(.refused, "standard input is empty; \(what) is expected there") }
            return text
        }
        Output.complain("type \(what), which is not shown, then press return")
        var before = termios()
        tcgetattr(STDIN_FILENO, &before)
        var quiet = before
        quiet.c_lflag &= ~tcflag_t(ECHO)
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet)
        defer { tcsetattr(STDIN_FILENO, TCSAFLUSH, &before) }
        guard let line = readLine(strippingNewline: true), !line.isEmpty else {
            throw CommandError(.refused, "nothing was typed: \(what) is needed")
        }
        return line
    }
}
