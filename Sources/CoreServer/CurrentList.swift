// The published CRL as an open file: what the OCSP bridge is told of it and reads from it, also while the next one is being written.

import Authority
import Crypto
import PKI
import RevocationFormats
import Synchronization
import Tasks

/// The CRL that is published at this moment; the publisher changes it, every thread reads it.
final class CurrentList: Sendable {
    private let file = Mutex<PublishedListFile?>(nil)

    var value: PublishedListFile? { self.file.withLock { $0 } }

    func replace(by file: PublishedListFile) { self.file.withLock { $0 = file } }
}

/// What is known of a CRL from writing it.
struct WrittenList: Sendable {
    let entries: Int
    /// The length of its DER.
    let bytes: Int
    /// SHA-256 of its DER.
    let digest: [UInt8]
}

extension PublishedListFile {
    /// The file that was written a moment ago.
    ///
    /// - Throws: `CoreError` where another one stands there.
    init(_ path: String, plan: PlannedRevocationList, written: WrittenList) throws {
        let file = try ListFile(opening: path)
        guard file.byteCount == written.bytes else { throw CoreError("\(path) is not the CRL that was just written; leave it to ca-core") }
        self.init(
            number: plan.number, thisUpdate: plan.thisUpdate, nextUpdate: plan.nextUpdate, bytes: written.bytes, sha256: written.digest
        ) { try file.read(at: $0, count: $1) }
    }

    /// A file that an earlier process left, read once from end to end in bounded memory; nil where it is no CRL of ours.
    init?(found path: String) throws {
        let file = try ListFile(opening: path)
        let fields = try StreamedCertificateList(file).tbsCertList
        guard let number = fields.crlNumber, let nextUpdate = fields.nextUpdate else { return nil }
        var hash = SHA256()
        var offset = 0
        while offset < file.byteCount {
            let part = try file.read(at: offset, count: 1 << 20)
            if part.isEmpty { return nil }
            hash.update(data: part)
            offset += part.count
        }
        self.init(
            number: number, thisUpdate: UnixTime(fields.thisUpdate.unixSeconds), nextUpdate: UnixTime(nextUpdate.unixSeconds),
            bytes: offset, sha256: Array(hash.finalize())
        ) { try file.read(at: $0, count: $1) }
    }
}
