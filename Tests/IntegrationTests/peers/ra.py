"""The unmodified RA: what its start does, and its FastAPI application as its own `create_*_routes` make it.

The package has no entry script; this file does what its documents describe and changes nothing of it. Two of its
settings cannot be given from outside and are set here: 0.1.5 always registers at port 5001 (a constant of its client),
and its log goes to standard output by default.
"""

import json
import logging
import os
import sys

os.environ.setdefault("HOME", "/nonexistent")

from upki_ra.core.upki_logger import UPKILogger  # noqa: E402
from upki_ra.registration_authority import RegistrationAuthority  # noqa: E402
from upki_ra.utils import tools  # noqa: E402


def authority(port: int, directory: str) -> RegistrationAuthority:
    tools.RegistrationClient.DEFAULT_PORT = port + 1
    logging.disable(logging.CRITICAL)
    return RegistrationAuthority(data_dir=directory, ca_host="127.0.0.1", ca_port=port)


def start(ra: RegistrationAuthority, token: str, cn: str) -> dict:
    """What the RA does when it starts: registers once, fetches the admins."""
    facts: dict = {"registered_before": ra.is_registered(), "status_before": ra.reg_client.get_status() if token else None}
    if not ra.is_registered():
        facts["registration"] = ra.register_with_ca(seed=token, cn=cn, sans=[{"type": "DNS", "value": cn}])
    # The reference keeps the seed it was given in its configuration and sends it again when it registers nodes.
    if token:
        ra._config["seed"] = token
        ra._save_config()
    facts["registered"] = ra.is_registered()
    facts["admins"] = ra.sync_admins_from_ca()
    return facts


def application(ra: RegistrationAuthority):
    """As deploy/upki-ra starts it."""
    sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "..", "deploy", "upki-ra"))
    from start import application as deployed

    return deployed(ra)


def given() -> dict:
    """What the test hands over: never in an argument, since there are secrets among it."""
    return json.load(sys.stdin)


def finish(facts) -> None:
    json.dump(facts, sys.stdout)
    sys.stdout.flush()
