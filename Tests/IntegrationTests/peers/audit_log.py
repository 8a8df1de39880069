"""The audit log seen from outside: hashes and checkpoints as the documents describe them, and what an attacker does to the store's file.

    audit_log.py check DATABASE CA_CERT_DER     stdout: {"records", "chained", "checkpoints", "message", "signature", "line"}
    audit_log.py attack DATABASE KIND           stdout: {"record"}; KIND is change, remove, cut, rewrite, rewrite-all or forge
"""

import hashlib
import json
import sqlite3
import struct
import sys

FIELDS = "sequence, time, request, identity, proof, task, outcome, target, serial, detail, hash"


def chained(previous: bytes, row: tuple) -> bytes:
    octets = b"upki-ca/audit/v1" + previous + struct.pack(">qq", row[0], row[1])
    for text in row[2:10]:
        octets += struct.pack(">Q", len(text.encode())) + text.encode()
    return hashlib.sha256(octets).digest()


def rows(database: sqlite3.Connection) -> list:
    return database.execute(f"SELECT {FIELDS} FROM audit ORDER BY sequence").fetchall()


def check(database: sqlite3.Connection, certificate: str) -> dict:
    previous, good = bytes(32), 0
    records = rows(database)
    for row in records:
        good += row[10] == chained(previous, row)
        previous = row[10]
    authority = hashlib.sha256(open(certificate, "rb").read()).digest()
    message, signature, last, line = b"", b"", bytes(32), ""
    checkpoints = database.execute("SELECT number, sequence, time, head, previous, signature FROM audit_checkpoint ORDER BY number").fetchall()
    hashes = {row[0]: row[10] for row in records}
    for number, (stored, sequence, time, head, before, signature) in enumerate(checkpoints, 1):
        assert stored == number and head == hashes[sequence] and before == last
        message = b"upki-ca/audit-checkpoint/v1" + authority + struct.pack(">qqq", number, sequence, time) + head + before
        last = hashlib.sha256(message + signature).digest()
        line = f"audit checkpoint v1 {number} {sequence} "
    return {
        "records": len(records), "chained": good, "checkpoints": len(checkpoints), "message": message.hex(), "signature": signature.hex(),
        "line": line,
    }


def rechain(database: sqlite3.Connection, start: int) -> None:
    previous = bytes(32)
    for row in rows(database):
        if row[0] >= start:
            database.execute("UPDATE audit SET hash = ? WHERE sequence = ?", (chained(previous, row), row[0]))
            previous = chained(previous, row)
        else:
            previous = row[10]


def attack(database: sqlite3.Connection, kind: str) -> dict:
    # The record of a certificate that somebody wants to hide.
    record, last = database.execute(
        "SELECT (SELECT min(sequence) FROM audit WHERE detail LIKE '%victim%' OR target LIKE '%victim%'), max(sequence) FROM audit"
    ).fetchone()
    if kind == "change":
        database.execute("UPDATE audit SET target = 'nothing' WHERE sequence = ?", (record,))
    elif kind == "remove":
        database.execute("DELETE FROM audit WHERE sequence = ?", (record,))
    elif kind == "cut":
        database.execute("DELETE FROM audit WHERE sequence >= ?", (record,))
    elif kind == "rewrite":
        database.execute("UPDATE audit SET target = 'nothing' WHERE sequence = ?", (record,))
        rechain(database, record)
    elif kind == "rewrite-all":
        # Nothing is left in the store that contradicts: only what was kept elsewhere does.
        database.execute("UPDATE audit SET target = 'nothing' WHERE sequence = ?", (record,))
        rechain(database, record)
        database.execute("DELETE FROM audit_checkpoint WHERE sequence >= ?", (record,))
    elif kind == "forge":
        database.execute("UPDATE audit SET target = 'nothing' WHERE sequence = ?", (record,))
        rechain(database, record)
        hashes = {row[0]: row[10] for row in rows(database)}
        for number, sequence in database.execute("SELECT number, sequence FROM audit_checkpoint").fetchall():
            database.execute("UPDATE audit_checkpoint SET head = ? WHERE number = ?", (hashes[sequence], number))
    else:
        raise SystemExit(f"unknown attack {kind}")
    database.commit()
    return {"record": record, "last": last}


connection = sqlite3.connect(sys.argv[2])
json.dump(check(connection, sys.argv[3]) if sys.argv[1] == "check" else attack(connection, sys.argv[3]), sys.stdout)
