// The entries of a CRL as one run of bytes, parsed one by one when asked for.

import SwiftASN1

/// The field `revokedCertificates SEQUENCE OF SEQUENCE { … } OPTIONAL` of RFC 5280 5.1.
///
/// It holds bytes, not entries: a list of a million entries costs no more than its file. An entry is checked when a
/// ``Cursor`` reaches it.
public struct RevokedCertificates: DERSerializable, Hashable, Sendable {
    /// The DER of all entries, one after the other.
    private let entries: ArraySlice<UInt8>

    /// - parameter entries: The entries' DER, not yet checked.
    init(unchecked entries: ArraySlice<UInt8>) {
        self.entries = entries
    }

    public init(_ entries: some Sequence<RevokedCertificate>) throws {
        var coder = DER.Serializer()
        for entry in entries {
            try coder.serialize(entry)
        }
        self.entries = coder.serializedBytes[...]
    }

    public func serialize(into coder: inout DER.Serializer) throws {
        coder.appendConstructedNode(identifier: .sequence) { coder in
            coder.serializeRawBytes(self.entries)
        }
    }

    public var isEmpty: Bool { self.entries.isEmpty }

    /// A cursor before the first entry.
    public func makeCursor() -> Cursor {
        Cursor(self.entries)
    }

    /// Calls `body` with each entry in order.
    ///
    /// - throws: What ``Cursor/next()`` and `body` throw; entries before that have been delivered.
    public func forEachEntry(_ body: (RevokedCertificate) throws -> Void) throws {
        var cursor = self.makeCursor()
        while let entry = try cursor.next() {
            try body(entry)
        }
    }

    /// A place between two entries.
    public struct Cursor: Sendable {
        private var members: DERCursor

        init(_ entries: ArraySlice<UInt8>) {
            self.members = DERCursor(entries)
        }

        /// The next entry, nil after the last one.
        ///
        /// - throws: ``RevocationFormatsError`` with `malformed`, or with `unsupportedCriticalExtension` for an entry that says
        ///     something this module cannot heed, such as the certificate issuer of an indirect CRL.
        public mutating func next() throws -> RevokedCertificate? {
            guard !self.members.isAtEnd else {
                return nil
            }
            let entry = try self.members.nextPart(DERTag.sequence, "an entry")
            return try RevocationFormatsError.wrapping("an entry") {
                try RevokedCertificate(derEncoded: entry)
            }
        }
    }
}
