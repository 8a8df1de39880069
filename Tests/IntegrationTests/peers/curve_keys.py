"""A fresh CURVE key pair, or the public key of a secret.      stdin: nothing, or {"secret"}      stdout: {"public", "secret"}"""

import json
import sys

import zmq

given = sys.stdin.read().strip()
if given:
    secret = json.loads(given)["secret"].encode()
    public = zmq.curve_public(secret)
else:
    public, secret = zmq.curve_keypair()
print(json.dumps({"public": public.decode(), "secret": secret.decode()}))
