// What a CA cannot know of its own past: that of a key that signed elsewhere before, in one sentence that stays in view.

public import PKI
public import RevocationFormats

/// A CRL that revocations were taken over from.
public struct TakenOverList: Sendable, Equatable {
    /// nil for a list without a number (v1, or an authority that does not follow RFC 5280 5.2.3).
    public let number: CRLNumber?
    public let thisUpdate: UnixTime

    public init(number: CRLNumber?, thisUpdate: UnixTime) {
        self.number = number
        self.thisUpdate = thisUpdate
    }

    /// `CRL 12 of 2026-11-23T12:00:00Z`.
    public var text: String { "CRL \(self.number?.decimal ?? "without a number") of \(self.thisUpdate.rfc3339)" }
}

/// How a CA came to a key that may have signed before, and up to when revocations are known.
public struct RecoveryNote: Sendable, Equatable {
    public enum Origin: String, Sendable {
        /// Made from a seed that the operator gave; whether that made a CA before nobody said.
        case givenSeed
        /// Made again from the seed of a CA that was lost.
        case recovered
        /// An existing CA whose key and certificate were imported.
        case imported
    }

    public let origin: Origin
    public let time: UnixTime
    /// The latest CRL that was taken over.
    public var list: TakenOverList?

    public init(_ origin: Origin, at time: UnixTime, list: TakenOverList? = nil) {
        self.origin = origin
        self.time = time
        self.list = list
    }

    /// The sentence that stands in the log, the audit log and `status`.
    public var sentence: String {
        let unknown =
            self.list.map { list in
                "with \(list.text): what was issued before is not known here, nor what was revoked after \(list.thisUpdate.rfc3339)"
            } ?? "without a CRL: what was issued or revoked before is not known here, and what was revoked counts as good"
        switch self.origin {
        case .givenSeed where self.list == nil:
            return
                "made from a given seed at \(self.time.rfc3339): if it made a CA before, what that one issued or revoked is not known here"
        case .givenSeed, .recovered: return "recovered from the seed at \(self.time.rfc3339) \(unknown)"
        case .imported: return "imported at \(self.time.rfc3339) \(unknown)"
        }
    }

    /// Four lines: origin, time, number and thisUpdate of the list; an empty line stands for nil.
    var stored: String {
        [
            self.origin.rawValue, String(self.time.seconds), self.list?.number?.decimal ?? "",
            self.list.map { String($0.thisUpdate.seconds) } ?? "",
        ].joined(separator: "\n")
    }

    init?(stored: String) {
        let lines = stored.split(separator: "\n", omittingEmptySubsequences: false)
        guard lines.count == 4, let origin = Origin(rawValue: String(lines[0])), let time = Int64(lines[1]) else { return nil }
        self.init(origin, at: UnixTime(time))
        if let thisUpdate = Int64(lines[3]) {
            self.list = TakenOverList(number: CRLNumber(decimal: lines[2]), thisUpdate: UnixTime(thisUpdate))
        }
    }
}
