"""A mixed load on a running CA that goes on while its programs are killed, and what came of it.

    load.py      stdin: one JSON object {"port", "data", "run", "ctl", "token", "seed"}, then commands, one a line:

    killed NAME…     these programs were killed just now: what is open to them is given up soon
    check N          pauses the load, compares the journal with the CA, and prints `checked N {…}`; `check N deep` reads all again
    go               resumes
    end              ends the clients and prints `ended {…}`
"""

import json
import random
import subprocess
import sys
import threading
import time
import traceback

import checker
import zmq
from clients import AdminClient, Client, Stage
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from journal import OK, REFUSED, UNKNOWN, Journal, released, revoked

REASONS = ["unspecified", "keyCompromise", "affiliationChanged", "superseded", "cessationOfOperation", "certificateHold", "privilegeWithdrawn"]


def csr(name: str) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
    return request.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def hexadecimal(serial: int) -> str:
    text = f"{serial:x}"
    return text if len(text) % 2 == 0 else "0" + text


class Actor(threading.Thread):
    """One client that does one kind of work, one request after another."""

    def __init__(self, world: "World", name: str, pause: tuple[float, float] = (0, 0)) -> None:
        super().__init__(name=name, daemon=True)
        self.world, self.journal, self.stage, self.pause = world, world.journal, world.stage, pause
        self.random = random.Random(f"{world.settings['seed']} {name}")
        self.number = 0
        self.client = Client(world, world.settings["port"])
        self.admin = AdminClient(world)

    def run(self) -> None:
        while self.stage.enter():
            try:
                self.step()
            except Exception:
                self.journal.fault(f"{self.name}: {traceback.format_exc()}")
                self.stage.leave()
                return
            if self.pause[1]:
                time.sleep(self.random.uniform(*self.pause))
        self.stage.leave()

    def fresh(self) -> int:
        self.number += 1
        return self.number

    # Each returns the outcome, and notes what must follow from it.

    def record_certificate(self, task: str, name: str, outcome: str, data) -> "Family | None":
        self.journal.expect_name(name, outcome)
        if outcome != OK:
            return None
        certificate = x509.load_pem_x509_certificate(data["certificate"].encode())
        serial = int(data["serial"])
        if certificate.serial_number != serial:
            self.journal.fault(f"{task} {name}: the certificate has another serial number than the answer")
        self.journal.expect_certificate(serial, certificate.public_bytes(serialization.Encoding.DER))
        self.journal.expect_record(task, hexadecimal(serial), OK)
        return Family(name, data.get("dn", ""), [serial])

    def revoke(self, family: "Family", serial: int, reason: str, by_name: bool) -> str:
        which = {"dn": family.dn} if by_name else {"serial": str(serial)}
        outcome, _ = self.client.ask("revoke", reason=reason, **which)
        self.journal.expect_record("revoke", hexadecimal(serial), outcome)
        self.journal.expect_change(self.journal.reasons, serial, outcome, revoked(reason))
        return outcome

    def unrevoke(self, serial: int) -> str:
        outcome, _ = self.client.ask("unrevoke", serial=str(serial))
        self.journal.expect_record("unrevoke", hexadecimal(serial), outcome)
        self.journal.expect_change(self.journal.reasons, serial, outcome, released)
        return outcome

    def renew(self, family: "Family", serial: int, revoke_old: bool) -> str:
        outcome, data = self.client.ask("renew", serial=str(serial), revoke_old=revoke_old)
        found = self.record_certificate("renew", family.name, outcome, data)
        if revoke_old:
            self.journal.expect_record("renew", hexadecimal(serial), outcome)
            self.journal.expect_change(self.journal.reasons, serial, outcome, revoked("superseded"))
        if found:
            family.serials += found.serials
        return outcome

    def delete(self, family: "Family") -> str:
        outcome, _ = self.client.ask("delete", dn=family.dn)
        for serial in family.serials:
            self.journal.expect_record("taken out", hexadecimal(serial), outcome)
            with self.journal.lock:
                standing = self.journal.reasons[serial]
                # Only what is live or held is revoked by it.
                change = revoked("cessationOfOperation") if standing <= {None, "certificateHold"} else (lambda value: value)
                self.journal.expect_change(self.journal.reasons, serial, outcome, change)
            self.journal.expect_change(self.journal.deleted, serial, outcome, lambda _: True)
        return outcome


class Family:
    """Certificates of one common name, of which nothing is in doubt."""

    def __init__(self, name: str, dn: str, serials: list[int]) -> None:
        self.name, self.dn, self.serials = name, dn, serials


class Signer(Actor):
    """sign and generate for fresh names; some are revoked, held and released, renewed, deleted."""

    def __init__(self, *arguments) -> None:
        super().__init__(*arguments)
        self.own = []

    def step(self) -> None:
        if not self.own or self.random.random() < 0.55:
            self.issue()
        else:
            family = self.own.pop(self.random.randrange(len(self.own)))
            # A family of which something is in doubt is left alone from then on.
            if self.change(family) != UNKNOWN and len(self.own) < 300:
                if self.standing(family.serials[-1]) in (None, "certificateHold") or self.random.random() < 0.1:
                    self.own.append(family)

    def standing(self, serial: int):
        return next(iter(self.journal.reasons[serial]))

    def issue(self) -> None:
        name = f"{self.name}-{self.fresh()}.example.com"
        if self.random.random() < 0.1:
            outcome, data = self.client.ask("generate", cn=name, local=False)
            family = self.record_certificate("generate", name, outcome, data)
        else:
            outcome, data = self.client.ask("sign", csr=csr(name))
            family = self.record_certificate("sign", name, outcome, data)
        if family:
            self.own.append(family)

    def change(self, family: Family) -> str:
        serial = family.serials[-1]
        standing = self.standing(serial)
        if any(True in self.journal.deleted[member] for member in family.serials):
            return self.revoke(family, serial, self.random.choice(REASONS), by_name=False)
        choice = self.random.random()
        if standing == "certificateHold" and choice < 0.6:
            return self.unrevoke(serial)
        if standing is None and choice < 0.2:
            return self.renew(family, serial, revoke_old=self.random.random() < 0.5)
        if choice < 0.35:
            return self.delete(family)
        reason = "certificateHold" if self.random.random() < 0.4 else self.random.choice(REASONS)
        return self.revoke(family, serial, reason, by_name=len(family.serials) == 1 and self.random.random() < 0.5)


class Keeper(Actor):
    """generate with keys that the CA keeps; renewed, deleted, and made again under the same name."""

    def __init__(self, *arguments) -> None:
        super().__init__(*arguments)
        self.own: list[Family] = []

    def step(self) -> None:
        if len(self.own) < 3:
            family = self.make(f"{self.name}-{self.fresh()}.example.com")
            if family:
                self.own.append(family)
            return
        family = self.own.pop(self.random.randrange(len(self.own)))
        if self.random.random() < 0.4:
            if self.renew(family, family.serials[-1], revoke_old=self.random.random() < 0.5) != UNKNOWN:
                self.own.append(family)
        elif self.delete(family) == OK and self.random.random() < 0.6:
            again = self.make(family.name)
            if again:
                self.own.append(again)

    def make(self, name: str) -> Family | None:
        outcome, data = self.client.ask("generate", cn=name)
        return self.record_certificate("generate", name, outcome, data)


class Admins(Actor):
    def step(self) -> None:
        dn = f"/O=uPKI/OU=Crash/CN={self.name} {self.fresh()}"
        outcome, _ = self.client.ask("add_admin", dn=dn)
        self.journal.expect_record("add_admin", dn, outcome)
        self.journal.expect_change(self.journal.admins, dn, outcome, lambda _: True)
        if outcome == OK and self.random.random() < 0.9:
            outcome, _ = self.client.ask("remove_admin", dn=dn)
            self.journal.expect_record("remove_admin", dn, outcome)
            self.journal.expect_change(self.journal.admins, dn, outcome, lambda _: None)


class Profiles(Actor):
    """add, update and remove; the days tell which version a file holds."""

    def step(self) -> None:
        name = f"p{self.fresh()}"
        if self.set("add_profile", name) != OK:
            return
        for _ in range(self.random.randrange(3)):
            if self.set("update_profile", name) != OK:
                return
        if self.random.random() < 0.9:
            outcome, _ = self.client.ask("remove_profile", name=name)
            self.journal.expect_record("remove_profile", name, outcome)
            self.journal.expect_change(self.journal.profiles, name, outcome, lambda _: None)

    def set(self, task: str, name: str) -> str:
        days = self.random.randrange(1, 3000)
        profile = {"duration": days, "keyUsage": ["digitalSignature"], "extendedKeyUsage": ["clientAuth"], "subject": {"O": "uPKI"}}
        outcome, _ = self.client.ask(task, name=name, profile=profile)
        self.journal.expect_record(task, name, outcome)
        self.journal.expect_change(self.journal.profiles, name, outcome, lambda _: days)
        return outcome


class Acme(Actor):
    """Accounts, orders, authorizations, and certificates under them."""

    def ask(self, task: str, about: tuple[str, str], becomes: str, **parameters) -> str:
        outcome, _ = self.client.ask(task, **parameters)
        self.journal.expect_record(task, " ".join(about), outcome)
        self.journal.expect_change(self.journal.acme, about, outcome, lambda _: becomes)
        return outcome

    def step(self) -> None:
        number = self.fresh()
        account, order, authorization, name = f"a{number}", f"o{number}", f"z{number}", f"acme-{number}.example.com"
        steps = [
            ("account", account, "valid", {"account_id": account, "jwk": {"kty": "EC"}}),
            ("order", order, "ready", {"order_id": order, "account_id": account, "identifiers": [name], "status": "ready"}),
            (
                "authorization", authorization, "valid",
                {"auth_id": authorization, "order_id": order, "identifier_type": "dns", "identifier_value": name, "status": "valid"},
            ),
        ]  # fmt: skip
        for table, key, becomes, parameters in steps:
            if self.ask(f"acme_sync_{table}", (table, key), becomes, **parameters) != OK:
                return
        outcome, data = self.client.ask("acme_issue_certificate", order_id=order, csr=csr(name))
        family = self.record_certificate("acme_issue_certificate", name, outcome, data)
        # The order is valid with the commit of its certificate, and not before.
        self.journal.expect_change(self.journal.acme, ("order", order), outcome, lambda _: f"valid {data['serial']}" if data else "valid ?")
        if family and self.random.random() < 0.4:
            serial = family.serials[0]
            outcome, _ = self.client.ask("acme_revoke_certificate", certificate=data["certificate"], reason=4)
            self.journal.expect_record("acme_revoke_certificate", hexadecimal(serial), outcome)
            self.journal.expect_change(self.journal.reasons, serial, outcome, revoked("superseded"))
        if self.random.random() < 0.5:
            self.ask("acme_deactivate_account", ("account", account), "deactivated", account_id=account)


class Registrars(Actor):
    """One-time tokens: each opens registration once, from an address of its own, and never again."""

    def address(self) -> str:
        with self.world.journal.lock:
            self.world.addresses += 1
            number = self.world.addresses
        return f"127.{1 + number // 60_000}.{number // 250 % 240}.{1 + number % 250}"

    def step(self) -> None:
        outcome, data = self.admin.ask("open_registration", seconds=3600)
        if outcome != OK:
            return
        token = data["token"]
        first = self.register(token)
        # The token once more: whatever became of the first try, it opens nothing twice.
        if first[0] == UNKNOWN or self.random.random() < 0.3:
            second = self.register(token, spent=first[0] == OK)
            if first[0] == OK and second[0] == OK:
                self.journal.fault(f"a token was spent twice: {first} {second}")

    def register(self, token: str, spent: bool = False) -> tuple[str, str]:
        name = f"{self.name}-{self.fresh()}.node.example.com"
        parameters = {"csr": csr(name)} if self.random.random() < 0.7 else {}
        client = Client(self.world, self.world.settings["port"] + 1, self.address(), patience=1.5)
        outcome, data = client.ask("register", allowed=("Registration is closed", "Invalid registration seed"), seed=token, cn=name, **parameters)
        client.close()
        family = self.record_certificate("register", name, outcome, data)
        self.journal.expect_change(self.journal.nodes, name, outcome, lambda _: "live")
        digest = checker.digest(token)
        with self.journal.lock:
            known = self.journal.tokens.setdefault(digest, [])
            known.append((outcome, name))
        if family and self.random.random() < 0.5:
            outcome, _ = self.admin.ask("remove_node", cn=name)
            self.journal.expect_record("node ended", name, outcome)
            self.journal.expect_change(self.journal.nodes, name, outcome, lambda _: "deleted")
            self.journal.expect_change(self.journal.reasons, family.serials[0], outcome, revoked("cessationOfOperation"))
            return OK, name
        return outcome, name


class Window(Actor):
    """The operator closes and opens registration, and its port with it."""

    def step(self) -> None:
        self.ctl("close")
        time.sleep(self.random.uniform(0.05, 0.3))
        self.ctl("open")

    def ctl(self, what: str) -> None:
        settings = self.world.settings
        command = [settings["ctl"], "registrar", what, "--json", "--data-dir", settings["data"], "--run-dir", settings["run"]]
        finished = subprocess.run(command, capture_output=True, timeout=30)
        self.journal.count(f"ca-ctl registrar {what}", OK if finished.returncode == 0 else UNKNOWN)


class Publishing(Actor):
    """CRLs on demand, and reloads of configuration and profiles."""

    def step(self) -> None:
        if self.random.random() < 0.6:
            self.client.ask("generate_crl")
        else:
            self.admin.ask("reload")


class World:
    def __init__(self, settings: dict) -> None:
        self.settings = settings
        self.journal = Journal()
        self.stage = Stage()
        self.context = zmq.Context()
        self.addresses = 0

    def actors(self) -> list[Actor]:
        return (
            [Signer(self, f"sign{number}") for number in range(5)]
            + [Keeper(self, f"kept{number}", (0, 0.01)) for number in range(2)]
            + [Registrars(self, f"reg{number}", (0, 0.05)) for number in range(2)]
            + [
                Admins(self, "admins", (0, 0.005)), Profiles(self, "profiles", (0, 0.02)), Acme(self, "acme", (0, 0.005)),
                Window(self, "window", (0.5, 3)), Publishing(self, "publishing", (0.02, 0.2)),
            ]
        )  # fmt: skip


def say(word: str, facts: dict) -> None:
    print(word, json.dumps(facts), flush=True)


def main() -> None:
    world = World(json.loads(sys.stdin.readline()))
    check = checker.Checker(world)
    actors = world.actors()
    world.stage.count = len(actors)
    for actor in actors:
        actor.start()
    say("started", {"clients": len(actors)})
    for line in sys.stdin:
        words = line.split()
        if words[0] == "killed":
            world.stage.killed(words[1:])
        elif words[0] == "check":
            if not world.stage.pause(40):
                world.journal.fault("the clients do not come to a rest")
            facts = check.run(deep="deep" in words)
            say(f"checked {words[1]}", facts)
        elif words[0] == "go":
            world.stage.go()
        elif words[0] == "end":
            world.stage.end()
            say("ended", world.journal.summary() | {"faults": world.journal.faults})
            break
    world.context.destroy(linger=0)


main()
