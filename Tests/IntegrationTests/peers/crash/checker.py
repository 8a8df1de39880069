"""Compares the journal of the clients with the CA: its store (read by SQLite itself), its files, its CRL.

The audit log is replayed: what it says was done, and nothing else, must be what certificates, revocations, admins, tokens, nodes,
profiles and key folders are. So nothing can be there that the audit does not know, nor be known to it and not be there.
"""

import base64
import collections
import hashlib
import os
import re
import sqlite3
import time

from clients import Client
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from journal import OK, REFUSED, UNKNOWN

CODES = {
    "unspecified": 0, "keyCompromise": 1, "cACompromise": 2, "affiliationChanged": 3, "superseded": 4, "cessationOfOperation": 5,
    "certificateHold": 6, "privilegeWithdrawn": 9, "aACompromise": 10,
}  # fmt: skip
NAMES = {code: name for name, code in CODES.items()}
BUILT_IN = {"admin", "ca", "laptop", "ra", "server", "user", "webapp"}


def digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


class Replay:
    """What the audit log says there is."""

    def __init__(self) -> None:
        self.sequence = 0
        self.issued: dict[str, int] = {}
        self.reasons: dict[str, str] = {}
        self.deleted: set[str] = set()
        self.admins: list[str] = []
        self.profiles: dict[str, int | None] = {}
        self.tokens_used: collections.Counter = collections.Counter()
        self.nodes: dict[str, str] = {}
        self.node_names: dict[str, str] = {}
        self.records: collections.Counter = collections.Counter()

    def take(self, row, fault) -> None:
        sequence, task, outcome, target, serial, detail = row
        if sequence != self.sequence + 1:
            fault(f"audit record {self.sequence + 1} is missing; {sequence} follows")
        self.sequence = sequence
        if outcome != "done":
            return
        self.records[(task, serial or target)] += 1
        node = re.match(r"node (\S+) registered with (?:token ([0-9a-f]{8})|the seed),", detail)
        if node and serial:
            self.issue(serial, sequence, fault)
            if node[2]:
                self.tokens_used[node[2]] += 1
            self.nodes[node[1]] = "live"
            self.node_names[serial] = node[1]
        elif serial and detail.startswith("profile "):
            self.issue(serial, sequence, fault)
        elif serial and detail.startswith("reason "):
            self.reasons[serial] = detail[len("reason ") :]
        elif serial and detail.startswith("released from "):
            self.reasons.pop(serial, None)
        elif detail == "taken out of the inventory":
            self.deleted.add(serial)
            self.records[("taken out", serial)] += 1
        elif detail == "node ended":
            self.nodes[target] = "deleted"
            self.records[("node ended", target)] += 1
        elif task == "add_admin" and detail != "already an admin":
            self.admins.append(target)
        elif task == "remove_admin":
            if target not in self.admins:
                fault(f"audit record {sequence} removes {target}, which no record made an admin")
            self.admins = [admin for admin in self.admins if admin != target]
        elif task in ("add_profile", "update_profile"):
            self.profiles[target] = int(re.fullmatch(r"duration (\d+) days", detail)[1])
        elif task == "remove_profile":
            self.profiles.pop(target, None)

    def issue(self, serial: str, sequence: int, fault) -> None:
        if serial in self.issued:
            fault(f"audit records {self.issued[serial]} and {sequence} both issue {serial}")
        self.issued[serial] = sequence


class Checker:
    def __init__(self, world) -> None:
        self.world, self.journal = world, world.journal
        self.data = world.settings["data"]
        # Digests of the certificates whose signatures were verified.
        self.verified: dict[str, bytes] = {}
        self.last_list = 0
        self.begin()
        with open(f"{self.data}/ca.crt", "rb") as file:
            self.ca = x509.load_pem_x509_certificate(file.read())
        self.client = Client(world, world.settings["port"])

    def begin(self) -> None:
        """Nothing is known of the store yet."""
        self.replay = Replay()
        self.rows: dict[str, bytes] = {}
        self.names: collections.Counter = collections.Counter()
        self.last_id = 0

    def fault(self, text: str) -> None:
        self.journal.fault(text)

    def run(self, deep: bool) -> dict:
        """Looks at what is new and at all that may change; `deep` at everything there ever was."""
        start = time.monotonic()
        if deep:
            self.begin()
            self.journal.look_at_all()
        facts = {"list_entries": self.check_list()}
        database = sqlite3.connect(f"file:{self.data}/db/ca.sqlite?mode=ro", uri=True, isolation_level=None)
        try:
            database.execute("BEGIN")
            self.read(database)
            self.check_tables(database)
            self.check_journal(database)
            facts |= {
                "certificates": len(self.rows), "audit_records": self.replay.sequence, "revocations": len(self.replay.reasons),
                "tokens_used": len(self.replay.tokens_used),
            }  # fmt: skip
            self.settle(self.check_profiles)
            self.settle(lambda: self.check_folders(database))
            database.execute("COMMIT")
        finally:
            database.close()
        self.settle(self.check_leftovers)
        facts["faults"] = self.journal.faults[:60]
        facts["seconds"] = round(time.monotonic() - start, 2)
        return facts

    def settle(self, check) -> None:
        """A request that was given up may still be at work on its files: what is wrong must stay wrong."""
        for _ in range(4):
            wrong = check()
            if not wrong:
                return
            time.sleep(0.1)
        for text in wrong:
            self.fault(text)

    # MARK: The store

    def read(self, database) -> None:
        """New rows; neither certificates nor audit records are ever changed (but for the inventory's mark)."""
        before = set(self.replay.issued)
        for row in database.execute(
            "SELECT sequence, task, outcome, target, serial, detail FROM audit WHERE sequence > ? ORDER BY sequence", (self.replay.sequence,)
        ):
            self.replay.take(row, self.fault)
        fresh = []
        for number, serial, name, der in database.execute(
            "SELECT id, serial, common_name, der FROM certificate WHERE id > ? ORDER BY id", (self.last_id,)
        ):
            if number != self.last_id + 1:
                self.fault(f"row {self.last_id + 1} of the certificates is missing")
            self.last_id = number
            text = serial.lstrip(b"\0").hex()
            if text in self.rows:
                self.fault(f"{text} is stored twice")
            self.rows[text] = hashlib.sha256(der).digest()
            if self.verified.get(text) != self.rows[text]:
                certificate = x509.load_der_x509_certificate(der)
                if certificate.serial_number != int(text, 16):
                    self.fault(f"{text}: the certificate has another serial number")
                certificate.verify_directly_issued_by(self.ca)
                self.verified[text] = self.rows[text]
            self.names[name] += 1
            fresh.append(text)
        recorded = [serial for serial in self.replay.issued if serial not in before]
        if set(fresh) != set(recorded):
            self.fault(f"not audited: {sorted(set(fresh) - set(recorded))[:5]}; audited and not there: {sorted(set(recorded) - set(fresh))[:5]}")
        if len(self.rows) != len(self.replay.issued):
            self.fault(f"{len(self.rows)} certificates, {len(self.replay.issued)} audit records that issue")

    def check_tables(self, database) -> None:
        """Every table is what the audit log makes of it."""
        stored = {serial.lstrip(b"\0").hex(): NAMES[reason] for serial, reason in database.execute("SELECT serial, reason FROM revocation")}
        self.same("revocations", stored, self.replay.reasons)
        deleted = {serial.lstrip(b"\0").hex() for (serial,) in database.execute("SELECT serial FROM certificate WHERE is_deleted = 1")}
        self.same("deleted certificates", deleted, self.replay.deleted)
        self.same("admins", [dn for (dn,) in database.execute("SELECT dn FROM admin ORDER BY id")], self.replay.admins)
        used = collections.Counter(
            hash[:4].hex() for (hash,) in database.execute("SELECT hash FROM token WHERE used_at IS NOT NULL AND kind = 'one-time'")
        )
        standing = {hash[:4].hex() for (hash,) in database.execute("SELECT hash FROM token WHERE kind = 'standing'")}
        self.same("used tokens", used, {token: count for token, count in self.replay.tokens_used.items() if token not in standing})
        self.nodes = {name: state for name, state in database.execute("SELECT common_name, state FROM node ORDER BY id")}
        self.same("nodes", self.nodes, self.replay.nodes)

    def same(self, what: str, stored, audited) -> None:
        if stored == audited:
            return
        if isinstance(stored, dict):
            stored, audited = set(stored.items()), set(audited.items())
        elif isinstance(stored, list):
            stored, audited = set(stored), set(audited)
        self.fault(f"{what}: stored and not audited {sorted(stored - audited, key=str)[:5]}, audited and not stored {sorted(audited - stored, key=str)[:5]}")

    # MARK: The journal

    def check_journal(self, database) -> None:
        journal = self.journal
        with journal.lock:
            for serial in journal.dirty_certificates:
                text = hexadecimal(serial)
                if self.rows.get(text) != journal.certificates[serial]:
                    self.fault(f"the acknowledged certificate {text} is not in the store as it was answered")
            for name in journal.dirty_names:
                low, high = journal.names[name]
                if not low <= self.names[name] <= high:
                    self.fault(f"{self.names[name]} certificates for {name}, of {low} acknowledged and {high} asked for")
            for key in journal.dirty_records:
                low, high = journal.records[key]
                if not low <= self.replay.records[key] <= high:
                    self.fault(f"{self.replay.records[key]} audit records of {key}, of {low} acknowledged and {high} asked for")
            for serial in journal.dirty_serials:
                text = hexadecimal(serial)
                if self.replay.reasons.get(text) not in journal.reasons[serial]:
                    self.fault(f"{text} is {self.replay.reasons.get(text)}, of which {journal.reasons[serial]} would do")
                if (text in self.replay.deleted) not in journal.deleted[serial]:
                    self.fault(f"{text} is deleted: {text in self.replay.deleted}, of which {journal.deleted[serial]} would do")
            admins = set(self.replay.admins)
            for dn, allowed in journal.admins.items():
                if (True if dn in admins else None) not in allowed:
                    self.fault(f"admin {dn}: {allowed} would do")
            for name, allowed in journal.profiles.items():
                if self.replay.profiles.get(name) not in allowed:
                    self.fault(f"profile {name} is {self.replay.profiles.get(name)}: {allowed} would do")
            for name, allowed in journal.nodes.items():
                if self.nodes.get(name) not in allowed:
                    self.fault(f"node {name} is {self.nodes.get(name)}: {allowed} would do")
            self.check_tokens(database)
            self.check_acme(database)
            # What was never answered may come about later; it is looked at again each time.
            journal.dirty_certificates.clear()
            journal.dirty_names = {name for name in journal.dirty_names if journal.names[name][0] != journal.names[name][1]}
            journal.dirty_records = {key for key in journal.dirty_records if journal.records[key][0] != journal.records[key][1]}
            journal.dirty_serials = {serial for serial in journal.dirty_serials if len(journal.reasons[serial]) + len(journal.deleted[serial]) > 2}

    def check_tokens(self, database) -> None:
        used = {hash for (hash,) in database.execute("SELECT hash FROM token WHERE used_at IS NOT NULL")}
        for hash, tries in self.journal.tokens.items():
            made = [name for _, name in tries if name in self.nodes]
            if len(made) != (hash in used):
                self.fault(f"token {hash[:4].hex()} is used: {hash in used}, and made the nodes {made}")
            for outcome, name in tries:
                if outcome == OK and name not in made or outcome == REFUSED and name in made:
                    self.fault(f"token {hash[:4].hex()}: registering {name} was {outcome}; nodes: {made}")
            if made and self.names[made[0]] != 1:
                self.fault(f"node {made[0]} has {self.names[made[0]]} certificates")

    def check_acme(self, database) -> None:
        stored: dict[tuple[str, str], str] = {}
        for table in ("account", "authorization"):
            for key, status in database.execute(f"SELECT id, status FROM acme_{table}"):
                stored[(table, key)] = status
        for key, status, serial in database.execute("SELECT id, status, serial FROM acme_order"):
            text = serial.lstrip(b"\0").hex() if serial else None
            stored[("order", key)] = f"{status} {int(text, 16)}" if text else status
            if text and text not in self.rows:
                self.fault(f"order {key} has the certificate {text}, which is not there")
        for key, allowed in self.journal.acme.items():
            status = stored.get(key)
            # The serial number of a certificate that was never answered is not known.
            if status not in allowed and not ("valid ?" in allowed and (status or "").startswith("valid ")):
                self.fault(f"acme: {key} is {status}: {allowed} would do")

    # MARK: Files

    def check_profiles(self) -> list[str]:
        found: dict[str, int | None] = {}
        for file in os.listdir(f"{self.data}/profiles"):
            if file.endswith(".yml") and file[:-4] not in BUILT_IN:
                with open(f"{self.data}/profiles/{file}", encoding="utf-8") as text:
                    match = re.search(r"^duration: (\d+)$", text.read(), re.MULTILINE)
                found[file[:-4]] = int(match[1]) if match else None
        wrong = set(found.items()) ^ set(self.replay.profiles.items())
        return [f"profiles: files {sorted(set(found.items()) - set(self.replay.profiles.items()), key=str)[:5]}, audit "
                f"{sorted(set(self.replay.profiles.items()) - set(found.items()), key=str)[:5]}"] if wrong else []  # fmt: skip

    def check_folders(self, database) -> list[str]:
        """Each kept key lies in its folder with the newest certificate of its name, and nothing else does."""
        newest: dict[str, bytes] = {}
        for name, der in database.execute("SELECT common_name, der FROM certificate WHERE key_is_kept = 1 AND is_deleted = 0 ORDER BY id"):
            newest[name] = der
        wrong = [f"node folder {name} has no certificate in the store" for name in set(os.listdir(f"{self.data}/nodes")) - set(newest)]
        for name, der in newest.items():
            folder = f"{self.data}/nodes/{name}"
            try:
                files = set(os.listdir(folder))
                with open(f"{folder}/cert.pem", "rb") as file:
                    certificate = x509.load_pem_x509_certificate(file.read())
                with open(f"{folder}/key.pem", "rb") as file:
                    key = serialization.load_pem_private_key(file.read(), None)
            except OSError as error:
                wrong.append(f"node folder {name}: {error}")
                continue
            if files != {"cert.pem", "key.pem"}:
                wrong.append(f"node folder {name} holds {sorted(files)}")
            if certificate.public_bytes(serialization.Encoding.DER) != der:
                wrong.append(f"node folder {name} holds another certificate than the newest one of the store")
            if key.public_key() != certificate.public_key():
                wrong.append(f"node folder {name}: the key is not the certificate's")
        return wrong

    def check_leftovers(self) -> list[str]:
        """A start clears away what a killed process left under construction."""
        wrong = []
        for folder, _, files in os.walk(self.data):
            for file in files:
                if file.startswith((".upki-tmp-", ".crl-")) or file.endswith(".unfinished") or folder.endswith("/pending"):
                    wrong.append(f"left over: {folder}/{file}")
        return wrong

    # MARK: The CRL

    def check_list(self) -> int:
        """Built now, it holds what the store does, and its number grew."""
        for _ in range(5):
            outcome, data = self.client.ask("generate_crl")
            if outcome == OK:
                break
        else:
            self.fault("no CRL could be generated")
            return 0
        der = base64.b64decode(data)
        crl = x509.load_der_x509_crl(der)
        if not crl.is_signature_valid(self.ca.public_key()):
            self.fault("the CRL's signature does not verify")
        number = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
        if number <= self.last_list:
            self.fault(f"the CRL number went from {self.last_list} to {number}")
        self.last_list = number
        self.settle(lambda: self.check_published(der, number))
        listed = {}
        for entry in crl:
            try:
                reason = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason.value
            except x509.ExtensionNotFound:
                reason = "unspecified"
            listed[hexadecimal(entry.serial_number)] = reason
        with self.journal.lock:
            for serial, allowed in self.journal.reasons.items():
                if listed.get(hexadecimal(serial)) not in allowed:
                    self.fault(f"the CRL says {listed.get(hexadecimal(serial))} of {hexadecimal(serial)}: {allowed} would do")
        return len(listed)

    def check_published(self, der: bytes, number: int) -> list[str]:
        with open(f"{self.data}/published/crl.der", "rb") as file:
            published = file.read()
        with open(f"{self.data}/crl.pem", "rb") as file:
            pem = x509.load_pem_x509_crl(file.read()).public_bytes(serialization.Encoding.DER)
        # A debounced one may have followed.
        latest = x509.load_der_x509_crl(published).extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
        wrong = []
        if published != pem:
            wrong.append("crl.pem and published/crl.der are not the same CRL")
        if latest < number or latest == number and published != der:
            wrong.append(f"published/crl.der is number {latest}, and {number} was answered")
        return wrong


def hexadecimal(serial: int) -> str:
    text = f"{serial:x}"
    return text if len(text) % 2 == 0 else "0" + text
