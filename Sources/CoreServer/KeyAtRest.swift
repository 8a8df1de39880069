// ca.key as it rests on the disk, and the password that opens it.

import CAKeys
import DurableFiles
import Glibc
import Logging
import Settings

/// The password of ca.key under `key_storage: encrypted`.
enum KeyPassword {
    /// Where it is: in the file that the configuration names, in the one that the start was given, in the credential `ca-key-password`.
    static func path(_ configuration: Configuration, file: String?) throws -> String {
        guard let path = configuration.passwordFile ?? file ?? Credential.path("ca-key-password") else {
            throw CoreError(
                "key_storage: encrypted needs the password of ca.key: name its file as password_file in ca.config.yml, or give the systemd credential 'ca-key-password'"
            )
        }
        return path
    }

    /// The bytes without one line feed at their end; the caller wipes them.
    static func read(_ configuration: Configuration, file: String?) throws -> [UInt8] {
        let path = try self.path(configuration, file: file)
        var password = try Credential.read(path, limit: 1_025)
        if password.last == UInt8(ascii: "\n") { password.removeLast() }
        guard !password.isEmpty else { throw CoreError("\(path) is empty; the password of ca.key is expected in it") }
        return password
    }
}

enum KeyAtRest {
    /// Reads `ca.key`.
    ///
    /// - Throws: `CoreError` with one line where its protection is not what the configuration says, or the password is another one.
    static func read(_ directory: DataDirectory, _ configuration: Configuration, passwordFile: String?, log: Logger) throws -> CAKey {
        var pem = try PrivateFile.read(directory.key)
        defer { wipe(&pem) }
        guard configuration.keyStorage == .encrypted else {
            do { return try CAKey(pem: pem) } catch let error as KeyError where error.code == .passwordNeeded {
                throw CoreError(
                    "\(directory.key) is encrypted; set key_storage: encrypted in ca.config.yml, with password_file for its password")
            }
        }
        let path = try KeyPassword.path(configuration, file: passwordFile)
        var password = try KeyPassword.read(configuration, file: passwordFile)
        defer { wipe(&password) }
        if !String(decoding: pem, as: UTF8.self).contains("ENCRYPTED") {
            log.warning(
                "ca.key is not encrypted although key_storage is encrypted; do it with: openssl pkcs8 -topk8 -v2 aes-256-cbc -in '\(directory.key)' -out '\(directory.key).new' -passout 'file:\(path)' && mv '\(directory.key).new' '\(directory.key)'"
            )
        }
        do { return try CAKey(pem: pem, password: password) } catch let error as KeyError where error.code == .wrongPassword {
            throw CoreError("\(directory.key) cannot be decrypted with the password in \(path); give the one that it was encrypted with")
        }
    }
}
