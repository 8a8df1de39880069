// Why a certificate was revoked.

import SwiftASN1

/// A CRLReason is defined in RFC 5280 5.3.1 as:
///
/// ```
/// CRLReason ::= ENUMERATED {
///      unspecified             (0),
///      keyCompromise           (1),
///      cACompromise            (2),
///      affiliationChanged      (3),
///      superseded              (4),
///      cessationOfOperation    (5),
///      certificateHold         (6),
///           -- value 7 is not used
///      removeFromCRL           (8),
///      privilegeWithdrawn      (9),
///      aACompromise           (10) }
/// ```
///
/// The raw value is the code; `init(rawValue:)` gives nil for 7 and whatever is not in the list.
public enum CRLReason: UInt8, CaseIterable, Hashable, Sendable {
    case unspecified = 0
    case keyCompromise = 1
    case cACompromise = 2
    case affiliationChanged = 3
    case superseded = 4
    case cessationOfOperation = 5
    case certificateHold = 6
    case removeFromCRL = 8
    case privilegeWithdrawn = 9
    case aACompromise = 10

    /// The reason with a code of RFC 5280, nil for 7 and for codes that do not exist.
    public init?(code: some BinaryInteger) {
        guard let rawValue = UInt8(exactly: code) else {
            return nil
        }
        self.init(rawValue: rawValue)
    }

    /// The reason with a name of RFC 5280, upper and lower case taken as equal.
    public init?(name: some StringProtocol) {
        let wanted = name.lowercased()
        guard let reason = Self.allCases.first(where: { $0.name.lowercased() == wanted }) else {
            return nil
        }
        self = reason
    }

    /// The code of RFC 5280.
    public var code: Int { Int(self.rawValue) }

    /// The name as RFC 5280 spells it.
    public var name: String {
        switch self {
        case .unspecified: "unspecified"
        case .keyCompromise: "keyCompromise"
        case .cACompromise: "cACompromise"
        case .affiliationChanged: "affiliationChanged"
        case .superseded: "superseded"
        case .cessationOfOperation: "cessationOfOperation"
        case .certificateHold: "certificateHold"
        case .removeFromCRL: "removeFromCRL"
        case .privilegeWithdrawn: "privilegeWithdrawn"
        case .aACompromise: "aACompromise"
        }
    }
}

extension CRLReason: DERImplicitlyTaggable {
    public static var defaultIdentifier: ASN1Identifier {
        .enumerated
    }

    public init(derEncoded node: ASN1Node, withIdentifier identifier: ASN1Identifier) throws {
        let code = try Int(derEncoded: node, withIdentifier: identifier)
        guard let reason = CRLReason(code: code) else {
            throw ASN1Error.invalidASN1Object(reason: "\(code) is not a CRLReason")
        }
        self = reason
    }

    public func serialize(into coder: inout DER.Serializer, withIdentifier identifier: ASN1Identifier) throws {
        try self.code.serialize(into: &coder, withIdentifier: identifier)
    }
}
