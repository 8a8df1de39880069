// Taking the revocations of one CRL over: proof first, then its entries in changes of a bounded size, so that other requests come in between.

import Authority
import PKI
import RevocationFormats

/// A CRL of this CA from elsewhere on its way into the store.
struct ListTakeover {
    /// How an authority commits: on this thread where nothing else runs, through the writer where requests do.
    typealias Committing = (_ body: @escaping @Sendable (inout Commit) throws -> TakingOverCount) throws -> TakingOverCount

    /// So many entries make one change: some tens of milliseconds of the writer's time.
    private static let batch = 2_000

    let authority: Authority
    let facts: TakenOverList
    /// How many entries the list has.
    let entries: Int
    /// How many of them revoke nothing: serial number 0, or removeFromCRL.
    let unusable: Int
    private(set) var done = 0
    private(set) var count = TakingOverCount()
    private var cursor: StreamedCertificateList.Cursor

    /// Proves that the list is this CA's and that every entry can be read; nothing is changed.
    ///
    /// - Throws: `CoreError` with one line.
    init(_ file: ListFile, named name: String, for authority: Authority, temporary directory: String) throws {
        let list = try Self.read(file, named: name, temporary: directory)
        let facts = try Self.prove(list, named: name, issuer: authority.issuer)
        var cursor = list.makeCursor()
        var (entries, unusable) = (0, 0)
        do {
            while let entry = try cursor.next() {
                entries += 1
                if TakenOverEntry(entry) == nil { unusable += 1 }
            }
        } catch let error as RevocationFormatsError {
            throw CoreError("\(name): entry \(entries + 1) cannot be read: \(Self.words(error))")
        }
        self.authority = authority
        self.facts = facts
        self.entries = entries
        self.unusable = unusable
        self.cursor = list.makeCursor()
    }

    /// What stands around the entries of the list in a file.
    static func read(_ file: ListFile, named name: String, temporary directory: String) throws -> StreamedCertificateList {
        do { return try StreamedCertificateList(try file.decoded(in: directory)) } catch let error as RevocationFormatsError {
            throw CoreError("\(name) holds no CRL that can be used: \(Self.words(error))")
        }
    }

    /// Proves that the list is that issuer's.
    static func prove(_ list: StreamedCertificateList, named name: String, issuer: Issuer) throws -> TakenOverList {
        do { return try issuer.check(list) } catch let error as AuthorityError where !error.isFailure {
            throw CoreError("\(name): \(error.detail)")
        }
    }

    private static func words(_ error: RevocationFormatsError) -> String {
        error.code == .unsupportedCriticalExtension ? "\(error.message); only complete CRLs are taken over, no delta CRLs" : error.message
    }

    var isFinished: Bool { self.done == self.entries }

    /// Takes the next entries over, and at the end of the list says so in the audit log.
    mutating func step(_ commit: Committing) throws {
        guard !self.isFinished else { return try self.finish(commit) }
        var batch: [TakenOverEntry] = []
        let start = self.done
        while batch.count < Self.batch, let entry = try self.cursor.next() {
            self.done += 1
            if let entry = TakenOverEntry(entry) { batch.append(entry) }
        }
        // A list that was taken over before costs no change but the last.
        let changing = try self.authority.changing(batch)
        self.count.standing += batch.count - changing.count
        if !changing.isEmpty {
            let (facts, range) = (self.facts, start..<self.done)
            self.count += try commit { try $0.takeOver(changing, of: facts, range: range) }
        }
        if self.isFinished { try self.finish(commit) }
    }

    private func finish(_ commit: Committing) throws {
        let (facts, entries, count) = (self.facts, self.entries, self.count)
        _ = try commit { commit in
            try commit.finishTakingOver(facts, entries: entries, count)
            return count
        }
    }
}
