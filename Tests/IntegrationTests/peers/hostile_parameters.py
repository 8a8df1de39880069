"""Every task with every parameter set to something hostile; CSRs and certificates with single bytes changed.

    hostile_parameters.py PORT REGISTRAR_PORT      stdin: {"csr": PEM, "token"}
    stdout: {"asked", "unanswered": […], "internal": […], "slowest": [seconds, request]}

The caller is a node and an admin, so that the parameters are really looked at. The random numbers are always the same.
"""

import base64
import json
import random
import sys
import time

import zmq

inputs = json.load(sys.stdin)
context = zmq.Context()
random.seed(20261123)


def connect(port: str) -> zmq.Socket:
    socket = context.socket(zmq.DEALER)
    socket.setsockopt(zmq.LINGER, 0)
    socket.connect(f"tcp://127.0.0.1:{port}")
    return socket


VALUES = [
    "null", "true", "false", "0", "-1", "1", "1.5", "1e400", "-0", "9223372036854775807", "-9223372036854775808", "9223372036854775808",
    "18446744073709551616", "9" * 400, '""', '" "', '"\\u0000"', '"\\n"', '"a"', '"' + "a" * 65 + '"', '"' + "a" * 100_000 + '"',
    '"' + "a." * 300 + 'com"', '"/"', '"' + "/" * 1_000 + '"', '"/CN="', '"/=x"', '"CN=a,CN=b"', '"CN=\\\\"', '"/CN=a\\\\"', '"/CN=a+O=b"', '"' + "/CN=a" * 2_000 + '"',
    '"' + "CN=a," * 2_000 + 'CN=b"', '"1.2.3=#0C0141"', '"1.2.3=#ZZ"', '"CN=#"', "[]", "[[]]", "[null]", "[1,2]", '["a","a"]', "[" + ",".join(['"x.example.com"'] * 2_000) + "]",
    "{}", '{"a":1}', '{"type":"DNS"}', '[{"type":"DNS","value":1}]', '[{"type":"IP","value":"1.2.3.4.5"}]', '[{"type":"XXX","value":"a"}]',
    '[{"type":"DNS","value":"*.*.example.com"}]', '["1.2.3.4","::1","a@b","http://a/","*.example.com"]', '["::ffff:999.1.1.1"]', '["@"]', '["http://"]',
    '"0x"', '"0xZZ"', '":"', '"00:"', '"0x' + "f" * 500 + '"', '"' + "9" * 500 + '"', '"-1"', '"\\uff11\\uff12"', '"\\ud83d\\ude00"', '"\\u202e\\u0061"',
    '"../../../etc/passwd"', '"..\\u002f"', '"."', '"con"', '"a\\u0300"', '"' + "\\u0300" * 3_000 + '"', '"upkireg_"', '"upkireg_' + "A" * 43 + '"',
    '"-----BEGIN CERTIFICATE-----\\n-----END CERTIFICATE-----"', '"-----BEGIN CERTIFICATE REQUEST-----\\nMA==\\n-----END CERTIFICATE REQUEST-----"',
    '"-----BEGIN CERTIFICATE REQUEST-----\\n' + "A" * 50_000 + '\\n-----END CERTIFICATE REQUEST-----"', '"keyCompromise"', '"removeFromCRL"', '"7"', '"99"', "6", "7",
    '"2026-01-01T00:00:00Z"', '"9999999-99-99"', '"valid"', '"ready"', '"server"', '"ca"',
]

TASKS = {
    "get_ca": ["x"], "get_crl": ["x"], "ocsp_check": ["cert", "serial", "issuer"], "list_profiles": ["x"], "get_profile": ["profile"],
    "sign": ["csr", "profile", "duration"], "generate": ["cn", "profile", "sans", "local", "duration"], "renew": ["dn", "serial", "duration", "revoke_old"],
    "revoke": ["dn", "serial", "reason"], "view": ["dn", "serial"], "list_nodes": ["limit", "after", "state"], "get_node": ["cn"], "list_admins": ["x"],
    "unrevoke": ["dn", "serial"], "delete": ["dn", "serial"], "add_admin": ["dn"], "remove_admin": ["dn"], "add_profile": ["name", "profile"],
    "update_profile": ["name", "profile"], "remove_profile": ["name"], "acme_sync_account": ["account_id", "jwk", "contact", "status", "created_at"],
    "acme_get_account": ["account_id"], "acme_list_accounts": ["x"], "acme_deactivate_account": ["account_id"],
    "acme_sync_order": ["order_id", "account_id", "identifiers", "status", "not_before", "not_after"], "acme_get_order": ["order_id"],
    "acme_list_orders": ["account_id"], "acme_sync_authorization": ["auth_id", "order_id", "identifier_type", "identifier_value", "status"],
    "acme_get_authorization": ["auth_id"], "acme_deactivate_authorization": ["auth_id"], "acme_issue_certificate": ["order_id", "csr", "profile"],
    "acme_get_certificate": ["cert_id"], "acme_revoke_certificate": ["certificate", "reason"], "register": ["seed", "cn", "profile", "sans"],
}
# What the other parameters are while one is hostile: right, so that the hostile one is reached.
GOOD = {
    "csr": json.dumps(inputs["csr"]), "cn": '"good.example.com"', "dn": '"/O=uPKI/OU=Servers/CN=nobody.example.com"', "account_id": '"acct"', "order_id": '"order"',
    "auth_id": '"auth"', "jwk": '{"kty":"EC"}', "identifiers": '[{"type":"dns","value":"a.example.com"}]', "identifier_type": '"dns"',
    "identifier_value": '"a.example.com"', "name": '"some"', "profile": '"server"', "seed": json.dumps(inputs["token"]), "reason": '"superseded"',
    "cert_id": '"order"', "certificate": '"x"',
}

requests: list[str] = []
for task, names in TASKS.items():
    for name in names:
        for value in VALUES:
            # Wrong raw seeds have a limit of their own and a test of their own.
            if name == "seed" and not value.startswith('"upkireg_'):
                continue
            parameters = {other: GOOD[other] for other in names if other != name and other in GOOD}
            if name == "serial":
                parameters.pop("dn", None)
            if task in ("add_profile", "update_profile") and name != "profile":
                parameters["profile"] = '{"keyType":"ec","duration":5}'
            parameters[name] = value
            requests.append('{"TASK":"%s","params":{%s}}' % (task, ",".join(f'"{k}":{v}' for k, v in parameters.items())))
PROFILE_KEYS = ["keyType", "keyLen", "duration", "digest", "altnames", "domain", "subject", "keyUsage", "extendedKeyUsage", "certType", "maxDuration", "allowedKeys", "permittedNames"]
for key in PROFILE_KEYS:
    for value in VALUES:
        requests.append('{"TASK":"add_profile","params":{"name":"p%d","profile":{"keyType":"ec","%s":%s}}}' % (random.randrange(10**9), key, value))


def mutations(pem: str, count: int):
    lines = pem.strip().split("\n")
    der = base64.b64decode("".join(lines[1:-1]))
    for _ in range(count):
        changed = bytearray(der)
        for _ in range(random.choice([1, 1, 1, 2, 8])):
            changed[random.randrange(len(changed))] = random.choice([0, 1, 0x7F, 0x80, 0xFF, random.randrange(256)])
        if random.random() < 0.2:
            changed = changed[: random.randrange(len(changed))]
        yield lines[0] + "\n" + base64.b64encode(bytes(changed)).decode() + "\n" + lines[-1] + "\n"


for pem in mutations(inputs["csr"], 1_500):
    requests.append(json.dumps({"TASK": "sign", "params": {"csr": pem}}))
ca = connect(sys.argv[1])
ca.send_multipart([b"", b'{"TASK":"get_ca"}'])
certificate = json.loads(ca.recv_multipart()[-1])["DATA"]
for pem in mutations(certificate, 500):
    requests.append(json.dumps({"TASK": "ocsp_check", "params": {"cert": pem}}))
    requests.append(json.dumps({"TASK": "acme_revoke_certificate", "params": {"certificate": pem}}))


def ask(port: str, work: list[str]) -> dict:
    """All of them with 64 in flight; numbers in front of the delimiter tell the answers apart."""
    socket = connect(port)
    facts: dict = {"asked": len(work), "unanswered": [], "internal": [], "slowest": [0.0, ""], "answers": 0}
    sent: dict[int, float] = {}
    position = 0
    while position < len(work) or sent:
        while position < len(work) and len(sent) < 64:
            socket.send_multipart([position.to_bytes(4, "big"), b"", work[position].encode()])
            sent[position] = time.monotonic()
            position += 1
        if not socket.poll(6_000):
            facts["unanswered"] += [work[number][:300] for number in list(sent)[:5]]
            break
        number, _, answer = socket.recv_multipart()
        index = int.from_bytes(number, "big")
        seconds = time.monotonic() - sent.pop(index)
        if seconds > facts["slowest"][0]:
            facts["slowest"] = [seconds, work[index][:200]]
        reply = json.loads(answer.decode("utf-8"))
        if reply["EVENT"] == "ANSWER":
            facts["answers"] += 1
        elif reply["MSG"].startswith(("Internal error", "Storage error", "Busy")):
            facts["internal"].append([reply["MSG"], work[index][:300]])
    facts["internal"] = facts["internal"][:20]
    return facts


front = ask(sys.argv[1], requests)

# What came of it has to be read by others: every certificate, strictly, and the list that holds them.
from cryptography import x509  # noqa: E402

ca.send_multipart([b"", b'{"TASK":"list_nodes"}'])
issued = json.loads(ca.recv_multipart()[-1])["DATA"]
unreadable = []
for entry in issued:
    try:
        parsed = x509.load_pem_x509_certificate(entry["certificate"].encode())
        list(parsed.extensions)
        for attribute in parsed.subject:
            if any(ord(c) < 0x20 or ord(c) == 0x7F for c in attribute.value):
                raise ValueError("a control character in the subject")
    except Exception as error:
        unreadable.append([entry["cn"], str(error)])
registrations = []
for name in ["cn", "profile", "sans", "csr"]:
    for value in VALUES:
        parameters = {"seed": GOOD["seed"], "cn": '"other.example.com"', name: value}
        registrations.append('{"TASK":"register","params":{%s}}' % ",".join(f'"{k}":{v}' for k, v in parameters.items()))
for value in VALUES:
    registrations.append('{"TASK":"status","params":{"cn":%s}}' % value)
json.dump({"issued": len(issued), "names": sorted({e["cn"][:40] for e in issued}), "unreadable": unreadable, "front": front, "registrar": ask(sys.argv[2], registrations)}, sys.stdout)
context.destroy(linger=0)
