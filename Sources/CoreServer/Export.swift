// What leaves by pipe: keys that the CA keeps for others, and the registration token that a seed gives.

import Authority
import CAKeys
import DurableFiles
import PKI
import SQLiteStore
public import UPKIProtocol

public enum KeyExport {
    /// The key, certificate and CA certificate of a CN whose key is kept here.
    ///
    /// - Parameter password: for PKCS#12; nil for PEM.
    public static func node(_ commonName: String, pkcs12: Bool, password: String?, from directory: DataDirectory) throws -> [UInt8] {
        let folder = directory.nodes + "/" + NodeDirectories.folderName(commonName)
        guard DataDirectory.exists(folder + "/key.pem") else {
            throw CoreError(
                "No key is kept for '\(commonName)'; keys stay here only for certificates made by 'ca-ctl cert issue' or the task generate")
        }
        var key = try PrivateFile.read(folder + "/key.pem")
        defer { wipe(&key) }
        let certificate = try PrivateFile.read(folder + "/cert.pem")
        let chain = Array(PEM.encode(try OpenedAuthority.readCertificate(directory), label: "CERTIFICATE").utf8)
        guard pkcs12 else { return key + certificate + chain }
        guard let password, !password.isEmpty else { throw CoreError("PKCS#12 needs a password, by standard input") }
        return try CAKeys.pkcs12(
            keyPEM: key, certificatePEM: certificate, chainPEM: chain, password: Array(password.utf8), friendlyName: commonName)
    }

    /// The standing token of the CA that a seed made.
    public static func token(seed text: String, from directory: DataDirectory) throws -> JSON {
        let store = try SQLiteStore(path: directory.database)
        let number = try store.read { Int(try $0.setting(.tokenNumber) ?? "0") ?? 0 }
        let known = try store.read { try $0.tokens() }
        let token = try SeedRoot(try Seed(text: text, allowWeak: true)).registrationToken(UInt32(clamping: number))
        guard known.contains(where: { $0.hash == Authority.hash(token: token) && $0.kind == .standing && !$0.isRevoked }) else {
            throw CoreError("This seed is not the one that this CA was made with; try: ca-ctl seed verify")
        }
        return .object([.init("token", .string(token)), .init("number", .integer(number))])
    }
}
