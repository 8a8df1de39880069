"""Does to a stopped CA what no crash may do, one of each kind, so that a test can see that the checks find it.

    tamper.py DATA
"""

import os
import sqlite3
import sys

data = sys.argv[1]
database = sqlite3.connect(f"{data}/db/ca.sqlite")
last = "(SELECT max(id) FROM certificate WHERE common_name LIKE 'sign%')"
statements = [
    # An issued certificate that is gone, though its record is there; one with other bytes than were answered; one without a record.
    f"DELETE FROM certificate WHERE id = {last}",
    "UPDATE certificate SET der = (SELECT der FROM certificate ORDER BY id LIMIT 1) WHERE id = (SELECT max(id) FROM certificate)",
    "INSERT INTO certificate SELECT max(id) + 1, x'00000000000000000000000000000000000000ff', 1, '', 'forged', 'server', NULL, 0, 0, 0, 0, 0, der FROM certificate",
    # A revocation, an admin, a used token, a deletion that nobody recorded.
    "INSERT INTO revocation SELECT serial, 4, 0, not_after FROM certificate WHERE serial NOT IN (SELECT serial FROM revocation) LIMIT 1",
    "INSERT INTO admin (dn) VALUES ('/CN=forged')",
    "UPDATE token SET used_at = NULL WHERE hash = (SELECT min(hash) FROM token WHERE used_at IS NOT NULL)",
    "UPDATE certificate SET is_deleted = 1 WHERE id = (SELECT min(id) FROM certificate WHERE is_deleted = 0)",
    # A record that is gone.
    "DELETE FROM audit WHERE sequence = (SELECT min(sequence) FROM audit WHERE task = 'sign')",
    "UPDATE acme_account SET status = 'revoked' WHERE id = (SELECT min(id) FROM acme_account)",
]
for statement in statements:
    if database.execute(statement).rowcount != 1:
        sys.exit(f"nothing was changed by {statement}")
database.commit()
database.close()
os.mkdir(f"{data}/nodes/forged.example.com", 0o700)
with open(f"{data}/profiles/server.yml", encoding="utf-8") as file:
    lines = [line for line in file if not line.startswith(("duration:", "name:"))]
with open(os.open(f"{data}/profiles/forged.yml", os.O_CREAT | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
    file.writelines(lines + ["duration: 7\n"])
