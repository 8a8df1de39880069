// The secrets that a service manager hands over.

import Glibc

/// What systemd hands to a service as files (systemd.exec(5), "CREDENTIALS").
public enum Credential {
    /// Where a credential of that name is, or the one that was encrypted on the disk; nil where none was handed over.
    ///
    /// systemd gives a service one credential of each name, and so the two ways have two names.
    public static func path(_ name: String) -> String? {
        guard let folder = self.folder else { return nil }
        return ["\(folder)/\(name)", "\(folder)/upki-ca.\(name).cred"].first { access($0, F_OK) == 0 }
    }

    private static var folder: String? {
        getenv("CREDENTIALS_DIRECTORY").map { String(cString: $0) }.flatMap { $0.isEmpty ? nil : $0 }
    }

    /// The bytes of a credential, or of another file, which then must be private.
    ///
    /// - Throws: ``DurableFileError``, as ``PrivateFile/read(_:limit:)``.
    public static func read(_ path: String, limit: Int) throws(DurableFileError) -> [UInt8] {
        // A program that a supervisor started has no variable that tells, but systemd's credentials are always below this folder.
        let folders = [self.folder.map { $0 + "/" }, "/run/credentials/"].compactMap { $0 }
        return folders.contains(where: path.hasPrefix)
            ? try PrivateFile.readCredential(path, limit: limit) : try PrivateFile.read(path, limit: limit)
    }
}
