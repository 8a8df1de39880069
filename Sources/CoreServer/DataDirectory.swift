// The data directory: where its files are, and the folders in it that rules write to.

import Authority
import DurableFiles
import Glibc
import PKI
import Settings

/// The files of a CA (DESIGN section 7).
public struct DataDirectory: Sendable {
    public let path: String

    public init(_ path: String) { self.path = path }

    public var configuration: String { self.path + "/ca.config.yml" }
    public var certificate: String { self.path + "/ca.crt" }
    public var key: String { self.path + "/ca.key" }
    public var auditKey: String { self.path + "/audit.key" }
    public var listPEM: String { self.path + "/crl.pem" }
    public var profiles: String { self.path + "/profiles" }
    public var database: String { self.path + "/db/ca.sqlite" }
    public var nodes: String { self.path + "/nodes" }
    /// Changes of files that wait for their commit.
    public var pending: String { self.path + "/pending" }
    public var published: String { self.path + "/published" }
    public var publishedList: String { self.published + "/crl.der" }
    public var publishedCertificate: String { self.published + "/ca.crt" }

    /// There while registration is open.
    public var registrationFlag: String { self.path + "/registration.open" }

    static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

    /// Stands from the first to the last act of `init`: what is there with it is nobody's CA yet.
    var unfinished: String { self.path + "/init.unfinished" }

    /// Whether a CA was initialised here, to its end.
    public var isInitialised: Bool { Self.exists(self.certificate) && Self.exists(self.database) && !Self.exists(self.unfinished) }
}

/// `nodes/<cn>/`: keys that the CA made for others.
package struct NodeDirectories {
    package let root: String

    /// Writes both files durably.
    package func store(commonName: String, keyPEM: [UInt8], certificatePEM: String) throws {
        let folder = self.root + "/" + Self.folderName(commonName)
        try PrivateDirectory.create(folder)
        try DurableFile.removeLeftovers(in: folder)
        try PrivateFile.write(keyPEM, to: folder + "/key.pem")
        try DurableFile.write(Array(certificatePEM.utf8), to: folder + "/cert.pem", mode: 0o600)
    }

    /// Puts a renewed certificate beside the key that is there.
    package func store(commonName: String, certificatePEM: String) throws {
        let folder = self.root + "/" + Self.folderName(commonName)
        // Taken away by hand: there is nothing to put it beside.
        guard DataDirectory.exists(folder) else { return }
        try DurableFile.removeLeftovers(in: folder)
        try DurableFile.write(Array(certificatePEM.utf8), to: folder + "/cert.pem", mode: 0o600)
    }

    /// Removes what is there; nothing there is no error.
    package func remove(commonName: String) throws {
        let folder = self.root + "/" + Self.folderName(commonName)
        guard DataDirectory.exists(folder) else { return }
        try DurableFile.removeLeftovers(in: folder)
        try DurableFile.remove(folder + "/key.pem")
        try DurableFile.remove(folder + "/cert.pem")
        // What somebody else put there keeps the folder.
        if rmdir(folder) == 0 { try DurableFile.synchronizeFolder(self.root) }
    }

    /// A name that cannot leave its folder, hide, or meet another one on case: lower-case host names stand for themselves, every other
    /// byte is `%` and two hexadecimal digits; long names end in their hash.
    package static func folderName(_ commonName: String) -> String {
        var name = ""
        for (index, byte) in commonName.utf8.enumerated() {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"):
                name.unicodeScalars.append(Unicode.Scalar(byte))
            case UInt8(ascii: ".") where index > 0:
                name += "."
            default:
                name += "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
            }
        }
        guard name.utf8.count > 200 else { return name.isEmpty ? "%" : name }
        return String(name.prefix(180)) + "%" + String(UInt64(bitPattern: Authority.hash(commonName: commonName)), radix: 16)
    }
}

/// `profiles/<name>.yml`.
struct ProfileDirectory {
    let root: String

    func store(_ profile: CertificateProfile) throws { try self.store(name: profile.name, text: Array(ProfileFile.render(profile).utf8)) }

    /// Writes the profile durably.
    func store(name: String, text: [UInt8]) throws { try DurableFile.write(text, to: self.path(name), mode: 0o600) }

    /// Removes it; nothing there is no error.
    func remove(name: String) throws { try DurableFile.remove(self.path(name)) }

    private func path(_ name: String) -> String { self.root + "/" + name + ".yml" }

    /// The built-in profiles, with the folder's files over and beside them.
    ///
    /// - Throws: `SettingsError` with file and line of everything that is wrong.
    func load(baseSubject: [CertificateProfile.SubjectAttribute]) throws -> [CertificateProfile] {
        var profiles: [String: CertificateProfile] = [:]
        for profile in CertificateProfile.builtIns(baseSubject: baseSubject) { profiles[profile.name] = profile }
        for name in try FolderListing.names(self.root).sorted() where name.hasSuffix(".yml") && !name.hasPrefix(".") {
            let path = self.root + "/" + name
            guard let bytes = try SettingsFile.read(path) else { continue }
            let profile = try ProfileFile.parse(bytes, file: "profiles/" + name, name: String(name.dropLast(4)))
            profiles[profile.name] = profile
        }
        return profiles.values.sorted { $0.name < $1.name }
    }

}

/// What is in a folder.
enum FolderListing {
    /// The names, in no order, `.` and `..` among them.
    static func names(_ folder: String) throws -> [String] {
        guard let stream = opendir(folder) else { throw CoreError("Cannot read the folder \(folder): \(String(cString: strerror(errno)))") }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            names.append(
                withUnsafePointer(to: &entry.pointee.d_name) { $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) } }
            )
        }
        return names
    }
}

/// Why the program cannot start or go on: one line that says what to do.
public struct CoreError: Error, CustomStringConvertible {
    public let description: String

    public init(_ description: String) { self.description = description }
}
