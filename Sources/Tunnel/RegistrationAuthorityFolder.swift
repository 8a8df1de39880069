// Where an unmodified RA keeps its certificate: ra.crt, ra.key and ca.crt of its data directory.

import Crypto
import DurableFiles
import Enrolment
import Glibc

/// The data directory of the RA.
struct RegistrationAuthorityFolder {
    private let path: String
    private static let longest = 256 << 10

    init(_ path: String) { self.path = path }

    /// Replaces `ra.crt` by the node's certificate, with the mode and owner that it has.
    ///
    /// - Returns: whether it was another one before.
    /// - Throws: `.system` where the RA has another key, or the file cannot be read or written: the RA's own files stay as they are.
    func update(_ identity: NodeIdentity) throws(TunnelError) -> Bool {
        // Before the RA has registered there is nothing to renew.
        guard let key = try read("ra.key") else { return false }
        guard let own = try? P256.Signing.PrivateKey(pemRepresentation: key),
            own.rawRepresentation == identity.keys.certificateKey.rawRepresentation
        else { throw TunnelError(.system, "\(path)/ra.key is not this node's key: the RA's certificate is left as it is") }
        guard try read("ra.crt") != identity.certificate else { return false }
        var facts = stat()
        let isThere = stat("\(path)/ra.crt", &facts) == 0
        do throws(DurableFileError) {
            try DurableFile.write(Array(identity.certificate.utf8), to: "\(path)/ra.crt", mode: isThere ? facts.st_mode & 0o777 : 0o644)
        } catch {
            throw TunnelError(.system, "the renewed certificate cannot be put into \(path): \(error.message)")
        }
        // Only root can give files away; the RA can read a certificate whoever owns it.
        if isThere { _ = chown("\(path)/ra.crt", facts.st_uid, facts.st_gid) }
        return true
    }

    private func read(_ name: String) throws(TunnelError) -> String? {
        let descriptor = open("\(path)/\(name)", O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            guard errno != ENOENT else { return nil }
            throw TunnelError(.system, "\(path)/\(name): \(String(cString: strerror(errno)))")
        }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: Self.longest)
        var count = 0
        while count < bytes.count {
            let got = bytes.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress.map { $0 + count }, Self.longest - count) }
            if got < 0 && errno == EINTR { continue }
            guard got >= 0 else { throw TunnelError(.system, "\(path)/\(name): \(String(cString: strerror(errno)))") }
            if got == 0 { break }
            count += got
        }
        return String(decoding: bytes.prefix(count), as: UTF8.self)
    }
}
