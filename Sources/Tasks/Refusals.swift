// The authority's errors in the protocol's documented words; only here do they become text.

public import Authority
public import UPKIProtocol

extension Refusal {
    /// The refusal that a client gets for an error of the authority.
    public init(_ error: AuthorityError) {
        switch error.code {
        case .notAuthorised: self.init(.notAuthorised, "Not authorised: \(error.detail)")
        case .invalidSeed: self.init(.invalidSeed, "Invalid registration seed")
        case .registrationClosed: self.init(.registrationClosed, error.detail)
        case .profileNotFound: self.init(.profileNotFound, "Profile not found: \(error.detail)")
        case .certificateNotFound: self.init(.certificateNotFound, "Certificate not found: \(error.detail)")
        case .certificateExists: self.init(.certificateExists, "Certificate already exists: \(error.detail)")
        case .nodeIsRevoked: self.init(.nodeIsRevoked, "Node is revoked: \(error.detail)")
        case .csr: self.init(.requestRefused, "CSR parse error: \(error.detail)")
        case .refused: self.init(.requestRefused, error.detail)
        case .invalidParameter: self.init(.invalidParameter, error.detail)
        case .notFound: self.init(.notFound, error.detail)
        case .busy: self.init(.busy, error.detail)
        case .storage, .storageUnavailable, .storageFull: self.init(.storage, "Storage error: \(error.detail)")
        }
    }
}
