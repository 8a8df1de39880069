// What init does with the CRLs of the CA that it makes again or imports.

import Authority
import CAKeys
import Logging
import PKI
import RevocationFormats
internal import Threads
import UPKIProtocol
import X509

enum Recovery {
    /// Proves before anything is written that every CRL is this CA's.
    ///
    /// - Parameter root: of the seed that the CA is made from, to find out what else the operator may have meant; nil for an import.
    /// - Returns: the latest of them; nil where there is none.
    /// - Throws: `CoreError` with one line that names the file and what to give instead.
    static func prove(_ paths: [String], of issuer: Issuer, root: SeedRoot?, temporary directory: String) throws -> TakenOverList? {
        var latest: TakenOverList?
        for path in paths {
            let list = try ListTakeover.read(try ListFile(opening: path), named: path, temporary: directory)
            do {
                let facts = try ListTakeover.prove(list, named: path, issuer: issuer)
                if latest.map({ $0.thisUpdate < facts.thisUpdate }) ?? true { latest = facts }
            } catch let error as CoreError {
                throw CoreError(error.description + (try self.hint(list, issuer, root) ?? ""))
            }
        }
        return latest
    }

    /// What would make the CA that signed this list: the CRL knows its name, and by its key identifier the type of its key.
    private static func hint(_ list: StreamedCertificateList, _ issuer: Issuer, _ root: SeedRoot?) throws -> String? {
        guard let root else { return nil }
        var options: [String] = []
        let name = try PKI.DistinguishedName(encoded: Array(list.tbsCertList.issuer))
        if name != issuer.name { options.append("--subject '\(name.slashNotation.replacing("'", with: "'\\''"))'") }
        if let wanted = list.tbsCertList.authorityKeyIdentifier, !wanted.elementsEqual(issuer.keyIdentifier) {
            let type = try KeyType.allCases.first { type in
                let key = try Certificate.PublicKey(derEncoded: try root.caKey(type, generation: 0).subjectPublicKeyInfoDER)
                return SubjectKeyIdentifier(hash: key).keyIdentifier.elementsEqual(wanted)
            }
            guard let type else { return "; this seed gives its key with no --key-type: it is another CA's seed, or another CA's CRL" }
            options.append("--key-type \(type.rawValue)")
        }
        return options.isEmpty ? nil : "; what it was signed with is made by: --recover \(options.joined(separator: " "))"
    }

    /// Takes one CRL over into the store of a CA that serves nobody yet.
    ///
    /// - Returns: what became of it, as the answer of init says it.
    static func takeOver(
        _ path: String, of authority: Authority, temporary directory: String, _ log: Logger, commit: ListTakeover.Committing
    ) throws -> JSON {
        var takeover = try ListTakeover(try ListFile(opening: path), named: path, for: authority, temporary: directory)
        log.info("taking over \(takeover.facts.text) with \(takeover.entries) entries")
        var lastWord = MonotonicTime.now
        repeat {
            try takeover.step(commit)
            if lastWord.milliseconds(until: .now) >= 1_000 {
                lastWord = .now
                log.info("taken over: \(takeover.done) of \(takeover.entries) entries")
            }
        } while !takeover.isFinished
        log.notice("took over \(takeover.facts.text): \(takeover.count.text)")
        return .object([.init("file", .string(path))] + takeover.members())
    }
}
