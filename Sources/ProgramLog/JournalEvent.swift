// The kinds of messages that the journal tells apart, by their MESSAGE_ID (sd_journal_print(3)); deploy/systemd/upki-ca.catalog explains each.

/// A kind of message; a logger names it by the metadata `event`.
package enum JournalEvent: String, CaseIterable, Sendable {
    case serving
    case stopped
    case issued
    case registered
    case revoked
    case released
    case accessChanged = "access-changed"
    case registration
    case profileChanged = "profile-changed"
    case changed
    case refused
    case crlPublished = "crl-published"
    case auditCheckpoint = "audit-checkpoint"
    case reloaded
    case auditFault = "audit-fault"
    case storeFault = "store-fault"
    case clockFault = "clock-fault"
    case internalError = "internal-error"

    /// 128 bits in hexadecimal, made once by `systemd-id128 new`.
    package var messageID: String {
        switch self {
        case .serving: "964ce76fa5cb4acc8df8660f5394a623"
        case .stopped: "affecfe222974229bc987704e0c55d22"
        case .issued: "7a68e09f3df841e8bff69f4636074483"
        case .registered: "b1b2e9e4fad44315ae5ebf62a3cf7d15"
        case .revoked: "8cc5e889bc5940829cfe2b3612f8ee52"
        case .released: "e061b0a4b68940cbb92c5dba71e9f16d"
        case .accessChanged: "c5a7c700d13e454f94ace65cd230021c"
        case .registration: "2ef6b38251e84c859e4752e231b92941"
        case .profileChanged: "b8b298aedc87414b88a820da366cdfbf"
        case .changed: "532d8556051f47f3bf169ce78e7761d6"
        case .refused: "204e906328ac4625ba43c3f24816009b"
        case .crlPublished: "0a6480871b78416c86f7587b3d71fba8"
        case .auditCheckpoint: "1f62b399f0754547a5f5e1724595a236"
        case .reloaded: "4639006edd4b4d05adf5b9736b0a3e9f"
        case .auditFault: "c8011a030e2f47ed8227619999931a98"
        case .storeFault: "0d651793302744ffad29ce3da6f73983"
        case .clockFault: "8464c418b0f146ca850861c7c0cf1b1a"
        case .internalError: "c841f5d3f97a4df587527bae58595574"
        }
    }
}
