"""A fresh CURVE key pair.      stdout: {"public", "secret"}"""

import json

import zmq

public, secret = zmq.curve_keypair()
print(json.dumps({"public": public.decode(), "secret": secret.decode()}))
