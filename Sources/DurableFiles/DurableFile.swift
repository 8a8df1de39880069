// Writing a whole file so that after a crash either the old or the new content is there, never a part.

import Glibc

/// Whole-file writes that survive kill -9 and power loss.
public enum DurableFile {
    /// Names of files under construction begin so; they are constant in length, so that any allowed file name can be written.
    public static let temporaryPrefix = ".upki-tmp-"

    /// Replaces the content of `path`, or creates it.
    ///
    /// The bytes go to a temporary name in the same folder, which is fsynced, renamed to `path`, and the folder fsynced. When this
    /// returns, the new content is on the disk. When it throws, the old content stands, unless only the last fsync of the folder
    /// failed: then either may be found after a crash. A symbolic link at `path` is replaced, not followed.
    ///
    /// - Parameters:
    ///   - bytes: the whole new content.
    ///   - path: the file; its folder exists.
    ///   - mode: permission bits, exactly as given whatever the umask is.
    /// - Throws: ``DurableFileError``
    public static func write(_ bytes: [UInt8], to path: String, mode: UInt32 = 0o644) throws(DurableFileError) {
        do {
            try self.write(to: path, mode: mode) { write in try write(bytes.span.bytes) }
        } catch let error as DurableFileError {
            throw error
        } catch {
            // `write` throws what its body throws, and this body throws nothing of its own.
            throw DurableFileError(.system, "Cannot write \(path)")
        }
    }

    /// Replaces the content of `path` by what `body` writes piece by piece, with the promises of ``write(_:to:mode:)``.
    ///
    /// - Throws: ``DurableFileError``, or what `body` throws; then the old content stands.
    public static func write(to path: String, mode: UInt32 = 0o644, _ body: (_ write: (RawSpan) throws -> Void) throws -> Void) throws {
        let directory = folder(of: path)
        let temporary = "\(directory)/\(temporaryPrefix)\(String(UInt64.random(in: .min ... .max), radix: 36))"
        do {
            let file = try FileDescriptor(temporary, O_WRONLY | O_CREAT | O_EXCL, mode: 0o600)
            guard fchmod(file.number, mode & 0o7777) == 0 else { throw DurableFileError.system("Cannot set the mode of \(path)", errno) }
            try body { span in try span.withUnsafeBytes { try file.write($0, path) } }
            try file.synchronize(path)
            guard rename(temporary, path) == 0 else { throw DurableFileError.system("Cannot rename to \(path)", errno) }
        } catch {
            unlink(temporary)
            throw error
        }
        try synchronizeFolder(directory)
    }

    /// Removes `path` so that it stays removed after a crash; a file that is not there is no error.
    ///
    /// - Throws: ``DurableFileError``
    public static func remove(_ path: String) throws(DurableFileError) {
        guard unlink(path) == 0 || errno == ENOENT else { throw .system("Cannot remove \(path)", errno) }
        try synchronizeFolder(folder(of: path))
    }

    /// Makes the names in a folder durable (after `mkdir`, `unlink` or `rename`).
    ///
    /// - Throws: ``DurableFileError``
    public static func synchronizeFolder(_ directory: String) throws(DurableFileError) {
        // A folder may be reached through a symbolic link (`/var/lib/x` on another disk); only its last part must not be a file.
        let path = directory.hasSuffix("/") ? directory : directory + "/"
        let descriptor = try FileDescriptor(path + ".", O_RDONLY | O_DIRECTORY)
        try descriptor.synchronize(directory)
    }

    /// Removes the temporary files that a killed process left in a folder; to be called while the folder's lock is held.
    ///
    /// - Parameter prefix: what their names begin with; those of this module where none is given.
    /// - Returns: how many were removed.
    /// - Throws: ``DurableFileError`` if the folder cannot be read.
    @discardableResult
    public static func removeLeftovers(in directory: String, prefix: String = DurableFile.temporaryPrefix) throws(DurableFileError) -> Int {
        guard let stream = opendir(directory) else { throw .system("Cannot open \(directory)", errno) }
        defer { closedir(stream) }
        var count = 0
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { tuple in
                tuple.withMemoryRebound(to: CChar.self, capacity: MemoryLayout.size(ofValue: tuple.pointee)) { String(cString: $0) }
            }
            if name.hasPrefix(prefix), unlink("\(directory)/\(name)") == 0 { count += 1 }
        }
        return count
    }
}
