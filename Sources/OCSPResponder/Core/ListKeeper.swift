// The published CRL on its way from ca-core, piece by piece.
internal import Crypto

/// Fetches the CRL that ca-core names; it has no socket.
struct ListKeeper {
    /// The one that is complete.
    private var number: String?
    private var wanted: PublicationAnswer.List?
    private var data: [UInt8] = []
    /// Of `data`, so that a large list is not hashed at once: events wait meanwhile.
    private var hasher = SHA256()
    private var isAsked = false

    /// Whether another list than the one that is here or on its way was published.
    func isNews(_ published: String) -> Bool { published != number && published != wanted?.number }

    /// ca-core has named its list.
    mutating func published(_ list: PublicationAnswer.List?) {
        guard let list, list.number != number else {
            if list == nil { (wanted, number) = (nil, nil) }
            return
        }
        guard list != wanted else { return }
        lost()
        wanted = list
    }

    /// What to ask for next.
    var nextPiece: (number: String, offset: Int)? {
        guard let wanted, !isAsked else { return nil }
        return (wanted.number, data.count)
    }

    mutating func asked() { isAsked = true }

    /// It has to begin again, once it is named again.
    mutating func lost() {
        wanted = nil
        data = []
        hasher = SHA256()
        isAsked = false
    }

    /// Takes in the piece that was asked for by this number and offset.
    /// - Returns: the whole list and its number, with its last piece.
    /// - Throws: `.invalidAnswer` where it is not the list that was named.
    mutating func took(_ piece: ListPiece, number: String, offset: Int) throws(ResponderError) -> (PublishedDocument, String)? {
        // An answer for a list that is not wanted any more.
        guard let wanted, isAsked, number == wanted.number, offset == data.count else { return nil }
        isAsked = false
        guard piece.data.count <= wanted.bytes - data.count else {
            lost()
            throw ResponderError(.invalidAnswer, "ca-core gave more of its CRL than it has; it is asked for again")
        }
        data.append(contentsOf: piece.data)
        hasher.update(data: piece.data)
        guard piece.isLast else { return nil }
        let digest = hexadecimal(hasher.finalize())
        guard data.count == wanted.bytes, digest == wanted.sha256 else {
            lost()
            throw ResponderError(.invalidAnswer, "the CRL that ca-core gave is not the one it named; it is asked for again")
        }
        let document = PublishedDocument(
            der: data, lastModified: wanted.thisUpdate, expires: wanted.nextUpdate, tag: String(digest.prefix(32)))
        lost()
        self.number = number
        return (document, number)
    }
}
