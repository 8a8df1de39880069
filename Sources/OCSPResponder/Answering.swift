// What the HTTP side asks of the responder, and what it gets: the seam between sockets and status.

/// An OCSP response as it goes out.
package struct OCSPAnswer: Sendable {
    /// What is counted of it; a request for several certificates is `.several`.
    package enum Kind: String, Sendable, CaseIterable {
        case good, revoked, unknown, several
        case malformedRequest, internalError, tryLater, unauthorized
    }

    /// Whole seconds since 1970, as the response itself says them.
    package struct Lifetime: Sendable, Equatable {
        package var thisUpdate: Int64
        package var nextUpdate: Int64

        package init(thisUpdate: Int64, nextUpdate: Int64) {
            self.thisUpdate = thisUpdate
            self.nextUpdate = nextUpdate
        }
    }

    package var kind: Kind
    /// The DER of an OCSPResponse (RFC 6960 4.2.1).
    package var der: [UInt8]
    /// nil where nobody may keep it: an error, an answer with a nonce, one that names an unknown serial number.
    package var lifetime: Lifetime?
    /// Another one for other bytes; what the ETag is made of.
    package var tag: UInt64
    /// Whether it was signed before this request came.
    package var wasCached: Bool

    package init(kind: Kind, der: [UInt8], lifetime: Lifetime? = nil, tag: UInt64 = 0, wasCached: Bool = false) {
        self.kind = kind
        self.der = der
        self.lifetime = lifetime
        self.tag = tag
        self.wasCached = wasCached
    }
}

/// What is served beside OCSP.
package struct PublishedDocument: Sendable {
    package enum Kind: Sendable { case authorityCertificate, revocationList }

    package var der: [UInt8]
    /// Whole seconds since 1970: a CRL's thisUpdate, a CA certificate's notBefore.
    package var lastModified: Int64
    /// A CRL's nextUpdate, a CA certificate's notAfter.
    package var expires: Int64
    /// What the ETag is made of: the first 16 bytes of the SHA-256 of `der`, in hexadecimal.
    package var tag: String

    package init(der: [UInt8], lastModified: Int64, expires: Int64, tag: String) {
        self.der = der
        self.lastModified = lastModified
        self.expires = expires
        self.tag = tag
    }
}

/// Answers OCSP requests; shared by all event loops.
package protocol OCSPAnswering: Sendable {
    /// Answers one request.
    ///
    /// - Parameters:
    ///   - request: the DER of an OCSPRequest, at most 16 kB; not kept.
    ///   - loop: the index of the event loop that asks.
    ///   - deliver: called on that loop, once, where the answer has to be waited for.
    /// - Returns: the answer where it is at hand; nil where `deliver` will get it.
    func answer(_ request: UnsafeRawBufferPointer, on loop: Int, deliver: @escaping @Sendable (OCSPAnswer) -> Void) -> OCSPAnswer?

    /// nil while it is not known.
    func document(_ kind: PublishedDocument.Kind) -> PublishedDocument?

    /// `ocsp.max_age` in seconds.
    var maximumAge: Int64 { get }

    /// Why answers are not what they should be; empty when all is well.
    var complaints: [String] { get }
}
