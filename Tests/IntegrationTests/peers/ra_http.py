"""The RA's HTTP endpoints, asked one after another through its FastAPI application.

    stdin: {"port", "directory", "admin": DN, "csr": {name: PEM}}
    stdout: {name: {"code", "body"}}
"""

import base64
from urllib.parse import quote

import ra
from fastapi.testclient import TestClient

inputs = ra.given()
authority = ra.authority(inputs["port"], inputs["directory"])
authority.sync_admins_from_ca()
client = TestClient(ra.application(authority), raise_server_exceptions=False)
admin = {"X-SSL-CLIENT-CERT": "x", "X-SSL-CLIENT-VERIFY": "SUCCESS", "X-SSL-CLIENT-S-DN": inputs["admin"]}
facts: dict = {}


def record(name: str, response):
    facts[name] = {"code": response.status_code, "body": response.json()}
    return facts[name]["body"].get("data")


def own(dn: str) -> dict:
    """nginx hands on the client's subject: RFC 4514, last attribute first."""
    return {"X-SSL-CLIENT-CERT": "x", "X-SSL-CLIENT-VERIFY": "SUCCESS", "X-SSL-CLIENT-S-DN": dn}


# ---- public
record("health", client.get("/api/v1/health"))
record("profiles", client.get("/api/v1/profiles"))
record("profile", client.get("/api/v1/profiles/server"))
record("profile nobody knows", client.get("/api/v1/profiles/nothing"))
record("ca", client.get("/api/v1/ca"))
first = record("certify", client.post("/api/v1/certify", json={"csr": inputs["csr"]["server"], "profile": "server"}))
user = record("certify as client", client.post("/api/v1/certify", json={"csr": inputs["csr"]["client"], "profile": "client"}))
record("certify garbage", client.post("/api/v1/certify", json={"csr": inputs["csr"]["garbage"], "profile": "server"}))
record("certificate by DN", client.get("/api/v1/certs/" + quote(first["dn"])))
record("certificate by a DN nobody has", client.get("/api/v1/certs/" + quote("/CN=nobody.example.com")))
record("certs", client.get("/api/v1/certs"))
record("crl", client.get("/api/v1/crl"))
record("ocsp", client.post("/api/v1/ocsp", json={"serial": first["serial"]}))
record("ocsp of a serial nobody has", client.post("/api/v1/ocsp", json={"serial": "12345"}))
record("magic", client.get("/api/v1/magic/server"))

# ---- client: with the certificate's subject as a TLS server in front of the RA would hand it on
record("client without a certificate", client.get("/api/v1/client/certificate"))
name = own(",".join(reversed(user["dn"].strip("/").split("/"))))
record("client certificate", client.get("/api/v1/client/certificate", headers=name))
record("client status", client.get("/api/v1/client/status", headers=name))
renewed = record("client renew", client.post("/api/v1/client/renew", headers=name, json={"profile": "client"}))
record("client revoke", client.post("/api/v1/client/revoke", headers=name, json={"reason": "unspecified"}))
record("ocsp of the revoked", client.post("/api/v1/ocsp", json={"serial": user["serial"]}))
record("ocsp of the renewed and revoked", client.post("/api/v1/ocsp", json={"serial": renewed["serial"]}))
record("client renew after revoke", client.post("/api/v1/client/renew", headers=name, json={"profile": "client"}))

# ---- private
record("private without a certificate", client.get("/api/v1/private/nodes"))
record("private as somebody else", client.get("/api/v1/private/nodes", headers=own("/CN=somebody")))
record("nodes", client.get("/api/v1/private/nodes", headers=admin))
node = record(
    "register node",
    client.post("/api/v1/private/nodes", headers=admin, json={"cn": "node1.example.com", "profile": "server", "sans": ["alt1.example.com"]}),
)
record("register the same node again", client.post("/api/v1/private/nodes", headers=admin, json={"cn": "node1.example.com", "profile": "server"}))
record("delete node", client.delete("/api/v1/private/nodes/node1.example.com", headers=admin))
record("ocsp of the deleted", client.post("/api/v1/ocsp", json={"serial": node["node"]["serial"]}))
record("admins", client.get("/api/v1/private/admins", headers=admin))
record("add admins", client.post("/api/v1/private/admins", headers=admin, json={"admins": ["/C=FR/O=Example/CN=Second Admin"]}))
facts["admins in the CA after adding"] = authority.zmq_client.list_admins()
record(
    "remove admin",
    client.delete("/api/v1/private/admins/" + base64.b64encode(b"/C=FR/O=Example/CN=Second Admin").decode(), headers=admin),
)
facts["admins in the CA after removing"] = authority.zmq_client.list_admins()
record("generate crl", client.post("/api/v1/private/crl/generate", headers=admin))
record("config", client.get("/api/v1/private/config", headers=admin))

authority.shutdown()
ra.finish(facts)
