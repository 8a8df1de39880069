"""Strangers on many loopback addresses who ask for what they may not have, as fast as they are answered.

    strangers.py PORT ADDRESSES EACH      stdout: {"sent", "answered", "refused", "busy", "seconds"}
"""

import json
import sys
import time

import zmq

port, addresses, each = (int(argument) for argument in sys.argv[1:4])
context = zmq.Context()
context.set(zmq.MAX_SOCKETS, addresses + 16)
facts = {"sent": 0, "answered": 0, "refused": 0, "busy": 0}
sockets = []
for number in range(addresses):
    socket = context.socket(zmq.DEALER)
    socket.setsockopt(zmq.LINGER, 0)
    socket.connect(f"tcp://127.0.{1 + number // 200}.{1 + number % 200}:0;127.0.0.1:{port}")
    sockets.append(socket)
tasks = [b'{"TASK":"revoke","params":{"dn":"/CN=x"}}', b'{"TASK":"unrevoke","params":{"dn":"/CN=x"}}', b'{"TASK":"sign","params":{"csr":"x"}}']
start = time.monotonic()
for number in range(each):
    for socket in sockets:
        socket.send_multipart([b"", tasks[number % 3]])
        facts["sent"] += 1
    # In step with the CA, so that none of them is too old when its turn comes.
    for socket in sockets:
        if not socket.poll(10_000):
            continue
        answer = json.loads(socket.recv_multipart()[-1])
        facts["answered"] += 1
        facts["refused"] += answer.get("MSG", "").startswith("Not authorised")
        facts["busy"] += answer.get("MSG", "").startswith("Busy")
facts["seconds"] = time.monotonic() - start
json.dump(facts, sys.stdout)
context.destroy(linger=0)
