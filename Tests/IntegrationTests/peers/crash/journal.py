"""What the clients of the crash test were told: of each request whether it was acknowledged, refused, or never answered.

What was never answered may have happened or not; but it must have happened as a whole or not at all, and at most once. So an
expectation is a set of values that would do, or a number between two bounds.
"""

import collections
import hashlib
import threading

OK, REFUSED, UNKNOWN = "acknowledged", "refused", "unknown"


class Journal:
    """Thread-safe: the actors write, the checker reads while they pause."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.requests: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
        self.faults: list[str] = []
        # How many audit records there are at least and at most of a task about a serial number or a target.
        self.records: dict[tuple[str, str], list[int]] = {}
        # How many certificates there are at least and at most of a common name.
        self.names: dict[str, list[int]] = {}
        # The digest of each certificate that came with an answer.
        self.certificates: dict[int, bytes] = {}
        # What each of these may be now: a reason or None; taken out of the inventory or not; the state of a node; …
        self.reasons: dict[int, set] = {}
        self.deleted: dict[int, set] = {}
        self.admins: dict[str, set] = {}
        self.profiles: dict[str, set] = {}
        self.acme: dict[tuple[str, str], set] = {}
        self.nodes: dict[str, set] = {}
        # Token (its SHA-256) to the one who may have used it: outcome, common name, serial number.
        self.tokens: dict[bytes, tuple[str, str, int | None]] = {}
        self.dirty_names: set[str] = set()
        self.dirty_records: set[tuple[str, str]] = set()
        self.dirty_certificates: set[int] = set()
        self.dirty_serials: set[int] = set()

    def fault(self, text: str) -> None:
        with self.lock:
            self.faults.append(text[:600])

    def count(self, task: str, outcome: str) -> None:
        with self.lock:
            self.requests[task][outcome] += 1

    def expect_record(self, task: str, about: str, outcome: str, times: int = 1) -> None:
        """One more audit record of this task: surely, perhaps, or not at all."""
        with self.lock:
            bounds = self.records.setdefault((task, about), [0, 0])
            bounds[0] += times if outcome == OK else 0
            bounds[1] += times if outcome != REFUSED else 0
            self.dirty_records.add((task, about))

    def expect_name(self, name: str, outcome: str) -> None:
        """One more certificate of this common name."""
        with self.lock:
            bounds = self.names.setdefault(name, [0, 0])
            bounds[0] += outcome == OK
            bounds[1] += outcome != REFUSED
            self.dirty_names.add(name)

    def expect_certificate(self, serial: int, der: bytes) -> None:
        with self.lock:
            if serial in self.certificates:
                self.fault(f"serial number {serial} was given twice")
            self.certificates[serial] = hashlib.sha256(der).digest()
            self.reasons[serial] = {None}
            self.deleted[serial] = {False}
            self.dirty_certificates.add(serial)

    def expect_change(self, table: dict, key, outcome: str, change) -> None:
        """`change` was asked of whatever `key` may be; it happened, perhaps, or not."""
        with self.lock:
            before = table.setdefault(key, {None})
            if outcome == OK:
                table[key] = {change(value) for value in before}
            elif outcome == UNKNOWN:
                table[key] = before | {change(value) for value in before}
            if table is self.reasons or table is self.deleted:
                self.dirty_serials.add(key)

    def look_at_all(self) -> None:
        """Everything is to be compared again, and not only what is new."""
        with self.lock:
            self.dirty_names = set(self.names)
            self.dirty_records = set(self.records)
            self.dirty_certificates = set(self.certificates)
            self.dirty_serials = set(self.reasons)

    def summary(self) -> dict:
        with self.lock:
            total = collections.Counter()
            for counter in self.requests.values():
                total.update(counter)
            return {
                "acknowledged": total[OK],
                "refused": total[REFUSED],
                "unknown": total[UNKNOWN],
                "tasks": {task: dict(counter) for task, counter in sorted(self.requests.items())},
            }


def revoked(reason: str):
    """What a revocation for this reason makes of a status (RFC 5280 5.3.1, and the rules of docs/PROTOCOL.md)."""

    def change(standing):
        if standing is None:
            return reason
        if standing == "certificateHold":
            return reason
        return reason if reason == "keyCompromise" else standing

    return change


def released(standing):
    return None if standing == "certificateHold" else standing
