// import_crl: a CRL that this CA's key signed elsewhere comes in pieces, and its revocations are taken over step by step.

public import Authority
import PKI
public import UPKIProtocol

/// A piece of a CRL that is sent over, or the wish to go on with what was sent.
public struct ListPiece: Sendable {
    /// What the sender calls this CRL; pieces of one belong together.
    public let upload: String
    /// How many bytes were sent before this piece.
    public let offset: Int64
    /// nil where nothing is sent and the work is to go on.
    public let data: [UInt8]?
    /// Whether the CRL is whole with this piece.
    public let isLast: Bool

    public init(upload: String, offset: Int64, data: [UInt8]?, isLast: Bool) {
        self.upload = upload
        self.offset = offset
        self.data = data
        self.isLast = isLast
    }
}

extension RecoveryNote {
    /// What `status` says of it.
    public var json: JSON {
        [
            ("origin", .string(self.origin.rawValue)), ("time", .string(self.time.rfc3339)),
            ("crl_number", self.list?.number.map { .number($0.decimal) } ?? .null),
            ("crl_this_update", self.list.map { .string($0.thisUpdate.rfc3339) } ?? .null), ("note", .string(self.sentence)),
        ].json
    }
}

extension Task {
    /// Base64 of 384 KiB; with its envelope well below what the socket takes.
    private static let longestPiece = 512 << 10
    private static let largestList: Int64 = 1 << 30

    static let importCRL = Task("import_crl", role: .local, on: [.admin], changes: true) { call in
        let upload = try call.parameters.string("upload")
        guard upload.utf8.count <= 64 else { throw Parameters.wrong("upload", "has at most 64 bytes") }
        let offset = try call.parameters.optionalInteger("offset", in: 0...Self.largestList) ?? 0
        let data = try call.parameters.optionalString("data").map { text in
            guard text.utf8.count <= Self.longestPiece, let bytes = Base64.decode(text.utf8) else {
                throw Parameters.wrong("data", "is base64 of at most \(Self.longestPiece) characters")
            }
            return bytes
        }
        let piece = ListPiece(upload: upload, offset: offset, data: data, isLast: try call.parameters.bool("last", else: false))
        return .elsewhere(.publisher) { .answer(try call.services.publisher.takeOver(piece, for: call.context)) }
    }
}
