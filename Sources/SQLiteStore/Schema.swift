// The schema in versions: a version that was released is never changed, a new one is added.

import GRDB

enum Schema {
    static var migrator: DatabaseMigrator {
        var migrator = DatabaseMigrator()
        migrator.registerMigration("1") { database in
            try database.execute(sql: Self.version1)
        }
        migrator.registerMigration("2-audit-checkpoints") { database in
            try database.execute(sql: Self.auditCheckpoints)
        }
        migrator.registerMigration("3-token-serial") { database in
            // The certificate that a one-time token was used for.
            try database.execute(sql: "ALTER TABLE token ADD COLUMN serial BLOB")
        }
        return migrator
    }

    /// Signed statements of where the audit log stood: at most one in ten seconds, and one for each CRL.
    private static let auditCheckpoints = """
        CREATE TABLE audit_checkpoint (
            number INTEGER PRIMARY KEY,
            sequence INTEGER NOT NULL,
            time INTEGER NOT NULL,
            head BLOB NOT NULL,
            previous BLOB NOT NULL,
            signature BLOB NOT NULL
        ) STRICT;
        """

    /// Serial numbers are 20 octets, padded at the left, so that they sort as numbers do. Rows of `certificate` stand in the order of
    /// issue, and serial numbers begin with the time: both indexes of a row grow at one end. `name_hash` is the one random index.
    private static let version1 = """
        CREATE TABLE certificate (
            id INTEGER PRIMARY KEY,
            serial BLOB NOT NULL UNIQUE,
            name_hash INTEGER NOT NULL,
            subject TEXT NOT NULL,
            common_name TEXT NOT NULL,
            profile TEXT NOT NULL,
            node INTEGER,
            not_before INTEGER NOT NULL,
            not_after INTEGER NOT NULL,
            issued_at INTEGER NOT NULL,
            is_deleted INTEGER NOT NULL,
            key_is_kept INTEGER NOT NULL,
            der BLOB NOT NULL
        ) STRICT;
        CREATE INDEX certificate_name ON certificate (name_hash);
        CREATE INDEX certificate_node ON certificate (node) WHERE node IS NOT NULL;
        CREATE TABLE revocation (
            serial BLOB PRIMARY KEY,
            reason INTEGER NOT NULL,
            revoked_at INTEGER NOT NULL,
            not_after INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE blocked_key (hash BLOB PRIMARY KEY) STRICT, WITHOUT ROWID;
        CREATE TABLE node (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            common_name TEXT NOT NULL,
            subject TEXT NOT NULL,
            binding TEXT,
            profile TEXT NOT NULL,
            profiles TEXT,
            names TEXT,
            serial BLOB,
            not_after INTEGER,
            registered_at INTEGER NOT NULL,
            origin TEXT NOT NULL,
            state TEXT NOT NULL
        ) STRICT;
        CREATE UNIQUE INDEX node_binding ON node (binding) WHERE state = 'live' AND binding IS NOT NULL;
        CREATE TABLE admin (id INTEGER PRIMARY KEY AUTOINCREMENT, dn TEXT NOT NULL UNIQUE) STRICT;
        CREATE TABLE token (
            hash BLOB PRIMARY KEY,
            kind TEXT NOT NULL,
            common_name TEXT,
            expires_at INTEGER,
            used_at INTEGER,
            is_revoked INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
        CREATE TABLE acme_account (
            node INTEGER NOT NULL, id TEXT NOT NULL, jwk TEXT NOT NULL, contact TEXT NOT NULL, status TEXT NOT NULL, created_at TEXT NOT NULL,
            PRIMARY KEY (node, id)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE acme_order (
            node INTEGER NOT NULL, id TEXT NOT NULL, account TEXT NOT NULL, identifiers TEXT NOT NULL, status TEXT NOT NULL,
            not_before TEXT, not_after TEXT, serial BLOB,
            PRIMARY KEY (node, id)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX acme_order_account ON acme_order (node, account);
        CREATE TABLE acme_authorization (
            node INTEGER NOT NULL, id TEXT NOT NULL, order_id TEXT NOT NULL, type TEXT NOT NULL, value TEXT NOT NULL, status TEXT NOT NULL,
            PRIMARY KEY (node, id)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX acme_authorization_order ON acme_authorization (node, order_id);
        CREATE TABLE audit (
            sequence INTEGER PRIMARY KEY,
            time INTEGER NOT NULL,
            request TEXT NOT NULL,
            identity TEXT NOT NULL,
            proof TEXT NOT NULL,
            task TEXT NOT NULL,
            outcome TEXT NOT NULL,
            target TEXT NOT NULL,
            serial TEXT NOT NULL,
            detail TEXT NOT NULL,
            hash BLOB NOT NULL
        ) STRICT;
        """
}
