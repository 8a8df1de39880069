// What an OCSP responder says where it has no status to tell.

/// An OCSPResponseStatus is defined in RFC 6960 4.2.1 as:
///
/// ```
/// OCSPResponseStatus ::= ENUMERATED {
///     successful            (0),  -- Response has valid confirmations
///     malformedRequest      (1),  -- Illegal confirmation request
///     internalError         (2),  -- Internal error in issuer
///     tryLater              (3),  -- Try again later
///                                 -- (4) is not used
///     sigRequired           (5),  -- Must sign the request
///     unauthorized          (6)   -- Request unauthorized }
/// ```
public enum OCSPResponseStatus: UInt8, Sendable, CaseIterable {
    case successful = 0
    case malformedRequest = 1
    case internalError = 2
    case tryLater = 3
    case sigRequired = 5
    case unauthorized = 6

    /// The OCSPResponse that has this status and nothing else: five bytes, unsigned.
    public var errorResponse: [UInt8] { [DERTag.sequence, 0x03, DERTag.enumerated, 0x01, self.rawValue] }
}
