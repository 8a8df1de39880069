// What a response says of one certificate.

/// A CertStatus is defined in RFC 6960 4.2.1 as:
///
/// ```
/// CertStatus ::= CHOICE {
///     good                [0]     IMPLICIT NULL,
///     revoked             [1]     IMPLICIT RevokedInfo,
///     unknown             [2]     IMPLICIT UnknownInfo }
///
/// RevokedInfo ::= SEQUENCE {
///     revocationTime              GeneralizedTime,
///     revocationReason    [0]     EXPLICIT CRLReason OPTIONAL }
/// ```
public enum OCSPCertStatus: Sendable, Equatable {
    case good
    /// Since whole seconds after 1970. `unspecified` is written as no reason, as in CRLs (RFC 5280 5.3.1).
    case revoked(at: Int64, reason: CRLReason?)
    case unknown
}

/// A SingleResponse is defined in RFC 6960 4.2.1 as:
///
/// ```
/// SingleResponse ::= SEQUENCE {
///     certID                       CertID,
///     certStatus                   CertStatus,
///     thisUpdate                   GeneralizedTime,
///     nextUpdate           [0]     EXPLICIT GeneralizedTime OPTIONAL,
///     singleExtensions     [1]     EXPLICIT Extensions OPTIONAL }
/// ```
public struct OCSPSingleResponse: Sendable, Equatable {
    /// The DER of the CertID, as the request has it.
    public var certID: [UInt8]
    public var status: OCSPCertStatus
    /// Seconds since 1970.
    public var thisUpdate: Int64
    /// Seconds since 1970.
    public var nextUpdate: Int64?

    public init(certID: [UInt8], status: OCSPCertStatus, thisUpdate: Int64, nextUpdate: Int64?) {
        self.certID = certID
        self.status = status
        self.thisUpdate = thisUpdate
        self.nextUpdate = nextUpdate
    }
}
