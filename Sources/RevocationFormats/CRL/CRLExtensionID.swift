// The object identifiers of the extensions that stand in CRLs and their entries.

import SwiftASN1

extension ASN1ObjectIdentifier {
    /// Extensions of a CRL (RFC 5280 5.2) and of its entries (RFC 5280 5.3).
    public enum CRLExtensionID {
        /// `id-ce-cRLNumber`
        public static let cRLNumber: ASN1ObjectIdentifier = [2, 5, 29, 20]
        /// `id-ce-cRLReasons`
        public static let reasonCode: ASN1ObjectIdentifier = [2, 5, 29, 21]
        /// `id-ce-invalidityDate`
        public static let invalidityDate: ASN1ObjectIdentifier = [2, 5, 29, 24]
        /// `id-ce-authorityKeyIdentifier`
        public static let authorityKeyIdentifier: ASN1ObjectIdentifier = [2, 5, 29, 35]
    }
}
