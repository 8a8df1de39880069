"""The RA's own client on one socket: asks once at its start and once for each line of its input.

    stdin: {"port", "directory"} on one line, then any lines      stdout: "1 ok", "2 ok", …
"""

import json
import sys

import ra

inputs = json.loads(sys.stdin.readline())
authority = ra.authority(inputs["port"], inputs["directory"])
count = 0
while True:
    count += 1
    admins = authority.zmq_client.list_admins()
    print(count, "ok" if isinstance(admins, list) else "wrong", flush=True)
    if not sys.stdin.readline():
        break
authority.shutdown()
