"""Many different CSRs from several clients at once; a third revoked; everything compared with everything.

    bulk.py PORT COUNT CLIENTS      stdout: the comparison

The keys repeat after a hundred, the CSRs do not.
"""

import base64
import json
import sys
import threading
import time

import zmq
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PORT, COUNT, CLIENTS = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
context = zmq.Context()
facts: dict = {}
faults: list[str] = []


class Client:
    def __init__(self) -> None:
        self.socket = context.socket(zmq.REQ)
        self.socket.setsockopt(zmq.RCVTIMEO, 5000)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.connect(f"tcp://127.0.0.1:{PORT}")

    def ask(self, task: str, **params):
        self.socket.send(json.dumps({"TASK": task, "params": params}).encode())
        answer = json.loads(self.socket.recv())
        if answer["EVENT"] != "ANSWER":
            raise RuntimeError(f"{task}: {answer['MSG']}")
        return answer["DATA"]


def share(work: list, act) -> float:
    """Deals the work out to the clients; every one has a thread and a socket of its own."""
    start = time.monotonic()

    def run(part: list) -> None:
        client = Client()
        try:
            for item in part:
                act(client, item)
        except Exception as error:
            faults.append(f"{type(error).__name__}: {error}")
        client.socket.close()

    threads = [threading.Thread(target=run, args=(work[i::CLIENTS],)) for i in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.monotonic() - start


keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(100)]
requests = []
for number in range(COUNT):
    key = keys[number % len(keys)]
    name = f"host{number}.bulk.example.com"
    csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])).sign(key, hashes.SHA256())
    requests.append((number, name, csr.public_bytes(serialization.Encoding.PEM).decode()))

main = Client()
ca = x509.load_pem_x509_certificate(main.ask("get_ca").encode())
before = {entry["serial"] for entry in main.ask("list_nodes")}
answers: dict[int, dict] = {}


def sign(client: Client, item) -> None:
    answers[item[0]] = client.ask("sign", csr=item[2], profile="server")


facts["sign_seconds"] = share(requests, sign)

serials: dict[str, int] = {}
for number, name, _ in requests:
    if number not in answers:
        continue
    answer = answers[number]
    certificate = x509.load_pem_x509_certificate(answer["certificate"].encode())
    certificate.verify_directly_issued_by(ca)
    if str(certificate.serial_number) != answer["serial"]:
        faults.append(f"{name}: the answer's serial is not the certificate's")
    if certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value != name:
        faults.append(f"{name}: another subject")
    if certificate.public_key() != keys[number % len(keys)].public_key():
        faults.append(f"{name}: another key")
    serials[answer["serial"]] = number
facts["answers"] = len(answers)
facts["different_serials"] = len(serials)

doomed = [serial for serial, number in serials.items() if number % 3 == 0]
done: list[str] = []


def revoke(client: Client, serial: str) -> None:
    if client.ask("revoke", serial=serial, reason="superseded") is not True:
        faults.append(f"revoke {serial}: not true")
    done.append(serial)


facts["revoke_seconds"] = share(doomed, revoke)
facts["revoked"] = len(done)

crl = x509.load_der_x509_crl(base64.b64decode(main.ask("generate_crl")))
facts["crl_signature"] = crl.is_signature_valid(ca.public_key())
listed = {str(entry.serial_number): entry for entry in crl}
facts["crl_entries"] = len(listed)
facts["crl_is_what_was_revoked"] = set(listed) == set(doomed)
facts["crl_reasons"] = sorted({entry.extensions.get_extension_for_class(x509.CRLReason).value.reason.value for entry in listed.values()})

pages, after = 0, None
stored: dict[str, dict] = {}
while True:
    page = main.ask("list_nodes", limit=3000, **({"after": after} if after else {}))
    if not page:
        break
    pages += 1
    for entry in page:
        if entry["serial"] in stored:
            faults.append(f"{entry['serial']} stands on two pages")
        stored[entry["serial"]] = entry
    after = page[-1]["serial"]
facts["pages"] = pages
facts["store_is_what_was_answered"] = set(stored) - before == set(serials)
facts["store_knows_the_revoked"] = {s for s, e in stored.items() if e["state"] == "revoked" and s in serials} == set(doomed)
facts["store_has_the_certificates"] = all(
    stored[answer["serial"]]["certificate"].split() == answer["certificate"].split() for answer in answers.values() if answer["serial"] in stored
)
revoked_pages = main.ask("list_nodes", state="revoked", limit=10000)
facts["list_of_revoked"] = len(revoked_pages)

# The answer that the deployed RA asks for at once, and its 5 s.
start = time.monotonic()
whole = main.ask("list_nodes")
facts["big_list"] = {"entries": len(whole), "seconds": time.monotonic() - start}
statuses = [main.ask("ocsp_check", serial=s)["status"] for s in list(serials)[:300]]
facts["ocsp_agrees"] = statuses == ["revoked" if serials[s] % 3 == 0 else "good" for s in list(serials)[:300]]
facts["faults"] = faults[:20]
json.dump(facts, sys.stdout)
context.destroy(linger=0)
