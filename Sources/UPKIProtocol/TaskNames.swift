// The names of the tasks that change something, for relays, which hold no rules: what a client must be told when time runs out.

/// What relays know of tasks.
public enum TaskNames {
    /// Tasks after which the CA's state may be another one; a test holds this list against the table of all tasks.
    public static let changing: Set<String> = [
        "generate_crl", "sign", "generate", "register", "renew", "revoke", "unrevoke", "delete", "add_admin", "remove_admin", "add_profile",
        "update_profile", "remove_profile", "acme_sync_account", "acme_deactivate_account", "acme_sync_order", "acme_sync_authorization",
        "acme_deactivate_authorization", "acme_issue_certificate", "acme_revoke_certificate",
        "open_registration", "close_registration", "revoke_token", "limit_node", "rebind_node", "renew_node", "remove_node",
    ]

    /// Tasks of the operator that a listed admin may ask from afar, signed; a test holds this list against the table, too.
    public static let remote: Set<String> = [
        "status", "open_registration", "close_registration", "tokens", "revoke_token", "nodes", "node", "limit_node", "rebind_node",
        "renew_node", "remove_node", "audit", "verify_audit", "compare_checkpoints", "audit_checkpoint", "show_crl", "metrics",
    ]

    /// Whether the request in `frame` may change something; a frame that is no request changes nothing.
    public static func mayChange(_ frame: [UInt8]) -> Bool {
        guard let request = try? Request(frame: frame) else { return false }
        return self.changing.contains(request.task)
    }
}
