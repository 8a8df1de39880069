"""Thirty thousand requests from three connections before the first answer is read.

    flood.py PORT      stdout: {"sent", "answered", "good", "busy", "other", "extra", "next"}
"""

import json
import sys

import zmq

COUNT = 10_000
context = zmq.Context()
facts: dict = {"sent": 0, "answered": 0, "good": 0, "busy": 0, "other": 0, "extra": 0}
sockets = []
for _ in range(3):
    socket = context.socket(zmq.DEALER)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.SNDHWM, 0)
    socket.setsockopt(zmq.RCVHWM, 0)
    socket.connect(f"tcp://127.0.0.1:{sys.argv[1]}")
    sockets.append(socket)
for number in range(COUNT):
    for socket in sockets:
        socket.send_multipart([number.to_bytes(4, "big"), b"", b'{"TASK":"get_ca","params":{}}'])
        facts["sent"] += 1
for socket in sockets:
    seen = set()
    while len(seen) < COUNT and socket.poll(6_000):
        number, _, answer = socket.recv_multipart()
        facts["extra"] += number in seen
        seen.add(number)
        reply = json.loads(answer)
        kind = "good" if reply["EVENT"] == "ANSWER" else "busy" if reply["MSG"].startswith("Busy") else "other"
        facts[kind] += 1
    facts["answered"] += len(seen)
    facts["extra"] += bool(socket.poll(20))
sockets[0].send_multipart([b"", b'{"TASK":"get_ca","params":{}}'])
facts["next"] = json.loads(sockets[0].recv_multipart()[-1])["EVENT"]
json.dump(facts, sys.stdout)
context.destroy(linger=0)
