"""An ACME client against the RA's own ACME server: account, order, HTTP-01, finalize, download, revoke.

    stdin: {"port", "directory"}      stdout: what was answered

The RA validates HTTP-01 by asking port 80 of the name; the client answers here through a transport instead of a
network, with the key authorization of RFC 8555, section 8.1, computed on its own.
"""

import base64
import functools
import hashlib
import json
import time

import httpx
import ra
import upki_ra.routes.acme_api as acme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID
from fastapi.testclient import TestClient

inputs = ra.given()
authority = ra.authority(inputs["port"], inputs["directory"])
app = ra.application(authority)
facts: dict = {}


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


class Account:
    def __init__(self, client: TestClient) -> None:
        self.client = client
        self.key = ec.generate_private_key(ec.SECP256R1())
        numbers = self.key.public_key().public_numbers()
        self.jwk = {"kty": "EC", "crv": "P-256", "x": b64(numbers.x.to_bytes(32)), "y": b64(numbers.y.to_bytes(32))}
        self.kid: str | None = None

    def post(self, url: str, payload):
        nonce = self.client.head("/acme/new-nonce").headers["Replay-Nonce"]
        protected = {"alg": "ES256", "nonce": nonce, "url": url}
        protected |= {"kid": self.kid} if self.kid else {"jwk": self.jwk}
        head = b64(json.dumps(protected).encode())
        body = "" if payload is None else b64(json.dumps(payload).encode())
        r, s = decode_dss_signature(self.key.sign(f"{head}.{body}".encode(), ec.ECDSA(hashes.SHA256())))
        signature = b64(r.to_bytes(32) + s.to_bytes(32))
        return self.client.post(url, json={"protected": head, "payload": body, "signature": signature})


def csr(names: list[str], common_name: str | None, key) -> bytes:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else [])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(n) for n in names]), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


with TestClient(app, base_url="https://ra.example.com", raise_server_exceptions=False) as client:
    account = Account(client)
    thumbprint = b64(hashlib.sha256(json.dumps(account.jwk, sort_keys=True, separators=(",", ":")).encode()).digest())

    def port80(request: httpx.Request) -> httpx.Response:
        assert request.url.path.startswith("/.well-known/acme-challenge/") and request.url.scheme == "http"
        return httpx.Response(200, text=request.url.path.rsplit("/", 1)[1] + "." + thumbprint)

    acme.httpx.AsyncClient = functools.partial(httpx.AsyncClient, transport=httpx.MockTransport(port80))
    created = account.post("/acme/new-account", {"termsOfServiceAgreed": True, "contact": ["mailto:a@example.com"]})
    account.kid = created.headers["Location"]
    facts["account"] = {"code": created.status_code}

    def order(names: list[str], common_name: str | None, profile: str | None = None) -> dict:
        request = {"identifiers": [{"type": "dns", "value": n} for n in names]}
        if profile:
            request["profile"] = profile
        made = account.post("/acme/new-order", request)
        story: dict = {"order": made.json()["status"]}
        for url in made.json()["authorizations"]:
            authorization = account.post(url, None).json()
            challenge = next(c for c in authorization["challenges"] if c["type"] == "http-01")
            account.post(challenge["url"], {})
            # RFC 8555 has the client ask again: the server tells nobody when its validation is done.
            end = time.monotonic() + 10
            while account.post(url, None).json()["status"] == "pending" and time.monotonic() < end:
                time.sleep(0.01)
            story["authorization"] = account.post(url, None).json()["status"]
        key = ec.generate_private_key(ec.SECP256R1())
        final = account.post(made.json()["finalize"], {"csr": b64(csr(names, common_name, key))})
        story["finalize"] = final.status_code
        if final.status_code == 200:
            story["chain"] = client.get(final.json()["certificate"]).text
        else:
            story["detail"] = final.json()
        return story

    # certbot sends an empty subject, older clients a CN.
    facts["certbot"] = order(["acme1.example.com", "www.acme1.example.com"], None)
    facts["with a CN"] = order(["acme2.example.com"], "acme2.example.com")
    facts["wildcard"] = order(["*.acme3.example.com"], None)
    facts["long name"] = order(["a" * 60 + ".acme4.example.com"], None)
    facts["unknown profile"] = order(["acme5.example.com"], None, profile="nothing")

    assert "chain" in facts["with a CN"], facts
    leaf = x509.load_pem_x509_certificates(facts["with a CN"]["chain"].encode())[0]
    facts["serial"] = str(leaf.serial_number)
    der = leaf.public_bytes(serialization.Encoding.DER)
    revoked = account.post("/acme/revoke-cert", {"certificate": b64(der), "reason": 1})
    facts["revoke"] = {"code": revoked.status_code, "body": revoked.json()}
    facts["ocsp"] = authority.check_ocsp(facts["serial"])

    other = Account(client)
    answer = other.post("/acme/new-account", {"termsOfServiceAgreed": True})
    other.kid = answer.headers["Location"]
    bot = x509.load_pem_x509_certificates(facts["certbot"]["chain"].encode())[0]
    stolen = other.post("/acme/revoke-cert", {"certificate": b64(bot.public_bytes(serialization.Encoding.DER)), "reason": 1})
    facts["revoke by another account"] = {"code": stolen.status_code}

# The CA's own ACME records, by the client that the RA ships for them.
from upki_ra.utils.tools import ACMEClient  # noqa: E402

records = ACMEClient(host="127.0.0.1", port=inputs["port"], logger=authority.logger)
story: dict = {}
story["sync account"] = records.sync_account({"id": "acct1", "jwk": account.jwk, "contact": ["mailto:a@example.com"], "created_at": "2026-01-01T00:00:00+00:00"})
story["account"] = records.get_account("acct1")
story["accounts"] = len(records.list_accounts())
identifiers = [{"type": "dns", "value": "acme9.example.com"}]
story["sync order"] = records.sync_order({"id": "order1", "account_id": "acct1", "identifiers": identifiers, "status": "pending"})
story["sync authorization"] = records.sync_authorization({"id": "auth1", "order_id": "order1", "type": "dns", "value": "acme9.example.com"})


def refusal(call, *arguments) -> str:
    try:
        return f"no refusal: {call(*arguments)}"
    except Exception as error:
        return str(error)


key = ec.generate_private_key(ec.SECP256R1())
request = x509.load_der_x509_csr(csr(["acme9.example.com"], None, key)).public_bytes(serialization.Encoding.PEM).decode()
greedy = x509.load_der_x509_csr(csr(["acme9.example.com", "other.example.com"], None, key)).public_bytes(serialization.Encoding.PEM).decode()
story["issue too early"] = refusal(records.issue_certificate, "order1", request)
records.sync_authorization({"id": "auth1", "order_id": "order1", "type": "dns", "value": "acme9.example.com", "status": "valid"})
records.sync_order({"id": "order1", "account_id": "acct1", "identifiers": identifiers, "status": "ready"})
story["issue for more names"] = refusal(records.issue_certificate, "order1", greedy)
issued = records.issue_certificate("order1", request)
story["issued"] = issued
story["order"] = records.get_order("order1")
story["orders"] = len(records.list_orders("acct1"))
story["authorization"] = records.get_authorization("auth1")
story["certificate by order"] = records.get_certificate("order1")["serial"]
story["certificate by serial"] = records.get_certificate(issued["serial"])["serial"]
story["revoke"] = records.revoke_acme_certificate(issued["certificate"], reason=4)
story["status after revoking"] = records.ocsp_check(issued["serial"])
story["deactivate authorization"] = records.deactivate_authorization("auth1")
story["deactivate account"] = records.deactivate_account("acct1")
story["issue with a dead account"] = refusal(records.issue_certificate, "order1", request)
facts["records"] = story
records.close()
authority.shutdown()
ra.finish(facts)
