// Where settings come from besides the configuration: directories, variables and the bytes of files.

private import Glibc

/// The two directories the CA works in.
public struct Locations: Sendable, Equatable {
    /// Keys, configuration and store.
    public let dataDirectory: String

    /// The sockets between the programs.
    public let runDirectory: String

    /// Those of the host's own CA.
    public static let systemDataDirectory = "/var/lib/upki-ca"
    public static let systemRunDirectory = "/run/upki-ca"

    /// The configuration file.
    public var configurationFile: String { self.dataDirectory + "/ca.config.yml" }

    /// The folder of the profiles' files.
    public var profilesDirectory: String { self.dataDirectory + "/profiles" }

    /// Chooses the directories: flag over variable (`UPKI_DATA_DIR`, `UPKI_RUN_DIR`) over default. Empty variables count as absent.
    ///
    /// The default data directory is `/var/lib/upki-ca` for root and for the user whose home it is, and `~/.upki/ca` for others. The
    /// default run directory is `/run/upki-ca` beside `/var/lib/upki-ca` and otherwise `run` in the data directory, so that two CAs of one
    /// user do not meet.
    ///
    /// - Parameters:
    ///   - dataFlag: `--data-dir`.
    ///   - runFlag: `--run-dir`.
    ///   - environment: the program's environment; `HOME` is read too.
    ///   - isRoot: whether the effective user is root, or one of the host's CA's operators who has no CA of their own.
    ///   - currentDirectory: what relative paths are relative to.
    /// - Throws: where no data directory is given and there is no home.
    public init(
        dataFlag: String?, runFlag: String?, environment: [String: String], isRoot: Bool, currentDirectory: String
    ) throws(SettingsError) {
        func given(_ flag: String?, _ variable: String) -> String? {
            let text = [flag, environment[variable]].compactMap { $0 }.first { !$0.isEmpty }
            return text.map { Self.normalised($0, relativeTo: currentDirectory) }
        }
        let systemDirectory = Self.systemDataDirectory
        if let data = given(dataFlag, "UPKI_DATA_DIR") {
            self.dataDirectory = data
        } else if isRoot || environment["HOME"].map({ Self.normalised($0, relativeTo: "/") }) == systemDirectory {
            self.dataDirectory = systemDirectory
        } else if let home = environment["HOME"], home.hasPrefix("/") {
            self.dataDirectory = Self.normalised(home + "/.upki/ca", relativeTo: currentDirectory)
        } else {
            throw SettingsError(
                .invalid, source: "UPKI_DATA_DIR", "no data directory is given and HOME is not set; give --data-dir or UPKI_DATA_DIR")
        }
        self.runDirectory =
            given(runFlag, "UPKI_RUN_DIR")
            ?? (self.dataDirectory == systemDirectory ? Self.systemRunDirectory : self.dataDirectory + "/run")
    }

    /// An absolute path without empty and `.` components; `..` stays, since it may follow a symbolic link.
    private static func normalised(_ path: String, relativeTo directory: String) -> String {
        let absolute = path.hasPrefix("/") ? path : directory + "/" + path
        return "/" + absolute.split(separator: "/").filter { $0 != "." }.joined(separator: "/")
    }
}

/// What the environment hands to `init` and `up`: the reference's variables.
public struct StartInputs: Sendable, Equatable {
    /// `UPKI_CA_SEED`.
    public let seed: SecretText?

    /// `UPKI_CA_KEY_FILE`: the key of an existing CA.
    public let keyFile: String?

    /// `UPKI_CA_CERT_FILE`: the certificate of an existing CA.
    public let certificateFile: String?

    /// Reads the variables; empty ones count as absent.
    ///
    /// - Throws: where only one of the two files is named, or a seed beside them.
    public init(environment: [String: String]) throws(SettingsError) {
        func value(_ name: String) -> String? { environment[name].flatMap { $0.isEmpty ? nil : $0 } }
        self.seed = value("UPKI_CA_SEED").map(SecretText.init)
        self.keyFile = value("UPKI_CA_KEY_FILE")
        self.certificateFile = value("UPKI_CA_CERT_FILE")
        switch (self.keyFile, self.certificateFile) {
        case (nil, .some):
            throw SettingsError(.invalid, source: "UPKI_CA_CERT_FILE", "a certificate without its key; UPKI_CA_KEY_FILE is needed too")
        case (.some, nil):
            throw SettingsError(.invalid, source: "UPKI_CA_KEY_FILE", "a key without its certificate; UPKI_CA_CERT_FILE is needed too")
        default: break
        }
    }
}

/// The variables that programs of this project read.
public enum SettingsEnvironment {
    public static let names = [
        "UPKI_DATA_DIR", "UPKI_RUN_DIR", "UPKI_CA_HOST", "UPKI_CA_SEED", "UPKI_CA_KEY_FILE", "UPKI_CA_CERT_FILE", "HOME",
    ]

    /// Those of them that are set. To be called before other threads exist that could change the environment.
    public static func current() -> [String: String] {
        var values: [String: String] = [:]
        for name in self.names {
            if let value = getenv(name) { values[name] = String(cString: value) }
        }
        return values
    }
}

/// Reads files of settings, bounded.
public enum SettingsFile {
    /// The bytes of a regular file of at most `YAMLText.sizeLimit` bytes; nil where there is no file.
    ///
    /// A FIFO or a device is refused without waiting for it.
    public static func read(_ path: String) throws(SettingsError) -> [UInt8]? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
        guard descriptor >= 0 else {
            let failure = errno
            if failure == ENOENT { return nil }
            if failure == EACCES {
                throw SettingsError(.unreadable, source: path, "uid \(geteuid()) may not read it: chown \(geteuid()) '\(path)'")
            }
            throw SettingsError(.unreadable, source: path, "cannot be opened: \(String(cString: strerror(failure)))")
        }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw SettingsError(.unreadable, source: path, "is no regular file")
        }
        // One byte more than allowed shows that there is more, whatever the size was when it was asked for.
        var bytes = [UInt8](repeating: 0, count: YAMLText.sizeLimit + 1)
        var count = 0
        while count < bytes.count {
            let part = bytes.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress?.advanced(by: count), $0.count - count) }
            if part < 0 {
                let failure = errno
                if failure == EINTR { continue }
                throw SettingsError(.unreadable, source: path, "cannot be read: \(String(cString: strerror(failure)))")
            }
            if part == 0 { break }
            count += part
        }
        guard count <= YAMLText.sizeLimit else {
            throw SettingsError(.tooLarge, source: path, "the file is too large; at most \(YAMLText.sizeLimit) bytes are allowed")
        }
        return Array(bytes[..<count])
    }
}
