// What the published CRL says of itself, read from its file.

import Authority
import Glibc
import PKI
import RevocationFormats

extension PublishedListFacts {
    /// Counts the entries too, which takes a while for a million.
    ///
    /// - Throws: `RevocationFormatsError` where it is no CRL.
    init(der: [UInt8]) throws {
        let list = try CertificateList(derEncoded: der).tbsCertList
        var entries = 0
        try list.revokedCertificates?.forEachEntry { _ in entries += 1 }
        self.init(
            number: list.crlNumber, thisUpdate: UnixTime(list.thisUpdate.unixSeconds),
            nextUpdate: list.nextUpdate.map { UnixTime($0.unixSeconds) }, entries: entries, bytes: der.count)
    }
}

/// Tells one file from the one that replaced it, and one that was written to from what it was.
struct FileIdentity: Equatable {
    private let device: UInt
    private let inode: UInt
    private let size: Int
    private let seconds: Int
    private let nanoseconds: Int

    /// nil where there is no file.
    init?(_ path: String) {
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        self.device = UInt(status.st_dev)
        self.inode = UInt(status.st_ino)
        self.size = Int(status.st_size)
        self.seconds = Int(status.st_mtim.tv_sec)
        self.nanoseconds = Int(status.st_mtim.tv_nsec)
    }
}
